//! Peers that flood, stall, lie and vanish.

use std::time::Duration;

use openflow::{Event, Message, SessionConfig, Version, Xid, codec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connection::{Far, ToOwner, serve};
use super::tests::{Tool, spec, within};
use super::*;

fn wire(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (xid, message) in (1..).zip(messages) {
        codec::encode(Version::V13, Xid(xid), message, &mut bytes).expect("short");
    }
    bytes
}

fn multipart(body: openflow::Request) -> Message {
    Message::MultipartRequest(openflow::MultipartRequest { more: false, body })
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// A connection whose buffers in the kernel are small, with the versions agreed.
async fn deaf(handle: &SwitchHandle) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = socket.connect(handle.listening()[0].addr).await.expect("the switch listens");
    Tool::over(stream).await.stream
}

fn packet_out(size: usize) -> Message {
    let action = openflow::Action::output(PortNo(1));
    Message::PacketOut(openflow::PacketOut {
        buffer: None,
        in_port: openflow::ports::CONTROLLER,
        actions: vec![action],
        data: vec![0; size],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_that_flood_and_never_read_cost_little_and_others_are_served() {
    let handle = start(spec("h-flood"), Plane::start(2).expect("workers")).await.expect("a switch");
    let mut tool = Tool::connect(&handle).await;
    for n in 0..3000 {
        let flow = format!("table=1,priority={n},tcp,tp_dst={n},actions=output:1");
        let flow = openflow::text::parse_flow(&flow).expect("a flow");
        tool.session.request(&Message::FlowMod(flow)).expect("established");
    }
    assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
    let before = resident();
    let all_flows = multipart(openflow::Request::Flow(openflow::FlowStatsRequest::default()));
    let kinds = [
        vec![all_flows; 200],
        vec![Message::EchoRequest(vec![7; 60_000]); 20],
        vec![packet_out(1400); 200],
        vec![packet_out(60_000); 20],
        vec![multipart(openflow::Request::Desc), Message::BarrierRequest, Message::FeaturesRequest],
    ];
    let mut floods = tokio::task::JoinSet::new();
    for kind in kinds.iter().chain(&kinds) {
        let (bytes, mut stream) = (wire(kind), deaf(&handle).await);
        floods.spawn(async move { while stream.write_all(&bytes).await.is_ok() {} });
    }
    let (started, mut slowest, mut most) = (Instant::now(), Duration::ZERO, 0);
    // Until it hurts, which takes the longer the busier the machine is.
    while started.elapsed() < Duration::from_secs(3) || most < 1 << 19 {
        assert!(started.elapsed() < Duration::from_secs(60), "they were no flood: {most}");
        let asked = Instant::now();
        assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
        slowest = slowest.max(asked.elapsed());
        most = most.max(handle.status().await.expect("running").most_waiting);
    }
    let grown = resident().saturating_sub(before) >> 20;
    println!("slowest answer {slowest:?}, {most} bytes wait for one peer at most, {grown} MiB more memory");
    assert!(most < 4 << 20, "{most} bytes wait for a peer");
    // Ten times what may wait, in buffers that are larger than what is in them; kernel buffers are not among it.
    assert!(grown < 200, "{grown} MiB more");
    assert!(slowest < Duration::from_secs(5), "an answer took {slowest:?}");
    floods.shutdown().await;
    assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
    handle.stop().await;
}

/// Changes some flows, each with a barrier behind it; the longest time that took.
async fn change_flows(tool: &mut Tool, n: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in 0..n {
        let flow = format!("table=2,priority={n},actions=output:2");
        let asked = Instant::now();
        let flow = openflow::text::parse_flow(&flow).expect("a flow");
        tool.session.request(&Message::FlowMod(flow)).expect("established");
        assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
        slowest = slowest.max(asked.elapsed());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_long_dumps_that_nobody_reads_do_not_keep_a_controller_waiting() {
    const N_FLOWS: usize = 20_000;
    let handle = start(spec("h-dumps"), Plane::start(2).expect("workers")).await.expect("a switch");
    let mut tool = Tool::connect(&handle).await;
    for n in 0..N_FLOWS {
        let flow = format!("table=1,priority={},tcp,tp_dst={n},actions=output:1", n % 9);
        let flow = openflow::text::parse_flow(&flow).expect("a flow");
        tool.session.request(&Message::FlowMod(flow)).expect("established");
    }
    assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
    let mut deaf_ones = Vec::new();
    for _ in 0..60 {
        deaf_ones.push(deaf(&handle).await);
    }
    let quiet = change_flows(&mut tool, 50).await;
    let all_flows = wire(&[multipart(openflow::Request::Flow(openflow::FlowStatsRequest::default()))]);
    let started = Instant::now();
    for stream in &mut deaf_ones {
        stream.write_all(&all_flows).await.expect("the switch reads");
    }
    let slowest = change_flows(&mut tool, 400).await;
    let total = started.elapsed();
    println!("slowest of 400 changes {slowest:?}, all {total:?}; before, the slowest took {quiet:?}");
    // Nearly all that time went into the dumps. However fast the machine is, no change waits for all of them: one that
    // waits until each is chosen takes half of it.
    assert!(slowest * 5 < total * 2, "{slowest:?} of {total:?}");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_behind_a_barrier_is_answered_behind_it() {
    let handle = start(spec("h-order"), Plane::start(2).expect("workers")).await.expect("a switch");
    let mut tool = Tool::connect(&handle).await;
    let mut expected = Vec::new();
    for n in 0..100 {
        let flow = openflow::text::parse_flow(&format!("priority={n},actions=output:1")).expect("a flow");
        tool.session.request(&Message::FlowMod(flow)).expect("established");
        for message in [Message::BarrierRequest, Message::FeaturesRequest] {
            expected.push(tool.session.request(&message).expect("established"));
        }
    }
    for expected in expected {
        assert!(matches!(tool.event().await, Event::Message { xid, .. } if xid == expected));
    }
    handle.stop().await;
}

#[tokio::test]
async fn echoes_are_answered_while_the_owner_is_stuck() {
    let clock = dataplane::Clock::start();
    // Nobody ever takes from this inbox.
    let (requests, _inbox) = mpsc::channel(1);
    let (wake, _wakes) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.expect("it listens");
    let config = SessionConfig::default();
    let far = Far::service("test".to_owned(), config);
    let serving = tokio::spawn(serve(stream, far, ToOwner { requests, wake, clock }));
    let mut tool = Tool::over(listener.accept().await.expect("connected").0).await;
    for _ in 0..20 {
        tool.session.request(&Message::BarrierRequest).expect("established");
    }
    let echo = wire(&[Message::EchoRequest(b"alive?".to_vec())]);
    let barriers = tool.session.poll_transmit().expect("twenty").to_vec();
    tool.stream.write_all(&[barriers, echo].concat()).await.expect("it reads");
    let mut answer = [0; 14];
    within("the echo reply", tool.stream.read_exact(&mut answer)).await.expect("it answers");
    assert_eq!((answer[1], &answer[8..]), (3, &b"alive?"[..]));
    serving.abort();
}

/// A controller of a test: says who the switch is on each connection that it accepts.
async fn accept_switch(listener: &TcpListener) -> (Tool, u8) {
    let (stream, _) = within("a connection", listener.accept()).await.expect("accepted");
    let mut tool = Tool::over(stream).await;
    let Message::FeaturesReply(features) = tool.ask(Message::FeaturesRequest).await else {
        panic!("features")
    };
    (tool, features.auxiliary_id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auxiliary_connections_come_behind_the_main_one_and_go_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
    let target = format!("tcp:{}", listener.local_addr().unwrap()).parse().expect("a target");
    let channel = ChannelConfig { n_auxiliary: 2, ..ChannelConfig::default() };
    let spec = SwitchSpec { controllers: vec![Target::Net(target)], channel, ..spec("h-aux") };
    let handle = start(spec, Plane::start(1).expect("workers")).await.expect("a switch");
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(accept_switch(&listener).await);
    }
    let mut ids: Vec<_> = connections.iter().map(|(_, id)| *id).collect();
    assert_eq!(ids[0], 0, "the main one is the first");
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2]);
    let (main, _) = connections.remove(0);
    drop(main);
    for (mut tool, id) in connections {
        let mut rest = Vec::new();
        let end = within("its end", tool.stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "auxiliary connection {id}: {end:?}");
    }
    // And all come again.
    assert_eq!(accept_switch(&listener).await.1, 0);
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_hangs_up_at_once_is_left_alone_for_longer_and_longer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
    let target = format!("tcp:{}", listener.local_addr().unwrap()).parse().expect("a target");
    let spec = SwitchSpec { controllers: vec![Target::Net(target)], ..spec("h-backoff") };
    let handle = start(spec, Plane::start(1).expect("workers")).await.expect("a switch");
    let mut times = Vec::new();
    for _ in 0..5 {
        drop(accept_switch(&listener).await);
        times.push(Instant::now());
    }
    // At least half of 250 ms, 500 ms, 1 s and 2 s.
    assert!(times[4] - times[0] > Duration::from_millis(1875), "{times:?}");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_named_twice_and_keys_that_lack_are_refused() {
    let target = |text: &str| Target::Net(text.parse().expect("a target"));
    for (controllers, word) in [
        (vec![target("tcp:127.0.0.1:6653"), target("tcp:127.0.0.1")], "named twice"),
        (vec![target("tcp:127.0.0.1"), target("ssl:127.0.0.1")], "--private-key"),
    ] {
        let spec = SwitchSpec { controllers, ..spec("h-twice") };
        let refused = start(spec, Plane::start(1).expect("workers")).await.expect_err(word);
        assert!(format!("{refused:#}").contains(word), "{refused:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_cost_their_connection_only() {
    let handle = start(spec("h-random"), Plane::start(1).expect("workers")).await.expect("a switch");
    let mut tool = Tool::connect(&handle).await;
    for round in 0..60_u32 {
        let mut stream = TcpStream::connect(handle.listening()[0].addr).await.expect("the switch listens");
        // Half of them say a good hello first, and headers that fit.
        let mut bytes = if round % 2 == 0 {
            wire(&[Message::Hello(openflow::Hello { versions: Some(16) })])
        } else {
            vec![]
        };
        for n in 0..50 {
            let body: Vec<u8> = (0..n).map(|_| rand::random()).collect();
            if round % 2 == 0 {
                bytes.extend([4, rand::random_range(0..40), 0, 8 + n, 0, 0, 0, 1]);
            }
            bytes.extend(body);
        }
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let _ = within("the end", stream.read_to_end(&mut Vec::new())).await;
    }
    assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
    assert_eq!(handle.status().await.expect("running").peers.len(), 1);
    handle.stop().await;
}
