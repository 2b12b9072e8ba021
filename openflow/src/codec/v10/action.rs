//! Actions (1.0.1 §5.2.4). A flow has one list of them, applied in order: an apply-actions instruction.

use core::net::Ipv4Addr;

use super::port::{must_narrow, widen};
use crate::codec::EncodeError;
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::error::BadAction;
use crate::{Action, Field, Instruction, MacAddr, Oxm, QueueId, Rewrite, Version};

/// Action types (ofp_action_type).
const OUTPUT: u16 = 0;
const SET_VLAN_VID: u16 = 1;
const SET_VLAN_PCP: u16 = 2;
const STRIP_VLAN: u16 = 3;
const SET_DL_SRC: u16 = 4;
const SET_DL_DST: u16 = 5;
const SET_NW_SRC: u16 = 6;
const SET_NW_DST: u16 = 7;
const SET_NW_TOS: u16 = 8;
const SET_TP_SRC: u16 = 9;
const SET_TP_DST: u16 = 10;
const ENQUEUE: u16 = 11;
const VENDOR: u16 = 0xffff;

/// Bit n: action type n can be used. All of the standard.
pub(super) const SUPPORTED: u32 = (1 << (ENQUEUE + 1)) - 1;

const CANNOT: EncodeError = EncodeError::Inexpressible(Version::V10);

/// Actions until the end of `r`.
pub(super) fn read_actions(r: &mut Reader<'_>) -> Decoded<Vec<Action>> {
    r.list(read_action)
}

/// The instructions of a flow with the actions until the end of `r`.
pub(super) fn read_instructions(r: &mut Reader<'_>) -> Decoded<Vec<Instruction>> {
    let actions = read_actions(r)?;
    Ok(if actions.is_empty() { Vec::new() } else { vec![Instruction::ApplyActions(actions)] })
}

fn read_action(r: &mut Reader<'_>) -> Decoded<Action> {
    let mut header = Reader::new(r.take(4).map_err(|_| BadAction::BadLen)?, BadAction::BadLen);
    let (kind, len) = (header.u16()?, usize::from(header.u16()?));
    if len < 8 || len % 8 != 0 || len - 4 > r.remaining() {
        return Err(BadAction::BadLen.into());
    }
    let mut body = r.sub(len - 4, BadAction::BadLen)?;
    let action = read_body(kind, &mut body)?;
    body.finish()?;
    Ok(action)
}

fn read_body(kind: u16, body: &mut Reader<'_>) -> Decoded<Action> {
    Ok(match kind {
        OUTPUT => Action::Output { port: widen(body.u16()?), max_len: body.u16()? },
        SET_VLAN_VID => {
            let vid = at_most(body.u16()?, 0x0fff)?;
            body.skip(2)?;
            Action::Rewrite(Rewrite::VlanVid(vid))
        }
        SET_VLAN_PCP => Action::Rewrite(Rewrite::VlanPcp(at_most(byte(body)?, 7)?)),
        STRIP_VLAN => {
            body.skip(4)?;
            Action::PopVlan
        }
        SET_DL_SRC => Action::SetField(mac(body, Field::EthSrc)?),
        SET_DL_DST => Action::SetField(mac(body, Field::EthDst)?),
        SET_NW_SRC => Action::Rewrite(Rewrite::Ipv4Src(Ipv4Addr::from_bits(body.u32()?))),
        SET_NW_DST => Action::Rewrite(Rewrite::Ipv4Dst(Ipv4Addr::from_bits(body.u32()?))),
        SET_NW_TOS => match byte(body)? {
            // The two low bits are not part of the field.
            tos if tos & 3 == 0 => Action::Rewrite(Rewrite::IpDscp(tos >> 2)),
            _ => return Err(BadAction::BadArgument.into()),
        },
        SET_TP_SRC => Action::Rewrite(Rewrite::PortSrc(word(body)?)),
        SET_TP_DST => Action::Rewrite(Rewrite::PortDst(word(body)?)),
        ENQUEUE => {
            let port = widen(body.u16()?);
            body.skip(6)?;
            Action::Enqueue { port, queue: QueueId(body.u32()?) }
        }
        VENDOR => Action::Experimenter { experimenter: body.u32()?, data: body.rest().to_vec() },
        kind => Action::Unknown { kind, data: body.rest().to_vec() },
    })
}

fn at_most<T: PartialOrd>(value: T, most: T) -> Decoded<T> {
    if value <= most { Ok(value) } else { Err(BadAction::BadArgument.into()) }
}

fn byte(body: &mut Reader<'_>) -> Decoded<u8> {
    let value = body.u8()?;
    body.skip(3).map(|()| value)
}

fn word(body: &mut Reader<'_>) -> Decoded<u16> {
    let value = body.u16()?;
    body.skip(2).map(|()| value)
}

fn mac(body: &mut Reader<'_>, field: Field) -> Decoded<Oxm> {
    let mac = MacAddr(body.array()?);
    body.skip(6).map(|()| Oxm::mac(field, mac))
}

