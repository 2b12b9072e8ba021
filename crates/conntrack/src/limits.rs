//! How many connections one address may begin, and one zone (RFC 6888 REQ-4). Shared by all shards, so that the limits
//! are exact for any number of them.

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use packet::Instant;

/// Limits; zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections begun by one address at a time.
    pub per_source: u32,
    /// New connections of one address a second; as many at once.
    pub rate_per_source: u32,
    /// Connections begun by one address at a time that the other end has not answered yet.
    pub embryonic_per_source: u32,
    /// Connections begun in one zone at a time.
    pub per_zone: u32,
}

impl Limits {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A connection as far as limits concern it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Where it began.
    pub zone: u16,
    /// Who began it.
    pub source: IpAddr,
    /// The other end has not answered yet.
    pub is_embryonic: bool,
}

#[derive(Clone, Copy, Debug)]
struct Usage {
    n: u32,
    /// Of them, those that the other end has not answered yet.
    n_embryonic: u32,
    /// New ones since `since`.
    n_new: u32,
    since: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    limits: Limits,
    sources: BTreeMap<(u16, IpAddr), Usage>,
    zones: BTreeMap<u16, u32>,
    /// With so many sources, those without connections are swept out.
    next_sweep: usize,
}

/// Who has how many connections. Counts only while there are limits.
#[derive(Debug, Default)]
pub struct Quotas {
    /// There are limits.
    active: AtomicBool,
    inner: Mutex<Inner>,
}

/// Least number of sources that are swept.
const SWEEP: usize = 4096;
const SECOND: Duration = Duration::from_secs(1);

impl Quotas {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counters stay right whoever panics: each call changes them at its end.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the limits. `existing` are all connections there are.
    pub fn set_limits(&self, limits: Limits, existing: impl Iterator<Item = Begun>) {
        let mut inner = self.lock();
        *inner = Inner { limits, ..Inner::default() };
        self.active.store(!limits.is_none(), Ordering::Release);
        if limits.is_none() {
            return;
        }
        for Begun { zone, source, is_embryonic } in existing {
            *inner.zones.entry(zone).or_default() += 1;
            let fresh = Usage { n: 0, n_embryonic: 0, n_new: 0, since: Instant::ZERO };
            let usage = inner.sources.entry((zone, source)).or_insert(fresh);
            usage.n += 1;
            usage.n_embryonic += u32::from(is_embryonic);
        }
    }

    /// Whether one more may begin; counts it.
    pub(crate) fn admit(&self, now: Instant, zone: u16, source: IpAddr) -> bool {
        if !self.active.load(Ordering::Acquire) {
            return true;
        }
        let mut inner = self.lock();
        let Limits { per_source, rate_per_source, embryonic_per_source, per_zone } = inner.limits;
        let below = |n: u32, limit: u32| limit == 0 || n < limit;
        let fresh = Usage { n: 0, n_embryonic: 0, n_new: 0, since: now };
        let mut usage = inner.sources.get(&(zone, source)).copied().unwrap_or(fresh);
        if now >= usage.since + SECOND {
            (usage.n_new, usage.since) = (0, now);
        }
        let in_zone = inner.zones.get(&zone).copied().unwrap_or(0);
        let admitted = below(usage.n, per_source)
            && below(usage.n_new, rate_per_source)
            && below(usage.n_embryonic, embryonic_per_source)
            && below(in_zone, per_zone);
        if admitted {
            if inner.sources.len() >= inner.next_sweep {
                inner.sources.retain(|_, usage| usage.n > 0 || now < usage.since + SECOND);
                inner.next_sweep = (inner.sources.len() * 2).max(SWEEP);
            }
            (usage.n, usage.n_new) = (usage.n + 1, usage.n_new + 1);
            usage.n_embryonic += 1;
            inner.zones.insert(zone, in_zone + 1);
            inner.sources.insert((zone, source), usage);
        }
        admitted
    }

    /// The other end has answered one.
    pub(crate) fn answered(&self, zone: u16, source: IpAddr) {
        if self.active.load(Ordering::Acquire)
            && let Some(usage) = self.lock().sources.get_mut(&(zone, source))
        {
            usage.n_embryonic = usage.n_embryonic.saturating_sub(1);
        }
    }

    /// One has ended.
    pub(crate) fn release(&self, now: Instant, Begun { zone, source, is_embryonic }: Begun) {
        if !self.active.load(Ordering::Acquire) {
            return;
        }
        let mut inner = self.lock();
        if let Some(n) = inner.zones.get_mut(&zone) {
            *n = n.saturating_sub(1);
        }
        if let Some(usage) = inner.sources.get_mut(&(zone, source)) {
            usage.n = usage.n.saturating_sub(1);
            usage.n_embryonic = usage.n_embryonic.saturating_sub(u32::from(is_embryonic));
            // Its rate is forgotten only when it no longer matters.
            if usage.n == 0 && now >= usage.since + SECOND {
                inner.sources.remove(&(zone, source));
            }
        }
    }
}
