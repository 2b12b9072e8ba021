//! Virtual addresses and those who serve there.

use std::net::Ipv4Addr;

use packet::{Frame, arp, ethernet, ipv4, tcp};

use super::*;
use crate::{Balancer, Judgement, Member, Policy, Service, Traffic};

const VIP: u8 = 100;

fn address(n: u8) -> Ipv4Addr {
    [10, 0, 0, n].into()
}

fn member(at: &str, n: u8) -> Member {
    Member { port: port(at), address: address(n), weight: 1 }
}

/// Port 80 of the address goes to port 8080 of the members.
fn balancer(members: &[(&str, u8)]) -> Balancer {
    Balancer {
        network: "blue".into(),
        address: address(VIP),
        services: vec![Service { tcp: true, port: 80, target: 8080 }],
        members: members.iter().map(|(at, n)| member(at, *n)).collect(),
    }
}

/// Host 1 at s3:3, 2 at the trunk s5:4, 3 at s4:3 and 4 at s3:4 of the fabric, in one network; those that serve are known.
fn balanced(balancer: Balancer) -> (Net, Intent) {
    let mut net = leaf_spine();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s3:4", "s4:3"], &["s5:4"]));
    intent.balancers.insert("web".into(), balancer);
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    for (at, frame) in [((5, 4), tagged(arp(2, 9))), ((4, 3), arp(3, 9)), ((3, 4), arp(4, 9))] {
        net.say(at, frame);
    }
    (net, intent)
}

fn tagged(frame: Vec<u8>) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 10], &frame[12..]].concat()
}

fn virtual_mac(net: &Net) -> MacAddr {
    net.controller.lanes().balances["web"].mac()
}

fn segment(macs: [MacAddr; 2], addresses: [u8; 2], ports: [u16; 2]) -> Vec<u8> {
    let [src_port, dst_port] = ports;
    let header = tcp::Header { src_port, dst_port, flags: tcp::Flags::SYN, ..Default::default() };
    build::ethernet(macs[0], macs[1]).ipv4(address(addresses[0]), address(addresses[1])).tcp(&header, b"x")
}

/// Macs, addresses and ports of a TCP segment, without its tag, and whether its checksums are right.
fn read(frame: &[u8]) -> ([MacAddr; 2], [Ipv4Addr; 2], [u16; 2]) {
    let mut untagged = Frame::from_bytes(frame);
    let _ = untagged.pop_vlan();
    let bytes = untagged.to_vec();
    let link = ethernet::View::parse(&bytes).unwrap();
    let ip = ipv4::View::parse(link.payload()).unwrap();
    let segment = tcp::View::parse(ip.payload()).unwrap();
    let pseudo = packet::checksum::pseudo_v4(ip.src(), ip.dst(), ip.protocol(), ip.payload().len() as u16);
    assert_eq!(pseudo.bytes(ip.payload()).finish(), 0, "the checksum of TCP");
    ([link.src(), link.dst()], [ip.src(), ip.dst()], [segment.src_port(), segment.dst_port()])
}

#[test]
fn a_connection_goes_to_a_member_and_its_answers_come_from_the_address() {
    for (at, n) in [("s5:4", 2), ("s4:3", 3), ("s3:4", 4)] {
        let (mut net, _) = balanced(balancer(&[(at, n)]));
        assert_eq!(net.controller.status("balancer/web").state, IntentState::Realised);
        net.say((3, 3), arp(1, 9));
        let (vmac, place) =
            (virtual_mac(&net), (u64::from(at.as_bytes()[1] - b'0'), u32::from(at.as_bytes()[3] - b'0')));
        assert_eq!(net.send((3, 3), segment([mac(1), vmac], [1, VIP], [5000, 80])), [place]);
        let frame = net.delivered[0].1.clone();
        assert_eq!(Frame::from_bytes(&frame).outer_vlan().is_some(), n == 2, "a trunk has the tag");
        assert_eq!(read(&frame), ([mac(1), mac(n)], [address(1), address(n)], [5000, 8080]));
        let answer = segment([mac(n), mac(1)], [n, 1], [8080, 5000]);
        let answer = if n == 2 { tagged(answer) } else { answer };
        assert_eq!(net.send(place, answer), [(3, 3)]);
        assert_eq!(read(&net.delivered[0].1), ([vmac, mac(1)], [address(VIP), address(1)], [80, 5000]));
        // What else it says is its own.
        let other = segment([mac(n), mac(1)], [n, 1], [22, 5000]);
        net.send(place, if n == 2 { tagged(other) } else { other });
        assert_eq!(read(&net.delivered[0].1).1, [address(n), address(1)]);
        // Nothing else is served.
        for frame in
            [segment([mac(1), vmac], [1, VIP], [5000, 81]), segment([mac(1), vmac], [1, n], [5000, 80])]
        {
            assert_eq!(net.send((3, 3), frame), []);
        }
    }
}

