//! Translation.

use super::lab::{Dmz, Found, Lab, Lan, Setup, Wan, addr, same};
use super::packets::{ACK, End, FIN, GRE, Packet, RST, SYN, icmp, ip, ping, tcp, tcp_with, udp};
use super::{A, B, Case, D, R, R2, WAN_ADDR, case, end};

const MASQUERADE: Setup = Setup {
    weft: "nat: {masquerade: [{out: wan}]}\n",
    nft: "table ip nat { chain post { type nat hook postrouting priority 100; oifname wan masquerade; }; }",
    shell: "",
};
const FORWARDS: Setup = Setup {
    weft: "nat:\n  masquerade: [{out: wan}]\n  port_forwards:\n    - {in: wan, protocol: tcp, port: 8080, to: '10.1.0.2:80'}\n    \
           - {in: wan, protocol: udp, port: 5353, to: '10.1.0.2:53'}\n",
    nft: "table ip nat {\n chain pre { type nat hook prerouting priority -100;\n\
          ip daddr 203.0.113.1 tcp dport 8080 dnat to 10.1.0.2:80; ip daddr 203.0.113.1 udp dport 5353 dnat to 10.1.0.2:53; }\n\
          chain post { type nat hook postrouting priority 100; oifname wan masquerade;\n\
          iifname lan oifname lan ct status dnat snat to 203.0.113.1; }\n}",
    shell: "",
};
const WHOLE: Setup = Setup {
    weft: "nat:\n  masquerade: [{out: wan}]\n  one_to_one: [{interface: wan, outside: 203.0.113.10, inside: 10.1.0.2}]\n",
    nft: "table ip nat {\n chain pre { type nat hook prerouting priority -100; ip daddr 203.0.113.10 dnat to 10.1.0.2; }\n\
          chain post { type nat hook postrouting priority 100; oifname wan ip saddr 10.1.0.2 snat to 203.0.113.10;\n\
          oifname wan masquerade; iifname lan oifname lan ct status dnat masquerade; }\n}",
    shell: "ip address add 203.0.113.10/32 dev wan",
};
const SOME: Setup = Setup {
    weft: "nat:\n  masquerade: [{out: wan, from: 10.1.0.0/24}]\n  exempt: [{from: 10.1.0.0/24, to: 203.0.113.3/32}]\n  \
           redirects: [{in: lan, protocol: udp, port: 5300, to_port: 53}]\n",
    nft: "table ip nat {\n chain pre { type nat hook prerouting priority -100; iifname lan udp dport 5300 dnat to :53; }\n\
          chain post { type nat hook postrouting priority 100; ip daddr 203.0.113.3 return;\n\
          oifname wan ip saddr 10.1.0.0/24 masquerade; }\n}",
    shell: "",
};
const POOL: Setup = Setup {
    weft: "nat: {masquerade: [{out: wan, pool: [203.0.113.20, 203.0.113.21, 203.0.113.22, 203.0.113.23]}]}\n",
    nft: "table ip nat { chain post { type nat hook postrouting priority 100; oifname wan snat to 203.0.113.20-203.0.113.23 persistent; }; }",
    shell: "",
};
const CLAMPED: Setup = Setup {
    weft: "#dmz: , clamp_mss: true\n",
    nft: "table ip mangle { chain forward { type filter hook forward priority -150;\n\
          oifname dmz tcp flags syn tcp option maxseg size set 1360; }; }",
    shell: "",
};
const PORTLESS: Setup =
    Setup { weft: "nat: {masquerade: [{out: wan, portless: true}]}\n", nft: MASQUERADE.nft, shell: "" };

