//! The fast path against the oracle: random tables, frames and sequences of flow mods, several workers that adopt
//! epochs at different times, byte for byte and counter for counter.

mod operations;

use openflow::{
    Action, Bucket, FlowMod, FlowModCommand, GroupId, GroupMod, GroupModCommand, GroupType, Instruction,
    Match, Message, PortNo, Priority, TableId,
};
use operations::{Dice, MAX_OPS, Mismatch, N_PORTS, N_WORKERS, OP_SIZE, Op, Rig, partial};
use packet::Frame;
use proptest::prelude::*;
use proptest::sample::Index;
use vswitch::standalone::Standalone;
use vswitch::{GATHER, SwitchConfig};

/// What `read` makes of random bytes.
fn of<T: core::fmt::Debug>(read: fn(&mut Dice<'_>) -> T) -> impl Strategy<Value = T> {
    prop::collection::vec(any::<u8>(), OP_SIZE).prop_map(move |bytes| read(&mut Dice::new(&bytes)))
}

fn op() -> impl Strategy<Value = Op> {
    prop::collection::vec(any::<u8>(), OP_SIZE).prop_map(|bytes| Op::read(&bytes))
}

fn verdict(result: Result<(), Mismatch>) -> Result<(), TestCaseError> {
    result.map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_path_is_the_oracle(ops in prop::collection::vec(op(), 1..MAX_OPS)) {
        verdict(operations::run(ops, 64))?;
    }

    #[test]
    fn while_changes_are_gathered_too(ops in prop::collection::vec(op(), 1..MAX_OPS)) {
        verdict(operations::run_in(Rig::gathering(64, GATHER), ops))?;
    }

    #[test]
    fn without_a_cache_too(ops in prop::collection::vec(op(), 1..MAX_OPS)) {
        verdict(operations::run(ops, 0))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Many flows first, so that every kind of table is met; then few frames, each several times.
    #[test]
    fn with_many_flows(
        mods in prop::collection::vec(of(operations::flow_mod), 50..200),
        frames in prop::collection::vec(of(operations::frame), 5..20),
        ops in prop::collection::vec(
            (of(operations::flow_mod), any::<Index>(), 0..N_WORKERS, 1..=N_PORTS),
            1..60,
        ),
    ) {
        verdict(many_flows(mods, &frames, ops))?;
    }
}

type Turn = (FlowMod, Index, usize, u32);

fn many_flows(mods: Vec<FlowMod>, frames: &[Vec<u8>], turns: Vec<Turn>) -> Result<(), Mismatch> {
    let mut rig = Rig::new(16);
    for m in mods {
        rig.run(Op::Mod(FlowMod { command: FlowModCommand::Add, ..m }))?;
    }
    rig.settle()?;
    for (m, pick, worker, port) in turns {
        for bytes in frames {
            rig.frame(worker, port, bytes)?;
        }
        rig.run(Op::Mod(m))?;
        rig.run(Op::Obey(pick.index(N_WORKERS)))?;
        rig.run(Op::Report)?;
        rig.run(Op::Obey(worker))?;
    }
    rig.settle()?;
    rig.check_counters()
}

proptest! {
    /// What leaves with a partial checksum, completed, is what leaves of the complete frame.
    #[test]
    fn partial_checksums_come_out_right(
        bytes in of(operations::frame),
        sets in prop::collection::vec(of(operations::set_field), 1..6),
        tags in prop::collection::vec(any::<bool>(), 0..3),
    ) {
        let Some(frame) = partial(&bytes) else { return Ok(()) };
        let mut s = Standalone::new(SwitchConfig { seed: Some(7), ..SwitchConfig::default() }, 2);
        let mut actions: Vec<Action> =
            tags.iter().map(|&push| if push { Action::PushVlan(0x8100) } else { Action::PopVlan }).collect();
        actions.extend(sets.into_iter().map(Action::SetField));
        actions.push(Action::output(PortNo(2)));
        // As a packet-out would: no match, so that every set-field is accepted.
        let group = GroupMod {
            command: GroupModCommand::Add,
            group_type: GroupType::Indirect,
            group: GroupId(1),
            buckets: vec![Bucket { weight: 0, watch_port: None, watch_group: None, actions }],
        };
        prop_assert_eq!(s.control(Message::GroupMod(group)), vec![]);
        s.flow(FlowMod::add(
            TableId(0),
            Priority(1),
            Match::new(),
            vec![Instruction::ApplyActions(vec![Action::Group(GroupId(1))])],
        ));
        let whole = s.process(0, PortNo(1), Frame::from_bytes(&bytes));
        let mut sent = s.process_frames(0, PortNo(1), frame);
        for (_, frame) in &mut sent {
            prop_assert!(packet::offload::complete_checksum(frame).is_ok());
        }
        let sent: Vec<_> = sent.into_iter().map(|(port, frame)| (port, frame.to_vec())).collect();
        prop_assert_eq!(sent, whole);
    }
}
