//! Networks, routers, functions and chains: every reference resolved to a switch port.

use std::collections::HashMap;
use std::ops::Range;

use controller_api::{Chain, Function, Mac, Network, PortRef, Reservation, Router};
use packet::VlanId;

use super::{Context, shadows};
use crate::diagnostics::Diagnostic;
use crate::model::{End, Model, Node, NodeKind};
use crate::yaml::join;

pub(super) fn resolve(c: &mut Context<'_>, model: &mut Model) {
    unique_names(c, "networks", "network", c.spec.networks.iter().map(|n| n.name.as_str()));
    unique_names(c, "routers", "router", c.spec.routers.iter().map(|r| r.name.as_str()));
    unique_names(c, "chains", "chain", c.spec.chains.iter().map(|chain| chain.name.as_str()));
    unique_names(c, "policies", "policy", c.spec.policies.iter().map(|policy| policy.name.as_str()));
    unique_names(c, "paths", "path", c.spec.paths.iter().map(|path| path.name.as_str()));
    let balancers = c.spec.balancers.iter().map(|balancer| balancer.name.as_str());
    unique_names(c, "balancers", "balancer", balancers);
    unique_names(c, "tenants", "tenant", c.spec.tenants.iter().map(|tenant| tenant.name.as_str()));
    unique_names(c, "mirrors", "mirror", c.spec.mirrors.iter().map(|mirror| mirror.name.as_str()));
    unique_names(c, "qos", "qos", c.spec.qos.iter().map(|qos| qos.name.as_str()));
    model.networks = networks(c, model);
    model.routers = routers(c, model);
    model.functions = functions(model);
    model.chains = chains(c, model);
    model.policies = super::policies::resolve(c, model);
    model.qos = super::qos::resolve(c, model);
    model.paths = super::paths::resolve(c, model);
    model.mirrors = super::mirrors::resolve(c, model);
    model.balancers = super::balancers::resolve(c, model);
    model.tenants = c.spec.tenants.clone();
    for (i, tenant) in c.spec.tenants.iter().enumerate() {
        let (path, thing) = (join("tenants", i), format!("tenant {}", tenant.name));
        super::qos::check_rate(c, &path, &thing, (tenant.rate, tenant.burst));
    }
}

fn unique_names<'a>(c: &mut Context<'_>, section: &str, word: &str, names: impl Iterator<Item = &'a str>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, name) in names.enumerate() {
        let at = c.value(&format!("{section}/{i}/name"));
        if name.is_empty() {
            c.wrong(at.clone(), word, "the name is empty");
        }
        if let Some(first) = seen.get(name) {
            let note = c.value(&format!("{section}/{first}/name"));
            let twice = Diagnostic::new(at, format!("{word} {name}"), "the name is used twice");
            c.report(twice.note(note, "first used here"));
        }
        seen.entry(name).or_insert(i);
    }
}

fn networks(c: &mut Context<'_>, model: &Model) -> Vec<Network> {
    let mut vlans: HashMap<u16, usize> = HashMap::new();
    let mut access: HashMap<PortRef, (String, Range<usize>)> = HashMap::new();
    let mut trunks: Vec<(PortRef, String, Range<usize>)> = Vec::new();
    let mut list = Vec::new();
    for (i, spec) in c.spec.networks.iter().enumerate() {
        let path = join("networks", i);
        let thing = format!("network {}", spec.name);
        check_vlan(c, &join(&path, "vlan"), &thing, spec.vlan);
        if let Some(first) = vlans.get(&spec.vlan) {
            let note = c.value(&format!("networks/{first}/vlan"));
            let at = c.value(&join(&path, "vlan"));
            let twice = Diagnostic::new(at, thing.clone(), format!("vlan {} is used twice", spec.vlan));
            c.report(twice.note(note, "first used here").hint("give each network a VLAN id of its own"));
        }
        vlans.entry(spec.vlan).or_insert(i);
        let mut network = Network { ports: Vec::new(), trunks: Vec::new(), ..spec.clone() };
        for (p, reference) in spec.ports.iter().enumerate() {
            let path = format!("{path}/ports/{p}");
            let Some(port) = switch_port(c, model, &path, &thing, reference) else { continue };
            let at = c.value(&path);
            if let Some((other, first)) = access.get(&port) {
                let what = format!("{reference} is an access port of network {other} already");
                c.report(Diagnostic::new(at.clone(), thing.clone(), what).note(first.clone(), "here"));
            }
            access.insert(port.clone(), (spec.name.clone(), at));
            network.ports.push(port);
        }
        for (p, reference) in spec.trunks.iter().enumerate() {
            let path = format!("{path}/trunks/{p}");
            let Some(port) = switch_port(c, model, &path, &thing, reference) else { continue };
            trunks.push((port.clone(), thing.clone(), c.value(&path)));
            network.trunks.push(port);
        }
        for (r, reservation) in network.hosts.iter_mut().enumerate() {
            let path = format!("{path}/hosts/{r}/port");
            if let Some(port) = switch_port(c, model, &path, &thing, &reservation.port) {
                reservation.port = port;
            }
        }
        declare_hosts(model, &mut network);
        list.push(network);
    }
    for (port, thing, at) in trunks {
        if let Some((network, first)) = access.get(&port) {
            let what = format!("{port} cannot be a trunk: it is an access port of network {network}");
            c.report(Diagnostic::new(at, thing, what).note(first.clone(), "access port here"));
        }
    }
    list
}

