//! Flows written as `ovs-ofctl -O OpenFlow13` prints them.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;

use super::actions::order;
use super::names::{PROTOCOLS, TCP_FLAGS, in_match, in_set_field};
use super::naming::{NO_NAMES, Named, Names, PortName, TableName, Text, display_as_text};
use super::value::Value;
use crate::oxm::VID_PRESENT;
use crate::{
    Action, Field, FlowMod, FlowModCommand, FlowModFlags, FlowStats, Instruction, Match, Oxm, Priority,
    Rewrite, TableId, ports,
};

/// Writes items with commas between them.
pub(super) struct Commas<'a, 'f> {
    pub f: &'a mut Formatter<'f>,
    pub first: bool,
    pub names: &'a Names,
}

impl<'a, 'f> Commas<'a, 'f> {
    pub fn new(f: &'a mut Formatter<'f>, names: &'a Names) -> Self {
        Self { f, first: true, names }
    }

    pub fn item(&mut self, item: fmt::Arguments<'_>) -> fmt::Result {
        if !self.first {
            self.f.write_str(",")?;
        }
        self.first = false;
        self.f.write_fmt(item)
    }
}

/// The order in which ovs-ofctl writes the fields behind the protocol.
const MATCH_ORDER: &[Field] = &[
    Field::TunnelId,
    Field::Metadata,
    Field::InPort,
    Field::InPhyPort,
    Field::VlanVid,
    Field::VlanPcp,
    Field::EthSrc,
    Field::EthDst,
    Field::EthType,
    Field::Ipv4Src,
    Field::Ipv4Dst,
    Field::Ipv6Src,
    Field::Ipv6Dst,
    Field::Ipv6Flabel,
    Field::Ipv6Exthdr,
    Field::ArpSpa,
    Field::ArpTpa,
    Field::IpProto,
    Field::ArpOp,
    Field::ArpSha,
    Field::ArpTha,
    Field::IpDscp,
    Field::IpEcn,
    Field::MplsLabel,
    Field::MplsTc,
    Field::MplsBos,
    Field::PbbIsid,
    Field::PbbUca,
    Field::Icmpv4Type,
    Field::Icmpv4Code,
    Field::Icmpv6Type,
    Field::Icmpv6Code,
    Field::TcpSrc,
    Field::TcpDst,
    Field::UdpSrc,
    Field::UdpDst,
    Field::SctpSrc,
    Field::SctpDst,
    Field::Ipv6NdTarget,
    Field::Ipv6NdSll,
    Field::Ipv6NdTll,
    Field::TcpFlags,
];

impl Text for Match {
    /// Such as `tcp,in_port=1,nw_dst=10.0.0.0/8,tp_dst=80`; nothing if it matches everything.
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        write_match(&mut Commas::new(f, names), self)
    }
}

display_as_text!(Match, Action, FlowMod, FlowStats, Actions<'_>, Instructions<'_>);

pub(super) fn write_match(out: &mut Commas<'_, '_>, matches: &Match) -> fmt::Result {
    let eth_type = matches.exact(Field::EthType);
    let proto = matches.exact(Field::IpProto);
    let named = |with: Option<u128>| {
        PROTOCOLS.iter().find(|(_, e, p)| Some(u128::from(*e)) == eth_type && p.map(u128::from) == with)
    };
    let protocol = proto.and_then(|p| named(Some(p))).or_else(|| named(None));
    if let Some((name, ..)) = protocol {
        out.item(format_args!("{name}"))?;
    }
    let said = |field| match field {
        Field::EthType => protocol.is_some(),
        Field::IpProto => protocol.is_some_and(|(_, _, p)| p.is_some()),
        _ => false,
    };
    for oxm in MATCH_ORDER.iter().filter(|f| !said(**f)).filter_map(|f| matches.get(*f)) {
        write_field(out, matches, oxm)?;
    }
    Ok(())
}

