//! Whole frames for tests, probes, and what routers and responders say themselves. Not for the path of a frame: each
//! call allocates a vector.
//!
//! ```
//! use packet::{MacAddr, VlanId, build};
//! let (a, b) = (MacAddr::from_u64(0x02_00_00_00_00_01), MacAddr::from_u64(0x02_00_00_00_00_02));
//! let vlan = VlanId::new(10).unwrap();
//! let frame = build::ethernet(a, b).vlan(vlan).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(5000, 53, b"hello");
//! assert_eq!(frame.len(), 18 + 20 + 8 + 5);
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::Sum;
use crate::vlan::Tag;
use crate::{
    EtherType, IpProtocol, MacAddr, VlanId, arp, checksum, ethernet, icmpv4, icmpv6, ipv4, ipv6, nd, tcp, udp,
};

/// An Ethernet header that waits for its payload.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    header: ethernet::Header,
}

/// Begins a frame.
pub fn ethernet(src: MacAddr, dst: MacAddr) -> Link {
    Link { header: ethernet::Header { dst, src, tags: Default::default(), ethertype: EtherType(0) } }
}

/// A broadcast that asks who has `target_ip`.
pub fn arp_request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
    let packet = arp::Packet::request(sender_mac, sender_ip, target_ip);
    ethernet(sender_mac, MacAddr::BROADCAST).arp(&packet)
}

/// The answer to `request`: its target is at `mac`.
pub fn arp_reply(request: &arp::Packet, mac: MacAddr) -> Vec<u8> {
    ethernet(mac, request.sender_mac).arp(&request.reply(mac))
}

/// A multicast that asks who has `target`, from `src_ip` at `src`.
pub fn neighbour_solicit(src: MacAddr, src_ip: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let group = nd::solicited_node(target);
    let message = nd::Message::NeighbourSolicit { target, source: Some(src) };
    ethernet(src, nd::multicast_mac(group)).ipv6(src_ip, group).nd(&message)
}

impl Link {
    /// Adds a customer tag inside those there are.
    pub fn vlan(self, vlan: VlanId) -> Self {
        self.tag(Tag::new(vlan))
    }

    /// Adds a tag inside those there are; beyond [`MAX_TAGS`](crate::vlan::MAX_TAGS) it is left out.
    pub fn tag(mut self, tag: Tag) -> Self {
        self.header.tags.push(tag);
        self
    }

    /// Any payload.
    pub fn payload(mut self, ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
        self.header.ethertype = ethertype;
        let mut frame = vec![0; self.header.len()];
        self.header.emit(&mut frame).expect("the vector has the length of the header");
        frame.extend_from_slice(payload);
        frame
    }

    /// An ARP packet.
    pub fn arp(self, packet: &arp::Packet) -> Vec<u8> {
        let mut bytes = [0; arp::PACKET_LEN];
        packet.emit(&mut bytes).expect("the array has the length of the packet");
        self.payload(EtherType::ARP, &bytes)
    }

    /// Begins an IPv4 packet: TTL 64, not to be fragmented.
    pub fn ipv4(self, src: impl Into<Ipv4Addr>, dst: impl Into<Ipv4Addr>) -> Ip {
        let header = ipv4::Header::new(src.into(), dst.into(), IpProtocol(0), 0);
        Ip { link: self, header: IpHeader::V4(header) }
    }

    /// Begins an IPv6 packet: hop limit 64.
    pub fn ipv6(self, src: impl Into<Ipv6Addr>, dst: impl Into<Ipv6Addr>) -> Ip {
        let header = ipv6::Header::new(src.into(), dst.into(), IpProtocol(0), 0);
        Ip { link: self, header: IpHeader::V6(header) }
    }

    /// Begins a packet of either version; of a mixed pair the IPv4 address is mapped (RFC 4291 §2.5.5.2).
    pub fn ip(self, src: IpAddr, dst: IpAddr) -> Ip {
        let mapped = |addr| match addr {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4(src, dst),
            _ => self.ipv6(mapped(src), mapped(dst)),
        }
    }

