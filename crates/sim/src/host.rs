//! Hosts: as much of a station as tests need. ARP and neighbour discovery, echo, UDP.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use packet::layout::Layout;
use packet::{
    EtherType, Frame, Instant, IpProtocol, MacAddr, Outputs, Pool, PortNo, arp, build, checksum, icmpv4,
    icmpv6, ipv4, ipv6, nd, offload, tcp, udp,
};

/// The one port of a host.
pub const HOST_PORT: PortNo = PortNo(1);
/// UDP datagrams to this port are sent back (RFC 862).
pub const ECHO_PORT: u16 = 7;

mod config;
mod heard;
mod wire;

pub use config::HostConfig;
pub use heard::{Heard, HostCounters, What};
use wire::{group_mac, leave_checksum, same_network};

const RETRY: Duration = Duration::from_secs(1);
const N_TRIES: u8 = 4;

#[derive(Debug)]
struct Asking {
    next_at: Instant,
    n_tries: u8,
    waiting: Vec<Packet>,
}

/// What a host says above Ethernet.
#[derive(Clone, Debug)]
struct Packet {
    src: IpAddr,
    dst: IpAddr,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    EchoRequest { id: u16, seq: u16, data: Vec<u8> },
    EchoReply { id: u16, seq: u16, data: Vec<u8> },
    Udp { src_port: u16, dst_port: u16, data: Vec<u8> },
    Tcp { header: tcp::Header, data: Vec<u8> },
}

/// A station.
#[derive(Debug)]
pub struct Host {
    config: HostConfig,
    neighbours: BTreeMap<IpAddr, MacAddr>,
    asking: BTreeMap<IpAddr, Asking>,
    outbox: VecDeque<Vec<u8>>,
    heard: Vec<Heard>,
    counters: HostCounters,
}

impl Host {
    /// A station that knows nobody.
    pub fn new(config: HostConfig) -> Self {
        Self {
            config,
            neighbours: BTreeMap::new(),
            asking: BTreeMap::new(),
            outbox: VecDeque::new(),
            heard: Vec::new(),
            counters: HostCounters::default(),
        }
    }

    /// What it is.
    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    /// Everything heard so far that was for it.
    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// Forgets what was heard and counted.
    pub fn clear(&mut self) {
        self.heard.clear();
        self.counters = HostCounters::default();
    }

    /// Forgets its neighbours.
    pub fn forget_neighbours(&mut self) {
        self.neighbours.clear();
    }

    /// What it has counted.
    pub fn counters(&self) -> HostCounters {
        self.counters
    }

    /// Where it believes a neighbour is.
    pub fn neighbour(&self, addr: IpAddr) -> Option<MacAddr> {
        self.neighbours.get(&addr).copied()
    }

    /// Number of datagrams heard with this payload.
    pub fn n_datagrams(&self, data: &[u8]) -> usize {
        self.heard.iter().filter(|h| matches!(&h.what, What::Udp { data: d, .. } if d == data)).count()
    }

    /// When the echo `id`, `seq` was answered.
    pub fn echo_answered(&self, id: u16, seq: u16) -> Option<Instant> {
        self.heard.iter().find(|h| h.what == What::EchoReply { id, seq }).map(|h| h.at)
    }

    /// Asks `dst` for an echo.
    pub fn send_echo(&mut self, now: Instant, dst: IpAddr, id: u16, seq: u16) {
        self.send(now, dst, Body::EchoRequest { id, seq, data: vec![0x77; 40] });
    }

    /// Sends a datagram.
    pub fn send_udp(&mut self, now: Instant, dst: IpAddr, ports: (u16, u16), data: &[u8]) {
        self.send(now, dst, Body::Udp { src_port: ports.0, dst_port: ports.1, data: data.to_vec() });
    }

    /// Sends a TCP segment. There is no TCP behind it: the test is the peer.
    pub fn send_tcp(&mut self, now: Instant, dst: IpAddr, header: tcp::Header, data: &[u8]) {
        self.send(now, dst, Body::Tcp { header, data: data.to_vec() });
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, frame: Vec<u8>) {
        self.outbox.push_back(frame);
    }

