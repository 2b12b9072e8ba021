//! Connections and fragments, split so that workers rarely meet.
//!
//! A connection belongs to the shard of its inside endpoint, and the outside ports of a shard are its own, so that a
//! reply names the shard too. Fragments belong to the shard of (source, destination, identification). Each shard is
//! behind a lock that is held for one lookup: whichever worker a frame arrives at, it is translated the same way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conntrack::{Config, Endpoint, Keys, Quotas, Shard, Tracker};

use crate::Tuning;
use crate::flow::Ip;
use crate::fragment::Fragments;

#[derive(Debug)]
struct One {
    tracker: Mutex<Tracker>,
    fragments: Mutex<Fragments>,
}

#[derive(Debug)]
pub(crate) struct Shards {
    pub keys: Keys,
    /// Connections that it was made for.
    n_connections: u32,
    shards: Vec<One>,
    pub quotas: Arc<Quotas>,
}

/// Most shards; conntrack deals ports in blocks among at most this many.
const MAX_SHARDS: usize = 16;

fn share(n_connections: u32, n_shards: usize) -> u32 {
    (n_connections / n_shards as u32).max(1)
}

impl Shards {
    pub(crate) fn new(n_workers: usize, seed: [u64; 2], n_connections: u32) -> Self {
        let n = n_workers.clamp(1, MAX_SHARDS);
        let tuning = Tuning::default();
        let quotas = Arc::<Quotas>::default();
        let one = |index| {
            let config = Config {
                n_connections: share(n_connections, n),
                n_bindings: share(n_connections, n),
                seed,
                shard: Shard { index, count: n as u32 },
                timers: tuning.timers,
                tcp_loose: tuning.tcp_loose,
                tcp_window: tuning.tcp_window,
            };
            let tracker = Tracker::new(config, Arc::clone(&quotas));
            One { tracker: Mutex::new(tracker), fragments: Mutex::default() }
        };
        let shards = (0..n as u32).map(one).collect();
        Self { keys: Keys::new(seed), n_connections, shards, quotas }
    }

    /// How many connections each of them may have, of so many in all.
    pub(crate) fn share(&self, n_connections: Option<u32>) -> u32 {
        share(n_connections.unwrap_or(self.n_connections), self.shards.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    /// Shard `index`; of more workers than shards some have none.
    pub(crate) fn tracker(&self, index: usize) -> Option<MutexGuard<'_, Tracker>> {
        // A worker that panicked leaves records that are plain data, each call restoring its own invariants.
        self.shards.get(index).map(|s| s.tracker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn fragments(&self, index: usize) -> Option<MutexGuard<'_, Fragments>> {
        self.shards.get(index).map(|s| s.fragments.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The shard of an inside endpoint. Without ports the two sides have nothing but the first shard in common.
    pub(crate) fn of_inside(&self, zone: u16, inside: Endpoint) -> MutexGuard<'_, Tracker> {
        self.at(self.index_of_inside(zone, inside))
    }

    /// The shard of this index, which was computed here.
    pub(crate) fn at(&self, index: u32) -> MutexGuard<'_, Tracker> {
        self.tracker(index as usize).expect("the index is below the number of shards")
    }

    pub(crate) fn index_of_inside(&self, zone: u16, inside: Endpoint) -> u32 {
        match inside.port {
            0 => Shard::of_port(0, self.shards.len() as u32),
            _ => Tracker::shard_of_inside(&self.keys, zone, inside, self.shards.len() as u32),
        }
    }

    /// The shard of an outside port that is not set aside by the configuration.
    pub(crate) fn of_port(&self, port: u16) -> MutexGuard<'_, Tracker> {
        self.at(self.index_of_port(port))
    }

    pub(crate) fn index_of_port(&self, port: u16) -> u32 {
        Shard::of_port(port, self.shards.len() as u32)
    }

    /// The shard of the fragments of one packet.
    pub(crate) fn of_fragment(&self, ip: &Ip) -> MutexGuard<'_, Fragments> {
        let index = Tracker::shard_of_fragment(
            &self.keys,
            (ip.src, ip.dst),
            ip.identification,
            self.shards.len() as u32,
        );
        self.fragments(index as usize).expect("the index is below the number of shards")
    }
}
