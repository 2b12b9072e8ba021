//! `cargo xtask bench controller`: packet-ins of one emulated switch answered by weft's controller, ovs-testcontroller and a
//! learning switch on os-ken, in turn in one run; then what weft's controller realises, and how soon.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::figures::{Bound, Figure, median, table};
use super::measured::{Usual, machine};
use super::process::{Daemon, output};
use super::sandbox::Temporary;
use crate::metadata::Metadata;
use crate::{debian, metadata, python};

const AT_LEAST: Bound = Bound::AtLeast(1.0);
const AT_MOST: Bound = Bound::AtMost(1.0);
/// Hosts and switches that are declared and realised from nothing.
const DECLARED: [&str; 4] = ["--hosts", "10000", "--switches", "100"];

/// What to measure, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    usual: Usual,
    /// Leave out packet-ins, or what is declared.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// The halves of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    PacketIns,
    Declared,
}

/// Measures, prints, and fails when a figure does not hold.
///
/// # Errors
/// When something is missing, a program fails, or a figure does not hold.
pub fn bench(args: &Args) -> Result<()> {
    let weft = metadata::weft(args.usual.weft.as_deref())?;
    println!("{}", machine());
    let mut figures = Vec::new();
    if args.only != Some(Part::Declared) {
        debian::install(&["openvswitch-testcontroller"])?;
        python::install()?;
        figures.extend(packet_ins(&weft, args.usual.quick)?);
    }
    if args.only != Some(Part::PacketIns) {
        figures.extend(declared(&weft, args.usual.quick)?);
        figures.extend(one_more_port(&weft, args.usual.quick)?);
    }
    print!("{}", table(&figures));
    let missed: Vec<&str> = figures.iter().filter(|f| !f.holds()).map(|f| f.name.as_str()).collect();
    if !missed.is_empty() {
        bail!("does not hold: {}", missed.join("; "));
    }
    Ok(())
}

fn figure(name: impl Into<String>, unit: &'static str, (ours, other): (f64, f64), bound: Bound) -> Figure {
    Figure { name: name.into(), unit, ours, other, beside: "aim".to_owned(), bound }
}

// ---- packet-ins ----------------------------------------------------------------------------------------------------

/// What `weft bench packet-ins --json` says, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Answered {
    answered: f64,
    latency: [f64; 3],
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rival {
    Sink,
    Testcontroller,
    OsKen,
    Weft,
}

fn packet_ins(weft: &Path, quick: bool) -> Result<Vec<Figure>> {
    let dir = Temporary::new()?;
    let rivals = [Rival::Sink, Rival::Testcontroller, Rival::OsKen, Rival::Weft];
    let mut rates: [Vec<f64>; 4] = Default::default();
    for _ in 0..if quick { 1 } else { 3 } {
        for (rates, rival) in rates.iter_mut().zip(rivals) {
            let seen = ask(rival, (weft, &dir.0), None, quick)?;
            println!(
                "{rival:?}: {:.0} packet-ins a second, 99 % under {:.2} ms",
                seen.answered, seen.latency[1]
            );
            rates.push(seen.answered);
        }
    }
    let [sink, testcontroller, os_ken, ours] = rates.map(|rates| median(&rates));
    let half = ask(Rival::Weft, (weft, &dir.0), Some(ours / 2.0), quick)?;
    let beside = |other: f64, name: &str, least: f64| Figure {
        name: format!("packet-ins, beside {name}"),
        unit: "1/s",
        ours,
        other,
        beside: name.to_owned(),
        bound: Bound::AtLeast(least),
    };
    let fastest = ours.max(testcontroller).max(os_ken);
    Ok(vec![
        beside(testcontroller, "ovs-testcontroller", 2.0),
        beside(os_ken, "os-ken", 50.0),
        figure("the generator against a sink", "1/s", (sink, 2.0 * fastest), AT_LEAST),
        figure("packet-in answered at half load, p99", "ms", (half.latency[1], 2.0), AT_MOST),
    ])
}

