//! Runs a test with several seeds, and says how to run the failing one again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Name of the environment variable that picks one seed.
pub const VARIABLE: &str = "WEFT_SIM_SEED";

/// Name of the environment variable that says how many seeds each test runs, for a night.
pub const COUNT: &str = "WEFT_SIM_SEEDS";

/// Name of the environment variable that says with which seed those begin.
pub const FIRST: &str = "WEFT_SIM_FIRST";

/// Calls `test` with `n` seeds, or as many as [`COUNT`] says from [`FIRST`] on, or with the one that [`VARIABLE`] names.
///
/// # Panics
/// As `test` does, after printing the seed and the command that replays it. If a variable is not a number.
pub fn for_each(n: u64, test: impl Fn(u64)) {
    let seeds = match number(VARIABLE) {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number(FIRST).unwrap_or(0);
            first..first + number(COUNT).unwrap_or(n)
        }
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            eprintln!("seed {seed} failed; replay it with: {VARIABLE}={seed} cargo test -p sim {name}");
            resume_unwind(panic);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}
