//! Claim: accepting a flow mod and publishing it to two workers costs about the same in a small table and among 100,000 flows.
//! Prints microseconds of this thread's own time for each flow mod: many before one barrier, and each with its own.

use std::net::Ipv4Addr;

use openflow::{Action, FlowMod, Instruction, Match, Message, PortNo, Priority, TableId};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

/// Nanoseconds this thread has run: not the time of day, so that a busy machine disturbs less.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number comes first")
}

fn flow(n: u32) -> FlowMod {
    let matches = Match::new().ipv4_src(Ipv4Addr::from_bits(n), 32).tcp_dst(n as u16);
    let apply = vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])];
    FlowMod::add(TableId(0), Priority(5), matches, apply)
}

fn each(n: u32, mut work: impl FnMut(u32)) -> f64 {
    let start = cpu_nanos();
    (0..n).for_each(&mut work);
    (cpu_nanos() - start) as f64 / f64::from(n) / 1000.0
}

fn main() {
    let mut s = Standalone::new(SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::default() }, 2);
    let one_by_one = |s: &mut Standalone, from: u32| {
        each(30_000, |n| {
            s.flow(flow(from + n));
            assert_eq!(s.control(Message::BarrierRequest), [Message::BarrierReply]);
        })
    };
    let few = one_by_one(&mut s, 1 << 24);
    s.flow(FlowMod::delete_all());
    let bulk = each(100_000, |n| {
        s.submit(Message::FlowMod(flow(n)));
        if n % 100 == 99 {
            s.settle();
        }
    });
    let many = one_by_one(&mut s, 2 << 24);
    let deletes = each(30_000, |n| {
        let gone = flow((2 << 24) + n);
        s.flow(FlowMod::delete_strict(gone.table, gone.priority, gone.matches));
    });
    println!("flow mods with a barrier each, up to 30,000  {few:8.2} us");
    println!("flow mods in lots of 100, up to 100,000 flows  {bulk:8.2} us");
    println!("flow mods with a barrier each, 100,000 flows   {many:8.2} us");
    println!("strict deletions, 100,000 flows                {deletes:8.2} us");
}
