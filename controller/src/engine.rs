//! The controller: events of switches in, messages and events out.

mod audit;
mod balances;
mod hosts;
mod links;
mod reactive;
mod realise;
mod reject;
mod requests;
mod rivals;
mod session;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use openflow::{Dpid, Message, Xid};
use packet::Instant;

use crate::blueprint::Blueprint;
use crate::config::Config;
use crate::discovery::Discovery;
use crate::effect::{CloseReason, ConnId, Counters, Effect, Event, Outgoing, RequestError, Token};
use crate::intent::{Edit, Fault, Intent, Label, Ledger};
use crate::lanes::Lanes;
use crate::plan::Planner;
use crate::switch::{Managed, Session};
use crate::view::{At, View};

use reactive::Reactive;
use realise::Round;
pub(crate) use realise::{forget, take_false_links};
pub(crate) use reject::Rejections;
pub(crate) use rivals::Claim;
pub use status::{IntentState, IntentStatus, SwitchState};

/// How often links are looked at for their age.
const AGE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// The controller of a network.
#[derive(Debug)]
pub struct Controller {
    config: Config,
    ledger: Ledger,
    /// Generation of the first blueprint that held an intent as it is now.
    revisions: BTreeMap<String, u64>,
    /// Intents that changed since the last plan.
    changed: BTreeSet<Label>,
    view: View,
    planner: Planner,
    sessions: BTreeMap<ConnId, Session>,
    /// Those that wait for what becomes of an older one.
    claiming: BTreeSet<ConnId>,
    switches: BTreeMap<Dpid, Managed>,
    /// Those that could not be told anything when it was planned last.
    away: BTreeSet<Dpid>,
    discovery: Discovery,
    reactive: Reactive,
    counters: Counters,
    effects: VecDeque<Effect>,
    last_token: u64,
    /// There is something to plan or to send.
    dirty: bool,
    round: Round,
    next_plan: Instant,
    next_aging: Instant,
    next_audit: Instant,
}

