//! Groups that change, lead to each other, watch each other (§5.6, §6.5).

use openflow::error::GroupModFailed;
use openflow::{
    Action, Bucket, FlowMod, GroupId, GroupMod, GroupModCommand, GroupStats, GroupType, Instruction, Match,
    Message, MultipartRequest, PortNo, Priority, Reply, Request, TableId,
};
use packet::{MacAddr, build};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

fn switch() -> Standalone {
    Standalone::new(SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::default() }, 6)
}

fn to(weight: u16, port: u32) -> Bucket {
    let actions = vec![Action::output(PortNo(port))];
    Bucket { weight, watch_port: None, watch_group: None, actions }
}

fn to_group(group: u32) -> Bucket {
    Bucket { actions: vec![Action::Group(GroupId(group))], ..to(0, 1) }
}

fn put(
    s: &mut Standalone,
    command: GroupModCommand,
    (group, group_type): (u32, GroupType),
    buckets: Vec<Bucket>,
) -> Vec<Message> {
    s.control(Message::GroupMod(GroupMod { command, group_type, group: GroupId(group), buckets }))
}

fn add(s: &mut Standalone, group: u32, group_type: GroupType, buckets: Vec<Bucket>) {
    assert_eq!(put(s, GroupModCommand::Add, (group, group_type), buckets), []);
}

fn modify(s: &mut Standalone, group: u32, group_type: GroupType, buckets: Vec<Bucket>) {
    assert_eq!(put(s, GroupModCommand::Modify, (group, group_type), buckets), []);
}

fn refusal(replies: &[Message]) -> openflow::ErrorKind {
    let [.., Message::Error(error)] = replies else { panic!("not refused: {replies:?}") };
    error.kind
}

fn through(s: &mut Standalone, group: u32) {
    let instructions = vec![Instruction::ApplyActions(vec![Action::Group(GroupId(group))])];
    s.flow(FlowMod::add(TableId(0), Priority(1), Match::new(), instructions));
}

fn microflow(n: u16) -> Vec<u8> {
    let (a, b) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    build::ethernet(a, b).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(n, 53, b"question")
}

/// The port that each of many microflows leaves by.
fn spread(s: &mut Standalone) -> Vec<u32> {
    let port = |n| match &s.receive(PortNo(1), &microflow(n))[..] {
        [(port, _)] => port.0,
        other => panic!("{other:?}"),
    };
    (0..4000).map(port).collect()
}

fn stats(s: &mut Standalone, group: u32) -> GroupStats {
    s.idle();
    let request = MultipartRequest { more: false, body: Request::Group(GroupId(group)) };
    let replies = s.control(Message::MultipartRequest(request));
    let [Message::MultipartReply(reply)] = &replies[..] else { panic!("{replies:?}") };
    let Reply::Group(groups) = &reply.body else { panic!("{reply:?}") };
    groups[0].clone()
}

#[test]
fn flows_move_to_and_from_the_bucket_that_changed_only() {
    let mut s = switch();
    add(&mut s, 1, GroupType::Select, vec![to(1, 2), to(2, 3), to(1, 4)]);
    through(&mut s, 1);
    let before = spread(&mut s);
    let moved = |from: &[u32], to: &[u32]| {
        let pairs = from.iter().zip(to).filter(|(a, b)| a != b);
        pairs.map(|(&a, &b)| (a, b)).collect::<Vec<_>>()
    };
    // A bucket comes, in front of the others: a fifth of the flows goes to it, from everywhere.
    modify(&mut s, 1, GroupType::Select, vec![to(1, 5), to(1, 2), to(2, 3), to(1, 4)]);
    let wider = spread(&mut s);
    let came = moved(&before, &wider);
    assert!(came.iter().all(|(_, to)| *to == 5) && (700..900).contains(&came.len()), "{}", came.len());
    // It goes again, and everything is as it was.
    modify(&mut s, 1, GroupType::Select, vec![to(1, 4), to(2, 3), to(1, 2)]);
    assert_eq!(spread(&mut s), before);
    // A weight falls from half of all to a third: some leave that bucket, nobody else moves.
    modify(&mut s, 1, GroupType::Select, vec![to(1, 2), to(1, 3), to(1, 4)]);
    let left = moved(&before, &spread(&mut s));
    assert!(left.iter().all(|(from, _)| *from == 3) && (560..780).contains(&left.len()), "{}", left.len());
    // A watched port dies: only its flows move.
    let watched = |port| Bucket { watch_port: Some(PortNo(port)), ..to(1, port) };
    modify(&mut s, 1, GroupType::Select, vec![watched(2), watched(3), watched(4)]);
    let all = spread(&mut s);
    s.switch.set_port_link(s.now, PortNo(3), false);
    s.settle();
    let fled = moved(&all, &spread(&mut s));
    assert!(!fled.is_empty() && fled.iter().all(|(from, _)| *from == 3));
}

