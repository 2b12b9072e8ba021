//! Services of the router: DHCPv4 server and relay, DNS forwarder (the D cases), on virtual time.

mod net;

use std::net::Ipv4Addr;
use std::time::Duration;

use net::*;
use packet::{MacAddr, build};
use vrouter::{
    ConfigError, DhcpHost, DhcpPool, DhcpRelay, DnsConfig, Drop, LeaseState, Router, RouterConfig,
};

const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;
// RFC 2132 §9.6.
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK_: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;

/// A message as a client writes it; read back the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dhcp {
    op: u8,
    xid: u32,
    flags: u16,
    client: Ipv4Addr,
    yours: Ipv4Addr,
    relay: Ipv4Addr,
    mac: u8,
    options: Vec<(u8, Vec<u8>)>,
}

impl Dhcp {
    fn new(kind: u8, mac: u8) -> Self {
        let options = vec![(53, vec![kind])];
        Self { op: 1, xid: 7, flags: 0, client: NOBODY, yours: NOBODY, relay: NOBODY, mac, options }
    }

    fn with(mut self, number: u8, value: &[u8]) -> Self {
        self.options.push((number, value.to_vec()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.op, 1, 6, 0];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.flags.to_be_bytes());
        for addr in [self.client, self.yours, NOBODY, self.relay] {
            bytes.extend(addr.octets());
        }
        bytes.extend(mac(self.mac).0);
        bytes.resize(236, 0);
        bytes.extend([99, 130, 83, 99]);
        for (number, value) in &self.options {
            bytes.extend([*number, value.len() as u8]);
            bytes.extend(value);
        }
        bytes.push(255);
        bytes
    }

    fn read(bytes: &[u8]) -> Self {
        let addr = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
        assert!(bytes.len() >= 300, "RFC 1542 §2.1");
        let (mut options, mut at) = (Vec::new(), 240);
        while bytes[at] != 255 {
            let len = usize::from(bytes[at + 1]);
            options.push((bytes[at], bytes[at + 2..at + 2 + len].to_vec()));
            at += 2 + len;
        }
        Self {
            op: bytes[0],
            xid: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            flags: u16::from_be_bytes([bytes[10], bytes[11]]),
            client: addr(12),
            yours: addr(16),
            relay: addr(24),
            mac: bytes[33],
            options,
        }
    }

    fn kind(&self) -> u8 {
        self.option(53)[0]
    }

    fn option(&self, number: u8) -> &[u8] {
        self.options.iter().find(|(n, _)| *n == number).map_or(&[], |(_, value)| value)
    }

    /// As a client without an address sends it.
    fn broadcast(&self) -> Vec<u8> {
        build::ethernet(mac(self.mac), MacAddr::BROADCAST).ipv4(NOBODY, ALL).udp(68, 67, &self.bytes())
    }
}

fn pool() -> DhcpPool {
    DhcpPool {
        dns: vec![LAN_IP, R],
        ntp: vec![R2],
        domain: Some("example.org".into()),
        mtu: Some(1400),
        routes: vec![("192.0.2.0/24".parse().expect("a prefix"), B)],
        tftp_server: Some("boot.example.org".into()),
        boot_file: Some("image".into()),
        hosts: vec![DhcpHost { mac: mac(40), address: ip("10.1.0.40"), name: Some("printer".into()) }],
        ..DhcpPool::new("lan", (ip("10.1.0.100"), ip("10.1.0.103")))
    }
}

fn serving() -> RouterConfig {
    let mut config = plain();
    config.dhcp = vec![pool()];
    config
}

fn each(config: &RouterConfig, test: impl Fn(&mut Net)) {
    for n_workers in [1, 2, 4] {
        test(&mut Net::new(config.clone(), n_workers));
    }
}

fn replies(sent: &[Sent]) -> Vec<Dhcp> {
    sent.iter().map(|s| Dhcp::read(&s.payload)).collect()
}

/// The one reply to a message of a client without an address, and what carries it.
fn ask(net: &mut Net, message: &Dhcp) -> (Sent, Dhcp) {
    let mut sent = net.send(LAN, &message.broadcast());
    sent.extend(net.wait(Duration::from_millis(700)));
    assert_eq!(sent.len(), 1, "{sent:?}");
    let reply = Dhcp::read(&sent[0].payload);
    assert_eq!((reply.op, reply.xid, reply.mac), (2, message.xid, message.mac));
    (sent.remove(0), reply)
}

/// Discover to acknowledgement.
fn obtain(net: &mut Net, mac: u8) -> Ipv4Addr {
    let (_, offer) = ask(net, &Dhcp::new(DISCOVER, mac));
    assert_eq!(offer.kind(), OFFER);
    let take = Dhcp::new(REQUEST, mac).with(50, &offer.yours.octets()).with(54, offer.option(54));
    let (_, ack) = ask(net, &take);
    assert_eq!((ack.kind(), ack.yours), (ACK_, offer.yours));
    ack.yours
}

