//! The whole: hosts, switches, a router and the controller, each as it is, over bad links and through restarts.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::{
    LeafSpine, SETTLE, add_host, add_host_as, add_switch, address, join, mac, network, set_intent, vlan,
};
use controller::{Attachment, Chain, Function, Intent, PortName};
use packet::PortNo;
use sim::host::{ECHO_PORT, What};
use sim::{HostConfig, LinkConfig, NodeId, Sim, seeds, wire};
use vrouter::{InterfaceConfig, NatRule, RouterConfig};

const LINK: LinkConfig =
    LinkConfig { delay: Duration::from_micros(100), jitter: Duration::from_micros(30), loss_ppm: 0 };

fn quiet(sim: &mut Sim) {
    if !sim.run_until_quiet(Duration::from_secs(30)) {
        let core = sim.controller().core();
        let unrealised: Vec<_> =
            core.view().switches().keys().filter(|dpid| !core.is_realised(**dpid)).collect();
        panic!("the network does not come to rest; not realised: {unrealised:?}");
    }
    assert_eq!(sim.n_refused(), 0, "every message is understood");
}

#[test]
fn two_hosts_on_two_switches_ping() {
    seeds::for_each(10, |seed| {
        let mut sim = Sim::new(seed);
        sim.set_controller();
        let switches = [1, 2].map(|n| add_switch(&mut sim, n, 1 + seed as usize % 3));
        join(&mut sim, (switches[0], 9), (switches[1], 9), LINK);
        let offload = seed % 2 == 0;
        let [a, b] = [1, 2].map(|n| {
            add_host_as(&mut sim, n, (switches[n as usize - 1], 1), LINK, |config| HostConfig {
                offload,
                ..config
            })
        });
        quiet(&mut sim);
        assert!(sim.ping(a, address(2), 3).is_some());
        quiet(&mut sim);
        let rtt = sim.ping(b, address(1), 1).expect("known by now");
        assert!(rtt < Duration::from_millis(2), "not by way of the controller: {rtt:?}");
        sim.with_host(a, |h, now| h.send_udp(now, address(2), (9, ECHO_PORT), b"data"));
        sim.run_for(Duration::from_secs(1));
        assert_eq!(sim.host(a).n_datagrams(b"data"), 1);
        for host in [a, b] {
            let counters = sim.host(host).counters();
            assert_eq!((counters.n_bad_checksum, counters.n_malformed), (0, 0));
        }
    });
}

/// Two switches joined by a trunk; blue: h1 on s1, h2 on s2, h5 tagged on s2; red: h3 on s1, h4 on s2, h6 tagged.
fn two_networks(seed: u64) -> (Sim, Vec<NodeId>) {
    let mut sim = Sim::new(seed);
    sim.set_controller();
    let s = [1, 2].map(|n| add_switch(&mut sim, n, 1 + seed as usize % 3));
    join(&mut sim, (s[0], 9), (s[1], 9), LINK);
    let mut intent = Intent::default();
    let trunks = [("s2", 3), ("s2", 4)];
    intent.networks.insert("blue".into(), network(10, &[("s1", 1), ("s2", 1)], &trunks));
    intent.networks.insert("red".into(), network(20, &[("s1", 2), ("s2", 2)], &trunks));
    set_intent(&mut sim, intent);
    let mut hosts = Vec::new();
    for (n, at) in [(1, (s[0], 1)), (2, (s[1], 1)), (3, (s[0], 2)), (4, (s[1], 2))] {
        hosts.push(add_host(&mut sim, n, at, LINK));
    }
    for (n, at, id) in [(5, (s[1], 3), 10), (6, (s[1], 4), 20)] {
        hosts.push(add_host_as(&mut sim, n, at, LINK, |config| config.vlan(vlan(id))));
    }
    quiet(&mut sim);
    (sim, hosts)
}

