//! Super-frames and unfinished checksums through a switch that rewrites, tags and labels them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use system_tests::{Namespace, Process, Sandbox, Weft, run, wait_until};

const SOON: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(30);
const LISTEN: &str = "tcp:127.0.0.1:6654";
/// More than a few super-frames.
const LARGE: usize = 1_500_000;

fn ofctl(args: &[&str]) -> bool {
    run(Command::new("ovs-ofctl").args(["-O", "OpenFlow13", "--timeout=5"]).args(args)).status.success()
}

/// h1 at port 1 and h2 at port 2; ports 3 and 4 are the ends of one wire in memory.
struct World {
    h1: Namespace,
    h2: Namespace,
    _switch: Process,
    _sandbox: Sandbox,
}

fn world(name: &str, wire_options: &str, flows: &[&str]) -> World {
    let sandbox = Sandbox::enter(name);
    let weft = Weft::new(&sandbox);
    let [h1, h2] = ["h1", "h2"].map(|name| Namespace::new(&sandbox, name));
    let wire = [3, 4].map(|port| format!("{port}=mem:wire{wire_options}"));
    let ports = ["1=netns:h1/eth0", "2=netns:h2/eth0", &wire[0], &wire[1]];
    let ports = ports.iter().flat_map(|port| ["--port", port]);
    let rest = ["--listen", "ptcp:6654", "--fail-mode", "secure"];
    let args: Vec<&str> = ["switch", "--dpid", "1"].into_iter().chain(ports).chain(rest).collect();
    let switch = weft.spawn("switch", &args);
    wait_until(SOON, "the switch to listen", || ofctl(&["show", LISTEN]));
    for flow in flows {
        assert!(ofctl(&["add-flow", LISTEN, flow]), "{flow}");
    }
    h1.address("eth0", "10.0.0.1/24");
    h2.address("eth0", "10.0.0.2/24");
    World { h1, h2, _switch: switch, _sandbox: sandbox }
}

fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// TCP to `to` there, where h2 listens on `at`: every byte goes and comes back unchanged.
fn there_and_back(world: &World, to: &str, at: &str) {
    let listener = world.h2.enter(|| TcpListener::bind(at).expect("the address is the host's"));
    let sent = pattern(LARGE);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
            let mut bytes = vec![0; LARGE];
            stream.read_exact(&mut bytes).expect("all of it");
            stream.write_all(&bytes).expect("all of it");
        });
        let to = to.parse().expect("an address");
        let stream = world.h1.enter(|| TcpStream::connect_timeout(&to, DEADLINE));
        let mut stream = stream.unwrap_or_else(|error| panic!("{to}: {error}"));
        stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
        stream.set_write_timeout(Some(DEADLINE)).expect("not zero");
        stream.write_all(&sent).expect("sent");
        let mut back = vec![0; LARGE];
        stream.read_exact(&mut back).expect("comes back");
        assert!(back == sent, "{to}: the payload came back changed");
    });
}

/// A datagram of 64 KiB to `to`, where h2 listens on `at`; it may be lost on a busy machine, never changed.
fn large_datagram(world: &World, to: &str, at: &str) {
    let receiver = world.h2.enter(|| UdpSocket::bind(at).expect("the address is the host's"));
    receiver.set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    let sender = world.h1.enter(|| UdpSocket::bind("0.0.0.0:0").expect("any port"));
    let (sent, mut buffer) = (pattern(65_507), vec![0; 65_536]);
    for _ in 0..20 {
        sender.send_to(&sent, to).expect("sent");
        if let Ok(n) = receiver.recv(&mut buffer) {
            assert!(buffer[..n] == sent, "{to}: a datagram arrived changed");
            return;
        }
    }
    panic!("{to}: no datagram arrived");
}

#[test]
fn addresses_and_ports_are_rewritten_in_super_frames() {
    // What a load balancer does: h1 speaks to 10.0.0.9, port 80.
    let flows = [
        "priority=9,tcp,in_port=1,nw_dst=10.0.0.9,tp_dst=80,actions=set_field:10.0.0.2->ip_dst,set_field:8080->tcp_dst,output:3",
        "priority=9,tcp,in_port=2,nw_src=10.0.0.2,tp_src=8080,actions=set_field:10.0.0.9->ip_src,set_field:80->tcp_src,output:4",
        "priority=1,in_port=1,actions=output:3",
        "priority=1,in_port=2,actions=output:4",
        "priority=1,in_port=3,actions=output:1",
        "priority=1,in_port=4,actions=output:2",
    ];
    for (name, options) in [("offload-nat", ""), ("offload-nat-cut", ",offload=off")] {
        let world = world(name, options, &flows);
        let mac = world.h2.exec(&["cat", "/sys/class/net/eth0/address"]).success();
        let neighbour = ["ip", "neighbour", "add", "10.0.0.9", "dev", "eth0", "lladdr", mac.trim()];
        world.h1.exec(&neighbour).success();
        there_and_back(&world, "10.0.0.9:80", "10.0.0.2:8080");
        large_datagram(&world, "10.0.0.2:5000", "10.0.0.2:5000");
    }
}

#[test]
fn a_vlan_tag_goes_on_and_off_super_frames() {
    let flows = [
        "in_port=1,actions=push_vlan:0x8100,set_field:4196->vlan_vid,output:3",
        "in_port=2,actions=push_vlan:0x88a8,set_field:4197->vlan_vid,output:4",
        "in_port=4,dl_vlan=100,actions=pop_vlan,output:2",
        "in_port=3,dl_vlan=101,actions=pop_vlan,output:1",
    ];
    for (name, options) in [("offload-vlan", ""), ("offload-vlan-cut", ",offload=off")] {
        let world = world(name, options, &flows);
        there_and_back(&world, "10.0.0.2:5000", "10.0.0.2:5000");
        large_datagram(&world, "10.0.0.2:5000", "10.0.0.2:5000");
    }
}

#[test]
fn super_frames_are_cut_before_they_are_labelled_and_lose_no_byte() {
    let flows = [
        "priority=9,ip,in_port=1,actions=push_mpls:0x8847,set_field:16->mpls_label,output:3",
        "priority=9,ip,in_port=2,actions=push_mpls:0x8847,set_field:17->mpls_label,output:4",
        "priority=9,mpls,in_port=4,mpls_label=16,actions=pop_mpls:0x0800,output:2",
        "priority=9,mpls,in_port=3,mpls_label=17,actions=pop_mpls:0x0800,output:1",
        "priority=1,in_port=1,actions=output:3",
        "priority=1,in_port=2,actions=output:4",
        "priority=1,in_port=3,actions=output:1",
        "priority=1,in_port=4,actions=output:2",
    ];
    let world = world("offload-mpls", "", &flows);
    there_and_back(&world, "10.0.0.2:5000", "10.0.0.2:5000");
    large_datagram(&world, "10.0.0.2:5000", "10.0.0.2:5000");
}
