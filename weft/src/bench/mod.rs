//! Benches that anyone can run: what they measure stands in docs/claims.md.

mod churn;
mod controller;
mod datapath;
mod engines;
mod hosts;
mod judge;
mod packet_ins;
mod path;
mod probes;
mod replay;
mod rig;
mod router;
mod steady;

use std::process::ExitCode;
use std::time::Duration;

/// Commands under `weft bench`.
#[derive(Debug, clap::Subcommand)]
pub enum BenchCommand {
    /// Frames of a capture, from memory, through the tables of one worker; held to the oracle.
    Datapath(datapath::Args),
    /// One more port in a network of many, from the REST call to the barrier.
    Controller(controller::Args),
    /// The switches of `controller --hosts`.
    #[command(hide = true)]
    Switches(controller::SwitchesArgs),
    /// Packet-ins of an emulated switch, answered by any controller of OpenFlow 1.3.
    PacketIns(packet_ins::Args),
    /// Numbered frames through a switch in memory at a steady rate, whatever happens to its controller.
    Steady(steady::Args),
    /// TCP throughput, round trips and small UDP between two namespaces through one switch.
    Path(path::Args),
    /// Packets from memory through the router of one worker: forwarding with large tables, translation of many flows.
    Router(router::Args),
}

/// Runs one bench.
///
/// # Errors
/// Without privilege, and when the path carries nothing.
pub fn run(command: BenchCommand) -> anyhow::Result<ExitCode> {
    match command {
        BenchCommand::Datapath(args) => datapath::run(&args),
        BenchCommand::Controller(args) => controller::run(&args),
        BenchCommand::Switches(args) => controller::run_switches(&args),
        BenchCommand::PacketIns(args) => packet_ins::run(&args),
        BenchCommand::Steady(args) => steady::run(&args),
        BenchCommand::Path(args) => path::run(&args),
        BenchCommand::Router(args) => router::run(&args),
    }
}

/// A time on the command line.
fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    if (0.1..=3600.0).contains(&value) {
        Ok(value)
    } else {
        Err("0.1 to 3600 seconds are expected".to_owned())
    }
}

/// Processor time of the worker threads of this process; less than before when some have ended.
///
/// The first number of `schedstat` is nanoseconds on a processor (Documentation/scheduler/sched-stats.rst).
fn worker_cpu() -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.starts_with("weft-worker") {
            let stat = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            nanos += stat.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanos))
}
