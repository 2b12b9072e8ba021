//! Stateful rules and limits.

use super::lab::{Dmz, Found, Lab, Lan, Setup, Wan, addr, host_mac, same};
use super::packets::{ACK, RST, SYN, icmp, ping, tcp, udp};
use super::{A, B, Case, D, R, case, end};

const STATEFUL: Setup = Setup {
    weft: "firewall_default: drop\nfirewall:\n  - {in: lan, out: wan, action: allow}\n  \
           - {in: wan, out: dmz, to: 10.2.0.2/32, protocol: tcp, ports: '80', action: allow}\n  \
           - {in: dmz, out: lan, action: reject}\n",
    nft: "table inet filter { chain forward { type filter hook forward priority 0; policy drop;\n\
          ct state established,related accept; ct state invalid drop; iifname lan oifname wan accept;\n\
          iifname wan oifname dmz ip daddr 10.2.0.2 tcp dport 80 accept;\n\
          iifname dmz oifname lan meta l4proto tcp reject with tcp reset;\n\
          iifname dmz oifname lan reject with icmpx type admin-prohibited; }; }",
    shell: "",
};
const RATE: Setup = Setup {
    weft: "firewall_default: drop\nfirewall: [{in: lan, out: wan, action: allow, limit: {rate: 2, burst: 3}}]\n",
    nft: "table inet filter { chain forward { type filter hook forward priority 0; policy drop;\n\
          ct state established,related accept; iifname lan oifname wan limit rate 2/second burst 3 packets accept; }; }",
    shell: "",
};
const PER_SOURCE: Setup = Setup {
    weft: "nat: {masquerade: [{out: wan}]}\nlimits: {per_source: 3}\n",
    nft: "table inet filter { set busy { type ipv4_addr; size 1000; flags dynamic; }\n\
          chain forward { type filter hook forward priority 0; policy accept;\n\
          ct state new add @busy { ip saddr ct count over 3 } reject with icmpx type admin-prohibited; }; }\n\
          table ip nat { chain post { type nat hook postrouting priority 100; oifname wan masquerade; }; }",
    shell: "",
};
const KNOWN: Setup = Setup {
    weft: "#lan: , known_only: true\n",
    nft: "table inet raw { set known { type ether_addr . ipv4_addr; elements = { 02:00:00:04:01:02 . 10.1.0.2, 02:00:00:04:01:03 . 10.1.0.3 }; }\n\
          chain pre { type filter hook prerouting priority -300; iifname lan meta nfproto ipv4 ether saddr . ip saddr != @known drop; }; }",
    shell: "",
};
const POLICY: Setup = Setup {
    weft: "routes: [{to: 198.51.100.0/24, via: 203.0.113.2}]\npolicy_routes: [{in: lan, from: 10.1.0.3/32, via: 203.0.113.3}]\n",
    nft: "",
    shell: "ip route add 198.51.100.0/24 via 203.0.113.2\n\
            ip rule add from 10.1.0.3 iif lan table 100; ip route add default via 203.0.113.3 table 100",
};

