//! From a change of intent or view to confirmed flows.

use std::collections::BTreeSet;
use std::time::Duration;

use openflow::error::BadRequest;
use openflow::{BundleControl, BundleControlKind, Dpid, Error, ErrorKind, Field, Message, Xid};
use packet::{Instant, MacAddr, VlanId};

use super::Controller;
use crate::blueprint::{Change, FlowKey, Flows};
use crate::effect::{BUNDLE_FLAGS, ConnId, Event, Outgoing};
use crate::floods::Limits;
use crate::groups::{GroupChange, Groups, Support};
use crate::lanes::{Lanes, Touched};
use crate::layout;
use crate::meters::{MeterChange, Meters};
use crate::switch::{Managed, Pending, Purpose, Sent, Session};
use crate::view::{At, View};

/// Most changes of a bundle: a switch must keep them until the end.
const MAX_BUNDLED: usize = 2000;

/// Time between plans for each flow that the last one changed: about twice what it takes to plan and send it. In
/// between there must be time for what it is planned from.
const PLAN_INTERVAL_PER_FLOW: Duration = Duration::from_micros(8);

/// Switches that are yet to be told what a plan has for them: before anything else happens, or when the shell has taken what
/// was there before. It hands that on while the next switch is looked at.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// When it was planned.
    now: Instant,
    /// Whether flooded frames may be taken by further links.
    may_flood: bool,
    switches: BTreeSet<Dpid>,
}

impl Controller {
    pub(super) fn plan_if_due(&mut self, now: Instant) {
        if self.is_dirty() && now >= self.next_plan {
            self.plan_now(now);
        }
    }

    /// Plans what changed. Then every switch is sent what it lacks, one after the other: see [`Round`].
    pub(super) fn plan_now(&mut self, now: Instant) {
        self.tell_all();
        self.resolve(now);
        self.dirty = false;
        let (changed, differs) = self.planner.plan(&self.view);
        let mut generation = self.blueprint().generation;
        if differs || !self.changed.is_empty() {
            generation += 1;
            self.planner.set_generation(generation);
            self.event(Event::Planned(generation));
        }
        for label in std::mem::take(&mut self.changed) {
            self.revisions.insert(label.to_string(), generation);
        }
        let n_changes: usize = changed.flows.values().map(Vec::len).sum();
        let interval = PLAN_INTERVAL_PER_FLOW.saturating_mul(u32::try_from(n_changes).unwrap_or(u32::MAX));
        self.next_plan = now + self.config.plan_interval.max(interval);
        for (dpid, keys) in changed.flows {
            if let Some(managed) = self.switches.get_mut(&dpid) {
                managed.stale.add(keys);
            }
        }
        for dpid in changed.meters {
            self.switches.entry(dpid).and_modify(|managed| managed.meters_stale = true);
        }
        for dpid in changed.groups {
            self.switches.entry(dpid).and_modify(|managed| managed.groups_stale = true);
        }
        self.note_away();
        let switches = self.switches.keys().copied().collect();
        self.round = Round { now, may_flood: self.may_flood(), switches };
    }

    /// Tells the next switch of the round what it lacks. False: all were told.
    pub(super) fn tell_next(&mut self) -> bool {
        let Some(dpid) = self.round.switches.pop_first() else { return false };
        self.realise(self.round.now, dpid, self.round.may_flood);
        self.arm(dpid);
        true
    }

    /// Tells all that are left.
    pub(super) fn tell_all(&mut self) {
        while self.tell_next() {}
    }

    /// Follows what changed until nothing more comes of it.
    fn resolve(&mut self, now: Instant) {
        let mut labels = self.changed.clone();
        while !labels.is_empty() || self.view.is_changed() {
            let changes = self.view.take_changes();
            let labels = std::mem::take(&mut labels);
            let touched = self.planner.resolve(self.ledger.intent(), &labels, &self.view, &changes);
            self.reconsider(&changes);
            for at in forget(&mut self.view, self.planner.lanes(), &touched) {
                // What was a function's may be anything now, a wire to another port as well.
                if self.discovery.is_probed(at) {
                    self.discovery.start(now, &self.config, at);
                }
            }
            // What looked like a link before its ends were declared to be a function's.
            for (from, to) in take_false_links(&mut self.view, self.planner.lanes()) {
                self.event(Event::LinkDown(from, to));
            }
        }
    }

