//! Ports and queues (§7.2.1, §7.2.2, §7.3.4.3, §7.3.5.6 to §7.3.5.8, §7.4.3).

use core::time::Duration;

use crate::types::{flags, wire_enum};
use crate::{MacAddr, Name, PortNo, QueueId};

/// The reserved port numbers (§4.5, ofp_port_no).
pub mod ports {
    use crate::PortNo;

    /// The last number a real port may have.
    pub const MAX: PortNo = PortNo(0xffff_ff00);
    /// The port the packet came by.
    pub const IN_PORT: PortNo = PortNo(0xffff_fff8);
    /// Submit to the first table; only in packet-outs.
    pub const TABLE: PortNo = PortNo(0xffff_fff9);
    /// The traditional, non-OpenFlow pipeline.
    pub const NORMAL: PortNo = PortNo(0xffff_fffa);
    /// Every port but the ingress and those that do not flood.
    pub const FLOOD: PortNo = PortNo(0xffff_fffb);
    /// Every port but the ingress.
    pub const ALL: PortNo = PortNo(0xffff_fffc);
    /// The controller.
    pub const CONTROLLER: PortNo = PortNo(0xffff_fffd);
    /// The switch's own networking stack.
    pub const LOCAL: PortNo = PortNo(0xffff_fffe);
    /// Any port: a wildcard in requests, never a destination.
    pub const ANY: PortNo = PortNo(0xffff_ffff);

    /// Every reserved number with its name in flow syntax.
    pub const NAMES: &[(PortNo, &str)] = &[
        (IN_PORT, "IN_PORT"),
        (TABLE, "TABLE"),
        (NORMAL, "NORMAL"),
        (FLOOD, "FLOOD"),
        (ALL, "ALL"),
        (CONTROLLER, "CONTROLLER"),
        (LOCAL, "LOCAL"),
        (ANY, "ANY"),
    ];

    /// A number that a real port may have: 1 to [`MAX`].
    pub const fn is_real(port: PortNo) -> bool {
        port.0 != 0 && port.0 <= MAX.0
    }
}

flags! {
    /// What the administrator wants of a port (ofp_port_config).
    PortConfig(u32) {
        /// Administratively down.
        PORT_DOWN = 1, "PORT_DOWN";
        /// Drop everything received.
        NO_RECV = 1 << 2, "NO_RECV";
        /// Leave the port out when flooding. Only 1.0 can say it.
        NO_FLOOD = 1 << 4, "NO_FLOOD";
        /// Drop everything to be sent.
        NO_FWD = 1 << 5, "NO_FWD";
        /// Send no packet-in for what arrives.
        NO_PACKET_IN = 1 << 6, "NO_PACKET_IN";
    }
}

flags! {
    /// What a port is (ofp_port_state).
    PortState(u32) {
        /// No link.
        LINK_DOWN = 1, "LINK_DOWN";
        /// Blocked, for instance by a spanning tree.
        BLOCKED = 2, "BLOCKED";
        /// Usable by fast-failover groups.
        LIVE = 4, "LIVE";
    }
}

flags! {
    /// Link features (ofp_port_features).
    PortFeatures(u32) {
        /// 10 Mbit/s half duplex.
        HD_10M = 1, "10MB-HD";
        /// 10 Mbit/s full duplex.
        FD_10M = 1 << 1, "10MB-FD";
        /// 100 Mbit/s half duplex.
        HD_100M = 1 << 2, "100MB-HD";
        /// 100 Mbit/s full duplex.
        FD_100M = 1 << 3, "100MB-FD";
        /// 1 Gbit/s half duplex.
        HD_1G = 1 << 4, "1GB-HD";
        /// 1 Gbit/s full duplex.
        FD_1G = 1 << 5, "1GB-FD";
        /// 10 Gbit/s full duplex.
        FD_10G = 1 << 6, "10GB-FD";
        /// 40 Gbit/s full duplex.
        FD_40G = 1 << 7, "40GB-FD";
        /// 100 Gbit/s full duplex.
        FD_100G = 1 << 8, "100GB-FD";
        /// 1 Tbit/s full duplex.
        FD_1T = 1 << 9, "1TB-FD";
        /// Another rate.
        OTHER = 1 << 10, "OTHER";
        /// Copper.
        COPPER = 1 << 11, "COPPER";
        /// Fibre.
        FIBER = 1 << 12, "FIBER";
        /// Negotiates by itself.
        AUTONEG = 1 << 13, "AUTO_NEG";
        /// Pause.
        PAUSE = 1 << 14, "AUTO_PAUSE";
        /// Asymmetric pause.
        PAUSE_ASYM = 1 << 15, "AUTO_PAUSE_ASYM";
    }
}

