//! Actions and instructions on the wire (§7.2.4, §7.2.5).

use super::oxm::{OxmErrors, OxmRead, read_oxm, write_oxm};
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::codec::{EncodeError, lower};
use crate::error::{BadAction, BadInstruction};
use crate::{
    Action, ErrorKind, GroupId, Instruction, Match, MeterId, Oxm, PortNo, QueueId, TableId, Version,
};

const OUTPUT: u16 = 0;
const COPY_TTL_OUT: u16 = 11;
const COPY_TTL_IN: u16 = 12;
const SET_MPLS_TTL: u16 = 15;
const DEC_MPLS_TTL: u16 = 16;
const PUSH_VLAN: u16 = 17;
const POP_VLAN: u16 = 18;
const PUSH_MPLS: u16 = 19;
const POP_MPLS: u16 = 20;
const SET_QUEUE: u16 = 21;
const GROUP: u16 = 22;
const SET_NW_TTL: u16 = 23;
const DEC_NW_TTL: u16 = 24;
const SET_FIELD: u16 = 25;
const PUSH_PBB: u16 = 26;
const POP_PBB: u16 = 27;
const EXPERIMENTER: u16 = 0xffff;

/// Actions until the end of `r`.
pub(in crate::codec) fn read_actions(r: &mut Reader<'_>) -> Decoded<Vec<Action>> {
    r.list(read_action)
}

fn read_action(r: &mut Reader<'_>) -> Decoded<Action> {
    let mut header = Reader::new(r.take(4).map_err(|_| BadAction::BadLen)?, BadAction::BadLen);
    let (kind, len) = (header.u16()?, usize::from(header.u16()?));
    // §7.2.5: the length is a multiple of 8 and holds the header.
    if len < 8 || len % 8 != 0 || len - 4 > r.remaining() {
        return Err(BadAction::BadLen.into());
    }
    let mut body = r.sub(len - 4, BadAction::BadLen)?;
    let action = read_action_body(kind, &mut body)?;
    body.finish()?;
    Ok(action)
}

fn read_action_body(kind: u16, body: &mut Reader<'_>) -> Decoded<Action> {
    let action = match kind {
        OUTPUT => {
            let (port, max_len) = (PortNo(body.u32()?), body.u16()?);
            body.skip(6)?;
            Action::Output { port, max_len }
        }
        COPY_TTL_OUT => bare(body, Action::CopyTtlOut)?,
        COPY_TTL_IN => bare(body, Action::CopyTtlIn)?,
        DEC_MPLS_TTL => bare(body, Action::DecMplsTtl)?,
        POP_VLAN => bare(body, Action::PopVlan)?,
        DEC_NW_TTL => bare(body, Action::DecNwTtl)?,
        POP_PBB => bare(body, Action::PopPbb)?,
        SET_MPLS_TTL => Action::SetMplsTtl(ttl(body)?),
        SET_NW_TTL => Action::SetNwTtl(ttl(body)?),
        PUSH_VLAN => Action::PushVlan(ethertype(body, &[0x8100, 0x88a8])?),
        PUSH_MPLS => Action::PushMpls(ethertype(body, &[0x8847, 0x8848])?),
        PUSH_PBB => Action::PushPbb(ethertype(body, &[0x88e7])?),
        POP_MPLS => Action::PopMpls(ethertype(body, &[])?),
        SET_QUEUE => Action::SetQueue(QueueId(body.u32()?)),
        GROUP => Action::Group(GroupId(body.u32()?)),
        SET_FIELD => Action::SetField(read_set_field(body)?),
        EXPERIMENTER => Action::Experimenter { experimenter: body.u32()?, data: body.rest().to_vec() },
        kind => Action::Unknown { kind, data: body.rest().to_vec() },
    };
    Ok(action)
}

fn bare(body: &mut Reader<'_>, action: Action) -> Decoded<Action> {
    body.skip(4).map(|()| action)
}

fn ttl(body: &mut Reader<'_>) -> Decoded<u8> {
    let ttl = body.u8()?;
    body.skip(3).map(|()| ttl)
}

