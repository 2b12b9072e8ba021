//! Whatever is encoded decodes to the same.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::*;

fn field_value() -> impl Strategy<Value = Oxm> {
    (0..Field::ALL.len(), any::<u128>(), any::<u128>(), any::<bool>()).prop_map(
        |(idx, value, mask, masked)| {
            let field = Field::ALL[idx];
            if masked && field.is_maskable() {
                Oxm::masked(field, value, mask)
            } else {
                Oxm::new(field, value)
            }
        },
    )
}

/// Fields that make a match, with their prerequisites.
fn a_match() -> impl Strategy<Value = Match> {
    vec(field_value(), 0..8).prop_map(|fields| {
        let mut all: Vec<Oxm> = Vec::new();
        for oxm in fields {
            let mut chain = vec![oxm];
            while let Some(needed) = chain.last().and_then(needed) {
                chain.push(needed);
            }
            all.retain(|old| chain.iter().all(|new| new.field != old.field));
            all.extend(chain);
            if Match::from_fields(all.clone()).is_err() {
                all.clear();
            }
        }
        Match::from_fields(all).unwrap_or_default()
    })
}

fn needed(oxm: &Oxm) -> Option<Oxm> {
    use crate::oxm::Prerequisite;
    match oxm.field.prerequisite() {
        Prerequisite::None => None,
        Prerequisite::Present(field) => Some(Oxm::new(field, 1)),
        Prerequisite::OneOf(field, values) => Some(Oxm::new(field, values[0].into())),
        Prerequisite::Tagged => Some(Oxm::masked(Field::VlanVid, 0x1000, 0x1000)),
    }
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (any::<u32>(), any::<u16>()).prop_map(|(p, max_len)| Action::Output { port: PortNo(p), max_len }),
        Just(Action::CopyTtlOut),
        Just(Action::CopyTtlIn),
        any::<u8>().prop_map(Action::SetMplsTtl),
        Just(Action::DecMplsTtl),
        Just(Action::PushVlan(0x88a8)),
        Just(Action::PopVlan),
        Just(Action::PushMpls(0x8848)),
        any::<u16>().prop_map(Action::PopMpls),
        any::<u32>().prop_map(|q| Action::SetQueue(QueueId(q))),
        any::<u32>().prop_map(|g| Action::Group(GroupId(g))),
        any::<u8>().prop_map(Action::SetNwTtl),
        Just(Action::DecNwTtl),
        Just(Action::PushPbb(0x88e7)),
        Just(Action::PopPbb),
        field_value()
            .prop_filter("settable", |oxm| oxm.field.is_settable())
            .prop_map(|oxm| Action::SetField(Oxm::new(oxm.field, oxm.value))),
        any::<u32>().prop_map(|e| Action::Experimenter { experimenter: e, data: vec![1; 8] }),
        Just(Action::Unknown { kind: 77, data: vec![7; 4] }),
    ]
}

fn instructions() -> impl Strategy<Value = Vec<Instruction>> {
    let one = prop_oneof![
        any::<u8>().prop_map(|t| Instruction::GotoTable(TableId(t))),
        (any::<u64>(), any::<u64>())
            .prop_map(|(metadata, mask)| Instruction::WriteMetadata { metadata, mask }),
        vec(action(), 0..6).prop_map(Instruction::WriteActions),
        vec(action(), 0..6).prop_map(Instruction::ApplyActions),
        Just(Instruction::ClearActions),
        any::<u32>().prop_map(|m| Instruction::Meter(MeterId(m))),
        Just(Instruction::Unknown { kind: 99, data: vec![1, 2, 3, 4] }),
    ];
    vec(one, 0..6).prop_map(|mut all| {
        let mut seen = Vec::new();
        all.retain(|i| {
            let kind = core::mem::discriminant(i);
            let new = !seen.contains(&kind);
            seen.push(kind);
            new
        });
        all
    })
}

pub(crate) fn flow_mod() -> impl Strategy<Value = Message> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>());
    let rest = (0..5usize, 0u16..32, any::<u32>().prop_map(|n| (n != u32::MAX).then_some(n)));
    (numbers, rest, a_match(), instructions()).prop_map(
        |(n, (command, flags, some), matches, instructions)| {
            Message::FlowMod(FlowMod {
                command: FlowModCommand::ALL[command],
                table: TableId(n.2),
                cookie: Cookie(n.0),
                cookie_mask: n.1,
                priority: Priority(n.3),
                idle_timeout: n.4,
                hard_timeout: n.5,
                buffer: some.map(BufferId),
                out_port: some.map(PortNo),
                out_group: some.map(GroupId),
                upsert: false,
                flags: FlowModFlags(flags),
                importance: 0,
                matches,
                instructions,
            })
        },
    )
}

