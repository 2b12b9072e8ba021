//! The fast path against the oracle: random tables, frames and sequences of flow mods, several workers that adopt
//! epochs at different times, byte for byte and counter for counter.

use std::collections::BTreeMap;

use openflow::{
    Action, Bucket, Cookie, Dpid, Field, FlowMod, FlowModCommand, FlowModFlags, FlowStats, FlowStatsRequest,
    GroupDesc, GroupId, GroupMod, GroupModCommand, GroupType, Instruction, Match, Message, MultipartRequest,
    Oxm, PacketInReason, PortConfig, PortDesc, PortMod, PortNo, Priority, Reply, Request, TableId, ports,
};
use packet::{EtherType, Frame, IpProtocol, MacAddr, build, icmpv4, tcp};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use vswitch::oracle::Oracle;
use vswitch::standalone::Standalone;
use vswitch::{Drops, SwitchConfig};

const N_PORTS: u32 = 4;
const N_TABLES: u8 = 4;
const N_WORKERS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Mod(FlowMod),
    Group(GroupMod),
    Port(PortMod),
    Frame { worker: usize, port: u32, bytes: Vec<u8>, repeat: usize },
    Carry,
    Obey(usize),
    Report,
    Idle,
    Settle,
}

fn mac() -> impl Strategy<Value = MacAddr> {
    select(vec![
        MacAddr([2, 0, 0, 0, 0, 1]),
        MacAddr([2, 0, 0, 0, 0, 2]),
        MacAddr([2, 0, 0, 0, 1, 3]),
        MacAddr::BROADCAST,
    ])
}

fn v4() -> impl Strategy<Value = [u8; 4]> {
    (0u8..3, 0u8..3).prop_map(|(a, b)| [10, 0, a, b * 85])
}

fn v6() -> impl Strategy<Value = [u16; 8]> {
    (0u16..3, 0u16..3).prop_map(|(a, b)| [0xfd00, a, 0, 0, 0, 0, 0, b])
}

fn l4() -> impl Strategy<Value = u16> {
    select(vec![0u16, 22, 80, 4242])
}

fn tags() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(select(vec![0u16, 5, 10, 0x6005, 0xe00a]), 0..3)
}

/// A frame with one or two shims in front of the packet, or as the customer frame of a provider's.
fn behind_shims(bytes: &[u8], kind: u8, ttl: u8) -> Vec<u8> {
    let (addresses, rest) = bytes.split_at(12);
    let shim = |bottom: u8| [0, 1, 0x40 | bottom, ttl];
    let front = match kind {
        14 => [&[0x88, 0x47][..], &shim(1), &rest[2..]].concat(),
        15 => [&[0x88, 0x47][..], &shim(0), &shim(1), &rest[2..]].concat(),
        16 => [&[0x88, 0xe7, 0, 0, 0, 5][..], addresses, rest].concat(),
        _ => [&[0x88, 0xa8, 0, 5, 0x88, 0xe7, 8, 0, 0, 5][..], addresses, rest].concat(),
    };
    [addresses, &front].concat()
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let parts = (mac(), mac(), tags(), v4(), v4(), v6(), v6());
    (parts, l4(), l4(), 0u8..18, select(vec![0u8, 1, 2, 64]), any::<Index>()).prop_map(
        |((src, dst, tags, s4, d4, s6, d6), sp, dp, kind, ttl, cut)| {
            let mut link = build::ethernet(src, dst);
            for tci in tags {
                link = link.tag(packet::vlan::Tag { tpid: EtherType(0x8100), tci: packet::vlan::Tci(tci) });
            }
            let ip4 = link.ipv4(s4, d4).ttl(ttl).dscp(ttl);
            let ip6 = link.ipv6(s6, d6).ttl(ttl);
            let header = tcp::Header {
                src_port: sp,
                dst_port: dp,
                flags: tcp::Flags(0x012),
                ..tcp::Header::default()
            };
            let mut bytes = match kind {
                0 => ip4.tcp(&header, b"payload"),
                1 => ip4.udp(sp, dp, b"x"),
                2 => ip4.echo_request(sp, dp, b"ping"),
                3 => ip4.with_ipv4(|h| h.fragment_offset = 2).payload(IpProtocol::TCP, &[7; 40]),
                4 => ip4.with_ipv4(|h| h.more_fragments = true).udp(sp, dp, b"first"),
                5 => ip6.tcp(&header, b"six"),
                6 => ip6.udp(sp, dp, b"odd"),
                7 => link.arp(&packet::arp::Packet::request(src, s4.into(), d4.into())),
                8 => build::neighbour_solicit(src, s6.into(), d6.into()),
                9 => ip4.payload(IpProtocol(132), &[1; 30]),
                10 => link.payload(EtherType(0x8847), &[0, 1, 0x41, 64, 0x45, 0]),
                11 => link.payload(EtherType(40), &[0xaa; 50]),
                12 => ip6.payload(IpProtocol(0), &[6, 0, 1, 4, 0, 0, 0, 0, 0, 22, 0, 80]),
                13 => ip4.icmpv4(&icmpv4::Message::TimeExceeded { code: 0 }, &[0; 28]),
                n if n % 2 == 0 => ip4.tcp(&header, b"inner"),
                _ => ip6.udp(sp, dp, b"inner"),
            };
            if kind >= 14 {
                bytes = behind_shims(&bytes, kind, ttl);
            }
            // One frame in eight is cut.
            let at = cut.index(bytes.len() * 8);
            bytes.truncate(if at == 0 { 13 } else { at.max(13) });
            bytes
        },
    )
}

