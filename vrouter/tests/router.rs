//! Forwarding, neighbours and ICMP: the R cases.

mod net;

use std::time::Duration;

use net::*;
use packet::{Frame, MacAddr, Outputs, PortNo, VlanId, arp, build, ipv4};
use vrouter::{
    ConfigError, Drop, FirewallAction, FirewallRule, NeighbourConfig, NeighbourState, RouteConfig,
    RouteSource, RouteTarget, RouterEvent,
};

fn unreachable(sent: &Sent) -> Option<u8> {
    sent.icmp.filter(|(kind, ..)| *kind == 3).map(|(_, code, _)| code)
}

#[test]
fn r01_ttl_goes_down_and_ends_in_time_exceeded() {
    let mut net = Net::new(plain(), 1);
    let sent = net.one(LAN, &link(A).ipv4(A, R).ttl(2).udp(1, 2, b"x"));
    assert_eq!((sent.port, sent.ttl, sent.dst_mac), (WAN, 1, mac(5)));
    for ttl in [0, 1] {
        let frame = link(A).ipv4(A, R).ttl(ttl).udp(1, 2, b"x");
        let sent = net.one(LAN, &frame);
        assert_eq!((sent.src, sent.dst, sent.port), (LAN_IP, A, LAN));
        assert_eq!(sent.icmp.map(|i| (i.0, i.1)), Some((11, 0)));
        assert_eq!(sent.payload, packet_of(&frame), "quotes the packet as it came");
    }
    assert_eq!(net.drops(), [(Drop::TtlExpired, 2)]);
}

#[test]
fn r01_icmp_errors_are_rate_limited() {
    let mut config = plain();
    (config.tuning.icmp_rate, config.tuning.icmp_burst) = (10, 5);
    let mut net = Net::new(config, 1);
    let burst = |net: &mut Net| {
        (0..100).filter(|_| !net.send(LAN, &link(A).ipv4(A, R).ttl(1).udp(1, 2, b"x")).is_empty()).count()
    };
    assert_eq!(burst(&mut net), 5);
    net.wait(Duration::from_millis(300));
    assert_eq!(burst(&mut net), 3);
    assert_eq!(net.router.counters().icmp_suppressed, 192);
}

#[test]
fn r02_no_route_and_no_listener() {
    let mut config = plain();
    config.routes.clear();
    let mut net = Net::new(config, 1);
    let sent = net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    assert_eq!((unreachable(&sent), sent.dst), (Some(0), A));
    let sent = net.one(LAN, &udp((A, 1), (LAN_IP, 2), b"x"));
    assert_eq!((unreachable(&sent), sent.src), (Some(3), LAN_IP));
    let sent = net.one(LAN, &link(A).ipv4(A, LAN_IP).payload(packet::IpProtocol(132), &[0; 12]));
    assert_eq!(unreachable(&sent), Some(2));
    assert_eq!(net.drops(), [(Drop::NoRoute, 1), (Drop::NoListener, 1), (Drop::NoProtocol, 1)]);
}

#[test]
fn r02_host_unreachable_after_arp_failed() {
    let mut net = Net::new(plain(), 1);
    let silent = ip("10.2.0.99");
    let frames = [udp((A, 1), (silent, 2), b"first"), udp((A, 1), (silent, 2), b"second")];
    for frame in &frames {
        assert_eq!(net.send(LAN, frame), []);
    }
    assert_eq!(net.router.neighbours(net.now).last().map(|n| n.state), Some(NeighbourState::Pending));
    let sent = net.secs(3);
    assert_eq!(sent.iter().map(unreachable).collect::<Vec<_>>(), [Some(1), Some(1)]);
    assert_eq!(sent[0].quoted().payload()[8..], *b"first");
    let asked = net.arps.iter().filter(|(_, p)| p.target_ip == silent).count();
    assert_eq!(asked, 3, "one request a second, three in all");
    let again = net.one(LAN, &frames[0]);
    assert_eq!(unreachable(&again), Some(1), "at once while it counts as unreachable");
    assert_eq!(net.drops(), [(Drop::NeighbourUnreachable, 3)]);
    net.secs(2);
    net.hosts.insert(silent, (LAN, Some(20), mac(9)));
    assert_eq!(net.one(LAN, &frames[0]).dst_mac, mac(9), "asked again afterwards");
}

