//! The parts of a run, by name.

use std::time::Duration;

use anyhow::{Result, bail};

use super::datapath::{self, Plan, beside_ourselves};
use super::figures::{Bound, Figure, median};
use super::ours::{Manner, Switch};
use super::paths::{self, Kind, Seen};
use super::targets;
use super::workload::Case;

/// What is measured together.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// On the command line.
    pub name: &'static str,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Beside(Case, f64),
    OwnBase,
    Attacks,
    FlowMods,
    Rules,
    Paths,
    Idle,
    Memory,
}

const fn beside(at: usize) -> Part {
    let (case, least) = targets::STEADY[at];
    Part { name: case.name(), what: What::Beside(case, least) }
}

/// All of them, in the order of the table.
pub const PARTS: &[Part] = &[
    beside(0),
    beside(1),
    beside(2),
    beside(3),
    beside(4),
    beside(5),
    beside(6),
    beside(7),
    beside(8),
    beside(9),
    beside(10),
    beside(11),
    beside(12),
    Part { name: "own-base", what: What::OwnBase },
    Part { name: "attacks", what: What::Attacks },
    Part { name: "flow-mods", what: What::FlowMods },
    Part { name: "rules", what: What::Rules },
    Part { name: "paths", what: What::Paths },
    Part { name: "idle", what: What::Idle },
    Part { name: "memory", what: What::Memory },
];

/// Whether a part is among the names; all are when there is none.
pub fn wanted(part: &Part, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|name| name == part.name)
}

/// Refuses names that do not exist.
///
/// # Errors
/// With those that do.
pub fn check(only: &[String]) -> Result<()> {
    if let Some(name) = only.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        bail!("nothing is called `{name}`; there are: {}", names.join(", "));
    }
    Ok(())
}

/// Whether frames from memory are among it, for which the rival needs DPDK.
pub fn needs_dpdk(only: &[String]) -> bool {
    PARTS.iter().any(|part| matches!(part.what, What::Beside(..)) && wanted(part, only))
}

impl Part {
    /// Measures it.
    ///
    /// # Errors
    /// When one of the programs fails.
    pub fn measure(&self, plan: &Plan, quick: bool) -> Result<Vec<Figure>> {
        match self.what {
            What::Beside(case, least) => datapath::beside_the_rival(plan, case, least),
            What::OwnBase => own_base(plan),
            What::Attacks => attacks(plan),
            What::FlowMods => flow_mods(plan),
            What::Rules => rules(plan),
            What::Paths => paths(plan, quick),
            What::Idle => idle(plan, quick),
            What::Memory => memory(plan, quick),
        }
    }
}

fn usual(case: Case) -> (Case, Manner<'static>) {
    (case, Manner::Usual)
}

fn own_base(plan: &Plan) -> Result<Vec<Figure>> {
    let both = (usual(Case::Tse), usual(Case::TseBase));
    Ok(vec![beside_ourselves(plan, "tse", both, targets::UNDER_ATTACK)?])
}

fn attacks(plan: &Plan) -> Result<Vec<Figure>> {
    let attacks = [("flood of new flows", Case::Unknown), ("flood of colliding flows", Case::Colliding)];
    let one = |(name, flood): (&str, Case)| {
        let flood = datapath::write(plan, flood)?.capture;
        let both = ((Case::Established, Manner::Flooded(&flood)), usual(Case::Established));
        beside_ourselves(plan, name, both, targets::UNDER_FLOOD)
    };
    attacks.map(one).into_iter().collect()
}

fn flow_mods(plan: &Plan) -> Result<Vec<Figure>> {
    let cases = targets::FLOW_MOD_CASES.iter();
    cases.map(|&case| datapath::under_flow_mods(plan, case, targets::UNDER_FLOW_MODS)).collect()
}

fn rules(plan: &Plan) -> Result<Vec<Figure>> {
    let both = ((Case::Rules100k, Manner::NoCache), (Case::Acl, Manner::NoCache));
    Ok(vec![beside_ourselves(plan, "100,000 rules, no cache", both, targets::MANY_RULES)?])
}

