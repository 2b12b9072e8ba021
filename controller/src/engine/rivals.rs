//! Two connections of one switch: the older one keeps its place while it is alive.
//!
//! A switch that comes back after a crash finds its old connection still there: nobody said that it is dead. A switch
//! that knows the controller by two names has two that are alive. So the older one is asked for a sign of life while
//! the newer one waits. OpenFlow 1.3.5 §6.3.5 has one connection between a switch and a controller.

use openflow::{Dpid, Features, Message};
use packet::Instant;

use super::Controller;
use crate::effect::{CloseReason, ConnId};

/// A connection that waits for what becomes of an older one.
#[derive(Debug)]
pub(crate) struct Claim {
    features: Features,
    /// The older one.
    pub(crate) rival: ConnId,
    /// Until when that may show that it is alive.
    due: Instant,
}

impl Controller {
    /// A switch says who it is. It is welcome at once if no other connection is its.
    pub(super) fn claim(&mut self, now: Instant, conn: ConnId, features: Features) {
        let Some(rival) = self.connection_of(features.dpid, conn) else {
            return self.welcome(conn, &features);
        };
        let due = now + self.config.rival;
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.claim = Some(Claim { features, rival, due });
            self.claiming.insert(conn);
        }
        if let Some(session) = self.sessions.get_mut(&rival) {
            let xid = session.bare_xid();
            self.send(rival, xid, Message::EchoRequest(Vec::new()));
        }
    }

    /// The connection by which a switch is known, if it is another.
    fn connection_of(&self, dpid: Dpid, conn: ConnId) -> Option<ConnId> {
        let known = |(other, session): (&ConnId, &crate::switch::Session)| {
            (*other != conn && session.dpid == Some(dpid)).then_some(*other)
        };
        self.sessions.iter().find_map(known)
    }

    /// A message came, so the connection is alive: those that wait for its end are closed.
    pub(super) fn sign_of_life(&mut self, now: Instant, conn: ConnId) {
        for newer in self.claimants(|claim| claim.rival == conn) {
            self.close(now, newer, CloseReason::Connected);
        }
    }

    /// A connection is gone: the oldest that waited for that has its place.
    pub(super) fn succeed(&mut self, now: Instant, gone: ConnId) {
        for newer in self.claimants(|claim| claim.rival == gone) {
            let claim = self.sessions.get_mut(&newer).and_then(|session| session.claim.take());
            self.claiming.remove(&newer);
            if let Some(claim) = claim {
                self.claim(now, newer, claim.features);
            }
        }
    }

    /// Connections that gave no sign of life in time are closed for those that wait.
    pub(super) fn decide_claims(&mut self, now: Instant) {
        for newer in self.claimants(|claim| claim.due <= now) {
            let claim = self.sessions.get(&newer).and_then(|session| session.claim.as_ref());
            if let Some(rival) = claim.map(|claim| claim.rival) {
                self.close(now, rival, CloseReason::Replaced);
            }
        }
    }

    /// When the next of them is due.
    pub(super) fn claims_due(&self) -> Option<Instant> {
        self.claims().map(|(_, claim)| claim.due).min()
    }

    fn claims(&self) -> impl Iterator<Item = (ConnId, &Claim)> {
        self.claiming.iter().filter_map(|conn| Some((*conn, self.sessions.get(conn)?.claim.as_ref()?)))
    }

    fn claimants(&self, which: impl Fn(&Claim) -> bool) -> Vec<ConnId> {
        self.claims().filter(|(_, claim)| which(claim)).map(|(conn, _)| conn).collect()
    }
}
