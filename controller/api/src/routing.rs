//! Parts of a router's configuration: next hops, advertisements, rules of translation and of the firewall.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::intent::RouteType;
use crate::text::{Cidr, Mac, Rate};

/// One of several next routers that share the traffic of a route, each flow going to one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NextHop {
    /// Its address.
    #[schema(value_type = String)]
    pub via: IpAddr,
    /// Name of the interface it is reached by; absent: the one whose network holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Its share, in proportion to the others'; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub weight: Option<u16>,
}

/// Which sources an interface takes packets from (RFC 3704).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceCheck {
    /// Any.
    #[default]
    Off,
    /// Those that some route leads to.
    Loose,
    /// Those that a route by this interface leads to.
    Strict,
}

impl SourceCheck {
    pub(crate) fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// Router advertisements of an interface (RFC 4861, RFC 8106). Its IPv6 networks of 64 bits are announced for
/// autoconfiguration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Advert {
    /// Longest time between two in seconds, 4 to 1800; absent: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 1800))]
    #[schema(minimum = 4, maximum = 1800)]
    pub interval: Option<u32>,
    /// Seconds for which hosts may take it for their default router, 0 for not at all; absent: 1800.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9000))]
    #[schema(maximum = 9000)]
    pub lifetime: Option<u32>,
    /// Addresses come from DHCPv6.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub managed: bool,
    /// Other configuration comes from DHCPv6.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub dns: Vec<Ipv6Addr>,
    /// Domains that names are looked up in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Destinations that this router is to be used for, whoever is the default router (RFC 4191).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<AdvertRoute>,
}

/// A route that router advertisements tell hosts of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdvertRoute {
    /// Destinations, of IPv6.
    pub to: Cidr,
    /// How it compares with routes of other routers.
    #[serde(default, skip_serializing_if = "Preference::is_medium")]
    pub preference: Preference,
    /// Seconds for which hosts may use it without hearing of it again; absent: 1800.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u32>,
}

/// How a router compares with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preference {
    /// Used where there is no other.
    Low,
    /// Neither.
    #[default]
    Medium,
    /// Used before others.
    High,
}

impl Preference {
    fn is_medium(&self) -> bool {
        *self == Self::Medium
    }
}

/// An outside address that stands for an inside one, for every protocol and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OneToOne {
    /// Name of the outside interface; the router answers ARP for the outside address there.
    pub interface: String,
    /// Outside address.
    #[schema(value_type = String)]
    pub outside: Ipv4Addr,
    /// Inside address.
    #[schema(value_type = String)]
    pub inside: Ipv4Addr,
}

/// Packets from one network to another that are left alone, whatever other rules say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exemption {
    /// Sources.
    pub from: Cidr,
    /// Destinations.
    pub to: Cidr,
}

/// Whether inside endpoints may share an outside port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Each inside endpoint has a port for itself, whomever it talks to.
    #[default]
    Independent,
    /// The same until no port is free; then connections share ports where their destinations differ.
    Overload,
    /// A port for each connection, shared where the destinations differ.
    Dependent,
}

impl Sharing {
    pub(crate) fn is_independent(&self) -> bool {
        *self == Self::Independent
    }
}

/// Ports of an outside address that no inside endpoint gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservedPorts {
    /// Name of the outside interface.
    pub interface: String,
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// A port, or the first and last of several such as `8000-8080`.
    pub ports: String,
}

/// How many connections may be begun at a time; absent: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// By one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub per_source: Option<u32>,
    /// By one address in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub rate_per_source: Option<u32>,
    /// By one address, as long as the other end has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub embryonic_per_source: Option<u32>,
    /// In one VRF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub per_vrf: Option<u32>,
}

impl Limits {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How connections are tracked, where they are: with translation or firewall rules. Times are seconds without a packet,
/// from 1 to 2,592,000 (30 days).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracking {
    /// UDP; absent: 300 (RFC 4787 REQ-5 asks for at least 120).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub udp: Option<u32>,
    /// TCP while it opens, closes or was reset; absent: 240 (RFC 5382 REQ-5 asks for at least that).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub tcp_transitory: Option<u32>,
    /// TCP when established; absent: 7440 (RFC 5382 REQ-5 asks for at least that).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub tcp_established: Option<u32>,
    /// ICMP queries; absent: 60 (RFC 5508 REQ-2 asks for at least that).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub icmp: Option<u32>,
    /// Other protocols; absent: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub other: Option<u32>,
    /// How long an outside port of UDP that became free waits for another host, 0 for not at all; absent: 120
    /// (RFC 6888 REQ-8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2_592_000))]
    #[schema(maximum = 2_592_000)]
    pub port_hold: Option<u32>,
    /// Whether a TCP connection may begin with something else than a SYN; absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_loose: Option<bool>,
    /// Whether TCP segments must lie in the windows that both ends have shown; absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_window: Option<bool>,
    /// Who may send from outside to a port that a host of the inside has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtering: Option<Filtering>,
}

