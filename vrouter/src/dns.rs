//! DNS for the hosts of a router: a forwarder with a cache.

mod forwarder;
mod streams;
mod tcp;
mod wire;

pub(crate) use forwarder::{Client, Forwarder, PORTS, Send};
pub(crate) use streams::Streams;
pub(crate) use tcp::Segment;

/// Where servers listen (RFC 1035 §4.2.1).
pub(crate) const PORT: u16 = 53;