#[test]
fn r02_fragmentation_needed_tells_the_mtu() {
    let mut config = plain();
    config.interfaces[2].mtu = 1400;
    let mut net = Net::new(config, 1);
    assert_eq!(net.send(LAN, &udp((A, 1), (R, 2), &[7; 1400 - 28])).len(), 1, "exactly the MTU passes");
    let sent = net.one(LAN, &udp((A, 1), (R, 2), &[7; 1401 - 28]));
    assert_eq!(sent.icmp, Some((3, 4, [0, 0, 5, 120])));
    assert_eq!(sent.bytes.len(), 576, "as much of the packet as fits 576 bytes");
    assert_eq!(net.drops(), [(Drop::TooBig, 1)]);
}

#[test]
fn r03_no_error_about_errors_groups_later_fragments_and_bad_sources() {
    let mut net = Net::new(plain(), 1);
    let inner = udp((A, 1), (R, 2), b"x");
    let about = |why| {
        let why = packet::icmpv4::Message::DestinationUnreachable(why);
        link(A).ipv4(A, R).ttl(1).icmpv4(&why, packet_of(&inner))
    };
    net.none(LAN, &about(packet::icmpv4::Unreachable::Host), Drop::TtlExpired);
    let later = &cut(&link(A).ipv4(A, R).ttl(1).udp(1, 2, &[0; 64]), 5, &[16])[1];
    net.none(LAN, later, Drop::TtlExpired);
    net.none(LAN, &udp((A, 1), (ip("224.0.0.5"), 2), b"x"), Drop::Multicast);
    net.none(LAN, &udp((A, 1), (ip("255.255.255.255"), 2), b"x"), Drop::Multicast);
    let broadcast = build::ethernet(mac(2), MacAddr::BROADCAST).ipv4(A, R).ttl(1).udp(1, 2, b"x");
    net.none(LAN, &broadcast, Drop::LinkBroadcast);
    net.none(LAN, &link(A).ipv4(ip("0.0.0.0"), R).ttl(1).udp(1, 2, b"x"), Drop::MartianSource);
    assert_eq!(net.router.counters().icmp_errors, 0);
}

#[test]
fn r04_martians_are_dropped_silently() {
    let mut net = Net::new(plain(), 1);
    for src in [
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "10.1.0.1",
        "203.0.113.1",
        "10.1.0.255",
    ] {
        net.none(LAN, &link(A).ipv4(ip(src), R).udp(1, 2, b"x"), Drop::MartianSource);
    }
    for dst in ["0.1.2.3", "127.0.0.1", "240.0.0.1"] {
        net.none(LAN, &udp((A, 1), (ip(dst), 2), b"x"), Drop::MartianDestination);
    }
    // Directed broadcast, RFC 2644.
    net.none(LAN, &udp((A, 1), (ip("10.2.0.255"), 2), b"x"), Drop::MartianDestination);
}

#[test]
fn r06_longest_prefix_wins_connected_over_static() {
    let mut config = plain();
    let other = ip("203.0.113.9");
    config.interfaces.push(interface("p2p", 3, None, "192.0.2.0/31"));
    config.routes = vec![
        via("0.0.0.0/0", GATEWAY),
        via("198.51.0.0/16", other),
        via("198.51.100.8/32", GATEWAY),
        via("10.2.0.0/24", GATEWAY),
        RouteConfig { metric: 5, ..via("172.16.0.0/12", GATEWAY) },
        RouteConfig { metric: 1, ..via("172.16.0.0/12", other) },
    ];
    let mut net = Net::new(config, 1);
    net.hosts.insert(other, (WAN, None, mac(9)));
    net.hosts.insert(ip("192.0.2.1"), (3, None, mac(10)));
    for (dst, port, next) in [
        (R, WAN, mac(9)),
        (R2, WAN, mac(5)),
        (ip("8.8.8.8"), WAN, mac(5)),
        (C, LAN, mac(4)),
        (ip("172.31.0.1"), WAN, mac(9)),
        (ip("192.0.2.1"), 3, mac(10)),
    ] {
        let sent = net.one(LAN, &udp((A, 1), (dst, 2), b"x"));
        assert_eq!((sent.port, sent.dst_mac), (port, next), "{dst}");
    }
    let connected = net.router.fib().iter().filter(|r| r.source == RouteSource::Connected).count();
    assert_eq!(connected, 4);
}

