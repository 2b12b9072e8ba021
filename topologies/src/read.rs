//! A tree of values to a [`Spec`], collecting what is wrong item by item.

use std::collections::BTreeMap;

use controller_api::{Declaration, Router};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::diagnostics::{Diagnostic, list};
use crate::spec::{FunctionSpec, HostSpec, NodeSpec, RouterNodeSpec, Spec, SwitchSpec, VmSpec};
use crate::yaml::{Tree, join};

const SECTIONS: [&str; 13] = [
    "name",
    "nodes",
    "links",
    "networks",
    "routers",
    "chains",
    "policies",
    "qos",
    "paths",
    "mirrors",
    "balancers",
    "tenants",
    "tests",
];
const INTENTS: [&str; 10] = [
    "networks",
    "routers",
    "functions",
    "chains",
    "policies",
    "qos",
    "paths",
    "mirrors",
    "balancers",
    "tenants",
];
const KINDS: [&str; 5] = ["switch", "host", "router", "function", "vm"];

/// Reads the document; everything that is wrong in its shape at once.
pub(crate) fn spec(tree: &Tree) -> Result<Spec, Vec<Diagnostic>> {
    let mut reader = Reader { tree, found: Vec::new() };
    let spec = reader.document();
    match spec {
        Some(spec) if reader.found.is_empty() => Ok(spec),
        _ => Err(reader.found),
    }
}

/// Reads a file of intents alone; everything that is wrong in its shape at once.
pub(crate) fn declaration(tree: &Tree) -> Result<Declaration, Vec<Diagnostic>> {
    let mut reader = Reader { tree, found: Vec::new() };
    reader.sections(&INTENTS);
    if !tree.root.is_object() {
        let what = "a map with the keys networks, routers, functions, chains, policies, qos, paths, mirrors, balancers and tenants is expected";
        reader.found.push(Diagnostic::new(tree.value(""), "", what));
    }
    let declaration = Declaration {
        networks: reader.list("networks", "network"),
        routers: reader.list("routers", "router"),
        functions: reader.list("functions", "function"),
        chains: reader.list("chains", "chain"),
        policies: reader.list("policies", "policy"),
        qos: reader.list("qos", "qos"),
        paths: reader.list("paths", "path"),
        mirrors: reader.list("mirrors", "mirror"),
        balancers: reader.list("balancers", "balancer"),
        tenants: reader.list("tenants", "tenant"),
    };
    if reader.found.is_empty() { Ok(declaration) } else { Err(reader.found) }
}

/// Reads the configuration of one router, which need not say its `name` if that is known.
pub(crate) fn router(tree: &Tree, name: Option<&str>) -> Result<Router, Vec<Diagnostic>> {
    let Value::Object(mut fields) = tree.root.clone() else {
        let what = "a router is a map with the keys name, interfaces and routes";
        return Err(vec![Diagnostic::new(tree.value(""), "", what)]);
    };
    if let Some(name) = name {
        fields.entry("name").or_insert_with(|| name.into());
    }
    let mut reader = Reader { tree, found: Vec::new() };
    reader.convert("", "", Value::Object(fields)).ok_or(reader.found)
}

