//! A topology as a picture: Graphviz text, or SVG by a layout of our own.

mod dot;
mod layout;
mod svg;

pub use dot::dot;
pub use svg::svg;

use crate::model::{Model, Node, NodeKind};

/// What stands in a node's box: its name and what tells it from others.
fn label(model: &Model, node: &Node) -> Vec<String> {
    let mut lines = vec![node.name.clone()];
    match &node.kind {
        NodeKind::Router => {
            let router = model.routers.iter().find(|router| router.name == node.name);
            let addresses =
                router.into_iter().flat_map(|r| r.interfaces.iter().flat_map(|i| i.all_addresses()));
            lines.extend(addresses.map(|cidr| cidr.to_string()));
        }
        NodeKind::Function(function) => lines.push(match &function.program {
            crate::model::Program::BuiltIn { function, .. } => format!("{function:?}").to_lowercase(),
            crate::model::Program::Exec(words) => words.first().cloned().unwrap_or_default(),
        }),
        _ => lines.extend(node.interfaces().iter().flat_map(|i| &i.addresses).map(|cidr| cidr.to_string())),
    }
    lines
}

/// The network a link's untagged frames belong to, if one is declared.
fn network_of<'m>(model: &'m Model, link: &crate::model::Link) -> Option<&'m str> {
    let is = |end: &crate::model::End, port: &controller_api::PortRef| {
        port.node == model.nodes[end.node].name && port.port.parse().ok() == end.number
    };
    let network = model.networks.iter().find(|n| n.ports.iter().any(|p| is(&link.a, p) || is(&link.b, p)));
    network.map(|network| network.name.as_str())
}
