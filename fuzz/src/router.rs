//! A router that translates, with two workers: whatever comes in whatever order, no panic, bindings that fit the
//! connections, no inside address outside, and nothing left when its time is over.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use packet::offload::{complete_checksum, segment};
use packet::{Frame, Instant, IpProtocol, MacAddr, Outputs, Pool, PortNo, VlanId};
use packet::{arp, build, icmpv4, ipv4, tcp};
use vrouter::{
    Effect, Forwarder, InterfaceConfig, NatRule, Options, RouteConfig, RouteTarget, Router, RouterConfig,
    Sharing, Transport,
};

use crate::operations::Dice;

/// Bytes of one event.
pub const EVENT_SIZE: usize = 24;
/// Most events of one run.
const MAX_EVENTS: usize = 120;
const N_WORKERS: usize = 2;
const LAN: u32 = 1;
const WAN: u32 = 2;
const WAN_IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Every host's.
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
/// Of a host in VLAN 20 of the inside port, which must be tagged.
const TAGGED: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
const INSIDE: [Ipv4Addr; 3] = [Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 1, 0, 3), TAGGED];
const OUTSIDE: [Ipv4Addr; 3] = [Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(198, 51, 100, 8), GATEWAY];

/// Events, each of `EVENT_SIZE` bytes.
pub fn router(data: &[u8]) {
    let mut net = Net::new();
    for event in data.chunks(EVENT_SIZE).take(MAX_EVENTS) {
        net.happen(&Event::read(event));
    }
    net.wait(Duration::from_secs(4 * 3600));
    let left = net.router.connections(net.now);
    assert!(left.is_empty(), "connections that never end: {left:?}");
    let bindings = net.router.bindings();
    assert!(bindings.iter().all(|b| b.fixed), "bindings that never end: {bindings:?}");
}

pub fn describe(data: &[u8]) -> String {
    let mut text = String::new();
    for event in data.chunks(EVENT_SIZE).take(MAX_EVENTS) {
        writeln!(text, "{:02x?}", Event::read(event)).expect("a string takes everything");
    }
    text
}

#[derive(Debug)]
enum Event {
    Frame { port: u32, bytes: Vec<u8> },
    Wait(u64),
}

impl Event {
    fn read(bytes: &[u8]) -> Self {
        let mut dice = Dice::new(bytes);
        match dice.below(16) {
            0 => Self::Wait(dice.pick(&[1, 30, 61, 301, 7_500])),
            kind => {
                let port = if dice.chance(112) { WAN } else { LAN };
                Self::Frame { port, bytes: frame(&mut dice, port, kind) }
            }
        }
    }
}

/// A frame from the inside or the outside, of few addresses and ports; some are damaged.
fn frame(dice: &mut Dice<'_>, port: u32, kind: u16) -> Vec<u8> {
    let ports = [5000u16, 80, 53, 8080, 5353, 1024, 1025, 0, 65535];
    let (near, far) = match port {
        LAN => (dice.pick(&INSIDE), dice.pick(&[OUTSIDE[0], OUTSIDE[1], WAN_IP, INSIDE[0], TAGGED])),
        _ => (dice.pick(&OUTSIDE), dice.pick(&[WAN_IP, WAN_IP, WAN_IP, INSIDE[0]])),
    };
    let (sp, dp) = (dice.pick(&ports), dice.pick(&ports));
    let mut link = build::ethernet(HOST, router_mac(port));
    if near == TAGGED {
        link = link.vlan(VlanId::new(20).expect("a VLAN"));
    }
    let ip = link.ipv4(near.octets(), far.octets()).ttl(dice.pick(&[64, 1, 2, 255]));
    let flags = dice.pick(&[0x02u8, 0x12, 0x10, 0x11, 0x04, 0x18]);
    let header = tcp::Header {
        src_port: sp,
        dst_port: dp,
        flags: tcp::Flags(flags.into()),
        seq: dice.byte().into(),
        ack: dice.byte().into(),
        ..tcp::Header::default()
    };
    let mut bytes = match kind {
        1..=4 => ip.tcp(&header, b"payload"),
        5..=7 => ip.udp(sp, dp, b"payload"),
        8 => ip.echo_request(sp & 7, 1, b"ping"),
        9 => ip.icmpv4(&icmpv4::Message::EchoReply { id: sp & 7, seq: 1 }, b"ping"),
        10 => ip.icmpv4(&icmpv4::Message::TimeExceeded { code: 0 }, &quoted(dice, near, far, (sp, dp))),
        11 => ip.with_ipv4(|h| h.more_fragments = true).udp(sp, dp, &[7; 16]),
        12 => ip.with_ipv4(|h| h.fragment_offset = 3).payload(IpProtocol::UDP, &[7; 16]),
        13 => ip.payload(IpProtocol(47), &[1; 24]),
        14 => link.arp(&arp::Packet::request(HOST, near, far)),
        _ => ip.udp(sp, dp, &[9; 1400]),
    };
    if dice.chance(48) {
        let at = usize::from(dice.byte()) % bytes.len();
        bytes[at] ^= dice.byte();
    }
    if dice.chance(16) {
        bytes.truncate(usize::from(dice.byte()).max(14));
    }
    bytes
}

