//! What must not happen to a switch that runs alone.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use system_tests::{Namespace, Process, Sandbox, Weft, run, wait_for, wait_until};

const SOON: Duration = Duration::from_secs(15);
const SWITCH: &str = "tcp:127.0.0.1:6654";

fn ofctl(args: &[&str]) -> bool {
    run(Command::new("ovs-ofctl").args(["-O", "OpenFlow13", "--timeout=10"]).args(args)).status.success()
}

/// Two hosts whose ports are joined by flows.
fn start(sandbox: &Sandbox, weft: &Weft, more: &[&str]) -> (Process, Namespace, Namespace) {
    let [h1, h2] = ["h1", "h2"].map(|name| Namespace::new(sandbox, name));
    let args = ["switch", "--port", "1=netns:h1/eth0", "--port", "2=netns:h2/eth0", "--listen", "ptcp:6654"];
    let switch = weft.spawn("switch", &[&args[..], more].concat());
    wait_until(SOON, "the switch to listen", || ofctl(&["show", SWITCH]));
    h1.address("eth0", "10.0.0.1/24");
    h2.address("eth0", "10.0.0.2/24");
    for flow in ["in_port=1,actions=output:2", "in_port=2,actions=output:1"] {
        assert!(ofctl(&["add-flow", SWITCH, flow]), "{flow}");
    }
    wait_until(SOON, "a first ping", || h1.pings("10.0.0.2"));
    (switch, h1, h2)
}

#[test]
fn flows_go_on_when_the_controller_vanishes_and_the_switch_comes_back() {
    let sandbox = Sandbox::enter("ctl-vanishes");
    let weft = Weft::new(&sandbox);
    let listener = TcpListener::bind("127.0.0.1:6653").expect("the port is free in a sandbox");
    let (_switch, h1, _h2) = start(&sandbox, &weft, &["--controller", "tcp:127.0.0.1:6653"]);
    let accept = |listener: &TcpListener| {
        let (mut stream, _) = listener.accept().expect("the switch connects");
        stream.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
        let mut header = [0; 8];
        stream.read_exact(&mut header).expect("the switch says hello");
        assert_eq!(header[1], 0, "a hello");
        stream
    };
    let controller = accept(&listener);
    // Gone in the middle of the greeting, and the listener with it.
    drop((controller, listener));
    for _ in 0..3 {
        wait_until(SOON, "a ping without a controller", || h1.pings("10.0.0.2"));
    }
    // The port may linger for a moment.
    let listener = wait_for(SOON, "the port", || TcpListener::bind("127.0.0.1:6653").ok());
    let mut controller = accept(&listener);
    // A controller that says nothing: the switch gives up on it and tries again.
    let mut rest = Vec::new();
    controller.read_to_end(&mut rest).expect("the switch hangs up");
    drop(accept(&listener));
    assert!(h1.pings("10.0.0.2"));
}

