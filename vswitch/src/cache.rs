//! The microflow cache: one for each worker, bounded, exact, hashed with a secret.
//!
//! Its key is the frame as received, reduced to the bits that the flows look at, so frames that no flow tells apart
//! share an entry. An entry remembers the epoch it was last checked in and outlives commits. A microflow may be in two
//! sets; the first is tried first, so that a hit usually costs one or two cache lines side by side.

use lookup::Secret;

use crate::key::N_WORDS;
use crate::snapshot::Layout;

/// Words of a cache line.
const LINE: usize = 8;
/// Program of a place that is empty.
const EMPTY: u64 = u32::MAX as u64;

/// Numbers of words that keys are rounded up to, so that loops over them have known lengths.
pub(crate) const WIDTHS: [usize; 6] = [1, 2, 3, 4, 8, N_WORDS];

/// Words of a set of places for keys of `n` words: at least four places, in whole cache lines.
const fn set_size(n: usize) -> usize {
    (4 * (n + 1)).next_multiple_of(LINE)
}

/// Words that keys of `n_words` words are rounded up to.
fn width(n_words: usize) -> usize {
    WIDTHS.into_iter().find(|&n| n >= n_words).unwrap_or(N_WORDS)
}

/// Bytes of an entry for keys of `n_words` words, what a set leaves unused included.
pub(crate) fn entry_bytes(n_words: usize) -> usize {
    let n = width(n_words);
    let n_ways = set_size(n) / (n + 1);
    (set_size(n) * size_of::<u64>()).div_ceil(n_ways)
}

/// Place of an entry, until the next insertion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(usize);

/// What a frame is known by, and its hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<const N: usize> {
    words: [u64; N],
    hash: u64,
}

/// Microflows and the programs they run.
#[derive(Debug)]
pub(crate) struct Cache {
    secret: Secret,
    n_entries: usize,
    n_sets: usize,
    /// Words of a key: one of [`WIDTHS`].
    width: usize,
    generation: u64,
    /// Sets of places from `first` on, where a cache line begins; a place is `epoch << 32 | program`, then the key.
    data: Vec<u64>,
    first: usize,
    /// Chooses whom to replace.
    dice: u64,
}

