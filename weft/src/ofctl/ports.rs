//! Ports and queues.

use anyhow::{Context, bail};
use openflow::text::{Names, Printed, closest};
use openflow::{
    Message, PortConfig, PortDesc, PortFeatures, PortMod, PortNo, QueueId, Reply, Request, Version, ports,
};

use super::link::Link;
use super::verbs::Selected;
use super::{Ofctl, ports_of};

/// Verbs about ports and queues.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show the counters of the ports, or of one.
    DumpPorts(Selected),
    /// Describe the ports, or one.
    DumpPortsDesc(Selected),
    /// Change a port: up, down; receive, forward, packet-in, flood (1.0), each with no- in front, too.
    ModPort {
        /// The switch.
        switch: String,
        /// Number or name.
        port: String,
        /// What to change.
        action: String,
    },
    /// Show the counters of queues.
    QueueStats(Queues),
    /// Show how queues are configured.
    QueueGetConfig(Queues),
}

/// Which queues.
#[derive(Debug, clap::Args)]
pub struct Queues {
    /// The switch.
    switch: String,
    /// Number or name; all without it.
    port: Option<String>,
    /// Number; all without it.
    queue: Option<String>,
}

pub async fn run(ofctl: &mut Ofctl, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::DumpPorts(of) => {
            let mut link = ofctl.connect(&of.switch).await?;
            let port = wanted(ofctl, &mut link, Some(&of.what)).await?;
            ofctl.dump(&mut link, Request::PortStats(port)).await
        }
        Verb::DumpPortsDesc(of) => desc(ofctl, &of).await,
        Verb::ModPort { switch, port, action } => change(ofctl, &switch, &port, &action).await,
        Verb::QueueStats(of) => {
            let mut link = ofctl.connect(&of.switch).await?;
            let (port, queue) = of.wanted(ofctl, &mut link).await?;
            ofctl.dump(&mut link, Request::Queue { port, queue }).await
        }
        Verb::QueueGetConfig(of) => queue_config(ofctl, &of).await,
    }
}

impl Queues {
    async fn wanted(
        &self,
        ofctl: &Ofctl,
        link: &mut Link,
    ) -> anyhow::Result<(Option<PortNo>, Option<QueueId>)> {
        let port = wanted(ofctl, link, self.port.as_deref()).await?;
        let queue = match self.queue.as_deref() {
            None | Some("ALL" | "all" | "ANY" | "any") => None,
            Some(text) => Some(QueueId(text.parse().with_context(|| format!("\"{text}\" is no queue"))?)),
        };
        Ok((port, queue))
    }
}

/// The port that is meant; none for all of them.
async fn wanted(ofctl: &Ofctl, link: &mut Link, text: Option<&str>) -> anyhow::Result<Option<PortNo>> {
    let text = match text {
        None | Some("" | "ANY" | "any" | "ALL" | "all") => return Ok(None),
        Some(text) => text,
    };
    if let Ok(number) = text.parse() {
        return Ok(Some(PortNo(number)));
    }
    let reserved = ports::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
    if let Some((port, _)) = reserved {
        return Ok(Some(*port));
    }
    if ofctl.options.no_names {
        bail!("\"{text}\" is no port number");
    }
    let (_, all) = ports_of(link).await?;
    let plain = text.trim_matches('"');
    match all.iter().find(|port| port.name == plain) {
        Some(port) => Ok(Some(port.port)),
        None => bail!("{}", no_port(link, text, &all)),
    }
}

fn no_port(link: &Link, text: &str, known: &[PortDesc]) -> String {
    let names: Vec<String> = known.iter().map(|port| port.name.to_string()).collect();
    let hint = closest(text, names.iter().map(String::as_str))
        .map(|meant| format!("; did you mean \"{meant}\"?"))
        .unwrap_or_default();
    format!("{} has no port \"{text}\"{hint}", link.target())
}

