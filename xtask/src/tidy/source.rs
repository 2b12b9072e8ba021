//! A Rust file cut into code and comments, as far as the rules need it: no parser, a lexer that knows strings,
//! characters and comments.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::metadata::Metadata;

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// Relative to the workspace.
    pub path: String,
    /// Name of the crate it belongs to.
    pub krate: String,
    /// The text with comments, strings and characters blanked; as many lines as the file.
    pub code: String,
    /// The text with everything but comments blanked; as many lines as the file.
    pub comments: String,
    /// For each line, whether it belongs to test code.
    pub is_test: Vec<bool>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// First line, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub n_lines: usize,
}

/// Reads every Rust file of the workspace's crates.
pub fn load(root: &Path, metadata: &Metadata) -> Result<Vec<Source>> {
    let mut crates: Vec<(String, String)> = metadata
        .members()
        .filter_map(|package| {
            let dir = package.manifest_path.parent()?.strip_prefix(root).ok()?;
            Some((format!("{}/", dir.to_string_lossy()), package.name.clone()))
        })
        .collect();
    // The longest folder first: controller/api is not controller.
    crates.sort_by_key(|(dir, _)| std::cmp::Reverse(dir.len()));
    let mut paths = Vec::new();
    collect(root, root, &mut paths)?;
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let krate = crates.iter().find(|(dir, _)| path.starts_with(dir.as_str()));
        let krate = krate.map_or("fuzz", |(_, name)| name);
        let text = fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
        sources.push(Source::new(&path, krate, &text));
    }
    Ok(sources)
}

