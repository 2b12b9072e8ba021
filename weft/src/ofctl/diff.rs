//! Flows of two sources compared, and a switch made to hold those of a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use openflow::text::{Instructions, Named, Names};
use openflow::{
    FlowMod, FlowModCommand, FlowStatsRequest, Message, Priority, Reply, Request, TableId, Version,
};

use super::changes::Changes;
use super::flows::{as_sent, read_flow};
use super::input::Source;
use super::link::Link;
use super::{Ofctl, names_of};

/// Exit status if two sources differ.
const DIFFERENT: u8 = 2;

/// Which flow: the table, then the highest priority first, then the match as it is written.
type Key = (TableId, std::cmp::Reverse<Priority>, String);

/// A flow as it would be added, and its line in a file.
struct Entry(usize, FlowMod);

type Flows = BTreeMap<Key, Entry>;

impl Entry {
    fn key(&self) -> Key {
        (self.1.table, std::cmp::Reverse(self.1.priority), self.1.matches.to_string())
    }

    /// Cookie, timeouts and actions are equal; importance only if both sources can tell it.
    fn same(&self, other: &Self, importance: bool) -> bool {
        let (a, b) = (&self.1, &other.1);
        let rest = |flow: &FlowMod| (flow.cookie, flow.idle_timeout, flow.hard_timeout);
        let actions = |flow: &FlowMod| Instructions(&flow.instructions).to_string();
        rest(a) == rest(b) && (!importance || a.importance == b.importance) && actions(a) == actions(b)
    }

    /// As ovs-ofctl diff-flows writes it, behind the sign.
    fn text(&self, names: &Names) -> String {
        let flow = &self.1;
        let mut words = Vec::new();
        if flow.table.0 != 0 {
            words.push(format!("table={}", flow.table));
        }
        let matches = Named(&flow.matches, names).to_string();
        match (flow.priority, matches.is_empty()) {
            (Priority::DEFAULT, true) => {}
            (Priority::DEFAULT, false) => words.push(matches),
            (priority, true) => words.push(format!("priority={priority}")),
            (priority, false) => words.push(format!("priority={priority},{matches}")),
        }
        if flow.cookie.0 != 0 {
            words.push(format!("cookie={:#x}", flow.cookie.0));
        }
        for (name, value) in [
            ("idle_timeout", flow.idle_timeout),
            ("hard_timeout", flow.hard_timeout),
            ("importance", flow.importance),
        ] {
            if value != 0 {
                words.push(format!("{name}={value}"));
            }
        }
        words.push(format!("actions={}", Named(&Instructions(&flow.instructions), names)));
        words.join(" ")
    }
}

/// The flows of a file. A later line with the same match and priority replaces an earlier one.
fn of_file(source: &Source, names: &Names) -> anyhow::Result<Flows> {
    let read = source.read(|line| {
        let flow = read_flow(line, FlowModCommand::Add, names)?;
        if flow.command == FlowModCommand::Add {
            Ok(flow)
        } else {
            Err(line.wrong("only flows to add belong here"))
        }
    })?;
    let entries = read.into_iter().map(|(line, flow)| Entry(line, flow));
    Ok(entries.map(|entry| (entry.key(), entry)).collect())
}

/// The flows of a file as a switch would report them.
fn as_sent_all(source: &Source, version: Version, flows: Flows) -> anyhow::Result<Flows> {
    let each = flows.into_values().map(|Entry(line, flow)| match as_sent(version, flow) {
        Ok(flow) => Ok(Entry(line, flow)),
        Err(reason) => bail!("{}: {reason}", source.place(line).unwrap_or_default()),
    });
    each.map(|entry| entry.map(|entry| (entry.key(), entry))).collect()
}

/// The flows that a switch holds.
async fn of_switch(link: &mut Link) -> anyhow::Result<Flows> {
    let flows = match link.multipart(Request::Flow(FlowStatsRequest::default())).await? {
        (_, Reply::Flow(flows)) => flows,
        (_, other) => bail!("{}: an answer of the wrong kind: {other:?}", link.target()),
    };
    let entries = flows.into_iter().map(|flow| {
        Entry(
            0,
            FlowMod {
                cookie: flow.cookie,
                idle_timeout: flow.idle_timeout,
                hard_timeout: flow.hard_timeout,
                importance: flow.importance,
                flags: flow.flags,
                ..FlowMod::add(flow.table, flow.priority, flow.matches, flow.instructions)
            },
        )
    });
    Ok(entries.map(|entry| (entry.key(), entry)).collect())
}

