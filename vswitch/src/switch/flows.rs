//! The flows of every table, as the owner knows them (§5.2).

use core::cmp::Ordering;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use lookup::{Index, Rule, Slab};
use openflow::{
    Action, Cookie, FlowModFlags, FlowRemovedReason, FlowStats, FlowStatsRequest, GroupId, Instruction,
    Match, PortNo, Priority, TableId, TableStats,
};
use packet::Instant;

use crate::datapath::Counted;
use crate::key;
use crate::snapshot::Flow;
use crate::step::{Body, Entry};
use crate::trace::TraceEntry;

/// A flow as the owner knows it.
#[derive(Clone, Debug)]
pub(super) struct FlowRecord {
    pub table: TableId,
    pub priority: Priority,
    pub cookie: Cookie,
    pub matches: Arc<Match>,
    pub instructions: Vec<Instruction>,
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
    /// Higher for older flows; zero until it is first in the tables.
    pub age: u64,
    /// In the tables; none if no frame can match it.
    pub rule: Option<Flow>,
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

/// Every flow of every table.
#[derive(Debug)]
pub(super) struct Flows {
    records: Slab<FlowRecord>,
    tables: Vec<TableRecord>,
    /// Counts flows and stamps.
    n_made: u64,
}

#[derive(Debug, Default)]
struct TableRecord {
    by_match: HashMap<(Priority, Arc<Match>), Index>,
    lookups: u64,
    matched: u64,
}

fn outputs_to(instructions: &[Instruction], wanted: impl Fn(&Action) -> bool) -> bool {
    instructions.iter().any(|instruction| match instruction {
        Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
            actions.iter().any(&wanted)
        }
        _ => false,
    })
}

impl FlowRecord {
    fn describe(&self) -> TraceEntry {
        TraceEntry {
            priority: self.priority,
            cookie: self.cookie,
            matches: (*self.matches).clone(),
            instructions: self.instructions.clone(),
        }
    }

    fn has_outputs(&self, port: Option<PortNo>, group: Option<GroupId>) -> bool {
        let to_port = |a: &Action| matches!(a, Action::Output { port: p, .. } if Some(*p) == port);
        let to_group = |a: &Action| matches!(a, Action::Group(g) if Some(*g) == group);
        (port.is_none() || outputs_to(&self.instructions, to_port))
            && (group.is_none() || outputs_to(&self.instructions, to_group))
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
            matches: (*self.matches).clone(),
            instructions: self.instructions.clone(),
        }
    }
}

/// Which flows a request speaks of.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub table: TableId,
    pub matches: &'a Match,
    /// Also exactly this priority and match.
    pub strict: Option<Priority>,
    pub cookie: (Cookie, u64),
    pub out_port: Option<PortNo>,
    pub out_group: Option<GroupId>,
}

impl Flows {
    pub(super) fn new(n_tables: u8) -> Self {
        Self {
            records: Slab::new(),
            tables: (0..n_tables).map(|_| TableRecord::default()).collect(),
            n_made: 0,
        }
    }

    pub(super) fn describe(&self, flow: Index) -> Option<TraceEntry> {
        self.records.get(flow).map(FlowRecord::describe)
    }

    pub(super) fn count(&mut self, counted: &Counted) {
        for count in &counted.entries {
            if let Some(record) = self.records.get_mut(count.id) {
                record.packets += count.packets;
                record.bytes += count.bytes;
                record.last_used = record.last_used.max(count.last_used);
            }
        }
        for (table, &(lookups, matched)) in self.tables.iter_mut().zip(&counted.tables) {
            table.lookups += lookups;
            table.matched += matched;
        }
    }

    pub(super) fn table_stats(&self, table: TableId) -> TableStats {
        let (active, lookups, matched) = self
            .tables
            .get(usize::from(table.0))
            .map_or((0, 0, 0), |t| (t.by_match.len() as u32, t.lookups, t.matched));
        TableStats { table, active, lookups, matched }
    }

    /// The flows a filter selects, in ascending order of tables, then by descending priority.
    pub(super) fn select(&self, filter: &Filter<'_>) -> Vec<Index> {
        let tables = match filter.table {
            TableId::ALL => &self.tables[..],
            TableId(table) => self.tables.get(usize::from(table)..usize::from(table) + 1).unwrap_or(&[]),
        };
        let suits = |record: &FlowRecord| {
            (record.cookie.0 ^ filter.cookie.0.0) & filter.cookie.1 == 0
                && record.has_outputs(filter.out_port, filter.out_group)
        };
        let mut found = Vec::new();
        for table in tables {
            if let Some(priority) = filter.strict {
                let key = (priority, Arc::new(filter.matches.clone()));
                found.extend(table.by_match.get(&key).copied());
            } else {
                let covered = table.by_match.iter().filter(|((_, m), _)| filter.matches.covers(m));
                found.extend(covered.map(|(_, &flow)| flow));
            }
        }
        found.retain(|&flow| self.records.get(flow).is_some_and(suits));
        found.sort_by_key(|&flow| {
            self.records.get(flow).map(|r| (r.table, core::cmp::Reverse(r.priority), flow))
        });
        found
    }

    pub(super) fn stats(&self, now: Instant, wanted: &FlowStatsRequest) -> Vec<FlowStats> {
        let filter = Filter {
            table: wanted.table,
            matches: &wanted.matches,
            strict: None,
            cookie: (wanted.cookie, wanted.cookie_mask),
            out_port: wanted.out_port,
            out_group: wanted.out_group,
        };
        let selected = self.select(&filter).into_iter();
        selected.filter_map(|flow| self.records.get(flow)).map(|record| record.stats(now)).collect()
    }

