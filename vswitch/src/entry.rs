//! Flow entries as the tables hold them: what a walk asks of each, and behind it what flows have in common.

use std::sync::Arc;

use lookup::Index;
use openflow::Instruction;

use crate::step::Step;

/// What a flow entry makes of a frame: what a walk asks for at each table, and the rest.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Names the counters.
    pub id: Index,
    /// Unique for each way an entry ever was.
    pub stamp: u64,
    pub table: u8,
    pub goto: Option<u8>,
    /// Behind its steps the frame must be read again.
    pub rebuilds: bool,
    /// Later tables see the same key.
    pub keeps_key: bool,
    pub body: Arc<Body>,
}

impl Entry {
    pub(crate) fn new(id: Index, stamp: u64, table: u8, body: Arc<Body>) -> Self {
        Self {
            id,
            stamp,
            table,
            goto: body.goto,
            rebuilds: body.remarked || body.apply.iter().any(Step::rebuilds),
            keeps_key: body.metadata.1 == 0 && !body.apply.iter().any(Step::changes_key),
            body,
        }
    }
}

/// An entry in one word, unlike that of any other entry: what a worker needs to know its program without touching the
/// entry itself. Zero for an entry that goes on to another table, and for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leaf(pub u64);

impl Leaf {
    /// Bits of the slot of the entry's id; the rest is the end of its stamp.
    const SLOT_BITS: u32 = 24;

    pub(crate) fn of(entry: &Entry) -> Self {
        let slot = entry.id.slot() as u64;
        let fits = slot >> Self::SLOT_BITS == 0;
        Self(if entry.goto.is_none() && fits { entry.stamp << Self::SLOT_BITS | slot } else { 0 })
    }

    #[inline(always)]
    pub(crate) const fn slot(self) -> usize {
        (self.0 & ((1 << Self::SLOT_BITS) - 1)) as usize
    }

    #[inline(always)]
    pub(crate) const fn is_terminal(self) -> bool {
        self.0 != 0
    }
}

/// The part of an entry that comes from its instructions. Flows that do the same share one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Body {
    /// As the controller gave them.
    pub instructions: Box<[Instruction]>,
    /// A meter may have changed the DSCP before `apply`.
    pub remarked: bool,
    pub apply: Box<[Step]>,
    pub clear: bool,
    pub write: Box<[Step]>,
    /// New bits and which.
    pub metadata: (u64, u64),
    pub goto: Option<u8>,
}

impl Body {
    /// The same with the instructions it comes from.
    pub(crate) fn of(self, instructions: Vec<Instruction>) -> Self {
        Self { instructions: instructions.into(), ..self }
    }

    /// Without room for more actions.
    pub(crate) fn shrink(&mut self) {
        for instruction in &mut self.instructions {
            if let Instruction::ApplyActions(all) | Instruction::WriteActions(all) = instruction {
                all.shrink_to_fit();
            }
        }
    }
}
