//! Several controllers of one switch over TCP, and none: roles (OpenFlow 1.3.5 §6.3.4) and fail modes (§6.3.3).

use std::net::TcpListener;
use std::time::Duration;

use system_tests::{Namespace, OfController, OfMessage, Process, Sandbox, Weft, wait_until};

const SOON: Duration = Duration::from_secs(20);
const V13: u8 = 4;
const V14: u8 = 5;

const FEATURES_REQUEST: u8 = 5;
const PACKET_IN: u8 = 10;
const FLOW_MOD: u8 = 14;
const ROLE_REQUEST: u8 = 24;
const ROLE_REPLY: u8 = 25;
const ROLE_STATUS: u8 = 30;

const NO_CHANGE: u32 = 0;
const MASTER: u32 = 2;
const SLAVE: u32 = 3;

/// BAD_REQUEST, IS_SLAVE.
const IS_SLAVE: Option<(u16, u16)> = Some((1, 10));
/// ROLE_REQUEST_FAILED, STALE.
const STALE: Option<(u16, u16)> = Some((11, 0));

const CONTROLLER: u32 = 0xffff_fffd;

/// A flow of table 0 that sends what comes by a port (0: by any) to another.
fn flow(in_port: u32, out: u32) -> Vec<u8> {
    let mut body = vec![0; 16];
    // Table, command, timeouts.
    body.extend([0, 0, 0, 0, 0, 0]);
    body.extend(u16::try_from(in_port.min(1)).expect("small").to_be_bytes());
    // No buffer, any port, any group; flags, and what follows them.
    body.extend([0xff; 12]);
    body.extend([0; 4]);
    match in_port {
        0 => body.extend([0, 1, 0, 4, 0, 0, 0, 0]),
        port => {
            body.extend([0, 1, 0, 12, 0x80, 0, 0, 4]);
            body.extend(port.to_be_bytes());
            body.extend([0; 4]);
        }
    }
    // Apply one output, whole frames.
    body.extend([0, 4, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16]);
    body.extend(out.to_be_bytes());
    body.extend([0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    body
}

fn role(role: u32, generation: u64) -> Vec<u8> {
    [&role.to_be_bytes()[..], &[0; 4], &generation.to_be_bytes()].concat()
}

fn listen(port: u16) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port)).expect("the port is free in a sandbox")
}

/// A switch with a host at each of its ports, whose controllers are at these ports.
fn start(sandbox: &Sandbox, n_hosts: usize, controllers: &[u16], more: &[&str]) -> (Process, Vec<Namespace>) {
    let hosts: Vec<_> = (1..=n_hosts).map(|n| Namespace::new(sandbox, &format!("h{n}"))).collect();
    let ports = (1..=n_hosts).flat_map(|n| ["--port".to_owned(), format!("{n}=netns:h{n}/eth0")]);
    let controllers =
        controllers.iter().flat_map(|port| ["--controller".to_owned(), format!("tcp:127.0.0.1:{port}")]);
    let args: Vec<String> = ports.chain(controllers).collect();
    let args: Vec<&str> = ["switch"].into_iter().chain(args.iter().map(String::as_str)).collect();
    let mut switch = Weft::new(sandbox).spawn("switch", &[&args[..], more].concat());
    switch.wait_for_log(SOON, "is ready");
    for (n, host) in (1..).zip(&hosts) {
        host.address("eth0", &format!("10.0.0.{n}/24"));
    }
    (switch, hosts)
}

fn kinds(messages: &[OfMessage], kind: u8) -> usize {
    messages.iter().filter(|message| message.kind == kind).count()
}

/// Packet-ins that two controllers are sent for one ping that nobody answers, as the first of `who` has got some.
fn packet_ins(host: &Namespace, a: &mut OfController, b: &mut OfController) -> (bool, bool) {
    a.everything();
    b.everything();
    let (mut to_a, mut to_b) = (0, 0);
    wait_until(SOON, "a packet-in", || {
        assert!(!host.pings("10.0.0.2"));
        to_a += kinds(&a.everything(), PACKET_IN);
        to_b += kinds(&b.everything(), PACKET_IN);
        to_a + to_b > 0
    });
    (to_a > 0, to_b > 0)
}

