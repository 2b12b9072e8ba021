//! Flow modifications, flow removals and packets (1.0.1 §5.3.3, §5.3.6, §5.4.1, §5.4.2).

use core::time::Duration;

use super::action::{read_actions, read_instructions, write_actions, write_instructions};
use super::matches::{read_match, read_reported_match, write_match};
use super::port::{NONE, any_port, must_narrow, some_port, widen};
use crate::codec::EncodeError;
use crate::codec::reader::{Decoded, Reader};
use crate::codec::v13::flow::{no_buffer, some_buffer};
use crate::codec::v13::{read_duration, write_duration};
use crate::codec::writer::Put;
use crate::error::{BadAction, BadRequest, FlowModFailed};
use crate::{
    Cookie, FlowMod, FlowModCommand, FlowModFlags, FlowRemoved, FlowRemovedReason, FlowStats, Match, Oxm,
    PacketIn, PacketInReason, PacketOut, Priority, TableId, Version, ports,
};

/// The flow is for the emergency table (OFPFF_EMERG).
const EMERGENCY: u16 = 4;
/// The flags that are flags in later versions too.
const FLAGS: u16 = FlowModFlags::SEND_FLOW_REM.0 | FlowModFlags::CHECK_OVERLAP.0;

pub(super) fn read_flow_mod(r: &mut Reader<'_>) -> Decoded<FlowMod> {
    let matches = read_match(r)?;
    let cookie = Cookie(r.u64()?);
    let (command, idle_timeout, hard_timeout) = (r.u16()?, r.u16()?, r.u16()?);
    let priority = Priority(r.u16()?);
    let (buffer, out_port, flags) = (some_buffer(r.u32()?), some_port(r.u16()?), r.u16()?);
    let command = u8::try_from(command).ok().and_then(FlowModCommand::from_number);
    let command = command.ok_or(FlowModFailed::BadCommand)?;
    check_flags(flags, idle_timeout != 0 || hard_timeout != 0)?;
    let instructions = read_instructions(r)?;
    let mut flags = FlowModFlags(flags & FLAGS);
    // §4.6: an identical entry is replaced with its counters.
    if command == FlowModCommand::Add {
        flags = flags | FlowModFlags::RESET_COUNTS;
    }
    let deletes = matches!(command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
    Ok(FlowMod {
        command,
        // There is no table in the message: flows are made in the first, and deleted wherever they are.
        table: if deletes { TableId::ALL } else { TableId(0) },
        cookie,
        cookie_mask: 0,
        priority,
        idle_timeout,
        hard_timeout,
        buffer,
        // §5.3.3: only deletions heed it.
        out_port: out_port.filter(|_| deletes),
        out_group: None,
        upsert: matches!(command, FlowModCommand::Modify | FlowModCommand::ModifyStrict),
        flags,
        importance: 0,
        matches,
        instructions: if deletes { Vec::new() } else { instructions },
    })
}

/// There is no emergency table, which 1.0.1 leaves to the switch.
fn check_flags(flags: u16, expires: bool) -> Decoded<()> {
    match flags {
        _ if flags & EMERGENCY != 0 && expires => Err(FlowModFailed::BadTimeout.into()),
        _ if flags & EMERGENCY != 0 => Err(FlowModFailed::TableFull.into()),
        _ if flags & !FLAGS != 0 => Err(FlowModFailed::BadFlags.into()),
        _ => Ok(()),
    }
}

pub(super) fn write_flow_mod(out: &mut Vec<u8>, m: &FlowMod) -> Result<(), EncodeError> {
    let deletes = matches!(m.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
    let anywhere = deletes && m.table == TableId::ALL;
    if m.cookie_mask != 0 || m.out_group.is_some() || m.table.0 != 0 && !anywhere {
        return Err(EncodeError::Inexpressible(Version::V10));
    }
    write_match(out, &m.matches)?;
    out.u64(m.cookie.0);
    out.u16(m.command.number().into());
    out.u16(m.idle_timeout);
    out.u16(m.hard_timeout);
    out.u16(m.priority.0);
    out.u32(no_buffer(m.buffer));
    out.u16(any_port(m.out_port)?);
    out.u16(m.flags.0 & FLAGS);
    write_instructions(out, &m.instructions)
}

pub(super) fn write_flow_removed(out: &mut Vec<u8>, m: &FlowRemoved) -> Result<(), EncodeError> {
    write_match(out, &m.matches)?;
    out.u64(m.cookie.0);
    out.u16(m.priority.0);
    // Reasons that came later are told as the deletion they amount to.
    let reason = m.reason.min(FlowRemovedReason::Delete);
    out.u8(reason.number());
    out.zeros(1);
    write_duration(out, m.duration);
    out.u16(m.idle_timeout);
    out.zeros(2);
    out.u64(m.packets);
    out.u64(m.bytes);
    Ok(())
}

pub(super) fn read_flow_removed(r: &mut Reader<'_>) -> Decoded<FlowRemoved> {
    let matches = read_reported_match(r)?;
    let (cookie, priority) = (Cookie(r.u64()?), Priority(r.u16()?));
    let reason = FlowRemovedReason::from_number(r.u8()?).filter(|&r| r <= FlowRemovedReason::Delete);
    let reason = reason.ok_or(BadRequest::BadType)?;
    r.skip(1)?;
    let (duration, idle_timeout) = (read_duration(r)?, r.u16()?);
    r.skip(2)?;
    let (packets, bytes) = (r.u64()?, r.u64()?);
    let table = TableId(0);
    Ok(FlowRemoved {
        cookie,
        priority,
        reason,
        table,
        duration,
        idle_timeout,
        hard_timeout: 0,
        packets,
        bytes,
        matches,
    })
}

pub(super) fn write_packet_in(out: &mut Vec<u8>, m: &PacketIn) -> Result<(), EncodeError> {
    out.u32(no_buffer(m.buffer));
    out.u16(m.total_len);
    out.u16(m.in_port().map_or(Ok(NONE), must_narrow)?);
    // Reasons that came later are told as the action they amount to.
    out.u8(m.reason.min(PacketInReason::Action).number());
    out.zeros(1);
    out.bytes(&m.data);
    Ok(())
}

pub(super) fn read_packet_in(r: &mut Reader<'_>) -> Decoded<PacketIn> {
    let (buffer, total_len, in_port) = (some_buffer(r.u32()?), r.u16()?, widen(r.u16()?));
    let reason = PacketInReason::from_number(r.u8()?).filter(|&r| r <= PacketInReason::Action);
    let reason = reason.ok_or(BadRequest::BadType)?;
    r.skip(1)?;
    let matches = Match::pipeline([Oxm::in_port(in_port)]);
    let (table, cookie) = (TableId(0), Cookie(u64::MAX));
    Ok(PacketIn { buffer, total_len, reason, table, cookie, matches, data: r.rest().to_vec() })
}

pub(super) fn write_packet_out(out: &mut Vec<u8>, m: &PacketOut) -> Result<(), EncodeError> {
    out.u32(no_buffer(m.buffer));
    out.u16(if m.in_port == ports::CONTROLLER { NONE } else { must_narrow(m.in_port)? });
    let len_at = out.len();
    out.zeros(2);
    let start = out.len();
    write_actions(out, &m.actions)?;
    out.patch_len(len_at, start)?;
    out.bytes(&m.data);
    Ok(())
}

pub(super) fn read_packet_out(r: &mut Reader<'_>) -> Decoded<PacketOut> {
    let (buffer, in_port) = (some_buffer(r.u32()?), r.u16()?);
    let actions_len = usize::from(r.u16()?);
    let actions = read_actions(&mut r.sub(actions_len, BadAction::BadLen)?)?;
    // OFPP_NONE is what later versions call the controller here.
    let in_port = some_port(in_port).unwrap_or(ports::CONTROLLER);
    Ok(PacketOut { buffer, in_port, actions, data: r.rest().to_vec() })
}

/// One flow of a statistics reply (ofp_flow_stats).
pub(super) fn write_flow(out: &mut Vec<u8>, s: &FlowStats) -> Result<(), EncodeError> {
    let start = out.len();
    out.u16(0);
    out.u8(s.table.0);
    out.zeros(1);
    write_match(out, &s.matches)?;
    write_duration(out, s.duration);
    out.u16(s.priority.0);
    out.u16(s.idle_timeout);
    out.u16(s.hard_timeout);
    out.zeros(6);
    out.u64(s.cookie.0);
    out.u64(s.packets);
    out.u64(s.bytes);
    write_instructions(out, &s.instructions)?;
    out.patch_len(start, start)
}

pub(super) fn read_flow(r: &mut Reader<'_>) -> Decoded<FlowStats> {
    let len = usize::from(r.u16()?);
    let mut r = r.sub(len.checked_sub(2).ok_or(r.short())?, r.short())?;
    let table = TableId(r.u8()?);
    r.skip(1)?;
    let matches = read_reported_match(&mut r)?;
    let duration: Duration = read_duration(&mut r)?;
    let (priority, idle_timeout, hard_timeout) = (Priority(r.u16()?), r.u16()?, r.u16()?);
    r.skip(6)?;
    let (cookie, packets, bytes) = (Cookie(r.u64()?), r.u64()?, r.u64()?);
    Ok(FlowStats {
        table,
        duration,
        priority,
        idle_timeout,
        hard_timeout,
        flags: FlowModFlags::NONE,
        importance: 0,
        cookie,
        packets,
        bytes,
        matches,
        instructions: read_instructions(&mut r)?,
    })
}
