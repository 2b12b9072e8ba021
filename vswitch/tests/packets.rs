//! Packets to and from controllers: buffers, reasons, rates and packet-outs.

use core::time::Duration;

use openflow::error::BadRequest;
use openflow::{
    Action, AsyncConfig, Bucket, BufferId, Dpid, ErrorKind, FlowMod, GroupId, GroupMod, GroupModCommand,
    GroupType, Instruction, Match, Message, PacketIn, PacketInReason, PacketOut, PortNo, Priority, TableId,
    Xid, ports,
};
use packet::{Frame, MacAddr, build};
use vswitch::standalone::{CONN, Standalone};
use vswitch::{ConnId, DropReason, Effect, PacketInRates, RateLimit, SwitchConfig};

fn config() -> SwitchConfig {
    SwitchConfig { n_tables: 2, seed: Some(1), ..SwitchConfig::new(Dpid(1), "s") }
}

fn switch() -> Standalone {
    Standalone::new(config(), 3)
}

fn frame(len: usize) -> Vec<u8> {
    let link = build::ethernet(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    link.ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1, 2, &vec![9; len - 42])
}

fn apply(actions: Vec<Action>) -> Vec<Instruction> {
    vec![Instruction::ApplyActions(actions)]
}

fn flow(priority: u16, port: u32, instructions: Vec<Instruction>) -> FlowMod {
    FlowMod::add(TableId(0), Priority(priority), Match::new().in_port(PortNo(port)), instructions)
}

fn packet_ins(s: &mut Standalone) -> Vec<PacketIn> {
    let all = s.messages().into_iter();
    all.filter_map(|m| if let Message::PacketIn(p) = m { Some(p) } else { None }).collect()
}