pub const CASES: &[Case] = &[
    case("F01a", "", "what may go out does, and its answer comes in", STATEFUL, out_and_back),
    case("F01b", "", "what nobody asked for stays outside", STATEFUL, unasked),
    case("F01c", "RFC 4890, 792", "an error about a connection is related", STATEFUL, related),
    case("F01d", "", "an error about nothing is not", STATEFUL, unrelated),
    case("F01e", "", "a service that is let in, its neighbour not", STATEFUL, service),
    case("F01f", "", "IPv6 by the same rules", STATEFUL, six),
    case("F01g", "", "an answer to an echo that nobody sent", STATEFUL, no_echo),
    case("F03a", "RFC 9293 §3.10.7.1", "reject TCP: a reset that fits", STATEFUL, reject_tcp),
    case("F03b", "RFC 1812 §5.2.7.1", "reject the rest: 3/13", STATEFUL, reject_udp),
    case("F03c", "RFC 4443 §3.1", "reject IPv6: 1/1", STATEFUL, reject_six),
    case("F05a", "RFC 9293 §3.10", "a segment outside the window is dropped", STATEFUL, window),
    case("F05b", "RFC 9293 §3.10", "a SYN and ACK that nobody asked for is dropped", STATEFUL, syn_ack),
    case("F11a", "RFC 1858 §3", "later fragments follow the first", STATEFUL, |lab| fragments(lab, Lan)),
    case("F11b", "RFC 1858 §3", "what is refused is refused in pieces, too", STATEFUL, |lab| {
        fragments(lab, Wan)
    }),
    case("F12", "RFC 2827", "who speaks for another is not heard", KNOWN, spoofed),
    case("F14", "", "a rule lets so many begin a second", RATE, rate),
    case("N38", "RFC 6888 REQ-4", "a source has so many connections", PER_SOURCE, per_source),
    case("R18", "", "a policy route by source", POLICY, policy),
];

fn out_and_back(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(A, 5000), end(R, 6000), b"x");
    let got = lab.pass(Lan, &packet, Wan)?;
    lab.pass(Wan, &got.answer(b"y"), Lan)?;
    lab.pass(Lan, &ping(addr(A), addr(R), 4), Wan).map(drop)
}

fn unasked(lab: &mut Lab<'_>) -> Found {
    lab.swallow(Wan, &udp(end(R, 5000), end(A, 6000), b"x"))?;
    lab.swallow(Wan, &ping(addr(R), addr(A), 4))
}

fn related(lab: &mut Lab<'_>) -> Found {
    let got = lab.pass(Lan, &udp(end(A, 5000), end(R, 6000), b"x"), Wan)?;
    let error = icmp(addr("203.0.113.3"), addr(A), (3, 1), ([0; 4], &got.bytes()[..28]));
    let got = lab.pass(Wan, &error, Lan)?;
    same("type", got.kind(), Some((3, 1)))
}

fn unrelated(lab: &mut Lab<'_>) -> Found {
    let quoted = udp(end(A, 5999), end(R, 6000), b"x").bytes();
    lab.swallow(Wan, &icmp(addr("203.0.113.3"), addr(A), (3, 1), ([0; 4], &quoted[..28])))
}

fn service(lab: &mut Lab<'_>) -> Found {
    lab.pass(Wan, &tcp(end(R, 5000), end(D, 80), SYN, (1, 0), b""), Dmz)?;
    lab.pass(Dmz, &tcp(end(D, 80), end(R, 5000), SYN | ACK, (9, 2), b""), Wan)?;
    lab.swallow(Wan, &tcp(end(R, 5000), end(D, 81), SYN, (1, 0), b""))
}

const A6: &str = "2001:db8:1::2";
const R6: &str = "2001:db8:ff::2";

fn six(lab: &mut Lab<'_>) -> Found {
    lab.swallow(Wan, &udp(end(R6, 6000), end(A6, 5000), b"x"))?;
    lab.pass(Lan, &udp(end(A6, 5000), end(R6, 6000), b"x"), Wan)?;
    lab.pass(Wan, &udp(end(R6, 6000), end(A6, 5000), b"y"), Lan).map(drop)
}

fn no_echo(lab: &mut Lab<'_>) -> Found {
    lab.swallow(Wan, &icmp(addr(R), addr(A), (0, 0), ([0, 4, 0, 1], b"")))
}

fn reject_tcp(lab: &mut Lab<'_>) -> Found {
    let got = lab.pass(Dmz, &tcp(end(D, 5000), end(A, 80), SYN, (700, 0), b""), Dmz)?;
    same("a reset", got.flags(), RST | ACK)?;
    same("ends", got.ends(), (end(A, 80), end(D, 5000)))?;
    same("what it acknowledges", got.payload[8..12].to_vec(), 701u32.to_be_bytes().to_vec())?;
    lab.quiet(Lan)
}

