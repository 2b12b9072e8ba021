//! The general classifier: merged tuple spaces (after TupleMerge, Daly et al., ToN 2019).
//!
//! Rules with the same or a wider mask share a hash table on the bits they all have; a chain of rules with the same
//! bits stays short or a table of its own is made. A look-up costs one probe for each table, and stops where no later
//! table can hold a better rule. Tables come from rules only: no key that is looked up can make one.

use std::sync::Arc;

use crate::Secret;
use crate::rule::{Conds, Masks, Rule};
use crate::tags::{Hits, Tags};

/// Longest chain that a rule may join in a table that is not exactly of its mask.
const MAX_CHAIN: usize = 6;
/// Tables below which new ones take the whole mask of their first rule.
const N_EXACT: usize = 4;
/// Tables that are asked at once, so that their cache misses overlap.
const ABREAST: usize = 8;
/// Most words of a key.
const MAX_WORDS: usize = 32;
/// End of a chain.
const NIL: u32 = u32::MAX;

/// A rule in its chain, with what a look-up needs of it beside it: following the pointer would cost a cache miss.
#[derive(Debug)]
struct Link<T> {
    rank: u64,
    leaf: u64,
    next: u32,
    /// Of the bits that are hashed.
    hash: u32,
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
    secret: Secret,
    mask: Arc<Masks>,
    /// At least the highest rank of its rules.
    max_rank: u64,
    heads: Tags,
    links: Vec<Option<Link<T>>>,
    free: Vec<u32>,
}

