//! Longest prefix match among few prefixes: the ranges that they cut the addresses into, each with its value, and the
//! range of an address by counting how many begin at or before it, without a branch that depends on it.

use crate::lpm::Address;

/// Prefixes that make no more ranges than are held, wherever they lie.
pub(crate) const FEW: usize = 15;
/// Prefixes that ranges are made of at most: where they lie side by side and have the same value, as those of a pool of
/// addresses, they make few.
pub(crate) const MOST: usize = 100;
/// Ranges that are held.
const MAX_RANGES: usize = 32;
/// Ranges that are compared at once.
const AT_ONCE: usize = 8;
/// In the place of a value.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(crate) struct Ranges<A> {
    /// In order. The last ones are again those that begin last.
    starts: [A; MAX_RANGES],
    values: [u32; MAX_RANGES],
    /// Of [`AT_ONCE`].
    n_groups: usize,
}

impl<A: Address> Ranges<A> {
    /// Of these prefixes, unless they make too many; `value_of` tells the value of an address.
    pub(crate) fn new(prefixes: &[(A, u8)], value_of: impl Fn(A) -> Option<u32>) -> Option<Self> {
        let behind = prefixes.iter().filter_map(|(addr, len)| addr.behind(*len));
        let mut starts: Vec<A> =
            prefixes.iter().map(|(addr, _)| *addr).chain(behind).chain([A::ZERO]).collect();
        starts.sort_unstable();
        let value_of = |start: A| (start, value_of(start).unwrap_or(NONE));
        let mut ranges: Vec<(A, u32)> = starts.into_iter().map(value_of).collect();
        ranges.dedup_by_key(|(_, value)| *value);
        let (last, n_ranges) = (*ranges.last()?, ranges.len());
        let range = |at: usize| *ranges.get(at).unwrap_or(&last);
        let (starts, values) =
            (core::array::from_fn(|at| range(at).0), core::array::from_fn(|at| range(at).1));
        (n_ranges <= MAX_RANGES).then_some(Self { starts, values, n_groups: n_ranges.div_ceil(AT_ONCE) })
    }

    /// The value of the longest prefix of `addr`.
    #[inline(always)]
    pub(crate) fn lookup(&self, addr: A) -> Option<u32> {
        let groups = self.starts.as_chunks::<AT_ONCE>().0.iter().take(self.n_groups);
        let n_begun: usize = groups.flatten().map(|start| usize::from(*start <= addr)).sum();
        Some(self.values[n_begun.saturating_sub(1) % MAX_RANGES]).filter(|value| *value != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_reach_to_both_ends() {
        let prefixes = [(0, 0), (0, 32), (0x0a00_0000, 8), (0x0a00_0000, 24), (u32::MAX, 32)];
        let longest = |addr: u32| {
            let covers = |(of, len): &(u32, u8)| (u64::from(addr ^ of) << len >> 32) == 0;
            prefixes.iter().rposition(covers).map(|at| at as u32)
        };
        for from in 0..2 {
            let of_these = |addr| longest(addr).filter(|at| *at >= from as u32);
            let ranges = Ranges::new(&prefixes[from..], of_these).expect("few");
            for start in [0, 0x0a00_0000, 0x0a00_0100, 0x0b00_0000, u32::MAX] {
                for addr in [start.wrapping_sub(1), start, start.wrapping_add(1)] {
                    assert_eq!(ranges.lookup(addr), of_these(addr), "{addr:#x}, prefixes from {from}");
                }
            }
        }
    }

    #[test]
    fn a_pool_makes_few_ranges_and_scattered_ones_too_many() {
        let pool: Vec<(u32, u8)> = (0..64).map(|n| (0xc633_6400 + n, 32)).collect();
        let ranges = Ranges::new(&pool, |addr| (addr >> 6 == 0xc633_6400 >> 6).then_some(7)).expect("three");
        let around = [0xc633_63ff, 0xc633_6400, 0xc633_643f, 0xc633_6440].map(|addr| ranges.lookup(addr));
        assert_eq!((ranges.n_groups, around), (1, [None, Some(7), Some(7), None]));
        let apart: Vec<(u32, u8)> = (0..16).map(|n| (n << 24, 16)).collect();
        let value_of = |addr: u32| (addr << 8 >> 24 == 0).then_some(addr >> 24);
        assert!(Ranges::new(&apart[..15], value_of).is_some());
        assert!(Ranges::new(&[&apart[..], &[(99 << 24, 16)]].concat(), value_of).is_none());
    }
}
