//! Who reaches whom: endpoints of one lane and one piece of the network do, unless a chain between them is broken, or
//! policies let no IP pass one way or the other.

use std::collections::{BTreeMap, BTreeSet};

use openflow::Dpid;
use packet::VlanId;

use crate::graph::Graph;
use crate::intent::{Judgement, Traffic};
use crate::lanes::{Course, Lane, Lanes, Path};
use crate::layout;
use crate::plan::has_way;
use crate::view::{At, View};

/// Most pairs that are named; the others are counted.
pub(crate) const MAX_NAMED: usize = 1000;

/// Where hosts are: a port, and the tag they use there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The port.
    pub at: At,
    /// The tag of their frames on a trunk; none on an access port.
    pub vlan: Option<VlanId>,
}

/// Pairs of endpoints, lower end first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// How many there are.
    pub n_pairs: u64,
    /// The first thousand of them.
    pub named: Vec<(Endpoint, Endpoint)>,
}

/// The lane of an endpoint, and the piece of the network.
type Class = (VlanId, Dpid);

/// An endpoint's class, and which policies name it.
type Kin = (Class, usize);

/// A policy one way, as far as it is about whether anything passes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bar {
    /// Whether it names sources, and destinations.
    named: (bool, bool),
    traffic: Traffic,
    /// Its ports are those of sources: it is about answers.
    back: bool,
    passes: bool,
}

/// Packets that all policies treat alike but for those that name their port.
#[derive(Debug, Clone, Copy)]
enum Sample {
    /// Of a protocol that no policy names.
    Rest,
    Icmp,
    /// With one port that policies name, if any, and whether that is the source's.
    Tcp(Option<(u16, bool)>),
    /// The same.
    Udp(Option<(u16, bool)>),
}

impl Bar {
    fn is_about(&self, sample: Sample) -> bool {
        match (&self.traffic, sample) {
            (Traffic::Ip, _) | (Traffic::Icmp, Sample::Icmp) => true,
            (Traffic::Tcp(ports), Sample::Tcp(port)) | (Traffic::Udp(ports), Sample::Udp(port)) => {
                let named = |(number, back)| back == self.back && ports.contains(&number);
                ports.is_empty() || port.is_some_and(named)
            }
            _ => false,
        }
    }

    /// Packets that stand for all it is about.
    fn samples(&self) -> Vec<Sample> {
        let each = |ports: &BTreeSet<u16>, sample: fn(Option<(u16, bool)>) -> Sample| {
            let named = ports.iter().map(|&port| sample(Some((port, self.back))));
            named.chain(ports.is_empty().then(|| sample(None))).collect()
        };
        match &self.traffic {
            Traffic::Ip => vec![Sample::Rest],
            Traffic::Icmp => vec![Sample::Icmp],
            Traffic::Tcp(ports) => each(ports, Sample::Tcp),
            Traffic::Udp(ports) => each(ports, Sample::Udp),
        }
    }
}

/// The policies that an endpoint is a source of, and those it is a destination of.
type Roles = (BTreeSet<usize>, BTreeSet<usize>);

/// What an endpoint is, and what it was, if it was there.
type Part = (Kin, Option<Kin>);

/// Who reaches whom.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Endpoints of one class reach each other, as far as policies let them,
    classes: BTreeMap<Endpoint, Kin>,
    /// except these pairs, whose chain is broken.
    blocked: BTreeSet<(Endpoint, Endpoint)>,
    /// What policies let pass or not, the first that decides first.
    bars: Vec<Bar>,
    /// What endpoints are to those.
    roles: Vec<Roles>,
}

