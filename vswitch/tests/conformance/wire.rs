//! Frames put together byte by byte from the RFCs, apart from the code under test.

use std::collections::BTreeMap;

use openflow::Field;

/// What a frame carries behind its Ethernet header and tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ARP over Ethernet and IPv4 (RFC 826).
    Arp,
    /// TCP over IPv4.
    Tcp4,
    /// UDP over IPv4.
    Udp4,
    /// SCTP over IPv4.
    Sctp4,
    /// An ICMP message over IPv4.
    Icmp4,
    /// TCP over IPv6.
    Tcp6,
    /// TCP over IPv6 behind a hop-by-hop header.
    Hop6,
    /// UDP over IPv6.
    Udp6,
    /// SCTP over IPv6.
    Sctp6,
    /// An ICMPv6 message.
    Icmp6,
    /// A neighbour solicitation with its source's link-layer address (RFC 4861 §4.3).
    Solicit,
    /// A neighbour advertisement with its target's link-layer address (RFC 4861 §4.4).
    Advert,
}

/// What stands between the addresses and the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encap {
    /// Nothing.
    Plain,
    /// A customer tag.
    Vlan,
    /// A service tag and a customer tag.
    QinQ,
    /// One MPLS label.
    Mpls,
    /// A customer tag and one MPLS label.
    VlanMpls,
    /// A provider's Ethernet header with its service instance (802.1ah).
    Pbb,
}

impl Encap {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Plain, Self::Vlan, Self::QinQ, Self::Mpls, Self::VlanMpls, Self::Pbb];
}

/// The value of each field in a frame; what is not set has its default.
#[derive(Clone, Debug, Default)]
pub struct Values {
    set: BTreeMap<Field, u128>,
    ttl: Option<u8>,
    mpls_ttl: Option<u8>,
}

impl Values {
    /// With another value of a field.
    pub fn with(mut self, field: Field, value: u128) -> Self {
        self.set.insert(field, value);
        self
    }
    /// With another time to live of the packet.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = Some(ttl);
        self
    }
    /// With another time to live of the label.
    pub fn mpls_ttl(mut self, ttl: u8) -> Self {
        self.mpls_ttl = Some(ttl);
        self
    }
    /// The value of a field.
    pub fn get(&self, field: Field) -> u128 {
        self.set.get(&field).copied().unwrap_or_else(|| default(field))
    }
    fn be<const N: usize>(&self, field: Field) -> [u8; N] {
        let bytes = self.get(field).to_be_bytes();
        core::array::from_fn(|n| bytes[16 - N + n])
    }
    fn byte(&self, field: Field) -> u8 {
        self.be::<1>(field)[0]
    }
}

/// What a field has in a frame that says nothing else of it.
pub fn default(field: Field) -> u128 {
    match field {
        Field::InPort | Field::InPhyPort => 1,
        Field::Metadata => 0x1122_3344_5566_7788,
        Field::EthDst => 0x0212_3456_789a,
        Field::EthSrc => 0x02ab_cdef_0123,
        Field::VlanVid => 0x1000 | 0x123,
        Field::VlanPcp => 5,
        Field::IpDscp => 0x2a,
        Field::IpEcn => 1,
        Field::Ipv4Src => 0xc0a8_0a0a,
        Field::Ipv4Dst => 0xc0a8_145a,
        Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => 0x1234,
        Field::TcpDst | Field::UdpDst | Field::SctpDst => 0x4321,
        Field::Icmpv4Type => 8,
        Field::Icmpv4Code => 0,
        Field::ArpOp => 1,
        Field::ArpSpa => 0x0a00_0001,
        Field::ArpTpa => 0x0a00_0003,
        Field::ArpSha => 0x02ab_cdef_0123,
        Field::ArpTha => 0x0255_aa55_aa55,
        Field::Ipv6Src => 0x2001_0db8_0001_0002_0003_0004_0005_0006,
        Field::Ipv6Dst => 0x2001_0db8_aaaa_bbbb_cccc_dddd_eeee_1234,
        Field::Ipv6Flabel => 0x5_4321,
        Field::Icmpv6Type => 128,
        Field::Icmpv6Code => 0,
        Field::Ipv6NdTarget => 0xfe80_0000_0000_0000_0000_0000_1234_5678,
        Field::Ipv6NdSll | Field::Ipv6NdTll => 0x0200_5e00_5301,
        Field::MplsLabel => 0x1_2345,
        Field::MplsTc => 3,
        Field::MplsBos => 1,
        Field::PbbIsid => 0xa1_b2c3,
        Field::PbbUca => 1,
        Field::TcpFlags => 0x012,
        _ => 0,
    }
}

