//! Services of the router itself. Workers hand the owner what is for them; the owner answers by orders.

use core::net::{IpAddr, Ipv4Addr};

use conntrack::Endpoint;
use lookup::Secret;
use packet::{Frame, Instant, IpProtocol, MacAddr, build, ethernet, tcp, udp};

use crate::config::{ConfigError, RouterConfig};
use crate::fib::{Hop, VrfId};
use crate::flow::{Ip, checksum_holds};
use crate::forwarder::Forwarder;
use crate::message::{OrderKind, ReportKind};
use crate::neighbour::Waiting;
use crate::output::{Io, ask};
use crate::snapshot::{Base, IfIndex, Snapshot};
use crate::{Drop, Effect, KeptLease, LeaseInfo, Order, Prefix, Router, dhcp, dns};

/// Packets of one interface for the services, of each worker, a second and at once.
const PUNT_RATE: u32 = 20_000;
const PUNT_BURST: u32 = 512;

/// Which packets are for services.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// Interfaces whose hosts speak DHCP with this router.
    dhcp: Vec<IfIndex>,
    /// Servers elsewhere speak DHCP with it.
    relays: bool,
    /// Interfaces whose hosts ask it for names.
    dns: Vec<IfIndex>,
}

/// A packet for a service, from the IP header on.
#[derive(Clone, Debug)]
pub(crate) struct Punt {
    pub generation: u64,
    pub interface: IfIndex,
    pub packet: Vec<u8>,
}

/// What a service has a worker send.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// A packet to a station.
    Station { interface: IfIndex, mac: MacAddr, packet: Vec<u8> },
    /// A packet the way that leads there for what came by the interface.
    Answer { interface: IfIndex, packet: Vec<u8> },
    /// UDP from an address of the router.
    Question { dst: IpAddr, ports: (u16, u16), payload: Vec<u8> },
    /// TCP from an address of the router.
    Segment { dst: IpAddr, ports: (u16, u16), segment: dns::Segment },
    /// Who has the address?
    Ask { interface: IfIndex, addr: Ipv4Addr },
}

/// The services of a router.
#[derive(Debug)]
pub(crate) struct Services {
    dhcp: dhcp::Server,
    relays: Vec<dhcp::Relay>,
    pub dns: dns::Forwarder,
    streams: dns::Streams,
}

/// A configuration of services made ready.
#[derive(Debug)]
pub(crate) struct Plan {
    pools: Vec<dhcp::Pool>,
    relays: Vec<dhcp::Relay>,
}

impl Plan {
    /// Checks the services of a configuration; says in `base` which packets are for them.
    pub(crate) fn compile(base: &mut Base, config: &RouterConfig) -> Result<Self, ConfigError> {
        let mut plan = Self { pools: Vec::new(), relays: Vec::new() };
        let mut listening = Listening::default();
        for (index, pool) in config.dhcp.iter().enumerate() {
            let pool = compile_pool(base, index, pool)?;
            listening.dhcp.push(pool.interface);
            plan.pools.push(pool);
        }
        for (index, relay) in config.dhcp_relays.iter().enumerate() {
            let place = format!("dhcp_relays[{index}]");
            let bad =
                |reason: &str| ConfigError::BadService { place: place.clone(), reason: reason.to_owned() };
            let interface = base.interface_named(&relay.interface, || format!("{place}.interface"))?;
            let own = first_v4(base, interface).ok_or_else(|| bad("the interface has no IPv4 address"))?;
            if relay.servers.is_empty() || listening.dhcp.contains(&interface) {
                return Err(bad("a relay needs servers, and an interface without a server or another relay"));
            }
            listening.dhcp.push(interface);
            listening.relays = true;
            let (circuit, servers) = (relay.interface.clone(), relay.servers.clone());
            plan.relays.push(dhcp::Relay { interface, circuit, own, servers });
        }
        for name in &config.dns.interfaces {
            listening.dns.push(base.interface_named(name, || "dns.interfaces".to_owned())?);
        }
        base.listening = listening;
        Ok(plan)
    }
}

