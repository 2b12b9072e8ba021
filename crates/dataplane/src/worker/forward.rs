//! The path of frames on one worker.

use packet::{Frame, MAX_BATCH, MAX_HOPS, PortNo};

use super::turns::is_costly;
use super::{N_LINK_PASSES, N_RECEIVE_PASSES, Worker};
use crate::table::Target;
use crate::{Drop, EngineId, Stage, StageWatch};

/// Frames that may wait for one engine on one worker.
const INBOX_LEN: usize = 1024;

impl Worker {
    /// Takes batches from the queues that `self.ready` names, in turn and as long as they are full, for a bounded number
    /// of passes: to look at the descriptors costs as much as several frames.
    pub(super) fn receive_ready(&mut self) {
        for _ in 0..N_RECEIVE_PASSES {
            let mut ready = std::mem::take(&mut self.ready);
            let n_costly = ready.iter().filter(|token| self.ports.is_costly(**token)).count();
            let sits_out = self.turns.begin(n_costly > 0 && n_costly < ready.len());
            ready.retain(|&token| (sits_out && self.ports.is_costly(token)) || self.receive(token));
            self.ready = ready;
            self.take_rings();
            if self.ready.is_empty() {
                return;
            }
        }
        self.ready.clear();
    }

    /// Takes a batch from the queue that an epoll token names through its engine; there may be more if it was full.
    fn receive(&mut self, token: u64) -> bool {
        let Some((slot, queue)) = self.ports.by_token(token) else { return false };
        let (engine, port, key) = (slot.engine, slot.port, slot.key);
        let Some(queue) = slot.queues.get_mut(queue) else { return false };
        let started = self.timing.ticks();
        let received = queue.receive(&mut self.pool, &mut self.batch, MAX_BATCH);
        let n = self.batch.len();
        if n > 0 {
            let begun = self.turns.counts().then(netio::clock::ticks);
            self.now = self.setup.clock.now();
            let mut most_hops = 0;
            for frame in &mut self.batch {
                frame.meta.in_port = port;
                frame.queue = 0;
                // A memory port hands on what has been through engines already.
                frame.meta.hops = frame.meta.hops.saturating_add(1);
                most_hops = most_hops.max(frame.meta.hops);
            }
            if most_hops > MAX_HOPS {
                self.drop_travelled();
            }
            self.note_stage(engine, Stage::Rx, n, started);
            self.process(engine);
            self.flush();
            self.note_turn(token, (engine, n), begun);
        }
        if let Err(error) = received {
            self.fail_port(key, error);
            return false;
        }
        n == MAX_BATCH
    }

    /// A batch of `n` frames from a queue is done with.
    fn note_turn(&mut self, token: u64, (engine, n): (EngineId, usize), begun: Option<u64>) {
        let Some(Some(slot)) = self.engines.get(engine.0 as usize) else { return };
        let costly = is_costly(n, slot.engine.n_unknown());
        if let Some(begun) = begun {
            self.turns.note(costly, netio::clock::ticks().saturating_sub(begun));
        }
        self.ports.set_costly(token, costly);
    }

    /// Counts a stage that began at `started`, in a round that is timed.
    #[inline]
    pub(super) fn note_stage(&mut self, id: EngineId, stage: Stage, n: usize, started: Option<u64>) {
        if let Some(started) = started
            && let Some(Some(slot)) = self.engines.get_mut(id.0 as usize)
        {
            StageWatch::since(&mut slot.stages, started).lap(stage, n);
        }
    }

    fn drop_travelled(&mut self) {
        let mut at = 0;
        while at < self.batch.len() {
            if self.batch[at].meta.hops > MAX_HOPS {
                let frame = self.batch.remove(at);
                self.drop_frame(frame, Drop::HopLimit);
            } else {
                at += 1;
            }
        }
    }

    /// Takes `self.batch` through an engine and what comes out to where it leads.
    fn process(&mut self, id: EngineId) {
        if self.watchers.are_there() {
            self.copy_in(id);
        }
        let Some(Some(slot)) = self.engines.get_mut(id.0 as usize) else {
            while let Some(frame) = self.batch.pop() {
                self.drop_frame(frame, Drop::NoEngine);
            }
            return;
        };
        if self.watchers.are_there() {
            self.process_watched(id);
        } else if self.timing.on {
            let mut watch = StageWatch::start(&mut slot.stages);
            slot.engine.process_timed(self.now, &mut self.batch, &mut self.pool, &mut self.out, &mut watch);
            self.timing.used(self.now);
        } else {
            slot.engine.process(self.now, &mut self.batch, &mut self.pool, &mut self.out);
        }
        debug_assert!(self.batch.is_empty(), "engines drain their batch");
        self.note_activity(id);
        let started = self.timing.ticks();
        self.dispatch(id);
        // Its frames are counted when they are sent.
        self.note_stage(id, Stage::Tx, 0, started);
        self.report(id);
    }

