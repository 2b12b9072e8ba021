//! A router with its workers on virtual time, hosts that answer ARP, and packets read back with etherparse as judge.
#![allow(dead_code, reason = "each test binary uses its part of the harness")]

pub mod netlink;
pub mod v6;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use packet::tcp::Flags;
use packet::{Frame, Instant, IpProtocol, MacAddr, Outputs, Pool, PortNo, VlanId, arp, build, ipv4, tcp};
use vrouter::{
    Drop, Effect, Forwarder, InterfaceConfig, KeptLease, NatRule, Options, RouteConfig, RouteTarget, Router,
    RouterConfig, RouterEvent, Sharing, Transport,
};

pub const LAN: u32 = 1;
pub const WAN: u32 = 2;
pub const LAN_IP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
pub const WAN_IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Inside hosts.
pub const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
pub const B: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
/// An inside host in VLAN 20 of the same port.
pub const C: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
/// The next router outside, and hosts beyond it.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
pub const R: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub const R2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 8);

pub fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

pub fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

pub fn interface(name: &str, port: u32, vlan: Option<u16>, address: &str) -> InterfaceConfig {
    let (addr, len) = address.split_once('/').expect("address/length");
    InterfaceConfig {
        name: name.into(),
        port: Some(PortNo(port)),
        vlan: vlan.map(|v| VlanId::new(v).expect("a VLAN")),
        mac: mac(0xf0 + port as u8),
        addresses: vec![(addr.parse().expect("an address"), len.parse().expect("a length"))],
        ..InterfaceConfig::default()
    }
}

pub fn via(to: &str, gateway: Ipv4Addr) -> RouteConfig {
    let target = RouteTarget::Via { gateway: IpAddr::V4(gateway), interface: None };
    RouteConfig::new(to.parse().expect("a prefix"), target)
}

/// lan and lan.20 inside, wan outside, a default route, nothing translated.
pub fn plain() -> RouterConfig {
    let mut config = RouterConfig::named("r1");
    config.interfaces = vec![
        interface("lan", LAN, None, "10.1.0.1/24"),
        interface("lan.20", LAN, Some(20), "10.2.0.1/24"),
        interface("wan", WAN, None, "203.0.113.1/24"),
    ];
    config.routes = vec![via("0.0.0.0/0", GATEWAY)];
    // The numbers of `tcp_header` are always the same.
    config.tuning.tcp_window = false;
    config
}

pub fn forward(protocol: Transport, port: u16, to: Ipv4Addr, to_port: u16) -> NatRule {
    let to = (to.into(), to_port);
    NatRule::PortForward { input: "wan".into(), protocol, port, to, inbound_only: false, vrf: None }
}

pub fn masquerade() -> NatRule {
    let (pool, sharing) = (Vec::new(), Sharing::Independent);
    NatRule::Masquerade { out: "wan".into(), sources: Vec::new(), pool, sharing, portless: false }
}

/// As [`plain`], what leaves by wan masqueraded, and services of A forwarded.
pub fn nat() -> RouterConfig {
    let mut config = plain();
    config.nat =
        vec![masquerade(), forward(Transport::Tcp, 8080, A, 80), forward(Transport::Udp, 5353, A, 53)];
    config
}

/// Something the router sent: an IP packet, read and judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub port: u32,
    pub vlan: Option<u16>,
    pub dst_mac: MacAddr,
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub ttl: u8,
    pub protocol: u8,
    /// Ports, or the ICMP identifier in both; zero where there are none.
    pub src_port: u16,
    pub dst_port: u16,
    /// ICMP type and code, bytes 4..8 of it.
    pub icmp: Option<(u8, u8, [u8; 4])>,
    pub payload: Vec<u8>,
    /// From the IP header on.
    pub bytes: Vec<u8>,
}

impl Sent {
    /// The packet an ICMP error quotes.
    pub fn quoted(&self) -> ipv4::View<'_> {
        ipv4::View::parse_quoted(&self.payload).expect("an ICMP error quotes a packet")
    }
    pub fn quoted_ports(&self) -> (u16, u16) {
        let quoted = self.quoted();
        let p = quoted.payload();
        (u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]]))
    }
    pub fn ends(&self) -> ((Ipv4Addr, u16), (Ipv4Addr, u16)) {
        ((self.src, self.src_port), (self.dst, self.dst_port))
    }
}

