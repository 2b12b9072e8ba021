//! One router, weft's or Linux's, and around it three ports on which a case speaks for every host.

use std::fmt::Debug;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use system_tests::{Namespace, Process, RawSocket, Sandbox, Weft, run, wait_until};

use super::packets::Packet;

/// What must come has this long to do so, on a machine that does other things as well.
const SOON: Duration = Duration::from_secs(4);
/// What must not come has this long.
const QUIET: Duration = Duration::from_millis(120);

/// A port of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Hosts of the inside.
    Lan,
    /// Others, not hidden; the MTU is 1400.
    Dmz,
    /// The outside.
    Wan,
}

pub use Port::{Dmz, Lan, Wan};

const PORTS: [(Port, &str); 3] = [(Lan, "lan"), (Dmz, "dmz"), (Wan, "wan")];
/// Addresses of the router, and of the hosts, by port.
const ROUTER: [(&str, &str, u16); 3] = [
    ("10.1.0.1/24", "2001:db8:1::1/64", 1500),
    ("10.2.0.1/24", "2001:db8:2::1/64", 1400),
    ("203.0.113.1/24", "2001:db8:ff::1/64", 1500),
];
const HOSTS: [(&str, &str); 10] = [
    ("lan", "10.1.0.2"),
    ("lan", "10.1.0.3"),
    ("lan", "2001:db8:1::2"),
    ("dmz", "10.2.0.2"),
    ("dmz", "10.2.0.3"),
    ("dmz", "2001:db8:2::2"),
    ("wan", "203.0.113.2"),
    ("wan", "203.0.113.3"),
    ("wan", "203.0.113.4"),
    ("wan", "2001:db8:ff::2"),
];

/// Which router it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Weft,
    Linux,
}

/// How both routers are set up for a case, each in its own words, beside addresses and neighbours.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// More of a router's YAML.
    pub weft: &'static str,
    /// Rules of nft.
    pub nft: &'static str,
    /// Commands of a shell inside: routes, sysctls.
    pub shell: &'static str,
}

/// What a case found.
pub type Found = Result<(), String>;

/// A router and the ends of its ports.
pub struct Lab<'a> {
    sockets: Vec<RawSocket>,
    router: Option<Process>,
    hosts: &'a Namespace,
    /// The router was seen to use its addresses of IPv6.
    has_ipv6: bool,
}

/// The router's address on the first port.
pub const LAN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

fn router_mac(at: usize) -> [u8; 6] {
    [2, 0, 0, 0, 1, at as u8 + 1]
}

