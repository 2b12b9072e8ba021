//! Statistics (1.0.1 §5.3.5), which later versions call multipart messages.

use super::flow::{read_flow, write_flow};
use super::matches::{self, read_match, write_match};
use super::{kind as message_kind, port};
use crate::codec::reader::{Decoded, Reader};
use crate::codec::v13::multipart::{
    Parts, read_aggregate, read_desc, write_aggregate, write_desc, write_experimenter,
};
use crate::codec::writer::Put;
use crate::codec::{EncodeError, v13};
use crate::error::BadRequest;
use crate::{
    Cookie, FlowStatsRequest, MultipartReply, MultipartRequest, Name, QueueId, Reply, Request, TableId,
    TableStats, Version, Xid,
};

/// Statistics types (ofp_stats_types), with one that Open vSwitch and its tools have beside them.
mod kind {
    pub const DESC: u16 = 0;
    pub const FLOW: u16 = 1;
    pub const AGGREGATE: u16 = 2;
    pub const TABLE: u16 = 3;
    pub const PORT: u16 = 4;
    pub const QUEUE: u16 = 5;
    pub const PORT_DESC: u16 = 13;
    pub const VENDOR: u16 = 0xffff;
}

/// Another part follows (OFPSF_REPLY_MORE); requests have no flags.
const MORE: u16 = 1;

pub(super) fn read_request(r: &mut Reader<'_>) -> Decoded<MultipartRequest> {
    let kind = r.u16()?;
    r.skip(2)?;
    let body = match kind {
        kind::DESC => Request::Desc,
        kind::FLOW => Request::Flow(read_flow_request(r)?),
        kind::AGGREGATE => Request::Aggregate(read_flow_request(r)?),
        kind::TABLE => Request::Table,
        kind::PORT => {
            let port = port::some_port(r.u16()?);
            r.skip(6)?;
            Request::PortStats(port)
        }
        kind::QUEUE => {
            let port = read_port_or_all(r)?;
            let queue = QueueId(r.u32()?);
            Request::Queue { port, queue: Some(queue).filter(|&q| q != QueueId::ALL) }
        }
        kind::PORT_DESC => Request::PortDesc,
        kind::VENDOR => read_vendor(r).map(|(experimenter, kind, data)| Request::Experimenter {
            experimenter,
            kind,
            data,
        })?,
        _ => return Err(BadRequest::BadMultipart.into()),
    };
    Ok(MultipartRequest { more: false, body })
}

/// A port and padding; for all of them OFPP_ALL, which is OFPP_NONE in some tools.
fn read_port_or_all(r: &mut Reader<'_>) -> Decoded<Option<crate::PortNo>> {
    let port = port::some_port(r.u16()?);
    r.skip(2)?;
    Ok(port.filter(|&port| port != crate::ports::ALL))
}

/// Who defined it, and the rest; the first word of that is what later versions call its type.
pub(super) fn read_vendor(r: &mut Reader<'_>) -> Decoded<(u32, u32, Vec<u8>)> {
    let vendor = r.u32()?;
    let kind = if r.remaining() < 4 { 0 } else { r.u32()? };
    Ok((vendor, kind, r.rest().to_vec()))
}

pub(super) fn write_request(out: &mut Vec<u8>, m: &MultipartRequest) -> Result<(), EncodeError> {
    if m.more {
        return Err(EncodeError::Inexpressible(Version::V10));
    }
    let at = out.len();
    out.u32(0);
    let kind = match &m.body {
        Request::Desc => kind::DESC,
        Request::Flow(request) => write_flow_request(out, request).map(|()| kind::FLOW)?,
        Request::Aggregate(request) => write_flow_request(out, request).map(|()| kind::AGGREGATE)?,
        Request::Table => kind::TABLE,
        Request::PortStats(port) => {
            out.u16(port::any_port(*port)?);
            out.zeros(6);
            kind::PORT
        }
        Request::Queue { port, queue } => {
            out.u16(port::any_port(Some(port.unwrap_or(crate::ports::ALL)))?);
            out.zeros(2);
            out.u32(queue.unwrap_or(QueueId::ALL).0);
            kind::QUEUE
        }
        Request::PortDesc => kind::PORT_DESC,
        Request::Experimenter { experimenter, kind, data } => {
            write_experimenter(out, *experimenter, *kind, data);
            kind::VENDOR
        }
        _ => return Err(EncodeError::NoSuchMessage(Version::V10)),
    };
    out[at..at + 2].copy_from_slice(&kind.to_be_bytes());
    Ok(())
}

