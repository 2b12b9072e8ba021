//! Which parts of a plan a change touches.

use std::collections::{BTreeMap, BTreeSet};

use openflow::Dpid;
use packet::{MacAddr, VlanId};

use super::ways::Arounds;
use super::{Part, Planner, Span, Was};
use crate::graph::Graph;
use crate::lanes::{Lane, Touched};
use crate::layout;
use crate::view::{At, HostKey, View};

impl Planner {
    /// What has to be computed again.
    pub(super) fn stale(&mut self, view: &View) -> BTreeSet<Part> {
        let mut stale = BTreeSet::new();
        let touched = std::mem::take(&mut self.touched);
        let mut lanes: BTreeSet<VlanId> = touched.lanes.iter().chain(&touched.chained).copied().collect();
        lanes.extend(touched.ports.iter().map(|(vlan, _)| *vlan));
        if self.note_support(view) {
            stale.extend(self.parts.keys().cloned());
            self.stale_ways.extend(self.uses.keys());
        }
        self.enrol(view, &mut stale);
        let graph_is_old = std::mem::take(&mut self.graph_is_old);
        if graph_is_old && self.rewire(view, &mut stale) {
            lanes.extend(self.lanes().lanes.keys());
        }
        let labelled = |vlan: &VlanId| layout::BYPASSES.contains(&vlan.get());
        if graph_is_old || touched.lanes.iter().any(labelled) {
            self.lay_out(&mut stale);
        }
        for vlan in &touched.lanes {
            stale.extend(self.blueprint.switches.keys().map(|dpid| Part::Foreign(*vlan, *dpid)));
            let ports = self.lanes().lanes.get(vlan).into_iter().flat_map(|lane| lane.ports());
            stale.extend(ports.map(|at| Part::Port(*vlan, at)));
        }
        for &(vlan, at) in &touched.ports {
            stale.extend([Part::Port(vlan, at), Part::Flood(vlan, at.0)]);
        }
        for key in &touched.hosts {
            stale.insert(Part::Host(*key));
            if self.lanes().paths.values().any(|path| path.lane == key.0) {
                stale.insert(Part::Steer(key.0));
            }
        }
        stale.extend(touched.chains.iter().cloned().map(Part::Chain));
        stale.extend(touched.limits.iter().cloned().map(Part::Limit));
        stale.extend(touched.courses.iter().cloned().map(Part::Course));
        stale.extend(touched.mirrors.iter().cloned().map(Part::Mirror));
        touched.mirrored.iter().for_each(|at| self.copy_again(*at, &mut stale));
        if !touched.balances.is_empty() {
            stale.extend(touched.balances.iter().cloned().map(Part::Balance));
            self.allocate_services(&mut stale);
        }
        // Hosts are answered by flows of their own.
        stale.extend(touched.balanced.iter().flat_map(|vlan| self.hosts_of(*vlan)).map(Part::Host));
        self.judge_again(&touched, &mut stale);
        let taking = [&touched.chains, &touched.courses, &touched.mirrors];
        if taking.iter().any(|names| !names.is_empty()) || !touched.lanes.is_empty() {
            self.allocate(&mut stale);
        }
        for vlan in lanes {
            let whole = touched.lanes.contains(&vlan) || touched.chained.contains(&vlan);
            self.span(vlan, whole, &mut stale);
        }
        stale.extend(touched.chained.into_iter().map(Part::Steer));
        stale
    }

    /// Policies and what waits for them.
    fn judge_again(&self, touched: &Touched, stale: &mut BTreeSet<Part>) {
        stale.extend(touched.rules.iter().cloned().map(Part::Policy));
        for &(vlan, at) in &touched.ports {
            let part = Part::Hold(vlan, at);
            if self.waits(vlan, at) || self.parts.contains_key(&part) {
                stale.insert(part);
            }
        }
        // Whose they are may be another.
        for &vlan in &touched.lanes {
            let ports = self.lanes().lanes.get(&vlan).into_iter().flat_map(Lane::ports);
            stale.extend(ports.filter(|at| self.waits(vlan, *at)).map(|at| Part::Hold(vlan, at)));
        }
        for &(vlan, at) in &touched.holds {
            let everywhere = self.lanes().lanes.get(&vlan).filter(|_| at.is_none());
            let ports: Vec<At> = everywhere.into_iter().flat_map(Lane::ports).chain(at).collect();
            for at in ports {
                stale.extend([Part::Hold(vlan, at), Part::Flood(vlan, at.0)]);
            }
        }
    }

