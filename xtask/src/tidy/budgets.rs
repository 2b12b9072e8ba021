//! Files and functions stay small.

use super::Finding;
use super::source::{Function, Source};
use super::table::{FILE_LINES, FILE_LINES_MAX, FUNCTION_LINES, FUNCTION_LINES_MAX};

/// A file or function over its budget is a warning, far over it an error; a waiver in the file settles both.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings: Vec<Finding> = check_file(source).into_iter().collect();
    if source.waiver("long function").is_none() {
        findings.extend(source.functions().iter().filter_map(|function| check_function(source, function)));
    }
    findings
}

fn check_file(source: &Source) -> Option<Finding> {
    let n_lines = source.n_lines_without_tests();
    if n_lines <= FILE_LINES || source.waiver("long file").is_some() {
        return None;
    }
    let text = format!("{n_lines} lines without tests, the budget is {FILE_LINES}");
    if n_lines <= FILE_LINES_MAX {
        return Some(Finding::warning(&source.path, text));
    }
    let way_out = "split it, or say why not: `// tidy: long file: REASON`";
    Some(Finding::error(&source.path, format!("{text}: {way_out}")))
}

fn check_function(source: &Source, function: &Function) -> Option<Finding> {
    if function.n_lines <= FUNCTION_LINES {
        return None;
    }
    let Function { name, line, n_lines } = function;
    let text = format!("`{name}` has {n_lines} lines, the budget is {FUNCTION_LINES}");
    if *n_lines <= FUNCTION_LINES_MAX {
        return Some(Finding::warning(source.place(*line), text));
    }
    let way_out = "split it, or say why not: `// tidy: long function: REASON`";
    Some(Finding::error(source.place(*line), format!("{text}: {way_out}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("openflow/src/oxm.rs", "openflow", text)
    }

    #[test]
    fn a_long_file_warns_then_fails() {
        assert_eq!(check(&source(&"const A: u8 = 1;\n".repeat(600))), []);
        let found = check(&source(&"const A: u8 = 1;\n".repeat(601)));
        let text = "601 lines without tests, the budget is 600";
        assert_eq!(found, [Finding::warning("openflow/src/oxm.rs", text)]);
        let found = check(&source(&"const A: u8 = 1;\n".repeat(801)));
        assert!(matches!(&found[..], [Finding { level: crate::tidy::Level::Error, .. }]), "{found:?}");
    }

    #[test]
    fn a_waiver_or_tests_make_room() {
        let waiver = "// tidy: long file: one table of the standard\n";
        assert_eq!(check(&source(&(waiver.to_owned() + &"const A: u8 = 1;\n".repeat(900)))), []);
        let tests = "const A: u8 = 1;\n".repeat(900);
        assert_eq!(check(&source(&format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{tests}}}\n"))), []);
    }

    #[test]
    fn a_long_function_warns_then_fails() {
        let function = |n: usize| source(&format!("fn f() {{\n{}}}\n", "g();\n".repeat(n)));
        assert_eq!(check(&function(58)), []);
        let found = check(&function(59));
        assert_eq!(found, [Finding::warning("openflow/src/oxm.rs:1", "`f` has 61 lines, the budget is 60")]);
        assert!(check(&function(150))[0].text.contains("say why not"));
    }
}
