//! The flows of every table, as the owner knows them (§5.2).

use core::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use lookup::{Conds, Index, Masks, Rule, Secret, Slab};
use openflow::{Cookie, FlowMod, FlowStatsRequest, GroupId, Match, PortNo, Priority, TableId, TableStats};
use packet::Instant;

use super::index::{TableIndex, Wanted};
use super::pattern::{FieldSet, Pattern};
use super::record::{FlowRecord, Removal, Shared, Timer, Used, rank, uses};
use crate::datapath::Counted;
use crate::entry::{Body, Entry};
use crate::key;
use crate::snapshot::Flow;
use crate::trace::TraceEntry;

/// Every record, those of removed flows that wait for their last counts among them.
pub(super) type Records = Slab<FlowRecord>;

/// Every flow of every table.
#[derive(Debug)]
pub(super) struct Flows {
    records: Records,
    tables: Vec<TableRecord>,
    users: BTreeSet<(Used, Index)>,
    /// What flows do, and the bits they look at.
    bodies: Shared<Body>,
    masks: Shared<Masks>,
    /// Counts flows and stamps.
    n_made: u64,
    /// Counts flows that came, went or changed.
    version: u64,
}

#[derive(Debug)]
struct TableRecord {
    index: TableIndex,
    lookups: u64,
    matched: u64,
}

/// A match with its words, as the tables compare it.
#[derive(Debug)]
pub(super) struct Key {
    fields: FieldSet,
    /// None if no frame can satisfy it.
    conds: Option<Conds>,
}

impl Key {
    pub(super) fn of(matches: &Match) -> Self {
        Self { fields: FieldSet::of(matches), conds: key::conds(matches) }
    }

    fn pattern(&self) -> Option<Pattern<'_>> {
        self.conds.as_ref().map(|conds| Pattern { fields: self.fields, conds })
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

impl Filter<'_> {
    /// What can change about a flow is as wanted.
    pub(super) fn admits(&self, record: &FlowRecord) -> bool {
        let (cookie, mask) = self.cookie;
        (record.cookie.0 ^ cookie.0) & mask == 0 && record.has_outputs(self.out_port, self.out_group)
    }
}

impl<'a> From<&'a FlowStatsRequest> for Filter<'a> {
    fn from(wanted: &'a FlowStatsRequest) -> Self {
        Self {
            table: wanted.table,
            matches: &wanted.matches,
            strict: None,
            cookie: (wanted.cookie, wanted.cookie_mask),
            out_port: wanted.out_port,
            out_group: wanted.out_group,
        }
    }
}

impl<'a> From<&'a FlowMod> for Filter<'a> {
    /// As a deletion that is not strict selects.
    fn from(m: &'a FlowMod) -> Self {
        Self {
            table: m.table,
            matches: &m.matches,
            strict: None,
            cookie: (m.cookie, m.cookie_mask),
            out_port: m.out_port,
            out_group: m.out_group,
        }
    }
}

impl Flows {
    pub(super) fn new(n_tables: u8, secret: Secret) -> Self {
        let table = |_| TableRecord { index: TableIndex::new(secret), lookups: 0, matched: 0 };
        Self {
            records: Slab::new(),
            tables: (0..n_tables).map(table).collect(),
            users: BTreeSet::new(),
            bodies: Shared::default(),
            masks: Shared::default(),
            n_made: 0,
            version: 0,
        }
    }

    /// As long as it is the same, every filter selects the same.
    pub(super) fn version(&self) -> u64 {
        self.version
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
            .map_or((0, 0, 0), |t| (t.index.len() as u32, t.lookups, t.matched));
        TableStats { table, max_entries: 0, active, lookups, matched }
    }

    /// The flows a filter selects, in ascending order of tables, then by descending priority.
    pub(super) fn select(&mut self, filter: &Filter<'_>) -> Vec<Index> {
        let mut found = self.chosen(filter);
        if found.len() > 1 {
            found.sort_by_cached_key(|&flow| {
                self.records.get(flow).map(|r| (r.table(), Reverse(r.priority()), flow))
            });
        }
        found
    }

    /// The flows a filter selects, in no order.
    pub(super) fn chosen(&mut self, filter: &Filter<'_>) -> Vec<Index> {
        let mut found = match filter.strict {
            Some(priority) => self.named(filter, priority),
            None => self.covered(filter),
        };
        found.retain(|&flow| self.records.get(flow).is_some_and(|record| filter.admits(record)));
        found
    }

    fn tables_of(&self, table: TableId) -> core::ops::Range<usize> {
        match table {
            TableId::ALL => 0..self.tables.len(),
            TableId(table) => {
                usize::from(table).min(self.tables.len())..(usize::from(table) + 1).min(self.tables.len())
            }
        }
    }

    /// The flows with exactly the filter's match and this priority.
    fn named(&self, filter: &Filter<'_>, priority: Priority) -> Vec<Index> {
        let key = Key::of(filter.matches);
        let tables = self.tables_of(filter.table);
        tables.filter_map(|table| self.find(TableId(table as u8), priority, filter.matches, &key)).collect()
    }

