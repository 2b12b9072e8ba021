//! The tracker through its public face, on virtual time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use conntrack::{
    Binding, Config, Connection, Endpoint, Filtering, Mapping, Packet, Refusal, Shard, Sharing, Timers,
    Tracker,
};
use packet::tcp::Flags;
use packet::{Instant, IpProtocol};
use proptest::prelude::*;

const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const SYN_ACK: Flags = Flags::SYN.with(Flags::ACK);
const FIN_ACK: Flags = Flags::FIN.with(Flags::ACK);

fn tracker(n_connections: u32) -> Tracker {
    let config = Config {
        n_connections,
        n_bindings: n_connections,
        seed: [1, 2],
        shard: Shard::ONLY,
        timers: Timers::default(),
        tcp_loose: true,
        tcp_window: false,
    };
    Tracker::new(config, Arc::default())
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(1_000_000 + secs)
}

fn inside(host: u8, port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::new(10, 0, 0, host), port)
}

fn remote(host: u8, port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::new(198, 51, 100, host), port)
}

fn packet(protocol: IpProtocol, src: Endpoint, dst: Endpoint, tcp: Option<Flags>) -> Packet {
    Packet { zone: 0, to_zone: 0, protocol, src, dst, tcp, segment: None, len: 60, n_packets: 1 }
}

fn udp(src: Endpoint, dst: Endpoint) -> Packet {
    packet(IpProtocol::UDP, src, dst, None)
}

fn tcp(src: Endpoint, dst: Endpoint, flags: Flags) -> Packet {
    packet(IpProtocol::TCP, src, dst, Some(flags))
}

/// As a router does: known, or opened.
fn out(t: &mut Tracker, now: Instant, p: Packet) -> Result<Endpoint, Refusal> {
    out_by(t, now, p, Sharing::Independent)
}

fn out_by(t: &mut Tracker, now: Instant, p: Packet, sharing: Sharing) -> Result<Endpoint, Refusal> {
    match t.translate_out(now, &p).expect("windows are not checked") {
        Some(known) => Ok(known.endpoint),
        None => t.open_out(now, &p, Mapping::Dynamic(WAN.into(), sharing)).map(|n| n.endpoint),
    }
}

fn back(t: &mut Tracker, now: Instant, p: Packet) -> Result<Endpoint, Refusal> {
    match t.translate_in(now, &p).expect("windows are not checked") {
        Some(known) => Ok(known.endpoint),
        None => t.open_in(now, &p, Filtering::AddressDependent).map(|n| n.endpoint),
    }
}

fn state(t: &Tracker) -> &'static str {
    t.connections(0, 1).0.first().map_or("none", |c| c.state.name())
}

#[test]
fn n30_one_inside_endpoint_has_one_outside_endpoint() {
    let mut t = tracker(64);
    let me = inside(1, 5000);
    let first = out(&mut t, at(0), udp(me, remote(1, 53))).expect("opened");
    for host in 2..5 {
        assert_eq!(out(&mut t, at(0), udp(me, remote(host, 53))), Ok(first));
    }
    assert_ne!(out(&mut t, at(0), udp(inside(2, 5000), remote(1, 53))), Ok(first));
    let (bindings, _) = t.bindings(0, 10);
    assert_eq!(bindings.iter().map(|b| b.n_connections).collect::<Vec<_>>(), [4, 1]);
}

#[test]
fn n31_filtering_is_selectable() {
    use Filtering::*;
    let me = inside(1, 5000);
    for (filtering, same_host, other_host) in [
        (EndpointIndependent, true, true),
        (AddressDependent, true, false),
        (AddressAndPortDependent, false, false),
    ] {
        let mut t = tracker(64);
        let outside = out(&mut t, at(0), udp(me, remote(1, 53))).expect("opened");
        let mut admits = |from| t.open_in(at(1), &udp(from, outside), filtering).is_ok();
        assert_eq!(admits(remote(1, 54)), same_host, "{filtering:?}");
        assert_eq!(admits(remote(2, 53)), other_host, "{filtering:?}");
    }
}

