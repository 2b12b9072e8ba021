//! Rates and queues of ports, between namespaces.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use system_tests::{Namespace, Sandbox, Weft, require_program, run, wait_for, wait_until};

const SOON: Duration = Duration::from_secs(15);
const SWITCH: &str = "tcp:127.0.0.1:6654";

fn ofctl(version: &str, args: &[&str]) -> String {
    let mut command = Command::new("ovs-ofctl");
    run(command.args(["-O", version, "--timeout=10"]).args(args)).success()
}

/// Mbit/s of TCP payload that arrive within three seconds.
fn tcp_rate(from: &Namespace, to: &str) -> f64 {
    // The server may still be at the end of the measurement before.
    let report = wait_for(SOON, "a measurement", || {
        let done = from.exec(&["iperf3", "-c", to, "-t", "3", "-O", "1", "-J"]);
        done.status.success().then(|| done.json())
    });
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    rate.expect("iperf3 reports what was received") / 1e6
}

/// Sends datagrams of 1400 bytes at about `mbps` until told to stop. Nobody listens for them.
#[expect(clippy::disallowed_methods, reason = "it keeps to a rate by the clock")]
fn flood(from: &Namespace, to: &str, mbps: u64, stop: &AtomicBool) {
    from.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
        let (since, payload) = (Instant::now(), [7; 1400]);
        let mut sent = 0u64;
        while !stop.load(Ordering::Relaxed) {
            let due = since.elapsed().as_micros() as u64 * mbps / 8;
            while sent < due {
                // Refused when nobody listens.
                let _ = socket.send_to(&payload, (to, 9));
                sent += 1400;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_queue_keeps_its_rate_and_a_guarantee_holds_against_a_flood() {
    require_program("iperf3", "iperf3");
    let sandbox = Sandbox::enter("queues");
    let weft = Weft::new(&sandbox);
    let [h1, h2, h3] = ["h1", "h2", "h3"].map(|name| Namespace::new(&sandbox, name));
    let ports = ["--port", "1=netns:h1/eth0", "--port", "2=netns:h2/eth0", "--port", "3=netns:h3/eth0"];
    let options = ["--listen", "ptcp:6654", "--workers", "2"];
    let mut switch = weft.spawn("switch", &[&["switch"][..], &ports, &options].concat());
    switch.wait_for_log(SOON, "is ready");
    for (host, address) in [(&h1, "10.0.0.1/24"), (&h2, "10.0.0.2/24"), (&h3, "10.0.0.3/24")] {
        host.address("eth0", address);
    }
    for flow in [
        "in_port=1,actions=set_queue:1,output:3",
        "in_port=2,actions=set_queue:2,output:3",
        "in_port=3,actions=FLOOD",
    ] {
        ofctl("OpenFlow13", &["add-flow", SWITCH, flow]);
    }
    wait_until(SOON, "pings", || h1.pings("10.0.0.3") && h2.pings("10.0.0.3"));
    let _server = h3.spawn(&["iperf3", "-s"]);
    wait_until(SOON, "the server", || h3.exec(&["ss", "-ltn"]).success().contains(":5201"));

    // One queue, 20 Mbit/s: TCP's share of the bytes on the wire is 1448 of 1514.
    let shown = weft.run(&["port", "set", "3", "--queue", "1,max=20M"]).success();
    assert!(shown.contains("20M"), "{shown}");
    let got = tcp_rate(&h1, "10.0.0.3");
    assert!((18.0..=20.5).contains(&got), "{got} Mbit/s through a queue of 20");

    // 20 Mbit/s for the port, 15 of them for h1, whatever h2 sends.
    let set = ["port", "set", "3", "--rate", "20M", "--queue", "1,min=15M", "--queue", "2,max=19M"];
    weft.run(&set).success();
    let stop = AtomicBool::new(false);
    let (shared, alone) = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&h2, "10.0.0.3", 100, &stop));
        let shared = tcp_rate(&h1, "10.0.0.3");
        stop.store(true, Ordering::Relaxed);
        flooding.join().expect("the flood ends");
        (shared, tcp_rate(&h1, "10.0.0.3"))
    });
    assert!(shared > 13.5, "{shared} Mbit/s of TCP beside a flood, 15 were guaranteed");
    assert!((18.0..=20.5).contains(&alone), "{alone} Mbit/s of TCP with the port for itself");

    // What the flood lost is counted, and told in every way.
    let port = weft.run(&["port", "show", "3", "--json"]).json();
    assert_eq!(
        (port["rate"].as_str(), port["queues"][0]["queue"]["min"].as_str()),
        (Some("20M"), Some("15M"))
    );
    let dropped = port["queues"][1]["tx_errors"].as_u64().expect("a number");
    assert!(dropped > 1000 && port["counters"]["tx_dropped"].as_u64() >= Some(dropped), "{port}");
    let listed = weft.run(&["port", "list"]).success();
    assert!(listed.contains("20M") && listed.contains("1,2"), "{listed}");
    let stats = ofctl("OpenFlow13", &["queue-stats", SWITCH, "3", "2"]);
    assert!(stats.contains("queue 2: bytes=") && stats.contains(&format!("errors={dropped}")), "{stats}");
    let config = ofctl("OpenFlow13", &["queue-get-config", SWITCH, "3"]);
    assert!(config.contains("min_rate:75.0%") && config.contains("max_rate:95.0%"), "{config}");
    let desc = ofctl("OpenFlow14", &["queue-get-config", SWITCH, "3", "1"]);
    assert!(desc.contains("min_rate:75.0%") && !desc.contains("95.0%"), "{desc}");

    // What cannot be kept is refused, and nothing is changed.
    let set = |args: &[&str]| weft.run(&[&["port", "set"], args].concat()).failure();
    assert!(set(&["3", "--queue", "1,min=1M"]).contains("add --rate"));
    assert!(set(&["9", "--rate", "1M"]).contains("no port 9"));
    assert!(set(&["3", "--queue", "1,max=fast"]).contains("max: \"fast\" is not a rate"));
    let again = weft.run(&["port", "show", "3", "--json"]).json();
    assert_eq!(again["queues"][0]["queue"], port["queues"][0]["queue"]);
    weft.run(&["port", "set", "3"]).success();
    assert!(tcp_rate(&h1, "10.0.0.3") > 40.0, "without a rate");
    assert_eq!(weft.run(&["port", "show", "3", "--json"]).json()["queues"], serde_json::Value::Null);
}

