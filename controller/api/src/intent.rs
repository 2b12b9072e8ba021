//! What an operator declares: networks and routers; [`traffic`](crate::Policy) has the rest. A topology embeds these shapes as they are.
//!
//! Every field is named in its place (nothing flattened, untagged or internally tagged), so that a reader of YAML
//! can give the line and column of whatever is wrong.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::routing::{
    AddressGroup, Advert, Exemption, FirewallAction, FirewallRule, Limits, LiveFlows, NextHop, OneToOne,
    Police, PolicyRoute, ReservedPorts, Sharing, SourceCheck, StaticNeighbour, Tracking,
};
use crate::service::{DhcpPool, DhcpRelay, Dns};
use crate::text::{Cidr, Endpoint, Mac, PortRef};

/// An isolated L2 segment over any number of switches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Unique among networks.
    pub name: String,
    /// VLAN id on links between switches and on trunk ports, 1 to 4094. Unique among networks.
    #[schemars(range(min = 1, max = 4094))]
    #[schema(minimum = 1, maximum = 4094)]
    pub vlan: u16,
    /// Access ports: frames enter and leave untagged. Over REST `switch:port`; in a topology also `node:interface`.
    #[serde(default)]
    pub ports: Vec<PortRef>,
    /// Trunk ports: frames enter and leave with this network's VLAN tag. A port may be a trunk of many networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trunks: Vec<PortRef>,
    /// Endpoints known beforehand. Others are learned from what they send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Reservation>,
}

/// An endpoint of a network that is known before it speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// Port of the network it is attached to.
    pub port: PortRef,
    /// Its MAC address.
    pub mac: Mac,
    /// Its IP addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
}

/// A virtual router.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Router {
    /// Unique among routers.
    pub name: String,
    /// Interfaces, plain and 802.1Q sub-interfaces.
    #[serde(default)]
    pub interfaces: Vec<RouterInterface>,
    /// What is to be said of VRFs. Those that interfaces name need not be here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vrfs: Vec<Vrf>,
    /// Static routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<StaticRoute>,
    /// Routes by more than the destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_routes: Vec<PolicyRoute>,
    /// Prefixes whose packets are counted, by whichever route to exactly this prefix they go: a static one, one of a routing
    /// protocol, or the network of an interface. Static routes can say so themselves (`counted`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted_routes: Vec<CountedRoute>,
    /// Address translation.
    #[serde(default, skip_serializing_if = "Nat::is_empty")]
    pub nat: Nat,
    /// How many connections may be begun, where they are tracked: with translation or firewall rules.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// How connections are tracked.
    #[serde(default, skip_serializing_if = "Tracking::is_usual")]
    pub tracking: Tracking,
    /// Stations that are known without asking.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<StaticNeighbour>,
    /// Addresses with names, for the firewall.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<AddressGroup>,
    /// Rules for packets between interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firewall: Vec<FirewallRule>,
    /// What becomes of packets that no rule matches; absent: they pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall_default: Option<FirewallAction>,
    /// What becomes of connections when rules change.
    #[serde(default, skip_serializing_if = "LiveFlows::is_recheck")]
    pub live_flows: LiveFlows,
    /// Addresses for hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dhcp: Vec<DhcpPool>,
    /// Interfaces whose hosts get their addresses from servers elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dhcp_relays: Vec<DhcpRelay>,
    /// Names for hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// The network namespace where routing daemons such as BIRD and FRR run unchanged: there each interface has a shadow, a
    /// tap of its name, MAC and IP addresses, and the routes that daemons give the kernel there become the router's. A name
    /// is that of `ip netns`, and made if there is none; in a topology it is that of a node of kind `host`. Else the path of
    /// a namespace, or `pid:N`. Absent: the router has no shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<String>,
    /// Where a router daemon is told its configuration (`unix:/run/weft/r1.sock` or `http://...`). Absent: a router
    /// in the controller's own process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// One interface of a router.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouterInterface {
    /// Unique in the router.
    pub name: String,
    /// The port that carries it; absent: the port of the same name. A sub-interface names its parent here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// VLAN id of a sub-interface, 1 to 4094.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094))]
    #[schema(minimum = 1, maximum = 4094)]
    pub vlan: Option<u16>,
    /// The customer tag behind it, 1 to 4094: then `vlan` is a service tag (802.1ad).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094))]
    #[schema(minimum = 1, maximum = 4094)]
    pub inner_vlan: Option<u16>,
    /// The VRF it belongs to: interfaces of one VRF see only its routes. Absent: the one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Its address, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Cidr>,
    /// Its addresses, if several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Cidr>,
    /// Its MAC address; absent: derived from the names of router and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Largest IP packet in bytes; absent: 1500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535))]
    #[schema(minimum = 68)]
    pub mtu: Option<u16>,
    /// Which sources it takes packets from.
    #[serde(default, skip_serializing_if = "SourceCheck::is_off")]
    pub source_check: SourceCheck,
    /// Router advertisements; absent: it sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advert: Option<Advert>,
    /// Cut the segment size that TCP connections through it offer to what fits its MTU.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clamp_mss: bool,
    /// The zone it belongs to, for the firewall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Only stations that the router's `neighbours` name may speak here, each with its own address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub known_only: bool,
    /// How much it takes in; what exceeds it is dropped. Absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub police: Option<Police>,
    /// Addresses elsewhere that the router answers ARP and neighbour solicitations for here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy: Vec<Cidr>,
    /// The switch port it is plugged into. A topology fills it in from its links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<PortRef>,
    /// The network it belongs to, its attachment becoming a port of that network (tagged for a sub-interface).
    /// Absent on a sub-interface: the network with that VLAN id, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

