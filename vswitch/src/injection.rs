//! Packet-outs on their way to a worker, and how many wait there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use openflow::PortNo;

use crate::step::Step;

/// A frame from the controller.
#[derive(Debug)]
pub(crate) struct Injection {
    pub in_port: PortNo,
    pub data: Vec<u8>,
    pub steps: Box<[Step]>,
    /// What it weighs on, until it is done.
    load: Option<Arc<Load>>,
}

/// Packet-outs that wait at a worker.
#[derive(Debug, Default)]
pub(crate) struct Load {
    packets: AtomicUsize,
    bytes: AtomicUsize,
}

impl Injection {
    pub(crate) fn new(in_port: PortNo, data: Vec<u8>, steps: Box<[Step]>) -> Self {
        Self { in_port, data, steps, load: None }
    }

    /// Counts among what waits at a worker until it is done; false if that is too many packets or bytes already.
    pub(crate) fn weigh(&mut self, load: &Arc<Load>, (packets, bytes): (usize, usize)) -> bool {
        // Only the owner adds, so what is read here can only be too much.
        if load.packets.load(Relaxed) >= packets || load.bytes.load(Relaxed) + self.data.len() > bytes {
            return false;
        }
        load.packets.fetch_add(1, Relaxed);
        load.bytes.fetch_add(self.data.len(), Relaxed);
        self.load = Some(load.clone());
        true
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        if let Some(load) = &self.load {
            load.packets.fetch_sub(1, Relaxed);
            load.bytes.fetch_sub(self.data.len(), Relaxed);
        }
    }
}
