//! Whole flows: match, properties and actions.

use super::TextError;
use super::actions::{ActionList, read_instructions};
use super::lex::{Word, words};
use super::naming::{NO_NAMES, Names};
use super::value::{int, int_of};
use super::{lex, matches, names, whole};
use crate::{
    Cookie, Field, FlowMod, FlowModCommand, FlowModFlags, FlowStatsRequest, GroupId, Priority, TableId,
};

/// Reads a flow to add, as `ovs-ofctl add-flow` takes it, or a line that `dump-flows` prints.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_flow(text: &str) -> Result<FlowMod, TextError> {
    parse_flow_mod(FlowModCommand::Add, text)
}

/// Reads a flow modification without names of ports and tables: see [`parse_flow_mod_with`].
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_flow_mod(command: FlowModCommand, text: &str) -> Result<FlowMod, TextError> {
    parse_flow_mod_with(command, text, &NO_NAMES)
}

/// Reads a flow modification. Additions and modifications need `actions=`; deletions without `table=` are of
/// every table. Ports and tables may be called by `names`.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_flow_mod_with(command: FlowModCommand, text: &str, names: &Names) -> Result<FlowMod, TextError> {
    let deletes = matches!(command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
    let (head, actions) = split_actions(text);
    let words = words(head, 0, names)?;
    let (matches, rest) = matches::read(&words)?;
    let table = if deletes { TableId::ALL } else { TableId(0) };
    let mut flow = FlowMod { command, table, matches, ..FlowMod::default() };
    for word in rest {
        property(&mut flow, word)?;
    }
    match actions {
        Some((actions, _)) if deletes && !actions.trim().is_empty() => {
            return Err(whole(text, "a deletion has no actions"));
        }
        Some((actions, at)) => {
            let vid = flow.matches.get(Field::VlanVid);
            let list = ActionList {
                tagged: vid.is_some_and(|oxm| oxm.value & 0x1000 != 0),
                ip_proto: flow.matches.exact(Field::IpProto).and_then(|p| u8::try_from(p).ok()),
                ..ActionList::default()
            };
            flow.instructions = read_instructions(&lex::words(actions, at, names)?, list)?;
        }
        None if deletes => {}
        None => return Err(whole(text, "actions= is missing")),
    }
    Ok(flow)
}

/// Reads what `dump-flows` and `dump-aggregate` take to select flows: a match, `table=`, `cookie=V/MASK`,
/// `out_port=`, `out_group=`.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_flow_stats_request(text: &str) -> Result<FlowStatsRequest, TextError> {
    parse_flow_stats_request_with(text, &NO_NAMES)
}

/// As [`parse_flow_stats_request`]; ports and tables may be called by `names`.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_flow_stats_request_with(text: &str, names: &Names) -> Result<FlowStatsRequest, TextError> {
    let flow = parse_flow_mod_with(FlowModCommand::Delete, text, names)?;
    Ok(FlowStatsRequest {
        table: flow.table,
        out_port: flow.out_port,
        out_group: flow.out_group,
        cookie: flow.cookie,
        cookie_mask: flow.cookie_mask,
        matches: flow.matches,
    })
}

/// What stands before and behind `actions=`, the latter with its position.
pub(super) fn split_actions(text: &str) -> (&str, Option<(&str, usize)>) {
    let starts = |at: usize| at == 0 || text[..at].ends_with([',', ' ', '\t']);
    for name in ["actions=", "action="] {
        if let Some((at, _)) = text.match_indices(name).find(|(at, _)| starts(*at)) {
            let end = at + name.len();
            return (&text[..at], Some((&text[end..], end)));
        }
    }
    (text, None)
}

const PROPERTIES: &[&str] = &[
    "table",
    "priority",
    "idle_timeout",
    "hard_timeout",
    "importance",
    "cookie",
    "out_port",
    "out_group",
    "actions",
    "send_flow_rem",
    "check_overlap",
    "reset_counts",
    "no_packet_counts",
    "no_byte_counts",
];

/// A property that the command has no use for is a mistake: who writes `priority=5` means only those flows.
fn check_use(command: FlowModCommand, word: &Word<'_>) -> Result<(), TextError> {
    use FlowModCommand::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
    let is_flag = FlowModFlags::NAMES.iter().any(|(_, name)| *name == word.name);
    let why = match (command, word.name) {
        (Delete, "priority") => "it selects nothing, unless the selection is strict",
        (Delete | DeleteStrict, "idle_timeout" | "hard_timeout" | "importance") => "it does not select flows",
        (Delete | DeleteStrict, _) if is_flag => "it does not select flows",
        (Modify | ModifyStrict, "importance") => "it is given when a flow is added",
        (Add | Modify | ModifyStrict, "out_port" | "out_group") => {
            "it selects flows to show or delete; an output belongs behind actions="
        }
        _ => return Ok(()),
    };
    Err(word.error(why))
}

fn property(flow: &mut FlowMod, word: &Word<'_>) -> Result<(), TextError> {
    check_use(flow.command, word)?;
    let flag = FlowModFlags::NAMES.iter().find(|(_, name)| *name == word.name);
    if let Some((flag, _)) = flag {
        flow.flags = flow.flags | *flag;
        return word.bare();
    }
    match word.name {
        "table" => flow.table = table(word)?,
        "priority" => flow.priority = Priority(int(word)?),
        "idle_timeout" => flow.idle_timeout = int(word)?,
        "hard_timeout" => flow.hard_timeout = int(word)?,
        "importance" => flow.importance = int(word)?,
        "cookie" => cookie(flow, word)?,
        "out_port" => flow.out_port = Some(word.port()?),
        "out_group" => flow.out_group = Some(GroupId(int(word)?)),
        // What dump-flows prints beside the flow itself.
        "duration" | "n_packets" | "n_bytes" | "idle_age" | "hard_age" => {}
        _ => {
            let known = names::in_any_match().chain(PROPERTIES.iter().copied());
            return Err(word.unknown("no such match field or property of a flow", known));
        }
    }
    Ok(())
}

fn table(word: &Word<'_>) -> Result<TableId, TextError> {
    match word.need()? {
        "all" | "ALL" => Ok(TableId::ALL),
        name => word.names.table(name).map_or_else(|| int(word).map(TableId), Ok),
    }
}

/// `VALUE`, or `VALUE/MASK` to select; a mask of -1 is all of it.
fn cookie(flow: &mut FlowMod, word: &Word<'_>) -> Result<(), TextError> {
    let text = word.need()?;
    let bad = || word.value_error("VALUE or VALUE/MASK is expected");
    let (value, mask) = match text.split_once('/') {
        Some((value, "-1")) => (value, Some(u64::MAX)),
        Some((value, mask)) => (value, Some(int_of(mask).ok_or_else(bad)?)),
        None => (text, None),
    };
    flow.cookie = Cookie(int_of(value).ok_or_else(bad)?);
    flow.cookie_mask = match (flow.command, mask) {
        (FlowModCommand::Add, Some(_)) => {
            return Err(word.value_error("a mask selects flows, it cannot be added"));
        }
        (FlowModCommand::Delete | FlowModCommand::DeleteStrict, None) => u64::MAX,
        (_, mask) => mask.unwrap_or(0),
    };
    Ok(())
}
