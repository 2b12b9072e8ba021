//! Several controllers on one switch: roles, wishes, forwarded requests, auxiliary connections.

use openflow::error::{BadRequest, RoleRequestFailed};
use openflow::{
    Action, AsyncChange, Dpid, ErrorKind, FlowMod, GroupId, GroupMod, GroupModCommand, GroupType,
    Instruction, Match, Message, PortNo, Priority, Role, RoleReason, RoleRequest, TableId, Xid, ports,
};
use packet::{MacAddr, build};
use vswitch::standalone::{CONN, Standalone};
use vswitch::{ConnId, SwitchConfig};

const A: ConnId = CONN;
const B: ConnId = ConnId(CONN.0 + 1);
const C: ConnId = ConnId(CONN.0 + 2);
const AUX: [ConnId; 2] = [ConnId(CONN.0 + 10), ConnId(CONN.0 + 11)];

/// A switch with three controllers that sends everything to them.
fn switch() -> Standalone {
    let config = SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::new(Dpid(1), "s1") };
    let mut s = Standalone::new(config, 3);
    for conn in [B, C] {
        s.switch.handle_connected(s.now, conn);
    }
    let punt = Instruction::ApplyActions(vec![Action::Output { port: ports::CONTROLLER, max_len: 0xffff }]);
    s.flow(FlowMod::add(TableId(0), Priority(0), Match::new(), vec![punt]));
    s.all_messages();
    s
}

fn say(s: &mut Standalone, conn: ConnId, message: Message) -> Vec<(ConnId, Message)> {
    s.switch.handle_message(s.now, conn, Xid(77), message);
    s.settle();
    s.all_messages().into_iter().map(|(conn, _, message)| (conn, message)).collect()
}

fn role(role: Role, generation: u64) -> Message {
    Message::RoleRequest(RoleRequest { role, generation })
}

fn frame(s: &mut Standalone, port: u32) -> Vec<ConnId> {
    let (a, b) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    s.receive(PortNo(port), &build::ethernet(a, b).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1, 2, b"hello"));
    s.settle();
    let is_packet = |message: &Message| matches!(message, Message::PacketIn(_));
    s.all_messages().into_iter().filter(|(.., m)| is_packet(m)).map(|(conn, ..)| conn).collect()
}

fn group(command: GroupModCommand) -> Message {
    let (group_type, group) = (GroupType::All, GroupId(1));
    Message::GroupMod(GroupMod { command, group_type, group, ..no_group() })
}

fn no_group() -> GroupMod {
    GroupMod { command: GroupModCommand::Add, group_type: GroupType::All, group: GroupId(1), buckets: vec![] }
}

