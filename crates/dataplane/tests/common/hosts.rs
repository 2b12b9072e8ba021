//! Hosts in namespaces without names, attached to an engine by every kind of port, and what they send each other.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dataplane::EngineId;
use netio::link::{self, LinkError, Netlink};
use netio::netns::Namespace;
use netio::{OpenOptions, Port, PortSpec};
use nix::sys::socket::{setsockopt, sockopt};
use packet::PortNo;

use super::{Bench, DEADLINE, Patch};

/// How a host is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tap inside its namespace.
    Netns,
    /// A tap whose device stays where the port was opened.
    HostTap,
    /// A tap whose descriptor a monitor owns, reached by its kernel side.
    Tap,
    /// One end of a veth pair.
    Veth,
    /// A pair of memory ports.
    Mem,
    /// A link to another engine.
    Link,
}

/// A host with `eth0`, and whatever stands between it and its port.
pub struct Host {
    pub ns: Namespace,
    /// Where the monitor's tap is.
    behind: Option<Namespace>,
}

fn namespace(what: &str) -> Namespace {
    assert!(nix::unistd::geteuid().is_root(), "these tests make network namespaces: run them as root");
    Namespace::anonymous(what).expect("root makes namespaces")
}

/// Opens a port inside a namespace.
fn open(ns: &Namespace, spec: &str) -> Vec<Box<dyn Port>> {
    let spec: PortSpec = spec.parse().expect("a port specification");
    let opened = ns.run(|| netio::open(&spec, OpenOptions::default())).expect("entered");
    opened.unwrap_or_else(|error| panic!("{spec}: {error}"))
}

fn netlink<T: Send>(ns: &Namespace, f: impl AsyncFnOnce(Netlink) -> Result<T, LinkError> + Send) -> T {
    link::blocking(Some(ns), f).unwrap_or_else(|error| panic!("{error:?}"))
}

impl Host {
    /// Attaches host `last` as port `last` of an engine.
    pub fn attach(bench: &Bench, engine: EngineId, last: u32, (kind, offload): (Kind, bool)) -> Self {
        let ns = namespace("of a test host");
        let options = if offload { "" } else { ",offload=off" };
        let path = format!("/proc/{}/fd/{}", std::process::id(), ns.as_fd().as_raw_fd());
        let netns = |options: &str| open(&ns, &format!("netns:{path}/eth0{options}"));
        let add = |engine, number, queues| {
            // Whether the link is up already: that of a monitor's tap comes with the monitor.
            bench.plane.add_port(engine, PortNo(number), queues).expect("added");
        };
        let mut behind = None;
        match kind {
            Kind::Netns => add(engine, last, netns(options)),
            Kind::HostTap => add(engine, last, open(&ns, &format!("hosttap:eth0{options}"))),
            Kind::Veth => {
                netlink(&ns, async |n| {
                    n.add_veth("eth0", "veth").await?;
                    n.set_up("veth").await
                });
                add(engine, last, open(&ns, &format!("afpacket:veth{options}")));
            }
            Kind::Tap | Kind::Mem | Kind::Link => {
                // The host's own switch: port 1 is the host, port 2 leads to the port under test.
                let own = bench.patch(&Patch::new(&[(1, &[2]), (2, &[1])]));
                match kind {
                    Kind::Tap => {
                        let monitor = namespace("of a monitor");
                        add(engine, last, open(&monitor, &format!("tap:vm0{options}")));
                        add(own, 2, open(&monitor, "hosttap:vm0"));
                        behind = Some(monitor);
                    }
                    Kind::Mem => {
                        static NEXT: AtomicU32 = AtomicU32::new(0);
                        let name = format!("mem:{}", NEXT.fetch_add(1, Ordering::Relaxed));
                        add(engine, last, open(&ns, &format!("{name}{options}")));
                        add(own, 2, open(&ns, &name));
                    }
                    _ => bench.plane.add_link((engine, PortNo(last)), (own, PortNo(2))).expect("joined"),
                }
                add(own, 1, netns(""));
            }
        }
        netlink(&ns, async |n| {
            n.add_address("eth0", IpAddr::from([10, 0, 0, last as u8]), 24).await?;
            n.add_address("eth0", IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last as u16]), 64).await?;
            n.set_up("eth0").await
        });
        Self { ns, behind }
    }

    /// Deletes the device that the port is made of.
    pub fn lose_interface(&self) {
        match &self.behind {
            Some(monitor) => netlink(monitor, async |n| n.delete("vm0").await),
            None => netlink(&self.ns, async |n| n.delete("eth0").await),
        }
    }
}

