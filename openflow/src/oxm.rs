//! The match fields (§7.2.3): one table, from which codec, text form and prerequisite checks derive.

use core::fmt;

use crate::{MacAddr, PortNo, VlanId};

/// The bit of VLAN_VID that says that there is a tag (OFPVID_PRESENT, §7.2.3.7).
pub const VID_PRESENT: u16 = 0x1000;
/// Class of the fields of the standard (OFPXMC_OPENFLOW_BASIC).
pub const CLASS_BASIC: u16 = 0x8000;
/// Class of the fields of experimenters (OFPXMC_EXPERIMENTER).
pub const CLASS_EXPERIMENTER: u16 = 0xffff;
/// The Open Networking Foundation as an experimenter (ONF_VENDOR_ID).
pub const ONF: u32 = 0x4f4e_4600;

/// What a match must also hold for a field to make sense (§7.2.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prerequisite {
    /// Nothing.
    None,
    /// Another field, with any value.
    Present(Field),
    /// Another field, exactly one of these values.
    OneOf(Field, &'static [u16]),
    /// A VLAN_VID that demands a tag.
    Tagged,
}

/// How the text form writes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Decimal number.
    Decimal,
    /// Hexadecimal number with `0x`.
    Hex,
    /// Port number or reserved name.
    Port,
    /// Six octets.
    Mac,
    /// Dotted quad.
    Ipv4,
    /// Colons.
    Ipv6,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $class:ident, $name:literal, $bits:literal / $bytes:literal,
        $mask:ident, $set:ident, $form:ident, $prereq:expr, $clause:literal;)*) => {
        /// A match field of the standard. Their order is the order of the numbers on the wire, so that a
        /// prerequisite comes before what needs it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Field {
            $($(#[$doc])* #[doc = concat!("(", $bits, " bits, ", $clause, ")")] $variant,)*
        }

        impl Field {
            /// Every field, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            const INFO: &'static [Info] = &[$(Info {
                id: $id, class: fields!(@class $class), name: $name, bits: $bits, bytes: $bytes,
                maskable: fields!(@bool $mask), settable: fields!(@bool $set), form: Form::$form,
                prerequisite: $prereq, clause: $clause,
            }),*];
        }
    };
    (@bool mask) => { true };
    (@bool exact) => { false };
    (@bool set) => { true };
    (@bool fixed) => { false };
    (@class basic) => { CLASS_BASIC };
    (@class onf) => { CLASS_EXPERIMENTER };
}

/// A row of the table.
struct Info {
    id: u8,
    class: u16,
    name: &'static str,
    bits: u8,
    bytes: u8,
    maskable: bool,
    settable: bool,
    form: Form,
    prerequisite: Prerequisite,
    clause: &'static str,
}

const IP: Prerequisite = Prerequisite::OneOf(Field::EthType, &[0x0800, 0x86dd]);
const IPV4: Prerequisite = Prerequisite::OneOf(Field::EthType, &[0x0800]);
const IPV6: Prerequisite = Prerequisite::OneOf(Field::EthType, &[0x86dd]);
const ARP: Prerequisite = Prerequisite::OneOf(Field::EthType, &[0x0806]);
const MPLS: Prerequisite = Prerequisite::OneOf(Field::EthType, &[0x8847, 0x8848]);
const PBB: Prerequisite = Prerequisite::OneOf(Field::EthType, &[0x88e7]);
const TCP: Prerequisite = Prerequisite::OneOf(Field::IpProto, &[6]);
const UDP: Prerequisite = Prerequisite::OneOf(Field::IpProto, &[17]);
const SCTP: Prerequisite = Prerequisite::OneOf(Field::IpProto, &[132]);
const ICMPV4: Prerequisite = Prerequisite::OneOf(Field::IpProto, &[1]);
const ICMPV6: Prerequisite = Prerequisite::OneOf(Field::IpProto, &[58]);
const ND: Prerequisite = Prerequisite::OneOf(Field::Icmpv6Type, &[135, 136]);
const ND_SOLICITATION: Prerequisite = Prerequisite::OneOf(Field::Icmpv6Type, &[135]);
const ND_ADVERTISEMENT: Prerequisite = Prerequisite::OneOf(Field::Icmpv6Type, &[136]);
const NONE: Prerequisite = Prerequisite::None;

