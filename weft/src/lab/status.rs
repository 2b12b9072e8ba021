//! `weft status`: the labs that run, and what is in them.

use std::process::ExitCode;
use std::time::Duration;

use controller_api::client::Client;
use serde_json::{Value, json};
use topology::{Model, Node, NodeKind};

use super::table::table;
use super::{place, process::ProcessId};

/// Arguments of `weft status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lab; all when left out.
    name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows labs and their nodes.
///
/// # Errors
/// When there is no lab of this name.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let labs = match &args.name {
        Some(name) => vec![place::find(Some(name))?],
        None => place::labs()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut documents = Vec::new();
    for lab in &labs {
        documents.push(runtime.block_on(describe(lab))?);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&documents)?);
        return Ok(ExitCode::SUCCESS);
    }
    if labs.is_empty() {
        println!("no lab runs here; bring one up with `weft up FILE`");
    }
    for document in &documents {
        print(document);
    }
    Ok(ExitCode::SUCCESS)
}

async fn describe(lab: &place::Found) -> anyhow::Result<Value> {
    let model = lab.model().ok();
    let client = Client::unix(lab.dir.join("api.sock")).with_timeout(Duration::from_secs(3));
    let switches = if lab.is_alive() { client.switches().await.unwrap_or_default() } else { Vec::new() };
    let nodes = model.as_ref().map(|model| {
        let describe = |node: &Node| {
            let process = lab.state.as_ref().and_then(|state| state.nodes.get(&node.name)).copied();
            let switch = switches.iter().find(|switch| switch.name == node.name);
            json!({
                "name": node.name,
                "kind": node.kind.word(),
                "addresses": addresses(model, node),
                "where": location(&lab.name, node, process),
                "state": state_of(lab, node, process, switch),
            })
        };
        model.nodes.iter().map(describe).collect::<Vec<_>>()
    });
    Ok(json!({
        "lab": lab.name,
        "state": lab.word(),
        "pid": lab.state.as_ref().map(|state| state.process.pid),
        "file": lab.state.as_ref().map(|state| state.file.clone()),
        "rest": lab.state.as_ref().and_then(|state| state.rest).map(|address| format!("http://{address}/api/v1")),
        "socket": lab.dir.join("api.sock"),
        "nodes": nodes.unwrap_or_default(),
    }))
}

fn addresses(model: &Model, node: &Node) -> Vec<String> {
    let own = node.interfaces().iter().flat_map(|i| &i.addresses).map(|cidr| cidr.to_string());
    let router = model.routers.iter().filter(|router| router.name == node.name);
    let routed =
        router.flat_map(|r| r.interfaces.iter().flat_map(|i| i.all_addresses())).map(|cidr| cidr.to_string());
    own.chain(routed).collect()
}

fn location(lab: &str, node: &Node, process: Option<ProcessId>) -> String {
    let pid = process.map(|id| format!("pid {}", id.pid));
    match (&node.kind, pid) {
        (NodeKind::Host(_), _) => format!("netns {}", topology::namespace(lab, &node.name)),
        (NodeKind::Function(_), Some(pid)) => {
            format!("netns {}, {pid}", topology::namespace(lab, &node.name))
        }
        (_, Some(pid)) => pid,
        _ => "in the lab's process".to_owned(),
    }
}

fn state_of(
    lab: &place::Found,
    node: &Node,
    process: Option<ProcessId>,
    switch: Option<&controller_api::Switch>,
) -> &'static str {
    if !lab.is_alive() {
        return "dead";
    }
    match (&node.kind, process, switch) {
        (_, Some(id), _) if !id.is_alive() => "ended",
        (NodeKind::Switch(_), _, Some(switch)) if switch.connected && switch.realised => "realised",
        (NodeKind::Switch(_), _, Some(switch)) if switch.connected => "connected",
        (NodeKind::Switch(_), _, _) => "not connected",
        _ => "up",
    }
}

fn print(document: &Value) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    println!(
        "lab {}: {} (pid {}, from {})",
        text(&document["lab"]),
        text(&document["state"]),
        document["pid"],
        text(&document["file"])
    );
    if let Some(rest) = document["rest"].as_str() {
        println!("REST {rest}");
    }
    let mut nodes = table(&["node", "kind", "addresses", "where", "state"]);
    for node in document["nodes"].as_array().into_iter().flatten() {
        let addresses: Vec<String> = node["addresses"].as_array().into_iter().flatten().map(text).collect();
        nodes.add_row([
            text(&node["name"]),
            text(&node["kind"]),
            addresses.join("\n"),
            text(&node["where"]),
            text(&node["state"]),
        ]);
    }
    println!("{nodes}");
}
