//! Bundles (1.4 §6.9, §7.3.9): all of it or nothing, for frames and for tables.

use core::time::Duration;

use openflow::error::{BadAction, BadRequest, BundleFailed, FlowModFailed, GroupModFailed, PortModFailed};
use openflow::{
    Action, Band, BandKind, Bucket, BundleAdd, BundleControl, BundleControlKind as Kind, BundleFlags, Cookie,
    ErrorKind, FlowMod, FlowModCommand, FlowModFlags, FlowStatsRequest, GroupDesc, GroupId, GroupMod,
    GroupModCommand, GroupType, Instruction, Match, Message, MeterFlags, MeterId, MeterMod, MeterModCommand,
    MultipartRequest, Oxm, PacketOut, PortConfig, PortDesc, PortMod, PortNo, Priority, Request, Role,
    RoleRequest, TableId, Xid, ports,
};
use packet::{Frame, MacAddr, build};
use proptest::prelude::*;
use proptest::sample::select;
use vswitch::oracle::Oracle;
use vswitch::standalone::{CONN, Standalone};
use vswitch::{ConnId, Effect, SwitchConfig};

const N_PORTS: u32 = 4;
const N_WORKERS: usize = 2;

fn switch() -> Standalone {
    let config = SwitchConfig { seed: Some(1), n_workers: N_WORKERS, n_tables: 4, ..SwitchConfig::default() };
    Standalone::new(config, N_PORTS)
}

fn control(bundle: u32, kind: Kind) -> Message {
    Message::BundleControl(BundleControl { bundle, kind, flags: BundleFlags::ATOMIC })
}

/// Puts a message into a bundle, under the transaction it is sent with.
fn add(s: &mut Standalone, bundle: u32, message: Message) -> Vec<Message> {
    let xid = s.upcoming_xid();
    let flags = BundleFlags::ATOMIC;
    s.control(Message::BundleAdd(BundleAdd { bundle, flags, xid, message: Box::new(message) }))
}

fn refused(messages: &[Message]) -> Vec<ErrorKind> {
    let kinds = messages.iter().map(|message| match message {
        Message::Error(error) => error.kind,
        other => panic!("not an error: {other:?}"),
    });
    kinds.collect()
}

fn is(kind: Kind) -> impl Fn(Vec<Message>) -> bool {
    move |messages| matches!(&messages[..], [Message::BundleControl(c)] if c.kind == kind)
}

fn flow(priority: u16, matches: Match, port: u32) -> FlowMod {
    let apply = vec![Instruction::ApplyActions(vec![Action::output(PortNo(port))])];
    FlowMod::add(TableId(0), Priority(priority), matches, apply)
}

fn frame(n: u8) -> Vec<u8> {
    let (from, to) = (MacAddr([2, 0, 0, 0, 0, n]), MacAddr([2, 0, 0, 0, 0, n % 3]));
    build::ethernet(from, to).ipv4([10, 0, 0, n], [10, 0, n % 2, n % 4]).udp(1000, 2000 + u16::from(n), b"x")
}

fn n_flows(s: &mut Standalone) -> usize {
    s.state().iter().map(|line| usize::from(line.starts_with("FlowStats"))).sum()
}

#[test]
fn a_bundle_takes_effect_when_it_is_committed() {
    let mut s = switch();
    assert!(is(Kind::OpenReply)(s.control(control(7, Kind::OpenRequest))));
    assert_eq!(add(&mut s, 7, Message::FlowMod(flow(1, Match::new(), 2))), []);
    assert_eq!((n_flows(&mut s), s.receive(PortNo(1), &frame(1))), (0, vec![]));
    assert!(is(Kind::CloseReply)(s.control(control(7, Kind::CloseRequest))));
    assert!(is(Kind::CommitReply)(s.control(control(7, Kind::CommitRequest))));
    assert_eq!((n_flows(&mut s), s.receive(PortNo(1), &frame(1)).len()), (1, 1));
    assert_eq!(
        refused(&s.control(control(7, Kind::CommitRequest))),
        [BundleFailed::BadId.into()],
        "it is gone"
    );
    assert!(is(Kind::OpenReply)(s.control(control(7, Kind::OpenRequest))), "its number is free again");
    assert!(
        is(Kind::CommitReply)(s.control(control(7, Kind::CommitRequest))),
        "nothing in it, nothing to fail"
    );
}

