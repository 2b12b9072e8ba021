//! One worker's half.

use packet::{Batch, Instant, Outputs, Pool};

use crate::{Order, Report};

#[derive(Clone, Debug)]
pub(crate) enum OrderKind {}

#[derive(Debug)]
pub(crate) enum ReportKind {}

/// One worker's half of a switch: classifies frames and applies actions, by the tables it was last handed.
#[derive(Debug)]
pub struct Datapath {
    _private: (),
}

impl Datapath {
    pub(crate) fn new() -> Self {
        Self { _private: () }
    }

    /// Processes frames in order; `meta.in_port` of each is set. Leaves `batch` empty; what is to be sent is appended
    /// to `out`, with real port numbers only.
    pub fn process(&mut self, _now: Instant, batch: &mut Batch, pool: &mut Pool, _out: &mut Outputs) {
        pool.free_batch(batch);
    }

    /// Obeys the owner: other tables, a packet-out, a request for counters.
    pub fn handle_order(&mut self, _now: Instant, order: Order, _pool: &mut Pool, _out: &mut Outputs) {
        match order.0 {}
    }

    /// What the owner must know, until there is nothing left.
    pub fn poll_report(&mut self) -> Option<Report> {
        None
    }

    /// To be called before the worker sleeps and at least every second: counters become reports.
    pub fn handle_idle(&mut self, _now: Instant) {}
}
