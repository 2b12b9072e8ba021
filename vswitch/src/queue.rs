//! Queues of ports as they are configured (§7.2.2): who may send how fast. What keeps to it is the shell's.

use openflow::QueueId;
use thiserror::Error;

/// Most queues of a port.
pub const MAX_QUEUES: usize = 64;
/// Rates of ports and queues lie between these, in bit/s.
pub const RATES: core::ops::RangeInclusive<u64> = 8_000..=1_000_000_000_000;
/// Highest number of a queue; what has a higher one cannot be configured.
pub const MAX_ID: u16 = u16::MAX - 1;
/// Weights of queues lie between these.
pub const WEIGHTS: core::ops::RangeInclusive<u16> = 1..=1000;

/// How frames leave a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortQueues {
    /// Most bit/s that leave the port, Ethernet headers included, preamble and FCS not; `None` for as fast as it goes.
    pub rate: Option<u64>,
    /// Its queues. What names none of them waits in queue 0, which every port with a rate or queues has.
    pub queues: Vec<QueueSpec>,
}

/// A queue of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// What `set_queue` calls it.
    pub id: u16,
    /// Bit/s it gets whatever the other queues want; `None` for no guarantee.
    pub min: Option<u64>,
    /// Most bit/s; `None` for as much as there is.
    pub max: Option<u64>,
    /// Its share of what the guarantees leave, beside the weights of the other queues that want some.
    pub weight: u16,
}

impl QueueSpec {
    /// A queue without rates.
    pub const fn new(id: u16) -> Self {
        Self { id, min: None, max: None, weight: 1 }
    }
}

/// Why a port cannot have these queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    /// More than [`MAX_QUEUES`].
    #[error("{0} queues: a port has at most {MAX_QUEUES}")]
    TooMany(usize),
    /// Above [`MAX_ID`].
    #[error("queue {0}: the highest possible number is {MAX_ID}")]
    Number(u16),
    /// A number twice.
    #[error("queue {0} is there twice")]
    Twice(u16),
    /// Outside of [`RATES`].
    #[error("a rate of {0} bit/s: 8 kbit/s to 1 Tbit/s are possible")]
    Rate(u64),
    /// Outside of [`WEIGHTS`].
    #[error("queue {0} has weight {1}: 1 to 1000 are possible")]
    Weight(u16, u16),
    /// Its guarantee exceeds its limit.
    #[error("queue {0} is guaranteed more than its highest rate")]
    MinAboveMax(u16),
    /// There are guarantees, and no rate to take them from.
    #[error(
        "queue {0} is guaranteed a rate (min), which must be a part of the port's: the port needs a rate, too"
    )]
    NoRate(u16),
    /// The guarantees exceed what the port sends.
    #[error("the queues are guaranteed {guaranteed} bit/s, the port sends only {rate} bit/s")]
    Overbooked {
        /// All guarantees together.
        guaranteed: u64,
        /// Of the port.
        rate: u64,
    },
}

impl PortQueues {
    /// Frames leave as they come.
    pub fn is_none(&self) -> bool {
        self.rate.is_none() && self.queues.is_empty()
    }

    /// Whether it can be kept.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self) -> Result<(), QueueError> {
        if self.queues.len() > MAX_QUEUES {
            return Err(QueueError::TooMany(self.queues.len()));
        }
        let rates = self.queues.iter().flat_map(|q| [q.min, q.max]).chain([self.rate]).flatten();
        if let Some(rate) = rates.into_iter().find(|rate| !RATES.contains(rate)) {
            return Err(QueueError::Rate(rate));
        }
        for (at, queue) in self.queues.iter().enumerate() {
            if self.queues[..at].iter().any(|other| other.id == queue.id) {
                return Err(QueueError::Twice(queue.id));
            }
            if queue.id > MAX_ID {
                return Err(QueueError::Number(queue.id));
            }
            if !WEIGHTS.contains(&queue.weight) {
                return Err(QueueError::Weight(queue.id, queue.weight));
            }
            if queue.min.zip(queue.max).is_some_and(|(min, max)| min > max) {
                return Err(QueueError::MinAboveMax(queue.id));
            }
        }
        let guaranteed = self.queues.iter().filter_map(|queue| queue.min).sum();
        let first = self.queues.iter().find(|queue| queue.min.is_some());
        match (self.rate, first) {
            (None, Some(queue)) => Err(QueueError::NoRate(queue.id)),
            (Some(rate), _) if guaranteed > rate => Err(QueueError::Overbooked { guaranteed, rate }),
            _ => Ok(()),
        }
    }
}

/// What frames carry for a queue of `set_queue`; those that cannot be configured are all the same.
pub(crate) fn number(queue: QueueId) -> u16 {
    u16::try_from(queue.0).unwrap_or(u16::MAX)
}

/// A rate in tenths of a percent of what the port sends, as OpenFlow says it (ofp_queue_prop_min_rate).
pub(crate) fn per_mille(rate: u64, of: u64) -> u16 {
    let of = u128::from(of.max(1));
    // At least one: zero would say that there is no guarantee, or that nothing may leave.
    ((u128::from(rate) * 1000 + of / 2) / of).clamp(1, 1000) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let queue = |id, min, max| QueueSpec { min, max, ..QueueSpec::new(id) };
        let port = |rate, queues: &[QueueSpec]| PortQueues { rate, queues: queues.to_vec() }.check();
        let m = 1_000_000;
        assert_eq!(
            port(Some(20 * m), &[queue(0, Some(m), None), queue(1, Some(19 * m), Some(20 * m))]),
            Ok(())
        );
        assert_eq!(port(None, &[queue(1, None, Some(m))]), Ok(()));
        assert_eq!(port(None, &[queue(1, Some(m), None)]), Err(QueueError::NoRate(1)));
        assert_eq!(port(Some(m), &[queue(1, Some(m), Some(m - 1))]), Err(QueueError::MinAboveMax(1)));
        let both = [queue(1, Some(m), None), queue(2, Some(1_000_000), None)];
        assert_eq!(port(Some(m), &both), Err(QueueError::Overbooked { guaranteed: 2 * m, rate: m }));
        assert_eq!(port(None, &[queue(1, None, None), queue(1, None, None)]), Err(QueueError::Twice(1)));
        assert_eq!(port(Some(7_999), &[]), Err(QueueError::Rate(7_999)));
        assert_eq!(
            port(None, &[QueueSpec { weight: 0, ..QueueSpec::new(3) }]),
            Err(QueueError::Weight(3, 0))
        );
        let many: Vec<_> = (0..65).map(QueueSpec::new).collect();
        assert_eq!(port(None, &many), Err(QueueError::TooMany(65)));
    }

    #[test]
    fn rates_are_told_in_tenths_of_a_percent() {
        assert_eq!(per_mille(5_000_000, 20_000_000), 250);
        assert_eq!(per_mille(1, 20_000_000), 1);
        assert_eq!(per_mille(40_000_000, 20_000_000), 1000);
    }
}
