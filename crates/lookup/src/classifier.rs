//! The general classifier: merged tuple spaces (after TupleMerge, Daly et al., ToN 2019).
//!
//! Rules with the same or a wider mask share a hash table on the bits they all have; a chain of rules with the same
//! bits stays short or a table of its own is made. A look-up costs one probe for each table, and stops where no later
//! table can hold a better rule. Tables come from rules only: no key that is looked up can make one.

use std::sync::Arc;

use crate::rule::{Mask, Rule, mask_of};
use crate::{Cond, ExactMap, Secret};

/// Longest chain that a rule may join in a table that is not exactly of its mask.
const MAX_CHAIN: usize = 6;
/// Tables below which new ones take the whole mask of their first rule.
const N_EXACT: usize = 4;
/// End of a chain.
const NIL: u32 = u32::MAX;

/// A rule in its chain, with what a look-up needs of it beside it: following the pointer would cost a cache miss.
#[derive(Debug)]
struct Link<T> {
    rank: u64,
    leaf: u64,
    next: u32,
    /// The hash has compared every bit of the rule.
    is_exact: bool,
    rule: Arc<Rule<T>>,
}

/// What a look-up found.
#[derive(Debug)]
pub struct Hit<'a, T> {
    /// The rule.
    pub rule: &'a Arc<Rule<T>>,
    /// The word that was put in with it.
    pub leaf: u64,
}

/// Rules that agree on which bits are hashed.
#[derive(Debug)]
struct Tuple<T> {
    mask: Mask,
    /// At least the highest rank of its rules.
    max_rank: u64,
    heads: ExactMap,
    links: Vec<Option<Link<T>>>,
    free: Vec<u32>,
}

/// Any rules at all, found by the highest rank.
#[derive(Debug)]
pub struct Classifier<T> {
    secret: Secret,
    /// By descending `max_rank`.
    tuples: Vec<Tuple<T>>,
    len: usize,
}

impl<T> Classifier<T> {
    /// Without rules.
    pub fn new(secret: Secret) -> Self {
        Self { secret, tuples: Vec::new(), len: 0 }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No rule.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Hash tables a look-up may have to probe.
    pub fn n_tables(&self) -> usize {
        self.tuples.len()
    }

    /// Adds a rule, and a word that a look-up will return without touching the rule. Its rank must be new.
    pub fn insert(&mut self, rule: Arc<Rule<T>>, leaf: u64) {
        let mask = mask_of(&rule.conds);
        let at = self.table_for(&rule, &mask);
        self.tuples[at].insert(rule, leaf);
        self.len += 1;
        // Only the one that changed can be out of order, and only upwards.
        let mut at = at;
        while at > 0 && self.tuples[at - 1].max_rank < self.tuples[at].max_rank {
            self.tuples.swap(at - 1, at);
            at -= 1;
        }
    }

    /// The table a new rule is to join; made if need be.
    fn table_for(&mut self, rule: &Rule<T>, mask: &Mask) -> usize {
        let bits = n_bits(mask);
        let fits = |tuple: &Tuple<T>| {
            tuple.mask == *mask
                || n_bits(&tuple.mask) * 2 >= bits
                    && is_within(&tuple.mask, mask)
                    && tuple.chain_len(rule) < MAX_CHAIN
        };
        let candidates = self.tuples.iter().enumerate().filter(|(_, tuple)| fits(tuple));
        if let Some((at, _)) = candidates.max_by_key(|(_, tuple)| n_bits(&tuple.mask)) {
            return at;
        }
        let relaxed = relax(mask);
        let whole = self.tuples.len() < N_EXACT
            || relaxed.is_empty()
            || self.tuples.iter().any(|tuple| tuple.mask == relaxed);
        self.tuples.push(Tuple::new(if whole { mask.clone() } else { relaxed }, self.secret));
        self.tuples.len() - 1
    }

    /// Removes the rule with the rank and conditions of `rule`.
    pub fn remove(&mut self, rule: &Rule<T>) -> Option<Arc<Rule<T>>> {
        let mask = mask_of(&rule.conds);
        let at = self.tuples.iter().position(|tuple| {
            tuple.max_rank >= rule.rank && is_within(&tuple.mask, &mask) && tuple.holds(rule)
        })?;
        let removed = self.tuples[at].remove(rule);
        if self.tuples[at].heads.is_empty() {
            self.tuples.remove(at);
        }
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The rule of the highest rank that `key` satisfies.
    #[inline]
    pub fn lookup(&self, key: &[u64]) -> Option<Hit<'_, T>> {
        let mut best: Option<&Link<T>> = None;
        for tuple in &self.tuples {
            if best.is_some_and(|b| b.rank > tuple.max_rank) {
                break;
            }
            if let Some(found) = tuple.lookup(key)
                && best.is_none_or(|b| found.rank > b.rank)
            {
                best = Some(found);
            }
        }
        best.map(|link| Hit { rule: &link.rule, leaf: link.leaf })
    }

    /// Every rule, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Hit<'_, T>> {
        let links = self.tuples.iter().flat_map(|tuple| tuple.links.iter().flatten());
        links.map(|link| Hit { rule: &link.rule, leaf: link.leaf })
    }
}

