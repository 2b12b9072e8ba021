//! What a packet is to translation and firewall: addresses, ports, and what an ICMP error quotes.

use core::net::Ipv4Addr;

use conntrack::{Endpoint, Packet};
use packet::checksum::Sum;
use packet::{Frame, IpProtocol, icmpv4, ipv4, tcp, udp};

use crate::Drop;

/// The fixed fields of an IPv4 header that has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ip {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub protocol: IpProtocol,
    pub header_len: usize,
    /// Bytes of the packet; the frame has been cut to it.
    pub total_len: usize,
    pub ttl: u8,
    pub dont_fragment: bool,
    pub identification: u16,
    /// In bytes.
    pub fragment_at: usize,
    pub more_fragments: bool,
}

impl Ip {
    pub(crate) fn of(view: &ipv4::View<'_>) -> Self {
        Self {
            src: view.src(),
            dst: view.dst(),
            protocol: view.protocol(),
            header_len: view.header_len(),
            total_len: usize::from(view.total_len()),
            ttl: view.ttl(),
            dont_fragment: view.dont_fragment(),
            identification: view.identification(),
            fragment_at: usize::from(view.fragment_offset()) * 8,
            more_fragments: view.more_fragments(),
        }
    }

    pub(crate) fn is_fragment(&self) -> bool {
        self.fragment_at != 0 || self.more_fragments
    }

    pub(crate) fn is_later_fragment(&self) -> bool {
        self.fragment_at != 0
    }
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
        IpProtocol::ICMP => {
            let icmp = icmpv4::View::parse(bytes).ok()?;
            Some(match icmp.kind() {
                8 => (Kind::Request, icmp.id(), 0),
                0 => (Kind::Reply, 0, icmp.id()),
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
            IpProtocol::ICMP => Self::icmp(frame, ip, bytes)?,
            IpProtocol::UDP => {
                udp::View::parse_ports(bytes).map_err(|_| Drop::BadTransport)?;
                ports(ip.protocol, bytes).ok_or(Drop::BadTransport)?
            }
            _ => ports(ip.protocol, bytes).ok_or(Drop::BadTransport)?,
        };
        let flags = match ip.protocol {
            IpProtocol::TCP => Some(tcp::View::parse(bytes).map_err(|_| Drop::BadTransport)?.flags()),
            _ => None,
        };
        let packet = Packet {
            zone: 0,
            protocol: ip.protocol,
            src: Endpoint::new(ip.src, src_port),
            dst: Endpoint::new(ip.dst, dst_port),
            tcp: flags,
            len: ip.total_len as u32,
            n_packets: n_packets(frame, ip),
        };
        Ok(Self { packet, kind })
    }

    fn icmp(frame: &Frame, ip: &Ip, bytes: &[u8]) -> Result<(Kind, u16, u16), Drop> {
        let icmp = icmpv4::View::parse(bytes).map_err(|_| Drop::BadIcmp)?;
        if !icmp.is_error() {
            return ports(ip.protocol, bytes).ok_or(Drop::BadIcmp);
        }
        // RFC 5508 REQ-3: a wrong checksum, outside or in the quoted IP header, ends it here. An error is not
        // fragmented: it is at most 576 bytes (RFC 1812 §4.3.2.3).
        if ip.is_fragment() || !checksum_holds(frame, bytes) {
            return Err(Drop::BadIcmp);
        }
        let quoted = ipv4::View::parse_quoted(icmp.payload()).map_err(|_| Drop::BadIcmp)?;
        if !quoted.verify_checksum() {
            return Err(Drop::BadIcmp);
        }
        let protocol = quoted.protocol();
        let (src, dst) = match quoted.is_later_fragment() {
            true => (0, 0),
            false => ports(protocol, quoted.payload()).map(|(_, s, d)| (s, d)).ok_or(Drop::BadIcmp)?,
        };
        let (src, dst) = (Endpoint::new(quoted.src(), src), Endpoint::new(quoted.dst(), dst));
        Ok((Kind::Error(Quoted { protocol, src, dst }), 0, 0))
    }

    /// The same flow for a later fragment of its packet.
    pub(crate) fn later(self, ip: &Ip) -> Self {
        let packet = Packet { tcp: None, len: ip.total_len as u32, n_packets: 1, ..self.packet };
        Self { packet, ..self }
    }
}

/// The ICMP checksum is right, or a port has found so. `bytes` is the message as far as it is in the head.
pub(crate) fn checksum_holds(frame: &Frame, bytes: &[u8]) -> bool {
    frame.meta.csum_valid || Sum::new().bytes(bytes).bytes(frame.tail()).finish() == 0
}

/// Packets on the wire.
fn n_packets(frame: &Frame, ip: &Ip) -> u32 {
    match frame.meta.gso {
        Some(gso) => (ip.total_len as u32).div_ceil(u32::from(gso.size.max(1))),
        None => 1,
    }
}