/// A condition on each field with some probability; what lacks its prerequisites is left out.
fn matches() -> impl Strategy<Value = Match> {
    let link = (
        prop::option::weighted(0.3, 1..=N_PORTS),
        prop::option::weighted(0.2, mac()),
        prop::option::weighted(0.2, (mac(), 0u32..49)),
        prop::option::weighted(
            0.25,
            select(vec![(0u16, 0x1fffu16), (0x1005, 0x1fff), (0x1000, 0x1000), (0x1002, 0x1002)]),
        ),
        prop::option::weighted(0.1, 0u16..8),
        prop::option::weighted(0.2, 0u64..4),
    );
    let net = (
        select(vec![0u16, 0x800, 0x800, 0x800, 0x86dd, 0x806, 0x8847, 0x88e7]),
        prop::option::weighted(0.3, (v4(), 0u32..33)),
        prop::option::weighted(0.4, (v4(), 0u32..33)),
        prop::option::weighted(0.3, (v6(), 0u32..129)),
        prop::option::weighted(0.3, (v6(), 0u32..129)),
        prop::option::weighted(0.5, select(vec![6u8, 17, 1, 58, 132])),
        prop::option::weighted(0.4, l4()),
        prop::option::weighted(0.4, l4()),
    );
    (link, net).prop_map(|(link, net)| {
        let (in_port, dst, src, vlan, pcp, metadata) = link;
        let (eth_type, s4, d4, s6, d6, proto, sp, dp) = net;
        let prefix = |f: Field, value: u128, len: u32, bits: u32| {
            Oxm::masked(f, value, u128::MAX.checked_shl(bits - len.min(bits)).unwrap_or(0))
        };
        let n4 = |a: [u8; 4]| u128::from(u32::from_be_bytes(a));
        let n6 = |a: [u16; 8]| core::net::Ipv6Addr::from(a).to_bits();
        let mut wanted: Vec<Oxm> = Vec::new();
        wanted.extend(in_port.map(|p| Oxm::in_port(PortNo(p))));
        wanted.extend(dst.map(|m| Oxm::mac(Field::EthDst, m)));
        wanted.extend(src.map(|(m, len)| prefix(Field::EthSrc, m.to_u64().into(), len, 48)));
        wanted.extend(vlan.map(|(v, m)| Oxm::masked(Field::VlanVid, v.into(), m.into())));
        wanted.extend(pcp.map(|v| Oxm::new(Field::VlanPcp, v.into())));
        wanted.extend(metadata.map(|v| Oxm::masked(Field::Metadata, v.into(), 3)));
        wanted.extend((eth_type != 0).then(|| Oxm::new(Field::EthType, eth_type.into())));
        wanted.extend(proto.map(|p| Oxm::new(Field::IpProto, p.into())));
        for (f, a) in [(Field::Ipv4Src, s4), (Field::Ipv4Dst, d4), (Field::ArpSpa, s4), (Field::ArpTpa, d4)] {
            wanted.extend(a.map(|(a, len)| prefix(f, n4(a), len, 32)));
        }
        for (f, a) in [(Field::Ipv6Src, s6), (Field::Ipv6Dst, d6)] {
            wanted.extend(a.map(|(a, len)| prefix(f, n6(a), len, 128)));
        }
        for (f, p) in [
            (Field::TcpSrc, sp),
            (Field::TcpDst, dp),
            (Field::UdpSrc, sp),
            (Field::UdpDst, dp),
            (Field::SctpDst, dp),
            (Field::Icmpv4Type, sp.map(|p| p & 8)),
            (Field::MplsLabel, sp.map(|p| p & 20)),
            (Field::MplsBos, dp.map(|p| p & 1)),
            (Field::PbbIsid, sp.map(|p| 5 - (p & 1))),
            (Field::ArpOp, dp.map(|p| p & 1)),
        ] {
            wanted.extend(p.map(|p| Oxm::new(f, p.into())));
        }
        wanted.into_iter().fold(Match::new(), |m, oxm| m.with(oxm).unwrap_or(m))
    })
}

