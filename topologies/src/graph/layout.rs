//! Where the boxes stand: rows by what a node is, in a row near its neighbours.

use crate::model::Model;

/// Sweeps over the rows; more change nothing visible.
const N_SWEEPS: usize = 8;

/// Nodes in rows from top to bottom, each from left to right.
pub(super) fn rows(model: &Model) -> Vec<Vec<usize>> {
    let n_nodes = model.nodes.len();
    let mut neighbours = vec![Vec::new(); n_nodes];
    for link in &model.links {
        neighbours[link.a.node].push(link.b.node);
        neighbours[link.b.node].push(link.a.node);
    }
    let engine = |node: usize| model.nodes[node].is_engine();
    // Engines among themselves on top, engines with something attached below, what is attached at the bottom.
    let row = |node: usize| match (engine(node), neighbours[node].iter().all(|n| engine(*n))) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    };
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); 3];
    for node in 0..n_nodes {
        rows[row(node)].push(node);
    }
    rows.retain(|row| !row.is_empty());
    for sweep in 0..N_SWEEPS {
        let spots = spots(&rows, n_nodes);
        let order: Vec<usize> =
            if sweep % 2 == 0 { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for row in order {
            let mut keyed: Vec<(f64, usize)> =
                rows[row].iter().map(|node| (barycentre(&neighbours[*node], &spots, *node), *node)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            rows[row] = keyed.into_iter().map(|(_, node)| node).collect();
        }
    }
    rows
}

/// Place of each node in its row, from 0 to 1.
fn spots(rows: &[Vec<usize>], n_nodes: usize) -> Vec<f64> {
    let mut spots = vec![0.5; n_nodes];
    for row in rows {
        for (i, node) in row.iter().enumerate() {
            spots[*node] = (i as f64 + 0.5) / row.len() as f64;
        }
    }
    spots
}

fn barycentre(neighbours: &[usize], spots: &[f64], own: usize) -> f64 {
    if neighbours.is_empty() {
        return spots[own];
    }
    neighbours.iter().map(|n| spots[*n]).sum::<f64>() / neighbours.len() as f64
}