#[test]
fn d01_from_discover_to_release() {
    each(&serving(), |net| {
        let wanted = [1, 3, 6, 12, 15, 26, 42, 51, 66, 67, 121];
        let (sent, offer) = ask(net, &Dhcp::new(DISCOVER, 50).with(55, &wanted));
        assert_eq!((sent.port, sent.dst_mac, sent.dst), (LAN, mac(50), offer.yours), "RFC 2131 §4.1");
        assert_eq!((sent.src, sent.src_port, sent.dst_port), (LAN_IP, 67, 68));
        assert_eq!(net.arps.last().map(|(_, arp)| arp.target_ip), Some(offer.yours), "asked before");
        assert_eq!(offer.kind(), OFFER);
        assert!((ip("10.1.0.100")..=ip("10.1.0.103")).contains(&offer.yours));
        assert_eq!(offer.option(1), [255, 255, 255, 0]);
        assert_eq!((offer.option(3), offer.option(54)), (&LAN_IP.octets()[..], &LAN_IP.octets()[..]));
        assert_eq!(offer.option(6), [LAN_IP.octets(), R.octets()].concat());
        assert_eq!((offer.option(15), offer.option(26)), (&b"example.org"[..], &[5, 120][..]));
        assert_eq!((offer.option(42), offer.option(51)), (&R2.octets()[..], &3600u32.to_be_bytes()[..]));
        assert_eq!((offer.option(66), offer.option(67)), (&b"boot.example.org"[..], &b"image"[..]));
        // RFC 3442: the default route is among the routes.
        assert_eq!(offer.option(121), [&[24, 192, 0, 2][..], &B.octets(), &[0], &LAN_IP.octets()].concat());
        let take = Dhcp::new(REQUEST, 50)
            .with(50, &offer.yours.octets())
            .with(54, &LAN_IP.octets())
            .with(55, &[1, 3])
            .with(12, b"vm7");
        let (_, ack) = ask(net, &take);
        assert_eq!((ack.kind(), ack.yours, ack.option(6)), (ACK_, offer.yours, &[][..]), "what it wants");
        let lease = net.router.leases(net.now).remove(0);
        assert_eq!((lease.address, lease.mac, lease.state), (offer.yours, mac(50), LeaseState::Bound));
        assert_eq!(lease.name.as_deref(), Some("vm7"));
        // Renewal, to the server alone, with the address in use.
        net.secs(1800);
        let renew = Dhcp { client: ack.yours, ..Dhcp::new(REQUEST, 50) };
        let frame = build::ethernet(mac(50), mac(0xf0 + LAN as u8)).ipv4(ack.yours, LAN_IP);
        let sent = net.one(LAN, &frame.udp(68, 67, &renew.bytes()));
        assert_eq!((sent.dst, Dhcp::read(&sent.payload).kind()), (ack.yours, ACK_));
        assert!(net.router.leases(net.now)[0].expires_in > Duration::from_secs(3590));
        let release = Dhcp { client: ack.yours, ..Dhcp::new(RELEASE, 50) }.with(54, &LAN_IP.octets());
        assert_eq!(net.send(LAN, &frame.udp(68, 67, &release.bytes())), []);
        assert_eq!(net.router.leases(net.now), []);
        assert_eq!(obtain(net, 50), ack.yours, "it gets the address it had");
        assert_eq!(net.drops(), []);
    });
}

#[test]
fn d01_addresses_are_given_once_and_given_out() {
    each(&serving(), |net| {
        let mut got: Vec<Ipv4Addr> = (50..54).map(|mac| obtain(net, mac)).collect();
        assert_eq!(obtain(net, 50), got[0]);
        got.sort();
        got.dedup();
        assert_eq!(got.len(), 4);
        let late = net.send(LAN, &Dhcp::new(DISCOVER, 60).broadcast());
        assert_eq!((late, net.secs(2)), (Vec::new(), Vec::new()), "none is left");
        net.secs(3601);
        assert!(got.contains(&obtain(net, 60)), "leases that are over are used again");
        // By MAC, outside the range.
        assert_eq!(obtain(net, 40), ip("10.1.0.40"));
        let (_, offer) = ask(net, &Dhcp::new(DISCOVER, 40).with(55, &[12]));
        assert_eq!(offer.option(12), b"printer");
    });
}

