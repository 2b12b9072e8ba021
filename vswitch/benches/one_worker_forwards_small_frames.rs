//! Claim: one worker forwards 60-byte frames at millions a second, whatever the tables are and whatever arrives.
//!
//! The workloads are of the kinds people measure switches with: exact MAC addresses, five-tuples that differ where no
//! flow looks, prefixes with rewriting, access lists of many masks, a gateway of three tables, and frames made to
//! explode a classifier that caches masks. Each frame is copied into a fresh pooled buffer; flow and port counters run.
//! Prints the median of several runs with and without the cache; nothing here allocates once it is warm.
use openflow::{Action, Field, FlowMod, Instruction, Match, Oxm, PortNo, Priority, TableId};
use packet::{Batch, Instant, IpProtocol, MacAddr, Outputs, VlanId, build, tcp};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

/// Frames of a batch.
const BATCH: usize = 64;
/// The port everything leaves by.
const OUT: PortNo = PortNo(2);

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

struct Workload {
    name: &'static str,
    flows: Vec<FlowMod>,
    frames: Vec<Vec<u8>>,
}

fn mac(n: u64) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 | n)
}

fn udp(dst: u64, src: u64, ips: (u32, u32), ports: (u16, u16)) -> Vec<u8> {
    let ip = build::ethernet(mac(src), mac(dst)).ipv4(ips.0.to_be_bytes(), ips.1.to_be_bytes());
    ip.udp(ports.0, ports.1, &[0; 18])
}

fn transport(proto: u8, ips: (u32, u32), ports: (u16, u16)) -> Vec<u8> {
    let ip = build::ethernet(mac(2), mac(1)).ipv4(ips.0.to_be_bytes(), ips.1.to_be_bytes());
    match proto {
        6 => ip.tcp(&tcp::Header { src_port: ports.0, dst_port: ports.1, ..Default::default() }, &[0; 6]),
        _ => ip.udp(ports.0, ports.1, &[0; 18]),
    }
}

fn flow(table: u8, priority: u16, matches: Match, instructions: Vec<Instruction>) -> FlowMod {
    FlowMod::add(TableId(table), Priority(priority), matches, instructions)
}

fn apply(actions: Vec<Action>) -> Vec<Instruction> {
    vec![Instruction::ApplyActions(actions)]
}

fn out() -> Vec<Instruction> {
    apply(vec![Action::output(OUT)])
}

/// Exact MAC addresses; with `n_tuples`, five-tuples that no flow tells apart.
fn l2(name: &'static str, n: u64, n_tuples: u64) -> Workload {
    let mut r = Random(7);
    let flows = (0..n).map(|i| flow(0, 10, Match::new().eth_dst(mac(i)), out())).collect();
    let mut frame = |i: u64| {
        let ips = (0x0a00_0000 + r.below(1 << 20) as u32, 0x0b00_0000 + r.below(1 << 20) as u32);
        udp(i % n, 0x10_0000 + i % n, ips, (r.next() as u16, r.next() as u16))
    };
    let mut frames: Vec<_> = (0..n_tuples.max(n)).map(&mut frame).collect();
    shuffle(&mut frames);
    Workload { name, flows, frames }
}

fn shuffle(frames: &mut [Vec<u8>]) {
    let mut r = Random(99);
    for i in (1..frames.len()).rev() {
        frames.swap(i, r.below(i as u64 + 1) as usize);
    }
}

fn prefixes(r: &mut Random, n: usize, lens: &[u8]) -> Vec<(u32, u8)> {
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < n {
        let len = r.of(lens);
        let prefix = r.next() as u32 & (u32::MAX << (32 - len));
        if !matches!(prefix >> 24, 0 | 10 | 127 | 224..) {
            seen.insert((prefix, len));
        }
    }
    seen.into_iter().collect()
}

fn within(r: &mut Random, (prefix, len): (u32, u8)) -> u32 {
    prefix | (r.next() & ((1 << (32 - len)) - 1)) as u32
}

