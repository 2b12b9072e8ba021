//! Flow modifications and removals (§6.4, §7.3.4.1, §7.4.2).

use core::time::Duration;

use crate::types::{flags, wire_enum};
use crate::{BufferId, Cookie, GroupId, Instruction, Match, PortNo, Priority, TableId};

wire_enum! {
    /// What a flow modification does (ofp_flow_mod_command).
    FlowModCommand(u8) {
        /// Add a flow, replacing one with the same match and priority.
        Add = 0,
        /// Change the instructions of every flow the match covers.
        Modify = 1,
        /// Change the instructions of the one flow with this match and priority.
        ModifyStrict = 2,
        /// Delete every flow the match covers.
        Delete = 3,
        /// Delete the one flow with this match and priority.
        DeleteStrict = 4,
    }
}

flags! {
    /// Flags of a flow (ofp_flow_mod_flags).
    FlowModFlags(u16) {
        /// Tell the controller when the flow goes.
        SEND_FLOW_REM = 1, "send_flow_rem";
        /// Refuse the flow if it overlaps one of the same priority.
        CHECK_OVERLAP = 2, "check_overlap";
        /// Counters start at zero, also when a flow is replaced or modified.
        RESET_COUNTS = 4, "reset_counts";
        /// Packets need not be counted.
        NO_PKT_COUNTS = 8, "no_packet_counts";
        /// Bytes need not be counted.
        NO_BYT_COUNTS = 16, "no_byte_counts";
    }
}

/// Adds, changes or deletes flows (§7.3.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMod {
    /// What to do.
    pub command: FlowModCommand,
    /// Where; [`TableId::ALL`] only for deletions.
    pub table: TableId,
    /// Of the new flow; for modify and delete, the value the flow's cookie has under `cookie_mask`.
    pub cookie: Cookie,
    /// Restricts modify and delete to flows whose cookie equals `cookie` in these bits; zero for no restriction.
    pub cookie_mask: u64,
    /// Precedence, highest first.
    pub priority: Priority,
    /// Seconds without a packet after which the flow goes; zero for never.
    pub idle_timeout: u16,
    /// Seconds after which the flow goes; zero for never.
    pub hard_timeout: u16,
    /// A buffered packet to send through the flow.
    pub buffer: Option<BufferId>,
    /// Restricts deletions to flows that output to this port.
    pub out_port: Option<PortNo>,
    /// Restricts deletions to flows that use this group.
    pub out_group: Option<GroupId>,
    /// A modification that finds no flow adds one, and those it finds get its cookie too (1.0).
    pub upsert: bool,
    /// Flags of the flow.
    pub flags: FlowModFlags,
    /// Eviction precedence (1.4 and later; zero before).
    pub importance: u16,
    /// Which packets.
    pub matches: Match,
    /// What happens to them.
    pub instructions: Vec<Instruction>,
}

impl Default for FlowMod {
    /// Adds a flow of table 0 that matches everything, with ovs-ofctl's default priority, and drops it.
    fn default() -> Self {
        Self {
            command: FlowModCommand::Add,
            table: TableId(0),
            cookie: Cookie(0),
            cookie_mask: 0,
            priority: Priority::DEFAULT,
            idle_timeout: 0,
            hard_timeout: 0,
            buffer: None,
            out_port: None,
            out_group: None,
            upsert: false,
            flags: FlowModFlags::NONE,
            importance: 0,
            matches: Match::default(),
            instructions: Vec::new(),
        }
    }
}

impl FlowMod {
    /// Adds a flow without timeouts or flags.
    pub fn add(table: TableId, priority: Priority, matches: Match, instructions: Vec<Instruction>) -> Self {
        Self { table, priority, matches, instructions, ..Self::default() }
    }

    /// Deletes the one flow with this table, priority and match.
    pub fn delete_strict(table: TableId, priority: Priority, matches: Match) -> Self {
        Self { command: FlowModCommand::DeleteStrict, table, priority, matches, ..Self::default() }
    }

    /// Deletes every flow of every table.
    pub fn delete_all() -> Self {
        Self { command: FlowModCommand::Delete, table: TableId::ALL, ..Self::default() }
    }
}

wire_enum! {
    /// Why a flow went (ofp_flow_removed_reason).
    FlowRemovedReason(u8) {
        /// No packet for the idle timeout.
        IdleTimeout = 0,
        /// The hard timeout passed.
        HardTimeout = 1,
        /// Deleted by a flow modification.
        Delete = 2,
        /// Its group was deleted.
        GroupDelete = 3,
        /// Its meter was deleted (1.4).
        MeterDelete = 4,
        /// Evicted to make room (1.4).
        Eviction = 5,
    }
}

/// A flow is gone (§7.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRemoved {
    /// Of the flow.
    pub cookie: Cookie,
    /// Of the flow.
    pub priority: Priority,
    /// Why it went.
    pub reason: FlowRemovedReason,
    /// Where it was.
    pub table: TableId,
    /// How long it was installed.
    pub duration: Duration,
    /// Seconds, as installed.
    pub idle_timeout: u16,
    /// Seconds, as installed.
    pub hard_timeout: u16,
    /// Packets it saw.
    pub packets: u64,
    /// Bytes it saw.
    pub bytes: u64,
    /// Which packets it matched.
    pub matches: Match,
}
