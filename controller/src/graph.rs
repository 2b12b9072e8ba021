//! The graph of switches: shortest paths and the broadcast tree.

mod route;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use openflow::Dpid;
use packet::PortNo;

use crate::view::{At, View};
pub(crate) use route::{Legs, Shunned};

/// No path.
const FAR: u32 = u32::MAX;

/// Switches and the links between them. Everything is ordered, so the same view gives the same graph.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Number of each switch here, in the order of their dpids.
    idx: BTreeMap<Dpid, usize>,
    nodes: Vec<Node>,
    /// Per destination: number of links from each switch that reaches it.
    distances: Vec<Vec<u32>>,
    /// Ports of links of the broadcast tree (a forest, if the network is in pieces).
    tree: BTreeSet<At>,
}

#[derive(Debug, PartialEq, Eq)]
struct Node {
    dpid: Dpid,
    /// Port, the switch at its other end, and the port there.
    edges: BTreeMap<PortNo, (usize, PortNo)>,
}

impl Graph {
    /// The graph of a view. A link counts once it was seen in both directions.
    pub fn new(view: &View) -> Self {
        let mut graph = Self::default();
        for (idx, &dpid) in view.switches().keys().enumerate() {
            graph.idx.insert(dpid, idx);
            graph.nodes.push(Node { dpid, edges: BTreeMap::new() });
        }
        for (a, b) in view.edges() {
            if let (Some(&from), Some(&to)) = (graph.idx.get(&a.0), graph.idx.get(&b.0)) {
                graph.nodes[from].edges.insert(a.1, (to, b.1));
                graph.nodes[to].edges.insert(b.1, (from, a.1));
            }
        }
        let flat = |node: &Node| node.edges.values().map(|(peer, _)| *peer).collect();
        let neighbours: Vec<Vec<usize>> = graph.nodes.iter().map(flat).collect();
        graph.distances = (0..graph.nodes.len()).map(|root| distances_from(&neighbours, root)).collect();
        graph.tree = graph.spanning_tree();
        graph
    }

    fn node(&self, dpid: Dpid) -> Option<&Node> {
        self.nodes.get(*self.idx.get(&dpid)?)
    }

    /// Number of links on a shortest path; none if there is no path.
    pub fn distance(&self, from: Dpid, to: Dpid) -> Option<u32> {
        let distance = self.distances.get(*self.idx.get(&to)?)?.get(*self.idx.get(&from)?)?;
        Some(*distance).filter(|distance| *distance != FAR)
    }

