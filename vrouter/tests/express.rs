//! What goes the short way comes out as it would by the long one.

mod net;

use net::*;
use packet::tcp::Flags;
use packet::{MacAddr, Outputs, arp, build, udp as udp_header};
use proptest::prelude::*;
use vrouter::{Drop, FirewallAction, FirewallRule, NatRule, Police, RouterConfig};

/// The same router, in which a limit that nobody reaches makes each frame be asked about.
fn long_way(mut config: RouterConfig) -> RouterConfig {
    for interface in &mut config.interfaces {
        interface.police = Some(Police { rate: 1 << 50, burst: u32::MAX });
    }
    config
}

fn firewall(mut config: RouterConfig) -> RouterConfig {
    let lan = FirewallRule { input: Some("lan".into()), ..FirewallRule::new(FirewallAction::Allow) };
    config.firewall = vec![lan];
    config.firewall_default = FirewallAction::Drop;
    config
}

fn rules(which: u8) -> RouterConfig {
    let mut config = rules_uncounted(which);
    let counted = ["0.0.0.0/0", "10.1.0.0/24", "10.1.0.1/32"].map(|to| (None, to.parse().expect("a prefix")));
    config.counted = counted.into();
    config
}

fn rules_uncounted(which: u8) -> RouterConfig {
    match which {
        0 => plain(),
        1 => nat(),
        2 => firewall(plain()),
        3 => firewall(nat()),
        _ => {
            let mut config = nat();
            config.nat.push(NatRule::Exempt {
                source: "10.1.0.3/32".parse().expect("a prefix"),
                destination: "198.51.100.8/32".parse().expect("a prefix"),
            });
            config.interfaces[2].mtu = 600;
            config.interfaces[0].clamp_mss = true;
            config.tuning.tcp_window = true;
            config
        }
    }
}

/// A packet of a conversation: which, from which end, and what is special about it.
#[derive(Clone, Copy, Debug)]
struct Step {
    flow: u8,
    reply: bool,
    flags: u8,
    seq: u16,
    quirk: u8,
    len: u16,
}

fn step() -> impl Strategy<Value = Step> {
    (0u8..6, any::<bool>(), 0u8..5, 0u16..200, 0u8..12, 0u16..700)
        .prop_map(|(flow, reply, flags, seq, quirk, len)| Step { flow, reply, flags, seq, quirk, len })
}

/// The ends of a conversation as its first packet has them.
fn ends(flow: u8) -> ((Ipv4, u16), (Ipv4, u16)) {
    match flow {
        0 => ((A, 4000), (R, 53)),
        1 => ((A, 4000), (R2, 53)),
        2 => ((B, 4000), (R2, 443)),
        3 => ((C, 4001), (R, 80)),
        4 => ((R, 7000), (WAN_IP, 8080)),
        _ => ((A, 4002), (B, 80)),
    }
}

type Ipv4 = std::net::Ipv4Addr;

fn frame(step: Step, (src, dst): ((Ipv4, u16), (Ipv4, u16)), is_tcp: bool) -> Vec<u8> {
    let payload = vec![step.seq as u8; usize::from(step.len)];
    let mut bytes = match is_tcp {
        true => {
            let flags = [Flags::SYN, Flags::ACK, Flags::FIN.with(Flags::ACK), Flags::RST, SYN_ACK];
            let mut header = tcp_header(src.1, dst.1, flags[usize::from(step.flags)]);
            header.seq += u32::from(step.seq);
            link(src.0).ipv4(src.0, dst.0).tcp(&header, &payload)
        }
        false => udp(src, dst, &payload),
    };
    let at = bytes.len() - packet_of(&bytes).len();
    match step.quirk {
        // TTL used up, and a wrong sum of the header.
        0 => (bytes[at + 8], bytes[at + 10]) = (1, 0),
        1 => bytes[at + 10] ^= 0x40,
        // Padding, and no sum of UDP.
        2 => bytes.extend([0; 9]),
        3 if !is_tcp => {
            let sum = at + 20 + udp_header::CHECKSUM_AT;
            bytes[sum..sum + 2].fill(0);
        }
        4 => bytes.truncate(bytes.len() - 1),
        _ => {}
    }
    bytes
}

