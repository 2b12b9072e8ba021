//! Frames of every kind, well-formed and spoilt.
#![allow(dead_code, reason = "each test file uses a part")]

use packet::vlan::{Tag, Tci};
use packet::{EtherType, IpProtocol, MacAddr, VlanId, arp, build, icmpv4, icmpv6, ipv4, nd, tcp};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

pub fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

pub fn v4() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

pub fn v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from)
}

pub fn tag() -> impl Strategy<Value = Tag> {
    (any::<bool>(), 1u16..4095, 0u8..8, any::<bool>()).prop_map(|(service, vid, pcp, dei)| Tag {
        tpid: if service { EtherType::QINQ } else { EtherType::VLAN },
        tci: Tci::new(VlanId::new(vid).ok(), pcp, dei),
    })
}

pub fn link(max_tags: usize) -> impl Strategy<Value = build::Link> {
    (mac(), mac(), prop::collection::vec(tag(), 0..=max_tags))
        .prop_map(|(src, dst, tags)| tags.into_iter().fold(build::ethernet(src, dst), build::Link::tag))
}

pub fn ip(max_tags: usize) -> impl Strategy<Value = build::Ip> {
    let options = prop::collection::vec(any::<u8>(), 0..=40);
    let v4 = (link(max_tags), v4(), v4(), options, any::<u16>()).prop_map(|(link, src, dst, options, id)| {
        link.ipv4(src, dst).with_ipv4(|h| {
            h.options = ipv4::Options::new(&options).expect("40 bytes at most");
            h.identification = id;
        })
    });
    let v6 = (link(max_tags), v6(), v6(), any::<u32>())
        .prop_map(|(link, src, dst, flow)| link.ipv6(src, dst).with_ipv6(|h| h.flow_label = flow & 0xf_ffff));
    (prop_oneof![v4, v6], any::<u8>(), 0u8..64).prop_map(|(ip, ttl, dscp)| ip.ttl(ttl).dscp(dscp))
}

