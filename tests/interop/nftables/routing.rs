//! Forwarding without translation.

use super::lab::{Dmz, Found, LAN6, Lab, Lan, Setup, Wan, addr, host_mac, same};
use super::packets::{self, ICMP, Packet, RST, SYN, icmp, ping, tcp, udp};
use super::{A, B, Case, D, R, ROUTER_LAN, WAN_ADDR, case, end};

const PLAIN: Setup = Setup { weft: "", nft: "", shell: "" };
const ROUTES: Setup = Setup {
    weft: "routes:\n  - {to: 198.51.100.0/24, via: 203.0.113.2}\n  - {to: 198.51.100.128/25, via: 203.0.113.3}\n  \
           - {to: 198.51.100.129/32, via: 203.0.113.4}\n  - {to: 192.0.2.0/26, type: blackhole}\n  \
           - {to: 192.0.2.64/26, type: unreachable}\n  - {to: 192.0.2.128/26, type: prohibit}\n",
    nft: "",
    shell: "ip route add 198.51.100.0/24 via 203.0.113.2; ip route add 198.51.100.128/25 via 203.0.113.3\n\
            ip route add 198.51.100.129/32 via 203.0.113.4; ip route add blackhole 192.0.2.0/26\n\
            ip route add unreachable 192.0.2.64/26; ip route add prohibit 192.0.2.128/26",
};
const STRICT: Setup = Setup {
    weft: "#lan: , source_check: strict\n",
    nft: "",
    shell: "echo 1 > /proc/sys/net/ipv4/conf/lan/rp_filter",
};
const SEVERAL: Setup = Setup {
    weft: "routes: [{to: 198.51.100.0/24, next_hops: [{via: 203.0.113.2}, {via: 203.0.113.3}]}]\n",
    nft: "",
    shell: "echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy\n\
            ip route add 198.51.100.0/24 nexthop via 203.0.113.2 nexthop via 203.0.113.3",
};

