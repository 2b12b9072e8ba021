//! A chain function between two interfaces.

use std::process::ExitCode;

/// A chain function between two interfaces.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs until told to stop.
///
/// # Errors
/// What keeps it from starting or running.
pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