fields! {
    /// Ingress port.
    InPort = 0, basic, "in_port", 32/4, exact, fixed, Port, NONE, "§7.2.3.7";
    /// Physical port underneath a logical ingress port.
    InPhyPort = 1, basic, "in_phy_port", 32/4, exact, fixed, Port, Prerequisite::Present(Field::InPort), "§7.2.3.7";
    /// Metadata passed between tables.
    Metadata = 2, basic, "metadata", 64/8, mask, fixed, Hex, NONE, "§7.2.3.7";
    /// Ethernet destination.
    EthDst = 3, basic, "eth_dst", 48/6, mask, set, Mac, NONE, "§7.2.3.7";
    /// Ethernet source.
    EthSrc = 4, basic, "eth_src", 48/6, mask, set, Mac, NONE, "§7.2.3.7";
    /// Ethertype after VLAN tags.
    EthType = 5, basic, "eth_type", 16/2, exact, set, Hex, NONE, "§7.2.3.7";
    /// VLAN id with the bit [`VID_PRESENT`].
    VlanVid = 6, basic, "vlan_vid", 13/2, mask, set, Decimal, NONE, "§7.2.3.7";
    /// VLAN priority.
    VlanPcp = 7, basic, "vlan_pcp", 3/1, exact, set, Decimal, Prerequisite::Tagged, "§7.2.3.7";
    /// Differentiated services code point.
    IpDscp = 8, basic, "ip_dscp", 6/1, exact, set, Decimal, IP, "§7.2.3.7";
    /// Explicit congestion notification.
    IpEcn = 9, basic, "ip_ecn", 2/1, exact, set, Decimal, IP, "§7.2.3.7";
    /// IP protocol.
    IpProto = 10, basic, "ip_proto", 8/1, exact, set, Decimal, IP, "§7.2.3.7";
    /// IPv4 source.
    Ipv4Src = 11, basic, "ipv4_src", 32/4, mask, set, Ipv4, IPV4, "§7.2.3.7";
    /// IPv4 destination.
    Ipv4Dst = 12, basic, "ipv4_dst", 32/4, mask, set, Ipv4, IPV4, "§7.2.3.7";
    /// TCP source port.
    TcpSrc = 13, basic, "tcp_src", 16/2, exact, set, Decimal, TCP, "§7.2.3.7";
    /// TCP destination port.
    TcpDst = 14, basic, "tcp_dst", 16/2, exact, set, Decimal, TCP, "§7.2.3.7";
    /// UDP source port.
    UdpSrc = 15, basic, "udp_src", 16/2, exact, set, Decimal, UDP, "§7.2.3.7";
    /// UDP destination port.
    UdpDst = 16, basic, "udp_dst", 16/2, exact, set, Decimal, UDP, "§7.2.3.7";
    /// SCTP source port.
    SctpSrc = 17, basic, "sctp_src", 16/2, exact, set, Decimal, SCTP, "§7.2.3.7";
    /// SCTP destination port.
    SctpDst = 18, basic, "sctp_dst", 16/2, exact, set, Decimal, SCTP, "§7.2.3.7";
    /// ICMP type.
    Icmpv4Type = 19, basic, "icmpv4_type", 8/1, exact, set, Decimal, ICMPV4, "§7.2.3.7";
    /// ICMP code.
    Icmpv4Code = 20, basic, "icmpv4_code", 8/1, exact, set, Decimal, ICMPV4, "§7.2.3.7";
    /// ARP operation.
    ArpOp = 21, basic, "arp_op", 16/2, exact, set, Decimal, ARP, "§7.2.3.7";
    /// ARP sender IPv4 address.
    ArpSpa = 22, basic, "arp_spa", 32/4, mask, set, Ipv4, ARP, "§7.2.3.7";
    /// ARP target IPv4 address.
    ArpTpa = 23, basic, "arp_tpa", 32/4, mask, set, Ipv4, ARP, "§7.2.3.7";
    /// ARP sender MAC address.
    ArpSha = 24, basic, "arp_sha", 48/6, mask, set, Mac, ARP, "§7.2.3.7";
    /// ARP target MAC address.
    ArpTha = 25, basic, "arp_tha", 48/6, mask, set, Mac, ARP, "§7.2.3.7";
    /// IPv6 source.
    Ipv6Src = 26, basic, "ipv6_src", 128/16, mask, set, Ipv6, IPV6, "§7.2.3.7";
    /// IPv6 destination.
    Ipv6Dst = 27, basic, "ipv6_dst", 128/16, mask, set, Ipv6, IPV6, "§7.2.3.7";
    /// IPv6 flow label.
    Ipv6Flabel = 28, basic, "ipv6_flabel", 20/4, mask, set, Hex, IPV6, "§7.2.3.7";
    /// ICMPv6 type.
    Icmpv6Type = 29, basic, "icmpv6_type", 8/1, exact, set, Decimal, ICMPV6, "§7.2.3.7";
    /// ICMPv6 code.
    Icmpv6Code = 30, basic, "icmpv6_code", 8/1, exact, set, Decimal, ICMPV6, "§7.2.3.7";
    /// Target of neighbour discovery.
    Ipv6NdTarget = 31, basic, "ipv6_nd_target", 128/16, exact, set, Ipv6, ND, "§7.2.3.7";
    /// Source link-layer address of neighbour discovery.
    Ipv6NdSll = 32, basic, "ipv6_nd_sll", 48/6, exact, set, Mac, ND_SOLICITATION, "§7.2.3.7";
    /// Target link-layer address of neighbour discovery.
    Ipv6NdTll = 33, basic, "ipv6_nd_tll", 48/6, exact, set, Mac, ND_ADVERTISEMENT, "§7.2.3.7";
    /// MPLS label.
    MplsLabel = 34, basic, "mpls_label", 20/4, exact, set, Decimal, MPLS, "§7.2.3.7";
    /// MPLS traffic class.
    MplsTc = 35, basic, "mpls_tc", 3/1, exact, set, Decimal, MPLS, "§7.2.3.7";
    /// MPLS bottom of stack.
    MplsBos = 36, basic, "mpls_bos", 1/1, exact, set, Decimal, MPLS, "§7.2.3.7";
    /// PBB service instance.
    PbbIsid = 37, basic, "pbb_isid", 24/3, mask, set, Hex, PBB, "§7.2.3.7";
    /// Metadata of a logical port.
    TunnelId = 38, basic, "tunnel_id", 64/8, mask, set, Hex, NONE, "§7.2.3.7";
    /// IPv6 extension headers seen (ofp_ipv6exthdr_flags).
    Ipv6Exthdr = 39, basic, "ipv6_exthdr", 9/2, mask, fixed, Hex, IPV6, "§7.2.3.7";
    /// PBB use customer address (1.4 and later).
    PbbUca = 41, basic, "pbb_uca", 1/1, exact, set, Decimal, PBB, "1.4 §7.2.3.8";
    /// TCP flags, in 1.3 and 1.4 as the ONF extension 109.
    TcpFlags = 42, onf, "tcp_flags", 12/2, mask, fixed, Hex, TCP, "1.5 §7.2.3.8";
}

