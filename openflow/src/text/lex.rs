//! Words of a flow: `name`, `name=value`, `name:value`, `name(value)`, between commas and spaces.

use super::naming::{NO_NAMES, Names};
use super::{TextError, extension};
use crate::{PortNo, ports};

/// One word. `pos` counts the bytes of the whole text before the name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    pub name: &'a str,
    pub value: Option<&'a str>,
    pub pos: usize,
    value_pos: usize,
    /// What the switch calls its ports and tables.
    pub names: &'a Names,
}

impl<'a> Word<'a> {
    /// An error about the name.
    pub fn error(&self, reason: impl Into<String>) -> TextError {
        TextError { token: self.name.to_owned(), position: self.pos, reason: reason.into() }
    }

    /// The name is none of `known`.
    pub fn unknown<'k>(&self, reason: &str, known: impl IntoIterator<Item = &'k str>) -> TextError {
        self.error(extension::unknown(reason, self.name, known))
    }

    /// An error about the value.
    pub fn value_error(&self, reason: impl Into<String>) -> TextError {
        let token = self.value.unwrap_or(self.name).to_owned();
        TextError { token, position: self.value_pos, reason: reason.into() }
    }

    /// The value that there must be.
    pub fn need(&self) -> Result<&'a str, TextError> {
        self.value.filter(|v| !v.is_empty()).ok_or_else(|| self.error("needs a value"))
    }

    /// Where the value stands in the whole text.
    pub fn value_pos(&self) -> usize {
        self.value_pos
    }

    /// There may be no value.
    pub fn bare(&self) -> Result<(), TextError> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(self.value_error(format!("{} takes no value", self.name))),
        }
    }

    /// The words that the value is made of.
    pub fn inner(&self) -> Result<Vec<Word<'a>>, TextError> {
        words(self.value.unwrap_or(""), self.value_pos, self.names)
    }

    /// The port that the value names.
    pub fn port(&self) -> Result<PortNo, TextError> {
        super::value::port(self.need()?, self.names).ok_or_else(|| self.no_port("no port"))
    }

    /// The value is no port.
    pub fn no_port(&self, reason: &str) -> TextError {
        let known = ports::NAMES.iter().map(|(_, name)| *name);
        self.value_error(extension::unknown(reason, self.value.unwrap_or(""), known))
    }
}

/// Splits a text whose first byte is the `base`th of the whole one.
pub(super) fn words<'a>(text: &'a str, base: usize, names: &'a Names) -> Result<Vec<Word<'a>>, TextError> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let len = word_len(&text[at..]).ok_or_else(|| TextError {
            token: text[at..].trim().to_owned(),
            position: base + at,
            reason: "the parentheses or quotes do not match".to_owned(),
        })?;
        if len > 0 {
            all.push(word(&text[at..at + len], base + at, names));
        }
        at += len;
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    Ok(all)
}

/// Splits a whole text without names.
pub(super) fn bare_words(text: &str) -> Result<Vec<Word<'_>>, TextError> {
    words(text, 0, &NO_NAMES)
}

/// Bytes until a separator outside parentheses and quotes; `None` if they do not match.
fn word_len(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let (mut quoted, mut escaped) = (false, false);
    for (idx, c) in text.char_indices() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => quoted = true,
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => return Some(idx),
            c if c.is_whitespace() && depth == 0 => return Some(idx),
            _ => {}
        }
    }
    (depth == 0 && !quoted).then_some(text.len())
}

fn word<'a>(text: &'a str, pos: usize, names: &'a Names) -> Word<'a> {
    let separator = text.find(['=', ':', '(']).filter(|_| !text.starts_with('"'));
    let Some(at) = separator else {
        return Word { name: text, value: None, pos, value_pos: pos, names };
    };
    let mut value = &text[at + 1..];
    if text[at..].starts_with('(') {
        value = value.strip_suffix(')').unwrap_or(value);
    }
    Word { name: &text[..at], value: Some(value), pos, value_pos: pos + at + 1, names }
}
