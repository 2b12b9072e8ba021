//! The whole controller against slow switches: discovery, learning, networks, chains, reconciliation.

mod balancers;
mod bundles;
mod forecast;
mod incremental;
mod mirrors;
mod paths;
mod policies;
mod qos;
mod reactive;
mod requests;
mod tenants;
mod ways;

use std::collections::BTreeSet;
use std::time::Duration;

use packet::{EtherType, MacAddr, VlanId, build};
use proptest::prelude::*;

use crate::testnet::Net;
use crate::{Chain, Event, Function, Intent, IntentState, Network, PortName};

const SETTLE: Duration = Duration::from_secs(2);

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

fn arp(from: u8, to: u8) -> Vec<u8> {
    build::arp_request(mac(from), [10, 0, 0, from].into(), [10, 0, 0, to].into())
}

fn ip(from: u8, to: u8) -> Vec<u8> {
    build::ethernet(mac(from), mac(to)).ipv4([10, 0, 0, from], [10, 0, 0, to]).udp(5, 6, b"x")
}

fn port(name: &str) -> PortName {
    let (switch, port) = name.split_once(':').unwrap();
    PortName::new(switch, port)
}

fn network(vlan: u16, access: &[&str], trunks: &[&str]) -> Network {
    let ports = |names: &[&str]| names.iter().map(|name| port(name)).collect();
    Network { vlan: VlanId::new(vlan).unwrap(), access: ports(access), trunks: ports(trunks), hosts: vec![] }
}

/// Two spines (1, 2), three leaves (3, 4, 5) with two hosts each at ports 3 and 4.
fn leaf_spine() -> Net {
    let mut net = fabric();
    net.connect_all();
    net.run(SETTLE);
    net
}

/// The same, with a host heard at each leaf.
fn heard() -> Net {
    let mut net = leaf_spine();
    for (at, n) in [((3, 3), 1), ((4, 3), 2), ((5, 4), 3)] {
        net.say(at, arp(n, 9));
    }
    net
}

/// Before anything is connected.
fn fabric() -> Net {
    wire(Net::new())
}

fn wire(mut net: Net) -> Net {
    for spine in 1..=2 {
        net.switch(spine, 3);
    }
    for leaf in 3..=5 {
        net.switch(leaf, 4);
        for spine in 1..=2 {
            net.link((leaf, spine as u32), (spine, leaf as u32 - 2));
        }
    }
    net
}

#[test]
fn links_are_found_in_both_directions_and_everything_is_realised() {
    let net = leaf_spine();
    assert_eq!(net.controller.view().links().len(), 12);
    assert!(net.controller.is_quiet());
    assert_eq!(net.controller.counters(), Default::default());
}

#[test]
fn a_broadcast_in_a_network_with_loops_reaches_each_host_once() {
    let mut net = leaf_spine();
    assert_eq!(net.say((3, 3), arp(1, 2)), net.edge_ports_except((3, 3)));
    assert_eq!(net.say((5, 4), arp(2, 1)), net.edge_ports_except((5, 4)));
    assert_eq!(net.say((3, 3), ip(1, 2)), [(5, 4)]);
    assert_eq!(net.visited.len(), 3, "leaf, spine, leaf");
    assert_eq!(net.say((5, 4), ip(2, 1)), [(3, 3)]);
}

#[test]
fn known_hosts_are_not_reported_again() {
    let mut net = leaf_spine();
    net.say((3, 3), arp(1, 2));
    let n_mods: usize = net.switches.values().map(|s| s.n_mods).sum();
    net.say((3, 3), arp(1, 2));
    assert_eq!(net.switches.values().map(|s| s.n_mods).sum::<usize>(), n_mods);
    let host = net.controller.view().hosts().values().next().unwrap();
    assert_eq!(host.addresses, BTreeSet::from(["10.0.0.1".parse().unwrap()]));
}

#[test]
fn a_host_that_moves_is_followed() {
    let mut net = leaf_spine();
    net.say((3, 3), arp(1, 2));
    net.say((4, 3), arp(2, 1));
    net.say((5, 3), arp(1, 2));
    assert!(net.events.iter().any(|event| matches!(event, Event::HostMoved(..))));
    assert_eq!(net.say((4, 3), ip(2, 1)), [(5, 3)]);
}

