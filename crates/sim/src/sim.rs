//! The loop: virtual time, frames on links, timers.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use packet::{Batch, Frame, Instant, MAX_BATCH, MAX_HOPS, Outputs, Pool, PoolConfig};

use crate::host::{HOST_PORT, Host, HostConfig};
use crate::link::{End, Link, LinkConfig, LinkCounters, LinkId};
use crate::node::{Node, NodeId};
use crate::queue::Queue;
use crate::rng::Rng;

#[derive(Debug)]
enum Event {
    /// A frame reaches the end of a link.
    Arrive { link: usize, generation: u32, to: End, frame: Frame },
    /// A node has something due.
    Timer(NodeId),
}

/// What the whole has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames delivered to nodes.
    pub n_delivered: u64,
    /// Frames sent out of a port with no link.
    pub n_unconnected: u64,
    /// Frames dropped because they had passed too many nodes.
    pub n_hop_limit: u64,
}

/// A network on virtual time.
#[derive(Debug)]
pub struct Sim {
    now: Instant,
    rng: Rng,
    queue: Queue<Event>,
    nodes: Vec<Node>,
    names: BTreeMap<String, NodeId>,
    links: Vec<Link>,
    wires: BTreeMap<End, (usize, usize)>,
    armed: BTreeMap<NodeId, Instant>,
    pool: Pool,
    batch: Batch,
    out: Outputs,
    counters: Counters,
    digest: u64,
    n_at_now: u32,
}

/// Events at one instant after which something must be going round in circles.
const MAX_AT_ONCE: u32 = 1_000_000;

