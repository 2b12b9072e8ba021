//! From a change of intent or view to confirmed flows.

use std::time::Duration;

use openflow::{Dpid, Error, Message, Xid};
use packet::Instant;

use super::Controller;
use crate::blueprint::{Change, Flows};
use crate::effect::{ConnId, Event};
use crate::lanes::resolve;
use crate::plan::plan_resolved;
use crate::switch::{Pending, Purpose};

/// Time between plans for each flow of the last one: about twice what it takes to plan and compare it.
const PLAN_INTERVAL_PER_FLOW: Duration = Duration::from_micros(12);

impl Controller {
    /// A plan costs what it is long; in between there must be time for what it is planned from.
    pub(super) fn plan_due(&self) -> Option<Instant> {
        let n_flows: usize = self.blueprint.switches.values().map(Flows::len).sum();
        let n_flows = u32::try_from(n_flows).unwrap_or(u32::MAX);
        let interval = self.config.plan_interval.max(PLAN_INTERVAL_PER_FLOW.saturating_mul(n_flows));
        Some(self.last_plan.map_or(Instant::ZERO, |last| last + interval))
    }

    pub(super) fn plan_if_due(&mut self, now: Instant) {
        if self.dirty && self.plan_due().is_some_and(|due| now >= due) {
            self.plan_now(now);
        }
    }

    /// Plans, and sends every switch what it lacks.
    pub(super) fn plan_now(&mut self, now: Instant) {
        self.last_plan = Some(now);
        let lanes = resolve(&self.intent, &self.view);
        let released = self.view.unsettle(self.lanes.functions.difference(&lanes.functions));
        self.lanes = if released.is_empty() { lanes } else { resolve(&self.intent, &self.view) };
        for at in released {
            // What was a function's may be anything now, a wire to another port as well.
            if self.discovery.is_probed(at) {
                self.discovery.start(now, &self.config, at);
            }
        }
        // What looked like a link before its ends were declared to be a function's.
        let functions = self.lanes.functions.clone();
        self.drop_links(|at| functions.contains(&at));
        self.dirty = false;
        self.view.forget_strangers(&self.lanes);
        let mut blueprint = plan_resolved(&self.view, self.lanes.clone());
        blueprint.generation = self.blueprint.generation;
        if !blueprint.same_as(&self.blueprint) || !self.changed.is_empty() {
            blueprint.generation += 1;
            self.event(Event::Planned(blueprint.generation));
        }
        for label in std::mem::take(&mut self.changed) {
            self.revisions.insert(label, blueprint.generation);
        }
        self.blueprint = blueprint;
        let switches: Vec<Dpid> = self.switches.keys().copied().collect();
        for dpid in switches {
            self.realise(now, dpid);
        }
    }

    pub(super) fn release_holds(&mut self, now: Instant) {
        let due: Vec<Dpid> = self
            .switches
            .iter()
            .filter(|(_, managed)| managed.hold_until.is_some_and(|until| now >= until))
            .map(|(dpid, _)| *dpid)
            .collect();
        for dpid in due {
            if let Some(managed) = self.switches.get_mut(&dpid) {
                managed.hold_until = None;
            }
            self.dirty = true;
        }
    }

    /// Sends a switch what it lacks, and a barrier.
    fn realise(&mut self, now: Instant, dpid: Dpid) {
        let nothing = Flows::new();
        let wanted = self.blueprint.switches.get(&dpid).unwrap_or(&nothing);
        let generation = self.blueprint.generation;
        let Some(managed) = self.switches.get_mut(&dpid) else { return };
        let Some(conn) = managed.conn.filter(|_| managed.hold_until.is_none()) else { return };
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let changes = managed.changes(wanted);
        if changes.is_empty() && managed.in_flight.is_empty() {
            if managed.confirmed != generation {
                managed.confirmed = generation;
                self.effects.push_back(crate::Effect::Event(Event::Confirmed(dpid, generation)));
            }
            return self.discover(now, dpid);
        }
        for change in changes {
            managed.note(&change);
            let message = Message::FlowMod(change.to_mod());
            let xid = session.xid(Pending::Change(Box::new(change)));
            self.effects.push_back(crate::Effect::Send { conn, xid, message });
        }
        managed.in_flight.push_back(generation);
        let xid = session.xid(Pending::Barrier(generation));
        self.send(conn, xid, Message::BarrierRequest);
    }

    pub(super) fn barrier(&mut self, now: Instant, conn: ConnId, xid: Xid) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let pending = session.take(xid);
        let done = session.settle_before(xid);
        let dpid = session.dpid;
        if let Some(managed) = dpid.and_then(|dpid| self.switches.get_mut(&dpid)) {
            done.iter().for_each(|change| drop(managed.refused.remove(change.key())));
        }
        match (pending, dpid) {
            (Some(Pending::Barrier(generation)), Some(dpid)) => self.confirmed(now, dpid, generation),
            (Some(Pending::ModBarrier(token)), _) => self.done(token),
            (Some(Pending::Probed(ports)), _) => self.settled(ports),
            _ => self.counters.unexpected_messages += 1,
        }
    }

    fn confirmed(&mut self, now: Instant, dpid: Dpid, generation: u64) {
        if let Some(managed) = self.switches.get_mut(&dpid) {
            managed.in_flight.pop_front();
            managed.confirmed = generation;
            self.event(Event::Confirmed(dpid, generation));
        }
        // The flow that sends discovery frames here is in place.
        self.discover(now, dpid);
    }

    pub(super) fn error(&mut self, conn: ConnId, xid: Xid, error: &Error) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let dpid = session.dpid;
        match session.take(xid) {
            Some(Pending::Change(change)) => {
                if let Some(dpid) = dpid {
                    self.change_refused(dpid, *change, error.kind.to_string());
                }
            }
            Some(
                Pending::Mod(token)
                | Pending::ModBarrier(token)
                | Pending::Multipart(Purpose::Request(token), _),
            ) => self.refused(conn, token, error.kind.to_string()),
            // Without an answer the handshake does not end, and its time runs out.
            Some(Pending::Multipart(..)) => self.counters.unexpected_messages += 1,
            Some(Pending::Features | Pending::Barrier(_) | Pending::Probed(_)) | None => {
                self.counters.unexpected_messages += 1
            }
        }
    }

    fn change_refused(&mut self, dpid: Dpid, change: Change, error: String) {
        let Change::Put(key, body) = change else { return };
        let label = self.blueprint.label(body.cookie).unwrap_or("an earlier intent").to_owned();
        if let Some(managed) = self.switches.get_mut(&dpid) {
            managed.refuse(key, body, error.clone());
        }
        self.event(Event::Refused { dpid, label, error });
    }
}
