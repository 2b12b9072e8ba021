//! Devices that vanish or are full while others work. Needs root, and says so when it has not.

mod common;

use common::hosts::{Host, Kind, tcp};
use common::{Bench, Patch, numbered, until};
use dataplane::Event;
use netio::PortDrop;
use packet::PortNo;

/// Everything that host 1 sends goes to host 2, and a copy to port 3.
fn bench() -> (Bench, dataplane::EngineId) {
    let bench = Bench::new(2);
    let engine = bench.patch(&Patch::new(&[(1, &[2, 3]), (2, &[1])]));
    (bench, engine)
}

#[test]
fn a_device_that_vanishes_under_traffic_is_reported_and_the_others_go_on() {
    for kind in [Kind::Netns, Kind::HostTap, Kind::Veth, Kind::Tap] {
        let (bench, engine) = bench();
        let a = Host::attach(&bench, engine, 1, (Kind::Netns, true));
        let b = Host::attach(&bench, engine, 2, (Kind::Netns, true));
        let c = Host::attach(&bench, engine, 3, (kind, true));
        std::thread::scope(|scope| {
            let traffic = scope.spawn(|| (0..4).for_each(|_| tcp(&a, &b, "10.0.0.2", 3_000_000)));
            c.lose_interface();
            traffic.join().expect("the payload arrives");
        });
        let down = |event: &Event| matches!(event, Event::PortDown { port: PortNo(3), .. });
        let told = || bench.events.lock().expect("alive").iter().filter(|event| down(event)).count();
        until(&format!("{kind:?} is told to be gone"), || told() > 0);
        tcp(&a, &b, "10.0.0.2", 1_000_000);
        assert_eq!(told(), 1, "once");
    }
}

#[test]
fn a_device_that_is_full_drops_with_a_reason_and_the_others_go_on() {
    let (bench, engine) = bench();
    let a = Host::attach(&bench, engine, 1, (Kind::Netns, true));
    let b = Host::attach(&bench, engine, 2, (Kind::Netns, true));
    // Nobody takes anything out of this one.
    let full = bench.port(engine, 3);
    let lost = || {
        let counters = bench.plane.port_counters(engine);
        counters.iter().find(|(port, _)| *port == PortNo(3)).expect("there").1[PortDrop::TxQueueFull]
    };
    let mut n = 0;
    until("the third port is full", || {
        tcp(&a, &b, "10.0.0.2", 3_000_000);
        n += 1;
        lost() > 0 || n > 200
    });
    assert!(lost() > 0, "frames beyond the queue are counted");
    tcp(&a, &b, "10.0.0.2", 1_000_000);
    assert!(full.send(numbered(1, 60)), "and it still receives");
}
