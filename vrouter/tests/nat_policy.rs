//! What of translation is a matter of policy: pools, shared ports, limits, reserved ports and one-way forwards.

mod net;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use net::*;
use vrouter::{ConfigError, Drop, Limits, NatRule, RouterConfig, Sharing, Transport};

fn each(config: &RouterConfig, test: impl Fn(&mut Net)) {
    for n_workers in [1, 2, 4] {
        let mut net = Net::new(config.clone(), n_workers);
        net.hosts.extend((2..60).map(|n| (host(n), (LAN, None, mac(n)))));
        test(&mut net);
    }
}

fn pool(addresses: &[&str], sharing: Sharing) -> NatRule {
    let pool = addresses.iter().map(|a| ip(a).into()).collect();
    NatRule::Masquerade { out: "wan".into(), sources: Vec::new(), pool, sharing, portless: false }
}

/// All outside ports but `n` low ones are set aside, so that ports run out quickly.
fn few_ports(n: u16) -> NatRule {
    NatRule::Reserve { interface: "wan".into(), address: WAN_IP.into(), ports: (1024 + n, 65_535) }
}

fn host(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, n)
}

#[test]
fn n06_a_forward_for_connections_from_outside_only() {
    let mut config = nat();
    let to = (A.into(), 80);
    let rule = |inbound_only| NatRule::PortForward {
        input: "wan".into(),
        protocol: Transport::Udp,
        port: 8080,
        to,
        inbound_only,
        vrf: None,
    };
    config.nat[1] = rule(false);
    each(&config, |net| assert_eq!(net.one(LAN, &udp((A, 80), (R, 9), b"x")).src_port, 8080));
    config.nat[1] = rule(true);
    each(&config, |net| {
        assert_ne!(net.one(LAN, &udp((A, 80), (R, 9), b"x")).src_port, 8080, "as any other");
        assert_eq!(net.one(WAN, &udp((R2, 9), (WAN_IP, 8080), b"x")).ends().1, (A, 80));
        assert_eq!(net.one(LAN, &udp((A, 80), (R2, 9), b"x")).src_port, 8080, "an answer");
    });
}

#[test]
fn n15_of_a_pool_each_inside_host_has_one_address() {
    let mut config = plain();
    config.nat =
        vec![pool(&["203.0.113.20", "203.0.113.21", "203.0.113.22", "203.0.113.23"], Sharing::Independent)];
    each(&config, |net| {
        let mut by_host: BTreeMap<Ipv4Addr, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        for n in 2..40 {
            for port in [5000, 5001, 6000] {
                let sent = net.one(LAN, &udp((host(n), port), (R, 53), b"x"));
                let back = net.one(WAN, &udp((R, 53), (sent.src, sent.src_port), b"x"));
                assert_eq!(back.ends().1, (host(n), port));
                by_host.entry(host(n)).or_default().insert(sent.src);
            }
        }
        assert!(by_host.values().all(|outside| outside.len() == 1), "RFC 4787 REQ-2: paired");
        let used: BTreeSet<_> = by_host.values().flatten().collect();
        assert_eq!(used.len(), 4, "the pool is used");
        // The router answers ARP for the pool, and unknown ports of it are its own.
        let ask = packet::arp::Packet::request(mac(5), GATEWAY, ip("203.0.113.20"));
        let out = net.raw(
            WAN,
            packet::Frame::from_bytes(&packet::build::ethernet(mac(5), packet::MacAddr::BROADCAST).arp(&ask)),
        );
        assert_eq!(out.len(), 1);
        net.none(WAN, &segment((R, 1), (ip("203.0.113.20"), 9), ACK, b""), Drop::NoListener);
    });
}

#[test]
fn n16_an_address_leaves_the_pool_and_takes_only_its_own_sessions() {
    let mut config = plain();
    let four = ["203.0.113.20", "203.0.113.21", "203.0.113.22", "203.0.113.23"];
    config.nat = vec![pool(&four, Sharing::Independent)];
    each(&config.clone(), |net| {
        let outside = |net: &mut Net| -> BTreeMap<u8, Ipv4Addr> {
            (2..40).map(|n| (n, net.one(LAN, &udp((host(n), 5000), (R, 53), b"x")).src)).collect()
        };
        let before = outside(net);
        let mut config = config.clone();
        config.nat = vec![pool(&four[..3], Sharing::Independent)];
        net.configure(config);
        let gone = ip(four[3]);
        let n_gone = before.values().filter(|a| **a == gone).count();
        assert_eq!(net.router.connections(net.now).len(), before.len() - n_gone);
        for (n, now) in outside(net) {
            assert!(now == before[&n] || before[&n] == gone, "host {n} moved from {} to {now}", before[&n]);
        }
    });
}

