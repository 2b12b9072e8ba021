//! Random actions whose prerequisites hold.

use super::matching::value;
use super::random::Random;
use super::rules::{Pops, Style};

/// Where actions stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In apply-actions of this table.
    Apply(u8),
    /// In write-actions.
    ActionSet,
    /// In a bucket.
    Bucket,
}

/// What a match says of the outermost VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Nothing.
    Unknown,
    /// There is none.
    Absent,
    /// There is one.
    Present,
}

/// What is known of a frame when actions begin.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its tag.
    pub tag: Tag,
}

/// What a match says of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Any,
    Ip,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Ipv6,
    Tcp6,
    Udp6,
    Sctp6,
    Icmp6,
    Solicitation,
    Advertisement,
    Arp,
    Mpls { bottom: bool },
}

impl Protocol {
    /// All but MPLS.
    pub const ALL: &'static [Self] = &[
        Self::Any,
        Self::Ip,
        Self::Ip,
        Self::Tcp,
        Self::Udp,
        Self::Sctp,
        Self::Icmp,
        Self::Ipv6,
        Self::Tcp6,
        Self::Udp6,
        Self::Sctp6,
        Self::Icmp6,
        Self::Solicitation,
        Self::Advertisement,
        Self::Arp,
    ];

    /// The fields that say so.
    pub fn words(self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Any => &[],
            Self::Ip => &["ip"],
            Self::Tcp => &["tcp"],
            Self::Udp => &["udp"],
            Self::Sctp => &["sctp"],
            Self::Icmp => &["icmp"],
            Self::Ipv6 => &["ipv6"],
            Self::Tcp6 => &["tcp6"],
            Self::Udp6 => &["udp6"],
            Self::Sctp6 => &["sctp6"],
            Self::Icmp6 => &["icmp6,icmpv6_type=128"],
            Self::Solicitation => &["icmp6,icmpv6_type=135,icmpv6_code=0"],
            Self::Advertisement => &["icmp6,icmpv6_type=136,icmpv6_code=0"],
            Self::Arp => &["arp"],
            Self::Mpls { bottom: true } => &["mpls,mpls_bos=1"],
            Self::Mpls { bottom: false } => &["mpls,mpls_bos=0"],
        };
        words.iter().map(|&word| word.to_owned()).collect()
    }

    /// Further fields that may be matched.
    pub fn matchable(self) -> &'static [&'static str] {
        match self {
            Self::Any => &[],
            Self::Ip => &["ip_src", "ip_dst", "ip_dscp", "ip_ecn", "ip_proto"],
            Self::Tcp => &["ip_src", "ip_dst", "tcp_src", "tcp_dst", "tcp_flags"],
            Self::Udp => &["ip_dst", "udp_src", "udp_dst"],
            Self::Sctp => &["ip_src", "sctp_src", "sctp_dst"],
            Self::Icmp => &["ip_src", "icmp_type", "icmp_code"],
            Self::Ipv6 => &["ipv6_src", "ipv6_dst", "ipv6_label", "ip_dscp", "ip_ecn", "ip_proto"],
            Self::Tcp6 => &["ipv6_src", "tcp_src", "tcp_dst", "tcp_flags"],
            Self::Udp6 => &["ipv6_dst", "ipv6_label", "udp_src", "udp_dst"],
            Self::Sctp6 => &["ipv6_src", "sctp_src", "sctp_dst"],
            Self::Icmp6 => &["ipv6_src", "ipv6_dst", "icmpv6_code"],
            Self::Solicitation => &["ipv6_src", "nd_target", "nd_sll"],
            Self::Advertisement => &["ipv6_dst", "nd_target", "nd_tll"],
            Self::Arp => &["arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"],
            Self::Mpls { .. } => &["mpls_label", "mpls_tc"],
        }
    }

    /// Fields that set_field may change.
    fn settable(self) -> &'static [&'static str] {
        match self {
            Self::Any => &[],
            Self::Ip => &["ip_src", "ip_dst", "ip_dscp", "ip_ecn"],
            Self::Tcp => &["ip_src", "ip_dst", "tcp_src", "tcp_dst"],
            Self::Udp => &["ip_src", "ip_dst", "udp_src", "udp_dst"],
            Self::Sctp => &["ip_src", "ip_dst", "sctp_src", "sctp_dst"],
            Self::Icmp => &["ip_src", "ip_dst", "icmp_type", "icmp_code"],
            Self::Ipv6 => &["ipv6_src", "ipv6_dst", "ipv6_label", "ip_dscp", "ip_ecn"],
            Self::Tcp6 => &["ipv6_src", "ipv6_dst", "tcp_src", "tcp_dst"],
            Self::Udp6 => &["ipv6_src", "ipv6_dst", "udp_src", "udp_dst"],
            Self::Sctp6 => &["ipv6_src", "ipv6_dst", "sctp_src", "sctp_dst"],
            Self::Icmp6 => &["ipv6_src", "ipv6_dst", "icmpv6_type", "icmpv6_code"],
            Self::Solicitation => &["ipv6_src", "nd_target", "nd_sll"],
            Self::Advertisement => &["ipv6_dst", "nd_target", "nd_tll"],
            Self::Arp => &["arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"],
            Self::Mpls { .. } => &["mpls_label", "mpls_tc"],
        }
    }

    fn is_ipv4(self) -> bool {
        matches!(self, Self::Ip | Self::Tcp | Self::Udp | Self::Sctp | Self::Icmp)
    }

    fn is_ip(self) -> bool {
        !matches!(self, Self::Any | Self::Arp | Self::Mpls { .. })
    }
}

