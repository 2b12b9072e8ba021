//! The ways from switch to switch: over all shortest paths at once, and around a link that is dead.
//!
//! A switch reaches another by a group of its own for it. If several links are on shortest paths, it spreads frames over
//! those that are alive; if there is one, what cannot leave by it goes around it: under one more tag, by a way that is
//! laid out beforehand, to the very switch at the other end. There the tag comes off, and the frame goes on as if it had
//! come by the link. Should a frame have come by the very port that the way around begins with, it must go back there,
//! which an output says in words of its own (OpenFlow 1.3.5 §4.5): such frames have a flow and a group to themselves.
//! Such a way knows no detours itself, so whatever else fails, a frame never circles. Frames that are
//! flooded do not take it: whoever gets one by a tree port that is dead would send it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openflow::{Action, Bucket, Dpid, Field, GroupType, Instruction, Match, Oxm, ports};
use packet::{PortNo, VlanId};

use super::{Draft, FABRIC, Part, Planner, Slot};
use crate::graph::Graph;
use crate::groups::{GroupBody, Support};
use crate::layout::{self, ADMIT, LANE, admit};
use crate::view::{At, View};

/// Words with a bit for each label.
const N_WORDS: usize = (*layout::BYPASSES.end() - *layout::BYPASSES.start()) as usize / 64 + 1;

/// A way around a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bypass {
    /// The tag of its frames.
    label: VlanId,
    course: Arc<Around>,
}

/// Where such a way leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Around {
    /// The ports by which it leaves each switch.
    pub way: Vec<At>,
    /// The ports by which it enters the next.
    arrivals: Vec<At>,
    /// Numbers of these.
    numbers: Vec<usize>,
    /// Chooses where to look for a tag first.
    choice: u64,
}

/// The ways around links, as far as they were looked for.
#[derive(Debug, Default)]
pub(super) struct Arounds {
    /// None: there is none.
    pub ways: BTreeMap<At, Option<Arc<Around>>>,
    /// Numbers of ports by which such ways arrive.
    numbers: BTreeMap<At, usize>,
}

impl Arounds {
    /// Looks for the way around a link, unless that was done before.
    fn find(&mut self, graph: &Graph, link: At) {
        let Self { ways, numbers } = self;
        ways.entry(link).or_insert_with(|| {
            let way = graph.around(link)?;
            let arrivals: Vec<At> = way.iter().filter_map(|at| graph.peer(*at)).collect();
            let mut number = |at: &At| {
                let next = numbers.len();
                *numbers.entry(*at).or_insert(next)
            };
            let numbers = arrivals.iter().map(&mut number).collect();
            let choice = layout::fnv(&[link.0.0.to_be_bytes(), u64::from(link.1.0).to_be_bytes()].concat());
            Some(Arc::new(Around { way, arrivals, numbers, choice }))
        });
    }
}

/// What a switch does with frames for another.
pub(super) struct Way {
    /// The switch.
    pub here: Dpid,
    /// With those that come by this port, if it is named.
    pub by: Option<PortNo>,
    /// What it does with them.
    pub action: Action,
}

/// The group of the first switch for the second; true: for frames that came by the port that the way around begins with.
pub(super) type GroupUse = (Dpid, Dpid, bool);

impl Planner {
    pub(super) fn support(&self, dpid: Dpid) -> Support {
        self.support.get(&dpid).copied().unwrap_or_default()
    }

