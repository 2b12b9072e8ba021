//! Routing daemons that run unchanged in the namespace of a router's shadow, and speak with another behind one of its
//! interfaces: FRR with OSPF, OSPFv3 and BGP, BIRD with BGP.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::{Namespace, Process, Sandbox, Snapshot, Weft, require_program, wait_until};

use super::{Frr, SOON, folders};

/// A session of BGP that begins anew, a neighbour of OSPF that is missed.
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: &str = "
name: r1
shadow: daemons
interfaces:
  - {name: lan, addresses: [10.1.0.1/24, '2001:db8:1::1/64']}
  - {name: wan, addresses: [203.0.113.1/24, '2001:db8::1/64']}
  - {name: lo1, address: 192.0.2.1/32}
";
const OSPF: &str = " ip ospf hello-interval 1\n ip ospf dead-interval 4\n";
const OSPF6: &str = " ipv6 ospf6 area 0\n ipv6 ospf6 hello-interval 1\n ipv6 ospf6 dead-interval 4\n";

/// h1 behind lan, peer behind wan; the daemons are to run in a namespace that the router has made.
struct World {
    h1: Namespace,
    peer: Namespace,
    daemons: Namespace,
    router: Process,
    weft: Weft,
    before: Snapshot,
    sandbox: Sandbox,
}

fn world(name: &str) -> World {
    let sandbox = Sandbox::enter(name);
    let weft = Weft::new(&sandbox);
    folders();
    let [h1, peer] = ["h1", "peer"].map(|name| Namespace::new(&sandbox, name));
    let before = sandbox.snapshot();
    let file = sandbox.dir().join("r1.yaml");
    std::fs::write(&file, CONFIG).expect("the folder is ours");
    let file = file.display().to_string();
    let ports = ["--port", "lan=netns:h1/eth0", "--port", "wan=netns:peer/eth0"];
    let mut router = weft.spawn("router", &[&["router", "--config", &file][..], &ports].concat());
    router.wait_for_log(SOON, "router r1 runs");
    let daemons = Namespace::adopt(&sandbox, "daemons");
    for (host, last) in [
        (&h1, "10.1.0.2/24"),
        (&h1, "2001:db8:1::2/64"),
        (&peer, "203.0.113.2/24"),
        (&peer, "2001:db8::2/64"),
    ] {
        host.address("eth0", last);
    }
    h1.exec(&["ip", "route", "add", "default", "via", "10.1.0.1"]).success();
    h1.exec(&["ip", "-6", "route", "add", "default", "via", "2001:db8:1::1"]).success();
    for address in ["198.51.100.1/24", "2001:db8:5::1/64"] {
        peer.address("lo", address);
    }
    wait_until(SOON, "the way to the peer", || daemons.pings("203.0.113.2"));
    World { h1, peer, daemons, router, weft, before, sandbox }
}

impl World {
    /// The route of a protocol to a prefix, as it is shown.
    fn route(&self, to: &str) -> Option<Value> {
        let shown = self.weft.run(&["router", "show", "fib", "--name", "r1", "--json"]).json();
        let mut all = shown.as_array().expect("a list").iter();
        all.find(|route| route["to"] == to && route["source"] == "protocol").cloned()
    }

    fn leads_by(&self, to: &str, dev: &str) -> bool {
        self.route(to).is_some_and(|route| route["interface"] == dev)
    }

    /// With the router all that it has made goes; what there was before stays.
    fn end(mut self) {
        self.router.stop();
        self.sandbox.assert_nothing_left(&self.before);
    }
}

