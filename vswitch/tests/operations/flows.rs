//! Modifications of flows, groups, meters and ports, from few values, so that they collide.

use openflow::{
    Action, Band, BandKind, Bucket, Cookie, Field, FlowMod, FlowModCommand, FlowModFlags, GroupId, GroupMod,
    GroupModCommand, GroupType, Instruction, Match, MeterFlags, MeterId, MeterMod, MeterModCommand, Oxm,
    PortConfig, PortMod, PortNo, Priority, QueueId, Rewrite, TableId, ports,
};
use packet::MacAddr;

use super::frames::{l4, mac, v4, v6};
use super::{Dice, N_PORTS, N_TABLES};

fn n4(a: [u8; 4]) -> u128 {
    u32::from_be_bytes(a).into()
}

fn n6(a: [u16; 8]) -> u128 {
    core::net::Ipv6Addr::from(a).to_bits()
}

fn port(dice: &mut Dice<'_>) -> PortNo {
    PortNo(1 + u32::from(dice.below(N_PORTS as u16)))
}

/// A prefix of `bits` bits, mostly of a length that tells the generated addresses apart.
fn prefix(field: Field, value: u128, dice: &mut Dice<'_>) -> Oxm {
    let bits = u32::from(field.bits());
    let len = match dice.below(4) {
        0 => bits,
        1 => u32::from(dice.below(bits as u16 + 1)),
        _ => dice.pick(&[bits - 8, bits - 16, bits - 7, bits - 1, 8, 0]),
    };
    Oxm::masked(field, value, u128::MAX.checked_shl(bits - len).unwrap_or(0))
}

/// A condition on each field with some probability; what lacks its prerequisites is left out.
fn matches(dice: &mut Dice<'_>) -> Match {
    let (link, net) = (dice.byte() & dice.byte(), dice.byte() & (dice.byte() | dice.byte()));
    let has = |bits: u8, n: u32| bits >> n & 1 != 0;
    let mut wanted: Vec<Oxm> = Vec::new();
    if has(link, 0) {
        wanted.push(Oxm::in_port(port(dice)));
    }
    if has(link, 1) {
        wanted.push(Oxm::mac(Field::EthDst, mac(dice)));
    }
    if has(link, 2) {
        let address = mac(dice).to_u64().into();
        wanted.push(prefix(Field::EthSrc, address, dice));
    }
    if has(link, 3) {
        let (vid, mask) =
            dice.pick(&[(0u16, 0x1fffu16), (0x1005, 0x1fff), (0x1000, 0x1000), (0x1002, 0x1002)]);
        wanted.push(Oxm::masked(Field::VlanVid, vid.into(), mask.into()));
    }
    if has(link, 4) {
        wanted.push(Oxm::new(Field::VlanPcp, dice.below(8).into()));
    }
    if has(link, 5) {
        wanted.push(Oxm::masked(Field::Metadata, dice.below(4).into(), 3));
    }
    let eth_type = dice.pick(&[0u16, 0x800, 0x800, 0x800, 0x86dd, 0x806, 0x8847, 0x88e7]);
    if eth_type != 0 {
        wanted.push(Oxm::new(Field::EthType, eth_type.into()));
        network(net, dice, &mut wanted);
    }
    wanted.into_iter().fold(Match::new(), |m, oxm| m.with(oxm).unwrap_or(m))
}

