//! Random matches with their prerequisites.

use super::actions::{Known, Protocol, Tag};
use super::random::Random;
use super::rules::Style;
use super::values::{
    ARP_OPERATIONS, DSCPS, FLOW_LABELS, ICMP_TYPES, ICMP6_TYPES, L4_PORTS, LABELS, VLANS, ipv4, ipv6, mac,
    mac_text,
};

/// A match for flows of `table`, and what is known of frames that it takes.
pub fn random(random: &mut Random, style: &Style, table: u8) -> (Vec<String>, Known) {
    let mut fields = Vec::new();
    let protocol = match style.mpls && random.one_in(2) {
        true => Protocol::Mpls { bottom: random.one_in(2) },
        false => random.pick(Protocol::ALL),
    };
    fields.extend(protocol.words());
    let tag = tag(random, style, &mut fields);
    if random.one_in(6) {
        fields.push(format!("in_port={}", 1 + random.below(3)));
    }
    for name in ["eth_src", "eth_dst"] {
        if random.one_in(14) {
            let mask =
                random.pick(&["", "", "/ff:ff:ff:ff:00:00", "/01:00:00:00:00:00", "/00:00:00:00:00:ff"]);
            fields.push(format!("{name}={}{mask}", value(random, name)));
        }
    }
    if table > 0 && random.one_in(5) {
        let (value, mask) = random.pick(&[("0x1", ""), ("0x2", "/0xf"), ("0x100", "/0xff00"), ("0", "")]);
        fields.push(format!("metadata={value}{mask}"));
    }
    for name in protocol.matchable() {
        if random.one_in(8) {
            fields.push(format!("{name}={}", masked(random, name)));
        }
    }
    (fields, Known { protocol, tag })
}

/// A demand about the outermost tag, or none.
fn tag(random: &mut Random, style: &Style, fields: &mut Vec<String>) -> Tag {
    // A label goes in front of tags by the standard, behind them in Open vSwitch: only untagged frames get one.
    if style.mpls && !style.pushes.is_empty() {
        fields.push("vlan_tci=0x0000/0x1fff".to_owned());
        return Tag::Absent;
    }
    let (field, tag) = match random.below(12) {
        0 => ("vlan_tci=0x0000/0x1fff".to_owned(), Tag::Absent),
        1 => ("vlan_vid=0x1000/0x1000".to_owned(), Tag::Present),
        2 => (format!("vlan_vid={:#x}/0x100f", 0x1000 | random.pick(&VLANS) & 0xf), Tag::Present),
        3 | 4 => (format!("vlan_vid={:#x}", 0x1000 | random.pick(&VLANS)), Tag::Present),
        _ => return Tag::Unknown,
    };
    fields.push(field);
    if tag == Tag::Present && random.one_in(3) {
        fields.push(format!("vlan_pcp={}", random.below(8)));
    }
    tag
}

/// A value for a field, now and then with a mask where the standard has masks.
fn masked(random: &mut Random, name: &str) -> String {
    let plain = value(random, name);
    let mask = match name {
        "ip_src" | "ip_dst" | "arp_spa" | "arp_tpa" => random.pick(&["", "/24", "/8", "/255.0.255.0"]),
        "ipv6_src" | "ipv6_dst" => random.pick(&["", "/64", "/48", "/ffff::ff"]),
        "ipv6_label" => random.pick(&["", "/0xffff0"]),
        "arp_sha" | "arp_tha" => random.pick(&["", "/ff:ff:ff:ff:00:00"]),
        _ => "",
    };
    plain + mask
}

/// A value for a field as a match or a set_field writes it.
pub fn value(random: &mut Random, name: &str) -> String {
    match name {
        "eth_src" | "eth_dst" | "arp_sha" | "arp_tha" | "nd_sll" | "nd_tll" => mac_text(mac(random)),
        "ip_src" | "ip_dst" | "arp_spa" | "arp_tpa" => ipv4(random).to_string(),
        "ipv6_src" | "ipv6_dst" | "nd_target" => ipv6(random).to_string(),
        "ipv6_label" => format!("{:#x}", random.pick(&FLOW_LABELS)),
        "ip_dscp" => random.pick(&DSCPS).to_string(),
        "ip_ecn" => random.below(4).to_string(),
        "ip_proto" => random.pick(&[6u8, 17, 132, 1, 58, 47]).to_string(),
        "icmp_type" => random.pick(&ICMP_TYPES).to_string(),
        "icmpv6_type" => random.pick(&ICMP6_TYPES).to_string(),
        "icmp_code" | "icmpv6_code" => random.pick(&[1, 2]).to_string(),
        "arp_op" => random.pick(&ARP_OPERATIONS).to_string(),
        // What fragments do not have is zero to Open vSwitch: a zero is never asked for alone.
        "tcp_flags" => random.pick(&["+syn-ack", "+ack", "+syn+ack", "+psh-rst"]).to_owned(),
        "mpls_label" => random.pick(&LABELS).to_string(),
        "mpls_tc" => random.below(8).to_string(),
        _ => random.pick(&L4_PORTS).to_string(),
    }
}
