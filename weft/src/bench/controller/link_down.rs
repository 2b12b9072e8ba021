//! A link of a leaf-spine goes down: the time from there to the barrier behind the last flow or group that is different for
//! it. The switches are a process of their own.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ::controller::Controller;
use anyhow::{Context, ensure};
use controller_api::client::{Client, Server};
use controller_api::{Declaration, Written};
use openflow::{Dpid, PortNo};
use serde::Serialize;

use super::declared::networks;
use super::fleet::{Process, Shape};
use super::{DEADLINE, n_flows};
use crate::controllerd::{ControllerHandle, ControllerSpec, Hub, start};

/// Before each link.
const PAUSE: Duration = Duration::from_millis(50);

/// Arguments of it.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub shape: Shape,
    pub n_hosts: u32,
    /// Links that go down, one after the other; each comes back before the next.
    pub n_times: u16,
}

#[derive(Debug, Serialize)]
struct Outcome {
    switches: u16,
    spines: u16,
    links: usize,
    hosts: u32,
    flows: usize,
    /// Flows and groups that a link makes different, at most.
    changes: u64,
    /// From the link to the last barrier, in milliseconds: median, worst.
    convergence: [f64; 2],
}

/// Measures and prints.
pub fn run(spec: Spec, json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(measure(spec))?;
    runtime.shutdown_background();
    if json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        let Outcome { switches, spines, links, hosts, flows, changes, convergence: [median, worst] } =
            outcome;
        println!("{switches} switches, {spines} of them spines, {links} links, {hosts} hosts, {flows} flows");
        println!(
            "a link down: {changes} changes at most; confirmed in {median:.2} ms (median), {worst:.2} (worst)"
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(Spec { shape, n_hosts, n_times }: Spec) -> anyhow::Result<Outcome> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (openflow, rest) = (vec![any.into()], Some(any));
    let spec = ControllerSpec { name: "bench".into(), openflow, rest, ..ControllerSpec::default() };
    let handle = start(spec).await?;
    let place = handle.openflow().first().context("OpenFlow is served")?.addr;
    let mut switches = Process::start(shape, place)?;
    // Each link is there twice, once in each direction.
    let links = 2 * usize::from(shape.n_spines) * usize::from(shape.n_leaves());
    let is_whole = |hub: &Hub| hub.read(|core| core.view().links().len() == links && core.is_quiet());
    let hub = handle.hub();
    ensure!(hub.wait_until(DEADLINE, is_whole).await, "not all links are there after two minutes");
    declare(&handle, n_hosts, shape).await?;
    ensure!(hub.wait_until(DEADLINE, is_whole).await, "not all was realised within two minutes");

    let (mut took, mut changes) = (Vec::new(), 0);
    for nth in 0..n_times {
        let leaf = (u32::from(nth) * 7919 % u32::from(shape.n_leaves())) as u16;
        let ends = shape.link(nth % shape.n_spines, leaf);
        // As a link that goes down when nobody has anything else to do.
        tokio::time::sleep(PAUSE).await;
        let before = hub.read(Controller::n_changes);
        let began = Instant::now();
        switches.set_link(ends, false)?;
        // When the last change so far was confirmed.
        let mut last = (before, began);
        let is_done = |hub: &Hub| {
            hub.read(|core| {
                let n_changes = core.n_changes();
                if n_changes > last.0 && core.is_confirmed_by_all() {
                    last = (n_changes, Instant::now());
                }
                is_down(core, ends) && core.is_followed()
            })
        };
        ensure!(hub.wait_until(DEADLINE, is_done).await, "the network did not follow within two minutes");
        ensure!(last.0 > before, "a link is gone, and nothing was changed");
        took.push((last.1 - began).as_secs_f64() * 1e3);
        changes = changes.max(last.0 - before);
        switches.set_link(ends, true)?;
        ensure!(hub.wait_until(DEADLINE, is_whole).await, "a link did not come back within two minutes");
    }
    took.sort_unstable_by(f64::total_cmp);
    let median = took.get(took.len() / 2).copied().context("nothing was measured")?;
    let worst = took.last().copied().unwrap_or(median);
    Ok(Outcome {
        switches: shape.n_switches,
        spines: shape.n_spines,
        links: links / 2,
        hosts: n_hosts,
        flows: n_flows(hub),
        changes,
        convergence: [median, worst],
    })
}

async fn declare(handle: &ControllerHandle, n_hosts: u32, shape: Shape) -> anyhow::Result<()> {
    let client = Client::new(Server::Tcp(handle.rest_addr().context("REST is served")?.to_string()));
    let declaration = Declaration { networks: networks(n_hosts, shape), ..Declaration::default() };
    client.put::<_, Written>("/api/v1/intents", &declaration).await?;
    Ok(())
}

/// The controller knows of both ends that they are down.
fn is_down(core: &Controller, ends: [(u64, u32); 2]) -> bool {
    ends.into_iter().all(|(dpid, port)| {
        let at = (Dpid(dpid), PortNo(port));
        !core.view().is_link(at) && core.view().port(at).is_some_and(|port| !port.up)
    })
}
