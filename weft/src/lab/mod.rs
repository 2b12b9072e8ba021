//! Labs: a topology file brought to life and taken down again.
//!
//! `up` reads a file ([`topology`]), checks privilege and names, reserves a folder in the run directory, and carries out
//! the operations one by one; each that leaves something in the kernel is written to a journal before. Intents go to the
//! controller by its REST API as anybody's would. `down` needs the journal alone.

mod build;
mod clock;
mod defects;
mod demo;
mod down;
mod engines;
mod exec;
mod intents;
mod journal;
mod peers;
mod place;
pub mod privilege;
mod probe;
mod process;
mod report;
mod show;
mod split;
mod status;
mod table;
mod up;
mod vm;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use topology::{Diagnostics, Model};

/// Commands on labs.
#[derive(Debug, clap::Subcommand)]
pub enum LabCommand {
    /// Bring a topology up, run its tests, and stay until Ctrl-C.
    Up(up::Args),
    /// Take a lab down, or remove what a killed one left.
    Down(down::Args),
    /// Show the labs that run.
    Status(status::Args),
    /// Run a command in a node of a lab.
    Exec(exec::Args),
    /// Run the tests of a lab again.
    Test(show::TestArgs),
    /// Check a topology file.
    Validate(show::ValidateArgs),
    /// Draw a topology as SVG or Graphviz text.
    Graph(show::GraphArgs),
    /// Bring up a NAT gateway, VLANs and a chain, show that they work, and leave nothing behind.
    Demo(demo::Args),
}

/// Runs one of [`LabCommand`].
///
/// # Errors
/// What went wrong, after everything that was made has been taken away again.
pub fn run(command: LabCommand) -> anyhow::Result<ExitCode> {
    match command {
        LabCommand::Up(args) => up::run(args),
        LabCommand::Down(args) => down::run(args),
        LabCommand::Status(args) => status::run(args),
        LabCommand::Exec(args) => exec::run(args),
        LabCommand::Test(args) => show::test(&args),
        LabCommand::Validate(args) => show::validate(&args),
        LabCommand::Graph(args) => show::graph(&args),
        LabCommand::Demo(args) => demo::run(&args),
    }
}

/// Reads a file; what is wrong with it goes to the terminal and comes back as `None`.
fn read_model(file: &Path) -> anyhow::Result<Option<(Model, String)>> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let diagnostics = match topology::parse(&name, &text, file.parent().unwrap_or(Path::new(""))) {
        Ok(model) => return Ok(Some((model, text))),
        Err(diagnostics) => diagnostics,
    };
    eprintln!("weft: {:#}", tell(&diagnostics));
    Ok(None)
}

/// Shows what is wrong with a file on the terminal; how much that is.
pub fn tell(diagnostics: &Diagnostics) -> anyhow::Error {
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprint!("{}", diagnostics.render(coloured));
    let n_errors = match diagnostics.found.len() {
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    };
    anyhow::anyhow!("{n_errors} in {}; nothing was made", diagnostics.source.name)
}
