//! `cargo xtask bench peers`: weft and its rivals on one machine, in turn, in one run.
//!
//! The rivals are Open vSwitch with DPDK for frames from memory, and Open vSwitch on taps and the Linux bridge between
//! namespaces. Everything happens in namespaces that end with the run. What must hold is in `targets.rs`.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

mod acl;
pub mod controller;
mod datapath;
mod fetch;
mod figures;
mod frames;
pub mod measured;
mod ours;
mod ovs;
mod paths;
pub mod probe;
mod process;
mod rival;
pub mod router;
mod sandbox;
mod selection;
mod targets;
mod workload;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::metadata::Metadata;
use crate::{debian, metadata};
use datapath::Plan;
use fetch::Dpdk;
use figures::Figure;
use measured::machine;
use rival::Times;

/// Programs of a run, by Debian's package.
const PACKAGES: [&str; 4] = ["iperf3", "iproute2", "openvswitch-switch", "util-linux"];

/// What to measure, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Measure these alone: names of workloads, or paths, attacks, flow-mods, rules, idle, memory.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    #[command(flatten)]
    usual: measured::Usual,
    /// Print a JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// Seed of the workloads: another makes others of the same kinds.
    #[arg(long, default_value_t = measured::SEED)]
    seed: u64,
    /// Give the rival ordinary pages, which makes it somewhat slower.
    #[arg(long)]
    no_huge: bool,
    /// The folder of a run that was prepared.
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// Prepares a run and starts it in namespaces of its own, or is that run.
///
/// # Errors
/// When something is missing, a program fails, or a figure does not hold.
pub fn run(args: &Args) -> Result<()> {
    selection::check(&args.only)?;
    match &args.inside {
        Some(dir) => run_inside(args, dir),
        None => run_outside(args),
    }
}

/// Where packages of the rivals lie, beside the build.
fn rivals() -> Result<PathBuf> {
    Ok(Metadata::load()?.target_directory.join("rivals"))
}

fn run_outside(args: &Args) -> Result<()> {
    ensure!(debian::is_root(), "namespaces, taps and huge pages need root: run this as root");
    debian::install(&PACKAGES)?;
    let rivals = rivals()?;
    if selection::needs_dpdk(&args.only) {
        Dpdk::fetch(&rivals)?;
    }
    let weft = metadata::weft(args.usual.weft.as_deref())?;
    let dir = sandbox::Temporary::new()?;
    let mut words = vec!["bench".to_owned(), "peers".to_owned(), format!("--seed={}", args.seed)];
    words.extend([format!("--inside={}", dir.0.display()), format!("--weft={}", weft.display())]);
    words.extend(args.usual.quick.then(|| "--quick".to_owned()));
    words.extend(args.json.then(|| "--json".to_owned()));
    words.extend(args.only.iter().map(|name| format!("--only={name}")));
    let wants_huge = !args.no_huge && selection::needs_dpdk(&args.only);
    std::fs::create_dir_all(&rivals).context("cannot make a folder beside the build")?;
    let huge = if wants_huge { sandbox::HugePages::reserve(&rivals)? } else { None };
    if huge.is_none() {
        words.push("--no-huge".to_owned());
    }
    let status = sandbox::run(&words, &[("WEFT_RIVALS".to_owned(), rivals.display().to_string())])?;
    ensure!(status.success(), "the comparison ended with {status}");
    Ok(())
}

fn run_inside(args: &Args, dir: &Path) -> Result<()> {
    let rivals = std::env::var_os("WEFT_RIVALS").context("started by itself alone")?;
    sandbox::arrive(Path::new(&rivals))?;
    let wants_dpdk = selection::needs_dpdk(&args.only);
    let dpdk = wants_dpdk.then(|| Dpdk::find(Path::new(sandbox::RIVALS))).transpose()?;
    let seconds =
        |long: f64, short: f64| Duration::from_secs_f64(if args.usual.quick { short } else { long });
    let plan = Plan {
        weft: args.usual.weft.clone().context("started by itself alone")?,
        dpdk,
        dir: dir.to_owned(),
        rounds: if args.usual.quick { 1 } else { 5 },
        times: Times { cold: Duration::from_secs(3), warm: seconds(20.0, 12.0), steady: seconds(3.0, 2.0) },
        seed: args.seed,
        huge: !args.no_huge,
    };
    let machine = machine();
    if !args.json {
        println!("{machine}");
    }
    let (mut figures, mut broken) = (Vec::new(), Vec::new());
    let parts: Vec<_> = selection::PARTS.iter().filter(|part| selection::wanted(part, &args.only)).collect();
    let start = Instant::now();
    for (at, part) in parts.iter().enumerate() {
        eprintln!("[{}/{}, {}] {}", at + 1, parts.len(), minutes(start.elapsed()), part.name);
        // What fails in one part is no reason not to know the others.
        match part.measure(&plan, args.usual.quick) {
            Ok(more) => figures.extend(more),
            Err(error) => {
                eprintln!("{}: {error:#}", part.name);
                broken.push(part.name.to_owned());
            }
        }
    }
    eprintln!("done after {}", minutes(start.elapsed()));
    print(args, &machine, &figures)?;
    let missed = figures.iter().filter(|figure| !figure.holds()).map(|figure| figure.name.clone());
    broken.extend(missed);
    if !broken.is_empty() {
        bail!("does not hold: {}", broken.join("; "));
    }
    Ok(())
}

/// Minutes and seconds.
fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

fn print(args: &Args, machine: &str, figures: &[Figure]) -> Result<()> {
    if !args.json {
        print!("{}", figures::table(figures));
        return Ok(());
    }
    let rows: Vec<serde_json::Value> = figures
        .iter()
        .map(|figure| {
            let mut row = serde_json::to_value(figure)?;
            row["ratio"] = figure.ratio().into();
            row["holds"] = figure.holds().into();
            Ok(row)
        })
        .collect::<Result<_>>()?;
    println!("{}", serde_json::json!({ "machine": machine, "figures": rows }));
    Ok(())
}