impl RouterInterface {
    /// `address` and `addresses` together, in the order written.
    pub fn all_addresses(&self) -> impl Iterator<Item = Cidr> + '_ {
        self.address.iter().chain(&self.addresses).copied()
    }

    /// Name of the port that carries it.
    pub fn port_name(&self) -> &str {
        self.port.as_deref().unwrap_or(&self.name)
    }
}

/// A VRF of a router: routes of their own for its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Vrf {
    /// Unique in the router.
    pub name: String,
    /// The kernel's table that routing daemons have for it, whose routes by FPM become its own; of one VRF only. 254 is that
    /// of the VRF without a name. Absent: the number that the VRF has for a name, if its name is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub table: Option<u32>,
}

/// A static route. Give `via`, `dev` or both; or `next_hops`; or `to_vrf`; or a `type` other than unicast and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticRoute {
    /// Destination prefix.
    pub to: Cidr,
    /// Next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub via: Option<IpAddr>,
    /// Name of the interface to leave by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Several next hops that share the traffic by flow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_hops: Vec<NextHop>,
    /// The VRF that the destination is looked up in again; empty for the one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_vrf: Option<String>,
    /// The VRF it is in; absent: the one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Of routes to one prefix the lowest wins; absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// What happens to packets that take it.
    #[serde(default, rename = "type", skip_serializing_if = "RouteType::is_unicast")]
    pub kind: RouteType,
    /// Its packets and bytes are counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
}

/// A prefix whose packets are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CountedRoute {
    /// Destination prefix.
    pub to: Cidr,
    /// The VRF it is in; absent: the one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
}

/// What a route does with a packet; names as in iproute2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteType {
    /// Forward it.
    #[default]
    Unicast,
    /// Drop it silently.
    Blackhole,
    /// Drop it and answer ICMP host unreachable.
    Unreachable,
    /// Drop it and answer ICMP administratively prohibited.
    Prohibit,
}

impl RouteType {
    pub(crate) fn is_unicast(&self) -> bool {
        *self == Self::Unicast
    }
}

/// Address translation of a router.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nat {
    /// Source translation of what leaves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masquerade: Vec<Masquerade>,
    /// Destination translation of what arrives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_forwards: Vec<PortForward>,
    /// Outside addresses that stand for inside ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_to_one: Vec<OneToOne>,
    /// What is left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exempt: Vec<Exemption>,
    /// Outside ports that no inside endpoint gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserve: Vec<ReservedPorts>,
    /// Ports that go elsewhere whoever they belong to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
}

impl Nat {
    /// No translation at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Packets leaving by an interface take the interface's address as source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Masquerade {
    /// Name of the interface they leave by.
    pub out: String,
    /// Only for these sources; absent: all of IPv4. IPv6 hides only where it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cidr>,
    /// Outside addresses instead of the interface's own; each inside address keeps to one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub pool: Vec<IpAddr>,
    /// Whether inside endpoints may share an outside port.
    #[serde(default, skip_serializing_if = "Sharing::is_independent")]
    pub ports: Sharing,
    /// Protocols without ports (GRE, ESP, SCTP and so on) hide too: one inside host at a time for each remote one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub portless: bool,
}

/// Packets arriving at an interface's address and a port go to an inside address and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortForward {
    /// Name of the interface they arrive at.
    #[serde(rename = "in")]
    pub interface: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Destination port as they arrive.
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub port: u16,
    /// Where they go.
    pub to: Endpoint,
    /// Only for connections from outside; those that the inside endpoint begins are masqueraded as others are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inbound_only: bool,
    /// The VRF of the inside endpoint; absent: that of the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
}

/// Packets that arrive for a port, whoever's, go to another port of the same address, or to the router itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Name of the interface they arrive at.
    #[serde(rename = "in")]
    pub interface: String,
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// The port.
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub port: u16,
    /// The other port; absent: to the router itself, whatever address they were sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub to_port: Option<u16>,
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}