/// Tells the network who is plugged into its access ports, so that flows to them are there before they speak.
fn declare_hosts(model: &Model, network: &mut Network) {
    for port in &network.ports {
        let number = port.port.parse().ok();
        let is_port = |end: &End| model.nodes[end.node].name == port.node && end.number == number;
        let peer = model.links.iter().find_map(|link| match (is_port(&link.a), is_port(&link.b)) {
            (true, _) => Some(&link.b),
            (_, true) => Some(&link.a),
            _ => None,
        });
        let Some(peer) = peer else { continue };
        let interfaces = model.nodes[peer.node].interfaces();
        let Some(interface) = interfaces.iter().find(|interface| interface.name == peer.port) else {
            continue;
        };
        let mac = Mac(interface.mac.0);
        if !network.hosts.iter().any(|host| host.mac == mac) {
            let addresses = interface.addresses.iter().map(|cidr| cidr.addr()).collect();
            network.hosts.push(Reservation { port: port.clone(), mac, addresses });
        }
    }
}

fn check_vlan(c: &mut Context<'_>, path: &str, thing: &str, vlan: u16) {
    if VlanId::new(vlan).is_err() {
        let at = c.value(path);
        c.wrong(at, thing, format!("vlan {vlan}: 1 to 4094 are possible"));
    }
}

/// The switch port that is meant: given itself, or by the interface plugged into it.
pub(super) fn switch_port(
    c: &mut Context<'_>,
    model: &Model,
    path: &str,
    thing: &str,
    reference: &PortRef,
) -> Option<PortRef> {
    let (node, port) = (&reference.node, &reference.port);
    let Some(idx) = model.nodes.iter().position(|n| n.name == *node) else {
        let at = c.part(path, 0, node.len());
        let unknown = Diagnostic::new(at, thing, format!("no node \"{node}\""));
        c.report(unknown.meant(node, model.nodes.iter().map(|n| n.name.as_str())));
        return None;
    };
    let at = c.part(path, node.len() + 1, port.len());
    let ends = || model.links.iter().flat_map(|link| [(&link.a, &link.b), (&link.b, &link.a)]);
    let same = |end: &End| {
        end.node == idx && (end.port == *port || end.number.is_some() && end.number == port.parse().ok())
    };
    let Some((here, there)) = ends().find(|(here, _)| same(here)) else {
        let unknown = Diagnostic::new(at, thing, format!("nothing is plugged into {reference}"));
        c.report(unknown.meant(port, ends().filter(|(e, _)| e.node == idx).map(|(e, _)| e.port.as_str())));
        return None;
    };
    let is_switch = |end: &End| matches!(model.nodes[end.node].kind, NodeKind::Switch(_));
    let end = if is_switch(here) { here } else { there };
    if !is_switch(end) {
        c.wrong(at, thing, format!("{reference} is not plugged into a switch"));
        return None;
    }
    end.number.map(|number| PortRef::new(&model.nodes[end.node].name, number))
}

