//! The verbs, and what several of them take.

use std::process::ExitCode;

use super::{Ofctl, flows, groups, meters, ports, probe, show};

/// A switch and nothing else.
#[derive(Debug, clap::Args)]
pub struct Switch {
    /// tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH or the name of a weft switch.
    pub switch: String,
}

/// A switch and what is to be selected.
#[derive(Debug, clap::Args)]
pub struct Selected {
    /// tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH or the name of a weft switch.
    pub switch: String,
    /// Which; all without it.
    #[arg(default_value = "", hide_default_value = true)]
    pub what: String,
}

/// A switch and one thing.
#[derive(Debug, clap::Args)]
pub struct Given {
    /// tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH or the name of a weft switch.
    pub switch: String,
    /// What; - reads one from each line of standard input.
    pub what: String,
}

/// A switch and a file.
#[derive(Debug, clap::Args)]
pub struct Listed {
    /// tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH or the name of a weft switch.
    pub switch: String,
    /// One in each line, comments behind #; - is standard input.
    pub file: String,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    #[command(flatten)]
    Show(show::Verb),
    #[command(flatten)]
    Ports(ports::Verb),
    #[command(flatten)]
    Flows(flows::Verb),
    #[command(flatten)]
    Groups(groups::Verb),
    #[command(flatten)]
    Meters(meters::Verb),
    #[command(flatten)]
    Probe(probe::Verb),
}

/// Runs a verb.
pub async fn run(ofctl: &mut Ofctl, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Flows(verb) => return flows::run(ofctl, verb).await,
        Verb::Show(verb) => show::run(ofctl, verb).await?,
        Verb::Ports(verb) => ports::run(ofctl, verb).await?,
        Verb::Groups(verb) => groups::run(ofctl, verb).await?,
        Verb::Meters(verb) => meters::run(ofctl, verb).await?,
        Verb::Probe(verb) => probe::run(ofctl, verb).await?,
    }
    Ok(ExitCode::SUCCESS)
}
