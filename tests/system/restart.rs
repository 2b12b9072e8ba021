//! Numbered frames while the controller is killed and started again, and while the connection to it is cut: whatever is
//! lost was lost to a full queue, as without all that, and is counted.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use controller_api::client::Client;
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use system_tests::{Namespace, Process, Sandbox, Weft, run, veth_pair, wait_call, wait_until};

const SOON: Duration = Duration::from_secs(60);
/// What a busy machine may make of ten seconds.
const LONG: Duration = Duration::from_secs(180);
const CONTROLLER: &str = "127.0.0.1:6653";
const RELAY: &str = "127.0.0.1:6654";
/// Pairs of runs until the disturbed one has lost no more than the other: both lose frames when the machine is busy.
const ATTEMPTS: usize = 5;
/// Frames lost for these reasons found a queue full; no controller has to do with that.
const FULL: [&str; 4] = ["tx-queue-full", "rx-overrun", "ring-full", "queue-full"];

/// What is done to the control plane meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    None,
    Kill,
    Cut,
}

/// Between switches and controller, so that connections can be cut.
struct Relay {
    streams: Arc<Mutex<Vec<TcpStream>>>,
    n_made: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Relay {
    fn start() -> Self {
        let listener = TcpListener::bind(RELAY).expect("nobody else is in this namespace");
        let relay = Self { streams: Arc::default(), n_made: Arc::default(), over: Arc::default() };
        let (streams, n_made, over) = (relay.streams.clone(), relay.n_made.clone(), relay.over.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                // Without a controller the switch tries again.
                let Ok(far) = TcpStream::connect(CONTROLLER) else { continue };
                let ends = [&near, &far].map(|end| end.try_clone().expect("a descriptor"));
                streams.lock().expect("no thread panics").extend(ends);
                let back = [&far, &near].map(|end| end.try_clone().expect("a descriptor"));
                std::thread::spawn(move || carry(near, far));
                std::thread::spawn(move || {
                    let [far, near] = back;
                    carry(far, near);
                });
                n_made.fetch_add(1, Ordering::AcqRel);
            }
        });
        relay
    }

    /// Connections made so far.
    fn n_made(&self) -> usize {
        self.n_made.load(Ordering::Acquire)
    }

    fn cut(&self) {
        for stream in self.streams.lock().expect("no thread panics").drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.cut();
        // Wakes the listener, which sees that it is over.
        let _ = TcpStream::connect(RELAY);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A controller, what is done to it, and the relay in front of it.
struct Control<'a> {
    sandbox: &'a Sandbox,
    weft: &'a Weft,
    relay: Relay,
    client: Client,
    process: Process,
}

impl<'a> Control<'a> {
    fn start(sandbox: &'a Sandbox, weft: &'a Weft) -> Self {
        let client = Client::unix(sandbox.run_dir().join("controller.sock"));
        Self { sandbox, weft, relay: Relay::start(), client, process: spawn(sandbox, weft) }
    }

    fn is_quiet(&self, n_switches: usize) -> bool {
        let switches = wait_call(self.client.switches());
        switches.is_ok_and(|all| all.len() == n_switches && all.iter().all(|s| s.connected && s.realised))
    }

    fn harm(&mut self, harm: Harm, n_switches: usize) {
        for _ in 0..2 {
            let before = self.relay.n_made();
            match harm {
                Harm::None => return,
                Harm::Kill => {
                    self.process.signal(Signal::SIGKILL);
                    self.process.wait(SOON);
                    self.process = spawn(self.sandbox, self.weft);
                }
                Harm::Cut => self.relay.cut(),
            }
            let is_back = || self.relay.n_made() >= before + n_switches && self.is_quiet(n_switches);
            wait_until(SOON, "the switches to be back", is_back);
        }
    }
}

fn spawn(sandbox: &Sandbox, weft: &Weft) -> Process {
    let store = sandbox.dir().join("store").display().to_string();
    weft.spawn("controller", &["controller", "--store", &store])
}

/// What became of the frames of one run.
#[derive(Debug)]
struct Outcome {
    sent: u64,
    lost: u64,
    doubled: u64,
    /// Lost, by place and reason.
    counted: BTreeMap<String, u64>,
}

impl Outcome {
    /// Nothing was lost but to full queues, where all of it was counted. (What is counted besides had no number: probes of
    /// the controller reach a switch that has none, and are dropped there.)
    fn check(&self, harm: Harm) {
        let is_full = |reason: &String| FULL.iter().any(|full| reason.ends_with(full));
        let full: u64 = self.counted.iter().filter(|(reason, _)| is_full(reason)).map(|(_, n)| n).sum();
        assert!(self.lost <= full, "{harm:?}: frames were lost, and not to full queues: {self:?}");
        assert_eq!(self.doubled, 0, "{harm:?}: {self:?}");
    }
}