    /// Ends the wait of switches after a restart, of all at once: what one is told depends on what is found at the others.
    pub(super) fn release_holds(&mut self, now: Instant) {
        let is_due = |managed: &Managed| managed.hold_until.is_some_and(|until| now >= until);
        if !self.switches.values().any(is_due) {
            return;
        }
        let waits = self.switches.keys().any(|dpid| self.is_found_again(now, *dpid) == Some(false));
        for managed in self.switches.values_mut().filter(|managed| is_due(managed)) {
            let waits = waits && now < managed.hold_limit;
            managed.hold_until = waits.then(|| now + self.config.probe_fast);
            self.dirty |= !waits;
        }
    }

    /// Whether discovery knows again where hosts of a switch may be, and every link that it has flows for: the switches at
    /// their other ends may not have connected yet, and without them it would be told that there is no way. None: nobody
    /// waits for it any more.
    fn is_found_again(&self, now: Instant, dpid: Dpid) -> Option<bool> {
        let managed = self.switches.get(&dpid)?;
        managed.hold_until.filter(|_| now < managed.hold_limit)?;
        let ports = &self.view.switches().get(&dpid)?.ports;
        let has_settled =
            ports.iter().all(|(port, is)| is.settled || !self.discovery.is_probed((dpid, *port)));
        let links = self.view.links();
        let is_link = |at: &At| links.get(at).is_some_and(|to| links.get(to) == Some(at));
        let mut wanted = crate::plan::links_of(&managed.installed).map(|port| (dpid, port));
        Some(has_settled && wanted.all(|at| is_link(&at) || !self.view.port(at).is_some_and(|port| port.up)))
    }

    /// Looks which switches cannot be told anything. If they are others than before, ways need perhaps not wait any more.
    fn note_away(&mut self) {
        let is_away = |managed: &Managed| managed.conn.is_none() || managed.hold_until.is_some();
        let away =
            self.switches.iter().filter(|(_, managed)| is_away(managed)).map(|(dpid, _)| *dpid).collect();
        if away != self.away {
            self.away = away;
            for managed in self.switches.values_mut() {
                managed.stale.add(managed.floods.release_ways());
            }
        }
    }

    /// Whether a way of a switch to a host may lead over another that does not know the host, and cannot be told.
    fn leads_astray(&self, from: Dpid, key: &FlowKey) -> bool {
        let lane = key.matches.get(Field::Metadata).map(|f| f.value as u64 & layout::LANE_MASK);
        let lane = lane.and_then(|lane| VlanId::new(lane as u16).ok());
        let mac = key.matches.exact(Field::EthDst).map(|mac| MacAddr::from_u64(mac as u64));
        let Some((lane, mac)) = lane.zip(mac) else { return false };
        let Some(host) = self.lanes().hosts.get(&(lane, mac)) else { return false };
        let graph = self.planner.graph();
        let whole = graph.distance(from, host.at.0);
        let is_between = |dpid: Dpid| {
            let parts = graph.distance(from, dpid).zip(graph.distance(dpid, host.at.0));
            parts.map(|(to, on)| to + on) == whole
        };
        let way = FlowKey::way(lane, mac);
        let knows =
            |dpid| self.switches.get(dpid).is_some_and(|managed| managed.installed.contains_key(&way));
        self.away.iter().any(|dpid| is_between(*dpid) && !knows(dpid))
    }

    /// The changes of flows that a switch is told now.
    fn flow_changes(&mut self, dpid: Dpid, may_flood: bool) -> Vec<Change> {
        let Some(mut managed) = self.switches.remove(&dpid) else { return vec![] };
        let nothing = Flows::new();
        let wanted = self.planner.blueprint().switches.get(&dpid).unwrap_or(&nothing);
        let waits = |key: &FlowKey| self.leads_astray(dpid, key);
        let limits = (!may_flood || !self.away.is_empty()).then(|| {
            let links = self.planner.graph().ports(dpid).collect();
            Limits { links, floods: !may_flood, waits: &waits }
        });
        let changes = managed.changes(wanted, limits.as_ref());
        self.switches.insert(dpid, managed);
        changes
    }

    /// Whether flooded frames may be taken by further links of the broadcast tree: by others none cross any more (see
    /// [`crate::floods`]).
    fn may_flood(&self) -> bool {
        let graph = self.planner.graph();
        let obeys = |dpid: &Dpid| {
            let session =
                self.switches.get(dpid).and_then(|m| m.conn).and_then(|conn| self.sessions.get(&conn));
            session.is_some_and(|session| !session.slave)
        };
        // Where one end obeys it will neither send nor take them.
        let crosses = |at: At| {
            obeys(&at.0)
                || graph.peer(at).is_none_or(|(peer, port)| {
                    !obeys(&peer)
                        && self.switches.get(&peer).is_some_and(|managed| managed.floods.takes(port))
                })
        };
        self.switches.iter().all(|(dpid, managed)| {
            let mut ports = managed.floods.taken().map(|port| (*dpid, port));
            ports.all(|at| graph.in_tree(at) || !crosses(at))
        })
    }

