//! `weft down`: ends a lab, or removes what a killed one left.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use nix::sys::signal::Signal;

use super::{journal, place};

/// How long a lab may take to take itself down.
const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `weft down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lab; may be left out when there is only one.
    name: Option<String>,
    /// All labs.
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Takes labs down.
///
/// # Errors
/// When there is none of this name, and when something could not be removed.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let labs = if args.all { place::labs()? } else { vec![place::find(args.name.as_deref())?] };
    let mut gone = Vec::new();
    for lab in labs {
        let was = lab.word();
        remove(&lab)?;
        if !args.json {
            println!("lab {} is down (it was {was})", lab.name);
        }
        gone.push(serde_json::json!({"lab": lab.name, "was": was}));
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&gone)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(lab: &place::Found) -> anyhow::Result<()> {
    if let Some(state) = lab.state.as_ref().filter(|state| state.is_alive()) {
        state.process.signal(Signal::SIGTERM);
        if !state.process.wait_gone(PATIENCE) {
            state.process.signal(Signal::SIGKILL);
            state.process.wait_gone(PATIENCE);
        }
        if !lab.dir.exists() {
            return Ok(());
        }
    }
    let problems = journal::take_back(&journal::read(&journal::path(&lab.dir))?);
    if !problems.is_empty() {
        bail!("not everything of {} could be removed: {}", lab.name, problems.join("; "));
    }
    place::release(&lab.dir)
}