pub const CASES: &[Case] = &[
    case("R01a", "RFC 1812 §5.3.1", "the TTL falls, the checksum follows", PLAIN, ttl_falls),
    case("R01b", "RFC 1812 §5.3.1", "TTL 1: time exceeded, with the packet quoted", PLAIN, ttl_ends),
    case("R01c", "RFC 4443 §3.3", "hop limit 1: time exceeded", PLAIN, hop_limit_ends),
    case("R02a", "RFC 1812 §5.2.7.1", "no route: network unreachable", PLAIN, no_route),
    case(
        "R02b",
        "RFC 1122 §3.2.2.1",
        "a UDP port of the router that nobody has: port unreachable",
        PLAIN,
        no_port,
    ),
    case("R02c", "RFC 9293 §3.10.7.1", "a TCP port of the router that nobody has: reset", PLAIN, no_tcp_port),
    case("R02d", "RFC 1191 §4", "too big, not to be fragmented: MTU told", PLAIN, too_big),
    case("R02e", "RFC 4443 §3.2", "IPv6 too big: MTU told", PLAIN, too_big_v6),
    case("R02f", "RFC 4443 §3.1", "IPv6 without a route: unreachable", PLAIN, no_route_v6),
    case(
        "R02g",
        "RFC 1812 §5.2.7.1",
        "a neighbour that does not answer: host unreachable",
        PLAIN,
        no_neighbour,
    ),
    case("R03a", "RFC 1812 §4.3.2.7", "no error about an error", PLAIN, no_error_about_error),
    case("R03b", "RFC 1812 §4.3.2.7", "no error about a later fragment", PLAIN, no_error_about_fragment),
    case(
        "R03c",
        "RFC 1812 §4.3.2.7",
        "no error about what came to all stations",
        PLAIN,
        no_error_about_broadcast,
    ),
    case("R04a", "RFC 1812 §5.3.7", "sources that cannot be are dropped", PLAIN, martian_sources),
    case("R04b", "RFC 1812 §5.3.7", "destinations that cannot be are dropped", PLAIN, martian_destinations),
    case("R04c", "RFC 2644 §3", "directed broadcasts are not forwarded", PLAIN, directed_broadcast),
    case("R05", "RFC 3704 §2.2", "strict reverse path: a foreign source is dropped", STRICT, reverse_path),
    case("R06", "RFC 1812 §5.2.4.3", "the longest prefix wins", ROUTES, longest_prefix),
    case("R07a", "", "a black hole is silent", ROUTES, |lab| lab.swallow(Lan, &to("192.0.2.1"))),
    case("R07b", "RFC 1812 §5.2.7.1", "an unreachable route: host unreachable", ROUTES, |lab| {
        told(lab, "192.0.2.65", 1)
    }),
    case("R07c", "RFC 1812 §5.2.7.1", "a prohibited route: 3/13", ROUTES, |lab| {
        told(lab, "192.0.2.129", 13)
    }),
    case("R08", "RFC 791 §3.2", "cut into fragments where it may be", PLAIN, cut),
    case("R09", "RFC 1812 §5.2.7.2", "no redirects unless asked for", PLAIN, no_redirects),
    case("R10", "RFC 1812 §5.2.4", "options pass", PLAIN, options_pass),
    case("R11", "RFC 2474, 3168", "DSCP, ECN, identification and DF stay", PLAIN, bits_stay),
    case("R13a", "RFC 826", "ARP for the router's address is answered", PLAIN, arp),
    case("R13b", "RFC 826", "ARP for others is not", PLAIN, arp_for_others),
    case(
        "R13c",
        "RFC 1122 §2.3.2.2",
        "what waits for a neighbour is sent when it answers",
        PLAIN,
        first_packet,
    ),
    case(
        "R14",
        "RFC 4861 §7.2.4",
        "a solicitation for the router's address is answered",
        PLAIN,
        solicitation,
    ),
    case("R16", "RFC 2992", "flows spread over next hops, each keeps to one", SEVERAL, several),
    case("R22a", "RFC 1812 §5.2.2", "a wrong header checksum is dropped", PLAIN, wrong_checksum),
    case("R22b", "RFC 1812 §5.2.2", "headers that cannot be are dropped", PLAIN, wrong_headers),
    case("R22c", "RFC 1812 §5.2.2", "frames for other stations are not forwarded", PLAIN, other_station),
    case("R00", "RFC 1122 §3.2.2.6", "the router answers pings, long ones too", PLAIN, pings),
];

/// A datagram of A to somewhere.
fn to(dst: &str) -> Packet {
    udp(end(A, 5000), (addr(dst), 6000), b"data of sixteen.")
}

/// An ICMP error of the router about a packet: its type and code, and the packet quoted.
fn error_about(got: &Packet, kind: (u8, u8), packet: &Packet) -> Found {
    same("type and code", got.kind(), Some(kind))?;
    same("checksums right", got.is_sound(), true)?;
    same("who is told", got.dst, packet.src)?;
    let quoted = got.quoted().ok_or("nothing is quoted")?;
    same("ends quoted", quoted.ends(), packet.ends())
}

fn told(lab: &mut Lab<'_>, dst: &str, code: u8) -> Found {
    let got = lab.pass(Lan, &to(dst), Lan)?;
    error_about(&got, (3, code), &to(dst))
}

fn ttl_falls(lab: &mut Lab<'_>) -> Found {
    let got = lab.pass(Lan, &to(D), Dmz)?;
    same("what arrived", got, to(D).with(|p| p.ttl = 63))
}

fn ttl_ends(lab: &mut Lab<'_>) -> Found {
    let packet = to(D).with(|p| p.ttl = 1);
    let got = lab.pass(Lan, &packet, Lan)?;
    error_about(&got, (11, 0), &packet)?;
    same("who tells", got.src, addr(ROUTER_LAN))
}

