//! `weft bench datapath`: the frames of a capture from memory, through one worker, into ports that only count.
//!
//! Nothing is left out that a real port has but the device: each frame is copied into a fresh pooled buffer, flow and
//! port counters run, the worker sleeps and wakes as it does elsewhere. Before and after the timing one pass over all
//! frames is held to the oracle, byte for byte and counter for counter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use dataplane::{Stage, StageCounters};
use openflow::text::parse_flow;
use openflow::{Action, FlowMod, Instruction, PortNo, ports};
use serde::Serialize;

use super::churn::Churn;
use super::judge::Judge;
use super::replay::Frames;
use super::rig::{Rig, Sample, Setup};

/// Arguments of `weft bench datapath`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The frames: a classic capture file. They come in by port 1.
    #[arg(long)]
    pcap: PathBuf,
    /// The flows, one a line as ovs-ofctl writes them.
    #[arg(long)]
    flows: PathBuf,
    /// Seconds between the first measurement, right after the start, and the second.
    #[arg(long, default_value_t = 2.0, value_parser = super::seconds)]
    warm: f64,
    /// Seconds of each of the two measurements.
    #[arg(long, default_value_t = 3.0, value_parser = super::seconds)]
    seconds: f64,
    /// Classify every frame by the tables.
    #[arg(long)]
    no_cache: bool,
    /// The worker looks for frames all the time, as a poll-mode driver would.
    #[arg(long)]
    spin: bool,
    /// During the second measurement change the flows: one flow mod in so many milliseconds. It is cut into slices
    /// then, and between these the rate without is measured.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..))]
    flow_mod_every: Option<u32>,
    /// During both measurements the frames of this capture come in by another port as fast as the worker takes them.
    /// What is reported is about port 1 alone; processor time is that of both.
    #[arg(long, value_name = "PCAP")]
    flood: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Outcome {
    case: String,
    frames: usize,
    flows: usize,
    /// Frames a second of wall time, in millions, after the warm-up.
    mpps: f64,
    /// The same right after the start.
    cold_mpps: f64,
    /// Processor time of the worker.
    ns_per_frame: f64,
    /// The same in ticks of the time-stamp counter.
    cycles_per_frame: f64,
    /// Share of the frames whose program came from the cache; absent where the tables are asked directly.
    cache_hit_share: Option<f64>,
    /// Allocations while it was measured, of all threads.
    allocations: u64,
    /// What the stages cost, in the order in which frames pass them.
    stages: Vec<StageCost>,
    /// Flow mods while it was measured.
    flow_mods: u64,
    /// Frames a second in between, while the flows stayed as they were, in millions.
    calm_mpps: Option<f64>,
    /// Bytes of an entry of the cache, which depend on what the flows look at.
    cache_entry_bytes: usize,
    /// Frames compared with the oracle, all alike.
    compared: usize,
}

/// What a stage costs, from one round in many.
#[derive(Debug, Serialize)]
struct StageCost {
    stage: &'static str,
    /// Ticks of the time-stamp counter, spread over all frames.
    cycles_per_frame: f64,
    /// Frames that passed the stage, of all.
    share: f64,
}

/// The stages between two moments; those that no frame passed are left out.
fn stage_costs(before: &StageCounters, after: &StageCounters) -> Vec<StageCost> {
    let grown = before.iter().zip(after.iter()).map(|((_, before), (stage, after))| {
        (stage, (after.frames - before.frames) as f64, (after.ticks - before.ticks) as f64)
    });
    let grown: Vec<_> = grown.collect();
    let all =
        grown.iter().find(|(stage, ..)| *stage == Stage::Rx).map_or(1.0, |(_, frames, _)| frames.max(1.0));
    let passed = grown.into_iter().filter(|(_, frames, _)| *frames > 0.0);
    let cost = |(stage, frames, ticks): (Stage, f64, f64)| StageCost {
        stage: stage.name(),
        cycles_per_frame: ticks / all,
        share: frames / all,
    };
    passed.map(cost).collect()
}

/// Reads, compares, measures, compares again, prints.
///
/// # Errors
/// When a file cannot be read, when a flow is refused, and when fast path and oracle differ.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    netio::alloc::count_allocations();
    let frames = Frames::load(&args.pcap)?;
    let flows = read_flows(&args.flows)?;
    let mut ports = ports_of(&flows);
    let mut setup = Setup { cache_entries: args.no_cache.then_some(0), spin: args.spin, ..Setup::default() };
    if let Some(path) = &args.flood {
        let free = (1..).map(PortNo).find(|port| !ports.contains(port)).context("no port is free")?;
        ports.push(free);
        setup.flood = Some((free, Frames::load(path)?));
    }
    let judge = Judge::new(&flows, &ports, &frames)?;
    let start = || Rig::start(&flows, &ports, &frames, &setup);

    let mut rig = start()?;
    let mut compared = judge.compare(&mut rig).context("before the measurement")?;
    drop(rig);

    let mut rig = start()?;
    let time = Duration::from_secs_f64(args.seconds);
    rig.replay(true)?;
    let cold = rig.measure(time)?;
    std::thread::sleep(Duration::from_secs_f64(args.warm));
    let stages = rig.stages();
    let (steady, calm, flow_mods) = match args.flow_mod_every {
        None => (rig.measure(time)?, None, 0),
        Some(every) => {
            let mut churn = Churn::new(&flows);
            let (steady, calm) = churn.measure(&mut rig, time, Duration::from_millis(every.into()))?;
            (steady, Some(calm.mpps()), churn.finish(&mut rig)?)
        }
    };
    let stages = stage_costs(&stages, &rig.stages());
    rig.replay(false)?;
    compared += judge.compare(&mut rig).context("after the measurement")?;

    let outcome = Outcome {
        stages,
        flow_mods,
        calm_mpps: calm,
        cache_entry_bytes: rig.cache_entry_bytes(),
        ..outcome(args, (&frames, &flows), (&cold, &steady), compared)
    };
    print(args, &outcome)?;
    Ok(ExitCode::SUCCESS)
}

