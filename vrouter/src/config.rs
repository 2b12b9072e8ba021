//! What a router is told to be. Replaced as a whole; see [`Router::set_config`](crate::Router::set_config).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use conntrack::{Filtering, Limits, Sharing, Timers};
use packet::{MacAddr, PortNo, VlanId, nd};

use crate::Prefix;

mod firewall;
mod routes;
mod services;

pub use firewall::{FirewallAction, FirewallRule, GroupConfig, LiveFlows, RuleLimit};
pub use routes::{NextHop, PolicyRoute, RouteConfig, RouteTarget, VrfConfig};
pub use services::{DhcpHost, DhcpPool, DhcpRelay, DnsConfig};

/// A whole router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// Name, for people.
    pub name: String,
    /// Interfaces; names are unique, and so is each (port, VLAN).
    pub interfaces: Vec<InterfaceConfig>,
    /// What is to be said of VRFs; those that interfaces name need not be here.
    pub vrfs: Vec<VrfConfig>,
    /// Static routes. Connected networks need none.
    pub routes: Vec<RouteConfig>,
    /// Routes by more than the destination; the first that matches and leads somewhere wins over all others.
    pub policy_routes: Vec<PolicyRoute>,
    /// Prefixes whose packets are counted, each in its VRF (none: the one without a name), by whichever route to exactly
    /// this prefix they go; those of [`RouteConfig::counted`] beside.
    pub counted: Vec<(Option<String>, Prefix)>,
    /// Address translation.
    pub nat: Vec<NatRule>,
    /// Neighbours that are known without asking; they win over what is learned.
    pub neighbours: Vec<NeighbourConfig>,
    /// Addresses with names, for the firewall.
    pub groups: Vec<GroupConfig>,
    /// Rules for packets between interfaces, first match wins; see [`FirewallRule`].
    pub firewall: Vec<FirewallRule>,
    /// What becomes of packets that no rule matches.
    pub firewall_default: FirewallAction,
    /// What becomes of connections when rules change.
    pub live_flows: LiveFlows,
    /// Addresses for hosts.
    pub dhcp: Vec<DhcpPool>,
    /// Interfaces whose hosts get theirs from servers elsewhere.
    pub dhcp_relays: Vec<DhcpRelay>,
    /// Names for hosts.
    pub dns: DnsConfig,
    /// Numbers that rarely need a change.
    pub tuning: Tuning,
}

impl RouterConfig {
    /// A router with a name and nothing else.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            interfaces: Vec::new(),
            vrfs: Vec::new(),
            routes: Vec::new(),
            policy_routes: Vec::new(),
            counted: Vec::new(),
            nat: Vec::new(),
            neighbours: Vec::new(),
            groups: Vec::new(),
            firewall: Vec::new(),
            firewall_default: FirewallAction::Allow,
            live_flows: LiveFlows::default(),
            dhcp: Vec::new(),
            dhcp_relays: Vec::new(),
            dns: DnsConfig::default(),
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
    /// Whether TCP segments must lie in the windows that both ends have shown; a reset must fit exactly (RFC 5961).
    pub tcp_window: bool,
    /// Most connections in all, over all workers; none: as many as the router was made for.
    pub n_connections: Option<u32>,
    /// How many connections one source, and one VRF, may begin.
    pub limits: Limits,
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
            tcp_window: true,
            n_connections: None,
            limits: Limits::default(),
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

/// Which sources an interface takes packets from (RFC 3704 §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceCheck {
    /// Any.
    #[default]
    Off,
    /// Those that some route leads to.
    Loose,
    /// Those that a route by this very interface leads to.
    Strict,
}

/// What an interface says of itself to the hosts of its link (RFC 4861 §6.2.1, RFC 8106). Its IPv6 networks of 64 bits
/// are announced for autoconfiguration, the others as on-link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertConfig {
    /// Longest time between two; at least 4 s, at most 1800 s. A third of it is the shortest.
    pub interval: Duration,
    /// For how long hosts may take this for their default router; zero: not at all.
    pub lifetime: Duration,
    /// Addresses come from DHCPv6.
    pub managed: bool,
    /// Other configuration comes from DHCPv6.
    pub other: bool,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// Domains that names are looked up in.
    pub search: Vec<String>,
    /// Destinations that this router is to be used for, whoever is the default router (RFC 4191); at most 17.
    pub routes: Vec<AdvertRoute>,
}

/// A route that an interface tells hosts of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertRoute {
    /// Destinations, of IPv6.
    pub to: Prefix,
    /// Compared with routes of other routers.
    pub preference: nd::Preference,
    /// For how long it may be used without being heard of again.
    pub lifetime: Duration,
}