#[test]
fn permits_end_with_the_last_connection_that_gave_them() {
    let mut t = tracker(64);
    let me = inside(1, 5000);
    let outside = out(&mut t, at(0), udp(me, remote(1, 53))).expect("opened");
    out(&mut t, at(200), udp(me, remote(2, 53))).expect("opened");
    assert!(back(&mut t, at(299), udp(remote(1, 99), outside)).is_ok());
    t.expire(at(599), usize::MAX);
    assert_eq!(back(&mut t, at(599), udp(remote(1, 99), outside)), Err(Refusal::NoBinding));
}

/// With one connection it has no record of its own, with two or none it has.
#[test]
fn a_binding_stays_the_same_with_one_connection_with_more_and_with_none() {
    let mut t = tracker(64);
    let (me, other) = (inside(1, 5000), inside(2, 5000));
    let n_of = |t: &Tracker, outside| t.binding_of(0, IpProtocol::UDP, outside).map(|b| b.n_connections);
    let outside = out(&mut t, at(0), udp(me, remote(1, 53))).expect("opened");
    assert_eq!(n_of(&t, outside), Some(1));
    assert_eq!(out(&mut t, at(0), udp(me, remote(2, 53))), Ok(outside));
    assert_eq!(n_of(&t, outside), Some(2));
    for host in [1, 2] {
        assert_eq!(back(&mut t, at(0), udp(remote(host, 99), outside)), Ok(me));
    }
    assert_eq!(back(&mut t, at(0), udp(remote(3, 53), outside)), Err(Refusal::Filtered));
    // One with a record and one without, read one at a time.
    let lone = out(&mut t, at(0), udp(other, remote(1, 53))).expect("opened");
    let (first, next) = t.bindings(0, 1);
    let (second, end) = t.bindings(next.expect("there is another"), 1);
    let both = [&first[0], &second[0]].map(|b| (b.inside, b.outside, b.n_connections));
    assert_eq!(both, [(me, outside, 4), (other, lone, 1)]);
    assert!(t.bindings(end.expect("that may not be all"), 1).0.is_empty());
    // Both lose their connections, wait, and have the same port again.
    t.retain(at(1), |_| false);
    assert_eq!((n_of(&t, outside), n_of(&t, lone)), (Some(0), Some(0)));
    assert_eq!(back(&mut t, at(1), udp(remote(1, 53), lone)), Err(Refusal::NoBinding));
    for (inside, outside) in [(other, lone), (me, outside)] {
        assert_eq!(out(&mut t, at(2), udp(inside, remote(4, 53))), Ok(outside));
        assert_eq!(n_of(&t, outside), Some(1));
    }
    // Bindings without a record count as others do.
    let mut full = tracker(2);
    for host in 1..=2 {
        out(&mut full, at(0), tcp(inside(host, 1), remote(1, 80), Flags::SYN)).expect("room for two");
    }
    let third = out(&mut full, at(0), tcp(inside(3, 1), remote(1, 80), Flags::SYN));
    assert_eq!((third.is_ok(), full.bindings(0, 9).0.len()), (true, 2));
}

#[test]
fn n36_a_freed_udp_port_waits_for_its_owner() {
    let mut t = tracker(64);
    let outside = out(&mut t, at(0), udp(inside(1, 5000), remote(1, 53))).expect("opened");
    t.expire(at(301), usize::MAX);
    assert_eq!(t.n_connections(), 0);
    assert_eq!(back(&mut t, at(301), udp(remote(1, 53), outside)), Err(Refusal::NoBinding));
    assert_eq!(
        out(&mut t, at(310), udp(inside(1, 5000), remote(2, 53))),
        Ok(outside),
        "the same host gets it"
    );
    t.expire(at(611), usize::MAX);
    t.expire(at(729), usize::MAX);
    assert_eq!(t.bindings(0, 9).0.len(), 1, "held for 120 s");
    t.expire(at(732), usize::MAX);
    assert_eq!(t.bindings(0, 9).0.len(), 0);
}

