//! `cargo xtask check`: what must hold before a change lands.

use anyhow::Result;

use crate::shell::{self, Stages, cargo};
use crate::tidy;

/// The crate of the black box tests: `ci` runs it, `check` only compiles it.
pub const SYSTEM_TESTS: &str = "system-tests";

/// Runs every stage and stops at the first that fails.
pub fn run() -> Result<()> {
    let (mut stages, mut summaries) = (Stages::default(), Vec::new());
    let result = stages_of_check(&mut stages, &mut summaries, &[]);
    let finished = stages.finish();
    summaries.iter().for_each(|line| println!("{line}"));
    result.and(finished)
}

/// The stages of `check`, for `check` and `ci`. `env` goes to the test processes; the lines in which the test
/// runners sum up are added to `summaries`.
pub fn stages_of_check(
    stages: &mut Stages,
    summaries: &mut Vec<String>,
    env: &[(String, String)],
) -> Result<()> {
    stages.run("format", || shell::run(&mut cargo(&["fmt", "--all", "--check"])))?;
    stages.run("tidy", tidy::run)?;
    stages.run("clippy", || {
        let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        shell::run(&mut cargo(&args))
    })?;
    stages.run("unit tests", || unit_tests(summaries, env))?;
    stages.run("documentation", || {
        let args = ["doc", "--workspace", "--no-deps", "--locked"];
        shell::run(cargo(&args).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    stages.run("fuzz targets compile, seeds pass", || fuzz_seeds(summaries))
}

/// The fuzz crate is a workspace of its own, so that its lock file does not bind ours. Without its default feature it
/// needs no C++ compiler.
fn fuzz_seeds(summaries: &mut Vec<String>) -> Result<()> {
    let dir = shell::root().join("fuzz");
    let flags = ["--locked", "--no-default-features"];
    let mut check = cargo(&["check", "--bins", "--examples"]);
    shell::run(check.args(flags).current_dir(&dir))?;
    let mut tests = cargo(&["test", "--lib"]);
    shell::run_keeping(tests.args(flags).current_dir(&dir), is_summary, summaries)
}

fn unit_tests(summaries: &mut Vec<String>, env: &[(String, String)]) -> Result<()> {
    let scope = ["--workspace", "--exclude", SYSTEM_TESTS, "--locked"];
    let pairs = env.iter().map(|(name, value)| (name, value));
    if !has_nextest() {
        let mut tests = cargo(&[&["test"][..], &scope].concat());
        return shell::run_keeping(tests.envs(pairs), is_summary, summaries);
    }
    let mut tests = cargo(&[&["nextest", "run", "--no-tests=pass", "--no-fail-fast"][..], &scope].concat());
    shell::run_keeping(tests.envs(pairs.clone()), is_summary, summaries)?;
    let mut doc_tests = cargo(&[&["test", "--doc"][..], &scope].concat());
    shell::run_keeping(doc_tests.envs(pairs), is_summary, summaries)
}

/// Whether cargo-nextest can be used.
pub fn has_nextest() -> bool {
    let answer = cargo(&["nextest", "--version"]).output();
    answer.is_ok_and(|output| output.status.success())
}

/// Whether `line` is the one in which a test runner sums up: nextest's `Summary`, libtest's `test result:` unless
/// it ran nothing.
pub fn is_summary(line: &str) -> bool {
    let line = line.trim_start();
    let ran_nothing = line.contains(" 0 passed; 0 failed") || line.contains(" 0 tests run");
    (line.starts_with("Summary [") || line.starts_with("test result:")) && !ran_nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_both_runners_are_known() {
        assert!(is_summary("     Summary [   0.005s] 2 tests run: 2 passed, 0 skipped"));
        assert!(is_summary("test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"));
        assert!(!is_summary("test result: ok. 0 passed; 0 failed; 0 ignored"));
        assert!(!is_summary("test harness::x ... ok"));
    }
}
