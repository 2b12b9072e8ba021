//! `weft bench router`: packets from memory, through the router of one worker, into ports that only count.
//!
//! As with `weft bench datapath` nothing is left out that a real port has but the device. Before each measurement every
//! packet goes through once and what leaves is held to what must: the next router of its prefix, or an outside endpoint
//! that nobody else has, with right checksums.

mod rig;
mod traffic;

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, ensure};
use serde::Serialize;
use vrouter::{Drop, Fpm, Prefix, RouterConfig};

use super::replay::Frames;
use rig::{Rig, Sample, resident};
use traffic::{IN, OUT};

/// Packets that are replayed in turn, unless there are as many flows.
const N_PACKETS: usize = 1 << 20;

/// Arguments of `weft bench router`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure these alone.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<Case>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3.0, value_parser = super::seconds)]
    seconds: f64,
    /// The worker looks for frames all the time, as a poll-mode driver would.
    #[arg(long)]
    spin: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Case {
    /// New flows, and what each takes in memory: first, since others leave memory that would be used again.
    #[value(name = "new-flows")]
    NewFlows,
    /// The same of IPv6, without translation.
    #[value(name = "flows-v6")]
    FlowsV6,
    /// Ten million of IPv4: takes 3 GiB, and is measured only when it is named.
    #[value(name = "flows-10m")]
    FlowsMany,
    /// IPv4 with 10,000 prefixes.
    #[value(name = "ipv4-10k")]
    Ipv4Small,
    /// IPv4 with a million.
    #[value(name = "ipv4-1m")]
    Ipv4Large,
    /// IPv6 with 250,000.
    #[value(name = "ipv6-250k")]
    Ipv6,
    /// 65,000 translated flows, both directions.
    #[value(name = "nat44-65k")]
    NatSmall,
    /// A million.
    #[value(name = "nat44-1m")]
    NatLarge,
    /// IPv4 while a routing daemon changes a million routes.
    #[value(name = "changes")]
    Changes,
    /// Packets that 10,000 firewall rules are asked about, all of them.
    #[value(name = "firewall-10k")]
    FirewallSmall,
    /// The same with 100,000.
    #[value(name = "firewall-100k")]
    FirewallLarge,
}

impl Case {
    fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self);
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    case: String,
    /// Packets a second of wall time, in millions.
    #[serde(skip_serializing_if = "Option::is_none")]
    mpps: Option<f64>,
    /// Processor time of the worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    ns_per_packet: Option<f64>,
    /// The same in ticks of the time-stamp counter.
    #[serde(skip_serializing_if = "Option::is_none")]
    cycles_per_packet: Option<f64>,
    /// Allocations while it was measured, of all threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    allocations: Option<u64>,
    /// Routes a second, told by FPM, until the worker forwards by them: all of them first, then all by another next hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    routes_loaded_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes_changed_per_second: Option<f64>,
    /// Seconds until all were loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_flows_per_second: Option<f64>,
    /// Resident memory that all flows take, by their number: connections, bindings, permits, lists and indices.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_flow: Option<f64>,
    /// Microseconds from one batch to the next that 99 of 100 stay below: with routes at rest, and while they change.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_p99_us_in_changes: Option<f64>,
}