#[test]
fn r07_blackhole_unreachable_prohibit() {
    let mut config = plain();
    let route = |to: &str, target| RouteConfig::new(to.parse().expect("a prefix"), target);
    config.routes.extend([
        route("192.0.2.0/26", RouteTarget::Blackhole),
        route("192.0.2.64/26", RouteTarget::Unreachable),
        route("192.0.2.128/26", RouteTarget::Prohibit),
    ]);
    let mut net = Net::new(config, 1);
    net.none(LAN, &udp((A, 1), (ip("192.0.2.1"), 2), b"x"), Drop::Blackhole);
    assert_eq!(unreachable(&net.one(LAN, &udp((A, 1), (ip("192.0.2.65"), 2), b"x"))), Some(1));
    assert_eq!(unreachable(&net.one(LAN, &udp((A, 1), (ip("192.0.2.129"), 2), b"x"))), Some(13));
    assert_eq!(net.drops(), [(Drop::Unreachable, 1), (Drop::Prohibited, 1)]);
}

#[test]
fn r08_too_long_without_df_goes_out_in_fragments() {
    let mut config = plain();
    config.interfaces[2].mtu = 1000;
    let mut net = Net::new(config, 1);
    for len in [973, 1400, 4000, 20_001] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let frame = link(A)
            .ipv4(A, R)
            .with_ipv4(|h| (h.dont_fragment, h.identification) = (false, 77))
            .udp(1, 2, &payload);
        let sent = net.send(LAN, &frame);
        assert!(sent.len() > 1 && sent.iter().all(|s| s.bytes.len() <= 1000), "{len}");
        assert_eq!(reassemble(&sent).payload, payload);
    }
}

#[test]
fn r08_a_fragment_is_fragmented_again_and_options_are_copied_as_they_say() {
    let mut config = plain();
    config.interfaces[2].mtu = 576;
    let mut net = Net::new(config, 1);
    // Router alert is copied (148), a timestamp is not (68).
    let options = ipv4::Options::new(&[148, 4, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0]).expect("short");
    let change = |h: &mut ipv4::Header| (h.options, h.dont_fragment, h.identification) = (options, false, 9);
    let frame = link(A).ipv4(A, R).with_ipv4(change).udp(1, 2, &[3; 2000]);
    let mut sent = Vec::new();
    for piece in cut(&frame, 9, &[1200]) {
        sent.extend(net.send(LAN, &piece));
    }
    assert_eq!(reassemble(&sent).payload, [3; 2000]);
    let lens: Vec<usize> =
        sent.iter().map(|s| ipv4::View::parse(&s.bytes).expect("a packet").header_len()).collect();
    assert_eq!((lens[0], lens[1]), (32, 24), "{lens:?}");
}

#[test]
fn r10_r11_options_dscp_ecn_and_identification_stay() {
    let mut net = Net::new(plain(), 1);
    let options = ipv4::Options::new(&[7, 7, 4, 0, 0, 0, 0, 0]).expect("short");
    let change = |h: &mut ipv4::Header| {
        (h.options, h.ecn, h.identification) = (options, 3, 0xbeef);
    };
    let sent = net.one(LAN, &link(A).ipv4(A, R).dscp(46).with_ipv4(change).udp(1, 2, b"x"));
    let view = ipv4::View::parse(&sent.bytes).expect("a packet");
    assert_eq!((view.dscp(), view.ecn(), view.identification()), (46, 3, 0xbeef));
    assert_eq!(view.options(), options.as_bytes());
}

