//! What stands between output and a port that has a rate or queues: frames wait here until it is their turn.
//!
//! Without I/O and without a clock. Of the queues that hold frames and are below their highest rate, those below their
//! guaranteed rate come first, the one that is owed most before the others; what the guarantees leave is shared by
//! weight (start-time fair queueing, Goyal, Vin and Cheng 1996). Nothing leaves while the port is above its own rate.
//!
//! Each queue is bounded in time, bytes and memory; what does not fit is dropped and counted. A super-frame counts as
//! the frames it would be on the wire. One that a queue cannot admit whole, because it exceeds what may be sent at once
//! or what fits, is cut, and each segment is admitted for itself.

mod bucket;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use packet::offload::{segment, wire_size};
use packet::{Frame, HEAD_SIZE, Instant, Pool, TAIL_SIZE};
use vswitch::{PortQueues, QueueSpec};

use bucket::Bucket;

/// A queue holds what it sends in this time, in milliseconds, if it has a highest rate or the port has one.
const LIMIT_MILLIS: u64 = 100;
/// Least bytes a queue holds: a super-frame.
const LEAST_LIMIT: u64 = 64 << 10;
/// Most bytes of buffers that the frames of one queue may occupy.
const MAX_MEMORY: usize = 4 << 20;
/// Virtual time that a byte takes at weight one.
const VIRTUAL_BYTE: u64 = 1 << 10;

/// What a queue has counted (OpenFlow 1.3.5 §7.3.5.8), in frames as they are on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Frames sent.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames dropped because the queue was full.
    pub tx_errors: u64,
}

impl std::ops::AddAssign for QueueCounters {
    fn add_assign(&mut self, rhs: Self) {
        self.tx_frames += rhs.tx_frames;
        self.tx_bytes += rhs.tx_bytes;
        self.tx_errors += rhs.tx_errors;
    }
}

#[derive(Debug)]
struct Queue {
    spec: QueueSpec,
    /// The port's own queue 0, which nobody configured.
    implied: bool,
    min: Option<Bucket>,
    max: Option<Bucket>,
    /// Most bytes at once; above, super-frames are cut.
    whole: u64,
    /// Most bytes it holds.
    limit: u64,
    frames: VecDeque<Frame>,
    size: u64,
    memory: usize,
    /// Virtual time at which its next frame starts.
    start: u64,
    counters: QueueCounters,
}

/// The frames that wait for one port.
#[derive(Debug)]
pub(crate) struct Scheduler {
    port: Option<Bucket>,
    /// By number.
    queues: Vec<Queue>,
    virtual_time: u64,
    n_held: usize,
    parts: Vec<Frame>,
}

impl Scheduler {
    pub fn new(now: Instant, config: &PortQueues) -> Self {
        let port = config.rate.map(|rate| Bucket::new(now, rate));
        let mut queues: Vec<_> =
            config.queues.iter().map(|spec| Queue::new(now, *spec, config.rate)).collect();
        if !config.queues.iter().any(|spec| spec.id == 0) {
            queues.push(Queue { implied: true, ..Queue::new(now, QueueSpec::new(0), config.rate) });
        }
        queues.sort_by_key(|queue| queue.spec.id);
        Self { port, queues, virtual_time: 0, n_held: 0, parts: Vec::new() }
    }

    /// Other rates and queues from now on. What waits goes on waiting: in the queue of the same number, else in queue 0.
    /// Returns how many frames found no room there.
    pub fn reconfigure(&mut self, now: Instant, config: &PortQueues, pool: &mut Pool) -> u64 {
        let old = std::mem::replace(self, Self::new(now, config));
        let mut n_dropped = 0;
        for queue in old.queues {
            if let Some(same) = self.queues.iter_mut().find(|new| new.spec.id == queue.spec.id) {
                same.counters = queue.counters;
            }
            for frame in queue.frames {
                n_dropped += self.enqueue(frame, pool);
            }
        }
        n_dropped
    }

    /// Takes a frame in, or cut to pieces those of it that fit; returns how many frames did not.
    pub fn enqueue(&mut self, frame: Frame, pool: &mut Pool) -> u64 {
        let size = wire_size(&frame);
        // Queue 0 is always there, and the first.
        let at = self.queues.binary_search_by_key(&frame.queue, |queue| queue.spec.id).unwrap_or(0);
        let queue = &mut self.queues[at];
        if frame.meta.gso.is_none() || size.bytes <= queue.whole && queue.has_room(&frame, size.bytes) {
            return self.admit(at, frame, pool);
        }
        let mut parts = std::mem::take(&mut self.parts);
        let mut n_dropped = 0;
        if segment(frame, pool, &mut parts).is_err() {
            n_dropped = u64::from(size.n_frames);
            self.queues[at].counters.tx_errors += n_dropped;
        }
        for part in parts.drain(..) {
            n_dropped += self.admit(at, part, pool);
        }
        self.parts = parts;
        n_dropped
    }

