//! Multipart requests and replies (§7.3.5).

use super::action::{read_instructions, write_instructions};
use super::flow::{any_group, some_group};
use super::oxm::{read_match, read_reported_match, write_match};
use super::{any_port, group, port, read_duration, read_port_request, some_port, table, write_duration};
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::codec::{EncodeError, MAX_LEN, begin, finish, lower};
use crate::error::BadRequest;
use crate::{
    AggregateStats, Cookie, FlowModFlags, FlowStats, FlowStatsRequest, GroupId, MeterId, MultipartReply,
    MultipartRequest, Priority, QueueId, Reply, Request, SwitchDesc, TableId, Version, Xid,
};

/// Multipart types (ofp_multipart_type).
pub(in crate::codec) mod kind {
    pub const DESC: u16 = 0;
    pub const FLOW: u16 = 1;
    pub const AGGREGATE: u16 = 2;
    pub const TABLE: u16 = 3;
    pub const PORT_STATS: u16 = 4;
    pub const QUEUE: u16 = 5;
    pub const GROUP: u16 = 6;
    pub const GROUP_DESC: u16 = 7;
    pub const GROUP_FEATURES: u16 = 8;
    pub const METER: u16 = 9;
    pub const METER_CONFIG: u16 = 10;
    pub const METER_FEATURES: u16 = 11;
    pub const TABLE_FEATURES: u16 = 12;
    pub const PORT_DESC: u16 = 13;
    pub const EXPERIMENTER: u16 = 0xffff;
}

/// Another part follows (OFPMPF_REQ_MORE, OFPMPF_REPLY_MORE).
const MORE: u16 = 1;

pub(in crate::codec) fn read_header(r: &mut Reader<'_>) -> Decoded<(u16, bool)> {
    let (kind, flags) = (r.u16()?, r.u16()?);
    r.skip(4)?;
    Ok((kind, flags & MORE != 0))
}

pub(in crate::codec) fn write_header(out: &mut Vec<u8>, kind: u16, more: bool) {
    out.u16(kind);
    out.u16(if more { MORE } else { 0 });
    out.zeros(4);
}

pub(in crate::codec) fn read_request(r: &mut Reader<'_>) -> Decoded<MultipartRequest> {
    let (kind, more) = read_header(r)?;
    Ok(MultipartRequest { more, body: read_request_body(kind, r)? })
}

pub(in crate::codec) fn read_request_body(kind: u16, r: &mut Reader<'_>) -> Decoded<Request> {
    Ok(match kind {
        kind::DESC => Request::Desc,
        kind::FLOW => Request::Flow(read_flow_request(r)?),
        kind::AGGREGATE => Request::Aggregate(read_flow_request(r)?),
        kind::TABLE => Request::Table,
        kind::PORT_STATS => Request::PortStats(read_port_request(r)?),
        kind::QUEUE => {
            let (port, queue) = (some_port(r.u32()?), QueueId(r.u32()?));
            Request::Queue { port, queue: Some(queue).filter(|&q| q != QueueId::ALL) }
        }
        kind::GROUP => Request::Group(GroupId(read_id(r)?)),
        kind::GROUP_DESC => Request::GroupDesc,
        kind::GROUP_FEATURES => Request::GroupFeatures,
        kind::METER => Request::Meter(MeterId(read_id(r)?)),
        kind::METER_CONFIG => Request::MeterConfig(MeterId(read_id(r)?)),
        kind::METER_FEATURES => Request::MeterFeatures,
        kind::TABLE_FEATURES => Request::TableFeatures(r.list(table::read_wanted)?),
        kind::PORT_DESC => Request::PortDesc,
        kind::EXPERIMENTER => {
            Request::Experimenter { experimenter: r.u32()?, kind: r.u32()?, data: r.rest().to_vec() }
        }
        _ => return Err(BadRequest::BadMultipart.into()),
    })
}

/// A number and padding.
fn read_id(r: &mut Reader<'_>) -> Decoded<u32> {
    let id = r.u32()?;
    r.skip(4)?;
    Ok(id)
}