#[test]
fn a_port_that_makes_up_hosts_fills_only_its_own_share() {
    let mut net = leaf_spine();
    for n in 0..1500u32 {
        let made_up = MacAddr::from_u64(0x0204_0000_0000 + u64::from(n));
        net.send((3, 3), build::ethernet(made_up, MacAddr::BROADCAST).payload(EtherType(0x88b5), &[0; 46]));
    }
    net.run(SETTLE);
    assert_eq!(
        (net.controller.view().hosts().len(), net.controller.counters().hosts_refused),
        (1024, 1500 - 1024)
    );
    net.say((4, 3), arp(1, 2));
    net.run(SETTLE);
    assert_eq!(net.controller.view().hosts().len(), 1025);
    assert!(net.controller.is_quiet());
}

#[test]
fn ports_of_a_slow_switch_settle_late() {
    let mut net = Net::new();
    net.switch(1, 2);
    net.switches.get_mut(&openflow::Dpid(1)).unwrap().barriers_answered = 1;
    net.connect_all();
    net.run(SETTLE);
    assert_eq!(net.say((1, 1), arp(1, 2)), [], "nobody knows yet what is behind port 2");
    assert!(!net.controller.is_quiet());
    net.switches.get_mut(&openflow::Dpid(1)).unwrap().barriers_answered = 99;
    net.run(Duration::from_secs(10));
    assert_eq!(net.say((1, 1), arp(1, 2)), [(1, 2)]);
}

/// A port that was long without link is probed at once when it has one, not when its turn comes.
#[test]
fn a_link_that_comes_back_is_found_at_once() {
    let mut net = leaf_spine();
    net.set_port((3, 1), false);
    net.run(Duration::from_secs(8));
    assert_eq!(net.controller.view().links().len(), 10);
    net.set_port((3, 1), true);
    net.run(Duration::from_millis(50));
    assert_eq!(net.controller.view().links().len(), 12);
}

#[test]
fn networks_are_isolated_and_tagged_only_where_they_must_be() {
    let mut net = Net::new();
    net.switch(1, 4);
    net.switch(2, 4);
    net.link((1, 4), (2, 4));
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s1:1", "s2:1"], &["s2:3"]));
    intent.networks.insert("red".into(), network(20, &["s1:2", "s2:2"], &["s2:3"]));
    net.controller.set_intent(net.now, intent).unwrap();
    net.connect_all();
    net.run(SETTLE);

    assert_eq!(net.say((1, 1), arp(1, 2)), [(2, 1), (2, 3)]);
    let vlan_of = |net: &Net, port: u32| {
        let frame = &net.delivered.iter().find(|(at, _)| at.1.0 == port).unwrap().1;
        packet::Frame::from_bytes(frame).outer_vlan().map(|tag| tag.tci.vid())
    };
    assert_eq!((vlan_of(&net, 1), vlan_of(&net, 3)), (None, Some(10)));
    // The trunk speaks red, and is answered in red only.
    let tagged = build::ethernet(mac(9), MacAddr::BROADCAST).vlan(VlanId::new(20).unwrap());
    let tagged = tagged.payload(EtherType(0x88b5), &[0; 46]);
    assert_eq!(net.say((2, 3), tagged.clone()), [(1, 2), (2, 2)]);
    assert_eq!(
        net.say((1, 2), build::ethernet(mac(3), mac(9)).payload(EtherType(0x88b5), &[0; 46])),
        [(2, 3)]
    );
    assert_eq!(vlan_of(&net, 3), Some(20));
    // Neither a tag on an access port nor an address of the other network gets across.
    assert_eq!(net.say((1, 1), tagged), []);
    assert_eq!(net.say((1, 1), ip(1, 3)), [(2, 1), (2, 3)], "unknown in blue: flooded in blue");
    assert_eq!(net.controller.status("network/blue").state, IntentState::Realised);
}