/// Measures what was asked for.
///
/// # Errors
/// When threads cannot be had, or packets do not leave as they must.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    use clap::ValueEnum;
    netio::alloc::count_allocations();
    let is_usual = |case: &Case| args.only.is_empty() && *case != Case::FlowsMany;
    let wanted = |case: &&Case| is_usual(case) || args.only.contains(case);
    for case in Case::value_variants().iter().filter(wanted) {
        let outcome = measure(*case, args)?;
        print(args, &Outcome { case: case.name(), ..outcome })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(case: Case, args: &Args) -> anyhow::Result<Outcome> {
    match case {
        Case::Ipv4Small => forward(args, (10_000, false), N_PACKETS),
        Case::Ipv4Large => forward(args, (1_000_000, false), N_PACKETS),
        Case::Ipv6 => forward(args, (250_000, true), N_PACKETS),
        Case::NatSmall => translate(args, 65_000),
        Case::NatLarge => translate(args, 1_000_000),
        Case::NewFlows => open(args, traffic::nat_config(64), (1_000_000, false)),
        Case::FlowsV6 => open(args, traffic::tracking_config(), (1_000_000, true)),
        Case::FlowsMany => open(args, traffic::nat_config(256), (10_000_000, false)),
        Case::Changes => change(args, 10_000, 1_000_000),
        Case::FirewallSmall => judge(args, 10_000, N_PACKETS),
        Case::FirewallLarge => judge(args, 100_000, N_PACKETS),
    }
}

fn outcome(sample: &Sample) -> Outcome {
    Outcome {
        mpps: Some(sample.mpps()),
        ns_per_packet: Some(sample.ns_per_frame()),
        cycles_per_packet: Some(sample.cycles_per_frame()),
        allocations: Some(sample.allocations),
        ..Outcome::default()
    }
}

/// Forwarding by a table that a routing daemon has filled.
fn forward(args: &Args, (n_prefixes, v6): (usize, bool), n_packets: usize) -> anyhow::Result<Outcome> {
    let prefixes = traffic::prefixes(n_prefixes, v6);
    let (frames, chosen) = traffic::to_prefixes(&prefixes, n_packets);
    let mut rig = Rig::start(traffic::config(), 1, args.spin)?;
    let (load, change) = load(&mut rig, &prefixes)?;
    rig.set_port(IN, Some(frames))?;
    rig.set_port(OUT, None)?;
    check_next_routers(&mut rig, &chosen)?;
    rig.replay()?;
    std::thread::sleep(Duration::from_millis(300));
    let sample = rig.measure(Duration::from_secs_f64(args.seconds))?;
    rig.stop()?;
    check_drops(&mut rig)?;
    let rate = |time: Duration| n_prefixes as f64 / time.as_secs_f64();
    Ok(Outcome {
        routes_loaded_per_second: Some(rate(load)),
        routes_changed_per_second: Some(rate(change)),
        load_seconds: Some(load.as_secs_f64()),
        ..outcome(&sample)
    })
}

/// Loads a table, then changes the next hop of every route.
fn load(rig: &mut Rig, prefixes: &[Prefix]) -> anyhow::Result<(Duration, Duration)> {
    let mut fpm = Fpm::default();
    fpm.connected(packet::Instant::ZERO);
    let bytes = traffic::fpm(prefixes, 0);
    let load = rig.learn(&mut fpm, &bytes, prefixes.len())?;
    drop(bytes);
    let change = rig.learn(&mut fpm, &traffic::fpm(prefixes, 1), prefixes.len())?;
    Ok((load, change))
}

/// Each packet leaves for the next router of its prefix.
fn check_next_routers(rig: &mut Rig, chosen: &[u32]) -> anyhow::Result<()> {
    let sent = rig.pass()?;
    if sent.len() != chosen.len() {
        // Why they did not says more than how many.
        check_drops(rig)?;
        bail!("{} of {} packets left", sent.len(), chosen.len());
    }
    for ((port, frame), which) in sent.iter().zip(chosen) {
        let expected = traffic::gateway_mac((which + 1) % traffic::N_GATEWAYS).0;
        ensure!(*port == OUT && frame[..6] == expected, "a packet for prefix {which} went elsewhere");
    }
    Ok(())
}

fn check_drops(rig: &mut Rig) -> anyhow::Result<()> {
    let counters = rig.counters()?;
    let dropped: Vec<String> = counters
        .drops()
        .filter(|(_, n)| *n > 0)
        .map(|(why, n): (Drop, u64)| format!("{n} {}", why.name()))
        .collect();
    ensure!(dropped.is_empty(), "packets were dropped: {}", dropped.join(", "));
    Ok(())
}

/// Translation of flows that are known, in both directions in turn.
fn translate(args: &Args, n_flows: usize) -> anyhow::Result<Outcome> {
    let mut rig = Rig::start(traffic::nat_config(64), n_flows as u32, args.spin)?;
    rig.set_port(IN, Some(traffic::first_packets(n_flows, false)))?;
    rig.set_port(OUT, None)?;
    let answers = check_translated(&mut rig, n_flows)?;
    rig.set_port(OUT, Some(answers))?;
    rig.replay()?;
    // The first answer of a flow makes another of it: all have had theirs, and some more, before it counts.
    rig.wait_for(n_flows as u64 * 7 / 2)?;
    let sample = rig.measure(Duration::from_secs_f64(args.seconds))?;
    rig.stop()?;
    check_drops(&mut rig)?;
    ensure!(rig.n_connections() == n_flows, "{} of {n_flows} flows live", rig.n_connections());
    Ok(outcome(&sample))
}

/// Opens all flows. Each has an outside endpoint of its own.
fn check_translated(rig: &mut Rig, n_flows: usize) -> anyhow::Result<Frames> {
    let sent = rig.pass()?;
    ensure!(sent.len() == n_flows, "{} of {n_flows} packets left", sent.len());
    let mut outside = HashSet::new();
    for (port, frame) in &sent {
        let is_hidden = frame[26..29] == [198, 51, 100];
        ensure!(*port == OUT && traffic::is_sound(frame) && is_hidden, "a packet left wrong: {frame:?}");
        let endpoint = (&frame[26..30], &frame[34..36]);
        ensure!(outside.insert(endpoint), "two flows share an outside endpoint");
    }
    Ok(traffic::answers(sent.iter().map(|(_, frame)| frame.as_slice())))
}

/// Flows that nobody has seen before.
fn open(args: &Args, config: RouterConfig, (n_flows, v6): (usize, bool)) -> anyhow::Result<Outcome> {
    // The tables first: they get no memory that somebody else has used before.
    let mut rig = Rig::start(config, n_flows as u32, args.spin)?;
    rig.set_port(OUT, None)?;
    rig.set_port(IN, Some(traffic::first_packets(n_flows, v6)))?;
    let before = resident()?;
    rig.replay()?;
    // The first tenth pays for memory that is touched first, as the rest does; the last one is when it is full.
    let (first, last) = (n_flows as u64 / 10, n_flows as u64 * 9 / 10);
    let (from, n_from) = rig.wait_for(first)?;
    let (to, n_to) = rig.wait_for(last)?;
    rig.wait_for(n_flows as u64)?;
    rig.stop()?;
    check_drops(&mut rig)?;
    let after = resident()?;
    ensure!(rig.n_connections() == n_flows, "{} of {n_flows} flows live", rig.n_connections());
    Ok(Outcome {
        new_flows_per_second: Some((n_to - n_from) as f64 / to.saturating_since(from).as_secs_f64()),
        bytes_per_flow: Some(after.saturating_sub(before) as f64 / n_flows as f64),
        ..Outcome::default()
    })
}

/// Forwarding while a routing daemon loads and changes a large table, that of the packets among it.
fn change(args: &Args, n_prefixes: usize, n_changed: usize) -> anyhow::Result<Outcome> {
    let prefixes = traffic::prefixes(n_changed, false);
    let (frames, chosen) = traffic::to_prefixes(&prefixes[..n_prefixes], N_PACKETS);
    let mut rig = Rig::start(traffic::config(), 1, args.spin)?;
    let mut fpm = Fpm::default();
    fpm.connected(packet::Instant::ZERO);
    rig.learn(&mut fpm, &traffic::fpm(&prefixes[..n_prefixes], 1), n_prefixes)?;
    rig.set_port(IN, Some(frames))?;
    rig.set_port(OUT, None)?;
    check_next_routers(&mut rig, &chosen)?;
    rig.replay()?;
    let time = Duration::from_secs_f64(args.seconds);
    std::thread::sleep(Duration::from_millis(300));
    let quiet = rig.batch_p99(|_| {
        std::thread::sleep(time);
        Ok(())
    })?;
    let changes = [traffic::fpm(&prefixes, 2), traffic::fpm(&prefixes, 3)];
    let changing = rig.batch_p99(|rig| {
        changes.iter().try_for_each(|bytes| rig.learn(&mut fpm, bytes, n_changed).map(drop))
    })?;
    rig.stop()?;
    check_drops(&mut rig)?;
    let micros = |time: Duration| Some(time.as_secs_f64() * 1e6);
    Ok(Outcome {
        batch_p99_us: micros(quiet),
        batch_p99_us_in_changes: micros(changing),
        ..Outcome::default()
    })
}

/// The firewall alone: no packet belongs to a connection, and what the rules say of it is to drop it.
fn judge(args: &Args, n_rules: usize, n_packets: usize) -> anyhow::Result<Outcome> {
    let mut rig = Rig::start(traffic::firewall_config(n_rules), 1, args.spin)?;
    rig.set_port(IN, Some(traffic::to_rules(n_rules, n_packets)))?;
    rig.set_port(OUT, None)?;
    let sent = rig.pass()?;
    let denied = rig.counters()?.dropped(Drop::FirewallDenied);
    ensure!(sent.is_empty() && denied == n_packets as u64, "{denied} of {n_packets} packets were denied");
    ensure!(rig.rules_that_decided() == n_rules.min(n_packets), "not every rule has decided");
    rig.replay()?;
    std::thread::sleep(Duration::from_millis(300));
    let sample = rig.measure(Duration::from_secs_f64(args.seconds))?;
    rig.stop()?;
    Ok(outcome(&sample))
}

fn print(args: &Args, outcome: &Outcome) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(outcome)?);
        return Ok(());
    }
    let mut words = Vec::new();
    let mut add = |value: Option<f64>, digits: usize, unit: &str| {
        words.extend(value.map(|value| format!("{value:.digits$} {unit}")));
    };
    add(outcome.mpps, 2, "Mpps");
    add(outcome.ns_per_packet, 1, "ns a packet");
    add(outcome.cycles_per_packet, 0, "cycles");
    add(outcome.allocations.map(|n| n as f64), 0, "allocations");
    add(outcome.load_seconds, 2, "s until all routes were loaded");
    add(outcome.routes_loaded_per_second, 0, "routes loaded a second");
    add(outcome.routes_changed_per_second, 0, "changed");
    add(outcome.new_flows_per_second, 0, "new flows a second");
    add(outcome.bytes_per_flow, 0, "bytes a flow");
    add(outcome.batch_p99_us, 1, "us from batch to batch (99 %)");
    add(outcome.batch_p99_us_in_changes, 1, "us while routes change");
    println!("{}: {}", outcome.case, words.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        Args { only: Vec::new(), seconds: 0.2, spin: false, json: false }
    }

    #[test]
    fn every_rule_is_asked() {
        let outcome = judge(&args(), 500, 5000).expect("measured");
        assert!(outcome.mpps.is_some_and(|mpps| mpps > 0.0), "{outcome:?}");
    }

    /// Small, but whole: packets are taken at both ports, and all leave as they must.
    #[test]
    fn what_is_measured_is_forwarded() {
        let forward = |v6| forward(&args(), (300, v6), 2000);
        for outcome in [translate(&args(), 1000), forward(false), forward(true)] {
            let outcome = outcome.expect("measured");
            assert!(outcome.mpps.is_some_and(|mpps| mpps > 0.0), "{outcome:?}");
        }
    }
}
