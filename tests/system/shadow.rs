//! The shadow of a router without daemons: what is made in its namespace, what goes again, and what is refused.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use system_tests::{Finished, Namespace, Process, Sandbox, Weft, run, transfer, wait_until};

const SOON: Duration = Duration::from_secs(15);
const CONFIG: &str = "
name: r1
shadow: daemons
interfaces:
  - {name: lan, addresses: [10.1.0.1/24, '2001:db8:1::1/64'], mac: '02:00:00:00:01:01'}
  - {name: lan.20, port: lan, vlan: 20, address: 10.20.0.1/24, mtu: 1400}
  - {name: lo1, address: 192.0.2.1/32}
";

struct World {
    sandbox: Sandbox,
    weft: Weft,
    h1: Namespace,
}

impl World {
    fn new(name: &str) -> Self {
        let sandbox = Sandbox::enter(name);
        let (weft, h1) = (Weft::new(&sandbox), Namespace::new(&sandbox, "h1"));
        Self { sandbox, weft, h1 }
    }

    fn file(&self, config: &str) -> String {
        let file: PathBuf = self.sandbox.dir().join("r1.yaml");
        std::fs::write(&file, config).expect("the folder is ours");
        file.display().to_string()
    }

    fn start(&self, config: &str) -> Process {
        let file = self.file(config);
        let mut router =
            self.weft.spawn("router", &["router", "--config", &file, "--port", "lan=netns:h1/eth0"]);
        router.wait_for_log(SOON, "router r1 runs");
        router
    }

    fn refused(&self, config: &str) -> String {
        let file = self.file(config);
        self.weft.run(&["router", "--config", &file, "--port", "lan=netns:h1/eth0"]).failure()
    }

    /// Asks the router over its socket.
    fn put(&self, config: &Value) -> Finished {
        let (socket, body) = (self.sandbox.run_dir().join("r1.sock"), config.to_string());
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--unix-socket"]).arg(socket).args(["--request", "PUT", "--data", &body]);
        curl.args(["--header", "content-type: application/json", "http://r1/api/v1/config"]);
        run(&mut curl)
    }

    fn fib(&self) -> Vec<Value> {
        let shown = self.weft.run(&["router", "show", "fib", "--name", "r1", "--json"]).json();
        let all = shown.as_array().expect("a list").iter();
        all.filter(|route| route["source"] == "protocol").cloned().collect()
    }
}

fn addresses(namespace: &Namespace, interface: &str) -> String {
    namespace.exec(&["ip", "-brief", "address", "show", "dev", interface]).success()
}

#[test]
fn taps_are_as_the_interfaces_and_go_with_the_router() {
    let w = World::new("shadow-taps");
    let before = w.sandbox.snapshot();
    let mut router = w.start(CONFIG);
    let daemons = Namespace::adopt(&w.sandbox, "daemons");
    let lan = daemons.exec(&["ip", "link", "show", "dev", "lan"]).success();
    assert!(lan.contains("02:00:00:00:01:01") && lan.contains("mtu 1500") && lan.contains("UP"), "{lan}");
    let shown = addresses(&daemons, "lan");
    for address in ["10.1.0.1/24", "2001:db8:1::1/64", "fe80::ff:fe00:101/64"] {
        assert_eq!(shown.matches(address).count(), 1, "{shown}");
    }
    assert!(daemons.exec(&["ip", "link", "show", "dev", "lan.20"]).success().contains("mtu 1400"));
    assert!(addresses(&daemons, "lo").contains("192.0.2.1/32"));
    assert_eq!(daemons.exec(&["cat", "/proc/sys/net/ipv4/ip_forward"]).success().trim(), "0");

    // The kernel there speaks with the host, as the router, and the host with it.
    w.h1.address("eth0", "10.1.0.2/24");
    w.h1.address("eth0", "2001:db8:1::2/64");
    for to in ["10.1.0.2", "2001:db8:1::2"] {
        wait_until(SOON, "a ping from the shadow", || daemons.pings(to));
    }
    assert!(w.h1.pings("10.1.0.1"), "the router answers itself");
    let n_bytes = 1 << 20;
    assert_eq!(transfer(&daemons, &w.h1, "10.1.0.2:179", n_bytes), n_bytes);
    assert_eq!(transfer(&w.h1, &daemons, "10.1.0.1:179", n_bytes), n_bytes);

    // Routes of the kernel there become the router's while it has them.
    daemons.exec(&["ip", "route", "add", "198.51.100.0/24", "via", "10.1.0.2", "proto", "bird"]).success();
    wait_until(SOON, "a route", || {
        w.fib().iter().any(|r| r["to"] == "198.51.100.0/24" && r["interface"] == "lan")
    });
    // Another configuration: an address and an interface go, one comes; what is meant to stay stays, routes too.
    let config = json!({"name": "r1", "shadow": "daemons", "interfaces": [
        {"name": "lan", "addresses": ["10.1.0.1/24", "10.9.0.1/24"], "mac": "02:00:00:00:01:02"}]});
    w.put(&config).success();
    let shown = addresses(&daemons, "lan");
    assert!(shown.contains("10.9.0.1/24") && !shown.contains("2001:db8:1::1"), "{shown}");
    let links = daemons.exec(&["ip", "-brief", "link"]).success();
    assert!(!links.contains("lan.20") && links.contains("02:00:00:00:01:02"), "{links}");
    wait_until(SOON, "the route", || w.fib().len() == 1);
    // Without the shadow there is neither.
    w.put(&json!({"name": "r1", "interfaces": [{"name": "lan", "address": "10.1.0.1/24"}]})).success();
    assert!(w.fib().is_empty() && !daemons.path().exists());
    router.stop();
    w.sandbox.assert_nothing_left(&before);
}