#[test]
fn r12_jumbo_frames() {
    let mut config = plain();
    config.interfaces.iter_mut().for_each(|i| i.mtu = 9000);
    let mut net = Net::new(config, 1);
    let sent = net.one(LAN, &udp((A, 1), (R, 2), &[5; 9000 - 28]));
    assert_eq!(sent.payload, [5; 9000 - 28]);
}

#[test]
fn r13_arp_is_answered_for_own_addresses_only() {
    let mut net = Net::new(plain(), 1);
    let request = |target| build::arp_request(mac(2), A, target);
    let out = net.raw(LAN, Frame::from_bytes(&request(LAN_IP)));
    assert_eq!(arps(&out), [(LAN, arp::Packet::request(mac(2), A, LAN_IP).reply(mac(0xf1)))]);
    for target in [WAN_IP, B, ip("10.1.0.77")] {
        assert!(net.raw(LAN, Frame::from_bytes(&request(target))).is_empty(), "{target}");
    }
    assert_eq!(net.drops(), [(Drop::ArpIgnored, 3)]);
    // The asker is known from its question: no request is needed.
    let sent = net.raw(WAN, Frame::from_bytes(&udp((R, 1), (A, 2), b"x")));
    assert_eq!(sent.len(), 1);
}

fn arps(out: &Outputs) -> Vec<(u32, arp::Packet)> {
    out.iter().map(|(port, f)| (port.0, arp::Packet::parse(&f.head()[14..]).expect("ARP"))).collect()
}

#[test]
fn r13_addresses_are_announced() {
    let net = Net::new(plain(), 2);
    let announced: Vec<_> = net.arps.iter().map(|(port, p)| (*port, p.sender_ip, p.target_ip)).collect();
    let lan20 = ip("10.2.0.1");
    assert_eq!(announced, [(LAN, LAN_IP, LAN_IP), (LAN, lan20, lan20), (WAN, WAN_IP, WAN_IP)]);
}

#[test]
fn r13_the_first_packets_wait_and_the_queue_is_bounded() {
    let mut net = Net::new(plain(), 1);
    net.hosts.remove(&GATEWAY);
    for i in 0..12u8 {
        assert_eq!(net.send(LAN, &udp((A, 1), (R, 2), &[i])), []);
    }
    let reply = build::arp_reply(&arp::Packet::request(mac(0xf2), WAN_IP, GATEWAY), mac(5));
    let sent = net.send(WAN, &reply);
    let order: Vec<u8> = sent.iter().map(|s| s.payload[0]).collect();
    assert_eq!(order, (4..12).collect::<Vec<u8>>(), "the latest eight, in order");
    assert_eq!(net.drops(), [(Drop::NeighbourQueueFull, 4)]);
}

#[test]
fn r13_a_stale_neighbour_is_asked_again_while_it_is_used() {
    let mut net = Net::new(plain(), 1);
    net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    net.arps.clear();
    net.secs(59);
    net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    assert_eq!(net.arps.len(), 0);
    net.secs(2);
    net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    assert_eq!(net.arps.iter().filter(|(_, p)| p.target_ip == GATEWAY).count(), 1);
    net.hosts.remove(&GATEWAY);
    net.secs(61);
    net.one(LAN, &udp((A, 1), (R, 2), b"still sent while asking"));
    net.secs(4);
    assert_eq!(net.send(LAN, &udp((A, 1), (R, 2), b"gone")), []);
}

#[test]
fn r13_a_new_mac_moves_the_traffic() {
    let mut net = Net::new(plain(), 2);
    for _ in 0..2 {
        assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).dst_mac, mac(5));
    }
    let announcement = arp::Packet::request(mac(0x55), GATEWAY, GATEWAY);
    net.send(WAN, &build::ethernet(mac(0x55), MacAddr::BROADCAST).arp(&announcement));
    for _ in 0..4 {
        assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).dst_mac, mac(0x55), "on every worker");
    }
}