#[test]
fn whoever_asks_for_the_address_is_answered_known_or_not() {
    let (mut net, _) = balanced(balancer(&[("s4:3", 3)]));
    let vmac = virtual_mac(&net);
    let ask = |net: &mut Net, at: (u64, u32), frame: Vec<u8>, n: u8| {
        assert_eq!(net.say(at, frame), [at], "nobody else hears of it");
        let mut answer = Frame::from_bytes(&net.delivered[0].1);
        let _ = answer.pop_vlan();
        let answer = answer.to_vec();
        let link = ethernet::View::parse(&answer).unwrap();
        let expected = arp::Packet::request(mac(n), address(n), address(VIP)).reply(vmac);
        assert_eq!((link.src(), link.dst()), (vmac, mac(n)));
        assert_eq!(arp::Packet::parse(link.payload()).unwrap(), expected);
    };
    // The controller answers first, the switch from then on.
    ask(&mut net, (3, 3), arp(1, VIP), 1);
    let frame = build::arp_request(mac(7), address(7), address(VIP));
    ask(&mut net, (5, 4), tagged(frame.clone()), 7);
    for dpid in 1..=5 {
        net.disconnect(dpid);
    }
    ask(&mut net, (3, 3), arp(1, VIP), 1);
    ask(&mut net, (5, 4), tagged(frame), 7);
    assert_eq!(net.send((4, 4), arp(1, VIP)), [(5, 3)], "elsewhere it is an address as any other");
}

#[test]
fn a_member_that_is_down_or_unknown_is_left_out() {
    let (mut net, mut intent) = balanced(balancer(&[("s3:4", 4), ("s4:3", 3), ("s5:4", 2)]));
    net.say((3, 3), arp(1, 9));
    let vmac = virtual_mac(&net);
    let served = |net: &mut Net| net.send((3, 3), segment([mac(1), vmac], [1, VIP], [5000, 80]));
    assert_eq!(served(&mut net), [(3, 4)]);
    // At once, by the switch itself.
    net.cut((3, 4), false);
    assert_eq!(served(&mut net), [(4, 3)]);
    net.cut((3, 4), true);
    for (at, expected) in [((3, 4), vec![(4, 3)]), ((4, 3), vec![(5, 4)]), ((5, 4), vec![])] {
        net.set_port(at, false);
        net.run(SETTLE);
        assert_eq!(served(&mut net), expected);
    }
    let status = net.controller.status("balancer/web");
    assert_eq!(status.state, IntentState::Pending);
    assert!(status.reasons.contains(&"s3:4 is down: member 10.0.0.4 is left out".to_owned()), "{status:?}");
    for at in [(3, 4), (4, 3), (5, 4)] {
        net.set_port(at, true);
    }
    net.run(SETTLE);
    assert_eq!(served(&mut net), [], "none has been heard again");
    let reasons = net.controller.status("balancer/web").reasons;
    assert!(reasons.contains(&"waiting for 10.0.0.4 to be heard at s3:4".to_owned()), "{reasons:?}");
    net.say((3, 4), arp(4, 9));
    assert_eq!(served(&mut net), [(3, 4)]);
    intent.balancers.clear();
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    assert!(net.controller.is_quiet());
    assert!(net.controller.blueprint().groups.values().flat_map(|g| g.keys()).all(|g| g.0 >> 24 == 0x7e));
}

#[test]
fn a_connection_survives_a_lost_link_without_the_controller() {
    let (mut net, _) = balanced(balancer(&[("s4:3", 3), ("s5:4", 2)]));
    net.say((3, 3), arp(1, 9));
    let vmac = virtual_mac(&net);
    for dpid in 1..=5 {
        net.disconnect(dpid);
    }
    for spine in [1, 2] {
        net.cut((3, spine), false);
        let frame = segment([mac(1), vmac], [1, VIP], [5000, 80]);
        assert_eq!(net.send((3, 3), frame), [(4, 3)], "without the link to spine {spine}, the same member");
        net.cut((3, spine), true);
    }
}

