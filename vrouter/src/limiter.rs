//! How often something may be done, such as an ICMP error be sent (RFC 1812 §4.3.2.8): token buckets.

use std::sync::{Mutex, PoisonError};

use packet::Instant;

use crate::Police;

#[derive(Debug)]
pub(crate) struct Limiter {
    /// Nanoseconds' worth of tokens.
    credit: u64,
    last: Instant,
}

impl Limiter {
    pub(crate) fn new() -> Self {
        Self { credit: u64::MAX, last: Instant::ZERO }
    }

    /// Whether one more may go now, at `rate` a second and `burst` at once.
    pub(crate) fn admit(&mut self, now: Instant, rate: u32, burst: u32) -> bool {
        let Some(cost) = 1_000_000_000u64.checked_div(u64::from(rate)) else { return false };
        let passed = u64::try_from(now.saturating_since(self.last).as_nanos()).unwrap_or(u64::MAX);
        self.last = self.last.max(now);
        self.credit = self.credit.saturating_add(passed).min(cost.saturating_mul(u64::from(burst)));
        let admitted = self.credit >= cost;
        if admitted {
            self.credit -= cost;
        }
        admitted
    }
}

/// What one worker does for itself and its services on behalf of one interface's hosts, so that those of other interfaces
/// are served whatever it is flooded with.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Packets for services.
    pub services: Limiter,
    /// ARP and neighbour discovery.
    pub neighbours: Limiter,
    /// Frames for the interface's shadow.
    pub shadow: Limiter,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { services: Limiter::new(), neighbours: Limiter::new(), shadow: Limiter::new() }
    }
}

/// Bytes of one interface, over all workers.
#[derive(Debug)]
pub(crate) struct Policer {
    police: Police,
    /// Bits times nanoseconds, and when they were counted.
    state: Mutex<(u128, Instant)>,
}

impl Policer {
    pub(crate) fn new(police: Police) -> Self {
        Self { police, state: Mutex::new((u128::MAX, Instant::ZERO)) }
    }

    /// Whether `len` bytes more conform.
    pub(crate) fn admit(&self, now: Instant, len: usize) -> bool {
        const NANOS: u128 = 1_000_000_000;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (credit, last) = *state;
        let passed = now.saturating_since(last).as_nanos();
        let most = u128::from(self.police.burst) * 8 * NANOS;
        let credit = credit.saturating_add(passed.saturating_mul(self.police.rate.into())).min(most);
        let left = credit.checked_sub(len as u128 * 8 * NANOS);
        *state = (left.unwrap_or(credit), last.max(now));
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate() {
        let mut limiter = Limiter::new();
        let now = Instant::from_secs(5);
        assert_eq!((0..100).filter(|_| limiter.admit(now, 10, 7)).count(), 7);
        let later = Instant::from_millis(5301);
        assert_eq!((0..100).filter(|_| limiter.admit(later, 10, 7)).count(), 3);
        assert!(!limiter.admit(Instant::from_secs(9), 0, 7), "a rate of zero sends none");
    }
}