fn first_v4(base: &Base, interface: IfIndex) -> Option<Ipv4Addr> {
    base.interface(interface).addresses.iter().find_map(|(own, _)| match own {
        IpAddr::V4(own) => Some(*own),
        IpAddr::V6(_) => None,
    })
}

fn compile_pool(base: &Base, index: usize, pool: &crate::DhcpPool) -> Result<dhcp::Pool, ConfigError> {
    let place = format!("dhcp[{index}]");
    let bad = |reason: &str| ConfigError::BadService { place: place.clone(), reason: reason.to_owned() };
    let interface = base.interface_named(&pool.interface, || format!("{place}.interface"))?;
    let (first, last) = pool.range;
    let connected = base.interface(interface).network_of(first.into());
    let network = pool.network.or(connected.map(|(_, net)| net));
    let network = network.ok_or_else(|| bad("the range lies in no network of the interface"))?;
    let own = match connected {
        Some((IpAddr::V4(own), _)) => Some(own),
        _ => first_v4(base, interface),
    };
    let own = own.ok_or_else(|| bad("the interface has no IPv4 address"))?;
    let inside = |addr: Ipv4Addr| network.contains(addr.into());
    if first > last || !inside(first) || !inside(last) || !network.addr().is_ipv4() {
        return Err(bad("the range must lie in the network, first address first"));
    }
    if pool.hosts.iter().any(|host| !inside(host.address)) {
        return Err(bad("a host's address must lie in the network"));
    }
    if !(10..=u64::from(u32::MAX)).contains(&pool.lease_time.as_secs()) {
        return Err(bad("a lease takes from 10 s to 136 years"));
    }
    Ok(dhcp::Pool { interface, network, own, config: pool.clone() })
}

// ---- workers -----------------------------------------------------------------------------------------------------

impl Listening {
    /// Whether a whole UDP packet for this router is for a service. `head` begins with the IP header.
    fn wants(&self, interface: IfIndex, ip: &Ip, (src_port, dst_port): (u16, u16)) -> bool {
        match dst_port {
            dhcp::SERVER_PORT => ip.src.is_ipv4() && (self.relays || self.dhcp.contains(&interface)),
            dns::PORT => self.dns.contains(&interface),
            port => self.is_answer(src_port, port),
        }
    }

    /// The same for TCP.
    fn wants_stream(&self, interface: IfIndex, (src_port, dst_port): (u16, u16)) -> bool {
        dst_port == dns::PORT && self.dns.contains(&interface) || self.is_answer(src_port, dst_port)
    }

    fn is_answer(&self, src_port: u16, dst_port: u16) -> bool {
        src_port == dns::PORT && dns::PORTS.contains(&dst_port) && !self.dns.is_empty()
    }
}

impl Base {
    /// Outside ports that questions of the DNS forwarder leave from, and translation must not give away.
    pub(crate) fn service_ports(&self) -> Vec<(VrfId, IpProtocol, Endpoint)> {
        let asking = !self.listening.dns.is_empty();
        let owns = self.interfaces.iter().filter(|i| asking && i.vrf == 0).flat_map(|i| &i.addresses);
        let ports = |(own, _): &(IpAddr, Prefix)| {
            let own = *own;
            let protocols = [IpProtocol::UDP, IpProtocol::TCP];
            dns::PORTS.flat_map(move |port| protocols.map(|p| (0, p, Endpoint::new(own, port))))
        };
        owns.flat_map(ports).collect()
    }
}

impl Forwarder {
    /// Whether a packet is a DHCP message to everybody that this router is to hear.
    pub(crate) fn is_dhcp_broadcast(s: &Snapshot, interface: IfIndex, frame: &Frame, ip: &Ip) -> bool {
        ip.dst == IpAddr::V4(Ipv4Addr::BROADCAST)
            && s.listening.dhcp.contains(&interface)
            && ip.protocol == IpProtocol::UDP
            && ip.ports(frame.head())[1] == dhcp::SERVER_PORT
    }

