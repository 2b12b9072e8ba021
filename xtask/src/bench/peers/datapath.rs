//! The datapath, ours and the rival's in turn.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::fetch::Dpdk;
use super::figures::{Bound, Figure, median};
use super::ours::{self, Manner};
use super::rival::{self, Mode, Part, Rates, Times};
use super::targets;
use super::workload::{self, Case, Files};

/// What a run needs.
#[derive(Debug)]
pub struct Plan {
    /// Our binary.
    pub weft: PathBuf,
    /// The rival, where frames from memory are measured.
    pub dpdk: Option<Dpdk>,
    /// For files of the run.
    pub dir: PathBuf,
    /// How often everything is measured.
    pub rounds: usize,
    /// How long.
    pub times: Times,
    /// Of the workloads.
    pub seed: u64,
    /// Whether the rival has huge pages.
    pub huge: bool,
}

/// What was seen of one case, a value a round.
#[derive(Debug, Default)]
struct Seen {
    ours: BTreeMap<&'static str, Vec<f64>>,
    theirs: BTreeMap<&'static str, Vec<Rates>>,
}

/// Measures one workload and says what must hold of it alone.
///
/// # Errors
/// When a side fails.
pub fn beside_the_rival(plan: &Plan, case: Case, least: f64) -> Result<Vec<Figure>> {
    let files = write(plan, case)?;
    let dpdk = plan.dpdk.as_ref().context("Open vSwitch with DPDK is not there")?;
    let mut seen = Seen::default();
    for round in 0..plan.rounds {
        let usual = ours::datapath(&plan.weft, &files, Manner::Usual, plan.times)?;
        let ours = &mut seen.ours;
        ours.entry("steady").or_default().push(usual.mpps);
        ours.entry("cold").or_default().push(usual.cold_mpps);
        for (mode, part) in modes(&seen, round) {
            let dir = plan.dir.join("ovs");
            let rates = rival::measure(&dir, dpdk, (&files, mode, part), plan.times, plan.huge)
                .with_context(|| format!("{} in mode {}", case.name(), mode.name()))?;
            eprintln!(
                "{} {}/{}: weft {:.2} ({:.2} cold, {:.0} cycles, {} allocations), OVS {} {:.2} ({:.2} cold, {:.0} cycles)",
                case.name(),
                round + 1,
                plan.rounds,
                usual.mpps,
                usual.cold_mpps,
                usual.cycles_per_frame,
                usual.allocations,
                mode.name(),
                rates.steady,
                rates.cold,
                rates.cycles
            );
            seen.theirs.entry(mode.name()).or_default().push(rates);
        }
    }
    Ok(figures(case, least, &seen))
}

/// All modes at first; then the one that was best right after the start and the one that was best later, each for that alone.
fn modes(seen: &Seen, round: usize) -> Vec<(Mode, Part)> {
    if round == 0 {
        return Mode::ALL.map(|mode| (mode, Part::Both)).to_vec();
    }
    let best = (best(seen, |r| r.cold).0, best(seen, |r| r.steady).0);
    let part = |mode: Mode| match (best.0 == mode.name(), best.1 == mode.name()) {
        (true, true) => Some((mode, Part::Both)),
        (true, false) => Some((mode, Part::Cold)),
        (false, true) => Some((mode, Part::Steady)),
        (false, false) => None,
    };
    Mode::ALL.into_iter().filter_map(part).collect()
}

/// The rival's best mode by some rate, and the median of that rate where it was measured.
fn best(seen: &Seen, of: impl Fn(&Rates) -> f64) -> (&'static str, f64) {
    let medians = seen.theirs.iter().map(|(mode, rates)| {
        let all: Vec<f64> = rates.iter().map(&of).filter(|rate| !rate.is_nan()).collect();
        (*mode, median(&all))
    });
    medians
        .filter(|(_, median)| !median.is_nan())
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or(("none", f64::NAN))
}

fn figures(case: Case, least: f64, seen: &Seen) -> Vec<Figure> {
    let name = case.name();
    let ours = |what: &str| seen.ours.get(what).map_or(f64::NAN, |values| median(values));
    let (steady, cold) = (best(seen, |r| r.steady), best(seen, |r| r.cold));
    let figure = |what: &str, ours: f64, (beside, other): (String, f64), bound| {
        let name = format!("{name}{what}");
        Figure { name, unit: "Mpps", ours, other, beside, bound: Bound::AtLeast(bound) }
    };
    vec![
        figure("", ours("steady"), (format!("OVS-DPDK {}", steady.0), steady.1), least),
        figure(", first seconds", ours("cold"), (format!("OVS-DPDK {}", cold.0), cold.1), 1.0),
        figure(", first seconds", ours("cold"), ("ours, steady".to_owned(), ours("steady")), targets::COLD),
    ]
}

