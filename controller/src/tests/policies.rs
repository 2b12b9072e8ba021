//! Who may speak IP to whom.

use packet::{EtherType, ethernet, icmpv4, ipv4, tcp};

use super::*;
use crate::{Attachment, Judgement, Policy, Traffic};

fn policy(priority: u16, judgement: Judgement, ends: [&[&str]; 2], traffic: Traffic) -> Policy {
    let [from, to] = ends.map(|names| names.iter().map(|name| port(name)).collect());
    Policy { priority, judgement, from, to, traffic, stateful: false }
}

fn tcp_frame(from: u8, to: u8, (src_port, dst_port): (u16, u16)) -> Vec<u8> {
    let header = tcp::Header { src_port, dst_port, seq: 7, flags: tcp::Flags::SYN, ..Default::default() };
    build::ethernet(mac(from), mac(to)).ipv4([10, 0, 0, from], [10, 0, 0, to]).tcp(&header, &[])
}

/// Host 1 at s3:3, 2 at s5:4 and 3 at s4:3, all known, in one network.
fn known() -> (Net, Intent) {
    let mut net = leaf_spine();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s5:4", "s4:3"], &[]));
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    for (n, at) in [(1, (3, 3)), (2, (5, 4)), (3, (4, 3))] {
        net.say(at, arp(n, 99));
    }
    (net, intent)
}

fn declare(net: &mut Net, intent: &mut Intent, policies: Vec<(&str, Policy)>) {
    intent.policies = policies.into_iter().map(|(name, policy)| (name.to_owned(), policy)).collect();
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
}

#[test]
fn the_first_policy_that_matches_decides() {
    let (mut net, mut intent) = known();
    let web = policy(20, Judgement::Allow, [&["s3:3"], &["s5:4"]], Traffic::Tcp([80].into()));
    let rest = policy(10, Judgement::Deny, [&[], &["s5:p4"]], Traffic::Ip);
    let back = policy(5, Judgement::Deny, [&["s5:4"], &["s3:3"]], Traffic::Ip);
    declare(&mut net, &mut intent, vec![("web", web), ("rest", rest), ("back", back)]);
    assert_eq!(net.send((3, 3), tcp_frame(1, 2, (5000, 80))), [(5, 4)]);
    assert_eq!(net.send((3, 3), tcp_frame(1, 2, (5000, 81))), []);
    assert_eq!(net.send((3, 3), ip(1, 2)), []);
    assert_eq!(net.send((4, 3), tcp_frame(3, 2, (5000, 80))), [], "the other may not");
    assert_eq!(net.send((5, 4), tcp_frame(2, 1, (80, 5000))), [(3, 3)], "an answer");
    assert_eq!(net.send((5, 4), tcp_frame(2, 1, (81, 5000))), []);
    assert_eq!(net.send((5, 4), ip(2, 3)), [(4, 3)], "nobody said anything of these");
    assert_eq!(net.send((3, 3), arp(1, 2)).len(), 2, "neighbours are found all the same");
    for name in ["web", "rest", "back"] {
        assert_eq!(net.controller.status(&format!("policy/{name}")).state, IntentState::Realised);
    }
    declare(&mut net, &mut intent, vec![]);
    assert_eq!(net.send((4, 3), tcp_frame(3, 2, (5000, 80))), [(5, 4)]);
}

#[test]
fn what_is_refused_to_an_unknown_host_waits_until_it_is_known() {
    let mut net = leaf_spine();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s5:4", "s4:3"], &[]));
    let deny = policy(10, Judgement::Deny, [&["s3:3"], &["s5:4"]], Traffic::Ip);
    declare(&mut net, &mut intent, vec![("deny", deny)]);
    net.say((3, 3), arp(1, 2));
    assert_eq!(net.say((3, 3), ip(1, 2)), [], "it might be for s5:4");
    assert_eq!(net.controller.counters().held_dropped, 1);
    net.say((4, 3), arp(3, 1));
    assert_eq!(net.say((3, 3), ip(1, 3)), [(4, 3)]);
    net.say((5, 4), arp(2, 1));
    assert_eq!(net.say((3, 3), ip(1, 2)), []);
    assert_eq!(net.say((4, 3), ip(3, 2)), [(5, 4)]);
    let group = build::ethernet(mac(1), MacAddr::BROADCAST).ipv4([10, 0, 0, 1], [255; 4]).udp(5, 6, b"x");
    assert_eq!(net.say((3, 3), group).len(), 2, "what is for all goes to all");
}

