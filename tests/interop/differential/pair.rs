//! A weft switch and a bridge of Open vSwitch with the same ports and the same rules.

use std::collections::BTreeMap;
use std::time::Duration;

use controller_api::client::Client;
use controller_api::{PortRef, TraceReply, TraceRequest};
use system_tests::{Ovs, Process, Sandbox, UnixCtl, Weft, wait_call, wait_until};

use super::frames::Arrival;
use super::odp::{self, Copy};
use super::rules::RuleSet;
use super::values::PORTS;

/// Bytes of the shortest frame on a wire, without FCS.
const MIN_LEN: usize = 60;
const SOON: Duration = Duration::from_secs(20);
const WEFT: &str = "tcp:127.0.0.1:6654";
/// Why the controller gets a frame (ofp_packet_in_reason of 1.4).
const INVALID_TTL: u8 = 2;

/// What a switch does with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The copies that leave, sorted: their order is not part of what the standard says of groups.
    pub copies: Vec<Copy>,
    /// Tables visited, and the priority of the flow that matched there.
    pub visits: Vec<(u8, Option<u16>)>,
    /// The switch's own words.
    pub text: String,
}

impl Verdict {
    /// Both switches did the same.
    pub fn agrees(&self, other: &Self) -> bool {
        self.copies == other.copies && self.visits == other.visits
    }

    fn sorted(mut self) -> Self {
        // Whether the controller hears of used-up TTLs is a setting of its connection.
        self.copies.retain(|copy| !matches!(copy, Copy::Controller(INVALID_TTL, _)));
        self.copies.sort();
        self
    }
}

/// The two switches.
pub struct Pair {
    sandbox: Sandbox,
    ovs: Ovs,
    _weft: Process,
    client: Client,
    /// Number of a port in the datapath of Open vSwitch, and its OpenFlow number.
    datapath_ports: BTreeMap<u32, u32>,
}

impl Pair {
    /// Starts both with [`PORTS`], the last of which is down.
    pub fn start(name: &str) -> Self {
        let sandbox = Sandbox::enter(name);
        let weft = Weft::new(&sandbox);
        let mut args =
            ["switch", "--name", "s1", "--listen", "ptcp:6654", "--workers", "1"].map(str::to_owned).to_vec();
        args.extend(PORTS.iter().flat_map(|n| ["--port".to_owned(), format!("{n}=hosttap:w{n}")]));
        let weft = weft.spawn("s1", &args.iter().map(String::as_str).collect::<Vec<_>>());
        let ovs = Ovs::start_with(&sandbox, &["--enable-dummy"]);
        ovs.add_bridge("br0");
        ovs.vsctl(&["set", "bridge", "br0", "datapath_type=dummy"]);
        for n in PORTS {
            let (port, request) = (format!("p{n}"), format!("ofport_request={n}"));
            ovs.vsctl(&["add-port", "br0", &port, "--", "set", "interface", &port, "type=dummy", &request]);
        }
        // Unless told otherwise, Open vSwitch takes the ports of first fragments for zero.
        ovs.ofctl(&["set-frags", "br0", "nx-match"]).success();
        let mut control = ovs.control();
        let datapath_ports = datapath_ports(&control.call("dpif/show", &[]).expect("there is a datapath"));
        let client = Client::unix(sandbox.run_dir().join("s1.sock"));
        wait_until(SOON, "the switch's socket", || wait_call(client.health()).is_ok());
        let last = PORTS[PORTS.len() - 1].to_string();
        for switch in [WEFT, "br0"] {
            ovs.ofctl(&["mod-port", switch, &last, "down"]).success();
        }
        Self { sandbox, ovs, _weft: weft, client, datapath_ports }
    }

    /// Replaces all flows and groups of both.
    ///
    /// # Errors
    /// What ovs-ofctl said when one of them refused.
    pub fn load(&self, rules: &RuleSet) -> Result<(), String> {
        let file = |name: &str, lines: Vec<String>| {
            let path = self.sandbox.dir().join(name);
            std::fs::write(&path, lines.join("\n") + "\n").expect("the sandbox's folder is writable");
            path.to_string_lossy().into_owned()
        };
        let groups = rules.groups.iter().map(|group| format!("add {group}"));
        let groups = file("groups", std::iter::once("delete".to_owned()).chain(groups).collect());
        let flows = rules.flows.iter().map(|flow| format!("add {flow}"));
        let flows = file("flows", std::iter::once("delete".to_owned()).chain(flows).collect());
        for switch in [WEFT, "br0"] {
            for (verb, file) in [("add-groups", &groups), ("add-flows", &flows)] {
                let done = self.ovs.ofctl(&[verb, switch, file]);
                if !done.status.success() {
                    return Err(done.to_string());
                }
            }
        }
        Ok(())
    }

