//! Ports and the kernel: tap, AF_PACKET, memory and pcap ports; network namespaces and netlink.
//!
//! A [`Port`] moves frames between a [`packet::Pool`] and a device, in batches, without ever blocking. This crate is
//! the only one with unsafe code; each module that needs it says so at its top.
//!
//! It must never know tables, engines, workers or what a frame is for.

mod afpacket;
pub mod alloc;
mod burst;
pub mod clock;
mod counters;
pub mod link;
pub mod mem;
pub mod netns;
mod open;
pub mod pcap;
pub mod pcapng;
mod port;
mod routes;
mod spec;
mod sys;
mod sysctl;
mod tap;
mod tx;
pub mod vnet;

pub use counters::{PortCounters, PortDrop};
pub use open::{OpenError, OpenOptions, open};
pub use port::{LinkProbe, LinkState, Offload, Port, PortError, PortInfo};
pub use routes::RouteSocket;
pub use spec::{InterfaceName, PortKind, PortOptions, PortSpec, SpecError};
pub use sysctl::{quieten, set_sysctl};