    /// Says where it is: gratuitous ARP and unsolicited neighbour advertisements.
    pub fn announce(&mut self) {
        for (addr, _) in self.config.addresses.clone() {
            let mac = self.config.mac;
            let frame = match addr {
                IpAddr::V4(addr) => self.link(MacAddr::BROADCAST).arp(&arp::Packet::request(mac, addr, addr)),
                IpAddr::V6(target) => {
                    let (router, solicited, overrides) = (false, false, true);
                    let message =
                        nd::Message::NeighbourAdvert { router, solicited, overrides, target, mac: Some(mac) };
                    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
                    self.link(nd::multicast_mac(all_nodes)).ipv6(target, all_nodes).nd(&message)
                }
            };
            self.outbox.push_back(frame);
        }
    }

    fn link(&self, dst: MacAddr) -> build::Link {
        let link = build::ethernet(self.config.mac, dst);
        self.config.vlan.map_or(link, |vlan| link.vlan(vlan))
    }

    fn owns(&self, addr: IpAddr) -> bool {
        self.config.addresses.iter().any(|(own, _)| *own == addr)
    }

    fn send(&mut self, now: Instant, dst: IpAddr, body: Body) {
        let version = |addr: &IpAddr| addr.is_ipv4() == dst.is_ipv4();
        let on_link = self.config.addresses.iter().find(|(own, len)| same_network(*own, dst, *len));
        let any = self.config.addresses.iter().find(|(own, _)| version(own));
        let Some(&(src, _)) = on_link.or(any) else {
            self.counters.n_unresolved += 1;
            return;
        };
        self.send_from(now, Packet { src, dst, body });
    }

    fn send_from(&mut self, now: Instant, packet: Packet) {
        let dst = packet.dst;
        let on_link = self.config.addresses.iter().any(|(own, len)| same_network(*own, dst, *len));
        if let Some(mac) = group_mac(dst) {
            self.emit(mac, &packet);
            return;
        }
        let gateway = self.config.gateways.iter().copied().find(|g| g.is_ipv4() == dst.is_ipv4());
        let next_hop = if on_link { Some(dst) } else { gateway };
        let Some(next_hop) = next_hop else {
            self.counters.n_unresolved += 1;
            return;
        };
        match self.neighbours.get(&next_hop) {
            Some(mac) => self.emit(*mac, &packet),
            None => {
                let new = Asking { next_at: now, n_tries: 0, waiting: Vec::new() };
                let asking = self.asking.entry(next_hop).or_insert(new);
                asking.waiting.push(packet);
                self.handle_timeout(now);
            }
        }
    }

    fn emit(&mut self, dst: MacAddr, packet: &Packet) {
        let ip = self.link(dst).ip(packet.src, packet.dst);
        let frame = match &packet.body {
            Body::EchoRequest { id, seq, data } => ip.echo_request(*id, *seq, data),
            Body::EchoReply { id, seq, data } => ip.echo_reply(*id, *seq, data),
            Body::Udp { src_port, dst_port, data } => ip.udp(*src_port, *dst_port, data),
            Body::Tcp { header, data } => ip.tcp(header, data),
        };
        self.outbox.push_back(frame);
    }

    fn ask(&mut self, target: IpAddr) {
        let own = self.config.addresses.iter().find(|(own, len)| same_network(*own, target, *len));
        let frame = match (own.map(|(own, _)| *own), target) {
            (Some(IpAddr::V4(own)), IpAddr::V4(target)) => {
                let packet = arp::Packet::request(self.config.mac, own, target);
                self.link(MacAddr::BROADCAST).arp(&packet)
            }
            (Some(IpAddr::V6(own)), IpAddr::V6(target)) => {
                let group = nd::solicited_node(target);
                let message = nd::Message::NeighbourSolicit { target, source: Some(self.config.mac) };
                self.link(nd::multicast_mac(group)).ipv6(own, group).nd(&message)
            }
            _ => return,
        };
        self.outbox.push_back(frame);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.asking.values().map(|asking| asking.next_at).min()
    }

