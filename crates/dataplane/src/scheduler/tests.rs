use packet::{Frame, Gso, GsoKind, Instant, MacAddr, Pool, build, tcp};
use vswitch::{PortQueues, QueueSpec};

use super::{QueueCounters, Scheduler};

const M: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

fn queue(id: u16, min: u64, max: u64, weight: u16) -> QueueSpec {
    let rate = |rate| (rate != 0).then_some(rate);
    QueueSpec { id, min: rate(min), max: rate(max), weight }
}

fn config(rate: u64, queues: &[QueueSpec]) -> PortQueues {
    let config = PortQueues { rate: (rate != 0).then_some(rate), queues: queues.to_vec() };
    config.check().expect("possible");
    config
}

/// Frames of `size` bytes at `rate` bit/s for a queue, evenly spaced.
struct Source {
    queue: u16,
    rate: u64,
    size: usize,
    from: u64,
}

fn source(queue: u16, rate: u64, size: usize) -> Source {
    Source { queue, rate, size, from: 0 }
}

/// Runs for some seconds with a worker that wakes `late` nanoseconds after it should; returns the bit/s of each queue.
fn run(config: &PortQueues, sources: &[Source], seconds: u64, late: u64) -> Vec<u64> {
    let mut pool = Pool::default();
    let mut scheduler = Scheduler::new(Instant::from_nanos(0), config);
    let mut next: Vec<u64> = sources.iter().map(|source| source.from).collect();
    let mut sent = [0; 8];
    let mut now = 0;
    while now < seconds * SECOND {
        for (source, next) in sources.iter().zip(&mut next) {
            while *next <= now {
                let mut frame = pool.frame_from(&vec![7; source.size]).expect("short");
                frame.queue = source.queue;
                scheduler.enqueue(frame, &mut pool);
                *next += source.size as u64 * 8 * SECOND / source.rate;
            }
        }
        while let Some(frame) = scheduler.dequeue(Instant::from_nanos(now)) {
            sent[usize::from(frame.queue)] += frame.len() as u64 * 8;
            pool.free(frame);
        }
        let due = scheduler.poll_timeout().map(|at| at.as_nanos().max(now) + late);
        now = next.iter().copied().chain(due).min().expect("there is a source");
    }
    sent.iter().map(|bits| bits / seconds).collect()
}

fn about(rate: u64, expected: u64) -> bool {
    rate.abs_diff(expected) * 50 <= expected
}

#[test]
fn a_highest_rate_is_kept_within_two_percent() {
    for (rate, size) in [(100_000, 64), (M, 1514), (20 * M, 1514), (200 * M, 64), (1000 * M, 1514)] {
        let offered = [source(1, rate * 3, size)];
        let seconds = if rate < 100 * M { 10 } else { 1 };
        for (late, config) in [(0, config(rate, &[])), (M, config(0, &[queue(1, 0, rate, 1)]))] {
            let got = run(&config, &offered, seconds, late)[1];
            assert!(about(got, rate + rate / 100), "{rate} bit/s in frames of {size}, {late} ns late: {got}");
        }
    }
}

#[test]
fn below_every_rate_nothing_waits_or_is_lost() {
    let config = config(20 * M, &[queue(1, 5 * M, 10 * M, 1)]);
    let mut pool = Pool::default();
    let mut scheduler = Scheduler::new(Instant::from_nanos(0), &config);
    for n in 0..1000u64 {
        let now = Instant::from_millis(n * 2);
        let mut frame = pool.frame_from(&[7; 1514]).expect("short");
        frame.queue = 1;
        assert_eq!(scheduler.enqueue(frame, &mut pool), 0);
        assert!(scheduler.dequeue(now).is_some(), "frame {n}");
        assert_eq!(scheduler.poll_timeout(), None);
    }
    let all = QueueCounters { tx_frames: 1000, tx_bytes: 1_514_000, tx_errors: 0 };
    assert_eq!(scheduler.counters().collect::<Vec<_>>(), [(1, all), (0, QueueCounters::default())]);
}

