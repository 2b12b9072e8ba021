//! `cargo xtask bench flow_mods_a_second`: flow mods over one OpenFlow 1.3 connection, one by one and in a bundle, on
//! weft and on Open vSwitch (userspace datapath) in the same run.
//!
//! Supports the claims "200,000 flow mods a second accepted over one connection and answered by a barrier" and "100,000
//! rules in one bundle are switched at once". Each switch gets the same bytes from a client that has them ready, and the
//! same file from ovs-ofctl. Prints rates, ratios and the memory of a flow; exits with status 1 below the claims.
//! `WEFT_BIN` names the binary; otherwise the release build is made first.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use system_tests::{Ovs, Sandbox, Weft, require_program, run, wait_until};

const CLAIM: f64 = 200_000.0;
const N_FLOWS: u32 = 100_000;
const SOON: Duration = Duration::from_secs(30);
const ROUNDS: usize = 3;

/// What one switch did.
#[derive(Debug)]
struct Figures {
    one_by_one: f64,
    bundle: f64,
    ofctl: f64,
    ofctl_bundle: f64,
    bytes_a_flow: f64,
    /// Processor time of the whole process, one by one: what a busy machine changes least.
    micros: f64,
    /// From the commit to the barrier reply behind it.
    commit_ms: f64,
}

