//! Longest prefix match: a tree bitmap (Eatherton, Varghese, Dittia 2004) with six bits a step.
//!
//! A node holds one bit for each of the 63 prefixes of 0 to 5 bits below it and one for each of its 64 children;
//! values and children are packed behind the bits that are set. A look-up takes at most six steps for 32 bits, 22 for
//! 128; a change rewrites at most one block of a node and its parent. With many prefixes, addresses are looked up in
//! arrays instead ([`Direct`]), unless the prefixes are so long and so far apart that these would take too much memory;
//! with few, in the ranges that these make ([`Ranges`]).

use crate::blocks::Blocks;
use crate::direct::Direct;
use crate::ranges::{FEW, MOST, Ranges};

/// Bits a step.
const STRIDE: u32 = 6;
/// Prefixes from which on look-ups go through arrays. They are given up again at half as many.
const MIN_FOR_ARRAYS: usize = 256;
/// Blocks of the arrays that a prefix may have on average. Prefixes of /64 far apart take eight.
const BLOCKS_OF_ONE: usize = 12;
/// Addresses that are looked up together.
const AT_ONCE: usize = 64;
/// No node, no value.
const NONE: u32 = u32::MAX;

/// An address: bits counted from the most significant.
pub trait Address: Copy + Ord {
    /// How many bits it has.
    const BITS: u32;
    /// With no bit set.
    const ZERO: Self;
    /// Six bits from bit `at` on, zeros beyond the end.
    fn six(self, at: u32) -> usize;

    /// `n` bits from bit `at` on, all within the address; at least one, at most 16.
    fn bits_at(self, at: u32, n: u32) -> usize;

    /// The first address behind a prefix, unless that reaches to the last one.
    fn behind(self, len: u8) -> Option<Self>;

    /// The address with six bits from bit `at` on, where it had zeros; those beyond the end are dropped.
    #[must_use]
    fn with_six(self, at: u32, six: usize) -> Self;
}

impl Address for u32 {
    const BITS: u32 = 32;
    const ZERO: Self = 0;
    #[inline(always)]
    fn six(self, at: u32) -> usize {
        (((self as u64) << 32 << at) >> 58) as usize
    }

    fn behind(self, len: u8) -> Option<Self> {
        Self::BITS.checked_sub(len.into()).and_then(|rest| self.checked_add(Self::checked_shl(1, rest)?))
    }

    fn with_six(self, at: u32, six: usize) -> Self {
        self | ((six as u64) << 58 >> at >> 32) as u32
    }

    #[inline(always)]
    fn bits_at(self, at: u32, n: u32) -> usize {
        (self << at >> (32 - n)) as usize
    }
}

impl Address for u128 {
    const BITS: u32 = 128;
    const ZERO: Self = 0;
    #[inline(always)]
    fn six(self, at: u32) -> usize {
        ((self << at) >> 122) as usize
    }

    fn behind(self, len: u8) -> Option<Self> {
        Self::BITS.checked_sub(len.into()).and_then(|rest| self.checked_add(Self::checked_shl(1, rest)?))
    }

    fn with_six(self, at: u32, six: usize) -> Self {
        self | (six as u128) << 122 >> at
    }