/// MAC address of a host.
pub fn host_mac(addr: IpAddr) -> [u8; 6] {
    match addr {
        IpAddr::V4(addr) => [2, 0, 0, 4, addr.octets()[1], addr.octets()[3]],
        IpAddr::V6(addr) => [2, 0, 0, 6, addr.octets()[5], addr.octets()[15]],
    }
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Feeds lines to a program, which must take them all.
fn feed(program: &[&str], lines: &str) {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {program:?}: {error}"));
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{program:?}\n{lines}\n{}", String::from_utf8_lossy(&done.stderr));
}

impl<'a> Lab<'a> {
    /// A router with this setup; `hosts` is where the other ends of its ports are.
    pub fn new(system: System, setup: &Setup, (sandbox, hosts): (&Sandbox, &'a Namespace)) -> Self {
        let router = match system {
            System::Weft => Some(weft(setup, sandbox)),
            System::Linux => {
                linux(setup);
                None
            }
        };
        let up: String = PORTS.iter().map(|(_, name)| format!("link set {name} up mtu 1500\n")).collect();
        feed(&["ip", "-n", hosts.name(), "-batch", "-"], &up);
        let sockets = hosts.enter(|| PORTS.iter().map(|(_, name)| RawSocket::open(name)).collect());
        let mut lab = Self { sockets, router, hosts, has_ipv6: false };
        // Both have announced themselves by now, or do so in vain.
        wait_until(SOON, "the router to answer", || {
            let ping = super::packets::ping(addr("10.1.0.3"), addr("10.1.0.1"), 9);
            lab.send(Lan, &ping);
            lab.sockets[0].receive(Duration::from_millis(200)).is_some()
        });
        lab.drain();
        lab
    }

    /// Waits until the router has probed for its addresses of IPv6 and uses them (RFC 4862 §5.4).
    fn await_ipv6(&mut self) {
        self.has_ipv6 = true;
        let host = addr("2001:db8:1::2");
        wait_until(SOON, "the router's addresses of IPv6", || {
            self.send(Lan, &super::packets::solicitation(host, LAN6, host_mac(host)));
            let answer = self.next(Lan, Duration::from_millis(200));
            answer.is_some_and(|(_, packet)| packet.kind() == Some((136, 0)))
        });
        self.drain();
    }

    fn drain(&mut self) {
        for socket in &self.sockets {
            while socket.receive(Duration::ZERO).is_some() {}
        }
    }

    /// Sends a packet into a port, from the host that has its source.
    pub fn send(&mut self, port: Port, packet: &Packet) {
        if packet.src.is_ipv6() && !self.has_ipv6 {
            self.await_ipv6();
        }
        let ethertype = if packet.src.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
        self.send_bytes(port, (host_mac(packet.src), router_mac(port as usize)), ethertype, &packet.bytes());
    }

    /// Sends a frame.
    pub fn send_bytes(
        &mut self,
        port: Port,
        (src, dst): ([u8; 6], [u8; 6]),
        ethertype: [u8; 2],
        bytes: &[u8],
    ) {
        let mut frame = [&dst[..], &src, &ethertype, bytes].concat();
        frame.resize(frame.len().max(60), 0);
        self.sockets[port as usize].send(&frame).expect("the frame fits the device");
    }

    /// The next frame on a port that is not for neighbours only.
    fn next(&mut self, port: Port, patience: Duration) -> Option<(Vec<u8>, Packet)> {
        while let Some(frame) = self.sockets[port as usize].receive(patience) {
            let is_ip = matches!(frame.get(12..14), Some([8, 0] | [0x86, 0xdd]));
            let Some(packet) = is_ip.then(|| Packet::read(&frame[14..])).flatten() else { continue };
            // Neighbour discovery, reports of groups.
            if !packet.dst.is_multicast() {
                return Some((frame, packet));
            }
        }
        None
    }

    /// What comes out of a port.
    pub fn receive(&mut self, port: Port) -> Result<Packet, String> {
        self.next(port, SOON).map(|(_, packet)| packet).ok_or_else(|| format!("nothing came out of {port:?}"))
    }

    /// The frame of what comes out of a port.
    pub fn frame(&mut self, port: Port) -> Result<Vec<u8>, String> {
        self.next(port, SOON).map(|(frame, _)| frame).ok_or_else(|| format!("nothing came out of {port:?}"))
    }

    /// Any frame on a port that `is` what is looked for.
    pub fn find(&mut self, port: Port, what: &str, is: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, String> {
        while let Some(frame) = self.sockets[port as usize].receive(SOON) {
            if is(&frame) {
                return Ok(frame);
            }
        }
        Err(format!("no {what} came out of {port:?}"))
    }

    /// Sends a packet; what comes of it out of another port, or the same.
    pub fn pass(&mut self, port: Port, packet: &Packet, out: Port) -> Result<Packet, String> {
        self.send(port, packet);
        let got = self.receive(out)?;
        match got.is_sound() || got.more || got.offset > 0 {
            true => Ok(got),
            false => Err(format!("a checksum is wrong: {got:?}")),
        }
    }

    /// Nothing comes out of a port.
    pub fn quiet(&mut self, port: Port) -> Found {
        match self.next(port, QUIET) {
            Some((_, packet)) => Err(format!("{port:?} sent {packet:?}")),
            None => Ok(()),
        }
    }

    /// Sends a packet of which nothing comes, anywhere.
    pub fn swallow(&mut self, port: Port, packet: &Packet) -> Found {
        self.send(port, packet);
        self.quiet(Lan)?;
        self.quiet(Dmz)?;
        self.quiet(Wan)
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        match self.router.take() {
            Some(mut router) => drop(router.stop()),
            None => drop(run(Command::new("ip").args(["netns", "del", "rt"]))),
        }
        let gone = || !PORTS.iter().any(|(_, name)| exists(self.hosts, name));
        if !std::thread::panicking() {
            wait_until(SOON, "the ports to be gone", gone);
        }
    }
}

fn exists(hosts: &Namespace, name: &str) -> bool {
    hosts.exec(&["ip", "link", "show", name]).status.success()
}

fn weft(setup: &Setup, sandbox: &Sandbox) -> Process {
    let mut text_of = String::from("name: r1\ninterfaces:\n");
    for (at, ((v4, v6, mtu), (_, name))) in ROUTER.iter().zip(PORTS).enumerate() {
        let extra =
            setup.weft.lines().find_map(|line| line.strip_prefix(&format!("#{name}: "))).unwrap_or("");
        text_of += &format!(
            "  - {{name: {name}, addresses: [{v4}, '{v6}'], mtu: {mtu}, mac: '{}'{extra}}}\n",
            text(router_mac(at))
        );
    }
    text_of += "neighbours:\n";
    for (interface, host) in HOSTS {
        let mac = text(host_mac(addr(host)));
        text_of += &format!("  - {{interface: {interface}, address: '{host}', mac: '{mac}'}}\n");
    }
    text_of += setup.weft;
    let file = sandbox.dir().join("r1.yaml");
    std::fs::write(&file, text_of).expect("the folder is ours");
    let file = file.display().to_string();
    let ports = PORTS.map(|(_, name)| format!("{name}=netns:hosts/{name}"));
    let mut args = vec!["router", "--config", &file];
    ports.iter().for_each(|port| args.extend(["--port", port]));
    let mut router = Weft::new(sandbox).spawn("router", &args);
    router.wait_for_log(SOON * 5, "router r1 runs");
    router
}

fn linux(setup: &Setup) {
    run(Command::new("ip").args(["netns", "add", "rt"])).success();
    // No duplicate address detection, no limits on ICMP errors; the rest as a router is.
    let mut shell = String::from(
        "cd /proc/sys/net\n\
         echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding\n\
         echo 0 > ipv4/conf/all/rp_filter; echo 0 > ipv4/conf/default/rp_filter\n\
         echo 0 > ipv4/icmp_ratelimit; echo 0 > ipv6/icmp/ratelimit\n\
         echo 0 > ipv6/conf/default/accept_dad\n",
    );
    shell += "ip -batch - <<END\n";
    for (at, ((v4, v6, mtu), (_, name))) in ROUTER.iter().zip(PORTS).enumerate() {
        let mac = text(router_mac(at));
        shell += &format!("link add {name} address {mac} type veth peer name {name} netns hosts\n");
        shell += &format!("address add {v4} dev {name}\naddress add {v6} dev {name} nodad\n");
        shell += &format!("link set {name} up mtu {mtu}\n");
    }
    for (interface, host) in HOSTS {
        let mac = text(host_mac(addr(host)));
        shell += &format!("neigh replace {host} lladdr {mac} dev {interface}\n");
    }
    shell += &format!("END\n{}\nnft -f - <<END\n{}\nEND\n", setup.shell, setup.nft);
    feed(&["ip", "netns", "exec", "rt", "sh", "-e"], &shell);
}

/// An address.
pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Both are alike, or what they are instead.
pub fn same<T: PartialEq + Debug>(what: &str, got: T, wanted: T) -> Found {
    if got == wanted { Ok(()) } else { Err(format!("{what} is {got:?}, not {wanted:?}")) }
}
