//! Several shortest paths, ways around links, and switches that can do without groups.

use std::collections::BTreeSet;

use openflow::{Dpid, GroupType};

use super::*;

/// The fabric of `leaf_spine`, everybody known.
fn known(grouped: bool) -> Net {
    let mut net = fabric();
    net.switches.values_mut().for_each(|switch| switch.grouped = grouped);
    net.connect_all();
    net.run(SETTLE);
    for leaf in 3..=5u64 {
        for port in 3..=4 {
            net.say((leaf, port), arp((leaf as u8 - 3) * 2 + port as u8, 99));
        }
    }
    net
}

/// Host n of `known` is there.
fn place(n: u8) -> (u64, u32) {
    (u64::from((n - 3) / 2) + 3, u32::from((n - 3) % 2) + 3)
}

fn pairs() -> impl Iterator<Item = (u8, u8)> {
    (3..=8).flat_map(|a| (3..=8).map(move |b| (a, b))).filter(|(a, b)| a != b)
}

#[test]
fn every_shortest_path_is_used() {
    let net = known(true);
    let leaf = &net.switches[&Dpid(3)];
    // On a spine there is one way to each leaf, and another around.
    let spine = &net.switches[&Dpid(1)];
    assert!(
        spine
            .groups
            .iter()
            .all(|group| group.group_type == GroupType::FastFailover && group.buckets.len() == 2)
    );
    let selects: Vec<_> = leaf.groups.iter().filter(|group| group.group_type == GroupType::Select).collect();
    assert_eq!(selects.len(), 2, "one for each of the other leaves: {:?}", leaf.groups);
    for group in selects {
        let ports: BTreeSet<_> = group.buckets.iter().filter_map(|bucket| bucket.watch_port).collect();
        assert_eq!(ports.iter().map(|port| port.0).collect::<Vec<_>>(), [1, 2]);
    }
    assert!(net.controller.is_quiet());
}

#[test]
fn one_lost_link_is_healed_without_the_controller() {
    for leaf in 3..=5 {
        for spine in 1..=2 {
            let mut net = known(true);
            for dpid in 1..=5 {
                net.disconnect(dpid);
            }
            net.cut((leaf, spine), false);
            for (a, b) in pairs() {
                assert_eq!(net.send(place(a), ip(a, b)), [place(b)], "{a} to {b} without {leaf}:{spine}");
            }
        }
    }
}

#[test]
fn whatever_links_are_lost_no_frame_circles() {
    for lost in 0u32..64 {
        let mut net = known(true);
        for dpid in 1..=5 {
            net.disconnect(dpid);
        }
        for idx in (0..6).filter(|idx| lost >> idx & 1 == 1) {
            net.cut((u64::from(idx / 2) + 3, idx % 2 + 1), false);
        }
        for (a, b) in pairs() {
            let there = net.send(place(a), ip(a, b));
            assert!(there.is_empty() || there == [place(b)], "{a} to {b}, lost {lost:06b}: {there:?}");
            assert!(net.visited.len() <= 8, "{a} to {b}, lost {lost:06b}: {:?}", net.visited);
        }
    }
}

/// Their tags are given in turn, and the tree begins at a root: both might be others with any link that goes.
#[test]
fn ways_around_links_and_the_broadcast_tree_stay_when_another_link_goes() {
    let mut net = Net::new();
    (1..=3).for_each(|spine| net.switch(spine, 8));
    for leaf in 4..=11u32 {
        net.switch(leaf.into(), 4);
        (1..=3u32).for_each(|spine| net.link((leaf.into(), spine), (spine.into(), leaf - 3)));
    }
    net.controller.set_intent(net.now, Intent::default()).unwrap();
    net.connect_all();
    net.run(SETTLE);
    let admitted = |net: &Net| -> Vec<String> {
        let flows =
            net.switches.iter().flat_map(|(dpid, switch)| switch.flows.iter().map(move |flow| (dpid, flow)));
        let fabric = [crate::layout::admit::BYPASS, crate::layout::admit::FLOODED];
        let fabric =
            flows.filter(|(_, flow)| flow.table == crate::layout::ADMIT && fabric.contains(&flow.priority));
        fabric.map(|(dpid, flow)| format!("{dpid} {:?} {:?}", flow.matches, flow.instructions)).collect()
    };
    let before = admitted(&net);
    net.set_port((11, 3), false);
    net.run(SETTLE);
    let after: BTreeSet<String> = admitted(&net).into_iter().collect();
    let others = before.iter().filter(|flow| !after.contains(*flow)).count();
    assert!(others > 0 && others * 5 < before.len(), "{others} of {} are others", before.len());
}

#[test]
fn a_lost_link_changes_groups_and_no_flow_of_a_host() {
    let mut net = known(true);
    net.mods.clear();
    net.set_port((3, 1), false);
    net.run(std::time::Duration::from_millis(50));
    let unicast = |(_, flow): &&(Dpid, openflow::FlowMod)| flow.priority == crate::layout::forward::UNICAST;
    let touched: BTreeSet<Dpid> = net.mods.iter().filter(unicast).map(|(dpid, _)| *dpid).collect();
    assert!(!touched.contains(&Dpid(3)) && !touched.contains(&Dpid(4)), "{touched:?}");
    for (a, b) in pairs() {
        assert_eq!(net.send(place(a), ip(a, b)), [place(b)]);
    }
    net.set_port((3, 1), true);
    net.run(SETTLE);
    assert!(net.controller.is_quiet());
}

#[test]
fn a_switch_without_groups_or_that_refuses_them_has_plain_flows() {
    let plain = known(false);
    assert!(plain.switches.values().all(|switch| switch.n_group_mods == 0));
    for bundles in [false, true] {
        let mut net = Net::new();
        net.switch(1, 2);
        net.switch(2, 2);
        net.link((1, 2), (2, 2));
        let switch = net.switches.get_mut(&Dpid(1)).unwrap();
        (switch.refuse_groups, switch.bundles) = (true, bundles);
        net.connect_all();
        net.run(SETTLE);
        net.say((1, 1), arp(1, 9));
        net.say((2, 1), arp(2, 9));
        net.run(SETTLE);
        assert!(net.controller.is_quiet());
        assert_eq!(net.send((1, 1), ip(1, 2)), [(2, 1)]);
        assert_eq!(net.send((2, 1), ip(2, 1)), [(1, 1)]);
        assert_eq!((net.switches[&Dpid(1)].groups.len(), net.switches[&Dpid(2)].groups.len()), (0, 1));
    }
}

#[test]
fn groups_of_others_are_left_alone_and_lost_ones_come_back() {
    let mut net = known(true);
    let leaf = net.switches.get_mut(&Dpid(3)).unwrap();
    let mut foreign = leaf.groups[0].clone();
    foreign.group = openflow::GroupId(7);
    leaf.groups.push(foreign.clone());
    // As the standard has it, the flows that use a group go with it.
    let lost = leaf.groups.remove(0);
    leaf.flows.retain(|flow| !format!("{:?}", flow.instructions).contains(&format!("{:?}", lost.group)));
    net.run(std::time::Duration::from_secs(40));
    let leaf = &net.switches[&Dpid(3)];
    assert!(leaf.groups.contains(&lost) && leaf.groups.contains(&foreign));
    assert!(net.controller.is_quiet());
    let before = leaf.n_group_mods;
    net.disconnect(3);
    net.connect(3);
    net.run(SETTLE);
    assert_eq!(net.switches[&Dpid(3)].n_group_mods, before, "what is there is not sent again");
}