fn ethertype() -> impl Strategy<Value = u16> {
    select(vec![0x0800u16, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8847, 0x88e7, 0x8100, 40])
}

fn set_field() -> impl Strategy<Value = Oxm> {
    prop_oneof![
        mac().prop_map(|m| Oxm::mac(Field::EthDst, m)),
        mac().prop_map(|m| Oxm::mac(Field::EthSrc, m)),
        select(vec![5u16, 10, 99]).prop_map(|v| Oxm::new(Field::VlanVid, (0x1000 | v).into())),
        (0u8..8).prop_map(|v| Oxm::new(Field::VlanPcp, v.into())),
        v4().prop_map(|a| Oxm::new(Field::Ipv4Src, u32::from_be_bytes(a).into())),
        v4().prop_map(|a| Oxm::new(Field::Ipv4Dst, u32::from_be_bytes(a).into())),
        v6().prop_map(|a| Oxm::new(Field::Ipv6Src, core::net::Ipv6Addr::from(a).to_bits())),
        v6().prop_map(|a| Oxm::new(Field::Ipv6Dst, core::net::Ipv6Addr::from(a).to_bits())),
        v6().prop_map(|a| Oxm::new(Field::Ipv6NdTarget, core::net::Ipv6Addr::from(a).to_bits())),
        (0u8..64).prop_map(|v| Oxm::new(Field::IpDscp, v.into())),
        (0u8..4).prop_map(|v| Oxm::new(Field::IpEcn, v.into())),
        (0u32..1 << 20).prop_map(|v| Oxm::new(Field::Ipv6Flabel, v.into())),
        l4().prop_map(|p| Oxm::new(Field::TcpSrc, p.into())),
        l4().prop_map(|p| Oxm::new(Field::TcpDst, p.into())),
        l4().prop_map(|p| Oxm::new(Field::UdpDst, p.into())),
        v4().prop_map(|a| Oxm::new(Field::ArpTpa, u32::from_be_bytes(a).into())),
        mac().prop_map(|m| Oxm::mac(Field::ArpSha, m)),
        mac().prop_map(|m| Oxm::mac(Field::Ipv6NdSll, m)),
        (0u8..20).prop_map(|v| Oxm::new(Field::Icmpv4Type, v.into())),
        select(vec![128u8, 135, 136]).prop_map(|v| Oxm::new(Field::Icmpv6Type, v.into())),
        select(vec![6u8, 17, 0, 44, 1, 58]).prop_map(|v| Oxm::new(Field::IpProto, v.into())),
        select(vec![0u32, 20, 1 << 19]).prop_map(|v| Oxm::new(Field::MplsLabel, v.into())),
        (0u8..8).prop_map(|v| Oxm::new(Field::MplsTc, v.into())),
        (0u8..2).prop_map(|v| Oxm::new(Field::MplsBos, v.into())),
        (0u32..9).prop_map(|v| Oxm::new(Field::PbbIsid, v.into())),
        (0u8..2).prop_map(|v| Oxm::new(Field::PbbUca, v.into())),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1..=N_PORTS + 1).prop_map(|p| Action::output(PortNo(p))),
        1 => select(vec![ports::FLOOD, ports::ALL, ports::IN_PORT]).prop_map(Action::output),
        1 => Just(Action::controller(0xffff)),
        4 => set_field().prop_map(Action::SetField),
        1 => select(vec![0x8100u16, 0x88a8]).prop_map(Action::PushVlan),
        2 => Just(Action::PopVlan),
        1 => select(vec![0x8847u16, 0x8848]).prop_map(Action::PushMpls),
        2 => ethertype().prop_map(Action::PopMpls),
        1 => Just(Action::PushPbb(0x88e7)),
        1 => Just(Action::PopPbb),
        1 => select(vec![Action::CopyTtlOut, Action::CopyTtlIn, Action::DecMplsTtl]),
        1 => (0u8..3).prop_map(Action::SetMplsTtl),
        1 => Just(Action::DecNwTtl),
        1 => (0u8..3).prop_map(Action::SetNwTtl),
        1 => (1u32..4).prop_map(|g| Action::Group(GroupId(g))),
    ]
}

