//! Ports with rates and queues, with one and several workers.
#![expect(clippy::disallowed_methods, reason = "how long frames took is what is tested")]

use std::time::{Duration, Instant};

use common::{Bench, Patch, numbered, receive, until};
use dataplane::{Drop, EngineId, QueueCounters};
use netio::mem::MemEnd;
use packet::PortNo;
use vswitch::{PortQueues, QueueSpec};

mod common;

/// A frame of 1000 bytes every millisecond, ten at once after a pause.
const RATE: u64 = 8_000_000;
const SIZE: usize = 1000;

fn rate(rate: u64) -> PortQueues {
    PortQueues { rate: Some(rate), queues: vec![QueueSpec::new(3)] }
}

/// Sends frames by all ends in turn.
fn send(ends: &[MemEnd], n: u32) {
    for i in 0..n {
        assert!(ends[i as usize % ends.len()].send(numbered(i, SIZE)), "there is room");
    }
}

/// The first of `ends` that gets a frame, and what it got until it had `n`.
fn receive_by_one(ends: &[MemEnd], n: usize) -> Duration {
    let since = Instant::now();
    let mut by = None;
    until("the first frame", || {
        by = ends.iter().position(|end| end.receive().is_some());
        by.is_some()
    });
    let end = &ends[by.expect("it was waited for")];
    (1..n).for_each(|_| drop(receive(end)));
    since.elapsed()
}

fn counters(bench: &Bench, engine: EngineId, port: u32) -> QueueCounters {
    bench.plane.queue_counters(engine)[&(PortNo(port), 3)]
}

#[test]
fn a_rate_holds_for_all_workers_together() {
    for n_workers in [1, 2, 4] {
        let bench = Bench::new(n_workers);
        let engine = bench.patch(&Patch { queue: 3, ..Patch::new(&[(1, &[2])]) });
        let (sources, sinks) = (bench.queues(engine, 1), bench.queues(engine, 2));
        bench.plane.set_queues(engine, PortNo(2), &rate(RATE)).expect("set");
        send(&sources, 60);
        let took = receive_by_one(&sinks, 60);
        // Ten at once, one that exceeds the burst, the others a millisecond each.
        assert!(took >= Duration::from_millis(45), "{n_workers} workers took {took:?}");
        let sent = QueueCounters { tx_frames: 60, tx_bytes: 60_000, tx_errors: 0 };
        assert_eq!(counters(&bench, engine, 2), sent);
        assert_eq!(bench.plane.drops().total(), 0);

        // Other rates come at once, and the counters go on.
        bench.plane.set_queues(engine, PortNo(2), &rate(1000 * RATE)).expect("set");
        send(&sources, 60);
        receive_by_one(&sinks, 60);
        assert_eq!(counters(&bench, engine, 2).tx_frames, 120);

        // Without queues every worker sends by its own queue again.
        bench.plane.set_queues(engine, PortNo(2), &PortQueues::default()).expect("unset");
        assert!(bench.plane.queue_counters(engine).is_empty());
        send(&sources, n_workers as u32);
        sinks.iter().for_each(|sink| drop(receive(sink)));
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    for n_workers in [1, 3] {
        let bench = Bench::new(n_workers);
        let engine = bench.patch(&Patch { queue: 3, ..Patch::new(&[(1, &[2])]) });
        let (source, sink) = (bench.port(engine, 1), bench.port(engine, 2));
        // So slow that nothing but the first three frames leaves during the test.
        bench.plane.set_queues(engine, PortNo(2), &rate(8_000)).expect("set");
        let source = [source];
        send(&source, 200);
        let received = || {
            let ports = bench.plane.port_counters(engine);
            ports.iter().any(|(port, counted)| *port == PortNo(1) && counted.rx_frames == 200)
        };
        until("all frames to be taken", received);
        // 64 KiB wait; three frames of the burst, and one that exceeds it, have left.
        until("the burst to leave", || (3..=6).contains(&counters(&bench, engine, 2).tx_frames));
        until("the others to be dropped", || counters(&bench, engine, 2).tx_errors >= 130);
        until("equal counters", || {
            counters(&bench, engine, 2).tx_errors == bench.plane.drops()[Drop::QueueFull]
        });
        // A port that goes sends what waits for it.
        bench.plane.remove_port(engine, PortNo(2)).expect("removed");
        let left = std::iter::from_fn(|| sink.receive()).count() as u64;
        assert!((65..=70).contains(&left), "{left}");
        assert_eq!(left + bench.plane.drops().total(), 200);
    }
}

#[test]
fn links_have_rates_too() {
    for n_workers in [1, 2] {
        let bench = Bench::new(n_workers);
        let [a, b] =
            [(); 2].map(|()| bench.patch(&Patch { queue: 3, ..Patch::new(&[(1, &[2]), (2, &[1])]) }));
        let (sources, sinks) = (bench.queues(a, 1), bench.queues(b, 1));
        bench.plane.add_link((a, PortNo(2)), (b, PortNo(2))).expect("joined");
        bench.plane.set_queues(a, PortNo(2), &rate(RATE)).expect("set");
        send(&sources, 60);
        let took = receive_by_one(&sinks, 60);
        assert!(took >= Duration::from_millis(45), "{n_workers} workers took {took:?}");
        assert_eq!(counters(&bench, a, 2).tx_frames, 60);
        let linked = bench.plane.port_counters(a).into_iter().find(|(port, _)| *port == PortNo(2));
        assert_eq!(linked.map(|(_, counters)| counters.tx_frames), Some(60));
        // The way back has none.
        send(&sinks, 60);
        let mut left = 60;
        until("all frames on the way back", || {
            left -= sources.iter().filter_map(MemEnd::receive).count();
            left == 0
        });
        bench.plane.set_queues(a, PortNo(2), &PortQueues::default()).expect("unset");
        send(&sources, 4);
        let mut left = 4;
        until("frames over the link without rates", || {
            left -= sinks.iter().filter_map(MemEnd::receive).count();
            left == 0
        });
        assert_eq!(bench.plane.drops().total(), 0);
        bench.plane.set_queues(a, PortNo(2), &rate(RATE)).expect("set");
        bench.plane.remove_port(b, PortNo(2)).expect("removed");
        assert!(bench.plane.set_queues(a, PortNo(2), &rate(RATE)).is_err(), "the port is gone");
    }
}
