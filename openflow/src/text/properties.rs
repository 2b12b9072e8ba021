//! What is written reads to the same.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::codec::strategies::{action, band, bucket, flow_mod};
use crate::*;

/// A port that has the same number in every version: 1.0 has the reserved ones at 0xff00 and above.
fn port(port: PortNo) -> PortNo {
    if (0xff00..=0xffff).contains(&port.0) { PortNo(port.0 - 0xff00) } else { port }
}

/// Without what the text cannot say.
fn writable(actions: &mut Vec<Action>) {
    actions.retain(|action| !matches!(action, Action::Unknown { .. } | Action::Experimenter { .. }));
    for action in actions {
        if let Action::Output { port: to, max_len } = action {
            *to = port(*to);
            if *to != ports::CONTROLLER {
                *max_len = 0;
            }
        }
    }
}

fn a_flow() -> impl Strategy<Value = FlowMod> {
    flow_mod().prop_map(|message| {
        let Message::FlowMod(mut flow) = message else { unreachable!("the strategy makes flow mods") };
        flow.buffer = None;
        flow.out_port = flow.out_port.map(port);
        flow.flags = FlowModFlags(flow.flags.0 & FlowModFlags::ALL.0);
        match (flow.command, flow.cookie_mask) {
            (FlowModCommand::Add, _) => flow.cookie_mask = 0,
            // A cookie without a mask selects nothing, so it is not written.
            (_, 0) => flow.cookie = Cookie(0),
            _ => {}
        }
        only_what_is_used(&mut flow);
        for instruction in &mut flow.instructions {
            if let Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) = instruction {
                writable(actions);
            }
        }
        flow.instructions.retain(|instruction| match instruction {
            Instruction::ApplyActions(actions) => !actions.is_empty(),
            other => !matches!(other, Instruction::Unknown { .. } | Instruction::Experimenter { .. }),
        });
        flow.instructions.sort_by_key(actions::order);
        flow
    })
}

/// Leaves out what the command has no use for, which is refused.
fn only_what_is_used(flow: &mut FlowMod) {
    let defaults = FlowMod::default();
    if flow.command != FlowModCommand::Add {
        flow.importance = defaults.importance;
    }
    if matches!(flow.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict) {
        flow.instructions.clear();
        (flow.idle_timeout, flow.hard_timeout, flow.flags) = (0, 0, defaults.flags);
    } else {
        (flow.out_port, flow.out_group) = (None, None);
    }
    if flow.command == FlowModCommand::Delete {
        flow.priority = defaults.priority;
    }
}

fn a_group() -> impl Strategy<Value = GroupMod> {
    let kinds = (0..4usize, 0..2usize, 0..=GroupId::MAX.0);
    (vec(bucket(), 0..4), kinds).prop_map(|(mut buckets, (group_type, command, group))| {
        let group_type = GroupType::ALL[group_type];
        if group_type == GroupType::Indirect {
            buckets.truncate(1);
        }
        for bucket in &mut buckets {
            writable(&mut bucket.actions);
            bucket.watch_port = bucket.watch_port.map(port);
            bucket.watch_group = bucket.watch_group.map(|group| GroupId(group.0.min(GroupId::MAX.0)));
            if group_type != GroupType::Select {
                bucket.weight = 0;
            }
        }
        GroupMod { command: GroupModCommand::ALL[command], group_type, group: GroupId(group), buckets }
    })
}

fn a_meter() -> impl Strategy<Value = MeterMod> {
    (vec(band(), 1..4), any::<u32>(), any::<[bool; 3]>()).prop_map(
        |(mut bands, meter, [kbps, burst, stats])| {
            for band in &mut bands {
                band.rate = band.rate.max(1);
                band.burst = if burst { band.burst } else { 0 };
                if !matches!(band.kind, BandKind::DscpRemark { .. }) {
                    band.kind = BandKind::Drop;
                }
            }
            let unit = if kbps { MeterFlags::KBPS } else { MeterFlags::PKTPS };
            let flags = unit.with(MeterFlags::BURST, burst).with(MeterFlags::STATS, stats);
            let meter = MeterId(meter.min(MeterId::CONTROLLER.0));
            MeterMod { command: MeterModCommand::Add, flags, meter, bands }
        },
    )
}

proptest! {
    #[test]
    fn flows_read_as_they_were_written(flow in a_flow()) {
        let text = flow.to_string();
        prop_assert_eq!(parse_flow_mod(flow.command, &text), Ok(flow), "{}", text);
    }

    #[test]
    fn groups_read_as_they_were_written(group in a_group()) {
        let text = group.to_string();
        let read = parse_group_mod(group.command, &text, &Names::default());
        prop_assert_eq!(read, Ok(group), "{}", text);
    }

    #[test]
    fn meters_read_as_they_were_written(meter in a_meter()) {
        let text = meter.to_string();
        prop_assert_eq!(parse_meter_mod(meter.command, &text), Ok(meter), "{}", text);
    }

    #[test]
    fn packet_outs_read_as_they_were_written(
        mut actions in vec(action(), 0..5), from in any::<u32>(), data in vec(any::<u8>(), 1..100),
    ) {
        writable(&mut actions);
        let packet = PacketOut { buffer: None, in_port: port(PortNo(from)), actions, data };
        let text = packet.to_string();
        prop_assert_eq!(parse_packet_out(&text, &Names::default()), Ok(packet), "{}", text);
    }

    #[test]
    fn any_text_is_an_error_or_something(text in "[a-z0-9_=:,()/\"\\\\ >.-]{0,60}") {
        let names = Names::default();
        let _ = parse_flow(&text);
        let _ = parse_flow_stats_request(&text);
        let _ = parse_group_mod(GroupModCommand::Add, &text, &names);
        let _ = parse_meter_mod(MeterModCommand::Add, &text);
        let _ = parse_packet_out(&text, &names);
        // Behind the words that lead deeper.
        let _ = parse_flow(&format!("tcp,actions={text}"));
        let _ = parse_group_mod(GroupModCommand::Add, &format!("group_id=1,type=ff,bucket={text}"), &names);
        let _ = parse_meter_mod(MeterModCommand::Add, &format!("meter=1,kbps,bands=type=drop {text}"));
    }
}
