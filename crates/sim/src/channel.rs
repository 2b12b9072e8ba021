//! Control channels: OpenFlow as bytes between a switch and whoever controls it, in order, with delay.

use core::time::Duration;
use std::collections::VecDeque;

use openflow::{Event, Message, Session, SessionConfig, Side, Xid};
use packet::Instant;

use crate::NodeId;
use crate::rng::Rng;

/// What a control channel takes unless told otherwise.
pub const CHANNEL_DELAY: Duration = Duration::from_micros(200);

/// Which control channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub(crate) usize);

/// Who is at the far end of a switch's control channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The controller of the network.
    Controller,
    /// The test: it sends with [`Sim::tell`](crate::Sim::tell) and reads with [`Sim::told`](crate::Sim::told).
    Test,
}

/// A connection that is up, or being made.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Number of this connection for both ends; never used again.
    pub number: u64,
    /// The switch's end, then the other.
    pub sessions: [Session; 2],
    /// Ends that were told of the connection.
    pub established: [bool; 2],
    last_arrival: [Instant; 2],
}

#[derive(Debug)]
pub(crate) struct Channel {
    pub switch: NodeId,
    pub peer: Peer,
    pub delay: Duration,
    pub connection: Option<Connection>,
    /// The transport works; else the switch tries in vain.
    pub up: bool,
    pub inbox: Vec<(Xid, Message)>,
    pub n_refused: u64,
    pub n_connections: u64,
}

pub(crate) const SWITCH: usize = 0;
pub(crate) const PEER: usize = 1;

impl Channel {
    pub fn new(switch: NodeId, peer: Peer, delay: Duration) -> Self {
        let (connection, inbox) = (None, Vec::new());
        Self { switch, peer, delay, connection, up: true, inbox, n_refused: 0, n_connections: 0 }
    }

    /// Both ends begin a connection.
    pub fn connect(&mut self, now: Instant, number: u64) {
        let session = |side| Session::new(now, side, SessionConfig::default());
        self.n_connections += 1;
        self.connection = Some(Connection {
            number,
            sessions: [session(Side::Switch), session(Side::Controller)],
            established: [false; 2],
            last_arrival: [now; 2],
        });
    }

    /// The number of the connection there is.
    pub fn number(&self) -> Option<u64> {
        self.connection.as_ref().map(|connection| connection.number)
    }
}

impl Connection {
    /// Takes out what both ends have to send: to which end, when it arrives, the bytes; in pieces, as TCP may cut them.
    pub fn transmit(
        &mut self,
        now: Instant,
        delay: Duration,
        rng: &mut Rng,
    ) -> Vec<(usize, Instant, Vec<u8>)> {
        let mut sent = Vec::new();
        for from in [SWITCH, PEER] {
            let to = 1 - from;
            while let Some(bytes) = self.sessions[from].poll_transmit() {
                let n = if rng.chance(200_000) {
                    1 + rng.below(bytes.len() as u64) as usize
                } else {
                    bytes.len()
                };
                let at = (now + delay + Duration::from_nanos(rng.below(1000))).max(self.last_arrival[to]);
                self.last_arrival[to] = at;
                sent.push((to, at, bytes[..n].to_vec()));
                self.sessions[from].handle_transmitted(now, n);
            }
        }
        sent
    }

    /// Takes out what happened at both ends.
    pub fn events(&mut self) -> VecDeque<(usize, Event)> {
        let mut events = VecDeque::new();
        for end in [SWITCH, PEER] {
            while let Some(event) = self.sessions[end].poll_event() {
                events.push_back((end, event));
            }
        }
        events
    }

    /// When one end has something due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sessions.iter().filter_map(Session::poll_timeout).min()
    }
}
