//! Every match field, over every encapsulation: exact, masked and not matching, to a port and to the controller.

use openflow::{
    Action, Cookie, Field, FlowMod, Instruction, Match, MatchError, Message, Oxm, PacketInReason, Priority,
    TableId,
};
use vswitch::standalone::Standalone;

use crate::wire::{self, Encap, Kind, Values, frame};
use crate::{IN, OUT, switch};

/// Which encapsulations leave the field where the standard finds it (§7.2.3.7).
type Reach = &'static [Encap];
const EVERYWHERE: Reach = &Encap::ALL;
const TAGS: Reach = &[Encap::Vlan, Encap::QinQ, Encap::VlanMpls];
const PACKET: Reach = &[Encap::Plain, Encap::Vlan, Encap::QinQ];
const LABEL: Reach = &[Encap::Mpls, Encap::VlanMpls];
const SERVICE: Reach = &[Encap::Pbb];

/// A field, the frame it is looked for in, what a match on it needs beside it, and where it is found.
struct Row(Field, Kind, &'static [(Field, u128)], Reach);

const IP4: (Field, u128) = (Field::EthType, 0x0800);
const IP6: (Field, u128) = (Field::EthType, 0x86dd);
const ARP: &[(Field, u128)] = &[(Field::EthType, 0x0806)];
const MPLS: &[(Field, u128)] = &[(Field::EthType, 0x8847)];
const PBB: &[(Field, u128)] = &[(Field::EthType, 0x88e7)];
const fn ip4(proto: u128) -> [(Field, u128); 2] {
    [IP4, (Field::IpProto, proto)]
}
const fn ip6(proto: u128) -> [(Field, u128); 2] {
    [IP6, (Field::IpProto, proto)]
}
const fn nd(kind: u128) -> [(Field, u128); 3] {
    [IP6, (Field::IpProto, 58), (Field::Icmpv6Type, kind)]
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row(Field::InPort, Kind::Tcp4, &[], EVERYWHERE),
    Row(Field::InPhyPort, Kind::Tcp4, &[(Field::InPort, 1)], EVERYWHERE),
    Row(Field::Metadata, Kind::Tcp4, &[], EVERYWHERE),
    Row(Field::TunnelId, Kind::Tcp4, &[], EVERYWHERE),
    Row(Field::EthDst, Kind::Tcp4, &[], EVERYWHERE),
    Row(Field::EthSrc, Kind::Tcp4, &[], EVERYWHERE),
    Row(Field::EthType, Kind::Tcp4, &[], PACKET),
    Row(Field::EthType, Kind::Tcp6, &[], PACKET),
    Row(Field::EthType, Kind::Arp, &[], PACKET),
    Row(Field::VlanVid, Kind::Tcp4, &[], TAGS),
    Row(Field::VlanPcp, Kind::Tcp4, &[(Field::VlanVid, 0x1123)], TAGS),
    Row(Field::IpDscp, Kind::Tcp4, &[IP4], PACKET),
    Row(Field::IpDscp, Kind::Tcp6, &[IP6], PACKET),
    Row(Field::IpEcn, Kind::Tcp4, &[IP4], PACKET),
    Row(Field::IpEcn, Kind::Tcp6, &[IP6], PACKET),
    Row(Field::IpProto, Kind::Tcp4, &[IP4], PACKET),
    Row(Field::IpProto, Kind::Tcp6, &[IP6], PACKET),
    Row(Field::IpProto, Kind::Hop6, &[IP6], PACKET),
    Row(Field::Ipv4Src, Kind::Tcp4, &[IP4], PACKET),
    Row(Field::Ipv4Dst, Kind::Tcp4, &[IP4], PACKET),
    Row(Field::TcpSrc, Kind::Tcp4, &ip4(6), PACKET),
    Row(Field::TcpDst, Kind::Tcp4, &ip4(6), PACKET),
    Row(Field::TcpFlags, Kind::Tcp4, &ip4(6), PACKET),
    Row(Field::TcpSrc, Kind::Tcp6, &ip6(6), PACKET),
    Row(Field::TcpDst, Kind::Hop6, &ip6(6), PACKET),
    Row(Field::TcpFlags, Kind::Tcp6, &ip6(6), PACKET),
    Row(Field::UdpSrc, Kind::Udp4, &ip4(17), PACKET),
    Row(Field::UdpDst, Kind::Udp4, &ip4(17), PACKET),
    Row(Field::UdpSrc, Kind::Udp6, &ip6(17), PACKET),
    Row(Field::UdpDst, Kind::Udp6, &ip6(17), PACKET),
    Row(Field::SctpSrc, Kind::Sctp4, &ip4(132), PACKET),
    Row(Field::SctpDst, Kind::Sctp4, &ip4(132), PACKET),
    Row(Field::SctpSrc, Kind::Sctp6, &ip6(132), PACKET),
    Row(Field::SctpDst, Kind::Sctp6, &ip6(132), PACKET),
    Row(Field::Icmpv4Type, Kind::Icmp4, &ip4(1), PACKET),
    Row(Field::Icmpv4Code, Kind::Icmp4, &ip4(1), PACKET),
    Row(Field::ArpOp, Kind::Arp, ARP, PACKET),
    Row(Field::ArpSpa, Kind::Arp, ARP, PACKET),
    Row(Field::ArpTpa, Kind::Arp, ARP, PACKET),
    Row(Field::ArpSha, Kind::Arp, ARP, PACKET),
    Row(Field::ArpTha, Kind::Arp, ARP, PACKET),
    Row(Field::Ipv6Src, Kind::Tcp6, &[IP6], PACKET),
    Row(Field::Ipv6Dst, Kind::Tcp6, &[IP6], PACKET),
    Row(Field::Ipv6Flabel, Kind::Tcp6, &[IP6], PACKET),
    Row(Field::Icmpv6Type, Kind::Icmp6, &ip6(58), PACKET),
    Row(Field::Icmpv6Code, Kind::Icmp6, &ip6(58), PACKET),
    Row(Field::Ipv6NdTarget, Kind::Solicit, &nd(135), PACKET),
    Row(Field::Ipv6NdTarget, Kind::Advert, &nd(136), PACKET),
    Row(Field::Ipv6NdSll, Kind::Solicit, &nd(135), PACKET),
    Row(Field::Ipv6NdTll, Kind::Advert, &nd(136), PACKET),
    Row(Field::MplsLabel, Kind::Tcp4, MPLS, LABEL),
    Row(Field::MplsTc, Kind::Tcp4, MPLS, LABEL),
    Row(Field::MplsBos, Kind::Tcp4, MPLS, LABEL),
    Row(Field::PbbIsid, Kind::Tcp4, PBB, SERVICE),
    Row(Field::PbbUca, Kind::Tcp4, PBB, SERVICE),
    Row(Field::Ipv6Exthdr, Kind::Tcp6, &[IP6], PACKET),
    Row(Field::Ipv6Exthdr, Kind::Hop6, &[IP6], PACKET),
];

impl Row {
    /// What the field has in the row's frame.
    fn value(&self) -> u128 {
        match (self.0, self.1) {
            (Field::EthType, Kind::Arp) => 0x0806,
            (Field::EthType, Kind::Tcp6) => 0x86dd,
            (Field::EthType, _) => 0x0800,
            (Field::IpProto, _) => 6,
            // OFPIEH_HOP (§7.2.3.7).
            (Field::Ipv6Exthdr, Kind::Hop6) => 1 << 6,
            (field, _) => wire::default(field),
        }
    }

    /// The mask of the masked cases: every other bit, and the one without which VLAN_VID means nothing.
    fn mask(&self) -> u128 {
        let mask = 0x5555_5555_5555_5555_5555_5555_5555_5555 & self.0.full_mask();
        if self.0 == Field::VlanVid { mask | 0x1000 } else { mask }
    }

    /// Conditions with the verdict each deserves: satisfied, and wrong in its lowest and in its highest bit.
    fn conditions(&self) -> Vec<(&'static str, Oxm, bool)> {
        let (field, value, mask) = (self.0, self.value(), self.mask());
        let bits = if field == Field::VlanVid { 12 } else { field.bits() };
        let top = 1 << (bits - 1);
        let mut all = vec![
            ("exact", Oxm::new(field, value), true),
            ("exact, lowest bit wrong", Oxm::new(field, value ^ 1), false),
            ("exact, highest bit wrong", Oxm::new(field, value ^ top), false),
        ];
        if field.is_maskable() {
            let wrong = |bit| Oxm::masked(field, value & mask ^ bit, mask);
            all.push(("masked", wrong(0), true));
            all.push(("masked, lowest bit wrong", wrong(1), false));
            all.push((
                "masked, highest bit wrong",
                wrong(1 << (127 - mask.leading_zeros()) & !0x1000),
                false,
            ));
            // Clearing the present bit alone would leave a condition that no other test here needs.
            all.retain(|(_, oxm, hit)| *hit || !oxm.accepts(value));
        }
        all
    }

    fn matches(&self, oxm: Oxm) -> Match {
        let needs = self.2.iter().map(|&(field, value)| Oxm::new(field, value));
        Match::from_fields(needs.chain([oxm])).unwrap_or_else(|why| panic!("{}: {why}", self.0))
    }
}

/// Table 0 writes the metadata; the flow under test is alone in table 1.
fn with_flow(matches: Match, action: Action) -> Standalone {
    let mut s = switch();
    let metadata = wire::default(Field::Metadata) as u64;
    let first =
        vec![Instruction::WriteMetadata { metadata, mask: u64::MAX }, Instruction::GotoTable(TableId(1))];
    s.flow(FlowMod::add(TableId(0), Priority(0), Match::new(), first));
    let tested =
        FlowMod::add(TableId(1), Priority(7), matches, vec![Instruction::ApplyActions(vec![action])]);
    s.flow(FlowMod { cookie: Cookie(0xc0de), ..tested });
    s
}

/// Whether the frame came out of port 2 as it was; anything else but nothing at all is wrong.
fn reaches_port(matches: Match, bytes: &[u8]) -> bool {
    let sent = with_flow(matches, Action::output(OUT)).receive(IN, bytes);
    assert!(sent.is_empty() || sent == [(OUT, bytes.to_vec())], "{sent:?}");
    !sent.is_empty()
}

/// Whether the controller got the frame, which must come with the pipeline's fields and no others.
fn reaches_controller(matches: Match, bytes: &[u8]) -> bool {
    let mut s = with_flow(matches, Action::controller(openflow::NO_BUFFER_LEN));
    assert!(s.receive(IN, bytes).is_empty());
    let replies = s.messages();
    let [Message::PacketIn(punt)] = &replies[..] else {
        assert!(replies.is_empty(), "{replies:?}");
        return false;
    };
    // §7.4.1: the pipeline fields of the packet that are not zero; IN_PHY_PORT only where it differs from IN_PORT.
    let metadata = Oxm::new(Field::Metadata, wire::default(Field::Metadata));
    assert_eq!(punt.matches, Match::pipeline([Oxm::in_port(IN), metadata]));
    assert_eq!((punt.table, punt.cookie, punt.reason), (TableId(1), Cookie(0xc0de), PacketInReason::Action));
    assert_eq!((&punt.data[..], usize::from(punt.total_len)), (bytes, bytes.len()));
    true
}

#[test]
fn every_field_matches_where_the_standard_finds_it_and_nowhere_else() {
    let (mut n_hits, mut n_misses, mut wrong) = (0, 0, Vec::new());
    for row in ROWS {
        for encap in Encap::ALL {
            let bytes = frame(row.1, encap, &Values::default());
            for (what, oxm, satisfied) in row.conditions() {
                let expected = satisfied && row.3.contains(&encap);
                let matches = row.matches(oxm);
                let found = [reaches_port(matches.clone(), &bytes), reaches_controller(matches, &bytes)];
                if found != [expected; 2] {
                    wrong.push(format!("{} {:?} {encap:?} {what}: {found:?}", row.0, row.1));
                }
                *(if expected { &mut n_hits } else { &mut n_misses }) += 2;
            }
        }
    }
    println!("match fields: {} rows, {n_hits} cases that match, {n_misses} that do not", ROWS.len());
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// VLAN_VID of NONE, and any tag (§7.2.3.7, table 13).
#[test]
fn tags_match_by_their_presence() {
    let none = Match::new().untagged();
    let any = Match::new().tagged();
    for encap in Encap::ALL {
        let bytes = frame(Kind::Udp4, encap, &Values::default());
        let tagged = TAGS.contains(&encap);
        assert_eq!(reaches_port(none.clone(), &bytes), !tagged, "{encap:?}");
        assert_eq!(reaches_port(any.clone(), &bytes), tagged, "{encap:?}");
    }
}

#[test]
fn what_a_match_may_not_say_is_refused() {
    let mut n_cases = 0;
    for row in ROWS {
        let (field, oxm) = (row.0, Oxm::new(row.0, row.value()));
        if !row.2.is_empty() {
            assert_eq!(Match::from_fields([oxm]), Err(MatchError::Prerequisite(field)), "{field}");
            n_cases += 1;
        }
        if !field.is_maskable() {
            let masked = Oxm { mask: Some(row.mask()), value: row.value() & row.mask(), ..oxm };
            let needs = row.2.iter().map(|&(field, value)| Oxm::new(field, value));
            let refused = Match::from_fields(needs.chain([masked]));
            // One bit cannot be masked but wholly.
            if row.mask() != field.full_mask() {
                assert_eq!(refused, Err(MatchError::BadMask(field)), "{field}");
                n_cases += 1;
            }
        }
    }
    println!("match fields: {n_cases} refusals");
}

#[test]
fn no_field_is_without_a_row() {
    let rows: Vec<Field> = ROWS.iter().map(|row| row.0).collect();
    let missing: Vec<_> = Field::ALL.iter().filter(|field| !rows.contains(field)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
