//! A worker that is warm allocates nothing for a frame, whatever steps the frame takes. A program of its own: the
//! allocator counts for the whole process.

use netio::alloc::{ALLOCATIONS, Counting, count_allocations};
use openflow::{
    Action, Band, BandKind, Bucket, Field, FlowMod, GroupId, GroupMod, GroupModCommand, GroupType,
    Instruction, MacAddr, Match, Message, MeterFlags, MeterId, MeterMod, MeterModCommand, Oxm, PortNo,
    Priority, QueueId, TableId, ports,
};
use packet::{Batch, Gso, GsoKind, Outputs, build, tcp};
use std::sync::atomic::Ordering::Relaxed;
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OUT: PortNo = PortNo(2);
/// Batches of each kind; enough for every buffer to have been used before the second half, which is counted.
const N_BATCHES: usize = 200;

fn mac(n: u64) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 | n)
}

/// A frame of TCP that the flow for `port` is for.
fn frame(port: u16, payload: usize) -> Vec<u8> {
    let ip = build::ethernet(mac(1), mac(2)).ipv4([10, 0, 0, 1], [10, 0, 0, 2]);
    ip.tcp(&tcp::Header { src_port: 7, dst_port: port, ..Default::default() }, &vec![0; payload])
}

fn apply(actions: &[Action]) -> Vec<Instruction> {
    vec![Instruction::ApplyActions(actions.to_vec())]
}

fn set(field: Field, value: u128) -> Action {
    Action::SetField(Oxm::new(field, value))
}

/// What is done with frames of each kind: everything a flow can say but to tell the controller, which is rated.
fn kinds() -> Vec<(&'static str, Vec<Instruction>)> {
    let output = Action::output(OUT);
    let list = |actions: &[Action]| apply(&[actions, &[Action::output(OUT)]].concat());
    let goto = |actions: &[Action]| {
        vec![Instruction::ApplyActions(actions.to_vec()), Instruction::GotoTable(TableId(1))]
    };
    let to = |port| apply(&[Action::output(port)]);
    vec![
        ("output", apply(std::slice::from_ref(&output))),
        ("drop", apply(&[])),
        ("two outputs", apply(&[output.clone(), Action::output(PortNo(3))])),
        ("in_port", to(ports::IN_PORT)),
        ("flood", to(ports::FLOOD)),
        ("all", to(ports::ALL)),
        ("normal", to(ports::NORMAL)),
        ("a port that is not there", to(PortNo(99))),
        ("rewritten", list(&[set(Field::EthDst, 9), set(Field::Ipv4Dst, 9), Action::DecNwTtl])),
        ("ports", list(&[set(Field::TcpDst, 9), set(Field::TcpSrc, 8), set(Field::IpDscp, 7)])),
        ("TTL", list(&[Action::SetNwTtl(9), Action::DecNwTtl])),
        ("tags", list(&[Action::PushVlan(0x8100), set(Field::VlanVid, 0x1005), Action::PopVlan])),
        ("queue", list(&[Action::SetQueue(QueueId(1))])),
        ("group all", list(&[Action::Group(GroupId(1))])),
        ("group select", list(&[Action::Group(GroupId(2))])),
        ("group failover", list(&[Action::Group(GroupId(3))])),
        ("meter", [vec![Instruction::Meter(MeterId(1))], list(&[])].concat()),
        ("remarking meter", [vec![Instruction::Meter(MeterId(2))], goto(&[])].concat()),
        ("tables", goto(&[set(Field::EthSrc, 9)])),
        ("action set", vec![Instruction::WriteActions(vec![output])]),
        ("MPLS", list(&[Action::PushMpls(0x8847), Action::SetMplsTtl(9), Action::DecMplsTtl])),
        ("MPLS, read again", goto(&[Action::PushMpls(0x8847)])),
        ("MPLS and back", goto(&[Action::PushMpls(0x8847), Action::PopMpls(0x0800), Action::DecNwTtl])),
        ("PBB", goto(&[Action::PushPbb(0x88e7), Action::PopPbb])),
    ]
}

fn group(group: u32, group_type: GroupType) -> Message {
    let bucket = |port| Bucket {
        weight: if group_type == GroupType::Select { 1 } else { 0 },
        watch_port: (group_type == GroupType::FastFailover).then_some(PortNo(port)),
        watch_group: None,
        actions: vec![Action::DecNwTtl, Action::output(PortNo(port))],
    };
    let buckets = vec![bucket(2), bucket(3)];
    Message::GroupMod(GroupMod { command: GroupModCommand::Add, group_type, group: GroupId(group), buckets })
}

fn meter(meter: u32, kind: BandKind) -> Message {
    Message::MeterMod(MeterMod {
        command: MeterModCommand::Add,
        flags: MeterFlags::KBPS,
        meter: MeterId(meter),
        bands: vec![Band { rate: 1, burst: 0, kind }],
    })
}

/// A switch with a flow for each kind, told apart by the port of TCP, and the cache or none.
fn switch(cache_entries: u32) -> Standalone {
    let mut s = Standalone::new(SwitchConfig { seed: Some(1), cache_entries, ..SwitchConfig::default() }, 4);
    for message in [
        group(1, GroupType::All),
        group(2, GroupType::Select),
        group(3, GroupType::FastFailover),
        meter(1, BandKind::Drop),
        meter(2, BandKind::DscpRemark { prec_level: 1 }),
    ] {
        assert_eq!(s.control(message), vec![]);
    }
    for (n, (_, instructions)) in kinds().into_iter().enumerate() {
        let matches = Match::new().tcp_dst(n as u16);
        s.flow(FlowMod::add(TableId(0), Priority(5), matches, instructions));
    }
    s.flow(FlowMod::add(TableId(1), Priority(5), Match::new(), apply(&[Action::output(OUT)])));
    s
}

/// Allocations for so many frames, which are freed again.
fn allocations(s: &mut Standalone, bytes: &[u8], gso: Option<Gso>) -> u64 {
    let (mut batch, mut out) = (Batch::new(), Outputs::new());
    let mut before = 0;
    for n in 0..N_BATCHES {
        if n == N_BATCHES / 2 {
            before = ALLOCATIONS.load(Relaxed);
        }
        for _ in 0..16 {
            let mut frame = s.pool.frame_from(bytes).expect("it fits");
            frame.meta.in_port = PortNo(1);
            frame.meta.gso = gso;
            batch.push(frame);
        }
        s.workers[0].process(s.now, &mut batch, &mut s.pool, &mut out);
        out.drain(..).for_each(|(_, frame)| s.pool.free(frame));
    }
    ALLOCATIONS.load(Relaxed) - before
}

#[test]
fn a_warm_worker_allocates_nothing() {
    count_allocations();
    let gso = Gso { kind: GsoKind::Tcp4, size: 1000, ecn: false };
    for cache_entries in [1 << 10, 0] {
        for (n, (name, _)) in kinds().into_iter().enumerate() {
            let mut s = switch(cache_entries);
            for (bytes, gso) in [(frame(n as u16, 6), None), (frame(n as u16, 5000), Some(gso))] {
                let n = allocations(&mut s, &bytes, gso);
                assert_eq!(n, 0, "{name}, cache of {cache_entries}, {gso:?}");
            }
            let missed = frame(u16::MAX, 6);
            assert_eq!(allocations(&mut s, &missed, None), 0, "a table miss");
            assert_eq!(allocations(&mut s, &missed[..20], None), 0, "a frame that is cut");
        }
    }
}