pub fn tcp_header() -> impl Strategy<Value = tcp::Header> {
    let options = prop_oneof![
        Just(vec![]),
        Just(vec![2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
        prop::collection::vec(any::<u8>(), 0..=40)
    ];
    (any::<[u16; 2]>(), any::<[u32; 2]>(), 0u16..512, any::<u16>(), options).prop_map(
        |([src_port, dst_port], [seq, ack], flags, window, options)| tcp::Header {
            src_port,
            dst_port,
            seq,
            ack,
            flags: tcp::Flags(flags),
            window,
            options,
            ..Default::default()
        },
    )
}

/// A route whose prefix has no bits beyond those that are written.
fn nd_route() -> impl Strategy<Value = nd::Route> {
    let preference =
        prop_oneof![Just(nd::Preference::Low), Just(nd::Preference::Medium), Just(nd::Preference::High)];
    (0u8..=128, preference, any::<u32>(), v6()).prop_map(|(len, preference, lifetime, addr)| {
        let n_bits = u32::from(len).div_ceil(64) * 64;
        let kept = u128::MAX.checked_shl(128 - n_bits).unwrap_or(0);
        nd::Route { len, preference, lifetime, prefix: Ipv6Addr::from_bits(addr.to_bits() & kept) }
    })
}

pub fn nd_message() -> impl Strategy<Value = nd::Message> {
    let prefix =
        (0u8..=128, any::<[bool; 2]>(), any::<[u32; 2]>(), v6()).prop_map(|(len, flags, times, prefix)| {
            let [on_link, autonomous] = flags;
            nd::Prefix {
                len,
                on_link,
                autonomous,
                valid_lifetime: times[0],
                preferred_lifetime: times[1],
                prefix,
            }
        });
    let advert = (
        any::<u8>(),
        any::<[bool; 2]>(),
        any::<(u16, u32, u32)>(),
        prop::option::of(mac()),
        prop::option::of(any::<u32>()),
        prop::collection::vec(prefix, 0..4),
        (
            prop::collection::vec(v6(), 0..3),
            prop::collection::vec("[a-z]{1,9}(\\.[a-z]{1,5}){0,2}", 0..3),
            prop::collection::vec(nd_route(), 0..3),
        ),
    )
        .prop_map(
            |(hop_limit, [managed, other], times, source, mtu, prefixes, (dns, search, routes))| {
                nd::Message::RouterAdvert(nd::RouterAdvert {
                    hop_limit,
                    managed,
                    other,
                    router_lifetime: times.0,
                    reachable_time: times.1,
                    retrans_timer: times.2,
                    source,
                    mtu,
                    prefixes,
                    routes,
                    dns_lifetime: if dns.is_empty() && search.is_empty() { 0 } else { times.1 },
                    dns,
                    search,
                })
            },
        );
    let target = || v6().prop_filter("a group is no target", |a| !a.is_multicast());
    prop_oneof![
        prop::option::of(mac()).prop_map(|source| nd::Message::RouterSolicit { source }),
        advert,
        (target(), prop::option::of(mac()))
            .prop_map(|(target, source)| nd::Message::NeighbourSolicit { target, source }),
        (any::<[bool; 3]>(), target(), prop::option::of(mac())).prop_map(
            |([router, solicited, overrides], target, mac)| nd::Message::NeighbourAdvert {
                router,
                solicited,
                overrides,
                target,
                mac
            }
        ),
    ]
}

/// An IPv6 payload behind extension headers, and the protocol number to announce it with.
pub fn extended(udp: &[u8], kinds: &[u8], fragment: (u16, bool)) -> (IpProtocol, Vec<u8>) {
    let mut next = IpProtocol::UDP;
    let mut bytes = udp.to_vec();
    for kind in kinds.iter().rev() {
        let header: Vec<u8> = match *kind {
            44 => {
                let field = (fragment.0 << 3 | u16::from(fragment.1)).to_be_bytes();
                vec![next.0, 0, field[0], field[1], 1, 2, 3, 4]
            }
            51 => [next.0, 4].into_iter().chain([0; 22]).collect(),
            _ => [next.0, 1].into_iter().chain([0; 14]).collect(),
        };
        bytes = header.into_iter().chain(bytes).collect();
        next = IpProtocol(*kind);
    }
    (next, bytes)
}

/// Well-formed frames.
pub fn frame(max_tags: usize) -> impl Strategy<Value = Vec<u8>> {
    let data = || prop::collection::vec(any::<u8>(), 0..64);
    let arp = (link(max_tags), mac(), v4(), v4())
        .prop_map(|(link, mac, a, b)| link.arp(&arp::Packet::request(mac, a, b)));
    let icmp4 = (link(max_tags), v4(), v4(), any::<(u8, u8, [u8; 4])>(), data()).prop_map(
        |(link, a, b, (kind, code, rest), data)| {
            link.ipv4(a, b).icmpv4(&icmpv4::Message::Other { kind, code, rest }, &data)
        },
    );
    let icmp6 = (link(max_tags), v6(), v6(), any::<(u8, u8, [u8; 4])>(), data()).prop_map(
        |(link, a, b, (kind, code, rest), data)| {
            link.ipv6(a, b).icmpv6(&icmpv6::Message::Other { kind, code, rest }, &data)
        },
    );
    let extensions = prop::collection::vec(prop_oneof![Just(43u8), Just(44), Just(51), Just(60)], 0..5);
    let extended = (link(max_tags), v6(), v6(), extensions, 0u16..8, any::<bool>()).prop_map(
        |(link, a, b, kinds, at, more)| {
            let (first, bytes) = extended(&[0, 1, 0, 2, 0, 8, 0, 0], &kinds, (at, more));
            link.ipv6(a, b).payload(first, &bytes)
        },
    );
    prop_oneof![
        arp,
        icmp4,
        icmp6,
        extended,
        (ip(max_tags), any::<[u16; 2]>(), data()).prop_map(|(ip, [s, d], data)| ip.udp(s, d, &data)),
        (ip(max_tags), tcp_header(), data()).prop_map(|(ip, tcp, data)| ip.tcp(&tcp, &data)),
        (link(max_tags), v6(), v6(), nd_message()).prop_map(|(link, a, b, nd)| link.ipv6(a, b).nd(&nd)),
        (ip(max_tags), any::<u8>(), data()).prop_map(|(ip, p, data)| ip.payload(IpProtocol(p), &data)),
    ]
}

/// Frames with some bytes changed, some cut off.
pub fn spoilt(max_tags: usize) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (frame(max_tags), changes, prop::option::weighted(0.3, any::<prop::sample::Index>())).prop_map(
        |(mut bytes, changes, cut)| {
            for (at, value) in changes {
                // Most lies matter in the first bytes.
                let n = bytes.len().min(80);
                bytes[at.index(n)] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    )
}
