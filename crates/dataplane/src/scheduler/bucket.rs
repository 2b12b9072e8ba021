//! Rates, kept by the generic cell rate algorithm (ITU-T I.371 appendix A): one number, the time at which everything that
//! was sent would have been sent at exactly the rate.

use packet::Instant;

/// Fixed point: ticks in a nanosecond, so that a bit at 100 Gbit/s still costs something.
const TICKS: u64 = 256;
/// What may be sent at once after a pause, in time at the rate: longer than a worker that wakes late has slept.
const BURST_NANOS: u64 = 10_000_000;
/// A burst holds at least this many bytes: two frames of full size.
const LEAST_BURST: u64 = 2 * 1514;

/// A rate that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Bit/s.
    rate: u64,
    burst: u64,
    /// In ticks.
    paid_until: u64,
}

impl Bucket {
    pub fn new(now: Instant, rate: u64) -> Self {
        let rate = rate.max(1);
        let least = cost(rate, LEAST_BURST);
        Self { rate, burst: (BURST_NANOS * TICKS).max(least), paid_until: ticks(now) }
    }

    /// Bytes that may be sent at once after a pause.
    pub fn burst_size(&self) -> u64 {
        (u128::from(self.burst) * u128::from(self.rate) / (8 * 1_000_000_000 * u128::from(TICKS))) as u64
    }

    /// From when on the next frame may be sent, whatever its size: what it exceeds the burst by is waited for afterwards.
    pub fn ready_at(&self) -> Instant {
        Instant::from_nanos(self.paid_until.saturating_sub(self.burst).div_ceil(TICKS))
    }

    pub fn is_ready(&self, now: Instant) -> bool {
        self.paid_until <= ticks(now) + self.burst
    }

    /// When what was sent is paid for: of two, the earlier is the one that is owed more.
    pub fn paid_until(&self) -> u64 {
        self.paid_until
    }

    pub fn take(&mut self, now: Instant, size: u64) {
        self.paid_until = self.paid_until.max(ticks(now)) + cost(self.rate, size);
    }
}

fn ticks(now: Instant) -> u64 {
    now.as_nanos().saturating_mul(TICKS)
}

/// Ticks that `size` bytes take at `rate` bit/s.
fn cost(rate: u64, size: u64) -> u64 {
    (u128::from(size) * 8 * 1_000_000_000 * u128::from(TICKS) / u128::from(rate)) as u64
}
