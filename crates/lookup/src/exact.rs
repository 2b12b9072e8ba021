//! An exact-match table: two buckets of four for each key (cuckoo hashing), so at most eight places are looked at.

use crate::Secret;

/// Places in a bucket.
const WAYS: usize = 4;
/// Entries moved aside before the table grows instead.
const MAX_KICKS: usize = 48;
/// Set in the word of a place that is taken; the value is below.
const TAKEN: u64 = 1 << 32;

/// Keys of a fixed number of words, each with a 32-bit value.
///
/// A look-up touches two buckets of four places whatever the key. An insertion moves at most `MAX_KICKS` entries or
/// doubles the table, which is constant on average.
#[derive(Clone, Debug)]
pub struct ExactMap {
    secret: Secret,
    n_words: usize,
    bucket_mask: usize,
    /// Buckets of four places; a place is its value word and then the key.
    data: Vec<u64>,
    len: usize,
}

impl ExactMap {
    /// An empty table for keys of `n_words` words.
    pub fn new(n_words: usize, secret: Secret) -> Self {
        Self { secret, n_words, bucket_mask: 0, data: vec![0; WAYS * (n_words + 1)], len: 0 }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    const fn stride(&self) -> usize {
        self.n_words + 1
    }

    /// Places of the first word of the two buckets.
    #[inline(always)]
    fn buckets(&self, hash: u64) -> (usize, usize) {
        let size = WAYS * self.stride();
        ((hash as usize & self.bucket_mask) * size, ((hash >> 32) as usize & self.bucket_mask) * size)
    }

    /// The value of `key`.
    #[inline]
    pub fn get(&self, key: &[u64]) -> Option<u32> {
        match *key {
            [a] => self.get_array([a]),
            [a, b] => self.get_array([a, b]),
            [a, b, c] => self.get_array([a, b, c]),
            _ => self.find(key).map(|at| self.data[at] as u32),
        }
    }

    /// The same with the length known to the compiler.
    #[inline(always)]
    pub fn get_array<const N: usize>(&self, key: [u64; N]) -> Option<u32> {
        debug_assert_eq!(N, self.n_words);
        let (first, second) = self.buckets(self.secret.hash(&key));
        for bucket in [first, second] {
            let places = self.data.get(bucket..bucket + WAYS * (N + 1))?;
            for place in places.chunks_exact(N + 1) {
                if place[0] & TAKEN != 0 && place[1..] == key {
                    return Some(place[0] as u32);
                }
            }
        }
        None
    }

    fn find(&self, key: &[u64]) -> Option<usize> {
        debug_assert_eq!(key.len(), self.n_words);
        let (first, second) = self.buckets(self.secret.hash(key));
        let stride = self.stride();
        for bucket in [first, second] {
            let places = &self.data[bucket..bucket + WAYS * stride];
            for (way, place) in places.chunks_exact(stride).enumerate() {
                if place[0] & TAKEN != 0 && &place[1..] == key {
                    return Some(bucket + way * stride);
                }
            }
        }
        None
    }

    /// Sets the value of `key`; returns the old one.
    ///
    /// # Panics
    /// If `key` has another number of words than the table.
    pub fn insert(&mut self, key: &[u64], value: u32) -> Option<u32> {
        assert_eq!(key.len(), self.n_words, "keys have a fixed length");
        if let Some(at) = self.find(key) {
            let old = self.data[at] as u32;
            self.data[at] = TAKEN | u64::from(value);
            return Some(old);
        }
        // Nine tenths full, cuckoo hashing with buckets of four still finds a place quickly.
        if (self.len + 1) * 10 > (self.bucket_mask + 1) * WAYS * 9 {
            self.grow(None);
        }
        self.len += 1;
        if let Some(at) = self.vacant(key) {
            self.data[at] = TAKEN | u64::from(value);
            self.data[at + 1..=at + key.len()].copy_from_slice(key);
            return None;
        }
        let mut homeless = vec![TAKEN | u64::from(value)];
        homeless.extend_from_slice(key);
        if !self.place(&mut homeless) {
            self.grow(Some(homeless));
        }
        None
    }

    /// A place for a key that needs no other to move.
    fn vacant(&self, key: &[u64]) -> Option<usize> {
        let (first, second) = self.buckets(self.secret.hash(key));
        let stride = self.stride();
        let places = |bucket: usize| (bucket..).step_by(stride).take(WAYS);
        places(first).chain(places(second)).find(|&at| self.data[at] & TAKEN == 0)
    }

    /// Puts an entry that is not there yet, moving others if need be.
    fn settle(&mut self, entry: &[u64]) -> bool {
        match self.vacant(&entry[1..]) {
            Some(at) => {
                self.data[at..at + entry.len()].copy_from_slice(entry);
                true
            }
            None => self.place(&mut entry.to_vec()),
        }
    }

    /// Finds a place for an entry, moving others; false with the last one moved aside in `homeless`.
    fn place(&mut self, homeless: &mut [u64]) -> bool {
        let stride = self.stride();
        for kick in 0..MAX_KICKS {
            let (first, second) = self.buckets(self.secret.hash(&homeless[1..]));
            for bucket in [first, second] {
                for at in (bucket..).step_by(stride).take(WAYS) {
                    if self.data[at] & TAKEN == 0 {
                        self.data[at..at + stride].copy_from_slice(homeless);
                        return true;
                    }
                }
            }
            let bucket = if kick % 2 == 0 { second } else { first };
            let at = bucket + (kick / 2 + kick) % WAYS * stride;
            self.data[at..at + stride].swap_with_slice(homeless);
        }
        false
    }

    /// Doubles the table until everything has a place.
    fn grow(&mut self, mut extra: Option<Vec<u64>>) {
        let stride = self.stride();
        let mut n_buckets = (self.bucket_mask + 1) * 2;
        let old = core::mem::take(&mut self.data);
        loop {
            self.bucket_mask = n_buckets - 1;
            self.data = vec![0; n_buckets * WAYS * stride];
            let entries = old.chunks_exact(stride).filter(|e| e[0] & TAKEN != 0);
            let mut entries = entries.chain(extra.as_deref());
            if entries.all(|entry| self.settle(entry)) {
                return;
            }
            // Not the size but the secret is to blame if the table is nearly empty.
            self.secret = self.secret.next();
            n_buckets *= if self.len * 2 > n_buckets * WAYS { 2 } else { 1 };
            extra = extra.take();
        }
    }

    /// Removes `key`; returns its value.
    pub fn remove(&mut self, key: &[u64]) -> Option<u32> {
        let at = self.find(key)?;
        let value = self.data[at] as u32;
        self.data[at] = 0;
        self.len -= 1;
        Some(value)
    }

    /// Removes everything; the memory stays.
    pub fn clear(&mut self) {
        self.data.fill(0);
        self.len = 0;
    }

    /// Every key with its value, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u64], u32)> {
        self.data.chunks_exact(self.stride()).filter(|e| e[0] & TAKEN != 0).map(|e| (&e[1..], e[0] as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn behaves_as_a_map(ops in prop::collection::vec((0u64..300, 0u32..4, any::<u32>()), 0..2000), n_words in 1usize..6) {
            let mut model = HashMap::new();
            let mut map = ExactMap::new(n_words, Secret::from_seed(3));
            for (n, op, value) in ops {
                let key: Vec<u64> = (0..n_words as u64).map(|i| n * (i + 1)).collect();
                match op {
                    0 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    1 => prop_assert_eq!(map.get(&key), model.get(&key).copied()),
                    _ => prop_assert_eq!(map.insert(&key, value), model.insert(key, value)),
                }
                prop_assert_eq!(map.len(), model.len());
            }
            let all: HashMap<_, _> = map.iter().map(|(k, v)| (k.to_vec(), v)).collect();
            prop_assert_eq!(all, model);
        }
    }

    #[test]
    fn stays_dense_when_it_grows() {
        let mut map = ExactMap::new(1, Secret::from_seed(9));
        for n in 0..100_000u64 {
            map.insert(&[n], n as u32);
        }
        assert!(map.data.len() / 2 < 300_000, "{} places for 100,000 keys", map.data.len() / 2);
        assert!((0..100_000).all(|n| map.get(&[n]) == Some(n as u32)));
        assert_eq!(map.get(&[100_000]), None);
    }
}