    /// What each switch between the first ones and `to` does with frames for `to`: an output, or a group. Where frames of
    /// the lane enter a switch by a link on the way is noted, and which groups are needed.
    pub(super) fn ways(
        &self,
        draft: &mut Draft,
        lane: VlanId,
        (mut open, to): (Vec<Dpid>, Dpid),
        choice: u64,
    ) -> Vec<Way> {
        open.retain(|from| self.graph.distance(*from, to).is_some());
        let (mut done, mut ways) = (BTreeSet::from([to]), Vec::new());
        let (mut arrivals, mut grouped) = (Vec::new(), Vec::new());
        while let Some(here) = open.pop() {
            if !done.insert(here) {
                continue;
            }
            let (has_group, ports) = self.next(here, to, choice);
            let Some(&first) = ports.first() else { continue };
            let action = if has_group {
                draft.ways.insert((here, to, false));
                grouped.extend((ports.len() == 1).then_some((here, first)));
                Action::Group(layout::group_to(to, false))
            } else {
                Action::output(first)
            };
            ways.push(Way { here, by: None, action });
            for peer in ports.iter().filter_map(|port| self.graph.peer((here, *port))) {
                arrivals.push(peer);
                open.push(peer.0);
            }
        }
        arrivals.sort_unstable();
        let entered = arrivals.chunk_by(|a, b| a.0 == b.0).filter_map(|same| same.first());
        draft.entries.extend(entered.map(|at| (at.0, lane)));
        // Frames that come by the port that the way around begins with.
        for (here, port) in grouped {
            let out = self.way_around((here, port)).map(|(_, out)| out);
            if let Some(by) = out.filter(|out| arrivals.binary_search(&(here, *out)).is_ok()) {
                draft.ways.insert((here, to, true));
                ways.push(Way { here, by: Some(by), action: Action::Group(layout::group_to(to, true)) });
            }
        }
        ways
    }

    /// Where the links that a switch lost for another led, if those that are left are all that it needs: its group spreads
    /// over them, and what flows of hosts there say of it is as it was.
    pub(super) fn only_lost(&self, old: &Graph, from: Dpid, to: Dpid) -> Option<BTreeSet<Dpid>> {
        let (has_group, ports) = self.next(from, to, 0);
        let before: Vec<PortNo> = old.next_ports(from, to).collect();
        let lost = before.iter().map(|port| (from, *port)).filter(|at| !ports.contains(&at.1));
        let is_as_it_was = |port: &PortNo| {
            before.contains(port) && self.graph.peer((from, *port)) == old.peer((from, *port))
        };
        let is_less = has_group
            && self.support(from).select
            && ports.len() > 1
            && ports.iter().all(is_as_it_was)
            && lost.clone().all(|at| self.graph.peer(at).is_none());
        is_less.then(|| lost.filter_map(|at| old.peer(at)).map(|peer| peer.0).collect())
    }

    /// Whether frames for `to` that start at one of these switches, or at another on the way, still reach `peer` when
    /// `without` sends none there.
    pub(super) fn is_reached(
        &self,
        peer: Dpid,
        to: Dpid,
        mut starts: impl Iterator<Item = Dpid>,
        without: Dpid,
    ) -> bool {
        starts.any(|start| {
            start != without
                && self.has_group(start, to)
                && match self.support(start).select {
                    true => self.graph.next_links(start, to).any(|(_, at)| at.0 == peer),
                    false => self
                        .group_ports(start, to)
                        .iter()
                        .any(|port| self.graph.peer((start, *port)).is_some_and(|at| at.0 == peer)),
                }
        })
    }

    /// Whether a switch has a group for another.
    fn has_group(&self, here: Dpid, to: Dpid) -> bool {
        self.support(here) != Support::default() && self.own_group.contains(&to)
    }

    /// Whether a switch has a group for another, and the ports by which it sends to it.
    fn next(&self, here: Dpid, to: Dpid, choice: u64) -> (bool, Vec<PortNo>) {
        let has_group = self.has_group(here, to);
        let ports = match has_group {
            true => self.group_ports(here, to),
            false => self.graph.next_port(here, to, choice).into_iter().collect(),
        };
        (has_group, ports)
    }

    /// What a switch does with frames for another that came by no link: an output, or a group, which is noted to be needed.
    pub(super) fn first_step(
        &self,
        draft: &mut Draft,
        lane: VlanId,
        (here, to): (Dpid, Dpid),
        choice: u64,
    ) -> Option<Action> {
        let (has_group, ports) = self.next(here, to, choice);
        let first = *ports.first()?;
        if !has_group {
            draft.enter(&self.graph, lane, (here, first));
            return Some(Action::output(first));
        }
        ports.iter().for_each(|port| draft.enter(&self.graph, lane, (here, *port)));
        draft.ways.insert((here, to, false));
        Some(Action::Group(layout::group_to(to, false)))
    }

