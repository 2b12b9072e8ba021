//! Claim: a flow mod a millisecond leaves a worker that has no time to spare 95 % of its rate.
//!
//! One thread forwards frames from memory, another one owns the switch. It takes out flows that frames hit and puts
//! them back, for a while in each turn, and rests in between; ratios are of neighbouring turns. To tell where the time
//! goes the same is measured with a barrier behind each flow mod, and with flows of a table that no frame comes to.
#![expect(clippy::disallowed_methods, reason = "a bench measures by the clock")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant as Clock};

use openflow::{
    Action, Field, FlowMod, FlowModCommand, Instruction, Match, Message, Oxm, PortDesc, PortNo, Priority,
    TableId, Xid,
};
use packet::{Batch, Instant, MacAddr, Outputs, Pool, PoolConfig, build, tcp};
use vswitch::{ConnId, Datapath, Effect, Order, Report, Switch, SwitchConfig};

const BATCH: usize = 64;
const OUT: PortNo = PortNo(2);
const CONN: ConnId = ConnId(1);
/// How long each turn is.
const TURN: Duration = Duration::from_millis(60);
const N_TURNS: usize = 60;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }

    fn tail(&mut self, len: u8) -> u32 {
        self.next() as u32 & u32::MAX.checked_shr(len.into()).unwrap_or(0)
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

fn cut(bits: u64, len: u8) -> u32 {
    bits as u32 & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

fn frame(proto: u8, ips: (u32, u32), ports: (u16, u16)) -> Vec<u8> {
    let ip = build::ethernet(mac(2), mac(1)).ipv4(ips.0.to_be_bytes(), ips.1.to_be_bytes());
    match proto {
        6 => ip.tcp(&tcp::Header { src_port: ports.0, dst_port: ports.1, ..Default::default() }, &[0; 6]),
        _ => ip.udp(ports.0, ports.1, &[0; 18]),
    }
}

fn flow(priority: u16, matches: Match, actions: Vec<Action>) -> FlowMod {
    FlowMod::add(TableId(0), Priority(priority), matches, vec![Instruction::ApplyActions(actions)])
}

/// 10,000 prefixes with a rewrite each: tables that are asked without a cache.
fn l3() -> Workload {
    let mut r = Random(3);
    let lens = [8, 12, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 24, 24, 24, 24, 28, 32];
    let mut all = std::collections::BTreeSet::new();
    while all.len() < 10_000 {
        let len = r.of(&lens);
        all.insert((cut(r.next(), len), len));
    }
    let all: Vec<(u32, u8)> = all.into_iter().collect();
    let flows = all.iter().map(|&(prefix, len)| {
        let rewrite = |field, n| Action::SetField(Oxm::mac(field, mac(n)));
        let (src, dst) = (rewrite(Field::EthSrc, 0xaa), rewrite(Field::EthDst, r.next() & 0xffff));
        let actions = vec![src, dst, Action::DecNwTtl, Action::output(OUT)];
        flow(100 + u16::from(len), Match::new().ipv4_dst(prefix.into(), len), actions)
    });
    let flows = flows.collect();
    let frames = (0..50_000).map(|_| {
        let (prefix, len) = r.of(&all);
        frame(17, (0x0a00_0000 + r.tail(16), prefix | r.tail(len)), (r.next() as u16, 53))
    });
    Workload { name: "l3-10k", frames: frames.collect(), flows }
}

/// 1,000 rules over five-tuples: a table that is asked through the cache.
fn acl() -> Workload {
    let mut r = Random(5);
    let (mut rules, mut flows) = (Vec::new(), Vec::new());
    for i in 0..1_000 {
        let (sl, dl) = (r.of(&[0u8, 8, 16, 24, 32]), r.of(&[0u8, 16, 24, 32]));
        let (s, d, proto) = (cut(r.next(), sl), cut(r.next(), dl), r.of(&[6u8, 17]));
        let sp = r.next().is_multiple_of(5).then(|| r.next() as u16);
        let random = r.next() as u16;
        let dp = (!r.next().is_multiple_of(5)).then(|| r.of(&[22, 53, 80, 123, 179, 443, 8080, random]));
        let mut m = Match::new().ipv4_src(s.into(), sl).ipv4_dst(d.into(), dl).ip_proto(proto);
        for (port, fields) in [(sp, [Field::TcpSrc, Field::UdpSrc]), (dp, [Field::TcpDst, Field::UdpDst])] {
            if let Some(port) = port {
                m = m.with(Oxm::new(fields[usize::from(proto == 17)], port.into())).expect("valid");
            }
        }
        flows.push(flow(60_000 - i * 50, m, vec![Action::output(OUT)]));
        rules.push((s, sl, d, dl, proto, sp, dp));
    }
    flows.push(flow(1, Match::new(), vec![Action::output(OUT)]));
    let frames = (0..20_000).map(|_| {
        let (s, sl, d, dl, proto, sp, dp) = r.of(&rules);
        let ips = (s | r.tail(sl), d | r.tail(dl));
        frame(proto, ips, (sp.unwrap_or(r.next() as u16), dp.unwrap_or(r.next() as u16)))
    });
    Workload { name: "acl-1k", frames: frames.collect(), flows }
}

/// What the owner does once a millisecond.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Disturbance {
    FlowMods,
    WithBarriers,
    OtherTable,
}

/// The owner's thread.
struct Owner {
    switch: Switch,
    start: Clock,
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<Report>,
}

impl Owner {
    fn now(&self) -> Instant {
        Instant::from_nanos(10_000_000_000 + self.start.elapsed().as_nanos() as u64)
    }

    fn send(&mut self, message: Message) {
        while let Ok(report) = self.reports.try_recv() {
            self.switch.handle_report(self.now(), 0, report);
        }
        self.switch.handle_message(self.now(), CONN, Xid(1), message);
        while let Some(effect) = self.switch.poll_effect() {
            match effect {
                Effect::Order { order, .. } => self.orders.send(order).expect("the worker works"),
                Effect::Send { message, .. } => assert!(!matches!(message, Message::Error(_)), "{message:?}"),
            }
        }
    }

    fn disturb(&mut self, how: Disturbance, flows: &[FlowMod], n: usize) {
        let mut flow = flows[n / 2 * 7_919 % (flows.len() - 1)].clone();
        if n.is_multiple_of(2) != (how == Disturbance::OtherTable) {
            flow.command = FlowModCommand::DeleteStrict;
        }
        if how == Disturbance::OtherTable {
            flow.table = TableId(9);
        }
        self.send(Message::FlowMod(flow));
        if how == Disturbance::WithBarriers {
            self.send(Message::BarrierRequest);
        }
    }

    /// Frames a second while the worker works on.
    fn turn(&mut self, n_frames: &AtomicU64, mut step: impl FnMut(&mut Self)) -> f64 {
        let (start, before) = (Clock::now(), n_frames.load(Relaxed));
        let mut due = start;
        while start.elapsed() < TURN {
            due += Duration::from_millis(1);
            std::thread::sleep(due.saturating_duration_since(Clock::now()));
            step(self);
        }
        (n_frames.load(Relaxed) - before) as f64 / start.elapsed().as_secs_f64()
    }
}

/// Forwards until told to stop.
fn work(
    (mut worker, frames): (Datapath, &[Vec<u8>]),
    (orders, reports): (&mpsc::Receiver<Order>, &mpsc::Sender<Report>),
    (n_frames, stop): (&AtomicU64, &AtomicBool),
) {
    let mut pool = Pool::new(PoolConfig::default());
    let mut batch = Batch::with_capacity(BATCH);
    let mut sent = Outputs::with_capacity(BATCH * 2);
    let (start, mut n) = (Clock::now(), 0);
    while !stop.load(Relaxed) {
        for chunk in frames.chunks(BATCH) {
            for bytes in chunk {
                let mut frame = pool.frame_from(bytes).expect("it is short");
                frame.meta.in_port = PortNo(1);
                batch.push(frame);
            }
            let now = Instant::from_nanos(10_000_000_000 + start.elapsed().as_nanos() as u64);
            worker.process(now, &mut batch, &mut pool, &mut sent);
            sent.drain(..).for_each(|(_, frame)| pool.free(frame));
            while let Ok(order) = orders.try_recv() {
                worker.handle_order(now, order, &mut pool, &mut sent);
            }
            while let Some(report) = worker.poll_report() {
                reports.send(report).expect("the owner listens");
            }
            n += chunk.len() as u64;
            n_frames.store(n, Relaxed);
        }
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn run(workload: &Workload) {
    let config = SwitchConfig { seed: Some(1), gather: vswitch::GATHER, ..SwitchConfig::default() };
    let mut switch = Switch::new(config);
    let worker = switch.datapath().pop().expect("one worker");
    let ((orders, to_obey), (reports, to_hear)) = (mpsc::channel(), mpsc::channel());
    let mut owner = Owner { switch, start: Clock::now(), orders, reports: to_hear };
    for port in [1, 2] {
        let now = owner.now();
        owner.switch.add_port(now, PortDesc::new(PortNo(port), mac(port.into()), format!("p{port}")));
    }
    let now = owner.now();
    owner.switch.handle_connected(now, CONN);
    let (n_frames, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (n_frames, stop, frames) = (&n_frames, &stop, &workload.frames[..]);
        scope.spawn(move || work((worker, frames), (&to_obey, &reports), (n_frames, stop)));
        for flow in &workload.flows {
            owner.send(Message::FlowMod(flow.clone()));
        }
        owner.turn(n_frames, |_| ());
        for how in [Disturbance::FlowMods, Disturbance::WithBarriers, Disturbance::OtherTable] {
            let (mut ratios, mut rates) = (Vec::new(), Vec::new());
            let mut n = 0;
            for _ in 0..N_TURNS {
                let quiet = owner.turn(n_frames, |_| ());
                let disturbed = owner.turn(n_frames, |owner| {
                    owner.disturb(how, &workload.flows, n);
                    n += 1;
                });
                if n % 2 == 1 {
                    owner.disturb(how, &workload.flows, n);
                    n += 1;
                }
                rates.push(quiet);
                ratios.push(disturbed / quiet);
            }
            let (name, rate, ratio) = (workload.name, median(rates) / 1e6, median(ratios));
            println!("{name:8} {how:12?} {rate:6.2} Mpps without, {ratio:5.3} of that with");
        }
        stop.store(true, Relaxed);
    });
}

fn main() {
    for workload in [l3(), acl()] {
        let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
        if !wanted.is_empty() && !wanted.iter().any(|w| w == workload.name) {
            continue;
        }
        run(&workload);
    }
}