#[test]
fn the_commit_is_answered_when_every_worker_forwards_by_it() {
    let mut s = switch();
    add(&mut s, 1, Message::FlowMod(flow(1, Match::new(), 2)));
    s.submit(control(1, Kind::CommitRequest));
    s.carry_effects();
    for worker in 0..N_WORKERS {
        assert_eq!(s.messages(), [], "worker {worker} has not adopted it");
        s.obey_one(worker);
        while s.report_one() {}
        s.carry_effects();
    }
    assert!(is(Kind::CommitReply)(s.messages()));
}

#[test]
fn a_discarded_bundle_leaves_no_trace() {
    let mut s = switch();
    let before = s.state();
    assert_eq!(
        add(&mut s, 7, Message::FlowMod(flow(1, Match::new(), 2))),
        [],
        "it is made by its first message"
    );
    assert!(is(Kind::DiscardReply)(s.control(control(7, Kind::DiscardRequest))));
    assert_eq!(refused(&s.control(control(7, Kind::DiscardRequest))), [BundleFailed::BadId.into()]);
    assert_eq!(s.state(), before);
}

#[test]
fn misuse_has_the_errors_of_the_standard() {
    let mut s = switch();
    let flow = || Message::FlowMod(flow(1, Match::new(), 2));
    let bad_id = [BundleFailed::BadId.into()];
    for kind in [Kind::CloseRequest, Kind::CommitRequest, Kind::DiscardRequest] {
        assert_eq!(refused(&s.control(control(1, kind))), bad_id, "{kind:?}");
    }
    for kind in [Kind::OpenReply, Kind::CloseReply, Kind::CommitReply, Kind::DiscardReply] {
        assert_eq!(refused(&s.control(control(1, kind))), [BundleFailed::BadType.into()], "{kind:?}");
    }
    // Opened twice: refused, and the first is discarded.
    s.control(control(1, Kind::OpenRequest));
    assert_eq!(refused(&s.control(control(1, Kind::OpenRequest))), bad_id);
    assert_eq!(refused(&s.control(control(1, Kind::CommitRequest))), bad_id);
    // Closed: nothing more comes in, and it is discarded.
    for late in [control(2, Kind::CloseRequest), Message::Hello(openflow::Hello::default())] {
        s.control(control(2, Kind::OpenRequest));
        s.control(control(2, Kind::CloseRequest));
        let replies = match late {
            Message::BundleControl(_) => s.control(late),
            _ => add(&mut s, 2, flow()),
        };
        assert_eq!(refused(&replies), [BundleFailed::BundleClosed.into()]);
        assert_eq!(refused(&s.control(control(2, Kind::CommitRequest))), bad_id);
    }
    // Other flags than it was opened with: discarded.
    for kind in [Kind::CloseRequest, Kind::CommitRequest, Kind::DiscardRequest] {
        s.control(control(3, Kind::OpenRequest));
        let other = BundleControl { bundle: 3, kind, flags: BundleFlags::ORDERED };
        assert_eq!(refused(&s.control(Message::BundleControl(other))), [BundleFailed::BadFlags.into()]);
        assert_eq!(refused(&s.control(control(3, Kind::CommitRequest))), bad_id, "{kind:?}");
    }
    // Messages that do not go in leave the bundle as it is.
    s.control(control(4, Kind::OpenRequest));
    let unsupported = [Message::BarrierRequest, Message::EchoRequest(vec![]), Message::FeaturesRequest];
    for message in unsupported {
        assert_eq!(refused(&add(&mut s, 4, message)), [BundleFailed::MsgUnsup.into()]);
    }
    let flags = BundleFlags::ATOMIC;
    let wrong = BundleAdd { bundle: 4, flags, xid: Xid(0xdead), message: Box::new(flow()) };
    assert_eq!(refused(&s.control(Message::BundleAdd(wrong))), [BundleFailed::MsgBadXid.into()]);
    assert!(is(Kind::CommitReply)(s.control(control(4, Kind::CommitRequest))));
    assert_eq!(n_flows(&mut s), 0);
}