fn hop_limit_ends(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end("2001:db8:1::2", 5000), end("2001:db8:2::2", 6000), b"six").with(|p| p.ttl = 1);
    let got = lab.pass(Lan, &packet, Lan)?;
    error_about(&got, (3, 0), &packet)
}

fn no_route(lab: &mut Lab<'_>) -> Found {
    told(lab, "192.0.2.1", 0)
}

fn no_route_v6(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end("2001:db8:1::2", 5000), end("2001:db8:77::1", 6000), b"six");
    let got = lab.pass(Lan, &packet, Lan)?;
    error_about(&got, (1, 0), &packet)
}

fn no_port(lab: &mut Lab<'_>) -> Found {
    told(lab, ROUTER_LAN, 3)
}

fn no_tcp_port(lab: &mut Lab<'_>) -> Found {
    let syn = tcp(end(A, 5000), end(ROUTER_LAN, 81), SYN, (700, 0), b"");
    let got = lab.pass(Lan, &syn, Lan)?;
    same("reset", got.flags() & RST, RST)?;
    same("acknowledged", got.payload[8..12].to_vec(), 701u32.to_be_bytes().to_vec())
}

fn no_neighbour(lab: &mut Lab<'_>) -> Found {
    told(lab, "10.2.0.77", 1)
}

fn too_big(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(A, 5000), end(D, 6000), &[7; 1400]).with(|p| p.dont_fragment = true);
    let got = lab.pass(Lan, &packet, Lan)?;
    error_about(&got, (3, 4), &packet)?;
    same("the MTU", got.payload[6..8].to_vec(), 1400u16.to_be_bytes().to_vec())
}

fn too_big_v6(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end("2001:db8:1::2", 5000), end("2001:db8:2::2", 6000), &[7; 1400]);
    let got = lab.pass(Lan, &packet, Lan)?;
    error_about(&got, (2, 0), &packet)?;
    same("the MTU", got.payload[4..8].to_vec(), 1400u32.to_be_bytes().to_vec())
}

fn no_error_about_error(lab: &mut Lab<'_>) -> Found {
    let error = icmp(addr(A), addr("192.0.2.1"), (3, 3), ([0; 4], &to(D).bytes()[..28]));
    lab.swallow(Lan, &error)?;
    lab.swallow(Lan, &icmp(addr(A), addr(D), (11, 0), ([0; 4], &to(D).bytes()[..28])).with(|p| p.ttl = 1))
}

fn no_error_about_fragment(lab: &mut Lab<'_>) -> Found {
    lab.swallow(Lan, &to("192.0.2.1").with(|p| p.offset = 64))
}

fn no_error_about_broadcast(lab: &mut Lab<'_>) -> Found {
    let frame = to("192.0.2.1").bytes();
    lab.send_bytes(Lan, (host_mac(addr(A)), [0xff; 6]), [8, 0], &frame);
    lab.quiet(Lan)
}

fn martian_sources(lab: &mut Lab<'_>) -> Found {
    for src in ["127.0.0.1", "224.0.0.9", "255.255.255.255", "240.0.0.1", "0.0.0.1"] {
        lab.swallow(Lan, &udp(end(src, 5000), end(D, 6000), b"x")).map_err(|why| format!("{src}: {why}"))?;
    }
    Ok(())
}

fn martian_destinations(lab: &mut Lab<'_>) -> Found {
    for dst in ["127.0.0.1", "0.0.0.9", "255.255.255.255"] {
        lab.swallow(Lan, &to(dst)).map_err(|why| format!("{dst}: {why}"))?;
    }
    Ok(())
}

fn directed_broadcast(lab: &mut Lab<'_>) -> Found {
    lab.send(Lan, &to("10.2.0.255"));
    lab.quiet(Dmz)
}

fn reverse_path(lab: &mut Lab<'_>) -> Found {
    lab.swallow(Lan, &udp(end("10.2.0.9", 5000), end(R, 6000), b"x"))?;
    lab.pass(Lan, &to(R), Wan).map(drop)
}

