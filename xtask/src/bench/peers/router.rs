//! `cargo xtask bench router`: packets from memory through `weft bench router`, then the router between two namespaces
//! beside Linux, forwarding and with nftables masquerade, in turn in one run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::figures::{Bound, Figure, median, table};
use super::measured::{Usual, machine};
use super::paths::{probe, tcp, udp};
use super::process::{Daemon, output, run};
use super::sandbox;
use crate::{debian, metadata};

const PACKAGES: [&str; 4] = ["iperf3", "iproute2", "nftables", "util-linux"];

/// What to measure, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    usual: Usual,
    /// Leave out packets from memory, or the paths between namespaces.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// The folder of a run that was prepared.
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// The halves of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Memory,
    Paths,
}

/// Prepares a run and starts it in namespaces of its own, or is that run.
///
/// # Errors
/// When something is missing, a program fails, or a figure does not hold.
pub fn bench(args: &Args) -> Result<()> {
    if let Some(dir) = &args.inside {
        return inside(args, dir);
    }
    ensure!(debian::is_root(), "namespaces and devices need root: run this as root");
    debian::install(&PACKAGES)?;
    let weft = metadata::weft(args.usual.weft.as_deref())?;
    let dir = sandbox::Temporary::new()?;
    let mut words = vec!["bench".to_owned(), "router".to_owned(), format!("--inside={}", dir.0.display())];
    words.push(format!("--weft={}", weft.display()));
    words.extend(args.usual.quick.then(|| "--quick".to_owned()));
    words.extend(args.only.map(|part| format!("--only={part:?}").to_lowercase()));
    let status = sandbox::run(&words, &[])?;
    ensure!(status.success(), "the bench ended with {status}");
    Ok(())
}

fn inside(args: &Args, dir: &Path) -> Result<()> {
    sandbox::arrive(dir)?;
    let weft = args.usual.weft.as_deref().context("started by itself alone")?;
    println!("{}", machine());
    let mut figures = Vec::new();
    if args.only != Some(Part::Paths) {
        figures.extend(memory(weft, args.usual.quick)?);
    }
    if args.only != Some(Part::Memory) {
        figures.extend(paths(weft, dir, args.usual.quick)?);
    }
    print!("{}", table(&figures));
    let missed: Vec<&str> = figures.iter().filter(|f| !f.holds()).map(|f| f.name.as_str()).collect();
    if !missed.is_empty() {
        bail!("does not hold: {}", missed.join("; "));
    }
    Ok(())
}

// ---- packets from memory -----------------------------------------------------------------------------------------

/// What `weft bench router --json` says of one case, as far as it is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outcome {
    case: String,
    mpps: Option<f64>,
    load_seconds: Option<f64>,
    routes_changed_per_second: Option<f64>,
    new_flows_per_second: Option<f64>,
    bytes_per_flow: Option<f64>,
}

