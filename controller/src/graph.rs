//! The graph of switches: shortest paths and the broadcast tree.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use openflow::Dpid;
use packet::PortNo;

use crate::view::{At, View};

/// Switches and the links between them. Everything is ordered, so the same view gives the same graph.
#[derive(Debug, Default)]
pub struct Graph {
    /// Per switch: port, and the port at its other end.
    edges: BTreeMap<Dpid, BTreeMap<PortNo, At>>,
    /// Per destination: number of links from each switch that reaches it.
    distances: BTreeMap<Dpid, BTreeMap<Dpid, u32>>,
    /// Ports of links of the broadcast tree (a forest, if the network is in pieces).
    tree: BTreeSet<At>,
}

impl Graph {
    /// The graph of a view. A link counts once it was seen in both directions.
    pub fn new(view: &View) -> Self {
        let mut graph = Self::default();
        for &dpid in view.switches.keys() {
            graph.edges.entry(dpid).or_default();
        }
        for (a, b) in view.edges() {
            if view.switches.contains_key(&a.0) && view.switches.contains_key(&b.0) {
                graph.edges.entry(a.0).or_default().insert(a.1, b);
                graph.edges.entry(b.0).or_default().insert(b.1, a);
            }
        }
        let switches: Vec<Dpid> = graph.edges.keys().copied().collect();
        graph.distances = switches.iter().map(|&dpid| (dpid, graph.distances_from(dpid))).collect();
        graph.tree = graph.spanning_tree();
        graph
    }

    /// Number of links on a shortest path; none if there is no path.
    pub fn distance(&self, from: Dpid, to: Dpid) -> Option<u32> {
        self.distances.get(&to)?.get(&from).copied()
    }

    /// The port by which `from` reaches `to` on a shortest path. `choice` picks among equal ones.
    pub fn next_port(&self, from: Dpid, to: Dpid, choice: u64) -> Option<PortNo> {
        let distance = self.distance(from, to)?.checked_sub(1)?;
        let nearer = |(_, peer): &(&PortNo, &At)| self.distance(peer.0, to) == Some(distance);
        let n_ways = self.edges.get(&from)?.iter().filter(nearer).count() as u64;
        let idx = choice.checked_rem(n_ways)?;
        self.edges.get(&from)?.iter().filter(nearer).nth(idx as usize).map(|(port, _)| *port)
    }

    /// The switches on the way `next_port` takes, with the port each leaves by; the last switch is not among them.
    pub fn path(&self, from: Dpid, to: Dpid, choice: u64) -> Vec<At> {
        let mut path = Vec::new();
        let mut here = from;
        while let Some(port) = self.next_port(here, to, choice) {
            path.push((here, port));
            match self.peer((here, port)) {
                Some(peer) => here = peer.0,
                None => break,
            }
        }
        path
    }

    /// The other end of a link.
    pub fn peer(&self, at: At) -> Option<At> {
        self.edges.get(&at.0)?.get(&at.1).copied()
    }

    /// The piece of the network each switch is in, named by the lowest switch of it.
    pub fn pieces(&self) -> BTreeMap<Dpid, Dpid> {
        let lowest = |distances: &BTreeMap<Dpid, u32>| distances.keys().next().copied();
        self.distances.iter().filter_map(|(&dpid, near)| Some((dpid, lowest(near)?))).collect()
    }

