//! What a switch says unasked, and errors.

use core::fmt::{self, Formatter};

use super::{Body, FrameText, Printed, quoted};
use crate::error::HelloFailed;
use crate::text::format::{Seconds, write_priority_match};
use crate::text::naming::{Named, Names};
use crate::{
    Cookie, Error, ErrorKind, FlowRemoved, FlowRemovedReason, Message, PacketIn, PacketInReason, Priority,
    RequestForward, Role, RoleReason, RoleRequest, RoleStatus,
};

pub(super) fn write_error(f: &mut Formatter<'_>, printed: &Printed<'_>, error: &Error) -> fmt::Result {
    writeln!(f, " {}", error.kind)?;
    if let ErrorKind::HelloFailed(HelloFailed::Incompatible | HelloFailed::Eperm) = error.kind {
        return writeln!(f, "{}", String::from_utf8_lossy(&error.data).escape_debug());
    }
    match quoted(printed.version, &error.data) {
        // An error never quotes an error, so this goes no deeper.
        Some((_, Message::Error(_))) | None => Ok(()),
        Some((xid, message)) => {
            let quoted = Printed { frames: false, ..printed.inner(xid, &message) }.to_string();
            f.write_str(&quoted)
        }
    }
}

pub(super) fn write_packet_in(
    f: &mut Formatter<'_>,
    printed: &Printed<'_>,
    packet: &PacketIn,
) -> fmt::Result {
    if packet.table.0 != 0 {
        write!(f, " table_id={}", packet.table)?;
    }
    if packet.cookie != Cookie(u64::MAX) {
        write!(f, " cookie={:#x}", packet.cookie.0)?;
    }
    let reason = match packet.reason {
        PacketInReason::NoMatch => "no_match",
        PacketInReason::Action => "action",
        PacketInReason::InvalidTtl => "invalid_ttl",
        PacketInReason::ActionSet => "action_set",
        PacketInReason::Group => "group",
        PacketInReason::PacketOut => "packet_out",
    };
    let (len, total) = (packet.data.len(), usize::from(packet.total_len));
    write!(f, " total_len={total} {} (via {reason})", Named(&packet.matches, printed.names))?;
    write!(f, " data_len={len}")?;
    match packet.buffer {
        None if total != len => f.write_str(" (unbuffered) (***total_len != data_len***)")?,
        None => f.write_str(" (unbuffered)")?,
        Some(buffer) => write!(f, " buffer=0x{:08x}", buffer.0)?,
    }
    f.write_str("\n")?;
    if printed.frames { writeln!(f, "{}", FrameText(&packet.data)) } else { Ok(()) }
}

pub(super) fn write_flow_removed(f: &mut Formatter<'_>, removed: &FlowRemoved, names: &Names) -> fmt::Result {
    let reason = match removed.reason {
        FlowRemovedReason::IdleTimeout => "idle",
        FlowRemovedReason::HardTimeout => "hard",
        FlowRemovedReason::Delete => "delete",
        FlowRemovedReason::GroupDelete => "group_delete",
        FlowRemovedReason::MeterDelete => "meter_delete",
        FlowRemovedReason::Eviction => "eviction",
    };
    f.write_str(" ")?;
    if removed.priority == Priority::DEFAULT && removed.matches.is_empty() {
        f.write_str(" ")?;
    }
    write_priority_match(f, removed.priority, &removed.matches, names)?;
    write!(f, "reason={reason} table_id={}", removed.table)?;
    if removed.cookie.0 != 0 {
        write!(f, " cookie:{:#x}", removed.cookie.0)?;
    }
    write!(f, " duration{} idle{}", Seconds(removed.duration), removed.idle_timeout)?;
    if removed.hard_timeout != 0 {
        write!(f, " hard{}", removed.hard_timeout)?;
    }
    writeln!(f, " pkts{} bytes{}", removed.packets, removed.bytes)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::NoChange => "nochange",
        Role::Equal => "equal",
        Role::Master => "primary",
        Role::Slave => "secondary",
    }
}

pub(super) fn write_role(f: &mut Formatter<'_>, role: &RoleRequest) -> fmt::Result {
    write!(f, " role={}", role_name(role.role))?;
    // All ones says that there was no election yet (§7.3.9).
    let elected = role.role != Role::NoChange && role.generation != u64::MAX;
    if elected { write!(f, " generation_id={}", role.generation) } else { Ok(()) }
}

pub(super) fn write_role_status(f: &mut Formatter<'_>, status: &RoleStatus) -> fmt::Result {
    let reason = match status.reason {
        RoleReason::MasterRequest => "primary_request",
        RoleReason::Config => "configuration_changed",
        RoleReason::Experimenter => "experimenter_data_changed",
    };
    write_role(f, &RoleRequest { role: status.role, generation: status.generation })?;
    write!(f, " reason={reason}")
}

pub(super) fn write_forward(
    f: &mut Formatter<'_>,
    printed: &Printed<'_>,
    forward: &RequestForward,
) -> fmt::Result {
    let reason = match *forward.request {
        Message::MeterMod(_) => "meter_mod",
        _ => "group_mod",
    };
    write!(f, " reason={reason}{}", Body(&printed.inner(forward.xid, &forward.request)))
}
