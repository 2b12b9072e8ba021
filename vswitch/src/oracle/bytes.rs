//! Fields of a frame, read and written one at a time with the views of the packet crate.

use openflow::Field;
use packet::{EtherType, IpProtocol, arp, ethernet, ipv4, ipv6, vlan};

use crate::DropReason;
use crate::extract::{exthdr, refusal};

/// Where the network header is, and what it is.
pub(super) fn network(bytes: &[u8]) -> Option<(EtherType, usize)> {
    let view = ethernet::View::parse(bytes).ok()?;
    if let Ok(tags) = view.tags()
        && check(bytes).is_ok()
    {
        return Some((tags.ethertype, tags.payload_at));
    }
    // What an action announced and is not there has no fields; the tags in front of it are there.
    let mut at = 14;
    while matches!(bytes[at - 2..], [0x81, 0, _, _, _, _, ..] | [0x88, 0xa8, _, _, _, _, ..])
        && at < 14 + 4 * vlan::MAX_TAGS
    {
        at += 4;
    }
    Some((EtherType(0), at))
}

/// Refuses what is no frame.
pub(super) fn check(bytes: &[u8]) -> Result<(), DropReason> {
    let tags = ethernet::View::parse(bytes).and_then(|view| view.tags()).map_err(refusal)?;
    if bytes.len() > 14 + 4 * vlan::MAX_TAGS + 65_535 {
        return Err(DropReason::TooLong);
    }
    let rest = &bytes[tags.payload_at..];
    match tags.ethertype {
        EtherType::IPV4 => ipv4::View::parse(rest).map(|_| ()).map_err(refusal),
        EtherType::IPV6 => ipv6::View::parse(rest).and_then(|v| v.extensions()).map(|_| ()).map_err(refusal),
        _ => Ok(()),
    }
}

/// Protocol, and where its header is if this packet has one.
pub(super) fn transport(bytes: &[u8]) -> Option<(IpProtocol, Option<core::ops::Range<usize>>)> {
    let (kind, at) = network(bytes)?;
    match kind {
        EtherType::IPV4 => {
            let view = ipv4::View::parse(&bytes[at..]).ok()?;
            let start = at + view.header_len();
            let range = start..start + view.payload_len();
            Some((view.protocol(), (!view.is_later_fragment()).then_some(range)))
        }
        EtherType::IPV6 => {
            let view = ipv6::View::parse(&bytes[at..]).ok()?;
            let extensions = view.extensions().ok()?;
            let start = at + ipv6::HEADER_LEN + extensions.len;
            let range = start..at + ipv6::HEADER_LEN + view.payload_len();
            Some((extensions.protocol, (!extensions.is_later_fragment()).then_some(range)))
        }
        _ => None,
    }
}

/// The transport header if it is of `protocol` and as long as one must be.
fn header(bytes: &[u8], protocol: u8, min: usize) -> Option<core::ops::Range<usize>> {
    let (found, range) = transport(bytes)?;
    let version = match protocol {
        1 => EtherType::IPV4,
        58 => EtherType::IPV6,
        _ => network(bytes)?.0,
    };
    range.filter(|r| found.0 == protocol && r.len() >= min && network(bytes).is_some_and(|n| n.0 == version))
}

