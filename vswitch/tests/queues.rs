//! Queues: which one a frame is for, and what controllers are told of them.

use core::time::Duration;

use openflow::error::{BadAction, QueueOpFailed};
use openflow::{
    Action, Bucket, Dpid, ErrorKind, FlowMod, GroupId, GroupMod, GroupModCommand, GroupType, Instruction,
    Match, Message, MultipartReply, MultipartRequest, PacketQueue, PortNo, Priority, QueueConfig, QueueId,
    QueueStats, Reply, Request, TableId,
};
use packet::{Frame, MacAddr, build};
use vswitch::standalone::Standalone;
use vswitch::{PortQueues, QueueCounters, QueueSpec, SwitchConfig};

fn switch() -> Standalone {
    Standalone::new(SwitchConfig { n_tables: 2, seed: Some(1), ..SwitchConfig::new(Dpid(1), "s") }, 3)
}

fn flow(table: u8, instructions: Vec<Instruction>) -> FlowMod {
    FlowMod::add(TableId(table), Priority(1), Match::new(), instructions)
}

fn queue(n: u32) -> Action {
    Action::SetQueue(QueueId(n))
}

fn output(port: u32) -> Action {
    Action::output(PortNo(port))
}

/// Ports and queues by which a frame leaves that came by port 1.
fn leaves(s: &mut Standalone) -> Vec<(u32, u16)> {
    let bytes = build::ethernet(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2])
        .udp(1, 2, b"x");
    let sent = s.process_frames(0, PortNo(1), Frame::from_bytes(&bytes));
    sent.into_iter().map(|(port, frame)| (port.0, frame.queue)).collect()
}

#[test]
fn the_queue_is_that_of_the_last_set_queue_before_the_output() {
    let mut s = switch();
    s.flow(flow(
        0,
        vec![Instruction::ApplyActions(vec![output(2), queue(3), output(3), queue(0), output(2)])],
    ));
    assert_eq!(leaves(&mut s), [(2, 0), (3, 3), (2, 0)]);

    // §5.10: in an action set it comes before the output, and it stays from an earlier table.
    s.flow(flow(
        0,
        vec![
            Instruction::ApplyActions(vec![queue(5), output(3)]),
            Instruction::WriteActions(vec![output(2)]),
            Instruction::GotoTable(TableId(1)),
        ],
    ));
    s.flow(flow(1, vec![Instruction::ApplyActions(vec![output(3)])]));
    assert_eq!(leaves(&mut s), [(3, 5), (3, 5), (2, 5)]);
    s.flow(flow(1, vec![Instruction::WriteActions(vec![output(2), queue(6)])]));
    assert_eq!(leaves(&mut s), [(3, 5), (2, 6)]);
}

#[test]
fn a_bucket_chooses_for_its_copy_only() {
    let mut s = switch();
    let bucket = |actions| Bucket { weight: 0, watch_port: None, watch_group: None, actions };
    let buckets = vec![bucket(vec![queue(9), output(2)]), bucket(vec![output(3)])];
    let group_type = GroupType::All;
    let add = GroupMod { command: GroupModCommand::Add, group_type, group: GroupId(1), buckets };
    let replies = s.control(Message::GroupMod(add));
    assert!(replies.is_empty(), "{replies:?}");
    let actions = vec![queue(4), Action::Group(GroupId(1)), output(3)];
    s.flow(flow(0, vec![Instruction::ApplyActions(actions)]));
    assert_eq!(leaves(&mut s), [(2, 9), (3, 4), (3, 4)]);
}

#[test]
fn only_the_wildcard_is_refused_and_what_cannot_be_configured_is_no_queue_of_anybodys() {
    let mut s = switch();
    let mods = |n| flow(0, vec![Instruction::ApplyActions(vec![queue(n), output(2)])]);
    let replies = s.control(Message::FlowMod(mods(0xffff_ffff)));
    assert!(
        matches!(&replies[..], [Message::Error(e)] if e.kind == BadAction::BadQueue.into()),
        "{replies:?}"
    );
    s.flow(mods(0x1_0007));
    assert_eq!(leaves(&mut s), [(2, u16::MAX)]);
    let highest = PortQueues { rate: None, queues: vec![QueueSpec::new(u16::MAX)] };
    assert!(highest.check().is_err());
}

