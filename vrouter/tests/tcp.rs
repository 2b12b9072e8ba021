//! TCP through translation and firewall: windows (N87, F05), the size of segments (N88), resets of the firewall (F03), and
//! routes by policy (R18).

mod net;

use net::v6::*;
use net::*;
use packet::tcp::{Flags, Header};
use vrouter::{Drop, FirewallAction, FirewallRule, PolicyRoute, RouteTarget, RouterConfig};

const RST: Flags = Flags::RST;

fn each(config: &RouterConfig, test: impl Fn(&mut Talk)) {
    for n_workers in [1, 2, 4] {
        test(&mut Talk::new(config.clone(), n_workers));
    }
}

fn windows(mut config: RouterConfig) -> RouterConfig {
    config.tuning.tcp_window = true;
    config
}

/// A connection from A to R, and the port that R sees.
struct Talk {
    net: Net,
    port: u16,
}

/// First sequence numbers of both ends.
const A0: u32 = 0xffff_ff00;
const R0: u32 = 5000;
const WINDOW: u16 = 1000;

fn header(src_port: u16, dst_port: u16, (seq, ack): (u32, u32), flags: Flags) -> Header {
    Header { seq, ack, window: WINDOW, ..tcp_header(src_port, dst_port, flags) }
}

impl Talk {
    fn new(config: RouterConfig, n_workers: usize) -> Self {
        Self { net: Net::new(config, n_workers), port: 0 }
    }

    fn out(&mut self, seq: u32, ack: u32, flags: Flags, data: &[u8]) -> bool {
        let frame = link(A).ipv4(A, R).tcp(&header(5000, 80, (seq, ack), flags), data);
        let sent = self.net.send(LAN, &frame);
        if let [sent] = sent.as_slice() {
            self.port = sent.src_port;
        }
        !sent.is_empty()
    }

    fn back(&mut self, seq: u32, ack: u32, flags: Flags, data: &[u8]) -> bool {
        let frame = link(R).ipv4(R, WAN_IP).tcp(&header(80, self.port, (seq, ack), flags), data);
        !self.net.send(WAN, &frame).is_empty()
    }

    fn open(&mut self) {
        assert!(self.out(A0, 0, SYN, b""));
        assert!(self.back(R0, A0.wrapping_add(1), SYN_ACK, b""));
        assert!(self.out(A0.wrapping_add(1), R0 + 1, ACK, b""));
    }

    fn state(&self) -> &'static str {
        self.net.router.connections(self.net.now)[0].state
    }
}

#[test]
fn n87_what_lies_outside_the_window_is_dropped() {
    each(&windows(nat()), |talk| {
        talk.open();
        let (a, r) = (A0.wrapping_add(1), R0 + 1);
        assert!(talk.out(a, r, ACK, &[1; 400]));
        assert!(
            talk.back(r, a.wrapping_add(400), ACK, &[2; 1000]),
            "a window full, over the wrap of the numbers"
        );
        // Beyond what the other end has offered, and long gone by.
        assert!(!talk.back(r + 200_000, a.wrapping_add(400), ACK, b"x"));
        assert!(!talk.out(a.wrapping_sub(100_000), r, ACK, b"x"));
        // An acknowledgement of what was never sent.
        assert!(!talk.out(a.wrapping_add(400), r + 50_000, ACK, b""));
        assert_eq!(talk.net.drops(), [(Drop::TcpWindow, 3)]);
        // Retransmissions and keepalives pass.
        assert!(talk.out(a, r, ACK, &[1; 400]));
        assert!(talk.out(a.wrapping_add(399), r, ACK, b"x"));
    });
}

#[test]
fn n87_resets_count_only_at_the_very_place() {
    each(&windows(nat()), |talk| {
        talk.open();
        let (a, r) = (A0.wrapping_add(1), R0 + 1);
        assert!(talk.out(a, r, ACK, &[1; 100]));
        assert!(talk.back(r, a.wrapping_add(100), ACK, b""));
        assert!(!talk.back(r + 500_000, 0, RST, b""), "outside");
        assert!(!talk.back(r - 1, 0, RST, b""), "before what was acknowledged");
        assert_eq!(talk.state(), "established");
        // In the window but not exact: its receiver asks (RFC 5961 §3.2), the connection stays.
        assert!(talk.back(r + 500, 0, RST, b""));
        assert_eq!(talk.state(), "established");
        assert!(talk.out(a.wrapping_add(100), r, ACK, b""), "the challenge");
        assert!(talk.back(r, 0, RST, b""));
        assert_eq!(talk.state(), "reset");
    });
}