impl Default for AdvertConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(600),
            lifetime: Duration::from_secs(1800),
            managed: false,
            other: false,
            dns: Vec::new(),
            search: Vec::new(),
            routes: Vec::new(),
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
    /// The VRF it belongs to; none is the one without a name.
    pub vrf: Option<String>,
    /// The 802.1Q tag of its frames; none takes the untagged ones. With `inner_vlan` the service tag (802.1ad).
    pub vlan: Option<VlanId>,
    /// The customer tag behind the service tag.
    pub inner_vlan: Option<VlanId>,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Largest packet in bytes, IP header included; at least 68 (RFC 791).
    pub mtu: u16,
    /// Addresses with the length of their network.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Which sources it takes packets from.
    pub source_check: SourceCheck,
    /// Router advertisements; none: it sends none.
    pub advert: Option<AdvertConfig>,
    /// Whether the MSS that TCP connections through it offer is cut to what fits its MTU (RFC 4459 §3.2).
    pub clamp_mss: bool,
    /// The zone it belongs to, for the firewall.
    pub zone: Option<String>,
    /// Only stations that [`RouterConfig::neighbours`] names here may speak, each with its own address.
    pub known_only: bool,
    /// How much it takes in; none: everything.
    pub police: Option<Police>,
    /// Addresses elsewhere that the router answers ARP and solicitations for here, as long as it has a route to them by
    /// another interface (RFC 1027, RFC 4861 §7.2.8).
    pub proxy: Vec<Prefix>,
    /// The port to its shadow, an interface of a kernel where routing daemons run: what is for this router and nothing of
    /// it takes goes there, and what comes from there leaves by this interface. None: it has no shadow.
    pub shadow: Option<PortNo>,
}

/// A rate that what exceeds it is dropped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Police {
    /// Bits a second, Ethernet headers included, over all workers.
    pub rate: u64,
    /// Bytes at once.
    pub burst: u32,
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            port: None,
            vrf: None,
            vlan: None,
            inner_vlan: None,
            mac: MacAddr::ZERO,
            mtu: 1500,
            addresses: Vec::new(),
            source_check: SourceCheck::Off,
            advert: None,
            clamp_mss: false,
            zone: None,
            known_only: false,
            police: None,
            proxy: Vec::new(),
            shadow: None,
        }
    }
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
    /// What leaves by `out` gets that interface's first address as source, or one of a pool.
    Masquerade {
        /// Name of the interface.
        out: String,
        /// Only these sources; empty means all of IPv4.
        sources: Vec<Prefix>,
        /// Outside addresses instead of the interface's own; each inside address keeps to one of them (RFC 4787
        /// REQ-2).
        pool: Vec<IpAddr>,
        /// Whether inside endpoints may share an outside port.
        sharing: Sharing,
        /// Whether protocols without ports (GRE, ESP, SCTP and so on) hide too: one inside host at a time for each
        /// remote one and protocol.
        portless: bool,
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
        to: (IpAddr, u16),
        /// Only for connections from outside: those that the inside endpoint begins are masqueraded as others are.
        inbound_only: bool,
        /// The VRF of the inside endpoint; none is that of the interface.
        vrf: Option<String>,
    },
    /// What arrives at `input` for a port, whoever's, goes to another port of the same address, or to this router.
    Redirect {
        /// Name of the interface.
        input: String,
        /// TCP or UDP.
        protocol: Transport,
        /// The port.
        port: u16,
        /// The other port; none: to this router, under whatever address it was sent to.
        to: Option<u16>,
    },
    /// Ports of an outside address that no inside endpoint gets.
    Reserve {
        /// Name of the interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// First and last port.
        ports: (u16, u16),
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
    /// The MTU is too small for IPv4 (RFC 791 §3.2) or IPv6 (RFC 8200 §5).
    #[error("interfaces[{index}].mtu: {mtu} is less than {least}")]
    BadMtu {
        /// Position of the interface.
        index: usize,
        /// The MTU.
        mtu: u16,
        /// The smallest there may be: 68, with IPv6 addresses 1280.
        least: u16,
    },
    /// Router advertisements that RFC 4861 §6.2.1 does not allow.
    #[error("interfaces[{index}].advert: {reason}")]
    BadAdvert {
        /// Position of the interface.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A route leads to a VRF that no interface and no route before it is in.
    #[error("routes[{index}].to_vrf: no VRF \"{name}\"")]
    NoVrf {
        /// Position of the route.
        index: usize,
        /// The name.
        name: String,
    },
    /// A VRF has no name of its own, or a table that it cannot have.
    #[error("vrfs[{index}].{field}: {reason}")]
    BadVrf {
        /// Position of the VRF.
        index: usize,
        /// What is wrong.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// A prefix that is to be counted belongs to a VRF that there is not.
    #[error("counted_routes[{index}].vrf: no VRF \"{name}\"")]
    NoCountedVrf {
        /// Position of the prefix.
        index: usize,
        /// The name.
        name: String,
    },
    /// A route of no next hops, or of too many.
    #[error("routes[{index}].next_hops: {n_hops} next hops; 1 to 255 are possible")]
    BadGroup {
        /// Position of the route.
        index: usize,
        /// How many there are.
        n_hops: usize,
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
    /// A time that no connection can have.
    #[error("tracking.{field}: {reason}")]
    BadTimer {
        /// Which.
        field: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A translation rule cannot work.
    #[error("nat[{index}]: {reason}")]
    BadNat {
        /// Position of the rule.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A policy route cannot work.
    #[error("policy_routes[{index}]: {reason}")]
    BadPolicy {
        /// Position of the route.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A group of addresses cannot be.
    #[error("groups[{index}]: {reason}")]
    BadGroupOfAddresses {
        /// Position of the group.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A service cannot work.
    #[error("{place}: {reason}")]
    BadService {
        /// The service.
        place: String,
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
