//! Requests that change something, as far as errors quote them.

use core::fmt::{self, Formatter};

use super::{FrameText, Printed};
use crate::text::format::{Actions, Instructions, write_flags, write_priority_match};
use crate::text::naming::{Named, Names, PortName};
use crate::{
    BundleAdd, BundleControl, BundleControlKind, BundleFlags, FlowMod, FlowModCommand, GroupDesc, GroupMod,
    GroupModCommand, MeterConfig, MeterMod, MeterModCommand, PacketOut,
};

pub(super) fn write_flow_mod(f: &mut Formatter<'_>, flow: &FlowMod, names: &Names) -> fmt::Result {
    f.write_str(match flow.command {
        FlowModCommand::Add => " ADD",
        FlowModCommand::Modify => " MOD",
        FlowModCommand::ModifyStrict => " MOD_STRICT",
        FlowModCommand::Delete => " DEL",
        FlowModCommand::DeleteStrict => " DEL_STRICT",
    })?;
    if flow.table.0 != 0 {
        write!(f, " table:{}", flow.table)?;
    }
    f.write_str(" ")?;
    write_priority_match(f, flow.priority, &flow.matches, names)?;
    match (flow.cookie.0, flow.cookie_mask) {
        (0, 0) => {}
        (cookie, 0) => write!(f, "cookie:{cookie:#x} ")?,
        (cookie, mask) => write!(f, "cookie:{cookie:#x}/{mask:#x} ")?,
    }
    for (name, value) in
        [("idle", flow.idle_timeout), ("hard", flow.hard_timeout), ("importance", flow.importance)]
    {
        if value != 0 {
            write!(f, "{name}:{value} ")?;
        }
    }
    if let Some(buffer) = flow.buffer {
        write!(f, "buf:{:#x} ", buffer.0)?;
    }
    if let Some(port) = flow.out_port {
        write!(f, "out_port:{} ", PortName(port, names))?;
    }
    if let Some(group) = flow.out_group {
        write!(f, "out_group:{group} ")?;
    }
    write_flags(f, flow.flags)?;
    write!(f, "actions={}", Named(&Instructions(&flow.instructions), names))
}

pub(super) fn write_group_mod(f: &mut Formatter<'_>, group: &GroupMod, names: &Names) -> fmt::Result {
    let command = match group.command {
        GroupModCommand::Add => "ADD",
        GroupModCommand::Modify => "MOD",
        GroupModCommand::Delete => "DEL",
    };
    let desc = GroupDesc { group_type: group.group_type, group: group.group, buckets: group.buckets.clone() };
    write!(f, "\n {command} {}", Named(&desc, names))
}

pub(super) fn write_meter_mod(f: &mut Formatter<'_>, meter: &MeterMod) -> fmt::Result {
    let command = match meter.command {
        MeterModCommand::Add => "ADD",
        MeterModCommand::Modify => "MOD",
        MeterModCommand::Delete => "DEL",
    };
    let config = MeterConfig { flags: meter.flags, meter: meter.meter, bands: meter.bands.clone() };
    write!(f, " {command} {config}")
}

pub(super) fn write_packet_out(
    f: &mut Formatter<'_>,
    printed: &Printed<'_>,
    packet: &PacketOut,
) -> fmt::Result {
    let names = printed.names;
    write!(f, " in_port={} actions=", PortName(packet.in_port, names))?;
    write!(f, "{}", Named(&Actions(&packet.actions), names))?;
    match packet.buffer {
        Some(buffer) => write!(f, " buffer=0x{:08x}", buffer.0),
        None if printed.frames && !packet.data.is_empty() => {
            writeln!(f, " data_len={}\n{}", packet.data.len(), FrameText(&packet.data))
        }
        None => write!(f, " data_len={}", packet.data.len()),
    }
}

fn write_bundle(f: &mut Formatter<'_>, bundle: u32, kind: &str, flags: BundleFlags) -> fmt::Result {
    let flags =
        super::bits(flags.0.into(), BundleFlags::NAMES.iter().map(|(bit, name)| (bit.0.into(), *name)));
    let id = if bundle == 0 { "0".to_owned() } else { format!("{bundle:#x}") };
    write!(f, "\n bundle_id={id} {kind}flags={flags}")
}

pub(super) fn write_bundle_control(f: &mut Formatter<'_>, control: &BundleControl) -> fmt::Result {
    let kind = match control.kind {
        BundleControlKind::OpenRequest => "OPEN_REQUEST",
        BundleControlKind::OpenReply => "OPEN_REPLY",
        BundleControlKind::CloseRequest => "CLOSE_REQUEST",
        BundleControlKind::CloseReply => "CLOSE_REPLY",
        BundleControlKind::CommitRequest => "COMMIT_REQUEST",
        BundleControlKind::CommitReply => "COMMIT_REPLY",
        BundleControlKind::DiscardRequest => "DISCARD_REQUEST",
        BundleControlKind::DiscardReply => "DISCARD_REPLY",
    };
    write_bundle(f, control.bundle, &format!("type={kind} "), control.flags)
}

pub(super) fn write_bundle_add(f: &mut Formatter<'_>, printed: &Printed<'_>, add: &BundleAdd) -> fmt::Result {
    write_bundle(f, add.bundle, "", add.flags)?;
    write!(f, "\n{}", printed.inner(add.xid, &add.message))
}
