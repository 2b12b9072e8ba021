//! Groups: `group_id=1,type=select,bucket=weight:2,output:1,bucket=output:2`.

use core::fmt::{self, Display, Formatter};

use super::actions::ActionList;
use super::extension::UNSUPPORTED;
use super::format::Actions;
use super::lex::{Word, words};
use super::naming::{Named, Names, PortName, Text, display_as_text};
use super::value::int;
use super::{TextError, whole};
use crate::{Bucket, GroupDesc, GroupId, GroupMod, GroupModCommand, GroupType};

/// The names of the types; the first of each is the one that is written.
const TYPES: &[(&str, GroupType)] = &[
    ("all", GroupType::All),
    ("select", GroupType::Select),
    ("indirect", GroupType::Indirect),
    ("ff", GroupType::FastFailover),
    ("fast_failover", GroupType::FastFailover),
];

/// Reads a group modification, as `ovs-ofctl add-group` takes it, or a line that `dump-groups` prints. A deletion has
/// nothing but a `group_id`, and without that is of every group.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_group_mod(command: GroupModCommand, text: &str, names: &Names) -> Result<GroupMod, TextError> {
    let all = words(text, 0, names)?;
    let n_head = all.iter().position(|word| word.name == "bucket").unwrap_or(all.len());
    let (head, buckets) = all.split_at(n_head);
    let deletes = command == GroupModCommand::Delete;
    let (mut group, mut group_type) = (None, None);
    for word in head {
        match word.name {
            "group_id" => group = Some(group_id(word, deletes)?),
            "type" if deletes => return Err(word.error("a deletion has no type")),
            "type" => group_type = Some(read_type(word)?),
            "selection_method" | "selection_method_param" | "fields" => return Err(word.error(UNSUPPORTED)),
            "command_bucket_id" => return Err(word.error("single buckets are changed in OpenFlow 1.5 only")),
            _ => return Err(word.unknown("no such property of a group", ["group_id", "type", "bucket"])),
        }
    }
    if let Some(bucket) = buckets.first().filter(|_| deletes) {
        return Err(bucket.error("a deletion has no buckets"));
    }
    let group = match group {
        Some(group) => group,
        None if deletes => GroupId::ALL,
        None => return Err(whole(text, "group_id= is missing")),
    };
    let group_type = match group_type {
        Some(group_type) => group_type,
        None if deletes => GroupType::All,
        None => return Err(whole(text, "type= is missing: all, select, indirect or fast_failover")),
    };
    let buckets = read_buckets(text, names, buckets, group_type)?;
    Ok(GroupMod { command, group_type, group, buckets })
}

/// Reads what `dump-groups` and `dump-group-stats` take: `group_id=1`, `1`, `all` or nothing.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_group_id(text: &str) -> Result<GroupId, TextError> {
    let all = super::lex::bare_words(text)?;
    match all.as_slice() {
        [] => Ok(GroupId::ALL),
        [word] if word.name == "group_id" => group_id(word, true),
        [word] if word.value.is_none() => match word.name {
            "all" | "ALL" => Ok(GroupId::ALL),
            number => super::value::int_of(number).map(GroupId).ok_or_else(|| word.error("no group")),
        },
        [word, ..] => Err(word.unknown("no such property of a group", ["group_id"])),
    }
}

fn group_id(word: &Word<'_>, may_be_all: bool) -> Result<GroupId, TextError> {
    if may_be_all && word.need()?.eq_ignore_ascii_case("all") {
        return Ok(GroupId::ALL);
    }
    let group = GroupId(int(word)?);
    if group > GroupId::MAX {
        return Err(word.value_error(format!("a group has a number up to {:#x}", GroupId::MAX.0)));
    }
    Ok(group)
}

fn read_type(word: &Word<'_>) -> Result<GroupType, TextError> {
    let text = word.need()?;
    let found = TYPES.iter().find(|(name, _)| *name == text).map(|(_, group_type)| *group_type);
    found.ok_or_else(|| word.value_error("no type: all, select, indirect or fast_failover is expected"))
}