    /// The tag of the way around a link, and the port that it begins with, where the switch can make use of it.
    fn way_around(&self, link: At) -> Option<(VlanId, PortNo)> {
        let bypass = self.bypasses.get(&link).filter(|_| self.support(link.0).failover)?;
        Some((bypass.label, bypass.course.way.first()?.1))
    }

    /// The ports by which the group of `from` for `to` sends while all of them are alive.
    fn group_ports(&self, from: Dpid, to: Dpid) -> Vec<PortNo> {
        if self.support(from).select {
            return self.graph.next_ports(from, to).collect();
        }
        let choice = layout::fnv(&to.0.to_be_bytes());
        self.graph.next_port(from, to, choice).into_iter().collect()
    }

    /// The port by which the group of `from` for `to` sends, if there is but one.
    fn only_port(&self, from: Dpid, to: Dpid) -> Option<PortNo> {
        if !self.support(from).select {
            return self.group_ports(from, to).first().copied();
        }
        let mut ports = self.graph.next_ports(from, to);
        let port = ports.next()?;
        ports.next().is_none().then_some(port)
    }

    /// The group of `from` for `to`; `back` for frames that came by the port that the way around begins with.
    pub(super) fn group_body(&self, (from, to, back): GroupUse) -> GroupBody {
        let ports = self.group_ports(from, to);
        let bucket = |port: PortNo, weight| Bucket {
            weight,
            watch_port: Some(port),
            watch_group: None,
            actions: vec![Action::output(port)],
        };
        match ports[..] {
            [port] if self.support(from).failover => {
                let around = self.way_around((from, port)).map(|(label, out)| {
                    let tag = Action::SetField(Oxm::new(Field::VlanVid, Oxm::vlan(label).value));
                    let output = Action::output(if back { ports::IN_PORT } else { out });
                    Bucket { actions: vec![Action::PushVlan(0x8100), tag, output], ..bucket(out, 0) }
                });
                let buckets = [bucket(port, 0)].into_iter().chain(around).collect();
                GroupBody { group_type: GroupType::FastFailover, buckets }
            }
            _ => {
                let buckets = ports.into_iter().map(|port| bucket(port, 1)).collect();
                GroupBody { group_type: GroupType::Select, buckets }
            }
        }
    }

    /// Notes what switches can do with groups. Whether one that took part can do something else now.
    pub(super) fn note_support(&mut self, view: &View) -> bool {
        if self.switches.is_empty() {
            return false;
        }
        let had = self.support.clone();
        for dpid in &self.switches {
            match view.switches().get(dpid) {
                Some(switch) => drop(self.support.insert(*dpid, switch.groups)),
                None => drop(self.support.remove(dpid)),
            }
        }
        // Where two switches would have the same group, the first has it.
        let mut numbers = BTreeSet::new();
        let own = self.support.keys().copied().filter(|dpid| numbers.insert(layout::group_to(*dpid, false)));
        let own: BTreeSet<Dpid> = own.collect();
        let differs = had.iter().any(|(dpid, before)| {
            let now = self.support.get(dpid);
            now.is_some_and(|now| now != before || self.own_group.contains(dpid) != own.contains(dpid))
        });
        self.own_group = own;
        differs
    }

