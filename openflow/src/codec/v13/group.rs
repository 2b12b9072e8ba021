//! Groups and meters (§7.3.4.2, §7.3.4.4, §7.3.5.9 to §7.3.5.14).

use super::action::{read_actions, write_actions};
use super::flow::{any_group, some_group};
use super::{any_port, read_duration, some_port, write_duration};
use crate::codec::EncodeError;
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::error::{GroupModFailed, MeterModFailed};
use crate::{
    Band, BandKind, BandStats, Bucket, BucketStats, GroupCapabilities, GroupDesc, GroupFeatures, GroupId,
    GroupMod, GroupModCommand, GroupStats, GroupType, MeterConfig, MeterFeatures, MeterFlags, MeterId,
    MeterMod, MeterModCommand, MeterStats,
};

pub(in crate::codec) fn write_group_mod(out: &mut Vec<u8>, m: &GroupMod) -> Result<(), EncodeError> {
    out.u16(m.command.number());
    out.u8(m.group_type.number());
    out.zeros(1);
    out.u32(m.group.0);
    write_buckets(out, &m.buckets)
}

pub(in crate::codec) fn read_group_mod(r: &mut Reader<'_>) -> Decoded<GroupMod> {
    let (command, group_type) = (r.u16()?, r.u8()?);
    r.skip(1)?;
    let group = GroupId(r.u32()?);
    let command = GroupModCommand::from_number(command).ok_or(GroupModFailed::BadCommand)?;
    let group_type = GroupType::from_number(group_type).ok_or(GroupModFailed::BadType)?;
    Ok(GroupMod { command, group_type, group, buckets: read_buckets(r)? })
}

fn write_buckets(out: &mut Vec<u8>, buckets: &[Bucket]) -> Result<(), EncodeError> {
    for bucket in buckets {
        let start = out.len();
        out.u16(0);
        out.u16(bucket.weight);
        out.u32(any_port(bucket.watch_port));
        out.u32(any_group(bucket.watch_group));
        out.zeros(4);
        write_actions(out, &bucket.actions)?;
        out.patch_len(start, start)?;
    }
    Ok(())
}

fn read_buckets(r: &mut Reader<'_>) -> Decoded<Vec<Bucket>> {
    r.list(|r| {
        let (len, weight) = (usize::from(r.u16()?), r.u16()?);
        let (watch_port, watch_group) = (some_port(r.u32()?), some_group(r.u32()?));
        r.skip(4)?;
        let actions_len = len.checked_sub(16).ok_or(GroupModFailed::BadBucket)?;
        if actions_len > r.remaining() {
            return Err(GroupModFailed::BadBucket.into());
        }
        let actions = read_actions(&mut r.sub(actions_len, GroupModFailed::BadBucket)?)?;
        Ok(Bucket { weight, watch_port, watch_group, actions })
    })
}

pub(in crate::codec) fn write_group_stats(out: &mut Vec<u8>, s: &GroupStats) -> Result<(), EncodeError> {
    let start = out.len();
    out.zeros(4);
    out.u32(s.group.0);
    out.u32(s.ref_count);
    out.zeros(4);
    out.u64(s.packets);
    out.u64(s.bytes);
    write_duration(out, s.duration);
    for bucket in &s.buckets {
        out.u64(bucket.packets);
        out.u64(bucket.bytes);
    }
    out.patch_len(start, start)
}

pub(in crate::codec) fn read_group_stats(r: &mut Reader<'_>) -> Decoded<GroupStats> {
    let len = usize::from(r.u16()?);
    let mut r = r.sub(len.checked_sub(2).ok_or(r.short())?, r.short())?;
    r.skip(2)?;
    let (group, ref_count) = (GroupId(r.u32()?), r.u32()?);
    r.skip(4)?;
    Ok(GroupStats {
        group,
        ref_count,
        packets: r.u64()?,
        bytes: r.u64()?,
        duration: read_duration(&mut r)?,
        buckets: r.list(|r| Ok(BucketStats { packets: r.u64()?, bytes: r.u64()? }))?,
    })
}

pub(in crate::codec) fn write_group_desc(out: &mut Vec<u8>, d: &GroupDesc) -> Result<(), EncodeError> {
    let start = out.len();
    out.u16(0);
    out.u8(d.group_type.number());
    out.zeros(1);
    out.u32(d.group.0);
    write_buckets(out, &d.buckets)?;
    out.patch_len(start, start)
}

pub(in crate::codec) fn read_group_desc(r: &mut Reader<'_>) -> Decoded<GroupDesc> {
    let len = usize::from(r.u16()?);
    let mut r = r.sub(len.checked_sub(2).ok_or(r.short())?, r.short())?;
    let group_type = GroupType::from_number(r.u8()?).ok_or(GroupModFailed::BadType)?;
    r.skip(1)?;
    Ok(GroupDesc { group_type, group: GroupId(r.u32()?), buckets: read_buckets(&mut r)? })
}

pub(in crate::codec) fn write_group_features(out: &mut Vec<u8>, f: &GroupFeatures) {
    out.u32(f.types);
    out.u32(f.capabilities.0);
    f.max_groups.iter().chain(&f.actions).for_each(|v| out.u32(*v));
}

pub(in crate::codec) fn read_group_features(r: &mut Reader<'_>) -> Decoded<GroupFeatures> {
    let (types, capabilities) = (r.u32()?, GroupCapabilities(r.u32()?));
    let mut four = || Ok::<_, crate::ErrorKind>([r.u32()?, r.u32()?, r.u32()?, r.u32()?]);
    Ok(GroupFeatures { types, capabilities, max_groups: four()?, actions: four()? })
}

