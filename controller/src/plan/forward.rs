//! FORWARD: unicast along shortest paths, everything else along the broadcast tree.

use std::collections::BTreeSet;

use openflow::{Action, Dpid, Instruction, Match};
use packet::{MacAddr, VlanId};

use super::{Planner, Slot, in_lane, output, output_tagged, push};
use crate::lanes::Lane;
use crate::layout::{self, FORWARD, forward};
use crate::view::{At, Host};

impl Planner<'_> {
    pub(super) fn forward(&mut self) {
        let lanes = std::mem::take(&mut self.lanes.lanes);
        let hosts = std::mem::take(&mut self.lanes.hosts);
        for (&vlan, lane) in &lanes {
            self.flood(vlan, lane);
            // Frames to a host start at ports of its lane, and where a chain gives them back.
            let mut starts: BTreeSet<Dpid> = lane.ports().map(|at| at.0).collect();
            starts.extend(self.chain_exits(vlan));
            let all = (vlan, MacAddr([0; 6]))..=(vlan, MacAddr([0xff; 6]));
            for (&(_, mac), host) in hosts.range(all) {
                self.unicast(vlan, lane, (mac, host), &starts);
            }
        }
        self.lanes.lanes = lanes;
        self.lanes.hosts = hosts;
    }

    /// Switches where frames leave the last function of a chain of this lane.
    fn chain_exits(&self, vlan: VlanId) -> Vec<Dpid> {
        let paths = self.lanes.paths.iter().filter(|path| path.lane == vlan);
        paths.flat_map(|path| path.functions.iter().flatten()).flat_map(|(a, b)| [a.0, b.0]).collect()
    }

    fn unicast(&mut self, vlan: VlanId, lane: &Lane, (mac, host): (MacAddr, &Host), starts: &BTreeSet<Dpid>) {
        let matches = in_lane(vlan).eth_dst(mac);
        let put = |planner: &mut Self, dpid: Dpid, actions: Vec<Action>| {
            let slot = Slot { dpid, table: FORWARD, priority: forward::UNICAST, label: &lane.label };
            planner.put(slot, matches.clone(), vec![Instruction::ApplyActions(actions)]);
        };
        let (dpid, port) = host.at;
        let tagged = lane.trunks.contains(&host.at);
        put(self, dpid, if tagged { output_tagged(vlan, port) } else { output(port) });
        let choice = layout::fnv(&[&mac.0[..], &vlan.get().to_be_bytes()].concat());
        for &start in starts {
            for at in self.graph.path(start, dpid, choice) {
                put(self, at.0, output_tagged(vlan, at.1));
                self.enter(vlan, at);
            }
        }
    }

    /// Each switch with ports of the lane, and those of the tree between them.
    fn flood(&mut self, vlan: VlanId, lane: &Lane) {
        let members: BTreeSet<Dpid> = lane.ports().map(|at| at.0).collect();
        let tree = self.graph.pruned_tree(&members);
        for &at in &tree {
            self.enter(vlan, at);
        }
        let held: BTreeSet<Dpid> = self.held_ports(vlan).into_iter().map(|at| at.0).collect();
        let switches: BTreeSet<Dpid> = members.iter().copied().chain(tree.iter().map(|at| at.0)).collect();
        for dpid in switches {
            let actions = flood_actions(vlan, lane, &tree, dpid);
            let bits = layout::lane(vlan) | layout::MAY_FLOOD;
            let matches = Match::new().metadata(bits, layout::LANE_MASK | layout::MAY_FLOOD);
            let slot = Slot { dpid, table: FORWARD, priority: forward::FLOOD, label: &lane.label };
            let instructions = vec![Instruction::ApplyActions(actions)];
            self.put(slot, matches.clone(), instructions.clone());
            if held.contains(&dpid) {
                let group = MacAddr([1, 0, 0, 0, 0, 0]);
                let slot = Slot { priority: forward::GROUP, ..slot };
                self.put(slot, matches.eth_dst_masked(group, group), instructions);
            }
        }
    }

    /// Ports of hosts whose traffic to unknown addresses must wait, because a chain begins there.
    pub(super) fn held_ports(&self, vlan: VlanId) -> BTreeSet<At> {
        let mut ports = BTreeSet::new();
        for path in self.lanes.paths.iter().filter(|path| path.lane == vlan) {
            ports.extend(&path.from);
            if path.symmetric {
                ports.extend(&path.to);
            }
        }
        ports
    }
}

/// Untagged copies first, then the tag, then tagged copies. A frame never goes back where it came from: an output
/// to the ingress port does nothing (OpenFlow 1.3.5 §4.5).
fn flood_actions(vlan: VlanId, lane: &Lane, tree: &BTreeSet<At>, dpid: Dpid) -> Vec<Action> {
    let here = |ports: &BTreeSet<At>| -> Vec<Action> {
        ports.iter().filter(|at| at.0 == dpid).map(|at| Action::output(at.1)).collect()
    };
    let mut actions = here(&lane.access);
    let tagged: Vec<Action> = here(&lane.trunks).into_iter().chain(here(tree)).collect();
    if !tagged.is_empty() {
        actions.extend(push(vlan));
        actions.extend(tagged);
    }
    actions
}
