//! Routes that share traffic, belong to VRFs or check sources, and how they change: R05, R16, R17, R19, X04.

mod net;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use net::*;
use packet::vlan::Tag;
use packet::{EtherType, MacAddr, PortNo, VlanId, arp, build};
use vrouter::{ConfigError, Drop, NextHop, RouteConfig, RouteSource, RouteTarget, RouterConfig, SourceCheck};

fn route(to: &str, target: RouteTarget) -> RouteConfig {
    RouteConfig::new(to.parse().expect("a prefix"), target)
}

fn hop(gateway: Ipv4Addr, weight: u16) -> NextHop {
    NextHop { gateway: IpAddr::V4(gateway), interface: None, weight }
}

/// Two ways out, wan and wan2, and hosts behind both.
fn two_ways() -> RouterConfig {
    let mut config = plain();
    config.interfaces.push(interface("wan2", 3, None, "192.0.2.1/24"));
    config.routes =
        vec![route("0.0.0.0/0", RouteTarget::Group(vec![hop(GATEWAY, 1), hop(ip("192.0.2.254"), 1)]))];
    config
}

fn net_of_two_ways(n_workers: usize) -> Net {
    let mut net = Net::new(two_ways(), n_workers);
    net.hosts.insert(ip("192.0.2.254"), (3, None, mac(7)));
    net
}

#[test]
fn r05_strict_and_loose_source_checks() {
    let mut config = plain();
    config.interfaces[0].source_check = SourceCheck::Strict;
    config.interfaces[2].source_check = SourceCheck::Loose;
    config.routes = vec![via("198.51.100.0/24", GATEWAY), route("198.51.100.8/32", RouteTarget::Blackhole)];
    let mut net = Net::new(config, 1);
    net.one(LAN, &udp((A, 1), (R, 2), b"x"));
    net.none(LAN, &link(A).ipv4(ip("10.2.0.9"), R).udp(1, 2, b"x"), Drop::SourceRefused);
    net.none(LAN, &link(A).ipv4(R, ip("198.51.100.9")).udp(1, 2, b"x"), Drop::SourceRefused);
    // Loose: some way back is enough, a blackhole or no route at all is none.
    net.one(WAN, &link(R).ipv4(R, A).udp(1, 2, b"x"));
    net.one(WAN, &link(R).ipv4(ip("10.2.0.9"), A).udp(1, 2, b"x"));
    net.none(WAN, &link(R).ipv4(R2, A).udp(1, 2, b"x"), Drop::SourceRefused);
    net.none(WAN, &link(R).ipv4(ip("9.9.9.9"), A).udp(1, 2, b"x"), Drop::SourceRefused);
    assert_eq!(net.router.counters().icmp_errors, 0, "silently");
}

fn ways(net: &mut Net, n_flows: u16) -> BTreeMap<u16, u32> {
    (0..n_flows).map(|n| (n, net.one(LAN, &udp((A, 1000 + n), (R, 80), b"x")).port)).collect()
}

#[test]
fn r16_flows_are_shared_out_and_stay() {
    for n_workers in [1, 2, 4] {
        let mut net = net_of_two_ways(n_workers);
        let first = ways(&mut net, 200);
        let n_wan = first.values().filter(|port| **port == WAN).count();
        assert!((60..140).contains(&n_wan), "{n_wan} of 200");
        assert_eq!(ways(&mut net, 200), first, "a flow stays where it is");
        // The fragments of one packet go one way.
        let pieces = cut(&udp((A, 4000), (R, 80), &[7; 2000]), 9, &[1480]);
        let ports: Vec<u32> = pieces.iter().map(|piece| net.one(LAN, piece).port).collect();
        assert_eq!(ports[0], ports[1]);
    }
}

#[test]
fn r16_both_directions_of_a_flow_choose_alike() {
    let mut config = two_ways();
    let group = |a, b| RouteTarget::Group(vec![hop(a, 1), hop(b, 1)]);
    config.routes.push(route("10.77.0.0/16", group(GATEWAY, ip("192.0.2.254"))));
    let mut net = Net::new(config, 1);
    net.hosts.insert(ip("192.0.2.254"), (3, None, mac(7)));
    let inside = ip("10.77.0.1");
    for port in 1000..1100 {
        let out = net.one(LAN, &link(A).ipv4(inside, R).udp(port, 80, b"x")).port;
        let back = net.one(LAN, &link(A).ipv4(R, inside).udp(80, port, b"x")).port;
        assert_eq!(out, back, "port {port}");
    }
}

#[test]
fn r16_x04_a_next_hop_goes_down_and_only_its_flows_move() {
    let mut net = net_of_two_ways(2);
    let first = ways(&mut net, 100);
    net.router.set_link(PortNo(3), false);
    let without = ways(&mut net, 100);
    assert!(without.values().all(|port| *port == WAN));
    net.router.set_link(PortNo(3), true);
    assert_eq!(ways(&mut net, 100), first, "and come back");
    net.router.set_next_hop(GATEWAY.into(), false);
    assert!(ways(&mut net, 100).values().all(|port| *port == 3));
}

