//! Meter modifications (§6.6, §7.3.4.4).

use std::sync::Arc;

use openflow::error::MeterModFailed;
use openflow::{
    BandKind, ErrorKind, FlowRemovedReason, MeterConfig, MeterFeatures, MeterFlags, MeterId, MeterMod,
    MeterModCommand, MeterStats,
};
use packet::Instant;

use super::Switch;
use super::record::Used;
use super::undo::Undo;
use crate::meter::Meter;
use crate::snapshot::Op;

/// Most meters, the virtual ones apart.
const MAX_METERS: usize = 65_536;
/// Most bands of a meter.
const MAX_BANDS: u8 = 16;

/// Most levels by which a drop precedence can rise.
const MAX_LEVELS: u8 = 2;

/// A meter as the owner knows it.
#[derive(Debug)]
pub(super) struct MeterRecord {
    pub meter: Arc<Meter>,
    since: Instant,
}

impl Switch {
    pub(super) fn meter_mod(&mut self, now: Instant, meter_mod: MeterMod) -> Result<(), ErrorKind> {
        let id = meter_mod.meter;
        if meter_mod.command == MeterModCommand::Delete {
            return self.delete_meter(now, id);
        }
        let is_virtual = matches!(id, MeterId::SLOWPATH | MeterId::CONTROLLER);
        if id.0 == 0 || id > MeterId::MAX && !is_virtual {
            return Err(MeterModFailed::InvalidMeter.into());
        }
        let old = self.meters.get(&id);
        match meter_mod.command {
            MeterModCommand::Add if old.is_some() => return Err(MeterModFailed::MeterExists.into()),
            MeterModCommand::Modify if old.is_none() => return Err(MeterModFailed::UnknownMeter.into()),
            _ if old.is_none() && self.meters.len() >= MAX_METERS => {
                return Err(MeterModFailed::OutOfMeters.into());
            }
            _ => {}
        }
        check(&meter_mod)?;
        let config = MeterConfig { flags: meter_mod.flags, meter: id, bands: meter_mod.bands };
        let record = match old {
            Some(old) => MeterRecord { meter: Arc::new(old.meter.reconfigured(config)), since: old.since },
            None => MeterRecord { meter: Arc::new(Meter::new(config)), since: now },
        };
        self.publisher.push(Op::Meter(id, Some(record.meter.clone())));
        let remarks = record.meter.remarks();
        let old = self.meters.insert(id, record);
        let changed = old.as_ref().is_some_and(|old| old.meter.remarks() != remarks);
        self.note(|| Undo::Meter(id, old));
        if changed {
            // Whether later tables see another frame than came in is part of a flow.
            self.recompile(self.flows.using(Used::Meter(id)))?;
        }
        Ok(())
    }

    /// §6.6: the flows that use a deleted meter go with it; deleting none is no error.
    fn delete_meter(&mut self, now: Instant, id: MeterId) -> Result<(), ErrorKind> {
        let gone: Vec<MeterId> = self.meters_like(id).map(|(&known, _)| known).collect();
        for &meter in &gone {
            let old = self.meters.remove(&meter);
            self.note(|| Undo::Meter(meter, old));
            self.publisher.push(Op::Meter(meter, None));
        }
        for &meter in &gone {
            for flow in self.flows.using(Used::Meter(meter)) {
                self.remove_flow(now, flow, Some(FlowRemovedReason::MeterDelete));
            }
        }
        Ok(())
    }

    pub(super) fn meter_configs(&self, id: MeterId) -> Vec<MeterConfig> {
        self.meters_like(id).map(|(_, record)| record.meter.config.clone()).collect()
    }

    pub(super) fn meter_stats(&self, now: Instant, id: MeterId) -> Vec<MeterStats> {
        let stats = |(&meter, record): (&MeterId, &MeterRecord)| {
            let (packets_in, bytes_in) = record.meter.totals();
            MeterStats {
                meter,
                flow_count: self.flows.using(Used::Meter(meter)).len() as u32,
                packets_in,
                bytes_in,
                duration: now.saturating_since(record.since),
                bands: record.meter.band_stats(),
            }
        };
        self.meters_like(id).map(stats).collect()
    }

    fn meters_like(&self, id: MeterId) -> impl Iterator<Item = (&MeterId, &MeterRecord)> {
        self.meters.iter().filter(move |(known, _)| id == MeterId::ALL || **known == id)
    }
}

fn check(meter_mod: &MeterMod) -> Result<(), ErrorKind> {
    let both = MeterFlags::KBPS | MeterFlags::PKTPS;
    if meter_mod.flags.unknown() != 0 || meter_mod.flags.contains(both) {
        return Err(MeterModFailed::BadFlags.into());
    }
    if meter_mod.bands.len() > usize::from(MAX_BANDS) {
        return Err(MeterModFailed::OutOfBands.into());
    }
    for band in &meter_mod.bands {
        match band.kind {
            BandKind::Drop => {}
            // §7.3.4.4: by how many levels the drop precedence rises. RFC 2597 has three levels, of which the first has two
            // above it; what cannot be, or would do nothing, is no value.
            BandKind::DscpRemark { prec_level } if !(1..=MAX_LEVELS).contains(&prec_level) => {
                return Err(MeterModFailed::BadBandValue.into());
            }
            BandKind::DscpRemark { .. } => {}
            BandKind::Experimenter { .. } | BandKind::Unknown { .. } => {
                return Err(MeterModFailed::BadBand.into());
            }
        }
        if band.rate == 0 {
            return Err(MeterModFailed::BadRate.into());
        }
    }
    Ok(())
}

/// What the switch can do with meters.
pub(super) const fn meter_features() -> MeterFeatures {
    MeterFeatures {
        max_meter: MAX_METERS as u32,
        // Bits of ofp_meter_band_type: drop and DSCP remark.
        band_types: 1 << 1 | 1 << 2,
        capabilities: MeterFlags(
            MeterFlags::KBPS.0 | MeterFlags::PKTPS.0 | MeterFlags::BURST.0 | MeterFlags::STATS.0,
        ),
        max_bands: MAX_BANDS,
        max_color: 0,
    }
}