#[test]
fn n32_more_sessions_than_ports_where_destinations_differ() {
    for sharing in [Sharing::Overload, Sharing::Dependent] {
        let mut config = plain();
        config.nat = vec![pool(&[], sharing), few_ports(256)];
        each(&config, |net| {
            let mut seen = BTreeSet::new();
            // 256 ports, 1200 sessions of 4 hosts to 100 destinations.
            for n in 0..1200u16 {
                let dst = Ipv4Addr::new(198, 51, 100, (n % 100) as u8 + 1);
                let sent = net.one(LAN, &udp((host(2 + (n % 4) as u8), 2000 + n), (dst, 53), b"x"));
                assert!(seen.insert((sent.src_port, dst)), "N33: port {} to {dst} twice", sent.src_port);
                let back = net.one(WAN, &udp((dst, 53), (WAN_IP, sent.src_port), b"x"));
                assert_eq!(back.ends().1, (host(2 + (n % 4) as u8), 2000 + n));
            }
            let ports: BTreeSet<u16> = seen.iter().map(|(port, _)| *port).collect();
            assert!(ports.len() <= 256 && ports.iter().all(|p| (1024..1280).contains(p)));
            assert_eq!(net.router.connections(net.now).len(), 1200);
        });
    }
}

#[test]
fn n32_the_mix_keeps_one_port_for_an_inside_endpoint_as_long_as_it_can() {
    let mut config = plain();
    config.nat = vec![pool(&[], Sharing::Overload)];
    each(&config, |net| {
        let first = net.one(LAN, &udp((A, 5000), (R, 53), b"x")).src_port;
        assert_eq!(net.one(LAN, &udp((A, 5000), (R2, 53), b"x")).src_port, first, "RFC 4787 REQ-1");
    });
    config.nat = vec![pool(&[], Sharing::Dependent)];
    each(&config, |net| {
        let ports: BTreeSet<u16> = (1..9)
            .map(|n| net.one(LAN, &udp((A, 5000), (Ipv4Addr::new(198, 51, 100, n), 53), b"x")).src_port)
            .collect();
        assert!(ports.len() > 1, "a port for each connection");
    });
    config.nat = vec![pool(&[], Sharing::Independent), few_ports(256)];
    each(&config, |net| {
        let n_refused = (0..600u16)
            .filter(|n| {
                let dst = Ipv4Addr::new(198, 51, 100, (n % 100) as u8 + 1);
                // Not each is told: errors have a rate.
                net.send(LAN, &udp((A, 2000 + n), (dst, 53), b"x")).iter().all(|s| s.icmp.is_some())
            })
            .count();
        assert!(n_refused >= 600 - 256, "without sharing ports run out: {n_refused}");
    });
}

fn limited(limits: Limits) -> RouterConfig {
    let mut config = nat();
    config.tuning.limits = limits;
    config
}

#[test]
fn n38_sessions_of_one_subscriber_are_limited() {
    each(&limited(Limits { per_source: 10, ..Limits::default() }), |net| {
        for n in 0..10 {
            assert_eq!(net.one(LAN, &udp((A, 5000 + n), (R, 53), b"x")).port, WAN);
        }
        let refused = net.one(LAN, &udp((A, 5100), (R, 53), b"x"));
        assert_eq!(refused.icmp.map(|i| (i.0, i.1)), Some((3, 1)));
        assert_eq!(net.drops(), [(Drop::ConnectionLimit, 1)]);
        assert_eq!(net.one(LAN, &udp((A, 5000), (R, 53), b"x")).port, WAN, "what is there goes on");
        assert_eq!(net.one(LAN, &udp((B, 5000), (R, 53), b"x")).port, WAN, "others are not concerned");
        // From outside the one who begins counts, not the server.
        for n in 0..10 {
            assert_eq!(net.one(WAN, &udp((R2, 100 + n), (WAN_IP, 5353), b"x")).dst, A);
        }
        net.none(WAN, &udp((R2, 200), (WAN_IP, 5353), b"x"), Drop::ConnectionLimit);
        // When they have ended there is room again.
        net.secs(400);
        assert_eq!(net.one(LAN, &udp((A, 5100), (R, 53), b"x")).port, WAN);
    });
}