async fn desc(ofctl: &mut Ofctl, of: &Selected) -> anyhow::Result<()> {
    let mut link = ofctl.connect(&of.switch).await?;
    let port = wanted(ofctl, &mut link, Some(&of.what)).await?;
    let (xid, mut all) = ports_of(&mut link).await?;
    // Up to 1.4 a switch can only be asked for all of them.
    if let Some(port) = port {
        all.retain(|desc| desc.port == port);
        if all.is_empty() {
            bail!("{}", no_port(&link, &of.what, &[]));
        }
    }
    let reply = Reply::PortDesc(all);
    ofctl.print_reply(&link, xid, reply, &Names::default())
}

/// The bit of an action, and whether it is to be set; those of the spanning tree only 1.0 has.
const ACTIONS: &[(&str, u32, bool)] = &[
    ("up", PortConfig::PORT_DOWN.0, false),
    ("down", PortConfig::PORT_DOWN.0, true),
    ("receive", PortConfig::NO_RECV.0, false),
    ("no-receive", PortConfig::NO_RECV.0, true),
    ("forward", PortConfig::NO_FWD.0, false),
    ("no-forward", PortConfig::NO_FWD.0, true),
    ("packet-in", PortConfig::NO_PACKET_IN.0, false),
    ("no-packet-in", PortConfig::NO_PACKET_IN.0, true),
    ("stp", 1 << 1, false),
    ("no-stp", 1 << 1, true),
    ("receive-stp", 1 << 3, false),
    ("no-receive-stp", 1 << 3, true),
    ("flood", 1 << 4, false),
    ("no-flood", 1 << 4, true),
];

/// The bits of a port's configuration that later versions than 1.0 do not have.
const ONLY_10: u32 = 1 << 1 | 1 << 3 | 1 << 4;

async fn change(ofctl: &mut Ofctl, switch: &str, port: &str, action: &str) -> anyhow::Result<()> {
    let Some((_, bit, set)) = ACTIONS.iter().find(|(name, ..)| *name == action) else {
        match closest(action, ACTIONS.iter().map(|(name, ..)| *name)) {
            Some(meant) => bail!("no action \"{action}\" for a port; did you mean \"{meant}\"?"),
            None => {
                let all: Vec<_> = ACTIONS.iter().map(|(name, ..)| *name).collect();
                bail!("no action \"{action}\" for a port: one of {} is expected", all.join(", "))
            }
        }
    };
    let mut link = ofctl.connect(switch).await?;
    if bit & ONLY_10 != 0 && link.version() != Version::V10 {
        bail!("{action} is there in OpenFlow 1.0 only (-O OpenFlow10)");
    }
    let Some(number) = wanted(ofctl, &mut link, Some(port)).await? else { bail!("which port?") };
    let (_, all) = ports_of(&mut link).await?;
    let Some(desc) = all.iter().find(|desc| desc.port == number) else {
        bail!("{}", no_port(&link, port, &all))
    };
    let mask = PortConfig(*bit);
    let config = if *set { mask } else { PortConfig::NONE };
    let (port, mac, advertise) = (desc.port, desc.mac, PortFeatures::NONE);
    link.send(&Message::PortMod(PortMod { port, mac, config, mask, advertise }))?;
    match link.barrier().await?.pop_first() {
        Some((_, refusal)) => Err(refusal.into()),
        None => Ok(()),
    }
}

async fn queue_config(ofctl: &mut Ofctl, of: &Queues) -> anyhow::Result<()> {
    let mut link = ofctl.connect(&of.switch).await?;
    let (port, queue) = of.wanted(ofctl, &mut link).await?;
    if link.version() >= Version::V14 {
        return ofctl.dump(&mut link, Request::QueueDesc { port, queue }).await;
    }
    let names = ofctl.names_shown(&mut link).await?;
    // 1.0 can only be asked for one port after the other.
    let each = match (link.version(), port) {
        (Version::V10, None) => ports_of(&mut link).await?.1.iter().map(|desc| Some(desc.port)).collect(),
        (_, port) => vec![port],
    };
    for port in each {
        let (xid, mut reply) = link.ask(&Message::QueueGetConfigRequest(port)).await?;
        if let (Message::QueueGetConfigReply(config), Some(queue)) = (&mut reply, queue) {
            config.queues.retain(|own| own.queue == queue);
        }
        ofctl.print(Printed::new(link.version(), xid, &reply).names(&names))?;
    }
    Ok(())
}
