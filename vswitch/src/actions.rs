//! Header changes: each step on the bytes of a frame, checksums adjusted in place.
//!
//! A partial checksum (see `packet::checksum`) holds only the pseudo header: addresses go into it without complement,
//! ports not at all. A step whose field the frame does not have changes nothing.

use openflow::Field;
use packet::checksum::{self, Delta};
use packet::crc32c;
use packet::vlan::{self, Tag, Tci};
use packet::{EtherType, Frame, IpProtocol};

use crate::extract::{Places, link_address_option, min_transport_len};
use crate::shims;

/// There is no room for another tag.
pub(crate) struct NoRoom;

/// TTL or hop limit was used up.
pub(crate) struct Expired;

pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[a, b]) => u16::from_be_bytes([a, b]),
        _ => 0,
    }
}

/// §5.9.1: the new tag takes VLAN id and priority from the one that was outermost.
pub(crate) fn push_vlan(frame: &mut Frame, places: &mut Places, tpid: u16) -> Result<(), NoRoom> {
    if usize::from(places.n_tags) >= vlan::MAX_TAGS {
        return Err(NoRoom);
    }
    let tci = if places.n_tags > 0 { be16(frame.head(), 14) & 0xefff } else { 0 };
    frame.push_vlan(Tag { tpid: EtherType(tpid), tci: Tci(tci) }).map_err(|_| NoRoom)?;
    places.n_tags += 1;
    places.network_at += vlan::TAG_LEN as u16;
    if places.transport_at != 0 {
        places.transport_at += vlan::TAG_LEN as u16;
    }
    Ok(())
}

/// Takes the outermost tag off, if there is one.
pub(crate) fn pop_vlan(frame: &mut Frame, places: &mut Places) {
    if places.n_tags == 0 || frame.pop_vlan().is_none() {
        return;
    }
    if places.is_unreadable() {
        // What it is may be told by the tag that was one too many.
        return shims::reread(frame, places);
    }
    places.n_tags -= 1;
    places.network_at -= vlan::TAG_LEN as u16;
    places.transport_at = places.transport_at.saturating_sub(vlan::TAG_LEN as u16);
}

/// Sets TTL or hop limit, if the frame is IP.
pub(crate) fn set_ttl(frame: &mut Frame, places: &Places, ttl: u8) {
    let at = usize::from(places.network_at);
    match places.ethertype {
        0x0800 => set_ipv4_word(frame, at, 8, |word| u16::from(ttl) << 8 | word & 0xff),
        0x86dd => {
            if let Some(limit) = frame.head_mut().get_mut(at + 7) {
                *limit = ttl;
            }
        }
        _ => {}
    }
}

/// Decrements TTL or hop limit, if the frame is IP.
pub(crate) fn dec_ttl(frame: &mut Frame, places: &Places) -> Result<(), Expired> {
    let at = usize::from(places.network_at)
        + match places.ethertype {
            0x0800 => 8,
            0x86dd => 7,
            _ => return Ok(()),
        };
    match frame.head().get(at) {
        Some(&ttl) if ttl > 1 => {
            set_ttl(frame, places, ttl - 1);
            Ok(())
        }
        _ => Err(Expired),
    }
}