#[test]
fn bundles_are_bounded() {
    let config = SwitchConfig { max_bundle_bytes: 100_000, ..SwitchConfig::default() };
    let mut s = Standalone::new(config, 1);
    let accepted = (0..1000).take_while(|&n| {
        let replies = add(&mut s, 1, Message::FlowMod(flow(n, Match::new().tcp_dst(n), 1)));
        replies.is_empty() || refused(&replies) != [BundleFailed::MsgTooMany.into()]
    });
    let accepted = accepted.count();
    assert!((50..400).contains(&accepted), "{accepted} messages in 100 kB");
    assert_eq!(
        refused(&add(&mut s, 2, Message::FlowMod(flow(1, Match::new().tcp_dst(9), 1)))),
        [BundleFailed::MsgTooMany.into()]
    );
    assert!(is(Kind::CommitReply)(s.control(control(1, Kind::CommitRequest))), "what went in stands");
    assert_eq!(n_flows(&mut s), accepted);
    assert_eq!(add(&mut s, 2, Message::FlowMod(flow(1, Match::new(), 1))), [], "there is room again");
    let opened = (10..1000).take_while(|&n| is(Kind::OpenReply)(s.control(control(n, Kind::OpenRequest))));
    let opened = opened.count() as u32;
    assert!(opened < 100, "{opened} bundles");
    assert_eq!(
        refused(&s.control(control(10 + opened, Kind::OpenRequest))),
        [BundleFailed::OutOfBundles.into()]
    );
    s.control(control(10, Kind::DiscardRequest));
    assert!(is(Kind::OpenReply)(s.control(control(5000, Kind::OpenRequest))));
}

#[test]
fn a_bundle_that_nothing_comes_for_expires() {
    let mut s = switch();
    s.control(control(1, Kind::OpenRequest));
    s.advance(Duration::from_secs(8));
    assert_eq!(add(&mut s, 1, Message::FlowMod(flow(1, Match::new(), 2))), []);
    s.advance(Duration::from_secs(8));
    assert_eq!(s.messages(), [], "something came for it");
    s.advance(Duration::from_secs(3));
    assert_eq!(refused(&s.messages()), [BundleFailed::Timeout.into()]);
    assert_eq!(refused(&s.control(control(1, Kind::CommitRequest))), [BundleFailed::BadId.into()]);
    assert_eq!(s.switch.poll_timeout(), None);
}

#[test]
fn bundles_belong_to_a_connection_that_may_change_things() {
    let mut s = switch();
    let other = ConnId(9);
    s.switch.handle_connected(s.now, other);
    s.control(control(1, Kind::OpenRequest));
    let ask = |s: &mut Standalone, kind| {
        s.switch.handle_message(s.now, other, Xid(5), control(1, kind));
        let effect = core::iter::from_fn(|| s.switch.poll_effect()).find_map(|effect| match effect {
            Effect::Send { conn, message, .. } if conn == other => Some(message),
            _ => None,
        });
        vec![effect.expect("an answer")]
    };
    assert_eq!(refused(&ask(&mut s, Kind::CommitRequest)), [BundleFailed::BadId.into()]);
    assert!(is(Kind::OpenReply)(ask(&mut s, Kind::OpenRequest)));
    s.switch.handle_disconnected(s.now, other);
    s.switch.handle_connected(s.now, other);
    assert_eq!(
        refused(&ask(&mut s, Kind::CommitRequest)),
        [BundleFailed::BadId.into()],
        "it went with its session"
    );
    let role = RoleRequest { role: Role::Slave, generation: 1 };
    s.control(Message::RoleRequest(role));
    let is_slave = [BadRequest::IsSlave.into()];
    assert_eq!(refused(&s.control(control(1, Kind::CommitRequest))), is_slave);
    assert_eq!(refused(&add(&mut s, 1, Message::FlowMod(flow(1, Match::new(), 2)))), is_slave);
}

