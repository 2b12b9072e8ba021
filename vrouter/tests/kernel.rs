//! Routes of a kernel beside the router: bytes as Linux writes them, on virtual time.

mod net;

use std::time::Duration;

use net::netlink::{DEL, NEW, attribute, hop, member, next_hop_body, octets, route_body};
use net::v6::dual;
use packet::Instant;
use vrouter::{KernelRoutes, Options, RouteSource, Router};

/// The numbers of shadows in their namespace, and of an interface there that is none.
const LAN: u32 = 2;
const WAN: u32 = 4;
const OTHER: u32 = 9;
/// Who makes routes (`RTPROT_...`).
const KERNEL: u8 = 2;
const BOOT: u8 = 3;
const STATIC: u8 = 4;
const ADVERT: u8 = 9;
const BIRD: u8 = 12;
const OSPF: u8 = 188;
/// Tables, types.
const MAIN: u8 = 254;
const UNICAST: u8 = 1;
const APPEND: u16 = 0x800;

fn message((kind, flags, sequence): (u16, u16, u32), body: &[u8]) -> Vec<u8> {
    let mut bytes = ((body.len() + 16) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// Attributes of a route by a gateway on an interface.
fn by(gateway: &str, link: u32, metric: u32) -> Vec<Vec<u8>> {
    let gateway = octets(gateway.parse().expect("an address"));
    vec![attribute(4, &link.to_ne_bytes()), attribute(5, &gateway), attribute(6, &metric.to_ne_bytes())]
}

struct World {
    router: Router,
    kernel: KernelRoutes,
    now: Instant,
    /// What the kernel has: each dump tells all of it.
    next_hops: Vec<Vec<u8>>,
    routes: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let mut router = Router::new(Options::new(1, [1, 2]));
        router.set_config(Instant::ZERO, dual()).expect("a right configuration");
        let mut kernel = KernelRoutes::default();
        kernel.set_links([(LAN, "lan".to_owned()), (WAN, "wan".to_owned())].into());
        kernel.connected();
        let now = Instant::from_secs(1000);
        Self { router, kernel, now, next_hops: Vec::new(), routes: Vec::new() }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.kernel.handle_bytes(&mut self.router, self.now, bytes);
    }

    /// Answers what is asked, for as long as something is. Returns what was asked for: type and family.
    fn answer(&mut self) -> Vec<(u16, u8)> {
        let mut asked = Vec::new();
        while let Some(request) = self.kernel.poll_output() {
            let (kind, family) = (u16::from_ne_bytes([request[4], request[5]]), request[16]);
            let sequence = u32::from_ne_bytes(request[8..12].try_into().expect("four bytes"));
            assert_eq!(u32::from_ne_bytes(request[..4].try_into().expect("four")) as usize, request.len());
            let (told, number) = match kind {
                106 => (self.next_hops.clone(), 104),
                _ => (self.routes.iter().filter(|body| body[0] == family).cloned().collect(), NEW),
            };
            for body in told {
                self.say(&message((number, 2, sequence), &body));
            }
            self.say(&message((3, 2, sequence), &[0; 4]));
            asked.push((kind, family));
        }
        asked
    }

    fn changed(&mut self, kind: u16, body: &[u8]) {
        self.say(&message((kind, 0, 0), body));
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.kernel.handle_timeout(self.now);
    }

    /// Routes of the protocol, as text.
    fn routes(&self) -> Vec<String> {
        let ours = self.router.fib().into_iter().filter(|r| r.source == RouteSource::Protocol);
        let shown: Vec<String> = ours.map(|r| format!("{} {} {:?}", r.to, r.metric, r.target)).collect();
        assert_eq!(shown.len(), self.kernel.n_routes());
        shown
    }
}

#[test]
fn the_table_is_read_and_followed() {
    let mut w = World::new();
    let ospf = |to: &str, gateway: &str| route_body((MAIN, OSPF, UNICAST), to, &by(gateway, WAN, 20));
    w.routes = vec![
        route_body((MAIN, KERNEL, UNICAST), "203.0.113.0/24", &[attribute(4, &WAN.to_ne_bytes())]),
        route_body((MAIN, BOOT, UNICAST), "192.0.9.0/24", &by("203.0.113.9", WAN, 0)),
        route_body((MAIN, ADVERT, UNICAST), "::/0", &by("fe80::9", WAN, 1024)),
        route_body((255, OSPF, UNICAST), "192.0.8.0/24", &by("203.0.113.9", WAN, 0)),
        route_body((MAIN, OSPF, UNICAST), "192.0.7.0/24", &by("10.99.0.1", OTHER, 20)),
        ospf("192.0.2.0/24", "203.0.113.7"),
        route_body((MAIN, BIRD, UNICAST), "2001:db8:5::/48", &by("fe80::7", WAN, 32)),
        route_body((MAIN, STATIC, 6), "192.0.3.0/24", &[]),
    ];
    assert_eq!(w.answer(), [(106, 0), (26, 2), (26, 10)]);
    let shown = w.routes();
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert_eq!(shown[0], "192.0.2.0/24 20 Via { gateway: 203.0.113.7, interface: Some(\"wan\") }");
    assert_eq!(shown[1], "192.0.3.0/24 0 Blackhole");
    assert_eq!(shown[2], "2001:db8:5::/48 32 Via { gateway: fe80::7, interface: Some(\"wan\") }");
    // What changes afterwards.
    w.changed(NEW, &ospf("192.0.2.0/24", "203.0.113.8"));
    w.changed(NEW, &ospf("192.0.4.0/24", "203.0.113.8"));
    assert!(w.routes()[0].contains("203.0.113.8") && w.routes().len() == 4);
    w.changed(DEL, &ospf("192.0.4.0/24", "203.0.113.8"));
    w.changed(DEL, &route_body((MAIN, BOOT, UNICAST), "192.0.2.0/24", &by("203.0.113.8", WAN, 20)));
    assert_eq!(w.routes().len(), 3, "it is another one that has gone");
    // The least metric is the kernel's choice, whichever came first.
    let bird = route_body((MAIN, BIRD, UNICAST), "192.0.2.0/24", &by("203.0.113.9", WAN, 10));
    w.changed(NEW, &bird);
    assert!(w.routes()[0].starts_with("192.0.2.0/24 10 Via { gateway: 203.0.113.9"));
    w.changed(DEL, &bird);
    assert!(w.routes()[0].starts_with("192.0.2.0/24 20 Via { gateway: 203.0.113.8"));
    // By an interface alone; by another than the shadows it is none of the router's.
    w.changed(
        NEW,
        &route_body(
            (MAIN, OSPF, UNICAST),
            "192.0.2.0/24",
            &[attribute(4, &LAN.to_ne_bytes()), attribute(6, &20u32.to_ne_bytes())],
        ),
    );
    assert_eq!(w.routes()[0], "192.0.2.0/24 20 Interface(\"lan\")");
    w.changed(NEW, &route_body((MAIN, OSPF, UNICAST), "192.0.2.0/24", &by("10.99.0.1", OTHER, 20)));
    assert_eq!(w.routes().len(), 2);
    w.kernel.withdraw(&mut w.router);
    assert_eq!(w.routes(), Vec::<String>::new());
}

#[test]
fn several_next_hops_and_numbers_of_next_hops() {
    let mut w = World::new();
    let gateway = |text: &str, link: u32| {
        [attribute(6, &octets(text.parse().expect("an address"))), attribute(5, &link.to_ne_bytes())].concat()
    };
    w.next_hops = vec![
        next_hop_body(1, &gateway("203.0.113.7", WAN)),
        next_hop_body(2, &gateway("10.1.0.9", LAN)),
        next_hop_body(3, &attribute(2, &[member(1, 2), member(2, 1)].concat())),
    ];
    let named =
        |to: &str, id: u32| route_body((MAIN, OSPF, UNICAST), to, &[attribute(30, &id.to_ne_bytes())]);
    w.routes = vec![named("192.0.2.0/24", 3), named("192.0.3.0/24", 1)];
    w.answer();
    assert!(
        w.routes()[0].contains("203.0.113.7") && w.routes()[0].contains("Some(\"lan\")"),
        "{:?}",
        w.routes()
    );
    // A member goes, as the kernel says it: the group without it, then the next hop.
    w.changed(104, &next_hop_body(3, &attribute(2, &member(2, 1))));
    w.changed(105, &next_hop_body(1, &[]));
    assert_eq!(w.routes().len(), 1, "the route by the next hop itself goes without a word: {:?}", w.routes());
    assert!(w.routes()[0].starts_with("192.0.2.0/24 0 Via { gateway: 10.1.0.9"), "{:?}", w.routes());
    (w.next_hops, w.routes) = (w.next_hops[1..].to_vec(), w.routes[..1].to_vec());
    w.wait(100);
    assert_eq!(w.answer().len(), 3, "everything is read again");

    let several = |hops: &[Vec<u8>]| {
        route_body(
            (MAIN, BIRD, UNICAST),
            "2001:db8:5::/48",
            &[attribute(9, &hops.concat()), attribute(6, &32u32.to_ne_bytes())],
        )
    };
    let [one, two, three] =
        [("fe80::7", WAN), ("fe80::8", WAN), ("fe80::7", LAN)].map(|(to, link)| hop(to, 1, link));
    w.changed(NEW, &several(&[one.clone(), two.clone(), three.clone()]));
    assert_eq!(w.routes()[1].matches("NextHop").count(), 3, "{:?}", w.routes());
    // One of them is withdrawn by itself (IPv6).
    w.changed(DEL, &route_body((MAIN, BIRD, UNICAST), "2001:db8:5::/48", &by("fe80::7", WAN, 32)));
    let shown = w.routes()[1].clone();
    assert!(
        shown.matches("NextHop").count() == 2 && shown.contains("fe80::7") && shown.contains("lan"),
        "{shown}"
    );
    w.changed(DEL, &several(&[two, three]));
    assert_eq!(w.routes().len(), 1);
    // One whose interface is down is not used.
    let mut dead = one;
    dead[2] = 1;
    w.changed(NEW, &several(&[dead, hop("fe80::8", 1, WAN)]));
    assert!(w.routes()[1].contains("Via { gateway: fe80::8"), "{:?}", w.routes());
}

#[test]
fn what_goes_without_a_word_is_found_out() {
    let mut w = World::new();
    let ospf =
        |n: u8| route_body((MAIN, OSPF, UNICAST), &format!("192.0.{n}.0/24"), &by("203.0.113.7", WAN, 20));
    w.routes = (0..10).map(ospf).collect();
    w.answer();
    assert_eq!(w.routes().len(), 10);
    // A link goes down: the kernel drops its routes and tells of the link alone.
    w.routes.truncate(4);
    w.changed(16, &[0; 16]);
    w.changed(17, &[0; 16]);
    assert_eq!((w.answer(), w.routes().len()), (vec![], 10), "it is let settle");
    w.wait(100);
    assert_eq!((w.answer().len(), w.routes().len()), (3, 4));
    w.wait(1000);
    assert_eq!(w.answer(), [], "once is enough");
    // Messages were lost: there is a new socket. Nothing is missing meanwhile.
    w.routes.remove(0);
    w.routes.push(ospf(20));
    w.kernel.connected();
    while w.router.poll_effect().is_some() {}
    assert_eq!(w.routes().len(), 4);
    w.answer();
    let shown = w.routes();
    assert!(shown.len() == 4 && shown[3].starts_with("192.0.20.0/24"), "{shown:?}");
    // Two that differ in nothing: behind the first the other comes to light.
    let twin = route_body((MAIN, OSPF, UNICAST), "192.0.20.0/24", &by("203.0.113.8", WAN, 20));
    w.say(&message((NEW, APPEND, 0), &twin));
    assert!(w.routes()[3].contains("203.0.113.7"), "the first is used");
    *w.routes.last_mut().expect("there are some") = twin;
    w.changed(DEL, &ospf(20));
    w.wait(100);
    w.answer();
    assert!(w.routes()[3].contains("203.0.113.8"), "{:?}", w.routes());
    // The table changes while it is read: it is read once more.
    w.kernel.connected();
    let request = w.kernel.poll_output().expect("a question");
    let sequence = u32::from_ne_bytes(request[8..12].try_into().expect("four bytes"));
    w.say(&message((104, 0x12, sequence), &next_hop_body(5, &attribute(4, &[]))));
    w.say(&message((3, 2, sequence), &[0; 4]));
    assert_eq!(w.answer().len(), 2);
    w.wait(100);
    assert_eq!((w.answer().len(), w.routes().len()), (3, 4));
    // Cut or damaged, a message is passed over.
    let good = message((NEW, 0, 0), &ospf(30));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        w.say(&bad);
        w.say(&good[..at]);
    }
    w.say(&good);
    assert!(w.routes().iter().any(|r| r.starts_with("192.0.30.0/24")));
}
