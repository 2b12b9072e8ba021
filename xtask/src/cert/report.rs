//! What the tester printed, counted.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// One case and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Outcome {
    /// Heading of the file.
    pub file: String,
    /// Description of the case.
    pub case: String,
    /// Why it failed; absent when it passed.
    pub error: Option<String>,
}

/// Counts of an edition.
pub struct Counts {
    /// Cases run.
    pub n_cases: usize,
    /// Cases passed.
    pub n_passed: usize,
}

/// Reads the tester's log: a heading a file, an indented line a case that ends in OK or ERROR, and the reason of an
/// error, indented further.
pub fn parse(log: &str) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut file = String::new();
    let body = log.split("--- Test start ---").nth(1).unwrap_or("");
    for line in body.split("---  Test end  ---").next().unwrap_or("").lines() {
        // Cases that measure a rate print dots while they send.
        let line = line.trim_start_matches('.');
        if let Some(reason) = line.strip_prefix("        ") {
            if let Some(last) = outcomes.last_mut()
                && last.error.as_deref() == Some("")
            {
                last.error = Some(reason.trim().to_owned());
            }
        } else if let Some(case) = line.strip_prefix("    ") {
            let (case, error) = match (case.strip_suffix(" OK"), case.strip_suffix(" ERROR")) {
                (Some(case), _) => (case, None),
                (_, Some(case)) => (case, Some(String::new())),
                _ => continue,
            };
            outcomes.push(Outcome { file: file.clone(), case: case.trim().to_owned(), error });
        } else if let Some((_, _)) = line.split_once(": ")
            && !line.starts_with("dpid=")
        {
            file = line.trim().to_owned();
        }
    }
    outcomes
}

/// Prints the failures and the counts by kind.
pub fn print(edition: &str, outcomes: &[Outcome]) -> Counts {
    let mut kinds: BTreeMap<&str, Counts> = BTreeMap::new();
    for outcome in outcomes {
        let kind = outcome.file.split(':').next().unwrap_or("");
        let counts = kinds.entry(kind).or_insert(Counts { n_cases: 0, n_passed: 0 });
        counts.n_cases += 1;
        match &outcome.error {
            None => counts.n_passed += 1,
            Some(error) => println!("FAILED {edition} {} -- {}\n       {error}", outcome.file, outcome.case),
        }
    }
    for (kind, counts) in &kinds {
        println!("{edition} {kind}: {} of {}", counts.n_passed, counts.n_cases);
    }
    let n_passed = kinds.values().map(|counts| counts.n_passed).sum();
    println!("{edition}: {n_passed} passed, {} failed", outcomes.len() - n_passed);
    Counts { n_cases: outcomes.len(), n_passed }
}

/// Keeps every outcome as JSON.
pub fn write(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    std::fs::write(path, serde_json::to_vec_pretty(outcomes)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_counted_case_by_case() {
        let log = "noise: x\n--- Test start ---\nwaiting for switches connection...\n\
                   dpid=0000000000000001 : Join target SW.\nmatch: 01_IN_PORT\n...    \
                   ethernet/ipv4-->'in_port=1'    OK\n    ethernet/arp-->'in_port=1'    ERROR\n        \
                   Failed to add flows: OFPErrorMsg[type=0x04, code=0x01]\n---  Test end  ---\n    x OK\n";
        let outcomes = parse(log);
        assert_eq!(outcomes.len(), 2);
        assert_eq!(outcomes[0].file, "match: 01_IN_PORT");
        assert_eq!(outcomes[0].error, None);
        assert!(outcomes[1].error.as_deref().expect("failed").contains("0x04"));
    }
}
