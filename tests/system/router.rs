//! One router alone between namespaces: what a host inside and a host outside notice of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use system_tests::{Namespace, Process, RawSocket, Sandbox, Weft, require_program, run, wait_until};

const SOON: Duration = Duration::from_secs(15);
const CONFIG: &str = "
name: r1
interfaces:
  - {name: lan, address: 10.1.0.1/24}
  - {name: lan.20, port: lan, vlan: 20, address: 10.20.0.1/24}
  - {name: dmz, address: 10.2.0.1/24}
  - {name: wan, address: 203.0.113.1/24}
nat:
  masquerade: [{out: wan}]
  port_forwards:
    - {in: wan, protocol: tcp, port: 8080, to: '10.1.0.2:80'}
    - {in: wan, protocol: udp, port: 5353, to: '10.1.0.2:53'}
";
const WAN: &str = "203.0.113.1:8080";

struct World {
    h1: Namespace,
    h2: Namespace,
    outside: Namespace,
    router: Process,
    weft: Weft,
    sandbox: Sandbox,
}

/// h1 behind lan, h2 behind dmz, out behind wan; each knows the router, out also as the way to what it must not reach.
fn world(name: &str) -> World {
    let sandbox = Sandbox::enter(name);
    let weft = Weft::new(&sandbox);
    let [h1, h2, outside] = ["h1", "h2", "out"].map(|name| Namespace::new(&sandbox, name));
    let file = sandbox.dir().join("r1.yaml");
    std::fs::write(&file, CONFIG).expect("the folder is ours");
    let file = file.display().to_string();
    let mut args = vec!["router", "--config", &file];
    for port in ["lan=netns:h1/eth0", "dmz=netns:h2/eth0", "wan=netns:out/eth0"] {
        args.extend(["--port", port]);
    }
    let mut router = weft.spawn("router", &args);
    router.wait_for_log(SOON, "router r1 runs");
    h1.address("eth0", "10.1.0.2/24");
    h2.address("eth0", "10.2.0.2/24");
    outside.address("eth0", "203.0.113.2/24");
    for (host, to, via) in
        [(&h1, "default", "10.1.0.1"), (&h2, "default", "10.2.0.1"), (&outside, "10.0.0.0/8", "203.0.113.1")]
    {
        host.exec(&["ip", "route", "add", to, "via", via]).success();
    }
    wait_until(SOON, "the router to answer", || h1.pings("10.1.0.1"));
    World { h1, h2, outside, router, weft, sandbox }
}

/// Accepts one connection in `host`, sends back what comes until its end, and tells who it was.
fn echo_once(host: &Namespace, listen: &str, client: impl FnOnce()) -> SocketAddr {
    let listener = host.enter(|| TcpListener::bind(listen).expect("the address is the host's"));
    std::thread::scope(|scope| {
        let served = scope.spawn(move || {
            let (mut stream, peer) = listener.accept().expect("somebody connects");
            let mut data = Vec::new();
            stream.read_to_end(&mut data).expect("all that was sent");
            stream.write_all(&data).expect("the client reads");
            peer
        });
        client();
        served.join().expect("the server is done")
    })
}

/// Sends `len` bytes from `host` and expects them back.
fn exchange(host: &Namespace, to: &str, len: usize) {
    let mut stream = host.enter(|| {
        let addr = to.parse().expect("an address");
        TcpStream::connect_timeout(&addr, SOON).unwrap_or_else(|error| panic!("{to}: {error}"))
    });
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let data: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
    stream.write_all(&data).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("shut down");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("received");
    assert!(back == data, "{} of {len} bytes came back, or others", back.len());
}

#[test]
fn hosts_reach_each_other_and_the_outside_but_not_the_other_way() {
    let w = world("router-reach");
    for target in ["10.1.0.1", "203.0.113.1", "10.2.0.2", "203.0.113.2"] {
        wait_until(SOON, target, || w.h1.pings(target));
    }
    assert!(w.outside.pings("203.0.113.1"));
    assert!(!w.outside.pings("10.1.0.2"), "the inside is hidden");
    // Fragments: to the router, through it, and through translation.
    for target in ["10.1.0.1", "10.2.0.2", "203.0.113.2"] {
        let ping = ["busybox", "ping", "-c", "2", "-W", "2", "-s", "4000", target];
        w.h1.exec(&ping).success();
    }
}