fn collect(root: &Path, dir: &Path, paths: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "build" {
                collect(root, &path, paths)?;
            }
        } else if name.ends_with(".rs") {
            paths.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

impl Source {
    /// Cuts `text` up.
    pub fn new(path: &str, krate: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        let is_test = test_lines(path, &code);
        Self { path: path.to_owned(), krate: krate.to_owned(), code, comments, is_test }
    }

    /// `path:line`.
    pub fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    /// Lines that are not test code.
    pub fn n_lines_without_tests(&self) -> usize {
        self.is_test.iter().filter(|test| !**test).count()
    }

    /// Functions with a body, test code left out.
    pub fn functions(&self) -> Vec<Function> {
        let functions = words(&self.code).filter(|(_, word)| *word == "fn");
        let functions = functions.filter_map(|(offset, _)| function_at(&self.code, offset));
        functions.filter(|function| !self.is_test[function.line - 1]).collect()
    }

    /// The waiver for `what` with its reason, if the file has one: `// tidy: long file: it is one table`.
    pub fn waiver(&self, what: &str) -> Option<&str> {
        let mark = format!("tidy: {what}: ");
        let line = self.comments.lines().find(|line| line.contains(&mark))?;
        let reason = line.split(&mark).nth(1)?.trim();
        (reason.len() >= 10).then_some(reason)
    }
}

/// Words of blanked code with their byte offsets.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.split(move |c: char| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

/// The line of a byte offset, from 1.
pub fn line_of(code: &str, offset: usize) -> usize {
    code.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn function_at(code: &str, offset: usize) -> Option<Function> {
    let rest = code[offset + 2..].trim_start();
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let end = item_end(code, offset)?;
    let (line, last) = (line_of(code, offset), line_of(code, end));
    let has_body = code.as_bytes()[end] == b'}';
    (has_body && !name.is_empty()).then_some(Function { name, line, n_lines: last - line + 1 })
}

/// Where the item that begins at `offset` ends: at its closing brace or its semicolon.
fn item_end(code: &str, offset: usize) -> Option<usize> {
    let (mut nested, mut braces) = (0_usize, 0_usize);
    for (at, byte) in code.bytes().enumerate().skip(offset) {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b'{' => braces += 1,
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && nested == 0 {
                    return Some(at);
                }
            }
            b';' if braces == 0 && nested == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn test_lines(path: &str, code: &str) -> Vec<bool> {
    let whole = path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/");
    let mut is_test = vec![whole || path.starts_with("tests/"); code.lines().count()];
    for (start, attribute) in code.match_indices("#[cfg(test)]") {
        let Some(end) = item_end(code, start + attribute.len()) else { continue };
        is_test[line_of(code, start) - 1..line_of(code, end)].fill(true);
    }
    is_test
}

/// What the lexer is in.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Code,
    Line,
    Block(usize),
    Text,
    Raw(usize),
}

/// `text` twice: with all but code blanked, and with all but comments blanked.
fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let (mut code, mut comments) = (vec![b' '; bytes.len()], vec![b' '; bytes.len()]);
    let (mut state, mut at) = (State::Code, 0);
    while at < bytes.len() {
        let (next, len) = step(state, &bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        let end = (at + len).min(bytes.len());
        let in_comment = |state| matches!(state, State::Line | State::Block(_));
        if in_comment(state) || in_comment(next) {
            comments[at..end].copy_from_slice(&bytes[at..end]);
        } else if state == State::Code && next == State::Code && len == 1 {
            code[at] = bytes[at];
        }
        (state, at) = (next, end);
    }
    for (at, _) in text.match_indices('\n') {
        (code[at], comments[at]) = (b'\n', b'\n');
    }
    let text_of = |bytes| String::from_utf8(bytes).expect("characters are copied or blanked whole");
    (text_of(code), text_of(comments))
}

/// The state after the next token of `rest` and the token's length.
fn step(state: State, rest: &[u8], before: Option<u8>) -> (State, usize) {
    match state {
        State::Code => step_code(rest, before),
        State::Line => (if rest[0] == b'\n' { State::Code } else { State::Line }, 1),
        State::Block(depth) if rest.starts_with(b"/*") => (State::Block(depth + 1), 2),
        State::Block(depth) if rest.starts_with(b"*/") => {
            (if depth == 1 { State::Code } else { State::Block(depth - 1) }, 2)
        }
        State::Text if rest[0] == b'\\' => (State::Text, 2),
        State::Text if rest[0] == b'"' => (State::Code, 1),
        State::Raw(hashes) if rest[0] == b'"' && is_run(&rest[1..], hashes) => (State::Code, 1 + hashes),
        State::Block(_) | State::Text | State::Raw(_) => (state, 1),
    }
}

fn is_run(rest: &[u8], hashes: usize) -> bool {
    rest.len() >= hashes && rest[..hashes].iter().all(|byte| *byte == b'#')
}

fn step_code(rest: &[u8], before: Option<u8>) -> (State, usize) {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest[0] {
        b'/' if rest.starts_with(b"//") => (State::Line, 2),
        b'/' if rest.starts_with(b"/*") => (State::Block(1), 2),
        b'"' => (State::Text, 1),
        b'r' if !in_word || before == Some(b'b') => {
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            match rest.get(1 + hashes) {
                Some(b'"') => (State::Raw(hashes), 2 + hashes),
                _ => (State::Code, 1),
            }
        }
        b'\'' => (State::Code, char_literal_len(rest).unwrap_or(1)),
        _ => (State::Code, 1),
    }
}

/// The length of the character literal at the start of `rest`; `None` for a lifetime.
fn char_literal_len(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|byte| *byte == b'\'')?;
        return Some(end + 4);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(5)]);
    let text = text.or_else(|error| std::str::from_utf8(&rest[1..1 + error.valid_up_to()])).ok()?;
    let len = text.chars().next()?.len_utf8();
    (rest.get(1 + len) == Some(&b'\'')).then_some(len + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("crates/packet/src/lib.rs", "packet", text)
    }

    #[test]
    fn strings_characters_and_comments_are_no_code() {
        let text = "let a = \"unsafe \\\" {\"; // unsafe\nlet b = r#\"unsafe\"#; /* unsafe /* x */ */ let c = '{';\n\
                    let d: &'static str = 'é'.into(); let e = '\\'';";
        let source = source(text);
        assert!(!source.code.contains("unsafe") && !source.code.contains('{'), "{}", source.code);
        assert!(
            source.code.contains("let c =")
                && source.code.contains("'static str")
                && source.code.contains("let e")
        );
        assert_eq!(source.comments.matches("unsafe").count(), 2);
        assert_eq!(source.code.lines().count(), 3);
    }

    #[test]
    fn functions_are_measured_and_tests_left_out() {
        let text = "fn one() { 1 }\nfn two(a: [u8; 2])\nwhere\n{\n}\ntype F = fn(u8) -> u8;\ntrait T { fn no_body(&self); }\n\
                    #[cfg(test)]\nmod tests {\n    fn three() {}\n}\n";
        let source = source(text);
        let found: Vec<(String, usize, usize)> =
            source.functions().into_iter().map(|f| (f.name, f.line, f.n_lines)).collect();
        assert_eq!(found, [("one".to_owned(), 1, 1), ("two".to_owned(), 2, 4)]);
        assert_eq!(source.n_lines_without_tests(), 7);
    }

    #[test]
    fn a_waiver_needs_a_reason() {
        assert_eq!(
            source("// tidy: long file: it is one table\n").waiver("long file"),
            Some("it is one table")
        );
        assert_eq!(source("// tidy: long file: \n").waiver("long file"), None);
        assert_eq!(source("// nothing\n").waiver("long file"), None);
    }
}
