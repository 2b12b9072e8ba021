//! The Internet checksum: whole (RFC 1071), of pseudo headers, and adjusted in place (RFC 1624).
//!
//! A frame may carry a *partial* checksum (see [`CsumPartial`](crate::CsumPartial)): its field holds the folded sum of
//! the pseudo header, not complemented, and the rest is summed by whoever completes it. A change of the pseudo header
//! then goes into the field without complement, a change of the transport header or payload does not go in at all.
//! [`adjust`] knows this; use it when rewriting addresses and ports.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::IpProtocol;

/// A running ones-complement sum over pieces of any length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Sum of native-endian 16-bit words, to be folded and swapped at the end (RFC 1071 §2B).
    acc: u64,
    odd: bool,
}

impl Sum {
    /// Of nothing.
    pub const fn new() -> Self {
        Self { acc: 0, odd: false }
    }

    /// Adds a word; the pieces so far must be even in length.
    #[inline(always)]
    #[must_use]
    pub const fn word(mut self, word: u16) -> Self {
        self.acc += word.to_be() as u64;
        self
    }

    /// Adds bytes; a piece of odd length joins the next one without a gap.
    #[inline]
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        let sum = native_sum(bytes);
        // A piece that begins at an odd place has its words byte-swapped (RFC 1071 §2B).
        let folded = fold(sum);
        let folded = if self.odd { folded.swap_bytes() } else { folded };
        self.acc += u64::from(folded);
        self.odd ^= bytes.len() & 1 == 1;
        self
    }

    /// The folded sum, not complemented: what a partial checksum field holds for the pseudo header.
    #[inline]
    pub const fn fold(self) -> u16 {
        u16::from_be(fold(self.acc))
    }

    /// The checksum: the complement of the sum. Zero over data that contains a right checksum.
    #[inline]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }
}

#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Sum of native-endian words, an odd last byte padded with zero. Cannot overflow below 2^34 bytes.
#[inline]
fn native_sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut acc: u64 = words.iter().map(|w| u64::from(u32::from_ne_bytes(*w))).sum();
    let (words, rest) = rest.as_chunks::<2>();
    acc += words.iter().map(|w| u64::from(u16::from_ne_bytes(*w))).sum::<u64>();
    if let [last] = rest {
        acc += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    acc
}

/// The checksum of `bytes`; zero if they contain a right one.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::new().bytes(bytes).finish()
}

/// Sum of the IPv4 pseudo header (RFC 9293 §3.1); `len` is transport header and payload in bytes.
#[inline]
pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: IpProtocol, len: u16) -> Sum {
    Sum::new().bytes(&src.octets()).bytes(&dst.octets()).word(u16::from(protocol.0)).word(len)
}

/// Sum of the IPv6 pseudo header (RFC 8200 §8.1); `len` is the upper-layer packet in bytes.
#[inline]
pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: IpProtocol, len: u32) -> Sum {
    let sum = Sum::new().bytes(&src.octets()).bytes(&dst.octets());
    sum.word((len >> 16) as u16).word(len as u16).word(u16::from(protocol.0))
}

/// What changes of bytes do to a checksum over them: the sum of `new` minus the sum of `old`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    acc: u64,
}

impl Delta {
    /// No change.
    pub const NONE: Self = Self { acc: 0 };

    /// A word at an even place changed.
    #[inline(always)]
    #[must_use]
    pub const fn word(mut self, old: u16, new: u16) -> Self {
        self.acc += !old as u64 + new as u64;
        self
    }

    /// Two words at an even place changed.
    #[inline(always)]
    #[must_use]
    pub const fn double(mut self, old: u32, new: u32) -> Self {
        // Both words at once: 2^16 counts as one in this sum.
        self.acc += !old as u64 + new as u64;
        self
    }

    /// An IPv4 address changed.
    #[inline(always)]
    #[must_use]
    pub const fn ipv4(self, old: Ipv4Addr, new: Ipv4Addr) -> Self {
        self.double(old.to_bits(), new.to_bits())
    }

    /// An IPv6 address changed.
    #[inline]
    #[must_use]
    pub fn ipv6(self, old: Ipv6Addr, new: Ipv6Addr) -> Self {
        old.segments().into_iter().zip(new.segments()).fold(self, |delta, (old, new)| delta.word(old, new))
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { acc: self.acc + other.acc }
    }

    /// The checksum after the change: HC' = ~(~HC + ~m + m') (RFC 1624 §3, equation 3).
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(!checksum as u64 + self.acc)
    }

    /// The folded, uncomplemented sum after the change.
    #[inline(always)]
    pub const fn apply_to_sum(self, sum: u16) -> u16 {
        fold(sum as u64 + self.acc)
    }
}

/// How a transport checksum field is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A whole checksum (TCP, ICMP, ICMPv6).
    Complete,
    /// A whole UDP checksum: zero means there is none (IPv4), and a computed zero is sent as 0xffff (RFC 768).
    CompleteUdp,
    /// The pseudo header's sum only: the frame has [`Meta::csum`](crate::Meta::csum) on this field.
    Partial,
}

/// The field after `pseudo` (addresses, length, protocol) and `body` (the transport header and payload) changed.
#[inline(always)]
pub const fn adjust(field: u16, kind: Field, pseudo: Delta, body: Delta) -> u16 {
    match kind {
        Field::Partial => pseudo.apply_to_sum(field),
        Field::Complete => pseudo.and(body).apply(field),
        Field::CompleteUdp if field == 0 => 0,
        Field::CompleteUdp => match pseudo.and(body).apply(field) {
            0 => 0xffff,
            sum => sum,
        },
    }
}