    /// Ports of links of a switch.
    pub fn ports(&self, dpid: Dpid) -> impl Iterator<Item = PortNo> + '_ {
        self.edges.get(&dpid).into_iter().flat_map(|ports| ports.keys().copied())
    }

    /// Whether the link of this port belongs to the broadcast tree.
    pub fn in_tree(&self, at: At) -> bool {
        self.tree.contains(&at)
    }

    /// The part of the broadcast tree that joins `members`: ports of its links, at both ends.
    pub fn pruned_tree(&self, members: &BTreeSet<Dpid>) -> BTreeSet<At> {
        let mut tree = self.tree.clone();
        let mut degree: BTreeMap<Dpid, usize> = BTreeMap::new();
        for at in &tree {
            *degree.entry(at.0).or_default() += 1;
        }
        let is_bare =
            |dpid: &Dpid, degree: &BTreeMap<Dpid, usize>| !members.contains(dpid) && degree[dpid] == 1;
        let mut bare: Vec<Dpid> = degree.keys().filter(|dpid| is_bare(dpid, &degree)).copied().collect();
        while let Some(leaf) = bare.pop() {
            let Some(at) = tree.range((leaf, PortNo(0))..).next().copied().filter(|at| at.0 == leaf) else {
                continue;
            };
            tree.remove(&at);
            let Some(peer) = self.peer(at) else { continue };
            tree.remove(&peer);
            if let Some(n) = degree.get_mut(&peer.0) {
                *n -= 1;
            }
            if is_bare(&peer.0, &degree) {
                bare.push(peer.0);
            }
        }
        tree
    }

    fn distances_from(&self, root: Dpid) -> BTreeMap<Dpid, u32> {
        let mut distances = BTreeMap::from([(root, 0)]);
        let mut queue = VecDeque::from([root]);
        while let Some(here) = queue.pop_front() {
            let next = distances[&here] + 1;
            for peer in self.edges[&here].values() {
                if let Entry::Vacant(vacant) = distances.entry(peer.0) {
                    vacant.insert(next);
                    queue.push_back(peer.0);
                }
            }
        }
        distances
    }

    /// One tree for each piece of the network, its root the switch from which the farthest is nearest.
    fn spanning_tree(&self) -> BTreeSet<At> {
        let mut by_eccentricity: Vec<(u32, Dpid)> = self
            .distances
            .iter()
            .map(|(&dpid, distances)| (distances.values().copied().max().unwrap_or(0), dpid))
            .collect();
        by_eccentricity.sort_unstable();
        let mut tree = BTreeSet::new();
        let mut reached = BTreeSet::new();
        for (_, root) in by_eccentricity {
            if !reached.insert(root) {
                continue;
            }
            let mut queue = VecDeque::from([root]);
            while let Some(here) = queue.pop_front() {
                for (&port, &peer) in &self.edges[&here] {
                    if reached.insert(peer.0) {
                        tree.extend([(here, port), peer]);
                        queue.push_back(peer.0);
                    }
                }
            }
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Switch;

    /// Two spines (1, 2) and three leaves (3, 4, 5); port n of a switch leads to switch n.
    fn leaf_spine() -> View {
        let mut view = View::default();
        for dpid in 1..=5 {
            view.switches.insert(Dpid(dpid), Switch::default());
        }
        for (spine, leaf) in [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)] {
            let [a, b] = [(Dpid(spine), PortNo(leaf as u32)), (Dpid(leaf), PortNo(spine as u32))];
            view.links.extend([(a, b), (b, a)]);
        }
        view
    }

    #[test]
    fn paths_are_shortest_and_choices_use_all_ways() {
        let graph = Graph::new(&leaf_spine());
        assert_eq!(graph.distance(Dpid(3), Dpid(5)), Some(2));
        let ways: BTreeSet<_> =
            (0..4).filter_map(|choice| graph.next_port(Dpid(3), Dpid(5), choice)).collect();
        assert_eq!(ways, [PortNo(1), PortNo(2)].into());
        assert_eq!(graph.path(Dpid(3), Dpid(5), 1), [(Dpid(3), PortNo(2)), (Dpid(2), PortNo(5))]);
        assert_eq!(graph.next_port(Dpid(3), Dpid(3), 0), None);
    }

    #[test]
    fn the_tree_spans_without_a_loop_and_is_pruned_to_its_members() {
        let graph = Graph::new(&leaf_spine());
        assert_eq!(graph.tree.len(), 2 * 4, "five switches need four links");
        let pruned = graph.pruned_tree(&[Dpid(3), Dpid(4)].into());
        let switches: BTreeSet<_> = pruned.iter().map(|at| at.0.0).collect();
        assert_eq!(switches, [1, 3, 4].into());
        assert!(graph.pruned_tree(&[Dpid(3)].into()).is_empty());
    }

    #[test]
    fn a_link_seen_in_one_direction_carries_nothing() {
        let mut view = leaf_spine();
        view.links.remove(&(Dpid(1), PortNo(3)));
        assert!(Graph::new(&view).peer((Dpid(3), PortNo(1))).is_none());
    }
}