fn paths(plan: &Plan, quick: bool) -> Result<Vec<Figure>> {
    let mut seen: [Vec<Seen>; 4] = Default::default();
    for round in 0..plan.rounds {
        for (kind, seen) in Kind::ALL.into_iter().zip(&mut seen) {
            let saw = paths::measure(kind, &plan.weft, &plan.dir, quick)?;
            eprintln!("{} {}/{}: {saw:.1?}", kind.name(), round + 1, plan.rounds);
            seen.push(saw);
        }
    }
    let of = |kind: Kind, what: fn(&Seen) -> f64| {
        let at = Kind::ALL.iter().position(|other| *other == kind).unwrap_or(0);
        median(&seen[at].iter().map(what).collect::<Vec<_>>())
    };
    let figure = |name: &str, unit, what: fn(&Seen) -> f64, beside: Kind, bound| Figure {
        name: name.to_owned(),
        unit,
        ours: of(Kind::Weft, what),
        other: of(beside, what),
        beside: beside.name().to_owned(),
        bound,
    };
    use Bound::{AtLeast, AtMost};
    Ok(vec![
        figure("TCP, 1 stream", "Gbit/s", |s| s.tcp1_gbps, Kind::OvsTso, AtLeast(1.2)),
        figure("TCP, 1 stream", "Gbit/s", |s| s.tcp1_gbps, Kind::Bridge, AtLeast(0.9)),
        figure("TCP, 4 streams", "Gbit/s", |s| s.tcp4_gbps, Kind::OvsTso, AtLeast(1.4)),
        figure("UDP, 18 bytes", "kpps", |s| s.udp_kpps, Kind::OvsTso, AtLeast(1.3)),
        figure("UDP, 18 bytes", "kpps", |s| s.udp_kpps, Kind::Ovs, AtLeast(1.0)),
        figure("round trip, median", "us", |s| s.p50_us, Kind::Bridge, AtMost(1.25)),
        figure("round trip, median", "us", |s| s.p50_us, Kind::OvsTso, AtMost(1.0)),
        figure("round trip, median", "us", |s| s.p50_us, Kind::Ovs, AtMost(1.0)),
        figure("round trip, 99 %", "us", |s| s.p99_us, Kind::OvsTso, AtMost(0.5)),
    ])
}

/// A value of ours beside one that it must not exceed.
fn limit(name: &str, unit: &'static str, ours: f64, most: f64) -> Figure {
    let bound = Bound::AtMost(1.0);
    Figure { name: name.to_owned(), unit, ours, other: most, beside: "the most".to_owned(), bound }
}

fn idle(plan: &Plan, quick: bool) -> Result<Vec<Figure>> {
    let switch = Switch::start(&plan.weft, &plan.dir, 100)?;
    // What has just come up settles.
    std::thread::sleep(Duration::from_secs(3));
    let time = if quick { 5.0 } else { 20.0 };
    let before = switch.cpu()?;
    std::thread::sleep(Duration::from_secs_f64(time));
    let percent = (switch.cpu()? - before) / time * 100.0;
    Ok(vec![limit("idle with 100 ports", "% core", percent, targets::IDLE_PERCENT)])
}

fn memory(plan: &Plan, quick: bool) -> Result<Vec<Figure>> {
    const MIB: f64 = 1_048_576.0;
    const N_FLOWS: u32 = 100_000;
    let switch = Switch::start(&plan.weft, &plan.dir, 10)?;
    let time = Duration::from_secs(if quick { 10 } else { 600 });
    // The first traffic fills pools and caches.
    switch.traffic(&plan.dir, Duration::from_secs(3))?;
    let first = switch.resident()?;
    switch.traffic(&plan.dir, time)?;
    let resident = switch.resident()?;
    switch.add_flows(&plan.dir, N_FLOWS)?;
    // What installing them took is given back after a quiet second.
    std::thread::sleep(Duration::from_secs(3));
    let flow = (switch.resident()? - resident) / f64::from(N_FLOWS);
    Ok(vec![
        limit("a cache entry", "bytes", datapath::cache_entry(plan)?, targets::CACHE_ENTRY),
        limit("a flow, of 100,000", "bytes", flow, targets::FLOW),
        limit("memory with 10 ports", "MiB", resident / MIB, targets::RESIDENT),
        limit(
            &format!("its growth in {} s", time.as_secs()),
            "MiB",
            (resident - first) / MIB,
            targets::GROWTH,
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_its_part_and_no_name_is_taken_twice() {
        for (case, least) in targets::STEADY {
            let has = |part: &&Part| matches!(part.what, What::Beside(c, l) if c == *case && l == *least);
            assert_eq!(PARTS.iter().filter(has).count(), 1, "{}", case.name());
        }
        let mut names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PARTS.len());
    }

    #[test]
    fn a_name_that_does_not_exist_is_answered_with_those_that_do() {
        let error = check(&["l2-1".to_owned()]).expect_err("no such").to_string();
        assert!(error.contains("l2-1") && error.contains("l2-100") && error.contains("memory"), "{error}");
        check(&["paths".to_owned()]).expect("there");
        assert!(!needs_dpdk(&["paths".to_owned()]) && needs_dpdk(&[]));
    }
}
