//! Address translation: the N cases, each with one, two and four workers.

mod net;

use std::net::{IpAddr, Ipv4Addr};

use net::*;
use packet::icmpv4::{Message, Unreachable};
use packet::tcp::Flags;
use packet::{Frame, IpProtocol, build, icmpv4, ipv4};
use proptest::prelude::*;
use vrouter::{Drop, NatRule, RouterConfig, RouterEvent, Sharing, Transport};

fn each(config: RouterConfig, test: impl Fn(&mut Net)) {
    for n_workers in [1, 2, 4] {
        test(&mut Net::new(config.clone(), n_workers));
    }
}

/// What the outside sees of a new connection from inside: its source.
fn opened(net: &mut Net, src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16)) -> (Ipv4Addr, u16) {
    let sent = net.one(LAN, &segment(src, dst, SYN, b""));
    assert_eq!((sent.port, sent.src, (sent.dst, sent.dst_port)), (WAN, WAN_IP, dst));
    (sent.src, sent.src_port)
}

fn end((addr, port): (Ipv4Addr, u16)) -> (IpAddr, u16) {
    (addr.into(), port)
}

fn one_to_one() -> RouterConfig {
    let mut config = nat();
    let rule = |outside, inside| NatRule::OneToOne { interface: "wan".into(), outside: ip(outside), inside };
    config.nat.extend([rule("203.0.113.10", A), rule("203.0.113.11", B)]);
    config
}

const A_OUT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const B_OUT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);

#[test]
fn n01_dynamic_tcp_udp_icmp_out_and_back() {
    each(nat(), |net| {
        let outside = opened(net, (A, 5000), (R, 80));
        let back = net.one(WAN, &segment((R, 80), outside, SYN_ACK, b""));
        assert_eq!((back.port, back.ends(), back.ttl), (LAN, ((R, 80), (A, 5000)), 63));
        let sent = net.one(LAN, &udp((A, 5000), (R, 53), b"query"));
        assert_eq!((sent.src, sent.payload.as_slice()), (WAN_IP, &b"query"[..]));
        let back = net.one(WAN, &udp((R, 53), (WAN_IP, sent.src_port), b"answer"));
        assert_eq!(back.ends(), ((R, 53), (A, 5000)));
        let sent = net.one(LAN, &ping(A, R, 7));
        assert_eq!((sent.src, sent.icmp.map(|i| i.0)), (WAN_IP, Some(8)));
        let back = net.one(WAN, &pong(R, WAN_IP, sent.src_port));
        assert_eq!((back.dst, back.dst_port), (A, 7));
        assert_eq!(net.router.connections(net.now).len(), 3);
        assert_eq!(net.drops(), []);
    });
}

#[test]
fn n02_edge_ports() {
    each(nat(), |net| {
        for port in [1, 1023, 1024, 65535] {
            let outside = opened(net, (A, port), (R, 80));
            assert_eq!(outside.1 < 1024, port < 1024, "RFC 4787 REQ-3a");
            assert_eq!(net.one(WAN, &segment((R, 80), outside, SYN_ACK, b"")).dst_port, port);
            let sent = net.one(LAN, &udp((A, 4000), (R, port), b"x"));
            assert_eq!(net.one(WAN, &udp((R, port), (WAN_IP, sent.src_port), b"x")).src_port, port);
        }
    });
}

#[test]
fn n03_n04_one_to_one_from_inside_and_from_outside() {
    each(one_to_one(), |net| {
        let sent = net.one(LAN, &segment((A, 5000), (R, 80), SYN, b""));
        assert_eq!(sent.ends(), ((A_OUT, 5000), (R, 80)));
        assert_eq!(net.one(WAN, &segment((R, 80), (A_OUT, 5000), SYN_ACK, b"")).ends().1, (A, 5000));
        assert_eq!(net.one(WAN, &udp((R, 1), (B_OUT, 9), b"x")).ends(), ((R, 1), (B, 9)));
        assert_eq!(net.one(LAN, &udp((B, 9), (R, 1), b"x")).ends(), ((B_OUT, 9), (R, 1)));
        let sent = net.one(WAN, &ping(R, B_OUT, 3));
        assert_eq!((sent.dst, sent.src_port), (B, 3));
        assert_eq!(net.one(LAN, &pong(B, R, 3)).src, B_OUT);
    });
}

#[test]
fn n04_the_router_answers_arp_for_one_to_one_addresses() {
    let mut net = Net::new(one_to_one(), 1);
    let out = net.raw(WAN, Frame::from_bytes(&build::arp_request(mac(5), GATEWAY, A_OUT)));
    assert_eq!(out.len(), 1);
    assert!(
        net.raw(WAN, Frame::from_bytes(&build::arp_request(mac(5), GATEWAY, ip("203.0.113.12")))).is_empty()
    );
}

#[test]
fn n05_port_forward_from_outside_and_from_inside() {
    each(nat(), |net| {
        let sent = net.one(WAN, &segment((R, 1234), (WAN_IP, 8080), SYN, b""));
        assert_eq!((sent.port, sent.ends()), (LAN, ((R, 1234), (A, 80))));
        let back = net.one(LAN, &segment((A, 80), (R, 1234), SYN_ACK, b""));
        assert_eq!((back.port, back.ends()), (WAN, ((WAN_IP, 8080), (R, 1234))));
        let sent = net.one(WAN, &udp((R, 1234), (WAN_IP, 5353), b"odd"));
        assert_eq!(sent.ends(), ((R, 1234), (A, 53)));
        assert_eq!(net.one(LAN, &udp((A, 53), (R, 1234), b"odd")).ends().0, (WAN_IP, 5353));
        // What the service begins itself comes from its outside endpoint too.
        assert_eq!(opened(net, (A, 80), (R2, 99)), (WAN_IP, 8080));
        assert_eq!(net.one(WAN, &segment((R2, 99), (WAN_IP, 8080), SYN_ACK, b"")).ends().1, (A, 80));
    });
}

