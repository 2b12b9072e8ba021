//! Changes addresses, ports and identifiers of a packet, and every checksum that covers them.

use core::net::Ipv4Addr;

use conntrack::Endpoint;
use packet::checksum::{Delta, Field, Sum, adjust};
use packet::{Frame, IpProtocol, icmpv4, ipv4, tcp, udp};

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
        let Ok(mut header) = ipv4::ViewMut::parse_head(frame.head_mut(), available) else { return };
        let ip = Ip::of(&header.view());
        let src = self.src.map_or(ip.src, |e| e.addr);
        let dst = self.dst.map_or(ip.dst, |e| e.addr);
        header.set_src(src);
        header.set_dst(dst);
        if ip.is_later_fragment() {
            return;
        }
        let pseudo = Delta::NONE.ipv4(ip.src, src).ipv4(ip.dst, dst);
        let partial = frame.meta.csum.is_some_and(|c| usize::from(c.start) == ip.header_len);
        let Some(bytes) = frame.head_mut().get_mut(ip.header_len..) else { return };
        match flow.kind {
            Kind::Ports => {
                let (src, dst) = (self.src.map(|e| e.port), self.dst.map(|e| e.port));
                set_ports(ip.protocol, bytes, pseudo, partial, (src, dst));
            }
            Kind::Request => self.src.into_iter().for_each(|e| set_identifier(bytes, e.port)),
            Kind::Reply => self.dst.into_iter().for_each(|e| set_identifier(bytes, e.port)),
            Kind::Error(_) => self.quoted.into_iter().for_each(|q| set_quoted(frame, ip.header_len, &q)),
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

/// The identifier of an echo; ICMP has no pseudo header.
fn set_identifier(bytes: &mut [u8], id: u16) {
    let Some(field) = word_mut(bytes, 4) else { return };
    let body = Delta::NONE.word(u16::from_be_bytes(*field), id);
    *field = id.to_be_bytes();
    if let Some(field) = word_mut(bytes, icmpv4::CHECKSUM_AT) {
        *field = adjust(u16::from_be_bytes(*field), Field::Complete, Delta::NONE, body).to_be_bytes();
    }
}

fn word_mut(bytes: &mut [u8], at: usize) -> Option<&mut [u8; 2]> {
    bytes.get_mut(at..at + 2)?.first_chunk_mut()
}

/// Rewrites the packet an ICMP error quotes (RFC 5508 §4), then sums the error afresh: it is short.
fn set_quoted(frame: &mut Frame, icmp_at: usize, to: &Quoted) {
    let Some(quoted) = frame.head_mut().get_mut(icmp_at + icmpv4::HEADER_LEN..) else { return };
    change_quoted(quoted, to);
    let Some(field) = frame.head_mut().get_mut(icmp_at..).and_then(|b| word_mut(b, icmpv4::CHECKSUM_AT))
    else {
        return;
    };
    *field = [0; 2];
    let sum = Sum::new().bytes(&frame.head()[icmp_at..]).bytes(frame.tail()).finish();
    if let Some(field) = frame.head_mut().get_mut(icmp_at..).and_then(|b| word_mut(b, icmpv4::CHECKSUM_AT)) {
        *field = sum.to_be_bytes();
    }
}

fn change_quoted(bytes: &mut [u8], to: &Quoted) {
    let Ok(mut header) = ipv4::ViewMut::parse_quoted(bytes) else { return };
    let (src, dst): (Ipv4Addr, Ipv4Addr) = (header.view().src(), header.view().dst());
    header.set_src(to.src.addr);
    header.set_dst(to.dst.addr);
    if header.view().is_later_fragment() {
        return;
    }
    let payload = header.into_payload();
    match to.protocol {
        IpProtocol::TCP | IpProtocol::UDP => {
            let pseudo = Delta::NONE.ipv4(src, to.src.addr).ipv4(dst, to.dst.addr);
            set_ports(to.protocol, payload, pseudo, false, (Some(to.src.port), Some(to.dst.port)));
        }
        // Of an echo one side has the identifier, the other zero.
        IpProtocol::ICMP if matches!(payload.first(), Some(8)) => set_identifier(payload, to.src.port),
        IpProtocol::ICMP if matches!(payload.first(), Some(0)) => set_identifier(payload, to.dst.port),
        _ => {}
    }
}
