//! The general classifier: merged tuple spaces (after TupleMerge, Daly et al., ToN 2019).
//!
//! Rules with the same or a wider mask share a hash table on the bits they all have; a chain of rules with the same
//! bits stays short or a table of its own is made. A look-up asks a [sieve](crate::sieve) which tables may know the key,
//! and costs one probe for each of those. Tables come from rules only: no key that is looked up can make one.

use std::sync::Arc;

use crate::Secret;
use crate::rule::{Conds, Masks, Rule};
use crate::sieve::{MAX_TABLES, Sieve};
use crate::tags::{Hits, Tags};

/// Longest chain that a rule may join in a table that is not exactly of its mask.
const MAX_CHAIN: usize = 6;
/// Tables below which new ones take the whole mask of their first rule.
const N_EXACT: usize = 56;
/// Tables that are asked at once, so that their cache misses overlap.
const ABREAST: usize = 16;
/// Changes after which it is worth to make a sieve.
const MIN_FRESH: usize = 16;
/// Tables of which all are asked.
const MAX_OPEN: usize = 3;
/// Rules of a crest, to begin with.
const N_CREST: usize = 2048;
/// Rules for each of them that make one worth its while.
const RULES_A_CREST: usize = 16;
/// Keys that stand for the traffic when it is tried.
const N_TRIALS: usize = 256;
/// Most words of a key that conditions may look at.
const MAX_WORDS: usize = 32;
/// Numbers of lanes, so that loops over them have known lengths.
const WIDTHS: [usize; 5] = [2, 4, 6, 8, MAX_WORDS];
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
    /// Its rules look at nothing else.
    is_exact: bool,
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
    tuple: u32,
    hits: Hits,
}

/// The part of a rank that a bucket keeps of each chain, never zero.
const fn grade(rank: u64) -> u16 {
    let grade = (rank >> 48) as u16;
    if grade == 0 { 1 } else { grade }
}

/// Which bits each table hashes, laid out so that one loop without surprises does it for any of them.
#[derive(Debug, Default)]
struct Lanes {
    /// Words that any table looks at, each with the factor of its part of the hash; then others, up to one of [`WIDTHS`].
    words: Vec<(u8, u64)>,
    /// For each table its bits of each of them.
    masks: Vec<u64>,
}

/// Any rules at all, found by the highest rank.
#[derive(Debug)]
pub struct Classifier<T> {
    secret: Secret,
    /// By descending `max_rank` when the sieve was made; new ones behind them.
    tuples: Vec<Tuple<T>>,
    lanes: Lanes,
    /// Which of the first tables to ask.
    sieve: Sieve,
    /// The best rules once more, if most keys satisfy one of them: what is found there needs no search among the others.
    crest: Option<Box<Crest<T>>>,
    /// Insertions and removals after which the sieve is made again.
    n_fresh: usize,
    len: usize,
}

/// All rules from some rank on.
#[derive(Debug)]
struct Crest<T> {
    floor: u64,
    rules: Classifier<T>,
}