#[test]
fn the_error_of_the_message_that_failed_comes_first() {
    let mut s = switch();
    let xid = s.upcoming_xid();
    let bad = FlowMod { table: TableId(200), ..flow(1, Match::new(), 1) };
    let flags = BundleFlags::ATOMIC;
    let bad = BundleAdd { bundle: 1, flags, xid, message: Box::new(Message::FlowMod(bad)) };
    s.switch.handle_bundle_add(s.now, CONN, xid, bad, b"its first bytes");
    s.switch.handle_message(s.now, CONN, Xid(999), control(1, Kind::CommitRequest));
    let sent = core::iter::from_fn(|| s.switch.poll_effect()).filter_map(|effect| match effect {
        Effect::Send { xid, message: Message::Error(error), .. } => Some((xid, error.kind, error.data)),
        _ => None,
    });
    let expected = [
        (xid, FlowModFailed::BadTableId.into(), b"its first bytes".to_vec()),
        (Xid(999), BundleFailed::MsgFailed.into(), vec![]),
    ];
    assert_eq!(sent.collect::<Vec<_>>(), expected);
}

#[test]
fn packet_outs_go_by_the_tables_the_bundle_leaves() {
    let mut s = switch();
    let out = PacketOut {
        buffer: None,
        in_port: PortNo(1),
        actions: vec![Action::output(ports::TABLE)],
        data: frame(1),
    };
    add(&mut s, 1, Message::PacketOut(out.clone()));
    add(&mut s, 1, Message::FlowMod(flow(1, Match::new(), 3)));
    s.control(control(1, Kind::CommitRequest));
    assert_eq!(s.outputs(), [(PortNo(3), frame(1))]);
    add(&mut s, 1, Message::PacketOut(out));
    add(&mut s, 1, Message::FlowMod(FlowMod { table: TableId(99), ..flow(1, Match::new(), 3) }));
    s.control(control(1, Kind::CommitRequest));
    assert_eq!(s.outputs(), [], "nothing of a bundle that fails is done");
}

/// A packet-out waits for the flow mods before it, whatever the workers hold.
#[test]
fn packet_outs_wait_until_what_was_asked_before_is_published() {
    let mut s = switch();
    for n in 1..=3 {
        s.submit(Message::FlowMod(flow(n, Match::new(), u32::from(n) + 1)));
        s.carry_effects();
    }
    let actions = vec![Action::output(ports::TABLE)];
    s.submit(Message::PacketOut(PacketOut { buffer: None, in_port: PortNo(1), actions, data: frame(1) }));
    s.settle();
    assert_eq!(s.outputs(), [(PortNo(4), frame(1))]);
}

fn matches() -> impl Strategy<Value = Match> {
    let mac = |n: u8| MacAddr([2, 0, 0, 0, 0, n]);
    prop_oneof![
        Just(Match::new()),
        (1..=N_PORTS).prop_map(|port| Match::new().in_port(PortNo(port))),
        (0u8..3).prop_map(move |n| Match::new().eth_dst(mac(n))),
        (0u8..2, 0u8..4, select(vec![8, 24, 32]))
            .prop_map(|(a, b, len)| { Match::new().ipv4_dst([10, 0, a, b].into(), len) }),
        (1..=N_PORTS, 0u16..3).prop_map(|(port, to)| Match::new().in_port(PortNo(port)).udp_dst(2000 + to)),
    ]
}

fn instructions() -> impl Strategy<Value = Vec<Instruction>> {
    let action = prop_oneof![
        4 => (1..=N_PORTS).prop_map(|port| Action::output(PortNo(port))),
        1 => (1u32..4).prop_map(|group| Action::Group(GroupId(group))),
        1 => (0u8..3).prop_map(|n| {
            Action::SetField(Oxm::mac(openflow::Field::EthDst, MacAddr([2, 0, 0, 0, 0, n])))
        }),
    ];
    let actions = prop::collection::vec(action, 0..3);
    (actions.clone(), actions, prop::option::weighted(0.3, 1u8..4)).prop_map(|(apply, write, goto)| {
        let mut all = vec![Instruction::ApplyActions(apply), Instruction::WriteActions(write)];
        all.extend(goto.map(|table| Instruction::GotoTable(TableId(table))));
        all
    })
}