    /// The flows that the filter's match covers.
    fn covered(&mut self, filter: &Filter<'_>) -> Vec<Index> {
        let key = Key::of(filter.matches);
        let pattern = key.pattern();
        let covers = |record: &FlowRecord| match (pattern, record.impossible()) {
            _ if filter.matches.is_empty() => true,
            (Some(pattern), None) => pattern.covers(record.pattern()),
            _ => filter.matches.covers(&record.matches()),
        };
        let mut found = match filter.out_group {
            Some(group) => self.using(Used::Group(group)),
            None => {
                let cookie = (filter.cookie.0.0, filter.cookie.1);
                let wanted = Wanted { pattern, cookie, out_port: filter.out_port };
                let mut found = Vec::new();
                for table in self.tables_of(filter.table) {
                    found.append(&mut self.tables[table].index.candidates(&self.records, &wanted));
                }
                found
            }
        };
        let in_table = |record: &FlowRecord| filter.table == TableId::ALL || record.table() == filter.table;
        found.retain(|&flow| self.records.get(flow).is_some_and(|r| in_table(r) && covers(r)));
        found
    }

    /// The flows that use a group or meter, each once.
    pub(super) fn using(&self, used: Used) -> Vec<Index> {
        let range = self.users.range((used, Index::FIRST)..).take_while(|(u, _)| *u == used);
        range.map(|&(_, flow)| flow).collect()
    }

    /// A flow that is in its table.
    pub(super) fn get(&self, flow: Index) -> Option<&FlowRecord> {
        self.records.get(flow).filter(|record| record.removed().is_none())
    }

    /// How many flows a table has.
    pub(super) fn n_flows(&self, table: TableId) -> usize {
        self.tables.get(usize::from(table.0)).map_or(0, |t| t.index.len())
    }

    /// How many flows all tables have, those included that wait for their last counts.
    pub(super) fn n_records(&self) -> usize {
        self.records.len()
    }

    /// The timer is the one that was armed last for its flow.
    pub(super) fn is_armed(&self, timer: &Timer) -> bool {
        self.get(timer.flow).is_some_and(|record| record.armed() == Some(timer.at))
    }