    /// Where flooded frames could not be taken yet, they perhaps can: switches are told so at once, unless there is something
    /// to plan first.
    pub(super) fn look_again(&mut self, now: Instant) {
        let delayed = self.switches.iter().filter(|(_, managed)| managed.floods.is_to_take_more());
        let delayed: Vec<Dpid> = delayed.map(|(dpid, _)| *dpid).collect();
        if delayed.is_empty() || self.is_dirty() || !self.may_flood() {
            return;
        }
        for dpid in delayed {
            self.realise(now, dpid, true);
        }
    }

    /// Sends a switch what it lacks, and a barrier.
    fn realise(&mut self, now: Instant, dpid: Dpid, may_flood: bool) {
        let Some(managed) = self.switches.get(&dpid) else { return };
        let Some(conn) = managed.conn.filter(|_| managed.hold_until.is_none()) else { return };
        if self.sessions.get(&conn).is_none_or(|session| session.slave) {
            return;
        }
        let flows = self.flow_changes(dpid, may_flood);
        let (no_groups, no_meters) = (Groups::new(), Meters::new());
        let blueprint = self.planner.blueprint();
        let groups = blueprint.groups.get(&dpid).unwrap_or(&no_groups);
        let meters = blueprint.meters.get(&dpid).unwrap_or(&no_meters);
        let generation = blueprint.generation;
        let Some(managed) = self.switches.get_mut(&dpid) else { return };
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let (put, gone) = managed.group_changes(groups);
        let changes = Changes { put, flows, gone };
        // Not every switch takes meters in a bundle.
        let (meters_put, meters_gone) = managed.meter_changes(meters);
        let metered = !meters_put.is_empty() || !meters_gone.is_empty();
        if changes.is_empty() && !metered && managed.in_flight.is_empty() {
            managed.plain = false;
            if managed.confirmed != generation {
                managed.confirmed = generation;
                self.effects.push_back(crate::Effect::Event(Event::Confirmed(dpid, generation)));
            }
            return self.discover(now, dpid);
        }
        let mut messages = change_meters(managed, session, meters_put);
        between(session, &mut messages, changes.is_empty());
        // One change takes effect at once by itself.
        let flows = if session.bundles && !managed.plain && (2..=MAX_BUNDLED).contains(&changes.len()) {
            bundled(managed, session, changes)
        } else {
            one_by_one(managed, session, changes)
        };
        messages.extend(flows);
        between(session, &mut messages, meters_gone.is_empty());
        messages.extend(change_meters(managed, session, meters_gone));
        managed.barrier_sent(generation);
        let barrier = session.xid(Pending::Barrier(generation));
        for (xid, message) in messages.into_iter().chain([(barrier, Message::BarrierRequest.into())]) {
            self.send(conn, xid, message);
        }
    }