fn flow_stats() -> impl Strategy<Value = FlowStats> {
    (any::<u64>(), any::<u16>(), a_match(), instructions()).prop_map(|(n, m, matches, instructions)| {
        FlowStats {
            table: TableId(m as u8),
            duration: Duration::new(n >> 32, (n & 0xffff) as u32),
            priority: Priority(m),
            idle_timeout: m,
            hard_timeout: m.wrapping_add(1),
            flags: FlowModFlags(m),
            importance: 0,
            cookie: Cookie(n),
            packets: n ^ 1,
            bytes: n ^ 2,
            matches,
            instructions,
        }
    })
}

fn port_desc() -> impl Strategy<Value = PortDesc> {
    (any::<u32>(), any::<[u8; 6]>(), "[a-z0-9-]{0,15}").prop_map(|(n, mac, name)| PortDesc {
        config: PortConfig(n & !PortConfig::NO_FLOOD.0),
        current: PortFeatures(!n),
        current_speed: n,
        ..PortDesc::new(PortNo(n), MacAddr(mac), name)
    })
}

pub(crate) fn bucket() -> impl Strategy<Value = Bucket> {
    (any::<u16>(), 0..u32::MAX, vec(action(), 0..4)).prop_map(|(weight, n, actions)| Bucket {
        weight,
        watch_port: Some(PortNo(n)),
        watch_group: (weight > 9).then_some(GroupId(n)),
        actions,
    })
}

pub(crate) fn band() -> impl Strategy<Value = Band> {
    let kind = prop_oneof![
        Just(BandKind::Drop),
        any::<u8>().prop_map(|prec_level| BandKind::DscpRemark { prec_level }),
        any::<u32>().prop_map(|experimenter| BandKind::Experimenter { experimenter }),
        Just(BandKind::Unknown { kind: 9 }),
    ];
    (kind, any::<u32>(), any::<u32>()).prop_map(|(kind, rate, burst)| Band { kind, rate, burst })
}

fn reply(body: Reply) -> Message {
    Message::MultipartReply(MultipartReply { more: false, body })
}

fn request(body: Request) -> Message {
    Message::MultipartRequest(MultipartRequest { more: false, body })
}

fn packets() -> impl Strategy<Value = Message> {
    let data = || vec(any::<u8>(), 0..300);
    prop_oneof![
        (data(), any::<u64>(), any::<u32>()).prop_map(|(data, n, port)| Message::PacketIn(PacketIn {
            buffer: Some(BufferId(port >> 1)),
            total_len: n as u16,
            reason: PacketInReason::InvalidTtl,
            table: TableId(n as u8),
            cookie: Cookie(n),
            matches: Match::new().in_port(PortNo(port)).metadata(n, u64::MAX),
            data,
        })),
        (data(), vec(action(), 0..5), any::<u32>()).prop_map(|(data, actions, port)| Message::PacketOut(
            PacketOut { buffer: None, in_port: PortNo(port), actions, data }
        )),
        (a_match(), any::<u64>(), any::<u16>()).prop_map(|(matches, n, m)| Message::FlowRemoved(
            FlowRemoved {
                cookie: Cookie(n),
                priority: Priority(m),
                reason: FlowRemovedReason::GroupDelete,
                table: TableId(m as u8),
                duration: Duration::new(m.into(), 5),
                idle_timeout: m,
                hard_timeout: m,
                packets: n,
                bytes: n,
                matches,
            }
        )),
        port_desc().prop_map(|desc| Message::PortStatus(PortStatus { reason: PortReason::Modify, desc })),
        data().prop_map(Message::EchoRequest),
        (any::<u16>(), any::<u16>(), data()).prop_map(|(kind, code, data)| {
            let kind = if kind == 0xffff { 0 } else { kind };
            Message::Error(Error { kind: ErrorKind::from_numbers(kind, code), data })
        }),
    ]
}

