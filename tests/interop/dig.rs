//! `dig` asks a weft router for names: the DNS forwarder as programs of hosts see it.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use system_tests::{Finished, Namespace, Process, Sandbox, Weft, require_program, wait_until};

const SOON: Duration = Duration::from_secs(20);
const CONFIG: &str = "
name: r1
interfaces:
  - {name: lan, addresses: [10.1.0.1/24, '2001:db8:1::1/64']}
  - {name: wan, address: 203.0.113.1/24}
dns:
  interfaces: [lan]
  servers: [203.0.113.2]
  zones: [{domain: dead.example, servers: [203.0.113.99]}]
";
/// Seconds that the server's answers may be kept.
const TTL: u32 = 300;

/// A server of names that it makes up, and a count of the questions it was asked.
struct Server {
    n_asked: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(host: &Namespace) -> Self {
        let socket = host.enter(|| UdpSocket::bind("203.0.113.2:53").expect("the address is the host's"));
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let (n_asked, ends) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, end) = (n_asked.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !end.load(Ordering::Relaxed) {
                let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&buffer[..n]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { n_asked, ends, thread: Some(thread) }
    }

    fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A record whose name is that of the question (RFC 1035 §4.1.3).
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc0, 12];
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(TTL.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// The answer to one question: by the first letter of the name, and its type.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let end = 12 + query.get(12..)?.iter().position(|b| *b == 0)? + 5;
    let (first, kind) = (*query.get(13)?, u16::from_be_bytes([query[end - 4], query[end - 3]]));
    let target = b"\x05where\x07example\x00";
    let (code, section, records) = match (first, kind) {
        (b'h', 1) => (0, 1, vec![record(1, &[192, 0, 2, 7])]),
        (b'h', 28) => (0, 1, vec![record(28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7])]),
        (b'a', 1) => {
            let mut there = target.to_vec();
            there.extend(&record(1, &[192, 0, 2, 8])[2..]);
            (0, 1, vec![record(5, target), there])
        }
        (b'l', 16) => (0, 1, (0..30).map(|n| record(16, &[&[32][..], &[b'a' + n; 32]].concat())).collect()),
        (b'h', _) => (0, 1, vec![]),
        // What does not exist is remembered by the last number of the SOA (RFC 2308 §5).
        _ => (3, 2, vec![record(6, &[&target[..], target, &[0; 16], &60u32.to_be_bytes()].concat())]),
    };
    let mut bytes = query.get(..2)?.to_vec();
    bytes.extend([0x85, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0]);
    bytes[5 + 2 * section] = records.len() as u8;
    bytes.extend(query.get(12..end)?);
    records.iter().for_each(|record| bytes.extend(record));
    Some(bytes)
}

struct World {
    h1: Namespace,
    server: Server,
    outside: Namespace,
    _router: Process,
    _sandbox: Sandbox,
}

fn world(name: &str) -> World {
    require_program("dig", "bind9-dnsutils");
    let sandbox = Sandbox::enter(name);
    let weft = Weft::new(&sandbox);
    let [h1, outside] = ["h1", "out"].map(|name| Namespace::new(&sandbox, name));
    let file = sandbox.dir().join("r1.yaml");
    std::fs::write(&file, CONFIG).expect("the folder is ours");
    let file = file.display().to_string();
    let ports = ["--port", "lan=netns:h1/eth0", "--port", "wan=netns:out/eth0"];
    let mut router = weft.spawn("router", &[&["router", "--config", &file][..], &ports].concat());
    router.wait_for_log(SOON, "router r1 runs");
    h1.address("eth0", "10.1.0.2/24");
    h1.address("eth0", "2001:db8:1::2/64");
    outside.address("eth0", "203.0.113.2/24");
    wait_until(SOON, "the router", || h1.pings("10.1.0.1") && outside.pings("203.0.113.1"));
    let server = Server::start(&outside);
    World { h1, server, outside, _router: router, _sandbox: sandbox }
}

impl World {
    fn dig(&self, args: &[&str]) -> Finished {
        self.h1.exec(&[&["dig", "@10.1.0.1", "+tries=1", "+time=15"], args].concat())
    }

