//! Workers that rest need not be woken, and nothing is done by old tables once a barrier was answered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;

use openflow::{
    Action, FlowMod, FlowStatsRequest, Instruction, Match, Message, MultipartReply, MultipartRequest,
    PacketOut, PortNo, Priority, Reply, Request, TableId, Xid, ports,
};
use packet::{Frame, Instant, MacAddr, Outputs, Pool, PoolConfig, build};
use vswitch::standalone::{CONN, Standalone};
use vswitch::{Datapath, Effect, Order, Report, SwitchConfig};

fn flow(out: u32) -> FlowMod {
    let output = Instruction::ApplyActions(vec![Action::output(PortNo(out))]);
    FlowMod::add(TableId(0), Priority(1), Match::new(), vec![output])
}

fn bytes() -> Vec<u8> {
    let (a, b) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    build::ethernet(a, b).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1, 2, b"hello").to_vec()
}

/// Two workers that rest.
fn resting() -> Standalone {
    let mut s = Standalone::new(SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::default() }, 16);
    s.flow(flow(1));
    s.idle();
    s
}

fn is_answered(s: &mut Standalone) -> bool {
    s.carry_effects();
    s.messages().contains(&Message::BarrierReply)
}

#[test]
fn a_barrier_behind_a_change_does_not_wait_for_those_who_rest() {
    let mut s = resting();
    for out in 2..10 {
        s.submit(Message::FlowMod(flow(out)));
        s.submit(Message::BarrierRequest);
        assert!(is_answered(&mut s));
        assert!(!s.obey_one(0) && !s.obey_one(1), "nobody was given an order");
    }
    // Whoever rises does so by the newest tables.
    assert_eq!(s.process(1, PortNo(16), Frame::from_bytes(&bytes()))[0].0, PortNo(9));
    // From then on it has to be told; the other is not.
    s.submit(Message::FlowMod(flow(10)));
    s.submit(Message::BarrierRequest);
    assert!(!is_answered(&mut s));
    assert!(!s.obey_one(0) && s.obey_one(1));
    while s.report_one() {}
    assert!(is_answered(&mut s));
    assert_eq!(s.process(1, PortNo(16), Frame::from_bytes(&bytes()))[0].0, PortNo(10));
}

#[test]
fn what_a_worker_counted_before_it_rests_is_in_the_statistics() {
    let mut s = resting();
    for n in 1..=5 {
        s.process(0, PortNo(16), Frame::from_bytes(&bytes()));
        let now = s.now;
        // It reports and rests, and the owner has not heard of it yet.
        s.workers[0].handle_idle(now);
        let body = Request::Flow(FlowStatsRequest::default());
        s.submit(Message::MultipartRequest(MultipartRequest { more: false, body }));
        s.carry_effects();
        assert!(s.messages().is_empty(), "it must not be answered before the counts have come");
        while let Some(report) = s.workers[0].poll_report() {
            s.switch.handle_report(now, 0, report);
        }
        s.settle();
        let counted = s.messages().into_iter().find_map(|message| match message {
            Message::MultipartReply(MultipartReply { body: Reply::Flow(flows), .. }) => {
                Some(flows[0].packets)
            }
            _ => None,
        });
        assert_eq!(counted, Some(n));
    }
}

#[test]
fn a_barrier_behind_a_packet_out_waits_for_whoever_sends_it() {
    let mut s = resting();
    let actions = vec![Action::output(PortNo(3))];
    let packet_out = PacketOut { buffer: None, in_port: ports::CONTROLLER, actions, data: bytes() };
    s.submit(Message::PacketOut(packet_out));
    s.submit(Message::BarrierRequest);
    assert!(!is_answered(&mut s));
    s.settle();
    assert_eq!(s.outputs()[0].0, PortNo(3));
    assert!(s.messages().contains(&Message::BarrierReply));
}

/// What owner and workers of the race share.
struct Race {
    /// The last version whose barrier was answered.
    answered: AtomicU64,
    over: AtomicBool,
}

const N_VERSIONS: u64 = 600;
const N_PORTS: u64 = 16;

fn port_of(version: u64) -> u32 {
    (version % (N_PORTS - 1)) as u32 + 1
}