/// The frame of this kind and encapsulation with these values.
pub fn frame(kind: Kind, encap: Encap, values: &Values) -> Vec<u8> {
    let addresses = [values.be::<6>(Field::EthDst), values.be::<6>(Field::EthSrc)].concat();
    let (ethertype, packet) = packet(kind, values);
    let ethertype = ethertype.to_be_bytes();
    let tag = |tpid: u16| {
        let tci = (values.get(Field::VlanPcp) as u16) << 13 | values.get(Field::VlanVid) as u16 & 0xfff;
        [tpid.to_be_bytes(), tci.to_be_bytes()].concat()
    };
    // RFC 3032 §2.1: label 20 bits, class 3, bottom of stack 1, TTL 8.
    let shim = (values.get(Field::MplsLabel) as u32) << 12
        | (values.get(Field::MplsTc) as u32) << 9
        | (values.get(Field::MplsBos) as u32) << 8
        | u32::from(values.mpls_ttl.unwrap_or(33));
    let labelled = [&[0x88, 0x47][..], &shim.to_be_bytes()].concat();
    let front = match encap {
        Encap::Plain => ethertype.to_vec(),
        Encap::Vlan => [&tag(0x8100)[..], &ethertype].concat(),
        Encap::QinQ => [&tag(0x88a8)[..], &[0x81, 0x00, 0x00, 0x07], &ethertype].concat(),
        Encap::Mpls => labelled,
        Encap::VlanMpls => [tag(0x8100), labelled].concat(),
        Encap::Pbb => {
            // IEEE 802.1ah §9.7: priority 3, drop eligible 1, use customer address 1, reserved 3, service instance 24.
            let flags = [(values.get(Field::PbbUca) as u8) << 3];
            let customer = [[2, 0, 0, 0, 0, 0xc1], [2, 0, 0, 0, 0, 0xc2]].concat();
            [&[0x88, 0xe7][..], &flags, &values.be::<3>(Field::PbbIsid), &customer, &ethertype].concat()
        }
    };
    [addresses, front, packet].concat()
}

/// Ethertype and bytes of the packet.
fn packet(kind: Kind, values: &Values) -> (u16, Vec<u8>) {
    match kind {
        Kind::Arp => (0x0806, arp(values)),
        Kind::Tcp4 => (0x0800, ipv4(6, values, &|pseudo| tcp(values, pseudo))),
        Kind::Udp4 => (0x0800, ipv4(17, values, &|pseudo| udp(values, pseudo))),
        Kind::Sctp4 => (0x0800, ipv4(132, values, &|_| sctp(values))),
        Kind::Icmp4 => (0x0800, ipv4(1, values, &|_| icmp4(values))),
        Kind::Tcp6 => (0x86dd, ipv6(6, values, &[], &|pseudo| tcp(values, pseudo))),
        // Next header TCP, length 0, a PadN option of four bytes (RFC 8200 §4.3, §4.2).
        Kind::Hop6 => (0x86dd, ipv6(6, values, &[6, 0, 1, 4, 0, 0, 0, 0], &|pseudo| tcp(values, pseudo))),
        Kind::Udp6 => (0x86dd, ipv6(17, values, &[], &|pseudo| udp(values, pseudo))),
        Kind::Sctp6 => (0x86dd, ipv6(132, values, &[], &|_| sctp(values))),
        Kind::Icmp6 => {
            let rest = [0x12, 0x34, 0, 1, b'e', b'c', b'h', b'o'];
            (0x86dd, ipv6(58, values, &[], &|pseudo| icmp6(values, &rest, pseudo)))
        }
        Kind::Solicit | Kind::Advert => {
            let solicit = kind == Kind::Solicit;
            let (option, field) = if solicit { (1, Field::Ipv6NdSll) } else { (2, Field::Ipv6NdTll) };
            let target = values.be::<16>(Field::Ipv6NdTarget);
            let rest = [&[0; 4][..], &target, &[option, 1], &values.be::<6>(field)].concat();
            let values = values.clone().with(Field::Icmpv6Type, if solicit { 135 } else { 136 });
            (0x86dd, ipv6(58, &values, &[], &|pseudo| icmp6(&values, &rest, pseudo)))
        }
    }
}

