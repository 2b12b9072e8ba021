//! The harness itself keeps its promises.

use std::time::Duration;

use system_tests::{Namespace, RawSocket, Sandbox, veth_pair, wait_until};

#[test]
fn two_namespaces_joined_by_a_veth_ping_each_other() {
    let sandbox = Sandbox::enter("harness-veth");
    let before = sandbox.snapshot();
    let (h1, h2) = (Namespace::new(&sandbox, "h1"), Namespace::new(&sandbox, "h2"));
    veth_pair((Some(&h1), "eth0"), (Some(&h2), "eth0"));
    h1.address("eth0", "10.0.0.1/24");
    h2.address("eth0", "10.0.0.2/24");
    wait_until(Duration::from_secs(5), "a ping", || h1.pings("10.0.0.2"));
    drop((h1, h2));
    sandbox.assert_nothing_left(&before);
}

#[test]
fn a_raw_frame_arrives_as_it_was_sent() {
    let sandbox = Sandbox::enter("harness-raw");
    let (h1, h2) = (Namespace::new(&sandbox, "h1"), Namespace::new(&sandbox, "h2"));
    veth_pair((Some(&h1), "eth0"), (Some(&h2), "eth0"));
    let (tx, rx) = (h1.enter(|| RawSocket::open("eth0")), h2.enter(|| RawSocket::open("eth0")));
    let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb5], b"weft"].concat();
    tx.send(&frame).expect("a frame of 18 bytes can be sent");
    let mut next = || rx.receive(Duration::from_secs(2));
    let found = std::iter::from_fn(&mut next).take(20).any(|received| received == frame);
    assert!(found, "the frame did not arrive");
}

#[test]
#[should_panic(expected = "what exists after the test")]
fn what_is_left_fails_the_test() {
    let sandbox = Sandbox::enter("harness-left");
    let before = sandbox.snapshot();
    let _h1 = Namespace::new(&sandbox, "h1");
    sandbox.assert_nothing_left(&before);
}
