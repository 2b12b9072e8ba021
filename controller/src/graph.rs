//! The graph of switches: shortest paths and the broadcast tree.

mod route;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    /// In the order of their ports.
    edges: Vec<Edge>,
}

/// A link, as one end sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edge {
    port: PortNo,
    /// The switch at the other end, and the port there.
    peer: usize,
    peer_port: PortNo,
}

impl Node {
    fn edge(&self, port: PortNo) -> Option<&Edge> {
        let idx = self.edges.binary_search_by_key(&port, |edge| edge.port).ok()?;
        self.edges.get(idx)
    }
}

impl Graph {
    /// The graph of a view. A link counts once it was seen in both directions.
    pub fn new(view: &View) -> Self {
        let mut graph = Self::default();
        for (idx, &dpid) in view.switches().keys().enumerate() {
            graph.idx.insert(dpid, idx);
            graph.nodes.push(Node { dpid, edges: Vec::new() });
        }
        for (a, b) in view.edges() {
            if let (Some(&from), Some(&to)) = (graph.idx.get(&a.0), graph.idx.get(&b.0)) {
                graph.nodes[from].edges.push(Edge { port: a.1, peer: to, peer_port: b.1 });
                graph.nodes[to].edges.push(Edge { port: b.1, peer: from, peer_port: a.1 });
            }
        }
        graph.nodes.iter_mut().for_each(|node| node.edges.sort_unstable_by_key(|edge| edge.port));
        let flat = |node: &Node| node.edges.iter().map(|edge| edge.peer).collect();
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
        self.next_edges(from, to).map(|edge| edge.port)
    }

    /// Every port by which `from` reaches `to` on a shortest path, and the other end of its link.
    pub(crate) fn next_links(&self, from: Dpid, to: Dpid) -> impl Iterator<Item = (PortNo, At)> + '_ {
        self.next_edges(from, to).map(|edge| (edge.port, self.end(edge)))
    }

    fn next_edges(&self, from: Dpid, to: Dpid) -> impl Iterator<Item = &Edge> {
        let row = self.idx.get(&to).map(|to| &self.distances[*to]);
        let nearer = self.distance(from, to).and_then(|distance| distance.checked_sub(1));
        let edges = row.zip(nearer).and_then(|_| self.node(from)).map(|node| &node.edges[..]);
        let is_nearer = move |edge: &&Edge| row.map(|row| row[edge.peer]) == nearer;
        edges.unwrap_or_default().iter().filter(is_nearer)
    }

    /// The other end of a link.
    fn end(&self, edge: &Edge) -> At {
        (self.nodes[edge.peer].dpid, edge.peer_port)
    }

    /// The port by which `from` reaches `to` on a shortest path. `choice` picks among equal ones.
    pub fn next_port(&self, from: Dpid, to: Dpid, choice: u64) -> Option<PortNo> {
        let n_ways = self.next_ports(from, to).count() as u64;
        let idx = choice.checked_rem(n_ways)?;
        self.next_ports(from, to).nth(idx as usize)
    }

    /// All links, each from either end.
    pub fn links(&self) -> impl Iterator<Item = At> + '_ {
        self.nodes.iter().flat_map(|node| node.edges.iter().map(|edge| (node.dpid, edge.port)))
    }

    /// A shortest way to the other end of a link that does without it: the ports by which it leaves each switch. Each prefers
    /// the ports behind the one that the way came by, so that the ways around many links are spread over the others.
    pub fn around(&self, link: At) -> Option<Vec<At>> {
        let start = *self.idx.get(&link.0)?;
        let goal = self.nodes[start].edge(link.1)?.peer;
        let mut came: Vec<Option<(usize, PortNo)>> = vec![None; self.nodes.len()];
        let mut queue = VecDeque::from([(start, link.1)]);
        while let Some((here, by)) = queue.pop_front().filter(|_| came[goal].is_none()) {
            let edges = &self.nodes[here].edges;
            let (before, behind) = edges.split_at(edges.partition_point(|edge| edge.port <= by));
            for &Edge { port, peer, peer_port } in behind.iter().chain(before) {
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
        Some(self.end(self.node(at.0)?.edge(at.1)?))
    }

    /// The piece of the network each switch is in, named by the lowest switch of it.
    pub fn pieces(&self) -> BTreeMap<Dpid, Dpid> {
        let lowest = |row: &Vec<u32>| row.iter().position(|distance| *distance != FAR);
        let piece = |(node, row): (&Node, &Vec<u32>)| Some((node.dpid, self.nodes[lowest(row)?].dpid));
        self.nodes.iter().zip(&self.distances).filter_map(piece).collect()
    }

    /// Ports of links of a switch.
    pub fn ports(&self, dpid: Dpid) -> impl Iterator<Item = PortNo> + '_ {
        self.node(dpid).into_iter().flat_map(|node| node.edges.iter().map(|edge| edge.port))
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
        let differs = |from, to| !self.next_links(from, to).eq(old.next_links(from, to));
        // Where nothing is nearer or farther, only those have other ways whose own links are others.
        let relinked = |dpid: &Dpid| !self.links_of(*dpid).eq(old.links_of(*dpid));
        let relinked: BTreeSet<Dpid> = all.iter().copied().filter(relinked).collect();
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
        if self.idx != old.idx {
            return None;
        }
        let mut lost = BTreeSet::new();
        for (now, was) in self.nodes.iter().zip(&old.nodes).filter(|(now, was)| now != was) {
            let has = |node: &Node, edge: &Edge| node.edge(edge.port) == Some(edge);
            if !now.edges.iter().all(|edge| has(was, edge)) {
                return None;
            }
            lost.extend(was.edges.iter().filter(|edge| !has(now, edge)).map(|edge| (now.dpid, edge.port)));
        }
        Some(lost)
    }

    /// Ports whose links, or whether these belong to the broadcast tree, differ from `old`.
    pub(crate) fn rewired(&self, old: &Self) -> BTreeSet<At> {
        let mut rewired: BTreeSet<At> = self.tree.symmetric_difference(&old.tree).copied().collect();
        let all: BTreeSet<Dpid> = self.idx.keys().chain(old.idx.keys()).copied().collect();
        for dpid in all.into_iter().filter(|dpid| !self.links_of(*dpid).eq(old.links_of(*dpid))) {
            let ports = self.ports(dpid).chain(old.ports(dpid)).map(|port| (dpid, port));
            rewired.extend(ports.filter(|at| self.peer(*at) != old.peer(*at)));
        }
        rewired
    }

    /// Ports of links of a switch, and their other ends.
    fn links_of(&self, dpid: Dpid) -> impl Iterator<Item = (PortNo, At)> + '_ {
        let edges = self.node(dpid).into_iter().flat_map(|node| &node.edges);
        edges.map(|edge| (edge.port, self.end(edge)))
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
                for &Edge { port, peer, peer_port } in &self.nodes[here].edges {
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
