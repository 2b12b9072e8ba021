//! What routes count: R22.

mod net;

use net::*;
use packet::{Frame, Gso, GsoKind, Outputs};
use vrouter::{
    ConfigError, Drop, NextHop, Police, PolicyRoute, RouteConfig, RouteTarget, RouterConfig, Traffic,
};

fn counted(route: RouteConfig) -> RouteConfig {
    RouteConfig { counted: true, ..route }
}

/// A counted and an uncounted route with the same next hop, and one that drops.
fn config() -> RouterConfig {
    let mut config = plain();
    config.routes.push(counted(via("198.51.100.0/24", GATEWAY)));
    config.routes.push(RouteConfig { metric: 9, ..via("198.51.100.0/24", ip("203.0.113.77")) });
    let to = "192.0.2.0/24".parse().expect("a prefix");
    config.routes.push(counted(RouteConfig::new(to, RouteTarget::Blackhole)));
    config
}

/// The same, where a limit that nobody reaches keeps packets off the short way.
fn long_way(mut config: RouterConfig) -> RouterConfig {
    for interface in &mut config.interfaces {
        interface.police = Some(Police { rate: 1 << 50, burst: u32::MAX });
    }
    config
}

/// What the best route to a prefix has counted, as the routes show it and as it is asked for alone; others have nothing.
fn count(net: &Net, vrf: &str, to: &str) -> Option<(u64, u64)> {
    let (vrf, to) = (Some(vrf).filter(|vrf| !vrf.is_empty()), to.parse().expect("a prefix"));
    let pair = |t: Traffic| (t.n_packets, t.n_bytes);
    let fib = net.router.fib();
    let mut there = fib.iter().filter(|r| r.vrf.as_deref() == vrf && r.to == to).map(|r| r.counted.map(pair));
    let shown = there.next().flatten();
    assert!(there.all(|counted| counted.is_none()), "{vrf:?} {to}");
    let all = net.router.counted();
    let alone = all.iter().find(|r| r.vrf.as_deref() == vrf && r.to == to).map(|r| pair(r.counted));
    assert_eq!(shown, alone, "{vrf:?} {to}");
    shown
}

/// Packets, and their bytes from the IP header on.
fn sum(out: Outputs) -> (u64, u64) {
    let lens = out.into_iter().map(|(_, frame)| packet_of(&frame.to_vec()).len() as u64);
    lens.fold((0, 0), |(n, bytes), len| (n + 1, bytes + len))
}

fn add((a, b): (u64, u64), (c, d): (u64, u64)) -> (u64, u64) {
    (a + c, b + d)
}

#[test]
fn r22_a_route_counts_what_goes_by_it_and_no_other() {
    for n_workers in [1, 2, 4] {
        for config in [config(), long_way(config())] {
            let mut net = Net::new(config, n_workers);
            let to = |dst, port| udp((A, port), (dst, 53), &[7; 22]);
            // The first waits for its neighbour.
            (0..20).for_each(|n| drop(net.one(LAN, &to(R, 4000 + n))));
            let batch: Vec<Vec<u8>> =
                (0..40).map(|n| to(if n % 4 == 0 { ip("9.9.9.9") } else { R2 }, n)).collect();
            assert_eq!(net.batch(LAN, &batch).len(), 40);
            assert_eq!(count(&net, "", "198.51.100.0/24"), Some((50, 50 * 50)));
            assert_eq!(count(&net, "", "0.0.0.0/0"), None, "with the same next hop, but nobody asked");
            net.none(LAN, &to(ip("192.0.2.9"), 1), Drop::Blackhole);
            assert_eq!(count(&net, "", "192.0.2.0/24"), Some((1, 50)), "a route that drops");
            // Somebody else's decision is not the route's.
            let late = link(A).ipv4(A, R).ttl(1).udp(1, 2, b"x");
            assert_eq!(net.one(LAN, &late).icmp.map(|icmp| icmp.0), Some(11));
            assert_eq!(count(&net, "", "198.51.100.0/24"), Some((50, 50 * 50)));
        }
    }
}

