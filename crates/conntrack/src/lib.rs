//! Connections and address bindings: who talks to whom, and under which outside address and port.
//!
//! A [`Tracker`] knows one kind of thing: an *inside* endpoint that talks to a *remote* endpoint and is seen there as an
//! *outside* endpoint. Packets of the inside are looked up by (inside, remote), packets of the outside by (outside,
//! remote); what goes from one inside endpoint to another by way of their outside endpoints (hairpin) is two such
//! connections, one after the other. A [`Binding`] gives an inside endpoint one outside endpoint for all remotes.
//!
//! Time and randomness are arguments. Records have a fixed size and are found by index; every table is bounded and a
//! lookup costs the same whatever the traffic.

mod config;
mod entry;
mod hash;
mod index;
mod limits;
mod links;
mod ports;
mod record;
mod slab;
mod tcp;
mod tracker;
mod tuple;
mod window;

pub use config::{Config, Filtering, Shard, Timers};
pub use hash::Keys;
pub use limits::{Begun, Limits, Quotas};
pub use record::{Binding, Connection, Endpoint, Pass, Side, State};
pub use tracker::{
    By, Mapping, OutOfWindow, Packet, Packets, Passage, Refusal, Sharing, Tracker, Translation, Wanted,
};
pub use tuple::{Address, End, Sent, Tuple};
pub use window::Segment;
