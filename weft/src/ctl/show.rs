//! `get` and `describe`.

use anyhow::{Context, bail};
use controller_api::client::{Client, escape};
use controller_api::{Label, ResourceKind, Revision};
use hyper::Method;
use serde_json::Value;

use super::output::{Format, table, write, yaml};

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Isolated segments.
    #[value(alias = "network")]
    Networks,
    /// Virtual routers.
    #[value(alias = "router")]
    Routers,
    /// Chain functions.
    #[value(alias = "function")]
    Functions,
    /// Chains.
    #[value(alias = "chain")]
    Chains,
    /// Policies.
    #[value(alias = "policy")]
    Policies,
    /// Rates and queues.
    Qos,
    /// Ways.
    #[value(alias = "path")]
    Paths,
    /// Copies of frames.
    #[value(alias = "mirror")]
    Mirrors,
    /// Virtual addresses and who serves there.
    #[value(alias = "balancer")]
    Balancers,
    /// What tenants may have.
    #[value(alias = "tenant")]
    Tenants,
    /// Everything that is declared, as `apply` reads it.
    #[value(alias = "all")]
    Intents,
    /// Switches.
    #[value(alias = "switch")]
    Switches,
    /// Links between switches.
    #[value(alias = "link")]
    Links,
    /// Hosts, learned and declared.
    #[value(alias = "host")]
    Hosts,
    /// Revisions of what is declared, newest first.
    #[value(alias = "revision")]
    Revisions,
    /// Accepted writes, newest first.
    Audit,
}

impl What {
    fn path(self) -> &'static str {
        match self {
            Self::Networks => "networks",
            Self::Routers => "routers",
            Self::Functions => "functions",
            Self::Chains => "chains",
            Self::Policies => "policies",
            Self::Qos => "qos",
            Self::Paths => "paths",
            Self::Mirrors => "mirrors",
            Self::Balancers => "balancers",
            Self::Tenants => "tenants",
            Self::Intents => "intents",
            Self::Switches => "switches",
            Self::Links => "links",
            Self::Hosts => "hosts",
            Self::Revisions => "revisions",
            Self::Audit => "audit",
        }
    }

    fn has_names(self) -> bool {
        !matches!(self, Self::Intents | Self::Links | Self::Hosts | Self::Audit)
    }
}

const KINDS: [(What, &str); 10] = [
    (What::Networks, "network"),
    (What::Routers, "router"),
    (What::Functions, "function"),
    (What::Chains, "chain"),
    (What::Policies, "policy"),
    (What::Qos, "qos"),
    (What::Paths, "path"),
    (What::Mirrors, "mirror"),
    (What::Balancers, "balancer"),
    (What::Tenants, "tenant"),
];

/// Lists them, or shows one.
pub async fn get(client: &Client, what: What, name: Option<&str>, format: Format) -> anyhow::Result<()> {
    let mut path = format!("/api/v1/{}", what.path());
    match name {
        Some(name) if what.has_names() => path += &format!("/{}", escape(name)),
        Some(_) => bail!("{} have no names: leave {:?} out", what.path(), name.unwrap_or_default()),
        None => {}
    }
    if what == What::Intents && format == Format::Table {
        return overview(client).await;
    }
    let answer: Value = client.get(&path).await?;
    if format != Format::Table {
        return write(&answer, format);
    }
    let items = match answer {
        Value::Array(items) => items,
        one => vec![one],
    };
    if items.is_empty() {
        println!("there are no {}", what.path());
        return Ok(());
    }
    let (head, row) = columns(what);
    table(head, items.iter().map(row));
    Ok(())
}

async fn overview(client: &Client) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (kind, word) in KINDS {
        let items: Vec<Value> = client.get(&format!("/api/v1/{}", kind.path())).await?;
        rows.extend(items.iter().map(|item| {
            let [name, state, generation, reason] = status_of(item);
            vec![format!("{word}/{name}"), state, generation, reason]
        }));
    }
    if rows.is_empty() {
        println!("nothing is declared");
        return Ok(());
    }
    table(&["INTENT", "STATE", "GENERATION", "REASON"], rows);
    Ok(())
}

type Row = fn(&Value) -> Vec<String>;

