//! DHCP of a router with other people's programs: busybox's client leases an address, its server is reached by a relay.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::{Namespace, Process, Sandbox, Weft, wait_for, wait_until};

const SOON: Duration = Duration::from_secs(20);
const INTERFACES: &str = "
name: r1
interfaces:
  - {name: lan, address: 10.1.0.1/24}
  - {name: wan, address: 203.0.113.1/24}
";
/// What the client does with a lease, as a distribution's script would; it notes what it was told.
const SCRIPT: &str = r#"#!/bin/sh
env | sort > "$(dirname "$0")/$1"
case "$1" in
bound|renew)
    ip addr replace "$ip/$mask" dev "$interface"
    [ -z "$router" ] || ip route replace default via "$router"
    ;;
deconfig) ip addr flush dev "$interface" ;;
esac
"#;

struct World {
    host: Namespace,
    outside: Namespace,
    router: Process,
    config: PathBuf,
    script: PathBuf,
    weft: Weft,
    sandbox: Sandbox,
}

/// A host without an address behind lan, another behind wan, and a router with `dhcp`.
fn world(name: &str, dhcp: &str) -> World {
    let sandbox = Sandbox::enter(name);
    let weft = Weft::new(&sandbox);
    let [host, outside] = ["h1", "out"].map(|name| Namespace::new(&sandbox, name));
    let config = sandbox.dir().join("r1.yaml");
    std::fs::write(&config, format!("{INTERFACES}{dhcp}")).expect("the folder is ours");
    let script = sandbox.dir().join("script");
    std::fs::write(&script, SCRIPT).expect("the folder is ours");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, executable).expect("the file is ours");
    let router = route(&weft, &config);
    outside.address("eth0", "203.0.113.2/24");
    outside.exec(&["ip", "route", "add", "10.0.0.0/8", "via", "203.0.113.1"]).success();
    host.exec(&["ip", "link", "set", "eth0", "up"]).success();
    World { host, outside, router, config, script, weft, sandbox }
}

fn route(weft: &Weft, config: &Path) -> Process {
    let config = config.display().to_string();
    let ports = ["--port", "lan=netns:h1/eth0", "--port", "wan=netns:out/eth0"];
    let args = [&["router", "--config", &config], &ports[..]].concat();
    let mut router = weft.spawn("router", &args);
    router.wait_for_log(SOON, "router r1 runs");
    router
}

impl World {
    /// A client that goes on until it is stopped.
    fn client(&self, more: &[&str]) -> Process {
        let script = self.script.display().to_string();
        let args = ["busybox", "udhcpc", "-f", "-i", "eth0", "-T", "1", "-t", "20", "-s", &script];
        self.host.spawn(&[&args[..], more].concat())
    }

    /// What the client was told when `event` came.
    fn told(&self, event: &str) -> String {
        let file = self.script.with_file_name(event);
        wait_for(SOON, event, || std::fs::read_to_string(&file).ok().filter(|text| !text.is_empty()))
    }

    fn leases(&self) -> Vec<Value> {
        let shown = self.weft.run(&["router", "show", "dhcp", "--json"]).json();
        shown.as_array().expect("a list").clone()
    }
}

