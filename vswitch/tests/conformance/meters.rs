//! For each meter the rate, on virtual time.

use core::time::Duration;

use openflow::{
    Action, Band, BandKind, FlowMod, Instruction, Match, Message, MeterFlags, MeterId, MeterMod,
    MeterModCommand, Priority, TableId,
};
use vswitch::standalone::Standalone;

use crate::wire::{Encap, Kind, Values, frame};
use crate::{IN, OUT, switch};

const METER: MeterId = MeterId(3);
const REMARKED: u8 = 0x0c << 2 | 1;

fn with_meter(flags: MeterFlags, kind: BandKind, rate: u32, action: Action) -> Standalone {
    let mut s = switch();
    let bands = vec![Band { kind, rate, burst: 0 }];
    let meter = MeterMod { command: MeterModCommand::Add, flags, meter: METER, bands };
    assert_eq!(s.control(Message::MeterMod(meter)), []);
    let instructions = vec![Instruction::Meter(METER), Instruction::ApplyActions(vec![action])];
    s.flow(FlowMod::add(TableId(0), Priority(1), Match::new(), instructions));
    s
}

/// A frame of `len` bytes, DSCP 10 (AF11).
fn frame_of(len: usize) -> Vec<u8> {
    let mut bytes = frame(Kind::Udp4, Encap::Plain, &Values::default().with(openflow::Field::IpDscp, 10));
    bytes.resize(len, 0);
    bytes
}

/// What passes unharmed a second, offered `offered` frames a second of `len` bytes for `seconds` of virtual time.
fn passed(s: &mut Standalone, offered: u32, len: usize, seconds: u32) -> f64 {
    let bytes = frame_of(len);
    let mut n_passed = 0;
    for _ in 0..offered * seconds {
        for (port, sent) in s.receive(IN, &bytes) {
            assert_eq!(port, OUT);
            n_passed += usize::from(sent[15] != REMARKED);
        }
        n_passed += s.messages().iter().filter(|m| matches!(m, Message::PacketIn(_))).count();
        s.now = s.now + Duration::from_secs(1) / offered;
    }
    n_passed as f64 / f64::from(seconds)
}

/// Bits a second, or frames a second, within a tenth of what the band says (the issue's own bound).
fn is_near(what: &str, measured: f64, wanted: f64) {
    println!("meters: {what}: {measured:.0} of {wanted:.0}");
    assert!((measured - wanted).abs() <= wanted / 10.0, "{what}: {measured} is not near {wanted}");
}

#[test]
fn bands_in_kilobits_hold_their_rate() {
    for (kbps, len, seconds) in [(100, 125, 20), (1_000, 1_000, 10), (20_000, 1_250, 3), (200_000, 1_500, 2)]
    {
        for times in [2, 10] {
            let offered = kbps * 1_000 / 8 / len as u32 * times;
            let mut s = with_meter(MeterFlags::KBPS, BandKind::Drop, kbps, Action::output(OUT));
            let rate = passed(&mut s, offered, len, seconds) * len as f64 * 8.0;
            is_near(
                &format!("{kbps} kbit/s, {times} times as much offered"),
                rate,
                f64::from(kbps) * 1_000.0,
            );
        }
    }
}

#[test]
fn bands_in_packets_hold_their_rate() {
    for (pps, seconds) in [(10, 30), (1_000, 5), (20_000, 2)] {
        let mut s = with_meter(MeterFlags::PKTPS, BandKind::Drop, pps, Action::output(OUT));
        is_near(&format!("{pps} packets/s"), passed(&mut s, pps * 3, 100, seconds), f64::from(pps));
    }
}

#[test]
fn a_meter_passes_what_stays_below_it() {
    let mut s = with_meter(MeterFlags::KBPS, BandKind::Drop, 1_000, Action::output(OUT));
    let rate = passed(&mut s, 90, 1_250, 10) * 1_250.0 * 8.0;
    is_near("1000 kbit/s, 900 offered", rate, 900_000.0);
    assert_eq!(rate, 900_000.0, "nothing is lost");
}

#[test]
fn a_remark_band_lets_all_pass_and_marks_the_excess() {
    let mut s =
        with_meter(MeterFlags::KBPS, BandKind::DscpRemark { prec_level: 1 }, 1_000, Action::output(OUT));
    let rate = passed(&mut s, 500, 1_000, 5) * 8_000.0;
    is_near("1000 kbit/s unmarked, 4000 offered", rate, 1_000_000.0);
}

#[test]
fn frames_for_the_controller_are_metered_too() {
    let mut s = with_meter(MeterFlags::PKTPS, BandKind::Drop, 50, Action::controller(128));
    is_near("50 packets/s to the controller", passed(&mut s, 500, 100, 5), 50.0);
}
