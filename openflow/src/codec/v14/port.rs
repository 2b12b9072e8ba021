//! Ports and queues as lists of properties (1.4 §7.2.1, §7.2.2, §7.3.4.3, §7.3.5.7 to §7.3.5.9, §7.4.3).

use super::property::{self, Checked};
use crate::codec::reader::{Decoded, Reader};
use crate::codec::v13::port::read_config;
use crate::codec::v13::{read_duration, write_duration};
use crate::codec::writer::Put;
use crate::codec::{EncodeError, port as counters};
use crate::error::{BadProperty, BadRequest};
use crate::{
    MacAddr, PacketQueue, PortConfig, PortDesc, PortFeatures, PortMod, PortNo, PortReason, PortState,
    PortStats, PortStatus, QueueId, QueueStats,
};

/// The property of Ethernet ports, in descriptions, statistics and modifications.
const ETHERNET: u16 = 0;

pub(super) fn write_desc(out: &mut Vec<u8>, p: &PortDesc) -> Result<(), EncodeError> {
    let start = out.len();
    out.u32(p.port.0);
    out.zeros(4);
    out.bytes(&p.mac.0);
    out.zeros(2);
    out.name(&p.name);
    out.u32(p.config.0 & !PortConfig::NO_FLOOD.0);
    out.u32(p.state.0);
    out.u16(ETHERNET);
    out.u16(32);
    out.zeros(4);
    for features in [p.current, p.advertised, p.supported, p.peer] {
        out.u32(features.0);
    }
    out.u32(p.current_speed);
    out.u32(p.max_speed);
    out.patch_len(start + 4, start)
}

pub(super) fn read_desc(r: &mut Reader<'_>) -> Decoded<PortDesc> {
    let (port, len) = (PortNo(r.u32()?), usize::from(r.u16()?));
    let mut r = r.sub(len.checked_sub(6).ok_or(r.short())?, r.short())?;
    r.skip(2)?;
    let mac = MacAddr(r.array()?);
    r.skip(2)?;
    let mut desc = PortDesc::new(port, mac, r.name()?);
    desc.config = PortConfig(r.u32()? & !PortConfig::NO_FLOOD.0);
    desc.state = PortState(r.u32()?);
    property::read(&mut r, |kind, body| {
        if kind != ETHERNET {
            return Ok(Checked::Part);
        }
        body.skip(4)?;
        desc.current = PortFeatures(body.u32()?);
        desc.advertised = PortFeatures(body.u32()?);
        desc.supported = PortFeatures(body.u32()?);
        desc.peer = PortFeatures(body.u32()?);
        desc.current_speed = body.u32()?;
        desc.max_speed = body.u32()?;
        Ok(Checked::Whole)
    })?;
    Ok(desc)
}

pub(super) fn write_status(out: &mut Vec<u8>, m: &PortStatus) -> Result<(), EncodeError> {
    out.u8(m.reason.number());
    out.zeros(7);
    write_desc(out, &m.desc)
}

pub(super) fn read_status(r: &mut Reader<'_>) -> Decoded<PortStatus> {
    let reason = PortReason::from_number(r.u8()?).ok_or(BadRequest::BadType)?;
    r.skip(7)?;
    Ok(PortStatus { reason, desc: read_desc(r)? })
}

pub(super) fn write_mod(out: &mut Vec<u8>, m: &PortMod) {
    out.u32(m.port.0);
    out.zeros(4);
    out.bytes(&m.mac.0);
    out.zeros(2);
    out.u32(m.config.0 & !PortConfig::NO_FLOOD.0);
    out.u32(m.mask.0 & !PortConfig::NO_FLOOD.0);
    if !m.advertise.is_empty() {
        out.u16(ETHERNET);
        out.u16(8);
        out.u32(m.advertise.0);
    }
}