fn error(replies: &[(ConnId, Message)]) -> ErrorKind {
    match replies {
        [(_, Message::Error(error))] => error.kind,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_new_master_makes_the_old_one_a_slave_and_says_so() {
    let mut s = switch();
    assert_eq!(frame(&mut s, 1), [A, B, C], "all are equal");
    let generation = 5;
    let reply = Message::RoleReply(RoleRequest { role: Role::Master, generation });
    assert_eq!(say(&mut s, A, role(Role::Master, 5)), [(A, reply)]);
    assert_eq!(frame(&mut s, 1), [A, B, C], "equals stay equals");
    say(&mut s, C, role(Role::Slave, 5));
    let told = say(&mut s, B, role(Role::Master, 6));
    let [(A, Message::RoleStatus(status)), (B, Message::RoleReply(_))] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((status.role, status.reason, status.generation), (Role::Slave, RoleReason::MasterRequest, 6));
    assert_eq!(frame(&mut s, 1), [B], "slaves get no packets");

    // §6.3.5: stale generations are refused, on the circle of 64 bits; looking changes nothing.
    let stale = ErrorKind::from(RoleRequestFailed::Stale);
    assert_eq!(error(&say(&mut s, A, role(Role::Master, 5))), stale);
    assert_eq!(error(&say(&mut s, C, role(Role::Slave, 6 + (1 << 63)))), stale);
    assert_eq!(error(&say(&mut s, C, role(Role::Slave, 5))), stale);
    let slave = Message::RoleReply(RoleRequest { role: Role::Slave, generation: 6 });
    assert_eq!(say(&mut s, A, role(Role::NoChange, 0)), [(A, slave)]);

    // Slaves may read and not write; the port's changes they are told.
    let write = FlowMod::add(TableId(1), Priority(1), Match::new(), vec![]);
    let is_slave = ErrorKind::from(BadRequest::IsSlave);
    assert_eq!(error(&say(&mut s, A, Message::FlowMod(write.clone()))), is_slave);
    assert_eq!(error(&say(&mut s, C, group(GroupModCommand::Add))), is_slave);
    assert!(matches!(say(&mut s, A, Message::BarrierRequest)[..], [(A, Message::BarrierReply)]));
    assert!(say(&mut s, B, Message::FlowMod(write)).is_empty());
    s.switch.set_port_link(s.now, PortNo(2), false);
    s.settle();
    let told: Vec<_> = s.all_messages().into_iter().map(|(conn, ..)| conn).collect();
    assert_eq!(told, [A, B, C]);

    // The master leaves: nobody is promoted, and the generation outlives it.
    s.switch.handle_disconnected(s.now, B);
    assert_eq!(frame(&mut s, 1), []);
    assert_eq!(error(&say(&mut s, A, role(Role::Master, 5))), stale);
    say(&mut s, A, role(Role::Master, 7));
    assert_eq!(frame(&mut s, 1), [A]);
}

#[test]
fn each_controller_is_told_what_it_wants_in_its_role() {
    let mut s = switch();
    // C wants packets as a slave, B none as an equal; what is not said stays (§7.3.10).
    let masks =
        |equal, slave| Message::SetAsync(AsyncChange { packet_in: [equal, slave], ..AsyncChange::default() });
    say(&mut s, B, masks(Some(0), None));
    say(&mut s, C, masks(None, Some(0b11)));
    assert_eq!(frame(&mut s, 1), [A, C]);
    say(&mut s, C, role(Role::Slave, 1));
    assert_eq!(frame(&mut s, 1), [A, C]);
    say(&mut s, C, masks(None, Some(0)));
    assert_eq!(frame(&mut s, 1), [A]);
    let replies = say(&mut s, B, Message::GetAsyncRequest);
    let [(B, Message::GetAsyncReply(config))] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(config.packet_in, [0, 0]);
    assert_eq!(config.port_status, [0b111; 2]);
}

#[test]
fn changes_of_groups_are_forwarded_to_those_who_ask() {
    let mut s = switch();
    let ask = AsyncChange { request_forward: [Some(0b11), Some(0)], ..AsyncChange::default() };
    say(&mut s, A, Message::SetAsync(ask));
    say(&mut s, B, Message::SetAsync(ask));
    let told = say(&mut s, A, group(GroupModCommand::Add));
    let [(B, Message::RequestForward(forwarded))] = &told[..] else { panic!("{told:?}") };
    assert_eq!((forwarded.xid, &*forwarded.request), (Xid(77), &group(GroupModCommand::Add)));
    // What was refused was no change; a slave asked for none.
    assert!(matches!(say(&mut s, A, group(GroupModCommand::Add))[..], [(A, Message::Error(_))]));
    say(&mut s, B, role(Role::Slave, 1));
    assert!(say(&mut s, A, group(GroupModCommand::Delete)).is_empty());
}

#[test]
fn auxiliary_connections_are_of_their_main_one() {
    let mut s = switch();
    for (id, aux) in (1..).zip(AUX) {
        assert!(s.switch.handle_auxiliary_connected(s.now, aux, (A, id)));
        let replies = say(&mut s, aux, Message::FeaturesRequest);
        let [(conn, Message::FeaturesReply(features))] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!((*conn, features.auxiliary_id, features.dpid), (aux, id, Dpid(1)));
    }
    assert!(!s.switch.handle_auxiliary_connected(s.now, ConnId(99), (AUX[0], 1)), "none of an auxiliary one");
    // Packets take them, those of a port one of them; other controllers get theirs as before.
    let (first, second) = (frame(&mut s, 1), frame(&mut s, 2));
    assert!(first != second && [&first, &second].iter().all(|to| AUX.contains(&to[0]) && to[1..] == [B, C]));
    assert_eq!(frame(&mut s, 1), first);
    // Answers come where the question came; the role is the controller's.
    assert!(
        matches!(say(&mut s, AUX[0], role(Role::Slave, 1))[..], [(conn, Message::RoleReply(_))] if conn == AUX[0])
    );
    assert_eq!(s.switch.role(A), Some(Role::Slave));
    let write = FlowMod::add(TableId(1), Priority(1), Match::new(), vec![]);
    for conn in [A, AUX[1]] {
        let refused = error(&say(&mut s, conn, Message::FlowMod(write.clone())));
        assert_eq!(refused, BadRequest::IsSlave.into());
    }
    say(&mut s, A, role(Role::Equal, 0));
    // One that is lost changes nothing else; with the main one all are gone.
    s.switch.handle_disconnected(s.now, AUX[1]);
    assert_eq!(frame(&mut s, 1), frame(&mut s, 2));
    s.switch.handle_disconnected(s.now, A);
    assert_eq!(frame(&mut s, 1), [B, C]);
    assert!(say(&mut s, AUX[0], Message::BarrierRequest).is_empty());
}
