//! The loop: virtual time, frames on links, timers.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use packet::{Batch, Frame, Instant, MAX_BATCH, MAX_HOPS, Outputs, Pool, PoolConfig};

use crate::channel::Channel;
use crate::controller::ControllerNode;
use crate::link::{End, Link};
use crate::node::{Node, NodeId};
use crate::queue::Queue;
use crate::rng::Rng;

mod build;
mod control;

#[derive(Debug)]
pub(crate) enum Event {
    /// A frame reaches the end of a link.
    Arrive { link: usize, generation: u32, to: End, frame: Frame },
    /// Bytes reach the end of a control channel.
    Bytes { channel: usize, number: u64, end: usize, bytes: Vec<u8> },
    /// A switch tries to connect.
    Connect { channel: usize },
    /// Something is due.
    Timer(Timer),
}

/// Whatever has timers, and settles after it was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Node(NodeId),
    Channel(usize),
    Controller,
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
    armed: BTreeMap<Timer, Instant>,
    dirty: BTreeSet<Timer>,
    channels: Vec<Channel>,
    controller: Option<Box<ControllerNode>>,
    n_connections: u64,
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
            dirty: BTreeSet::new(),
            channels: Vec::new(),
            controller: None,
            n_connections: 0,
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

    fn step(&mut self) {
        let Some((at, event)) = self.queue.pop() else { return };
        debug_assert!(at >= self.now, "time does not go back");
        self.n_at_now = if at == self.now { self.n_at_now + 1 } else { 0 };
        assert!(self.n_at_now < MAX_AT_ONCE, "time stands still at {at:?}: {event:?}");
        self.now = at;
        match event {
            Event::Arrive { link, generation, to, frame } => self.arrive(link, generation, to, frame),
            Event::Bytes { channel, number, end, bytes } => self.handle_bytes(channel, number, end, &bytes),
            Event::Connect { channel } => self.connect(channel),
            Event::Timer(timer) => {
                if self.armed.get(&timer) == Some(&at) {
                    self.armed.remove(&timer);
                    self.handle_timer(timer);
                }
            }
        }
        self.settle();
    }

    fn handle_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Node(id) => {
                self.nodes[id.0].handle_timeout(self.now, &mut self.pool, &mut self.out);
                self.send_all(id);
            }
            Timer::Channel(channel) => self.handle_channel_timeout(channel),
            Timer::Controller => self.handle_controller_timeout(),
        }
        self.dirty.insert(timer);
    }

    /// Hands a frame, and those that arrive at the same node at the same time, to the node as one batch.
    fn arrive(&mut self, link: usize, generation: u32, to: End, frame: Frame) {
        let mut batch = std::mem::take(&mut self.batch);
        self.accept(link, generation, to, frame, &mut batch);
        while batch.len() < MAX_BATCH {
            let same = |event: &Event| matches!(event, Event::Arrive { to: next, .. } if next.0 == to.0);
            let next = self.queue.pop_if(self.now, same);
            let Some(Event::Arrive { link, generation, to, frame }) = next else { break };
            self.accept(link, generation, to, frame, &mut batch);
        }
        self.nodes[to.0.0].process(self.now, &mut batch, &mut self.pool, &mut self.out);
        assert!(batch.is_empty(), "a node leaves its batch empty");
        self.batch = batch;
        self.send_all(to.0);
        self.dirty.insert(Timer::Node(to.0));
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

    /// Lets everything that was touched do what follows from it, until nothing does.
    pub(crate) fn settle(&mut self) {
        while let Some(next) = self.dirty.pop_first() {
            let due = match next {
                Timer::Node(id) => self.settle_node(id),
                Timer::Channel(channel) => self.settle_channel(channel),
                Timer::Controller => self.settle_controller(),
            };
            self.arm(next, due);
        }
    }

    fn settle_node(&mut self, id: NodeId) -> Option<Instant> {
        self.nodes[id.0].pump(self.now, &mut self.pool, &mut self.out);
        self.send_all(id);
        self.send_messages(id);
        self.nodes[id.0].poll_timeout()
    }

    fn arm(&mut self, timer: Timer, due: Option<Instant>) {
        let Some(due) = due.map(|due| due.max(self.now)) else {
            self.armed.remove(&timer);
            return;
        };
        if self.armed.insert(timer, due) != Some(due) {
            // An event for another time is still queued, perhaps; it finds itself disarmed.
            self.queue.schedule(due, Event::Timer(timer));
        }
    }

    /// Puts what node `id` has put out onto its links.
    fn send_all(&mut self, id: NodeId) {
        let mut out = std::mem::take(&mut self.out);
        for (port, frame) in out.drain(..) {
            self.send((id, port), frame);
        }
        self.out = out;
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
