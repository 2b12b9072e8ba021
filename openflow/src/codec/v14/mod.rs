//! OpenFlow 1.4: what differs from 1.3.

mod multipart;
mod port;
pub(in crate::codec) mod property;
mod table;

use super::reader::{Decoded, Reader};
use super::v13::{self, flow};
use super::writer::Put;
use super::{EncodeError, begin, bundle, finish};
use crate::error::{AsyncConfigFailed, BadProperty, BadRequest, TableFeaturesFailed};
use crate::{AsyncChange, AsyncConfig, ErrorKind, Message, Role, RoleReason, RoleStatus, Version, Xid};
use property::Checked;

/// Message types (ofp_type): those of 1.3 but for two, and these.
pub(in crate::codec) mod kind {
    pub use crate::codec::v13::kind::*;

    pub const ROLE_STATUS: u8 = 30;
    pub const TABLE_STATUS: u8 = 31;
    pub const REQUEST_FORWARD: u8 = 32;
    pub const BUNDLE_CONTROL: u8 = 33;
    pub const BUNDLE_ADD: u8 = 34;
}

pub(super) fn encode(xid: Xid, message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Message::MultipartReply(reply) = message {
        return multipart::write_reply(xid, reply, out);
    }
    let kind = kind_of(message).ok_or(EncodeError::NoSuchMessage(Version::V14))?;
    let start = begin(Version::V14, kind, xid, out);
    encode_body(message, out)?;
    finish(out, start)
}

fn kind_of(message: &Message) -> Option<u8> {
    match message {
        // A multipart request took their place.
        Message::QueueGetConfigRequest(_) | Message::QueueGetConfigReply(_) => None,
        Message::RoleStatus(_) => Some(kind::ROLE_STATUS),
        Message::TableStatus(_) => Some(kind::TABLE_STATUS),
        Message::RequestForward(_) => Some(kind::REQUEST_FORWARD),
        Message::BundleControl(_) => Some(kind::BUNDLE_CONTROL),
        Message::BundleAdd(_) => Some(kind::BUNDLE_ADD),
        other => v13::kind_of(other),
    }
}

fn encode_body(message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match message {
        Message::Error(error) => v13::write_error(out, renamed(error.kind), &error.data),
        Message::PacketIn(m) => flow::write_packet_in(Version::V14, out, m)?,
        Message::FlowRemoved(m) => flow::write_flow_removed(Version::V14, out, m)?,
        Message::FlowMod(m) => flow::write_flow_mod(Version::V14, out, m)?,
        Message::PortStatus(m) => port::write_status(out, m)?,
        Message::PortMod(m) => port::write_mod(out, m),
        Message::TableMod(m) => table::write_mod(out, m),
        Message::TableStatus(m) => table::write_status(out, m)?,
        Message::MultipartRequest(m) => multipart::write_request(out, m)?,
        Message::GetAsyncReply(m) => write_async(out, &(*m).into()),
        Message::SetAsync(m) => write_async(out, m),
        Message::RoleStatus(m) => {
            out.u32(m.role.number());
            out.u8(m.reason.number());
            out.zeros(3);
            out.u64(m.generation);
        }
        Message::RequestForward(m) => super::encode(Version::V14, m.xid, &m.request, out)?,
        Message::BundleControl(m) => bundle::write_control(out, m),
        Message::BundleAdd(m) => bundle::write_add(Version::V14, out, m)?,
        other => v13::encode_body(other, out)?,
    }
    Ok(())
}

/// Codes of 1.3 that 1.4 calls by another name.
fn renamed(kind: ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::TableFeaturesFailed(TableFeaturesFailed::BadType) => BadProperty::BadType.into(),
        ErrorKind::TableFeaturesFailed(TableFeaturesFailed::BadLen) => BadProperty::BadLen.into(),
        ErrorKind::TableFeaturesFailed(TableFeaturesFailed::BadArgument) => BadProperty::BadValue.into(),
        other => other,
    }
}

