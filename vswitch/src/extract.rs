//! From a frame to its key: a single walk that checks every length it meets.
//!
//! A frame whose Ethernet or IP lengths lie is refused whatever the tables want to know, so that what is dropped does
//! not depend on the flows. What a transport header says is only read if [`Depth::All`] asks for it; if it is cut, its
//! fields are absent.

use openflow::PortNo;
use packet::{Frame, IpProtocol, Layer, ParseError, ipv6, vlan};

use crate::DropReason;
use crate::key::{self, Depth, Key, Valid};

/// Longest frame: a full IP packet behind an Ethernet header and every tag.
pub(crate) const MAX_FRAME: usize = 14 + vlan::MAX_TAGS * vlan::TAG_LEN + 65_535;
/// Ethertype of IPv4, version 4, a header of five words.
const PLAIN_IPV4: u64 = 0x08_0045;
/// What frames of IEEE 802.3 with a length have as Ethertype (OFP_DL_TYPE_NOT_ETH_TYPE).
const NOT_AN_ETHERTYPE: u16 = 0x05ff;

/// Where the headers of a frame are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// The Ethertype after the tags (§7.2.3.7); zero if what follows them is not that, which only actions can bring about.
    pub ethertype: u16,
    /// VLAN tags.
    pub n_tags: u8,
    /// The network header.
    pub network_at: u16,
    /// The transport header; zero if the frame is not IP or a later fragment.
    pub transport_at: u16,
    /// Bytes from there to the end of the IP packet.
    pub transport_len: u16,
    /// IP protocol after the extension headers.
    pub protocol: u8,
    /// Any fragment.
    pub is_fragment: bool,
}

impl Places {
    /// Actions left something behind the tags that is not what the frame says it is.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.ethertype == 0
    }
}

#[inline(always)]
fn be16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[a, b]) => u16::from_be_bytes([a, b]),
        _ => 0,
    }
}

#[inline(always)]
fn be32(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|b| b.first_chunk::<4>()) {
        Some(word) => u32::from_be_bytes(*word).into(),
        None => 0,
    }
}

#[inline(always)]
fn be48(bytes: &[u8], at: usize) -> u64 {
    be32(bytes, at) << 16 | u64::from(be16(bytes, at + 4))
}

#[inline(always)]
fn be64(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|b| b.first_chunk::<8>()) {
        Some(word) => u64::from_be_bytes(*word),
        None => 0,
    }
}

/// Reads `frame` into `key`, which is all zero, as far as `depth`, and finds its headers. Words beyond `depth` may stay
/// zero.
///
/// # Errors
/// Why the frame must be dropped.
pub(crate) fn extract(
    frame: &Frame,
    in_port: PortNo,
    depth: Depth,
    key: &mut Key,
) -> Result<Places, DropReason> {
    let mut places = Places::default();
    extract_to(frame, in_port, depth, (key, &mut places))?;
    Ok(places)
}

/// The same, for many frames: what is found is written to where it is to be, since to move a structure of small fields
/// that were just written stalls the processor.
#[inline(always)]
pub(crate) fn extract_to(
    frame: &Frame,
    in_port: PortNo,
    depth: Depth,
    (key, places): (&mut Key, &mut Places),
) -> Result<(), DropReason> {
    let (head, len) = (frame.head(), frame.len());
    let Some(ethernet) = head.first_chunk::<14>() else { return Err(DropReason::TooShort) };
    if len > MAX_FRAME {
        return Err(DropReason::TooLong);
    }
    let (dst, src) = (be64(ethernet, 0), be64(ethernet, 6));
    if plain_ipv4(head, len, places, key) {
        key[key::DST_PROTO] |= dst & !0xffff;
        key[key::SRC_VALID] = src & !0xffff;
        key[key::PORT_TYPE_VLAN] = u64::from(in_port.0) << 32 | 0x0800 << 16;
        if depth == Depth::All {
            transport(head, places, key);
        }
        return Ok(());
    }
    *places = Places { ethertype: src as u16, network_at: 14, ..Places::default() };
    let mut tci = 0;
    if places.ethertype == 0x8100 || places.ethertype == 0x88a8 {
        tci = tags(head, places, key)?;
    }
    if places.ethertype < 0x600 {
        places.ethertype = NOT_AN_ETHERTYPE;
    }
    key[key::DST_PROTO] = dst & !0xffff;
    key[key::SRC_VALID] = src & !0xffff;
    match places.ethertype {
        0x0800 => ipv4(head, len, places, key)?,
        0x86dd => ipv6(head, len, places, depth, key)?,
        _ if depth == Depth::Link => {}
        0x0806 => arp(head, places, key),
        0x8847 | 0x8848 => mpls(head, places, key),
        0x88e7 => pbb(head, places, key),
        _ => {}
    }
    if depth == Depth::All && places.transport_at != 0 {
        transport(head, places, key);
    }
    key[key::PORT_TYPE_VLAN] = u64::from(in_port.0) << 32 | u64::from(places.ethertype) << 16 | tci;
    Ok(())
}

