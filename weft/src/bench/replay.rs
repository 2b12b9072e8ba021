//! Ports without a device: one that replays frames from memory, others that count or collect what they are sent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use netio::pcap::Reader;
use netio::{LinkProbe, Offload, Port, PortCounters, PortError, PortInfo};
use nix::sys::eventfd::{EfdFlags, EventFd};
use packet::{Batch, Frame, MacAddr, Pool, PortNo};

/// Frames in memory, end to end.
#[derive(Clone, Debug)]
pub struct Frames {
    bytes: Arc<[u8]>,
    /// Where each begins; one more than there are.
    starts: Arc<[u32]>,
}

impl Frames {
    /// Reads a capture.
    ///
    /// # Errors
    /// When it cannot be read, has no frame, or more than fit 4 GiB.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let mut reader = Reader::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (mut bytes, mut starts) = (Vec::new(), vec![0]);
        while let Some(record) = reader.next_record().with_context(|| format!("{}", path.display()))? {
            bytes.extend_from_slice(&record.bytes);
            starts.push(u32::try_from(bytes.len()).context("more than 4 GiB of frames")?);
        }
        ensure!(starts.len() > 1, "{} has no frame", path.display());
        Ok(Self { bytes: bytes.into(), starts: starts.into() })
    }

    /// Frames made here, of less than 4 GiB.
    pub fn new(frames: impl Iterator<Item = Vec<u8>>) -> Self {
        let (mut bytes, mut starts) = (Vec::new(), vec![0]);
        for frame in frames {
            bytes.extend(frame);
            starts.push(bytes.len() as u32);
        }
        Self { bytes: bytes.into(), starts: starts.into() }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The n-th.
    pub fn get(&self, n: usize) -> &[u8] {
        &self.bytes[self.starts[n] as usize..self.starts[n + 1] as usize]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|n| self.get(n))
    }
}

/// Most times of batches that are kept.
const MAX_TIMES: usize = 1 << 22;

const IDLE: u8 = 0;
const ONCE: u8 = 1;
const AGAIN_AND_AGAIN: u8 = 2;

/// What is done with frames, shared by all ports of a bench.
#[derive(Debug)]
pub struct Control {
    mode: AtomicU8,
    /// The next frame of a single pass.
    next: AtomicUsize,
    /// Readable while frames are to be had.
    event: EventFd,
    /// What was sent in a single pass, in order for each port.
    sent: Mutex<Vec<(PortNo, Vec<u8>)>>,
    /// Ticks from one batch to the next are noted.
    timed: AtomicBool,
    times: Mutex<Vec<u64>>,
}

impl Control {
    /// At rest.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> anyhow::Result<Arc<Self>> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let (mode, next) = (AtomicU8::new(IDLE), AtomicUsize::new(0));
        let (timed, times) = (AtomicBool::new(false), Mutex::default());
        Ok(Arc::new(Self { mode, next, event, sent: Mutex::default(), timed, times }))
    }

    /// Replays every frame once and collects what leaves.
    pub fn start_once(&self) -> anyhow::Result<()> {
        self.sent().clear();
        self.next.store(0, Ordering::Relaxed);
        self.start(ONCE)
    }

    /// Replays the frames again and again, until told to stop; what leaves is not collected.
    pub fn start_again_and_again(&self) -> anyhow::Result<()> {
        self.next.store(0, Ordering::Relaxed);
        self.start(AGAIN_AND_AGAIN)
    }

    fn start(&self, mode: u8) -> anyhow::Result<()> {
        self.mode.store(mode, Ordering::Release);
        self.event.write(1).context("cannot wake the worker")?;
        Ok(())
    }

    /// Offers no more frames.
    pub fn stop(&self) {
        self.mode.store(IDLE, Ordering::Release);
        // Fails only when it was not readable.
        let _ = self.event.read();
    }

    /// Every frame of a single pass was taken.
    pub fn is_at_rest(&self) -> bool {
        self.mode.load(Ordering::Acquire) == IDLE
    }

    /// What was sent in the last single pass.
    pub fn take_sent(&self) -> Vec<(PortNo, Vec<u8>)> {
        core::mem::take(&mut *self.sent())
    }

    /// Notes from now on how long the worker takes from one batch to the next.
    pub fn start_timing(&self) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.timed.store(true, Ordering::Release);
    }

    /// Notes no more; what was noted, in ticks of the time-stamp counter.
    pub fn stop_timing(&self) -> Vec<u64> {
        self.timed.store(false, Ordering::Release);
        core::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, ticks: u64) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() < MAX_TIMES {
            times.push(ticks);
        }
    }

    fn sent(&self) -> MutexGuard<'_, Vec<(PortNo, Vec<u8>)>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port of a bench.
pub struct MemoryPort {
    number: PortNo,
    control: Arc<Control>,
    /// What it replays; nothing at most ports.
    frames: Option<Frames>,
    /// A descriptor of its own for the control's event: epoll(7) takes none twice.
    event: OwnedFd,
    next: usize,
    /// When the last batch was taken while times were noted.
    taken_at: Option<u64>,
    counters: PortCounters,
    info: PortInfo,
}

impl MemoryPort {
    /// A port that sends and, with `frames`, receives.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new(number: PortNo, control: Arc<Control>, frames: Option<Frames>) -> anyhow::Result<Self> {
        let event = control.event.as_fd().try_clone_to_owned()?;
        let info = PortInfo {
            name: format!("bench{number}"),
            spec: "mem:".to_owned(),
            mac: MacAddr([2, 0, 0, 0, 0, 0xfe]),
            mtu: 65_535,
            offload: Offload::ALL,
            note: None,
        };
        let counters = PortCounters::default();
        Ok(Self { number, control, frames, event, next: 0, taken_at: None, counters, info })
    }
}

impl Port for MemoryPort {
    fn receive(&mut self, pool: &mut Pool, batch: &mut Batch, max: usize) -> Result<usize, PortError> {
        let Some(frames) = &self.frames else { return Ok(0) };
        let mode = self.control.mode.load(Ordering::Acquire);
        let mut next = match mode {
            IDLE => return Ok(0),
            ONCE => self.control.next.load(Ordering::Relaxed),
            _ => self.next,
        };
        if self.control.timed.load(Ordering::Relaxed) {
            let now = netio::clock::ticks();
            if let Some(before) = self.taken_at.replace(now) {
                self.control.note(now.saturating_sub(before));
            }
        } else {
            self.taken_at = None;
        }
        // A pass ends with its last frame; without an end, the first one follows in the same batch.
        let n = if mode == ONCE { max.min(frames.len() - next) } else { max };
        for _ in 0..n {
            if let Some(frame) = pool.frame_from(frames.get(next)) {
                self.counters.received(&frame);
                batch.push(frame);
            }
            next = if next + 1 == frames.len() { 0 } else { next + 1 };
        }
        if mode != ONCE {
            self.next = next;
        } else if next == 0 {
            self.control.next.store(frames.len(), Ordering::Relaxed);
            self.control.stop();
        } else {
            self.control.next.store(next, Ordering::Relaxed);
        }
        Ok(n)
    }

    fn transmit(&mut self, pool: &mut Pool, frames: &mut Vec<Frame>) -> Result<(), PortError> {
        if self.control.next.load(Ordering::Relaxed) > 0 {
            self.control.sent().extend(frames.iter().map(|frame| (self.number, frame.to_vec())));
        }
        frames.iter().for_each(|frame| self.counters.sent(frame));
        pool.free_batch(frames);
        Ok(())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.frames.as_ref().map(|_| self.event.as_fd())
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
