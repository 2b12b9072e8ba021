//! Labs from YAML: up, tests, status, exec, down; what must not happen; and that nothing is ever left behind.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::{Namespace, Process, Sandbox, Snapshot, Weft, run, wait_until, workspace_root};

/// Until a lab is up, its tests included, on a busy machine.
const UP: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(20);

/// Brings an example up, runs its tests, looks at it, takes it down.
fn round_trip(name: &str, lab: &str, extra: &[&str]) {
    let sandbox = Sandbox::enter(lab);
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let file = format!("topologies/{name}");
    let summary = weft.run(&[&["up", &file, "--detach", "--json"], extra].concat()).json();
    assert_eq!(summary["lab"], lab);
    assert_eq!(summary["pass"], true, "{summary:#}");
    let status = weft.run(&["status", "--json"]).json();
    assert_eq!(status[0]["state"], "running", "{status:#}");
    for node in status[0]["nodes"].as_array().expect("a lab has nodes") {
        let wanted = if node["kind"] == "switch" { "realised" } else { "up" };
        assert_eq!(node["state"], wanted, "{node:#}");
    }
    let again = weft.run(&["test", "--json"]).json();
    assert_eq!(again["pass"], true, "{again:#}");
    weft.run(&["down"]).success();
    sandbox.assert_nothing_left(&before);
}

#[test]
fn two_hosts_come_up_and_go() {
    round_trip("01-two-hosts.yaml", "two-hosts", &[]);
}

#[test]
fn vlans_over_a_trunk_are_isolated() {
    round_trip("02-vlan-trunk.yaml", "vlan-trunk", &[]);
}

#[test]
fn a_nat_gateway_translates_and_forwards() {
    round_trip("03-nat-gateway.yaml", "nat-gateway", &[]);
}

#[test]
fn a_chain_is_passed_in_order() {
    round_trip("04-chain.yaml", "chain", &[]);
}

#[test]
fn a_fabric_full_of_loops_forwards() {
    round_trip("05-leaf-spine.yaml", "leaf-spine", &[]);
}

#[test]
fn policies_rates_paths_mirrors_and_balancers_come_up_together() {
    round_trip("07-policies.yaml", "policies", &[]);
}

#[test]
fn two_guests_reach_each_other_and_the_outside() {
    let sandbox = Sandbox::enter("two-vms");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let summary = weft.run(&["up", "topologies/06-two-vms.yaml", "--detach", "--json"]).json();
    assert_eq!(summary["pass"], true, "{summary:#}");
    let name = weft.run(&["exec", "vm1", "--", "hostname"]).success();
    assert_eq!(name.trim(), "vm1");
    let status = weft.run(&["exec", "vm2", "--", "sh", "-c", "exit 7"]).status;
    assert_eq!(status.code(), Some(7));
    weft.run(&["down"]).success();
    sandbox.assert_nothing_left(&before);
}

#[test]
fn parts_run_as_processes_of_their_own() {
    round_trip("03-nat-gateway.yaml", "nat-gateway", &["--split"]);
}

#[test]
fn a_running_lab_is_looked_into_and_spoken_to() {
    let sandbox = Sandbox::enter("look");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let summary =
        weft.run(&["up", "topologies/03-nat-gateway.yaml", "--detach", "--no-test", "--json"]).json();
    let rest = summary["rest"].as_str().expect("REST over TCP").to_owned();

    let address = weft.run(&["exec", "h1", "--", "ip", "-4", "addr", "show", "dev", "eth0"]).success();
    assert!(address.contains("10.1.0.2/24"), "{address}");
    let status = weft.run(&["exec", "h1", "--", "sh", "-c", "exit 9"]).status;
    assert_eq!(status.code(), Some(9));
    let wrong = weft.run(&["exec", "h9", "--", "true"]).failure();
    assert!(wrong.contains("no node \"h9\"; did you mean \"h1\"?"), "{wrong}");
    let switch = weft.run(&["exec", "s1", "--", "true"]).failure();
    assert!(switch.contains("s1 is a switch"), "{switch}");

    let text = run(Command::new("curl").args(["-sf", &format!("{rest}/switches")])).success();
    let switches: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(switches[0]["name"], "s1");
    let table = weft.run(&["status"]).success();
    assert!(table.contains("nat-gateway") && table.contains("203.0.113.1/24"), "{table}");
    traced(&weft, &rest);
    weft.run(&["down", "nat-gateway"]).success();
    sandbox.assert_nothing_left(&before);
}