    #[inline(always)]
    fn bits_at(self, at: u32, n: u32) -> usize {
        // Shifts of 128 bits are dear: one half has all of them, as a rule.
        let (high, low) = ((self >> 64) as u64, self as u64);
        let mask = (1 << n) - 1;
        match at + n {
            end @ 0..=64 => (high >> (64 - end)) as usize & mask,
            end if at >= 64 => (low >> (128 - end)) as usize & mask,
            end => (high << (end - 64) | low >> (128 - end)) as usize & mask,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Bit `2^len - 1 + bits`: that prefix has a value.
    prefixes: u64,
    /// Bit `bits`: that child is there.
    children: u64,
    values_at: u32,
    children_at: u32,
}

impl Node {
    #[inline(always)]
    const fn child(&self, bits: usize) -> Option<u32> {
        if self.children >> bits & 1 == 0 {
            None
        } else {
            Some(self.children_at + below(self.children, bits))
        }
    }

    #[inline(always)]
    const fn value(&self, bit: usize) -> Option<u32> {
        if self.prefixes >> bit & 1 == 0 { None } else { Some(self.values_at + below(self.prefixes, bit)) }
    }

    const fn is_empty(&self) -> bool {
        self.prefixes == 0 && self.children == 0
    }
}

/// Bits set below `bit`.
#[inline(always)]
const fn below(map: u64, bit: usize) -> u32 {
    (map & ((1 << bit) - 1)).count_ones()
}

/// For six bits, the prefixes of 0 to 5 bits they begin with.
const ANCESTORS: [u64; 64] = {
    let mut table = [0u64; 64];
    let mut bits = 0;
    while bits < 64 {
        let mut len = 0;
        while len < STRIDE {
            table[bits] |= 1 << ((1 << len) - 1 + (bits >> (STRIDE - len)));
            len += 1;
        }
        bits += 1;
    }
    table
};

/// Where a walk is: the node of the next step, and the best prefix so far as its node and its bit there: which place its
/// value has is asked once, at the end.
#[derive(Clone, Copy, Debug)]
struct Place {
    node: u32,
    best: u32,
    bit: u32,
}

impl Place {
    const ROOT: Self = Self { node: 0, best: NONE, bit: 0 };
}

/// Prefixes of one kind of address, each with a value.
#[derive(Clone, Debug)]
pub struct Lpm<A> {
    /// None while there are few prefixes, or too long ones.
    direct: Option<Box<Direct<A>>>,
    /// None while there are more prefixes than [`MOST`], or they make too many.
    ranges: Option<Box<Ranges<A>>>,
    /// Prefixes from which on there are arrays, and from which on these have wide steps.
    min_for_arrays: usize,
    min_for_wide: usize,
    nodes: Blocks<Node>,
    values: Blocks<u32>,
    len: usize,
}

impl<A: Address> Default for Lpm<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Address> Lpm<A> {
    /// Without prefixes.
    pub fn new() -> Self {
        let mut nodes = Blocks::new();
        nodes.alloc(1);
        let (min_for_arrays, min_for_wide, values) = (MIN_FOR_ARRAYS, 0, Blocks::new());
        Self { direct: None, ranges: None, min_for_arrays, min_for_wide, nodes, values, len: 0 }
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No prefix.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of the longest prefix of `addr`.
    #[inline]
    pub fn lookup(&self, addr: A) -> Option<u32> {
        match (&self.direct, &self.ranges) {
            (Some(direct), _) => direct.lookup(addr),
            (_, Some(ranges)) => ranges.lookup(addr),
            (None, None) => self.value_at(self.walk(addr)),
        }
    }

    /// The values of several addresses, each in the place of its address; those beyond the shorter of both are left alone.
    /// All take one step before any takes the next, so that they wait for memory together and not one after the other.
    pub fn lookup_each(&self, addrs: impl Iterator<Item = A>, found: &mut [Option<u32>]) {
        if let Some(ranges) = &self.ranges {
            return found.iter_mut().zip(addrs).for_each(|(found, addr)| *found = ranges.lookup(addr));
        }
        let mut addrs = addrs;
        for found in found.chunks_mut(AT_ONCE) {
            let (mut some, mut n) = ([A::ZERO; AT_ONCE], 0);
            for (place, addr) in some[..found.len()].iter_mut().zip(&mut addrs) {
                (*place, n) = (addr, n + 1);
            }
            let found = &mut found[..n];
            match &self.direct {
                Some(direct) => direct.lookup_each(&some[..n], &mut [0; AT_ONCE][..n], found),
                None => self.walk_together(&some[..n], found),
            }
        }
    }

    fn walk_together(&self, addrs: &[A], found: &mut [Option<u32>]) {
        let mut places = [Place::ROOT; AT_ONCE];
        let places = &mut places[..addrs.len()];
        for at in (0..=A::BITS).step_by(STRIDE as usize) {
            let mut goes_on = false;
            for (place, addr) in places.iter_mut().zip(addrs).filter(|(place, _)| place.node != NONE) {
                *place = self.step(*addr, at, *place);
                goes_on |= place.node != NONE;
            }
            if !goes_on {
                break;
            }
        }
        for (place, value) in places.iter().zip(found) {
            *value = self.value_at(*place);
        }
    }

    #[inline(always)]
    fn value_at(&self, Place { best, bit, .. }: Place) -> Option<u32> {
        if best == NONE {
            return None;
        }
        let at = self.nodes.at(best as usize).value(bit as usize)?;
        Some(*self.values.at(at as usize))
    }

    /// Lets both have the memory of what is the same in them, for those that are changed alike and looked up in turn.
    pub fn share(&mut self, other: &Self) {
        if let (Some(mine), Some(theirs)) = (&mut self.direct, &other.direct) {
            mine.share(theirs);
        }
    }

    /// Where the walk of an address ends.
    #[inline(always)]
    fn walk(&self, addr: A) -> Place {
        let (mut place, mut at) = (Place::ROOT, 0);
        while place.node != NONE && at <= A::BITS {
            place = self.step(addr, at, place);
            at += STRIDE;
        }
        place
    }

    /// One step from a node that is there.
    #[inline(always)]
    fn step(&self, addr: A, at: u32, Place { node, best, bit }: Place) -> Place {
        let (here, bits) = (self.nodes.at(node as usize), addr.six(at));
        let (best, bit) = match here.prefixes & ANCESTORS[bits] {
            0 => (best, bit),
            found => (node, 63 - found.leading_zeros()),
        };
        Place { node: here.child(bits).unwrap_or(NONE), best, bit }
    }

    /// Brings arrays and ranges up to date with a prefix that came with this value, or went.
    fn follow(&mut self, addr: A, len: u8, value: Option<u32>) {
        self.make_ranges();
        if self.len < MIN_FOR_ARRAYS / 2 {
            (self.direct, self.min_for_arrays, self.min_for_wide) = (None, MIN_FOR_ARRAYS, 0);
        }
        let may_be_wide = self.len >= self.min_for_wide;
        match (self.direct.take(), value) {
            (Some(direct), _) if may_be_wide && !direct.is_wide() => self.make_arrays(true),
            (Some(mut direct), Some(value)) => {
                direct.insert(addr, len, value);
                self.direct = Some(direct);
            }
            (Some(mut direct), None) => {
                let next = |len| self.get(addr, len).map(|value| (len, value));
                let next = direct.shorter(len).find_map(next);
                direct.remove(addr, len, next);
                self.direct = Some(direct);
            }
            (None, _) if self.len < self.min_for_arrays => {}
            (None, _) => self.make_arrays(may_be_wide),
        }
        if self.has_large_arrays() && self.direct.as_ref().is_some_and(|direct| direct.is_wide()) {
            self.min_for_wide = self.len * 2;
            self.make_arrays(false);
        }
        if self.has_large_arrays() {
            (self.direct, self.min_for_arrays) = (None, self.len * 2);
        }
    }

    fn make_ranges(&mut self) {
        // Where there were too many, there may be fewer by now; to look each time would take too long.
        let may_be_few = self.ranges.take().is_some() || self.len <= FEW || self.len.is_multiple_of(8);
        if self.len <= MOST && may_be_few {
            let mut prefixes = Vec::new();
            self.each(0, (A::ZERO, 0), &mut |addr, len, _| prefixes.push((addr, len)));
            self.ranges = Ranges::new(&prefixes, |addr| self.value_at(self.walk(addr))).map(Box::new);
        }
    }

    fn make_arrays(&mut self, is_wide: bool) {
        let mut direct = Box::new(Direct::new(is_wide));
        self.each(0, (A::ZERO, 0), &mut |addr, len, value| direct.insert(addr, len, value));
        self.direct = Some(direct);
    }

    /// The arrays take more memory than so many prefixes may.
    fn has_large_arrays(&self) -> bool {
        let n_blocks = self.direct.as_ref().map_or(0, |direct| direct.n_blocks());
        n_blocks > self.len.max(MIN_FOR_ARRAYS) * BLOCKS_OF_ONE
    }

    /// Visits the prefixes of a node, which begin with the first `at` bits of `addr`, and of those below.
    fn each(&self, node: u32, (addr, at): (A, u32), visit: &mut impl FnMut(A, u8, u32)) {
        let here = self.nodes.at(node as usize);
        for bit in 0..63usize {
            if let Some(value) = here.value(bit) {
                let len = (bit + 1).ilog2();
                let six = (bit + 1 - (1 << len)) << (STRIDE - len);
                visit(addr.with_six(at, six), (at + len) as u8, *self.values.at(value as usize));
            }
        }
        for six in 0..64 {
            if let Some(child) = here.child(six) {
                self.each(child, (addr.with_six(at, six), at + STRIDE), visit);
            }
        }
    }

    /// The value of exactly this prefix. Bits of `addr` beyond `len` do not count.
    pub fn get(&self, addr: A, len: u8) -> Option<u32> {
        let mut node = self.nodes.at(0);
        for at in steps::<A>(len) {
            node = self.nodes.at(node.child(addr.six(at))? as usize);
        }
        node.value(place::<A>(addr, len)).map(|at| *self.values.at(at as usize))
    }

    /// Sets the value of a prefix; returns the old one. Bits of `addr` beyond `len` do not count.
    ///
    /// # Panics
    /// If `value` is not below 2^26 - 1: it is meant to be an index.
    pub fn insert(&mut self, addr: A, len: u8, value: u32) -> Option<u32> {
        assert!(value < Direct::<A>::END, "values are below 2^26 - 1");
        let len = len.min(A::BITS as u8);
        let mut at_node = 0;
        for at in steps::<A>(len) {
            let (bits, node) = (addr.six(at), *self.nodes.at(at_node));
            if node.child(bits).is_none() {
                let (n, idx) = (node.children.count_ones() as usize, below(node.children, bits) as usize);
                let children_at = self.nodes.insert(node.children_at, n, idx, Node::default());
                *self.nodes.at_mut(at_node) =
                    Node { children: node.children | 1 << bits, children_at, ..node };
            }
            at_node = self.nodes.at(at_node).child(bits).expect("it was made if it was missing") as usize;
        }
        let (bit, node) = (place::<A>(addr, len), *self.nodes.at(at_node));
        if let Some(at) = node.value(bit) {
            let old = core::mem::replace(self.values.at_mut(at as usize), value);
            if let Some(direct) = &mut self.direct {
                direct.insert(addr, len, value);
            }
            self.make_ranges();
            return Some(old);
        }
        let (n, idx) = (node.prefixes.count_ones() as usize, below(node.prefixes, bit) as usize);
        let values_at = self.values.insert(node.values_at, n, idx, value);
        *self.nodes.at_mut(at_node) = Node { prefixes: node.prefixes | 1 << bit, values_at, ..node };
        self.len += 1;
        self.follow(addr, len, Some(value));
        None
    }

    /// Removes a prefix; returns its value. Bits of `addr` beyond `len` do not count.
    pub fn remove(&mut self, addr: A, len: u8) -> Option<u32> {
        let len = len.min(A::BITS as u8);
        let mut path = vec![0usize];
        for at in steps::<A>(len) {
            let node = self.nodes.at(*path.last().expect("it begins with the root"));
            path.push(node.child(addr.six(at))? as usize);
        }
        let at_node = *path.last().expect("it begins with the root");
        let (bit, node) = (place::<A>(addr, len), *self.nodes.at(at_node));
        let value = *self.values.at(node.value(bit)? as usize);
        let (n, idx) = (node.prefixes.count_ones() as usize, below(node.prefixes, bit) as usize);
        let values_at = self.values.remove(node.values_at, n, idx);
        *self.nodes.at_mut(at_node) = Node { prefixes: node.prefixes & !(1 << bit), values_at, ..node };
        self.len -= 1;
        self.prune(addr, &path);
        self.follow(addr, len, None);
        Some(value)
    }

    /// Takes nodes that hold nothing off their parents, from the last of `path` upwards.
    fn prune(&mut self, addr: A, path: &[usize]) {
        for depth in (1..path.len()).rev() {
            if !self.nodes.at(path[depth]).is_empty() {
                return;
            }
            let (bits, parent) = (addr.six((depth as u32 - 1) * STRIDE), *self.nodes.at(path[depth - 1]));
            let (n, idx) = (parent.children.count_ones() as usize, below(parent.children, bits) as usize);
            let children_at = self.nodes.remove(parent.children_at, n, idx);
            *self.nodes.at_mut(path[depth - 1]) =
                Node { children: parent.children & !(1 << bits), children_at, ..parent };
        }
    }
}

/// Where the steps down to the node of a prefix begin.
fn steps<A: Address>(len: u8) -> impl Iterator<Item = u32> {
    let len = u32::from(len).min(A::BITS);
    (0..len / STRIDE).map(|step| step * STRIDE)
}

/// The bit of a prefix in its node.
fn place<A: Address>(addr: A, len: u8) -> usize {
    let len = u32::from(len).min(A::BITS);
    let rest = len % STRIDE;
    (1 << rest) - 1 + (addr.six(len - rest) >> (STRIDE - rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn cut(addr: u128, len: u8) -> u128 {
        addr & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
    }

    fn naive(model: &HashMap<(u128, u8), u32>, addr: u128) -> Option<u32> {
        (0..=128).rev().find_map(|len| model.get(&(cut(addr, len), len)).copied())
    }

    fn value() -> core::ops::Range<u32> {
        0..Direct::<u32>::END
    }

    /// Addresses that share long beginnings: bits come in runs.
    fn addr() -> impl Strategy<Value = u128> {
        (0u32..129, 0u32..129, any::<u128>(), 0u32..8).prop_map(|(a, b, noise, keep)| {
            let run = u128::MAX.checked_shl(a).unwrap_or(0) ^ u128::MAX.checked_shl(b).unwrap_or(0);
            run ^ noise & (u128::MAX >> 128u32.saturating_sub(keep * 3).min(127))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

        /// Few distinct bits in each step, so that prefixes nest and blocks come and go.
        #[test]
        fn prefixes_nest_in_the_arrays(
            ops in prop::collection::vec((0u8..5, any::<u32>(), 0u8..33, value()), 500..900),
            probes in prop::collection::vec(any::<u32>(), 100),
        ) {
            const BITS: u32 = 0x8001_8433;
            let (mut lpm, mut model) = (Lpm::<u32>::new(), HashMap::new());
            let n_ops = ops.len();
            for (n, (op, addr, len, value)) in ops.into_iter().enumerate() {
                // Many come first, and many go in the end.
                let goes = if n < n_ops * 2 / 3 { op == 0 } else { op != 0 };
                let addr = addr & BITS;
                let key = (cut(u128::from(addr) << 96, len), len);
                if goes {
                    prop_assert_eq!(lpm.remove(addr, len), model.remove(&key));
                } else {
                    prop_assert_eq!(lpm.insert(addr, len, value), model.insert(key, value));
                }
                prop_assert_eq!(lpm.lookup(addr), naive(&model, u128::from(addr) << 96));
                if n % 64 == 0 || n + 1 == n_ops {
                    let probes: Vec<u32> =
                        probes.iter().map(|probe| probe & BITS | probe & 1 << (n % 32)).collect();
                    let mut together = vec![None; probes.len()];
                    lpm.lookup_each(probes.iter().copied(), &mut together);
                    for (probe, together) in probes.into_iter().zip(together) {
                        prop_assert_eq!(lpm.lookup(probe), naive(&model, u128::from(probe) << 96));
                        prop_assert_eq!(together, lpm.lookup(probe));
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 16, ..ProptestConfig::default() })]

        /// Of all lengths, so that they nest over many steps, and blocks come and go.
        #[test]
        fn prefixes_of_ipv6_nest_in_the_arrays(
            ops in prop::collection::vec((0u8..5, any::<u128>(), 0u8..129, value()), 600..900),
            probes in prop::collection::vec(any::<u128>(), 64),
        ) {
            const BITS: u128 = 0x8001_9005_0003_0100_8000_0000_0000_0005;
            let (mut lpm, mut model) = (Lpm::<u128>::new(), HashMap::new());
            let (n_ops, mut had_arrays) = (ops.len(), false);
            for (n, (op, addr, len, value)) in ops.into_iter().enumerate() {
                let goes = if n < n_ops * 2 / 3 { op == 0 } else { op != 0 };
                let addr = addr & BITS;
                let key = (cut(addr, len), len);
                if goes {
                    prop_assert_eq!(lpm.remove(addr, len), model.remove(&key));
                } else {
                    prop_assert_eq!(lpm.insert(addr, len, value), model.insert(key, value));
                }
                had_arrays |= lpm.direct.is_some();
                prop_assert_eq!(lpm.lookup(addr), naive(&model, addr));
                if n % 64 == 0 || n + 1 == n_ops {
                    let probes: Vec<u128> =
                        probes.iter().map(|probe| probe & BITS | probe & 1 << (n % 128)).collect();
                    let mut together = vec![None; probes.len()];
                    lpm.lookup_each(probes.iter().copied(), &mut together);
                    for (probe, together) in probes.into_iter().zip(together) {
                        prop_assert_eq!(together, naive(&model, probe));
                        prop_assert_eq!(together, lpm.lookup(probe));
                    }
                }
            }
            prop_assert!(had_arrays);
        }
    }

    /// Addresses far apart would take a cache line for each four bits of each.
    #[test]
    fn arrays_of_lone_addresses_are_given_up() {
        let (mut lpm, n) = (Lpm::<u128>::new(), 3000);
        let addr = |n: u32| u128::from(noise(n)) << 64 | u128::from(noise(n + 1_000_000));
        for n in 0..n {
            lpm.insert(addr(n), 128, n);
            let n_blocks = lpm.direct.as_ref().map_or(0, |direct| direct.n_blocks());
            assert!(
                n_blocks <= lpm.len().max(MIN_FOR_ARRAYS) * BLOCKS_OF_ONE,
                "{n_blocks} for {}",
                lpm.len()
            );
        }
        assert!(lpm.direct.is_none());
        assert!((0..n).all(|n| lpm.lookup(addr(n)) == Some(n)));
        // Half of them are others now, which need no more than they may.
        for n in 0..2 * n {
            lpm.insert(u128::from(n) << 80, 48, n);
        }
        (0..n).for_each(|n| assert_eq!(lpm.remove(addr(n), 128), Some(n)));
        lpm.insert(addr(0), 32, 7);
        assert!(lpm.direct.is_some());
        assert!((0..2 * n).all(|n| lpm.lookup(u128::from(n) << 80) == Some(n)));
    }

    /// Arrays have wide steps while they pay.
    #[test]
    fn steps_are_wide_where_prefixes_are_dense() {
        let mut lpm = Lpm::<u32>::new();
        let is_wide = |lpm: &Lpm<u32>| lpm.direct.as_ref().map(|direct| direct.is_wide());
        // One in each of a thousand networks of /16, then 256 in each of 78.
        let (lone, dense) = (|n: u32| n << 16 | 0x8000, |n: u32| 0x8000_0000 | n << 8);
        (0..1000).for_each(|n| assert_eq!(lpm.insert(lone(n), 24, n), None));
        assert_eq!(is_wide(&lpm), Some(false));
        (0..20_000).for_each(|n| assert_eq!(lpm.insert(dense(n), 24, n), None));
        assert_eq!(is_wide(&lpm), Some(true));
        assert!((0..20_000).all(|n| lpm.lookup(dense(n) | n & 0xff) == Some(n)));
        assert!((0..1000).all(|n| lpm.lookup(lone(n)) == Some(n) && lpm.lookup(n << 16).is_none()));
        (0..20_000).for_each(|n| assert_eq!(lpm.remove(dense(n), 24), Some(n)));
        assert_eq!(is_wide(&lpm), Some(false));
        assert!((0..1000).all(|n| lpm.lookup(lone(n)) == Some(n) && lpm.lookup(dense(n)).is_none()));
    }

    fn noise(n: u32) -> u64 {
        (u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n % 64)
    }

    /// So many that they are looked up in arrays.
    #[test]
    fn many_of_ipv6_are_found_together() {
        let mut lpm = Lpm::<u128>::new();
        let addr = |n: u32| u128::from(n.wrapping_mul(0x9e37_79b9)) << 96 | u128::from(n) << 60;
        for n in 0..1000 {
            lpm.insert(addr(n), [0, 7, 32, 44, 48, 64, 128][n as usize % 7], n);
        }
        assert!(lpm.direct.is_some());
        let probes: Vec<u128> = (0..1500).map(|n| addr(n) ^ u128::from(n % 3)).collect();
        let mut together = vec![None; probes.len()];
        lpm.lookup_each(probes.iter().copied(), &mut together);
        let alone: Vec<Option<u32>> = probes.iter().map(|addr| lpm.lookup(*addr)).collect();
        assert_eq!(together, alone);
    }

    proptest! {
        #[test]
        fn v6_finds_the_longest(
            ops in prop::collection::vec((0u8..4, addr(), 0u8..129, value()), 0..200),
            probes in prop::collection::vec(addr(), 50),
        ) {
            let (mut lpm, mut model) = (Lpm::<u128>::new(), HashMap::new());
            let mut seen = Vec::new();
            for (op, addr, len, value) in ops {
                if op == 0 && !seen.is_empty() {
                    let (addr, len): (u128, u8) = seen[value as usize % seen.len()];
                    prop_assert_eq!(lpm.remove(addr, len), model.remove(&(cut(addr, len), len)));
                } else {
                    seen.push((addr, len));
                    prop_assert_eq!(lpm.insert(addr, len, value), model.insert((cut(addr, len), len), value));
                }
                prop_assert_eq!(lpm.len(), model.len());
            }
            let probes: Vec<u128> = probes.into_iter().chain(seen.iter().map(|(a, _)| *a)).collect();
            let mut together = vec![Some(7); probes.len()];
            lpm.lookup_each(probes.iter().copied(), &mut together);
            for (addr, together) in probes.into_iter().zip(together) {
                prop_assert_eq!(lpm.lookup(addr), naive(&model, addr));
                prop_assert_eq!(together, lpm.lookup(addr));
            }
            for (addr, len) in seen {
                prop_assert_eq!(lpm.get(addr, len), model.get(&(cut(addr, len), len)).copied());
            }
        }

        #[test]
        fn many_prefixes_are_found_through_the_array(
            ops in prop::collection::vec((0u8..3, any::<u16>(), 0u8..33, value()), 330..430),
        ) {
            let (mut lpm, mut model) = (Lpm::<u32>::new(), HashMap::new());
            for (n, &(op, addr, len, value)) in ops.iter().enumerate() {
                let addr = u32::from(addr) * 0x1_0001;
                let key = (cut(u128::from(addr) << 96, len), len);
                if op == 0 && n > 310 {
                    prop_assert_eq!(lpm.remove(addr, len), model.remove(&key));
                } else {
                    prop_assert_eq!(lpm.insert(addr, len, value), model.insert(key, value));
                }
                if n % 8 == 0 {
                    let probe = addr ^ value >> 12;
                    prop_assert_eq!(lpm.lookup(probe), naive(&model, u128::from(probe) << 96));
                }
            }
            let probes: Vec<u32> =
                ops.iter().map(|&(_, addr, _, noise)| u32::from(addr) << 16 | noise & 0xffff).collect();
            let mut together = vec![Some(7); probes.len()];
            lpm.lookup_each(probes.iter().copied(), &mut together);
            for (addr, together) in probes.into_iter().zip(together) {
                prop_assert_eq!(lpm.lookup(addr), naive(&model, u128::from(addr) << 96));
                prop_assert_eq!(together, lpm.lookup(addr));
            }
        }

        #[test]
        fn v4_finds_the_longest(
            ops in prop::collection::vec((0u8..4, any::<u16>(), 0u8..33, value()), 0..300),
        ) {
            let (mut lpm, mut model) = (Lpm::<u32>::new(), HashMap::new());
            for &(op, addr, len, value) in &ops {
                let addr = u32::from(addr) * 0x1_0001;
                let wide = u128::from(addr) << 96;
                let key = (cut(wide, len), len);
                if op == 0 {
                    prop_assert_eq!(lpm.remove(addr, len), model.remove(&key));
                } else {
                    prop_assert_eq!(lpm.insert(addr, len, value), model.insert(key, value));
                }
            }
            for (_, addr, _, noise) in ops {
                for addr in [u32::from(addr) * 0x1_0001, u32::from(addr) << 16 | noise & 0xffff] {
                    prop_assert_eq!(lpm.lookup(addr), naive(&model, u128::from(addr) << 96));
                }
            }
        }
    }
}