/// Bytes that repeat only after a while, so that lost, doubled and swapped segments show.
pub fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9u32 ^ seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Sends `len` bytes over TCP to an address of the other host and compares what arrives.
pub fn tcp(from: &Host, to: &Host, address: &str, len: usize) {
    let address: IpAddr = address.parse().expect("an address");
    let listener =
        to.ns.run(|| TcpListener::bind(SocketAddr::new(address, 0))).expect("entered").expect("bound");
    let target = listener.local_addr().expect("bound");
    let payload = pattern(len, 1);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(DEADLINE)).expect("set");
            let mut received = Vec::new();
            stream.read_to_end(&mut received).expect("all");
            received
        });
        let mut stream = connect(from, target);
        stream.write_all(&payload).expect("sent");
        drop(stream);
        assert!(receiver.join().expect("received") == payload, "to {target}: the payload arrived changed");
    });
}

fn connect(from: &Host, target: SocketAddr) -> TcpStream {
    let stream = from.ns.run(|| TcpStream::connect_timeout(&target, DEADLINE)).expect("entered");
    let stream = stream.unwrap_or_else(|error| panic!("to {target}: {error}"));
    stream.set_write_timeout(Some(DEADLINE)).expect("set");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream.set_nodelay(true).expect("set");
    stream
}

/// What an interactive session sends: small packets, each answered by its like.
pub fn keystrokes(from: &Host, to: &Host, address: &str) {
    let address: IpAddr = address.parse().expect("an address");
    let listener =
        to.ns.run(|| TcpListener::bind(SocketAddr::new(address, 0))).expect("entered").expect("bound");
    let target = listener.local_addr().expect("bound");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_nodelay(true).expect("set");
            let mut buffer = [0; 256];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..n]).expect("echoed");
            }
        });
        let mut stream = connect(from, target);
        for n in 1..=120 {
            let (sent, mut back) = (pattern(n, n as u32), vec![0; n]);
            stream.write_all(&sent).expect("sent");
            stream.read_exact(&mut back).expect("answered");
            assert!(back == sent, "{n} bytes to {target} came back changed");
        }
    });
}

/// Datagrams of `len` bytes. With `segment` the sender's kernel is handed one block and cuts it, or leaves that to
/// whoever comes last.
pub fn udp(from: &Host, to: &Host, address: &str, (len, segment): (usize, Option<u16>)) {
    let address: IpAddr = address.parse().expect("an address");
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let bind = |host: &Host, at: SocketAddr| {
        host.ns.run(|| UdpSocket::bind(at)).expect("entered").unwrap_or_else(|error| panic!("{at}: {error}"))
    };
    let receiver = bind(to, SocketAddr::new(address, 0));
    receiver.set_read_timeout(Some(Duration::from_millis(500))).expect("set");
    let sender = bind(from, any.parse().expect("an address"));
    sender.connect(receiver.local_addr().expect("bound")).expect("connected");
    if let Some(segment) = segment {
        setsockopt(&sender, sockopt::UdpGsoSegment, &i32::from(segment)).expect("Linux has it");
    }
    // Datagrams may be lost on a busy machine; what arrives must be right.
    for attempt in 0..20 {
        let sent = pattern(len, attempt);
        sender.send(&sent).expect("sent");
        if receive_all(&receiver, &sent, segment.map_or(len, usize::from)) {
            return;
        }
    }
    panic!("no block of {len} bytes arrived whole at {address} (segments: {segment:?})");
}

/// Whether all datagrams of a block came; they are compared, whatever else is lost.
fn receive_all(receiver: &UdpSocket, sent: &[u8], segment: usize) -> bool {
    let mut buffer = vec![0; 65_536];
    let mut missing: Vec<&[u8]> = sent.chunks(segment).collect();
    let mut late = 0;
    while !missing.is_empty() {
        let Ok(n) = receiver.recv(&mut buffer) else { return false };
        match missing.iter().position(|chunk| *chunk == &buffer[..n]) {
            Some(at) => drop(missing.swap_remove(at)),
            // Of an attempt before, whose rest was lost.
            None => late += 1,
        }
        assert!(late < 200, "datagrams arrive changed");
    }
    true
}