#[test]
fn undeclared_ports_pass_tags_of_hosts_but_none_of_a_lane() {
    let mut net = chained(true);
    let mut intent = net.controller.intent().clone();
    intent.networks.insert("blue".into(), network(10, &["s9:1"], &[]));
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    let segments: BTreeSet<u16> = net.switches[&openflow::Dpid(1)]
        .flows
        .iter()
        .filter(|flow| flow.table == crate::layout::LANE)
        .filter_map(|flow| flow.matches.exact(openflow::Field::VlanVid))
        .map(|vid| vid as u16 & 0xfff)
        .collect();
    assert!(segments.len() > 2, "{segments:?}");
    for vlan in segments.into_iter().chain([10]) {
        let tagged = build::ethernet(mac(9), MacAddr::BROADCAST).vlan(VlanId::new(vlan).unwrap());
        assert_eq!(net.say((1, 5), tagged.payload(EtherType(0x88b5), &[0; 46])), [], "{vlan}");
    }
    let tagged = build::ethernet(mac(9), MacAddr::BROADCAST).vlan(VlanId::new(77).unwrap());
    assert_eq!(net.say((1, 5), tagged.payload(EtherType(0x88b5), &[0; 46])), [(1, 1), (2, 1), (2, 5)]);
}

/// Between switches the priority of the tag says what is flooded; a host's own tag says nothing of it.
#[test]
fn a_host_s_own_priority_is_its_own() {
    let mut net = Net::new();
    [1, 2, 3].into_iter().for_each(|dpid| net.switch(dpid, 3));
    for (a, b) in [((1, 1), (2, 1)), ((1, 2), (3, 1)), ((2, 2), (3, 2))] {
        net.link(a, b);
    }
    net.controller.set_intent(net.now, Intent::default()).unwrap();
    net.connect_all();
    net.run(SETTLE);
    net.say((2, 3), arp(2, 9));
    net.say((3, 3), arp(3, 9));
    // 2 and 3 are joined by a link that does not belong to the broadcast tree.
    let tagged = build::ethernet(mac(2), mac(3)).vlan(VlanId::new(77).unwrap());
    for priority in 0..8 {
        let mut frame = tagged.payload(EtherType(0x88b5), &[0; 46]);
        frame[14] |= priority << 5;
        assert_eq!(net.send((2, 3), frame), [(3, 3)], "{priority}");
    }
}

/// s1: client 1, fw 2 and 3. s2: server 1, inspector 2 and 3. Joined by ports 4.
fn chained(symmetric: bool) -> Net {
    let mut net = Net::new();
    net.switch(1, 5);
    net.switch(2, 5);
    net.link((1, 4), (2, 4));
    let mut intent = Intent::default();
    let function = |a: &str, b: &str| Function { ingress: port(a), egress: port(b) };
    intent.functions.insert("fw".into(), function("s1:2", "s1:3"));
    intent.functions.insert("insp".into(), function("s2:2", "s2:3"));
    let functions = vec!["insp".to_owned(), "fw".to_owned()];
    let chain = Chain { from: [port("s1:1")].into(), to: [port("s2:1")].into(), functions, symmetric };
    intent.chains.insert("web".into(), chain);
    net.controller.set_intent(net.now, intent).unwrap();
    net.connect_all();
    net.run(SETTLE);
    net
}

#[test]
fn a_chain_is_passed_in_order_across_switches_and_back() {
    let mut net = chained(true);
    assert_eq!(net.say((1, 1), arp(1, 2)), [(1, 5), (2, 1), (2, 5)], "functions see no broadcast");
    net.say((2, 1), arp(2, 1));
    for (at, to) in [((1, 1), (2, 2)), ((2, 3), (1, 2)), ((1, 3), (2, 1))] {
        assert_eq!(net.say(at, ip(1, 2)), [to], "from {at:?}");
    }
    for (at, to) in [((2, 1), (1, 3)), ((1, 2), (2, 3)), ((2, 2), (1, 1))] {
        assert_eq!(net.say(at, ip(2, 1)), [to], "back from {at:?}");
    }
    let hosts: BTreeSet<_> =
        net.controller.view().hosts().values().map(|host| (host.at.0.0, host.at.1.0)).collect();
    assert_eq!(hosts, [(1, 1), (2, 1)].into(), "nothing is learned at functions");
    assert_eq!(net.controller.status("chain/web").state, IntentState::Realised);
}

