//! From what is written to what can be built. Checks run in rounds, so that one slip is not reported thrice: first
//! nodes and links, then (if those are sound) what refers to them, and addresses where all of that is sound.

mod addresses;
mod balancers;
mod intents;
mod links;
mod mirrors;
mod nodes;
mod paths;
mod policies;
mod qos;
mod shadows;
mod tests;
mod units;

use std::ops::Range;
use std::path::Path;

use crate::diagnostics::Diagnostic;
use crate::model::Model;
use crate::spec::Spec;
use crate::yaml::Tree;

/// Longest name of a lab; with it the names of namespaces stay readable.
const MAX_NAME: usize = 24;

/// What the checks share.
struct Context<'a> {
    spec: &'a Spec,
    tree: &'a Tree,
    text: &'a str,
    folder: &'a Path,
    found: Vec<Diagnostic>,
}

impl Context<'_> {
    fn value(&self, path: &str) -> Range<usize> {
        self.tree.value(path)
    }

    fn key(&self, path: &str) -> Range<usize> {
        self.tree.key(path)
    }

    /// A part of the text value at `path`: `length` bytes from `offset` on, quotes not counted.
    fn part(&self, path: &str, offset: usize, length: usize) -> Range<usize> {
        let whole = self.tree.value(path);
        let quoted = self.text.get(whole.clone()).is_some_and(|t| t.starts_with(['"', '\'']));
        let start = whole.start + usize::from(quoted) + offset;
        if start + length <= whole.end { start..start + length } else { whole }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    fn wrong(&mut self, at: Range<usize>, thing: impl Into<String>, what: impl Into<String>) {
        self.report(Diagnostic::new(at, thing, what));
    }
}

/// Checks and resolves.
pub(crate) fn resolve(spec: &Spec, tree: &Tree, text: &str, folder: &Path) -> Result<Model, Vec<Diagnostic>> {
    let mut context = Context { spec, tree, text, folder, found: Vec::new() };
    let c = &mut context;
    let at = c.value("name");
    check_name(c, at, "lab", &spec.name);
    let mut nodes = nodes::resolve(c);
    let links = links::resolve(c, &mut nodes);
    if !c.found.is_empty() {
        return Err(context.found);
    }
    let mut model = Model {
        name: spec.name.clone(),
        nodes,
        links,
        networks: Vec::new(),
        routers: Vec::new(),
        functions: Vec::new(),
        chains: Vec::new(),
        policies: Vec::new(),
        qos: Vec::new(),
        paths: Vec::new(),
        mirrors: Vec::new(),
        balancers: Vec::new(),
        tenants: Vec::new(),
        tests: Vec::new(),
    };
    intents::resolve(c, &mut model);
    if c.found.is_empty() {
        addresses::check(c, &model);
    }
    model.tests = tests::resolve(c, &model);
    if context.found.is_empty() { Ok(model) } else { Err(context.found) }
}

/// Names become names of namespaces, sockets and folders.
fn check_name(c: &mut Context<'_>, at: Range<usize>, word: &str, name: &str) {
    let thing = format!("{word} {name}");
    let first = name.chars().next();
    if name.len() > MAX_NAME {
        let what = format!("the name has {} characters, at most {MAX_NAME} are possible", name.len());
        return c.wrong(at, thing, what);
    }
    let plain = name.chars().all(|ch| ch.is_ascii_alphanumeric() || matches!(ch, '-' | '_'));
    if !plain || !first.is_some_and(|ch| ch.is_ascii_alphanumeric()) {
        let what = "a name has letters, digits, \"-\" and \"_\" and begins with a letter or digit";
        c.wrong(at, thing, what);
    }
}
