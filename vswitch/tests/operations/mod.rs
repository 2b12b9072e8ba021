//! Random operations on a switch, and the rig that holds the fast path to the oracle while they are done. Shared by
//! the property tests here and by the fuzz targets (fuzz/src/switch.rs): both make operations from bytes, so that what
//! one finds the other can replay.

#![allow(dead_code, unused_imports, reason = "each of the crates that include this uses a part of it")]
#![allow(unreachable_pub, missing_docs, reason = "included, not linked")]

mod dice;
mod flows;
mod frames;
mod rig;

use openflow::{FlowMod, FlowModCommand, GroupMod, MeterMod, PortMod};

pub use dice::Dice;
pub use flows::{every_field, flow_mod, group_mod, meter_mod, port_mod, set_field};
pub use frames::{frame, partial};
pub use rig::{Mismatch, Rig};

pub const N_PORTS: u32 = 4;
pub const N_TABLES: u8 = 4;
pub const N_WORKERS: usize = 3;
/// Bytes of one operation: enough for the longest flow mod. What is left over is not read.
pub const OP_SIZE: usize = 64;
/// Most operations of one run.
pub const MAX_OPS: usize = 150;

/// One thing that happens to a switch.
#[derive(Clone, Debug)]
pub enum Op {
    Mod(FlowMod),
    Group(GroupMod),
    Meter(MeterMod),
    Port(PortMod),
    Frame {
        worker: usize,
        port: u32,
        bytes: Vec<u8>,
        repeat: usize,
    },
    /// The last frames come once more: what was cached of them may hold no longer.
    Again,
    /// The same to this worker, in one batch.
    Together(usize),
    /// The next so many changes come in one bundle.
    Bundle(u16),
    /// A controller asks to be told when all is done.
    Barrier,
    /// What the owner has to say is carried to the workers' queues.
    Carry,
    /// A worker does the next thing it was told.
    Obey(usize),
    /// One report reaches the owner.
    Report,
    /// All workers report what they counted.
    Idle,
    /// Everything is carried until nothing is left.
    Settle,
    /// Everything is carried, then so many milliseconds pass.
    Pass(u64),
}

impl Op {
    /// The operation that these bytes are; any bytes are one.
    pub fn read(bytes: &[u8]) -> Self {
        let mut dice = Dice::new(bytes);
        let worker = |dice: &mut Dice<'_>| dice.below(N_WORKERS as u16).into();
        match dice.below(43) {
            0 => Self::Carry,
            1..=9 => Self::Mod(flow_mod(&mut dice)),
            10..=21 => Self::Frame {
                worker: worker(&mut dice),
                port: 1 + u32::from(dice.below(N_PORTS as u16 + 1)),
                repeat: 1 + usize::from(dice.below(2)),
                bytes: frame(&mut dice),
            },
            22 => Self::Group(group_mod(&mut dice)),
            23 => Self::Port(port_mod(&mut dice)),
            24 => Self::Meter(meter_mod(&mut dice)),
            25..=27 => Self::Carry,
            28..=31 => Self::Obey(worker(&mut dice)),
            32..=33 => Self::Report,
            34 => Self::Idle,
            35 => Self::Settle,
            36 => Self::Barrier,
            37 => Self::Bundle(1 + dice.below(5)),
            38 => Self::Pass(dice.pick(&[100, 1, 1_000, 3_000])),
            39..=40 => Self::Together(worker(&mut dice)),
            _ => Self::Again,
        }
    }

    /// The operations of one run.
    pub fn read_all(bytes: &[u8]) -> impl Iterator<Item = Self> + '_ {
        bytes.chunks(OP_SIZE).take(MAX_OPS).map(Self::read)
    }
}

/// Makes many flows, so that every kind of table is met. Each number makes others.
pub fn many_flows(number: u8) -> impl Iterator<Item = Op> {
    const N_GROUPS: usize = 6;
    const N_MODS: usize = 160;
    let mut state = u64::from(number) + 1;
    let mut byte = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..N_MODS).map(move |n| {
        let bytes: [u8; OP_SIZE] = core::array::from_fn(|_| byte());
        let mut dice = Dice::new(&bytes);
        if n < N_GROUPS {
            return Op::Group(group_mod(&mut dice));
        }
        let (command, idle_timeout, hard_timeout) = (FlowModCommand::Add, 0, 0);
        Op::Mod(FlowMod { command, idle_timeout, hard_timeout, ..flow_mod(&mut dice) })
    })
}

/// Does all of it and looks at every counter at the end.
///
/// # Errors
/// With what the fast path did otherwise than the oracle.
pub fn run(ops: impl IntoIterator<Item = Op>, cache_entries: u32) -> Result<(), Mismatch> {
    run_in(Rig::new(cache_entries), ops)
}

/// The same in a rig.
///
/// # Errors
/// The same.
pub fn run_in(mut rig: Rig, ops: impl IntoIterator<Item = Op>) -> Result<(), Mismatch> {
    for op in ops {
        rig.run(op)?;
    }
    rig.settle()?;
    rig.check_counters()
}
