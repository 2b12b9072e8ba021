//! IPv6: the R cases of forwarding, neighbour discovery, ICMPv6 and router advertisements, and N71.

mod net;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use net::v6::*;
use net::*;
use packet::{IpProtocol, MacAddr, build, icmpv6, nd};
use vrouter::{
    AdvertConfig, AdvertRoute, ConfigError, Drop, FirewallAction, FirewallRule, NatRule, NeighbourState,
    RouteConfig, RouteTarget, RouterEvent, Sharing, SourceCheck,
};

const LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xf1]);

fn to_router(src: MacAddr, group: Ipv6Addr) -> build::Link {
    build::ethernet(src, nd::multicast_mac(group))
}

#[test]
fn r01_hop_limit_goes_down_and_ends_in_time_exceeded() {
    let mut net = Net::new(dual(), 1);
    let sent = net.one6(LAN, &link6(A6).ipv6(A6, R6).ttl(2).udp(1, 2, b"x"));
    assert_eq!((sent.port, sent.hop_limit, sent.dst_mac, sent.src), (WAN, 1, mac(5), A6));
    let frame = link6(A6).ipv6(A6, R6).ttl(1).udp(1, 2, b"x");
    let sent = net.one6(LAN, &frame);
    assert_eq!((sent.src, sent.dst, sent.port), (LAN6, A6, LAN));
    assert_eq!((sent.icmp, &sent.payload[..]), (Some((3, 0, [0; 4])), &frame[14..]));
    assert_eq!(net.drops(), [(Drop::TtlExpired, 1)]);
}

#[test]
fn r02_every_unreachable() {
    let mut config = dual();
    config.routes.pop();
    let route = |to: &str, target| RouteConfig::new(to.parse().expect("a prefix"), target);
    config.routes.push(route("2001:db8:b::/48", RouteTarget::Blackhole));
    config.routes.push(route("2001:db8:d::/48", RouteTarget::Prohibit));
    let mut net = Net::new(config, 1);
    let icmp = |net: &mut Net, dst: &str| {
        let sent = net.one6(LAN, &udp6((A6, 1), (dst.parse().expect("an address"), 2), b"x"));
        sent.icmp.map(|(kind, code, _)| (kind, code)).expect("ICMPv6")
    };
    assert_eq!(icmp(&mut net, "2001:db8:ffff::1"), (1, 0), "no route");
    assert_eq!(icmp(&mut net, "2001:db8:d::1"), (1, 1), "prohibited");
    assert_eq!(icmp(&mut net, "2001:db8:0:1::1"), (1, 4), "no listener");
    net.none6(LAN, &udp6((A6, 1), ("2001:db8:b::1".parse().expect("an address"), 2), b"x"), Drop::Blackhole);
    // Parameter problem: the pointer tells where the unknown protocol is named.
    let sent = net.one6(LAN, &link6(A6).ipv6(A6, LAN6).payload(IpProtocol(200), &[0; 12]));
    assert_eq!(sent.icmp, Some((4, 1, [0, 0, 0, 6])));
    let options = [[200, 0, 1, 4, 0, 0, 0, 0].as_slice(), &[0; 12]].concat();
    let sent = net.one6(LAN, &link6(A6).ipv6(A6, LAN6).payload(IpProtocol::DESTINATION_OPTIONS, &options));
    assert_eq!(sent.icmp, Some((4, 1, [0, 0, 0, 40])));
    // Nobody there: after three questions.
    let silent = v6(0xff, 0x99);
    let from = net.sent6.len();
    assert_eq!(net.send6(LAN, &udp6((A6, 1), (silent, 2), b"first")), []);
    net.secs(4);
    let nobody: Vec<_> = net.sent6[from..].iter().filter_map(|p| p.icmp).filter(|i| i.0 == 1).collect();
    assert_eq!(nobody, [(1, 3, [0; 4])]);
    let asked = |(_, m): &(u32, nd::Message)| matches!(m, nd::Message::NeighbourSolicit { target, .. } if *target == silent);
    assert_eq!(net.nd_since(from).iter().filter(|m| asked(m)).count(), 3);
}

