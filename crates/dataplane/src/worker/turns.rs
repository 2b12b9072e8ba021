//! Whose turn it is when there is more to do than time.
//!
//! A frame of a flow that its engine does not know costs several times what others cost, and whoever sends such frames
//! on purpose would take the worker from everybody else. So ports that bring them share a tenth of its time while other
//! ports have frames waiting, and have all of it while none has.

/// Time of ports with known flows to that of ports with unknown ones, where both wait.
const SHARE: u64 = 9;
/// A batch is costly in which at least one frame in so many is of an unknown flow.
const ONE_IN: usize = 4;

/// What costly ports have taken from others and not yet waited for.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Ticks that other ports have before the costly ones have their turn again.
    owed: u64,
    /// In this pass both kinds wait.
    contested: bool,
}

/// Whether a port whose last batch had so many frames, and so many of them unknown, is costly.
pub(super) fn is_costly(n: usize, n_unknown: usize) -> bool {
    n_unknown > 0 && n_unknown * ONE_IN >= n
}

impl Turns {
    /// A pass begins. Answers whether costly ports sit it out.
    pub fn begin(&mut self, contested: bool) -> bool {
        self.contested = contested;
        contested && self.owed > 0
    }

    /// The time of batches counts in this pass.
    pub fn counts(&self) -> bool {
        self.contested
    }

    /// A batch took so many ticks.
    pub fn note(&mut self, costly: bool, ticks: u64) {
        if costly {
            self.owed += SHARE * ticks;
        } else {
            self.owed = self.owed.saturating_sub(ticks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks that each of two kinds of ports had: batches of known flows take 10, others 60.
    fn share(passes: usize, n_costly: usize) -> (u64, u64) {
        let (mut turns, mut known, mut unknown) = (Turns::default(), 0, 0);
        for _ in 0..passes {
            let sits_out = turns.begin(true);
            turns.note(false, 10);
            known += 10;
            for _ in 0..if sits_out { 0 } else { n_costly } {
                turns.note(true, 60);
                unknown += 60;
            }
        }
        (known, unknown)
    }

    #[test]
    fn costly_ports_share_a_tenth_however_many_there_are() {
        for n_costly in [1, 3, 20] {
            let (known, unknown) = share(100_000, n_costly);
            let part = unknown as f64 / (known + unknown) as f64;
            assert!((part - 0.1).abs() < 0.01, "{n_costly} costly ports had {part} of the time");
        }
    }

    #[test]
    fn alone_they_have_it_all() {
        let mut turns = Turns::default();
        turns.begin(true);
        turns.note(true, 1_000);
        assert!(turns.begin(true), "others wait");
        assert!(!turns.begin(false) && !turns.counts(), "nobody else waits");
    }

    #[test]
    fn a_few_new_flows_make_no_port_costly() {
        assert!(!is_costly(32, 0) && !is_costly(32, 7) && !is_costly(0, 0));
        assert!(is_costly(32, 8) && is_costly(1, 1));
    }
}