pub(super) fn read_mod(r: &mut Reader<'_>) -> Decoded<PortMod> {
    let port = PortNo(r.u32()?);
    r.skip(4)?;
    let mac = MacAddr(r.array()?);
    r.skip(2)?;
    let (config, mask) = read_config(r)?;
    let mut advertise = None;
    property::read(r, |kind, body| {
        if kind != ETHERNET {
            return Err(property::unknown(kind).into());
        }
        if advertise.replace(PortFeatures(body.u32()?)).is_some() {
            return Err(BadProperty::DupType.into());
        }
        Ok(Checked::Whole)
    })?;
    Ok(PortMod { port, mac, config, mask, advertise: advertise.unwrap_or(PortFeatures::NONE) })
}

pub(super) fn write_stats(out: &mut Vec<u8>, s: &PortStats) -> Result<(), EncodeError> {
    let start = out.len();
    out.zeros(4);
    out.u32(s.port.0);
    write_duration(out, s.duration);
    counters::write_counters(out, s);
    out.u16(ETHERNET);
    out.u16(40);
    out.zeros(4);
    counters::write_ethernet_counters(out, s);
    out.patch_len(start, start)
}

pub(super) fn read_stats(r: &mut Reader<'_>) -> Decoded<PortStats> {
    let len = usize::from(r.u16()?);
    let mut r = r.sub(len.checked_sub(2).ok_or(r.short())?, r.short())?;
    r.skip(2)?;
    let port = PortNo(r.u32()?);
    let duration = read_duration(&mut r)?;
    let mut stats = PortStats { duration, ..counters::read_counters(&mut r, port)? };
    property::read(&mut r, |kind, body| {
        if kind != ETHERNET {
            return Ok(Checked::Part);
        }
        body.skip(4)?;
        counters::read_ethernet_counters(body, &mut stats)?;
        Ok(Checked::Whole)
    })?;
    Ok(stats)
}

pub(super) fn write_queue_stats(out: &mut Vec<u8>, s: &QueueStats) -> Result<(), EncodeError> {
    let start = out.len();
    out.zeros(8);
    out.u32(s.port.0);
    out.u32(s.queue.0);
    counters::write_queue_counters(out, s);
    write_duration(out, s.duration);
    out.patch_len(start, start)
}

pub(super) fn read_queue_stats(r: &mut Reader<'_>) -> Decoded<QueueStats> {
    let len = usize::from(r.u16()?);
    let mut r = r.sub(len.checked_sub(2).ok_or(r.short())?, r.short())?;
    r.skip(6)?;
    let (port, queue) = (PortNo(r.u32()?), QueueId(r.u32()?));
    let mut stats = counters::read_queue_counters(&mut r, (port, queue))?;
    stats.duration = read_duration(&mut r)?;
    property::skip(&mut r)?;
    Ok(stats)
}

/// Properties of queues (ofp_queue_desc_prop_type).
const MIN_RATE: u16 = 1;
const MAX_RATE: u16 = 2;
/// A rate above this is "not configured".
const RATE_MAX: u16 = 1000;

pub(super) fn write_queue_desc(out: &mut Vec<u8>, q: &PacketQueue) -> Result<(), EncodeError> {
    let start = out.len();
    out.u32(q.port.0);
    out.u32(q.queue.0);
    out.zeros(8);
    for (kind, rate) in [(MIN_RATE, q.min_rate), (MAX_RATE, q.max_rate)] {
        let Some(rate) = rate else { continue };
        out.u16(kind);
        out.u16(8);
        out.u16(rate);
        out.zeros(2);
    }
    out.patch_len(start + 8, start)
}

pub(super) fn read_queue_desc(r: &mut Reader<'_>) -> Decoded<PacketQueue> {
    let (port, queue, len) = (PortNo(r.u32()?), QueueId(r.u32()?), usize::from(r.u16()?));
    let mut r = r.sub(len.checked_sub(10).ok_or(r.short())?, r.short())?;
    r.skip(6)?;
    let mut queue = PacketQueue { queue, port, min_rate: None, max_rate: None };
    property::read(&mut r, |kind, body| {
        let rate = match kind {
            MIN_RATE => &mut queue.min_rate,
            MAX_RATE => &mut queue.max_rate,
            _ => return Ok(Checked::Part),
        };
        *rate = Some(body.u16()?).filter(|&rate| rate <= RATE_MAX);
        body.skip(2)?;
        Ok(Checked::Whole)
    })?;
    Ok(queue)
}