impl Known {
    /// Nothing is known, as in a bucket.
    pub fn nothing() -> Self {
        Self { protocol: Protocol::Any, tag: Tag::Unknown }
    }

    /// What is still known behind these actions.
    pub fn behind(self, actions: &[String]) -> Self {
        let did = |name: &str| actions.iter().any(|action| action.starts_with(name));
        let moved = did("push_") || did("pop_");
        if moved { Self::nothing() } else { self }
    }
}

/// Where a frame is sent: a port, the controller, a group.
pub fn send(random: &mut Random, n_groups: u32) -> String {
    if n_groups > 0 && random.one_in(3) {
        return format!("group:{}", 1 + random.below(n_groups as usize));
    }
    output(random)
}

/// An output.
pub fn output(random: &mut Random) -> String {
    match random.below(12) {
        0 => "CONTROLLER:65535".to_owned(),
        1 => "IN_PORT".to_owned(),
        2 => random.pick(&["ALL", "FLOOD"]).to_owned(),
        _ => format!("output:{}", 1 + random.below(5)),
    }
}

/// Changes to a frame that both switches allow in this place.
pub fn changes(random: &mut Random, style: &Style, (scope, known): (Scope, Known)) -> Vec<String> {
    let mut known = known;
    if scope == Scope::Bucket {
        // Prerequisites are not checked in a bucket: a field that is not there is left alone.
        let any = Protocol::ALL.iter().filter(|&&protocol| protocol != Protocol::Icmp6);
        known.protocol = random.pick(&any.copied().collect::<Vec<_>>());
    }
    let mut list = Vec::new();
    let mut may_push = style.pushes.contains(&scope);
    for _ in 0..random.below(4) {
        match random.below(6) {
            0 if may_push && pushable(scope, style, known) => {
                may_push = false;
                known = push(random, style, known, &mut list);
            }
            1 => known = pop(style, (scope, known), &mut list),
            2 => {
                let name = random.pick(&["eth_src", "eth_dst"]);
                list.push(format!("set_field:{}->{name}", value(random, name)));
            }
            3 if known.protocol.is_ip() => {
                list.push(random.pick(&["dec_ttl", "dec_ttl", "mod_nw_ttl:9"]).to_owned());
            }
            3 if matches!(known.protocol, Protocol::Mpls { .. }) => {
                // In a set a pop comes first, and Open vSwitch drops a frame without a label there.
                let decrement = if scope == Scope::ActionSet { "set_mpls_ttl:8" } else { "dec_mpls_ttl" };
                list.push(random.pick(&[decrement, "set_mpls_ttl:9"]).to_owned());
            }
            4 if known.tag == Tag::Present && scope != Scope::ActionSet => {
                list.push(vlan_field(random));
            }
            _ if !known.protocol.settable().is_empty() => {
                let name = random.pick(known.protocol.settable());
                list.push(format!("set_field:{}->{name}", value(random, name)));
            }
            _ => {}
        }
    }
    list
}

fn vlan_field(random: &mut Random) -> String {
    if random.one_in(2) {
        format!("set_field:{}->vlan_vid", 0x1000 + random.below(3))
    } else {
        format!("set_field:{}->vlan_pcp", random.below(8))
    }
}

/// Labels are pushed on IPv4 and labels: their TTL comes from there, and a pop takes what it uncovers for IPv4.
fn pushable(scope: Scope, style: &Style, known: Known) -> bool {
    let labels = matches!(known.protocol, Protocol::Mpls { .. }) || known.protocol.is_ipv4();
    !style.mpls || matches!(scope, Scope::Apply(_)) && labels
}

/// What a pushed header holds is set at once: Open vSwitch does not copy it from the header that was outermost.
fn push(random: &mut Random, style: &Style, known: Known, list: &mut Vec<String>) -> Known {
    if style.mpls {
        list.push("push_mpls:0x8847".to_owned());
        for name in ["mpls_label", "mpls_tc"] {
            list.push(format!("set_field:{}->{name}", value(random, name)));
        }
        let bottom = !matches!(known.protocol, Protocol::Mpls { .. });
        return Known { protocol: Protocol::Mpls { bottom }, ..known };
    }
    list.push(random.pick(&["push_vlan:0x8100", "push_vlan:0x88a8"]).to_owned());
    list.push(format!("set_field:{}->vlan_vid", 0x1000 + random.below(3)));
    list.push(format!("set_field:{}->vlan_pcp", random.below(8)));
    Known { tag: Tag::Present, ..known }
}

fn pop(style: &Style, (scope, known): (Scope, Known), list: &mut Vec<String>) -> Known {
    match known.protocol {
        Protocol::Mpls { bottom } if style.mpls && scope != Scope::Bucket => {
            let allowed = if scope == Scope::ActionSet { Pops::ActionSet } else { Pops::Apply };
            if style.pops != allowed {
                return known;
            }
            list.push(if bottom { "pop_mpls:0x0800" } else { "pop_mpls:0x8847" }.to_owned());
            let protocol = if bottom { Protocol::Ip } else { Protocol::Any };
            Known { protocol, ..known }
        }
        _ if !style.mpls && (known.tag == Tag::Present || scope == Scope::Bucket) => {
            list.push("pop_vlan".to_owned());
            Known { tag: Tag::Unknown, ..known }
        }
        _ => known,
    }
}
