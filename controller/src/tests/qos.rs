//! Rates and queues.

use openflow::{Action, Dpid, Instruction, MeterId, QueueId};

use super::*;
use crate::layout::{LANE, LANE_RATE, PORT_RATE, TENANT_RATE, meter_of_lane, meter_of_port, meter_of_tenant};
use crate::{Qos, Tenant};

fn qos(ports: &[&str], networks: &[&str], rate: Option<u32>, queue: Option<u32>) -> Qos {
    let networks = networks.iter().map(|name| (*name).to_owned()).collect();
    Qos { ports: ports.iter().map(|name| port(name)).collect(), networks, rate, burst: None, queue }
}

/// Host 1 at s3:3, 2 at s5:4 in one network; the port of the first and the network are limited.
fn limited(change: impl FnOnce(&mut Net)) -> (Net, Intent) {
    let mut net = fabric();
    change(&mut net);
    net.connect_all();
    net.run(SETTLE);
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s5:4"], &[]));
    intent.qos.insert("port".into(), qos(&["s3:p3"], &[], Some(8000), Some(1)));
    intent.qos.insert("net".into(), qos(&[], &["blue"], Some(20_000), Some(2)));
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    (net, intent)
}

/// Meters and queues in the flows of a table that serve an intent.
fn found(
    net: &Net,
    dpid: u64,
    table: openflow::TableId,
    label: &str,
) -> Vec<(Option<MeterId>, Vec<QueueId>)> {
    let cookie = crate::layout::intent_cookie(label);
    let flows = net.switches[&Dpid(dpid)].flows.iter();
    let flows = flows.filter(|flow| (flow.table, flow.cookie) == (table, cookie));
    let of = |instructions: &[Instruction]| {
        let (mut meter, mut queues) = (None, Vec::new());
        for instruction in instructions {
            match instruction {
                Instruction::Meter(own) => meter = Some(*own),
                Instruction::ApplyActions(actions) => queues.extend(actions.iter().filter_map(|a| match a {
                    Action::SetQueue(queue) => Some(*queue),
                    _ => None,
                })),
                _ => {}
            }
        }
        (meter, queues)
    };
    flows.map(|flow| of(&flow.instructions)).collect()
}

fn rates(net: &Net, dpid: u64) -> Vec<(MeterId, u32)> {
    net.switches[&Dpid(dpid)].meters.values().map(|meter| (meter.meter, meter.bands[0].rate)).collect()
}

#[test]
fn a_port_and_its_network_are_measured_apart() {
    let (mut net, mut intent) = limited(|_| {});
    let (of_port, of_lane) =
        (meter_of_port(packet::PortNo(3)).unwrap(), meter_of_lane(VlanId::new(10).unwrap()));
    assert_eq!(rates(&net, 3), [(of_port, 8000), (of_lane, 20_000)]);
    assert_eq!(rates(&net, 5), [(of_lane, 20_000)]);
    assert_eq!(rates(&net, 1), [], "nothing enters on a spine");
    assert_eq!(found(&net, 3, PORT_RATE, "qos/port"), [(Some(of_port), vec![QueueId(1)])]);
    assert_eq!(found(&net, 3, LANE_RATE, "qos/net"), [(Some(of_lane), vec![QueueId(2)])]);
    assert_eq!(
        found(&net, 1, LANE, "qos/net"),
        [(None, vec![QueueId(2)])],
        "the next switch knows it by the tag"
    );
    net.say((3, 3), arp(1, 2));
    net.say((5, 4), arp(2, 1));
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
    for label in ["qos/port", "qos/net"] {
        assert_eq!(net.controller.status(label).state, IntentState::Realised);
    }
    // Another rate is another meter under the same number: no flow changes.
    let mods = |net: &Net| net.switches.values().map(|s| s.n_mods).sum::<usize>();
    let before = mods(&net);
    intent.qos.insert("port".into(), qos(&["s3:p3"], &[], Some(9000), Some(1)));
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    assert_eq!((mods(&net), rates(&net, 3)[0]), (before, (of_port, 9000)));
    assert!(net.controller.is_quiet());
    // What somebody takes away comes back.
    net.switches.get_mut(&Dpid(3)).unwrap().meters.remove(&of_lane);
    net.switches
        .get_mut(&Dpid(3))
        .unwrap()
        .flows
        .retain(|f| !f.instructions.contains(&Instruction::Meter(of_lane)));
    net.run(Duration::from_secs(40));
    assert_eq!(rates(&net, 3).len(), 2);
    assert_eq!(found(&net, 3, LANE_RATE, "qos/net").len(), 1);
    intent.qos.clear();
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    assert_eq!((rates(&net, 3), rates(&net, 5)), (vec![], vec![]));
    assert!(net.controller.is_quiet());
}

