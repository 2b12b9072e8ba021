//! `weft demo`: a NAT gateway, VLANs and a chain in namespaces of their own, shown to work in one table.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use comfy_table::Cell;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use topology::{EXAMPLES, Layout};

use super::build::{Lab, Plan};
use super::clock::now;
use super::probe::Outcome;
use super::report::{self, Event, Sink};
use super::table::{self, say};
use super::{place, privilege, up};

/// The topologies shown, and what each is called in the table.
const SHOWN: [(&str, &str); 3] =
    [("02-vlan-trunk.yaml", "VLANs"), ("03-nat-gateway.yaml", "NAT gateway"), ("04-chain.yaml", "chain")];

/// Arguments of `weft demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the demo; exit status 1 when a row fails.
///
/// # Errors
/// When namespaces cannot be entered or a topology does not come up.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = now();
    // All of it is private to this process: with its end, whatever its end, everything is gone.
    privilege::enter_private()?;
    let mut tell = report::for_people(args.json);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(async {
        let cancel = up::on_signal()?;
        let mut rows = Vec::new();
        for (file, title) in SHOWN {
            for outcome in show(file, &cancel, &mut tell).await? {
                rows.push((title, outcome));
            }
        }
        Ok::<_, anyhow::Error>(rows)
    })?;
    drop(tell);
    let pass = rows.iter().all(|(_, outcome)| outcome.pass);
    print(&rows, args.json, started.elapsed().as_secs_f64())?;
    Ok(if pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Brings one topology up, tests it and takes it down.
async fn show(file: &str, cancel: &CancellationToken, tell: &mut Sink) -> anyhow::Result<Vec<Outcome>> {
    let text = EXAMPLES.iter().find(|(name, _)| *name == file).map_or("", |(_, text)| text);
    let model = topology::parse(file, text, &PathBuf::new())?;
    let plan = Plan {
        model: Arc::new(model),
        text: text.to_owned(),
        file: file.to_owned(),
        folder: PathBuf::new(),
        layout: Layout::Joined,
        rest: Vec::new(),
        userns: true,
    };
    let dir = place::reserve_in(&PathBuf::from("/run/weft"), &plan.model.name)?;
    let mut shown = |event: Event| match event {
        Event::Step { done, total, text } => {
            tell(Event::Step { done, total, text: format!("{}: {text}", plan.model.name) });
        }
        other => tell(other),
    };
    let lab = Lab::bring_up(&plan, dir, cancel, &mut shown).await?;
    let outcomes = up::tests(&plan, &lab, cancel, &mut shown).await;
    let problems = lab.take_down().await;
    anyhow::ensure!(problems.is_empty(), "not everything could be taken back: {}", problems.join("; "));
    anyhow::ensure!(!cancel.is_cancelled(), "interrupted");
    outcomes
}

fn print(rows: &[(&str, Outcome)], json: bool, seconds: f64) -> anyhow::Result<()> {
    let n_pass = rows.iter().filter(|(_, outcome)| outcome.pass).count();
    if json {
        let tests: Vec<_> = rows
            .iter()
            .map(|(title, o)| json!({"topology": title, "about": o.about, "test": o.test, "pass": o.pass, "detail": o.detail}))
            .collect();
        let document = json!({"pass": n_pass == rows.len(), "seconds": seconds, "tests": tests});
        say(serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    let mut results = table::table(&["", "topology", "shows", "test", "what was seen"]);
    for (title, outcome) in rows {
        results.add_row([
            table::verdict(outcome.pass),
            Cell::new(title),
            Cell::new(outcome.about.as_deref().unwrap_or_default()),
            Cell::new(&outcome.test),
            Cell::new(&outcome.detail),
        ]);
    }
    say(results);
    say(format_args!("{n_pass} of {} hold, in {seconds:.1} s; nothing is left behind.", rows.len()));
    say("The topologies are in topologies/: try `weft up topologies/03-nat-gateway.yaml` as root.");
    Ok(())
}
