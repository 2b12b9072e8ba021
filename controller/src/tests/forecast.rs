//! What a forecast says is what then happens: flow for flow, and pair for pair.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use openflow::{Dpid, FlowMod};
use packet::{Frame, MacAddr, PortNo, VlanId, build};
use proptest::prelude::*;

use super::{SETTLE, port, topology};
use crate::testnet::Net;
use crate::{
    Balancer, Chain, Endpoint, Function, Intent, Judgement, Member, Mirror, Network, Policy, PortName,
    Reservation, Route, Service, Traffic,
};

const VLANS: [u16; 3] = [10, 20, 30];
/// Ports 1 to 3 of every switch are for hosts, 4 and 5 are joined by a wire, as a function may be.
const N_EDGE: u32 = 3;

/// What becomes of one port.
#[derive(Debug, Clone, Copy)]
enum Use {
    Undeclared,
    Access(usize),
    /// Of the first two networks.
    Trunk,
}

#[derive(Debug, Clone)]
struct Wish {
    uses: Vec<Use>,
    /// From, to, switch of the function, symmetric.
    chain: Option<(usize, usize, usize, bool)>,
    /// From, to (none: any), whether of UDP to one port only, and what happens.
    policies: Vec<(Option<usize>, Option<usize>, bool, Judgement)>,
    paths: Vec<Way>,
    /// Whose frames are copied, which of them, and where the copies leave.
    mirror: Option<(usize, bool, bool, usize)>,
    /// Network, and who serves there.
    balancer: Option<(usize, Vec<usize>)>,
}

/// From, to, switches to pass and to avoid, and whether with a backup, both ways, and that or nothing.
type Way = (usize, usize, Vec<usize>, Vec<usize>, (bool, bool, bool));

/// The port that policies speak of.
const UDP: u16 = 6;

fn wish(n: usize) -> impl Strategy<Value = Wish> {
    let one = prop_oneof![
        Just(Use::Undeclared),
        (0..VLANS.len()).prop_map(Use::Access),
        (0..VLANS.len()).prop_map(Use::Access),
        Just(Use::Trunk),
    ];
    let n_ports = n * N_EDGE as usize;
    // A function on a switch that is not there is waited for.
    let chain = proptest::option::of((0..n_ports, 0..n_ports, 0..n + 1, any::<bool>()));
    let end = || proptest::option::weighted(0.7, 0..n_ports);
    let judgement = prop_oneof![Just(Judgement::Allow), Just(Judgement::Deny), Just(Judgement::Reject)];
    let policies = proptest::collection::vec((end(), end(), any::<bool>(), judgement), 0..4);
    // A switch that is not there can be avoided, but not passed.
    let switches = || proptest::collection::vec(0..n + 1, 0..3);
    let path = (0..n_ports, 0..n_ports, switches(), switches(), any::<(bool, bool, bool)>());
    let paths = proptest::collection::vec(path, 0..3);
    let mirror = proptest::option::of((0..n_ports, any::<bool>(), any::<bool>(), 0..n_ports));
    let members = proptest::collection::vec(0..n_ports, 1..3);
    let balancer = proptest::option::of((0..VLANS.len(), members));
    (proptest::collection::vec(one, n_ports), chain, policies, paths, mirror, balancer).prop_map(
        |(uses, chain, policies, paths, mirror, balancer)| Wish {
            uses,
            chain,
            policies,
            paths,
            mirror,
            balancer,
        },
    )
}

fn place(idx: usize) -> (u64, u32) {
    ((idx / N_EDGE as usize) as u64 + 1, (idx % N_EDGE as usize) as u32 + 1)
}

fn name(idx: usize) -> PortName {
    let (dpid, number) = place(idx);
    // Both spellings that people use.
    port(&if idx.is_multiple_of(2) { format!("s{dpid}:{number}") } else { format!("s{dpid}:p{number}") })
}

fn mac(at: (u64, u32), vlan: Option<u16>) -> MacAddr {
    MacAddr([2, 0, 0, vlan.unwrap_or(0) as u8, at.0 as u8, at.1 as u8])
}

/// No frame that is tried has one of these.
fn address(idx: usize) -> Ipv4Addr {
    [10, 9, 0, idx as u8 + 1].into()
}