/// An Ethertype, one of `allowed` unless that is empty (§5.12: the new tag's Ethertype is one of these).
fn ethertype(body: &mut Reader<'_>, allowed: &[u16]) -> Decoded<u16> {
    let ethertype = body.u16()?;
    body.skip(2)?;
    if allowed.is_empty() || allowed.contains(&ethertype) {
        Ok(ethertype)
    } else {
        Err(BadAction::BadArgument.into())
    }
}

const SET_ERRORS: OxmErrors = OxmErrors {
    unknown: ErrorKind::BadAction(BadAction::BadSetType),
    len: ErrorKind::BadAction(BadAction::BadSetLen),
};

/// One OXM, padded to the end of the action. It has no mask in 1.3.
fn read_set_field(body: &mut Reader<'_>) -> Decoded<Oxm> {
    let OxmRead::Known(oxm) = read_oxm(body, SET_ERRORS)? else { return Err(SET_ERRORS.unknown) };
    if oxm.mask.is_some() || !oxm.field.is_settable() {
        return Err(BadAction::BadSetType.into());
    }
    if oxm.value > oxm.field.full_mask() {
        return Err(BadAction::BadSetArgument.into());
    }
    if body.remaining() >= 8 {
        return Err(BadAction::BadSetLen.into());
    }
    body.rest();
    Ok(oxm)
}

pub(in crate::codec) fn write_actions(out: &mut Vec<u8>, actions: &[Action]) -> Result<(), EncodeError> {
    // Of packet-outs and buckets nothing is known of the frame; flows were looked at as a whole.
    let actions = lower::actions(&Match::ANY, actions);
    actions.iter().try_for_each(|action| write_action(out, action))
}

fn write_action(out: &mut Vec<u8>, action: &Action) -> Result<(), EncodeError> {
    let start = out.len();
    out.u16(kind_of(action));
    out.u16(0);
    match action {
        Action::Output { port, max_len } => {
            out.u32(port.0);
            out.u16(*max_len);
            out.zeros(6);
        }
        Action::CopyTtlOut
        | Action::CopyTtlIn
        | Action::DecMplsTtl
        | Action::PopVlan
        | Action::DecNwTtl
        | Action::PopPbb => {}
        Action::SetMplsTtl(ttl) | Action::SetNwTtl(ttl) => out.u8(*ttl),
        Action::PushVlan(e) | Action::PushMpls(e) | Action::PopMpls(e) | Action::PushPbb(e) => out.u16(*e),
        Action::SetQueue(queue) => out.u32(queue.0),
        Action::Group(group) => out.u32(group.0),
        Action::SetField(oxm) => write_oxm(out, oxm),
        Action::Experimenter { experimenter, data } => {
            out.u32(*experimenter);
            out.bytes(data);
        }
        Action::Unknown { data, .. } => out.bytes(data),
        // Lowered before they come here.
        Action::Rewrite(_) | Action::Enqueue { .. } => return Err(EncodeError::Inexpressible(Version::V13)),
    }
    out.pad8(start);
    out.patch_len(start + 2, start)
}

/// The number of the action's type.
pub(in crate::codec) fn kind_of(action: &Action) -> u16 {
    match action {
        Action::Output { .. } => OUTPUT,
        Action::CopyTtlOut => COPY_TTL_OUT,
        Action::CopyTtlIn => COPY_TTL_IN,
        Action::SetMplsTtl(_) => SET_MPLS_TTL,
        Action::DecMplsTtl => DEC_MPLS_TTL,
        Action::PushVlan(_) => PUSH_VLAN,
        Action::PopVlan => POP_VLAN,
        Action::PushMpls(_) => PUSH_MPLS,
        Action::PopMpls(_) => POP_MPLS,
        Action::SetQueue(_) => SET_QUEUE,
        Action::Group(_) => GROUP,
        Action::SetNwTtl(_) => SET_NW_TTL,
        Action::DecNwTtl => DEC_NW_TTL,
        Action::SetField(_) => SET_FIELD,
        Action::PushPbb(_) => PUSH_PBB,
        Action::PopPbb => POP_PBB,
        Action::Experimenter { .. } => EXPERIMENTER,
        Action::Rewrite(_) => SET_FIELD,
        Action::Enqueue { .. } => OUTPUT,
        Action::Unknown { kind, .. } => *kind,
    }
}

