//! What the stages of frames cost, and how busy workers are.
//!
//! Not every round is timed: one in [`EVERY`], and where rounds are rare one in [`AT_LEAST`] of time, so that looking at
//! the clock costs well below a nanosecond a frame under load. All counters are in memory that only their worker writes;
//! whoever asks gets a copy.

use core::ops::AddAssign;
use core::time::Duration;

use netio::clock::ticks;
use packet::Instant;

use crate::{Drops, EngineId};

/// Rounds of which one is timed.
const EVERY: u32 = 128;
/// Time after which a round is timed in any case.
const AT_LEAST: Duration = Duration::from_millis(10);

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A stage of the path of a frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Stage { $($(#[$doc])* $name,)* }

        impl Stage {
            /// All stages, in the order in which frames pass them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stage as it appears in output.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

stages! {
    /// Taking frames from the device.
    Rx = "rx",
    /// A switch reads what they are.
    Extract = "extract",
    /// A switch asks its cache.
    Cache = "cache",
    /// A switch walks its tables, for frames that the cache did not know.
    Pipeline = "pipeline",
    /// A switch carries out actions.
    Actions = "actions",
    /// All that another engine does with frames.
    Forward = "forward",
    /// Handing frames to devices, to other engines and to other workers.
    Tx = "tx",
}

impl From<vswitch::Stage> for Stage {
    fn from(stage: vswitch::Stage) -> Self {
        match stage {
            vswitch::Stage::Extract => Self::Extract,
            vswitch::Stage::Cache => Self::Cache,
            vswitch::Stage::Pipeline => Self::Pipeline,
            vswitch::Stage::Actions => Self::Actions,
        }
    }
}

const N: usize = Stage::ALL.len();

/// What the stages of one engine cost, in the rounds that were timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageCounters([StageCount; N]);

/// One stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageCount {
    /// Frames that passed it.
    pub frames: u64,
    /// Ticks of the processor's clock that it took: see [`WorkerStats::ticks_per_second`].
    pub ticks: u64,
}

impl StageCounters {
    /// Every stage, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, StageCount)> + '_ {
        Stage::ALL.iter().map(|stage| (*stage, self.0[*stage as usize]))
    }

    fn add(&mut self, stage: Stage, n: usize, ticks: u64) {
        let count = &mut self.0[stage as usize];
        count.frames += n as u64;
        count.ticks += ticks;
    }
}

impl AddAssign for StageCounters {
    fn add_assign(&mut self, rhs: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(rhs.0) {
            mine.frames += theirs.frames;
            mine.ticks += theirs.ticks;
        }
    }
}

/// Runs while a batch passes one stage after the other.
#[derive(Debug)]
pub struct StageWatch<'a> {
    counters: &'a mut StageCounters,
    since: u64,
}

impl<'a> StageWatch<'a> {
    /// A stage begins now.
    pub(crate) fn start(counters: &'a mut StageCounters) -> Self {
        Self { counters, since: ticks() }
    }

    /// A stage began at `since`.
    pub(crate) fn since(counters: &'a mut StageCounters, since: u64) -> Self {
        Self { counters, since }
    }

    /// A stage is over that worked on `n` frames; the next begins.
    pub fn lap(&mut self, stage: Stage, n: usize) {
        let now = ticks();
        self.counters.add(stage, n, now.saturating_sub(self.since));
        self.since = now;
    }
}

/// What a worker has to say of itself.
#[derive(Clone, Debug, Default)]
pub struct WorkerStats {
    /// Which.
    pub worker: usize,
    /// Time since it started.
    pub uptime: Duration,
    /// Processor time it took.
    pub cpu: Duration,
    /// Processor time of it that went into looking for frames when there were none.
    pub spun: Duration,
    /// Ticks of a stage in a second.
    pub ticks_per_second: u64,
    /// What it dropped between engines and ports.
    pub drops: Drops,
    /// What the stages of each engine cost on it.
    pub stages: Vec<(EngineId, StageCounters)>,
}

/// Which rounds are timed, and how long the worker has been at it.
#[derive(Debug)]
pub(crate) struct Timing {
    born: (Instant, u64),
    left: u32,
    due: Instant,
    /// This round is timed.
    pub on: bool,
    /// Ticks of rounds that found nothing though they did not sleep.
    pub spun: u64,
}

impl Timing {
    pub fn new(now: Instant) -> Self {
        Self { born: (now, ticks()), left: EVERY, due: now, on: false, spun: 0 }
    }

    /// A round begins.
    #[inline]
    pub fn begin(&mut self, now: Instant) {
        self.left -= 1;
        self.on = self.left == 0 || now >= self.due;
        if self.left == 0 {
            self.left = EVERY;
        }
    }

    /// Frames were timed: it need not be done again for a while. Rounds without frames do not count.
    pub fn used(&mut self, now: Instant) {
        self.due = now + AT_LEAST;
    }

    /// The clock, in a round that is timed.
    #[inline]
    pub fn ticks(&self) -> Option<u64> {
        self.on.then(ticks)
    }

    /// What is known without the worker's engines.
    pub fn stats(&self, worker: usize, now: Instant) -> WorkerStats {
        let uptime = now.saturating_since(self.born.0);
        let elapsed = u128::from(ticks().saturating_sub(self.born.1)).max(1);
        let per_second = elapsed * 1_000_000_000 / uptime.as_nanos().max(1);
        let spun = uptime.as_nanos() * u128::from(self.spun) / elapsed;
        let cpu = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID);
        WorkerStats {
            worker,
            uptime,
            cpu: cpu.map_or(Duration::ZERO, Duration::from),
            spun: Duration::from_nanos(u64::try_from(spun).unwrap_or(u64::MAX)),
            ticks_per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
            ..WorkerStats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_load_one_round_in_many_is_timed_and_a_rare_one_always() {
        let start = Instant::from_secs(1);
        let mut timing = Timing::new(start);
        let timed = |timing: &mut Timing, step: Duration, n: u32| {
            let mut now = start + Duration::from_secs(1);
            let mut count = 0;
            for _ in 0..n {
                now = now + step;
                timing.begin(now);
                if timing.on {
                    timing.used(now);
                }
                count += u32::from(timing.on);
            }
            count
        };
        assert_eq!(timed(&mut timing, Duration::from_nanos(100), EVERY * 10), 10 + 1);
        let mut timing = Timing::new(start);
        assert_eq!(timed(&mut timing, AT_LEAST, 10), 10);
    }

    #[test]
    fn laps_add_up() {
        let mut counters = StageCounters::default();
        let mut watch = StageWatch::start(&mut counters);
        watch.lap(Stage::Rx, 3);
        watch.lap(Stage::Tx, 2);
        watch.lap(Stage::Rx, 1);
        let frames: Vec<u64> = counters.iter().map(|(_, count)| count.frames).collect();
        assert_eq!(frames, [4, 0, 0, 0, 0, 0, 2]);
        let mut sum = counters;
        sum += counters;
        assert_eq!(sum.iter().map(|(_, c)| c.frames).sum::<u64>(), 12);
    }
}
