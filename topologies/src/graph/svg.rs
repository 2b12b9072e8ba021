//! SVG, drawn by our own layout: no Graphviz needed.

use std::fmt::Write;

use super::layout::rows;
use super::{label, network_of};
use crate::model::{Model, NodeKind};

const BOX_WIDTH: f64 = 120.0;
const BOX_HEIGHT: f64 = 58.0;
const GAP: f64 = 28.0;
const ROW: f64 = 150.0;
const MARGIN: f64 = 30.0;
const NETWORK_COLOURS: [&str; 6] = ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#bf3989"];

/// The topology as an SVG document.
pub fn svg(model: &Model) -> String {
    let rows = rows(model);
    let widest = rows.iter().map(Vec::len).max().unwrap_or(1) as f64;
    let width = 2.0 * MARGIN + widest * BOX_WIDTH + (widest - 1.0) * GAP;
    let height = 2.0 * MARGIN + (rows.len() as f64 - 1.0) * ROW + BOX_HEIGHT;
    let mut centres = vec![(0.0, 0.0); model.nodes.len()];
    for (r, row) in rows.iter().enumerate() {
        for (i, node) in row.iter().enumerate() {
            let x = MARGIN + (width - 2.0 * MARGIN) * (i as f64 + 0.5) / row.len() as f64;
            centres[*node] = (x, MARGIN + BOX_HEIGHT / 2.0 + r as f64 * ROW);
        }
    }
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escape(&model.name)
    );
    links(model, &centres, &mut out);
    for (idx, (x, y)) in centres.iter().enumerate() {
        node(model, idx, (*x, *y), &mut out);
    }
    out.push_str("</svg>\n");
    out
}

fn links(model: &Model, centres: &[(f64, f64)], out: &mut String) {
    for link in &model.links {
        let ((ax, ay), (bx, by)) = (centres[link.a.node], centres[link.b.node]);
        let network = network_of(model, link);
        let index = network.and_then(|name| model.networks.iter().position(|n| n.name == name));
        let colour = index.map_or("#57606a", |i| NETWORK_COLOURS[i % NETWORK_COLOURS.len()]);
        // Links of one row bow, so that they do not run through the boxes between.
        let bow = if (ay - by).abs() < 1.0 { -70.0 } else { 0.0 };
        let (mx, my) = ((ax + bx) / 2.0, (ay + by) / 2.0 + bow);
        let _ = writeln!(
            out,
            "<path d=\"M{ax:.1} {ay:.1} Q{mx:.1} {my:.1} {bx:.1} {by:.1}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"1.6\"><title>{}:{} -- {}:{}{}</title></path>",
            escape(&model.nodes[link.a.node].name),
            escape(&link.a.port),
            escape(&model.nodes[link.b.node].name),
            escape(&link.b.port),
            network.map(|n| format!(" ({})", escape(n))).unwrap_or_default()
        );
        for (end, from, to) in [(&link.a, (ax, ay), (bx, by)), (&link.b, (bx, by), (ax, ay))] {
            let (x, y) = (from.0 + (to.0 - from.0) * 0.3, from.1 + (to.1 - from.1) * 0.3 + bow * 0.42);
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"9\" fill=\"#57606a\" \
                 stroke=\"#ffffff\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
                escape(&end.port)
            );
        }
    }
}

fn node(model: &Model, idx: usize, (x, y): (f64, f64), out: &mut String) {
    let node = &model.nodes[idx];
    let (fill, corner) = match node.kind {
        NodeKind::Switch(_) => ("#dbe9ff", 4.0),
        NodeKind::Router => ("#ffe6cc", BOX_HEIGHT / 2.0),
        NodeKind::Host(_) => ("#f6f8fa", 10.0),
        NodeKind::Function(_) => ("#e5f5df", 10.0),
        NodeKind::Vm(_) => ("#f2e8ff", 4.0),
    };
    let (left, top) = (x - BOX_WIDTH / 2.0, y - BOX_HEIGHT / 2.0);
    let _ = writeln!(
        out,
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"{corner}\" \
         fill=\"{fill}\" stroke=\"#424a53\"/>"
    );
    let mut lines = label(model, node);
    lines.truncate(3);
    lines.insert(1, node.kind.word().to_owned());
    let first = y - (lines.len() as f64 - 1.0) * 6.5 + 4.0;
    for (i, line) in lines.iter().enumerate() {
        let style = if i == 0 { " font-weight=\"bold\" font-size=\"13\"" } else { " fill=\"#424a53\"" };
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\"{style}>{}</text>",
            first + i as f64 * 13.0,
            escape(line)
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_example_is_drawn_with_all_its_nodes_and_links() {
        for (name, text) in crate::EXAMPLES {
            let model = crate::parse(name, text, Path::new("")).expect("an example");
            let svg = super::svg(&model);
            let dot = crate::graph::dot(&model);
            assert_eq!(svg.matches("<path").count(), model.links.len());
            assert_eq!(dot.matches(" -- ").count(), model.links.len());
            for node in &model.nodes {
                assert!(svg.contains(&format!(">{}</text>", node.name)), "{name}: {}", node.name);
            }
            let boxes = svg.matches("<rect x=").count();
            assert_eq!(boxes, model.nodes.len());
        }
    }
}
