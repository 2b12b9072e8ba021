//! Names of fields and protocols, as ovs-ofctl has them.

use crate::Field;

/// `ip`, `tcp6` and so on: Ethertype and IP protocol.
pub(super) const PROTOCOLS: &[(&str, u16, Option<u8>)] = &[
    ("ip", 0x0800, None),
    ("ipv6", 0x86dd, None),
    ("ip6", 0x86dd, None),
    ("icmp", 0x0800, Some(1)),
    ("icmp6", 0x86dd, Some(58)),
    ("tcp", 0x0800, Some(6)),
    ("tcp6", 0x86dd, Some(6)),
    ("udp", 0x0800, Some(17)),
    ("udp6", 0x86dd, Some(17)),
    ("sctp", 0x0800, Some(132)),
    ("sctp6", 0x86dd, Some(132)),
    ("arp", 0x0806, None),
    ("rarp", 0x8035, None),
    ("mpls", 0x8847, None),
    ("mplsm", 0x8848, None),
];

/// Names beside those of the standard. What a name means may depend on the protocol: see `matches`.
const ALIASES: &[(&str, Field)] = &[
    ("dl_dst", Field::EthDst),
    ("dl_src", Field::EthSrc),
    ("dl_type", Field::EthType),
    ("dl_vlan_pcp", Field::VlanPcp),
    ("nw_ecn", Field::IpEcn),
    ("nw_proto", Field::IpProto),
    ("ip_src", Field::Ipv4Src),
    ("ip_dst", Field::Ipv4Dst),
    ("nw_src", Field::Ipv4Src),
    ("nw_dst", Field::Ipv4Dst),
    ("icmp_type", Field::Icmpv4Type),
    ("icmp_code", Field::Icmpv4Code),
    ("ipv6_label", Field::Ipv6Flabel),
    ("nd_target", Field::Ipv6NdTarget),
    ("nd_sll", Field::Ipv6NdSll),
    ("nd_tll", Field::Ipv6NdTll),
    ("tun_id", Field::TunnelId),
];

/// The field with this name, whatever the protocol; also by the names that ovs-ofctl has for some.
pub fn field(name: &str) -> Option<Field> {
    Field::from_name(name)
        .or_else(|| ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, field)| *field))
}

/// Every name that a match may have: protocols, fields, aliases and those that are written in a way of their own.
pub(super) fn in_any_match() -> impl Iterator<Item = &'static str> {
    const OTHERS: &[&str] = &["dl_vlan", "vlan_tci", "nw_tos", "tp_src", "tp_dst"];
    let protocols = PROTOCOLS.iter().map(|(name, ..)| *name);
    let fields = Field::ALL.iter().map(|field| field.name());
    protocols.chain(fields).chain(ALIASES.iter().map(|(name, _)| *name)).chain(OTHERS.iter().copied())
}

/// How a match names a field. VLAN, DSCP and TCP flags are written differently altogether.
pub(super) const fn in_match(field: Field) -> &'static str {
    match field {
        Field::EthDst => "dl_dst",
        Field::EthSrc => "dl_src",
        Field::EthType => "dl_type",
        Field::VlanPcp => "dl_vlan_pcp",
        Field::IpEcn => "nw_ecn",
        Field::IpProto => "nw_proto",
        Field::Ipv4Src => "nw_src",
        Field::Ipv4Dst => "nw_dst",
        Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => "tp_src",
        Field::TcpDst | Field::UdpDst | Field::SctpDst => "tp_dst",
        Field::Icmpv4Type | Field::Icmpv6Type => "icmp_type",
        Field::Icmpv4Code | Field::Icmpv6Code => "icmp_code",
        other => common(other),
    }
}

/// How set_field names a field.
pub(super) const fn in_set_field(field: Field) -> &'static str {
    match field {
        Field::IpEcn => "nw_ecn",
        Field::IpProto => "nw_proto",
        Field::Ipv4Src => "ip_src",
        Field::Ipv4Dst => "ip_dst",
        Field::Icmpv4Type => "icmp_type",
        Field::Icmpv4Code => "icmp_code",
        other => common(other),
    }
}

const fn common(field: Field) -> &'static str {
    match field {
        Field::Ipv6Flabel => "ipv6_label",
        Field::Ipv6NdTarget => "nd_target",
        Field::Ipv6NdSll => "nd_sll",
        Field::Ipv6NdTll => "nd_tll",
        Field::TunnelId => "tun_id",
        other => other.name(),
    }
}

/// TCP flags, lowest bit first (RFC 9293 §3.1, RFC 3540 for `ns`).
pub(super) const TCP_FLAGS: &[&str] = &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];
