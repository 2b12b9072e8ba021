//! What FRR's `dplane_fpm_nl` sends: netlink route messages (rtnetlink(7)), each behind four bytes of FPM.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Prefix;

/// Version, kind of payload, length of all in network order.
pub(super) const HEADER_LEN: usize = 4;
const NLMSG_HEADER: usize = 16;
const RTMSG_LEN: usize = 12;
const NHMSG_LEN: usize = 8;

/// In a route's flags: what became of it (linux/rtnetlink.h).
pub(super) const OFFLOADED: u32 = 0x4000;
pub(super) const OFFLOAD_FAILED: u32 = 0x2000_0000;
/// Where these flags are, in a netlink message.
const FLAGS_AT: usize = NLMSG_HEADER + 8;

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FpmError {
    /// Another version than 1.
    #[error("FPM version {0}, 1 is spoken here")]
    Version(u8),
    /// Not netlink.
    #[error("payload of kind {0}; let FRR load dplane_fpm_nl, which sends netlink")]
    Kind(u8),
    /// A length that cannot be.
    #[error("a message of {0} bytes")]
    Length(u16),
}

/// Whether a whole message is at the beginning of `bytes`, and where it ends.
pub(super) fn frame(bytes: &[u8]) -> Result<Option<usize>, FpmError> {
    let Some([version, kind, high, low]) = bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let len = u16::from_be_bytes([*high, *low]);
    match () {
        () if *version != 1 => Err(FpmError::Version(*version)),
        () if *kind != 1 => Err(FpmError::Kind(*kind)),
        () if usize::from(len) < HEADER_LEN => Err(FpmError::Length(len)),
        () => Ok((bytes.len() >= usize::from(len)).then_some(len.into())),
    }
}

/// A next hop of a route or of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Via {
    pub gateway: IpAddr,
    pub weight: u16,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    Hops(Vec<Via>),
    /// A next hop or group that was told before.
    Named(u32),
    Blackhole,
    Unreachable,
    Prohibit,
    /// To an interface, or by something that is not known here.
    Elsewhere,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Route {
        table: u32,
        to: Prefix,
        metric: u32,
        way: To,
    },
    NoRoute {
        table: u32,
        to: Prefix,
    },
    /// A next hop; none: it leads to no gateway.
    NextHop {
        id: u32,
        way: Option<To>,
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

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The netlink messages in the payload of one FPM message.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let len = word32(bytes, 0)? as usize;
        let message = bytes.get(..len).filter(|_| len >= NLMSG_HEADER)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
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

/// Reads a netlink message; none if it is of no concern here, or damaged.
pub(super) fn read(message: &[u8]) -> Option<Said> {
    let body = message.get(NLMSG_HEADER..)?;
    match word16(message, 4)? {
        24 => route(body, true),
        25 => route(body, false),
        104 => next_hop(body, true),
        105 => next_hop(body, false),
        _ => None,
    }
}

fn route(body: &[u8], is_new: bool) -> Option<Said> {
    let (fixed, rest) = body.split_at_checked(RTMSG_LEN)?;
    let (family, len, kind) = (fixed[0], fixed[1], fixed[7]);
    let mut dst = match family {
        2 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        10 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut table, mut metric) = (u32::from(fixed[4]), 0);
    let (mut gateway, mut multipath, mut named) = (None, None, None);
    for (number, value) in attributes(rest) {
        match number {
            1 => dst = address(value)?,
            5 => gateway = Some(address(value)?),
            6 => metric = word32(value, 0)?,
            9 => multipath = Some(hops(value)?),
            15 => table = word32(value, 0)?,
            30 => named = Some(word32(value, 0)?),
            _ => {}
        }
    }
    let to = Prefix::new(dst, len).ok()?;
    if !is_new {
        return Some(Said::NoRoute { table, to });
    }
    let way = match (kind, named, multipath, gateway) {
        (6, ..) => To::Blackhole,
        (7, ..) => To::Unreachable,
        (8, ..) => To::Prohibit,
        (1, Some(id), ..) => To::Named(id),
        (1, None, Some(hops), _) if !hops.is_empty() => To::Hops(hops),
        (1, None, _, Some(gateway)) => To::Hops(vec![Via { gateway, weight: 1 }]),
        _ => To::Elsewhere,
    };
    Some(Said::Route { table, to, metric, way })
}

/// The next hops of one route (struct rtnexthop): those with a gateway.
fn hops(mut bytes: &[u8]) -> Option<Vec<Via>> {
    let mut hops = Vec::new();
    while !bytes.is_empty() {
        let len = usize::from(word16(bytes, 0)?);
        let weight = u16::from(*bytes.get(3)?) + 1;
        let gateway = attributes(bytes.get(8..len)?).find(|(number, _)| *number == 5);
        if let Some((_, value)) = gateway {
            hops.push(Via { gateway: address(value)?, weight });
        }
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Some(hops)
}

fn next_hop(body: &[u8], is_new: bool) -> Option<Said> {
    let rest = body.get(NHMSG_LEN..)?;
    let (mut id, mut gateway, mut blackhole, mut members) = (None, None, false, None);
    for (number, value) in attributes(rest) {
        match number {
            1 => id = Some(word32(value, 0)?),
            2 => {
                let member = |m: &[u8]| Some((word32(m, 0)?, u16::from(*m.get(4)?) + 1));
                members = Some(value.chunks_exact(8).filter_map(member).collect());
            }
            4 => blackhole = true,
            6 => gateway = Some(address(value)?),
            _ => {}
        }
    }
    let id = id?;
    Some(match (is_new, members, gateway) {
        (false, ..) => Said::NoNextHop { id },
        (_, Some(members), _) => Said::Group { id, members },
        (_, None, Some(gateway)) => {
            Said::NextHop { id, way: Some(To::Hops(vec![Via { gateway, weight: 1 }])) }
        }
        (_, None, None) => Said::NextHop { id, way: blackhole.then_some(To::Blackhole) },
    })
}

/// Adds the message that tells FRR what became of a route: its own, with the flag.
pub(super) fn tell(answers: &mut Vec<u8>, message: &[u8], flag: u32) {
    let len = (HEADER_LEN + message.len()).min(u16::MAX.into()) as u16;
    answers.extend([1, 1]);
    answers.extend(len.to_be_bytes());
    let at = answers.len() + FLAGS_AT;
    answers.extend_from_slice(message);
    if let (Some(flags), Some(field)) = (word32(answers, at), answers.get_mut(at..at + 4)) {
        field.copy_from_slice(&(flags | flag).to_ne_bytes());
    }
}
