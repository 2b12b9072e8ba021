//! Addresses: usable in their subnet, used once in a segment, gateways reachable, subnets not overlapping.

use std::collections::HashMap;
use std::net::IpAddr;

use controller_api::{Cidr, RouterInterface};
use ipnet::IpNet;

use super::Context;
use crate::diagnostics::{Diagnostic, closest};
use crate::model::{End, Model, Node, NodeKind, Route};

/// What a broadcast reaches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    /// A declared network.
    Network(String),
    /// The ports of no network.
    Learning,
    /// A link without a switch.
    Link(usize),
    /// Tagged frames of a link, of a VLAN that no network has.
    Tagged(usize, u16),
}

/// An address at its place.
struct Placed {
    segment: Segment,
    node: String,
    interface: String,
    cidr: Cidr,
    path: String,
}

impl Placed {
    fn thing(&self) -> String {
        format!("interface {}:{}", self.node, self.interface)
    }
}

pub(super) fn check(c: &mut Context<'_>, model: &Model) {
    let placed = place(model);
    for address in &placed {
        usable(c, address);
    }
    once(c, &placed);
    overlaps(c, &placed);
    for node in &model.nodes {
        let (NodeKind::Host(crate::model::Host { routes, .. })
        | NodeKind::Vm(crate::model::Vm { routes, .. })) = &node.kind
        else {
            continue;
        };
        gateways(c, node, routes, &placed);
    }
    for (i, router) in model.routers.iter().enumerate() {
        for (n, route) in router.routes.iter().enumerate() {
            let thing = format!("router {}", router.name);
            if let Some(via) = route.via {
                let path = format!("routers/{i}/routes/{n}/via");
                next_hop(c, &path, &thing, (&router.name, via), &placed);
            }
            for (hop, next) in route.next_hops.iter().enumerate() {
                let path = format!("routers/{i}/routes/{n}/next_hops/{hop}/via");
                next_hop(c, &path, &thing, (&router.name, next.via), &placed);
            }
        }
    }
}

/// Every address with the segment it is in.
fn place(model: &Model) -> Vec<Placed> {
    let mut list = Vec::new();
    for (idx, node) in model.nodes.iter().enumerate() {
        for interface in node.interfaces() {
            let Some(segment) = segment_of(model, idx, &interface.name) else { continue };
            let path = format!("nodes/{}/interfaces/{}", node.name, interface.name);
            list.extend(interface.addresses.iter().enumerate().map(|(i, cidr)| Placed {
                segment: segment.clone(),
                node: node.name.clone(),
                interface: interface.name.clone(),
                cidr: *cidr,
                path: if i == 0 { format!("{path}/address") } else { format!("{path}/addresses/{}", i - 1) },
            }));
        }
    }
    for (i, router) in model.routers.iter().enumerate() {
        let Some(idx) = model.nodes.iter().position(|node| node.name == router.name) else { continue };
        for (n, interface) in router.interfaces.iter().enumerate() {
            let Some(segment) = router_segment(model, idx, interface) else { continue };
            let path = format!("routers/{i}/interfaces/{n}");
            list.extend(interface.all_addresses().enumerate().map(|(i, cidr)| Placed {
                segment: segment.clone(),
                node: router.name.clone(),
                interface: interface.name.clone(),
                cidr,
                path: if i == 0 { format!("{path}/address") } else { format!("{path}/addresses/{}", i - 1) },
            }));
        }
    }
    list
}

fn segment_of(model: &Model, node: usize, port: &str) -> Option<Segment> {
    let here = |end: &End| end.node == node && end.port == port;
    let (idx, link) = model.links.iter().enumerate().find(|(_, l)| here(&l.a) || here(&l.b))?;
    let peer = if here(&link.a) { &link.b } else { &link.a };
    let peer_node = &model.nodes[peer.node];
    if !matches!(peer_node.kind, NodeKind::Switch(_)) {
        return Some(Segment::Link(idx));
    }
    let is =
        |port: &controller_api::PortRef| port.node == peer_node.name && port.port.parse().ok() == peer.number;
    let network = model.networks.iter().find(|network| network.ports.iter().any(is));
    Some(network.map_or(Segment::Learning, |network| Segment::Network(network.name.clone())))
}

fn router_segment(model: &Model, node: usize, interface: &RouterInterface) -> Option<Segment> {
    if let Some(name) = &interface.network {
        return Some(Segment::Network(name.clone()));
    }
    let Some(vlan) = interface.vlan else { return segment_of(model, node, interface.port_name()) };
    if interface.attachment.is_some()
        && let Some(network) = model.networks.iter().find(|network| network.vlan == vlan)
    {
        return Some(Segment::Network(network.name.clone()));
    }
    let here = |end: &End| end.node == node && end.port == interface.port_name();
    let idx = model.links.iter().position(|link| here(&link.a) || here(&link.b))?;
    Some(Segment::Tagged(idx, vlan))
}

fn usable(c: &mut Context<'_>, placed: &Placed) {
    let IpNet::V4(net) = placed.cidr.0 else { return };
    let ip = net.addr();
    let what = if ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified() || ip.is_loopback() {
        format!("{ip} is not an address an interface can have")
    } else if net.prefix_len() < 31 && ip == net.network() {
        format!("{ip} is the address of the network {} itself", net.trunc())
    } else if net.prefix_len() < 31 && ip == net.broadcast() {
        format!("{ip} is the broadcast address of {}", net.trunc())
    } else {
        return;
    };
    let at = c.value(&placed.path);
    c.wrong(at, placed.thing(), what);
}

