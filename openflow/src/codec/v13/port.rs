//! Ports and queues (§7.2.1, §7.2.2, §7.3.4.3, §7.3.5.6 to §7.3.5.8, §7.4.3).

use super::{any_port, read_duration, some_port, write_duration};
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::codec::{EncodeError, port as counters};
use crate::error::{BadRequest, PortModFailed};
use crate::{
    MacAddr, PacketQueue, PortConfig, PortDesc, PortFeatures, PortMod, PortNo, PortReason, PortState,
    PortStats, PortStatus, QueueConfig, QueueId, QueueStats,
};

pub(in crate::codec) fn write_desc(out: &mut Vec<u8>, p: &PortDesc) {
    out.u32(p.port.0);
    out.zeros(4);
    out.bytes(&p.mac.0);
    out.zeros(2);
    out.name(&p.name);
    out.u32(p.config.0 & !PortConfig::NO_FLOOD.0);
    out.u32(p.state.0);
    for features in [p.current, p.advertised, p.supported, p.peer] {
        out.u32(features.0);
    }
    out.u32(p.current_speed);
    out.u32(p.max_speed);
}

pub(in crate::codec) fn read_desc(r: &mut Reader<'_>) -> Decoded<PortDesc> {
    let port = PortNo(r.u32()?);
    r.skip(4)?;
    let mac = MacAddr(r.array()?);
    r.skip(2)?;
    Ok(PortDesc {
        port,
        mac,
        name: r.name()?,
        config: PortConfig(r.u32()? & !PortConfig::NO_FLOOD.0),
        state: PortState(r.u32()?),
        current: PortFeatures(r.u32()?),
        advertised: PortFeatures(r.u32()?),
        supported: PortFeatures(r.u32()?),
        peer: PortFeatures(r.u32()?),
        current_speed: r.u32()?,
        max_speed: r.u32()?,
    })
}

pub(in crate::codec) fn write_status(out: &mut Vec<u8>, m: &PortStatus) {
    out.u8(m.reason.number());
    out.zeros(7);
    write_desc(out, &m.desc);
}

pub(in crate::codec) fn read_status(r: &mut Reader<'_>) -> Decoded<PortStatus> {
    let reason = PortReason::from_number(r.u8()?).ok_or(BadRequest::BadType)?;
    r.skip(7)?;
    Ok(PortStatus { reason, desc: read_desc(r)? })
}

pub(in crate::codec) fn write_mod(out: &mut Vec<u8>, m: &PortMod) {
    out.u32(m.port.0);
    out.zeros(4);
    out.bytes(&m.mac.0);
    out.zeros(2);
    out.u32(m.config.0 & !PortConfig::NO_FLOOD.0);
    out.u32(m.mask.0 & !PortConfig::NO_FLOOD.0);
    out.u32(m.advertise.0);
    out.zeros(4);
}

pub(in crate::codec) fn read_mod(r: &mut Reader<'_>) -> Decoded<PortMod> {
    let port = PortNo(r.u32()?);
    r.skip(4)?;
    let mac = MacAddr(r.array()?);
    r.skip(2)?;
    let (config, mask) = read_config(r)?;
    let advertise = PortFeatures(r.u32()?);
    r.skip(4)?;
    Ok(PortMod { port, mac, config, mask, advertise })
}

/// Bits and which of them to change. What only 1.0 knows is unknown here.
pub(in crate::codec) fn read_config(r: &mut Reader<'_>) -> Decoded<(PortConfig, PortConfig)> {
    let (config, mask) = (PortConfig(r.u32()?), PortConfig(r.u32()?));
    if (config.0 | mask.0) & PortConfig::NO_FLOOD.0 != 0 {
        return Err(PortModFailed::BadConfig.into());
    }
    Ok((config, mask))
}

pub(in crate::codec) fn write_stats(out: &mut Vec<u8>, s: &PortStats) {
    out.u32(s.port.0);
    out.zeros(4);
    counters::write_counters(out, s);
    counters::write_ethernet_counters(out, s);
    write_duration(out, s.duration);
}

pub(in crate::codec) fn read_stats(r: &mut Reader<'_>) -> Decoded<PortStats> {
    let port = PortNo(r.u32()?);
    r.skip(4)?;
    let mut stats = counters::read_counters(r, port)?;
    counters::read_ethernet_counters(r, &mut stats)?;
    stats.duration = read_duration(r)?;
    Ok(stats)
}

pub(in crate::codec) fn write_queue_stats(out: &mut Vec<u8>, s: &QueueStats) {
    out.u32(s.port.0);
    out.u32(s.queue.0);
    counters::write_queue_counters(out, s);
    write_duration(out, s.duration);
}

pub(in crate::codec) fn read_queue_stats(r: &mut Reader<'_>) -> Decoded<QueueStats> {
    let (port, queue) = (PortNo(r.u32()?), QueueId(r.u32()?));
    let stats = counters::read_queue_counters(r, (port, queue))?;
    Ok(QueueStats { duration: read_duration(r)?, ..stats })
}

/// Queue properties (ofp_queue_properties).
const MIN_RATE: u16 = 1;
const MAX_RATE: u16 = 2;
/// A rate above this is "not configured" (§7.2.2).
const RATE_MAX: u16 = 1000;

pub(in crate::codec) fn write_queue_config(out: &mut Vec<u8>, m: &QueueConfig) -> Result<(), EncodeError> {
    out.u32(any_port(m.port));
    out.zeros(4);
    for queue in &m.queues {
        let start = out.len();
        out.u32(queue.queue.0);
        out.u32(queue.port.0);
        out.zeros(8);
        for (kind, rate) in [(MIN_RATE, queue.min_rate), (MAX_RATE, queue.max_rate)] {
            let Some(rate) = rate else { continue };
            out.u16(kind);
            out.u16(16);
            out.zeros(4);
            out.u16(rate);
            out.zeros(6);
        }
        out.patch_len(start + 8, start)?;
    }
    Ok(())
}

pub(in crate::codec) fn read_queue_config(r: &mut Reader<'_>) -> Decoded<QueueConfig> {
    let port = some_port(r.u32()?);
    r.skip(4)?;
    let queues = r.list(|r| {
        let (queue, port, len) = (QueueId(r.u32()?), PortNo(r.u32()?), usize::from(r.u16()?));
        r.skip(6)?;
        let mut properties = r.sub(len.checked_sub(16).ok_or(r.short())?, r.short())?;
        let mut queue = PacketQueue { queue, port, min_rate: None, max_rate: None };
        while !properties.is_empty() {
            read_queue_property(&mut properties, &mut queue)?;
        }
        Ok(queue)
    })?;
    Ok(QueueConfig { port, queues })
}

fn read_queue_property(r: &mut Reader<'_>, queue: &mut PacketQueue) -> Decoded<()> {
    let (kind, len) = (r.u16()?, usize::from(r.u16()?));
    let mut body = r.sub(len.checked_sub(4).ok_or(r.short())?, r.short())?;
    if kind == MIN_RATE || kind == MAX_RATE {
        body.skip(4)?;
        let rate = Some(body.u16()?).filter(|&rate| rate <= RATE_MAX);
        if kind == MIN_RATE { queue.min_rate = rate } else { queue.max_rate = rate }
    }
    Ok(())
}