/// Conditions on what is behind the Ethernet header.
fn network(bits: u8, dice: &mut Dice<'_>, wanted: &mut Vec<Oxm>) {
    let has = |n: u32| bits >> n & 1 != 0;
    if has(0) {
        wanted.push(Oxm::new(Field::IpProto, dice.pick(&[6u8, 17, 1, 58, 132]).into()));
    }
    for (n, v4_field, arp_field, v6_field) in [
        (1, Field::Ipv4Src, Field::ArpSpa, Field::Ipv6Src),
        (2, Field::Ipv4Dst, Field::ArpTpa, Field::Ipv6Dst),
    ] {
        if has(n) {
            let mut twin = dice.clone();
            let (a4, a6) = (n4(v4(dice)), n6(v6(&mut twin)));
            wanted.push(prefix(v4_field, a4, &mut dice.clone()));
            wanted.push(prefix(arp_field, a4, &mut dice.clone()));
            wanted.push(prefix(v6_field, a6, dice));
        }
    }
    if has(5) {
        wanted.push(Oxm::new(Field::IpDscp, dice.pick(&[10u8, 0, 46]).into()));
    }
    let source = has(3).then(|| l4(dice));
    let target = has(4).then(|| l4(dice));
    for (field, value) in [
        (Field::TcpSrc, source),
        (Field::TcpDst, target),
        (Field::UdpSrc, source),
        (Field::UdpDst, target),
        (Field::SctpDst, target),
        (Field::Icmpv4Type, source.map(|p| p & 8)),
        (Field::MplsLabel, source.map(|p| p & 20)),
        (Field::MplsBos, target.map(|p| p & 1)),
        (Field::PbbIsid, source.map(|p| 5 - (p & 1))),
        (Field::ArpOp, target.map(|p| p & 1)),
    ] {
        wanted.extend(value.map(|value| Oxm::new(field, value.into())));
    }
}

fn ethertype(dice: &mut Dice<'_>) -> u16 {
    dice.pick(&[0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8847, 0x88e7, 0x8100, 40])
}

/// How many fields [`set_field`] chooses from.
const N_FIELDS: u16 = 27;

/// A field and what to set it to.
pub fn set_field(dice: &mut Dice<'_>) -> Oxm {
    let oxm = |field, value: u16| Oxm::new(field, value.into());
    match dice.below(N_FIELDS) {
        0 => Oxm::mac(Field::EthDst, mac(dice)),
        1 => Oxm::mac(Field::EthSrc, mac(dice)),
        2 => oxm(Field::VlanVid, 0x1000 | dice.pick(&[5u16, 10, 99])),
        3 => oxm(Field::VlanPcp, dice.below(8)),
        4 => Oxm::new(Field::Ipv4Src, n4(v4(dice))),
        5 => Oxm::new(Field::Ipv4Dst, n4(v4(dice))),
        6 => Oxm::new(Field::Ipv6Src, n6(v6(dice))),
        7 => Oxm::new(Field::Ipv6Dst, n6(v6(dice))),
        8 => Oxm::new(Field::Ipv6NdTarget, n6(v6(dice))),
        9 => oxm(Field::IpDscp, dice.below(64)),
        10 => oxm(Field::IpEcn, dice.below(4)),
        11 => oxm(Field::Ipv6Flabel, dice.word()),
        12 => oxm(Field::TcpSrc, l4(dice)),
        13 => oxm(Field::TcpDst, l4(dice)),
        14 => oxm(Field::UdpDst, l4(dice)),
        15 => Oxm::new(Field::ArpTpa, n4(v4(dice))),
        16 => Oxm::mac(Field::ArpSha, mac(dice)),
        17 => Oxm::mac(Field::Ipv6NdSll, mac(dice)),
        18 => oxm(Field::Icmpv4Type, dice.below(20)),
        19 => oxm(Field::Icmpv6Type, dice.pick(&[128, 135, 136])),
        20 => oxm(Field::IpProto, dice.pick(&[6, 17, 0, 44, 1, 58])),
        21 => Oxm::new(Field::MplsLabel, dice.pick(&[0, 20, 1 << 19])),
        22 => oxm(Field::MplsTc, dice.below(8)),
        23 => oxm(Field::MplsBos, dice.below(2)),
        24 => oxm(Field::PbbIsid, dice.below(9)),
        25 => oxm(Field::PbbUca, dice.below(2)),
        _ => oxm(Field::EthType, ethertype(dice)),
    }
}

