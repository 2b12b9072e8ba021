//! Frames, links, removal and failure, with 1, 2 and 4 workers.

mod common;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Bench, Patch, number, numbered, readable, receive, until};
use dataplane::{Drop as Dropped, Error, Event};
use netio::mem::{self, MemPort};
use netio::{LinkProbe, Offload, Port, PortCounters, PortError, PortInfo};
use packet::{Batch, Frame, Pool, PortNo};

const WORKERS: [usize; 3] = [1, 2, 4];

/// Every frame of a burst, in order and unchanged, between ports that different workers own.
#[test]
fn frames_cross_an_engine_in_order() {
    for n_workers in WORKERS {
        let bench = Bench::new(n_workers);
        let engine = bench.patch(&Patch::new(&[(1, &[2]), (2, &[1]), (3, &[0xffff_fffe])]));
        let (a, b) = (bench.port(engine, 1), bench.port(engine, 2));
        let (c, local) = (bench.port(engine, 3), bench.port(engine, 0xffff_fffe));
        for i in 0..500 {
            assert!(a.send(numbered(i, 60 + i as usize * 20)));
        }
        for i in 0..500 {
            let (frame, sent) = (receive(&b), numbered(i, 60 + i as usize * 20));
            assert_eq!((number(&frame), frame.len()), (i, sent.len()), "{n_workers} workers");
            assert!(frame.to_vec() == sent.to_vec());
        }
        assert!(c.send(numbered(7, 60)));
        assert_eq!(number(&receive(&local)), 7, "large port numbers lead somewhere, too");
        let counters = bench.plane.port_counters(engine);
        let of = |port| counters.iter().find(|(no, _)| *no == PortNo(port)).expect("there").1;
        assert_eq!((of(1).rx_frames, of(2).tx_frames, of(2).tx_bytes), (500, 500, of(1).rx_bytes));
        assert_eq!(bench.plane.drops().total(), 0);
        assert_eq!(bench.events.lock().expect("alive").len(), 0);
    }
}

/// Buffers go back to the worker they came from, also when another one sends.
#[test]
fn warm_workers_allocate_no_more() {
    for n_workers in WORKERS {
        let bench = Bench::new(n_workers);
        let engine = bench.patch(&Patch::new(&[(1, &[2])]));
        let a = bench.port(engine, 1);
        let sink = mem::sink("sink").expect("made");
        bench.plane.add_port(engine, PortNo(2), vec![Box::new(sink)]).expect("added");
        let sent = || {
            let counters = bench.plane.port_counters(engine);
            counters.iter().find(|(no, _)| *no == PortNo(2)).expect("there").1.tx_frames
        };
        let mut total = 0;
        let mut round = || {
            for i in 0..64 {
                assert!(a.send(numbered(i, if i % 4 == 0 { 5000 } else { 60 })));
            }
            total += 64;
            until("sent", || sent() == total);
        };
        (0..60).for_each(|_| round());
        // What can be on its way at once, whatever the number of rounds was.
        let stats = bench.plane.pool_stats();
        assert!(
            stats.n_heads_allocated <= 256 && stats.n_tails_allocated <= 64,
            "{n_workers} workers: {stats:?}"
        );
    }
}

/// Nothing is received from a port before it is started, and nothing is lost.
#[test]
fn a_port_that_is_prepared_keeps_its_frames() {
    for n_workers in WORKERS {
        let bench = Bench::new(n_workers);
        let engine = bench.patch(&Patch::new(&[(1, &[2]), (2, &[1])]));
        let far = bench.port(engine, 2);
        let (port, end) = mem::port("p1", Offload::ALL).expect("made");
        bench.plane.prepare_port(engine, PortNo(1), vec![Box::new(port)]).expect("prepared");
        assert!(end.send(numbered(7, 60)));
        assert!(far.send(numbered(8, 60)));
        assert_eq!(number(&receive(&end)), 8, "it can be sent to");
        bench.plane.sync().expect("alive");
        assert!(!readable(&far, Duration::ZERO), "{n_workers} workers");
        bench.plane.start_port(engine, PortNo(1)).expect("there");
        assert_eq!(number(&receive(&far)), 7);
        assert!(matches!(bench.plane.start_port(engine, PortNo(3)), Err(Error::NoPort(..))));
    }
}

#[test]
fn each_worker_sends_by_its_own_queue() {
    for n_workers in WORKERS {
        let bench = Bench::new(n_workers);
        let engine = bench.patch(&Patch::new(&[(1, &[2])]));
        let (ins, outs) = (bench.queues(engine, 1), bench.queues(engine, 2));
        for (i, end) in ins.iter().enumerate() {
            assert!(end.send(numbered(i as u32, 60)));
        }
        // The first queue of port 2 is on the worker of the second of port 1, and so on.
        let mut seen: Vec<u32> = outs.iter().map(|end| number(&receive(end))).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..n_workers as u32).collect::<Vec<_>>());
        assert_eq!(bench.plane.drops().total(), 0);
    }
}

