use super::*;

fn request(number: u32, spec: &str) -> PortRequest {
    PortRequest::new(PortNo(number), spec.parse().expect("a port specification"))
}

fn switch(plane: &Plane, name: &str) -> (EngineId, Events) {
    let mut switch = vswitch::Switch::new(vswitch::SwitchConfig {
        n_workers: plane.n_workers(),
        ..vswitch::SwitchConfig::default()
    });
    plane.add_switch(name, switch.datapath()).expect("added")
}

/// The next event about a port's link.
async fn link_event(events: &mut Events) -> (PortNo, bool) {
    loop {
        match events.recv().await.expect("the plane lives") {
            Event::PortLink { port, up, .. } => return (port, up),
            Event::PortDown { port, .. } => panic!("port {port} failed"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_ends_of_a_link_find_each_other_and_part() {
    let plane = Plane::start(2).expect("started");
    let (a, mut a_events) = switch(&plane, "a");
    let (b, _b_events) = switch(&plane, "b");
    assert!(plane.add_switch("a", Vec::new()).is_err(), "the name is taken");

    let first = plane.prepare_port(a, request(1, "link:b/7")).await.expect("added");
    assert!(!first.up);
    plane.start_port(a, PortNo(1)).await.expect("it waits for the other end");
    let wrong = plane.prepare_port(b, request(7, "link:a/2")).await.expect("waits for another");
    assert!(!wrong.up);
    plane.remove_port(b, PortNo(7)).await.expect("removed");
    let second = plane.prepare_port(b, request(7, "link:a/1")).await.expect("added");
    assert!(second.up);
    assert_eq!(link_event(&mut a_events).await, (PortNo(1), true));
    assert_ne!(first.info.mac, second.info.mac);

    plane.remove_port(b, PortNo(7)).await.expect("removed");
    assert_eq!(link_event(&mut a_events).await, (PortNo(1), false));
    plane.prepare_port(b, request(7, "link:a/1")).await.expect("joined again");
    assert_eq!(link_event(&mut a_events).await, (PortNo(1), true));
    plane.remove_engine(b).await.expect("removed");
    assert_eq!(link_event(&mut a_events).await, (PortNo(1), false));
    plane.remove_port(a, PortNo(1)).await.expect("removed");
    assert!(plane.remove_port(a, PortNo(1)).await.is_err());
}

#[tokio::test]
async fn ports_are_opened_and_removed() {
    let plane = Plane::start(1).expect("started");
    let (a, _events) = switch(&plane, "a");
    let added = plane.prepare_port(a, request(1, "mem:")).await.expect("added");
    assert!(added.up);
    plane.start_port(a, PortNo(1)).await.expect("started");
    assert!(plane.start_port(a, PortNo(2)).await.is_err(), "there is no such port");
    let taken = plane.prepare_port(a, request(1, "mem:")).await.expect_err("taken").to_string();
    assert!(taken.contains("exists already"), "{taken}");
    let missing =
        plane.prepare_port(a, request(2, "afpacket:no-such-if")).await.expect_err("missing").to_string();
    assert!(missing.contains("no interface"), "{missing}");
    assert_eq!(plane.port_counters(a).await.expect("told").len(), 1);
    plane.remove_port(a, PortNo(1)).await.expect("removed");
    assert!(plane.port_counters(a).await.expect("told").is_empty());
}

/// Engines that come and go beside each other, linked in a ring, with owners that are slow to listen: whatever lock is
/// held while workers are waited for, somebody here would wait for it, too.
#[tokio::test(flavor = "multi_thread")]
async fn engines_come_and_go_at_the_same_time() {
    const N: usize = 8;
    let plane = Plane::start(2).expect("started");
    let owner = |plane: Plane, at: usize| async move {
        let (name, next, last) =
            (format!("e{at}"), format!("e{}", (at + 1) % N), format!("e{}", (at + N - 1) % N));
        for _ in 0..20 {
            let (id, _events) = switch(&plane, &name);
            let links = [request(1, &format!("link:{next}/2")), request(2, &format!("link:{last}/1"))];
            for link in links {
                plane.prepare_port(id, link).await.expect("added");
            }
            plane.prepare_port(id, request(3, "mem:")).await.expect("added");
            plane.remove_port(id, PortNo(3)).await.expect("removed");
            plane.remove_engine(id).await.expect("removed");
        }
    };
    let tasks: Vec<_> = (0..N).map(|at| tokio::spawn(owner(plane.clone(), at))).collect();
    for task in tasks {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), task).await;
        ended.expect("no deadlock").expect("no panic");
    }
}
