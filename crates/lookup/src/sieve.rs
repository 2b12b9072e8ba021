//! Which of a classifier's tables may hold a rule for a key, told by a few loads and no branch, so that the others are
//! not probed: a rule is in a table only if a part of the key, say an address, is one that some rule there wants. After
//! tuple pruning (Srinivasan, Suri and Varghese, SIGCOMM 1999), with bits for tables (Lakshman and Stiliadis, SIGCOMM
//! 1998) found by a keyed hash.

use crate::Secret;
use crate::rule::Conds;

/// Tables that a sieve can tell apart.
pub(crate) const MAX_TABLES: usize = 64;
/// Parts of the key that are looked at, at most.
const MAX_SCREENS: usize = 4;
/// Bits of a part of the key.
const PART: u32 = 32;
/// Words of a screen: two to a power between these.
const LOG_WORDS: (u32, u32) = (6, 16);
/// Keys that stand for the traffic when screens are chosen.
const N_SAMPLES: usize = 64;
/// Loads that cost as much as the probe of a table.
const LOADS_A_PROBE: usize = 6;

/// What is asked of one part of the key.
#[derive(Clone, Debug)]
struct Screen {
    word: usize,
    shift: u32,
    /// Whole bytes of the part that rules look at, in fours; some stand there twice.
    cuts: Vec<[u32; 4]>,
    /// Tables with a rule that looks at none of them.
    free: u64,
    /// Tables by the hash of what is left by a cut.
    tables: Vec<u64>,
    factor: u64,
    /// What brings the upper bits of a product, which depend on all others, down to a place in `tables`.
    down: u32,
}

impl Screen {
    fn new((word, shift): (usize, u32), log_words: u32, secret: Secret) -> Self {
        let name = [word as u64, u64::from(shift)];
        let factor = secret.hash(&name) | 1;
        Self {
            word,
            shift,
            cuts: Vec::new(),
            free: 0,
            tables: vec![0; 1 << log_words],
            factor,
            down: u64::BITS - log_words,
        }
    }

    /// Where a part is, of which only a cut counts.
    #[inline(always)]
    fn at(&self, part: u32, cut: u32) -> usize {
        let name = u64::from(part & cut) ^ u64::from(cut) << PART;
        (name.wrapping_mul(self.factor) >> self.down) as usize
    }

    fn add(&mut self, table: usize, conds: &Conds) {
        let (cut, part) = self.cut_of(conds);
        if cut == 0 {
            self.free |= 1 << table;
            return;
        }
        if !self.cuts.as_flattened().contains(&cut) {
            let mut last = self.cuts.pop_if(|last| last[2] == last[3]).unwrap_or([cut; 4]);
            let n = last.iter().position(|other| *other == last[3]).unwrap_or(0);
            last[(n + 1).min(3)..].fill(cut);
            self.cuts.push(last);
        }
        let at = self.at(part, cut);
        self.tables[at] |= 1 << table;
    }

    /// Whole bytes that a rule looks at, and what it wants there: then prefixes of many lengths need few cuts.
    fn cut_of(&self, conds: &Conds) -> (u32, u32) {
        let Some(cond) = conds.get(self.word as u8) else { return (0, 0) };
        let mask = (cond.mask >> self.shift) as u32;
        let cut = u32::from_ne_bytes(mask.to_ne_bytes().map(|byte| if byte == 0xff { byte } else { 0 }));
        (cut, (cond.value >> self.shift) as u32)
    }

    #[inline(always)]
    fn pass(&self, key: &[u64]) -> u64 {
        let part = key.get(self.word).map_or(0, |word| (word >> self.shift) as u32);
        let tables = |cut| self.tables.get(self.at(part, cut)).copied().unwrap_or(u64::MAX);
        self.cuts
            .iter()
            .fold(self.free, |pass, &[a, b, c, d]| pass | tables(a) | tables(b) | tables(c) | tables(d))
    }
}

/// Which tables may know a key.
#[derive(Clone, Debug)]
pub(crate) struct Sieve {
    screens: Vec<Screen>,
}

impl Sieve {
    /// Every table may.
    pub(crate) const fn open() -> Self {
        Self { screens: Vec::new() }
    }

