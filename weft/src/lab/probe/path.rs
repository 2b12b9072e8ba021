//! Which functions a packet passes, told by the frames seen in each namespace and the kernel's time of them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use topology::{NodeKind, Target};

use super::watch::{Seen, Watch};
use super::{Found, Lab, PATIENCE, marker, text};
use crate::lab::clock::Deadline;

/// How long one datagram may take through all functions before the next is sent.
const ROUND: Duration = Duration::from_millis(400);
/// Sends datagrams from `from` to `to` and compares the functions they pass with `through`.
pub fn run(lab: &Lab<'_>, from: &str, to: &Target, through: &[String]) -> Found {
    let target = to.node.as_deref().unwrap_or(&to.label);
    let is_function = |node: &&topology::Node| matches!(node.kind, NodeKind::Function(_));
    let functions: Vec<&str> =
        lab.model.nodes.iter().filter(is_function).map(|node| node.name.as_str()).collect();
    let mut watches = Vec::new();
    for node in functions.iter().copied().chain([target]) {
        watches.push((node, Watch::open_stamped(&lab.namespace(node)?)?));
    }
    // Somebody listens, so that no ICMP error quotes the datagram on its way back.
    let listener =
        lab.namespace(target)?.run(|| UdpSocket::bind(any(to.address))).map_err(text)?.map_err(text)?;
    let port = listener.local_addr().map_err(text)?.port();
    let deadline = Deadline::after(PATIENCE);
    loop {
        let marker = marker();
        send(lab, from, SocketAddr::new(to.address, port), &marker)?;
        let seen = follow(&watches, target, &marker)?;
        let arrived = seen.iter().any(|(node, _)| *node == target);
        if arrived {
            return judge(&seen, target, through);
        }
        if deadline.passed() {
            let passed: Vec<&str> = order(&seen);
            let last = passed.last().map_or("no function".to_owned(), |node| (*node).to_owned());
            return Err(format!("nothing arrives at {target}; last seen at {last}"));
        }
    }
}

/// Any address of a family.
fn any(like: IpAddr) -> &'static str {
    if like.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }
}

fn send(lab: &Lab<'_>, from: &str, to: SocketAddr, marker: &[u8]) -> Result<(), String> {
    let sent = lab.namespace(from)?.run(|| UdpSocket::bind(any(to.ip()))?.send_to(marker, to).map(drop));
    sent.map_err(text)?.map_err(|error| format!("cannot send: {error}"))
}

/// Frames with the marker in the order of their times, until one is at the target or the round is over.
fn follow<'a>(
    watches: &[(&'a str, Watch)],
    target: &str,
    marker: &[u8],
) -> Result<Vec<(&'a str, Seen)>, String> {
    let deadline = Deadline::after(ROUND);
    let mut all: Vec<(&str, Seen)> = Vec::new();
    loop {
        let mut arrived = false;
        for (node, watch) in watches {
            for seen in watch.drain()?.into_iter().filter(|seen| seen.holds(marker)) {
                arrived |= *node == target && !seen.outgoing;
                all.push((node, seen));
            }
        }
        if arrived || deadline.passed() {
            all.sort_by_key(|(_, seen)| seen.at);
            return Ok(all);
        }
        if let Some((_, watch)) = watches.iter().find(|(node, _)| *node == target) {
            watch.wait(deadline.left())?;
        }
    }
}

/// Nodes in the order passed, each named once a visit.
fn order<'a>(seen: &[(&'a str, Seen)]) -> Vec<&'a str> {
    let mut nodes: Vec<&str> = seen.iter().map(|(node, _)| *node).collect();
    nodes.dedup();
    nodes
}

fn judge(seen: &[(&str, Seen)], target: &str, through: &[String]) -> Found {
    let nodes = order(seen);
    let expected: Vec<&str> = through.iter().map(String::as_str).chain([target]).collect();
    if nodes != expected {
        return Err(format!("it passes {}", nodes.join(" -> ")));
    }
    for function in through {
        let visits: Vec<&Seen> =
            seen.iter().filter(|(node, _)| node == function).map(|(_, seen)| seen).collect();
        let entered = visits.first().filter(|seen| !seen.outgoing).map(|seen| seen.interface);
        let left = visits.last().filter(|seen| seen.outgoing).map(|seen| seen.interface);
        match (entered, left) {
            (Some(entered), Some(left)) if entered != left => {}
            _ => return Err(format!("it does not pass through {function} from one interface to the other")),
        }
    }
    Ok(format!("frames seen at {}", nodes.join(" -> ")))
}