fn once(c: &mut Context<'_>, placed: &[Placed]) {
    let mut seen: HashMap<(&Segment, IpAddr), &Placed> = HashMap::new();
    for address in placed {
        let ip = address.cidr.addr();
        if let Some(first) = seen.get(&(&address.segment, ip)) {
            let what = format!("{ip} is taken by {}:{}", first.node, first.interface);
            let taken = Diagnostic::new(c.value(&address.path), address.thing(), what);
            c.report(taken.note(c.value(&first.path), "first used here"));
        }
        seen.entry((&address.segment, ip)).or_insert(address);
    }
}

/// In one segment, and on one router, subnets are the same or disjoint.
fn overlaps(c: &mut Context<'_>, placed: &[Placed]) {
    let mut segments: HashMap<&Segment, Vec<&Placed>> = HashMap::new();
    let mut nodes: HashMap<&str, Vec<&Placed>> = HashMap::new();
    for address in placed {
        let subnets = segments.entry(&address.segment).or_default();
        let clash = subnets.iter().find(|other| differ(other.cidr, address.cidr));
        if let Some(other) = clash {
            let what = format!("{} overlaps the subnet of {}:{}", address.cidr, other.node, other.interface);
            let wrong = Diagnostic::new(c.value(&address.path), address.thing(), what);
            let wrong = wrong.note(c.value(&other.path), other.cidr.to_string());
            c.report(wrong.hint("give both the same prefix length, or disjoint subnets"));
        } else if !subnets.iter().any(|other| other.cidr.0.trunc() == address.cidr.0.trunc()) {
            subnets.push(address);
        }
        let own = nodes.entry(&address.node).or_default();
        let meets = |other: &&&Placed| {
            other.interface != address.interface && intersects(other.cidr.0, address.cidr.0)
        };
        if let Some(other) = own.iter().find(meets) {
            let what = format!("{} overlaps {} of {}", address.cidr, other.cidr, other.interface);
            let wrong = Diagnostic::new(c.value(&address.path), address.thing(), what);
            c.report(wrong.note(c.value(&other.path), "this one"));
        }
        own.push(address);
    }
}

fn intersects(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

fn differ(a: Cidr, b: Cidr) -> bool {
    a.0.trunc() != b.0.trunc() && intersects(a.0, b.0)
}

fn gateways(c: &mut Context<'_>, node: &Node, routes: &[Route], placed: &[Placed]) {
    let has_gateway = !c.tree.key(&format!("nodes/{}/gateway", node.name)).is_empty()
        && routes.first().is_some_and(|route| route.to.prefix_len() == 0);
    for (i, route) in routes.iter().enumerate() {
        let path = if has_gateway && i == 0 {
            format!("nodes/{}/gateway", node.name)
        } else {
            format!("nodes/{}/routes/{}/via", node.name, i - usize::from(has_gateway))
        };
        next_hop(c, &path, &format!("node {}", node.name), (&node.name, route.via), placed);
    }
}

/// A next hop lies in a subnet of the node, and somebody there has the address.
fn next_hop(c: &mut Context<'_>, path: &str, thing: &str, (node, via): (&str, IpAddr), placed: &[Placed]) {
    let at = c.value(path);
    let own: Vec<&Placed> = placed.iter().filter(|p| p.node == node).collect();
    let Some(way) = own.iter().find(|p| p.cidr.0.contains(&via)) else {
        let subnets: Vec<String> = own.iter().map(|p| p.cidr.0.trunc().to_string()).collect();
        let what = match subnets.as_slice() {
            [] => format!("{via} cannot be reached: {node} has no address"),
            _ => format!("{via} is outside the subnets of {node} ({})", subnets.join(", ")),
        };
        let wrong = Diagnostic::new(at, thing, what);
        let others: Vec<String> = candidates(placed, &own, node);
        let meant = closest(&via.to_string(), others.iter().map(String::as_str)).map(str::to_owned);
        let wrong = match meant {
            Some(meant) => wrong.hint(format!("did you mean {meant}?")),
            None => wrong,
        };
        return c.report(wrong);
    };
    if way.cidr.addr() == via {
        return c.wrong(at, thing, format!("{via} is {node}'s own address"));
    }
    let there = |p: &&Placed| p.segment == way.segment && p.cidr.addr() == via;
    if !placed.iter().any(|p| there(&p)) {
        let wrong = Diagnostic::new(at, thing, format!("nobody in its segment has the address {via}"));
        let others = candidates(placed, &own, node);
        let meant = closest(&via.to_string(), others.iter().map(String::as_str)).map(str::to_owned);
        c.report(match meant {
            Some(meant) => wrong.hint(format!("did you mean {meant}?")),
            None => wrong,
        });
    }
}

/// Addresses of others in the node's segments.
fn candidates(placed: &[Placed], own: &[&Placed], node: &str) -> Vec<String> {
    let near = |p: &&Placed| p.node != node && own.iter().any(|o| o.segment == p.segment);
    placed.iter().filter(near).map(|p| p.cidr.addr().to_string()).collect()
}