fn main() -> ExitCode {
    require_program("ovs-ofctl", "openvswitch-switch");
    let weft = {
        let sandbox = Sandbox::enter("bench-mods");
        let weft = Weft::new(&sandbox);
        let switch = weft.spawn("switch", &["switch", "--dpid", "1", "--listen", "ptcp:6654"]);
        measure(&sandbox, 6654, switch.pid())
    };
    let ovs = {
        let sandbox = Sandbox::enter("bench-mods-ovs");
        let ovs = Ovs::start(&sandbox);
        ovs.add_bridge("br0");
        ovs.vsctl(&["set-controller", "br0", "ptcp:6655:127.0.0.1"]);
        let pid = std::fs::read_to_string(sandbox.dir().join("ovs/ovs-vswitchd.pid")).expect("it has one");
        measure(&sandbox, 6655, pid.trim().parse().expect("a number"))
    };
    print(&weft, &ovs);
    if weft.one_by_one < CLAIM {
        println!("below the claim of {CLAIM} flow mods a second");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn print(weft: &Figures, ovs: &Figures) {
    println!("{N_FLOWS} flows, medians of {ROUNDS} rounds                weft   Open vSwitch    ratio");
    let row = |what: &str, figure: fn(&Figures) -> f64| {
        let (ours, theirs) = (figure(weft), figure(ovs));
        println!("{what:<42} {ours:>10.0} {theirs:>14.0} {:>8.2}", ours / theirs);
    };
    row("flow mods a second, one by one", |f| f.one_by_one);
    row("flow mods a second, in one bundle", |f| f.bundle);
    row("ovs-ofctl add-flows, flows a second", |f| f.ofctl);
    row("ovs-ofctl --bundle add-flows, flows a second", |f| f.ofctl_bundle);
    row("bytes a flow (resident)", |f| f.bytes_a_flow);
    row("processor time, ns a flow mod one by one", |f| f.micros * 1e3);
    row("commit to barrier reply, ms", |f| f.commit_ms);
}

fn measure(sandbox: &Sandbox, port: u16, pid: u32) -> Figures {
    wait_until(SOON, "the switch to listen", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let file = sandbox.dir().join("flows.txt");
    std::fs::write(&file, (0..N_FLOWS).map(text).collect::<String>()).expect("the sandbox is writable");
    let mut client = Client::connect(port);
    let mods: Vec<Vec<u8>> = (0..N_FLOWS).map(flow_mod).collect();
    let plain = mods.concat();
    let bundled: Vec<u8> = mods.iter().flat_map(|inner| in_bundle(inner)).collect();
    client.clear();
    let before = resident(pid);
    let mut one_by_one = Vec::new();
    let (mut bytes_a_flow, mut micros) = (0.0, Vec::new());
    for round in 0..ROUNDS {
        let worked = worked(pid);
        one_by_one.push(rate(|| client.send_all(&plain)));
        micros.push((self::worked(pid) - worked).as_secs_f64() * 1e6 / f64::from(N_FLOWS));
        if round == 0 {
            bytes_a_flow = resident(pid).saturating_sub(before) as f64 / f64::from(N_FLOWS);
            assert_eq!(client.n_flows(), N_FLOWS, "every flow is there");
        }
        client.clear();
    }
    let (mut bundle, mut commit_ms) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bundle.push(rate(|| {
            client.send_all(&[control(0), bundled.clone()].concat());
            let start = Instant::now();
            client.send_all(&control(4));
            commit_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }));
        assert_eq!(client.n_flows(), N_FLOWS, "every flow is there");
        client.clear();
    }
    drop(client);
    let tool = |extra: &[&str]| {
        let rates = (0..ROUNDS).map(|_| {
            let rate = rate(|| ofctl(&[extra, &["add-flows"]].concat(), port, &file));
            // A connection of its own: one that was silent so long would be given up.
            Client::connect(port).clear();
            rate
        });
        median(rates.collect())
    };
    Figures {
        ofctl: tool(&[]),
        ofctl_bundle: tool(&["--bundle"]),
        one_by_one: median(one_by_one),
        bundle: median(bundle),
        bytes_a_flow,
        micros: median(micros),
        commit_ms: median(commit_ms),
    }
}

/// Flows a second.
fn rate(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    f64::from(N_FLOWS) / start.elapsed().as_secs_f64()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn ofctl(args: &[&str], port: u16, file: &Path) {
    let target = format!("tcp:127.0.0.1:{port}");
    let mut command = Command::new("ovs-ofctl");
    command.args(["-O", "OpenFlow13", "--timeout=300"]).args(args).arg(target).arg(file);
    run(&mut command).success();
}

/// Bytes of memory a process has.
fn resident(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process lives");
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number");
    pages * 4096
}

/// Processor time a process has taken.
fn worked(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // Behind the name, which may hold anything: user and system time in hundredths.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn text(n: u32) -> String {
    let [_, b, c, d] = n.to_be_bytes();
    format!("priority=100,in_port=1,tcp,nw_src=10.{b}.{c}.{d},tp_dst={},actions=output:2\n", 1 + n % 60_000)
}

fn message(kind: u8, xid: u32, body: &[&[u8]]) -> Vec<u8> {
    let len = 8 + body.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = vec![4, kind];
    bytes.extend((len as u16).to_be_bytes());
    bytes.extend(xid.to_be_bytes());
    body.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// The flow of [`text`] (OpenFlow 1.3.5 §7.3.4.1).
fn flow_mod(n: u32) -> Vec<u8> {
    let tcp_dst = (1 + n % 60_000) as u16;
    let fields: [&[u8]; 5] = [
        &[0x80, 0, 0, 4, 0, 0, 0, 1],
        &[0x80, 0, 10, 2, 8, 0],
        &[0x80, 0, 20, 1, 6],
        &[&[0x80, 0, 22, 4][..], &(10 << 24 | n).to_be_bytes()].concat(),
        &[&[0x80, 0, 28, 2][..], &tcp_dst.to_be_bytes()].concat(),
    ];
    let len = 4 + fields.iter().map(|field| field.len()).sum::<usize>();
    let mut matches = vec![0, 1, 0, len as u8];
    fields.iter().for_each(|field| matches.extend_from_slice(field));
    matches.resize(len.next_multiple_of(8), 0);
    let any = [0xff; 12];
    let fixed: [&[u8]; 6] = [&[0; 16], &[0, 0, 0, 0, 0, 0], &[0, 100], &any, &[0, 0], &[0, 0]];
    let output = [0, 4, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    message(14, n + 1, &[&fixed.concat(), &matches, &output])
}

const ONF: [u8; 4] = [0x4f, 0x4e, 0x46, 0];

/// A message of bundle 1, atomic and ordered (ONF EXT-230).
fn in_bundle(inner: &[u8]) -> Vec<u8> {
    let xid = u32::from_be_bytes([inner[4], inner[5], inner[6], inner[7]]);
    message(4, xid, &[&ONF, &2301u32.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 3], inner])
}

fn control(kind: u8) -> Vec<u8> {
    message(4, 1, &[&ONF, &2300u32.to_be_bytes(), &[0, 0, 0, 1, 0, kind, 0, 3]])
}

const BARRIER: u32 = 0x4000_0000;

/// A controller that has its bytes ready.
struct Client {
    stream: TcpStream,
    n_barriers: u32,
}

impl Client {
    fn connect(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("TCP has it");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("not zero");
        stream.write_all(&message(0, 1, &[])).expect("it reads");
        Self { stream, n_barriers: 0 }
    }

    /// Sends messages and waits for the barrier behind them; none may be refused.
    fn send_all(&mut self, bytes: &[u8]) {
        self.n_barriers += 1;
        let barrier = BARRIER + self.n_barriers;
        let mut writer = self.stream.try_clone().expect("a socket can be duplicated");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                writer.write_all(bytes).expect("it reads");
                writer.write_all(&message(20, barrier, &[])).expect("it reads");
            });
            while self.next(|kind, _| kind == 21).0 != barrier {}
        });
    }

    /// The next message of a kind, with its transaction; the others are passed over, echo requests answered.
    fn next(&mut self, wanted: impl Fn(u8, &[u8]) -> bool) -> (u32, Vec<u8>) {
        loop {
            let mut header = [0; 8];
            self.stream.read_exact(&mut header).expect("the switch answers");
            let [_, kind, l0, l1, xid @ ..] = header;
            let mut body = vec![0; usize::from(u16::from_be_bytes([l0, l1])) - 8];
            self.stream.read_exact(&mut body).expect("the switch answers");
            let xid = u32::from_be_bytes(xid);
            assert_ne!(kind, 1, "refused: {body:02x?}");
            if kind == 2 {
                self.stream.write_all(&message(3, xid, &[&body])).expect("it reads");
            }
            if wanted(kind, &body) {
                return (xid, body);
            }
        }
    }

    /// Deletes every flow.
    fn clear(&mut self) {
        let any = [0xff; 12];
        let fixed: [&[u8]; 6] = [&[0; 16], &[0xff, 3, 0, 0, 0, 0], &[0, 0], &any, &[0, 0], &[0, 0]];
        let all = message(14, 7, &[&fixed.concat(), &[0, 1, 0, 4, 0, 0, 0, 0]]);
        self.send_all(&all);
    }

    /// How many flows there are (aggregate statistics, §7.3.5.3).
    fn n_flows(&mut self) -> u32 {
        let any = [0xff; 8];
        let match_all = [0, 1, 0, 4, 0, 0, 0, 0];
        let request: [&[u8]; 6] =
            [&[0, 2, 0, 0, 0, 0, 0, 0], &[0xff, 0, 0, 0], &any, &[0; 4], &[0; 16], &match_all];
        self.stream.write_all(&message(18, 9, &request)).expect("it reads");
        let (_, body) = self.next(|kind, _| kind == 19);
        u32::from_be_bytes([body[24], body[25], body[26], body[27]])
    }
}
