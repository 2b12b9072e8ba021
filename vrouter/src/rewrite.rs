//! Changes addresses, ports and identifiers of a packet, and every checksum that covers them.

use core::net::IpAddr;

use conntrack::Endpoint;
use packet::checksum::{Delta, Field, Sum, adjust, pseudo_v6};
use packet::{Frame, IpProtocol, icmpv4, ipv4, ipv6, tcp, udp};

use crate::flow::{Flow, Ip, Kind, Quoted};

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rewrite {
    pub src: Option<Endpoint>,
    pub dst: Option<Endpoint>,
    /// The packet an ICMP error quotes.
    pub quoted: Option<Quoted>,
}

impl Rewrite {
    pub(crate) fn between(before: &Flow, after: &Flow) -> Self {
        let changed = |old, new| (old != new).then_some(new);
        let quoted = match after.kind {
            Kind::Error(quoted) if before.kind != after.kind => Some(quoted),
            _ => None,
        };
        Self {
            src: changed(before.packet.src, after.packet.src),
            dst: changed(before.packet.dst, after.packet.dst),
            quoted,
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What undoes this change of `flow`.
    pub(crate) fn inverse(&self, flow: &Flow) -> Self {
        let quoted = match flow.kind {
            Kind::Error(quoted) => self.quoted.map(|_| quoted),
            _ => None,
        };
        Self { src: self.src.map(|_| flow.packet.src), dst: self.dst.map(|_| flow.packet.dst), quoted }
    }

    /// Applies the change to a frame that begins with its IP header, in which `flow` was found.
    pub(crate) fn apply(&self, frame: &mut Frame, flow: &Flow) {
        let available = frame.len();
        let Ok(ip) = Ip::parse(frame.head(), available) else { return };
        let src = self.src.map_or(ip.src, |e| e.addr);
        let dst = self.dst.map_or(ip.dst, |e| e.addr);
        set_addresses(frame.head_mut(), available, (src, dst));
        if ip.is_later_fragment() {
            return;
        }
        let pseudo = pseudo_delta((ip.src, ip.dst), (src, dst));
        let partial = frame.meta.csum.is_some_and(|c| usize::from(c.start) == ip.header_len);
        let Some(bytes) = frame.head_mut().get_mut(ip.header_len..) else { return };
        match flow.kind {
            Kind::Ports => {
                let (src, dst) = (self.src.map(|e| e.port), self.dst.map(|e| e.port));
                set_ports(ip.protocol, bytes, pseudo, partial, (src, dst));
            }
            Kind::Request | Kind::Reply => {
                let id = if flow.kind == Kind::Request { self.src } else { self.dst };
                let id = id.map(|e| e.port);
                set_identifier(bytes, id, icmp_pseudo(ip.src, pseudo), partial);
            }
            Kind::Error(_) => {
                self.quoted.into_iter().for_each(|q| change_quoted_in(frame, ip.header_len, &q));
                sum_icmp(frame, &Ip { src, dst, ..ip });
            }
            Kind::Bare => {}
        }
    }
}

fn set_ports(
    protocol: IpProtocol,
    bytes: &mut [u8],
    pseudo: Delta,
    partial: bool,
    (src, dst): (Option<u16>, Option<u16>),
) {
    let checksum_at = if protocol == IpProtocol::TCP { tcp::CHECKSUM_AT } else { udp::CHECKSUM_AT };
    let mut body = Delta::NONE;
    for (at, port) in [(0, src), (2, dst)] {
        let (Some(port), Some(field)) = (port, word_mut(bytes, at)) else { continue };
        body = body.word(u16::from_be_bytes(*field), port);
        *field = port.to_be_bytes();
    }
    let kind = match (partial, protocol) {
        (true, _) => Field::Partial,
        (false, IpProtocol::TCP) => Field::Complete,
        (false, _) => Field::CompleteUdp,
    };
    // A quoted packet may end before its checksum.
    if let Some(field) = word_mut(bytes, checksum_at) {
        *field = adjust(u16::from_be_bytes(*field), kind, pseudo, body).to_be_bytes();
    }
}

/// The identifier of an echo, and what the addresses do to its checksum.
fn set_identifier(bytes: &mut [u8], id: Option<u16>, pseudo: Delta, partial: bool) {
    let Some(field) = word_mut(bytes, 4) else { return };
    let old = u16::from_be_bytes(*field);
    let id = id.unwrap_or(old);
    let body = Delta::NONE.word(old, id);
    *field = id.to_be_bytes();
    let kind = if partial { Field::Partial } else { Field::Complete };
    if let Some(field) = word_mut(bytes, icmpv4::CHECKSUM_AT) {
        *field = adjust(u16::from_be_bytes(*field), kind, pseudo, body).to_be_bytes();
    }
}

/// ICMPv6 has a pseudo header (RFC 4443 §2.3), ICMP has none.
fn icmp_pseudo(family: IpAddr, pseudo: Delta) -> Delta {
    if family.is_ipv4() { Delta::NONE } else { pseudo }
}

fn pseudo_delta(old: (IpAddr, IpAddr), new: (IpAddr, IpAddr)) -> Delta {
    [(old.0, new.0), (old.1, new.1)].into_iter().fold(Delta::NONE, |delta, pair| match pair {
        (IpAddr::V4(old), IpAddr::V4(new)) => delta.ipv4(old, new),
        (IpAddr::V6(old), IpAddr::V6(new)) => delta.ipv6(old, new),
        _ => delta,
    })
}

/// Writes both addresses of the packet at the beginning of `head`.
pub(crate) fn set_addresses(head: &mut [u8], available: usize, addresses: (IpAddr, IpAddr)) {
    match addresses {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            if let Ok(mut header) = ipv4::ViewMut::parse_head(head, available) {
                header.set_src(src);
                header.set_dst(dst);
            }
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            if let Ok(mut header) = ipv6::ViewMut::parse_head(head, available) {
                header.set_src(src);
                header.set_dst(dst);
            }
        }
        _ => {}
    }
}

/// Sets the TTL or hop limit of the packet that a frame begins with.
pub(crate) fn set_ttl(frame: &mut Frame, ttl: u8) {
    let available = frame.len();
    let head = frame.head_mut();
    if head.first().is_some_and(|b| b >> 4 == 6) {
        if let Ok(mut header) = ipv6::ViewMut::parse_head(head, available) {
            header.set_hop_limit(ttl);
        }
    } else if let Ok(mut header) = ipv4::ViewMut::parse_head(head, available) {
        header.set_ttl(ttl);
    }
}

#[inline]
pub(crate) fn word_mut(bytes: &mut [u8], at: usize) -> Option<&mut [u8; 2]> {
    bytes.get_mut(at..at + 2)?.first_chunk_mut()
}

/// Rewrites the packet an ICMP error quotes (RFC 5508 §4).
fn change_quoted_in(frame: &mut Frame, icmp_at: usize, to: &Quoted) {
    let Some(bytes) = frame.head_mut().get_mut(icmp_at + icmpv4::HEADER_LEN..) else { return };
    const LONGEST: usize = ipv6::HEADER_LEN + u16::MAX as usize;
    let Ok(quoted) = Ip::parse(bytes, LONGEST) else { return };
    set_addresses(bytes, LONGEST, (to.src.addr, to.dst.addr));
    let Some(payload) = bytes.get_mut(quoted.header_len..) else { return };
    if quoted.is_later_fragment() {
        return;
    }
    let len = payload.len().min(quoted.total_len - quoted.header_len);
    let payload = &mut payload[..len];
    let pseudo = pseudo_delta((quoted.src, quoted.dst), (to.src.addr, to.dst.addr));
    // Of an echo one side has the identifier, the other zero.
    let id = match (to.protocol, payload.first()) {
        (IpProtocol::TCP | IpProtocol::UDP, _) => {
            let ports = (Some(to.src.port), Some(to.dst.port));
            return set_ports(to.protocol, payload, pseudo, false, ports);
        }
        (IpProtocol::ICMP, Some(8)) | (IpProtocol::ICMPV6, Some(128)) => to.src.port,
        (IpProtocol::ICMP, Some(0)) | (IpProtocol::ICMPV6, Some(129)) => to.dst.port,
        _ => return,
    };
    set_identifier(payload, Some(id), icmp_pseudo(quoted.src, pseudo), false);
}

/// Sums an ICMP error afresh: it is short.
fn sum_icmp(frame: &mut Frame, ip: &Ip) {
    let at = ip.header_len;
    let start = match (ip.src, ip.dst) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            pseudo_v6(src, dst, ip.protocol, (ip.total_len - ip.header_len) as u32)
        }
        _ => Sum::new(),
    };
    let Some(field) = frame.head_mut().get_mut(at..).and_then(|b| word_mut(b, icmpv4::CHECKSUM_AT)) else {
        return;
    };
    *field = [0; 2];
    let sum = start.bytes(&frame.head()[at..]).bytes(frame.tail()).finish();
    if let Some(field) = frame.head_mut().get_mut(at..).and_then(|b| word_mut(b, icmpv4::CHECKSUM_AT)) {
        *field = sum.to_be_bytes();
    }
}
