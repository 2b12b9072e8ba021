//! Chains: STEER takes their traffic out of its lane, segments carry it from function to function.
//!
//! A segment is a lane of its own that ends at the port of a function, so that switches on the way need to know
//! neither the chain nor its hosts. What leaves a function enters the next segment by the port alone; what leaves
//! the last one is back in the lane of its network. IP only: neighbours find each other by ARP without the chain.

use std::collections::{BTreeMap, BTreeSet};

use openflow::{Instruction, Match};
use packet::{EtherType, VlanId};

use super::ways::Way;
use super::{Draft, Part, Planner, Slot, carry, in_lane, output, punt, write_lane};
use crate::lanes::Path;
use crate::layout::{self, ADMIT, FORWARD, STEER, admit, forward, steer};
use crate::view::{At, View};

/// One direction of a chain.
struct Direction<'a> {
    label: &'a str,
    /// Where traffic enters.
    from: &'a BTreeSet<At>,
    /// Where the hosts are that it goes to.
    to: &'a BTreeSet<At>,
    /// Where each function takes and gives.
    functions: Vec<(At, At)>,
    lane: VlanId,
}

/// The lanes of the segments of each chain, there and back. None: no VLAN is left for one of them.
#[derive(Debug, Default)]
pub(super) struct Segments(BTreeMap<String, [Option<Vec<VlanId>>; 2]>);

impl Segments {
    /// Every lane of a segment.
    pub(super) fn all(&self) -> impl Iterator<Item = VlanId> + '_ {
        self.0.values().flatten().flatten().flatten().copied()
    }
}

impl Planner {
    /// Gives the segments of all chains their lanes.
    pub(super) fn allocate(&mut self, stale: &mut BTreeSet<Part>) {
        let mut free = FreeLanes(self.lanes().lanes.keys().copied().collect());
        let mut now = Segments::default();
        for (name, path) in &self.lanes().paths {
            let n_functions = path.functions.as_ref().map_or(0, Vec::len);
            let mut take = |way: &str| free.take_all(&path.label, way, n_functions);
            let there = take("there");
            let back = if path.symmetric { take("back") } else { None };
            now.0.insert(name.clone(), [there, back]);
        }
        self.allocate_tracks(&mut free, stale);
        self.allocate_copies(&mut free, stale);
        let (all, had): (BTreeSet<VlanId>, BTreeSet<VlanId>) =
            (now.all().collect(), self.segments.all().collect());
        for vlan in all.symmetric_difference(&had) {
            stale.extend(self.blueprint.switches.keys().map(|dpid| Part::Foreign(*vlan, *dpid)));
        }
        for (name, path) in &self.lanes().paths {
            if self.segments.0.get(name) != now.0.get(name) {
                stale.extend([Part::Chain(name.clone()), Part::Steer(path.lane)]);
            }
        }
        self.segments = now;
    }

