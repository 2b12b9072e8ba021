//! MPLS and PBB in the bytes of a frame (§5.12, §7.2.5), naively.

use openflow::Field;
use packet::EtherType;

use super::bytes::{mend, network, number, set_byte_in_ipv4, transport};

/// The frame's outermost shim.
fn shim(bytes: &[u8]) -> Option<usize> {
    let (kind, at) = network(bytes)?;
    (matches!(kind.0, 0x8847 | 0x8848) && bytes.len() >= at + 4).then_some(at)
}

/// Its outermost I-TAG.
fn itag(bytes: &[u8]) -> Option<usize> {
    let (kind, at) = network(bytes)?;
    (kind.0 == 0x88e7 && bytes.len() >= at + 4).then_some(at)
}

/// §5.12.1: the new shim is the outermost tag; table 7 says what it copies.
pub(super) fn push_mpls(bytes: &mut Vec<u8>, ethertype: u16) {
    let Some((kind, at)) = network(bytes) else { return };
    let mut new = [0, 0, 0, 0];
    if let Some(below) = shim(bytes) {
        new.copy_from_slice(&bytes[below..below + 4]);
    } else if kind == EtherType::IPV4 {
        new[3] = bytes[at + 8];
    } else if kind == EtherType::IPV6 {
        new[3] = bytes[at + 7];
    }
    // Bottom of stack: what follows is no shim.
    new[2] = new[2] & 0xfe | u8::from(shim(bytes) != Some(14));
    bytes.splice(12..14, ethertype.to_be_bytes().into_iter().chain(new));
}

pub(super) fn pop_mpls(bytes: &mut Vec<u8>, ethertype: u16) {
    if let Some(at) = shim(bytes) {
        bytes.splice(at - 2..at + 4, ethertype.to_be_bytes());
    }
}

pub(super) fn push_pbb(bytes: &mut Vec<u8>, ethertype: u16) {
    let Some((_, at)) = network(bytes) else { return };
    let mut tag = [0, 0, 0, 0];
    if let Some(below) = itag(bytes) {
        tag[1..].copy_from_slice(&bytes[below + 1..below + 4]);
    }
    if at > 14 {
        tag[0] = bytes[14] & 0xe0;
    }
    let mut outer = bytes[..12].to_vec();
    outer.extend(ethertype.to_be_bytes());
    outer.extend(tag);
    bytes.splice(0..0, outer);
}

pub(super) fn pop_pbb(bytes: &mut Vec<u8>) {
    if let Some(at) = itag(bytes)
        && bytes.len() >= at + 18
    {
        let customer = bytes[at + 4..at + 16].to_vec();
        bytes.drain(at - 2..at + 16);
        bytes[..12].copy_from_slice(&customer);
    }
}

/// The TTL of the outermost shim.
pub(super) fn ttl(bytes: &[u8]) -> Option<u8> {
    shim(bytes).map(|at| bytes[at + 3])
}

pub(super) fn set_ttl(bytes: &mut [u8], ttl: u8) {
    if let Some(at) = shim(bytes) {
        bytes[at + 3] = ttl;
    }
}

/// Where the TTL behind the outermost shim is, and the IPv4 header it belongs to.
fn inner(bytes: &[u8]) -> Option<(usize, Option<usize>)> {
    let at = shim(bytes)?;
    let rest = &bytes[at + 4..];
    if bytes[at + 2] & 1 == 0 {
        return (rest.len() >= 4).then_some((at + 7, None));
    }
    match rest.first()? >> 4 {
        4 if rest.len() >= 20 => Some((at + 12, Some(at + 4))),
        6 if rest.len() >= 40 => Some((at + 11, None)),
        _ => None,
    }
}

pub(super) fn copy_ttl_out(bytes: &mut [u8]) {
    if let Some((from, _)) = inner(bytes) {
        set_ttl(bytes, bytes[from]);
    }
}

pub(super) fn copy_ttl_in(bytes: &mut [u8]) {
    match (inner(bytes), ttl(bytes)) {
        (Some((to, Some(header))), Some(ttl)) => set_byte_in_ipv4(bytes, header, to, ttl),
        (Some((to, None)), Some(ttl)) => bytes[to] = ttl,
        _ => {}
    }
}

/// Sets a field that names headers or lies in a shim or I-TAG; false for other fields.
pub(super) fn set_field(bytes: &mut [u8], field: Field, value: u128) -> bool {
    let (at, bits, shift) = match field {
        Field::MplsLabel => (shim(bytes), 20, 12),
        Field::MplsTc => (shim(bytes), 3, 9),
        Field::MplsBos => (shim(bytes), 1, 8),
        Field::PbbIsid => (itag(bytes), 24, 0),
        Field::PbbUca => (itag(bytes), 1, 27),
        Field::EthType => {
            if let Some((_, at)) = network(bytes) {
                bytes[at - 2..at].copy_from_slice(&(value as u16).to_be_bytes());
            }
            return true;
        }
        Field::IpProto => {
            set_protocol(bytes, value as u8);
            return true;
        }
        _ => return false,
    };
    if let Some(at) = at {
        let mask = ((1 << bits) - 1) << shift;
        let word = number(&bytes[at..at + 4]) & !mask | value << shift;
        bytes[at..at + 4].copy_from_slice(&(word as u32).to_be_bytes());
    }
    true
}

/// The protocol is part of the pseudo header of TCP, UDP and ICMPv6.
fn set_protocol(bytes: &mut [u8], new: u8) {
    let Some((kind, start)) = network(bytes) else { return };
    let at = match kind {
        EtherType::IPV4 => start + 9,
        EtherType::IPV6 => last_next_header(bytes, start),
        _ => return,
    };
    let words = [(u16::from(bytes[at]), u16::from(new))];
    if let Some((protocol, Some(range))) = transport(bytes) {
        let place = match protocol.0 {
            6 => 16,
            17 => 6,
            58 => 2,
            _ => usize::MAX - 2,
        };
        if range.len() >= place + 2 {
            mend(bytes, range.start + place, &words, protocol.0 == 17);
        }
    }
    if kind == EtherType::IPV4 {
        set_byte_in_ipv4(bytes, start, at, new);
    } else {
        bytes[at] = new;
    }
}

/// RFC 8200 §4: each extension header names the next one.
fn last_next_header(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut next) = (start + 6, start + 40);
    loop {
        let len = match bytes[at] {
            0 | 43 | 60 => (usize::from(bytes[next + 1]) + 1) * 8,
            51 => (usize::from(bytes[next + 1]) + 2) * 4,
            44 => 8,
            _ => return at,
        };
        let later = bytes[at] == 44 && number(&bytes[next + 2..next + 4]) >> 3 != 0;
        (at, next) = (next, next + len);
        if later {
            return at;
        }
    }
}