#[test]
fn n38_new_sessions_a_second_are_limited() {
    each(&limited(Limits { rate_per_source: 5, ..Limits::default() }), |net| {
        let burst = |net: &mut Net, from: u16| {
            (from..from + 20).filter(|n| net.send(LAN, &udp((A, *n), (R, 53), b"x"))[0].port == WAN).count()
        };
        assert_eq!(burst(net, 5000), 5);
        net.wait(Duration::from_millis(1100));
        assert_eq!(burst(net, 6000), 5);
    });
}

#[test]
fn n39_sessions_of_one_vrf_are_limited_and_a_limit_set_later_counts_what_is_there() {
    each(&limited(Limits::default()), |net| {
        for n in 0..8 {
            net.one(LAN, &udp((host(2 + n), 5000), (R, 53), b"x"));
        }
        net.configure(limited(Limits { per_zone: 9, ..Limits::default() }));
        assert_eq!(net.one(LAN, &udp((host(20), 5000), (R, 53), b"x")).port, WAN);
        assert_eq!(net.one(LAN, &udp((host(21), 5000), (R, 53), b"x")).port, LAN, "refused");
        assert_eq!(net.drops(), [(Drop::ConnectionLimit, 1)]);
    });
}

#[test]
fn n43_reserved_ports_are_nobodys() {
    let mut config = nat();
    config.nat.push(NatRule::Reserve {
        interface: "wan".into(),
        address: WAN_IP.into(),
        ports: (2000, 65_535),
    });
    each(&config, |net| {
        for n in 0..300 {
            let sent = net.one(LAN, &udp((A, 3000 + n), (R, 53), b"x"));
            assert!((1024..2000).contains(&sent.src_port), "{}", sent.src_port);
        }
        // A session that has such a port ends when it is set aside.
        let outside = net.one(LAN, &udp((B, 3000), (R, 53), b"x")).src_port;
        let mut config = config.clone();
        config.nat.push(NatRule::Reserve {
            interface: "wan".into(),
            address: WAN_IP.into(),
            ports: (outside, outside),
        });
        net.configure(config);
        let refused = net.one(WAN, &udp((R, 53), (WAN_IP, outside), b"x"));
        assert_eq!(refused.icmp.map(|i| (i.0, i.1)), Some((3, 3)), "nobody has it");
        assert_ne!(net.one(LAN, &udp((B, 3000), (R, 53), b"x")).src_port, outside);
    });
    let mut config = nat();
    config.nat.push(NatRule::Reserve { interface: "wan".into(), address: WAN_IP.into(), ports: (2, 1) });
    let refused = Net::new(nat(), 1).router.set_config(packet::Instant::ZERO, config);
    assert!(matches!(refused, Err(ConfigError::BadNat { index: 3, .. })), "{refused:?}");
}

fn redirect(protocol: Transport, port: u16, to: Option<u16>) -> NatRule {
    NatRule::Redirect { input: "lan".into(), protocol, port, to }
}

#[test]
fn n10_a_forward_is_gone_when_its_rule_is_for_both_families() {
    let mut config = net::v6::dual();
    let rule = |to: std::net::IpAddr| NatRule::PortForward {
        input: "wan".into(),
        protocol: Transport::Udp,
        port: 7000,
        to: (to, 70),
        inbound_only: false,
        vrf: None,
    };
    config.nat = vec![rule(A.into()), rule(net::v6::A6.into())];
    each(&config.clone(), |net| {
        use net::v6::*;
        let frame6 = link6(R6).ipv6(R6, WAN6).udp(9, 7000, b"x");
        assert_eq!(net.one(WAN, &udp((R, 9), (WAN_IP, 7000), b"x")).ends().1, (A, 70));
        let sent = net.one6(WAN, &frame6);
        assert_eq!((sent.dst, sent.ports), (A6, (9, 70)));
        let mut config = config.clone();
        config.nat.clear();
        net.configure(config);
        assert_eq!(net.router.connections(net.now), [], "nothing is left of it");
        let refused = net.one(WAN, &udp((R, 9), (WAN_IP, 7000), b"x"));
        assert_eq!(refused.icmp.map(|i| (i.0, i.1)), Some((3, 3)), "the router's own port again");
        assert_eq!(net.one6(WAN, &frame6).icmp.map(|i| (i.0, i.1)), Some((1, 4)));
        assert_eq!(net.one(LAN, &udp((A, 70), (R, 9), b"x")).src_port, 70);
    });
}