impl<T> Classifier<T> {
    /// Without rules.
    pub fn new(secret: Secret) -> Self {
        let (lanes, sieve) = (Lanes::default(), Sieve::open());
        Self { secret, tuples: Vec::new(), lanes, sieve, crest: None, n_fresh: MIN_FRESH, len: 0 }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No rule.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Hash tables there are.
    pub fn n_tables(&self) -> usize {
        self.tuples.len()
    }

    /// Adds a rule, and a word that a look-up will return without touching the rule. Its rank must be new, and it may
    /// look at the first 32 words of a key.
    pub fn insert(&mut self, rule: Arc<Rule<T>>, leaf: u64) {
        if let Some(crest) = self.crest.as_mut().filter(|crest| rule.rank >= crest.floor) {
            crest.rules.insert(rule.clone(), leaf);
            if crest.rules.len() > 2 * N_CREST {
                self.crest = None;
            }
        }
        let at = self.table_for(&rule);
        if at < MAX_TABLES {
            self.sieve.add(at, &rule.conds);
        }
        self.tuples[at].insert(rule, leaf);
        self.len += 1;
        self.age();
    }

    /// The table a new rule is to join; made if need be.
    fn table_for(&mut self, rule: &Rule<T>) -> usize {
        let mask = rule.conds.masks();
        if let Some(at) = self.tuples.iter().position(|tuple| tuple.mask == *mask) {
            return at;
        }
        if self.tuples.len() < N_EXACT {
            return self.add_table(mask.clone());
        }
        let bits = n_bits(mask);
        let fits = |tuple: &Tuple<T>| {
            n_bits(&tuple.mask) * 2 >= bits
                && is_within(&tuple.mask, mask)
                && tuple.chain_len(rule) < MAX_CHAIN
        };
        let candidates = self.tuples.iter().enumerate().filter(|(_, tuple)| fits(tuple));
        if let Some((at, _)) = candidates.max_by_key(|(_, tuple)| n_bits(&tuple.mask)) {
            return at;
        }
        let relaxed = relax(mask);
        let whole = relaxed.is_empty() || self.tuples.iter().any(|tuple| tuple.mask == relaxed);
        self.add_table(if whole { mask.clone() } else { relaxed })
    }

    fn add_table(&mut self, mask: Arc<Masks>) -> usize {
        self.tuples.push(Tuple::new(mask, self.secret));
        self.lanes.lay(self.secret, &self.tuples);
        self.tuples.len() - 1
    }

    /// Removes the rule with the rank and conditions of `rule`.
    pub fn remove(&mut self, rule: &Rule<T>) -> Option<Arc<Rule<T>>> {
        if let Some(crest) = self.crest.as_mut().filter(|crest| rule.rank >= crest.floor) {
            crest.rules.remove(rule);
        }
        let may_hold =
            |tuple: &Tuple<T>| tuple.max_rank >= rule.rank && is_within(&tuple.mask, rule.conds.masks());
        let mut candidates = self.tuples.iter_mut().filter(|tuple| may_hold(tuple));
        let removed = candidates.find_map(|tuple| tuple.remove(rule))?;
        self.len -= 1;
        self.age();
        Some(removed)
    }

    /// Counts a change. After as many as there are rules, and a few, the sieve lets too much pass, and the tables may be
    /// empty or out of order: all this is made anew.
    fn age(&mut self) {
        if self.n_fresh > 0 {
            self.n_fresh -= 1;
            return;
        }
        self.tuples.retain(|tuple| !tuple.heads.is_empty());
        self.tuples.sort_unstable_by_key(|tuple| core::cmp::Reverse(tuple.max_rank));
        self.lanes.lay(self.secret, &self.tuples);
        let is_open = self.tuples.len() <= MAX_OPEN;
        self.sieve = if is_open { Sieve::open() } else { self.make_sieve() };
        self.crest = if is_open { None } else { self.make_crest() };
        self.n_fresh = self.len.max(MIN_FRESH);
    }

    /// The best rules once more, if that is worth its while.
    fn make_crest(&self) -> Option<Box<Crest<T>>> {
        if self.len < N_CREST * RULES_A_CREST {
            return None;
        }
        let links = || self.tuples.iter().flat_map(Tuple::iter);
        let mut ranks: Vec<u64> = links().map(|link| link.rank).collect();
        let (_, &mut floor, _) = ranks.select_nth_unstable_by_key(N_CREST, |rank| core::cmp::Reverse(*rank));
        let mut rules = Self::new(self.secret);
        links().filter(|link| link.rank >= floor).for_each(|link| rules.insert(link.rule.clone(), link.leaf));
        let trials = links().step_by(self.len / N_TRIALS).map(|link| link.rule.conds.key());
        let (found, missed): (Vec<_>, Vec<_>) = trials.partition(|key| rules.find(key).is_some());
        (found.len() >= missed.len()).then(|| Box::new(Crest { floor, rules }))
    }

    fn make_sieve(&self) -> Sieve {
        let sieved = self.tuples.iter().take(MAX_TABLES).enumerate();
        let rules: Vec<(usize, &Conds)> =
            sieved.flat_map(|(at, tuple)| tuple.iter().map(move |link| (at, &link.rule.conds))).collect();
        Sieve::build(self.secret, &rules)
    }

    /// The rule of the highest rank that `key` satisfies.
    #[inline]
    pub fn lookup(&self, key: &[u64]) -> Option<Hit<'_, T>> {
        let best = self.crest.as_ref().and_then(|crest| crest.rules.find(key));
        let best = best.or_else(|| self.find(key))?;
        Some(Hit { rule: &best.rule, leaf: best.leaf })
    }