/// Changes a word of an IPv4 header and its checksum.
pub(crate) fn set_ipv4_word(frame: &mut Frame, at: usize, offset: usize, change: impl FnOnce(u16) -> u16) {
    let Some(header) = frame.head_mut().get_mut(at..at + 20) else { return };
    let old = be16(header, offset);
    let new = change(old);
    header[offset..offset + 2].copy_from_slice(&new.to_be_bytes());
    let sum = Delta::NONE.word(old, new).apply(be16(header, 10));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Sets a field, if the frame has it.
#[inline]
pub(crate) fn set_field(frame: &mut Frame, places: &mut Places, field: Field, value: u128) {
    match field {
        Field::EthType => shims::set_eth_type(frame, places, value as u16),
        Field::IpProto => set_protocol(frame, places, value as u8),
        Field::MplsLabel | Field::MplsTc | Field::MplsBos | Field::PbbIsid | Field::PbbUca => {
            shims::set_field(frame, places, field, value);
        }
        Field::EthDst => copy(frame, 0, &mac(value)),
        Field::EthSrc => copy(frame, 6, &mac(value)),
        Field::VlanVid | Field::VlanPcp if places.n_tags == 0 => {}
        Field::VlanVid => {
            let tci = be16(frame.head(), 14) & 0xf000 | value as u16 & 0x0fff;
            copy(frame, 14, &tci.to_be_bytes());
        }
        Field::VlanPcp => {
            let tci = be16(frame.head(), 14) & 0x1fff | (value as u16) << 13;
            copy(frame, 14, &tci.to_be_bytes());
        }
        Field::ArpOp | Field::ArpSpa | Field::ArpTpa | Field::ArpSha | Field::ArpTha => {
            set_arp(frame, places, field, value);
        }
        _ if places.ethertype == 0x0800 => set_in_ipv4(frame, places, field, value),
        _ if places.ethertype == 0x86dd => set_in_ipv6(frame, places, field, value),
        _ => {}
    }
}

/// Sets the protocol of an IP packet. The checksum of the transport header there was takes part: the protocol is in its
/// pseudo header.
#[inline(never)]
fn set_protocol(frame: &mut Frame, places: &mut Places, new: u8) {
    let network_at = usize::from(places.network_at);
    let at = match places.ethertype {
        0x0800 => network_at + 9,
        0x86dd => shims::ipv6_protocol_at(frame, places),
        _ => return,
    };
    let Some(&old) = frame.head().get(at) else { return };
    adjust_transport(frame, places, Delta::NONE.word(old.into(), new.into()), Delta::NONE);
    if places.ethertype == 0x0800 {
        set_ipv4_word(frame, network_at, 8, |word| word & 0xff00 | u16::from(new));
    } else {
        copy(frame, at, &[new]);
    }
    shims::reread(frame, places);
}

/// The DSCP of an IP frame.
pub(crate) fn dscp(frame: &Frame, places: &Places) -> Option<u8> {
    let word = be16(frame.head(), usize::from(places.network_at));
    match places.ethertype {
        0x0800 => Some((word & 0xff) as u8 >> 2),
        0x86dd => Some((word >> 6 & 0x3f) as u8),
        _ => None,
    }
}

fn mac(value: u128) -> [u8; 6] {
    let [_, _, mac @ ..] = (value as u64).to_be_bytes();
    mac
}

#[inline(always)]
pub(crate) fn copy(frame: &mut Frame, at: usize, bytes: &[u8]) {
    if let Some(place) = frame.head_mut().get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn set_arp(frame: &mut Frame, places: &Places, field: Field, value: u128) {
    let at = usize::from(places.network_at);
    let is_arp = places.ethertype == 0x0806
        && frame.head().get(at..at + 28).is_some_and(|packet| packet[..6] == [0, 1, 8, 0, 6, 4]);
    let ip = (value as u32).to_be_bytes();
    match field {
        _ if !is_arp => {}
        Field::ArpOp => copy(frame, at + 6, &(value as u16).to_be_bytes()),
        Field::ArpSha => copy(frame, at + 8, &mac(value)),
        Field::ArpSpa => copy(frame, at + 14, &ip),
        Field::ArpTha => copy(frame, at + 18, &mac(value)),
        _ => copy(frame, at + 24, &ip),
    }
}

fn set_in_ipv4(frame: &mut Frame, places: &Places, field: Field, value: u128) {
    let at = usize::from(places.network_at);
    match field {
        Field::IpDscp => set_ipv4_word(frame, at, 0, |word| word & 0xff03 | (value as u16) << 2),
        Field::IpEcn => set_ipv4_word(frame, at, 0, |word| word & 0xfffc | value as u16),
        Field::Ipv4Src | Field::Ipv4Dst => {
            let offset = if field == Field::Ipv4Src { 12 } else { 16 };
            let Some(header) = frame.head_mut().get_mut(at..at + 20) else { return };
            let old = u32::from(be16(header, offset)) << 16 | u32::from(be16(header, offset + 2));
            let new = value as u32;
            header[offset..offset + 4].copy_from_slice(&new.to_be_bytes());
            let delta = Delta::NONE.double(old, new);
            let sum = delta.apply(be16(header, 10));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            adjust_transport(frame, places, delta, Delta::NONE);
        }
        _ => set_in_transport(frame, places, field, value),
    }
}

fn set_in_ipv6(frame: &mut Frame, places: &Places, field: Field, value: u128) {
    let at = usize::from(places.network_at);
    let first = u32::from(be16(frame.head(), at)) << 16 | u32::from(be16(frame.head(), at + 2));
    let new = match field {
        Field::IpDscp => first & !0x0fc0_0000 | (value as u32) << 22,
        Field::IpEcn => first & !0x0030_0000 | (value as u32) << 20,
        Field::Ipv6Flabel => first & !0x000f_ffff | value as u32,
        Field::Ipv6Src => return set_ipv6_address(frame, places, 8, value),
        Field::Ipv6Dst => return set_ipv6_address(frame, places, 24, value),
        _ => return set_in_transport(frame, places, field, value),
    };
    copy(frame, at, &new.to_be_bytes());
}

fn set_ipv6_address(frame: &mut Frame, places: &Places, offset: usize, value: u128) {
    let at = usize::from(places.network_at) + offset;
    let Some(place) = frame.head_mut().get_mut(at..).and_then(|b| b.first_chunk_mut::<16>()) else { return };
    let old = u128::from_be_bytes(*place);
    *place = value.to_be_bytes();
    adjust_transport(frame, places, Delta::NONE.ipv6(old.into(), value.into()), Delta::NONE);
}

/// Where the checksum of the transport header is, and how it is to be read.
fn transport_checksum(frame: &Frame, places: &Places) -> Option<(usize, checksum::Field)> {
    let at = usize::from(places.transport_at);
    if at == 0 {
        return None;
    }
    let (offset, kind) = match IpProtocol(places.protocol) {
        IpProtocol::TCP => (16, checksum::Field::Complete),
        IpProtocol::UDP => (6, checksum::Field::CompleteUdp),
        IpProtocol::ICMP | IpProtocol::ICMPV6 => (2, checksum::Field::Complete),
        // SCTP's is a CRC32c: see `set_sctp_port`.
        _ => return None,
    };
    if usize::from(places.transport_len) < offset + 2 || frame.head().len() < at + offset + 2 {
        return None;
    }
    let partial =
        frame.meta.csum.is_some_and(|c| usize::from(c.start) + usize::from(c.offset) == at + offset);
    Some((at + offset, if partial { checksum::Field::Partial } else { kind }))
}

/// Adjusts the transport checksum for changes of addresses and of what it covers.
pub(crate) fn adjust_transport(frame: &mut Frame, places: &Places, pseudo: Delta, body: Delta) {
    // ICMP over IPv4 has no pseudo header (RFC 792).
    let pseudo = if places.protocol == 1 { Delta::NONE } else { pseudo };
    let Some((at, kind)) = transport_checksum(frame, places) else { return };
    let new = checksum::adjust(be16(frame.head(), at), kind, pseudo, body);
    copy(frame, at, &new.to_be_bytes());
}

fn set_in_transport(frame: &mut Frame, places: &Places, field: Field, value: u128) {
    let wanted = match field {
        Field::TcpSrc | Field::TcpDst => 6,
        Field::UdpSrc | Field::UdpDst => 17,
        Field::SctpSrc | Field::SctpDst => 132,
        Field::Icmpv4Type | Field::Icmpv4Code => 1,
        Field::Icmpv6Type | Field::Icmpv6Code | Field::Ipv6NdTarget | Field::Ipv6NdSll | Field::Ipv6NdTll => {
            58
        }
        _ => return,
    };
    let (at, len) = (usize::from(places.transport_at), usize::from(places.transport_len));
    let whole = min_transport_len(wanted).is_some_and(|n| len >= n && frame.head().len() >= at + n);
    if at == 0 || places.protocol != wanted || !whole {
        return;
    }
    // An ICMP of the other version of IP is none.
    if wanted == 1 && places.ethertype != 0x0800 || wanted == 58 && places.ethertype != 0x86dd {
        return;
    }
    match field {
        Field::TcpSrc | Field::UdpSrc => set_word(frame, places, at, value as u16),
        Field::TcpDst | Field::UdpDst => set_word(frame, places, at + 2, value as u16),
        Field::SctpSrc => set_sctp_port(frame, places, 0, value as u16),
        Field::SctpDst => set_sctp_port(frame, places, 2, value as u16),
        Field::Icmpv4Type | Field::Icmpv6Type => {
            let code = be16(frame.head(), at) & 0xff;
            set_word(frame, places, at, (value as u16) << 8 | code);
        }
        Field::Icmpv4Code | Field::Icmpv6Code => {
            let kind = be16(frame.head(), at) & 0xff00;
            set_word(frame, places, at, kind | value as u16);
        }
        _ => set_discovery(frame, places, field, value),
    }
}

/// Changes a word of the transport header or payload at an even place, and the checksum.
fn set_word(frame: &mut Frame, places: &Places, at: usize, new: u16) {
    let old = be16(frame.head(), at);
    copy(frame, at, &new.to_be_bytes());
    adjust_transport(frame, places, Delta::NONE, Delta::NONE.word(old, new));
}

/// Changes a port of SCTP and its CRC32c (RFC 9260 §6.8), which covers the packet with a CRC of zero.
fn set_sctp_port(frame: &mut Frame, places: &Places, offset: usize, new: u16) {
    let at = usize::from(places.transport_at);
    let old = be16(frame.head(), at + offset);
    copy(frame, at + offset, &new.to_be_bytes());
    let Some(field) = frame.head().get(at + 8..).and_then(|rest| rest.first_chunk::<4>()) else { return };
    // The CRC of a fragmented packet covers bytes that are not here; it cannot be adjusted without their number.
    if places.is_fragment {
        return;
    }
    let n_after = usize::from(places.transport_len) - offset - 2;
    let crc = crc32c::adjust(u32::from_le_bytes(*field), &(old ^ new).to_be_bytes(), n_after);
    copy(frame, at + 8, &crc.to_le_bytes());
}

fn set_discovery(frame: &mut Frame, places: &Places, field: Field, value: u128) {
    let at = usize::from(places.transport_at);
    let end = frame.head().len().min(at + usize::from(places.transport_len));
    let icmp = &frame.head()[at..end];
    let kind = icmp[0];
    if icmp.len() < 24 || !matches!(kind, 135 | 136) {
        return;
    }
    let option = link_address_option(icmp);
    let bytes = value.to_be_bytes();
    let (at, bytes) = match (field, option) {
        (Field::Ipv6NdTarget, _) => (at + 8, &bytes[..]),
        (Field::Ipv6NdSll, Some(option)) if kind == 135 => (at + option, &bytes[10..]),
        (Field::Ipv6NdTll, Some(option)) if kind == 136 => (at + option, &bytes[10..]),
        _ => return,
    };
    for (n, word) in bytes.as_chunks::<2>().0.iter().enumerate() {
        set_word(frame, places, at + 2 * n, u16::from_be_bytes(*word));
    }
}

/// The VLAN id of the outermost tag, zero for none.
pub(crate) fn vlan_id(frame: &Frame, places: &Places) -> u16 {
    if places.n_tags == 0 { 0 } else { be16(frame.head(), 14) & 0x0fff }
}

/// VLAN and source address of a frame as NORMAL learns them, and the destination likewise.
pub(crate) fn stations(frame: &Frame, places: &Places) -> (u64, u64) {
    let vlan = u64::from(vlan_id(frame, places)) << 48;
    let mac = |at: usize| {
        let word = |n: usize| u64::from(be16(frame.head(), at + n));
        word(0) << 32 | word(2) << 16 | word(4)
    };
    (vlan | mac(6), vlan | mac(0))
}