#[test]
fn n37_exhausted_ports_refuse_the_new_and_spare_the_old() {
    let mut t = tracker(70_000);
    let mut n = 0u32;
    let refusal = loop {
        let me = Endpoint::new(Ipv4Addr::from(0x0a00_0000 + n), 5000);
        match out(&mut t, at(0), udp(me, remote(1, 53))) {
            Ok(_) => n += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((n, refusal), (64_512, Refusal::PortsExhausted));
    let first = Endpoint::new(Ipv4Addr::from(0x0a00_0000), 5000);
    assert!(t.translate_out(at(1), &udp(first, remote(1, 53))).is_ok_and(|t| t.is_some()));
    assert_eq!(t.n_connections(), 64_512);
}

#[test]
fn n40_a_full_table_pushes_out_the_transitory_only() {
    let mut t = tracker(8);
    for port in 1..=4 {
        let (me, them) = (inside(1, 5000 + port), remote(1, 80));
        let outside = out(&mut t, at(0), tcp(me, them, Flags::SYN)).expect("opened");
        back(&mut t, at(0), tcp(them, outside, SYN_ACK)).expect("known");
    }
    for port in 0..100 {
        out(&mut t, at(1), tcp(inside(2, 6000 + port), remote(1, 80), Flags::SYN)).expect("pushes out a SYN");
    }
    for port in 1..=4 {
        let p = tcp(inside(1, 5000 + port), remote(1, 80), Flags::ACK);
        assert!(t.translate_out(at(2), &p).is_ok_and(|t| t.is_some()), "an established one is gone");
    }
    assert_eq!(t.n_connections(), 8);
    for port in 0..4 {
        let (me, them) = (inside(3, 7000 + port), remote(1, 80));
        let outside = out(&mut t, at(3), tcp(me, them, Flags::SYN)).expect("opened");
        back(&mut t, at(3), tcp(them, outside, SYN_ACK)).expect("known");
    }
    let refused = out(&mut t, at(4), tcp(inside(4, 1), remote(1, 80), Flags::SYN));
    assert_eq!(refused, Err(Refusal::TableFull));
}

#[test]
fn n41_two_connections_must_differ_on_each_side() {
    let mut t = tracker(8);
    let (server, client) = (inside(2, 80), remote(1, 1234));
    let first = tcp(client, Endpoint::new(WAN, 8080), Flags::SYN);
    let second = tcp(client, Endpoint::new(WAN, 8081), Flags::SYN);
    assert!(t.open_forward(at(0), &first, server).is_ok());
    assert_eq!(t.open_forward(at(0), &second, server), Err(Refusal::Clash));
    assert_eq!(t.n_connections(), 1);
}

struct Tcp {
    t: Tracker,
    me: Endpoint,
    them: Endpoint,
    outside: Endpoint,
}

impl Tcp {
    fn opened() -> Self {
        let mut t = tracker(64);
        let (me, them) = (inside(1, 5000), remote(1, 80));
        let outside = out(&mut t, at(0), tcp(me, them, Flags::SYN)).expect("opened");
        Self { t, me, them, outside }
    }
    fn established() -> Self {
        let mut tcp = Self::opened();
        assert!(tcp.back(at(0), SYN_ACK));
        assert!(tcp.out(at(0), Flags::ACK));
        tcp
    }
    fn out(&mut self, now: Instant, flags: Flags) -> bool {
        self.t.translate_out(now, &tcp(self.me, self.them, flags)).is_ok_and(|t| t.is_some())
    }
    fn back(&mut self, now: Instant, flags: Flags) -> bool {
        let known = self.t.translate_in(now, &tcp(self.them, self.outside, flags));
        known.expect("windows are not checked").is_some()
    }
    fn state(&self) -> &'static str {
        state(&self.t)
    }
}

#[test]
fn n80_tcp_opens_and_closes_from_either_side_or_both() {
    for sides in [[true, false], [false, true]] {
        let mut c = Tcp::established();
        assert_eq!(c.state(), "established");
        for (side, state) in sides.into_iter().zip(["half-closed", "closed"]) {
            assert!(if side { c.out(at(1), FIN_ACK) } else { c.back(at(1), FIN_ACK) });
            assert_eq!(c.state(), state);
        }
        assert!(c.out(at(2), Flags::ACK), "the last acknowledgement passes");
        assert!(c.out(at(240), Flags::ACK));
        assert!(!c.out(at(241), Flags::ACK), "240 s after the second FIN, whatever came since");
    }
}

#[test]
fn n81_syn_ack_may_come_twice() {
    let mut c = Tcp::opened();
    assert!(c.back(at(0), SYN_ACK) && c.back(at(1), SYN_ACK) && c.out(at(1), Flags::ACK));
    assert_eq!(c.state(), "established");
}

#[test]
fn n82_simultaneous_open() {
    let mut c = Tcp::opened();
    assert!(c.back(at(0), Flags::SYN) && c.out(at(0), SYN_ACK) && c.back(at(0), SYN_ACK));
    assert_eq!(c.state(), "established");
}

#[test]
fn n84_reset_is_transitory_until_data_shows_it_was_ignored() {
    let mut c = Tcp::established();
    assert!(c.back(at(1), Flags::RST));
    assert_eq!(c.state(), "reset");
    assert!(c.out(at(200), Flags::ACK));
    assert_eq!(c.state(), "established");
    assert!(c.out(at(7000), Flags::ACK), "long idle again");
    assert!(c.back(at(7001), Flags::RST));
    assert!(!c.out(at(7001 + 240), Flags::ACK));
    let mut refused = Tcp::opened();
    assert!(refused.back(at(0), Flags::RST.with(Flags::ACK)) && refused.out(at(3), Flags::SYN));
    assert_eq!(refused.state(), "opening");
}

#[test]
fn n85_closed_is_opened_again_by_both_syns_only() {
    let closed = || {
        let mut c = Tcp::established();
        assert!(c.out(at(1), FIN_ACK) && c.back(at(1), FIN_ACK));
        c
    };
    let mut one = closed();
    assert!(one.out(at(2), Flags::SYN) && one.out(at(100), Flags::SYN));
    assert_eq!(one.state(), "reopening");
    assert!(!one.out(at(241), Flags::SYN), "one SYN does not keep it");
    let mut both = closed();
    assert!(both.out(at(2), Flags::SYN) && both.back(at(2), SYN_ACK));
    assert_eq!(both.state(), "established");
    assert!(both.out(at(7000), Flags::ACK));
}

#[test]
fn n86_idle_times_of_tcp_udp_and_icmp() {
    let mut c = Tcp::established();
    assert!(c.out(at(7439), Flags::ACK) && !c.out(at(7439 + 7440), Flags::ACK));
    let mut c = Tcp::opened();
    assert!(!c.back(at(240), SYN_ACK));
    let mut t = tracker(8);
    for (protocol, secs) in [(IpProtocol::UDP, 300), (IpProtocol::ICMP, 60)] {
        let p = packet(protocol, inside(1, 7), remote(1, 0), None);
        out(&mut t, at(0), p).expect("opened");
        assert!(t.translate_out(at(secs - 1), &p).is_ok_and(|t| t.is_some()), "refreshed from inside");
        assert!(t.translate_out(at(2 * secs - 1), &p).is_ok_and(|t| t.is_none()));
    }
}

#[test]
fn f08_an_idle_connection_ends_behind_an_active_one() {
    let mut t = tracker(8);
    let [idle, busy] = [1, 2].map(|host| udp(inside(host, 7), remote(host, 53)));
    let opening = tcp(inside(3, 7), remote(3, 80), Flags::SYN);
    let established = Tcp::established();
    for p in [idle, busy, opening] {
        out(&mut t, at(0), p).expect("opened");
    }
    for secs in (100..1000).step_by(100) {
        t.expire(at(secs), 64);
        assert_eq!(t.peek_out(at(secs), &idle).is_some(), secs < 300, "at {secs}");
        assert_eq!(t.peek_out(at(secs), &opening).is_some(), secs < 240, "transitory, at {secs}");
        assert!(t.translate_out(at(secs), &busy).is_ok_and(|known| known.is_some()));
        let Tcp { t: other, me, them, .. } = &established;
        assert!(other.peek_out(at(secs), &tcp(*me, *them, Flags::ACK)).is_some(), "hours");
    }
    assert_eq!(t.n_connections(), 1);
}

#[test]
fn f16_a_table_is_read_in_pieces_while_it_changes() {
    let mut t = tracker(2000);
    for n in 0..2000u16 {
        out(&mut t, at(0), udp(inside(1, 1024 + n), remote(1, 53))).expect("opened");
    }
    let (mut from, mut seen, mut n_pieces) = (Some(0), std::collections::BTreeSet::new(), 0);
    while let Some(place) = from {
        let (piece, next) = t.connections(place, 100);
        assert!(piece.len() <= 100);
        seen.extend(piece.iter().map(|c| c.inside));
        (from, n_pieces) = (next, n_pieces + 1);
        // Others go and come meanwhile.
        let gone = inside(1, 1024 + n_pieces * 7);
        t.retain(at(0), |c| c.inside != gone);
        out(&mut t, at(0), udp(inside(2, n_pieces), remote(1, 53))).expect("there is room");
    }
    let kept = (0..2000u16)
        .map(|n| inside(1, 1024 + n))
        .filter(|i| t.connections(0, 2000).0.iter().any(|c| c.inside == *i));
    for inside in kept {
        assert!(seen.contains(&inside), "{inside} was there all the time");
    }
    assert!(n_pieces >= 20);
}

/// Connections, bindings with and without records, and permits are found all the time; ports stay each one's own.
#[test]
fn f16_tables_grow_and_shrink_while_they_are_used() {
    let (mut t, mut n) = (tracker(300), 0u16);
    let flow = |n: u16| udp(inside(1, 1024 + n % 700), remote((n / 700) as u8 + 1, 53));
    let mut outside = BTreeMap::new();
    let mut open = |t: &mut Tracker, n: u16| -> Result<(), Refusal> {
        let found = out(t, at(0), flow(n))?;
        // The same inside endpoint has the same outside one, whenever it began and whatever moved meanwhile.
        assert_eq!(*outside.entry(flow(n).src).or_insert(found), found);
        // An answer, so that it is not pushed out.
        let back = udp(flow(n).dst, found);
        assert_eq!(t.translate_in(at(0), &back).expect("it fits").expect("known").endpoint, flow(n).src);
        Ok(())
    };
    while open(&mut t, n).is_ok() {
        n += 1;
    }
    assert_eq!(n, 300, "the first table is full");
    t.resize(3000, 3000);
    // Another size is wanted before all have moved to this one.
    t.resize(6000, 6000);
    for turn in 0..3000 {
        open(&mut t, n).expect("there is room again");
        n += 1;
        for known in [0, turn % n, n - 1] {
            assert!(t.peek_out(at(0), &flow(known)).is_some(), "{known}, turn {turn}");
            let Endpoint { addr, port } = outside_of(&t, flow(known));
            let back = udp(flow(known).dst, Endpoint::new(addr, port));
            assert_eq!(
                t.translate_in(at(0), &back).expect("it fits").expect("known").endpoint,
                flow(known).src
            );
        }
        t.expire(at(0), 64);
    }
    assert_eq!(t.n_connections(), 3300);
    t.resize(1000, 1000);
    assert_eq!(open(&mut t, n), Err(Refusal::TableFull));
    assert!((0..n).all(|known| t.translate_out(at(0), &flow(known)).is_ok_and(|known| known.is_some())));
    t.retain(at(0), |c| c.inside.port % 7 == 0);
    assert!(t.n_connections() < 1000);
    open(&mut t, n).expect("enough have ended");
}

fn outside_of(t: &Tracker, p: Packet) -> Endpoint {
    t.peek_out(at(0), &p).expect("known").outside
}

#[test]
fn f04_mid_stream_pickup_can_be_switched_off() {
    let mut t = tracker(8);
    let p = tcp(inside(1, 5000), remote(1, 80), Flags::ACK);
    assert!(out(&mut t, at(0), p).is_ok());
    assert_eq!(state(&t), "pickup");
    t.retain(at(0), |_| false);
    t.set_timers(Timers::default(), false, false);
    assert_eq!(out(&mut t, at(0), p), Err(Refusal::NotSyn));
    assert_eq!(out(&mut t, at(0), Packet { tcp: Some(Flags::RST), ..p }), Err(Refusal::NotSyn));
}

#[test]
fn n08_a_port_taken_by_the_configuration_ends_its_binding() {
    let mut t = tracker(8);
    let p = tcp(inside(1, 5000), remote(1, 80), Flags::SYN);
    let outside = out(&mut t, at(0), p).expect("opened");
    t.set_reserved(at(0), &[(0, IpProtocol::TCP, outside)]);
    assert_eq!((t.n_connections(), t.bindings(0, 9).0.len()), (0, 0));
    assert_ne!(out(&mut t, at(0), p), Ok(outside));
}

#[derive(Clone, Debug)]
enum Op {
    Out { host: u8, port: u8, remote: u8, tcp: bool, flags: u16 },
    Back { remote: u8, of: usize, flags: u16 },
    Forward { remote: u8, port: u8, to: u8 },
    Wait(u16),
    Reserve(usize),
    Drop(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..6u8, 0..4u8, 0..5u8, any::<bool>(), 0..0x20u16)
            .prop_map(|(host, port, remote, tcp, flags)| Op::Out { host, port, remote, tcp, flags }),
        4 => (0..6u8, any::<usize>(), 0..0x20u16).prop_map(|(remote, of, flags)| Op::Back { remote, of, flags }),
        1 => (0..5u8, 0..3u8, 1..6u8).prop_map(|(remote, port, to)| Op::Forward { remote, port, to }),
        2 => (0..400u16).prop_map(Op::Wait),
        1 => any::<usize>().prop_map(Op::Reserve),
        1 => (1..6u8).prop_map(Op::Drop),
    ]
}