#[test]
fn r16_weights() {
    let mut config = two_ways();
    config.routes =
        vec![route("0.0.0.0/0", RouteTarget::Group(vec![hop(GATEWAY, 9), hop(ip("192.0.2.254"), 1)]))];
    let mut net = Net::new(config, 1);
    net.hosts.insert(ip("192.0.2.254"), (3, None, mac(7)));
    let n_wan = ways(&mut net, 400).values().filter(|port| **port == WAN).count();
    assert!((330..390).contains(&n_wan), "{n_wan} of 400 with nine tenths of the weight");
    let refused = net.router.set_config(
        net.now,
        RouterConfig { routes: vec![route("0.0.0.0/0", RouteTarget::Group(vec![]))], ..plain() },
    );
    assert_eq!(refused, Err(ConfigError::BadGroup { index: 0, n_hops: 0 }));
}

#[test]
fn r06_metrics_decide_between_routes_to_one_prefix() {
    let mut config = two_ways();
    config.routes = vec![
        RouteConfig { metric: 10, ..via("0.0.0.0/0", GATEWAY) },
        RouteConfig { metric: 5, ..via("0.0.0.0/0", ip("192.0.2.254")) },
        // A connected network wins over any static route.
        via("10.2.0.0/24", GATEWAY),
    ];
    let mut net = Net::new(config.clone(), 1);
    net.hosts.insert(ip("192.0.2.254"), (3, None, mac(7)));
    assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).port, 3);
    assert_eq!(net.one(LAN, &udp((A, 1), (C, 2), b"x")).vlan, Some(20));
    config.routes.remove(1);
    net.configure(config);
    assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).port, WAN);
}

#[test]
fn x04_routes_of_a_protocol_come_and_go_without_a_new_configuration() {
    for n_workers in [1, 2, 4] {
        let mut net = net_of_two_ways(n_workers);
        let to: Vec<_> = (0..100).map(|n| format!("10.{}.0.0/16", 100 + n)).collect();
        let routes: Vec<_> = to.iter().map(|to| via(to, ip("192.0.2.254"))).collect();
        net.router.add_routes(&routes).expect("the gateway is connected");
        net.wait(std::time::Duration::from_millis(1));
        assert_eq!(net.one(LAN, &udp((A, 1), (ip("10.150.3.4"), 2), b"x")).port, 3);
        // What is configured wins over what a protocol says.
        let mut config = two_ways();
        config.routes.push(via("10.150.0.0/16", GATEWAY));
        net.configure(config);
        assert_eq!(net.one(LAN, &udp((A, 1), (ip("10.150.3.4"), 2), b"x")).port, WAN);
        assert_eq!(
            net.one(LAN, &udp((A, 1), (ip("10.151.3.4"), 2), b"x")).port,
            3,
            "kept over configurations"
        );
        let n = net.router.fib().iter().filter(|r| r.source == RouteSource::Protocol).count();
        assert_eq!(n, 100);
        let gone: Vec<_> = to.iter().map(|to| to.parse().expect("a prefix")).collect();
        net.router.remove_routes("", &gone).expect("the VRF is there");
        net.wait(std::time::Duration::from_millis(1));
        assert_eq!(net.one(LAN, &udp((A, 1), (ip("10.151.3.4"), 2), b"x")).dst, ip("10.151.3.4"));
        assert!(net.router.fib().iter().all(|r| r.source != RouteSource::Protocol));
        let bad = net.router.add_routes(&[via("10.0.0.0/8", ip("8.8.8.8"))]);
        assert!(matches!(bad, Err(ConfigError::GatewayUnreachable { index: 0, .. })));
    }
}

/// red on port 1 and blue on VLAN 20 of it have the same addresses; wan is in the VRF without a name.
fn vrfs() -> RouterConfig {
    let mut config = plain();
    config.interfaces[0].vrf = Some("red".into());
    config.interfaces[1] = interface("lan.20", LAN, Some(20), "10.1.0.1/24");
    config.interfaces[1].vrf = Some("blue".into());
    config.routes = vec![via("0.0.0.0/0", GATEWAY)];
    for vrf in ["red", "blue"] {
        let target = RouteTarget::Vrf(String::new());
        config.routes.push(RouteConfig { vrf: Some(vrf.into()), ..route("0.0.0.0/0", target) });
    }
    config
}

fn blue_link() -> build::Link {
    build::ethernet(mac(2), mac(0xf0 + LAN as u8)).vlan(VlanId::new(20).expect("a VLAN"))
}

#[test]
fn r17_overlapping_vrfs_do_not_meet() {
    let mut config = vrfs();
    config.routes.truncate(1);
    let mut net = Net::new(config, 1);
    let sent = net.one(LAN, &udp((A, 1), (LAN_IP, 2), b"x"));
    assert_eq!((sent.vlan, sent.src), (None, LAN_IP), "red answers in red");
    net.hosts.insert(A, (LAN, Some(20), mac(2)));
    let sent = net.one(LAN, &blue_link().ipv4(A, R).udp(1, 2, b"x"));
    assert_eq!((sent.vlan, sent.icmp.map(|i| (i.0, i.1))), (Some(20), Some((3, 0))), "no route in blue");
    assert_eq!(net.one(WAN, &udp((R, 1), (A, 2), b"x")).port, WAN, "by the default route, not to red");
}

