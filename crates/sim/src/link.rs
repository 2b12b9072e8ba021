//! Links: delay, loss, up and down.

use core::time::Duration;

use packet::{Instant, PortNo};

use crate::NodeId;
use crate::rng::Rng;

/// How a link treats frames; the same in both directions.
#[derive(Clone, Copy, Debug)]
pub struct LinkConfig {
    /// Time a frame takes.
    pub delay: Duration,
    /// Most time added to it at random; frames of one direction keep their order.
    pub jitter: Duration,
    /// Frames lost of a million.
    pub loss_ppm: u32,
}

impl Default for LinkConfig {
    /// 100 µs, no jitter, no loss.
    fn default() -> Self {
        Self { delay: Duration::from_micros(100), jitter: Duration::ZERO, loss_ppm: 0 }
    }
}

impl LinkConfig {
    /// The default with `ppm` of a million frames lost.
    pub fn lossy(ppm: u32) -> Self {
        Self { loss_ppm: ppm, ..Self::default() }
    }
}

/// Which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(crate) usize);

/// What a link has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames handed to it.
    pub n_frames: u64,
    /// Frames it lost by chance.
    pub n_lost: u64,
    /// Frames handed to it while it was down.
    pub n_down: u64,
}

/// A node and its port.
pub type End = (NodeId, PortNo);

#[derive(Debug)]
pub(crate) struct Link {
    pub ends: [End; 2],
    pub up: bool,
    pub config: LinkConfig,
    pub counters: LinkCounters,
    /// Counts changes of `up`: frames under way when a link goes down never arrive.
    pub generation: u32,
    last_arrival: [Instant; 2],
}

impl Link {
    pub fn new(ends: [End; 2], config: LinkConfig) -> Self {
        let counters = LinkCounters::default();
        Self { ends, up: true, config, counters, generation: 0, last_arrival: [Instant::ZERO; 2] }
    }

    /// When a frame sent at `now` towards `ends[to]` arrives, if it does.
    pub fn send(&mut self, now: Instant, to: usize, rng: &mut Rng) -> Option<Instant> {
        self.counters.n_frames += 1;
        if !self.up {
            self.counters.n_down += 1;
            return None;
        }
        if rng.chance(self.config.loss_ppm) {
            self.counters.n_lost += 1;
            return None;
        }
        let jitter = rng.below(self.config.jitter.as_nanos() as u64 + 1);
        let at = now + self.config.delay + Duration::from_nanos(jitter);
        let at = at.max(self.last_arrival[to]);
        self.last_arrival[to] = at;
        Some(at)
    }
}