pub(in crate::codec) fn write_request(out: &mut Vec<u8>, m: &MultipartRequest) -> Result<(), EncodeError> {
    let at = out.len();
    write_header(out, 0, m.more);
    let id = |out: &mut Vec<u8>, id: u32| {
        out.u32(id);
        out.zeros(4);
    };
    let kind = match &m.body {
        Request::Desc => kind::DESC,
        Request::Flow(request) => write_flow_request(out, request).map(|()| kind::FLOW)?,
        Request::Aggregate(request) => write_flow_request(out, request).map(|()| kind::AGGREGATE)?,
        Request::Table => kind::TABLE,
        Request::PortStats(port) => {
            id(out, any_port(*port));
            kind::PORT_STATS
        }
        Request::Queue { port, queue } => {
            out.u32(any_port(*port));
            out.u32(queue.unwrap_or(QueueId::ALL).0);
            kind::QUEUE
        }
        Request::Group(group) => {
            id(out, group.0);
            kind::GROUP
        }
        Request::GroupDesc => kind::GROUP_DESC,
        Request::GroupFeatures => kind::GROUP_FEATURES,
        Request::Meter(meter) => {
            id(out, meter.0);
            kind::METER
        }
        Request::MeterConfig(meter) => {
            id(out, meter.0);
            kind::METER_CONFIG
        }
        Request::MeterFeatures => kind::METER_FEATURES,
        Request::TableFeatures(tables) => {
            tables.iter().try_for_each(|t| table::write_features(out, t))?;
            kind::TABLE_FEATURES
        }
        Request::PortDesc => kind::PORT_DESC,
        Request::TableDesc | Request::QueueDesc { .. } => {
            return Err(EncodeError::NoSuchMessage(Version::V13));
        }
        Request::Experimenter { experimenter, kind, data } => {
            write_experimenter(out, *experimenter, *kind, data);
            kind::EXPERIMENTER
        }
    };
    out[at..at + 2].copy_from_slice(&kind.to_be_bytes());
    Ok(())
}

pub(in crate::codec) fn write_experimenter(out: &mut Vec<u8>, experimenter: u32, kind: u32, data: &[u8]) {
    out.u32(experimenter);
    out.u32(kind);
    out.bytes(data);
}

fn read_flow_request(r: &mut Reader<'_>) -> Decoded<FlowStatsRequest> {
    let table = TableId(r.u8()?);
    r.skip(3)?;
    let (out_port, out_group) = (some_port(r.u32()?), some_group(r.u32()?));
    r.skip(4)?;
    let (cookie, cookie_mask) = (Cookie(r.u64()?), r.u64()?);
    Ok(FlowStatsRequest { table, out_port, out_group, cookie, cookie_mask, matches: read_match(r)? })
}

fn write_flow_request(out: &mut Vec<u8>, m: &FlowStatsRequest) -> Result<(), EncodeError> {
    out.u8(m.table.0);
    out.zeros(3);
    out.u32(any_port(m.out_port));
    out.u32(any_group(m.out_group));
    out.zeros(4);
    out.u64(m.cookie.0);
    out.u64(m.cookie_mask);
    write_match(out, &m.matches)
}

pub(in crate::codec) fn read_reply(r: &mut Reader<'_>) -> Decoded<MultipartReply> {
    let (kind, more) = read_header(r)?;
    Ok(MultipartReply { more, body: read_reply_body(kind, r)? })
}

pub(in crate::codec) fn read_reply_body(kind: u16, r: &mut Reader<'_>) -> Decoded<Reply> {
    Ok(match kind {
        kind::DESC => Reply::Desc(read_desc(r)?),
        kind::FLOW => Reply::Flow(r.list(|r| read_flow(Version::V13, r))?),
        kind::AGGREGATE => Reply::Aggregate(read_aggregate(r)?),
        kind::TABLE => Reply::Table(r.list(table::read_stats)?),
        kind::PORT_STATS => Reply::PortStats(r.list(port::read_stats)?),
        kind::QUEUE => Reply::Queue(r.list(port::read_queue_stats)?),
        kind::GROUP => Reply::Group(r.list(group::read_group_stats)?),
        kind::GROUP_DESC => Reply::GroupDesc(r.list(group::read_group_desc)?),
        kind::GROUP_FEATURES => Reply::GroupFeatures(group::read_group_features(r)?),
        kind::METER => Reply::Meter(r.list(group::read_meter_stats)?),
        kind::METER_CONFIG => Reply::MeterConfig(r.list(group::read_meter_config)?),
        kind::METER_FEATURES => Reply::MeterFeatures(group::read_meter_features(r)?),
        kind::TABLE_FEATURES => Reply::TableFeatures(r.list(table::read_features)?),
        kind::PORT_DESC => Reply::PortDesc(r.list(port::read_desc)?),
        kind::EXPERIMENTER => {
            Reply::Experimenter { experimenter: r.u32()?, kind: r.u32()?, data: r.rest().to_vec() }
        }
        _ => return Err(BadRequest::BadMultipart.into()),
    })
}