/// Reads IPv4 as it usually comes: without a tag before it, options, fragments or lies. Anything else is left to others.
#[inline(always)]
fn plain_ipv4(head: &[u8], len: usize, places: &mut Places, key: &mut Key) -> bool {
    let Some(start) = head.first_chunk::<34>() else { return false };
    // Ethertype, version and length of the header, DSCP, total length, identification; fragments, TTL, protocol, checksum.
    let (first, second) = (be64(start, 12), be64(start, 20));
    let payload_len = usize::from((first >> 16) as u16).wrapping_sub(20);
    if first >> 40 != PLAIN_IPV4 || second >> 48 & 0x3fff != 0 || payload_len > len - 34 {
        return false;
    }
    let protocol = (second >> 32) as u8;
    *places = Places {
        ethertype: 0x0800,
        n_tags: 0,
        network_at: 14,
        transport_at: 34,
        transport_len: payload_len as u16,
        protocol,
        is_fragment: false,
    };
    key[key::DST_PROTO] = u64::from(protocol) << 8 | (first >> 32) & 0xff;
    key[key::IPV4] = be64(start, 26);
    true
}

/// Reads the tags; returns the outermost as it stands in word 0.
#[inline(never)]
fn tags(head: &[u8], places: &mut Places, key: &mut Key) -> Result<u64, DropReason> {
    let mut all = [0u64; vlan::MAX_TAGS];
    let mut at = 14;
    while places.ethertype == 0x8100 || places.ethertype == 0x88a8 {
        if head.len() < at + vlan::TAG_LEN {
            return Err(DropReason::TooShort);
        }
        let Some(slot) = all.get_mut(usize::from(places.n_tags)) else { return Err(DropReason::TooManyTags) };
        let tci = be16(head, at);
        // The bit of the drop eligible indicator says "present" in a key: the indicator itself is no match field.
        *slot = u64::from(tci & 0xefff) | key::VID_PRESENT;
        places.n_tags += 1;
        places.ethertype = be16(head, at + 2);
        at += vlan::TAG_LEN;
    }
    places.network_at = at as u16;
    key[key::INNER_TAGS] = all[1] << 48 | all[2] << 32 | all[3] << 16 | all[4];
    key[key::INNER_TAGS + 1] = all[5] << 48 | all[6] << 32 | all[7] << 16;
    Ok(all[0])
}

#[inline(always)]
fn ipv4(head: &[u8], len: usize, places: &mut Places, key: &mut Key) -> Result<(), DropReason> {
    let at = usize::from(places.network_at);
    let Some(header) = head.get(at..).and_then(|b| b.first_chunk::<20>()) else {
        return Err(DropReason::TooShort);
    };
    let header_len = usize::from(header[0] & 15) * 4;
    let total_len = usize::from(be16(header, 2));
    if header[0] >> 4 != 4 || header_len < 20 || total_len < header_len || total_len > len - at {
        return Err(DropReason::BadLength);
    }
    if head.len() < at + header_len {
        return Err(DropReason::TooShort);
    }
    let fragment = be16(header, 6);
    places.is_fragment = fragment & 0x3fff != 0;
    places.protocol = header[9];
    if fragment & 0x1fff == 0 {
        places.transport_at = (at + header_len) as u16;
        places.transport_len = (total_len - header_len) as u16;
    }
    key[key::DST_PROTO] |= u64::from(header[9]) << 8 | u64::from(header[1]);
    key[key::IPV4] = be64(header, 12);
    Ok(())
}