    /// Switches come and go. Only those with enough tables take part; the others are left alone.
    fn enrol(&mut self, view: &View, stale: &mut BTreeSet<Part>) {
        if !self.switches.is_empty() {
            stale.extend(self.lanes().paths.keys().cloned().map(Part::Chain));
            stale.extend(self.lanes().courses.keys().cloned().map(Part::Course));
            self.copy_all_again(stale);
            stale.extend(self.lanes().balances.keys().cloned().map(Part::Balance));
            // Policies for everybody are on every switch.
            let rules = self.lanes().rules.iter();
            let for_all = rules.filter(|(_, rule)| rule.from.is_none() && rule.to.is_none());
            stale.extend(for_all.map(|(name, _)| Part::Policy(name.clone())));
            // So are queues, and meters are where a switch has some.
            stale.extend(self.lanes().limits.keys().cloned().map(Part::Limit));
        }
        for dpid in std::mem::take(&mut self.switches) {
            stale.insert(Part::Switch(dpid));
            let n_tables = view.switches().get(&dpid).map(|switch| switch.n_tables);
            let takes_part = n_tables.is_some_and(|n| n >= layout::N_TABLES);
            let was_small = self.small.remove(&dpid);
            if n_tables.is_some() && !takes_part {
                self.small.insert(dpid);
            }
            match (takes_part, self.blueprint.switches.contains_key(&dpid)) {
                (true, false) => {
                    self.blueprint.switches.insert(dpid, Default::default());
                    self.admit_all(dpid);
                    let lanes = self
                        .lanes()
                        .lanes
                        .keys()
                        .copied()
                        .chain(self.segments.all())
                        .chain(self.tracks.all())
                        .chain(self.copy_lanes.all())
                        .chain(self.labels.iter().copied());
                    stale.extend(lanes.map(|vlan| Part::Foreign(vlan, dpid)));
                    if was_small {
                        stale.extend(self.parts.keys().cloned());
                        self.stale_ways.extend(self.uses.keys());
                    }
                }
                (false, true) => {
                    self.blueprint.groups.remove(&dpid);
                    self.blueprint.meters.remove(&dpid);
                    let flows = self.blueprint.remove_switch(dpid).into_iter();
                    self.log.extend(flows.map(|(key, body)| Was { dpid, key, body: Some(body) }));
                    let gone =
                        self.parts.keys().filter(|part| matches!(part, Part::Foreign(_, of) if *of == dpid));
                    stale.extend(gone.cloned());
                }
                _ => {}
            }
        }
    }

    /// The links are others. Whether the broadcast tree is.
    fn rewire(&mut self, view: &View, stale: &mut BTreeSet<Part>) -> bool {
        let graph = Graph::new(view);
        if graph == self.graph {
            return false;
        }
        let old = std::mem::replace(&mut self.graph, graph);
        match self.graph.only_lost(&old) {
            // A shortest way stays one while its links are there, and the first of those.
            Some(lost) => self.arounds.ways.retain(|link, around| {
                let mut way = around.iter().flat_map(|around| &around.way);
                !lost.contains(link) && way.all(|at| !lost.contains(at))
            }),
            None => self.arounds = Arounds::default(),
        }
        for at in self.graph.rewired(&old) {
            stale.insert(Part::Link(at));
            let through = self.spans.iter().filter(|(_, span)| span.tree.contains(&at));
            stale.extend(through.map(|(vlan, _)| Part::Flood(*vlan, at.0)));
        }
        self.lead_anew(&old, stale);
        stale.extend(self.lanes().paths.keys().cloned().map(Part::Chain));
        stale.extend(self.lanes().courses.keys().cloned().map(Part::Course));
        self.copy_all_again(stale);
        stale.extend(self.lanes().balances.keys().cloned().map(Part::Balance));
        !self.graph.same_tree(&old)
    }

