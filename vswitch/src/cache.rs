//! The microflow cache: one for each worker, bounded, exact, hashed with a secret.
//!
//! Its key is the frame as received, reduced to the bits that the flows look at, so frames that no flow tells apart
//! share an entry. An entry remembers the epoch it was last checked in and outlives commits. A microflow that finds its
//! set full may be in a second one; that is looked at only where some microflow did, so that a hit or a miss usually
//! costs one or two cache lines side by side.
//!
//! Once a quarter of it is taken, a microflow is added when it is seen for the second time: of a flood of microflows with
//! one frame each nothing is kept then but a few bits. The part of the memory that is used grows with what is there.

use core::hint::select_unpredictable;

use lookup::Secret;

use crate::key::N_WORDS;
use crate::snapshot::Layout;

/// No program.
pub(crate) const UNKNOWN: u32 = u32::MAX;
/// Words of a cache line.
const LINE: usize = 8;
/// Where the state of a place keeps its program, plus one; zero is for empty places. The epoch is in the upper half.
const PROGRAM: u64 = 0x7fff_ffff;
/// In the state of the first place of a set: microflows of this set may be in their second one.
const SPILLED: u64 = 1 << 31;
/// Entries in use at first, at most.
const N_FIRST: usize = 1 << 10;
/// By how much the part in use grows.
const GROWTH: usize = 4;

/// Words of the longest keys of which all places are compared.
const MAX_ALL: usize = 3;

/// Numbers of words that keys are rounded up to, so that loops over them have known lengths.
pub(crate) const WIDTHS: [usize; 6] = [1, 2, 3, 4, 8, N_WORDS];

/// Words of a set of places for keys of `n` words: at least four places, in whole cache lines.
const fn set_size(n: usize) -> usize {
    (4 * (n + 1)).next_multiple_of(LINE)
}

/// Places of a set.
const fn n_ways(n: usize) -> usize {
    set_size(n) / (n + 1)
}

/// Words that keys of `n_words` words are rounded up to.
fn width(n_words: usize) -> usize {
    WIDTHS.into_iter().find(|&n| n >= n_words).unwrap_or(N_WORDS)
}

/// Bytes of an entry for keys of `n_words` words: what a set leaves unused and what is kept of microflows that were seen
/// once included.
pub(crate) fn entry_bytes(n_words: usize) -> usize {
    let n = width(n_words);
    (set_size(n) * size_of::<u64>()).div_ceil(n_ways(n)) + size_of::<u16>()
}

/// Place of an entry, until the next insertion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(usize);