/// `/...`, `./...` and what exists is a file; what has a colon is a switch.
fn is_file(source: &str) -> bool {
    source.starts_with(['/', '.']) || source == "-" || (!source.contains(':') && Path::new(source).is_file())
}

/// The flows of a file as the switch on the other side would report them, in whose words ports may be named.
async fn side_of_file(ofctl: &Ofctl, source: &str, switch: Option<&mut Link>) -> anyhow::Result<Flows> {
    let source = Source::file(source)?;
    let flows = of_file(&source, &Names::default());
    let Some(switch) = switch else { return flows };
    let flows = match flows {
        Err(_) if !ofctl.options.no_names => of_file(&source, &names_of(switch).await?),
        flows => flows,
    };
    as_sent_all(&source, switch.version(), flows?)
}

/// Prints the differences.
pub async fn diff(ofctl: &mut Ofctl, source1: &str, source2: &str) -> anyhow::Result<ExitCode> {
    let mut links = Vec::new();
    for source in [source1, source2] {
        links.push(if is_file(source) { None } else { Some(ofctl.connect(source).await?) });
    }
    let versions: Vec<Version> = links.iter().flatten().map(Link::version).collect();
    let importance = versions.iter().all(|version| *version >= Version::V14);
    let mut sides = Vec::new();
    for (idx, source) in [source1, source2].into_iter().enumerate() {
        sides.push(match &mut links[idx] {
            Some(link) => of_switch(link).await?,
            None => side_of_file(ofctl, source, links.iter_mut().flatten().next()).await?,
        });
    }
    let shown = match links.iter_mut().flatten().next() {
        Some(link) => ofctl.names_shown(link).await?,
        None => Names::default(),
    };
    let (first, second) = (&sides[0], &sides[1]);
    let mut different = false;
    let keys: std::collections::BTreeSet<&Key> = first.keys().chain(second.keys()).collect();
    for key in keys {
        let (a, b) = (first.get(key), second.get(key));
        if let (Some(a), Some(b)) = (a, b)
            && a.same(b, importance)
        {
            continue;
        }
        different = true;
        for (sign, entry) in [('-', a), ('+', b)] {
            if let Some(entry) = entry {
                ofctl.print(format_args!("{sign}{}\n", entry.text(&shown)))?;
            }
        }
    }
    Ok(if different { ExitCode::from(DIFFERENT) } else { ExitCode::SUCCESS })
}

/// Deletes what is not in the file, then adds what is missing or different.
pub async fn replace(ofctl: &mut Ofctl, switch: &str, file: &str) -> anyhow::Result<()> {
    let source = Source::file(file)?;
    let (mut link, wanted) = ofctl.read_for(switch, |names| of_file(&source, names)).await?;
    let wanted = as_sent_all(&source, link.version(), wanted)?;
    let present = of_switch(&mut link).await?;
    let importance = link.version() >= Version::V14;
    let gone = present.iter().filter(|(key, _)| !wanted.contains_key(*key)).map(|(_, entry)| {
        let flow = &entry.1;
        FlowMod::delete_strict(flow.table, flow.priority, flow.matches.clone())
    });
    let mut items: Vec<_> = gone.map(|flow| (0, Message::FlowMod(flow))).collect();
    let readd = ofctl.options.readd;
    let new = wanted.iter().filter(|(key, entry)| {
        readd || present.get(*key).is_none_or(|present| !entry.same(present, importance))
    });
    let mut new: Vec<&Entry> = new.map(|(_, entry)| entry).collect();
    new.sort_by_key(|entry| entry.0);
    items.extend(new.into_iter().map(|entry| (entry.0, Message::FlowMod(entry.1.clone()))));
    Changes::new(&source, items).send(&mut link, ofctl.options.bundle).await
}
