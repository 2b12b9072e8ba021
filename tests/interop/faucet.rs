//! FAUCET (faucet.nz) as controller of a weft switch: VLANs, routing between them, an ACL.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use system_tests::{
    Finished, Namespace, Process, Sandbox, Weft, connects, controller_command, run, transfer, veth_pair,
    wait_until,
};

const DEADLINE: Duration = Duration::from_secs(60);
/// Port 1 may not use TCP port 8081. Port 4 has the addresses of the office but is in a VLAN of its own.
const CONFIG: &str = "
vlans:
  office: {vid: 100, faucet_mac: '0e:00:00:00:01:00', faucet_vips: [10.0.100.254/24]}
  guest: {vid: 200, faucet_mac: '0e:00:00:00:02:00', faucet_vips: [10.0.200.254/24]}
  lonely: {vid: 300}
routers:
  between: {vlans: [office, guest]}
acls:
  no-8081:
    - rule: {dl_type: 0x800, nw_proto: 6, tcp_dst: 8081, actions: {allow: false}}
    - rule: {actions: {allow: true}}
dps:
  s1:
    dp_id: 1
    hardware: HARDWARE
    interfaces:
      1: {native_vlan: office, acls_in: [no-8081]}
      2: {native_vlan: office}
      3: {native_vlan: guest}
      4: {native_vlan: lonely}
      5: {tagged_vlans: [office, guest]}
";

struct Lab {
    sandbox: Sandbox,
    hosts: Vec<Namespace>,
    _switches: [Process; 2],
    n_starts: usize,
}

impl Lab {
    /// Four hosts on s1, which looks for a controller, and a fifth behind a trunk: s2 tags what it sends. `hardware` is
    /// the kind of switch that FAUCET takes s1 for.
    fn new(name: &str, hardware: &str) -> Self {
        let sandbox = Sandbox::enter(name);
        let hosts: Vec<_> = (1..=5).map(|n| Namespace::new(&sandbox, &format!("h{n}"))).collect();
        let config = CONFIG.replace("HARDWARE", hardware);
        std::fs::write(sandbox.dir().join("faucet.yaml"), config).expect("the sandbox is writable");
        let controlled = ["--controller", "tcp:127.0.0.1:6653", "--listen", "ptcp:6654"];
        let ports =
            ["1=netns:h1/eth0", "2=netns:h2/eth0", "3=netns:h3/eth0", "4=netns:h4/eth0", "5=afpacket:x5"];
        veth_pair((None, "x5"), (None, "y5"));
        let switches = [
            switch(&sandbox, ("s1", "1"), &controlled, &ports),
            switch(&sandbox, ("s2", "2"), &["--listen", "ptcp:6655"], &["1=afpacket:y5", "2=netns:h5/eth0"]),
        ];
        let there = || hosts.iter().all(|host| host.exec(&["ip", "link", "show", "eth0"]).status.success());
        wait_until(DEADLINE, "the ports", there);
        for flow in [
            "in_port=2,actions=push_vlan:0x8100,set_field:4296->vlan_vid,output:1",
            "in_port=1,dl_vlan=200,actions=pop_vlan,output:2",
        ] {
            wait_until(DEADLINE, "the flows of s2", || ofctl("6655", &["add-flow"], flow).status.success());
        }
        for (host, address, gateway) in [
            (0, "10.0.100.1/24", "10.0.100.254"),
            (1, "10.0.100.2/24", "10.0.100.254"),
            (2, "10.0.200.3/24", "10.0.200.254"),
            (3, "10.0.100.4/24", "10.0.100.254"),
            (4, "10.0.200.5/24", "10.0.200.254"),
        ] {
            hosts[host].address("eth0", address);
            hosts[host].exec(&["ip", "route", "add", "default", "via", gateway]).success();
        }
        Self { sandbox, hosts, _switches: switches, n_starts: 0 }
    }

    /// Starts FAUCET and waits until it has configured the switch. The path is that of its log.
    fn start_faucet(&mut self) -> (Process, std::path::PathBuf) {
        self.n_starts += 1;
        let file = |name: &str| self.sandbox.dir().join(format!("{name}-{}.log", self.n_starts));
        let log = file("faucet");
        let mut command = controller_command("faucet");
        command.args(["--ryu-ofp-listen-host=127.0.0.1", "--ryu-ofp-tcp-listen-port=6653"]);
        command.env("FAUCET_CONFIG", self.sandbox.dir().join("faucet.yaml"));
        command.env("FAUCET_LOG", &log).env("FAUCET_EXCEPTION_LOG", file("exception"));
        let process = Process::spawn(&mut command, &file("osken"));
        wait_until(DEADLINE, "FAUCET to configure the switch", || {
            read(&log).contains("Port 5 (5) configured") && flows().contains("table=0")
        });
        (process, log)
    }

    fn ping(&self, from: usize, to: &str) {
        let what = format!("a ping from h{from} to {to}");
        wait_until(DEADLINE, &what, || self.hosts[from - 1].pings(to));
    }

