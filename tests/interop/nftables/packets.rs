//! Packets of the cases, written and read byte by byte: neither weft's nor Linux's code is the judge of itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocols.
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const GRE: u8 = 47;
pub const ICMPV6: u8 = 58;
/// Flags of TCP.
pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// An address and a port.
pub type End = (IpAddr, u16);

/// A packet from its IP header on. What goes out is made of it, what comes in is read into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    pub tos: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub more: bool,
    /// In bytes.
    pub offset: u16,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    /// The header's checksum was right; to be written so.
    pub sound: bool,
}

/// The Internet checksum (RFC 1071).
pub fn checksum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

/// The sum over the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1).
fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> u32 {
    let ends = !checksum(&[octets(src), octets(dst)].concat(), 0);
    u32::from(ends) + u32::from(protocol) + len as u32
}

/// Where the checksum of a protocol is.
fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMP | ICMPV6 => Some(2),
        _ => None,
    }
}

fn sum_of(packet: &Packet) -> u16 {
    let start = match packet.protocol {
        ICMP => 0,
        protocol => pseudo(packet.src, packet.dst, protocol, packet.payload.len()),
    };
    checksum(&packet.payload, start)
}

/// A packet with the checksum of its protocol.
pub fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: Vec<u8>) -> Packet {
    let mut packet = Packet {
        src,
        dst,
        protocol,
        ttl: 64,
        tos: 0,
        id: 0x1234,
        dont_fragment: false,
        more: false,
        offset: 0,
        options: Vec::new(),
        payload,
        sound: true,
    };
    if let Some(at) = checksum_at(protocol) {
        let sum = sum_of(&packet);
        packet.payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

pub fn udp(src: End, dst: End, data: &[u8]) -> Packet {
    let mut bytes = [src.1.to_be_bytes(), dst.1.to_be_bytes()].concat();
    bytes.extend((data.len() as u16 + 8).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(data);
    ip(src.0, dst.0, UDP, bytes)
}

/// A segment with sequence and acknowledgement numbers and a window of 65,535.
pub fn tcp(src: End, dst: End, flags: u8, (seq, ack): (u32, u32), data: &[u8]) -> Packet {
    tcp_with(src, dst, flags, (seq, ack), (&[], data))
}

/// The same with options, whose length is a multiple of four.
pub fn tcp_with(
    src: End,
    dst: End,
    flags: u8,
    (seq, ack): (u32, u32),
    (options, data): (&[u8], &[u8]),
) -> Packet {
    let mut bytes = [src.1.to_be_bytes(), dst.1.to_be_bytes()].concat();
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([((20 + options.len()) * 4) as u8, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(options);
    bytes.extend(data);
    ip(src.0, dst.0, TCP, bytes)
}

/// An ICMP message of either version: type, code, the four bytes behind the checksum, data.
pub fn icmp(src: IpAddr, dst: IpAddr, (kind, code): (u8, u8), (rest, data): ([u8; 4], &[u8])) -> Packet {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(rest);
    bytes.extend(data);
    ip(src, dst, if src.is_ipv4() { ICMP } else { ICMPV6 }, bytes)
}

/// A neighbour solicitation (RFC 4861 §4.3), sent to the target itself.
pub fn solicitation(src: IpAddr, target: Ipv6Addr, mac: [u8; 6]) -> Packet {
    let data = [&target.octets()[..], &[1, 1], &mac].concat();
    icmp(src, target.into(), (135, 0), ([0; 4], &data)).with(|p| p.ttl = 255)
}

pub fn ping(src: IpAddr, dst: IpAddr, id: u16) -> Packet {
    let [a, b] = id.to_be_bytes();
    icmp(src, dst, (if src.is_ipv4() { 8 } else { 128 }, 0), ([a, b, 0, 1], b"are you there?"))
}

impl Packet {
    /// The bytes from the IP header on.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes;
        if self.src.is_ipv4() {
            let words = 5 + self.options.len() / 4;
            let len = (words * 4 + self.payload.len()) as u16;
            let fragment =
                u16::from(self.dont_fragment) << 14 | u16::from(self.more) << 13 | (self.offset / 8);
            bytes = vec![0x40 | words as u8, self.tos];
            bytes.extend(len.to_be_bytes());
            bytes.extend(self.id.to_be_bytes());
            bytes.extend(fragment.to_be_bytes());
            bytes.extend([self.ttl, self.protocol, 0, 0]);
            bytes.extend([octets(self.src), octets(self.dst), self.options.clone()].concat());
            let sum = checksum(&bytes, 0) ^ if self.sound { 0 } else { 0x5555 };
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            bytes = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
            bytes.extend((self.payload.len() as u16).to_be_bytes());
            bytes.extend([self.protocol, self.ttl]);
            bytes.extend([octets(self.src), octets(self.dst)].concat());
        }
        bytes.extend(&self.payload);
        bytes
    }

    /// Reads a packet; none if it is none. Extension headers of IPv6 stay payload.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        if bytes.first()? >> 4 == 6 {
            let addr = |at: usize| Some(IpAddr::from(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?)));
            return Some(Self {
                src: addr(8)?,
                dst: addr(24)?,
                protocol: *bytes.get(6)?,
                ttl: *bytes.get(7)?,
                tos: (word(0)? >> 4) as u8,
                id: 0,
                dont_fragment: true,
                more: false,
                offset: 0,
                options: Vec::new(),
                payload: bytes.get(40..bytes.len().min(40 + usize::from(word(4)?)))?.to_vec(),
                sound: true,
            });
        }
        let (header, len) = (usize::from(bytes.first()? & 15) * 4, usize::from(word(2)?));
        let addr = |at: usize| Some(IpAddr::from(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?)));
        let fragment = word(6)?;
        Some(Self {
            src: addr(12)?,
            dst: addr(16)?,
            protocol: *bytes.get(9)?,
            ttl: *bytes.get(8)?,
            tos: *bytes.get(1)?,
            id: word(4)?,
            dont_fragment: fragment & 0x4000 != 0,
            more: fragment & 0x2000 != 0,
            offset: (fragment & 0x1fff) * 8,
            options: bytes.get(20..header)?.to_vec(),
            // What an ICMP error quotes is cut.
            payload: bytes.get(header..len.min(bytes.len()))?.to_vec(),
            sound: checksum(bytes.get(..header)?, 0) == 0,
        })
    }

    /// Source and destination with their ports; the identifier of an echo stands for both.
    pub fn ends(&self) -> (End, End) {
        let word = |at: usize| match self.payload.get(at..at + 2) {
            Some(word) => u16::from_be_bytes([word[0], word[1]]),
            None => 0,
        };
        match self.protocol {
            TCP | UDP => ((self.src, word(0)), (self.dst, word(2))),
            ICMP | ICMPV6 => ((self.src, word(4)), (self.dst, word(4))),
            _ => ((self.src, 0), (self.dst, 0)),
        }
    }

    /// Flags of a segment.
    pub fn flags(&self) -> u8 {
        self.payload.get(13).copied().unwrap_or(0)
    }

    /// Type and code of an ICMP message.
    pub fn kind(&self) -> Option<(u8, u8)> {
        matches!(self.protocol, ICMP | ICMPV6).then(|| (self.payload[0], self.payload[1]))
    }

    /// The packet that an ICMP error quotes.
    pub fn quoted(&self) -> Option<Self> {
        Self::read(self.payload.get(8..)?)
    }

    /// All checksums of a whole packet are right.
    pub fn is_sound(&self) -> bool {
        let is_absent = self.protocol == UDP && self.payload.get(6..8) == Some(&[0, 0]);
        self.sound && (checksum_at(self.protocol).is_none() || is_absent || sum_of(self) == 0)
    }

    /// Fragments of this many bytes of payload each; a multiple of eight.
    pub fn cut(&self, size: usize) -> Vec<Self> {
        let n = self.payload.len().div_ceil(size);
        let piece = |(at, bytes): (usize, &[u8])| Self {
            more: at + 1 < n,
            offset: (at * size) as u16,
            payload: bytes.to_vec(),
            ..self.clone()
        };
        self.payload.chunks(size).enumerate().map(piece).collect()
    }

    /// The answer to a packet: both ends swapped, other data.
    pub fn answer(&self, data: &[u8]) -> Self {
        let (src, dst) = self.ends();
        match self.protocol {
            UDP => udp(dst, src, data),
            ICMP => icmp(
                self.dst,
                self.src,
                (0, 0),
                (*self.payload[4..].first_chunk().expect("an echo"), &self.payload[8..]),
            ),
            _ => ip(self.dst, self.src, self.protocol, data.to_vec()),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
