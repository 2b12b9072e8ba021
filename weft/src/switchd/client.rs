//! `weft port`, `weft flows`, `weft trace`: clients of switches, and of whatever else serves the same API.

use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Context, bail};
use controller_api::client::{Client, ClientError, Server, escape};
use controller_api::{Port, PortAdd, PortQueues, PortRef, Queue, Rate, TraceReply, TraceRequest};
use serde::Serialize;

use super::command::port_arg;
use crate::observe::nodes::everybody;
use crate::service::{lab_of, run_dir, sockets};

/// Commands that talk to a running switch (or to all of a lab).
#[derive(Debug, clap::Subcommand)]
pub enum ClientCommand {
    /// Add, remove, shape and list ports.
    Port {
        #[command(subcommand)]
        command: PortCommand,
    },
    /// Show the flows of the switches.
    Flows {
        #[command(flatten)]
        which: Which,
    },
    /// Follow a frame through a switch.
    Trace {
        #[command(flatten)]
        which: Which,
        /// The port it comes by: number or name.
        #[arg(long, required_unless_present = "sample")]
        port: Option<String>,
        /// The frame in hexadecimal, from the destination address on.
        #[arg(long, conflicts_with = "flow", required_unless_present_any = ["flow", "sample"])]
        frame: Option<String>,
        /// The frame described: tcp,dl_src=..,dl_dst=..,nw_src=..,nw_dst=..,tp_dst=80
        flow: Option<String>,
        #[command(flatten)]
        real: RealFrames,
    },
}

/// Following frames that really pass.
#[derive(Debug, clap::Args)]
pub struct RealFrames {
    /// Follow one in N of the frames that come in, as the switch forwards them.
    #[arg(long, value_name = "N", conflicts_with_all = ["frame", "flow"], value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
    /// End after as many.
    #[arg(long, value_name = "K", requires = "sample", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Only frames that a flow with this match would get; of several one suffices.
    #[arg(long = "match", value_name = "MATCH", requires = "sample")]
    matches: Vec<String>,
}

/// What to do with ports.
#[derive(Debug, clap::Subcommand)]
pub enum PortCommand {
    /// Attach a port while the switch runs.
    Add {
        #[command(flatten)]
        which: Which,
        /// NUMBER=WHAT, such as 3=tap:t3; without NUMBER= the lowest free one.
        #[arg(value_name = "[NUMBER=]WHAT")]
        port: String,
        /// Name of the port; by default that of the interface.
        #[arg(long)]
        name: Option<String>,
    },
    /// Detach a port.
    Del {
        #[command(flatten)]
        which: Which,
        /// Its number or name.
        port: String,
    },
    /// Let what leaves a port keep to a rate, or to queues with rates; without either, as it comes.
    Set {
        #[command(flatten)]
        which: Which,
        /// Its number or name.
        port: String,
        /// Most bits a second that leave the port, such as 20M.
        #[arg(long, value_name = "RATE")]
        rate: Option<Rate>,
        /// A queue: ID, what it is guaranteed (a part of --rate, which must be given then), its highest rate and its
        /// share of the rest, such as 1,max=10M; or, with --rate 20M, 1,min=5M,max=10M.
        #[arg(long = "queue", value_name = "ID[,min=RATE][,max=RATE][,weight=N]")]
        queues: Vec<Queue>,
    },
    /// Show a port with its queues and counters.
    Show {
        #[command(flatten)]
        which: Which,
        /// Its number or name.
        port: String,
    },
    /// List the ports with their counters.
    List {
        #[command(flatten)]
        which: Which,
    },
}

/// Which switch, and how it answers.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Name or dpid of the switch; needed where there are several. LAB/NAME tells switches of several labs apart.
    #[arg(long)]
    switch: Option<String>,
    /// Ask this server: unix:/path/to.sock or http://host:port. By default every switch of the run directory.
    #[arg(long)]
    server: Option<Server>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A switch and who speaks for it.
struct Found {
    client: Client,
    name: String,
    /// The lab it belongs to.
    lab: Option<String>,
}

impl Found {
    /// Its port of this number or name.
    async fn port(&self, wanted: &str) -> anyhow::Result<Port> {
        let ports = self.client.ports(&self.name).await?;
        let named = |p: &Port| p.name == wanted || p.number.to_string() == wanted;
        ports.into_iter().find(named).with_context(|| format!("switch {} has no port {wanted}", self.name))
    }

    /// The name, with the lab's where several of `all` have it.
    fn label(&self, all: &[Self]) -> String {
        match &self.lab {
            Some(lab) if all.iter().filter(|other| other.name == self.name).count() > 1 => {
                format!("{lab}/{}", self.name)
            }
            _ => self.name.clone(),
        }
    }
}