    /// Every port by which `from` reaches `to` on a shortest path.
    pub fn next_ports(&self, from: Dpid, to: Dpid) -> impl Iterator<Item = PortNo> + '_ {
        let row = self.idx.get(&to).map(|to| &self.distances[*to]);
        let nearer = self.distance(from, to).and_then(|distance| distance.checked_sub(1));
        let edges = self.node(from).map(|node| node.edges.iter()).into_iter().flatten();
        edges.filter_map(move |(port, (peer, _))| (Some(row?[*peer]) == nearer).then_some(*port))
    }

    /// The port by which `from` reaches `to` on a shortest path. `choice` picks among equal ones.
    pub fn next_port(&self, from: Dpid, to: Dpid, choice: u64) -> Option<PortNo> {
        let n_ways = self.next_ports(from, to).count() as u64;
        let idx = choice.checked_rem(n_ways)?;
        self.next_ports(from, to).nth(idx as usize)
    }

    /// All links, each from either end.
    pub fn links(&self) -> impl Iterator<Item = At> + '_ {
        self.nodes.iter().flat_map(|node| node.edges.keys().map(|port| (node.dpid, *port)))
    }

    /// A shortest way to the other end of a link that does without it: the ports by which it leaves each switch. Each prefers
    /// the ports behind the one that the way came by, so that the ways around many links are spread over the others.
    pub fn around(&self, link: At) -> Option<Vec<At>> {
        let start = *self.idx.get(&link.0)?;
        let (goal, _) = *self.nodes[start].edges.get(&link.1)?;
        let mut came: Vec<Option<(usize, PortNo)>> = vec![None; self.nodes.len()];
        let mut queue = VecDeque::from([(start, link.1)]);
        while let Some((here, by)) = queue.pop_front().filter(|_| came[goal].is_none()) {
            let edges = &self.nodes[here].edges;
            let behind = edges.range((Bound::Excluded(by), Bound::Unbounded)).chain(edges.range(..=by));
            for (&port, &(peer, peer_port)) in behind {
                if peer != start && came[peer].is_none() && (here, port) != (start, link.1) {
                    came[peer] = Some((here, port));
                    queue.push_back((peer, peer_port));
                }
            }
        }
        let mut way = Vec::new();
        let mut here = goal;
        while here != start {
            let (before, port) = came[here]?;
            way.push((self.nodes[before].dpid, port));
            here = before;
        }
        way.reverse();
        Some(way)
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
        let (peer, port) = self.node(at.0)?.edges.get(&at.1)?;
        Some((self.nodes[*peer].dpid, *port))
    }

    /// The piece of the network each switch is in, named by the lowest switch of it.
    pub fn pieces(&self) -> BTreeMap<Dpid, Dpid> {
        let lowest = |row: &Vec<u32>| row.iter().position(|distance| *distance != FAR);
        let piece = |(node, row): (&Node, &Vec<u32>)| Some((node.dpid, self.nodes[lowest(row)?].dpid));
        self.nodes.iter().zip(&self.distances).filter_map(piece).collect()
    }

    /// Ports of links of a switch.
    pub fn ports(&self, dpid: Dpid) -> impl Iterator<Item = PortNo> + '_ {
        self.node(dpid).into_iter().flat_map(|node| node.edges.keys().copied())
    }

    /// Whether the link of this port belongs to the broadcast tree.
    pub fn in_tree(&self, at: At) -> bool {
        self.tree.contains(&at)
    }

    /// Whether frames are flooded along the same links.
    pub(crate) fn same_tree(&self, other: &Self) -> bool {
        self.tree == other.tree && self.tree.iter().all(|at| self.peer(*at) == other.peer(*at))
    }

    /// For each destination the switches that have other ways there than in `old`; all that are here or were there.
    pub(crate) fn detours(&self, old: &Self) -> BTreeMap<Dpid, BTreeSet<Dpid>> {
        let all: BTreeSet<Dpid> = self.idx.keys().chain(old.idx.keys()).copied().collect();
        let ways = |graph: &Self, from, to| -> Vec<(PortNo, Option<At>)> {
            graph.next_ports(from, to).map(|port| (port, graph.peer((from, port)))).collect()
        };
        let differs = |from, to| ways(self, from, to) != ways(old, from, to);
        // Where nothing is nearer or farther, only those have other ways whose own links are others.
        let links = |graph: &Self, dpid| -> Vec<(PortNo, Option<At>)> {
            graph.ports(dpid).map(|port| (port, graph.peer((dpid, port)))).collect()
        };
        let relinked: BTreeSet<Dpid> =
            all.iter().copied().filter(|dpid| links(self, *dpid) != links(old, *dpid)).collect();
        let is_as_far = |to: &Dpid| {
            let rows = self.idx.get(to).zip(old.idx.get(to));
            self.idx == old.idx && rows.is_some_and(|(now, was)| self.distances[*now] == old.distances[*was])
        };
        let of = |to: Dpid| {
            let candidates = if is_as_far(&to) { &relinked } else { &all };
            candidates.iter().copied().filter(|from| differs(*from, to)).collect()
        };
        all.iter()
            .map(|to| (*to, of(*to)))
            .filter(|(_, from): &(_, BTreeSet<Dpid>)| !from.is_empty())
            .collect()
    }

    /// Ends of links that are in `old` and not here, if that is all the difference between the links of the two.
    pub(crate) fn only_lost(&self, old: &Self) -> Option<BTreeSet<At>> {
        let has_all = |a: &Self, b: &Self| b.links().all(|at| a.peer(at) == b.peer(at));
        let lost = || old.links().filter(|at| self.peer(*at).is_none()).collect();
        (self.idx == old.idx && has_all(old, self)).then(lost)
    }

    /// Switches whose links, or which of them belong to the broadcast tree, differ from `old`.
    pub(crate) fn rewired(&self, old: &Self) -> BTreeSet<Dpid> {
        let all = self.idx.keys().chain(old.idx.keys()).copied();
        let links = |graph: &Self, dpid| -> Vec<(PortNo, Option<At>, bool)> {
            let ports = graph.ports(dpid);
            ports.map(|port| (port, graph.peer((dpid, port)), graph.in_tree((dpid, port)))).collect()
        };
        all.filter(|dpid| links(self, *dpid) != links(old, *dpid)).collect()
    }

    /// The part of the broadcast tree that joins `members`: ports of its links, at both ends.
    pub fn pruned_tree(&self, members: &BTreeSet<Dpid>) -> BTreeSet<At> {
        if members.len() < 2 {
            return BTreeSet::new();
        }
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

    /// One tree for each piece of the network, its root the first switch from which the farthest is at most one link farther than
    /// need be: a link that goes down seldom makes another one the root.
    fn spanning_tree(&self) -> BTreeSet<At> {
        let farthest = |row: &Vec<u32>| row.iter().copied().filter(|distance| *distance != FAR).max();
        let far: Vec<u32> = self.distances.iter().map(|row| farthest(row).unwrap_or(0)).collect();
        let nearest = |row: &Vec<u32>| {
            let piece = row.iter().zip(&far).filter(|(distance, _)| **distance != FAR);
            piece.map(|(_, far)| *far).min().unwrap_or(0)
        };
        let is_root = |idx: &usize| far[*idx] <= nearest(&self.distances[*idx]) + 1;
        let roots: Vec<usize> = (0..self.nodes.len()).filter(is_root).collect();
        let mut tree = BTreeSet::new();
        let mut reached = vec![false; self.nodes.len()];
        for root in roots {
            if std::mem::replace(&mut reached[root], true) {
                continue;
            }
            let mut queue = VecDeque::from([root]);
            while let Some(here) = queue.pop_front() {
                for (&port, &(peer, peer_port)) in &self.nodes[here].edges {
                    if !std::mem::replace(&mut reached[peer], true) {
                        tree.extend([(self.nodes[here].dpid, port), (self.nodes[peer].dpid, peer_port)]);
                        queue.push_back(peer);
                    }
                }
            }
        }
        tree
    }
}