    #[inline]
    fn find(&self, key: &[u64]) -> Option<&Link<T>> {
        match self.lanes.words.len() {
            2 => self.find_by_lanes::<2>(key),
            4 => self.find_by_lanes::<4>(key),
            6 => self.find_by_lanes::<6>(key),
            8 => self.find_by_lanes::<8>(key),
            _ => self.find_by_lanes::<MAX_WORDS>(key),
        }
    }

    fn find_by_lanes<const W: usize>(&self, key: &[u64]) -> Option<&Link<T>> {
        let best = self.find_by_hash::<W>(key)?;
        // Only what won is compared bit by bit.
        if best.rule.matches(key) { Some(best) } else { self.find_carefully::<W>(key) }
    }

    /// The rule of the highest rank that `key` satisfies as far as hashes tell.
    #[inline(always)]
    fn find_by_hash<const W: usize>(&self, key: &[u64]) -> Option<&Link<T>> {
        let parts = self.lanes.parts::<W>(key);
        let mut best: Option<&Link<T>> = None;
        let mut left = self.sieve.tables(key) & first(self.tuples.len());
        while left != 0 {
            // 1. Which tables may know the key, and how good a rule: no branch waits for memory, so all their buckets are
            // fetched together.
            let mut probes = [Probe::default(); ABREAST];
            let mut grades = [0u32; ABREAST];
            for (n, (probe, grade)) in probes.iter_mut().zip(&mut grades).enumerate() {
                let at = left.trailing_zeros();
                left &= left - 1;
                *probe = self.probe(at as usize, &parts);
                *grade = self.tuples[at as usize].heads.grade(probe.hits) << 8 | n as u32;
                if left == 0 {
                    break;
                }
            }
            // 2. Those that do, the best first.
            loop {
                let top = grades.iter().fold(0, |top, &grade| top.max(grade));
                if top >> 8 < best.map_or(1, |link| grade(link.rank).into()) {
                    break;
                }
                let n = top as usize % ABREAST;
                grades[n] = 0;
                let tuple = &self.tuples[probes[n].tuple as usize];
                best = tuple.better(best, probes[n], |link| tuple.is_exact || link.rule.matches(key));
            }
        }
        for (at, tuple) in self.tuples.iter().enumerate().skip(MAX_TABLES) {
            best = tuple.better(best, self.probe(at, &parts), |link| link.rule.matches(key));
        }
        best
    }

    /// The rule of the highest rank that `key` satisfies, in case two things have one hash.
    #[cold]
    fn find_carefully<const W: usize>(&self, key: &[u64]) -> Option<&Link<T>> {
        let parts = self.lanes.parts::<W>(key);
        let tuples = self.tuples.iter().enumerate();
        tuples.fold(None, |best, (at, tuple)| {
            tuple.better(best, self.probe(at, &parts), |link| link.rule.matches(key))
        })
    }

    #[inline(always)]
    fn probe<const W: usize>(&self, at: usize, parts: &[(u64, u64); W]) -> Probe {
        let hash = self.lanes.hash(at, parts);
        Probe { hash, tuple: at as u32, hits: self.tuples[at].heads.look(hash) }
    }

    /// Every rule, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Hit<'_, T>> {
        let links = self.tuples.iter().flat_map(Tuple::iter);
        links.map(|link| Hit { rule: &link.rule, leaf: link.leaf })
    }
}

/// Bits of the first tables, if there are `n`.
const fn first(n: usize) -> u64 {
    if n < MAX_TABLES { (1 << n) - 1 } else { u64::MAX }
}

/// The factor that a word has in hashes.
fn factor(secret: Secret, word: u8) -> u64 {
    secret.hash(&[word.into()]) | 1
}

/// What a word adds to a hash: nothing if none of its bits counts.
#[inline(always)]
const fn share(bits: u64, factor: u64) -> u64 {
    let product = bits as u128 * factor as u128;
    product as u64 ^ (product >> 64) as u64
}

impl Lanes {
    fn lay<T>(&mut self, secret: Secret, tuples: &[Tuple<T>]) {
        let mut words: Vec<u8> =
            tuples.iter().flat_map(|tuple| tuple.mask.iter()).map(|&(word, _)| word).collect();
        words.sort_unstable();
        words.dedup();
        debug_assert!(words.len() <= MAX_WORDS, "{} words", words.len());
        self.words = words.into_iter().map(|word| (word, factor(secret, word))).collect();
        let width = WIDTHS.into_iter().find(|&n| n >= self.words.len()).unwrap_or(MAX_WORDS);
        self.words.resize(width, (0, 0));
        let mask = |tuple: &Tuple<T>, &(word, factor): &(u8, u64)| {
            let found = tuple.mask.iter().find(|&&(w, _)| w == word && factor != 0);
            found.map_or(0, |&(_, mask)| mask)
        };
        self.masks =
            tuples.iter().flat_map(|tuple| self.words.iter().map(|lane| mask(tuple, lane))).collect();
    }

