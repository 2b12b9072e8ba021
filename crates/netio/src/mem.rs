//! Ports in memory: two that are joined, one with an end for a test, and one that swallows everything.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};
use packet::{Batch, Frame, MacAddr, Pool};

use crate::counters::{PortCounters, PortDrop};
use crate::port::{LinkProbe, Offload, Port, PortError, PortInfo};
use crate::tx::Finisher;

/// Frames that wait in one direction at most.
pub const QUEUE_LEN: usize = 1024;

/// One direction. The event is readable exactly while frames wait or the writer is gone.
#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    event: EventFd,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    closed: bool,
}

impl Queue {
    fn new() -> io::Result<Arc<Self>> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Arc::new(Self { state: Mutex::default(), event }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, frame: Frame) -> Result<(), Frame> {
        let mut state = self.lock();
        if state.frames.len() >= QUEUE_LEN {
            return Err(frame);
        }
        if state.frames.is_empty() {
            self.signal();
        }
        state.frames.push_back(frame);
        Ok(())
    }

    fn pop(&self) -> Result<Option<Frame>, PortError> {
        let mut state = self.lock();
        let frame = state.frames.pop_front();
        if state.frames.is_empty() && !state.closed {
            // Fails only when it was not signalled.
            let _ = self.event.read();
        }
        if frame.is_none() && state.closed { Err(PortError::Gone) } else { Ok(frame) }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.signal();
    }

    fn signal(&self) {
        // Fails only when the counter would overflow: it is signalled then.
        let _ = self.event.write(1);
    }
}

/// A port whose device is a queue in memory.
#[derive(Debug)]
pub struct MemPort {
    rx: Arc<Queue>,
    tx: Option<Arc<Queue>>,
    info: PortInfo,
    counters: PortCounters,
    finisher: Finisher,
}

/// The far end of a [`MemPort`], in the hands of a test.
#[derive(Debug)]
pub struct MemEnd {
    rx: Arc<Queue>,
    tx: Arc<Queue>,
}

fn info(name: &str, offload: Offload) -> PortInfo {
    // Locally administered, and different for each name of a test.
    let sum = name.bytes().fold(0u64, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(b)));
    let mac = MacAddr::from_u64(0x02_6d_00_00_00_00 | (sum & 0xffff_ffff));
    PortInfo { name: name.to_owned(), spec: format!("mem:{name}"), mac, mtu: 65_535, offload, note: None }
}

impl MemPort {
    fn new(name: &str, rx: Arc<Queue>, tx: Option<Arc<Queue>>, offload: Offload) -> Self {
        let counters = PortCounters::default();
        Self { rx, tx, info: info(name, offload), counters, finisher: Finisher::new(offload) }
    }
}

/// Two joined ports: what one sends the other receives.
///
/// # Errors
/// When the process has no descriptors left.
pub fn pair(a: &str, b: &str) -> io::Result<(MemPort, MemPort)> {
    let (ab, ba) = (Queue::new()?, Queue::new()?);
    Ok((
        MemPort::new(a, ba.clone(), Some(ab.clone()), Offload::ALL),
        MemPort::new(b, ab, Some(ba), Offload::ALL),
    ))
}

/// A port and its far end.
///
/// # Errors
/// When the process has no descriptors left.
pub fn port(name: &str, offload: Offload) -> io::Result<(MemPort, MemEnd)> {
    let (in_, out) = (Queue::new()?, Queue::new()?);
    Ok((MemPort::new(name, in_.clone(), Some(out.clone()), offload), MemEnd { rx: out, tx: in_ }))
}

/// A port that receives nothing and counts what it swallows.
///
/// # Errors
/// When the process has no descriptors left.
pub fn sink(name: &str) -> io::Result<MemPort> {
    Ok(MemPort::new(name, Queue::new()?, None, Offload::ALL))
}

/// What the second port of a name receives from and sends to.
type Ends = (Arc<Queue>, Arc<Queue>);

/// The port `name`: of two ports of one name in this process each receives what the other sends.
///
/// # Errors
/// When the process has no descriptors left.
pub(crate) fn named(name: &str, offload: Offload) -> io::Result<MemPort> {
    static WAITING: LazyLock<Mutex<HashMap<String, Ends>>> = LazyLock::new(Mutex::default);
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((rx, tx)) = waiting.remove(name) {
        return Ok(MemPort::new(name, rx, Some(tx), offload));
    }
    let (rx, tx) = (Queue::new()?, Queue::new()?);
    waiting.insert(name.to_owned(), (tx.clone(), rx.clone()));
    Ok(MemPort::new(name, rx, Some(tx), offload))
}