/// Whether a place has this key.
#[inline(always)]
fn is_key<const N: usize>(place: &[u64], words: &[u64; N]) -> bool {
    place[1..].iter().zip(words).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Of an empty place it is [`UNKNOWN`].
const fn program(state: u64) -> u32 {
    ((state & PROGRAM) as u32).wrapping_sub(1)
}

const fn state(epoch: u64, program: u32) -> u64 {
    epoch << 32 | (program as u64 + 1)
}

/// Microflows and the programs they run.
#[derive(Debug)]
pub(crate) struct Cache {
    secret: Secret,
    n_entries: usize,
    /// Sets in use, and how many that may be: powers of two.
    n_sets: usize,
    max_sets: usize,
    /// Microflows that are there.
    len: usize,
    /// Below so many another is added when it is first seen.
    n_at_once: usize,
    /// Words of a key: one of [`WIDTHS`].
    width: usize,
    generation: u64,
    /// Sets of places from `first` on, where a cache line begins; a place is its state, then the key.
    data: Vec<u64>,
    first: usize,
    /// Parts of the hashes of microflows that were seen while they were not there.
    seen: Vec<u16>,
    /// Chooses whom to replace.
    dice: u64,
}

impl Cache {
    /// A cache of about `n_entries`, or none at all for zero.
    pub(crate) fn new(n_entries: u32, secret: Secret) -> Self {
        Self {
            secret,
            n_entries: n_entries as usize,
            n_sets: 0,
            max_sets: 0,
            len: 0,
            n_at_once: 0,
            width: 1,
            generation: u64::MAX,
            data: Vec::new(),
            first: 0,
            seen: Vec::new(),
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
        let n_sets = |n_entries: usize| (n_entries * (self.width + 1)).div_ceil(size).next_power_of_two();
        (self.n_sets, self.max_sets) = (n_sets(self.n_entries.min(N_FIRST)), n_sets(self.n_entries));
        (self.len, self.n_at_once) = (0, self.max_sets * n_ways(self.width) / 4);
        // Zeros of the allocator take no memory until they are written to.
        self.data = vec![0; self.max_sets * size + LINE];
        let beyond = self.data.as_ptr() as usize % (LINE * size_of::<u64>()) / size_of::<u64>();
        self.first = (LINE - beyond) % LINE;
        self.seen = vec![0; self.n_entries.next_power_of_two()];
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.data.fill(0);
        self.len = 0;
    }

    /// Where the set begins that a half of a hash chooses.
    #[inline(always)]
    fn set(&self, n: usize, hash: u64) -> usize {
        self.first + (hash as usize & (self.n_sets - 1)) * set_size(n)
    }

    /// Has the memory of a microflow's own set brought near, for [`program_of`](Self::program_of): little else is done, so
    /// that many of these wait for memory together. What is returned must be used for something.
    #[inline(always)]
    pub(crate) fn touch<const N: usize>(&self, words: &[u64; N]) -> u64 {
        let at = self.set(N, self.secret.hash(words));
        let Some(set) = self.data.get(at..at + set_size(N)) else { return 0 };
        set.iter().step_by(LINE).fold(0, |all, word| all | word)
    }

    /// The program of a microflow, if its own set knows it and it was found good in `epoch`; else [`UNKNOWN`]. No branch
    /// depends on what is there, so that many of these wait for memory together.
    #[inline(always)]
    pub(crate) fn program_of<const N: usize>(&self, words: &[u64; N], epoch: u32) -> u32 {
        let at = self.set(N, self.secret.hash(words));
        let Some(set) = self.data.get(at..at + set_size(N)) else { return UNKNOWN };
        let place = |way: usize| &set[way * (N + 1)..(way + 1) * (N + 1)];
        // All places: to stop at the right one would be a branch that nobody can foretell. Of long keys that is too
        // much, and the first place is usually the right one. Where the key of an empty one
        // is the same by chance, `find` looks again.
        let way = if N > MAX_ALL {
            (0..n_ways(N) - 1).find(|&way| is_key(place(way), words)).unwrap_or(n_ways(N) - 1)
        } else {
            (1..n_ways(N)).fold(0, |at, way| select_unpredictable(is_key(place(way), words), way, at))
        };
        let state = place(way)[0];
        let is_good = is_key(place(way), words) & ((state >> 32) as u32 == epoch);
        select_unpredictable(is_good, program(state), UNKNOWN)
    }

    /// Place, program and epoch of a microflow.
    #[inline(always)]
    pub(crate) fn find<const N: usize>(&self, words: &[u64; N]) -> Option<(Slot, u32, u32)> {
        let hash = self.secret.hash(words);
        let first = self.set(N, hash);
        let at = match self.find_in(first, words) {
            None if self.data.get(first)? & SPILLED != 0 => self.find_in(self.set(N, hash >> 32), words)?,
            found => found?,
        };
        let state = *self.data.get(at)?;
        Some((Slot(at), program(state), (state >> 32) as u32))
    }

    #[inline(always)]
    fn find_in<const N: usize>(&self, set: usize, words: &[u64; N]) -> Option<usize> {
        let mut places = self.data.get(set..set + set_size(N))?.chunks_exact(N + 1);
        let way = places.position(|place| is_key(place, words) && place[0] & PROGRAM != 0)?;
        Some(set + way * (N + 1))
    }

    /// An entry was found good in `epoch`, with this program.
    #[inline]
    pub(crate) fn refresh(&mut self, slot: Slot, epoch: u64, program: u32) {
        let place = &mut self.data[slot.0];
        *place = *place & SPILLED | state(epoch, program);
    }

    /// Adds a microflow that was not there, if it is not seen for the first time or the cache is nearly empty.
    #[inline]
    pub(crate) fn insert<const N: usize>(&mut self, words: &[u64; N], (epoch, program): (u64, u32)) {
        let hash = self.secret.hash(words);
        let at = (hash >> 16) as usize & (self.seen.len() - 1);
        let name = (hash >> 48) as u16;
        if self.len < self.n_at_once || self.seen[at] == name {
            self.insert_seen(words, hash, (epoch, program));
        } else if self.toss() & 1 == 0 {
            // Not each time: of microflows that come in turn and share this memory, each is remembered some time.
            self.seen[at] = name;
        }
    }

    #[inline]
    fn toss(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice >> 8
    }

    /// Adds a microflow. Where both sets are full it replaces another one time in four only, so that many new
    /// microflows leave most of the established ones.
    #[inline(never)]
    fn insert_seen<const N: usize>(&mut self, words: &[u64; N], hash: u64, (epoch, program): (u64, u32)) {
        // Another frame of the batch may have added it.
        if let Some((slot, ..)) = self.find(words) {
            return self.refresh(slot, epoch, program);
        }
        if self.put(words, hash, state(epoch, program)) {
            self.len += 1;
            if self.len * 2 > self.n_sets * n_ways(N) && self.n_sets < self.max_sets {
                self.grow();
            }
        } else if self.toss() & 3 == 0 {
            let way = self.toss() as usize % n_ways(N);
            let at = self.set(N, hash) + way * (N + 1);
            self.data[at] = self.data[at] & SPILLED | state(epoch, program);
            self.data[at + 1..at + 1 + N].copy_from_slice(words);
        }
    }

    /// Puts a microflow where there is room.
    fn put(&mut self, words: &[u64], hash: u64, state: u64) -> bool {
        let n = words.len();
        let free = |set: usize| {
            let places = (0..n_ways(n)).map(|way| set + way * (n + 1));
            { places }.find(|&at| self.data[at] & PROGRAM == 0)
        };
        let first = self.set(n, hash);
        let Some((at, is_second)) =
            free(first).map(|at| (at, false)).or_else(|| Some((free(self.set(n, hash >> 32))?, true)))
        else {
            return false;
        };
        if is_second {
            self.data[first] |= SPILLED;
        }
        self.data[at] = self.data[at] & SPILLED | state;
        self.data[at + 1..at + 1 + n].copy_from_slice(words);
        true
    }

    /// Takes more sets into use, and everything to where it is then looked for.
    #[cold]
    fn grow(&mut self) {
        let (n, old) = (self.width, self.n_sets);
        self.n_sets = (old * GROWTH).min(self.max_sets);
        self.len = 0;
        let first = self.first;
        let sets = (0..old).map(|set| first + set * set_size(n));
        sets.clone().for_each(|set| self.data[set] &= !SPILLED);
        for at in sets.flat_map(|set| (0..n_ways(n)).map(move |way| set + way * (n + 1))) {
            let state = self.data[at] & !SPILLED;
            if state != 0 {
                let mut words = [0; N_WORDS];
                let words = &mut words[..n];
                words.copy_from_slice(&self.data[at + 1..at + 1 + n]);
                self.data[at] &= SPILLED;
                // The state that was taken leaves room for at least this one.
                let hash = self.secret.hash(words);
                self.len += usize::from(self.put(words, hash, state));
            }
        }
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

    fn cache(n_entries: u32) -> Cache {
        let mut cache = Cache::new(n_entries, Secret::from_seed(2));
        cache.adapt(&layout(&[(0, u64::MAX), (1, u64::MAX)]));
        assert_eq!(cache.width(), 2);
        cache
    }

    fn find(cache: &Cache, n: u64) -> Option<(u32, u32)> {
        let words = [n; 2];
        let found = cache.find(&words).map(|(_, program, epoch)| (program, epoch));
        let at_once = cache.program_of(&words, 3);
        assert!(at_once == UNKNOWN || found == Some((at_once, 3)), "{at_once} {found:?}");
        found
    }

    fn see(cache: &mut Cache, n: u64, program: u32) {
        let words = [n; 2];
        cache.insert(&words, (3, program));
    }

    /// Sees a microflow until it must be there.
    fn establish(cache: &mut Cache, n: u64, program: u32) {
        (0..20).for_each(|_| see(cache, n, program));
    }

    #[test]
    fn finds_what_was_seen_again_until_the_layout_changes() {
        let mut cache = cache(64);
        see(&mut cache, 7, 42);
        assert_eq!(find(&cache, 7), Some((42, 3)), "at once while there is nothing");
        (100..150).for_each(|n| see(&mut cache, n, 1));
        see(&mut cache, 9, 1);
        assert_eq!(find(&cache, 9), None);
        establish(&mut cache, 9, 1);
        assert_eq!(find(&cache, 9), Some((1, 3)));
        establish(&mut cache, 7, 43);
        assert_eq!(find(&cache, 7), Some((43, 3)));
        assert_eq!(find(&cache, 8), None);
        let words = [7; 2];
        let (slot, ..) = cache.find(&words).expect("it is there");
        cache.refresh(slot, 9, 0);
        assert_eq!(find(&cache, 7), Some((0, 9)));
        let mut layout = layout(&[(0, u64::MAX), (1, u64::MAX)]);
        cache.adapt(&layout);
        assert_eq!(find(&cache, 7), Some((0, 9)));
        layout.generation = 2;
        cache.adapt(&layout);
        assert_eq!(find(&cache, 7), None);
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
        assert_eq!(layout.pack::<4>(&base)[..3], layout.pack::<3>(&base));
    }

    #[test]
    fn nearly_everything_fits_while_there_is_room() {
        let mut cache = cache(1 << 12);
        let before = cache.n_sets;
        for n in 0..3 << 10 {
            establish(&mut cache, n, n as u32);
        }
        assert!(cache.n_sets > before, "what is used grows");
        let found = (0..3u64 << 10).filter(|&n| find(&cache, n) == Some((n as u32, 3))).count();
        assert!(found > 3030, "{found} of 3072");
        let at_once = (0..3u64 << 10).filter(|&n| cache.program_of(&[n; 2], 3) == n as u32).count();
        assert!(at_once > 2900, "{at_once} of 3072");
        assert_eq!(cache.len, found);
        let none = (3u64 << 10..4 << 10).filter(|&n| find(&cache, n).is_some()).count();
        assert_eq!(none, 0);
        cache.clear();
        assert_eq!((0..3u64 << 10).find(|&n| find(&cache, n).is_some()), None);
    }

    #[test]
    fn a_flood_of_new_microflows_leaves_the_established_ones() {
        let mut cache = cache(1 << 12);
        for n in 0..2 << 10 {
            establish(&mut cache, n, 1);
        }
        let n_found = |cache: &Cache| (0..2u64 << 10).filter(|&n| find(cache, n).is_some()).count();
        let (n_before, len) = (n_found(&cache), cache.len);
        (1 << 20..1 << 21).for_each(|n| see(&mut cache, n, 2));
        // One in 2^16 is taken for one that was seen before.
        assert!(n_found(&cache) + 4 > n_before && cache.len < len + 64, "{} of {len}", cache.len);
    }

    /// More than the memory of what was seen holds, in turn.
    #[test]
    fn microflows_that_come_in_turn_are_all_found_in_the_end() {
        let mut cache = cache(1 << 12);
        let n_found = |cache: &Cache| (0..3u64 << 10).filter(|&n| find(cache, n).is_some()).count();
        for _ in 0..12 {
            for n in 0..3 << 10 {
                if find(&cache, n).is_none() {
                    see(&mut cache, n, 1);
                }
            }
        }
        assert!(n_found(&cache) > 3000, "{}", n_found(&cache));
    }
}
