//! Groups.

use anyhow::bail;
use openflow::text::{Names, parse_group_id, parse_group_mod};
use openflow::{GroupDesc, GroupId, GroupMod, GroupModCommand, Message, Reply, Request};

use super::Ofctl;
use super::changes::Changes;
use super::input::{Line, Mistake, Source};
use super::link::Link;
use super::verbs::{Given, Listed, Selected, Switch};

/// Verbs about groups.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show the groups.
    DumpGroups(Selected),
    /// Show the counters of the groups.
    DumpGroupStats(Selected),
    /// Show what groups can do.
    DumpGroupFeatures(Switch),
    /// Add a group.
    AddGroup(Given),
    /// Add the groups of a file; a line may begin with add, modify, add_or_mod or delete.
    AddGroups(Listed),
    /// Change the type and buckets of a group.
    ModGroup(Given),
    /// Delete a group, or all.
    DelGroups(Selected),
    /// Add buckets to a group: needs OpenFlow 1.5, which weft does not speak.
    InsertBuckets(Given),
    /// Remove buckets from a group: needs OpenFlow 1.5, which weft does not speak.
    RemoveBuckets(Given),
}

pub async fn run(ofctl: &mut Ofctl, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::DumpGroups(of) => dump(ofctl, &of).await,
        Verb::DumpGroupStats(of) => {
            let group = parse_group_id(&of.what)?;
            ofctl.dump_of(&of.switch, Request::Group(group)).await
        }
        Verb::DumpGroupFeatures(of) => ofctl.dump_of(&of.switch, Request::GroupFeatures).await,
        Verb::AddGroup(of) => change(ofctl, &of.switch, Command::Add, &Source::one(&of.what)?).await,
        Verb::AddGroups(of) => change(ofctl, &of.switch, Command::Add, &Source::file(&of.file)?).await,
        Verb::ModGroup(of) => {
            let command = if ofctl.options.may_create { Command::AddOrModify } else { Command::Modify };
            change(ofctl, &of.switch, command, &Source::one(&of.what)?).await
        }
        Verb::DelGroups(of) => change(ofctl, &of.switch, Command::Delete, &Source::one(&of.what)?).await,
        Verb::InsertBuckets(of) | Verb::RemoveBuckets(of) => bail!(
            "{}: single buckets are changed in OpenFlow 1.5 only: write the whole group with mod-group",
            of.switch
        ),
    }
}

async fn groups_of(link: &mut Link) -> anyhow::Result<Vec<GroupDesc>> {
    match link.multipart(Request::GroupDesc).await? {
        (_, Reply::GroupDesc(all)) => Ok(all),
        (_, other) => bail!("{}: an answer of the wrong kind: {other:?}", link.target()),
    }
}

async fn dump(ofctl: &mut Ofctl, of: &Selected) -> anyhow::Result<()> {
    let group = parse_group_id(&of.what)?;
    let mut link = ofctl.connect(&of.switch).await?;
    let names = ofctl.names_shown(&mut link).await?;
    let (xid, mut reply) = link.multipart(Request::GroupDesc).await?;
    // Up to 1.4 a switch can only be asked for all of them.
    if let (Reply::GroupDesc(all), false) = (&mut reply, group == GroupId::ALL) {
        all.retain(|desc| desc.group == group);
    }
    ofctl.print_reply(&link, xid, reply, &names)
}

/// What to do with a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Add,
    Modify,
    /// Modify it if it is there.
    AddOrModify,
    Delete,
}

/// What a line may begin with.
const COMMANDS: &[(&str, Command)] = &[
    ("add", Command::Add),
    ("modify", Command::Modify),
    ("add_or_mod", Command::AddOrModify),
    ("delete", Command::Delete),
];

/// A group of one line. The line may say what to do with it; else `default` does.
///
/// # Errors
/// What is wrong with it.
pub fn read_group(line: Line<'_>, default: Command, names: &Names) -> Result<(Command, GroupMod), Mistake> {
    if let (Some(name), _) = line.keyword(&[("insert_bucket", "insert"), ("remove_bucket", "remove")]) {
        return Err(line.wrong(format!("OpenFlow 1.5 is needed to {name} single buckets")));
    }
    let (command, rest) = line.keyword(COMMANDS);
    let command = command.unwrap_or(default);
    let standard = match command {
        Command::Add => GroupModCommand::Add,
        Command::Modify | Command::AddOrModify => GroupModCommand::Modify,
        Command::Delete => GroupModCommand::Delete,
    };
    let group = parse_group_mod(standard, rest.text(), names).map_err(|error| rest.mistake(error))?;
    Ok((command, group))
}

async fn change(ofctl: &mut Ofctl, switch: &str, command: Command, source: &Source) -> anyhow::Result<()> {
    let read = |names: &Names| source.read(|line| read_group(line, command, names));
    let (mut link, mut groups) = ofctl.read_for(switch, read).await?;
    settle(&mut link, groups.iter_mut().map(|(_, group)| group)).await?;
    let items = groups.into_iter().map(|(line, (_, group))| (line, Message::GroupMod(group))).collect();
    Changes::new(source, items).send(&mut link, ofctl.options.bundle).await
}

/// Makes additions of those changes whose group is to be made if it is not there: the standard has no command for both.
pub async fn settle(
    link: &mut Link,
    groups: impl Iterator<Item = &mut (Command, GroupMod)>,
) -> anyhow::Result<()> {
    let mut present: Option<Vec<GroupId>> = None;
    for (command, group) in groups {
        if *command != Command::AddOrModify {
            continue;
        }
        if present.is_none() {
            present = Some(groups_of(link).await?.into_iter().map(|desc| desc.group).collect());
        }
        if let Some(present) = &mut present
            && !present.contains(&group.group)
        {
            group.command = GroupModCommand::Add;
            present.push(group.group);
        }
    }
    Ok(())
}