#[test]
fn r13_static_over_dynamic_and_duplicates_are_told() {
    let mut config = plain();
    config.neighbours =
        vec![NeighbourConfig { interface: "wan".into(), address: GATEWAY.into(), mac: mac(0x66) }];
    let mut net = Net::new(config, 1);
    assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).dst_mac, mac(0x66));
    let announcement = arp::Packet::request(mac(5), GATEWAY, GATEWAY);
    net.send(WAN, &build::ethernet(mac(5), MacAddr::BROADCAST).arp(&announcement));
    assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).dst_mac, mac(0x66));
    net.drops();
    let thief =
        build::ethernet(mac(9), MacAddr::BROADCAST).arp(&arp::Packet::request(mac(9), WAN_IP, WAN_IP));
    net.none(WAN, &thief, Drop::DuplicateAddress);
    let event =
        RouterEvent::DuplicateAddress { interface: "wan".into(), address: WAN_IP.into(), mac: mac(9) };
    assert_eq!(net.events, [event]);
}

#[test]
fn r13_arp_lies_are_dropped() {
    let mut net = Net::new(plain(), 1);
    let other_sender =
        build::ethernet(mac(9), MacAddr::BROADCAST).arp(&arp::Packet::request(mac(2), A, LAN_IP));
    net.none(LAN, &other_sender, Drop::BadArp);
    let elsewhere = build::arp_request(mac(2), ip("192.0.2.1"), LAN_IP);
    net.none(LAN, &elsewhere, Drop::BadArp);
    net.none(LAN, &build::arp_request(mac(2), A, LAN_IP)[..40], Drop::BadArp);
}

#[test]
fn r15_the_neighbour_table_is_bounded() {
    let mut config = plain();
    config.tuning.n_neighbours = 4;
    let mut net = Net::new(config, 1);
    net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    for host in 10..30 {
        net.send(WAN, &udp((R, 1), (ip(&format!("10.1.0.{host}")), 2), b"x"));
    }
    assert_eq!(net.drops(), [(Drop::NeighbourTableFull, 17)]);
    net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    net.secs(5);
    assert_eq!(net.one(WAN, &udp((R, 1), (B, 2), b"x")).dst_mac, mac(3), "room again when scans have failed");
}

#[test]
fn r19_between_vlans_of_one_port() {
    let mut net = Net::new(plain(), 2);
    let sent = net.one(LAN, &udp((A, 1), (C, 2), b"x"));
    assert_eq!((sent.port, sent.vlan, sent.dst_mac, sent.ttl), (LAN, Some(20), mac(4), 63));
    let sent = net.one(LAN, &udp((C, 2), (A, 1), b"x"));
    assert_eq!((sent.port, sent.vlan, sent.dst_mac), (LAN, None, mac(2)));
    let priority = build::ethernet(mac(2), mac(0xf1)).tag(packet::vlan::Tag {
        tpid: packet::EtherType::VLAN,
        tci: packet::vlan::Tci::new(None, 5, false),
    });
    assert_eq!(net.send(LAN, &priority.ipv4(A, C).udp(1, 2, b"x")).len(), 1, "VLAN 0 is only a priority");
    let vlan = |id| VlanId::new(id).expect("a VLAN");
    net.none(
        LAN,
        &build::ethernet(mac(2), mac(0xf1)).vlan(vlan(30)).ipv4(A, R).udp(1, 2, b"x"),
        Drop::NoInterface,
    );
    let two = build::ethernet(mac(2), mac(0xf1)).vlan(vlan(20)).vlan(vlan(20));
    net.none(LAN, &two.ipv4(C, R).udp(1, 2, b"x"), Drop::NoInterface);
    net.none(9, &udp((A, 1), (R, 2), b"x"), Drop::NoInterface);
}

#[test]
fn r22_every_bad_frame_has_its_reason() {
    let mut net = Net::new(plain(), 1);
    let good = udp((A, 1), (R, 2), b"payload");
    net.none(LAN, &good[..10], Drop::BadEthernet);
    net.none(LAN, &good[..30], Drop::BadIpv4);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    net.none(LAN, &with(14, 0x55), Drop::BadIpv4);
    net.none(LAN, &with(14, 0x44), Drop::BadIpv4);
    net.none(LAN, &with(16, 0x7f), Drop::BadIpv4);
    net.none(LAN, &with(24, 1), Drop::BadIpv4Checksum);
    net.none(LAN, &with(5, 0x99), Drop::NotForUs);
    net.none(LAN, &with(12, 0x12), Drop::UnknownEthertype);
    let ten =
        (0..10).fold(build::ethernet(mac(2), mac(0xf1)), |l, _| l.vlan(VlanId::new(2).expect("a VLAN")));
    net.none(LAN, &ten.ipv4(A, R).udp(1, 2, b"x"), Drop::NoInterface);
    let mut frame = Frame::from_bytes(&good);
    frame.meta.hops = packet::MAX_HOPS;
    assert_eq!(net.frame(LAN, frame), []);
    assert_eq!(net.drops(), [(Drop::HopLimit, 1)]);
}