#[test]
fn r02_packet_too_big_tells_the_mtu_and_small_ones_pass() {
    let mut config = dual();
    config.interfaces[2].mtu = 1280;
    let mut net = Net::new(config, 1);
    let sent = net.one6(LAN, &udp6((A6, 1), (R6, 2), &[7; 1400]));
    assert_eq!((sent.icmp, sent.dst), (Some((2, 0, 1280u32.to_be_bytes())), A6));
    assert!(sent.bytes.len() <= 1280, "RFC 4443 §2.4 (c)");
    assert_eq!(net.one6(LAN, &udp6((A6, 1), (R6, 2), &[7; 1232])).bytes.len(), 1280);
    assert_eq!(net.drops(), [(Drop::TooBig, 1)]);
}

#[test]
fn r03_no_errors_about_errors_and_groups() {
    let mut net = Net::new(dual(), 1);
    let quoted = udp6((R6, 1), (A6, 2), b"x")[14..].to_vec();
    let error = icmpv6::Message::TimeExceeded { code: 0 };
    net.none6(LAN, &link6(A6).ipv6(A6, R6).ttl(1).icmpv6(&error, &quoted), Drop::TtlExpired);
    net.none6(
        LAN,
        &link6(A6).ipv6(A6, "ff02::5".parse::<Ipv6Addr>().expect("a group")).udp(1, 2, b"x"),
        Drop::Multicast,
    );
    net.none6(LAN, &link6(A6).ipv6(Ipv6Addr::UNSPECIFIED, R6).udp(1, 2, b"x"), Drop::MartianSource);
    net.none6(LAN, &link6(A6).ipv6(A6, Ipv6Addr::LOCALHOST).udp(1, 2, b"x"), Drop::MartianDestination);
    net.none6(LAN, &link6(A6).ipv6(LAN6, R6).udp(1, 2, b"x"), Drop::MartianSource);
    assert_eq!(net.router.counters().icmp_suppressed, 1);
}

#[test]
fn r04_link_local_stays_on_its_link() {
    let mut net = Net::new(dual(), 1);
    let host: Ipv6Addr = "fe80::2".parse().expect("an address");
    net.hosts6.insert(host, (LAN, mac(2)));
    let sent = net.one6(LAN, &link6(A6).ipv6(host, R6).udp(1, 2, b"x"));
    assert_eq!(sent.icmp.map(|i| (i.0, i.1)), Some((1, 2)), "beyond the scope of its source");
    assert_eq!((sent.src, sent.dst), (nd::link_local(LAN_MAC), host));
    net.none6(
        LAN,
        &link6(A6).ipv6(A6, "fe80::77".parse::<Ipv6Addr>().expect("an address")).udp(1, 2, b"x"),
        Drop::LinkLocal,
    );
    let sent = net.one6(LAN, &link6(A6).ipv6(host, nd::link_local(LAN_MAC)).echo_request(7, 1, b"odd"));
    assert_eq!((sent.icmp.map(|i| i.0), sent.dst, sent.payload.as_slice()), (Some(129), host, &b"odd"[..]));
}

#[test]
fn r06_longest_prefix_and_own_addresses() {
    let mut config = dual();
    config.routes.push(via6("2001:db8:100::/40", B6));
    config.routes.push(via6("2001:db8:100:7::/64", A6));
    config.routes.push(via6("2001:db8:100:7::7/128", B6));
    let mut net = Net::new(config, 1);
    let to = |net: &mut Net, dst: &str| {
        net.one6(WAN, &udp6((R6, 1), (dst.parse().expect("an address"), 2), b"x")).dst_mac
    };
    assert_eq!(to(&mut net, "2001:db8:1ff::1"), mac(3));
    assert_eq!(to(&mut net, "2001:db8:100:7::1"), mac(2));
    assert_eq!(to(&mut net, "2001:db8:100:7::7"), mac(3));
    // RFC 4291 §2.6.1: the subnet's anycast address is the router's.
    let sent = net.one6(LAN, &link6(A6).ipv6(A6, v6(1, 0)).echo_request(7, 1, b"x"));
    assert_eq!((sent.icmp.map(|i| i.0), sent.src), (Some(129), v6(1, 0)));
}