fn apply(t: &mut Tracker, now: &mut Instant, op: &Op, sharing: Sharing) {
    match *op {
        Op::Out { host, port, remote: r, tcp: is_tcp, flags } => {
            let (src, dst) = (inside(host, 1020 + u16::from(port) * 2), remote(r, 80));
            let p = if is_tcp { tcp(src, dst, Flags(flags)) } else { udp(src, dst) };
            let _ = out_by(t, *now, p, sharing);
        }
        Op::Back { remote: r, of, flags } => {
            let (bindings, _) = t.bindings(0, 100);
            if let Some(b) = bindings.get(of % bindings.len().max(1)) {
                let flags = (b.protocol == IpProtocol::TCP).then_some(Flags(flags));
                let _ = back(t, *now, packet(b.protocol, remote(r, 80), b.outside, flags));
            }
        }
        Op::Forward { remote: r, port, to } => {
            let p = tcp(remote(r, 80), Endpoint::new(WAN, 2 + u16::from(port)), Flags::SYN);
            let _ = t.open_forward(*now, &p, inside(to, 1020));
        }
        Op::Wait(secs) => *now = *now + std::time::Duration::from_secs(secs.into()),
        Op::Reserve(of) => {
            let (bindings, _) = t.bindings(0, 100);
            if let Some(b) = bindings.get(of % bindings.len().max(1)) {
                t.set_reserved(*now, &[(0, b.protocol, b.outside)]);
            }
        }
        Op::Drop(host) => t.retain(*now, |c| c.inside.addr != inside(host, 0).addr),
    }
    t.expire(*now, 16);
}

