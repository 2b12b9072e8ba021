//! Meters as a controller and the frames of a flow see them.

use core::time::Duration;

use openflow::error::MeterModFailed;
use openflow::{
    Action, Band, BandKind, Dpid, Field, FlowMod, Instruction, Match, Message, MeterFlags, MeterId, MeterMod,
    MeterModCommand, MultipartRequest, Oxm, PortNo, Priority, Reply, Request, TableId,
};
use packet::{CsumPartial, Gso, GsoKind, MacAddr, build, tcp};
use vswitch::standalone::Standalone;
use vswitch::{DropReason, SwitchConfig};

const METER: MeterId = MeterId(7);

fn switch() -> Standalone {
    Standalone::new(SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::new(Dpid(1), "s1") }, 2)
}

/// Ten packets a second, and a burst of as many as `kind` says.
fn meter(command: MeterModCommand, kind: BandKind) -> Message {
    let bands = vec![Band { kind, rate: 10, burst: 2 }];
    Message::MeterMod(MeterMod { command, flags: MeterFlags::PKTPS | MeterFlags::BURST, meter: METER, bands })
}

fn metered() -> FlowMod {
    let instructions =
        vec![Instruction::Meter(METER), Instruction::ApplyActions(vec![Action::output(PortNo(2))])];
    FlowMod::add(TableId(0), Priority(1), Match::new(), instructions)
}

fn frame(dscp: u8) -> Vec<u8> {
    let (a, b) = (MacAddr::from_u64(0x0200_0000_0001), MacAddr::from_u64(0x0200_0000_0002));
    build::ethernet(a, b).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).dscp(dscp).udp(1, 2, b"metered")
}

fn is_error(replies: &[Message], wanted: MeterModFailed) -> bool {
    matches!(replies, [Message::Error(error)] if error.kind == wanted.into())
}

#[test]
fn a_drop_band_holds_the_rate_and_counts() {
    let mut s = switch();
    assert_eq!(s.control(meter(MeterModCommand::Add, BandKind::Drop)), []);
    s.flow(metered());
    let mut n_sent = 0;
    for _ in 0..100 {
        n_sent += s.receive(PortNo(1), &frame(0)).len();
        s.advance(Duration::from_millis(10));
    }
    assert!((10..=13).contains(&n_sent), "ten a second and a burst of two: {n_sent} in a second");
    s.idle();
    assert_eq!(s.switch.drops()[DropReason::Meter], 100 - n_sent as u64);
    let request = MultipartRequest { more: false, body: Request::Meter(METER) };
    let replies = s.control(Message::MultipartRequest(request));
    let [Message::MultipartReply(reply)] = &replies[..] else { panic!("{replies:?}") };
    let Reply::Meter(stats) = &reply.body else { panic!("{reply:?}") };
    assert_eq!((stats[0].flow_count, stats[0].packets_in), (1, 100));
    assert_eq!(stats[0].bands[0].packets, 100 - n_sent as u64);
}

#[test]
fn a_remark_band_raises_the_drop_precedence_and_drops_nothing() {
    let mut s = switch();
    s.control(meter(MeterModCommand::Add, BandKind::DscpRemark { prec_level: 1 }));
    s.flow(metered());
    let sent: Vec<_> = (0..3).flat_map(|_| s.receive(PortNo(1), &frame(18))).collect();
    assert_eq!(sent, [(PortNo(2), frame(18)), (PortNo(2), frame(18)), (PortNo(2), frame(20))]);
}

#[test]
fn a_deleted_meter_takes_its_flows_along() {
    let mut s = switch();
    assert!(is_error(&s.control(Message::FlowMod(metered())), MeterModFailed::UnknownMeter));
    s.control(meter(MeterModCommand::Add, BandKind::Drop));
    s.flow(metered());
    assert_eq!(s.receive(PortNo(1), &frame(0)).len(), 1);
    assert_eq!(s.control(meter(MeterModCommand::Delete, BandKind::Drop)), []);
    assert_eq!(s.receive(PortNo(1), &frame(0)), []);
    s.idle();
    assert_eq!(s.switch.drops()[DropReason::TableMiss], 1);
}

#[test]
fn bad_meters_are_refused_with_the_standards_errors() {
    use MeterModCommand::{Add, Modify};
    let mut s = switch();
    assert!(is_error(&s.control(meter(Modify, BandKind::Drop)), MeterModFailed::UnknownMeter));
    assert!(is_error(&s.control(meter(Add, BandKind::Unknown { kind: 9 })), MeterModFailed::BadBand));
    // Three drop precedences leave two levels to rise by.
    for prec_level in [0, 3, 200, 255] {
        let remark = BandKind::DscpRemark { prec_level };
        assert!(is_error(&s.control(meter(Add, remark)), MeterModFailed::BadBandValue), "{prec_level}");
    }
    assert_eq!(s.control(meter(Add, BandKind::Drop)), []);
    assert!(is_error(
        &s.control(meter(Modify, BandKind::DscpRemark { prec_level: 3 })),
        MeterModFailed::BadBandValue
    ));
    assert_eq!(s.control(meter(Modify, BandKind::DscpRemark { prec_level: 2 })), []);
    assert!(is_error(&s.control(meter(Add, BandKind::Drop)), MeterModFailed::MeterExists));
    let with = |meter, flags, rate| {
        let bands = vec![Band { kind: BandKind::Drop, rate, burst: 0 }];
        Message::MeterMod(MeterMod { command: Add, flags, meter, bands })
    };
    let both = MeterFlags::PKTPS | MeterFlags::KBPS;
    assert!(is_error(&s.control(with(MeterId(8), both, 1)), MeterModFailed::BadFlags));
    assert!(is_error(&s.control(with(MeterId(8), MeterFlags::KBPS, 0)), MeterModFailed::BadRate));
    assert!(is_error(&s.control(with(MeterId(0), MeterFlags::KBPS, 1)), MeterModFailed::InvalidMeter));
    assert!(is_error(&s.control(with(MeterId::ALL, MeterFlags::KBPS, 1)), MeterModFailed::InvalidMeter));
}

