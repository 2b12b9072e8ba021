//! What packet-ins say of where they come from (§7.4.1).

use openflow::{
    Action, Bucket, Cookie, FlowMod, GroupId, GroupMod, GroupModCommand, GroupType, Instruction, Match,
    Message, Oxm, PacketIn, PacketInReason, PacketOut, PortNo, Priority, TableId, ports,
};
use packet::{MacAddr, build};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

const NO_COOKIE: Cookie = Cookie(u64::MAX);

fn switch() -> Standalone {
    Standalone::new(SwitchConfig { seed: Some(1), ..SwitchConfig::default() }, 2)
}

fn udp() -> Vec<u8> {
    let (a, b) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    build::ethernet(a, b).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1000, 2000, b"hello")
}

fn flow(s: &mut Standalone, (table, priority): (u8, u16), instructions: Vec<Instruction>) {
    let cookie = Cookie(0x10 + u64::from(table));
    let flow = FlowMod::add(TableId(table), Priority(priority), Match::new(), instructions);
    s.flow(FlowMod { cookie, ..flow });
}

fn metadata(metadata: u64) -> Instruction {
    Instruction::WriteMetadata { metadata, mask: u64::MAX }
}

fn group(s: &mut Standalone, id: u32, actions: Vec<Action>) {
    let group = GroupMod {
        command: GroupModCommand::Add,
        group_type: GroupType::Indirect,
        group: GroupId(id),
        buckets: vec![Bucket { weight: 0, watch_port: None, watch_group: None, actions }],
    };
    assert_eq!(s.control(Message::GroupMod(group)), vec![]);
}

fn packet_ins(s: &mut Standalone) -> Vec<(PacketInReason, u8, Cookie, Match)> {
    s.idle();
    let told = s.messages().into_iter().filter_map(|m| match m {
        Message::PacketIn(PacketIn { reason, table, cookie, matches, .. }) => {
            Some((reason, table.0, cookie, matches))
        }
        _ => None,
    });
    told.collect()
}

fn from_port_1() -> Match {
    Match::new().in_port(PortNo(1))
}

fn with_metadata(value: u64) -> Match {
    from_port_1().with(Oxm::new(openflow::Field::Metadata, value.into())).expect("valid")
}

#[test]
fn a_flow_is_named_with_the_metadata_of_then() {
    let mut s = switch();
    flow(&mut s, (0, 5), vec![metadata(7), Instruction::GotoTable(TableId(1))]);
    let punt = Instruction::ApplyActions(vec![Action::controller(0xffff)]);
    flow(&mut s, (1, 5), vec![punt.clone(), metadata(9), Instruction::GotoTable(TableId(2))]);
    flow(&mut s, (2, 0), vec![punt]);
    s.receive(PortNo(1), &udp());
    let expected = [
        (PacketInReason::Action, 1, Cookie(0x11), with_metadata(7)),
        (PacketInReason::NoMatch, 2, Cookie(0x12), with_metadata(9)),
    ];
    assert_eq!(packet_ins(&mut s), expected);
}

#[test]
fn the_action_set_names_the_last_table_and_no_flow() {
    let mut s = switch();
    let write = Instruction::WriteActions(vec![Action::controller(0xffff)]);
    flow(&mut s, (0, 5), vec![write.clone(), metadata(7), Instruction::GotoTable(TableId(3))]);
    flow(&mut s, (3, 5), vec![metadata(8)]);
    s.receive(PortNo(1), &udp());
    assert_eq!(packet_ins(&mut s), [(PacketInReason::ActionSet, 3, NO_COOKIE, with_metadata(8))]);
    // What the table-miss flow sends is a miss.
    flow(&mut s, (3, 0), vec![write]);
    s.flow(FlowMod {
        command: openflow::FlowModCommand::DeleteStrict,
        priority: Priority(5),
        ..FlowMod::add(TableId(3), Priority(5), Match::new(), vec![])
    });
    s.receive(PortNo(1), &udp());
    assert_eq!(packet_ins(&mut s), [(PacketInReason::NoMatch, 3, NO_COOKIE, with_metadata(7))]);
}

#[test]
fn a_bucket_names_no_flow_but_where_the_packet_was() {
    let mut s = switch();
    group(&mut s, 1, vec![Action::controller(0xffff)]);
    group(&mut s, 2, vec![Action::Group(GroupId(1))]);
    let through = vec![Action::Group(GroupId(2))];
    flow(&mut s, (0, 5), vec![metadata(7), Instruction::GotoTable(TableId(1))]);
    flow(
        &mut s,
        (1, 5),
        vec![
            Instruction::ApplyActions(through.clone()),
            metadata(9),
            Instruction::WriteActions(through),
            Instruction::GotoTable(TableId(2)),
        ],
    );
    flow(&mut s, (2, 5), vec![]);
    s.receive(PortNo(1), &udp());
    let expected = [
        (PacketInReason::Group, 1, NO_COOKIE, with_metadata(7)),
        (PacketInReason::Group, 2, NO_COOKIE, with_metadata(9)),
    ];
    assert_eq!(packet_ins(&mut s), expected);
}

#[test]
fn a_packet_out_is_its_own_reason() {
    let mut s = switch();
    flow(&mut s, (0, 5), vec![Instruction::ApplyActions(vec![Action::controller(0xffff)])]);
    let actions = vec![Action::controller(0xffff), Action::output(ports::TABLE)];
    let packet_out = PacketOut { buffer: None, in_port: PortNo(1), actions, data: udp() };
    s.submit(Message::PacketOut(packet_out));
    s.settle();
    let mut told = packet_ins(&mut s);
    told.sort_by_key(|(reason, ..)| *reason);
    let expected = [
        (PacketInReason::Action, 0, Cookie(0x10), from_port_1()),
        (PacketInReason::PacketOut, 0, NO_COOKIE, from_port_1()),
    ];
    assert_eq!(told, expected);
}
