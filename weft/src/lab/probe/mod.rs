//! What a lab's tests do to the network: ping, TCP, throughput, isolation, order of functions.
//!
//! Each probe runs on threads of its own that enter the namespaces of the nodes it concerns. Every wait has a
//! deadline; none is a fixed sleep.

mod isolation;
mod path;
mod ping;
mod tcp;
mod throughput;
mod watch;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netio::netns::Namespace;
use serde::{Deserialize, Serialize};
use topology::{Model, NodeKind, Test, TestKind};

use super::clock::now;

/// How long the first frame of a probe may take: addresses are resolved and flows installed on the way.
const PATIENCE: Duration = Duration::from_secs(8);

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What it shows, in the words of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The test as written: `ping h1 -> h2`.
    pub test: String,
    /// Whether it holds.
    pub pass: bool,
    /// What was seen.
    pub detail: String,
    /// How long it took.
    pub milliseconds: u64,
}

/// What a probe found: the detail, for people; `Err` when the test does not hold.
type Found = Result<String, String>;

/// What probes need to know of a lab.
#[derive(Debug, Clone, Copy)]
pub struct Lab<'a> {
    /// Its topology.
    pub model: &'a Model,
    /// Where the sockets of its guests are.
    pub dir: &'a Path,
}

impl Lab<'_> {
    fn namespace(&self, node: &str) -> Result<Namespace, String> {
        Namespace::open(&self.model.namespace(node)).map_err(|error| error.to_string())
    }

    fn is_vm(&self, node: &str) -> bool {
        self.model.node(node).is_some_and(|node| matches!(node.kind, NodeKind::Vm(_)))
    }
}

/// Runs the tests one after the other and tells each outcome at once. Blocks: not on a thread of a runtime.
pub fn run(lab: &Lab<'_>, cancelled: &AtomicBool, mut tell: impl FnMut(&Outcome)) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for test in &lab.model.tests {
        if cancelled.load(Ordering::Relaxed) {
            break;
        }
        let outcome = one(lab, test);
        tell(&outcome);
        outcomes.push(outcome);
    }
    outcomes
}

fn one(lab: &Lab<'_>, test: &Test) -> Outcome {
    let started = now();
    let found = match &test.kind {
        TestKind::Ping { from, to, count } if lab.is_vm(from) => ping::from_vm(lab, from, to, *count),
        TestKind::Ping { from, to, count } => ping::run(lab, from, to.address, *count),
        TestKind::Tcp { from, to, port, server, source, expect } => {
            let wanted = tcp::Wanted { source: *source, expect: *expect };
            tcp::run(lab, from, (to.address, *port).into(), (&server.0, server.1), &wanted)
        }
        TestKind::Isolation { from, to } => isolation::run(lab, from, to),
        TestKind::Path { from, to, through } => path::run(lab, from, to, through),
        TestKind::Throughput { from, to, at_least, seconds } => {
            let wanted =
                throughput::Wanted { at_least: *at_least, time: Duration::from_secs((*seconds).into()) };
            throughput::run(lab, from, to, &wanted)
        }
    };
    let (pass, detail) = match found {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Outcome { about: test.about.clone(), test: test.kind.to_string(), pass, detail, milliseconds }
}

/// A payload that no other frame has.
fn marker() -> [u8; 16] {
    let mut marker = *b"weft-pro........";
    marker[8..].copy_from_slice(&rand::random::<u64>().to_be_bytes());
    marker
}

/// What came out of a thread.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    thread.join().unwrap_or_else(|_| Err("the thread of the probe died".to_owned()))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A rate for people.
fn rate(bits_per_second: f64) -> String {
    match bits_per_second {
        r if r >= 1e9 => format!("{:.2} Gbit/s", r / 1e9),
        r if r >= 1e6 => format!("{:.0} Mbit/s", r / 1e6),
        r => format!("{:.0} kbit/s", r / 1e3),
    }
}