fn read_flow_request(r: &mut Reader<'_>) -> Decoded<FlowStatsRequest> {
    let matches = read_match(r)?;
    let table = TableId(r.u8()?);
    r.skip(1)?;
    let out_port = port::some_port(r.u16()?);
    Ok(FlowStatsRequest { table, out_port, out_group: None, cookie: Cookie(0), cookie_mask: 0, matches })
}

fn write_flow_request(out: &mut Vec<u8>, m: &FlowStatsRequest) -> Result<(), EncodeError> {
    if m.cookie_mask != 0 || m.out_group.is_some() {
        return Err(EncodeError::Inexpressible(Version::V10));
    }
    write_match(out, &m.matches)?;
    out.u8(m.table.0);
    out.zeros(1);
    out.u16(port::any_port(m.out_port)?);
    Ok(())
}

pub(super) fn read_reply(r: &mut Reader<'_>) -> Decoded<MultipartReply> {
    let (kind, flags) = (r.u16()?, r.u16()?);
    let body = match kind {
        kind::DESC => Reply::Desc(read_desc(r)?),
        kind::FLOW => Reply::Flow(r.list(read_flow)?),
        kind::AGGREGATE => Reply::Aggregate(read_aggregate(r)?),
        kind::TABLE => Reply::Table(r.list(read_table)?),
        kind::PORT => Reply::PortStats(r.list(port::read_stats)?),
        kind::QUEUE => Reply::Queue(r.list(port::read_queue_stats)?),
        kind::PORT_DESC => Reply::PortDesc(r.list(port::read_desc)?),
        kind::VENDOR => read_vendor(r).map(|(experimenter, kind, data)| Reply::Experimenter {
            experimenter,
            kind,
            data,
        })?,
        _ => return Err(BadRequest::BadMultipart.into()),
    };
    Ok(MultipartReply { more: flags & MORE != 0, body })
}

pub(super) fn write_reply(xid: Xid, m: &MultipartReply, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let kind = match &m.body {
        Reply::Desc(_) => kind::DESC,
        Reply::Flow(_) => kind::FLOW,
        Reply::Aggregate(_) => kind::AGGREGATE,
        Reply::Table(_) => kind::TABLE,
        Reply::PortStats(_) => kind::PORT,
        Reply::Queue(_) => kind::QUEUE,
        Reply::PortDesc(_) => kind::PORT_DESC,
        Reply::Experimenter { .. } => kind::VENDOR,
        _ => return Err(EncodeError::NoSuchMessage(Version::V10)),
    };
    let header = v13::multipart::PartHeader {
        version: Version::V10,
        message: message_kind::STATS_REPLY,
        kind,
        more: m.more,
        padding: 0,
    };
    let mut parts = Parts::with_header(header, xid, out);
    match &m.body {
        Reply::Desc(desc) => write_desc(parts.out, desc),
        // Flows, ports and queues that have no form here are left out.
        Reply::Flow(all) => parts.each_expressible(all, write_flow)?,
        Reply::Aggregate(stats) => write_aggregate(parts.out, stats),
        Reply::Table(all) => parts.each_plain(all, write_table)?,
        Reply::PortStats(all) => parts.each_expressible(all, port::write_stats)?,
        Reply::Queue(all) => parts.each_expressible(all, port::write_queue_stats)?,
        Reply::PortDesc(all) => parts.each_expressible(all, port::write_desc)?,
        Reply::Experimenter { experimenter, kind, data } => {
            write_experimenter(parts.out, *experimenter, *kind, data);
        }
        _ => {}
    }
    parts.close()
}

fn write_table(out: &mut Vec<u8>, s: &TableStats) {
    out.u8(s.table.0);
    out.zeros(3);
    out.name(&Name::<32>::from(format!("table{}", s.table)));
    // What can be wildcarded: everything.
    out.u32(matches::ALL);
    out.u32(s.max_entries);
    out.u32(s.active);
    out.u64(s.lookups);
    out.u64(s.matched);
}

fn read_table(r: &mut Reader<'_>) -> Decoded<TableStats> {
    let table = TableId(r.u8()?);
    r.skip(3 + 32 + 4)?;
    Ok(TableStats { table, max_entries: r.u32()?, active: r.u32()?, lookups: r.u64()?, matched: r.u64()? })
}