#[test]
fn echo_to_own_addresses_whole_and_in_fragments() {
    let mut net = Net::new(plain(), 2);
    for own in [LAN_IP, WAN_IP] {
        let sent = net.one(LAN, &ping(A, own, 7));
        assert_eq!((sent.src, sent.dst, sent.icmp.map(|i| i.0), sent.ttl), (own, A, Some(0), 64));
    }
    let data: Vec<u8> = (0..4000).map(|i| i as u8).collect();
    let big = link(A).ipv4(A, LAN_IP).echo_request(7, 1, &data);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let pieces = cut(&big, 0x100 + order[0] as u16, &[1480, 2960]);
        let sent: Vec<Sent> = order.iter().flat_map(|i| net.send(LAN, &pieces[*i])).collect();
        let whole = reassemble(&sent);
        assert_eq!((whole.icmp.map(|i| i.0), &whole.payload), (Some(0), &data));
    }
    let mut bad = ping(A, LAN_IP, 7);
    *bad.last_mut().expect("some") ^= 1;
    net.none(LAN, &bad, Drop::BadIcmp);
    net.none(LAN, &pong(A, LAN_IP, 7), Drop::IcmpIgnored);
}

#[test]
fn tcp_to_own_addresses_is_reset() {
    let mut net = Net::new(plain(), 1);
    let sent = net.one(LAN, &segment((A, 1), (LAN_IP, 80), SYN, b""));
    let tcp = packet::tcp::View::parse(&sent.bytes[20..]).expect("TCP");
    assert_eq!((tcp.flags(), tcp.seq(), tcp.ack()), (packet::tcp::Flags::RST.with(ACK), 0, 1001));
    let sent = net.one(LAN, &segment((A, 1), (LAN_IP, 80), ACK, b"data"));
    let tcp = packet::tcp::View::parse(&sent.bytes[20..]).expect("TCP");
    assert_eq!((tcp.flags(), tcp.seq()), (packet::tcp::Flags::RST, 2000));
    net.none(LAN, &segment((A, 1), (LAN_IP, 80), packet::tcp::Flags::RST, b""), Drop::NoListener);
}

#[test]
fn super_frames_pass_whole_and_partial_checksums_stay_partial() {
    use packet::{CsumPartial, Gso, GsoKind};
    for config in [plain(), nat()] {
        let mut net = Net::new(config, 1);
        net.one(LAN, &segment((A, 5000), (R, 80), SYN, b""));
        let payload: Vec<u8> = (0..60_000u32).map(|i| (i * 7) as u8).collect();
        let mut bytes = segment((A, 5000), (R, 80), ACK, &payload);
        let pseudo =
            packet::checksum::pseudo_v4(A, R, packet::IpProtocol::TCP, (bytes.len() - 34) as u16).fold();
        bytes[50..52].copy_from_slice(&pseudo.to_be_bytes());
        let mut frame = Frame::from_bytes(&bytes);
        frame.meta.csum = Some(CsumPartial { start: 34, offset: 16 });
        frame.meta.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1460, ecn: false });
        let out = net.raw(LAN, frame);
        assert_eq!(out.len(), 1, "whole");
        let meta = out.iter().next().expect("it is sent").1.meta;
        assert_eq!((meta.csum.map(|c| c.start), meta.gso.map(|g| g.size)), (Some(34), Some(1460)));
        let mut segments = Vec::new();
        let (_, frame) = out.into_iter().next().expect("one");
        packet::offload::segment(frame, &mut Default::default(), &mut segments).expect("right offloads");
        let read: Vec<Sent> = segments.iter().map(|f| read(WAN, &f.to_vec())).collect();
        assert_eq!(read.iter().flat_map(|s| s.payload.clone()).collect::<Vec<u8>>(), payload);
    }
}

