//! The switch as a controller and its ports see it.

use core::time::Duration;

use openflow::error::{BadAction, BadInstruction, BadRequest, FlowModFailed};
use openflow::{
    Action, BufferId, Cookie, Dpid, ErrorKind, Field, FlowMod, FlowModCommand, FlowModFlags,
    FlowRemovedReason, FlowStats, FlowStatsRequest, Instruction, Match, Message, MultipartRequest, Oxm,
    PacketInReason, PacketOut, PortNo, Priority, Reply, Request, Rewrite, TableId, ports,
};
use packet::{MacAddr, build};
use vswitch::standalone::Standalone;
use vswitch::{DropReason, FailMode, SwitchConfig, TraceOutcome};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn switch() -> Standalone {
    Standalone::new(SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::new(Dpid(1), "s1") }, 3)
}

fn apply(actions: Vec<Action>) -> Vec<Instruction> {
    vec![Instruction::ApplyActions(actions)]
}

fn output(n: u32) -> Action {
    Action::output(PortNo(n))
}

fn flow(priority: u16, matches: Match, instructions: Vec<Instruction>) -> FlowMod {
    FlowMod::add(TableId(0), Priority(priority), matches, instructions)
}

fn udp() -> Vec<u8> {
    build::ethernet(A, B).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1000, 2000, b"hello")
}