pub const CASES: &[Case] = &[
    case("N01a", "RFC 3022 §2.2", "UDP out and back", MASQUERADE, |lab| {
        out_and_back(lab, udp(end(A, 5000), end(R, 6000), b"odd"))
    }),
    case("N01b", "RFC 5508 REQ-1", "echo out and back", MASQUERADE, |lab| {
        out_and_back(lab, ping(addr(A), addr(R), 5))
    }),
    case("N01c", "RFC 5382 REQ-1", "a TCP connection, opened, used and closed", MASQUERADE, whole_connection),
    case("N02", "RFC 4787 REQ-3", "ports 1, 1023, 1024 and 65535", MASQUERADE, edge_ports),
    case("N03", "RFC 3022 §2.1", "one-to-one from inside", WHOLE, whole_from_inside),
    case("N04", "RFC 3022 §2.1", "one-to-one from outside", WHOLE, whole_from_outside),
    case("N05a", "RFC 3022 §2.2", "a port forward of TCP and its answer", FORWARDS, forward_tcp),
    case("N05b", "RFC 3022 §2.2", "a port forward of UDP and its answer", FORWARDS, forward_udp),
    case("N07", "", "what is exempt is left alone", SOME, exempt),
    case("N09", "RFC 3022 §2.1", "GRE one-to-one", WHOLE, whole_gre),
    case("N12", "RFC 3022 §2.2", "only the sources that are named", SOME, only_named),
    case("N13", "", "a redirected port, and its answer", SOME, redirected),
    case("N14", "RFC 4787 REQ-14", "4 KB in fragments, out and back", MASQUERADE, four_kilobytes),
    case("N15", "RFC 4787 REQ-2", "an inside address keeps to one outside address", POOL, paired),
    case("N21", "RFC 1812 §5.3.1", "TTL 1: the sender's own packet is quoted", MASQUERADE, ttl_ends),
    case("N22a", "RFC 1122 §3.2.2.6", "the outside address answers pings", MASQUERADE, outside_answers),
    case(
        "N22b",
        "RFC 4787 REQ-8",
        "the inside is not reached by its own addresses",
        MASQUERADE,
        inside_hides,
    ),
    case("N24a", "RFC 768", "no UDP checksum stays none", MASQUERADE, no_checksum),
    case("N24b", "RFC 1624", "options and odd lengths", MASQUERADE, odd_and_options),
    case("N30a", "RFC 4787 REQ-1", "one outside port for all destinations", MASQUERADE, one_port),
    case(
        "N30b",
        "RFC 4787 REQ-1",
        "the same for a second host with the same port",
        MASQUERADE,
        one_port_each,
    ),
    case(
        "N33",
        "RFC 4787 REQ-3",
        "two hosts never share an outside endpoint to one destination",
        MASQUERADE,
        not_shared,
    ),
    case("N42", "", "no forged packet reaches the inside by a port of the router's", MASQUERADE, forged),
    case(
        "N45a",
        "RFC 4787 REQ-9",
        "hairpin by a port forward: the outside address is seen",
        FORWARDS,
        hairpin,
    ),
    case("N45b", "RFC 4787 REQ-9", "hairpin between two masqueraded hosts", MASQUERADE, hairpin_masqueraded),
    case(
        "N50a",
        "RFC 5508 REQ-4",
        "an error from outside is translated, what it quotes too",
        MASQUERADE,
        error_from_outside,
    ),
    case(
        "N50b",
        "RFC 5508 REQ-5",
        "an error from inside is translated, what it quotes too",
        FORWARDS,
        error_from_inside,
    ),
    case("N51", "RFC 5508 §4", "an error about an echo", MASQUERADE, error_about_echo),
    case("N52", "RFC 1191", "fragmentation needed comes to the inside", MASQUERADE, path_mtu),
    case("N53a", "RFC 5508 REQ-3", "an error whose checksum is wrong is dropped", MASQUERADE, |lab| {
        broken_error(lab, |e| e.payload[4] ^= 1)
    }),
    case(
        "N53b",
        "RFC 5508 REQ-3a",
        "an error that quotes a wrong IP checksum is dropped",
        MASQUERADE,
        broken_quote,
    ),
    case("N55", "RFC 5508 REQ-4a", "errors about nothing are dropped", MASQUERADE, error_about_nothing),
    case("N56", "RFC 5508 REQ-4", "the hops beyond are seen", MASQUERADE, real_hops),
    case("N60", "RFC 4787 REQ-14", "fragments in order", MASQUERADE, |lab| fragments(lab, &[0, 1, 2])),
    case("N61", "RFC 4787 REQ-14", "fragments reversed", MASQUERADE, |lab| fragments(lab, &[2, 1, 0])),
    case("N62", "RFC 4787 REQ-14", "fragments in any order", MASQUERADE, |lab| fragments(lab, &[1, 0, 2])),
    case("N63", "RFC 791 §3.2", "a fragment that comes twice", MASQUERADE, |lab| {
        fragments(lab, &[0, 1, 1, 2])
    }),
    case("N64", "RFC 1858 §3.2.1", "fragments that overlap end the packet", MASQUERADE, overlap),
    case("N72", "RFC 1858 §3", "later fragments of nothing wait in vain", MASQUERADE, rogue),
    case("N80", "RFC 5382 REQ-2", "closed from outside", MASQUERADE, closed_from_outside),
    case("N82", "RFC 5382 REQ-2a", "opened from both sides at once", MASQUERADE, simultaneous),
    case("N83", "RFC 5382 REQ-4", "an unsolicited SYN is not answered at once", MASQUERADE, unsolicited),
    case("N87", "RFC 5961 §3", "a reset outside the window is not believed", MASQUERADE, foreign_reset),
    case("N88", "RFC 9293 §3.7.1", "the MSS is cut to the way out", CLAMPED, clamped),
    case("N89", "", "GRE masqueraded", PORTLESS, gre),
];