fn routers(c: &mut Context<'_>, model: &Model) -> Vec<Router> {
    let mut list = Vec::new();
    for (i, spec) in c.spec.routers.iter().enumerate() {
        let path = join("routers", i);
        let thing = format!("router {}", spec.name);
        let Some(idx) = router_node(c, model, &join(&path, "name"), &thing, &spec.name) else { continue };
        let mut router = spec.clone();
        for (n, interface) in router.interfaces.iter_mut().enumerate() {
            let path = format!("{path}/interfaces/{n}");
            interface_of(c, model, (&path, &thing), idx, interface);
        }
        router.shadow = shadows::resolve(c, model, (&path, &thing), spec);
        duplicate_interfaces(c, &path, spec);
        references(c, &path, &thing, spec);
        list.push(router);
    }
    for node in &model.nodes {
        let configured = c.spec.routers.iter().any(|router| router.name == node.name);
        if matches!(node.kind, NodeKind::Router) && !configured {
            let at = c.key(&join("nodes", &node.name));
            let missing =
                Diagnostic::new(at, format!("node {}", node.name), "the router has no configuration");
            let hint = format!(
                "add `- {{name: {}, interfaces: [{{name: PORT, address: ...}}]}}` to routers",
                node.name
            );
            c.report(missing.hint(hint));
        }
    }
    list
}

fn router_node(c: &mut Context<'_>, model: &Model, path: &str, thing: &str, name: &str) -> Option<usize> {
    let is_router = |node: &&Node| matches!(node.kind, NodeKind::Router);
    let idx = model.nodes.iter().position(|node| node.name == name && is_router(&node));
    if idx.is_none() {
        let what = match model.node(name) {
            Some(node) => format!("node \"{name}\" is a {}, not a router", node.kind.word()),
            None => format!("no node \"{name}\""),
        };
        let unknown = Diagnostic::new(c.value(path), thing, what);
        let routers = model.nodes.iter().filter(is_router).map(|node| node.name.as_str());
        c.report(unknown.meant(name, routers));
    }
    idx
}

fn interface_of(
    c: &mut Context<'_>,
    model: &Model,
    (path, thing): (&str, &str),
    router: usize,
    interface: &mut controller_api::RouterInterface,
) {
    if let Some(vlan) = interface.vlan {
        check_vlan(c, &join(path, "vlan"), thing, vlan);
    }
    if let Some(vlan) = interface.inner_vlan {
        check_vlan(c, &join(path, "inner_vlan"), thing, vlan);
    }
    if let Some(name) = &interface.network
        && !c.spec.networks.iter().any(|network| network.name == *name)
    {
        let unknown =
            Diagnostic::new(c.value(&join(path, "network")), thing, format!("no network \"{name}\""));
        c.report(unknown.meant(name, c.spec.networks.iter().map(|network| network.name.as_str())));
    }
    let ends = || model.links.iter().flat_map(|link| [(&link.a, &link.b), (&link.b, &link.a)]);
    let port = interface.port_name().to_owned();
    let Some((_, peer)) = ends().find(|(here, _)| here.node == router && here.port == port) else {
        let field = if interface.port.is_some() { "port" } else { "name" };
        let at = c.value(&join(path, field));
        let unknown = Diagnostic::new(at, thing, format!("nothing is plugged into port \"{port}\""));
        c.report(
            unknown.meant(&port, ends().filter(|(e, _)| e.node == router).map(|(e, _)| e.port.as_str())),
        );
        return;
    };
    let peer_node = &model.nodes[peer.node];
    if let (NodeKind::Switch(_), Some(number)) = (&peer_node.kind, peer.number) {
        interface.attachment = Some(PortRef::new(&peer_node.name, number));
    }
}

fn duplicate_interfaces(c: &mut Context<'_>, path: &str, router: &Router) {
    let thing = format!("router {}", router.name);
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut places: HashMap<(&str, Option<u16>, Option<u16>), usize> = HashMap::new();
    for (n, interface) in router.interfaces.iter().enumerate() {
        let at = c.value(&format!("{path}/interfaces/{n}/name"));
        let here = |first: &usize| format!("{path}/interfaces/{first}/name");
        if let Some(first) = names.get(interface.name.as_str()) {
            let what = format!("interface \"{}\" is written twice", interface.name);
            c.report(
                Diagnostic::new(at.clone(), thing.clone(), what).note(c.value(&here(first)), "first here"),
            );
        } else if let Some(first) = places.get(&(interface.port_name(), interface.vlan, interface.inner_vlan))
        {
            let what = format!("interface \"{}\" has port and VLAN of another", interface.name);
            c.report(Diagnostic::new(at, thing.clone(), what).note(c.value(&here(first)), "of this one"));
        }
        names.entry(&interface.name).or_insert(n);
        places.entry((interface.port_name(), interface.vlan, interface.inner_vlan)).or_insert(n);
    }
}