/// What the controller gets for a frame of `len` bytes that came by port 1.
fn punted(s: &mut Standalone, len: usize) -> PacketIn {
    assert_eq!(s.receive(PortNo(1), &frame(len)), []);
    let mut all = packet_ins(s);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn error(replies: &[Message]) -> Option<ErrorKind> {
    replies.iter().find_map(|m| if let Message::Error(e) = m { Some(e.kind) } else { None })
}

fn packet_out(buffer: Option<BufferId>, port: u32, data: Vec<u8>) -> Message {
    let actions = vec![Action::output(PortNo(3))];
    Message::PacketOut(PacketOut { buffer, in_port: PortNo(port), actions, data })
}

#[test]
fn a_packet_is_cut_to_max_len_and_the_rest_waits() {
    let mut s = switch();
    let features = s.control(Message::FeaturesRequest);
    assert!(matches!(&features[..], [Message::FeaturesReply(f)] if f.n_buffers == 256), "{features:?}");
    for (max_len, len, sent) in [(100, 300, 100), (0, 300, 0), (500, 300, 300)] {
        s.flow(flow(1, 1, apply(vec![Action::controller(max_len)])));
        let p = punted(&mut s, len);
        assert_eq!((p.data.len(), usize::from(p.total_len)), (sent, len));
        assert_eq!(p.data, frame(len)[..sent]);
        // The whole of it leaves, once.
        assert_eq!(error(&s.control(packet_out(p.buffer, 1, Vec::new()))), None);
        assert_eq!(s.outputs(), [(PortNo(3), frame(len))]);
        let again = s.control(packet_out(p.buffer, 1, Vec::new()));
        assert_eq!(error(&again), Some(BadRequest::BufferEmpty.into()));
        assert_eq!(s.outputs(), []);
    }
    // §7.2.5: all of it, unbuffered.
    s.flow(flow(1, 1, apply(vec![Action::controller(0xffff)])));
    let p = punted(&mut s, 300);
    assert_eq!((p.buffer, p.data), (None, frame(300)));
    let unknown = s.control(packet_out(Some(BufferId(77)), 1, Vec::new()));
    assert_eq!(error(&unknown), Some(BadRequest::BufferUnknown.into()));
}

#[test]
fn a_flow_mod_sends_the_packet_it_names_through_the_tables() {
    let mut s = switch();
    s.flow(flow(1, 1, apply(vec![Action::controller(64)])));
    let p = punted(&mut s, 200);
    // The new flow handles it, as what came by port 1.
    let add = FlowMod { buffer: p.buffer, ..flow(5, 1, apply(vec![Action::output(PortNo(2))])) };
    assert_eq!(error(&s.control(Message::FlowMod(add.clone()))), None);
    assert_eq!(s.outputs(), [(PortNo(2), frame(200))]);
    // An error changes nothing: not the flow, which would otherwise have another action.
    let again = FlowMod { instructions: apply(vec![Action::output(PortNo(3))]), ..add.clone() };
    assert_eq!(error(&s.control(Message::FlowMod(again))), Some(BadRequest::BufferEmpty.into()));
    assert_eq!(s.receive(PortNo(1), &frame(60)), [(PortNo(2), frame(60))]);
    // A flow mod that is refused leaves the packet where it is.
    s.flow(flow(9, 1, apply(vec![Action::controller(64)])));
    let p = punted(&mut s, 200);
    let wrong = FlowMod { buffer: p.buffer, ..flow(5, 1, apply(vec![Action::Group(GroupId(9))])) };
    assert!(error(&s.control(Message::FlowMod(wrong))).is_some());
    // Deletions ignore the number; a modification that finds no flow sends the packet all the same.
    let delete = FlowMod {
        buffer: Some(BufferId(77)),
        ..FlowMod::delete_strict(TableId(0), Priority(9), add.matches.clone())
    };
    assert_eq!(error(&s.control(Message::FlowMod(delete))), None);
    let modify =
        FlowMod { buffer: p.buffer, command: openflow::FlowModCommand::Modify, ..flow(0, 2, Vec::new()) };
    assert_eq!(error(&s.control(Message::FlowMod(modify))), None);
    assert_eq!(s.outputs(), [(PortNo(2), frame(200))]);
}

#[test]
fn all_controllers_are_told_one_number_and_nobody_none() {
    let mut s = switch();
    s.switch.handle_connected(s.now, ConnId(7));
    s.flow(flow(1, 1, apply(vec![Action::controller(64)])));
    s.process(0, PortNo(1), Frame::from_bytes(&frame(100)));
    let mut told = Vec::new();
    while s.report_one() {}
    while let Some(effect) = s.switch.poll_effect() {
        if let Effect::Send { conn, message: Message::PacketIn(p), .. } = effect {
            told.push((conn, p.buffer));
        }
    }
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].1, told[1].1);
    let id = told[0].1;
    s.switch.handle_message(s.now, ConnId(7), Xid(1), packet_out(id, 1, Vec::new()));
    s.settle();
    assert_eq!(s.outputs(), [(PortNo(3), frame(100))]);
    assert_eq!(error(&s.control(packet_out(id, 1, Vec::new()))), Some(BadRequest::BufferEmpty.into()));
}

#[test]
fn packets_whose_ttl_is_invalid_have_the_length_of_the_configuration() {
    let mut s = switch();
    let wants = AsyncConfig { packet_in: [0b111, 0], ..AsyncConfig::default() };
    s.control(Message::SetAsync(wants.into()));
    s.flow(flow(1, 1, apply(vec![Action::SetNwTtl(1), Action::DecNwTtl, Action::output(PortNo(2))])));
    let p = punted(&mut s, 300);
    assert_eq!((p.reason, p.data.len(), p.total_len), (PacketInReason::InvalidTtl, 128, 300));
    let settings = openflow::Config { miss_send_len: 0xffff, ..openflow::Config::default() };
    s.control(Message::SetConfig(settings));
    let p = punted(&mut s, 300);
    assert_eq!((p.buffer, p.data.len()), (None, 300));
}

