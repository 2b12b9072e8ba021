//! The owner's half.

use openflow::{Message, PortDesc, PortNo, Xid};
use packet::Instant;

use crate::{ConnId, Datapath, Drops, Effect, PortCounters, Report, SwitchConfig, Trace};

/// The owner of a switch: flows, ports, controllers and timers. Lives in one task of the shell.
#[derive(Debug)]
pub struct Switch {
    config: SwitchConfig,
}

impl Switch {
    /// A switch without ports and flows.
    pub fn new(config: SwitchConfig) -> Self {
        Self { config }
    }

    /// The workers' halves, as many as configured. To be called once.
    pub fn datapath(&mut self) -> Vec<Datapath> {
        (0..self.config.n_workers.max(1)).map(|_| Datapath::new()).collect()
    }

    /// A port is there. Adding a number again replaces its description.
    pub fn add_port(&mut self, _now: Instant, _desc: PortDesc) {}

    /// A port goes: nothing is output to it once the workers have taken the next tables.
    pub fn remove_port(&mut self, _now: Instant, _port: PortNo) {}

    /// The link of a port came up or went down.
    pub fn set_port_link(&mut self, _now: Instant, _port: PortNo, _up: bool) {}

    /// What the shell has counted at a port, for port statistics.
    pub fn set_port_counters(&mut self, _port: PortNo, _counters: PortCounters) {}

    /// A controller's session is established.
    pub fn handle_connected(&mut self, _now: Instant, _conn: ConnId) {}

    /// A controller's session is gone.
    pub fn handle_disconnected(&mut self, _now: Instant, _conn: ConnId) {}

    /// A message came. Hello and echo are the session's.
    pub fn handle_message(&mut self, _now: Instant, _conn: ConnId, _xid: Xid, _message: Message) {}

    /// A worker reports; `worker` is its place in [`datapath`](Self::datapath).
    pub fn handle_report(&mut self, _now: Instant, _worker: usize, _report: Report) {}

    /// Time has come: expires flows.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What is to be done, until there is nothing left. To be called after every other call.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        None
    }

    /// What would happen to a frame.
    pub fn trace(&self, _now: Instant, in_port: PortNo, _frame: &[u8]) -> Trace {
        Trace { in_port, fields: openflow::Match::new(), tables: Vec::new(), outcomes: Vec::new() }
    }

    /// Frames dropped by all workers, as of their last reports.
    pub fn drops(&self) -> Drops {
        Drops::default()
    }
}
