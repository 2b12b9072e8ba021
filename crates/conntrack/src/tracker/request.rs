//! What a tracker is asked, and what it answers.

use core::net::IpAddr;

use packet::IpProtocol;
use packet::tcp::Flags;

use crate::record::{Endpoint, Side};
use crate::window::Segment;

/// What a tracker needs to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Separates tenants with overlapping addresses: where it comes from.
    pub zone: u16,
    /// Where it goes.
    pub to_zone: u16,
    /// IP protocol.
    pub protocol: IpProtocol,
    /// Source; the port is the identifier of an ICMP request, zero for a reply.
    pub src: Endpoint,
    /// Destination; the port is the identifier of an ICMP reply, zero for a request.
    pub dst: Endpoint,
    /// Control bits, for the first fragment of a TCP segment.
    pub tcp: Option<Flags>,
    /// Its numbers, where windows are to be checked.
    pub segment: Option<Segment>,
    /// Bytes on the wire, from the IP header on.
    pub len: u32,
    /// Packets on the wire; more than one for a super-frame.
    pub n_packets: u32,
}

/// Where the outside endpoint of a new connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// A port of this outside address.
    Dynamic(IpAddr, Sharing),
    /// This endpoint, which the configuration has set aside.
    Fixed(Endpoint),
    /// The inside endpoint itself.
    Identity,
}

/// Whether inside endpoints may share an outside port. No two connections ever have the same outside endpoint and the
/// same remote one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Each inside endpoint has a port for itself, for all remotes (RFC 4787 REQ-1, REQ-3).
    #[default]
    Independent,
    /// The same, until no port is free: then a connection shares one with others that have another remote end.
    Overload,
    /// A port for each connection, shared where the remote ends differ.
    Dependent,
}

/// What becomes of a packet's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The source, going out, or the destination, coming in.
    pub endpoint: Endpoint,
    /// The zone of the inside endpoint.
    pub zone: u16,
    /// Which side sent the connection's first packet.
    pub origin: Side,
}

/// Why a connection was not made. None that exists was harmed (RFC 6888 REQ-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No port of the outside address is free.
    #[error("no outside port is free")]
    PortsExhausted,
    /// The table is full of connections that must not be pushed out.
    #[error("the connection table is full")]
    TableFull,
    /// On one side it would be the same as another connection.
    #[error("another connection has the same addresses and ports")]
    Clash,
    /// Its source has as many as it may have, or begins them too fast; or its zone has.
    #[error("the source or its zone has reached its limit")]
    Limit,
    /// TCP that does not begin with a SYN.
    #[error("a TCP connection must begin with a SYN")]
    NotSyn,
    /// The binding does not admit this remote (RFC 4787 §5).
    #[error("the binding does not admit this sender")]
    Filtered,
    /// There is no binding.
    #[error("no binding")]
    NoBinding,
}

/// A TCP segment with numbers that none of the ends of its connection can have sent now. It is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the segment lies outside the windows of its connection")]
pub struct OutOfWindow;
