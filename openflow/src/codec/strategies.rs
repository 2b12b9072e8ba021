//! Any message that a version can say, for tests of what holds for all of them.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

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

pub(super) fn reply(body: Reply) -> Message {
    Message::MultipartReply(MultipartReply { more: false, body })
}

pub(super) fn request(body: Request) -> Message {
    Message::MultipartRequest(MultipartRequest { more: false, body })
}

pub(crate) fn packets() -> impl Strategy<Value = Message> {
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

pub(crate) fn multiparts() -> impl Strategy<Value = Message> {
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
        groups_and_meters(),
    ]
}

fn groups_and_meters() -> impl Strategy<Value = Message> {
    let duration = Duration::new(5, 6);
    prop_oneof![
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
        table_features(),
    ]
}

fn table_features() -> impl Strategy<Value = Message> {
    (vec(any::<u16>(), 0..9), vec(0..Field::ALL.len(), 0..9)).prop_map(|(types, fields)| {
        let fields: Vec<Field> = fields.into_iter().map(|idx| Field::ALL[idx]).collect();
        reply(Reply::TableFeatures(vec![TableFeatures {
            table: TableId(3),
            name: "acl".into(),
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
    })
}

pub(crate) fn mods() -> impl Strategy<Value = Message> {
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

/// What only 1.4 can say.
pub(crate) fn of_14() -> impl Strategy<Value = Message> {
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
        counters_of_ports_and_queues(),
        sessions_of_14(),
    ]
}

fn sessions_of_14() -> impl Strategy<Value = Message> {
    let n = || any::<u32>();
    prop_oneof![
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
        any::<[u32; 4]>().prop_map(|n| Message::PortMod(PortMod {
            port: PortNo(n[0]),
            mac: MacAddr([2; 6]),
            config: PortConfig(n[1] & !16),
            mask: PortConfig(n[2] & !16),
            advertise: PortFeatures(n[3]),
        })),
    ]
}

fn counters_of_ports_and_queues() -> impl Strategy<Value = Message> {
    prop_oneof![
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
    ]
}