    /// Puts `self.out` of an engine where its ports lead.
    pub(super) fn dispatch(&mut self, id: EngineId) {
        if self.watchers.are_there() {
            self.copy_out(id);
        }
        let mut out = std::mem::take(&mut self.out);
        // The usual case: all leave by one port of this worker.
        if let Some((port, frames)) = out.all_by_one_port()
            && let Some(Target::Local { slot }) = self.target(id, port)
            && let Some(queue) = self.ports.queue(slot)
        {
            frames.append_to(queue);
        }
        out.drain_runs(|port, frames| {
            let target = self.target(id, port);
            if let Some(Target::Local { slot }) = target
                && let Some(queue) = self.ports.queue(slot)
            {
                return queue.extend(frames);
            }
            frames.for_each(|frame| self.send(frame, (id, port), target));
        });
        self.out = out;
    }

    /// Sends one frame of an engine's port where that leads.
    fn send(&mut self, frame: Frame, (id, port): (EngineId, PortNo), target: Option<Target>) {
        match target {
            Some(Target::Local { slot }) => self.queue_local(slot, frame),
            Some(Target::Remote { worker, key }) => {
                let outbound = self.setup.outbound[worker].as_mut().expect("a target is another worker");
                if let Err(frame) = outbound.push(key, frame) {
                    self.drop_frame(frame, Drop::RingFull);
                }
            }
            Some(Target::Shaped { at }) => self.hold(at, frame),
            Some(Target::Link { engine, port: far }) => self.cross(id, port, (engine, far), frame),
            None => self.drop_frame(frame, Drop::NoPort),
        }
    }

    fn target(&self, id: EngineId, port: PortNo) -> Option<Target> {
        self.engines.get(id.0 as usize)?.as_ref()?.targets.get(port)
    }

    #[inline]
    pub(super) fn queue_local(&mut self, at: usize, frame: Frame) {
        match self.ports.queue(at) {
            Some(queue) => queue.push(frame),
            None => self.drop_frame(frame, Drop::NoPort),
        }
    }

    /// Takes a frame over a link into the inbox of the engine at its other end.
    pub(super) fn cross(&mut self, from: EngineId, port: PortNo, to: (EngineId, PortNo), mut frame: Frame) {
        if frame.meta.hops >= MAX_HOPS {
            return self.drop_frame(frame, Drop::HopLimit);
        }
        self.count_link(from, port, |counters| counters.sent(&frame));
        let Some(Some(slot)) = self.engines.get_mut(to.0.0 as usize) else {
            return self.drop_frame(frame, Drop::NoEngine);
        };
        if slot.inbox.len() >= INBOX_LEN {
            return self.drop_frame(frame, Drop::LinkFull);
        }
        frame.meta.hops += 1;
        frame.meta.in_port = to.1;
        frame.queue = 0;
        if let Some((_, counters)) = slot.links.iter_mut().find(|(no, _)| *no == to.1) {
            counters.received(&frame);
        }
        slot.inbox.push(frame);
        self.backlog = true;
    }

    fn count_link(&mut self, id: EngineId, port: PortNo, count: impl FnOnce(&mut netio::PortCounters)) {
        if let Some(Some(slot)) = self.engines.get_mut(id.0 as usize)
            && let Some((_, counters)) = slot.links.iter_mut().find(|(no, _)| *no == port)
        {
            count(counters);
        }
    }

    /// Takes what links have queued through the engines, for a bounded number of passes.
    pub(super) fn run_links(&mut self) {
        for _ in 0..N_LINK_PASSES {
            if !std::mem::take(&mut self.backlog) {
                return;
            }
            for at in 0..self.engines.len() {
                // What comes to this inbox meanwhile waits for the next pass.
                let mut left = self.engines[at].as_ref().map_or(0, |slot| slot.inbox.len());
                while left > 0 {
                    let Some(slot) = &mut self.engines[at] else { break };
                    let n = left.min(MAX_BATCH);
                    self.batch.extend(slot.inbox.drain(..n));
                    left -= n;
                    self.process(EngineId(at as u32));
                }
            }
        }
        self.backlog = self.engines.iter().flatten().any(|slot| !slot.inbox.is_empty());
    }

    /// Takes what other workers have handed over for ports of this one.
    pub(super) fn take_rings(&mut self) {
        for at in 0..self.setup.inbound.len() {
            // Bounded: the other worker may go on filling.
            for _ in 0..4 * MAX_BATCH {
                let Some((key, frame)) = self.setup.inbound[at].pop() else { break };
                let short = frame.tail().is_empty();
                let empty = if short { self.pool.alloc() } else { self.pool.alloc_with_tail() };
                if let Err(empty) = self.setup.inbound[at].give_back(empty) {
                    self.pool.free(empty);
                }
                match (self.shapers.position(key), self.ports.slot_of(key)) {
                    (Some(at), _) => self.hold(at, frame),
                    (None, Some(slot)) => self.queue_local(slot, frame),
                    (None, None) => self.drop_frame(frame, Drop::NoPort),
                }
            }
        }
    }

    pub(super) fn drop_frame(&mut self, frame: Frame, reason: Drop) {
        self.drops.count(reason);
        self.pool.free(frame);
    }
}
