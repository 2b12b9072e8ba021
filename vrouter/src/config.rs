//! What a router is told to be. Replaced as a whole; see [`Router::set_config`](crate::Router::set_config).

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use conntrack::{Filtering, Timers};
use packet::{MacAddr, PortNo, VlanId};

use crate::Prefix;

/// A whole router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// Name, for people.
    pub name: String,
    /// Interfaces; names are unique, and so is each (port, VLAN).
    pub interfaces: Vec<InterfaceConfig>,
    /// Static routes. Connected networks need none.
    pub routes: Vec<RouteConfig>,
    /// Address translation.
    pub nat: Vec<NatRule>,
    /// Neighbours that are known without asking; they win over what is learned.
    pub neighbours: Vec<NeighbourConfig>,
    /// Rules for forwarded and local packets, first match wins; see [`FirewallRule`].
    pub firewall: Vec<FirewallRule>,
    /// Numbers that rarely need a change.
    pub tuning: Tuning,
}

impl RouterConfig {
    /// A router with a name and nothing else.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            interfaces: Vec::new(),
            routes: Vec::new(),
            nat: Vec::new(),
            neighbours: Vec::new(),
            firewall: Vec::new(),
            tuning: Tuning::default(),
        }
    }
}

/// Timers and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Connection timers.
    pub timers: Timers,
    /// Who may send to a binding from outside (RFC 4787 §5).
    pub filtering: Filtering,
    /// Whether a TCP connection may begin with something else than a SYN.
    pub tcp_loose: bool,
    /// A neighbour that was not heard of for this long is asked again before it is used further.
    pub neighbour_reachable: Duration,
    /// Time between requests to an unresolved neighbour (RFC 1122 §2.3.2.1: at most one a second).
    pub neighbour_retry: Duration,
    /// Requests before the neighbour counts as unreachable.
    pub neighbour_tries: u8,
    /// Packets kept for each unresolved neighbour (RFC 1122 §2.3.2.2).
    pub neighbour_queue: usize,
    /// Most neighbours kept.
    pub n_neighbours: usize,
    /// ICMP errors a second that each worker may send.
    pub icmp_rate: u32,
    /// ICMP errors at once that each worker may send.
    pub icmp_burst: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            timers: Timers::default(),
            filtering: Filtering::AddressDependent,
            tcp_loose: true,
            neighbour_reachable: Duration::from_secs(60),
            neighbour_retry: Duration::from_secs(1),
            neighbour_tries: 3,
            neighbour_queue: 8,
            n_neighbours: 16_384,
            icmp_rate: 1000,
            icmp_burst: 64,
        }
    }
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Name, unique in the router.
    pub name: String,
    /// The port it sits on; none makes it a loopback, which only holds addresses.
    pub port: Option<PortNo>,
    /// The 802.1Q tag of its frames; none takes the untagged ones.
    pub vlan: Option<VlanId>,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Largest packet in bytes, IP header included; at least 68 (RFC 791).
    pub mtu: u16,
    /// Addresses with the length of their network.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// One static route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Destinations.
    pub to: Prefix,
    /// What happens to them.
    pub target: RouteTarget,
    /// Among routes to the same prefix the lowest wins. Connected networks have 0.
    pub metric: u32,
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
    /// Straight onto an interface.
    Interface(String),
    /// Dropped silently.
    Blackhole,
    /// Dropped with ICMP host unreachable.
    Unreachable,
    /// Dropped with ICMP communication administratively prohibited.
    Prohibit,
}

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One rule of address translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatRule {
    /// What leaves by `out` gets that interface's first address as source.
    Masquerade {
        /// Name of the interface.
        out: String,
        /// Only these sources; empty means all.
        sources: Vec<Prefix>,
    },
    /// What arrives for an address of `input` and `port` goes on to `to`.
    PortForward {
        /// Name of the interface whose addresses are meant.
        input: String,
        /// TCP or UDP.
        protocol: Transport,
        /// Outside port.
        port: u16,
        /// Inside endpoint.
        to: (Ipv4Addr, u16),
    },
    /// The outside address stands for the inside one, for every protocol and port.
    OneToOne {
        /// Name of the outside interface; the router answers ARP for `outside` there.
        interface: String,
        /// Outside address.
        outside: Ipv4Addr,
        /// Inside address.
        inside: Ipv4Addr,
    },
    /// Packets from one prefix to the other are not translated, whatever other rules say.
    Exempt {
        /// Sources.
        source: Prefix,
        /// Destinations.
        destination: Prefix,
    },
}

