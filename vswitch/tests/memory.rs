//! What flows cost in memory, and that it is given back. A program of its own: it measures the whole process.

use openflow::{
    Action, Cookie, Field, FlowMod, Instruction, MacAddr, Match, Message, MultipartRequest, Oxm, PortNo,
    Priority, Reply, Request, TableId,
};
use packet::{Frame, VlanId, build};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

const N_FLOWS: u32 = 100_000;
/// What a flow may cost: owner's record and index, both instances of the tables.
const MAX_BYTES: usize = 512;

/// Bytes of memory this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number");
    pages * 4096
}

/// The `n`-th of flows that all differ.
type Make = fn(u32) -> FlowMod;

fn transport(n: u32) -> FlowMod {
    let matches = Match::new().in_port(PortNo(1)).ipv4_src((10 << 24 | n).into(), 32).tcp_dst(n as u16);
    let apply = vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])];
    FlowMod { cookie: Cookie(n.into()), ..FlowMod::add(TableId(0), Priority(5), matches, apply) }
}

/// As a switch has them that routes, filters and switches: in four tables, for IPv4, IPv6, VLANs and addresses, with
/// timeouts, and with actions that few or many have in common.
fn mixed(n: u32) -> FlowMod {
    let output = |port| Action::output(PortNo(port));
    let apply = |actions| vec![Instruction::ApplyActions(actions)];
    let mac = |n: u32| MacAddr::from_u64(0x0200_0000_0000 | u64::from(n));
    let (table, priority, matches, instructions) = match n % 4 {
        0 => return transport(n),
        1 => {
            let vlan = VlanId::new(1 + (n % 4_000) as u16).expect("in range");
            let matches = Match::new().vlan(vlan).eth_dst(mac(n));
            (1, 7, matches, apply(vec![Action::PopVlan, output(1 + n % 40)]))
        }
        2 => {
            let rewrite = Action::SetField(Oxm::new(Field::EthDst, mac(n % 100).to_u64().into()));
            let matches = Match::new().ipv4_dst((n << 8).into(), 24);
            (2, 24, matches, apply(vec![Action::DecNwTtl, rewrite, output(2)]))
        }
        _ => {
            let matches = Match::new().ipv6_src((1u128 << 100 | u128::from(n)).into(), 64 + (n % 65) as u8);
            (3, 1 + (n % 1_000) as u16, matches.udp_dst(n as u16), vec![Instruction::GotoTable(TableId(4))])
        }
    };
    let idle_timeout = if n % 10 == 1 { 300 } else { 0 };
    FlowMod { idle_timeout, ..FlowMod::add(TableId(table), Priority(priority), matches, instructions) }
}

fn n_flows(s: &mut Standalone) -> u32 {
    let request = MultipartRequest { more: false, body: Request::Table };
    match &s.control(Message::MultipartRequest(request))[..] {
        [Message::MultipartReply(reply)] => match &reply.body {
            Reply::Table(tables) => tables.iter().map(|table| table.active).sum(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn install(s: &mut Standalone, make: Make) {
    for n in 0..N_FLOWS {
        s.submit(Message::FlowMod(make(n)));
        if n % 1_000 == 999 {
            s.settle();
        }
    }
    s.settle();
    assert_eq!((s.messages(), n_flows(s)), (vec![], N_FLOWS));
}

fn switch() -> Standalone {
    Standalone::new(SwitchConfig { seed: Some(1), n_workers: 2, ..SwitchConfig::default() }, 2)
}

/// One test: side by side they would measure each other.
#[test]
fn a_hundred_thousand_flows_are_small_and_leave_no_trace() {
    // None ends before the last is measured: it would leave its memory to the others.
    let mut all = Vec::new();
    for (name, make) in [("transport", transport as Make), ("mixed", mixed)] {
        let (mut s, before) = (switch(), resident());
        install(&mut s, make);
        let bytes = resident().saturating_sub(before) / N_FLOWS as usize;
        println!("{bytes} bytes a flow ({name})");
        assert!(bytes <= MAX_BYTES, "{bytes} bytes a flow ({name})");
        all.push(s);
    }
    drop(all);
    let mut s = switch();
    let frame = |n: u32| {
        let link = build::ethernet(MacAddr([2; 6]), MacAddr([4; 6]));
        let header = packet::tcp::Header { dst_port: n as u16, ..packet::tcp::Header::default() };
        link.ipv4((10 << 24 | n).to_be_bytes(), [1; 4]).tcp(&header, b"")
    };
    let mut after = Vec::new();
    for _ in 0..5 {
        install(&mut s, transport);
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
