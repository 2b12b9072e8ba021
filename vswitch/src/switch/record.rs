//! One flow, as the owner knows it (§5.2).

use core::borrow::Borrow;
use core::cmp::Ordering;
use core::hash::Hash;
use core::time::Duration;
use std::collections::HashSet;
use std::sync::Arc;

use lookup::{Conds, Index};
use openflow::{
    Action, Cookie, FlowMod, FlowModFlags, FlowRemovedReason, FlowStats, GroupId, Instruction, Match,
    MeterId, PortNo, Priority, TableId,
};
use packet::Instant;

use super::pattern::{FieldSet, Pattern};
use crate::snapshot::Flow;
use crate::trace::TraceEntry;

/// A flow as the owner knows it: small, there may be millions.
#[derive(Clone, Debug)]
pub(super) struct FlowRecord {
    /// What the tables hold; they hold nothing of a flow that is impossible. Says table, priority and instructions, too.
    pub rule: Flow,
    pub fields: FieldSet,
    pub cookie: Cookie,
    pub installed: Instant,
    pub last_used: Instant,
    pub packets: u64,
    pub bytes: u64,
    pub flags: FlowModFlags,
    pub importance: u16,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    /// What few flows have.
    pub rare: Option<Box<Rare>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Rare {
    /// The match, if no frame can satisfy it: its rule does not say it.
    impossible: Option<Match>,
    /// When a timer will look at it.
    armed: Option<Instant>,
    /// It is gone, and only waits for its last counts.
    removed: Option<Removal>,
}

/// How a flow went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal {
    pub at: Instant,
    /// None if nobody is to be told: another flow has its place.
    pub reason: Option<FlowRemovedReason>,
}

/// When to look at a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timer {
    pub at: Instant,
    pub flow: Index,
}

impl Ord for Timer {
    /// The earliest is the greatest, for a max-heap.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.flow).cmp(&(self.at, self.flow))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a flow uses that can be deleted under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Used {
    Group(GroupId),
    Meter(MeterId),
}

/// Values that many flows have alike, each kept once.
#[derive(Debug)]
pub(super) struct Shared<T: ?Sized> {
    known: HashSet<Arc<T>>,
    /// Flows that went since it was last looked who uses what.
    n_gone: usize,
}

impl<T: ?Sized + Eq + Hash> Default for Shared<T> {
    fn default() -> Self {
        Self { known: HashSet::new(), n_gone: 0 }
    }
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    /// The value that equals this one; `keep` makes it if there is none.
    pub(super) fn share<V: Borrow<T>>(&mut self, value: V, keep: impl FnOnce(V) -> Arc<T>) -> Arc<T> {
        if let Some(known) = self.known.get(value.borrow()) {
            return known.clone();
        }
        let kept = keep(value);
        self.known.insert(kept.clone());
        kept
    }

    /// A flow went. Every now and then forgets what none has any more.
    pub(super) fn note_gone(&mut self) {
        self.n_gone += 1;
        if self.n_gone > self.known.len() {
            self.n_gone = 0;
            self.known.retain(|value| Arc::strong_count(value) > 1);
            self.known.shrink_to(2 * self.known.len());
        }
    }
}

impl FlowRecord {
    /// The flow that a message describes.
    pub(super) fn new(now: Instant, rule: Flow, fields: FieldSet, flow_mod: &FlowMod) -> Self {
        Self {
            rule,
            fields,
            cookie: flow_mod.cookie,
            installed: now,
            last_used: now,
            packets: 0,
            bytes: 0,
            flags: flow_mod.flags,
            importance: flow_mod.importance,
            idle_timeout: flow_mod.idle_timeout,
            hard_timeout: flow_mod.hard_timeout,
            rare: None,
        }
    }

    /// A flow with such a match, which no frame can satisfy.
    pub(super) fn impossible_by(self, matches: Match) -> Self {
        Self { rare: Some(Box::new(Rare { impossible: Some(matches), ..Rare::default() })), ..self }
    }

    /// Without counts, timer and traces of a removal.
    pub(super) fn afresh(self, rule: Flow) -> Self {
        let rare = self
            .impossible()
            .cloned()
            .map(|matches| Box::new(Rare { impossible: Some(matches), ..Rare::default() }));
        Self { rule, packets: 0, bytes: 0, rare, ..self }
    }

    pub(super) fn priority(&self) -> Priority {
        priority(self.rule.rank)
    }

    pub(super) fn table(&self) -> TableId {
        TableId(self.rule.value.table)
    }

