//! One switch as a daemon, and the commands that talk to it.

use std::process::ExitCode;

/// One switch as a daemon, and the commands that talk to it.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs until told to stop.
///
/// # Errors
/// What keeps it from starting or running.
pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}

/// Commands that talk to a running switch (or to all of a lab).
#[derive(Debug, clap::Subcommand)]
pub enum ClientCommand {
    /// Add, remove and list ports.
    Port,
    /// Show the flows of the switches.
    Flows,
    /// Follow a frame through a switch.
    Trace,
}

/// Runs one of [`ClientCommand`].
///
/// # Errors
/// What the daemon answered or why it could not be reached.
pub fn run_client(_command: ClientCommand) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
