//! Questions of clients are answered from the cache, or passed on to a server and its answer kept (RFC 1035 §7, RFC 2308).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use lookup::Secret;
use packet::Instant;

use super::tcp::{Connection, Segment};
use super::wire::{Query, Response, domain, folded};
use crate::config::DnsConfig;
use crate::snapshot::IfIndex;

/// How long a server has to answer, and how often somebody is asked in all: who asked is told of a failure before the five
/// seconds are over that resolvers wait (resolv.conf(5)).
const PATIENCE: Duration = Duration::from_millis(1500);
const N_TRIES: u8 = 3;
/// Questions that wait for an answer, and clients that wait for the same one.
const MAX_PENDING: usize = 2048;
const MAX_CLIENTS: usize = 64;
/// Longer answers are passed on, not kept.
const MAX_KEPT: usize = 4096;
/// Nothing is kept for longer than a day (RFC 8767 §4 asks for some bound).
const MAX_TTL: u32 = 86_400;
/// RCODEs (RFC 1035 §4.1.1).
const SERVER_FAILURE: u8 = 2;
const REFUSED: u8 = 5;

/// Ports that questions leave from, random among them (RFC 5452 §9.2); translation leaves them alone.
pub(crate) const PORTS: core::ops::RangeInclusive<u16> = 61_440..=63_487;

/// Who asked: the interface, his address and port, the address he asked, and whether by TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Client {
    pub interface: IfIndex,
    pub from: (IpAddr, u16),
    pub asked: IpAddr,
    pub stream: bool,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Send {
    Answer {
        client: Client,
        payload: Vec<u8>,
    },
    Question {
        server: IpAddr,
        port: u16,
        payload: Vec<u8>,
    },
    /// To a server, of a connection.
    Segment {
        server: IpAddr,
        port: u16,
        segment: Segment,
    },
}

/// What an answer is found by: the question in small letters, and its flavour.
type Key = (Vec<u8>, u8);

#[derive(Debug)]
struct Kept {
    response: Vec<u8>,
    ttls_at: Vec<usize>,
    since: Instant,
    until: Instant,
}

#[derive(Debug)]
struct Pending {
    clients: Vec<(Client, Query)>,
    /// The question as the first client wrote it, but for its identification.
    payload: Vec<u8>,
    servers: Vec<IpAddr>,
    n_tries: u8,
    due: Instant,
    id: u16,
    port: u16,
    server: IpAddr,
    /// The server has cut its answer, and is asked for the whole of it.
    stream: Option<Connection>,
    /// What it had left of it, for want of better.
    cut: Option<Vec<u8>>,
}

/// The forwarder and its cache.
#[derive(Debug)]
pub(crate) struct Forwarder {
    config: DnsConfig,
    secret: Secret,
    n_drawn: u64,
    cache: BTreeMap<Key, Kept>,
    by_end: BTreeSet<(Instant, Key)>,
    pending: BTreeMap<Key, Pending>,
}

impl Forwarder {
    pub(crate) fn new(secret: Secret) -> Self {
        Self {
            config: DnsConfig::default(),
            secret,
            n_drawn: 0,
            cache: BTreeMap::new(),
            by_end: BTreeSet::new(),
            pending: BTreeMap::new(),
        }
    }

    /// Other servers may know other things: the cache begins anew.
    pub(crate) fn configure(&mut self, config: &DnsConfig) {
        if self.config != *config {
            self.config = config.clone();
            self.cache.clear();
            self.by_end.clear();
            self.pending.clear();
        }
    }

    fn draw(&mut self) -> u64 {
        self.n_drawn += 1;
        self.secret.hash(&[self.n_drawn, 0xd5])
    }

    fn draw_port(&mut self) -> u16 {
        let n_ports = u64::from(*PORTS.end() - *PORTS.start()) + 1;
        *PORTS.start() + (self.draw() % n_ports) as u16
    }

    /// The servers of the longest zone that holds a name, or those of all others.
    fn servers(&self, question: &[u8]) -> &[IpAddr] {
        let name = domain(question);
        let holds =
            |zone: &str| name == zone || name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
        let zones = self.config.zones.iter().filter(|(zone, _)| holds(zone));
        zones.max_by_key(|(zone, _)| zone.len()).map_or(&self.config.servers, |(_, servers)| servers)
    }

