//! Ways: their ends resolved to switch ports, the switches on them to switches.

use std::collections::HashMap;

use controller_api::Path;

use super::Context;
use super::intents::{end, switch_port};
use crate::diagnostics::Diagnostic;
use crate::model::{Model, Node, NodeKind};
use crate::yaml::join;

pub(super) fn resolve(c: &mut Context<'_>, model: &Model) -> Vec<Path> {
    let mut first: HashMap<(String, String), usize> = HashMap::new();
    let mut list = Vec::new();
    for (i, spec) in c.spec.paths.iter().enumerate() {
        let at = join("paths", i);
        let thing = format!("path {}", spec.name);
        let from = one_end(c, model, (&join(&at, "from"), &thing), &spec.from);
        let to = one_end(c, model, (&join(&at, "to"), &thing), &spec.to);
        for (field, names) in [("via", &spec.via), ("avoid", &spec.avoid)] {
            for (n, name) in names.iter().enumerate() {
                check_switch(c, model, (&format!("{at}/{field}/{n}"), &thing), name);
            }
        }
        check_order(c, (&at, &thing), spec);
        let mut path = spec.clone();
        path.avoid_links.clear();
        for (n, port) in spec.avoid_links.iter().enumerate() {
            let own = format!("{at}/avoid_links/{n}");
            path.avoid_links.extend(switch_port(c, model, &own, &thing, port));
        }
        if let (Some(from), Some(to)) = (from, to) {
            let back = spec.symmetric.then(|| (to.clone(), from.clone()));
            for ends in [(from.clone(), to.clone())].into_iter().chain(back) {
                once(c, &mut first, (i, &thing), ends);
            }
            (path.from, path.to) = (from, to);
        }
        list.push(path);
    }
    list
}

/// Two ways do not lead from one port to another, nor one to where it begins.
fn once(
    c: &mut Context<'_>,
    first: &mut HashMap<(String, String), usize>,
    (i, thing): (usize, &str),
    ends: (String, String),
) {
    let at = c.value(&format!("paths/{i}/to"));
    if ends.0 == ends.1 {
        c.wrong(at, thing, format!("{} is at both ends", ends.0));
    } else if let Some(other) = first.get(&ends).filter(|other| **other != i) {
        let note = c.value(&format!("paths/{other}/name"));
        let what = format!("a path leads from {} to {} already", ends.0, ends.1);
        c.report(Diagnostic::new(at, thing, what).note(note, "this one"));
    }
    first.entry(ends).or_insert(i);
}

/// An end is one port.
pub(super) fn one_end(
    c: &mut Context<'_>,
    model: &Model,
    (at, thing): (&str, &str),
    written: &str,
) -> Option<String> {
    let ports = end(c, model, at, thing, written);
    if ports.len() > 1 {
        let many = Diagnostic::new(c.value(at), thing, format!("{written} has {} ports", ports.len()));
        c.report(many.hint(format!("name one of them: {}", ports.join(", "))));
        return None;
    }
    ports.into_iter().next()
}

fn check_switch(c: &mut Context<'_>, model: &Model, (at, thing): (&str, &str), name: &str) {
    let is_switch = |node: &&Node| matches!(node.kind, NodeKind::Switch(_));
    let what = match model.node(name) {
        Some(node) if is_switch(&node) => return,
        Some(node) => format!("node \"{name}\" is a {}, not a switch", node.kind.word()),
        None => format!("no switch \"{name}\""),
    };
    let known = model.nodes.iter().filter(is_switch).map(|node| node.name.as_str());
    c.report(Diagnostic::new(c.value(at), thing, what).meant(name, known));
}

fn check_order(c: &mut Context<'_>, (at, thing): (&str, &str), spec: &Path) {
    for (n, name) in spec.via.iter().enumerate() {
        let own = c.value(&format!("{at}/via/{n}"));
        if spec.avoid.contains(name) {
            c.wrong(own.clone(), thing, format!("switch {name} is to be avoided, too"));
        }
        if spec.via[..n].contains(name) {
            c.wrong(own, thing, format!("switch {name} stands twice in the way"));
        }
    }
}
