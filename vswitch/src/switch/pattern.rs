//! Matches in the words of a key: small, and compared without looking at fields.
//!
//! Two fields that share bits of a key are never valid in one match, so a set of fields and the conditions of a rule say
//! all that a match says. Of two matches, one covers the other, or both overlap, if their conditions do: where the
//! same bits mean different fields, prerequisites differ as well.

use std::sync::Arc;

use lookup::{Cond, Conds, Masks, Secret};
use openflow::{Field, Match, Oxm};

use crate::key::{self, N_WORDS};

/// A set of fields, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FieldSet(u64);

impl FieldSet {
    pub(super) fn of(matches: &Match) -> Self {
        Self(matches.iter().fold(0, |bits, oxm| bits | 1 << oxm.field as u8))
    }

    pub(super) fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

/// A match that some frame can satisfy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern<'a> {
    pub fields: FieldSet,
    pub conds: &'a Conds,
}

impl Pattern<'_> {
    /// The same as a match.
    pub(super) fn to_match(self) -> Match {
        let (mut value, mut mask) = ([0; N_WORDS], [0; N_WORDS]);
        for cond in self.conds.iter() {
            let word = usize::from(cond.word);
            (value[word], mask[word]) = (cond.value, cond.mask);
        }
        let fields = Field::ALL.iter().filter(|&&field| self.fields.0 >> field as u8 & 1 != 0);
        let oxm = |&field: &Field| Oxm::masked(field, key::get(&value, field), key::get(&mask, field));
        Match::pipeline(fields.map(oxm))
    }

    /// Every frame that satisfies `other` satisfies this.
    pub(super) fn covers(self, other: Self) -> bool {
        self.fields.is_within(other.fields) && {
            let mut theirs = other.conds.iter();
            self.conds.iter().all(|c| {
                let found = theirs.find(|o| o.word >= c.word).filter(|o| o.word == c.word);
                found.is_some_and(|o| c.mask & !o.mask == 0 && (c.value ^ o.value) & c.mask == 0)
            })
        }
    }

    /// Some frame satisfies both.
    pub(super) fn overlaps(self, other: Self) -> bool {
        common(self.conds, other.conds).all(|(a, b)| (a.value ^ b.value) & a.mask & b.mask == 0)
    }

    /// A hash of the pattern and of what else makes a flow the one it is.
    pub(super) fn hash(self, secret: Secret, place: u64) -> u64 {
        let mut words = [0; 2 + 3 * N_WORDS];
        (words[0], words[1]) = (place, self.fields.0);
        for (cond, at) in self.conds.iter().zip(words[2..].chunks_exact_mut(3)) {
            at.copy_from_slice(&[cond.word.into(), cond.value, cond.mask]);
        }
        secret.hash(&words[..2 + 3 * self.conds.masks().len()])
    }
}

/// Conditions on the same words.
fn common<'a>(a: &'a Conds, b: &'a Conds) -> impl Iterator<Item = (Cond, Cond)> {
    a.iter().filter_map(|a| Some((a, b.get(a.word)?)))
}

/// The bits that both look at.
pub(super) fn intersection(a: &Masks, b: &Masks) -> Arc<Masks> {
    let both = |&(word, mask): &(u8, u64)| {
        let (_, other) = b.iter().find(|(w, _)| *w == word)?;
        Some((word, mask & other)).filter(|(_, mask)| *mask != 0)
    };
    a.iter().filter_map(both).collect()
}

/// The hash of the bits of `masks`; none if the conditions do not settle all of them.
pub(super) fn project(secret: Secret, conds: &Conds, masks: &Masks) -> Option<u64> {
    let mut words = [0; N_WORDS];
    for (at, &(word, mask)) in words.iter_mut().zip(masks) {
        let cond = conds.get(word).filter(|c| mask & !c.mask == 0)?;
        *at = cond.value & mask;
    }
    Some(secret.hash(&words[..masks.len().min(N_WORDS)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_comes_back() {
        let all = [
            Match::new(),
            Match::new().untagged(),
            Match::new().tagged().in_port(openflow::PortNo(3)),
            Match::new().ipv4_dst([10, 0, 0, 0].into(), 8).tcp_dst(0).metadata(0, 5),
            Match::new().ipv6_src(1.into(), 128).ipv6_dst(0.into(), 1),
            Match::new().arp_tpa([0; 4].into(), 32),
        ];
        for matches in all {
            let conds = key::conds(&matches).expect("satisfiable");
            let pattern = Pattern { fields: FieldSet::of(&matches), conds: &conds };
            assert_eq!(pattern.to_match(), matches);
        }
    }
}
