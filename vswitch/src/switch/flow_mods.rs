//! Flow modifications, timeouts and removals (§5.5, §6.4, §7.3.4.1, §7.4.2).

use core::time::Duration;
use std::sync::Arc;

use lookup::Index;
use openflow::error::FlowModFailed;
use openflow::{
    Cookie, ErrorKind, FlowMod, FlowModCommand, FlowModFlags, FlowRemoved, FlowRemovedReason, GroupId,
    Instruction, Match, Message, PortNo, Priority, TableId,
};
use packet::Instant;

use super::flows::{Filter, Key};
use super::record::{FlowRecord, Removal, Timer};
use super::undo::Undo;
use super::{Deferred, Switch};
use crate::entry::Body;
use crate::snapshot::Op;
use crate::step::{Checks, check_flags, compile_body};

/// Timers without a flow that may be there beside as many as there are flows.
const SPARE_TIMERS: usize = 1024;

impl Switch {
    pub(super) fn flow_mod(&mut self, now: Instant, flow_mod: FlowMod) -> Result<(), ErrorKind> {
        check_flags(flow_mod.flags)?;
        let deletes = matches!(flow_mod.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        let table_ok = self.has_table(flow_mod.table) || deletes && flow_mod.table == TableId::ALL;
        if !table_ok {
            return Err(FlowModFailed::BadTableId.into());
        }
        // §7.3.4.1: deletions ignore it.
        let buffer = flow_mod.buffer.filter(|_| !deletes);
        if let Some(id) = buffer {
            self.check_buffer(id)?;
        }
        self.change_flows(now, flow_mod)?;
        buffer.map_or(Ok(()), |id| self.release(id))
    }

    fn change_flows(&mut self, now: Instant, flow_mod: FlowMod) -> Result<(), ErrorKind> {
        match flow_mod.command {
            FlowModCommand::Add => self.add_flow(now, flow_mod),
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => self.modify_flows(now, &flow_mod),
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                for flow in self.selected(&flow_mod, flow_mod.out_port, flow_mod.out_group) {
                    self.remove_flow(now, flow, Some(FlowRemovedReason::Delete));
                }
                Ok(())
            }
        }
    }

    fn selected(
        &mut self,
        flow_mod: &FlowMod,
        out_port: Option<PortNo>,
        out_group: Option<GroupId>,
    ) -> Vec<Index> {
        let strict = matches!(flow_mod.command, FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict);
        let strict = strict.then_some(flow_mod.priority);
        self.flows.select(&Filter { strict, out_port, out_group, ..flow_mod.into() })
    }

    fn compile(
        &self,
        instructions: &[Instruction],
        (priority, table, cookie): (Priority, TableId, Cookie),
        matches: &Match,
    ) -> Result<Body, ErrorKind> {
        let has_group = |group| self.groups.contains_key(&group);
        let meter = |meter| self.meters.get(&meter).map(|record| &*record.meter);
        let checks =
            Checks { matches: Some(matches), has_group: &has_group, meter: &meter, table_port: false };
        let body = compile_body(instructions, (table.0, self.config.n_tables), (priority, cookie), &checks)?;
        self.check_shape(table, (priority, matches), instructions)?;
        Ok(body)
    }

    /// §6.4: an entry with the same match and priority is replaced, its counters kept unless they are to be reset.
    fn add_flow(&mut self, now: Instant, flow_mod: FlowMod) -> Result<(), ErrorKind> {
        let (table, priority) = (flow_mod.table, flow_mod.priority);
        let place = (priority, table, flow_mod.cookie);
        let body = self.compile(&flow_mod.instructions, place, &flow_mod.matches)?;
        if flow_mod.flags.contains(FlowModFlags::CHECK_OVERLAP)
            && self.flows.overlaps(table, priority, &flow_mod.matches)
        {
            return Err(FlowModFailed::Overlap.into());
        }
        let key = Key::of(&flow_mod.matches);
        let old = self.flows.find(table, priority, &flow_mod.matches, &key);
        if old.is_none() {
            self.make_room(now, table, flow_mod.importance)?;
        }
        match old {
            Some(old) if !flow_mod.flags.contains(FlowModFlags::RESET_COUNTS) => {
                if let Some(record) = self.flows.renewed(now, old, flow_mod, body) {
                    self.replace(old, record);
                }
                return Ok(());
            }
            // No flow-removed: another has its place.
            Some(old) => self.remove_flow(now, old, None),
            None => {}
        }
        let flow = self.flows.add(now, flow_mod, key, body);
        if let Some(old) = old {
            self.inherit(old, flow);
        }
        self.enact(flow);
        Ok(())
    }