    /// An ICMPv4 error from `src` about `offending`, an IPv4 packet that may be cut short. None where RFC 1122 §3.2.2
    /// forbids one: about an ICMP error, a later fragment, a group destination or a source that is not one host.
    pub fn icmpv4_error(self, src: Ipv4Addr, why: &icmpv4::Message, offending: &[u8]) -> Option<Vec<u8>> {
        let packet = ipv4::View::parse_quoted(offending).ok()?;
        let to = packet.src();
        let one_host = !to.is_unspecified() && !to.is_broadcast() && !to.is_multicast() && !to.is_loopback();
        let to_group = packet.dst().is_multicast() || packet.dst().is_broadcast();
        let about_error = packet.protocol() == IpProtocol::ICMP
            && icmpv4::View::parse(packet.payload()).map_or(true, |icmp| icmp.is_error());
        if !one_host || to_group || about_error || packet.is_later_fragment() {
            return None;
        }
        let whole = packet.header_len() + packet.payload().len();
        Some(self.ipv4(src, to).icmpv4(why, icmpv4::quote(&offending[..whole])))
    }

    /// An ICMPv6 error from `src` about `offending`, an IPv6 packet that may be cut short. None where RFC 4443 §2.4 (e)
    /// forbids one: about an ICMPv6 error, or a source that is not one node, or a group destination unless it is
    /// Packet Too Big.
    pub fn icmpv6_error(self, src: Ipv6Addr, why: &icmpv6::Message, offending: &[u8]) -> Option<Vec<u8>> {
        let packet = ipv6::View::parse_quoted(offending).ok()?;
        let to = packet.src();
        let extensions = packet.extensions().ok()?;
        let upper = packet.payload().get(extensions.len..).unwrap_or(&[]);
        let about_error = extensions.protocol == IpProtocol::ICMPV6
            && !extensions.is_later_fragment()
            && icmpv6::View::parse(upper).map_or(true, |icmp| icmp.is_error() || icmp.kind() == 137);
        let too_big = matches!(why, icmpv6::Message::PacketTooBig { .. });
        if to.is_unspecified() || to.is_multicast() || about_error {
            return None;
        }
        if packet.dst().is_multicast() && !too_big {
            return None;
        }
        let whole = ipv6::HEADER_LEN + packet.payload().len();
        Some(self.ipv6(src, to).icmpv6(why, icmpv6::quote(&offending[..whole])))
    }
}

#[derive(Clone, Copy, Debug)]
enum IpHeader {
    V4(ipv4::Header),
    V6(ipv6::Header),
}

/// An IP header that waits for its payload. A payload longer than the length field can say is cut.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    link: Link,
    header: IpHeader,
}

impl Ip {
    /// Time to live or hop limit.
    pub fn ttl(mut self, ttl: u8) -> Self {
        match &mut self.header {
            IpHeader::V4(header) => header.ttl = ttl,
            IpHeader::V6(header) => header.hop_limit = ttl,
        }
        self
    }

    /// Differentiated services code point, cut to six bits.
    pub fn dscp(mut self, dscp: u8) -> Self {
        match &mut self.header {
            IpHeader::V4(header) => header.dscp = dscp & 0x3f,
            IpHeader::V6(header) => header.traffic_class = dscp << 2 | header.traffic_class & 3,
        }
        self
    }

    /// Changes anything of an IPv4 header; nothing of an IPv6 header.
    pub fn with_ipv4(mut self, change: impl FnOnce(&mut ipv4::Header)) -> Self {
        if let IpHeader::V4(header) = &mut self.header {
            change(header);
        }
        self
    }

    /// Changes anything of an IPv6 header; nothing of an IPv4 header.
    pub fn with_ipv6(mut self, change: impl FnOnce(&mut ipv6::Header)) -> Self {
        if let IpHeader::V6(header) = &mut self.header {
            change(header);
        }
        self
    }

    fn room(&self) -> usize {
        match &self.header {
            IpHeader::V4(header) => usize::from(u16::MAX) - header.header_len(),
            IpHeader::V6(_) => usize::from(u16::MAX),
        }
    }

    /// Any payload. For IPv6, `protocol` may be an extension header with which `payload` begins.
    pub fn payload(mut self, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
        let payload = payload.get(..self.room()).unwrap_or(payload);
        let mut packet = [0; ipv4::MAX_HEADER_LEN];
        let (ethertype, emitted) = match &mut self.header {
            IpHeader::V4(header) => {
                (header.protocol, header.payload_len) = (protocol, payload.len() as u16);
                (EtherType::IPV4, header.emit(&mut packet))
            }
            IpHeader::V6(header) => {
                (header.next_header, header.payload_len) = (protocol, payload.len() as u16);
                (EtherType::IPV6, header.emit(&mut packet))
            }
        };
        let len = emitted.expect("the array has room for any header and the payload fits the length field");
        let mut frame = self.link.payload(ethertype, &packet[..len]);
        frame.extend_from_slice(payload);
        frame
    }

