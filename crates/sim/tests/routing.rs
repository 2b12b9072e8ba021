//! A router between hosts: VLAN sub-interfaces, masquerading, port forwards, errors; with loss, offloads, workers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use packet::{Instant, MacAddr, PortNo, VlanId, tcp};
use sim::host::{ECHO_PORT, HOST_PORT, What};
use sim::{HostConfig, LinkConfig, NodeId, Sim, seeds};
use vrouter::{InterfaceConfig, NatRule, RouterConfig, Transport};

const LAN: PortNo = PortNo(1);
const WAN: PortNo = PortNo(2);
const LAN2: PortNo = PortNo(3);
const OUTSIDE: IpAddr = ip(203, 0, 113, 2);
const OUR_OUTSIDE: IpAddr = ip(203, 0, 113, 1);
const INSIDE: IpAddr = ip(10, 1, 0, 2);
const TAGGED: IpAddr = ip(10, 2, 0, 2);

const fn ip(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

fn mac(n: u64) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 + n)
}

fn vlan() -> VlanId {
    VlanId::new(20).expect("in range")
}

struct Net {
    sim: Sim,
    inside: NodeId,
    tagged: NodeId,
    outside: NodeId,
    router: NodeId,
}

fn interface(name: &str, port: PortNo, vlan: Option<VlanId>, address: IpAddr) -> InterfaceConfig {
    let mac = mac(0x100 + u64::from(port.0));
    InterfaceConfig {
        name: name.into(),
        port: Some(port),
        vlan,
        mac,
        addresses: vec![(address, 24)],
        ..InterfaceConfig::default()
    }
}

fn config() -> RouterConfig {
    let forward = |protocol| NatRule::PortForward {
        input: "wan".into(),
        protocol,
        port: 8080,
        to: (ip(10, 1, 0, 2), ECHO_PORT),
        inbound_only: false,
        vrf: None,
    };
    RouterConfig {
        interfaces: vec![
            interface("lan", LAN, None, ip(10, 1, 0, 1)),
            interface("lan2.20", LAN2, Some(vlan()), ip(10, 2, 0, 1)),
            interface("wan", WAN, None, OUR_OUTSIDE),
        ],
        nat: vec![
            NatRule::Masquerade {
                out: "wan".into(),
                sources: vec![],
                pool: vec![],
                sharing: Default::default(),
                portless: false,
            },
            forward(Transport::Udp),
            forward(Transport::Tcp),
        ],
        ..RouterConfig::named("r1")
    }
}

fn net(seed: u64, n_workers: usize, link: LinkConfig) -> Net {
    let mut sim = Sim::new(seed);
    let offload = seed % 2 == 1;
    let mut host = |name: &str, n, addr, config: fn(HostConfig) -> HostConfig| {
        let base = HostConfig { offload, ..HostConfig::new(mac(n), addr, 24) };
        sim.add_host(name, config(base))
    };
    let inside = host("inside", 1, INSIDE, |c| c.gateway(ip(10, 1, 0, 1)));
    let tagged = host("tagged", 2, TAGGED, |c| c.gateway(ip(10, 2, 0, 1)).vlan(vlan()));
    let outside = host("outside", 3, OUTSIDE, |c| c);
    let router = sim.add_router("r1", n_workers);
    for (node, port) in [(inside, LAN), (tagged, LAN2), (outside, WAN)] {
        sim.link((node, HOST_PORT), (router, port), link);
    }
    sim.configure_router(router, config()).expect("a good configuration");
    Net { sim, inside, tagged, outside, router }
}

fn clean(net: &Net) {
    for host in [net.inside, net.tagged, net.outside] {
        let counters = net.sim.host(host).counters();
        assert_eq!((counters.n_bad_checksum, counters.n_malformed, counters.n_foreign_vlan), (0, 0, 0));
    }
}

#[test]
fn echo_passes_between_vlans_and_out_with_a_ttl_less() {
    seeds::for_each(8, |seed| {
        let mut net = net(seed, 1 + seed as usize % 4, LinkConfig::default());
        assert!(net.sim.ping(net.inside, ip(10, 1, 0, 1), 1).is_some(), "the router answers");
        assert!(net.sim.ping(net.inside, TAGGED, 2).is_some(), "between VLANs");
        assert!(net.sim.ping(net.tagged, INSIDE, 1).is_some(), "and back");
        assert!(net.sim.ping(net.tagged, OUTSIDE, 2).is_some(), "outside");
        let ttls = |host| net.sim.host(host).heard().iter().map(|h| h.ttl).collect::<Vec<_>>();
        assert!(ttls(net.outside).iter().all(|ttl| *ttl == 63));
        let seen = net.sim.host(net.outside).heard();
        assert!(seen.iter().all(|h| h.from == OUR_OUTSIDE), "the outside sees one address: {seen:?}");
        clean(&net);
    });
}