/// As `chained`, the functions being wires: what enters one port of a function leaves by the other.
fn wired() -> Net {
    let mut net = Net::new();
    net.switch(1, 5);
    net.switch(2, 5);
    net.link((1, 4), (2, 4));
    net.link((1, 2), (1, 3));
    net.link((2, 2), (2, 3));
    net.connect_all();
    net.run(SETTLE);
    assert_eq!(
        net.controller.view().links().len(),
        6,
        "wires look like links as long as nobody says what they are"
    );
    let intent = chained(true).controller.intent().clone();
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    net
}

#[test]
fn a_function_that_hands_through_everything_is_no_link() {
    let mut net = wired();
    net.run(Duration::from_secs(30));
    assert_eq!(net.controller.view().links().len(), 2);
    assert_eq!(net.say((1, 1), arp(1, 2)), [(1, 5), (2, 1), (2, 5)]);
    assert_eq!(net.say((2, 1), arp(2, 1)), [(1, 1), (1, 5), (2, 5)]);
    assert_eq!(net.say((1, 1), ip(1, 2)), [(2, 1)]);
    let way = |net: &Net| net.visited.iter().map(|at| (at.0.0, at.1.0)).collect::<Vec<_>>();
    assert_eq!(way(&net), [(1, 1), (2, 4), (2, 3), (1, 4), (1, 3), (2, 4)], "insp on s2, then fw on s1");
    assert_eq!(net.say((2, 1), ip(2, 1)), [(1, 1)]);
    assert_eq!(way(&net), [(2, 1), (1, 4), (1, 2), (2, 4), (2, 2), (1, 4)]);
}

#[test]
fn an_asymmetric_chain_returns_directly() {
    let mut net = chained(false);
    net.say((1, 1), arp(1, 2));
    net.say((2, 1), arp(2, 1));
    assert_eq!(net.say((1, 1), ip(1, 2)), [(2, 2)]);
    assert_eq!(net.say((2, 1), ip(2, 1)), [(1, 1)]);
    assert_eq!(net.say((1, 2), ip(2, 1)), [], "nothing is taken back on the way in");
}

#[test]
fn nothing_slips_past_a_chain_before_the_server_is_known() {
    let mut net = chained(true);
    net.say((1, 1), arp(1, 2));
    assert_eq!(net.say((1, 1), ip(1, 2)), [], "held");
    assert_eq!(net.controller.counters().held_dropped, 1);
    // The answer and the first packet come before the controller has planned: the packet waits, then goes its way.
    net.send((2, 1), arp(2, 1));
    assert_eq!(net.send((1, 1), ip(1, 2)), [(2, 2)]);
}

#[test]
fn a_chain_without_its_function_lets_nothing_pass() {
    let mut net = chained(true);
    net.say((1, 1), arp(1, 2));
    net.say((2, 1), arp(2, 1));
    let mut intent = net.controller.intent().clone();
    intent.functions.get_mut("fw").unwrap().ingress = port("s1:9");
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(Duration::from_millis(50));
    assert_eq!(net.say((1, 1), ip(1, 2)), []);
    let status = net.controller.status("chain/web");
    assert_eq!(status.state, IntentState::Pending);
    assert_eq!(status.reasons, ["waiting for port s1:9"]);
}

#[test]
fn a_chain_for_which_no_vlan_is_left_lets_nothing_pass() {
    let mut net = chained(true);
    net.say((1, 1), arp(1, 2));
    net.say((2, 1), arp(2, 1));
    let mut intent = net.controller.intent().clone();
    for vlan in crate::layout::SEGMENT_LANES {
        intent.networks.insert(format!("n{vlan}"), network(vlan, &[], &[]));
    }
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    for (at, packet) in [((1, 1), ip(1, 2)), ((2, 1), ip(2, 1))] {
        assert_eq!(net.say(at, packet), [], "from {at:?}");
    }
    let reasons = net.controller.status("chain/web").reasons;
    assert!(reasons.iter().any(|reason| reason.contains("no VLAN is left")), "{reasons:?}");
}

#[test]
fn a_link_that_fails_is_avoided() {
    let mut net = leaf_spine();
    net.say((3, 3), arp(1, 2));
    net.say((5, 4), arp(2, 1));
    for spine in [1, 2] {
        net.set_port((3, spine), false);
        net.run(Duration::from_millis(50));
        assert_eq!(net.say((3, 3), ip(1, 2)), [(5, 4)], "without the link to spine {spine}");
        assert_eq!(net.say((4, 3), arp(3, 1)), net.edge_ports_except((4, 3)));
        net.set_port((3, spine), true);
        net.run(SETTLE);
    }
    assert_eq!(net.controller.view().links().len(), 12);
}