const GOTO_TABLE: u16 = 1;
const WRITE_METADATA: u16 = 2;
const WRITE_ACTIONS: u16 = 3;
const APPLY_ACTIONS: u16 = 4;
const CLEAR_ACTIONS: u16 = 5;
const METER: u16 = 6;

/// Instructions until the end of `r`, each type at most once (§5.9).
pub(in crate::codec) fn read_instructions(r: &mut Reader<'_>) -> Decoded<Vec<Instruction>> {
    let mut all: Vec<(u16, Instruction)> = Vec::new();
    while !r.is_empty() {
        let (kind, instruction) = read_instruction(r)?;
        if kind != EXPERIMENTER && all.iter().any(|(k, _)| *k == kind) {
            return Err(BadInstruction::DupInst.into());
        }
        all.push((kind, instruction));
    }
    Ok(all.into_iter().map(|(_, instruction)| instruction).collect())
}

fn read_instruction(r: &mut Reader<'_>) -> Decoded<(u16, Instruction)> {
    let mut header = Reader::new(r.take(4).map_err(|_| BadInstruction::BadLen)?, BadInstruction::BadLen);
    let (kind, len) = (header.u16()?, usize::from(header.u16()?));
    if len < 8 || len % 8 != 0 || len - 4 > r.remaining() {
        return Err(BadInstruction::BadLen.into());
    }
    let mut body = r.sub(len - 4, BadInstruction::BadLen)?;
    let instruction = match kind {
        GOTO_TABLE => {
            let table = TableId(body.u8()?);
            body.skip(3)?;
            Instruction::GotoTable(table)
        }
        WRITE_METADATA => {
            body.skip(4)?;
            Instruction::WriteMetadata { metadata: body.u64()?, mask: body.u64()? }
        }
        WRITE_ACTIONS => {
            body.skip(4)?;
            Instruction::WriteActions(read_actions(&mut body)?)
        }
        APPLY_ACTIONS => {
            body.skip(4)?;
            Instruction::ApplyActions(read_actions(&mut body)?)
        }
        CLEAR_ACTIONS => {
            body.skip(4)?;
            Instruction::ClearActions
        }
        METER => Instruction::Meter(MeterId(body.u32()?)),
        EXPERIMENTER => Instruction::Experimenter { experimenter: body.u32()?, data: body.rest().to_vec() },
        kind => Instruction::Unknown { kind, data: body.rest().to_vec() },
    };
    body.finish()?;
    Ok((kind, instruction))
}

pub(in crate::codec) fn write_instructions(
    out: &mut Vec<u8>,
    all: &[Instruction],
) -> Result<(), EncodeError> {
    all.iter().try_for_each(|instruction| write_instruction(out, instruction))
}

fn write_instruction(out: &mut Vec<u8>, instruction: &Instruction) -> Result<(), EncodeError> {
    let start = out.len();
    out.u32(0);
    let kind = match instruction {
        Instruction::GotoTable(table) => {
            out.u8(table.0);
            GOTO_TABLE
        }
        Instruction::WriteMetadata { metadata, mask } => {
            out.zeros(4);
            out.u64(*metadata);
            out.u64(*mask);
            WRITE_METADATA
        }
        Instruction::WriteActions(actions) => {
            out.zeros(4);
            write_actions(out, actions)?;
            WRITE_ACTIONS
        }
        Instruction::ApplyActions(actions) => {
            out.zeros(4);
            write_actions(out, actions)?;
            APPLY_ACTIONS
        }
        Instruction::ClearActions => CLEAR_ACTIONS,
        Instruction::Meter(meter) => {
            out.u32(meter.0);
            METER
        }
        Instruction::Experimenter { experimenter, data } => {
            out.u32(*experimenter);
            out.bytes(data);
            EXPERIMENTER
        }
        Instruction::Unknown { kind, data } => {
            out.bytes(data);
            *kind
        }
    };
    out[start..start + 2].copy_from_slice(&kind.to_be_bytes());
    out.pad8(start);
    out.patch_len(start + 2, start)
}