impl Cache {
    /// A cache of about `n_entries`, or none at all for zero.
    pub(crate) fn new(n_entries: u32, secret: Secret) -> Self {
        let n_entries = n_entries as usize;
        Self {
            secret,
            n_entries,
            n_sets: 0,
            width: 1,
            generation: u64::MAX,
            data: Vec::new(),
            first: 0,
            dice: 1,
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.n_entries != 0
    }

    /// Words of a key: one of [`WIDTHS`].
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Forgets everything if the layout is another.
    pub(crate) fn adapt(&mut self, layout: &Layout) {
        if self.generation == layout.generation || !self.is_enabled() {
            return;
        }
        self.generation = layout.generation;
        self.width = width(layout.n_words);
        let size = set_size(self.width);
        self.n_sets = (self.n_entries * (self.width + 1)).div_ceil(size).next_power_of_two();
        self.data = vec![EMPTY; self.n_sets * size + LINE];
        let beyond = self.data.as_ptr() as usize % (LINE * size_of::<u64>()) / size_of::<u64>();
        self.first = (LINE - beyond) % LINE;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.data.fill(EMPTY);
    }

    /// What the cache knows a frame by.
    #[inline(always)]
    pub(crate) fn pack<const N: usize>(&self, key: &crate::key::Key, layout: &Layout) -> Packed<N> {
        let words = layout.pack(key);
        Packed { words, hash: self.secret.hash(&words) }
    }

    /// Where the two sets of a microflow begin.
    #[inline(always)]
    fn sets<const N: usize>(&self, packed: &Packed<N>) -> [usize; 2] {
        let set = |hash: u64| self.first + (hash as usize & (self.n_sets - 1)) * set_size(N);
        [set(packed.hash), set(packed.hash >> 32)]
    }

    /// Program and epoch of a microflow.
    #[inline(always)]
    pub(crate) fn find<const N: usize>(&self, packed: &Packed<N>) -> Option<(Slot, u32, u32)> {
        let [first, second] = self.sets(packed);
        let at = match self.find_in(first, packed) {
            Some(at) => at,
            None => self.find_in(second, packed)?,
        };
        let place = self.data[at];
        Some((Slot(at), place as u32, (place >> 32) as u32))
    }

    /// Compares all places of a set: to stop at the right one would be a branch that nobody can predict.
    #[inline(always)]
    fn find_in<const N: usize>(&self, set: usize, packed: &Packed<N>) -> Option<usize> {
        let mut found = usize::MAX;
        let places = self.data.get(set..set + set_size(N))?.chunks_exact(N + 1);
        for (way, place) in places.enumerate() {
            let differs = place[1..].iter().zip(&packed.words).fold(0, |acc, (a, b)| acc | (a ^ b));
            let is_it = differs == 0 && place[0] & EMPTY != EMPTY;
            found = if is_it { set + way * (N + 1) } else { found };
        }
        (found != usize::MAX).then_some(found)
    }

    /// An entry was found good in `epoch`, with this program.
    #[inline]
    pub(crate) fn refresh(&mut self, slot: Slot, epoch: u64, program: u32) {
        self.data[slot.0] = epoch << 32 | u64::from(program);
    }

    /// Adds a microflow, which may be there already. Where both sets are full it replaces another one time in four only,
    /// so that a flood of new microflows leaves most of the established ones.
    pub(crate) fn insert<const N: usize>(&mut self, packed: &Packed<N>, epoch: u64, program: u32) {
        let n_ways = set_size(N) / (N + 1);
        let sets = self.sets(packed);
        let mut places = sets.into_iter().flat_map(|set| (0..n_ways).map(move |way| set + way * (N + 1)));
        let is_free =
            |&at: &usize| self.data[at] & EMPTY == EMPTY || self.data[at + 1..at + 1 + N] == packed.words;
        let at = match places.find(is_free) {
            Some(at) => at,
            None => {
                self.dice ^= self.dice << 13;
                self.dice ^= self.dice >> 7;
                self.dice ^= self.dice << 17;
                if self.dice & 0x300 != 0 {
                    return;
                }
                sets[(self.dice >> 16) as usize % 2] + (self.dice >> 32) as usize % n_ways * (N + 1)
            }
        };
        self.data[at] = epoch << 32 | u64::from(program);
        self.data[at + 1..at + 1 + N].copy_from_slice(&packed.words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bits: &[(usize, u64)]) -> Layout {
        let mut needed = [0; N_WORDS];
        bits.iter().for_each(|&(word, mask)| needed[word] |= mask);
        Layout::new(&needed, [0; N_WORDS], 1)
    }

    #[test]
    fn finds_what_was_put_in_until_the_layout_changes() {
        let mut cache = Cache::new(64, Secret::from_seed(1));
        let layout = layout(&[(1, 0xff00)]);
        cache.adapt(&layout);
        assert_eq!(cache.width(), 1);
        let mut key = [7; N_WORDS];
        key[1] = 0x1234;
        let packed = cache.pack::<1>(&key, &layout);
        assert!(cache.find(&packed).is_none());
        cache.insert(&packed, 3, 42);
        key[1] = 0x12ff;
        let same = cache.pack::<1>(&key, &layout);
        let (slot, program, epoch) = cache.find(&same).expect("the bits that differ do not count");
        assert_eq!((program, epoch), (42, 3));
        cache.refresh(slot, 9, 43);
        assert_eq!(cache.find(&same).map(|(_, p, e)| (p, e)), Some((43, 9)));
        cache.adapt(&Layout { generation: 2, ..layout });
        assert!(cache.find(&same).is_none());
    }

    #[test]
    fn keys_are_packed_without_loss() {
        let layout = layout(&[(0, 0xffff_1fff), (1, 0xff00), (2, 1), (4, u64::MAX), (5, 0xffff_ffff << 32)]);
        assert_eq!(layout.n_words, 3, "{:?}", layout.parts);
        let base = [u64::MAX / 5; N_WORDS];
        for part in &layout.parts {
            for bit in (0..64).map(|n| 1u64 << n) {
                let mut key = base;
                key[usize::from(part.word)] ^= bit;
                let same = layout.pack::<3>(&key) == layout.pack::<3>(&base);
                assert_eq!(same, part.mask & bit == 0, "bit {bit:#x} of word {}", part.word);
            }
        }
    }

    #[test]
    fn nearly_everything_fits_while_there_is_room() {
        let mut cache = Cache::new(1 << 12, Secret::from_seed(2));
        let layout = layout(&[(0, u64::MAX), (1, u64::MAX)]);
        cache.adapt(&layout);
        let packed = |n: u64, cache: &Cache| cache.pack::<2>(&[n; N_WORDS], &layout);
        for n in 0..3 << 10 {
            cache.insert(&packed(n, &cache), 1, n as u32);
        }
        let found = (0..3u64 << 10).filter(|&n| cache.find(&packed(n, &cache)).is_some()).count();
        assert!(found > 3030, "{found} of 3072");
        let none = (3u64 << 10..4 << 10).filter(|&n| cache.find(&packed(n, &cache)).is_some()).count();
        assert_eq!(none, 0);
    }
}
