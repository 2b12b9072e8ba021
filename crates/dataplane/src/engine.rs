//! What an engine's worker half looks like from here.

use packet::{Batch, Frame, Instant, Outputs, Pool};

use crate::{Stage, StageWatch};

/// To a worker half, from its owner.
#[derive(Clone, Debug)]
pub enum Order {
    /// For a switch.
    Switch(vswitch::Order),
    /// For a router.
    Router(vrouter::Order),
}

/// From a worker half, to its owner.
#[derive(Debug)]
pub enum Report {
    /// Of a switch.
    Switch(vswitch::Report),
    /// Of a router.
    Router(vrouter::Report),
}

/// One worker's half of an engine.
pub trait Engine: Send {
    /// Processes frames in order and leaves `batch` empty; `meta.in_port` of each is set.
    fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs);

    /// As [`process`](Self::process), telling which stage took how long, for engines that have several.
    fn process_timed(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        pool: &mut Pool,
        out: &mut Outputs,
        watch: &mut StageWatch<'_>,
    ) {
        let n = batch.len();
        self.process(now, batch, pool, out);
        watch.lap(Stage::Forward, n);
    }

    /// Frames of the last batch that belong to no flow it knew, if it can tell: they cost several times what others do.
    fn n_unknown(&self) -> usize {
        0
    }

    /// Processes one frame by itself and tells what became of it, if the engine can.
    fn follow(
        &mut self,
        now: Instant,
        frame: Frame,
        pool: &mut Pool,
        out: &mut Outputs,
    ) -> Option<vswitch::Followed> {
        self.process(now, &mut vec![frame], pool, out);
        None
    }

    /// Obeys the owner. An order for another kind of engine is ignored.
    fn handle_order(&mut self, now: Instant, order: Order, pool: &mut Pool, out: &mut Outputs);

    /// What the owner must know, until there is nothing left.
    fn poll_report(&mut self) -> Option<Report>;

    /// Counters become reports; called some milliseconds after the last frame and at least every second under load.
    fn handle_idle(&mut self, now: Instant);

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn handle_timeout(&mut self, _now: Instant, _pool: &mut Pool, _out: &mut Outputs) {}
}

impl Engine for vswitch::Datapath {
    fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        self.process(now, batch, pool, out);
    }

    fn process_timed(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        pool: &mut Pool,
        out: &mut Outputs,
        watch: &mut StageWatch<'_>,
    ) {
        self.process_timed(now, batch, pool, out, &mut |stage, n| watch.lap(stage.into(), n));
    }

    fn n_unknown(&self) -> usize {
        self.n_unknown()
    }

    fn follow(
        &mut self,
        now: Instant,
        frame: Frame,
        pool: &mut Pool,
        out: &mut Outputs,
    ) -> Option<vswitch::Followed> {
        Some(self.follow(now, frame, pool, out))
    }

    fn handle_order(&mut self, now: Instant, order: Order, pool: &mut Pool, out: &mut Outputs) {
        if let Order::Switch(order) = order {
            self.handle_order(now, order, pool, out);
        }
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.poll_report().map(Report::Switch)
    }

    fn handle_idle(&mut self, now: Instant) {
        self.handle_idle(now);
    }
}

impl Engine for vrouter::Forwarder {
    fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        self.process(now, batch, pool, out);
    }

    fn handle_order(&mut self, now: Instant, order: Order, pool: &mut Pool, out: &mut Outputs) {
        if let Order::Router(order) = order {
            self.handle_order(now, order, pool, out);
        }
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.poll_report().map(Report::Router)
    }

    fn handle_idle(&mut self, now: Instant) {
        self.handle_idle(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant, pool: &mut Pool, out: &mut Outputs) {
        self.handle_timeout(now, pool, out);
    }
}