#[test]
fn r14_the_first_packet_waits_for_its_neighbour() {
    let mut net = Net::new(dual(), 2);
    let from = net.sent6.len();
    let sent = net.one6(WAN, &udp6((R6, 1), (A6, 2), b"first"));
    assert_eq!((sent.payload.as_slice(), sent.dst_mac, sent.src_mac), (&b"first"[..], mac(2), LAN_MAC));
    let question = nd::Message::NeighbourSolicit { target: A6, source: Some(LAN_MAC) };
    assert_eq!(net.nd_since(from), [(LAN, question)]);
    let asked = net.sent6[from..].iter().find(|p| p.nd.is_some()).expect("a question");
    assert_eq!((asked.dst, asked.hop_limit), (nd::solicited_node(A6), 255));
    assert_eq!(asked.dst_mac, nd::multicast_mac(nd::solicited_node(A6)));
    // The other worker knows it, too.
    let from = net.sent6.len();
    net.one6(WAN, &udp6((R6, 1), (A6, 2), b"second"));
    assert_eq!(net.nd_since(from), []);
    let known = net.router.neighbours(net.now);
    assert!(known.iter().any(|n| n.address == A6 && n.state == NeighbourState::Reachable), "{known:?}");
}

#[test]
fn r14_solicitations_are_answered_and_remembered() {
    let mut net = Net::new(dual(), 1);
    let ask = nd::Message::NeighbourSolicit { target: LAN6, source: Some(mac(9)) };
    let (asker, group) = (v6(1, 9), nd::solicited_node(LAN6));
    let from = net.sent6.len();
    net.send6(LAN, &to_router(mac(9), group).ipv6(asker, group).nd(&ask));
    let sent = &net.sent6[from];
    let answer = nd::Message::NeighbourAdvert {
        router: true,
        solicited: true,
        overrides: true,
        target: LAN6,
        mac: Some(LAN_MAC),
    };
    assert_eq!((sent.nd.clone(), sent.src, sent.dst, sent.dst_mac), (Some(answer), LAN6, asker, mac(9)));
    // It is known now, as stale: used at once, and asked after five seconds (RFC 4861 §7.3.3).
    let from = net.sent6.len();
    assert_eq!(net.one6(WAN, &udp6((R6, 1), (asker, 2), b"x")).dst_mac, mac(9));
    net.wait(Duration::from_millis(4900));
    assert_eq!(net.nd_since(from), []);
    net.wait(Duration::from_millis(200));
    let probe = nd::Message::NeighbourSolicit { target: asker, source: Some(LAN_MAC) };
    assert_eq!(net.nd_since(from), [(LAN, probe)]);
    assert_eq!(net.sent6.last().map(|p| (p.dst, p.dst_mac)), Some((asker, mac(9))), "alone");
    net.secs(4);
    assert_eq!(net.nd_since(from).len(), 3, "three probes, then it is forgotten");
    assert!(net.router.neighbours(net.now).iter().all(|n| n.state != NeighbourState::Reachable));
}

#[test]
fn r14_false_discovery_is_dropped() {
    let mut net = Net::new(dual(), 1);
    let group = nd::solicited_node(LAN6);
    let ask = nd::Message::NeighbourSolicit { target: LAN6, source: Some(mac(9)) };
    let good = to_router(mac(9), group).ipv6(v6(1, 9), group).nd(&ask);
    let mut far = good.clone();
    far[14 + 7] = 254;
    net.none6(LAN, &far, Drop::BadNd);
    let mut broken = good.clone();
    broken[14 + 40 + 2] ^= 1;
    net.none6(LAN, &broken, Drop::BadNd);
    let cut = good[..good.len() - 4].to_vec();
    net.none6(LAN, &cut, Drop::BadIpv6);
    // A source that is not on the link (RFC 4861 §7.2.3).
    net.none6(LAN, &to_router(mac(9), group).ipv6(R6, group).nd(&ask), Drop::BadNd);
    // For somebody else.
    let other = nd::Message::NeighbourSolicit { target: B6, source: Some(mac(9)) };
    net.none6(
        LAN,
        &to_router(mac(9), group).ipv6(v6(1, 9), nd::solicited_node(B6)).nd(&other),
        Drop::NdIgnored,
    );
    // A probe for a duplicate must have no link-layer address.
    net.none6(LAN, &to_router(mac(9), group).ipv6(Ipv6Addr::UNSPECIFIED, group).nd(&ask), Drop::BadNd);
}