impl Which {
    /// Every switch that is meant; at least one.
    async fn all(&self) -> anyhow::Result<Vec<Found>> {
        let mut found = Vec::new();
        match &self.server {
            Some(server) => found.extend(self.on(Client::new(server.clone()), None).await?),
            None => {
                for socket in sockets(&run_dir()?, "sock") {
                    let lab = lab_of(&socket);
                    let client = Client::unix(socket);
                    // Other daemons have sockets there, too, and some are left from processes that were killed.
                    if client.health().await.is_ok_and(|health| health.service == "switch") {
                        found.extend(self.on(client, lab).await?);
                    }
                }
            }
        }
        if let (true, Some(name), None) = (found.is_empty(), &self.switch, &self.server)
            && let Some(node) = everybody()
                .await?
                .into_iter()
                .find(|node| node.health.service != "switch" && node.is_node(name))
        {
            bail!("{} is a {}, and this is for switches", node.label(), node.health.service);
        }
        match (found.is_empty(), &self.switch, &self.server) {
            (false, ..) => Ok(found),
            (true, Some(name), _) => {
                bail!("no switch \"{name}\" is running: `weft switch --name {name}` starts one")
            }
            (true, None, Some(server)) => bail!("{server} knows no switch"),
            (true, None, None) => bail!("no switch is running in {}", run_dir()?.display()),
        }
    }

    async fn on(&self, client: Client, lab: Option<String>) -> anyhow::Result<Vec<Found>> {
        let mut switches = client.switches().await?;
        if let Some(wanted) = &self.switch {
            let wanted = match wanted.split_once('/') {
                Some((of, name)) if lab.as_deref() == Some(of) => name,
                _ => wanted,
            };
            switches.retain(|switch| switch.name == wanted || switch.dpid.to_string() == wanted);
        }
        let found = |name| Found { client: client.clone(), name, lab: lab.clone() };
        Ok(switches.into_iter().map(|switch| found(switch.name)).collect())
    }

    async fn one(&self) -> anyhow::Result<Found> {
        let mut all = self.all().await?;
        if all.len() > 1 {
            let names: Vec<_> = all.iter().map(|found| found.label(&all)).collect();
            bail!("there are several switches, so --switch is needed: one of {}", names.join(", "));
        }
        all.pop().context("at least one was found")
    }
}