    /// Lays out the ways around all links once more.
    pub(super) fn lay_out(&mut self, stale: &mut BTreeSet<Part>) {
        let lanes = &self.lanes().lanes;
        let free = layout::BYPASSES.filter_map(|n| VlanId::new(n).ok());
        let free = free.filter(|vlan| !lanes.contains_key(vlan));
        let (mut free, others): (Vec<VlanId>, Vec<VlanId>) =
            free.partition(|vlan| layout::is_usual_bypass(*vlan));
        let usual = free.len();
        free.extend(others);
        let fails_over = |link: &At| self.support.get(&link.0).is_some_and(|support| support.failover);
        for link in self.graph.links().filter(fails_over) {
            self.arounds.find(&self.graph, link);
        }
        // Labels, by their places among those that are free, of what arrives at a port.
        let mut taken = vec![[0_u64; N_WORDS]; self.arounds.numbers.len()];
        let mut now: Vec<(At, Bypass)> = Vec::with_capacity(self.bypasses.len());
        let mut labels: BTreeSet<VlanId> = BTreeSet::new();
        for (link, course) in &self.arounds.ways {
            let Some(course) = course.as_ref().filter(|_| fails_over(link)) else { continue };
            let others = course.numbers.iter().fold([0; N_WORDS], |all: [u64; N_WORDS], number| {
                std::array::from_fn(|word| all[word] | taken[*number][word])
            });
            let is_free = |place: &usize| others[place / 64] & (1 << (place % 64)) == 0;
            // Each begins to look at a place of its own, so that hardly one has another label because another link is gone.
            let first = course.choice as usize % usual.max(1);
            let Some(place) = (first..usual).chain(0..first).chain(usual..free.len()).find(is_free) else {
                continue;
            };
            for number in &course.numbers {
                taken[*number][place / 64] |= 1 << (place % 64);
            }
            labels.extend((place >= usual).then(|| free[place]));
            now.push((*link, Bypass { label: free[place], course: course.clone() }));
        }
        for label in self.labels.symmetric_difference(&labels) {
            stale.extend(self.blueprint.switches.keys().map(|dpid| Part::Foreign(*label, *dpid)));
        }
        self.labels = labels;
        let now: BTreeMap<At, Bypass> = now.into_iter().collect();
        let gone = self.bypasses.keys().filter(|link| !now.contains_key(link));
        let other = now.iter().filter(|(link, bypass)| self.bypasses.get(link) != Some(bypass));
        let differing: BTreeSet<At> = gone.chain(other.map(|(link, _)| link)).copied().collect();
        let (ways, goals) = self.leaning_on(&differing, &now);
        self.stale_ways.extend(ways);
        // Which frames come by the port that it begins with may be others.
        for to in goals {
            let hosts = self.lanes().hosts_at.range((to, PortNo(0))..=(to, PortNo(u32::MAX)));
            stale.extend(hosts.flat_map(|(_, keys)| keys).map(|key| Part::Host(*key)));
        }
        stale.extend(self.lanes().paths.keys().cloned().map(Part::Chain));
        self.copy_all_again(stale);
        stale.extend(differing.into_iter().map(Part::Bypass));
        self.bypasses = now;
    }

    /// The groups that send by one of these links alone, and where those lead whose way around begins with another port.
    fn leaning_on(
        &self,
        links: &BTreeSet<At>,
        now: &BTreeMap<At, Bypass>,
    ) -> (Vec<GroupUse>, BTreeSet<Dpid>) {
        let (mut leaning, mut goals) = (Vec::new(), BTreeSet::new());
        let first = |bypass: Option<&Bypass>| bypass.and_then(|bypass| bypass.course.way.first().copied());
        let switches: BTreeSet<Dpid> = links.iter().map(|at| at.0).collect();
        for switch in switches {
            let all = (switch, Dpid(0), false)..=(switch, Dpid(u64::MAX), true);
            for (way, _) in self.uses.range(all) {
                let Some(port) = self.only_port(way.0, way.1) else { continue };
                let link = (switch, port);
                if links.contains(&link) {
                    leaning.push(*way);
                    goals.extend((first(self.bypasses.get(&link)) != first(now.get(&link))).then_some(way.1));
                }
            }
        }
        (leaning, goals)
    }

    /// The switches along the way around a link.
    pub(super) fn bypass(&self, draft: &mut Draft, link: At) {
        let Some(Bypass { label, course }) = self.bypasses.get(&link) else { return };
        for (idx, &(dpid, port)) in course.arrivals.iter().enumerate() {
            let instructions = match course.way.get(idx + 1) {
                Some(next) => vec![Instruction::ApplyActions(vec![Action::output(next.1)])],
                None => vec![Instruction::ApplyActions(vec![Action::PopVlan]), Instruction::GotoTable(LANE)],
            };
            let slot = Slot { dpid, table: ADMIT, priority: admit::BYPASS, label: FABRIC };
            draft.put(slot, Match::new().in_port(port).vlan(*label), instructions);
        }
    }
}