#[test]
fn n11_another_port_of_the_same_address_also_behind_a_masquerade() {
    for translated in [false, true] {
        let mut config = if translated { nat() } else { plain() };
        config.nat.push(redirect(Transport::Tcp, 8000, Some(80)));
        each(&config, |net| {
            let out = net.one(LAN, &segment((A, 5000), (R, 8000), SYN, b""));
            assert_eq!((out.dst, out.dst_port), (R, 80));
            assert_eq!(out.src, if translated { WAN_IP } else { A });
            let back = net.one(WAN, &segment((R, 80), (out.src, out.src_port), SYN_ACK, b""));
            assert_eq!(back.ends(), ((R, 8000), (A, 5000)), "as it was asked for");
            assert_eq!(net.one(LAN, &segment((A, 5000), (R, 8000), ACK, b"")).dst_port, 80);
            assert_eq!(net.one(LAN, &segment((A, 5001), (R, 80), SYN, b"")).dst_port, 80, "beside it");
            let other = net.one(LAN, &udp((A, 5000), (R, 8000), b"x"));
            assert_eq!(other.dst_port, 8000, "of the other protocol");
        });
    }
}

#[test]
fn n13_redirected_to_the_router_itself() {
    let mut config = net::v6::dual();
    config.nat = vec![redirect(Transport::Udp, 9, None), redirect(Transport::Tcp, 9, None)];
    each(&config, |net| {
        use net::v6::*;
        // Nothing listens there: the router says so, as the one that was asked.
        let told = net.one(LAN, &udp((A, 5), (R, 9), b"x"));
        assert_eq!((told.port, told.dst, told.icmp.map(|i| (i.0, i.1))), (LAN, A, Some((3, 3))));
        let reset = net.one(LAN, &segment((A, 5), (R, 9), SYN, b""));
        assert_eq!((reset.port, reset.ends()), (LAN, ((R, 9), (A, 5))));
        let told = net.one6(LAN, &link6(A6).ipv6(A6, R6).udp(5, 9, b"x"));
        assert_eq!((told.dst, told.icmp.map(|i| (i.0, i.1))), (A6, Some((1, 4))));
        assert_eq!(net.one(LAN, &udp((A, 5), (R, 10), b"x")).port, WAN);
    });
}

#[test]
fn n19_translation_is_a_matter_of_the_way_out() {
    let mut config = nat();
    let net = |text: &str| text.parse().expect("a prefix");
    config.nat.push(NatRule::Exempt { source: net("10.1.0.3/32"), destination: net("198.51.100.8/32") });
    each(&config, |net| {
        assert_eq!(net.one(LAN, &udp((A, 5), (C, 9), b"x")).src, A, "between inside networks nothing is");
        assert_eq!(net.one(LAN, &udp((A, 5), (LAN_IP, 9), b"x")).src, LAN_IP, "nor to the router");
        assert_eq!(net.one(LAN, &udp((A, 5), (R, 9), b"x")).src, WAN_IP);
        assert_eq!(net.one(LAN, &udp((B, 5), (R2, 9), b"x")).src, B, "a host with direct access");
        assert_eq!(net.one(WAN, &udp((R2, 7), (B, 22), b"x")).dst, B, "from outside, too");
        net.none(WAN, &udp((R, 7), (B, 22), b"x"), Drop::NatNoBinding);
    });
}