impl Controller {
    /// A controller without intent and without switches.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            ledger: Ledger::default(),
            revisions: BTreeMap::new(),
            changed: BTreeSet::new(),
            view: View::default(),
            planner: Planner::default(),
            sessions: BTreeMap::new(),
            claiming: BTreeSet::new(),
            switches: BTreeMap::new(),
            away: BTreeSet::new(),
            discovery: Discovery::default(),
            reactive: Reactive::default(),
            counters: Counters::default(),
            effects: VecDeque::new(),
            last_token: 0,
            dirty: false,
            round: Round::default(),
            next_plan: Instant::ZERO,
            next_aging: Instant::ZERO,
            next_audit: Instant::ZERO,
        }
    }

    /// Replaces the whole intent, or nothing of it.
    ///
    /// # Errors
    /// Every contradiction found.
    pub fn set_intent(&mut self, now: Instant, intent: Intent) -> Result<(), Vec<Fault>> {
        let ledger = Ledger::new(intent);
        let faults = ledger.faults(ledger.intent().labels());
        if !faults.is_empty() {
            return Err(faults);
        }
        self.changed.extend(ledger.intent().difference(self.intent()));
        self.ledger = ledger;
        self.plan_now(now);
        Ok(())
    }

    /// Changes some intents, or none. The cost is that of what they touch.
    ///
    /// # Errors
    /// Every contradiction found.
    pub fn edit(&mut self, now: Instant, edits: Vec<Edit>) -> Result<(), Vec<Fault>> {
        let undo = self.ledger.apply(edits);
        let faults = self.ledger.faults(undo.iter().map(|edit| edit.label.clone()));
        if !faults.is_empty() {
            self.ledger.apply(undo);
            return Err(faults);
        }
        self.follow(now, undo);
        Ok(())
    }

    /// Changes some intents as [`Controller::check`] found nothing to object to since the last change.
    pub fn adopt(&mut self, now: Instant, edits: Vec<Edit>) {
        let undo = self.ledger.apply(edits);
        self.follow(now, undo);
    }

    fn follow(&mut self, now: Instant, undo: Vec<Edit>) {
        self.changed.extend(undo.into_iter().map(|edit| edit.label));
        self.plan_now(now);
    }

    /// What [`Controller::edit`] would object to. Nothing is changed.
    pub fn check(&mut self, edits: Vec<Edit>) -> Vec<Fault> {
        let undo = self.ledger.apply(edits);
        let faults = self.ledger.faults(undo.iter().map(|edit| edit.label.clone()));
        self.ledger.apply(undo);
        faults
    }

    /// What is wanted.
    pub fn intent(&self) -> &Intent {
        self.ledger.intent()
    }

    /// What is known of the network.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Lanes and hosts as of the last plan.
    pub fn lanes(&self) -> &Lanes {
        self.planner.lanes()
    }

    /// What the switches are to hold.
    pub fn blueprint(&self) -> &Blueprint {
        self.planner.blueprint()
    }

    /// Every switch that was heard of, and what it holds.
    pub(crate) fn managed(&self) -> impl Iterator<Item = (Dpid, &Managed)> {
        self.switches.iter().map(|(dpid, managed)| (*dpid, managed))
    }

    /// What was not done, by reason.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// A switch finished the version negotiation.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId) {
        self.tell_all();
        let mut session = Session::new(now);
        let xid = session.xid(crate::switch::Pending::Features);
        self.sessions.insert(conn, session);
        self.send(conn, xid, Message::FeaturesRequest);
    }

    /// A connection is gone.
    pub fn handle_disconnected(&mut self, now: Instant, conn: ConnId) {
        self.tell_all();
        let Some(session) = self.sessions.remove(&conn) else { return };
        self.claiming.remove(&conn);
        let dpid = session.dpid;
        for token in session.orphans() {
            self.event(Event::Answer(token, Err(RequestError::NotConnected)));
        }
        if let Some(dpid) = dpid
            && let Some(managed) = self.switches.get_mut(&dpid)
            && managed.conn == Some(conn)
        {
            managed.conn = None;
            managed.lost = Some(now);
            managed.in_flight.clear();
            managed.discovering = false;
            self.discovery.stop_switch(dpid);
            self.event(Event::SwitchDown(dpid));
            self.look_again(now);
        }
        self.succeed(now, conn);
    }

    /// A message of a switch.
    pub fn handle_message(&mut self, now: Instant, conn: ConnId, xid: Xid, message: Message) {
        self.tell_all();
        if self.sessions.contains_key(&conn) {
            self.sign_of_life(now, conn);
            self.message(now, conn, xid, message);
            self.plan_if_due(now);
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tell_all();
        self.decide_claims(now);
        self.probe(now);
        if now >= self.next_aging {
            self.next_aging = now + AGE_INTERVAL;
            self.age_links(now);
            self.retire(now);
            self.close_silent(now);
        }
        self.audit(now);
        self.release_holds(now);
        self.plan_if_due(now);
    }

    /// When `handle_timeout` is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let plan = self.is_dirty().then_some(self.next_plan);
        let holds = self.switches.values().filter_map(|managed| managed.hold_until).min();
        let aging = if self.view.switches().is_empty() && self.sessions.is_empty() {
            None
        } else {
            Some(self.next_aging.min(self.next_audit))
        };
        [plan, holds, aging, self.claims_due(), self.discovery.poll_timeout()].into_iter().flatten().min()
    }

    /// What the shell is to do next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        while self.effects.is_empty() && self.tell_next() {}
        self.effects.pop_front()
    }

    /// Whether something is to be planned or sent.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty || self.view.is_changed()
    }

    fn send(&mut self, conn: ConnId, xid: Xid, message: impl Into<Outgoing>) {
        let message = message.into();
        self.effects.push_back(Effect::Send { conn, xid, message });
    }

    fn event(&mut self, event: Event) {
        self.effects.push_back(Effect::Event(event));
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// Switches without connection for too long leave the view.
    fn retire(&mut self, now: Instant) {
        let lost = |managed: &Managed| {
            managed.conn.is_none()
                && managed.lost.is_some_and(|lost| now.saturating_since(lost) >= self.config.retire)
        };
        let gone: Vec<Dpid> = self.switches.iter().filter(|(_, m)| lost(m)).map(|(dpid, _)| *dpid).collect();
        for dpid in gone {
            self.switches.remove(&dpid);
            let ports = self.view.switches().get(&dpid).into_iter().flat_map(|switch| switch.ports.keys());
            let ports: Vec<At> = ports.map(|port| (dpid, *port)).collect();
            ports.into_iter().for_each(|at| self.view.remove_hosts_at(at));
            self.view.remove_switch(dpid);
            self.drop_links(|at| at.0 == dpid);
            self.event(Event::SwitchRetired(dpid));
        }
    }

    fn close_silent(&mut self, now: Instant) {
        let late =
            |session: &Session| !session.ready && now.saturating_since(session.since) > self.config.handshake;
        let silent: Vec<ConnId> =
            self.sessions.iter().filter(|(_, s)| late(s)).map(|(conn, _)| *conn).collect();
        for conn in silent {
            self.close(now, conn, CloseReason::Handshake);
        }
    }

    fn close(&mut self, now: Instant, conn: ConnId, reason: CloseReason) {
        self.handle_disconnected(now, conn);
        self.effects.push_back(Effect::Close { conn, reason });
    }
}
