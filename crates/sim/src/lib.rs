//! Cores joined by simulated links on virtual time, with seeded faults.
//!
//! A [`Sim`] holds hosts, switches, routers and a controller, and moves frames between them over [`link`]s and
//! OpenFlow bytes over control channels. Everything happens in one thread, in an order that follows from the seed
//! alone: a run that failed is run again by its seed ([`seeds`]).

pub mod channel;
pub mod controller;
pub mod host;
pub mod link;
pub mod queue;
pub mod rng;
pub mod router;
pub mod seeds;
pub mod switch;
pub mod wire;

mod node;
mod sim;

pub use channel::{CHANNEL_DELAY, ChannelId, Peer};
pub use host::{Host, HostConfig};
pub use link::{LinkConfig, LinkId};
pub use node::NodeId;
pub use sim::Sim;