    fn admit(&mut self, at: usize, mut frame: Frame, pool: &mut Pool) -> u64 {
        pool.take_unused_tail(&mut frame);
        let size = wire_size(&frame);
        let queue = &mut self.queues[at];
        if !queue.has_room(&frame, size.bytes) {
            queue.counters.tx_errors += u64::from(size.n_frames);
            pool.free(frame);
            return size.n_frames.into();
        }
        if queue.frames.is_empty() {
            // It has no claim to what was sent while it wanted nothing.
            queue.start = queue.start.max(self.virtual_time);
        }
        queue.size += size.bytes;
        queue.memory += memory(&frame);
        queue.frames.push_back(frame);
        self.n_held += 1;
        0
    }

    /// The next frame to leave, if one may leave now.
    pub fn dequeue(&mut self, now: Instant) -> Option<Frame> {
        if self.n_held == 0 || self.port.is_some_and(|port| !port.is_ready(now)) {
            return None;
        }
        let may_send = |queue: &&mut Queue| {
            !queue.frames.is_empty() && queue.max.is_none_or(|bucket| bucket.is_ready(now))
        };
        let owed = |queue: &Queue| {
            queue.min.filter(|bucket| bucket.is_ready(now)).map_or(u64::MAX, |bucket| bucket.paid_until())
        };
        let next = self.queues.iter_mut().filter(may_send).min_by_key(|queue| (owed(queue), queue.start))?;
        let guaranteed = owed(next) != u64::MAX;
        let frame = next.frames.pop_front()?;
        let size = wire_size(&frame);
        self.n_held -= 1;
        next.size -= size.bytes;
        next.memory -= memory(&frame);
        next.counters.tx_frames += u64::from(size.n_frames);
        next.counters.tx_bytes += size.bytes;
        if guaranteed {
            next.min.iter_mut().for_each(|bucket| bucket.take(now, size.bytes));
        } else {
            self.virtual_time = self.virtual_time.max(next.start);
            next.start += size.bytes * VIRTUAL_BYTE / u64::from(next.spec.weight);
        }
        next.max.iter_mut().chain(&mut self.port).for_each(|bucket| bucket.take(now, size.bytes));
        Some(frame)
    }

    /// When the next frame may leave; none if none waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.queues.iter().filter(|queue| !queue.frames.is_empty());
        let ready_at = |bucket: &Option<Bucket>| bucket.map_or(Instant::from_nanos(0), |b| b.ready_at());
        let first = waiting.map(|queue| ready_at(&queue.max)).min()?;
        Some(first.max(ready_at(&self.port)))
    }

    /// Everything that waits, whatever the rates, by queues.
    pub fn drain(&mut self) -> impl Iterator<Item = Frame> + '_ {
        self.n_held = 0;
        self.queues.iter_mut().flat_map(|queue| {
            (queue.size, queue.memory) = (0, 0);
            queue.frames.drain(..)
        })
    }

    /// What the queues have counted: those that were configured by number, then queue 0 if it was not.
    pub fn counters(&self) -> impl Iterator<Item = (u16, QueueCounters)> + '_ {
        let (configured, implied) = (self.queues.iter(), self.queues.iter());
        let all = configured.filter(|q| !q.implied).chain(implied.filter(|q| q.implied));
        all.map(|queue| (queue.spec.id, queue.counters))
    }
}

impl Queue {
    fn new(now: Instant, spec: QueueSpec, port: Option<u64>) -> Self {
        let slowest = [spec.max, port].into_iter().flatten().min();
        let limit = slowest.map_or(u64::MAX, |rate| (rate / 8).saturating_mul(LIMIT_MILLIS) / 1000);
        Self {
            spec,
            implied: false,
            min: spec.min.map(|rate| Bucket::new(now, rate)),
            max: spec.max.map(|rate| Bucket::new(now, rate)),
            whole: slowest.map_or(u64::MAX, |rate| Bucket::new(now, rate).burst_size()),
            limit: limit.max(LEAST_LIMIT),
            frames: VecDeque::new(),
            size: 0,
            memory: 0,
            start: 0,
            counters: QueueCounters::default(),
        }
    }

    fn has_room(&self, frame: &Frame, size: u64) -> bool {
        self.size + size <= self.limit && self.memory + memory(frame) <= MAX_MEMORY
    }
}

/// Bytes of buffers that a frame occupies.
fn memory(frame: &Frame) -> usize {
    HEAD_SIZE + if frame.tail().is_empty() { 0 } else { TAIL_SIZE }
}
