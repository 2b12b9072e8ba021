//! Meters (§5.7, §7.3.4.4, §7.3.5.12 to §7.3.5.14).

use core::time::Duration;

use crate::MeterId;
use crate::types::{flags, wire_enum};

wire_enum! {
    /// What a meter modification does (ofp_meter_mod_command).
    MeterModCommand(u16) {
        /// Make a meter.
        Add = 0,
        /// Replace the flags and bands of a meter.
        Modify = 1,
        /// Delete one meter, or all.
        Delete = 2,
    }
}

flags! {
    /// How a meter measures (ofp_meter_flags).
    MeterFlags(u16) {
        /// Rates are kbit/s.
        KBPS = 1, "kbps";
        /// Rates are packets a second.
        PKTPS = 2, "pktps";
        /// Bands have a burst size.
        BURST = 4, "burst";
        /// Keep counters.
        STATS = 8, "stats";
    }
}

/// What a band does to packets above its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BandKind {
    /// Drops them.
    Drop,
    /// Raises the drop precedence of their DSCP by this many levels.
    DscpRemark {
        /// Levels.
        prec_level: u8,
    },
    /// Something an experimenter defined.
    Experimenter {
        /// Who.
        experimenter: u32,
    },
    /// A type this version does not define: kept for the error reply (METER_MOD_FAILED, BAD_BAND).
    Unknown {
        /// The type on the wire.
        kind: u16,
    },
}

/// One band of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// What it does.
    pub kind: BandKind,
    /// Above this rate, in the meter's unit.
    pub rate: u32,
    /// Burst in kbit or packets, if the meter has the BURST flag.
    pub burst: u32,
}

/// Adds, changes or deletes meters (§7.3.4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterMod {
    /// What to do.
    pub command: MeterModCommand,
    /// How it measures.
    pub flags: MeterFlags,
    /// Which meter; [`MeterId::ALL`] only to delete.
    pub meter: MeterId,
    /// Its bands.
    pub bands: Vec<Band>,
}

/// Counters of one band.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandStats {
    /// Packets it applied to.
    pub packets: u64,
    /// Bytes it applied to.
    pub bytes: u64,
}

/// Counters of a meter (§7.3.5.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterStats {
    /// The meter.
    pub meter: MeterId,
    /// Flows that use it.
    pub flow_count: u32,
    /// Packets that reached it.
    pub packets_in: u64,
    /// Bytes that reached it.
    pub bytes_in: u64,
    /// How long it has existed.
    pub duration: Duration,
    /// One for each band.
    pub bands: Vec<BandStats>,
}

/// A meter as configured (§7.3.5.13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterConfig {
    /// How it measures.
    pub flags: MeterFlags,
    /// The meter.
    pub meter: MeterId,
    /// Its bands.
    pub bands: Vec<Band>,
}

/// What the switch can do with meters (§7.3.5.14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterFeatures {
    /// Most meters.
    pub max_meter: u32,
    /// Bit n: band type n is supported.
    pub band_types: u32,
    /// Meter flags supported.
    pub capabilities: MeterFlags,
    /// Most bands of a meter.
    pub max_bands: u8,
    /// Highest colour value.
    pub max_color: u8,
}