/// Writes the parts of one reply. Each starts a message; the last has the caller's `more`.
pub(in crate::codec) struct Parts<'a> {
    header: PartHeader,
    xid: Xid,
    pub out: &'a mut Vec<u8>,
    /// Where the part being written starts.
    start: usize,
}

/// How the parts of a reply begin.
#[derive(Clone, Copy)]
pub(in crate::codec) struct PartHeader {
    pub version: Version,
    /// Type of the message.
    pub message: u8,
    /// Type of the reply.
    pub kind: u16,
    pub more: bool,
    /// Bytes behind the flags.
    pub padding: usize,
}

/// Where the flags stand in a part.
const FLAGS_AT: usize = 10;

impl<'a> Parts<'a> {
    /// Starts a reply of a kind, with the caller's `more`.
    pub fn new(version: Version, xid: Xid, (kind, more): (u16, bool), out: &'a mut Vec<u8>) -> Self {
        let message = super::kind::MULTIPART_REPLY;
        Self::with_header(PartHeader { version, message, kind, more, padding: 4 }, xid, out)
    }

    /// Starts a reply whose parts begin like this.
    pub fn with_header(header: PartHeader, xid: Xid, out: &'a mut Vec<u8>) -> Self {
        let mut parts = Self { header, xid, out, start: 0 };
        parts.open();
        parts
    }

    /// Ends the last part.
    pub fn close(self) -> Result<(), EncodeError> {
        finish(self.out, self.start)
    }

    fn open(&mut self) {
        let PartHeader { version, message, kind, more, padding } = self.header;
        self.start = begin(version, message, self.xid, self.out);
        self.out.u16(kind);
        self.out.u16(if more { MORE } else { 0 });
        self.out.zeros(padding);
    }

    /// Adds an entry, closing the part before it if it would become too long.
    fn entry(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let before = self.out.len();
        write(self.out)?;
        if self.out.len() - self.start <= MAX_LEN {
            return Ok(());
        }
        let entry = self.out.split_off(before);
        let flags = self.start + FLAGS_AT;
        self.out[flags..flags + 2].copy_from_slice(&MORE.to_be_bytes());
        finish(self.out, self.start)?;
        self.open();
        self.out.bytes(&entry);
        if self.out.len() - self.start <= MAX_LEN { Ok(()) } else { Err(EncodeError::TooLong) }
    }