#[test]
fn d01_an_address_that_somebody_has_is_not_offered() {
    each(&serving(), |net| {
        net.hosts.insert(ip("10.1.0.100"), (LAN, None, mac(77)));
        net.hosts.insert(ip("10.1.0.101"), (LAN, None, mac(78)));
        let mut sent = net.send(LAN, &Dhcp::new(DISCOVER, 50).broadcast());
        sent.extend(net.secs(3));
        assert_eq!(replies(&sent).iter().map(|r| r.yours).collect::<Vec<_>>(), [ip("10.1.0.102")]);
        let declined = net.router.leases(net.now).iter().filter(|l| l.state == LeaseState::Declined).count();
        assert_eq!(declined, 2);
        // A client that finds out itself says so.
        let take = Dhcp::new(REQUEST, 50).with(50, &[10, 1, 0, 102]).with(54, &LAN_IP.octets());
        ask(net, &take);
        let decline = Dhcp::new(DECLINE, 50).with(50, &[10, 1, 0, 102]).with(54, &LAN_IP.octets());
        assert_eq!(net.send(LAN, &decline.broadcast()), []);
        assert_eq!(obtain(net, 50), ip("10.1.0.103"));
    });
}

#[test]
fn d01_requests_that_are_refused_and_those_that_are_ignored() {
    each(&serving(), |net| {
        let mine = obtain(net, 50);
        let request = |mac: u8, addr: Ipv4Addr| Dhcp::new(REQUEST, mac).with(50, &addr.octets());
        // RFC 2131 §4.3.2: of another network, and of another client.
        for (mac, addr) in [(50, ip("10.9.0.5")), (51, mine)] {
            let (sent, nak) = ask(net, &request(mac, addr));
            assert_eq!((sent.dst, sent.dst_mac, nak.kind()), (ALL, MacAddr::BROADCAST, NAK));
        }
        let reboot = ask(net, &request(50, mine)).1;
        assert_eq!((reboot.kind(), reboot.yours), (ACK_, mine));
        let ignored = [
            request(52, ip("10.1.0.101")),
            request(50, mine).with(54, &[10, 1, 0, 9]),
            Dhcp { op: 2, ..request(50, mine) },
            Dhcp::new(99, 50),
        ];
        for message in ignored {
            assert_eq!(net.send(LAN, &message.broadcast()), [], "{message:?}");
        }
        let (sent, told) = ask(net, &Dhcp { client: mine, ..Dhcp::new(INFORM, 50) });
        assert_eq!((sent.dst, told.kind(), told.yours), (mine, ACK_, NOBODY));
        assert_eq!((told.option(51), told.option(15)), (&[][..], &b"example.org"[..]));
        // Who cannot take unicast is answered by broadcast.
        let (sent, _) = ask(net, &Dhcp { flags: 0x8000, ..Dhcp::new(DISCOVER, 50) });
        assert_eq!((sent.dst, sent.dst_mac), (ALL, MacAddr::BROADCAST));
        // Elsewhere nobody serves.
        net.none(WAN, &Dhcp::new(DISCOVER, 5).broadcast(), Drop::MartianSource);
    });
}

/// What is written down of leases, given to another router, makes it answer as the first one would.
#[test]
fn d01_leases_outlive_the_router() {
    each(&serving(), |net| {
        let (mine, others) = (obtain(net, 50), obtain(net, 51));
        let gone = obtain(net, 52);
        let release = Dhcp { client: gone, ..Dhcp::new(RELEASE, 52) }.with(54, &LAN_IP.octets());
        assert_eq!(net.send(LAN, &release.broadcast()), []);
        let before = net.router.leases(net.now);
        assert_eq!(before.len(), 2);
        // The last word on each address counts; it comes before the client is told.
        let mut kept = net.leases.clone();
        kept.reverse();
        kept.sort_by_key(|lease| lease.address);
        kept.dedup_by_key(|lease| lease.address);
        let mut next = Net::new(serving(), 1);
        next.router.restore_leases(kept);
        assert_eq!(next.router.leases(net.now), before);
        let reboot = |net: &mut Net, mac: u8, addr: Ipv4Addr| {
            ask(net, &Dhcp::new(REQUEST, mac).with(50, &addr.octets())).1.kind()
        };
        assert_eq!(reboot(&mut next, 50, mine), ACK_, "RFC 2131 §4.3.2: it is known");
        assert_eq!(reboot(&mut next, 50, others), NAK, "that is another's");
        assert_eq!(obtain(&mut next, 51), others);
        assert_eq!(obtain(&mut next, 52), gone, "what was released is still remembered");
        // Networks that are not served any more are left out.
        let mut bare = Net::new(plain(), 1);
        bare.router.restore_leases(net.leases.clone());
        assert_eq!(bare.router.leases(net.now), []);
    });
}

#[test]
fn d01_leases_outlive_another_configuration() {
    each(&serving(), |net| {
        let mine = obtain(net, 50);
        let mut config = serving();
        config.dhcp[0].domain = None;
        config.routes.push(via("192.0.2.0/24", GATEWAY));
        net.configure(config);
        assert_eq!(net.router.leases(net.now).len(), 1);
        assert_eq!(obtain(net, 50), mine);
    });
    let refused = |change: &dyn Fn(&mut DhcpPool)| {
        let mut config = serving();
        change(&mut config.dhcp[0]);
        let refused = Router::new(vrouter::Options::new(1, [1, 2])).set_config(packet::Instant::ZERO, config);
        assert!(matches!(refused, Err(ConfigError::BadService { .. })), "{refused:?}");
    };
    refused(&|pool| pool.range = (ip("10.9.0.1"), ip("10.9.0.2")));
    refused(&|pool| pool.range = (ip("10.1.0.9"), ip("10.1.0.2")));
    refused(&|pool| pool.lease_time = Duration::from_secs(1));
    refused(&|pool| pool.hosts[0].address = ip("10.9.0.1"));
}

