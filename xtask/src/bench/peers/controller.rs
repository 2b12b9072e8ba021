//! `cargo xtask bench controller`: packet-ins of one emulated switch answered by weft's controller, ovs-testcontroller and a
//! learning switch on os-ken, in turn in one run; then what weft's controller realises, and how soon, from nothing, after
//! a small change, when a link goes down and when it is started again.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::figures::{Bound, Figure, median, table};
use super::measured::{Usual, machine};
use super::process::{Daemon, output};
use super::sandbox::Temporary;
use crate::metadata::Metadata;
use crate::{debian, metadata, python};

const AT_LEAST: Bound = Bound::AtLeast(1.0);
const AT_MOST: Bound = Bound::AtMost(1.0);
/// Hosts on switches without links that are declared and realised from nothing.
const DECLARED: [&str; 6] = ["--hosts", "10000", "--switches", "100", "--spines", "0"];
/// Hosts of a leaf-spine that are: each takes flows on many switches.
const SPREAD: [&str; 6] = ["--hosts", "2000", "--switches", "100", "--spines", "4"];

/// What to measure, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    usual: Usual,
    /// Measure these alone.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// The parts of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Packet-ins answered, beside others.
    PacketIns,
    /// Many hosts from nothing.
    Declared,
    /// One more port among many.
    Ports,
    /// New ways where a link is gone.
    LinkDown,
    /// Everything found again.
    Restart,
}

/// Measures a part of a binary, quickly or whole.
type Measure = fn(&Path, bool) -> Result<Vec<Figure>>;

/// Measures, prints, and fails when a figure does not hold.
///
/// # Errors
/// When something is missing, a program fails, or a figure does not hold.
pub fn bench(args: &Args) -> Result<()> {
    let weft = metadata::weft(args.usual.weft.as_deref())?;
    println!("{}", machine());
    let mut figures = Vec::new();
    let quick = args.usual.quick;
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    if wants(Part::PacketIns) {
        debian::install(&["openvswitch-testcontroller"])?;
        python::install()?;
        figures.extend(packet_ins(&weft, quick)?);
    }
    let others: [(Part, Measure); 4] = [
        (Part::Declared, declared),
        (Part::Ports, one_more_port),
        (Part::LinkDown, link_down),
        (Part::Restart, restart),
    ];
    for (_, measure) in others.into_iter().filter(|(part, _)| wants(*part)) {
        figures.extend(measure(&weft, quick)?);
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
    let (mut rates, mut half): ([Vec<f64>; 4], Vec<f64>) = Default::default();
    for _ in 0..rounds(quick) {
        for (rates, rival) in rates.iter_mut().zip(rivals) {
            let seen = ask(rival, (weft, &dir.0), None, quick)?;
            println!(
                "{rival:?}: {:.0} packet-ins a second, 99 % under {:.2} ms",
                seen.answered, seen.latency[1]
            );
            rates.push(seen.answered);
        }
        let rate = rates[3].last().copied().unwrap_or_default() / 2.0;
        let seen = ask(Rival::Weft, (weft, &dir.0), Some(rate), quick)?;
        half.push(seen.latency[1]);
        // What the machine itself holds up, a sink's answers wait for as well.
        let sink = ask(Rival::Sink, (weft, &dir.0), Some(rate), quick)?;
        println!(
            "Weft at {rate:.0} packet-ins a second: 99 % under {:.2} ms; the sink: {:.2} ms",
            seen.latency[1], sink.latency[1]
        );
    }
    let [sink, testcontroller, os_ken, ours] = rates.map(|rates| median(&rates));
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
        figure("packet-in answered at half load, p99", "ms", (median(&half), 2.0), AT_MOST),
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

// ---- what is declared ----------------------------------------------------------------------------------------------

fn rounds(quick: bool) -> usize {
    if quick { 1 } else { 3 }
}

/// What `weft bench controller --json` says in each round, an object a line.
fn ask_weft<T: DeserializeOwned>(weft: &Path, args: &[&str], quick: bool) -> Result<Vec<T>> {
    let mut seen = Vec::new();
    for _ in 0..rounds(quick) {
        let text = output(Command::new(weft).args(["bench", "controller", "--json"]).args(args), 400)?;
        print!("{text}");
        for line in text.lines() {
            seen.push(serde_json::from_str(line).context("weft bench controller prints JSON")?);
        }
    }
    ensure!(!seen.is_empty(), "weft bench controller prints what it has measured");
    Ok(seen)
}

fn median_of<T>(seen: &[T], number: impl Fn(&T) -> f64) -> f64 {
    median(&seen.iter().map(number).collect::<Vec<_>>())
}

/// With `--hosts`, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Declared {
    realised: f64,
    flows_per_second: f64,
    memory: f64,
    generator: f64,
}

fn declared(weft: &Path, quick: bool) -> Result<Vec<Figure>> {
    let spread: Vec<Declared> = ask_weft(weft, &SPREAD, quick)?;
    let rate = median_of(&spread, |d| d.flows_per_second / 1e3);
    let generator = (median_of(&spread, |d| d.generator / 1e3), 2.0 * rate);
    let seen: Vec<Declared> = ask_weft(weft, &DECLARED, quick)?;
    let of = |number: fn(&Declared) -> f64| median_of(&seen, number);
    Ok(vec![
        figure("flow mods confirmed, leaf-spine", "1000/s", (rate, 200.0), AT_LEAST),
        figure("the switches against a source", "1000/s", generator, AT_LEAST),
        figure("10,000 hosts realised", "s", (of(|d| d.realised), 5.0), AT_MOST),
        figure("memory with them", "MiB", (of(|d| d.memory), 300.0), AT_MOST),
    ])
}

/// With `--ports`, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Changed {
    ports: usize,
    change: [f64; 3],
}