#[test]
fn a_link_that_goes_silent_ages() {
    let mut net = leaf_spine();
    net.links.clear();
    net.run(Duration::from_secs(15));
    assert!(net.controller.view().links().is_empty());
}

#[test]
fn a_reconnecting_switch_is_sent_only_the_difference() {
    let mut net = leaf_spine();
    net.say((3, 3), arp(1, 2));
    let flows = net.switches[&openflow::Dpid(3)].flows.len();
    net.switches.get_mut(&openflow::Dpid(3)).unwrap().foreign_flow(0);
    net.disconnect(3);
    net.run(Duration::from_secs(1));
    net.switches.get_mut(&openflow::Dpid(3)).unwrap().n_mods = 0;
    net.connect(3);
    net.run(SETTLE);
    let switch = &net.switches[&openflow::Dpid(3)];
    assert_eq!((switch.n_mods, switch.flows.len()), (0, flows + 1));
    // One flow is missing: one is sent.
    net.disconnect(3);
    let gone = net.switches.get_mut(&openflow::Dpid(3)).unwrap().flows.remove(0);
    net.connect(3);
    net.run(SETTLE);
    let switch = &net.switches[&openflow::Dpid(3)];
    assert_eq!(switch.n_mods, 1);
    assert!(switch.flows.iter().any(|flow| flow.matches == gone.matches && flow.table == gone.table));
}

#[test]
fn a_restarted_controller_changes_nothing() {
    let mut net = heard();
    net.restart_controller();
    net.run(Duration::from_millis(300));
    assert_eq!(net.send((3, 3), ip(1, 3)), [(5, 4)], "while the controller is still looking around");
    net.run(SETTLE);
    let n_mods: Vec<usize> = net.switches.values().map(|s| s.n_mods).collect();
    // Addresses are forgotten, so the hosts are asked for theirs: one flow each.
    assert_eq!(n_mods, [0, 0, 1, 1, 1]);
    assert!(net.controller.is_quiet());
}

/// A switch that comes long before the one at the other end of its link.
#[test]
fn after_a_restart_links_are_waited_for() {
    let mut net = heard();
    net.forget_controller();
    for dpid in [3, 4, 5, 1, 2] {
        net.connect(dpid);
        net.run(Duration::from_secs(1));
        assert_eq!(net.send((3, 3), ip(1, 3)), [(5, 4)], "switch {dpid} has come back");
    }
    net.run(SETTLE);
    assert_eq!(net.send((3, 3), ip(1, 3)), [(5, 4)]);
    assert!(net.controller.is_quiet());
}

/// One that comes a little later than another still looks around when that one has.
#[test]
fn after_a_restart_hosts_elsewhere_are_waited_for() {
    let mut net = heard();
    net.forget_controller();
    for dpid in [1, 2, 3, 4] {
        net.connect(dpid);
    }
    net.run(Duration::from_millis(200));
    net.connect(5);
    for ms in (220..2000).step_by(20) {
        net.run(Duration::from_millis(20));
        assert_eq!(net.send((3, 3), ip(1, 3)), [(5, 4)], "after {ms} ms");
    }
    assert!(net.controller.is_quiet());
}

/// What follows a large plan waits until it is realised, and not for as long again as it took.
#[test]
fn a_lost_link_is_followed_at_once_when_a_large_plan_is_confirmed() {
    let mut net = leaf_spine();
    let mut blue = network(10, &["s3:3", "s5:4"], &[]);
    let host = |n: u16| {
        let [a, b] = n.to_be_bytes();
        crate::Reservation { port: port("s3:3"), mac: MacAddr([2, 1, 0, 0, a, b]), addresses: vec![] }
    };
    blue.hosts = (0..1000).map(host).collect();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), blue);
    net.controller.set_intent(net.now, intent).unwrap();
    net.drain();
    assert!(net.mods.len() > 2000, "it is large");
    net.now = net.now + crate::Config::new(crate::Key(1, 2)).plan_interval;
    let before = net.controller.blueprint().generation;
    net.set_port((3, 1), false);
    assert!(net.controller.blueprint().generation > before);
}

