//! Chains: STEER takes their traffic out of its lane, segments carry it from function to function.
//!
//! A segment is a lane of its own that ends at the port of a function, so that switches on the way need to know
//! neither the chain nor its hosts. What leaves a function enters the next segment by the port alone; what leaves
//! the last one is back in the lane of its network. IP only: neighbours find each other by ARP without the chain.

use std::collections::BTreeSet;

use openflow::{Instruction, Match};
use packet::{EtherType, VlanId};

use super::{Planner, Slot, in_lane, output, output_tagged, punt, write_lane};
use crate::lanes::Path;
use crate::layout::{self, ADMIT, FORWARD, STEER, admit, forward, steer};
use crate::view::At;

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

impl Planner<'_> {
    pub(super) fn chains(&mut self) {
        let paths = std::mem::take(&mut self.lanes.paths);
        let mut free = FreeLanes(self.lanes.lanes.keys().copied().collect());
        for path in &paths {
            self.hold(path);
            match &path.functions {
                Some(functions) => self.chain(path, functions, &mut free),
                None => self.refuse(path),
            }
        }
        self.lanes.paths = paths;
    }

    fn chain(&mut self, path: &Path, functions: &[(At, At)], free: &mut FreeLanes) {
        let label = &path.label;
        let lane = path.lane;
        let there = Direction { label, lane, from: &path.from, to: &path.to, functions: functions.to_vec() };
        self.direction(&there, "there", free);
        if path.symmetric {
            let functions = functions.iter().rev().map(|&(ingress, egress)| (egress, ingress)).collect();
            let back = Direction { label, lane, from: &path.to, to: &path.from, functions };
            self.direction(&back, "back", free);
        }
    }

    fn direction(&mut self, direction: &Direction<'_>, way: &str, free: &mut FreeLanes) {
        let mut segments = Vec::new();
        for idx in 0..direction.functions.len() {
            match free.take(&format!("{}/{way}/{idx}", direction.label)) {
                Some(segment) => segments.push(segment),
                None => {
                    // As with a function that is not there: nothing passes rather than pass around.
                    self.steer(direction, None);
                    return self.issue(direction.label, "no VLAN is left for its segments".to_owned());
                }
            }
        }
        self.refuse_foreign(segments.iter().copied());
        let entry = segments.first().copied().unwrap_or(direction.lane);
        self.steer(direction, Some(entry));
        let mut sources: BTreeSet<At> = direction.from.clone();
        for (idx, &(ingress, egress)) in direction.functions.iter().enumerate() {
            self.segment(direction.label, segments[idx], &sources, ingress);
            let next = segments.get(idx + 1).copied().unwrap_or(direction.lane);
            self.leave(direction.label, egress, next);
            sources = BTreeSet::from([egress]);
        }
    }

    /// IP traffic to each host at the other end enters the lane `entry`, or is dropped if there is none.
    fn steer(&mut self, direction: &Direction<'_>, entry: Option<VlanId>) {
        let hosts = self.lanes.hosts.iter().filter(|((vlan, _), _)| *vlan == direction.lane);
        let macs: Vec<_> =
            hosts.filter(|(_, host)| direction.to.contains(&host.at)).map(|((_, mac), _)| *mac).collect();
        let instructions = match entry {
            Some(lane) => vec![write_lane(lane, false), Instruction::GotoTable(FORWARD)],
            None => vec![],
        };
        for &(dpid, port) in direction.from {
            for &mac in &macs {
                for ethertype in [EtherType::IPV4, EtherType::IPV6] {
                    let slot = Slot { dpid, table: STEER, priority: steer::CHAIN, label: direction.label };
                    let matches = in_lane(direction.lane).in_port(port).eth_dst(mac).eth_type(ethertype.0);
                    self.put(slot, matches, instructions.clone());
                }
            }
        }
    }

    /// Carries the lane `segment` from the switches of `sources` to the port `target`.
    fn segment(&mut self, label: &str, segment: VlanId, sources: &BTreeSet<At>, target: At) {
        let slot = |dpid| Slot { dpid, table: FORWARD, priority: forward::SEGMENT, label };
        let act = |actions| vec![Instruction::ApplyActions(actions)];
        self.put(slot(target.0), in_lane(segment), act(output(target.1)));
        let choice = layout::fnv(&segment.get().to_be_bytes());
        for source in sources {
            for at in self.graph.path(source.0, target.0, choice) {
                self.put(slot(at.0), in_lane(segment), act(output_tagged(segment, at.1)));
                self.enter(segment, at);
            }
            if self.graph.distance(source.0, target.0).is_none() {
                let [from, to] = [source.0, target.0].map(|dpid| self.view.name(dpid));
                self.issue(label, format!("there is no path from {from} to {to}"));
            }
        }
    }

    /// What a function gives back goes on in the lane `next`. Nothing is learned, nothing may be flooded.
    fn leave(&mut self, label: &str, egress: At, next: VlanId) {
        let slot = Slot { dpid: egress.0, table: ADMIT, priority: admit::PORT, label };
        let instructions = vec![write_lane(next, false), Instruction::GotoTable(FORWARD)];
        self.put(slot, Match::new().in_port(egress.1), instructions);
    }

    /// Traffic to an address that is not known might belong into the chain: the controller is asked instead of
    /// every port, and sends it on its way when the host is known.
    fn hold(&mut self, path: &Path) {
        for (dpid, port) in self.held_ports_of(path) {
            for ethertype in [EtherType::IPV4, EtherType::IPV6] {
                let slot = Slot { dpid, table: FORWARD, priority: forward::HOLD, label: &path.label };
                let matches = in_lane(path.lane).in_port(port).eth_type(ethertype.0);
                self.put(slot, matches, vec![punt()]);
            }
        }
    }

    fn held_ports_of(&self, path: &Path) -> Vec<At> {
        let back = if path.symmetric { Some(&path.to) } else { None };
        path.from.iter().chain(back.into_iter().flatten()).copied().collect()
    }

    /// A chain whose functions are not all there lets nothing pass rather than let it pass around them.
    fn refuse(&mut self, path: &Path) {
        let (label, lane) = (&path.label, path.lane);
        let there = Direction { label, lane, from: &path.from, to: &path.to, functions: Vec::new() };
        self.steer(&there, None);
        if path.symmetric {
            let back = Direction { from: &path.to, to: &path.from, ..there };
            self.steer(&back, None);
        }
    }
}

/// Lanes that no network has, given out by name so that a new chain does not move the segments of another.
struct FreeLanes(BTreeSet<VlanId>);

impl FreeLanes {
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