/// What is asked of the controller goes on through the router; the router alone can be asked as well.
fn traced(weft: &Weft, rest: &str) {
    // Both ends of the router's have to be known.
    let known = || {
        weft.run(&["exec", "h1", "--", "bash", "-c", "echo > /dev/udp/203.0.113.2/9"]).success();
        weft.run(&["router", "show", "neigh", "address=203.0.113.2"]).success().lines().count() > 1
    };
    wait_until(SOON, "the neighbour", known);
    let neighbour = weft.run(&["exec", "h1", "--", "ip", "-j", "neigh", "show", "10.1.0.1"]).json();
    let gateway = neighbour[0]["lladdr"].as_str().expect("the router answered").to_owned();
    let flow = |port: u16| format!("tcp,dl_dst={gateway},nw_src=10.1.0.2,nw_dst=203.0.113.2,tp_dst={port}");
    let body = serde_json::json!({"port": "s1:1", "flow": flow(80)}).to_string();
    let asked = ["-sf", &format!("{rest}/trace"), "-H", "content-type: application/json", "-d", &body];
    let reply = run(Command::new("curl").args(asked)).json();
    assert_eq!(reply["delivered"], serde_json::json!(["r1:wan"]), "{reply}");
    let notes = reply["hops"][1]["notes"].to_string();
    assert!(notes.contains("route: 203.0.113.2") && notes.contains("source 10.1.0.2"), "{reply}");
    let copy = reply["hops"][1]["copies"][0]["frame"].as_str().expect("it leaves");
    // From 203.0.113.1 to 203.0.113.2.
    assert!(copy[52..].starts_with("cb007101cb007102"), "{copy}");

    let alone =
        weft.run(&["router", "trace", "--port", "lan", "udp,nw_src=10.1.0.2,nw_dst=198.51.100.1,tp_dst=9"]);
    let text = alone.success();
    assert!(text.trim_end().ends_with("drop: no-route"), "{text}");
    let wrong = weft.run(&["router", "trace", "--port", "lam", "udp"]).failure();
    assert!(wrong.contains("there is no port r1:lam"), "{wrong}");
    let switch = weft.run(&["router", "trace", "--name", "s1", "--port", "lan", "udp"]).failure();
    assert!(switch.contains("s1 is a switch, and this is for routers"), "{switch}");
}

#[test]
fn a_bad_file_makes_nothing() {
    let sandbox = Sandbox::enter("bad");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let right =
        fs::read_to_string(workspace_root().join("topologies/02-vlan-trunk.yaml")).expect("an example");
    let file = sandbox.dir().join("bad.yaml");
    fs::write(&file, right.replace("\"s2:1\"]", "\"s9:1\"]")).expect("written");
    let file = file.to_str().expect("a plain path");
    for args in [&["up", file][..], &["up", file, "--detach"], &["validate", file]] {
        let error = weft.run(args).failure();
        let expected = "bad.yaml:21:29: link h3:eth0 -- s9:1: no node \"s9\"; did you mean \"s1\"?";
        assert!(error.contains(expected), "{error}");
    }
    sandbox.assert_nothing_left(&before);
}

