//! A switch with three workers: any sequence of operations leaves the fast path what the oracle says, byte for byte and
//! counter for counter.

use std::fmt::Write;

use openflow::{Band, BandKind, MeterFlags, MeterId, MeterMod, MeterModCommand};

use crate::operations::{self, Op};

/// The first byte says whether there is a cache and which flows there are before; operations follow, each of `OP_SIZE`
/// bytes.
pub const HEAD: usize = 1;

pub fn switch(data: &[u8]) {
    let Some((&how, bytes)) = data.split_first() else { return };
    let cache_entries = if how & 1 == 0 { 64 } else { 0 };
    let before = (how & 2 != 0).then(|| meters().chain(operations::many_flows(how >> 2)));
    let before = before.into_iter().flatten();
    if let Err(mismatch) = operations::run(before.chain(Op::read_all(bytes)), cache_entries) {
        panic!("{mismatch}");
    }
}

/// The meters that flows ask for: slow ones, so that frames meet their ends.
fn meters() -> impl Iterator<Item = Op> {
    [(1, 1), (2, 10)].into_iter().map(|(number, rate)| {
        Op::Meter(MeterMod {
            command: MeterModCommand::Add,
            flags: MeterFlags::PKTPS | MeterFlags::BURST,
            meter: MeterId(number),
            bands: vec![Band { kind: BandKind::Drop, rate, burst: number }],
        })
    })
}

pub fn describe(data: &[u8]) -> String {
    let how = data.first().copied().unwrap_or_default();
    let mut text = String::new();
    if how & 2 != 0 {
        writeln!(text, "the flows of set {}, then", how >> 2).expect("a string takes everything");
    }
    for op in Op::read_all(data.get(HEAD..).unwrap_or_default()) {
        writeln!(text, "{op:?}").expect("a string takes everything");
    }
    text
}
