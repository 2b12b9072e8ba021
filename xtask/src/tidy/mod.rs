//! `cargo xtask tidy`: the rules of this repository that no compiler knows.
//!
//! A rule is a function from what it looks at to [`Finding`]s, with a failing example as its unit test. The data that
//! rules judge by (edges, licences, budgets) is in [`table`].

mod budgets;
mod claims;
mod clock;
mod conformance;
mod edges;
mod members;
mod packages;
mod source;
mod table;
mod todo;
mod unsafety;

use std::fmt;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::metadata::Metadata;
use crate::shell::root;

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    level: Level,
    /// `path:line` relative to the workspace, or the name of a crate.
    place: String,
    /// What is wrong and the way out.
    text: String,
}

/// Whether a finding stops a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
}

impl Finding {
    fn error(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level: Level::Error, place: place.into(), text: text.into() }
    }

    fn warning(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level: Level::Warning, place: place.into(), text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.level == Level::Error { "error" } else { "warning" };
        write!(f, "{}: {level}: {}", self.place, self.text)
    }
}

/// Applies every rule and prints what they find; fails when there is an error among it.
pub fn run() -> Result<()> {
    let metadata = Metadata::load()?;
    let sources = source::load(root(), &metadata)?;
    let (readme, claims, limits) = (read("README.md")?, read("docs/claims.md")?, read("docs/limits.md")?);
    let mut findings = edges::check(metadata.members());
    findings.extend(packages::check_licences(metadata.others()));
    findings.extend(packages::check_duplicates(metadata.others()));
    findings.extend(members::check(metadata.members()));
    findings.extend(claims::check(&readme, &claims));
    for path in ["docs/conformance.md", "docs/conformance-router.md"] {
        findings.extend(conformance::check(path, &read(path)?, &sources));
    }
    for source in &sources {
        findings.extend(unsafety::check(source));
        findings.extend(clock::check(source));
        findings.extend(budgets::check(source));
        findings.extend(todo::check(source, &limits));
    }
    findings.iter().for_each(|finding| println!("{finding}"));
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    println!("tidy: {} files, {errors} errors, {} warnings", sources.len(), findings.len() - errors);
    if errors > 0 {
        bail!("tidy found {errors} errors");
    }
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}