#[test]
fn d01_an_address_that_a_client_leaves_is_to_be_had_again() {
    each(&serving(), |net| {
        let all: Vec<_> = (50..54).map(|mac| obtain(net, mac)).collect();
        // One of them gets an address of its own; the one it had is free.
        let mut config = serving();
        config.dhcp[0].hosts.push(DhcpHost { mac: mac(51), address: ip("10.1.0.41"), name: None });
        net.configure(config);
        assert_eq!(obtain(net, 51), ip("10.1.0.41"));
        assert_eq!(obtain(net, 60), all[1]);
    });
}

#[test]
fn d02_a_relay_with_option_82() {
    let mut config = plain();
    config.dhcp_relays = vec![
        DhcpRelay { interface: "lan".into(), servers: vec![R, R2] },
        DhcpRelay { interface: "lan.20".into(), servers: vec![R] },
    ];
    each(&config, |net| {
        let sent = net.send(LAN, &Dhcp::new(DISCOVER, 50).broadcast());
        assert_eq!(
            sent.iter().map(|s| (s.port, s.src, s.dst, s.dst_port)).collect::<Vec<_>>(),
            [(WAN, LAN_IP, R, 67), (WAN, LAN_IP, R2, 67)]
        );
        let relayed = Dhcp::read(&sent[0].payload);
        assert_eq!((relayed.relay, relayed.option(82), sent[0].payload[3]), (LAN_IP, &b"\x01\x03lan"[..], 1));
        // Each interface has its own address for the server to choose by.
        let tagged =
            build::ethernet(mac(4), MacAddr::BROADCAST).vlan(packet::VlanId::new(20).expect("a VLAN"));
        let sent = net.send(LAN, &tagged.ipv4(NOBODY, ALL).udp(68, 67, &Dhcp::new(DISCOVER, 4).bytes()));
        let other = Dhcp::read(&sent[0].payload);
        assert_eq!((other.relay, other.option(82)), (ip("10.2.0.1"), &b"\x01\x06lan.20"[..]));
        // The reply, without the option.
        let offer = Dhcp { op: 2, yours: ip("10.1.0.55"), relay: LAN_IP, ..Dhcp::new(OFFER, 50) }
            .with(82, b"\x01\x03lan");
        let reply = link(R).ipv4(R, LAN_IP).udp(67, 67, &offer.bytes());
        let sent = net.one(WAN, &reply);
        assert_eq!((sent.port, sent.dst_mac, sent.dst, sent.dst_port), (LAN, mac(50), ip("10.1.0.55"), 68));
        assert_eq!(Dhcp::read(&sent.payload).option(82), []);
        let stranger = link(R).ipv4(ip("198.51.100.99"), LAN_IP).udp(67, 67, &offer.bytes());
        assert_eq!(net.send(WAN, &stranger), [], "nobody asked him");
        // A client does not name its circuit (RFC 3046 §2.1); a relay before this one may.
        let forged = Dhcp::new(DISCOVER, 50).with(82, b"\x01\x03wan");
        assert_eq!(net.send(LAN, &forged.broadcast()), []);
        let second = Dhcp { relay: ip("10.7.0.1"), ..forged };
        let passed = net.send(LAN, &second.broadcast());
        let passed = Dhcp::read(&passed[0].payload);
        assert_eq!((passed.relay, passed.option(82)), (ip("10.7.0.1"), &b"\x01\x03wan"[..]));
        let mut worn = Dhcp::new(DISCOVER, 50).bytes();
        worn[3] = 16;
        let worn = build::ethernet(mac(50), MacAddr::BROADCAST).ipv4(NOBODY, ALL).udp(68, 67, &worn);
        assert_eq!(net.send(LAN, &worn), [], "sixteen relays are enough");
    });
}

#[test]
fn d02_a_server_for_clients_behind_relays() {
    let mut config = serving();
    config.dhcp.push(DhcpPool {
        network: Some("10.7.0.0/24".parse().expect("a prefix")),
        gateway: Some(ip("10.7.0.1")),
        ..DhcpPool::new("wan", (ip("10.7.0.50"), ip("10.7.0.60")))
    });
    each(&config, |net| {
        let relayed = Dhcp { relay: ip("10.7.0.1"), ..Dhcp::new(DISCOVER, 50) }.with(82, b"\x01\x02p1");
        let sent = net.one(WAN, &link(R).ipv4(R, WAN_IP).udp(67, 67, &relayed.bytes()));
        assert_eq!((sent.port, sent.dst, sent.dst_port), (WAN, ip("10.7.0.1"), 67), "to the relay");
        let offer = Dhcp::read(&sent.payload);
        assert_eq!((offer.yours, offer.relay), (ip("10.7.0.50"), ip("10.7.0.1")));
        assert_eq!(offer.options.last(), Some(&(82, b"\x01\x02p1".to_vec())), "RFC 3046 §2.2");
    });
}

