//! Long replies while flows come, go and change.

use std::collections::{BTreeMap, BTreeSet};

use openflow::{
    Action, Cookie, FlowMod, FlowModCommand, FlowModFlags, FlowStats, FlowStatsRequest, Instruction, Match,
    Message, MultipartReply, MultipartRequest, PortNo, Priority, Reply, Request, TableId, Xid,
};
use proptest::prelude::*;
use vswitch::standalone::{CONN, Standalone};
use vswitch::{ConnId, SwitchConfig};

/// Who changes flows.
const OTHER: ConnId = ConnId(CONN.0 + 1);
/// Flows of this port stay from beginning to end.
const STAYS: u16 = 1;

/// A flow by what names it.
type Name = (TableId, Priority, String);

fn name(flow: &FlowStats) -> Name {
    (flow.table, flow.priority, flow.matches.to_string())
}

fn flow(n: u16, kind: u16) -> FlowMod {
    let matches = Match::new().udp_src(kind).udp_dst(n);
    let output = Instruction::ApplyActions(vec![Action::output(PortNo(1))]);
    FlowMod::add(TableId((n % 3) as u8), Priority(n % 7), matches, vec![output])
}

/// What happens between two parts.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Another flow comes, or comes again.
    Come(u16),
    /// Another flow goes.
    Go(u16),
    /// A flow that stays gets other instructions.
    Modify { n: u16, resets: bool },
    /// So do all in a table.
    ModifyTable { table: u8, resets: bool },
    /// A flow that stays is put in its own place.
    Renew { n: u16, resets: bool },
    /// A part of a reply.
    Part,
    /// Somebody asks, too.
    Ask(u64),
    /// Somebody does not keep up, or does again.
    Pause(u64, bool),
}

fn change(n_staying: u16) -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0u16..400).prop_map(Change::Come),
        4 => (0u16..400).prop_map(Change::Go),
        6 => (0..n_staying, any::<bool>()).prop_map(|(n, resets)| Change::Modify { n, resets }),
        1 => (0u8..3, any::<bool>()).prop_map(|(table, resets)| Change::ModifyTable { table, resets }),
        4 => (0..n_staying, any::<bool>()).prop_map(|(n, resets)| Change::Renew { n, resets }),
        4 => Just(Change::Part),
        1 => (0u64..4).prop_map(Change::Ask),
        1 => (0u64..4, any::<bool>()).prop_map(|(n, paused)| Change::Pause(n, paused)),
    ]
}

struct Rig {
    s: Standalone,
    next_xid: u32,
    parts: BTreeMap<(ConnId, Xid), Vec<FlowStats>>,
    complete: BTreeSet<(ConnId, Xid)>,
}

impl Rig {
    fn new(n_staying: u16) -> Self {
        let mut s = Standalone::new(SwitchConfig { seed: Some(1), ..SwitchConfig::default() }, 2);
        s.switch.handle_connected(s.now, OTHER);
        (2..6).for_each(|n| s.switch.handle_connected(s.now, ConnId(CONN.0 + n)));
        for n in 0..n_staying {
            s.submit(Message::FlowMod(flow(n, STAYS)));
        }
        for n in 0..200 {
            s.submit(Message::FlowMod(flow(n, 2)));
        }
        s.settle();
        s.all_messages();
        Self { s, next_xid: 1000, parts: BTreeMap::new(), complete: BTreeSet::new() }
    }

    fn say(&mut self, conn: ConnId, message: Message) {
        self.next_xid += 1;
        self.s.switch.handle_message(self.s.now, conn, Xid(self.next_xid), message);
        self.pump();
    }

