//! A router as a node: the owner and its workers, with what passes between them carried at once.

use packet::{Batch, Instant, Outputs, Pool};
use vrouter::{Effect, Forwarder, Options, Router, RouterEvent};

/// A router and its workers.
#[derive(Debug)]
pub struct RouterNode {
    router: Router,
    workers: Vec<Forwarder>,
    events: Vec<RouterEvent>,
    by_worker: Vec<Batch>,
}

impl RouterNode {
    pub(crate) fn new(options: Options) -> Self {
        let mut router = Router::new(options);
        let workers = router.forwarders();
        let by_worker = workers.iter().map(|_| Batch::new()).collect();
        Self { router, workers, events: Vec::new(), by_worker }
    }

    /// The owner, to be asked questions.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// What people should know.
    pub fn events(&self) -> &[RouterEvent] {
        &self.events
    }

    pub(crate) fn router_mut(&mut self) -> &mut Router {
        &mut self.router
    }

    pub(crate) fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        let n = self.workers.len();
        for frame in batch.drain(..) {
            let worker = frame.meta.in_port.0 as usize % n;
            self.by_worker[worker].push(frame);
        }
        for (worker, batch) in self.workers.iter_mut().zip(&mut self.by_worker) {
            if !batch.is_empty() {
                worker.process(now, batch, pool, out);
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, pool: &mut Pool, out: &mut Outputs) {
        if self.router.poll_timeout().is_some_and(|due| due <= now) {
            self.router.handle_timeout(now);
        }
        for worker in &mut self.workers {
            if worker.poll_timeout().is_some_and(|due| due <= now) {
                worker.handle_timeout(now, pool, out);
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.workers.iter().filter_map(Forwarder::poll_timeout).chain(self.router.poll_timeout()).min()
    }

    /// Carries orders and reports until both sides are quiet.
    pub(crate) fn pump(&mut self, now: Instant, pool: &mut Pool, out: &mut Outputs) {
        for worker in &mut self.workers {
            worker.handle_idle(now);
        }
        loop {
            let mut quiet = true;
            for (i, worker) in self.workers.iter_mut().enumerate() {
                while let Some(report) = worker.poll_report() {
                    self.router.handle_report(now, i, report);
                    quiet = false;
                }
            }
            while let Some(effect) = self.router.poll_effect() {
                quiet = false;
                match effect {
                    Effect::Event(event) => self.events.push(event),
                    // A simulation ends with its leases.
                    Effect::Lease(_) => {}
                    Effect::Order { worker, order } => {
                        for (i, forwarder) in self.workers.iter_mut().enumerate() {
                            if worker.is_none_or(|w| w == i) {
                                forwarder.handle_order(now, order.clone(), pool, out);
                            }
                        }
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }
}