fn write_field(out: &mut Commas<'_, '_>, matches: &Match, oxm: &Oxm) -> fmt::Result {
    let names = out.names;
    match oxm.field {
        Field::VlanVid => write_vlan(out, matches, oxm),
        Field::IpDscp => out.item(format_args!("nw_tos={}", oxm.value << 2)),
        Field::TcpFlags => out.item(format_args!("tcp_flags={}", Flags(oxm))),
        Field::EthType => out.item(format_args!("dl_type=0x{:04x}", oxm.value)),
        Field::Ipv6Flabel => match oxm.mask {
            None => out.item(format_args!("ipv6_label=0x{:05x}", oxm.value)),
            Some(mask) => out.item(format_args!("ipv6_label=0x{:05x}/0x{mask:05x}", oxm.value)),
        },
        field => out.item(format_args!("{}={}", in_match(field), Value(oxm, names))),
    }
}

/// `dl_vlan` for one VLAN, else the tag control word as far as it is matched.
fn write_vlan(out: &mut Commas<'_, '_>, matches: &Match, vid: &Oxm) -> fmt::Result {
    let present = u128::from(VID_PRESENT);
    match vid.mask {
        None if vid.value & present != 0 => out.item(format_args!("dl_vlan={}", vid.value & 0xfff)),
        // 1.0 has no mask for it.
        None if out.names.of_10() => out.item(format_args!("vlan_tci=0x{:04x}", vid.value)),
        None => out.item(format_args!("vlan_tci=0x{:04x}/0x1fff", vid.value)),
        // The priority alone says that there is a tag.
        Some(mask) if mask == present && matches.get(Field::VlanPcp).is_some() => Ok(()),
        Some(mask) => out.item(format_args!("vlan_tci=0x{:04x}/0x{mask:04x}", vid.value)),
    }
}

/// `+syn-ack` for a mask, `syn|ack` for the whole word.
struct Flags<'a>(&'a Oxm);

impl Display for Flags<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let known = (1u128 << TCP_FLAGS.len()) - 1;
        let (value, mask) = (self.0.value, self.0.mask);
        if value & !known != 0 || mask.is_some_and(|m| m & !known != 0) || (mask.is_none() && value == 0) {
            return Value(self.0, &NO_NAMES).fmt(f);
        }
        let mut first = true;
        for (idx, name) in TCP_FLAGS.iter().enumerate() {
            let set = value >> idx & 1 == 1;
            match mask {
                Some(mask) if mask >> idx & 1 == 1 => write!(f, "{}{name}", if set { '+' } else { '-' })?,
                None if set => {
                    write!(f, "{}{name}", if first { "" } else { "|" })?;
                    first = false;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Text for Action {
    /// Such as `output:2` or `set_field:10.0.0.1->ip_dst`.
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        match self {
            Self::Output { port: ports::CONTROLLER, max_len } => write!(f, "CONTROLLER:{max_len}"),
            Self::Output { port, .. } if ports::NAMES.iter().any(|(p, _)| p == port) => {
                PortName(*port, names).fmt(f)
            }
            Self::Output { port, .. } => write!(f, "output:{}", PortName(*port, names)),
            Self::CopyTtlOut => f.write_str("copy_ttl_out"),
            Self::CopyTtlIn => f.write_str("copy_ttl_in"),
            Self::SetMplsTtl(ttl) => write!(f, "set_mpls_ttl({ttl})"),
            Self::DecMplsTtl => f.write_str("dec_mpls_ttl"),
            Self::PushVlan(tpid) => write!(f, "push_vlan:0x{tpid:04x}"),
            Self::PopVlan => f.write_str(if names.of_10() { "strip_vlan" } else { "pop_vlan" }),
            Self::PushMpls(ethertype) => write!(f, "push_mpls:0x{ethertype:04x}"),
            Self::PopMpls(ethertype) => write!(f, "pop_mpls:0x{ethertype:04x}"),
            Self::SetQueue(queue) => write!(f, "set_queue:{queue}"),
            Self::Group(group) => write!(f, "group:{group}"),
            Self::SetNwTtl(ttl) => write!(f, "mod_nw_ttl:{ttl}"),
            Self::DecNwTtl => f.write_str("dec_ttl"),
            Self::SetField(oxm @ Oxm { field: Field::EthSrc | Field::EthDst, .. }) if names.of_10() => {
                write!(f, "mod_{}:{}", in_match(oxm.field), Value(oxm, names))
            }
            Self::SetField(oxm) => write!(f, "set_field:{}->{}", Value(oxm, names), in_set_field(oxm.field)),
            Self::PushPbb(ethertype) => write!(f, "push_pbb:0x{ethertype:04x}"),
            Self::PopPbb => f.write_str("pop_pbb"),
            Self::Rewrite(rewrite) => rewrite.fmt(f),
            Self::Enqueue { port, queue } => write!(f, "enqueue:{}:{queue}", PortName(*port, names)),
            Self::Experimenter { experimenter, data } => {
                write!(f, "experimenter({experimenter:#010x},{} bytes)", data.len())
            }
            Self::Unknown { kind, data } => write!(f, "unknown({kind},{} bytes)", data.len()),
        }
    }
}

impl Display for Rewrite {
    /// Such as `mod_vlan_vid:7`, as ovs-ofctl writes it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::VlanVid(vid) => write!(f, "mod_vlan_vid:{vid}"),
            Self::VlanPcp(pcp) => write!(f, "mod_vlan_pcp:{pcp}"),
            Self::Ipv4Src(addr) => write!(f, "mod_nw_src:{addr}"),
            Self::Ipv4Dst(addr) => write!(f, "mod_nw_dst:{addr}"),
            Self::IpDscp(dscp) => write!(f, "mod_nw_tos:{}", dscp << 2),
            Self::PortSrc(port) => write!(f, "mod_tp_src:{port}"),
            Self::PortDst(port) => write!(f, "mod_tp_dst:{port}"),
        }
    }
}

