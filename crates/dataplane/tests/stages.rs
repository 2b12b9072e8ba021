//! Workers know what their stages cost and how busy they are.

mod common;

use std::time::Duration;

use common::{Bench, Patch, numbered, receive, until};
use dataplane::{Config, Dataplane, Poll, Stage};

#[test]
fn stages_are_counted_for_each_engine() {
    let bench = Bench::new(1);
    let busy = bench.patch(&Patch::new(&[(1, &[2])]));
    let idle = bench.patch(&Patch::default());
    let (one, two) = (bench.port(busy, 1), bench.port(busy, 2));
    for number in 0..20 {
        assert!(one.send(numbered(number, 60)));
        receive(&two);
        // Rare rounds are all timed.
        std::thread::sleep(Duration::from_millis(11));
    }
    let stats = bench.plane.worker_stats();
    assert_eq!(stats.len(), 1);
    let stages = |engine| {
        let of = stats[0].stages.iter().find(|(id, _)| *id == engine).expect("it is there").1;
        of.iter().map(|(stage, count)| (stage, count.frames, count.ticks > 0)).collect::<Vec<_>>()
    };
    let n = |stage| stages(busy).into_iter().find(|(s, ..)| *s == stage).map(|(_, n, _)| n).expect("listed");
    let counts = [Stage::Rx, Stage::Forward, Stage::Tx].map(n);
    assert!(counts.iter().all(|n| (15..=20).contains(n)), "{counts:?}");
    assert_eq!(n(Stage::Cache), 0, "only a switch has one");
    assert!(stages(busy).iter().all(|(_, frames, took)| *frames == 0 || *took));
    assert!(stages(idle).iter().all(|(_, frames, took)| *frames == 0 && !took));
    assert!(stats[0].ticks_per_second > 1_000_000 && stats[0].uptime > Duration::from_millis(200));
}

#[test]
fn a_worker_that_sleeps_is_not_busy_and_one_that_always_looks_says_so() {
    let sleeping = Bench::new(1);
    let config = Config { n_workers: 1, poll: Poll::Always };
    let spinning = Dataplane::start(config, Box::new(|_| ())).expect("started");
    until("the one that always looks does not spin", || {
        spinning.worker_stats()[0].spun > Duration::from_millis(50)
    });
    let (calm, hectic) = (&sleeping.plane.worker_stats()[0], &spinning.worker_stats()[0]);
    assert!(calm.cpu < Duration::from_millis(20) && calm.spun == Duration::ZERO, "{calm:?}");
    assert!(hectic.cpu > Duration::from_millis(10), "{hectic:?}");
}