#[test]
fn links_of_a_topology_have_rates() {
    let topology = r#"
name: rates
nodes:
  s1: {kind: switch}
  s2: {kind: switch}
  h1: {kind: host, interfaces: {eth0: {address: 10.0.0.1/24}}}
  h2: {kind: host, interfaces: {eth0: {address: 10.0.0.2/24}}}
links:
  - endpoints: ["h1:eth0", "s1:1"]
  - endpoints: ["h2:eth0", "s2:1"]
  - {endpoints: ["s1:2", "s2:2"], rate: 30M, queues: [{id: 4, min: 5M, max: 10M}]}
tests:
  - throughput: {from: h1, to: h2, at_least: 20M, seconds: 2}
"#;
    for split in [&[][..], &["--split"]] {
        let sandbox = Sandbox::enter(if split.is_empty() { "rates" } else { "rates-split" });
        let weft = Weft::new(&sandbox);
        let before = sandbox.snapshot();
        let file = sandbox.dir().join("rates.yaml");
        std::fs::write(&file, topology).expect("the sandbox's folder is writable");
        let file = file.to_str().expect("a path");
        weft.run(&[&["up", file, "--detach"], split].concat()).success();
        for switch in ["s1", "s2"] {
            let port = weft.run(&["port", "show", "2", "--switch", switch, "--json"]).json();
            assert_eq!(
                (port["rate"].as_str(), port["queues"][0]["queue"]["max"].as_str()),
                (Some("30M"), Some("10M"))
            );
        }
        let tested = weft.run(&["test", "--json"]).json();
        let detail = tested["tests"][0]["detail"].as_str().expect("a rate");
        let rate: f64 = detail.split(' ').next().and_then(|n| n.parse().ok()).expect("a rate");
        assert!((20.0..=30.5).contains(&rate), "{tested}");
        weft.run(&["down"]).success();
        sandbox.assert_nothing_left(&before);
        let wrong = topology.replace("min: 5M, max: 10M", "min: 50M");
        std::fs::write(file, wrong).expect("the sandbox's folder is writable");
        let refused = weft.run(&["up", file, "--detach"]).failure();
        assert!(
            refused.contains("link s1:2 -- s2:2") && refused.contains("guaranteed 50000000"),
            "{refused}"
        );
    }
}
