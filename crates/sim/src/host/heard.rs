//! What a host has heard and counted.

use core::net::IpAddr;

use packet::{Instant, tcp};

/// What a host has heard that was for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Someone answered an echo.
    EchoReply {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Someone asked for an echo; it was answered.
    EchoRequest {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// An ICMP error of either version.
    Error {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// A datagram.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Payload.
        data: Vec<u8>,
    },
    /// A TCP segment.
    Tcp(tcp::Header),
}

/// One thing heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// Time to live or hop limit on arrival.
    pub ttl: u8,
    /// What.
    pub what: What,
}

/// What a host has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// Frames received.
    pub n_received: u64,
    /// Of them, frames for another station.
    pub n_for_others: u64,
    /// Of them, frames with a tag that is not the host's, or without one where it has one.
    pub n_foreign_vlan: u64,
    /// Of them, frames that cannot be read.
    pub n_malformed: u64,
    /// Of them, frames with a wrong checksum.
    pub n_bad_checksum: u64,
    /// Packets given up because a neighbour did not answer.
    pub n_unresolved: u64,
}
