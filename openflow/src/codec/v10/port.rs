//! Ports and queues (1.0.1 §5.2.1, §5.2.2, §5.3.3, §5.3.5, §5.4.3). Port numbers have 16 bits.

use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::codec::{EncodeError, port as counters};
use crate::error::BadRequest;
use crate::{
    MacAddr, PacketQueue, PortConfig, PortDesc, PortFeatures, PortMod, PortNo, PortReason, PortState,
    PortStats, PortStatus, QueueConfig, QueueId, QueueStats, Version, ports,
};

/// No port, or any (OFPP_NONE).
pub(super) const NONE: u16 = 0xffff;
/// From here on numbers are reserved (OFPP_MAX).
const RESERVED: u16 = 0xff00;

/// The version-free number: reserved ones are at the end of 32 bits.
pub(super) const fn widen(port: u16) -> PortNo {
    PortNo(if port < RESERVED { port as u32 } else { port as u32 | 0xffff_0000 })
}

/// The number in 16 bits; `None` for real ports beyond them.
pub(super) fn narrow(port: PortNo) -> Option<u16> {
    let low = (port.0 & 0xffff) as u16;
    (widen(low) == port).then_some(low)
}

pub(super) fn some_port(port: u16) -> Option<PortNo> {
    (port != NONE).then_some(widen(port))
}

/// The number of a port that must be said.
pub(super) fn must_narrow(port: PortNo) -> Result<u16, EncodeError> {
    narrow(port).ok_or(EncodeError::Inexpressible(Version::V10))
}

pub(super) fn any_port(port: Option<PortNo>) -> Result<u16, EncodeError> {
    must_narrow(port.unwrap_or(ports::ANY))
}

/// Bits of ofp_port_config that mean the same in every version; those about 802.1D are meaningless in a switch that
/// does not claim OFPC_STP.
const CONFIG: u32 = PortConfig::ALL.0;
/// ofp_port_state: no link, and the state of the spanning tree.
const LINK_DOWN: u32 = 1;
const STP_BLOCK: u32 = 3 << 8;

/// Rates up to 10 Gbit/s keep their bits; medium and pauses stand lower, because faster rates are missing.
const RATES: u32 = 0x7f;
const MEDIA: u32 = 0xf80;
const MEDIA_SHIFT: u32 = 4;

fn features_out(features: PortFeatures) -> u32 {
    features.0 & RATES | features.0 >> MEDIA_SHIFT & MEDIA
}

fn features_in(bits: u32) -> PortFeatures {
    PortFeatures(bits & RATES | (bits & MEDIA) << MEDIA_SHIFT)
}

/// ofp_phy_port.
pub(super) fn write_desc(out: &mut Vec<u8>, p: &PortDesc) -> Result<(), EncodeError> {
    out.u16(must_narrow(p.port)?);
    out.bytes(&p.mac.0);
    out.name(&p.name);
    out.u32(p.config.0 & CONFIG);
    let down = if p.state.contains(PortState::LINK_DOWN) { LINK_DOWN } else { 0 };
    let blocked = if p.state.contains(PortState::BLOCKED) { STP_BLOCK } else { 0 };
    out.u32(down | blocked);
    for features in [p.current, p.advertised, p.supported, p.peer] {
        out.u32(features_out(features));
    }
    Ok(())
}

pub(super) fn read_desc(r: &mut Reader<'_>) -> Decoded<PortDesc> {
    let (port, mac) = (widen(r.u16()?), MacAddr(r.array()?));
    let mut desc = PortDesc::new(port, mac, r.name()?);
    desc.config = PortConfig(r.u32()? & CONFIG);
    let state = r.u32()?;
    desc.state = PortState::NONE
        .with(PortState::LINK_DOWN, state & LINK_DOWN != 0)
        .with(PortState::BLOCKED, state & STP_BLOCK == STP_BLOCK);
    desc.current = features_in(r.u32()?);
    desc.advertised = features_in(r.u32()?);
    desc.supported = features_in(r.u32()?);
    desc.peer = features_in(r.u32()?);
    Ok(desc)
}

