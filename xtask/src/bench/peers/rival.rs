//! The rival's side of the datapath: Open vSwitch with DPDK on one core, frames replayed from memory to nowhere.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::fetch::Dpdk;
use super::ovs::Ovs;
use super::workload::Files;

/// How the rival looks flows up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An exact-match cache before the masks: the default.
    Emc,
    /// Without.
    NoEmc,
    /// A signature cache beside it.
    Smc,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Emc, Self::NoEmc, Self::Smc];

    /// As people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emc => "emc",
            Self::NoEmc => "noemc",
            Self::Smc => "smc",
        }
    }

    const fn setting(self) -> Option<&'static str> {
        match self {
            Self::Emc => None,
            Self::NoEmc => Some("emc-insert-inv-prob=0"),
            Self::Smc => Some("smc-enable=true"),
        }
    }
}

/// What is measured of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Only what it does right after the start.
    Cold,
    /// Only what it does once its caches know the traffic.
    Steady,
    /// One after the other.
    Both,
}

/// Times of one measurement.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Right after the start.
    pub cold: Duration,
    /// Longest time until the rival's caches know the traffic.
    pub warm: Duration,
    /// The second measurement.
    pub steady: Duration,
}

/// Rates in millions of frames a second; what was not measured is not a number.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Right after the start.
    pub cold: f64,
    /// Afterwards.
    pub steady: f64,
    /// Time-stamp counter ticks a frame, afterwards.
    pub cycles: f64,
}

/// Frames received on port 1 and sent on port 2 until a moment.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Instant,
    received: u64,
    sent: u64,
}

/// Measures a workload, and makes sure that its flows really forwarded it.
///
/// # Errors
/// When Open vSwitch does not start, and when it forwards another share of the frames than the workload's.
pub fn measure(
    dir: &Path,
    dpdk: &Dpdk,
    (files, mode, part): (&Files, Mode, Part),
    times: Times,
    huge: bool,
) -> Result<Rates> {
    let memory = if huge {
        let pages = dir.with_extension("huge");
        std::fs::create_dir_all(&pages).context("cannot make a folder for huge pages")?;
        let pages = pages.to_string_lossy().into_owned();
        // A mount of this run alone: nothing is left on it.
        super::process::run(&["mount", "-t", "hugetlbfs", "none", &pages])?;
        format!("--huge-dir {pages}")
    } else {
        "--no-huge --legacy-mem -m 3000".to_owned()
    };
    let extra = format!("--no-pci -d {} {memory}", dpdk.drivers.display());
    let mut config = vec!["pmd-cpu-mask=0x2".to_owned(), "dpdk-lcore-mask=0x1".to_owned()];
    if huge {
        config.push("dpdk-socket-mem=3000".to_owned());
    }
    config.push(format!("dpdk-extra=\"{extra}\""));
    config.extend(mode.setting().map(str::to_owned));
    config.push("dpdk-init=true".to_owned());
    let result = Ovs::start(dir, &dpdk.binary, &config).and_then(|ovs| measure_on(&ovs, files, part, times));
    if huge {
        let pages = dir.with_extension("huge").to_string_lossy().into_owned();
        super::process::run(&["umount", "--lazy", &pages])?;
    }
    result
}

fn measure_on(ovs: &Ovs, files: &Files, part: Part, times: Times) -> Result<Rates> {
    ovs.vsctl(&["set-fail-mode", "br0", "secure"])?;
    ovs.ofctl(&["--bundle", "add-flows", "br0", &files.flows.to_string_lossy()])?;
    add_port(ovs, "null0", "net_null0,size=64,no-rx=1", 2)?;
    let replay = format!("net_pcap0,rx_pcap={},infinite_rx=1", files.capture.display());
    add_port(ovs, "pcap0", &replay, 1)?;
    let mut cold = f64::NAN;
    if part != Part::Steady {
        let start = count(ovs)?;
        std::thread::sleep(times.cold);
        cold = rate(start, count(ovs)?);
    }
    if part == Part::Cold {
        return Ok(Rates { cold, steady: f64::NAN, cycles: f64::NAN });
    }
    settle(ovs, times.warm)?;
    ovs.appctl(&["dpif-netdev/pmd-stats-clear"])?;
    let warm = count(ovs)?;
    std::thread::sleep(times.steady);
    let end = count(ovs)?;
    let cycles = cycles(&ovs.appctl(&["dpif-netdev/pmd-stats-show"])?);
    let share = (end.sent - warm.sent) as f64 / (end.received - warm.received).max(1) as f64;
    ensure!(
        (share - files.forwarded).abs() < 0.02,
        "Open vSwitch sends {:.1} % of {} instead of {:.1} %",
        share * 100.0,
        files.capture.display(),
        files.forwarded * 100.0
    );
    Ok(Rates { cold, steady: rate(warm, end), cycles: cycles.unwrap_or(f64::NAN) })
}