    /// Hands a packet for this router to the owner if it is for a service; gives it back otherwise.
    pub(crate) fn punt(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        (frame, interface): (Frame, IfIndex),
        ip: &Ip,
    ) -> Option<Frame> {
        let [src_port, dst_port] = ip.ports(frame.head());
        let is_wanted = match ip.protocol {
            IpProtocol::UDP => s.listening.wants(interface, ip, (src_port, dst_port)),
            IpProtocol::TCP => s.listening.wants_stream(interface, (src_port, dst_port)),
            _ => false,
        };
        if !is_wanted || ip.is_fragment() {
            return Some(frame);
        }
        if ip.protocol == IpProtocol::TCP && !checksum_holds(&frame, ip) {
            self.drop(io, frame, Drop::BadTransport);
            return None;
        }
        if !self.admits_service(io.now, interface, PUNT_RATE, PUNT_BURST) {
            self.drop(io, frame, Drop::ServiceLimit);
            return None;
        }
        let packet = frame.to_vec();
        let punt = Punt { generation: s.generation, interface, packet };
        self.report(ReportKind::Service(Box::new(punt)));
        io.pool.free(frame);
        None
    }

    /// Sends what a service says.
    pub(crate) fn say(&mut self, s: &Snapshot, io: &mut Io<'_>, say: Say) {
        let (key, packet) = match say {
            Say::Ask { interface, addr } => {
                return ask(io, s.interface(interface), addr.into(), None);
            }
            Say::Station { interface, mac, packet } => {
                if let Some(frame) = io.pool.frame_from(&packet) {
                    self.emit(s, io, interface, mac, Waiting { frame, undo: None, arrival: None });
                }
                return;
            }
            Say::Answer { interface, packet } => {
                let dst = Ip::parse(&packet, packet.len()).ok().map(|ip| ip.dst);
                (dst.and_then(|dst| s.way_to(interface, dst)), packet)
            }
            Say::Question { dst, ports: (src_port, dst_port), payload } => {
                let Some((own, way)) = way_of_ours(s, dst) else { return };
                (Some(way), udp_packet((own, src_port), (dst, dst_port), &payload))
            }
            Say::Segment { dst, ports, segment } => {
                let Some((own, way)) = way_of_ours(s, dst) else { return };
                (Some(way), tcp_packet(own, dst, ports, &segment))
            }
        };
        if let (Some(key), Some(frame)) = (key, io.pool.frame_from(&packet)) {
            self.send(s, io, key, Waiting { frame, undo: None, arrival: None });
        }
    }
}

/// The way to `dst` from the VRF without a name, and the address that is spoken from.
fn way_of_ours(s: &Snapshot, dst: IpAddr) -> Option<(IpAddr, (IfIndex, IpAddr))> {
    let way = match s.fib.lookup(0, dst, || 0)? {
        Hop::Connected(interface) => (interface, dst),
        Hop::Gateway(interface, via) => (interface, via),
        _ => return None,
    };
    Some((s.interface(way.0).address_for(dst)?, way))
}

/// A TCP packet from its IP header on.
fn tcp_packet(src: IpAddr, dst: IpAddr, ports: (u16, u16), segment: &dns::Segment) -> Vec<u8> {
    let link = build::ethernet(MacAddr::ZERO, MacAddr::ZERO);
    link.ip(src, dst).tcp(&segment.header(ports), &segment.data).split_off(ethernet::HEADER_LEN)
}

/// A UDP packet from its IP header on.
fn udp_packet(src: (IpAddr, u16), dst: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let link = build::ethernet(MacAddr::ZERO, MacAddr::ZERO);
    link.ip(src.0, dst.0).udp(src.1, dst.1, payload).split_off(ethernet::HEADER_LEN)
}

// ---- the owner ---------------------------------------------------------------------------------------------------

impl Services {
    pub(crate) fn new(secret: Secret) -> Self {
        let (dns, streams) = (dns::Forwarder::new(secret), dns::Streams::new(secret));
        Self { dhcp: dhcp::Server::default(), relays: Vec::new(), dns, streams }
    }

    pub(crate) fn configure(&mut self, plan: Plan, config: &RouterConfig) {
        self.dhcp.configure(plan.pools);
        self.relays = plan.relays;
        self.dns.configure(&config.dns);
        self.streams.clear();
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let dns = self.dns.poll_timeout().into_iter().chain(self.streams.poll_timeout());
        self.dhcp.poll_timeout().into_iter().chain(dns).min()
    }