#[test]
fn a_client_gets_renews_and_gives_back_its_address() {
    let dhcp = "
dhcp:
  - interface: lan
    first: 10.1.0.100
    last: 10.1.0.120
    lease_time: 600
    dns: [192.0.2.53]
    domain: lab.example
    hosts: [{mac: '02:00:00:00:77:77', address: 10.1.0.7, name: printer}]
";
    let mut w = world("dhcp-server", dhcp);
    let mut client = w.client(&["-F", "h1.lab.example", "-x", "hostname:h1"]);
    let told = w.told("bound");
    for line in
        ["ip=10.1.0.100", "mask=24", "router=10.1.0.1", "dns=192.0.2.53", "domain=lab.example", "lease=600"]
    {
        assert!(told.lines().any(|told| told == line), "no {line} in {told}");
    }
    wait_until(SOON, "the way outside", || w.host.pings("203.0.113.2"));
    let leases = w.leases();
    assert_eq!(
        (leases.len(), &leases[0]["address"], &leases[0]["name"]),
        (1, &"10.1.0.100".into(), &"h1".into())
    );
    let table = w.weft.run(&["router", "show", "leases"]).success();
    assert!(table.contains("10.1.0.100") && table.contains("h1"), "{table}");
    client.signal(Signal::SIGUSR1);
    assert!(w.told("renew").contains("ip=10.1.0.100"));

    // A router that was killed has forgotten its leases; who renews keeps the address (RFC 2131 §4.3.2).
    w.router.signal(Signal::SIGKILL);
    w.router.wait(SOON);
    w.router = route(&w.weft, &w.config);
    assert_eq!(w.leases(), [] as [Value; 0]);
    client.stop();
    // The restart made a new interface in the host.
    w.host.exec(&["ip", "link", "set", "eth0", "up"]).success();
    std::fs::remove_file(w.script.with_file_name("bound")).expect("it was there");
    let mut client = w.client(&["-R"]);
    assert!(w.told("bound").contains("ip=10.1.0."), "{}", w.told("bound"));
    client.signal(Signal::SIGUSR2);
    wait_until(SOON, "the lease to be given back", || w.leases().iter().all(|lease| lease["expires"] == 0));
    client.stop();
    drop(w.sandbox);
}

#[test]
fn a_relay_reaches_a_server_beyond_the_router() {
    let dhcp = "
dhcp_relays: [{interface: lan, servers: [203.0.113.2]}]
";
    let w = world("dhcp-relay", dhcp);
    let conf = w.sandbox.dir().join("udhcpd.conf");
    let leases = w.sandbox.dir().join("udhcpd.leases");
    std::fs::write(&leases, "").expect("the folder is ours");
    let text = format!(
        "start 10.1.0.50\nend 10.1.0.59\ninterface eth0\nlease_file {}\npidfile {}\noption subnet 255.255.255.0\noption router 10.1.0.1\noption lease 300\n",
        leases.display(),
        w.sandbox.dir().join("udhcpd.pid").display()
    );
    std::fs::write(&conf, text).expect("the folder is ours");
    let mut server = w.outside.spawn(&["busybox", "udhcpd", "-f", &conf.display().to_string()]);
    wait_until(SOON, "the way to the server", || w.outside.pings("203.0.113.1"));
    let mut client = w.client(&[]);
    let told = w.told("bound");
    assert!(told.contains("ip=10.1.0.5") && told.contains("serverid=203.0.113.2"), "{told}");
    wait_until(SOON, "the way outside", || w.host.pings("203.0.113.2"));
    client.stop();
    server.stop();
}

#[test]
fn mistakes_in_dhcp_are_named() {
    let sandbox = Sandbox::enter("dhcp-mistakes");
    let weft = Weft::new(&sandbox);
    let config = sandbox.dir().join("r1.yaml");
    for (dhcp, words) in [
        ("dhcp: [{interface: lna, first: 10.1.0.5, last: 10.1.0.9}]", "no interface \"lna\""),
        (
            "dhcp: [{interface: lan, first: 10.7.0.5, last: 10.7.0.9}]",
            "dhcp[0]: the range lies in no network of the interface",
        ),
        ("dhcp: [{interface: lan, first: 10.1.0.9, last: 10.1.0.5}]", "dhcp[0]: "),
        ("dhcp_relays: [{interface: lan, servers: []}]", "dhcp_relays[0]"),
    ] {
        std::fs::write(&config, format!("{INTERFACES}{dhcp}\n")).expect("the folder is ours");
        let file = config.display().to_string();
        let ports = ["--port", "lan=netns:h1/eth0", "--port", "wan=netns:out/eth0"];
        let _hosts = ["h1", "out"].map(|name| Namespace::new(&sandbox, name));
        let said = weft.run(&[&["router", "--config", &file], &ports[..]].concat()).failure();
        assert!(said.contains(words), "{dhcp}: {said}");
    }
}