/// Switches in a ring, and 5 behind 2: all links but the last are the broadcast tree.
fn ring() -> Net {
    let mut net = Net::new();
    for dpid in 1..=5 {
        net.switch(dpid, 4);
        net.switches.get_mut(&openflow::Dpid(dpid)).unwrap().grouped = false;
    }
    for (a, b) in [((1, 1), (2, 1)), ((1, 2), (3, 1)), ((2, 2), (4, 1)), ((2, 3), (5, 1)), ((3, 2), (4, 2))] {
        net.link(a, b);
    }
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s1:4", "s3:4", "s5:4"], &[]));
    net.controller.set_intent(net.now, intent).unwrap();
    net.connect_all();
    net.run(SETTLE);
    net.say((1, 4), arp(1, 9));
    net
}

/// Hosts come to switch 5. One half of them is reached from switch 3 by switch 4, and all by switch 2.
fn nothing_circles_and_hosts_are_reached(net: &mut Net) {
    let hosts = 10..20;
    hosts.clone().for_each(|n| drop(net.say((5, 4), arp(n, 9))));
    for n in hosts {
        let heard = net.say((1, 4), ip(1, n));
        assert_eq!(heard.iter().filter(|at| **at == (5, 4)).count(), 1, "{heard:?}");
    }
}

fn hosts_are_known(net: &mut Net) {
    net.run(SETTLE);
    net.say((3, 4), arp(2, 9));
    for n in 10..20 {
        assert_eq!(net.say((3, 4), ip(2, n)), [(5, 4)]);
    }
    assert!(net.controller.is_quiet());
}

/// Whoever lost its flows meanwhile is not told ways that lead back through those that are told nothing yet.
#[test]
fn after_a_restart_nothing_circles_between_the_told_and_those_that_wait() {
    for order in [[3, 4, 1, 2, 5], [1, 2, 5, 3, 4]] {
        let mut net = ring();
        net.forget_controller();
        for dpid in [3, 4] {
            net.switches.get_mut(&openflow::Dpid(dpid)).unwrap().flows.clear();
        }
        order.into_iter().for_each(|dpid| net.connect(dpid));
        net.run(Duration::from_millis(300));
        nothing_circles_and_hosts_are_reached(&mut net);
        hosts_are_known(&mut net);
    }
}

#[test]
fn nothing_circles_between_the_told_and_those_without_connection() {
    let mut net = ring();
    [1, 2].into_iter().for_each(|dpid| net.disconnect(dpid));
    nothing_circles_and_hosts_are_reached(&mut net);
    [1, 2].into_iter().for_each(|dpid| net.connect(dpid));
    hosts_are_known(&mut net);
}

/// Half of the hosts are reached from switch 3 by switches 4 and 2. What 1 floods to 3 does not go that way.
#[test]
fn what_one_switch_floods_the_next_one_floods_whoever_it_knows() {
    let mut net = ring();
    let hosts = 10..20;
    hosts.clone().for_each(|n| drop(net.say((5, 4), arp(n, 9))));
    for dpid in [1, 2] {
        let switch = net.switches.get_mut(&openflow::Dpid(dpid)).unwrap();
        switch.flows.retain(|flow| flow.priority != crate::layout::forward::UNICAST);
    }
    for n in hosts {
        let mut heard = net.send((1, 4), ip(1, n));
        heard.sort_unstable();
        assert_eq!(heard, [(3, 4), (5, 4)]);
        assert_eq!(net.send((3, 4), ip(2, n)).iter().filter(|at| **at == (5, 4)).count(), 1);
    }
}

/// One that loses its flows while it waits has nothing to wait for, and is found.
#[test]
fn after_a_restart_a_switch_that_starts_anew_is_told_at_once() {
    let mut net = leaf_spine();
    net.restart_controller();
    net.disconnect(3);
    net.switches.get_mut(&openflow::Dpid(3)).unwrap().flows.clear();
    net.connect(3);
    net.run(SETTLE);
    assert!(net.controller.is_quiet());
}

