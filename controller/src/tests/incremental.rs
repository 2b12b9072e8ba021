//! Planning change by change leads to what planning from scratch leads to, whatever the order of changes.

use std::collections::BTreeSet;

use openflow::Dpid;
use packet::{MacAddr, PortNo, VlanId};
use proptest::prelude::*;

use crate::lanes::resolve;
use crate::plan::Planner;
use crate::view::{At, Host, Port, Switch, View};
use crate::{
    Attachment, Balancer, Chain, Flows, Function, Intent, Judgement, Kind, Label, Member, Mirror, Network,
    Policy, PortName, Qos, Reservation, Route, Service, Tenant, Traffic, plan,
};

const N_SWITCHES: u64 = 5;
const N_PORTS: u32 = 6;

/// Something that happens. Everything is small, so that things meet.
#[derive(Debug, Clone)]
enum Step {
    /// With a name of its own or one that another has, too; now and then with too few tables.
    Switch(u64, u64, u8),
    NoSwitch(u64),
    /// Named `p` and a number; settled or not.
    Port(At, u32, bool),
    NoPort(At),
    /// One direction, or both.
    Link(At, At, bool),
    NoLink(At),
    Host(u16, u8, At, bool),
    NoHost(u16, u8),
    /// Neither groups nor meters any more.
    Plain(u64),
    Intend(Box<Intent>),
}

fn at() -> impl Strategy<Value = At> {
    (1..=N_SWITCHES, 1..=N_PORTS).prop_map(|(dpid, port)| (Dpid(dpid), PortNo(port)))
}

/// By name or dpid, by number or name.
fn port_name() -> impl Strategy<Value = PortName> {
    (1..=N_SWITCHES + 1, 1..=N_PORTS, 0u8..8).prop_map(|(dpid, port, spelling)| {
        let switch = if spelling & 3 == 3 { format!("{dpid:016x}") } else { format!("s{dpid}") };
        PortName::new(switch, if spelling & 4 == 4 { format!("p{port}") } else { port.to_string() })
    })
}

fn ports(n: usize) -> impl Strategy<Value = BTreeSet<PortName>> {
    proptest::collection::btree_set(port_name(), 0..n)
}

fn vlan(n: u16) -> VlanId {
    // One of them is where segments of chains are.
    VlanId::new([10, 20, 3500][usize::from(n % 3)]).unwrap()
}

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

fn network() -> impl Strategy<Value = Network> {
    let hosts = proptest::collection::vec((any::<prop::sample::Index>(), 0u8..6, any::<bool>()), 0..4);
    (0u16..3, ports(7), ports(4), hosts).prop_map(|(n, access, trunks, hosts)| {
        let trunks: BTreeSet<PortName> = trunks.difference(&access).cloned().collect();
        let all: Vec<PortName> = access.iter().chain(&trunks).cloned().collect();
        let hosts = hosts.into_iter().filter(|_| !all.is_empty()).map(|(port, n, addressed)| Reservation {
            port: port.get(&all).clone(),
            mac: mac(n),
            addresses: addressed.then(|| [10, 0, 0, n].into()).into_iter().collect(),
        });
        let hosts = hosts.collect();
        Network { vlan: vlan(n), access, trunks, hosts }
    })
}

fn attachment() -> impl Strategy<Value = Attachment> {
    (port_name(), proptest::option::of(0u16..3), proptest::option::of(0u8..3)).prop_map(
        |(port, tag, network)| {
            let network = network.map(|n| format!("n-{n}"));
            Attachment { router: "r".into(), port, vlan: tag.map(vlan), network }
        },
    )
}