fn columns(what: What) -> (&'static [&'static str], Row) {
    match what {
        What::Networks => (&["NAME", "VLAN", "PORTS", "TRUNKS", "HOSTS", "STATE", "REASON"], |it| {
            let [name, state, _, reason] = status_of(it);
            let spec = &it["spec"];
            let [vlan, ports, trunks] = [text(&spec["vlan"]), count(&spec["ports"]), count(&spec["trunks"])];
            vec![name, vlan, ports, trunks, count(&spec["hosts"]), state, reason]
        }),
        What::Routers => (&["NAME", "INTERFACES", "ROUTES", "STATE", "REASON"], |it| {
            let [name, state, _, reason] = status_of(it);
            vec![name, count(&it["spec"]["interfaces"]), count(&it["spec"]["routes"]), state, reason]
        }),
        What::Functions => (&["NAME", "IN", "OUT", "STATE", "REASON"], |it| {
            let [name, state, _, reason] = status_of(it);
            vec![name, text(&it["spec"]["in"]), text(&it["spec"]["out"]), state, reason]
        }),
        What::Chains => (&["NAME", "FROM", "TO", "FUNCTIONS", "SYMMETRIC", "STATE", "REASON"], |it| {
            let [name, state, _, reason] = status_of(it);
            let spec = &it["spec"];
            let [from, to, functions] = ["from", "to", "functions"].map(|field| joined(&spec[field]));
            vec![name, from, to, functions, text(&spec["symmetric"]), state, reason]
        }),
        What::Policies => {
            (&["NAME", "PRIORITY", "ACTION", "FROM", "TO", "PROTOCOL", "PORTS", "STATE", "REASON"], |it| {
                let [name, state, _, reason] = status_of(it);
                let spec = &it["spec"];
                let [from, to] = ["from", "to"].map(|field| any(joined(&spec[field])));
                let protocol = any(text(&spec["protocol"]));
                let [priority, action] = ["priority", "action"].map(|field| text(&spec[field]));
                vec![name, priority, action, from, to, protocol, any(joined(&spec["ports"])), state, reason]
            })
        }
        What::Qos => (&["NAME", "PORTS", "NETWORKS", "RATE", "QUEUE", "STATE", "REASON"], |it| {
            let [name, state, _, reason] = status_of(it);
            let spec = &it["spec"];
            let [ports, networks] = ["ports", "networks"].map(|field| joined(&spec[field]));
            vec![name, ports, networks, text(&spec["rate"]), text(&spec["queue"]), state, reason]
        }),
        What::Paths => (&["NAME", "FROM", "TO", "VIA", "AVOID", "BACKUP", "STATE", "REASON"], |it| {
            let [name, state, _, reason] = status_of(it);
            let spec = &it["spec"];
            let [from, to, backup] = ["from", "to", "backup"].map(|field| text(&spec[field]));
            vec![name, from, to, joined(&spec["via"]), joined(&spec["avoid"]), backup, state, reason]
        }),
        What::Mirrors => (&["NAME", "PORTS", "DIRECTION", "TO", "STATE", "REASON"], |it| {
            let [name, state, _, reason] = status_of(it);
            let spec = &it["spec"];
            vec![name, joined(&spec["ports"]), text(&spec["direction"]), text(&spec["to"]), state, reason]
        }),
        What::Balancers => {
            (&["NAME", "NETWORK", "ADDRESS", "SERVICES", "MEMBERS", "STATE", "REASON"], |it| {
                let [name, state, _, reason] = status_of(it);
                let spec = &it["spec"];
                let of = |list: &Value, text: fn(&Value) -> String| -> String {
                    list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(",")
                };
                let services =
                    of(&spec["services"], |it| format!("{}/{}", text(&it["protocol"]), text(&it["port"])));
                let members = of(&spec["members"], |it| text(&it["address"]));
                vec![name, text(&spec["network"]), text(&spec["address"]), services, members, state, reason]
            })
        }
        What::Tenants => (&["NAME", "QUOTA", "PORTS"], |it| {
            let spec = &it["spec"];
            let quota = spec["quota"].as_object().into_iter().flatten();
            let quota: Vec<String> = quota.map(|(kind, most)| format!("{kind}={most}")).collect();
            vec![text(&spec["name"]), any(quota.join(",")), any(joined(&spec["ports"]))]
        }),
        _ => other_columns(what),
    }
}

