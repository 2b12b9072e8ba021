//! The weft binary: a userspace OpenFlow switch, virtual routers, a controller, and labs made of them.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

// In place of the standard ones, which panic when the output is full or closed.
macro_rules! print {
    ($($arg:tt)*) => { crate::print::text(format_args!($($arg)*)) };
}
macro_rules! println {
    () => { print!("\n") };
    ($($arg:tt)*) => { print!("{}\n", format_args!($($arg)*)) };
}
macro_rules! eprint {
    ($($arg:tt)*) => { crate::print::aside(format_args!($($arg)*)) };
}
macro_rules! eprintln {
    ($($arg:tt)*) => { eprint!("{}\n", format_args!($($arg)*)) };
}

mod bench;
mod channel;
mod controllerd;
mod ctl;
mod functiond;
mod lab;
mod observe;
mod ofctl;
mod plane;
mod print;
mod routerd;
mod service;
mod switchd;

#[global_allocator]
static ALLOCATOR: netio::alloc::Counting = netio::alloc::Counting;

/// A virtual networking stack: userspace OpenFlow switch, virtual routers, central controller, topologies in YAML.
#[derive(Debug, Parser)]
#[command(name = "weft", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run one switch alone.
    Switch(switchd::Args),
    /// Run one router alone.
    Router(routerd::Args),
    /// Run the controller alone.
    Controller(controllerd::Args),
    /// Read, declare, compare, delete and watch what a controller is told.
    Ctl(ctl::Args),
    /// Run a chain function between two interfaces of this namespace.
    Function(functiond::Args),
    /// Measure this machine's datapath.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Look at and change any OpenFlow switch, with the verbs and the flow syntax of ovs-ofctl.
    Ofctl(ofctl::Args),
    /// Watch switches and routers at work: rates, cache, drops, cycles, workers.
    Top(observe::top::Args),
    /// Write frames of a port or flow as a pcapng capture, to a file or to `tshark -r -`.
    Mirror(observe::mirror_command::Args),
    /// Write what a shell needs to complete weft's commands: `source <(weft completions bash)`.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Switchctl(switchd::ClientCommand),
    #[command(flatten)]
    Lab(lab::LabCommand),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Switch(args) => switchd::run(args),
        Command::Router(args) => routerd::run(args),
        Command::Controller(args) => controllerd::run(args),
        Command::Ctl(args) => ctl::run(args),
        Command::Function(args) => functiond::run(args),
        Command::Bench(command) => bench::run(command),
        Command::Ofctl(args) => ofctl::run(args),
        Command::Top(args) => observe::top::run(args),
        Command::Mirror(args) => observe::mirror_command::run(args),
        Command::Completions { shell } => {
            complete(shell);
            Ok(ExitCode::SUCCESS)
        }
        Command::Switchctl(command) => switchd::run_client(command),
        Command::Lab(command) => lab::run(command),
    };
    let result = result.and_then(|code| {
        print::finish().context("cannot write to the standard output")?;
        Ok(code)
    });
    result.unwrap_or_else(|error| {
        eprintln!("weft: {error:#}");
        ExitCode::FAILURE
    })
}

fn complete(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut <Cli as clap::CommandFactory>::command(), "weft", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
}
