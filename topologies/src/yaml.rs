//! YAML text to a tree that knows where each value stands. The only module that knows the YAML crate.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::{Location, Spanned};

use crate::diagnostics::{Diagnostic, Source};

/// Most nodes a topology file may have, aliases unfolded.
const MAX_NODES: usize = 500_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 32;
/// Most aliases.
const MAX_ALIASES: usize = 1_000;

/// Where a value stands: the bytes of its key (if it has one) and of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub key: Option<Range<usize>>,
    pub value: Range<usize>,
}

/// A document: its values and, by path (`nodes/h1/kind`, `links/0/endpoints/1`), their places.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub root: Value,
    /// Keys of each map in the order written, by path of the map.
    pub keys: HashMap<String, Vec<String>>,
    places: HashMap<String, Place>,
    /// Keys that would be taken for paths.
    wrong: Vec<Diagnostic>,
}

impl Tree {
    /// Bytes of the value at `path`, or of the closest parent that was written.
    pub fn value(&self, path: &str) -> Range<usize> {
        self.find(path).map(|place| place.value.clone()).unwrap_or_default()
    }

    /// Bytes of the key at `path`; of the value in a list.
    pub fn key(&self, path: &str) -> Range<usize> {
        self.find(path).map(|p| p.key.clone().unwrap_or_else(|| p.value.clone())).unwrap_or_default()
    }

    fn find(&self, path: &str) -> Option<&Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(place);
            }
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if path.is_empty() {
                return self.places.get("");
            }
        }
    }
}

/// Path of a child.
pub(crate) fn join(path: &str, child: impl fmt::Display) -> String {
    if path.is_empty() { child.to_string() } else { format!("{path}/{child}") }
}

/// Reads a document.
pub(crate) fn read(source: &Source) -> Result<Tree, Diagnostic> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_documents: 1,
        },
    };
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(&source.text, options)
        .map_err(|error| syntax_error(&source.text, &error))?;
    let mut tree = Tree::default();
    tree.root = tree.enter("", None, root);
    match tree.wrong.pop() {
        Some(wrong) => Err(wrong),
        None => Ok(tree),
    }
}

fn syntax_error(text: &str, error: &serde_saphyr::Error) -> Diagnostic {
    let error = error.without_snippet();
    let at = error.location().map_or(0..0, |location| match location.span().byte_offset() {
        Some(_) if location.span().byte_len() != Some(0) => bytes(&location),
        // Errors of the scanner carry line and column only.
        _ => by_line(text, &location),
    });
    let at = if at.is_empty() { at.start..(at.start + 1).min(text.len()) } else { at };
    let message = error.to_string();
    // The position stands in front already.
    let what = message.split(" at line ").next().unwrap_or(&message).trim_end_matches(',');
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return Diagnostic::new(at, "", format!("\"{key}\" is written twice"));
    }
    if what.starts_with("budget breached") {
        let what = if what.contains("Documents") {
            "a file holds one topology, a second document begins here"
        } else {
            "the file is too large once its aliases are written out, or nested too deeply"
        };
        return Diagnostic::new(at, "", what);
    }
    let diagnostic = Diagnostic::new(at.clone(), "", what);
    match text.get(at) {
        Some("\t") => diagnostic.hint("YAML is indented with spaces, not tabs"),
        _ => diagnostic,
    }
}

fn by_line(text: &str, location: &Location) -> Range<usize> {
    let line = (location.line().max(1) - 1) as usize;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let column = (location.column().max(1) - 1) as usize;
    let offset = text[start..].char_indices().nth(column).map_or(text.len(), |(i, _)| start + i);
    offset..offset
}

fn bytes(location: &Location) -> Range<usize> {
    let span = location.span();
    let start = span.byte_offset().unwrap_or(0) as usize;
    start..start + span.byte_len().unwrap_or(0) as usize
}

impl Tree {
    fn enter(&mut self, path: &str, key: Option<Range<usize>>, node: Spanned<Node>) -> Value {
        let place = Place { key, value: bytes(&node.referenced) };
        self.places.insert(path.to_owned(), place);
        match node.value {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(value),
            Node::Number(value) => Value::Number(value),
            Node::Text(value) => Value::String(value),
            Node::List(items) => {
                let items = items.into_iter().enumerate();
                Value::Array(items.map(|(i, item)| self.enter(&join(path, i), None, item)).collect())
            }
            Node::Map(entries) => {
                let names = entries.iter().map(|(key, _)| key.value.clone()).collect();
                self.keys.insert(path.to_owned(), names);
                let entries = entries.into_iter();
                let enter = |(key, item): (Spanned<String>, Spanned<Node>)| {
                    if key.value.contains('/') {
                        let what = format!("a name must not contain \"/\": \"{}\"", key.value);
                        self.wrong.push(Diagnostic::new(bytes(&key.referenced), "", what));
                    }
                    let child = join(path, &key.value);
                    let value = self.enter(&child, Some(bytes(&key.referenced)), item);
                    (key.value, value)
                };
                Value::Object(entries.map(enter).collect())
            }
        }
    }
}

/// A value as written.
enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map: Vec<(Spanned<String>, Spanned<Node>)> = Vec::new();
        while let Some(entry) = entries.next_entry::<Spanned<String>, Spanned<Node>>()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        read(&Source { name: "t".into(), text: text.into() }).expect("valid")
    }

    #[test]
    fn every_value_and_key_has_its_place() {
        let text = "a:\n  b: [x, \"y z\"]\nc: {d: 7}\n";
        let tree = tree(text);
        assert_eq!(&text[tree.value("a/b/0")], "x");
        assert_eq!(&text[tree.value("a/b/1")], "\"y z\"");
        assert_eq!(&text[tree.key("a/b")], "b");
        assert_eq!(&text[tree.value("c/d")], "7");
        assert_eq!(tree.root["c"]["d"], 7);
        assert_eq!(tree.keys[""], ["a", "c"]);
        // What was not written is shown at its parent.
        assert_eq!(&text[tree.key("c/d/e")], "d");
    }

    #[test]
    fn merges_and_aliases_are_shown_where_they_are_used() {
        let text = "base: &b {kind: host}\nnodes:\n  h1: *b\n  h2:\n    <<: *b\n    x: 1\n";
        let tree = tree(text);
        assert_eq!(tree.root["nodes"]["h1"]["kind"], "host");
        assert_eq!(tree.root["nodes"]["h2"]["kind"], "host");
        assert_eq!(&text[tree.value("nodes/h1")], "*b");
    }

    #[test]
    fn what_yaml_forbids_is_found_with_its_place() {
        for (text, what, at) in [
            ("a: 1\na: 2\n", "\"a\" is written twice", 5),
            ("a: [1, 2\nb: 3\n", "", 10),
            ("a: *nowhere\n", "", 3),
            ("a: {b: 1}\nc:\n  h1: 2\n  h/1: 3\n  d: 4\n", "must not contain \"/\": \"h/1\"", 23),
        ] {
            let source = Source { name: "t".into(), text: text.into() };
            let error = read(&source).expect_err(text);
            assert!(error.to_string().contains(what), "{error}");
            assert_eq!(error.at.start, at, "{text:?}: {error}");
        }
    }

    #[test]
    fn an_alias_bomb_is_stopped() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")));
        }
        assert!(read(&Source { name: "t".into(), text }).is_err());
    }
}