impl Field {
    const fn info(self) -> &'static Info {
        &Self::INFO[self as usize]
    }
    /// Number in its class (oxm_field).
    pub const fn id(self) -> u8 {
        self.info().id
    }
    /// Class on the wire in 1.3 (oxm_class).
    pub const fn class(self) -> u16 {
        self.info().class
    }
    /// The name in the specification, lower case.
    pub const fn name(self) -> &'static str {
        self.info().name
    }
    /// Significant bits.
    pub const fn bits(self) -> u8 {
        self.info().bits
    }
    /// Bytes of a value on the wire.
    pub const fn bytes(self) -> usize {
        self.info().bytes as usize
    }
    /// May be matched with a mask.
    pub const fn is_maskable(self) -> bool {
        self.info().maskable
    }
    /// May be written by set-field.
    pub const fn is_settable(self) -> bool {
        self.info().settable
    }
    /// How the text form writes it.
    pub const fn form(self) -> Form {
        self.info().form
    }
    /// What it needs beside it.
    pub const fn prerequisite(self) -> Prerequisite {
        self.info().prerequisite
    }
    /// The clause that defines it.
    pub const fn clause(self) -> &'static str {
        self.info().clause
    }
    /// All significant bits set.
    pub const fn full_mask(self) -> u128 {
        u128::MAX >> (128 - self.bits() as u32)
    }
    /// The field of the standard class with this number.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|f| f.id() == id && f.class() == CLASS_BASIC)
    }
    /// The field with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|f| f.name() == name)
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A field with the value it must have, or that is to be set.
///
/// The value's bits are those of the wire, lowest bit last. Bits outside the mask are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Oxm {
    /// Which field.
    pub field: Field,
    /// The value.
    pub value: u128,
    /// The bits that count; `None` if all do.
    pub mask: Option<u128>,
}