    /// What FAUCET could not cope with.
    fn assert_no_exception(&self) {
        for n in 1..=self.n_starts {
            let text = read(&self.sandbox.dir().join(format!("exception-{n}.log")));
            assert_eq!(text, "", "FAUCET's exceptions");
            let log = read(&self.sandbox.dir().join(format!("faucet-{n}.log")));
            let errors: Vec<_> =
                log.lines().filter(|line| line.contains("OFError") || line.contains("OFPErrorMsg")).collect();
            assert!(errors.is_empty(), "{errors:?}");
        }
    }
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn switch(sandbox: &Sandbox, (name, dpid): (&str, &str), options: &[&str], ports: &[&str]) -> Process {
    let ports: Vec<&str> = ports.iter().flat_map(|port| ["--port", port]).collect();
    let args = [&["switch", "--name", name, "--dpid", dpid][..], options, &ports].concat();
    Weft::new(sandbox).spawn(name, &args)
}

fn ofctl(port: &str, verb: &[&str], what: &str) -> Finished {
    let target = format!("tcp:127.0.0.1:{port}");
    let mut command = Command::new("ovs-ofctl");
    run(command
        .args(["-O", "OpenFlow13", "--timeout=10"])
        .args(verb)
        .arg(target)
        .args(Some(what).filter(|w| !w.is_empty())))
}

/// The flows of s1.
fn flows() -> String {
    ofctl("6654", &["dump-flows"], "").stdout
}

#[test]
fn faucet_switches_routes_and_filters() {
    let mut lab = Lab::new("faucet", "'Open vSwitch'");
    let (_faucet, log) = lab.start_faucet();
    lab.ping(1, "10.0.100.2");
    lab.ping(1, "10.0.100.254");
    lab.ping(3, "10.0.200.5");
    // Between VLANs by the addresses that FAUCET has in them, one of which is behind a trunk.
    lab.ping(1, "10.0.200.3");
    lab.ping(5, "10.0.100.2");
    let hosts = &lab.hosts;
    assert_eq!(transfer(&hosts[0], &hosts[2], "10.0.200.3:5000", 4 << 20), 4 << 20, "routed bytes of TCP");
    for to in ["10.0.100.1", "10.0.100.254", "10.0.200.3"] {
        assert!(!hosts[3].pings(to), "h4 leaves its VLAN towards {to}");
    }
    assert!(!hosts[0].pings("10.0.100.4"), "h4 is reached from another VLAN");
    let wait = Duration::from_secs(2);
    assert!(connects(&hosts[0], &hosts[1], "10.0.100.2:8080", wait));
    assert!(!connects(&hosts[0], &hosts[1], "10.0.100.2:8081", wait), "the ACL of port 1");
    assert!(connects(&hosts[1], &hosts[0], "10.0.100.1:8081", wait), "port 2 has no ACL");

    // The carrier of port 2 goes and comes back: FAUCET forgets h2 and learns it again.
    hosts[1].exec(&["ip", "link", "set", "eth0", "down"]).success();
    wait_until(DEADLINE, "FAUCET to see port 2 down", || read(&log).contains("Port 2 (2) down"));
    let to_port_2 = || flows().lines().any(|flow| flow.contains("table=5") && flow.contains("output:2"));
    wait_until(DEADLINE, "flows to port 2 to go", || !to_port_2());
    hosts[1].exec(&["ip", "link", "set", "eth0", "up"]).success();
    hosts[1].exec(&["ip", "route", "add", "default", "via", "10.0.100.254"]).success();
    lab.ping(1, "10.0.100.2");
    lab.ping(2, "10.0.200.3");
    lab.assert_no_exception();
}

#[test]
fn faucet_may_be_restarted_while_traffic_flows() {
    let mut lab = Lab::new("faucet-again", "GenericTFM");
    let (faucet, _) = lab.start_faucet();
    lab.ping(1, "10.0.200.3");
    let listener = lab.hosts[2].enter(|| TcpListener::bind("10.0.200.3:5000").expect("the address is h3's"));
    let stream = lab.hosts[0].enter(|| TcpStream::connect("10.0.200.3:5000").expect("TCP connects"));
    let (mut peer, _) = listener.accept().expect("a listener accepts");
    let done = AtomicBool::new(false);
    let (sent, received) = std::thread::scope(|scope| {
        let receive = scope.spawn(move || {
            peer.set_read_timeout(Some(DEADLINE)).expect("not zero");
            let mut bytes = Vec::new();
            let ended = peer.read_to_end(&mut bytes);
            ended.map(|_| bytes.len())
        });
        let send = scope.spawn(|| {
            let mut stream = stream;
            stream.set_write_timeout(Some(DEADLINE)).expect("not zero");
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                stream.write_all(&[7; 1000]).expect("TCP goes on");
                sent += 1000;
                std::thread::sleep(Duration::from_millis(2));
            }
            sent
        });
        let before = flows().lines().count();
        drop(faucet);
        // Nobody removes the flows, and what was learned goes on.
        assert!(lab.hosts[0].pings("10.0.200.3"), "without FAUCET");
        assert!(flows().lines().count() + 4 >= before, "flows are lost with FAUCET:\n{}", flows());
        let (_faucet, _) = lab.start_faucet();
        lab.ping(1, "10.0.100.2");
        lab.ping(3, "10.0.100.1");
        done.store(true, Ordering::Relaxed);
        (send.join().expect("it sends"), receive.join().expect("it receives").expect("nothing breaks"))
    });
    assert_eq!(sent, received, "bytes of a connection that lived through the restart");
    lab.assert_no_exception();
}
