//! Meters: those a switch is to hold, and the difference to those it holds (OpenFlow 1.3.5 §5.7).
//!
//! A meter has no cookie. The controller's are those whose number lies where [`layout`] puts it; others are left alone.

use std::collections::BTreeMap;

use openflow::{Band, BandKind, MeterConfig, MeterFeatures, MeterFlags, MeterId, MeterMod, MeterModCommand};

use crate::layout;

/// What a meter lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterBody {
    /// In kbit/s.
    pub rate: u32,
    /// What may come at once, in kbit; none: as the switch thinks fit.
    pub burst: Option<u32>,
}

impl MeterBody {
    fn flags(self) -> MeterFlags {
        let burst = if self.burst.is_some() { MeterFlags::BURST } else { MeterFlags::NONE };
        MeterFlags::KBPS | MeterFlags::STATS | burst
    }

    /// What somebody else made of a meter is nothing that a plan asks for.
    fn of(config: &MeterConfig) -> Self {
        match config.bands[..] {
            [Band { kind: BandKind::Drop, rate, burst }] if !config.flags.contains(MeterFlags::PKTPS) => {
                Self { rate, burst: config.flags.contains(MeterFlags::BURST).then_some(burst) }
            }
            _ => Self { rate: 0, burst: None },
        }
    }
}

/// The meters of one switch.
pub type Meters = BTreeMap<MeterId, MeterBody>;

/// One change of the meters of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterChange {
    /// Which.
    pub meter: MeterId,
    /// It is there already.
    pub exists: bool,
    /// What it is to be; none: gone.
    pub after: Option<MeterBody>,
}

impl MeterChange {
    /// As a message.
    pub fn to_mod(&self) -> MeterMod {
        let command = match (self.exists, self.after) {
            (_, None) => MeterModCommand::Delete,
            (true, _) => MeterModCommand::Modify,
            (false, _) => MeterModCommand::Add,
        };
        let band =
            |body: MeterBody| Band { kind: BandKind::Drop, rate: body.rate, burst: body.burst.unwrap_or(0) };
        MeterMod {
            command,
            flags: self.after.map_or(MeterFlags::KBPS, MeterBody::flags),
            meter: self.meter,
            bands: self.after.map(band).into_iter().collect(),
        }
    }

    /// Does it to `meters`.
    pub fn apply(&self, meters: &mut Meters) {
        match self.after {
            Some(after) => drop(meters.insert(self.meter, after)),
            None => drop(meters.remove(&self.meter)),
        }
    }
}

/// What turns `actual` into `wanted`: first what flows may need, then what no flow needs any more.
pub fn diff_meters(actual: &Meters, wanted: &Meters) -> (Vec<MeterChange>, Vec<MeterChange>) {
    let put = wanted.iter().filter(|(meter, body)| actual.get(meter) != Some(*body));
    let put = put.map(|(meter, body)| MeterChange {
        meter: *meter,
        exists: actual.contains_key(meter),
        after: Some(*body),
    });
    let gone = actual.keys().filter(|meter| !wanted.contains_key(meter));
    let gone = gone.map(|meter| MeterChange { meter: *meter, exists: true, after: None });
    (put.collect(), gone.collect())
}

/// The highest number a meter of the controller may have on a switch with these features; 0: it has none for it.
pub(crate) fn highest(features: &MeterFeatures) -> u32 {
    // Bit 1 is the drop band (§7.3.5.14).
    let drops = features.band_types >> 1 & 1 == 1;
    let in_bits = features.capabilities.contains(MeterFlags::KBPS);
    if drops && in_bits && features.max_bands > 0 { features.max_meter } else { 0 }
}

/// The meters among `configs` that belong to the blueprint.
pub fn owned_meters(configs: &[MeterConfig]) -> Meters {
    let owned = configs.iter().filter(|config| layout::is_own_meter(config.meter));
    owned.map(|config| (config.meter, MeterBody::of(config))).collect()
}