#[test]
fn n87_a_syn_on_an_open_connection_is_for_its_receiver_to_judge() {
    each(&windows(nat()), |talk| {
        talk.open();
        let r = R0 + 1;
        // The client has restarted and takes the same port (RFC 5961 §4): challenged, it resets, then begins anew.
        assert!(talk.out(77, 0, SYN, b""));
        assert_eq!(talk.state(), "established");
        assert!(talk.back(r, A0.wrapping_add(1), ACK, b""));
        assert!(talk.out(A0.wrapping_add(1), 0, RST, b""));
        assert_eq!(talk.state(), "reset");
        assert!(talk.out(77, 0, SYN, b""));
        assert!(talk.back(9_000_000, 78, SYN_ACK, b""));
        assert!(talk.out(78, 9_000_001, ACK, b"hello"));
        assert_eq!(talk.state(), "established");
    });
}

#[test]
fn n87_an_old_syn_ack_passes_and_opens_nothing() {
    each(&windows(nat()), |talk| {
        assert!(talk.out(A0, 0, SYN, b""));
        // Of an earlier connection: the client resets it, and tries again.
        assert!(talk.back(123, 456, SYN_ACK, b""));
        assert_eq!(talk.state(), "opening");
        assert!(talk.out(456, 0, RST, b""));
        assert!(talk.out(A0, 0, SYN, b""));
        assert!(talk.back(R0, A0.wrapping_add(1), SYN_ACK, b""));
        assert_eq!(talk.state(), "established");
        // The acknowledgement is lost, the SYN-ACK comes again, data follow.
        assert!(talk.back(R0, A0.wrapping_add(1), SYN_ACK, b""));
        assert!(talk.out(A0.wrapping_add(1), R0 + 1, ACK, b"data"));
        assert!(talk.back(R0 + 1, A0.wrapping_add(5), ACK, b"more"));
        assert_eq!(talk.net.drops(), []);
    });
}

#[test]
fn n87_scaled_windows_and_a_connection_seen_in_mid_stream() {
    let scaled = |shift: u8| vec![3, 3, shift, 1];
    each(&windows(nat()), |talk| {
        let syn = Header { options: scaled(7), ..header(5000, 80, (A0, 0), SYN) };
        talk.port = talk.net.one(LAN, &link(A).ipv4(A, R).tcp(&syn, b"")).src_port;
        let answer =
            Header { options: scaled(7), ..header(80, talk.port, (R0, A0.wrapping_add(1)), SYN_ACK) };
        talk.net.one(WAN, &link(R).ipv4(R, WAN_IP).tcp(&answer, b""));
        assert!(talk.out(A0.wrapping_add(1), R0 + 1, ACK, b""));
        assert!(talk.back(R0 + 1 + 100_000, A0.wrapping_add(1), ACK, &[1; 1000]), "a window of 128,000");
        assert!(!talk.back(R0 + 1 + 300_000, A0.wrapping_add(1), ACK, &[1; 1000]));
    });
    each(&windows(nat()), |talk| {
        assert!(talk.out(A0, R0, ACK, b"mid-stream"), "picked up");
        assert!(talk.back(R0 + 900_000, A0, ACK, b"x"), "whose windows nobody knows");
    });
    each(&nat(), |talk| {
        talk.open();
        assert!(talk.back(R0 + 900_000_000, A0, ACK, b"x"), "switched off");
    });
}

#[test]
fn f05_the_firewall_checks_windows_without_translation() {
    let mut config = windows(plain());
    let allow = FirewallRule {
        input: Some("lan".into()),
        out: None,
        source: None,
        destination: None,
        protocol: None,
        destination_ports: None,
        action: FirewallAction::Allow,
        ..FirewallRule::new(FirewallAction::Allow)
    };
    config.firewall =
        vec![allow.clone(), FirewallRule { input: None, action: FirewallAction::Drop, ..allow }];
    each(&config, |talk| {
        let back = |talk: &mut Talk, seq, ack, flags| {
            let frame = link(R).ipv4(R, A).tcp(&header(80, 5000, (seq, ack), flags), b"");
            !talk.net.send(WAN, &frame).is_empty()
        };
        assert!(talk.out(A0, 0, SYN, b""));
        assert!(back(talk, R0, A0.wrapping_add(1), SYN_ACK));
        assert!(talk.out(A0.wrapping_add(1), R0 + 1, ACK, b""));
        assert!(!back(talk, R0 + 700_000, 0, RST));
        assert_eq!(talk.net.drops(), [(Drop::TcpWindow, 1)]);
    });
}

fn mss_of(bytes: &[u8]) -> Option<u16> {
    let tcp = packet::tcp::View::parse(bytes).expect("TCP");
    tcp.options().find_map(|option| match option {
        Ok(packet::tcp::TcpOption::MaxSegmentSize(mss)) => Some(mss),
        _ => None,
    })
}

#[test]
fn n88_the_segment_size_is_cut_to_the_mtu_in_and_out() {
    let mut config = dual();
    config.interfaces[2].mtu = 1400;
    config.interfaces[2].clamp_mss = true;
    for n_workers in [1, 2, 4] {
        clamps(&mut Net::new(config.clone(), n_workers));
    }
}