impl Wish {
    fn intent(&self) -> Intent {
        let mut intent = Intent::default();
        for (idx, vlan) in VLANS.into_iter().enumerate() {
            let of = |wanted: &dyn Fn(Use) -> bool| -> BTreeSet<PortName> {
                let ports = self.uses.iter().enumerate().filter(|(_, used)| wanted(**used));
                ports.map(|(idx, _)| name(idx)).collect()
            };
            let access = of(&|used| matches!(used, Use::Access(own) if own == idx));
            let trunks = of(&|used| matches!(used, Use::Trunk) && idx < 2);
            let hosts = self.uses.iter().enumerate().filter_map(|(idx, used)| {
                let tag = matches!(used, Use::Trunk).then_some(vlan);
                let (port, mac) = (name(idx), mac(place(idx), tag));
                let here = access.contains(&port) || trunks.contains(&port);
                here.then(|| Reservation { port, mac, addresses: vec![IpAddr::V4(address(idx))] })
            });
            let hosts = hosts.collect();
            let vlan = VlanId::new(vlan).unwrap();
            intent.networks.insert(format!("net{idx}"), Network { vlan, access, trunks, hosts });
        }
        if let Some((from, to, switch, symmetric)) = self.chain.filter(|(from, to, ..)| self.fits(*from, *to))
        {
            let [ingress, egress] = [4, 5].map(|number| PortName::new(format!("s{}", switch + 1), number));
            intent.functions.insert("fw".into(), Function { ingress, egress });
            let (from, to) = ([name(from)].into(), [name(to)].into());
            let chain = Chain { from, to, functions: vec!["fw".into()], symmetric };
            intent.chains.insert("web".into(), chain);
        }
        for (idx, &(from, to, part, judgement)) in self.policies.iter().enumerate() {
            // Who is behind an undeclared port is not known beforehand.
            let known = |end: Option<usize>| end.is_none_or(|idx| !matches!(self.uses[idx], Use::Undeclared));
            if !known(from) || !known(to) {
                continue;
            }
            let [from, to] = [from, to].map(|end| end.map(name).into_iter().collect());
            let traffic = if part { Traffic::Udp([UDP].into()) } else { Traffic::Ip };
            let policy = Policy { priority: idx as u16, judgement, from, to, traffic, stateful: false };
            intent.policies.insert(format!("p{idx}"), policy);
        }
        self.lay_out(&mut intent);
        if let Some((port, sent, received, to)) = self.mirror {
            let (ports, to) = ([name(port)].into(), name(to));
            intent.mirrors.insert("tap".into(), Mirror { ports, sent, received, to });
            if !intent.faults().is_empty() {
                intent.mirrors.clear();
            }
        }
        if let Some((network, members)) = &self.balancer {
            let member = |idx: &usize| Member { port: name(*idx), address: address(*idx), weight: 1 };
            let balancer = Balancer {
                network: format!("net{network}"),
                address: [10, 9, 0, 200].into(),
                services: vec![Service { tcp: false, port: 53, target: UDP }],
                members: members.iter().map(member).collect(),
            };
            intent.balancers.insert("dns".into(), balancer);
            if !intent.faults().is_empty() {
                intent.balancers.clear();
            }
        }
        intent
    }

    fn lay_out(&self, intent: &mut Intent) {
        for (idx, (from, to, via, avoid, flags)) in self.paths.iter().enumerate() {
            let names = |switches: &[usize]| switches.iter().map(|n| format!("s{}", n + 1)).collect();
            let (backup, symmetric, strict) = *flags;
            let (from, to, via, avoid) = (name(*from), name(*to), names(via), names(avoid));
            let route = Route { from, to, via, avoid, avoid_links: vec![], backup, symmetric, strict };
            let fits = self.fits(self.paths[idx].0, self.paths[idx].1);
            intent.paths.insert(format!("w{idx}"), route);
            if !fits || !intent.faults().is_empty() {
                intent.paths.remove(&format!("w{idx}"));
            }
        }
    }

    /// Hosts of undeclared ports are not known beforehand, so nothing passes a chain there before they speak.
    fn fits(&self, from: usize, to: usize) -> bool {
        from != to && ![from, to].iter().any(|idx| matches!(self.uses[*idx], Use::Undeclared))
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for (idx, used) in self.uses.iter().enumerate() {
            let (dpid, number) = place(idx);
            let at = (Dpid(dpid), PortNo(number));
            match used {
                Use::Trunk => {
                    let tags = VLANS[..2].iter().map(|vlan| VlanId::new(*vlan).ok());
                    endpoints.extend(tags.map(|vlan| Endpoint { at, vlan }));
                }
                _ => endpoints.push(Endpoint { at, vlan: None }),
            }
        }
        endpoints
    }
}