#[test]
fn a_name_in_use_is_refused_and_the_other_lab_untouched() {
    let sandbox = Sandbox::enter("name");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let file = "topologies/01-two-hosts.yaml";
    weft.run(&["up", file, "--detach", "--no-test"]).success();
    let running = sandbox.snapshot();
    let error = weft.run(&["up", file]).failure();
    assert!(error.contains("a lab named \"two-hosts\" is running already"), "{error}");
    assert_eq!(sandbox.snapshot(), running);
    // Under another name it lives beside the first.
    weft.run(&["up", file, "--detach", "--name", "second", "--json"]).json();
    weft.run(&["test", "two-hosts"]).success();
    let several = weft.run(&["down"]).failure();
    assert!(several.contains("second") && several.contains("two-hosts"), "{several}");
    weft.run(&["down", "--all"]).success();
    sandbox.assert_nothing_left(&before);

    // A namespace of that name that belongs to no lab is not taken either.
    let foreign = Namespace::new(&sandbox, "weft-two-hosts-h1");
    let error = weft.run(&["up", file]).failure();
    assert!(error.contains("weft-two-hosts-h1 exists already"), "{error}");
    drop(foreign);
    sandbox.assert_nothing_left(&before);
}

/// A lab in the foreground, up, with its tests run.
fn in_foreground(weft: &Weft, file: &str) -> Process {
    let mut process = weft.spawn("up", &["up", file]);
    process.wait_for_log(UP, "Ctrl-C takes the lab down.");
    process
}

#[test]
fn ctrl_c_and_sigterm_take_everything_away() {
    let sandbox = Sandbox::enter("signals");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut process = in_foreground(&weft, "topologies/04-chain.yaml");
        assert_ne!(sandbox.snapshot(), before);
        process.signal(signal);
        assert!(process.wait(SOON).success(), "{}", process.log());
        sandbox.assert_nothing_left(&before);
    }
}

#[test]
fn a_signal_in_the_middle_of_the_start_leaves_nothing() {
    let sandbox = Sandbox::enter("middle");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    for text in ["create namespace", "attach", "wait for the switches", "write the intents", "pass ping"] {
        let mut process = weft.spawn("up", &["up", "topologies/05-leaf-spine.yaml"]);
        process.wait_for_log(SOON, text);
        process.signal(Signal::SIGINT);
        let status = process.wait(SOON);
        assert!(!status.success() && process.log().contains("interrupted"), "{}", process.log());
        sandbox.assert_nothing_left(&before);
    }
}

#[test]
fn a_signal_to_the_waiting_half_of_a_detached_start_leaves_nothing() {
    let sandbox = Sandbox::enter("detached");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    for text in ["create namespace", "write the intents", "pass ping"] {
        let mut process = weft.spawn("up", &["up", "topologies/05-leaf-spine.yaml", "--detach"]);
        process.wait_for_log(SOON, text);
        process.signal(Signal::SIGINT);
        let status = process.wait(SOON);
        assert!(!status.success() && process.log().contains("interrupted"), "{}", process.log());
        sandbox.assert_nothing_left(&before);
    }
}

/// A node of the only lab, as `weft status` tells.
fn node(weft: &Weft, name: &str) -> Value {
    let status = weft.run(&["status", "--json"]).json();
    let nodes = status[0]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.into_iter().find(|node| node["name"] == name).unwrap_or_default()
}

#[test]
fn what_breaks_in_a_lab_is_told() {
    let sandbox = Sandbox::enter("breaks");
    let weft = Weft::new(&sandbox);
    weft.run(&["up", "topologies/01-two-hosts.yaml", "--detach", "--no-test"]).success();
    assert_eq!(node(&weft, "s1")["problems"], serde_json::json!([]));
    run(Command::new("ip").args(["-n", "weft-two-hosts-h2", "link", "del", "eth0"])).success();
    let problems = |name: &str| node(&weft, name)["problems"].to_string();
    wait_until(SOON, "the end of the port", || problems("s1").contains("weft-two-hosts-h2/eth0) is gone"));
    assert!(problems("h2").contains("interface eth0 is gone"), "{}", problems("h2"));
    assert_eq!(problems("h1"), "[]");
    let table = weft.run(&["status"]).success();
    assert!(table.contains("interface eth0 is gone"), "{table}");
    let log = sandbox.run_dir().join("labs/two-hosts/log");
    wait_until(SOON, "a line of the log", || {
        fs::read_to_string(&log).unwrap_or_default().contains("a port has failed and is removed")
    });
    weft.run(&["down"]).success();

    weft.run(&["up", "topologies/01-two-hosts.yaml", "--detach", "--no-test", "--split"]).success();
    let state = fs::read_to_string(sandbox.run_dir().join("labs/two-hosts/state.json")).expect("a state");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    let kill = |pid: &Value| {
        let pid =
            nix::unistd::Pid::from_raw(pid.as_i64().and_then(|pid| pid.try_into().ok()).expect("a pid"));
        nix::sys::signal::kill(pid, Signal::SIGKILL).expect("it runs");
    };
    kill(&state["nodes"]["s1"]["pid"]);
    wait_until(SOON, "a line of the log", || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.contains("the process of a node has ended") && log.contains("s1")
    });
    assert_eq!(node(&weft, "s1")["state"], "ended");
    kill(&state["process"]["pid"]);
    weft.run(&["down"]).success();
}