#[test]
fn n07_exempt_from_translation() {
    let mut config = nat();
    let prefix = |p: &str| p.parse().expect("a prefix");
    config
        .nat
        .push(NatRule::Exempt { source: prefix("10.1.0.0/24"), destination: prefix("198.51.100.8/32") });
    each(config, |net| {
        assert_eq!(net.one(LAN, &udp((A, 1), (R2, 2), b"x")).ends(), ((A, 1), (R2, 2)));
        assert_eq!(net.one(WAN, &udp((R2, 2), (A, 1), b"x")).ends(), ((R2, 2), (A, 1)));
        assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).src, WAN_IP);
        net.none(WAN, &udp((R, 2), (A, 1), b"x"), Drop::NatNoBinding);
    });
}

#[test]
fn n08_dynamic_becomes_one_to_one_while_traffic_runs() {
    each(nat(), |net| {
        opened(net, (A, 5000), (R, 80));
        let other = opened(net, (C, 5000), (R, 80));
        net.configure(one_to_one());
        assert_eq!(net.one(LAN, &segment((A, 5000), (R, 80), SYN, b"")).ends().0, (A_OUT, 5000));
        assert_eq!(net.one(WAN, &segment((R, 80), (A_OUT, 5000), SYN_ACK, b"")).ends().1, (A, 5000));
        assert_eq!(net.one(WAN, &segment((R, 80), other, SYN_ACK, b"")).ends().1, (C, 5000), "others go on");
    });
}

#[test]
fn n09_unknown_protocols_pass_one_to_one_only() {
    each(one_to_one(), |net| {
        for protocol in [47, 50, 132] {
            let bytes = [protocol; 21];
            let sent = net.one(LAN, &link(A).ipv4(A, R).payload(IpProtocol(protocol), &bytes));
            assert_eq!((sent.src, sent.protocol, sent.payload.as_slice()), (A_OUT, protocol, &bytes[..]));
            let back = net.one(WAN, &link(R).ipv4(R, A_OUT).payload(IpProtocol(protocol), &bytes));
            assert_eq!((back.dst, back.port), (A, LAN));
            let hairpin = net.one(LAN, &link(A).ipv4(A, B_OUT).payload(IpProtocol(protocol), &bytes));
            assert_eq!((hairpin.src, hairpin.dst, hairpin.port), (A_OUT, B, LAN));
            net.none(LAN, &link(C).ipv4(C, R).payload(IpProtocol(protocol), &bytes), Drop::NatProtocol);
        }
    });
}

#[test]
fn n12_masquerade_takes_only_its_sources() {
    let mut config = nat();
    let sources = vec!["10.1.0.0/24".parse().expect("a prefix")];
    config.nat[0] = NatRule::Masquerade {
        out: "wan".into(),
        sources,
        pool: Vec::new(),
        sharing: Sharing::Independent,
        portless: false,
    };
    each(config, |net| {
        assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).src, WAN_IP);
        assert_eq!(net.one(LAN, &udp((C, 1), (R, 2), b"x")).src, C);
        assert_eq!(net.one(WAN, &udp((R, 2), (C, 1), b"x")).dst, C, "not hidden");
        assert_eq!(net.one(LAN, &udp((A, 1), (C, 2), b"x")).src, A, "not between inside networks");
    });
}

#[test]
fn n14_four_kilobytes_in_fragments_both_ways() {
    each(nat(), |net| {
        let payload: Vec<u8> = (0..4001).map(|i| i as u8).collect();
        let mut sent = Vec::new();
        for piece in cut(&udp((A, 5000), (R, 53), &payload), 42, &[1480, 2960]) {
            sent.extend(net.send(LAN, &piece));
        }
        let whole = reassemble(&sent);
        assert_eq!((whole.src, whole.dst_port, &whole.payload), (WAN_IP, 53, &payload));
        let mut back = Vec::new();
        for piece in cut(&udp((R, 53), (WAN_IP, whole.src_port), &payload), 43, &[1480, 2960]) {
            back.extend(net.send(WAN, &piece));
        }
        let whole = reassemble(&back);
        assert_eq!((whole.ends(), &whole.payload), (((R, 53), (A, 5000)), &payload));
        assert_eq!(net.drops(), []);
    });
}

#[test]
fn n16_n17_rules_and_addresses_change_under_live_sessions() {
    each(nat(), |net| {
        let dynamic = opened(net, (A, 5000), (R, 80));
        net.one(WAN, &segment((R, 1), (WAN_IP, 8080), SYN, b""));
        let mut config = nat();
        config.nat.remove(1);
        net.configure(config.clone());
        let protocols: Vec<_> = net.router.connections(net.now).iter().map(|c| c.outside).collect();
        assert_eq!(protocols, [end(dynamic)], "N97: the forward's session is gone, the other goes on");
        assert_eq!(net.one(WAN, &segment((R, 80), dynamic, SYN_ACK, b"")).dst, A);
        config.interfaces[2].addresses[0].0 = ip("203.0.113.77").into();
        net.configure(config);
        assert_eq!(net.router.connections(net.now), []);
        assert_eq!(net.one(LAN, &segment((A, 5000), (R, 80), SYN, b"")).src, ip("203.0.113.77"));
        net.configure(plain());
        assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).src, A);
        assert_eq!(net.router.connections(net.now), []);
    });
}

