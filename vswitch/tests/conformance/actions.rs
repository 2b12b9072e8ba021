//! For every action the exact frame that leaves.

use openflow::{
    Action, Bucket, Field, FlowMod, GroupId, GroupMod, GroupModCommand, GroupType, Instruction, Match,
    Message, Oxm, PortNo, Priority, QueueId, TableId, ports,
};

use crate::wire::{self, Encap, Kind, Values, frame};
use crate::{IN, OUT, switch};

const ADDRESSES: usize = 12;

/// What leaves when `instructions` are the only flow's.
fn sent(instructions: Vec<Instruction>, bytes: &[u8]) -> Vec<(PortNo, Vec<u8>)> {
    sent_with(Match::new(), instructions, bytes)
}

fn sent_with(matches: Match, instructions: Vec<Instruction>, bytes: &[u8]) -> Vec<(PortNo, Vec<u8>)> {
    let mut s = switch();
    let group = GroupMod {
        command: GroupModCommand::Add,
        group_type: GroupType::Indirect,
        group: GroupId(1),
        buckets: vec![Bucket {
            weight: 0,
            watch_port: None,
            watch_group: None,
            actions: vec![Action::output(PortNo(3))],
        }],
    };
    assert_eq!(s.control(Message::GroupMod(group)), []);
    s.flow(FlowMod::add(TableId(0), Priority(1), matches, instructions));
    s.receive(IN, bytes)
}

/// The frame behind `actions`, applied at once and from the action set: both must be the same.
fn changed(matches: &Match, actions: &[Action], bytes: &[u8]) -> Vec<u8> {
    let with_output: Vec<Action> = actions.iter().cloned().chain([Action::output(OUT)]).collect();
    let applied = sent_with(matches.clone(), vec![Instruction::ApplyActions(with_output.clone())], bytes);
    let [(OUT, applied)] = &applied[..] else { panic!("{actions:?}: {applied:?}") };
    if actions.len() == 1 {
        let written = sent_with(matches.clone(), vec![Instruction::WriteActions(with_output)], bytes);
        assert_eq!(written, [(OUT, applied.clone())], "{actions:?} from the action set");
    }
    applied.clone()
}