/// All that leaves, as it is written.
fn written(out: Outputs) -> Vec<(u32, Vec<u8>)> {
    out.into_iter().map(|(port, frame)| (port.0, frame.to_vec())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn both_ways_are_one(
        which in 0u8..5,
        n_workers in prop::sample::select(vec![1usize, 2, 4]),
        is_tcp in any::<bool>(),
        change_at in prop::option::of(0usize..40),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut short = Net::new(rules(which), n_workers);
        let mut long = Net::new(long_way(rules(which)), n_workers);
        // Neighbours are known before.
        for host in [A, B, C, GATEWAY] {
            let own = if host == GATEWAY { WAN_IP } else if host == C { ip("10.2.0.1") } else { LAN_IP };
            let asks = ping(host, own, 1);
            let port = if host == GATEWAY { WAN } else { LAN };
            prop_assert_eq!(short.send(port, &asks), long.send(port, &asks));
        }
        // What each conversation looks like from outside, once it was seen to leave.
        let mut seen = [None; 6];
        for (n, step) in steps.iter().enumerate() {
            if change_at == Some(n) {
                let mut config = rules(which);
                config.nat.retain(|rule| matches!(rule, NatRule::Masquerade { .. }));
                prop_assert_eq!(short.configure(config.clone()), long.configure(long_way(config)));
            }
            let (src, dst) = ends(step.flow);
            let ends = match (step.reply, seen[usize::from(step.flow)]) {
                (false, _) => (src, dst),
                (true, Some(back)) => back,
                (true, None) => continue,
            };
            let port = if matches!(ends.0.0.octets(), [10, ..]) { LAN } else { WAN };
            let bytes = frame(*step, ends, is_tcp);
            let [a, b] = [&mut short, &mut long].map(|net| written(net.raw(port, packet::Frame::from_bytes(&bytes))));
            prop_assert_eq!(&a, &b, "{:?}", step);
            let left = a.iter().find(|(_, bytes)| bytes[12..14] == [8, 0] && bytes.len() > 42 && bytes[23] != 1);
            if let (Some((port, bytes)), false) = (left, step.reply) {
                let out = read_ends(bytes);
                prop_assert!(*port == WAN || *port == LAN);
                seen[usize::from(step.flow)] = Some((out.1, out.0));
            }
            prop_assert_eq!(short.drops(), long.drops(), "{:?}", step);
            prop_assert_eq!(short.router.counted(), long.router.counted(), "{:?}", step);
        }
        prop_assert_eq!(short.router.connections(short.now), long.router.connections(long.now));
    }
}

fn read_ends(bytes: &[u8]) -> ((Ipv4, u16), (Ipv4, u16)) {
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let addr = |at: usize| Ipv4::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    ((addr(26), word(34)), (addr(30), word(36)))
}

/// Packets of the short and of the long way in one batch leave in the order they came in.
#[test]
fn a_batch_keeps_its_order() {
    let mut net = Net::new(nat(), 1);
    let first = net.one(LAN, &udp((A, 4000), (R, 53), b"0"));
    for n in 1..9u8 {
        let sent = net.one(LAN, &udp((A, 4000), (R, 53), &[n]));
        assert_eq!((sent.ends(), sent.payload.as_slice()), (first.ends(), &[n][..]));
        let back = net.one(WAN, &udp((R, 53), (first.src, first.src_port), &[n]));
        assert_eq!(back.ends(), ((R, 53), (A, 4000)));
    }
    let batch: Vec<Vec<u8>> = (0..40u8)
        .map(|n| {
            // Every fourth begins a flow, every fourth has an option.
            let port = if n % 4 == 1 { 5000 + u16::from(n) } else { 4000 };
            let frame = udp((A, port), (R, 53), &[n]);
            if n % 4 == 2 { with_option(&frame) } else { frame }
        })
        .collect();
    let left = written(net.batch(LAN, &batch));
    let order: Vec<u8> = left.iter().map(|(_, bytes)| *bytes.last().expect("a payload")).collect();
    assert_eq!(order, (0..40).collect::<Vec<_>>());
}

/// The same packet with four bytes of options that say nothing (RFC 791 §3.1).
fn with_option(frame: &[u8]) -> Vec<u8> {
    let packet = packet_of(frame);
    let mut bytes = [&packet[..20], &[1; 4], &packet[20..]].concat();
    bytes[0] = 0x46;
    let len = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes[10..12].fill(0);
    let sum = packet::checksum::checksum(&bytes[..24]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    [&frame[..frame.len() - packet.len()], &bytes].concat()
}

/// What is remembered of next hops is void when a route, its neighbour or the configuration changes.
#[test]
fn a_next_hop_that_changes_is_followed_at_once() {
    let mut net = Net::new(plain(), 1);
    let (other, beyond) = (ip("203.0.113.253"), "198.51.100.0/24");
    net.hosts.insert(other, (WAN, None, mac(6)));
    // The first asks who is not known yet, the others find what it has left.
    let next_hop = |net: &mut Net| {
        let sent = [(); 3].map(|()| net.one(LAN, &udp((A, 4000), (R, 53), b"x")).dst_mac);
        assert_eq!(sent, [sent[0]; 3]);
        sent[0]
    };
    assert_eq!(next_hop(&mut net), mac(5));
    net.router.add_routes(&[via(beyond, other)]).expect("the gateway is connected");
    net.secs(1);
    assert_eq!(next_hop(&mut net), mac(6));
    // The number of the set of the route that went may be another's next.
    net.router.remove_routes("", &[beyond.parse().expect("a prefix")]).expect("the VRF is there");
    net.router.add_routes(&[via(beyond, GATEWAY)]).expect("the gateway is connected");
    net.secs(1);
    assert_eq!(next_hop(&mut net), mac(5));
    let announcement = arp::Packet::request(mac(0x55), GATEWAY, GATEWAY);
    net.send(WAN, &build::ethernet(mac(0x55), MacAddr::BROADCAST).arp(&announcement));
    assert_eq!(next_hop(&mut net), mac(0x55));
    let mut config = plain();
    config.routes = vec![via("0.0.0.0/0", other)];
    net.router.remove_routes("", &[beyond.parse().expect("a prefix")]).expect("the VRF is there");
    net.configure(config);
    assert_eq!(next_hop(&mut net), mac(6));
    // Too large for the way out of now, though not for that of before.
    let mut config = plain();
    config.interfaces[2].mtu = 100;
    net.configure(config);
    let told = net.one(LAN, &udp((A, 4000), (R, 53), &[7; 200]));
    assert_eq!((told.icmp.map(|(kind, code, _)| (kind, code)), told.dst), (Some((3, 4)), A));
    assert_eq!(net.drops(), [(Drop::ArpIgnored, 1), (Drop::TooBig, 1)]);
}

/// A connection that makes room for another in the middle of a batch is not that of the packets behind.
#[test]
fn a_connection_that_ends_within_a_batch_is_not_used_on() {
    let flow = |port: u16| udp((A, port), (R, 53), b"x");
    let [mut together, mut apart] = [(); 2].map(|()| Net::sized(nat(), 1, 2));
    for net in [&mut together, &mut apart] {
        (0..3).for_each(|_| drop(net.one(LAN, &flow(4000))));
    }
    // The third flow takes the place of the first, which then takes that of the second.
    let frames = [4000, 5001, 5002, 4000, 5002].map(flow);
    let left = written(together.batch(LAN, &frames));
    let one_by_one = frames.iter().flat_map(|frame| written(apart.batch(LAN, std::slice::from_ref(frame))));
    assert_eq!(left, one_by_one.collect::<Vec<_>>());
    assert_eq!(left.len(), frames.len());
    assert_eq!(together.router.connections(together.now), apart.router.connections(apart.now));
}