fn l3() -> Workload {
    let mut r = Random(3);
    let lens = [8, 12, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 24, 24, 24, 24, 28, 32];
    let all = prefixes(&mut r, 10_000, &lens);
    let flows = all.iter().map(|&(prefix, len)| {
        let actions = vec![
            Action::SetField(Oxm::mac(Field::EthSrc, mac(0xaa))),
            Action::SetField(Oxm::mac(Field::EthDst, mac(r.below(1 << 16)))),
            Action::DecNwTtl,
            Action::output(OUT),
        ];
        flow(0, 100 + u16::from(len), Match::new().ipv4_dst(prefix.into(), len), apply(actions))
    });
    let flows = flows.collect();
    let frames = (0..50_000).map(|_| {
        let prefix = r.of(&all);
        udp(1, 2, (0x0a00_0000 + r.below(1 << 16) as u32, within(&mut r, prefix)), (r.next() as u16, 53))
    });
    Workload { name: "l3-10k", frames: frames.collect(), flows }
}

fn acl(name: &'static str, n: usize) -> Workload {
    let mut r = Random(5);
    let mut rules = Vec::new();
    let mut flows = Vec::new();
    for i in 0..n {
        let (sl, dl) = (r.of(&[0u8, 8, 16, 24, 32]), r.of(&[0u8, 16, 24, 32]));
        let cut = |v: u64, len: u8| (v as u32) & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
        let (s, d) = (cut(r.next(), sl), cut(r.next(), dl));
        let proto = r.of(&[6u8, 17]);
        let sp = (r.below(5) == 0).then(|| r.next() as u16);
        let random = r.next() as u16;
        let dp = (r.below(5) != 0).then(|| r.of(&[22, 53, 80, 123, 179, 443, 8080, random]));
        let mut m = Match::new().ipv4_src(s.into(), sl).ipv4_dst(d.into(), dl).ip_proto(proto);
        for (port, fields) in [(sp, [Field::TcpSrc, Field::UdpSrc]), (dp, [Field::TcpDst, Field::UdpDst])] {
            if let Some(port) = port {
                m = m.with(Oxm::new(fields[usize::from(proto == 17)], port.into())).expect("valid");
            }
        }
        flows.push(flow(0, 60_000 - (i % 50_000) as u16, m, out()));
        rules.push((s, sl, d, dl, proto, sp, dp));
    }
    flows.push(flow(0, 1, Match::new(), out()));
    let frames = (0..20_000).map(|_| {
        let (s, sl, d, dl, proto, sp, dp) = r.of(&rules);
        let tail = |v: u64, len: u8| (v as u32) & u32::MAX.checked_shr(len.into()).unwrap_or(0);
        let ips = (s | tail(r.next(), sl), d | tail(r.next(), dl));
        transport(proto, ips, (sp.unwrap_or(r.next() as u16), dp.unwrap_or(r.next() as u16)))
    });
    Workload { name, frames: frames.collect(), flows }
}

fn gateway() -> Workload {
    let mut r = Random(11);
    let mut flows = Vec::new();
    let goto = |actions: Vec<Action>, table: u8| {
        vec![Instruction::ApplyActions(actions), Instruction::GotoTable(TableId(table))]
    };
    for ce in 0..10u32 {
        let vlan = VlanId::new(100 + ce as u16).expect("valid");
        let mut first = goto(vec![Action::PopVlan], 1);
        first.insert(1, Instruction::WriteMetadata { metadata: ce.into(), mask: u64::MAX });
        flows.push(flow(0, 10, Match::new().in_port(PortNo(1)).vlan(vlan), first));
        for user in 0..20u32 {
            let m = Match::new().metadata(ce.into(), u64::MAX).ipv4_src((0x0a00_0001 + user).into(), 32);
            let public = Action::SetField(Oxm::new(Field::Ipv4Src, (0xc633_6400u32 + ce * 20 + user).into()));
            flows.push(flow(1, 10, m, goto(vec![public], 2)));
        }
    }
    let all = prefixes(&mut r, 10_000, &[16, 20, 22, 24, 24, 24]);
    for &(prefix, len) in &all {
        let actions = vec![
            Action::SetField(Oxm::mac(Field::EthDst, mac(r.below(1 << 12)))),
            Action::DecNwTtl,
            Action::output(OUT),
        ];
        flows.push(flow(2, 100 + u16::from(len), Match::new().ipv4_dst(prefix.into(), len), apply(actions)));
    }
    let frames = (0..20_000).map(|_| {
        let vlan = VlanId::new(100 + r.below(10) as u16).expect("valid");
        let prefix = r.of(&all);
        let ips = (0x0a00_0001 + r.below(20) as u32, within(&mut r, prefix));
        let header = tcp::Header { src_port: r.next() as u16, dst_port: 443, ..Default::default() };
        let link = build::ethernet(mac(2), mac(1)).vlan(vlan);
        link.ipv4(ips.0.to_be_bytes(), ips.1.to_be_bytes()).tcp(&header, &[0; 6])
    });
    Workload { name: "gateway", frames: frames.collect(), flows }
}