impl Oxm {
    /// All bits of `field` equal `value`; bits beyond its width are cut.
    pub const fn new(field: Field, value: u128) -> Self {
        Self { field, value: value & field.full_mask(), mask: None }
    }

    /// The bits of `mask` equal those of `value`. A mask of all significant bits becomes `None`.
    pub const fn masked(field: Field, value: u128, mask: u128) -> Self {
        let mask = mask & field.full_mask();
        let full = mask == field.full_mask();
        Self { field, value: value & mask, mask: if full { None } else { Some(mask) } }
    }

    /// The bits that count.
    pub fn effective_mask(&self) -> u128 {
        self.mask.unwrap_or(self.field.full_mask())
    }

    /// `value` satisfies it.
    pub fn accepts(&self, value: u128) -> bool {
        (value ^ self.value) & self.effective_mask() == 0
    }

    /// Whatever satisfies `other` satisfies this. Both are of the same field.
    pub fn covers(&self, other: &Self) -> bool {
        let mask = self.effective_mask();
        mask & !other.effective_mask() == 0 && (self.value ^ other.value) & mask == 0
    }

    /// Something satisfies both. Both are of the same field.
    pub fn overlaps(&self, other: &Self) -> bool {
        (self.value ^ other.value) & self.effective_mask() & other.effective_mask() == 0
    }

    /// `in_port`.
    pub const fn in_port(port: PortNo) -> Self {
        Self::new(Field::InPort, port.0 as u128)
    }

    /// A MAC address in a 48-bit field.
    pub const fn mac(field: Field, mac: MacAddr) -> Self {
        Self::new(field, mac.to_u64() as u128)
    }

    /// Tagged with this VLAN.
    pub const fn vlan(vlan: VlanId) -> Self {
        Self::new(Field::VlanVid, (vlan.get() | VID_PRESENT) as u128)
    }
}

impl fmt::Debug for Oxm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:#x}", self.field, self.value)?;
        match self.mask {
            Some(mask) => write!(f, "/{mask:#x}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        let mut last = None;
        for &field in Field::ALL {
            assert!(Some(field.id()) > last, "{field}: numbers ascend");
            last = Some(field.id());
            assert!(usize::from(field.bits()).div_ceil(8) <= field.bytes(), "{field}: the value fits");
            let needs = match field.prerequisite() {
                Prerequisite::None => continue,
                Prerequisite::Present(f) | Prerequisite::OneOf(f, _) => f,
                Prerequisite::Tagged => Field::VlanVid,
            };
            assert!(needs < field, "{field}: prerequisites come first");
        }
        assert_eq!(Field::ALL.iter().filter(|f| f.id() < 40).count(), 40);
    }

    #[test]
    fn masks_are_normalised() {
        assert_eq!(Oxm::masked(Field::EthType, 0x800, 0xffff), Oxm::new(Field::EthType, 0x800));
        assert_eq!(Oxm::masked(Field::Ipv4Dst, 0x0a01_0203, 0xff00_0000).value, 0x0a00_0000);
    }
}