fn chain() -> impl Strategy<Value = Chain> {
    (ports(4), ports(4), proptest::collection::vec(0u8..3, 0..3), any::<bool>()).prop_map(
        |(from, to, functions, symmetric)| {
            let functions = functions.into_iter().map(|n| format!("f-{n}")).collect();
            Chain { from, to, functions, symmetric }
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    let judgement = prop_oneof![Just(Judgement::Allow), Just(Judgement::Deny), Just(Judgement::Reject)];
    let traffic = prop_oneof![
        Just(Traffic::Ip),
        Just(Traffic::Icmp),
        Just(Traffic::Tcp([80, 443].into())),
        Just(Traffic::Udp(BTreeSet::new())),
    ];
    (0u16..4, judgement, ports(3), ports(3), traffic, prop::bool::weighted(0.1)).prop_map(
        |(priority, judgement, from, to, traffic, stateful)| Policy {
            priority,
            judgement,
            from,
            to,
            traffic,
            stateful,
        },
    )
}

fn qos() -> impl Strategy<Value = Qos> {
    let networks = proptest::collection::btree_set(0u8..3, 0..3);
    let (rate, queue) = (proptest::option::of(1u32..3), proptest::option::of(0u32..3));
    (ports(4), networks, rate, queue).prop_map(|(ports, networks, rate, queue)| Qos {
        ports,
        networks: networks.into_iter().map(|n| format!("n-{n}")).collect(),
        rate,
        burst: None,
        queue,
    })
}

fn route() -> impl Strategy<Value = Route> {
    let switch = || (1..=N_SWITCHES + 1).prop_map(|n| format!("s{n}"));
    let switches = || proptest::collection::vec(switch(), 0..3);
    let links = proptest::collection::vec(port_name(), 0..2);
    let flags = any::<(bool, bool, bool)>();
    (port_name(), port_name(), switches(), switches(), links, flags).prop_map(
        |(from, to, via, avoid, avoid_links, (backup, symmetric, strict))| Route {
            from,
            to,
            via,
            avoid,
            avoid_links,
            backup,
            symmetric,
            strict,
        },
    )
}

fn mirror() -> impl Strategy<Value = Mirror> {
    (ports(4), any::<bool>(), any::<bool>(), port_name()).prop_map(|(ports, sent, received, to)| Mirror {
        ports,
        sent,
        received,
        to,
    })
}

fn balancer() -> impl Strategy<Value = Balancer> {
    let service = (any::<bool>(), 1u16..4, 1u16..4);
    let service = service.prop_map(|(tcp, port, target)| Service { tcp, port, target });
    let member = (port_name(), 0u8..6, 1u16..3);
    let member = member.prop_map(|(port, n, weight)| Member { port, address: [10, 0, 0, n].into(), weight });
    let services = proptest::collection::vec(service, 1..3);
    let members = proptest::collection::vec(member, 1..4);
    (0u8..3, 4u8..8, services, members).prop_map(|(network, n, services, members)| Balancer {
        network: format!("n-{network}"),
        address: [10, 0, 0, n].into(),
        services,
        members,
    })
}

fn tenant() -> impl Strategy<Value = Tenant> {
    let kind = prop_oneof![Just(Kind::Network), Just(Kind::Policy), Just(Kind::Function)];
    let switches = proptest::collection::btree_set((1..=N_SWITCHES).prop_map(|n| format!("s{n}")), 2..5);
    let quota = proptest::collection::btree_map(kind, 0u32..4, 0..2);
    let (max_ports, rate) = (proptest::option::of(2u32..12), proptest::option::of(1u32..3));
    (quota, max_ports, proptest::option::weighted(0.2, switches), rate)
        .prop_map(|(quota, max_ports, ports, rate)| Tenant { quota, max_ports, ports, rate, burst: None })
}

fn intent() -> impl Strategy<Value = Intent> {
    let named = |prefix: &'static str| (0u8..3).prop_map(move |n| format!("{prefix}-{n}"));
    let function = (port_name(), port_name()).prop_map(|(ingress, egress)| Function { ingress, egress });
    let networks = proptest::collection::btree_map(named("n"), network(), 0..4);
    let routers =
        proptest::collection::btree_map(named("r"), proptest::collection::vec(attachment(), 0..3), 0..2);
    let functions = proptest::collection::btree_map(named("f"), function, 0..4);
    let chains = proptest::collection::btree_map(named("c"), chain(), 0..3);
    let policies = proptest::collection::btree_map(named("p"), policy(), 0..3);
    let qos = proptest::collection::btree_map(named("q"), qos(), 0..3);
    let paths = proptest::collection::btree_map(named("w"), route(), 0..3);
    let mirrors = proptest::collection::btree_map(named("m"), mirror(), 0..3);
    let balancers = proptest::collection::btree_map(named("b"), balancer(), 0..3);
    let owner = prop_oneof![Just("n"), Just("p"), Just("f")].prop_map(str::to_owned);
    let tenants = proptest::collection::btree_map(owner, tenant(), 0..2);
    let services = (mirrors, balancers, tenants);
    let all = (networks, routers, functions, chains, policies, qos, paths, services);
    all.prop_map(|(networks, routers, functions, chains, policies, qos, paths, services)| {
        let (mirrors, balancers, tenants) = services;
        let mut intent = Intent {
            networks,
            routers,
            functions,
            chains,
            policies,
            qos,
            paths,
            mirrors,
            balancers,
            tenants,
        };
        // What contradicts something goes, until nothing does.
        while let Some(fault) = intent.faults().first() {
            let (kind, name) = fault.label.split_once('/').unwrap();
            match kind {
                "network" => drop(intent.networks.remove(name)),
                "router" => drop(intent.routers.remove(name)),
                "function" => drop(intent.functions.remove(name)),
                "chain" => drop(intent.chains.remove(name)),
                "policy" => drop(intent.policies.remove(name)),
                "qos" => drop(intent.qos.remove(name)),
                "mirror" => drop(intent.mirrors.remove(name)),
                "balancer" => drop(intent.balancers.remove(name)),
                "tenant" => drop(intent.tenants.remove(name)),
                _ => drop(intent.paths.remove(name)),
            }
        }
        intent
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..=N_SWITCHES, 0u64..12, 0u8..8).prop_map(|(dpid, name, tables)| Step::Switch(dpid, name, tables)),
        1 => (1..=N_SWITCHES).prop_map(Step::NoSwitch),
        6 => (at(), 1..=N_PORTS, any::<bool>()).prop_map(|(at, name, settled)| Step::Port(at, name, settled)),
        1 => at().prop_map(Step::NoPort),
        5 => (at(), at(), prop::bool::weighted(0.9)).prop_map(|(a, b, both)| Step::Link(a, b, both)),
        2 => at().prop_map(Step::NoLink),
        6 => (0u16..4, 0u8..6, at(), any::<bool>()).prop_map(|(v, m, at, a)| Step::Host(v, m, at, a)),
        1 => (0u16..4, 0u8..6).prop_map(|(v, m)| Step::NoHost(v, m)),
        1 => (1..=N_SWITCHES).prop_map(Step::Plain),
        4 => intent().prop_map(|intent| Step::Intend(Box::new(intent))),
    ]
}

fn lane(n: u16) -> VlanId {
    if n == 3 { VlanId::new(crate::layout::DEFAULT_LANE).unwrap() } else { vlan(n) }
}

fn put_switch(view: &mut View, dpid: u64, name: u64, n_tables: u8) {
    let name = format!("s{}", if name <= N_SWITCHES && name > 0 { name } else { dpid });
    let ports = view.switches().get(&Dpid(dpid)).map(|switch| switch.ports.clone()).unwrap_or_default();
    // One of them knows no groups.
    let groups = crate::Support { select: dpid != 2, failover: dpid != 3 && dpid != 2, chaining: dpid != 5 };
    // Another has few meters.
    let max_meter = if dpid == 4 { 10 } else { 60_000 };
    view.put_switch(Dpid(dpid), Switch { name, n_tables, groups, max_meter, ports });
}

fn put_port(view: &mut View, at: At, name: u32, settled: bool) {
    view.put_port(at, Port { name: format!("p{name}"), mac: MacAddr::ZERO, up: true, settled });
}

fn happen(step: Step, intent: &mut Intent, view: &mut View) {
    match step {
        Step::Switch(dpid, name, tables) => put_switch(view, dpid, name, if tables == 0 { 2 } else { 8 }),
        Step::NoSwitch(dpid) => view.remove_switch(Dpid(dpid)),
        Step::Port(at, name, settled) => put_port(view, at, name, settled),
        Step::NoPort(at) => view.remove_port(at),
        Step::Link(a, b, both) => {
            view.put_link(a, b);
            if both {
                view.put_link(b, a);
            }
        }
        Step::NoLink(at) => view.remove_link(at),
        Step::Host(v, m, at, addressed) => {
            let addresses = addressed.then(|| [10, 0, 0, m].into()).into_iter().collect();
            view.put_host((lane(v), mac(m)), Host { at, addresses });
        }
        Step::NoHost(v, m) => view.remove_host((lane(v), mac(m))),
        Step::Plain(dpid) => {
            view.set_support(Dpid(dpid), crate::Support::default());
            view.set_max_meter(Dpid(dpid), 0);
        }
        Step::Intend(new) => *intent = *new,
    }
}

/// All switches with all ports settled, in a ring.
fn ring() -> View {
    let mut view = View::default();
    for dpid in 1..=N_SWITCHES {
        put_switch(&mut view, dpid, dpid, 8);
        (1..=N_PORTS).for_each(|port| put_port(&mut view, (Dpid(dpid), PortNo(port)), port, true));
    }
    for dpid in 1..=N_SWITCHES {
        let (a, b) = ((Dpid(dpid), PortNo(5)), (Dpid(dpid % N_SWITCHES + 1), PortNo(6)));
        view.put_link(a, b);
        view.put_link(b, a);
    }
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, ..ProptestConfig::default() })]

    #[test]
    fn step_by_step_is_from_scratch(
        whole in any::<bool>(),
        rounds in proptest::collection::vec(proptest::collection::vec(step(), 1..4), 1..12),
    ) {
        let (mut intent, mut view) = (Intent::default(), if whole { ring() } else { View::default() });
        let mut planner = Planner::default();
        let mut switches: std::collections::BTreeMap<Dpid, Flows> = Default::default();
        for round in rounds {
            let before = intent.clone();
            for step in round.clone() {
                happen(step, &mut intent, &mut view);
            }
            let labels: BTreeSet<Label> = intent.difference(&before);
            let changes = view.take_changes();
            planner.resolve(&intent, &labels, &view, &changes);
            let (changed, _) = planner.plan(&view);
            let afresh = plan(&intent, &view);
            let mut lanes = resolve(&intent, &view);
            lanes.issues = Default::default();
            prop_assert_eq!(planner.lanes(), &lanes, "after {:?}", round);
            let kept = planner.blueprint();
            prop_assert_eq!(&kept.switches, &afresh.switches, "after {:?}", round);
            prop_assert_eq!(&kept.groups, &afresh.groups, "after {:?}", round);
            prop_assert_eq!(&kept.meters, &afresh.meters, "after {:?}", round);
            prop_assert_eq!(&kept.labels, &afresh.labels);
            prop_assert_eq!(&kept.issues, &afresh.issues, "after {:?}", round);
            // Whoever follows the changes has the whole.
            for (dpid, keys) in changed.flows {
                let flows = switches.entry(dpid).or_default();
                for key in keys {
                    match kept.switches.get(&dpid).and_then(|flows| flows.get(&key)) {
                        Some(body) => drop(flows.insert(key, body.clone())),
                        None => drop(flows.remove(&key)),
                    }
                }
            }
            switches.retain(|_, flows| !flows.is_empty());
            prop_assert_eq!(&switches, &kept.switches);
            for (dpid, flows) in &kept.switches {
                for label in kept.labels.values() {
                    let cookie = crate::layout::intent_cookie(label);
                    let n = flows.values().filter(|flow| flow.cookie == cookie).count();
                    prop_assert_eq!(kept.n_flows(*dpid, label), n);
                }
            }
        }
    }

    #[test]
    fn an_edit_is_refused_for_what_the_whole_is_refused_for(first in intent(), second in intent(), mask in any::<u16>()) {
        // A part of the second on top of the first contradicts itself often enough.
        let mut mixed = first.clone();
        let edits: Vec<_> = second
            .difference(&first)
            .into_iter()
            .enumerate()
            .filter(|(idx, _)| mask >> (idx % 16) & 1 == 1)
            .map(|(_, label)| crate::Edit { to: second.get(&label), label })
            .collect();
        mixed = mixed.edited(edits.clone());
        let mut core = crate::Controller::new(crate::Config::new(crate::Key(1, 2)));
        core.set_intent(packet::Instant::ZERO, first.clone()).unwrap();
        prop_assert_eq!(core.check(edits.clone()), mixed.faults());
        prop_assert_eq!(core.intent(), &first);
        let refused = core.edit(packet::Instant::ZERO, edits);
        prop_assert_eq!(refused.is_ok(), mixed.faults().is_empty());
        prop_assert_eq!(core.intent(), if refused.is_ok() { &mixed } else { &first });
    }
}