/// RFC 4862 §5.4: asked for first, and not used while somebody may answer, nor when somebody has.
#[test]
fn r14_an_address_is_not_used_before_it_was_probed_for() {
    let probe = |target: Ipv6Addr| nd::Message::NeighbourSolicit { target, source: None };
    let claims = |target: Ipv6Addr| {
        let (router, solicited, overrides, mac) = (false, false, true, Some(net::mac(9)));
        let claim = nd::Message::NeighbourAdvert { router, solicited, overrides, target, mac };
        let all: Ipv6Addr = "ff02::1".parse().expect("all nodes");
        to_router(net::mac(9), all).ipv6(target, all).nd(&claim)
    };
    let also_probes = |target: Ipv6Addr| {
        let group = nd::solicited_node(target);
        to_router(mac(9), group).ipv6(Ipv6Addr::UNSPECIFIED, group).nd(&probe(target))
    };
    let ask = |target: Ipv6Addr| {
        let ask = nd::Message::NeighbourSolicit { target, source: Some(mac(9)) };
        let group = nd::solicited_node(target);
        to_router(mac(9), group).ipv6(v6(1, 9), group).nd(&ask)
    };
    for n_workers in [1, 2, 4] {
        for other in [None, Some(claims(LAN6)), Some(also_probes(LAN6))] {
            let mut net = Net::new(plain(), n_workers);
            let from = net.sent6.len();
            net.begin(dual());
            let said = net.nd_since(from);
            let probed: Vec<Ipv6Addr> = said
                .iter()
                .map(|(_, message)| match message {
                    nd::Message::NeighbourSolicit { target, source: None } => *target,
                    other => panic!("{other:?} while addresses are probed for"),
                })
                .collect();
            assert!(
                [LAN6, WAN6, nd::link_local(LAN_MAC)].iter().all(|own| probed.contains(own)),
                "{probed:?}"
            );
            net.none6(LAN, &ask(LAN6), Drop::NdIgnored);
            net.none6(LAN, &link6(A6).ipv6(A6, LAN6).echo_request(7, 1, b"x"), Drop::DuplicateAddress);
            let is_ours = other.is_none();
            if let Some(other) = other {
                net.none6(LAN, &other, Drop::DuplicateAddress);
                let told = |e: &&RouterEvent| matches!(e, RouterEvent::DuplicateAddress { address, .. } if *address == IpAddr::V6(LAN6));
                assert_eq!(net.events.iter().filter(told).count(), 1);
            }
            let from = net.sent6.len();
            net.secs(2);
            let advertised = |own: Ipv6Addr, said: &[(u32, nd::Message)]| {
                let is = |m: &nd::Message| matches!(m, nd::Message::NeighbourAdvert { target, .. } if *target == own);
                said.iter().any(|(_, message)| is(message))
            };
            let said = net.nd_since(from);
            assert_eq!((advertised(LAN6, &said), advertised(WAN6, &said)), (is_ours, true));
            // Whichever worker is asked.
            for _ in 0..n_workers {
                let from = net.sent6.len();
                net.send6(LAN, &ask(LAN6));
                assert_eq!(advertised(LAN6, &net.nd_since(from)), is_ours);
                let pong = net.send6(LAN, &link6(A6).ipv6(A6, LAN6).echo_request(7, 1, b"x"));
                assert_eq!(pong.len(), usize::from(is_ours));
            }
            // What is known to be somebody else's stays so with another configuration; what was probed for is used at once.
            let mut config = dual();
            config.routes.push(via6("2001:db8:500::/40", B6));
            net.begin(config);
            let from = net.sent6.len();
            net.send6(LAN, &ask(LAN6));
            assert_eq!(advertised(LAN6, &net.nd_since(from)), is_ours);
        }
    }
}