/// Sends a packet from the inside, its answer from the outside; what the outside saw.
fn out_and_back(lab: &mut Lab<'_>, packet: Packet) -> Found {
    let seen = lab.pass(Lan, &packet, Wan)?;
    same("who it is, outside", seen.src, addr(WAN_ADDR))?;
    let back = lab.pass(Wan, &seen.answer(b"even"), Lan)?;
    same("the answer's ends", back.ends(), packet.answer(b"even").ends())
}

/// What the outside sees of a datagram.
fn seen_of(lab: &mut Lab<'_>, src: End, dst: End) -> Result<End, String> {
    Ok(lab.pass(Lan, &udp(src, dst, b"data"), Wan)?.ends().0)
}

/// Opens a TCP connection from the inside; its ends as the outside sees them.
fn open(lab: &mut Lab<'_>, src: End, dst: End) -> Result<(End, End), String> {
    let seen = lab.pass(Lan, &tcp(src, dst, SYN, (100, 0), b""), Wan)?.ends();
    lab.pass(Wan, &tcp(seen.1, seen.0, SYN | ACK, (500, 101), b""), Lan)?;
    lab.pass(Lan, &tcp(src, dst, ACK, (101, 501), b""), Wan)?;
    Ok(seen)
}

fn whole_connection(lab: &mut Lab<'_>) -> Found {
    let (src, dst) = (end(A, 5000), end(R, 80));
    let seen = open(lab, src, dst)?;
    lab.pass(Lan, &tcp(src, dst, ACK, (101, 501), b"GET"), Wan)?;
    let got = lab.pass(Wan, &tcp(seen.1, seen.0, ACK, (501, 104), b"200"), Lan)?;
    same("data", got.payload[20..].to_vec(), b"200".to_vec())?;
    lab.pass(Lan, &tcp(src, dst, FIN | ACK, (104, 504), b""), Wan)?;
    lab.pass(Wan, &tcp(seen.1, seen.0, FIN | ACK, (504, 105), b""), Lan)?;
    lab.pass(Lan, &tcp(src, dst, ACK, (105, 505), b""), Wan).map(drop)
}

fn edge_ports(lab: &mut Lab<'_>) -> Found {
    for port in [1, 1023, 1024, 65535] {
        out_and_back(lab, udp(end(A, port), end(R, port), b"x")).map_err(|why| format!("{port}: {why}"))?;
    }
    Ok(())
}

fn whole_from_inside(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(A, 5000), end(R, 6000), b"x");
    let seen = lab.pass(Lan, &packet, Wan)?;
    same("outside", seen.ends().0, end("203.0.113.10", 5000))?;
    let back = lab.pass(Wan, &seen.answer(b"y"), Lan)?;
    same("back", back.ends().1, end(A, 5000))
}

