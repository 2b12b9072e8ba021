//! Paths between two namespaces: what TCP, small datagrams and round trips see of a switch.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::ovs::{Binary, Ovs};
use super::process::{Daemon, output, run};

/// Seconds of a measurement.
const SECONDS: u32 = 3;
const N_ROUND_TRIPS: u32 = 20_000;
const HOSTS: [&str; 2] = ["h1", "h2"];
/// Address of the second host.
const FAR: &str = "10.9.0.2";

/// What is between the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The kernel's own switch, hosts on veth pairs.
    Bridge,
    /// Open vSwitch in userspace, hosts on its taps, segmentation offload enabled.
    OvsTso,
    /// The same without.
    Ovs,
    /// `weft switch`, learning as the others do.
    Weft,
}

impl Kind {
    /// All of them; ours last.
    pub const ALL: [Self; 4] = [Self::Bridge, Self::OvsTso, Self::Ovs, Self::Weft];

    /// As the table calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "Linux bridge",
            Self::OvsTso => "OVS, taps, TSO",
            Self::Ovs => "OVS, taps",
            Self::Weft => "weft",
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// TCP, one stream.
    pub tcp1_gbps: f64,
    /// TCP, four streams.
    pub tcp4_gbps: f64,
    /// Datagrams of 18 bytes that arrive.
    pub udp_kpps: f64,
    /// Half of all round trips were faster.
    pub p50_us: f64,
    /// 99 % were.
    pub p99_us: f64,
}

/// Namespaces that go when this is dropped, with what runs between them.
struct Path2 {
    _between: Vec<Daemon>,
    _ovs: Option<Ovs>,
}

impl Drop for Path2 {
    fn drop(&mut self) {
        for namespace in HOSTS.iter().chain(&["psw"]) {
            // Whatever stays goes with the run.
            let _ = run(&["ip", "netns", "del", namespace]);
        }
        let _ = run(&["ip", "link", "del", "br0"]);
    }
}

/// Builds a path, measures it, takes it down.
///
/// # Errors
/// When one of the programs fails, and when nothing comes through.
pub fn measure(kind: Kind, weft: &Path, dir: &Path, quick: bool) -> Result<Seen> {
    let path = build(kind, weft, dir)?;
    let seconds = if quick { 2 } else { SECONDS };
    let seen = see(dir, seconds).with_context(|| format!("through {}", kind.name()));
    drop(path);
    seen
}

fn build(kind: Kind, weft: &Path, dir: &Path) -> Result<Path2> {
    for namespace in HOSTS {
        run(&["ip", "netns", "add", namespace])?;
    }
    let mut path = Path2 { _between: Vec::new(), _ovs: None };
    match kind {
        Kind::Bridge => bridge()?,
        Kind::Ovs => path._ovs = Some(taps(dir, &[])?),
        Kind::OvsTso => path._ovs = Some(taps(dir, &["userspace-tso-enable=true".to_owned()])?),
        Kind::Weft => path._between.push(ours(weft, dir)?),
    }
    for (host, last) in HOSTS.iter().zip(["1", "2"]) {
        run(&["ip", "-n", host, "address", "add", &format!("10.9.0.{last}/24"), "dev", "e0"])?;
        run(&["ip", "-n", host, "link", "set", "e0", "up"])?;
        run(&["ip", "-n", host, "link", "set", "lo", "up"])?;
    }
    Ok(path)
}

fn bridge() -> Result<()> {
    run(&["ip", "netns", "add", "psw"])?;
    run(&["ip", "-n", "psw", "link", "add", "br0", "type", "bridge"])?;
    run(&["ip", "-n", "psw", "link", "set", "br0", "up"])?;
    for (host, port) in HOSTS.iter().zip(["p1", "p2"]) {
        let veth = ["link", "add", "e0", "type", "veth", "peer", "name", port, "netns", "psw"];
        run(&[&["ip", "-n", host][..], &veth].concat())?;
        run(&["ip", "-n", "psw", "link", "set", port, "master", "br0"])?;
        run(&["ip", "-n", "psw", "link", "set", port, "up"])?;
    }
    Ok(())
}