    /// No table has any.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.iter().all(|t| t.index.len() == 0)
    }

    /// The one flow with this table, priority and match, of which `key` is made.
    pub(super) fn find(
        &self,
        table: TableId,
        priority: Priority,
        matches: &Match,
        key: &Key,
    ) -> Option<Index> {
        let index = &self.tables.get(usize::from(table.0))?.index;
        match key.pattern() {
            Some(pattern) => index.find(&self.records, priority.0, pattern),
            None => index.find_impossible(&self.records, priority.0, matches),
        }
    }

    /// Some flow of this table and priority overlaps.
    pub(super) fn overlaps(&mut self, table: TableId, priority: Priority, matches: &Match) -> bool {
        let Some(TableRecord { index, .. }) = self.tables.get_mut(usize::from(table.0)) else { return false };
        let clashes = |flow: Index| {
            let record = self.records.get(flow);
            record.is_some_and(|r| r.priority() == priority && r.matches().overlaps(matches))
        };
        match Key::of(matches).pattern() {
            Some(pattern) => {
                index.overlaps(&self.records, priority.0, pattern) || index.impossible().any(clashes)
            }
            None => index.iter().any(clashes),
        }
    }

    /// The flow of a table that goes first when there is no room; `flags` say how it is chosen.
    pub(super) fn victim(&mut self, table: TableId, flags: u32) -> Option<Index> {
        self.tables.get_mut(usize::from(table.0))?.index.victim(&self.records, flags)
    }

    /// No flow of the table has to go for another any more.
    pub(super) fn forget_eviction(&mut self, table: TableId) {
        if let Some(table) = self.tables.get_mut(usize::from(table.0)) {
            table.index.forget_eviction();
        }
    }

    /// When a timer is to look at a flow, if none does early enough.
    pub(super) fn arm(&mut self, flow: Index) -> Option<Timer> {
        let record = self.records.get_mut(flow).filter(|record| record.removed().is_none())?;
        let at = record.deadline()?;
        if record.armed().is_some_and(|armed| armed <= at) {
            return None;
        }
        record.set_armed(Some(at));
        Some(Timer { at, flow })
    }

    /// Whether a timer that has come is the last that was armed; the flow has none then.
    pub(super) fn disarm(&mut self, timer: Timer) -> bool {
        let Some(record) = self.records.get_mut(timer.flow) else { return false };
        let is_it = record.armed() == Some(timer.at);
        if is_it {
            record.set_armed(None);
        }
        is_it
    }

    /// Adds the flow that a message describes, whose table, priority and match no other has.
    pub(super) fn add(&mut self, now: Instant, mut flow_mod: FlowMod, key: Key, body: Body) -> Index {
        let stamp = self.stamp();
        let body = self.body(body.of(core::mem::take(&mut flow_mod.instructions)));
        let mut conds = key.conds;
        if let Some(conds) = &mut conds {
            conds.share_masks(|masks| self.masks.share(masks.clone(), |masks| masks));
        }
        let rank = rank(flow_mod.priority, stamp);
        let flow = self.records.insert_with(|id| {
            let value = Entry::new(id, stamp, flow_mod.table.0, body);
            let is_possible = conds.is_some();
            let rule = Arc::new(Rule { rank, conds: conds.unwrap_or_default(), value });
            let record = FlowRecord::new(now, rule, key.fields, &flow_mod);
            if is_possible { record } else { record.impossible_by(flow_mod.matches) }
        });
        self.link(flow);
        flow
    }

    /// Adds a copy of a flow, with counters of its own that begin at zero. That flow must be out of its table.
    pub(super) fn add_again(&mut self, old: FlowRecord, body: Body) -> Index {
        let stamp = self.stamp();
        let body = self.body(body);
        let flow = self.records.insert_with(|id| {
            let rule = rule_like(&old, old.rule.rank, Entry::new(id, stamp, old.table().0, body));
            old.afresh(rule)
        });
        self.link(flow);
        flow
    }

    /// A record like that of a flow, with other instructions.
    pub(super) fn changed(&mut self, flow: Index, body: Body) -> Option<FlowRecord> {
        let stamp = self.stamp();
        let body = self.body(body);
        let old = self.get(flow)?;
        let rule = rule_like(old, old.rule.rank, Entry::new(flow, stamp, old.table().0, body));
        Some(FlowRecord { rule, ..old.clone() })
    }

    /// A record for the flow that a message describes, which takes the place of one with the same table, priority and
    /// match: it keeps name and counters.
    pub(super) fn renewed(
        &mut self,
        now: Instant,
        flow: Index,
        flow_mod: FlowMod,
        body: Body,
    ) -> Option<FlowRecord> {
        let stamp = self.stamp();
        let body = self.body(body.of(flow_mod.instructions));
        let old = self.get(flow)?;
        let rank = rank(flow_mod.priority, stamp);
        Some(FlowRecord {
            rule: rule_like(old, rank, Entry::new(flow, stamp, old.table().0, body)),
            cookie: flow_mod.cookie,
            flags: flow_mod.flags,
            importance: flow_mod.importance,
            idle_timeout: flow_mod.idle_timeout,
            hard_timeout: flow_mod.hard_timeout,
            installed: now,
            last_used: now,
            ..old.clone()
        })
    }

    /// What the flow is to do, as others have it that do the same.
    fn body(&mut self, body: Body) -> Arc<Body> {
        self.bodies.share(body, |mut body| {
            body.shrink();
            Arc::new(body)
        })
    }

    fn stamp(&mut self) -> u64 {
        self.n_made += 1;
        self.n_made
    }

    /// Puts another record with the same table, priority and match in the place of a flow's; returns the old one.
    pub(super) fn swap(&mut self, flow: Index, record: FlowRecord) -> Option<FlowRecord> {
        self.version += 1;
        let place = self.records.get_mut(flow)?;
        let index = &mut self.tables[usize::from(record.table().0)].index;
        index.post(place, flow, false);
        index.post(&record, flow, true);
        let old = core::mem::replace(place, record);
        uses(old.instructions(), |used| {
            self.users.remove(&(used, flow));
        });
        uses(place.instructions(), |used| {
            self.users.insert((used, flow));
        });
        Some(old)
    }

    /// Brings a record into the indices.
    fn link(&mut self, flow: Index) {
        self.version += 1;
        let Some(record) = self.records.get(flow) else { return };
        uses(record.instructions(), |used| {
            self.users.insert((used, flow));
        });
        self.tables[usize::from(record.table().0)].index.insert(&self.records, flow);
    }

    fn unlink_record(&mut self, flow: Index) {
        self.version += 1;
        let Some(record) = self.records.get(flow) else { return };
        uses(record.instructions(), |used| {
            self.users.remove(&(used, flow));
        });
        self.tables[usize::from(record.table().0)].index.remove(record, flow);
    }

    /// Takes a flow out of its table; the record stays, for its last counts.
    pub(super) fn unlink(&mut self, flow: Index, removal: Removal) -> Option<&FlowRecord> {
        self.get(flow)?;
        self.unlink_record(flow);
        let record = self.records.get_mut(flow)?;
        record.set_removed(Some(removal));
        Some(record)
    }

    /// Brings a flow back that was taken out of its table.
    pub(super) fn relink(&mut self, flow: Index) {
        let Some(record) = self.records.get_mut(flow) else { return };
        record.set_removed(None);
        self.link(flow);
    }

    /// Forgets a flow, whether it is in its table or not.
    pub(super) fn forget(&mut self, flow: Index) -> Option<FlowRecord> {
        if self.get(flow).is_some() {
            self.unlink_record(flow);
        }
        self.bodies.note_gone();
        self.masks.note_gone();
        self.records.remove(flow)
    }
}

/// A rule with the conditions of a flow.
fn rule_like(flow: &FlowRecord, rank: u64, value: Entry) -> Flow {
    Arc::new(Rule { rank, conds: flow.rule.conds.clone(), value })
}

#[cfg(test)]
mod tests;
