//! Runs a test with several seeds, and says how to run the failing one again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Name of the environment variable that picks one seed.
pub const VARIABLE: &str = "WEFT_SIM_SEED";

/// Calls `test` with `n` seeds, or with the one that [`VARIABLE`] names.
///
/// # Panics
/// As `test` does, after printing the seed and the command that replays it. If the variable is not a number.
pub fn for_each(n: u64, test: impl Fn(u64)) {
    let picked = std::env::var(VARIABLE).ok();
    let seeds = match &picked {
        Some(text) => {
            let seed: u64 = text.parse().unwrap_or_else(|_| panic!("{VARIABLE}={text} is not a number"));
            seed..seed + 1
        }
        None => 0..n,
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