/// The place of a field that is whole bytes, and the header it needs.
fn place(bytes: &[u8], field: Field) -> Option<core::ops::Range<usize>> {
    use Field as F;
    let (kind, at) = network(bytes)?;
    let in_network = |wanted: EtherType, offset: usize, len: usize| {
        (kind == wanted).then_some(at + offset..at + offset + len)
    };
    let in_transport = |protocol: u8, min: usize, offset: usize, len: usize| {
        header(bytes, protocol, min).map(|r| r.start + offset..r.start + offset + len)
    };
    let in_arp = |offset: usize, len: usize| {
        (kind == EtherType::ARP && arp::View::parse(&bytes[at..]).is_ok())
            .then_some(at + offset..at + offset + len)
    };
    match field {
        F::EthDst => Some(0..6),
        F::EthSrc => Some(6..12),
        F::Ipv4Src => in_network(EtherType::IPV4, 12, 4),
        F::Ipv4Dst => in_network(EtherType::IPV4, 16, 4),
        F::Ipv6Src => in_network(EtherType::IPV6, 8, 16),
        F::Ipv6Dst => in_network(EtherType::IPV6, 24, 16),
        F::TcpSrc => in_transport(6, 20, 0, 2),
        F::TcpDst => in_transport(6, 20, 2, 2),
        F::UdpSrc => in_transport(17, 8, 0, 2),
        F::UdpDst => in_transport(17, 8, 2, 2),
        F::SctpSrc => in_transport(132, 12, 0, 2),
        F::SctpDst => in_transport(132, 12, 2, 2),
        F::Icmpv4Type => in_transport(1, 8, 0, 1),
        F::Icmpv4Code => in_transport(1, 8, 1, 1),
        F::Icmpv6Type => in_transport(58, 4, 0, 1),
        F::Icmpv6Code => in_transport(58, 4, 1, 1),
        F::ArpOp => in_arp(6, 2),
        F::ArpSha => in_arp(8, 6),
        F::ArpSpa => in_arp(14, 4),
        F::ArpTha => in_arp(18, 6),
        F::ArpTpa => in_arp(24, 4),
        F::Ipv6NdTarget => discovery(bytes, &[135, 136]).map(|r| r.start + 8..r.start + 24),
        F::Ipv6NdSll => option(bytes, 135, 1),
        F::Ipv6NdTll => option(bytes, 136, 2),
        _ => None,
    }
}

/// A neighbour solicitation or advertisement (RFC 4861 §4.3, §4.4).
fn discovery(bytes: &[u8], kinds: &[u8]) -> Option<core::ops::Range<usize>> {
    header(bytes, 58, 24).filter(|r| kinds.contains(&bytes[r.start]))
}

/// A link-layer address option (RFC 4861 §4.6.1).
fn option(bytes: &[u8], kind: u8, wanted: u8) -> Option<core::ops::Range<usize>> {
    let icmp = discovery(bytes, &[kind])?;
    let mut at = icmp.start + 24;
    loop {
        let (found, len) = (*bytes[..icmp.end].get(at)?, usize::from(*bytes[..icmp.end].get(at + 1)?) * 8);
        if len == 0 || at + len > icmp.end {
            return None;
        }
        if found == wanted && len == 8 {
            return Some(at + 2..at + 8);
        }
        at += len;
    }
}

pub(super) fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |acc, &b| acc << 8 | u128::from(b))
}

/// The value of a header field; none if the frame has no such header.
pub(super) fn field(bytes: &[u8], field: Field) -> Option<u128> {
    let (kind, at) = network(bytes)?;
    let outer = ethernet::View::parse(bytes).ok()?.tags().ok()?.list.outer();
    let v4 = ipv4::View::parse(&bytes[at..]).ok().filter(|_| kind == EtherType::IPV4);
    let v6 = ipv6::View::parse(&bytes[at..]).ok().filter(|_| kind == EtherType::IPV6);
    let shim =
        (matches!(kind.0, 0x8847 | 0x8848) && bytes.len() >= at + 4).then(|| number(&bytes[at..at + 4]));
    let pbb = (kind.0 == 0x88e7 && bytes.len() >= at + 4).then(|| number(&bytes[at..at + 4]));
    match field {
        Field::EthType => Some(if kind.0 < 0x600 { 0x05ff } else { kind.0.into() }),
        // §7.2.3.7, table 13: no tag has the value OFPVID_NONE, zero.
        Field::VlanVid => Some(outer.map_or(0, |tag| 0x1000 | u128::from(tag.tci.vid()))),
        Field::VlanPcp => outer.map(|tag| tag.tci.pcp().into()),
        Field::IpDscp => v4.map(|v| v.dscp().into()).or(v6.map(|v| v.dscp().into())),
        Field::IpEcn => v4.map(|v| v.ecn().into()).or(v6.map(|v| v.ecn().into())),
        Field::IpProto => transport(bytes).map(|(protocol, _)| protocol.0.into()),
        Field::TcpFlags => header(bytes, 6, 20).map(|r| number(&bytes[r.start + 12..r.start + 14]) & 0xfff),
        Field::Ipv6Flabel => v6.map(|v| v.flow_label().into()),
        Field::Ipv6Exthdr => v6.and_then(|v| v.extensions().ok()).map(|e| extensions(&e).into()),
        Field::MplsLabel => shim.map(|s| s >> 12),
        Field::MplsTc => shim.map(|s| s >> 9 & 7),
        Field::MplsBos => shim.map(|s| s >> 8 & 1),
        Field::PbbIsid => pbb.map(|t| t & 0xff_ffff),
        Field::PbbUca => pbb.map(|t| t >> 27 & 1),
        _ => place(bytes, field).map(|range| number(&bytes[range])),
    }
}