    /// A packet for a service.
    fn handle(&mut self, now: Instant, punt: &Punt) -> Vec<Say> {
        let Ok(ip) = Ip::parse(&punt.packet, punt.packet.len()) else { return Vec::new() };
        let bytes = punt.packet.get(ip.header_len..).unwrap_or(&[]);
        if ip.protocol == IpProtocol::TCP {
            return self.handle_stream(now, punt.interface, &ip, bytes);
        }
        let Ok(udp) = udp::View::parse(bytes) else { return Vec::new() };
        let (src_port, dst_port, payload) = (udp.src_port(), udp.dst_port(), udp.payload());
        match dst_port {
            dhcp::SERVER_PORT => self.handle_dhcp(now, punt.interface, &ip, payload),
            dns::PORT => {
                let (interface, from, asked) = (punt.interface, (ip.src, src_port), ip.dst);
                let client = dns::Client { interface, from, asked, stream: false };
                let sends = self.dns.ask(now, client, payload);
                self.say_dns(now, sends)
            }
            port => {
                let sends = self.dns.answered(now, ip.src, port, payload);
                self.say_dns(now, sends)
            }
        }
    }

    fn handle_stream(&mut self, now: Instant, interface: IfIndex, ip: &Ip, bytes: &[u8]) -> Vec<Say> {
        let Ok(view) = tcp::View::parse(bytes) else { return Vec::new() };
        let segment = dns::Segment::read(&view);
        if view.dst_port() != dns::PORT {
            let sends = self.dns.handle_segment(now, ip.src, view.dst_port(), &segment);
            return self.say_dns(now, sends);
        }
        let client = dns::Client { interface, from: (ip.src, view.src_port()), asked: ip.dst, stream: true };
        let (said, questions) = self.streams.handle(now, client, &segment);
        let mut says: Vec<Say> = said.iter().map(|segment| say_segment(client, segment)).collect();
        for question in questions {
            let sends = self.dns.ask(now, client, &question);
            says.extend(self.say_dns(now, sends));
        }
        says
    }

    fn say_dns(&mut self, now: Instant, sends: Vec<dns::Send>) -> Vec<Say> {
        let mut says = Vec::new();
        for send in sends {
            match send {
                dns::Send::Answer { client, payload } if client.stream => {
                    let said = self.streams.send(now, client, &payload);
                    says.extend(said.iter().map(|segment| say_segment(client, segment)));
                }
                dns::Send::Answer { client, payload } => {
                    let packet = udp_packet((client.asked, dns::PORT), client.from, &payload);
                    says.push(Say::Answer { interface: client.interface, packet });
                }
                dns::Send::Question { server, port, payload } => {
                    says.push(Say::Question { dst: server, ports: (port, dns::PORT), payload });
                }
                dns::Send::Segment { server, port, segment } => {
                    says.push(Say::Segment { dst: server, ports: (port, dns::PORT), segment });
                }
            }
        }
        says
    }

    /// Timers of the DNS forwarder.
    fn dns_timeout(&mut self, now: Instant) -> Vec<Say> {
        let said = self.streams.handle_timeout(now);
        let mut says: Vec<Say> = said.iter().map(|(client, segment)| say_segment(*client, segment)).collect();
        let sends = self.dns.handle_timeout(now);
        says.extend(self.say_dns(now, sends));
        says
    }

    fn handle_dhcp(&mut self, now: Instant, interface: IfIndex, ip: &Ip, payload: &[u8]) -> Vec<Say> {
        let Some(message) = dhcp::Message::parse(payload) else { return Vec::new() };
        if !message.is_request {
            // Of servers that were asked: others have nothing to say to clients here.
            let asked = |r: &&dhcp::Relay| r.servers.iter().any(|server| ip.src == IpAddr::V4(*server));
            let relayed = self.relays.iter().filter(asked).find_map(|r| Some((r, r.to_client(&message)?)));
            return relayed.map(|(r, reply)| to_client(r.interface, r.own, &reply)).into_iter().collect();
        }
        if let Some(relay) = self.relays.iter().find(|relay| relay.interface == interface) {
            let Some(relayed) = relay.to_servers(&message) else { return Vec::new() };
            let port = dhcp::SERVER_PORT;
            let packet = |server: &Ipv4Addr| {
                udp_packet((relay.own.into(), port), ((*server).into(), port), &relayed.emit())
            };
            let say = |server| Say::Answer { interface, packet: packet(server) };
            return relay.servers.iter().map(say).collect();
        }
        let own = match ip.dst {
            IpAddr::V4(dst) if !dst.is_broadcast() => Some(dst),
            _ => self.dhcp.own_address(interface),
        };
        let Some(own) = own else { return Vec::new() };
        let outcome = self.dhcp.handle(now, dhcp::Arrival { interface, own }, &message);
        say_dhcp(outcome).into_iter().collect()
    }
}