/// One that does not come back is not waited for without end.
#[test]
fn after_a_restart_links_that_are_gone_are_given_up() {
    let mut net = leaf_spine();
    net.forget_controller();
    [2, 3, 4, 5].into_iter().for_each(|dpid| net.connect(dpid));
    net.run(Duration::from_secs(1));
    assert!(!net.controller.is_quiet(), "the links to switch 1 are missing");
    net.run(Duration::from_secs(10));
    assert!(net.controller.is_quiet());
    for (at, n) in [((3, 3), 1), ((5, 4), 3)] {
        net.say(at, arp(n, 9));
    }
    assert_eq!(net.send((3, 3), ip(1, 3)), [(5, 4)]);
}

#[test]
fn a_refused_flow_fails_the_intent_and_is_not_sent_forever() {
    let mut net = Net::new();
    net.switch(1, 2);
    net.switches.get_mut(&openflow::Dpid(1)).unwrap().refuse = Some(crate::layout::FORWARD);
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s1:1", "s1:2"], &[]));
    net.controller.set_intent(net.now, intent).unwrap();
    net.connect_all();
    net.run(SETTLE);
    let status = net.controller.status("network/blue");
    assert_eq!(status.state, IntentState::Failed);
    assert!(status.switches[0].reason.as_ref().unwrap().contains("answers"), "{status:?}");
    let n_mods = net.switches[&openflow::Dpid(1)].n_mods;
    net.say((1, 1), arp(1, 2));
    assert!(net.switches[&openflow::Dpid(1)].n_mods <= n_mods + 4);
    // There is room now: the next comparison tries again.
    net.switches.get_mut(&openflow::Dpid(1)).unwrap().refuse = None;
    net.run(Duration::from_secs(20));
    assert_eq!(net.controller.status("network/blue").state, IntentState::Realised);
    assert!(net.controller.is_quiet());
}

#[test]
fn flows_that_somebody_deletes_come_back() {
    flows_come_back(true);
    // To a switch that does not tell how many it has, too.
    flows_come_back(false);
}

fn flows_come_back(counts: bool) {
    let mut net = leaf_spine();
    net.switches.values_mut().for_each(|switch| switch.counts = counts);
    net.say((3, 3), arp(1, 2));
    let leaf = openflow::Dpid(3);
    let n_flows = net.switches[&leaf].flows.len();
    let mods = |net: &Net| net.switches[&leaf].n_mods;
    let before = mods(&net);
    net.run(Duration::from_secs(60));
    assert_eq!(mods(&net), before, "nothing is wrong, nothing is sent");
    // Without what every switch holds from the beginning links would be lost, too.
    let kept = 13;
    net.switches.get_mut(&leaf).unwrap().flows.truncate(kept);
    net.run(Duration::from_secs(20));
    assert_eq!(net.switches[&leaf].flows.len(), n_flows);
    assert_eq!(mods(&net), before + n_flows - kept);
    assert!(net.events.contains(&Event::Drifted(leaf, n_flows - kept)));
    assert_eq!(net.say((3, 3), arp(1, 2)), net.edge_ports_except((3, 3)));
    // Another in its place: as many as before, so that it takes until all of them are looked at.
    let flow = &mut net.switches.get_mut(&leaf).unwrap().flows[0];
    flow.priority = openflow::Priority(flow.priority.0 + 1);
    let changed = flow.clone();
    net.run(Duration::from_secs(12 * 15));
    assert!(!net.switches[&leaf].flows.contains(&changed));
    assert_eq!(net.switches[&leaf].flows.len(), n_flows);
}

/// The switch has started anew: nothing comes by its old connection.
#[test]
fn a_second_connection_of_a_switch_replaces_a_dead_one() {
    let (mut net, leaf) = (leaf_spine(), openflow::Dpid(3));
    let old = net.controller.connection(leaf);
    net.connect(3);
    assert_eq!(net.controller.connection(leaf), old, "it has time to show that it is alive");
    net.run(Duration::from_millis(2_500));
    let new = net.controller.connection(leaf);
    assert_eq!(new, net.switches[&leaf].conn);
    assert!(new.is_some() && new != old);
    net.run(SETTLE);
    assert!(net.controller.is_quiet());
    // One that waits when the old one ends has its place at once.
    net.connect(3);
    net.controller.handle_disconnected(net.now, new.unwrap());
    net.run(Duration::from_millis(1_900));
    assert_eq!(net.controller.connection(leaf), net.switches[&leaf].conn);
}