fn one_more_port(weft: &Path, quick: bool) -> Result<Vec<Figure>> {
    let ports = if quick { "100,10000" } else { "100,1000,10000,100000" };
    let mut by_ports: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for seen in ask_weft::<Changed>(weft, &["--ports", ports], quick)? {
        by_ports.entry(seen.ports).or_default().push(seen.change[1]);
    }
    let of = |(ports, p99): (&usize, &Vec<f64>)| {
        figure(format!("one more port among {ports}, p99"), "ms", (median(p99), 10.0), AT_MOST)
    };
    Ok(by_ports.iter().map(of).collect())
}

/// With `--link-down`, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Converged {
    convergence: [f64; 2],
}

fn link_down(weft: &Path, quick: bool) -> Result<Vec<Figure>> {
    let seen: Vec<Converged> = ask_weft(weft, &["--link-down", if quick { "5" } else { "20" }], quick)?;
    let of = |nth: usize| median_of(&seen, |converged| converged.convergence[nth]);
    Ok(vec![
        figure("a link down among 200 switches, median", "ms", (of(0), 20.0), AT_MOST),
        figure("a link down among 200 switches, worst", "ms", (of(1), 20.0), AT_MOST),
    ])
}

/// With `--restart`, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Restarted {
    flows: f64,
    reconciled: f64,
    flow_mods: f64,
}

fn restart(weft: &Path, quick: bool) -> Result<Vec<Figure>> {
    let seen: Vec<Restarted> = ask_weft(weft, &["--restart"], quick)?;
    let of = |number: fn(&Restarted) -> f64| median_of(&seen, number);
    ensure!(
        of(|r| r.flows) >= 100_000.0,
        "there were {} flows, 100,000 are to be found again",
        of(|r| r.flows)
    );
    let share = of(|r| 100.0 * r.flow_mods / r.flows);
    Ok(vec![
        figure("100,000 flows reconciled after a kill", "s", (of(|r| r.reconciled), 3.0), AT_MOST),
        figure("flow mods sent for that, of the flows", "%", (share, 0.1), AT_MOST),
    ])
}
