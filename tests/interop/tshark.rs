//! tshark reads what a switch says, in every type of message, without finding fault.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use system_tests::{Namespace, Process, Sandbox, Weft, require_program, run, wait_for, wait_until};

#[path = "tshark/requests.rs"]
mod requests;

use requests::Request;

const SOON: Duration = Duration::from_secs(30);
/// Where the two controllers listen.
const PORTS: [u16; 2] = [6653, 6663];
/// ARP from 02:00:00:00:00:09, for packet-outs.
const ARP: &[u8] = b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x09\x08\x06\0\x01\x08\0\x06\x04\0\x01\x02\0\0\0\0\x09\x0a\0\0\x09\0\0\0\0\0\0\x0a\0\0\x02";

/// What tshark 4.0 says of parts that it has no dissector for: fields and bundles of the ONF; in 1.0 several bodies,
/// such as those of errors, echoes, port-status, flow-removed and most statistics.
const NOT_DECODED: &[&str] = &["Experimenter body.", "Message data not dissected yet"];

/// A scripted controller.
struct Controller {
    stream: TcpStream,
    version: u8,
    xid: u32,
    unread: Vec<u8>,
    /// Type of each message that came, and the kind of multipart it is.
    seen: BTreeSet<(u8, Option<u16>)>,
}

impl Controller {
    fn accept(listener: &TcpListener, version: u8) -> Self {
        let (stream, _) = listener.accept().expect("the switch connects");
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
        stream.set_write_timeout(Some(SOON)).expect("not zero");
        let mut this = Self { stream, version, xid: 0, unread: Vec::new(), seen: BTreeSet::new() };
        this.send(0, &[]);
        this
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        self.xid += 1;
        let message = requests::message(self.version, kind, self.xid, body);
        self.stream.write_all(&message).expect("the switch reads");
    }

    fn send_all(&mut self, all: Vec<Request>) {
        all.into_iter().for_each(|(kind, body)| self.send(kind, &body));
    }

    /// Reads what is there; answers echo requests.
    fn read(&mut self) {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("the switch hangs up"),
            Ok(n) => self.unread.extend(&buffer[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("the connection breaks: {error}"),
        }
        while let Some(&[high, low]) = self.unread.get(2..4) {
            let len = usize::from(u16::from_be_bytes([high, low]));
            if self.unread.len() < len {
                break;
            }
            let message: Vec<u8> = self.unread.drain(..len).collect();
            let multipart = message[1] == if self.version == 1 { 17 } else { 19 };
            let part = multipart.then(|| u16::from_be_bytes([message[8], message[9]]));
            self.seen.insert((message[1], part));
            if message[1] == 2 {
                self.send(3, &message[8..]);
            }
        }
    }
}

/// Waits until `which` of the controllers has been sent all that is `wanted`; the other one goes on reading.
fn wait(controllers: &mut [Controller; 2], which: usize, wanted: &[(u8, Option<u16>)]) {
    for what in wanted {
        wait_for(SOON, &format!("message {what:?}; seen: {:?}", controllers[which].seen.clone()), || {
            controllers.iter_mut().for_each(Controller::read);
            controllers[which].seen.contains(what).then_some(())
        });
    }
}

/// tshark writing what is said on loopback into a file.
struct Capture {
    tshark: Process,
    file: PathBuf,
}

impl Capture {
    fn start(sandbox: &Sandbox) -> Self {
        require_program("tshark", "tshark");
        let file = sandbox.dir().join("openflow.pcapng");
        let mut command = Command::new("tshark");
        command.args(["-i", "lo", "-f", "tcp", "-w"]).arg(&file);
        let mut tshark = Process::spawn(&mut command, &sandbox.dir().join("tshark.log"));
        tshark.wait_for_log(SOON, "Capture started");
        Self { tshark, file }
    }

