//! `cargo xtask bench path`: TCP between two namespaces through one weft switch, beside a bare veth in the same run.
//!
//! Supports the claim "at least 5 Gbit/s of TCP on one stream through one switch, offloads on". Prints the median of
//! three runs of each path and exits with status 1 when the switch stays below the claim. `WEFT_BIN` names the binary;
//! otherwise the release build is made first.

use std::process::ExitCode;
use std::time::Duration;

use system_tests::{Namespace, Sandbox, Weft, require_program, run, veth_pair, wait_until};

const CLAIM_GBPS: f64 = 5.0;
const SECONDS: &str = "4";
const RUNS: usize = 3;
const SOON: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    require_program("iperf3", "iperf3");
    require_program("ovs-ofctl", "openvswitch-switch");
    let veth = bare_veth();
    let switch = through_switch();
    println!("path                     TCP, 1 stream, Gbit/s (median of {RUNS} runs of {SECONDS} s)");
    println!("bare veth                {veth:>6.2}");
    println!("one weft switch          {switch:>6.2}   {:.2} of the bare veth", switch / veth);
    if switch < CLAIM_GBPS {
        println!("below the claim of {CLAIM_GBPS} Gbit/s");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn bare_veth() -> f64 {
    let sandbox = Sandbox::enter("bench-veth");
    let (h1, h2) = (Namespace::new(&sandbox, "h1"), Namespace::new(&sandbox, "h2"));
    veth_pair((Some(&h1), "eth0"), (Some(&h2), "eth0"));
    measure(&h1, &h2)
}

fn through_switch() -> f64 {
    let sandbox = Sandbox::enter("bench-switch");
    let weft = Weft::new(&sandbox);
    let (h1, h2) = (Namespace::new(&sandbox, "h1"), Namespace::new(&sandbox, "h2"));
    let ports = ["--port", "1=netns:h1/eth0", "--port", "2=netns:h2/eth0"];
    let rest = ["--listen", "ptcp:6654", "--fail-mode", "secure"];
    let _switch = weft.spawn("switch", &[&["switch", "--dpid", "1"][..], &ports, &rest].concat());
    for flow in ["in_port=1,actions=output:2", "in_port=2,actions=output:1"] {
        let mut add = std::process::Command::new("ovs-ofctl");
        add.args(["-O", "OpenFlow13", "add-flow", "tcp:127.0.0.1:6654", flow]);
        wait_until(SOON, "the switch to take a flow", || run(&mut add).status.success());
    }
    measure(&h1, &h2)
}

fn measure(h1: &Namespace, h2: &Namespace) -> f64 {
    h1.address("eth0", "10.0.0.1/24");
    h2.address("eth0", "10.0.0.2/24");
    let _server = h2.spawn(&["iperf3", "-s"]);
    wait_until(SOON, "a ping", || h1.pings("10.0.0.2"));
    let mut rates: Vec<f64> = (0..RUNS).map(|_| one_run(h1)).collect();
    rates.sort_by(f64::total_cmp);
    rates[RUNS / 2]
}

fn one_run(h1: &Namespace) -> f64 {
    let report = h1.exec(&["iperf3", "-c", "10.0.0.2", "-t", SECONDS, "-J"]).json();
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    rate.expect("iperf3 reports what was received") / 1e9
}
