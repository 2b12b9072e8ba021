//! Ways that an operator lays out.

use super::*;
use crate::Route;

fn route(from: &str, to: &str) -> Route {
    Route {
        from: port(from),
        to: port(to),
        via: vec![],
        avoid: vec![],
        avoid_links: vec![],
        backup: false,
        symmetric: false,
        strict: false,
    }
}

fn via(switches: &[&str]) -> Vec<String> {
    switches.iter().map(|name| (*name).to_owned()).collect()
}

/// Host 1 at s3:3, 2 at s5:4 and 3 at s4:3 of the fabric, all known, in one network.
fn laid_out(route: Route) -> (Net, Intent) {
    let mut net = leaf_spine();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s5:4", "s4:3"], &[]));
    intent.paths.insert("gold".into(), route);
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    for (n, at) in [(1, (3, 3)), (2, (5, 4)), (3, (4, 3))] {
        net.say(at, arp(n, 99));
    }
    (net, intent)
}

/// The switches that a frame from one host to another passes.
fn way(net: &mut Net, (at, from, to): ((u64, u32), u8, u8)) -> Vec<u64> {
    net.send(at, ip(from, to));
    assert!(net.delivered.len() <= 1, "one frame comes out once");
    net.visited.iter().map(|at| at.0.0).collect()
}

const THERE: ((u64, u32), u8, u8) = ((3, 3), 1, 2);
const BACK: ((u64, u32), u8, u8) = ((5, 4), 2, 1);

#[test]
fn a_way_passes_what_it_must_and_avoids_what_it_must_not() {
    for (spine, other) in [(1, 2), (2, 1)] {
        let through = Route { via: vec![format!("s{spine}")], ..route("s3:3", "s5:4") };
        let (mut net, _) = laid_out(through);
        assert_eq!(way(&mut net, THERE), [3, spine, 5]);
        assert_eq!(net.delivered.len(), 1);
        assert_eq!(net.controller.status("path/gold").state, IntentState::Realised);
        let avoid = Route { avoid: vec![format!("s{other}")], symmetric: true, ..route("s3:3", "s5:4") };
        let (mut net, _) = laid_out(avoid);
        assert_eq!(way(&mut net, THERE), [3, spine, 5]);
        assert_eq!(way(&mut net, BACK), [5, spine, 3]);
        // Port n of a leaf leads to spine n.
        let avoid_links = vec![port(&format!("s3:{other}"))];
        let (mut net, _) = laid_out(Route { avoid_links, ..route("s3:3", "s5:4") });
        assert_eq!(way(&mut net, THERE), [3, spine, 5]);
    }
}

#[test]
fn a_way_may_be_long_and_pass_a_switch_again() {
    let long = Route { via: via(&["s1", "s4", "s2"]), ..route("s3:3", "s5:p4") };
    let (mut net, _) = laid_out(long);
    assert_eq!(way(&mut net, THERE), [3, 1, 4, 2, 5]);
    assert_eq!(net.delivered.len(), 1);
    let again = Route { via: via(&["s4", "s3"]), ..route("s3:3", "s5:4") };
    let (mut net, mut intent) = laid_out(again);
    let passed = way(&mut net, THERE);
    assert_eq!(passed.len(), 7, "{passed:?}");
    assert_eq!([passed[0], passed[2], passed[4], passed[6]], [3, 4, 3, 5], "{passed:?}");
    assert_eq!(net.delivered.len(), 1);
    intent.paths.clear();
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    assert_eq!(way(&mut net, THERE).len(), 3);
    assert!(net.controller.is_quiet());
}

#[test]
fn the_backup_serves_while_the_first_link_is_dead_without_the_controller() {
    let backup = Route { backup: true, symmetric: true, ..route("s3:3", "s5:4") };
    let (mut net, _) = laid_out(backup);
    assert_eq!(net.controller.status("path/gold").state, IntentState::Realised);
    let (there, back) = (way(&mut net, THERE), way(&mut net, BACK));
    for dpid in 1..=5 {
        net.disconnect(dpid);
    }
    net.cut((3, there[1] as u32), false);
    assert_eq!(way(&mut net, THERE), [3, 3 - there[1], 5]);
    assert_eq!(net.delivered.len(), 1);
    net.cut((3, there[1] as u32), true);
    net.cut((5, back[1] as u32), false);
    assert_eq!(way(&mut net, BACK), [5, 3 - back[1], 3]);
    assert_eq!(net.delivered.len(), 1);
}

#[test]
fn without_a_way_traffic_goes_as_usual_unless_it_may_not() {
    for strict in [false, true] {
        let none = Route { avoid: via(&["s1", "s2"]), strict, ..route("s3:3", "s5:4") };
        let (mut net, _) = laid_out(none);
        assert_eq!(net.send((3, 3), ip(1, 2)), if strict { vec![] } else { vec![(5, 4)] });
        assert_eq!(net.send((3, 3), ip(1, 3)), [(4, 3)], "the others have nothing to do with it");
        let status = net.controller.status("path/gold");
        assert_eq!(status.state, IntentState::Pending);
        assert_eq!(status.reasons, ["there is no way by s3, s5"]);
    }
    let missing = Route { via: via(&["s9"]), ..route("s3:3", "s5:4") };
    let (mut net, _) = laid_out(missing);
    assert_eq!(net.controller.status("path/gold").reasons, ["waiting for switch s9"]);
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
}

#[test]
fn a_way_follows_the_links() {
    let first = Route { backup: true, via: via(&["s1"]), ..route("s3:3", "s5:4") };
    let (mut net, _) = laid_out(first);
    assert_eq!(way(&mut net, THERE), [3, 1, 5]);
    assert_eq!(net.controller.status("path/gold").state, IntentState::Realised);
    net.set_port((1, 1), false);
    net.run(SETTLE);
    assert_eq!(way(&mut net, THERE), [3, 2, 4, 1, 5]);
    net.set_port((1, 3), false);
    net.set_port((1, 2), false);
    net.run(SETTLE);
    assert_eq!(way(&mut net, THERE), [3, 2, 5], "the waypoint is out of reach");
    assert!(net.controller.status("path/gold").reasons[0].starts_with("there is no way"));
    // A second way would have to share a link of the waypoint with the first.
    net.set_port((1, 1), true);
    net.set_port((1, 3), true);
    net.run(SETTLE);
    assert_eq!(way(&mut net, THERE), [3, 1, 5]);
    assert_eq!(net.controller.status("path/gold").reasons, ["there is no second way beside the first"]);
}

#[test]
fn contradictions_of_ways_have_a_pointer() {
    let mut intent = Intent::default();
    intent.paths.insert("a".into(), Route { symmetric: true, ..route("s1:1", "s2:1") });
    intent.paths.insert("b".into(), route("s2:1", "s1:1"));
    let wrong = Route { via: via(&["s3", "s4", "s3"]), avoid: via(&["s4"]), ..route("s1:2", "s1:2") };
    intent.paths.insert("c".into(), wrong);
    let faults: Vec<_> = intent.faults().into_iter().map(|f| format!("{}{}", f.label, f.pointer)).collect();
    assert_eq!(faults, ["path/b/to", "path/c/to", "path/c/via/1", "path/c/via/2"]);
}
