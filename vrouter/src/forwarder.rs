//! A worker's half: frames in, frames out.

use packet::{Batch, Instant, Outputs, Pool};

use crate::{Order, Report};

/// The worker half of a router.
#[derive(Debug)]
pub struct Forwarder {}

impl Forwarder {
    /// Forwards `batch` and leaves it empty. Each frame's `meta.in_port` is set. What is to be sent is appended to
    /// `out`; what is dropped goes back to `pool`.
    pub fn process(&mut self, _now: Instant, batch: &mut Batch, pool: &mut Pool, _out: &mut Outputs) {
        pool.free_batch(batch);
    }

    /// Does what the owner says.
    pub fn handle_order(&mut self, _now: Instant, _order: Order, _pool: &mut Pool, _out: &mut Outputs) {}

    /// The next thing to tell the owner, until none is left.
    pub fn poll_report(&mut self) -> Option<Report> {
        None
    }

    /// To be called before the worker sleeps and at least once a second: counters become reports.
    pub fn handle_idle(&mut self, _now: Instant) {}

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what is due: requests to neighbours again, answers for those that failed, forgotten connections.
    pub fn handle_timeout(&mut self, _now: Instant, _pool: &mut Pool, _out: &mut Outputs) {}
}
