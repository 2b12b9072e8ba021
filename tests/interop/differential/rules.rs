//! Random rule sets in the text form of ovs-ofctl: what both switches take, and what means the same to both.
//!
//! What they do not have in common is left out here; docs/conformance.md lists it, and says which of the two follows the
//! standard.

use std::collections::BTreeSet;
use std::fmt;

use super::actions::{self, Known, Scope};
use super::matching;
use super::random::Random;

/// Where labels are popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pops {
    /// In apply-actions.
    Apply,
    /// In write-actions.
    ActionSet,
    /// Not at all.
    Nowhere,
}

/// What the frames and rules of a set may contain.
#[derive(Clone, Debug)]
pub struct Style {
    /// VLAN tags that a frame has at most.
    pub max_tags: usize,
    /// MPLS labels that a frame has at most.
    pub max_labels: usize,
    /// Pushes and pops are those of MPLS.
    pub mpls: bool,
    /// Where labels may be popped: a pop must know what it uncovers.
    pub pops: Pops,
    /// TTLs of frames may be used up.
    pub expires: bool,
    /// Flows may write into the action set.
    pub writes: bool,
    /// Where headers may be pushed, so that no frame gets more of them than Open vSwitch holds.
    pub pushes: Vec<Scope>,
}

impl Style {
    /// Some style.
    pub fn random(random: &mut Random) -> Self {
        let mpls = random.one_in(3);
        // Where a TTL is used up, Open vSwitch still executes the action set so far.
        let expires = random.one_in(2);
        let scopes = [Scope::Apply(0), Scope::Apply(1), Scope::ActionSet, Scope::Bucket];
        let n_pushes = random.below(3);
        let first = random.below(scopes.len());
        let pushes: Vec<Scope> = (0..n_pushes).map(|n| scopes[(first + n) % scopes.len()]).collect();
        Self {
            max_tags: if mpls && n_pushes > 0 { 0 } else { 2 - n_pushes.min(2) },
            max_labels: if mpls { 3 - n_pushes } else { usize::from(random.one_in(2)) },
            mpls,
            // Open vSwitch 3.1 recirculates behind a pop, and aborts when there is an action set then
            // (`action_set_len <= ofpacts_len`).
            pops: match (expires, pushes.is_empty()) {
                (true, _) => Pops::Apply,
                (false, true) => Pops::ActionSet,
                (false, false) => Pops::Nowhere,
            },
            writes: !expires,
            expires,
            pushes,
        }
    }
}

/// A flow.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Its table.
    pub table: u8,
    /// Its priority, of which there is one flow in a table.
    pub priority: u16,
    /// Fields.
    pub matching: Vec<String>,
    /// Apply-actions.
    pub apply: Vec<String>,
    /// Clear-actions.
    pub clear: bool,
    /// Write-actions.
    pub write: Vec<String>,
    /// Write-metadata.
    pub metadata: Option<String>,
    /// Goto-table.
    pub goto: Option<u8>,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table={},priority={}", self.table, self.priority)?;
        self.matching.iter().try_for_each(|field| write!(f, ",{field}"))?;
        let mut words = self.apply.clone();
        words.extend(self.clear.then(|| "clear_actions".to_owned()));
        words.extend((!self.write.is_empty()).then(|| format!("write_actions({})", self.write.join(","))));
        words.extend(self.metadata.as_ref().map(|text| format!("write_metadata:{text}")));
        words.extend(self.goto.map(|table| format!("goto_table:{table}")));
        let words = if words.is_empty() { "drop".to_owned() } else { words.join(",") };
        write!(f, " actions={words}")
    }
}

impl Flow {
    /// Open vSwitch 3.1 aborts (`rule->state == RULE_INSERTED`) when a group is deleted that a flow names twice.
    fn use_groups_once(&mut self) {
        let mut seen = BTreeSet::new();
        let mut first = |action: &String| !action.starts_with("group:") || seen.insert(action.clone());
        self.apply.retain(&mut first);
        self.write.retain(&mut first);
    }
}

/// A group: its number, type, and the buckets.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// `all`, `select`, `indirect` or `ff`.
    pub kind: &'static str,
    /// The port each bucket watches, and what it does.
    pub buckets: Vec<(u32, Vec<String>)>,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group_id={},type={}", self.id, self.kind)?;
        self.buckets.iter().try_for_each(|(watched, actions)| {
            let watch = if self.kind == "ff" { format!("watch_port:{watched},") } else { String::new() };
            write!(f, ",bucket={watch}actions={}", actions.join(","))
        })
    }
}

