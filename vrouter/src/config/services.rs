//! Services for the hosts of a router's networks: DHCPv4 and DNS.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use packet::MacAddr;

use crate::Prefix;

/// Addresses and settings that hosts of one network get by DHCPv4 (RFC 2131).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpPool {
    /// Name of the interface whose hosts are served.
    pub interface: String,
    /// The network; none takes that of the interface's address the range lies in. Clients behind relays are served by
    /// the network that the relay's address is in.
    pub network: Option<Prefix>,
    /// First and last address.
    pub range: (Ipv4Addr, Ipv4Addr),
    /// How long an address may be kept without being renewed; at least 10 s.
    pub lease_time: Duration,
    /// Their default router; none takes the address of the interface.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// The domain of their names.
    pub domain: Option<String>,
    /// The MTU they are to use.
    pub mtu: Option<u16>,
    /// Destinations with their next routers, beside the default one (RFC 3442).
    pub routes: Vec<(Prefix, Ipv4Addr)>,
    /// Where they boot from.
    pub tftp_server: Option<String>,
    /// What they boot.
    pub boot_file: Option<String>,
    /// Stations with an address of their own.
    pub hosts: Vec<DhcpHost>,
}

impl DhcpPool {
    /// A range for the hosts of an interface, for an hour each, and no settings.
    pub fn new(interface: impl Into<String>, range: (Ipv4Addr, Ipv4Addr)) -> Self {
        Self {
            interface: interface.into(),
            network: None,
            range,
            lease_time: Duration::from_secs(3600),
            gateway: None,
            dns: Vec::new(),
            ntp: Vec::new(),
            domain: None,
            mtu: None,
            routes: Vec::new(),
            tftp_server: None,
            boot_file: None,
            hosts: Vec::new(),
        }
    }
}

/// A station that always gets the same address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpHost {
    /// The station.
    pub mac: MacAddr,
    /// Its address, inside or outside of the range.
    pub address: Ipv4Addr,
    /// The name it is told.
    pub name: Option<String>,
}

/// DHCPv4 of the hosts of an interface goes to servers elsewhere (RFC 1542 §4, RFC 3046).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpRelay {
    /// Name of the interface.
    pub interface: String,
    /// The servers; each gets every request.
    pub servers: Vec<Ipv4Addr>,
}

/// DNS for the hosts of some interfaces: questions are answered from a cache or passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Names of the interfaces whose hosts may ask.
    pub interfaces: Vec<String>,
    /// Who knows the answers; asked in turn until one answers.
    pub servers: Vec<IpAddr>,
    /// Domains with servers of their own; the longest that fits a name wins.
    pub zones: Vec<(String, Vec<IpAddr>)>,
    /// Most answers kept.
    pub cache_size: usize,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { interfaces: Vec::new(), servers: Vec::new(), zones: Vec::new(), cache_size: 4096 }
    }
}
