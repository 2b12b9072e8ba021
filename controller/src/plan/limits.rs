//! PORT_RATE, LANE_RATE and TENANT_RATE: how much hosts may send, and by which queue it leaves.
//!
//! A flow has one meter (OpenFlow 1.3.5 §5.9), so what a port, its network and its tenant are limited to is measured in three
//! tables. A meter belongs to a switch: a network's or tenant's rate holds for what enters it on each switch. The queue goes with a frame inside a
//! switch; on the next one, the tag of the network says it again.

use openflow::{Action, Dpid, Instruction, Match, MeterId, QueueId, TableId};
use packet::VlanId;

use super::{Draft, Planner, Slot, edge, in_lane};
use crate::lanes::Limit;
use crate::layout::{self, LANE, LANE_RATE, PORT_RATE, SOURCE, TENANT_RATE, admit, rate};
use crate::view::{At, View};

impl Planner {
    /// The flows and meters of a limit.
    pub(super) fn limit(&self, draft: &mut Draft, view: &View, name: &str) {
        let Some(limit) = self.lanes().limits.get(name) else { return };
        for &at in &limit.ports {
            self.limit_port(draft, view, limit, at);
        }
        for &lane in &limit.lanes {
            self.limit_lane(
                draft,
                view,
                limit,
                (lane, layout::meter_of_lane(lane)),
                (LANE_RATE, TENANT_RATE),
            );
            self.queue_on_links(draft, limit, lane);
        }
        if let Some(&first) = limit.together.first() {
            let meter = layout::meter_of_tenant(first);
            for &lane in &limit.together {
                self.limit_lane(draft, view, limit, (lane, meter), (TENANT_RATE, SOURCE));
            }
        }
    }

    /// What enters a lane on each switch goes through a meter, from one table to the next.
    fn limit_lane(
        &self,
        draft: &mut Draft,
        view: &View,
        limit: &Limit,
        (lane, meter): (VlanId, MeterId),
        (table, next): (TableId, TableId),
    ) {
        let starts = self.spans.get(&lane).into_iter().flat_map(|span| &span.starts);
        for &dpid in starts {
            let slot = Slot { dpid, table, priority: rate::LIMIT, label: &limit.label };
            let mut instructions = self.measure(draft, view, limit, dpid, meter);
            instructions.extend(queue(limit));
            instructions.push(Instruction::GotoTable(next));
            draft.put(slot, in_lane(lane), instructions);
        }
    }

    fn limit_port(&self, draft: &mut Draft, view: &View, limit: &Limit, (dpid, port): At) {
        let slot = Slot { dpid, table: PORT_RATE, priority: rate::LIMIT, label: &limit.label };
        let mut instructions = match layout::meter_of_port(port) {
            Some(meter) => self.measure(draft, view, limit, dpid, meter),
            None => {
                draft.refuse(&limit.label, format!("the number of {}:{port} is too large", view.name(dpid)));
                vec![]
            }
        };
        instructions.extend(queue(limit));
        instructions.push(Instruction::GotoTable(LANE_RATE));
        draft.put(slot, Match::new().in_port(port), instructions);
    }

    /// Goes through a meter, where the switch has it.
    fn measure(
        &self,
        draft: &mut Draft,
        view: &View,
        limit: &Limit,
        dpid: Dpid,
        meter: MeterId,
    ) -> Vec<Instruction> {
        let Some(body) = limit.rate else { return vec![] };
        let max_meter = view.switches().get(&dpid).map_or(0, |switch| switch.max_meter);
        if meter.0 > max_meter {
            let has = if max_meter == 0 { "no meters".to_owned() } else { format!("{max_meter} meters") };
            draft.refuse(&limit.label, format!("{} has {has}: nothing is limited there", view.name(dpid)));
            return vec![];
        }
        draft.meters.insert((dpid, meter), body);
        vec![Instruction::Meter(meter)]
    }

    /// What comes by links in a lane with a queue.
    fn queue_on_links(&self, draft: &mut Draft, limit: &Limit, lane: VlanId) {
        let Some(number) = limit.queue else { return };
        let (key, body) = edge::lane_entry(lane);
        for &dpid in self.blueprint.switches.keys() {
            let slot = Slot { dpid, table: LANE, priority: admit::QUEUE, label: &limit.label };
            let mut instructions = body.instructions.clone();
            if let Some(Instruction::ApplyActions(actions)) = instructions.first_mut() {
                actions.push(Action::SetQueue(QueueId(number)));
            }
            draft.put(slot, key.matches.clone(), instructions);
        }
    }
}

fn queue(limit: &Limit) -> Option<Instruction> {
    limit.queue.map(|number| Instruction::ApplyActions(vec![Action::SetQueue(QueueId(number))]))
}