fn reject_udp(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(D, 5000), end(A, 6000), b"x");
    let got = lab.pass(Dmz, &packet, Dmz)?;
    same("type", got.kind(), Some((3, 13)))?;
    same("quoted", got.quoted().map(|q| q.ends()), Some(packet.ends()))
}

fn reject_six(lab: &mut Lab<'_>) -> Found {
    let got = lab.pass(Dmz, &udp(end("2001:db8:2::2", 5000), end(A6, 6000), b"x"), Dmz)?;
    same("type", got.kind(), Some((1, 1)))
}

fn window(lab: &mut Lab<'_>) -> Found {
    let (src, dst) = (end(A, 5000), end(R, 80));
    lab.pass(Lan, &tcp(src, dst, SYN, (100, 0), b""), Wan)?;
    lab.pass(Wan, &tcp(dst, src, SYN | ACK, (500, 101), b""), Lan)?;
    lab.pass(Lan, &tcp(src, dst, ACK, (101, 501), b""), Wan)?;
    lab.swallow(Wan, &tcp(dst, src, ACK, (501 + 500_000, 101), b"far away"))?;
    lab.pass(Wan, &tcp(dst, src, ACK, (501, 101), b"here"), Lan).map(drop)
}

fn syn_ack(lab: &mut Lab<'_>) -> Found {
    lab.swallow(Lan, &tcp(end(A, 5000), end(R, 80), SYN | ACK, (100, 1), b""))
}

fn fragments(lab: &mut Lab<'_>, port: super::lab::Port) -> Found {
    let (src, dst, out) = match port {
        Lan => (A, R, Wan),
        _ => (R, A, Lan),
    };
    for piece in udp(end(src, 5000), end(dst, 6000), &[5; 100]).cut(40) {
        if out == Lan {
            lab.swallow(port, &piece)?;
        } else {
            lab.send(port, &piece);
        }
    }
    let mut n = 0;
    while out == Wan && n < 108 {
        n += lab.receive(out)?.payload.len();
    }
    Ok(())
}

fn spoofed(lab: &mut Lab<'_>) -> Found {
    let packet = udp(end(A, 5000), end(D, 6000), b"x");
    lab.send_bytes(Lan, (host_mac(addr(B)), [2, 0, 0, 0, 1, 1]), [8, 0], &packet.bytes());
    lab.quiet(Dmz)?;
    lab.swallow(Lan, &udp(end("10.1.0.9", 5000), end(D, 6000), b"x"))?;
    lab.pass(Lan, &packet, Dmz).map(drop)
}

fn rate(lab: &mut Lab<'_>) -> Found {
    for port in 0..12 {
        lab.send(Lan, &udp(end(A, 5000 + port), end(R, 6000), b"x"));
    }
    let mut passed = 0;
    while lab.quiet(Wan).is_err() {
        passed += 1;
    }
    same("some pass, most not", (2..8).contains(&passed), true).map_err(|why| format!("{why}: {passed}"))
}

fn per_source(lab: &mut Lab<'_>) -> Found {
    for port in 0..3 {
        lab.pass(Lan, &udp(end(A, 5000 + port), end(R, 6000), b"x"), Wan)?;
    }
    lab.send(Lan, &udp(end(A, 5003), end(R, 6000), b"x"));
    lab.quiet(Wan)?;
    // Neither those that live nor another source are harmed.
    lab.pass(Lan, &udp(end(A, 5000), end(R, 6000), b"x"), Wan)?;
    lab.pass(Lan, &udp(end(B, 5000), end(R, 6000), b"x"), Wan).map(drop)
}

fn policy(lab: &mut Lab<'_>) -> Found {
    for (src, via) in [(A, 2), (B, 3)] {
        lab.send(Lan, &udp(end(src, 5000), end("198.51.100.1", 6000), b"x"));
        same(src, lab.frame(Wan)?[5], via)?;
    }
    Ok(())
}