    /// Puts a record in the place of another.
    fn replace(&mut self, flow: Index, record: FlowRecord) {
        let Some(old) = self.flows.swap(flow, record) else { return };
        if !old.is_impossible() {
            self.publisher.push(Op::Remove(old.rule.clone()));
        }
        self.note(|| Undo::Changed(flow, Box::new(old)));
        self.publish_flow(flow);
    }

    /// Brings a flow into force that was added.
    fn enact(&mut self, flow: Index) {
        self.note(|| Undo::Installed(flow));
        self.publish_flow(flow);
    }

    fn publish_flow(&mut self, flow: Index) {
        self.arm(flow);
        let Some(record) = self.flows.get(flow).filter(|record| !record.is_impossible()) else { return };
        if let Some(layout) = self.needs.add(&record.rule) {
            self.publisher.push(Op::Layout(Arc::new(layout)));
        }
        self.publisher.push(Op::Insert(record.rule.clone()));
    }

    /// §6.4: instructions change; cookie, timeouts, flags and counters stay.
    /// In 1.0 the cookie changes too, and what finds no flow adds one (1.0.1 §4.6).
    fn modify_flows(&mut self, now: Instant, flow_mod: &FlowMod) -> Result<(), ErrorKind> {
        let flows = self.selected(flow_mod, None, None);
        // All or nothing: what suits one flow's table and match may not suit another's.
        let mut bodies = Vec::with_capacity(flows.len());
        for &flow in &flows {
            let Some(record) = self.flows.get(flow) else { continue };
            let cookie = if flow_mod.upsert { flow_mod.cookie } else { record.cookie };
            let place = (record.priority(), record.table(), cookie);
            bodies.push((cookie, self.compile(&flow_mod.instructions, place, &record.matches())?));
        }
        if flows.is_empty() && flow_mod.upsert {
            return self.add_flow(now, flow_mod.clone());
        }
        if flows.is_empty() {
            let place = (flow_mod.priority, flow_mod.table, flow_mod.cookie);
            self.compile(&flow_mod.instructions, place, &flow_mod.matches)?;
        }
        let reset = flow_mod.flags.contains(FlowModFlags::RESET_COUNTS);
        for (flow, (cookie, body)) in flows.into_iter().zip(bodies) {
            self.modify_flow(flow, cookie, body.of(flow_mod.instructions.clone()), reset);
        }
        Ok(())
    }

    /// Compiles flows anew whose surroundings have changed.
    pub(super) fn recompile(&mut self, flows: Vec<Index>) -> Result<(), ErrorKind> {
        for flow in flows {
            let Some(record) = self.flows.get(flow) else { continue };
            let place = (record.priority(), record.table(), record.cookie);
            let instructions = record.instructions().to_vec();
            let body = self.compile(&instructions, place, &record.matches())?;
            self.modify_flow(flow, place.2, body.of(instructions), false);
        }
        Ok(())
    }

    fn modify_flow(&mut self, flow: Index, cookie: Cookie, body: Body, reset: bool) {
        if !reset {
            if let Some(record) = self.flows.changed(flow, body) {
                self.replace(flow, FlowRecord { cookie, ..record });
            }
            return;
        }
        // Counts on their way under the old name must not be added: the flow gets a new one.
        let Some(old) = self.flows.get(flow).cloned() else { return };
        self.remove_flow(old.installed, flow, None);
        let fresh = self.flows.add_again(FlowRecord { cookie, ..old }, body);
        self.inherit(flow, fresh);
        self.enact(fresh);
    }

