//! Unsafe code lives in one crate, and says why it is sound.

use super::Finding;
use super::source::{Source, line_of, words};
use super::table::UNSAFE_CRATE;

/// How far above an unsafe block its `SAFETY:` comment may begin, in lines.
const REACH: usize = 10;

/// No `unsafe` outside the one crate; inside, each block and impl has a `// SAFETY:` comment.
pub fn check(source: &Source) -> Vec<Finding> {
    let found = words(&source.code).filter(|(_, word)| *word == "unsafe");
    found.filter_map(|(offset, word)| check_one(source, offset, offset + word.len())).collect()
}

fn check_one(source: &Source, offset: usize, end: usize) -> Option<Finding> {
    let line = line_of(&source.code, offset);
    if source.krate != UNSAFE_CRATE {
        let text = format!("unsafe code belongs to {UNSAFE_CRATE}");
        return Some(Finding::error(source.place(line), text));
    }
    let next = source.code[end..].trim_start();
    let needs_reason = next.starts_with('{') || next.starts_with("impl");
    let mut near = source.comments.lines().skip(line.saturating_sub(REACH + 1)).take(REACH + 1);
    let has_reason = near.any(|comment| comment.contains("SAFETY:"));
    let text = "unsafe without a `// SAFETY:` comment above it";
    (needs_reason && !has_reason).then(|| Finding::error(source.place(line), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_outside_its_crate_fails() {
        let source = Source::new("vswitch/src/lib.rs", "vswitch", "// unsafe\nfn f() { unsafe { g() } }\n");
        let found = check(&source);
        assert_eq!(found, [Finding::error("vswitch/src/lib.rs:2", "unsafe code belongs to netio")]);
    }

    #[test]
    fn unsafe_without_a_reason_fails() {
        let bare = Source::new("crates/netio/src/a.rs", "netio", "fn f() { unsafe { g() } }\n");
        assert_eq!(check(&bare).len(), 1);
        let reasoned = "// SAFETY: g touches nothing.\nfn f() { unsafe { g() } }\n";
        assert_eq!(check(&Source::new("crates/netio/src/a.rs", "netio", reasoned)), []);
    }

    #[test]
    fn the_name_of_the_lint_is_no_unsafe_code() {
        assert_eq!(check(&Source::new("weft/src/main.rs", "weft", "#![deny(unsafe_code)]\n")), []);
    }
}