    /// What weft and Open vSwitch do with each frame, by the rules loaded.
    pub fn judge(&self, arrivals: &[Arrival]) -> Vec<(Verdict, Verdict)> {
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| {
                let mut control = self.ovs.control();
                arrivals.iter().map(|arrival| self.ask_ovs(&mut control, arrival)).collect::<Vec<_>>()
            });
            let ours = wait_call(async {
                let mut verdicts = Vec::new();
                for arrival in arrivals {
                    let request = TraceRequest {
                        port: PortRef::new("s1", arrival.port),
                        frame: Some(hex(&arrival.bytes)),
                        flow: None,
                    };
                    verdicts.push(verdict_of(self.client.trace(&request).await.expect("the switch answers")));
                }
                verdicts
            });
            ours.into_iter().zip(theirs.join().expect("Open vSwitch answers")).collect()
        })
    }

    fn ask_ovs(&self, control: &mut UnixCtl, arrival: &Arrival) -> Verdict {
        // A context of recirculation is forgotten a quarter of a second after the trace that made it.
        for _ in 0..20 {
            if let Some(verdict) = self.try_ovs(control, arrival) {
                return verdict;
            }
        }
        panic!("Open vSwitch forgets recirculated frames before they can be followed")
    }

    fn try_ovs(&self, control: &mut UnixCtl, arrival: &Arrival) -> Option<Verdict> {
        let flow = format!("in_port={}", arrival.port);
        let first = control.call("ofproto/trace", &["br0", &flow, &hex(&arrival.bytes)]);
        let mut text = first.unwrap_or_else(|error| panic!("{error}: {}", hex(&arrival.bytes)));
        let mut visits = visits_of(until_recirculation(&text));
        let (datapath_port, _) = self.datapath_ports.iter().find(|(_, n)| **n == arrival.port)?;
        let mut forgotten = false;
        let actions = actions_of(&text).to_owned();
        let copies = odp::run(&actions, &arrival.bytes, &mut |id, frame| {
            let flow = format!("recirc_id({id}),dp_hash(0x1),in_port({datapath_port})");
            match control.call("ofproto/trace", &["ovs-dummy", &flow, &hex(frame)]) {
                Ok(again) => {
                    visits.extend(visits_of(until_recirculation(&again)));
                    text.push_str(&again);
                    actions_of(&again).to_owned()
                }
                Err(_) => {
                    forgotten = true;
                    "drop".to_owned()
                }
            }
        });
        let pad = |frame| padded(frame, arrival.bytes.len());
        let named = copies.into_iter().filter_map(|copy| match copy {
            // LOCAL, which a flood reaches, has no counterpart in weft. What goes to a port that is down is lost in
            // the datapath of Open vSwitch, which a trace does not see.
            Copy::Port(port, _) if self.datapath_ports.get(&port) == PORTS.last() => None,
            Copy::Port(port, frame) => Some(Copy::Port(*self.datapath_ports.get(&port)?, pad(frame))),
            Copy::Controller(reason, frame) => Some(Copy::Controller(reason_of_1_3(reason), pad(frame))),
        });
        let copies = named.collect();
        (!forgotten).then(|| Verdict { copies, visits, text }.sorted())
    }
}

/// Open vSwitch leaves a frame short that a pop made so.
fn padded(mut frame: Vec<u8>, arrived: usize) -> Vec<u8> {
    if arrived >= MIN_LEN {
        frame.resize(frame.len().max(MIN_LEN), 0);
    }
    frame
}

/// The reason as OpenFlow 1.3 has it; Open vSwitch numbers further ones inside.
fn reason_of_1_3(reason: u8) -> u8 {
    match reason {
        0 | 6 | 7 => 0,
        INVALID_TTL => INVALID_TTL,
        _ => 1,
    }
}

fn verdict_of(reply: TraceReply) -> Verdict {
    let hop = &reply.hops[0];
    let copies = hop.copies.iter().map(|copy| match copy.port {
        Some(port) => Copy::Port(port, bytes(&copy.frame)),
        None => Copy::Controller(reason_of_1_3(copy.reason.expect("a switch knows why")), bytes(&copy.frame)),
    });
    let visits = hop.steps.iter().map(|step| {
        let priority = step.flow.as_deref().and_then(|flow| flow.strip_prefix("priority="));
        let digits = priority.map(|text| text.split([',', ' ']).next().unwrap_or(text));
        (step.table, digits.map(|text| text.parse().expect("a priority is a number")))
    });
    Verdict { copies: copies.collect(), visits: visits.collect(), text: reply.text.clone() }.sorted()
}

/// Open vSwitch follows a recirculated frame itself, but guesses the headers that a pop uncovers.
fn until_recirculation(text: &str) -> &str {
    text.split("\n====").next().unwrap_or(text)
}

fn actions_of(text: &str) -> &str {
    let line = text.lines().find_map(|line| line.strip_prefix("Datapath actions: "));
    line.unwrap_or_else(|| panic!("a trace without actions:\n{text}"))
}

/// Lines such as ` 0. tcp,in_port=1, priority 7, cookie 0x1` and ` 1. No match.`
fn visits_of(text: &str) -> Vec<(u8, Option<u16>)> {
    let visit = |line: &str| {
        let (table, rest) = line.trim_start().split_once(". ")?;
        let table = table.parse().ok()?;
        let priority = rest.rsplit_once("priority ").map(|(_, tail)| tail.split(',').next().unwrap_or(tail));
        Some((table, priority.and_then(|text| text.trim().parse().ok())))
    };
    text.lines().filter_map(visit).collect()
}

/// `    p1 1/100: (dummy)`: OpenFlow number and number in the datapath.
fn datapath_ports(text: &str) -> BTreeMap<u32, u32> {
    let port = |line: &str| {
        let (_, rest) = line.trim().strip_prefix('p')?.split_once(' ')?;
        let (number, datapath) = rest.split_once(':')?.0.split_once('/')?;
        Some((datapath.parse().ok()?, number.parse().ok()?))
    };
    text.lines().filter_map(port).collect()
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("the switch writes hexadecimal digits");
    (0..hex.len() / 2).map(|n| byte(2 * n)).collect()
}
