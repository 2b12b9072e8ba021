//! Flows: show, add, modify, delete; packet-outs, and files with all kinds of changes.

use std::process::ExitCode;

use anyhow::bail;
use openflow::text::{
    self, Named, Names, Printed, WithoutStats, parse_flow_mod_with, parse_flow_stats_request_with,
};
use openflow::{FlowMod, FlowModCommand, FlowStats, Message, Reply, Request, Version, Xid, codec};

use super::changes::Changes;
use super::input::{Line, Mistake, Source};
use super::link::version_name;
use super::verbs::{Given, Listed, Selected};
use super::{Ofctl, diff, groups, sort};

/// Verbs about flows.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show flows.
    DumpFlows(Selected),
    /// Show the sum of the counters of flows.
    DumpAggregate(Selected),
    /// Add a flow.
    AddFlow(Given),
    /// Add the flows of a file; a line may begin with add, modify, modify_strict, delete or delete_strict.
    AddFlows(Listed),
    /// Change the actions of the flows that match.
    ModFlows(Given),
    /// Delete the flows that match, or all.
    DelFlows(Selected),
    /// Make the flows of the switch those of a file, with as few changes as it takes.
    ReplaceFlows(Listed),
    /// Compare the flows of two sources, each a switch or a file; exit status 2 if they differ.
    DiffFlows {
        /// A switch or a file.
        source1: String,
        /// A switch or a file.
        source2: String,
    },
    /// Send a packet: in_port=PORT packet=HEX actions=...
    PacketOut {
        /// The switch.
        switch: String,
        /// The packet-out; or, as of old, a port, actions and packets in hexadecimal.
        #[arg(required = true, num_args = 1..)]
        packet: Vec<String>,
    },
    /// Do all that a file says, or none of it: lines begin with flow, group or packet-out.
    Bundle(Listed),
    /// Read a flow and print it as it would be sent.
    ParseFlow {
        /// The flow.
        flow: String,
    },
    /// Read the flows of a file and print them as they would be sent.
    ParseFlows {
        /// The file.
        file: String,
    },
}

