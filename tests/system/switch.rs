//! One switch alone, with what a user attaches to it by hand: a container known by its pid, a guest on a tap, and
//! somebody who sends nonsense.

use std::process::Command;
use std::time::Duration;

use system_tests::{Namespace, Process, Sandbox, Vm, Weft, run, veth_pair, wait_until};

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

#[test]
fn a_container_known_by_its_pid_reaches_a_host_behind_a_veth() {
    let sandbox = Sandbox::enter("switch-pid");
    let weft = Weft::new(&sandbox);
    let log = sandbox.dir().join("container.log");
    let mut container = Process::spawn(Command::new("unshare").args(["--net", "sleep", "600"]), &log);
    let pid = container.pid().to_string();
    let own = std::fs::read_link("/proc/thread-self/ns/net").expect("a thread has a namespace");
    wait_until(SOON, "the container's namespace", || {
        std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|theirs| theirs != own)
    });
    let h2 = Namespace::new(&sandbox, "h2");
    veth_pair((Some(&h2), "eth0"), (None, "veth2"));
    let mut switch = switch(&weft, &[&format!("1=netns:pid:{pid}/eth0"), "2=afpacket:veth2"]);
    join_ports();
    h2.address("eth0", "10.0.0.2/24");
    let inside = |args: &[&str]| run(Command::new("nsenter").args(["--net", "--target", &pid]).args(args));
    inside(&["ip", "addr", "add", "10.0.0.1/24", "dev", "eth0"]).success();
    inside(&["ip", "link", "set", "eth0", "up"]).success();
    wait_until(SOON, "a ping from the container", || {
        inside(&["busybox", "ping", "-c", "1", "-W", "2", "10.0.0.2"]).status.success()
    });
    assert!(switch.stop().success(), "{}", switch.log());
    assert!(container.is_running());
}

#[test]
fn a_guest_started_by_hand_on_a_tap_reaches_a_host() {
    let sandbox = Sandbox::enter("switch-vm");
    let weft = Weft::new(&sandbox);
    let h2 = Namespace::new(&sandbox, "h2");
    let mut switch = switch(&weft, &["1=tap:t1", "2=netns:h2/eth0"]);
    join_ports();
    h2.address("eth0", "10.0.0.2/24");
    let vm = Vm::boot(&sandbox, "vm1", "t1", "02:00:00:00:00:01", "weft.if=eth0,10.0.0.1/24");
    wait_until(Duration::from_secs(30), "a ping from the guest", || {
        vm.run("ping -c 1 -W 2 10.0.0.2", SOON).0 == 0
    });
    let _server = h2.spawn(&["busybox", "nc", "-ll", "-p", "80", "-e", "cat"]);
    wait_until(SOON, "an echo over TCP", || {
        vm.run("echo hello | timeout 3 nc 10.0.0.2 80", SOON).1.trim() == "hello"
    });
    assert!(switch.is_running(), "{}", switch.log());
}