/// Reads a frame with etherparse and checks every checksum in it.
pub fn read(port: u32, bytes: &[u8]) -> Sent {
    let sliced = SlicedPacket::from_ethernet(bytes).expect("etherparse reads what the router sends");
    let Some(NetSlice::Ipv4(net)) = &sliced.net else { panic!("not IPv4: {bytes:02x?}") };
    let header = net.header();
    let raw = header.to_header();
    assert_eq!(raw.header_checksum, raw.calc_header_checksum(), "IPv4 header checksum");
    let at = bytes.len() - usize::from(header.total_len());
    let mut sent = Sent {
        port,
        vlan: sliced.vlan_ids().first().map(|id| id.value()),
        dst_mac: MacAddr(bytes[..6].try_into().expect("six bytes")),
        src: header.source_addr(),
        dst: header.destination_addr(),
        ttl: header.ttl(),
        protocol: header.protocol().0,
        src_port: 0,
        dst_port: 0,
        icmp: None,
        payload: net.payload().payload.to_vec(),
        bytes: bytes[at..].to_vec(),
    };
    let (src, dst) = (header.source(), header.destination());
    match sliced.transport {
        Some(TransportSlice::Udp(udp)) => {
            (sent.src_port, sent.dst_port) = (udp.source_port(), udp.destination_port());
            sent.payload = udp.payload().to_vec();
            let sum = udp.to_header().calc_checksum_ipv4_raw(src, dst, udp.payload()).expect("short enough");
            assert!(udp.checksum() == 0 || udp.checksum() == sum, "UDP checksum {:#x}", udp.checksum());
        }
        Some(TransportSlice::Tcp(tcp)) => {
            (sent.src_port, sent.dst_port) = (tcp.source_port(), tcp.destination_port());
            sent.payload = tcp.payload().to_vec();
            let sum = tcp.to_header().calc_checksum_ipv4_raw(src, dst, tcp.payload()).expect("short enough");
            assert_eq!(tcp.checksum(), sum, "TCP checksum");
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            let b = net.payload().payload;
            assert_eq!(packet::checksum::checksum(b), 0, "ICMP checksum");
            sent.icmp = Some((icmp.type_u8(), icmp.code_u8(), [b[4], b[5], b[6], b[7]]));
            sent.payload = b[8..].to_vec();
            if matches!(icmp.type_u8(), 0 | 8) {
                let id = u16::from_be_bytes([b[4], b[5]]);
                (sent.src_port, sent.dst_port) = (id, id);
            }
        }
        _ => {}
    }
    sent
}

pub struct Net {
    pub router: Router,
    forwarders: Vec<Forwarder>,
    pool: Pool,
    pub now: Instant,
    turn: usize,
    /// Hosts that answer ARP: port, VLAN, MAC.
    pub hosts: BTreeMap<Ipv4Addr, (u32, Option<u16>, MacAddr)>,
    pub events: Vec<RouterEvent>,
    /// What a store of leases would have been given.
    pub leases: Vec<KeptLease>,
    seen_drops: BTreeMap<Drop, u64>,
    /// ARP the router sent, all of it.
    pub arps: Vec<(u32, arp::Packet)>,
    /// Hosts that answer neighbour solicitations.
    pub hosts6: BTreeMap<Ipv6Addr, (u32, MacAddr)>,
    /// IPv6 the router sent, neighbour discovery among it.
    pub sent6: Vec<v6::Sent6>,
}

impl Net {
    pub fn new(config: RouterConfig, n_workers: usize) -> Self {
        Self::sized(config, n_workers, Options::new(n_workers, [7, 9]).n_connections)
    }

    /// With room for so many connections.
    pub fn sized(config: RouterConfig, n_workers: usize, n_connections: u32) -> Self {
        let mut router = Router::new(Options { n_connections, ..Options::new(n_workers, [7, 9]) });
        let forwarders = router.forwarders();
        assert_eq!(forwarders.len(), n_workers);
        let hosts = BTreeMap::from([
            (A, (LAN, None, mac(2))),
            (B, (LAN, None, mac(3))),
            (C, (LAN, Some(20), mac(4))),
            (GATEWAY, (WAN, None, mac(5))),
        ]);
        let mut net = Self {
            router,
            forwarders,
            pool: Pool::default(),
            now: Instant::from_secs(1000),
            turn: 0,
            hosts,
            events: Vec::new(),
            leases: Vec::new(),
            seen_drops: BTreeMap::new(),
            arps: Vec::new(),
            hosts6: v6::hosts(),
            sent6: Vec::new(),
        };
        net.configure(config);
        net
    }

