//! Views and values for every header; checksums; addresses; time; frames, batches and pools.
//!
//! This crate knows bytes. It must never know tables, ports of the kernel, or what a frame is for.
//!
//! Every header has a module of the same shape: `View` borrows bytes and reads them, `ViewMut` changes them in place,
//! `Header` (or `Packet`, `Message`) is a value with `parse` and `emit`. Bounds are checked once, in `parse`; after
//! that no accessor can panic, whatever the bytes.

pub mod arp;
pub mod build;
pub mod checksum;
pub mod crc32c;
pub mod ethernet;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod layout;
pub mod nd;
pub mod offload;
pub mod tcp;
pub mod udp;
pub mod vlan;

mod addr;
mod bytes;
mod error;
mod frame;
mod number;
mod outputs;
mod time;

pub use addr::{AddrError, MacAddr, PortNo, VlanId};
pub use error::{EmitError, Layer, ParseError};
pub use frame::{
    Batch, CsumPartial, Frame, Gso, GsoKind, HEAD_SIZE, HEADROOM, MAX_BATCH, MAX_HOPS, Meta, NoRoom, Pool,
    PoolConfig, PoolStats, TAIL_SIZE,
};
pub use number::{EtherType, IpProtocol};
pub use outputs::{Outputs, TakeAll};
pub use time::Instant;