/// What an ICMP error sent by `near` quotes: a packet of the connection from there.
fn quoted(dice: &mut Dice<'_>, near: Ipv4Addr, far: Ipv4Addr, (sp, dp): (u16, u16)) -> Vec<u8> {
    let packet = build::ethernet(MacAddr([0; 6]), MacAddr([0; 6])).ipv4(far.octets(), near.octets());
    let header = tcp::Header { src_port: dp, dst_port: sp, ..tcp::Header::default() };
    let bytes = if dice.chance(128) { packet.udp(dp, sp, b"payload") } else { packet.tcp(&header, b"") };
    bytes[14..(14 + 28).min(bytes.len())].to_vec()
}

fn router_mac(port: u32) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, 0xf0 + port as u8])
}

fn config() -> RouterConfig {
    let interface = |name: &str, port: u32, vlan: Option<u16>, address: Ipv4Addr| InterfaceConfig {
        name: name.into(),
        port: Some(PortNo(port)),
        vlan: vlan.map(|v| VlanId::new(v).expect("a VLAN")),
        mac: router_mac(port),
        addresses: vec![(IpAddr::V4(address), 24)],
        ..InterfaceConfig::default()
    };
    let forward = |protocol, port, to_port| NatRule::PortForward {
        input: "wan".into(),
        protocol,
        port,
        to: (INSIDE[0].into(), to_port),
        inbound_only: false,
        vrf: None,
    };
    let mut config = RouterConfig::named("r1");
    config.interfaces = vec![
        interface("lan", LAN, None, Ipv4Addr::new(10, 1, 0, 1)),
        interface("lan.20", LAN, Some(20), Ipv4Addr::new(10, 2, 0, 1)),
        interface("wan", WAN, None, WAN_IP),
    ];
    let target = RouteTarget::Via { gateway: IpAddr::V4(GATEWAY), interface: None };
    config.routes = vec![RouteConfig::new("0.0.0.0/0".parse().expect("a prefix"), target)];
    config.nat = vec![
        NatRule::Masquerade {
            out: "wan".into(),
            sources: Vec::new(),
            pool: Vec::new(),
            sharing: Sharing::Independent,
            portless: false,
        },
        forward(Transport::Tcp, 8080, 80),
        forward(Transport::Udp, 5353, 53),
    ];
    config
}

struct Net {
    router: Router,
    forwarders: Vec<Forwarder>,
    pool: Pool,
    now: Instant,
    turn: usize,
}

