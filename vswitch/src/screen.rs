//! Many flows at once: whether any of them may match a key, told from a few nibbles of it (after bit-vector
//! classification, Lakshman and Stiliadis, SIGCOMM 1998).

use lookup::Conds;

use crate::key::{Key, N_WORDS};

/// Flows that a screen can tell apart.
pub(crate) const MAX_FLOWS: usize = 64;
/// Nibbles that are looked at.
const N_PLACES: usize = 9;

/// A nibble of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    word: u8,
    shift: u8,
}

impl Place {
    #[inline(always)]
    fn of(self, key: &Key) -> usize {
        (key.get(usize::from(self.word)).copied().unwrap_or_default() >> self.shift) as usize & 15
    }
}

/// For each nibble, which flows admit each value of it, a bit each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen {
    places: [Place; N_PLACES],
    admitted: [[u64; 16]; N_PLACES],
}

impl Screen {
    /// Of the conditions of at most [`MAX_FLOWS`] flows; of bits in `ignored` nothing is known.
    pub(crate) fn new(flows: &[&Conds], ignored: &Key) -> Self {
        debug_assert!(flows.len() <= MAX_FLOWS);
        let places = telling(flows, ignored);
        let mut admitted = [[0; 16]; N_PLACES];
        for (place, row) in places.iter().zip(&mut admitted) {
            let mut any = 0;
            for (n, conds) in flows.iter().enumerate() {
                let (mask, value) = conds.get(place.word).map_or((0, 0), |c| (c.mask, c.value));
                let mask = (mask & !ignored[usize::from(place.word)]) >> place.shift & 15;
                let value = value >> place.shift & 15;
                match mask {
                    0 => any |= 1 << n,
                    15 => row[value as usize] |= 1 << n,
                    _ => {
                        let admits = |nibble: &usize| (*nibble as u64 ^ value) & mask == 0;
                        (0..16).filter(admits).for_each(|nibble| row[nibble] |= 1 << n);
                    }
                }
            }
            row.iter_mut().for_each(|flows| *flows |= any);
        }
        Self { places, admitted }
    }

    /// Which flows may match the key, a bit each; those left out do not, whatever its ignored bits are.
    #[inline(always)]
    pub(crate) fn suspects(&self, key: &Key) -> u64 {
        let rows = self.places.iter().zip(&self.admitted);
        rows.fold(u64::MAX, |left, (place, row)| left & row[place.of(key)])
    }
}

/// The nibbles that tell most: those that most flows look at, and where they differ.
fn telling(flows: &[&Conds], ignored: &Key) -> [Place; N_PLACES] {
    /// One in each byte.
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (mut n_whole, mut ones, mut zeros) = ([[0u64; 2]; N_WORDS], [0u64; N_WORDS], [0u64; N_WORDS]);
    for cond in flows.iter().flat_map(|conds| conds.iter()) {
        let word = usize::from(cond.word);
        let mask = cond.mask & !ignored[word];
        ones[word] |= cond.value & mask;
        zeros[word] |= !cond.value & mask;
        // How many look at all of a nibble: those of even nibbles in the bytes of one sum, odd ones in the other.
        let whole = mask & mask >> 1 & mask >> 2 & mask >> 3;
        n_whole[word][0] += whole & ONES;
        n_whole[word][1] += whole >> 4 & ONES;
    }
    let mut best = [(0, Place::default()); N_PLACES];
    for word in (0..N_WORDS).filter(|&word| ones[word] | zeros[word] != 0) {
        for shift in (0..64).step_by(4) {
            let n = (n_whole[word][shift / 4 % 2] >> (shift / 8 * 8) & 0xff) as u32;
            let n_differ = ((ones[word] & zeros[word]) >> shift & 15).count_ones();
            let score = n * (1 + 8 * n_differ);
            let at = best.partition_point(|(other, _)| *other >= score);
            if at < N_PLACES {
                best.copy_within(at..N_PLACES - 1, at + 1);
                best[at] = (score, Place { word: word as u8, shift: shift as u8 });
            }
        }
    }
    best.map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use lookup::Cond;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few words, few values and masks of all lengths.
        #[test]
        fn no_flow_that_matches_is_missed(
            flows in prop::collection::vec(prop::collection::vec((0u64..4, 0u32..65), 3), 0..MAX_FLOWS),
            keys in prop::collection::vec(prop::collection::vec(0u64..4, 3), 20),
            ignored in 0u32..64,
        ) {
            let spread = |n: u64| n * 0x5555_1111_2222_3333;
            let flows: Vec<Conds> = flows.iter().map(|parts| {
                let conds = parts.iter().zip([0, 4, 5]).map(|(&(value, len), word)| {
                    let mask = u64::MAX.checked_shl(64 - len).unwrap_or(0);
                    Cond { word, value: spread(value) & mask, mask }
                });
                conds.filter(|c| c.mask != 0).collect()
            }).collect();
            let mut hidden = [0; N_WORDS];
            hidden[4] = u64::MAX << ignored;
            let screen = Screen::new(&flows.iter().collect::<Vec<_>>(), &hidden);
            for parts in keys {
                let mut key = [0; N_WORDS];
                for (part, word) in parts.iter().zip([0, 4, 5]) {
                    key[word] = spread(*part);
                }
                let matches = |conds: &Conds| {
                    conds.iter().all(|c| {
                        let word = usize::from(c.word);
                        (key[word] ^ c.value) & c.mask & !hidden[word] == 0
                    })
                };
                let missed = |&(n, conds): &(usize, &Conds)| matches(conds) && screen.suspects(&key) >> n & 1 == 0;
                prop_assert_eq!(flows.iter().enumerate().find(missed), None);
            }
        }
    }

    #[test]
    fn most_keys_are_told_from_most_flows() {
        let flow = |n: u64| -> Conds {
            let address = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let cond = |word, value, mask| Cond { word, value: value & mask, mask };
            [cond(0, 0x800, 0xffff), cond(4, address, u64::MAX << (n % 5 * 8)), cond(5, n, 0xffff)]
                .into_iter()
                .collect()
        };
        let flows: Vec<Conds> = (0..MAX_FLOWS as u64).map(flow).collect();
        let screen = Screen::new(&flows.iter().collect::<Vec<_>>(), &[0; N_WORDS]);
        let key = |n: u64| {
            let mut key = [0; N_WORDS];
            (key[0], key[4], key[5]) = (0x800, n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n);
            key
        };
        assert!((0..64).all(|n| screen.suspects(&key(n)) >> n & 1 == 1));
        let n_suspected = (1_000..2_000).filter(|&n| screen.suspects(&key(n)) != 0).count();
        assert!(n_suspected < 20, "{n_suspected} of 1000");
        assert_eq!(Screen::new(&[], &[0; N_WORDS]).suspects(&key(1)), 0, "of none");
    }
}
