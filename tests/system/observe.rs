//! What runs can be seen: rates, metrics, mirrors, traces of real frames; and it costs little while nobody looks.

#[path = "observe/exposition.rs"]
mod exposition;

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::{Namespace, Process, Sandbox, Weft, require_program, run, wait_for, wait_until};

const SOON: Duration = Duration::from_secs(20);
const SWITCH: &str = "tcp:127.0.0.1:6654";

/// Two hosts on switch s1, h1 by port 1 and h2 by port 2, joined by flows.
struct Pair {
    h1: Namespace,
    h2: Namespace,
    weft: Weft,
    switch: Process,
    sandbox: Sandbox,
}

/// Processor time that a process took, in seconds.
fn cpu_of(process: &Process) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    // utime and stime, in hundredths of a second on every Linux there is.
    (ticks(11) + ticks(12)) / 100.0
}

impl Pair {
    fn start(name: &str, options: &[&str]) -> Self {
        let sandbox = Sandbox::enter(name);
        let weft = Weft::new(&sandbox);
        let [h1, h2] = ["h1", "h2"].map(|name| Namespace::new(&sandbox, name));
        let ports = ["--port", "1=netns:h1/eth0", "--port", "2=netns:h2/eth0", "--listen", "ptcp:6654"];
        let mut switch = weft.spawn("switch", &[&["switch"][..], &ports, options].concat());
        switch.wait_for_log(SOON, "is ready");
        h1.address("eth0", "10.0.0.1/24");
        h2.address("eth0", "10.0.0.2/24");
        let pair = Self { h1, h2, weft, switch, sandbox };
        for flow in [
            "table=0,priority=5,actions=goto_table:1",
            "table=0,priority=9,tcp,tp_dst=81,actions=drop",
            "table=1,in_port=1,actions=output:2",
            "table=1,in_port=2,actions=output:1",
        ] {
            pair.weft.run(&["ofctl", "add-flow", SWITCH, flow]).success();
        }
        wait_until(SOON, "a ping", || pair.h1.pings("10.0.0.2"));
        pair
    }

    /// Pings all the time until dropped.
    fn keep_pinging(&self) -> Process {
        self.h1.spawn(&["busybox", "ping", "-i", "0.02", "10.0.0.2"])
    }

    fn get(&self, path: &str) -> String {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--unix-socket"]).arg(self.sandbox.run_dir().join("s1.sock"));
        run(curl.arg(format!("http://switch{path}"))).success()
    }

    fn resident(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.switch.pid())).expect("it runs");
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
    }
}