impl Tracking {
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Who may send to a port of the outside that a host of the inside has (RFC 4787 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// Anybody.
    EndpointIndependent,
    /// Addresses that the host has sent to. So it is where nothing is said.
    AddressDependent,
    /// Addresses and ports that the host has sent to.
    AddressAndPortDependent,
}

/// A route for packets that match, but never for those to the router itself. The first that matches and leads somewhere
/// wins over all other routes; what is left out matches everything. Give `via`, `to_vrf` or `type: blackhole`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRoute {
    /// Name of the interface of arrival.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Sources, as before translation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cidr>,
    /// Destinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Cidr>,
    /// `tcp`, `udp`, `icmp`, `icmpv6` or a number from 0 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Destination port, or the first and last of several such as `8000-8080`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// Next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub via: Option<IpAddr>,
    /// The VRF that the destination is looked up in; empty for the one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_vrf: Option<String>,
    /// What happens to packets that take it.
    #[serde(default, rename = "type", skip_serializing_if = "RouteType::is_unicast")]
    pub kind: RouteType,
}

/// A station that is known without asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticNeighbour {
    /// Name of the interface.
    pub interface: String,
    /// Its address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: Mac,
}

/// How much an interface takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Police {
    /// Bits a second.
    pub rate: Rate,
    /// Bytes at once; absent: what the rate comes to in 100 ms, at least 15000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1500))]
    #[schema(minimum = 1500)]
    pub burst: Option<u32>,
}

/// Addresses with a name that firewall rules may speak of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressGroup {
    /// The name.
    pub name: String,
    /// Addresses and networks.
    #[serde(default)]
    pub members: Vec<Cidr>,
    /// Groups before this one whose members belong to it, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// What becomes of connections that began under other firewall rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LiveFlows {
    /// Those that the new rules would not let begin end.
    #[default]
    Recheck,
    /// They go on.
    Keep,
}

impl LiveFlows {
    pub(crate) fn is_recheck(&self) -> bool {
        *self == Self::Recheck
    }
}

/// How many connections a rule lets begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleLimit {
    /// A second.
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub rate: u32,
    /// At once; absent: as many as in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub burst: Option<u32>,
}

/// A rule for packets between interfaces that begin a connection; the first that matches decides, and packets of a
/// connection that was let in pass. What is left out matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirewallRule {
    /// Name of the interface of arrival.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Name of the interface of departure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// Zone of the interface of arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_zone: Option<String>,
    /// Zone of the interface of departure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_zone: Option<String>,
    /// Sources, as before translation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cidr>,
    /// Sources by the name of their group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_group: Option<String>,
    /// Destinations, as after translation by port forwards and one-to-one rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Cidr>,
    /// Destinations by the name of their group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_group: Option<String>,
    /// `tcp`, `udp`, `icmp`, `icmpv6` or a number from 0 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Destination port, or the first and last of several such as `8000-8080`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// What happens.
    pub action: FirewallAction,
    /// How many connections it lets begin; what exceeds it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<RuleLimit>,
    /// Write packets that it decides on to the log, some hundred a second at most.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
}

impl FirewallRule {
    /// One that matches everything.
    pub fn of(action: FirewallAction) -> Self {
        Self {
            input: None,
            out: None,
            from_zone: None,
            to_zone: None,
            from: None,
            from_group: None,
            to: None,
            to_group: None,
            protocol: None,
            ports: None,
            action,
            limit: None,
            log: false,
        }
    }
}

/// What a rule of a router's firewall does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FirewallAction {
    /// Lets it pass.
    Allow,
    /// Drops it silently.
    Drop,
    /// Drops it and says so: a reset for TCP, ICMP for the rest.
    Reject,
}
