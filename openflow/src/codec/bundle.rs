//! Messages within messages: bundles and forwarded requests (1.4 §7.3.9, §7.4.6; 1.3 has bundles as extension 230).

use super::reader::{Decoded, Reader};
use super::v14::kind;
use super::v14::property::{self, Checked};
use super::writer::Put;
use super::{EncodeError, HEADER_LEN, Header, v13};
use crate::error::{BadProperty, BadRequest, BundleFailed};
use crate::oxm::ONF;
use crate::{
    BundleAdd, BundleControl, BundleControlKind, BundleFlags, ErrorKind, Message, RequestForward, Version,
    Xid,
};

/// Numbers of the messages of extension 230 among those of the ONF, and of the first of its errors.
const EXT_CONTROL: u32 = 2300;
const EXT_ADD: u32 = 2301;
pub(in crate::codec) const EXT_ERROR: u16 = 2300;

pub(in crate::codec) fn write_control(out: &mut Vec<u8>, m: &BundleControl) {
    out.u32(m.bundle);
    out.u16(m.kind.number());
    out.u16(m.flags.0);
}

pub(in crate::codec) fn read_control(r: &mut Reader<'_>) -> Decoded<BundleControl> {
    let (bundle, kind, flags) = (r.u32()?, r.u16()?, BundleFlags(r.u16()?));
    let kind = BundleControlKind::from_number(kind).ok_or(BundleFailed::BadType)?;
    // Replies have odd numbers: what we do not know of those is passed over.
    if kind.number() & 1 == 0 {
        property::refuse(r)?
    } else {
        property::skip(r)?
    }
    if flags.unknown() != 0 {
        return Err(BundleFailed::BadFlags.into());
    }
    Ok(BundleControl { bundle, kind, flags })
}

pub(in crate::codec) fn write_add(
    version: Version,
    out: &mut Vec<u8>,
    m: &BundleAdd,
) -> Result<(), EncodeError> {
    out.u32(m.bundle);
    out.zeros(2);
    out.u16(m.flags.0);
    super::encode(version, m.xid, &m.message, out)
}

pub(in crate::codec) fn read_add(version: Version, r: &mut Reader<'_>) -> Decoded<BundleAdd> {
    let bundle = r.u32()?;
    r.skip(2)?;
    let flags = BundleFlags(r.u16()?);
    if flags.unknown() != 0 {
        return Err(BundleFailed::BadFlags.into());
    }
    let body = r.rest();
    let header = Header::parse(body).ok_or(BundleFailed::MsgBadLen)?;
    let len = usize::from(header.len);
    let bytes = body.get(..len).filter(|_| len >= HEADER_LEN).ok_or(BundleFailed::MsgBadLen)?;
    read_properties(&body[len..], len)?;
    // Messages that carry others would let a peer choose how deep we recurse.
    if carries(version, &header, bytes) {
        return Err(BundleFailed::MsgUnsup.into());
    }
    let (xid, message) = inner(version, bytes).map_err(|error| match error {
        ErrorKind::BadRequest(BadRequest::BadLen) => BundleFailed::MsgBadLen.into(),
        other => other,
    })?;
    Ok(BundleAdd { bundle, flags, xid, message })
}

/// What follows the message of `len` bytes in a bundle-add (1.4 §7.3.9.6): nothing, or zeros up to a multiple of 8 bytes
/// and properties. There are only those of experimenters, of which we know none; of anything else that stands there the
/// message's length is wrong.
fn read_properties(rest: &[u8], len: usize) -> Decoded<()> {
    if rest.is_empty() {
        return Ok(());
    }
    let (padding, properties) = rest.split_at_checked((8 - len % 8) % 8).ok_or(BundleFailed::MsgBadLen)?;
    let is_property = |kind, _: &mut Reader<'_>| match kind {
        property::EXPERIMENTER => Ok(Checked::Part),
        _ => Err(BundleFailed::MsgBadLen.into()),
    };
    let read = property::read(&mut Reader::new(properties, BadRequest::BadLen), is_property);
    if read.is_err() || properties.is_empty() || padding.iter().any(|&b| b != 0) {
        return Err(BundleFailed::MsgBadLen.into());
    }
    Err(BadProperty::BadExperimenter.into())
}

/// A message that carries others.
fn carries(version: Version, header: &Header, bytes: &[u8]) -> bool {
    match version {
        Version::V14 => {
            matches!(header.kind, kind::BUNDLE_CONTROL | kind::BUNDLE_ADD | kind::REQUEST_FORWARD)
        }
        _ => {
            let experimenter = bytes.get(HEADER_LEN..HEADER_LEN + 4);
            header.kind == v13::kind::EXPERIMENTER && experimenter == Some(&ONF.to_be_bytes())
        }
    }
}

/// The body of a message of extension 230; `None` if its number is not one of these.
pub(in crate::codec) fn read_extension(number: u32, r: &mut Reader<'_>) -> Decoded<Option<Message>> {
    Ok(Some(match number {
        EXT_CONTROL => Message::BundleControl(read_control(r)?),
        EXT_ADD => Message::BundleAdd(read_add(Version::V13, r)?),
        _ => return Ok(None),
    }))
}

pub(in crate::codec) fn write_extension(out: &mut Vec<u8>, message: &Message) -> Result<(), EncodeError> {
    out.u32(ONF);
    match message {
        Message::BundleControl(m) => {
            out.u32(EXT_CONTROL);
            write_control(out, m);
            Ok(())
        }
        Message::BundleAdd(m) => {
            out.u32(EXT_ADD);
            write_add(Version::V13, out, m)
        }
        _ => Err(EncodeError::NoSuchMessage(Version::V13)),
    }
}

pub(in crate::codec) fn read_forward(r: &mut Reader<'_>) -> Decoded<RequestForward> {
    let bytes = r.rest();
    let header = Header::parse(bytes).ok_or(BadRequest::BadLen)?;
    if !matches!(header.kind, kind::GROUP_MOD | kind::METER_MOD) {
        return Err(BadRequest::BadType.into());
    }
    let (xid, request) = inner(Version::V14, bytes)?;
    Ok(RequestForward { xid, request })
}

fn inner(version: Version, bytes: &[u8]) -> Decoded<(Xid, Box<Message>)> {
    match super::decode(version, bytes) {
        Ok((xid, message)) => Ok((xid, Box::new(message))),
        Err(refused) => Err(refused.error.kind),
    }
}
