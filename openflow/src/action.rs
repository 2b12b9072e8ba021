//! Actions and instructions (§5.9, §5.12, §7.2.4, §7.2.5).

use crate::{GroupId, MeterId, Oxm, PortNo, QueueId, TableId};

/// One action of a list or a set (§7.2.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send to a port. `max_len` bounds the bytes sent to the controller; [`crate::NO_BUFFER_LEN`] sends all of it.
    Output {
        /// A real port or a reserved one (see [`crate::ports`]).
        port: PortNo,
        /// Bytes to send when `port` is the controller.
        max_len: u16,
    },
    /// Copy the TTL from the next header outwards.
    CopyTtlOut,
    /// Copy the TTL from the outermost header inwards.
    CopyTtlIn,
    /// Set the TTL of the outermost MPLS shim header.
    SetMplsTtl(u8),
    /// Decrement the TTL of the outermost MPLS shim header.
    DecMplsTtl,
    /// Push a VLAN tag with this TPID (0x8100 or 0x88a8).
    PushVlan(u16),
    /// Remove the outermost VLAN tag.
    PopVlan,
    /// Push an MPLS shim header with this Ethertype (0x8847 or 0x8848).
    PushMpls(u16),
    /// Remove the outermost MPLS shim header; the frame gets this Ethertype.
    PopMpls(u16),
    /// Choose the queue of the port the frame will go to.
    SetQueue(QueueId),
    /// Process through a group.
    Group(GroupId),
    /// Set the IPv4 TTL or IPv6 hop limit.
    SetNwTtl(u8),
    /// Decrement the IPv4 TTL or IPv6 hop limit.
    DecNwTtl,
    /// Set a header field. The mask is always `None` in 1.3.
    SetField(Oxm),
    /// Push a PBB service tag with this Ethertype (0x88e7).
    PushPbb(u16),
    /// Remove the outermost PBB service tag.
    PopPbb,
    /// An action of an experimenter.
    Experimenter {
        /// Who defined it.
        experimenter: u32,
        /// What follows the experimenter id.
        data: Vec<u8>,
    },
    /// A type this version does not define: kept for the error reply (BAD_ACTION, BAD_TYPE).
    Unknown {
        /// The type on the wire.
        kind: u16,
        /// What follows type and length.
        data: Vec<u8>,
    },
}

impl Action {
    /// Output to a port that is not the controller.
    pub const fn output(port: PortNo) -> Self {
        Self::Output { port, max_len: 0 }
    }

    /// Send at most `max_len` bytes to the controller ([`crate::NO_BUFFER_LEN`]: all of them, unbuffered).
    pub const fn controller(max_len: u16) -> Self {
        Self::Output { port: crate::ports::CONTROLLER, max_len }
    }
}

/// What a flow does with its packets (§5.9, §7.2.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// Continue at a later table.
    GotoTable(TableId),
    /// Set the bits of `mask` of the metadata to those of `metadata`.
    WriteMetadata {
        /// The new bits.
        metadata: u64,
        /// The bits to change.
        mask: u64,
    },
    /// Merge into the action set.
    WriteActions(Vec<Action>),
    /// Apply at once, in order.
    ApplyActions(Vec<Action>),
    /// Empty the action set.
    ClearActions,
    /// Send through a meter first.
    Meter(MeterId),
    /// An instruction of an experimenter.
    Experimenter {
        /// Who defined it.
        experimenter: u32,
        /// What follows the experimenter id.
        data: Vec<u8>,
    },
    /// A type this version does not define: kept for the error reply (BAD_INSTRUCTION, UNKNOWN_INST).
    Unknown {
        /// The type on the wire.
        kind: u16,
        /// What follows type and length.
        data: Vec<u8>,
    },
}