#[test]
fn networks_are_isolated_and_each_is_whole() {
    seeds::for_each(6, |seed| {
        let (mut sim, hosts) = two_networks(seed);
        let blue = |n: usize| matches!(n, 0 | 1 | 4);
        for (from, &host) in hosts.iter().enumerate() {
            for to in (0..6).filter(|to| *to != from) {
                let reached = sim.ping(host, address(to as u32 + 1), 2).is_some();
                assert_eq!(reached, blue(from) == blue(to), "h{} to h{}", from + 1, to + 1);
            }
        }
        for (n, &host) in hosts.iter().enumerate() {
            for heard in sim.host(host).heard() {
                let from = (1..=6).position(|m| heard.from == address(m)).expect("a host");
                assert_eq!(blue(from), blue(n), "h{} heard {heard:?}", n + 1);
            }
        }
    });
}

#[test]
fn in_a_network_with_loops_a_broadcast_reaches_each_host_once() {
    seeds::for_each(6, |seed| {
        let mut net = LeafSpine::new(seed, 2 + (seed % 3) as u32, 3, LINK);
        quiet(&mut net.sim);
        assert_eq!(net.broadcast_counts(0), (1, 1), "nobody is known");
        quiet(&mut net.sim);
        assert_eq!(net.broadcast_counts(1), (1, 1), "everybody is known");
        for from in 0..net.hosts.len() {
            let to = (from + 3) % net.hosts.len();
            assert!(net.sim.ping(net.hosts[from], address(to as u32 + 1), 2).is_some());
        }
        assert_eq!(net.sim.counters().n_hop_limit, 0);
    });
}

#[test]
fn links_that_flap_are_gone_around() {
    seeds::for_each(6, |seed| {
        let mut net = LeafSpine::new(seed, 2, 3, LINK);
        quiet(&mut net.sim);
        assert!(net.sim.ping(net.hosts[0], address(6), 3).is_some());
        for _ in 0..4 {
            let n = net.links.len() as u64;
            let link = net.links[net.sim.rng().below(n) as usize];
            net.sim.set_link(link, false);
            assert!(net.sim.ping(net.hosts[0], address(6), 10).is_some(), "around {link:?}");
            net.sim.run_for(SETTLE);
            quiet(&mut net.sim);
            assert_eq!(net.broadcast_counts(net.sim.now().as_nanos() as u32), (1, 1));
            net.sim.set_link(link, true);
            net.sim.run_for(SETTLE);
            quiet(&mut net.sim);
            assert_eq!(net.broadcast_counts(net.sim.now().as_nanos() as u32), (1, 1));
        }
    });
}

#[test]
fn a_switch_that_reboots_is_given_its_flows_again() {
    seeds::for_each(6, |seed| {
        let mut net = LeafSpine::new(seed, 2, 2, LINK);
        quiet(&mut net.sim);
        assert!(net.sim.ping(net.hosts[0], address(3), 3).is_some());
        let nodes: Vec<NodeId> = net.spines.iter().chain(&net.leaves).copied().collect();
        for node in nodes {
            net.sim.reboot_switch(node);
            net.sim.run_for(SETTLE);
            quiet(&mut net.sim);
            assert!(net.sim.ping(net.hosts[0], address(3), 3).is_some());
            assert!(net.sim.ping(net.hosts[3], address(2), 3).is_some());
            assert_eq!(net.broadcast_counts(net.sim.now().as_nanos() as u32), (1, 1));
        }
    });
}