fn add_port(ovs: &Ovs, name: &str, device: &str, number: u32) -> Result<()> {
    let (device, number) = (format!("options:dpdk-devargs=\"{device}\""), format!("ofport_request={number}"));
    let rest = ["type=dpdk", &device, "options:n_rxq=1", &number];
    ovs.vsctl(&[&["add-port", "br0", name, "--", "set", "interface", name][..], &rest].concat()).map(drop)
}

/// Waits until the rival's flow cache has not grown for a while, and some time more for the smaller caches.
fn settle(ovs: &Ovs, patience: Duration) -> Result<()> {
    let (start, mut before, mut quiet) = (Instant::now(), String::new(), 0);
    while start.elapsed() < patience && quiet < 4 {
        std::thread::sleep(Duration::from_secs(1).min(patience));
        let show = ovs.appctl(&["dpctl/show"])?;
        let flows = show.lines().find(|line| line.trim_start().starts_with("flows:"));
        let flows = flows.unwrap_or_default().to_owned();
        quiet = if flows == before { quiet + 1 } else { 0 };
        before = flows;
    }
    Ok(())
}

fn count(ovs: &Ovs) -> Result<Counted> {
    let text = ovs.ofctl(&["dump-ports", "br0"])?;
    let at = Instant::now();
    let received = port_counter(&text, 1, "rx pkts=").context("port 1 has no counter")?;
    let sent = port_counter(&text, 2, "tx pkts=").context("port 2 has no counter")?;
    Ok(Counted { at, received, sent })
}

fn rate(from: Counted, to: Counted) -> f64 {
    (to.received - from.received) as f64 / (to.at - from.at).as_secs_f64() / 1e6
}

/// A counter of `ovs-ofctl dump-ports`: a port has two lines, of which the first begins with `port  N:`.
fn port_counter(text: &str, port: u32, name: &str) -> Option<u64> {
    let mut lines = text.lines().skip_while(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first() != Some(&"port") || words.get(1) != Some(&format!("{port}:").as_str())
    });
    let found = lines.by_ref().take(2).find_map(|line| line.split_once(name))?;
    found.1.split(',').next()?.trim().parse().ok()
}

/// `avg processing cycles per packet` of the first thread that has any.
fn cycles(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("avg processing cycles per packet:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: &str = "OFPST_PORT reply (OF1.3) (xid=0x2): 3 ports
  port  1: rx pkts=15823264, bytes=949395840, drop=0, errs=0, frame=?, over=?, crc=?
           tx pkts=7, bytes=0, drop=0, errs=0, coll=?
           duration=7.094s
  port LOCAL: rx pkts=0, bytes=0, drop=0, errs=0, frame=0, over=0, crc=0
           tx pkts=0, bytes=0, drop=0, errs=0, coll=0
  port  2: rx pkts=0, bytes=0, drop=0, errs=0, frame=?, over=?, crc=?
           tx pkts=15822889, bytes=0, drop=0, errs=0, coll=?
";

    #[test]
    fn counters_are_read_as_open_vswitch_prints_them() {
        assert_eq!(port_counter(PORTS, 1, "rx pkts="), Some(15_823_264));
        assert_eq!(port_counter(PORTS, 1, "tx pkts="), Some(7));
        assert_eq!(port_counter(PORTS, 2, "tx pkts="), Some(15_822_889));
        assert_eq!(port_counter(PORTS, 3, "tx pkts="), None);
        let text = "pmd thread numa_id 0 core_id 1:\n  avg processing cycles per packet: 1049.86 (1/9)\n";
        assert_eq!(cycles(text), Some(1049.86));
    }
}