    pub(super) fn instructions(&self) -> &[Instruction] {
        &self.rule.value.body.instructions
    }

    /// Its match, if no frame can satisfy that.
    pub(super) fn impossible(&self) -> Option<&Match> {
        self.rare.as_ref()?.impossible.as_ref()
    }

    pub(super) fn is_impossible(&self) -> bool {
        self.impossible().is_some()
    }

    /// How it went, if it did.
    pub(super) fn removed(&self) -> Option<Removal> {
        self.rare.as_ref()?.removed
    }

    /// When a timer will look at it.
    pub(super) fn armed(&self) -> Option<Instant> {
        self.rare.as_ref()?.armed
    }

    pub(super) fn set_removed(&mut self, removed: Option<Removal>) {
        self.change_rare(|rare| rare.removed = removed);
    }

    pub(super) fn set_armed(&mut self, armed: Option<Instant>) {
        self.change_rare(|rare| rare.armed = armed);
    }

    fn change_rare(&mut self, change: impl FnOnce(&mut Rare)) {
        let rare = self.rare.get_or_insert_default();
        change(rare);
        if rare.impossible.is_none() && rare.armed.is_none() && rare.removed.is_none() {
            self.rare = None;
        }
    }

    /// The bits it looks at; none of a flow that is impossible.
    pub(super) fn conds(&self) -> &Conds {
        &self.rule.conds
    }

    pub(super) fn pattern(&self) -> Pattern<'_> {
        Pattern { fields: self.fields, conds: self.conds() }
    }

    pub(super) fn matches(&self) -> Match {
        self.impossible().cloned().unwrap_or_else(|| self.pattern().to_match())
    }

    pub(super) fn describe(&self) -> TraceEntry {
        TraceEntry {
            priority: self.priority(),
            cookie: self.cookie,
            matches: self.matches(),
            instructions: self.instructions().to_vec(),
        }
    }

    pub(super) fn has_outputs(&self, port: Option<PortNo>, group: Option<GroupId>) -> bool {
        let to_port = |a: &Action| matches!(a, Action::Output { port: p, .. } | Action::Enqueue { port: p, .. } if Some(*p) == port);
        let to_group = |a: &Action| matches!(a, Action::Group(g) if Some(*g) == group);
        (port.is_none() || does(self.instructions(), to_port))
            && (group.is_none() || does(self.instructions(), to_group))
    }

    /// When it expires, as far as is known.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let after = |since: Instant, secs: u16| (secs != 0).then(|| since + Duration::from_secs(secs.into()));
        let hard = after(self.installed, self.hard_timeout);
        let idle = after(self.last_used, self.idle_timeout);
        hard.into_iter().chain(idle).min()
    }

    pub(super) fn stats(&self, now: Instant) -> FlowStats {
        let hidden = |flag: FlowModFlags| self.flags.contains(flag);
        FlowStats {
            table: self.table(),
            duration: now.saturating_since(self.installed),
            priority: self.priority(),
            idle_timeout: self.idle_timeout,
            hard_timeout: self.hard_timeout,
            flags: self.flags,
            importance: self.importance,
            cookie: self.cookie,
            packets: if hidden(FlowModFlags::NO_PKT_COUNTS) { u64::MAX } else { self.packets },
            bytes: if hidden(FlowModFlags::NO_BYT_COUNTS) { u64::MAX } else { self.bytes },
            matches: self.matches(),
            instructions: self.instructions().to_vec(),
        }
    }
}

/// The highest priority wins; among equals, of which the standard says nothing, the older.
pub(super) const fn rank(priority: Priority, stamp: u64) -> u64 {
    (priority.0 as u64) << 48 | ((1 << 48) - 1 - stamp)
}

const fn priority(rank: u64) -> Priority {
    Priority((rank >> 48) as u16)
}

pub(super) fn does(instructions: &[Instruction], wanted: impl Fn(&Action) -> bool) -> bool {
    instructions.iter().any(|instruction| match instruction {
        Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
            actions.iter().any(&wanted)
        }
        _ => false,
    })
}

/// What instructions use that can be deleted under them.
pub(super) fn uses(instructions: &[Instruction], mut used: impl FnMut(Used)) {
    for instruction in instructions {
        match instruction {
            Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
                for action in actions {
                    if let Action::Group(group) = action {
                        used(Used::Group(*group));
                    }
                }
            }
            Instruction::Meter(meter) => used(Used::Meter(*meter)),
            _ => {}
        }
    }
}
