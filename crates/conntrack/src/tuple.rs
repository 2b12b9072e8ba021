//! The ends of a packet of one family, as plain as they can be: for those who ask about millions of packets a second.

use core::fmt::Debug;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::IpProtocol;

use crate::hash::Keys;
use crate::{Packet, Segment, Side};

/// The bits of an address of one family: numbers, which are copied whole, where arrays of bytes would be copied in pieces.
pub trait Address: Copy + PartialEq + Debug {
    /// It is of IPv6.
    const IS_WIDE: bool;
    /// As many bits as the longest address has, those of IPv4 at the end.
    fn bits(self) -> u128;
    /// The address again.
    fn of_bits(bits: u128) -> Self;
    /// The address as others know it.
    fn ip(self) -> IpAddr;
}

impl Address for u32 {
    const IS_WIDE: bool = false;
    #[inline(always)]
    fn bits(self) -> u128 {
        self.into()
    }
    #[inline(always)]
    fn of_bits(bits: u128) -> Self {
        bits as Self
    }
    #[inline(always)]
    fn ip(self) -> IpAddr {
        Ipv4Addr::from_bits(self).into()
    }
}

impl Address for u128 {
    const IS_WIDE: bool = true;
    #[inline(always)]
    fn bits(self) -> u128 {
        self
    }
    #[inline(always)]
    fn of_bits(bits: u128) -> Self {
        bits
    }
    #[inline(always)]
    fn ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self).into()
    }
}

/// An address with a port.
pub type End<A> = (A, u16);

/// What a connection is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<A> {
    /// Separates tenants with overlapping addresses: where the packet comes from.
    pub zone: u16,
    /// IP protocol.
    pub protocol: IpProtocol,
    /// Source.
    pub src: End<A>,
    /// Destination.
    pub dst: End<A>,
}

impl<A: Address> Tuple<A> {
    /// The end on this side of a connection, and the remote end.
    #[inline(always)]
    pub(crate) fn seen_from(&self, side: Side) -> (End<A>, End<A>) {
        match side {
            Side::Inside => (self.src, self.dst),
            Side::Outside => (self.dst, self.src),
        }
    }
}

/// What a packet does to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// As of [`Packet`].
    pub tcp: Option<packet::tcp::Flags>,
    /// As of [`Packet`].
    pub segment: Option<Segment>,
    /// As of [`Packet`].
    pub len: u32,
    /// As of [`Packet`].
    pub n_packets: u32,
}

impl Packet {
    /// What it does to its connection.
    #[inline(always)]
    pub(crate) const fn sent(&self) -> Sent {
        Sent { tcp: self.tcp, segment: self.segment, len: self.len, n_packets: self.n_packets }
    }
}

/// What is looked up, as part of its hash.
pub(crate) const OUT: u64 = 1 << 63;

/// The hash of two ends: two words for IPv4.
#[inline(always)]
pub(crate) fn hash_ends<A: Address>(
    keys: &Keys,
    what: u64,
    (zone, protocol): (u16, IpProtocol),
    near: End<A>,
    far: End<A>,
) -> u64 {
    let ports = u64::from(near.1) << 16 | u64::from(far.1);
    let rest = what | u64::from(zone) << 40 | u64::from(protocol.0) << 32 | ports;
    let (a, b) = (near.0.bits(), far.0.bits());
    if A::IS_WIDE {
        keys.hash([a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64, rest])
    } else {
        keys.hash([(a as u64) << 32 | b as u64, rest])
    }
}
