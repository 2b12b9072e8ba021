//! `cargo xtask bench`: the benches of the workspace, each named after the claim it supports; `bench peers`, `bench router`,
//! `bench controller` and `bench stages`.

pub mod peers;
mod stages;

use anyhow::{Result, bail};

use crate::metadata::Metadata;
use crate::shell;

/// Which benches to run.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Names of benches (all when none is given).
    names: Vec<String>,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Weft and its rivals (Open vSwitch with DPDK, Open vSwitch on taps, Linux bridge) in turn, held to the promises.
    Peers(peers::Args),
    /// The router: packets from memory, then beside Linux and nftables, held to what is aimed at.
    Router(peers::router::Args),
    /// The controller beside ovs-testcontroller and a learning switch on os-ken, held to what is aimed at.
    Controller(peers::controller::Args),
    /// The cost of a frame stage by stage, as a table and a picture.
    Stages(stages::Args),
}

/// Runs the chosen benches one after the other, in the bench profile.
pub fn run(args: &Args) -> Result<()> {
    match &args.other {
        Some(Other::Peers(args)) => return peers::run(args),
        Some(Other::Router(args)) => return peers::router::bench(args),
        Some(Other::Controller(args)) => return peers::controller::bench(args),
        Some(Other::Stages(args)) => return stages::run(args),
        None => {}
    }
    let metadata = Metadata::load()?;
    let benches: Vec<(&str, &str)> = metadata
        .members()
        .flat_map(|package| package.targets.iter().map(move |target| (package, target)))
        .filter(|(_, target)| target.kind.iter().any(|kind| kind == "bench"))
        .map(|(package, target)| (package.name.as_str(), target.name.as_str()))
        .collect();
    let unknown = args.names.iter().find(|name| !benches.iter().any(|(_, bench)| bench == name));
    if let Some(name) = unknown {
        let known: Vec<&str> = benches.iter().map(|(_, bench)| *bench).collect();
        bail!("no bench `{name}`; there are: {}", known.join(", "));
    }
    for (package, bench) in benches {
        if args.names.is_empty() || args.names.iter().any(|name| name == bench) {
            shell::run(&mut shell::cargo(&["bench", "--package", package, "--bench", bench]))?;
        }
    }
    Ok(())
}
