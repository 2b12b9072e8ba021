//! FRR beside a weft router: its zebra programs the FIB over FPM (`dplane_fpm_nl`), its bgpd learns from neighbours.
//!
//! One network, a bridge in the sandbox: the router, FRR and FRR's neighbours are on it.

mod shadow;
mod speaker;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::{Namespace, Process, Sandbox, Weft, require_program, run, veth_pair, wait_until};

use speaker::Speaker;

const SOON: Duration = Duration::from_secs(30);
/// FRR with a large table, on a machine that does other things as well.
const LATE: Duration = Duration::from_secs(120);
const FOLDER: &str = "/usr/lib/frr";
const CONFIG: &str = "
name: r1
interfaces:
  - {name: lan, address: 10.1.0.1/24}
  - {name: wan, addresses: [203.0.113.1/24, '2001:db8::1/64']}
  - {name: red-lan, vrf: red, address: 10.1.0.1/24}
  - {name: red-wan, vrf: red, address: 203.0.113.11/24}
vrfs: [{name: red, table: 1000}]
";
/// Where the router takes FPM: the sandbox's own address on the bridge.
const FPM: &str = "203.0.113.250";
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 3);

/// A set of FRR's daemons in a namespace.
struct Frr {
    dir: PathBuf,
    daemons: Vec<(&'static str, Process)>,
}

impl Frr {
    /// Starts daemons in `host`, each with lines of its configuration; zebra is the first.
    fn start(host: &Namespace, name: &str, daemons: &[(&'static str, &str)]) -> Self {
        require_program("vtysh", "frr");
        // Daemons give up root: the folder is theirs, below one that they may enter.
        let dir = PathBuf::from("/run/frr").join(name);
        std::fs::create_dir_all(&dir).expect("the folder is the sandbox's");
        run(Command::new("chown").arg("frr:frr").arg(&dir)).success();
        let mut frr = Self { dir, daemons: Vec::new() };
        for (daemon, config) in daemons {
            frr.spawn(host, daemon, config);
            let socket =
                frr.dir.join(if *daemon == "zebra" { "zserv".to_owned() } else { format!("{daemon}.vty") });
            wait_until(SOON, daemon, || socket.exists());
        }
        frr
    }

    fn spawn(&mut self, host: &Namespace, daemon: &'static str, config: &str) {
        let file = self.dir.join(format!("{daemon}.conf"));
        std::fs::write(&file, format!("log stdout\n{config}")).expect("the folder is ours");
        // What was killed leaves its sockets behind.
        let _ = std::fs::remove_file(self.dir.join(format!("{daemon}.vty")));
        if daemon == "zebra" {
            let _ = std::fs::remove_file(self.dir.join("zserv"));
        }
        let mut command = host.command(&format!("{FOLDER}/{daemon}"));
        command.arg("-f").arg(&file).arg("-i").arg(self.dir.join(format!("{daemon}.pid")));
        command.arg("-z").arg(self.dir.join("zserv")).arg("--vty_socket").arg(&self.dir);
        if daemon == "zebra" && config.contains("fpm") {
            // Debian 12's FRR 8.4 does not read what became of a route: told to wait for it, it would wait for ever.
            command.args(["-M", "dplane_fpm_nl"]);
        }
        let log = self.dir.join(format!("{daemon}.log"));
        self.daemons.push((daemon, Process::spawn(&mut command, &log)));
    }

    /// What `vtysh` prints for these commands.
    fn vtysh(&self, commands: &[&str]) -> String {
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(&self.dir);
        commands.iter().for_each(|line| {
            command.args(["-c", line]);
        });
        run(&mut command).stdout
    }

    fn configure(&self, lines: &[&str]) {
        self.vtysh(&[&["configure terminal"], lines].concat());
    }

    fn kill(&mut self, which: &[&str]) {
        for (_, process) in self.daemons.iter_mut().filter(|(daemon, _)| which.contains(daemon)) {
            process.signal(Signal::SIGKILL);
            process.wait(SOON);
        }
        self.daemons.retain(|(daemon, _)| !which.contains(daemon));
    }
}

struct World {
    h1: Namespace,
    /// As h1, but in the VRF red.
    h2: Namespace,
    frr: Namespace,
    peer: Namespace,
    router: Process,
    weft: Weft,
    sandbox: Sandbox,
}

/// FRR keeps crash logs and sockets in folders of the system's: here they are the sandbox's.
fn folders() {
    for folder in ["/var/tmp", "/run/frr"] {
        std::fs::create_dir_all(folder).expect("root may");
        run(Command::new("mount").args(["-t", "tmpfs", "none", folder])).success();
    }
}

fn world(name: &str) -> World {
    let sandbox = Sandbox::enter(name);
    let weft = Weft::new(&sandbox);
    folders();
    let [h1, h2, frr, peer] = ["h1", "h2", "frr", "peer"].map(|name| Namespace::new(&sandbox, name));
    let ip = |args: &[&str]| run(Command::new("ip").args(args)).success();
    ip(&["link", "add", "br0", "type", "bridge"]);
    ip(&["link", "set", "br0", "up"]);
    ip(&["address", "add", &format!("{FPM}/24"), "dev", "br0"]);
    let file = sandbox.dir().join("r1.yaml");
    std::fs::write(&file, CONFIG).expect("the folder is ours");
    let (file, fpm) = (file.display().to_string(), format!("{FPM}:2620"));
    let args = ["router", "--config", &file, "--fpm", &fpm];
    let ports = ["lan=netns:h1/eth0", "wan=hosttap:wan0", "red-lan=netns:h2/eth0", "red-wan=hosttap:wan1"];
    let ports: Vec<&str> = ports.iter().flat_map(|port| ["--port", port]).collect();
    let mut router = weft.spawn("router", &[&args[..], &ports].concat());
    router.wait_for_log(SOON, "router r1 runs");
    ["wan0", "wan1"].iter().for_each(|wan| drop(ip(&["link", "set", wan, "master", "br0", "up"])));
    for (host, port, last) in [(&frr, "vfrr", 2), (&peer, "vpeer", 3)] {
        veth_pair((None, port), (Some(host), "eth0"));
        ip(&["link", "set", port, "master", "br0"]);
        host.address("eth0", &format!("203.0.113.{last}/24"));
        host.address("eth0", &format!("2001:db8::{last}/64"));
    }
    for host in [&h1, &h2] {
        host.address("eth0", "10.1.0.2/24");
        host.exec(&["ip", "route", "add", "default", "via", "10.1.0.1"]).success();
    }
    peer.exec(&["ip", "route", "add", "10.1.0.0/24", "via", "203.0.113.1"]).success();
    peer.address("eth0", "203.0.113.4/24");
    wait_until(SOON, "the way to the peer", || h1.pings("203.0.113.3"));
    World { h1, h2, frr, peer, router, weft, sandbox }
}

impl World {
    /// FRR beside the router: its bgpd has the peer for a neighbour.
    fn frr(&self) -> Frr {
        let bgpd = "router bgp 65001\n bgp router-id 203.0.113.2\n no bgp ebgp-requires-policy\n \
                    bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n neighbor 203.0.113.3 remote-as 65002\n \
                    neighbor 203.0.113.3 timers connect 1\n";
        let zebra = format!("fpm address {FPM} port 2620");
        Frr::start(&self.frr, "frr", &[("zebra", &zebra), ("staticd", ""), ("bgpd", bgpd)])
    }

    /// Another FRR, which announces these networks.
    fn peer(&self, networks: &[&str]) -> Frr {
        let networks: String = networks.iter().map(|to| format!("  network {to}\n")).collect();
        let bgpd = format!(
            "router bgp 65002\n bgp router-id 203.0.113.3\n no bgp ebgp-requires-policy\n no bgp network import-check\n \
             bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n neighbor 203.0.113.2 remote-as 65001\n neighbor 203.0.113.2 timers connect 1\n \
             address-family ipv4 unicast\n{networks} exit-address-family\n"
        );
        Frr::start(&self.peer, "peer", &[("zebra", ""), ("staticd", ""), ("bgpd", &bgpd)])
    }

    /// The routes that came by FPM, as they are shown.
    fn routes(&self) -> Vec<Value> {
        let shown = self.weft.run(&["router", "show", "fib", "--name", "r1", "--json"]).json();
        let all = shown.as_array().expect("a list").iter();
        all.filter(|route| route["source"] == "protocol").cloned().collect()
    }

    /// Waits until FRR has connected so many times.
    fn wait_for_connection(&self, n: usize) {
        wait_until(LATE, "FRR to connect", || {
            self.router.log().matches("a routing daemon has connected").count() == n
        });
    }

    /// Gives the VRF red another table.
    fn set_table(&self, table: u32) {
        let mut config = self.weft.run(&["router", "show", "config", "--name", "r1", "--json"]).json();
        config["vrfs"][0]["table"] = table.into();
        let mut put = Command::new("curl");
        put.args(["--silent", "--show-error", "--fail", "--request", "PUT", "--unix-socket"]);
        put.arg(self.sandbox.run_dir().join("r1.sock")).args(["--header", "content-type: application/json"]);
        run(put.args(["--data", &config.to_string(), "http://r1/api/v1/config"])).success();
    }

    fn route(&self, to: &str) -> Option<Value> {
        self.routes().into_iter().find(|route| route["to"] == to)
    }
}

#[test]
fn routes_and_next_hops_of_frr() {
    let w = world("frr-routes");
    w.peer.address("lo", "198.51.100.1/24");
    let peer = w.peer(&["198.51.100.0/24"]);
    let frr = w.frr();
    wait_until(SOON, "the route of BGP", || w.route("198.51.100.0/24").is_some());
    assert_eq!(w.route("198.51.100.0/24").map(|r| r["via"].clone()), Some("203.0.113.3".into()));
    wait_until(SOON, "a ping by it", || w.h1.pings("198.51.100.1"));

    // By hand: a group of next hops, one of them goes, all go.
    let [one, other] = ["203.0.113.3", "203.0.113.4"].map(|via| format!("ip route 192.0.2.0/24 {via}"));
    frr.configure(&[&one, &other]);
    let n_hops = || {
        let route = w.route("192.0.2.0/24")?;
        Some(route["next_hops"].as_array().map_or(1, Vec::len))
    };
    wait_until(SOON, "two next hops", || n_hops() == Some(2));
    frr.configure(&[&format!("no {one}")]);
    wait_until(SOON, "one next hop", || n_hops() == Some(1));
    assert_eq!(w.route("192.0.2.0/24").map(|r| r["via"].clone()), Some("203.0.113.4".into()));
    frr.configure(&[&format!("no {other}")]);
    wait_until(SOON, "no next hop", || n_hops().is_none());

    // Without a next hop, in IPv6, and where the router cannot go.
    frr.configure(&[
        "ip route 192.0.3.0/24 blackhole",
        "ip route 192.0.4.0/24 reject",
        "ipv6 route 2001:db8:5::/48 2001:db8::3",
        "interface lo",
        "ip address 192.168.7.1/24",
        "exit",
        "ip route 192.0.6.0/24 192.168.7.2",
        "ip route 192.0.7.0/24 203.0.113.4",
    ]);
    let kind = |to: &str| w.route(to).map(|r| r["type"].as_str().unwrap_or("").to_owned());
    wait_until(SOON, "a black hole", || kind("192.0.3.0/24").as_deref() == Some("blackhole"));
    wait_until(SOON, "a refusal", || kind("192.0.4.0/24").as_deref() == Some("unreachable"));
    wait_until(SOON, "a route of IPv6", || w.route("2001:db8:5::/48").is_some());
    wait_until(SOON, "the last one", || w.route("192.0.7.0/24").is_some());
    assert!(w.route("192.0.6.0/24").is_none(), "a gateway that the router does not reach");
    assert_eq!(w.routes().len(), 5, "FRR's own interfaces are none of the router's: {:?}", w.routes());
    // What led somewhere and does not any more must not stay.
    frr.configure(&["no ip route 192.0.7.0/24 203.0.113.4", "ip route 192.0.7.0/24 192.168.7.2"]);
    wait_until(SOON, "it to go", || w.route("192.0.7.0/24").is_none());
    drop(peer);
}

#[test]
fn a_table_of_frr_is_a_vrf() {
    let w = world("frr-tables");
    w.peer.address("lo", "198.51.100.1/24");
    w.peer.exec(&["ip", "route", "replace", "10.1.0.0/24", "via", "203.0.113.11"]).success();
    let frr = w.frr();
    // FRR 8.4 tells the routes of such tables when they change, but not when it connects.
    w.wait_for_connection(1);
    assert!(!w.h2.pings("198.51.100.1"), "nobody has told of it");
    let route = |table: u32| format!("ip route 198.51.100.0/24 203.0.113.3 table {table}");
    frr.configure(&[&route(1000), "ip route 192.0.2.0/24 blackhole table 1001"]);
    wait_until(SOON, "the route of the table", || w.route("198.51.100.0/24").is_some());
    let shown = w.route("198.51.100.0/24").expect("it is there");
    assert_eq!((&shown["vrf"], &shown["interface"]), (&"red".into(), &"red-wan".into()), "{shown}");
    wait_until(SOON, "a ping through the VRF", || w.h2.pings("198.51.100.1"));
    assert_eq!(w.routes().len(), 1, "nobody has table 1001: {:?}", w.routes());
    frr.configure(&[&format!("no {}", route(1000))]);
    wait_until(SOON, "the route to go", || w.routes().is_empty());
    assert!(!w.h2.pings("198.51.100.1"));

    // The tables change hands: FRR is made to connect again.
    w.set_table(1001);
    w.wait_for_connection(2);
    frr.configure(&[&route(1000), &route(1001)]);
    wait_until(SOON, "a ping by the other table", || w.h2.pings("198.51.100.1"));
    assert_eq!(w.routes().len(), 1, "nobody has table 1000: {:?}", w.routes());
}

#[test]
fn forwarding_goes_on_while_daemons_restart() {
    let w = world("frr-restart");
    w.peer.address("lo", "198.51.100.1/24");
    let mut peer = w.peer(&["198.51.100.0/24"]);
    let mut frr = w.frr();
    frr.configure(&["ip route 192.0.2.0/24 203.0.113.3"]);
    wait_until(SOON, "two routes", || w.routes().len() == 2);
    wait_until(SOON, "a ping", || w.h1.pings("198.51.100.1"));
    let goes_on = |what: &str| {
        assert_eq!(w.routes().len(), 2, "{what}");
        assert!(w.h1.pings("198.51.100.1"), "{what}");
    };
    let is_up = |frr: &Frr| frr.vtysh(&["show bgp summary json"]).contains(r#""state":"Established""#);
    // RFC 4724 §4.2: who hears of a BGP speaker that restarts keeps its routes.
    peer.kill(&["bgpd"]);
    wait_until(SOON, "the session to be down", || !is_up(&frr));
    goes_on("the peer has gone");
    let bgpd = std::fs::read_to_string(peer.dir.join("bgpd.conf")).expect("written at the start");
    peer.spawn(&w.peer, "bgpd", &bgpd);
    wait_until(SOON, "the session to be up", || is_up(&frr));
    goes_on("the peer is back");
    // FRR itself goes, and comes back without the route that was made by hand.
    frr.kill(&["bgpd", "staticd", "zebra"]);
    goes_on("FRR has gone");
    drop(frr);
    let frr = w.frr();
    goes_on("FRR has begun again");
    wait_until(SOON, "the session to be up again", || is_up(&frr));
    wait_until(LATE, "what it does not say any more to go", || w.routes().len() == 1);
    assert!(w.route("198.51.100.0/24").is_some() && w.h1.pings("198.51.100.1"));
    drop(peer);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it tells how long FRR and the router took")]
fn a_hundred_thousand_routes_of_bgp() {
    const N: u32 = 100_000;
    let w = world("frr-many");
    let frr = w.frr();
    let mut speaker = Speaker::accept(&w.peer, NEIGHBOUR, 65002);
    let begin = std::time::Instant::now();
    let at = |what: &str| println!("{:5.1} s: {what}", begin.elapsed().as_secs_f64());
    let (first, all) = (Ipv4Addr::new(20, 0, 0, 0), N as usize);
    speaker.announce(first, N, NEIGHBOUR);
    wait_until(LATE, "all routes", || w.routes().len() == all);
    at("all routes are in the router");
    // The same networks by another next hop: no route is missing at any time.
    speaker.announce(first, N, Ipv4Addr::new(203, 0, 113, 4));
    wait_until(LATE, "all by the other next hop", || {
        let routes = w.routes();
        assert_eq!(routes.len(), all, "none goes while it is replaced");
        routes.iter().all(|route| route["via"] == "203.0.113.4")
    });
    at("all are replaced");
    speaker.withdraw(first, N / 2);
    wait_until(LATE, "half of them", || w.routes().len() == all / 2);
    at("half are withdrawn");
    drop(speaker);
    wait_until(LATE, "none", || w.routes().is_empty());
    at("none is left");
    drop(frr);
}