#[inline(always)]
fn ipv6(head: &[u8], len: usize, places: &mut Places, depth: Depth, key: &mut Key) -> Result<(), DropReason> {
    let at = usize::from(places.network_at);
    let Some(header) = head.get(at..).and_then(|b| b.first_chunk::<40>()) else {
        return Err(DropReason::TooShort);
    };
    let payload_len = usize::from(be16(header, 4));
    if header[0] >> 4 != 6 || payload_len > len - at - 40 {
        return Err(DropReason::BadLength);
    }
    let mut extensions_len = 0;
    let mut later = false;
    places.protocol = header[6];
    let mut exthdr = 0;
    if is_extension(header[6]) {
        let payload = &head[at + 40..head.len().min(at + 40 + payload_len)];
        let walked = ipv6::Extensions::walk(IpProtocol(header[6]), payload).map_err(refusal)?;
        extensions_len = walked.len;
        later = walked.is_later_fragment();
        places.is_fragment = walked.fragment.is_some();
        places.protocol = walked.protocol.0;
        exthdr = extension_bits(&walked);
    } else if header[6] == 59 {
        exthdr = exthdr::NO_NEXT;
    } else if header[6] == 50 {
        exthdr = exthdr::ESP;
    }
    if !later {
        places.transport_at = (at + 40 + extensions_len) as u16;
        places.transport_len = (payload_len - extensions_len) as u16;
    }
    let class = be16(header, 0) >> 4 & 0xff;
    key[key::DST_PROTO] |= u64::from(places.protocol) << 8 | u64::from(class);
    if depth > Depth::Link {
        for (word, at) in
            [(key::IPV6_SRC, 8), (key::IPV6_SRC + 1, 16), (key::IPV6_DST, 24), (key::IPV6_DST + 1, 32)]
        {
            key[word] = be64(header, at);
        }
        key[key::LABELS] = (be32(header, 0) & 0xf_ffff) << 44;
        key[key::TRANSPORT] = exthdr;
    }
    Ok(())
}

/// What a header that cannot be read counts as.
pub(crate) fn refusal(error: ParseError) -> DropReason {
    match error {
        ParseError::Truncated(_) => DropReason::TooShort,
        ParseError::Length(_)
        | ParseError::HeaderLength(_)
        | ParseError::Version(Layer::Ipv4 | Layer::Ipv6) => DropReason::BadLength,
        ParseError::TooManyTags => DropReason::TooManyTags,
        _ => DropReason::BadLength,
    }
}

#[inline(always)]
pub(crate) const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60)
}

/// Bits of IPV6_EXTHDR (ofp_ipv6exthdr_flags, §7.2.3.7).
pub(crate) mod exthdr {
    pub(crate) const NO_NEXT: u64 = 1;
    pub(crate) const ESP: u64 = 2;
    pub(crate) const AUTH: u64 = 4;
    pub(crate) const DESTINATION: u64 = 8;
    pub(crate) const FRAGMENT: u64 = 16;
    pub(crate) const ROUTER: u64 = 32;
    pub(crate) const HOP: u64 = 64;
    pub(crate) const REPEATED: u64 = 128;
    pub(crate) const UNORDERED: u64 = 256;
}

/// The bits of IPV6_EXTHDR for the headers there are.
pub(crate) fn extension_bits(walked: &ipv6::Extensions) -> u64 {
    // RFC 8200 §4.1: hop-by-hop, destination, routing, fragment, authentication, (ESP,) destination.
    let rank = |kind: u8, seen: u64| match kind {
        0 => (exthdr::HOP, 1),
        60 if seen & exthdr::ROUTER == 0 && seen & exthdr::DESTINATION == 0 => (exthdr::DESTINATION, 2),
        43 => (exthdr::ROUTER, 3),
        44 => (exthdr::FRAGMENT, 4),
        51 => (exthdr::AUTH, 5),
        _ => (exthdr::DESTINATION, 7),
    };
    let (mut bits, mut last, mut n_destination) = (0, 0, 0);
    for kind in walked.kinds() {
        let (bit, order) = rank(kind.0, bits);
        let again = bits & bit != 0;
        n_destination += u32::from(bit == exthdr::DESTINATION);
        // RFC 8200 §4.1: each at most once, destination options at most twice.
        if again && (bit != exthdr::DESTINATION || n_destination > 2) {
            bits |= exthdr::REPEATED;
        }
        if order < last {
            bits |= exthdr::UNORDERED;
        }
        bits |= bit;
        last = last.max(order);
    }
    match walked.protocol.0 {
        59 => bits | exthdr::NO_NEXT,
        50 => bits | exthdr::ESP,
        _ => bits,
    }
}

fn arp(head: &[u8], places: &Places, key: &mut Key) {
    let at = usize::from(places.network_at);
    let Some(packet) = head.get(at..).and_then(|b| b.first_chunk::<28>()) else { return };
    if packet[..6] != [0, 1, 8, 0, 6, 4] {
        return;
    }
    key[key::SRC_VALID] |= Valid::ARP;
    key[key::TRANSPORT] = u64::from(be16(packet, 6)) << 48;
    key[key::MAC_SENDER] = be48(packet, 8) << 16;
    key[key::MAC_TARGET] = be48(packet, 18) << 16;
    key[key::IPV4] = be32(packet, 14) << 32 | be32(packet, 24);
}