struct Reader<'a> {
    tree: &'a Tree,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn document(&mut self) -> Option<Spec> {
        let Value::Object(_) = &self.tree.root else {
            let what = "a topology is a map with the keys name, nodes and links";
            self.found.push(Diagnostic::new(self.tree.value(""), "", what));
            return None;
        };
        self.sections(&SECTIONS);
        for needed in ["name", "nodes"] {
            if self.tree.root.get(needed).is_none_or(Value::is_null) {
                let missing = Diagnostic::new(0..0, "", format!("\"{needed}\" is missing"));
                let example = if needed == "name" { "name: my-lab" } else { "nodes: {h1: {kind: host}}" };
                self.found.push(missing.hint(format!("write `{example}`")));
            }
        }
        Some(Spec {
            name: self.item("name", "").unwrap_or_default(),
            nodes: self.nodes(),
            links: self.list("links", "link"),
            networks: self.list("networks", "network"),
            routers: self.list("routers", "router"),
            chains: self.list("chains", "chain"),
            policies: self.list("policies", "policy"),
            qos: self.list("qos", "qos"),
            paths: self.list("paths", "path"),
            mirrors: self.list("mirrors", "mirror"),
            balancers: self.list("balancers", "balancer"),
            tenants: self.list("tenants", "tenant"),
            tests: self.list("tests", "test"),
        })
    }

    /// That the document has no other keys.
    fn sections(&mut self, known: &[&'static str]) {
        for key in self.tree.keys.get("").into_iter().flatten() {
            if !known.contains(&key.as_str()) {
                let unknown = Diagnostic::new(self.tree.key(key), "", format!("unknown key \"{key}\""));
                self.found.push(unknown.meant(key, known.iter().copied()));
            }
        }
    }

    fn nodes(&mut self) -> BTreeMap<String, NodeSpec> {
        let Some(nodes) = self.tree.root.get("nodes").filter(|nodes| !nodes.is_null()) else {
            return BTreeMap::new();
        };
        let Value::Object(nodes) = nodes else {
            let wrong =
                Diagnostic::new(self.tree.value("nodes"), "nodes", "a map of names to nodes is expected");
            self.found.push(wrong.hint("write `nodes: {h1: {kind: host}}`"));
            return BTreeMap::new();
        };
        let read = |(name, value): (&String, &Value)| Some((name.clone(), self.node(name, value)?));
        nodes.iter().filter_map(read).collect()
    }

    fn node(&mut self, name: &str, value: &Value) -> Option<NodeSpec> {
        let path = join("nodes", name);
        let thing = format!("node {name}");
        let fail = |reader: &mut Self, diagnostic: Diagnostic| {
            reader.found.push(diagnostic);
            None
        };
        let Value::Object(fields) = value else {
            let wrong = Diagnostic::new(self.tree.key(&path), thing, "a map with the key kind is expected");
            return fail(self, wrong.hint(format!("write `{name}: {{kind: host}}`")));
        };
        let kind = match fields.get("kind") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(_) => "",
            None => {
                let missing = Diagnostic::new(self.tree.key(&path), thing, "\"kind\" is missing");
                return fail(self, missing.hint(format!("it is one of {}", list(&KINDS))));
            }
        };
        let mut rest = fields.clone();
        rest.remove("kind");
        let rest = Value::Object(rest);
        match kind {
            "switch" => self.convert::<SwitchSpec>(&path, &thing, rest).map(NodeSpec::Switch),
            "host" => self.convert::<HostSpec>(&path, &thing, rest).map(NodeSpec::Host),
            "router" => self.convert::<RouterNodeSpec>(&path, &thing, rest).map(NodeSpec::Router),
            "function" => self.convert::<FunctionSpec>(&path, &thing, rest).map(NodeSpec::Function),
            "vm" => self.convert::<VmSpec>(&path, &thing, rest).map(NodeSpec::Vm),
            other => {
                let at = self.tree.value(&join(&path, "kind"));
                let unknown = Diagnostic::new(at, thing, format!("no kind \"{other}\"")).meant(other, KINDS);
                fail(self, unknown)
            }
        }
    }

    fn list<T: DeserializeOwned>(&mut self, section: &str, word: &str) -> Vec<T> {
        match self.tree.root.get(section) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => {
                let read = |(i, value): (usize, &Value)| {
                    let thing = thing_of(word, i, value);
                    self.convert(&join(section, i), &thing, value.clone())
                };
                items.iter().enumerate().filter_map(read).collect()
            }
            Some(_) => {
                let what = "a list is expected, each item beginning with \"- \"";
                self.found.push(Diagnostic::new(self.tree.value(section), section, what));
                Vec::new()
            }
        }
    }

    fn item<T: DeserializeOwned>(&mut self, path: &str, thing: &str) -> Option<T> {
        let value = self.tree.root.get(path)?.clone();
        if value.is_null() { None } else { self.convert(path, thing, value) }
    }

    fn convert<T: DeserializeOwned>(&mut self, path: &str, thing: &str, value: Value) -> Option<T> {
        let error = match serde_path_to_error::deserialize::<_, T>(value) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let inner = inner_path(path, error.path());
        let message = error.into_inner().to_string();
        self.found.push(explain(self.tree, &inner, thing, &message));
        None
    }
}