fn longest_prefix(lab: &mut Lab<'_>) -> Found {
    for (dst, via) in
        [("198.51.100.1", 2), ("198.51.100.128", 3), ("198.51.100.129", 4), ("198.51.100.130", 3)]
    {
        lab.send(Lan, &to(dst));
        same(dst, lab.frame(Wan)?[5], via)?;
    }
    Ok(())
}

fn cut(lab: &mut Lab<'_>) -> Found {
    let data: Vec<u8> = (0..1450).map(|n| n as u8).collect();
    let packet = udp(end(A, 5000), end(D, 6000), &data);
    let (first, last) = (lab.pass(Lan, &packet, Dmz)?, lab.receive(Dmz)?);
    same("more, then none", (first.more, last.more, first.offset), (true, false, 0))?;
    same("where the second begins", usize::from(last.offset), first.payload.len())?;
    same("length in eights", first.payload.len() % 8, 0)?;
    same("within the MTU", first.payload.len() <= 1380, true)?;
    same("the whole", [first.payload, last.payload].concat(), packet.payload)?;
    same("identification", (first.id, last.id), (packet.id, packet.id))
}

fn no_redirects(lab: &mut Lab<'_>) -> Found {
    // B is on the same network: the packet goes back where it came from.
    let got = lab.pass(Lan, &to(B), Lan)?;
    same("who gets it", got.dst, addr(B))?;
    lab.quiet(Lan)
}

fn options_pass(lab: &mut Lab<'_>) -> Found {
    let packet = to(D).with(|p| p.options = vec![1, 1, 148, 4, 0, 0, 1, 0]);
    let got = lab.pass(Lan, &packet, Dmz)?;
    same("options", (got.options, got.payload), (packet.options, packet.payload))
}

fn bits_stay(lab: &mut Lab<'_>) -> Found {
    let packet = to(D).with(|p| (p.tos, p.id, p.dont_fragment) = (0xb9, 0xbeef, true));
    let got = lab.pass(Lan, &packet, Dmz)?;
    same("what arrived", got, packet.with(|p| p.ttl = 63))
}

/// An ARP request of A.
fn who_has(target: &str) -> Vec<u8> {
    let octets = |text: &str| match addr(text) {
        std::net::IpAddr::V4(addr) => addr.octets(),
        std::net::IpAddr::V6(_) => [0; 4],
    };
    [&[0, 1, 8, 0, 6, 4, 0, 1][..], &host_mac(addr(A)), &octets(A), &[0; 6], &octets(target)].concat()
}

fn is_arp_reply(frame: &[u8]) -> bool {
    frame[12..14] == [8, 6] && frame[20..22] == [0, 2]
}

fn arp(lab: &mut Lab<'_>) -> Found {
    lab.send_bytes(Lan, (host_mac(addr(A)), [0xff; 6]), [8, 6], &who_has(ROUTER_LAN));
    let reply = lab.find(Lan, "ARP reply", is_arp_reply)?;
    same("who it is for", reply[..6].to_vec(), host_mac(addr(A)).to_vec())?;
    same("whose it is", reply[22..32].to_vec(), [&reply[6..12], &[10, 1, 0, 1]].concat())
}

fn arp_for_others(lab: &mut Lab<'_>) -> Found {
    lab.send_bytes(Lan, (host_mac(addr(A)), [0xff; 6]), [8, 6], &who_has("10.1.0.77"));
    lab.send_bytes(Lan, (host_mac(addr(A)), [0xff; 6]), [8, 6], &who_has("10.2.0.1"));
    lab.send_bytes(Lan, (host_mac(addr(A)), [0xff; 6]), [8, 6], &who_has(ROUTER_LAN));
    let reply = lab.find(Lan, "ARP reply", is_arp_reply)?;
    // An address of another interface: Linux answers for any of its own (arp_ignore).
    same("the one reply is for", reply[28..32].to_vec(), vec![10, 1, 0, 1])
}

