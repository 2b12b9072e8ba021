//! What routers of the bench are configured with, and the packets they are given.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::{IpProtocol, MacAddr, PortNo, build};
use vrouter::{
    FirewallAction, FirewallRule, InterfaceConfig, NatRule, NeighbourConfig, Prefix, RouteConfig,
    RouteTarget, RouterConfig, Sharing,
};

use super::super::replay::Frames;

/// Where packets come in, and where they leave.
pub const IN: PortNo = PortNo(1);
pub const OUT: PortNo = PortNo(2);
/// Next routers, by which prefixes lead in turn.
pub const N_GATEWAYS: u32 = 16;
/// Lengths of prefixes in turn: mostly /24, as in the Internet's table.
const LENGTHS_V4: [u8; 12] = [24, 24, 24, 24, 24, 24, 24, 23, 22, 22, 21, 20];
const LENGTHS_V6: [u8; 8] = [48, 48, 48, 48, 48, 44, 40, 32];
/// A seed, so that every run has the same packets.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Numbers that look random (xorshift64*).
pub struct Random(u64);

impl Random {
    pub const fn new() -> Self {
        Self(SEED)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n
    }
}

fn mac(last: u32) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 | u64::from(last))
}

/// MAC address of the n-th next router.
pub fn gateway_mac(n: u32) -> MacAddr {
    mac(0x1000 + n)
}

fn gateway(n: u32, v6: bool) -> IpAddr {
    match v6 {
        false => Ipv4Addr::from_bits(0xcb00_7110 + n).into(),
        true => Ipv6Addr::from_bits(0x2001_0db8_ffff_0000_0000_0000_0000_0010 + u128::from(n)).into(),
    }
}

/// Two interfaces, sixteen next routers beyond the second, one with all insides behind the first.
pub fn config() -> RouterConfig {
    let interface = |name: &str, port: PortNo, addresses: &[(&str, u8)]| {
        let address = |(addr, len): &(&str, u8)| (addr.parse().expect("an address"), *len);
        InterfaceConfig {
            name: name.into(),
            port: Some(port),
            mac: mac(port.0),
            addresses: addresses.iter().map(address).collect(),
            ..InterfaceConfig::default()
        }
    };
    let mut config = RouterConfig::named("bench");
    config.interfaces = vec![
        interface("lan", IN, &[("192.168.0.1", 24), ("2001:db8:fffe::1", 64)]),
        interface("wan", OUT, &[("203.0.113.1", 24), ("2001:db8:ffff::1", 64)]),
    ];
    let inside = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 2));
    let neighbour =
        |interface: &str, address, mac| NeighbourConfig { interface: interface.into(), address, mac };
    let beyond = (0..N_GATEWAYS).flat_map(|n| [false, true].map(|v6| (gateway(n, v6), gateway_mac(n))));
    config.neighbours = beyond.map(|(address, mac)| neighbour("wan", address, mac)).collect();
    config.neighbours.push(neighbour("lan", inside, mac(0x2000)));
    let target = |gateway| RouteTarget::Via { gateway, interface: None };
    let to = Prefix::new(Ipv4Addr::new(10, 0, 0, 0).into(), 8).expect("a prefix");
    config.routes = vec![RouteConfig::new(to, target(inside))];
    config
}

/// The same with everything from the inside translated to the first addresses of 198.51.100.0/24, and a way outside.
pub fn nat_config(n_addresses: u16) -> RouterConfig {
    let mut config = config();
    let pool = (0..n_addresses).map(|n| Ipv4Addr::new(198, 51, 100, n as u8).into()).collect();
    config.nat = vec![NatRule::Masquerade {
        out: "wan".into(),
        sources: Vec::new(),
        pool,
        sharing: Sharing::default(),
        portless: false,
    }];
    let target = RouteTarget::Via { gateway: gateway(0, false), interface: None };
    config.routes.push(RouteConfig::new(Prefix::ANY_V4, target));
    config
}

/// As [`config`], with a way outside for IPv6, and every flow watched by a firewall that lets all pass.
pub fn tracking_config() -> RouterConfig {
    let mut config = config();
    let target = RouteTarget::Via { gateway: gateway(0, true), interface: None };
    let everywhere = Prefix::new(Ipv6Addr::UNSPECIFIED.into(), 0).expect("a prefix");
    config.routes.push(RouteConfig::new(everywhere, target));
    config.firewall = vec![FirewallRule::new(FirewallAction::Allow)];
    config
}

/// The endpoints that the n-th rule of [`firewall_config`] speaks of: a network of 256 inside addresses, and a port.
fn of_rule(n: usize) -> (u32, u16) {
    (0x0a00_0000 + ((n as u32 / 100) << 8), 1000 + (n % 100) as u16)
}

