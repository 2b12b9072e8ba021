//! `weft router show`: what a running router knows, as a table or as JSON.

use std::process::ExitCode;

use anyhow::{Context, bail};
use comfy_table::Table;
use controller_api as api;
use controller_api::client::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::which::Which;

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// What to show.
    #[arg(value_enum)]
    what: What,
    /// Only rows whose COLUMN says this, such as source=10.1.0.2 or destination=:443; all of several must hold.
    #[arg(value_name = "COLUMN=TEXT", value_parser = parse_filter)]
    filters: Vec<Filter>,
    #[command(flatten)]
    which: Which,
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

/// What a column must say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    column: String,
    text: String,
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    let (column, text) =
        text.split_once('=').ok_or("COLUMN=TEXT is expected, such as interface=wan or source=10.1.0.2")?;
    Ok(Filter { column: column.to_owned(), text: text.to_owned() })
}

impl Filter {
    /// Whether the cell says it, or one of its words does: of an address with a port or a prefix length, either part.
    fn admits(&self, cell: &str) -> bool {
        let wanted = self.text.as_str();
        let is_part = |word: &str| {
            let word = word.strip_prefix('[').unwrap_or(word);
            word == wanted
                || word.strip_prefix(wanted).is_some_and(|rest| rest.starts_with([']', '/']))
                || word.rsplit_once(':').is_some_and(|(address, port)| {
                    (address == wanted && !address.contains(':')) || wanted.strip_prefix(':') == Some(port)
                })
        };
        cell == wanted || cell.split([' ', ',']).any(is_part)
    }
}

/// How it is to be printed.
#[derive(Clone, Copy)]
struct How<'a> {
    json: bool,
    filters: &'a [Filter],
}

/// Asks and prints.
pub async fn run(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let client = args.which.client().await?;
    let how = How { json: args.which.json, filters: &args.filters };
    match args.what {
        What::Config => {
            if !args.filters.is_empty() {
                bail!("a configuration has no columns to filter by");
            }
            print_json(&client.get::<api::Router>("/api/v1/config").await?)?;
        }
        What::Fib => {
            let columns = ["vrf", "to", "via", "interface", "type", "source", "metric", "packets", "bytes"];
            print(&client, "fib", how, &columns, route).await?;
        }
        What::Neighbours => {
            print(&client, "neighbours", how, &["interface", "address", "mac", "state"], neighbour).await?;
        }
        What::Connections => {
            let columns =
                ["protocol", "state", "source", "destination", "replies from", "replies to", "expires"];
            print(&client, "connections", how, &columns, connection).await?;
        }
        What::Bindings => {
            let columns = ["protocol", "inside", "outside", "kind", "connections"];
            print(&client, "bindings", how, &columns, binding).await?;
        }
        What::Firewall => {
            let columns = ["rule", "action", "packets", "bytes", "limited"];
            print(&client, "firewall", how, &columns, rule).await?;
        }
        What::Leases => {
            print(&client, "leases", how, &["address", "mac", "name", "state", "expires"], lease).await?;
        }
        What::Drops => print(&client, "drops", how, &["reason", "frames"], counter).await?,
        What::Ports => {
            let columns = ["number", "name", "spec", "up", "rx frames", "tx frames"];
            print(&client, "ports", how, &columns, port).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

async fn print<T: Serialize + DeserializeOwned>(
    client: &Client,
    resource: &str,
    how: How<'_>,
    columns: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    for filter in how.filters {
        let at = columns.iter().position(|column| *column == filter.column);
        let at = at.with_context(|| {
            format!("{resource} have no column \"{}\": there are {}", filter.column, columns.join(", "))
        })?;
        wanted.push((at, filter));
    }
    let mut all: Vec<T> = client.get(&format!("/api/v1/{resource}")).await?;
    all.retain(|one| {
        let cells = row(one);
        wanted.iter().all(|(at, filter)| cells.get(*at).is_some_and(|cell| filter.admits(cell)))
    });
    if how.json {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_an_address_a_port_or_both() {
        let admits = |text: &str, cell: &str| parse_filter(text).unwrap().admits(cell);
        for text in ["x=10.1.0.2", "x=:80", "x=10.1.0.2:80"] {
            assert!(admits(text, "10.1.0.2:80"), "{text}");
            assert!(!admits(text, "10.1.0.20:8080"), "{text}");
        }
        for text in ["x=2001:db8::1", "x=:443", "x=[2001:db8::1]:443"] {
            assert!(admits(text, "[2001:db8::1]:443"), "{text}");
            assert!(!admits(text, "[2001:db8::11]:4431"), "{text}");
        }
        assert!(admits("x=10.1.0.0", "10.1.0.0/24") && admits("x=10.1.0.0/24", "10.1.0.0/24"));
        assert!(admits("x=2001:db8::", "2001:db8::/64") && !admits("x=2001:db8:", "2001:db8::/64"));
        assert!(admits("x=203.0.113.4", "203.0.113.3, 203.0.113.4") && admits("x=-", "-"));
        assert!(admits("x=", ""));
        assert!(parse_filter("wan").is_err());
    }
}
