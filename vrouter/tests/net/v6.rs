//! IPv6 in the harness: what the router sends, read with etherparse as judge, and hosts that answer solicitations.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use packet::{Frame, MacAddr, build, nd};
use vrouter::{Drop, InterfaceConfig, RouteConfig, RouteTarget, RouterConfig};

use super::{LAN, Net, WAN, mac, plain};

pub const LAN6: Ipv6Addr = v6(0x1, 1);
pub const WAN6: Ipv6Addr = v6(0xff, 1);
/// Inside.
pub const A6: Ipv6Addr = v6(0x1, 2);
pub const B6: Ipv6Addr = v6(0x1, 3);
pub const GATEWAY6: Ipv6Addr = v6(0xff, 0xfe);
/// Beyond the gateway.
pub const R6: Ipv6Addr = v6(0x100, 7);

pub const fn v6(net: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host)
}

pub fn hosts() -> BTreeMap<Ipv6Addr, (u32, MacAddr)> {
    BTreeMap::from([(A6, (LAN, mac(2))), (B6, (LAN, mac(3))), (GATEWAY6, (WAN, mac(5)))])
}

/// Both families on lan and wan, with default routes.
pub fn dual() -> RouterConfig {
    let mut config = plain();
    let add = |interface: &mut InterfaceConfig, own: Ipv6Addr| interface.addresses.push((own.into(), 64));
    add(&mut config.interfaces[0], LAN6);
    add(&mut config.interfaces[2], WAN6);
    config.routes.push(via6("::/0", GATEWAY6));
    config
}

pub fn via6(to: &str, gateway: Ipv6Addr) -> RouteConfig {
    let target = RouteTarget::Via { gateway: gateway.into(), interface: None };
    RouteConfig::new(to.parse().expect("a prefix"), target)
}

/// An IPv6 packet that the router sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent6 {
    pub port: u32,
    pub src_mac: MacAddr,
    pub dst_mac: MacAddr,
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    pub hop_limit: u8,
    pub ports: (u16, u16),
    /// Type, code, bytes 4..8.
    pub icmp: Option<(u8, u8, [u8; 4])>,
    pub nd: Option<nd::Message>,
    pub payload: Vec<u8>,
    /// From the IP header on.
    pub bytes: Vec<u8>,
}

/// Reads a frame if it is IPv6, and checks every checksum in it.
pub fn read(port: u32, bytes: &[u8]) -> Option<Sent6> {
    let sliced = SlicedPacket::from_ethernet(bytes).expect("etherparse reads what the router sends");
    let Some(NetSlice::Ipv6(net)) = &sliced.net else { return None };
    let header = net.header();
    let (src, dst) = (header.source(), header.destination());
    let at = bytes.len() - 40 - usize::from(header.payload_length());
    let mut sent = Sent6 {
        port,
        dst_mac: MacAddr(bytes[..6].try_into().expect("six bytes")),
        src_mac: MacAddr(bytes[6..12].try_into().expect("six bytes")),
        src: src.into(),
        dst: dst.into(),
        hop_limit: header.hop_limit(),
        ports: (0, 0),
        icmp: None,
        nd: None,
        payload: net.payload().payload.to_vec(),
        bytes: bytes[at..].to_vec(),
    };
    let segment = net.payload().payload;
    match sliced.transport {
        Some(TransportSlice::Udp(udp)) => {
            sent.ports = (udp.source_port(), udp.destination_port());
            sent.payload = udp.payload().to_vec();
            let sum = udp.to_header().calc_checksum_ipv6_raw(src, dst, udp.payload()).expect("short enough");
            assert_eq!(udp.checksum(), sum, "UDP checksum");
        }
        Some(TransportSlice::Tcp(tcp)) => {
            sent.ports = (tcp.source_port(), tcp.destination_port());
            sent.payload = tcp.payload().to_vec();
            let sum = tcp.to_header().calc_checksum_ipv6_raw(src, dst, tcp.payload()).expect("short enough");
            assert_eq!(tcp.checksum(), sum, "TCP checksum");
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            assert!(icmp.is_checksum_valid(src, dst), "ICMPv6 checksum of {bytes:02x?}");
            sent.icmp =
                Some((icmp.type_u8(), icmp.code_u8(), [segment[4], segment[5], segment[6], segment[7]]));
            sent.payload = segment[8..].to_vec();
            sent.nd = nd::Message::parse(segment).ok();
        }
        _ => {}
    }
    Some(sent)
}

/// What a host answers to a solicitation.
pub fn answer(hosts: &BTreeMap<Ipv6Addr, (u32, MacAddr)>, packet: &Sent6) -> Option<Vec<u8>> {
    let Some(nd::Message::NeighbourSolicit { target, source: Some(asker) }) = packet.nd else { return None };
    let (port, mac) = *hosts.get(&target)?;
    let answer = nd::Message::NeighbourAdvert {
        router: false,
        solicited: true,
        overrides: true,
        target,
        mac: Some(mac),
    };
    (port == packet.port).then(|| build::ethernet(mac, asker).ipv6(target, packet.src).nd(&answer))
}

impl Net {
    /// Gives in a frame; returns the IPv6 that comes out, without neighbour discovery.
    pub fn send6(&mut self, port: u32, bytes: &[u8]) -> Vec<Sent6> {
        let from = self.sent6.len();
        let sent = self.frame(port, Frame::from_bytes(bytes));
        assert_eq!(sent, [], "IPv4 came out");
        self.sent6[from..].iter().filter(|p| p.nd.is_none()).cloned().collect()
    }

    pub fn one6(&mut self, port: u32, bytes: &[u8]) -> Sent6 {
        let mut sent = self.send6(port, bytes);
        assert_eq!(sent.len(), 1, "{sent:?}; drops {:?}", self.drops());
        sent.remove(0)
    }

    pub fn none6(&mut self, port: u32, bytes: &[u8], why: Drop) {
        self.expect_drops_ignored();
        assert_eq!(self.send6(port, bytes), []);
        assert_eq!(self.drops(), [(why, 1)]);
    }

    /// Neighbour discovery the router sent since `from`.
    pub fn nd_since(&self, from: usize) -> Vec<(u32, nd::Message)> {
        self.sent6[from..].iter().filter_map(|p| Some((p.port, p.nd.clone()?))).collect()
    }
}

/// Link header towards the router on the port where `src` is.
pub fn link6(src: Ipv6Addr) -> build::Link {
    match src.segments()[3] {
        1 => build::ethernet(mac(src.segments()[7] as u8), mac(0xf0 + LAN as u8)),
        _ => build::ethernet(mac(5), mac(0xf0 + WAN as u8)),
    }
}

pub fn udp6(src: (Ipv6Addr, u16), dst: (Ipv6Addr, u16), payload: &[u8]) -> Vec<u8> {
    link6(src.0).ipv6(src.0, dst.0).udp(src.1, dst.1, payload)
}