impl MemEnd {
    /// Lets the port receive a frame; false when its queue is full.
    pub fn send(&self, frame: Frame) -> bool {
        self.tx.push(frame).is_ok()
    }

    /// Lets the port receive these bytes.
    pub fn send_bytes(&self, bytes: &[u8]) -> bool {
        self.send(Frame::from_bytes(bytes))
    }

    /// A frame the port has sent, if one waits.
    pub fn receive(&self) -> Option<Frame> {
        self.rx.pop().ok().flatten()
    }
}

impl AsFd for MemEnd {
    /// Readable while frames wait for [`receive`](MemEnd::receive).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.rx.event.as_fd()
    }
}

impl Drop for MemEnd {
    fn drop(&mut self) {
        self.tx.close();
    }
}

impl Drop for MemPort {
    fn drop(&mut self) {
        if let Some(tx) = &self.tx {
            tx.close();
        }
    }
}

impl Port for MemPort {
    fn receive(&mut self, _: &mut Pool, batch: &mut Batch, max: usize) -> Result<usize, PortError> {
        let before = batch.len();
        while batch.len() - before < max {
            match self.rx.pop() {
                Ok(Some(frame)) if frame.len() < 14 => self.counters.drop_n(PortDrop::RxTooShort, 1),
                Ok(Some(frame)) => {
                    self.counters.received(&frame);
                    batch.push(frame);
                }
                Ok(None) => break,
                Err(_) if batch.len() > before => break,
                Err(error) => return Err(error),
            }
        }
        Ok(batch.len() - before)
    }

    fn transmit(&mut self, pool: &mut Pool, frames: &mut Vec<Frame>) -> Result<(), PortError> {
        self.finisher.finish(pool, frames, &mut self.counters);
        for frame in frames.drain(..) {
            self.counters.sent(&frame);
            let Some(tx) = &self.tx else {
                pool.free(frame);
                continue;
            };
            if let Err(frame) = tx.push(frame) {
                // Counted as sent before it was moved.
                let size = packet::offload::wire_size(&frame);
                self.counters.tx_frames -= u64::from(size.n_frames);
                self.counters.tx_bytes -= size.bytes;
                self.counters.drop_n(PortDrop::TxQueueFull, 1);
                pool.free(frame);
            }
        }
        Ok(())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.rx.event.as_fd())
    }

    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&mut self) -> PortCounters {
        self.counters
    }

    fn link_probe(&self) -> LinkProbe {
        LinkProbe::always_up()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn readable(port: &impl Port) -> bool {
        let fd = port.poll_fd().expect("memory ports have one");
        poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).expect("polls") == 1
    }

    #[test]
    fn a_pair_carries_frames_in_order_and_is_readable_only_while_they_wait() {
        let (mut a, mut b) = pair("a", "b").expect("made");
        let (mut pool, mut batch) = (Pool::default(), Batch::new());
        assert!(!readable(&b));
        let mut frames: Vec<Frame> = (0..3u8).map(|i| Frame::from_bytes(&[i; 60])).collect();
        a.transmit(&mut pool, &mut frames).expect("open");
        assert!(readable(&b));
        assert_eq!(b.receive(&mut pool, &mut batch, 2).expect("open"), 2);
        assert!(readable(&b));
        assert_eq!(b.receive(&mut pool, &mut batch, 2).expect("open"), 1);
        assert!(!readable(&b));
        assert_eq!(batch.iter().map(|f| f.head()[0]).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!((a.counters().tx_bytes, b.counters().rx_frames), (180, 3));
        drop(a);
        assert!(readable(&b));
        assert!(matches!(b.receive(&mut pool, &mut batch, 1), Err(PortError::Gone)));
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (mut a, _b) = pair("a", "b").expect("made");
        let mut pool = Pool::default();
        let mut frames: Vec<Frame> = (0..QUEUE_LEN + 5).map(|_| Frame::from_bytes(&[0; 60])).collect();
        a.transmit(&mut pool, &mut frames).expect("open");
        assert_eq!((a.counters().tx_frames, a.counters()[PortDrop::TxQueueFull]), (QUEUE_LEN as u64, 5));
    }
}
