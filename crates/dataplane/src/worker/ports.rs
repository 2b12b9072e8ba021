//! The queues of ports that one worker owns.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use netio::{Port, PortCounters, PortError};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use packet::{Frame, PortNo};

use super::Worker;
use crate::table::{PortKey, Target};
use crate::{Drop, EngineId, Event, PortFailure, Stage};

/// Queues of a port for one worker.
pub(crate) struct NewPort {
    pub engine: EngineId,
    pub port: PortNo,
    pub key: PortKey,
    pub queues: Vec<Box<dyn Port>>,
    /// Shared by the workers that have queues of the port: its failure is told once.
    pub failed: Arc<AtomicBool>,
}

/// A port on the worker that owns queues of it.
pub(super) struct PortSlot {
    pub engine: EngineId,
    pub port: PortNo,
    pub key: PortKey,
    /// Empty once the port has failed.
    pub queues: Vec<Box<dyn Port>>,
    /// Frames are received from it.
    started: bool,
    /// Its last batch was full of flows that its engine did not know.
    pub costly: bool,
    /// To be sent by the first queue at the end of the round.
    pub tx: Vec<Frame>,
    failed: Arc<AtomicBool>,
    /// Counters of queues that have failed.
    past: PortCounters,
}

/// All ports of a worker. A slot keeps its place while the port lives, so that epoll tokens can name it.
#[derive(Default)]
pub(super) struct Ports {
    slots: Vec<Option<PortSlot>>,
    by_key: HashMap<PortKey, usize>,
    /// Slots with frames in `tx`.
    pub dirty: Vec<usize>,
    /// Slots that are costly.
    n_costly: usize,
}

/// Queues of a port one worker may have at most; more than any device has.
const N_QUEUES: u64 = 1 << 8;

fn token(slot: usize, queue: usize) -> u64 {
    slot as u64 * N_QUEUES + queue as u64
}

impl Ports {
    pub fn by_token(&mut self, token: u64) -> Option<(&mut PortSlot, usize)> {
        let slot = self.slots.get_mut((token / N_QUEUES) as usize)?.as_mut()?;
        Some((slot, (token % N_QUEUES) as usize))
    }

    /// The port that an epoll token names brings flows that its engine does not know.
    pub fn is_costly(&self, token: u64) -> bool {
        self.n_costly > 0
            && self
                .slots
                .get((token / N_QUEUES) as usize)
                .is_some_and(|slot| slot.as_ref().is_some_and(|s| s.costly))
    }

    /// Notes whether it does.
    #[inline]
    pub fn set_costly(&mut self, token: u64, costly: bool) {
        if let Some((slot, _)) = self.by_token(token)
            && slot.costly != costly
        {
            slot.costly = costly;
            self.n_costly = if costly { self.n_costly + 1 } else { self.n_costly - 1 };
        }
    }

    pub fn get(&mut self, slot: usize) -> Option<&mut PortSlot> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Where frames for a port wait for the end of the round. To be given some.
    #[inline(always)]
    pub fn queue(&mut self, at: usize) -> Option<&mut Vec<Frame>> {
        let slot = self.slots.get_mut(at)?.as_mut()?;
        if slot.tx.is_empty() {
            self.dirty.push(at);
        }
        Some(&mut slot.tx)
    }

    pub fn slot_of(&self, key: PortKey) -> Option<usize> {
        self.by_key.get(&key).copied()
    }

    pub fn counters(&mut self, engine: EngineId) -> Vec<(PortNo, PortCounters)> {
        let slots = self.slots.iter_mut().flatten().filter(|slot| slot.engine == engine);
        slots.map(|slot| (slot.port, slot.counters())).collect()
    }

    fn insert(&mut self, slot: PortSlot) -> usize {
        let at = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        self.by_key.insert(slot.key, at);
        if at == self.slots.len() {
            self.slots.push(Some(slot));
        } else {
            self.slots[at] = Some(slot);
        }
        at
    }

