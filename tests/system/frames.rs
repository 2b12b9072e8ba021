//! Frames that no well-behaved host sends.

use std::process::Command;
use std::time::Duration;

use system_tests::{Namespace, Process, RawSocket, Sandbox, Weft, run, veth_pair, wait_until};

const SOON: Duration = Duration::from_secs(15);
const LISTEN: &str = "tcp:127.0.0.1:6654";

/// Starts switch 1 with `ports` (`1=netns:h1/eth0`), listening for controllers.
fn switch(weft: &Weft, ports: &[&str]) -> Process {
    let ports = ports.iter().flat_map(|port| ["--port", port]);
    let rest = ["--listen", "ptcp:6654", "--fail-mode", "secure"];
    let args: Vec<&str> = ["switch", "--dpid", "1"].into_iter().chain(ports).chain(rest).collect();
    let switch = weft.spawn("switch", &args);
    wait_until(SOON, "the switch to listen", || ofctl(&["show", LISTEN]));
    switch
}

fn ofctl(args: &[&str]) -> bool {
    run(Command::new("ovs-ofctl").args(["-O", "OpenFlow13", "--timeout=5"]).args(args)).status.success()
}

/// Joins ports 1 and 2.
fn join_ports() {
    for flow in ["in_port=1,actions=output:2", "in_port=2,actions=output:1"] {
        assert!(ofctl(&["add-flow", LISTEN, flow]), "{flow}");
    }
}

/// What the switch says it dropped for `reason`.
fn dropped(sandbox: &Sandbox, reason: &str) -> u64 {
    let socket = sandbox.run_dir().join("s1.sock");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--unix-socket"])
        .arg(socket)
        .arg("http://switch/api/v1/switches/s1/drops");
    let counters = run(&mut curl).json();
    let mut counters = counters.as_array().into_iter().flatten();
    let counter = counters.find(|counter| counter["name"] == reason);
    counter.and_then(|counter| counter["value"].as_u64()).unwrap_or(0)
}

#[test]
fn frames_that_lie_are_counted_with_their_reason_and_do_no_harm() {
    let sandbox = Sandbox::enter("switch-lies");
    let weft = Weft::new(&sandbox);
    let (h1, h2) = (Namespace::new(&sandbox, "h1"), Namespace::new(&sandbox, "h2"));
    veth_pair((Some(&h1), "eth0"), (None, "veth1"));
    let mut switch = switch(&weft, &["1=afpacket:veth1", "2=netns:h2/eth0"]);
    // Flows that read every layer.
    for flow in ["tcp,tp_dst=9,actions=drop", "udp6,tp_dst=9,actions=drop", "arp,arp_op=9,actions=drop"] {
        assert!(ofctl(&["add-flow", LISTEN, flow]), "{flow}");
    }
    join_ports();
    h1.address("eth0", "10.0.0.1/24");
    h2.address("eth0", "10.0.0.2/24");
    wait_until(SOON, "a ping", || h1.pings("10.0.0.2"));
    let wires = [&h1, &h2].map(|host| host.enter(|| RawSocket::open("eth0")));
    for (wire, (reason, frames)) in
        wires.iter().flat_map(|wire| lies().into_iter().map(move |lie| (wire, lie)))
    {
        let before = dropped(&sandbox, reason);
        for frame in &frames {
            wire.send(frame).unwrap_or_else(|error| panic!("cannot send {reason}: {error}"));
        }
        let expected = before + frames.len() as u64;
        wait_until(SOON, &format!("{expected} frames dropped for {reason}"), || {
            dropped(&sandbox, reason) == expected
        });
    }
    assert!(switch.is_running(), "{}", switch.log());
    wait_until(SOON, "a ping after the lies", || h1.pings("10.0.0.2"));
}

/// Frames that no well-behaved host sends, by the reason for which they are dropped. What is below 14 bytes or above
/// 65,549 the kernel does not send; a VLAN tag cut short it drops itself on a veth.
fn lies() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let addresses = [[0x33; 6], [2, 0, 0, 0, 0, 9]].concat();
    let frame = |rest: &[u8]| [&addresses, rest].concat();
    let ipv4 = |first: u8, length: u16, n: usize| {
        let [high, low] = length.to_be_bytes();
        let header = [first, 0, high, low, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        frame(&[&[0x08, 0x00], &header[..n]].concat())
    };
    let ipv6 = |length: u16| {
        let [high, low] = length.to_be_bytes();
        frame(&[&[0x86, 0xdd, 0x60, 0, 0, 0, high, low, 17, 64][..], &[0xfd; 32], &[0; 4]].concat())
    };
    let ten_tags = [[0x81, 0x00, 0x00, 0x05]; 10].concat();
    vec![
        ("too_short", vec![frame(&[0x08, 0x00]), ipv4(0x45, 20, 10)]),
        ("bad_length", vec![ipv4(0x45, 1000, 20), ipv4(0x45, 8, 20), ipv4(0x4f, 20, 20), ipv6(60000)]),
        ("too_many_tags", vec![frame(&[&ten_tags[..], &[0x88, 0xb5], &[0; 46]].concat())]),
    ]
}
