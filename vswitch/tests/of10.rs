//! What a controller of 1.0 expects otherwise than one of 1.3, as the values its codec makes of it.

use openflow::error::BadAction;
use openflow::{
    Action, AsyncChange, Cookie, Dpid, FlowMod, FlowModCommand, FlowStats, FlowStatsRequest, Instruction,
    Match, Message, MultipartRequest, PacketInReason, PortConfig, PortFeatures, PortMod, PortNo, Priority,
    QueueId, Reply, Request, Rewrite, TableId, ports,
};
use packet::{MacAddr, build};
use vswitch::standalone::Standalone;
use vswitch::{DropReason, SwitchConfig};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn switch() -> Standalone {
    Standalone::new(SwitchConfig { seed: Some(1), ..SwitchConfig::new(Dpid(1), "s1") }, 3)
}

fn udp() -> Vec<u8> {
    build::ethernet(A, B).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1000, 2000, b"hello")
}

fn add(matches: Match, actions: Vec<Action>) -> FlowMod {
    FlowMod::add(TableId(0), Priority(7), matches, vec![Instruction::ApplyActions(actions)])
}

fn flows(s: &mut Standalone) -> Vec<FlowStats> {
    let request = MultipartRequest { more: false, body: Request::Flow(FlowStatsRequest::default()) };
    match s.control(Message::MultipartRequest(request)).pop() {
        Some(Message::MultipartReply(reply)) => match reply.body {
            Reply::Flow(flows) => flows,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn want_misses(s: &mut Standalone, misses: bool) {
    s.control(Message::SetAsync(AsyncChange { misses: Some(misses), ..AsyncChange::default() }));
}

#[test]
fn misses_come_to_those_who_want_them() {
    let mut s = switch();
    assert_eq!(s.receive(PortNo(1), &udp()), []);
    assert_eq!(s.messages(), [], "a controller of 1.3 asks for them by a table-miss flow");
    want_misses(&mut s, true);
    assert_eq!(s.receive(PortNo(1), &udp()), []);
    let messages = s.messages();
    let [Message::PacketIn(packet_in)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(packet_in.reason, PacketInReason::NoMatch);
    assert_eq!(packet_in.in_port(), Some(PortNo(1)));
    assert_eq!(packet_in.cookie, Cookie(u64::MAX));
    assert_eq!(packet_in.data, udp());
    want_misses(&mut s, false);
    s.receive(PortNo(1), &udp());
    assert_eq!(s.messages(), []);
    s.idle();
    assert_eq!(s.switch.drops()[DropReason::TableMiss], 2, "what nobody wanted was dropped");
}

#[test]
fn setting_a_vlan_tags_what_has_no_tag() {
    let mut s = switch();
    let vid = Action::Rewrite(Rewrite::VlanVid(5));
    let pcp = Action::Rewrite(Rewrite::VlanPcp(3));
    s.flow(add(Match::new().in_port(PortNo(1)), vec![vid, Action::output(PortNo(2))]));
    s.flow(add(Match::new().in_port(PortNo(2)), vec![pcp, Action::output(PortNo(1))]));
    let strip = vec![Action::PopVlan, Action::output(PortNo(2))];
    s.flow(add(Match::new().in_port(PortNo(3)), strip));
    let tagged = |tci: u16| {
        let mut frame = udp();
        let [high, low] = tci.to_be_bytes();
        frame.splice(12..12, [0x81, 0, high, low]);
        frame
    };
    assert_eq!(s.receive(PortNo(1), &udp()), [(PortNo(2), tagged(5))]);
    assert_eq!(s.receive(PortNo(1), &tagged(0xe009)), [(PortNo(2), tagged(0xe005))]);
    assert_eq!(s.receive(PortNo(2), &udp()), [(PortNo(1), tagged(0x6000))]);
    assert_eq!(s.receive(PortNo(2), &tagged(9)), [(PortNo(1), tagged(0x6009))]);
    assert_eq!(s.receive(PortNo(3), &udp()), [(PortNo(2), udp())], "nothing to strip");
    assert_eq!(s.receive(PortNo(3), &tagged(9)), [(PortNo(2), udp())]);
}

#[test]
fn headers_a_frame_lacks_stay_as_they_are() {
    let mut s = switch();
    let rewrites = [
        Rewrite::Ipv4Src([10, 9, 9, 9].into()),
        Rewrite::Ipv4Dst([10, 8, 8, 8].into()),
        Rewrite::IpDscp(46),
        Rewrite::PortSrc(7),
        Rewrite::PortDst(8),
    ];
    let actions = rewrites.map(Action::Rewrite).into_iter().chain([Action::output(PortNo(2))]).collect();
    s.flow(add(Match::ANY, actions));
    let arp = build::ethernet(A, B).payload(packet::EtherType(0x0806), &[0; 28]);
    assert_eq!(s.receive(PortNo(1), &arp), [(PortNo(2), arp.clone())]);
    let changed = &s.receive(PortNo(1), &udp())[0].1;
    assert_eq!(changed[15], 46 << 2);
    assert_eq!(changed[26..34], [10, 9, 9, 9, 10, 8, 8, 8]);
    assert_eq!(changed[34..38], [0, 7, 0, 8]);
}

#[test]
fn a_modification_that_finds_nothing_adds() {
    let mut s = switch();
    let command = FlowModCommand::ModifyStrict;
    let first = FlowMod { command, upsert: true, cookie: Cookie(1), ..add(Match::ANY, vec![]) };
    s.flow(first.clone());
    let second = FlowMod { cookie: Cookie(2), ..first };
    let to_2 = vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])];
    s.flow(FlowMod { instructions: to_2.clone(), ..second });
    let flows = flows(&mut s);
    let [flow] = &flows[..] else { panic!("{flows:?}") };
    assert_eq!((flow.cookie, &flow.instructions), (Cookie(2), &to_2));
    let later = FlowMod { command, ..add(Match::new().in_port(PortNo(1)), vec![]) };
    s.flow(later);
    assert_eq!(self::flows(&mut s).len(), 1, "later versions add nothing");
}

#[test]
fn a_queue_is_for_one_output() {
    let mut s = switch();
    let enqueue = |port| Action::Enqueue { port, queue: QueueId(3) };
    s.flow(add(Match::ANY, vec![enqueue(PortNo(2)), Action::output(PortNo(3))]));
    let sent = s.process_frames(0, PortNo(1), packet::Frame::from_bytes(&udp()));
    let queues: Vec<_> = sent.iter().map(|(port, frame)| (port.0, frame.queue)).collect();
    assert_eq!(queues, [(2, 3), (3, 0)]);
    let refused = s.control(Message::FlowMod(add(Match::ANY, vec![enqueue(ports::FLOOD)])));
    let [Message::Error(error)] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!(error.kind, BadAction::BadOutPort.into());
}

#[test]
fn a_port_may_be_left_out_of_floods() {
    let mut s = switch();
    let request = MultipartRequest { more: false, body: Request::PortDesc };
    let Some(Message::MultipartReply(reply)) = s.control(Message::MultipartRequest(request)).pop() else {
        panic!("a reply")
    };
    let Reply::PortDesc(descs) = reply.body else { panic!("ports") };
    let (config, advertise) = (PortConfig::NO_FLOOD, PortFeatures::NONE);
    let (port, mac) = (descs[1].port, descs[1].mac);
    s.control(Message::PortMod(PortMod { port, mac, config, mask: config, advertise }));
    s.messages();
    s.flow(add(Match::new().in_port(PortNo(1)), vec![Action::output(ports::FLOOD)]));
    s.flow(add(Match::new().in_port(PortNo(3)), vec![Action::output(ports::ALL)]));
    let to = |sent: Vec<(PortNo, Vec<u8>)>| sent.into_iter().map(|(port, _)| port.0).collect::<Vec<_>>();
    assert_eq!(to(s.receive(PortNo(1), &udp())), [3]);
    assert_eq!(to(s.receive(PortNo(3), &udp())), [1, 2], "ALL means all");
}
