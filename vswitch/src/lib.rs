//! The switch: tables, classifier, cache, actions, groups, counters.
//!
//! [`Switch`] is the one owner, [`Datapath`] the half that each worker has. They exchange only [`Order`]s and
//! [`Report`]s, which the shell carries. Nothing here reads a clock or a socket. Clauses cited are those of OpenFlow
//! Switch Specification 1.3.5.

mod actions;
mod cache;
mod config;
mod counters;
mod datapath;
mod entry;
mod execute;
mod extract;
mod fdb;
mod filter;
mod group;
mod injection;
mod key;
mod limit;
mod message;
mod meter;
pub mod oracle;
mod pipeline;
pub mod queue;
mod rest;
mod rewrite;
mod screen;
mod shims;
mod snapshot;
mod stage;
pub mod standalone;
mod step;
mod switch;
mod table;
mod trace;

pub use config::{FailMode, GATHER, SwitchConfig};
pub use counters::{CacheCounters, DropReason, Drops, PortCounters, QueueCounters};
pub use datapath::Datapath;
pub use filter::Filter;
pub use limit::{PacketInRates, RateLimit};
pub use message::{ConnId, Effect, Order, Report};
pub use queue::{PortQueues, QueueError, QueueSpec};
pub use stage::{Lap, Stage};
pub use switch::Switch;
pub use trace::{Followed, Trace, TraceEntry, TraceOutcome, TraceTable};