/// As [`config`], with a way outside and so many rules, each of which denies something else.
pub fn firewall_config(n_rules: usize) -> RouterConfig {
    let mut config = config();
    let target = RouteTarget::Via { gateway: gateway(0, false), interface: None };
    config.routes.push(RouteConfig::new(Prefix::ANY_V4, target));
    let rule = |n: usize| {
        let (net, port) = of_rule(n);
        FirewallRule {
            source: Prefix::new(Ipv4Addr::from_bits(net).into(), 24).ok(),
            protocol: Some(IpProtocol::UDP.0),
            destination_ports: Some((port, port)),
            ..FirewallRule::new(FirewallAction::Drop)
        }
    };
    config.firewall = (0..n_rules).map(rule).collect();
    config
}

/// `n` packets for the rules of [`firewall_config`], in an order that looks random; every rule has some if there are
/// enough.
pub fn to_rules(n_rules: usize, n: usize) -> Frames {
    let mut random = Random::new();
    let frames = (0..n).map(|turn| {
        let which = if turn < n_rules { turn } else { random.below(n_rules) };
        let ((net, port), noise) = (of_rule(which), random.next());
        let src = Ipv4Addr::from_bits(net | (noise >> 56) as u32);
        let dst = Ipv4Addr::from_bits(0x2d00_0000 | (noise >> 24) as u32 & 0x00ff_ffff);
        build::ethernet(mac(0x2000), mac(IN.0)).ipv4(src, dst).udp(
            20_000 + noise as u16 % 999,
            port,
            &[0; 18],
        )
    });
    Frames::new(frames)
}

/// `n` prefixes that do not overlap, none of them one of [`config`]'s.
pub fn prefixes(n: usize, v6: bool) -> Vec<Prefix> {
    let mut found = Vec::with_capacity(n);
    // From 11.0.0.0 and 2400:: on, each prefix where its length lets it begin.
    let mut at: u128 = if v6 { 0x2400 << 112 } else { 11 << 24 };
    while found.len() < n {
        let turn = found.len();
        let (len, width) = if v6 { (LENGTHS_V6[turn % 8], 128) } else { (LENGTHS_V4[turn % 12], 32) };
        let size = 1u128 << (width - len);
        at = at.next_multiple_of(size);
        let addr = if v6 { Ipv6Addr::from_bits(at).into() } else { Ipv4Addr::from_bits(at as u32).into() };
        let prefix = Prefix::new(addr, len).expect("a length");
        at += size;
        // Loopback addresses, and what is the router's own.
        let near = |addr: Ipv4Addr| {
            matches!(addr.octets(), [192, 168, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [127, ..])
        };
        let own = matches!(addr, IpAddr::V4(addr) if near(addr));
        if !own {
            found.push(prefix);
        }
    }
    found
}

/// `n` packets of 64 bytes on the wire to random addresses in random prefixes; each with the number of its prefix.
pub fn to_prefixes(prefixes: &[Prefix], n: usize) -> (Frames, Vec<u32>) {
    let mut random = Random::new();
    let mut chosen = Vec::with_capacity(n);
    let frames = (0..n).map(|_| {
        let which = random.below(prefixes.len());
        chosen.push(which as u32);
        let (prefix, host) = (prefixes[which], random.next());
        let link = build::ethernet(mac(0x2000), mac(IN.0));
        match prefix.addr() {
            IpAddr::V4(addr) => {
                let dst = addr.to_bits() | (host as u32).checked_shr(prefix.prefix_len().into()).unwrap_or(0);
                let src = Ipv4Addr::from_bits(0x0a00_0000 | (host >> 40) as u32);
                link.ipv4(src, Ipv4Addr::from_bits(dst)).udp(4000, 5000, &[0; 18])
            }
            IpAddr::V6(addr) => {
                let host = u128::from(host) << 64 | u128::from(random.next());
                let dst = Ipv6Addr::from_bits(addr.to_bits() | host >> prefix.prefix_len());
                // None of these is the router's own, ::1, or the anycast address of its subnet, ::.
                let src = Ipv6Addr::from_bits(0x2001_0db8_fffe_0000_0000_0000_0001_0000 | host & 0xffff);
                link.ipv6(src, dst).udp(4000, 5000, &[])
            }
        }
    });
    let frames = Frames::new(frames);
    (frames, chosen)
}

/// `n` packets, each the first of a flow of UDP from an inside endpoint of its own.
pub fn first_packets(n: usize, v6: bool) -> Frames {
    let mut random = Random::new();
    // An odd factor and a power of two: every flow once, in an order that looks random.
    let n_slots = n.next_power_of_two() as u32;
    let order = (0..n_slots).map(move |i| i.wrapping_mul(0x9e37_79b1) & (n_slots - 1));
    let frames = order.filter(|flow| (*flow as usize) < n).map(|flow| {
        // Sixteen ports of each host.
        let (host, far) = (2 + (flow >> 4), (random.next() >> 40) as u32);
        let link = build::ethernet(mac(0x2000), mac(IN.0));
        let ip = if v6 {
            let src = Ipv6Addr::from_bits(0x2001_0db8_fffe_0000_0000_0000_0001_0000 + u128::from(host));
            link.ipv6(src, Ipv6Addr::from_bits(0x2400 << 112 | u128::from(far)))
        } else {
            link.ipv4(Ipv4Addr::from_bits(0x0a00_0000 + host), Ipv4Addr::from_bits(0x2d00_0000 | far))
        };
        ip.udp(20_000 + (flow & 15) as u16, 443, &[0; 18])
    });
    Frames::new(frames)
}

/// The answers to translated packets of [`first_packets`]: swapped addresses and ports.
pub fn answers<'a>(sent: impl Iterator<Item = &'a [u8]>) -> Frames {
    Frames::new(sent.map(|frame| {
        let addr = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
        let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let link = build::ethernet(gateway_mac(0), mac(OUT.0));
        link.ipv4(addr(30), addr(26)).udp(port(36), port(34), &[0; 18])
    }))
}

