//! What an operator declares: networks, routers, policies and chains. A topology embeds these shapes as they are.
//!
//! Every field is named in its place (nothing flattened, untagged or internally tagged), so that a reader of YAML
//! can give the line and column of whatever is wrong.

use std::net::{IpAddr, Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::routing::{
    AddressGroup, Advert, Exemption, FirewallAction, FirewallRule, Limits, LiveFlows, NextHop, OneToOne,
    Police, PolicyRoute, ReservedPorts, Sharing, SourceCheck, StaticNeighbour, Tracking,
};
use crate::service::{DhcpPool, DhcpRelay, Dns};
use crate::text::{Cidr, Endpoint, Mac, PortRef, Rate};

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
    /// Static routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<StaticRoute>,
    /// Routes by more than the destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_routes: Vec<PolicyRoute>,
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

/// A rule between groups of endpoints. Of the policies that match an IP packet, the one with the highest priority
/// decides; where none matches, it passes. ARP and neighbour discovery always pass.
///
/// Flows keep no state: `allow` also lets answers pass, that is packets from `to` to `from` with the `ports` as source
/// ports. Who is at `to` could begin such by itself. `deny` and `reject` are for the one direction that they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Unique among policies.
    pub name: String,
    /// Order of evaluation, the higher first, at most 65533. Unique among policies.
    #[serde(default)]
    #[schemars(range(max = 65533))]
    #[schema(maximum = 65533)]
    pub priority: u16,
    /// What happens to what matches.
    pub action: PolicyAction,
    /// Sources: `switch:port`, in a topology also names of nodes. Empty: any.
    #[serde(default)]
    pub from: Vec<String>,
    /// Destinations, as `from`. In another network than the source they are known by IP addresses, behind a router.
    #[serde(default)]
    pub to: Vec<String>,
    /// Only this protocol; absent: all of IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<PolicyProtocol>,
    /// Only these destination ports of TCP or UDP, 1 to 65535; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Answers pass because a connection was begun, not because of their ports. Only a weft router on the path can know that:
    /// the policy becomes a rule of its firewall, before those of the router itself. Elsewhere it is refused, with the reason in its status.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stateful: bool,
}

/// What a policy can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP, and ICMPv6 without neighbour discovery.
    Icmp,
}

/// What a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyAction {
    /// Let it pass.
    Allow,
    /// Drop it silently.
    Deny,
    /// Drop it and tell the sender: a reset for TCP, ICMP "administratively prohibited" for the rest; a hundred times a
    /// second for the hosts of a switch.
    Reject,
}

/// How much hosts may send, and by which queue it leaves the switches on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Qos {
    /// Unique among these.
    pub name: String,
    /// What hosts send into each of these ports, each port by itself: `switch:port`, in a topology also names of nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// What hosts send into each of these networks, all ports of a switch together, each switch by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Bits a second, at least `1k`, in steps of 1000; what exceeds them is dropped by a meter. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Bytes at once; absent: as the switch thinks fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1500))]
    #[schema(minimum = 1500)]
    pub burst: Option<u32>,
    /// Number of the queue that the frames leave by, where a port has it: of ports on their own switch, of networks on
    /// every switch. The queues themselves are configured at the switches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 65535))]
    #[schema(maximum = 65535)]
    pub queue: Option<u16>,
}

/// Which frames of a port a mirror copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MirrorDirection {
    /// What hosts there send and what they receive.
    #[default]
    Both,
    /// What hosts there send, before policies and rates.
    Sent,
    /// What hosts there receive.
    Received,
}

/// Copies of the frames of some ports leave by another. Nothing else leaves there, and nothing enters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Unique among mirrors.
    pub name: String,
    /// Whose frames: ports of networks, `switch:port`, in a topology also names of nodes.
    pub ports: Vec<String>,
    /// Which of them.
    #[serde(default)]
    pub direction: MirrorDirection,
    /// Where the copies leave, on any switch: a port that is in no network; as `ports`.
    pub to: String,
}