/// Writes a list of actions, `drop` if it is empty: `Actions(&actions).to_string()`.
#[derive(Clone, Copy, Debug)]
pub struct Actions<'a>(pub &'a [Action]);

impl Text for Actions<'_> {
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("drop");
        }
        let mut out = Commas::new(f, names);
        self.0.iter().try_for_each(|action| out.item(format_args!("{}", Named(action, names))))
    }
}

/// Writes what follows `actions=`, `drop` if there is nothing: `Instructions(&instructions).to_string()`.
#[derive(Clone, Copy, Debug)]
pub struct Instructions<'a>(pub &'a [Instruction]);

impl Text for Instructions<'_> {
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|i| order(i));
        sorted.retain(|i| **i != Instruction::ApplyActions(Vec::new()));
        if sorted.is_empty() {
            return f.write_str("drop");
        }
        let mut out = Commas::new(f, names);
        for instruction in sorted {
            match instruction {
                Instruction::Meter(meter) => out.item(format_args!("meter:{meter}"))?,
                Instruction::ApplyActions(actions) => {
                    out.item(format_args!("{}", Named(&Actions(actions), names)))?
                }
                Instruction::ClearActions => out.item(format_args!("clear_actions"))?,
                Instruction::WriteActions(actions) => {
                    out.item(format_args!("write_actions({})", Named(&Actions(actions), names)))?
                }
                Instruction::WriteMetadata { metadata, mask: u64::MAX } => {
                    out.item(format_args!("write_metadata:{metadata:#x}"))?;
                }
                Instruction::WriteMetadata { metadata, mask } => {
                    out.item(format_args!("write_metadata:{metadata:#x}/{mask:#x}"))?;
                }
                Instruction::GotoTable(table) => {
                    out.item(format_args!("goto_table:{}", TableName(*table, names)))?;
                }
                Instruction::Experimenter { experimenter, data } => {
                    out.item(format_args!("experimenter({experimenter:#010x},{} bytes)", data.len()))?;
                }
                Instruction::Unknown { kind, data } => {
                    out.item(format_args!("unknown_instruction({kind},{} bytes)", data.len()))?;
                }
            }
        }
        Ok(())
    }
}

impl Text for FlowStats {
    /// One line of `ovs-ofctl dump-flows`, without its leading space.
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        write_flow(f, self, names, true)
    }
}

/// Writes a flow without what changes by itself: age and counters. A cookie or table of zero is left out, too.
#[derive(Clone, Copy, Debug)]
pub struct WithoutStats<'a>(pub &'a FlowStats);

impl Text for WithoutStats<'_> {
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        write_flow(f, self.0, names, false)
    }
}