fn whole_from_outside(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(R, 5000), end("203.0.113.10", 6000), b"x");
    let got = lab.pass(Wan, &packet, Lan)?;
    same("inside", got.ends(), (end(R, 5000), end(A, 6000)))?;
    let back = lab.pass(Lan, &got.answer(b"y"), Wan)?;
    same("back", back.ends(), (end("203.0.113.10", 6000), end(R, 5000)))
}

fn whole_gre(lab: &mut Lab<'_>) -> Found {
    let got = lab.pass(Wan, &ip(addr(R), addr("203.0.113.10"), GRE, vec![0; 16]), Lan)?;
    same("inside", got.dst, addr(A))?;
    let back = lab.pass(Lan, &got.answer(&[0; 16]), Wan)?;
    same("outside", back.src, addr("203.0.113.10"))
}

fn gre(lab: &mut Lab<'_>) -> Found {
    let seen = lab.pass(Lan, &ip(addr(A), addr(R), GRE, vec![0; 16]), Wan)?;
    same("outside", seen.src, addr(WAN_ADDR))?;
    let back = lab.pass(Wan, &seen.answer(&[0; 16]), Lan)?;
    same("inside", back.dst, addr(A))
}

fn forward_tcp(lab: &mut Lab<'_>) -> Found {
    let (src, dst) = (end(R, 5000), end(WAN_ADDR, 8080));
    let got = lab.pass(Wan, &tcp(src, dst, SYN, (1, 0), b""), Lan)?;
    same("inside", got.ends(), (src, end(A, 80)))?;
    let back = lab.pass(Lan, &tcp(end(A, 80), src, SYN | ACK, (9, 2), b""), Wan)?;
    same("outside", back.ends(), (dst, src))
}

fn forward_udp(lab: &mut Lab<'_>) -> Found {
    let (src, dst) = (end(R, 5000), end(WAN_ADDR, 5353));
    let got = lab.pass(Wan, &udp(src, dst, b"q"), Lan)?;
    same("inside", got.ends(), (src, end(A, 53)))?;
    let back = lab.pass(Lan, &got.answer(b"a"), Wan)?;
    same("outside", back.ends(), (dst, src))
}

fn exempt(lab: &mut Lab<'_>) -> Found {
    same("to the exempt", seen_of(lab, end(A, 5000), end(R2, 6000))?, end(A, 5000))?;
    same("to others", seen_of(lab, end(A, 5000), end(R, 6000))?.0, addr(WAN_ADDR))
}

fn only_named(lab: &mut Lab<'_>) -> Found {
    let got = lab.pass(Dmz, &udp(end(D, 5000), end(R, 6000), b"x"), Wan)?;
    same("not named", got.src, addr(D))
}

fn redirected(lab: &mut Lab<'_>) -> Found {
    let got = lab.pass(Lan, &udp(end(A, 5000), end(D, 5300), b"x"), Dmz)?;
    same("where it goes", got.ends(), (end(A, 5000), end(D, 53)))?;
    let back = lab.pass(Dmz, &got.answer(b"y"), Lan)?;
    same("who answers", back.ends().0, end(D, 5300))
}

/// Receives fragments until the whole of a datagram of `len` bytes is there.
fn collect(lab: &mut Lab<'_>, port: super::lab::Port, len: usize) -> Result<Packet, String> {
    let mut whole = lab.receive(port)?;
    let mut bytes = vec![None; len];
    let mut piece = whole.clone();
    loop {
        let at = usize::from(piece.offset);
        for (place, byte) in bytes.iter_mut().skip(at).zip(&piece.payload) {
            *place = Some(*byte);
        }
        if bytes.iter().all(Option::is_some) {
            (whole.payload, whole.more, whole.offset) = (bytes.into_iter().flatten().collect(), false, 0);
            return if whole.is_sound() { Ok(whole) } else { Err("a checksum is wrong".into()) };
        }
        piece = lab.receive(port)?;
        same("one source", (piece.src, piece.id), (whole.src, whole.id))?;
    }
}