    pub fn each<T>(
        &mut self,
        all: &[T],
        write: impl Fn(&mut Vec<u8>, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        all.iter().try_for_each(|one| self.entry(|out| write(out, one)))
    }

    /// As `each`, leaving out entries that the version cannot say.
    pub fn each_expressible<T>(
        &mut self,
        all: &[T],
        write: impl Fn(&mut Vec<u8>, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.each(all, |out, one| {
            let before = out.len();
            match write(out, one) {
                Err(EncodeError::Inexpressible(_)) => {
                    out.truncate(before);
                    Ok(())
                }
                done => done,
            }
        })
    }

    /// As `each`, for entries that cannot be too long.
    pub fn each_plain<T>(&mut self, all: &[T], write: impl Fn(&mut Vec<u8>, &T)) -> Result<(), EncodeError> {
        self.each(all, |out, one| {
            write(out, one);
            Ok(())
        })
    }
}

pub(in crate::codec) fn write_reply(
    xid: Xid,
    m: &MultipartReply,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let kind = kind_of(&m.body).ok_or(EncodeError::NoSuchMessage(Version::V13))?;
    let mut parts = Parts::new(Version::V13, xid, (kind, m.more), out);
    write_reply_body(&mut parts, &m.body)?;
    parts.close()
}

pub(in crate::codec) fn write_reply_body(parts: &mut Parts<'_>, body: &Reply) -> Result<(), EncodeError> {
    match body {
        Reply::Desc(desc) => write_desc(parts.out, desc),
        Reply::Flow(all) => return parts.each(all, |out, s| write_flow(Version::V13, out, s)),
        Reply::Aggregate(stats) => write_aggregate(parts.out, stats),
        Reply::Table(all) => return parts.each_plain(all, table::write_stats),
        Reply::PortStats(all) => return parts.each_plain(all, port::write_stats),
        Reply::Queue(all) => return parts.each_plain(all, port::write_queue_stats),
        Reply::Group(all) => return parts.each(all, group::write_group_stats),
        Reply::GroupDesc(all) => return parts.each(all, group::write_group_desc),
        Reply::GroupFeatures(features) => group::write_group_features(parts.out, features),
        Reply::Meter(all) => return parts.each(all, group::write_meter_stats),
        Reply::MeterConfig(all) => return parts.each(all, group::write_meter_config),
        Reply::MeterFeatures(features) => group::write_meter_features(parts.out, features),
        Reply::TableFeatures(all) => return parts.each(all, table::write_features),
        Reply::PortDesc(all) => return parts.each_plain(all, port::write_desc),
        Reply::Experimenter { experimenter, kind, data } => {
            write_experimenter(parts.out, *experimenter, *kind, data);
        }
        Reply::TableDesc(_) | Reply::QueueDesc(_) => return Err(EncodeError::NoSuchMessage(Version::V13)),
    }
    Ok(())
}

/// `None` for what came after 1.3.
pub(in crate::codec) fn kind_of(body: &Reply) -> Option<u16> {
    Some(match body {
        Reply::Desc(_) => kind::DESC,
        Reply::Flow(_) => kind::FLOW,
        Reply::Aggregate(_) => kind::AGGREGATE,
        Reply::Table(_) => kind::TABLE,
        Reply::PortStats(_) => kind::PORT_STATS,
        Reply::Queue(_) => kind::QUEUE,
        Reply::Group(_) => kind::GROUP,
        Reply::GroupDesc(_) => kind::GROUP_DESC,
        Reply::GroupFeatures(_) => kind::GROUP_FEATURES,
        Reply::Meter(_) => kind::METER,
        Reply::MeterConfig(_) => kind::METER_CONFIG,
        Reply::MeterFeatures(_) => kind::METER_FEATURES,
        Reply::TableFeatures(_) => kind::TABLE_FEATURES,
        Reply::PortDesc(_) => kind::PORT_DESC,
        Reply::Experimenter { .. } => kind::EXPERIMENTER,
        Reply::TableDesc(_) | Reply::QueueDesc(_) => return None,
    })
}

pub(in crate::codec) fn write_desc(out: &mut Vec<u8>, d: &SwitchDesc) {
    for text in [&d.manufacturer, &d.hardware, &d.software] {
        out.name(text);
    }
    out.name(&d.serial);
    out.name(&d.datapath);
}

pub(in crate::codec) fn read_desc(r: &mut Reader<'_>) -> Decoded<SwitchDesc> {
    Ok(SwitchDesc {
        manufacturer: r.name()?,
        hardware: r.name()?,
        software: r.name()?,
        serial: r.name()?,
        datapath: r.name()?,
    })
}

pub(in crate::codec) fn write_flow(
    version: Version,
    out: &mut Vec<u8>,
    s: &FlowStats,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.u16(0);
    out.u8(s.table.0);
    out.zeros(1);
    write_duration(out, s.duration);
    out.u16(s.priority.0);
    out.u16(s.idle_timeout);
    out.u16(s.hard_timeout);
    out.u16(s.flags.0);
    out.u16(if version == Version::V14 { s.importance } else { 0 });
    out.zeros(2);
    out.u64(s.cookie.0);
    out.u64(s.packets);
    out.u64(s.bytes);
    write_match(out, &s.matches)?;
    write_instructions(out, &lower::instructions(&s.matches, &s.instructions))?;
    out.patch_len(start, start)
}

pub(in crate::codec) fn read_flow(version: Version, r: &mut Reader<'_>) -> Decoded<FlowStats> {
    let len = usize::from(r.u16()?);
    let mut r = r.sub(len.checked_sub(2).ok_or(r.short())?, r.short())?;
    let table = TableId(r.u8()?);
    r.skip(1)?;
    let duration = read_duration(&mut r)?;
    let (priority, idle_timeout, hard_timeout) = (Priority(r.u16()?), r.u16()?, r.u16()?);
    let flags = FlowModFlags(r.u16()?);
    // Padding in 1.3.
    let importance = Some(r.u16()?).filter(|_| version == Version::V14).unwrap_or(0);
    r.skip(2)?;
    Ok(FlowStats {
        table,
        duration,
        priority,
        idle_timeout,
        hard_timeout,
        flags,
        importance,
        cookie: Cookie(r.u64()?),
        packets: r.u64()?,
        bytes: r.u64()?,
        matches: read_reported_match(&mut r)?,
        instructions: read_instructions(&mut r)?,
    })
}

pub(in crate::codec) fn write_aggregate(out: &mut Vec<u8>, s: &AggregateStats) {
    out.u64(s.packets);
    out.u64(s.bytes);
    out.u32(s.flows);
    out.zeros(4);
}

pub(in crate::codec) fn read_aggregate(r: &mut Reader<'_>) -> Decoded<AggregateStats> {
    let (packets, bytes, flows) = (r.u64()?, r.u64()?, r.u32()?);
    r.skip(4)?;
    Ok(AggregateStats { packets, bytes, flows })
}
