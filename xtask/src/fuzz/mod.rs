//! `cargo xtask fuzz`: builds the fuzz targets with coverage, runs them, and says what they found. It needs crates and a
//! C++ compiler, no cargo-fuzz and no nightly toolchain.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

mod build;
pub(crate) mod planted;
mod run;

/// Which targets, and for how long.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Targets to run; all of them if none is named. With --planted, names of planted bugs.
    names: Vec<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Targets that run at the same time; as many as there are processors if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Instead, apply each patch of fuzz/planted to a copy of the tree and see that the target it names finds it.
    #[arg(long)]
    planted: bool,
}

/// Runs the targets, or the planted bugs.
///
/// # Errors
/// When a target found something, or did not find what was planted.
pub fn run(args: &Args) -> Result<()> {
    if args.planted {
        return planted::run(&args.names);
    }
    let targets = chosen(&args.names)?;
    let binaries = build::build(shell::root(), &targets)?;
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    run::run_all(&targets, &binaries, args.seconds, jobs)
}

/// For `ci`: every target for a while.
///
/// # Errors
/// As [`run()`].
pub fn run_briefly(seconds: u64) -> Result<()> {
    run(&Args { names: Vec::new(), seconds, jobs: None, planted: false })
}

/// Where the grown corpus, the findings and the logs are: ignored by git.
fn grown() -> PathBuf {
    shell::root().join("build/fuzz")
}

/// Every target: a file of fuzz/fuzz_targets each.
fn all_targets() -> Result<Vec<String>> {
    let dir = shell::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let stem = |path: &Path| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = entries.filter_map(|entry| stem(&entry.ok()?.path())).collect();
    names.sort();
    Ok(names)
}

fn chosen(names: &[String]) -> Result<Vec<String>> {
    let all = all_targets()?;
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("no target {unknown:?}; there are {}", all.join(", "));
    }
    Ok(if names.is_empty() { all } else { names.to_vec() })
}
