//! What the routes to a prefix have counted: each worker in memory that it alone writes, added up where it is read.

use core::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Packets and their bytes, from the IP header on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets as they are on the wire.
    pub n_packets: u64,
    /// Their bytes.
    pub n_bytes: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.n_packets += other.n_packets;
        self.n_bytes += other.n_bytes;
    }
}

/// What one worker has counted, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Share {
    n_packets: AtomicU64,
    n_bytes: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Tally(Box<[Share]>);

impl Tally {
    pub(crate) fn new(n_workers: usize) -> Self {
        Self((0..n_workers).map(|_| Share::default()).collect())
    }

    /// Counts what this worker has seen. Nobody else writes there, so that nothing is locked.
    pub(crate) fn add(&self, worker: usize, seen: Traffic) {
        let Some(share) = self.0.get(worker) else { return };
        for (sum, n) in [(&share.n_packets, seen.n_packets), (&share.n_bytes, seen.n_bytes)] {
            sum.store(sum.load(Relaxed).wrapping_add(n), Relaxed);
        }
    }

    pub(crate) fn sum(&self) -> Traffic {
        let mut sum = Traffic::default();
        for share in &self.0 {
            sum += Traffic { n_packets: share.n_packets.load(Relaxed), n_bytes: share.n_bytes.load(Relaxed) };
        }
        sum
    }
}
