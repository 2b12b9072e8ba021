//! Actions and instructions (§5.9, §5.12, §7.2.4, §7.2.5).

use core::net::Ipv4Addr;

use crate::oxm::VID_PRESENT;
use crate::{Field, GroupId, MeterId, Oxm, PortNo, QueueId, TableId};

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
    /// Change a header as 1.0 does.
    Rewrite(Rewrite),
    /// Send to a port through one of its queues; actions behind it do not feel the queue (1.0).
    Enqueue {
        /// A real port, or the one the frame came by.
        port: PortNo,
        /// A queue of that port.
        queue: QueueId,
    },
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

/// A change of a header as 1.0 has it (1.0.1 §5.2.4): without prerequisites. A frame that lacks the header stays as it
/// is; only setting a VLAN adds a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rewrite {
    /// Set the VLAN id, at most 4095. An untagged frame gets a tag with priority zero.
    VlanVid(u16),
    /// Set the VLAN priority, at most 7. An untagged frame gets a tag with VLAN id zero.
    VlanPcp(u8),
    /// Set the IPv4 source.
    Ipv4Src(Ipv4Addr),
    /// Set the IPv4 destination.
    Ipv4Dst(Ipv4Addr),
    /// Set the DSCP, at most 63.
    IpDscp(u8),
    /// Set the source port of TCP, UDP or SCTP.
    PortSrc(u16),
    /// Set the destination port of TCP, UDP or SCTP.
    PortDst(u16),
}

impl Rewrite {
    /// The fields it sets, of which a frame has one at most.
    pub fn fields(self) -> Vec<Oxm> {
        let all = |fields: &[Field], value: u128| fields.iter().map(|&f| Oxm::new(f, value)).collect();
        match self {
            Self::VlanVid(vid) => all(&[Field::VlanVid], (vid | VID_PRESENT).into()),
            Self::VlanPcp(pcp) => all(&[Field::VlanPcp], pcp.into()),
            Self::Ipv4Src(addr) => all(&[Field::Ipv4Src], addr.to_bits().into()),
            Self::Ipv4Dst(addr) => all(&[Field::Ipv4Dst], addr.to_bits().into()),
            Self::IpDscp(dscp) => all(&[Field::IpDscp], dscp.into()),
            Self::PortSrc(port) => all(&[Field::TcpSrc, Field::UdpSrc, Field::SctpSrc], port.into()),
            Self::PortDst(port) => all(&[Field::TcpDst, Field::UdpDst, Field::SctpDst], port.into()),
        }
    }

    /// It adds a tag to frames that have none.
    pub const fn tags(self) -> bool {
        matches!(self, Self::VlanVid(_) | Self::VlanPcp(_))
    }
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
