//! Netlink messages about routes and next hops (rtnetlink(7), linux/rtnetlink.h, linux/nexthop.h), as a kernel sends them,
//! and FRR over FPM.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Prefix;

pub(crate) const NLMSG_HEADER: usize = 16;
const RTMSG_LEN: usize = 12;
const NHMSG_LEN: usize = 8;
/// Where the flags of a route are, in its message.
pub(crate) const FLAGS_AT: usize = NLMSG_HEADER + 8;

/// In the flags of a next hop: its interface is down.
const RTNH_F_DEAD: u8 = 1;

/// What every message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: u16,
    pub flags: u16,
    /// Of the request that it answers.
    pub sequence: u32,
}

/// A next hop of a route or of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Via {
    /// None: the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The interface by the number its kernel has for it; 0: none was named.
    pub link: u32,
    pub weight: u16,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// At least one.
    Hops(Vec<Via>),
    /// A next hop or group that was told before.
    Named(u32),
    Blackhole,
    Unreachable,
    Prohibit,
    /// By something that is not known here.
    Elsewhere,
}

/// A route, or one that has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub table: u32,
    pub to: Prefix,
    pub metric: u32,
    pub way: To,
    /// Who made it (`RTPROT_...`).
    pub protocol: u8,
    /// Only for packets with this type of service; 0: for all.
    pub tos: u8,
    pub flags: u32,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Route(Told),
    NoRoute(Told),
    /// A next hop.
    NextHop {
        id: u32,
        way: To,
    },
    /// A group of next hops with their weights.
    Group {
        id: u32,
        members: Vec<(u32, u16)>,
    },
    NoNextHop {
        id: u32,
    },
}

fn word16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The messages in `bytes`, one after the other.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let len = word32(bytes, 0)? as usize;
        let message = bytes.get(..len).filter(|_| len >= NLMSG_HEADER)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// The header of a message.
pub(crate) fn header(message: &[u8]) -> Option<Header> {
    Some(Header { kind: word16(message, 4)?, flags: word16(message, 6)?, sequence: word32(message, 8)? })
}

/// Attributes: numbers without their flags, and values.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let (len, kind) = (usize::from(word16(bytes, 0)?), word16(bytes, 2)?);
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind & 0x3fff, value))
    })
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(*value.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*value.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// The gateway in an attribute of a route or of one of its next hops: `RTA_GATEWAY`, or `RTA_VIA` behind its family.
fn gateway_in(number: u16, value: &[u8]) -> Option<IpAddr> {
    match number {
        5 => address(value),
        18 => address(value.get(2..)?),
        _ => None,
    }
}

/// Reads a message; none if it is of no concern here, or damaged.
pub(crate) fn read(message: &[u8]) -> Option<Said> {
    let body = message.get(NLMSG_HEADER..)?;
    match header(message)?.kind {
        24 => route(body).map(Said::Route),
        25 => route(body).map(Said::NoRoute),
        104 => next_hop(body, true),
        105 => next_hop(body, false),
        _ => None,
    }
}

fn route(body: &[u8]) -> Option<Told> {
    let (fixed, rest) = body.split_at_checked(RTMSG_LEN)?;
    let (family, len, tos, protocol, kind) = (fixed[0], fixed[1], fixed[3], fixed[5], fixed[7]);
    let mut dst = match family {
        2 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        10 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut table, mut metric, mut link) = (u32::from(fixed[4]), 0, 0);
    let (mut gateway, mut multipath, mut named) = (None, None, None);
    for (number, value) in attributes(rest) {
        match number {
            1 => dst = address(value)?,
            4 => link = word32(value, 0)?,
            5 | 18 => gateway = Some(gateway_in(number, value)?),
            6 => metric = word32(value, 0)?,
            9 => multipath = Some(hops(value)?),
            15 => table = word32(value, 0)?,
            30 => named = Some(word32(value, 0)?),
            _ => {}
        }
    }
    let way = match (kind, named, multipath) {
        (6, ..) => To::Blackhole,
        (7, ..) => To::Unreachable,
        (8, ..) => To::Prohibit,
        (1, Some(id), _) => To::Named(id),
        (1, None, Some(hops)) if !hops.is_empty() => To::Hops(hops),
        (1, None, None) if gateway.is_some() || link != 0 => To::Hops(vec![Via { gateway, link, weight: 1 }]),
        _ => To::Elsewhere,
    };
    let (to, flags) = (Prefix::new(dst, len).ok()?, word32(fixed, 8)?);
    Some(Told { table, to, metric, way, protocol, tos, flags })
}

/// The next hops of one route (struct rtnexthop) that are alive.
fn hops(mut bytes: &[u8]) -> Option<Vec<Via>> {
    let mut hops = Vec::new();
    while !bytes.is_empty() {
        let len = usize::from(word16(bytes, 0)?);
        let (flags, weight, link) = (*bytes.get(2)?, u16::from(*bytes.get(3)?) + 1, word32(bytes, 4)?);
        let gateway = attributes(bytes.get(8..len)?).find_map(|(number, value)| gateway_in(number, value));
        if flags & RTNH_F_DEAD == 0 {
            hops.push(Via { gateway, link, weight });
        }
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Some(hops)
}

fn next_hop(body: &[u8], is_new: bool) -> Option<Said> {
    let rest = body.get(NHMSG_LEN..)?;
    let (mut id, mut gateway, mut link, mut blackhole, mut members) = (None, None, 0, false, None);
    for (number, value) in attributes(rest) {
        match number {
            1 => id = Some(word32(value, 0)?),
            2 => {
                let member = |m: &[u8]| Some((word32(m, 0)?, u16::from(*m.get(4)?) + 1));
                members = Some(value.chunks_exact(8).filter_map(member).collect());
            }
            4 => blackhole = true,
            5 => link = word32(value, 0)?,
            6 => gateway = Some(address(value)?),
            _ => {}
        }
    }
    let id = id?;
    let way = match () {
        () if blackhole => To::Blackhole,
        () if gateway.is_some() || link != 0 => To::Hops(vec![Via { gateway, link, weight: 1 }]),
        () => To::Elsewhere,
    };
    Some(match (is_new, members) {
        (false, _) => Said::NoNextHop { id },
        (true, Some(members)) => Said::Group { id, members },
        (true, None) => Said::NextHop { id, way },
    })
}