/// The ports that have a number in this version.
pub(super) fn write_list(out: &mut Vec<u8>, all: &[PortDesc]) -> Result<(), EncodeError> {
    all.iter().filter(|desc| narrow(desc.port).is_some()).try_for_each(|desc| write_desc(out, desc))
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

pub(super) fn write_mod(out: &mut Vec<u8>, m: &PortMod) -> Result<(), EncodeError> {
    out.u16(must_narrow(m.port)?);
    out.bytes(&m.mac.0);
    out.u32(m.config.0 & CONFIG);
    out.u32(m.mask.0 & CONFIG);
    out.u32(features_out(m.advertise));
    out.zeros(4);
    Ok(())
}

pub(super) fn read_mod(r: &mut Reader<'_>) -> Decoded<PortMod> {
    let (port, mac) = (widen(r.u16()?), MacAddr(r.array()?));
    let (config, mask) = (PortConfig(r.u32()? & CONFIG), PortConfig(r.u32()? & CONFIG));
    let advertise = features_in(r.u32()?);
    r.skip(4)?;
    Ok(PortMod { port, mac, config, mask, advertise })
}

pub(super) fn write_stats(out: &mut Vec<u8>, s: &PortStats) -> Result<(), EncodeError> {
    out.u16(must_narrow(s.port)?);
    out.zeros(6);
    counters::write_counters(out, s);
    counters::write_ethernet_counters(out, s);
    Ok(())
}

pub(super) fn read_stats(r: &mut Reader<'_>) -> Decoded<PortStats> {
    let port = widen(r.u16()?);
    r.skip(6)?;
    let mut stats = counters::read_counters(r, port)?;
    counters::read_ethernet_counters(r, &mut stats)?;
    Ok(stats)
}

pub(super) fn write_queue_stats(out: &mut Vec<u8>, s: &QueueStats) -> Result<(), EncodeError> {
    out.u16(must_narrow(s.port)?);
    out.zeros(2);
    out.u32(s.queue.0);
    counters::write_queue_counters(out, s);
    Ok(())
}

pub(super) fn read_queue_stats(r: &mut Reader<'_>) -> Decoded<QueueStats> {
    let port = widen(r.u16()?);
    r.skip(2)?;
    let queue = QueueId(r.u32()?);
    counters::read_queue_counters(r, (port, queue))
}

/// The only property of a queue (OFPQT_MIN_RATE).
const MIN_RATE: u16 = 1;
/// A rate above this is "not configured".
const RATE_MAX: u16 = 1000;

pub(super) fn write_queue_config(out: &mut Vec<u8>, m: &QueueConfig) -> Result<(), EncodeError> {
    out.u16(any_port(m.port)?);
    out.zeros(6);
    for queue in &m.queues {
        let start = out.len();
        out.u32(queue.queue.0);
        out.u16(0);
        out.zeros(2);
        if let Some(rate) = queue.min_rate {
            out.u16(MIN_RATE);
            out.u16(16);
            out.zeros(4);
            out.u16(rate);
            out.zeros(6);
        }
        out.patch_len(start + 4, start)?;
    }
    Ok(())
}

pub(super) fn read_queue_config(r: &mut Reader<'_>) -> Decoded<QueueConfig> {
    let port = some_port(r.u16()?);
    r.skip(6)?;
    let queues = r.list(|r| {
        let (queue, len) = (QueueId(r.u32()?), usize::from(r.u16()?));
        r.skip(2)?;
        let mut properties = r.sub(len.checked_sub(8).ok_or(r.short())?, r.short())?;
        let port = port.unwrap_or(ports::ANY);
        let mut queue = PacketQueue { queue, port, min_rate: None, max_rate: None };
        while !properties.is_empty() {
            let (kind, len) = (properties.u16()?, usize::from(properties.u16()?));
            let mut body =
                properties.sub(len.checked_sub(4).ok_or(properties.short())?, properties.short())?;
            if kind == MIN_RATE {
                body.skip(4)?;
                queue.min_rate = Some(body.u16()?).filter(|&rate| rate <= RATE_MAX);
            }
        }
        Ok(queue)
    })?;
    Ok(QueueConfig { port, queues })
}