    /// The switch takes nothing of a bundle. What it objects to shows when the changes come one by one.
    fn bundle_refused(&mut self, conn: ConnId, commit: Xid, sent: Sent) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.void(commit);
        if let Some(managed) = session.dpid.and_then(|dpid| self.switches.get_mut(&dpid)) {
            managed.take_back(sent);
            managed.plain = true;
            self.dirty = true;
        }
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
            (Some(Pending::Void), Some(dpid)) => {
                if let Some(managed) = self.switches.get_mut(&dpid) {
                    managed.barrier_answered();
                }
                self.look_again(now);
            }
            (Some(Pending::Between), _) => {}
            (Some(Pending::ModBarrier(token)), _) => self.done(token),
            (Some(Pending::Probed(ports)), _) => self.settled(ports),
            _ => self.counters.unexpected_messages += 1,
        }
    }

    fn confirmed(&mut self, now: Instant, dpid: Dpid, generation: u64) {
        if let Some(managed) = self.switches.get_mut(&dpid) {
            managed.barrier_answered();
            managed.confirmed = generation;
            self.event(Event::Confirmed(dpid, generation));
            self.rest_no_longer(now);
            self.look_again(now);
        }
        // The flow that sends discovery frames here is in place.
        self.discover(now, dpid);
    }

    /// Once all is confirmed, what happens next need not wait for as long as a large plan takes.
    fn rest_no_longer(&mut self, now: Instant) {
        let soon = now + self.config.plan_interval;
        if self.next_plan > soon && self.switches.values().all(|managed| managed.in_flight.is_empty()) {
            self.next_plan = soon;
        }
    }

    pub(super) fn error(&mut self, now: Instant, conn: ConnId, xid: Xid, error: &Error) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let dpid = session.dpid;
        if error.kind == ErrorKind::from(BadRequest::IsSlave) && !session.slave {
            self.demoted(now, conn);
        }
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        match session.take(xid) {
            Some(Pending::Role) => self.demoted(now, conn),
            Some(Pending::Commit(sent)) => self.bundle_refused(conn, xid, *sent),
            // Without the group there is nothing for flows to lead to: the switch is planned for as one without groups.
            Some(Pending::Group(group)) => {
                if let Some(dpid) = dpid {
                    self.view.set_support(dpid, Support::default());
                    let label = self
                        .blueprint()
                        .label(layout::intent_cookie("fabric"))
                        .unwrap_or("fabric")
                        .to_owned();
                    let error = format!("group {:#x}: {}", group.0, error.kind);
                    self.event(Event::Refused { dpid, label, error });
                }
            }
            // Nor is anything limited without the meter.
            Some(Pending::Meter(meter)) => {
                if let Some(dpid) = dpid {
                    self.view.set_max_meter(dpid, 0);
                    let error = format!("meter {}: {}", meter.0, error.kind);
                    self.event(Event::Refused { dpid, label: "fabric".to_owned(), error });
                }
            }
            // Without bundles changes go one by one; what is wrong with a step shows at its end.
            Some(Pending::BundleProbe | Pending::BundleStep) => {}
            Some(Pending::Change(change)) => {
                if let Some(dpid) = dpid {
                    self.change_refused(dpid, change, error.kind.to_string());
                }
            }
            Some(
                Pending::Mod(token)
                | Pending::ModBarrier(token)
                | Pending::Exchange(token)
                | Pending::Multipart(Purpose::Request(token), _),
            ) => self.refused(conn, token, error.kind.to_string()),
            Some(Pending::Multipart(purpose @ (Purpose::Groups | Purpose::Meters), _)) => {
                self.lacks(now, conn, purpose);
            }
            Some(Pending::Multipart(Purpose::Count(n_changes), _)) => self.counted(conn, n_changes, None),
            // Without an answer the handshake does not end, and its time runs out.
            Some(Pending::Multipart(..)) => self.counters.unexpected_messages += 1,
            Some(
                Pending::Features
                | Pending::Barrier(_)
                | Pending::Void
                | Pending::Between
                | Pending::Probed(_),
            )
            | None => self.counters.unexpected_messages += 1,
        }
    }

    /// Another controller is the master of a switch, and it may be changed no more.
    pub(super) fn demoted(&mut self, now: Instant, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.slave = true;
        if let Some(dpid) = session.dpid {
            self.event(Event::Demoted(dpid));
            self.look_again(now);
        }
    }

    /// The answer to a step of a bundle.
    pub(super) fn bundle_control(&mut self, conn: ConnId, xid: Xid, control: BundleControl) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        match session.take(xid) {
            Some(Pending::BundleProbe) => {
                session.bundles = true;
                let xid = session.xid(Pending::BundleStep);
                let discard = BundleControl { kind: BundleControlKind::DiscardRequest, ..control };
                self.send(conn, xid, Message::BundleControl(discard));
            }
            Some(Pending::BundleStep | Pending::Commit(_)) => {}
            other => {
                other.into_iter().for_each(|pending| session.put_back(xid, pending));
                self.counters.unexpected_messages += 1;
            }
        }
    }

    fn change_refused(&mut self, dpid: Dpid, change: Change, error: String) {
        let Change::Put(key, body) = change else { return };
        let label = self.blueprint().label(body.cookie).unwrap_or("an earlier intent").to_owned();
        if let Some(managed) = self.switches.get_mut(&dpid) {
            managed.refuse(key, body, error.clone());
        }
        self.event(Event::Refused { dpid, label, error });
    }
}