fn taps(dir: &Path, config: &[String]) -> Result<Ovs> {
    let binary = Binary { program: PathBuf::from("/usr/sbin/ovs-vswitchd"), libraries: None };
    let ovs = Ovs::start(&dir.join("ovs"), &binary, config)?;
    for (host, port) in HOSTS.iter().zip(["p1", "p2"]) {
        ovs.vsctl(&["add-port", "br0", port, "--", "set", "interface", port, "type=internal"])?;
        run(&["ip", "link", "set", port, "netns", host])?;
        run(&["ip", "-n", host, "link", "set", port, "name", "e0"])?;
    }
    Ok(ovs)
}

fn ours(weft: &Path, dir: &Path) -> Result<Daemon> {
    let mut command = Command::new(weft);
    command.args(["switch", "--fail-mode", "standalone", "--port", "1=netns:h1/e0"]);
    command.args(["--port", "2=netns:h2/e0"]).env("WEFT_RUN_DIR", dir.join("run"));
    let mut switch = Daemon::start(&mut command, &dir.join("weft.log"))?;
    let there = || run(&["ip", "-n", "h2", "link", "show", "e0"]);
    switch.until("both interfaces", 10, there)?;
    Ok(switch)
}

/// This program inside a namespace.
pub(super) fn probe(host: &str, args: &[&str]) -> Result<Command> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host]).arg(std::env::current_exe()?).arg("probe").args(args);
    Ok(command)
}

fn see(dir: &Path, seconds: u32) -> Result<Seen> {
    let log = |name: &str| dir.join(format!("{name}.log"));
    let mut iperf =
        Daemon::start(Command::new("ip").args(["netns", "exec", HOSTS[1], "iperf3", "-s"]), &log("iperf"))?;
    let mut echo = Daemon::start(&mut probe(HOSTS[1], &["echo", "7001"])?, &log("echo"))?;
    let through = || output(&mut probe(HOSTS[0], &["round-trips", FAR, "7001", "5"])?, 10);
    echo.until("a round trip", 20, through)?;
    let one = ["netns", "exec", HOSTS[0], "iperf3", "-c", FAR, "-n", "1"];
    iperf.until("iperf3 that listens", 20, || output(Command::new("ip").args(one), 10))?;
    let tcp1_gbps = tcp(HOSTS[0], FAR, 1, seconds)?;
    let tcp4_gbps = tcp(HOSTS[0], FAR, 4, seconds)?;
    let udp_kpps = udp(HOSTS, FAR, seconds)?;
    let n = N_ROUND_TRIPS.to_string();
    let line = output(&mut probe(HOSTS[0], &["round-trips", FAR, "7001", &n])?, 60)?;
    let mut words = line.split_whitespace().map(str::parse::<f64>);
    let (Some(Ok(p50_us)), Some(Ok(p99_us))) = (words.next(), words.next()) else {
        bail!("no round trips in {line}");
    };
    Ok(Seen { tcp1_gbps, tcp4_gbps, udp_kpps, p50_us, p99_us })
}

/// Gbit/s that `from` sends to the iperf3 at `far`.
pub(super) fn tcp(from: &str, far: &str, streams: u32, seconds: u32) -> Result<f64> {
    let (streams, time) = (streams.to_string(), seconds.to_string());
    let args = ["netns", "exec", from, "iperf3", "-c", far, "-J", "-O", "1", "-P", &streams, "-t", &time];
    let text = output(Command::new("ip").args(args), seconds + 20)?;
    let report: serde_json::Value = serde_json::from_str(&text).context("iperf3 prints JSON")?;
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    let says = || format!("iperf3 between namespaces: {}", report["error"].as_str().unwrap_or("no rate"));
    Ok(rate.with_context(says)? / 1e9)
}

/// Thousands of small datagrams a second that arrive at the second host.
pub(super) fn udp([from, to]: [&str; 2], far: &str, seconds: u32) -> Result<f64> {
    let (longer, time) = ((seconds + 2).to_string(), seconds.to_string());
    let mut receiver = probe(to, &["udp-receive", "7000", &longer])?;
    let receiver = receiver.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    std::thread::sleep(Duration::from_millis(500));
    let sent = output(&mut probe(from, &["udp-send", far, "7000", &time])?, seconds + 20);
    let output = receiver.wait_with_output().context("cannot wait for a receiver")?;
    sent?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().parse::<f64>().with_context(|| format!("no rate in {text}"))? / 1e3)
}
