//! `weft function` between two hosts, as a chain uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use system_tests::{Namespace, Process, RawSocket, Sandbox, Weft, veth_pair, wait_for, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// client -- in [function] out -- server, the function keeping its report in a file.
struct Chain {
    client: Namespace,
    server: Namespace,
    report: PathBuf,
    function: Process,
    _middle: Namespace,
}

fn chain(sandbox: &Sandbox, args: &[&str]) -> Chain {
    let weft = Weft::new(sandbox);
    let [client, middle, server] = ["client", "middle", "server"].map(|name| Namespace::new(sandbox, name));
    veth_pair((Some(&client), "eth0"), (Some(&middle), "in"));
    veth_pair((Some(&server), "eth0"), (Some(&middle), "out"));
    client.address("eth0", "10.0.0.1/24");
    server.address("eth0", "10.0.0.2/24");
    let report = sandbox.dir().join("report.json");
    let path = report.to_string_lossy().into_owned();
    let rest = ["--netns", "middle", "--report", &path];
    let function = weft.spawn("function", &[&["function"][..], args, &rest].concat());
    wait_until(SOON, "the function's first report", || report.exists());
    Chain { client, server, report, function, _middle: middle }
}

fn read_report(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("the report is replaced in one step, so it is always there");
    serde_json::from_str(&text).expect("the report is JSON")
}

/// Whether a line sent to TCP port `port` of the server comes back.
fn echoes(chain: &Chain, port: u16) -> bool {
    let line = format!("echo hello | busybox nc -w 2 10.0.0.2 {port}");
    let answer = chain.client.exec(&["timeout", "3", "sh", "-c", &line]);
    answer.stdout.trim() == "hello"
}

#[test]
fn a_firewall_lets_pass_what_its_rules_allow_and_counts_the_rest() {
    let sandbox = Sandbox::enter("firewall");
    let chain = chain(&sandbox, &["firewall", "--rule", "deny tcp dst-port 23"]);
    let _servers =
        ["80", "23"].map(|port| chain.server.spawn(&["busybox", "nc", "-ll", "-p", port, "-e", "cat"]));
    wait_until(SOON, "a ping through the firewall", || chain.client.pings("10.0.0.2"));
    wait_until(SOON, "an echo from port 80", || echoes(&chain, 80));
    assert!(!echoes(&chain, 23), "port 23 is denied and yet answers");
    let denied = wait_for(SOON, "the rule's counter", || {
        read_report(&chain.report)["rules"][0]["n_frames"].as_u64().filter(|n| *n > 0)
    });
    assert!(denied >= 1, "{denied}");
}

#[test]
fn an_inspector_counts_bad_frames_and_lives_on() {
    let sandbox = Sandbox::enter("inspector");
    let mut chain = chain(&sandbox, &["inspect"]);
    let wire = chain.client.enter(|| RawSocket::open("eth0"));
    let bad = bad_frames();
    for (what, frame) in &bad {
        wire.send(frame).unwrap_or_else(|error| panic!("cannot send {what}: {error}"));
    }
    let expected = bad.len() as u64;
    wait_until(SOON, "every bad frame in the report", || {
        let report = read_report(&chain.report);
        report["n_malformed"].as_u64() == Some(expected)
    });
    wait_until(SOON, "a ping after the bad frames", || chain.client.pings("10.0.0.2"));
    assert!(chain.function.is_running());
}

/// Frames whose headers lie about what follows.
fn bad_frames() -> Vec<(&'static str, Vec<u8>)> {
    let ethernet = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1];
    let ip = |length: u16, first: u8| {
        let length = length.to_be_bytes();
        let header = [first, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        [&ethernet[..], &[0x08, 0x00], &header].concat()
    };
    vec![
        ("an IPv4 packet longer than its frame", ip(1000, 0x45)),
        ("an IPv4 packet shorter than its header", ip(8, 0x45)),
        ("an IPv4 header length of 60 bytes in 20", ip(20, 0x4f)),
        ("an IPv4 header cut after 10 bytes", ip(20, 0x45)[..24].to_vec()),
    ]
}