    /// The words of a key that count.
    #[inline(always)]
    fn parts<const W: usize>(&self, key: &[u64]) -> [(u64, u64); W] {
        let mut parts = [(0, 0); W];
        for (part, &(word, factor)) in parts.iter_mut().zip(&self.words) {
            *part = (key.get(usize::from(word)).copied().unwrap_or(0), factor);
        }
        parts
    }

    #[inline(always)]
    fn hash<const W: usize>(&self, table: usize, parts: &[(u64, u64); W]) -> u32 {
        let masks = self.masks.as_chunks::<W>().0.get(table).unwrap_or(&[0; W]);
        let mut sum = 0u64;
        for lane in 0..W {
            sum = sum.wrapping_add(share(parts[lane].0 & masks[lane], parts[lane].1));
        }
        sum as u32
    }
}

impl<T> Tuple<T> {
    fn new(mask: Arc<Masks>, secret: Secret) -> Self {
        let (heads, links, free) = (Tags::new(), Vec::new(), Vec::new());
        Self { secret, mask, is_exact: true, max_rank: 0, heads, links, free }
    }

    /// The hash of the bits of a rule that are hashed.
    fn hash_of(&self, conds: &Conds) -> u32 {
        let shares = self.mask.iter().zip(self.project(conds));
        let sum = shares
            .fold(0u64, |sum, (&(word, _), bits)| sum.wrapping_add(share(bits, factor(self.secret, word))));
        sum as u32
    }

    /// The bits of a rule that are hashed.
    fn project(&self, conds: &Conds) -> impl Iterator<Item = u64> {
        self.mask.iter().map(|&(word, mask)| conds.get(word).map_or(0, |c| c.value) & mask)
    }

    fn link(&self, at: u32) -> Option<&Link<T>> {
        self.links.get(at as usize)?.as_ref()
    }

