//! DHCPv4 for the hosts of a router: a server and a relay. Messages go in and out, with nobody's sockets.

mod relay;
mod server;
mod wire;

pub(crate) use relay::Relay;
pub(crate) use server::{Arrival, Outcome, Pool, Server};
pub(crate) use wire::{Kind, Message};

/// Ports of servers and relays, and of clients (RFC 2131 §4.1).
pub(crate) const SERVER_PORT: u16 = 67;
pub(crate) const CLIENT_PORT: u16 = 68;