impl<T> Tuple<T> {
    fn new(mask: Mask, secret: Secret) -> Self {
        let heads = ExactMap::new(mask.len(), secret);
        Self { mask, max_rank: 0, heads, links: Vec::new(), free: Vec::new() }
    }

    /// The bits of a rule that are hashed.
    fn key_of(&self, conds: &[Cond]) -> Vec<u64> {
        let value = |word| conds.iter().find(|c| c.word == word).map_or(0, |c| c.value);
        self.mask.iter().map(|&(word, mask)| value(word) & mask).collect()
    }

    #[inline(always)]
    fn head(&self, key: &[u64]) -> Option<u32> {
        let part = |(word, mask): (u8, u64)| key.get(word as usize).map_or(0, |w| w & mask);
        match *self.mask {
            [] => self.heads.get(&[]),
            [a] => self.heads.get_array([part(a)]),
            [a, b] => self.heads.get_array([part(a), part(b)]),
            [a, b, c] => self.heads.get_array([part(a), part(b), part(c)]),
            [a, b, c, d] => self.heads.get_array([part(a), part(b), part(c), part(d)]),
            _ => {
                let mut words = [0; 32];
                let n = self.mask.len().min(words.len());
                for (word, &m) in words.iter_mut().zip(&self.mask) {
                    *word = part(m);
                }
                self.heads.get(&words[..n])
            }
        }
    }

    #[inline(always)]
    fn lookup(&self, key: &[u64]) -> Option<&Link<T>> {
        let mut at = self.head(key)?;
        while let Some(Some(link)) = self.links.get(at as usize) {
            if link.is_exact || link.rule.matches(key) {
                return Some(link);
            }
            at = link.next;
        }
        None
    }

    fn chain(&self, conds: &[Cond]) -> impl Iterator<Item = (u32, &Link<T>)> {
        let link = |at: u32| self.links.get(at as usize).and_then(Option::as_ref).map(|link| (at, link));
        let first = self.heads.get(&self.key_of(conds)).and_then(link);
        core::iter::successors(first, move |(_, l)| link(l.next))
    }

    fn chain_len(&self, rule: &Rule<T>) -> usize {
        self.chain(&rule.conds).count()
    }

    fn holds(&self, rule: &Rule<T>) -> bool {
        self.chain(&rule.conds).any(|(_, link)| link.rule.rank == rule.rank)
    }

    /// Puts a rule into its chain, which descends by rank.
    fn insert(&mut self, rule: Arc<Rule<T>>, leaf: u64) {
        self.max_rank = self.max_rank.max(rule.rank);
        let before =
            self.chain(&rule.conds).take_while(|(_, l)| l.rule.rank > rule.rank).last().map(|(at, _)| at);
        let key = self.key_of(&rule.conds);
        let next = match before {
            Some(at) => self.links[at as usize].as_ref().map_or(NIL, |l| l.next),
            None => self.heads.get(&key).unwrap_or(NIL),
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            u32::try_from(self.links.len() - 1).expect("fewer than 2^32 rules fit in memory")
        });
        let is_exact = mask_of(&rule.conds) == self.mask;
        self.links[at as usize] = Some(Link { rank: rule.rank, leaf, next, is_exact, rule });
        self.join(before, key, at);
    }

    /// Makes `to` follow `before`, or begin the chain of `key`.
    fn join(&mut self, before: Option<u32>, key: Vec<u64>, to: u32) {
        match before {
            Some(at) => self.links[at as usize].as_mut().expect("the chain was just walked").next = to,
            None if to == NIL => drop(self.heads.remove(&key)),
            None => drop(self.heads.insert(&key, to)),
        }
    }

    fn remove(&mut self, rule: &Rule<T>) -> Option<Arc<Rule<T>>> {
        let chain: Vec<u32> = self.chain(&rule.conds).map(|(at, _)| at).collect();
        let idx = self.chain(&rule.conds).position(|(_, link)| link.rule.rank == rule.rank)?;
        let link = self.links[chain[idx] as usize].take()?;
        self.free.push(chain[idx]);
        let key = self.key_of(&rule.conds);
        self.join(idx.checked_sub(1).map(|i| chain[i]), key, link.next);
        Some(link.rule)
    }
}

