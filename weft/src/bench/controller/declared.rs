//! Many hosts declared at once, from nothing to the last barrier. The switches are a process of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use controller_api::client::{Client, Server};
use controller_api::{Declaration, Mac, Network, PortRef, Reservation, Written};
use openflow::PortNo;
use serde::Serialize;

use super::switch;
use crate::controllerd::{ControllerSpec, start};

/// Hosts of a network.
const HOSTS_PER_NETWORK: u32 = 50;
/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(120);

/// Arguments of the process that is the switches.
#[derive(Debug, clap::Args)]
pub struct SwitchesArgs {
    /// The controller.
    #[arg(long)]
    controller: SocketAddr,
    /// How many.
    #[arg(long)]
    switches: u16,
    /// Ports of each.
    #[arg(long)]
    ports: u32,
}

#[derive(Debug, Serialize)]
struct Outcome {
    hosts: u32,
    switches: u16,
    flows: usize,
    /// From the declaration to the last barrier, in seconds.
    realised: f64,
    /// Flows confirmed a second.
    flows_per_second: f64,
    /// Most memory of the controller, in MiB.
    memory: f64,
}

/// Is switches, until it is ended.
pub fn run_switches(args: &SwitchesArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut switches = tokio::task::JoinSet::new();
        for dpid in 1..=args.switches {
            let stream = tokio::net::TcpStream::connect(args.controller).await?;
            stream.set_nodelay(true)?;
            switches.spawn(switch::serve(stream, dpid.into(), args.ports));
        }
        while switches.join_next().await.is_some() {}
        Ok(ExitCode::SUCCESS)
    })
}

/// Measures and prints.
pub fn run(n_hosts: u32, n_switches: u16, json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(measure(n_hosts, n_switches))?;
    runtime.shutdown_background();
    if json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        let Outcome { hosts, switches, flows, realised, flows_per_second, memory } = outcome;
        println!("{hosts} hosts on {switches} switches, {flows} flows: realised in {realised:.2} s");
        println!("{flows_per_second:.0} flow mods a second confirmed; {memory:.0} MiB");
    }
    Ok(ExitCode::SUCCESS)
}

/// A process that ends with this.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(n_hosts: u32, n_switches: u16) -> anyhow::Result<Outcome> {
    let spec = ControllerSpec {
        name: "bench".into(),
        openflow: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
        rest: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..ControllerSpec::default()
    };
    let handle = start(spec).await?;
    let place = handle.openflow().first().context("OpenFlow is served")?.addr;
    let per_switch = n_hosts.div_ceil(n_switches.into());
    let (ports, switches) = (per_switch.to_string(), n_switches.to_string());
    let own = std::env::current_exe()?;
    let mut command = Command::new(own);
    command.args(["bench", "switches", "--controller", &place.to_string()]);
    command.args(["--switches", &switches, "--ports", &ports]).stdout(Stdio::null());
    let _switches = Child(command.spawn().context("cannot start the switches")?);
    let hub = handle.hub();
    let is_there = |hub: &crate::controllerd::Hub| {
        hub.read(|core| core.view().switches().len() == usize::from(n_switches) && core.is_quiet())
    };
    ensure!(hub.wait_until(DEADLINE, is_there).await, "not all switches are there after two minutes");

    let client = Client::new(Server::Tcp(handle.rest_addr().context("REST is served")?.to_string()));
    let declaration = Declaration { networks: networks(n_hosts, n_switches), ..Declaration::default() };
    let count = |hub: &crate::controllerd::Hub| -> usize {
        hub.read(|core| core.blueprint().switches.values().map(std::collections::BTreeMap::len).sum())
    };
    let before = count(hub);
    let began = Instant::now();
    client.put::<_, Written>("/api/v1/intents", &declaration).await?;
    ensure!(hub.wait_until(DEADLINE, is_there).await, "not all was realised within two minutes");
    let realised = began.elapsed().as_secs_f64();
    let flows = count(hub);
    let flows_per_second = flows.abs_diff(before) as f64 / realised;
    Ok(Outcome { hosts: n_hosts, switches: n_switches, flows, realised, flows_per_second, memory: memory()? })
}

/// Host `n` is at port `n / switches + 1` of switch `n % switches + 1`.
fn networks(n_hosts: u32, n_switches: u16) -> Vec<Network> {
    let host = |n: u32| {
        let (switch, port) = (n % u32::from(n_switches) + 1, n / u32::from(n_switches) + 1);
        let port = PortRef::new(format!("s{switch}"), PortNo(port));
        let [_, _, a, b] = n.to_be_bytes();
        let addresses = vec![IpAddr::V4(Ipv4Addr::new(10, 0, a, b))];
        Reservation { port, mac: Mac([0x02, 0xcc, 0, 0, a, b]), addresses }
    };
    let network = |idx: u32| {
        let hosts: Vec<Reservation> =
            (idx * HOSTS_PER_NETWORK..n_hosts.min((idx + 1) * HOSTS_PER_NETWORK)).map(host).collect();
        let ports = hosts.iter().map(|host| host.port.clone()).collect();
        Network { name: format!("n{idx}"), vlan: (idx + 1) as u16, ports, trunks: vec![], hosts }
    };
    (0..n_hosts.div_ceil(HOSTS_PER_NETWORK)).map(network).collect()
}

/// The most that this process has had in memory, in MiB.
fn memory() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most = most.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    Ok(most.context("/proc/self/status has no VmHWM")? / 1024.0)
}
