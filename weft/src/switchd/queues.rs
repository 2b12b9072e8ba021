//! Queues of the switch's ports: from the API to the workers and the switch, and what they counted back.

use controller_api as api;
use controller_api::{Problem, Rate};
use packet::PortNo;
use vswitch::{PortQueues, QueueCounters, QueueSpec};

use super::Answer;
use super::owner::{Owner, PortRow};

impl Owner {
    /// Lets frames leave a port by these queues from now on.
    pub(super) async fn set_queues(&mut self, number: PortNo, queues: PortQueues) -> Answer<PortRow> {
        let Some(row) = self.ports.get_mut(&number) else {
            return Err(Problem::not_found(format!("port {number} on switch {}", self.name)));
        };
        queues.check().map_err(|error| Problem::invalid("/queues", error))?;
        row.queues = queues;
        self.apply_queues(number).await;
        self.count_queues().await;
        self.ports.get(&number).cloned().ok_or_else(|| Problem::internal("the port has just gone"))
    }

    /// Tells workers and switch. An end of a link that has no other end yet is told again when it has.
    pub(super) async fn apply_queues(&mut self, number: PortNo) {
        let Some(row) = self.ports.get(&number) else { return };
        if let Err(error) = self.plane.set_queues(self.engine, number, row.queues.clone()).await {
            tracing::debug!(switch = self.name, port = %number, "queues wait for the port: {error:#}");
        }
        self.switch.set_port_queues(self.clock.now(), number, &row.queues);
    }

    /// Fetches what the queues have counted.
    pub(super) async fn count_queues(&mut self) {
        if self.ports.values().all(|row| row.queues.is_none()) {
            return;
        }
        let Ok(counted) = self.plane.queue_counters(self.engine).await else { return };
        for ((number, queue), counters) in counted {
            let counters = QueueCounters {
                tx_packets: counters.tx_frames,
                tx_bytes: counters.tx_bytes,
                tx_errors: counters.tx_errors,
            };
            self.switch.set_queue_counters(number, queue, counters);
            if let Some(row) = self.ports.get_mut(&number) {
                row.queue_counters.insert(queue, counters);
            }
        }
    }
}

/// What the API says as the switch sees it; whether it is possible is asked later.
pub fn queues_of_request(wanted: &api::PortQueues) -> PortQueues {
    let rate = |rate: Option<Rate>| rate.map(|rate| rate.0);
    let spec = |queue: &api::Queue| QueueSpec {
        id: queue.id,
        min: rate(queue.min),
        max: rate(queue.max),
        weight: queue.weight.unwrap_or(1),
    };
    PortQueues { rate: rate(wanted.rate), queues: wanted.queues.iter().map(spec).collect() }
}

fn queue_shape(queue: &QueueSpec) -> api::Queue {
    api::Queue {
        id: queue.id,
        min: queue.min.map(Rate),
        max: queue.max.map(Rate),
        weight: Some(queue.weight).filter(|weight| *weight != 1),
    }
}

/// The configuration as the API says it.
pub fn queues_shape(queues: &PortQueues) -> api::PortQueues {
    api::PortQueues { rate: queues.rate.map(Rate), queues: queues.queues.iter().map(queue_shape).collect() }
}

/// Each queue of a port with its counters.
pub fn queue_states(row: &PortRow) -> Vec<api::QueueState> {
    let state = |spec: &QueueSpec| {
        let counters = row.queue_counters.get(&spec.id).copied().unwrap_or_default();
        api::QueueState {
            queue: queue_shape(spec),
            tx_frames: counters.tx_packets,
            tx_bytes: counters.tx_bytes,
            tx_errors: counters.tx_errors,
        }
    };
    row.queues.queues.iter().map(state).collect()
}
