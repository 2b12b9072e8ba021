//! What owner, workers and shell say to each other.

use openflow::{Message, Xid};

use crate::datapath::{OrderKind, ReportKind};

/// A connection to a controller or tool, numbered by the shell; never reused while the switch lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// From the owner to a worker. Orders reach a worker in the order they were given.
#[derive(Clone, Debug)]
pub struct Order(pub(crate) OrderKind);

/// From a worker to the owner. Reports reach the owner in the order they were made.
#[derive(Debug)]
pub struct Report(pub(crate) ReportKind);

/// What the owner wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a message.
    Send {
        /// To whom.
        conn: ConnId,
        /// Of the request, or one the session chooses if zero.
        xid: Xid,
        /// What.
        message: Message,
    },
    /// Carry an order to one worker, or to all.
    Order {
        /// The worker; none means each of them.
        worker: Option<usize>,
        /// The order.
        order: Order,
    },
}