    /// Ends it once the file has `mark` as often as it was sent.
    fn finish(mut self, mark: &[u8], n_sent: usize) -> PathBuf {
        let count = || {
            let bytes = std::fs::read(&self.file).unwrap_or_default();
            bytes.windows(mark.len()).filter(|window| *window == mark).count()
        };
        wait_until(SOON, "the last message in the capture", || count() >= n_sent);
        self.tshark.signal(nix::sys::signal::Signal::SIGINT);
        self.tshark.wait(SOON);
        self.file
    }
}

/// Asks tshark for `fields` of every frame that `filter` takes.
fn dissect(file: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-o", "openflow.desegment:TRUE", "-Y", filter, "-T", "fields"]);
    command.args(PORTS.iter().flat_map(|port| ["-d".to_owned(), format!("tcp.port=={port},openflow")]));
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    run(&mut command).success().lines().map(str::to_owned).collect()
}

/// Lets a switch say everything it can in `version`, and tshark read it.
fn converse(name: &str, version: u8) {
    let sandbox = Sandbox::enter(name);
    let host = Namespace::new(&sandbox, "h1");
    let listeners = PORTS.map(|port| TcpListener::bind(("127.0.0.1", port)).expect("free in a sandbox"));
    let capture = Capture::start(&sandbox);
    let ports = ["--port", "1=netns:h1/eth0", "--port", "2=hosttap:t2"];
    let controllers = PORTS.map(|port| format!("tcp:127.0.0.1:{port}"));
    let controllers: Vec<&str> = controllers.iter().flat_map(|target| ["--controller", target]).collect();
    let protocols = ["--protocols", "OpenFlow10,OpenFlow13,OpenFlow14"];
    let args = [&["switch"][..], &controllers, &ports, &protocols].concat();
    let _switch = Weft::new(&sandbox).spawn("s1", &args);
    let mut both = listeners.each_ref().map(|listener| Controller::accept(listener, version));
    for which in [0, 1] {
        wait(&mut both, which, &[(0, None)]);
        both[which].send_all(requests::asynchronous(version));
    }
    both[0].send_all(requests::state(version));
    both[0].send_all(requests::questions(version));
    both[0].send_all(requests::mistakes(version));
    wait(&mut both, 0, &requests::answers(version));
    host.exec(&["ip", "link", "set", "eth0", "up"]).success();
    both[0].send_all(requests::removal(version));
    wait(&mut both, 0, &[(10, None), (11, None), (12, None)]);
    if version > 4 {
        wait(&mut both, 0, &[(31, None)]);
        wait(&mut both, 1, &[(32, None)]);
    }
    // A second master makes the first one a slave.
    if version > 1 {
        for (which, generation) in [(0, 1), (1, 2)] {
            both[which].send_all(vec![requests::role(2, generation)]);
            wait(&mut both, which, &[(25, None)]);
        }
    }
    if version > 4 {
        wait(&mut both, 0, &[(30, None)]);
    }
    // After silence the switch asks whether anybody is there.
    wait(&mut both, 0, &[(2, None)]);
    let mark = b"this is the last message";
    both[0].send_all(vec![(2, mark.to_vec())]);
    wait(&mut both, 0, &[(3, None)]);
    let file = capture.finish(mark, 2);
    judge(&file, version, &both[0].seen.union(&both[1].seen).copied().collect());
}

/// Every message that was seen is in the capture, and tshark finds no fault with any.
fn judge(file: &Path, version: u8, seen: &BTreeSet<(u8, Option<u16>)>) {
    let protocol = match version {
        1 => "openflow_1_0",
        4 => "openflow_v4",
        _ => "openflow_v5",
    };
    let from_switch = format!("({})", PORTS.map(|port| format!("tcp.dstport == {port}")).join(" || "));
    let kind = format!("{protocol}.type");
    let part = if version == 1 {
        "openflow.stats.type".to_owned()
    } else {
        format!("{protocol}.multipart_reply.type")
    };
    let lines = dissect(file, &from_switch, &[&kind, &part]);
    let column = |n: usize| {
        let cells = lines.iter().filter_map(move |line| line.split('\t').nth(n));
        cells
            .flat_map(|cell| cell.split(','))
            .filter_map(|text| text.parse::<u16>().ok())
            .collect::<BTreeSet<_>>()
    };
    // tshark reads the hello by its own version, which is the highest.
    let kinds: BTreeSet<u16> =
        seen.iter().map(|(kind, _)| u16::from(*kind)).filter(|kind| *kind != 0).collect();
    let parts: BTreeSet<u16> = seen.iter().filter_map(|(_, part)| *part).collect();
    assert_eq!(
        kinds.difference(&column(0)).collect::<Vec<_>>(),
        Vec::<&u16>::new(),
        "types that tshark has not seen"
    );
    assert_eq!(
        parts.difference(&column(1)).collect::<Vec<_>>(),
        Vec::<&u16>::new(),
        "multiparts that tshark has not seen"
    );
    println!(
        "version {version}: {} types, {} kinds of multipart, {} frames",
        kinds.len(),
        parts.len(),
        lines.len()
    );
    let groups = ["Malformed", "Undecoded", "Protocol", "Reassemble"];
    let groups = groups.map(|group| format!("_ws.expert.group == \"{group}\"")).join(" || ");
    let fault = format!("{from_switch} && (_ws.malformed || {groups})");
    let faults = dissect(file, &fault, &["frame.number", &kind, &part, "_ws.expert.message", "tcp.payload"]);
    let is_known = |line: &&String| {
        let messages = line.split('\t').nth(3).unwrap_or("");
        messages.split(',').all(|message| NOT_DECODED.contains(&message))
    };
    let faults: Vec<_> = faults.iter().filter(|line| !is_known(line)).cloned().collect();
    assert!(faults.is_empty(), "tshark finds fault with\n{}", faults.join("\n"));
}

#[test]
fn tshark_understands_openflow_1_3() {
    converse("tshark-1-3", 4);
}

#[test]
fn tshark_understands_openflow_1_4() {
    converse("tshark-1-4", 5);
}

#[test]
fn tshark_understands_openflow_1_0() {
    converse("tshark-1-0", 1);
}