/// The bits of IPV6_EXTHDR, counted header by header (§7.2.3.7, figure 4 of the text).
fn extensions(walked: &ipv6::Extensions) -> u64 {
    let kinds: Vec<u8> = walked.kinds().map(|kind| kind.0).collect();
    let n = |kind: u8| kinds.iter().filter(|&&k| k == kind).count();
    let mut bits = 0;
    for (kind, bit) in [
        (0, exthdr::HOP),
        (60, exthdr::DESTINATION),
        (43, exthdr::ROUTER),
        (44, exthdr::FRAGMENT),
        (51, exthdr::AUTH),
    ] {
        bits |= if n(kind) > 0 { bit } else { 0 };
        bits |= if n(kind) > if kind == 60 { 2 } else { 1 } { exthdr::REPEATED } else { 0 };
    }
    // RFC 8200 §4.1: the recommended order; destination options may stand before routing and at the end.
    let order = |at: usize| match kinds[at] {
        0 => 1,
        60 if !kinds[..at].contains(&60) && !kinds[..at].contains(&43) => 2,
        43 => 3,
        44 => 4,
        51 => 5,
        _ => 7,
    };
    let sorted = (1..kinds.len()).all(|at| (0..at).all(|before| order(before) <= order(at)));
    bits |= if sorted { 0 } else { exthdr::UNORDERED };
    match walked.protocol.0 {
        59 => bits | exthdr::NO_NEXT,
        50 => bits | exthdr::ESP,
        _ => bits,
    }
}

/// HC' = ~(~HC + ~m + m') (RFC 1624), a word at a time.
fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let mut sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Writes bytes at an even place of the IP packet, and mends the checksums they are part of.
fn write(bytes: &mut [u8], at: usize, new: &[u8], in_header: bool, in_transport: bool) {
    let (_, start) = network(bytes).unwrap_or((EtherType(0), 0));
    let even = (at - start) % 2;
    // Whole words, beginning at an even place.
    let (start_word, end) = (at - even, at + new.len());
    let range = start_word..(end + (end - start_word) % 2).min(bytes.len());
    let before = bytes.to_vec();
    let old = bytes[range.clone()].to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    let now = bytes[range].to_vec();
    let words: Vec<(u16, u16)> =
        old.chunks(2).zip(now.chunks(2)).map(|(o, n)| (number(o) as u16, number(n) as u16)).collect();
    if in_header {
        mend(bytes, start + 10, &words, false);
    }
    if in_transport && let Some((protocol, Some(range))) = transport(bytes) {
        let pseudo = at < range.start;
        let place = match protocol.0 {
            6 => 16,
            17 => 6,
            1 if pseudo => return,
            1 | 58 => 2,
            132 if !pseudo => return mend_sctp(bytes, &before, range),
            _ => return,
        };
        if range.len() >= place + 2 {
            mend(bytes, range.start + place, &words, protocol.0 == 17);
        }
    }
}