/// Whether a router says this to its neighbours on its own behalf, or asks them: ARP, and neighbour discovery (RFC 4861
/// §4), which probes its own addresses too (RFC 4862 §5.4).
pub fn is_to_neighbours(frame: &[u8]) -> bool {
    let is_discovery = || frame.get(20) == Some(&IpProtocol::ICMPV6.0) && frame.get(21) == Some(&255);
    match frame.get(12..14) {
        Some([0x08, 0x06]) => true,
        Some([0x86, 0xdd]) => is_discovery(),
        _ => false,
    }
}

/// Whether a frame is one of those that are replayed: they have UDP.
pub fn is_of_workload(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(23) == Some(&IpProtocol::UDP.0),
        Some([0x86, 0xdd]) => frame.get(20) == Some(&IpProtocol::UDP.0),
        _ => false,
    }
}

/// Whether a frame is IPv4 with UDP, of 60 bytes and with right checksums.
pub fn is_sound(frame: &[u8]) -> bool {
    let Some(ip) = frame.get(14..).and_then(|bytes| packet::ipv4::View::parse(bytes).ok()) else {
        return false;
    };
    let Ok(udp) = packet::udp::View::parse(ip.payload()) else { return false };
    let pseudo = packet::checksum::pseudo_v4(ip.src(), ip.dst(), IpProtocol::UDP, ip.payload().len() as u16);
    frame.len() == 60
        && ip.verify_checksum()
        && udp.checksum() != 0
        && pseudo.bytes(ip.payload()).finish() == 0
}

/// What dplane_fpm_nl of FRR sends for these prefixes, each by one of the next routers, `shift` further on.
pub fn fpm(prefixes: &[Prefix], shift: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (n, prefix) in prefixes.iter().enumerate() {
        let (v6, via) = (prefix.addr().is_ipv6(), (n as u32 + shift) % N_GATEWAYS);
        let octets = |addr: IpAddr| match addr {
            IpAddr::V4(addr) => addr.octets().to_vec(),
            IpAddr::V6(addr) => addr.octets().to_vec(),
        };
        let attribute = |number: u16, value: &[u8]| {
            let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
            bytes.extend(number.to_ne_bytes());
            bytes.extend(value);
            bytes
        };
        // struct rtmsg: family, length, table main, protocol bgp, unicast; then RTA_DST, RTA_PRIORITY, RTA_GATEWAY.
        let mut body = vec![if v6 { 10 } else { 2 }, prefix.prefix_len(), 0, 0, 254, 186, 0, 1, 0, 0, 0, 0];
        body.extend(attribute(1, &octets(prefix.addr())));
        body.extend(attribute(6, &20u32.to_ne_bytes()));
        body.extend(attribute(5, &octets(gateway(via, v6))));
        bytes.extend([1, 1]);
        bytes.extend((body.len() as u16 + 20).to_be_bytes());
        bytes.extend((body.len() as u32 + 16).to_ne_bytes());
        bytes.extend(24u16.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A router drops what comes with an address of its own (RFC 1812 §5.3.7), the anycast address of its subnet among
    /// them (RFC 4291 §2.6.1): such packets would say nothing about forwarding.
    #[test]
    fn no_packet_comes_from_the_router_itself() {
        let own: Vec<Prefix> = config()
            .interfaces
            .iter()
            .flat_map(|interface| &interface.addresses)
            .flat_map(|(own, len)| {
                let host = if own.is_ipv4() { 32 } else { 128 };
                let net = Prefix::new(*own, *len).expect("a length");
                [*own, net.addr()].map(|addr| Prefix::new(addr, host).expect("a length"))
            })
            .collect();
        for v6 in [false, true] {
            let (frames, chosen) = to_prefixes(&prefixes(1000, v6), 1 << 18);
            assert_eq!(frames.len(), chosen.len());
            for frame in frames.iter() {
                let src: IpAddr = match v6 {
                    false => <[u8; 4]>::try_from(&frame[26..30]).expect("four bytes").into(),
                    true => <[u8; 16]>::try_from(&frame[22..38]).expect("sixteen bytes").into(),
                };
                assert!(!own.iter().any(|own| own.contains(src)), "a packet from {src}");
            }
        }
    }
}