/// Processes frames, rests, obeys, in an order that chance gives.
fn work(
    mut worker: Datapath,
    race: &Race,
    orders: &mpsc::Receiver<Order>,
    reports: &mpsc::Sender<Report>,
    mut dice: u64,
) -> u64 {
    let (mut pool, mut out): (Pool, Outputs) = (Pool::new(PoolConfig::default()), Outputs::new());
    let (now, bytes, mut n_frames) = (Instant::from_secs(1), bytes(), 0);
    while !race.over.load(SeqCst) {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Orders come late now and then.
        if dice >> 61 != 0 {
            while let Ok(order) = orders.try_recv() {
                worker.handle_order(now, order, &mut pool, &mut out);
            }
        }
        if dice >> 40 & 1 == 0 {
            let before = race.answered.load(SeqCst);
            let mut frame = Frame::from_bytes(&bytes);
            frame.meta.in_port = PortNo(N_PORTS as u32);
            worker.process(now, &mut vec![frame], &mut pool, &mut out);
            let after = race.answered.load(SeqCst);
            let (port, frame) = out.drain(..).next().expect("every version outputs");
            pool.free(frame);
            // One version may be on its way.
            let possible = (before..=after + 1).take(N_PORTS as usize).map(port_of);
            assert!(
                possible.clone().any(|p| p == port.0),
                "port {port} after version {before} was confirmed, {after} at most"
            );
            n_frames += 1;
        }
        if dice >> 30 & 7 == 0 {
            worker.handle_idle(now);
        }
        while let Some(report) = worker.poll_report() {
            // The owner may be done.
            let _ = reports.send(report);
        }
        for _ in 0..dice >> 50 & 0x3f {
            std::hint::spin_loop();
        }
    }
    n_frames
}

/// Changes are published while workers fall asleep and wake: no frame meets a version older than one whose barrier was
/// answered before the frame came.
#[test]
fn no_frame_is_processed_by_tables_older_than_a_barrier_that_was_answered() {
    let config = SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::default() };
    let mut s = Standalone::new(config, N_PORTS as u32);
    s.flow(flow(port_of(0)));
    let race = Race { answered: AtomicU64::new(0), over: AtomicBool::new(false) };
    let (workers, now) = (std::mem::take(&mut s.workers), s.now);
    let mut switch = s.switch;
    std::thread::scope(|scope| {
        let race = &race;
        let (mut to, mut from, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for (n, worker) in workers.into_iter().enumerate() {
            let (order, orders) = mpsc::channel();
            let (report, reports) = mpsc::channel();
            threads.push(scope.spawn(move || work(worker, race, &orders, &report, 77 * (n as u64 + 1))));
            to.push(order);
            from.push(reports);
        }
        let (mut n_orders, mut version) = (0, 0);
        while version < N_VERSIONS && !threads.iter().any(|t| t.is_finished()) {
            version += 1;
            switch.handle_message(now, CONN, Xid(1), Message::FlowMod(flow(port_of(version))));
            switch.handle_message(now, CONN, Xid(2), Message::BarrierRequest);
            let mut answered = false;
            while !answered && !threads.iter().any(|t| t.is_finished()) {
                while let Some(effect) = switch.poll_effect() {
                    match effect {
                        Effect::Order { worker, order } => {
                            for n in worker.map_or(0..2, |n| n..n + 1) {
                                n_orders += 1;
                                to[n].send(order.clone()).expect("the worker is there");
                            }
                        }
                        Effect::Send { message: Message::BarrierReply, .. } => answered = true,
                        Effect::Send { message, .. } => panic!("{message:?}"),
                    }
                }
                for (n, reports) in from.iter().enumerate() {
                    reports.try_iter().for_each(|report| switch.handle_report(now, n, report));
                }
            }
            race.answered.store(version, SeqCst);
            // Sometimes time for a few frames.
            for _ in 0..version.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52 {
                std::hint::spin_loop();
            }
        }
        race.over.store(true, SeqCst);
        let n_frames: u64 = threads.into_iter().map(|t| t.join().expect("no frame met old tables")).sum();
        println!("{version} versions, {n_orders} orders, {n_frames} frames");
        assert!(n_frames > N_VERSIONS / 10, "too few frames to tell: {n_frames}");
        assert!(n_orders < 2 * version, "nobody ever rested: {n_orders} orders for {version} versions");
    });
}