fn flow_mod() -> impl Strategy<Value = FlowMod> {
    use FlowModCommand::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
    let commands = vec![Add, Add, Add, Add, Modify, ModifyStrict, Delete, DeleteStrict];
    let place = (0u8..4, 0u16..3, 0u64..3, select(vec![0u64, 1, 3]));
    let timeouts = (select(vec![0u16, 5]), select(vec![0u16, 9]), 0u16..32);
    (select(commands), place, timeouts, matches(), instructions()).prop_map(
        |(command, (table, priority, cookie, cookie_mask), (idle, hard, flags), matches, instructions)| {
            FlowMod {
                command,
                table: TableId(table),
                priority: Priority(priority),
                cookie: Cookie(cookie),
                cookie_mask,
                idle_timeout: idle,
                hard_timeout: hard,
                flags: FlowModFlags(flags & !FlowModFlags::CHECK_OVERLAP.0 | flags >> 4 << 1),
                matches,
                instructions,
                ..FlowMod::default()
            }
        },
    )
}

fn group_mod() -> impl Strategy<Value = GroupMod> {
    use GroupModCommand::{Add, Delete, Modify};
    let bucket = prop_oneof![
        3 => (1..=N_PORTS).prop_map(|port| Action::output(PortNo(port))),
        1 => (1u32..4).prop_map(|group| Action::Group(GroupId(group))),
    ];
    let bucket = bucket.prop_map(|action| Bucket {
        weight: 0,
        watch_port: None,
        watch_group: None,
        actions: vec![action],
    });
    (select(vec![Add, Add, Modify, Delete]), 1u32..4, prop::collection::vec(bucket, 0..3)).prop_map(
        |(command, group, buckets)| GroupMod {
            command,
            group_type: GroupType::All,
            group: GroupId(group),
            buckets,
        },
    )
}

fn port_mod() -> impl Strategy<Value = PortMod> {
    let bits = vec![PortConfig::PORT_DOWN, PortConfig::NO_RECV, PortConfig::NO_FWD];
    (1..=N_PORTS, select(bits), any::<bool>()).prop_map(|(port, bit, on)| PortMod {
        port: PortNo(port),
        mac: MacAddr::from_u64(0x0200_0000_ff00 | u64::from(port)),
        config: if on { bit } else { PortConfig(0) },
        mask: bit,
        advertise: openflow::PortFeatures(0),
    })
}

fn meter_mod() -> impl Strategy<Value = MeterMod> {
    use MeterModCommand::{Add, Delete, Modify};
    (select(vec![Add, Modify, Delete]), 1u32..3, 1u32..100).prop_map(|(command, meter, rate)| MeterMod {
        command,
        flags: MeterFlags::PKTPS,
        meter: MeterId(meter),
        bands: vec![Band { kind: BandKind::Drop, rate, burst: 0 }],
    })
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        8 => flow_mod().prop_map(Message::FlowMod),
        2 => group_mod().prop_map(Message::GroupMod),
        1 => port_mod().prop_map(Message::PortMod),
        1 => meter_mod().prop_map(Message::MeterMod),
    ]
}

/// A message that every switch refuses.
fn bad() -> impl Strategy<Value = Message> {
    let group = |command, group| {
        let (group_type, buckets) = (GroupType::All, vec![]);
        Message::GroupMod(GroupMod { command, group_type, group: GroupId(group), buckets })
    };
    let mut unknown_group = flow(1, Match::new(), 1);
    unknown_group.instructions = vec![Instruction::ApplyActions(vec![Action::Group(GroupId(77))])];
    let mut output = PortMod {
        port: PortNo(99),
        mac: MacAddr::BROADCAST,
        config: PortConfig(0),
        mask: PortConfig(0),
        advertise: openflow::PortFeatures(0),
    };
    let unknown_port = Message::PortMod(output.clone());
    output.port = PortNo(1);
    select(vec![
        Message::FlowMod(FlowMod { table: TableId(9), ..flow(1, Match::new(), 1) }),
        Message::FlowMod(unknown_group),
        group(GroupModCommand::Modify, 77),
        unknown_port,
        Message::PortMod(output),
    ])
}

fn errors_of_bad() -> Vec<ErrorKind> {
    vec![
        FlowModFailed::BadTableId.into(),
        BadAction::BadOutGroup.into(),
        GroupModFailed::UnknownGroup.into(),
        PortModFailed::BadPort.into(),
        PortModFailed::BadHwAddr.into(),
    ]
}

