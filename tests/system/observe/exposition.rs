//! A strict reader of Prometheus' text format 0.0.4: whatever the format forbids is a panic with the line.

use std::collections::{BTreeMap, BTreeSet};

/// Labels of a sample, in order.
type Labels = BTreeMap<String, String>;

/// A page that was found right.
#[derive(Debug)]
pub struct Page {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Page {
    /// The sample with exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = self.samples.get(&(name.to_owned(), labels.clone()));
        *found.unwrap_or_else(|| {
            let near: Vec<_> = self.samples.keys().filter(|(other, _)| other == name).collect();
            panic!("no sample {name}{labels:?}; there are {near:?}")
        })
    }

    /// No counter went back or away.
    pub fn check_monotonic_since(&self, before: &Self) {
        for ((name, labels), then) in &before.samples {
            if before.kinds[name] == "counter" {
                let now = self.samples.get(&(name.clone(), labels.clone()));
                assert!(now.is_some_and(|now| now >= then), "{name}{labels:?} went from {then} to {now:?}");
            }
        }
    }
}

/// Reads a page.
pub fn parse(text: &str) -> Page {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut page = Page { kinds: BTreeMap::new(), samples: BTreeMap::new() };
    let (mut helped, mut done) = (BTreeSet::new(), BTreeSet::new());
    let mut family: Option<String> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(!help.trim().is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            assert!(is_name(name) && helped.contains(name), "{line}: HELP comes first");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}: counters end in _total");
            assert!(page.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}: twice");
            if let Some(last) = family.replace(name.to_owned()) {
                done.insert(last);
            }
        } else {
            let (name, labels, value) = sample(line);
            assert_eq!(
                family.as_ref(),
                Some(&name),
                "{line}: samples of a family stand together, behind its TYPE"
            );
            assert!(!done.contains(&name), "{line}");
            assert!(value.is_finite() && (page.kinds[&name] == "gauge" || value >= 0.0), "{line}");
            assert!(page.samples.insert((name, labels), value).is_none(), "{line}: twice");
        }
    }
    for name in page.kinds.keys() {
        assert!(page.samples.keys().any(|(other, _)| other == name), "{name} has no sample");
    }
    page
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// `name{label="value",...} 1.5`
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(label) && !label.starts_with("__"), "{line}");
            let (value, behind) = quoted(value).unwrap_or_else(|| panic!("no end of a label: {line}"));
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}: a label twice");
            match behind.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = behind.strip_prefix('}').unwrap_or_else(|| panic!("no brace: {line}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no space: {line}"));
    (name.to_owned(), labels, value.parse().unwrap_or_else(|error| panic!("{error}: {line}")))
}

/// A label's value and what follows the quote behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

#[test]
fn what_the_format_forbids_is_found() {
    let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"\\\"1\\\\\\n\"} 2\na_total 3.5\n";
    assert_eq!(parse(good).value("a_total", &[("x", "\"1\\\n")]), 2.0);
    for (from, to) in [
        ("# HELP a_total A.\n", ""),
        ("3.5\n", "3.5"),
        ("a_total 3.5\n", "a_total{x=\"\\\"1\\\\\\n\"} 9\n"),
        ("counter", "gauge"),
        ("a_total 3.5", "b_total 3.5"),
        ("a_total 3.5", "a_total -1"),
        ("{x=", "{x-y="),
        (" 3.5", " three"),
    ] {
        let wrong = good.replace(from, to);
        assert!(wrong != good && std::panic::catch_unwind(|| parse(&wrong)).is_err(), "{wrong}");
    }
}