/// Interfaces named by routes, address translation and firewall.
fn references(c: &mut Context<'_>, path: &str, thing: &str, router: &Router) {
    let mut named: Vec<(String, &str)> = Vec::new();
    for (n, route) in router.routes.iter().enumerate() {
        if let Some(dev) = &route.dev {
            named.push((format!("{path}/routes/{n}/dev"), dev));
        }
        for (hop, next) in route.next_hops.iter().enumerate() {
            if let Some(dev) = &next.dev {
                named.push((format!("{path}/routes/{n}/next_hops/{hop}/dev"), dev));
            }
        }
        let leads = route.via.is_some()
            || route.dev.is_some()
            || route.to_vrf.is_some()
            || !route.next_hops.is_empty();
        if !leads && route.kind == controller_api::RouteType::Unicast {
            let at = c.key(&format!("{path}/routes/{n}"));
            let missing = Diagnostic::new(at, thing, format!("the route to {} goes nowhere", route.to));
            c.report(missing.hint("give it `via: ADDRESS`, `dev: INTERFACE` or `type: blackhole`"));
        }
    }
    for (n, masquerade) in router.nat.masquerade.iter().enumerate() {
        named.push((format!("{path}/nat/masquerade/{n}/out"), &masquerade.out));
    }
    for (n, forward) in router.nat.port_forwards.iter().enumerate() {
        named.push((format!("{path}/nat/port_forwards/{n}/in"), &forward.interface));
        if forward.port == 0 || forward.to.0.port() == 0 {
            let at = c.value(&format!("{path}/nat/port_forwards/{n}"));
            c.wrong(at, thing, "port 0 cannot be forwarded");
        }
    }
    for (n, rule) in router.nat.one_to_one.iter().enumerate() {
        named.push((format!("{path}/nat/one_to_one/{n}/interface"), &rule.interface));
    }
    for (n, rule) in router.nat.reserve.iter().enumerate() {
        named.push((format!("{path}/nat/reserve/{n}/interface"), &rule.interface));
    }
    for (n, rule) in router.nat.redirects.iter().enumerate() {
        named.push((format!("{path}/nat/redirects/{n}/in"), &rule.interface));
    }
    for (n, rule) in router.policy_routes.iter().enumerate() {
        named.extend(rule.input.iter().map(|name| (format!("{path}/policy_routes/{n}/in"), name.as_str())));
    }
    served(path, router, &mut named);
    for (n, rule) in router.firewall.iter().enumerate() {
        let fields = [("in", &rule.input), ("out", &rule.out)];
        for (field, name) in fields.into_iter().filter_map(|(f, name)| Some((f, name.as_deref()?))) {
            named.push((format!("{path}/firewall/{n}/{field}"), name));
        }
    }
    for (path, name) in named {
        if !router.interfaces.iter().any(|i| i.name == name) {
            let unknown = Diagnostic::new(c.value(&path), thing, format!("no interface \"{name}\""));
            c.report(unknown.meant(name, router.interfaces.iter().map(|i| i.name.as_str())));
        }
    }
}

/// Interfaces named by services and static neighbours.
fn served<'a>(path: &str, router: &'a Router, named: &mut Vec<(String, &'a str)>) {
    for (n, neighbour) in router.neighbours.iter().enumerate() {
        named.push((format!("{path}/neighbours/{n}/interface"), &neighbour.interface));
    }
    for (n, pool) in router.dhcp.iter().enumerate() {
        named.push((format!("{path}/dhcp/{n}/interface"), &pool.interface));
    }
    for (n, relay) in router.dhcp_relays.iter().enumerate() {
        named.push((format!("{path}/dhcp_relays/{n}/interface"), &relay.interface));
    }
    for (n, name) in router.dns.iter().flat_map(|dns| dns.interfaces.iter().enumerate()) {
        named.push((format!("{path}/dns/interfaces/{n}"), name.as_str()));
    }
}