/// A port as the switch describes it (§7.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDesc {
    /// Its number.
    pub port: PortNo,
    /// Its address.
    pub mac: MacAddr,
    /// Its name.
    pub name: Name<16>,
    /// What the administrator wants.
    pub config: PortConfig,
    /// What it is.
    pub state: PortState,
    /// Features in use.
    pub current: PortFeatures,
    /// Features it advertises.
    pub advertised: PortFeatures,
    /// Features it could have.
    pub supported: PortFeatures,
    /// Features its peer advertises.
    pub peer: PortFeatures,
    /// Rate in kbit/s.
    pub current_speed: u32,
    /// Highest rate in kbit/s.
    pub max_speed: u32,
}

impl PortDesc {
    /// A port that is up and says nothing of its features.
    pub fn new(port: PortNo, mac: MacAddr, name: impl Into<Name<16>>) -> Self {
        Self {
            port,
            mac,
            name: name.into(),
            config: PortConfig::NONE,
            state: PortState::LIVE,
            current: PortFeatures::NONE,
            advertised: PortFeatures::NONE,
            supported: PortFeatures::NONE,
            peer: PortFeatures::NONE,
            current_speed: 0,
            max_speed: 0,
        }
    }
}

wire_enum! {
    /// What happened to a port (ofp_port_reason).
    PortReason(u8) {
        /// It was added.
        Add = 0,
        /// It was removed.
        Delete = 1,
        /// Its description changed.
        Modify = 2,
    }
}

/// A port came, went or changed (§7.4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// What happened.
    pub reason: PortReason,
    /// The port.
    pub desc: PortDesc,
}

/// Changes what the administrator wants of a port (§7.3.4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMod {
    /// Which port.
    pub port: PortNo,
    /// Its address, as a check; a port mod cannot change it.
    pub mac: MacAddr,
    /// The new bits.
    pub config: PortConfig,
    /// The bits to change.
    pub mask: PortConfig,
    /// Features to advertise; empty for no change.
    pub advertise: PortFeatures,
}

/// Counters of a port (§7.3.5.6). A counter that is not kept is `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it; §7.3.5.6 has one line each")]
pub struct PortStats {
    pub port: PortNo,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_frame_err: u64,
    pub rx_over_err: u64,
    pub rx_crc_err: u64,
    pub collisions: u64,
    /// How long the port has existed.
    pub duration: Duration,
}

/// Counters of a queue (§7.3.5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// The port it belongs to.
    pub port: PortNo,
    /// The queue.
    pub queue: QueueId,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets dropped because it was full.
    pub tx_errors: u64,
    /// How long the queue has existed.
    pub duration: Duration,
}

/// A queue as configured (§7.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketQueue {
    /// The queue.
    pub queue: QueueId,
    /// The port it belongs to.
    pub port: PortNo,
    /// Guaranteed rate in tenths of a percent of the port's; `None` if not configured.
    pub min_rate: Option<u16>,
    /// Highest rate in tenths of a percent of the port's; `None` if not configured.
    pub max_rate: Option<u16>,
}

/// The queues of a port (§7.3.6 in 1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// The port asked for; `None` for every port.
    pub port: Option<PortNo>,
    /// Its queues.
    pub queues: Vec<PacketQueue>,
}