#[test]
fn super_frames_are_held_against_the_mtu_by_their_segments() {
    use packet::{Gso, GsoKind};
    let mut config = plain();
    config.interfaces[2].mtu = 1400;
    let mut net = Net::new(config, 1);
    let with = |size| {
        let mut frame = Frame::from_bytes(&segment((A, 5000), (R, 80), ACK, &[1; 5000]));
        frame.meta.gso = Some(Gso { kind: GsoKind::Tcp4, size, ecn: false });
        frame
    };
    assert_eq!(net.frame(LAN, with(1360)).len(), 4);
    let sent = net.frame(LAN, with(1361));
    assert_eq!(sent.iter().map(|s| s.icmp).collect::<Vec<_>>(), [Some((3, 4, [0, 0, 5, 120]))]);
}

#[test]
fn firewall_rules_judge_the_first_packet_and_let_replies_pass() {
    let any = FirewallRule {
        input: None,
        out: None,
        source: None,
        destination: None,
        protocol: None,
        destination_ports: None,
        action: FirewallAction::Drop,
        ..FirewallRule::new(FirewallAction::Allow)
    };
    let mut config = plain();
    config.firewall = vec![
        FirewallRule {
            input: Some("lan".into()),
            protocol: Some(17),
            destination_ports: Some((50, 60)),
            action: FirewallAction::Allow,
            ..any.clone()
        },
        FirewallRule {
            input: Some("lan".into()),
            protocol: Some(6),
            action: FirewallAction::Reject,
            ..any.clone()
        },
        any,
    ];
    for n in [1, 2, 4] {
        let mut net = Net::new(config.clone(), n);
        net.none(WAN, &udp((R, 53), (A, 1000), b"x"), Drop::FirewallDenied);
        net.one(LAN, &udp((A, 1000), (R, 53), b"x"));
        net.one(WAN, &udp((R, 53), (A, 1000), b"x"));
        net.none(WAN, &udp((R, 54), (A, 1000), b"x"), Drop::FirewallDenied);
        net.none(LAN, &udp((A, 1000), (R, 61), b"x"), Drop::FirewallDenied);
        let refused = net.one(LAN, &segment((A, 1), (R, 80), SYN, b""));
        assert_eq!(refused.ends(), ((R, 80), (A, 1)), "a reset");
    }
}

#[test]
fn wrong_configurations_name_the_field() {
    let refused = |change: &dyn Fn(&mut vrouter::RouterConfig)| {
        let mut config = nat();
        change(&mut config);
        let mut router = vrouter::Router::new(vrouter::Options::new(1, [0, 0]));
        router.set_config(packet::Instant::ZERO, config).expect_err("refused").to_string()
    };
    let text = refused(&|c| c.interfaces[1].name = "lan".into());
    assert_eq!(text, "interfaces[1].name: \"lan\" is used twice");
    assert!(refused(&|c| c.interfaces[1].vlan = None).starts_with("interfaces[1]: port 1"));
    assert!(refused(&|c| c.interfaces[0].mac = MacAddr::BROADCAST).starts_with("interfaces[0].mac"));
    assert!(refused(&|c| c.interfaces[0].mtu = 60).starts_with("interfaces[0].mtu"));
    assert!(refused(&|c| c.interfaces[0].addresses[0].0 = ip("10.1.0.255").into()).contains("10.1.0.255"));
    assert!(refused(&|c| c.interfaces[0].addresses[0].1 = 33).contains("33"));
    assert!(refused(&|c| c.routes = vec![via("10.0.0.0/8", R)]).starts_with("routes[0].via"));
    let text = refused(&|c| {
        c.nat[0] = vrouter::NatRule::Masquerade {
            out: "wam".into(),
            sources: vec![],
            pool: vec![],
            sharing: Default::default(),
            portless: false,
        }
    });
    assert_eq!(text, "nat[0].out: no interface \"wam\"; there are: lan, lan.20, wan");
    assert!(refused(&|c| c.nat.push(c.nat[1].clone())).contains("nat[3]: port 8080"));
    let twice =
        &|c: &mut vrouter::RouterConfig| c.interfaces[2].addresses = c.interfaces[0].addresses.clone();
    assert!(refused(twice).contains("is already on \"lan\""));
    let error = ConfigError::BadMtu { index: 0, mtu: 1, least: 68 };
    assert!(!error.to_string().is_empty());
}

