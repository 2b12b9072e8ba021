//! The owner: configuration in, orders out.

use std::collections::VecDeque;

use packet::{Instant, PortNo};

use crate::{
    BindingInfo, ConfigError, ConnectionInfo, Counters, Effect, Forwarder, NeighbourInfo, Report, RouteInfo,
    RouterConfig, Trace,
};

/// What a router is made with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of workers that will forward for it.
    pub n_workers: usize,
    /// Secret for hashes and ports; nobody outside may guess it.
    pub seed: [u64; 2],
    /// Most connections in all.
    pub n_connections: u32,
}

impl Options {
    /// Room for 65,536 connections.
    pub const fn new(n_workers: usize, seed: [u64; 2]) -> Self {
        Self { n_workers, seed, n_connections: 65_536 }
    }
}

/// The owner half of a router.
#[derive(Debug)]
pub struct Router {
    effects: VecDeque<Effect>,
}

impl Router {
    /// A router without interfaces.
    pub fn new(_options: Options) -> Self {
        Self { effects: VecDeque::new() }
    }

    /// The workers' halves; `n_workers` of them the first time, none afterwards.
    pub fn forwarders(&mut self) -> Vec<Forwarder> {
        Vec::new()
    }

    /// Replaces the whole configuration. Ports must have been added before, as the router announces its addresses.
    ///
    /// # Errors
    /// [`ConfigError`] names the field; the old configuration stays.
    pub fn set_config(&mut self, _now: Instant, _config: RouterConfig) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Takes in what a worker said.
    pub fn handle_report(&mut self, _now: Instant, _worker: usize, _report: Report) {}

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next thing to be done, until none is left.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Routes in use, local and connected ones among them.
    pub fn fib(&self) -> Vec<RouteInfo> {
        Vec::new()
    }

    /// Neighbours.
    pub fn neighbours(&self, _now: Instant) -> Vec<NeighbourInfo> {
        Vec::new()
    }

    /// Tracked connections.
    pub fn connections(&self, _now: Instant) -> Vec<ConnectionInfo> {
        Vec::new()
    }

    /// Bindings, port forwards among them.
    pub fn bindings(&self) -> Vec<BindingInfo> {
        Vec::new()
    }

    /// What all workers have counted.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// What would happen to `frame` if it came in by `in_port` now. Changes nothing.
    pub fn trace(&self, _now: Instant, _in_port: PortNo, _frame: &[u8]) -> Trace {
        Trace::default()
    }
}