/// What a case must reach: its name there, ours, unit, the number of the outcome, the aim.
type Aim = (&'static str, &'static str, &'static str, fn(&Outcome) -> Option<f64>, Bound, f64);

const fn rounds(quick: bool) -> u32 {
    if quick { 1 } else { 5 }
}

const AT_LEAST: Bound = Bound::AtLeast(1.0);
const AT_MOST: Bound = Bound::AtMost(1.0);
const TEN_MILLION: f64 = 1e7;
const GIB: f64 = 1_073_741_824.0;
/// The aims of the router, in packets, flows, routes and bytes.
const AIMS: [Aim; 12] = [
    ("ipv4-10k", "IPv4, 10,000 prefixes", "Mpps", |o| o.mpps, AT_LEAST, 12.0),
    ("ipv4-1m", "IPv4, a million prefixes", "Mpps", |o| o.mpps, AT_LEAST, 12.0),
    ("ipv6-250k", "IPv6, 250,000 prefixes", "Mpps", |o| o.mpps, AT_LEAST, 8.0),
    ("nat44-65k", "NAT44, 65,000 flows", "Mpps", |o| o.mpps, AT_LEAST, 10.0),
    ("nat44-1m", "NAT44, a million flows", "Mpps", |o| o.mpps, AT_LEAST, 5.0),
    ("new-flows", "new flows", "1000/s", |o| o.new_flows_per_second.map(|n| n / 1e3), AT_LEAST, 500.0),
    ("new-flows", "a flow of IPv4", "bytes", |o| o.bytes_per_flow, AT_MOST, 128.0),
    ("flows-v6", "a flow of IPv6", "bytes", |o| o.bytes_per_flow, AT_MOST, 192.0),
    (
        "flows-10m",
        "ten million flows",
        "GiB",
        |o| o.bytes_per_flow.map(|n| n * TEN_MILLION / GIB),
        AT_MOST,
        2.0,
    ),
    ("ipv4-1m", "a million routes loaded", "s", |o| o.load_seconds, AT_MOST, 5.0),
    (
        "ipv4-1m",
        "routes changed",
        "1000/s",
        |o| o.routes_changed_per_second.map(|n| n / 1e3),
        AT_LEAST,
        500.0,
    ),
    (
        "ipv6-250k",
        "routes of IPv6 changed",
        "1000/s",
        |o| o.routes_changed_per_second.map(|n| n / 1e3),
        AT_LEAST,
        500.0,
    ),
];

fn memory(weft: &Path, quick: bool) -> Result<Vec<Figure>> {
    let mut cases: Vec<&str> = AIMS.iter().map(|aim| aim.0).collect();
    cases.sort_unstable();
    cases.dedup();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for _ in 0..rounds(quick) {
        // Each in a process of its own: what one leaves in memory costs the next one time.
        for case in &cases {
            let mut command = Command::new(weft);
            command.args(["bench", "router", "--json", "--only", case]);
            command.args(["--seconds", if quick { "1" } else { "3" }]);
            let line = output(&mut command, 600)?;
            outcomes.push(serde_json::from_str(&line).context("weft bench router prints JSON")?);
        }
    }
    let figure = |(case, name, unit, number, bound, aim): &Aim| {
        let seen: Vec<f64> = outcomes.iter().filter(|o| o.case == *case).filter_map(number).collect();
        let (name, beside) = ((*name).to_owned(), "aim".to_owned());
        Figure { name, unit, ours: median(&seen), other: *aim, beside, bound: *bound }
    };
    Ok(AIMS.iter().map(figure).collect())
}

// ---- between namespaces ------------------------------------------------------------------------------------------

const INSIDE: &str = "in1";
const OUTSIDE: &str = "out1";
const ROUTER: &str = "rt";
/// Address of the host outside.
const FAR: &str = "203.0.113.2";

/// What is between the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linux,
    Weft,
}

/// What was seen of one router.
#[derive(Debug, Clone, Copy)]
struct Seen {
    tcp1: f64,
    tcp4: f64,
    udp: f64,
}

/// A line of the table: its name, unit, number, and the least ratio.
type Row = (&'static str, &'static str, fn(&Seen) -> f64, f64);

/// Namespaces that go when this is dropped, with what runs between them.
struct Between(Vec<Daemon>);

impl Drop for Between {
    fn drop(&mut self) {
        self.0.clear();
        for namespace in [INSIDE, OUTSIDE, ROUTER] {
            // Whatever stays goes with the run.
            let _ = run(&["ip", "netns", "del", namespace]);
        }
    }
}

fn paths(weft: &Path, dir: &Path, quick: bool) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (what, hidden, least) in [("forwarding", false, 0.0), ("NAT", true, 0.8)] {
        let mut seen: Vec<(Kind, Seen)> = Vec::new();
        for _ in 0..rounds(quick) {
            for kind in [Kind::Linux, Kind::Weft] {
                seen.push((kind, measure(kind, hidden, (weft, dir), quick)?));
            }
        }
        let of = |kind: Kind, number: fn(&Seen) -> f64| {
            let numbers = seen.iter().filter(|(of, _)| *of == kind).map(|(_, seen)| number(seen));
            median(&numbers.collect::<Vec<_>>())
        };
        let rows: [Row; 3] = [
            ("TCP, 1 stream", "Gbit/s", |s| s.tcp1, least),
            ("TCP, 4 streams", "Gbit/s", |s| s.tcp4, least),
            // Linux forwards in the time of who sends, weft on a worker of its own: no promise is made of it.
            ("UDP, 18 bytes", "kpps", |s| s.udp, 0.0),
        ];
        for (name, unit, number, least) in rows {
            let (ours, other) = (of(Kind::Weft, number), of(Kind::Linux, number));
            let beside = if hidden { "nftables masquerade" } else { "Linux forwarding" }.to_owned();
            let name = format!("{name}, {what}");
            figures.push(Figure { name, unit, ours, other, beside, bound: Bound::AtLeast(least) });
        }
    }
    Ok(figures)
}