/// It would come back again and again.
#[test]
fn what_waits_does_not_go_back_to_a_switch_that_is_told_nothing_yet() {
    let mut net = leaf_spine();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s5:4", "s4:3"], &[]));
    let deny = policy(10, Judgement::Deny, [&["s3:3"], &["s5:4"]], Traffic::Ip);
    declare(&mut net, &mut intent, vec![("deny", deny)]);
    net.say((3, 3), arp(1, 2));
    net.restart_controller();
    net.run(Duration::from_millis(100));
    net.say((4, 3), arp(3, 1));
    assert_eq!(net.say((3, 3), ip(1, 3)), []);
    assert_eq!(net.controller.counters().held_dropped, 1);
    net.run(SETTLE);
    assert_eq!(net.say((3, 3), ip(1, 3)), [(4, 3)]);
}

#[test]
fn whoever_is_rejected_is_told() {
    let (mut net, mut intent) = known();
    let reject = policy(10, Judgement::Reject, [&[], &["s5:4"]], Traffic::Ip);
    declare(&mut net, &mut intent, vec![("reject", reject)]);
    assert_eq!(net.send((3, 3), tcp_frame(1, 2, (5000, 80))), [(3, 3)]);
    let answer = net.delivered[0].1.clone();
    let link = ethernet::View::parse(&answer).unwrap();
    let packet = ipv4::View::parse(link.payload()).unwrap();
    let segment = tcp::View::parse(packet.payload()).unwrap();
    assert_eq!((link.src(), link.dst()), (mac(2), mac(1)));
    assert_eq!((packet.src(), packet.dst()), ([10, 0, 0, 2].into(), [10, 0, 0, 1].into()));
    assert_eq!((segment.src_port(), segment.dst_port(), segment.ack()), (80, 5000, 8));
    assert!(segment.flags().contains(tcp::Flags::RST));
    assert_eq!(net.send((4, 3), ip(3, 2)), [(4, 3)]);
    let answer = net.delivered[0].1.clone();
    let link = ethernet::View::parse(&answer).unwrap();
    assert_eq!(link.ethertype(), EtherType::IPV4);
    let packet = ipv4::View::parse(link.payload()).unwrap();
    let icmp = icmpv4::View::parse(packet.payload()).unwrap();
    assert_eq!((icmp.kind(), icmp.code()), (3, 13));
    // A switch has a hundred answers a second; the first was for another.
    for _ in 0..500 {
        net.send((4, 3), ip(3, 2));
    }
    assert_eq!(net.controller.counters().rejections_left_out, 401);
    net.run(SETTLE);
    assert_eq!(net.send((4, 3), ip(3, 2)), [(4, 3)]);
}

#[test]
fn from_one_network_to_another_the_router_s_port_judges() {
    let mut net = leaf_spine();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s4:3"], &[]));
    intent.networks.insert("red".into(), network(20, &["s5:4", "s5:3"], &[]));
    let deny = policy(10, Judgement::Deny, [&["s3:3"], &["s5:4"]], Traffic::Ip);
    declare(&mut net, &mut intent, vec![("deny", deny)]);
    // The router is at s5:3 in red; its address there is mac(9).
    for (n, at) in [(1, (3, 3)), (3, (4, 3)), (2, (5, 4)), (9, (5, 3))] {
        net.say(at, arp(n, 99));
    }
    let routed = |n: u8| build::ethernet(mac(9), mac(2)).ipv4([10, 0, 0, n], [10, 0, 0, 2]).udp(5, 6, b"x");
    assert_eq!(net.say((5, 3), routed(1)), []);
    assert_eq!(net.say((5, 3), routed(3)), [(5, 4)]);
}