#[test]
fn a_tagged_interface_and_traffic_between_vlans() {
    let w = world("router-vlan");
    // By hand, because not every kernel has tagged interfaces. The kernel may show received frames without their tag.
    let (own, vlan) = ([2, 0, 0, 0, 0, 0x20], [0x81, 0, 0, 20]);
    let socket = w.h1.enter(|| RawSocket::open("eth0"));
    let receive = |what: &str, ethertype: [u8; 2], at: usize, want: &[u8]| loop {
        let frame = socket.receive(SOON).unwrap_or_else(|| panic!("no {what}"));
        let frame = if frame[12..16] == vlan { [&frame[..12], &frame[16..]].concat() } else { frame };
        if frame[12..14] == ethertype && frame.get(14 + at..).is_some_and(|rest| rest.starts_with(want)) {
            return frame;
        }
    };
    let (host, router) = ([10, 20, 0, 2], [10, 20, 0, 1]);
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &own, &host, &[0; 6], &router].concat();
    socket.send(&[&[0xff; 6][..], &own, &vlan, &[8, 6], &arp].concat()).expect("sent");
    let reply = receive("ARP reply", [8, 6], 14, &router);
    let mac: [u8; 6] = reply[6..12].try_into().expect("six bytes");
    // From dmz, a ping whose answer is the request with addresses and type changed.
    std::thread::scope(|scope| {
        let pinged = scope.spawn(|| w.h2.pings("10.20.0.2"));
        let mut echo = receive("echo request", [8, 0], 16, &host)[14..].to_vec();
        assert_eq!((echo[12..16].to_vec(), echo[20]), (vec![10, 2, 0, 2], 8));
        echo[12..20].rotate_left(4);
        echo[20] = 0;
        let sum = u32::from(u16::from_be_bytes([echo[22], echo[23]])) + 0x800;
        echo[22..24].copy_from_slice(&((sum + (sum >> 16)) as u16).to_be_bytes());
        socket.send(&[&mac[..], &own, &vlan, &[8, 0], &echo].concat()).expect("sent");
        assert!(pinged.join().expect("pinged"), "{}", w.router.log());
    });
}

#[test]
fn tcp_goes_out_translated_and_whole() {
    let w = world("router-tcp");
    let peer = echo_once(&w.outside, "203.0.113.2:7000", || exchange(&w.h1, "203.0.113.2:7000", 8 << 20));
    assert_eq!(peer.ip().to_string(), "203.0.113.1", "what the outside sees as source");
    let peer = echo_once(&w.h2, "10.2.0.2:7000", || exchange(&w.h1, "10.2.0.2:7000", 1 << 20));
    assert_eq!(peer.ip().to_string(), "10.1.0.2", "nothing is translated inside");
}

#[test]
fn port_forwards_from_outside_and_from_inside() {
    let w = world("router-forward");
    let peer = echo_once(&w.h1, "10.1.0.2:80", || exchange(&w.outside, WAN, 1 << 20));
    assert_eq!(peer.ip().to_string(), "203.0.113.2");
    for client in [&w.h2, &w.h1] {
        let peer = echo_once(&w.h1, "10.1.0.2:80", || exchange(client, WAN, 100_000));
        assert_eq!(peer.ip().to_string(), "203.0.113.1", "hairpin: RFC 4787 REQ-9a");
    }
    // A datagram in fragments.
    let server = w.h1.enter(|| UdpSocket::bind("10.1.0.2:53").expect("the address is the host's"));
    let client = w.outside.enter(|| UdpSocket::bind("203.0.113.2:0").expect("the address is the host's"));
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
    }
    let data: Vec<u8> = (0..8001).map(|i| i as u8).collect();
    client.send_to(&data, "203.0.113.1:5353").expect("sent");
    let mut buffer = vec![0; 9000];
    let (n, peer) = server.recv_from(&mut buffer).expect("received");
    assert_eq!((&buffer[..n], peer), (&data[..], client.local_addr().expect("bound")));
    server.send_to(&data, peer).expect("sent");
    let (n, peer) = client.recv_from(&mut buffer).expect("received");
    assert_eq!((&buffer[..n], peer.to_string().as_str()), (&data[..], "203.0.113.1:5353"));
}

