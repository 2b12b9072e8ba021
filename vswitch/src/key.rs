//! The key: what the switch knows of a frame, in words, and where each match field lies in them.
//!
//! Fields that no frame can have together share bits (their prerequisites tell them apart); a bit of [`Valid`] says
//! that a header was there to read, so that a flow for TCP port 0 does not match a fragment without ports.

use lookup::{Cond, Conds};
use openflow::{Field, Match, Oxm, PortNo};

/// Words of a key.
pub(crate) const N_WORDS: usize = 19;

/// All that is known of a frame.
pub(crate) type Key = [u64; N_WORDS];

/// Word 0: in_port, Ethertype, VLAN priority and id.
pub(crate) const PORT_TYPE_VLAN: usize = 0;
/// Word 1: destination, IP protocol, DSCP, ECN.
pub(crate) const DST_PROTO: usize = 1;
/// Word 2: source, [`Valid`].
pub(crate) const SRC_VALID: usize = 2;
/// Word 3.
pub(crate) const METADATA: usize = 3;
/// Word 4: IPv4 or ARP addresses, source first.
pub(crate) const IPV4: usize = 4;
/// Word 5: transport ports (or ICMP type and code, or the ARP operation), TCP flags, extension headers.
pub(crate) const TRANSPORT: usize = 5;
/// Words 6 and 7.
pub(crate) const IPV6_SRC: usize = 6;
/// Words 8 and 9.
pub(crate) const IPV6_DST: usize = 8;
/// Word 10: ARP sender, or source of neighbour discovery.
pub(crate) const MAC_SENDER: usize = 10;
/// Word 11: ARP target, or target of neighbour discovery.
pub(crate) const MAC_TARGET: usize = 11;
/// Words 12 and 13.
pub(crate) const ND_TARGET: usize = 12;
/// Word 14: IPv6 flow label, MPLS label, traffic class, bottom of stack.
pub(crate) const LABELS: usize = 14;
/// Word 15.
pub(crate) const TUNNEL: usize = 15;
/// Words 16 and 17: the inner VLAN tags, outermost first, 16 bits each as in word 0.
pub(crate) const INNER_TAGS: usize = 16;
/// Word 18: PBB service instance and customer address bit.
pub(crate) const PBB: usize = 18;

/// Bit of the VLAN bits of word 0: there is a tag.
pub(crate) const VID_PRESENT: u64 = 0x1000;

/// Bits of word 2 that say which headers were there.
pub(crate) struct Valid;

impl Valid {
    /// A transport header.
    pub(crate) const TRANSPORT: u64 = 1;
    /// The target of neighbour discovery.
    pub(crate) const ND: u64 = 2;
    /// Its source link-layer address.
    pub(crate) const SLL: u64 = 4;
    /// Its target link-layer address.
    pub(crate) const TLL: u64 = 8;
    /// An ARP packet for Ethernet and IPv4.
    pub(crate) const ARP: u64 = 16;
    /// An MPLS shim.
    pub(crate) const MPLS: u64 = 32;
    /// A PBB service tag.
    pub(crate) const PBB: u64 = 64;
}

/// How far a frame must be read for the fields a table matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Ethernet and tags.
    #[default]
    Link,
    /// IP addresses and protocol.
    Network,
    /// Everything.
    All,
}

/// Clears the words that count at [`Depth::Link`] and that not every frame sets; what the others hold is not looked at.
#[inline(always)]
pub(crate) fn clear_link(key: &mut Key) {
    for word in [METADATA, TUNNEL, INNER_TAGS, INNER_TAGS + 1] {
        key[word] = 0;
    }
}

/// Where a field lies: word, shift, and the bit of [`Valid`] it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub word: usize,
    pub shift: u32,
    pub valid: u64,
}