/// A settable field in a kind of frame, and where it is found.
#[rustfmt::skip]
const SETTABLE: &[(Field, Kind, &[Encap])] = &[
    (Field::EthDst, Kind::Tcp4, &Encap::ALL),
    (Field::EthSrc, Kind::Tcp6, &Encap::ALL),
    (Field::VlanVid, Kind::Tcp4, &[Encap::Vlan, Encap::QinQ, Encap::VlanMpls]),
    (Field::VlanPcp, Kind::Tcp4, &[Encap::Vlan, Encap::QinQ, Encap::VlanMpls]),
    (Field::IpDscp, Kind::Tcp4, PACKET), (Field::IpDscp, Kind::Udp6, PACKET),
    (Field::IpEcn, Kind::Sctp4, PACKET), (Field::IpEcn, Kind::Icmp6, PACKET),
    (Field::Ipv4Src, Kind::Tcp4, PACKET), (Field::Ipv4Src, Kind::Udp4, PACKET), (Field::Ipv4Src, Kind::Icmp4, PACKET), (Field::Ipv4Src, Kind::Sctp4, PACKET),
    (Field::Ipv4Dst, Kind::Tcp4, PACKET), (Field::Ipv4Dst, Kind::Udp4, PACKET), (Field::Ipv4Dst, Kind::Icmp4, PACKET), (Field::Ipv4Dst, Kind::Sctp4, PACKET),
    (Field::TcpSrc, Kind::Tcp4, PACKET), (Field::TcpDst, Kind::Tcp4, PACKET), (Field::TcpSrc, Kind::Tcp6, PACKET), (Field::TcpDst, Kind::Hop6, PACKET),
    (Field::UdpSrc, Kind::Udp4, PACKET), (Field::UdpDst, Kind::Udp4, PACKET), (Field::UdpSrc, Kind::Udp6, PACKET), (Field::UdpDst, Kind::Udp6, PACKET),
    (Field::SctpSrc, Kind::Sctp4, PACKET), (Field::SctpDst, Kind::Sctp4, PACKET), (Field::SctpSrc, Kind::Sctp6, PACKET), (Field::SctpDst, Kind::Sctp6, PACKET),
    (Field::Icmpv4Type, Kind::Icmp4, PACKET), (Field::Icmpv4Code, Kind::Icmp4, PACKET),
    (Field::ArpOp, Kind::Arp, PACKET), (Field::ArpSpa, Kind::Arp, PACKET), (Field::ArpTpa, Kind::Arp, PACKET),
    (Field::ArpSha, Kind::Arp, PACKET), (Field::ArpTha, Kind::Arp, PACKET),
    (Field::Ipv6Src, Kind::Tcp6, PACKET), (Field::Ipv6Src, Kind::Udp6, PACKET), (Field::Ipv6Src, Kind::Icmp6, PACKET), (Field::Ipv6Src, Kind::Sctp6, PACKET),
    (Field::Ipv6Dst, Kind::Tcp6, PACKET), (Field::Ipv6Dst, Kind::Udp6, PACKET), (Field::Ipv6Dst, Kind::Solicit, PACKET), (Field::Ipv6Dst, Kind::Hop6, PACKET),
    (Field::Ipv6Flabel, Kind::Tcp6, PACKET),
    (Field::Icmpv6Type, Kind::Icmp6, PACKET), (Field::Icmpv6Code, Kind::Icmp6, PACKET),
    (Field::Ipv6NdTarget, Kind::Solicit, PACKET), (Field::Ipv6NdTarget, Kind::Advert, PACKET),
    (Field::Ipv6NdSll, Kind::Solicit, PACKET), (Field::Ipv6NdTll, Kind::Advert, PACKET),
    (Field::MplsLabel, Kind::Tcp4, LABEL), (Field::MplsTc, Kind::Tcp4, LABEL), (Field::MplsBos, Kind::Tcp4, LABEL),
    (Field::PbbIsid, Kind::Tcp4, &[Encap::Pbb]), (Field::PbbUca, Kind::Tcp4, &[Encap::Pbb]),
];
const PACKET: &[Encap] = &[Encap::Plain, Encap::Vlan, Encap::QinQ];
const LABEL: &[Encap] = &[Encap::Mpls, Encap::VlanMpls];

/// A match that says all that a set-field could need (§7.2.5).
fn describing(kind: Kind, encap: Encap) -> Match {
    let (ethertype, proto) = match kind {
        Kind::Arp => (0x0806, None),
        Kind::Tcp4 => (0x0800, Some(6)),
        Kind::Udp4 => (0x0800, Some(17)),
        Kind::Sctp4 => (0x0800, Some(132)),
        Kind::Icmp4 => (0x0800, Some(1)),
        Kind::Tcp6 | Kind::Hop6 => (0x86dd, Some(6)),
        Kind::Udp6 => (0x86dd, Some(17)),
        Kind::Sctp6 => (0x86dd, Some(132)),
        Kind::Icmp6 | Kind::Solicit | Kind::Advert => (0x86dd, Some(58)),
    };
    let (ethertype, proto) = match encap {
        Encap::Plain | Encap::Vlan | Encap::QinQ => (ethertype, proto),
        Encap::Mpls | Encap::VlanMpls => (0x8847, None),
        Encap::Pbb => (0x88e7, None),
    };
    let mut fields = vec![Oxm::new(Field::EthType, ethertype)];
    fields.extend(proto.map(|proto| Oxm::new(Field::IpProto, proto)));
    if let (Some(_), Some(neighbour)) =
        (proto, [(Kind::Solicit, 135), (Kind::Advert, 136)].iter().find(|n| n.0 == kind))
    {
        fields.push(Oxm::new(Field::Icmpv6Type, neighbour.1));
    }
    if matches!(encap, Encap::Vlan | Encap::QinQ | Encap::VlanMpls) {
        fields.push(Oxm::masked(Field::VlanVid, 0x1000, 0x1000));
    }
    Match::from_fields(fields).expect("the fields of one frame go together")
}