#[test]
fn guarantees_hold_whatever_the_others_want() {
    let config = config(20 * M, &[queue(1, 15 * M, 0, 1), queue(2, 2 * M, 0, 1000), queue(3, 0, 0, 1)]);
    let offered = [source(1, 40 * M, 1514), source(2, 40 * M, 64), source(3, 100 * M, 1514)];
    let got = run(&config, &offered, 10, 0);
    assert!(got[1] >= 15 * M * 98 / 100, "{got:?}");
    // The rest of 3 Mbit/s is shared 1000 to 2 between the three.
    assert!(got[2] >= 5 * M * 95 / 100, "{got:?}");
    assert!(got[3] < 200_000, "{got:?}");
    assert!(about(got.iter().sum(), 20 * M), "{got:?}");
    // A guarantee that is not used is there for the others.
    let got = run(&config, &[source(1, M, 1514), source(3, 100 * M, 1514)], 10, 0);
    assert!(about(got[1], M) && about(got[3], 19 * M), "{got:?}");
}

#[test]
fn the_rest_is_shared_by_weight_up_to_each_highest_rate() {
    let config = config(20 * M, &[queue(1, 5 * M, 0, 2), queue(2, 0, 0, 1), queue(3, 0, 3 * M, 1)]);
    let offered = [source(1, 40 * M, 1514), source(2, 40 * M, 300), source(3, 40 * M, 1514)];
    let got = run(&config, &offered, 10, 0);
    // 15 Mbit/s are left, of which the third takes 3, and 12 are shared 2 to 1.
    assert!(about(got[1], 13 * M) && about(got[2], 4 * M) && about(got[3], 3 * M), "{got:?}");
}

#[test]
fn who_was_idle_has_no_claim_to_what_others_sent_meanwhile() {
    let config = config(20 * M, &[queue(1, 0, 0, 1), queue(2, 0, 0, 1)]);
    let late = Source { from: 5 * SECOND, ..source(2, 40 * M, 1514) };
    let got = run(&config, &[source(1, 40 * M, 1514), late], 10, 0);
    assert!(about(got[1], 15 * M) && about(got[2], 5 * M), "{got:?}");
}

#[test]
fn what_names_no_queue_waits_in_queue_zero() {
    let config = config(10 * M, &[queue(1, 9 * M, 0, 1000)]);
    let got =
        run(&config, &[source(1, 40 * M, 1514), source(0, 40 * M, 1514), source(7, 40 * M, 1514)], 10, 0);
    assert!(about(got[1], 10 * M) && got[0] + got[7] > 0, "{got:?}");
    let mut pool = Pool::default();
    let mut scheduler = Scheduler::new(Instant::from_nanos(0), &config);
    scheduler.enqueue(pool.frame_from(&[7; 60]).expect("short"), &mut pool);
    assert!(scheduler.dequeue(Instant::from_secs(1)).is_some());
    let sent: Vec<_> = scheduler.counters().map(|(id, counters)| (id, counters.tx_frames)).collect();
    assert_eq!(sent, [(1, 0), (0, 1)]);
}

#[test]
fn a_full_queue_counts_what_it_drops_and_holds_a_tenth_of_a_second() {
    let mut pool = Pool::default();
    let mut scheduler = Scheduler::new(Instant::from_nanos(0), &config(20 * M, &[queue(1, 0, 0, 1)]));
    let mut dropped = 0;
    for _ in 0..1000 {
        let mut frame = pool.frame_from(&[7; 1000]).expect("short");
        frame.queue = 1;
        dropped += scheduler.enqueue(frame, &mut pool);
    }
    // 20 Mbit/s for 100 ms are 250,000 bytes.
    assert_eq!(dropped, 750);
    let (_, counters) = scheduler.counters().next().expect("queue 1");
    assert_eq!(counters, QueueCounters { tx_errors: 750, ..QueueCounters::default() });
    assert_eq!(scheduler.drain().count(), 250);
    assert_eq!((scheduler.poll_timeout(), scheduler.dequeue(Instant::from_secs(9)).is_none()), (None, true));
}

#[test]
fn buffers_are_bounded_where_no_rate_bounds_the_bytes() {
    let mut pool = Pool::default();
    let mut scheduler = Scheduler::new(Instant::from_nanos(0), &config(1_000_000 * M, &[queue(1, 0, 0, 1)]));
    for _ in 0..100_000 {
        let mut frame = pool.frame_from(&[7; 60]).expect("short");
        frame.queue = 1;
        scheduler.enqueue(frame, &mut pool);
    }
    assert_eq!(scheduler.drain().count(), 2048, "4 MiB in buffers of 2 KiB");
}

