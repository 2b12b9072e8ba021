//! The clock that workers, owners and timers share.
#![expect(clippy::disallowed_methods, reason = "this is where the time that cores are handed comes from")]

use packet::Instant;

/// A monotonic clock; copies tell the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// The time. One second has passed at the origin, so that "a second ago" can always be said.
    pub fn now(&self) -> Instant {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(nanos.saturating_add(1_000_000_000))
    }

    /// The same moment for the standard library and for async timers.
    pub fn to_std(&self, at: Instant) -> std::time::Instant {
        self.origin + at.saturating_since(Instant::from_secs(1))
    }
}
