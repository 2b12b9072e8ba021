//! Topology files: schema, spec to model to operations.
//!
//! A file is read to a [`Spec`], checked and resolved to a [`Model`], and planned to [`Operation`]s that another crate
//! carries out. Whatever is wrong comes back as [`Diagnostics`] with file, line and column; nothing here touches the
//! system beyond reading the file.

mod check;
mod diagnostics;
pub mod graph;
mod model;
mod operation;
mod read;
mod schema;
mod spec;
mod yaml;

use std::path::Path;

use controller_api::Declaration;

pub use diagnostics::{Diagnostic, Diagnostics, Source, closest};
pub use model::{
    BuiltIn, End, Expect, FailMode, FunctionNode, Host, Interface, Link, Model, Node, NodeIdx, NodeKind,
    Program, Protocol, Route, Switch, Target, Test, TestKind, Vm, namespace,
};
pub use operation::{Device, Layout, Operation, Resource, plan};
pub use schema::schema;
pub use spec::Spec;

/// The topologies that come with weft, by file name.
pub const EXAMPLES: [(&str, &str); 7] = [
    ("01-two-hosts.yaml", include_str!("../01-two-hosts.yaml")),
    ("02-vlan-trunk.yaml", include_str!("../02-vlan-trunk.yaml")),
    ("03-nat-gateway.yaml", include_str!("../03-nat-gateway.yaml")),
    ("04-chain.yaml", include_str!("../04-chain.yaml")),
    ("05-leaf-spine.yaml", include_str!("../05-leaf-spine.yaml")),
    ("06-two-vms.yaml", include_str!("../06-two-vms.yaml")),
    ("07-policies.yaml", include_str!("../07-policies.yaml")),
];

/// Why a topology cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Wrong(#[from] Diagnostics),
}

/// Reads and checks a file.
///
/// # Errors
/// When it cannot be read, and with everything that is wrong in it.
pub fn load(path: &Path) -> Result<Model, LoadError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: name.clone(), source })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(parse(&name, &text, folder)?)
}

/// Reads what a file declares: a topology, or the sections `networks`, `routers`, `functions`, `chains`, `policies`, `qos`, `paths`, `mirrors`, `balancers` and `tenants` alone,
/// whose ports are ports of switches.
///
/// # Errors
/// When it cannot be read, and with everything that is wrong in it.
pub fn load_intents(path: &Path) -> Result<Declaration, LoadError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: name.clone(), source })?;
    Ok(parse_intents(&name, &text, path.parent().unwrap_or(Path::new("")))?)
}

/// As [`load_intents`], of a text; `name` and `folder` as for [`parse`].
///
/// # Errors
/// Everything that is wrong in it.
pub fn parse_intents(name: &str, text: &str, folder: &Path) -> Result<Declaration, Diagnostics> {
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    let tree = match yaml::read(&source) {
        Ok(tree) => tree,
        Err(wrong) => return Err(Diagnostics::new(source, vec![wrong])),
    };
    if tree.root.get("nodes").is_some() {
        let model = parse(name, text, folder)?;
        return Ok(Declaration {
            networks: model.networks,
            routers: model.routers,
            functions: model.functions,
            chains: model.chains,
            policies: model.policies,
            qos: model.qos,
            paths: model.paths,
            mirrors: model.mirrors,
            balancers: model.balancers,
            tenants: model.tenants,
        });
    }
    read::declaration(&tree).map_err(|found| Diagnostics::new(source, found))
}

/// Reads the configuration of one router by itself; it need not say its name if that is given.
///
/// # Errors
/// What is wrong in it.
pub fn parse_router(
    file: &str,
    text: &str,
    name: Option<&str>,
) -> Result<controller_api::Router, Diagnostics> {
    let source = Source { name: file.to_owned(), text: text.to_owned() };
    let read = yaml::read(&source).map_err(|wrong| vec![wrong]);
    read.and_then(|tree| read::router(&tree, name)).map_err(|found| Diagnostics::new(source, found))
}

/// Checks a text; `name` is what diagnostics call it, `folder` where its relative paths start.
///
/// # Errors
/// Everything that is wrong in it.
pub fn parse(name: &str, text: &str, folder: &Path) -> Result<Model, Diagnostics> {
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    let tree = match yaml::read(&source) {
        Ok(tree) => tree,
        Err(wrong) => return Err(Diagnostics::new(source, vec![wrong])),
    };
    let spec = match read::spec(&tree) {
        Ok(spec) => spec,
        Err(found) => return Err(Diagnostics::new(source, found)),
    };
    check::resolve(&spec, &tree, &source.text, folder).map_err(|found| Diagnostics::new(source, found))
}
