//! `weft bench path`: two namespaces, one switch of this process between them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use dataplane::{Config, Poll};
use packet::PortNo;
use serde::Serialize;

use super::engines::{Kind, Middle};
use super::hosts::Host;
use super::probes;
use crate::lab::privilege;
use crate::plane::default_workers;

/// Arguments of `weft bench path`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds of each measurement, after half a second to warm up.
    #[arg(long, default_value_t = 3.0, value_parser = super::seconds)]
    seconds: f64,
    /// TCP connections at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    streams: u16,
    /// Worker threads; one for each core, at most four, when not given.
    #[arg(long)]
    workers: Option<usize>,
    /// What is between the namespaces.
    #[arg(long, value_enum, default_value_t = Kind::Switch)]
    engine: Kind,
    /// Segment and complete checksums at each output, to see what offloads are worth.
    #[arg(long)]
    no_offload: bool,
    /// Workers look for frames all the time.
    #[arg(long)]
    spin: bool,
    /// Also measure round trips and small UDP.
    #[arg(long)]
    all: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Outcome {
    engine: &'static str,
    offload: bool,
    workers: usize,
    streams: u16,
    seconds: f64,
    tcp_gbit_per_s: f64,
    /// Cores that the workers used meanwhile; what is left of the machine went to the two hosts.
    worker_cores: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp_kpps: Option<f64>,
    /// Frames lost between the namespaces, all reasons.
    dropped: u64,
}

/// Measures and prints. An ordinary user's namespaces lie in a user namespace that ends with the process.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !privilege::missing().is_empty() {
        privilege::enter_private()?;
    }
    let n_workers = args.workers.unwrap_or_else(default_workers);
    let n_queues = u16::try_from(n_workers)?;
    let options = if args.no_offload { ",offload=off" } else { "" };
    let hosts = (Host::new(1)?, Host::new(2)?);
    let ports = [hosts.0.attach(options, n_queues)?, hosts.1.attach(options, n_queues)?];
    let poll = if args.spin { Poll::Always } else { Poll::Adaptive };
    let middle = Middle::start(args.engine, Config { n_workers, poll }, ports)?;
    let time = Duration::from_secs_f64(args.seconds);

    let (lost_before, cpu) = (dropped(&middle), WorkerCpu::start()?);
    let bits = probes::tcp(&hosts.0, &hosts.1, usize::from(args.streams), time)?;
    if bits == 0.0 {
        bail!("nothing came through the {:?} in {} s", args.engine, args.seconds);
    }
    let mut outcome = Outcome {
        engine: if args.engine == Kind::Switch { "switch" } else { "wire" },
        offload: !args.no_offload,
        workers: n_workers,
        streams: args.streams,
        seconds: args.seconds,
        tcp_gbit_per_s: bits / 1e9,
        worker_cores: cpu.cores()?,
        round_trip_p50_us: None,
        round_trip_p99_us: None,
        udp_kpps: None,
        dropped: 0,
    };
    outcome.dropped = dropped(&middle) - lost_before;
    if args.all {
        let (p50, p99) = probes::round_trips(&hosts.0, &hosts.1, time)?;
        outcome.round_trip_p50_us = Some(p50.as_secs_f64() * 1e6);
        outcome.round_trip_p99_us = Some(p99.as_secs_f64() * 1e6);
        outcome.udp_kpps = Some(probes::small_udp(&hosts.0, &hosts.1, time)? / 1e3);
    }
    print(args, &outcome)?;
    Ok(ExitCode::SUCCESS)
}

/// Processor time of the worker threads since a moment.
struct WorkerCpu {
    since: std::time::Instant,
    used: Duration,
}

impl WorkerCpu {
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    fn start() -> anyhow::Result<Self> {
        Ok(Self { since: std::time::Instant::now(), used: super::worker_cpu()? })
    }

    fn cores(&self) -> anyhow::Result<f64> {
        Ok(super::worker_cpu()?.saturating_sub(self.used).as_secs_f64() / self.since.elapsed().as_secs_f64())
    }
}

/// What the ports and workers dropped so far.
fn dropped(middle: &Middle) -> u64 {
    let counters = middle.dataplane.port_counters(middle.engine);
    let ports: u64 = counters.iter().map(|(_, c): &(PortNo, _)| c.rx_dropped() + c.tx_dropped()).sum();
    ports + middle.dataplane.drops().total()
}

fn print(args: &Args, outcome: &Outcome) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(outcome)?);
        return Ok(());
    }
    println!(
        "TCP, {} stream{} through one {} (offloads {}, {} worker{}): {:.2} Gbit/s, {:.2} cores in workers, {} frames dropped",
        outcome.streams,
        if outcome.streams == 1 { "" } else { "s" },
        outcome.engine,
        if outcome.offload { "on" } else { "off" },
        outcome.workers,
        if outcome.workers == 1 { "" } else { "s" },
        outcome.tcp_gbit_per_s,
        outcome.worker_cores,
        outcome.dropped,
    );
    if let (Some(p50), Some(p99)) = (outcome.round_trip_p50_us, outcome.round_trip_p99_us) {
        println!("TCP round trip: median {p50:.0} us, 99 % under {p99:.0} us");
    }
    if let Some(kpps) = outcome.udp_kpps {
        println!("UDP, {} bytes a frame: {kpps:.0} thousand a second", 60);
    }
    Ok(())
}
