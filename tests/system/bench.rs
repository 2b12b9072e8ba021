//! `weft bench` measures and leaves nothing behind. What it must reach is said by `cargo xtask bench`.

use system_tests::{Sandbox, Weft};

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
