//! Benches that anyone can run: what they measure stands in docs/claims.md.

mod engines;
mod hosts;
mod path;
mod probes;

use std::process::ExitCode;

/// Commands under `weft bench`.
#[derive(Debug, clap::Subcommand)]
pub enum BenchCommand {
    /// TCP throughput, round trips and small UDP between two namespaces through one switch.
    Path(path::Args),
}

/// Runs one bench.
///
/// # Errors
/// Without privilege, and when the path carries nothing.
pub fn run(command: BenchCommand) -> anyhow::Result<ExitCode> {
    match command {
        BenchCommand::Path(args) => path::run(&args),
    }
}