/// Puts messages into a bundle and commits it; nothing is carried yet.
fn submit_bundle(s: &mut Standalone, messages: &[Message]) {
    for message in messages {
        let xid = s.upcoming_xid();
        let (bundle, flags, message) = (1, BundleFlags::ATOMIC, Box::new(message.clone()));
        s.submit(Message::BundleAdd(BundleAdd { bundle, flags, xid, message }));
    }
    s.submit(control(1, Kind::CommitRequest));
}

fn oracle() -> Oracle {
    let port = |n: u32| {
        PortDesc::new(PortNo(n), MacAddr::from_u64(0x0200_0000_ff00 | u64::from(n)), format!("p{n}"))
    };
    Oracle::new((1..=N_PORTS).map(port).collect())
}

/// As a switch does it that accepts the message; meters are not the oracle's business here.
fn apply(oracle: &mut Oracle, message: &Message) {
    match message {
        Message::FlowMod(m) => drop(oracle.flow_mod(m)),
        Message::GroupMod(m) if m.command == GroupModCommand::Delete => {
            oracle.groups.retain(|g| g.group != m.group);
            let uses = |i: &Instruction| match i {
                Instruction::ApplyActions(a) | Instruction::WriteActions(a) => {
                    a.contains(&Action::Group(m.group))
                }
                _ => false,
            };
            oracle.flows.retain(|f| !f.instructions.iter().any(uses));
        }
        Message::GroupMod(m) => {
            oracle.groups.retain(|g| g.group != m.group);
            let (group_type, group, buckets) = (m.group_type, m.group, m.buckets.clone());
            oracle.groups.push(GroupDesc { group_type, group, buckets });
        }
        Message::PortMod(m) => {
            let port = oracle.ports.iter_mut().find(|p| p.port == m.port).expect("it exists");
            port.config = PortConfig(port.config.0 & !m.mask.0 | m.config.0);
        }
        _ => {}
    }
}

/// Leaves out what a switch in this state refuses, and does the rest.
fn accepted(s: &mut Standalone, oracle: &mut Oracle, messages: Vec<Message>) -> Vec<Message> {
    let is_error = |message: &Message| matches!(message, Message::Error(_));
    let keep = |message: &Message| !s.control(message.clone()).iter().any(is_error);
    let kept: Vec<_> = messages.into_iter().filter(keep).collect();
    kept.iter().for_each(|message| apply(oracle, message));
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Between all orders, on each worker, every frame meets the tables before the bundle or those after it.
    #[test]
    fn no_frame_meets_half_a_bundle(
        base in prop::collection::vec(message(), 0..20),
        bundle in prop::collection::vec(message(), 1..20),
        turns in prop::collection::vec(0..N_WORKERS + 2, 1..12),
    ) {
        let (mut s, mut before) = (switch(), oracle());
        let base = accepted(&mut s, &mut before, base);
        // Another switch says which messages of the bundle can be accepted.
        let (mut twin, mut after) = (switch(), oracle());
        accepted(&mut twin, &mut after, base);
        let bundle = accepted(&mut twin, &mut after, bundle);
        if bundle.is_empty() {
            return Ok(());
        }
        let first = s.switch.epoch();
        submit_bundle(&mut s, &bundle);
        for turn in turns.into_iter().chain([0, 1, 2, 3, 0, 1, 2, 3]) {
            match turn {
                2 => s.carry_effects(),
                3 => drop(s.report_one()),
                worker => drop(s.obey_one(worker)),
            }
            for worker in 0..N_WORKERS {
                let judge = if s.workers[worker].epoch() == first { &before } else { &after };
                for n in 0..6u8 {
                    let port = PortNo(1 + u32::from(n) % N_PORTS);
                    let sent = s.process(worker, port, Frame::from_bytes(&frame(n)));
                    prop_assert_eq!(&sent, &judge.process(port, &frame(n)).outputs, "worker {}", worker);
                }
            }
        }
        s.settle();
        let replies = s.messages();
        let last: Vec<_> = replies.last().cloned().into_iter().collect();
        prop_assert!(is(Kind::CommitReply)(last), "{:?}", replies);
        // Packets and bytes were counted on one of the two only.
        prop_assert_eq!(s.state_without_counters(), twin.state_without_counters());
    }

    /// A bundle that fails, wherever it does, leaves a switch that cannot be told from one that never saw it: neither by
    /// what it says of itself, nor by what it does later.
    #[test]
    fn a_bundle_that_fails_leaves_no_trace(
        base in prop::collection::vec(message(), 0..20),
        bundle in prop::collection::vec(message(), 0..12),
        bad in bad(),
        later in prop::collection::vec(message(), 0..20),
    ) {
        let (mut s, mut twin) = (switch(), switch());
        let base = accepted(&mut s, &mut oracle(), base);
        accepted(&mut twin, &mut oracle(), base.clone());
        // What the bundle accepts, so that it fails where it should.
        let mut scratch = switch();
        accepted(&mut scratch, &mut oracle(), base);
        let bundle = accepted(&mut scratch, &mut oracle(), bundle);
        for at in 0..=bundle.len() {
            let mut failing = bundle[..at].to_vec();
            failing.push(bad.clone());
            failing.extend_from_slice(&bundle[at..]);
            submit_bundle(&mut s, &failing);
            s.settle();
            let errors = refused(&s.messages());
            prop_assert!(errors.len() == 2 && errors_of_bad().contains(&errors[0]), "{:?}", errors);
            prop_assert_eq!(errors[1], BundleFailed::MsgFailed.into());
            prop_assert_eq!(s.state(), twin.state(), "failing at {}", at);
        }
        for message in later {
            prop_assert_eq!(s.control(message.clone()), twin.control(message));
        }
        for n in 0..6u8 {
            let port = PortNo(1 + u32::from(n) % N_PORTS);
            prop_assert_eq!(s.receive(port, &frame(n)), twin.receive(port, &frame(n)));
        }
        for s in [&mut s, &mut twin] {
            s.advance(Duration::from_secs(20));
        }
        prop_assert_eq!(s.messages(), twin.messages(), "what expires says so");
        prop_assert_eq!(s.state(), twin.state());
    }
}

