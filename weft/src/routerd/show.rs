//! `weft router show`: what a running router knows, as a table or as JSON.

use std::process::ExitCode;

use anyhow::Context;
use comfy_table::Table;
use controller_api as api;
use controller_api::client::{Client, Server};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::service::run_dir;

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// What to show.
    #[arg(value_enum)]
    what: What,
    /// The router's name; its socket is in the run directory.
    #[arg(long, default_value = "r1")]
    name: String,
    /// Where it answers instead, such as unix:/run/weft/r1.sock.
    #[arg(long)]
    server: Option<Server>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Its configuration.
    Config,
    /// Routes in use.
    Fib,
    /// Neighbours.
    #[value(alias = "neigh")]
    Neighbours,
    /// Tracked connections.
    #[value(alias = "conn")]
    Connections,
    /// NAT bindings.
    #[value(alias = "nat")]
    Bindings,
    /// What firewall rules have counted.
    #[value(alias = "fw")]
    Firewall,
    /// DHCPv4 leases.
    #[value(alias = "dhcp")]
    Leases,
    /// Why packets were dropped.
    Drops,
    /// Ports.
    Ports,
}

/// Asks and prints.
pub async fn run(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let client = match &args.server {
        Some(server) => Client::new(server.clone()),
        None => Client::unix(run_dir()?.join(format!("{}.sock", args.name))),
    };
    let json = args.json;
    match args.what {
        What::Config => {
            let config: api::Router = client.get("/api/v1/config").await.with_context(|| asked(&args))?;
            print_json(&config)?;
        }
        What::Fib => {
            let columns = ["vrf", "to", "via", "interface", "type", "source", "metric", "packets", "bytes"];
            print(&client, "fib", json, &columns, route).await?;
        }
        What::Neighbours => {
            print(&client, "neighbours", json, &["interface", "address", "mac", "state"], neighbour).await?;
        }
        What::Connections => {
            let columns =
                ["protocol", "state", "source", "destination", "replies from", "replies to", "expires"];
            print(&client, "connections", json, &columns, connection).await?;
        }
        What::Bindings => {
            let columns = ["protocol", "inside", "outside", "kind", "connections"];
            print(&client, "bindings", json, &columns, binding).await?;
        }
        What::Firewall => {
            let columns = ["rule", "action", "packets", "bytes", "limited"];
            print(&client, "firewall", json, &columns, rule).await?;
        }
        What::Leases => {
            print(&client, "leases", json, &["address", "mac", "name", "state", "expires"], lease).await?;
        }
        What::Drops => print(&client, "drops", json, &["reason", "frames"], counter).await?,
        What::Ports => {
            let columns = ["number", "name", "spec", "up", "rx frames", "tx frames"];
            print(&client, "ports", json, &columns, port).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn asked(args: &ShowArgs) -> String {
    format!("router {}", args.name)
}

fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

async fn print<T: Serialize + DeserializeOwned>(
    client: &Client,
    resource: &str,
    json: bool,
    columns: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    let all: Vec<T> = client.get(&format!("/api/v1/{resource}")).await?;
    if json {
        return print_json(&all);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(columns.to_vec());
    for one in &all {
        table.add_row(row(one));
    }
    println!("{table}");
    Ok(())
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| v.to_string())
}

fn route(r: &api::Route) -> Vec<String> {
    let kind = format!("{:?}", r.kind).to_lowercase();
    let hops: Vec<String> = r.next_hops.iter().map(|hop| hop.via.to_string()).collect();
    let via = match (&r.via, &r.to_vrf) {
        (Some(via), _) => via.to_string(),
        (None, Some(vrf)) => format!("vrf {vrf}"),
        (None, None) if hops.is_empty() => "-".to_owned(),
        (None, None) => hops.join(", "),
    };
    let (vrf, interface) = (or_dash(r.vrf.as_ref()), or_dash(r.interface.as_ref()));
    let (metric, packets, bytes) = (r.metric.to_string(), or_dash(r.packets), or_dash(r.bytes));
    vec![vrf, r.to.to_string(), via, interface, kind, r.source.clone(), metric, packets, bytes]
}

fn neighbour(n: &api::Neighbour) -> Vec<String> {
    vec![n.interface.clone(), n.address.to_string(), or_dash(n.mac), n.state.clone()]
}

fn connection(c: &api::Connection) -> Vec<String> {
    vec![
        c.protocol.clone(),
        c.state.clone(),
        c.source.to_string(),
        c.destination.to_string(),
        c.reply_source.to_string(),
        c.reply_destination.to_string(),
        format!("{} s", c.expires),
    ]
}

fn binding(b: &api::Binding) -> Vec<String> {
    vec![
        b.protocol.clone(),
        b.inside.to_string(),
        b.outside.to_string(),
        b.kind.clone(),
        b.n_connections.to_string(),
    ]
}

fn rule(r: &api::RuleCount) -> Vec<String> {
    let place = r.rule.map_or_else(|| "none".to_owned(), |place| place.to_string());
    vec![place, r.action.clone(), r.packets.to_string(), r.bytes.to_string(), r.limited.to_string()]
}

fn lease(l: &api::Lease) -> Vec<String> {
    let expires = format!("{} s", l.expires);
    vec![l.address.to_string(), l.mac.to_string(), or_dash(l.name.as_ref()), l.state.clone(), expires]
}

fn counter(c: &api::Counter) -> Vec<String> {
    vec![c.name.clone(), c.value.to_string()]
}

fn port(p: &api::Port) -> Vec<String> {
    let counted = p.counters.unwrap_or_default();
    vec![
        p.number.to_string(),
        p.name.clone(),
        or_dash(p.spec.as_ref()),
        if p.up { "yes" } else { "no" }.to_owned(),
        counted.rx_frames.to_string(),
        counted.tx_frames.to_string(),
    ]
}
