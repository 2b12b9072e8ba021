//! What a switch is made from.

use core::time::Duration;

use openflow::{Dpid, Name, SwitchDesc};

use crate::limit::PacketInRates;

/// What the switch does with frames while no controller is connected (§6.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailMode {
    /// Existing flows go on, packets for the controller are dropped.
    #[default]
    Secure,
    /// Every frame is forwarded by a learning switch (NORMAL) until a controller connects.
    Standalone,
}

/// A good [`gather`](SwitchConfig::gather): short for whoever waits for a flow mod without a barrier, long enough that workers test what they
/// have cached twenty times a second at most.
pub const GATHER: Duration = Duration::from_millis(50);

/// What a switch is made from.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    /// Identity.
    pub dpid: Dpid,
    /// Flow tables, 1 to 254.
    pub n_tables: u8,
    /// Datapaths, at least one.
    pub n_workers: usize,
    /// Strings of the desc reply; `datapath` holds the switch's name.
    pub desc: SwitchDesc,
    /// What happens without a controller.
    pub fail_mode: FailMode,
    /// Most flows of one table.
    pub max_flows: u32,
    /// Most bytes that messages in bundles may take before these are committed, in all connections together.
    pub max_bundle_bytes: usize,
    /// Entries of each worker's microflow cache, rounded up to a power of two; zero for no cache.
    pub cache_entries: u32,
    /// How many packets go to the controllers, by reason; what exceeds it is dropped.
    pub packet_in_rates: PacketInRates,
    /// While frames are forwarded, changes of flows come into force at most once in this time, unless someone waits for
    /// them: every time costs the workers what is warm in their caches. Zero does not wait; [`GATHER`] is meant for those
    /// who forward in earnest.
    pub gather: Duration,
    /// Seed of the hash secrets; `None` takes a random one.
    pub seed: Option<u64>,
}

impl SwitchConfig {
    /// A switch with this identity and name, 64 tables, one worker, secure.
    pub fn new(dpid: Dpid, name: impl Into<Name<256>>) -> Self {
        Self { dpid, desc: SwitchDesc { datapath: name.into(), ..Self::default().desc }, ..Self::default() }
    }
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self {
            dpid: Dpid(1),
            n_tables: 64,
            n_workers: 1,
            desc: SwitchDesc {
                manufacturer: "weft".into(),
                hardware: "userspace".into(),
                software: env!("CARGO_PKG_VERSION").into(),
                serial: "none".into(),
                datapath: "weft".into(),
            },
            fail_mode: FailMode::Secure,
            max_flows: 1_000_000,
            max_bundle_bytes: 512 << 20,
            cache_entries: 1 << 15,
            packet_in_rates: PacketInRates::default(),
            gather: Duration::ZERO,
            seed: None,
        }
    }
}
