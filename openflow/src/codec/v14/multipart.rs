//! Multipart requests and replies (1.4 §7.3.5): those that differ from 1.3.

use super::{port, table};
use crate::codec::EncodeError;
use crate::codec::reader::{Decoded, Reader};
use crate::codec::v13::multipart::{self as v13, Parts, read_header, write_header};
use crate::codec::v13::{any_port, some_port};
use crate::codec::writer::Put;
use crate::{MultipartReply, MultipartRequest, QueueId, Reply, Request, Version, Xid};

/// Multipart types (ofp_multipart_type): those of 1.3 and these. Flow monitors (16) are refused.
mod kind {
    pub use crate::codec::v13::multipart::kind::*;

    pub const TABLE_DESC: u16 = 14;
    pub const QUEUE_DESC: u16 = 15;
}

pub(super) fn read_request(r: &mut Reader<'_>) -> Decoded<MultipartRequest> {
    let (kind, more) = read_header(r)?;
    let body = match kind {
        kind::TABLE_DESC => Request::TableDesc,
        kind::QUEUE_DESC => {
            let (port, queue) = (some_port(r.u32()?), QueueId(r.u32()?));
            Request::QueueDesc { port, queue: Some(queue).filter(|&q| q != QueueId::ALL) }
        }
        other => v13::read_request_body(other, r)?,
    };
    Ok(MultipartRequest { more, body })
}

pub(super) fn write_request(out: &mut Vec<u8>, m: &MultipartRequest) -> Result<(), EncodeError> {
    match &m.body {
        Request::TableDesc => write_header(out, kind::TABLE_DESC, m.more),
        Request::QueueDesc { port, queue } => {
            write_header(out, kind::QUEUE_DESC, m.more);
            out.u32(any_port(*port));
            out.u32(queue.unwrap_or(QueueId::ALL).0);
        }
        _ => v13::write_request(out, m)?,
    }
    Ok(())
}

pub(super) fn read_reply(r: &mut Reader<'_>) -> Decoded<MultipartReply> {
    let (kind, more) = read_header(r)?;
    let body = match kind {
        kind::FLOW => Reply::Flow(r.list(|r| v13::read_flow(Version::V14, r))?),
        kind::PORT_STATS => Reply::PortStats(r.list(port::read_stats)?),
        kind::QUEUE => Reply::Queue(r.list(port::read_queue_stats)?),
        kind::PORT_DESC => Reply::PortDesc(r.list(port::read_desc)?),
        kind::TABLE_DESC => Reply::TableDesc(r.list(table::read_desc)?),
        kind::QUEUE_DESC => Reply::QueueDesc(r.list(port::read_queue_desc)?),
        other => v13::read_reply_body(other, r)?,
    };
    Ok(MultipartReply { more, body })
}

pub(super) fn write_reply(xid: Xid, m: &MultipartReply, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let kind = match &m.body {
        Reply::TableDesc(_) => kind::TABLE_DESC,
        Reply::QueueDesc(_) => kind::QUEUE_DESC,
        other => v13::kind_of(other).ok_or(EncodeError::NoSuchMessage(Version::V14))?,
    };
    let mut parts = Parts::new(Version::V14, xid, (kind, m.more), out);
    match &m.body {
        Reply::Flow(all) => parts.each(all, |out, s| v13::write_flow(Version::V14, out, s))?,
        Reply::PortStats(all) => parts.each(all, port::write_stats)?,
        Reply::Queue(all) => parts.each(all, port::write_queue_stats)?,
        Reply::PortDesc(all) => parts.each(all, port::write_desc)?,
        Reply::TableDesc(all) => parts.each(all, table::write_desc)?,
        Reply::QueueDesc(all) => parts.each(all, port::write_queue_desc)?,
        other => v13::write_reply_body(&mut parts, other)?,
    }
    parts.close()
}
