//! Hosts that nobody declared, looked for as they speak.

use openflow::{Dpid, FlowRemoved, FlowRemovedReason, Message, Xid};
use packet::PortNo;

use super::*;
use crate::layout::{self, Owner};
use crate::{Config, Judgement, Key, Policy, Traffic};

/// Two spines, three leaves; hosts 1 and 2 at s3:3 and s5:4 have not spoken yet.
fn reactive() -> Net {
    let mut net = wire(Net::under(Config { reactive: true, ..Config::new(Key(1, 2)) }));
    net.connect_all();
    net.run(SETTLE);
    net
}

/// Host 1 at s3:3 and 2 at s5:4 know each other.
fn acquainted() -> Net {
    let mut net = reactive();
    net.send((3, 3), arp(1, 2));
    net.send((5, 4), ip(2, 1));
    net.send((3, 3), ip(1, 2));
    net
}

fn at(dpid: u64, port: u32) -> crate::At {
    (Dpid(dpid), PortNo(port))
}

/// Where a frame comes out while the controller is deaf.
fn alone(net: &Net, from: (u64, u32), frame: &[u8]) -> Vec<(u64, u32)> {
    net.probe(at(from.0, from.1), frame).into_iter().map(|(at, _)| (at.0.0, at.1.0)).collect()
}

fn n_learned(net: &Net) -> usize {
    let flows = net.switches.values().flat_map(|switch| &switch.flows);
    flows.filter(|flow| flow.cookie == layout::learned_cookie()).count()
}

#[test]
fn a_frame_without_flow_is_answered_with_flow_mods_and_itself() {
    let mut net = reactive();
    assert_eq!(net.send((3, 3), arp(1, 2)), net.edge_ports_except((3, 3)), "everybody hears it once");
    assert_eq!(net.send((3, 3), ip(1, 2)), net.edge_ports_except((3, 3)), "where is 2?");
    net.mods.clear();
    assert_eq!(net.send((5, 4), ip(2, 1)), [(3, 3)], "the frame itself arrives");
    let told: Vec<u64> = net.mods.iter().map(|(dpid, _)| dpid.0).collect();
    assert_eq!((told[0], told.last()), (5, Some(&5)), "who speaks, then the way from its end: {told:?}");
    assert_eq!(told.len(), 4, "three switches are told of 1, one of them of 2 as well");
    assert_eq!(alone(&net, (5, 4), &ip(2, 1)), [(3, 3)], "the next needs no controller");
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
    assert_eq!(alone(&net, (3, 3), &ip(1, 2)), [(5, 4)]);
    let hosts: Vec<_> = net.controller.asked_for().map(|((_, mac), at)| (mac, at)).collect();
    assert_eq!(hosts, [(mac(1), at(3, 3)), (mac(2), at(5, 4))]);
    assert!(net.controller.view().hosts().is_empty(), "nothing is planned for them");
    net.run(Duration::from_secs(600));
    assert_eq!(alone(&net, (3, 3), &ip(1, 2)), [(5, 4)], "comparisons leave these flows alone");
    assert_eq!(net.controller.counters(), Default::default());
}

#[test]
fn a_host_that_moves_is_answered_for_at_its_new_port() {
    let mut net = acquainted();
    assert_eq!(net.send((4, 3), ip(2, 1)), [(3, 3)]);
    assert!(net.events.iter().any(|event| matches!(event, Event::HostMoved(..))));
    assert_eq!(net.send((3, 3), ip(1, 2)), [(4, 3)]);
    assert_eq!(alone(&net, (3, 3), &ip(1, 2)), [(4, 3)]);
    // At its old port it is a stranger again.
    assert_eq!(alone(&net, (5, 4), &ip(2, 1)), []);
    assert_eq!(net.send((5, 4), ip(2, 1)), [(3, 3)]);
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
}

#[test]
fn a_lost_link_or_switch_is_gone_round_and_the_ports_of_hosts_are_forgotten() {
    let mut net = acquainted();
    for spine in 1..=2 {
        net.set_port((3, spine), false);
        net.run(Duration::from_secs(1));
        assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
        assert_eq!(net.send((5, 4), ip(2, 1)), [(3, 3)]);
        assert_eq!(alone(&net, (3, 3), &ip(1, 2)), [(5, 4)]);
        net.set_port((3, spine), true);
        net.run(SETTLE);
    }
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
    net.set_port((5, 4), false);
    net.run(Duration::from_secs(1));
    assert_eq!(net.controller.asked_for().map(|((_, mac), _)| mac).collect::<Vec<_>>(), [mac(1)]);
    net.set_port((5, 4), true);
    net.run(SETTLE);
    assert_eq!(net.send((3, 3), ip(1, 2)), net.edge_ports_except((3, 3)));
}

