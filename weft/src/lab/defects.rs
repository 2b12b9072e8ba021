//! What is broken in a lab that runs: what its topology says and is not there.

use std::collections::BTreeMap;

use controller_api::Stats;
use topology::{Layout, Model, Operation, plan};

/// What is wrong with nodes, by name, for people.
pub type Defects = BTreeMap<String, Vec<String>>;

/// Compares the ports that a lab was given with those that its switches and routers have.
pub fn find(model: &Model, layout: Layout, counted: &BTreeMap<String, Stats>) -> Defects {
    let mut defects = Defects::new();
    for operation in plan(model, layout) {
        match &operation {
            Operation::AddPort { engine, name, spec, .. } => {
                if let Some(state) = state(counted, engine, name) {
                    let device = spec.split(',').next().unwrap_or_default();
                    note(&mut defects, engine, format!("port {name} ({device}) {state}"));
                    if let Some((node, interface)) = owner(model, device) {
                        note(&mut defects, node, format!("interface {interface} {state}"));
                    }
                }
            }
            Operation::JoinEngines { a, b, .. } => {
                for (end, far) in [(a, b), (b, a)] {
                    if let Some(state) = state(counted, &end.0, &end.2) {
                        note(&mut defects, &end.0, format!("port {} (to {}) {state}", end.2, far.0));
                    }
                }
            }
            _ => {}
        }
    }
    defects
}

fn note(defects: &mut Defects, node: &str, text: String) {
    defects.entry(node.to_owned()).or_default().push(text);
}

/// What is wrong with a port; nothing of an engine that does not answer: that is told by itself.
fn state(counted: &BTreeMap<String, Stats>, engine: &str, name: &str) -> Option<&'static str> {
    let stats = counted.get(engine)?;
    match stats.ports.iter().find(|port| port.name == name) {
        None => Some("is gone"),
        Some(port) if !port.up => Some("is down"),
        Some(_) => None,
    }
}

/// Whose interface a device is.
fn owner<'m>(model: &'m Model, device: &'m str) -> Option<(&'m str, &'m str)> {
    let (namespace, interface) = device.strip_prefix("netns:")?.split_once('/')?;
    let node = model.nodes.iter().find(|node| model.namespace(&node.name) == namespace)?;
    Some((&node.name, interface))
}