fn mpls(head: &[u8], places: &Places, key: &mut Key) {
    let at = usize::from(places.network_at);
    if head.len() >= at + 4 {
        key[key::SRC_VALID] |= Valid::MPLS;
        // Label, traffic class and bottom of stack are the upper 24 bits of the shim, in this order.
        key[key::LABELS] = (be32(head, at) >> 8) << 20;
    }
}

fn pbb(head: &[u8], places: &Places, key: &mut Key) {
    let at = usize::from(places.network_at);
    if head.len() >= at + 4 {
        let tag = be32(head, at);
        key[key::SRC_VALID] |= Valid::PBB;
        key[key::PBB] = (tag & 0xff_ffff) << 40 | (tag >> 27 & 1) << 39;
    }
}

/// Bytes of the transport header that must be there for its fields to be.
pub(crate) const fn min_transport_len(protocol: u8) -> Option<usize> {
    match protocol {
        6 => Some(20),
        17 | 1 => Some(8),
        132 => Some(12),
        58 => Some(4),
        _ => None,
    }
}

#[inline(always)]
fn transport(head: &[u8], places: &Places, key: &mut Key) {
    let at = usize::from(places.transport_at);
    // Which of these a frame is nobody can foretell, so no branch depends on it.
    let is_tcp = places.protocol == 6;
    if is_tcp | (places.protocol == 17) {
        let n = 8 + 12 * usize::from(is_tcp);
        if usize::from(places.transport_len) < n || head.len() < at + n {
            return;
        }
        let flags = u64::from(be16(head, at + 12) & 0xfff) & u64::from(is_tcp).wrapping_neg();
        key[key::SRC_VALID] |= Valid::TRANSPORT;
        key[key::TRANSPORT] = be32(head, at) << 32 | flags << 16 | exthdr_of(places, key);
        return;
    }
    other_transport(head, places, key);
}

/// The bits of IPV6_EXTHDR that are in the key already.
#[inline(always)]
fn exthdr_of(places: &Places, key: &Key) -> u64 {
    if places.ethertype == 0x86dd { key[key::TRANSPORT] & 0xffff } else { 0 }
}

/// As [`transport`], for what is neither TCP nor UDP.
#[inline(never)]
fn other_transport(head: &[u8], places: &Places, key: &mut Key) {
    let at = usize::from(places.transport_at);
    let Some(n) = min_transport_len(places.protocol) else { return };
    if usize::from(places.transport_len) < n || head.len() < at + n {
        return;
    }
    // The protocol number says which version of IP an ICMP belongs to.
    if places.protocol == 1 && places.ethertype != 0x0800
        || places.protocol == 58 && places.ethertype != 0x86dd
    {
        return;
    }
    key[key::SRC_VALID] |= Valid::TRANSPORT;
    let fields = match places.protocol {
        1 | 58 => u64::from(head[at]) << 48 | u64::from(head[at + 1]) << 32,
        _ => be32(head, at) << 32,
    };
    key[key::TRANSPORT] = fields | exthdr_of(places, key);
    if places.protocol == 58 && matches!(head[at], 135 | 136) {
        let end = head.len().min(at + usize::from(places.transport_len));
        discovery(&head[at..end], key);
    }
}

/// Reads a neighbour solicitation or advertisement (RFC 4861 §4.3, §4.4).
fn discovery(icmp: &[u8], key: &mut Key) {
    if icmp.len() < 24 {
        return;
    }
    key[key::SRC_VALID] |= Valid::ND;
    key[key::ND_TARGET] = be64(icmp, 8);
    key[key::ND_TARGET + 1] = be64(icmp, 16);
    if let Some(at) = link_address_option(icmp) {
        let (word, valid) =
            if icmp[0] == 135 { (key::MAC_SENDER, Valid::SLL) } else { (key::MAC_TARGET, Valid::TLL) };
        key[key::SRC_VALID] |= valid;
        key[word] = be48(icmp, at) << 16;
    }
}

/// Where the source (solicitation) or target (advertisement) link-layer address is.
pub(crate) fn link_address_option(icmp: &[u8]) -> Option<usize> {
    let wanted = if icmp.first() == Some(&135) { 1 } else { 2 };
    let mut at = 24;
    while let Some(&[kind, len]) = icmp.get(at..at + 2) {
        let len = usize::from(len) * 8;
        if len == 0 || at + len > icmp.len() {
            return None;
        }
        if kind == wanted && len == 8 {
            return Some(at + 2);
        }
        at += len;
    }
    None
}
