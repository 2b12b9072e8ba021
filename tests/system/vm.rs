//! Guests started by hand.

use std::process::Command;
use std::time::Duration;

use system_tests::{Sandbox, Vm, run, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn the_test_vm_configures_its_interface_and_answers_the_host() {
    let sandbox = Sandbox::enter("vm-boot");
    for args in [
        &["tuntap", "add", "tap0", "mode", "tap"][..],
        &["addr", "add", "10.0.0.254/24", "dev", "tap0"],
        &["link", "set", "tap0", "up"],
    ] {
        run(Command::new("ip").args(args)).success();
    }
    let words = "weft.if=eth0,10.0.0.1/24 weft.gw=10.0.0.254";
    let vm = Vm::boot(&sandbox, "vm1", "tap0", "02:00:00:00:00:01", words);
    assert_eq!(vm.run("hostname; printf no-newline; false", SOON), (1, "vm1\nno-newline\n".to_owned()));
    let (_, routes) = vm.run("ip route", SOON);
    assert!(routes.contains("default via 10.0.0.254"), "{routes}");
    let mut ping = Command::new("busybox");
    ping.args(["ping", "-c", "1", "-W", "2", "10.0.0.1"]);
    wait_until(SOON, "a ping from host to guest", || run(&mut ping).status.success());
}