fn outcome(
    args: &Args,
    (frames, flows): (&Frames, &[FlowMod]),
    (cold, steady): (&Sample, &Sample),
    compared: usize,
) -> Outcome {
    let name = args.pcap.file_stem().unwrap_or_default();
    Outcome {
        case: name.to_string_lossy().into_owned(),
        frames: frames.len(),
        flows: flows.len(),
        mpps: steady.mpps(),
        cold_mpps: cold.mpps(),
        ns_per_frame: steady.ns_per_frame(),
        cycles_per_frame: steady.cycles_per_frame(),
        cache_hit_share: steady.cache_hit_share(),
        allocations: steady.allocations,
        stages: Vec::new(),
        flow_mods: 0,
        calm_mpps: None,
        cache_entry_bytes: 0,
        compared,
    }
}

fn print(args: &Args, outcome: &Outcome) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(outcome)?);
        return Ok(());
    }
    let cache = match outcome.cache_hit_share {
        Some(share) => format!("{:.1} % from the cache", share * 100.0),
        None => "the tables asked directly".to_owned(),
    };
    println!(
        "{}: {:.2} Mpps, {:.2} right after the start; {:.1} ns or {:.0} cycles a frame, {cache}, {} allocations",
        outcome.case,
        outcome.mpps,
        outcome.cold_mpps,
        outcome.ns_per_frame,
        outcome.cycles_per_frame,
        outcome.allocations,
    );
    let stages = outcome.stages.iter().map(|s| format!("{} {:.0}", s.stage, s.cycles_per_frame));
    println!("cycles a frame by stage: {}", stages.collect::<Vec<_>>().join(", "));
    if let Some(calm) = outcome.calm_mpps {
        println!("{} flow mods meanwhile; {calm:.2} Mpps in between, without", outcome.flow_mods);
    }
    println!(
        "{} frames through {} flows; {} compared with the oracle, no difference",
        outcome.frames, outcome.flows, outcome.compared
    );
    Ok(())
}

/// Flows of a file; comments and empty lines are skipped.
fn read_flows(path: &Path) -> anyhow::Result<Vec<FlowMod>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let flows: anyhow::Result<Vec<_>> = lines
        .map(|(n, line)| read_flow(line).with_context(|| format!("{}:{}", path.display(), n + 1)))
        .collect();
    let flows = flows?;
    ensure!(!flows.is_empty(), "{} has no flow", path.display());
    Ok(flows)
}

/// A flow that the oracle can be asked about.
fn read_flow(line: &str) -> anyhow::Result<FlowMod> {
    let flow = parse_flow(line)?;
    let learns = actions(std::slice::from_ref(&flow))
        .any(|action| matches!(action, Action::Output { port: ports::NORMAL, .. }));
    ensure!(!learns, "NORMAL cannot be measured: the oracle, which every frame is held to, does not learn");
    let grouped = actions(std::slice::from_ref(&flow)).any(|action| matches!(action, Action::Group(_)));
    let metered = flow.instructions.iter().any(|i| matches!(i, Instruction::Meter(_)));
    ensure!(!grouped && !metered, "a file of flows has no groups and meters");
    Ok(flow)
}

/// What the flows do, whenever they do it.
fn actions(flows: &[FlowMod]) -> impl Iterator<Item = &Action> {
    flows.iter().flat_map(|flow| &flow.instructions).flat_map(|instruction| match instruction {
        Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => actions.as_slice(),
        _ => &[],
    })
}

/// Ports 1 to 4, and every other that a flow sends to.
fn ports_of(flows: &[FlowMod]) -> Vec<PortNo> {
    let named = actions(flows).filter_map(|action| match action {
        Action::Output { port, .. } if port.0 < 0xffff_ff00 => Some(*port),
        _ => None,
    });
    let all: BTreeMap<PortNo, ()> = (1..=4).map(PortNo).chain(named).map(|port| (port, ())).collect();
    all.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("x.flows");
        std::fs::write(&path, "# comment\n\npriority=1,actions=output:9\nnonsense=1,actions=drop\n")
            .expect("written");
        let error = format!("{:#}", read_flows(&path).expect_err("line 4 is wrong"));
        assert!(error.contains("x.flows:4") && error.contains("nonsense"), "{error}");
        for (flow, word) in
            [("actions=normal", "NORMAL"), ("actions=group:1", "groups"), ("actions=meter:1", "meters")]
        {
            std::fs::write(&path, flow).expect("written");
            let error = format!("{:#}", read_flows(&path).expect_err(flow));
            assert!(error.contains("x.flows:1") && error.contains(word), "{error}");
        }
        std::fs::write(&path, "priority=1,actions=output:9\n").expect("written");
        let flows = read_flows(&path).expect("it is right now");
        assert_eq!(ports_of(&flows), [1, 2, 3, 4, 9].map(PortNo));
    }
}
