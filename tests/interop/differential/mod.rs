//! weft's trace against `ovs-appctl ofproto/trace`, over random rule sets and frames.
//!
//! `WEFT_SEED=N` repeats a run, `WEFT_RULE_SETS=N` makes it longer or shorter.

use std::fmt::Write as _;

mod actions;
mod frames;
mod matching;
mod odp;
mod pair;
mod random;
mod rules;
mod values;
mod wire;

use frames::Arrival;
use odp::Copy;
use pair::{Pair, Verdict, hex};
use random::Random;
use rules::{RuleSet, Style};

const SEED: u64 = 20_260_101;
const RULE_SETS: u64 = 260;
const FRAMES_OF_A_SET: usize = 40;

#[derive(Debug, Default)]
struct Counts {
    pairs: usize,
    /// Of these: a flow with a match took the frame, and it saw two tables.
    deep: usize,
    copies: usize,
    dropped: usize,
}

impl Counts {
    fn add(&mut self, rules: &RuleSet, verdict: &Verdict) {
        let specific = |&(table, priority): &(u8, Option<u16>)| {
            let hit = rules.flows.iter().find(|flow| flow.table == table && Some(flow.priority) == priority);
            hit.is_some_and(|flow| !flow.matching.is_empty())
        };
        self.pairs += 1;
        self.deep += usize::from(verdict.visits.len() > 1 && verdict.visits.iter().any(specific));
        self.copies += verdict.copies.len();
        self.dropped += usize::from(verdict.copies.is_empty());
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
fn weft_and_open_vswitch_do_the_same_with_random_frames_under_random_rules() {
    let (seed, n_sets) = (number("WEFT_SEED", SEED), number("WEFT_RULE_SETS", RULE_SETS));
    let pair = Pair::start("differential");
    let mut counts = Counts::default();
    for n in 0..n_sets {
        println!("seed {}", seed.wrapping_add(n));
        let mut random = Random::new(seed.wrapping_add(n));
        let style = Style::random(&mut random);
        let rules = RuleSet::random(&mut random, &style);
        let arrivals: Vec<Arrival> =
            (0..FRAMES_OF_A_SET).map(|_| frames::arrival(&mut random, &style)).collect();
        if let Err(said) = pair.load(&rules) {
            panic!("WEFT_SEED={} WEFT_RULE_SETS=1: refused\n{rules}{said}", seed.wrapping_add(n));
        }
        for (arrival, (ours, theirs)) in arrivals.iter().zip(pair.judge(&arrivals)) {
            counts.add(&rules, &ours);
            if !ours.agrees(&theirs) {
                let report = explain(&pair, rules, arrival);
                panic!("WEFT_SEED={} WEFT_RULE_SETS=1 shows this again:\n{report}", seed.wrapping_add(n));
            }
        }
    }
    println!(
        "{} pairs of rule set and frame, {} of them matched a flow and reached two tables; \
         {} copies left, {} frames were dropped",
        counts.pairs, counts.deep, counts.copies, counts.dropped
    );
    if n_sets >= RULE_SETS {
        assert!(counts.pairs >= 10_000, "{counts:?}");
        assert!(counts.deep * 2 >= counts.pairs, "{counts:?}");
        assert!(counts.dropped * 2 <= counts.pairs, "{counts:?}");
    }
}

/// The smallest rule set found that still shows the difference, and what each says.
fn explain(pair: &Pair, rules: RuleSet, arrival: &Arrival) -> String {
    let verdicts = |rules: &RuleSet| {
        pair.load(rules).ok()?;
        pair.judge(std::slice::from_ref(arrival)).pop()
    };
    let misses = |verdict: &Verdict| verdict.visits.last().is_none_or(|(_, priority)| priority.is_none());
    // A table miss behind write-actions is a difference of its own.
    let allowed = verdicts(&rules).is_some_and(|(ours, _)| misses(&ours));
    let differs = |rules: &RuleSet| {
        verdicts(rules).is_some_and(|(ours, theirs)| !ours.agrees(&theirs) && (allowed || !misses(&ours)))
    };
    let rules = minimised(rules, &differs);
    let (ours, theirs) = verdicts(&rules).expect("it was loaded before");
    let mut report = format!("{rules}in_port={} {}\n", arrival.port, hex(&arrival.bytes));
    for (name, verdict) in [("weft", ours), ("Open vSwitch", theirs)] {
        let _ = writeln!(report, "--- {name}: {:?}", verdict.visits);
        for copy in &verdict.copies {
            let _ = match copy {
                Copy::Port(port, frame) => writeln!(report, "port {port}: {}", hex(frame)),
                Copy::Controller(reason, frame) => writeln!(report, "controller ({reason}): {}", hex(frame)),
            };
        }
        let _ = writeln!(report, "{}", verdict.text);
    }
    report
}

/// Leaves out flows, actions and groups as long as it still `differs`.
fn minimised(mut rules: RuleSet, differs: &dyn Fn(&RuleSet) -> bool) -> RuleSet {
    loop {
        let Some(smaller) = smaller(&rules).into_iter().find(|smaller| differs(smaller)) else {
            return rules;
        };
        rules = smaller;
    }
}

/// Rule sets with one thing less.
fn smaller(rules: &RuleSet) -> Vec<RuleSet> {
    let mut all = Vec::new();
    let with = |change: &dyn Fn(&mut RuleSet)| {
        let mut less = rules.clone();
        change(&mut less);
        less
    };
    let n_flows = rules.flows.len();
    for (half, n) in
        [2, 4].into_iter().filter(|&n| n_flows > 2 * n).flat_map(|n| (0..n).map(move |k| (n_flows / n, k)))
    {
        all.push(with(&|less| drop(less.flows.drain(n * half..(n + 1) * half))));
    }
    for n in (0..n_flows).rev() {
        all.push(with(&|less| drop(less.flows.remove(n))));
    }
    for n in (0..rules.groups.len()).rev() {
        all.push(with(&|less| drop(less.groups.remove(n))));
        for bucket in 0..rules.groups[n].buckets.len() {
            all.push(with(&|less| drop(less.groups[n].buckets.remove(bucket))));
            for action in 0..rules.groups[n].buckets[bucket].1.len() {
                all.push(with(&|less| drop(less.groups[n].buckets[bucket].1.remove(action))));
            }
        }
    }
    for (n, flow) in rules.flows.iter().enumerate() {
        for action in 0..flow.apply.len() {
            all.push(with(&|less| drop(less.flows[n].apply.remove(action))));
        }
        for action in 0..flow.write.len() {
            all.push(with(&|less| drop(less.flows[n].write.remove(action))));
        }
        for field in 0..flow.matching.len() {
            all.push(with(&|less| drop(less.flows[n].matching.remove(field))));
        }
        all.push(with(&|less| less.flows[n].goto = None));
        all.push(with(&|less| less.flows[n].metadata = None));
    }
    all.retain(|less| less.to_string() != rules.to_string());
    all
}