    fn remove(&mut self, key: PortKey) -> Option<PortSlot> {
        let at = self.by_key.remove(&key)?;
        self.dirty.retain(|slot| *slot != at);
        let slot = self.slots[at].take()?;
        self.n_costly -= usize::from(slot.costly);
        Some(slot)
    }
}

impl PortSlot {
    fn counters(&mut self) -> PortCounters {
        let mut sum = self.past;
        for queue in &mut self.queues {
            sum += queue.counters();
        }
        sum
    }
}

impl Worker {
    pub(super) fn add_port(&mut self, new: NewPort) {
        let NewPort { engine, port, key, queues, failed } = new;
        let slot = PortSlot {
            engine,
            port,
            key,
            queues,
            started: false,
            costly: false,
            tx: Vec::new(),
            failed,
            past: PortCounters::default(),
        };
        let at = self.ports.insert(slot);
        self.set_target(engine, port, Some(Target::Local { slot: at }));
    }

    /// Receives from a port from now on. Once for each worker that has queues of it, but told as often as there are queues.
    pub(super) fn start_port(&mut self, key: PortKey) {
        let Some(at) = self.ports.slot_of(key) else { return };
        let Some(slot) = self.ports.get(at) else { return };
        if std::mem::replace(&mut slot.started, true) {
            return;
        }
        let mut result = Ok(());
        for (i, queue) in slot.queues.iter().enumerate() {
            let Some(fd) = queue.poll_fd() else { continue };
            result = result.and(self.setup.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token(at, i))));
        }
        if let Err(error) = result {
            self.fail_port(key, PortError::Io(error.into()));
        }
    }

    pub(super) fn stop_port(&mut self, key: PortKey) {
        if let Some(slot) = self.ports.slot_of(key).and_then(|at| self.ports.get(at)) {
            for fd in slot.queues.iter().filter_map(|queue| queue.poll_fd()) {
                // Fails only when it was never added.
                let _ = self.setup.epoll.delete(fd);
            }
        }
    }

    pub(super) fn close_port(&mut self, key: PortKey) {
        self.flush();
        if let Some(slot) = self.ports.remove(key) {
            for frame in slot.tx {
                self.pool.free(frame);
            }
        }
    }

    /// Closes the queues of a failed port and says so, unless another worker has.
    pub(super) fn fail_port(&mut self, key: PortKey, error: PortError) {
        self.stop_port(key);
        let Some(slot) = self.ports.slot_of(key).and_then(|at| self.ports.get(at)) else { return };
        slot.past = slot.counters();
        slot.queues.clear();
        let (engine, port) = (slot.engine, slot.port);
        for frame in slot.tx.drain(..) {
            self.drops.count(Drop::PortFailed);
            self.pool.free(frame);
        }
        if !slot.failed.swap(true, Ordering::Relaxed) {
            (self.setup.sink)(Event::PortDown { engine, port, error: PortFailure::Port(error) });
        }
    }

    /// Sends what has been collected for ports, and wakes workers that were handed frames.
    pub(super) fn flush(&mut self) {
        self.run_shapers();
        while let Some(at) = self.ports.dirty.pop() {
            let Some(slot) = self.ports.get(at) else { continue };
            let (key, engine, n) = (slot.key, slot.engine, slot.tx.len());
            let started = self.timing.ticks();
            let result = match slot.queues.first_mut() {
                Some(queue) => queue.transmit(&mut self.pool, &mut slot.tx),
                None => {
                    for frame in slot.tx.drain(..) {
                        self.drops.count(Drop::PortFailed);
                        self.pool.free(frame);
                    }
                    Ok(())
                }
            };
            self.note_stage(engine, Stage::Tx, n, started);
            if let Err(error) = result {
                self.fail_port(key, error);
            }
        }
        for outbound in self.setup.outbound.iter_mut().flatten() {
            outbound.notify();
            while let Some(empty) = outbound.take_back() {
                self.pool.free(empty);
            }
        }
    }
}