fn ask(s: &mut Standalone, body: Request) -> Result<Reply, ErrorKind> {
    match s.control(Message::MultipartRequest(MultipartRequest { more: false, body })).pop() {
        Some(Message::MultipartReply(MultipartReply { body, more: false })) => Ok(body),
        Some(Message::Error(error)) => Err(error.kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn controllers_are_told_what_is_configured_and_counted() {
    let mut s = switch();
    let none = ask(&mut s, Request::Queue { port: None, queue: None });
    assert_eq!(none, Ok(Reply::Queue(Vec::new())));
    let spec = |id, min, max| QueueSpec { min, max, ..QueueSpec::new(id) };
    let queues = vec![spec(7, None, Some(10_000_000)), spec(0, Some(5_000_000), None)];
    s.switch.set_port_queues(s.now, PortNo(2), &PortQueues { rate: Some(20_000_000), queues });
    let one = PortQueues { rate: None, queues: vec![spec(7, None, Some(1_000))] };
    s.switch.set_port_queues(s.now, PortNo(3), &one);
    s.advance(Duration::from_secs(3));
    let counted = QueueCounters { tx_packets: 5, tx_bytes: 500, tx_errors: 2 };
    s.switch.set_queue_counters(PortNo(2), 7, counted);

    let desc = |port, queue, min_rate, max_rate| PacketQueue {
        queue: QueueId(queue),
        port: PortNo(port),
        min_rate,
        max_rate,
    };
    let two = [desc(2, 0, Some(250), None), desc(2, 7, None, Some(500))];
    // A port that says nothing of its speed: as much as a rate can be.
    let three = desc(3, 7, None, Some(1000));
    let all = s.control(Message::QueueGetConfigRequest(None));
    let queues = [&two[..], std::slice::from_ref(&three)].concat();
    assert_eq!(all, [Message::QueueGetConfigReply(QueueConfig { port: None, queues })]);
    let of_two = s.control(Message::QueueGetConfigRequest(Some(PortNo(2))));
    let config = QueueConfig { port: Some(PortNo(2)), queues: two.to_vec() };
    assert_eq!(of_two, [Message::QueueGetConfigReply(config)]);
    let seven = ask(&mut s, Request::QueueDesc { port: None, queue: Some(QueueId(7)) });
    assert_eq!(seven, Ok(Reply::QueueDesc(vec![two[1].clone(), three])));

    let stats = ask(&mut s, Request::Queue { port: Some(PortNo(2)), queue: None }).expect("there are some");
    let Reply::Queue(stats) = stats else { panic!("{stats:?}") };
    let seconds = Duration::from_secs(3);
    let zero = QueueStats {
        port: PortNo(2),
        queue: QueueId(0),
        tx_bytes: 0,
        tx_packets: 0,
        tx_errors: 0,
        duration: seconds,
    };
    let seven = QueueStats { queue: QueueId(7), tx_bytes: 500, tx_packets: 5, tx_errors: 2, ..zero };
    assert_eq!(stats, [zero, seven]);
    // What queues drop is dropped by the port.
    let port = ask(&mut s, Request::PortStats(Some(PortNo(2)))).expect("it is there");
    assert!(matches!(&port, Reply::PortStats(all) if all[0].tx_dropped == 2), "{port:?}");

    // A queue that stays goes on.
    s.switch.set_port_queues(s.now, PortNo(2), &PortQueues { rate: None, queues: vec![spec(7, None, None)] });
    s.advance(Duration::from_secs(1));
    let stats = ask(&mut s, Request::Queue { port: Some(PortNo(2)), queue: Some(QueueId(7)) });
    assert_eq!(stats, Ok(Reply::Queue(vec![QueueStats { duration: Duration::from_secs(4), ..seven }])));
}

#[test]
fn ports_and_queues_that_are_not_there_have_their_errors() {
    let mut s = switch();
    let queues = PortQueues { rate: None, queues: vec![QueueSpec::new(7)] };
    s.switch.set_port_queues(s.now, PortNo(2), &queues);
    let replies = s.control(Message::QueueGetConfigRequest(Some(PortNo(9))));
    let [Message::Error(error)] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(error.kind, QueueOpFailed::BadPort.into());
    for (port, queue, expected) in [
        (Some(9), None, Some(QueueOpFailed::BadPort)),
        (Some(9), Some(7), Some(QueueOpFailed::BadPort)),
        (Some(3), Some(7), Some(QueueOpFailed::BadQueue)),
        (None, Some(8), Some(QueueOpFailed::BadQueue)),
        (Some(3), None, None),
        (None, Some(7), None),
    ] {
        let (port, queue) = (port.map(PortNo), queue.map(QueueId));
        for body in [Request::Queue { port, queue }, Request::QueueDesc { port, queue }] {
            assert_eq!(ask(&mut s, body).err(), expected.map(ErrorKind::from), "{port:?} {queue:?}");
        }
    }
}