/// The layout table.
pub(crate) const fn slot(field: Field) -> Slot {
    use Field as F;
    let (word, shift, valid) = match field {
        // A port is its own physical port: there are no logical ports yet.
        F::InPort | F::InPhyPort => (PORT_TYPE_VLAN, 32, 0),
        F::EthType => (PORT_TYPE_VLAN, 16, 0),
        F::VlanPcp => (PORT_TYPE_VLAN, 13, 0),
        F::VlanVid => (PORT_TYPE_VLAN, 0, 0),
        F::EthDst => (DST_PROTO, 16, 0),
        F::IpProto => (DST_PROTO, 8, 0),
        F::IpDscp => (DST_PROTO, 2, 0),
        F::IpEcn => (DST_PROTO, 0, 0),
        F::EthSrc => (SRC_VALID, 16, 0),
        F::Metadata => (METADATA, 0, 0),
        F::Ipv4Src => (IPV4, 32, 0),
        F::Ipv4Dst => (IPV4, 0, 0),
        F::ArpSpa => (IPV4, 32, Valid::ARP),
        F::ArpTpa => (IPV4, 0, Valid::ARP),
        F::TcpSrc | F::UdpSrc | F::SctpSrc | F::Icmpv4Type | F::Icmpv6Type => {
            (TRANSPORT, 48, Valid::TRANSPORT)
        }
        F::TcpDst | F::UdpDst | F::SctpDst | F::Icmpv4Code | F::Icmpv6Code => {
            (TRANSPORT, 32, Valid::TRANSPORT)
        }
        F::TcpFlags => (TRANSPORT, 16, Valid::TRANSPORT),
        F::ArpOp => (TRANSPORT, 48, Valid::ARP),
        F::Ipv6Exthdr => (TRANSPORT, 0, 0),
        F::Ipv6Src => (IPV6_SRC, 0, 0),
        F::Ipv6Dst => (IPV6_DST, 0, 0),
        F::ArpSha => (MAC_SENDER, 16, Valid::ARP),
        F::Ipv6NdSll => (MAC_SENDER, 16, Valid::SLL),
        F::ArpTha => (MAC_TARGET, 16, Valid::ARP),
        F::Ipv6NdTll => (MAC_TARGET, 16, Valid::TLL),
        F::Ipv6NdTarget => (ND_TARGET, 0, Valid::ND),
        F::Ipv6Flabel => (LABELS, 44, 0),
        F::MplsLabel => (LABELS, 24, Valid::MPLS),
        F::MplsTc => (LABELS, 21, Valid::MPLS),
        F::MplsBos => (LABELS, 20, Valid::MPLS),
        F::TunnelId => (TUNNEL, 0, 0),
        F::PbbIsid => (PBB, 40, Valid::PBB),
        F::PbbUca => (PBB, 39, Valid::PBB),
    };
    Slot { word, shift, valid }
}

/// The field fills two words.
pub(crate) const fn is_wide(field: Field) -> bool {
    field.bits() == 128
}

/// The masks of a value's bits in the words of its field.
pub(crate) fn spread(field: Field, value: u128) -> [(usize, u64); 2] {
    let at = slot(field);
    if is_wide(field) {
        [(at.word, (value >> 64) as u64), (at.word + 1, value as u64)]
    } else {
        [(at.word, (value as u64) << at.shift), (at.word, 0)]
    }
}

/// Reads a field of a key.
pub(crate) fn get(key: &Key, field: Field) -> u128 {
    let at = slot(field);
    if is_wide(field) {
        u128::from(key[at.word]) << 64 | u128::from(key[at.word + 1])
    } else {
        u128::from(key[at.word] >> at.shift) & field.full_mask()
    }
}

/// Writes a field of a key.
pub(crate) fn set(key: &mut Key, field: Field, value: u128) {
    let masks = spread(field, field.full_mask());
    for ((word, mask), (_, value)) in masks.into_iter().zip(spread(field, value)) {
        key[word] = key[word] & !mask | value & mask;
    }
}

/// The conditions of a match; none if no frame can satisfy it.
pub(crate) fn conds(matches: &Match) -> Option<Conds> {
    let mut value: Key = [0; N_WORDS];
    let mut mask: Key = [0; N_WORDS];
    let mut put = |word: usize, v: u64, m: u64| {
        let clash = (value[word] ^ v) & mask[word] & m != 0;
        value[word] |= v;
        mask[word] |= m;
        !clash
    };
    for oxm in matches {
        let masks = spread(oxm.field, oxm.effective_mask());
        for ((word, m), (_, v)) in masks.into_iter().zip(spread(oxm.field, oxm.value)) {
            if !put(word, v, m) {
                return None;
            }
        }
        let valid = slot(oxm.field).valid;
        put(SRC_VALID, valid, valid);
    }
    let words = (0..N_WORDS).filter(|&word| mask[word] != 0);
    Some(words.map(|word| Cond { word: word as u8, value: value[word], mask: mask[word] }).collect())
}

