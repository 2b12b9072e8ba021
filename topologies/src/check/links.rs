//! Links: both ends exist, none is used twice, and the two kinds of node can be joined.

use std::collections::HashMap;

use controller_api::PortQueues;

use super::nodes::{MTU, check_interface_name, check_mtu, mac};
use super::{Context, check_name};
use crate::diagnostics::Diagnostic;
use crate::model::{End, Interface, Link, Node, NodeKind};
use crate::yaml::join;

/// Highest number of a physical port (OFPP_MAX, OpenFlow 1.3.5 §A.2.1).
const MAX_PORT: u32 = 0xffff_ff00;

pub(super) fn resolve(c: &mut Context<'_>, nodes: &mut [Node]) -> Vec<Link> {
    let mut links = Vec::new();
    let mut used: HashMap<(usize, String), String> = HashMap::new();
    let mut router_ports: HashMap<usize, u32> = HashMap::new();
    for (i, spec) in c.spec.links.iter().enumerate() {
        let path = join("links", i);
        let [a, b] = &spec.endpoints;
        let thing = format!("link {a} -- {b}");
        check_mtu(c, &join(&path, "mtu"), &thing, spec.mtu);
        let mtu = spec.mtu.unwrap_or(MTU);
        let mut ends = Vec::new();
        for (e, reference) in spec.endpoints.iter().enumerate() {
            let path = format!("{path}/endpoints/{e}");
            let Some(mut end) = endpoint(c, nodes, &path, &thing, reference) else { continue };
            if let Some(first) = used.get(&(end.node, end.port.clone())) {
                let at = c.value(&path);
                let taken = Diagnostic::new(at, thing.clone(), format!("{reference} is used twice"));
                c.report(taken.note(c.tree.value(first), "first used here"));
            }
            used.insert((end.node, end.port.clone()), path);
            if matches!(nodes[end.node].kind, NodeKind::Router) {
                let number = router_ports.entry(end.node).or_insert(0);
                *number += 1;
                end.number = Some(*number);
            }
            set_mtu(&c.spec.name, nodes, &end, mtu);
            ends.push(end);
        }
        if let [a, b] = ends.as_slice() {
            check_pair(c, nodes, &path, &thing, (a, b));
            let queues = PortQueues { rate: spec.rate, queues: spec.queues.clone() };
            let shaped = |end: &End| matches!(nodes[end.node].kind, NodeKind::Switch(_));
            if !queues.is_empty() && !shaped(a) && !shaped(b) {
                let at = c.value(&path);
                c.wrong(at, thing, "rates and queues are kept by switches, and none is at its ends");
            }
            links.push(Link { a: a.clone(), b: b.clone(), mtu, queues });
        }
    }
    if c.found.is_empty() {
        check_unlinked(c, nodes, &used);
    }
    links
}

/// Node and port of one end.
fn endpoint(
    c: &mut Context<'_>,
    nodes: &[Node],
    path: &str,
    thing: &str,
    reference: &controller_api::PortRef,
) -> Option<End> {
    let (node, port) = (&reference.node, &reference.port);
    let Some(idx) = nodes.iter().position(|n| n.name == *node) else {
        let at = c.part(path, 0, node.len());
        let unknown = Diagnostic::new(at, thing, format!("no node \"{node}\""));
        c.report(unknown.meant(node, nodes.iter().map(|n| n.name.as_str())));
        return None;
    };
    let at = c.part(path, node.len() + 1, port.len());
    let mut number = None;
    match &nodes[idx].kind {
        NodeKind::Switch(_) => match port.parse::<u32>().ok().filter(|n| (1..=MAX_PORT).contains(n)) {
            Some(parsed) => number = Some(parsed),
            None => {
                let wrong = Diagnostic::new(at, thing, format!("\"{port}\" is not a port of a switch"));
                c.report(wrong.hint(format!("the ports of {node} are numbers from 1: write \"{node}:1\"")));
                return None;
            }
        },
        NodeKind::Function(_) if !matches!(port.as_str(), "in" | "out") => {
            let wrong =
                Diagnostic::new(at, thing, format!("the function {node} has no interface \"{port}\""));
            c.report(wrong.meant(port, ["in", "out"]));
            return None;
        }
        NodeKind::Function(_) => {}
        NodeKind::Router => check_name(c, at, "port", port),
        NodeKind::Host(_) | NodeKind::Vm(_) => {
            let interfaces = nodes[idx].interfaces();
            let known = interfaces.iter().any(|i| i.name == *port);
            if !known && c.tree.keys.contains_key(&format!("nodes/{node}/interfaces")) {
                let wrong = Diagnostic::new(at, thing, format!("{node} has no interface \"{port}\""));
                c.report(wrong.meant(port, interfaces.iter().map(|i| i.name.as_str())));
                return None;
            }
            check_interface_name(c, at, thing, port);
        }
    }
    Some(End { node: idx, port: port.clone(), number })
}