impl Sim {
    /// An empty network whose faults follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::from_secs(1),
            rng: Rng::new(seed),
            queue: Queue::default(),
            nodes: Vec::new(),
            names: BTreeMap::new(),
            links: Vec::new(),
            wires: BTreeMap::new(),
            armed: BTreeMap::new(),
            pool: Pool::new(PoolConfig::default()),
            batch: Batch::with_capacity(MAX_BATCH),
            out: Outputs::new(),
            counters: Counters::default(),
            digest: 0xcbf2_9ce4_8422_2325,
            n_at_now: 0,
        }
    }

    /// The present.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Randomness for the test itself, from the same seed.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// What the whole has counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// A digest of every frame delivered, where and when: equal for equal runs.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    fn add(&mut self, name: &str, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(node);
        let before = self.names.insert(name.to_owned(), id);
        assert!(before.is_none(), "two nodes are named {name}");
        id
    }

    /// Adds a host.
    pub fn add_host(&mut self, name: &str, config: HostConfig) -> NodeId {
        self.add(name, Node::Host(Box::new(Host::new(config))))
    }

    /// The node of this name.
    ///
    /// # Panics
    /// If there is none: a mistake of the test.
    pub fn node(&self, name: &str) -> NodeId {
        *self.names.get(name).unwrap_or_else(|| panic!("no node is named {name}"))
    }

    /// The host `id`.
    ///
    /// # Panics
    /// If it is no host: a mistake of the test.
    pub fn host(&self, id: NodeId) -> &Host {
        let Node::Host(host) = &self.nodes[id.0];
        host
    }

    /// Lets the test speak for host `id`, and sends what it then has to say.
    ///
    /// # Panics
    /// If it is no host: a mistake of the test.
    pub fn with_host<T>(&mut self, id: NodeId, act: impl FnOnce(&mut Host, Instant) -> T) -> T {
        let Node::Host(host) = &mut self.nodes[id.0];
        let result = act(host, self.now);
        self.handle_timeout(id);
        result
    }

    /// Joins two ports.
    ///
    /// # Panics
    /// If one of them has a link: a mistake of the test.
    pub fn link(&mut self, a: End, b: End, config: LinkConfig) -> LinkId {
        let id = self.links.len();
        self.links.push(Link::new([a, b], config));
        for (i, end) in [a, b].into_iter().enumerate() {
            let before = self.wires.insert(end, (id, i));
            assert!(before.is_none(), "{end:?} has a link already");
            self.nodes[end.0.0].set_port_link(self.now, end.1, true);
            self.handle_timeout(end.0);
        }
        LinkId(id)
    }

    /// Joins a host to a port.
    pub fn attach(&mut self, host: NodeId, to: End) -> LinkId {
        self.link((host, HOST_PORT), to, LinkConfig::default())
    }

    /// Takes a link down or up. Frames under way on a link that goes down are lost.
    pub fn set_link(&mut self, id: LinkId, up: bool) {
        let link = &mut self.links[id.0];
        if link.up == up {
            return;
        }
        link.up = up;
        link.generation += 1;
        for end in link.ends {
            self.nodes[end.0.0].set_port_link(self.now, end.1, up);
            self.handle_timeout(end.0);
        }
    }

    /// Changes how a link treats frames from now on.
    pub fn set_link_config(&mut self, id: LinkId, config: LinkConfig) {
        self.links[id.0].config = config;
    }

    /// The link of a port.
    pub fn link_of(&self, end: End) -> Option<LinkId> {
        self.wires.get(&end).map(|(id, _)| LinkId(*id))
    }

    /// What a link has done.
    pub fn link_counters(&self, id: LinkId) -> LinkCounters {
        self.links[id.0].counters
    }

    /// Runs for `time`.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Runs until `done` says so, `time` at most; whether it did. `done` is asked after each event.
    pub fn run_while_waiting(&mut self, time: Duration, done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + time;
        self.run_until(end, done)
    }

    fn run_until(&mut self, end: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            match self.queue.next_at() {
                Some(at) if at <= end => self.step(),
                _ => {
                    self.now = end;
                    return false;
                }
            }
        }
    }

    /// Pings `to` from host `from` once a second, `n` times at most; the time of the first answer.
    pub fn ping(&mut self, from: NodeId, to: IpAddr, n: u16) -> Option<Duration> {
        let id = self.rng.next_u64() as u16;
        for seq in 0..n {
            let sent = self.now;
            self.with_host(from, |host, now| host.send_echo(now, to, id, seq));
            let answered = |sim: &Self| (0..=seq).any(|seq| sim.host(from).echo_answered(id, seq).is_some());
            if self.run_while_waiting(Duration::from_secs(1), answered) {
                return Some(self.now.saturating_since(sent));
            }
        }
        None
    }

    fn step(&mut self) {
        let Some((at, event)) = self.queue.pop() else { return };
        debug_assert!(at >= self.now, "time does not go back");
        self.n_at_now = if at == self.now { self.n_at_now + 1 } else { 0 };
        assert!(self.n_at_now < MAX_AT_ONCE, "time stands still at {at:?}: {event:?}");
        self.now = at;
        match event {
            Event::Arrive { link, generation, to, frame } => self.arrive(link, generation, to, frame),
            Event::Timer(id) => {
                if self.armed.get(&id) == Some(&at) {
                    self.armed.remove(&id);
                    self.handle_timeout(id);
                }
            }
        }
    }

    /// Hands a frame, and those that arrive at the same node at the same time, to the node as one batch.
    fn arrive(&mut self, link: usize, generation: u32, to: End, frame: Frame) {
        let mut batch = std::mem::take(&mut self.batch);
        self.accept(link, generation, to, frame, &mut batch);
        while batch.len() < MAX_BATCH {
            let same = |event: &Event| matches!(event, Event::Arrive { to: next, .. } if next.0 == to.0);
            let Some(Event::Arrive { link, generation, to, frame }) = self.queue.pop_if(self.now, same)
            else {
                break;
            };
            self.accept(link, generation, to, frame, &mut batch);
        }
        let mut out = std::mem::take(&mut self.out);
        self.nodes[to.0.0].process(self.now, &mut batch, &mut self.pool, &mut out);
        self.pool.free_batch(&mut batch);
        self.batch = batch;
        self.out = out;
        self.after(to.0);
    }

    fn accept(&mut self, link: usize, generation: u32, to: End, mut frame: Frame, batch: &mut Batch) {
        if self.links[link].generation != generation {
            self.links[link].counters.n_down += 1;
            self.pool.free(frame);
            return;
        }
        self.note(to, &frame);
        self.counters.n_delivered += 1;
        frame.meta.in_port = to.1;
        batch.push(frame);
    }

    /// FNV-1a over what was delivered.
    fn note(&mut self, to: End, frame: &Frame) {
        let header = [self.now.as_nanos(), to.0.0 as u64, u64::from(to.1.0)];
        let bytes = header.iter().flat_map(|n| n.to_le_bytes());
        let bytes = bytes.chain(frame.head().iter().copied()).chain(frame.tail().iter().copied());
        self.digest = bytes.fold(self.digest, |d, b| (d ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    }

    fn handle_timeout(&mut self, id: NodeId) {
        let mut out = std::mem::take(&mut self.out);
        self.nodes[id.0].handle_timeout(self.now, &mut self.pool, &mut out);
        self.out = out;
        self.after(id);
    }

    /// Sends what a node has put out and sets its timer.
    fn after(&mut self, id: NodeId) {
        let mut out = std::mem::take(&mut self.out);
        for (port, frame) in out.drain(..) {
            self.send((id, port), frame);
        }
        self.out = out;
        let Some(due) = self.nodes[id.0].poll_timeout() else {
            self.armed.remove(&id);
            return;
        };
        let due = due.max(self.now);
        if self.armed.insert(id, due) != Some(due) {
            // An event for another time is still queued, perhaps; it finds itself disarmed.
            self.queue.schedule(due, Event::Timer(id));
        }
    }

    fn send(&mut self, from: End, mut frame: Frame) {
        let Some(&(link_idx, end)) = self.wires.get(&from) else {
            self.counters.n_unconnected += 1;
            self.pool.free(frame);
            return;
        };
        if frame.meta.hops >= MAX_HOPS {
            self.counters.n_hop_limit += 1;
            self.pool.free(frame);
            return;
        }
        frame.meta.hops += 1;
        let link = &mut self.links[link_idx];
        let to = 1 - end;
        match link.send(self.now, to, &mut self.rng) {
            Some(at) => {
                let (generation, to) = (link.generation, link.ends[to]);
                self.queue.schedule(at, Event::Arrive { link: link_idx, generation, to, frame });
            }
            None => self.pool.free(frame),
        }
    }
}
