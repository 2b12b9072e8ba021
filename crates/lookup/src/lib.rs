//! Exact hash with keyed hashing and bounded probes, longest prefix match, general classifier, slabs.
//!
//! The cost of a look-up is bounded by what was inserted, never by the keys that are looked up. Keys are slices of
//! words; what they mean is the caller's.

mod blocks;
mod classifier;
mod direct;
mod exact;
mod lpm;
mod pages;
mod ranges;
mod rule;
mod secret;
mod sieve;
mod slab;
mod tags;

pub use classifier::{Classifier, Hit};
pub use exact::ExactMap;
pub use lpm::{Address, Lpm};
pub use rule::{Cond, Conds, Masks, Rule};
pub use secret::{Secret, mix};
pub use slab::{Index, Slab};
