//! Now and then a switch is asked what it holds: flows can be lost without anybody saying so.

use std::time::Duration;

use openflow::{Dpid, FlowStatsRequest, GroupDesc, MeterConfig, MeterId, Reply, Request};
use packet::Instant;

use super::Controller;
use crate::blueprint;
use crate::effect::{ConnId, Event};
use crate::groups::{Support, owned_groups};
use crate::layout;
use crate::meters::owned_meters;
use crate::switch::{Managed, Purpose};

/// A switch that differs every time is asked less and less often, down to once in 2 to the power of this intervals.
const MAX_BACKOFF: u32 = 6;
/// Of so many comparisons in a row one asks for the flows themselves, the others for their number.
const COUNTED: u32 = 8;
/// Longest time from one comparison to the next, whichever switches they are of.
const LONGEST_STEP: Duration = Duration::from_secs(1);

impl Controller {
    /// Asks the switch that has waited longest, if it is its turn. One at a time: what many switches have to say at once
    /// would keep everybody else waiting.
    pub(super) fn audit(&mut self, now: Instant) {
        if now < self.next_audit {
            return;
        }
        let n_switches = u32::try_from(self.switches.len()).unwrap_or(u32::MAX);
        self.next_audit = now + (self.config.audit / n_switches.saturating_add(1)).min(LONGEST_STEP);
        let is_due = |managed: &&mut Managed| {
            managed.conn.is_some()
                && managed.in_flight.is_empty()
                && managed.hold_until.is_none()
                && managed.next_audit.is_some_and(|next| now >= next)
        };
        let due = self.switches.values_mut().filter(is_due).min_by_key(|managed| managed.next_audit);
        let Some((managed, conn)) = due.and_then(|managed| managed.conn.map(|conn| (managed, conn))) else {
            return;
        };
        managed.next_audit = Some(now + self.config.audit * (1 << managed.n_drifts.min(MAX_BACKOFF)));
        managed.n_audits = managed.n_audits.wrapping_add(1);
        let (n_changes, whole) = (managed.n_changes, managed.n_audits.is_multiple_of(COUNTED));
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
        if whole {
            self.ask(conn, Purpose::Audit(n_changes), Request::Flow(own_flows()));
        } else {
            self.ask(conn, Purpose::Count(n_changes), Request::Aggregate(own_flows()));
        }
    }

    /// The number of flows that a switch holds; `None`: it does not count them. What is amiss shows in the flows themselves.
    pub(super) fn counted(&mut self, conn: ConnId, n_changes: u64, reply: Option<Reply>) {
        let Some(managed) = self.dpid_of(conn).and_then(|dpid| self.switches.get_mut(&dpid)) else { return };
        if managed.n_changes != n_changes || !managed.in_flight.is_empty() {
            return;
        }
        let n_flows = match reply {
            Some(Reply::Aggregate(sums)) => usize::try_from(sums.flows).ok(),
            _ => None,
        };
        if n_flows == Some(managed.installed.len()) {
            managed.n_drifts = 0;
            self.dirty |= managed.retry_refused();
        } else {
            self.ask(conn, Purpose::Audit(n_changes), Request::Flow(own_flows()));
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
        self.dirty |= managed.retry_refused() || n_different > 0;
        if n_different > 0 {
            managed.set_installed(blueprint::owned(&stats));
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

/// All flows of the controller.
fn own_flows() -> FlowStatsRequest {
    let (cookie, cookie_mask) = layout::any_intent();
    FlowStatsRequest { cookie, cookie_mask, ..FlowStatsRequest::default() }
}