/// SCTP: a CRC32c that was right is right afterwards, one that was wrong stays as wrong (RFC 9260 §6.8). The packet a
/// fragment belongs to is not here.
fn mend_sctp(bytes: &mut [u8], before: &[u8], range: core::ops::Range<usize>) {
    let crc = |bytes: &[u8]| {
        let mut packet = bytes[range.clone()].to_vec();
        packet[8..12].fill(0);
        let mut crc = u32::MAX;
        for byte in packet {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        !crc
    };
    if is_fragment(bytes) {
        return;
    }
    let field: [u8; 4] = core::array::from_fn(|n| bytes[range.start + 8 + n]);
    let field = u32::from_le_bytes(field) ^ crc(before) ^ crc(bytes);
    bytes[range.start + 8..range.start + 12].copy_from_slice(&field.to_le_bytes());
}

fn is_fragment(bytes: &[u8]) -> bool {
    let Some((kind, at)) = network(bytes) else { return false };
    match kind {
        EtherType::IPV4 => ipv4::View::parse(&bytes[at..]).is_ok_and(|view| view.is_fragment()),
        _ => ipv6::View::parse(&bytes[at..])
            .and_then(|view| view.extensions())
            .is_ok_and(|extensions| extensions.fragment.is_some()),
    }
}

pub(super) fn mend(bytes: &mut [u8], at: usize, words: &[(u16, u16)], udp: bool) {
    let old = number(&bytes[at..at + 2]) as u16;
    // RFC 768: zero is "no checksum", and a sum of zero is sent as ones.
    if udp && old == 0 {
        return;
    }
    let new = words.iter().fold(old, |sum, &(o, n)| update(sum, o, n));
    let new = if udp && new == 0 { 0xffff } else { new };
    bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
}

/// Sets a byte of an IPv4 header that begins at `start`, and mends its checksum.
pub(super) fn set_byte_in_ipv4(bytes: &mut [u8], start: usize, at: usize, new: u8) {
    let word = at - (at - start) % 2;
    let old = number(&bytes[word..word + 2]) as u16;
    bytes[at] = new;
    let now = number(&bytes[word..word + 2]) as u16;
    mend(bytes, start + 10, &[(old, now)], false);
}

/// Sets a field, if the frame has it (§5.12).
pub(super) fn set_field(bytes: &mut [u8], field: Field, value: u128) {
    if super::shims::set_field(bytes, field, value) {
        return;
    }
    let Some((kind, at)) = network(bytes) else { return };
    let tagged = at > 14;
    let all = value.to_be_bytes();
    match field {
        Field::VlanVid if tagged => {
            let tci = number(&bytes[14..16]) & 0xf000 | value & 0xfff;
            bytes[14..16].copy_from_slice(&(tci as u16).to_be_bytes());
        }
        Field::VlanPcp if tagged => {
            let tci = number(&bytes[14..16]) & 0x1fff | value << 13;
            bytes[14..16].copy_from_slice(&(tci as u16).to_be_bytes());
        }
        Field::IpDscp | Field::IpEcn if kind == EtherType::IPV4 => {
            let (mask, shift) = if field == Field::IpDscp { (0x03, 2) } else { (0xfc, 0) };
            let tos = bytes[at + 1] & mask | (value as u8) << shift;
            write(bytes, at + 1, &[tos], true, false);
        }
        Field::IpDscp | Field::IpEcn | Field::Ipv6Flabel if kind == EtherType::IPV6 => {
            let (mask, shift): (u32, u32) = match field {
                Field::IpDscp => (0x0fc0_0000, 22),
                Field::IpEcn => (0x0030_0000, 20),
                _ => (0x000f_ffff, 0),
            };
            let word = number(&bytes[at..at + 4]) as u32 & !mask | (value as u32) << shift;
            bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        _ => {
            let Some(range) = place(bytes, field) else { return };
            let new = &all[16 - range.len()..];
            let v4 = matches!(field, Field::Ipv4Src | Field::Ipv4Dst);
            let link = matches!(field, Field::EthDst | Field::EthSrc) || kind == EtherType::ARP;
            if link {
                bytes[range].copy_from_slice(new);
            } else {
                write(bytes, range.start, new, v4, true);
            }
        }
    }
}

/// §5.9.1, table 7; false if there are too many tags already.
pub(super) fn push_vlan(bytes: &mut Vec<u8>, tpid: u16) -> bool {
    let Some((_, at)) = network(bytes) else { return true };
    if (at - 14) / 4 >= vlan::MAX_TAGS {
        return false;
    }
    let tci = if at > 14 { [bytes[14] & 0xef, bytes[15]] } else { [0, 0] };
    let tag = [(tpid >> 8) as u8, tpid as u8, tci[0], tci[1]];
    bytes.splice(12..12, tag);
    true
}

pub(super) fn pop_vlan(bytes: &mut Vec<u8>) {
    if network(bytes).is_some_and(|(_, at)| at > 14) {
        bytes.drain(12..16);
    }
}

/// TTL or hop limit, if the frame is IP.
pub(super) fn ttl(bytes: &[u8]) -> Option<u8> {
    match network(bytes)? {
        (EtherType::IPV4, at) => Some(bytes[at + 8]),
        (EtherType::IPV6, at) => Some(bytes[at + 7]),
        _ => None,
    }
}

pub(super) fn set_ttl(bytes: &mut [u8], ttl: u8) {
    match network(bytes) {
        Some((EtherType::IPV4, at)) => write(bytes, at + 8, &[ttl], true, false),
        Some((EtherType::IPV6, at)) => bytes[at + 7] = ttl,
        _ => {}
    }
}
