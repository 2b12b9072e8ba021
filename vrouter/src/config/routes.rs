//! Routes that are told, and the VRFs they are in.

use core::net::IpAddr;

use crate::Prefix;

/// A VRF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrfConfig {
    /// Its name, unique and not empty.
    pub name: String,
    /// The kernel's table whose routes are its own where a routing daemon tells of them; none: the number that is its name.
    pub table: Option<u32>,
}

/// One static route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// The VRF it is in; none is the one without a name.
    pub vrf: Option<String>,
    /// Destinations.
    pub to: Prefix,
    /// What happens to them.
    pub target: RouteTarget,
    /// Among routes to the same prefix the lowest wins. Connected networks have 0.
    pub metric: u32,
    /// The packets to this prefix are counted. A route of a routing protocol is counted by [`RouterConfig::counted`](super::RouterConfig::counted) alone.
    pub counted: bool,
}

impl RouteConfig {
    /// A route of metric 0 in the VRF without a name.
    pub const fn new(to: Prefix, target: RouteTarget) -> Self {
        Self { vrf: None, to, target, metric: 0, counted: false }
    }
}

/// A route for packets that match, but never for those to this router itself. Fields that are empty match everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRoute {
    /// Name of the interface of arrival.
    pub input: Option<String>,
    /// Sources, before translation.
    pub source: Option<Prefix>,
    /// Destinations, after translation of port forwards.
    pub destination: Option<Prefix>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Destination ports, first and last; fragments and protocols without ports do not match.
    pub destination_ports: Option<(u16, u16)>,
    /// What happens: to another VRF, to a gateway, or nowhere.
    pub target: RouteTarget,
}

/// One of several next routers that share the traffic of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Its address.
    pub gateway: IpAddr,
    /// The interface it is reached by; none takes the one whose network holds the gateway.
    pub interface: Option<String>,
    /// Its share, in proportion to the others'.
    pub weight: u16,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// To the next router.
    Via {
        /// Its address.
        gateway: IpAddr,
        /// The interface it is reached by; none takes the one whose network holds the gateway.
        interface: Option<String>,
    },
    /// To several next routers, each flow to one of them.
    Group(Vec<NextHop>),
    /// Straight onto an interface.
    Interface(String),
    /// Looked up again in another VRF; an empty name is the one without a name.
    Vrf(String),
    /// Dropped silently.
    Blackhole,
    /// Dropped with ICMP host (IPv6: address) unreachable.
    Unreachable,
    /// Dropped with ICMP communication administratively prohibited.
    Prohibit,
}
