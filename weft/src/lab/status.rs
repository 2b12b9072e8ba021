//! `weft status`: the labs that run, and what is in them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use controller_api::client::Client;
use controller_api::{Stats, Switch};
use serde_json::{Value, json};
use topology::{Layout, Model, Node, NodeKind};

use super::table::table;
use super::{defects, peers, place, process::ProcessId};
use crate::observe::nodes::{Running, everybody};
use crate::service::{run_dir, sockets};

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
    let daemons = if args.name.is_none() { runtime.block_on(daemons())? } else { Vec::new() };
    if args.json {
        documents.extend(daemons);
        println!("{}", serde_json::to_string_pretty(&documents)?);
        return Ok(ExitCode::SUCCESS);
    }
    print_daemons(&daemons);
    if labs.is_empty() && daemons.is_empty() {
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
    let counted = counted(lab).await;
    let own = match lab.is_alive() {
        true => {
            let of_lab = |socket: &PathBuf| socket.parent() == Some(lab.dir.as_path());
            peers::switches(sockets(&run_dir()?, "sock").into_iter().filter(of_lab)).await
        }
        false => Vec::new(),
    };
    let layout = match lab.state.as_ref().is_some_and(|state| state.split) {
        true => Layout::Split,
        false => Layout::Joined,
    };
    let defects = model.as_ref().map(|model| defects::find(model, layout, &counted)).unwrap_or_default();
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
                "problems": defects.get(&node.name).map(Vec::as_slice).unwrap_or_default(),
                "drops": counted.get(&node.name).map(drops).unwrap_or_default(),
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
        "switches": own,
    }))
}

/// What the switches and routers of a lab count, by name.
async fn counted(lab: &place::Found) -> BTreeMap<String, Stats> {
    let mut all = BTreeMap::new();
    for socket in std::fs::read_dir(&lab.dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if socket.extension().is_some_and(|end| end == "sock") && lab.is_alive() {
            // The controller's socket is there, too, and a process may have ended.
            if let Ok(stats) = Client::unix(socket).with_timeout(Duration::from_secs(3)).stats().await {
                all.insert(stats.name.clone(), stats);
            }
        }
    }
    all
}

/// Why frames were dropped, with how many; reasons that did not occur are left out.
fn drops(stats: &Stats) -> Vec<Value> {
    let occurred = stats.drops.iter().filter(|drop| drop.frames > 0);
    occurred.map(|drop| json!({"reason": drop.reason, "port": drop.port, "frames": drop.frames})).collect()
}

/// The same for people.
fn drops_text(document: &Value) -> String {
    let line = |drop: &Value| {
        let port = drop["port"].as_str().map(|port| format!(" at {port}")).unwrap_or_default();
        format!("{}{port}: {}", drop["reason"].as_str().unwrap_or_default(), drop["frames"])
    };
    document.as_array().into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

/// Switches, routers and controllers that belong to no lab.
async fn daemons() -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for node in everybody().await?.into_iter().filter(|node| node.lab.is_none()) {
        let switches = match node.health.service.as_str() {
            "router" => Vec::new(),
            _ => node.client.switches().await.unwrap_or_default(),
        };
        if node.health.service == "controller" {
            all.push(controller(&node, &switches));
            continue;
        }
        let Ok(stats) = node.client.stats().await else { continue };
        let connected = stats.channels.iter().filter(|channel| channel.connected).count();
        all.push(json!({
            "daemon": stats.name,
            "kind": stats.service,
            "pid": stats.pid,
            "ports": stats.ports.len(),
            "controllers": {"connected": connected, "configured": stats.channels.len()},
            "drops": drops(&stats),
            "switches": switches,
        }));
    }
    Ok(all)
}

fn controller(node: &Running, switches: &[Switch]) -> Value {
    json!({
        "daemon": node.health.name,
        "kind": node.health.service,
        "pid": node.health.pid,
        "detail": node.health.detail,
        "switches": switches,
    })
}

fn print_daemons(daemons: &[Value]) {
    if daemons.is_empty() {
        return;
    }
    let mut rows = table(&["daemon", "kind", "pid", "ports", "connected", "dropped"]);
    for daemon in daemons {
        let is_controller = daemon["kind"] == "controller";
        let controllers = &daemon["controllers"];
        let switches = daemon["switches"].as_array().map(Vec::as_slice).unwrap_or_default();
        let connected = switches.iter().filter(|switch| switch["connected"] == true).count();
        rows.add_row([
            daemon["daemon"].as_str().unwrap_or_default().to_owned(),
            daemon["kind"].as_str().unwrap_or_default().to_owned(),
            daemon["pid"].to_string(),
            if is_controller { String::new() } else { daemon["ports"].to_string() },
            if is_controller {
                format!("{connected} of {} switches", switches.len())
            } else {
                format!("{} of {} controllers", controllers["connected"], controllers["configured"])
            },
            drops_text(&daemon["drops"]),
        ]);
    }
    println!("{rows}");
    daemons.iter().for_each(print_peers);
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
    match (lab.is_alive(), process) {
        (false, Some(id)) if id.is_alive() => return "runs without its lab",
        (false, _) => return "dead",
        (true, _) => {}
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
    let mut nodes = table(&["node", "kind", "addresses", "where", "state", "dropped"]);
    for node in document["nodes"].as_array().into_iter().flatten() {
        let addresses: Vec<String> = node["addresses"].as_array().into_iter().flatten().map(text).collect();
        let problems: Vec<String> = node["problems"].as_array().into_iter().flatten().map(text).collect();
        nodes.add_row([
            text(&node["name"]),
            text(&node["kind"]),
            addresses.join("\n"),
            text(&node["where"]),
            [vec![text(&node["state"])], problems].concat().join("\n"),
            drops_text(&node["drops"]),
        ]);
    }
    println!("{nodes}");
    print_peers(document);
}

/// With whom the switches of a document speak OpenFlow.
fn print_peers(document: &Value) {
    let switches: Vec<Switch> = serde_json::from_value(document["switches"].clone()).unwrap_or_default();
    if switches.iter().any(|switch| !switch.peers.is_empty()) {
        println!("{}", peers::rows(&switches));
    }
}