#[test]
fn r14_duplicate_addresses_are_defended_and_told() {
    let mut net = Net::new(dual(), 1);
    let start: Vec<_> = net.nd_since(0);
    let probe = nd::Message::NeighbourSolicit { target: LAN6, source: None };
    assert!(start.contains(&(LAN, probe.clone())), "RFC 4862 §5.4.2: it asks before it speaks: {start:?}");
    assert!(start.iter().any(|(port, m)| *port == LAN
        && matches!(m, nd::Message::NeighbourAdvert { target, solicited: false, overrides: true, .. } if *target == LAN6)));
    let group = nd::solicited_node(LAN6);
    let from = net.sent6.len();
    net.send6(LAN, &to_router(mac(9), group).ipv6(Ipv6Addr::UNSPECIFIED, group).nd(&probe));
    assert_eq!(net.sent6[from].dst, "ff02::1".parse::<Ipv6Addr>().expect("all nodes"));
    let claim = nd::Message::NeighbourAdvert {
        router: false,
        solicited: false,
        overrides: true,
        target: LAN6,
        mac: Some(mac(9)),
    };
    net.none6(LAN, &link6(A6).ipv6(A6, LAN6).nd(&claim), Drop::DuplicateAddress);
    let event = RouterEvent::DuplicateAddress { interface: "lan".into(), address: LAN6.into(), mac: mac(9) };
    assert_eq!(net.events, [event]);
}

#[test]
fn r14_an_advertisement_moves_a_neighbour_only_if_it_overrides() {
    let mut net = Net::new(dual(), 1);
    net.one6(WAN, &udp6((R6, 1), (A6, 2), b"x"));
    let claim = |overrides| {
        let (router, solicited, mac) = (false, false, Some(mac(8)));
        let message = nd::Message::NeighbourAdvert { router, solicited, overrides, target: A6, mac };
        build::ethernet(net::mac(8), LAN_MAC).ipv6(A6, LAN6).nd(&message)
    };
    net.send6(LAN, &claim(false));
    assert_eq!(net.one6(WAN, &udp6((R6, 1), (A6, 2), b"x")).dst_mac, mac(2));
    net.send6(LAN, &claim(true));
    assert_eq!(net.one6(WAN, &udp6((R6, 1), (A6, 2), b"x")).dst_mac, mac(8));
}

#[test]
fn r15_the_neighbour_table_is_bounded_for_ipv6() {
    let mut config = dual();
    config.tuning.n_neighbours = 10;
    let mut net = Net::new(config, 1);
    for host in 0..20 {
        net.send6(WAN, &udp6((R6, 1), (v6(1, 0x100 + host), 2), b"x"));
    }
    assert_eq!(net.drops(), [(Drop::NeighbourTableFull, 10)]);
}

#[test]
fn d04_router_advertisements() {
    let mut config = dual();
    let dns = vec![LAN6];
    let search = vec!["lab.example".to_owned()];
    config.interfaces[0].advert =
        Some(AdvertConfig { dns: dns.clone(), search: search.clone(), ..AdvertConfig::default() });
    let advert = config.interfaces[0].advert.as_mut().expect("just set");
    let route = |to: &str, preference, secs| AdvertRoute {
        to: to.parse().expect("a prefix"),
        preference,
        lifetime: Duration::from_secs(secs),
    };
    advert.routes =
        vec![route("2001:db8:5::/48", nd::Preference::High, 900), route("::/0", nd::Preference::Low, 300)];
    let mut net = Net::new(config.clone(), 2);
    net.wait(Duration::from_millis(10));
    let adverts = |net: &Net, from: usize| -> Vec<nd::RouterAdvert> {
        let sent = net.sent6[from..].iter().filter(|p| p.port == LAN);
        sent.filter_map(|p| match &p.nd {
            Some(nd::Message::RouterAdvert(advert)) => {
                assert_eq!((p.src, p.hop_limit), (nd::link_local(LAN_MAC), 255));
                Some(advert.clone())
            }
            _ => None,
        })
        .collect()
    };
    let first = adverts(&net, 0).remove(0);
    assert_eq!((first.router_lifetime, first.source, first.mtu), (1800, Some(LAN_MAC), Some(1500)));
    let prefix = first.prefixes[0];
    assert_eq!((prefix.prefix, prefix.len, prefix.on_link, prefix.autonomous), (v6(1, 0), 64, true, true));
    assert_eq!((first.dns, first.search, first.dns_lifetime), (dns, search, 1800));
    // RFC 4191 §2.3: where to use this router for, whoever is the default one.
    let told: Vec<_> = first.routes.iter().map(|r| (r.prefix, r.len, r.preference, r.lifetime)).collect();
    let site = "2001:db8:5::".parse().expect("an address");
    let expected =
        [(site, 48, nd::Preference::High, 900), (Ipv6Addr::UNSPECIFIED, 0, nd::Preference::Low, 300)];
    assert_eq!(told, expected);
    // Asked, it answers, but no more often than every three seconds (RFC 4861 §6.2.6).
    let from = net.sent6.len();
    let group = "ff02::2".parse::<Ipv6Addr>().expect("all routers");
    let ask = to_router(mac(9), group)
        .ipv6(v6(1, 9), group)
        .nd(&nd::Message::RouterSolicit { source: Some(mac(9)) });
    for _ in 0..5 {
        net.send6(LAN, &ask);
    }
    net.wait(Duration::from_secs(4));
    assert_eq!(adverts(&net, from).len(), 1);
    // On its own between a third of the interval and the interval, after the first three.
    let from = net.sent6.len();
    net.secs(6000);
    assert!((10..=33).contains(&adverts(&net, from).len()), "{}", adverts(&net, from).len());
    // The last one says that it is no router any more.
    let from = net.sent6.len();
    config.interfaces[0].advert = None;
    net.configure(config.clone());
    let last = adverts(&net, from);
    assert_eq!(last.iter().map(|a| a.router_lifetime).collect::<Vec<_>>(), [0]);
    assert!(last[0].routes.len() == 2 && last[0].routes.iter().all(|route| route.lifetime == 0));
    config.interfaces[1].advert = Some(AdvertConfig::default());
    let refused = net.router.set_config(net.now, config);
    assert!(matches!(refused, Err(ConfigError::BadAdvert { index: 1, .. })), "{refused:?}");
}