/// The switch knows two names of the controller.
#[test]
fn a_second_connection_of_a_switch_does_not_replace_a_living_one() {
    let (mut net, leaf) = (leaf_spine(), openflow::Dpid(3));
    let old = net.controller.connection(leaf);
    net.events.clear();
    for _ in 0..5 {
        net.connect_again(3);
        net.run(Duration::from_secs(3));
        assert_eq!(net.switches[&leaf].second, None, "it is closed");
        assert_eq!((net.controller.connection(leaf), net.switches[&leaf].conn), (old, old));
    }
    assert!(!net.events.contains(&Event::SwitchDown(leaf)) && net.controller.is_quiet());
    // While one is still in its handshake there is no other, either.
    net.disconnect(3);
    net.connect(3);
    net.connect_again(3);
    net.run(SETTLE);
    assert_eq!(net.controller.connection(leaf), net.switches[&leaf].conn);
    assert_eq!(net.events.iter().filter(|event| **event == Event::SwitchUp(leaf)).count(), 1);
}

#[test]
fn a_dead_switch_is_given_up_after_a_while() {
    let mut net = leaf_spine();
    net.say((3, 3), arp(1, 2));
    net.say((5, 4), arp(2, 1));
    for spine in [1, 2] {
        net.disconnect(spine);
        net.run(Duration::from_secs(15));
        assert!(!net.controller.view().switches().contains_key(&openflow::Dpid(spine)));
        assert_eq!(net.say((3, 3), ip(1, 2)), [(5, 4)]);
        assert!(!net.visited.iter().any(|at| at.0.0 == spine));
        net.connect(spine);
        net.run(SETTLE);
    }
}

/// A connected network: each switch after the first has a link to an earlier one, and some have more.
fn topology() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
    (2usize..8).prop_flat_map(|n| {
        let tree: Vec<_> = (1..n).map(|i| (0..i).prop_map(move |j| (i, j))).collect();
        let more = proptest::collection::vec((0..n, 0..n), 0..6);
        (tree, more).prop_map(move |(tree, more)| {
            let more = more.into_iter().filter(|(a, b)| a != b);
            (n, tree.into_iter().chain(more).collect())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn broadcast_reaches_every_host_of_its_network_once((n, links) in topology(), members in any::<u16>()) {
        let mut net = Net::new();
        // Ports 1 and 2 of every switch are hosts: one in the default network, one perhaps in blue.
        let mut next_port = vec![3u32; n];
        let blue: Vec<String> =
            (0..n).filter(|i| members & 1 << i != 0).map(|i| format!("s{}:2", i + 1)).collect();
        for i in 0..n {
            let n_links = links.iter().filter(|(a, b)| *a == i || *b == i).count();
            net.switch(i as u64 + 1, 2 + n_links as u32);
        }
        for &(a, b) in &links {
            net.link((a as u64 + 1, next_port[a]), (b as u64 + 1, next_port[b]));
            next_port[a] += 1;
            next_port[b] += 1;
        }
        let mut intent = Intent::default();
        let access: Vec<&str> = blue.iter().map(String::as_str).collect();
        intent.networks.insert("blue".into(), network(10, &access, &[]));
        net.controller.set_intent(net.now, intent).unwrap();
        net.connect_all();
        net.run(SETTLE);
        let is_blue = |at: &(u64, u32)| at.1 == 2 && members & 1 << (at.0 - 1) != 0;
        for (idx, at) in net.edge_ports_except((0, 0)).into_iter().enumerate() {
            let expected: Vec<_> =
                net.edge_ports_except(at).into_iter().filter(|other| is_blue(other) == is_blue(&at)).collect();
            prop_assert_eq!(net.say(at, arp(idx as u8 + 1, 200)), expected, "from {:?}", at);
        }
        // By now everybody is known: unicast goes to one port.
        let hosts = net.edge_ports_except((0, 0));
        for (from, at) in hosts.iter().enumerate() {
            for (to, dst) in hosts.iter().enumerate().filter(|(to, dst)| *to != from && is_blue(dst) == is_blue(at)) {
                prop_assert_eq!(net.send(*at, ip(from as u8 + 1, to as u8 + 1)), vec![*dst]);
            }
        }
        prop_assert!(net.controller.is_quiet());
    }
}