fn multiparts() -> impl Strategy<Value = Message> {
    let duration = Duration::new(5, 6);
    prop_oneof![
        vec(flow_stats(), 0..5).prop_map(|all| reply(Reply::Flow(all))),
        vec(port_desc(), 0..5).prop_map(|all| reply(Reply::PortDesc(all))),
        (any::<u32>(), a_match(), any::<u64>()).prop_map(|(n, matches, cookie)| {
            let request_ = FlowStatsRequest {
                table: TableId(n as u8),
                out_port: None,
                out_group: Some(GroupId(n >> 1)),
                cookie: Cookie(cookie),
                cookie_mask: !cookie,
                matches,
            };
            request(if n % 2 == 0 { Request::Flow(request_) } else { Request::Aggregate(request_) })
        }),
        vec((any::<u32>(), any::<u64>()), 0..4).prop_map(move |all| reply(Reply::Group(
            all.into_iter()
                .map(|(n, c)| GroupStats {
                    group: GroupId(n),
                    ref_count: n,
                    packets: c,
                    bytes: c,
                    duration,
                    buckets: vec![BucketStats { packets: c, bytes: 1 }; (n % 4) as usize],
                })
                .collect()
        ))),
        vec(vec(bucket(), 0..3), 0..3).prop_map(|all| reply(Reply::GroupDesc(
            all.into_iter()
                .map(|buckets| GroupDesc { group_type: GroupType::Select, group: GroupId(4), buckets })
                .collect()
        ))),
        vec(any::<u64>(), 0..3).prop_map(move |all| reply(Reply::Meter(
            all.into_iter()
                .map(|c| MeterStats {
                    meter: MeterId(c as u32),
                    flow_count: 3,
                    packets_in: c,
                    bytes_in: c,
                    duration,
                    bands: vec![BandStats { packets: c, bytes: 2 }; (c % 3) as usize],
                })
                .collect()
        ))),
        vec(band(), 0..3).prop_map(|bands| reply(Reply::MeterConfig(vec![MeterConfig {
            flags: MeterFlags::KBPS,
            meter: MeterId(1),
            bands
        }]))),
        (vec(any::<u16>(), 0..9), vec(0..Field::ALL.len(), 0..9)).prop_map(|(types, fields)| {
            let fields: Vec<Field> = fields.into_iter().map(|idx| Field::ALL[idx]).collect();
            reply(Reply::TableFeatures(vec![TableFeatures {
                table: TableId(3),
                name: "acl".to_owned(),
                metadata_match: 5,
                metadata_write: 6,
                config: 3,
                max_entries: 1000,
                features: vec![
                    TableFeature::Instructions { miss: true, types: types.clone() },
                    TableFeature::Actions { apply: true, miss: false, types },
                    TableFeature::NextTables { miss: false, tables: vec![TableId(4), TableId(9)] },
                    TableFeature::Match(fields.iter().map(|f| (*f, f.is_maskable())).collect()),
                    TableFeature::Wildcards(fields.clone()),
                    TableFeature::SetField { apply: false, miss: true, fields },
                ],
            }]))
        }),
    ]
}

fn mods() -> impl Strategy<Value = Message> {
    prop_oneof![
        flow_mod(),
        (vec(bucket(), 0..4), 0..4usize, any::<u32>()).prop_map(|(buckets, t, n)| Message::GroupMod(
            GroupMod {
                command: GroupModCommand::Modify,
                group_type: GroupType::ALL[t],
                group: GroupId(n),
                buckets
            }
        )),
        (vec(band(), 0..4), any::<u32>()).prop_map(|(bands, n)| Message::MeterMod(MeterMod {
            command: MeterModCommand::Add,
            flags: MeterFlags::PKTPS | MeterFlags::STATS,
            meter: MeterId(n),
            bands
        })),
        (any::<[u32; 6]>()).prop_map(|m| Message::SetAsync(AsyncChange {
            // In 1.3 who wants the reason "action" wants those that 1.4 split from it.
            packet_in: [m[0], m[1]].map(|m| Some(m & !0b11_1000 | if m & 2 == 0 { 0 } else { 0b11_1000 })),
            port_status: [m[2], m[3]].map(Some),
            flow_removed: [m[4], m[5]].map(Some),
            ..AsyncChange::default()
        })),
        (0..4usize, any::<u64>())
            .prop_map(|(r, generation)| Message::RoleRequest(RoleRequest { role: Role::ALL[r], generation })),
    ]
}

fn round_trip(message: &Message) {
    for version in [Version::V13, Version::V14] {
        round_trip_in(version, message);
    }
}

