//! What is found by indices is what a scan finds.

use openflow::{Action, Field, Instruction, MeterId, Oxm, ports};
use proptest::prelude::*;
use proptest::sample::{Index as Pick, select};

use super::*;
use crate::switch::record::does;

fn matches() -> impl Strategy<Value = Match> {
    let port = |n: u32| PortNo(n);
    prop_oneof![
        1 => Just(Match::new()),
        3 => (1u32..4).prop_map(move |n| Match::new().in_port(port(n))),
        6 => (0u64..40).prop_map(|n| Match::new().eth_dst(openflow::MacAddr::from_u64(n))),
        4 => (0u64..8, 1u32..3).prop_map(move |(n, p)| {
            Match::new().eth_dst(openflow::MacAddr::from_u64(n)).in_port(port(p))
        }),
        4 => (0u32..8, select(vec![8u8, 29, 30, 32])).prop_map(|(n, len)| {
            Match::new().ipv4_dst((0x0a00_0000 | n).into(), len)
        }),
        3 => (0u32..4, 0u16..4).prop_map(|(n, p)| Match::new().ipv4_dst(n.into(), 32).tcp_dst(p)),
        2 => (0u16..4).prop_map(|p| Match::new().udp_dst(p)),
        1 => (0u64..4, 0u64..8).prop_map(|(v, m)| Match::new().metadata(v, m)),
        // No frame can come by two ports.
        1 => (1u128..3, 1u128..3).prop_map(|(a, b)| {
            Match::from_fields([Oxm::new(Field::InPort, a), Oxm::new(Field::InPhyPort, b)]).expect("sound")
        }),
    ]
}

fn instructions() -> impl Strategy<Value = Vec<Instruction>> {
    let action = prop_oneof![
        (1u32..5).prop_map(|n| Action::output(PortNo(n))),
        (1u32..3).prop_map(|n| Action::Group(GroupId(n))),
    ];
    (prop::collection::vec(action, 0..3), prop::option::weighted(0.2, 1u32..3)).prop_map(
        |(actions, meter)| {
            let meter = meter.map(|n| Instruction::Meter(MeterId(n)));
            [Instruction::ApplyActions(actions)].into_iter().chain(meter).collect()
        },
    )
}

fn flow() -> impl Strategy<Value = FlowMod> {
    (0u8..2, 0u16..3, 0u64..8, matches(), instructions()).prop_map(
        |(table, priority, cookie, matches, instructions)| FlowMod {
            cookie: Cookie(cookie),
            ..FlowMod::add(TableId(table), Priority(priority), matches, instructions)
        },
    )
}

#[derive(Clone, Debug)]
struct Query {
    table: TableId,
    matches: Match,
    strict: Option<Priority>,
    cookie: (Cookie, u64),
    out_port: Option<PortNo>,
    out_group: Option<GroupId>,
}

fn query() -> impl Strategy<Value = Query> {
    (
        select(vec![TableId(0), TableId(1), TableId::ALL, TableId(9)]),
        prop_oneof![matches(), Just(Match::new())],
        prop::option::weighted(0.2, (0u16..3).prop_map(Priority)),
        (0u64..8, select(vec![0u64, 0, 1, 6, u64::MAX])),
        prop::option::weighted(0.3, (1u32..5).prop_map(PortNo)),
        prop::option::weighted(0.2, (1u32..3).prop_map(GroupId)),
    )
        .prop_map(|(table, matches, strict, (cookie, mask), out_port, out_group)| Query {
            table,
            matches,
            strict,
            cookie: (Cookie(cookie), mask),
            out_port,
            out_group,
        })
}

impl Query {
    fn filter(&self) -> Filter<'_> {
        let Self { table, ref matches, strict, cookie, out_port, out_group } = *self;
        Filter { table, matches, strict, cookie, out_port, out_group }
    }

    /// §6.4, read literally.
    fn selects(&self, flow: &FlowMod) -> bool {
        let has = |wanted: &dyn Fn(&Action) -> bool| does(&flow.instructions, wanted);
        (self.table == TableId::ALL || self.table == flow.table)
            && match self.strict {
                Some(priority) => priority == flow.priority && self.matches == flow.matches,
                None => self.matches.covers(&flow.matches),
            }
            && (self.cookie.0.0 ^ flow.cookie.0) & self.cookie.1 == 0
            && self.out_port.is_none_or(|p| has(&|a| matches!(a, Action::Output { port, .. } if *port == p)))
            && self.out_group.is_none_or(|g| has(&|a| *a == Action::Group(g)))
    }
}