fn say_segment(client: dns::Client, segment: &dns::Segment) -> Say {
    let packet = tcp_packet(client.asked, client.from.0, (dns::PORT, client.from.1), segment);
    Say::Answer { interface: client.interface, packet }
}

fn say_dhcp(outcome: dhcp::Outcome) -> Option<Say> {
    match outcome {
        dhcp::Outcome::Nothing => None,
        dhcp::Outcome::Probe(interface, addr) => Some(Say::Ask { interface, addr }),
        dhcp::Outcome::Answer(arrival, message) => Some(to_client(arrival.interface, arrival.own, &message)),
    }
}

/// How a reply gets to its client (RFC 2131 §4.1).
fn to_client(interface: IfIndex, own: Ipv4Addr, message: &dhcp::Message) -> Say {
    let from = (IpAddr::V4(own), dhcp::SERVER_PORT);
    let packet = |dst: Ipv4Addr, port| udp_packet(from, (dst.into(), port), &message.emit());
    if !message.relay.is_unspecified() && message.relay != own {
        return Say::Answer { interface, packet: packet(message.relay, dhcp::SERVER_PORT) };
    }
    let refused = message.kind() == Some(dhcp::Kind::Nak);
    let dst = if message.client.is_unspecified() { message.yours } else { message.client };
    match refused || message.broadcast || dst.is_unspecified() {
        true => {
            let packet = packet(Ipv4Addr::BROADCAST, dhcp::CLIENT_PORT);
            Say::Station { interface, mac: MacAddr::BROADCAST, packet }
        }
        false => Say::Station { interface, mac: message.mac, packet: packet(dst, dhcp::CLIENT_PORT) },
    }
}

impl Router {
    /// A worker has a packet for a service.
    pub(crate) fn serve(&mut self, now: Instant, worker: usize, punt: &Punt) {
        if punt.generation == self.snapshot.generation {
            let says = self.services.handle(now, punt);
            self.order_says(worker, says);
        }
    }

    /// Timers of the services.
    pub(crate) fn serve_timeout(&mut self, now: Instant) {
        let heard = &self.heard;
        let outcomes = self.services.dhcp.handle_timeout(now, |interface, addr, since| {
            let heard = heard.get(&(interface, addr.into())).filter(|h| h.at >= since)?;
            heard.mac
        });
        let mut says: Vec<Say> = outcomes.into_iter().filter_map(say_dhcp).collect();
        says.extend(self.services.dns_timeout(now));
        self.order_says(0, says);
    }

    fn order_says(&mut self, worker: usize, says: Vec<Say>) {
        let generation = self.snapshot.generation;
        // RFC 2131 §2.1: bindings are kept before clients are told of them.
        self.effects.extend(self.services.dhcp.take_changed().into_iter().map(Effect::Lease));
        for say in says {
            let order = Order(OrderKind::Say { generation, say });
            self.effects.push_back(Effect::Order { worker: Some(worker), order });
        }
    }

    /// DHCPv4 leases that run, and addresses left alone because others have them.
    pub fn leases(&self, now: Instant) -> Vec<LeaseInfo> {
        self.services.dhcp.leases(now)
    }

    /// Takes over leases of an earlier run, once the configuration is in force; those of networks that are not served are
    /// left out.
    pub fn restore_leases(&mut self, leases: impl IntoIterator<Item = KeptLease>) {
        self.services.dhcp.restore(leases);
    }
}
