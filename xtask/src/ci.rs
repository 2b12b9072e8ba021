//! `cargo xtask ci`: everything, from a clean checkout on a machine with the Rust toolchain and apt.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;

use crate::check::{SYSTEM_TESTS, has_nextest, is_summary, stages_of_check};
use crate::metadata::Metadata;
use crate::shell::{self, Stages, cargo};
use crate::{debian, fuzz, python, vm_image};

/// How long each fuzz target runs.
const FUZZ_SECONDS: u64 = 30;

/// What a run from a clean checkout writes, in bytes.
const LEAST_FREE: u64 = 8_000_000_000;

/// How many certification cases of an edition must pass: all of action, set-field and match.
const CERTIFIED: [(&str, &str); 3] = [("of10", "192"), ("of13", "940"), ("of14", "952")];

/// What to leave out.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave out `check`: packages, image, release build and system tests only.
    #[arg(long)]
    no_check: bool,
    /// Run only the system tests whose name contains this.
    filter: Option<String>,
}

/// Runs every stage, prints the time of each, and closes with the test runners' own summaries.
pub fn run(args: &Args) -> Result<()> {
    let (mut stages, mut summaries) = (Stages::default(), Vec::new());
    let result = all_stages(args, &mut stages, &mut summaries);
    let finished = stages.finish();
    println!("\n== tests");
    summaries.iter().for_each(|line| println!("{line}"));
    result.and(finished)
}

fn all_stages(args: &Args, stages: &mut Stages, summaries: &mut Vec<String>) -> Result<()> {
    stages.run("room on the disk", || room_for(&Metadata::load()?.target_directory))?;
    stages.run("Debian packages", debian::install_missing)?;
    let env = test_environment()?;
    stages.run("VM image", vm_image::run)?;
    stages.run("Python packages", python::install)?;
    stages.run("release build", || {
        shell::run(&mut cargo(&["build", "--release", "--package", "weft", "--locked"]))
    })?;
    // From here on one failure does not hide the next.
    stages.keep_going = true;
    if !args.no_check {
        stages_of_check(stages, summaries, &env)?;
        stages.run("fuzz targets", || fuzz::run_briefly(FUZZ_SECONDS))?;
    }
    if args.filter.is_none() {
        stages.run("certification cases", || certification(summaries, &env))?;
    }
    stages.run("system tests", || system_tests(args, summaries, &env))
}

/// Refuses to begin what a full disk would end, with errors of the compiler that hide the reason.
fn room_for(target: &Path) -> Result<()> {
    let there = target.ancestors().find(|folder| folder.exists()).unwrap_or(target);
    let stats =
        statvfs(there).with_context(|| format!("cannot ask for the free space of {}", there.display()))?;
    let free = stats.blocks_available() * stats.fragment_size();
    println!("{:.1} GB free for {}", free as f64 / 1e9, target.display());
    // Nearly all of it may be there already, from an earlier run.
    if free < LEAST_FREE && !target.join("release/weft").exists() {
        bail!(
            "{} needs about {} GB, {:.1} GB are free: make room, or set CARGO_TARGET_DIR to a folder on another disk",
            target.display(),
            LEAST_FREE / 1_000_000_000,
            free as f64 / 1e9
        );
    }
    Ok(())
}

/// The certification cases that do not measure a rate, as root; see docs/conformance.md.
fn certification(summaries: &mut Vec<String>, env: &[(String, String)]) -> Result<()> {
    let xtask = std::env::current_exe().context("cannot tell where xtask is")?;
    for (edition, least) in CERTIFIED {
        let args = ["cert", "--edition", edition, "--no-rates", "--mend-tester", "--at-least", least];
        let mut cert = as_root(&xtask, &args);
        cert.envs(env.iter().map(|(name, value)| (name, value)));
        shell::run_keeping(&mut cert, |line| line.starts_with("of1"), summaries)?;
    }
    Ok(())
}

/// This program with other arguments, as root.
fn as_root(xtask: &Path, args: &[&str]) -> Command {
    let mut line: Vec<String> = debian::as_root().into_iter().flatten().map(ToString::to_string).collect();
    if !line.is_empty() {
        line.push("--preserve-env".to_owned());
    }
    line.push(path_text(xtask));
    line.extend(args.iter().map(ToString::to_string));
    let words: Vec<&str> = line[1..].iter().map(String::as_str).collect();
    shell::command(&line[0], &words)
}

/// What tests get: the release binary, and a runner that makes them root where we are not.
fn test_environment() -> Result<Vec<(String, String)>> {
    let binary = Metadata::load()?.target_directory.join("release/weft");
    let mut env = vec![("WEFT_BIN".to_owned(), path_text(&binary))];
    match debian::as_root() {
        Some([]) => {}
        Some(prefix) => {
            let runner = format!("{} --preserve-env", prefix.join(" "));
            env.push(("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER".to_owned(), runner));
        }
        None => {
            bail!("the system tests make network namespaces and devices: run this as root, or allow sudo")
        }
    }
    Ok(env)
}

/// One at a time: some of them measure, and two cores are all we count on.
fn system_tests(args: &Args, summaries: &mut Vec<String>, env: &[(String, String)]) -> Result<()> {
    let filter = args.filter.as_deref();
    let mut tests = if has_nextest() {
        let mut tests = cargo(&["nextest", "run", "--package", SYSTEM_TESTS, "--locked", "--no-fail-fast"]);
        tests.arg("--test-threads=1").args(filter);
        tests
    } else {
        let mut tests = cargo(&["test", "--package", SYSTEM_TESTS, "--locked", "--no-fail-fast"]);
        tests.args(["--lib", "--tests"]).args(filter).args(["--", "--test-threads=1"]);
        tests
    };
    tests.envs(env.iter().map(|(name, value)| (name, value)));
    shell::run_keeping(&mut tests, is_summary, summaries)
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