pub async fn run(ofctl: &mut Ofctl, verb: Verb) -> anyhow::Result<ExitCode> {
    use FlowModCommand::{Add, Delete, Modify};
    match verb {
        Verb::DiffFlows { source1, source2 } => return diff::diff(ofctl, &source1, &source2).await,
        Verb::DumpFlows(of) => dump(ofctl, &of).await?,
        Verb::DumpAggregate(of) => aggregate(ofctl, &of).await?,
        Verb::AddFlow(of) => change(ofctl, &of.switch, Add, &Source::one(&of.what)?).await?,
        Verb::AddFlows(of) => change(ofctl, &of.switch, Add, &Source::file(&of.file)?).await?,
        Verb::ModFlows(of) => change(ofctl, &of.switch, Modify, &Source::one(&of.what)?).await?,
        Verb::DelFlows(of) => change(ofctl, &of.switch, Delete, &Source::one(&of.what)?).await?,
        Verb::ReplaceFlows(of) => diff::replace(ofctl, &of.switch, &of.file).await?,
        Verb::PacketOut { switch, packet } => packet_out(ofctl, &switch, &packet).await?,
        Verb::Bundle(of) => bundle(ofctl, &of.switch, &Source::file(&of.file)?).await?,
        Verb::ParseFlow { flow } => parse(ofctl, &Source::text(&flow))?,
        Verb::ParseFlows { file } => parse(ofctl, &Source::file(&file)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn dump(ofctl: &mut Ofctl, of: &Selected) -> anyhow::Result<()> {
    let keys = ofctl.options.sort.keys()?;
    let parse = |names: &Names| Ok(parse_flow_stats_request_with(&of.what, names)?);
    let (mut link, request) = ofctl.read_for(&of.switch, parse).await?;
    if keys.is_empty() && !ofctl.options.names && !ofctl.options.no_stats {
        return ofctl.dump(&mut link, Request::Flow(request)).await;
    }
    // As with ovs-ofctl, flows alone, without the name of the message.
    let names = ofctl.names_shown(&mut link).await?;
    let mut flows = match link.multipart(Request::Flow(request)).await? {
        (_, Reply::Flow(flows)) => flows,
        (_, other) => bail!("{}: an answer of the wrong kind: {other:?}", of.switch),
    };
    sort::sort(&mut flows, &keys);
    for flow in &flows {
        print_flow(ofctl, flow, &names)?;
    }
    Ok(())
}

fn print_flow(ofctl: &mut Ofctl, flow: &FlowStats, names: &Names) -> anyhow::Result<()> {
    if ofctl.options.no_stats {
        ofctl.print(format_args!(" {}\n", Named(&WithoutStats(flow), names)))
    } else {
        ofctl.print(format_args!(" {}\n", Named(flow, names)))
    }
}

async fn aggregate(ofctl: &mut Ofctl, of: &Selected) -> anyhow::Result<()> {
    let parse = |names: &Names| Ok(parse_flow_stats_request_with(&of.what, names)?);
    let (mut link, request) = ofctl.read_for(&of.switch, parse).await?;
    ofctl.dump(&mut link, Request::Aggregate(request)).await
}

/// What a line may begin with.
const COMMANDS: &[(&str, FlowModCommand)] = &[
    ("add", FlowModCommand::Add),
    ("modify", FlowModCommand::Modify),
    ("modify_strict", FlowModCommand::ModifyStrict),
    ("delete", FlowModCommand::Delete),
    ("delete_strict", FlowModCommand::DeleteStrict),
];

/// A flow of one line. The line may say what to do with it; else `default` does.
pub fn read_flow(line: Line<'_>, default: FlowModCommand, names: &Names) -> Result<FlowMod, Mistake> {
    let (command, rest) = line.keyword(COMMANDS);
    parse_flow_mod_with(command.unwrap_or(default), rest.text(), names).map_err(|error| rest.mistake(error))
}

async fn change(
    ofctl: &mut Ofctl,
    switch: &str,
    command: FlowModCommand,
    source: &Source,
) -> anyhow::Result<()> {
    let command = match (command, ofctl.options.strict) {
        (FlowModCommand::Modify, true) => FlowModCommand::ModifyStrict,
        (FlowModCommand::Delete, true) => FlowModCommand::DeleteStrict,
        (command, _) => command,
    };
    let read = |names: &Names| source.read(|line| read_flow(line, command, names).map(Message::FlowMod));
    let (mut link, items) = ofctl.read_for(switch, read).await?;
    Changes::new(source, items).send(&mut link, ofctl.options.bundle).await
}

async fn packet_out(ofctl: &mut Ofctl, switch: &str, packet: &[String]) -> anyhow::Result<()> {
    let texts: Vec<String> = match packet {
        [one] => vec![one.clone()],
        [port, actions, packets @ ..] if !packets.is_empty() => {
            let one = |packet| format!("in_port={port} packet={packet} actions={actions}");
            packets.iter().map(one).collect()
        }
        _ => bail!("in_port=PORT packet=HEX actions=... is expected, or a port, actions and packets"),
    };
    let read = |names: &Names| {
        let all = texts.iter().map(|text| text::parse_packet_out(text, names).map(Message::PacketOut));
        Ok(all.map(|packet| packet.map(|packet| (1, packet))).collect::<Result<Vec<_>, _>>()?)
    };
    let (mut link, items) = ofctl.read_for(switch, read).await?;
    Changes::new(&Source::text(&texts[0]), items).send(&mut link, ofctl.options.bundle).await
}

/// What a line of a bundle is about.
#[derive(Clone, Copy)]
enum About {
    Flow,
    Group,
    PacketOut,
}

async fn bundle(ofctl: &mut Ofctl, switch: &str, source: &Source) -> anyhow::Result<()> {
    const ABOUT: &[(&str, About)] =
        &[("flow", About::Flow), ("group", About::Group), ("packet-out", About::PacketOut)];
    let one = |line: Line<'_>, names: &Names| {
        let (about, rest) = line.keyword(ABOUT);
        Ok(match about {
            Some(About::Flow) => Message::FlowMod(read_flow(rest, FlowModCommand::Add, names)?),
            Some(About::Group) => {
                let (command, group) = groups::read_group(rest, groups::Command::Add, names)?;
                if command == groups::Command::AddOrModify {
                    return Err(rest.wrong("a bundle takes add or modify"));
                }
                Message::GroupMod(group)
            }
            Some(About::PacketOut) => {
                let packet = text::parse_packet_out(rest.text(), names);
                Message::PacketOut(packet.map_err(|error| rest.mistake(error))?)
            }
            None => return Err(line.wrong("flow, group or packet-out is expected first")),
        })
    };
    let (mut link, items) = ofctl.read_for(switch, |names| source.read(|line| one(line, names))).await?;
    Changes::new(source, items).send(&mut link, true).await
}

/// Reads flows and prints them as the other side would read them; nothing is sent.
fn parse(ofctl: &mut Ofctl, source: &Source) -> anyhow::Result<()> {
    let version = ofctl.options.versions().into_iter().max().unwrap_or(Version::V13);
    let names = Names::default();
    let flows = source.read(|line| {
        let flow = read_flow(line, FlowModCommand::Add, &names)?;
        as_sent(version, flow).map_err(|reason| line.wrong(reason))
    })?;
    for (n, (_, flow)) in (1..).zip(flows) {
        ofctl.print(Printed::new(version, Xid(n), &Message::FlowMod(flow)))?;
    }
    Ok(())
}

/// A flow mod as it is once it has been written in `version`, which may have other actions for the same.
///
/// # Errors
/// The version cannot say it.
pub fn as_sent(version: Version, flow: FlowMod) -> Result<FlowMod, String> {
    let mut bytes = Vec::new();
    let cannot = |error: &dyn std::fmt::Display| format!("{} cannot say it: {error}", version_name(version));
    codec::encode(version, Xid(0), &Message::FlowMod(flow), &mut bytes).map_err(|error| cannot(&error))?;
    match codec::decode(version, &bytes) {
        Ok((_, Message::FlowMod(flow))) => Ok(flow),
        Ok(_) => Err(cannot(&"it reads as something else")),
        Err(error) => Err(cannot(&error)),
    }
}