fn action(dice: &mut Dice<'_>) -> Action {
    match dice.below(29) {
        0..=4 => Action::output(PortNo(1 + u32::from(dice.below(N_PORTS as u16 + 1)))),
        5 => Action::output(dice.pick(&[ports::FLOOD, ports::ALL, ports::IN_PORT])),
        6 => Action::controller(0xffff),
        7..=14 => Action::SetField(set_field(dice)),
        15 => Action::PushVlan(dice.pick(&[0x8100, 0x88a8])),
        16..=17 => Action::PopVlan,
        18 => Action::PushMpls(dice.pick(&[0x8847, 0x8848])),
        19..=20 => Action::PopMpls(ethertype(dice)),
        21 => Action::PushPbb(0x88e7),
        22 => Action::PopPbb,
        23 => match dice.below(3) {
            0 => Action::CopyTtlOut,
            1 => Action::CopyTtlIn,
            _ => Action::DecMplsTtl,
        },
        24 => Action::SetMplsTtl(dice.below(3) as u8),
        25 => Action::DecNwTtl,
        26 => Action::SetNwTtl(dice.below(3) as u8),
        27 => Action::SetQueue(QueueId(dice.pick(&[0, 1, 7, 70_000]))),
        _ => Action::Group(GroupId(1 + u32::from(dice.below(3)))),
    }
}

/// An action of a list, which may be one of 1.0.
fn applied(dice: &mut Dice<'_>) -> Action {
    match dice.below(40) {
        0..=30 => action(dice),
        31..=33 => Action::Rewrite(Rewrite::VlanVid(dice.pick(&[0, 5, 10, 99]))),
        34 => Action::Rewrite(Rewrite::VlanPcp(dice.below(8) as u8)),
        35 => Action::Rewrite(Rewrite::Ipv4Src(v4(dice).into())),
        36 => Action::Rewrite(Rewrite::IpDscp(dice.below(64) as u8)),
        37 => Action::Rewrite(Rewrite::PortSrc(l4(dice))),
        38 => Action::Rewrite(Rewrite::PortDst(l4(dice))),
        _ => Action::Enqueue { port: port(dice), queue: QueueId(dice.pick(&[0, 1, 7])) },
    }
}

fn instructions(dice: &mut Dice<'_>) -> Vec<Instruction> {
    let mut all = Vec::new();
    all.extend(dice.maybe(180, |dice| Instruction::ApplyActions(dice.list(3, applied))));
    all.extend(dice.chance(64).then_some(Instruction::ClearActions));
    all.extend(dice.maybe(128, |dice| Instruction::WriteActions(dice.list(3, action))));
    all.extend(dice.maybe(77, |dice| Instruction::WriteMetadata {
        metadata: dice.below(4).into(),
        mask: dice.below(4).into(),
    }));
    all.extend(dice.maybe(40, |dice| Instruction::Meter(MeterId(1 + u32::from(dice.below(2))))));
    all.extend(dice.maybe(150, |dice| Instruction::GotoTable(TableId(1 + dice.below(3) as u8))));
    all
}

/// Mostly additions. Actions without their prerequisites in the match are refused by the switch, so set-fields that do
/// not suit are dropped.
pub fn flow_mod(dice: &mut Dice<'_>) -> FlowMod {
    use FlowModCommand::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
    let command =
        dice.pick(&[Add, Add, Add, Add, Add, Add, Add, Add, Modify, ModifyStrict, Delete, DeleteStrict]);
    let table = dice.below(N_TABLES.into()) as u8;
    let priority = dice.below(5);
    let cookie = Cookie(dice.below(4).into());
    let cookie_mask = dice.pick(&[0, 0, 1]);
    let flags = FlowModFlags(dice.pick(&[0, 0, 0, 1, 1, 2, 4, 5]));
    let (idle_timeout, hard_timeout) = dice.pick(&[(0, 0), (0, 0), (0, 0), (1, 0), (0, 2), (2, 3)]);
    let out_port = dice.maybe(51, port);
    let upsert = dice.chance(64);
    let prefers_routes = dice.chance(128);
    let matches = matches(dice);
    // Table 2 prefers routes, so that it is kept as prefixes for a while.
    let route = matches.get(Field::Ipv4Dst).copied().filter(|_| prefers_routes && table == 2);
    let (priority, matches) = match route {
        Some(oxm) => {
            let len = oxm.effective_mask().count_ones() as u16;
            (100 + len, Match::new().eth_type(0x800).with(oxm).expect("IPv4 is there"))
        }
        None => (priority, matches),
    };
    let instructions = instructions(dice).into_iter().map(|i| suiting(i, &matches, table)).collect();
    FlowMod {
        command,
        table: TableId(table),
        priority: Priority(priority),
        cookie,
        cookie_mask,
        flags,
        idle_timeout,
        hard_timeout,
        out_port,
        upsert,
        matches,
        instructions,
        ..FlowMod::default()
    }
}

