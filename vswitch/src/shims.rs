//! MPLS shims and PBB (IEEE 802.1ah) headers: pushed, popped and changed in the bytes of a frame.
//!
//! Frames that come here have complete checksums and are no super-frames. What moves or renames headers reads the frame
//! again, so that the steps behind find the headers where they are.

use openflow::{Field, PortNo};
use packet::{Frame, vlan};

use crate::actions::{Expired, NoRoom, be16, copy, set_ipv4_word};
use crate::extract::{Places, extract, is_extension};
use crate::key::{Depth, N_WORDS};

/// Bytes of a shim.
const SHIM_LEN: usize = 4;
/// Bytes that PBB puts in front of a frame: addresses, Ethertype, service tag.
const PBB_LEN: usize = 18;
/// Bottom of stack, in a shim.
const BOTTOM: u32 = 0x100;

/// Finds the headers of a frame anew. One that cannot be read any more has its VLAN tags and nothing else.
pub(crate) fn reread(frame: &Frame, places: &mut Places) {
    let read = extract(frame, PortNo(0), Depth::Link, &mut [0; N_WORDS]);
    *places = read.unwrap_or_else(|_| tags_only(frame));
}

fn tags_only(frame: &Frame) -> Places {
    let at = |n: usize| 14 + n * vlan::TAG_LEN;
    let is_tag = |n: &usize| {
        let there = frame.head().len() >= at(*n) + vlan::TAG_LEN;
        there && matches!(be16(frame.head(), at(*n) - 2), 0x8100 | 0x88a8)
    };
    let n_tags = (0..vlan::MAX_TAGS).take_while(is_tag).count();
    Places { n_tags: n_tags as u8, network_at: at(n_tags) as u16, ..Places::default() }
}

fn be32(frame: &Frame, at: usize) -> u32 {
    u32::from(be16(frame.head(), at)) << 16 | u32::from(be16(frame.head(), at + 2))
}

/// Where the outermost shim is.
fn shim_at(frame: &Frame, places: &Places) -> Option<usize> {
    let at = usize::from(places.network_at);
    let there = matches!(places.ethertype, 0x8847 | 0x8848) && frame.head().len() >= at + SHIM_LEN;
    there.then_some(at)
}

/// Where the outermost PBB service tag is.
fn service_tag_at(frame: &Frame, places: &Places) -> Option<usize> {
    let at = usize::from(places.network_at);
    (places.ethertype == 0x88e7 && frame.head().len() >= at + 4).then_some(at)
}

/// §5.12: a shim right behind the Ethernet addresses. Table 7: label, traffic class and TTL are those of the shim that
/// was outermost, else the TTL is that of the IP packet.
pub(crate) fn push_mpls(frame: &mut Frame, places: &mut Places, ethertype: u16) -> Result<(), NoRoom> {
    let at = usize::from(places.network_at);
    let shim = match (shim_at(frame, places), places.ethertype) {
        (Some(at), _) if places.n_tags == 0 => be32(frame, at) & !BOTTOM,
        (Some(at), _) => be32(frame, at) | BOTTOM,
        (None, 0x0800) => BOTTOM | u32::from(be16(frame.head(), at + 8) >> 8),
        (None, 0x86dd) => BOTTOM | u32::from(be16(frame.head(), at + 6) & 0xff),
        _ => BOTTOM,
    };
    let head = frame.push_front(SHIM_LEN).map_err(|_| NoRoom)?;
    head.copy_within(SHIM_LEN..SHIM_LEN + 12, 0);
    head[12..14].copy_from_slice(&ethertype.to_be_bytes());
    head[14..18].copy_from_slice(&shim.to_be_bytes());
    reread(frame, places);
    Ok(())
}

/// Takes the outermost shim off, if there is one; what follows it is of this Ethertype.
pub(crate) fn pop_mpls(frame: &mut Frame, places: &mut Places, ethertype: u16) {
    let Some(at) = shim_at(frame, places) else { return };
    frame.head_mut().copy_within(0..at - 2, SHIM_LEN);
    frame.pop_front(SHIM_LEN);
    copy(frame, at - 2, &ethertype.to_be_bytes());
    reread(frame, places);
}

/// §5.12: a service tag and addresses in front of the frame, which keeps its own. Table 7: the service instance is that
/// of the tag that was outermost, the priority that of the VLAN tag, the addresses are those of the frame.
pub(crate) fn push_pbb(frame: &mut Frame, places: &mut Places, ethertype: u16) -> Result<(), NoRoom> {
    let instance = service_tag_at(frame, places).map_or(0, |at| be32(frame, at) & 0xff_ffff);
    let priority = if places.n_tags > 0 { u32::from(be16(frame.head(), 14) >> 13) } else { 0 };
    let head = frame.push_front(PBB_LEN).map_err(|_| NoRoom)?;
    head.copy_within(PBB_LEN..PBB_LEN + 12, 0);
    head[12..14].copy_from_slice(&ethertype.to_be_bytes());
    head[14..18].copy_from_slice(&(priority << 29 | instance).to_be_bytes());
    reread(frame, places);
    Ok(())
}

