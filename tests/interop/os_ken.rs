//! A learning switch: an application of os-ken over OpenFlow 1.3 on a weft switch.

use std::time::Duration;

use system_tests::{
    Namespace, Process, Sandbox, Weft, controller_command, run, transfer, wait_until, workspace_root,
};

const DEADLINE: Duration = Duration::from_secs(60);

fn start_controller(sandbox: &Sandbox, name: &str) -> Process {
    let app = workspace_root().join("tests/interop/apps/learning_switch.py");
    let mut command = controller_command("osken-manager");
    command.args(["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", "6653"]).arg(app);
    let mut process = Process::spawn(&mut command, &sandbox.dir().join(name));
    process.wait_for_log(DEADLINE, "switch 7 is here");
    process
}

fn flows() -> Vec<String> {
    let mut ofctl = std::process::Command::new("ovs-ofctl");
    let text = run(ofctl.args(["-O", "OpenFlow13", "dump-flows", "tcp:127.0.0.1:6654"])).success();
    text.lines().filter(|line| line.contains("cookie=")).map(str::to_owned).collect()
}

#[test]
fn a_learning_switch_app_of_os_ken_connects_hosts_and_may_be_restarted() {
    let sandbox = Sandbox::enter("os-ken");
    let hosts = [1, 2, 3].map(|n| Namespace::new(&sandbox, &format!("h{n}")));
    let mut args = ["switch", "--dpid", "7", "--listen", "ptcp:6654"].map(str::to_owned).to_vec();
    args.extend(["--controller".to_owned(), "tcp:127.0.0.1:6653".to_owned()]);
    args.extend((1..=3).flat_map(|n| ["--port".to_owned(), format!("{n}=netns:h{n}/eth0")]));
    let weft = Weft::new(&sandbox);
    let _switch = weft.spawn("s1", &args.iter().map(String::as_str).collect::<Vec<_>>());
    let controller = start_controller(&sandbox, "os-ken-1.log");
    for (n, host) in (1..).zip(&hosts) {
        host.address("eth0", &format!("10.0.0.{n}/24"));
    }
    let ping = |from: usize, to: usize| {
        let what = format!("a ping from h{from} to h{to}");
        wait_until(DEADLINE, &what, || hosts[from - 1].pings(&format!("10.0.0.{to}")));
    };
    ping(1, 2);
    let found = flows();
    assert!(found.iter().any(|flow| flow.contains("priority=0 actions=CONTROLLER:65535")), "{found:?}");
    for (from, to) in [(1, 2), (2, 1)] {
        let (port, action) = (format!("in_port={from},"), format!("actions=output:{to}"));
        let learned =
            |flow: &String| flow.contains(&port) && flow.contains("dl_dst=") && flow.contains(&action);
        assert!(found.iter().any(learned), "{found:?}");
    }
    assert_eq!(transfer(&hosts[0], &hosts[1], "10.0.0.2:5000", 8 << 20), 8 << 20, "bytes of TCP");

    // Without a controller the hosts that were learned go on, and others are not reached.
    drop(controller);
    assert!(hosts[0].pings("10.0.0.2"), "without a controller");
    assert!(!hosts[0].pings("10.0.0.3"), "h3 was never learned");
    let _controller = start_controller(&sandbox, "os-ken-2.log");
    ping(1, 3);
    ping(3, 2);
    assert_eq!(transfer(&hosts[2], &hosts[0], "10.0.0.1:5001", 8 << 20), 8 << 20, "bytes of TCP");
}
