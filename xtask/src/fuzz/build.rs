//! Builds the targets with coverage.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo};

/// A target of its own, so that build scripts and procedural macros are not instrumented.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What cargo-fuzz gives the compiler, without a sanitizer: that needs a nightly toolchain, and the code has no unsafe.
const FLAGS: &[&str] = &[
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
];

/// Builds targets of the tree at `tree`; returns the folder of the binaries.
///
/// # Errors
/// When there is no C++ compiler, or the tree does not build.
pub fn build(tree: &Path, targets: &[String]) -> Result<PathBuf> {
    if !shell::has_program("c++") && !shell::has_program("g++") {
        bail!("libFuzzer is C++: install a compiler, on Debian `sudo apt-get install g++`");
    }
    let mut command = command(tree, &["build"]);
    command.args(targets.iter().flat_map(|target| ["--bin", target]));
    shell::run(&mut command)?;
    Ok(target_dir()?.join(TRIPLE).join("release"))
}

fn command(tree: &Path, words: &[&str]) -> Command {
    let mut command = cargo(words);
    command.args(["--release", "--locked", "--target", TRIPLE]).current_dir(tree.join("fuzz"));
    command.env("RUSTFLAGS", FLAGS.join(" "));
    // Also a copy of the tree builds where the tree does: what did not change is not built again.
    if let Ok(dir) = target_dir() {
        command.env("CARGO_TARGET_DIR", dir);
    }
    command
}

/// Where everything of the fuzz workspace is built.
///
/// # Errors
/// When the variable that says so is no path.
pub fn target_dir() -> Result<PathBuf> {
    let given = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let dir = given.unwrap_or_else(|| shell::root().join("fuzz/target"));
    std::path::absolute(dir).context("CARGO_TARGET_DIR is no path")
}
