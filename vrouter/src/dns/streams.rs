//! Connections of clients that ask by TCP.

use core::net::IpAddr;
use std::collections::BTreeMap;

use lookup::Secret;
use packet::Instant;
use packet::tcp::Flags;

use super::Client;
use super::tcp::{Connection, Segment};

/// Connections at a time, and of one address (RFC 7766 §6.2.2).
const MAX_STREAMS: usize = 256;
const MAX_OF_ONE: usize = 16;

/// All of them.
#[derive(Debug)]
pub(crate) struct Streams {
    secret: Secret,
    n_drawn: u64,
    connections: BTreeMap<Client, Connection>,
}

impl Streams {
    pub(crate) fn new(secret: Secret) -> Self {
        Self { secret, n_drawn: 0, connections: BTreeMap::new() }
    }

    /// Interfaces have other numbers now.
    pub(crate) fn clear(&mut self) {
        self.connections.clear();
    }

    fn of_one(&self, from: IpAddr) -> usize {
        self.connections.keys().filter(|client| client.from.0 == from).count()
    }

    /// A segment of a client: what is said in return, and questions that are whole now.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        client: Client,
        segment: &Segment,
    ) -> (Vec<Segment>, Vec<Vec<u8>>) {
        let Some(connection) = self.connections.get_mut(&client) else {
            let begins = segment.flags.contains(Flags::SYN) && !segment.flags.contains(Flags::ACK);
            let room = self.connections.len() < MAX_STREAMS && self.of_one(client.from.0) < MAX_OF_ONE;
            if !begins || !room {
                return (segment.refusal().into_iter().collect(), Vec::new());
            }
            self.n_drawn += 1;
            let first = self.secret.hash(&[self.n_drawn, 0x7c9]) as u32;
            let (connection, answer) = Connection::accept(now, first, segment);
            self.connections.insert(client, connection);
            return (vec![answer], Vec::new());
        };
        let said = connection.handle(now, segment);
        let questions = core::iter::from_fn(|| connection.take_message()).collect();
        if connection.is_over() {
            self.connections.remove(&client);
        }
        (said, questions)
    }

    /// Answers a client, if it is still there.
    pub(crate) fn send(&mut self, now: Instant, client: Client, message: &[u8]) -> Vec<Segment> {
        let connection = self.connections.get_mut(&client);
        connection.map_or(Vec::new(), |connection| connection.send(now, message))
    }

    /// Says again what was not heard, ends what is idle.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<(Client, Segment)> {
        let due = |c: &Connection| c.poll_timeout().is_some_and(|at| at <= now);
        let mut said = Vec::new();
        for (client, connection) in self.connections.iter_mut().filter(|(_, c)| due(c)) {
            said.extend(connection.handle_timeout(now).into_iter().map(|segment| (*client, segment)));
        }
        self.connections.retain(|_, connection| !connection.is_over());
        said
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.connections.values().filter_map(Connection::poll_timeout).min()
    }
}