/// Runs one of [`ClientCommand`].
///
/// # Errors
/// What the daemon answered or why it could not be reached.
pub fn run_client(command: ClientCommand) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            ClientCommand::Port { command } => run_port(command).await?,
            ClientCommand::Flows { which } => show_flows(&which).await?,
            ClientCommand::Trace { which, port, real, .. } if real.sample.is_some() => {
                follow(&which.one().await?, port.as_deref(), &real, which.json).await?;
            }
            ClientCommand::Trace { which, port, frame, flow, .. } => {
                let found = which.one().await?;
                let port = port.context("clap wants a port without --sample")?;
                // The REST API writes SWITCH:PORT, so people do, too.
                let port = port.strip_prefix(&format!("{}:", found.name)).unwrap_or(&port);
                let request = TraceRequest { port: PortRef::new(found.name, port), frame, flow };
                let reply = found.client.trace(&request).await?;
                if which.json { print_json(&reply)? } else { println!("{}", reply.text.trim_end()) }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints what becomes of real frames, as they come.
async fn follow(found: &Found, port: Option<&str>, real: &RealFrames, json: bool) -> anyhow::Result<()> {
    let mut path = format!("/api/v1/samples?every={}", real.sample.unwrap_or(1));
    for (name, value) in [("match", real.matches.join("\n")), ("port", port.unwrap_or_default().to_owned())] {
        if !value.is_empty() {
            path += &format!("&{name}={}", escape(&value));
        }
    }
    if let Some(count) = real.count {
        path += &format!("&count={count}");
    }
    let (mut line, mut n, mut failure) = (Vec::new(), 0u64, None);
    let tell = |piece: &[u8]| {
        for &byte in piece {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            n += 1;
            if let Err(error) = print_sample(&line, n, json) {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            line.clear();
        }
        if crate::print::is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let result = tokio::select! {
        result = found.client.download(&path, tell) => result,
        () = crate::print::nobody_reads() => Ok(()),
    };
    match result {
        Err(ClientError::Ended { .. }) => {
            bail!("the switch {} has ended; {n} frames were followed", found.name)
        }
        Err(error) => Err(error.into()),
        Ok(()) => failure.map_or(Ok(()), Err),
    }
}

fn print_sample(line: &[u8], n: u64, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", std::str::from_utf8(line)?);
        return Ok(());
    }
    let reply: TraceReply = serde_json::from_slice(line)?;
    println!("Frame {n}");
    println!("{}", reply.text.trim_end());
    Ok(())
}

async fn run_port(command: PortCommand) -> anyhow::Result<()> {
    match command {
        PortCommand::Add { which, port, name } => {
            let found = which.one().await?;
            let port = port_arg(&port)?;
            let number = port.number.map(|number| number.0);
            let wanted = PortAdd { number, spec: port.spec.to_string(), name };
            let added = found.client.add_port(&found.name, &wanted).await?;
            if which.json {
                return print_json(&added);
            }
            println!("port {} ({}) added to {}", added.number, added.name, found.name);
        }
        PortCommand::Del { which, port } => {
            let found = which.one().await?;
            let number = found.port(&port).await?.number;
            found.client.delete_port(&found.name, number).await?;
            if !which.json {
                println!("port {number} removed from {}", found.name);
            }
        }
        PortCommand::Set { which, port, rate, queues } => {
            if let (None, Some(queue)) = (rate, queues.iter().find(|queue| queue.min.is_some())) {
                let id = queue.id;
                bail!(
                    "queue {id} is guaranteed a part of the port's rate, so that is needed: add --rate, such as --rate 100M"
                );
            }
            let found = which.one().await?;
            let number = found.port(&port).await?.number;
            let wanted = PortQueues { rate, queues };
            let port = found.client.set_queues(&found.name, number, &wanted).await?;
            if which.json { print_json(&port)? } else { print_port(&found.name, &port) }
        }
        PortCommand::Show { which, port } => {
            let found = which.one().await?;
            let port = found.port(&port).await?;
            if which.json { print_json(&port)? } else { print_port(&found.name, &port) }
        }
        PortCommand::List { which } => {
            let found = which.all().await?;
            let mut all = Vec::new();
            for switch in &found {
                all.push((switch.label(&found), switch.client.ports(&switch.name).await?));
            }
            if which.json {
                return print_json(&by_switch(all));
            }
            print_ports(&all);
        }
    }
    Ok(())
}

fn print_port(switch: &str, port: &Port) {
    print_ports(&[(switch.to_owned(), vec![port.clone()])]);
    if port.queues.is_empty() {
        return;
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["QUEUE", "MIN", "MAX", "WEIGHT", "TX FRAMES", "TX BYTES", "DROPPED"]);
    for state in &port.queues {
        let rate = |rate: Option<Rate>| rate.map(|rate| rate.to_string()).unwrap_or_default();
        table.add_row([
            state.queue.id.to_string(),
            rate(state.queue.min),
            rate(state.queue.max),
            state.queue.weight.unwrap_or(1).to_string(),
            state.tx_frames.to_string(),
            state.tx_bytes.to_string(),
            state.tx_errors.to_string(),
        ]);
    }
    println!("{table}");
}

fn print_ports(all: &[(String, Vec<Port>)]) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "SWITCH",
        "PORT",
        "NAME",
        "LINK",
        "WHAT",
        "MAC",
        "RX FRAMES",
        "TX FRAMES",
        "DROPPED",
        "RATE",
        "QUEUES",
    ]);
    for (switch, ports) in all {
        for port in ports {
            let counters = port.counters.unwrap_or_default();
            table.add_row([
                switch.clone(),
                port.number.to_string(),
                port.name.clone(),
                if port.up { "up" } else { "down" }.to_owned(),
                port.spec.clone().unwrap_or_default(),
                port.mac.to_string(),
                counters.rx_frames.to_string(),
                counters.tx_frames.to_string(),
                (counters.rx_dropped + counters.tx_dropped).to_string(),
                port.rate.map(|rate| rate.to_string()).unwrap_or_default(),
                port.queues.iter().map(|state| state.queue.id.to_string()).collect::<Vec<_>>().join(","),
            ]);
        }
    }
    println!("{table}");
}

async fn show_flows(which: &Which) -> anyhow::Result<()> {
    let found = which.all().await?;
    let mut all = Vec::new();
    for switch in &found {
        all.push((switch.label(&found), switch.client.flows(&switch.name).await?));
    }
    if which.json {
        return print_json(&by_switch(all));
    }
    let several = all.len() > 1;
    for (name, flows) in all {
        if several {
            println!("{name}:");
        }
        for flow in flows {
            println!(" {}", flow.text);
        }
    }
    Ok(())
}

fn by_switch<T>(all: Vec<(String, Vec<T>)>) -> std::collections::BTreeMap<String, Vec<T>> {
    all.into_iter().collect()
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
