//! What connections and bindings are.

use core::fmt;
use core::net::IpAddr;

use packet::{Instant, IpProtocol};

use crate::limits::Begun;
use crate::slab::Record;

/// An address with a port, or with an identifier for ICMP queries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Address.
    pub addr: IpAddr,
    /// Port or identifier; zero where there is none.
    pub port: u16,
}

impl Endpoint {
    /// Both parts.
    pub fn new(addr: impl Into<IpAddr>, port: u16) -> Self {
        Self { addr: addr.into(), port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::net::SocketAddr::new(self.addr, self.port).fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One of the two sides of a router that translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where addresses are hidden.
    Inside,
    /// The rest.
    Outside,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not TCP: packets seen from one side only.
    OneWay(Side),
    /// Not TCP: packets seen from both sides.
    BothWays,
    /// TCP: a SYN from this side.
    Opening(Side),
    /// TCP: first seen in mid-stream, from this side.
    Pickup(Side),
    /// TCP: both have sent SYN.
    Established,
    /// TCP: this side has sent FIN.
    Fin(Side),
    /// TCP: both have sent FIN.
    Closed,
    /// TCP: closed, and this side has sent SYN again.
    Reopening(Side),
    /// TCP: a reset was seen.
    Reset,
}

impl State {
    /// Its usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneWay(_) => "unreplied",
            Self::BothWays => "active",
            Self::Opening(_) => "opening",
            Self::Pickup(_) => "pickup",
            Self::Established => "established",
            Self::Fin(_) => "half-closed",
            Self::Closed => "closed",
            Self::Reopening(_) => "reopening",
            Self::Reset => "reset",
        }
    }

    /// May be pushed out by a new connection when the table is full (RFC 6888 REQ-11 spares the others).
    pub(crate) const fn is_transitory(self) -> bool {
        !matches!(self, Self::BothWays | Self::Established | Self::Fin(_))
    }
}

/// How packets of one side of a connection go under a configuration: what the whole walk through its rules found, so that
/// the next one needs no walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The configuration, in a circle: see [`Tracker::forget_passes`](crate::Tracker::forget_passes).
    pub config: u16,
    /// Where they come in.
    pub input: u16,
    /// Where they leave.
    pub out: u16,
}

/// One connection of one inside endpoint. On the inside its packets run between `inside` and `remote`, on the outside
/// between `outside` and `remote`; a connection that is not translated has `outside == inside`.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Separates tenants with overlapping addresses: where `inside` is.
    pub zone: u16,
    /// Where `outside` and `remote` are.
    pub outside_zone: u16,
    /// IP protocol.
    pub protocol: IpProtocol,
    /// Where it stands.
    pub state: State,
    /// Which side sent the first packet.
    pub origin: Side,
    /// The hidden end.
    pub inside: Endpoint,
    /// What the remote end sees of it.
    pub outside: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// When it is forgotten unless something comes.
    pub deadline: Instant,
    /// Packets from the inside and from the outside.
    pub n_packets: [u32; 2],
    /// Bytes from the inside and from the outside.
    pub n_bytes: [u64; 2],
    /// Both ends have spoken.
    pub(crate) answered: bool,
    pub(crate) dynamic: bool,
}

impl Connection {
    /// Its outside port was chosen for it; otherwise the outside endpoint comes from the configuration, or it is the
    /// inside one.
    pub const fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// The binding it has, which has so many.
    pub(crate) const fn binding(&self, n_connections: u32) -> Binding {
        let Self { zone, outside_zone, protocol, inside, outside, .. } = *self;
        Binding { zone, outside_zone, protocol, inside, outside, n_connections }
    }

    /// Who began it, and whether he still waits for an answer.
    pub const fn begun(&self) -> Begun {
        let (zone, source) = match self.origin {
            Side::Inside => (self.zone, self.inside.addr),
            Side::Outside => (self.outside_zone, self.remote.addr),
        };
        Begun { zone, source, is_embryonic: !self.answered }
    }
}

/// An inside endpoint and the outside endpoint it has for itself (endpoint-independent mapping, RFC 4787 REQ-1).
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Separates tenants with overlapping addresses: where `inside` is.
    pub zone: u16,
    /// Where `outside` is.
    pub outside_zone: u16,
    /// IP protocol.
    pub protocol: IpProtocol,
    /// The hidden endpoint.
    pub inside: Endpoint,
    /// What the outside sees.
    pub outside: Endpoint,
    /// Connections that use it. Zero: kept for its owner until its hold time ends.
    pub n_connections: u32,
}

/// An outside endpoint may be sent to from an address, because its owner has sent there (RFC 4787 §5). For addresses that
/// the binding does not know by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit {
    pub binding: u32,
    pub remote: IpAddr,
    pub n_connections: u32,
}

impl Record for Permit {
    fn is_live(&self) -> bool {
        self.n_connections != 0
    }
    fn clear(&mut self) {
        self.n_connections = 0;
    }
}