#[test]
fn r17_n25_overlapping_inside_networks_share_an_outside() {
    for n_workers in [1, 2, 4] {
        let mut config = vrfs();
        config.nat = vec![masquerade()];
        let mut net = Net::new(config, n_workers);
        net.drops();
        let red = net.one(LAN, &udp((A, 5000), (R, 53), b"red"));
        let blue = net.one(LAN, &blue_link().ipv4(A, R).udp(5000, 53, b"blue"));
        assert_eq!((red.src, blue.src), (WAN_IP, WAN_IP));
        assert_ne!(red.src_port, blue.src_port);
        // The same inside host in both; the answers find the right one. Blue's hosts answer ARP like red's.
        net.hosts.insert(A, (LAN, None, mac(2)));
        let back = net.one(WAN, &udp((R, 53), (WAN_IP, red.src_port), b"red"));
        assert_eq!((back.vlan, back.ends().1), (None, (A, 5000)));
        net.hosts.insert(A, (LAN, Some(20), mac(2)));
        let back = net.one(WAN, &udp((R, 53), (WAN_IP, blue.src_port), b"blue"));
        assert_eq!((back.vlan, back.ends().1), (Some(20), (A, 5000)));
        assert_eq!(net.router.connections(net.now).len(), 2);
    }
}

#[test]
fn r17_an_unknown_vrf_is_refused() {
    let mut config = plain();
    config.routes.push(route("10.9.0.0/16", RouteTarget::Vrf("green".into())));
    let mut net = Net::new(plain(), 1);
    let refused = net.router.set_config(net.now, config);
    assert_eq!(refused, Err(ConfigError::NoVrf { index: 1, name: "green".into() }));
}

#[test]
fn r19_two_tags_of_802_1ad() {
    let mut config = plain();
    let id = |n| Some(VlanId::new(n).expect("a VLAN"));
    config.interfaces[1].vlan = id(100);
    config.interfaces[1].inner_vlan = id(20);
    let mut net = Net::new(config, 1);
    let out = net.raw(WAN, packet::Frame::from_bytes(&udp((R, 1), (C, 2), b"x")));
    let asked: Vec<u8> = out.into_iter().next().expect("ARP").1.to_vec();
    assert_eq!(asked[12..22], [0x88, 0xa8, 0, 100, 0x81, 0, 0, 20, 8, 6]);
    let link = |tag: Tag| {
        build::ethernet(mac(4), mac(0xf0 + LAN as u8)).tag(tag).vlan(VlanId::new(20).expect("a VLAN"))
    };
    let service = Tag::service(VlanId::new(100).expect("a VLAN"));
    let reply = arp::Packet::request(mac(4), C, ip("10.2.0.1"));
    let out = net.raw(LAN, packet::Frame::from_bytes(&link(service).arp(&reply)));
    let mut out = out.into_iter().map(|(_, frame)| frame.to_vec());
    let bytes = out.find(|bytes| bytes[20..22] != [8, 6]).expect("what waited");
    assert_eq!(bytes[12..22], [0x88, 0xa8, 0, 100, 0x81, 0, 0, 20, 8, 0]);
    assert_eq!(MacAddr(bytes[..6].try_into().expect("six bytes")), mac(4));
    // And back, each tag popped; another inner tag is nobody's.
    net.one(LAN, &link(service).ipv4(C, R).udp(1, 2, b"x"));
    let other = Tag { tpid: EtherType::QINQ, ..Tag::new(VlanId::new(101).expect("a VLAN")) };
    net.none(LAN, &link(other).ipv4(C, R).udp(1, 2, b"x"), Drop::NoInterface);
}

#[test]
fn r13_arp_for_somebody_beyond_another_interface() {
    let mut config = plain();
    config.interfaces[0].proxy =
        vec!["10.2.0.0/24".parse().expect("a prefix"), "10.1.0.0/24".parse().expect("a prefix")];
    let mut net = Net::new(config, 1);
    let ask = |target| {
        let ask = packet::arp::Packet::request(mac(2), A, target);
        packet::Frame::from_bytes(&packet::build::ethernet(mac(2), packet::MacAddr::BROADCAST).arp(&ask))
    };
    let out: Vec<_> = net.raw(LAN, ask(C)).into_iter().collect();
    let reply = packet::arp::Packet::parse(&out[0].1.to_vec()[14..]).expect("an answer");
    assert_eq!((reply.sender_ip, reply.sender_mac), (C, mac(0xf0 + LAN as u8)), "RFC 1027");
    assert_eq!(net.raw(LAN, ask(B)).into_iter().count(), 0, "who is on the link answers himself");
    assert_eq!(net.raw(LAN, ask(R)).into_iter().count(), 0, "not among those");
}