impl Reach {
    pub(crate) fn new(view: &View, lanes: &Lanes) -> Self {
        let graph = Graph::new(view);
        let pieces = graph.pieces();
        let mut reach = Self::default();
        let named = reach.bars(lanes);
        let mut known: BTreeMap<Roles, usize> = BTreeMap::new();
        for (&vlan, lane) in &lanes.lanes {
            let access = lane.access.iter().map(|&at| Endpoint { at, vlan: None });
            let trunks = lane.trunks.iter().map(|&at| Endpoint { at, vlan: Some(vlan) });
            for endpoint in access.chain(trunks).filter(|endpoint| takes_part(view, lane, endpoint.at)) {
                if let Some(piece) = pieces.get(&endpoint.at.0) {
                    let roles = named.get(&endpoint.at).cloned().unwrap_or_default();
                    let n_known = known.len();
                    let role = *known.entry(roles).or_insert(n_known);
                    reach.classes.insert(endpoint, ((vlan, *piece), role));
                }
            }
        }
        reach.roles = vec![Roles::default(); known.len()];
        for (roles, idx) in known {
            if let Some(place) = reach.roles.get_mut(idx) {
                *place = roles;
            }
        }
        for path in lanes.paths.values() {
            reach.block(path, lanes, &pieces);
        }
        let dead = |course: &&Course| course.strict && !has_way(&graph, course) && !in_chains(lanes, course);
        for course in lanes.courses.values().filter(dead) {
            let endpoint = |at| endpoint_in(lanes, course.lane, at);
            reach.blocked.insert(ordered(endpoint(course.from), endpoint(course.to)));
        }
        reach
    }

    /// The pairs between which a chain lets nothing pass, because it is not complete or torn.
    fn block(&mut self, path: &Path, lanes: &Lanes, pieces: &BTreeMap<Dpid, Dpid>) {
        let endpoint = |at| endpoint_in(lanes, path.lane, at);
        let whole = |from: At, to: At| {
            let Some(functions) = &path.functions else { return false };
            let ends = functions.iter().flat_map(|(ingress, egress)| [ingress.0, egress.0]);
            let mut ways = ends.chain([to.0]).map(|dpid| pieces.get(&dpid));
            ways.all(|piece| piece.is_some() && piece == pieces.get(&from.0))
        };
        for &from in &path.from {
            for &to in path.to.iter().filter(|&&to| !whole(from, to)) {
                self.blocked.insert(ordered(endpoint(from), endpoint(to)));
            }
        }
    }