#[test]
fn n18_one_armed() {
    let mut config = nat();
    // Inside and outside on one interface.
    config.interfaces[2].addresses.push((ip("10.9.0.1").into(), 24));
    each(config, |net| {
        let host = ip("10.9.0.2");
        net.hosts.insert(host, (WAN, None, mac(0x22)));
        let link = || build::ethernet(mac(0x22), mac(0xf2));
        let sent = net.one(WAN, &link().ipv4(host, R).udp(1, 2, b"x"));
        assert_eq!((sent.port, sent.src, sent.dst), (WAN, WAN_IP, R));
        let back = net.one(WAN, &udp((R, 2), (WAN_IP, sent.src_port), b"x"));
        assert_eq!((back.port, back.ends()), (WAN, ((R, 2), (host, 1))));
        let hairpin = net.one(WAN, &link().ipv4(host, WAN_IP).tcp(&tcp_header(1, 8080, SYN), b""));
        assert_eq!((hairpin.port, hairpin.dst, hairpin.dst_port), (LAN, A, 80));
    });
}

#[test]
fn n21_ttl_ends_with_the_packet_as_its_sender_knows_it() {
    each(nat(), |net| {
        let outside = opened(net, (A, 5000), (R, 80));
        let with = |src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16), ttl| {
            link(src.0).ipv4(src.0, dst.0).ttl(ttl).tcp(&tcp_header(src.1, dst.1, ACK), b"data")
        };
        let sent = net.one(LAN, &with((A, 5000), (R, 80), 1));
        assert_eq!((sent.src, sent.dst, sent.icmp.map(|i| i.0)), (LAN_IP, A, Some(11)));
        assert_eq!((sent.quoted().src(), sent.quoted_ports()), (A, (5000, 80)));
        let sent = net.one(WAN, &with((R, 80), outside, 1));
        assert_eq!((sent.src, sent.dst, sent.port), (WAN_IP, R, WAN));
        assert_eq!((sent.quoted().dst(), sent.quoted_ports()), (WAN_IP, (80, outside.1)));
        assert_eq!(net.one(LAN, &with((A, 5000), (R, 80), 2)).ttl, 1);
        assert_eq!(net.one(WAN, &with((R, 80), outside, 2)).ttl, 1);
    });
}

#[test]
fn n22_the_outside_address_answers_the_inside_hides() {
    each(nat(), |net| {
        let sent = net.one(WAN, &ping(R, WAN_IP, 5));
        assert_eq!((sent.src, sent.dst, sent.icmp.map(|i| i.0)), (WAN_IP, R, Some(0)));
        net.none(WAN, &ping(R, A, 5), Drop::NatNoBinding);
        net.none(WAN, &udp((R, 1), (C, 5), b"x"), Drop::NatNoBinding);
        assert_eq!(net.one(LAN, &ping(A, WAN_IP, 5)).src, WAN_IP, "and from inside");
    });
}

#[test]
fn n23_ethernet_padding_is_not_part_of_the_packet() {
    each(nat(), |net| {
        let mut frame = udp((A, 5000), (R, 53), b"x");
        frame.resize(60, 0xee);
        let out = net.one(LAN, &frame);
        assert_eq!((out.payload.as_slice(), out.bytes.len()), (&b"x"[..], 29));
    });
}