fn round_trip_in(version: Version, message: &Message) {
    let mut bytes = Vec::new();
    encode(version, Xid(7), message, &mut bytes).expect("it can be written");
    assert_eq!(decode(version, &bytes), Ok((Xid(7), message.clone())), "{version:?}");
}

/// What only 1.4 can say.
fn of_14() -> impl Strategy<Value = Message> {
    let n = || any::<u32>();
    prop_oneof![
        (flow_mod(), any::<u16>()).prop_map(|(message, importance)| {
            let Message::FlowMod(flow) = message else { unreachable!() };
            Message::FlowMod(FlowMod { importance, ..flow })
        }),
        (flow_stats(), any::<u16>()).prop_map(|(stats, importance)| reply(Reply::Flow(vec![
            FlowStats {
                importance,
                ..stats
            };
            2
        ]))),
        (a_match(), 0..FlowRemovedReason::ALL.len()).prop_map(|(matches, idx)| Message::FlowRemoved(
            FlowRemoved {
                cookie: Cookie(1),
                priority: Priority(2),
                reason: FlowRemovedReason::ALL[idx],
                table: TableId(3),
                duration: Duration::new(4, 5),
                idle_timeout: 6,
                hard_timeout: 7,
                packets: 8,
                bytes: 9,
                matches,
            }
        )),
        (0..PacketInReason::ALL.len(), n()).prop_map(|(idx, n)| Message::PacketIn(PacketIn {
            buffer: None,
            total_len: 9,
            reason: PacketInReason::ALL[idx],
            table: TableId(1),
            cookie: Cookie(2),
            matches: Match::new().in_port(PortNo(n)),
            data: vec![3; 9],
        })),
        tables_and_queues(),
        any::<[Option<u32>; 12]>().prop_map(|m| Message::SetAsync(AsyncChange {
            packet_in: [m[0], m[1]],
            port_status: [m[2], m[3]],
            flow_removed: [m[4], m[5]],
            role_status: [m[6], m[7]],
            table_status: [m[8], m[9]],
            request_forward: [m[10], m[11]],
            misses: None,
        })),
        any::<[u32; 6]>().prop_map(|m| Message::GetAsyncReply(AsyncConfig {
            packet_in: [m[0], m[1]],
            port_status: [m[1], m[2]],
            flow_removed: [m[2], m[3]],
            role_status: [m[3], m[4]],
            table_status: [m[4], m[5]],
            request_forward: [m[5], m[0]],
            misses: false,
        })),
        any::<u64>().prop_map(|generation| Message::RoleStatus(RoleStatus {
            role: Role::Slave,
            reason: RoleReason::Config,
            generation
        })),
        (mods(), n()).prop_map(|(message, n)| Message::BundleAdd(BundleAdd {
            bundle: n,
            flags: BundleFlags::ATOMIC,
            xid: Xid(n),
            message: Box::new(message),
        })),
        (0..BundleControlKind::ALL.len(), n()).prop_map(|(idx, bundle)| Message::BundleControl(
            BundleControl { bundle, kind: BundleControlKind::ALL[idx], flags: BundleFlags::ORDERED }
        )),
        vec(bucket(), 0..3).prop_map(|buckets| {
            let (command, group_type, group) = (GroupModCommand::Add, GroupType::All, GroupId(1));
            let request = Box::new(Message::GroupMod(GroupMod { command, group_type, group, buckets }));
            Message::RequestForward(RequestForward { xid: Xid(4), request })
        }),
    ]
}