#[test]
fn links_join_engines_and_count() {
    for n_workers in WORKERS {
        let bench = Bench::new(n_workers);
        let left = bench.patch(&Patch::new(&[(1, &[9]), (9, &[1])]));
        let right = bench.patch(&Patch::new(&[(5, &[1]), (1, &[5])]));
        let (a, b) = (bench.port(left, 1), bench.port(right, 1));
        bench.plane.add_link((left, PortNo(9)), (right, PortNo(5))).expect("joined");
        let again = bench.plane.add_link((left, PortNo(9)), (right, PortNo(6)));
        assert!(matches!(again, Err(Error::PortExists(..))));
        assert!(a.send(numbered(1, 70)));
        let frame = receive(&b);
        assert_eq!((number(&frame), frame.meta.hops), (1, 2));
        assert!(b.send(numbered(2, 80)));
        assert_eq!(number(&receive(&a)), 2);
        let link = |engine, port| {
            let counters = bench.plane.port_counters(engine);
            counters.into_iter().find(|(no, _)| *no == PortNo(port)).expect("counted").1
        };
        let (near, far) = (link(left, 9), link(right, 5));
        assert_eq!((near.tx_bytes, near.rx_bytes, far.rx_bytes, far.tx_bytes), (70, 80, 70, 80));
        bench.plane.remove_port(right, PortNo(5)).expect("removed");
        assert!(matches!(
            bench.events.lock().expect("alive").pop(),
            Some(Event::PortDown { engine, port: PortNo(9), .. }) if engine == left
        ));
        assert!(a.send(numbered(3, 60)));
        until("dropped", || bench.plane.drops()[Dropped::NoPort] == 1);
    }
}

#[test]
fn an_engine_linked_to_itself_can_be_removed() {
    let bench = Bench::new(2);
    let engine = bench.patch(&Patch::new(&[]));
    bench.plane.add_link((engine, PortNo(1)), (engine, PortNo(2))).expect("joined");
    bench.plane.remove_engine(engine).expect("removed");
    assert!(matches!(bench.plane.remove_engine(engine), Err(Error::NoEngine(_))));
}

#[test]
fn a_loop_of_links_ends_after_64_hops() {
    for n_workers in WORKERS {
        let bench = Bench::new(n_workers);
        let left = bench.patch(&Patch::new(&[(1, &[2]), (3, &[2, 1])]));
        let right = bench.patch(&Patch::new(&[(2, &[3])]));
        let end = bench.port(left, 1);
        bench.plane.add_link((left, PortNo(2)), (right, PortNo(2))).expect("joined");
        bench.plane.add_link((right, PortNo(3)), (left, PortNo(3))).expect("joined");
        assert!(end.send(numbered(1, 60)));
        until("dropped", || bench.plane.drops()[Dropped::HopLimit] == 1);
        let mut n = 0;
        while readable(&end, Duration::from_millis(20)) {
            end.receive();
            n += 1;
        }
        assert_eq!(n, 31, "a copy came out of each of the engine's later turns");
        assert_eq!(bench.plane.drops().total(), 1);
    }
}

/// Each engine doubles what it gets: without a bound this would never end and eat all memory.
#[test]
fn a_storm_is_bounded_and_hurts_no_other_engine() {
    let bench = Bench::new(2);
    let left = bench.patch(&Patch::new(&[(1, &[2, 3]), (2, &[2, 3]), (3, &[2, 3])]));
    let right = bench.patch(&Patch::new(&[(2, &[2, 3]), (3, &[2, 3])]));
    let bystander = bench.patch(&Patch::new(&[(1, &[2])]));
    let (end, a, b) = (bench.port(left, 1), bench.port(bystander, 1), bench.port(bystander, 2));
    bench.plane.add_link((left, PortNo(2)), (right, PortNo(2))).expect("joined");
    bench.plane.add_link((left, PortNo(3)), (right, PortNo(3))).expect("joined");
    assert!(end.send(numbered(1, 60)));
    for i in 0..100 {
        assert!(a.send(numbered(i, 60)));
        assert_eq!(number(&receive(&b)), i);
    }
    until("dies down", || {
        let before = bench.plane.drops();
        std::thread::sleep(Duration::from_millis(20));
        bench.plane.drops() == before
    });
    let drops = bench.plane.drops();
    assert!(drops[Dropped::HopLimit] > 0 && drops[Dropped::LinkFull] > 0, "{drops:?}");
}