fn fragment(offset: u16, more: bool, id: u32, next: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let field = offset << 3 | u16::from(more);
    let mut bytes = vec![next.0, 0];
    bytes.extend_from_slice(&field.to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn fragments(frame: &[u8], id: u32, at: usize) -> [Vec<u8>; 2] {
    let payload = &frame[14 + 40..];
    let one = |start: usize, end: usize, more| {
        let bytes = fragment((start / 8) as u16, more, id, IpProtocol::UDP, &payload[start..end]);
        link6(A6).ipv6(A6, R6).payload(IpProtocol::FRAGMENT, &bytes)
    };
    [one(0, at, true), one(at, payload.len(), false)]
}

/// A stateful firewall lets the inside out, and the outside only answer.
fn firewalled() -> vrouter::RouterConfig {
    let mut config = dual();
    let rule = |input: &str, action| FirewallRule {
        input: Some(input.into()),
        out: None,
        source: None,
        destination: None,
        protocol: None,
        destination_ports: None,
        action,
        ..FirewallRule::new(action)
    };
    config.firewall = vec![
        FirewallRule { destination_ports: Some((53, 53)), ..rule("lan", FirewallAction::Allow) },
        FirewallRule { protocol: Some(58), ..rule("lan", FirewallAction::Allow) },
        rule("lan", FirewallAction::Reject),
        rule("wan", FirewallAction::Drop),
    ];
    config
}

#[test]
fn f01_a_stateful_firewall_for_ipv6() {
    for n_workers in [1, 2, 4] {
        let mut net = Net::new(firewalled(), n_workers);
        net.none6(WAN, &udp6((R6, 53), (A6, 5000), b"x"), Drop::FirewallDenied);
        assert_eq!(net.one6(LAN, &udp6((A6, 5000), (R6, 53), b"query")).port, WAN);
        assert_eq!(net.one6(WAN, &udp6((R6, 53), (A6, 5000), b"answer")).ports, (53, 5000));
        let sent = net.one6(LAN, &udp6((A6, 5000), (R6, 54), b"x"));
        assert_eq!(sent.icmp.map(|i| (i.0, i.1)), Some((1, 1)), "rejected");
        // Related: an error about the query; one about nothing is not.
        let error = icmpv6::Message::DestinationUnreachable { code: 4 };
        let about = |sp: u16| udp6((A6, sp), (R6, 53), b"query")[14..].to_vec();
        let sent = net.one6(WAN, &link6(R6).ipv6(R6, A6).icmpv6(&error, &about(5000)));
        assert_eq!(sent.icmp.map(|i| (i.0, i.1)), Some((1, 4)));
        net.none6(WAN, &link6(R6).ipv6(R6, A6).icmpv6(&error, &about(5001)), Drop::FirewallDenied);
        let sent = net.one6(LAN, &link6(A6).ipv6(A6, R6).echo_request(9, 1, b"odd"));
        assert_eq!(sent.icmp.map(|i| i.0), Some(128));
        assert_eq!(
            net.one6(WAN, &link6(R6).ipv6(R6, A6).echo_reply(9, 1, b"odd")).icmp.map(|i| i.0),
            Some(129)
        );
    }
}

#[test]
fn n71_fragments_of_ipv6() {
    for n_workers in [1, 2, 4] {
        let mut net = Net::new(firewalled(), n_workers);
        let whole = udp6((A6, 5000), (R6, 53), &[7; 2000]);
        // In order and reversed: both pass by the rule for their ports.
        let [first, second] = fragments(&whole, 7, 1200);
        assert_eq!(net.one6(LAN, &first).bytes, with_hop_limit(&first, 63));
        assert_eq!(net.one6(LAN, &second).bytes, with_hop_limit(&second, 63));
        let [first, second] = fragments(&whole, 8, 1200);
        assert_eq!(net.send6(LAN, &second), []);
        assert_eq!(net.send6(LAN, &first).len(), 2);
        // Those of a forbidden packet fall with their first.
        let [first, second] = fragments(&udp6((A6, 5000), (R6, 54), &[7; 2000]), 9, 1200);
        assert_eq!(net.one6(LAN, &first).icmp.map(|i| (i.0, i.1)), Some((1, 1)));
        assert_eq!(net.one6(LAN, &second).icmp.map(|i| (i.0, i.1)), Some((1, 1)));
        // RFC 6946: an atomic fragment is a packet of its own, whatever others have its identification.
        let atomic = fragment(0, false, 7, IpProtocol::UDP, &udp6((A6, 5000), (R6, 53), b"atomic")[54..]);
        for _ in 0..2 {
            let sent = net.one6(LAN, &link6(A6).ipv6(A6, R6).payload(IpProtocol::FRAGMENT, &atomic));
            assert_eq!(sent.bytes[6], IpProtocol::FRAGMENT.0);
        }
        // RFC 8200 §4.5: all but the last have a multiple of eight bytes; RFC 5722: overlaps condemn the packet.
        let odd = fragment(0, true, 10, IpProtocol::UDP, &whole[54..54 + 20 + 1]);
        net.none6(LAN, &link6(A6).ipv6(A6, R6).payload(IpProtocol::FRAGMENT, &odd), Drop::BadFragments);
        let [first, _] = fragments(&whole, 11, 1200);
        let [_, early] = fragments(&whole, 11, 800);
        net.one6(LAN, &first);
        net.none6(LAN, &early, Drop::BadFragments);
        // RFC 7112: the first fragment must hold the upper layer's ports.
        let headless = fragment(0, true, 12, IpProtocol::UDP, &[]);
        net.none6(LAN, &link6(A6).ipv6(A6, R6).payload(IpProtocol::FRAGMENT, &headless), Drop::BadTransport);
    }
}

fn with_hop_limit(frame: &[u8], limit: u8) -> Vec<u8> {
    let mut packet = frame[14..].to_vec();
    packet[7] = limit;
    packet
}

#[test]
fn n12_masquerade_for_ipv6_where_it_is_named() {
    for n_workers in [1, 2, 4] {
        let mut config = dual();
        let masquerade = |sources: &[&str]| NatRule::Masquerade {
            out: "wan".into(),
            sources: sources.iter().map(|s| s.parse().expect("a prefix")).collect(),
            pool: Vec::new(),
            sharing: Sharing::Independent,
            portless: false,
        };
        config.nat = vec![masquerade(&[])];
        let mut net = Net::new(config.clone(), n_workers);
        assert_eq!(
            net.one6(LAN, &udp6((A6, 5000), (R6, 53), b"x")).src,
            A6,
            "IPv6 hides only where it is named"
        );
        config.nat = vec![masquerade(&["2001:db8:0:1::/64"])];
        let mut net = Net::new(config, n_workers);
        let sent = net.one6(LAN, &udp6((A6, 5000), (R6, 53), b"query"));
        assert_eq!((sent.src, sent.ports.1), (WAN6, 53));
        let back = net.one6(WAN, &udp6((R6, 53), (WAN6, sent.ports.0), b"answer"));
        assert_eq!((back.dst, back.ports), (A6, (53, 5000)));
        let ping = net.one6(LAN, &link6(A6).ipv6(A6, R6).echo_request(9, 1, b"odd"));
        let (_, _, [a, b, ..]) = ping.icmp.expect("ICMPv6");
        let id = u16::from_be_bytes([a, b]);
        let back = net.one6(WAN, &link6(R6).ipv6(R6, WAN6).echo_reply(id, 1, b"odd"));
        assert_eq!((back.dst, back.icmp.map(|i| i.2)), (A6, Some([0, 9, 0, 1])));
        // Errors about it find their way, and what they quote is as its sender knows it (RFC 5508 §4).
        let error = icmpv6::Message::PacketTooBig { mtu: 1300 };
        let back = net.one6(WAN, &link6(R6).ipv6(R6, WAN6).icmpv6(&error, &sent.bytes));
        assert_eq!((back.dst, back.icmp.map(|i| i.0)), (A6, Some(2)));
        assert_eq!(back.payload[8..24], A6.octets(), "the quoted source");
        assert_eq!(back.payload[40..42], 5000u16.to_be_bytes());
        // From outside the inside is reached by no address of its own.
        net.none6(WAN, &udp6((R6, 1), (A6, 5000), b"x"), Drop::NatNoBinding);
    }
}

#[test]
fn r05_sources_are_checked_for_ipv6() {
    let mut config = dual();
    config.interfaces[0].source_check = SourceCheck::Strict;
    let mut net = Net::new(config, 1);
    net.none6(LAN, &link6(A6).ipv6(v6(2, 2), R6).udp(1, 2, b"x"), Drop::SourceRefused);
    assert_eq!(net.one6(LAN, &udp6((A6, 1), (R6, 2), b"x")).port, WAN);
}

#[test]
fn r10_extension_headers_pass_untouched() {
    let mut net = Net::new(dual(), 1);
    let udp = udp6((A6, 5000), (R6, 53), b"x")[54..].to_vec();
    for kind in [IpProtocol::HOP_BY_HOP, IpProtocol::ROUTING, IpProtocol::DESTINATION_OPTIONS] {
        let bytes = [[17, 0, 1, 4, 0, 0, 0, 0].as_slice(), &udp].concat();
        let frame = link6(A6).ipv6(A6, R6).payload(kind, &bytes);
        assert_eq!(net.one6(LAN, &frame).bytes, with_hop_limit(&frame, 63));
    }
    let frame = link6(A6)
        .ipv6(A6, R6)
        .with_ipv6(|h| (h.traffic_class, h.flow_label) = (0xbb, 0x12345))
        .udp(1, 2, b"x");
    assert_eq!(net.one6(LAN, &frame).bytes, with_hop_limit(&frame, 63));
}

#[test]
fn r14_solicitations_for_somebody_beyond_another_interface() {
    let mut config = dual();
    config.interfaces[0].proxy = vec!["2001:db8:0:100::/64".parse().expect("a prefix")];
    let mut net = Net::new(config, 1);
    let solicit = |src: std::net::Ipv6Addr, target: std::net::Ipv6Addr| {
        let group = packet::nd::solicited_node(target);
        let source = (!src.is_unspecified()).then_some(mac(2));
        let message = packet::nd::Message::NeighbourSolicit { target, source };
        packet::build::ethernet(mac(2), packet::nd::multicast_mac(group)).ipv6(src, group).nd(&message)
    };
    let answers = |net: &mut Net, frame: &[u8]| {
        let n = net.sent6.len();
        net.send(LAN, frame);
        net.sent6[n..].iter().filter_map(|sent| sent.nd.clone()).collect::<Vec<_>>()
    };
    let heard = answers(&mut net, &solicit(A6, R6));
    let [packet::nd::Message::NeighbourAdvert { solicited, overrides, target, mac: of, .. }] = &heard[..]
    else {
        panic!("{heard:?}")
    };
    assert_eq!((*solicited, *overrides, *target, *of), (true, false, R6, Some(mac(0xf0 + LAN as u8))));
    let nobody = std::net::Ipv6Addr::UNSPECIFIED;
    assert_eq!(answers(&mut net, &solicit(nobody, R6)), [], "an address may be taken");
    assert_eq!(answers(&mut net, &solicit(A6, v6(0x101, 7))), [], "not among those");
}
