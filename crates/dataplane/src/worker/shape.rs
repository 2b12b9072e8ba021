//! Ports of this worker whose frames wait for their turn.
//!
//! A port with a rate or queues has one owner, whatever the number of its own queues and of workers: the others hand
//! their frames over by the rings, so that its rates are exact. Ports without have no part in this.

use std::collections::HashMap;

use packet::{Frame, Instant, PortNo};
use vswitch::PortQueues;

use super::Worker;
use crate::scheduler::{QueueCounters, Scheduler};
use crate::table::{PortKey, Target};
use crate::{Drop, EngineId};

/// Where frames go when it is their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// Out of the device.
    Device,
    /// To another engine's port.
    Link(EngineId, PortNo),
}

/// A port that is to be shaped by this worker.
#[derive(Debug)]
pub(crate) struct Shape {
    pub engine: EngineId,
    pub port: PortNo,
    pub key: PortKey,
    pub beyond: Beyond,
    pub queues: PortQueues,
}

/// A port that is shaped by this worker.
struct Shaper {
    engine: EngineId,
    port: PortNo,
    key: PortKey,
    beyond: Beyond,
    scheduler: Scheduler,
}

/// All of them. A shaper keeps its place while it lives, so that targets can name it.
#[derive(Default)]
pub(super) struct Shapers {
    slots: Vec<Option<Shaper>>,
    by_key: HashMap<PortKey, usize>,
}

impl Shapers {
    pub fn position(&self, key: PortKey) -> Option<usize> {
        self.by_key.get(&key).copied()
    }

    fn insert(&mut self, shaper: Shaper) -> usize {
        let at = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        self.by_key.insert(shaper.key, at);
        if at == self.slots.len() {
            self.slots.push(Some(shaper));
        } else {
            self.slots[at] = Some(shaper);
        }
        at
    }

    fn remove(&mut self, key: PortKey) -> Option<Shaper> {
        self.by_key.remove(&key).and_then(|at| self.slots[at].take())
    }

    /// When the first of all frames that wait may leave.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.slots.iter().flatten().filter_map(|shaper| shaper.scheduler.poll_timeout()).min()
    }

    pub fn counters(&self, engine: EngineId) -> Vec<(PortNo, Vec<(u16, QueueCounters)>)> {
        let of_engine = self.slots.iter().flatten().filter(|shaper| shaper.engine == engine);
        of_engine.map(|shaper| (shaper.port, shaper.scheduler.counters().collect())).collect()
    }
}

impl Worker {
    /// Shapes a port from now on, or otherwise than before.
    pub(super) fn shape(&mut self, shape: Shape) {
        let Shape { engine, port, key, beyond, queues } = shape;
        if let Some(at) = self.shapers.position(key)
            && let Some(shaper) = &mut self.shapers.slots[at]
        {
            let n_dropped = shaper.scheduler.reconfigure(self.now, &queues, &mut self.pool);
            self.drops.count_n(Drop::QueueFull, n_dropped);
            return;
        }
        let scheduler = Scheduler::new(self.now, &queues);
        let at = self.shapers.insert(Shaper { engine, port, key, beyond, scheduler });
        self.set_target(engine, port, Some(Target::Shaped { at }));
    }

    /// Sends what waits for a port and shapes it no longer. Nobody adds to the rings for it any more.
    pub(super) fn unshape(&mut self, key: PortKey) {
        if self.shapers.position(key).is_none() {
            return;
        }
        for _ in 0..super::N_CLOSE_PASSES {
            self.take_rings();
        }
        let Some(mut shaper) = self.shapers.remove(key) else { return };
        for frame in shaper.scheduler.drain().collect::<Vec<_>>() {
            self.release((shaper.engine, shaper.port, shaper.key), shaper.beyond, frame);
        }
        self.flush();
    }

    /// Takes a frame for a port that is shaped.
    pub(super) fn hold(&mut self, at: usize, frame: Frame) {
        let Some(Some(shaper)) = self.shapers.slots.get_mut(at) else {
            return self.drop_frame(frame, Drop::NoPort);
        };
        let n_dropped = shaper.scheduler.enqueue(frame, &mut self.pool);
        self.drops.count_n(Drop::QueueFull, n_dropped);
    }

    /// Hands on what may leave now.
    pub(super) fn run_shapers(&mut self) {
        for at in 0..self.shapers.slots.len() {
            while let Some(shaper) = &mut self.shapers.slots[at]
                && let Some(frame) = shaper.scheduler.dequeue(self.now)
            {
                let from = (shaper.engine, shaper.port, shaper.key);
                let beyond = shaper.beyond;
                self.release(from, beyond, frame);
            }
        }
    }

    fn release(&mut self, (engine, port, key): (EngineId, PortNo, PortKey), beyond: Beyond, frame: Frame) {
        match beyond {
            Beyond::Link(to, far) => self.cross(engine, port, (to, far), frame),
            Beyond::Device => match self.ports.slot_of(key) {
                Some(slot) => self.queue_local(slot, frame),
                None => self.drop_frame(frame, Drop::NoPort),
            },
        }
    }
}
