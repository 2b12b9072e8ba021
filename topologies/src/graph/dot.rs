//! Graphviz text.

use std::fmt::Write;

use super::{label, network_of};
use crate::model::{Model, NodeKind};

/// The topology for `dot -Tsvg`.
pub fn dot(model: &Model) -> String {
    let mut out = format!("graph {} {{\n", quoted(&model.name));
    out.push_str(
        "  node [fontname=\"sans-serif\", fontsize=11];\n  edge [fontname=\"sans-serif\", fontsize=9];\n",
    );
    for node in &model.nodes {
        let shape = match node.kind {
            NodeKind::Switch(_) => "box, style=filled, fillcolor=\"#dbe9ff\"",
            NodeKind::Router => "ellipse, style=filled, fillcolor=\"#ffe6cc\"",
            NodeKind::Host(_) => "box, style=rounded",
            NodeKind::Function(_) => "hexagon, style=filled, fillcolor=\"#e5f5df\"",
            NodeKind::Vm(_) => "box3d",
        };
        let label = label(model, node).join("\\n").replace('"', "\\\"");
        let _ = writeln!(out, "  {} [label=\"{label}\", shape={shape}];", quoted(&node.name));
    }
    for link in &model.links {
        let name = |idx: usize| quoted(&model.nodes[idx].name);
        let network = network_of(model, link).map(|n| format!(", label={}", quoted(n))).unwrap_or_default();
        let _ = writeln!(
            out,
            "  {} -- {} [taillabel={}, headlabel={}{network}];",
            name(link.a.node),
            name(link.b.node),
            quoted(&link.a.port),
            quoted(&link.b.port)
        );
    }
    out.push_str("}\n");
    out
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
