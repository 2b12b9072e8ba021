use core::net::Ipv4Addr;
use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::codec::{EncodeError, decode, encode};
use crate::error::{BadAction, BadRequest, FlowModFailed};
use crate::oxm::VID_PRESENT;
use crate::*;

fn port() -> impl Strategy<Value = PortNo> {
    prop_oneof![
        (1u32..0xff00).prop_map(PortNo),
        prop::sample::select(vec![ports::LOCAL, ports::IN_PORT, ports::CONTROLLER, ports::FLOOD, ports::ALL]),
    ]
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn vlan() -> impl Strategy<Value = Vec<Oxm>> {
    let present = u128::from(VID_PRESENT);
    let pcp = |n: u8| Oxm::new(Field::VlanPcp, n.into());
    prop_oneof![
        Just(Vec::new()),
        Just(vec![Oxm::new(Field::VlanVid, 0)]),
        (0u16..4096).prop_map(|vid| vec![Oxm::new(Field::VlanVid, (vid | VID_PRESENT).into())]),
        (0u16..4096, 0u8..8)
            .prop_map(move |(vid, n)| vec![Oxm::new(Field::VlanVid, (vid | VID_PRESENT).into()), pcp(n)]),
        (0u8..8).prop_map(move |n| vec![Oxm::masked(Field::VlanVid, present, present), pcp(n)]),
    ]
}

fn prefix(field: Field, (addr, len): (u32, u32)) -> Oxm {
    Oxm::masked(field, addr.into(), u32::MAX.checked_shl(32 - len).unwrap_or(0).into())
}

fn network() -> impl Strategy<Value = Vec<Oxm>> {
    let addr = || (any::<u32>(), 0u32..33);
    let transport = (any::<bool>(), any::<bool>(), 0usize..4, any::<[u8; 2]>());
    let ipv4 = (addr(), addr(), any::<Option<u8>>(), any::<Option<u8>>(), transport).prop_map(
        |(src, dst, tos, proto, (with_src, with_dst, known, [a, b]))| {
            let mut all = vec![Oxm::new(Field::EthType, 0x800)];
            all.extend([prefix(Field::Ipv4Src, src), prefix(Field::Ipv4Dst, dst)]);
            all.extend(tos.map(|tos| Oxm::new(Field::IpDscp, (tos >> 2).into())));
            let (number, fields) = [
                (1, [Field::Icmpv4Type, Field::Icmpv4Code]),
                (6, [Field::TcpSrc, Field::TcpDst]),
                (17, [Field::UdpSrc, Field::UdpDst]),
                (132, [Field::SctpSrc, Field::SctpDst]),
            ][known];
            match proto {
                Some(proto) if proto < 128 && ![1, 6, 17].contains(&proto) => {
                    all.push(Oxm::new(Field::IpProto, proto.into()));
                }
                Some(_) => {
                    all.push(Oxm::new(Field::IpProto, number));
                    all.extend(with_src.then(|| Oxm::new(fields[0], a.into())));
                    all.extend(with_dst.then(|| Oxm::new(fields[1], b.into())));
                }
                None => {}
            }
            all
        },
    );
    let arp = (addr(), addr(), any::<Option<u8>>()).prop_map(|(src, dst, op)| {
        let mut all = vec![Oxm::new(Field::EthType, 0x806)];
        all.extend([prefix(Field::ArpSpa, src), prefix(Field::ArpTpa, dst)]);
        all.extend(op.map(|op| Oxm::new(Field::ArpOp, op.into())));
        all
    });
    let other = any::<u16>()
        .prop_filter("no IPv4, no ARP", |e| ![0x800, 0x806].contains(e))
        .prop_map(|e| vec![Oxm::new(Field::EthType, e.into())]);
    let ipv6 = (any::<Option<u8>>(), prop::option::of(0usize..4), any::<[u8; 2]>()).prop_map(
        |(tos, known, [a, b])| {
            let mut all = vec![Oxm::new(Field::EthType, 0x86dd)];
            all.extend(tos.map(|tos| Oxm::new(Field::IpDscp, (tos >> 2).into())));
            if let Some(known) = known {
                let (number, fields) = [
                    (58, [Field::Icmpv6Type, Field::Icmpv6Code]),
                    (6, [Field::TcpSrc, Field::TcpDst]),
                    (17, [Field::UdpSrc, Field::UdpDst]),
                    (132, [Field::SctpSrc, Field::SctpDst]),
                ][known];
                all.push(Oxm::new(Field::IpProto, number));
                all.extend([Oxm::new(fields[0], a.into()), Oxm::new(fields[1], b.into())]);
            }
            all
        },
    );
    prop_oneof![1 => Just(Vec::new()), 3 => ipv4, 1 => arp, 1 => ipv6, 1 => other]
}

fn a_match() -> impl Strategy<Value = Match> {
    let link = (prop::option::of(port()), prop::option::of(mac()), prop::option::of(mac()));
    (link, vlan(), network()).prop_map(|((in_port, src, dst), vlan, network)| {
        let mut all = [vlan, network].concat();
        all.extend(in_port.map(Oxm::in_port));
        all.extend(src.map(|mac| Oxm::mac(Field::EthSrc, mac)));
        all.extend(dst.map(|mac| Oxm::mac(Field::EthDst, mac)));
        Match::from_fields(all).expect("the prerequisites are there")
    })
}

fn action() -> impl Strategy<Value = Action> {
    let rewrite = prop_oneof![
        (0u16..4096).prop_map(Rewrite::VlanVid),
        (0u8..8).prop_map(Rewrite::VlanPcp),
        any::<u32>().prop_map(|a| Rewrite::Ipv4Src(Ipv4Addr::from_bits(a))),
        any::<u32>().prop_map(|a| Rewrite::Ipv4Dst(Ipv4Addr::from_bits(a))),
        (0u8..64).prop_map(Rewrite::IpDscp),
        any::<u16>().prop_map(Rewrite::PortSrc),
        any::<u16>().prop_map(Rewrite::PortDst),
    ];
    prop_oneof![
        (port(), any::<u16>()).prop_map(|(port, max_len)| Action::Output { port, max_len }),
        rewrite.prop_map(Action::Rewrite),
        mac().prop_map(|mac| Action::SetField(Oxm::mac(Field::EthSrc, mac))),
        mac().prop_map(|mac| Action::SetField(Oxm::mac(Field::EthDst, mac))),
        Just(Action::PopVlan),
        (port(), any::<u32>()).prop_map(|(port, q)| Action::Enqueue { port, queue: QueueId(q) }),
        any::<u32>().prop_map(|e| Action::Experimenter { experimenter: e, data: vec![1; 8] }),
        Just(Action::Unknown { kind: 77, data: vec![7; 4] }),
    ]
}

fn instructions() -> impl Strategy<Value = Vec<Instruction>> {
    vec(action(), 0..6)
        .prop_map(|all| if all.is_empty() { Vec::new() } else { vec![Instruction::ApplyActions(all)] })
}

fn flow_mod() -> impl Strategy<Value = Message> {
    let numbers = (any::<u64>(), any::<u16>(), any::<u16>(), any::<u16>(), 0u16..4);
    let out_port = prop::option::of(port());
    (0..5usize, numbers, out_port, a_match(), instructions()).prop_map(
        |(command, n, out_port, matches, instructions)| {
            let command = FlowModCommand::ALL[command];
            let deletes = matches!(command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
            let reset =
                if command == FlowModCommand::Add { FlowModFlags::RESET_COUNTS } else { FlowModFlags::NONE };
            Message::FlowMod(FlowMod {
                command,
                table: if deletes { TableId::ALL } else { TableId(0) },
                cookie: Cookie(n.0),
                priority: Priority(n.1),
                idle_timeout: n.2,
                hard_timeout: n.3,
                buffer: (n.1 > 9).then_some(BufferId(n.1.into())),
                out_port: out_port.filter(|_| deletes),
                upsert: matches!(command, FlowModCommand::Modify | FlowModCommand::ModifyStrict),
                flags: FlowModFlags(n.4) | reset,
                matches,
                instructions: if deletes { Vec::new() } else { instructions },
                ..FlowMod::default()
            })
        },
    )
}

fn flow_stats() -> impl Strategy<Value = FlowStats> {
    (any::<[u64; 3]>(), any::<u16>(), a_match(), instructions()).prop_map(|(n, m, matches, instructions)| {
        FlowStats {
            table: TableId(m as u8),
            duration: Duration::new(n[0] >> 32, (n[0] & 0xffff) as u32),
            priority: Priority(m),
            idle_timeout: m,
            hard_timeout: !m,
            flags: FlowModFlags::NONE,
            importance: 0,
            cookie: Cookie(n[0]),
            packets: n[1],
            bytes: n[2],
            matches,
            instructions,
        }
    })
}

fn port_desc() -> impl Strategy<Value = PortDesc> {
    (port(), mac(), "[a-z]{0,15}", any::<[u32; 3]>()).prop_map(|(port, mac, name, bits)| PortDesc {
        config: PortConfig(bits[0] & PortConfig::ALL.0),
        state: PortState(bits[1] & 3),
        // Rates of 40 Gbit/s and more have no bits.
        current: PortFeatures(bits[2] & 0xf87f),
        peer: PortFeatures(bits[0] & 0xf87f),
        ..PortDesc::new(port, mac, name)
    })
}

fn reply(body: Reply) -> Message {
    Message::MultipartReply(MultipartReply { more: false, body })
}

fn request(body: Request) -> Message {
    Message::MultipartRequest(MultipartRequest { more: false, body })
}

fn packets() -> impl Strategy<Value = Message> {
    let data = || vec(any::<u8>(), 0..99);
    prop_oneof![
        (data(), port(), any::<u16>()).prop_map(|(data, port, n)| Message::PacketIn(PacketIn {
            buffer: (n > 9).then_some(BufferId(n.into())),
            total_len: n,
            reason: if n % 2 == 0 { PacketInReason::NoMatch } else { PacketInReason::Action },
            table: TableId(0),
            cookie: Cookie(u64::MAX),
            matches: Match::pipeline([Oxm::in_port(port)]),
            data,
        })),
        (data(), vec(action(), 0..5), port()).prop_map(|(data, actions, in_port)| Message::PacketOut(
            PacketOut { buffer: None, in_port, actions, data }
        )),
        (a_match(), any::<u64>(), any::<u16>()).prop_map(|(matches, n, m)| Message::FlowRemoved(
            FlowRemoved {
                cookie: Cookie(n),
                priority: Priority(m),
                reason: FlowRemovedReason::ALL[usize::from(m % 3)],
                table: TableId(0),
                duration: Duration::new(m.into(), 5),
                idle_timeout: m,
                hard_timeout: 0,
                packets: n,
                bytes: !n,
                matches,
            }
        )),
        data().prop_map(Message::EchoRequest),
        (any::<u32>(), any::<u32>(), data())
            .prop_map(|(experimenter, kind, data)| { Message::Experimenter { experimenter, kind, data } }),
    ]
}

fn of_ports() -> impl Strategy<Value = Message> {
    prop_oneof![
        (any::<u64>(), vec(port_desc(), 0..5)).prop_map(|(n, ports)| Message::FeaturesReply(Features {
            dpid: Dpid(n),
            n_buffers: n as u32,
            n_tables: n as u8,
            auxiliary_id: 0,
            capabilities: SwitchCapabilities::FLOW_STATS | SwitchCapabilities::QUEUE_STATS,
            ports,
        })),
        port_desc().prop_map(|desc| Message::PortStatus(PortStatus { reason: PortReason::Modify, desc })),
        port_desc().prop_map(|desc| Message::PortMod(PortMod {
            port: desc.port,
            mac: desc.mac,
            config: desc.config,
            mask: PortConfig::ALL,
            advertise: desc.peer,
        })),
        vec(port_desc(), 0..5).prop_map(|all| reply(Reply::PortDesc(all))),
        (port(), prop::option::of(0..=1000u16)).prop_map(|(port, min_rate)| {
            let queue = PacketQueue { queue: QueueId(4), port, min_rate, max_rate: None };
            Message::QueueGetConfigReply(QueueConfig { port: Some(port), queues: vec![queue; 2] })
        }),
    ]
}

fn statistics() -> impl Strategy<Value = Message> {
    prop_oneof![
        vec(flow_stats(), 0..5).prop_map(|all| reply(Reply::Flow(all))),
        (a_match(), prop::option::of(port()), any::<u8>()).prop_map(|(matches, out_port, n)| {
            let wanted = FlowStatsRequest { table: TableId(n), out_port, matches, ..Default::default() };
            request(if n % 2 == 0 { Request::Flow(wanted) } else { Request::Aggregate(wanted) })
        }),
        any::<[u32; 2]>().prop_map(|[n, m]| reply(Reply::Table(vec![
            TableStats {
                table: TableId(n as u8),
                max_entries: n,
                active: m,
                lookups: m.into(),
                matched: n.into()
            };
            3
        ]))),
        prop::option::of(port()).prop_map(|port| request(Request::PortStats(port))),
        (prop::option::of(1u32..0xff00), any::<Option<u16>>()).prop_map(|(port, queue)| request(
            Request::Queue { port: port.map(PortNo), queue: queue.map(|q| QueueId(q.into())) }
        )),
        (port(), any::<u64>()).prop_map(|(port, n)| reply(Reply::Queue(vec![
            QueueStats {
                port,
                queue: QueueId(1),
                tx_bytes: n,
                tx_packets: !n,
                tx_errors: 3,
                duration: Duration::ZERO
            };
            2
        ]))),
        any::<u64>().prop_map(|n| reply(Reply::Aggregate(AggregateStats {
            packets: n,
            bytes: !n,
            flows: n as u32
        }))),
    ]
}

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(Version::V10, Xid(7), message, &mut bytes).expect("it can be written");
    bytes
}

fn round_trip(message: &Message) {
    assert_eq!(decode(Version::V10, &bytes_of(message)), Ok((Xid(7), message.clone())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn flow_mods_round_trip(message in flow_mod()) {
        round_trip(&message);
    }

    #[test]
    fn packets_round_trip(message in packets()) {
        round_trip(&message);
    }

    #[test]
    fn ports_round_trip(message in of_ports()) {
        round_trip(&message);
    }

    #[test]
    fn statistics_round_trip(message in statistics()) {
        round_trip(&message);
    }

    /// What a controller of 1.0 installed can be shown to every other.
    #[test]
    fn flows_of_10_have_a_form_in_later_versions(stats in flow_stats()) {
        for version in [Version::V13, Version::V14] {
            let message = reply(Reply::Flow(vec![stats.clone()]));
            let mut bytes = Vec::new();
            encode(version, Xid(7), &message, &mut bytes).expect("it can be written");
            let Ok((_, Message::MultipartReply(MultipartReply { body: Reply::Flow(seen), .. }))) =
                decode(version, &bytes) else { panic!("a reply") };
            prop_assert_eq!(&seen[0].matches, &stats.matches);
            let mut again = Vec::new();
            encode(Version::V10, Xid(7), &reply(Reply::Flow(seen)), &mut again).expect("it can be written");
            // Back in 1.0 it is the same flow but for what has no name in later versions.
            let unnamed = |a: &Action| matches!(a, Action::Rewrite(Rewrite::PortSrc(_) | Rewrite::PortDst(_)));
            let enqueues = |a: &Action| matches!(a, Action::Enqueue { .. });
            let plain = stats.instructions.iter().all(|i| match i {
                Instruction::ApplyActions(all) => !all.iter().any(|a| unnamed(a) || enqueues(a)),
                _ => true,
            });
            if plain {
                prop_assert_eq!(again, bytes_of(&message));
            }
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_message(kind in 0u8..24, body in vec(any::<u8>(), 0..200)) {
        let mut bytes = vec![1, kind, 0, (body.len() + 8) as u8, 0, 0, 0, 1];
        bytes.extend(body);
        if let Ok((_, message)) = decode(Version::V10, &bytes) {
            encode(Version::V10, Xid(1), &message, &mut Vec::new()).expect("what was decoded can be encoded");
        }
    }
}

/// A flow mod that adds `actions` with a match of these wildcards and of zeros otherwise, changed at some places.
fn flow_mod_bytes(wildcards: u32, changes: &[(usize, &[u8])], actions: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 72];
    bytes[..2].copy_from_slice(&[1, 14]);
    bytes[8..12].copy_from_slice(&wildcards.to_be_bytes());
    bytes[64..68].fill(0xff);
    bytes[68..70].fill(0xff);
    bytes.extend(actions);
    let len = (bytes.len() as u16).to_be_bytes();
    bytes[2..4].copy_from_slice(&len);
    for (at, change) in changes {
        bytes[*at..*at + change.len()].copy_from_slice(change);
    }
    bytes
}

fn read_flow_mod(bytes: &[u8]) -> Result<FlowMod, ErrorKind> {
    match decode(Version::V10, bytes) {
        Ok((_, Message::FlowMod(flow_mod))) => Ok(flow_mod),
        Ok(other) => panic!("{other:?}"),
        Err(refused) => {
            assert_eq!(refused.error.data, bytes);
            Err(refused.error.kind)
        }
    }
}

const DL_TYPE: (usize, &[u8]) = (30, &[0x08, 0x00]);

#[test]
fn fields_without_their_protocol_do_not_matter() {
    let everything = read_flow_mod(&flow_mod_bytes(0x003f_ffff, &[], &[])).expect("a flow mod");
    assert_eq!(everything.matches, Match::ANY);
    // Addresses, protocol and ports, but no Ethertype.
    let no_type = 0x0030_001f;
    let flow = read_flow_mod(&flow_mod_bytes(no_type, &[DL_TYPE, (33, &[6])], &[])).expect("a flow mod");
    assert_eq!(flow.matches, Match::ANY);
    // An Ethertype that has none of them, and one that has all but the addresses.
    let changes = [(30, &[0x88, 0x47][..]), (33, &[6])];
    let flow = read_flow_mod(&flow_mod_bytes(0x0030_000f, &changes, &[])).expect("a flow mod");
    assert_eq!(flow.matches, Match::new().eth_type(0x8847));
    let changes = [(30, &[0x86, 0xdd][..]), (33, &[6]), (36, &[1, 2, 3, 4]), (46, &[0, 80])];
    let flow = read_flow_mod(&flow_mod_bytes(0x0030_004f, &changes, &[])).expect("a flow mod");
    assert_eq!(flow.matches, Match::new().eth_type(0x86dd).tcp_dst(80));
    // Ports of a protocol without ports.
    let changes = [DL_TYPE, (33, &[50]), (44, &[0, 1, 0, 2])];
    let flow = read_flow_mod(&flow_mod_bytes(0x003f_ff0f & !0xe0, &changes, &[])).expect("a flow mod");
    assert_eq!(flow.matches, Match::new().ip_proto(50));
}

#[test]
fn matches_mean_what_10_says() {
    let any_but = |cared: u32| 0x003f_ffff & !cared;
    let of = |wildcards, changes: &[(usize, &[u8])]| {
        read_flow_mod(&flow_mod_bytes(wildcards, changes, &[])).expect("a flow mod").matches
    };
    let vlan = (26, &[0xff, 0xff][..]);
    assert_eq!(of(any_but(1 << 1), &[vlan]), Match::new().untagged());
    assert_eq!(of(any_but(1 << 1 | 1 << 20), &[vlan, (28, &[3])]), Match::new().untagged());
    let tagged = Match::new().tagged().with(Oxm::new(Field::VlanPcp, 3)).expect("a tag is demanded");
    assert_eq!(of(any_but(1 << 20), &[(28, &[3])]), tagged);
    assert_eq!(of(any_but(1), &[(12, &[0xff, 0xfe])]), Match::new().in_port(ports::LOCAL));
    // Ten bits of the source do not matter.
    let changes = [DL_TYPE, (36, &[10, 1, 255, 255][..])];
    let net = of(any_but(1 << 4 | 0x3f << 8) | 10 << 8, &changes);
    assert_eq!(net, Match::new().ipv4_src(Ipv4Addr::new(10, 1, 252, 0), 22));
    let arp =
        of(any_but(1 << 4 | 1 << 5 | 0x3f << 14), &[(30, &[0x08, 0x06]), (33, &[2]), (40, &[10, 0, 0, 1])]);
    let expected = Match::new().arp_tpa(Ipv4Addr::new(10, 0, 0, 1), 32);
    assert_eq!(arp, expected.with(Oxm::new(Field::ArpOp, 2)).expect("ARP"));
    let icmp = of(any_but(1 << 4 | 1 << 5 | 1 << 6 | 1 << 7), &[DL_TYPE, (33, &[1]), (44, &[0, 8, 0, 3])]);
    let expected = Match::new().ip_proto(1).with(Oxm::new(Field::Icmpv4Type, 8)).expect("ICMP");
    assert_eq!(icmp, expected.with(Oxm::new(Field::Icmpv4Code, 3)).expect("ICMP"));
}

/// The text is silent; Open vSwitch cuts them to their bits and matches what nobody asked for.
#[test]
fn values_that_no_packet_can_have_are_refused_in_a_match() {
    let any_but = |cared: u32| 0x003f_ffff & !cared;
    let (vlan, pcp) = (1 << 1, 1 << 20);
    let icmp = [DL_TYPE, (33, &[1][..])];
    type Changes<'a> = Vec<(usize, &'a [u8])>;
    let cases: [(u32, Changes<'_>); 5] = [
        (vlan, vec![(26, &[0x13, 0x88])]),
        (vlan, vec![(26, &[0x10, 0x00])]),
        (pcp, vec![(28, &[9])]),
        (1 << 4 | 1 << 5 | 1 << 6, [&icmp[..], &[(44, &[1, 8])]].concat()),
        (1 << 4 | 1 << 5 | 1 << 7, [&icmp[..], &[(46, &[1, 8])]].concat()),
    ];
    for (cared, changes) in &cases {
        let refused = read_flow_mod(&flow_mod_bytes(any_but(*cared), changes, &[])).expect_err("refused");
        assert_eq!(refused, crate::error::BadMatch::BadValue.into(), "{changes:?}");
        assert_eq!(super::error::numbers(refused), (3, 5), "OFPFMFC_UNSUPPORTED");
        let ignored = read_flow_mod(&flow_mod_bytes(any_but(0), changes, &[])).expect("it does not matter");
        assert!(ignored.matches.is_empty());
    }
    let last = read_flow_mod(&flow_mod_bytes(any_but(vlan | pcp), &[(26, &[0x0f, 0xff]), (28, &[7])], &[]));
    let vlan = [Oxm::new(Field::VlanVid, u128::from(VID_PRESENT | 0xfff)), Oxm::new(Field::VlanPcp, 7)];
    assert_eq!(last.expect("12 and 3 bits").matches, Match::from_fields(vlan.to_vec()).expect("tagged"));
}

#[test]
fn errors_have_the_codes_of_the_standard() {
    let any = 0x003f_ffff;
    let output = [0, 0, 0, 8, 0, 2, 0, 0];
    type Changes<'a> = &'a [(usize, &'a [u8])];
    let cases: &[(Changes<'_>, &[u8], ErrorKind)] = &[
        (&[(56, &[0, 9])], &output, FlowModFailed::BadCommand.into()),
        (&[(56, &[1, 0])], &output, FlowModFailed::BadCommand.into()),
        (&[(70, &[0, 4])], &output, FlowModFailed::TableFull.into()),
        (&[(58, &[0, 1]), (70, &[0, 4])], &output, FlowModFailed::BadTimeout.into()),
        (&[(70, &[0, 8])], &output, FlowModFailed::BadFlags.into()),
        (&[], &[0, 0, 0, 16, 0, 2, 0, 0], BadAction::BadLen.into()),
        (&[], &[0, 0, 0, 4, 0, 2, 0, 0], BadAction::BadLen.into()),
        (&[], &[0, 0, 0, 0, 0, 2, 0, 0], BadAction::BadLen.into()),
        (&[], &[0, 0, 0, 16, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], BadAction::BadLen.into()),
        (&[], &[0, 4, 0, 8, 2, 0, 0, 0], BadAction::BadLen.into()),
        (&[], &[0, 1, 0, 8, 0x10, 0, 0, 0], BadAction::BadArgument.into()),
        (&[], &[0, 2, 0, 8, 8, 0, 0, 0], BadAction::BadArgument.into()),
        (&[], &[0, 8, 0, 8, 1, 0, 0, 0], BadAction::BadArgument.into()),
        (&[(1, &[99])], &output, BadRequest::BadType.into()),
        (&[(0, &[9])], &output, BadRequest::BadVersion.into()),
    ];
    for (changes, actions, expected) in cases {
        let bytes = flow_mod_bytes(any, changes, actions);
        assert_eq!(read_flow_mod(&bytes).expect_err("an error"), *expected, "{changes:?} {actions:?}");
    }
    // What the switch refuses survives to it.
    let unknown = read_flow_mod(&flow_mod_bytes(any, &[], &[0, 77, 0, 8, 1, 2, 3, 4])).expect("a flow mod");
    let Instruction::ApplyActions(actions) = &unknown.instructions[0] else { panic!("{unknown:?}") };
    assert_eq!(actions[..], [Action::Unknown { kind: 77, data: vec![1, 2, 3, 4] }]);
}

#[test]
fn flows_of_later_versions_are_shown_in_the_nearest_form_or_not_at_all() {
    let set = |field, value| Action::SetField(Oxm::new(field, value));
    let apply = |actions: Vec<Action>| vec![Instruction::ApplyActions(actions)];
    let output = || Action::output(PortNo(2));
    let shown = [
        (
            apply(vec![Action::PushVlan(0x8100), set(Field::VlanVid, 0x1007), output()]),
            vec![Action::Rewrite(Rewrite::VlanVid(7)), output()],
        ),
        (
            vec![Instruction::WriteActions(vec![output(), Action::PopVlan, set(Field::UdpDst, 5)])],
            vec![Action::PopVlan, Action::Rewrite(Rewrite::PortDst(5)), output()],
        ),
        (
            apply(vec![Action::SetQueue(QueueId(3)), output()]),
            vec![Action::Enqueue { port: PortNo(2), queue: QueueId(3) }],
        ),
    ];
    let hidden = [
        (Match::ANY, vec![Instruction::GotoTable(TableId(1))]),
        (Match::ANY, apply(vec![Action::Group(GroupId(1))])),
        (Match::ANY, apply(vec![Action::output(PortNo(0x1_0000))])),
        (Match::ANY, apply(vec![Action::DecNwTtl])),
        (Match::new().metadata(1, 1), Vec::new()),
        (Match::new().tagged(), Vec::new()),
        (Match::new().ipv6_dst(core::net::Ipv6Addr::LOCALHOST, 128), Vec::new()),
        (Match::new().eth_dst_masked(MacAddr([1, 0, 0, 0, 0, 0]), MacAddr([1, 0, 0, 0, 0, 0])), Vec::new()),
    ];
    let flow = |matches, instructions| FlowStats {
        table: TableId(3),
        duration: Duration::ZERO,
        priority: Priority(1),
        idle_timeout: 0,
        hard_timeout: 0,
        flags: FlowModFlags::NONE,
        importance: 0,
        cookie: Cookie(1),
        packets: 0,
        bytes: 0,
        matches,
        instructions,
    };
    let mut all: Vec<_> = hidden.into_iter().map(|(matches, list)| flow(matches, list)).collect();
    all.extend(shown.iter().map(|(list, _)| flow(Match::ANY, list.clone())));
    let Ok((_, Message::MultipartReply(MultipartReply { body: Reply::Flow(seen), .. }))) =
        decode(Version::V10, &bytes_of(&reply(Reply::Flow(all))))
    else {
        panic!("a reply")
    };
    let seen: Vec<_> = seen.into_iter().map(|flow| flow.instructions).collect();
    assert_eq!(seen, shown.map(|(_, actions)| apply(actions)));
}

#[test]
fn what_10_lacks_is_not_written() {
    let removed = FlowRemoved {
        cookie: Cookie(1),
        priority: Priority(1),
        reason: FlowRemovedReason::Eviction,
        table: TableId(0),
        duration: Duration::ZERO,
        idle_timeout: 0,
        hard_timeout: 0,
        packets: 0,
        bytes: 0,
        matches: Match::new().metadata(1, 1),
    };
    let desc = PortDesc::new(PortNo(0x1_0000), MacAddr([2; 6]), "p");
    let no_such = EncodeError::NoSuchMessage(Version::V10);
    let cannot = EncodeError::Inexpressible(Version::V10);
    let lacking = [
        (Message::GetAsyncRequest, no_such),
        (request(Request::GroupDesc), no_such),
        (reply(Reply::Meter(Vec::new())), no_such),
        (Message::FlowRemoved(removed), cannot),
        (Message::PortStatus(PortStatus { reason: PortReason::Add, desc }), cannot),
        (Message::FlowMod(FlowMod { table: TableId(1), ..FlowMod::default() }), cannot),
    ];
    for (message, error) in lacking {
        let mut out = vec![1];
        assert_eq!(encode(Version::V10, Xid(1), &message, &mut out), Err(error));
        assert_eq!(out, [1], "nothing is left behind");
    }
}

#[test]
fn a_long_reply_is_split() {
    let stats = TableStats { max_entries: 9, ..TableStats::default() };
    let bytes = bytes_of(&reply(Reply::Table(vec![stats; 3000])));
    let (mut at, mut n, mut last) = (0, 0, false);
    while at < bytes.len() {
        let len = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        let Ok((Xid(7), Message::MultipartReply(MultipartReply { more, body: Reply::Table(part) }))) =
            decode(Version::V10, &bytes[at..at + len])
        else {
            panic!("a part of a reply")
        };
        assert!(!last, "nothing follows the last part");
        (at, n, last) = (at + len, n + part.len(), !more);
    }
    assert_eq!((n, last), (3000, true));
}
