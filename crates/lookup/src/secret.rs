//! The hash: folded multiplications of words, made secret before.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// What makes hashes unpredictable: made once a process, or from a seed in tests.
///
/// A folded-multiply hash is fast but no cryptography: whoever could watch it long enough might learn it. Every table
/// here therefore bounds its probes as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secret {
    start: u64,
    factor: u64,
}

impl Secret {
    /// From the operating system's randomness.
    pub fn random() -> Self {
        Self::from_seed(RandomState::new().build_hasher().finish())
    }

    /// Always the same for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        let start = mix(seed ^ 0x243f_6a88_85a3_08d3);
        Self { start, factor: mix(start) | 1 }
    }

    /// Another secret that follows from this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self::from_seed(self.start ^ self.factor)
    }

    /// The hash of a key. Two words take one multiplication, and none waits for another.
    #[inline(always)]
    pub fn hash(self, words: &[u64]) -> u64 {
        let Self { mut start, mut factor } = self;
        let mut sum = words.len() as u64;
        let (pairs, last) = words.as_chunks::<2>();
        for &[a, b] in pairs {
            sum = sum.wrapping_add(folded_multiply(a ^ start, b ^ factor));
            (start, factor) = (start.wrapping_add(STEP), factor.wrapping_add(STEP));
        }
        match *last {
            [a] => sum.wrapping_add(folded_multiply(a ^ start, factor)),
            _ => sum,
        }
    }
}

/// What makes the constants of one pair of words those of the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
const fn folded_multiply(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// A step of splitmix64 (Steele et al., OOPSLA 2014): every bit of the result depends on every bit. No secret is in it.
#[must_use]
pub const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_spread_and_depend_on_the_secret() {
        let secret = Secret::from_seed(1);
        let mut low = [0u32; 256];
        let mut high = [0u32; 256];
        for n in 0..65_536u64 {
            let hash = secret.hash(&[n << 16, 7]);
            low[hash as usize & 255] += 1;
            high[(hash >> 56) as usize] += 1;
        }
        assert!(low.iter().chain(&high).all(|&n| (128..512).contains(&n)), "{low:?} {high:?}");
        assert_ne!(secret.hash(&[1, 2]), secret.hash(&[2, 1]));
        assert_ne!(secret.hash(&[1, 2, 3, 4]), secret.hash(&[3, 4, 1, 2]));
        assert_ne!(secret.hash(&[1]), secret.hash(&[1, 0]));
        assert_ne!(secret.hash(&[1]), secret.next().hash(&[1]));
    }
}