    /// Notes the policies, and returns which ports each names.
    fn bars(&mut self, lanes: &Lanes) -> BTreeMap<At, Roles> {
        let mut rules: Vec<_> = lanes.rules.values().collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.priority));
        let mut named: BTreeMap<At, Roles> = BTreeMap::new();
        for rule in rules {
            let passes = rule.judgement == Judgement::Allow;
            let mut add = |ends: [&Option<crate::lanes::Ends>; 2], back: bool| {
                let idx = self.bars.len();
                let (given, traffic) = ((ends[0].is_some(), ends[1].is_some()), rule.traffic.clone());
                self.bars.push(Bar { named: given, traffic, back, passes });
                let [from, to] = ends.map(|ends| ends.iter().flat_map(BTreeMap::keys));
                for at in from {
                    named.entry(*at).or_default().0.insert(idx);
                }
                for at in to {
                    named.entry(*at).or_default().1.insert(idx);
                }
            };
            add([&rule.from, &rule.to], false);
            if passes {
                add([&rule.to, &rule.from], true);
            }
        }
        named
    }

    /// Whether policies let anything pass from one kind of endpoint to another.
    fn passes(&self, from: usize, to: usize) -> bool {
        let (Some((sources, _)), Some((_, goals))) = (self.roles.get(from), self.roles.get(to)) else {
            return true;
        };
        let decides = |(idx, bar): &(usize, &Bar)| {
            (!bar.named.0 || sources.contains(idx)) && (!bar.named.1 || goals.contains(idx))
        };
        let bars: Vec<&Bar> = self.bars.iter().enumerate().filter(decides).map(|(_, bar)| bar).collect();
        let through = |sample| bars.iter().find(|bar| bar.is_about(sample)).is_none_or(|bar| bar.passes);
        // A packet with two ports that are named passes only where one with one of them does.
        through(Sample::Rest)
            || bars.iter().filter(|bar| bar.passes).flat_map(|bar| bar.samples()).any(through)
    }

    /// Whether endpoints of these kinds reach each other if no chain is in between.
    fn meet(&self, (class, a): Kin, (other, b): Kin) -> bool {
        class == other && self.passes(a, b) && self.passes(b, a)
    }

    fn joined(&self, a: Endpoint, b: Endpoint) -> bool {
        let (a, b) = (self.classes.get(&a), self.classes.get(&b));
        a.zip(b).is_some_and(|(a, b)| self.meet(*a, *b))
    }

    /// Whether frames pass between the two.
    pub(crate) fn reaches(&self, a: Endpoint, b: Endpoint) -> bool {
        self.joined(a, b) && !self.blocked.contains(&ordered(a, b))
    }

    /// The pairs that reach each other here and did not before.
    pub(crate) fn beyond(&self, before: &Self) -> Pairs {
        let mut pairs = Pairs::default();
        // Endpoints alike in all that counts, now and before: what holds for two of them holds for all.
        for parts in self.parts(before).into_values() {
            for (idx, (one, these)) in parts.iter().enumerate() {
                for (other, those) in parts.iter().skip(idx) {
                    if !self.comes_together(before, *one, *other) {
                        continue;
                    }
                    let n = these.len() as u64;
                    let within = std::ptr::eq(these, those);
                    pairs.n_pairs += if within { n_pairs(n) } else { n * those.len() as u64 };
                    self.name(these, those, &mut pairs.named);
                }
            }
        }
        // What a chain keeps apart has been counted, and has not come together.
        let kept = self.blocked.iter().filter(|(a, b)| self.joined(*a, *b) && !before.joined(*a, *b));
        pairs.n_pairs -= kept.count() as u64;
        // What a chain kept apart before, and no longer does.
        let freed = before.blocked.iter().filter(|(a, b)| self.reaches(*a, *b) && before.joined(*a, *b));
        for pair in freed {
            pairs.n_pairs += 1;
            pairs.named.push(*pair);
        }
        pairs.named.truncate(MAX_NAMED);
        pairs
    }

    fn comes_together(&self, before: &Self, (a, was_a): Part, (b, was_b): Part) -> bool {
        let were = was_a.zip(was_b).is_some_and(|(a, b)| before.meet(a, b));
        self.meet(a, b) && !were
    }

    fn parts(&self, before: &Self) -> BTreeMap<Class, BTreeMap<Part, Vec<Endpoint>>> {
        let mut groups: BTreeMap<Class, BTreeMap<Part, Vec<Endpoint>>> = BTreeMap::new();
        for (&endpoint, &kin) in &self.classes {
            let was = before.classes.get(&endpoint).copied();
            groups.entry(kin.0).or_default().entry((kin, was)).or_default().push(endpoint);
        }
        groups
    }

    /// Names the pairs of one part with another, or with itself.
    fn name(&self, these: &[Endpoint], those: &[Endpoint], named: &mut Vec<(Endpoint, Endpoint)>) {
        let within = std::ptr::eq(these, those);
        for (nth, &one) in these.iter().enumerate() {
            let first = if within { nth + 1 } else { 0 };
            for &other in those.get(first..).into_iter().flatten() {
                if named.len() >= MAX_NAMED {
                    return;
                }
                let pair = ordered(one, other);
                if !self.blocked.contains(&pair) {
                    named.push(pair);
                }
            }
        }
    }
}

/// A port in a lane.
fn endpoint_in(lanes: &Lanes, vlan: VlanId, at: At) -> Endpoint {
    let tagged = lanes.lanes.get(&vlan).is_some_and(|lane| lane.trunks.contains(&at));
    Endpoint { at, vlan: tagged.then_some(vlan) }
}

/// Whether chains take all that a way would have taken: they come first.
fn in_chains(lanes: &Lanes, course: &Course) -> bool {
    let takes = |path: &Path, from, to| {
        let there = path.from.contains(&from) && path.to.contains(&to);
        let back = path.symmetric && path.to.contains(&from) && path.from.contains(&to);
        path.lane == course.lane && (there || back)
    };
    let taken = |from, to| lanes.paths.values().any(|path| takes(path, from, to));
    taken(course.from, course.to) && (!course.symmetric || taken(course.to, course.from))
}

/// Its switch has tables enough, and somebody declares the port, or something may be there.
fn takes_part(view: &View, lane: &Lane, at: At) -> bool {
    let planned = view.switches().get(&at.0).is_some_and(|switch| switch.n_tables >= layout::N_TABLES);
    planned && (!lane.transparent || view.port(at).is_some_and(|port| port.up))
}

