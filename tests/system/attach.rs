//! What users attach by hand: a guest whose monitor owns the tap, and a container known by its process.

use std::time::Duration;

use nix::sys::signal::Signal;
use system_tests::{Namespace, Sandbox, Vm, Weft, wait_until};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_guest_and_a_container_meet_on_a_switch_and_leave_it_while_it_runs() {
    let sandbox = Sandbox::enter("attach");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    {
        let container = Namespace::new(&sandbox, "container");
        let init = container.spawn(&["sleep", "1000"]);
        let second = format!("2=netns:pid:{}/eth0", init.pid());
        let ports = ["--port", "1=tap:vm0", "--port", &second, "--fail-mode", "standalone"];
        let mut switch = weft.spawn("switch", &[&["switch", "--dpid", "1"][..], &ports].concat());
        let listed = |what: &str| weft.run(&["port", "list"]).stdout.contains(what);
        wait_until(SOON, "the switch to have both ports", || listed("tap:vm0") && listed("netns:pid:"));
        container.address("eth0", "10.0.0.2/24");

        let vm = Vm::boot(&sandbox, "vm1", "vm0", "02:00:00:00:00:01", "weft.if=eth0,10.0.0.1/24");
        wait_until(SOON, "a ping from container to guest", || container.pings("10.0.0.1"));
        // Super-frames and unfinished checksums of either side reach the other as they are.
        let bytes = ["-e", "head", "-c", "3000000", "/dev/zero"];
        let _server = container.spawn(&[&["busybox", "nc", "-ll", "-p", "80"][..], &bytes].concat());
        let (_, count) = vm.run("nc 10.0.0.2 80 </dev/null | wc -c", SOON);
        assert_eq!(count.trim(), "3000000", "to the guest");
        let (status, _) =
            vm.run("nc -ll -p 81 -e head -c 3000000 /dev/zero >/dev/null 2>&1 </dev/null &", SOON);
        assert_eq!(status, 0);
        wait_until(SOON, "all bytes from the guest", || {
            let line = "busybox nc 10.0.0.1 81 </dev/null | wc -c";
            container.exec(&["timeout", "10", "sh", "-c", line]).stdout.trim() == "3000000"
        });

        weft.run(&["port", "del", "1"]).success();
        assert!(!container.pings("10.0.0.1"), "the guest's port is gone");
        drop(vm);
        switch.stop();
    }
    sandbox.assert_nothing_left(&before);
}

#[test]
fn a_container_keeps_its_interface_while_a_killed_switch_is_started_again() {
    let sandbox = Sandbox::enter("restart");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    {
        let hosts = ["h1", "h2"].map(|name| Namespace::new(&sandbox, name));
        let ports = ["--port", "1=netns:h1/eth0", "--port", "2=netns:h2/eth0", "--fail-mode", "standalone"];
        let start = |log: &str| weft.spawn(log, &[&["switch", "--dpid", "1"][..], &ports].concat());
        let mut switch = start("first");
        switch.wait_for_log(SOON, "is ready");
        for (host, address) in hosts.iter().zip(["10.0.0.1/24", "10.0.0.2/24"]) {
            host.address("eth0", address);
        }
        wait_until(SOON, "a ping", || hosts[0].pings("10.0.0.2"));
        switch.signal(Signal::SIGKILL);
        switch.wait(SOON);

        let mut switch = start("second");
        switch.wait_for_log(SOON, "is ready");
        wait_until(SOON, "a ping after the crash", || hosts[0].pings("10.0.0.2"));
        let third =
            weft.run(&["switch", "--dpid", "3", "--name", "s3", "--port", "1=netns:h1/eth0"]).failure();
        assert!(third.contains("used by another process"), "{third}");
        switch.stop();
        let links = hosts[0].exec(&["ip", "-o", "link"]).success();
        assert!(!links.contains("eth0"), "a clean end takes it away: {links}");
    }
    sandbox.assert_nothing_left(&before);
}
