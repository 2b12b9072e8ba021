//! FORWARD: unicast along shortest paths, everything else along the broadcast tree.

use std::collections::BTreeSet;

use openflow::{Action, Dpid, Field, Instruction, Match, Oxm, Priority};
use packet::{MacAddr, PortNo, VlanId};

use super::copies::Side;
use super::ways::Way;
use super::{Draft, Planner, Slot, carry, directed, output, output_tagged, push};
use crate::layout::{self, FORWARD, forward};
use crate::view::{At, HostKey};

impl Planner {
    /// Switches where frames leave the last function of a chain of this lane.
    pub(super) fn chain_exits(&self, vlan: VlanId) -> Vec<Dpid> {
        let paths = self.lanes().paths.values().filter(|path| path.lane == vlan);
        paths.flat_map(|path| path.functions.iter().flatten()).flat_map(|(a, b)| [a.0, b.0]).collect()
    }

    /// A host: that it may speak, and the ways to it.
    pub(super) fn host(&self, draft: &mut Draft, key: HostKey) {
        let (vlan, mac) = key;
        let (Some(host), Some(lane)) = (self.lanes().hosts.get(&key), self.lanes().lanes.get(&vlan)) else {
            return;
        };
        self.source(draft, key);
        self.answer_for_balances(draft, key);
        let (dpid, port) = host.at;
        let slot = |dpid, priority| Slot { dpid, table: FORWARD, priority, label: &lane.label };
        let act = |actions: Vec<Action>| vec![Instruction::ApplyActions(actions)];
        let last = if lane.trunks.contains(&host.at) { output_tagged(vlan, port) } else { output(port) };
        let received = |by| act([&last[..], &self.copying(host.at, Side::Received, by)].concat());
        if !self.copying(host.at, Side::Received, None).is_empty() {
            // What comes from there does not go back, so it is no copy either.
            let own = directed(vlan).in_port(port).eth_dst(mac);
            draft.put(slot(dpid, forward::UNICAST_BACK), own, vec![]);
            for by in self.copied_back(host.at) {
                let matches = directed(vlan).in_port(by).eth_dst(mac);
                draft.put(slot(dpid, forward::UNICAST_BACK), matches, received(Some(by)));
            }
        }
        draft.put(slot(dpid, forward::UNICAST), directed(vlan).eth_dst(mac), received(None));
        let choice = layout::fnv(&[&mac.0[..], &vlan.get().to_be_bytes()].concat());
        let span = self.spans.get(&vlan);
        let tags = span.is_some_and(|span| span.tags);
        let starts = span.into_iter().flat_map(|span| &span.starts).copied().collect();
        let mut last = None;
        for Way { here, by, action } in self.ways(draft, vlan, (starts, dpid), choice) {
            let what = Some((by, action.clone()));
            // Most switches do the same.
            if last == what {
                draft.repeat(here);
                continue;
            }
            last = what;
            let (priority, matches) = match by {
                Some(port) => (forward::UNICAST_BACK, directed(vlan).in_port(port).eth_dst(mac)),
                None => (forward::UNICAST, directed(vlan).eth_dst(mac)),
            };
            draft.put(slot(here, priority), matches, act(carry(vlan, tags, action)));
        }
    }

