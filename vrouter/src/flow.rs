//! What a packet is to translation and firewall: addresses, ports, and what an ICMP error quotes.

use core::net::IpAddr;

use conntrack::{Endpoint, Packet, Segment};
use packet::checksum::{Sum, pseudo_v4, pseudo_v6};
use packet::{Frame, IpProtocol, icmpv4, icmpv6, ipv4, ipv6, tcp, udp};

use crate::Drop;

/// The fixed fields of an IP header that has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ip {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// Of the upper layer.
    pub protocol: IpProtocol,
    /// Bytes before the upper layer, IPv6 extension headers among them.
    pub header_len: usize,
    /// Bytes of the packet; the frame has been cut to it.
    pub total_len: usize,
    /// TTL or hop limit.
    pub ttl: u8,
    /// No router may cut it; always so for IPv6.
    pub dont_fragment: bool,
    pub identification: u32,
    /// In bytes.
    pub fragment_at: usize,
    pub more_fragments: bool,
}

impl Ip {
    /// Reads the header at the beginning of `head`, of a packet of which `available` bytes are there.
    pub(crate) fn parse(head: &[u8], available: usize) -> Result<Self, Drop> {
        match head.first().map(|b| b >> 4) {
            Some(6) => Self::v6(&ipv6::View::parse_head(head, available).map_err(|_| Drop::BadIpv6)?),
            _ => Ok(Self::v4(&ipv4::View::parse_head(head, available).map_err(|_| Drop::BadIpv4)?)),
        }
    }

    pub(crate) fn v4(view: &ipv4::View<'_>) -> Self {
        Self {
            src: view.src().into(),
            dst: view.dst().into(),
            protocol: view.protocol(),
            header_len: view.header_len(),
            total_len: usize::from(view.total_len()),
            ttl: view.ttl(),
            dont_fragment: view.dont_fragment(),
            identification: view.identification().into(),
            fragment_at: usize::from(view.fragment_offset()) * 8,
            more_fragments: view.more_fragments(),
        }
    }

    fn v6(view: &ipv6::View<'_>) -> Result<Self, Drop> {
        let extensions = view.extensions().map_err(|_| Drop::BadIpv6)?;
        // RFC 6946: an atomic fragment is a whole packet.
        let fragment = extensions.fragment.filter(|f| f.offset != 0 || f.more);
        Ok(Self {
            src: view.src().into(),
            dst: view.dst().into(),
            protocol: extensions.protocol,
            header_len: ipv6::HEADER_LEN + extensions.len,
            total_len: ipv6::HEADER_LEN + view.payload_len(),
            ttl: view.hop_limit(),
            dont_fragment: true,
            identification: fragment.map_or(0, |f| f.identification),
            fragment_at: fragment.map_or(0, |f| usize::from(f.offset) * 8),
            more_fragments: fragment.is_some_and(|f| f.more),
        })
    }

    pub(crate) fn is_fragment(&self) -> bool {
        self.fragment_at != 0 || self.more_fragments
    }

    pub(crate) fn is_later_fragment(&self) -> bool {
        self.fragment_at != 0
    }

    /// ICMP of its own version.
    pub(crate) fn is_icmp(&self) -> bool {
        is_icmp(self.src, self.protocol)
    }

    /// Source and destination port of a whole TCP or UDP packet, zeros otherwise. `head` begins with the IP header.
    pub(crate) fn ports(&self, head: &[u8]) -> [u16; 2] {
        match head.get(self.header_len..).and_then(|b| b.first_chunk::<4>()) {
            Some([a, b, c, d])
                if !self.is_fragment() && matches!(self.protocol, IpProtocol::TCP | IpProtocol::UDP) =>
            {
                [u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])]
            }
            _ => [0; 2],
        }
    }
}

fn is_icmp(src: IpAddr, protocol: IpProtocol) -> bool {
    protocol == if src.is_ipv4() { IpProtocol::ICMP } else { IpProtocol::ICMPV6 }
}

/// Where the ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// TCP or UDP.
    Ports,
    /// An ICMP echo request.
    Request,
    /// An ICMP echo reply.
    Reply,
    /// An ICMP error; the addresses and ports are those of the packet it quotes.
    Error(Quoted),
    /// A protocol without ports.
    Bare,
}

/// The packet that an ICMP error quotes, as it is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoted {
    pub protocol: IpProtocol,
    pub src: Endpoint,
    pub dst: Endpoint,
}

/// A packet as translation sees it. Source and destination change on the way through the tables; what they were is
/// compared at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub packet: Packet,
    pub kind: Kind,
}