/// A memory port that tells when it is closed, and fails on demand.
struct Watched {
    port: MemPort,
    closed: Arc<AtomicBool>,
    fail_send: Arc<AtomicBool>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl Port for Watched {
    fn receive(&mut self, pool: &mut Pool, batch: &mut Batch, max: usize) -> Result<usize, PortError> {
        self.port.receive(pool, batch, max)
    }

    fn transmit(&mut self, pool: &mut Pool, frames: &mut Vec<Frame>) -> Result<(), PortError> {
        if self.fail_send.load(Ordering::Relaxed) {
            pool.free_batch(frames);
            return Err(PortError::Gone);
        }
        self.port.transmit(pool, frames)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.port.poll_fd()
    }

    fn info(&self) -> &PortInfo {
        self.port.info()
    }

    fn counters(&mut self) -> PortCounters {
        self.port.counters()
    }

    fn link_probe(&self) -> LinkProbe {
        self.port.link_probe()
    }
}

#[test]
fn a_removed_port_is_flushed_and_closed_while_others_work() {
    for n_workers in WORKERS {
        let bench = Bench::new(n_workers);
        let engine = bench.patch(&Patch::new(&[(1, &[2, 3]), (2, &[1])]));
        let (a, b) = (bench.port(engine, 1), bench.port(engine, 2));
        let (port, third) = mem::port("p3", Offload::ALL).expect("made");
        let closed = Arc::new(AtomicBool::new(false));
        let watched = Watched { port, closed: closed.clone(), fail_send: Arc::default() };
        bench.plane.add_port(engine, PortNo(3), vec![Box::new(watched)]).expect("added");
        for i in 0..300 {
            assert!(a.send(numbered(i, 60)));
        }
        bench.plane.remove_port(engine, PortNo(3)).expect("removed");
        assert!(closed.load(Ordering::Relaxed), "closed when the call returns");
        // What was handed over before came out before.
        let mut n = 0;
        while let Some(frame) = third.receive() {
            assert_eq!(number(&frame), n);
            n += 1;
        }
        for i in 0..300 {
            assert_eq!(number(&receive(&b)), i);
        }
        until("the rest is counted", || bench.plane.drops()[Dropped::NoPort] + u64::from(n) == 300);
        assert!(matches!(bench.plane.remove_port(engine, PortNo(3)), Err(Error::NoPort(..))));
        let again = bench.port(engine, 3);
        assert!(a.send(numbered(900, 60)));
        assert_eq!((number(&receive(&b)), number(&receive(&again))), (900, 900));
        bench.plane.remove_engine(engine).expect("removed");
        assert!(bench.plane.port_counters(engine).is_empty());
        assert_eq!(bench.events.lock().expect("alive").len(), 0, "nothing failed");
    }
}

#[test]
fn a_port_that_fails_is_reported_once() {
    for n_workers in WORKERS {
        let bench = Bench::new(n_workers);
        let engine = bench.patch(&Patch::new(&[(1, &[2, 3]), (2, &[1])]));
        let (a, b) = (bench.port(engine, 1), bench.port(engine, 2));
        let downs = || {
            let events = bench.events.lock().expect("alive");
            events.iter().filter(|e| matches!(e, Event::PortDown { port: PortNo(3), .. })).count()
        };
        // All its queues fail at once.
        drop(bench.queues(engine, 3));
        until("reported", || downs() > 0);
        bench.plane.sync().expect("alive");
        // Then one whose device refuses to send.
        bench.plane.remove_port(engine, PortNo(3)).expect("removed");
        let (port, _end) = mem::port("p3", Offload::ALL).expect("made");
        let (closed, fail_send) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        let watched = Watched { port, closed: closed.clone(), fail_send };
        bench.plane.add_port(engine, PortNo(3), vec![Box::new(watched)]).expect("added");
        for i in 0..3 {
            assert!(a.send(numbered(i, 60)));
            assert_eq!(number(&receive(&b)), i, "the other port is unharmed");
        }
        until("reported", || downs() == 2);
        until("closed", || closed.load(Ordering::Relaxed));
        bench.plane.sync().expect("alive");
        assert_eq!(downs(), 2);
        assert_eq!(bench.events.lock().expect("alive").len(), 2);
    }
}

#[test]
fn engines_get_their_timeouts_and_idle_calls() {
    let bench = Bench::new(1);
    let mut patch = Patch::new(&[(1, &[2])]);
    patch.alarm = Some((bench.plane.clock().now() + Duration::from_millis(30), 2));
    let engine = bench.patch(&patch);
    let (a, b) = (bench.port(engine, 1), bench.port(engine, 2));
    assert_eq!(receive(&b).head(), [0xa1; 60]);
    assert!(bench.plane.clock().now() >= patch.alarm.expect("set").0, "not early");
    until("reported", || patch.n_idle.load(Ordering::Relaxed) > 0);
    let before = patch.n_idle.load(Ordering::Relaxed);
    assert!(a.send(numbered(1, 60)));
    receive(&b);
    until("reported again", || patch.n_idle.load(Ordering::Relaxed) > before);
}