fn tables_and_queues() -> impl Strategy<Value = Message> {
    let vacancy =
        any::<Option<[u8; 3]>>().prop_map(|v| v.map(|[down, up, current]| Vacancy { down, up, current }));
    let table = (any::<u8>(), any::<u32>(), any::<Option<u32>>(), vacancy);
    let desc = table.prop_map(|(n, config, eviction, vacancy)| TableDesc {
        table: TableId(n),
        config,
        eviction,
        vacancy,
    });
    let queue = (any::<u32>(), proptest::option::of(0..=1000u16)).prop_map(|(n, rate)| PacketQueue {
        queue: QueueId(n),
        port: PortNo(n),
        min_rate: rate,
        max_rate: rate.filter(|r| r % 2 == 0),
    });
    prop_oneof![
        vec(desc.clone(), 0..4).prop_map(|all| reply(Reply::TableDesc(all))),
        desc.clone().prop_map(|d| Message::TableMod(TableMod {
            table: d.table,
            config: d.config,
            eviction: d.eviction,
            vacancy: d.vacancy
        })),
        desc.prop_map(|desc| Message::TableStatus(TableStatus { reason: TableReason::VacancyUp, desc })),
        vec(queue, 0..4).prop_map(|all| reply(Reply::QueueDesc(all))),
        Just(request(Request::TableDesc)),
        any::<Option<u16>>().prop_map(|n| request(Request::QueueDesc {
            port: n.map(|n| PortNo(n.into())),
            queue: n.map(|n| QueueId(n.into()))
        })),
        any::<[u64; 4]>().prop_map(|c| reply(Reply::PortStats(vec![
            PortStats {
                port: PortNo(1),
                rx_packets: c[0],
                tx_packets: c[1],
                rx_bytes: c[2],
                tx_bytes: c[3],
                rx_dropped: c[0],
                tx_dropped: c[1],
                rx_errors: c[2],
                tx_errors: c[3],
                rx_frame_err: c[0],
                rx_over_err: c[1],
                rx_crc_err: c[2],
                collisions: c[3],
                duration: Duration::new(3, 4),
            };
            2
        ]))),
        any::<[u64; 3]>().prop_map(|c| reply(Reply::Queue(vec![
            QueueStats {
                port: PortNo(1),
                queue: QueueId(2),
                tx_bytes: c[0],
                tx_packets: c[1],
                tx_errors: c[2],
                duration: Duration::new(3, 4),
            };
            2
        ]))),
        any::<[u32; 4]>().prop_map(|n| Message::PortMod(PortMod {
            port: PortNo(n[0]),
            mac: MacAddr([2; 6]),
            config: PortConfig(n[1] & !16),
            mask: PortConfig(n[2] & !16),
            advertise: PortFeatures(n[3]),
        })),
    ]
}

#[test]
fn errors_round_trip_in_14_where_it_has_them() {
    for &kind in ErrorKind::ALL {
        let renamed = matches!(
            kind,
            ErrorKind::TableFeaturesFailed(
                error::TableFeaturesFailed::BadType
                    | error::TableFeaturesFailed::BadLen
                    | error::TableFeaturesFailed::BadArgument
            )
        );
        if !renamed {
            round_trip_in(Version::V14, &Message::Error(Error { kind, data: vec![1, 2] }));
        }
    }
}

#[test]
fn bundles_are_an_extension_in_13() {
    let control =
        BundleControl { bundle: 7, kind: BundleControlKind::CommitRequest, flags: BundleFlags::ATOMIC };
    let mut bytes = Vec::new();
    encode(Version::V13, Xid(1), &Message::BundleControl(control), &mut bytes).expect("it can be written");
    // As ovs-ofctl writes it: experimenter 4f4e4600, type 2300, then as in 1.4.
    assert_eq!(bytes, [4, 4, 0, 24, 0, 0, 0, 1, 0x4f, 0x4e, 0x46, 0, 0, 0, 8, 0xfc, 0, 0, 0, 7, 0, 4, 0, 1]);
    round_trip_in(Version::V13, &Message::BundleControl(control));
    for (error, number) in [(error::BundleFailed::Unknown, 2300), (error::BundleFailed::MsgFailed, 2313)] {
        let message = Message::Error(Error { kind: error.into(), data: vec![1, 2] });
        let mut bytes = Vec::new();
        encode(Version::V13, Xid(1), &message, &mut bytes).expect("it can be written");
        assert_eq!(bytes[8..12], [0xff, 0xff, (number >> 8) as u8, number as u8]);
        round_trip_in(Version::V13, &message);
    }
    // Other messages of the same organisation are kept as they are.
    round_trip_in(Version::V13, &Message::Experimenter { experimenter: oxm::ONF, kind: 2299, data: vec![1] });
}

