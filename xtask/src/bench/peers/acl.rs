//! Workloads over rules of many masks, and the traffic that hurts those who cache masks.

use std::net::Ipv6Addr;

use super::frames::{FrameSpec, Ip, Random, frame, mac_text};
use super::workload::{PLAIN, Workload, ip_text, mask};

/// A rule over addresses and ports; nothing where it does not look.
#[derive(Debug, Clone, Copy)]
struct Rule {
    src: (u32, u32),
    dst: (u32, u32),
    tcp: bool,
    ports: (Option<u16>, Option<u16>),
}

const SERVICES: [u16; 7] = [22, 53, 80, 123, 179, 443, 8080];

impl Rule {
    fn random(random: &mut Random) -> Self {
        let mut prefix = |lengths: &[u32]| {
            let length = random.of(lengths);
            (random.bits(32) & mask(length), length)
        };
        let (src, dst) = (prefix(&[0, 8, 16, 24, 32]), prefix(&[0, 16, 24, 32]));
        let service = if random.percent(88) { random.of(&SERVICES) } else { random.bits(16) as u16 };
        let src_port = random.bits(16) as u16;
        let ports = (random.percent(20).then_some(src_port), random.percent(80).then_some(service));
        Self { src, dst, tcp: random.percent(50), ports }
    }

    fn text(&self) -> String {
        let mut text = if self.tcp { "tcp" } else { "udp" }.to_owned();
        for (name, (prefix, length)) in [("nw_src", self.src), ("nw_dst", self.dst)] {
            if length > 0 {
                text += &format!(",{name}={}/{length}", ip_text(prefix));
            }
        }
        for (name, port) in [("tp_src", self.ports.0), ("tp_dst", self.ports.1)] {
            if let Some(port) = port {
                text += &format!(",{name}={port}");
            }
        }
        text
    }

    /// A frame that it matches.
    fn frame(&self, random: &mut Random) -> Vec<u8> {
        let mut fill = |(prefix, length): (u32, u32)| prefix | random.bits(32 - length);
        let ip = Ip::V4(fill(self.src), fill(self.dst));
        let mut port = |port: Option<u16>| port.unwrap_or_else(|| random.bits(16) as u16);
        let ports = (port(self.ports.0), port(self.ports.1));
        frame(&FrameSpec { ip, tcp: self.tcp, ports, ..PLAIN })
    }
}

/// Installs `n` rules of falling priority and one for the rest; all send to port 2.
fn install(made: &mut Workload, random: &mut Random, n: usize) -> Vec<Rule> {
    let rules: Vec<Rule> = (0..n).map(|_| Rule::random(random)).collect();
    // Priorities have 16 bits; those that share one are different rules all the same.
    let priority = |at: usize| 60_000 - at * 50_000 / n.max(1);
    for (at, rule) in rules.iter().enumerate() {
        made.flows.push(format!("table=0,priority={},{},actions=output:2", priority(at), rule.text()));
    }
    made.flows.push("table=0,priority=1,actions=output:2".to_owned());
    rules
}

/// `n` five-tuple rules and frames that meet them.
pub fn rules(made: &mut Workload, random: &mut Random, n: usize) {
    let rules = install(made, random, n);
    for _ in 0..20_000 {
        let rule = random.of(&rules);
        made.frames.push(rule.frame(random));
    }
}

/// 1,000 rules over IPv6 prefixes and ports.
pub fn ipv6(made: &mut Workload, random: &mut Random) {
    let cut =
        |address: u128, length: u32| if length == 0 { 0 } else { address & (u128::MAX << (128 - length)) };
    let base = 0x2001_0db8u128 << 96;
    for at in 0..1_000 {
        let (src_length, dst_length) = (random.of(&[0, 48, 64, 128]), random.of(&[32, 48, 56, 64, 128]));
        let mut address = || base | u128::from(random.next()) << 32 | u128::from(random.bits(32));
        let (src, dst) = (address(), address());
        let port = random.of(&SERVICES);
        let source = if src_length > 0 {
            format!(",ipv6_src={}/{src_length}", Ipv6Addr::from(cut(src, src_length)))
        } else {
            String::new()
        };
        made.flows.push(format!(
            "table=0,priority={},udp6{source},ipv6_dst={}/{dst_length},tp_dst={port},actions=output:2",
            2_000 - at,
            Ipv6Addr::from(cut(dst, dst_length)),
        ));
        for _ in 0..20 {
            let mut fill = |address: u128, length: u32| match length {
                128 => address,
                _ => cut(address, length) | (u128::from(random.next()) & (u128::MAX >> length)),
            };
            let from = if src_length == 0 { src } else { fill(src, src_length) };
            let ip = Ip::V6(from, fill(dst, dst_length));
            made.frames.push(frame(&FrameSpec { ip, ports: (random.bits(16) as u16, port), ..PLAIN }));
        }
    }
    made.flows.push("table=0,priority=1,actions=output:2".to_owned());
}