#[test]
fn top_shows_rates_drops_stages_and_workers() {
    let pair = Pair::start("top", &["--workers", "1"]);
    let _pinging = pair.keep_pinging();
    // A flow drops these: the connection attempts of one second and more.
    let _dropped = pair.h1.spawn(&["sh", "-c", "while :; do busybox nc -w 1 10.0.0.2 81; done"]);
    let is_flow = |drop: &Value| drop["reason"] == "flow" && drop["place"] == "node";
    let view = wait_for(SOON, "rates and drops", || {
        let view = pair.weft.run(&["top", "--once", "--json", "--interval", "0.5"]).json();
        let drops = view["nodes"][0]["drops"].as_array().cloned().unwrap_or_default();
        drops.iter().any(is_flow).then_some(view)
    });
    let node = &view["nodes"][0];
    assert_eq!((node["name"].as_str(), node["service"].as_str()), (Some("s1"), Some("switch")), "{view}");
    for port in node["ports"].as_array().expect("ports") {
        let rate = |way: &str, what: &str| port[way][what].as_f64().expect("a rate");
        // At most fifty pings a second and their answers, fewer on a machine with other work.
        let (rx, tx) = (rate("rx", "frames_per_second"), rate("tx", "frames_per_second"));
        assert!((0.5..500.0).contains(&rx) && (0.5..500.0).contains(&tx) && port["up"] == true, "{view}");
        let bits = rate("rx", "bits_per_second") / rx;
        assert!((8.0 * 42.0..8.0 * 200.0).contains(&bits), "{bits} bits a frame: {view}");
    }
    let stages: Vec<&str> =
        node["stages"].as_array().expect("stages").iter().filter_map(|s| s["stage"].as_str()).collect();
    for stage in ["rx", "extract", "actions", "tx"] {
        assert!(stages.contains(&stage), "{view}");
    }
    let busy = view["workers"][0]["busy_share"].as_f64().expect("a share");
    assert!(busy < 0.5, "{view}");

    let text = pair.weft.run(&["top", "s1", "--once", "--interval", "0.3"]).success();
    for word in ["switch s1:", "IN PPS", "extract", "dropped flow:", "workers of process"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let nobody = pair.weft.run(&["top", "s9", "--once"]).failure();
    assert!(nobody.contains("\"s9\""), "{nobody}");
    let wrong = pair.weft.run(&["top", "--interval", "0"]).failure();
    assert!(wrong.contains("0.1 to 3600"), "{wrong}");
}

#[test]
fn metrics_are_as_prometheus_wants_them() {
    require_program("curl", "curl");
    let options = ["--workers", "2", "--controller", "tcp:127.0.0.1:6699", "--metrics", "127.0.0.1:9700"];
    let pair = Pair::start("metrics", &options);
    let before = exposition::parse(&pair.get("/metrics"));
    for _ in 0..5 {
        assert!(pair.h1.pings("10.0.0.2"));
    }
    // Counters of flows and tables come with the workers' reports.
    wait_until(SOON, "the counters to move", || {
        let now = exposition::parse(&pair.get("/metrics"));
        let grown =
            |name: &str, labels: &[(&str, &str)]| now.value(name, labels) - before.value(name, labels);
        let port = [("node", "s1"), ("port", "port1")];
        let table = [("node", "s1"), ("table", "1")];
        grown("weft_port_receive_frames_total", &port) >= 5.0
            && grown("weft_port_transmit_bytes_total", &port) >= 5.0 * 98.0
            && grown("weft_table_matches_total", &table) >= 10.0
    });
    let mut by_tcp = Command::new("curl");
    let by_tcp = run(by_tcp.args(["--silent", "--fail", "http://127.0.0.1:9700/metrics"])).success();
    exposition::parse(&by_tcp).check_monotonic_since(&before);
    let page = exposition::parse(&pair.get("/metrics"));
    page.check_monotonic_since(&before);
    assert_eq!(page.value("weft_port_up", &[("node", "s1"), ("port", "port2")]), 1.0);
    assert_eq!(page.value("weft_table_flows", &[("node", "s1"), ("table", "0")]), 2.0);
    let channel = [("node", "s1"), ("controller", "tcp:127.0.0.1:6699")];
    assert_eq!(page.value("weft_channel_connected", &channel), 0.0, "nobody listens there");
    assert!(page.value("process_resident_memory_bytes", &[]) > 1e6);
    assert_eq!(page.value("weft_packet_ins_total", &[("node", "s1"), ("reason", "no_match")]), 0.0);
    for worker in ["0", "1"] {
        assert!(page.value("weft_worker_cpu_seconds_total", &[("worker", worker)]) >= 0.0);
    }
    // Every reason there is has its counter from the beginning, so that an alert can be written for it.
    for reason in ["too_short", "meter", "punt_queue"] {
        assert_eq!(page.value("weft_dropped_frames_total", &[("node", "s1"), ("reason", reason)]), 0.0);
    }
    for reason in ["ring-full", "hop-limit"] {
        assert_eq!(page.value("weft_worker_dropped_frames_total", &[("reason", reason)]), 0.0);
    }
}

/// Interface, direction and protocol column of each packet, as tshark tells them.
fn dissect(capture: &std::path::Path, filter: &str) -> Vec<String> {
    let fields = ["frame.interface_name", "frame.packet_flags_direction", "frame.comment", "ip.src"];
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(capture).args(["-Y", filter, "-T", "fields"]);
    run(tshark.args(fields.iter().flat_map(|field| ["-e", field])))
        .success()
        .lines()
        .map(|line| line.replace('\t', " ").trim_end().to_owned())
        .collect()
}

#[test]
fn a_mirror_of_a_flow_is_read_by_tshark() {
    require_program("tshark", "tshark");
    let pair = Pair::start("mirror", &["--workers", "2"]);
    let _pinging = pair.keep_pinging();
    let file = pair.sandbox.dir().join("one.pcapng");
    let name = file.to_str().expect("a path");
    // In and out of both ports: each request and reply is seen twice.
    let said = pair.weft.run(&["mirror", "s1", "--flow", "icmp", "--count", "40", "-w", name]);
    assert!(said.stderr.contains("40 frames mirrored") && said.stderr.contains(" 0 lost"), "{said}");
    let packets = dissect(&file, "icmp");
    assert_eq!(packets.len(), 40, "{packets:?}");
    let direction = |packet: &String| packet.split(' ').nth(1).map(|n| n.trim_start_matches("0x").to_owned());
    for (interface, from, way) in [
        ("port1", "10.0.0.1", 1),
        ("port1", "10.0.0.2", 2),
        ("port2", "10.0.0.2", 1),
        ("port2", "10.0.0.1", 2),
    ] {
        let n = packets.iter().filter(|packet| {
            let number = direction(packet).and_then(|n| n.parse().ok());
            packet.starts_with(interface) && packet.ends_with(from) && number == Some(way)
        });
        assert!(n.count() >= 8, "{interface} {from} {way}: {packets:?}");
    }
    // A port, one way, cut.
    let options = ["--port", "2", "--direction", "tx", "--snaplen", "20", "--count", "5", "--force"];
    pair.weft.run(&[&["mirror"][..], &options, &["-w", name]].concat()).success();
    let cut = dissect(&file, "frame.cap_len == 20 && frame.len > 20 && frame.interface_name == \"port2\"");
    assert_eq!(cut.len(), 5, "{cut:?}");

    // Live, until the reader has enough.
    let mut mirror = pair.weft.command(&["mirror", "s1", "--port", "port1", "-w", "-"]);
    let mut mirror = mirror.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let live = {
        // The command holds an end of the pipe until it is dropped.
        let mut tshark = Command::new("tshark");
        tshark.args(["-r", "-", "-c", "10", "-T", "fields", "-e", "frame.interface_name"]);
        tshark.stdin(mirror.stdout.take().expect("a pipe")).stderr(Stdio::inherit());
        tshark.output().expect("it starts").stdout
    };
    let live = String::from_utf8_lossy(&live);
    assert_eq!(live.lines().filter(|line| *line == "port1").count(), 10, "{live}");
    wait_until(SOON, "the end of the mirror whose reader left", || {
        mirror.try_wait().expect("it can be asked").is_some_and(|status| status.success())
    });
}

#[test]
fn mistakes_with_mirrors_are_told_and_leave_no_file() {
    let pair = Pair::start("mirror-wrong", &[]);
    let file = pair.sandbox.dir().join("none.pcapng");
    let name = file.to_str().expect("a path");
    let refused = |args: &[&str]| pair.weft.run(&[&["mirror"][..], args].concat()).failure();
    for (args, words) in [
        (&["s9", "-w", name][..], &["\"s9\"", "there are: s1"][..]),
        (&["--port", "eth7", "-w", name], &["no port \"eth7\"", "1 (port1)"]),
        (&["--flow", "tcp,nonsense=1", "-w", name], &["nonsense", "ovs-ofctl"]),
        (&["--snaplen", "3", "-w", name], &["3"]),
        (&["-w", "/nonexist/x.pcapng"], &["/nonexist/x.pcapng"]),
    ] {
        let said = refused(args);
        assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
        assert!(!file.exists(), "{args:?}");
    }
    std::fs::write(&file, "mine").expect("the sandbox's folder is writable");
    let said = refused(&["-w", name]);
    assert!(said.contains("is there already") && said.contains("--force"), "{said}");
    assert_eq!(std::fs::read(&file).expect("it is there"), b"mine");
}

#[test]
fn real_frames_are_followed_through_the_tables() {
    let pair = Pair::start("samples", &["--workers", "2"]);
    let _pinging = pair.keep_pinging();
    let options = ["--sample", "3", "--count", "6", "--match", "icmp,nw_src=10.0.0.1"];
    let lines = pair.weft.run(&[&["trace"][..], &options, &["--json"]].concat()).success();
    let all: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(all.len(), 6, "{lines}");
    for trace in &all {
        let hop = &trace["hops"][0];
        let step = |at: usize| (hop["steps"][at]["table"].clone(), hop["steps"][at]["flow"].to_string());
        assert_eq!(
            (step(0).0, step(1).0, &hop["outputs"][0]),
            (0.into(), 1.into(), &Value::from(2)),
            "{trace}"
        );
        assert!(step(0).1.contains("goto_table:1") && step(1).1.contains("output:2"), "{trace}");
    }
    let text = pair.weft.run(&["trace", "--sample", "1", "--count", "1", "--match", "icmp"]).success();
    assert!(
        text.contains("icmp_type") && text.contains("goto_table:1") && text.contains("Output: port"),
        "{text}"
    );
    // What was followed was forwarded, too: nothing of the ping is missing.
    let pinged = pair.h1.exec(&["busybox", "ping", "-i", "0.05", "-c", "40", "10.0.0.2"]);
    assert!(pinged.stdout.contains("40 packets received"), "{pinged}");

    let wrong = pair.weft.run(&["trace", "--sample", "1", "--match", "icmp,nope=1"]).failure();
    assert!(wrong.contains("nope"), "{wrong}");
    let zero = pair.weft.run(&["trace", "--sample", "0"]).failure();
    assert!(zero.contains("0"), "{zero}");
}

#[test]
fn a_switch_that_is_to_look_always_says_what_it_spends_on_it() {
    let spinning = Pair::start("poll", &["--workers", "1", "--poll", "always"]);
    // On a machine with other work it does not get all of a core.
    wait_until(Duration::from_secs(60), "half a second spent looking", || {
        let stats: Value = serde_json::from_str(&spinning.get("/api/v1/stats")).expect("JSON");
        let seconds = |name: &str| stats["workers"][0][name].as_f64().expect("seconds");
        seconds("busy") < 0.8 * seconds("cpu") && seconds("cpu") - seconds("busy") > 0.5
    });
    // What came before there were flows.
    let status = spinning.weft.run(&["status"]).success();
    assert!(status.contains("s1") && status.contains("table_miss: "), "{status}");
    let wrong = spinning.weft.run(&["switch", "--poll", "sometimes"]).failure();
    assert!(wrong.contains("adaptive"), "{wrong}");
}

#[test]
fn a_mirror_and_a_trace_end_with_their_reader_and_their_switch() {
    let mut pair = Pair::start("ends", &["--workers", "1"]);
    // Nothing passes that they look for.
    let quiet: [&[&str]; 2] = [
        &["mirror", "s1", "--flow", "tcp,tp_dst=99", "-w", "-"],
        &["trace", "--switch", "s1", "--sample", "1", "--match", "tcp,tp_dst=99"],
    ];
    for args in quiet {
        let mut command = pair.weft.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        drop(child.stdout.take());
        wait_until(SOON, "the end of who has no reader", || child.try_wait().expect("waits").is_some());
        assert!(child.wait().expect("ended").success(), "{args:?}");
    }
    let file = pair.sandbox.dir().join("rest.pcapng");
    let mut mirror = pair.weft.spawn("mirror", &["mirror", "s1", "-w", file.to_str().expect("a path")]);
    wait_until(SOON, "the begin of the mirror", || file.metadata().is_ok_and(|file| file.len() > 0));
    pair.switch.signal(Signal::SIGKILL);
    assert!(!mirror.wait(SOON).success());
    let said = mirror.log();
    assert!(said.contains("frames mirrored") && said.contains("the switch s1 has ended"), "{said}");
}

#[test]
fn a_controller_is_seen() {
    let sandbox = Sandbox::enter("seen");
    let weft = Weft::new(&sandbox);
    let mut controller = weft.spawn("controller", &["controller", "--name", "c1"]);
    controller.wait_for_log(SOON, "switches connect to");
    let connect = ["switch", "--name", "s1", "--controller", "tcp:127.0.0.1:6653"];
    let mut switch = weft.spawn("switch", &connect);
    switch.wait_for_log(SOON, "is ready");
    wait_until(SOON, "the switch at its controller", || {
        weft.run(&["status"]).success().contains("1 of 1 switches")
    });
    let status = weft.run(&["status", "--json"]).json();
    assert_eq!(
        (&status[0]["daemon"], &status[0]["kind"]),
        (&"c1".into(), &"controller".into()),
        "{status:#}"
    );
    let top = weft.run(&["top", "--once"]).success();
    assert!(top.contains("controller c1: 1 of 1 switches connected"), "{top}");
    let router = weft.run(&["trace", "--switch", "c1", "--port", "1", "ip"]).failure();
    assert!(router.contains("c1 is a controller"), "{router}");
}

#[test]
fn an_idle_switch_with_a_hundred_ports_and_a_controller_takes_no_processor_time() {
    let sandbox = Sandbox::enter("idle");
    let weft = Weft::new(&sandbox);
    let taps: Vec<String> = (1..=100).map(|n| format!("{n}=tap:idle{n}")).collect();
    let ports = taps.iter().flat_map(|tap| ["--port", tap]);
    let mut controller = weft.spawn("controller", &["controller", "--openflow", "tcp:127.0.0.1:6653"]);
    controller.wait_for_log(SOON, "switches connect");
    let options = ["switch", "--controller", "tcp:127.0.0.1:6653"];
    let args: Vec<&str> = options.into_iter().chain(ports).collect();
    let mut switch = weft.spawn("switch", &args);
    switch.wait_for_log(Duration::from_secs(60), "is ready");
    wait_until(SOON, "the controller", || {
        let stats = weft.run(&["top", "--once", "--json", "--interval", "0.1"]).json();
        stats["nodes"][0]["channels"][0]["connected"] == true
    });
    // Discovery settles within some seconds; from then on only echo requests pass.
    const SECONDS: u64 = 10;
    wait_until(Duration::from_secs(120), "less than 0.5 % of a core over ten seconds", || {
        let before = cpu_of(&switch);
        std::thread::sleep(Duration::from_secs(SECONDS));
        let share = (cpu_of(&switch) - before) / SECONDS as f64;
        eprintln!("idle with 100 ports: {:.3} % of a core", 100.0 * share);
        share < 0.005
    });
}

#[test]
fn memory_stays_as_it_is_under_load() {
    require_program("iperf3", "iperf3");
    let pair = Pair::start("flat", &["--workers", "2"]);
    let _server = pair.h2.spawn(&["iperf3", "-s"]);
    wait_until(SOON, "the server", || pair.h2.exec(&["ss", "-ltn"]).success().contains(":5201"));
    let _load = pair.h1.spawn(&["sh", "-c", "while :; do iperf3 -c 10.0.0.2 -t 5 -P 4; done"]);
    let before = cpu_of(&pair.switch);
    wait_until(Duration::from_secs(120), "the load", || cpu_of(&pair.switch) - before > 0.3);
    // Once warm, for twenty seconds.
    std::thread::sleep(Duration::from_secs(5));
    let warm = pair.resident();
    std::thread::sleep(Duration::from_secs(20));
    let after = pair.resident();
    eprintln!("resident: {} KiB warm, {} KiB after 20 s", warm >> 10, after >> 10);
    assert!(after < warm + (4 << 20), "grew from {warm} to {after} bytes in 20 s");
}