#[test]
fn meters_stay_over_a_restart_and_with_bundles() {
    for bundles in [false, true] {
        let (mut net, _) = limited(|net| net.switches.values_mut().for_each(|s| s.bundles = bundles));
        let before = rates(&net, 3);
        assert_eq!(before.len(), 2);
        net.restart_controller();
        net.run(SETTLE);
        assert!(net.controller.is_quiet());
        assert_eq!(rates(&net, 3), before);
        assert_eq!(net.switches.values().map(|s| s.n_mods).sum::<usize>(), 0, "nothing is changed");
    }
}

#[test]
fn a_switch_without_meters_says_so() {
    let (net, _) = limited(|net| net.switches.get_mut(&Dpid(3)).unwrap().max_meter = 0);
    let status = net.controller.status("qos/port");
    assert_eq!(status.state, IntentState::Failed);
    assert_eq!(status.reasons, ["s3 has no meters: nothing is limited there"]);
    assert_eq!(found(&net, 3, PORT_RATE, "qos/port"), [(None, vec![QueueId(1)])], "the queue is kept");
    assert_eq!(rates(&net, 5).len(), 1, "where there are meters, there is a limit");
}

#[test]
fn contradictions_of_rates_have_a_pointer() {
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s1:1"], &[]));
    intent.qos.insert("a".into(), qos(&["s1:1"], &["blue"], Some(1), None));
    intent.qos.insert("b".into(), qos(&["s1:1"], &["blue", "red"], Some(0), None));
    intent.qos.insert("c".into(), qos(&[], &[], None, None));
    let faults: Vec<_> = intent.faults().into_iter().map(|f| format!("{}{}", f.label, f.pointer)).collect();
    let expected =
        ["qos/b/rate", "qos/b/ports/0", "qos/b/networks/0", "qos/b/networks/1", "qos/c/rate", "qos/c/ports"];
    assert_eq!(faults, expected);
}

/// The tenant `a` has two networks of its own, and one that is within `a-b`, too.
#[test]
fn the_networks_of_a_tenant_are_measured_together() {
    let mut net = fabric();
    net.connect_all();
    net.run(SETTLE);
    let mut intent = Intent::default();
    let networks =
        [("a-red", 10, "s3:3"), ("a-blue", 20, "s5:4"), ("a-b-green", 30, "s3:4"), ("other", 40, "s5:3")];
    for (name, vlan, port) in networks {
        intent.networks.insert(name.into(), network(vlan, &[port], &[]));
    }
    intent.tenants.insert("a".into(), Tenant { rate: Some(8000), burst: Some(64), ..Tenant::default() });
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    let vlan = |n| VlanId::new(n).unwrap();
    let of_a = meter_of_tenant(vlan(10));
    let lanes = |net: &Net, dpid, label| -> Vec<Option<MeterId>> {
        found(net, dpid, TENANT_RATE, label).into_iter().map(|(meter, _)| meter).collect()
    };
    assert_eq!(rates(&net, 3), [(of_a, 8000)]);
    assert_eq!(rates(&net, 5), [(of_a, 8000)]);
    assert_eq!(lanes(&net, 3, "tenant/a"), [Some(of_a); 2]);
    assert_eq!(lanes(&net, 5, "tenant/a"), [Some(of_a)], "the other network is nobody's");
    assert_eq!(net.controller.status("tenant/a").state, IntentState::Realised);
    // The one within gets a rate of its own, and loses it again.
    intent.tenants.insert("a-b".into(), Tenant { rate: Some(1000), ..Tenant::default() });
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    assert_eq!(rates(&net, 3), [(of_a, 8000), (meter_of_tenant(vlan(30)), 1000)]);
    assert_eq!(lanes(&net, 3, "tenant/a"), [Some(of_a)]);
    intent.tenants.insert("a-b".into(), Tenant::default());
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    assert_eq!(lanes(&net, 3, "tenant/a"), [Some(of_a); 2]);
    // Its first network goes: the meter is that of the next.
    intent.networks.remove("a-red");
    intent.tenants.remove("a-b");
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    assert_eq!(rates(&net, 5), [(meter_of_tenant(vlan(20)), 8000)]);
    intent.tenants.insert("a".into(), Tenant { rate: Some(0), burst: None, ..Tenant::default() });
    let faults = net.controller.set_intent(net.now, intent).unwrap_err();
    assert_eq!(faults[0].pointer, "/rate");
}