/// Four rules, and with `attack` one frame in ten that differs from them in the first bit of each field.
fn tse(name: &'static str, attack: bool) -> Workload {
    let tcp = |f: Field, v: u32| Match::new().ip_proto(6).with(Oxm::new(f, v.into())).expect("valid");
    let flows = vec![
        flow(0, 40, tcp(Field::TcpDst, 80), out()),
        flow(0, 30, Match::new().ipv4_src(0x0a00_000a.into(), 32).ip_proto(6), out()),
        flow(0, 20, tcp(Field::TcpSrc, 12345), out()),
        flow(0, 1, Match::new(), vec![]),
    ];
    let good = |i: u32| transport(6, (0x0b00_0000 + i % 100, 0x0c00_0001), (20_000 + (i % 100) as u16, 80));
    let mut r = Random(17);
    let mut frames = Vec::new();
    for i in 0..80_000u32 {
        if attack && i % 10 == 0 {
            let flip = |r: &mut Random, bits: u32| {
                let bit = r.below(bits.into()) as u32;
                (1u32 << bit) ^ (r.next() as u32 & ((1u32 << bit) - 1))
            };
            let (s, sp, dp) = (flip(&mut r, 32), flip(&mut r, 16), flip(&mut r, 16));
            frames.push(transport(6, (0x0a00_000a ^ s, 0x0c00_0001), (12345 ^ sp as u16, 80 ^ dp as u16)));
        } else {
            frames.push(good(i));
        }
    }
    Workload { name, flows, frames }
}

/// IPv6 rules of two prefixes and a port.
fn acl6() -> Workload {
    let mut r = Random(23);
    let mut flows = vec![flow(0, 1, Match::new(), out())];
    let mut frames = Vec::new();
    for i in 0..1000u16 {
        let (sl, dl) = (r.of(&[0u8, 48, 64, 128]), r.of(&[32u8, 48, 64, 128]));
        let mut addr = |len: u8| {
            let bits = u128::from(r.next()) << 64 | 0x2001_u128 << 112 | u128::from(r.next());
            bits & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
        };
        let (s, d) = (addr(sl), addr(dl));
        let m = Match::new().ipv6_src(s.into(), sl).ipv6_dst(d.into(), dl).tcp_dst(443);
        flows.push(flow(0, 2000 - i, m, out()));
        for _ in 0..10 {
            let payload = [&[0x10, 0, 1, 187][..], &[0; 8], &[0x50, 16], &[0; 6]].concat();
            let low = u128::from(r.next() & 0xffff);
            let src = if sl == 128 { s } else { s | low };
            let dst = if dl == 128 { d } else { d | low };
            let link = build::ethernet(mac(2), mac(1));
            frames.push(
                link.ipv6(core::net::Ipv6Addr::from(src), core::net::Ipv6Addr::from(dst))
                    .payload(IpProtocol::TCP, &payload),
            );
        }
    }
    shuffle(&mut frames);
    Workload { name: "acl6-1k", flows, frames }
}

/// Nanoseconds this thread has run: not the time of day, so that a busy machine disturbs less.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number comes first")
}

