//! Many hosts declared at once, from nothing to the last barrier. The switches are a process of their own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use controller_api::client::{Client, Server};
use controller_api::{Declaration, Mac, Network, PortRef, Reservation, Written};
use openflow::PortNo;
use serde::Serialize;

use super::fleet::{Process, Shape};
use super::{DEADLINE, n_flows};
use crate::controllerd::{ControllerSpec, Hub, start};

/// Hosts of a network.
const HOSTS_PER_NETWORK: u32 = 50;
/// Flow mods that the source has for all switches together.
const SOURCED: u32 = 1_000_000;

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
    /// Flow mods a second that the same switches confirm to a source that has them ready.
    generator: f64,
}

/// Measures and prints.
pub fn run(n_hosts: u32, shape: Shape, json: bool) -> anyhow::Result<ExitCode> {
    let generator = sourced(shape)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = Outcome { generator, ..runtime.block_on(measure(n_hosts, shape))? };
    runtime.shutdown_background();
    if json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        let Outcome { hosts, switches, flows, realised, flows_per_second, memory, generator } = outcome;
        println!("{hosts} hosts on {switches} switches, {flows} flows: realised in {realised:.2} s");
        println!("{flows_per_second:.0} flow mods a second confirmed; {memory:.0} MiB");
        println!("{generator:.0} a second confirmed to a source that has them ready");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the switches can do: flow mods a second, confirmed by barriers, from a source that does nothing but send them.
fn sourced(shape: Shape) -> anyhow::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _switches = Process::start(shape, listener.local_addr()?)?;
    let mut streams = Vec::new();
    for _ in 0..shape.n_switches {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        // The hello of a switch is eight bytes.
        stream.read_exact(&mut [0; 8])?;
        stream.write_all(&[4, 0, 0, 8, 0, 0, 0, 1])?;
        streams.push(stream);
    }
    let per_switch = SOURCED / u32::from(shape.n_switches);
    let mods: Vec<u8> = (0..per_switch).flat_map(flow_mod).collect();
    let began = Instant::now();
    // A few at a time, so that all have something to do.
    for lot in mods.chunks(96 * 500) {
        for stream in &mut streams {
            stream.write_all(lot)?;
        }
    }
    for stream in &mut streams {
        stream.write_all(&[4, 20, 0, 8, 0, 0, 0, 2])?;
    }
    for stream in &mut streams {
        confirmed(stream)?;
    }
    let n_mods = per_switch * u32::from(shape.n_switches);
    Ok(f64::from(n_mods) / began.elapsed().as_secs_f64())
}

/// Reads the answer to the barrier.
fn confirmed(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).context("a switch does not confirm")?;
    ensure!(reply[1] == 21, "a switch answers a barrier with a message of kind {}", reply[1]);
    Ok(())
}

/// A flow by address, to a port.
fn flow_mod(nth: u32) -> [u8; 96] {
    let mut message = [0; 96];
    message[..8].copy_from_slice(&[4, 14, 0, 96, 0, 0, 0, 3]);
    // Table 0, add, no timeouts, priority 1, no buffer, any port, any group, no flags.
    message[24..32].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
    message[32..44].fill(0xff);
    // Match: eth_dst, eth_src; 24 bytes and no padding.
    message[48..56].copy_from_slice(&[0, 1, 0, 24, 0x80, 0, 6, 6]);
    message[58..62].copy_from_slice(&nth.to_be_bytes());
    message[62..66].copy_from_slice(&[0x80, 0, 8, 6]);
    // Apply-actions: output to port 1.
    message[72..96]
        .copy_from_slice(&[0, 4, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    message
}

async fn measure(n_hosts: u32, shape: Shape) -> anyhow::Result<Outcome> {
    let spec = ControllerSpec {
        name: "bench".into(),
        openflow: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
        rest: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..ControllerSpec::default()
    };
    let handle = start(spec).await?;
    let place = handle.openflow().first().context("OpenFlow is served")?.addr;
    let _switches = Process::start(shape, place)?;
    let hub = handle.hub();
    // Each link is there twice, once in each direction.
    let n_links = 2 * usize::from(shape.n_spines) * usize::from(shape.n_leaves());
    let is_there = |hub: &Hub| {
        hub.read(|core| {
            let n_switches = core.view().switches().len();
            n_switches == usize::from(shape.n_switches)
                && core.view().links().len() == n_links
                && core.is_quiet()
        })
    };
    ensure!(hub.wait_until(DEADLINE, is_there).await, "not all switches are there after two minutes");

    let client = Client::new(Server::Tcp(handle.rest_addr().context("REST is served")?.to_string()));
    let declaration = Declaration { networks: networks(n_hosts, shape), ..Declaration::default() };
    let before = n_flows(hub);
    let began = Instant::now();
    client.put::<_, Written>("/api/v1/intents", &declaration).await?;
    ensure!(hub.wait_until(DEADLINE, is_there).await, "not all was realised within two minutes");
    let realised = began.elapsed().as_secs_f64();
    let flows = n_flows(hub);
    let flows_per_second = flows.abs_diff(before) as f64 / realised;
    let (switches, memory) = (shape.n_switches, memory()?);
    Ok(Outcome { hosts: n_hosts, switches, flows, realised, flows_per_second, memory, generator: 0.0 })
}

/// Host `n` is at port `n / leaves` of leaf `n % leaves`.
pub fn networks(n_hosts: u32, shape: Shape) -> Vec<Network> {
    let n_leaves = u32::from(shape.n_leaves());
    let host = |n: u32| {
        let (leaf, port) = (shape.leaf((n % n_leaves) as u16), shape.host_port(n / n_leaves));
        let port = PortRef::new(format!("s{leaf}"), PortNo(port));
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
