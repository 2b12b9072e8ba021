//! What users write: one thing on the command line, or one in each line of a file.

use std::fmt::{self, Write};
use std::io::Read;

use anyhow::{Context, bail};
use openflow::text::TextError;

/// Most mistakes of one file that are told.
const MOST_ERRORS: usize = 20;

/// Where the text comes from, and the text.
#[derive(Debug)]
pub struct Source {
    /// Of the file; none for the command line.
    name: Option<String>,
    text: String,
}

/// One line that says something.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    source: &'a Source,
    /// From 1.
    number: usize,
    /// Without its comment.
    text: &'a str,
    /// Bytes of the line in front of `text`.
    before: usize,
}

impl Source {
    /// A text of the command line.
    pub fn text(text: &str) -> Self {
        Self { name: None, text: text.to_owned() }
    }

    /// A file; `-` is standard input.
    ///
    /// # Errors
    /// It cannot be read, or is no text.
    pub fn file(name: &str) -> anyhow::Result<Self> {
        let mut text = String::new();
        if name == "-" {
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            return Ok(Self { name: Some("standard input".to_owned()), text });
        }
        std::fs::File::open(name)
            .and_then(|mut file| file.read_to_string(&mut text))
            .context(name.to_owned())?;
        Ok(Self { name: Some(name.to_owned()), text })
    }

    /// A text of the command line, or standard input if it is `-`.
    ///
    /// # Errors
    /// Standard input cannot be read.
    pub fn one(text: &str) -> anyhow::Result<Self> {
        if text == "-" { Self::file("-") } else { Ok(Self::text(text)) }
    }

    /// The lines that say something; a text of the command line is one, even if it is empty.
    pub fn lines(&self) -> Vec<Line<'_>> {
        let line = |number, text| Line { source: self, number, text, before: 0 };
        if self.name.is_none() {
            return vec![line(1, self.text.as_str())];
        }
        // Editors elsewhere put the byte order mark of UTF-8 in front.
        let all = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text).lines().enumerate();
        let all = all.map(|(idx, text)| line(idx + 1, text.split('#').next().unwrap_or("")));
        all.filter(|line| !line.text.trim().is_empty()).collect()
    }

    /// Reads every line. Mistakes are collected, so that all can be mended at once.
    ///
    /// # Errors
    /// The mistakes, each with its place.
    pub fn read<T>(
        &self,
        mut read: impl FnMut(Line<'_>) -> Result<T, Mistake>,
    ) -> anyhow::Result<Vec<(usize, T)>> {
        let mut all = Vec::new();
        let mut mistakes: Vec<Mistake> = Vec::new();
        for line in self.lines() {
            match read(line) {
                Ok(item) => all.push((line.number, item)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() {
            return Ok(all);
        }
        let mut text = String::new();
        for mistake in mistakes.iter().take(MOST_ERRORS) {
            let _ = writeln!(text, "{mistake}");
        }
        if mistakes.len() > MOST_ERRORS {
            let _ = writeln!(text, "and {} more", mistakes.len() - MOST_ERRORS);
        }
        bail!("{}", text.trim_end().to_owned())
    }

    /// `flows.txt:12`, nothing for the command line.
    pub fn place(&self, number: usize) -> Option<String> {
        self.name.as_ref().map(|name| format!("{name}:{number}"))
    }

    /// A line as it was written.
    pub fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number - 1).unwrap_or("").trim()
    }
}

/// What is wrong with a line, and where.
#[derive(Debug, thiserror::Error)]
pub struct Mistake {
    place: Option<String>,
    error: TextError,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, error } = self;
        match place {
            Some(place) => {
                write!(f, "{place}:{}: \"{}\": {}", error.position + 1, error.token, error.reason)
            }
            None => error.fmt(f),
        }
    }
}

impl<'a> Line<'a> {
    /// What it says.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The first word, if it is one of `keywords`, and the line behind it.
    pub fn keyword<T: Copy>(self, keywords: &[(&str, T)]) -> (Option<T>, Self) {
        let skipped = self.text.len() - self.text.trim_start().len();
        let rest = &self.text[skipped..];
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        match keywords.iter().find(|(name, _)| *name == &rest[..end]) {
            Some((_, meant)) => {
                (Some(*meant), Self { text: &rest[end..], before: self.before + skipped + end, ..self })
            }
            None => (None, self),
        }
    }

    /// A mistake in it, with its place in the whole line.
    pub fn mistake(&self, mut error: TextError) -> Mistake {
        error.position += self.before;
        Mistake { place: self.source.place(self.number), error }
    }

    /// The line as a whole is wrong.
    pub fn wrong(&self, reason: impl Into<String>) -> Mistake {
        let token = self.text.trim().to_owned();
        let position = self.text.len() - self.text.trim_start().len();
        self.mistake(TextError { token, position, reason: reason.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: Some("f".to_owned()), text: text.to_owned() }
    }

    #[test]
    fn comments_and_empty_lines_say_nothing() {
        let source = source("\u{feff}# one\n\n a # b\n\t\nc\n");
        let lines: Vec<_> = source.lines().iter().map(|line| (line.number, line.text.trim())).collect();
        assert_eq!(lines, [(3, "a"), (5, "c")]);
        assert_eq!(Source::text("").lines().len(), 1, "an empty argument selects everything");
    }

    #[test]
    fn keywords_keep_the_columns_right() {
        let source = source("  delete tcp,foo\nadded=1\n");
        let keywords = [("add", 1), ("delete", 2)];
        let (keyword, rest) = source.lines()[0].keyword(&keywords);
        assert_eq!(keyword, Some(2));
        let error = openflow::text::parse_match(rest.text()).expect_err("no field foo");
        assert_eq!(rest.mistake(error).to_string(), "f:1:14: \"foo\": no such match field");
        assert_eq!(source.lines()[1].keyword(&keywords).0, None);
    }

    #[test]
    fn every_mistake_is_told() {
        let source = source("foo\ntcp\nbar\n");
        let read =
            |line: Line<'_>| openflow::text::parse_match(line.text()).map_err(|error| line.mistake(error));
        let told = source.read(read).expect_err("two mistakes").to_string();
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(told.contains("f:1:1: \"foo\"") && told.contains("f:3:1: \"bar\""), "{told}");
    }
}
