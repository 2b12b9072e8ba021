//! Where an engine's output ports lead on one worker.

use std::collections::HashMap;

use packet::PortNo;

use crate::EngineId;

/// A port in the whole dataplane; never given twice, so that what is still on its way to a removed port goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PortKey(pub u64);

/// What to do with a frame for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Send it by a queue of this worker.
    Local { slot: usize },
    /// Hand it to the worker that has a queue.
    Remote { worker: usize, key: PortKey },
    /// Let it wait for its turn on this worker.
    Shaped { at: usize },
    /// Hand it to another engine on this worker.
    Link { engine: EngineId, port: PortNo },
}

/// Numbers below this are looked up in an array.
const N_DENSE: usize = 1024;

/// The targets of one engine.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    dense: Vec<Option<Target>>,
    sparse: HashMap<u32, Target>,
}

impl Targets {
    #[inline]
    pub fn get(&self, port: PortNo) -> Option<Target> {
        match self.dense.get(port.0 as usize) {
            Some(target) => *target,
            None => self.sparse.get(&port.0).copied(),
        }
    }

    pub fn set(&mut self, port: PortNo, target: Option<Target>) {
        let at = port.0 as usize;
        if at < N_DENSE {
            if self.dense.len() <= at {
                self.dense.resize(at + 1, None);
            }
            self.dense[at] = target;
        } else if let Some(target) = target {
            self.sparse.insert(port.0, target);
        } else {
            self.sparse.remove(&port.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_numbers_are_kept_and_forgotten() {
        let mut targets = Targets::default();
        for port in [0, 1, 1023, 1024, 0xffff_fffe].map(PortNo) {
            assert_eq!(targets.get(port), None);
            targets.set(port, Some(Target::Local { slot: port.0 as usize }));
            assert_eq!(targets.get(port), Some(Target::Local { slot: port.0 as usize }));
            targets.set(port, None);
            assert_eq!(targets.get(port), None);
        }
    }
}
