//! What goes up to the shadow of an interface, and what comes down from it.

mod net;

use net::v6::{A6, LAN6, dual};
use net::*;
use packet::tcp::Flags;
use packet::vlan::Tag;
use packet::{EtherType, Frame, IpProtocol, MacAddr, PortNo, VlanId, arp, build, icmpv4, nd};
use vrouter::{DnsConfig, Drop, RouterConfig};

const LAN_SHADOW: u32 = 101;
const VLAN_SHADOW: u32 = 102;
const WAN_SHADOW: u32 = 103;
const OSPF: IpProtocol = IpProtocol(89);
const ALL_OSPF: &str = "224.0.0.5";

fn shadowed(mut config: RouterConfig) -> RouterConfig {
    for (interface, port) in config.interfaces.iter_mut().zip([LAN_SHADOW, VLAN_SHADOW, WAN_SHADOW]) {
        interface.shadow = Some(PortNo(port));
    }
    config
}

/// Frames that come out for one, with their ports.
fn out(net: &mut Net, port: u32, bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let out = net.raw(port, Frame::from_bytes(bytes));
    out.into_iter().map(|(port, frame)| (port.0, frame.to_vec())).collect()
}

/// The same frame between other stations.
fn between(src: MacAddr, dst: MacAddr, bytes: &[u8]) -> Vec<u8> {
    [&dst.0[..], &src.0, &bytes[12..]].concat()
}

/// Without its outermost tag.
fn untagged(bytes: &[u8]) -> Vec<u8> {
    [&bytes[..12], &bytes[16..]].concat()
}

fn group(last: u8) -> MacAddr {
    MacAddr([1, 0, 0x5e, 0, 0, last])
}

#[test]
fn groups_of_the_link_go_up_as_they_came() {
    let mut net = Net::new(shadowed(dual()), 1);
    net.drops();
    let hello = build::ethernet(mac(2), group(5)).ipv4(A, ip(ALL_OSPF)).ttl(1).payload(OSPF, &[7; 44]);
    assert_eq!(out(&mut net, LAN, &hello), [(LAN_SHADOW, hello.clone())]);
    // In a VLAN, to the shadow of its interface, without the tag.
    let tagged = build::ethernet(mac(4), group(5)).vlan(VlanId::new(20).expect("a VLAN"));
    let tagged = tagged.ipv4(C, ip(ALL_OSPF)).ttl(1).payload(OSPF, &[7; 44]);
    assert_eq!(out(&mut net, LAN, &tagged), [(VLAN_SHADOW, untagged(&tagged))]);
    let v6 = build::ethernet(mac(2), nd::multicast_mac("ff02::5".parse().expect("a group")));
    let v6 = v6.ipv6(nd::link_local(mac(2)), "ff02::5".parse::<std::net::Ipv6Addr>().expect("a group"));
    let v6 = v6.ttl(1).payload(OSPF, &[7; 36]);
    assert_eq!(out(&mut net, LAN, &v6), [(LAN_SHADOW, v6.clone())]);
    // IS-IS, which has a length in the place of an EtherType; LLDP.
    for (dst, ethertype) in [([1, 0x80, 0xc2, 0, 0, 0x14], 60), ([1, 0x80, 0xc2, 0, 0, 0x0e], 0x88cc)] {
        let frame = build::ethernet(mac(2), MacAddr(dst)).payload(EtherType(ethertype), &[0xfe; 60]);
        assert_eq!(out(&mut net, LAN, &frame), [(LAN_SHADOW, frame.clone())]);
    }
    assert_eq!(net.drops(), []);
    // Wider groups, and what nobody could have sent, do not.
    let wide = build::ethernet(mac(2), group(9)).ipv4(A, ip("239.0.0.9")).udp(1, 2, b"x");
    net.none(LAN, &wide, Drop::Multicast);
    let forged =
        build::ethernet(mac(2), group(5)).ipv4(ip("127.0.0.1"), ip(ALL_OSPF)).payload(OSPF, &[7; 44]);
    net.none(LAN, &forged, Drop::MartianSource);
}

