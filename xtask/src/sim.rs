//! `cargo xtask sim`: crates/sim/tests/life.rs with many seeds, one of them again, or over planted bugs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::fuzz::planted::copy_tree;
use crate::shell;

/// Seeds within which a planted bug must be found.
const PATIENCE: u64 = 1000;

/// Which seeds.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names of planted bugs, with --planted; all of them if none is named.
    names: Vec<String>,
    /// How many seeds, from 0 on.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Only this seed: replays what failed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many processes share the seeds; as many as there are processors if not given.
    #[arg(long)]
    jobs: Option<u64>,
    /// Instead, apply each patch of crates/sim/planted to a copy of the tree and see that a seed finds it.
    #[arg(long)]
    planted: bool,
}

/// Runs the seeds, or hunts for the planted bugs.
///
/// # Errors
/// When a seed fails, or a planted bug is not found.
pub fn run(args: &Args) -> Result<()> {
    if args.planted {
        return hunt_all(&args.names);
    }
    let mut test = life();
    if let Some(seed) = args.seed {
        return shell::run(test.env("WEFT_SIM_SEED", seed.to_string()));
    }
    let processors = || std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let jobs = args.jobs.unwrap_or_else(processors).clamp(1, args.seeds.max(1));
    // Built once, before several run at the same time.
    shell::run(
        shell::cargo(&["test", "--profile", "sim", "-p", "sim", "--test", "life", "--no-run"])
            .env("TERM", "dumb"),
    )?;
    let share = args.seeds.div_ceil(jobs);
    let shares = (0..jobs).map(|job| (job * share, share.min(args.seeds.saturating_sub(job * share))));
    std::thread::scope(|scope| {
        let running: Vec<_> = shares
            .filter(|(_, n)| *n > 0)
            .map(|(first, n)| {
                scope.spawn(move || {
                    let mut test = life();
                    test.env("WEFT_SIM_FIRST", first.to_string()).env("WEFT_SIM_SEEDS", n.to_string());
                    shell::run(&mut test)
                })
            })
            .collect();
        let results = running.into_iter().map(|job| job.join().unwrap_or_else(|_| bail!("a job panicked")));
        results.collect::<Result<Vec<()>>>().map(drop)
    })?;
    println!("{} seeds, each a minute of a random network: all is as it is wanted", args.seeds);
    Ok(())
}

fn life() -> Command {
    shell::cargo(&["test", "--profile", "sim", "-q", "-p", "sim", "--test", "life", "--", "--nocapture"])
}

fn patches() -> Result<Vec<PathBuf>> {
    let dir = shell::root().join("crates/sim/planted");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "patch"));
    files.sort();
    Ok(files)
}

fn name_of(file: &std::path::Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn hunt_all(names: &[String]) -> Result<()> {
    let mut files = patches()?;
    files.retain(|file| names.is_empty() || names.contains(&name_of(file)));
    if files.is_empty() {
        bail!("no planted bug of these names: {}", names.join(", "));
    }
    let mut rows = Vec::new();
    for file in &files {
        println!("\n== {}", name_of(file));
        rows.push((name_of(file), hunt(file)?));
    }
    println!("\n{:<44} {:>8}", "planted", "seed");
    for (name, seed) in &rows {
        println!("{name:<44} {:>8}", seed.as_deref().unwrap_or("none"));
    }
    let n_missed = rows.iter().filter(|(_, seed)| seed.is_none()).count();
    if n_missed > 0 {
        bail!("{n_missed} of {} planted bugs were not found within {PATIENCE} seeds", rows.len());
    }
    Ok(())
}

/// The first seed that finds a bug.
fn hunt(patch: &std::path::Path) -> Result<Option<String>> {
    let grown = shell::root().join("build/sim");
    let tree = grown.join("tree");
    fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    copy_tree(&tree)?;
    let mut apply = shell::command("git", &["apply", &patch.to_string_lossy()]);
    // Inside a repository, git would take paths from its root.
    shell::run_quietly(apply.current_dir(&tree).env("GIT_CEILING_DIRECTORIES", &grown))?;
    let mut test = life();
    test.current_dir(&tree).env("CARGO_TARGET_DIR", grown.join("target"));
    test.env("WEFT_SIM_SEEDS", PATIENCE.to_string()).env("RUST_BACKTRACE", "0");
    let mut kept = Vec::new();
    let found = |line: &str| line.starts_with("seed ") && line.contains(" failed; ");
    match shell::run_keeping(&mut test, found, &mut kept) {
        Ok(()) => Ok(None),
        Err(error) => match kept.first() {
            Some(line) => Ok(line.split(' ').nth(1).map(str::to_owned)),
            // It does not even build.
            None => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_applies() {
        let patches = patches().expect("there are patches");
        assert!(patches.len() >= 10, "{} planted bugs", patches.len());
        for patch in patches {
            let mut check = shell::command("git", &["apply", "--check", &patch.to_string_lossy()]);
            shell::run_quietly(&mut check).unwrap_or_else(|e| panic!("{}: {e:#}", patch.display()));
        }
    }
}