    /// The better of `best` and the best here that `fits`.
    #[inline(always)]
    fn better<'a>(
        &'a self,
        best: Option<&'a Link<T>>,
        probe: Probe,
        fits: impl Fn(&Link<T>) -> bool,
    ) -> Option<&'a Link<T>> {
        let least = best.map_or(0, |link| link.rank);
        if self.max_rank < least {
            return best;
        }
        let mut next = self.first(probe);
        while let Some((_, link)) = next.filter(|(_, link)| link.rank >= least) {
            if fits(link) {
                return Some(link);
            }
            next = self.link(link.next).map(|after| (link.next, after));
        }
        best
    }

    /// Where the chain of a hash begins.
    #[inline(always)]
    fn first(&self, Probe { hash, mut hits, .. }: Probe) -> Option<(u32, &Link<T>)> {
        loop {
            let at = self.heads.next(hash, &mut hits)?;
            let link = self.link(at)?;
            if link.hash == hash {
                return Some((at, link));
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Link<T>> {
        self.links.iter().flatten()
    }

    /// Where the chain of a hash begins.
    fn head(&self, hash: u32) -> Option<u32> {
        self.first(Probe { hash, tuple: 0, hits: self.heads.look(hash) }).map(|(at, _)| at)
    }

    fn chain(&self, head: Option<u32>) -> impl Iterator<Item = (u32, &Link<T>)> {
        let link = |at: u32| self.link(at).map(|link| (at, link));
        core::iter::successors(head.and_then(link), move |(_, l)| link(l.next))
    }

    fn chain_len(&self, rule: &Rule<T>) -> usize {
        self.chain(self.head(self.hash_of(&rule.conds))).count()
    }

    /// Puts a rule into its chain, which descends by rank.
    fn insert(&mut self, rule: Arc<Rule<T>>, leaf: u64) {
        self.max_rank = self.max_rank.max(rule.rank);
        self.is_exact &= self.mask == *rule.conds.masks();
        let (hash, grade) = (self.hash_of(&rule.conds), grade(rule.rank));
        let head = self.head(hash);
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
            (None, Some(head)) => self.heads.replace(hash, head, (at, grade)),
            (None, None) => {
                let links = &self.links;
                let hash_of = |at: u32| links[at as usize].as_ref().map_or(0, |link| link.hash);
                self.heads.insert(hash, (at, grade), hash_of);
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
        let head = self.head(hash)?;
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
            None => {
                self.heads.replace(hash, head, (link.next, self.link(link.next).map_or(0, |l| grade(l.rank))))
            }
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

    /// Rules over prefixes of these lengths in two words.
    fn prefixes(lens: &[u32]) -> Classifier<u64> {
        let mut classifier = Classifier::new(Secret::from_seed(5));
        for n in 0..4000u64 {
            let word = |i: u64, len: u32| {
                let mask = !0u64 << (32 - len) & 0xffff_ffff;
                Cond { word: i as u8, value: Secret::from_seed(n).hash(&[i]) & mask, mask }
            };
            let len = |of: u64| lens[of as usize % lens.len()];
            let conds = [word(0, len(n)), word(1, len(n / lens.len() as u64)), word(2, 16)];
            let conds = conds.into_iter().filter(|c| c.mask != 0).collect();
            classifier.insert(Arc::new(Rule { rank: n << 40, conds, value: n }), n);
        }
        classifier
    }

    #[test]
    fn few_of_many_tables_are_asked() {
        let classifier = prefixes(&[0, 8, 16, 19, 24, 28, 32]);
        assert!(classifier.n_tables() <= MAX_TABLES, "{} tables", classifier.n_tables());
        let secret = Secret::from_seed(9);
        let asked = |n: u64| {
            let key: Vec<u64> = (0..3).map(|word| secret.hash(&[n, word]) & 0xffff_ffff).collect();
            (classifier.sieve.tables(&key) & first(classifier.n_tables())).count_ones()
        };
        let n_asked: u32 = (0..1000).map(asked).sum();
        assert!(n_asked < 5000, "{n_asked} tables for 1000 keys");
    }

    #[test]
    fn the_best_rules_are_found_among_themselves() {
        let word = |i: u8, value: u64, mask: u64| Cond { word: i, value: value & mask, mask };
        let secret = Secret::from_seed(11);
        // Of the best rules some look at little, so that most keys satisfy one of them.
        let make = |n: u64| {
            let mask = if n % 101 == 1 { 3 } else { 0xffff << (n % 16) | 0xff };
            let conds = [word(0, secret.hash(&[n]), mask), word(1, n % 4, 3)];
            Arc::new(Rule { rank: (70_000 - n) << 16, conds: conds.into_iter().collect(), value: n })
        };
        let mut classifier = Classifier::new(secret);
        let mut rules: Vec<_> = (0..70_000).map(make).collect();
        rules.iter().for_each(|rule| classifier.insert(rule.clone(), rule.rank));
        assert!(classifier.crest.is_some(), "worth its while");
        for gone in rules.drain(..30) {
            assert_eq!(classifier.remove(&gone), Some(gone));
        }
        let better =
            Arc::new(Rule { rank: u64::MAX, conds: [word(1, 2, 3)].into_iter().collect(), value: 1 });
        classifier.insert(better.clone(), 7);
        rules.insert(0, better);
        let mut n_beyond = 0;
        for n in 0..300 {
            let key = [secret.hash(&[n, n]), n];
            let expected = rules.iter().find(|rule| rule.matches(&key));
            assert_eq!(classifier.lookup(&key).map(|hit| hit.rule), expected);
            let crest = classifier.crest.as_ref().expect("still there");
            n_beyond += usize::from(expected.is_some_and(|rule| rule.rank < crest.floor));
        }
        assert!(n_beyond > 0, "some keys satisfy none of the best");
        // When it has grown too much it goes, and nothing is lost.
        for n in 0..5000 {
            let conds = [word(1, 1, 3), word(2, n, 0xffff)].into_iter().collect();
            classifier.insert(Arc::new(Rule { rank: (1 << 62) + n, conds, value: n }), n);
        }
        assert!(classifier.crest.is_none());
        assert_eq!(classifier.lookup(&[0, 1, 77]).map(|hit| hit.rule.value), Some(77));
    }

    #[test]
    fn masks_without_end_share_tables() {
        let all: Vec<u32> = (0..=32).collect();
        let classifier = prefixes(&all);
        assert!(classifier.n_tables() <= 2 * MAX_TABLES, "{} tables", classifier.n_tables());
    }
}