fn four_kilobytes(lab: &mut Lab<'_>) -> Found {
    let data: Vec<u8> = (0..4001).map(|n| (n % 251) as u8).collect();
    let packet = udp(end(A, 5000), end(R, 6000), &data);
    packet.cut(1480).iter().for_each(|piece| lab.send(Lan, piece));
    let seen = collect(lab, Wan, 4009)?;
    same("outside", (seen.src, seen.payload[8..] == data), (addr(WAN_ADDR), true))?;
    seen.answer(&data).cut(1480).iter().for_each(|piece| lab.send(Wan, piece));
    let back = collect(lab, Lan, 4009)?;
    same("inside", (back.ends().1, back.payload[8..] == data), (end(A, 5000), true))
}

fn fragments(lab: &mut Lab<'_>, order: &[usize]) -> Found {
    let data: Vec<u8> = (0..100).collect();
    let pieces = udp(end(A, 5000), end(R, 6000), &data).cut(40);
    order.iter().for_each(|n| lab.send(Lan, &pieces[*n]));
    let seen = collect(lab, Wan, 108)?;
    same("outside", (seen.src, seen.payload[8..] == data), (addr(WAN_ADDR), true))
}

fn overlap(lab: &mut Lab<'_>) -> Found {
    let pieces = udp(end(A, 5000), end(R, 6000), &[1; 100]).cut(40);
    let over = pieces[1].clone().with(|p| (p.offset, p.payload) = (32, vec![2; 40]));
    for piece in [&pieces[0], &over, &pieces[1], &pieces[2]] {
        lab.send(Lan, piece);
    }
    // Pieces may go before the overlap is seen, the whole may not.
    match collect(lab, Wan, 108) {
        Ok(whole) => Err(format!("it arrived: {whole:?}")),
        Err(_) => Ok(()),
    }
}

fn rogue(lab: &mut Lab<'_>) -> Found {
    fragments(lab, &[0, 1, 2])?;
    let pieces = udp(end(A, 5001), end(R, 6000), &[1; 100]).with(|p| p.id = 0x7777).cut(40);
    lab.swallow(Lan, &pieces[1])?;
    lab.swallow(Lan, &pieces[2])
}

fn paired(lab: &mut Lab<'_>) -> Found {
    let first = seen_of(lab, end(A, 5000), end(R, 6000))?.0;
    for port in 5001..5010 {
        same("outside address", seen_of(lab, end(A, port), end(R2, port))?.0, first)?;
    }
    Ok(())
}

fn ttl_ends(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(A, 5000), end(R, 6000), b"x").with(|p| p.ttl = 1);
    let got = lab.pass(Lan, &packet, Lan)?;
    same("type", got.kind(), Some((11, 0)))?;
    same("quoted", got.quoted().map(|q| q.ends()), Some(packet.ends()))
}

fn outside_answers(lab: &mut Lab<'_>) -> Found {
    let got = lab.pass(Wan, &ping(addr(R), addr(WAN_ADDR), 3), Wan)?;
    same("a reply", got.kind(), Some((0, 0)))
}

fn inside_hides(lab: &mut Lab<'_>) -> Found {
    lab.send(Wan, &ping(addr(R), addr(A), 3));
    lab.quiet(Lan)
}

fn no_checksum(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(A, 5000), end(R, 6000), b"x").with(|p| p.payload[6..8].fill(0));
    let seen = lab.pass(Lan, &packet, Wan)?;
    same("checksum", seen.payload[6..8].to_vec(), vec![0, 0])
}

fn odd_and_options(lab: &mut Lab<'_>) -> Found {
    for len in [0, 1, 2, 3, 17] {
        let packet = udp(end(A, 5000), end(R, 6000), &vec![7; len]).with(|p| p.options = vec![1, 1, 1, 0]);
        let seen = lab.pass(Lan, &packet, Wan)?;
        same("options", seen.options, vec![1, 1, 1, 0])?;
    }
    Ok(())
}

fn one_port(lab: &mut Lab<'_>) -> Found {
    let first = seen_of(lab, end(A, 5000), end(R, 6000))?;
    same("to another address", seen_of(lab, end(A, 5000), end(R2, 6000))?, first)?;
    same("to another port", seen_of(lab, end(A, 5000), end(R, 6001))?, first)
}

