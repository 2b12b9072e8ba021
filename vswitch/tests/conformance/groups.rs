//! For each group type, where the frames go.

use std::collections::BTreeMap;

use openflow::{
    Action, Bucket, Field, FlowMod, GroupId, GroupMod, GroupModCommand, GroupStats, GroupType, Instruction,
    Match, Message, MultipartRequest, Oxm, PortNo, Priority, Reply, Request, TableId,
};
use vswitch::standalone::Standalone;

use crate::wire::{Encap, Kind, Values, frame};
use crate::{IN, switch};

const GROUP: GroupId = GroupId(5);

fn bucket(weight: u16, watch: Option<u32>, actions: Vec<Action>) -> Bucket {
    Bucket { weight, watch_port: watch.map(PortNo), watch_group: None, actions }
}

fn to(port: u32) -> Vec<Action> {
    vec![Action::output(PortNo(port))]
}

fn with_group(group_type: GroupType, buckets: Vec<Bucket>) -> Standalone {
    let mut s = switch();
    let group = GroupMod { command: GroupModCommand::Add, group_type, group: GROUP, buckets };
    assert_eq!(s.control(Message::GroupMod(group)), []);
    let instructions = vec![Instruction::ApplyActions(vec![Action::Group(GROUP)])];
    s.flow(FlowMod::add(TableId(0), Priority(1), Match::new(), instructions));
    s
}

/// The n-th microflow's frame.
fn microflow(n: u32) -> Vec<u8> {
    let values =
        Values::default().with(Field::UdpSrc, u128::from(n % 60_000)).with(Field::Ipv4Src, u128::from(n));
    frame(Kind::Udp4, Encap::Plain, &values)
}

fn stats(s: &mut Standalone) -> GroupStats {
    s.idle();
    let replies =
        s.control(Message::MultipartRequest(MultipartRequest { more: false, body: Request::Group(GROUP) }));
    let [Message::MultipartReply(reply)] = &replies[..] else { panic!("{replies:?}") };
    let Reply::Group(groups) = &reply.body else { panic!("{reply:?}") };
    groups[0].clone()
}

#[test]
fn all_gives_each_bucket_its_own_copy() {
    let set = Action::SetField(Oxm::new(Field::EthDst, 0x02ff_0000_0009));
    let first = vec![set, Action::output(PortNo(2))];
    let mut s = with_group(
        GroupType::All,
        vec![bucket(0, None, first), bucket(0, None, to(3)), bucket(0, None, to(4))],
    );
    let bytes = microflow(1);
    let changed = [&[2, 0xff, 0, 0, 0, 9], &bytes[6..]].concat();
    let expected = [(PortNo(2), changed), (PortNo(3), bytes.clone()), (PortNo(4), bytes.clone())];
    assert_eq!(s.receive(IN, &bytes), expected);
    let stats = stats(&mut s);
    assert_eq!((stats.packets, stats.bytes), (1, bytes.len() as u64));
    assert_eq!(stats.buckets.iter().map(|b| b.packets).collect::<Vec<_>>(), [1, 1, 1]);
    println!("groups: all, a copy for each of 3 buckets");
}

#[test]
fn indirect_has_one_bucket() {
    let mut s = with_group(GroupType::Indirect, vec![bucket(0, None, to(3))]);
    assert_eq!(s.receive(IN, &microflow(1)), [(PortNo(3), microflow(1))]);
    println!("groups: indirect, its one bucket");
}

/// The shares follow the weights within four standard deviations, each microflow keeps its bucket, and the counters
/// of the buckets say what was sent.
#[test]
fn select_splits_by_weight_and_keeps_flows_together() {
    const N: u32 = 20_000;
    for weights in [[1, 1, 1], [1, 2, 5], [10, 0, 30]] {
        let buckets = weights.iter().zip(2..).map(|(&weight, port)| bucket(weight, None, to(port))).collect();
        let mut s = with_group(GroupType::Select, buckets);
        let mut by_port = BTreeMap::<u32, u32>::new();
        for n in 0..N {
            let [(port, bytes)] = &s.receive(IN, &microflow(n))[..] else { panic!("one bucket, one frame") };
            assert_eq!(bytes, &microflow(n));
            *by_port.entry(port.0).or_default() += 1;
            if n % 100 == 0 {
                assert_eq!(s.receive(IN, &microflow(n))[0].0, *port, "sticky");
                *by_port.entry(port.0).or_default() += 1;
            }
        }
        let n_sent: u32 = by_port.values().sum();
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let stats = stats(&mut s);
        for (nth, &weight) in weights.iter().enumerate() {
            let share = f64::from(weight) / total;
            let got = by_port.get(&(nth as u32 + 2)).copied().unwrap_or(0);
            let deviation = (f64::from(n_sent) * share * (1.0 - share)).sqrt();
            let off = (f64::from(got) - f64::from(n_sent) * share).abs();
            assert!(off <= 4.0 * deviation, "{weights:?}: bucket {nth} got {got} of {n_sent}");
            assert_eq!(stats.buckets[nth].packets, u64::from(got));
        }
        println!("groups: select {weights:?}, {:?} of {n_sent} frames", by_port.values().collect::<Vec<_>>());
    }
}

#[test]
fn fast_failover_takes_the_first_live_bucket() {
    let buckets = vec![bucket(0, Some(2), to(2)), bucket(0, Some(3), to(3)), bucket(0, Some(4), to(4))];
    let mut s = with_group(GroupType::FastFailover, buckets);
    let bytes = microflow(1);
    let link = |s: &mut Standalone, port, up| {
        s.switch.set_port_link(s.now, PortNo(port), up);
        s.settle();
        s.receive(IN, &bytes).iter().map(|(port, _)| port.0).collect::<Vec<_>>()
    };
    assert_eq!(link(&mut s, 2, true), [2]);
    assert_eq!(link(&mut s, 2, false), [3]);
    assert_eq!(link(&mut s, 3, false), [4]);
    assert_eq!(link(&mut s, 4, false), [0; 0], "no bucket is live");
    assert_eq!(link(&mut s, 3, true), [3]);
    assert_eq!(link(&mut s, 2, true), [2]);
    println!("groups: fast-failover, 6 states of its ports");
}
