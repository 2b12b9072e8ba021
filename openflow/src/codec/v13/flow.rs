//! Flow modifications, flow removals and packets (§7.3.4.1, §7.3.6, §7.4.1, §7.4.2).

use super::action::{read_actions, read_instructions, write_actions, write_instructions};
use super::oxm::{read_match, read_reported_match, write_match};
use super::{any_port, read_duration, some_port, write_duration};
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::codec::{EncodeError, lower};
use crate::error::{BadAction, BadRequest, FlowModFailed};
use crate::{
    BufferId, Cookie, FlowMod, FlowModCommand, FlowModFlags, FlowRemoved, FlowRemovedReason, GroupId,
    PacketIn, PacketInReason, PacketOut, PortNo, Priority, TableId, Version,
};

/// Not buffered (OFP_NO_BUFFER).
const NO_BUFFER: u32 = 0xffff_ffff;
/// Any group (OFPG_ANY).
const ANY_GROUP: u32 = 0xffff_ffff;

pub(in crate::codec) fn some_group(group: u32) -> Option<GroupId> {
    (group != ANY_GROUP).then_some(GroupId(group))
}

pub(in crate::codec) fn any_group(group: Option<GroupId>) -> u32 {
    group.map_or(ANY_GROUP, |g| g.0)
}

pub(in crate::codec) fn some_buffer(buffer: u32) -> Option<BufferId> {
    (buffer != NO_BUFFER).then_some(BufferId(buffer))
}

pub(in crate::codec) fn no_buffer(buffer: Option<BufferId>) -> u32 {
    buffer.map_or(NO_BUFFER, |b| b.0)
}

pub(in crate::codec) fn write_flow_mod(
    version: Version,
    out: &mut Vec<u8>,
    m: &FlowMod,
) -> Result<(), EncodeError> {
    out.u64(m.cookie.0);
    out.u64(m.cookie_mask);
    out.u8(m.table.0);
    out.u8(m.command.number());
    out.u16(m.idle_timeout);
    out.u16(m.hard_timeout);
    out.u16(m.priority.0);
    out.u32(no_buffer(m.buffer));
    out.u32(any_port(m.out_port));
    out.u32(any_group(m.out_group));
    out.u16(m.flags.0);
    out.u16(if version == Version::V14 { m.importance } else { 0 });
    write_match(out, &m.matches)?;
    write_instructions(out, &lower::instructions(&m.matches, &m.instructions))
}

pub(in crate::codec) fn read_flow_mod(version: Version, r: &mut Reader<'_>) -> Decoded<FlowMod> {
    let (cookie, cookie_mask) = (Cookie(r.u64()?), r.u64()?);
    let (table, command) = (TableId(r.u8()?), r.u8()?);
    let (idle_timeout, hard_timeout) = (r.u16()?, r.u16()?);
    let priority = Priority(r.u16()?);
    let buffer = some_buffer(r.u32()?);
    let (out_port, out_group) = (some_port(r.u32()?), some_group(r.u32()?));
    let flags = FlowModFlags(r.u16()?);
    // Padding in 1.3.
    let importance = Some(r.u16()?).filter(|_| version == Version::V14).unwrap_or(0);
    let command = FlowModCommand::from_number(command).ok_or(FlowModFailed::BadCommand)?;
    if flags.unknown() != 0 {
        return Err(FlowModFailed::BadFlags.into());
    }
    let matches = read_match(r)?;
    let instructions = read_instructions(r)?;
    Ok(FlowMod {
        command,
        table,
        cookie,
        cookie_mask,
        priority,
        idle_timeout,
        hard_timeout,
        buffer,
        out_port,
        out_group,
        upsert: false,
        flags,
        importance,
        matches,
        instructions,
    })
}

pub(in crate::codec) fn write_flow_removed(
    version: Version,
    out: &mut Vec<u8>,
    m: &FlowRemoved,
) -> Result<(), EncodeError> {
    out.u64(m.cookie.0);
    out.u16(m.priority.0);
    // Reasons that came after 1.3 are told as the deletion they amount to.
    let later = m.reason > FlowRemovedReason::GroupDelete && version != Version::V14;
    out.u8(if later { FlowRemovedReason::Delete.number() } else { m.reason.number() });
    out.u8(m.table.0);
    write_duration(out, m.duration);
    out.u16(m.idle_timeout);
    out.u16(m.hard_timeout);
    out.u64(m.packets);
    out.u64(m.bytes);
    write_match(out, &m.matches)
}

pub(in crate::codec) fn read_flow_removed(r: &mut Reader<'_>) -> Decoded<FlowRemoved> {
    Ok(FlowRemoved {
        cookie: Cookie(r.u64()?),
        priority: Priority(r.u16()?),
        reason: FlowRemovedReason::from_number(r.u8()?).ok_or(BadRequest::BadType)?,
        table: TableId(r.u8()?),
        duration: read_duration(r)?,
        idle_timeout: r.u16()?,
        hard_timeout: r.u16()?,
        packets: r.u64()?,
        bytes: r.u64()?,
        matches: read_reported_match(r)?,
    })
}

pub(in crate::codec) fn write_packet_in(
    version: Version,
    out: &mut Vec<u8>,
    m: &PacketIn,
) -> Result<(), EncodeError> {
    out.u32(no_buffer(m.buffer));
    out.u16(m.total_len);
    // Reasons that came after 1.3 are told as the action they amount to.
    let later = m.reason > PacketInReason::InvalidTtl && version != Version::V14;
    let reason = if later { PacketInReason::Action } else { m.reason };
    out.u8(reason.number());
    out.u8(m.table.0);
    out.u64(m.cookie.0);
    write_match(out, &m.matches)?;
    // §7.4.1: two bytes that align the IP header behind an Ethernet header.
    out.zeros(2);
    out.bytes(&m.data);
    Ok(())
}

pub(in crate::codec) fn read_packet_in(r: &mut Reader<'_>) -> Decoded<PacketIn> {
    let buffer = some_buffer(r.u32()?);
    let total_len = r.u16()?;
    let reason = PacketInReason::from_number(r.u8()?).ok_or(BadRequest::BadType)?;
    let (table, cookie) = (TableId(r.u8()?), Cookie(r.u64()?));
    let matches = read_reported_match(r)?;
    r.skip(2)?;
    Ok(PacketIn { buffer, total_len, reason, table, cookie, matches, data: r.rest().to_vec() })
}

pub(in crate::codec) fn write_packet_out(out: &mut Vec<u8>, m: &PacketOut) -> Result<(), EncodeError> {
    out.u32(no_buffer(m.buffer));
    out.u32(m.in_port.0);
    let len_at = out.len();
    out.zeros(8);
    let start = out.len();
    write_actions(out, &m.actions)?;
    out.patch_len(len_at, start)?;
    out.bytes(&m.data);
    Ok(())
}

pub(in crate::codec) fn read_packet_out(r: &mut Reader<'_>) -> Decoded<PacketOut> {
    let (buffer, in_port) = (some_buffer(r.u32()?), PortNo(r.u32()?));
    let actions_len = usize::from(r.u16()?);
    r.skip(6)?;
    let actions = read_actions(&mut r.sub(actions_len, BadAction::BadLen)?)?;
    Ok(PacketOut { buffer, in_port, actions, data: r.rest().to_vec() })
}
