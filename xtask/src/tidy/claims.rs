//! A number with a unit in README.md is a claim: it has a row in docs/claims.md, and a row has a state.

use super::Finding;
use super::table::{CLAIM_STATES, UNITS};

/// Every number with a unit of the README must be in a row of the claims, and every row must be complete.
pub fn check(readme: &str, claims: &str) -> Vec<Finding> {
    let claimed: Vec<String> = rows(claims).flat_map(|(_, row)| quantities(row)).collect();
    let lines = readme.lines().enumerate();
    let missing =
        lines.flat_map(|(at, line)| quantities(line).into_iter().map(move |number| (at + 1, number)));
    let missing = missing.filter(|(_, number)| !claimed.contains(number)).map(|(line, number)| {
        Finding::error(format!("README.md:{line}"), format!("`{number}` has no row in docs/claims.md"))
    });
    missing.chain(rows(claims).filter_map(|(line, row)| check_row(line, row))).collect()
}

fn rows(claims: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_row =
        |line: &str| line.starts_with('|') && !line.starts_with("|--") && !line.starts_with("| claim");
    claims.lines().enumerate().filter(move |(_, line)| is_row(line)).map(|(at, line)| (at + 1, line))
}

fn check_row(line: usize, row: &str) -> Option<Finding> {
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let place = format!("docs/claims.md:{line}");
    let [claim, number, command, machine, state] = cells[..] else {
        return Some(Finding::error(place, "a row has claim, number, command, machine and status"));
    };
    if !CLAIM_STATES.contains(&state) {
        return Some(Finding::error(
            place,
            format!("status `{state}` is none of {}", CLAIM_STATES.join(", ")),
        ));
    }
    let empty = claim.is_empty() || number.is_empty() || command.is_empty();
    let bare = state == "proved" && machine.is_empty();
    (empty || bare)
        .then(|| Finding::error(place, "a claim needs a number, a command and, when proved, a machine"))
}

/// Numbers followed by a unit, written `NUMBER UNIT`.
fn quantities(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        before = rest[..start].chars().next_back().unwrap_or(before);
        rest = &rest[start..];
        let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','))).unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches(['.', ',']);
        let after = &rest[number.len()..];
        // Part of a name, an address or a version is no quantity.
        let alone = !before.is_alphanumeric() && !matches!(before, '.' | '/' | ':' | '-' | '_');
        if let Some(unit) = unit_of(after).filter(|_| alone) {
            found.push(format!("{number} {unit}"));
        }
        before = rest[..end].chars().next_back().unwrap_or(' ');
        rest = &rest[end..];
    }
    found
}

fn unit_of(after: &str) -> Option<&'static str> {
    let word = after.strip_prefix(' ').unwrap_or(after);
    let end = word.find(|c: char| !(c.is_alphabetic() || matches!(c, '%' | '/'))).unwrap_or(word.len());
    UNITS.iter().find(|unit| **unit == word[..end].trim_end_matches('/')).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: &str = "| claim | number | command | machine | status |\n|---|---|---|---|---|\n\
                          | TCP | at least 5 Gbit/s | `cargo xtask bench path` | 2 cores | proved |\n";

    #[test]
    fn a_number_without_a_row_fails() {
        let found = check("Fast:\n5 Gbit/s of TCP, 40 Mpps.\n", CLAIMS);
        assert_eq!(found, [Finding::error("README.md:2", "`40 Mpps` has no row in docs/claims.md")]);
    }

    #[test]
    fn numbers_without_a_unit_are_no_claims() {
        let text = "OpenFlow 1.3.5, port 6653, 10.0.0.1/24, h1 s1, RFC 9457 says, two of 64, 802.1Q";
        assert_eq!(quantities(text), [""; 0]);
        assert_eq!(quantities("12.5 Mpps, 98us (50%) and 3 s."), ["12.5 Mpps", "98 us", "50 %", "3 s"]);
    }

    #[test]
    fn an_incomplete_row_fails() {
        assert_eq!(check("", "| TCP | 5 Gbit/s | `x` | here | maybe |\n").len(), 1);
        assert_eq!(check("", "| TCP | 5 Gbit/s | `x` |  | proved |\n").len(), 1);
        assert_eq!(check("", "| TCP | 5 Gbit/s |\n").len(), 1);
        assert_eq!(check("", "| TCP | 5 Gbit/s | `x` |  | pending |\n"), []);
    }
}