    /// A message of a client.
    pub(crate) fn ask(&mut self, now: Instant, client: Client, payload: &[u8]) -> Vec<Send> {
        let Some(mut query) = Query::parse(payload) else { return Vec::new() };
        if client.stream {
            query.size = usize::from(u16::MAX);
        }
        let key = (folded(&query.question), query.flavour);
        if let Some(kept) = self.cache.get(&key).filter(|kept| kept.until > now) {
            let age = now.saturating_since(kept.since).as_secs() as u32;
            let payload = query.answer(&kept.response, &kept.ttls_at, age);
            return vec![Send::Answer { client, payload }];
        }
        if let Some(pending) = self.pending.get_mut(&key) {
            let again = pending.clients.iter().any(|(other, q)| *other == client && q.id == query.id);
            if !again && pending.clients.len() < MAX_CLIENTS {
                pending.clients.push((client, query));
            }
            return Vec::new();
        }
        let servers = self.servers(&query.question).to_vec();
        let Some(first) = servers.first().copied() else {
            return vec![Send::Answer { client, payload: query.failure(REFUSED) }];
        };
        if self.pending.len() >= MAX_PENDING {
            return vec![Send::Answer { client, payload: query.failure(SERVER_FAILURE) }];
        }
        let pending = Pending {
            clients: vec![(client, query)],
            payload: payload.to_vec(),
            servers,
            n_tries: 0,
            due: now,
            id: 0,
            port: 0,
            server: first,
            stream: None,
            cut: None,
        };
        self.pending.insert(key.clone(), pending);
        self.try_next(now, &key).into_iter().collect()
    }

    /// Asks the next server; none when it is time to give up.
    fn try_next(&mut self, now: Instant, key: &Key) -> Option<Send> {
        let (draw, port) = (self.draw(), self.draw_port());
        let pending = self.pending.get_mut(key).filter(|p| p.n_tries < N_TRIES)?;
        pending.server = *pending.servers.get(usize::from(pending.n_tries) % pending.servers.len())?;
        pending.id = draw as u16;
        pending.port = port;
        pending.n_tries += 1;
        pending.due = now + PATIENCE;
        pending.stream = None;
        let mut payload = pending.payload.clone();
        payload.get_mut(..2)?.copy_from_slice(&pending.id.to_be_bytes());
        Some(Send::Question { server: pending.server, port: pending.port, payload })
    }

    /// A message of a server to one of our ports. What was not asked for is dropped (RFC 5452 §3).
    pub(crate) fn answered(&mut self, now: Instant, server: IpAddr, port: u16, payload: &[u8]) -> Vec<Send> {
        let Some(response) = Response::parse(payload) else { return Vec::new() };
        let question = folded(&response.question);
        let is_ours =
            |p: &Pending| p.server == server && p.port == port && p.id == response.id && p.stream.is_none();
        let flavours = (0..8).map(|flavour| (question.clone(), flavour));
        let Some(key) = flavours.into_iter().find(|key| self.pending.get(key).is_some_and(is_ours)) else {
            return Vec::new();
        };
        if response.is_cut {
            return self.ask_for_the_whole(now, &key, payload).into_iter().collect();
        }
        self.complete(now, key, payload, response)
    }

    /// Asks the server that has cut its answer by TCP (RFC 7766 §5).
    fn ask_for_the_whole(&mut self, now: Instant, key: &Key, cut: &[u8]) -> Option<Send> {
        let first = self.draw() as u32;
        let port = self.draw_port();
        let pending = self.pending.get_mut(key)?;
        let mut question = pending.payload.clone();
        question.get_mut(..2)?.copy_from_slice(&pending.id.to_be_bytes());
        let (connection, segment) = Connection::connect(now, first, &question);
        pending.port = port;
        pending.due = now + PATIENCE;
        (pending.stream, pending.cut) = (Some(connection), Some(cut.to_vec()));
        Some(Send::Segment { server: pending.server, port, segment })
    }

