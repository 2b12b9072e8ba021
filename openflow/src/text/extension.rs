//! Words that weft does not know: what they belong to, and what may have been meant.

/// Names of fields that only the extensions of Nicira have.
const FIELDS: &[&str] = &[
    "in_port_oxm",
    "actset_output",
    "conj_id",
    "dp_hash",
    "ip_frag",
    "mpls_ttl",
    "nd_options_type",
    "nd_reserved",
    "nw_frag",
    "nw_ttl",
    "packet_type",
    "pkt_mark",
    "recirc_id",
    "skb_priority",
];

/// What the names of such fields begin with.
const PREFIXES: &[&str] =
    &["reg", "xreg", "xxreg", "ct_", "tun_", "nsh_", "NXM_NX_", "NXOXM_", "OXM_OF_PKT_REG"];

/// Names of actions that only the extensions of Nicira have.
const ACTIONS: &[&str] = &[
    "bundle",
    "bundle_load",
    "check_pkt_larger",
    "clone",
    "conjunction",
    "copy_field",
    "ct",
    "ct_clear",
    "debug_recirc",
    "debug_slow",
    "dec_nsh_ttl",
    "decap",
    "delete_field",
    "encap",
    "exit",
    "fin_timeout",
    "learn",
    "load",
    "move",
    "multipath",
    "nat",
    "note",
    "output_trunc",
    "pop",
    "pop_queue",
    "push",
    "reg_load",
    "resubmit",
    "sample",
];

/// What is said of them.
pub(super) const UNSUPPORTED: &str =
    "an extension of Open vSwitch (Nicira), which weft does not have (docs/limits.md, openflow)";

/// The name is of a field of the extensions.
pub(super) fn is_field(name: &str) -> bool {
    // `tun_id` has a field of the standard's; what begins like a register must go on like one.
    let like = |prefix: &str| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| !prefix.ends_with("reg") || rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    FIELDS.contains(&name) || (name != "tun_id" && PREFIXES.iter().any(|prefix| like(prefix)))
}

/// The name is of an action of the extensions.
pub(super) fn is_action(name: &str) -> bool {
    ACTIONS.contains(&name)
}

/// `reason`, and which of `known` was meant, if one is close.
pub(super) fn unknown<'a>(reason: &str, found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match closest(found, known) {
        Some(meant) => format!("{reason}; did you mean \"{meant}\"?"),
        None => reason.to_owned(),
    }
}

/// The closest of `known` to `found`, if one is close enough to have been meant.
pub fn closest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (found.chars().count() / 3).max(1);
    let far = |word: &'a str| (distance(&found.to_lowercase(), &word.to_lowercase()), word);
    let near = known.into_iter().map(far).filter(|(far, word)| *far <= limit && *far < word.len());
    near.min_by_key(|(far, _)| *far).map(|(_, word)| word)
}

/// Letters to insert, delete, replace or swap with their neighbour to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(40).collect(), b.chars().take(40).collect());
    // The rows for one and two letters of `a` less than the present one.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_meant_is_found() {
        let known = ["tp_dst", "tp_src", "nw_dst"];
        assert_eq!(closest("tp_dstt", known), Some("tp_dst"));
        assert_eq!(closest("pt_src", known), Some("tp_src"));
        assert_eq!(closest("blah", known), None);
    }

    #[test]
    fn extensions_are_known_by_name() {
        for name in ["reg0", "xxreg3", "ct_state", "tun_src", "nw_ttl", "tun_metadata0"] {
            assert!(is_field(name), "{name}");
        }
        for name in ["register", "tcp_flags", "nw_tos"] {
            assert!(!is_field(name), "{name}");
        }
    }
}
