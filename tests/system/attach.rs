//! What users attach by hand: a guest whose monitor owns the tap, and a container known by its process.

use std::time::Duration;

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