/// Writes a list of actions.
pub(super) fn write_actions(out: &mut Vec<u8>, actions: &[Action]) -> Result<(), EncodeError> {
    let mut queue = None;
    for action in actions {
        match *action {
            // A queue is part of the output here.
            Action::SetQueue(id) => queue = Some(id),
            Action::Output { port, .. } if queue.is_some() => {
                let queue = queue.unwrap_or(QueueId(0));
                write_action(out, &Action::Enqueue { port, queue })?;
            }
            // Setting a VLAN, which surely follows, tags an untagged frame.
            Action::PushVlan(0x8100) => {}
            ref action => write_action(out, action)?,
        }
    }
    Ok(())
}

/// Writes the nearest list of actions: those applied, then the action set in its order. Nothing is near to another table,
/// to metadata, and to a meter.
pub(super) fn write_instructions(out: &mut Vec<u8>, all: &[Instruction]) -> Result<(), EncodeError> {
    let mut apply = &[][..];
    let mut set = Vec::new();
    for instruction in all {
        match instruction {
            Instruction::ApplyActions(actions) => apply = actions,
            Instruction::WriteActions(actions) => set = actions.clone(),
            Instruction::ClearActions => {}
            _ => return Err(CANNOT),
        }
    }
    set.sort_by_key(place);
    write_actions(out, &[apply, &set].concat())
}

/// The order of an action set (1.3.5 §5.10), as far as 1.0 has such actions.
fn place(action: &Action) -> u8 {
    match action {
        Action::PopVlan => 0,
        Action::PushVlan(_) => 1,
        Action::SetQueue(_) => 3,
        Action::Output { .. } => 4,
        _ => 2,
    }
}

fn write_action(out: &mut Vec<u8>, action: &Action) -> Result<(), EncodeError> {
    let start = out.len();
    out.u32(0);
    let kind = match *action {
        Action::Output { port, max_len } => {
            out.u16(must_narrow(port)?);
            out.u16(max_len);
            OUTPUT
        }
        Action::Enqueue { port, queue } => {
            out.u16(must_narrow(port)?);
            out.zeros(6);
            out.u32(queue.0);
            ENQUEUE
        }
        Action::PopVlan => STRIP_VLAN,
        Action::Rewrite(rewrite) => write_rewrite(out, rewrite),
        Action::SetField(oxm) => write_field(out, &oxm)?,
        Action::Experimenter { experimenter, ref data } => {
            out.u32(experimenter);
            out.bytes(data);
            VENDOR
        }
        Action::Unknown { kind, ref data } => {
            out.bytes(data);
            kind
        }
        _ => return Err(CANNOT),
    };
    out[start..start + 2].copy_from_slice(&kind.to_be_bytes());
    out.pad8(start);
    out.patch_len(start + 2, start)
}

fn write_rewrite(out: &mut Vec<u8>, rewrite: Rewrite) -> u16 {
    match rewrite {
        Rewrite::VlanVid(vid) => {
            out.u16(vid);
            SET_VLAN_VID
        }
        Rewrite::VlanPcp(pcp) => {
            out.u8(pcp);
            SET_VLAN_PCP
        }
        Rewrite::Ipv4Src(addr) => {
            out.u32(addr.to_bits());
            SET_NW_SRC
        }
        Rewrite::Ipv4Dst(addr) => {
            out.u32(addr.to_bits());
            SET_NW_DST
        }
        Rewrite::IpDscp(dscp) => {
            out.u8(dscp << 2);
            SET_NW_TOS
        }
        Rewrite::PortSrc(port) => {
            out.u16(port);
            SET_TP_SRC
        }
        Rewrite::PortDst(port) => {
            out.u16(port);
            SET_TP_DST
        }
    }
}

/// A set-field of a later version.
fn write_field(out: &mut Vec<u8>, oxm: &Oxm) -> Result<u16, EncodeError> {
    let word = (oxm.value & 0xffff) as u16;
    let rewrite = match oxm.field {
        Field::EthSrc | Field::EthDst => {
            out.uint(oxm.value, 6);
            out.zeros(6);
            return Ok(if oxm.field == Field::EthSrc { SET_DL_SRC } else { SET_DL_DST });
        }
        Field::VlanVid => Rewrite::VlanVid(word & 0x0fff),
        Field::VlanPcp => Rewrite::VlanPcp((word & 7) as u8),
        Field::IpDscp => Rewrite::IpDscp((word & 0x3f) as u8),
        Field::Ipv4Src => Rewrite::Ipv4Src(Ipv4Addr::from_bits(oxm.value as u32)),
        Field::Ipv4Dst => Rewrite::Ipv4Dst(Ipv4Addr::from_bits(oxm.value as u32)),
        Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => Rewrite::PortSrc(word),
        Field::TcpDst | Field::UdpDst | Field::SctpDst => Rewrite::PortDst(word),
        _ => return Err(CANNOT),
    };
    Ok(write_rewrite(out, rewrite))
}
