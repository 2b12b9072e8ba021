//! What the dataplane tells its owner.

use core::fmt;

use netio::PortError;
use packet::PortNo;

use crate::Report;

/// An engine of one dataplane; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineId(pub(crate) u32);

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a port no longer works.
#[derive(Debug, thiserror::Error)]
pub enum PortFailure {
    /// Its device said so.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The engine at the other end of a link was removed.
    #[error("the other end of the link was removed")]
    LinkEnd,
}

/// What the dataplane tells its owner, from any of its threads. Events of one engine and worker are in order.
#[derive(Debug)]
pub enum Event {
    /// A worker half of a switch has something for its owner.
    SwitchReport {
        /// The engine.
        engine: EngineId,
        /// The worker.
        worker: usize,
        /// What.
        report: vswitch::Report,
    },
    /// A worker half of a router has something for its owner.
    RouterReport {
        /// The engine.
        engine: EngineId,
        /// The worker.
        worker: usize,
        /// What.
        report: vrouter::Report,
    },
    /// The port has failed for good; said once. Its number stays taken until it is removed.
    PortDown {
        /// The engine.
        engine: EngineId,
        /// The port.
        port: PortNo,
        /// Why.
        error: PortFailure,
    },
    /// The link of a port went up or down.
    PortLink {
        /// The engine.
        engine: EngineId,
        /// The port.
        port: PortNo,
        /// The new state.
        up: bool,
    },
    /// A worker thread has panicked: a bug. Its ports are dead.
    WorkerDied {
        /// The worker.
        worker: usize,
    },
}

impl Event {
    pub(crate) fn report(engine: EngineId, worker: usize, report: Report) -> Self {
        match report {
            Report::Switch(report) => Self::SwitchReport { engine, worker, report },
            Report::Router(report) => Self::RouterReport { engine, worker, report },
        }
    }

    /// The engine it is about; none for what concerns all.
    pub fn engine(&self) -> Option<EngineId> {
        match self {
            Self::SwitchReport { engine, .. }
            | Self::RouterReport { engine, .. }
            | Self::PortDown { engine, .. }
            | Self::PortLink { engine, .. } => Some(*engine),
            Self::WorkerDied { .. } => None,
        }
    }
}
