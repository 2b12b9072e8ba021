//! Worker threads: the one place where ports and engines meet.
//!
//! A [`Dataplane`] owns a few threads. Each has a half of every engine (a switch's [`vswitch::Datapath`], a router's
//! [`vrouter::Forwarder`]) and queues of ports. A frame received on a worker stays there: through the engine, over
//! links to other engines, to a queue of the output port that this worker owns; only a port with fewer queues than
//! workers is reached through a ring to the worker that owns it. Workers sleep in epoll while there is nothing to do.
//!
//! This crate carries frames, orders and reports. It must never know what is in them.

mod capture;
mod clock;
mod control;
mod drops;
mod engine;
mod event;
mod monitor;
mod scheduler;
mod stages;
mod table;
mod worker;

pub use capture::{Copied, Direction, MirrorSpec, Sample, SampleSpec, Selection, Watch};
pub use clock::Clock;
pub use control::{Config, Dataplane, Error, Poll, boxed};
pub use drops::{Drop, Drops};
pub use engine::{Engine, Order, Report};
pub use event::{EngineId, Event, PortFailure};
pub use scheduler::QueueCounters;
pub use stages::{Stage, StageCount, StageCounters, StageWatch, WorkerStats};
