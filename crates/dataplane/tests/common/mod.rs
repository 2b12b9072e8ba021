//! An engine for tests, and ends of memory ports that can be waited for.
#![allow(dead_code, reason = "each test binary uses its share")]
#![expect(clippy::disallowed_methods, reason = "waits have deadlines")]

pub mod hosts;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dataplane::{Config, Dataplane, Engine, EngineId, Event, Order, Poll, Report};
use netio::mem::{self, MemEnd, MemPort};
use netio::{Offload, Port};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use packet::{Batch, Frame, GsoKind, Outputs, Pool, PortNo};

/// Nothing waits this long unless something is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Sends what comes in by a port out of the ports listed for it.
#[derive(Clone, Default)]
pub struct Patch {
    pub map: HashMap<u32, Vec<u32>>,
    /// The queue that everything is sent by.
    pub queue: u16,
    /// Super-frames that came: TCP over IPv4, over IPv6, UDP.
    pub n_super: Arc<[AtomicU64; 3]>,
    /// Calls of `handle_idle` on all workers.
    pub n_idle: Arc<AtomicU64>,
    /// Sends a frame out of this port at this time, once.
    pub alarm: Option<(packet::Instant, u32)>,
}

impl Patch {
    pub fn new(map: &[(u32, &[u32])]) -> Self {
        let map = map.iter().map(|(from, to)| (*from, to.to_vec())).collect();
        Self { map, ..Self::default() }
    }
}

impl Engine for Patch {
    fn process(&mut self, _: packet::Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        for frame in batch.drain(..) {
            if let Some(gso) = frame.meta.gso {
                let kinds = [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp];
                let at = kinds.iter().position(|kind| *kind == gso.kind).expect("one of three");
                self.n_super[at].fetch_add(1, Ordering::Relaxed);
            }
            for port in self.map.get(&frame.meta.in_port.0).into_iter().flatten() {
                let mut copy = pool.clone_frame(&frame);
                copy.queue = self.queue;
                out.push((PortNo(*port), copy));
            }
            pool.free(frame);
        }
    }

    fn handle_order(&mut self, _: packet::Instant, _: Order, _: &mut Pool, _: &mut Outputs) {}

    fn poll_report(&mut self) -> Option<Report> {
        None
    }

    fn handle_idle(&mut self, _: packet::Instant) {
        self.n_idle.fetch_add(1, Ordering::Relaxed);
    }

    fn poll_timeout(&self) -> Option<packet::Instant> {
        self.alarm.map(|(at, _)| at)
    }

    fn handle_timeout(&mut self, now: packet::Instant, pool: &mut Pool, out: &mut Outputs) {
        if let Some((_, port)) = self.alarm.take_if(|(at, _)| *at <= now) {
            out.push((PortNo(port), pool.frame_from(&[0xa1; 60]).expect("short")));
        }
    }
}

/// A dataplane whose events are kept.
pub struct Bench {
    pub plane: Dataplane,
    pub events: Arc<Mutex<Vec<Event>>>,
}

impl Bench {
    pub fn new(n_workers: usize) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        let config = Config { n_workers, poll: Poll::Adaptive };
        let plane = Dataplane::start(config, Box::new(move |event| sink.lock().expect("alive").push(event)));
        Self { plane: plane.expect("started"), events }
    }

    pub fn patch(&self, patch: &Patch) -> EngineId {
        let halves = (0..self.plane.n_workers()).map(|_| Box::new(patch.clone()) as Box<dyn Engine>);
        self.plane.add_engine(halves.collect()).expect("added")
    }

    /// Adds a memory port with one queue and returns its far end.
    pub fn port(&self, engine: EngineId, number: u32) -> MemEnd {
        let (port, end) = mem::port(&format!("p{number}"), Offload::ALL).expect("made");
        assert!(self.plane.add_port(engine, PortNo(number), vec![Box::new(port)]).expect("added"));
        end
    }

    /// Adds a memory port with a queue for each worker.
    pub fn queues(&self, engine: EngineId, number: u32) -> Vec<MemEnd> {
        let made: Vec<(MemPort, MemEnd)> = (0..self.plane.n_workers())
            .map(|_| mem::port(&format!("p{number}"), Offload::ALL).expect("made"))
            .collect();
        let (ports, ends): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let ports = ports.into_iter().map(|port| Box::new(port) as Box<dyn Port>).collect();
        self.plane.add_port(engine, PortNo(number), ports).expect("added");
        ends
    }
}

/// A frame that carries a number.
pub fn numbered(number: u32, len: usize) -> Frame {
    let mut bytes = vec![0x5a; len];
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    Frame::from_bytes(&bytes)
}

pub fn number(frame: &Frame) -> u32 {
    u32::from_be_bytes(frame.head()[14..18].try_into().expect("four bytes"))
}

pub fn readable(fd: impl AsFd, timeout: Duration) -> bool {
    let timeout = PollTimeout::try_from(timeout).expect("short");
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout).expect("polls") > 0
}

/// Waits for a frame.
pub fn receive(end: &MemEnd) -> Frame {
    assert!(readable(end, DEADLINE), "no frame came");
    end.receive().expect("a frame waits")
}

/// Asks again and again until the answer is yes.
pub fn until(what: &str, mut yes: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !yes() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