    pub fn configure(&mut self, config: RouterConfig) -> Vec<Sent> {
        self.router.set_config(self.now, config).expect("a right configuration");
        let speaks_v6 = config_speaks_v6(self.router.config());
        let mut out = Outputs::new();
        self.carry(&mut out);
        let mut sent = self.settle(out);
        if speaks_v6 {
            // Its addresses are probed for (RFC 4862 §5.4).
            sent.extend(self.secs(1));
        }
        sent
    }

    /// As [`configure`](Self::configure), before anything that takes time has happened.
    pub fn begin(&mut self, config: RouterConfig) -> Vec<Sent> {
        self.router.set_config(self.now, config).expect("a right configuration");
        let mut out = Outputs::new();
        self.carry(&mut out);
        self.settle(out)
    }

    /// Carries messages between owner and workers until none is left.
    fn carry(&mut self, out: &mut Outputs) {
        loop {
            let mut moved = false;
            while let Some(effect) = self.router.poll_effect() {
                moved = true;
                match effect {
                    Effect::Order { worker, order } => {
                        for (i, f) in self.forwarders.iter_mut().enumerate() {
                            if worker.is_none_or(|w| w == i) {
                                f.handle_order(self.now, order.clone(), &mut self.pool, out);
                            }
                        }
                    }
                    Effect::Event(event) => self.events.push(event),
                    Effect::Lease(lease) => self.leases.push(lease),
                }
            }
            for (i, f) in self.forwarders.iter_mut().enumerate() {
                f.handle_idle(self.now);
                while let Some(report) = f.poll_report() {
                    moved = true;
                    self.router.handle_report(self.now, i, report);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Answers ARP, gathers everything else.
    fn settle(&mut self, mut out: Outputs) -> Vec<Sent> {
        let mut sent = Vec::new();
        while !out.is_empty() {
            let mut next = Outputs::new();
            for (port, frame) in out {
                let bytes = finished(frame);
                for bytes in bytes {
                    if let Some(reply) = self.answer(port.0, &bytes) {
                        self.inject(port.0, Frame::from_bytes(&reply), &mut next);
                    } else if let Some(packet) = v6::read(port.0, &bytes) {
                        let reply = v6::answer(&self.hosts6, &packet);
                        self.sent6.push(packet);
                        if let Some(reply) = reply {
                            self.inject(port.0, Frame::from_bytes(&reply), &mut next);
                        }
                    } else if !is_arp(&bytes) {
                        sent.push(read(port.0, &bytes));
                    }
                }
            }
            out = next;
        }
        sent
    }

    fn answer(&mut self, port: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        if !is_arp(bytes) {
            return None;
        }
        if bytes[12..14] == [0x88, 0xa8] {
            return None;
        }
        let (vlan, at) = if bytes[12..14] == [0x81, 0] {
            (Some(u16::from_be_bytes([bytes[14], bytes[15]]) & 0xfff), 18)
        } else {
            (None, 14)
        };
        let packet = arp::Packet::parse(&bytes[at..]).expect("the router sends right ARP");
        self.arps.push((port, packet));
        let (at_port, at_vlan, mac) = *self.hosts.get(&packet.target_ip)?;
        let asked = packet.operation == arp::Operation::Request && (port, vlan) == (at_port, at_vlan);
        let link = build::ethernet(mac, packet.sender_mac);
        let link = vlan.map_or(link, |v| link.vlan(VlanId::new(v).expect("a VLAN")));
        asked.then(|| link.arp(&packet.reply(mac)))
    }

    fn inject(&mut self, port: u32, mut frame: Frame, out: &mut Outputs) {
        frame.meta.in_port = PortNo(port);
        let mut batch = vec![frame];
        self.turn += 1;
        let worker = self.turn % self.forwarders.len();
        self.forwarders[worker].process(self.now, &mut batch, &mut self.pool, out);
        assert!(batch.is_empty());
        self.carry(out);
    }

    /// Gives a frame to one of the workers and returns the packets that come out, neighbours being resolved meanwhile.
    pub fn frame(&mut self, port: u32, frame: Frame) -> Vec<Sent> {
        let mut out = Outputs::new();
        self.inject(port, frame, &mut out);
        self.settle(out)
    }

    /// As [`frame`](Self::frame), without answering or reading anything.
    pub fn raw(&mut self, port: u32, frame: Frame) -> Outputs {
        let mut out = Outputs::new();
        self.inject(port, frame, &mut out);
        out
    }

    /// Gives frames to the first worker together.
    pub fn batch(&mut self, port: u32, frames: &[Vec<u8>]) -> Outputs {
        let mut batch: Vec<Frame> = frames.iter().map(|bytes| Frame::from_bytes(bytes)).collect();
        batch.iter_mut().for_each(|frame| frame.meta.in_port = PortNo(port));
        let mut out = Outputs::new();
        self.forwarders[0].process(self.now, &mut batch, &mut self.pool, &mut out);
        self.carry(&mut out);
        out
    }

    pub fn send(&mut self, port: u32, bytes: &[u8]) -> Vec<Sent> {
        self.frame(port, Frame::from_bytes(bytes))
    }

    /// A packet that one comes out for.
    pub fn one(&mut self, port: u32, bytes: &[u8]) -> Sent {
        let mut sent = self.send(port, bytes);
        assert_eq!(sent.len(), 1, "{sent:?}; drops {:?}", self.drops());
        sent.remove(0)
    }

    /// A packet that nothing comes out for, for this reason.
    pub fn none(&mut self, port: u32, bytes: &[u8], why: Drop) {
        self.expect_drops_ignored();
        let sent = self.send(port, bytes);
        assert_eq!(sent, [], "nothing should come out");
        assert_eq!(self.drops(), [(why, 1)]);
    }

    /// Lets time pass, timer by timer.
    pub fn wait(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = Vec::new();
        loop {
            let due = self.forwarders.iter().filter_map(Forwarder::poll_timeout).min();
            let due = due.into_iter().chain(self.router.poll_timeout()).min();
            self.now = due.unwrap_or(end).clamp(self.now, end);
            if due.is_none_or(|d| d > end) {
                self.now = end;
            }
            let mut out = Outputs::new();
            for f in &mut self.forwarders {
                f.handle_timeout(self.now, &mut self.pool, &mut out);
            }
            self.router.handle_timeout(self.now);
            self.carry(&mut out);
            sent.extend(self.settle(out));
            if self.now == end {
                return sent;
            }
        }
    }

    pub fn secs(&mut self, secs: u64) -> Vec<Sent> {
        self.wait(Duration::from_secs(secs))
    }

    /// Drops since they were last asked for.
    pub fn drops(&mut self) -> Vec<(Drop, u64)> {
        let counters = self.router.counters();
        let mut fresh = Vec::new();
        for (why, n) in counters.drops() {
            let seen = self.seen_drops.insert(why, n).unwrap_or(0);
            if n > seen {
                fresh.push((why, n - seen));
            }
        }
        fresh
    }

    pub fn expect_drops_ignored(&mut self) {
        self.drops();
    }
}

fn config_speaks_v6(config: &RouterConfig) -> bool {
    config.interfaces.iter().any(|i| i.addresses.iter().any(|(addr, _)| addr.is_ipv6()))
}

fn is_arp(bytes: &[u8]) -> bool {
    let mut at = 12;
    while matches!(bytes[at..at + 2], [0x81, 0] | [0x88, 0xa8]) {
        at += 4;
    }
    bytes[at..at + 2] == [8, 6]
}

/// What the port would put on the wire.
fn finished(frame: Frame) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    packet::offload::segment(frame, &mut Pool::default(), &mut segments)
        .expect("the router keeps offloads right");
    segments.iter().map(Frame::to_vec).collect()
}

/// Link header towards the router on the port where `src` is, or the gateway for what is beyond.
pub fn link(src: Ipv4Addr) -> build::Link {
    match src.octets() {
        [10, 1, 0, n] => build::ethernet(mac(n), mac(0xf0 + LAN as u8)),
        [10, 2, 0, 2] => {
            build::ethernet(mac(4), mac(0xf0 + LAN as u8)).vlan(VlanId::new(20).expect("a VLAN"))
        }
        _ => build::ethernet(mac(5), mac(0xf0 + WAN as u8)),
    }
}

type End = (Ipv4Addr, u16);

pub fn udp(src: End, dst: End, payload: &[u8]) -> Vec<u8> {
    link(src.0).ipv4(src.0, dst.0).udp(src.1, dst.1, payload)
}

pub fn segment(src: End, dst: End, flags: Flags, payload: &[u8]) -> Vec<u8> {
    link(src.0).ipv4(src.0, dst.0).tcp(&tcp_header(src.1, dst.1, flags), payload)
}

pub fn tcp_header(src_port: u16, dst_port: u16, flags: Flags) -> tcp::Header {
    tcp::Header {
        src_port,
        dst_port,
        seq: 1000,
        ack: 2000,
        flags,
        window: 100,
        checksum: 0,
        urgent: 0,
        options: Vec::new(),
    }
}

pub fn ping(src: Ipv4Addr, dst: Ipv4Addr, id: u16) -> Vec<u8> {
    link(src).ipv4(src, dst).echo_request(id, 1, b"odd")
}

pub fn pong(src: Ipv4Addr, dst: Ipv4Addr, id: u16) -> Vec<u8> {
    link(src).ipv4(src, dst).echo_reply(id, 1, b"odd")
}

/// The IP packet of a frame.
pub fn packet_of(frame: &[u8]) -> &[u8] {
    if frame[12..14] == [0x81, 0] { &frame[18..] } else { &frame[14..] }
}

/// Cuts the IPv4 packet of `frame` into fragments at these places of its payload (multiples of eight).
pub fn cut(frame: &[u8], id: u16, places: &[usize]) -> Vec<Vec<u8>> {
    let link_len = frame.len() - packet_of(frame).len();
    let view = ipv4::View::parse(&frame[link_len..]).expect("a packet");
    let payload = view.payload();
    let ends = places.iter().copied().chain([payload.len()]);
    let mut start = 0;
    let piece = |end: usize| {
        let bytes = piece(&view, id, start, end, end < payload.len());
        start = end;
        [&frame[..link_len], &bytes].concat()
    };
    ends.map(piece).collect()
}

/// Bytes `start..end` of the payload as a fragment.
pub fn piece(whole: &ipv4::View<'_>, id: u16, start: usize, end: usize, more: bool) -> Vec<u8> {
    let header = ipv4::Header {
        identification: id,
        dont_fragment: false,
        more_fragments: more,
        fragment_offset: (start / 8) as u16,
        payload_len: (end - start) as u16,
        ..ipv4::Header::from_view(whole)
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("room for the header");
    bytes.extend_from_slice(&whole.payload()[start..end]);
    bytes
}

/// Puts fragments together, whatever their order, and reads the result as one frame.
pub fn reassemble(pieces: &[Sent]) -> Sent {
    let mut payload = vec![0; 0];
    let mut sorted: Vec<ipv4::View<'_>> =
        pieces.iter().map(|p| ipv4::View::parse(&p.bytes).expect("a packet")).collect();
    sorted.sort_by_key(|v| v.fragment_offset());
    for view in &sorted {
        assert_eq!(usize::from(view.fragment_offset()) * 8, payload.len(), "a gap");
        payload.extend_from_slice(view.payload());
    }
    assert!(!sorted.last().expect("some").more_fragments(), "the last is missing");
    let first = ipv4::Header::from_view(&sorted[0]);
    let header = ipv4::Header {
        more_fragments: false,
        payload_len: payload.len() as u16,
        options: first.options,
        ..first
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("room");
    let ethernet =
        build::ethernet(mac(1), mac(2)).payload(packet::EtherType::IPV4, &[&bytes[..], &payload].concat());
    read(pieces[0].port, &ethernet)
}

pub const UDP: u8 = IpProtocol::UDP.0;
pub const SYN: Flags = Flags::SYN;
pub const ACK: Flags = Flags::ACK;
pub const SYN_ACK: Flags = Flags::SYN.with(Flags::ACK);
