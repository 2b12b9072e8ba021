//! Packets to and from the controller (§7.3.6, §7.4.1).

use crate::types::wire_enum;
use crate::{Action, BufferId, Cookie, Match, PortNo, TableId};

/// As `max_len` of an output to the controller: send the whole packet, do not buffer it (OFPCML_NO_BUFFER).
pub const NO_BUFFER_LEN: u16 = 0xffff;

wire_enum! {
    /// Why a packet came to the controller (ofp_packet_in_reason).
    PacketInReason(u8) {
        /// The table-miss flow sent it.
        NoMatch = 0,
        /// An output action in an apply-actions instruction (or, in 1.3, any action) sent it.
        Action = 1,
        /// Its TTL would have become zero.
        InvalidTtl = 2,
        /// The action set sent it (1.4).
        ActionSet = 3,
        /// A group bucket sent it (1.4).
        Group = 4,
        /// A packet-out sent it (1.4).
        PacketOut = 5,
    }
}

/// A packet for the controller (§7.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketIn {
    /// Where the rest of it waits.
    pub buffer: Option<BufferId>,
    /// Bytes of the whole frame.
    pub total_len: u16,
    /// Why it came.
    pub reason: PacketInReason,
    /// The table whose flow sent it.
    pub table: TableId,
    /// The cookie of that flow, all ones if there is none.
    pub cookie: Cookie,
    /// Pipeline fields: in_port and, where they are not zero, in_phy_port, metadata and tunnel_id.
    pub matches: Match,
    /// The frame, or its first bytes if it is buffered.
    pub data: Vec<u8>,
}

impl PacketIn {
    /// The port the frame came by.
    pub fn in_port(&self) -> Option<PortNo> {
        self.matches.ingress()
    }
}

/// A packet from the controller (§7.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketOut {
    /// The buffered packet to use instead of `data`.
    pub buffer: Option<BufferId>,
    /// The port it counts as having come by; [`crate::ports::CONTROLLER`] if none.
    pub in_port: PortNo,
    /// What to do with it.
    pub actions: Vec<Action>,
    /// The frame, empty if `buffer` is used.
    pub data: Vec<u8>,
}