/// Number of links from `root` to each node.
fn distances_from(neighbours: &[Vec<usize>], root: usize) -> Vec<u32> {
    let mut distances = vec![FAR; neighbours.len()];
    distances[root] = 0;
    let mut queue = VecDeque::from([root]);
    while let Some(here) = queue.pop_front() {
        let next = distances[here] + 1;
        for &peer in &neighbours[here] {
            if distances[peer] == FAR {
                distances[peer] = next;
                queue.push_back(peer);
            }
        }
    }
    distances
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Switch;

    /// Two spines (1, 2) and three leaves (3, 4, 5); port n of a switch leads to switch n.
    fn leaf_spine() -> View {
        let mut view = View::default();
        for dpid in 1..=5 {
            view.put_switch(Dpid(dpid), Switch::default());
        }
        for (spine, leaf) in [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)] {
            let [a, b] = [(Dpid(spine), PortNo(leaf as u32)), (Dpid(leaf), PortNo(spine as u32))];
            view.put_link(a, b);
            view.put_link(b, a);
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
    fn a_way_around_a_link_does_without_it() {
        let graph = Graph::new(&leaf_spine());
        let way = graph.around((Dpid(1), PortNo(3))).unwrap();
        assert_eq!(way, [(Dpid(1), PortNo(4)), (Dpid(4), PortNo(2)), (Dpid(2), PortNo(3))]);
        let mut view = leaf_spine();
        [4, 5].into_iter().for_each(|leaf| view.remove_link((Dpid(1), PortNo(leaf))));
        assert_eq!(Graph::new(&view).around((Dpid(1), PortNo(3))), None);
    }

    #[test]
    fn ways_around_links_are_spread_and_stay_while_they_can() {
        let whole = Graph::new(&leaf_spine());
        let way = |graph: &Graph, link| graph.around(link).unwrap();
        assert_ne!(way(&whole, (Dpid(1), PortNo(3)))[0], way(&whole, (Dpid(1), PortNo(4)))[0]);
        let lost = (Dpid(2), PortNo(5));
        let mut view = leaf_spine();
        view.remove_link(lost);
        let less = Graph::new(&view);
        assert_eq!(less.only_lost(&whole), Some([lost, (Dpid(5), PortNo(2))].into()));
        assert_eq!(whole.only_lost(&less), None);
        for link in less.links() {
            let before = way(&whole, link);
            let takes = before.iter().any(|at| *at == lost || whole.peer(*at) == Some(lost));
            assert_eq!(less.around(link) == Some(before), !takes, "{link:?}");
        }
    }

    #[test]
    fn a_link_seen_in_one_direction_carries_nothing() {
        let mut view = leaf_spine();
        view.remove_link((Dpid(1), PortNo(3)));
        assert!(Graph::new(&view).peer((Dpid(3), PortNo(1))).is_none());
    }
}