/// Gives the interface at this end the link's MTU, and makes it where only the link names it.
fn set_mtu(lab: &str, nodes: &mut [Node], end: &End, mtu: u32) {
    let node = &mut nodes[end.node];
    let interfaces = match &mut node.kind {
        NodeKind::Host(host) => &mut host.interfaces,
        NodeKind::Vm(vm) => &mut vm.interfaces,
        NodeKind::Function(function) => &mut function.interfaces,
        NodeKind::Switch(_) | NodeKind::Router => return,
    };
    if !interfaces.iter().any(|i| i.name == end.port) {
        let mac = mac(lab, end.node, interfaces.len());
        interfaces.push(Interface { name: end.port.clone(), mac, mtu: 0, addresses: Vec::new() });
    }
    for interface in interfaces.iter_mut().filter(|i| i.name == end.port && i.mtu == 0) {
        interface.mtu = mtu;
    }
}

fn check_pair(c: &mut Context<'_>, nodes: &[Node], path: &str, thing: &str, (a, b): (&End, &End)) {
    let at = c.value(&join(path, "endpoints/1"));
    if a.node == b.node {
        return c.wrong(at, thing, format!("it joins {} to itself", nodes[a.node].name));
    }
    let is = |end: &End, what: fn(&NodeKind) -> bool| what(&nodes[end.node].kind);
    let vm: fn(&NodeKind) -> bool = |kind| matches!(kind, NodeKind::Vm(_));
    let engine: fn(&NodeKind) -> bool = |kind| matches!(kind, NodeKind::Switch(_) | NodeKind::Router);
    let switch: fn(&NodeKind) -> bool = |kind| matches!(kind, NodeKind::Switch(_));
    let function: fn(&NodeKind) -> bool = |kind| matches!(kind, NodeKind::Function(_));
    for (this, other) in [(a, b), (b, a)] {
        if is(this, vm) && !is(other, engine) {
            let wrong = Diagnostic::new(at.clone(), thing, "a vm is plugged into a switch or a router");
            return c.report(wrong.hint("put a switch between"));
        }
        if is(this, function) && !is(other, switch) {
            return c.wrong(at.clone(), thing, "a function is plugged into a switch");
        }
    }
}

/// Interfaces that are written and plugged in nowhere; functions need both.
fn check_unlinked(c: &mut Context<'_>, nodes: &[Node], used: &HashMap<(usize, String), String>) {
    for (idx, node) in nodes.iter().enumerate() {
        for interface in node.interfaces() {
            if used.contains_key(&(idx, interface.name.clone())) {
                continue;
            }
            let thing = format!("node {}", node.name);
            let what = match node.kind {
                NodeKind::Function(_) => format!("the function has no link at \"{}\"", interface.name),
                _ => format!("no link at interface \"{}\"", interface.name),
            };
            let at = c.key(&format!("nodes/{}/interfaces/{}", node.name, interface.name));
            let missing = Diagnostic::new(at, thing, what);
            c.report(missing.hint(format!(
                "add `- endpoints: [\"{}:{}\", \"SWITCH:PORT\"]` to links",
                node.name, interface.name
            )));
        }
    }
}
