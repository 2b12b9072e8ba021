//! What flows cost in memory that come in one large bundle. A program of its own: it measures the whole process.

use openflow::{
    Action, BundleAdd, BundleControl, BundleControlKind, BundleFlags, FlowMod, Instruction, Match, Message,
    PortNo, Priority, TableId,
};
use vswitch::SwitchConfig;
use vswitch::standalone::{CONN, Standalone};

const N_FLOWS: u32 = 100_000;
/// What a flow may cost, as for flows that come one by one.
const MAX_BYTES: usize = 512;
const FLAGS: BundleFlags = BundleFlags::ATOMIC;

/// Bytes of memory this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number");
    pages * 4096
}

fn flow(n: u32) -> FlowMod {
    let matches = Match::new().in_port(PortNo(1)).ipv4_src((10 << 24 | n).into(), 32).tcp_dst(n as u16);
    let apply = vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])];
    FlowMod::add(TableId(0), Priority(5), matches, apply)
}

#[test]
fn flows_of_one_bundle_are_as_small_as_others() {
    let config = SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::default() };
    let mut s = Standalone::new(config, 2);
    let before = resident();
    for n in 0..N_FLOWS {
        let xid = s.upcoming_xid();
        let message = Box::new(Message::FlowMod(flow(n)));
        let add = BundleAdd { bundle: 1, flags: FLAGS, xid, message };
        // With the bytes that an error would quote.
        s.switch.handle_bundle_add(s.now, CONN, xid, add, &[7; 64]);
    }
    let waiting = (resident() - before) / N_FLOWS as usize;
    let commit = BundleControl { bundle: 1, kind: BundleControlKind::CommitRequest, flags: FLAGS };
    let replies = s.control(Message::BundleControl(commit));
    assert!(
        matches!(&replies[..], [Message::BundleControl(c)] if c.kind == BundleControlKind::CommitReply),
        "{replies:?}"
    );
    // The other instance of the tables catches up.
    s.flow(flow(N_FLOWS));
    s.flow(flow(N_FLOWS + 1));
    let bytes = (resident() - before) / N_FLOWS as usize;
    println!("{waiting} bytes a flow while it waits, {bytes} when it is in force");
    assert!(waiting <= MAX_BYTES && bytes <= MAX_BYTES, "{waiting} and then {bytes} bytes a flow");
}
