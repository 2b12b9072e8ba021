//! What would happen to a frame, told table by table.

use core::fmt;

use openflow::{Cookie, Instruction, Match, PortNo, Priority, TableId};

use crate::DropReason;

/// One table a frame visited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceTable {
    /// The table.
    pub table: TableId,
    /// The entry that matched; none for a miss.
    pub entry: Option<TraceEntry>,
}

/// A flow entry in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEntry {
    /// Its priority.
    pub priority: Priority,
    /// Its cookie.
    pub cookie: Cookie,
    /// Which packets.
    pub matches: Match,
    /// What happens to them.
    pub instructions: Vec<Instruction>,
}

/// Where a frame, or a copy of it, went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceOutcome {
    /// Out of a port, with these bytes.
    Output {
        /// A real port.
        port: PortNo,
        /// The frame as it leaves.
        frame: Vec<u8>,
    },
    /// To the controller.
    Controller {
        /// Why.
        reason: openflow::PacketInReason,
        /// The table whose flow sent it.
        table: TableId,
    },
    /// Nowhere.
    Drop(DropReason),
}

/// What would happen to a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The port it came by.
    pub in_port: PortNo,
    /// The fields the switch read, as a match.
    pub fields: Match,
    /// The tables visited, in order; empty for a frame refused before.
    pub tables: Vec<TraceTable>,
    /// Where it went.
    pub outcomes: Vec<TraceOutcome>,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Flow: {:?}", self.fields)
    }
}