#[test]
fn n24_zero_udp_checksum_stays_and_options_are_kept() {
    each(nat(), |net| {
        let mut frame = udp((A, 5000), (R, 53), b"odd");
        frame[40..42].fill(0);
        let sent = net.one(LAN, &frame);
        assert_eq!(sent.bytes[26..28], [0, 0]);
        let options = ipv4::Options::new(&[148, 4, 0, 0]).expect("short");
        let frame = link(A).ipv4(A, R).with_ipv4(|h| h.options = options).udp(5000, 53, b"x");
        let sent = net.one(LAN, &frame);
        assert_eq!(ipv4::View::parse(&sent.bytes).expect("a packet").options(), options.as_bytes());
        assert_eq!(sent.src, WAN_IP);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Checksums are right after every rewrite, odd lengths included; `read` judges with etherparse.
    #[test]
    fn n24_checksums_are_right_after_every_rewrite(
        payload in proptest::collection::vec(any::<u8>(), 0..80),
        src in 1u16.., dst in 1u16.., host in 2u8..250, kind in 0..4u8, ones in any::<bool>(),
    ) {
        let mut net = Net::new(nat(), 2);
        let inside = Ipv4Addr::new(10, 1, 0, host);
        net.hosts.insert(inside, (LAN, None, mac(host)));
        let payload = if ones { vec![0xff; payload.len()] } else { payload };
        let link = || build::ethernet(mac(host), mac(0xf1));
        let frame = match kind {
            0 => link().ipv4(inside, R).udp(src, dst, &payload),
            1 => link().ipv4(inside, R).tcp(&tcp_header(src, dst, SYN), &payload),
            2 => link().ipv4(inside, R).echo_request(src, dst, &payload),
            _ => link().ipv4(inside, WAN_IP).tcp(&tcp_header(src, 8080, SYN), &payload),
        };
        let sent = net.one(LAN, &frame);
        prop_assert_eq!(&sent.payload, &payload);
        let back = match kind {
            0 => net.one(WAN, &udp((R, dst), (sent.src, sent.src_port), &payload)),
            1 => net.one(WAN, &segment((R, dst), (sent.src, sent.src_port), SYN_ACK, &payload)),
            2 => net.one(WAN, &net::link(R).ipv4(R, sent.src).echo_reply(sent.src_port, 1, &payload)),
            _ => net.one(LAN, &segment((A, 80), (sent.src, sent.src_port), SYN_ACK, &payload)),
        };
        prop_assert_eq!(back.dst, inside);
        prop_assert_eq!(back.dst_port, src);
        // And of what errors quote.
        if kind < 3 {
            let why = Message::DestinationUnreachable(Unreachable::Host);
            let error = net::link(R2).ipv4(R2, WAN_IP).icmpv4(&why, &sent.bytes[..sent.bytes.len().min(60)]);
            let error = net.one(WAN, &error);
            let original = &packet_of(&frame)[..sent.bytes.len().min(60)];
            // The TTL went down on the way, and the header checksum with it.
            let mut expected = original.to_vec();
            ipv4::ViewMut::parse_quoted(&mut expected).expect("a packet").set_ttl(63);
            prop_assert_eq!(&error.payload, &expected);
        }
    }
}

#[test]
fn n30_one_outside_port_for_all_destinations() {
    each(nat(), |net| {
        let first = net.one(LAN, &udp((A, 5000), (R, 53), b"x")).ends().0;
        assert_eq!(net.one(LAN, &udp((A, 5000), (R2, 53), b"x")).ends().0, first);
        assert_eq!(net.one(LAN, &udp((A, 5000), (R2, 54), b"x")).ends().0, first);
        assert_ne!(net.one(LAN, &udp((A, 5001), (R, 53), b"x")).ends().0, first);
        let (x, y) = (net.one(LAN, &ping(A, R, 9)), net.one(LAN, &ping(A, R2, 9)));
        assert_eq!(x.src_port, y.src_port, "RFC 5508 REQ-1");
    });
}

#[test]
fn n31_filtering_is_selectable() {
    use conntrack::Filtering::*;
    for (filtering, other_port, other_host) in [
        (EndpointIndependent, true, true),
        (AddressDependent, true, false),
        (AddressAndPortDependent, false, false),
    ] {
        let mut config = nat();
        config.tuning.filtering = filtering;
        each(config, |net| {
            let outside = net.one(LAN, &udp((A, 5000), (R, 53), b"x")).ends().0;
            assert_eq!(net.send(WAN, &udp((R, 99), outside, b"x")).len(), usize::from(other_port));
            assert_eq!(net.send(WAN, &udp((R2, 53), outside, b"x")).len(), usize::from(other_host));
            if other_host {
                assert_eq!(net.one(LAN, &udp((A, 5000), (R2, 53), b"x")).ends().0, outside);
            }
        });
    }
}

#[test]
fn n37_exhaustion_is_told_counted_and_harms_nobody() {
    let mut net = Net::new(nat(), 1);
    let first = net.one(LAN, &udp((A, 5000), (R, 53), b"x"));
    let host = |i: u32| (Ipv4Addr::from(0x0a01_0000 + 2 + i / 60_000), (2000 + i % 60_000) as u16);
    let mut i = 10_000;
    let error = loop {
        let (addr, port) = host(i);
        let sent = net.send(LAN, &build::ethernet(mac(2), mac(0xf1)).ipv4(addr, R).udp(port, 53, b"x"));
        if sent[0].icmp.is_some() {
            break sent[0].clone();
        }
        i += 1;
    };
    assert_eq!(error.icmp.map(|i| (i.0, i.1)), Some((3, 1)), "RFC 6888 REQ-11");
    assert_eq!(
        (net.drops(), &net.events[..]),
        (vec![(Drop::NatPortsExhausted, 1)], &[RouterEvent::PortsExhausted][..])
    );
    assert_eq!(net.one(WAN, &udp((R, 53), first.ends().0, b"x")).dst, A);
    assert_eq!(net.one(LAN, &udp((A, 5000), (R, 53), b"x")).src_port, first.src_port);
}

#[test]
fn n42_no_forged_packet_reaches_the_inside() {
    each(nat(), |net| {
        let outside = opened(net, (A, 5000), (R, 80));
        // Another sender, another port, the inside address itself, the router as source.
        net.none(WAN, &segment((R2, 80), outside, SYN_ACK, b""), Drop::NatNoBinding);
        net.none(WAN, &segment((R, 80), (A, 5000), SYN_ACK, b""), Drop::NatNoBinding);
        net.none(WAN, &link(R).ipv4(WAN_IP, WAN_IP).udp(outside.1, outside.1, b"x"), Drop::MartianSource);
        net.none(WAN, &udp((R, 80), (A, 80), b"x"), Drop::NatNoBinding);
        // A port of the router itself is answered by it, whatever the inside uses.
        let sent = net.one(WAN, &udp((R, 80), (WAN_IP, outside.1), b"x"));
        assert_eq!((sent.port, sent.icmp.map(|i| (i.0, i.1))), (WAN, Some((3, 3))));
    });
}

#[test]
fn n45_hairpin_shows_the_outside_address_and_port() {
    each(one_to_one_less(), |net| {
        // Port forward from inside, also from the server itself.
        for src in [(B, 6000), (C, 6000), (A, 6000)] {
            let there = net.one(LAN, &segment(src, (WAN_IP, 8080), SYN, b""));
            assert_eq!((there.src, there.dst, there.dst_port), (WAN_IP, A, 80), "{src:?}");
            assert_ne!(there.src_port, 0);
            let back = net.one(LAN, &segment((A, 80), (WAN_IP, there.src_port), SYN_ACK, b""));
            assert_eq!(back.ends(), ((WAN_IP, 8080), src));
            let data = net.one(LAN, &segment(src, (WAN_IP, 8080), ACK, b"data"));
            assert_eq!(data.ends(), there.ends());
        }
        // Dynamic to dynamic: B has spoken to the outside endpoint of A, so that A may speak to B.
        let a = net.one(LAN, &udp((A, 7000), (R, 1), b"x")).ends().0;
        let b = net.one(LAN, &udp((B, 7000), (R, 1), b"x")).ends().0;
        net.send(LAN, &udp((B, 7000), a, b"opens the filter"));
        let there = net.one(LAN, &udp((A, 7000), b, b"hello"));
        assert_eq!((there.ends(), there.dst_mac), ((a, (B, 7000)), mac(3)));
        let back = net.one(LAN, &udp((B, 7000), a, b"hello"));
        assert_eq!(back.ends(), (b, (A, 7000)));
    });
}

fn one_to_one_less() -> RouterConfig {
    nat()
}

#[test]
fn n45_n46_one_to_one_hairpin_and_to_self_without_a_loop() {
    each(one_to_one(), |net| {
        let there = net.one(LAN, &udp((A, 1), (B_OUT, 2), b"x"));
        assert_eq!((there.ends(), there.ttl), (((A_OUT, 1), (B, 2)), 63));
        assert_eq!(net.one(LAN, &udp((B, 2), (A_OUT, 1), b"x")).ends(), ((B_OUT, 2), (A, 1)));
        assert_eq!(net.one(LAN, &udp((A, 1), (A_OUT, 2), b"x")).ends(), ((A_OUT, 1), (A, 2)));
        let dynamic = net.one(LAN, &udp((C, 1), (B_OUT, 2), b"x"));
        assert_eq!((dynamic.src, dynamic.dst), (WAN_IP, B), "N49");
        assert_eq!(net.one(LAN, &udp((B, 2), (WAN_IP, dynamic.src_port), b"x")).ends(), ((B_OUT, 2), (C, 1)));
    });
}

#[test]
fn n47_hairpin_fragments_in_and_out_of_order() {
    each(nat(), |net| {
        let payload: Vec<u8> = (0..3000).map(|i| (i * 3) as u8).collect();
        let frame = udp((B, 6000), (WAN_IP, 5353), &payload);
        for (id, order) in [[0, 1, 2], [2, 1, 0], [1, 0, 2]].iter().enumerate() {
            let pieces = cut(&frame, id as u16, &[1000, 2000]);
            let sent: Vec<Sent> = order.iter().flat_map(|i| net.send(LAN, &pieces[*i])).collect();
            let whole = reassemble(&sent);
            assert_eq!((whole.src, whole.dst, whole.dst_port, &whole.payload), (WAN_IP, A, 53, &payload));
        }
    });
}

fn error_about(bytes: &[u8], from: Ipv4Addr, to: Ipv4Addr, why: Unreachable) -> Vec<u8> {
    link(from).ipv4(from, to).icmpv4(&Message::DestinationUnreachable(why), bytes)
}

#[test]
fn n48_hairpin_icmp_errors() {
    each(nat(), |net| {
        let there = net.one(LAN, &udp((B, 6000), (WAN_IP, 5353), b"x"));
        let error = net.one(LAN, &error_about(&there.bytes, A, WAN_IP, Unreachable::Port));
        assert_eq!((error.src, error.dst), (WAN_IP, B));
        assert_eq!((error.quoted().src(), error.quoted().dst()), (B, WAN_IP));
        assert_eq!(error.quoted_ports(), (6000, 5353));
    });
}

#[test]
fn n50_errors_from_outside_and_from_inside_are_about_what_their_receiver_sent() {
    each(nat(), |net| {
        // From outside, by a router on the way, about what A sent.
        for frame in [segment((A, 5000), (R, 80), SYN, b""), udp((A, 5000), (R, 53), b"odd"), ping(A, R, 4)] {
            let sent = net.one(LAN, &frame);
            for message in [
                Message::DestinationUnreachable(Unreachable::Network),
                Message::DestinationUnreachable(Unreachable::Port),
                Message::TimeExceeded { code: 0 },
                Message::ParameterProblem { pointer: 1 },
            ] {
                let error = net.one(WAN, &link(R2).ipv4(R2, WAN_IP).icmpv4(&message, &sent.bytes));
                assert_eq!((error.src, error.dst, error.port), (R2, A, LAN), "N56: the real hop");
                assert_eq!((error.quoted().src(), error.quoted().dst()), (A, R));
                assert!(error.quoted().verify_checksum());
                assert_eq!(
                    error.quoted().payload(),
                    &packet_of(&frame)[20..],
                    "ports and checksum as A sent them"
                );
                let kind = error.icmp.map(|i| (i.0, i.1));
                assert_ne!(kind, None, "type and code stay");
            }
        }
        // From inside, by the server and by a router before it, about what R sent.
        let sent = net.one(WAN, &segment((R, 1234), (WAN_IP, 8080), SYN, b""));
        for from in [A, B] {
            let error = net.one(LAN, &error_about(&sent.bytes, from, R, Unreachable::Host));
            assert_eq!((error.src, error.dst, error.port), (WAN_IP, R, WAN), "RFC 5508 REQ-5");
            assert_eq!((error.quoted().src(), error.quoted().dst()), (R, WAN_IP));
            assert_eq!(error.quoted_ports(), (1234, 8080));
        }
    });
}

#[test]
fn n51_error_about_a_query() {
    each(nat(), |net| {
        let sent = net.one(LAN, &ping(A, R, 77));
        let error = net.one(WAN, &error_about(&sent.bytes, R2, WAN_IP, Unreachable::Host));
        let quoted = icmpv4::View::parse(error.quoted().payload()).expect("an echo");
        assert_eq!((error.dst, quoted.kind(), quoted.id()), (A, 8, 77));
    });
}

#[test]
fn n52_path_mtu_discovery_works_through_every_kind_of_translation() {
    each(one_to_one(), |net| {
        let big = |src, dst| link(src).ipv4(src, dst).udp(5000, 53, &[1; 1400]);
        let needed = Unreachable::FragmentationNeeded(1300);
        for (src, outside) in [(C, WAN_IP), (A, A_OUT)] {
            let sent = net.one(LAN, &big(src, R));
            assert_eq!(sent.src, outside);
            let error = net.one(WAN, &error_about(&sent.bytes[..548], R2, outside, needed));
            assert_eq!((error.dst, error.icmp), (src, Some((3, 4, [0, 0, 5, 20]))));
            assert_eq!(error.quoted().src(), src);
        }
        let sent = net.one(WAN, &link(R).ipv4(R, WAN_IP).udp(9, 5353, &[1; 1400]));
        let error = net.one(LAN, &error_about(&sent.bytes[..548], A, R, needed));
        assert_eq!((error.dst, error.icmp.map(|i| i.1)), (R, Some(4)));
        assert_eq!(error.quoted_ports(), (9, 5353));
    });
    // The router's own limit, told to both sides by the addresses they know.
    let mut config = nat();
    config.interfaces[0].mtu = 1300;
    each(config, |net| {
        let sent = net.one(WAN, &link(R).ipv4(R, WAN_IP).udp(9, 5353, &[1; 1400]));
        assert_eq!((sent.src, sent.dst, sent.icmp), (WAN_IP, R, Some((3, 4, [0, 0, 5, 20]))));
        assert_eq!((sent.quoted().dst(), sent.quoted_ports()), (WAN_IP, (9, 5353)));
        assert_eq!(net.router.connections(net.now), [], "nothing is remembered of what did not pass");
    });
}

#[test]
fn n53_errors_that_are_broken_short_or_unusual() {
    each(nat(), |net| {
        let sent = net.one(LAN, &segment((A, 5000), (R, 80), SYN, b""));
        let mut bad = error_about(&sent.bytes, R, WAN_IP, Unreachable::Host);
        *bad.last_mut().expect("some") ^= 1;
        net.none(WAN, &bad, Drop::BadIcmp);
        let mut quoted = sent.bytes.clone();
        quoted[10] ^= 1;
        net.none(WAN, &error_about(&quoted, R, WAN_IP, Unreachable::Host), Drop::BadIcmp);
        net.none(WAN, &error_about(&sent.bytes[..19], R, WAN_IP, Unreachable::Host), Drop::BadIcmp);
        let short = net.one(WAN, &error_about(&sent.bytes[..28], R, WAN_IP, Unreachable::Host));
        assert_eq!(
            (short.dst, short.payload.len(), short.quoted_ports().0),
            (A, 28, 5000),
            "eight bytes are enough"
        );
        // Options in the quoted header, and extensions behind it (RFC 4884), which translation leaves alone.
        let options = ipv4::Options::new(&[148, 4, 0, 0]).expect("short");
        let sent = net.one(LAN, &link(A).ipv4(A, R).with_ipv4(|h| h.options = options).udp(5001, 53, b"x"));
        let with_extension = [&sent.bytes[..], &[0; 64], &[0x20, 0, 0, 0]].concat();
        let error = net.one(WAN, &error_about(&with_extension, R, WAN_IP, Unreachable::Host));
        assert_eq!((error.dst, error.quoted_ports().0), (A, 5001));
        assert_eq!(error.payload.len(), with_extension.len());
    });
}

#[test]
fn n54_errors_neither_refresh_nor_end() {
    each(nat(), |net| {
        let sent = net.one(LAN, &udp((A, 5000), (R, 53), b"x"));
        for _ in 0..2 {
            net.secs(149);
            net.one(WAN, &error_about(&sent.bytes, R, WAN_IP, Unreachable::Port));
        }
        assert_eq!(net.router.connections(net.now).len(), 1);
        net.secs(3);
        assert_eq!(net.router.connections(net.now), []);
        net.none(WAN, &error_about(&sent.bytes, R, WAN_IP, Unreachable::Port), Drop::NatErrorUnknown);
    });
}

#[test]
fn n55_errors_nobody_asked_for_are_dropped_silently() {
    each(nat(), |net| {
        let stranger = udp((WAN_IP, 5555), (R, 53), b"x");
        net.none(
            WAN,
            &error_about(packet_of(&stranger), R, WAN_IP, Unreachable::Port),
            Drop::NatErrorUnknown,
        );
        let inside = udp((R, 5), (A, 6), b"x");
        net.none(LAN, &error_about(packet_of(&inside), A, R, Unreachable::Port), Drop::NatErrorUnknown);
        net.none(
            WAN,
            &error_about(packet_of(&udp((A, 6), (R, 5), b"x")), R, A, Unreachable::Port),
            Drop::NatNoBinding,
        );
    });
}

/// Fragments of one datagram in some order; what comes out of the router for them.
fn fragments(net: &mut Net, id: u16, places: &[usize], order: &[usize]) -> Vec<Sent> {
    let payload: Vec<u8> = (0..2000).map(|i| (i * 7) as u8).collect();
    let pieces = cut(&udp((A, 5000), (R, 53), &payload), id, places);
    order.iter().flat_map(|i| net.send(LAN, &pieces[*i])).collect()
}

#[test]
fn n60_n61_n62_n65_n66_n70_fragments_in_any_order_on_any_worker() {
    each(nat(), |net| {
        let payload: Vec<u8> = (0..2000).map(|i| (i * 7) as u8).collect();
        let orders: [&[usize]; 5] =
            [&[0, 1, 2, 3], &[3, 2, 1, 0], &[2, 0, 3, 1], &[1, 2, 3, 0], &[3, 0, 2, 1]];
        for (id, order) in orders.iter().enumerate() {
            // The first has only eight bytes, the last sixteen.
            let sent = fragments(net, id as u16, &[8, 800, 1992], order);
            assert_eq!(sent.len(), 4);
            assert_eq!(reassemble(&sent).payload, payload);
            assert!(sent.iter().all(|s| s.src == WAN_IP), "{order:?}");
        }
        assert_eq!(net.drops(), []);
    });
    // A last piece of one byte.
    each(nat(), |net| {
        let pieces = cut(&udp((A, 5000), (R, 53), &[9; 993]), 7, &[1000]);
        assert_eq!(packet_of(&pieces[1]).len(), 21);
        let sent: Vec<Sent> = [1, 0].iter().flat_map(|i| net.send(LAN, &pieces[*i])).collect();
        assert_eq!(reassemble(&sent).payload, [9; 993]);
    });
}

#[test]
fn n63_duplicates_are_dropped_the_packet_arrives() {
    each(nat(), |net| {
        let sent = fragments(net, 1, &[800, 1600], &[1, 1, 0, 0, 2]);
        assert_eq!(reassemble(&sent).payload.len(), 2000);
        assert_eq!(net.drops(), [(Drop::BadFragments, 2)]);
    });
}

#[test]
fn n64_overlaps_condemn_the_packet() {
    each(nat(), |net| {
        let frame = udp((A, 5000), (R, 53), &[1; 2000]);
        let view = ipv4::View::parse(packet_of(&frame)).expect("a packet");
        let send = |net: &mut Net, start, end, more| {
            let bytes = piece(&view, 5, start, end, more);
            net.send(LAN, &[&frame[..14], &bytes].concat())
        };
        assert_eq!(send(net, 800, 1600, true), []);
        assert_eq!(send(net, 792, 1200, true), [], "overlaps the one that waits");
        assert_eq!(send(net, 0, 800, true), [], "nothing of it passes any more");
        assert_eq!(net.drops().iter().map(|(why, _)| *why).collect::<Vec<_>>(), [Drop::BadFragments]);
    });
}

#[test]
fn n65_tiny_tcp_fragments_cannot_hide_flags() {
    each(nat(), |net| {
        let pieces = cut(&segment((A, 5000), (R, 80), SYN, &[0; 64]), 5, &[8]);
        net.none(LAN, &pieces[0], Drop::BadTransport);
        net.none(LAN, &pieces[1], Drop::BadFragments);
    });
}

#[test]
fn n67_longer_than_a_packet_can_be() {
    each(nat(), |net| {
        let frame = udp((A, 5000), (R, 53), &[1; 1000]);
        let view = ipv4::View::parse(packet_of(&frame)).expect("a packet");
        let header = ipv4::Header {
            dont_fragment: false,
            fragment_offset: 8191,
            payload_len: 100,
            ..ipv4::Header::from_view(&view)
        };
        let mut bytes = vec![0; 20];
        header.emit(&mut bytes).expect("room");
        net.none(LAN, &[&frame[..14], &bytes, &[0; 100]].concat(), Drop::BadFragments);
        // Not a multiple of eight although more follow.
        net.none(LAN, &[&frame[..14], &piece(&view, 9, 0, 100, true)].concat(), Drop::BadFragments);
    });
}

#[test]
fn n68_n69_what_never_comes_together_is_forgotten_and_bounded() {
    each(nat(), |net| {
        for id in 0..300 {
            let pieces = cut(&udp((A, 5000), (R, 53), &[1; 1000]), id, &[800]);
            assert_eq!(net.send(LAN, &pieces[1]), []);
        }
        let refused: u64 = net.drops().iter().map(|(_, n)| n).sum();
        assert!(net.router.counters().dropped(Drop::BadFragments) == refused);
        // Whole packets and other hosts are not harmed.
        assert_eq!(net.one(LAN, &udp((A, 5000), (R, 53), b"x")).src, WAN_IP);
        let pieces = cut(&udp((B, 5000), (R, 53), &[1; 1000]), 1, &[800]);
        assert_eq!(pieces.iter().map(|p| net.send(LAN, p).len()).sum::<usize>(), 2);
        net.secs(16);
        assert_eq!(net.router.counters().dropped(Drop::BadFragments), 300, "each has been counted");
        let sent = fragments(net, 7, &[800], &[1, 0]);
        assert_eq!(sent.len(), 2, "room again");
    });
}

#[test]
fn n72_rogue_fragments_after_a_whole_set_wait_in_vain() {
    each(nat(), |net| {
        assert_eq!(fragments(net, 3, &[800], &[0, 1]).len(), 2);
        assert_eq!(fragments(net, 3, &[800], &[1]), []);
        net.secs(16);
        assert_eq!(net.drops(), [(Drop::BadFragments, 1)]);
    });
}

#[test]
fn n80_a_whole_tcp_connection() {
    each(nat(), |net| {
        let outside = opened(net, (A, 5000), (R, 80));
        let fin = Flags::FIN.with(ACK);
        let state = |net: &mut Net| net.router.connections(net.now)[0].state;
        net.one(WAN, &segment((R, 80), outside, SYN_ACK, b""));
        net.one(LAN, &segment((A, 5000), (R, 80), ACK, b"request"));
        assert_eq!(state(net), "established");
        net.secs(7000);
        net.one(WAN, &segment((R, 80), outside, ACK, b"late answer"));
        net.one(WAN, &segment((R, 80), outside, fin, b""));
        assert_eq!(state(net), "half-closed");
        net.one(LAN, &segment((A, 5000), (R, 80), fin, b""));
        assert_eq!(state(net), "closed");
        net.one(WAN, &segment((R, 80), outside, ACK, b""));
        net.secs(242);
        assert_eq!(net.router.connections(net.now), []);
        assert_eq!(net.drops(), []);
    });
}

#[test]
fn n82_simultaneous_open() {
    each(nat(), |net| {
        let outside = opened(net, (A, 5000), (R, 80));
        assert_eq!(net.one(WAN, &segment((R, 80), outside, SYN, b"")).dst, A);
        net.one(LAN, &segment((A, 5000), (R, 80), SYN_ACK, b""));
        assert_eq!(net.router.connections(net.now)[0].state, "established");
    });
}

#[test]
fn n83_an_unsolicited_syn_is_answered_after_six_seconds_or_not_at_all() {
    each(nat(), |net| {
        net.none(WAN, &segment((R, 80), (WAN_IP, 3000), SYN, b""), Drop::NoListener);
        assert_eq!(net.secs(5), []);
        let sent = net.secs(2);
        assert_eq!(
            sent.iter().map(|s| (s.dst, s.icmp.map(|i| (i.0, i.1)))).collect::<Vec<_>>(),
            [(R, Some((3, 3)))]
        );
        assert_eq!(sent[0].quoted_ports(), (80, 3000));
        // The inside opens the same connection from the same outside endpoint meanwhile.
        let outside = net.one(LAN, &segment((A, 5000), (R2, 1), SYN, b"")).ends().0;
        net.send(WAN, &segment((R, 80), outside, SYN, b""));
        net.one(LAN, &segment((A, 5000), (R, 80), SYN, b""));
        assert_eq!(net.secs(10), []);
    });
}

#[test]
fn n95_what_is_shown() {
    each(nat(), |net| {
        let outside = opened(net, (A, 5000), (R, 80));
        net.one(WAN, &segment((R, 9), (WAN_IP, 8080), SYN, b""));
        let mut shown = net.router.connections(net.now);
        shown.sort_by_key(|c| c.inside);
        assert_eq!(
            shown.iter().map(|c| (c.inside, c.outside, c.remote, c.outbound)).collect::<Vec<_>>(),
            [
                (end((A, 80)), end((WAN_IP, 8080)), end((R, 9)), false),
                (end((A, 5000)), end(outside), end((R, 80)), true),
            ]
        );
        let bindings = net.router.bindings();
        assert_eq!(bindings.iter().filter(|b| b.fixed).count(), 2);
        assert!(bindings.iter().any(|b| !b.fixed && b.outside == end(outside) && b.n_connections == 1));
    });
}

#[test]
fn f11_later_fragments_follow_the_first_through_the_firewall() {
    let mut config = nat();
    config.firewall = vec![vrouter::FirewallRule {
        input: Some("lan".into()),
        out: None,
        source: None,
        destination: None,
        protocol: Some(17),
        destination_ports: Some((53, 53)),
        action: vrouter::FirewallAction::Drop,
        ..vrouter::FirewallRule::new(vrouter::FirewallAction::Allow)
    }];
    each(config, |net| {
        assert_eq!(fragments(net, 3, &[800, 1600], &[2, 0, 1]), []);
        assert_eq!(net.drops(), [(Drop::FirewallDenied, 3)]);
        net.one(LAN, &udp((A, 5000), (R, 54), b"x"));
    });
}

#[test]
fn protocols_do_not_share_bindings() {
    each(nat(), |net| {
        let rule = forward(Transport::Tcp, 9000, B, 9);
        let mut config = nat();
        config.nat.push(rule);
        net.configure(config);
        let sent = net.one(WAN, &udp((R, 1), (WAN_IP, 9000), b"x"));
        assert_eq!(sent.icmp.map(|i| (i.0, i.1)), Some((3, 3)), "only TCP is forwarded");
    });
}
