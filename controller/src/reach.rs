//! Who reaches whom: endpoints of one lane and one piece of the network do, unless a chain between them is broken.

use std::collections::{BTreeMap, BTreeSet};

use openflow::Dpid;
use packet::VlanId;

use crate::graph::Graph;
use crate::lanes::{Lane, Lanes, Path};
use crate::layout;
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

/// Who reaches whom.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Endpoints of one class reach each other,
    classes: BTreeMap<Endpoint, Class>,
    /// except these pairs, whose chain is broken.
    blocked: BTreeSet<(Endpoint, Endpoint)>,
}

impl Reach {
    pub(crate) fn new(view: &View, lanes: &Lanes) -> Self {
        let pieces = Graph::new(view).pieces();
        let mut reach = Self::default();
        for (&vlan, lane) in &lanes.lanes {
            let access = lane.access.iter().map(|&at| Endpoint { at, vlan: None });
            let trunks = lane.trunks.iter().map(|&at| Endpoint { at, vlan: Some(vlan) });
            for endpoint in access.chain(trunks).filter(|endpoint| takes_part(view, lane, endpoint.at)) {
                if let Some(piece) = pieces.get(&endpoint.at.0) {
                    reach.classes.insert(endpoint, (vlan, *piece));
                }
            }
        }
        for path in lanes.paths.values() {
            reach.block(path, lanes, &pieces);
        }
        reach
    }

    /// The pairs between which a chain lets nothing pass, because it is not complete or torn.
    fn block(&mut self, path: &Path, lanes: &Lanes, pieces: &BTreeMap<Dpid, Dpid>) {
        let trunks = lanes.lanes.get(&path.lane).map(|lane| &lane.trunks);
        let endpoint = |at: At| {
            let tagged = trunks.is_some_and(|trunks| trunks.contains(&at));
            Endpoint { at, vlan: tagged.then_some(path.lane) }
        };
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

    fn joined(&self, a: Endpoint, b: Endpoint) -> bool {
        self.classes.get(&a).is_some_and(|class| self.classes.get(&b) == Some(class))
    }

    /// Whether frames pass between the two.
    pub(crate) fn reaches(&self, a: Endpoint, b: Endpoint) -> bool {
        self.joined(a, b) && !self.blocked.contains(&ordered(a, b))
    }

    /// The pairs that reach each other here and did not before.
    pub(crate) fn beyond(&self, before: &Self) -> Pairs {
        let mut pairs = Pairs::default();
        // Pairs that come together, by what each end was in.
        for parts in self.parts(before).into_values() {
            let n_all: u64 = parts.values().map(|part| part.len() as u64).sum();
            let together = parts.iter().filter(|(class, _)| class.is_some());
            let n_together: u64 = together.map(|(_, part)| n_pairs(part.len() as u64)).sum();
            pairs.n_pairs += n_pairs(n_all) - n_together;
            self.name(&parts, &mut pairs.named);
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

    fn parts(&self, before: &Self) -> BTreeMap<Class, BTreeMap<Option<Class>, Vec<Endpoint>>> {
        let mut groups: BTreeMap<Class, BTreeMap<Option<Class>, Vec<Endpoint>>> = BTreeMap::new();
        for (&endpoint, &class) in &self.classes {
            let was = before.classes.get(&endpoint).copied();
            groups.entry(class).or_default().entry(was).or_default().push(endpoint);
        }
        groups
    }

    fn name(&self, parts: &BTreeMap<Option<Class>, Vec<Endpoint>>, named: &mut Vec<(Endpoint, Endpoint)>) {
        for (idx, (class, part)) in parts.iter().enumerate() {
            for (nth, &one) in part.iter().enumerate() {
                let fellows = if class.is_none() { part.get(nth + 1..) } else { None };
                let others = parts.values().skip(idx + 1).flatten();
                for &other in fellows.into_iter().flatten().chain(others) {
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

    /// Endpoints 0 to 11 in up to three lanes, some of them kept apart.
    fn reach() -> impl Strategy<Value = Reach> {
        let lanes = proptest::collection::vec(0u16..4, 12);
        let blocked = proptest::collection::btree_set((0u32..12, 0u32..12), 0..10);
        (lanes, blocked).prop_map(|(lanes, blocked)| {
            let class = |lane: u16| Some((VlanId::new(lane).ok()?, Dpid(1)));
            let classes = lanes.iter().zip(0..).filter_map(|(&lane, n)| Some((endpoint(n), class(lane)?)));
            let blocked = blocked.into_iter().filter(|(a, b)| a != b);
            Reach {
                classes: classes.collect(),
                blocked: blocked.map(|(a, b)| ordered(endpoint(a), endpoint(b))).collect(),
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
        let classes = (0..15_000).map(|n| (endpoint(n), (lane, Dpid(1)))).collect();
        let gained = Reach { classes, blocked: BTreeSet::new() }.beyond(&Reach::default());
        assert_eq!((gained.n_pairs, gained.named.len()), (112_492_500, MAX_NAMED));
    }
}