fn mac_of(endpoint: Endpoint) -> MacAddr {
    mac((endpoint.at.0.0, endpoint.at.1.0), endpoint.vlan.map(VlanId::get))
}

fn arrives(net: &Net, from: Endpoint, to: Endpoint) -> bool {
    let link = build::ethernet(mac_of(from), mac_of(to));
    let link = match from.vlan {
        Some(vlan) => link.vlan(vlan),
        None => link,
    };
    // What a policy speaks of, the answer to it, and all the rest.
    [(5, UDP), (UDP, 5), (7, 8)].into_iter().any(|(src, dst)| {
        let frame = link.ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(src, dst, b"x");
        net.probe(from.at, &frame).into_iter().any(|(at, frame)| {
            let vlan = Frame::from_bytes(&frame).outer_vlan().map(|tag| tag.tci.vid());
            (at, vlan) == (to.at, to.vlan.map(VlanId::get))
        })
    })
}

/// Pairs of which each end reaches the other, as real frames find.
fn pairs(net: &Net, wish: &Wish) -> BTreeSet<(Endpoint, Endpoint)> {
    let all = wish.endpoints();
    let two = all.iter().flat_map(|a| all.iter().filter(move |b| a < b).map(move |b| (*a, *b)));
    two.filter(|(a, b)| arrives(net, *a, *b) && arrives(net, *b, *a)).collect()
}

fn built(n: usize, links: &[(usize, usize)]) -> Net {
    let mut net = Net::new();
    let mut next_port = vec![N_EDGE + 3; n];
    for i in 0..n {
        let n_links = links.iter().filter(|(a, b)| *a == i || *b == i).count();
        net.switch(i as u64 + 1, N_EDGE + 2 + n_links as u32);
        net.link((i as u64 + 1, 4), (i as u64 + 1, 5));
    }
    for &(a, b) in links {
        net.link((a as u64 + 1, next_port[a]), (b as u64 + 1, next_port[b]));
        next_port[a] += 1;
        next_port[b] += 1;
    }
    net
}

/// A network, what is wanted first, what then, and links that are down all the time.
fn case() -> impl Strategy<Value = (usize, Vec<(usize, usize)>, Wish, Wish, u8)> {
    topology().prop_flat_map(|(n, links)| (Just(n), Just(links), wish(n), wish(n), any::<u8>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_forecast_is_what_then_happens((n, links, first, second, down) in case()) {
        let mut net = built(n, &links);
        net.controller.set_intent(net.now, first.intent()).unwrap();
        net.connect_all();
        net.run(SETTLE);
        // Some networks fall into pieces.
        if down & 3 == 0 {
            net.set_port((u64::from(down >> 2) % n as u64 + 1, N_EDGE + 3), false);
            net.run(SETTLE);
        }
        prop_assert!(net.controller.is_quiet());

        let forecast = net.controller.forecast(&second.intent()).unwrap();
        let before = pairs(&net, &first);
        net.mods.clear();
        net.controller.set_intent(net.now, second.intent()).unwrap();
        net.drain();

        let foretold: Vec<(Dpid, FlowMod)> = forecast
            .switches
            .iter()
            .flat_map(|(dpid, changes)| changes.iter().map(|c| (*dpid, c.change.to_mod())))
            .collect();
        prop_assert_eq!(&foretold, &net.mods);
        prop_assert_eq!(forecast.generation, net.controller.blueprint().generation);
        prop_assert!(forecast.issues.iter().eq(net.controller.blueprint().issues.iter()));
        let after = pairs(&net, &second);
        let named = |pairs: crate::Pairs| -> BTreeSet<_> { pairs.named.into_iter().collect() };
        prop_assert_eq!(forecast.gained.n_pairs as usize, forecast.gained.named.len());
        prop_assert_eq!(named(forecast.gained), &after - &before, "gained");
        prop_assert_eq!(named(forecast.lost), &before - &after, "lost");
        // What is there already changes nothing.
        let again = net.controller.forecast(&second.intent()).unwrap();
        prop_assert!(again.switches.is_empty() && again.gained.n_pairs + again.lost.n_pairs == 0);
    }
}

#[test]
fn a_forecast_of_a_contradiction_is_refused() {
    let net = built(2, &[(0, 1)]);
    let wish = Wish {
        uses: vec![Use::Access(0); 6],
        chain: None,
        policies: vec![],
        paths: vec![],
        mirror: None,
        balancer: None,
    };
    let mut intent = wish.intent();
    intent.networks.insert("other".into(), intent.networks["net0"].clone());
    assert!(!net.controller.forecast(&intent).unwrap_err().is_empty());
}
