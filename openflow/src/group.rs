//! Groups (§5.6, §7.3.4.2, §7.3.5.9 to §7.3.5.11).

use core::time::Duration;

use crate::types::{flags, wire_enum};
use crate::{Action, GroupId, PortNo};

wire_enum! {
    /// What a group modification does (ofp_group_mod_command).
    GroupModCommand(u16) {
        /// Make a group.
        Add = 0,
        /// Replace the type and buckets of a group.
        Modify = 1,
        /// Delete one group, or all.
        Delete = 2,
    }
}

wire_enum! {
    /// How a group uses its buckets (ofp_group_type).
    GroupType(u8) {
        /// All of them.
        All = 0,
        /// One of them, by weight.
        Select = 1,
        /// The only one.
        Indirect = 2,
        /// The first live one.
        FastFailover = 3,
    }
}

/// One bucket of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Share of a select group; zero in the others.
    pub weight: u16,
    /// The port whose liveness decides; `None` if none does.
    pub watch_port: Option<PortNo>,
    /// The group whose liveness decides; `None` if none does.
    pub watch_group: Option<GroupId>,
    /// An action set.
    pub actions: Vec<Action>,
}

/// Adds, changes or deletes groups (§7.3.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMod {
    /// What to do.
    pub command: GroupModCommand,
    /// How the group uses its buckets.
    pub group_type: GroupType,
    /// Which group; [`GroupId::ALL`] only to delete.
    pub group: GroupId,
    /// Its buckets.
    pub buckets: Vec<Bucket>,
}

/// Counters of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketStats {
    /// Packets processed.
    pub packets: u64,
    /// Bytes processed.
    pub bytes: u64,
}

/// Counters of a group (§7.3.5.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStats {
    /// The group.
    pub group: GroupId,
    /// Flows and groups that refer to it.
    pub ref_count: u32,
    /// Packets processed.
    pub packets: u64,
    /// Bytes processed.
    pub bytes: u64,
    /// How long it has existed.
    pub duration: Duration,
    /// One for each bucket.
    pub buckets: Vec<BucketStats>,
}

/// A group as configured (§7.3.5.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDesc {
    /// How it uses its buckets.
    pub group_type: GroupType,
    /// The group.
    pub group: GroupId,
    /// Its buckets.
    pub buckets: Vec<Bucket>,
}

flags! {
    /// What groups can do (ofp_group_capabilities).
    GroupCapabilities(u32) {
        /// Weights of select groups count.
        SELECT_WEIGHT = 1, "select_weight";
        /// Liveness of select groups counts.
        SELECT_LIVENESS = 2, "select_liveness";
        /// Groups may use groups.
        CHAINING = 4, "chaining";
        /// Loops of groups are refused.
        CHAINING_CHECKS = 8, "chaining_checks";
    }
}

/// What the switch can do with groups (§7.3.5.11). Arrays are indexed by group type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupFeatures {
    /// Bit n: group type n is supported.
    pub types: u32,
    /// What they can do.
    pub capabilities: GroupCapabilities,
    /// Most groups of each type.
    pub max_groups: [u32; 4],
    /// Bit n: action type n may be used in groups of each type.
    pub actions: [u32; 4],
}