/// Checks each run, and that those with `harm` lose no more than those without.
fn compare(harm: Harm, mut once: impl FnMut(Harm) -> Outcome) {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let [calm, harmed] = [Harm::None, harm].map(|harm| {
            let outcome = once(harm);
            outcome.check(harm);
            outcome
        });
        println!("{harm:?}: {} of {} lost, {} without it", harmed.lost, harmed.sent, calm.lost);
        if harmed.lost <= calm.lost {
            return;
        }
        seen.push((calm.lost, harmed.lost));
    }
    panic!("{harm:?} costs frames: (without, with) {seen:?}");
}

// ---- memory --------------------------------------------------------------------------------------------------------

/// A hundred thousand frames a second through a switch that is a process of its own.
fn in_memory(name: &str, harm: Harm) {
    let sandbox = Sandbox::enter(name);
    let weft = Weft::new(&sandbox);
    let mut control = Control::start(&sandbox, &weft);
    compare(harm, |harm| {
        let relay = format!("tcp:{RELAY}");
        let args = ["bench", "steady", "--controller", &relay, "--rate", "100000", "--seconds", "6"];
        let mut steady = weft.spawn("steady", &args);
        wait_until(LONG, "frames to get through", || steady.log().lines().any(|line| line == "steady"));
        control.harm(harm, 1);
        steady.wait(LONG);
        let log = steady.log();
        let line = log.lines().last().unwrap_or_default();
        let seen: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {log}"));
        let number = |name: &str| seen[name].as_u64().unwrap_or_else(|| panic!("{name}: {log}"));
        let drops = seen["drops"].as_object().into_iter().flatten();
        let drops = drops.filter_map(|(reason, n)| Some((reason.clone(), n.as_u64()?)));
        let refused = ("sender/queue-full".to_owned(), number("refused"));
        let counted = drops.chain([refused]).filter(|(_, n)| *n > 0).collect();
        Outcome { sent: number("sent"), lost: number("lost"), doubled: number("doubled"), counted }
    });
}

#[test]
fn a_killed_controller_costs_none_of_a_hundred_thousand_frames_a_second() {
    in_memory("restart-kill-mem", Harm::Kill);
}

#[test]
fn a_cut_connection_costs_none_of_a_hundred_thousand_frames_a_second() {
    in_memory("restart-cut-mem", Harm::Cut);
}

// ---- namespaces ----------------------------------------------------------------------------------------------------

const RATE: f64 = 20_000.0;
const N_FRAMES: u32 = 120_000;
/// Frames at once when the sender was held up, at most.
const CATCH_UP: u32 = 64;

/// h1 at s1, h2 at s2, the switches joined by a veth, their controller behind the relay.
struct Lab {
    hosts: [Namespace; 2],
    _switches: [Process; 2],
}

impl Lab {
    fn start(sandbox: &Sandbox, weft: &Weft) -> Self {
        let hosts = ["h1", "h2"].map(|name| Namespace::new(sandbox, name));
        veth_pair((None, "x1"), (None, "x2"));
        let relay = format!("tcp:{RELAY}");
        let switches = ["1", "2"].map(|n| {
            let (name, host, link) =
                (format!("s{n}"), format!("1=netns:h{n}/eth0"), format!("2=afpacket:x{n}"));
            let args = ["switch", "--name", &name, "--dpid", n, "--port", &host, "--port", &link];
            weft.spawn(&name, &[&args[..], &["--controller", &relay]].concat())
        });
        for (n, host) in (1..).zip(&hosts) {
            wait_until(SOON, "eth0", || host.exec(&["ip", "link", "show", "eth0"]).status.success());
            host.address("eth0", &format!("10.0.0.{n}/24"));
        }
        Self { hosts, _switches: switches }
    }