#[test]
fn properties_are_checked() {
    let table_mod = |properties: &[u8]| {
        let mut bytes = vec![5, 17, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(properties);
        bytes[3] = bytes.len() as u8;
        decode(Version::V14, &bytes).map_err(|e| e.error.kind)
    };
    use error::BadProperty::*;
    assert!(table_mod(&[0, 2, 0, 8, 0, 0, 0, 1]).is_ok());
    for (properties, expected) in [
        (&[0, 9, 0, 8, 0, 0, 0, 1][..], BadType),
        (&[0xff, 0xff, 0, 8, 0, 0, 0, 1], BadExperimenter),
        (&[0, 2, 0, 8, 0, 0, 0, 1, 0, 2, 0, 8, 0, 0, 0, 1], DupType),
        (&[0, 2, 0, 3, 0, 0, 0, 1], BadLen),
        (&[0, 2, 0, 16, 0, 0, 0, 1], BadLen),
        (&[0, 2, 0, 7, 0, 0, 0, 0], BadLen),
        (&[0, 2], BadLen),
    ] {
        assert_eq!(table_mod(properties), Err(expected.into()), "{properties:?}");
    }
}

#[test]
fn what_a_version_lacks_is_not_written() {
    let forward = RequestForward { xid: Xid(1), request: Box::new(Message::BarrierRequest) };
    let lacking = [
        (Version::V13, Message::RequestForward(forward)),
        (Version::V13, request(Request::TableDesc)),
        (Version::V13, reply(Reply::QueueDesc(Vec::new()))),
        (Version::V14, Message::QueueGetConfigRequest(None)),
    ];
    for (version, message) in lacking {
        let mut out = vec![1];
        assert_eq!(encode(version, Xid(1), &message, &mut out), Err(EncodeError::NoSuchMessage(version)));
        assert_eq!(out, [1], "nothing is left behind");
    }
}

#[test]
fn a_bundle_holds_no_bundles() {
    let mut bytes = vec![5, 34, 0, 8, 0, 0, 0, 1];
    for depth in 1..200u16 {
        let mut outer = vec![5, 34, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        outer.extend(&bytes);
        outer[2..4].copy_from_slice(&(8 + depth * 16).to_be_bytes());
        bytes = outer;
    }
    let refused = decode(Version::V14, &bytes).expect_err("a bundle in a bundle");
    assert_eq!(refused.error.kind, error::BundleFailed::MsgUnsup.into());
    let inner = [4, 4, 0, 16, 0, 0, 0, 1, 0x4f, 0x4e, 0x46, 0, 0, 0, 8, 0xfd];
    let head = [4, 4, 0, 40, 0, 0, 0, 1, 0x4f, 0x4e, 0x46, 0, 0, 0, 8, 0xfd, 0, 0, 0, 1, 0, 0, 0, 0];
    let refused = decode(Version::V13, &[&head[..], &inner].concat()).expect_err("a bundle in a bundle");
    assert_eq!(refused.error.kind, error::BundleFailed::MsgUnsup.into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn packets_round_trip(message in packets()) {
        round_trip(&message);
    }

    #[test]
    fn multiparts_round_trip(message in multiparts()) {
        round_trip(&message);
    }

    #[test]
    fn mods_round_trip(message in mods()) {
        round_trip(&message);
    }

    #[test]
    fn what_is_in_a_bundle_round_trips_in_13(message in mods(), n in any::<u32>()) {
        let (bundle, flags) = (n, BundleFlags::ORDERED);
        let message = Box::new(message);
        round_trip_in(Version::V13, &Message::BundleAdd(BundleAdd { bundle, flags, xid: Xid(n), message }));
    }

    #[test]
    fn what_only_14_says_round_trips(message in of_14()) {
        round_trip_in(Version::V14, &message);
    }

    #[test]
    fn flows_in_text_round_trip(flow in flow_mod()) {
        let Message::FlowMod(mut flow) = flow else { unreachable!() };
        flow.command = FlowModCommand::Add;
        let unwritable = |a: &Action| matches!(a, Action::Unknown { .. } | Action::Experimenter { .. });
        flow.instructions.retain(|i| match i {
            Instruction::ApplyActions(a) | Instruction::WriteActions(a) => !a.is_empty() && !a.iter().any(unwritable),
            i => !matches!(i, Instruction::Unknown { .. } | Instruction::Experimenter { .. }),
        });
        let text = flow.to_string();
        let read = text::parse_flow_mod(flow.command, &text).expect(&text);
        prop_assert_eq!(&read.matches, &flow.matches, "{}", text);
        prop_assert_eq!(text::Instructions(&read.instructions).to_string(), text::Instructions(&flow.instructions).to_string());
    }

    #[test]
    fn any_bytes_are_an_error_or_a_message(
        v14: bool, kind in 0u8..36, body in vec(any::<u8>(), 0..200)
    ) {
        let version = if v14 { Version::V14 } else { Version::V13 };
        let mut bytes = vec![version.number(), kind, 0, (body.len() + 8) as u8, 0, 0, 0, 1];
        bytes.extend(body);
        if let Ok((_, message)) = decode(version, &bytes) {
            encode(version, Xid(1), &message, &mut Vec::new()).expect("what was decoded can be encoded");
        }
    }
}

#[test]
fn a_long_reply_is_split_below_64_kib() {
    let stats = TableStats::default();
    let all = vec![stats; 10_000];
    let mut bytes = Vec::new();
    encode(Version::V13, Xid(3), &reply(Reply::Table(all.clone())), &mut bytes).expect("it can be written");
    let mut framer = crate::frame::Framer::new();
    framer.push(&bytes);
    let mut seen = Vec::new();
    let mut more_left = true;
    while let Some(part) = framer.take().expect("in step") {
        assert!(more_left, "nothing follows the last part");
        let Ok((Xid(3), Message::MultipartReply(MultipartReply { more, body: Reply::Table(part) }))) =
            decode(Version::V13, part)
        else {
            panic!("a part of a table reply");
        };
        more_left = more;
        seen.extend(part);
    }
    assert!(!more_left);
    assert_eq!(seen, all);
}

/// A reply with many entries, of each kind that can be long and that the version has.
fn long_replies(version: Version) -> Vec<Reply> {
    let numbers = || 1..=5_000u32;
    let flow = |n: u32| FlowStats {
        table: TableId(0),
        duration: Duration::new(n.into(), 5),
        priority: Priority(n as u16),
        idle_timeout: 0,
        hard_timeout: 0,
        flags: FlowModFlags::NONE,
        importance: 0,
        cookie: Cookie(n.into()),
        packets: n.into(),
        bytes: 9,
        matches: Match::new().in_port(PortNo(7)).tcp_dst(n as u16),
        instructions: vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])],
    };
    let port = |n: u32| PortDesc { state: PortState::NONE, ..PortDesc::new(PortNo(n), MacAddr([2; 6]), "p") };
    let mut all =
        vec![Reply::Flow((1..=100_000).map(flow).collect()), Reply::PortDesc(numbers().map(port).collect())];
    if version == Version::V10 {
        return all;
    }
    let bucket = Bucket { weight: 1, watch_port: None, watch_group: None, actions: vec![Action::PopVlan] };
    let desc =
        |n| GroupDesc { group_type: GroupType::All, group: GroupId(n), buckets: vec![bucket.clone(); 3] };
    let band = Band { kind: BandKind::Drop, rate: 1, burst: 2 };
    let meter = |n| MeterConfig { flags: MeterFlags::KBPS, meter: MeterId(n), bands: vec![band] };
    let fields = TableFeature::Wildcards(Field::ALL.to_vec());
    let table = |n: u32| TableFeatures {
        table: TableId(n as u8),
        name: format!("table{n}"),
        metadata_match: 1,
        metadata_write: 2,
        config: 0,
        max_entries: n,
        features: vec![fields.clone(); 4],
    };
    all.push(Reply::GroupDesc(numbers().map(desc).collect()));
    all.push(Reply::MeterConfig(numbers().map(meter).collect()));
    all.push(Reply::TableFeatures((0..254).map(table).collect()));
    all
}