#[test]
fn frr_speaks_ospf_and_bgp_beside_the_router() {
    let w = world("shadow-frr");
    let ospf =
        "router ospf\n ospf router-id 192.0.2.1\n redistribute connected\n network 203.0.113.0/24 area 0\n";
    let ospf6 = "router ospf6\n ospf6 router-id 192.0.2.1\n redistribute connected\n";
    let bgp = "router bgp 65001\n bgp router-id 192.0.2.1\n no bgp ebgp-requires-policy\n \
               neighbor 203.0.113.2 remote-as 65002\n neighbor 203.0.113.2 timers connect 1\n \
               address-family ipv4 unicast\n  network 192.0.2.1/32\n exit-address-family\n";
    let frr = Frr::start(
        &w.daemons,
        "frr",
        &[
            ("zebra", ""),
            ("ospfd", &format!("interface wan\n{OSPF}{ospf}")),
            ("ospf6d", &format!("interface wan\n{OSPF6}{ospf6}")),
            ("bgpd", bgp),
        ],
    );
    let ospf =
        "router ospf\n ospf router-id 203.0.113.2\n redistribute connected\n network 203.0.113.0/24 area 0\n";
    let ospf6 = "router ospf6\n ospf6 router-id 203.0.113.2\n redistribute connected\n";
    let bgp = "router bgp 65002\n bgp router-id 203.0.113.2\n no bgp ebgp-requires-policy\n no bgp network import-check\n \
               neighbor 203.0.113.1 remote-as 65001\n neighbor 203.0.113.1 passive\n \
               address-family ipv4 unicast\n  network 198.18.0.0/15\n exit-address-family\n";
    let mut peer = Frr::start(
        &w.peer,
        "peer",
        &[
            ("zebra", ""),
            ("ospfd", &format!("interface eth0\n{OSPF}{ospf}")),
            ("ospf6d", &format!("interface eth0\n{OSPF6}{ospf6}")),
            ("bgpd", bgp),
        ],
    );
    let all = ["198.51.100.0/24", "2001:db8:5::/64", "198.18.0.0/15"];
    for to in all {
        wait_until(PATIENCE, to, || w.leads_by(to, "wan"));
    }
    assert_eq!(w.route(all[0]).map(|route| route["via"].clone()), Some("203.0.113.2".into()));
    // Both ways by what the daemons have learned: the peer was told of the networks behind the router.
    for to in ["198.51.100.1", "2001:db8:5::1"] {
        wait_until(SOON, "a ping through the router", || w.h1.pings(to));
    }
    assert!(w.peer.exec(&["ip", "route", "get", "192.0.2.1"]).success().contains("via 203.0.113.1"));
    // The kernel beside the router has the routes, and forwards nothing.
    let hop = w.h1.exec(&["busybox", "traceroute", "-n", "-m", "3", "-q", "1", "198.51.100.1"]).success();
    assert!(hop.contains("10.1.0.1") && hop.contains("198.51.100.1"), "{hop}");
    assert!(w.daemons.exec(&["ip", "route", "show", "proto", "ospf"]).success().contains("198.51.100.0/24"));

    // The daemons of the peer end: what they have announced goes.
    peer.kill(&["bgpd", "ospf6d", "ospfd"]);
    for to in all {
        wait_until(PATIENCE, &format!("{to} to go"), || w.route(to).is_none());
    }
    assert!(!w.h1.pings("198.51.100.1"));
    drop((frr, peer));
    w.end();
}

#[test]
fn bird_speaks_bgp_beside_the_router() {
    require_program("bird", "bird2");
    let w = world("shadow-bird");
    let config = |id: &str, local: u32, (neighbor, remote): (&str, u32), network: &str| {
        format!(
            "router id {id};\nprotocol device {{ scan time 1; }}\nprotocol direct {{ ipv4; interface \"lan\"; }}\n\
             protocol kernel {{ ipv4 {{ export where source = RTS_BGP; }}; merge paths on; }}\n\
             protocol static {{ ipv4; route {network} blackhole; }}\n\
             protocol bgp {{ local as {local}; neighbor {neighbor} as {remote}; connect delay time 1;\n\
             ipv4 {{ import all; export where source ~ [ RTS_STATIC, RTS_DEVICE ]; }}; }}\n"
        )
    };
    let bird = |host: &Namespace, name: &str, config: String| {
        let [file, socket, log] =
            ["conf", "ctl", "log"].map(|end| w.sandbox.dir().join(format!("{name}.{end}")));
        std::fs::write(&file, config).expect("the folder is ours");
        let mut command: Command = host.command("bird");
        command.arg("-f").arg("-c").arg(&file).arg("-s").arg(&socket);
        let process = Process::spawn(&mut command, &log);
        wait_until(SOON, name, || Path::exists(&socket));
        process
    };
    let one = bird(&w.daemons, "one", config("192.0.2.1", 65001, ("203.0.113.2", 65002), "192.0.2.128/25"));
    let mut other =
        bird(&w.peer, "other", config("203.0.113.2", 65002, ("203.0.113.1", 65001), "198.51.100.0/24"));
    wait_until(PATIENCE, "the route of BGP", || w.leads_by("198.51.100.0/24", "wan"));
    wait_until(SOON, "a ping through the router", || w.h1.pings("198.51.100.1"));
    // A route by hand that is meant to stay, and one that nobody has put his name to.
    w.daemons
        .exec(&["ip", "route", "add", "198.18.0.0/15", "via", "203.0.113.2", "proto", "static"])
        .success();
    w.daemons.exec(&["ip", "route", "add", "198.20.0.0/15", "via", "203.0.113.2"]).success();
    wait_until(SOON, "the route by hand", || w.leads_by("198.18.0.0/15", "wan"));
    assert!(w.route("198.20.0.0/15").is_none());
    // The kernel takes routes away without a word when their interface goes down.
    w.daemons.exec(&["ip", "link", "set", "wan", "down"]).success();
    wait_until(SOON, "it to go", || w.route("198.18.0.0/15").is_none());
    w.daemons.exec(&["ip", "link", "set", "wan", "up"]).success();
    wait_until(PATIENCE, "the route of BGP again", || w.leads_by("198.51.100.0/24", "wan"));
    other.signal(Signal::SIGTERM);
    other.wait(SOON);
    wait_until(PATIENCE, "the route of BGP to go", || w.route("198.51.100.0/24").is_none());
    drop((one, other));
    w.end();
}
