//! What owner and workers say to each other. The shell carries these and looks at none but [`RouterEvent`].

use core::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use packet::MacAddr;

use crate::fib::Fib;
use crate::neighbour::Heard;
use crate::service::{Punt, Say};
use crate::snapshot::Snapshot;
use crate::{Counters, FirewallAction, KeptLease, NeighbourState};

/// From the owner to a worker.
#[derive(Clone, Debug)]
pub struct Order(pub(crate) OrderKind);

#[derive(Clone, Debug)]
pub(crate) enum OrderKind {
    /// Forward by this from now on.
    Adopt(Snapshot),
    /// Look destinations up here from now on.
    Routes { generation: u64, fib: Arc<Fib> },
    /// Another worker heard from a neighbour.
    Learned(Learned),
    /// Another worker heard that someone else has an address of ours that was probed for.
    Refused { generation: u64, interface: u16, address: Ipv6Addr },
    /// Send this for a service.
    Say { generation: u64, say: Say },
    /// A host asked for a router; for the worker that advertises.
    RouterSolicited { generation: u64, interface: u16 },
}

/// A neighbour spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// The configuration in which the interface has its place.
    pub generation: u64,
    pub interface: u16,
    pub address: IpAddr,
    pub heard: Heard,
}

/// From a worker to the owner.
#[derive(Clone, Debug)]
pub struct Report(pub(crate) ReportKind);

#[derive(Clone, Debug)]
pub(crate) enum ReportKind {
    /// A neighbour spoke.
    Learned(Learned),
    /// A neighbour is being asked, or did not answer.
    Neighbour { generation: u64, interface: u16, address: IpAddr, state: NeighbourState },
    /// A host asked for a router (RFC 4861 §6.2.6).
    RouterSolicited { generation: u64, interface: u16 },
    /// Someone else has an address that was probed for (RFC 4862 §5.4.5).
    Refused { generation: u64, interface: u16, address: Ipv6Addr },
    /// A packet for a service.
    Service(Box<Punt>),
    /// The last snapshot or FIB was taken, the one before it given back.
    Adopted,
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
        address: IpAddr,
        /// The other station.
        mac: MacAddr,
    },
    /// New flows were refused: no port of an outside address is free.
    PortsExhausted,
    /// New flows were refused: the connection table is full.
    TableFull,
    /// A firewall rule that is to be logged has decided. At most some hundred a second are told.
    Firewall {
        /// Its place; none: no rule matched.
        rule: Option<usize>,
        /// What it said.
        action: FirewallAction,
        /// The interface of arrival.
        input: String,
        /// The interface of departure.
        out: String,
        /// IP protocol number.
        protocol: u8,
        /// Source address and port, or ICMP identifier.
        source: (IpAddr, u16),
        /// Destination address and port.
        destination: (IpAddr, u16),
    },
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
    /// Write down what has become of a lease, before the orders that follow tell its client.
    Lease(KeptLease),
    /// Tell people.
    Event(RouterEvent),
}
