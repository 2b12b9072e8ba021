//! Changes of flows that nobody waits for come into force together while frames are forwarded.

use openflow::{
    Action, FlowMod, FlowModFlags, Instruction, MacAddr, Match, Message, MultipartRequest, PacketOut,
    PortConfig, PortFeatures, PortMod, PortNo, Priority, Request, TableId,
};
use packet::{Frame, build};
use vswitch::standalone::Standalone;
use vswitch::{GATHER, SwitchConfig};

fn flow(port: u16) -> FlowMod {
    let output = Instruction::ApplyActions(vec![Action::output(PortNo(2))]);
    let flow = FlowMod::add(TableId(0), Priority(1), Match::new().udp_dst(port), vec![output]);
    FlowMod { flags: FlowModFlags::SEND_FLOW_REM, ..flow }
}

/// Whether a frame leaves, whose worker is at work then.
fn leaves(s: &mut Standalone, port: u16) -> bool {
    let link = build::ethernet(MacAddr([2; 6]), MacAddr([4; 6]));
    let frame = link.ipv4([1; 4], [2; 4]).udp(7, port, &[0; 18]);
    !s.process(0, PortNo(1), Frame::from_bytes(&frame)).is_empty()
}

/// A switch at work that has just published flow 1.
fn switch() -> Standalone {
    let config = SwitchConfig { seed: Some(1), gather: GATHER, ..SwitchConfig::default() };
    let mut s = Standalone::new(config, 2);
    s.advance(GATHER);
    assert!(!leaves(&mut s, 1));
    s.flow(flow(1));
    assert!(leaves(&mut s, 1), "nothing came into force for long: it does so at once");
    s
}

#[test]
fn what_nobody_waits_for_is_gathered() {
    let mut s = switch();
    let epoch = s.switch.epoch();
    s.flow(flow(2));
    let gone = flow(1);
    let removal =
        s.control(Message::FlowMod(FlowMod::delete_strict(gone.table, gone.priority, gone.matches)));
    assert_eq!((removal, s.switch.epoch()), (vec![], epoch), "it is not gone yet");
    assert!(leaves(&mut s, 1) && !leaves(&mut s, 2));
    let due = s.now + GATHER;
    assert_eq!(s.switch.poll_timeout(), Some(due));
    s.now = due;
    s.settle();
    assert_eq!(s.switch.epoch(), epoch + 1, "together");
    assert!(!leaves(&mut s, 1) && leaves(&mut s, 2));
    match &s.messages()[..] {
        [Message::FlowRemoved(removed)] => assert_eq!(removed.packets, 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(s.switch.poll_timeout(), None);
}

#[test]
fn whoever_waits_does_not_wait_longer() {
    let packet_out = PacketOut {
        buffer: None,
        in_port: openflow::ports::CONTROLLER,
        actions: vec![Action::output(openflow::ports::TABLE)],
        data: vec![0; 60],
    };
    let port_mod = PortMod {
        port: PortNo(2),
        mac: MacAddr::from_u64(0x0200_0000_ff02),
        config: PortConfig::NO_FLOOD,
        mask: PortConfig::NO_FLOOD,
        advertise: PortFeatures::default(),
    };
    let counts = MultipartRequest { more: false, body: Request::Table };
    for message in [
        Message::BarrierRequest,
        Message::PacketOut(packet_out),
        Message::PortMod(port_mod),
        Message::MultipartRequest(counts),
    ] {
        let mut s = switch();
        s.flow(flow(2));
        assert!(!s.switch.is_published());
        let answers = s.control(message.clone());
        assert!(!matches!(answers[..], [Message::Error(_)]), "{answers:?}");
        assert!(s.switch.is_published() && leaves(&mut s, 2), "{message:?}");
    }
}

#[test]
fn workers_without_work_lose_nothing() {
    let mut s = switch();
    s.flow(flow(2));
    assert!(!s.switch.is_published());
    s.idle();
    assert!(s.switch.is_published());
    s.flow(flow(3));
    assert!(s.switch.is_published() && leaves(&mut s, 3));
}
