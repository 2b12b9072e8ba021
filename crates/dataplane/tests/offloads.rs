//! Every kind of port against every other, with and without offloads: what hosts send each other arrives unchanged.
//!
//! Needs root, and says so when it has not.

mod common;

use std::sync::atomic::Ordering;

use common::hosts::{Host, Kind, keystrokes, tcp, udp};
use common::{Bench, Patch};

/// Every kind of port with offloads, and without where it has that choice.
const ENDS: [(Kind, bool); 11] = [
    (Kind::Netns, true),
    (Kind::Netns, false),
    (Kind::HostTap, true),
    (Kind::HostTap, false),
    (Kind::Tap, true),
    (Kind::Tap, false),
    (Kind::Veth, true),
    (Kind::Veth, false),
    (Kind::Mem, true),
    (Kind::Mem, false),
    (Kind::Link, true),
];

/// One end against itself and all that stand behind it in the list.
fn against_the_others(kind: Kind, offload: bool) {
    let from = (kind, offload);
    let at = ENDS.iter().position(|end| *end == from).expect("listed");
    for to in ENDS.into_iter().skip(at) {
        println!("{from:?} -- {to:?}");
        let bench = Bench::new(2);
        let patch = Patch::new(&[(1, &[2]), (2, &[1])]);
        let engine = bench.patch(&patch);
        let a = Host::attach(&bench, engine, 1, from);
        let b = Host::attach(&bench, engine, 2, to);
        tcp(&a, &b, "10.0.0.2", 2_000_000);
        tcp(&b, &a, "fd00::1", 2_000_000);
        keystrokes(&b, &a, "10.0.0.1");
        // The largest datagram, in fragments; and one that the sender's kernel leaves to be cut.
        udp(&a, &b, "10.0.0.2", (65_507, None));
        udp(&b, &a, "fd00::1", (60_000, Some(1_300)));
        udp(&a, &b, "10.0.0.2", (60_000, Some(1_001)));
        if from.1 && to.1 {
            let seen = patch.n_super.each_ref().map(|n| n.load(Ordering::Relaxed) > 0);
            // Kernels before 6.2 cut UDP before a tap.
            assert_eq!((seen[0], seen[1]), (true, true), "super-frames of TCP pass whole");
        }
    }
}

#[test]
fn netns_taps_with_offloads_carry_everything_to_everyone() {
    against_the_others(Kind::Netns, true);
}

#[test]
fn netns_taps_without_offloads_carry_everything_to_everyone() {
    against_the_others(Kind::Netns, false);
}

#[test]
fn host_taps_with_offloads_carry_everything_to_everyone() {
    against_the_others(Kind::HostTap, true);
}

#[test]
fn host_taps_without_offloads_carry_everything_to_everyone() {
    against_the_others(Kind::HostTap, false);
}

#[test]
fn taps_of_monitors_with_offloads_carry_everything_to_everyone() {
    against_the_others(Kind::Tap, true);
}

#[test]
fn taps_of_monitors_without_offloads_carry_everything_to_everyone() {
    against_the_others(Kind::Tap, false);
}

#[test]
fn veths_with_offloads_carry_everything_to_everyone() {
    against_the_others(Kind::Veth, true);
}

#[test]
fn veths_without_offloads_carry_everything_to_everyone() {
    against_the_others(Kind::Veth, false);
}

#[test]
fn memory_ports_with_offloads_carry_everything_to_everyone() {
    against_the_others(Kind::Mem, true);
}

#[test]
fn memory_ports_without_offloads_and_links_carry_everything_to_everyone() {
    against_the_others(Kind::Mem, false);
    against_the_others(Kind::Link, true);
}