/// For frames of each kind a flow that sets every field there is, and outputs after each.
pub fn every_field() -> impl Iterator<Item = FlowMod> {
    let ip = |eth_type: u16, protocol: u8| {
        Match::new().eth_type(eth_type).with(Oxm::new(Field::IpProto, protocol.into())).expect("it is IP")
    };
    let bare = [0x806, 0x8847, 0x88e7].map(|eth_type| Match::new().eth_type(eth_type));
    let kinds = [ip(0x800, 6), ip(0x800, 17), ip(0x800, 1), ip(0x86dd, 6), ip(0x86dd, 17), ip(0x86dd, 58)];
    kinds.into_iter().chain(bare).map(|matches| {
        let out = Action::output(ports::IN_PORT);
        let around = |action: Action| [action, out.clone()];
        let fields = (0..N_FIELDS).map(|n| Action::SetField(set_field(&mut Dice::new(&[n as u8, 1, 1]))));
        // What renames headers would leave nothing to the others.
        let keeps = |action: &Action| {
            let renames = [Field::EthType, Field::IpProto, Field::Icmpv6Type];
            !matches!(action, Action::SetField(oxm) if renames.contains(&oxm.field))
        };
        let tags = [Action::PushVlan(0x8100), Action::PopVlan, Action::PopVlan, Action::DecNwTtl];
        let actions = fields.filter(keeps).chain(tags).flat_map(around).collect();
        let apply = suiting(Instruction::ApplyActions(actions), &matches, 0);
        FlowMod::add(TableId(0), Priority(9), matches, vec![apply])
    })
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

pub fn group_mod(dice: &mut Dice<'_>) -> GroupMod {
    use GroupModCommand::{Add, Delete, Modify};
    let command = dice.pick(&[Add, Add, Add, Modify, Modify, Delete]);
    let group = if dice.chance(8) && command == Delete {
        GroupId::ALL
    } else {
        GroupId(1 + u32::from(dice.below(3)))
    };
    let group_type = dice.pick(GroupType::ALL);
    let n = if group_type == GroupType::Indirect { 1 } else { 1 + dice.below(3) };
    let buckets = (0..n).map(|_| Bucket {
        weight: if group_type == GroupType::Select { dice.below(4) } else { 0 },
        watch_port: dice.maybe(180, port).filter(|_| group_type != GroupType::All),
        watch_group: None,
        actions: dice.list(2, action),
    });
    let buckets = buckets.collect();
    GroupMod { command, group_type, group, buckets }
}

/// Rates whose cost per frame is a whole number of the ticks meters count in.
pub fn meter_mod(dice: &mut Dice<'_>) -> MeterMod {
    use MeterModCommand::{Add, Delete, Modify};
    let command = dice.pick(&[Add, Add, Add, Modify, Modify, Delete]);
    let unit = dice.pick(&[MeterFlags::PKTPS, MeterFlags::KBPS]);
    let burst = dice.pick(&[0, 1, 2]);
    let flags = if burst == 0 { unit } else { unit | MeterFlags::BURST };
    let rate = dice.pick(&[1, 10, 1000]);
    let kind = dice.pick(&[BandKind::Drop, BandKind::DscpRemark { prec_level: 1 }]);
    let bands = vec![Band { kind, rate, burst }];
    MeterMod { command, flags, meter: MeterId(1 + u32::from(dice.below(2))), bands }
}

pub fn port_mod(dice: &mut Dice<'_>) -> PortMod {
    let mask = dice.pick(&[
        PortConfig::PORT_DOWN,
        PortConfig::NO_FWD,
        PortConfig::NO_RECV,
        PortConfig::NO_PACKET_IN,
        PortConfig::NO_FLOOD,
    ]);
    let port = port(dice);
    PortMod {
        port,
        mac: MacAddr::from_u64(0x0200_0000_ff00 | u64::from(port.0)),
        config: if dice.chance(128) { mask } else { PortConfig::NONE },
        mask,
        advertise: openflow::PortFeatures::NONE,
    }
}
