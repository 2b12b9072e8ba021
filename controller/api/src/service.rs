//! Services of a router for the hosts of its networks, and what they show.

use std::net::{IpAddr, Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::{Cidr, Mac};

/// Addresses and settings that hosts of one network get by DHCPv4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpPool {
    /// Name of the interface whose hosts are served.
    pub interface: String,
    /// The network; absent: that of the interface the range lies in. Clients behind a relay get addresses of the network
    /// that the relay's address is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Cidr>,
    /// First address.
    #[schema(value_type = String)]
    pub first: Ipv4Addr,
    /// Last address.
    #[schema(value_type = String)]
    pub last: Ipv4Addr,
    /// How many seconds an address may be kept without being renewed; absent: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10))]
    #[schema(minimum = 10)]
    pub lease_time: Option<u32>,
    /// Default router; absent: the address of the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub dns: Vec<Ipv4Addr>,
    /// Time servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub ntp: Vec<Ipv4Addr>,
    /// The domain of the hosts' names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The MTU that hosts are to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68))]
    #[schema(minimum = 68)]
    pub mtu: Option<u16>,
    /// Destinations with their next routers, beside the default one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<DhcpRoute>,
    /// Where hosts boot from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tftp_server: Option<String>,
    /// What they boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_file: Option<String>,
    /// Stations that always get the same address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<DhcpHost>,
}

/// A route that hosts are told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpRoute {
    /// Destinations.
    pub to: Cidr,
    /// Next router.
    #[schema(value_type = String)]
    pub via: Ipv4Addr,
}

/// A station that always gets the same address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpHost {
    /// The station.
    pub mac: Mac,
    /// Its address.
    #[schema(value_type = String)]
    pub address: Ipv4Addr,
    /// The name it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// DHCPv4 of an interface's hosts goes to servers elsewhere, with option 82 naming the interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpRelay {
    /// Name of the interface.
    pub interface: String,
    /// The servers; each gets every request.
    #[schema(value_type = Vec<String>)]
    pub servers: Vec<Ipv4Addr>,
}

/// DNS for the hosts of some interfaces: questions are answered from a cache or passed on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Names of the interfaces whose hosts may ask.
    pub interfaces: Vec<String>,
    /// Who knows the answers; asked in turn until one answers.
    #[schema(value_type = Vec<String>)]
    pub servers: Vec<IpAddr>,
    /// Domains with servers of their own; the longest that fits a name wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<DnsZone>,
    /// Most answers kept; absent: 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_size: Option<u32>,
}

/// A domain with servers of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsZone {
    /// The domain.
    pub domain: String,
    /// Its servers.
    #[schema(value_type = Vec<String>)]
    pub servers: Vec<IpAddr>,
}

/// A DHCPv4 lease of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The address.
    #[schema(value_type = String)]
    pub address: Ipv4Addr,
    /// The client.
    pub mac: Mac,
    /// The name it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `offered`, `bound`, or `declined` when somebody else has it.
    pub state: String,
    /// Seconds until it ends.
    pub expires: u64,
}

/// What a firewall rule of a router has counted: packets that began a connection, or were denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleCount {
    /// Its place among the rules; absent: what no rule matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// What it says: `allow`, `drop`, `reject`.
    pub action: String,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of them, those beyond the rule's limit.
    pub limited: u64,
}