#[test]
fn a_successor_asks_anew_and_loses_no_frame() {
    let mut net = acquainted();
    net.restart_controller();
    assert_eq!(alone(&net, (3, 3), &ip(1, 2)), [(5, 4)], "until it has looked around, all stays");
    net.run(SETTLE);
    assert_eq!(n_learned(&net), 0);
    assert_eq!(net.send((5, 4), ip(2, 1)), net.edge_ports_except((5, 4)));
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
    net.disconnect(5);
    net.connect(5);
    net.run(SETTLE);
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
    assert_eq!(net.send((5, 4), ip(2, 1)), [(3, 3)]);
}

#[test]
fn what_a_switch_forgot_for_want_of_frames_the_controller_forgets() {
    let mut net = acquainted();
    let matches = net.switches[&Dpid(5)].flows.iter();
    let source =
        |flow: &&openflow::FlowStats| flow.cookie == layout::learned_cookie() && flow.table == layout::SOURCE;
    let flow = matches.into_iter().find(source).expect("it was told who is there").clone();
    let removed = FlowRemoved {
        cookie: flow.cookie,
        priority: flow.priority,
        reason: FlowRemovedReason::IdleTimeout,
        table: flow.table,
        duration: Duration::from_secs(300),
        idle_timeout: 300,
        hard_timeout: 0,
        packets: 1,
        bytes: 60,
        matches: flow.matches.clone(),
    };
    let conn = net.switches[&Dpid(5)].conn.expect("it is connected");
    net.controller.handle_message(net.now, conn, Xid(0), Message::FlowRemoved(removed));
    net.drain();
    assert_eq!(net.controller.asked_for().map(|((_, mac), _)| mac).collect::<Vec<_>>(), [mac(1)]);
    assert_eq!(net.send((3, 3), ip(1, 2)), net.edge_ports_except((3, 3)));
    // A switch that forgot the way only is told again.
    let way =
        |flow: &openflow::FlowStats| flow.table == layout::FORWARD && flow.cookie == layout::learned_cookie();
    net.send((5, 4), ip(2, 1));
    net.send((3, 3), ip(1, 2));
    net.switches.values_mut().for_each(|switch| switch.flows.retain(|flow| !way(flow)));
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
    assert_eq!(alone(&net, (3, 3), &ip(1, 2)), [(5, 4)]);
}

/// Where it is decided who may speak to whom, it must be known beforehand who is where.
#[test]
fn policies_make_it_learn_as_always() {
    let mut net = acquainted();
    let mut intent = Intent::default();
    let [from, to] = ["s3:3", "s5:4"].map(|name| [port(name)].into());
    let deny =
        Policy { priority: 1, judgement: Judgement::Deny, from, to, traffic: Traffic::Ip, stateful: false };
    intent.policies.insert("deny".into(), deny);
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    assert_eq!(n_learned(&net), 0);
    assert_eq!(net.send((3, 3), ip(1, 2)), []);
    net.say((5, 4), arp(2, 1));
    net.say((3, 3), arp(1, 2));
    assert_eq!(net.send((3, 3), ip(1, 2)), []);
    assert_eq!(net.send((5, 4), ip(2, 1)), [(3, 3)]);
    assert_eq!(net.controller.view().hosts().len(), 2);
    net.controller.set_intent(net.now, Intent::default()).unwrap();
    net.run(SETTLE);
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
    assert_eq!(net.send((4, 3), ip(3, 1)), [(3, 3)], "who is new is answered for again");
    assert_eq!(net.controller.asked_for().count(), 1);
}

/// Frames of declared networks are nobody's but theirs.
#[test]
fn networks_are_planned_for_as_always() {
    let mut net = reactive();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s5:4"], &[]));
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    assert_eq!(net.say((3, 3), arp(1, 2)), [(5, 4)]);
    assert_eq!(net.say((5, 4), ip(2, 1)), [(3, 3)]);
    assert_eq!((net.controller.asked_for().count(), net.controller.view().hosts().len()), (0, 2));
    assert_eq!(net.send((4, 3), ip(3, 1)), [(3, 4), (4, 4), (5, 3)], "not into the network");
    let cookies = |owner: Owner| {
        let flows = net.switches[&Dpid(4)].flows.iter();
        flows.filter(|flow| layout::owner(flow.cookie) == owner).count()
    };
    assert!(cookies(Owner::Learned) == 4 && cookies(Owner::Intent) > 0);
}

#[test]
fn a_port_that_makes_up_hosts_fills_only_its_own_share_here_too() {
    let mut net = reactive();
    for n in 0..1500u32 {
        let made_up = MacAddr::from_u64(0x0204_0000_0000 + u64::from(n));
        net.send((3, 3), build::ethernet(made_up, mac(9)).payload(EtherType(0x88b5), &[0; 46]));
    }
    assert_eq!((net.controller.asked_for().count(), net.controller.counters().hosts_refused), (1024, 476));
    net.send((4, 3), arp(1, 2));
    assert_eq!(net.send((5, 4), ip(2, 1)), [(4, 3)]);
    // Refused, its frames are sent on all the same.
    let refused = MacAddr::from_u64(0x0204_0000_0000 + 1499);
    let frame = build::ethernet(refused, mac(1)).payload(EtherType(0x88b5), &[0; 46]);
    assert_eq!(net.send((3, 3), frame), [(4, 3)]);
}