/// How far a frame must be read for these bits.
pub(crate) fn depth(mask: &Key) -> Depth {
    const LINK: [usize; 4] = [PORT_TYPE_VLAN, METADATA, TUNNEL, INNER_TAGS];
    let beyond = |word: usize| match word {
        DST_PROTO | SRC_VALID => mask[word] & 0xffff,
        word if LINK.contains(&word) || word == INNER_TAGS + 1 => 0,
        word => mask[word],
    };
    let network = [DST_PROTO, IPV4, IPV6_SRC, IPV6_SRC + 1, IPV6_DST, IPV6_DST + 1];
    let needed = |word: &usize| beyond(*word) != 0;
    if (0..N_WORDS).filter(|word| !network.contains(word)).any(|word| needed(&word)) {
        Depth::All
    } else if network.iter().any(needed) {
        Depth::Network
    } else {
        Depth::Link
    }
}

/// The fields of a key that say something, as a match: for traces.
pub(crate) fn describe(key: &Key, in_port: PortNo) -> Match {
    let mut fields = vec![Oxm::in_port(in_port)];
    for &field in Field::ALL {
        if matches!(field, Field::InPort | Field::InPhyPort) || slot(field).valid & !key[SRC_VALID] != 0 {
            continue;
        }
        let oxm = Oxm::new(field, get(key, field));
        let optional = matches!(
            field,
            Field::Metadata | Field::TunnelId | Field::Ipv6Exthdr | Field::Ipv6Flabel | Field::TcpFlags
        );
        let candidate = fields.iter().copied().chain([oxm]);
        if (!optional || oxm.value != 0) && Match::from_fields(candidate).is_ok() {
            fields.push(oxm);
        }
    }
    Match::from_fields(fields).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_may_meet_do_not_share_bits() {
        // Two fields may be in one match if a match with both satisfies every prerequisite.
        let valid = |a: Field, b: Field| {
            let mut fields = Vec::new();
            for field in [a, b] {
                let mut need = Some(field);
                while let Some(f) = need {
                    let (value, next) = match f.prerequisite() {
                        openflow::oxm::Prerequisite::OneOf(g, values) => (Some((g, values[0])), Some(g)),
                        openflow::oxm::Prerequisite::Present(g) => (Some((g, 0)), Some(g)),
                        openflow::oxm::Prerequisite::Tagged => (Some((Field::VlanVid, 0x1000)), None),
                        openflow::oxm::Prerequisite::None => (None, None),
                    };
                    fields.extend(value.map(|(g, v)| Oxm::new(g, v.into())));
                    need = next;
                }
                if !fields.iter().any(|o: &Oxm| o.field == field) {
                    fields.push(Oxm::new(field, 0));
                }
            }
            fields.sort_by_key(|o| (o.field, o.value));
            fields.dedup();
            Match::from_fields(fields).is_ok()
        };
        for &a in Field::ALL {
            for &b in Field::ALL.iter().filter(|&&b| b > a) {
                let overlap = spread(a, a.full_mask()).into_iter().any(|(word, mask)| {
                    spread(b, b.full_mask()).into_iter().any(|(w, m)| w == word && m & mask != 0)
                });
                let same_port = (a, b) == (Field::InPort, Field::InPhyPort);
                assert!(!overlap || same_port || !valid(a, b), "{a} and {b} share bits");
            }
        }
    }

    #[test]
    fn set_and_get() {
        for &field in Field::ALL {
            let mut key = [u64::MAX; N_WORDS];
            set(&mut key, field, 0);
            assert_eq!(get(&key, field), 0);
            let value = field.full_mask() / 3;
            set(&mut key, field, value);
            assert_eq!(get(&key, field), value, "{field}");
        }
    }

    #[test]
    fn depth_follows_the_fields() {
        let depth_of = |m: Match| {
            let mut mask = [0; N_WORDS];
            conds(&m).expect("satisfiable").iter().for_each(|c| mask[c.word as usize] |= c.mask);
            depth(&mask)
        };
        assert_eq!(depth_of(Match::new().eth_type(0x800).in_port(PortNo(1))), Depth::Link);
        assert_eq!(depth_of(Match::new().ip_proto(6)), Depth::Network);
        assert_eq!(depth_of(Match::new().tcp_dst(6)), Depth::All);
    }
}