fn measure(kind: Kind, hidden: bool, (weft, dir): (&Path, &Path), quick: bool) -> Result<Seen> {
    for namespace in [INSIDE, OUTSIDE, ROUTER] {
        run(&["ip", "netns", "add", namespace])?;
        run(&["ip", "-n", namespace, "link", "set", "lo", "up"])?;
    }
    let mut between = Between(Vec::new());
    match kind {
        Kind::Linux => linux(hidden)?,
        Kind::Weft => between.0.push(ours(weft, dir, hidden)?),
    }
    for (namespace, address, gateway) in
        [(INSIDE, "10.1.0.2/24", "10.1.0.1"), (OUTSIDE, "203.0.113.2/24", "203.0.113.1")]
    {
        run(&["ip", "-n", namespace, "address", "add", address, "dev", "e0"])?;
        run(&["ip", "-n", namespace, "link", "set", "e0", "up"])?;
        run(&["ip", "-n", namespace, "route", "add", "default", "via", gateway])?;
    }
    see(dir, if quick { 2 } else { 4 }).with_context(|| format!("through {kind:?}"))
}

fn linux(hidden: bool) -> Result<()> {
    for (namespace, port) in [(INSIDE, "lan"), (OUTSIDE, "wan")] {
        let veth = ["link", "add", "e0", "type", "veth", "peer", "name", port, "netns", ROUTER];
        run(&[&["ip", "-n", namespace][..], &veth].concat())?;
        run(&["ip", "-n", ROUTER, "link", "set", port, "up"])?;
    }
    run(&["ip", "-n", ROUTER, "address", "add", "10.1.0.1/24", "dev", "lan"])?;
    run(&["ip", "-n", ROUTER, "address", "add", "203.0.113.1/24", "dev", "wan"])?;
    let inside = ["ip", "netns", "exec", ROUTER];
    run(&[&inside[..], &["sysctl", "-qw", "net.ipv4.ip_forward=1"]].concat())?;
    if hidden {
        let rules = "table ip nat { chain post { type nat hook postrouting priority 100; oifname wan masquerade; }; }";
        run(&[&inside[..], &["nft", rules]].concat())?;
    }
    Ok(())
}

fn ours(weft: &Path, dir: &Path, hidden: bool) -> Result<Daemon> {
    let nat = if hidden { "nat: {masquerade: [{out: wan}]}\n" } else { "" };
    let file = dir.join("router.yaml");
    let interfaces = "interfaces: [{name: lan, address: 10.1.0.1/24}, {name: wan, address: 203.0.113.1/24}]";
    std::fs::write(&file, format!("name: r1\n{interfaces}\n{nat}")).context("cannot write a file")?;
    let mut command = Command::new(weft);
    command.args(["router", "--port", "lan=netns:in1/e0", "--port", "wan=netns:out1/e0", "--config"]);
    command.arg(&file).env("WEFT_RUN_DIR", dir.join("run-router"));
    let mut router = Daemon::start(&mut command, &dir.join("weft-router.log"))?;
    let there = || run(&["ip", "-n", OUTSIDE, "link", "show", "e0"]);
    router.until("both interfaces", 10, there)?;
    Ok(router)
}

fn see(dir: &Path, seconds: u32) -> Result<Seen> {
    let log = |name: &str| dir.join(format!("{name}.log"));
    let mut server = Command::new("ip");
    server.args(["netns", "exec", OUTSIDE, "iperf3", "-s"]);
    let mut iperf = Daemon::start(&mut server, &log("iperf"))?;
    let listens = || {
        let ask = ["netns", "exec", OUTSIDE, "ss", "-Hltn", "sport = :5201"];
        let found = output(Command::new("ip").args(ask), 5)?;
        ensure!(!found.is_empty(), "nobody listens");
        Ok(())
    };
    iperf.until("a server of iperf3", 10, listens)?;
    let mut echo = Daemon::start(&mut probe(OUTSIDE, &["echo", "7001"])?, &log("echo"))?;
    let through = || output(&mut probe(INSIDE, &["round-trips", FAR, "7001", "5"])?, 10);
    echo.until("a round trip", 20, through)?;
    let tcp = |streams| tcp(INSIDE, FAR, streams, seconds);
    Ok(Seen { tcp1: tcp(1)?, tcp4: tcp(4)?, udp: udp([INSIDE, OUTSIDE], FAR, seconds)? })
}
