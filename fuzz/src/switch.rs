//! A switch with three workers: any sequence of operations leaves the fast path what the oracle says, byte for byte and
//! counter for counter.

use std::fmt::Write;

use crate::operations::{self, Op};

/// The first byte says whether there is a cache; operations follow, each of `OP_SIZE` bytes.
pub const HEAD: usize = 1;

pub fn switch(data: &[u8]) {
    let Some((&how, bytes)) = data.split_first() else { return };
    let cache_entries = if how & 1 == 0 { 64 } else { 0 };
    if let Err(mismatch) = operations::run(Op::read_all(bytes), cache_entries) {
        panic!("{mismatch}");
    }
}

pub fn describe(data: &[u8]) -> String {
    let mut text = String::new();
    for op in Op::read_all(data.get(HEAD..).unwrap_or_default()) {
        writeln!(text, "{op:?}").expect("a string takes everything");
    }
    text
}
