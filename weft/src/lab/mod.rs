//! Labs: a topology file brought to life and taken down again.

use std::process::ExitCode;

/// Commands on labs.
#[derive(Debug, clap::Subcommand)]
pub enum LabCommand {
    /// Bring a topology up.
    Up,
}

/// Runs one of [`LabCommand`].
///
/// # Errors
/// What went wrong, after everything that was made has been taken away again.
pub fn run(_command: LabCommand) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
