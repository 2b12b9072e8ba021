//! A frame is forwarded by the tables of one epoch, and so is the whole batch it came in, whatever is published meanwhile.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;

use openflow::{
    Action, BundleAdd, BundleControl, BundleControlKind, BundleFlags, Field, FlowMod, Instruction, MacAddr,
    Match, Message, Oxm, PortNo, Priority, TableId, Xid,
};
use packet::{Batch, Frame, Instant, Outputs, Pool, PoolConfig, build};
use vswitch::standalone::{CONN, Standalone};
use vswitch::{Datapath, Effect, Order, Report, SwitchConfig};

const N_VERSIONS: u64 = 400;
const XID: Xid = Xid(2);
/// Flows of the first table, each for one frame of a batch.
const N_FLOWS: u16 = 24;

/// The flows of a version: the first table writes it into one address of a frame, the second into the other.
fn flows(version: u64) -> Vec<FlowMod> {
    let set = |field| Action::SetField(Oxm::new(field, version.into()));
    let first = (0..N_FLOWS).map(|port| {
        let apply = Instruction::ApplyActions(vec![set(Field::EthSrc)]);
        let instructions = vec![apply, Instruction::GotoTable(TableId(1))];
        FlowMod::add(TableId(0), Priority(1), Match::new().udp_dst(port), instructions)
    });
    let apply = Instruction::ApplyActions(vec![set(Field::EthDst), Action::output(PortNo(2))]);
    first.chain([FlowMod::add(TableId(1), Priority(1), Match::new(), vec![apply])]).collect()
}

/// One change of all of them.
fn bundle(version: u64) -> Vec<Message> {
    let (bundle, flags) = (version as u32, BundleFlags::ATOMIC);
    let add = |flow| {
        let (xid, message) = (XID, Box::new(Message::FlowMod(flow)));
        Message::BundleAdd(BundleAdd { bundle, flags, xid, message })
    };
    let commit = BundleControl { bundle, kind: BundleControlKind::CommitRequest, flags };
    flows(version).into_iter().map(add).chain([Message::BundleControl(commit)]).collect()
}

/// The version in an address of a frame.
fn version_at(frame: &Frame, at: usize) -> u64 {
    frame.head()[at..at + 6].iter().fold(0, |acc, &byte| acc << 8 | u64::from(byte))
}

/// Ends the race, however its owner ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Forwards batches until the end; how many of the versions were seen.
fn work(
    mut worker: Datapath,
    over: &AtomicBool,
    orders: &mpsc::Receiver<Order>,
    reports: &mpsc::Sender<Report>,
) -> usize {
    let (mut pool, mut out) = (Pool::new(PoolConfig::default()), Outputs::new());
    let (now, mut batch, mut seen) = (Instant::from_secs(1), Batch::new(), Vec::new());
    let link = build::ethernet(MacAddr([2; 6]), MacAddr([4; 6]));
    let frames: Vec<_> = (0..N_FLOWS).map(|port| link.ipv4([1; 4], [2; 4]).udp(7, port, &[0; 18])).collect();
    while !over.load(SeqCst) {
        for bytes in &frames {
            let mut frame = pool.frame_from(bytes).expect("it fits");
            frame.meta.in_port = PortNo(1);
            batch.push(frame);
        }
        worker.process(now, &mut batch, &mut pool, &mut out);
        let sent: Vec<_> = out.drain(..).collect();
        assert_eq!(sent.len(), frames.len(), "every version outputs");
        let version = version_at(&sent[0].1, 0);
        for (_, frame) in sent {
            assert_eq!((version_at(&frame, 0), version_at(&frame, 6)), (version, version));
            pool.free(frame);
        }
        if seen.last() != Some(&version) {
            assert!(seen.last().is_none_or(|last| *last < version), "{version} after {seen:?}");
            seen.push(version);
        }
        while let Ok(order) = orders.try_recv() {
            worker.handle_order(now, order, &mut pool, &mut out);
        }
        while let Some(report) = worker.poll_report() {
            // The owner may be done.
            let _ = reports.send(report);
        }
    }
    seen.len()
}

fn race(cache_entries: u32) {
    let config = SwitchConfig { seed: Some(1), cache_entries, ..SwitchConfig::default() };
    let mut s = Standalone::new(config, 2);
    flows(0).into_iter().for_each(|flow| s.flow(flow));
    let (mut workers, now) = (std::mem::take(&mut s.workers), s.now);
    let (worker, mut switch) = (workers.remove(0), s.switch);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ((to, orders), (report, from)) = (mpsc::channel(), mpsc::channel());
        let (over, end) = (&over, End(&over));
        let thread = scope.spawn(move || work(worker, over, &orders, &report));
        for version in 1..=N_VERSIONS {
            for message in bundle(version).into_iter().chain([Message::BarrierRequest]) {
                switch.handle_message(now, CONN, XID, message);
            }
            // Now and then the next version is on its way before the worker has taken this one.
            let mut answered = version % 4 == 0;
            loop {
                while let Some(effect) = switch.poll_effect() {
                    match effect {
                        Effect::Order { order, .. } => to.send(order).expect("the worker is there"),
                        Effect::Send { message: Message::BarrierReply, .. } => answered = true,
                        Effect::Send { message, .. } => {
                            assert!(!matches!(message, Message::Error(_)), "{message:?}")
                        }
                    }
                }
                if answered || thread.is_finished() {
                    break;
                }
                from.try_iter().for_each(|report| switch.handle_report(now, 0, report));
            }
        }
        drop(end);
        let n_seen = thread.join().expect("no frame and no batch met two versions");
        assert!(n_seen > N_VERSIONS as usize / 4, "{n_seen} versions were seen of {N_VERSIONS}");
    });
}

#[test]
fn a_batch_is_forwarded_by_one_epoch() {
    race(1 << 10);
}

#[test]
fn a_batch_is_forwarded_by_one_epoch_without_a_cache() {
    race(0);
}