#[test]
fn set_field_changes_the_field_and_every_checksum_over_it() {
    let mut n_cases = 0;
    for &(field, kind, reach) in SETTABLE {
        for &encap in reach {
            let old = wire::default(field);
            let inverse = !old & field.full_mask();
            let new = if field == Field::VlanVid { inverse & 0xfff | 0x1000 } else { inverse };
            for value in [new, old ^ 1] {
                let before = frame(kind, encap, &Values::default());
                let after = frame(kind, encap, &Values::default().with(field, value));
                let matches = describing(kind, encap);
                let got = changed(&matches, &[Action::SetField(Oxm::new(field, value))], &before);
                assert_eq!(got, after, "{field} of {kind:?} over {encap:?} set to {value:#x}");
                n_cases += 1;
            }
        }
    }
    println!("actions: {n_cases} set-fields");
}

#[test]
fn no_settable_field_is_without_a_row() {
    // What they say of the frame is tested below; set-field of these changes how the rest is read.
    let of_types = [Field::EthType, Field::IpProto, Field::TunnelId];
    let rows: Vec<Field> = SETTABLE.iter().map(|row| row.0).chain(of_types).collect();
    let missing: Vec<_> = Field::ALL.iter().filter(|f| f.is_settable() && !rows.contains(f)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// `bytes` with other bytes between the addresses and `rest_at`.
fn fronted(bytes: &[u8], front: &[u8], rest_at: usize) -> Vec<u8> {
    [&bytes[..ADDRESSES], front, &bytes[rest_at..]].concat()
}

/// A name, what the match must say, the actions, the frame that comes in and the one that leaves.
type Case = (&'static str, Match, Vec<Action>, Vec<u8>, Vec<u8>);

fn v4(encap: Encap, values: Values) -> Vec<u8> {
    frame(Kind::Udp4, encap, &values)
}

fn v6(encap: Encap, values: Values) -> Vec<u8> {
    frame(Kind::Udp6, encap, &values)
}

fn ttl_cases() -> Vec<Case> {
    let (ip4, ip6) = (Match::new().eth_type(0x0800), Match::new().eth_type(0x86dd));
    let mpls = Match::new().eth_type(0x8847);
    let ttl = |ttl| Values::default().ttl(ttl);
    let mut cases: Vec<Case> = Vec::new();
    for encap in PACKET {
        cases.extend([
            ("set_nw_ttl", ip4.clone(), vec![Action::SetNwTtl(9)], v4(*encap, ttl(64)), v4(*encap, ttl(9))),
            ("set_nw_ttl", ip6.clone(), vec![Action::SetNwTtl(9)], v6(*encap, ttl(64)), v6(*encap, ttl(9))),
            ("dec_nw_ttl", ip4.clone(), vec![Action::DecNwTtl], v4(*encap, ttl(64)), v4(*encap, ttl(63))),
            ("dec_nw_ttl", ip6.clone(), vec![Action::DecNwTtl], v6(*encap, ttl(2)), v6(*encap, ttl(1))),
        ]);
    }
    for encap in LABEL {
        let label = |ttl| v4(*encap, Values::default().mpls_ttl(ttl));
        let both = |packet, label| v4(*encap, ttl(packet).mpls_ttl(label));
        cases.extend([
            ("set_mpls_ttl", mpls.clone(), vec![Action::SetMplsTtl(200)], label(33), label(200)),
            ("dec_mpls_ttl", mpls.clone(), vec![Action::DecMplsTtl], label(33), label(32)),
            ("copy_ttl_in", mpls.clone(), vec![Action::CopyTtlIn], both(64, 10), both(10, 10)),
            ("copy_ttl_out", mpls.clone(), vec![Action::CopyTtlOut], both(64, 10), both(64, 64)),
        ]);
    }
    cases
}

fn tag_cases() -> Vec<Case> {
    let any = Match::new();
    let plain = v4(Encap::Plain, Values::default());
    let vlan = v4(Encap::Vlan, Values::default());
    let qinq = v4(Encap::QinQ, Values::default());
    let tci = &vlan[14..16];
    // §5.12.1: a new tag takes VID and PCP of the tag that was outermost, zero if there was none.
    vec![
        (
            "push_vlan 0x8100",
            any.clone(),
            vec![Action::PushVlan(0x8100)],
            plain.clone(),
            fronted(&plain, &[0x81, 0, 0, 0], 12),
        ),
        (
            "push_vlan 0x88a8",
            any.clone(),
            vec![Action::PushVlan(0x88a8)],
            plain.clone(),
            fronted(&plain, &[0x88, 0xa8, 0, 0], 12),
        ),
        (
            "push_vlan on a tag",
            any.clone(),
            vec![Action::PushVlan(0x88a8)],
            vlan.clone(),
            fronted(&vlan, &[&[0x88, 0xa8], tci].concat(), 12),
        ),
        (
            "push_vlan, set vid and pcp",
            any.clone(),
            vec![
                Action::PushVlan(0x8100),
                Action::SetField(Oxm::new(Field::VlanVid, 0x1000 | 0x123)),
                Action::SetField(Oxm::new(Field::VlanPcp, 5)),
            ],
            plain.clone(),
            vlan.clone(),
        ),
        (
            "push_vlan twice",
            any.clone(),
            vec![Action::PushVlan(0x8100), Action::PushVlan(0x88a8)],
            plain.clone(),
            fronted(&plain, &[0x88, 0xa8, 0, 0, 0x81, 0, 0, 0], 12),
        ),
        ("pop_vlan", any.clone().tagged(), vec![Action::PopVlan], vlan, plain.clone()),
        (
            "pop_vlan of two",
            any.clone().tagged(),
            vec![Action::PopVlan],
            qinq.clone(),
            fronted(&qinq, &[], 16),
        ),
        ("pop_vlan twice", any.tagged(), vec![Action::PopVlan, Action::PopVlan], qinq, plain),
    ]
}

fn label_cases() -> Vec<Case> {
    let ip4 = Match::new().eth_type(0x0800);
    let mpls = Match::new().eth_type(0x8847);
    let plain = v4(Encap::Plain, Values::default());
    let labelled = v4(Encap::Mpls, Values::default());
    let shim = &labelled[14..18];
    // §5.12.1: a new label takes label, class and TTL of the outermost, the TTL of the IP packet if there is none.
    let above = [shim[0], shim[1], shim[2] & 0xfe, shim[3]];
    let set = |field, value| Action::SetField(Oxm::new(field, value));
    vec![
        (
            "push_mpls",
            ip4.clone(),
            vec![Action::PushMpls(0x8847)],
            plain.clone(),
            fronted(&plain, &[0x88, 0x47, 0, 0, 1, 64], 14),
        ),
        (
            "push_mpls multicast",
            ip4.clone(),
            vec![Action::PushMpls(0x8848)],
            plain.clone(),
            fronted(&plain, &[0x88, 0x48, 0, 0, 1, 64], 14),
        ),
        (
            "push_mpls, set label and class",
            ip4,
            vec![
                Action::PushMpls(0x8847),
                set(Field::MplsLabel, 0x1_2345),
                set(Field::MplsTc, 3),
                Action::SetMplsTtl(33),
            ],
            plain.clone(),
            labelled.clone(),
        ),
        (
            "push_mpls on a label",
            mpls.clone(),
            vec![Action::PushMpls(0x8847)],
            labelled.clone(),
            fronted(&labelled, &[&[0x88, 0x47], &above[..]].concat(), 14),
        ),
        ("pop_mpls", mpls.clone(), vec![Action::PopMpls(0x0800)], labelled.clone(), plain.clone()),
        (
            "pop_mpls, then the packet",
            mpls,
            vec![Action::PopMpls(0x0800), set(Field::Ipv4Dst, 0x0102_0304), Action::DecNwTtl],
            labelled,
            v4(Encap::Plain, Values::default().with(Field::Ipv4Dst, 0x0102_0304).ttl(63)),
        ),
        (
            "pop_mpls under a tag",
            Match::new().eth_type(0x8847),
            vec![Action::PopMpls(0x0800)],
            v4(Encap::VlanMpls, Values::default()),
            v4(Encap::Vlan, Values::default()),
        ),
    ]
}

fn service_cases() -> Vec<Case> {
    let any = Match::new();
    let pbb = Match::new().eth_type(0x88e7);
    let plain = v4(Encap::Plain, Values::default());
    let provider = v4(Encap::Pbb, Values::default());
    // §5.12.1: addresses are copied, the instance is zero; popping restores the customer's frame, which keeps the 60 bytes
    // that the provider's had.
    let pushed = [&plain[..12], &[0x88, 0xe7, 0, 0, 0, 0], &plain[..]].concat();
    let mut popped = provider[18..].to_vec();
    popped.resize(60, 0);
    vec![
        ("push_pbb", any, vec![Action::PushPbb(0x88e7)], plain, pushed),
        ("pop_pbb", pbb, vec![Action::PopPbb], provider, popped),
    ]
}

#[test]
fn every_action_makes_the_exact_frame() {
    let cases: Vec<Case> = [ttl_cases(), tag_cases(), label_cases(), service_cases()].concat();
    for (name, matches, actions, before, after) in &cases {
        assert_eq!(&changed(matches, actions, before), after, "{name}");
    }
    println!("actions: {} that push, pop, or change a time to live", cases.len());
}

/// Where a frame of port 1 leaves a switch of four ports (§4.5).
#[test]
fn every_reserved_port_is_the_standards() {
    let bytes = v4(Encap::Plain, Values::default());
    let to = |ports: &[u32]| ports.iter().map(|n| (PortNo(*n), bytes.clone())).collect::<Vec<_>>();
    let cases = [
        (Action::output(OUT), to(&[2])),
        (Action::output(IN), vec![]),
        (Action::output(ports::IN_PORT), to(&[1])),
        (Action::output(ports::ALL), to(&[2, 3, 4])),
        (Action::output(ports::FLOOD), to(&[2, 3, 4])),
        (Action::output(ports::NORMAL), to(&[2, 3, 4])),
        (Action::output(ports::LOCAL), vec![]),
        (Action::output(PortNo(77)), vec![]),
        (Action::Group(GroupId(1)), to(&[3])),
    ];
    for (action, expected) in &cases {
        let sent = sent(vec![Instruction::ApplyActions(vec![action.clone()])], &bytes);
        assert_eq!(&sent, expected, "{action:?}");
    }
    let queued = vec![Action::SetQueue(QueueId(0)), Action::output(OUT)];
    assert_eq!(sent(vec![Instruction::ApplyActions(queued)], &bytes), to(&[2]));
    println!("actions: {} outputs", cases.len() + 1);
}

/// §5.10: copy inwards, pop, push MPLS, push PBB, push VLAN, copy outwards, decrement, set, QoS, group, output:
/// whatever the order in which they were written.
#[test]
fn the_action_set_has_the_standards_order() {
    let set = |field, value| Action::SetField(Oxm::new(field, value));
    let mut actions = vec![
        Action::output(OUT),
        set(Field::EthDst, 0x02ff_0000_0001),
        Action::DecMplsTtl,
        Action::CopyTtlOut,
        Action::PushVlan(0x8100),
        Action::PushMpls(0x8847),
        Action::PopVlan,
    ];
    let before = v4(Encap::Vlan, Values::default());
    let to = v4(Encap::Plain, Values::default().with(Field::EthDst, 0x02ff_0000_0001));
    // The tag goes, the label comes with the packet's TTL, a new empty tag before it, the label's TTL drops by one.
    let after = fronted(&to, &[0x81, 0, 0, 0, 0x88, 0x47, 0, 0, 1, 63], 14);
    for _ in 0..actions.len() {
        actions.rotate_left(1);
        let written = vec![Instruction::WriteActions(actions.clone())];
        let matches = Match::new().eth_type(0x0800).tagged();
        assert_eq!(sent_with(matches, written, &before), [(OUT, after.clone())], "{actions:?}");
    }
    let grouped = vec![Instruction::WriteActions(vec![Action::output(OUT), Action::Group(GroupId(1))])];
    assert_eq!(sent(grouped, &before), [(PortNo(3), before.clone())], "a group, and no output beside it");
    let nothing = vec![Instruction::WriteActions(vec![set(Field::EthDst, 1)])];
    assert_eq!(sent(nothing, &before), [], "a set without output drops");
    let cleared = vec![Instruction::ClearActions, Instruction::WriteActions(vec![Action::output(OUT)])];
    assert_eq!(sent(cleared, &before), [(OUT, before.clone())], "clear comes first (§5.9)");
    println!("actions: {} orders of an action set", actions.len());
}
