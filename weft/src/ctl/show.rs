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
    list(what, &items);
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

/// The head of a column, and what stands in it.
type Column = (&'static str, fn(&Value) -> String);

/// Lists resources, each in a row.
fn list(what: What, items: &[Value]) {
    let columns = columns(what);
    let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    table(&heads, items.iter().map(|item| columns.iter().map(|(_, cell)| cell(item)).collect()));
}

fn columns(what: What) -> Vec<Column> {
    const NAME: Column = ("NAME", |it| text(&it["spec"]["name"]));
    const STATE: [Column; 2] =
        [("STATE", |it| status_of(it)[1].clone()), ("REASON", |it| status_of(it)[3].clone())];
    let state = if what == What::Tenants { &[][..] } else { &STATE };
    match declared(what) {
        Some(own) => [&[NAME][..], own, state].concat(),
        None => observed(what).to_vec(),
    }
}

/// What is declared of an intent, beside its name.
fn declared(what: What) -> Option<&'static [Column]> {
    Some(match what {
        What::Networks => &[
            ("VLAN", |it| text(&it["spec"]["vlan"])),
            ("PORTS", |it| count(&it["spec"]["ports"])),
            ("TRUNKS", |it| count(&it["spec"]["trunks"])),
            ("HOSTS", |it| count(&it["spec"]["hosts"])),
        ],
        What::Routers => &[
            ("INTERFACES", |it| count(&it["spec"]["interfaces"])),
            ("ROUTES", |it| count(&it["spec"]["routes"])),
        ],
        What::Functions => &[("IN", |it| text(&it["spec"]["in"])), ("OUT", |it| text(&it["spec"]["out"]))],
        What::Chains => &[
            ("FROM", |it| joined(&it["spec"]["from"])),
            ("TO", |it| joined(&it["spec"]["to"])),
            ("FUNCTIONS", |it| joined(&it["spec"]["functions"])),
            ("SYMMETRIC", |it| text(&it["spec"]["symmetric"])),
        ],
        What::Policies => &[
            ("PRIORITY", |it| text(&it["spec"]["priority"])),
            ("ACTION", |it| text(&it["spec"]["action"])),
            ("FROM", |it| any(joined(&it["spec"]["from"]))),
            ("TO", |it| any(joined(&it["spec"]["to"]))),
            ("PROTOCOL", |it| any(text(&it["spec"]["protocol"]))),
            ("PORTS", |it| any(joined(&it["spec"]["ports"]))),
        ],
        What::Qos => &[
            ("PORTS", |it| joined(&it["spec"]["ports"])),
            ("NETWORKS", |it| joined(&it["spec"]["networks"])),
            ("RATE", |it| text(&it["spec"]["rate"])),
            ("QUEUE", |it| text(&it["spec"]["queue"])),
        ],
        What::Paths => &[
            ("FROM", |it| text(&it["spec"]["from"])),
            ("TO", |it| text(&it["spec"]["to"])),
            ("VIA", |it| joined(&it["spec"]["via"])),
            ("AVOID", |it| joined(&it["spec"]["avoid"])),
            ("BACKUP", |it| text(&it["spec"]["backup"])),
        ],
        What::Mirrors => &[
            ("PORTS", |it| joined(&it["spec"]["ports"])),
            ("DIRECTION", |it| text(&it["spec"]["direction"])),
            ("TO", |it| text(&it["spec"]["to"])),
        ],
        What::Balancers => &[
            ("NETWORK", |it| text(&it["spec"]["network"])),
            ("ADDRESS", |it| text(&it["spec"]["address"])),
            ("SERVICES", |it| each(&it["spec"]["services"], service)),
            ("MEMBERS", |it| each(&it["spec"]["members"], |it| text(&it["address"]))),
        ],
        What::Tenants => &[
            ("QUOTA", |it| any(quota(&it["spec"]["quota"]))),
            ("PORTS", |it| any(joined(&it["spec"]["ports"]))),
            ("RATE", |it| any(text(&it["spec"]["rate"]))),
        ],
        _ => return None,
    })
}

/// What nobody declares.
fn observed(what: What) -> &'static [Column] {
    match what {
        What::Switches => &[
            ("NAME", |it| text(&it["name"])),
            ("DPID", |it| text(&it["dpid"])),
            ("CONNECTED", |it| text(&it["connected"])),
            ("REALISED", |it| text(&it["realised"])),
            ("PORTS", |it| text(&it["n_ports"])),
            ("PEER", |it| text(&it["peer"])),
        ],
        What::Links => &[("FROM", |it| text(&it["from"])), ("TO", |it| text(&it["to"]))],
        What::Hosts => &[
            ("MAC", |it| text(&it["mac"])),
            ("ADDRESSES", |it| joined(&it["addresses"])),
            ("PORT", |it| text(&it["port"])),
            ("NETWORK", |it| text(&it["network"])),
        ],
        What::Revisions => &[
            ("REVISION", |it| text(&it["revision"])),
            ("AT", |it| text(&it["at"])),
            ("BY", |it| text(&it["by"])),
            ("REQUEST", |it| text(&it["request"])),
            ("CHANGES", |it| each(&it["changes"], |change| text(&change["intent"])).replace(',', " ")),
        ],
        _ => &[
            ("ENTRY", |it| text(&it["entry"])),
            ("AT", |it| text(&it["at"])),
            ("BY", |it| text(&it["by"])),
            ("REQUEST", |it| text(&it["request"])),
            ("REVISION", |it| text(&it["revision"])),
            ("WHAT", |it| text(&it["what"])),
        ],
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
    each(list, text)
}

fn each(list: &Value, text: fn(&Value) -> String) -> String {
    list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(",")
}

fn service(it: &Value) -> String {
    format!("{}/{}", text(&it["protocol"]), text(&it["port"]))
}

fn quota(it: &Value) -> String {
    let each = it.as_object().into_iter().flatten();
    each.map(|(kind, most)| format!("{kind}={most}")).collect::<Vec<_>>().join(",")
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
            list(What::Hosts, &hosts);
        }
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