fn flows(s: &mut Standalone) -> Vec<FlowStats> {
    let request = MultipartRequest { more: false, body: Request::Flow(FlowStatsRequest::default()) };
    match &s.control(Message::MultipartRequest(request))[..] {
        [Message::MultipartReply(reply)] => match &reply.body {
            Reply::Flow(flows) => flows.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn refused(s: &mut Standalone, message: Message) -> ErrorKind {
    match &s.control(message)[..] {
        [Message::Error(error)] => error.kind,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_flow_forwards_and_counts() {
    let mut s = switch();
    assert_eq!(s.receive(PortNo(1), &udp()), []);
    s.flow(flow(10, Match::new().in_port(PortNo(1)), apply(vec![output(2)])));
    for _ in 0..3 {
        assert_eq!(s.receive(PortNo(1), &udp()), [(PortNo(2), udp())]);
    }
    let stats = flows(&mut s);
    assert_eq!((stats[0].packets, stats[0].bytes), (3, 3 * udp().len() as u64));
    let drops: Vec<_> = s.switch.drops().iter().filter(|(_, n)| *n > 0).collect();
    assert_eq!(drops, [(DropReason::TableMiss, 1)]);
}

#[test]
fn tables_metadata_and_action_sets_work_together() {
    let mut s = switch();
    let set = Action::SetField(Oxm::mac(Field::EthDst, A));
    s.flow(flow(
        1,
        Match::new(),
        vec![
            Instruction::WriteActions(vec![output(3), Action::DecNwTtl]),
            Instruction::WriteMetadata { metadata: 7, mask: 0xff },
            Instruction::GotoTable(TableId(5)),
        ],
    ));
    let second = FlowMod::add(
        TableId(5),
        Priority(1),
        Match::new().metadata(7, 0xf).eth_type(0x800),
        vec![
            Instruction::ApplyActions(vec![set, Action::controller(100)]),
            Instruction::WriteActions(vec![output(2)]),
        ],
    );
    s.flow(FlowMod { cookie: Cookie(9), ..second });
    let expected = build::ethernet(A, A).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).ttl(63).udp(1000, 2000, b"hello");
    assert_eq!(s.receive(PortNo(1), &udp()), [(PortNo(2), expected)]);
    match &s.messages()[..] {
        [Message::PacketIn(p)] => {
            assert_eq!((p.table, p.cookie, p.reason), (TableId(5), Cookie(9), PacketInReason::Action));
            assert_eq!(p.matches.exact(Field::Metadata), Some(7));
            assert_eq!(p.data[..6], A.0);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn reserved_ports_are_resolved() {
    let mut s = switch();
    for (port, expected) in [
        (ports::FLOOD, vec![1, 3]),
        (ports::ALL, vec![1, 3]),
        (ports::IN_PORT, vec![2]),
        (PortNo(2), vec![]),
        (PortNo(9), vec![]),
    ] {
        s.flow(flow(1, Match::new(), apply(vec![Action::output(port)])));
        let out: Vec<u32> = s.receive(PortNo(2), &udp()).iter().map(|(p, _)| p.0).collect();
        assert_eq!(out, expected, "{port}");
    }
    s.idle();
    let drops = s.switch.drops();
    assert_eq!((drops[DropReason::SamePort], drops[DropReason::NoPort], drops.total()), (1, 1, 2));
}

#[test]
fn normal_learns_across_workers_and_stands_in_for_a_controller() {
    let config = SwitchConfig { fail_mode: FailMode::Standalone, n_workers: 2, ..SwitchConfig::default() };
    let mut s = Standalone::new(config, 3);
    assert_eq!(s.receive(PortNo(1), &udp()), [], "a controller is connected and has said nothing");
    s.switch.handle_disconnected(s.now, vswitch::standalone::CONN);
    s.settle();
    let reply = build::ethernet(B, A).ipv4([10, 0, 0, 2], [10, 0, 0, 1]).udp(2000, 1000, b"hi");
    assert_eq!(s.receive(PortNo(1), &udp()).len(), 2, "unknown: flooded");
    let back = s.process(1, PortNo(3), packet::Frame::from_bytes(&reply));
    assert_eq!(back, [(PortNo(1), reply)], "the other worker knows");
}

#[test]
fn vlan_tags_are_pushed_matched_changed_and_popped() {
    let mut s = switch();
    let vid = |n: u128| Action::SetField(Oxm::new(Field::VlanVid, 0x1000 | n));
    let push = vec![Action::PushVlan(0x8100), vid(10), output(2)];
    s.flow(flow(5, Match::new().in_port(PortNo(1)).untagged(), apply(push)));
    let vlan = packet::VlanId::new(10).expect("valid");
    s.flow(flow(5, Match::new().in_port(PortNo(2)).vlan(vlan), apply(vec![Action::PopVlan, output(1)])));
    let tagged =
        build::ethernet(A, B).vlan(vlan).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1000, 2000, b"hello");
    assert_eq!(s.receive(PortNo(1), &udp()), [(PortNo(2), tagged.clone())]);
    assert_eq!(s.receive(PortNo(2), &tagged), [(PortNo(1), udp())]);
    assert_eq!(s.receive(PortNo(1), &tagged), []);
}

#[test]
fn timeouts_remove_flows_and_say_so() {
    let mut s = switch();
    let base =
        FlowMod { flags: FlowModFlags::SEND_FLOW_REM, ..flow(1, Match::new(), apply(vec![output(2)])) };
    s.flow(FlowMod { idle_timeout: 5, ..base.clone() });
    s.advance(Duration::from_secs(4));
    assert_eq!(s.receive(PortNo(1), &udp()).len(), 1);
    s.advance(Duration::from_secs(4));
    assert_eq!(s.messages(), [], "it was used");
    s.advance(Duration::from_millis(1100));
    match &s.messages()[..] {
        [Message::FlowRemoved(r)] => {
            assert_eq!(
                (r.reason, r.packets, r.duration),
                (FlowRemovedReason::IdleTimeout, 1, Duration::from_secs(9))
            );
        }
        other => panic!("{other:?}"),
    }
    s.flow(FlowMod { hard_timeout: 3, ..base });
    s.receive(PortNo(1), &udp());
    s.advance(Duration::from_secs(3));
    assert!(
        matches!(&s.messages()[..], [Message::FlowRemoved(r)] if r.reason == FlowRemovedReason::HardTimeout && r.packets == 1)
    );
    assert_eq!(s.receive(PortNo(1), &udp()), []);
}

#[test]
fn deletion_filters_and_modification_keeps_counters() {
    let mut s = switch();
    for n in 1..4 {
        let one = flow(n, Match::new().in_port(PortNo(n.into())), apply(vec![output(u32::from(n) % 3 + 1)]));
        s.flow(FlowMod { cookie: Cookie(n.into()), ..one });
    }
    s.receive(PortNo(1), &udp());
    let modify = FlowMod {
        command: FlowModCommand::Modify,
        cookie: Cookie(1),
        cookie_mask: 3,
        instructions: apply(vec![output(3)]),
        ..FlowMod::default()
    };
    s.flow(modify);
    assert_eq!(s.receive(PortNo(1), &udp()), [(PortNo(3), udp())]);
    let one = flows(&mut s).into_iter().find(|f| f.cookie == Cookie(1)).expect("there");
    assert_eq!(one.packets, 2);
    s.flow(FlowMod { out_port: Some(PortNo(3)), ..FlowMod::delete_all() });
    assert_eq!(flows(&mut s).iter().map(|f| f.cookie.0).collect::<Vec<_>>(), [3]);
    s.flow(FlowMod::delete_all());
    assert_eq!(flows(&mut s), []);
}

#[test]
fn a_barrier_waits_for_every_worker() {
    let mut s = switch();
    s.submit(Message::FlowMod(flow(1, Match::new(), apply(vec![output(2)]))));
    s.submit(Message::BarrierRequest);
    s.carry_effects();
    assert_eq!(s.messages(), []);
    while s.obey_one(0) {}
    while s.report_one() {}
    s.carry_effects();
    assert_eq!(s.messages(), [], "one worker is not enough");
    assert_eq!(s.process(0, PortNo(1), packet::Frame::from_bytes(&udp())).len(), 1);
    assert_eq!(s.process(1, PortNo(1), packet::Frame::from_bytes(&udp())).len(), 0);
    s.settle();
    assert_eq!(s.messages(), [Message::BarrierReply]);
}

#[test]
fn bad_messages_get_the_errors_of_the_standard() {
    let mut s = switch();
    let cases: Vec<(FlowMod, ErrorKind)> = vec![
        (FlowMod { table: TableId(64), ..FlowMod::default() }, FlowModFailed::BadTableId.into()),
        (FlowMod { table: TableId::ALL, ..FlowMod::default() }, FlowModFailed::BadTableId.into()),
        (FlowMod { flags: FlowModFlags(0x8000), ..FlowMod::default() }, FlowModFailed::BadFlags.into()),
        (FlowMod { buffer: Some(BufferId(1)), ..FlowMod::default() }, BadRequest::BufferUnknown.into()),
        (flow(1, Match::new(), vec![Instruction::GotoTable(TableId(0))]), BadInstruction::BadTableId.into()),
        (
            flow(1, Match::new(), vec![Instruction::Unknown { kind: 99, data: vec![] }]),
            BadInstruction::UnknownInst.into(),
        ),
        (flow(1, Match::new(), apply(vec![output(0)])), BadAction::BadOutPort.into()),
        (
            flow(1, Match::new(), apply(vec![Action::Group(openflow::GroupId(1))])),
            BadAction::BadOutGroup.into(),
        ),
        (flow(1, Match::new(), apply(vec![Action::PushVlan(0x9999)])), BadAction::BadArgument.into()),
        (
            flow(1, Match::new(), apply(vec![Action::SetField(Oxm::new(Field::TcpDst, 80))])),
            BadAction::MatchInconsistent.into(),
        ),
        (
            flow(1, Match::new(), apply(vec![Action::SetField(Oxm::new(Field::InPort, 1))])),
            BadAction::BadSetType.into(),
        ),
    ];
    for (flow_mod, expected) in cases {
        assert_eq!(refused(&mut s, Message::FlowMod(flow_mod.clone())), expected, "{flow_mod:?}");
    }
    s.flow(flow(7, Match::new().eth_type(0x800), vec![]));
    let overlapping =
        FlowMod { flags: FlowModFlags::CHECK_OVERLAP, ..flow(7, Match::new().in_port(PortNo(1)), vec![]) };
    assert_eq!(refused(&mut s, Message::FlowMod(overlapping)), FlowModFailed::Overlap.into());
    assert_eq!(flows(&mut s).len(), 1, "nothing else was installed");
}

#[test]
fn packet_outs_reach_ports_and_tables() {
    let mut s = switch();
    s.flow(flow(1, Match::new().in_port(ports::CONTROLLER), apply(vec![output(3)])));
    let mut out = |actions| {
        let packet_out = PacketOut { buffer: None, in_port: ports::CONTROLLER, actions, data: udp() };
        let replies = s.control(Message::PacketOut(packet_out));
        assert_eq!(replies, []);
        s.outputs().iter().map(|(port, _)| port.0).collect::<Vec<_>>()
    };
    assert_eq!(out(vec![output(1), output(2)]), [1, 2]);
    assert_eq!(out(vec![Action::output(ports::FLOOD)]), [1, 2, 3]);
    assert_eq!(out(vec![Action::output(ports::TABLE)]), [3]);
    assert_eq!(out(vec![output(1), Action::output(ports::TABLE), output(2)]), [1, 3, 2]);
}

#[test]
fn lying_frames_are_dropped_with_a_reason() {
    let mut s = switch();
    s.flow(flow(1, Match::new(), apply(vec![output(2)])));
    let mut tags = build::ethernet(A, B);
    for _ in 0..8 {
        tags = tags.vlan(packet::VlanId::new(5).expect("valid"));
    }
    let eight = tags.payload(packet::EtherType(0x8100), &[0; 60]);
    let mut long = udp();
    long[16..18].copy_from_slice(&2000u16.to_be_bytes());
    for (bytes, reason) in [
        (vec![0; 13], DropReason::TooShort),
        (udp()[..20].to_vec(), DropReason::TooShort),
        (long, DropReason::BadLength),
        (eight, DropReason::TooManyTags),
    ] {
        let before = s.switch.drops()[reason];
        assert_eq!(s.receive(PortNo(1), &bytes), []);
        s.idle();
        assert_eq!(s.switch.drops()[reason], before + 1, "{reason}");
    }
    assert_eq!(s.process(0, PortNo(77), packet::Frame::from_bytes(&udp())), []);
    s.idle();
    assert_eq!(s.switch.drops()[DropReason::UnknownInPort], 1);
}

#[test]
fn a_trace_tells_tables_and_outcome() {
    let mut s = switch();
    s.flow(flow(1, Match::new().eth_type(0x800), vec![Instruction::GotoTable(TableId(3))]));
    let trace = s.switch.trace(s.now, PortNo(1), &udp());
    assert_eq!(
        trace.tables.iter().map(|t| (t.table.0, t.entry.is_some())).collect::<Vec<_>>(),
        [(0, true), (3, false)]
    );
    assert_eq!(trace.outcomes, [TraceOutcome::Drop(DropReason::TableMiss)]);
    s.flow(FlowMod { table: TableId(3), ..flow(2, Match::new(), apply(vec![output(2)])) });
    let trace = s.switch.trace(s.now, PortNo(1), &udp());
    assert_eq!(trace.outcomes, [TraceOutcome::Output { port: PortNo(2), frame: udp() }]);
    assert!(trace.to_string().contains("Output: port 2"), "{trace}");
    // A frame that an action drops is seen by no further table.
    let mut expired = udp();
    expired[22] = 1;
    let dec_ttl = Instruction::ApplyActions(vec![Action::DecNwTtl]);
    s.flow(flow(1, Match::new().eth_type(0x800), vec![dec_ttl, Instruction::GotoTable(TableId(3))]));
    let trace = s.switch.trace(s.now, PortNo(1), &expired);
    assert_eq!(trace.tables.iter().map(|t| t.table.0).collect::<Vec<_>>(), [0]);
    assert_eq!(trace.outcomes, [TraceOutcome::Drop(DropReason::Ttl)]);
}

/// Part by part, other connections served between, and a barrier behind the last part.
#[test]
fn a_long_reply_keeps_nobody_waiting() {
    let mut s = switch();
    let n = 3_000;
    for at in 0..n {
        s.submit(Message::FlowMod(flow(
            1,
            Match::new().eth_dst(MacAddr::from_u64(at)),
            apply(vec![output(1)]),
        )));
    }
    s.settle();
    let other = vswitch::ConnId(9);
    s.switch.handle_connected(s.now, other);
    let request = MultipartRequest { more: false, body: Request::Flow(FlowStatsRequest::default()) };
    s.submit(Message::MultipartRequest(request));
    s.submit(Message::BarrierRequest);
    s.carry_effects();
    while (0..2).any(|worker| s.obey_one(worker)) || s.report_one() {
        s.carry_effects();
    }
    s.switch.handle_message(s.now, other, openflow::Xid(7), Message::EchoRequest(vec![]));
    // Time has come at once for the rest.
    assert!(s.switch.poll_timeout().is_some_and(|at| at <= s.now));
    let mut seen = Vec::new();
    let mut turns = 0;
    loop {
        while let Some(effect) = s.switch.poll_effect() {
            match effect {
                vswitch::Effect::Send { message, conn, .. } if conn == other => seen.push((message, turns)),
                vswitch::Effect::Send { message, .. } => seen.push((message, turns)),
                vswitch::Effect::Order { .. } => {}
            }
        }
        if s.switch.poll_timeout().is_none() {
            break;
        }
        turns += 1;
        s.switch.handle_timeout(s.now);
    }
    let mut messages = s.messages();
    messages.extend(seen.iter().map(|(message, _)| message.clone()));
    let parts = messages.iter().filter_map(|m| match m {
        Message::MultipartReply(reply) => match &reply.body {
            Reply::Flow(flows) => Some((reply.more, flows.len())),
            _ => None,
        },
        _ => None,
    });
    let parts: Vec<_> = parts.collect();
    assert!(parts.len() > 4 && parts.iter().all(|&(_, len)| len < 1_000), "{parts:?}");
    assert_eq!(parts.iter().map(|(_, len)| *len).sum::<usize>(), n as usize);
    let more: Vec<bool> = parts.iter().map(|(more, _)| *more).collect();
    assert_eq!(more.iter().position(|more| !more), Some(more.len() - 1), "only the last says that it is");
    assert_eq!(messages.last(), Some(&Message::BarrierReply));
    let echo = seen.iter().find(|(message, _)| *message == Message::EchoReply(vec![]));
    assert!(echo.is_some_and(|&(_, turn)| turn == 0) && turns > 3, "answered before the rest of the reply");
}

/// A worker that still forwards by the old tables counts for the group that was, not for the next of its number.
#[test]
fn what_a_removed_group_counted_is_not_the_next_ones() {
    use openflow::{Bucket, GroupId, GroupMod, GroupModCommand, GroupType};
    let mut s = switch();
    let group = |command| {
        let bucket = Bucket { weight: 0, watch_port: None, watch_group: None, actions: vec![output(2)] };
        let (group_type, group) = (GroupType::Indirect, GroupId(1));
        Message::GroupMod(GroupMod { command, group_type, group, buckets: vec![bucket] })
    };
    let counted = |s: &mut Standalone| {
        let request = MultipartRequest { more: false, body: Request::Group(GroupId::ALL) };
        match &s.control(Message::MultipartRequest(request))[..] {
            [Message::MultipartReply(reply)] => match &reply.body {
                Reply::Group(groups) => groups.iter().map(|g| g.packets).collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let through =
        |s: &mut Standalone, worker| s.process(worker, PortNo(1), packet::Frame::from_bytes(&udp())).len();
    s.control(group(GroupModCommand::Add));
    s.flow(flow(1, Match::new(), apply(vec![Action::Group(GroupId(1))])));
    assert_eq!((through(&mut s, 0), through(&mut s, 1)), (1, 1));
    assert_eq!(counted(&mut s), [2]);
    // Deleted and added again; the second worker has not heard of it yet.
    s.submit(group(GroupModCommand::Delete));
    s.submit(group(GroupModCommand::Add));
    s.submit(Message::FlowMod(flow(1, Match::new(), apply(vec![Action::Group(GroupId(1))]))));
    s.carry_effects();
    s.obey_one(0);
    assert_eq!((through(&mut s, 0), through(&mut s, 1)), (1, 1));
    s.settle();
    s.messages();
    assert_eq!(counted(&mut s), [1], "the frame of the second worker went through the old group");
}

#[test]
fn a_rewrite_changes_nothing_of_a_frame_that_lacks_the_field() {
    let mut s = switch();
    let rewrite = vec![Action::Rewrite(Rewrite::PortSrc(0)), Action::Rewrite(Rewrite::PortDst(0))];
    let next = Instruction::GotoTable(TableId(1));
    s.flow(flow(1, Match::new(), vec![Instruction::ApplyActions(rewrite), next]));
    // The type of an ICMP message lies where a port would.
    let of_type =
        |kind: u128| Match::new().ip_proto(1).with(Oxm::new(Field::Icmpv4Type, kind)).expect("ICMP");
    for (kind, port) in [(0, 2), (8, 3)] {
        s.flow(FlowMod::add(TableId(1), Priority(1), of_type(kind), apply(vec![output(port)])));
    }
    let ping = build::ethernet(A, B).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).echo_request(1, 1, b"ping");
    assert_eq!(s.receive(PortNo(1), &ping), [(PortNo(3), ping)]);
}
