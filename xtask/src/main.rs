//! The project's own tooling: `cargo xtask check|tidy|bench|cert|fuzz|sim|ci|python|vm-image`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod cert;
mod check;
mod ci;
mod debian;
mod fuzz;
mod metadata;
mod python;
mod shell;
mod sim;
mod tidy;
mod vm_image;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own tooling")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Formatting, tidy, clippy with warnings denied, unit tests, documentation, fuzz targets compile.
    Check,
    /// The rules of this repository that no compiler knows; see xtask/README.md.
    Tidy,
    /// Run the benches; with names, only those.
    Bench(bench::Args),
    /// The OpenFlow certification cases of os-ken, with weft as switch under test and as tester.
    Cert(cert::Args),
    /// Run the fuzz targets, each for a while, or hunt for planted bugs.
    Fuzz(fuzz::Args),
    /// Live through a minute of a random network with each of many seeds, or hunt for planted bugs.
    Sim(sim::Args),
    /// Install what the tests need, then check and the system tests with the release binary.
    Ci(ci::Args),
    /// Install the controllers of the interop tests from PyPI.
    Python,
    /// Make kernel and initrd of the test VM in build/vm from Debian packages.
    VmImage,
    /// Senders and receivers that `bench peers` starts in its namespaces.
    #[command(subcommand, hide = true)]
    Probe(bench::peers::probe::Probe),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check => check::run(),
        Command::Tidy => tidy::run(),
        Command::Bench(args) => bench::run(&args),
        Command::Cert(args) => cert::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Python => python::install(),
        Command::VmImage => vm_image::run(),
        Command::Probe(probe) => bench::peers::probe::run(&probe),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