/// The store, and what should be in it.
struct Rig {
    flows: Flows,
    model: Vec<(Index, FlowMod)>,
}

impl Rig {
    fn new(clashes: bool) -> Self {
        let mut flows = Flows::new(2, Secret::from_seed(1));
        if clashes {
            for table in &mut flows.tables {
                table.index = TableIndex::new(Secret::from_seed(2)).with_clashes();
            }
        }
        Self { flows, model: Vec::new() }
    }

    fn add(&mut self, flow: FlowMod) -> Result<(), TestCaseError> {
        let same =
            |f: &FlowMod| (f.table, f.priority, &f.matches) == (flow.table, flow.priority, &flow.matches);
        let expected = self.model.iter().find(|(_, f)| same(f)).map(|&(index, _)| index);
        let key = Key::of(&flow.matches);
        prop_assert_eq!(self.flows.find(flow.table, flow.priority, &flow.matches, &key), expected);
        let Some(index) = expected else {
            let index = self.flows.add(Instant::ZERO, flow.clone(), key, Body::default());
            self.model.push((index, flow));
            return Ok(());
        };
        let record = self.flows.renewed(Instant::ZERO, index, flow.clone(), Body::default());
        self.flows.swap(index, record.expect("it is there"));
        self.model.retain(|(known, _)| *known != index);
        self.model.push((index, flow));
        Ok(())
    }

    fn remove(&mut self, pick: Pick, again: bool) {
        if self.model.is_empty() {
            return;
        }
        let at = pick.index(self.model.len());
        let index = self.model[at].0;
        self.flows.unlink(index, Removal { at: Instant::ZERO, reason: None });
        if again {
            self.flows.relink(index);
        } else {
            self.model.swap_remove(at);
            self.flows.forget(index);
        }
    }

    fn check(&mut self, query: &Query) -> Result<(), TestCaseError> {
        let chosen = self.model.iter().filter(|(_, flow)| query.selects(flow));
        let mut expected: Vec<_> =
            chosen.map(|(index, flow)| (flow.table, Reverse(flow.priority), *index)).collect();
        expected.sort_unstable();
        let expected: Vec<_> = expected.into_iter().map(|(_, _, index)| index).collect();
        prop_assert_eq!(self.flows.select(&query.filter()), expected, "{:?}", query);
        Ok(())
    }

    fn check_overlap(&mut self, flow: &FlowMod) -> Result<(), TestCaseError> {
        let overlaps = |(_, f): &(Index, FlowMod)| {
            (f.table, f.priority) == (flow.table, flow.priority) && f.matches.overlaps(&flow.matches)
        };
        let expected = self.model.iter().any(overlaps);
        let found = self.flows.overlaps(flow.table, flow.priority, &flow.matches);
        prop_assert_eq!(found, expected, "{:?}", flow);
        Ok(())
    }