fn one_port_each(lab: &mut Lab<'_>) -> Found {
    seen_of(lab, end(A, 5000), end(R, 6000))?;
    let first = seen_of(lab, end(B, 5000), end(R, 6000))?;
    same("to another address", seen_of(lab, end(B, 5000), end(R2, 6000))?, first)
}

fn not_shared(lab: &mut Lab<'_>) -> Found {
    for port in 5000..5010 {
        let (one, other) =
            (seen_of(lab, end(A, port), end(R, 6000))?, seen_of(lab, end(B, port), end(R, 6000))?);
        same("one endpoint for two hosts", one == other, false)?;
    }
    Ok(())
}

fn forged(lab: &mut Lab<'_>) -> Found {
    let seen = seen_of(lab, end(A, 5000), end(R, 53))?;
    // From another address than the one that was asked, and with the inside for a source.
    lab.send(Wan, &udp(end("203.0.113.4", 53), (seen.0, seen.1 ^ 1), b"x"));
    lab.quiet(Lan)?;
    lab.send(Wan, &udp(end(B, 53), seen, b"x"));
    lab.quiet(Lan)
}

fn hairpin(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(B, 5000), end(WAN_ADDR, 5353), b"x");
    let got = lab.pass(Lan, &packet, Lan)?;
    same("who it is for", got.ends().1, end(A, 53))?;
    same("who it is from", got.src, addr(WAN_ADDR))?;
    let back = lab.pass(Lan, &got.answer(b"y"), Lan)?;
    same("the answer", back.ends(), (end(WAN_ADDR, 5353), end(B, 5000)))
}

fn hairpin_masqueraded(lab: &mut Lab<'_>) -> Found {
    let of_a = seen_of(lab, end(A, 5000), end(R, 6000))?;
    let of_b = seen_of(lab, end(B, 5001), end(R, 6000))?;
    // Both have met at R, as peers do.
    lab.send(Lan, &udp(end(A, 5000), of_b, b"x"));
    lab.quiet(Wan)?;
    let got = lab.pass(Lan, &udp(end(B, 5001), of_a, b"y"), Lan)?;
    same("who it is from", got.ends(), (of_b, end(A, 5000)))
}

/// An error of a router beyond about what it saw.
fn error(seen: &Packet, kind: (u8, u8), rest: [u8; 4]) -> Packet {
    icmp(addr(R2), seen.src, kind, (rest, &seen.bytes()[..28]))
}

fn error_from_outside(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(A, 5000), end(R, 6000), b"x");
    let seen = lab.pass(Lan, &packet, Wan)?;
    let got = lab.pass(Wan, &error(&seen, (3, 1), [0; 4]), Lan)?;
    same("type", got.kind(), Some((3, 1)))?;
    same("from and to", (got.src, got.dst), (addr(R2), addr(A)))?;
    let quoted = got.quoted().ok_or("nothing is quoted")?;
    same("quoted", quoted.ends(), packet.ends())?;
    same("quoted header's checksum", quoted.sound, true)
}

fn error_from_inside(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(R, 5000), end(WAN_ADDR, 5353), b"x");
    let got = lab.pass(Wan, &packet, Lan)?;
    let refusal = icmp(addr(A), addr(R), (3, 3), ([0; 4], &got.bytes()[..28]));
    let seen = lab.pass(Lan, &refusal, Wan)?;
    same("from and to", (seen.src, seen.dst), (addr(WAN_ADDR), addr(R)))?;
    same("quoted", seen.quoted().map(|q| q.ends()), Some(packet.ends()))
}

fn error_about_echo(lab: &mut Lab<'_>) -> Found {
    let packet = ping(addr(A), addr(R), 5);
    let seen = lab.pass(Lan, &packet, Wan)?;
    let got = lab.pass(Wan, &error(&seen, (3, 1), [0; 4]), Lan)?;
    same("quoted", got.quoted().map(|q| q.ends()), Some(packet.ends()))
}

fn path_mtu(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(A, 5000), end(R, 6000), &[1; 1400]).with(|p| p.dont_fragment = true);
    let seen = lab.pass(Lan, &packet, Wan)?;
    let got = lab.pass(Wan, &error(&seen, (3, 4), [0, 0, 5, 0]), Lan)?;
    same("type, MTU", (got.kind(), got.payload[6..8].to_vec()), (Some((3, 4)), vec![5, 0]))?;
    same("quoted", got.quoted().map(|q| q.ends()), Some(packet.ends()))
}