fn instructions() -> impl Strategy<Value = Vec<Instruction>> {
    let actions = || prop::collection::vec(action(), 0..4);
    (
        prop::option::weighted(0.7, actions()),
        prop::option::weighted(0.5, actions()),
        any::<bool>(),
        prop::option::weighted(0.3, (0u64..4, 0u64..4)),
        prop::option::weighted(0.6, 1..N_TABLES),
    )
        .prop_map(|(apply, write, clear, metadata, goto)| {
            let mut all = Vec::new();
            all.extend(apply.map(Instruction::ApplyActions));
            all.extend(clear.then_some(Instruction::ClearActions));
            all.extend(write.map(Instruction::WriteActions));
            all.extend(metadata.map(|(metadata, mask)| Instruction::WriteMetadata { metadata, mask }));
            all.extend(goto.map(|t| Instruction::GotoTable(TableId(t))));
            all
        })
}

/// Mostly additions. Actions without their prerequisites in the match are refused by the switch, so half of the
/// additions drop set-fields that do not suit.
fn flow_mod() -> impl Strategy<Value = FlowMod> {
    let command = prop_oneof![
        8 => Just(FlowModCommand::Add),
        1 => Just(FlowModCommand::Modify),
        1 => Just(FlowModCommand::ModifyStrict),
        1 => Just(FlowModCommand::Delete),
        1 => Just(FlowModCommand::DeleteStrict),
    ];
    let flags = select(vec![0u16, 0, 0, 1, 1, 2, 4, 5]);
    let who = (0..N_TABLES, 0u16..5, 0u64..4, select(vec![0u64, 0, 1]));
    let restriction = prop::option::weighted(0.2, 1..=N_PORTS);
    (command, who, flags, matches(), instructions(), restriction, any::<bool>()).prop_map(
        |(
            command,
            (table, priority, cookie, cookie_mask),
            flags,
            matches,
            instructions,
            out_port,
            prefix,
        )| {
            // Table 2 prefers routes, so that it is kept as prefixes for a while.
            let route = matches.get(Field::Ipv4Dst).copied().filter(|_| prefix && table == 2);
            let (priority, matches) = match route {
                Some(oxm) => {
                    let len = oxm.effective_mask().count_ones() as u16;
                    let ip = Match::new().eth_type(0x800).with(oxm).expect("valid");
                    (100 + len, ip)
                }
                None => (priority, matches),
            };
            let instructions = instructions.into_iter().map(|i| suiting(i, &matches, table)).collect();
            FlowMod {
                command,
                table: TableId(table),
                priority: Priority(priority),
                cookie: Cookie(cookie),
                cookie_mask,
                flags: FlowModFlags(flags),
                out_port: out_port.map(PortNo),
                matches,
                instructions,
                ..FlowMod::default()
            }
        },
    )
}