    /// Asks unresolved neighbours again, gives up on those asked often enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<IpAddr> =
            self.asking.iter().filter(|(_, asking)| asking.next_at <= now).map(|(addr, _)| *addr).collect();
        for addr in due {
            let Some(asking) = self.asking.get_mut(&addr) else { continue };
            if asking.n_tries == N_TRIES {
                self.counters.n_unresolved += asking.waiting.len() as u64;
                self.asking.remove(&addr);
                continue;
            }
            asking.n_tries += 1;
            asking.next_at = now + RETRY;
            self.ask(addr);
        }
    }

    fn learn(&mut self, now: Instant, addr: IpAddr, mac: MacAddr) {
        let wanted = self.asking.remove(&addr);
        if wanted.is_some() || self.neighbours.contains_key(&addr) {
            self.neighbours.insert(addr, mac);
        }
        for packet in wanted.into_iter().flat_map(|asking| asking.waiting) {
            self.send_from(now, packet);
        }
    }

    /// Takes a frame in.
    pub fn handle_frame(&mut self, now: Instant, frame: &mut Frame) {
        self.counters.n_received += 1;
        // A guest takes partial checksums; for us it is simpler to complete and verify all of them.
        if offload::complete_checksum(frame).is_err() {
            self.counters.n_malformed += 1;
            return;
        }
        if let Some(vlan) = self.config.vlan
            && frame.pop_vlan().and_then(|tag| tag.tci.vlan()) != Some(vlan)
        {
            self.counters.n_foreign_vlan += 1;
            return;
        }
        if frame.outer_vlan().is_some() {
            self.counters.n_foreign_vlan += 1;
            return;
        }
        let bytes = frame.to_vec();
        if self.handle_bytes(now, &bytes).is_err() {
            self.counters.n_malformed += 1;
        }
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), packet::ParseError> {
        let eth = packet::ethernet::View::parse(bytes)?;
        if !eth.dst().is_multicast() && eth.dst() != self.config.mac {
            self.counters.n_for_others += 1;
            return Ok(());
        }
        match eth.ethertype() {
            EtherType::ARP => self.handle_arp(now, &arp::Packet::parse(eth.payload())?),
            EtherType::IPV4 | EtherType::IPV6 => self.handle_ip(now, bytes)?,
            _ => {}
        }
        Ok(())
    }

    fn handle_arp(&mut self, now: Instant, packet: &arp::Packet) {
        self.learn(now, packet.sender_ip.into(), packet.sender_mac);
        let about_us = self.owns(packet.target_ip.into()) && packet.sender_ip != packet.target_ip;
        if packet.operation == arp::Operation::Request && about_us {
            // RFC 826: whoever asks for us is about to speak to us.
            self.neighbours.insert(packet.sender_ip.into(), packet.sender_mac);
            let mut reply = packet.reply(self.config.mac);
            reply.target_mac = packet.sender_mac;
            self.outbox.push_back(self.link(packet.sender_mac).arp(&reply));
        }
    }

    fn handle_ip(&mut self, now: Instant, bytes: &[u8]) -> Result<(), packet::ParseError> {
        let layout = Layout::parse(bytes, bytes.len())?;
        let Some(transport) = layout.transport else { return Ok(()) };
        let packet = &bytes[layout.network_at..];
        let body = &bytes[transport.at..transport.at + transport.len];
        let (from, to, ttl, pseudo): (IpAddr, IpAddr, u8, _) = if layout.ethertype == EtherType::IPV4 {
            let view = ipv4::View::parse(packet)?;
            if !view.verify_checksum() {
                self.counters.n_bad_checksum += 1;
                return Ok(());
            }
            let pseudo = checksum::pseudo_v4(view.src(), view.dst(), transport.protocol, body.len() as u16);
            (view.src().into(), view.dst().into(), view.ttl(), pseudo)
        } else {
            let view = ipv6::View::parse(packet)?;
            let pseudo = checksum::pseudo_v6(view.src(), view.dst(), transport.protocol, body.len() as u32);
            (view.src().into(), view.dst().into(), view.hop_limit(), pseudo)
        };
        if !self.owns(to) && group_mac(to).is_none() {
            self.counters.n_for_others += 1;
            return Ok(());
        }
        let pseudo = if transport.protocol == IpProtocol::ICMP { checksum::Sum::new() } else { pseudo };
        let no_checksum =
            transport.protocol == IpProtocol::UDP && body.get(6..8) == Some(&[0, 0]) && from.is_ipv4();
        if !no_checksum && pseudo.bytes(body).finish() != 0 {
            self.counters.n_bad_checksum += 1;
            return Ok(());
        }
        let envelope = Envelope { now, from, to, ttl };
        match transport.protocol {
            IpProtocol::ICMP => self.handle_icmpv4(&envelope, &icmpv4::View::parse(body)?),
            IpProtocol::ICMPV6 => self.handle_icmpv6(&envelope, body)?,
            IpProtocol::UDP => self.handle_udp(&envelope, &udp::View::parse(body)?),
            IpProtocol::TCP => self.hear(&envelope, What::Tcp(tcp::Header::parse(body)?)),
            _ => {}
        }
        Ok(())
    }

    fn hear(&mut self, envelope: &Envelope, what: What) {
        let Envelope { now: at, from, to, ttl } = *envelope;
        self.heard.push(Heard { at, from, to, ttl, what });
    }

    /// Answers to the sender from the address it spoke to.
    fn answer(&mut self, envelope: &Envelope, body: Body) {
        if self.owns(envelope.to) {
            self.send_from(envelope.now, Packet { src: envelope.to, dst: envelope.from, body });
        } else {
            self.send(envelope.now, envelope.from, body);
        }
    }

    fn handle_icmpv4(&mut self, envelope: &Envelope, icmp: &icmpv4::View<'_>) {
        match icmpv4::Message::from_view(icmp) {
            icmpv4::Message::EchoRequest { id, seq } => {
                self.hear(envelope, What::EchoRequest { id, seq });
                self.answer(envelope, Body::EchoReply { id, seq, data: icmp.payload().to_vec() });
            }
            icmpv4::Message::EchoReply { id, seq } => self.hear(envelope, What::EchoReply { id, seq }),
            _ if icmp.is_error() => {
                self.hear(envelope, What::Error { kind: icmp.kind(), code: icmp.code() });
            }
            _ => {}
        }
    }

    fn handle_icmpv6(&mut self, envelope: &Envelope, body: &[u8]) -> Result<(), packet::ParseError> {
        let icmp = icmpv6::View::parse(body)?;
        if icmp.is_nd() {
            if envelope.ttl == nd::HOP_LIMIT
                && let Ok(message) = nd::Message::parse(body)
            {
                self.handle_nd(envelope, &message);
            }
            return Ok(());
        }
        match icmpv6::Message::from_view(&icmp) {
            icmpv6::Message::EchoRequest { id, seq } => {
                self.hear(envelope, What::EchoRequest { id, seq });
                self.answer(envelope, Body::EchoReply { id, seq, data: icmp.payload().to_vec() });
            }
            icmpv6::Message::EchoReply { id, seq } => self.hear(envelope, What::EchoReply { id, seq }),
            _ if icmp.is_error() => {
                self.hear(envelope, What::Error { kind: icmp.kind(), code: icmp.code() });
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_nd(&mut self, envelope: &Envelope, message: &nd::Message) {
        match (message, envelope.from) {
            (nd::Message::NeighbourSolicit { target, source: Some(mac) }, IpAddr::V6(from)) => {
                self.learn(envelope.now, envelope.from, *mac);
                if self.owns(IpAddr::V6(*target)) {
                    self.neighbours.insert(envelope.from, *mac);
                    let reply = nd::Message::NeighbourAdvert {
                        router: false,
                        solicited: true,
                        overrides: true,
                        target: *target,
                        mac: Some(self.config.mac),
                    };
                    self.outbox.push_back(self.link(*mac).ipv6(*target, from).nd(&reply));
                }
            }
            (nd::Message::NeighbourAdvert { target, mac: Some(mac), .. }, _) => {
                self.learn(envelope.now, IpAddr::V6(*target), *mac);
            }
            _ => {}
        }
    }

    fn handle_udp(&mut self, envelope: &Envelope, view: &udp::View<'_>) {
        let (src_port, dst_port, data) = (view.src_port(), view.dst_port(), view.payload().to_vec());
        if dst_port == ECHO_PORT && self.owns(envelope.to) {
            let body = Body::Udp { src_port: dst_port, dst_port: src_port, data: data.clone() };
            self.answer(envelope, body);
        }
        self.hear(envelope, What::Udp { src_port, dst_port, data });
    }

    /// Gives what it has to say to its port.
    pub fn flush(&mut self, pool: &mut Pool, out: &mut Outputs) {
        for bytes in self.outbox.drain(..) {
            let Some(mut frame) = pool.frame_from(&bytes) else { continue };
            if self.config.offload {
                leave_checksum(&mut frame);
            }
            out.push((HOST_PORT, frame));
        }
    }
}

/// Who spoke to whom, when.
struct Envelope {
    now: Instant,
    from: IpAddr,
    to: IpAddr,
    ttl: u8,
}
