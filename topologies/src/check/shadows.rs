//! Shadows of routers: where they are, and under which names.

use controller_api::Router;
use netio::InterfaceName;

use super::Context;
use crate::diagnostics::Diagnostic;
use crate::model::{Model, NodeKind};

/// The namespace of a router's shadow: a host's of this topology, or another by path or process.
pub(super) fn resolve(
    c: &mut Context<'_>,
    model: &Model,
    (path, thing): (&str, &str),
    router: &Router,
) -> Option<String> {
    let shadow = router.shadow.as_deref()?;
    let is_loopback = |name: &str, port: Option<&String>| port.is_none() && name.starts_with("lo");
    for (n, interface) in router.interfaces.iter().enumerate() {
        if is_loopback(&interface.name, interface.port.as_ref()) {
            continue;
        }
        if let Err(error) = InterfaceName::new(&interface.name) {
            let at = c.value(&format!("{path}/interfaces/{n}/name"));
            let hint = "its shadow has the same name: give it another, and the old one as `port`";
            c.report(Diagnostic::new(at, thing, error.to_string()).hint(hint));
        }
    }
    if shadow.contains('/') || shadow.starts_with("pid:") {
        return Some(shadow.to_owned());
    }
    let hosts = model.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Host(_)));
    let hosts: Vec<&str> = hosts.map(|node| node.name.as_str()).collect();
    if hosts.contains(&shadow) {
        return Some(model.namespace(shadow));
    }
    let at = c.value(&format!("{path}/shadow"));
    let what = format!("no host \"{shadow}\", in whose namespace the routing daemons would run");
    let hint = format!("add `{shadow}: {{kind: host}}` to nodes, or give the path of a namespace");
    c.report(Diagnostic::new(at, thing, what).hint(hint).meant(shadow, hosts));
    None
}