#[test]
fn n26_a_service_and_its_clients_in_any_vrf() {
    let leak = |from: Option<&str>, to: &str, vrf: &str| {
        let mut route = via(to, GATEWAY);
        (route.vrf, route.target) = (from.map(str::to_owned), vrouter::RouteTarget::Vrf(vrf.to_owned()));
        route
    };
    let mut config = plain();
    config.interfaces[1].vrf = Some("b".into());
    config.routes.push(leak(Some("b"), "0.0.0.0/0", ""));
    config.routes.push(leak(None, "10.2.0.0/24", "b"));
    let forward = |port, to, vrf: Option<&str>| NatRule::PortForward {
        input: "wan".into(),
        protocol: Transport::Udp,
        port,
        to: (to, 53),
        inbound_only: false,
        vrf: vrf.map(str::to_owned),
    };
    config.nat = vec![masquerade(), forward(1, A.into(), None), forward(2, C.into(), Some("b"))];
    each(&config, |net| {
        // The client outside; the service in the same VRF, and in another.
        for (port, service) in [(1, A), (2, C)] {
            let sent = net.one(WAN, &udp((R, 9), (WAN_IP, port), b"x"));
            assert_eq!(sent.ends().1, (service, 53));
            let back = net.one(LAN, &udp((service, 53), (R, 9), b"x"));
            assert_eq!(back.ends(), ((WAN_IP, port), (R, 9)));
        }
        // A to b and b to A by a leak, untranslated.
        assert_eq!(net.one(LAN, &udp((A, 5), (C, 6), b"x")).ends(), ((A, 5), (C, 6)));
        assert_eq!(net.one(LAN, &udp((C, 6), (A, 5), b"x")).ends(), ((C, 6), (A, 5)));
        // Both out by the outside of the first.
        for client in [A, C] {
            let sent = net.one(LAN, &udp((client, 77), (R2, 53), b"x"));
            assert_eq!(sent.src, WAN_IP);
            assert_eq!(net.one(WAN, &udp((R2, 53), (WAN_IP, sent.src_port), b"x")).ends().1, (client, 77));
        }
    });
    config.nat = vec![forward(2, C.into(), Some("moon"))];
    let refused = Net::new(nat(), 1).router.set_config(packet::Instant::ZERO, config);
    assert_eq!(refused.expect_err("refused").to_string(), "nat[0]: no VRF \"moon\"");
}

#[test]
fn n89_protocols_without_ports_hide_by_policy() {
    let mut config = nat();
    let packet = |protocol: u8, src: Ipv4Addr, dst: Ipv4Addr| {
        link(src).ipv4(src, dst).payload(packet::IpProtocol(protocol), &[0x12; 24])
    };
    each(&config, |net| net.none(LAN, &packet(47, A, R), Drop::NatProtocol));
    let (pool, sharing) = (Vec::new(), Sharing::Independent);
    config.nat[0] = NatRule::Masquerade { out: "wan".into(), sources: vec![], pool, sharing, portless: true };
    each(&config, |net| {
        // GRE, ESP and SCTP.
        for protocol in [47, 50, 132] {
            let out = net.one(LAN, &packet(protocol, A, R));
            assert_eq!((out.src, out.dst, out.protocol), (WAN_IP, R, protocol));
            assert_eq!(net.one(WAN, &packet(protocol, R, WAN_IP)).dst, A);
            net.drops();
            // One inside host for each remote one.
            net.none(LAN, &packet(protocol, B, R), Drop::NatClash);
            assert_eq!(net.one(LAN, &packet(protocol, B, R2)).src, WAN_IP);
            assert_eq!(net.one(WAN, &packet(protocol, R2, WAN_IP)).dst, B);
        }
        let n = net.router.connections(net.now).len();
        net.configure(config.clone());
        assert_eq!(net.router.connections(net.now).len(), n);
    });
    let mut config = plain();
    let allow = vrouter::FirewallRule {
        input: Some("lan".into()),
        protocol: Some(47),
        ..vrouter::FirewallRule::new(vrouter::FirewallAction::Allow)
    };
    config.firewall = vec![allow, vrouter::FirewallRule::new(vrouter::FirewallAction::Drop)];
    each(&config, |net| {
        net.none(WAN, &packet(47, R, A), Drop::FirewallDenied);
        net.none(LAN, &packet(50, A, R), Drop::FirewallDenied);
        net.one(LAN, &packet(47, A, R));
        assert_eq!(net.one(WAN, &packet(47, R, A)).dst, A, "the answer to what was let out");
    });
}
