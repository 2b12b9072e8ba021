//! Flow modifications, timeouts and removals (§5.5, §6.4, §7.3.4.1, §7.4.2).

use core::cmp::Ordering;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use lookup::{Index, Rule, Slab};
use openflow::error::{BadRequest, FlowModFailed};
use openflow::{
    Action, Cookie, ErrorKind, FlowMod, FlowModCommand, FlowModFlags, FlowRemoved, FlowRemovedReason,
    FlowStats, FlowStatsRequest, GroupId, Instruction, Match, Message, PortNo, Priority, TableId, TableStats,
};
use packet::Instant;

use super::{Deferred, Switch};
use crate::datapath::Counted;
use crate::key::{self, Key, N_WORDS};
use crate::snapshot::{Flow, Layout, Op};
use crate::step::{Body, Checks, Entry, check_flags, compile_body};
use crate::trace::TraceEntry;

/// A flow as the owner knows it.
#[derive(Debug)]
pub(super) struct FlowRecord {
    table: TableId,
    priority: Priority,
    cookie: Cookie,
    matches: Arc<Match>,
    instructions: Vec<Instruction>,
    flags: FlowModFlags,
    importance: u16,
    idle_timeout: u16,
    hard_timeout: u16,
    installed: Instant,
    last_used: Instant,
    packets: u64,
    bytes: u64,
    /// Higher for older flows; zero until it is first in the tables.
    age: u64,
    /// In the tables; none if no frame can match it.
    rule: Option<Flow>,
    /// It is gone, and only waits for its last counts.
    removed: Option<(Instant, FlowRemovedReason)>,
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
    needs: Needs,
    /// Counts flows and stamps.
    n_made: u64,
}

#[derive(Debug, Default)]
struct TableRecord {
    by_match: HashMap<(Priority, Arc<Match>), Index>,
    lookups: u64,
    matched: u64,
}

/// Which bits of a key the flows look at. It only grows, until no flow is left: a smaller layout would gain little and
/// empty the caches.
#[derive(Debug, Default)]
struct Needs {
    first_table: Key,
    later_tables: Key,
    /// What steps write, and what decides what they write.
    rewrites: Vec<(Key, Key)>,
    metadata: u64,
    generation: u64,
}

impl Needs {
    /// Notes a flow; returns the layout if it is another now.
    fn add(&mut self, flow: &Flow) -> Option<Layout> {
        let before = (self.needed(), self.rewritten());
        let table = if flow.value.table == 0 { &mut self.first_table } else { &mut self.later_tables };
        for cond in &flow.conds {
            table[usize::from(cond.word)] |= cond.mask;
        }
        self.metadata |= flow.value.metadata.1;
        for step in flow.value.apply.iter() {
            let (mut writes, mut reads) = ([0; N_WORDS], [0; N_WORDS]);
            step.writes(&mut writes);
            step.reads(&mut reads);
            if writes != [0; N_WORDS] && !self.rewrites.contains(&(writes, reads)) {
                self.rewrites.push((writes, reads));
            }
        }
        let after = (self.needed(), self.rewritten());
        if before == after {
            return None;
        }
        self.generation += 1;
        Some(Layout::new(&after.0, after.1, self.generation))
    }

    fn needed(&self) -> Key {
        let mut needed = self.first_table;
        or(&mut needed, &self.later_tables);
        // What a step reads only counts if a later table looks at what it writes.
        for (writes, reads) in &self.rewrites {
            if writes.iter().zip(&self.later_tables).any(|(w, l)| w & l != 0) {
                or(&mut needed, reads);
            }
        }
        needed
    }

    fn rewritten(&self) -> Key {
        let mut rewritten = [0; N_WORDS];
        self.rewrites.iter().for_each(|(writes, _)| or(&mut rewritten, writes));
        rewritten[key::METADATA] |= self.metadata;
        rewritten
    }
}

