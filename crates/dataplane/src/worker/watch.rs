//! Copying frames for those who watch. Nothing here runs while nobody does.

use packet::Frame;

use super::Worker;
use crate::EngineId;
use crate::capture::{Direction, Mirror, Sample, Sampler};

/// Who watches on this worker.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    mirrors: Vec<Mirror>,
    samplers: Vec<Sampler>,
}

impl Watchers {
    /// Someone watches.
    #[inline]
    pub fn are_there(&self) -> bool {
        !self.mirrors.is_empty() || !self.samplers.is_empty()
    }

    pub fn add_mirror(&mut self, mirror: Mirror) {
        self.mirrors.push(mirror);
    }

    pub fn add_sampler(&mut self, sampler: Sampler) {
        self.samplers.push(sampler);
    }

    /// Forgets those who watch an engine that is removed.
    pub fn forget(&mut self, engine: EngineId) {
        self.mirrors.retain(|mirror| mirror.engine != engine);
        self.samplers.retain(|sampler| sampler.engine != engine);
    }

    fn sweep(&mut self) {
        self.mirrors.retain(|mirror| !mirror.is_abandoned());
        self.samplers.retain(|sampler| !sampler.is_abandoned());
    }
}

impl Worker {
    /// Copies what is about to enter an engine.
    #[cold]
    pub(super) fn copy_in(&mut self, id: EngineId) {
        self.watchers.sweep();
        for mirror in self.watchers.mirrors.iter_mut().filter(|mirror| mirror.engine == id) {
            for frame in &self.batch {
                mirror.offer(self.now, Direction::Rx, frame.meta.in_port, frame);
            }
        }
    }

    /// Copies what an engine sends.
    #[cold]
    pub(super) fn copy_out(&mut self, id: EngineId) {
        self.watchers.sweep();
        for mirror in self.watchers.mirrors.iter_mut().filter(|mirror| mirror.engine == id) {
            for (port, frame) in self.out.iter() {
                mirror.offer(self.now, Direction::Tx, port, frame);
            }
        }
    }

    /// Takes `self.batch` through an engine; frames that are to be followed go alone, between those before and behind.
    #[cold]
    pub(super) fn process_watched(&mut self, id: EngineId) {
        let at = id.0 as usize;
        let frames: Vec<Frame> = self.batch.drain(..).collect();
        for frame in frames {
            let wanted: Vec<usize> = (0..self.watchers.samplers.len())
                .filter(|&n| {
                    let sampler = &mut self.watchers.samplers[n];
                    sampler.engine == id && sampler.wants(&frame)
                })
                .collect();
            if wanted.is_empty() {
                self.batch.push(frame);
                continue;
            }
            let Some(Some(slot)) = self.engines.get_mut(at) else {
                self.batch.push(frame);
                continue;
            };
            if !self.batch.is_empty() {
                slot.engine.process(self.now, &mut self.batch, &mut self.pool, &mut self.out);
            }
            let len = frame.len();
            let followed = slot.engine.follow(self.now, frame, &mut self.pool, &mut self.out);
            for n in wanted {
                if let Some(followed) = &followed {
                    self.watchers.samplers[n].push(Sample { at: self.now, len, followed: followed.clone() });
                }
            }
        }
        if let Some(Some(slot)) = self.engines.get_mut(at)
            && !self.batch.is_empty()
        {
            slot.engine.process(self.now, &mut self.batch, &mut self.pool, &mut self.out);
        }
    }
}