/// Everything a switch says of itself, sorted.
trait State {
    fn state(&mut self) -> Vec<String>;
    fn state_without_counters(&mut self) -> Vec<String>;
}

impl State for Standalone {
    fn state(&mut self) -> Vec<String> {
        let kept = self.messages();
        assert_eq!(kept, [], "messages are to be read before");
        let requests = [
            Request::Flow(FlowStatsRequest::default()),
            Request::Table,
            Request::Group(GroupId::ALL),
            Request::GroupDesc,
            Request::MeterConfig(MeterId::ALL),
            Request::PortDesc,
        ];
        let mut lines = Vec::new();
        for body in requests {
            for reply in self.control(Message::MultipartRequest(MultipartRequest { more: false, body })) {
                lines.extend(entries(&reply));
            }
        }
        lines.sort();
        lines
    }

    fn state_without_counters(&mut self) -> Vec<String> {
        let mut lines = self.state();
        lines.retain(|line| !line.starts_with("GroupStats") && !line.starts_with("TableStats"));
        for line in &mut lines {
            if let Some((head, rest)) = line.split_once("packets: ") {
                let tail = rest.split_once("matches: ").map_or("", |(_, tail)| tail);
                *line = format!("{head}{tail}");
            }
        }
        lines.sort();
        lines
    }
}