/// Takes the outermost service tag off, if there is one: the frame has its customer addresses again. VLAN tags in front
/// of the service tag stay.
pub(crate) fn pop_pbb(frame: &mut Frame, places: &mut Places) {
    let Some(at) = service_tag_at(frame, places) else { return };
    let head = frame.head_mut();
    if head.len() < at + PBB_LEN {
        return;
    }
    let mut addresses = [0; 12];
    addresses.copy_from_slice(&head[at + 4..at + 16]);
    head.copy_within(12..at - 2, 12 + PBB_LEN);
    head[PBB_LEN..PBB_LEN + 12].copy_from_slice(&addresses);
    frame.pop_front(PBB_LEN);
    reread(frame, places);
}

/// Sets the TTL of the outermost shim, if there is one.
pub(crate) fn set_mpls_ttl(frame: &mut Frame, places: &Places, ttl: u8) {
    if let Some(at) = shim_at(frame, places) {
        copy(frame, at + 3, &[ttl]);
    }
}

/// Decrements the TTL of the outermost shim, if there is one.
pub(crate) fn dec_mpls_ttl(frame: &mut Frame, places: &Places) -> Result<(), Expired> {
    let Some(at) = shim_at(frame, places) else { return Ok(()) };
    match frame.head()[at + 3] {
        0 | 1 => Err(Expired),
        ttl => {
            copy(frame, at + 3, &[ttl - 1]);
            Ok(())
        }
    }
}

/// What follows a shim and has a TTL.
enum Inner {
    Shim(usize),
    Ipv4(usize),
    Ipv6(usize),
}

/// What follows the shim at `at`. Nothing says what an MPLS payload is; the version tells IP packets.
fn inner(frame: &Frame, at: usize) -> Option<Inner> {
    let (head, next) = (frame.head(), at + SHIM_LEN);
    let left = head.len() - next;
    match head.get(next).map(|byte| byte >> 4) {
        Some(_) if be32(frame, at) & BOTTOM == 0 => (left >= SHIM_LEN).then_some(Inner::Shim(next)),
        Some(4) if left >= 20 => Some(Inner::Ipv4(next)),
        Some(6) if left >= 40 => Some(Inner::Ipv6(next)),
        _ => None,
    }
}

/// Copies the TTL of the next header to the outermost shim, if both are there.
pub(crate) fn copy_ttl_out(frame: &mut Frame, places: &Places) {
    let Some(at) = shim_at(frame, places) else { return };
    let from = match inner(frame, at) {
        Some(Inner::Shim(next)) => next + 3,
        Some(Inner::Ipv4(next)) => next + 8,
        Some(Inner::Ipv6(next)) => next + 7,
        None => return,
    };
    let ttl = frame.head()[from];
    copy(frame, at + 3, &[ttl]);
}

/// Copies the TTL of the outermost shim to the next header, if both are there.
pub(crate) fn copy_ttl_in(frame: &mut Frame, places: &Places) {
    let Some(at) = shim_at(frame, places) else { return };
    let ttl = frame.head()[at + 3];
    match inner(frame, at) {
        Some(Inner::Shim(next)) => copy(frame, next + 3, &[ttl]),
        Some(Inner::Ipv4(next)) => {
            set_ipv4_word(frame, next, 8, |word| u16::from(ttl) << 8 | word & 0xff);
        }
        Some(Inner::Ipv6(next)) => copy(frame, next + 7, &[ttl]),
        None => {}
    }
}

/// Sets a field of the outermost shim or service tag, if the frame has it.
pub(crate) fn set_field(frame: &mut Frame, places: &Places, field: Field, value: u128) {
    let (at, mask, shift) = match field {
        Field::MplsLabel => (shim_at(frame, places), 0xffff_f000, 12),
        Field::MplsTc => (shim_at(frame, places), 0xe00, 9),
        Field::MplsBos => (shim_at(frame, places), BOTTOM, 8),
        Field::PbbIsid => (service_tag_at(frame, places), 0xff_ffff, 0),
        Field::PbbUca => (service_tag_at(frame, places), 1 << 27, 27),
        _ => return,
    };
    if let Some(at) = at {
        let word = be32(frame, at) & !mask | (value as u32) << shift;
        copy(frame, at, &word.to_be_bytes());
    }
}

/// Sets the Ethertype behind the tags; what follows is read as that from then on.
pub(crate) fn set_eth_type(frame: &mut Frame, places: &mut Places, ethertype: u16) {
    copy(frame, usize::from(places.network_at) - 2, &ethertype.to_be_bytes());
    reread(frame, places);
}

/// Where an IPv6 packet names its protocol: in the last of its extension headers.
pub(crate) fn ipv6_protocol_at(frame: &Frame, places: &Places) -> usize {
    let at = usize::from(places.network_at);
    let byte = |at: usize| frame.head().get(at).copied().unwrap_or(59);
    let (mut names, mut next) = (at + 6, at + 40);
    while is_extension(byte(names)) {
        let kind = byte(names);
        let len = usize::from(byte(next + 1));
        let later = kind == 44 && be16(frame.head(), next + 2) & 0xfff8 != 0;
        names = next;
        next += match kind {
            44 => 8,
            51 => (len + 2) * 4,
            _ => (len + 1) * 8,
        };
        if later {
            break;
        }
    }
    names
}