#[test]
fn what_a_chain_or_policy_is_about_is_not_got_around() {
    let (mut net, mut intent) = balanced(balancer(&[("s4:3", 3)]));
    let deny = Policy {
        priority: 1,
        judgement: Judgement::Deny,
        from: [port("s3:3")].into(),
        to: [port("s4:3")].into(),
        traffic: Traffic::Ip,
        stateful: false,
    };
    intent.policies.insert("deny".into(), deny.clone());
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    let status = net.controller.status("balancer/web");
    let reason = "s4:3 is an end of policy/deny, which the virtual address would get around";
    assert_eq!((status.state, &status.reasons[..]), (IntentState::Failed, &[reason.to_owned()][..]));
    let allow = Policy { judgement: Judgement::Allow, ..deny };
    intent.policies.insert("deny".into(), allow);
    net.controller.set_intent(net.now, intent.clone()).unwrap();
    net.run(SETTLE);
    assert_eq!(net.controller.status("balancer/web").state, IntentState::Realised);
    let (from, to) = ([port("s3:3")].into(), [port("s4:3")].into());
    let chain = Chain { from, to, functions: vec![], symmetric: false };
    intent.chains.insert("c".into(), chain);
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    assert_eq!(net.controller.status("balancer/web").state, IntentState::Failed);
}

#[test]
fn a_switch_without_groups_that_choose_has_one_member() {
    let mut net = fabric();
    net.switches.get_mut(&openflow::Dpid(3)).unwrap().grouped = false;
    net.connect_all();
    let mut intent = Intent::default();
    intent.networks.insert("blue".into(), network(10, &["s3:3", "s4:3", "s5:4"], &[]));
    intent.balancers.insert("web".into(), balancer(&[("s4:3", 3), ("s5:4", 2)]));
    net.controller.set_intent(net.now, intent).unwrap();
    net.run(SETTLE);
    for (at, n) in [((3, 3), 1), ((4, 3), 3), ((5, 4), 2)] {
        net.say(at, arp(n, 9));
    }
    let vmac = virtual_mac(&net);
    let [served] = net.send((3, 3), segment([mac(1), vmac], [1, VIP], [5000, 80]))[..] else {
        panic!("one member")
    };
    assert!([(4, 3), (5, 4)].contains(&served));
    let reasons = net.controller.status("balancer/web").reasons;
    assert_eq!(reasons, ["s3 has no groups that choose: one member serves its hosts"]);
}

#[test]
fn contradictions_of_balancers_have_a_pointer() {
    let mut intent = Intent::default();
    let mut blue = network(10, &["s3:3", "s4:3"], &[]);
    let own = [std::net::IpAddr::V4(address(50))].into();
    blue.hosts.push(crate::Reservation { port: port("s3:3"), mac: mac(5), addresses: own });
    intent.networks.insert("blue".into(), blue);
    let good = balancer(&[("s4:3", 3)]);
    intent.balancers.insert("a".into(), good.clone());
    intent.balancers.insert("b".into(), Balancer { address: address(101), ..good.clone() });
    intent.balancers.insert("c".into(), Balancer { members: vec![member("s4:3", 4)], ..good.clone() });
    intent.balancers.insert("d".into(), Balancer { network: "red".into(), services: vec![], ..good.clone() });
    let service = |port, target| Service { tcp: true, port, target };
    let wrong = Balancer {
        address: address(50),
        services: vec![service(80, 80), service(80, 81), service(82, 80), service(0, 1)],
        members: vec![member("s3:3", 7), member("s4:3", 7), Member { weight: 0, ..member("s4:3", 50) }],
        ..good
    };
    intent.balancers.insert("e".into(), wrong);
    let faults: Vec<_> = intent.faults().into_iter().map(|f| format!("{}{}", f.label, f.pointer)).collect();
    let expected = [
        "balancer/b/members/0/address",
        "balancer/c/address",
        "balancer/d/services",
        "balancer/d/network",
        "balancer/e/services/1/port",
        "balancer/e/services/2/target_port",
        "balancer/e/services/3/port",
        "balancer/e/members/1/address",
        "balancer/e/members/2/address",
        "balancer/e/members/2/weight",
        "balancer/e/address",
    ];
    assert_eq!(faults, expected);
}
