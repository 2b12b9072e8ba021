//! Changes in bundles where there are any, and one master where there are several controllers.

use std::time::Duration;

use openflow::{Dpid, FlowModCommand};

use super::{SETTLE, arp, leaf_spine, network};
use crate::testnet::Net;
use crate::{Config, Controller, Event, Intent, IntentState, Key};

fn two_ports(bundles: bool) -> Net {
    let mut net = Net::new();
    net.switch(1, 3);
    net.switches.get_mut(&Dpid(1)).unwrap().bundles = bundles;
    net.connect_all();
    net.run(SETTLE);
    net
}

fn blue(ports: &[&str]) -> Intent {
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, ports, &[]));
    intent
}

#[test]
fn changes_of_a_switch_with_bundles_take_effect_together() {
    for bundles in [true, false] {
        let mut net = two_ports(bundles);
        let before = net.switches[&Dpid(1)].n_bundles;
        net.mods.clear();
        net.controller.set_intent(net.now, blue(&["s1:1", "s1:2"])).unwrap();
        net.drain();
        assert!(net.mods.len() > 2);
        assert_eq!(net.switches[&Dpid(1)].n_bundles - before, usize::from(bundles));
        assert!(net.controller.is_quiet());
        assert_eq!(net.controller.status("network/blue").state, IntentState::Realised);
        // What is to go goes first, with or without.
        let deletes = |m: &(Dpid, openflow::FlowMod)| m.1.command == FlowModCommand::DeleteStrict;
        assert!(net.mods.iter().any(deletes), "ports leave the default network");
        assert!(net.mods.iter().skip_while(|m| deletes(m)).all(|m| !deletes(m)));
        assert_eq!(net.say((1, 1), arp(1, 2)), [(1, 2)]);
    }
}

#[test]
fn a_bundle_that_is_refused_shows_the_flow_at_fault_and_loses_no_other() {
    let mut net = two_ports(true);
    net.switches.get_mut(&Dpid(1)).unwrap().refuse = Some(crate::layout::FORWARD);
    net.controller.set_intent(net.now, blue(&["s1:1", "s1:2"])).unwrap();
    net.drain();
    net.run(Duration::from_millis(200));
    assert_eq!(net.controller.status("network/blue").state, IntentState::Failed);
    assert!(
        net.events
            .iter()
            .any(|event| matches!(event, Event::Refused { label, .. } if label == "network/blue"))
    );
    // All but what was refused is there.
    let wanted = &net.controller.blueprint().switches[&Dpid(1)];
    for key in wanted.keys().filter(|key| key.table != crate::layout::FORWARD) {
        let has = |f: &openflow::FlowStats| {
            (f.table, f.priority, &f.matches) == (key.table, key.priority, &key.matches)
        };
        assert!(net.switches[&Dpid(1)].flows.iter().any(has), "{key:?}");
    }
    let n_mods = net.mods.len();
    net.run(Duration::from_secs(5));
    assert_eq!(net.mods.len(), n_mods, "it is not sent again and again");
    net.switches.get_mut(&Dpid(1)).unwrap().refuse = None;
    net.run(Duration::from_secs(40));
    assert!(net.controller.is_quiet());
    assert_eq!(net.say((1, 1), arp(1, 2)), [(1, 2)]);
}

#[test]
fn a_switch_with_bundles_that_comes_back_is_sent_the_difference() {
    let mut net = leaf_spine();
    net.switches.values_mut().for_each(|switch| switch.bundles = true);
    net.say((3, 3), arp(1, 2));
    net.disconnect(3);
    let leaf = Dpid(3);
    net.switches.get_mut(&leaf).unwrap().flows.truncate(4);
    let missing = net.controller.blueprint().switches[&leaf].len() - 4;
    net.mods.clear();
    net.connect(3);
    net.run(SETTLE);
    assert_eq!((net.mods.len(), net.switches[&leaf].n_bundles), (missing, 1));
    assert!(net.controller.is_quiet());
}

#[test]
fn a_newer_controller_is_the_master_and_the_older_one_says_so() {
    let with = |master| Controller::new(Config { master: Some(master), ..Config::new(Key(1, 2)) });
    let mut net = Net::new();
    net.switch(1, 3);
    net.controller = with(7);
    net.controller.set_intent(net.now, blue(&["s1:1"])).unwrap();
    net.connect_all();
    net.run(SETTLE);
    assert!(net.controller.is_quiet());
    assert_eq!(net.switches[&Dpid(1)].master, Some(7));

    net.controller = with(6);
    net.controller.set_intent(net.now, blue(&["s1:1", "s1:2"])).unwrap();
    net.mods.clear();
    net.connect_all();
    net.run(SETTLE);
    assert_eq!(net.mods.len(), 0, "nothing is changed that belongs to another");
    assert!(net.events.contains(&Event::Demoted(Dpid(1))));
    assert!(!net.controller.is_quiet());
    let fault = &net.controller.status("network/blue");
    assert_eq!(fault.state, IntentState::Pending);
    assert!(fault.switches[0].reason.as_ref().unwrap().contains("master"), "{fault:?}");

    net.controller = with(8);
    net.controller.set_intent(net.now, blue(&["s1:1", "s1:2"])).unwrap();
    net.connect_all();
    net.run(SETTLE);
    assert!(net.controller.is_quiet() && !net.mods.is_empty());
}
