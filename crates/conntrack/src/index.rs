//! A hash table of record indices with bounded probes.
//!
//! A key has two buckets of ten slots; it is in one of them or nowhere. Nothing ever moves, so a lookup costs at most
//! twenty tags and an insertion that finds both buckets full is refused, whatever the traffic. Nine of ten keys are in
//! the first of their buckets. Keys stay in the records: the table holds 16 bits of the hash and the index, and asks the
//! caller to compare.

/// As many as fit a cache line.
const SLOTS: usize = 10;
/// Half words of a bucket: ten tags, of which zero is an empty slot, and ten indices, each with its lower half first.
const WORDS: usize = 32;
/// A bucket that holds so many leaves the next ones to the other, if that holds less.
const CROWDED: usize = 7;

type Bucket = [u16; WORDS];

/// Both buckets of the key are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Address space at first, memory where there are keys.
    words: Vec<u16>,
    /// Where the first cache line begins in it.
    start: usize,
    n_buckets: u64,
    /// What it was before it grew, until all of that has moved.
    before: Option<Box<Before>>,
}

/// An index that another one takes the place of.
#[derive(Debug)]
struct Before {
    index: Index,
    /// The next bucket to be emptied.
    next: usize,
    /// Values that found no room on this round.
    n_left: usize,
}

#[inline(always)]
fn value(bucket: &Bucket, slot: usize) -> u32 {
    let at = SLOTS + slot.min(SLOTS - 1) * 2;
    u32::from(bucket[at]) | u32::from(bucket[at + 1]) << 16
}

fn set_value(bucket: &mut Bucket, slot: usize, value: u32) {
    bucket[SLOTS + slot * 2] = value as u16;
    bucket[SLOTS + slot * 2 + 1] = (value >> 16) as u16;
}

/// The slots of a bucket that have this tag, a bit each: all are compared at once, without a branch.
#[inline(always)]
fn equal_to(bucket: &Bucket, tag: u16) -> u32 {
    // Written so that it becomes a comparison of eight, a mask, and three steps that put them together.
    let mut bits = [0u16; 8];
    for (slot, bits) in bits.iter_mut().enumerate() {
        *bits = if bucket[slot] == tag { 1 << slot } else { 0 };
    }
    let first = bits.iter().fold(0, |all, bits| all | bits);
    u32::from(first) | u32::from(bucket[8] == tag) << 8 | u32::from(bucket[9] == tag) << 9
}

impl Index {
    /// A table for `n` keys, filled to five eighths at most: then two full buckets do not happen by chance.
    pub(crate) fn new(n: u32) -> Self {
        let n_buckets = (n as usize * 8 / 5).div_ceil(SLOTS).max(2);
        let words = vec![0; (n_buckets + 1) * WORDS];
        let beyond = words.as_ptr().addr() % (WORDS * 2);
        let start = (WORDS * 2 - beyond) / 2 % WORDS;
        Self { words, start, n_buckets: n_buckets as u64, before: None }
    }

    #[inline(always)]
    fn places(&self, hash: u64) -> ([usize; 2], u16) {
        // Of each 32 bits the upper ones count most, and those of the tag are in neither.
        let place = |bits: u64| (((bits & 0xffff_ffff) * self.n_buckets) >> 32) as usize;
        ([place(hash), place(hash >> 16)], (hash >> 48) as u16 | 1)
    }

    #[inline(always)]
    fn bucket(&self, place: usize) -> &Bucket {
        &self.words[self.start..].as_chunks().0[place]
    }

    fn bucket_mut(&mut self, place: usize) -> &mut Bucket {
        &mut self.words[self.start..].as_chunks_mut().0[place]
    }