/// Measures two workloads, or two manners of one, in turn; the ratio must reach `least`.
///
/// # Errors
/// When a side fails.
pub fn beside_ourselves(
    plan: &Plan,
    what: &str,
    (one, other): ((Case, Manner<'_>), (Case, Manner<'_>)),
    least: f64,
) -> Result<Figure> {
    let (a, b) = (write(plan, one.0)?, write(plan, other.0)?);
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        ours.push(ours::datapath(&plan.weft, &a, one.1, plan.times)?.mpps);
        others.push(ours::datapath(&plan.weft, &b, other.1, plan.times)?.mpps);
        let last = ours.last().zip(others.last());
        eprintln!("{what} {}/{}: {:.2?} Mpps", round + 1, plan.rounds, last.unwrap_or((&0.0, &0.0)));
    }
    Ok(Figure {
        name: what.to_owned(),
        unit: "Mpps",
        ours: median(&ours),
        other: median(&others),
        beside: if one.0 == other.0 { "ours, without".to_owned() } else { other.0.name().to_owned() },
        bound: Bound::AtLeast(least),
    })
}

/// Our rate with a flow mod a millisecond beside that without, measured in turn in each run.
///
/// # Errors
/// When a bench fails.
pub fn under_flow_mods(plan: &Plan, case: Case, least: f64) -> Result<Figure> {
    let (name, files) = (format!("{}, a flow mod a ms", case.name()), write(plan, case)?);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let seen = ours::datapath(&plan.weft, &files, Manner::FlowMods, plan.times)?;
        let calm = seen.calm_mpps.context("weft bench datapath tells the rate without flow mods")?;
        eprintln!("{name} {}/{}: {:.2}, without {calm:.2} Mpps", round + 1, plan.rounds, seen.mpps);
        with.push(seen.mpps);
        without.push(calm);
    }
    let (ours, other, beside) = (median(&with), median(&without), "ours, without".to_owned());
    Ok(Figure { name, unit: "Mpps", ours, other, beside, bound: Bound::AtLeast(least) })
}

/// Makes a workload, unless it is there.
///
/// # Errors
/// When it cannot be written.
pub fn write(plan: &Plan, case: Case) -> Result<Files> {
    let existing = |extension: &str| plan.dir.join(format!("{}.{extension}", case.name()));
    let made = workload::make(case, plan.seed);
    if existing("pcap").exists() {
        let (capture, flows) = (existing("pcap"), existing("flows"));
        return Ok(Files { capture, flows, forwarded: made.forwarded });
    }
    made.write(&plan.dir, case.name())
}

/// Bytes of a cache entry over five-tuple rules.
///
/// # Errors
/// When the bench fails.
pub fn cache_entry(plan: &Plan) -> Result<f64> {
    let files = write(plan, Case::Acl)?;
    let short = Times { steady: std::time::Duration::from_millis(300), ..plan.times };
    Ok(ours::datapath(&plan.weft, &files, Manner::Usual, short)?.cache_entry_bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rounds_measure_of_each_mode_what_it_was_best_at() {
        let mut seen = Seen::default();
        assert_eq!(modes(&seen, 0).len(), 3);
        for (mode, cold, steady) in [("emc", 3.0, 1.0), ("noemc", 2.0, 2.0), ("smc", 1.0, 3.0)] {
            seen.theirs.insert(mode, vec![Rates { cold, steady, cycles: 1.0 }]);
        }
        assert_eq!(modes(&seen, 1), [(Mode::Emc, Part::Cold), (Mode::Smc, Part::Steady)]);
        let part = Rates { cold: f64::NAN, steady: 5.0, cycles: 1.0 };
        seen.theirs.entry("smc").or_default().push(part);
        assert_eq!((best(&seen, |r| r.steady), best(&seen, |r| r.cold)), (("smc", 4.0), ("emc", 3.0)));
        seen.theirs.insert("emc", vec![Rates { cold: 3.0, steady: 9.0, cycles: 1.0 }]);
        assert_eq!(modes(&seen, 1), [(Mode::Emc, Part::Both)]);
    }
}
