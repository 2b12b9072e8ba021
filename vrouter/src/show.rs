//! What a router shows of itself.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use conntrack::{Binding, Connection, Side};
use packet::{Instant, MacAddr, PortNo};

use crate::{FirewallAction, Prefix, RouteTarget, Traffic};

/// Where a route comes from, the most trusted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteSource {
    /// An address of the router itself.
    Local,
    /// The network of an interface's address.
    Connected,
    /// The configuration.
    Static,
    /// A routing protocol.
    Protocol,
}

/// A route in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    /// Its VRF; none is the one without a name.
    pub vrf: Option<String>,
    /// Destinations.
    pub to: Prefix,
    /// What happens; the interface is filled in for a gateway.
    pub target: RouteTarget,
    /// Where it comes from.
    pub source: RouteSource,
    /// Its metric.
    pub metric: u32,
    /// What went by it, if that is counted; of several routes to one prefix the best has it.
    pub counted: Option<Traffic>,
}

/// What is counted for a prefix, by whichever route to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixTraffic {
    /// Its VRF; none is the one without a name.
    pub vrf: Option<String>,
    /// Destinations.
    pub to: Prefix,
    /// What went there.
    pub counted: Traffic,
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// From the configuration.
    Static,
    /// Heard of lately.
    Reachable,
    /// Not heard of for a while; asked again when used.
    Stale,
    /// Being asked.
    Pending,
    /// Did not answer.
    Unreachable,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourInfo {
    /// Name of the interface.
    pub interface: String,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, if known.
    pub mac: Option<MacAddr>,
    /// What is known of it.
    pub state: NeighbourState,
}

/// A tracked connection, from the inside endpoint's point of view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// IP protocol number.
    pub protocol: u8,
    /// State in the words of the protocol.
    pub state: &'static str,
    /// Began inside; otherwise outside, by a port forward or an open binding.
    pub outbound: bool,
    /// Inside address and port or identifier.
    pub inside: (IpAddr, u16),
    /// What the outside sees instead.
    pub outside: (IpAddr, u16),
    /// The other end.
    pub remote: (IpAddr, u16),
    /// Time until it is forgotten if idle.
    pub expires_in: Duration,
}

impl ConnectionInfo {
    pub(crate) fn of(c: &Connection, now: Instant) -> Self {
        Self {
            protocol: c.protocol.0,
            state: c.state.name(),
            outbound: c.origin == Side::Inside,
            inside: (c.inside.addr, c.inside.port),
            outside: (c.outside.addr, c.outside.port),
            remote: (c.remote.addr, c.remote.port),
            expires_in: c.deadline.saturating_since(now),
        }
    }
}

/// A binding of an inside endpoint to an outside one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingInfo {
    /// IP protocol number.
    pub protocol: u8,
    /// Inside address and port or identifier.
    pub inside: (IpAddr, u16),
    /// Outside address and port or identifier.
    pub outside: (IpAddr, u16),
    /// From the configuration: a port forward.
    pub fixed: bool,
    /// Connections that use it.
    pub n_connections: u32,
}

impl BindingInfo {
    pub(crate) fn of(b: &Binding) -> Self {
        Self {
            protocol: b.protocol.0,
            inside: (b.inside.addr, b.inside.port),
            outside: (b.outside.addr, b.outside.port),
            fixed: false,
            n_connections: b.n_connections,
        }
    }
}

/// What a firewall rule has counted: packets that began a connection, or were denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its place; none: no rule matched.
    pub rule: Option<usize>,
    /// What it says.
    pub action: FirewallAction,
    /// Packets.
    pub n_packets: u64,
    /// Their bytes.
    pub n_bytes: u64,
    /// Of them, those beyond its limit.
    pub n_limited: u64,
}

/// How it stands with an address of a DHCP pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Offered to a client.
    Offered,
    /// A client has it.
    Bound,
    /// Somebody else has it: left alone for a while.
    Declined,
}

/// An address that a client has or is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    /// The address.
    pub address: Ipv4Addr,
    /// The client.
    pub mac: MacAddr,
    /// The name it gave.
    pub name: Option<String>,
    /// How it stands.
    pub state: LeaseState,
    /// Time until it ends.
    pub expires_in: Duration,
}

/// What a lease must be written down as, so that it outlives the router: [`Effect::Lease`](crate::Effect::Lease) tells of
/// each change, [`Router::restore_leases`](crate::Router::restore_leases) takes them in again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLease {
    /// The address.
    pub address: Ipv4Addr,
    /// What the client is known by (RFC 2131 §2): its identifier option, or hardware type and address. Empty: nobody has
    /// it any more.
    pub client: Vec<u8>,
    /// The client's station.
    pub mac: MacAddr,
    /// The name it gave.
    pub name: Option<String>,
    /// Bound or declined.
    pub state: LeaseState,
    /// When it ends.
    pub until: Instant,
}

/// What would happen to a frame, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub(crate) steps: Vec<String>,
    pub(crate) sent: Vec<(PortNo, Vec<u8>)>,
    pub(crate) lost: Option<&'static str>,
}

impl Trace {
    /// One line each; the last tells the outcome.
    pub fn steps(&self) -> &[String] {
        &self.steps
    }

    /// The frames that leave, from the destination MAC address on, and by which ports: several where a packet is cut, none
    /// where it is for the router itself or [lost](Self::lost).
    pub fn sent(&self) -> &[(PortNo, Vec<u8>)] {
        &self.sent
    }

    /// Why it neither leaves nor is for the router: the name of the [`Drop`](crate::Drop), or `waits for its neighbour`.
    pub fn lost(&self) -> Option<&'static str> {
        self.lost
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}
