//! Words of a flow: `name`, `name=value`, `name:value`, `name(value)`, between commas and spaces.

use super::TextError;

/// One word. `pos` counts the bytes of the whole text before the name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    pub name: &'a str,
    pub value: Option<&'a str>,
    pub pos: usize,
    value_pos: usize,
}

impl<'a> Word<'a> {
    /// An error about the name.
    pub fn error(&self, reason: impl Into<String>) -> TextError {
        TextError { token: self.name.to_owned(), position: self.pos, reason: reason.into() }
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
}

/// Splits a text whose first byte is the `base`th of the whole one.
pub(super) fn words(text: &str, base: usize) -> Result<Vec<Word<'_>>, TextError> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let len = word_len(&text[at..]).ok_or_else(|| TextError {
            token: text[at..].trim().to_owned(),
            position: base + at,
            reason: "the parentheses do not match".to_owned(),
        })?;
        if len > 0 {
            all.push(word(&text[at..at + len], base + at));
        }
        at += len;
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    Ok(all)
}

/// Bytes until a separator outside parentheses; `None` if they do not match.
fn word_len(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (idx, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => return Some(idx),
            c if c.is_whitespace() && depth == 0 => return Some(idx),
            _ => {}
        }
    }
    (depth == 0).then_some(text.len())
}

fn word(text: &str, pos: usize) -> Word<'_> {
    let Some(at) = text.find(['=', ':', '(']) else {
        return Word { name: text, value: None, pos, value_pos: pos };
    };
    let mut value = &text[at + 1..];
    if text[at..].starts_with('(') {
        value = value.strip_suffix(')').unwrap_or(value);
    }
    Word { name: &text[..at], value: Some(value), pos, value_pos: pos + at + 1 }
}