#[test]
fn a_modified_group_counts_on_and_its_buckets_begin_again() {
    let mut s = switch();
    add(&mut s, 1, GroupType::All, vec![to(0, 2), to(0, 3)]);
    through(&mut s, 1);
    s.receive(PortNo(1), &microflow(1));
    s.advance(core::time::Duration::from_secs(3));
    // What was counted by the old buckets and is not yet reported is theirs.
    s.receive(PortNo(1), &microflow(2));
    modify(&mut s, 1, GroupType::All, vec![to(0, 4), to(0, 5)]);
    s.receive(PortNo(1), &microflow(3));
    let stats = stats(&mut s, 1);
    let buckets: Vec<u64> = stats.buckets.iter().map(|bucket| bucket.packets).collect();
    assert_eq!((stats.packets, buckets), (3, vec![1, 1]));
    assert_eq!((stats.duration.as_secs(), stats.ref_count), (3, 1));
    // Another group of the same number begins anew; the flow went with the old one.
    assert_eq!(put(&mut s, GroupModCommand::Delete, (1, GroupType::All), vec![]), []);
    add(&mut s, 1, GroupType::All, vec![to(0, 2)]);
    assert_eq!(s.receive(PortNo(1), &microflow(1)), []);
    let fresh = self::stats(&mut s, 1);
    assert_eq!((fresh.packets, fresh.ref_count, fresh.duration.as_secs()), (0, 0, 0));
}

#[test]
fn loops_are_refused_and_chains_are_as_long_as_frames_may_follow() {
    let mut s = switch();
    let (loops, deep) = (GroupModFailed::Loop.into(), GroupModFailed::ChainingUnsupported.into());
    let all = |n| (n, GroupType::All);
    assert_eq!(refusal(&put(&mut s, GroupModCommand::Add, all(1), vec![to_group(1)])), loops);
    add(&mut s, 1, GroupType::All, vec![to(0, 2)]);
    for n in 2..=8 {
        add(&mut s, n, GroupType::All, vec![to_group(n - 1)]);
    }
    through(&mut s, 8);
    assert_eq!(s.receive(PortNo(1), &microflow(1)), [(PortNo(2), microflow(1))]);
    assert_eq!(refusal(&put(&mut s, GroupModCommand::Add, all(9), vec![to_group(8)])), deep);
    // The other end of the chain counts too, and a group that closes it.
    add(&mut s, 20, GroupType::All, vec![to(0, 3)]);
    assert_eq!(refusal(&put(&mut s, GroupModCommand::Modify, all(1), vec![to_group(20)])), deep);
    assert_eq!(refusal(&put(&mut s, GroupModCommand::Modify, all(1), vec![to_group(8)])), loops);
    assert_eq!(s.receive(PortNo(1), &microflow(1)), [(PortNo(2), microflow(1))]);
}

#[test]
fn what_groups_may_multiply_is_bounded() {
    let mut s = switch();
    add(&mut s, 1, GroupType::All, (0..20).map(|_| to(0, 2)).collect());
    for n in 2..=8 {
        add(&mut s, n, GroupType::All, (0..20).map(|_| to_group(n - 1)).collect());
    }
    through(&mut s, 8);
    let n_sent = s.receive(PortNo(1), &microflow(1)).len();
    assert!((3000..4096).contains(&n_sent), "{n_sent}");
}

#[test]
fn a_bucket_lives_while_its_port_or_its_group_does() {
    let mut s = switch();
    let watched = |port| Bucket { watch_port: Some(PortNo(port)), ..to(0, port) };
    let watching = |group| Bucket { watch_group: Some(GroupId(group)), ..to_group(group) };
    add(&mut s, 1, GroupType::FastFailover, vec![watched(2), watched(3)]);
    add(&mut s, 2, GroupType::FastFailover, vec![watched(4)]);
    let both = Bucket { watch_port: Some(PortNo(6)), ..watching(1) };
    add(&mut s, 3, GroupType::FastFailover, vec![both, watching(2), watched(5)]);
    through(&mut s, 3);
    let mut link = |port, up| {
        s.switch.set_port_link(s.now, PortNo(port), up);
        s.settle();
        s.receive(PortNo(1), &microflow(1)).iter().map(|(port, _)| port.0).collect::<Vec<_>>()
    };
    assert_eq!(link(6, false), [2], "its group lives");
    assert_eq!(link(2, false), [3], "the group goes to its second bucket");
    assert_eq!(link(3, false), [4], "the group is dead, the next bucket's lives");
    assert_eq!(link(4, false), [5]);
    assert_eq!(link(6, true), [0; 0], "its port lives, what it leads to does not");
    assert_eq!(link(2, true), [2]);
    // Groups that watch each other would be as dead or alive as they think.
    let circle = put(&mut s, GroupModCommand::Modify, (2, GroupType::FastFailover), vec![watching(3)]);
    assert_eq!(refusal(&circle), GroupModFailed::Loop.into());
}