fn entries(reply: &Message) -> Vec<String> {
    fn each<T: core::fmt::Debug>(all: &[T]) -> Vec<String> {
        all.iter().map(|one| format!("{one:?}")).collect()
    }
    let Message::MultipartReply(reply) = reply else { panic!("{reply:?}") };
    match &reply.body {
        openflow::Reply::Flow(all) => each(all),
        openflow::Reply::Table(all) => each(all),
        openflow::Reply::Group(all) => each(all),
        openflow::Reply::GroupDesc(all) => each(all),
        openflow::Reply::MeterConfig(all) => each(all),
        openflow::Reply::PortDesc(all) => each(all),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hundred_thousand_flows_are_switched_at_once() {
    let mut s = switch();
    let n = 100_000u32;
    let mac = |n: u32| MacAddr::from_u64(0x0600_0000_0000 | u64::from(n));
    let probe = |n: u32| build::ethernet(MacAddr([2; 6]), mac(n)).ipv4([1; 4], [2; 4]).udp(1, 2, b"");
    s.flow(flow(0, Match::new(), 2));
    for at in 0..n {
        let xid = s.upcoming_xid();
        let message = Box::new(Message::FlowMod(flow(1, Match::new().eth_dst(mac(at)), 3)));
        s.submit(Message::BundleAdd(BundleAdd { bundle: 1, flags: BundleFlags::ATOMIC, xid, message }));
    }
    s.settle();
    let epoch = s.switch.epoch();
    s.submit(control(1, Kind::CommitRequest));
    s.carry_effects();
    assert_eq!(s.switch.epoch(), epoch + 1, "one snapshot");
    for (worker, at) in [(0, 0), (1, n / 2), (0, n - 1)] {
        assert_eq!(s.process(worker, PortNo(1), Frame::from_bytes(&probe(at)))[0].0, PortNo(2), "before");
    }
    s.settle();
    for (worker, at) in [(0, 0), (1, n / 2), (0, n - 1)] {
        assert_eq!(s.process(worker, PortNo(1), Frame::from_bytes(&probe(at)))[0].0, PortNo(3), "after");
    }
    assert!(is(Kind::CommitReply)(s.messages()));
}

/// What other controllers hear of group and meter mods (1.4 §7.4.6): those of a bundle that took effect, no others.
#[test]
fn requests_of_a_bundle_are_forwarded_when_it_takes_effect() {
    let mut s = switch();
    let other = ConnId(9);
    s.switch.handle_connected(s.now, other);
    let ask = openflow::AsyncChange { request_forward: [Some(0b11); 2], ..openflow::AsyncChange::default() };
    s.switch.handle_message(s.now, other, Xid(1), Message::SetAsync(ask));
    s.settle();
    let group = |group| {
        let (command, group_type, buckets) = (GroupModCommand::Add, GroupType::All, vec![]);
        Message::GroupMod(GroupMod { command, group_type, group: GroupId(group), buckets })
    };
    let mut forwarded = |messages: &[Message]| {
        submit_bundle(&mut s, messages);
        let effects: Vec<_> = core::iter::from_fn(|| s.switch.poll_effect()).collect();
        let heard = effects.iter().filter_map(|effect| match effect {
            Effect::Send { conn, message: Message::RequestForward(f), .. } if *conn == other => {
                Some((*f.request).clone())
            }
            _ => None,
        });
        heard.collect::<Vec<_>>()
    };
    assert_eq!(forwarded(&[group(1), group(1)]), [], "the second fails");
    assert_eq!(
        forwarded(&[group(1), Message::FlowMod(flow(1, Match::new(), 2)), group(2)]),
        [group(1), group(2)]
    );
}

/// A packet that a flow mod of a bundle names goes through the tables, even if the bundle changes none of them; it waits on
/// if the bundle fails.
#[test]
fn a_buffered_packet_goes_with_the_bundle_that_names_it() {
    let mut s = switch();
    let punt = vec![Instruction::ApplyActions(vec![Action::controller(10)])];
    s.flow(FlowMod::add(TableId(0), Priority(1), Match::new(), punt));
    assert_eq!(s.receive(PortNo(1), &frame(1)), []);
    let buffer = match &s.messages()[..] {
        [Message::PacketIn(packet)] => packet.buffer,
        other => panic!("{other:?}"),
    };
    assert!(buffer.is_some());
    s.flow(flow(1, Match::new(), 3));
    let command = FlowModCommand::Modify;
    let nothing = FlowMod { command, buffer, ..flow(1, Match::new().tcp_dst(9), 3) };
    let bad = FlowMod { table: TableId(99), ..flow(1, Match::new(), 3) };
    submit_bundle(&mut s, &[Message::FlowMod(nothing.clone()), Message::FlowMod(bad)]);
    s.settle();
    assert_eq!(refused(&s.messages())[1], BundleFailed::MsgFailed.into());
    assert_eq!(s.outputs(), []);
    submit_bundle(&mut s, &[Message::FlowMod(nothing)]);
    s.settle();
    assert!(is(Kind::CommitReply)(s.messages()));
    assert_eq!(s.outputs(), [(PortNo(3), frame(1))]);
}