/// Source and destination port of the transport at the beginning of `bytes`.
fn ports(protocol: IpProtocol, bytes: &[u8]) -> Option<(Kind, u16, u16)> {
    match protocol {
        IpProtocol::TCP | IpProtocol::UDP => {
            let [a, b, c, d, ..] = *bytes else { return None };
            Some((Kind::Ports, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
        }
        IpProtocol::ICMP | IpProtocol::ICMPV6 => {
            let icmp = icmpv4::View::parse(bytes).ok()?;
            Some(match (protocol, icmp.kind()) {
                (IpProtocol::ICMP, 8) | (IpProtocol::ICMPV6, 128) => (Kind::Request, icmp.id(), 0),
                (IpProtocol::ICMP, 0) | (IpProtocol::ICMPV6, 129) => (Kind::Reply, 0, icmp.id()),
                _ => (Kind::Bare, 0, 0),
            })
        }
        _ => Some((Kind::Bare, 0, 0)),
    }
}

impl Flow {
    /// Reads a packet that is whole or a first fragment. `frame` begins with the IP header.
    pub(crate) fn of(frame: &Frame, ip: &Ip) -> Result<Self, Drop> {
        let bytes = frame.head().get(ip.header_len..).ok_or(Drop::BadIpv4)?;
        let (kind, src_port, dst_port) = match ip.protocol {
            _ if ip.is_icmp() => Self::icmp(frame, ip, bytes)?,
            IpProtocol::UDP => {
                udp::View::parse_ports(bytes).map_err(|_| Drop::BadTransport)?;
                ports(ip.protocol, bytes).ok_or(Drop::BadTransport)?
            }
            _ => ports(ip.protocol, bytes).ok_or(Drop::BadTransport)?,
        };
        let tcp = match ip.protocol {
            IpProtocol::TCP => Some(tcp::View::parse(bytes).map_err(|_| Drop::BadTransport)?),
            _ => None,
        };
        let packet = Packet {
            zone: 0,
            to_zone: 0,
            protocol: ip.protocol,
            src: Endpoint::new(ip.src, src_port),
            dst: Endpoint::new(ip.dst, dst_port),
            tcp: tcp.as_ref().map(tcp::View::flags),
            segment: tcp.filter(|_| !ip.is_fragment()).map(|view| segment(&view, ip)),
            len: ip.total_len as u32,
            n_packets: n_packets(frame, ip),
        };
        Ok(Self { packet, kind })
    }

    fn icmp(frame: &Frame, ip: &Ip, bytes: &[u8]) -> Result<(Kind, u16, u16), Drop> {
        let icmp = icmpv4::View::parse(bytes).map_err(|_| Drop::BadIcmp)?;
        let is_error = match ip.protocol {
            IpProtocol::ICMP => icmp.is_error(),
            _ => icmpv6::View::parse(bytes).is_ok_and(|icmp| icmp.is_error()),
        };
        if !is_error {
            return ports(ip.protocol, bytes).ok_or(Drop::BadIcmp);
        }
        // RFC 5508 REQ-3: a wrong checksum, outside or in the quoted IP header, ends it here. An error is not
        // fragmented: it is at most 576 bytes (RFC 1812 §4.3.2.3), 1280 for IPv6 (RFC 4443 §2.4).
        if ip.is_fragment() || !checksum_holds(frame, ip) {
            return Err(Drop::BadIcmp);
        }
        Ok((Kind::Error(Quoted::read(ip, icmp.payload()).ok_or(Drop::BadIcmp)?), 0, 0))
    }

    /// Of a protocol that has no ports we know, and is not ICMP.
    pub(crate) fn is_portless(&self) -> bool {
        let icmp = matches!(self.packet.protocol, IpProtocol::ICMP | IpProtocol::ICMPV6);
        self.kind == Kind::Bare && !icmp
    }

    /// The same flow for a later fragment of its packet.
    pub(crate) fn later(self, ip: &Ip) -> Self {
        let packet =
            Packet { tcp: None, segment: None, len: ip.total_len as u32, n_packets: 1, ..self.packet };
        Self { packet, ..self }
    }
}

impl Quoted {
    /// Reads what an error of the version of `ip` quotes; none if it is cut too short or damaged.
    fn read(ip: &Ip, bytes: &[u8]) -> Option<Self> {
        let (quoted, payload) = match ip.src {
            IpAddr::V4(_) => {
                let view = ipv4::View::parse_quoted(bytes).ok().filter(ipv4::View::verify_checksum)?;
                (Ip::v4(&view), view.payload())
            }
            IpAddr::V6(_) => {
                let view = ipv6::View::parse_quoted(bytes).ok()?;
                let ip = Ip::v6(&view).ok()?;
                (ip, bytes.get(ip.header_len..)?)
            }
        };
        let (src, dst) = match quoted.is_later_fragment() {
            true => (0, 0),
            false => ports(quoted.protocol, payload).map(|(_, s, d)| (s, d))?,
        };
        let (src, dst) = (Endpoint::new(quoted.src, src), Endpoint::new(quoted.dst, dst));
        Some(Self { protocol: quoted.protocol, src, dst })
    }
}

/// The checksum of a whole packet of ICMP or TCP is right, a port has found so, or it is still to be made. The frame
/// begins with the IP header.
pub(crate) fn checksum_holds(frame: &Frame, ip: &Ip) -> bool {
    let bytes = frame.head().get(ip.header_len..).unwrap_or(&[]);
    let start = match (ip.src, ip.dst) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            pseudo_v6(src, dst, ip.protocol, (ip.total_len - ip.header_len) as u32)
        }
        (IpAddr::V4(src), IpAddr::V4(dst)) if ip.protocol == IpProtocol::TCP => {
            pseudo_v4(src, dst, ip.protocol, (ip.total_len - ip.header_len) as u16)
        }
        _ => Sum::new(),
    };
    let partial = frame.meta.csum.is_some() && ip.protocol == IpProtocol::TCP;
    partial || frame.meta.csum_valid || start.bytes(bytes).bytes(frame.tail()).finish() == 0
}

/// The numbers of a whole segment.
fn segment(view: &tcp::View<'_>, ip: &Ip) -> Segment {
    let scale = view.flags().contains(tcp::Flags::SYN).then(|| {
        view.options().find_map(|option| match option {
            Ok(tcp::TcpOption::WindowScale(shift)) => Some(shift),
            _ => None,
        })
    });
    Segment {
        seq: view.seq(),
        ack: view.ack(),
        window: view.window(),
        scale: scale.flatten(),
        len: ip.total_len.saturating_sub(ip.header_len + view.header_len()) as u32,
    }
}

/// Packets on the wire.
fn n_packets(frame: &Frame, ip: &Ip) -> u32 {
    match frame.meta.gso {
        Some(gso) => (ip.total_len as u32).div_ceil(u32::from(gso.size.max(1))),
        None => 1,
    }
}
