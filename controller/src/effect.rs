//! What comes out of the controller.

use openflow::{BundleAdd, BundleFlags, Dpid, Message, Reply, Xid};
use packet::{MacAddr, VlanId};

use crate::blueprint::Change;
use crate::groups::GroupChange;
use crate::view::At;

/// All of it or nothing, in order (OpenFlow 1.4.1 §7.3.9.4).
pub(crate) const BUNDLE_FLAGS: BundleFlags = BundleFlags(BundleFlags::ATOMIC.0 | BundleFlags::ORDERED.0);

/// A connection of a switch; the shell gives the numbers, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// A request whose answer comes as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a message.
    Send {
        /// On which connection.
        conn: ConnId,
        /// Its transaction.
        xid: Xid,
        /// The message.
        message: Outgoing,
    },
    /// Close a connection; no `handle_disconnected` is needed, nor harmful.
    Close {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Tell whoever listens.
    Event(Event),
}

/// A message for a switch. Those that come in great numbers are made where they are written: to carry what they are made from is
/// cheaper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// Any.
    Message(Message),
    /// A flow mod, in this bundle if there is a number.
    Flow(Change, Option<u32>),
    /// A group mod likewise.
    Group(GroupChange, Option<u32>),
}

impl Outgoing {
    /// The message, whose transaction is `xid`.
    pub fn into_message(self, xid: Xid) -> Message {
        let (message, bundle) = match self {
            Self::Message(message) => return message,
            Self::Flow(change, bundle) => (Message::FlowMod(change.to_mod()), bundle),
            Self::Group(change, bundle) => (Message::GroupMod(change.to_mod()), bundle),
        };
        match bundle {
            Some(bundle) => {
                let message = Box::new(message);
                Message::BundleAdd(BundleAdd { bundle, flags: BUNDLE_FLAGS, xid, message })
            }
            None => message,
        }
    }
}

impl From<Message> for Outgoing {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

/// Why the controller closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The same switch connected again, and this connection gave no sign of life.
    #[error("the switch connected again, and nothing is heard on this connection")]
    Replaced,
    /// The switch is connected already, and that connection is alive.
    #[error("the switch is connected already")]
    Connected,
    /// It did not say who it is.
    #[error("no answer to the handshake in time")]
    Handshake,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A switch is there and may be programmed.
    SwitchUp(Dpid),
    /// Its connection is gone. It goes on forwarding.
    SwitchDown(Dpid),
    /// A switch without connection is given up: paths avoid it.
    SwitchRetired(Dpid),
    /// A link was discovered, in this direction.
    LinkUp(At, At),
    /// It is gone.
    LinkDown(At, At),
    /// A host was seen for the first time.
    HostSeen(VlanId, MacAddr, At),
    /// A host is at another port.
    HostMoved(VlanId, MacAddr, At),
    /// A new blueprint is being realised.
    Planned(u64),
    /// A switch confirmed this generation by a barrier.
    Confirmed(Dpid, u64),
    /// A switch refused a flow of the blueprint.
    Refused {
        /// The switch.
        dpid: Dpid,
        /// The intent the flow serves.
        label: String,
        /// In the switch's words.
        error: String,
    },
    /// Another controller is the master of this switch: it is changed no more over this connection.
    Demoted(Dpid),
    /// So many flows of the blueprint were missing in a switch, or there too many: somebody else changes them.
    Drifted(Dpid, usize),
    /// The answer to a request.
    Answer(Token, Result<Answer, RequestError>),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Statistics or descriptions, all parts together.
    Reply(Reply),
    /// The one message that answers another.
    Message(Box<Message>),
    /// The changes are done; the switch confirmed them by a barrier.
    Done,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The switch is not connected (any more).
    #[error("the switch is not connected")]
    NotConnected,
    /// The switch says no.
    #[error("the switch answers {0}")]
    Refused(String),
}

/// Counts of what was not done, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packet-ins that taught nothing: not from an edge port, or not a frame.
    pub useless_packet_ins: u64,
    /// Frames from a reserved address at a port that is not its own.
    pub spoofed: u64,
    /// Hosts not learned because there are too many.
    pub hosts_refused: u64,
    /// LLDP frames of other systems.
    pub foreign_lldp: u64,
    /// Discovery frames with a wrong tag, or cut short.
    pub bad_lldp: u64,
    /// Frames held for a chain whose destination never became known.
    pub held_dropped: u64,
    /// Answers to what policies reject that were too many.
    pub rejections_left_out: u64,
    /// Messages that were not expected.
    pub unexpected_messages: u64,
}

impl Counters {
    /// Every counter with its name.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("useless_packet_ins", self.useless_packet_ins),
            ("spoofed", self.spoofed),
            ("hosts_refused", self.hosts_refused),
            ("foreign_lldp", self.foreign_lldp),
            ("bad_lldp", self.bad_lldp),
            ("held_dropped", self.held_dropped),
            ("rejections_left_out", self.rejections_left_out),
            ("unexpected_messages", self.unexpected_messages),
        ]
    }
}