fn n_bits(mask: &[(u8, u64)]) -> u32 {
    mask.iter().map(|(_, mask)| mask.count_ones()).sum()
}

/// Every bit of `small` is in `large`.
fn is_within(small: &[(u8, u64)], large: &[(u8, u64)]) -> bool {
    small.iter().all(|&(word, mask)| large.iter().any(|&(w, m)| w == word && mask & !m == 0))
}

/// Whole bytes only, so that prefixes of neighbouring lengths share a table.
fn relax(mask: &[(u8, u64)]) -> Mask {
    let bytes = |mask: u64| u64::from_ne_bytes(mask.to_ne_bytes().map(|b| if b == 0xff { b } else { 0 }));
    mask.iter().map(|&(word, mask)| (word, bytes(mask))).filter(|&(_, mask)| mask != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(rank: u64, parts: &[(u64, u32)]) -> Arc<Rule<u64>> {
        let conds = parts.iter().enumerate().filter(|(_, (_, len))| *len > 0).map(|(word, &(value, len))| {
            let mask = u64::MAX << (16 - len) & 0xffff;
            Cond { word: word as u8, value: value & mask, mask }
        });
        Arc::new(Rule { rank, conds: conds.collect(), value: rank })
    }

    proptest! {
        /// Few distinct values and all lengths, so that rules nest, overlap and are told apart by rank.
        #[test]
        fn finds_what_a_linear_scan_finds(
            ops in prop::collection::vec((any::<bool>(), prop::collection::vec((0u64..4, 0u32..17), 3), 0u64..64), 1..300),
            keys in prop::collection::vec(prop::collection::vec(0u64..4, 3), 40),
        ) {
            let mut classifier = Classifier::new(Secret::from_seed(5));
            let mut model: Vec<Arc<Rule<u64>>> = Vec::new();
            for (n, (remove, parts, pick)) in ops.into_iter().enumerate() {
                if remove && !model.is_empty() {
                    let gone = model.swap_remove(pick as usize % model.len());
                    prop_assert_eq!(classifier.remove(&gone), Some(gone));
                } else {
                    let spread: Vec<_> = parts.iter().map(|&(v, l)| (v * 0x1111, l)).collect();
                    let rule = rule(pick << 32 | n as u64, &spread);
                    classifier.insert(rule.clone(), rule.rank);
                    model.push(rule);
                }
                prop_assert_eq!(classifier.len(), model.len());
            }
            for key in keys {
                let key: Vec<u64> = key.iter().map(|v| v * 0x1111).collect();
                let expected = model.iter().filter(|r| r.matches(&key)).max_by_key(|r| r.rank);
                prop_assert_eq!(classifier.lookup(&key).map(|hit| hit.rule), expected);
            }
            prop_assert_eq!(classifier.iter().count(), model.len());
        }
    }

    #[test]
    fn sixty_masks_need_few_tables() {
        let mut classifier = Classifier::new(Secret::from_seed(5));
        let lens = [0, 8, 16, 24, 32];
        for n in 0..1000u64 {
            let word = |i: u64, len: u32| Cond {
                word: i as u8,
                value: Secret::from_seed(n).hash(&[i]) & (!0 << (32 - len) & 0xffff_ffff),
                mask: !0 << (32 - len) & 0xffff_ffff,
            };
            let conds = [word(0, lens[n as usize % 5]), word(1, lens[n as usize / 5 % 5]), word(2, 16)];
            let conds = conds.into_iter().filter(|c| c.mask != 0).collect();
            classifier.insert(Arc::new(Rule { rank: n, conds, value: n }), n);
        }
        assert!(classifier.n_tables() <= 16, "{} tables", classifier.n_tables());
    }
}
