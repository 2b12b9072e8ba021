//! Lines that differ, by the longest common subsequence.

use std::fmt::Write;

/// Longest texts that are compared line by line; longer ones are shown as a whole.
const MAX_LINES: usize = 4000;

/// The lines of both texts: common ones after two spaces, others after `-` (only in `old`) or `+` (only in `new`).
pub fn lines(old: &str, new: &str) -> String {
    let [old, new]: [Vec<&str>; 2] = [old, new].map(|text| text.lines().collect());
    let mut out = String::new();
    let mut put = |sign: char, line: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {sign} {line}");
    };
    if old.len().max(new.len()) > MAX_LINES {
        old.iter().for_each(|line| put('-', line));
        new.iter().for_each(|line| put('+', line));
        return out;
    }
    // Length of the longest common subsequence of what follows.
    let mut common = vec![vec![0u16; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                put(' ', a);
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                put('-', a);
                i += 1;
            }
            (_, Some(b)) => {
                put('+', b);
                j += 1;
            }
            _ => break,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn only_what_differs_has_a_sign() {
        let old = "name: blue\nvlan: 10\nports:\n- s1:1\n- s1:2\n";
        let new = "name: blue\nvlan: 11\nports:\n- s1:1\n- s1:3\n- s1:2\n";
        let expected =
            "    name: blue\n  - vlan: 10\n  + vlan: 11\n    ports:\n    - s1:1\n  + - s1:3\n    - s1:2\n";
        assert_eq!(lines(old, new), expected);
        assert_eq!(lines("", "a\n"), "  + a\n");
        assert_eq!(lines("a\nb\n", ""), "  - a\n  - b\n");
        assert_eq!(lines("", ""), "");
    }
}