    /// The two ways through a chain, the lanes of the segments with each. None: nothing may pass.
    fn directions<'a>(&'a self, name: &str, path: &'a Path) -> Vec<(Direction<'a>, Option<&'a [VlanId]>)> {
        let [there, back] = match self.segments.0.get(name) {
            Some([there, back]) => [there.as_deref(), back.as_deref()],
            None => [None, None],
        };
        let (label, lane) = (&path.label, path.lane);
        let functions = path.functions.clone().unwrap_or_default();
        let reversed = functions.iter().rev().map(|&(ingress, egress)| (egress, ingress)).collect();
        let mut ways = vec![(Direction { label, lane, from: &path.from, to: &path.to, functions }, there)];
        if path.symmetric {
            ways.push((Direction { label, lane, from: &path.to, to: &path.from, functions: reversed }, back));
        }
        // A chain whose functions are not all there lets nothing pass rather than let it pass around them.
        if path.functions.is_none() {
            ways.iter_mut().for_each(|(_, segments)| *segments = None);
        }
        ways
    }

    /// What enters the chains of a lane, or waits to.
    pub(super) fn steer_all(&self, draft: &mut Draft, vlan: VlanId) {
        for (name, path) in self.lanes().paths.iter().filter(|(_, path)| path.lane == vlan) {
            hold(draft, path);
            for (direction, segments) in self.directions(name, path) {
                let entry = segments.map(|segments| segments.first().copied().unwrap_or(vlan));
                self.steer(draft, &direction, entry);
            }
        }
    }

    /// The segments of a chain.
    pub(super) fn chain(&self, draft: &mut Draft, view: &View, name: &str) {
        let Some(path) = self.lanes().paths.get(name) else { return };
        if path.functions.is_none() {
            return;
        }
        for (direction, segments) in self.directions(name, path) {
            match segments {
                Some(segments) => self.direction(draft, view, &direction, segments),
                // As with a function that is not there: nothing passes rather than pass around.
                None => draft.issue(&path.label, "no VLAN is left for its segments".to_owned()),
            }
        }
    }

    fn direction(&self, draft: &mut Draft, view: &View, direction: &Direction<'_>, segments: &[VlanId]) {
        let mut sources: BTreeSet<At> = direction.from.clone();
        for (idx, (&(ingress, egress), &segment)) in direction.functions.iter().zip(segments).enumerate() {
            self.segment(draft, direction.label, segment, &sources, ingress);
            for source in sources.iter().filter(|source| self.graph.distance(source.0, ingress.0).is_none()) {
                let [from, to] = [source.0, ingress.0].map(|dpid| view.name(dpid));
                draft.issue(direction.label, format!("there is no path from {from} to {to}"));
            }
            let next = segments.get(idx + 1).copied().unwrap_or(direction.lane);
            leave(draft, direction.label, egress, next);
            sources = BTreeSet::from([egress]);
        }
    }

    /// IP traffic to each host at the other end enters the lane `entry`, or is dropped if there is none.
    fn steer(&self, draft: &mut Draft, direction: &Direction<'_>, entry: Option<VlanId>) {
        let hosts = direction.to.iter().filter_map(|at| self.lanes().hosts_at.get(at)).flatten();
        let macs: Vec<_> = hosts.filter(|(vlan, _)| *vlan == direction.lane).map(|(_, mac)| *mac).collect();
        let instructions = match entry {
            Some(lane) => vec![write_lane(lane, false), Instruction::GotoTable(FORWARD)],
            None => vec![],
        };
        for &(dpid, port) in direction.from {
            for &mac in &macs {
                for ethertype in [EtherType::IPV4, EtherType::IPV6] {
                    let slot = Slot { dpid, table: STEER, priority: steer::CHAIN, label: direction.label };
                    let matches = in_lane(direction.lane).in_port(port).eth_dst(mac).eth_type(ethertype.0);
                    draft.put(slot, matches, instructions.clone());
                }
            }
        }
    }

    /// Carries the lane `segment` from the switches of `sources` to the port `target`.
    pub(super) fn segment(
        &self,
        draft: &mut Draft,
        label: &str,
        segment: VlanId,
        sources: &BTreeSet<At>,
        target: At,
    ) {
        let slot = |dpid| Slot { dpid, table: FORWARD, priority: forward::SEGMENT, label };
        let act = |actions| vec![Instruction::ApplyActions(actions)];
        draft.put(slot(target.0), in_lane(segment), act(output(target.1)));
        let choice = layout::fnv(&segment.get().to_be_bytes());
        let starts = sources.iter().map(|source| source.0).collect();
        for Way { here, by, action } in self.ways(draft, segment, (starts, target.0), choice) {
            let (priority, matches) = match by {
                Some(port) => (forward::SEGMENT_BACK, in_lane(segment).in_port(port)),
                None => (forward::SEGMENT, in_lane(segment)),
            };
            draft.put(Slot { priority, ..slot(here) }, matches, act(carry(segment, true, action)));
        }
    }
}

/// What a function gives back goes on in the lane `next`. Nothing is learned, nothing may be flooded.
fn leave(draft: &mut Draft, label: &str, egress: At, next: VlanId) {
    let slot = Slot { dpid: egress.0, table: ADMIT, priority: admit::PORT, label };
    let instructions = vec![write_lane(next, false), Instruction::GotoTable(FORWARD)];
    draft.put(slot, Match::new().in_port(egress.1), instructions);
}

/// Traffic to an address that is not known might belong into the chain: the controller is asked instead of
/// every port, and sends it on its way when the host is known.
fn hold(draft: &mut Draft, path: &Path) {
    let back = path.symmetric.then_some(&path.to);
    for &(dpid, port) in path.from.iter().chain(back.into_iter().flatten()) {
        for ethertype in [EtherType::IPV4, EtherType::IPV6] {
            let slot = Slot { dpid, table: FORWARD, priority: forward::HOLD, label: &path.label };
            let matches = in_lane(path.lane).in_port(port).eth_type(ethertype.0);
            draft.put(slot, matches, vec![punt()]);
        }
    }
}

/// Lanes that no network has, given out by name so that a new chain does not move the segments of another.
pub(super) struct FreeLanes(BTreeSet<VlanId>);

impl FreeLanes {
    pub(super) fn take_all(&mut self, label: &str, way: &str, n: usize) -> Option<Vec<VlanId>> {
        (0..n).map(|idx| self.take(&format!("{label}/{way}/{idx}"))).collect()
    }

    fn take(&mut self, name: &str) -> Option<VlanId> {
        let lanes = layout::SEGMENT_LANES;
        let n_lanes = lanes.end() - lanes.start() + 1;
        let first = (layout::fnv(name.as_bytes()) % u64::from(n_lanes)) as u16;
        let lane = (0..n_lanes)
            .map(|step| lanes.start() + (first + step) % n_lanes)
            .filter_map(|number| VlanId::new(number).ok())
            .find(|lane| !self.0.contains(lane))?;
        self.0.insert(lane);
        Some(lane)
    }
}
