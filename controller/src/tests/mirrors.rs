//! Copies of what hosts send and receive.

use super::*;
use crate::Mirror;

fn mirror(ports: &[&str], (sent, received): (bool, bool), to: &str) -> Mirror {
    Mirror { ports: ports.iter().map(|name| port(name)).collect(), sent, received, to: port(to) }
}

/// Host 1 at s3:3, 2 at s5:4 and 3 at s4:3 of the fabric, all known, in one network; s3:4 and s5:3 are free.
fn mirrored(mirror: Mirror) -> (Net, Intent) {
    let mut net = leaf_spine();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s4:3"], &["s5:4"]));
    intent.mirrors.insert("tap".into(), mirror);
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    net.say((3, 3), arp(1, 99));
    net.say((4, 3), arp(3, 99));
    net.say((5, 4), tagged(arp(2, 99)));
    assert_eq!(net.controller.status("mirror/tap").state, IntentState::Realised);
    (net, intent)
}

/// The same frame with the tag of the network.
fn tagged(frame: Vec<u8>) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 10], &frame[12..]].concat()
}

const ALL: (bool, bool) = (true, true);
const SENT: (bool, bool) = (true, false);
const RECEIVED: (bool, bool) = (false, true);

#[test]
fn what_is_sent_and_received_is_copied_once_wherever_the_copies_leave() {
    for outlet in [(3, 4), (5, 3), (4, 4)] {
        let to = format!("s{}:{}", outlet.0, outlet.1);
        for (side, there, back) in [(ALL, true, true), (SENT, true, false), (RECEIVED, false, true)] {
            let (mut net, _) = mirrored(mirror(&["s3:3"], side, &to));
            let mut expect = |at, frame: Vec<u8>, mut ports: Vec<(u64, u32)>, copied: bool| {
                ports.extend(copied.then_some(outlet));
                ports.sort_unstable();
                assert_eq!(net.send(at, frame.clone()), ports, "{side:?} {outlet:?} from {at:?}");
                net.delivered.iter().find(|(at, _)| (at.0.0, at.1.0) == outlet).map(|(_, copy)| copy.clone())
            };
            let copy = expect((3, 3), ip(1, 2), vec![(5, 4)], there);
            assert_eq!(copy, there.then(|| ip(1, 2)), "as it was");
            let copy = expect((5, 4), tagged(ip(2, 1)), vec![(3, 3)], back);
            assert_eq!(copy, back.then(|| ip(2, 1)), "as it leaves");
            expect((4, 3), ip(3, 2), vec![(5, 4)], false);
            // Broadcast and unknown addresses, from there and to there.
            expect((3, 3), arp(1, 9), vec![(4, 3), (5, 4)], there);
            expect((4, 3), arp(3, 9), vec![(3, 3), (5, 4)], back);
            expect((3, 3), ip(1, 77), vec![(4, 3), (5, 4)], there);
            // What does not leave, because it would go back, is not received.
            expect((3, 3), ip(4, 1), vec![], there);
            // Nothing enters by the outlet.
            assert_eq!(net.send(outlet, arp(8, 1)), [], "{outlet:?}");
        }
    }
}

#[test]
fn copies_of_a_trunk_have_its_tags_and_two_mirrors_do_not_meet() {
    let (mut net, mut intent) = mirrored(mirror(&["s5:4"], ALL, "s4:4"));
    intent.mirrors.insert("second".into(), mirror(&["s5:4", "s3:3"], SENT, "s3:4"));
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    let copies = |net: &Net| -> Vec<Vec<u8>> {
        net.delivered
            .iter()
            .filter(|(at, _)| (at.0.0, at.1.0) == (4, 4))
            .map(|(_, copy)| copy.clone())
            .collect()
    };
    assert_eq!(net.send((5, 4), tagged(ip(2, 1))), [(3, 3), (3, 4), (4, 4)]);
    assert_eq!(copies(&net), [tagged(ip(2, 1))]);
    assert_eq!(net.send((3, 3), ip(1, 2)), [(3, 4), (4, 4), (5, 4)]);
    assert_eq!(copies(&net), [tagged(ip(1, 2))]);
    intent.mirrors.clear();
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
    assert!(net.controller.blueprint().groups.values().flat_map(|g| g.keys()).all(|g| g.0 >> 24 == 0x7e));
    assert!(net.controller.is_quiet());
}

#[test]
fn copies_find_another_way_when_a_link_is_lost() {
    let (mut net, _) = mirrored(mirror(&["s3:3"], ALL, "s5:3"));
    for dpid in 1..=5 {
        net.disconnect(dpid);
    }
    for spine in [1, 2] {
        net.cut((3, spine), false);
        assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 3), (5, 4)], "without the link to spine {spine}");
        net.cut((3, spine), true);
    }
}

#[test]
fn an_outlet_serves_nothing_else() {
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s4:3"], &["s5:4"]));
    intent.mirrors.insert("a".into(), mirror(&["s3:3"], ALL, "s5:4"));
    intent.mirrors.insert("b".into(), mirror(&["s4:3", "s5:3"], ALL, "s5:3"));
    intent.mirrors.insert("c".into(), mirror(&[], (false, false), "s3:4"));
    let faults: Vec<_> = intent.faults().into_iter().map(|f| format!("{}{}", f.label, f.pointer)).collect();
    let expected = ["mirror/a/to", "mirror/b/to", "mirror/c/ports", "mirror/c/direction"];
    assert_eq!(faults, expected);
    intent.mirrors.clear();
    intent.mirrors.insert("a".into(), mirror(&["s3:3"], ALL, "s3:4"));
    intent.mirrors.insert("b".into(), mirror(&["s3:4"], ALL, "s5:3"));
    let faults: Vec<_> = intent.faults().into_iter().map(|f| format!("{}{}", f.label, f.pointer)).collect();
    assert_eq!(faults, ["mirror/b/ports/0"]);
}

#[test]
fn a_mirror_waits_for_its_outlet_and_does_without_a_link_there() {
    let (mut net, mut intent) = mirrored(mirror(&["s3:3"], ALL, "s3:4"));
    intent.mirrors.insert("tap".into(), mirror(&["s3:3"], ALL, "s3:9"));
    intent.mirrors.insert("link".into(), mirror(&["s3:3"], ALL, "s3:1"));
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    assert_eq!(net.controller.status("mirror/tap").reasons, ["waiting for port s3:9"]);
    let reasons = net.controller.status("mirror/link").reasons;
    assert_eq!(reasons, ["s3:1 is a link to another switch, so no copies leave there"]);
    assert_eq!(net.send((3, 3), ip(1, 2)), [(5, 4)]);
}
