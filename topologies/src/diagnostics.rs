//! What is wrong with a topology file, where, and what was probably meant.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

/// A file and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name as the user wrote it.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// Line and column of a byte offset, both from 1; the column counts characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Bytes of the text it is about.
    pub at: Range<usize>,
    /// What it concerns: `link h1:eth0 -- s9:1`. Empty: the file.
    pub thing: String,
    /// What is wrong: `no node "s9"`.
    pub what: String,
    /// The way out: `did you mean "s1"?`.
    pub hint: Option<String>,
    /// Other places that explain it.
    pub notes: Vec<(Range<usize>, String)>,
}

impl Diagnostic {
    /// `thing: what` at a place.
    pub fn new(at: Range<usize>, thing: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at, thing: thing.into(), what: what.into(), hint: None, notes: Vec::new() }
    }

    /// With a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the closest of `known` to `found` as what was probably meant, or all of them if they are few.
    #[must_use]
    pub fn meant<'a>(mut self, found: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        self.hint = match closest(found, known.iter().copied()) {
            Some(best) => Some(format!("did you mean \"{best}\"?")),
            None if (1..=8).contains(&known.len()) => Some(format!("there is {}", list(&known))),
            None => self.hint,
        };
        self
    }

    /// With another place that explains it.
    #[must_use]
    pub fn note(mut self, at: Range<usize>, label: impl Into<String>) -> Self {
        self.notes.push((at, label.into()));
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.thing.is_empty() {
            write!(f, "{}: ", self.thing)?;
        }
        f.write_str(&self.what)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// All that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// The file.
    pub source: Source,
    /// What is wrong, in the order of the text.
    pub found: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(crate) fn new(source: Source, mut found: Vec<Diagnostic>) -> Self {
        found.sort_by_key(|diagnostic| diagnostic.at.start);
        found.dedup();
        Self { source, found }
    }

    /// For people: each diagnostic as one line `file:line:column: ...` and below it the lines of the file.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for diagnostic in &self.found {
            out.push_str(&self.line(diagnostic, coloured));
            out.push('\n');
            if !self.source.text.is_empty() {
                out.push_str(&renderer.render(&[self.group(diagnostic)]));
                out.push('\n');
            }
        }
        out
    }

    /// One line a diagnostic, without the text of the file: for programs and for those who may not read the file.
    pub fn lines(&self) -> Vec<String> {
        self.found.iter().map(|diagnostic| self.line(diagnostic, false)).collect()
    }

    fn line(&self, diagnostic: &Diagnostic, coloured: bool) -> String {
        let (line, column) = self.source.position(diagnostic.at.start);
        let place = format!("{}:{line}:{column}:", self.source.name);
        if coloured {
            format!("\x1b[1m{place}\x1b[0m \x1b[1;31merror\x1b[0m: \x1b[1m{diagnostic}\x1b[0m")
        } else {
            format!("{place} {diagnostic}")
        }
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let mut snippet: Snippet<'a, Annotation<'a>> = Snippet::source(&self.source.text)
            .annotation(AnnotationKind::Primary.span(self.clamp(&diagnostic.at)).label(&diagnostic.what));
        for (at, label) in &diagnostic.notes {
            snippet = snippet.annotation(AnnotationKind::Context.span(self.clamp(at)).label(label));
        }
        Group::with_level(Level::ERROR).element(snippet)
    }

    /// Within the text, on character boundaries, and one line only.
    fn clamp(&self, at: &Range<usize>) -> Range<usize> {
        let text = &self.source.text;
        let boundary = |mut offset: usize| {
            while !text.is_char_boundary(offset) {
                offset -= 1;
            }
            offset
        };
        let start = boundary(at.start.min(text.len()));
        let end = boundary(at.end.clamp(start, text.len()));
        let line_end = text[start..end].find('\n').map_or(end, |newline| start + newline);
        start..line_end
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for Diagnostics {}

/// The closest of `known` to `found`, if one is close enough to have been meant.
pub fn closest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (found.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|word| !word.is_empty() && *word != found)
        .map(|word| (distance(&found.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(far, word)| *far <= limit && *far < word.chars().count())
        .min_by_key(|(far, _)| *far)
        .map(|(_, word)| word)
}

/// Edits between two words: insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// `"a"`, `"a" and "b"`, `"a", "b" and "c"`.
pub(crate) fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised() {
        let known = ["s1", "switch", "interfaces", "h1"];
        assert_eq!(closest("s9", known), Some("s1"));
        assert_eq!(closest("swithc", known), Some("switch"));
        assert_eq!(closest("interface", known), Some("interfaces"));
        assert_eq!(closest("firewall", known), None);
    }

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let source = Source { name: "x".into(), text: "a: b\n\u{fc}\u{fc}: c\n".into() };
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(5), (2, 1));
        assert_eq!(source.position(9), (2, 3));
        assert_eq!(source.position(999), (3, 1));
    }

    #[test]
    fn the_line_comes_first_and_the_text_below() {
        let text = "links:\n  - endpoints: [\"h1:eth0\", \"s9:1\"]\n";
        let at = text.find("s9").unwrap();
        let source = Source { name: "lab.yaml".into(), text: text.into() };
        let diagnostic =
            Diagnostic::new(at..at + 2, "link h1:eth0 -- s9:1", "no node \"s9\"").meant("s9", ["s1"]);
        let rendered = Diagnostics::new(source, vec![diagnostic]).render(false);
        let first = rendered.lines().next().unwrap();
        assert_eq!(first, "lab.yaml:2:29: link h1:eth0 -- s9:1: no node \"s9\"; did you mean \"s1\"?");
        assert!(rendered.contains("^^ no node \"s9\""), "{rendered}");
    }
}