    /// Frames dropped so far between the two hosts, by place and reason.
    fn drops(&self, sandbox: &Sandbox) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for switch in ["s1", "s2"] {
            let socket = sandbox.run_dir().join(format!("{switch}.sock"));
            let mut curl = std::process::Command::new("curl");
            curl.args(["--silent", "--fail", "--unix-socket"]).arg(socket).arg("http://switch/api/v1/stats");
            let stats = run(&mut curl).json();
            for drop in stats["drops"].as_array().into_iter().flatten() {
                let [place, reason] = ["port", "reason"].map(|field| drop[field].as_str().unwrap_or("node"));
                *all.entry(format!("{switch}/{place}/{reason}")).or_default() +=
                    drop["frames"].as_u64().unwrap_or(0);
            }
        }
        // What the host's own queue has no room for never reaches a switch.
        let link = self.hosts[0].exec(&["ip", "-j", "-s", "link", "show", "eth0"]).json();
        let dropped = link[0]["stats64"]["tx"]["dropped"].as_u64().expect("ip counts");
        all.insert("h1/tx-queue-full".to_owned(), dropped);
        let snmp = self.hosts[1].exec(&["cat", "/proc/net/snmp"]).success();
        let mut udp = snmp.lines().filter(|line| line.starts_with("Udp:")).map(str::split_whitespace);
        let (names, values) = (udp.next().expect("names"), udp.next().expect("values"));
        let errors = names.zip(values).find(|(name, _)| *name == "RcvbufErrors");
        let errors = errors.and_then(|(_, n)| n.parse().ok()).expect("the kernel counts");
        all.insert("h2/queue-full".to_owned(), errors);
        all
    }

    #[expect(clippy::disallowed_methods, reason = "it keeps to a rate by the clock")]
    fn send(&self, harm: impl FnOnce()) -> (u64, u64) {
        let socket = |host: &Namespace, address: &str| {
            host.enter(|| UdpSocket::bind(address)).expect("the address is there")
        };
        let (from, to) = (socket(&self.hosts[0], "10.0.0.1:8700"), socket(&self.hosts[1], "10.0.0.2:8700"));
        setsockopt(&to, sockopt::RcvBufForce, &(64 << 20)).expect("root may");
        to.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let receiving = scope.spawn(|| {
                let (mut seen, mut doubled, mut bytes) = (vec![false; N_FRAMES as usize], 0, [0; 64]);
                loop {
                    match to.recv(&mut bytes) {
                        Ok(4) => {
                            let number = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                            doubled += u64::from(std::mem::replace(&mut seen[number as usize], true));
                        }
                        Ok(n) => panic!("{n} bytes arrived"),
                        Err(_) if over.load(Ordering::Acquire) => break,
                        Err(_) => {}
                    }
                }
                (seen.iter().filter(|seen| !**seen).count() as u64, doubled)
            });
            let sending = scope.spawn(|| {
                let to: SocketAddr = "10.0.0.2:8700".parse().expect("an address");
                let (began, mut nth) = (Instant::now(), 0);
                while nth < N_FRAMES {
                    let due = (began.elapsed().as_secs_f64() * RATE) as u32;
                    let next = due.min(nth + CATCH_UP).min(N_FRAMES);
                    for number in nth..next {
                        from.send_to(&number.to_be_bytes(), to).expect("the host is reachable");
                    }
                    nth = next;
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            harm();
            sending.join().expect("it sends");
            over.store(true, Ordering::Release);
            receiving.join().expect("it receives")
        })
    }
}

fn between_namespaces(name: &str, harm: Harm) {
    let sandbox = Sandbox::enter(name);
    let weft = Weft::new(&sandbox);
    let mut control = Control::start(&sandbox, &weft);
    let lab = Lab::start(&sandbox, &weft);
    let ready = || control.is_quiet(2) && wait_call(control.client.links()).is_ok_and(|l| l.len() == 2);
    wait_until(SOON, "both switches and the link between them", ready);
    wait_until(SOON, "the first ping", || lab.hosts[0].pings("10.0.0.2"));
    wait_until(SOON, "both hosts", || wait_call(control.client.hosts()).is_ok_and(|hosts| hosts.len() == 2));
    wait_until(SOON, "their flows", || control.is_quiet(2));
    // The hosts ask each other for nothing more: what is counted are the numbered frames.
    for (host, other) in [(0, 1), (1, 0)] {
        let (to, mac) = (format!("10.0.0.{}", other + 1), mac_of(&lab.hosts[other]));
        lab.hosts[host].exec(&["ip", "neigh", "replace", &to, "lladdr", &mac, "dev", "eth0"]).success();
    }
    compare(harm, |harm| {
        let before = lab.drops(&sandbox);
        let (lost, doubled) = lab.send(|| control.harm(harm, 2));
        let after = lab.drops(&sandbox);
        let since = |(place, n): (String, u64)| {
            let n = n - before.get(&place).copied().unwrap_or(0);
            (n > 0).then_some((place, n))
        };
        let counted = after.into_iter().filter_map(since).collect();
        Outcome { sent: N_FRAMES.into(), lost, doubled, counted }
    });
}

fn mac_of(host: &Namespace) -> String {
    let link = host.exec(&["ip", "-j", "link", "show", "eth0"]).json();
    link[0]["address"].as_str().expect("an address").to_owned()
}

#[test]
fn a_killed_controller_costs_none_of_twenty_thousand_frames_a_second_between_namespaces() {
    between_namespaces("restart-kill-ns", Harm::Kill);
}

#[test]
fn a_cut_connection_costs_none_of_twenty_thousand_frames_a_second_between_namespaces() {
    between_namespaces("restart-cut-ns", Harm::Cut);
}
