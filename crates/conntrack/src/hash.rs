//! Keyed hashes of a few words: one by which records are found, and one from which unguessable numbers are drawn.

/// Most words that are hashed to find a record.
const MAX_WORDS: usize = 5;

/// What records are found by: a strongly universal hash (D. Lemire, O. Kaser, "Strongly universal string hashing is fast",
/// 2014). Whoever does not know the seed can do no better than to guess which keys meet in a bucket, and nothing that a
/// peer is told depends on it.
#[derive(Clone, Debug)]
pub struct Keys {
    start: u128,
    factors: [u128; MAX_WORDS],
}

impl Keys {
    /// The same for every tracker and caller with this seed.
    pub fn new(seed: [u64; 2]) -> Self {
        let mut random = Random::new(Key::new(seed));
        let mut draw = || u128::from(random.draw()) << 64 | u128::from(random.draw());
        Self { start: draw(), factors: core::array::from_fn(|_| draw()) }
    }

    /// Hash of whole words.
    #[inline(always)]
    pub(crate) fn hash<const N: usize>(&self, words: [u64; N]) -> u64 {
        const { assert!(N <= MAX_WORDS) };
        let products = self.factors.iter().zip(words).map(|(factor, word)| factor.wrapping_mul(word.into()));
        let sum = (products.fold(self.start, u128::wrapping_add) >> 64) as u64;
        // Of keys in a row the sums are in a row as well: what is next to another goes elsewhere.
        (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// SipHash-1-3 under a secret key: cheap, and no peer can aim at a bucket without knowing the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u64; 2]);

impl Key {
    pub(crate) const fn new(seed: [u64; 2]) -> Self {
        Self(seed)
    }

    /// Hash of whole words; the number of words is part of it.
    #[inline]
    pub(crate) fn hash<const N: usize>(self, words: [u64; N]) -> u64 {
        let [k0, k1] = self.0;
        let mut v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        for word in words {
            v[3] ^= word;
            round(&mut v);
            v[0] ^= word;
        }
        let last = (N as u64 * 8) << 56;
        v[3] ^= last;
        round(&mut v);
        v[0] ^= last;
        v[2] ^= 0xff;
        for _ in 0..3 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// Numbers that cannot be foretold without the key (RFC 6056 §3.3, RFC 6888 REQ-15): the hash of a counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random {
    key: Key,
    n_drawn: u64,
}

impl Random {
    pub(crate) const fn new(key: Key) -> Self {
        Self { key, n_drawn: 0 }
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.n_drawn += 1;
        self.key.hash([self.n_drawn])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    /// Keys in a row, as those of a client that opens one connection after the other are, go to all buckets alike, and
    /// every word counts.
    #[test]
    fn hashes_of_keys_in_a_row_spread() {
        for seed in 0..20 {
            let keys = Keys::new([seed, 1]);
            for step in [1, 1 << 16, 1 << 32, 3 << 40] {
                let mut places = [[0u32; 256]; 3];
                for n in 0..65_536u64 {
                    let hash = keys.hash([n * step, 7]);
                    // The upper ones of what chooses each bucket, and of the tag.
                    for (places, shift) in places.iter_mut().zip([24, 40, 56]) {
                        places[(hash >> shift) as usize & 255] += 1;
                    }
                }
                let is_even = places.iter().flatten().all(|n| (128..512).contains(n));
                assert!(is_even, "seed {seed}, step {step:#x}: {places:?}");
            }
        }
        let keys = Keys::new([1, 2]);
        for at in 0..MAX_WORDS {
            let mut words = [0; MAX_WORDS];
            words[at] = 1;
            assert_ne!(keys.hash(words), keys.hash([0; MAX_WORDS]), "word {at}");
        }
    }

    /// SipHash-1-3 as the standard library's default hasher computes it, for the key zero.
    #[test]
    fn agrees_with_the_standard_library() {
        for words in [[0, 0, 0], [1, 2, 3], [u64::MAX, 7, 1 << 63]] {
            let mut oracle = std::collections::hash_map::DefaultHasher::new();
            words.iter().for_each(|w| oracle.write_u64(*w));
            assert_eq!(Key::new([0, 0]).hash(words), oracle.finish());
        }
    }
}