/// The columns of what nobody declares.
fn other_columns(what: What) -> (&'static [&'static str], Row) {
    match what {
        What::Switches => (&["NAME", "DPID", "CONNECTED", "REALISED", "PORTS", "PEER"], |it| {
            ["name", "dpid", "connected", "realised", "n_ports", "peer"]
                .map(|field| text(&it[field]))
                .to_vec()
        }),
        What::Links => (&["FROM", "TO"], |it| vec![text(&it["from"]), text(&it["to"])]),
        What::Hosts => (&["MAC", "ADDRESSES", "PORT", "NETWORK"], |it| {
            vec![text(&it["mac"]), joined(&it["addresses"]), text(&it["port"]), text(&it["network"])]
        }),
        What::Revisions => (&["REVISION", "AT", "BY", "REQUEST", "CHANGES"], |it| {
            let changes =
                it["changes"].as_array().into_iter().flatten().map(|change| text(&change["intent"]));
            let changes: Vec<String> = changes.collect();
            let mut row = ["revision", "at", "by", "request"].map(|field| text(&it[field])).to_vec();
            row.push(changes.join(" "));
            row
        }),
        _ => (&["ENTRY", "AT", "BY", "REQUEST", "REVISION", "WHAT"], |it| {
            ["entry", "at", "by", "request", "revision", "what"].map(|field| text(&it[field])).to_vec()
        }),
    }
}

/// Name, state, generation and reason of an intent; what switches object to is a reason, too.
fn status_of(item: &Value) -> [String; 4] {
    let status = &item["status"];
    let mut reasons = vec![text(&status["reason"])];
    for switch in status["switches"].as_array().into_iter().flatten() {
        if let Some(reason) = switch["reason"].as_str() {
            reasons.push(format!("{}: {reason}", text(&switch["switch"])));
        }
    }
    reasons.retain(|reason| !reason.is_empty());
    [text(&item["spec"]["name"]), text(&status["state"]), text(&status["generation"]), reasons.join("; ")]
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(value) => if *value { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    }
}

fn any(text: String) -> String {
    if text.is_empty() { "any".to_owned() } else { text }
}

fn count(list: &Value) -> String {
    list.as_array().map_or(0, Vec::len).to_string()
}

fn joined(list: &Value) -> String {
    list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(",")
}

/// Tells all about an intent.
pub async fn describe(client: &Client, intent: &Label) -> anyhow::Result<()> {
    let path = format!("/api/v1/{}/{}", intent.kind.collection(), escape(&intent.name));
    let answer = client.exchange_with(&Method::GET, &path, &[], Vec::new()).await?;
    if !answer.status().is_success() {
        // The same once more, for its error.
        client.get::<Value>(&path).await?;
    }
    let stored: Value = serde_json::from_slice(answer.body()).context("the answer is no JSON")?;
    let [_, state, generation, reason] = status_of(&stored);
    println!("{intent}");
    print!("{}", indented(&yaml(&stored["spec"])?));
    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
    println!("state: {state}, generation {generation}{reason}");
    let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default();
    if let Some(number) = tag.trim_matches('"').split('.').next().filter(|number| !number.is_empty()) {
        match client.get::<Revision>(&format!("/api/v1/revisions/{number}")).await {
            Ok(last) => {
                println!("changed: by revision {number}, {}, {} from {}", last.at, last.request, last.by)
            }
            Err(_) => println!("changed: by revision {number}"),
        }
    }
    let switches = stored["status"]["switches"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !switches.is_empty() {
        println!();
        let row = |it: &Value| {
            ["switch", "state", "generation", "n_flows", "reason"].map(|field| text(&it[field])).to_vec()
        };
        table(&["SWITCH", "STATE", "GENERATION", "FLOWS", "REASON"], switches.iter().map(row));
    }
    if intent.kind == ResourceKind::Network {
        let path = format!("/api/v1/hosts?network={}", escape(&intent.name));
        let hosts: Vec<Value> = client.get(&path).await?;
        if !hosts.is_empty() {
            println!();
            let (head, row) = columns(What::Hosts);
            table(head, hosts.iter().map(row));
        }
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
