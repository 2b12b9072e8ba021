//! The microflow cache: one for each worker, bounded, exact, hashed with a secret.
//!
//! Its key is the frame as received, reduced to the bits that the flows look at, so frames that no flow tells apart
//! share an entry. An entry remembers the epoch it was last checked in and outlives commits.

use lookup::Secret;

use crate::snapshot::Layout;

/// Places of a set.
const WAYS: usize = 4;
/// Program of a place that is empty.
const EMPTY: u64 = u32::MAX as u64;

/// Place of an entry, until the next insertion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(usize);

/// Fields of a frame as the cache knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reduced {
    words: [u64; crate::key::N_WORDS],
    n: usize,
    hash: u64,
}

/// Microflows and the programs they run.
#[derive(Debug)]
pub(crate) struct Cache {
    secret: Secret,
    n_sets: usize,
    /// Words of a key.
    n_words: usize,
    generation: u64,
    /// Sets of places; a place is `epoch << 32 | program`, then the key.
    data: Vec<u64>,
    /// Chooses whom to replace.
    dice: u64,
}

impl Cache {
    /// A cache of at least `n_entries`, or none at all for zero.
    pub(crate) fn new(n_entries: u32, secret: Secret) -> Self {
        let n_sets = (n_entries as usize).div_ceil(WAYS).next_power_of_two();
        let n_sets = if n_entries == 0 { 0 } else { n_sets };
        Self { secret, n_sets, n_words: 0, generation: u64::MAX, data: Vec::new(), dice: 1 }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.n_sets != 0
    }

    /// Forgets everything if the layout is another.
    pub(crate) fn adapt(&mut self, layout: &Layout) {
        if self.generation != layout.generation {
            self.generation = layout.generation;
            self.n_words = layout.words.len();
            self.data = vec![EMPTY; self.n_sets * WAYS * (self.n_words + 1)];
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.data.fill(EMPTY);
    }

    /// Reduces a key to what the layout wants.
    #[inline(always)]
    pub(crate) fn reduce(&self, key: &crate::key::Key, layout: &Layout) -> Reduced {
        let mut words = [0; crate::key::N_WORDS];
        for (out, &(word, mask)) in words.iter_mut().zip(&layout.words) {
            *out = key[usize::from(word)] & mask;
        }
        let n = layout.words.len().min(words.len());
        let hash = self.secret.hash(&words[..n]);
        Reduced { words, n, hash }
    }

    #[inline(always)]
    fn set(&self, reduced: &Reduced) -> core::ops::Range<usize> {
        let size = WAYS * (self.n_words + 1);
        let at = (reduced.hash as usize & (self.n_sets - 1)) * size;
        at..at + size
    }

    /// Program and epoch of a microflow.
    #[inline(always)]
    pub(crate) fn find(&self, reduced: &Reduced) -> Option<(Slot, u32, u32)> {
        let set = self.set(reduced);
        let start = set.start;
        let stride = self.n_words + 1;
        let places = self.data.get(set)?;
        for (way, place) in places.chunks_exact(stride).enumerate() {
            // Word by word: a call of memcmp would cost more than the few words there are.
            let same = place[1..].iter().zip(&reduced.words).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0;
            if same && place[0] & EMPTY != EMPTY {
                return Some((Slot(start + way * stride), place[0] as u32, (place[0] >> 32) as u32));
            }
        }
        None
    }

    /// An entry was found good in `epoch`, with this program.
    #[inline]
    pub(crate) fn refresh(&mut self, slot: Slot, epoch: u64, program: u32) {
        self.data[slot.0] = epoch << 32 | u64::from(program);
    }

    /// Adds a microflow that is not there. In a full set it replaces another one time in four only, so that a flood
    /// of new microflows leaves most of the established ones.
    pub(crate) fn insert(&mut self, reduced: &Reduced, epoch: u64, program: u32) {
        let stride = self.n_words + 1;
        let set = self.set(reduced);
        let free = (0..WAYS).find(|way| self.data[set.start + way * stride] & EMPTY == EMPTY);
        let way = match free {
            Some(way) => way,
            None => {
                self.dice ^= self.dice << 13;
                self.dice ^= self.dice >> 7;
                self.dice ^= self.dice << 17;
                if self.dice & 0x300 != 0 {
                    return;
                }
                (self.dice >> 32) as usize % WAYS
            }
        };
        let at = set.start + way * stride;
        self.data[at] = epoch << 32 | u64::from(program);
        self.data[at + 1..at + stride].copy_from_slice(&reduced.words[..reduced.n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::N_WORDS;

    #[test]
    fn finds_what_was_put_in_until_the_layout_changes() {
        let mut cache = Cache::new(64, Secret::from_seed(1));
        let mut needed = [0; N_WORDS];
        needed[1] = 0xff00;
        let layout = Layout::new(&needed, [0; N_WORDS], 1);
        cache.adapt(&layout);
        let mut key = [7; N_WORDS];
        key[1] = 0x1234;
        let reduced = cache.reduce(&key, &layout);
        assert!(cache.find(&reduced).is_none());
        cache.insert(&reduced, 3, 42);
        key[1] = 0x12ff;
        let same = cache.reduce(&key, &layout);
        let (slot, program, epoch) = cache.find(&same).expect("the bits that differ do not count");
        assert_eq!((program, epoch), (42, 3));
        cache.refresh(slot, 9, 43);
        assert_eq!(cache.find(&same).map(|(_, p, e)| (p, e)), Some((43, 9)));
        cache.adapt(&Layout { generation: 2, ..layout });
        assert!(cache.find(&same).is_none());
    }
}