fn ordered(a: Endpoint, b: Endpoint) -> (Endpoint, Endpoint) {
    (a.min(b), a.max(b))
}

fn n_pairs(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::PortNo;
    use proptest::prelude::*;

    fn endpoint(n: u32) -> Endpoint {
        Endpoint { at: (Dpid(1), PortNo(n)), vlan: None }
    }

    fn bar(named: (bool, bool), traffic: Traffic, back: bool, passes: bool) -> Bar {
        Bar { named, traffic, back, passes }
    }

    #[test]
    fn what_is_allowed_may_be_forbidden_before() {
        let all = (false, false);
        let udp = |ports: &[u16]| Traffic::Udp(ports.iter().copied().collect());
        let passes = |bars: &[Bar]| {
            Reach { bars: bars.to_vec(), roles: vec![Roles::default()], ..Reach::default() }.passes(0, 0)
        };
        let nothing = bar(all, Traffic::Ip, false, false);
        let allowed = |ports: &[u16], back| bar(all, udp(ports), back, true);
        let denied = |traffic| bar(all, traffic, false, false);
        assert!(passes(&[denied(udp(&[6]))]), "all the rest");
        assert!(passes(&[allowed(&[6], false), nothing.clone()]));
        assert!(!passes(&[denied(udp(&[6])), allowed(&[6], false), nothing.clone()]));
        assert!(!passes(&[denied(udp(&[])), allowed(&[6], false), nothing.clone()]));
        assert!(passes(&[denied(udp(&[6])), allowed(&[6, 7], false), nothing.clone()]), "to port 7");
        assert!(passes(&[denied(udp(&[6])), allowed(&[6], true), nothing.clone()]), "answers from port 6");
        assert!(passes(&[denied(Traffic::Icmp), allowed(&[6], false), nothing]));
    }

    /// Endpoints 0 to 11 in up to three lanes, some of them kept apart by chains, some by policies.
    fn reach() -> impl Strategy<Value = Reach> {
        use proptest::collection::{btree_set, vec};
        let lanes = vec((0u16..4, 0usize..3), 12);
        let bars = vec(any::<(bool, bool, bool)>(), 0..4);
        let roles = vec((btree_set(0usize..4, 0..3), btree_set(0usize..4, 0..3)), 3);
        let blocked = proptest::collection::btree_set((0u32..12, 0u32..12), 0..10);
        (lanes, blocked, bars, roles).prop_map(|(lanes, blocked, bars, roles)| {
            let class = |lane: u16| Some((VlanId::new(lane).ok()?, Dpid(1)));
            let kin = |(lane, role): (u16, usize)| Some((class(lane)?, role));
            let classes = lanes.iter().zip(0..).filter_map(|(&kind, n)| Some((endpoint(n), kin(kind)?)));
            let blocked = blocked.into_iter().filter(|(a, b)| a != b);
            let bars = bars.into_iter().map(|(from, to, passes)| bar((from, to), Traffic::Ip, false, passes));
            Reach {
                classes: classes.collect(),
                blocked: blocked.map(|(a, b)| ordered(endpoint(a), endpoint(b))).collect(),
                bars: bars.collect(),
                roles,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_gained_is_what_every_pair_says(before in reach(), after in reach()) {
            let all = (0..12).flat_map(|a| (a + 1..12).map(move |b| (endpoint(a), endpoint(b))));
            let expected: BTreeSet<_> =
                all.filter(|(a, b)| after.reaches(*a, *b) && !before.reaches(*a, *b)).collect();
            let gained = after.beyond(&before);
            prop_assert_eq!(gained.n_pairs, expected.len() as u64);
            prop_assert_eq!(gained.named.len(), expected.len(), "each once");
            prop_assert_eq!(gained.named.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }

    #[test]
    fn a_hundred_million_pairs_are_counted_and_few_named() {
        let lane = VlanId::new(10).unwrap();
        let classes = (0..15_000).map(|n| (endpoint(n), ((lane, Dpid(1)), 0))).collect();
        let gained = Reach { classes, ..Reach::default() }.beyond(&Reach::default());
        assert_eq!((gained.n_pairs, gained.named.len()), (112_492_500, MAX_NAMED));
    }
}