fn first_packet(lab: &mut Lab<'_>) -> Found {
    lab.send(Lan, &to("10.2.0.77"));
    let request =
        lab.find(Dmz, "ARP request", |frame| frame[12..14] == [8, 6] && frame[38..42] == [10, 2, 0, 77])?;
    let own = host_mac(addr("10.2.0.77"));
    let reply = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &own, &[10, 2, 0, 77], &request[22..32]].concat();
    lab.send_bytes(Dmz, (own, *request[6..].first_chunk().ok_or("a short frame")?), [8, 6], &reply);
    let frame = lab.find(Dmz, "packet", |frame| frame[12..14] == [8, 0])?;
    same("where it goes", frame[..6].to_vec(), own.to_vec())
}

fn solicitation(lab: &mut Lab<'_>) -> Found {
    let (src, target) = (addr("2001:db8:1::2"), addr("2001:db8:1::1"));
    lab.send(Lan, &super::packets::solicitation(src, LAN6, host_mac(src)));
    let got = lab.receive(Lan)?;
    same("an advertisement", (got.kind(), got.ttl, got.src), (Some((136, 0)), 255, target))?;
    same("router, solicited", got.payload[4] & 0xc0, 0xc0)
}

fn several(lab: &mut Lab<'_>) -> Found {
    let mut seen = [0; 2];
    for port in 0..40 {
        let packet = udp(end(A, 5000 + port), end("198.51.100.7", 6000), b"x");
        let mut hop = || {
            lab.send(Lan, &packet);
            Ok::<_, String>(lab.frame(Wan)?[5])
        };
        let first = hop()?;
        same("the next hop of a flow", hop()?, first)?;
        seen[usize::from(first == 3)] += 1;
    }
    same("both are used", seen[0] > 5 && seen[1] > 5, true)
}

fn wrong_checksum(lab: &mut Lab<'_>) -> Found {
    lab.swallow(Lan, &to(D).with(|p| p.sound = false))
}

fn wrong_headers(lab: &mut Lab<'_>) -> Found {
    let good = to(D).bytes();
    let broken: [(&str, usize, u8); 3] =
        [("version 5", 0, 0x55), ("a header of 16 bytes", 0, 0x44), ("longer than the frame", 2, 9)];
    for (what, at, value) in broken {
        let mut bytes = good.clone();
        bytes[at] = value;
        (bytes[10], bytes[11]) = (0, 0);
        let sum = packets::checksum(&bytes[..20], 0);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        lab.send_bytes(Lan, (host_mac(addr(A)), [2, 0, 0, 0, 1, 1]), [8, 0], &bytes);
        lab.quiet(Dmz).and_then(|()| lab.quiet(Lan)).map_err(|why| format!("{what}: {why}"))?;
    }
    Ok(())
}

fn other_station(lab: &mut Lab<'_>) -> Found {
    lab.send_bytes(Lan, (host_mac(addr(A)), [2, 0, 0, 9, 9, 9]), [8, 0], &to(D).bytes());
    lab.quiet(Dmz)
}

fn pings(lab: &mut Lab<'_>) -> Found {
    let request = ping(addr(A), addr(WAN_ADDR), 77);
    let reply = lab.pass(Lan, &request, Lan)?;
    same("a reply", (reply.kind(), reply.src), (Some((0, 0)), addr(WAN_ADDR)))?;
    let long = icmp(addr(A), addr(ROUTER_LAN), (8, 0), ([0, 5, 0, 1], &[3; 3000]));
    for piece in long.cut(1480) {
        lab.send(Lan, &piece);
    }
    let mut n = 0;
    while n < 3008 {
        let piece = lab.receive(Lan)?;
        same("protocol", piece.protocol, ICMP)?;
        n += piece.payload.len();
    }
    same("bytes back", n, 3008)
}
