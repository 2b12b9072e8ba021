//! Tests: the nodes and functions they name exist and can do what is asked of them.

use std::net::IpAddr;

use super::intents::check_function;
use super::{Context, units};
use crate::diagnostics::Diagnostic;
use crate::model::{Model, Node, NodeKind, Target, Test, TestKind};
use crate::spec::{TcpSpec, TestSpec};

pub(super) fn resolve(c: &mut Context<'_>, model: &Model) -> Vec<Test> {
    let specs = &c.spec.tests;
    let mut list = Vec::new();
    for (i, spec) in specs.iter().enumerate() {
        let (word, about) = match spec {
            TestSpec::Ping(spec) => ("ping", &spec.about),
            TestSpec::Tcp(spec) => ("tcp", &spec.about),
            TestSpec::Isolation(spec) => ("isolation", &spec.about),
            TestSpec::Path(spec) => ("path", &spec.about),
            TestSpec::Throughput(spec) => ("throughput", &spec.about),
        };
        let place = Place { path: format!("tests/{i}/{word}"), thing: format!("test {}, {word}", i + 1) };
        let kind = test(c, model, &place, spec);
        list.extend(kind.map(|kind| Test { about: about.clone(), kind }));
    }
    list
}

struct Place {
    path: String,
    thing: String,
}

fn test(c: &mut Context<'_>, model: &Model, place: &Place, spec: &TestSpec) -> Option<TestKind> {
    let path = |field: &str| format!("{}/{field}", place.path);
    match spec {
        TestSpec::Ping(s) => {
            let from = sender(c, model, place, &s.from, true);
            let to = target(c, model, place, &s.to);
            let count = s.count.unwrap_or(3);
            if !(1..=1000).contains(&count) {
                let at = c.value(&path("count"));
                c.wrong(at, &place.thing, format!("count {count}: 1 to 1000 are possible"));
            }
            Some(TestKind::Ping { from: from?, to: to?, count })
        }
        TestSpec::Tcp(s) => tcp(c, model, place, s),
        TestSpec::Isolation(s) => {
            let from = sender(c, model, place, &s.from, false);
            let to = host_target(c, model, place, &s.to);
            Some(TestKind::Isolation { from: from?, to: to? })
        }
        TestSpec::Path(s) => {
            let from = sender(c, model, place, &s.from, false);
            let to = host_target(c, model, place, &s.to);
            for (f, name) in s.through.iter().enumerate() {
                let at = c.value(&path(&format!("through/{f}")));
                check_function(c, model, at, &place.thing, name);
            }
            Some(TestKind::Path { from: from?, to: to?, through: s.through.clone() })
        }
        TestSpec::Throughput(s) => {
            let from = sender(c, model, place, &s.from, false);
            let to = host_target(c, model, place, &s.to);
            let at_least = s.at_least.as_deref().map_or(Some(1), units::bits_per_second);
            if at_least.is_none() {
                let what = format!("\"{}\" is not a rate", s.at_least.as_deref().unwrap_or_default());
                let wrong = Diagnostic::new(c.value(&path("at_least")), &place.thing, what);
                c.report(wrong.hint("write bits a second such as 500M or 2G"));
            }
            let seconds = s.seconds.unwrap_or(1);
            if !(1..=60).contains(&seconds) {
                let at = c.value(&path("seconds"));
                c.wrong(at, &place.thing, format!("seconds {seconds}: 1 to 60 are possible"));
            }
            Some(TestKind::Throughput { from: from?, to: to?, at_least: at_least?, seconds })
        }
    }
}

fn tcp(c: &mut Context<'_>, model: &Model, place: &Place, s: &TcpSpec) -> Option<TestKind> {
    let from = sender(c, model, place, &s.from, false);
    let to = target(c, model, place, &s.to);
    let port = s.port.unwrap_or(80);
    let server_port = s.server_port.unwrap_or(port);
    for (field, number) in [("port", port), ("server_port", server_port)] {
        if number == 0 {
            let at = c.value(&format!("{}/{field}", place.path));
            c.wrong(at, &place.thing, "port 0 cannot be connected to");
        }
    }
    let to = to?;
    let server = match (&s.server, &to.node) {
        (Some(name), _) => host(c, model, place, "server", name),
        (None, Some(node)) if model.node(node).is_some_and(|n| matches!(n.kind, NodeKind::Host(_))) => {
            Some(node.clone())
        }
        _ => {
            let at = c.value(&format!("{}/to", place.path));
            let missing = Diagnostic::new(at, &place.thing, format!("no host has the address of {to}"));
            c.report(missing.hint("name the host that runs the server: `server: HOST`"));
            None
        }
    };
    Some(TestKind::Tcp {
        from: from?,
        to,
        port,
        server: (server?, server_port),
        source: s.source,
        expect: s.expect,
    })
}

/// A node that can send. Guests only ping.
fn sender(c: &mut Context<'_>, model: &Model, place: &Place, name: &str, guests: bool) -> Option<String> {
    let node = known(c, model, place, "from", name)?;
    let able = match node.kind {
        NodeKind::Host(_) => true,
        NodeKind::Vm(_) => guests,
        _ => false,
    };
    if !able {
        let at = c.value(&format!("{}/from", place.path));
        let what = format!("a {} does not run this test", node.kind.word());
        let hint = if guests { "name a host or vm" } else { "name a host" };
        c.report(Diagnostic::new(at, &place.thing, what).hint(hint));
        return None;
    }
    Some(name.to_owned())
}

fn host(c: &mut Context<'_>, model: &Model, place: &Place, field: &str, name: &str) -> Option<String> {
    let node = known(c, model, place, field, name)?;
    if !matches!(node.kind, NodeKind::Host(_)) {
        let at = c.value(&format!("{}/{field}", place.path));
        let what = format!("node \"{name}\" is a {}, not a host", node.kind.word());
        c.wrong(at, &place.thing, what);
        return None;
    }
    Some(name.to_owned())
}

fn known<'m>(
    c: &mut Context<'_>,
    model: &'m Model,
    place: &Place,
    field: &str,
    name: &str,
) -> Option<&'m Node> {
    let node = model.node(name);
    if node.is_none() {
        let at = c.value(&format!("{}/{field}", place.path));
        let unknown = Diagnostic::new(at, &place.thing, format!("no node \"{name}\""));
        c.report(unknown.meant(name, model.nodes.iter().map(|node| node.name.as_str())));
    }
    node
}

fn host_target(c: &mut Context<'_>, model: &Model, place: &Place, name: &str) -> Option<Target> {
    host(c, model, place, "to", name)?;
    target(c, model, place, name)
}

/// A node's first address, or an address.
fn target(c: &mut Context<'_>, model: &Model, place: &Place, text: &str) -> Option<Target> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let node = model.owner(address).map(str::to_owned);
        return Some(Target { label: text.to_owned(), address, node });
    }
    let node = known(c, model, place, "to", text)?;
    let router = model.routers.iter().find(|router| router.name == text);
    let routed = router.and_then(|r| r.interfaces.iter().find_map(|i| i.all_addresses().next()));
    match model.address(text).or(routed.map(|cidr| cidr.addr())) {
        Some(address) => Some(Target { label: text.to_owned(), address, node: Some(node.name.clone()) }),
        None => {
            let at = c.value(&format!("{}/to", place.path));
            c.wrong(at, &place.thing, format!("{text} has no address"));
            None
        }
    }
}
