//! DNS for the hosts of a router: a forwarder with a cache.

mod forwarder;
mod wire;

pub(crate) use forwarder::{Client, Forwarder, PORTS, Send};

/// Where servers listen (RFC 1035 §4.2.1).
pub(crate) const PORT: u16 = 53;