/// Reads the body of a message of type `kind`; `r` is all of it.
pub(super) fn decode(kind: u8, mut r: Reader<'_>) -> Decoded<Message> {
    decode_body(kind, &mut r).map_err(renamed)
}

fn decode_body(kind: u8, r: &mut Reader<'_>) -> Decoded<Message> {
    let message = match kind {
        kind::QUEUE_GET_CONFIG_REQUEST | kind::QUEUE_GET_CONFIG_REPLY => {
            return Err(BadRequest::BadType.into());
        }
        kind::FLOW_MOD => Message::FlowMod(flow::read_flow_mod(Version::V14, r)?),
        kind::PORT_STATUS => Message::PortStatus(port::read_status(r)?),
        kind::PORT_MOD => Message::PortMod(port::read_mod(r)?),
        kind::TABLE_MOD => Message::TableMod(table::read_mod(r)?),
        kind::TABLE_STATUS => Message::TableStatus(table::read_status(r)?),
        kind::MULTIPART_REQUEST => Message::MultipartRequest(multipart::read_request(r)?),
        kind::MULTIPART_REPLY => Message::MultipartReply(multipart::read_reply(r)?),
        kind::GET_ASYNC_REPLY => {
            let mut config = AsyncConfig::NONE;
            config.apply(&read_async(r)?);
            Message::GetAsyncReply(config)
        }
        kind::SET_ASYNC => Message::SetAsync(read_async(r)?),
        kind::ROLE_STATUS => Message::RoleStatus(read_role_status(r)?),
        kind::REQUEST_FORWARD => Message::RequestForward(bundle::read_forward(r)?),
        kind::BUNDLE_CONTROL => Message::BundleControl(bundle::read_control(r)?),
        kind::BUNDLE_ADD => Message::BundleAdd(bundle::read_add(Version::V14, r)?),
        other => return v13::decode(other, *r),
    };
    r.finish()?;
    Ok(message)
}

/// The mask of a property of an asynchronous configuration (ofp_async_config_prop_type): those with even numbers hold
/// for slaves, the odd ones after them for masters and equals.
fn async_mask(change: &mut AsyncChange, kind: u16) -> Option<&mut Option<u32>> {
    let pair = match kind / 2 {
        0 => &mut change.packet_in,
        1 => &mut change.port_status,
        2 => &mut change.flow_removed,
        3 => &mut change.role_status,
        4 => &mut change.table_status,
        5 => &mut change.request_forward,
        _ => return None,
    };
    Some(&mut pair[usize::from(kind & 1 == 0)])
}

const ASYNC_KINDS: core::ops::Range<u16> = 0..12;

fn write_async(out: &mut Vec<u8>, change: &AsyncChange) {
    let mut change = *change;
    for kind in ASYNC_KINDS {
        if let Some(Some(mask)) = async_mask(&mut change, kind) {
            out.u16(kind);
            out.u16(8);
            out.u32(*mask);
        }
    }
}

fn read_async(r: &mut Reader<'_>) -> Decoded<AsyncChange> {
    let mut change = AsyncChange::default();
    property::read(r, |kind, body| {
        let mask = async_mask(&mut change, kind).ok_or(AsyncConfigFailed::Unsupported)?;
        if mask.is_some() {
            return Err(BadProperty::DupType.into());
        }
        *mask = Some(body.u32()?);
        Ok(Checked::Whole)
    })?;
    Ok(change)
}

fn read_role_status(r: &mut Reader<'_>) -> Decoded<RoleStatus> {
    let (role, reason) = (r.u32()?, r.u8()?);
    r.skip(3)?;
    let generation = r.u64()?;
    property::skip(r)?;
    let role = Role::from_number(role).ok_or(BadRequest::BadType)?;
    let reason = RoleReason::from_number(reason).ok_or(BadRequest::BadType)?;
    Ok(RoleStatus { role, reason, generation })
}
