//! Workers with nothing to do are not scheduled at all.

mod common;

use std::fs;
use std::time::Duration;

use common::{Bench, Patch, numbered, receive};

/// How often each worker and watcher thread of this process has gone to sleep or been stopped.
fn switches() -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task").expect("Linux") {
        let path = task.expect("listed").path();
        let name = fs::read_to_string(path.join("comm")).expect("a thread").trim().to_owned();
        if name.starts_with("weft-") {
            let status = fs::read_to_string(path.join("status")).expect("a thread");
            let counts = status.lines().filter(|l| l.contains("ctxt_switches"));
            let sum = counts.filter_map(|l| l.rsplit('\t').next()?.parse::<u64>().ok()).sum();
            all.push((format!("{} {name}", path.display()), sum));
        }
    }
    all.sort();
    all
}

#[test]
fn an_idle_dataplane_never_wakes() {
    let bench = Bench::new(4);
    let engine = bench.patch(&Patch::new(&[(1, &[2])]));
    let ends: Vec<_> = (1..=100).map(|port| bench.port(engine, port)).collect();
    assert!(ends[0].send(numbered(1, 60)));
    receive(&ends[1]);
    // The one report after the last frame.
    std::thread::sleep(Duration::from_millis(100));
    let before = switches();
    assert_eq!(before.len(), 5, "{before:?}");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(switches(), before);
}
