//! Policies: their ends resolved to switch ports, their places told apart.

use std::collections::HashMap;

use controller_api::{Policy, PolicyProtocol};

use super::Context;
use super::intents::ends;
use crate::diagnostics::Diagnostic;
use crate::model::Model;
use crate::yaml::join;

/// The highest priority; above it is what always passes.
const HIGHEST: u16 = 65_533;

pub(super) fn resolve(c: &mut Context<'_>, model: &Model) -> Vec<Policy> {
    let mut priorities: HashMap<u16, usize> = HashMap::new();
    let mut list = Vec::new();
    for (i, spec) in c.spec.policies.iter().enumerate() {
        let path = join("policies", i);
        let thing = format!("policy {}", spec.name);
        check_priority(c, &path, &thing, spec.priority, priorities.get(&spec.priority).copied());
        priorities.entry(spec.priority).or_insert(i);
        check_ports(c, &path, &thing, spec);
        let mut policy = spec.clone();
        policy.from = ends(c, model, &join(&path, "from"), &thing, &spec.from);
        policy.to = ends(c, model, &join(&path, "to"), &thing, &spec.to);
        list.push(policy);
    }
    list
}

fn check_priority(c: &mut Context<'_>, path: &str, thing: &str, priority: u16, first: Option<usize>) {
    let at = c.value(&join(path, "priority"));
    if priority > HIGHEST {
        c.wrong(at, thing, format!("the highest priority is {HIGHEST}"));
    } else if let Some(first) = first {
        let note = c.value(&format!("policies/{first}/name"));
        let twice = Diagnostic::new(at, thing, format!("priority {priority} is used twice"));
        c.report(twice.note(note, "first used here").hint("give each policy a priority of its own"));
    }
}

fn check_ports(c: &mut Context<'_>, path: &str, thing: &str, spec: &Policy) {
    let has_ports = matches!(spec.protocol, Some(PolicyProtocol::Tcp | PolicyProtocol::Udp));
    if !spec.ports.is_empty() && !has_ports {
        let at = c.key(&join(path, "ports"));
        c.report(Diagnostic::new(at, thing, "only tcp and udp have ports").hint("write `protocol: tcp`"));
    }
    for (i, _) in spec.ports.iter().enumerate().filter(|(_, port)| **port == 0) {
        let at = c.value(&format!("{path}/ports/{i}"));
        c.wrong(at, thing, "0 is not a port: 1 to 65535");
    }
}