fn super_frame(pool: &mut Pool, payload: usize) -> Frame {
    let header = tcp::Header { src_port: 1, dst_port: 2, ..tcp::Header::default() };
    let link = build::ethernet(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let bytes = link.ipv4([10, 0, 0, 1], [10, 0, 0, 2]).tcp(&header, &vec![7; payload]);
    let mut frame = pool.frame_from(&bytes).expect("fits");
    frame.meta.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false });
    frame.queue = 1;
    frame
}

#[test]
fn super_frames_pass_whole_where_they_can_and_count_as_on_the_wire() {
    let mut pool = Pool::default();
    let mut scheduler = Scheduler::new(Instant::from_nanos(0), &config(1000 * M, &[queue(1, 0, 0, 1)]));
    let frame = super_frame(&mut pool, 40 * 1448);
    scheduler.enqueue(frame, &mut pool);
    let whole = scheduler.dequeue(Instant::from_millis(1)).expect("it may leave");
    assert!(whole.meta.gso.is_some());
    let size = 40 * (1448 + 54);
    let counted = QueueCounters { tx_frames: 40, tx_bytes: size, tx_errors: 0 };
    assert_eq!(scheduler.counters().next(), Some((1, counted)));
    // It is paid for whole: after the burst of 10 ms the next waits for what this one exceeded it by.
    for _ in 0..30 {
        let frame = super_frame(&mut pool, 40 * 1448);
        scheduler.enqueue(frame, &mut pool);
        scheduler.dequeue(Instant::from_millis(1));
    }
    let due = scheduler.poll_timeout().expect("one waits").as_nanos();
    let paid = 1_000_000 + (counted.tx_bytes * 8) * 22;
    assert!(due.abs_diff(paid - 10_000_000) < 500_000, "{due} for {paid}");
}

#[test]
fn a_super_frame_that_a_queue_cannot_admit_whole_is_cut_where_it_no_longer_fits() {
    let mut pool = Pool::default();
    // 10 ms at 20 Mbit/s are 25,000 bytes: a frame of 60,000 would hold everybody else up.
    let mut scheduler = Scheduler::new(Instant::from_nanos(0), &config(20 * M, &[queue(1, 0, 0, 1)]));
    let mut n_dropped = 0;
    for _ in 0..5 {
        let frame = super_frame(&mut pool, 40 * 1448);
        n_dropped += scheduler.enqueue(frame, &mut pool);
    }
    let n_fit = 250_000 / 1502;
    assert_eq!(n_dropped, 200 - n_fit);
    let left: Vec<Frame> = scheduler.drain().collect();
    assert_eq!(left.len() as u64, n_fit);
    assert!(left.iter().all(|frame| frame.meta.gso.is_none() && frame.queue == 1 && frame.len() == 1502));
}

#[test]
fn other_rates_come_into_force_at_once_and_counters_go_on() {
    let mut pool = Pool::default();
    let now = Instant::from_secs(1);
    let mut scheduler = Scheduler::new(now, &config(20 * M, &[queue(1, 0, 0, 1), queue(2, 0, 0, 1)]));
    let put = |scheduler: &mut Scheduler, pool: &mut Pool, queue| {
        let mut frame = pool.frame_from(&[queue as u8; 1000]).expect("short");
        frame.queue = queue;
        scheduler.enqueue(frame, pool)
    };
    put(&mut scheduler, &mut pool, 1);
    assert!(scheduler.dequeue(now).is_some());
    for queue in [1, 2, 2, 1] {
        put(&mut scheduler, &mut pool, queue);
    }
    let other = config(0, &[queue(1, 0, 10 * M, 1), queue(5, 0, 0, 1)]);
    assert_eq!(scheduler.reconfigure(now, &other, &mut pool), 0);
    let mut left: Vec<u16> = std::iter::from_fn(|| scheduler.dequeue(now)).map(|frame| frame.queue).collect();
    left.sort_unstable();
    assert_eq!(left, [1, 1, 2, 2], "frames of queue 2 go by queue 0 now");
    let counters: Vec<_> = scheduler.counters().collect();
    assert_eq!(counters[0].1.tx_frames, 3);
    assert_eq!(counters[1], (5, QueueCounters::default()));
}