    /// The groups of switches that have other ways than before, and the hosts behind them whose flows say so.
    fn lead_anew(&mut self, old: &Graph, stale: &mut BTreeSet<Part>) {
        let detours = self.graph.detours(old);
        let pairs = detours.iter().flat_map(|(to, from)| from.iter().map(|from| (*from, *to)));
        let ways = pairs.flat_map(|(from, to)| [false, true].map(|back| (from, to, back)));
        self.stale_ways.extend(ways.filter(|way| self.uses.contains_key(way)));
        for (to, from) in detours {
            let first = (to, packet::PortNo(0));
            let here = self.lanes().hosts_at.range(first..).take_while(|(at, _)| at.0 == to);
            let from: BTreeMap<Dpid, Option<BTreeSet<Dpid>>> =
                from.into_iter().map(|from| (from, self.only_lost(old, from, to))).collect();
            for key in here.flat_map(|(_, keys)| keys) {
                let starts = self.spans.get(&key.0).map(|span| &span.starts);
                let is_planned = |from: &Dpid| {
                    let planned = self.parts.get(&Part::Host(*key));
                    planned.is_some_and(|part| part.flows.iter().any(|(dpid, _)| dpid == from))
                };
                let concerns = |(from, lost): (&Dpid, &Option<BTreeSet<Dpid>>)| {
                    let others = || starts.into_iter().flatten().copied();
                    let is_same = lost.as_ref().is_some_and(|lost| {
                        lost.iter().all(|peer| self.is_reached(*peer, to, others(), *from))
                    });
                    !is_same && (starts.is_some_and(|starts| starts.contains(from)) || is_planned(from))
                };
                if from.iter().any(concerns) {
                    stale.insert(Part::Host(*key));
                }
            }
        }
    }

    /// Where a lane is, once more: what is flooded differs where its tree does, and the ways to its hosts if they start
    /// elsewhere. `whole`: all of it differs.
    fn span(&mut self, vlan: VlanId, whole: bool, stale: &mut BTreeSet<Part>) {
        let lane = self.lanes().lanes.get(&vlan);
        let members: BTreeSet<Dpid> =
            lane.into_iter().flat_map(|lane| lane.members.keys().copied()).collect();
        let tree = self.graph.pruned_tree(&members);
        let mut starts = members;
        starts.extend(self.chain_exits(vlan));
        let tags = lane.is_some_and(|lane| lane.transparent || !lane.trunks.is_empty());
        let now = Span { starts, tree, tags };
        let before = self.spans.remove(&vlan).unwrap_or_default();
        let differing = now.tree.symmetric_difference(&before.tree).map(|at| at.0);
        stale.extend(differing.map(|dpid| Part::Flood(vlan, dpid)));
        if whole {
            let everywhere = [&now, &before]
                .into_iter()
                .flat_map(|span| span.tree.iter().map(|at| at.0).chain(span.starts.iter().copied()));
            stale.extend(everywhere.map(|dpid| Part::Flood(vlan, dpid)));
        }
        if whole || (&now.starts, now.tags) != (&before.starts, before.tags) {
            stale.extend(self.hosts_of(vlan).map(Part::Host));
            let rules = self.lanes().rules.iter().filter(|(_, rule)| rule.spreads_over(vlan));
            stale.extend(rules.map(|(name, _)| Part::Policy(name.clone())));
            let limits = self.lanes().limits.iter().filter(|(_, limit)| limit.is_about(vlan));
            stale.extend(limits.map(|(name, _)| Part::Limit(name.clone())));
            let balances = self.lanes().balances.iter().filter(|(_, balance)| balance.lane == vlan);
            stale.extend(balances.map(|(name, _)| Part::Balance(name.clone())));
        }
        if lane_is_there(&now) {
            self.spans.insert(vlan, now);
        }
    }

    /// The hosts of a lane.
    pub(super) fn hosts_of(&self, vlan: VlanId) -> impl Iterator<Item = HostKey> + '_ {
        let all = (vlan, MacAddr([0; 6]))..=(vlan, MacAddr([0xff; 6]));
        self.lanes().hosts.range(all).map(|(key, _)| *key)
    }
}

fn lane_is_there(span: &Span) -> bool {
    !span.starts.is_empty()
}