/// What a tenant may have. The intents of a tenant have its name and a hyphen before their own: `acme-web` is of `acme`. They may be
/// about its own networks and functions only, and its policies name the ports that they protect. What exceeds this is refused,
/// whoever writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Unique among tenants, as in `--role tenant:NAME` of its tokens.
    pub name: String,
    /// How many of what.
    #[serde(default)]
    pub quota: Quota,
    /// Ports that its intents may name: `switch:port`, or `switch` for all of a switch, spelled as there. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<String>>,
    /// Bits a second that hosts may send into all its networks together, each switch by itself: at least `1k`, in steps of 1000.
    /// What exceeds them is dropped by a meter. A tenant within it that has a rate is measured by that alone. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Bytes at once; absent: as the switch thinks fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1500))]
    #[schema(minimum = 1500)]
    pub burst: Option<u32>,
}

/// Most of each kind; what is absent is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Ports of all its networks together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<u32>,
    /// Networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<u32>,
    /// Routers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routers: Option<u32>,
    /// Chain functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<u32>,
    /// Chains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chains: Option<u32>,
    /// Policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<u32>,
    /// Rates and queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<u32>,
    /// Ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<u32>,
    /// Mirrors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrors: Option<u32>,
    /// Balancers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancers: Option<u32>,
}

/// A virtual address in a network, behind which members serve. What hosts of the network (a router among them) send to one of
/// its services goes to a member, chosen by addresses and ports, so that a connection stays with its member while those that are up
/// stay the same; answers come from the virtual address. Members do not use it themselves, and what they answer with the port of
/// a service comes from the virtual address, whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Balancer {
    /// Unique among balancers.
    pub name: String,
    /// Name of the network.
    pub network: String,
    /// The virtual address, which no host has. ARP for it is answered by the switches.
    #[schema(value_type = String, example = "10.0.1.100")]
    pub address: Ipv4Addr,
    /// What is served there.
    pub services: Vec<BalancerService>,
    /// Who serves.
    pub members: Vec<BalancerMember>,
}

/// A port of a virtual address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BalancerService {
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// The port.
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub port: u16,
    /// The port of the members; absent: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub target_port: Option<u16>,
}

/// One that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BalancerMember {
    /// Where it is attached: `switch:port`, in a topology also the name of a node with one port. While that is down, others serve.
    pub port: String,
    /// Its own address.
    #[schema(value_type = String, example = "10.0.1.5")]
    pub address: Ipv4Addr,
    /// Its share, in proportion to those of the others; absent: 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1))]
    #[schema(minimum = 1)]
    pub weight: u16,
}

fn one() -> u16 {
    1
}

fn is_one(weight: &u16) -> bool {
    *weight == 1
}

/// A way of its own for what one endpoint sends to another in their network, broadcast left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// Unique among paths.
    pub name: String,
    /// Where it begins: `switch:port`, in a topology also the name of a node with one port.
    pub from: String,
    /// Where it ends, as `from`.
    pub to: String,
    /// Switches that it passes, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// Switches that it does not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<String>,
    /// Links that it does not take, each by the switch port at one of its ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid_links: Vec<PortRef>,
    /// A second way that shares no link with it, and no switch where possible, stands by: where it begins, the switch
    /// takes that one by itself while the first link is dead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backup: bool,
    /// What returns takes such a way, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub symmetric: bool,
    /// Nothing passes while there is no such way; otherwise it goes as usual.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// IP traffic between endpoints that passes functions in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Unique among chains.
    pub name: String,
    /// Where the traffic enters: `switch:port`, in a topology also names of hosts.
    pub from: Vec<String>,
    /// Where it goes to, as `from`.
    pub to: Vec<String>,
    /// Names of functions, in the order passed from `from` to `to`.
    pub functions: Vec<String>,
    /// What returns passes the same functions in reverse order.
    #[serde(default)]
    pub symmetric: bool,
}

/// A chain function and the two switch ports it is plugged into. A topology makes one of each function node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Unique among functions.
    pub name: String,
    /// Switch port of its interface `in`.
    #[serde(rename = "in")]
    pub ingress: PortRef,
    /// Switch port of its interface `out`.
    #[serde(rename = "out")]
    pub egress: PortRef,
}