// ---- DNS ---------------------------------------------------------------------------------------------------------

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

fn answer(query: &[u8], ttl: u32) -> Vec<u8> {
    let mut bytes = query.to_vec();
    (bytes[2], bytes[3], bytes[7]) = (0x81, 0x80, 1);
    bytes.extend([0xc0, 12, 0, 1, 0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend([0, 4, 192, 0, 2, 7]);
    bytes
}

/// No such name, for `ttl` seconds by the SOA and `minimum` by its last field.
fn nothing(query: &[u8], ttl: u32, minimum: u32) -> Vec<u8> {
    let mut bytes = query.to_vec();
    (bytes[2], bytes[3], bytes[9]) = (0x81, 0x83, 1);
    bytes.extend([0, 0, 6, 0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend([0, 22, 0, 0]);
    bytes.extend([0; 16]);
    bytes.extend(minimum.to_be_bytes());
    bytes
}

fn names() -> RouterConfig {
    let mut config = nat();
    config.dns = DnsConfig {
        interfaces: vec!["lan".into()],
        servers: vec![R.into(), R2.into()],
        zones: vec![("corp.example".into(), vec![B.into()])],
        cache_size: 8,
    };
    config
}

/// A client's question; what the router sends for it.
fn asks(net: &mut Net, port: u16, payload: &[u8]) -> Sent {
    net.one(LAN, &udp((A, port), (LAN_IP, 53), payload))
}

/// A server's answer to what the router asked.
fn answers(net: &mut Net, asked: &Sent, payload: &[u8]) -> Vec<Sent> {
    let mut bytes = payload.to_vec();
    bytes[..2].copy_from_slice(&asked.payload[..2]);
    net.send(asked.port, &udp((asked.dst, 53), (asked.src, asked.src_port), &bytes))
}

#[test]
fn d05_questions_are_passed_on_and_answers_kept() {
    each(&names(), |net| {
        let asked = asks(net, 5000, &query(7, "www.Example.org"));
        assert_eq!((asked.port, asked.src, asked.dst, asked.dst_port), (WAN, WAN_IP, R, 53));
        assert_eq!(asked.payload[2..], query(7, "www.Example.org")[2..]);
        assert!(asked.src_port >= 61_440);
        let sent = answers(net, &asked, &answer(&query(7, "www.Example.org"), 60));
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].ends(), ((LAN_IP, 53), (A, 5000)));
        assert_eq!(sent[0].payload, answer(&query(7, "www.Example.org"), 60));
        // From the cache: another client's letters and number, and a TTL that has run.
        net.secs(20);
        let kept = asks(net, 6000, &query(9, "WWW.example.ORG"));
        assert_eq!(kept.ends(), ((LAN_IP, 53), (A, 6000)));
        assert_eq!(kept.payload, answer(&query(9, "WWW.example.ORG"), 40));
        net.secs(41);
        assert_eq!(asks(net, 6000, &query(9, "www.example.org")).port, WAN, "over");
        // A TTL of zero is for the asker alone.
        let asked = asks(net, 5001, &query(7, "zero.example.org"));
        answers(net, &asked, &answer(&query(7, "zero.example.org"), 0));
        assert_eq!(asks(net, 5002, &query(7, "zero.example.org")).port, WAN);
    });
}

#[test]
fn d05_what_does_not_exist_is_remembered_as_long_as_the_soa_says() {
    each(&names(), |net| {
        let question = query(7, "no.example.org");
        let asked = asks(net, 5000, &question);
        answers(net, &asked, &nothing(&question, 300, 30));
        net.secs(29);
        let kept = asks(net, 5001, &question);
        assert_eq!((kept.port, kept.payload[3] & 15), (LAN, 3), "RFC 2308 §5");
        net.secs(2);
        assert_eq!(asks(net, 5002, &question).port, WAN);
    });
}

#[test]
fn d05_zones_have_their_own_servers_and_silent_ones_are_passed_over() {
    each(&names(), |net| {
        assert_eq!(asks(net, 5000, &query(1, "db.corp.example")).dst, B);
        assert_eq!(asks(net, 5001, &query(1, "corp.example")).dst, B);
        assert_eq!(asks(net, 5002, &query(1, "notcorp.example")).dst, R);
        net.secs(60);
        net.drops();
        let question = query(8, "slow.example.org");
        assert_eq!(asks(net, 5003, &question).dst, R);
        assert_eq!(net.send(LAN, &udp((B, 5003), (LAN_IP, 53), &question)), [], "waits for the same answer");
        let second = net.wait(Duration::from_millis(2100));
        assert_eq!(second.iter().map(|s| s.dst).collect::<Vec<_>>(), [R2]);
        let sent = answers(net, &second[0], &answer(&question, 60));
        assert_eq!(sent.iter().map(|s| s.dst).collect::<Vec<_>>(), [A, B]);
        // Nobody answers: the clients are told after three tries.
        let question = query(8, "dead.example.org");
        asks(net, 5004, &question);
        let sent = net.secs(10);
        let failed = sent.last().expect("told");
        assert_eq!((failed.dst, failed.payload[3] & 15, sent.len()), (A, 2, 3));
    });
}

#[test]
fn d05_forged_answers_and_strange_questions_are_dropped() {
    each(&names(), |net| {
        let question = query(7, "www.example.org");
        let asked = asks(net, 5000, &question);
        let good = answer(&question, 60);
        let id = |delta: u8| {
            let mut bytes = good.clone();
            bytes[..2].copy_from_slice(&[asked.payload[0], asked.payload[1].wrapping_add(delta)]);
            bytes
        };
        let from = |server, port, payload: &[u8]| udp((server, 53), (WAN_IP, port), payload);
        let mut other = id(0);
        other[13] = b'v';
        for forged in [
            from(R, asked.src_port, &id(1)),
            from(R2, asked.src_port, &id(0)),
            from(R, asked.src_port ^ 1, &id(0)),
            from(R, asked.src_port, &other),
            from(R, asked.src_port, &id(0)[..20]),
        ] {
            assert_eq!(net.send(WAN, &forged), []);
        }
        assert_eq!(answers(net, &asked, &good).len(), 1);
        for strange in
            [&b"x"[..], &question[..15], &good, &[&question[..4], &[0, 2], &question[6..]].concat()]
        {
            assert_eq!(net.send(LAN, &udp((A, 5), (LAN_IP, 53), strange)), []);
        }
        // Only where it is configured.
        let refused = net.one(WAN, &udp((R, 5), (WAN_IP, 53), &question));
        assert_eq!(refused.icmp.map(|i| (i.0, i.1)), Some((3, 3)));
    });
}

#[test]
fn d05_the_cache_is_bounded_and_long_answers_are_cut_for_who_takes_512_bytes() {
    each(&names(), |net| {
        for n in 0..30 {
            let question = query(7, &format!("n{n}.example.org"));
            let asked = asks(net, 5000 + n, &question);
            answers(net, &asked, &answer(&question, 600 + u32::from(n)));
        }
        let hits =
            (0..30).filter(|n| asks(net, 6000 + n, &query(7, &format!("n{n}.example.org"))).port == LAN);
        assert_eq!(hits.count(), 8, "the last eight");
        net.secs(20);
        let question = query(7, "long.example.org");
        let asked = asks(net, 7000, &question);
        let mut long = question.clone();
        (long[2], long[3], long[7]) = (0x81, 0x80, 40);
        for _ in 0..40 {
            long.extend(&answer(&question, 60)[question.len()..]);
        }
        let sent = answers(net, &asked, &long);
        assert_eq!(sent[0].payload.len(), question.len());
        assert_eq!((sent[0].payload[2] & 2, &sent[0].payload[6..12]), (2, &[0; 6][..]), "truncated");
    });
}

/// One end of a connection of TCP, as a host has it that hears everything.
struct Talk {
    port: u32,
    here: (Ipv4Addr, u16),
    there: (Ipv4Addr, u16),
    next: u32,
    expected: u32,
    heard: Vec<u8>,
}

impl Talk {
    fn say(&mut self, net: &mut Net, flags: packet::tcp::Flags, data: &[u8]) -> Vec<Sent> {
        let header = packet::tcp::Header {
            seq: self.next,
            ack: self.expected,
            window: 65_535,
            ..tcp_header(self.here.1, self.there.1, flags)
        };
        let counts = [SYN, packet::tcp::Flags::FIN].iter().filter(|f| flags.contains(**f)).count();
        self.next = self.next.wrapping_add((data.len() + counts) as u32);
        let sent = net.send(self.port, &link(self.here.0).ipv4(self.here.0, self.there.0).tcp(&header, data));
        self.hear(&sent);
        sent
    }

    /// Takes in what is for this end, in the order it comes.
    fn hear(&mut self, sent: &[Sent]) {
        for sent in sent.iter().filter(|s| s.protocol == 6 && s.ends() == (self.there, self.here)) {
            let view = packet::ipv4::View::parse(&sent.bytes).expect("a packet");
            let view = packet::tcp::View::parse(view.payload()).expect("a segment");
            let counts = [SYN, packet::tcp::Flags::FIN].iter().filter(|f| view.flags().contains(**f)).count();
            if view.flags().contains(SYN) {
                self.expected = view.seq();
            }
            if view.seq() == self.expected {
                self.expected = self.expected.wrapping_add((view.payload().len() + counts) as u32);
                self.heard.extend_from_slice(view.payload());
            }
        }
    }

    /// A client that has connected to the router.
    fn with_router(net: &mut Net, from: (Ipv4Addr, u16)) -> Self {
        let mut talk =
            Self { port: LAN, here: from, there: (LAN_IP, 53), next: 77, expected: 0, heard: Vec::new() };
        assert_eq!(talk.say(net, SYN, b"").len(), 1, "SYN and ACK");
        assert_eq!(talk.say(net, ACK, b""), []);
        talk
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// An answer of 200 addresses.
fn long_answer(question: &[u8]) -> Vec<u8> {
    let mut long = question.to_vec();
    (long[2], long[3], long[7]) = (0x81, 0x80, 200);
    (0..200).for_each(|_| long.extend(&answer(question, 60)[question.len()..]));
    long
}

#[test]
fn d05_clients_may_ask_by_tcp() {
    each(&names(), |net| {
        let question = query(7, "www.example.org");
        let mut client = Talk::with_router(net, (A, 40_000));
        // In two pieces, and a second question behind the first.
        let whole = framed(&question);
        let (first, rest) = whole.split_at(9);
        assert_eq!(client.say(net, ACK, first).len(), 1, "acknowledged");
        let mut sent = client.say(net, ACK, &[rest, &framed(&query(9, "mail.example.org"))].concat());
        sent.retain(|s| s.dst_port == 53);
        assert_eq!(sent.iter().map(|s| (s.dst, s.protocol)).collect::<Vec<_>>(), [(R, UDP), (R, UDP)]);
        let heard = answers(net, &sent[0], &long_answer(&question));
        assert!(heard.iter().all(|s| s.payload.len() <= 1220) && heard.len() > 2);
        client.hear(&heard);
        assert_eq!(client.heard, framed(&long_answer(&question)), "whole, though 512 bytes are all by UDP");
        // What gets lost is said again.
        let lost = answers(net, &sent[1], &answer(&query(9, "mail.example.org"), 60));
        assert_eq!(lost.len(), 1);
        client.say(net, ACK, b"");
        client.heard.clear();
        let again = net.wait(Duration::from_millis(1100));
        client.hear(&again);
        assert_eq!(client.heard, framed(&answer(&query(9, "mail.example.org"), 60)));
        // It ends when the client has said all, and when it says nothing for ten seconds.
        let fin = packet::tcp::Flags::FIN.with(ACK);
        let expected = client.expected;
        client.say(net, fin, b"");
        assert_eq!(client.expected, expected.wrapping_add(1));
        client.say(net, ACK, b"");
        let mut idle = Talk::with_router(net, (B, 40_000));
        let expected = idle.expected;
        let ended = net.secs(11);
        idle.hear(&ended);
        assert_eq!(idle.expected, expected.wrapping_add(1));
        // Without a connection there is a reset; elsewhere nobody listens.
        let reset = net.one(LAN, &segment((A, 9), (LAN_IP, 53), ACK, b"x"));
        let flags = packet::ipv4::View::parse(&reset.bytes).expect("a packet").payload()[13];
        assert_eq!(flags & 4, 4);
        net.none(WAN, &segment((R, 9), (WAN_IP, 53), SYN, b""), Drop::NoListener);
    });
}

#[test]
fn d05_answers_that_are_cut_are_asked_for_by_tcp() {
    each(&names(), |net| {
        let question = query(7, "long.example.org");
        let asked = asks(net, 7000, &question);
        let mut cut = question.clone();
        (cut[2], cut[3]) = (0x83, 0x80);
        let sent = answers(net, &asked, &cut);
        let [syn] = &sent[..] else { panic!("one SYN: {sent:?}") };
        assert_eq!((syn.protocol, syn.src, syn.dst, syn.dst_port, syn.port), (6, WAN_IP, R, 53, WAN));
        let there = (syn.src, syn.src_port);
        let mut server = Talk { port: WAN, here: (R, 53), there, next: 900, expected: 0, heard: Vec::new() };
        server.hear(&sent);
        server.say(net, SYN_ACK, b"");
        let mut wanted = question.clone();
        wanted[..2].copy_from_slice(&asked.payload[..2]);
        assert_eq!(server.heard, framed(&wanted));
        let mut whole = long_answer(&question);
        whole[..2].copy_from_slice(&asked.payload[..2]);
        let mut sent = Vec::new();
        for piece in framed(&whole).chunks(1000) {
            sent.extend(server.say(net, ACK, piece));
        }
        let told = sent.iter().find(|s| s.protocol == UDP).expect("the client is told");
        assert_eq!((told.dst, told.payload[2] & 2), (A, 2), "that it must ask by TCP itself");
        // It does, and is answered from the cache.
        let mut client = Talk::with_router(net, (A, 40_000));
        let sent = client.say(net, ACK, &framed(&question));
        assert!(sent.iter().all(|s| s.port == LAN));
        assert_eq!(client.heard, framed(&long_answer(&question)));
        // A server that speaks no TCP: who asked by UDP has what there is.
        let question = query(7, "cut.example.org");
        let asked = asks(net, 7001, &question);
        let mut cut = question.clone();
        (cut[2], cut[3]) = (0x83, 0x80);
        answers(net, &asked, &cut);
        let sent = net.secs(10);
        let told = sent.iter().find(|s| s.dst == A && s.protocol == UDP).expect("told in the end");
        assert_eq!((told.payload[2] & 2, told.payload[3] & 15), (2, 0));
    });
}

#[test]
fn d07_floods_for_the_router_itself_are_bounded() {
    let mut net = Net::new(names(), 1);
    for n in 0..600 {
        net.send(LAN, &udp((A, 5000 + n), (LAN_IP, 53), b"nonsense"));
    }
    assert_eq!(net.drops(), [(Drop::ServiceLimit, 88)]);
    net.wait(Duration::from_millis(10));
    assert_eq!(asks(&mut net, 5000, &query(7, "www.example.org")).port, WAN, "it goes on");
}

#[test]
fn d07_floods_of_arp_and_discovery_leave_other_interfaces_alone() {
    let mut config = plain();
    config.interfaces[0].addresses.push((net::v6::LAN6.into(), 64));
    let mut net = Net::new(config, 1);
    let arp = |port: u32, station: u8, from: Ipv4Addr, to: Ipv4Addr| {
        let ask = packet::arp::Packet::request(mac(station), from, to);
        (port, packet::Frame::from_bytes(&build::ethernet(mac(station), MacAddr::BROADCAST).arp(&ask)))
    };
    let answered = |net: &mut Net, (port, frame): (u32, packet::Frame)| net.raw(port, frame).len();
    let flood: usize = (0..6000).map(|_| answered(&mut net, arp(LAN, 2, A, LAN_IP))).sum();
    assert_eq!(flood, 4096);
    // Discovery is of the same kind.
    let (own, host) = (net::v6::LAN6, "2001:db8:0:1::9".parse::<std::net::Ipv6Addr>().expect("an address"));
    let ask = packet::nd::Message::NeighbourSolicit { target: own, source: Some(mac(9)) };
    let ask = build::ethernet(mac(9), packet::nd::multicast_mac(packet::nd::solicited_node(own)))
        .ipv6(host, packet::nd::solicited_node(own))
        .nd(&ask);
    let ask = || (LAN, packet::Frame::from_bytes(&ask));
    assert_eq!(answered(&mut net, ask()), 0);
    assert_eq!(net.drops(), [(Drop::ServiceLimit, 1905)]);
    assert_eq!(answered(&mut net, arp(WAN, 5, GATEWAY, WAN_IP)), 1, "another interface");
    net.wait(Duration::from_millis(1));
    assert_eq!(answered(&mut net, arp(LAN, 2, A, LAN_IP)) + answered(&mut net, ask()), 2, "it goes on");
}

#[test]
fn d06_metadata_and_time_are_served_by_who_has_them() {
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    let forward = |protocol, port, to: (Ipv4Addr, u16)| vrouter::NatRule::PortForward {
        input: "lan".into(),
        protocol,
        port,
        to: (to.0.into(), to.1),
        inbound_only: true,
        vrf: None,
    };
    let mut config = nat();
    config.interfaces[0].addresses.push((metadata.into(), 32));
    config.nat.push(forward(vrouter::Transport::Tcp, 80, (C, 8775)));
    config.nat.push(forward(vrouter::Transport::Udp, 123, (C, 123)));
    let mut pool = DhcpPool::new("lan", (ip("10.1.0.100"), ip("10.1.0.199")));
    pool.ntp = vec![LAN_IP];
    config.dhcp = vec![pool];
    for n_workers in [1, 2, 4] {
        let mut net = Net::new(config.clone(), n_workers);
        // The server sees who asks, as it must to tell instances apart.
        for (host, port) in [(A, 40_000), (B, 40_000)] {
            let asked = net.one(LAN, &segment((host, port), (metadata, 80), SYN, b""));
            assert_eq!((asked.ends(), asked.vlan), (((host, port), (C, 8775)), Some(20)));
            let answer = net.one(LAN, &segment((C, 8775), (host, port), SYN_ACK, b""));
            assert_eq!((answer.ends(), answer.vlan), (((metadata, 80), (host, port)), None));
        }
        let asked = net.one(LAN, &udp((A, 123), (LAN_IP, 123), &[0x23; 48]));
        assert_eq!(asked.ends().1, (C, 123));
        assert_eq!(net.one(LAN, &udp((C, 123), (A, 123), &[0x24; 48])).ends().0, (LAN_IP, 123));
    }
}
