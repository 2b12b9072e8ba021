//! What other benches share with this one: its workloads, and how the machine is named.

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use super::process::output;
use super::workload;
pub use super::workload::{Case, Files as Workload};

/// The seed of every workload that is not asked for otherwise.
pub const SEED: u64 = 7;

/// What every bench with rivals can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Usual {
    /// One round of short measurements instead of several.
    #[arg(long)]
    pub quick: bool,
    /// The binary to measure, instead of a release build made now.
    #[arg(long, value_name = "FILE")]
    pub weft: Option<PathBuf>,
}

/// Writes the files of a workload.
///
/// # Errors
/// When that fails.
pub fn write_workload(case: Case, dir: &Path) -> Result<Workload> {
    workload::make(case, SEED).write(dir, case.name())
}

/// What the figures were measured on, and how busy that was at the start.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let models = || cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models().next().map_or("unknown processor", |(_, model)| model);
    let load = read("/proc/loadavg");
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    let mood = if load < 0.5 { "quiet" } else { "BUSY with other work: figures are no claims" };
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{} cores of {model}, Linux {}, load {load:.1}: {mood}", models().count(), kernel.trim())
}