/// Flows and the groups they use.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// Groups; each uses only those before it.
    pub groups: Vec<Group>,
    /// Flows.
    pub flows: Vec<Flow>,
}

impl fmt::Display for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.groups.iter().try_for_each(|group| writeln!(f, "{group}"))?;
        self.flows.iter().try_for_each(|flow| writeln!(f, "{flow}"))
    }
}

impl RuleSet {
    /// Some rule set.
    pub fn random(random: &mut Random, style: &Style) -> Self {
        let mut this = Self::default();
        for _ in 0..random.below(5) {
            let group = group(random, style, &this.groups);
            this.groups.push(group);
        }
        let n_groups = this.groups.len() as u32;
        let n_tables = 2 + random.below(3) as u8;
        for table in 0..n_tables {
            let last = table + 1 == n_tables;
            for n in 0..6 + random.below(6) as u16 {
                let flow = flow(random, style, (table, n_tables - 1 - table, n_groups));
                this.flows.push(Flow { priority: 100 - n, ..flow });
            }
            // Behind a table miss Open vSwitch still executes the action set.
            if style.writes || !random.one_in(8) {
                this.flows.push(fallback(random, (table, last)));
            }
        }
        this
    }
}

/// A group behind those there are already.
fn group(random: &mut Random, style: &Style, groups: &[Group]) -> Group {
    let kind = match random.pick(&["all", "all", "indirect", "ff", "select"]) {
        // Open vSwitch recirculates here too.
        "select" if style.writes => "indirect",
        kind => kind,
    };
    let chainable: Vec<u32> =
        groups.iter().filter(|group| group.kind != "select").map(|group| group.id).collect();
    // Which bucket of several a select group takes is the switch's own business.
    let n_buckets = if matches!(kind, "indirect" | "select") { 1 } else { 1 + random.below(3) };
    let buckets = (0..n_buckets).map(|_| {
        let mut bucket = Vec::new();
        if !chainable.is_empty() && random.one_in(4) {
            bucket.push(format!("group:{}", random.pick(&chainable)));
        } else {
            bucket.extend(actions::changes(random, style, (Scope::Bucket, Known::nothing())));
            bucket.push(actions::output(random));
        }
        (1 + random.below(5) as u32, bucket)
    });
    Group { id: groups.len() as u32 + 1, kind, buckets: buckets.collect() }
}

/// A flow of `table`, behind which there are `n_behind` others.
fn flow(random: &mut Random, style: &Style, (table, n_behind, n_groups): (u8, u8, u32)) -> Flow {
    let (matching, known) = matching::random(random, style, table);
    let mut flow = Flow { table, matching, ..Flow::default() };
    for _ in 0..random.below(3) {
        flow.apply.push(actions::send(random, n_groups));
    }
    let changes = actions::changes(random, style, (Scope::Apply(table), known));
    let at = random.below(flow.apply.len() + 1);
    flow.apply.splice(at..at, changes);
    flow.clear = style.writes && random.one_in(8);
    if style.writes && random.one_in(2) {
        flow.write = actions::changes(random, style, (Scope::ActionSet, known.behind(&flow.apply)));
        flow.write.push(actions::send(random, n_groups));
    }
    if n_behind > 0 && !random.one_in(12) {
        flow.goto = Some(table + 1 + random.below(n_behind.into()) as u8);
        if random.one_in(2) {
            let mask = random.pick(&["", "/0xf", "/0xff00"]);
            flow.metadata = Some(format!("{:#x}{mask}", random.pick(&[1, 2, 0x101, 0x203])));
            // A masked value has no bits outside its mask.
            flow.metadata = flow.metadata.map(normalised);
        }
    } else if flow.apply.is_empty() {
        flow.apply.push(actions::send(random, n_groups));
    }
    flow.use_groups_once();
    flow
}

/// Cuts the bits of `VALUE/MASK` that are outside the mask.
fn normalised(text: String) -> String {
    let Some((value, mask)) = text.split_once('/') else { return text };
    let number = |text: &str| u64::from_str_radix(&text[2..], 16).expect("written in hexadecimal");
    format!("{:#x}/{mask}", number(value) & number(mask))
}

/// A rule that takes what is left: the table-miss entry, or one above it.
fn fallback(random: &mut Random, (table, last): (u8, bool)) -> Flow {
    let miss = random.one_in(3);
    let goto = (!last).then_some(table + 1);
    let apply = if last { vec![format!("output:{}", 1 + random.below(4))] } else { vec![] };
    Flow { table, priority: u16::from(!miss), apply, goto, ..Flow::default() }
}