/// Four innocuous rules. Frames that differ from each of them in a different first bit make a cache of masks grow to
/// the product of the fields' widths ("tuple space explosion", Csikor and others, 2019).
pub fn tse(made: &mut Workload, random: &mut Random, attack: bool) {
    const PORT: u16 = 80;
    const HOST: u32 = 0x0a00_000a;
    const SOURCE: u16 = 12_345;
    made.flows.extend(
        [
            "table=0,priority=40,tcp,tp_dst=80,actions=output:2",
            "table=0,priority=30,tcp,nw_src=10.0.0.10,actions=output:2",
            "table=0,priority=20,tcp,tp_src=12345,actions=output:2",
            "table=0,priority=1,actions=drop",
        ]
        .map(str::to_owned),
    );
    let tcp = |src, ports| frame(&FrameSpec { ip: Ip::V4(src, 0x0c00_0001), tcp: true, ports, ..PLAIN });
    let good: Vec<Vec<u8>> = (0..100).map(|i| tcp(0x0b00_0000 + i, (20_000 + i as u16, PORT))).collect();
    if !attack {
        made.frames = good;
        return;
    }
    let mut bad = Vec::new();
    for a in 0..16u32 {
        for b in 0..32 {
            for c in 0..16 {
                let dport = PORT ^ 1 << (15 - a) ^ random.bits(15 - a) as u16;
                let source = HOST ^ 1 << (31 - b) ^ random.bits(31 - b);
                let sport = SOURCE ^ 1 << (15 - c) ^ random.bits(15 - c) as u16;
                bad.push(tcp(source, (sport, dport)));
            }
        }
    }
    random.shuffle(&mut bad);
    let mut goods = good.iter().cycle();
    for frame in bad {
        made.frames.push(frame);
        made.frames.extend(goods.by_ref().take(9).cloned());
    }
    made.forwarded = 0.9;
}

const N_FLOOD: u32 = 100_000;

/// 1,000 flows over 1,000 rules.
pub fn established(made: &mut Workload, random: &mut Random) {
    made.frames = install(made, random, 1_000).iter().map(|rule| rule.frame(random)).collect();
}

/// The same, alternating with flows that were never there.
pub fn mixed(made: &mut Workload, random: &mut Random) {
    established(made, random);
    let established = std::mem::take(&mut made.frames);
    for (n, again) in (0..N_FLOOD).zip(established.iter().cycle()) {
        made.frames.push(frame(&unknown(random, n)));
        made.frames.push(again.clone());
    }
}

/// Frames made by number, over 1,000 rules.
pub fn flood(made: &mut Workload, random: &mut Random, make: fn(&mut Random, u32) -> FrameSpec) {
    install(made, random, 1_000);
    made.frames = (0..N_FLOOD).map(|n| frame(&make(random, n))).collect();
}

/// A flow that was never there.
pub fn unknown(random: &mut Random, _: u32) -> FrameSpec {
    let ports = (random.bits(16) as u16, random.bits(16) as u16);
    let ip = Ip::V4(random.bits(32), random.bits(32));
    FrameSpec { ip, tcp: random.percent(50), ports, ..PLAIN }
}

/// A flow whose fields cancel out in a sum or exclusive or, and differ in high bits alone.
pub fn colliding(n: u32) -> FrameSpec {
    let address = (n >> 8) << 16;
    let port = ((n & 0xff) << 8) as u16;
    FrameSpec { ip: Ip::V4(address, address), ports: (port, port), ..PLAIN }
}

/// A flow for tests of what a switch holds: `n`-th of many that differ.
pub fn numbered(n: u32) -> String {
    format!(
        "table=0,priority=5,in_port=1,tcp,nw_src={},tp_dst={},dl_dst={},actions=output:2",
        ip_text(0x0a00_0000 + n),
        n % 60_000,
        mac_text(n)
    )
}