/// Leaves out set-fields whose prerequisites the match lacks, and turns jumps forward.
fn suiting(instruction: Instruction, matches: &Match, table: u8) -> Instruction {
    let suits = |action: &Action| match action {
        Action::SetField(oxm) if matches!(oxm.field, Field::VlanVid | Field::VlanPcp) => {
            matches.get(Field::VlanVid).is_none_or(|vid| vid.value != 0)
        }
        Action::SetField(oxm) => {
            matches.get(oxm.field).is_some() || matches.with(Oxm::new(oxm.field, oxm.value)).is_ok()
        }
        _ => true,
    };
    match instruction {
        Instruction::ApplyActions(mut actions) => {
            actions.retain(suits);
            Instruction::ApplyActions(actions)
        }
        Instruction::WriteActions(mut actions) => {
            actions.retain(suits);
            Instruction::WriteActions(actions)
        }
        Instruction::GotoTable(next) => Instruction::GotoTable(TableId((next.0 + table).min(N_TABLES - 1))),
        other => other,
    }
}

fn group_mod() -> impl Strategy<Value = GroupMod> {
    let bucket = (0u16..4, prop::option::weighted(0.7, 1..=N_PORTS), prop::collection::vec(action(), 0..3));
    let kind = select(GroupType::ALL.to_vec());
    (1u32..4, kind, prop::collection::vec(bucket, 1..4), any::<bool>()).prop_map(
        |(id, group_type, buckets, add)| {
            let buckets = buckets.into_iter().map(|(weight, watch, actions)| Bucket {
                weight: if group_type == GroupType::Select { weight } else { 0 },
                watch_port: watch.filter(|_| group_type != GroupType::All).map(PortNo),
                watch_group: None,
                actions,
            });
            let n = if group_type == GroupType::Indirect { 1 } else { 3 };
            let command = if add { GroupModCommand::Add } else { GroupModCommand::Modify };
            GroupMod { command, group_type, group: GroupId(id), buckets: buckets.take(n).collect() }
        },
    )
}

