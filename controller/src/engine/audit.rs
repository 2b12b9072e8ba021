//! Now and then a switch is asked what it holds: flows can be lost without anybody saying so.

use openflow::{Dpid, FlowStatsRequest, GroupDesc, MeterConfig, MeterId, Reply, Request};
use packet::Instant;

use super::Controller;
use crate::blueprint;
use crate::effect::{ConnId, Event};
use crate::groups::{Support, owned_groups};
use crate::layout;
use crate::meters::owned_meters;
use crate::switch::{Purpose, Stale};

/// A switch that differs every time is asked less and less often, down to once in 2 to the power of this intervals.
const MAX_BACKOFF: u32 = 6;

impl Controller {
    /// Asks the switches whose turn it is.
    pub(super) fn audit(&mut self, now: Instant) {
        let mut due: Vec<(ConnId, u64)> = Vec::new();
        for managed in self.switches.values_mut() {
            let idle = managed.in_flight.is_empty() && managed.hold_until.is_none();
            let Some(conn) = managed.conn.filter(|_| idle) else { continue };
            if managed.next_audit.is_some_and(|next| now >= next) {
                managed.next_audit = Some(now + self.config.audit * (1 << managed.n_drifts.min(MAX_BACKOFF)));
                due.push((conn, managed.n_changes));
            }
        }
        for (conn, n_changes) in due {
            let (cookie, cookie_mask) = layout::any_intent();
            let request = FlowStatsRequest { cookie, cookie_mask, ..FlowStatsRequest::default() };
            let dpid = self.dpid_of(conn);
            if dpid
                .and_then(|dpid| self.view.switches().get(&dpid))
                .is_some_and(|s| s.groups != Support::default())
            {
                self.ask(conn, Purpose::Audit(n_changes), Request::GroupDesc);
            }
            let has_meters = |s: &crate::view::Switch| s.max_meter > 0;
            if dpid.and_then(|dpid| self.view.switches().get(&dpid)).is_some_and(has_meters) {
                self.ask(conn, Purpose::Audit(n_changes), Request::MeterConfig(MeterId::ALL));
            }
            self.ask(conn, Purpose::Audit(n_changes), Request::Flow(request));
        }
    }

    /// Compares what a switch holds with what it was told; whatever is missing or too much is mended by the next plan.
    pub(super) fn audited(&mut self, conn: ConnId, n_changes: u64, reply: Reply) {
        let Some(dpid) = self.dpid_of(conn) else { return };
        let stats = match reply {
            Reply::Flow(stats) => stats,
            Reply::GroupDesc(groups) => return self.groups_audited(dpid, n_changes, &groups),
            Reply::MeterConfig(meters) => return self.meters_audited(dpid, n_changes, &meters),
            _ => return,
        };
        let Some(managed) = self.switches.get_mut(&dpid) else { return };
        // Changes that were sent meanwhile may be in the reply or not.
        if managed.n_changes != n_changes || !managed.in_flight.is_empty() {
            return;
        }
        // Only which flows there are: how a switch writes the actions of a flow is its own affair.
        let owned = || stats.iter().filter(|flow| layout::owner(flow.cookie) == layout::Owner::Intent);
        let n_same = owned().filter(|flow| managed.installed.contains_key(&blueprint::key_of(flow))).count();
        let n_different = managed.installed.len().saturating_sub(n_same) + owned().count() - n_same;
        managed.n_drifts = if n_different > 0 { managed.n_drifts + 1 } else { 0 };
        // What was refused gets another chance, too.
        managed.try_refused = !managed.refused.is_empty();
        if managed.try_refused {
            managed.stale = Stale::All;
        }
        self.dirty |= n_different > 0 || managed.try_refused;
        if n_different > 0 {
            managed.installed = blueprint::owned(&stats);
            managed.stale = Stale::All;
            self.event(Event::Drifted(dpid, n_different));
        }
    }

    fn groups_audited(&mut self, dpid: Dpid, n_changes: u64, groups: &[GroupDesc]) {
        let Some(managed) = self.switches.get_mut(&dpid) else { return };
        if managed.n_changes != n_changes || !managed.in_flight.is_empty() {
            return;
        }
        let actual = owned_groups(groups);
        if !actual.keys().eq(managed.groups.keys()) {
            managed.groups = actual;
            managed.groups_stale = true;
            self.dirty = true;
        }
    }

    fn meters_audited(&mut self, dpid: Dpid, n_changes: u64, meters: &[MeterConfig]) {
        let Some(managed) = self.switches.get_mut(&dpid) else { return };
        if managed.n_changes != n_changes || !managed.in_flight.is_empty() {
            return;
        }
        let actual = owned_meters(meters);
        if !actual.keys().eq(managed.meters.keys()) {
            managed.meters = actual;
            managed.meters_stale = true;
            self.dirty = true;
        }
    }

    fn dpid_of(&self, conn: ConnId) -> Option<Dpid> {
        self.sessions.get(&conn)?.dpid
    }
}