    fn check_rest(&self) -> Result<(), TestCaseError> {
        for table in [0, 1].map(TableId) {
            let n = self.model.iter().filter(|(_, flow)| flow.table == table).count();
            prop_assert_eq!(self.flows.n_flows(table), n);
        }
        for (index, flow) in &self.model {
            let record = self.flows.get(*index).expect("it is there");
            prop_assert_eq!(&record.matches(), &flow.matches);
        }
        for used in [Used::Group(GroupId(1)), Used::Meter(MeterId(2))] {
            let users = |flow: &FlowMod| {
                let mut found = false;
                uses(&flow.instructions, |u| found |= u == used);
                found
            };
            let mut expected: Vec<_> =
                self.model.iter().filter(|(_, flow)| users(flow)).map(|&(index, _)| index).collect();
            expected.sort_unstable();
            prop_assert_eq!(self.flows.using(used), expected);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 4,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Few different queries, each often, so that indices come into being, are kept up while flows come and go, and
    /// make room for each other.
    #[test]
    fn the_indices_find_what_a_scan_finds(
        clashes in any::<bool>(),
        first in prop::collection::vec(flow(), 40..150),
        queries in prop::collection::vec(query(), 1..12),
        ops in prop::collection::vec((flow(), any::<Pick>(), 0u8..4, any::<Pick>()), 1..150),
    ) {
        let mut rig = Rig::new(clashes);
        for flow in first {
            rig.add(flow)?;
        }
        for (flow, pick, kind, which) in ops {
            rig.check_overlap(&flow)?;
            match kind {
                0 | 1 => rig.add(flow)?,
                kind => rig.remove(pick, kind == 3),
            }
            rig.check(&queries[which.index(queries.len())])?;
        }
        for query in &queries {
            rig.check(query)?;
        }
        rig.check_rest()?;
    }
}

fn filter(matches: &Match) -> Filter<'_> {
    let cookie = (Cookie(0), 0);
    Filter { table: TableId::ALL, matches, strict: None, cookie, out_port: None, out_group: None }
}

/// A request that is made again costs what it finds, not what there is.
#[test]
fn requests_that_come_again_do_not_scan() {
    let mut flows = Flows::new(1, Secret::from_seed(1));
    let n = 20_000u64;
    for at in 0..n {
        let matches = Match::new().eth_dst(openflow::MacAddr::from_u64(at)).in_port(PortNo(at as u32 % 7));
        let output = Instruction::ApplyActions(vec![Action::output(PortNo(100 + at as u32))]);
        let flow =
            FlowMod { cookie: Cookie(at), ..FlowMod::add(TableId(0), Priority(1), matches, vec![output]) };
        let key = Key::of(&flow.matches);
        flows.add(Instant::ZERO, flow, key, Body::default());
    }
    let any = Match::new();
    let by_mac = |at: u64| Match::new().eth_dst(openflow::MacAddr::from_u64(at));
    let mut looked_at = |filter: &Filter<'_>| {
        let key = Key::of(filter.matches);
        let cookie = (filter.cookie.0.0, filter.cookie.1);
        let wanted = Wanted { pattern: key.pattern(), cookie, out_port: filter.out_port };
        flows.tables[0].index.candidates(&flows.records, &wanted).len()
    };
    for at in 0..10u64 {
        let most = if at == 0 { n as usize } else { 1 };
        assert!(looked_at(&filter(&by_mac(at))) <= most);
        assert!(looked_at(&Filter { cookie: (Cookie(at), u64::MAX), ..filter(&any) }) <= most);
        let port = Some(PortNo(100 + at as u32));
        assert!(looked_at(&Filter { out_port: port, ..filter(&any) }) <= most);
    }
    assert_eq!(flows.select(&Filter { out_port: Some(ports::ALL), ..filter(&any) }), []);
    // A new flow overlaps none: nothing is looked at but what shares its bits.
    for at in 0..10u64 {
        assert!(!flows.overlaps(TableId(0), Priority(1), &by_mac(n + at)));
        assert!(flows.overlaps(TableId(0), Priority(1), &by_mac(at)));
        assert!(!flows.overlaps(TableId(0), Priority(2), &by_mac(at)));
    }
}

/// Flows that do the same share what says so.
#[test]
fn instructions_are_shared() {
    let mut flows = Flows::new(1, Secret::from_seed(1));
    let mut add = |n: u64, port: u32| {
        let mut actions = Vec::with_capacity(8);
        actions.push(Action::output(PortNo(port)));
        let matches = Match::new().eth_dst(openflow::MacAddr::from_u64(n));
        let flow = FlowMod::add(TableId(0), Priority(1), matches, vec![Instruction::ApplyActions(actions)]);
        let key = Key::of(&flow.matches);
        let flow = flows.add(Instant::ZERO, flow, key, Body::default());
        flows.get(flow).expect("it is there").rule.value.body.clone()
    };
    let (first, second, other) = (add(1, 1), add(2, 1), add(3, 2));
    assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
    match &*other.instructions {
        [Instruction::ApplyActions(actions)] => assert_eq!((actions.len(), actions.capacity()), (1, 1)),
        other => panic!("{other:?}"),
    }
}
