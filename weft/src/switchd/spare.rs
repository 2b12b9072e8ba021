//! Memory that much work left behind is given back when there is quiet again.

use core::time::Duration;

use packet::Instant;

/// Messages that are much work: what they leave is worth a few milliseconds.
const MUCH: usize = 4096;
/// How long there must be quiet.
const QUIET: Duration = Duration::from_secs(1);

/// Whether there is memory to give back.
#[derive(Debug, Default)]
pub struct Spare {
    n_messages: usize,
    /// As of when `due` was set.
    n_seen: usize,
    due: Option<Instant>,
}

impl Spare {
    /// A message came.
    pub fn note(&mut self, now: Instant) {
        self.n_messages += 1;
        if self.n_messages >= MUCH && self.due.is_none() {
            self.wait(now);
        }
    }

    fn wait(&mut self, now: Instant) {
        self.n_seen = self.n_messages;
        self.due = Some(now + QUIET);
    }

    /// When to [`look`](Self::look).
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The time has come: whether memory is to be given back now.
    pub fn look(&mut self, now: Instant) -> bool {
        let is_quiet = self.n_messages == self.n_seen;
        if is_quiet {
            *self = Self::default();
        } else {
            self.wait(now);
        }
        is_quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_much_work_and_a_quiet_second() {
        let (mut spare, mut now) = (Spare::default(), Instant::ZERO);
        (1..MUCH).for_each(|_| spare.note(now));
        assert_eq!(spare.due(), None);
        spare.note(now);
        assert_eq!(spare.due(), Some(now + QUIET));
        now = now + QUIET;
        spare.note(now);
        assert!(!spare.look(now), "something came meanwhile");
        assert_eq!(spare.due(), Some(now + QUIET));
        now = now + QUIET;
        assert!(spare.look(now));
        assert_eq!(spare.due(), None);
    }
}