#[test]
fn r22_next_hops_that_share_a_route_count_together() {
    for n_workers in [1, 2, 4] {
        let mut config = config();
        config.interfaces.push(interface("wan2", 3, None, "192.0.2.1/24"));
        let hops = [GATEWAY, ip("192.0.2.254")].map(|via| NextHop {
            gateway: via.into(),
            interface: None,
            weight: 1,
        });
        let to = "172.16.0.0/12".parse().expect("a prefix");
        let group = RouteConfig::new(to, RouteTarget::Group(hops.into()));
        config.routes = vec![counted(group)];
        let mut net = Net::new(config, n_workers);
        net.hosts.insert(ip("192.0.2.254"), (3, None, mac(7)));
        let flow = |port: u16| udp((A, port), (ip("172.16.3.4"), 53), b"x");
        let n_wan = (0..100).filter(|n| net.one(LAN, &flow(1000 + n)).port == WAN).count();
        assert!((20..80).contains(&n_wan), "{n_wan} of 100");
        assert_eq!(count(&net, "", "172.16.0.0/12"), Some((100, 100 * 29)));
    }
}

#[test]
fn r22_connections_count_in_both_directions() {
    for n_workers in [1, 2, 4] {
        let mut config = nat();
        config.routes = vec![counted(via("0.0.0.0/0", GATEWAY))];
        config.counted = vec![(None, "10.1.0.0/24".parse().expect("a prefix"))];
        let mut net = Net::new(config, n_workers);
        let first = net.one(LAN, &udp((A, 4000), (R, 53), b"first"));
        let back = udp((R, 53), (first.src, first.src_port), b"an answer");
        net.one(WAN, &back);
        let out: Vec<Vec<u8>> = (0..50).map(|n| udp((A, 4000), (R, 53), &vec![1; n])).collect();
        let out = sum(net.batch(LAN, &out));
        let back = sum(net.batch(WAN, &vec![back; 30]));
        assert_eq!((out.0, back), (50, (30, 30 * 37)));
        assert_eq!(count(&net, "", "0.0.0.0/0"), Some(add(out, (1, 33))));
        assert_eq!(count(&net, "", "10.1.0.0/24"), Some(add(back, (1, 37))));
    }
}

#[test]
fn r22_counts_outlive_a_configuration() {
    let mut config = config();
    let learned = "172.16.0.0/12";
    config.counted = vec![(None, learned.parse().expect("a prefix"))];
    let mut net = Net::new(config.clone(), 2);
    let other = ip("203.0.113.253");
    net.hosts.insert(other, (WAN, None, mac(6)));
    let to = |dst: &str| udp((A, 4000), (ip(dst), 53), b"x");
    net.router.add_routes(&[via(learned, GATEWAY)]).expect("the gateway is connected");
    net.secs(1);
    (0..3).for_each(|_| drop(net.one(LAN, &to("172.16.0.9"))));
    (0..5).for_each(|_| drop(net.one(LAN, &to("198.51.100.9"))));
    assert_eq!(
        (count(&net, "", learned), count(&net, "", "198.51.100.0/24")),
        (Some((3, 87)), Some((5, 145)))
    );
    // Something else changes, then its next hop, then that of the other.
    config.interfaces[2].mtu = 1400;
    net.configure(config.clone());
    config.routes[1] = counted(via("198.51.100.0/24", other));
    net.configure(config.clone());
    net.router.add_routes(&[via(learned, other)]).expect("the gateway is connected");
    net.secs(1);
    for dst in ["172.16.0.9", "198.51.100.9"] {
        (0..2).for_each(|_| assert_eq!(net.one(LAN, &to(dst)).dst_mac, mac(6)));
    }
    assert_eq!(
        (count(&net, "", learned), count(&net, "", "198.51.100.0/24")),
        (Some((5, 145)), Some((7, 203)))
    );
    // Nobody asks any more, then again: from the beginning.
    let asked = std::mem::take(&mut config.counted);
    net.configure(config.clone());
    net.one(LAN, &to("172.16.0.9"));
    assert_eq!(count(&net, "", learned), None);
    config.counted = asked;
    net.configure(config.clone());
    assert_eq!(count(&net, "", learned), Some((0, 0)));
    net.one(LAN, &to("172.16.0.9"));
    assert_eq!(
        (count(&net, "", learned), count(&net, "", "198.51.100.0/24")),
        (Some((1, 29)), Some((7, 203)))
    );
    config.counted.push((Some("green".into()), learned.parse().expect("a prefix")));
    let refused = net.router.set_config(net.now, config);
    assert_eq!(refused, Err(ConfigError::NoCountedVrf { index: 1, name: "green".into() }));
}

