//! What an operator declares of traffic: who may send what to whom, how much of it, by which way, to whom else, and for whom.

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::intent::Protocol;
use crate::text::{PortRef, Rate};

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