    /// What `dig` prints; it found an answer, be it that there is none.
    fn told(&self, args: &[&str]) -> String {
        self.dig(args).success()
    }

    /// The data of the answers alone.
    fn short(&self, args: &[&str]) -> Vec<String> {
        self.told(&[&["+short"], args].concat()).lines().map(str::to_owned).collect()
    }
}

/// The TTL of the first answer.
fn ttl(told: &str) -> u32 {
    let answer = told.lines().find(|line| line.contains("\tIN\t") && !line.starts_with(';'));
    let ttl = answer.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    ttl.unwrap_or_else(|| panic!("no answer: {told}"))
}

/// Milliseconds that `dig` waited.
fn query_time(told: &str) -> u64 {
    let line = told.lines().find_map(|line| line.strip_prefix(";; Query time: "));
    let time = line.and_then(|line| line.split(' ').next()?.parse().ok());
    time.unwrap_or_else(|| panic!("no time: {told}"))
}

#[test]
fn dig_is_answered_from_the_server_and_then_from_the_cache() {
    let w = world("dig-answers");
    assert_eq!(w.short(&["host.example", "A"]), ["192.0.2.7"]);
    assert_eq!(w.short(&["host.example", "AAAA"]), ["2001:db8::7"]);
    assert_eq!(w.short(&["alias.example", "A"]), ["where.example.", "192.0.2.8"]);
    let none = w.told(&["nobody.example", "A"]);
    assert!(none.contains("status: NXDOMAIN") && none.contains("\tSOA\t"), "{none}");
    let empty = w.told(&["host.example", "MX"]);
    assert!(empty.contains("status: NOERROR") && empty.contains("ANSWER: 0"), "{empty}");
    assert_eq!(w.server.n_asked(), 5);

    // Once more, other letters: nobody is asked, and the TTL runs.
    let first = ttl(&w.told(&["HOST.example", "A"]));
    assert!(first <= TTL);
    wait_until(SOON, "the TTL to fall", || ttl(&w.told(&["host.example", "A"])) < first);
    assert!(w.told(&["nobody.EXAMPLE", "A"]).contains("status: NXDOMAIN"));
    // By IPv6, too, and what may not be kept by EDNS is not mixed up.
    let six = ["dig", "@2001:db8:1::1", "+tries=2", "+time=5", "+short", "host.example", "A"];
    assert_eq!(w.h1.exec(&six).success().trim(), "192.0.2.7");
    assert_eq!(w.server.n_asked(), 5);
    assert_eq!(w.short(&["+noedns", "host.example", "A"]), ["192.0.2.7"]);
    assert_eq!(w.server.n_asked(), 6, "another kind of question");
}

#[test]
fn dig_gets_long_answers_whole_or_cut_and_an_error_when_the_server_is_dead() {
    let w = world("dig-limits");
    let long = w.told(&["+bufsize=4096", "long.example", "TXT"]);
    assert!(long.contains("ANSWER: 30") && !long.contains(" tc"), "{long}");
    let cut = w.told(&["+noedns", "+ignore", "long.example", "TXT"]);
    let flags = cut.lines().find(|line| line.starts_with(";; flags:")).unwrap_or_default();
    assert!(flags.contains(" tc") && cut.contains("ANSWER: 0"), "{cut}");
    // Resolvers of hosts wait five seconds (resolv.conf(5)): the error comes before.
    let dead = w.told(&["www.dead.example", "A"]);
    assert!(dead.contains("status: SERVFAIL"), "{dead}");
    assert!((1000..5000).contains(&query_time(&dead)), "{dead}");
    // Meanwhile the others were, and are, answered.
    assert_eq!(w.short(&["host.example", "A"]), ["192.0.2.7"]);
    // Who asks from outside is refused.
    let refused = w.outside.exec(&["dig", "@203.0.113.1", "+tries=1", "+time=5", "host.example", "A"]);
    assert!(refused.to_string().contains("connection refused"), "{refused}");
}