#[test]
fn r22_each_route_that_leads_on_counts() {
    for (leak, n_workers) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
        let mut config = plain();
        config.interfaces[0].vrf = Some("red".into());
        config.routes = vec![counted(via("0.0.0.0/0", GATEWAY))];
        let to = "198.51.0.0/16".parse().expect("a prefix");
        let onward =
            RouteConfig { vrf: Some("red".into()), ..RouteConfig::new(to, RouteTarget::Vrf(String::new())) };
        config.routes.push(if leak { counted(onward) } else { onward });
        config.policy_routes = Vec::new();
        let mut net = Net::new(config.clone(), n_workers);
        (0..9).for_each(|_| drop(net.one(LAN, &udp((A, 4000), (R, 53), b"x"))));
        let leaked = leak.then_some((9, 9 * 29));
        assert_eq!(
            (count(&net, "red", "198.51.0.0/16"), count(&net, "", "0.0.0.0/0")),
            (leaked, Some((9, 261)))
        );
        // A policy route goes by the other's table at once.
        config.policy_routes.push(PolicyRoute {
            input: Some("lan".into()),
            source: None,
            destination: None,
            protocol: None,
            destination_ports: None,
            target: RouteTarget::Vrf(String::new()),
        });
        net.configure(config);
        net.one(LAN, &udp((A, 4000), (R, 53), b"x"));
        assert_eq!(
            (count(&net, "red", "198.51.0.0/16"), count(&net, "", "0.0.0.0/0")),
            (leaked, Some((10, 290)))
        );
    }
}

#[test]
fn r22_a_super_frame_counts_as_what_it_is_on_the_wire() {
    let mut net = Net::new(config(), 1);
    let mut frame = Frame::from_bytes(&segment((A, 4000), (R, 80), ACK, &[5; 1000]));
    frame.meta.gso = Some(Gso { kind: GsoKind::Tcp4, size: 300, ecn: false });
    let sent = net.frame(LAN, frame);
    let on_wire: u64 = sent.iter().map(|packet| packet.bytes.len() as u64).sum();
    assert_eq!((sent.len(), on_wire), (4, 1000 + 4 * 40));
    assert_eq!(count(&net, "", "198.51.100.0/24"), Some((4, on_wire)));
}

#[test]
fn r22_ipv6_counts_both_ways_alike() {
    for config in [v6::dual(), long_way(v6::dual())] {
        let mut config = config;
        config.routes = config.routes.into_iter().map(counted).collect();
        let mut net = Net::new(config, 2);
        let packet = v6::udp6((v6::A6, 4000), (v6::R6, 53), b"x");
        net.one6(LAN, &packet);
        assert_eq!(net.batch(LAN, &vec![packet; 20]).len(), 20);
        assert_eq!(
            (count(&net, "", "::/0"), count(&net, "", "0.0.0.0/0")),
            (Some((21, 21 * 49)), Some((0, 0)))
        );
    }
}
