//! The clock of probes and waits. A lab is a shell: it watches real time.

use std::time::{Duration, Instant};

/// Now.
#[expect(clippy::disallowed_methods, reason = "a lab is a shell: it watches real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// A moment that must not be passed.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// That far from now.
    pub fn after(wait: Duration) -> Self {
        Self(now() + wait)
    }

    /// What is left; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// The earlier of this and that far from now.
    pub fn at_most(self, wait: Duration) -> Self {
        Self(self.0.min(now() + wait))
    }
}