/// A look-up in one table, as far as its bucket says.
#[derive(Clone, Copy, Debug, Default)]
struct Probe {
    hash: u32,
    hits: Hits,
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
        let mut at = self.table_for(&rule);
        self.tuples[at].insert(rule, leaf);
        self.len += 1;
        // Only the one that changed can be out of order, and only upwards.
        while at > 0 && self.tuples[at - 1].max_rank < self.tuples[at].max_rank {
            self.tuples.swap(at - 1, at);
            at -= 1;
        }
    }

    /// The table a new rule is to join; made if need be.
    fn table_for(&mut self, rule: &Rule<T>) -> usize {
        let mask = rule.conds.masks();
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
        let may_hold =
            |tuple: &Tuple<T>| tuple.max_rank >= rule.rank && is_within(&tuple.mask, rule.conds.masks());
        let candidates = self.tuples.iter_mut().enumerate().filter(|(_, tuple)| may_hold(tuple));
        let (at, removed) = { candidates }.find_map(|(at, tuple)| Some((at, tuple.remove(rule)?)))?;
        if self.tuples[at].heads.is_empty() {
            self.tuples.remove(at);
        }
        self.len -= 1;
        Some(removed)
    }

    /// The rule of the highest rank that `key` satisfies.
    #[inline]
    pub fn lookup(&self, key: &[u64]) -> Option<Hit<'_, T>> {
        let mut best: Option<&Link<T>> = None;
        for tuples in self.tuples.chunks(ABREAST) {
            if best.is_some_and(|b| b.rank > tuples[0].max_rank) {
                break;
            }
            // 1. Which tables may know the key: no branch waits for memory, so all their buckets are fetched together.
            let mut probes = [Probe::default(); ABREAST];
            let mut hits = 0u32;
            for (n, (tuple, probe)) in tuples.iter().zip(&mut probes).enumerate() {
                *probe = tuple.probe(key);
                hits |= u32::from(!probe.hits.is_empty()) << n;
            }
            // 2. Those that do, the highest ranks first.
            while hits != 0 {
                let n = hits.trailing_zeros() as usize;
                let (tuple, probe) = (&tuples[n], probes[n]);
                hits &= hits - 1;
                if best.is_some_and(|b| b.rank > tuple.max_rank) {
                    break;
                }
                if let Some(found) = tuple.lookup(key, probe)
                    && best.is_none_or(|b| found.rank > b.rank)
                {
                    best = Some(found);
                }
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
    fn new(mask: Arc<Masks>, secret: Secret) -> Self {
        Self { secret, mask, max_rank: 0, heads: Tags::new(), links: Vec::new(), free: Vec::new() }
    }

    /// The hash of the bits of a rule that are hashed.
    fn hash_of(&self, conds: &Conds) -> u32 {
        let mut words = [0; MAX_WORDS];
        for (to, word) in words.iter_mut().zip(self.project(conds)) {
            *to = word;
        }
        self.secret.hash(&words[..self.mask.len().min(MAX_WORDS)]) as u32
    }

    /// The bits of a rule that are hashed.
    fn project(&self, conds: &Conds) -> impl Iterator<Item = u64> {
        self.mask.iter().map(|&(word, mask)| conds.get(word).map_or(0, |c| c.value) & mask)
    }

    #[inline(always)]
    fn probe(&self, key: &[u64]) -> Probe {
        let part = |(word, mask): (u8, u64)| key.get(word as usize).map_or(0, |w| w & mask);
        let hash = match *self.mask {
            [a] => self.secret.hash(&[part(a)]),
            [a, b] => self.secret.hash(&[part(a), part(b)]),
            [a, b, c] => self.secret.hash(&[part(a), part(b), part(c)]),
            [a, b, c, d] => self.secret.hash(&[part(a), part(b), part(c), part(d)]),
            [a, b, c, d, e] => self.secret.hash(&[part(a), part(b), part(c), part(d), part(e)]),
            _ => {
                let mut words = [0; MAX_WORDS];
                for (word, &m) in words.iter_mut().zip(&*self.mask) {
                    *word = part(m);
                }
                self.secret.hash(&words[..self.mask.len().min(MAX_WORDS)])
            }
        } as u32;
        Probe { hash, hits: self.heads.look(hash) }
    }

    fn link(&self, at: u32) -> Option<&Link<T>> {
        self.links.get(at as usize)?.as_ref()
    }

    #[inline(always)]
    fn lookup(&self, key: &[u64], Probe { hash, mut hits }: Probe) -> Option<&Link<T>> {
        // A tag may be that of another chain, of which nothing matches.
        while let Some(head) = self.heads.next(hash, &mut hits) {
            let mut at = head;
            while let Some(link) = self.link(at) {
                if link.rule.matches(key) {
                    return Some(link);
                }
                at = link.next;
            }
        }
        None
    }

    /// Where the chain begins that a rule belongs to.
    fn head(&self, hash: u32, conds: &Conds) -> Option<u32> {
        let mut hits = self.heads.look(hash);
        let heads = core::iter::from_fn(|| self.heads.next(hash, &mut hits));
        { heads }.find(|&head| {
            self.link(head).is_some_and(|link| {
                link.hash == hash && self.project(&link.rule.conds).eq(self.project(conds))
            })
        })
    }

    fn chain(&self, head: Option<u32>) -> impl Iterator<Item = (u32, &Link<T>)> {
        let link = |at: u32| self.link(at).map(|link| (at, link));
        core::iter::successors(head.and_then(link), move |(_, l)| link(l.next))
    }

    fn chain_len(&self, rule: &Rule<T>) -> usize {
        let head = self.head(self.hash_of(&rule.conds), &rule.conds);
        self.chain(head).count()
    }

    /// Puts a rule into its chain, which descends by rank.
    fn insert(&mut self, rule: Arc<Rule<T>>, leaf: u64) {
        self.max_rank = self.max_rank.max(rule.rank);
        let hash = self.hash_of(&rule.conds);
        let head = self.head(hash, &rule.conds);
        let before =
            self.chain(head).take_while(|(_, l)| l.rank > rule.rank).last().map(|(at, l)| (at, l.next));
        let next = before.map_or(head.unwrap_or(NIL), |(_, next)| next);
        let at = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            u32::try_from(self.links.len() - 1).expect("fewer than 2^32 rules fit in memory")
        });
        self.links[at as usize] = Some(Link { rank: rule.rank, leaf, next, hash, rule });
        match (before, head) {
            (Some((before, _)), _) => self.join(before, at),
            (None, Some(head)) => self.heads.replace(hash, head, at),
            (None, None) => {
                let links = &self.links;
                let hash_of = |at: u32| links[at as usize].as_ref().map_or(0, |link| link.hash);
                self.heads.insert(hash, at, hash_of);
            }
        }
    }

    /// Makes one link follow another.
    fn join(&mut self, before: u32, next: u32) {
        if let Some(link) = &mut self.links[before as usize] {
            link.next = next;
        }
    }

    fn remove(&mut self, rule: &Rule<T>) -> Option<Arc<Rule<T>>> {
        let hash = self.hash_of(&rule.conds);
        let head = self.head(hash, &rule.conds)?;
        let mut before = None;
        let (at, _) = self.chain(Some(head)).find(|(at, link)| {
            let is_it = link.rank == rule.rank;
            before = if is_it { before } else { Some(*at) };
            is_it
        })?;
        let link = self.links[at as usize].take()?;
        self.free.push(at);
        match before {
            Some(before) => self.join(before, link.next),
            None if link.next == NIL => self.heads.remove(hash, head),
            None => self.heads.replace(hash, head, link.next),
        }
        Some(link.rule)
    }
}

fn n_bits(mask: &Masks) -> u32 {
    mask.iter().map(|(_, mask)| mask.count_ones()).sum()
}

/// Every bit of `small` is in `large`.
fn is_within(small: &Masks, large: &Masks) -> bool {
    small.iter().all(|&(word, mask)| large.iter().any(|&(w, m)| w == word && mask & !m == 0))
}

/// Whole bytes only, so that prefixes of neighbouring lengths share a table.
fn relax(mask: &Masks) -> Arc<Masks> {
    let bytes = |mask: u64| u64::from_ne_bytes(mask.to_ne_bytes().map(|b| if b == 0xff { b } else { 0 }));
    mask.iter().map(|&(word, mask)| (word, bytes(mask))).filter(|&(_, mask)| mask != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cond;
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