#[test]
fn replacing_the_configuration_keeps_neighbours() {
    let mut net = Net::new(plain(), 2);
    net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    net.arps.clear();
    let mut config = plain();
    config.interfaces.remove(0);
    config.interfaces.push(interface("lan", LAN, None, "10.1.0.1/24"));
    net.configure(config);
    assert_eq!(net.arps.len(), 0, "known addresses are not announced again");
    net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    assert_eq!(net.arps.len(), 0, "the gateway is still known");
    let shown = net.router.neighbours(net.now);
    assert!(shown.iter().any(|n| n.interface == "wan" && n.mac == Some(mac(5))));
}

#[test]
fn trace_tells_the_steps_and_changes_nothing() {
    let mut net = Net::new(nat(), 1);
    let frame = segment((A, 5000), (R, 80), SYN, b"");
    let before = net.router.trace(net.now, PortNo(LAN), &frame).to_string();
    assert!(before.contains("route: 198.51.100.7 via 203.0.113.254 on wan"), "{before}");
    assert!(
        before.contains("gets Dynamic(203.0.113.1, Independent)") && before.ends_with("out: wan\n"),
        "{before}"
    );
    assert_eq!(net.router.connections(net.now), []);
    net.one(LAN, &frame);
    let after = net.router.trace(net.now, PortNo(LAN), &frame).to_string();
    assert!(after.contains("connection: source 10.1.0.2:5000 becomes 203.0.113.1:"), "{after}");
    assert!(after.contains("is at 02:00:00:00:00:05"), "{after}");
    let refused = net.router.trace(net.now, PortNo(WAN), &udp((R, 1), (A, 2), b"x"));
    assert!(refused.to_string().ends_with("drop: nat-no-binding\n"), "{refused}");
    assert_eq!((refused.lost(), refused.sent()), (Some("nat-no-binding"), &[][..]));
    let waits = net.router.trace(net.now, PortNo(LAN), &udp((A, 1), ([203, 0, 113, 77].into(), 2), b"x"));
    assert_eq!((waits.lost(), waits.sent()), (Some("waits for its neighbour"), &[][..]), "{waits}");
    let own = net.router.trace(net.now, PortNo(LAN), &udp((A, 1), ([10, 1, 0, 1].into(), 2), b"x"));
    assert_eq!((own.lost(), own.sent()), (None, &[][..]), "{own}");
}

#[test]
fn trace_sends_what_the_router_sends() {
    let mut config = nat();
    config
        .interfaces
        .iter_mut()
        .filter(|i| i.name == "wan")
        .for_each(|wan| (wan.mtu, wan.clamp_mss) = (600, true));
    let mut net = Net::new(config, 1);
    let long = link(A).ipv4(A, R).with_ipv4(|h| h.dont_fragment = false).udp(5000, 80, &[7; 1200]);
    for (frame, n) in
        [(segment((A, 5000), (R, 80), SYN, b""), 1), (udp((A, 5000), (R, 80), b"x"), 1), (long, 3)]
    {
        // What it does not know yet: the neighbour, and the port outside.
        net.send(LAN, &frame);
        let traced = net.router.trace(net.now, PortNo(LAN), &frame);
        let sent: Vec<Sent> = traced.sent().iter().map(|(port, bytes)| read(port.0, bytes)).collect();
        assert_eq!((sent.len(), &sent), (n, &net.send(LAN, &frame)), "{traced}");
        assert!(sent.iter().all(|one| one.port == WAN && one.src == WAN_IP), "{sent:?}");
    }
}
