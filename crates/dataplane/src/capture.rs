//! Copies of frames for those who watch: mirrors of ports and flows, and samples followed through a switch.
//!
//! Each worker has a bounded ring to each watcher; what finds no room in it is lost and counted, and the frames
//! themselves never wait. Workers that nobody watches pay one branch a batch. A watcher that goes away is forgotten at
//! the next frame.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use packet::{Frame, Gso, Instant, PortNo};
use rtrb::{Consumer, Producer, RingBuffer};
use vswitch::{Filter, Followed};

use crate::EngineId;

/// Copies that may wait of each worker.
const RING_LEN: usize = 8192;
/// Bytes of copies that may wait, of all workers.
const MAX_SIZE: usize = 32 << 20;
/// Samples that may wait of each worker: following one costs more than forwarding it.
const SAMPLE_RING_LEN: usize = 64;

/// Which frames of an engine are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// By or out of these ports; none: all.
    pub ports: Vec<PortNo>,
    /// That one of these picks; none: all.
    pub filters: Vec<Filter>,
}

impl Selection {
    fn picks(&self, port: PortNo, frame: &Frame) -> bool {
        (self.ports.is_empty() || self.ports.contains(&port))
            && (self.filters.is_empty() || self.filters.iter().any(|f| f.picks(frame, frame.meta.in_port)))
    }
}

/// Which copies a mirror wants.
#[derive(Clone, Debug)]
pub struct MirrorSpec {
    /// Of which frames.
    pub selection: Selection,
    /// As they come in.
    pub rx: bool,
    /// As they are sent.
    pub tx: bool,
    /// Bytes of each, at most.
    pub snaplen: usize,
}

/// Which frames are followed.
#[derive(Clone, Debug)]
pub struct SampleSpec {
    /// Of which frames that come in.
    pub selection: Selection,
    /// One in this many, of each worker; at least 1.
    pub every: u64,
}

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into the engine.
    Rx,
    /// Out of the engine, before queues and device.
    Tx,
}

/// A copy of a frame.
#[derive(Clone, Debug)]
pub struct Copied {
    /// When.
    pub at: Instant,
    /// Which way it went.
    pub direction: Direction,
    /// By which port.
    pub port: PortNo,
    /// Bytes it had.
    pub len: usize,
    /// It was a super-frame.
    pub gso: Option<Gso>,
    /// Its checksum was left to the output.
    pub unfinished: bool,
    /// Its first bytes.
    pub bytes: Vec<u8>,
}

/// A frame that was followed.
#[derive(Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Bytes it had.
    pub len: usize,
    /// What became of it.
    pub followed: Followed,
}

/// What the ends of a watcher's rings share.
#[derive(Debug, Default)]
struct Account {
    lost: AtomicU64,
    size: AtomicUsize,
}

/// The watcher's end; workers stop copying when it is dropped.
pub struct Watch<T> {
    rings: Vec<Consumer<T>>,
    account: Arc<Account>,
    size: fn(&T) -> usize,
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("account", &self.account).finish_non_exhaustive()
    }
}

impl<T> Watch<T> {
    /// What waits, in the order in which each worker made it; returns whether there was anything.
    pub fn drain(&mut self, mut take: impl FnMut(T)) -> bool {
        let mut any = false;
        for ring in &mut self.rings {
            // Bounded: the worker may go on filling.
            for _ in 0..RING_LEN {
                let Ok(item) = ring.pop() else { break };
                self.account.size.fetch_sub((self.size)(&item), Relaxed);
                any = true;
                take(item);
            }
        }
        any
    }

    /// How many found no room so far.
    pub fn lost(&self) -> u64 {
        self.account.lost.load(Relaxed)
    }

    /// Every worker has forgotten it: the engine is gone.
    pub fn is_over(&self) -> bool {
        self.rings.iter().all(|ring| ring.is_abandoned() && ring.is_empty())
    }
}

/// A worker's end.
#[derive(Debug)]
pub(crate) struct Tap<S, T> {
    pub engine: EngineId,
    pub spec: S,
    ring: Producer<T>,
    account: Arc<Account>,
    /// Frames seen that it wants.
    n_seen: u64,
}

pub(crate) type Mirror = Tap<MirrorSpec, Copied>;
pub(crate) type Sampler = Tap<SampleSpec, Sample>;

fn taps<S: Clone, T>(
    engine: EngineId,
    spec: &S,
    (n_workers, len): (usize, usize),
    size: fn(&T) -> usize,
) -> (Watch<T>, Vec<Tap<S, T>>) {
    let account = Arc::<Account>::default();
    let (mut rings, mut taps) = (Vec::new(), Vec::new());
    for _ in 0..n_workers {
        let (ring, end) = RingBuffer::new(len);
        rings.push(end);
        taps.push(Tap { engine, spec: spec.clone(), ring, account: account.clone(), n_seen: 0 });
    }
    (Watch { rings, account, size }, taps)
}

pub(crate) fn mirror(engine: EngineId, spec: &MirrorSpec, n: usize) -> (Watch<Copied>, Vec<Mirror>) {
    taps(engine, spec, (n, RING_LEN), |copied| copied.bytes.len())
}

pub(crate) fn sampler(engine: EngineId, spec: &SampleSpec, n: usize) -> (Watch<Sample>, Vec<Sampler>) {
    taps(engine, spec, (n, SAMPLE_RING_LEN), |_| 0)
}

impl<S, T> Tap<S, T> {
    /// Nobody is at the other end any more.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    fn lose(&self) {
        self.account.lost.fetch_add(1, Relaxed);
    }

    pub fn push(&mut self, item: T) {
        if self.ring.push(item).is_err() {
            self.lose();
        }
    }
}

impl Mirror {
    /// Copies a frame if it is wanted.
    pub fn offer(&mut self, at: Instant, direction: Direction, port: PortNo, frame: &Frame) {
        let wanted = match direction {
            Direction::Rx => self.spec.rx,
            Direction::Tx => self.spec.tx,
        };
        if !wanted || !self.spec.selection.picks(port, frame) {
            return;
        }
        let (len, snaplen) = (frame.len(), self.spec.snaplen);
        let size = len.min(snaplen);
        if self.ring.is_full() || self.account.size.load(Relaxed) + size > MAX_SIZE {
            return self.lose();
        }
        self.account.size.fetch_add(size, Relaxed);
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&frame.head()[..frame.head().len().min(size)]);
        // A tail may be lent by the port: what is wanted of it is copied here.
        bytes.extend_from_slice(&frame.tail()[..frame.tail().len().min(size - bytes.len())]);
        let (gso, unfinished) = (frame.meta.gso, frame.meta.csum.is_some());
        self.push(Copied { at, direction, port, len, gso, unfinished, bytes });
    }
}

impl Sampler {
    /// Whether this frame, which came in, is to be followed. When too many samples wait it is lost instead.
    pub fn wants(&mut self, frame: &Frame) -> bool {
        if !self.spec.selection.picks(frame.meta.in_port, frame) {
            return false;
        }
        let at = self.n_seen;
        self.n_seen += 1;
        if !at.is_multiple_of(self.spec.every.max(1)) {
            return false;
        }
        if self.ring.is_full() {
            self.lose();
            return false;
        }
        true
    }
}
