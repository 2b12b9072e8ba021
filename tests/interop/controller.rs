//! The weft controller over bridges of Open vSwitch.

use std::time::Duration;

use controller_api::client::Client;
use controller_api::{Network, State, Stored, TraceRequest};
use system_tests::{
    Namespace, Ovs, Process, Sandbox, Weft, run, transfer, veth_pair, wait_call as wait, wait_until,
};

/// Longest wait for anything to become true.
const DEADLINE: Duration = Duration::from_secs(30);

fn start_controller(sandbox: &Sandbox) -> (Process, Client) {
    let weft = Weft::new(sandbox);
    let process = weft.spawn("controller", &["controller"]);
    let client = Client::unix(sandbox.run_dir().join("controller.sock"));
    wait_until(DEADLINE, "the controller's socket", || wait(client.health()).is_ok());
    (process, client)
}

/// A host `10.0.0.N` in a namespace of its own. Its interface is an internal port of `bridge`: the kernel completes
/// checksums there, which it would leave to the other end of a veth, and Open vSwitch does not do it.
fn host(sandbox: &Sandbox, ovs: &Ovs, n: u8, bridge: &str) -> Namespace {
    let host = Namespace::new(sandbox, &format!("h{n}"));
    let (port, request) = (format!("p{n}"), format!("ofport_request={n}"));
    ovs.vsctl(&["add-port", bridge, &port, "--", "set", "interface", &port, "type=internal", &request]);
    wait_until(DEADLINE, "the internal port", || {
        ip(&["link", "set", &port, "netns", host.name(), "name", "eth0"])
    });
    host.address("eth0", &format!("10.0.0.{n}/24"));
    host
}

fn ip(args: &[&str]) -> bool {
    run(std::process::Command::new("ip").args(args)).status.success()
}

fn join(ovs: &Ovs, a: (&str, &str), b: (&str, &str)) {
    veth_pair((None, a.1), (None, b.1));
    for (bridge, port) in [a, b] {
        ovs.vsctl(&["add-port", bridge, port]);
    }
}

fn ping(host: &Namespace, to: u8) {
    let address = format!("10.0.0.{to}");
    wait_until(DEADLINE, &format!("a ping from {} to {address}", host.name()), || host.pings(&address));
}

/// Two bridges with two links between them: a loop, were it not for the tree.
#[test]
fn bridges_with_a_loop_forward_and_networks_are_isolated() {
    let sandbox = Sandbox::enter("ctl-ovs");
    let ovs = Ovs::start(&sandbox);
    for bridge in ["br1", "br2"] {
        ovs.add_bridge(bridge);
    }
    let hosts = [(1, "br1"), (2, "br2"), (3, "br1"), (4, "br2")].map(|(n, br)| host(&sandbox, &ovs, n, br));
    join(&ovs, ("br1", "x1"), ("br2", "y1"));
    join(&ovs, ("br1", "x2"), ("br2", "y2"));
    let (_controller, client) = start_controller(&sandbox);
    for bridge in ["br1", "br2"] {
        ovs.set_controller(bridge, "tcp:127.0.0.1:6653");
    }
    // Nothing is declared: one network for all.
    ping(&hosts[0], 2);
    ping(&hosts[3], 1);
    assert_eq!(wait(client.links()).unwrap().len(), 4, "two links, both directions");

    let network = |name: &str, vlan, ports: [&str; 2]| Network {
        name: name.to_owned(),
        vlan,
        ports: ports.map(|port| port.parse().expect("a port")).to_vec(),
        trunks: vec![],
        hosts: vec![],
    };
    for network in [network("blue", 10, ["br1:1", "br2:2"]), network("red", 20, ["br1:3", "br2:p4"])] {
        let path = format!("/api/v1/networks/{}?wait=realised", network.name);
        let stored: Stored<Network> = wait(client.put(&path, &network)).unwrap();
        assert_eq!(stored.status.state, State::Realised, "{:?}", stored.status);
    }
    ping(&hosts[0], 2);
    ping(&hosts[2], 4);
    assert!(!hosts[0].pings("10.0.0.4"), "blue reaches red");

    let trace = TraceRequest {
        port: "br1:1".parse().expect("a port"),
        frame: None,
        flow: Some("arp,dl_src=02:00:00:00:00:99,dl_dst=ff:ff:ff:ff:ff:ff,arp_tpa=10.0.0.2".to_owned()),
    };
    let trace = wait(client.trace(&trace)).unwrap();
    let delivered: Vec<String> = trace.delivered.iter().map(ToString::to_string).collect();
    assert_eq!(delivered, ["br2:2"], "{}", trace.text);
    // What the controller calls realised is what the switch holds, and it holds nothing else.
    for bridge in ["br1", "br2"] {
        let text = ovs.ofctl(&["dump-flows", bridge]).success();
        let held = text.lines().filter(|line| line.contains("cookie=")).count();
        assert_eq!(wait(client.flows(bridge)).unwrap().len(), held, "{text}");
    }
}