fn or(to: &mut Key, from: &Key) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to |= from);
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
    fn deadline(&self) -> Option<Instant> {
        let after = |since: Instant, secs: u16| (secs != 0).then(|| since + Duration::from_secs(secs.into()));
        let hard = after(self.installed, self.hard_timeout);
        let idle = after(self.last_used, self.idle_timeout);
        hard.into_iter().chain(idle).min()
    }

    fn stats(&self, now: Instant) -> FlowStats {
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
struct Filter<'a> {
    table: TableId,
    matches: &'a Match,
    /// Also exactly this priority and match.
    strict: Option<Priority>,
    cookie: (Cookie, u64),
    out_port: Option<PortNo>,
    out_group: Option<GroupId>,
}

impl Flows {
    pub(super) fn new(n_tables: u8) -> Self {
        Self {
            records: Slab::new(),
            tables: (0..n_tables).map(|_| TableRecord::default()).collect(),
            needs: Needs::default(),
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
    fn select(&self, filter: &Filter<'_>) -> Vec<Index> {
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

    /// The rule of a flow; none if no frame can match.
    fn rule(&mut self, flow: Index, body: Body) -> Option<Flow> {
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
}

impl Switch {
    pub(super) fn flow_mod(&mut self, now: Instant, flow_mod: FlowMod) -> Result<(), ErrorKind> {
        check_flags(flow_mod.flags)?;
        let deletes = matches!(flow_mod.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        let table_ok = flow_mod.table.0 < self.config.n_tables || deletes && flow_mod.table == TableId::ALL;
        if !table_ok {
            return Err(FlowModFailed::BadTableId.into());
        }
        match flow_mod.command {
            _ if flow_mod.buffer.is_some() && !deletes => Err(BadRequest::BufferUnknown.into()),
            FlowModCommand::Add => self.add_flow(now, flow_mod),
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => self.modify_flows(now, &flow_mod),
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                for flow in self.selected(&flow_mod, flow_mod.out_port, flow_mod.out_group) {
                    self.remove_flow(now, flow, FlowRemovedReason::Delete);
                }
                Ok(())
            }
        }
    }

    fn selected(
        &self,
        flow_mod: &FlowMod,
        out_port: Option<PortNo>,
        out_group: Option<GroupId>,
    ) -> Vec<Index> {
        let strict = matches!(flow_mod.command, FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict);
        self.flows.select(&Filter {
            table: flow_mod.table,
            matches: &flow_mod.matches,
            strict: strict.then_some(flow_mod.priority),
            cookie: (flow_mod.cookie, flow_mod.cookie_mask),
            out_port,
            out_group,
        })
    }

    fn compile(
        &self,
        flow_mod: &FlowMod,
        table: TableId,
        cookie: Cookie,
        matches: &Match,
    ) -> Result<Body, ErrorKind> {
        let has_group = |group| self.groups.contains_key(&group);
        let has_meter = |meter| self.meters.contains_key(&meter);
        let checks = Checks {
            matches: Some(matches),
            has_group: &has_group,
            has_meter: &has_meter,
            table_port: false,
        };
        let place = (table.0, self.config.n_tables);
        compile_body(&flow_mod.instructions, place, (flow_mod.priority, cookie), &checks)
    }

    /// §6.4: an entry with the same match and priority is replaced, its counters kept unless they are to be reset.
    fn add_flow(&mut self, now: Instant, flow_mod: FlowMod) -> Result<(), ErrorKind> {
        let body = self.compile(&flow_mod, flow_mod.table, flow_mod.cookie, &flow_mod.matches)?;
        let table = &self.flows.tables[usize::from(flow_mod.table.0)];
        let matches = Arc::new(flow_mod.matches);
        let old = table.by_match.get(&(flow_mod.priority, matches.clone())).copied();
        if flow_mod.flags.contains(FlowModFlags::CHECK_OVERLAP) {
            let overlaps = |(priority, m): &(Priority, Arc<Match>)| {
                *priority == flow_mod.priority && m.overlaps(&matches)
            };
            if table.by_match.keys().any(overlaps) {
                return Err(FlowModFailed::Overlap.into());
            }
        }
        if old.is_none() && table.by_match.len() >= self.config.max_flows as usize {
            return Err(FlowModFailed::TableFull.into());
        }
        let record = FlowRecord {
            table: flow_mod.table,
            priority: flow_mod.priority,
            cookie: flow_mod.cookie,
            matches,
            instructions: flow_mod.instructions,
            flags: flow_mod.flags,
            importance: flow_mod.importance,
            idle_timeout: flow_mod.idle_timeout,
            hard_timeout: flow_mod.hard_timeout,
            installed: now,
            last_used: now,
            packets: 0,
            bytes: 0,
            age: 0,
            rule: None,
            removed: None,
        };
        match old {
            Some(old) if !flow_mod.flags.contains(FlowModFlags::RESET_COUNTS) => {
                self.replace(old, record, body)
            }
            Some(old) => {
                self.retire(old);
                self.install(record, body);
            }
            None => self.install(record, body),
        }
        Ok(())
    }

    /// Takes a flow out without a word: another has its place.
    fn retire(&mut self, flow: Index) {
        let Some(record) = self.flows.records.get_mut(flow) else { return };
        record.flags = record.flags.with(FlowModFlags::SEND_FLOW_REM, false);
        self.remove_flow(Instant::ZERO, flow, FlowRemovedReason::Delete);
    }

    fn install(&mut self, record: FlowRecord, body: Body) {
        let (table, priority, matches) = (record.table, record.priority, record.matches.clone());
        let flow = self.flows.records.insert(record);
        self.flows.tables[usize::from(table.0)].by_match.insert((priority, matches), flow);
        self.enact(flow, body);
    }

    /// Puts a record in the place of another, which keeps its name and counters.
    fn replace(&mut self, flow: Index, record: FlowRecord, body: Body) {
        let Some(place) = self.flows.records.get_mut(flow) else { return };
        let old = core::mem::replace(place, record);
        place.packets = old.packets;
        place.bytes = old.bytes;
        if let Some(rule) = old.rule {
            self.publisher.push(Op::Remove(rule));
        }
        self.enact(flow, body);
    }

    /// Brings a flow into the tables, in place of what it was there.
    fn enact(&mut self, flow: Index, body: Body) {
        let rule = self.flows.rule(flow, body);
        let Some(record) = self.flows.records.get_mut(flow) else { return };
        let old = core::mem::replace(&mut record.rule, rule.clone());
        if let Some(at) = record.deadline() {
            self.timers.push(Timer { at, flow });
        }
        if let Some(old) = old {
            self.publisher.push(Op::Remove(old));
        }
        if let Some(rule) = rule {
            if let Some(layout) = self.flows.needs.add(&rule) {
                self.publisher.push(Op::Layout(Arc::new(layout)));
            }
            self.publisher.push(Op::Insert(rule));
        }
    }

    /// §6.4: instructions change; cookie, timeouts, flags and counters stay.
    fn modify_flows(&mut self, now: Instant, flow_mod: &FlowMod) -> Result<(), ErrorKind> {
        let flows = self.selected(flow_mod, None, None);
        // All or nothing: what suits one flow's table and match may not suit another's.
        let mut bodies = Vec::with_capacity(flows.len());
        for &flow in &flows {
            let Some(record) = self.flows.records.get(flow) else { continue };
            let as_was = FlowMod { priority: record.priority, ..flow_mod.clone() };
            bodies.push(self.compile(&as_was, record.table, record.cookie, &record.matches)?);
        }
        if flows.is_empty() {
            self.compile(flow_mod, flow_mod.table, flow_mod.cookie, &flow_mod.matches)?;
        }
        for (flow, body) in flows.into_iter().zip(bodies) {
            let reset = flow_mod.flags.contains(FlowModFlags::RESET_COUNTS);
            self.modify_flow(now, flow, body, &flow_mod.instructions, reset);
        }
        Ok(())
    }

    fn modify_flow(
        &mut self,
        _now: Instant,
        flow: Index,
        body: Body,
        instructions: &[Instruction],
        reset: bool,
    ) {
        let Some(record) = self.flows.records.get_mut(flow) else { return };
        record.instructions = instructions.to_vec();
        if !reset {
            return self.enact(flow, body);
        }
        // Counts on their way under the old name must not be added: the flow gets a new one.
        let fresh = FlowRecord {
            matches: record.matches.clone(),
            instructions: instructions.to_vec(),
            packets: 0,
            bytes: 0,
            rule: None,
            removed: None,
            ..*record
        };
        self.retire(flow);
        self.install(fresh, body);
    }

    /// Takes a flow out of the tables. Its record stays until its last counts have come.
    pub(super) fn remove_flow(&mut self, now: Instant, flow: Index, reason: FlowRemovedReason) {
        let Some(record) = self.flows.records.get_mut(flow).filter(|r| r.removed.is_none()) else { return };
        record.removed = Some((now, reason));
        let table = &mut self.flows.tables[usize::from(record.table.0)];
        table.by_match.remove(&(record.priority, record.matches.clone()));
        if let Some(rule) = record.rule.take() {
            self.publisher.push(Op::Remove(rule));
        }
        self.tickets.flush = true;
        self.tickets.wait(Deferred::Removed { flow });
        if self.flows.tables.iter().all(|t| t.by_match.is_empty()) {
            let generation = self.flows.needs.generation + 1;
            self.flows.needs = Needs { generation, ..Needs::default() };
            let layout = Layout::new(&[0; N_WORDS], [0; N_WORDS], generation);
            self.publisher.push(Op::Layout(Arc::new(layout)));
        }
    }

    /// The last counts of a flow have come.
    pub(super) fn bury(&mut self, flow: Index) {
        let Some(record) = self.flows.records.remove(flow) else { return };
        let Some((at, reason)) = record.removed else { return };
        if !record.flags.contains(FlowModFlags::SEND_FLOW_REM) {
            return;
        }
        let stats = record.stats(at);
        let message = Message::FlowRemoved(FlowRemoved {
            cookie: record.cookie,
            priority: record.priority,
            reason,
            table: record.table,
            duration: stats.duration,
            idle_timeout: record.idle_timeout,
            hard_timeout: record.hard_timeout,
            packets: stats.packets,
            bytes: stats.bytes,
            matches: stats.matches,
        });
        self.tell(&message, |wants| wants.flow_removed, reason.number().into());
    }

    /// A timer of a flow has come.
    pub(super) fn timer(&mut self, now: Instant, flow: Index) {
        let Some(record) = self.flows.records.get(flow).filter(|r| r.removed.is_none()) else { return };
        match record.deadline() {
            None => {}
            Some(at) if at > now => self.timers.push(Timer { at, flow }),
            Some(_) if is_over(record.installed, record.hard_timeout, now) => {
                self.remove_flow(now, flow, FlowRemovedReason::HardTimeout);
            }
            Some(_) => {
                self.tickets.flush = true;
                self.wait(now, Deferred::Idle { flow });
            }
        }
    }

    /// Every worker has reported: is the flow idle indeed?
    pub(super) fn expire_if_idle(&mut self, now: Instant, flow: Index) {
        let Some(record) = self.flows.records.get(flow).filter(|r| r.removed.is_none()) else { return };
        if is_over(record.last_used, record.idle_timeout, now) {
            self.remove_flow(now, flow, FlowRemovedReason::IdleTimeout);
        } else if let Some(at) = record.deadline() {
            self.timers.push(Timer { at, flow });
        }
    }
}

fn is_over(since: Instant, secs: u16, now: Instant) -> bool {
    secs != 0 && now.saturating_since(since) >= Duration::from_secs(secs.into())
}
