//! Crates depend on each other only where the design says so.

use super::Finding;
use super::table::EDGES;
use crate::metadata::Package;

/// Every dependency of every kind between crates of ours must be in the table, and every crate must have a row.
pub fn check<'a>(members: impl Iterator<Item = &'a Package>) -> Vec<Finding> {
    members.flat_map(check_member).collect()
}

fn check_member(package: &Package) -> Vec<Finding> {
    let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
        let text = "has no row in the table of edges (xtask/src/tidy/table.rs)";
        return vec![Finding::error(&package.name, text)];
    };
    let is_ours = |name: &str| EDGES.iter().any(|(ours, _)| *ours == name);
    let names = package.dependencies.iter().map(|dependency| dependency.name.as_str());
    let forbidden = names.filter(|name| is_ours(name) && !allowed.contains(name) && *name != package.name);
    forbidden
        .map(|name| {
            Finding::error(&package.name, format!("must not depend on {name}: not an edge of the design"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|name| Dependency { name: (*name).to_owned() }).collect();
        Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            license: None,
            source: None,
            manifest_path: name.into(),
            dependencies,
            targets: Vec::new(),
        }
    }

    #[test]
    fn an_edge_of_the_design_passes() {
        assert_eq!(check([package("openflow", &["packet", "bytes"])].iter()), []);
    }

    #[test]
    fn another_edge_fails() {
        let found = check([package("packet", &["netio"])].iter());
        assert_eq!(found, [Finding::error("packet", "must not depend on netio: not an edge of the design")]);
    }

    #[test]
    fn a_crate_without_a_row_fails() {
        assert_eq!(check([package("newcomer", &[])].iter()).len(), 1);
    }
}
