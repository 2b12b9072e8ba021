//! How long a worker looks for frames before it sleeps.
//!
//! To fall asleep and be woken costs several microseconds, on a virtual machine tens of them: more than many gaps between
//! a request and its answer. A worker whose last sleeps were that short looks again for as long before it sleeps; one
//! whose sleeps are long, that is any idle one, does not look at all. What Linux does for guests (`haltpoll`), so no
//! setting is needed.

use std::time::Duration;

/// A sleep no longer than this would better have been spent looking.
const MOST: Duration = Duration::from_micros(60);
/// Where looking begins.
const FIRST: Duration = Duration::from_micros(15);

/// Learns from sleeps how long to look.
#[derive(Debug, Default)]
pub(super) struct Patience {
    window: Duration,
}

impl Patience {
    /// How long to look before the next sleep; zero for not at all.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// The worker looked in vain, slept, and was woken so long after it had nothing left to do.
    pub fn slept(&mut self, waited: Duration) {
        self.window = if waited <= 2 * MOST {
            (2 * self.window).clamp(FIRST, MOST)
        } else if self.window > FIRST {
            self.window / 2
        } else {
            Duration::ZERO
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sleeps_lead_to_looking_and_long_ones_end_it() {
        let mut patience = Patience::default();
        assert_eq!(patience.window(), Duration::ZERO, "an idle worker sleeps at once");
        for _ in 0..10 {
            patience.slept(Duration::from_micros(40));
        }
        assert_eq!(patience.window(), MOST, "bounded");
        let mut n = 0;
        while patience.window() > Duration::ZERO {
            patience.slept(Duration::from_millis(1));
            n += 1;
        }
        assert!(n <= 4, "{n} sleeps until it no longer looks");
        patience.slept(Duration::from_secs(1));
        assert_eq!(patience.window(), Duration::ZERO);
    }
}