/// What an item of a list is called: by its name, or by what it joins.
fn thing_of(word: &str, index: usize, value: &Value) -> String {
    if let Some(name) = value.get("name").and_then(Value::as_str) {
        return format!("{word} {name}");
    }
    if let Some([a, b]) = value.get("endpoints").and_then(Value::as_array).map(Vec::as_slice) {
        let text = |end: &Value| end.as_str().map_or_else(|| end.to_string(), str::to_owned);
        return format!("{word} {} -- {}", text(a), text(b));
    }
    format!("{word} {}", index + 1)
}

fn inner_path(path: &str, inner: &Path) -> String {
    inner.iter().fold(path.to_owned(), |path, segment| match segment {
        Segment::Seq { index } => join(&path, index),
        Segment::Map { key } => join(&path, key),
        Segment::Enum { variant } => join(&path, variant),
        Segment::Unknown => path,
    })
}

/// A message of serde in the words of this crate, with what was probably meant.
fn explain(tree: &Tree, path: &str, thing: &str, message: &str) -> Diagnostic {
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let last = path.rsplit('/').next().unwrap_or(path);
    if let Some(("unknown field" | "unknown variant", found)) =
        message.split_once(" `").and_then(|(lead, _)| Some((lead, *words.first()?)))
    {
        let known = words.iter().skip(1).copied();
        // The path of an unknown word ends at the map it is a key of, or at the value it is.
        let inside = join(path, found);
        let is_inside = tree.keys.get(path).is_some_and(|keys| keys.iter().any(|key| key == found));
        let is_key = is_inside || message.starts_with("unknown field");
        let at = match (is_inside, is_key) {
            (true, _) => tree.key(&inside),
            (false, true) => tree.key(path),
            (false, false) => tree.value(path),
        };
        let noun = if is_key { "unknown key" } else { "unknown word" };
        return Diagnostic::new(at, thing, format!("{noun} \"{found}\"")).meant(found, known);
    }
    if let (true, Some(field)) = (message.starts_with("missing field"), words.first()) {
        return Diagnostic::new(tree.key(path), thing, format!("\"{field}\" is missing"));
    }
    if last == "endpoints" && message.starts_with("invalid length") {
        return Diagnostic::new(tree.value(path), thing, "a link has two ends")
            .hint("write [\"h1:eth0\", \"s1:1\"]");
    }
    let mismatch = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let what = match mismatch.and_then(|m| m.split_once(", expected ")) {
        Some((found, expected)) => {
            let found = found.replace('`', "").replace("string ", "text ").replace("integer ", "");
            // An item of a list has no name of its own.
            let subject = if last.parse::<usize>().is_ok() { "it".to_owned() } else { format!("\"{last}\"") };
            format!("{subject} is {found}, {} is expected", in_words(last, expected))
        }
        None => message.to_owned(),
    };
    let diagnostic = Diagnostic::new(tree.value(path), thing, what);
    if message.contains("expected struct LinkSpec") {
        return diagnostic.hint("write `- endpoints: [\"h1:eth0\", \"s1:1\"]`");
    }
    let quoted = ["integer", "floating", "boolean"].iter().any(|w| message.contains(&format!("type: {w}")));
    let texts =
        ["a string", "a MAC address", "bits a second", "an IP address", "a datapath id", "a port of a node"];
    if quoted && texts.iter().any(|text| message.contains(&format!("expected {text}"))) {
        return diagnostic.hint("put it in quotes");
    }
    diagnostic
}

/// Names of types of this language in words.
fn in_words<'a>(key: &str, expected: &'a str) -> &'a str {
    match expected {
        // IEEE 802.1Q-2022 §9.6: 0 and 4095 name no VLAN.
        "u16" if key == "vlan" => "a whole number from 1 to 4094",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number",
        "a sequence" => "a list",
        other if other.starts_with("an array of length") || other.starts_with("a tuple") => "a list",
        other if other.starts_with("struct ") || other == "map" => "a map of keys and values",
        other if other.starts_with("enum ") || other.contains(" enum ") => "one word, or a map with one key",
        other => other,
    }
}
