//! Mirrors: a group makes the copies, a lane of its own carries them to where they leave.
//!
//! What hosts send is copied where it enters, before anything judges it; what they receive, as it leaves. Each switch with
//! mirrored ports has a group for each mirror that either puts a copy out or tags it with the lane and sends it on. What came by
//! a link may have to go back there, which an output says in words of its own (OpenFlow 1.3.5 §4.5): such frames have flows and
//! a group to themselves.

use std::collections::{BTreeMap, BTreeSet};

use openflow::{Action, Bucket, Dpid, GroupType, ports};
use packet::{PortNo, VlanId};

use super::chains::FreeLanes;
use super::{Draft, Part, Planner, carry};
use crate::groups::GroupBody;
use crate::lanes::Copies;
use crate::layout;
use crate::view::{At, View};

/// The lane of each mirror. None: no VLAN is left.
#[derive(Debug, Default)]
pub(super) struct CopyLanes(BTreeMap<String, Option<VlanId>>);

impl CopyLanes {
    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = VlanId> + '_ {
        self.0.values().flatten().copied()
    }

    fn of(&self, name: &str) -> Option<VlanId> {
        self.0.get(name).copied().flatten()
    }
}

/// Which frames of a port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Those that hosts there send.
    Sent,
    /// Those that they receive.
    Received,
}

impl Planner {
    /// Gives all mirrors their lanes, of those that chains and paths have left.
    pub(super) fn allocate_copies(&mut self, free: &mut FreeLanes, stale: &mut BTreeSet<Part>) {
        let mirrors = self.lanes().mirrors.iter();
        let take = |(name, copies): (&String, &Copies)| {
            (name.clone(), free.take_all(&copies.label, "copies", 1).and_then(|lanes| lanes.first().copied()))
        };
        let now = CopyLanes(mirrors.map(take).collect());
        let (all, had): (BTreeSet<VlanId>, BTreeSet<VlanId>) =
            (now.all().collect(), self.copy_lanes.all().collect());
        for vlan in all.symmetric_difference(&had) {
            stale.extend(self.blueprint.switches.keys().map(|dpid| Part::Foreign(*vlan, *dpid)));
        }
        let differing = now.0.iter().filter(|(name, lane)| self.copy_lanes.0.get(*name) != Some(lane));
        let differing: Vec<String> = differing.map(|(name, _)| name.clone()).collect();
        self.copy_lanes = now;
        for name in differing {
            let from = self.lanes().mirrors.get(&name).into_iter().flat_map(|copies| &copies.from);
            from.for_each(|at| self.copy_again(*at, stale));
            stale.insert(Part::Mirror(name));
        }
    }

    /// The flows that make copies of the frames of a port.
    pub(super) fn copy_again(&self, at: At, stale: &mut BTreeSet<Part>) {
        let lanes = self.lanes();
        for (&vlan, _) in lanes.lanes.iter().filter(|(_, lane)| lane.has(at)) {
            stale.extend([Part::Port(vlan, at), Part::Flood(vlan, at.0)]);
        }
        stale.extend(lanes.hosts_at.get(&at).into_iter().flatten().map(|key| Part::Host(*key)));
        let ends = lanes.courses.iter().filter(|(_, course)| course.to == at || course.from == at);
        stale.extend(ends.map(|(name, _)| Part::Course(name.clone())));
    }

    /// All copies are to be made and carried once more.
    pub(super) fn copy_all_again(&self, stale: &mut BTreeSet<Part>) {
        stale.extend(self.lanes().mirrors.keys().cloned().map(Part::Mirror));
        self.lanes().mirrored.keys().for_each(|at| self.copy_again(*at, stale));
    }

    fn mirrors_of(&self, at: At, side: Side) -> impl Iterator<Item = (&Copies, VlanId)> + '_ {
        let mirrors = self.lanes().mirrored.get(&at).into_iter().flatten();
        mirrors.filter_map(move |name| {
            let copies = self.lanes().mirrors.get(&**name)?;
            let wanted = if side == Side::Sent { copies.sent } else { copies.received };
            Some((copies, self.copy_lanes.of(name).filter(|_| wanted)?))
        })
    }

    /// What copies the frames of a port that came `by` a port of its switch.
    pub(super) fn copying(&self, at: At, side: Side, by: Option<PortNo>) -> Vec<Action> {
        let group = |(copies, lane): (&Copies, VlanId)| {
            let back = by.filter(|by| self.copy_ports(lane, at.0, copies.to).contains(by));
            layout::group_of_copies(lane, back).map(Action::Group)
        };
        self.mirrors_of(at, side).filter_map(group).collect()
    }

    /// The ports of its switch that what a port receives may come by, and its copies go on by.
    pub(super) fn copied_back(&self, at: At) -> BTreeSet<PortNo> {
        let ports = |(copies, lane): (&Copies, VlanId)| self.copy_ports(lane, at.0, copies.to);
        self.mirrors_of(at, Side::Received).flat_map(ports).collect()
    }

    /// The ports by which copies leave a switch for another, the first that is alive having them; none where they leave.
    fn copy_ports(&self, lane: VlanId, dpid: Dpid, to: At) -> Vec<PortNo> {
        match self.support(dpid).failover {
            true => self.graph.next_ports(dpid, to.0).collect(),
            false => {
                let choice = layout::fnv(&lane.get().to_be_bytes());
                self.graph.next_port(dpid, to.0, choice).into_iter().collect()
            }
        }
    }

    /// The groups that make copies, and the way of these.
    pub(super) fn mirror(&self, draft: &mut Draft, view: &View, name: &str) {
        let Some(copies) = self.lanes().mirrors.get(name) else { return };
        let Some(lane) = self.copy_lanes.of(name) else {
            return draft.refuse(&copies.label, "no VLAN is left for its copies".to_owned());
        };
        self.segment(draft, &copies.label, lane, &copies.from, copies.to);
        let switches: BTreeSet<Dpid> = copies.from.iter().map(|at| at.0).collect();
        for dpid in switches {
            if self.graph.distance(dpid, copies.to.0).is_none() {
                let [from, to] = [dpid, copies.to.0].map(|dpid| view.name(dpid));
                draft.issue(&copies.label, format!("there is no path from {from} to {to}"));
            }
            let ports = self.copy_ports(lane, dpid, copies.to);
            ports.iter().for_each(|port| draft.enter(&self.graph, lane, (dpid, *port)));
            let back = ports.iter().copied().filter(|_| copies.received).map(Some);
            for back in std::iter::once(None).chain(back) {
                let Some(group) = layout::group_of_copies(lane, back) else { continue };
                draft.groups.insert((dpid, group), self.copier((dpid, copies.to), (lane, &ports), back));
            }
        }
    }

    /// The group of a switch that makes copies. Without a way to where they leave it makes none.
    fn copier(
        &self,
        (dpid, to): (Dpid, At),
        (lane, by): (VlanId, &[PortNo]),
        back: Option<PortNo>,
    ) -> GroupBody {
        let bucket = |watch_port, actions| Bucket { weight: 0, watch_port, watch_group: None, actions };
        if dpid == to.0 {
            let buckets = vec![bucket(None, vec![Action::output(to.1)])];
            return GroupBody { group_type: GroupType::All, buckets };
        }
        let failover = self.support(dpid).failover;
        let on = |port: PortNo| {
            let out = if back == Some(port) { ports::IN_PORT } else { port };
            bucket(failover.then_some(port), carry(lane, true, Action::output(out)))
        };
        let group_type = if failover { GroupType::FastFailover } else { GroupType::All };
        GroupBody { group_type, buckets: by.iter().copied().map(on).collect() }
    }
}