fn to_controller(table: u8, dscp: u8) -> FlowMod {
    let matches = Match::new().eth_type(0x0800).with(Oxm::new(Field::IpDscp, dscp.into())).expect("valid");
    let actions = vec![Action::controller(0xffff)];
    FlowMod::add(TableId(table), Priority(1), matches, vec![Instruction::ApplyActions(actions)])
}

fn dscps_told(s: &mut Standalone) -> Vec<u8> {
    s.idle();
    let told = s.messages().into_iter().filter_map(|m| match m {
        Message::PacketIn(packet_in) => Some(packet_in.data[15] >> 2),
        _ => None,
    });
    told.collect()
}

/// §5.1: what a table matches is the packet as the tables before have left it.
#[test]
fn later_tables_match_the_dscp_that_a_meter_made() {
    let mut s = switch();
    s.control(meter(MeterModCommand::Add, BandKind::Drop));
    s.flow(FlowMod {
        instructions: vec![Instruction::Meter(METER), Instruction::GotoTable(TableId(1))],
        ..metered()
    });
    let to = |dscp: u8, port: u32| {
        let actions = vec![Action::output(PortNo(port))];
        FlowMod { instructions: vec![Instruction::ApplyActions(actions)], ..to_controller(1, dscp) }
    };
    s.flow(to(18, 2));
    s.flow(to(20, 1));
    let send = |s: &mut Standalone| {
        let sent: Vec<_> = (0..3).flat_map(|_| s.receive(PortNo(2), &frame(18))).collect();
        s.advance(Duration::from_secs(1));
        sent.iter().map(|(port, bytes)| (port.0, bytes[15] >> 2)).collect::<Vec<_>>()
    };
    // Frames of class 18 are sent back where they came from, which is nowhere.
    assert_eq!(send(&mut s), []);
    s.control(meter(MeterModCommand::Modify, BandKind::DscpRemark { prec_level: 1 }));
    assert_eq!(send(&mut s), [(1, 20)], "the flow knows of the new band");
    s.control(meter(MeterModCommand::Modify, BandKind::Drop));
    assert_eq!(send(&mut s), []);
}

#[test]
fn what_goes_to_the_controller_is_metered_and_remarked_by_the_virtual_meter() {
    let mut s = switch();
    let all = |kind| {
        let bands = vec![Band { kind, rate: 10, burst: 2 }];
        let flags = MeterFlags::PKTPS | MeterFlags::BURST;
        Message::MeterMod(MeterMod {
            command: MeterModCommand::Add,
            flags,
            meter: MeterId::CONTROLLER,
            bands,
        })
    };
    assert_eq!(s.control(all(BandKind::DscpRemark { prec_level: 2 })), []);
    s.flow(to_controller(0, 18));
    for _ in 0..4 {
        s.receive(PortNo(1), &frame(18));
    }
    assert_eq!(dscps_told(&mut s), [18, 18, 22, 22]);
}

/// A super-frame counts as the frames it would be on a wire; what the meter admits of it passes.
#[test]
fn a_super_frame_passes_as_far_as_it_is_admitted() {
    let mut s = switch();
    s.control(meter(MeterModCommand::Add, BandKind::Drop));
    s.flow(metered());
    let (a, b) = (MacAddr::from_u64(0x0200_0000_0001), MacAddr::from_u64(0x0200_0000_0002));
    let header = tcp::Header { src_port: 1, dst_port: 2, ..tcp::Header::default() };
    let super_frame = |n: usize| {
        let bytes = build::ethernet(a, b).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).tcp(&header, &vec![7; n * 1000]);
        let mut frame = packet::Pool::default().frame_from(&bytes).expect("it fits");
        frame.meta.csum = Some(CsumPartial { start: 34, offset: 16 });
        frame.meta.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1000, ecn: false });
        frame
    };
    let lens =
        |sent: Vec<(PortNo, packet::Frame)>| sent.iter().map(|(_, frame)| frame.len()).collect::<Vec<_>>();
    assert_eq!(lens(s.process_frames(0, PortNo(1), super_frame(2))), [2054], "two are admitted, whole");
    assert_eq!(lens(s.process_frames(0, PortNo(1), super_frame(5))), [0; 0]);
    s.advance(Duration::from_millis(150));
    assert_eq!(lens(s.process_frames(0, PortNo(1), super_frame(5))), [1054], "one of five");
    s.idle();
    let request = MultipartRequest { more: false, body: Request::Meter(METER) };
    let replies = s.control(Message::MultipartRequest(request));
    let [Message::MultipartReply(reply)] = &replies[..] else { panic!("{replies:?}") };
    let Reply::Meter(stats) = &reply.body else { panic!("{reply:?}") };
    assert_eq!((stats[0].packets_in, stats[0].bytes_in), (12, 12 * 1054));
    assert_eq!((stats[0].bands[0].packets, stats[0].bands[0].bytes), (9, 9 * 1054));
}
