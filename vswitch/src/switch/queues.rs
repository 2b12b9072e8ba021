//! Queues of ports: what the shell says of them, what controllers are told (§7.2.2, §7.3.5.8, §7.3.6; 1.4 §7.3.5.10).

use core::time::Duration;

use openflow::error::QueueOpFailed;
use openflow::{ErrorKind, Message, PacketQueue, PortDesc, PortNo, QueueConfig, QueueId, QueueStats, Xid};
use packet::Instant;

use super::Switch;
use super::ports::PortRecord;
use crate::queue::per_mille;
use crate::{ConnId, PortQueues, QueueCounters, QueueSpec};

/// The queues of a port.
#[derive(Debug, Default)]
pub(super) struct PortQueueRecords {
    rate: Option<u64>,
    queues: Vec<QueueRecord>,
    /// Dropped by queue 0 of a port that has a rate or queues, but no queue 0 of its own.
    implied_errors: u64,
}

#[derive(Debug)]
struct QueueRecord {
    spec: QueueSpec,
    since: Instant,
    counters: QueueCounters,
}

impl QueueRecord {
    fn id(&self) -> QueueId {
        QueueId(self.spec.id.into())
    }
}

impl PortQueueRecords {
    /// Frames that queues dropped; they count as dropped by the port.
    pub(super) fn n_errors(&self) -> u64 {
        self.implied_errors + self.queues.iter().map(|queue| queue.counters.tx_errors).sum::<u64>()
    }

    fn describe(&self, queue: &QueueRecord, desc: &PortDesc) -> PacketQueue {
        // §7.2.2: rates are relative to the port's; where it has none, to what it says its speed is.
        let of = self.rate.unwrap_or(u64::from(desc.current_speed) * 1000);
        let relative = |rate: Option<u64>| rate.map(|rate| per_mille(rate, of));
        PacketQueue {
            queue: queue.id(),
            port: desc.port,
            min_rate: relative(queue.spec.min),
            max_rate: relative(queue.spec.max),
        }
    }
}

impl Switch {
    /// Frames leave a port by these queues from now on; the shell sees to it. A queue that stays keeps its counters.
    /// Nothing happens to a port that does not exist.
    pub fn set_port_queues(&mut self, now: Instant, port: PortNo, queues: &PortQueues) {
        let Some(record) = self.ports.get_mut(&port) else { return };
        let old = core::mem::take(&mut record.queues.queues);
        let known = |spec: &QueueSpec| old.iter().find(|queue| queue.spec.id == spec.id);
        let mut all: Vec<_> = queues
            .queues
            .iter()
            .map(|spec| QueueRecord {
                spec: *spec,
                since: known(spec).map_or(now, |queue| queue.since),
                counters: known(spec).map(|queue| queue.counters).unwrap_or_default(),
            })
            .collect();
        all.sort_by_key(|queue| queue.spec.id);
        let implied_errors = record.queues.implied_errors;
        record.queues = PortQueueRecords { rate: queues.rate, queues: all, implied_errors };
    }

    /// What the shell has counted at a queue.
    pub fn set_queue_counters(&mut self, port: PortNo, queue: u16, counters: QueueCounters) {
        let Some(record) = self.ports.get_mut(&port) else { return };
        match record.queues.queues.iter_mut().find(|record| record.spec.id == queue) {
            Some(queue) => queue.counters = counters,
            None if queue == 0 => record.queues.implied_errors = counters.tx_errors,
            None => {}
        }
    }

    /// §7.3.6
    pub(super) fn queue_config(
        &mut self,
        conn: ConnId,
        xid: Xid,
        port: Option<PortNo>,
    ) -> Result<(), ErrorKind> {
        self.check_queues(port, None)?;
        let queues = self.queue_descs(port, None);
        self.send(conn, xid, Message::QueueGetConfigReply(QueueConfig { port, queues }));
        Ok(())
    }

    /// Whether there is what a request names.
    pub(super) fn check_queues(&self, port: Option<PortNo>, queue: Option<QueueId>) -> Result<(), ErrorKind> {
        if port.is_some_and(|port| !self.ports.contains_key(&port)) {
            return Err(QueueOpFailed::BadPort.into());
        }
        // Without a port: some port has it.
        if queue.is_some() && self.queues_of(port, queue).next().is_none() {
            return Err(QueueOpFailed::BadQueue.into());
        }
        Ok(())
    }

    fn queues_of(
        &self,
        port: Option<PortNo>,
        queue: Option<QueueId>,
    ) -> impl Iterator<Item = (&PortRecord, &QueueRecord)> {
        let ports = self.ports.iter().filter(move |(no, _)| port.is_none_or(|port| port == **no));
        let all = ports.flat_map(|(_, record)| record.queues.queues.iter().map(move |q| (record, q)));
        all.filter(move |(_, record)| queue.is_none_or(|queue| queue == record.id()))
    }

    pub(super) fn queue_stats(
        &self,
        now: Instant,
        port: Option<PortNo>,
        queue: Option<QueueId>,
    ) -> Vec<QueueStats> {
        let stats = |(port, queue): (&PortRecord, &QueueRecord)| QueueStats {
            port: port.desc.port,
            queue: queue.id(),
            tx_bytes: queue.counters.tx_bytes,
            tx_packets: queue.counters.tx_packets,
            tx_errors: queue.counters.tx_errors,
            duration: Duration::from_nanos(now.saturating_since(queue.since).as_nanos() as u64),
        };
        self.queues_of(port, queue).map(stats).collect()
    }

    pub(super) fn queue_descs(&self, port: Option<PortNo>, queue: Option<QueueId>) -> Vec<PacketQueue> {
        let all = self.queues_of(port, queue);
        all.map(|(port, queue)| port.queues.describe(queue, &port.desc)).collect()
    }
}