    /// Takes a flow out of the tables. Its record stays until its last counts have come; then whoever wants it is told,
    /// if there is a reason.
    pub(super) fn remove_flow(&mut self, now: Instant, flow: Index, reason: Option<FlowRemovedReason>) {
        let Some(record) = self.flows.unlink(flow, Removal { at: now, reason }) else { return };
        if !record.is_impossible() {
            self.publisher.push(Op::Remove(record.rule.clone()));
        }
        self.note(|| Undo::Removed(flow));
        self.tickets.gone.push(flow);
        self.tickets.wait(Deferred::Removed { flow });
        if self.flows.is_empty() {
            let layout = self.needs.reset();
            self.publisher.push(Op::Layout(Arc::new(layout)));
        }
    }

    /// The last counts of a flow have come.
    pub(super) fn bury(&mut self, flow: Index) {
        let Some(record) = self.flows.forget(flow) else { return };
        let Some(Removal { at, reason: Some(reason) }) = record.removed() else { return };
        if !record.flags.contains(FlowModFlags::SEND_FLOW_REM) {
            return;
        }
        let stats = record.stats(at);
        let message = Message::FlowRemoved(FlowRemoved {
            cookie: record.cookie,
            priority: record.priority(),
            reason,
            table: record.table(),
            duration: stats.duration,
            idle_timeout: record.idle_timeout,
            hard_timeout: record.hard_timeout,
            packets: stats.packets,
            bytes: stats.bytes,
            matches: stats.matches,
        });
        self.tell(&message, |wants| wants.flow_removed, reason.number().into());
    }

    /// Sees to it that a timer looks at the flow when it may have to go.
    fn arm(&mut self, flow: Index) {
        self.timers.extend(self.flows.arm(flow));
        // Flows that go leave their timers behind, which may be hours away.
        if self.timers.len() > 2 * self.flows.n_records() + SPARE_TIMERS {
            self.timers.retain(|timer| self.flows.is_armed(timer));
        }
    }

    /// A timer of a flow has come.
    pub(super) fn timer(&mut self, now: Instant, timer: Timer) {
        let flow = timer.flow;
        if !self.flows.disarm(timer) {
            return;
        }
        let Some(record) = self.flows.get(flow) else { return };
        match record.deadline() {
            None => {}
            Some(at) if at > now => self.arm(flow),
            Some(_) if is_over(record.installed, record.hard_timeout, now) => {
                self.remove_flow(now, flow, Some(FlowRemovedReason::HardTimeout));
            }
            Some(_) => {
                self.tickets.flush = true;
                self.wait(now, Deferred::Idle { flow });
            }
        }
    }

    /// Every worker has reported: is the flow idle indeed?
    pub(super) fn expire_if_idle(&mut self, now: Instant, flow: Index) {
        let Some(record) = self.flows.get(flow) else { return };
        if is_over(record.last_used, record.idle_timeout, now) {
            self.remove_flow(now, flow, Some(FlowRemovedReason::IdleTimeout));
        } else {
            self.arm(flow);
        }
    }
}

fn is_over(since: Instant, secs: u16, now: Instant) -> bool {
    secs != 0 && now.saturating_since(since) >= Duration::from_secs(secs.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SwitchConfig;
    use crate::standalone::Standalone;

    #[test]
    fn flows_that_go_do_not_leave_timers_without_end() {
        let mut s = Standalone::new(SwitchConfig::default(), 1);
        let end = s.now + Duration::from_secs(60_000);
        s.flow(FlowMod { hard_timeout: 60_000, ..FlowMod::default() });
        for n in 0..5_000 {
            let matches = Match::new().tcp_dst(n);
            s.flow(FlowMod { hard_timeout: 60_000, matches: matches.clone(), ..FlowMod::default() });
            s.flow(FlowMod::delete_strict(TableId(0), Priority::DEFAULT, matches));
        }
        let n_timers = s.switch.timers.len();
        assert!(n_timers < 2 * SPARE_TIMERS, "{n_timers} timers");
        assert_eq!(s.switch.poll_timeout(), Some(end), "that of the flow that stays");
        s.advance(Duration::from_secs(60_000));
        assert!(s.switch.flows.is_empty());
    }
}