#[test]
fn state_is_kept_by_routers_alone() {
    let (mut net, mut intent) = known();
    let stateful =
        Policy { stateful: true, ..policy(10, Judgement::Allow, [&["s3:3"], &["s5:4"]], Traffic::Ip) };
    declare(&mut net, &mut intent, vec![("web", stateful)]);
    let status = net.controller.status("policy/web");
    assert_eq!(status.state, IntentState::Failed);
    assert!(status.reasons[0].starts_with("no weft router is on the path"), "{:?}", status.reasons);
    // Another network, and a router between the two.
    intent.networks.insert("red".into(), network(20, &["s5:4"], &[]));
    intent.networks.insert("blue".into(), network(10, &["s3:3"], &[]));
    let attach = |name: &str, network: &str| Attachment {
        router: "r1".into(),
        port: port(name),
        vlan: None,
        network: Some(network.into()),
    };
    intent.routers.insert("r1".into(), vec![attach("s4:3", "blue"), attach("s4:4", "red")]);
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    let status = net.controller.status("policy/web");
    assert_eq!((status.state, status.reasons), (IntentState::Realised, vec![]));
    assert_eq!(net.controller.blueprint().n_flows(openflow::Dpid(3), "policy/web"), 0);
    // Both hosts have said who they are; what routers are told follows.
    for (n, at) in [(1, (3, 3)), (2, (5, 4))] {
        net.say(at, arp(n, 99));
    }
    let guards = net.controller.lanes().guards("r1");
    let address = |n: u8| BTreeSet::from([std::net::IpAddr::from([10, 0, 0, n])]);
    assert_eq!((guards.len(), &guards[0].from, &guards[0].to), (1, &address(1), &address(2)));
    assert_eq!(net.controller.lanes().nameless_ends("web"), []);
    assert_eq!(net.controller.lanes().guards("r2"), []);
    // Ends that one network has, or any, meet without a router.
    let both =
        Policy { stateful: true, ..policy(11, Judgement::Deny, [&["s3:3", "s5:4"], &["s5:4"]], Traffic::Ip) };
    let any = Policy { stateful: true, ..policy(12, Judgement::Deny, [&[], &["s5:4"]], Traffic::Ip) };
    declare(&mut net, &mut intent, vec![("both", both), ("any", any)]);
    for (label, why) in [("policy/both", "from red to red"), ("policy/any", "names both its ends")] {
        let status = net.controller.status(label);
        assert_eq!(status.state, IntentState::Failed, "{label}");
        assert!(status.reasons[0].contains(why), "{:?}", status.reasons);
    }
    // `web` is withdrawn.
    assert_eq!(net.controller.lanes().guards("r1"), []);
}

#[test]
fn contradictions_of_policies_have_a_pointer() {
    let mut intent = Intent::default();
    let allow = policy(10, Judgement::Allow, [&[], &[]], Traffic::Ip);
    intent.policies.insert("a".into(), allow.clone());
    intent.policies.insert("b".into(), allow.clone());
    intent.policies.insert("c".into(), Policy { priority: u16::MAX, ..allow.clone() });
    let many: Vec<String> = (0..300).map(|n| format!("s1:{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let huge = policy(11, Judgement::Allow, [&many, &many], Traffic::Ip);
    intent.policies.insert("d".into(), huge);
    let faults: Vec<_> = intent.faults().into_iter().map(|f| (f.label, f.pointer)).collect();
    let expected = [("policy/b", "/priority"), ("policy/c", "/priority"), ("policy/d", "/from")];
    assert_eq!(faults, expected.map(|(label, pointer)| (label.to_owned(), pointer.to_owned())));
}

/// A switch that the controller has not met yet forwards as it was told before: what a policy refuses to its hosts may not be
/// flooded towards it.
#[test]
fn what_is_refused_to_a_port_that_is_not_there_waits() {
    let mut net = Net::new();
    for n in 1..=2 {
        net.switch(n, 3);
    }
    net.link((1, 3), (2, 3));
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s1:1", "s1:2", "s2:1"], &[]));
    let ends = |name: &str| [port(name)].into();
    let (from, to) = (ends("s1:1"), ends("s2:1"));
    let deny =
        Policy { priority: 10, judgement: Judgement::Deny, from, to, traffic: Traffic::Ip, stateful: false };
    intent.policies.insert("deny".into(), deny);
    net.controller.set_intent(net.now, intent).unwrap();
    net.connect(1);
    net.run(SETTLE);
    assert_eq!(net.send((1, 1), ip(1, 9)), [], "nobody knows where 9 is: it may be behind s2:1");
    assert_eq!(net.send((1, 2), ip(2, 9)), [(1, 1)], "this one may speak to everybody");
    // Once the port is there, and everybody behind it is known, the rest is flooded no more than before.
    net.connect(2);
    net.run(SETTLE);
    assert_eq!(net.send((1, 1), ip(1, 9)), []);
    net.say((2, 1), arp(9, 1));
    assert_eq!(net.send((1, 1), ip(1, 9)), []);
    assert_eq!(net.send((1, 2), ip(2, 9)), [(2, 1)]);
    // A switch that is given up goes on forwarding, too.
    net.disconnect(2);
    net.run(Duration::from_secs(30));
    assert_eq!(net.send((1, 1), ip(1, 9)), []);
}
