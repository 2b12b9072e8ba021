//! What carries OpenFlow between processes: targets as Open vSwitch names them, TCP and TLS (§6.3.3), and listeners
//! with a bounded number of connections. Switches and the controller share it.
// Its callers are two daemons; what one of them does not call the other does.
#![allow(dead_code)]

mod accept;
mod admission;
mod certificate;
mod stream;
mod target;
mod tls;

pub use accept::{Listener, MAX_CONNECTIONS, accept};
pub use admission::{Place, Stranger};
pub use stream::{connect, write};
pub use target::{Listen, Target, Transport};
pub use tls::{Tls, TlsFiles, server_keys};

#[cfg(test)]
pub(crate) mod tests;
