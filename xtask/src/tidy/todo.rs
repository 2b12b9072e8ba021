//! What is left undone is written down where users look.

use super::Finding;
use super::source::Source;

const MARKS: &[&str] = &["TODO", "FIXME", "XXX"];

/// A mark in a comment must name its row of docs/limits.md: `TODO(router-ipv6)`.
pub fn check(source: &Source, limits: &str) -> Vec<Finding> {
    let lines = source.comments.lines().enumerate();
    lines.filter_map(|(at, comment)| check_line(comment, limits, || source.place(at + 1))).collect()
}

fn check_line(comment: &str, limits: &str, place: impl Fn() -> String) -> Option<Finding> {
    let (mark, rest) = MARKS.iter().find_map(|mark| {
        let (before, rest) = comment.split_once(mark)?;
        // Part of a longer word, or quoted, is talk about marks.
        let joined = |c: char| c.is_alphanumeric() || c == '`' || c == '_';
        let alone = !before.ends_with(joined) && !rest.starts_with(joined);
        alone.then_some((mark, rest))
    })?;
    let tag = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(tag, _)| tag);
    match tag {
        None | Some("") => {
            let text = format!("{mark} without a tag: write `{mark}(TAG)` and a row TAG in docs/limits.md");
            Some(Finding::error(place(), text))
        }
        Some(tag) if !has_row(limits, tag) => {
            Some(Finding::error(place(), format!("{mark}({tag}) has no row in docs/limits.md")))
        }
        Some(_) => None,
    }
}

fn has_row(limits: &str, tag: &str) -> bool {
    limits.lines().filter(|line| line.starts_with(['|', '-', '*'])).any(|line| line.contains(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Finding> {
        check(&Source::new("weft/src/main.rs", "weft", text), "| router-ipv6 | no ND yet |\n")
    }

    #[test]
    fn a_mark_without_a_row_fails() {
        assert_eq!(found("// TODO: later\n").len(), 1);
        let text = "TODO(other) has no row in docs/limits.md";
        assert_eq!(found("\n// TODO(other): later\n"), [Finding::error("weft/src/main.rs:2", text)]);
    }

    #[test]
    fn a_mark_with_a_row_passes() {
        assert_eq!(found("// TODO(router-ipv6): answer neighbour solicitations\n"), []);
        assert_eq!(found("// no TODOs here, and `TODO` is only quoted\nlet s = \"TODO\";\n"), []);
    }
}