#[test]
fn a_switch_that_outlives_its_lab_is_not_called_dead() {
    let sandbox = Sandbox::enter("outlives");
    let weft = Weft::new(&sandbox);
    weft.run(&["up", "topologies/01-two-hosts.yaml", "--detach", "--no-test", "--split"]).success();
    kill_hard(&weft);
    assert_eq!(node(&weft, "s1")["state"], "runs without its lab");
    assert_eq!(node(&weft, "h1")["state"], "dead");
    weft.run(&["down"]).success();
}

/// Kills the process of the only lab without a chance to clean up.
fn kill_hard(weft: &Weft) {
    let status = weft.run(&["status", "--json"]).json();
    let pid = i32::try_from(status[0]["pid"].as_i64().expect("a lab has a pid")).expect("a pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
    wait_until(SOON, "the end of the killed process", || {
        weft.run(&["status", "--json"]).json()[0]["state"] == "dead"
    });
}

fn killed_and_removed(name: &str, extra: &[&str]) {
    let sandbox = Sandbox::enter("killed");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    // What is not the lab's must survive.
    let foreign = Namespace::new(&sandbox, "weft-other-h1");
    let with_foreign: Snapshot = sandbox.snapshot();
    let file = format!("topologies/{name}");
    weft.run(&[&["up", &file, "--detach", "--no-test"], extra].concat()).success();
    kill_hard(&weft);
    let error = weft.run(&["up", &file]).failure();
    assert!(error.contains("was left behind") && error.contains("weft down"), "{error}");
    weft.run(&["down"]).success();
    sandbox.assert_nothing_left(&with_foreign);
    drop(foreign);
    sandbox.assert_nothing_left(&before);
    // And the name is free again.
    weft.run(&["up", &file, "--once", "--no-test"]).success();
    sandbox.assert_nothing_left(&before);
}

#[test]
fn what_a_killed_lab_left_is_removed_by_its_journal() {
    killed_and_removed("04-chain.yaml", &[]);
}

#[test]
fn what_a_killed_split_lab_left_is_removed_by_its_journal() {
    killed_and_removed("02-vlan-trunk.yaml", &["--split"]);
}

#[test]
fn a_failing_start_leaves_nothing() {
    let sandbox = Sandbox::enter("failing");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let right = fs::read_to_string(workspace_root().join("topologies/04-chain.yaml")).expect("an example");
    let file = sandbox.dir().join("failing.yaml");
    let wrong = right.replace("function: inspect", "exec: [/nonexistent/program]");
    fs::write(&file, wrong).expect("written");
    let file = file.to_str().expect("a plain path");
    for args in [&["up", file][..], &["up", file, "--detach"]] {
        let error = weft.run(args).failure();
        assert!(error.contains("cannot start /nonexistent/program"), "{error}");
        sandbox.assert_nothing_left(&before);
    }
}

#[test]
fn a_failing_test_gives_exit_status_1() {
    let sandbox = Sandbox::enter("failing-test");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let right =
        fs::read_to_string(workspace_root().join("topologies/01-two-hosts.yaml")).expect("an example");
    let file = sandbox.dir().join("wrong.yaml");
    fs::write(&file, right.replace("- ping: {from", "- isolation: {from")).expect("written");
    let done = weft.run(&["up", file.to_str().expect("a plain path"), "--once"]);
    assert_eq!(done.status.code(), Some(1), "{done}");
    assert!(done.stdout.contains("FAIL"), "{done}");
    sandbox.assert_nothing_left(&before);
}

#[test]
fn the_demo_passes_as_root_and_leaves_nothing() {
    let sandbox = Sandbox::enter("demo");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let table = weft.run(&["demo"]).success();
    assert!(table.contains("pass") && !table.contains("FAIL"), "{table}");
    sandbox.assert_nothing_left(&before);
}

#[test]
fn the_demo_passes_as_an_ordinary_user() {
    let sandbox = Sandbox::enter("demo-user");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    // The build folder may be root's alone: an ordinary user gets a copy.
    let binary = sandbox.dir().join("weft");
    fs::copy(weft.binary(), &binary).expect("a copy of the binary");
    let readable = fs::metadata(sandbox.dir()).expect("it exists").permissions();
    fs::set_permissions(sandbox.dir(), {
        let mut p = readable;
        std::os::unix::fs::PermissionsExt::set_mode(&mut p, 0o755);
        p
    })
    .expect("its owner may");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let done = run(command.arg(&binary).arg("demo").current_dir("/"));
    let table = done.success();
    assert!(table.contains("pass") && !table.contains("FAIL"), "{table}");
    fs::remove_file(binary).expect("a file of this test");
    sandbox.assert_nothing_left(&before);
}

#[test]
fn without_privilege_one_sentence_says_what_is_missing() {
    let sandbox = Sandbox::enter("privilege");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let mut plain = weft.command(&["up", "topologies/01-two-hosts.yaml"]);
    let binary = plain.get_program().to_owned();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all", "--inh-caps", "-all"]);
    command.arg(binary).args(plain.get_args()).current_dir(workspace_root());
    command.env("WEFT_RUN_DIR", sandbox.run_dir());
    let error = run(&mut command).failure();
    assert!(
        error.contains("CAP_NET_ADMIN") && error.contains("root") && error.contains("weft demo"),
        "{error}"
    );
    assert_eq!(error.trim().lines().count(), 1, "{error}");
    let _ = &mut plain;
    sandbox.assert_nothing_left(&before);
}

#[test]
fn a_lab_killed_in_the_middle_of_its_start_is_removed() {
    let sandbox = Sandbox::enter("killed-middle");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    for (text, extra) in [
        ("create namespace", &[][..]),
        ("attach s1 port 2", &[]),
        ("start function", &[]),
        ("start switch", &["--split"]),
        ("wait for the switches", &["--split"]),
    ] {
        let mut process = weft.spawn("up", &[&["up", "topologies/04-chain.yaml"], extra].concat());
        process.wait_for_log(SOON, text);
        process.signal(Signal::SIGKILL);
        process.wait(SOON);
        weft.run(&["down"]).success();
        sandbox.assert_nothing_left(&before);
    }
}

#[test]
fn a_guest_without_its_image_is_refused_with_the_command_that_makes_it() {
    let sandbox = Sandbox::enter("no-image");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let text = fs::read_to_string(workspace_root().join("topologies/06-two-vms.yaml")).expect("an example");
    let file = sandbox.dir().join("vms.yaml");
    fs::write(&file, text).expect("written");
    let error = weft.run(&["up", file.to_str().expect("a plain path")]).failure();
    assert!(error.contains("vm vm1: there is no") && error.contains("cargo xtask vm-image"), "{error}");
    sandbox.assert_nothing_left(&before);
}

#[test]
fn a_topology_is_drawn_without_privilege() {
    let sandbox = Sandbox::enter("graph");
    let weft = Weft::new(&sandbox);
    let svg = weft.run(&["graph", "topologies/05-leaf-spine.yaml"]).success();
    assert!(svg.starts_with("<svg ") && svg.contains(">spine2</text>"), "{svg}");
    let dot = weft.run(&["graph", "topologies/05-leaf-spine.yaml", "--format", "dot"]).success();
    assert!(dot.starts_with("graph \"leaf-spine\"") && dot.contains("\"leaf4\" -- \"spine2\""), "{dot}");
    let schema = weft.run(&["validate", "--schema"]).json();
    assert_eq!(schema["title"], "weft topology");
}

/// Two VLANs on one trunk to a router.
const ROUTED: &str = "\
name: routed
nodes:
  s1: {kind: switch}
  r1: {kind: router}
  a: {kind: host, interfaces: {eth0: {address: 10.1.0.2/24}}, gateway: 10.1.0.1}
  b: {kind: host, interfaces: {eth0: {address: 10.2.0.2/24}}, gateway: 10.2.0.1}
links:
  - endpoints: [\"a:eth0\", \"s1:1\"]
  - endpoints: [\"b:eth0\", \"s1:2\"]
  - endpoints: [\"s1:3\", \"r1:trunk\"]
networks:
  - {name: va, vlan: 10, ports: [\"a:eth0\"], trunks: [\"s1:3\"]}
  - {name: vb, vlan: 20, ports: [\"b:eth0\"], trunks: [\"s1:3\"]}
routers:
  - name: r1
    interfaces:
      - {name: trunk.10, port: trunk, vlan: 10, address: 10.1.0.1/24}
      - {name: trunk.20, port: trunk, vlan: 20, address: 10.2.0.1/24}
tests:
";

/// Brings a text up once; for each of its tests, whether it holds.
fn verdicts(sandbox: &Sandbox, weft: &Weft, text: &str) -> Vec<(String, bool)> {
    let file = sandbox.dir().join("changed.yaml");
    fs::write(&file, text).expect("written");
    let done = weft.run(&["up", file.to_str().expect("a plain path"), "--once", "--json"]);
    let summary: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("no JSON: {done}"));
    let tests = summary["tests"].as_array().expect("a list");
    let pass = |test: &Value| test["pass"].as_bool().expect("a verdict");
    assert_eq!(done.status.success(), tests.iter().all(pass), "{done}");
    tests.iter().map(|test| (test["test"].as_str().expect("a name").to_owned(), pass(test))).collect()
}

#[test]
fn vlans_are_routed_over_one_trunk_and_then_are_not_isolated() {
    let sandbox = Sandbox::enter("routed");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let tests = "  - ping: {from: a, to: b}\n  - tcp: {from: b, to: a}\n  - isolation: {from: a, to: b}\n";
    let found = verdicts(&sandbox, &weft, &format!("{ROUTED}{tests}"));
    assert_eq!(found.iter().map(|(_, pass)| *pass).collect::<Vec<_>>(), [true, true, false], "{found:?}");
    sandbox.assert_nothing_left(&before);
}

/// A probe that cannot fail proves nothing: each is given an expectation that is wrong.
#[test]
fn probes_fail_where_the_network_does_something_else() {
    let sandbox = Sandbox::enter("wrong");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    let read = |name: &str| {
        let text = fs::read_to_string(workspace_root().join("topologies").join(name)).expect("an example");
        let end = text.find("tests:\n").expect("it has tests") + "tests:\n".len();
        text[..end].to_owned()
    };
    let nat = "  - ping: {from: h1, to: 203.0.113.77}
  - tcp: {from: h1, to: outside, source: 10.1.0.2}
  - tcp: {from: h1, to: outside, expect: blocked}
  - tcp: {from: outside, to: 203.0.113.1, port: 8080, server: h2, server_port: 80}
  - isolation: {from: h1, to: h2}
  - throughput: {from: h1, to: outside, at_least: 900G}
";
    let found = verdicts(&sandbox, &weft, &(read("03-nat-gateway.yaml") + nat));
    assert!(found.len() == 6 && found.iter().all(|(_, pass)| !pass), "{found:?}");
    let chain = "  - path: {from: client, to: server, through: [insp, fw]}
  - path: {from: client, to: server, through: [fw]}
  - path: {from: client, to: server, through: []}
  - tcp: {from: client, to: server, port: 23}
";
    let found = verdicts(&sandbox, &weft, &(read("04-chain.yaml") + chain));
    assert!(found.len() == 4 && found.iter().all(|(_, pass)| !pass), "{found:?}");
    sandbox.assert_nothing_left(&before);
}