fn read_buckets<'a>(
    text: &'a str,
    names: &'a Names,
    all: &[Word<'a>],
    group_type: GroupType,
) -> Result<Vec<Bucket>, TextError> {
    let mut buckets = Vec::new();
    let mut from = 0;
    while let Some(start) = all.get(from) {
        let next = all[from + 1..].iter().position(|word| word.name == "bucket").map(|n| from + 1 + n);
        let end = next.and_then(|next| all.get(next)).map_or(text.len(), |word| word.pos);
        let inner = words(&text[start.value_pos().min(end)..end], start.value_pos(), names)?;
        buckets.push(read_bucket(start, &inner, group_type)?);
        if group_type == GroupType::Indirect && buckets.len() > 1 {
            return Err(start.error("an indirect group has one bucket"));
        }
        from = next.unwrap_or(all.len());
    }
    Ok(buckets)
}

fn read_bucket(start: &Word<'_>, inner: &[Word<'_>], group_type: GroupType) -> Result<Bucket, TextError> {
    let weight = u16::from(group_type == GroupType::Select);
    let mut bucket = Bucket { weight, watch_port: None, watch_group: None, actions: Vec::new() };
    let mut list = ActionList::default();
    for word in inner {
        match word.name {
            "bucket_id" => return Err(word.error("buckets have numbers in OpenFlow 1.5 only")),
            "weight" => {
                bucket.weight = int(word)?;
                if group_type != GroupType::Select && bucket.weight != 0 {
                    return Err(word.error("only the buckets of a select group have weights"));
                }
            }
            "watch_port" => bucket.watch_port = Some(word.port()?),
            "watch_group" => bucket.watch_group = Some(group_id(word, false)?),
            "action" | "actions" => word.inner()?.iter().try_for_each(|word| list.add(word))?,
            _ => list.add(word)?,
        }
    }
    let watches = bucket.watch_port.is_some() || bucket.watch_group.is_some();
    if group_type == GroupType::FastFailover && !watches {
        return Err(start.error("a bucket of a fast failover group needs watch_port= or watch_group="));
    }
    bucket.actions = list.actions;
    Ok(bucket)
}

impl Text for Bucket {
    /// As a bucket of a select group, whose weight is 1 unless it is written.
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        write_bucket(f, self, GroupType::Select, names)
    }
}

fn write_bucket(f: &mut Formatter<'_>, bucket: &Bucket, of: GroupType, names: &Names) -> fmt::Result {
    f.write_str("bucket=")?;
    if of == GroupType::Select && bucket.weight != 1 {
        write!(f, "weight:{},", bucket.weight)?;
    }
    if let Some(port) = bucket.watch_port {
        write!(f, "watch_port:{},", PortName(port, names))?;
    }
    if let Some(group) = bucket.watch_group {
        write!(f, "watch_group:{group},")?;
    }
    write!(f, "actions={}", Named(&Actions(&bucket.actions), names))
}

fn write_group(
    f: &mut Formatter<'_>,
    group: GroupId,
    group_type: GroupType,
    buckets: &[Bucket],
    names: &Names,
) -> fmt::Result {
    let name = TYPES.iter().find(|(_, own)| *own == group_type).map_or("", |(name, _)| name);
    write!(f, "group_id={group},type={name}")?;
    for bucket in buckets {
        f.write_str(",")?;
        write_bucket(f, bucket, group_type, names)?;
    }
    Ok(())
}

impl Text for GroupDesc {
    /// One line of `dump-groups`, without its leading space.
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        write_group(f, self.group, self.group_type, &self.buckets, names)
    }
}

impl Text for GroupMod {
    /// The group as add-group, mod-group or del-groups take it.
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        match (self.command, self.group) {
            (GroupModCommand::Delete, GroupId::ALL) => f.write_str("group_id=all"),
            (GroupModCommand::Delete, group) => write!(f, "group_id={group}"),
            _ => write_group(f, self.group, self.group_type, &self.buckets, names),
        }
    }
}

display_as_text!(Bucket, GroupDesc, GroupMod);