fn broken_error(lab: &mut Lab<'_>, breaks: impl FnOnce(&mut Packet)) -> Found {
    let seen = lab.pass(Lan, &udp(end(A, 5000), end(R, 6000), b"x"), Wan)?;
    lab.swallow(Wan, &error(&seen, (3, 1), [0; 4]).with(breaks))
}

fn broken_quote(lab: &mut Lab<'_>) -> Found {
    let seen = lab.pass(Lan, &udp(end(A, 5000), end(R, 6000), b"x"), Wan)?;
    lab.swallow(Wan, &error(&seen.with(|p| p.sound = false), (3, 1), [0; 4]))
}

fn error_about_nothing(lab: &mut Lab<'_>) -> Found {
    let nothing = udp(end(WAN_ADDR, 5999), end(R, 6000), b"x");
    lab.send(Wan, &error(&nothing, (3, 1), [0; 4]));
    lab.quiet(Lan)
}

fn real_hops(lab: &mut Lab<'_>) -> Found {
    let seen = lab.pass(Lan, &udp(end(A, 5000), end(R, 33434), b"x").with(|p| p.ttl = 2), Wan)?;
    same("TTL", seen.ttl, 1)?;
    let got = lab.pass(Wan, &error(&seen, (11, 0), [0; 4]), Lan)?;
    same("the hop", (got.src, got.kind()), (addr(R2), Some((11, 0))))
}

fn closed_from_outside(lab: &mut Lab<'_>) -> Found {
    let (src, dst) = (end(A, 5000), end(R, 80));
    let seen = open(lab, src, dst)?;
    lab.pass(Wan, &tcp(seen.1, seen.0, FIN | ACK, (501, 101), b""), Lan)?;
    lab.pass(Lan, &tcp(src, dst, ACK, (101, 502), b""), Wan)?;
    lab.pass(Lan, &tcp(src, dst, FIN | ACK, (101, 502), b""), Wan)?;
    lab.pass(Wan, &tcp(seen.1, seen.0, ACK, (502, 102), b""), Lan).map(drop)
}

fn simultaneous(lab: &mut Lab<'_>) -> Found {
    let (src, dst) = (end(A, 5000), end(R, 80));
    let seen = lab.pass(Lan, &tcp(src, dst, SYN, (100, 0), b""), Wan)?.ends();
    lab.pass(Wan, &tcp(seen.1, seen.0, SYN, (500, 0), b""), Lan)?;
    lab.pass(Lan, &tcp(src, dst, SYN | ACK, (100, 501), b""), Wan)?;
    lab.pass(Wan, &tcp(seen.1, seen.0, SYN | ACK, (500, 101), b""), Lan)?;
    lab.pass(Lan, &tcp(src, dst, ACK, (101, 501), b"x"), Wan).map(drop)
}

fn unsolicited(lab: &mut Lab<'_>) -> Found {
    lab.swallow(Wan, &tcp(end(R, 5000), end(WAN_ADDR, 7777), SYN, (1, 0), b""))
}

fn foreign_reset(lab: &mut Lab<'_>) -> Found {
    let (src, dst) = (end(A, 5000), end(R, 80));
    let seen = open(lab, src, dst)?;
    lab.send(Wan, &tcp(seen.1, seen.0, RST, (500 + 1_000_000_000, 0), b""));
    lab.quiet(Lan)?;
    // The connection lives.
    lab.pass(Lan, &tcp(src, dst, ACK, (101, 501), b"x"), Wan)?;
    lab.pass(Wan, &tcp(seen.1, seen.0, ACK, (501, 102), b"y"), Lan).map(drop)
}

fn clamped(lab: &mut Lab<'_>) -> Found {
    let syn = tcp_with(end(A, 5000), end(D, 80), SYN, (1, 0), (&[2, 4, 5, 180], b""));
    let got = lab.pass(Lan, &syn, Dmz)?;
    same("MSS", got.payload[20..24].to_vec(), vec![2, 4, 5, 80])
}