    /// Sum of the pseudo header over `len` bytes of transport.
    fn pseudo(&self, protocol: IpProtocol, len: usize) -> Sum {
        match &self.header {
            IpHeader::V4(header) => checksum::pseudo_v4(header.src, header.dst, protocol, len as u16),
            IpHeader::V6(header) => checksum::pseudo_v6(header.src, header.dst, protocol, len as u32),
        }
    }

    /// Fills the checksum at `at` of `segment` and sends it on.
    fn transport(self, protocol: IpProtocol, at: usize, mut segment: Vec<u8>) -> Vec<u8> {
        segment.truncate(self.room());
        segment[at..at + 2].fill(0);
        let mut sum = self.pseudo(protocol, segment.len()).bytes(&segment).finish();
        if sum == 0 && protocol == IpProtocol::UDP {
            sum = 0xffff;
        }
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        self.payload(protocol, &segment)
    }

    /// A UDP datagram with its checksum.
    pub fn udp(self, src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
        let payload = payload.get(..self.room() - udp::HEADER_LEN).unwrap_or(payload);
        let header = udp::Header { src_port, dst_port, payload_len: payload.len() as u16, checksum: 0 };
        let mut segment = vec![0; udp::HEADER_LEN];
        header.emit(&mut segment).expect("the payload was cut to the length field");
        segment.extend_from_slice(payload);
        self.transport(IpProtocol::UDP, udp::CHECKSUM_AT, segment)
    }

    /// A TCP segment with its checksum; options beyond 40 bytes are left out.
    pub fn tcp(self, header: &tcp::Header, payload: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; tcp::MAX_HEADER_LEN];
        let len = header.emit(&mut segment).unwrap_or_else(|_| {
            let bare = tcp::Header { options: Vec::new(), ..header.clone() };
            bare.emit(&mut segment).expect("twenty bytes fit sixty")
        });
        segment.truncate(len);
        segment.extend_from_slice(payload);
        self.transport(IpProtocol::TCP, tcp::CHECKSUM_AT, segment)
    }

    /// An echo request of the version's ICMP.
    pub fn echo_request(self, id: u16, seq: u16, data: &[u8]) -> Vec<u8> {
        match self.header {
            IpHeader::V4(_) => self.icmpv4(&icmpv4::Message::EchoRequest { id, seq }, data),
            IpHeader::V6(_) => self.icmpv6(&icmpv6::Message::EchoRequest { id, seq }, data),
        }
    }

    /// An echo reply of the version's ICMP.
    pub fn echo_reply(self, id: u16, seq: u16, data: &[u8]) -> Vec<u8> {
        match self.header {
            IpHeader::V4(_) => self.icmpv4(&icmpv4::Message::EchoReply { id, seq }, data),
            IpHeader::V6(_) => self.icmpv6(&icmpv6::Message::EchoReply { id, seq }, data),
        }
    }

    /// An ICMP message and what follows its eight bytes.
    pub fn icmpv4(self, message: &icmpv4::Message, payload: &[u8]) -> Vec<u8> {
        let payload = payload.get(..self.room() - icmpv4::HEADER_LEN).unwrap_or(payload);
        let mut bytes = vec![0; icmpv4::HEADER_LEN];
        message.emit(payload, &mut bytes).expect("the vector has the length of the header");
        bytes.extend_from_slice(payload);
        self.payload(IpProtocol::ICMP, &bytes)
    }

    /// An ICMPv6 message and what follows its eight bytes.
    pub fn icmpv6(self, message: &icmpv6::Message, payload: &[u8]) -> Vec<u8> {
        let none = Ipv6Addr::UNSPECIFIED;
        let mut bytes = vec![0; icmpv6::HEADER_LEN];
        // The checksum is filled below, with the addresses of the packet.
        message.emit(none, none, &[], &mut bytes).expect("the vector has the length of the header");
        bytes.extend_from_slice(payload);
        self.transport(IpProtocol::ICMPV6, icmpv6::CHECKSUM_AT, bytes)
    }

    /// A message of neighbour discovery, with the hop limit it must have.
    pub fn nd(self, message: &nd::Message) -> Vec<u8> {
        let mut bytes = vec![0; message.emitted_len()];
        message.emit(&mut bytes).expect("the vector has the length of the message");
        self.ttl(nd::HOP_LIMIT).transport(IpProtocol::ICMPV6, icmpv6::CHECKSUM_AT, bytes)
    }
}
