//! What controllers are told of ports, and what they may change.

use core::time::Duration;

use openflow::{
    Action, Dpid, FlowMod, Instruction, Match, Message, MultipartReply, MultipartRequest, PortConfig,
    PortDesc, PortMod, PortNo, PortReason, PortState, PortStatus, Priority, Reply, Request, TableId,
};
use packet::{MacAddr, build};
use vswitch::standalone::Standalone;
use vswitch::{DropReason, PortCounters, SwitchConfig};

fn switch() -> Standalone {
    let mut s = Standalone::new(SwitchConfig { seed: Some(1), ..SwitchConfig::new(Dpid(1), "s") }, 3);
    let actions = vec![Action::output(PortNo(2)), Action::controller(0xffff)];
    let instructions = vec![Instruction::ApplyActions(actions)];
    let matches = Match::new().in_port(PortNo(1));
    s.flow(FlowMod::add(TableId(0), Priority(1), matches, instructions));
    s
}

fn port_mod(s: &mut Standalone, port: u32, config: PortConfig, mask: PortConfig) -> Vec<Message> {
    let port = desc(s, port);
    let (port, mac) = (port.port, port.mac);
    s.control(Message::PortMod(PortMod { port, mac, config, mask, advertise: openflow::PortFeatures::NONE }))
}

fn desc(s: &mut Standalone, port: u32) -> PortDesc {
    let replies =
        s.control(Message::MultipartRequest(MultipartRequest { more: false, body: Request::PortDesc }));
    let Some(Message::MultipartReply(MultipartReply { body: Reply::PortDesc(all), .. })) = replies.last()
    else {
        panic!("{replies:?}")
    };
    all.iter().find(|desc| desc.port == PortNo(port)).expect("it is there").clone()
}

/// Outputs, packet-ins and drops of a frame that came by port 1.
fn carried(s: &mut Standalone) -> (usize, usize, Vec<DropReason>) {
    let bytes = build::ethernet(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2])
        .udp(1, 2, b"x");
    s.idle();
    let before = s.switch.drops();
    let sent = s.receive(PortNo(1), &bytes).len();
    s.idle();
    let after = s.switch.drops();
    let dropped =
        DropReason::ALL.iter().copied().filter(|reason| after[*reason] != before[*reason]).collect();
    let punts = s.messages().iter().filter(|m| matches!(m, Message::PacketIn(_))).count();
    (sent, punts, dropped)
}

#[test]
fn what_the_administrator_wants_of_a_port_is_obeyed_and_told() {
    use PortConfig as C;
    let mut s = switch();
    assert_eq!(carried(&mut s), (1, 1, vec![]));
    for (port, config, expected) in [
        (1, C::NO_RECV, (0, 0, vec![DropReason::NoReceive])),
        (1, C::PORT_DOWN, (0, 0, vec![DropReason::NoReceive])),
        // What went somewhere else is not dropped.
        (1, C::NO_PACKET_IN, (1, 0, vec![])),
        (2, C::NO_FWD, (0, 1, vec![])),
        (2, C::PORT_DOWN, (0, 1, vec![])),
    ] {
        let told = port_mod(&mut s, port, config, config);
        let [Message::PortStatus(PortStatus { reason: PortReason::Modify, desc: status })] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!((status.port, status.config), (PortNo(port), config));
        // A port that is down is not live.
        assert_eq!(status.state.contains(PortState::LIVE), config != C::PORT_DOWN);
        assert_eq!(carried(&mut s), expected, "{config:?} of port {port}");
        assert_eq!(port_mod(&mut s, port, config, config), [], "no change, nothing to tell");
        assert_eq!(port_mod(&mut s, port, C::NONE, config).len(), 1);
        assert_eq!(carried(&mut s), (1, 1, vec![]));
    }
}

#[test]
fn links_and_their_end_are_told() {
    let mut s = switch();
    s.switch.set_port_link(s.now, PortNo(2), false);
    s.settle();
    let told = s.messages();
    assert!(
        matches!(&told[..], [Message::PortStatus(p)] if p.desc.state == PortState::LINK_DOWN),
        "{told:?}"
    );
    assert_eq!(carried(&mut s), (0, 1, vec![]));
    // Up again, but administratively down: it is not live before both are well.
    port_mod(&mut s, 2, PortConfig::PORT_DOWN, PortConfig::PORT_DOWN);
    s.switch.set_port_link(s.now, PortNo(2), true);
    assert_eq!(desc(&mut s, 2).state, PortState::NONE);
    port_mod(&mut s, 2, PortConfig::NONE, PortConfig::PORT_DOWN);
    assert_eq!(desc(&mut s, 2).state, PortState::LIVE);
    s.switch.remove_port(s.now, PortNo(2));
    s.settle();
    let told = s.messages();
    assert!(matches!(&told[..], [Message::PortStatus(p)] if p.reason == PortReason::Delete), "{told:?}");
}

#[test]
fn counters_and_age_of_a_port_are_those_the_shell_says() {
    let mut s = switch();
    s.advance(Duration::from_millis(2_500));
    let counters = PortCounters {
        rx_packets: 1,
        tx_packets: 2,
        rx_bytes: 3,
        tx_bytes: 4,
        rx_dropped: 5,
        tx_dropped: 6,
        rx_errors: 7,
        tx_errors: 8,
        rx_overruns: 9,
    };
    s.switch.set_port_counters(PortNo(3), counters);
    let body = Request::PortStats(Some(PortNo(3)));
    let replies = s.control(Message::MultipartRequest(MultipartRequest { more: false, body }));
    let [Message::MultipartReply(MultipartReply { body: Reply::PortStats(all), .. })] = &replies[..] else {
        panic!("{replies:?}")
    };
    let p = all[0];
    let seen = [p.rx_packets, p.tx_packets, p.rx_bytes, p.tx_bytes, p.rx_dropped, p.tx_dropped];
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        (p.rx_errors, p.tx_errors, p.rx_over_err, p.duration),
        (7, 8, 9, Duration::from_millis(2_500))
    );
}