/// Function nodes as the controller knows them.
fn functions(model: &Model) -> Vec<Function> {
    let port = |idx: usize, name: &str| {
        model.links.iter().find_map(|link| {
            let (here, there) = if link.a.node == idx { (&link.a, &link.b) } else { (&link.b, &link.a) };
            let number = (here.node == idx && here.port == name).then_some(there.number)??;
            Some(PortRef::new(&model.nodes[there.node].name, number))
        })
    };
    let nodes = model.nodes.iter().enumerate();
    nodes
        .filter(|(_, node)| matches!(node.kind, NodeKind::Function(_)))
        .filter_map(|(idx, node)| {
            Some(Function { name: node.name.clone(), ingress: port(idx, "in")?, egress: port(idx, "out")? })
        })
        .collect()
}

fn chains(c: &mut Context<'_>, model: &Model) -> Vec<Chain> {
    let mut list = Vec::new();
    for (i, spec) in c.spec.chains.iter().enumerate() {
        let path = join("chains", i);
        let thing = format!("chain {}", spec.name);
        let mut chain = spec.clone();
        for (field, written) in [("from", &spec.from), ("to", &spec.to)] {
            if written.is_empty() {
                let at = c.key(&join(&path, field));
                c.wrong(at, &thing, "an end of the chain is empty");
            }
        }
        chain.from = ends(c, model, &join(&path, "from"), &thing, &spec.from);
        chain.to = ends(c, model, &join(&path, "to"), &thing, &spec.to);
        if spec.functions.is_empty() {
            let at = c.key(&join(&path, "functions"));
            c.wrong(at, thing.clone(), "it names no function");
        }
        for (f, name) in spec.functions.iter().enumerate() {
            let at = c.value(&format!("{path}/functions/{f}"));
            check_function(c, model, at.clone(), &thing, name);
            if spec.functions[..f].contains(name) {
                c.wrong(at, thing.clone(), format!("\"{name}\" stands twice in the chain"));
            }
        }
        list.push(chain);
    }
    list
}

pub(super) fn check_function(c: &mut Context<'_>, model: &Model, at: Range<usize>, thing: &str, name: &str) {
    if model.functions.iter().any(|function| function.name == name) {
        return;
    }
    let what = match model.node(name) {
        Some(node) => format!("node \"{name}\" is a {}, not a function", node.kind.word()),
        None => format!("no function \"{name}\""),
    };
    let known = model.functions.iter().map(|function| function.name.as_str());
    c.report(Diagnostic::new(at, thing, what).meant(name, known));
}

/// Ends of a chain or policy: names of nodes or ports of switches, as ports of switches.
pub(super) fn ends(
    c: &mut Context<'_>,
    model: &Model,
    path: &str,
    thing: &str,
    written: &[String],
) -> Vec<String> {
    let each = written.iter().enumerate();
    each.flat_map(|(i, text)| end(c, model, &join(path, i), thing, text)).collect()
}

/// One of them. A node may have several ports.
pub(super) fn end(c: &mut Context<'_>, model: &Model, path: &str, thing: &str, text: &str) -> Vec<String> {
    if let Ok(reference) = text.parse::<PortRef>() {
        let port = switch_port(c, model, path, thing, &reference);
        return port.into_iter().map(|port| port.to_string()).collect();
    }
    let Some(idx) = model.nodes.iter().position(|node| node.name == *text) else {
        let unknown = Diagnostic::new(c.value(path), thing, format!("no node \"{text}\""));
        c.report(unknown.meant(text, model.nodes.iter().map(|node| node.name.as_str())));
        return Vec::new();
    };
    let peers = model.links.iter().filter_map(|link| link.peer_of(idx));
    let ports: Vec<String> = peers
        .filter_map(|end| match (&model.nodes[end.node].kind, end.number) {
            (NodeKind::Switch(_), Some(number)) => Some(format!("{}:{number}", model.nodes[end.node].name)),
            _ => None,
        })
        .collect();
    if ports.is_empty() {
        let at = c.value(path);
        c.wrong(at, thing, format!("{text} is not plugged into a switch"));
    }
    ports
}
