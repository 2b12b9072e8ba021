//! From intent and view to the flows of every switch. Pure: the same input gives the same blueprint.

mod chains;
mod edge;
mod forward;

use std::collections::{BTreeMap, BTreeSet};

use openflow::{Action, Cookie, Dpid, Field, Instruction, Match, NO_BUFFER_LEN, Oxm, Priority, TableId};
use packet::{PortNo, VlanId};

use crate::blueprint::{Blueprint, FlowBody, FlowKey, Flows, Issue};
use crate::graph::Graph;
use crate::intent::Intent;
use crate::lanes::{Lanes, resolve};
use crate::layout;
use crate::view::{At, View};

/// Label of flows that serve every intent: discovery, links, table misses.
const FABRIC: &str = "fabric";

/// What every switch of `view` is to hold so that the network does what `intent` says. Its generation is zero.
pub fn plan(intent: &Intent, view: &View) -> Blueprint {
    plan_resolved(view, resolve(intent, view))
}

/// As [`plan`], for lanes resolved already.
pub(crate) fn plan_resolved(view: &View, lanes: Lanes) -> Blueprint {
    let mut planner =
        Planner { view, graph: Graph::new(view), lanes, entries: BTreeSet::new(), out: Default::default() };
    planner.refuse_small_switches();
    planner.edge();
    planner.forward();
    planner.chains();
    planner.links();
    let Planner { lanes, mut out, .. } = planner;
    out.issues.extend(lanes.issues);
    out
}

struct Planner<'a> {
    view: &'a View,
    graph: Graph,
    lanes: Lanes,
    /// Switches that frames of a lane enter by a link.
    entries: BTreeSet<(Dpid, VlanId)>,
    out: Blueprint,
}

/// Where a flow goes and whose it is.
#[derive(Clone, Copy)]
struct Slot<'a> {
    dpid: Dpid,
    table: TableId,
    priority: Priority,
    label: &'a str,
}

impl Planner<'_> {
    fn put(&mut self, slot: Slot<'_>, matches: Match, instructions: Vec<Instruction>) {
        let Some(flows) = self.out.switches.get_mut(&slot.dpid) else { return };
        let cookie = layout::intent_cookie(slot.label);
        let key = FlowKey { table: slot.table, priority: slot.priority, matches };
        flows.insert(key, FlowBody { cookie, instructions });
        note_label(&mut self.out.labels, cookie, slot.label);
    }

    fn issue(&mut self, label: &str, reason: String) {
        self.out.issues.push(Issue { label: label.to_owned(), reason });
    }

    /// Only switches with enough tables take part; the others are left alone.
    fn refuse_small_switches(&mut self) {
        for (&dpid, switch) in &self.view.switches {
            if switch.n_tables >= layout::N_TABLES {
                self.out.switches.insert(dpid, Flows::new());
            } else {
                let reason = format!(
                    "{} has {} tables, {} are needed",
                    switch.name,
                    switch.n_tables,
                    layout::N_TABLES
                );
                self.issue(FABRIC, reason);
            }
        }
    }

    /// Notes that frames of `lane` enter the switch at the other end of the link.
    fn enter(&mut self, lane: VlanId, at: At) {
        if let Some(peer) = self.graph.peer(at) {
            self.entries.insert((peer.0, lane));
        }
    }
}

fn note_label(labels: &mut BTreeMap<Cookie, String>, cookie: Cookie, label: &str) {
    labels.entry(cookie).or_insert_with(|| label.to_owned());
}

/// Writes the lane (and perhaps the leave to flood) into the metadata.
fn write_lane(lane: VlanId, may_flood: bool) -> Instruction {
    let flood = if may_flood { layout::MAY_FLOOD } else { 0 };
    Instruction::WriteMetadata {
        metadata: layout::lane(lane) | flood,
        mask: layout::LANE_MASK | layout::MAY_FLOOD,
    }
}

/// Frames of a lane.
fn in_lane(lane: VlanId) -> Match {
    Match::new().metadata(layout::lane(lane), layout::LANE_MASK)
}

/// Output as the frame is, which between ADMIT and the output means without the lane's tag.
fn output(port: PortNo) -> Vec<Action> {
    vec![Action::output(port)]
}

/// Tags with the lane.
fn push(lane: VlanId) -> [Action; 2] {
    [Action::PushVlan(0x8100), Action::SetField(Oxm::new(Field::VlanVid, Oxm::vlan(lane).value))]
}

/// Output with the tag of the lane.
fn output_tagged(lane: VlanId, port: PortNo) -> Vec<Action> {
    let [push, set] = push(lane);
    vec![push, set, Action::output(port)]
}

/// The whole frame to the controller.
fn punt() -> Instruction {
    Instruction::ApplyActions(vec![Action::controller(NO_BUFFER_LEN)])
}