#[test]
fn iperf3_measures_through_translation() {
    require_program("iperf3", "iperf3");
    let w = world("router-iperf");
    let _server = w.outside.spawn(&["iperf3", "-s"]);
    wait_until(SOON, "the server", || w.outside.exec(&["ss", "-ltn"]).success().contains(":5201"));
    let report = w.h1.exec(&["iperf3", "-c", "203.0.113.2", "-t", "1", "-P", "4", "-J"]).json();
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64().expect("what was received");
    assert!(rate > 1e8, "{rate} bit/s");
}

/// The way out takes packets of 1300 bytes, where both hosts have 1500.
#[test]
fn hosts_learn_the_path_s_mtu_and_clamping_spares_them_a_black_hole() {
    require_program("nft", "nftables");
    let w = world("router-mtu");
    let socket = w.sandbox.run_dir().join("r1.sock");
    let narrow = |clamps: bool| {
        let wan = format!(r#"{{"name":"wan","address":"203.0.113.1/24","mtu":1300,"clamp_mss":{clamps}}}"#);
        let lan = r#"{"name":"lan","address":"10.1.0.1/24"}"#;
        let rest = r#""nat":{"masquerade":[{"out":"wan"}]}"#;
        let answer = put(&socket, &format!(r#"{{"name":"r1","interfaces":[{lan},{wan}],{rest}}}"#));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    let through = || {
        echo_once(&w.outside, "203.0.113.2:7000", || exchange(&w.h1, "203.0.113.2:7000", 1 << 20));
    };
    let learned = || w.h1.exec(&["ip", "route", "get", "203.0.113.2"]).success().contains("mtu 1300");
    narrow(false);
    assert!(!learned());
    through();
    assert!(learned(), "fragmentation needed (RFC 1191 §4)");

    // The inside's firewall drops what would tell it, and it has forgotten.
    let rules = "table ip hole { chain in { type filter hook input priority 0; icmp type destination-unreachable drop; }; }";
    w.h1.exec(&["nft", rules]).success();
    w.h1.exec(&["ip", "route", "flush", "cache"]).success();
    let listener =
        w.outside.enter(|| TcpListener::bind("203.0.113.2:7001").expect("the address is the host's"));
    let to = "203.0.113.2:7001".parse().expect("an address");
    let mut stream = w.h1.enter(|| TcpStream::connect_timeout(&to, SOON).expect("SYNs are small"));
    stream.write_all(&[7; 20_000]).expect("the kernel takes it");
    let (mut far, _) = listener.accept().expect("it connected");
    far.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let held = far.read(&mut [0; 20_000]);
    assert!(held.is_err() && !learned(), "it is a black hole: {held:?}");
    narrow(true);
    through();
    assert!(!learned(), "nobody had to learn");
}

#[test]
fn traceroute_sees_the_router_and_its_limits_are_told() {
    let w = world("router-trace");
    let hops =
        w.h1.exec(&["busybox", "traceroute", "-n", "-q", "2", "-w", "2", "-m", "3", "203.0.113.2"]).success();
    let hops: Vec<&str> = hops.lines().skip(1).collect();
    assert!(hops[0].contains("10.1.0.1") && hops[1].contains("203.0.113.2"), "{hops:?}");
    // A refused port and a network nobody knows.
    let socket = w.h1.enter(|| UdpSocket::bind("10.1.0.2:0").expect("the address is the host's"));
    socket.set_read_timeout(Some(SOON)).expect("a timeout");
    socket.connect("203.0.113.2:9").expect("connected");
    socket.send(b"x").expect("sent");
    let error = socket.recv(&mut [0; 16]).expect_err("an ICMP error");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    let trace = ["busybox", "traceroute", "-n", "-q", "1", "-w", "2", "-m", "2", "192.0.2.1"];
    let hops = w.h1.exec(&trace).success();
    assert!(hops.contains("!N"), "{hops}");
}

#[test]
fn what_is_shown_and_a_new_configuration_while_it_runs() {
    let mut w = world("router-show");
    let peer = echo_once(&w.outside, "203.0.113.2:7000", || exchange(&w.h1, "203.0.113.2:7000", 10));
    let show = |what: &str| w.weft.run(&["router", "show", what, "--name", "r1", "--json"]).json();
    let connections = show("connections");
    let outside = connections[0]["reply_destination"].as_str().map(str::to_owned);
    assert_eq!(outside, Some(peer.to_string()), "{connections}");
    assert_eq!(connections[0]["source"].as_str().map(|s| s.starts_with("10.1.0.2:")), Some(true));
    let fixed =
        show("bindings").as_array().map(|all| all.iter().filter(|b| b["kind"] == "port-forward").count());
    assert_eq!(fixed, Some(2));
    assert!(show("fib").as_array().is_some_and(|all| all.iter().any(|r| r["to"] == "10.20.0.0/24")));
    wait_until(SOON, "the neighbour to be shown", || {
        show("neighbours").as_array().is_some_and(|all| all.iter().any(|n| n["address"] == "203.0.113.2"))
    });
    assert!(w.weft.run(&["router", "show", "fib"]).success().contains("connected"));
    let filtered = |filters: &[&str]| {
        let all = [&["router", "show", "conn", "--json"], filters].concat();
        w.weft.run(&all).json().as_array().map(Vec::len)
    };
    assert_eq!(
        (filtered(&["source=10.1.0.2", "destination=:7000"]), filtered(&["source=10.1.0.3"])),
        (Some(1), Some(0))
    );
    let wrong = w.weft.run(&["router", "show", "conn", "sauce=10.1.0.2"]).failure();
    assert!(
        wrong.contains("connections have no column \"sauce\": there are protocol, state, source"),
        "{wrong}"
    );
    // A controller, or curl, puts another configuration.
    let socket = w.sandbox.run_dir().join("r1.sock");
    let put = |body: &str| put(&socket, body);
    let wrong = put(r#"{"name":"r1","interfaces":[{"name":"lam"}]}"#);
    assert!(wrong.starts_with("HTTP/1.1 422") && wrong.contains("/interfaces/0/name"), "{wrong}");
    assert!(w.h1.pings("203.0.113.2"), "the old one stays");
    let plain = r#"{"name":"r1","interfaces":[{"name":"lan","address":"10.1.0.1/24"},{"name":"wan","address":"203.0.113.1/24"}],"counted_routes":[{"to":"10.1.0.0/24"}]}"#;
    assert!(put(plain).starts_with("HTTP/1.1 200"));
    wait_until(SOON, "the inside to be reached by its own address", || w.outside.pings("10.1.0.2"));
    assert!(!w.h1.pings("10.2.0.2"), "dmz is gone");
    let fib = show("fib");
    let lan = fib
        .as_array()
        .and_then(|all| all.iter().find(|r| r["to"] == "10.1.0.0/24"))
        .expect("it is connected");
    let packets = lan["packets"].as_u64().filter(|n| *n > 0).expect("pings were counted");
    let mut metrics = Command::new("curl");
    metrics.args(["--silent", "--fail", "--unix-socket"]).arg(&socket).arg("http://r1/metrics");
    let metrics = run(&mut metrics).success();
    let counted = format!(r#"weft_route_packets_total{{node="r1",vrf="",to="10.1.0.0/24"}} {packets}"#);
    assert!(metrics.contains(&counted), "{metrics}");
    let drops = wait_drops(&w.weft);
    assert!(drops.contains("no-interface") || drops.contains("no-route"), "{drops}");
    assert!(w.router.stop().success(), "{}", w.router.log());
    assert!(!socket.exists(), "the socket goes with the router");
}

#[test]
fn another_configuration_tells_what_it_changes_and_may_name_the_one_it_replaces() {
    let w = world("router-set");
    let file = w.sandbox.dir().join("other.yaml");
    let set = |text: &str, args: &[&str]| {
        std::fs::write(&file, text).expect("the folder is ours");
        let file = file.display().to_string();
        w.weft.run(&[&["router", "set", &file][..], args].concat())
    };
    let other = CONFIG.replace("10.20.0.1/24", "10.21.0.1/24");
    let forecast = set(&other, &["--dry-run"]).success();
    let expected = "~ /interfaces/1/address: \"10.20.0.1/24\" becomes \"10.21.0.1/24\"\ngeneration 1 is in force: nothing was changed";
    assert_eq!(forecast.trim_end(), expected);
    let has =
        |to: &str| w.weft.run(&["router", "show", "fib", &format!("to={to}")]).success().lines().count() > 1;
    assert!(has("10.20.0.0") && !has("10.21.0.0"));
    let wrong = set(&other.replace("10.1.0.1/24", "10.1.0.1/33"), &["--dry-run"]).failure();
    assert!(wrong.contains("other.yaml:"), "{wrong}");

    // Two look at the first generation and change it; the second is told.
    let socket = w.sandbox.run_dir().join("r1.sock");
    let curl = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--include", "--unix-socket"]).arg(&socket);
        run(command.args(["--header", "content-type: application/json"]).args(args)).success()
    };
    let url = "http://r1/api/v1/config";
    assert!(curl(&[url]).contains("etag: \"1\""));
    let change = |condition: &str| {
        let body = r#"{"name":"r1","interfaces":[{"name":"lan","address":"10.1.0.1/24"}]}"#;
        curl(&["--request", "PUT", "--header", condition, "--data", body, url])
    };
    let first = change("if-match: \"1\"");
    assert!(first.starts_with("HTTP/1.1 200") && first.contains("\"generation\":2"), "{first}");
    let second = change("if-match: \"1\"");
    assert!(second.starts_with("HTTP/1.1 412") && second.contains("generation 2 is in force"), "{second}");
    let back = set(CONFIG, &[]).success();
    assert!(back.contains("+ /nat: ") && back.trim_end().ends_with("generation 3 is in force"), "{back}");
    assert!(has("10.20.0.0"));
}

fn wait_drops(weft: &Weft) -> String {
    let mut shown = String::new();
    wait_until(SOON, "drops to be shown", || {
        shown = weft.run(&["router", "show", "drops"]).success();
        shown.lines().count() > 1
    });
    shown
}

fn put(socket: &std::path::Path, body: &str) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("the router listens");
    let head = format!(
        "PUT /api/v1/config HTTP/1.1\r\nhost: r1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn a_router_that_cannot_start_says_why_and_leaves_nothing() {
    let sandbox = Sandbox::enter("router-fails");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let file = sandbox.dir().join("r1.yaml");
    let refused = |config: &str, port: &str| {
        std::fs::write(&file, config).expect("the folder is ours");
        let file = file.display().to_string();
        run(&mut weft.command(&["router", "--config", &file, "--port", port])).failure()
    };
    let text = refused(CONFIG, "lan=hosttap:rfail0");
    assert!(text.contains("interfaces[2].name") && text.contains("it has: lan"), "{text}");
    let text = refused("name: r1\ninterfaces: [{nam: lan}]\n", "lan=hosttap:rfail0");
    assert!(text.contains("r1.yaml") && text.contains("nam"), "{text}");
    let text = refused(CONFIG, "lan=afpacket:nowhere0");
    assert!(text.contains("port \"lan\"") && text.contains("nowhere0"), "{text}");
    sandbox.assert_nothing_left(&before);
}
