//! Connections and address bindings: who talks to whom, and under which outside address and port.
//!
//! Time and randomness are arguments; records have a fixed size and are found by index.

mod config;

pub use config::{Config, Filtering, Shard, Timers};