    /// For these rules, each with its table.
    pub(crate) fn build(secret: Secret, rules: &[(usize, &Conds)]) -> Self {
        let log_words = ((rules.len() * 2).max(1).ilog2()).clamp(LOG_WORDS.0, LOG_WORDS.1);
        let words = rules.iter().flat_map(|(_, conds)| conds.masks().iter());
        let words = words.fold(0u64, |words, &(word, _)| words | 1 << (word % 64));
        let parts = (0..64).filter(|word| words >> word & 1 == 1).flat_map(|word| [(word, 0), (word, PART)]);
        let mut screens: Vec<Screen> = parts.map(|part| Screen::new(part, log_words, secret)).collect();
        for screen in &mut screens {
            rules.iter().for_each(|&(table, conds)| screen.add(table, conds));
        }
        let step = (rules.len() / N_SAMPLES).max(1);
        let keys = rules.iter().step_by(step).map(|(_, conds)| conds.key()).collect::<Vec<_>>();
        let tables = rules.iter().fold(0, |tables, (table, _)| tables | 1 << table);
        Self { screens: choose(screens, &keys, tables) }
    }

    /// A rule is in this table from now on, too.
    pub(crate) fn add(&mut self, table: usize, conds: &Conds) {
        self.screens.iter_mut().for_each(|screen| screen.add(table, conds));
    }

    /// Tables that may hold a rule for a key, and some that do not.
    #[inline(always)]
    pub(crate) fn tables(&self, key: &[u64]) -> u64 {
        self.screens.iter().fold(u64::MAX, |tables, screen| tables & screen.pass(key))
    }
}

/// The screens that spare more probes than they cost.
fn choose(mut screens: Vec<Screen>, keys: &[Vec<u64>], all: u64) -> Vec<Screen> {
    let mut left = vec![all; keys.len()];
    let mut chosen = Vec::new();
    while chosen.len() < MAX_SCREENS {
        let gain = |screen: &Screen| {
            let spared =
                |(key, tables): (&Vec<u64>, &u64)| (tables & !screen.pass(key)).count_ones() as usize;
            let spared: usize = keys.iter().zip(&left).map(spared).sum();
            (spared * LOADS_A_PROBE).checked_sub((screen.cuts.len() * 4 + 1) * keys.len())
        };
        let best = screens.iter().enumerate().filter_map(|(n, screen)| Some((gain(screen)?, n))).max();
        let Some((1.., n)) = best else { break };
        let screen = screens.swap_remove(n);
        keys.iter().zip(&mut left).for_each(|(key, tables)| *tables &= screen.pass(key));
        chosen.push(screen);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cond;

    fn conds(word: u8, value: u64, mask: u64) -> Conds {
        [Cond { word, value: value & mask, mask }].into_iter().collect()
    }

    #[test]
    fn what_a_rule_wants_passes_and_little_else_does() {
        let secret = Secret::from_seed(3);
        let random = |n: u64| secret.hash(&[n]);
        // Forty tables: addresses of many prefix lengths in either half of a word.
        let rules: Vec<(usize, Conds)> = (0..2000u64)
            .map(|n| {
                let table = n % 40;
                let (len, half) = (13 + table % 20, table / 20);
                (table as usize, conds(1, random(n), (u64::MAX << (32 - len) & 0xffff_ffff) << (32 * half)))
            })
            .collect();
        let (early, late) = rules.split_at(1500);
        let early: Vec<(usize, &Conds)> = early.iter().map(|(table, conds)| (*table, conds)).collect();
        let mut sieve = Sieve::build(secret, &early);
        assert_eq!(sieve.screens.len(), 2, "both halves are worth looking at");
        late.iter().for_each(|(table, conds)| sieve.add(*table, conds));
        for (table, conds) in &rules {
            let wanted = conds.iter().next().expect("one");
            let key = [0, wanted.value | random(wanted.value) & !wanted.mask];
            assert!(sieve.tables(&key) >> table & 1 == 1, "{wanted:?}");
        }
        let n_passed: u32 =
            (5000..6000).map(|n| (sieve.tables(&[0, random(n)]) & 0xff_ffff_ffff).count_ones()).sum();
        assert!(n_passed < 7000, "{n_passed} tables to ask for 1000 keys that nobody wants");
    }

    #[test]
    fn what_tells_nothing_apart_is_not_looked_at() {
        let rules: Vec<Conds> =
            (0..1000).map(|n| conds(0, (0x0800 << 16) | n, 0xffff_0000 | (n % 2))).collect();
        let rules: Vec<(usize, &Conds)> =
            rules.iter().enumerate().map(|(n, conds)| (n % 50, conds)).collect();
        assert!(Sieve::build(Secret::from_seed(1), &rules).screens.is_empty());
    }
}
