//! The controller as a daemon: OpenFlow southbound, REST northbound.

use std::process::ExitCode;

/// The controller as a daemon: OpenFlow southbound, REST northbound.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs until told to stop.
///
/// # Errors
/// What keeps it from starting or running.
pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