    /// A segment of a server to one of our ports.
    pub(crate) fn handle_segment(
        &mut self,
        now: Instant,
        server: IpAddr,
        port: u16,
        segment: &Segment,
    ) -> Vec<Send> {
        let is_ours = |p: &Pending| p.server == server && p.port == port && p.stream.is_some();
        let found = self.pending.iter_mut().find(|(_, pending)| is_ours(pending));
        let Some((key, Pending { stream: Some(stream), id, .. })) = found else { return Vec::new() };
        let say = |segment| Send::Segment { server, port, segment };
        let mut sends: Vec<Send> = stream.handle(now, segment).into_iter().map(say).collect();
        let Some(message) = stream.take_message() else { return sends };
        let key = key.clone();
        let response = Response::parse(&message)
            .filter(|response| response.id == *id && folded(&response.question) == key.0);
        sends.push(say(stream.abort()));
        if let Some(response) = response {
            sends.extend(self.complete(now, key, &message, response));
        }
        sends
    }

    /// Gives all who wait their answer, and keeps it.
    fn complete(&mut self, now: Instant, key: Key, payload: &[u8], response: Response) -> Vec<Send> {
        let Some(pending) = self.pending.remove(&key) else { return Vec::new() };
        let answer = |(client, query): &(Client, Query)| Send::Answer {
            client: *client,
            payload: query.answer(payload, &[], 0),
        };
        let answers = pending.clients.iter().map(answer).collect();
        if let Some(ttl) = response.ttl.filter(|_| payload.len() <= MAX_KEPT) {
            self.keep(now, key, payload, response.ttls_at, ttl.min(MAX_TTL));
        }
        answers
    }

    fn keep(&mut self, now: Instant, key: Key, response: &[u8], ttls_at: Vec<usize>, ttl: u32) {
        if let Some(old) = self.cache.remove(&key) {
            self.by_end.remove(&(old.until, key.clone()));
        }
        while self.cache.len() >= self.config.cache_size.max(1)
            && let Some((_, soonest)) = self.by_end.pop_first()
        {
            self.cache.remove(&soonest);
        }
        let until = now + Duration::from_secs(ttl.into());
        self.by_end.insert((until, key.clone()));
        self.cache.insert(key, Kept { response: response.to_vec(), ttls_at, since: now, until });
    }

    /// Servers that did not answer, answers that are over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Send> {
        while let Some((until, key)) = self.by_end.first().cloned().filter(|(until, _)| *until <= now) {
            self.by_end.remove(&(until, key.clone()));
            self.cache.remove(&key);
        }
        let due: Vec<Key> =
            self.pending.iter().filter(|(_, p)| p.due <= now).map(|(k, _)| k.clone()).collect();
        let mut sends = self.repeat(now);
        for key in due {
            match self.try_next(now, &key) {
                Some(send) => sends.push(send),
                None => {
                    let Some(Pending { clients, cut, .. }) = self.pending.remove(&key) else { continue };
                    sends.extend(clients.into_iter().map(|(client, query)| {
                        // By UDP a cut answer says that there is more; by TCP it would be a lie.
                        let payload = match cut.as_ref().filter(|_| !client.stream) {
                            Some(cut) => query.answer(cut, &[], 0),
                            None => query.failure(SERVER_FAILURE),
                        };
                        Send::Answer { client, payload }
                    }));
                }
            }
        }
        sends
    }

    /// What servers have not heard.
    fn repeat(&mut self, now: Instant) -> Vec<Send> {
        let mut sends = Vec::new();
        for Pending { stream, server, port, .. } in self.pending.values_mut() {
            let due = stream.as_mut().filter(|s| s.poll_timeout().is_some_and(|at| at <= now));
            let said = due.map_or(Vec::new(), |stream| stream.handle_timeout(now));
            let (server, port) = (*server, *port);
            sends.extend(said.into_iter().map(|segment| Send::Segment { server, port, segment }));
        }
        sends
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let streams = self.pending.values().filter_map(|p| p.stream.as_ref()?.poll_timeout());
        let pending = self.pending.values().map(|p| p.due).chain(streams).min();
        pending.into_iter().chain(self.by_end.first().map(|(until, _)| *until)).min()
    }
}