#[test]
fn what_the_router_has_not_made_stays() {
    let w = World::new("shadow-stays");
    let daemons = Namespace::new(&w.sandbox, "daemons");
    let before = w.sandbox.snapshot();
    let links = || daemons.exec(&["ip", "-brief", "link"]).success();
    let mut router = w.start(&CONFIG.replace("shadow: daemons", "shadow: /run/netns/daemons"));
    assert!(links().contains("lan.20"));
    router.stop();
    assert!(!links().contains("lan"), "{}", links());
    w.sandbox.assert_nothing_left(&before);

    // A crash: what daemons have there is there still, and the next router takes it over, as it takes its namespace.
    drop(daemons);
    let before = w.sandbox.snapshot();
    let mut router = w.start(CONFIG);
    let daemons = Namespace::adopt(&w.sandbox, "daemons");
    let index = || daemons.exec(&["cat", "/sys/class/net/lan/ifindex"]).stdout;
    let first = index();
    daemons.exec(&["ip", "route", "add", "198.51.100.0/24", "via", "10.1.0.2", "proto", "bird"]).success();
    router.signal(Signal::SIGKILL);
    router.wait(SOON);
    let mut router = w.start(CONFIG);
    assert_eq!(index(), first);
    wait_until(SOON, "the route of before", || w.fib().len() == 1);
    router.stop();
    w.sandbox.assert_nothing_left(&before);
}

#[test]
fn what_cannot_be_is_refused_by_field() {
    let w = World::new("shadow-refused");
    let before = w.sandbox.snapshot();
    let refused = w.refused(&CONFIG.replace("shadow: daemons", "shadow: /run/netns/nowhere"));
    for part in
        ["shadow: there is no network namespace \"/run/netns/nowhere\"", "a name without \"/\" is made"]
    {
        assert!(refused.contains(part), "{refused}");
    }
    let refused = w.refused(&CONFIG.replace("shadow: daemons", "shadow: /proc/self/ns/uts"));
    assert!(refused.contains("shadow: cannot enter network namespace \"/proc/self/ns/uts\""), "{refused}");
    let refused = w.refused(&CONFIG.replace("name: lan,", "name: lan-of-the-office, port: lan,"));
    for part in [
        "interfaces[0].name: \"lan-of-the-office\" is not an interface name: 1 to 15 characters",
        "as `port`",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    // A name that is taken there by something else.
    let daemons = Namespace::new(&w.sandbox, "daemons");
    daemons.exec(&["ip", "link", "add", "lan", "type", "bridge"]).success();
    let refused = w.refused(CONFIG);
    assert!(
        refused.contains("interfaces[0].name: no shadow for interface \"lan\"")
            && refused.contains("not a tap"),
        "{refused}"
    );
    drop(daemons);
    w.sandbox.assert_nothing_left(&before);
    // While it runs it is refused as well, and everything stays as it is.
    let mut router = w.start(CONFIG);
    let answer = w.put(&json!({"name": "r1", "shadow": "/nowhere", "interfaces": [{"name": "lan", "address": "10.1.0.1/24"}]})).json();
    assert_eq!(
        (answer["status"].clone(), answer["pointer"].clone()),
        (422.into(), "/shadow".into()),
        "{answer}"
    );
    let daemons = Namespace::adopt(&w.sandbox, "daemons");
    assert!(addresses(&daemons, "lan").contains("10.1.0.1/24"));
    router.stop();
}
