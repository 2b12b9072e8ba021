//! Our side: `weft bench datapath` over the same files, and what a daemon costs that does little.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::acl::numbered;
use super::process::{Daemon, output, run};
use super::rival::Times;
use super::workload::Files;

/// What `weft bench datapath --json` says, as far as it is needed.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Datapath {
    /// Millions of frames a second.
    pub mpps: f64,
    /// The same right after the start.
    pub cold_mpps: f64,
    /// The same between flow mods.
    pub calm_mpps: Option<f64>,
    /// Ticks of the time-stamp counter.
    pub cycles_per_frame: f64,
    /// Allocations while it was measured.
    pub allocations: u64,
    /// Bytes of an entry of the cache.
    pub cache_entry_bytes: u64,
}

/// How the bench runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner<'a> {
    /// As the switch does.
    Usual,
    /// Every frame is looked up in the tables.
    NoCache,
    /// A flow mod a millisecond meanwhile.
    FlowMods,
    /// Another port brings the frames of this capture meanwhile, as fast as it can.
    Flooded(&'a Path),
}

/// Measures a workload.
///
/// # Errors
/// When fast path and oracle differ, or the bench fails otherwise.
pub fn datapath(weft: &Path, files: &Files, manner: Manner<'_>, times: Times) -> Result<Datapath> {
    let mut command = Command::new(weft);
    command.args(["bench", "datapath", "--json", "--warm", "1", "--seconds"]);
    command.arg(times.steady.as_secs_f64().to_string());
    command.arg("--pcap").arg(&files.capture).arg("--flows").arg(&files.flows);
    match manner {
        Manner::Usual => {}
        Manner::NoCache => drop(command.arg("--no-cache")),
        Manner::FlowMods => drop(command.args(["--flow-mod-every", "1"])),
        Manner::Flooded(capture) => drop(command.arg("--flood").arg(capture)),
    }
    let text = output(&mut command, 600)?;
    let seen: Datapath = serde_json::from_str(&text).context("weft bench datapath prints JSON")?;
    ensure!(seen.mpps > 0.0, "weft bench datapath forwarded nothing");
    Ok(seen)
}

/// A switch of many ports that nobody uses, or of some with traffic.
#[derive(Debug)]
pub struct Switch {
    daemon: Daemon,
    n_ports: u32,
}

const LISTEN: &str = "tcp:127.0.0.1:6654";

impl Switch {
    /// Starts it with `n_ports` taps in namespaces `w1`, `w2` and so on.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn start(weft: &Path, dir: &Path, n_ports: u32) -> Result<Self> {
        let mut command = Command::new(weft);
        command.args(["switch", "--fail-mode", "standalone", "--listen", "ptcp:6654"]);
        command.env("WEFT_RUN_DIR", dir.join("run-many"));
        for port in 1..=n_ports {
            let namespace = format!("w{port}");
            run(&["ip", "netns", "add", &namespace])?;
            // Hosts that look for routers are not idle.
            let quiet = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; \
                         echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6";
            run(&["ip", "netns", "exec", &namespace, "sh", "-c", quiet])?;
            command.arg("--port").arg(format!("{port}=netns:w{port}/e0"));
        }
        let mut daemon = Daemon::start(&mut command, &dir.join("weft-many.log"))?;
        daemon
            .until("a switch that answers", 30, || run(&["ovs-ofctl", "-O", "OpenFlow13", "show", LISTEN]))?;
        for port in 1..=n_ports {
            let namespace = format!("w{port}");
            let there = || run(&["ip", "-n", &namespace, "link", "show", "e0"]);
            daemon.until("the interface of a port", 30, there)?;
            run(&["ip", "-n", &namespace, "address", "add", &format!("10.8.0.{port}/24"), "dev", "e0"])?;
            run(&["ip", "-n", &namespace, "link", "set", "e0", "up"])?;
        }
        Ok(Self { daemon, n_ports })
    }

    /// Seconds of processor time so far, of threads that have ended, too.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu(&self) -> Result<f64> {
        /// What /proc counts in, for programs (`USER_HZ`).
        const TICKS: f64 = 100.0;
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.daemon.id()))?;
        // The name, in parentheses, may have spaces; behind it user and system time are the twelfth and thirteenth field.
        let (_, fields) = text.rsplit_once(')').context("/proc/PID/stat has a name")?;
        let times: Vec<f64> =
            fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
        ensure!(times.len() == 2, "/proc/PID/stat has no times");
        Ok(times.iter().sum::<f64>() / TICKS)
    }

    /// Bytes of memory it has.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS")?;
        Ok(kib * 1024.0)
    }

    /// Installs `n` flows at once.
    ///
    /// # Errors
    /// When they are refused.
    pub fn add_flows(&self, dir: &Path, n: u32) -> Result<()> {
        let file = dir.join("numbered.flows");
        std::fs::write(&file, (0..n).map(|n| numbered(n) + "\n").collect::<String>())?;
        let mut command = Command::new("ovs-ofctl");
        command.args(["-O", "OpenFlow13", "--bundle", "add-flows", LISTEN]).arg(file);
        output(&mut command, 120).map(drop)
    }

    /// Lets the first two ports talk for a while, to each other and by broadcasts to all.
    ///
    /// # Errors
    /// When iperf3 fails.
    pub fn traffic(&self, dir: &Path, time: Duration) -> Result<()> {
        let _server = Daemon::start(
            Command::new("ip").args(["netns", "exec", "w2", "iperf3", "-s"]),
            &dir.join("iperf-many.log"),
        )?;
        std::thread::sleep(Duration::from_millis(500));
        let seconds = time.as_secs().max(1).to_string();
        let args = ["netns", "exec", "w1", "iperf3", "-c", "10.8.0.2", "-P", "4", "-t", &seconds];
        output(Command::new("ip").args(args), u32::try_from(time.as_secs())? + 20).map(drop)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for port in 1..=self.n_ports {
            // Whatever stays goes with the run.
            let _ = run(&["ip", "netns", "del", &format!("w{port}")]);
        }
    }
}
