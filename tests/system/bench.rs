//! `weft bench` measures and leaves nothing behind. What it must reach is said by `cargo xtask bench`.

use std::fs;
use std::time::Duration;

use system_tests::{Sandbox, Weft, wait_until};

#[test]
fn the_path_bench_carries_tcp_round_trips_and_udp_with_and_without_offloads() {
    let sandbox = Sandbox::enter("bench-path");
    let weft = Weft::new(&sandbox);
    let before = sandbox.snapshot();
    for options in
        [&["--all"][..], &["--no-offload", "--workers", "1"], &["--engine", "wire", "--streams", "4"]]
    {
        let outcome = weft.run(&[&["bench", "path", "--json", "--seconds", "0.3"], options].concat()).json();
        let number = |name: &str| outcome[name].as_f64().unwrap_or(0.0);
        // A tenth of what a busy machine with a debug build shows.
        assert!(number("tcp_gbit_per_s") > 0.02, "{outcome}");
        if options.contains(&"--all") {
            assert!(number("round_trip_p50_us") > 1.0 && number("udp_kpps") > 0.5, "{outcome}");
        }
    }
    let refused = weft.run(&["bench", "path", "--seconds", "0"]);
    assert!(!refused.status.success() && refused.stderr.contains("0.1 to 3600"), "{}", refused.stderr);
    sandbox.assert_nothing_left(&before);
}

/// A classic capture of UDP frames to `n` addresses.
fn capture(n: u8) -> Vec<u8> {
    let magic = 0xa1b2_c3d4u32.to_le_bytes();
    let mut file = [&magic[..], &[2, 0, 4, 0], &[0; 8], &65_535u32.to_le_bytes(), &[1, 0, 0, 0]].concat();
    for last in 0..n {
        let mut frame = vec![2, 0, 0, 0, 0, last, 2, 0, 0, 0, 1, 0, 8, 0];
        frame.extend([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, last]);
        frame.resize(60, 0);
        file.extend([&[0; 8][..], &60u32.to_le_bytes(), &60u32.to_le_bytes(), &frame].concat());
    }
    file
}

#[test]
fn the_datapath_bench_compares_before_it_measures_and_says_what_is_wrong_with_its_files() {
    let sandbox = Sandbox::enter("bench-datapath");
    let weft = Weft::new(&sandbox);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("w.pcap"), capture(8)).expect("written");
    let flows = "dl_dst=02:00:00:00:00:01,actions=output:2\nip,nw_dst=10.0.0.2,actions=dec_ttl,output:3\n";
    fs::write(path("w.flows"), flows).expect("written");
    let (pcap, good) = (path("w.pcap"), path("w.flows"));
    for options in [&[][..], &["--no-cache"], &["--flow-mod-every", "1"]] {
        let files = ["bench", "datapath", "--pcap", &pcap, "--flows", &good];
        let short = ["--seconds", "0.2", "--warm", "0.1", "--json"];
        let outcome = weft.run(&[&files[..], &short, options].concat()).json();
        let number = |name: &str| outcome[name].as_f64().unwrap_or(0.0);
        assert_eq!((number("frames"), number("compared")), (8.0, 16.0), "{outcome}");
        assert!(number("mpps") > 0.001 && number("cold_mpps") > 0.001, "{outcome}");
        assert!(number("cycles_per_frame") > number("ns_per_frame") / 2.0, "{outcome}");
        assert_eq!(number("flow_mods") > 10.0, options.contains(&"--flow-mod-every"), "{outcome}");
    }
    fs::write(path("bad.flows"), "actions=output:2\nnonsense=1,actions=drop\n").expect("written");
    let refused = weft.run(&["bench", "datapath", "--pcap", &pcap, "--flows", &path("bad.flows")]);
    assert!(
        refused.stderr.contains("bad.flows:2") && refused.stderr.contains("nonsense"),
        "{}",
        refused.stderr
    );
    let refused = weft.run(&["bench", "datapath", "--pcap", &good, "--flows", &good]);
    assert!(!refused.status.success() && refused.stderr.contains("w.flows"), "{}", refused.stderr);
}

/// Nanoseconds of processor time of a process's workers so far.
fn worker_time(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let workers = tasks.map(|task| task.path()).filter(|task| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("weft-worker"))
    });
    let time = |task: std::path::PathBuf| {
        let text = fs::read_to_string(task.join("schedstat")).expect("a thread has it");
        text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    workers.map(time).sum()
}

#[test]
fn workers_sleep_unless_told_to_look_always() {
    let sandbox = Sandbox::enter("poll");
    let weft = Weft::new(&sandbox);
    for (name, options, looks) in [("s1", &[][..], false), ("s2", &["--poll", "always"], true)] {
        let args = [&["switch", "--name", name, "--dpid", "1", "--workers", "1"], options].concat();
        let switch = weft.spawn("switch", &args);
        let socket = sandbox.run_dir().join(format!("{name}.sock"));
        wait_until(Duration::from_secs(15), "the switch to run", || socket.exists());
        let pid = switch.pid();
        let start = worker_time(pid);
        if looks {
            let enough = || worker_time(pid) - start > 100_000_000;
            wait_until(Duration::from_secs(30), "a worker to look for frames all the time", enough);
        } else {
            std::thread::sleep(Duration::from_secs(1));
            assert!(worker_time(pid) - start < 20_000_000, "a worker with nothing to do works");
        }
    }
}
