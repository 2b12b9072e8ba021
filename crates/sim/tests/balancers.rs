//! Balancers over weft's switches: a connection stays with its member, all members have some, and answers come from the address.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{LeafSpine, address, set_intent};
use controller::{Balancer, Intent, IntentState, Member, PortName, Service};
use sim::host::What;
use sim::seeds;

/// Who serves: host 2 at the leaf of the client, 3 and 4 at the second, 6 at the third.
const MEMBERS: [(&str, u32, u32); 4] =
    [("s101", 101, 2), ("s102", 100, 3), ("s102", 101, 4), ("s103", 101, 6)];
const VIP: u32 = 200;

fn v4(n: u32) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + n)
}

fn web() -> Balancer {
    let member = |(switch, port, n): (&str, u32, u32)| Member {
        port: PortName::new(switch, port),
        address: v4(n),
        weight: 1,
    };
    Balancer {
        network: "blue".into(),
        address: v4(VIP),
        services: vec![Service { tcp: false, port: 53, target: 5353 }],
        members: MEMBERS.into_iter().map(member).collect(),
    }
}

fn start(seed: u64) -> (LeafSpine, Intent) {
    let (mut net, mut intent) = LeafSpine::blue(seed);
    intent.balancers.insert("web".into(), web());
    set_intent(&mut net.sim, intent.clone());
    assert!(net.sim.run_until_quiet(Duration::from_secs(30)), "the network comes to rest");
    for from in 0..6 {
        let to = if from == 0 { 2 } else { 1 };
        assert!(net.sim.ping(net.hosts[from], address(to), 3).is_some());
    }
    assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
    let core = net.sim.controller().core();
    assert_eq!(core.status("balancer/web").state, IntentState::Realised, "{:?}", core.status("balancer/web"));
    (net, intent)
}

/// Sends a datagram from host 1 by each of these ports, twice; which members had each port.
fn served(net: &mut LeafSpine, ports: std::ops::Range<u16>) -> BTreeMap<u16, Vec<u32>> {
    let client = net.hosts[0];
    let text = |port: u16| format!("from {port}").into_bytes();
    net.hosts.clone().into_iter().for_each(|host| net.sim.with_host(host, |h, _| h.clear()));
    for round in 0..2 {
        for port in ports.clone() {
            net.sim.with_host(client, |h, now| h.send_udp(now, address(VIP), (port, 53), &text(port)));
            net.sim.run_for(Duration::from_millis(2));
        }
        net.sim.run_for(Duration::from_millis(100 * (1 - round)));
    }
    net.sim.run_for(Duration::from_millis(100));
    let heard_by = |port: u16| -> Vec<u32> {
        let heard = MEMBERS
            .iter()
            .map(|(.., n)| (*n, net.sim.host(net.hosts[*n as usize - 1]).n_datagrams(&text(port))));
        heard.flat_map(|(n, times)| std::iter::repeat_n(n, times)).collect()
    };
    ports.map(|port| (port, heard_by(port))).collect()
}

#[test]
fn each_connection_has_one_member_and_each_member_some() {
    seeds::for_each(4, |seed| {
        let (mut net, mut intent) = start(seed);
        let first = served(&mut net, 1000..1064);
        for (port, members) in &first {
            assert!(members.len() == 2 && members[0] == members[1], "port {port}: {members:?}");
        }
        for (_, _, n) in MEMBERS {
            let share = first.values().filter(|members| members[0] == n).count();
            assert!((4..32).contains(&share), "member {n} has {share} of 64");
        }
        // Answers come from the address; the client knows no other.
        let (server, client) = (net.hosts[3], net.hosts[0]);
        net.sim.with_host(server, |h, now| h.send_udp(now, address(1), (5353, 1000), b"answer"));
        net.sim.run_for(Duration::from_millis(50));
        let heard: Vec<_> =
            net.sim.host(client).heard().iter().map(|heard| (heard.from, heard.what.clone())).collect();
        let answer = What::Udp { src_port: 53, dst_port: 1000, data: b"answer".to_vec() };
        assert_eq!(heard, [(address(VIP), answer)]);
        // A lost link moves no connection to another member.
        for idx in 0..2 {
            let lost = net.links[idx];
            net.sim.set_link(lost, false);
            net.sim.run_for(Duration::from_secs(2));
            assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
            assert_eq!(served(&mut net, 1000..1064), first);
            net.sim.set_link(lost, true);
            net.sim.run_for(Duration::from_secs(2));
            assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        }
        // Fewer members: all is served by those that are left.
        if let Some(web) = intent.balancers.get_mut("web") {
            web.members.truncate(2);
        }
        set_intent(&mut net.sim, intent.clone());
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        let left = served(&mut net, 2000..2064);
        assert!(left.values().all(|members| members.len() == 2 && [2, 3].contains(&members[0])), "{left:?}");
        intent.balancers.clear();
        set_intent(&mut net.sim, intent);
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        assert!(served(&mut net, 3000..3002).values().all(Vec::is_empty));
        assert_eq!(net.sim.n_refused(), 0);
    });
}
