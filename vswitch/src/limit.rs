//! How many packets go to the controller: a rate for each reason, so that a flood of one kind leaves room for the others,
//! and half of it shared out to the ports, so that one that floods leaves room for the others.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use openflow::PacketInReason;
use packet::Instant;

/// Reasons there are.
const N_REASONS: usize = PacketInReason::ALL.len();

/// Most packets a second for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Packets a second; at least one.
    pub rate: u32,
    /// Packets at once after a pause; at least one.
    pub burst: u32,
}

/// The rates at which packets go to the controller, by reason. Where there is none, all do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketInRates([Option<RateLimit>; N_REASONS]);

impl PacketInRates {
    /// The same rate for each reason.
    pub const fn all(limit: Option<RateLimit>) -> Self {
        Self([limit; N_REASONS])
    }

    /// The same but for one reason.
    #[must_use]
    pub const fn with(mut self, reason: PacketInReason, limit: Option<RateLimit>) -> Self {
        self.0[reason.number() as usize] = limit;
        self
    }

    /// What holds for a reason.
    pub const fn get(&self, reason: PacketInReason) -> Option<RateLimit> {
        self.0[reason.number() as usize]
    }
}

/// When what was taken would have been sent at exactly the rate (ITU-T I.371 appendix A), for each reason, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Taken([AtomicU64; N_REASONS]);

impl Taken {
    /// Takes one packet of `rate` a second, if that leaves at most `burst` owed.
    fn take(&self, now: Instant, reason: PacketInReason, rate: f64, burst: f64) -> bool {
        let cost = 1e9 / rate;
        let (now, cost, room) = (now.as_nanos(), cost as u64, (cost * burst.max(1.0)) as u64);
        let next = |until: u64| {
            let next = until.max(now) + cost;
            (next <= now + room).then_some(next)
        };
        self.0[usize::from(reason.number())].try_update(Relaxed, Relaxed, next).is_ok()
    }
}

/// The limits at work. All workers share what is taken.
#[derive(Debug, Default)]
pub(crate) struct PacketInLimit {
    rates: PacketInRates,
    /// The half that whoever comes first may have.
    shared: Taken,
}

impl PacketInLimit {
    pub(crate) fn new(rates: PacketInRates) -> Self {
        Self { rates, shared: Taken::default() }
    }

    /// Whether one more packet may go. `own` is what the port it came by has taken of the half that is shared out to
    /// `n_ports`; none where it came by no port.
    pub(crate) fn admits(&self, now: Instant, reason: PacketInReason, own: Option<(&Taken, usize)>) -> bool {
        let Some(limit) = self.rates.get(reason) else { return true };
        let (rate, burst) = (f64::from(limit.rate.max(1)), f64::from(limit.burst));
        let share = |parts: f64| (rate / parts, burst / parts);
        let of_its_own = own.is_some_and(|(taken, n_ports)| {
            let (rate, burst) = share(2.0 * n_ports.max(1) as f64);
            taken.take(now, reason, rate, burst)
        });
        let (rate, burst) = share(2.0);
        of_its_own || self.shared.take(now, reason, rate, burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISS: PacketInReason = PacketInReason::NoMatch;

    /// Packets of each port that pass in ten seconds, offered at these rates.
    fn passed(limit: &PacketInLimit, offered: &[u64]) -> Vec<u64> {
        let own: Vec<Taken> = offered.iter().map(|_| Taken::default()).collect();
        let mut passed = vec![0; offered.len()];
        for milli in 10_000..20_000u64 {
            for (port, rate) in offered.iter().enumerate() {
                let n = rate * (milli + 1) / 1000 - rate * milli / 1000;
                let own = Some((&own[port], offered.len()));
                passed[port] +=
                    (0..n).filter(|_| limit.admits(Instant::from_millis(milli), MISS, own)).count() as u64;
            }
        }
        passed
    }

    fn limit(rate: u32, burst: u32) -> PacketInLimit {
        PacketInLimit::new(PacketInRates::all(Some(RateLimit { rate, burst })))
    }

    #[test]
    fn a_flood_gets_the_rate_and_no_more() {
        let got = passed(&limit(1000, 100), &[100_000])[0];
        assert!((9_900..=10_200).contains(&got), "{got}");
        assert_eq!(passed(&limit(1000, 100), &[900])[0], 9_000, "below it all pass");
        assert_eq!(passed(&PacketInLimit::default(), &[100_000])[0], 1_000_000, "without one, too");
    }

    #[test]
    fn a_port_that_floods_leaves_the_others_their_share() {
        // The half that is shared out is 125 for each of four ports.
        let got = passed(&limit(1000, 100), &[100_000, 100, 120, 3]);
        assert_eq!(got[1..], [1_000, 1_200, 30]);
        assert!((6_200..=6_500).contains(&got[0]), "{got:?}");
    }

    #[test]
    fn reasons_do_not_share() {
        let limit = limit(10, 2);
        let now = Instant::from_secs(1);
        let count = |reason| (0..100).filter(|_| limit.admits(now, reason, None)).count();
        assert_eq!((count(MISS), count(PacketInReason::Action)), (1, 1), "half of the burst each");
        let only_misses = PacketInRates::default().with(MISS, Some(RateLimit { rate: 10, burst: 2 }));
        let limit = PacketInLimit::new(only_misses);
        let n = (0..100).filter(|_| limit.admits(now, PacketInReason::Group, None)).count();
        assert_eq!(n, 100);
    }
}