/// Starts a controller, and asks it: as often as it answers, or at a rate.
fn ask(rival: Rival, (weft, dir): (&Path, &Path), rate: Option<f64>, quick: bool) -> Result<Answered> {
    let mut generator = Command::new(weft);
    generator.args(["bench", "packet-ins", "--json", "--seconds", if quick { "2" } else { "5" }]);
    if let Some(rate) = rate {
        generator.arg(format!("--rate={rate}"));
    }
    let place = free_port()?;
    let _controller = match start(rival, (weft, dir), &place)? {
        None => {
            generator.arg("--sink");
            None
        }
        Some(mut command) => {
            let mut daemon = Daemon::start(&mut command, &dir.join(format!("{rival:?}.log")))?;
            daemon.until("to listen", 20, || TcpStream::connect(&place).map(drop).map_err(Into::into))?;
            generator.args(["--controller", &place]);
            Some(daemon)
        }
    };
    let text = output(&mut generator, 60).with_context(|| format!("{rival:?}"))?;
    serde_json::from_str(&text).context("weft bench packet-ins prints JSON")
}

fn start(rival: Rival, (weft, dir): (&Path, &Path), place: &str) -> Result<Option<Command>> {
    let port = place.rsplit(':').next().unwrap_or_default();
    Ok(match rival {
        Rival::Sink => None,
        Rival::Testcontroller => {
            let mut command = Command::new("ovs-testcontroller");
            command.args(["-O", "OpenFlow13", &format!("ptcp:{port}:127.0.0.1")]);
            command.env("OVS_RUNDIR", dir).env("OVS_LOGDIR", dir);
            Some(command)
        }
        Rival::OsKen => {
            let metadata = Metadata::load()?;
            let venv = metadata.target_directory.join("venv/controllers/bin/osken-manager");
            let mut command = Command::new(venv);
            command.args(["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", port]);
            command.arg(metadata.workspace_root.join("tests/interop/apps/learning_switch.py"));
            Some(command)
        }
        Rival::Weft => {
            let mut command = Command::new(weft);
            // Otherwise its switches forward while it learns, and it has no packet-outs to send.
            command.args(["controller", "--reactive", "--openflow", &format!("tcp:{place}")]);
            command.args(["--rest", "127.0.0.1:0"]);
            command.env("WEFT_RUN_DIR", dir);
            Some(command)
        }
    })
}

fn free_port() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

// ---- declared ------------------------------------------------------------------------------------------------------

/// What `weft bench controller --hosts --json` says, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Declared {
    realised: f64,
    flows_per_second: f64,
    memory: f64,
}

fn declared(weft: &Path, quick: bool) -> Result<Vec<Figure>> {
    let mut seen: Vec<Declared> = Vec::new();
    for _ in 0..if quick { 1 } else { 3 } {
        let mut command = Command::new(weft);
        let text = output(command.args(["bench", "controller", "--json"]).args(DECLARED), 150)?;
        seen.push(serde_json::from_str(&text).context("weft bench controller prints JSON")?);
    }
    let of = |number: fn(&Declared) -> f64| median(&seen.iter().map(number).collect::<Vec<_>>());
    Ok(vec![
        figure("flow mods confirmed", "1000/s", (of(|d| d.flows_per_second / 1e3), 200.0), AT_LEAST),
        figure("10,000 hosts realised", "s", (of(|d| d.realised), 5.0), AT_MOST),
        figure("memory with them", "MiB", (of(|d| d.memory), 300.0), AT_MOST),
    ])
}

/// What `weft bench controller --ports --json` says, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Changed {
    ports: usize,
    change: [f64; 3],
}

fn one_more_port(weft: &Path, quick: bool) -> Result<Vec<Figure>> {
    let mut command = Command::new(weft);
    let ports = if quick { "100,10000" } else { "100,1000,10000,100000" };
    command.args(["bench", "controller", "--json", "--ports", ports]);
    let mut figures = Vec::new();
    for line in output(&mut command, 400)?.lines() {
        let seen: Changed = serde_json::from_str(line).context("weft bench controller prints JSON")?;
        let name = format!("one more port among {}, p99", seen.ports);
        figures.push(figure(name, "ms", (seen.change[1], 10.0), AT_MOST));
    }
    ensure!(!figures.is_empty(), "weft bench controller prints a line for each number of ports");
    Ok(figures)
}