#[test]
fn each_reason_is_told_as_1_4_tells_it() {
    let mut s = switch();
    let controller = || Action::controller(0xffff);
    let bucket = Bucket { weight: 0, watch_port: None, watch_group: None, actions: vec![controller()] };
    let group = GroupId(1);
    let add = GroupMod {
        command: GroupModCommand::Add,
        group_type: GroupType::Indirect,
        group,
        buckets: vec![bucket],
    };
    assert_eq!(error(&s.control(Message::GroupMod(add))), None);
    for (instructions, expected) in [
        (apply(vec![controller()]), PacketInReason::Action),
        (vec![Instruction::WriteActions(vec![controller()])], PacketInReason::ActionSet),
        (apply(vec![Action::Group(group)]), PacketInReason::Group),
        (vec![Instruction::WriteActions(vec![Action::Group(group)])], PacketInReason::Group),
    ] {
        s.flow(flow(1, 1, instructions));
        assert_eq!(punted(&mut s, 100).reason, expected);
    }
    for instructions in [apply(vec![controller()]), vec![Instruction::WriteActions(vec![controller()])]] {
        s.flow(FlowMod::add(TableId(0), Priority(0), Match::new(), instructions));
        s.receive(PortNo(2), &frame(100));
        assert_eq!(packet_ins(&mut s)[0].reason, PacketInReason::NoMatch);
    }
    let out = |actions| {
        Message::PacketOut(PacketOut { buffer: None, in_port: PortNo(2), actions, data: frame(100) })
    };
    for (actions, expected) in [
        (vec![controller()], PacketInReason::PacketOut),
        (vec![Action::Group(group)], PacketInReason::Group),
        // What the tables do is theirs.
        (vec![Action::output(ports::TABLE)], PacketInReason::NoMatch),
    ] {
        s.submit(out(actions));
        s.settle();
        assert_eq!(packet_ins(&mut s)[0].reason, expected);
    }
}

#[test]
fn a_port_that_floods_leaves_the_controller_to_the_others() {
    let limit = Some(RateLimit { rate: 100, burst: 12 });
    let mut s = Standalone::new(SwitchConfig { packet_in_rates: PacketInRates::all(limit), ..config() }, 3);
    s.flow(FlowMod::add(TableId(0), Priority(0), Match::new(), apply(vec![Action::controller(0xffff)])));
    let mut seen = [0u64; 4];
    for step in 0..1000u64 {
        s.advance(Duration::from_millis(10));
        for _ in 0..20 {
            s.receive(PortNo(1), &frame(60));
        }
        if step % 10 == 0 {
            s.receive(PortNo(2), &frame(60));
        }
        for p in packet_ins(&mut s) {
            seen[p.in_port().expect("a port").0 as usize] += 1;
        }
    }
    // 2,000 a second from port 1, 10 from port 2: half of 100 and the port's share of the other half is for port 1.
    assert_eq!(seen[2], 100, "none of the quiet port's is lost");
    assert!((600..=700).contains(&seen[1]), "{seen:?}");
    s.idle();
    let drops = s.switch.drops();
    assert_eq!(drops[DropReason::PacketInRate] + seen[1], 20_000);
    assert_eq!(drops[DropReason::PacketInRate], drops.total(), "nothing else is lost: {drops:?}");
}

#[test]
fn packet_outs_of_one_port_stay_with_one_worker_and_no_worker_is_buried() {
    let mut s = Standalone::new(SwitchConfig { n_workers: 2, ..config() }, 3);
    let mut orders = [0usize; 2];
    let mut collect = |s: &mut Standalone| {
        let mut all = Vec::new();
        while let Some(effect) = s.switch.poll_effect() {
            if let Effect::Order { worker: Some(worker), order } = effect {
                orders[worker] += 1;
                all.push((worker, order));
            }
        }
        (orders, all)
    };
    for port in [1, 1, 2, 2, 2] {
        s.switch.handle_message(s.now, CONN, Xid(1), packet_out(None, port, frame(60)));
    }
    let (counts, waiting) = collect(&mut s);
    assert_eq!(counts, [3, 2]);
    for _ in 0..10_000 {
        s.switch.handle_message(s.now, CONN, Xid(1), packet_out(None, 1, frame(60)));
    }
    let (counts, more) = collect(&mut s);
    assert_eq!(counts, [3, 4096], "what a worker has not done is bounded");
    assert_eq!(s.switch.drops()[DropReason::PacketOutQueue], 10_000 - 4094);
    // Long ones are bounded by their bytes.
    for _ in 0..1000 {
        s.switch.handle_message(s.now, CONN, Xid(1), packet_out(None, 2, vec![7; 60_000]));
    }
    let (counts, long) = collect(&mut s);
    assert!((3 + 270..3 + 280).contains(&counts[0]), "{counts:?}");
    // When they are done there is room again.
    drop((waiting, more, long));
    s.switch.handle_message(s.now, CONN, Xid(1), packet_out(None, 1, frame(60)));
    assert_eq!(collect(&mut s).1.len(), 1);
}