pub(in crate::codec) fn write_meter_mod(out: &mut Vec<u8>, m: &MeterMod) {
    out.u16(m.command.number());
    out.u16(m.flags.0);
    out.u32(m.meter.0);
    write_bands(out, &m.bands);
}

pub(in crate::codec) fn read_meter_mod(r: &mut Reader<'_>) -> Decoded<MeterMod> {
    let (command, flags) = (r.u16()?, MeterFlags(r.u16()?));
    let meter = MeterId(r.u32()?);
    let command = MeterModCommand::from_number(command).ok_or(MeterModFailed::BadCommand)?;
    if flags.unknown() != 0 {
        return Err(MeterModFailed::BadFlags.into());
    }
    Ok(MeterMod { command, flags, meter, bands: read_bands(r)? })
}

const BAND_DROP: u16 = 1;
const BAND_DSCP_REMARK: u16 = 2;
const BAND_EXPERIMENTER: u16 = 0xffff;
/// Every band has this length, whatever its type.
const BAND_LEN: usize = 16;

fn write_bands(out: &mut Vec<u8>, bands: &[Band]) {
    for band in bands {
        let (kind, last) = match band.kind {
            BandKind::Drop => (BAND_DROP, 0),
            BandKind::DscpRemark { prec_level } => (BAND_DSCP_REMARK, u32::from(prec_level) << 24),
            BandKind::Experimenter { experimenter } => (BAND_EXPERIMENTER, experimenter),
            BandKind::Unknown { kind } => (kind, 0),
        };
        out.u16(kind);
        out.u16(16);
        out.u32(band.rate);
        out.u32(band.burst);
        out.u32(last);
    }
}

fn read_bands(r: &mut Reader<'_>) -> Decoded<Vec<Band>> {
    r.list(|r| {
        let (kind, len) = (r.u16()?, usize::from(r.u16()?));
        let mut body = r.sub(len.checked_sub(4).ok_or(r.short())?, r.short())?;
        let (rate, burst, last) = (body.u32()?, body.u32()?, body.u32()?);
        let kind = match kind {
            BAND_DROP => BandKind::Drop,
            BAND_DSCP_REMARK => BandKind::DscpRemark { prec_level: (last >> 24) as u8 },
            BAND_EXPERIMENTER => BandKind::Experimenter { experimenter: last },
            kind => BandKind::Unknown { kind },
        };
        if len != BAND_LEN && matches!(kind, BandKind::Drop | BandKind::DscpRemark { .. }) {
            return Err(r.short());
        }
        Ok(Band { kind, rate, burst })
    })
}

pub(in crate::codec) fn write_meter_stats(out: &mut Vec<u8>, s: &MeterStats) -> Result<(), EncodeError> {
    let start = out.len();
    out.u32(s.meter.0);
    out.zeros(8);
    out.u32(s.flow_count);
    out.u64(s.packets_in);
    out.u64(s.bytes_in);
    write_duration(out, s.duration);
    for band in &s.bands {
        out.u64(band.packets);
        out.u64(band.bytes);
    }
    out.patch_len(start + 4, start)
}

pub(in crate::codec) fn read_meter_stats(r: &mut Reader<'_>) -> Decoded<MeterStats> {
    let (meter, len) = (MeterId(r.u32()?), usize::from(r.u16()?));
    let mut r = r.sub(len.checked_sub(6).ok_or(r.short())?, r.short())?;
    r.skip(6)?;
    Ok(MeterStats {
        meter,
        flow_count: r.u32()?,
        packets_in: r.u64()?,
        bytes_in: r.u64()?,
        duration: read_duration(&mut r)?,
        bands: r.list(|r| Ok(BandStats { packets: r.u64()?, bytes: r.u64()? }))?,
    })
}

pub(in crate::codec) fn write_meter_config(out: &mut Vec<u8>, c: &MeterConfig) -> Result<(), EncodeError> {
    let start = out.len();
    out.u16(0);
    out.u16(c.flags.0);
    out.u32(c.meter.0);
    write_bands(out, &c.bands);
    out.patch_len(start, start)
}

pub(in crate::codec) fn read_meter_config(r: &mut Reader<'_>) -> Decoded<MeterConfig> {
    let len = usize::from(r.u16()?);
    let mut r = r.sub(len.checked_sub(2).ok_or(r.short())?, r.short())?;
    Ok(MeterConfig { flags: MeterFlags(r.u16()?), meter: MeterId(r.u32()?), bands: read_bands(&mut r)? })
}

pub(in crate::codec) fn write_meter_features(out: &mut Vec<u8>, f: &MeterFeatures) {
    out.u32(f.max_meter);
    out.u32(f.band_types);
    out.u32(f.capabilities.0.into());
    out.u8(f.max_bands);
    out.u8(f.max_color);
    out.zeros(2);
}

pub(in crate::codec) fn read_meter_features(r: &mut Reader<'_>) -> Decoded<MeterFeatures> {
    let (max_meter, band_types, capabilities) = (r.u32()?, r.u32()?, r.u32()?);
    let (max_bands, max_color) = (r.u8()?, r.u8()?);
    r.skip(2)?;
    // Flags are 16 bits in a meter mod; bits above have no meaning.
    let capabilities = MeterFlags((capabilities & 0xffff) as u16);
    Ok(MeterFeatures { max_meter, band_types, capabilities, max_bands, max_color })
}