fn port_mod() -> impl Strategy<Value = PortMod> {
    let bits = select(vec![
        PortConfig::PORT_DOWN,
        PortConfig::NO_FWD,
        PortConfig::NO_RECV,
        PortConfig::NO_PACKET_IN,
    ]);
    (1..=N_PORTS, bits, any::<bool>()).prop_map(|(port, mask, on)| PortMod {
        port: PortNo(port),
        mac: MacAddr::from_u64(0x0200_0000_ff00 | u64::from(port)),
        config: if on { mask } else { PortConfig::NONE },
        mask,
        advertise: openflow::PortFeatures::NONE,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let worker = || 0..N_WORKERS;
    prop_oneof![
        8 => flow_mod().prop_map(Op::Mod),
        1 => group_mod().prop_map(Op::Group),
        1 => port_mod().prop_map(Op::Port),
        12 => (worker(), 1..=N_PORTS + 1, frame(), 1usize..3)
            .prop_map(|(worker, port, bytes, repeat)| Op::Frame { worker, port, bytes, repeat }),
        4 => Just(Op::Carry),
        4 => worker().prop_map(Op::Obey),
        3 => Just(Op::Report),
        1 => Just(Op::Idle),
        1 => Just(Op::Settle),
    ]
}

/// The switch, and what it should be in every epoch.
struct Rig {
    s: Standalone,
    /// With every change accepted so far.
    oracle: Oracle,
    /// As published.
    epochs: BTreeMap<u64, Oracle>,
    counts: BTreeMap<u64, (u64, u64)>,
    /// Flows that went and whose removal was to be told: id, cookie, priority.
    removed: Vec<(u64, u64, u16)>,
    drops: Drops,
    messages: Vec<Message>,
    punts: usize,
}

impl Rig {
    fn new(cache_entries: u32) -> Self {
        let config = SwitchConfig {
            seed: Some(7),
            n_workers: N_WORKERS,
            n_tables: N_TABLES,
            cache_entries,
            ..SwitchConfig::new(Dpid(1), "s1")
        };
        let s = Standalone::new(config, N_PORTS);
        let port =
            |n| PortDesc::new(PortNo(n), MacAddr::from_u64(0x0200_0000_ff00 | u64::from(n)), format!("p{n}"));
        let oracle = Oracle::new((1..=N_PORTS).map(port).collect());
        let epochs = BTreeMap::from([(s.switch.epoch(), oracle.clone())]);
        Self {
            s,
            oracle,
            epochs,
            counts: BTreeMap::new(),
            removed: Vec::new(),
            drops: Drops::default(),
            messages: Vec::new(),
            punts: 0,
        }
    }

    /// After anything that may have published: what is accepted is what was published.
    fn note_epoch(&mut self) {
        let oracle = &self.oracle;
        self.epochs.entry(self.s.switch.epoch()).or_insert_with(|| oracle.clone());
    }

    fn carry(&mut self) {
        self.s.carry_effects();
        self.note_epoch();
        self.messages.extend(self.s.messages());
    }

    fn settle(&mut self) {
        loop {
            self.carry();
            let obeyed = (0..N_WORKERS).any(|n| self.s.obey_one(n));
            let reported = self.s.report_one();
            if !obeyed && !reported {
                return;
            }
        }
    }

    fn flow_mod(&mut self, m: FlowMod) -> Result<(), TestCaseError> {
        let mut after = self.oracle.clone();
        after.flow_mod(&m);
        let overlaps = m.command == FlowModCommand::Add
            && m.flags.contains(FlowModFlags::CHECK_OVERLAP)
            && self.oracle.overlaps(&m);
        let before = self.oracle.clone();
        let refused = self.refuses_quietly(Message::FlowMod(m.clone()));
        if refused {
            return Ok(());
        }
        prop_assert!(!overlaps, "an overlap was accepted");
        for old in before.flows.iter().filter(|f| !after.flows.iter().any(|g| g.id == f.id)) {
            let deleted = matches!(m.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
            if deleted {
                self.removed.push((old.id, old.cookie.0, old.priority.0));
            }
        }
        self.oracle = after;
        self.carry();
        Ok(())
    }

    /// Submits a message and looks only for an immediate error.
    fn refuses_quietly(&mut self, message: Message) -> bool {
        self.s.submit(message);
        self.s.pending_error()
    }

    fn frame(&mut self, worker: usize, port: u32, bytes: &[u8]) -> Result<(), TestCaseError> {
        let epoch = self.s.workers[worker].epoch();
        let expected = self.epochs[&epoch].process(PortNo(port), bytes);
        let outputs = self.s.process(worker, PortNo(port), Frame::from_bytes(bytes));
        prop_assert_eq!(&outputs, &expected.outputs, "epoch {} frame {:02x?}", epoch, bytes);
        for id in &expected.hits {
            let (packets, octets) = self.counts.entry(*id).or_default();
            *packets += 1;
            *octets += bytes.len() as u64;
        }
        if let Some(reason) = expected.drop {
            self.drops[reason] += 1;
        }
        self.punts += expected.punts.iter().filter(|p| p.reason != PacketInReason::InvalidTtl).count();
        Ok(())
    }

    fn run(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Mod(m) => self.flow_mod(m)?,
            Op::Group(m) => {
                let desc = GroupDesc { group_type: m.group_type, group: m.group, buckets: m.buckets.clone() };
                if !self.refuses_quietly(Message::GroupMod(m)) {
                    self.oracle.groups.retain(|g| g.group != desc.group);
                    self.oracle.groups.push(desc);
                    self.carry();
                }
            }
            Op::Port(m) => {
                let port = self.oracle.ports.iter_mut().find(|p| p.port == m.port).expect("it exists");
                port.config = PortConfig(port.config.0 & !m.mask.0 | m.config.0);
                prop_assert!(!self.refuses_quietly(Message::PortMod(m)));
                self.carry();
            }
            Op::Frame { worker, port, bytes, repeat } => {
                for _ in 0..repeat {
                    self.frame(worker, port, &bytes)?;
                }
            }
            Op::Carry => self.carry(),
            Op::Obey(worker) => drop(self.s.obey_one(worker)),
            Op::Report => drop(self.s.report_one()),
            Op::Idle => {
                for worker in &mut self.s.workers {
                    worker.handle_idle(self.s.now);
                }
            }
            Op::Settle => self.settle(),
        }
        Ok(())
    }

    fn flow_stats(&mut self) -> Vec<FlowStats> {
        let request = MultipartRequest { more: false, body: Request::Flow(FlowStatsRequest::default()) };
        self.s.submit(Message::MultipartRequest(request));
        self.settle();
        let flows = self.messages.iter().rev().find_map(|m| match m {
            Message::MultipartReply(reply) => match &reply.body {
                Reply::Flow(flows) => Some(flows.clone()),
                _ => None,
            },
            _ => None,
        });
        flows.expect("a reply came")
    }

    /// Every counter, at the end.
    fn check_counters(&mut self) -> Result<(), TestCaseError> {
        self.s.idle();
        self.settle();
        let stats = self.flow_stats();
        prop_assert_eq!(stats.len(), self.oracle.flows.len());
        for flow in &self.oracle.flows {
            let same = |s: &&FlowStats| {
                s.table == flow.table && s.priority == flow.priority && s.matches == flow.matches
            };
            let found = stats.iter().find(same).expect("the flow is there");
            let expected = self.counts.get(&flow.id).copied().unwrap_or_default();
            prop_assert_eq!((found.packets, found.bytes), expected, "{:?}", flow);
            prop_assert_eq!(&found.instructions, &flow.instructions);
            prop_assert_eq!(found.cookie, flow.cookie);
        }
        prop_assert_eq!(self.s.switch.drops(), self.drops);
        let punts = self.messages.iter().filter(|m| matches!(m, Message::PacketIn(_))).count();
        prop_assert_eq!(punts, self.punts);
        for m in &self.messages {
            if let Message::FlowRemoved(r) = m {
                let count = (r.packets, r.bytes);
                let at = self.removed.iter().position(|(id, cookie, priority)| {
                    *cookie == r.cookie.0
                        && *priority == r.priority.0
                        && self.counts.get(id).copied().unwrap_or_default() == count
                });
                prop_assert!(at.is_some(), "unexpected {:?}", r);
                self.removed.swap_remove(at.expect("just checked"));
            }
        }
        Ok(())
    }
}

fn run(ops: Vec<Op>, cache_entries: u32) -> Result<(), TestCaseError> {
    let mut rig = Rig::new(cache_entries);
    for op in ops {
        rig.run(op)?;
    }
    rig.settle();
    rig.check_counters()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_path_is_the_oracle(ops in prop::collection::vec(op(), 1..150)) {
        run(ops, 64)?;
    }

    #[test]
    fn without_a_cache_too(ops in prop::collection::vec(op(), 1..150)) {
        run(ops, 0)?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Many flows first, so that every kind of table is met; then few frames, each several times.
    #[test]
    fn with_many_flows(
        mods in prop::collection::vec(flow_mod(), 50..200),
        frames in prop::collection::vec(frame(), 5..20),
        ops in prop::collection::vec((flow_mod(), any::<Index>(), 0..N_WORKERS, 1..=N_PORTS), 1..60),
    ) {
        let mut rig = Rig::new(16);
        for m in mods {
            rig.run(Op::Mod(FlowMod { command: FlowModCommand::Add, ..m }))?;
        }
        rig.settle();
        for (m, pick, worker, port) in ops {
            for bytes in &frames {
                rig.frame(worker, port, bytes)?;
            }
            rig.run(Op::Mod(m))?;
            rig.run(Op::Obey(pick.index(N_WORKERS)))?;
            rig.run(Op::Report)?;
            rig.run(Op::Obey(worker))?;
        }
        rig.settle();
        rig.check_counters()?;
    }
}

/// The same frame with its checksum left to the output (RFC 793 §3.1, virtio-net).
fn partial(bytes: &[u8]) -> Option<Frame> {
    let layout = packet::layout::Layout::parse(bytes, bytes.len()).ok()?;
    let transport = layout.transport.filter(|t| !t.is_fragment)?;
    let offset = match transport.protocol {
        IpProtocol::TCP => 16,
        IpProtocol::UDP => 6,
        _ => return None,
    };
    let field = transport.at + offset;
    if transport.len < 20.min(offset + 12) || bytes.len() < field + 2 {
        return None;
    }
    // A checksum of none, or one that was wrong before, cannot be compared.
    let sum = |b: &[u8]| packet::checksum::Sum::new().bytes(b);
    let body = sum(&bytes[transport.at..transport.at + transport.len]);
    let old = u16::from_be_bytes([bytes[field], bytes[field + 1]]);
    if transport.len + transport.at != bytes.len() || old == 0 {
        return None;
    }
    // The sum over header and payload without the field, subtracted from what the checksum says, is the pseudo header's.
    let without = packet::checksum::Delta::NONE.word(old, 0).apply_to_sum(body.fold());
    let pseudo = packet::checksum::Delta::NONE.word(without, 0).apply_to_sum(!old);
    let mut frame = Frame::from_bytes(bytes);
    frame.head_mut()[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
    frame.meta.csum = Some(packet::CsumPartial { start: transport.at as u16, offset: offset as u16 });
    (pseudo != 0).then_some(frame)
}

proptest! {
    /// What leaves with a partial checksum, completed, is what leaves of the complete frame.
    #[test]
    fn partial_checksums_come_out_right(
        bytes in frame(),
        sets in prop::collection::vec(set_field(), 1..6),
        tags in prop::collection::vec(any::<bool>(), 0..3),
    ) {
        let Some(frame) = partial(&bytes) else { return Ok(()) };
        let mut s = Standalone::new(SwitchConfig { seed: Some(7), ..SwitchConfig::default() }, 2);
        let mut actions: Vec<Action> =
            tags.iter().map(|&push| if push { Action::PushVlan(0x8100) } else { Action::PopVlan }).collect();
        actions.extend(sets.into_iter().map(Action::SetField));
        actions.push(Action::output(PortNo(2)));
        // As a packet-out would: no match, so that every set-field is accepted.
        let group = GroupMod {
            command: GroupModCommand::Add,
            group_type: GroupType::Indirect,
            group: GroupId(1),
            buckets: vec![Bucket { weight: 0, watch_port: None, watch_group: None, actions }],
        };
        prop_assert_eq!(s.control(Message::GroupMod(group)), vec![]);
        s.flow(FlowMod::add(
            TableId(0),
            Priority(1),
            Match::new(),
            vec![Instruction::ApplyActions(vec![Action::Group(GroupId(1))])],
        ));
        let whole = s.process(0, PortNo(1), Frame::from_bytes(&bytes));
        let mut sent = s.process_frames(0, PortNo(1), frame);
        for (_, frame) in &mut sent {
            prop_assert!(packet::offload::complete_checksum(frame).is_ok());
        }
        let sent: Vec<_> = sent.into_iter().map(|(port, frame)| (port, frame.to_vec())).collect();
        prop_assert_eq!(sent, whole);
    }
}