fn clamps(net: &mut Net) {
    let options = |mss: u16, odd: bool| {
        let [a, b] = mss.to_be_bytes();
        // At an odd place behind one filler, and at an even one.
        if odd { vec![1, 2, 4, a, b, 1, 1, 1] } else { vec![2, 4, a, b] }
    };
    for odd in [false, true] {
        for (offered, passes) in [(1460, 1360), (1360, 1360), (536, 536)] {
            let syn = Header { options: options(offered, odd), ..header(5000, 80, (1, 0), SYN) };
            let out = net.one(LAN, &link(A).ipv4(A, R).tcp(&syn, b""));
            assert_eq!(mss_of(&out.bytes[20..]), Some(passes));
            let answer = Header { flags: SYN_ACK, ..syn.clone() };
            let back = net.one(WAN, &link(R).ipv4(R, A).tcp(&answer, b""));
            assert_eq!(mss_of(&back.bytes[20..]), Some(passes));
        }
        let syn = Header { options: options(1440, odd), ..header(5000, 80, (1, 0), SYN) };
        let out = net.one6(LAN, &link6(A6).ipv6(A6, R6).tcp(&syn, b""));
        assert_eq!(mss_of(&out.bytes[40..]), Some(1340));
        // Between others it stays, and so it does in what is no SYN.
        let between = net.one(LAN, &link(A).ipv4(A, C).tcp(&syn, b""));
        assert_eq!(mss_of(&between.bytes[20..]), Some(1440));
        let later = Header { flags: ACK, ..syn };
        assert_eq!(mss_of(&net.one(LAN, &link(A).ipv4(A, R).tcp(&later, b"")).bytes[20..]), Some(1440));
    }
}

#[test]
fn f03_tcp_that_is_rejected_is_reset_and_the_rest_told() {
    let mut config = dual();
    config.firewall = vec![FirewallRule {
        input: Some("lan".into()),
        out: None,
        source: None,
        destination: None,
        protocol: None,
        destination_ports: Some((80, 80)),
        action: FirewallAction::Reject,
        ..FirewallRule::new(FirewallAction::Allow)
    }];
    let mut net = Net::new(config, 1);
    let sent = net.one(LAN, &segment((A, 5000), (R, 80), SYN, b""));
    let view = packet::tcp::View::parse(&sent.bytes[20..]).expect("TCP");
    assert_eq!((sent.src, sent.dst, sent.port), (R, A, LAN));
    assert_eq!((view.flags(), view.ack()), (RST.with(ACK), 1001));
    let sent = net.one6(LAN, &link6(A6).ipv6(A6, R6).tcp(&tcp_header(5000, 80, SYN), b""));
    assert_eq!((sent.src, sent.dst, sent.ports), (R6, A6, (80, 5000)));
    let sent = net.one(LAN, &udp((A, 5000), (R, 80), b"x"));
    assert_eq!(sent.icmp.map(|i| (i.0, i.1)), Some((3, 13)));
    assert_eq!(net.drops(), [(Drop::FirewallDenied, 3)]);
}

#[test]
fn r18_routes_by_source_protocol_and_port() {
    let mut config = plain();
    config.interfaces.push(interface("wan2", 3, None, "192.0.2.1/24"));
    let other = RouteTarget::Via { gateway: ip("192.0.2.254").into(), interface: None };
    let any = PolicyRoute {
        input: None,
        source: None,
        destination: None,
        protocol: None,
        destination_ports: None,
        target: other.clone(),
    };
    config.policy_routes = vec![
        PolicyRoute { source: Some("10.1.0.3/32".parse().expect("a prefix")), ..any.clone() },
        PolicyRoute { protocol: Some(17), destination_ports: Some((53, 53)), ..any.clone() },
        PolicyRoute { protocol: Some(132), target: RouteTarget::Blackhole, ..any.clone() },
    ];
    let mut net = Net::new(config.clone(), 1);
    net.hosts.insert(ip("192.0.2.254"), (3, None, mac(7)));
    assert_eq!(net.one(LAN, &udp((A, 1), (R, 80), b"x")).port, WAN);
    assert_eq!(net.one(LAN, &udp((B, 1), (R, 80), b"x")).port, 3, "by source");
    assert_eq!(net.one(LAN, &udp((A, 1), (R, 53), b"x")).port, 3, "by protocol and port");
    assert_eq!(net.one(LAN, &segment((A, 1), (R, 53), SYN, b"")).port, WAN);
    net.none(LAN, &link(A).ipv4(A, R).payload(packet::IpProtocol(132), &[0; 12]), Drop::Blackhole);
    // What is for the router stays with it.
    assert_eq!(net.one(LAN, &ping(B, LAN_IP, 7)).src, LAN_IP);
    config.policy_routes = vec![PolicyRoute { destination_ports: Some((2, 1)), ..any }];
    let refused = net.router.set_config(net.now, config).expect_err("refused").to_string();
    assert_eq!(refused, "policy_routes[0]: the first destination port is above the last");
}
