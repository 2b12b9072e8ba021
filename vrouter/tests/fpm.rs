//! Routes of FRR over FPM (the X cases): bytes as dplane_fpm_nl writes them, on virtual time.

mod net;

use std::net::Ipv4Addr;

use net::netlink::{DEL, NEW, attribute, hop, member, next_hop_body, route_body};
use net::*;
use packet::Instant;
use vrouter::{Fpm, FpmError, Options, RouteSource, Router, RouterConfig, VrfConfig};

const OFFLOADED: u32 = 0x4000;
const FAILED: u32 = 0x2000_0000;

fn fpm(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 1];
    bytes.extend(((body.len() + 20) as u16).to_be_bytes());
    bytes.extend(((body.len() + 16) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes
}

/// A route message: of a table and type, to a prefix, with more attributes.
fn route(kind: u16, (table, of): (u8, u8), to: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    fpm(kind, &route_body((table, 186, of), to, attributes))
}

fn by_gateway(to: &str, gateway: Ipv4Addr) -> Vec<u8> {
    route(NEW, (254, 1), to, &[attribute(5, &gateway.octets()), attribute(6, &20u32.to_ne_bytes())])
}

fn withdrawn(to: &str) -> Vec<u8> {
    route(DEL, (254, 1), to, &[])
}

struct Session {
    router: Router,
    fpm: Fpm,
    now: Instant,
}

impl Session {
    fn new() -> Self {
        let mut router = Router::new(Options::new(1, [1, 2]));
        let mut config = plain();
        config.interfaces[1].vrf = Some("7".into());
        router.set_config(Instant::ZERO, config).expect("a right configuration");
        let (mut fpm, now) = (Fpm::default(), Instant::from_secs(1000));
        fpm.connected(now);
        Self { router, fpm, now }
    }

    /// The flags of the answers.
    fn say(&mut self, bytes: &[u8]) -> Vec<u32> {
        self.fpm.handle_bytes(&mut self.router, self.now, bytes).expect("FPM");
        let mut flags = Vec::new();
        while let Some(answers) = self.fpm.poll_output() {
            let mut rest = answers.as_slice();
            while !rest.is_empty() {
                let (answer, next) = rest.split_at(u16::from_be_bytes([rest[2], rest[3]]).into());
                flags.push(u32::from_ne_bytes(answer[28..32].try_into().expect("four bytes")));
                rest = next;
            }
        }
        flags
    }

    fn secs(&mut self, secs: u64) {
        self.now = self.now + std::time::Duration::from_secs(secs);
        self.fpm.handle_timeout(&mut self.router, self.now);
    }

    /// Routes of the protocol, as text.
    fn routes(&self) -> Vec<String> {
        let ours = self.router.fib().into_iter().filter(|r| r.source == RouteSource::Protocol);
        ours.map(|r| format!("{:?} {} {:?}", r.vrf, r.to, r.target)).collect()
    }

    fn n(&self) -> usize {
        assert_eq!(self.routes().len(), self.fpm.n_routes());
        self.fpm.n_routes()
    }
}

#[test]
fn x07_each_route_is_answered_with_what_became_of_it() {
    let mut s = Session::new();
    assert_eq!(s.say(&by_gateway("192.0.2.0/24", GATEWAY)), [OFFLOADED]);
    assert!(s.routes()[0].starts_with("None 192.0.2.0/24 Via { gateway: 203.0.113.254"), "{:?}", s.routes());
    assert_eq!(s.say(&by_gateway("192.0.3.0/24", ip("9.9.9.9"))), [FAILED], "a gateway nowhere");
    // One that cannot be does not take the others along; one that cannot be any more goes.
    let mixed = [by_gateway("192.0.4.0/24", GATEWAY), by_gateway("192.0.2.0/24", ip("9.9.9.9"))].concat();
    assert_eq!(s.say(&mixed), [OFFLOADED, FAILED]);
    assert!(s.routes()[0].contains("192.0.4.0/24") && s.n() == 1, "{:?}", s.routes());
    for (kind, target) in [(6, "Blackhole"), (7, "Unreachable"), (8, "Prohibit")] {
        assert_eq!(s.say(&route(NEW, (254, kind), "192.0.4.0/24", &[])), [OFFLOADED], "replaced");
        assert!(s.routes()[0].ends_with(target) && s.n() == 1);
    }
    // A change, as FRR says it: workers are never given what lies between.
    while s.router.poll_effect().is_some() {}
    assert_eq!(
        s.say(&[withdrawn("192.0.4.0/24"), by_gateway("192.0.4.0/24", GATEWAY)].concat()),
        [OFFLOADED]
    );
    assert_eq!((std::iter::from_fn(|| s.router.poll_effect()).count(), s.n()), (1, 1));
    assert_eq!(s.say(&withdrawn("192.0.4.0/24")), []);
    assert_eq!(s.n(), 0);
    // To an interface: none of ours.
    assert_eq!(s.say(&route(NEW, (254, 1), "192.0.5.0/24", &[attribute(4, &3u32.to_ne_bytes())])), []);
}

#[test]
fn x01_several_next_hops_groups_vrfs_and_ipv6() {
    let mut s = Session::new();
    let several = attribute(9, &[hop("203.0.113.7", 1, 0), hop("203.0.113.8", 3, 0)].concat());
    assert_eq!(s.say(&route(NEW, (254, 1), "192.0.2.0/24", &[several])), [OFFLOADED]);
    assert!(s.routes()[0].contains("203.0.113.8") && s.routes()[0].contains("weight: 3"), "{:?}", s.routes());
    // Next hops and a group of them, told before.
    let next_hop = |id: u32, rest: &[u8]| fpm(104, &next_hop_body(id, rest));
    let gateway = |text: &str| attribute(6, &ip(text).octets());
    let named = |to: &str, id: u32| route(NEW, (254, 1), to, &[attribute(30, &id.to_ne_bytes())]);
    s.say(&next_hop(1, &gateway("203.0.113.7")));
    s.say(&next_hop(2, &gateway("203.0.113.9")));
    s.say(&next_hop(3, &attribute(2, &[member(1, 2), member(2, 1)].concat())));
    assert_eq!(s.say(&[named("192.0.3.0/24", 3), named("192.0.4.0/24", 2)].concat()), [OFFLOADED; 2]);
    assert!(s.routes()[1].contains("Group") && s.routes()[2].contains("Via { gateway: 203.0.113.9"));
    assert_eq!(s.say(&named("192.0.5.0/24", 99)), [FAILED], "a next hop nobody told of");
    s.say(&next_hop(7, &attribute(5, &3u32.to_ne_bytes())));
    assert_eq!(s.say(&named("192.0.5.0/24", 7)), [], "an interface of FRR's host, none of ours");
    // What is behind a number changes, and the routes that named it, or a group with it, with it.
    s.say(&next_hop(2, &gateway("203.0.113.10")));
    assert!(s.routes()[1].contains("203.0.113.10") && s.routes()[2].contains("Via { gateway: 203.0.113.10"));
    s.say(&next_hop(3, &attribute(2, &member(2, 1))));
    assert!(!s.routes()[1].contains("203.0.113.7"), "{:?}", s.routes());
    s.say(&next_hop(2, &gateway("9.9.9.9")));
    assert_eq!(s.n(), 1, "that leads nowhere any more");
    s.say(&next_hop(2, &gateway("203.0.113.9")));
    assert_eq!(s.say(&[named("192.0.3.0/24", 3), named("192.0.4.0/24", 2)].concat()), [OFFLOADED; 2]);
    // Table 7 is the VRF of that name; there is no VRF for table 8.
    let in_table = |table| route(NEW, (table, 1), "192.0.6.0/24", &[attribute(5, &[10, 2, 0, 9])]);
    assert_eq!((s.say(&in_table(7)), s.say(&in_table(8))), (vec![OFFLOADED], vec![FAILED]));
    assert!(s.routes().iter().any(|r| r.starts_with("Some(\"7\") 192.0.6.0/24")), "{:?}", s.routes());
    assert_eq!(s.say(&route(NEW, (254, 7), "2001:db8:5::/48", &[])), [OFFLOADED]);
    assert_eq!(s.n(), 5);
}

fn vrf(name: &str, table: u32) -> VrfConfig {
    VrfConfig { name: name.into(), table: Some(table) }
}

#[test]
fn x01_a_vrf_has_the_table_that_it_says() {
    let mut s = Session::new();
    let mut config = s.router.config().clone();
    config.interfaces[1].vrf = Some("red".into());
    config.vrfs = vec![vrf("red", 1_000_007), vrf("9", 10)];
    s.router.set_config(s.now, config.clone()).expect("a right configuration");
    let gateway = attribute(5, &[10, 2, 0, 9]);
    let in_table = |kind, table: u32, to: &str| {
        let table = attribute(15, &table.to_ne_bytes());
        // Tables that have no room in a byte (RTA_TABLE).
        route(kind, (252, 1), to, &[table, gateway.clone()])
    };
    assert_eq!(s.say(&in_table(NEW, 1_000_007, "192.0.6.0/24")), [OFFLOADED]);
    assert!(
        s.routes()[0].starts_with("Some(\"red\") 192.0.6.0/24 Via { gateway: 10.2.0.9"),
        "{:?}",
        s.routes()
    );
    // A VRF that says its table has no other by its name, and nobody has this one.
    let drop = |table: u8| route(NEW, (table, 6), "192.0.7.0/24", &[]);
    assert_eq!(
        (s.say(&drop(9)), s.say(&drop(11)), s.say(&drop(10))),
        (vec![FAILED], vec![FAILED], vec![OFFLOADED])
    );
    assert!(s.routes()[1].starts_with("Some(\"9\") 192.0.7.0/24"), "{:?}", s.routes());
    assert_eq!((s.say(&in_table(DEL, 1_000_007, "192.0.6.0/24")), s.n()), (vec![], 1));
}

#[test]
fn x01_two_vrfs_cannot_have_one_table() {
    let mut s = Session::new();
    let mut refused = |vrfs: &[VrfConfig]| {
        let config = RouterConfig { vrfs: vrfs.into(), ..plain() };
        s.router.set_config(s.now, config).expect_err("refused").to_string()
    };
    let text = refused(&[vrf("red", 10), vrf("blue", 11), vrf("green", 10)]);
    assert_eq!(text, "vrfs[2].table: 10 is the table of the VRF \"red\"");
    assert_eq!(refused(&[vrf("red", 254)]), "vrfs[0].table: 254 is the table of the VRF without a name");
    assert_eq!(refused(&[vrf("red", 0)]), "vrfs[0].table: a table has a number from 1 to 4294967295");
    assert_eq!(refused(&[vrf("red", 1), vrf("red", 2)]), "vrfs[1].name: \"red\" is used twice");
    assert_eq!(refused(&[vrf("", 1)]), "vrfs[0].name: a VRF that is said something of has a name");
}

#[test]
fn x01_a_table_that_becomes_another_vrfs_is_told_again() {
    let mut s = Session::new();
    let mut config = s.router.config().clone();
    config.vrfs = vec![vrf("red", 10), vrf("blue", 11)];
    s.router.set_config(s.now, config.clone()).expect("a right configuration");
    let told = route(NEW, (10, 6), "192.0.6.0/24", &[]);
    s.say(&told);
    config.interfaces[2].mtu = 1400;
    s.router.set_config(s.now, config.clone()).expect("a right configuration");
    assert!(!s.fpm.is_outdated(&s.router), "something else has changed");
    (config.vrfs[0].table, config.vrfs[1].table) = (Some(11), Some(10));
    s.router.set_config(s.now, config).expect("a right configuration");
    assert!(s.fpm.is_outdated(&s.router));
    assert_eq!(s.fpm.handle_bytes(&mut s.router, s.now, &told), Err(FpmError::Tables));
    assert!(s.routes()[0].starts_with("Some(\"red\")") && s.n() == 1, "it stays until the new one is there");
    s.fpm.disconnected(s.now);
    s.fpm.connected(s.now);
    s.say(&told);
    assert_eq!(s.n(), 2);
    s.secs(16);
    assert!(s.routes()[0].starts_with("Some(\"blue\")") && s.n() == 1, "{:?}", s.routes());
}

#[test]
fn x02_x03_a_daemon_comes_back_and_nothing_is_ever_missing() {
    let mut s = Session::new();
    let prefixes: Vec<String> = (0..100).map(|n| format!("192.{n}.0.0/16")).collect();
    let all: Vec<u8> = prefixes.iter().flat_map(|to| by_gateway(to, GATEWAY)).collect();
    s.say(&all);
    s.secs(16);
    assert_eq!(s.n(), 100);
    s.fpm.disconnected(s.now);
    s.secs(200);
    assert_eq!(s.n(), 100, "forwarding goes on without the daemon");
    // It comes back, and begins to tell its table, of which a part is gone.
    s.fpm.connected(s.now);
    for chunk in all[..all.len() / 2].chunks(777) {
        s.say(chunk);
        s.secs(10);
        assert_eq!(s.n(), 100, "it is not yet through");
    }
    s.secs(15);
    assert_eq!(s.n(), 50, "what it did not name again has gone");
    // It never comes back.
    s.fpm.disconnected(s.now);
    s.secs(299);
    assert_eq!(s.n(), 50);
    s.secs(1);
    assert_eq!(s.n(), 0);
}

#[test]
fn x06_pieces_of_any_size_and_nonsense() {
    let all: Vec<u8> = (0..20).flat_map(|n| by_gateway(&format!("192.{n}.0.0/16"), GATEWAY)).collect();
    for size in [1, 3, 19, 64, 1000] {
        let mut s = Session::new();
        let n_answers: usize = all.chunks(size).map(|piece| s.say(piece).len()).sum();
        assert_eq!((n_answers, s.n()), (20, 20));
    }
    let refused = |bytes: &[u8]| {
        let mut s = Session::new();
        s.fpm.handle_bytes(&mut s.router, s.now, bytes).expect_err("refused")
    };
    assert_eq!(refused(&[2, 1, 0, 8]), FpmError::Version(2));
    assert_eq!(refused(&[1, 2, 0, 8]), FpmError::Kind(2));
    assert_eq!(refused(&[1, 1, 0, 3]), FpmError::Length(3));
    // Cut or damaged inside, it is passed over.
    let good = by_gateway("192.0.0.0/16", GATEWAY);
    for at in 4..good.len() {
        for value in [0, 1, 255] {
            let mut bad = good.clone();
            bad[at] = value;
            let mut s = Session::new();
            s.say(&bad);
            s.say(&by_gateway("192.1.0.0/16", GATEWAY));
            assert!(s.fpm.n_routes() >= 1, "byte {at}");
        }
    }
}