#[test]
fn packets_for_the_router_go_up_unless_it_answers_itself() {
    let mut config = shadowed(nat());
    config.dns =
        DnsConfig { interfaces: vec!["lan".into()], servers: vec![R.into()], ..DnsConfig::default() };
    let mut net = Net::new(config, 1);
    let up = |frame: &[u8], last: u8| between(MacAddr::ZERO, mac(0xf0 + last), frame);
    let bgp = segment((GATEWAY, 40_000), (WAN_IP, 179), Flags::SYN, &[]);
    assert_eq!(out(&mut net, WAN, &bgp), [(WAN_SHADOW, up(&bgp, 2))]);
    let bfd = link(A).ipv4(A, LAN_IP).ttl(255).udp(49_152, 3784, &[1; 24]);
    assert_eq!(out(&mut net, LAN, &bfd), [(LAN_SHADOW, up(&bfd, 1))]);
    let exchange = link(A).ipv4(A, LAN_IP).ttl(1).payload(OSPF, &[2; 44]);
    assert_eq!(out(&mut net, LAN, &exchange), [(LAN_SHADOW, up(&exchange, 1))]);
    // For an address of another interface, by the shadow of the one it came by.
    let across = segment((A, 40_000), (WAN_IP, 179), Flags::SYN, &[]);
    assert_eq!(out(&mut net, LAN, &across), [(LAN_SHADOW, up(&across, 1))]);
    // Answers to what the shadow asked, and errors about it.
    let pong = pong(A, LAN_IP, 7);
    assert_eq!(out(&mut net, LAN, &pong), [(LAN_SHADOW, up(&pong, 1))]);
    let error = icmpv4::Message::DestinationUnreachable(icmpv4::Unreachable::Port);
    let error =
        link(A).icmpv4_error(A, &error, packet_of(&udp((LAN_IP, 9), (A, 9), b"x"))).expect("an error");
    assert_eq!(out(&mut net, LAN, &error), [(LAN_SHADOW, up(&error, 1))]);
    // Fragments go up one by one: the kernel there puts them together.
    for piece in cut(&link(A).ipv4(A, LAN_IP).payload(OSPF, &[3; 64]), 1, &[32]) {
        assert_eq!(out(&mut net, LAN, &piece), [(LAN_SHADOW, up(&piece, 1))]);
    }
    assert_eq!(net.drops(), []);

    // The router's own: echo requests, its services, what is translated.
    assert_eq!(net.one(LAN, &ping(A, LAN_IP, 7)).port, LAN);
    let asks = udp((A, 5000), (LAN_IP, 53), b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01");
    assert!(net.send(LAN, &asks).iter().all(|sent| sent.port != LAN_SHADOW));
    let forwarded = net.one(WAN, &segment((R, 1), (WAN_IP, 8080), Flags::SYN, &[]));
    assert_eq!((forwarded.port, forwarded.dst), (LAN, A));
    // Others are forwarded, and none but its own frames reach it.
    assert_eq!(net.one(LAN, &udp((A, 1), (R, 179), b"x")).port, WAN);
    net.none(LAN, &between(mac(2), mac(9), &bfd), Drop::NotForUs);
}

#[test]
fn without_a_shadow_everything_is_as_before() {
    let mut config = shadowed(plain());
    config.interfaces[0].shadow = None;
    let mut net = Net::new(config, 1);
    net.none(
        LAN,
        &build::ethernet(mac(2), group(5)).ipv4(A, ip(ALL_OSPF)).payload(OSPF, &[7; 44]),
        Drop::Multicast,
    );
    net.none(
        LAN,
        &build::ethernet(mac(2), group(5)).payload(EtherType(60), &[7; 60]),
        Drop::UnknownEthertype,
    );
    let refused = net.one(LAN, &udp((A, 1), (LAN_IP, 3784), b"x"));
    assert_eq!(refused.icmp.map(|(kind, code, _)| (kind, code)), Some((3, 3)));
}

#[test]
fn answers_of_neighbours_go_up_and_questions_do_not() {
    let mut net = Net::new(shadowed(dual()), 1);
    net.drops();
    let own = mac(0xf1);
    let question = arp::Packet::request(own, LAN_IP, A);
    let answer = build::arp_reply(&question, mac(2));
    assert_eq!(out(&mut net, LAN, &answer), [(LAN_SHADOW, answer.clone())]);
    let asked = out(&mut net, LAN, &build::arp_request(mac(2), A, LAN_IP));
    assert!(asked.len() == 1 && asked[0].0 == LAN, "the router alone answers");
    // An answer to somebody else is nobody's here.
    let other = between(mac(2), own, &build::arp_reply(&arp::Packet::request(mac(3), B, A), mac(2)));
    net.none(LAN, &other, Drop::ArpIgnored);

    let solicited = nd::Message::NeighbourAdvert {
        router: false,
        solicited: true,
        overrides: true,
        target: A6,
        mac: Some(mac(2)),
    };
    let advert = build::ethernet(mac(2), own).ipv6(A6, LAN6).nd(&solicited);
    assert_eq!(out(&mut net, LAN, &advert), [(LAN_SHADOW, advert.clone())]);
    let asked = out(&mut net, LAN, &build::neighbour_solicit(mac(2), A6, LAN6));
    assert!(asked.len() == 1 && asked[0].0 == LAN);
    // Routers speak to routers: a daemon may want to hear them.
    let router =
        nd::Message::RouterAdvert(nd::RouterAdvert { router_lifetime: 1800, ..nd::RouterAdvert::default() });
    let all: std::net::Ipv6Addr = "ff02::1".parse().expect("a group");
    let router =
        build::ethernet(mac(2), nd::multicast_mac(all)).ipv6(nd::link_local(mac(2)), all).nd(&router);
    assert_eq!(out(&mut net, LAN, &router), [(LAN_SHADOW, router.clone())]);
    assert_eq!(net.drops(), []);
    // Against RFC 4861 §7.1.2: nobody has asked for the group.
    let to_all = build::ethernet(mac(2), nd::multicast_mac(all)).ipv6(A6, all).nd(&solicited);
    net.none(LAN, &to_all, Drop::BadNd);
}

#[test]
fn what_a_shadow_sends_leaves_as_it_is() {
    let mut config = shadowed(plain());
    config.interfaces[1].inner_vlan = Some(VlanId::new(7).expect("a VLAN"));
    let mut net = Net::new(config, 1);
    let hello =
        build::ethernet(mac(0xf1), group(5)).ipv4(LAN_IP, ip(ALL_OSPF)).ttl(1).payload(OSPF, &[7; 44]);
    assert_eq!(out(&mut net, LAN_SHADOW, &hello), [(LAN, hello.clone())]);
    let sent = out(&mut net, VLAN_SHADOW, &hello);
    let tags = [Tag::service(VlanId::new(20).expect("a VLAN")), Tag::new(VlanId::new(7).expect("a VLAN"))];
    let tagged = tags.map(|tag| tag.to_bytes()).concat();
    assert_eq!(sent, [(LAN, [&hello[..12], &tagged, &hello[12..]].concat())]);
    // Whoever it is for: nothing of the router looks at it.
    for frame in
        [build::arp_request(mac(0xf1), LAN_IP, A), segment((LAN_IP, 179), (R, 40_000), Flags::SYN, &[])]
    {
        assert_eq!(out(&mut net, LAN_SHADOW, &frame), [(LAN, frame.clone())]);
    }
    assert_eq!(net.drops(), []);
    // Where the interface has gone, so has the way.
    let mut config = plain();
    config.interfaces.remove(0);
    net.configure(config);
    net.none(LAN_SHADOW, &hello, Drop::NoInterface);
}

#[test]
fn offloads_and_floods() {
    let mut net = Net::new(shadowed(plain()), 1);
    // A checksum that is left to the output lies behind the new header as it did behind the old.
    let bytes = segment((A, 40_000), (LAN_IP, 179), Flags::ACK, &[5; 3000]);
    let mut frame = Frame::from_bytes(&bytes);
    frame.meta.csum = Some(packet::CsumPartial { start: 34, offset: 16 });
    frame.meta.gso = Some(packet::Gso { kind: packet::GsoKind::Tcp4, size: 1460, ecn: false });
    let (meta, up) = (frame.meta, net.raw(LAN, frame).into_iter().next().expect("it goes up"));
    assert_eq!(
        (up.0, up.1.meta.csum, up.1.meta.gso, up.1.len()),
        (PortNo(LAN_SHADOW), meta.csum, meta.gso, bytes.len())
    );
    let mut down = Frame::from_bytes(&bytes);
    down.meta.csum = meta.csum;
    let (port, down) = net.raw(VLAN_SHADOW, down).into_iter().next().expect("it goes out");
    assert_eq!((port, down.meta.csum.map(|csum| csum.start)), (PortNo(LAN), Some(38)));
    // A flood takes no more than a bounded part of the worker's time; what is forwarded goes on.
    let flood = link(A).ipv4(A, LAN_IP).payload(OSPF, &[0; 20]);
    let n_up = (0..6000).filter(|_| !net.raw(LAN, Frame::from_bytes(&flood)).is_empty()).count();
    assert_eq!(n_up, 4095, "of a burst of 4096 one was taken before");
    assert_eq!(net.drops(), [(Drop::ServiceLimit, 6000 - 4095)]);
    assert_eq!(net.one(LAN, &udp((A, 1), (R, 2), b"x")).port, WAN);
}
