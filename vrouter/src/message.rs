//! What owner and workers say to each other. The shell carries these and looks at none but [`RouterEvent`].

use core::net::Ipv4Addr;
use std::sync::Arc;

use packet::MacAddr;

use crate::snapshot::Snapshot;
use crate::{Counters, NeighbourState};

/// From the owner to a worker.
#[derive(Clone, Debug)]
pub struct Order(pub(crate) OrderKind);

#[derive(Clone, Debug)]
pub(crate) enum OrderKind {
    /// Forward by this from now on.
    Adopt(Arc<Snapshot>),
    /// Another worker heard from a neighbour.
    Learned(Learned),
}

/// A neighbour spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// The configuration in which the interface has its place.
    pub generation: u64,
    pub interface: u16,
    pub address: Ipv4Addr,
    pub mac: MacAddr,
}

/// From a worker to the owner.
#[derive(Clone, Debug)]
pub struct Report(pub(crate) ReportKind);

#[derive(Clone, Debug)]
pub(crate) enum ReportKind {
    /// A neighbour spoke.
    Learned(Learned),
    /// A neighbour is being asked, or did not answer.
    Neighbour { generation: u64, interface: u16, address: Ipv4Addr, state: NeighbourState },
    /// Everything counted since the worker began.
    Counters(Box<Counters>),
    /// Something people should know.
    Event(RouterEvent),
}

/// Something people should know; for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterEvent {
    /// Another station uses an address of this router (RFC 5227 §2.4).
    DuplicateAddress {
        /// The interface.
        interface: String,
        /// The address.
        address: Ipv4Addr,
        /// The other station.
        mac: MacAddr,
    },
    /// New flows were refused: no port of an outside address is free.
    PortsExhausted,
    /// New flows were refused: the connection table is full.
    TableFull,
}

/// What the owner wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Carry an order to one worker, or to all.
    Order {
        /// The worker; none means each of them.
        worker: Option<usize>,
        /// The order.
        order: Order,
    },
    /// Tell people.
    Event(RouterEvent),
}