#[test]
fn garbage_and_floods_cost_their_connection_only() {
    let sandbox = Sandbox::enter("of-garbage");
    let weft = Weft::new(&sandbox);
    let (mut switch, h1, _h2) = start(&sandbox, &weft, &[]);
    let hello = [4, 0, 0, 8, 0, 0, 0, 1];
    let zeros = [0; 65_536];
    let random: Vec<u8> = (0..65_536u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for garbage in [&zeros[..], &random, b"SSH-2.0-x\r\n", &hello[..5], &[&hello[..], &random].concat()] {
        let mut stream = TcpStream::connect("127.0.0.1:6654").expect("the switch listens");
        let _ = stream.write_all(garbage);
    }
    // Echo requests without end from somebody who never reads the answers.
    let mut deaf = TcpStream::connect("127.0.0.1:6654").expect("the switch listens");
    deaf.set_write_timeout(Some(Duration::from_secs(1))).expect("a socket takes a timeout");
    deaf.write_all(&hello).expect("the switch listens");
    let echo: Vec<u8> = [&[4, 2, 0x10, 0, 0, 0, 0, 9][..], &[7; 0xff8]].concat();
    let mut sent = 0u64;
    while sent < 1 << 30 && deaf.write_all(&echo).is_ok() {
        sent += echo.len() as u64;
    }
    assert!(sent < 1 << 30, "the switch takes everything from somebody who never reads");
    let status = std::fs::read_to_string(format!("/proc/{}/status", switch.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has a size");
    let kib: u64 = peak.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    assert!(kib < 200 << 10, "{kib} KiB");
    assert!(ofctl(&["dump-flows", SWITCH]) && h1.pings("10.0.0.2"));
    assert!(switch.is_running());
}

#[test]
fn ports_come_and_go_while_it_runs() {
    let sandbox = Sandbox::enter("of-ports");
    let weft = Weft::new(&sandbox);
    let (_switch, h1, _h2) = start(&sandbox, &weft, &[]);
    let h3 = Namespace::new(&sandbox, "h3");
    weft.run(&["port", "add", "3=netns:h3/eth0"]).success();
    h3.address("eth0", "10.0.0.3/24");
    assert!(ofctl(&["del-flows", SWITCH]) && ofctl(&["add-flow", SWITCH, "actions=NORMAL"]));
    wait_until(SOON, "a ping to the new port", || h1.pings("10.0.0.3"));
    let listed = weft.run(&["port", "list", "--json"]).json();
    let numbers: Vec<_> =
        listed["s1"].as_array().expect("ports").iter().map(|p| p["number"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)], "{listed}");
    let taken = weft.run(&["port", "add", "3=netns:h3/eth1"]).failure();
    assert!(taken.contains("port 3 is there already: netns:h3/eth0"), "{taken}");
    let missing = weft.run(&["port", "add", "4=netns:nobody/eth0"]).failure();
    assert!(missing.contains("nobody"), "{missing}");
    weft.run(&["port", "del", "3"]).success();
    let links = h3.exec(&["ip", "-br", "link"]).success();
    assert!(!links.contains("eth0"), "{links}");
    assert!(!h1.pings("10.0.0.3") && h1.pings("10.0.0.2"));
    // A container that ends takes its port with it.
    weft.run(&["port", "add", "3=netns:h3/eth0"]).success();
    run(Command::new("ip").args(["-n", "h3", "link", "del", "eth0"])).success();
    wait_until(SOON, "the port to go", || {
        weft.run(&["port", "list", "--json"]).json()["s1"].as_array().is_some_and(|ports| ports.len() == 2)
    });
}

#[test]
fn alone_it_forwards_by_itself_if_told_to() {
    let sandbox = Sandbox::enter("of-standalone");
    let weft = Weft::new(&sandbox);
    let [h1, h2] = ["h1", "h2"].map(|name| Namespace::new(&sandbox, name));
    let ports = [
        "--port",
        "1=netns:h1/eth0",
        "--port",
        "2=netns:h2/eth0",
        "--fail-mode",
        "standalone",
        "--listen",
        "ptcp:6654",
    ];
    let mut switch = weft.spawn("switch", &[&["switch"][..], &ports].concat());
    switch.wait_for_log(SOON, "is ready");
    h1.address("eth0", "10.0.0.1/24");
    h2.address("eth0", "10.0.0.2/24");
    wait_until(SOON, "a ping without controller and flows", || h1.pings("10.0.0.2"));
    // As with Open vSwitch, by a flow like any other.
    let flows = weft.run(&["flows"]).success();
    assert!(flows.lines().count() == 1 && flows.contains("priority=0 actions=NORMAL"), "{flows}");
    // Whoever comes to look is no controller.
    let mut monitor = Command::new("ovs-ofctl");
    monitor.env("OVS_RUNDIR", sandbox.dir()).args(["-O", "OpenFlow13", "monitor", SWITCH]);
    let mut monitor = Process::spawn(&mut monitor, &sandbox.dir().join("monitor.log"));
    assert!(ofctl(&["show", SWITCH]) && h2.pings("10.0.0.1") && h1.pings("10.0.0.2"));
    assert!(monitor.is_running());
    assert!(ofctl(&["add-flow", SWITCH, "priority=9,icmp,actions=drop"]) && !h1.pings("10.0.0.2"));
}

#[test]
fn what_was_made_goes_with_the_switch() {
    for (name, signal) in [("of-term", Signal::SIGTERM), ("of-int", Signal::SIGINT)] {
        let sandbox = Sandbox::enter(name);
        let weft = Weft::new(&sandbox);
        let before = sandbox.snapshot();
        let ports = ["--port", "1=tap:t1", "--port", "2=hosttap:t2", "--listen", "ptcp:6654"];
        let mut switch = weft.spawn("switch", &[&["switch"][..], &ports].concat());
        wait_until(SOON, "the switch to listen", || ofctl(&["show", SWITCH]));
        switch.signal(signal);
        assert!(switch.wait(SOON).success(), "{}", switch.log());
        sandbox.assert_nothing_left(&before);
    }
}

#[test]
fn a_start_that_fails_leaves_nothing_and_says_why() {
    let sandbox = Sandbox::enter("of-fails");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let run = |args: &[&str]| weft.run(&[&["switch"][..], args].concat()).failure();
    let text = run(&["--port", "1=hosttap:t1", "--port", "2=afpacket:nobody"]);
    assert!(text.contains("nobody") && text.trim().lines().count() == 1, "{text}");
    let text = run(&["--port", "1=hosttap:t1", "--port", "1=hosttap:t2"]);
    assert!(text.contains("port 1 is there already: hosttap:t1"), "{text}");
    let text = run(&["--port", "1=hostap:t1"]);
    assert!(text.contains("hosttap:NAME"), "{text}");
    let _taken = TcpListener::bind("127.0.0.1:6654").expect("the port is free in a sandbox");
    let text = run(&["--listen", "ptcp:6654"]);
    assert!(text.contains("cannot listen on tcp:127.0.0.1:6654"), "{text}");
    sandbox.assert_nothing_left(&before);

    // An ordinary user without a user namespace.
    let mut command = weft.command(&["switch", "--port", "1=hosttap:t1"]);
    let dir = sandbox.dir().join("nobody");
    std::fs::create_dir(&dir).expect("the sandbox's folder is writable");
    std::os::unix::fs::chown(&dir, Some(65_534), Some(65_534)).expect("root may");
    command.env("WEFT_RUN_DIR", dir).uid(65_534).gid(65_534);
    let text = system_tests::run(&mut command).failure();
    assert!(text.contains("CAP_NET_ADMIN") && text.trim().lines().count() == 1, "{text}");
    sandbox.assert_nothing_left(&before);
}
