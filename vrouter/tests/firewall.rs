//! The stateful firewall: the F cases, each with one, two and four workers.

mod net;

use std::net::Ipv4Addr;
use std::time::Duration;

use net::*;
use proptest::prelude::*;
use vrouter::{
    ConfigError, Drop, FirewallAction, FirewallRule, GroupConfig, Limits, LiveFlows, NeighbourConfig, Police,
    Prefix, RouteTarget, RouterConfig, RouterEvent, RuleLimit,
};

use FirewallAction::{Allow, Drop as Deny, Reject};

fn each(config: &RouterConfig, test: impl Fn(&mut Net)) {
    for n_workers in [1, 2, 4] {
        test(&mut Net::new(config.clone(), n_workers));
    }
}

fn rule(action: FirewallAction) -> FirewallRule {
    FirewallRule::new(action)
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// lan is inside, lan.20 the dmz, wan outside; nothing passes but what rules allow.
fn zoned() -> RouterConfig {
    let mut config = plain();
    for (interface, zone) in config.interfaces.iter_mut().zip(["inside", "dmz", "outside"]) {
        interface.zone = some(zone);
    }
    config.firewall_default = Deny;
    config
}

#[test]
fn f01_zones_groups_and_denial_by_default() {
    let mut config = zoned();
    let group = |name: &str, members: &[&str], groups: &[&str]| GroupConfig {
        name: name.into(),
        members: members.iter().map(|m| prefix(m)).collect(),
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
    };
    config.groups = vec![group("web", &["10.1.0.2/32"], &[]), group("servers", &["10.1.0.9/32"], &["web"])];
    config.firewall = vec![
        FirewallRule { from_zone: some("inside"), to_zone: some("outside"), ..rule(Allow) },
        FirewallRule {
            from_zone: some("dmz"),
            destination_group: some("servers"),
            protocol: Some(6),
            destination_ports: Some((8000, 8100)),
            ..rule(Allow)
        },
        FirewallRule { from_zone: some("dmz"), to_zone: some("inside"), ..rule(Reject) },
    ];
    each(&config, |net| {
        assert_eq!(net.one(LAN, &udp((A, 5), (R, 53), b"x")).port, WAN);
        assert_eq!(net.one(WAN, &udp((R, 53), (A, 5), b"x")).dst, A, "its reply");
        net.none(WAN, &udp((R, 54), (A, 5), b"x"), Drop::FirewallDenied);
        net.none(WAN, &udp((R, 53), (C, 5), b"x"), Drop::FirewallDenied);
        net.none(LAN, &udp((C, 5), (R, 53), b"x"), Drop::FirewallDenied);
        // An error about what passed is related to it; one about something else is not.
        let about = |src: (Ipv4Addr, u16)| {
            let quoted = udp(src, (R, 53), b"x");
            let why = packet::icmpv4::Message::TimeExceeded { code: 0 };
            link(GATEWAY).icmpv4_error(GATEWAY, &why, packet_of(&quoted)).expect("an error")
        };
        assert_eq!(net.one(WAN, &about((A, 5))).dst, A);
        net.none(WAN, &about((A, 6)), Drop::FirewallDenied);
        // The group's member, the port's first and last, then one beyond.
        for port in [8000, 8100] {
            assert_eq!(net.one(LAN, &segment((C, 7), (A, port), SYN, b"")).dst, A);
        }
        net.drops();
        let refused = net.one(LAN, &segment((C, 7), (A, 8101), SYN, b""));
        assert_eq!((refused.dst, refused.protocol), (C, 6), "a reset");
        let refused = net.one(LAN, &segment((C, 7), (B, 8000), SYN, b""));
        assert_eq!(refused.dst, C, "not in the group");
        assert_eq!(net.drops(), [(Drop::FirewallDenied, 2)]);
    });
}

#[test]
fn f01_what_names_nothing_is_refused() {
    let refused = |change: &dyn Fn(&mut RouterConfig)| {
        let mut config = zoned();
        change(&mut config);
        Net::new(plain(), 1)
            .router
            .set_config(packet::Instant::ZERO, config)
            .expect_err("refused")
            .to_string()
    };
    let with = |r: FirewallRule| refused(&move |c: &mut RouterConfig| c.firewall.push(r.clone()));
    assert_eq!(
        with(FirewallRule { from_zone: some("moon"), ..rule(Allow) }),
        "firewall[0]: no interface is in zone \"moon\""
    );
    assert_eq!(with(FirewallRule { source_group: some("x"), ..rule(Allow) }), "firewall[0]: no group \"x\"");
    let both = FirewallRule { source_group: some("x"), source: Some(prefix("10.0.0.0/8")), ..rule(Allow) };
    assert_eq!(with(both), "firewall[0]: either a prefix or a group");
    let circle = |c: &mut RouterConfig| {
        let group = GroupConfig { name: "a".into(), members: Vec::new(), groups: vec!["a".into()] };
        c.groups.push(group);
    };
    assert_eq!(refused(&circle), "groups[0]: no group \"a\" before it");
    let error = |r: RouterConfig| Net::new(plain(), 1).router.set_config(packet::Instant::ZERO, r);
    let mut ports = zoned();
    ports.firewall.push(FirewallRule { destination_ports: Some((2, 1)), ..rule(Allow) });
    assert!(matches!(error(ports), Err(ConfigError::BadFirewall { index: 0, .. })));
}

#[test]
fn f02_n97_connections_that_new_rules_would_not_let_begin_end() {
    let allow = |port| FirewallRule {
        input: some("lan"),
        protocol: Some(17),
        destination_ports: Some((port, port)),
        ..rule(Allow)
    };
    let config = |ports: &[u16], live| {
        let mut config = nat();
        config.firewall_default = Deny;
        config.firewall = ports.iter().map(|port| allow(*port)).collect();
        config.live_flows = live;
        config
    };
    each(&config(&[53, 123], LiveFlows::Recheck), |net| {
        let ports = [53, 123].map(|port| net.one(LAN, &udp((A, 5000), (R, port), b"x")).src_port);
        let back = |net: &mut Net, at: usize| {
            net.send(WAN, &udp((R, [53, 123][at]), (WAN_IP, ports[at]), b"x")).iter().any(|s| s.dst == A)
        };
        net.configure(config(&[123, 53], LiveFlows::Recheck));
        assert!(back(net, 0) && back(net, 1), "other rules that say the same");
        net.configure(config(&[123], LiveFlows::Keep));
        assert!(back(net, 0) && back(net, 1), "kept by policy");
        net.configure(config(&[123, 124], LiveFlows::Recheck));
        assert!(!back(net, 0), "53 is no longer allowed, from whichever side");
        assert!(back(net, 1));
        net.drops();
        net.none(LAN, &udp((A, 5000), (R, 53), b"x"), Drop::FirewallDenied);
    });
}

/// Where a packet leaves, and by which ends; none for what is dropped.
type Fate = Option<(u32, (Ipv4Addr, u16), (Ipv4Addr, u16))>;

/// What becomes of each of these packets.
fn fates(net: &mut Net) -> Vec<Fate> {
    let ping = ping(A, R, 9);
    let told = packet::icmpv4::Message::TimeExceeded { code: 0 };
    let mut fates = Vec::new();
    let mut send = |net: &mut Net, port: u32, frame: &[u8]| {
        let sent = net.send(port, frame).into_iter().find(|s| s.icmp.is_none_or(|i| i.0 == 8 || i.0 == 11));
        // Outside ports are random.
        let seen =
            |(addr, port): (Ipv4Addr, u16)| (addr, if addr == WAN_IP && port != 8080 { 0 } else { port });
        fates.push(sent.as_ref().map(|s| (s.port, seen(s.ends().0), seen(s.ends().1))));
        sent
    };
    let out = send(net, LAN, &udp((A, 5000), (R, 53), b"x")).expect("allowed out");
    send(net, WAN, &udp((R, 53), (WAN_IP, out.src_port), b"x"));
    let about = udp((WAN_IP, out.src_port), (R, 53), b"x");
    let error = link(GATEWAY).icmpv4_error(GATEWAY, &told, packet_of(&about)).expect("an error");
    send(net, WAN, &error);
    send(net, LAN, &udp((A, 5000), (R, 54), b"x"));
    send(net, LAN, &udp((B, 5000), (R, 53), b"x"));
    send(net, LAN, &ping);
    send(net, WAN, &segment((R, 1000), (WAN_IP, 8080), SYN, b""));
    send(net, LAN, &segment((A, 80), (R, 1000), SYN_ACK, b""));
    send(net, WAN, &segment((R2, 1000), (WAN_IP, 8080), SYN, b""));
    send(net, WAN, &udp((R, 1000), (WAN_IP, 5353), b"x"));
    fates
}

#[test]
fn n20_translation_and_rules_do_the_same_in_whatever_order_they_come() {
    let rules = vec![
        FirewallRule {
            source: Some(prefix("10.1.0.2/32")),
            destination_ports: Some((53, 53)),
            ..rule(Allow)
        },
        FirewallRule {
            source: Some(prefix("198.51.100.7/32")),
            destination: Some(prefix("10.1.0.2/32")),
            destination_ports: Some((80, 80)),
            ..rule(Allow)
        },
    ];
    let (mut translated, mut guarded, mut both) = (nat(), plain(), nat());
    for config in [&mut guarded, &mut both] {
        (config.firewall, config.firewall_default) = (rules.clone(), Deny);
    }
    let mut reversed = both.clone();
    reversed.nat.reverse();
    reversed.firewall.reverse();
    translated.live_flows = LiveFlows::Recheck;
    for n_workers in [1, 2, 4] {
        let mut all = Vec::new();
        for steps in [vec![&both], vec![&reversed], vec![&translated, &both], vec![&guarded, &both]] {
            let mut net = Net::new(steps[0].clone(), n_workers);
            steps[1..].iter().for_each(|config| drop(net.configure((*config).clone())));
            all.push(fates(&mut net));
        }
        let passed: Vec<bool> = all[0].iter().map(Option::is_some).collect();
        assert_eq!(passed, [true, true, true, false, false, false, true, true, false, false]);
        assert!(all.iter().all(|fates| *fates == all[0]), "{all:#?}");
    }
}

#[test]
fn f06_tenants_with_equal_addresses_never_meet() {
    const N: u16 = 300;
    let mut config = plain();
    config.interfaces.remove(1);
    let inside = ip("10.9.0.2");
    for n in 0..N {
        let name = format!("t{n}");
        let mut tenant = interface(&name, LAN, Some(100 + n), "10.9.0.1/24");
        tenant.vrf = Some(name.clone());
        config.interfaces.push(tenant);
        let mut route = via("0.0.0.0/0", GATEWAY);
        route.target = RouteTarget::Vrf(String::new());
        route.vrf = Some(name.clone());
        config.routes.push(route);
        config.neighbours.push(NeighbourConfig { interface: name, address: inside.into(), mac: mac(9) });
    }
    config.nat = vec![masquerade()];
    each(&config, |net| {
        let tag = |n: u16| packet::VlanId::new(100 + n).expect("a VLAN");
        let frame = |n: u16| {
            packet::build::ethernet(mac(9), mac(0xf0 + LAN as u8))
                .vlan(tag(n))
                .ipv4(inside, R)
                .udp(5000, 53, b"x")
        };
        let ports: Vec<u16> = (0..N).map(|n| net.one(LAN, &frame(n)).src_port).collect();
        let different: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(different.len(), usize::from(N));
        for (n, port) in (0..N).zip(&ports) {
            let back = net.one(WAN, &udp((R, 53), (WAN_IP, *port), b"x"));
            assert_eq!((back.vlan, back.ends().1), (Some(100 + n), (inside, 5000)));
        }
    });
}

#[test]
fn f09_one_source_cannot_fill_the_table() {
    let mut config = nat();
    config.tuning.limits = Limits { per_source: 100, ..Limits::default() };
    for n_workers in [1, 2, 4] {
        let mut net = Net::sized(config.clone(), n_workers, 1024);
        for n in 0..3000 {
            net.send(LAN, &udp((A, 2000 + n), (R, 53), b"x"));
        }
        assert_eq!(net.router.connections(net.now).len(), 100);
        assert_eq!(net.drops(), [(Drop::ConnectionLimit, 2900)]);
        assert_eq!(net.one(LAN, &udp((B, 2000), (R, 53), b"x")).port, WAN);
    }
}

#[test]
fn f10_a_flood_of_syns_and_one_of_ports_harm_no_established_connection() {
    for n_workers in [1, 2, 4] {
        let mut config = nat();
        config.firewall = vec![FirewallRule { input: some("lan"), ..rule(Allow) }, rule(Deny)];
        config.firewall.insert(1, FirewallRule { destination: Some(prefix("10.1.0.2/32")), ..rule(Allow) });
        let mut net = Net::sized(config, n_workers, 512);
        let ports: Vec<u16> = (0..20)
            .map(|n| {
                let out = net.one(LAN, &segment((A, 6000 + n), (R, 80), SYN, b""));
                net.one(WAN, &segment((R, 80), (WAN_IP, out.src_port), SYN_ACK, b""));
                net.one(LAN, &segment((A, 6000 + n), (R, 80), ACK, b""));
                out.src_port
            })
            .collect();
        // Ten times the table, from outside to a service and from inside to everywhere.
        for n in 0..2560u32 {
            let from = Ipv4Addr::from_bits(0x2d00_0000 + n);
            net.send(WAN, &link(R).ipv4(from, WAN_IP).tcp(&tcp_header(1000, 8080, SYN), b""));
            net.send(LAN, &segment((B, 1024 + n as u16), (R, 80), SYN, b""));
            if n % 256 == 0 {
                let at = n as usize / 256;
                assert_eq!(net.one(WAN, &segment((R, 80), (WAN_IP, ports[at]), ACK, b"x")).dst, A);
            }
        }
        assert!(net.router.connections(net.now).len() <= 512);
        for (n, port) in (0..).zip(&ports) {
            assert_eq!(net.one(WAN, &segment((R, 80), (WAN_IP, *port), ACK, b"x")).ends().1, (A, 6000 + n));
            assert_eq!(net.one(LAN, &segment((A, 6000 + n), (R, 80), ACK, b"x")).src_port, *port);
        }
    }
}

/// F10, N37: the outside has ports for a tenth of the table, the attack opens ten times the table: half-open TCP from
/// outside and inside, and UDP that takes every port there is.
#[test]
fn f10_ten_times_the_table_costs_established_flows_no_packet() {
    const SIZE: u32 = 1024;
    const N_FLOWS: u16 = 50;
    for n_workers in [1, 2, 4] {
        let mut config = nat();
        let ports = (1, u16::MAX - 128 * n_workers as u16);
        config.nat.push(vrouter::NatRule::Reserve { interface: "wan".into(), address: WAN_IP.into(), ports });
        let mut net = Net::sized(config, n_workers, SIZE);
        let flows: Vec<(u16, u16)> = (0..N_FLOWS)
            .filter_map(|n| {
                // Ports are few for each worker: some hosts get none, which is no matter here.
                let sent = net.send(LAN, &segment((A, 6000 + n), (R, 80), SYN, b""));
                let out = sent.into_iter().find(|s| s.port == WAN)?;
                net.one(WAN, &segment((R, 80), (WAN_IP, out.src_port), SYN_ACK, b""));
                net.one(LAN, &segment((A, 6000 + n), (R, 80), ACK, b""));
                Some((6000 + n, out.src_port))
            })
            .collect();
        assert!(flows.len() > 40, "{}", flows.len());
        net.drops();
        let (mut n_sent, mut n_arrived) = (0, 0);
        for n in 0..10 * SIZE {
            let from = Ipv4Addr::from_bits(0x2d00_0000 + n);
            net.send(WAN, &link(R).ipv4(from, WAN_IP).tcp(&tcp_header(1000, 8080, SYN), b""));
            net.send(LAN, &segment((B, 1024 + n as u16), (R2, 80), SYN, b""));
            net.send(LAN, &udp((B, 1024 + n as u16), (R2, 53), b"x"));
            let (inside, outside) = flows[n as usize % flows.len()];
            let there = net.send(LAN, &segment((A, inside), (R, 80), ACK, b"x"));
            let back = net.send(WAN, &segment((R, 80), (WAN_IP, outside), ACK, b"x"));
            n_sent += 2;
            n_arrived += usize::from(there.iter().any(|s| s.ends() == ((WAN_IP, outside), (R, 80))))
                + usize::from(back.iter().any(|s| s.ends() == ((R, 80), (A, inside))));
        }
        assert_eq!((n_sent, n_arrived), (20 * SIZE as usize, 20 * SIZE as usize));
        let drops = net.drops();
        let counted = |why| drops.iter().any(|(reason, n)| *reason == why && *n > 1000);
        assert!(counted(Drop::NatPortsExhausted), "{drops:?}");
        assert!(net.router.connections(net.now).len() <= SIZE as usize);
    }
}

/// F16: a larger table takes what a smaller one refused, and a smaller one ends nothing; every flow goes on meanwhile.
#[test]
fn f16_the_table_changes_its_size_while_flows_go_on() {
    for n_workers in [1, 2, 4] {
        let mut net = Net::sized(nat(), n_workers, 64);
        let establish = |net: &mut Net, inside: u16| {
            let sent = net.send(LAN, &segment((A, inside), (R, 80), SYN, b""));
            let out = sent.into_iter().find(|sent| sent.port == WAN)?;
            net.one(WAN, &segment((R, 80), (WAN_IP, out.src_port), SYN_ACK, b""));
            net.one(LAN, &segment((A, inside), (R, 80), ACK, b""));
            Some((inside, out.src_port))
        };
        let go_on = |net: &mut Net, flows: &[(u16, u16)]| {
            for &(inside, outside) in flows {
                let back = net.one(WAN, &segment((R, 80), (WAN_IP, outside), ACK, b"x"));
                assert_eq!(back.ends(), ((R, 80), (A, inside)));
                assert_eq!(net.one(LAN, &segment((A, inside), (R, 80), ACK, b"x")).src_port, outside);
            }
        };
        let mut flows: Vec<_> = (6000..6200).filter_map(|port| establish(&mut net, port)).collect();
        assert_eq!(flows.len(), 64, "as many as there may be");
        assert_eq!(net.drops(), [(Drop::NatTableFull, 136)]);
        let mut config = nat();
        config.tuning.n_connections = Some(4096);
        net.configure(config.clone());
        for port in 7000..7500 {
            flows.push(establish(&mut net, port).expect("there is room again"));
            go_on(&mut net, &flows[usize::from(port) % flows.len()..][..1]);
        }
        go_on(&mut net, &flows);
        config.tuning.n_connections = Some(16);
        net.configure(config);
        assert_eq!(establish(&mut net, 8000), None);
        go_on(&mut net, &flows);
        assert_eq!(net.router.connections(net.now).len(), flows.len());
        net.drops();
    }
}

#[test]
fn f10_what_one_source_leaves_half_open_is_limited() {
    let mut config = nat();
    config.tuning.limits = Limits { embryonic_per_source: 5, ..Limits::default() };
    each(&config, |net| {
        let begins =
            |net: &mut Net, port: u16| net.one(LAN, &segment((A, port), (R, 80), SYN, b"")).port == WAN;
        let outs: Vec<u16> =
            (0..5).map(|n| net.one(LAN, &segment((A, 6000 + n), (R, 80), SYN, b"")).src_port).collect();
        assert!(!begins(net, 7000), "five are half open");
        assert_eq!(net.drops(), [(Drop::ConnectionLimit, 1)]);
        assert_eq!(
            net.one(LAN, &segment((B, 6000), (R, 80), SYN, b"")).port,
            WAN,
            "others are not concerned"
        );
        // An answer makes room; then one that is never answered does, when its time is over.
        net.one(WAN, &segment((R, 80), (WAN_IP, outs[0]), SYN_ACK, b""));
        assert!(begins(net, 7001) && !begins(net, 7002));
        net.secs(250);
        assert!((0..5).all(|n| begins(net, 7100 + n)) && !begins(net, 7105));
        // Those that were there when the limit came count, too.
        let unlimited = RouterConfig { tuning: nat().tuning, ..config.clone() };
        net.configure(unlimited);
        net.configure(config.clone());
        assert!(!begins(net, 7200));
    });
}

#[test]
fn f10_a_flood_of_fragments_harms_no_whole_packet() {
    each(&nat(), |net| {
        let whole = udp((R2, 7), (WAN_IP, 5353), &[7; 2900]);
        for n in 0..5000u32 {
            // First fragments and later ones of packets that never become whole.
            let pieces = cut(&whole, n as u16, &[1480]);
            net.send(WAN, &pieces[usize::from(n % 2 == 0)]);
        }
        net.drops();
        let out = net.one(LAN, &udp((A, 6000), (R, 53), b"x"));
        assert_eq!(net.one(WAN, &udp((R, 53), (WAN_IP, out.src_port), b"x")).dst, A);
        net.secs(60);
        let pieces = cut(&udp((R2, 8), (WAN_IP, 5353), &[7; 2900]), 9, &[1480]);
        let n_sent: usize = pieces.iter().rev().map(|piece| net.send(WAN, piece).len()).sum();
        assert_eq!(n_sent, 2, "when they have been given up, fragments pass as before");
    });
}

#[test]
fn f12_only_known_stations_speak() {
    let mut config = plain();
    config.interfaces[0].known_only = true;
    let known = NeighbourConfig { interface: "lan".into(), address: A.into(), mac: mac(2) };
    config.neighbours = vec![known];
    each(&config, |net| {
        assert_eq!(net.one(LAN, &udp((A, 5), (R, 53), b"x")).port, WAN);
        net.none(LAN, &udp((B, 5), (R, 53), b"x"), Drop::Spoofed);
        let forged = packet::build::ethernet(mac(3), mac(0xf0 + LAN as u8)).ipv4(A, R).udp(5, 53, b"x");
        net.none(LAN, &forged, Drop::Spoofed);
        let arp = |sender: u8, address: Ipv4Addr| {
            let ask = packet::arp::Packet::request(mac(sender), address, LAN_IP);
            packet::Frame::from_bytes(
                &packet::build::ethernet(mac(sender), packet::MacAddr::BROADCAST).arp(&ask),
            )
        };
        assert_eq!(net.raw(LAN, arp(2, A)).len(), 1, "answered");
        net.drops();
        assert_eq!(net.raw(LAN, arp(3, A)).len(), 0, "a thief of the address");
        assert_eq!(net.raw(LAN, arp(3, B)).len(), 0, "a stranger");
        assert_eq!(net.drops(), [(Drop::Spoofed, 2)]);
        assert_eq!(net.one(WAN, &udp((R, 53), (A, 5), b"x")).dst_mac, mac(2));
        // On other interfaces nothing is asked.
        assert_eq!(net.one(LAN, &udp((C, 5), (R, 53), b"x")).port, WAN);
    });
}

/// F12: what only routers and servers may say is not taken from hosts, and never carried to other links.
#[test]
fn f12_hosts_are_not_believed_to_be_routers_or_servers() {
    let mut config = plain();
    config.interfaces[0].addresses.push((v6::LAN6.into(), 64));
    config.interfaces[2].addresses.push((v6::WAN6.into(), 64));
    config.dhcp_relays = vec![vrouter::DhcpRelay { interface: "lan".into(), servers: vec![R] }];
    each(&config, |net| {
        let routes = net.router.fib();
        net.sent6.clear();
        let all: std::net::Ipv6Addr = "ff02::1".parse().expect("all nodes");
        let prefix = packet::nd::Prefix {
            len: 64,
            on_link: true,
            autonomous: true,
            valid_lifetime: 3600,
            preferred_lifetime: 3600,
            prefix: "2001:db8:bad::".parse().expect("an address"),
        };
        let advert = packet::nd::RouterAdvert {
            router_lifetime: 1800,
            prefixes: vec![prefix],
            ..packet::nd::RouterAdvert::default()
        };
        let advert = packet::build::ethernet(mac(2), packet::nd::multicast_mac(all))
            .ipv6(packet::nd::link_local(mac(2)), all)
            .nd(&packet::nd::Message::RouterAdvert(advert));
        net.none(LAN, &advert, Drop::NdIgnored);
        assert!(net.sent6.is_empty(), "nor carried on: {:?}", net.sent6);
        assert_eq!(net.router.fib(), routes, "nor believed");
        // An offer of a server that is none: to everybody, and to a client beyond.
        let mut offer = vec![2, 1, 6, 0, 0, 0, 0, 7];
        offer.resize(236, 0);
        offer.extend([99, 130, 83, 99, 53, 1, 2, 255]);
        let to_all = packet::build::ethernet(mac(2), packet::MacAddr::BROADCAST)
            .ipv4(A, Ipv4Addr::BROADCAST)
            .udp(67, 68, &offer);
        net.none(LAN, &to_all, Drop::Multicast);
        let to_relay = udp((A, 67), (LAN_IP, 67), &offer);
        assert!(net.send(LAN, &to_relay).is_empty(), "the relay asked another");
    });
}

#[test]
fn f13_ten_thousand_rules() {
    let mut config = plain();
    config.firewall = (0..10_000u32)
        .map(|n| FirewallRule {
            source: Some(
                Prefix::new(Ipv4Addr::from_bits(0x0a01_0000 + n % 250).into(), 32).expect("a prefix"),
            ),
            destination_ports: Some(((n / 250 * 10 + 1) as u16, (n / 250 * 10 + 10) as u16)),
            ..rule(if n % 3 == 0 { Deny } else { Allow })
        })
        .chain([rule(Reject)])
        .collect();
    let mut net = Net::new(config, 1);
    for port in 1..=400u16 {
        let n = u32::from(port - 1) / 10 * 250 + 2;
        let passes = !net.send(LAN, &udp((A, 9), (R, port), b"x")).iter().all(|s| s.port != WAN);
        assert_eq!(passes, n % 3 != 0, "port {port}");
    }
    assert_eq!(net.one(LAN, &udp((A, 9), (R, 401), b"x")).icmp.map(|i| (i.0, i.1)), Some((3, 13)));
}

fn any_rule() -> impl Strategy<Value = FirewallRule> {
    let net = prop_oneof![
        Just(None),
        (0u8..4, 22u8..=32).prop_map(|(host, len)| {
            Some(Prefix::new(Ipv4Addr::new(10, 1, 0, host).into(), len).expect("a prefix"))
        }),
        Just(Some(prefix("198.51.100.0/29"))),
        Just(Some(prefix("2001:db8::/32"))),
    ];
    let ports = prop_oneof![Just(None), (0u16..12, 0u16..6).prop_map(|(a, n)| Some((a, a + n)))];
    let protocol = prop_oneof![Just(None), Just(Some(17)), Just(Some(6))];
    let input = prop_oneof![Just(None), Just(some("lan")), Just(some("wan"))];
    (net.clone(), net, ports, protocol, input, any::<bool>()).prop_map(
        |(source, destination, p, protocol, input, allow)| {
            let action = if allow { Allow } else { Deny };
            FirewallRule { source, destination, destination_ports: p, protocol, input, ..rule(action) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// F13: the classifier against the rules read one by one.
    #[test]
    fn f13_the_first_rule_that_matches_decides(
        rules in proptest::collection::vec(any_rule(), 0..20),
        packets in proptest::collection::vec((2u8..4, 0u8..12, any::<bool>()), 1..30),
    ) {
        let mut config = plain();
        config.firewall = rules.clone();
        let mut net = Net::new(config, 1);
        for (n, (host, port, is_tcp)) in packets.into_iter().enumerate() {
            let (src, dst) = ((Ipv4Addr::new(10, 1, 0, host), 1000 + n as u16), (R, u16::from(port)));
            let matches = |r: &&FirewallRule| {
                r.source.is_none_or(|net| net.contains(src.0.into()))
                    && r.destination.is_none_or(|net| net.contains(dst.0.into()))
                    && r.protocol.is_none_or(|p| p == if is_tcp { 6 } else { 17 })
                    && r.destination_ports.is_none_or(|(a, b)| (a..=b).contains(&dst.1))
                    && r.input.as_deref().is_none_or(|i| i == "lan")
            };
            let expected = rules.iter().find(matches).is_none_or(|r| r.action == Allow);
            let frame = if is_tcp { segment(src, dst, SYN, b"") } else { udp(src, dst, b"x") };
            prop_assert_eq!(net.send(LAN, &frame).len(), usize::from(expected));
        }
    }
}

#[test]
fn f14_limits_hold_over_all_workers() {
    let mut config = plain();
    let limit = Some(RuleLimit { rate: 10, burst: 5 });
    config.firewall = vec![FirewallRule { input: some("lan"), limit, ..rule(Allow) }];
    each(&config, |net| {
        let burst = |net: &mut Net, from: u16| {
            (from..from + 40).filter(|n| !net.send(LAN, &udp((A, *n), (R, 53), b"x")).is_empty()).count()
        };
        assert_eq!(burst(net, 5000), 5);
        assert_eq!(net.drops(), [(Drop::FirewallLimit, 35)]);
        assert_eq!(net.one(LAN, &udp((A, 5000), (R, 53), b"x")).port, WAN, "what has begun goes on");
        net.wait(Duration::from_millis(300));
        assert_eq!(burst(net, 6000), 3);
        // The same rule in a new configuration goes on where it was.
        let mut other = config.clone();
        other.firewall.push(rule(Deny));
        net.configure(other);
        assert_eq!(burst(net, 7000), 0);
    });
    let mut config = plain();
    // 80 kbit/s is ten packets of 1000 bytes a second.
    config.interfaces[0].police = Some(Police { rate: 80_000, burst: 5000 });
    each(&config, |net| {
        let burst = |net: &mut Net| {
            (0..20).filter(|_| !net.send(LAN, &udp((A, 5), (R, 53), &[0; 958])).is_empty()).count()
        };
        assert_eq!(burst(net), 5);
        assert_eq!(net.drops(), [(Drop::Policed, 15)]);
        net.secs(10);
        assert_eq!(burst(net), 5);
        net.secs(1);
        assert_eq!(net.one(WAN, &udp((R, 53), (A, 5), &[0; 958])).dst, A, "the other way is free");
    });
}

#[test]
fn f15_rules_count_and_tell() {
    let mut config = plain();
    config.firewall = vec![
        FirewallRule { destination_ports: Some((53, 53)), ..rule(Allow) },
        FirewallRule { destination_ports: Some((23, 23)), log: true, ..rule(Reject) },
    ];
    each(&config, |net| {
        for n in 0..3 {
            net.one(LAN, &udp((A, 5000 + n), (R, 53), b"x"));
        }
        net.one(LAN, &udp((A, 5000), (R, 53), b"x"));
        net.one(LAN, &segment((A, 5), (R, 23), SYN, b""));
        net.one(LAN, &udp((A, 9), (R, 99), b"xyz"));
        let counts: Vec<_> =
            net.router.firewall().iter().map(|r| (r.rule, r.action, r.n_packets, r.n_bytes)).collect();
        assert_eq!(
            counts,
            [(Some(0), Allow, 3, 87), (Some(1), Reject, 1, 40), (None, Allow, 1, 31)],
            "packets that begin a connection, and those that are denied"
        );
        let told: Vec<_> = net.events.iter().filter(|e| matches!(e, RouterEvent::Firewall { .. })).collect();
        let [RouterEvent::Firewall { rule, action, source, destination, protocol, .. }] = told[..] else {
            panic!("{:?}", net.events)
        };
        assert_eq!((*rule, *action, *protocol), (Some(1), Reject, 6));
        assert_eq!((*source, *destination), ((A.into(), 5), (R.into(), 23)));
        // Counters go on with a rule that stays.
        let mut other = config.clone();
        other.firewall.remove(1);
        net.configure(other);
        assert_eq!(net.router.firewall()[0].n_packets, 3);
    });
}