#[test]
fn forwarding_goes_on_while_the_controller_is_away() {
    seeds::for_each(6, |seed| {
        let mut net = LeafSpine::new(seed, 2, 2, LINK);
        quiet(&mut net.sim);
        assert!(net.sim.ping(net.hosts[0], address(3), 3).is_some());
        assert!(net.sim.ping(net.hosts[2], address(1), 3).is_some());
        quiet(&mut net.sim);
        let nodes: Vec<NodeId> = net.spines.iter().chain(&net.leaves).copied().collect();
        let channels: Vec<_> = nodes.iter().flat_map(|node| net.sim.channels_of(*node)).collect();
        for &channel in &channels {
            net.sim.set_channel(channel, false);
        }
        for _ in 0..10 {
            assert!(
                net.sim.ping(net.hosts[0], address(3), 1).is_some(),
                "nobody is needed for what is known"
            );
        }
        net.sim.restart_controller();
        for &channel in &channels {
            net.sim.set_channel(channel, true);
        }
        // The new controller knows nothing; what flows goes on flowing while it finds out.
        for _ in 0..20 {
            assert!(net.sim.ping(net.hosts[0], address(3), 1).is_some(), "reconciled, not wiped");
            net.sim.run_for(Duration::from_millis(250));
        }
        quiet(&mut net.sim);
        assert!(net.sim.ping(net.hosts[1], address(4), 3).is_some());
    });
}

#[test]
fn loss_delays_but_does_not_break() {
    seeds::for_each(6, |seed| {
        let link = LinkConfig { jitter: Duration::from_millis(1), ..LinkConfig::lossy(50_000) };
        let mut net = LeafSpine::new(seed, 2, 3, link);
        net.sim.run_for(Duration::from_secs(10));
        for from in 0..net.hosts.len() {
            let to = (from + 2) % net.hosts.len();
            assert!(net.sim.ping(net.hosts[from], address(to as u32 + 1), 20).is_some());
        }
        let (_, most) = net.broadcast_counts(0);
        assert!(most <= 1, "loss makes no copies");
    });
}

#[test]
fn equal_seeds_are_equal_runs() {
    let run = |seed| {
        let mut net = LeafSpine::new(seed, 2, 2, LinkConfig::lossy(20_000));
        net.sim.run_for(Duration::from_secs(3));
        net.sim.ping(net.hosts[0], address(4), 3);
        net.sim.digest()
    };
    seeds::for_each(3, |seed| assert_eq!(run(seed), run(seed)));
}

/// h1 and h2 in blue and red on s1, both with the router as gateway; the outside on s2.
#[test]
fn a_router_on_switches_translates_for_two_networks() {
    seeds::for_each(6, |seed| {
        let mut sim = Sim::new(seed);
        sim.set_controller();
        let s = [1, 2].map(|n| add_switch(&mut sim, n, 1));
        join(&mut sim, (s[0], 9), (s[1], 9), LINK);
        let ip = |a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
        let mut intent = Intent::default();
        intent.networks.insert("blue".into(), network(10, &[("s1", 1)], &[("s1", 3)]));
        intent.networks.insert("red".into(), network(20, &[("s1", 2)], &[("s1", 3)]));
        intent.networks.insert("wan".into(), network(30, &[("s2", 1), ("s2", 2)], &[]));
        let attach = |port: (&str, u32), id: Option<u16>| Attachment {
            router: "r1".into(),
            port: PortName::new(port.0, port.1),
            vlan: id.map(vlan),
            network: None,
        };
        let attachments =
            vec![attach(("s1", 3), Some(10)), attach(("s1", 3), Some(20)), attach(("s2", 2), None)];
        intent.routers.insert("r1".into(), attachments);
        set_intent(&mut sim, intent);
        let mut host = |n, addr, gateway: Option<IpAddr>, at: (NodeId, u32)| {
            let mut config = HostConfig::new(mac(n), addr, 24);
            config.gateways.extend(gateway);
            let id = sim.add_host(&format!("h{n}"), config);
            sim.attach(id, (at.0, PortNo(at.1)));
            id
        };
        let blue = host(1, ip(10, 1, 0, 2), Some(ip(10, 1, 0, 1)), (s[0], 1));
        let red = host(2, ip(10, 2, 0, 2), Some(ip(10, 2, 0, 1)), (s[0], 2));
        let outside = host(3, ip(203, 0, 113, 2), None, (s[1], 1));
        let router = sim.add_router("r1", 2);
        join(&mut sim, (router, 1), (s[0], 3), LINK);
        join(&mut sim, (router, 2), (s[1], 2), LINK);
        let interface = |name: &str, port, id: Option<u16>, addr| InterfaceConfig {
            name: name.into(),
            port: Some(PortNo(port)),
            vlan: id.map(vlan),
            mac: mac(0x100 + port),
            addresses: vec![(addr, 24)],
            ..InterfaceConfig::default()
        };
        let interfaces = vec![
            interface("lan.10", 1, Some(10), ip(10, 1, 0, 1)),
            interface("lan.20", 1, Some(20), ip(10, 2, 0, 1)),
            interface("wan", 2, None, ip(203, 0, 113, 1)),
        ];
        let nat = vec![NatRule::Masquerade {
            out: "wan".into(),
            sources: vec![],
            pool: vec![],
            sharing: Default::default(),
            portless: false,
        }];
        let config = RouterConfig { interfaces, nat, ..RouterConfig::named("r1") };
        sim.configure_router(router, config).expect("a good configuration");
        quiet(&mut sim);
        for host in [blue, red] {
            assert!(sim.ping(host, ip(203, 0, 113, 2), 3).is_some(), "outside");
        }
        assert!(sim.ping(blue, ip(10, 2, 0, 2), 3).is_some(), "by the router, between networks");
        let heard = sim.host(outside).heard();
        assert!(heard.iter().all(|h| h.from == ip(203, 0, 113, 1)), "{heard:?}");
        assert!(heard.iter().any(|h| matches!(h.what, What::EchoRequest { .. })));
    });
}

