//! The controller alone, over switches that are processes of their own.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use controller_api::client::Client;
use controller_api::{Network, State, Stored};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use system_tests::{Namespace, Process, Sandbox, Weft, veth_pair, wait_call, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// h1 at s1, h2 at s2, the switches joined by a veth.
struct Lab {
    weft: Weft,
    hosts: [Namespace; 2],
    _switches: [Process; 2],
    client: Client,
}

impl Lab {
    fn start(sandbox: &Sandbox) -> Self {
        let weft = Weft::new(sandbox);
        let hosts = ["h1", "h2"].map(|name| Namespace::new(sandbox, name));
        veth_pair((None, "x1"), (None, "x2"));
        let switches = ["1", "2"].map(|n| {
            let (name, host, link) =
                (format!("s{n}"), format!("1=netns:h{n}/eth0"), format!("2=afpacket:x{n}"));
            let ports = ["--port", &host, "--port", &link, "--controller", "tcp:127.0.0.1:6653"];
            weft.spawn(&name, &[&["switch", "--name", &name, "--dpid", n][..], &ports].concat())
        });
        for (n, host) in (1..).zip(&hosts) {
            wait_until(SOON, "eth0", || host.exec(&["ip", "link", "show", "eth0"]).status.success());
            host.address("eth0", &format!("10.0.0.{n}/24"));
        }
        let client = Client::unix(sandbox.run_dir().join("controller.sock"));
        Self { weft, hosts, _switches: switches, client }
    }

    fn controller(&self, sandbox: &Sandbox) -> Process {
        let store = sandbox.dir().join("intents.json").display().to_string();
        let process = self.weft.spawn("controller", &["controller", "--store", &store]);
        wait_until(SOON, "both switches and the link between them", || {
            let switches = wait_call(self.client.switches());
            switches.is_ok_and(|all| all.len() == 2 && all.iter().all(|s| s.connected && s.realised))
                && wait_call(self.client.links()).is_ok_and(|links| links.len() == 2)
        });
        process
    }

    /// Age and text of every flow of both switches.
    fn flows(&self) -> Vec<controller_api::Flow> {
        ["s1", "s2"]
            .into_iter()
            .flat_map(|s| wait_call(self.client.flows(s)).expect("switches answer"))
            .collect()
    }
}

#[test]
fn a_killed_controller_costs_no_packet_and_its_successor_changes_nothing() {
    let sandbox = Sandbox::enter("ctl-kill");
    let lab = Lab::start(&sandbox);
    let mut controller = lab.controller(&sandbox);
    let ports = ["s1:1", "s2:1"].map(|port| port.parse().expect("a port")).to_vec();
    let blue = Network { name: "blue".to_owned(), vlan: 10, ports, trunks: vec![], hosts: vec![] };
    let stored: Stored<Network> =
        wait_call(lab.client.put("/api/v1/networks/blue?wait=realised", &blue)).expect("a good network");
    assert_eq!(stored.status.state, State::Realised, "{:?}", stored.status);
    wait_until(SOON, "the first ping", || lab.hosts[0].pings("10.0.0.2"));
    wait_until(SOON, "both hosts", || wait_call(lab.client.hosts()).is_ok_and(|hosts| hosts.len() == 2));
    wait_until(SOON, "their flows", || {
        wait_call(lab.client.switches()).is_ok_and(|all| all.iter().all(|s| s.realised))
    });
    let before = lab.flows();

    let mut pings = lab.hosts[0].spawn(&["busybox", "ping", "-q", "-i", "0.02", "-c", "250", "10.0.0.2"]);
    controller.signal(Signal::SIGKILL);
    controller.wait(SOON);
    let _successor = lab.controller(&sandbox);
    pings.wait(SOON);
    assert!(pings.log().contains("250 packets received"), "{}", pings.log());

    assert_eq!(wait_call(lab.client.list::<Network>()).expect("it answers")[0].spec, blue);
    let after = lab.flows();
    for old in &before {
        let same = after.iter().find(|new| {
            (&new.cookie, new.table, new.priority, &new.matches)
                == (&old.cookie, old.table, old.priority, &old.matches)
        });
        let same = same.unwrap_or_else(|| panic!("gone: {}", old.text));
        // The successor looks around for longer than this before it changes anything.
        assert!(same.duration > old.duration + 0.6, "put again: {}", same.text);
    }
    assert!(after.len() <= before.len() + 2, "only the addresses of two hosts are asked for again");
}

const NETWORKS: &str = "networks:\n  - {name: blue, vlan: 10, ports: [\"s1:1\", \"s2:1\"]}\n";

/// From files to pings and back, by the command line alone.
#[test]
fn the_command_line_declares_compares_and_rolls_back() {
    let sandbox = Sandbox::enter("ctl-line");
    let lab = Lab::start(&sandbox);
    let _controller = lab.controller(&sandbox);
    let file = sandbox.dir().join("networks.yaml");
    std::fs::write(&file, NETWORKS).expect("the sandbox's folder is writable");
    let file = file.to_str().expect("a path");
    let ctl = |args: &[&str]| lab.weft.run(&[&["ctl"][..], args].concat());

    let before = ctl(&["diff", "-f", file]).failure();
    assert!(before.is_empty(), "a difference is no error: {before}");
    let foretold = ctl(&["apply", "-f", file, "--dry-run"]).success();
    assert!(foretold.contains("s1: ") && foretold.contains(" flows added"), "{foretold}");
    assert_eq!(ctl(&["get", "intents"]).success().trim(), "nothing is declared");
    assert_eq!(ctl(&["apply", "-f", file, "--wait"]).success().trim(), "network/blue created");
    assert_eq!(ctl(&["apply", "-f", file]).success().trim(), "network/blue unchanged");
    assert_eq!(ctl(&["diff", "-f", file]).success(), "");
    wait_until(SOON, "the first ping", || lab.hosts[0].pings("10.0.0.2"));

    let table = ctl(&["get", "networks"]).success();
    let row: Vec<&str> = table.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(row[..6], ["blue", "10", "2", "0", "0", "realised"], "{table}");
    let described = ctl(&["describe", "network/blue"]).success();
    for part in ["vlan: 10", "state: realised", "by revision 1", "POST /api/v1/batch", "s2"] {
        assert!(described.contains(part), "{part}: {described}");
    }
    // What is exported is what can be applied.
    let exported = sandbox.dir().join("exported.yaml");
    let text = ctl(&["get", "intents", "-o", "yaml"]).success();
    std::fs::write(&exported, &text).expect("the sandbox's folder is writable");
    assert_eq!(ctl(&["diff", "--prune", "-f", exported.to_str().expect("a path")]).success(), "", "{text}");

    let forecast = ctl(&["delete", "network/blue", "--dry-run"]).success();
    assert!(forecast.contains("- "), "{forecast}");
    assert_eq!(ctl(&["delete", "network/blue", "--wait"]).success().trim(), "network/blue deleted");
    let gone = ctl(&["describe", "network/blue"]).failure();
    assert!(gone.contains("there is no network \"blue\""), "{gone}");
    let back = ctl(&["rollback", "1", "--wait"]).success();
    assert!(back.contains("revision 3 is what revision 1 was") && back.contains("network/blue"), "{back}");
    wait_until(SOON, "a ping again", || lab.hosts[0].pings("10.0.0.2"));
    let revisions = ctl(&["get", "revisions", "-o", "json"]).json();
    assert_eq!(revisions.as_array().map(Vec::len), Some(3));

    let watch = lab.weft.spawn("watch", &["ctl", "watch", "--since", "1"]);
    wait_until(SOON, "both changes", || watch.log().matches("network/blue").count() == 2);
    let wrong = ctl(&["get", "colours"]).failure();
    assert!(wrong.contains("colours"), "{wrong}");
}

const POLICIES: &str = "
networks:
  - {name: blue, vlan: 10, ports: [\"s1:1\", \"s2:1\"]}
policies:
  - {name: pings, priority: 20, action: allow, from: [\"s1:1\"], to: [\"s2:1\"], protocol: icmp}
  - {name: rest, priority: 10, action: reject, from: [\"s1:1\"], to: [\"s2:1\"]}
";

/// What may pass passes, and what may not is answered in the place of its goal.
#[test]
fn policies_hold_between_namespaces() {
    let sandbox = Sandbox::enter("ctl-policies");
    let lab = Lab::start(&sandbox);
    let _controller = lab.controller(&sandbox);
    let file = sandbox.dir().join("policies.yaml");
    std::fs::write(&file, POLICIES).expect("the sandbox's folder is writable");
    let ctl = |args: &[&str]| lab.weft.run(&[&["ctl"][..], args].concat());
    let applied = ctl(&["apply", "-f", file.to_str().expect("a path"), "--wait"]).success();
    assert!(applied.contains("policy/rest created"), "{applied}");
    wait_until(SOON, "a ping, which may pass", || lab.hosts[0].pings("10.0.0.2"));
    let _listener = lab.hosts[1].enter(|| TcpListener::bind("10.0.0.2:81").expect("a free port"));
    let connect = || {
        let address = "10.0.0.2:81".parse().expect("an address");
        lab.hosts[0].enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)))
    };
    assert_eq!(connect().expect_err("somebody listens, but nobody may").kind(), ErrorKind::ConnectionRefused);
    let table = ctl(&["get", "policies"]).success();
    assert!(table.contains("reject") && table.contains("realised"), "{table}");
    assert_eq!(ctl(&["delete", "policy/rest", "--wait"]).success().trim(), "policy/rest deleted");
    connect().expect("nothing is in the way");
}

/// Three switches in a ring, a host at the first and at the second; the controller is dead when the link between them is cut.
/// Frames go around it: under one more tag, by the third.
#[test]
fn a_cut_link_is_healed_while_the_controller_is_dead() {
    let sandbox = Sandbox::enter("ctl-heal");
    let weft = Weft::new(&sandbox);
    let hosts = ["h1", "h2", "h3"].map(|name| Namespace::new(&sandbox, name));
    // xAB is the end at switch A of the link to switch B.
    for (a, b) in [(1, 2), (2, 3), (3, 1)] {
        veth_pair((None, &format!("x{a}{b}")), (None, &format!("x{b}{a}")));
    }
    let _switches = [(1, 2, 3), (2, 1, 3), (3, 1, 2)].map(|(n, a, b)| {
        let name = format!("s{n}");
        let ports =
            [format!("1=netns:h{n}/eth0"), format!("2=afpacket:x{n}{a}"), format!("3=afpacket:x{n}{b}")];
        let dpid = n.to_string();
        let mut args = vec!["switch", "--name", &name, "--dpid", &dpid, "--controller", "tcp:127.0.0.1:6653"];
        ports.iter().for_each(|port| args.extend(["--port", port]));
        weft.spawn(&name, &args)
    });
    for (n, host) in (1..).zip(&hosts) {
        wait_until(SOON, "eth0", || host.exec(&["ip", "link", "show", "eth0"]).status.success());
        host.address("eth0", &format!("10.0.0.{n}/24"));
    }
    let client = Client::unix(sandbox.run_dir().join("controller.sock"));
    let mut controller = weft.spawn("controller", &["controller"]);
    let all_is_well = || {
        wait_call(client.switches())
            .is_ok_and(|all| all.len() == 3 && all.iter().all(|s| s.connected && s.realised))
            && wait_call(client.links()).is_ok_and(|links| links.len() == 6)
    };
    wait_until(SOON, "the ring", all_is_well);
    wait_until(SOON, "the first ping", || hosts[0].pings("10.0.0.2"));
    wait_until(SOON, "both hosts", || wait_call(client.hosts()).is_ok_and(|hosts| hosts.len() >= 2));
    wait_until(SOON, "their flows", all_is_well);

    controller.signal(Signal::SIGKILL);
    controller.wait(SOON);
    let mut pings = hosts[0].spawn(&["busybox", "ping", "-q", "-i", "0.02", "-c", "200", "10.0.0.2"]);
    let cut = system_tests::run(std::process::Command::new("ip").args(["link", "set", "x12", "down"]));
    assert!(cut.status.success(), "{}", cut.stderr);
    pings.wait(SOON);
    let log = pings.log();
    let received =
        log.split(", ").find_map(|part| part.strip_suffix(" packets received")?.parse::<u32>().ok());
    // Until the switches notice that the link is down, what takes it is lost.
    assert!(received.is_some_and(|n| n >= 150), "{log}");
    assert!(hosts[1].pings("10.0.0.1") && hosts[0].pings("10.0.0.2"), "in both directions");
}

/// Groups, meters and ports by hand; what is added so stays, whatever is declared beside it.
#[test]
fn groups_meters_and_ports_are_changed_by_hand() {
    let sandbox = Sandbox::enter("ctl-raw");
    let lab = Lab::start(&sandbox);
    let _controller = lab.controller(&sandbox);
    let (client, place) = (&lab.client, "/api/v1/switches/s1");
    let put = |path: &str, body: Value| -> Value {
        wait_call(client.put(&format!("{place}/{path}"), &body))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let get = |path: &str| -> Value { wait_call(client.get(&format!("{place}/{path}"))).expect(path) };
    let refused = |path: &str, body: Value| -> (u16, String) {
        let error = wait_call(client.put::<_, Value>(&format!("{place}/{path}"), &body)).expect_err(path);
        let problem = error.problem().expect("a problem").clone();
        (problem.status, problem.pointer.unwrap_or_default())
    };

    let bucket = |weight: u16, port: u32| json!({"weight": weight, "actions": [format!("output:{port}")]});
    let select = json!({"type": "select", "buckets": [bucket(3, 1), bucket(1, 2)]});
    let group = put("groups/7", select.clone());
    assert_eq!((&group["id"], &group["owner"], &group["spec"]), (&json!(7), &json!("foreign"), &select));
    let all = json!({"type": "all", "buckets": [{"actions": ["set_field:02:00:00:00:00:09->eth_dst", "output:1"]}]});
    assert_eq!(put("groups/7", all.clone())["spec"], all);
    let meter = json!({"unit": "kbps", "bands": [{"rate": 1000, "burst": 100}]});
    assert_eq!(put("meters/3", meter.clone())["spec"], meter);
    for text in
        ["priority=40000,tcp,tp_dst=23,actions=group:7", "priority=40001,udp,actions=meter:3,output:2"]
    {
        let flow = controller_api::FlowAdd { text: Some(text.to_owned()), ..Default::default() };
        wait_call(client.add_flow("s1", &flow)).expect("a flow");
    }

    // The network that is declared now is planned beside them.
    let blue = json!({"name": "blue", "vlan": 10, "ports": ["s1:1"]});
    wait_call(client.put::<_, Value>("/api/v1/networks/blue?wait=realised", &blue)).expect("a network");
    let references = || get("groups/7")["counters"]["references"].clone();
    assert_eq!((references(), get("meters/3")["counters"]["flows"].clone()), (json!(1), json!(1)));
    let statistics = get("statistics");
    assert!(statistics["flows"]["flows"].as_u64().is_some_and(|n| n > 2), "{statistics}");
    assert!(statistics["ports"].as_array().is_some_and(|ports| ports.len() >= 2), "{statistics}");

    assert_eq!(get("ports/1/config")["no_forward"], json!(false));
    assert_eq!(put("ports/1/config", json!({"no_forward": true}))["no_forward"], json!(true));
    assert_eq!(put("ports/1/config", json!({})), get("ports/1/config"));
    assert_eq!(get("ports/1/config")["no_forward"], json!(false));

    assert_eq!(
        refused("groups/8", json!({"type": "all", "buckets": [{"actions": ["paint"]}]})),
        (422, "/buckets/0/actions/0".to_owned())
    );
    assert_eq!(
        refused("groups/8", json!({"type": "all", "buckets": [bucket(1, 1)]})),
        (422, "/buckets/0/weight".to_owned())
    );
    assert_eq!(refused("groups/8", json!({"type": "some"})), (422, "/type".to_owned()));
    // 0x7e000001, one of the controller's own.
    assert_eq!(refused("groups/2113929217", all.clone()).0, 409);
    assert_eq!(refused("groups/4294967292", all).0, 404);
    assert_eq!(refused("meters/0", meter).0, 404);
    assert_eq!(refused("ports/99/config", json!({})).0, 404);

    // What would go with a group is told beforehand, and goes.
    let forecast: Value =
        wait_call(client.delete(&format!("{place}/groups/7?dry_run=true"))).expect("a forecast");
    let deletes = forecast["switches"][0]["deletes"].as_array().expect("a list").clone();
    assert_eq!((deletes.len(), references()), (1, json!(1)), "{forecast}");
    wait_call(client.delete::<()>(&format!("{place}/groups/7"))).expect("gone");
    wait_call(client.delete::<()>(&format!("{place}/meters/3"))).expect("gone");
    assert_eq!((get("groups"), get("meters")), (json!([]), json!([])));
    let flows = wait_call(client.flows("s1")).expect("the switch answers");
    assert!(!flows.iter().any(|flow| flow.owner == controller_api::FlowOwner::Raw), "{flows:?}");
    let entries: Value = wait_call(client.get("/api/v1/audit?limit=100")).expect("it answers");
    assert!(entries.to_string().contains("s1: group 7 deleted"), "{entries}");
}