    /// The flows with an instruction that `uses` something.
    pub(super) fn using(&self, uses: impl Fn(&Instruction) -> bool) -> Vec<Index> {
        let live = self.records.iter().filter(|(_, r)| r.removed.is_none());
        live.filter(|(_, r)| r.instructions.iter().any(&uses)).map(|(flow, _)| flow).collect()
    }

    /// A flow that is in its table.
    pub(super) fn get(&self, flow: Index) -> Option<&FlowRecord> {
        self.records.get(flow).filter(|record| record.removed.is_none())
    }

    /// How many flows a table has.
    pub(super) fn n_flows(&self, table: TableId) -> usize {
        self.tables.get(usize::from(table.0)).map_or(0, |t| t.by_match.len())
    }

    /// No table has any.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.iter().all(|t| t.by_match.is_empty())
    }

    /// The one flow with this table, priority and match.
    pub(super) fn find(&self, table: TableId, priority: Priority, matches: &Arc<Match>) -> Option<Index> {
        self.tables.get(usize::from(table.0))?.by_match.get(&(priority, matches.clone())).copied()
    }

    /// Some flow of this table and priority overlaps.
    pub(super) fn overlaps(&self, table: TableId, priority: Priority, matches: &Match) -> bool {
        let overlaps = |(p, m): &(Priority, Arc<Match>)| *p == priority && m.overlaps(matches);
        self.tables.get(usize::from(table.0)).is_some_and(|t| t.by_match.keys().any(overlaps))
    }

    /// When a timer is to look at a flow, if none does early enough.
    pub(super) fn arm(&mut self, flow: Index) -> Option<Timer> {
        let record = self.records.get_mut(flow).filter(|record| record.removed.is_none())?;
        let at = record.deadline()?;
        if record.armed.is_some_and(|armed| armed <= at) {
            return None;
        }
        record.armed = Some(at);
        Some(Timer { at, flow })
    }

    /// Whether a timer that has come is the last that was armed; the flow has none then.
    pub(super) fn disarm(&mut self, timer: Timer) -> bool {
        let record = self.records.get_mut(timer.flow);
        record.is_some_and(|record| record.armed.take_if(|at| *at == timer.at).is_some())
    }

    /// Adds a flow whose table, priority and match no other has.
    pub(super) fn insert(&mut self, record: FlowRecord) -> Index {
        let (table, key) = (record.table, (record.priority, record.matches.clone()));
        let flow = self.records.insert(record);
        self.tables[usize::from(table.0)].by_match.insert(key, flow);
        flow
    }

    /// Puts another record with the same table, priority and match in the place of a flow's; returns the old one.
    pub(super) fn swap(&mut self, flow: Index, record: FlowRecord) -> Option<FlowRecord> {
        self.records.get_mut(flow).map(|place| core::mem::replace(place, record))
    }

    /// Takes a flow out of its table; the record stays, for its last counts.
    pub(super) fn unlink(&mut self, flow: Index, removal: Removal) -> Option<&FlowRecord> {
        let record = self.records.get_mut(flow).filter(|record| record.removed.is_none())?;
        record.removed = Some(removal);
        let table = &mut self.tables[usize::from(record.table.0)];
        table.by_match.remove(&(record.priority, record.matches.clone()));
        Some(record)
    }

    /// Brings a flow back that was taken out of its table.
    pub(super) fn relink(&mut self, flow: Index) {
        let Some(record) = self.records.get_mut(flow) else { return };
        record.removed = None;
        let key = (record.priority, record.matches.clone());
        self.tables[usize::from(record.table.0)].by_match.insert(key, flow);
    }

    /// Forgets a flow, whether it is in its table or not.
    pub(super) fn forget(&mut self, flow: Index) -> Option<FlowRecord> {
        let record = self.records.remove(flow)?;
        if record.removed.is_none() {
            let table = &mut self.tables[usize::from(record.table.0)];
            table.by_match.remove(&(record.priority, record.matches.clone()));
        }
        Some(record)
    }

    /// The rule of a flow; none if no frame can match.
    fn compile(&mut self, flow: Index, body: Body) -> Option<Flow> {
        self.n_made += 1;
        let (record, stamp) = (self.records.get_mut(flow)?, self.n_made);
        let conds = key::conds(&record.matches)?.into_boxed_slice();
        // The highest priority wins; among equals, of which the standard says nothing, the older.
        if record.age == 0 {
            record.age = (1 << 48) - 1 - stamp;
        }
        let entry = Entry {
            id: flow,
            stamp,
            table: record.table.0,
            apply: body.apply,
            clear: body.clear,
            write: body.write,
            metadata: body.metadata,
            goto: body.goto,
        };
        Some(Arc::new(Rule { rank: u64::from(record.priority.0) << 48 | record.age, conds, value: entry }))
    }

    /// Gives a flow its rule; returns the one it had, and the new one. None if no frame can match.
    pub(super) fn enact(&mut self, flow: Index, body: Body) -> (Option<Flow>, Option<Flow>) {
        let rule = self.compile(flow, body);
        let Some(record) = self.records.get_mut(flow) else { return (None, None) };
        (core::mem::replace(&mut record.rule, rule.clone()), rule)
    }
}