fn write_flow(f: &mut Formatter<'_>, flow: &FlowStats, names: &Names, stats: bool) -> fmt::Result {
    if stats || flow.cookie.0 != 0 {
        write!(f, "cookie={:#x}, ", flow.cookie.0)?;
    }
    if stats {
        write!(f, "duration={}, ", Seconds(flow.duration))?;
    }
    if stats || flow.table.0 != 0 || names.table_name(flow.table).is_some() {
        write!(f, "table={}, ", TableName(flow.table, names))?;
    }
    if stats {
        // What is not counted is the highest number there is, here as on the wire.
        write!(f, "n_packets={}, n_bytes={}, ", flow.packets, flow.bytes)?;
    }
    for (name, value) in [
        ("idle_timeout", flow.idle_timeout),
        ("hard_timeout", flow.hard_timeout),
        ("importance", flow.importance),
    ] {
        if value != 0 {
            write!(f, "{name}={value}, ")?;
        }
    }
    write_flags(f, flow.flags)?;
    write_priority_match(f, flow.priority, &flow.matches, names)?;
    write!(f, "actions={}", Named(&Instructions(&flow.instructions), names))
}

pub(super) fn write_flags(f: &mut Formatter<'_>, flags: FlowModFlags) -> fmt::Result {
    FlowModFlags::NAMES
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .try_for_each(|(_, name)| write!(f, "{name} "))
}

/// Priority and match with a space behind, nothing if there is nothing to say.
pub(super) fn write_priority_match(
    f: &mut Formatter<'_>,
    priority: Priority,
    matches: &Match,
    names: &Names,
) -> fmt::Result {
    let mut out = Commas::new(f, names);
    if priority != Priority::DEFAULT {
        out.item(format_args!("priority={priority}"))?;
    }
    write_match(&mut out, matches)?;
    if out.first { Ok(()) } else { f.write_str(" ") }
}

/// Seconds with milliseconds, or with nanoseconds if there are any; `?` if they are not known.
pub(super) struct Seconds(pub Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (secs, _) if secs >= u32::MAX.into() => f.write_str("?"),
            (secs, 0) => write!(f, "{secs}s"),
            (secs, nanos) if nanos % 1_000_000 == 0 => write!(f, "{secs}.{:03}s", nanos / 1_000_000),
            (secs, nanos) => write!(f, "{secs}.{}s", format!("{nanos:09}").trim_end_matches('0')),
        }
    }
}

impl Text for FlowMod {
    /// The flow as add-flow, mod-flows or del-flows take it.
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        let deletes = matches!(self.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        let mut out = Commas::new(f, names);
        let default_table = if deletes { TableId::ALL } else { TableId(0) };
        if self.table != default_table {
            out.item(format_args!("table={}", TableName(self.table, names)))?;
        }
        match (self.command, self.cookie_mask) {
            (FlowModCommand::Add, _) if self.cookie.0 == 0 => {}
            (FlowModCommand::Add, _) => out.item(format_args!("cookie={:#x}", self.cookie.0))?,
            (_, 0) => {}
            (_, mask) => out.item(format_args!("cookie={:#x}/{mask:#x}", self.cookie.0))?,
        }
        for (name, value) in [
            ("idle_timeout", self.idle_timeout),
            ("hard_timeout", self.hard_timeout),
            ("importance", self.importance),
        ] {
            if value != 0 {
                out.item(format_args!("{name}={value}"))?;
            }
        }
        if let Some(port) = self.out_port {
            out.item(format_args!("out_port={}", PortName(port, names)))?;
        }
        if let Some(group) = self.out_group {
            out.item(format_args!("out_group={group}"))?;
        }
        for (_, name) in FlowModFlags::NAMES.iter().filter(|(flag, _)| self.flags.contains(*flag)) {
            out.item(format_args!("{name}"))?;
        }
        if self.priority != Priority::DEFAULT {
            out.item(format_args!("priority={}", self.priority))?;
        }
        write_match(&mut out, &self.matches)?;
        if deletes {
            return Ok(());
        }
        if !out.first {
            f.write_str(" ")?;
        }
        write!(f, "actions={}", Named(&Instructions(&self.instructions), names))
    }
}
