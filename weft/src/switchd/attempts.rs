//! What is known of peers beside their sessions, for whoever asks how a switch is connected.

use std::collections::BTreeMap;
use std::time::Duration;

use controller_api::{PeerRole, SwitchPeer};
use openflow::Role;
use packet::Instant;

use super::Target;
use super::owner::Owner;
use super::peers::Peer;

/// An attempt to connect that failed, or a connection that ended.
#[derive(Debug)]
pub struct Attempt {
    /// The controller.
    pub target: String,
    /// It is an auxiliary connection that failed.
    pub auxiliary: bool,
    /// When the attempt ended.
    pub at: Instant,
    /// What was wrong; none if the peer closed the connection in good order.
    pub trouble: Option<String>,
    /// Time until the next one.
    pub wait: Duration,
}

/// The controllers of a switch and what became of the attempts to reach them.
#[derive(Debug)]
pub struct Attempts(BTreeMap<String, Outlook>);

#[derive(Debug)]
struct Outlook {
    /// It is not connected since then, if it is not.
    since: Instant,
    trouble: Option<String>,
    retry: Option<Instant>,
}

impl Attempts {
    /// Nothing was tried yet.
    pub fn new(now: Instant, controllers: &[Target]) -> Self {
        let outlook =
            |target: &Target| (target.to_string(), Outlook { since: now, trouble: None, retry: None });
        Self(controllers.iter().map(outlook).collect())
    }

    /// One failed.
    pub fn note(&mut self, attempt: Attempt) {
        let Some(outlook) = self.0.get_mut(&attempt.target) else { return };
        let closed = || "the controller closed the connection".to_owned();
        outlook.trouble = Some(attempt.trouble.unwrap_or_else(closed));
        if !attempt.auxiliary {
            outlook.retry = Some(attempt.at + attempt.wait);
        }
    }

    /// A controller is not connected any more.
    pub fn lost(&mut self, now: Instant, target: &str) {
        if let Some(outlook) = self.0.get_mut(target) {
            outlook.since = now;
        }
    }
}

impl Owner {
    /// Everybody that the switch speaks with, in the order in which they came, then controllers that it cannot reach.
    pub(super) fn peer_details(&self) -> Vec<SwitchPeer> {
        let now = self.clock.now();
        let mut sessions: Vec<_> = self.peers.iter().collect();
        sessions.sort_by_key(|(conn, _)| **conn);
        let role = |role| match role {
            Role::Master => PeerRole::Master,
            Role::Slave => PeerRole::Slave,
            Role::Equal | Role::NoChange => PeerRole::Equal,
        };
        let connected = sessions.iter().map(|(conn, peer)| SwitchPeer {
            peer: peer.name.clone(),
            controller: !peer.service,
            connected: true,
            seconds: now.saturating_since(peer.since).as_secs(),
            version: Some(peer.version.to_string()),
            role: self.switch.role(**conn).map(role),
            auxiliary: peer.auxiliary.map(|(_, id)| id),
            certificate: peer.certificate.clone(),
            last_error: self.attempts.0.get(&peer.name).and_then(|outlook| outlook.trouble.clone()),
            retry_ms: None,
        });
        let is_main =
            |peer: &Peer, name: &str| peer.name == name && !peer.service && peer.auxiliary.is_none();
        let missing =
            self.attempts.0.iter().filter(|(name, _)| !self.peers.values().any(|p| is_main(p, name)));
        let missing = missing.map(|(name, outlook)| SwitchPeer {
            peer: name.clone(),
            controller: true,
            connected: false,
            seconds: now.saturating_since(outlook.since).as_secs(),
            version: None,
            role: None,
            auxiliary: None,
            certificate: None,
            last_error: outlook.trouble.clone(),
            retry_ms: outlook.retry.map(|at| at.saturating_since(now).as_millis() as u64),
        });
        connected.chain(missing).collect()
    }
}