#[test]
fn two_hosts_with_one_source_port_are_told_apart() {
    seeds::for_each(8, |seed| {
        let mut net = net(seed, 1 + seed as usize % 4, LinkConfig::default());
        for (host, data) in [(net.inside, b"one"), (net.tagged, b"two")] {
            net.sim.with_host(host, |h, now| h.send_udp(now, OUTSIDE, (4000, ECHO_PORT), data));
        }
        net.sim.run_for(Duration::from_secs(2));
        for (host, data) in [(net.inside, b"one"), (net.tagged, b"two")] {
            assert_eq!(net.sim.host(host).n_datagrams(data), 1, "its own answer");
            assert_eq!(net.sim.host(host).heard().len(), 1, "and no other");
            assert_eq!(net.sim.host(host).heard()[0].from, OUTSIDE);
        }
        let seen: Vec<u16> = net.sim.host(net.outside).heard().iter().filter_map(udp_source).collect();
        assert!(seen.len() == 2 && seen[0] != seen[1], "{seen:?}");
        clean(&net);
    });
}

fn udp_source(heard: &sim::host::Heard) -> Option<u16> {
    match heard.what {
        What::Udp { src_port, .. } => Some(src_port),
        _ => None,
    }
}

#[test]
fn a_port_forward_leads_in_and_answers_come_from_it() {
    seeds::for_each(8, |seed| {
        let mut net = net(seed, 1 + seed as usize % 4, LinkConfig::default());
        net.sim.with_host(net.outside, |h, now| h.send_udp(now, OUR_OUTSIDE, (5555, 8080), b"knock"));
        net.sim.run_for(Duration::from_secs(2));
        let inside = net.sim.host(net.inside).heard();
        assert_eq!(inside.len(), 1);
        assert_eq!((inside[0].from, inside[0].to), (OUTSIDE, INSIDE));
        let answer = net.sim.host(net.outside).heard();
        let expected = What::Udp { src_port: 8080, dst_port: 5555, data: b"knock".to_vec() };
        assert_eq!((answer.len(), answer[0].from, &answer[0].what), (1, OUR_OUTSIDE, &expected));
        let syn =
            tcp::Header { src_port: 5555, dst_port: 8080, flags: tcp::Flags::SYN, ..Default::default() };
        net.sim.with_host(net.outside, |h, now| h.send_tcp(now, OUR_OUTSIDE, syn, b""));
        net.sim.run_for(Duration::from_secs(1));
        let heard = net.sim.host(net.inside).heard().last().expect("the SYN").clone();
        assert!(matches!(heard.what, What::Tcp(header) if header.dst_port == ECHO_PORT));
        clean(&net);
    });
}

#[test]
fn what_cannot_pass_is_answered_by_an_error() {
    let mut net = net(1, 1, LinkConfig::default());
    let error = |net: &Net| {
        net.sim.host(net.inside).heard().iter().find_map(|h| match h.what {
            What::Error { kind, code } => Some((h.from, kind, code)),
            _ => None,
        })
    };
    assert_eq!(net.sim.ping(net.inside, ip(192, 0, 2, 1), 1), None);
    assert_eq!(error(&net), Some((ip(10, 1, 0, 1), 3, 0)), "no route");
    net.sim.with_host(net.inside, |h, _| h.clear());
    assert_eq!(net.sim.ping(net.inside, ip(203, 0, 113, 77), 8), None);
    net.sim.run_for(Duration::from_secs(5));
    assert_eq!(error(&net), Some((ip(10, 1, 0, 1), 3, 1)), "no such host");
    net.sim.with_host(net.inside, |h, _| h.clear());
    net.sim.with_host(net.outside, |h, now| h.send_udp(now, OUR_OUTSIDE, (1, 9), b"nobody"));
    net.sim.run_for(Duration::from_secs(1));
    let outside = net.sim.host(net.outside).heard();
    assert!(outside.iter().any(|h| h.what == What::Error { kind: 3, code: 3 }), "{outside:?}");
    clean(&net);
}

#[test]
fn loss_and_jitter_on_every_link_are_lived_through() {
    seeds::for_each(16, |seed| {
        let link = LinkConfig { jitter: Duration::from_millis(3), ..LinkConfig::lossy(200_000) };
        let mut net = net(seed, 1 + seed as usize % 4, link);
        for (from, to) in [(net.inside, OUTSIDE), (net.tagged, OUTSIDE), (net.inside, TAGGED)] {
            assert!(net.sim.ping(from, to, 100).is_some());
        }
        clean(&net);
    });
}

#[test]
fn bindings_end_and_leave_nothing() {
    let mut net = net(3, 2, LinkConfig::default());
    let ping = net.sim.ping(net.inside, OUTSIDE, 2);
    assert!(ping.is_some());
    net.sim.with_host(net.inside, |h, now| h.send_udp(now, OUTSIDE, (4000, 9), b"once"));
    net.sim.run_for(Duration::from_secs(1));
    let now = net.sim.now();
    assert_eq!(net.sim.router(net.router).router().connections(now).len(), 2);
    net.sim.run_for(Duration::from_secs(3600));
    let now: Instant = net.sim.now();
    assert_eq!(net.sim.router(net.router).router().connections(now).len(), 0);
}