fn check(connections: &[Connection], bindings: &[Binding], sharing: Sharing) -> Result<(), TestCaseError> {
    let (mut owners, mut outs, mut ins) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    // A shared port may be a binding's and other connections', which the last rule of all keeps apart.
    let bindings = if sharing == Sharing::Independent { bindings } else { &[] };
    for b in bindings {
        prop_assert!(owners.insert((b.protocol.0, b.outside), b.inside).is_none(), "{} twice", b.outside);
        let users = connections.iter().filter(|c| c.protocol == b.protocol && c.outside == b.outside);
        prop_assert_eq!(users.count(), b.n_connections as usize);
    }
    for c in connections {
        prop_assert!(outs.insert((c.protocol.0, c.inside, c.remote), c.outside).is_none(), "{:?}", c);
        prop_assert!(ins.insert((c.protocol.0, c.outside, c.remote), c.inside).is_none(), "{:?}", c);
        if let Some(owner) = owners.get(&(c.protocol.0, c.outside)) {
            prop_assert_eq!(*owner, c.inside);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// N33: no two inside endpoints ever share an outside tuple, the table is bounded, and counts agree.
    #[test]
    fn n33_no_two_inside_endpoints_share_an_outside_tuple(ops in proptest::collection::vec(op(), 1..200)) {
        let mut t = tracker(24);
        let mut now = at(0);
        for op in &ops {
            apply(&mut t, &mut now, op, Sharing::Independent);
            let ((connections, _), (bindings, _)) = (t.connections(0, 100), t.bindings(0, 100));
            prop_assert!(connections.len() <= 24 && connections.len() == t.n_connections());
            check(&connections, &bindings, Sharing::Independent)?;
        }
        t.expire(now + std::time::Duration::from_secs(20_000), usize::MAX);
        t.expire(now + std::time::Duration::from_secs(30_000), usize::MAX);
        prop_assert_eq!((t.n_connections(), t.bindings(0, 100).0.len()), (0, 0));
        prop_assert_eq!(t.poll_timeout(), None);
    }

    /// N32, N33: with three ports, shared where the remote ends differ, no two connections are ever the same outside.
    #[test]
    fn n33_shared_ports_keep_connections_apart(
        ops in proptest::collection::vec(op(), 1..100),
        dependent in any::<bool>(),
    ) {
        let sharing = if dependent { Sharing::Dependent } else { Sharing::Overload };
        let mut t = tracker(24);
        let mut now = at(0);
        let protocols = [IpProtocol::TCP, IpProtocol::UDP];
        let of = |port| protocols.map(|p| (0, p, Endpoint::new(WAN, port)));
        let reserved: Vec<_> = (0..=65_535).filter(|p| !(1022..1025).contains(p)).flat_map(of).collect();
        t.set_reserved(now, &reserved);
        for op in ops.iter().filter(|op| !matches!(op, Op::Reserve(_))) {
            apply(&mut t, &mut now, op, sharing);
            let ((connections, _), (bindings, _)) = (t.connections(0, 100), t.bindings(0, 100));
            prop_assert!(connections.iter().all(|c| !c.is_dynamic() || (1022..1025).contains(&c.outside.port)));
            check(&connections, &bindings, sharing)?;
        }
        t.expire(now + std::time::Duration::from_secs(20_000), usize::MAX);
        t.expire(now + std::time::Duration::from_secs(30_000), usize::MAX);
        prop_assert_eq!((t.n_connections(), t.bindings(0, 100).0.len()), (0, 0));
    }
}