/// Sends every frame through a worker until time is up; returns nanoseconds a frame.
fn measure(s: &mut Standalone, frames: &[Vec<u8>], millis: u64) -> f64 {
    let mut batch = Batch::with_capacity(BATCH);
    let mut sent: Outputs = Outputs::with_capacity(BATCH * 2);
    let (mut n, start) = (0u64, cpu_nanos());
    // Reading the clock takes a microsecond.
    let n_rounds = 10_000usize.div_ceil(frames.len());
    loop {
        for chunk in (0..n_rounds).flat_map(|_| frames.chunks(BATCH)) {
            for bytes in chunk {
                let mut frame = s.pool.frame_from(bytes).expect("it is short");
                frame.meta.in_port = PortNo(1);
                batch.push(frame);
            }
            s.workers[0].process(s.now, &mut batch, &mut s.pool, &mut sent);
            for (_, frame) in sent.drain(..) {
                s.pool.free(frame);
            }
            n += chunk.len() as u64;
        }
        let elapsed = cpu_nanos() - start;
        if elapsed >= millis * 1_000_000 {
            return elapsed as f64 / n as f64;
        }
    }
}

fn run(workload: &Workload, cache_entries: u32) -> (f64, f64) {
    let config = SwitchConfig { seed: Some(1), cache_entries, ..SwitchConfig::default() };
    let mut s = Standalone::new(config, 3);
    s.now = Instant::from_secs(10);
    for flow_mod in &workload.flows {
        s.submit(openflow::Message::FlowMod(flow_mod.clone()));
    }
    s.settle();
    assert!(s.messages().is_empty(), "every flow is accepted");
    let cold = measure(&mut s, &workload.frames, 1);
    measure(&mut s, &workload.frames, 100);
    let mut runs: Vec<f64> = (0..5).map(|_| measure(&mut s, &workload.frames, 100)).collect();
    runs.sort_by(f64::total_cmp);
    (cold, runs[2])
}

/// What the harness itself costs: frames copied in and freed, no switch between.
fn harness(frames: &[Vec<u8>]) -> f64 {
    let mut s = Standalone::new(SwitchConfig::default(), 1);
    let mut batch = Batch::with_capacity(BATCH);
    let mut sent: Outputs = Outputs::with_capacity(BATCH * 2);
    let (mut n, start) = (0u64, cpu_nanos());
    let n_rounds = 10_000usize.div_ceil(frames.len());
    while cpu_nanos() - start < 100_000_000 {
        for chunk in (0..n_rounds).flat_map(|_| frames.chunks(BATCH)) {
            batch.extend(chunk.iter().map(|bytes| s.pool.frame_from(bytes).expect("it is short")));
            sent.extend(batch.drain(..).map(|frame| (OUT, frame)));
            sent.drain(..).for_each(|(_, frame)| s.pool.free(frame));
            n += chunk.len() as u64;
        }
    }
    (cpu_nanos() - start) as f64 / n as f64
}

fn main() {
    let all: [fn() -> Workload; 12] = [
        || l2("l2-100", 100, 0),
        || l2("l2-10k", 10_000, 0),
        || l2("l2-200k", 100, 200_000),
        l3,
        || acl("acl-1k", 1000),
        || acl("acl-50k", 50_000),
        || acl("acl-100k", 100_000),
        acl6,
        gateway,
        || tse("tse-base", false),
        || tse("tse", true),
        || Workload { frames: vec![vec![0; 60]; 64], ..l2("l2-miss", 100, 0) },
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    println!(
        "{:10} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "workload", "ns/frame", "Mpps", "cold ns", "no cache", "harness"
    );
    for make in all {
        let workload = make();
        if !wanted.is_empty() && !wanted.iter().any(|w| w == workload.name) {
            continue;
        }
        let (cold, ns) = run(&workload, SwitchConfig::default().cache_entries);
        let (_, bare) = run(&workload, 0);
        let idle = harness(&workload.frames);
        println!("{:10} {ns:9.1} {:9.2} {cold:9.1} {bare:9.1} {idle:9.1}", workload.name, 1000.0 / ns);
    }
}
