//! Bundles: messages that take effect together (1.4 §6.8, §7.3.9).

use crate::types::{flags, wire_enum};
use crate::{Message, Xid};

flags! {
    /// How a bundle takes effect (ofp_bundle_flags).
    BundleFlags(u16) {
        /// All of it or nothing.
        ATOMIC = 1, "atomic";
        /// In the order in which it was built.
        ORDERED = 2, "ordered";
    }
}

wire_enum! {
    /// What happens to a bundle (ofp_bundle_ctrl_type).
    BundleControlKind(u16) {
        /// Begin it.
        OpenRequest = 0,
        /// It has begun.
        OpenReply = 1,
        /// Let nothing more in.
        CloseRequest = 2,
        /// Nothing more comes in.
        CloseReply = 3,
        /// Let it take effect.
        CommitRequest = 4,
        /// It has taken effect.
        CommitReply = 5,
        /// Forget it.
        DiscardRequest = 6,
        /// It is forgotten.
        DiscardReply = 7,
    }
}

/// Opens, closes, commits or discards a bundle (1.4 §7.3.9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleControl {
    /// The bundle, by a number of the controller's.
    pub bundle: u32,
    /// What happens to it.
    pub kind: BundleControlKind,
    /// How it takes effect.
    pub flags: BundleFlags,
}

/// Puts a message into a bundle (1.4 §7.3.9.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleAdd {
    /// The bundle.
    pub bundle: u32,
    /// As when it was opened.
    pub flags: BundleFlags,
    /// Transaction of the message; the standard wants that of the message that carries it.
    pub xid: Xid,
    /// The message, never itself one of a bundle.
    pub message: Box<Message>,
}
