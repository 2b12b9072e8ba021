//! A row of docs/conformance*.md that names a test names one that is there: `file.rs::function`, the file by the end of its path.

use super::Finding;
use super::source::Source;

/// Every test named in `document` (at `path`) must be a function of a file with that name.
pub fn check(path: &str, document: &str, sources: &[Source]) -> Vec<Finding> {
    let lines = document.lines().enumerate();
    let named = lines.flat_map(|(at, line)| tests_in(line).map(move |test| (at + 1, test)));
    let missing = named.filter(|(_, (file, function))| !exists(sources, file, function));
    missing
        .map(|(line, (file, function))| {
            let text =
                format!("there is no test `{file}::{function}`; name it by the end of its file's path");
            Finding::error(format!("{path}:{line}"), text)
        })
        .collect()
}

/// The words between backticks that look like `file.rs::function`.
fn tests_in(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter_map(|word| {
        word.split_once(".rs::").map(|(file, _)| (&word[..file.len() + 3], &word[file.len() + 5..]))
    })
}

fn exists(sources: &[Source], file: &str, function: &str) -> bool {
    let is_file =
        |path: &str| path.strip_suffix(file).is_some_and(|before| before.is_empty() || before.ends_with('/'));
    let declared = format!("fn {function}(");
    sources.iter().any(|source| is_file(&source.path) && source.code.contains(&declared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_not_there_is_found() {
        let sources = [Source::new("vswitch/tests/switch.rs", "vswitch", "fn it_works() {}\n")];
        let found = |text| check("docs/conformance.md", text, &sources);
        assert_eq!(found("| §1 | works | `switch.rs::it_works`, `tests/switch.rs::it_works` |"), []);
        assert_eq!(found("| §1 | works | `switch.rs::it_fails` |").len(), 1);
        assert_eq!(found("`itch.rs::it_works`").len(), 1);
    }
}
