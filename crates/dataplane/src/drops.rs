//! Why the dataplane itself drops frames.

use core::fmt;
use core::ops::{AddAssign, Index};

macro_rules! drops {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why the dataplane dropped a frame between engines and ports.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Drop { $($(#[$doc])* $name,)* }

        impl Drop {
            /// All reasons, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason as it appears in output.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

drops! {
    /// It has passed 64 engines: links form a loop.
    HopLimit = "hop-limit",
    /// The engine at the other end of a link has too many frames waiting.
    LinkFull = "link-full",
    /// The worker that owns the output port does not keep up.
    RingFull = "ring-full",
    /// The output port has a rate or queues, and the queue was full.
    QueueFull = "queue-full",
    /// The engine named a port that has just been removed.
    NoPort = "no-port",
    /// The output port's device has failed.
    PortFailed = "port-failed",
    /// The engine has just been removed.
    NoEngine = "no-engine",
}

impl fmt::Display for Drop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A counter for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; Drop::ALL.len()]);

impl Drops {
    /// Counts one frame.
    pub(crate) fn count(&mut self, reason: Drop) {
        self.count_n(reason, 1);
    }

    /// Counts frames as they would be on the wire.
    pub(crate) fn count_n(&mut self, reason: Drop, n: u64) {
        self.0[reason as usize] += n;
    }

    /// Every reason with its count, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (Drop, u64)> + '_ {
        Drop::ALL.iter().map(|reason| (*reason, self[*reason]))
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Index<Drop> for Drops {
    type Output = u64;

    fn index(&self, reason: Drop) -> &u64 {
        &self.0[reason as usize]
    }
}

impl AddAssign for Drops {
    fn add_assign(&mut self, rhs: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(rhs.0) {
            *mine += theirs;
        }
    }
}