    /// On a switch with ports of the lane, or on the tree between them.
    pub(super) fn flood(&self, draft: &mut Draft, vlan: VlanId, dpid: Dpid) {
        let (Some(lane), Some(span)) = (self.lanes().lanes.get(&vlan), self.spans.get(&vlan)) else { return };
        let tree: Vec<At> = here(&span.tree, dpid).collect();
        if tree.is_empty() && !lane.members.contains_key(&dpid) {
            return;
        }
        tree.iter().for_each(|at| draft.enter(&self.graph, vlan, *at));
        let bits = layout::lane(vlan) | layout::MAY_FLOOD;
        let matches = Match::new().metadata(bits, layout::LANE_MASK | layout::MAY_FLOOD);
        let waits =
            lane.members.contains_key(&dpid) && self.ports_here(vlan, dpid).any(|at| self.waits(vlan, at));
        let held = waits || self.held_ports(vlan).any(|at| at.0 == dpid);
        let group = MacAddr([1, 0, 0, 0, 0, 0]);
        let mut put = |(flood, group_only): (Priority, Priority), matches: Match, by: Option<PortNo>| {
            let instructions = vec![Instruction::ApplyActions(self.copies_out(vlan, dpid, by))];
            let slot = Slot { dpid, table: FORWARD, priority: flood, label: &lane.label };
            draft.put(slot, matches.clone(), instructions.clone());
            if held {
                let slot = Slot { priority: group_only, ..slot };
                draft.put(slot, matches.eth_dst_masked(group, group), instructions);
            }
        };
        put((forward::FLOOD, forward::GROUP), matches.clone(), None);
        // A port hears no copies of its own, and what came by a link may have to go back there as a copy.
        let mirrored = |at: &At| !self.copying(*at, Side::Received, None).is_empty();
        let mirrored: Vec<At> = self.ports_here(vlan, dpid).filter(mirrored).collect();
        let back = mirrored
            .iter()
            .flat_map(|at| self.copied_back(*at))
            .filter(|by| span.tree.contains(&(dpid, *by)));
        let by: BTreeSet<PortNo> = back.chain(mirrored.iter().map(|at| at.1)).collect();
        for by in by {
            put((forward::FLOOD_OWN, forward::GROUP_OWN), matches.clone().in_port(by), Some(by));
        }
    }

    /// Ports of hosts of a lane on a switch.
    fn ports_here(&self, vlan: VlanId, dpid: Dpid) -> impl Iterator<Item = At> + '_ {
        let lane = self.lanes().lanes.get(&vlan).into_iter();
        lane.flat_map(move |lane| here(&lane.access, dpid).chain(here(&lane.trunks, dpid)))
    }

    /// What is done with a frame that is flooded on a switch, and came `by` a port if that matters.
    fn copies_out(&self, vlan: VlanId, dpid: Dpid, by: Option<PortNo>) -> Vec<Action> {
        let (Some(lane), Some(span)) = (self.lanes().lanes.get(&vlan), self.spans.get(&vlan)) else {
            return vec![];
        };
        // Untagged copies first, then the tag, then tagged copies, then marked ones. A frame never goes back where it came from: an
        // output to the ingress port does nothing (OpenFlow 1.3.5 §4.5).
        let output = |at: At| {
            let copies = if by == Some(at.1) { vec![] } else { self.copying(at, Side::Received, by) };
            std::iter::once(Action::output(at.1)).chain(copies)
        };
        let mut actions: Vec<Action> = here(&lane.access, dpid).flat_map(output).collect();
        let trunks: Vec<Action> = here(&lane.trunks, dpid).flat_map(output).collect();
        let tree: Vec<Action> = here(&span.tree, dpid).map(|at| Action::output(at.1)).collect();
        if !trunks.is_empty() || !tree.is_empty() {
            actions.extend(push(vlan));
            actions.extend(trunks);
        }
        if !tree.is_empty() {
            actions.push(Action::SetField(Oxm::new(Field::VlanPcp, layout::FLOODED_PCP.into())));
            actions.extend(tree);
        }
        actions
    }

    /// Ports of hosts whose traffic to unknown addresses must wait, because a chain begins there.
    fn held_ports(&self, vlan: VlanId) -> impl Iterator<Item = At> + '_ {
        let paths = self.lanes().paths.values().filter(move |path| path.lane == vlan);
        paths.flat_map(|path| {
            let back = path.symmetric.then_some(&path.to);
            path.from.iter().chain(back.into_iter().flatten()).copied()
        })
    }
}

/// Those of one switch.
fn here(ports: &BTreeSet<At>, dpid: Dpid) -> impl Iterator<Item = At> + '_ {
    ports.range((dpid, PortNo(0))..=(dpid, PortNo(u32::MAX))).copied()
}
