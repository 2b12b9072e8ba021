//! A hash table of record indices with bounded probes.
//!
//! A key has two buckets of ten slots; it is in one of them or nowhere. Nothing ever moves, so a lookup costs at most
//! twenty tags and an insertion that finds both buckets full is refused, whatever the traffic. Keys stay in the records:
//! the table holds 16 bits of the hash and the index, and asks the caller to compare.

/// As many as fit a cache line.
const SLOTS: usize = 10;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    /// Zero is an empty slot.
    tags: [u16; SLOTS],
    values: [u32; SLOTS],
}

/// Both buckets of the key are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug)]
pub(crate) struct Index {
    buckets: Vec<Bucket>,
    mask: u64,
}

impl Index {
    /// A table for `n` keys, filled to five eighths at most: then two full buckets do not happen by chance.
    pub(crate) fn new(n: u32) -> Self {
        let n_buckets = (n as usize * 8 / 5).div_ceil(SLOTS).next_power_of_two();
        let empty = Bucket { tags: [0; SLOTS], values: [0; SLOTS] };
        Self { buckets: vec![empty; n_buckets], mask: n_buckets as u64 - 1 }
    }

    #[inline(always)]
    fn places(&self, hash: u64) -> ([usize; 2], u16) {
        let first = hash & self.mask;
        let second = (hash >> 24 ^ hash >> 13) & self.mask;
        ([first as usize, second as usize], (hash >> 48) as u16 | 1)
    }

    /// The value under `hash` for which `is` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let (places, tag) = self.places(hash);
        for place in places {
            let bucket = &self.buckets[place];
            for (slot, value) in bucket.tags.iter().zip(bucket.values) {
                if *slot == tag && is(value) {
                    return Some(value);
                }
            }
        }
        None
    }

    /// Reads both buckets of `hash`, so that they are near when it is looked for.
    #[inline(always)]
    pub(crate) fn touch(&self, hash: u64) -> u16 {
        let ([first, second], _) = self.places(hash);
        self.buckets[first].tags[0] ^ self.buckets[second].tags[0]
    }

    /// Adds a value that is not there yet, into the emptier of its two buckets.
    pub(crate) fn insert(&mut self, hash: u64, value: u32) -> Result<(), Full> {
        let (places, tag) = self.places(hash);
        let n_free = |place: usize| self.buckets[place].tags.iter().filter(|t| **t == 0).count();
        let place = if n_free(places[1]) > n_free(places[0]) { places[1] } else { places[0] };
        let bucket = &mut self.buckets[place];
        let slot = bucket.tags.iter().position(|t| *t == 0).ok_or(Full)?;
        (bucket.tags[slot], bucket.values[slot]) = (tag, value);
        Ok(())
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, hash: u64, value: u32) {
        let (places, tag) = self.places(hash);
        for place in places {
            let bucket = &mut self.buckets[place];
            for slot in 0..SLOTS {
                if bucket.tags[slot] == tag && bucket.values[slot] == value {
                    bucket.tags[slot] = 0;
                    return;
                }
            }
        }
        debug_assert!(false, "value {value} is not in the index");
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
        for i in 0..n {
            assert_eq!(index.find(key.hash([u64::from(i)]), |v| v == i), Some(i));
            index.remove(key.hash([u64::from(i)]), i);
            assert_eq!(index.find(key.hash([u64::from(i)]), |v| v == i), None);
        }
    }

    #[test]
    fn crafted_collisions_are_refused_not_endless() {
        let mut index = Index::new(1000);
        let n = (0..100).take_while(|i| index.insert(0x1234_5678_9abc_def0, *i).is_ok()).count();
        assert!(n <= 2 * SLOTS, "{n}");
    }
}