/// Forgets what was found out about ports that functions gave up, and hosts where their lane is not (any more). Which
/// of the ports are there.
pub(crate) fn forget(view: &mut View, lanes: &Lanes, touched: &Touched) -> Vec<At> {
    let released: Vec<At> = touched.released.iter().copied().filter(|at| view.settle(*at, false)).collect();
    for key in &touched.hosts {
        let Some(host) = view.hosts().get(key) else { continue };
        let has = lanes.lanes.get(&key.0).is_some_and(|lane| lane.has(host.at));
        if !has && view.port(host.at).is_some_and(|port| port.settled) {
            view.remove_host(*key);
        }
    }
    released
}

/// A function that hands everything through makes its ports look like the ends of links.
pub(crate) fn take_false_links(view: &mut View, lanes: &Lanes) -> Vec<(At, At)> {
    let is_function = |at: At| lanes.functions.contains_key(&at);
    if !lanes.functions.keys().any(|at| view.is_link(*at)) {
        return Vec::new();
    }
    view.take_links(is_function)
}

/// Changes of a switch, in order: groups that flows may need, flows, groups that none needs any more.
struct Changes {
    put: Vec<GroupChange>,
    flows: Vec<Change>,
    gone: Vec<GroupChange>,
}

impl Changes {
    fn len(&self) -> usize {
        self.put.len() + self.flows.len() + self.gone.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Meters that flows will need, or that none needs any more.
fn change_meters(
    managed: &mut Managed,
    session: &mut Session,
    changes: Vec<MeterChange>,
) -> Vec<(Xid, Outgoing)> {
    let mut messages = Vec::with_capacity(changes.len());
    for change in changes {
        managed.n_changes += 1;
        change.apply(&mut managed.meters);
        let message = Message::MeterMod(change.to_mod());
        messages.push((session.xid(Pending::Meter(change.meter)), message.into()));
    }
    messages
}

fn flow(session: &mut Session, change: Change, bundle: Option<u32>) -> (Xid, Outgoing) {
    (session.xid(Pending::Change(change.clone())), Outgoing::Flow(change, bundle))
}

fn group(
    managed: &mut Managed,
    session: &mut Session,
    change: &GroupChange,
    bundle: Option<u32>,
) -> (Xid, Outgoing) {
    managed.note_group(change);
    (session.xid(Pending::Group(change.group)), Outgoing::Group(change.clone(), bundle))
}

/// Changes that take effect together: no frame sees some of them without the others.
fn bundled(managed: &mut Managed, session: &mut Session, changes: Changes) -> Vec<(Xid, Outgoing)> {
    let bundle = session.bundle();
    let control = |kind| Message::BundleControl(BundleControl { bundle, kind, flags: BUNDLE_FLAGS }).into();
    let mut messages = Vec::with_capacity(changes.len() + 2);
    messages.push((session.xid(Pending::BundleStep), control(BundleControlKind::OpenRequest)));
    let mut sent = Sent::default();
    sent.flows.reserve(changes.flows.len());
    messages.extend(changes.put.iter().map(|change| group(managed, session, change, Some(bundle))));
    for change in changes.flows {
        sent.flows.push((change.clone(), managed.note(&change)));
        messages.push(flow(session, change, Some(bundle)));
    }
    messages.extend(changes.gone.iter().map(|change| group(managed, session, change, Some(bundle))));
    sent.groups.extend(changes.put.into_iter().chain(changes.gone));
    messages.push((session.xid(Pending::Commit(Box::new(sent))), control(BundleControlKind::CommitRequest)));
    messages
}

/// Groups to be there, what is to be gone, what is to be there, groups to be gone: no switch may mix them, so there is a
/// barrier between each two.
fn one_by_one(managed: &mut Managed, session: &mut Session, changes: Changes) -> Vec<(Xid, Outgoing)> {
    let mut messages: Vec<_> =
        changes.put.iter().map(|change| group(managed, session, change, None)).collect();
    let (deletions, additions): (Vec<Change>, Vec<Change>) =
        changes.flows.into_iter().partition(|change| matches!(change, Change::Delete(..)));
    for stage in [deletions, additions] {
        between(session, &mut messages, stage.is_empty());
        for change in stage {
            managed.note(&change);
            messages.push(flow(session, change, None));
        }
    }
    between(session, &mut messages, changes.gone.is_empty());
    for change in &changes.gone {
        messages.push(group(managed, session, change, None));
    }
    messages
}

/// A barrier behind what was sent, if more comes.
fn between(session: &mut Session, messages: &mut Vec<(Xid, Outgoing)>, is_last: bool) {
    if !messages.is_empty() && !is_last {
        messages.push((session.xid(Pending::Between), Message::BarrierRequest.into()));
    }
}