#[test]
fn masters_change_and_slaves_look_on() {
    let sandbox = Sandbox::enter("of-roles");
    let (listen_a, listen_b) = (listen(6653), listen(6655));
    let (_switch, hosts) = start(&sandbox, 2, &[6653, 6655], &[]);
    let mut a = OfController::accept(&listen_a, V14);
    let mut b = OfController::accept(&listen_b, V13);
    a.send(FLOW_MOD, &flow(0, CONTROLLER));
    assert_eq!(a.everything(), []);
    assert_eq!(packet_ins(&hosts[0], &mut a, &mut b), (true, true), "both are equal");

    let reply = a.ask(ROLE_REQUEST, &role(MASTER, 5));
    assert_eq!((reply.kind, &reply.body), (ROLE_REPLY, &role(MASTER, 5)));
    assert_eq!(b.ask(ROLE_REQUEST, &role(SLAVE, 5)).kind, ROLE_REPLY);
    assert_eq!(packet_ins(&hosts[0], &mut a, &mut b), (true, false), "slaves get no packets");
    assert_eq!(b.ask(FLOW_MOD, &flow(1, 2)).error(), IS_SLAVE);
    assert_eq!(b.ask(FEATURES_REQUEST, &[]).kind, FEATURES_REQUEST + 1, "slaves may look");

    // A generation that is over, then the next.
    assert_eq!(b.ask(ROLE_REQUEST, &role(MASTER, 4)).error(), STALE);
    let reply = b.ask(ROLE_REQUEST, &role(NO_CHANGE, 0));
    assert_eq!(reply.body, role(SLAVE, 5), "a stale request changes nothing");
    let reply = b.ask(ROLE_REQUEST, &role(MASTER, 6));
    assert_eq!((reply.kind, &reply.body), (ROLE_REPLY, &role(MASTER, 6)));
    // 1.4 §7.4.4: role 3, reason 0, three bytes of padding, the generation.
    let told = a.everything();
    let status: Vec<_> = told.iter().filter(|message| message.kind == ROLE_STATUS).collect();
    let [status] = status[..] else { panic!("{told:?}") };
    assert_eq!(status.body[..16], [&[0, 0, 0, 3, 0, 0, 0, 0][..], &6u64.to_be_bytes()].concat());
    assert_eq!(a.ask(FLOW_MOD, &flow(1, 2)).error(), IS_SLAVE);
    assert_eq!(packet_ins(&hosts[0], &mut a, &mut b), (false, true));

    // The new master's changes take effect.
    for (from, to) in [(1, 2), (2, 1)] {
        b.send(FLOW_MOD, &flow(from, to));
    }
    assert_eq!(b.everything().iter().find_map(OfMessage::error), None);
    wait_until(SOON, "a ping", || hosts[0].pings("10.0.0.2"));
}

#[test]
fn without_controller_flows_stay_and_what_has_none_is_dropped() {
    let sandbox = Sandbox::enter("of-secure");
    let listener = listen(6653);
    let (_switch, hosts) = start(&sandbox, 3, &[6653], &["--fail-mode", "secure"]);
    let mut controller = OfController::accept(&listener, V13);
    for (from, to) in [(1, 2), (2, 1)] {
        controller.send(FLOW_MOD, &flow(from, to));
    }
    assert_eq!(controller.everything(), []);
    wait_until(SOON, "a ping", || hosts[0].pings("10.0.0.2"));
    assert!(!hosts[2].pings("10.0.0.1"), "there is no flow for port 3");
    drop((controller, listener));
    let weft = Weft::new(&sandbox);
    let is_alone =
        || weft.run(&["status", "--json"]).json()[0]["switches"][0]["peers"][0]["connected"] == false;
    wait_until(SOON, "the switch to be alone", is_alone);
    assert!(hosts[0].pings("10.0.0.2") && hosts[1].pings("10.0.0.1"));
    assert!(!hosts[2].pings("10.0.0.1"), "there is none, still");
    let text = weft.run(&["status"]).success();
    assert!(text.contains("tcp:127.0.0.1:6653") && text.contains("not connected for"), "{text}");
}

#[test]
fn without_controller_it_forwards_by_itself_and_gives_back() {
    let sandbox = Sandbox::enter("of-alone");
    let listener = listen(6653);
    let more = ["--fail-mode", "standalone", "--inactivity-probe", "1000", "--max-backoff", "500"];
    let (_switch, hosts) = start(&sandbox, 2, &[6653], &more);
    // One that is there and installs nothing: nothing is forwarded.
    let mut controller = OfController::accept(&listener, V13);
    assert_eq!(controller.everything(), []);
    assert!(!hosts[0].pings("10.0.0.2"), "the controller decides");
    // It falls silent, though its connection stands.
    wait_until(SOON, "the switch to take over from a silent controller", || hosts[0].pings("10.0.0.2"));
    let mut next = OfController::accept(&listener, V14);
    assert_eq!(next.everything(), []);
    // Whoever answers echo requests is alive.
    wait_until(SOON, "the switch to give back", || {
        next.everything();
        !hosts[0].pings("10.0.0.2")
    });
    next.send(FLOW_MOD, &flow(1, 2));
    next.send(FLOW_MOD, &flow(2, 1));
    assert_eq!(next.everything(), []);
    assert!(hosts[0].pings("10.0.0.2"), "by the flows of the controller");
    // It goes, with its flows or without.
    drop((next, listener, controller));
    wait_until(SOON, "the switch to take over", || hosts[1].pings("10.0.0.1"));
}
