//! What others' packages may be: their licences, and one version of each.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::table::{DUPLICATES, LICENCES};
use crate::metadata::Package;

/// Every package must be usable under a licence of the table.
pub fn check_licences<'a>(packages: impl Iterator<Item = &'a Package>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let place = format!("{} {}", package.name, package.version);
        match &package.license {
            None => findings.push(Finding::error(place, "states no licence")),
            Some(expression) if !is_allowed(expression) => {
                findings.push(Finding::error(place, format!("licence `{expression}` is not in the table")));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Whether an SPDX expression can be met by licences of the table. `/` is how old packages write OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any_of(&mut rest).unwrap_or(false) && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = all_of(words)?;
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        allowed |= all_of(words)?;
    }
    Some(allowed)
}

fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = term(words)?;
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        allowed &= term(words)?;
    }
    Some(allowed)
}

fn term(words: &mut &[&str]) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let allowed = any_of(words)?;
        let (close, rest) = words.split_first()?;
        *words = rest;
        return (*close == ")").then_some(allowed);
    }
    let mut licence = (*first).to_owned();
    if let ["WITH", exception, rest @ ..] = *words {
        licence = format!("{licence} WITH {exception}");
        *words = rest;
    }
    Some(LICENCES.contains(&licence.as_str()))
}

/// A package that is there in two versions must be in the table; a row that is no longer needed is a warning.
pub fn check_duplicates<'a>(packages: impl Iterator<Item = &'a Package>) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let is_waived = |name: &str| DUPLICATES.iter().any(|(waived, _)| *waived == name);
    let new = versions.iter().filter(|(name, _)| !is_waived(name)).map(|(name, versions)| {
        let list = versions.iter().copied().collect::<Vec<_>>().join(", ");
        Finding::error(
            *name,
            format!("is there in versions {list}: agree on one, or give the reason in the table"),
        )
    });
    let stale = DUPLICATES.iter().filter(|(name, _)| !versions.contains_key(name));
    new.chain(stale.map(|(name, _)| Finding::warning(*name, "is no longer duplicated: remove its row")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: Option<&str>) -> Package {
        Package {
            id: format!("{name}#{version}"),
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.map(str::to_owned),
            source: Some("registry".to_owned()),
            manifest_path: "Cargo.toml".into(),
            dependencies: Vec::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn a_licence_outside_the_table_fails() {
        let found = check_licences([package("p", "1.0.0", Some("EUPL-1.2"))].iter());
        assert_eq!(found, [Finding::error("p 1.0.0", "licence `EUPL-1.2` is not in the table")]);
        assert_eq!(check_licences([package("p", "1.0.0", None)].iter()).len(), 1);
    }

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["MIT AND GPL-3.0", "GPL-3.0", "", "(MIT", "MIT MIT", "MPL-2.0 WITH X"] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }

    #[test]
    fn two_versions_of_a_package_fail() {
        let packages = [package("left-pad", "1.0.0", None), package("left-pad", "2.0.0", None)];
        let found = check_duplicates(packages.iter());
        let errors: Vec<_> = found.iter().filter(|f| f.level == crate::tidy::Level::Error).collect();
        assert!(matches!(errors[..], [one] if one.place == "left-pad"), "{found:?}");
    }
}
