//! Views and values for every header; checksums; addresses; time; frames, batches and pools.
//!
//! This crate knows bytes. It must never know tables, ports of the kernel, or what a frame is for.

mod addr;
mod frame;
mod time;

pub use addr::{AddrError, MacAddr, PortNo, VlanId};
pub use frame::{
    Batch, CsumPartial, Frame, Gso, GsoKind, HEAD_SIZE, HEADROOM, MAX_BATCH, MAX_HOPS, Meta, NoRoom, Outputs,
    Pool, PoolConfig, PoolStats, TAIL_SIZE,
};
pub use time::Instant;
