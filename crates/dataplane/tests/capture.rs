//! Who watches gets copies; what is forwarded never waits for them.

mod common;

use common::{Bench, Patch, number, numbered, receive, until};
use dataplane::{Copied, Direction, MirrorSpec, SampleSpec, Selection, Watch};
use packet::PortNo;

fn spec(ports: &[u32], snaplen: usize) -> MirrorSpec {
    let ports = ports.iter().copied().map(PortNo).collect();
    MirrorSpec { selection: Selection { ports, filters: Vec::new() }, rx: true, tx: true, snaplen }
}

fn copies(watch: &mut Watch<Copied>, n: usize) -> Vec<Copied> {
    let mut all = Vec::new();
    until("the copies come", || {
        watch.drain(|copied| all.push(copied));
        all.len() >= n
    });
    all
}

#[test]
fn a_mirror_has_both_directions_and_the_first_bytes_of_super_frames() {
    let bench = Bench::new(2);
    let engine = bench.patch(&Patch::new(&[(1, &[2])]));
    let (one, two) = (bench.port(engine, 1), bench.port(engine, 2));
    let mut all = bench.plane.mirror(engine, &spec(&[], 4000));
    let mut second = bench.plane.mirror(engine, &spec(&[2], 20));
    bench.plane.sync().expect("workers live");
    let frame = numbered(7, 5000);
    let bytes = frame.to_vec();
    assert!(one.send(frame));
    assert_eq!(receive(&two).len(), 5000);
    let seen = copies(&mut all, 2);
    let ways: Vec<_> = seen.iter().map(|c| (c.direction, c.port, c.len)).collect();
    assert_eq!(ways, [(Direction::Rx, PortNo(1), 5000), (Direction::Tx, PortNo(2), 5000)]);
    assert!(seen.iter().all(|copied| copied.bytes == bytes[..4000]));
    let seen = copies(&mut second, 1);
    assert_eq!((seen.len(), seen[0].direction, seen[0].bytes.len()), (1, Direction::Tx, 20));
    assert_eq!((all.lost(), all.is_over()), (0, false));

    bench.plane.remove_engine(engine).expect("it is there");
    until("the mirror of an engine that is gone ends", || all.is_over());
}

#[test]
fn a_mirror_that_nobody_reads_loses_copies_and_no_frames() {
    let bench = Bench::new(1);
    let engine = bench.patch(&Patch::new(&[(1, &[2])]));
    let (one, two) = (bench.port(engine, 1), bench.port(engine, 2));
    let mut watch = bench.plane.mirror(engine, &spec(&[], 64));
    bench.plane.sync().expect("workers live");
    const N: u32 = 5000;
    for n in 0..N {
        assert!(one.send(numbered(n, 60)));
        assert_eq!(number(&receive(&two)), n);
    }
    let mut n_copies = 0;
    while watch.drain(|_| n_copies += 1) {}
    assert_eq!(n_copies + watch.lost(), u64::from(2 * N));
    assert!(watch.lost() > 0, "two copies a frame are more than the ring holds");
    drop(watch);
    assert!(one.send(numbered(N, 60)));
    assert_eq!(number(&receive(&two)), N);
}

#[test]
fn sampled_frames_of_an_engine_that_tells_nothing_are_forwarded_all_the_same() {
    let bench = Bench::new(1);
    let engine = bench.patch(&Patch::new(&[(1, &[2])]));
    let (one, two) = (bench.port(engine, 1), bench.port(engine, 2));
    let mut watch = bench.plane.sample(engine, &SampleSpec { selection: Selection::default(), every: 3 });
    bench.plane.sync().expect("workers live");
    for n in 0..200 {
        assert!(one.send(numbered(n, 60)));
    }
    for n in 0..200 {
        assert_eq!(number(&receive(&two)), n, "in order");
    }
    assert!(!watch.drain(|sample| panic!("only switches tell: {sample:?}")));
}
