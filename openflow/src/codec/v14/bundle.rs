//! Messages within messages: bundles and forwarded requests (1.4 §7.3.9, §7.4.6).

use super::{kind, property};
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::codec::{self, EncodeError, Header};
use crate::error::{BadRequest, BundleFailed};
use crate::{
    BundleAdd, BundleControl, BundleControlKind, BundleFlags, Message, RequestForward, Version, Xid,
};

pub(super) fn write_control(out: &mut Vec<u8>, m: &BundleControl) {
    out.u32(m.bundle);
    out.u16(m.kind.number());
    out.u16(m.flags.0);
}

pub(super) fn read_control(r: &mut Reader<'_>) -> Decoded<BundleControl> {
    let (bundle, kind, flags) = (r.u32()?, r.u16()?, BundleFlags(r.u16()?));
    property::skip(r)?;
    let kind = BundleControlKind::from_number(kind).ok_or(BundleFailed::BadType)?;
    if flags.unknown() != 0 {
        return Err(BundleFailed::BadFlags.into());
    }
    Ok(BundleControl { bundle, kind, flags })
}

pub(super) fn write_add(out: &mut Vec<u8>, m: &BundleAdd) -> Result<(), EncodeError> {
    out.u32(m.bundle);
    out.zeros(2);
    out.u16(m.flags.0);
    codec::encode(Version::V14, m.xid, &m.message, out)
}

pub(super) fn read_add(r: &mut Reader<'_>) -> Decoded<BundleAdd> {
    let bundle = r.u32()?;
    r.skip(2)?;
    let flags = BundleFlags(r.u16()?);
    if flags.unknown() != 0 {
        return Err(BundleFailed::BadFlags.into());
    }
    let body = r.rest();
    let header = Header::parse(body).ok_or(BundleFailed::MsgBadLen)?;
    let len = usize::from(header.len);
    let bytes = body.get(..len).ok_or(BundleFailed::MsgBadLen)?;
    // Messages that carry others would let a peer choose how deep we recurse.
    if matches!(header.kind, kind::BUNDLE_CONTROL | kind::BUNDLE_ADD | kind::REQUEST_FORWARD) {
        return Err(BundleFailed::MsgUnsup.into());
    }
    // Properties follow the message, behind its padding.
    let padded = len.next_multiple_of(8).min(body.len());
    property::skip(&mut Reader::new(&body[padded..], BadRequest::BadLen))?;
    let (xid, message) = inner(bytes)?;
    Ok(BundleAdd { bundle, flags, xid, message })
}

pub(super) fn read_forward(r: &mut Reader<'_>) -> Decoded<RequestForward> {
    let bytes = r.rest();
    let header = Header::parse(bytes).ok_or(BadRequest::BadLen)?;
    if !matches!(header.kind, kind::GROUP_MOD | kind::METER_MOD) {
        return Err(BadRequest::BadType.into());
    }
    let (xid, request) = inner(bytes)?;
    Ok(RequestForward { xid, request })
}

fn inner(bytes: &[u8]) -> Decoded<(Xid, Box<Message>)> {
    match codec::decode(Version::V14, bytes) {
        Ok((xid, message)) => Ok((xid, Box::new(message))),
        Err(refused) => Err(refused.error.kind),
    }
}