#[test]
fn a_chain_is_passed_in_order_there_and_back() {
    seeds::for_each(4, |seed| {
        let mut sim = Sim::new(seed);
        sim.set_controller();
        let s = [1, 2].map(|n| add_switch(&mut sim, n, 1));
        join(&mut sim, (s[0], 9), (s[1], 9), LINK);
        let client = add_host(&mut sim, 1, (s[0], 1), LINK);
        let server = add_host(&mut sim, 2, (s[1], 1), LINK);
        let (fw, insp) = (sim.add_wire("fw"), sim.add_wire("insp"));
        for (function, switch) in [(fw, s[0]), (insp, s[1])] {
            join(&mut sim, (function, wire::IN.0), (switch, 2), LINK);
            join(&mut sim, (function, wire::OUT.0), (switch, 3), LINK);
        }
        let mut intent = Intent::default();
        for (name, switch) in [("fw", "s1"), ("insp", "s2")] {
            let function = Function { ingress: PortName::new(switch, 2), egress: PortName::new(switch, 3) };
            intent.functions.insert(name.into(), function);
        }
        let chain = Chain {
            from: [PortName::new("s1", 1)].into(),
            to: [PortName::new("s2", 1)].into(),
            functions: vec!["insp".into(), "fw".into()],
            symmetric: true,
        };
        intent.chains.insert("web".into(), chain);
        set_intent(&mut sim, intent);
        quiet(&mut sim);
        assert!(sim.ping(client, address(2), 3).is_some());
        quiet(&mut sim);
        let text = b"through the chain";
        sim.with_host(client, |h, now| h.send_udp(now, address(2), (9, ECHO_PORT), text));
        sim.run_for(Duration::from_secs(1));
        assert_eq!((sim.host(server).n_datagrams(text), sim.host(client).n_datagrams(text)), (1, 1));
        for function in [fw, insp] {
            let seen = sim.wire(function);
            assert_eq!((seen.n_with(wire::IN, text), seen.n_with(wire::OUT, text)), (1, 1), "once each way");
        }
        let first = |function, port| sim.wire(function).first_with(port, text).expect("it passed");
        assert!(first(insp, wire::IN) < first(fw, wire::IN), "the inspector first on the way there");
        assert!(first(fw, wire::OUT) < first(insp, wire::OUT), "and last on the way back");
    });
}