#[test]
fn every_long_reply_is_split_and_whole_again() {
    for version in [Version::V10, Version::V13, Version::V14] {
        for whole in long_replies(version) {
            let mut bytes = Vec::new();
            encode(version, Xid(3), &reply(whole.clone()), &mut bytes).expect("it can be written");
            assert!(bytes.len() > MAX_LEN, "{version}: {} bytes are not long", bytes.len());
            let mut framer = crate::frame::Framer::new();
            framer.push(&bytes);
            let (mut seen, mut more_left) = (None::<Reply>, true);
            while let Some(part) = framer.take().expect("in step") {
                assert!(more_left, "{version}: nothing follows the last part");
                let Ok((Xid(3), Message::MultipartReply(MultipartReply { more, body }))) =
                    decode(version, part)
                else {
                    panic!("{version}: a part of a reply")
                };
                more_left = more;
                match &mut seen {
                    Some(seen) => assert!(seen.append(body), "{version}: parts of one kind"),
                    None => seen = Some(body),
                }
            }
            assert!(!more_left, "{version}");
            assert!(seen == Some(whole), "{version}: what was said is what was meant");
        }
    }
}

#[test]
fn errors_have_the_codes_of_the_standard() {
    // A flow mod that adds a flow with an action of type 26 bytes long, and so on: base bytes, changed at an offset.
    let mut base = Vec::new();
    let flow = FlowMod {
        matches: Match::new().tcp_dst(80),
        instructions: vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])],
        ..FlowMod::default()
    };
    encode(Version::V13, Xid(1), &Message::FlowMod(flow), &mut base).expect("it can be written");
    let cases: &[(usize, &[u8], ErrorKind)] = &[
        (1, &[99], error::BadRequest::BadType.into()),
        (0, &[5], error::BadRequest::BadVersion.into()),
        (25, &[9], error::FlowModFailed::BadCommand.into()),
        (44, &[0xff], error::FlowModFailed::BadFlags.into()),
        (48, &[0, 0], error::BadMatch::BadType.into()),
        (50, &[0xff, 0xff], error::BadMatch::BadLen.into()),
        (50, &[0, 3], error::BadMatch::BadLen.into()),
        (52, &[0x12], error::BadMatch::BadField.into()),
        (54, &[100 << 1], error::BadMatch::BadField.into()),
        (55, &[3], error::BadMatch::BadLen.into()),
        // dl_type=0x0801: nw_proto lacks its prerequisite.
        (57, &[1], error::BadMatch::BadPrereq.into()),
        (72, &[0, 77], error::BadInstruction::UnknownInst.into()),
        (74, &[0, 25], error::BadInstruction::BadLen.into()),
        (74, &[0, 4], error::BadInstruction::BadLen.into()),
        (82, &[0, 8], error::BadAction::BadLen.into()),
        (82, &[0, 24], error::BadAction::BadLen.into()),
    ];
    for (at, change, expected) in cases {
        let mut bytes = base.clone();
        bytes[*at..*at + change.len()].copy_from_slice(change);
        match decode(Version::V13, &bytes) {
            Err(error) => {
                assert_eq!(error.error.kind, *expected, "{change:?} at {at}");
                assert_eq!(error.error.data, bytes);
            }
            // Unknown instructions survive to the switch, which answers.
            Ok((_, Message::FlowMod(flow))) => {
                assert_eq!(*expected, error::BadInstruction::UnknownInst.into(), "{change:?} at {at}");
                assert!(matches!(flow.instructions[..], [Instruction::Unknown { kind: 77, .. }]));
            }
            Ok(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_bundled_message_starts_with_is_found() {
    let inner = Message::FlowMod(FlowMod::default());
    let add =
        BundleAdd { bundle: 1, flags: BundleFlags::ATOMIC, xid: Xid(5), message: Box::new(inner.clone()) };
    for version in [Version::V13, Version::V14] {
        let (mut outer, mut expected) = (Vec::new(), Vec::new());
        encode(version, Xid(5), &Message::BundleAdd(add.clone()), &mut outer).expect("it fits");
        encode(version, Xid(5), &inner, &mut expected).expect("it fits");
        assert!(bundled(&outer).starts_with(&expected), "{version:?}");
        assert_eq!(bundled(&outer[..10]), []);
    }
}

/// What a switch need not have, and has not (1.4 §7.3.5.10, §7.3.5.18.4, §7.2.1.2): the error says so.
#[test]
fn flow_monitors_and_optical_ports_are_refused() {
    let request = |kind: u8, body: &[u8]| {
        let len = 8 + body.len() as u16;
        [&[5, kind][..], &len.to_be_bytes(), &[0, 0, 0, 9], body].concat()
    };
    let monitor = request(18, &[&[0, 16, 0, 0, 0, 0, 0, 0][..], &[0; 24]].concat());
    let refused = decode(Version::V14, &monitor).expect_err("no flow monitors");
    assert_eq!(refused.error.kind, error::BadRequest::BadMultipart.into());
    let optical =
        [&[0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0][..], &[0; 8], &[0, 1, 0, 24], &[0; 20]].concat();
    let refused = decode(Version::V14, &request(16, &optical)).expect_err("no optical ports");
    assert_eq!(refused.error.kind, error::BadProperty::BadType.into());
}

/// ofp_desc and ofp_port have names in ASCII; what is none must fit its field again.
#[test]
fn a_name_that_is_no_text_keeps_its_length() {
    let read = |bytes: &[u8]| {
        super::reader::Reader::new(bytes, error::BadRequest::BadLen).string(4).expect("four bytes")
    };
    assert_eq!(read(b"eth\xff"), "eth?");
    assert_eq!(read(&[0xff; 4]), "????");
    assert_eq!(read(b"p\xc3\xa4\0"), "p\u{e4}", "UTF-8 is kept");
    assert_eq!(read(b"ab\0\xff"), "ab");
}
