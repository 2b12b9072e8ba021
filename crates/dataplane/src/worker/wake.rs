//! How workers hand frames to each other, and wake each other only when it is needed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use nix::sys::eventfd::{EfdFlags, EventFd};
use packet::Frame;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::table::PortKey;

/// Frames that may wait between two workers.
const RING_LEN: usize = 1024;

/// Wakes a worker that sleeps.
#[derive(Debug)]
pub(crate) struct Waker {
    event: EventFd,
    asleep: AtomicBool,
}

impl Waker {
    /// The epoll token of a worker's own event.
    pub const TOKEN: u64 = u64::MAX;

    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { event, asleep: AtomicBool::new(false) })
    }

    /// For commands: always.
    pub fn wake(&self) {
        // Fails only when the counter would overflow: it is readable then.
        let _ = self.event.write(1);
    }

    /// For frames on a ring, after they were put there: only a sleeper needs the system call.
    fn wake_sleeper(&self) {
        // With the fence in `sleep`: either the sleeper sees the frames or we see that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.wake();
        }
    }

    /// The worker is about to sleep; it must look at its rings once more afterwards.
    pub fn sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub fn clear(&self) {
        // Fails only when it was not signalled.
        let _ = self.event.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// A frame for a port whose queue another worker owns.
type Item = (PortKey, Frame);

/// The receiving end of a ring. For each frame an empty one goes back, so that the buffers of neither worker run out
/// or pile up.
pub(crate) struct Inbound {
    ring: Consumer<Item>,
    empties: Producer<Frame>,
}

impl Inbound {
    pub fn has_some(&self) -> bool {
        !self.ring.is_empty()
    }

    pub fn pop(&mut self) -> Option<Item> {
        self.ring.pop().ok()
    }

    /// Gives an empty frame back; returns it when the other worker has enough.
    pub fn give_back(&mut self, empty: Frame) -> Result<(), Frame> {
        self.empties.push(empty).map_err(|rtrb::PushError::Full(frame)| frame)
    }
}

/// The sending end of a ring.
pub(crate) struct Outbound {
    ring: Producer<Item>,
    empties: Consumer<Frame>,
    waker: Arc<Waker>,
    pending: bool,
}

impl Outbound {
    /// Gives the frame back when the ring is full.
    pub fn push(&mut self, key: PortKey, frame: Frame) -> Result<(), Frame> {
        self.pending = true;
        self.ring.push((key, frame)).map_err(|rtrb::PushError::Full((_, frame))| frame)
    }

    /// An empty frame that came back for one that was handed over.
    pub fn take_back(&mut self) -> Option<Frame> {
        self.empties.pop().ok()
    }

    /// Wakes the other worker if it sleeps and has been handed something.
    pub fn notify(&mut self) {
        if std::mem::take(&mut self.pending) {
            self.waker.wake_sleeper();
        }
    }
}

/// A ring from each worker to each other: for each worker what it receives from and what it sends to.
pub(crate) fn rings(wakers: &[Arc<Waker>]) -> Vec<(Vec<Inbound>, Vec<Option<Outbound>>)> {
    let n = wakers.len();
    let mut ends: Vec<(Vec<Inbound>, Vec<Option<Outbound>>)> =
        (0..n).map(|_| (Vec::new(), (0..n).map(|_| None).collect())).collect();
    for from in 0..n {
        for to in (0..n).filter(|to| *to != from) {
            let (producer, consumer) = RingBuffer::new(RING_LEN);
            let (giver, taker) = RingBuffer::new(RING_LEN);
            ends[to].0.push(Inbound { ring: consumer, empties: giver });
            let waker = wakers[to].clone();
            ends[from].1[to] = Some(Outbound { ring: producer, empties: taker, waker, pending: false });
        }
    }
    ends
}
