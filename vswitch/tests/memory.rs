//! What flows cost in memory, and that it is given back. A program of its own: it measures the whole process.

use openflow::{
    Action, Cookie, FlowMod, Instruction, MacAddr, Match, Message, MultipartRequest, PortNo, Priority, Reply,
    Request, TableId,
};
use packet::{Frame, build};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

const N_FLOWS: u32 = 100_000;
/// What a flow may cost: owner's record and index, both instances of the tables.
const MAX_BYTES: usize = 1_200;

/// Bytes of memory this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number");
    pages * 4096
}

fn flow(n: u32) -> FlowMod {
    let matches = Match::new().in_port(PortNo(1)).ipv4_src((10 << 24 | n).into(), 32).tcp_dst(n as u16);
    let apply = vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])];
    FlowMod { cookie: Cookie(n.into()), ..FlowMod::add(TableId(0), Priority(5), matches, apply) }
}

fn n_flows(s: &mut Standalone) -> u32 {
    let request = MultipartRequest { more: false, body: Request::Table };
    match &s.control(Message::MultipartRequest(request))[..] {
        [Message::MultipartReply(reply)] => match &reply.body {
            Reply::Table(tables) => tables[0].active,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hundred_thousand_flows_come_and_go_without_a_trace() {
    let config = SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::default() };
    let mut s = Standalone::new(config, 2);
    let frame = |n: u32| {
        let link = build::ethernet(MacAddr([2; 6]), MacAddr([4; 6]));
        let header = packet::tcp::Header { dst_port: n as u16, ..packet::tcp::Header::default() };
        link.ipv4((10 << 24 | n).to_be_bytes(), [1; 4]).tcp(&header, b"")
    };
    let mut after = Vec::new();
    for round in 0..5 {
        let before = resident();
        for n in 0..N_FLOWS {
            s.submit(Message::FlowMod(flow(n)));
            if n % 1_000 == 999 {
                s.settle();
            }
        }
        s.settle();
        assert_eq!((s.messages(), n_flows(&mut s)), (vec![], N_FLOWS));
        if round == 0 {
            let bytes = resident().saturating_sub(before) / N_FLOWS as usize;
            assert!(bytes <= MAX_BYTES, "{bytes} bytes a flow");
        }
        // Programs and caches of the workers are filled by traffic, not by flows.
        for n in (0..N_FLOWS).step_by(50) {
            let sent = s.process(n as usize % 2, PortNo(1), Frame::from_bytes(&frame(n)));
            assert_eq!(sent.len(), 1);
        }
        s.flow(FlowMod::delete_all());
        assert_eq!(n_flows(&mut s), 0);
        after.push(resident());
    }
    // The allocator settles in the first rounds; a leak would go on. What any part of a flow takes is more than this.
    let left = after[4].saturating_sub(after[2]) / (2 * N_FLOWS as usize);
    assert!(left < 64, "{left} bytes of each flow are left behind: {after:?}");
}
