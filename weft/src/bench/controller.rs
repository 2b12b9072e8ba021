//! `weft bench controller`: what one more port costs in a network that has many, from the REST call to the barrier; what
//! it takes to realise many hosts from nothing, to follow a link that goes down, and to find everything again after a
//! restart.
//!
//! The switches keep flows and answer, and forward nothing. For the ports controller, REST over TCP and switches are one
//! process; otherwise the switches are another one and connect over TCP.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

mod declared;
mod fleet;
mod link_down;
mod restart;
mod switch;
mod wire;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use controller_api::client::{Client, Server};
use controller_api::{Declaration, Network, PortRef, State, Stored, Written};
use openflow::PortNo;
use serde::Serialize;

use crate::controllerd::{ControllerHandle, ControllerSpec, Hub, start};
use fleet::Shape;

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(120);
/// Ports of a network. Half of them are on one switch, half on the next.
const PORTS_PER_NETWORK: usize = 50;
/// Ports of a switch, at most: more do not fit into one message that describes them.
const PORTS_PER_SWITCH: usize = 500;

/// Arguments of `weft bench controller`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ports declared beforehand, one measurement each.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000, 100_000])]
    ports: Vec<usize>,
    /// Changes of each measurement.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// Declare so many hosts instead, from nothing, on `--switches`.
    #[arg(long, value_name = "HOSTS", value_parser = clap::value_parser!(u32).range(100..=20_000))]
    hosts: Option<u32>,
    /// Take so many links of a leaf-spine down instead, one after the other.
    #[arg(long, value_name = "LINKS", value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "restart")]
    link_down: Option<u16>,
    /// Kill the controller of a leaf-spine instead, and start it again.
    #[arg(long)]
    restart: bool,
    /// Switches in all: 100, of which links go down 200.
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=1000))]
    switches: Option<u16>,
    /// How many of them are spines; without one no switch is linked to another.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=64))]
    spines: u16,
    /// As JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub use fleet::{SwitchesArgs, run_switches};

#[derive(Debug, Serialize)]
struct Outcome {
    ports: usize,
    switches: usize,
    networks: usize,
    flows: usize,
    /// From the declaration of everything to the last barrier, in seconds.
    realised: f64,
    /// One more port or one less, in milliseconds: median, 99th percentile, worst.
    change: [f64; 3],
}

/// Measures and prints.
///
/// # Errors
/// When something is not realised in time.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // As `weft controller` does.
    netio::alloc::share_heap();
    let shape = |n_switches: u16, n_hosts: u32| -> anyhow::Result<Shape> {
        ensure!(args.spines < n_switches, "of {n_switches} switches {} cannot be spines", args.spines);
        let n_ports = n_hosts.div_ceil(u32::from(n_switches - args.spines));
        Ok(Shape { n_switches, n_spines: args.spines, n_ports })
    };
    if let Some(n_times) = args.link_down {
        ensure!(args.spines > 0, "without spines there are no links");
        let n_hosts = args.hosts.unwrap_or(1_000);
        let shape = shape(args.switches.unwrap_or(200), n_hosts)?;
        return link_down::run(link_down::Spec { shape, n_hosts, n_times }, args.json);
    }
    if args.restart {
        let n_hosts = args.hosts.unwrap_or(2_000);
        return restart::run(n_hosts, shape(args.switches.unwrap_or(100), n_hosts)?, args.json);
    }
    if let Some(n_hosts) = args.hosts {
        return declared::run(n_hosts, shape(args.switches.unwrap_or(100), n_hosts)?, args.json);
    }
    for &n_ports in &args.ports {
        ensure!((100..=100_000).contains(&n_ports), "100 to 100,000 ports can be measured");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(measure(n_ports, args.changes))?;
        runtime.shutdown_background();
        let Outcome { ports, switches, networks, flows, realised, change: [median, p99, worst] } = outcome;
        if args.json {
            println!("{}", serde_json::to_string(&outcome)?);
        } else {
            println!(
                "{ports} ports, {networks} networks, {switches} switches, {flows} flows: realised in {realised:.1} s"
            );
            println!(
                "one port more or less: median {median:.2} ms, 99 % under {p99:.2} ms, worst {worst:.2} ms"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(n_ports: usize, n_changes: usize) -> anyhow::Result<Outcome> {
    let rest = Some("127.0.0.1:0".parse()?);
    let handle = start(ControllerSpec { name: "bench".into(), rest, ..ControllerSpec::default() }).await?;
    let n_networks = n_ports / PORTS_PER_NETWORK;
    let n_switches = n_ports.div_ceil(PORTS_PER_SWITCH).max(2);
    // Beside those that are declared, each switch has ports to add.
    let per_switch = u32::try_from(n_ports.div_ceil(n_switches) + 2 * PORTS_PER_NETWORK)?;
    for dpid in 1..=n_switches {
        tokio::spawn(fleet::serve_alone(handle.connector().connect(), dpid as u64, per_switch));
    }
    let mut next = vec![1; n_switches];
    let networks: Vec<Network> = (0..n_networks).map(|idx| network(idx, &mut next)).collect();
    let addr = handle.rest_addr().context("REST is served")?;
    let client = Client::new(Server::Tcp(addr.to_string()));
    let began = Instant::now();
    let declaration = Declaration { networks: networks.clone(), ..Declaration::default() };
    client.put::<_, Written>("/api/v1/intents", &declaration).await?;
    quiet(&handle, n_switches).await?;
    let realised = began.elapsed().as_secs_f64();
    let flows = n_flows(handle.hub());

    let mut took = Vec::with_capacity(n_changes);
    for nth in 0..n_changes {
        // First a port that was there, then as it was.
        let mut network = networks[(nth / 2 * 7_919) % n_networks].clone();
        if nth % 2 == 0 {
            let spare = PortRef::new(network.ports[0].node.clone(), PortNo(per_switch));
            network.ports.push(spare);
        }
        let path = format!("/api/v1/networks/{}?wait=realised", network.name);
        let asked = Instant::now();
        let stored: Stored<Network> = client.put(&path, &network).await?;
        took.push(asked.elapsed());
        ensure!(stored.status.state == State::Realised, "a change was not realised: {:?}", stored.status);
    }
    took.sort_unstable();
    let at = |part: f64| -> f64 {
        let idx = ((took.len() as f64 * part) as usize).min(took.len().saturating_sub(1));
        took.get(idx).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    let change = [at(0.5), at(0.99), at(1.0)];
    Ok(Outcome { ports: n_ports, switches: n_switches, networks: n_networks, flows, realised, change })
}

/// Flows that are wanted.
fn n_flows(hub: &Hub) -> usize {
    hub.read(|core| core.blueprint().switches.values().map(BTreeMap::len).sum())
}

/// The next free ports of two neighbouring switches.
fn network(idx: usize, next: &mut [u32]) -> Network {
    let mut ports = Vec::with_capacity(PORTS_PER_NETWORK);
    for nth in 0..PORTS_PER_NETWORK {
        let switch = (idx + nth % 2) % next.len();
        ports.push(PortRef::new(format!("s{}", switch + 1), PortNo(next[switch])));
        next[switch] += 1;
    }
    let vlan = u16::try_from(idx + 1).unwrap_or(u16::MAX);
    Network { name: format!("n{idx}"), vlan, ports, trunks: vec![], hosts: vec![] }
}

/// Waits until all switches hold what is wanted and discovery has settled.
async fn quiet(handle: &ControllerHandle, n_switches: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !handle.hub().read(|core| core.view().switches().len() == n_switches && core.is_quiet()) {
        ensure!(Instant::now() < deadline, "not all was realised within two minutes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