    /// The value under `hash` for which `is` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        match (self.find_here(hash, &is), &self.before) {
            (None, Some(before)) => before.index.find_here(hash, &is),
            (found, _) => found,
        }
    }

    #[inline(always)]
    fn find_here(&self, hash: u64, is: &impl Fn(u32) -> bool) -> Option<u32> {
        let (places, tag) = self.places(hash);
        for place in places {
            let bucket = self.bucket(place);
            let mut equal = equal_to(bucket, tag);
            while equal != 0 {
                let value = value(bucket, equal.trailing_zeros() as usize);
                if is(value) {
                    return Some(value);
                }
                equal &= equal - 1;
            }
        }
        None
    }

    /// The first value under `hash`, or one with a similar one: the caller compares, and asks on if it is another.
    #[inline(always)]
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        let (places, tag) = self.places(hash);
        for place in places {
            let bucket = self.bucket(place);
            let equal = equal_to(bucket, tag);
            if equal != 0 {
                return Some(value(bucket, equal.trailing_zeros() as usize));
            }
        }
        self.before.as_ref()?.index.find(hash, |_| true)
    }

    /// Reads the first bucket of `hash`, so that it is near when it is looked for.
    #[inline(always)]
    pub(crate) fn touch(&self, hash: u64) -> u16 {
        let ([first, _], _) = self.places(hash);
        self.bucket(first)[0]
    }

    /// Adds a value that is not there yet, into the first of its buckets unless the other has more room to spare.
    pub(crate) fn insert(&mut self, hash: u64, value: u32) -> Result<(), Full> {
        let ([first, second], tag) = self.places(hash);
        let n_used = |place: usize| self.bucket(place)[..SLOTS].iter().filter(|t| **t != 0).count();
        let n_first = n_used(first);
        let place = if n_first >= CROWDED && n_used(second) < n_first { second } else { first };
        let bucket = self.bucket_mut(place);
        let slot = bucket[..SLOTS].iter().position(|t| *t == 0).ok_or(Full)?;
        bucket[slot] = tag;
        set_value(bucket, slot, value);
        Ok(())
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, hash: u64, wanted: u32) {
        let found = self.slot_mut(hash, wanted);
        debug_assert!(found.is_some(), "value {wanted} is not in the index");
        if let Some((bucket, slot)) = found {
            bucket[slot] = 0;
        }
    }

    /// Puts a value in the place of another under the same hash.
    pub(crate) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        let found = self.slot_mut(hash, old);
        debug_assert!(found.is_some(), "value {old} is not in the index");
        if let Some((bucket, slot)) = found {
            set_value(bucket, slot, new);
        }
    }

    /// The slot of a value.
    fn slot_mut(&mut self, hash: u64, wanted: u32) -> Option<(&mut Bucket, usize)> {
        let (places, tag) = self.places(hash);
        let slot_in = |place: usize| {
            let bucket = self.bucket(place);
            let slot = (0..SLOTS).find(|&slot| bucket[slot] == tag && value(bucket, slot) == wanted);
            slot.map(|slot| (place, slot))
        };
        match places.into_iter().find_map(slot_in) {
            Some((place, slot)) => Some((self.bucket_mut(place), slot)),
            None => self.before.as_mut()?.index.slot_mut(hash, wanted),
        }
    }

    // ---- growing -------------------------------------------------------------------------------------------------

    /// Has room for `n` keys from now on; they move there by and by ([`move_some`](Self::move_some)). Not before those of
    /// the last time have moved.
    pub(crate) fn grow(&mut self, n: u32) {
        debug_assert!(self.before.is_none(), "one after the other");
        let index = core::mem::replace(self, Self::new(n));
        self.before = Some(Box::new(Before { index, next: 0, n_left: 0 }));
    }

    /// Moves the keys of up to `n_buckets` buckets; true when all have moved. `hash_of` tells the hash of a value.
    pub(crate) fn move_some(&mut self, n_buckets: usize, hash_of: impl Fn(u32) -> u64) -> bool {
        let Some(mut before) = self.before.take() else { return true };
        let end = (before.next + n_buckets).min(before.index.n_buckets as usize);
        for place in before.next..end {
            for slot in 0..SLOTS {
                let bucket = before.index.bucket(place);
                if bucket[slot] == 0 {
                    continue;
                }
                let value = value(bucket, slot);
                // Whoever finds no room stays where he is, and is found there.
                match self.insert(hash_of(value), value) {
                    Ok(()) => before.index.bucket_mut(place)[slot] = 0,
                    Err(Full) => before.n_left += 1,
                }
            }
        }
        before.next = end;
        if end == before.index.n_buckets as usize {
            if before.n_left == 0 {
                return true;
            }
            (before.next, before.n_left) = (0, 0);
        }
        self.before = Some(before);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Key;

    #[test]
    fn holds_what_it_promises_and_forgets_what_is_removed() {
        let n = 50_000;
        let key = Key::new([1, 2]);
        let mut index = Index::new(n);
        for i in 0..n {
            index.insert(key.hash([u64::from(i)]), i).expect("room for n");
        }
        let is_first = |i: &u32| {
            let ([first, _], _) = index.places(key.hash([u64::from(*i)]));
            (0..SLOTS).any(|slot| index.bucket(first)[slot] != 0 && value(index.bucket(first), slot) == *i)
        };
        let n_first = (0..n).filter(is_first).count();
        assert!(n_first >= n as usize * 9 / 10, "{n_first} are in the first of their buckets");
        for i in 0..n {
            assert_eq!(index.find(key.hash([u64::from(i)]), |v| v == i), Some(i));
            index.replace(key.hash([u64::from(i)]), i, i | 1 << 31);
            assert_eq!(index.find(key.hash([u64::from(i)]), |v| v == i), None);
            assert_eq!(index.find(key.hash([u64::from(i)]), |v| v == i | 1 << 31), Some(i | 1 << 31));
            index.remove(key.hash([u64::from(i)]), i | 1 << 31);
            assert_eq!(index.find(key.hash([u64::from(i)]), |v| v == i | 1 << 31), None);
            assert_eq!(index.find(key.hash([u64::from(i)]), |v| v == i), None);
        }
    }

    #[test]
    fn every_slot_is_compared_for_itself() {
        let mut bucket = [0xffff; WORDS];
        for tags in
            [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [0, 1, 0, 1, 0x8000, 1, 0x8001, 1, 0xffff, 1], [1; SLOTS]]
        {
            bucket[..SLOTS].copy_from_slice(&tags);
            for tag in [1, 2, 0x8000, 0x8001, 0xffff, 0x7fff] {
                let one_by_one = (0..SLOTS).map(|slot| u32::from(tags[slot] == tag) << slot).sum::<u32>();
                assert_eq!(equal_to(&bucket, tag), one_by_one, "{tag:#x} in {tags:x?}");
            }
        }
    }

    #[test]
    fn keys_move_to_a_larger_index_while_it_is_used() {
        let (key, n) = (Key::new([1, 2]), 2000u32);
        let hash = |i: u32| key.hash([u64::from(i)]);
        let mut index = Index::new(n);
        (0..n).for_each(|i| index.insert(hash(i), i).expect("room for n"));
        index.grow(n * 4);
        let (mut gone, mut next, mut n_turns) = (0, n, 0);
        while !index.move_some(1, hash) {
            // One of the old ones goes, another changes, and three come.
            index.remove(hash(gone), gone);
            assert_eq!(index.find(hash(gone), |v| v == gone), None);
            gone += 1;
            index.replace(hash(n - 1), n - 1, n - 1);
            (next..next + 3).for_each(|i| index.insert(hash(i), i).expect("room for more"));
            (next, n_turns) = (next + 3, n_turns + 1);
            assert!((gone..next).all(|i| index.find(hash(i), |v| v == i) == Some(i)), "turn {n_turns}");
        }
        assert!(n_turns > 300 && index.before.is_none());
        assert!((gone..next).all(|i| index.find(hash(i), |v| v == i) == Some(i)));
    }

    #[test]
    fn who_finds_no_room_is_found_where_he_was() {
        let (n, alike) = (100, 0x1234_5678_9abc_def0);
        let mut index = Index::new(n);
        (0..20).for_each(|i| index.insert(alike, i).expect("two buckets of ten"));
        index.grow(n * 2);
        (100..110).for_each(|i| index.insert(alike, i).expect("two buckets of ten"));
        assert!((0..50).all(|_| !index.move_some(16, |_| alike)));
        assert!((0..20).chain(100..110).all(|i| index.find(alike, |v| v == i) == Some(i)));
        (100..110).for_each(|i| index.remove(alike, i));
        assert!((0..50).any(|_| index.move_some(16, |_| alike)));
        assert!((0..20).all(|i| index.find(alike, |v| v == i) == Some(i)));
    }

    #[test]
    fn crafted_collisions_are_refused_not_endless() {
        let mut index = Index::new(1000);
        let n = (0..100).take_while(|i| index.insert(0x1234_5678_9abc_def0, *i).is_ok()).count();
        assert!(n <= 2 * SLOTS, "{n}");
    }
}