fn arp(values: &Values) -> Vec<u8> {
    [
        &[0, 1, 8, 0, 6, 4][..],
        &values.be::<2>(Field::ArpOp),
        &values.be::<6>(Field::ArpSha),
        &values.be::<4>(Field::ArpSpa),
        &values.be::<6>(Field::ArpTha),
        &values.be::<4>(Field::ArpTpa),
    ]
    .concat()
}

/// The segment for a pseudo header without its length.
type Segment<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

fn traffic_class(values: &Values) -> u8 {
    values.byte(Field::IpDscp) << 2 | values.byte(Field::IpEcn)
}

fn ipv4(proto: u8, values: &Values, segment: Segment<'_>) -> Vec<u8> {
    let addresses = [values.be::<4>(Field::Ipv4Src), values.be::<4>(Field::Ipv4Dst)].concat();
    let payload = segment(&[&addresses[..], &[0, proto]].concat());
    let len = (20 + payload.len() as u16).to_be_bytes();
    let front =
        [0x45, traffic_class(values), len[0], len[1], 0xab, 0xcd, 0x40, 0, values.ttl.unwrap_or(64), proto];
    let sum = internet(&[&front[..], &[0, 0], &addresses].concat()).to_be_bytes();
    [&front[..], &sum, &addresses, &payload].concat()
}

fn ipv6(proto: u8, values: &Values, extension: &[u8], segment: Segment<'_>) -> Vec<u8> {
    let addresses = [values.be::<16>(Field::Ipv6Src), values.be::<16>(Field::Ipv6Dst)].concat();
    let payload = segment(&[&addresses[..], &[0, 0, 0, proto]].concat());
    let first = 6 << 28 | u32::from(traffic_class(values)) << 20 | values.get(Field::Ipv6Flabel) as u32;
    let len = ((extension.len() + payload.len()) as u16).to_be_bytes();
    let next = if extension.is_empty() { proto } else { 0 };
    let rest = [len[0], len[1], next, values.ttl.unwrap_or(64)];
    [&first.to_be_bytes()[..], &rest, &addresses, extension, &payload].concat()
}

/// With the Internet checksum over pseudo header and segment at `at`.
fn summed(mut segment: Vec<u8>, at: usize, pseudo: &[u8]) -> Vec<u8> {
    let len = (segment.len() as u16).to_be_bytes();
    let sum = internet(&[pseudo, &len, &segment].concat());
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn tcp(values: &Values, pseudo: &[u8]) -> Vec<u8> {
    let flags = 0x5000 | values.get(Field::TcpFlags) as u16;
    let segment = [
        &values.be::<2>(Field::TcpSrc)[..],
        &values.be::<2>(Field::TcpDst),
        &[0, 0, 0, 9, 0, 0, 0, 8],
        &flags.to_be_bytes(),
        &[0x20, 0, 0, 0, 0, 0],
        b"segment",
    ]
    .concat();
    summed(segment, 16, pseudo)
}

fn udp(values: &Values, pseudo: &[u8]) -> Vec<u8> {
    let ports = [values.be::<2>(Field::UdpSrc), values.be::<2>(Field::UdpDst)].concat();
    summed([&ports[..], &[0, 16, 0, 0], b"datagram"].concat(), 6, pseudo)
}

fn sctp(values: &Values) -> Vec<u8> {
    let ports = [values.be::<2>(Field::SctpSrc), values.be::<2>(Field::SctpDst)].concat();
    let mut packet = [&ports[..], &[0, 0, 0, 1, 0, 0, 0, 0], &[0, 3, 0, 18], b"chunk of data!..."].concat();
    // RFC 9260 §6.8, appendix A: CRC32c, least significant byte first.
    let crc = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&crc);
    packet
}

fn icmp4(values: &Values) -> Vec<u8> {
    let kind = [values.byte(Field::Icmpv4Type), values.byte(Field::Icmpv4Code)];
    let mut message = [&kind[..], &[0, 0, 0x12, 0x34, 0, 1], b"echo"].concat();
    let sum = internet(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

fn icmp6(values: &Values, rest: &[u8], pseudo: &[u8]) -> Vec<u8> {
    let kind = [values.byte(Field::Icmpv6Type), values.byte(Field::Icmpv6Code)];
    summed([&kind[..], &[0, 0], rest].concat(), 2, pseudo)
}

/// RFC 1071.
fn internet(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Castagnoli's polynomial, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

/// The wire itself is held to published vectors: RFC 1071 §3 and RFC 3720 §B.4 (32 bytes of zeros).
#[test]
fn the_checksums_are_those_of_the_rfcs() {
    assert_eq!(internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    assert_eq!(crc32c(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
}