/// h1 at a bridge of Open vSwitch, h2 at a weft switch, joined by a veth; both programmed by the weft controller.
#[test]
fn traffic_crosses_open_vswitch_and_a_weft_switch() {
    let sandbox = Sandbox::enter("ctl-mixed");
    let ovs = Ovs::start(&sandbox);
    ovs.add_bridge("br1");
    let h1 = host(&sandbox, &ovs, 1, "br1");
    let h2 = Namespace::new(&sandbox, "h2");
    veth_pair((None, "x1"), (None, "y1"));
    ovs.vsctl(&["add-port", "br1", "x1"]);
    let (_controller, client) = start_controller(&sandbox);
    ovs.set_controller("br1", "tcp:127.0.0.1:6653");
    // Open vSwitch cannot take partial checksums from a veth: the switch completes them.
    let ports = ["--port", "1=netns:h2/eth0", "--port", "2=afpacket:y1,offload=off"];
    let controller = ["--controller", "tcp:127.0.0.1:6653"];
    let args = [&["switch", "--name", "s2", "--dpid", "2"][..], &ports, &controller].concat();
    let _switch = Weft::new(&sandbox).spawn("s2", &args);
    wait_until(DEADLINE, "eth0 of h2", || h2.exec(&["ip", "link", "show", "eth0"]).status.success());
    h2.address("eth0", "10.0.0.2/24");
    let linked = || wait(client.links()).is_ok_and(|links| links.len() == 2);
    wait_until(DEADLINE, "the link between the two switches", linked);
    ping(&h1, 2);
    ping(&h2, 1);
    let text = transfer(&h1, &h2, "10.0.0.2:5000", 4 << 20);
    assert_eq!(text, 4 << 20, "bytes of TCP from h1 to h2");
    assert_eq!(transfer(&h2, &h1, "10.0.0.1:5000", 4 << 20), 4 << 20, "bytes of TCP from h2 to h1");

    let blue = Network {
        name: "blue".to_owned(),
        vlan: 10,
        ports: ["br1:1", "s2:1"].map(|port| port.parse().expect("a port")).to_vec(),
        trunks: vec![],
        hosts: vec![],
    };
    let stored: Stored<Network> = wait(client.put("/api/v1/networks/blue?wait=realised", &blue)).unwrap();
    assert_eq!(stored.status.state, State::Realised, "{:?}", stored.status);
    ping(&h1, 2);
    assert_eq!(transfer(&h1, &h2, "10.0.0.2:5001", 4 << 20), 4 << 20, "bytes of TCP with a tag on the link");
    let hosts = wait(client.hosts()).unwrap();
    let mut hosts: Vec<String> =
        hosts.iter().map(|host| format!("{} {:?}", host.port, host.network)).collect();
    hosts.sort();
    assert_eq!(hosts, ["br1:1 Some(\"blue\")", "s2:1 Some(\"blue\")"]);
}

#[test]
fn a_restarted_controller_leaves_flows_and_traffic_alone() {
    let sandbox = Sandbox::enter("ctl-again");
    let ovs = Ovs::start(&sandbox);
    ovs.add_bridge("br1");
    let hosts = [1, 2].map(|n| host(&sandbox, &ovs, n, "br1"));
    let (controller, client) = start_controller(&sandbox);
    ovs.set_controller("br1", "tcp:127.0.0.1:6653");
    ping(&hosts[0], 2);
    let realised = |client: &Client| {
        wait(client.switches()).is_ok_and(|all| all.iter().any(|s| s.connected && s.realised))
    };
    let learned = || wait(client.hosts()).is_ok_and(|all| all.len() == 2) && realised(&client);
    wait_until(DEADLINE, "both hosts", learned);
    let before = wait(client.flows("br1")).unwrap();
    drop(controller);
    assert!(hosts[1].pings("10.0.0.1"), "without a controller");
    let (_controller, client) = start_controller(&sandbox);
    wait_until(DEADLINE, "the bridge to come back", || realised(&client));
    assert!(hosts[0].pings("10.0.0.2"));
    let after = wait(client.flows("br1")).unwrap();
    // A controller that was started anew looks around for 0.6 s and more: what it had put again would be younger.
    for old in &before {
        let same = after
            .iter()
            .find(|new| (new.table, new.priority, &new.matches) == (old.table, old.priority, &old.matches));
        let same = same.unwrap_or_else(|| panic!("gone: {}", old.text));
        assert!(same.duration > old.duration + 0.6, "put again: {}", same.text);
    }
    assert!(after.len() <= before.len() + 2, "two hosts have to say their addresses again, and nothing else");
}
