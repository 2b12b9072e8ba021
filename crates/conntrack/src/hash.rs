//! A keyed hash of a few words, and unguessable numbers from the same key.

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