/// A neighbour that is known without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourConfig {
    /// Name of the interface.
    pub interface: String,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: MacAddr,
}

/// What a firewall rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirewallAction {
    /// Lets it pass.
    Allow,
    /// Drops it silently.
    Drop,
    /// Drops it and says so: ICMP administratively prohibited.
    Reject,
}

/// One rule for forwarded IPv4 packets. Fields that are empty match everything. Packets of a connection that was
/// let in at its first packet pass without being asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallRule {
    /// Name of the interface of arrival.
    pub input: Option<String>,
    /// Name of the interface of departure.
    pub out: Option<String>,
    /// Sources, before translation.
    pub source: Option<Prefix>,
    /// Destinations, after translation of port forwards.
    pub destination: Option<Prefix>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Destination ports, first and last.
    pub destination_ports: Option<(u16, u16)>,
    /// What happens.
    pub action: FirewallAction,
}

/// Why a configuration is refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Two interfaces have one name.
    #[error("interfaces[{index}].name: \"{name}\" is used twice")]
    DuplicateName {
        /// Position of the second.
        index: usize,
        /// The name.
        name: String,
    },
    /// Two interfaces take the same frames.
    #[error("interfaces[{index}]: port {port} with this VLAN already belongs to \"{other}\"")]
    DuplicatePort {
        /// Position of the second.
        index: usize,
        /// The port.
        port: PortNo,
        /// The interface that has it.
        other: String,
    },
    /// An address cannot be one of an interface.
    #[error("interfaces[{index}].addresses: {addr} cannot be the address of an interface")]
    BadAddress {
        /// Position of the interface.
        index: usize,
        /// The address.
        addr: IpAddr,
    },
    /// A prefix length is too long.
    #[error("interfaces[{index}].addresses: {source}")]
    BadLength {
        /// Position of the interface.
        index: usize,
        /// What is wrong with it.
        source: crate::PrefixError,
    },
    /// An address is on two interfaces.
    #[error("interfaces[{index}].addresses: {addr} is already on \"{other}\"")]
    DuplicateAddress {
        /// Position of the second interface.
        index: usize,
        /// The address.
        addr: IpAddr,
        /// The interface that has it.
        other: String,
    },
    /// The MAC is a group address or zero.
    #[error("interfaces[{index}].mac: {mac} cannot be the address of an interface")]
    BadMac {
        /// Position of the interface.
        index: usize,
        /// The address.
        mac: MacAddr,
    },
    /// The MTU is too small for IPv4 (RFC 791 §3.2).
    #[error("interfaces[{index}].mtu: {mtu} is less than 68")]
    BadMtu {
        /// Position of the interface.
        index: usize,
        /// The MTU.
        mtu: u16,
    },
    /// Something names an interface that is not there.
    #[error("{place}: no interface \"{name}\"{hint}")]
    NoInterface {
        /// The field.
        place: String,
        /// The name.
        name: String,
        /// What was perhaps meant, or empty.
        hint: String,
    },
    /// A gateway is in no connected network.
    #[error("routes[{index}].via: {gateway} is in no network of an interface")]
    GatewayUnreachable {
        /// Position of the route.
        index: usize,
        /// The gateway.
        gateway: IpAddr,
    },
    /// Gateway and destination are of different families.
    #[error("routes[{index}].via: {gateway} and {to} are of different families")]
    FamilyMismatch {
        /// Position of the route.
        index: usize,
        /// The gateway.
        gateway: IpAddr,
        /// The destination.
        to: Prefix,
    },
    /// A translation rule cannot work.
    #[error("nat[{index}]: {reason}")]
    BadNat {
        /// Position of the rule.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A firewall rule cannot work.
    #[error("firewall[{index}]: {reason}")]
    BadFirewall {
        /// Position of the rule.
        index: usize,
        /// Why.
        reason: String,
    },
}
