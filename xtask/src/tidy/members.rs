//! Every crate of ours explains itself and takes the workspace's lints.

use std::fs;

use super::Finding;
use crate::metadata::Package;

/// Looks at each crate's README.md and Cargo.toml.
pub fn check<'a>(members: impl Iterator<Item = &'a Package>) -> Vec<Finding> {
    members
        .flat_map(|package| {
            let dir = package.manifest_path.parent().expect("a manifest lies in a folder");
            let readme = fs::read_to_string(dir.join("README.md")).ok();
            let manifest = fs::read_to_string(&package.manifest_path).unwrap_or_default();
            check_one(&package.name, readme.as_deref(), &manifest)
        })
        .collect()
}

fn check_one(name: &str, readme: Option<&str>, manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    match readme {
        None => findings.push(Finding::error(name, "has no README.md")),
        Some(text) if !text.to_lowercase().contains("never") => {
            findings.push(Finding::warning(name, "README.md does not say what the crate must never know"));
        }
        Some(_) => {}
    }
    if !manifest.contains("[lints]\nworkspace = true") {
        findings.push(Finding::error(name, "Cargo.toml does not take the workspace's lints"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[lints]\nworkspace = true\n";

    #[test]
    fn a_crate_without_a_readme_fails() {
        assert_eq!(check_one("packet", None, MANIFEST), [Finding::error("packet", "has no README.md")]);
        assert_eq!(check_one("packet", Some("# What must it never know?"), MANIFEST), []);
        assert_eq!(check_one("packet", Some("# packet"), MANIFEST).len(), 1);
    }

    #[test]
    fn a_crate_without_the_lints_fails() {
        assert_eq!(check_one("packet", Some("never"), "").len(), 1);
    }
}
