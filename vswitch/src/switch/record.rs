//! One flow, as the owner knows it (§5.2).

use core::cmp::Ordering;
use core::time::Duration;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use lookup::{Cond, Index};
use openflow::{
    Action, Cookie, FlowModFlags, FlowRemovedReason, FlowStats, GroupId, Instruction, Match, MeterId, PortNo,
    Priority, TableId,
};
use packet::Instant;

use super::pattern::{FieldSet, Pattern};
use crate::snapshot::Flow;
use crate::trace::TraceEntry;

/// A flow as the owner knows it.
#[derive(Clone, Debug)]
pub(super) struct FlowRecord {
    /// What the tables hold; they hold nothing of a flow that is `impossible`.
    pub rule: Flow,
    pub fields: FieldSet,
    pub priority: Priority,
    pub table: TableId,
    /// The match, if no frame can satisfy it: its rule does not say it.
    pub impossible: Option<Box<Match>>,
    pub cookie: Cookie,
    pub instructions: Arc<[Instruction]>,
    pub flags: FlowModFlags,
    pub importance: u16,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub installed: Instant,
    pub last_used: Instant,
    /// When a timer will look at it.
    pub armed: Option<Instant>,
    pub packets: u64,
    pub bytes: u64,
    /// It is gone, and only waits for its last counts.
    pub removed: Option<Removal>,
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

/// Lists of instructions that were seen lately: many flows do the same.
#[derive(Debug)]
pub(super) struct Shared {
    lists: Vec<Arc<[Instruction]>>,
    hasher: RandomState,
}

impl Default for Shared {
    fn default() -> Self {
        Self { lists: vec![Arc::default(); 256], hasher: RandomState::new() }
    }
}

impl Shared {
    /// The same list, without room for more.
    pub(super) fn list(&mut self, instructions: Vec<Instruction>) -> Arc<[Instruction]> {
        let at = self.hasher.hash_one(&instructions) as usize % self.lists.len();
        if *self.lists[at] != *instructions {
            let shrunk = instructions.into_iter().map(|mut instruction| {
                if let Instruction::ApplyActions(all) | Instruction::WriteActions(all) = &mut instruction {
                    all.shrink_to_fit();
                }
                instruction
            });
            self.lists[at] = shrunk.collect();
        }
        self.lists[at].clone()
    }
}

impl FlowRecord {
    /// The bits it looks at; none of a flow that is impossible.
    pub(super) fn conds(&self) -> &[Cond] {
        &self.rule.conds
    }

    pub(super) fn pattern(&self) -> Pattern<'_> {
        Pattern { fields: self.fields, conds: self.conds() }
    }

    pub(super) fn matches(&self) -> Match {
        self.impossible.as_deref().cloned().unwrap_or_else(|| self.pattern().to_match())
    }

    pub(super) fn describe(&self) -> TraceEntry {
        TraceEntry {
            priority: self.priority,
            cookie: self.cookie,
            matches: self.matches(),
            instructions: self.instructions.to_vec(),
        }
    }

    pub(super) fn has_outputs(&self, port: Option<PortNo>, group: Option<GroupId>) -> bool {
        let to_port = |a: &Action| matches!(a, Action::Output { port: p, .. } | Action::Enqueue { port: p, .. } if Some(*p) == port);
        let to_group = |a: &Action| matches!(a, Action::Group(g) if Some(*g) == group);
        (port.is_none() || does(&self.instructions, to_port))
            && (group.is_none() || does(&self.instructions, to_group))
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
            table: self.table,
            duration: now.saturating_since(self.installed),
            priority: self.priority,
            idle_timeout: self.idle_timeout,
            hard_timeout: self.hard_timeout,
            flags: self.flags,
            importance: self.importance,
            cookie: self.cookie,
            packets: if hidden(FlowModFlags::NO_PKT_COUNTS) { u64::MAX } else { self.packets },
            bytes: if hidden(FlowModFlags::NO_BYT_COUNTS) { u64::MAX } else { self.bytes },
            matches: self.matches(),
            instructions: self.instructions.to_vec(),
        }
    }
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
