//! What a router shows: routes, neighbours, connections, bindings.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::intent::RouteType;
use crate::routing::NextHop;
use crate::text::{Cidr, Endpoint, Mac};

/// A route in the forwarding table of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its VRF; absent: the one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Destination prefix.
    pub to: Cidr,
    /// Next hop; absent: directly connected, or no hop at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub via: Option<IpAddr>,
    /// Interface it leaves by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Next hops that share the traffic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_hops: Vec<NextHop>,
    /// The VRF that the destination is looked up in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_vrf: Option<String>,
    /// Of routes to one prefix the lowest wins.
    #[serde(default)]
    pub metric: u32,
    /// What it does.
    #[serde(default, rename = "type")]
    pub kind: RouteType,
    /// Where it comes from: `connected`, `static`, `local`, `protocol`.
    pub source: String,
    /// Packets that went by it; absent: they are not counted, or go by a better route to the same prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Their bytes, from the IP header on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A neighbour of a router (ARP or ND).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Interface it is reached by.
    pub interface: String,
    /// Its address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Its MAC address, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// `reachable`, `stale`, `pending`, `unreachable`, `permanent`.
    pub state: String,
}

/// A tracked connection of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// `tcp`, `udp`, `icmp`.
    pub protocol: String,
    /// `established`, `syn-sent`, ... in the words of the protocol.
    pub state: String,
    /// Source as the originator sends. The port is the identifier for ICMP.
    pub source: Endpoint,
    /// Destination as the originator sends.
    pub destination: Endpoint,
    /// Source as replies come: the destination after translation.
    pub reply_source: Endpoint,
    /// Destination as replies come: the source after translation.
    pub reply_destination: Endpoint,
    /// Seconds until it expires.
    pub expires: u64,
}

/// A NAT binding of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// `tcp`, `udp`, `icmp`.
    pub protocol: String,
    /// Inside address and port.
    pub inside: Endpoint,
    /// Outside address and port.
    pub outside: Endpoint,
    /// `masquerade`, `port-forward`.
    pub kind: String,
    /// Connections that use it.
    pub n_connections: u32,
}
