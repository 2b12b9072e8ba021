//! What `cargo metadata` says, as far as the rules need it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::shell;

/// The whole answer.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Every package, ours and others'.
    pub packages: Vec<Package>,
    /// Ids of our packages.
    pub workspace_members: Vec<String>,
    /// Which packages are really used on this platform.
    pub resolve: Resolve,
    /// Where cargo builds.
    pub target_directory: PathBuf,
    /// Where the workspace is.
    pub workspace_root: PathBuf,
}

/// The resolved graph.
#[derive(Debug, Deserialize)]
pub struct Resolve {
    /// One node a package.
    pub nodes: Vec<Node>,
}

/// One package of the graph.
#[derive(Debug, Deserialize)]
pub struct Node {
    /// Its package id.
    pub id: String,
}

/// One package.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Unique id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX expression, as the package states it.
    pub license: Option<String>,
    /// Where it is from; `None` for ours.
    pub source: Option<String>,
    /// Its Cargo.toml.
    pub manifest_path: PathBuf,
    /// What it depends on, of every kind.
    pub dependencies: Vec<Dependency>,
    /// What it builds.
    pub targets: Vec<Target>,
}

/// A stated dependency.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    /// Name of the package depended on.
    pub name: String,
}

/// A library, binary, test or bench.
#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// `lib`, `bin`, `test`, `bench` ...
    pub kind: Vec<String>,
}

impl Metadata {
    /// Asks cargo. The lock file decides the versions; only this platform's packages count.
    pub fn load() -> Result<Self> {
        let args = ["metadata", "--format-version", "1", "--locked", "--filter-platform"];
        let output = shell::cargo(&args).arg("x86_64-unknown-linux-gnu").output();
        let output = output.context("cannot start cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("cargo metadata gave unexpected JSON")
    }

    /// Our packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Others' packages that are used on this platform.
    pub fn others(&self) -> impl Iterator<Item = &Package> {
        let used = |package: &&Package| self.resolve.nodes.iter().any(|node| node.id == package.id);
        self.packages.iter().filter(used).filter(|package| package.source.is_some())
    }
}

/// The binary to measure: the one that was given, or a release build made now.
///
/// # Errors
/// When there is none at that path, or the build fails.
pub fn weft(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(weft) = given {
        return weft.canonicalize().with_context(|| format!("no {}", weft.display()));
    }
    shell::run(&mut shell::cargo(&["build", "--release", "--package", "weft"]))?;
    Ok(Metadata::load()?.target_directory.join("release/weft"))
}