impl Net {
    fn new() -> Self {
        let mut router = Router::new(Options::new(N_WORKERS, [7, 9]));
        let forwarders = router.forwarders();
        let now = Instant::from_secs(1000);
        let mut net = Self { router, forwarders, pool: Pool::default(), now, turn: 0 };
        net.router.set_config(now, config()).expect("a right configuration");
        let mut out = Outputs::new();
        net.carry(&mut out);
        net.judge(out);
        net
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Frame { port, bytes } => {
                let out = self.inject(*port, bytes);
                self.judge(out);
            }
            Event::Wait(secs) => self.wait(Duration::from_secs(*secs)),
        }
        self.check_bindings();
    }

    fn inject(&mut self, port: u32, bytes: &[u8]) -> Outputs {
        let mut frame = Frame::from_bytes(bytes);
        frame.meta.in_port = PortNo(port);
        let (mut batch, mut out) = (vec![frame], Outputs::new());
        self.turn += 1;
        let worker = self.turn % N_WORKERS;
        self.forwarders[worker].process(self.now, &mut batch, &mut self.pool, &mut out);
        self.carry(&mut out);
        out
    }

    /// Carries messages between owner and workers until none is left.
    fn carry(&mut self, out: &mut Outputs) {
        loop {
            let mut moved = false;
            while let Some(effect) = self.router.poll_effect() {
                moved = true;
                if let Effect::Order { worker, order } = effect {
                    for (n, forwarder) in self.forwarders.iter_mut().enumerate() {
                        if worker.is_none_or(|w| w == n) {
                            forwarder.handle_order(self.now, order.clone(), &mut self.pool, out);
                        }
                    }
                }
            }
            for (n, forwarder) in self.forwarders.iter_mut().enumerate() {
                forwarder.handle_idle(self.now);
                while let Some(report) = forwarder.poll_report() {
                    moved = true;
                    self.router.handle_report(self.now, n, report);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass, timer by timer.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.forwarders.iter().map(Forwarder::poll_timeout);
            let next = timers.chain([self.router.poll_timeout()]).flatten().min();
            let Some(at) = next.filter(|&at| at <= end) else { break };
            self.now = self.now.max(at);
            let mut out = Outputs::new();
            self.router.handle_timeout(self.now);
            for forwarder in &mut self.forwarders {
                forwarder.handle_timeout(self.now, &mut self.pool, &mut out);
            }
            self.carry(&mut out);
            self.judge(out);
        }
        self.now = end;
    }

    /// Looks at everything that leaves, and answers ARP for every host that there is.
    fn judge(&mut self, out: Outputs) {
        let mut waiting: std::collections::VecDeque<_> = out.into_iter().collect();
        while let Some((port, frame)) = waiting.pop_front() {
            for bytes in self.finished(frame) {
                let Some((arp, tagged)) = read_arp(&bytes) else {
                    judge_packet(port, &bytes);
                    continue;
                };
                let known = INSIDE.contains(&arp.target_ip) || OUTSIDE.contains(&arp.target_ip);
                if known && arp.operation == arp::Operation::Request {
                    let link = build::ethernet(HOST, arp.sender_mac);
                    let link = if tagged { link.vlan(VlanId::new(20).expect("a VLAN")) } else { link };
                    let reply = link.arp(&arp.reply(HOST));
                    waiting.extend(self.inject(port.0, &reply));
                }
            }
        }
    }

    /// The frames on the wire.
    fn finished(&mut self, mut frame: Frame) -> Vec<Vec<u8>> {
        if frame.meta.gso.is_some() {
            let mut parts = Vec::new();
            segment(frame, &mut self.pool, &mut parts).expect("what leaves can be segmented");
            return parts.iter().map(Frame::to_vec).collect();
        }
        complete_checksum(&mut frame).expect("what leaves can be completed");
        vec![frame.to_vec()]
    }

    /// An outside endpoint is one inside endpoint's, and every connection has the binding it says.
    fn check_bindings(&self) {
        let bindings = self.router.bindings();
        let mut by_outside = BTreeMap::new();
        for b in &bindings {
            let before = by_outside.insert((b.protocol, b.outside), b.inside);
            assert!(
                before.is_none_or(|inside| inside == b.inside),
                "{:?} is of two: {bindings:?}",
                b.outside
            );
        }
        for c in self.router.connections(self.now) {
            if c.inside != c.outside && matches!(c.protocol, 6 | 17) {
                let inside = by_outside.get(&(c.protocol, c.outside));
                assert_eq!(inside, Some(&c.inside), "{c:?} has no binding of {bindings:?}");
            }
        }
    }
}

fn judge_packet(port: PortNo, bytes: &[u8]) {
    let at = if bytes[12..14] == [0x81, 0] { 18 } else { 14 };
    let packet = ipv4::View::parse(&bytes[at..]).unwrap_or_else(|e| panic!("sent: {e:?} {bytes:02x?}"));
    let header = &bytes[at..at + packet.header_len()];
    assert_eq!(packet::checksum::checksum(header), 0, "header checksum of {bytes:02x?}");
    // What is masqueraded has none of the inside's addresses.
    let private = packet.src().octets()[0] == 10;
    assert!(port != PortNo(WAN) || !private, "an inside address leaves: {bytes:02x?}");
}

/// An ARP packet, and whether it is tagged.
fn read_arp(bytes: &[u8]) -> Option<(arp::Packet, bool)> {
    let tagged = bytes[12..14] == [0x81, 0];
    let at = if tagged { 16 } else { 12 };
    let is_arp = bytes[at..at + 2] == [8, 6];
    is_arp.then(|| (arp::Packet::parse(&bytes[at + 2..]).expect("the router sends right ARP"), tagged))
}