    /// Everything but timeouts, by which replies go on.
    fn pump(&mut self) {
        loop {
            self.s.carry_effects();
            let obeyed = (0..self.s.workers.len()).any(|n| self.s.obey_one(n));
            if !obeyed && !self.s.report_one() {
                break;
            }
        }
        for (conn, xid, message) in self.s.all_messages() {
            match message {
                Message::MultipartReply(MultipartReply { more, body: Reply::Flow(flows) }) => {
                    assert!(flows.len() <= 512, "a part of {} flows", flows.len());
                    assert!(!self.complete.contains(&(conn, xid)), "something behind the last part");
                    self.parts.entry((conn, xid)).or_default().extend(flows);
                    if !more {
                        self.complete.insert((conn, xid));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn is_part_due(&self) -> bool {
        self.s.switch.poll_timeout().is_some_and(|at| at <= self.s.now)
    }

    fn ask(&mut self, n: u64) {
        let conn = ConnId(CONN.0 + 2 + n);
        let body = Request::Flow(FlowStatsRequest::default());
        self.say(conn, Message::MultipartRequest(MultipartRequest { more: false, body }));
    }

    fn change(&mut self, change: Change) {
        let flags = |resets| if resets { FlowModFlags::RESET_COUNTS } else { FlowModFlags::default() };
        let message = match change {
            Change::Come(n) => flow(n, 2),
            Change::Go(n) => FlowMod { command: FlowModCommand::DeleteStrict, ..flow(n, 2) },
            Change::Modify { n, resets } => FlowMod {
                command: FlowModCommand::ModifyStrict,
                instructions: vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])],
                flags: flags(resets),
                ..flow(n, STAYS)
            },
            Change::ModifyTable { table, resets } => FlowMod {
                command: FlowModCommand::Modify,
                table: TableId(table),
                matches: Match::new(),
                flags: flags(resets),
                ..flow(0, STAYS)
            },
            Change::Renew { n, resets } => {
                FlowMod { flags: flags(resets), cookie: Cookie(n.into()), ..flow(n, STAYS) }
            }
            Change::Part => {
                self.s.switch.handle_timeout(self.s.now);
                return self.pump();
            }
            Change::Ask(n) => return self.ask(n),
            Change::Pause(n, paused) => {
                return self.s.switch.set_paused(ConnId(CONN.0 + 2 + n), paused);
            }
        };
        self.say(OTHER, Message::FlowMod(message));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Each flow that is there the whole time is said once, and none twice.
    #[test]
    fn a_flow_that_stays_is_said_exactly_once(
        n_staying in 1u16..2200,
        changes in prop::collection::vec(change(2200), 1..120),
    ) {
        let mut rig = Rig::new(n_staying);
        rig.ask(0);
        for change in changes {
            match change {
                Change::Modify { n, resets } => rig.change(Change::Modify { n: n % n_staying, resets }),
                Change::Renew { n, resets } => rig.change(Change::Renew { n: n % n_staying, resets }),
                change => rig.change(change),
            }
        }
        (0..4).for_each(|n| rig.change(Change::Pause(n, false)));
        while rig.is_part_due() {
            rig.change(Change::Part);
        }
        prop_assert_eq!(rig.parts.len(), rig.complete.len());
        prop_assert!(!rig.parts.is_empty());
        for flows in rig.parts.values() {
            let names: BTreeSet<Name> = flows.iter().map(name).collect();
            prop_assert_eq!(names.len(), flows.len(), "some flow is said twice");
            let stay = flows.iter().filter(|flow| flow.matches.to_string().contains("tp_src=1,"));
            prop_assert_eq!(stay.count(), usize::from(n_staying));
        }
    }
}

/// Between two requests to the switch at most one part of one reply is made, and everybody has their turn.
#[test]
fn replies_take_turns_and_others_are_served_between_their_parts() {
    let mut rig = Rig::new(2000);
    (0..4).for_each(|n| rig.ask(n));
    assert!(rig.parts.is_empty(), "nothing is said before its turn: {:?}", rig.parts.keys());
    for part in 1..=20 {
        rig.change(Change::Part);
        let n_said: Vec<usize> = rig.parts.values().map(Vec::len).collect();
        assert!(n_said.iter().sum::<usize>() <= part * 512);
        let (most, least) = (n_said.iter().max().unwrap(), n_said.iter().min().unwrap());
        assert!(part < 4 || most - least <= 512, "{n_said:?}");
        // A change is in force at once.
        let epoch = rig.s.switch.epoch();
        rig.change(Change::Renew { n: 3, resets: false });
        assert!(rig.s.switch.epoch() > epoch);
    }
    assert_eq!(rig.complete.len(), 4);
    assert!((0..4).all(|n| rig.s.switch.replies_due(ConnId(CONN.0 + 2 + n)) == 0));
}
