//! The few values that rules and frames share, so that rules match.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::random::Random;

/// Ports of the switches that frames come by and go to. The last is down.
pub const PORTS: [u32; 5] = [1, 2, 3, 4, 5];
/// VLAN ids.
pub const VLANS: [u16; 3] = [10, 20, 0x1f0];
/// Ports of TCP, UDP and SCTP. Not 0: Open vSwitch takes it for "not there".
pub const L4_PORTS: [u16; 4] = [53, 80, 443, 50_000];
/// MPLS labels.
pub const LABELS: [u32; 3] = [16, 77, 0xf_ff00];
/// Types of ICMP. Not 0: Open vSwitch takes it for "not there".
pub const ICMP_TYPES: [u8; 3] = [3, 8, 11];
/// Types of ICMPv6 beside neighbour discovery.
pub const ICMP6_TYPES: [u8; 3] = [1, 128, 129];
/// Flow labels.
pub const FLOW_LABELS: [u32; 3] = [0, 0x1_2345, 0x1_2340];
/// Differentiated services code points.
pub const DSCPS: [u8; 3] = [0, 10, 46];
/// Operations of ARP.
pub const ARP_OPERATIONS: [u16; 2] = [1, 2];

/// A MAC address; one is multicast.
pub fn mac(random: &mut Random) -> [u8; 6] {
    random.pick(&[[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 1, 2], [1, 0, 0x5e, 0, 0, 5]])
}

/// An IPv4 address.
pub fn ipv4(random: &mut Random) -> Ipv4Addr {
    random.pick(&[[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 1, 1], [192, 168, 1, 1]]).into()
}

/// An IPv6 address.
pub fn ipv6(random: &mut Random) -> Ipv6Addr {
    let (net, host) = random.pick(&[(0, 1), (0, 2), (1, 1), (0xff, 9)]);
    Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host)
}

/// A MAC address as ovs-ofctl writes it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
