//! Longest prefix match: a tree bitmap (Eatherton, Varghese, Dittia 2004) with six bits a step.
//!
//! A node holds one bit for each of the 63 prefixes of 0 to 5 bits below it and one for each of its 64 children;
//! values and children are packed behind the bits that are set. A look-up takes at most six steps for 32 bits, 22 for
//! 128; a change rewrites at most one block of a node and its parent. With many prefixes the first two steps are looked
//! up in one array, which costs a change at most 4096 places.

use core::marker::PhantomData;

use crate::blocks::Blocks;

/// Bits a step.
const STRIDE: u32 = 6;
/// Bits that the first two steps take.
const START_BITS: u32 = 2 * STRIDE;
/// Prefixes from which on the first two steps are looked up in an array.
const MIN_FOR_STARTS: usize = 256;
/// No node, no value.
const NONE: u32 = u32::MAX;
/// The node that stays empty.
const EMPTY: u32 = 1;

/// An address: bits counted from the most significant.
pub trait Address: Copy {
    /// How many bits it has.
    const BITS: u32;
    /// Six bits from bit `at` on, zeros beyond the end.
    fn six(self, at: u32) -> usize;

    /// The bits of the first two steps.
    #[inline(always)]
    fn twelve(self) -> usize {
        self.six(0) << STRIDE | self.six(STRIDE)
    }

    /// The address that begins with these bits, then zeros.
    fn from_twelve(twelve: usize) -> Self;
}

impl Address for u32 {
    const BITS: u32 = 32;
    #[inline(always)]
    fn six(self, at: u32) -> usize {
        (((self as u64) << 32 << at) >> 58) as usize
    }

    fn from_twelve(twelve: usize) -> Self {
        (twelve as u32) << (Self::BITS - START_BITS)
    }
}

impl Address for u128 {
    const BITS: u32 = 128;
    #[inline(always)]
    fn six(self, at: u32) -> usize {
        ((self << at) >> 122) as usize
    }

    fn from_twelve(twelve: usize) -> Self {
        (twelve as u128) << (Self::BITS - START_BITS)
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

/// Where the first two steps lead: the node for the third, and the place of the best value so far.
#[derive(Clone, Copy, Debug)]
struct Start {
    node: u32,
    best: u32,
}

/// Prefixes of one kind of address, each with a 32-bit value.
#[derive(Clone, Debug)]
pub struct Lpm<A> {
    /// By the first bits; none while there are few prefixes.
    starts: Vec<Start>,
    nodes: Blocks<Node>,
    values: Blocks<u32>,
    len: usize,
    address: PhantomData<A>,
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
        nodes.alloc(EMPTY as usize + 1);
        Self { starts: Vec::new(), nodes, values: Blocks::new(), len: 0, address: PhantomData }
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
        let start = match self.starts.get(addr.twelve()) {
            Some(start) if A::BITS == u32::BITS => self.go_to_the_end(addr, *start),
            Some(start) if start.node == NONE => return self.value_at(start.best),
            Some(start) => self.go_on(addr, START_BITS, *start, A::BITS),
            None => self.go_on(addr, 0, Start { node: 0, best: NONE }, A::BITS),
        };
        self.value_at(start.best)
    }

    #[inline(always)]
    fn value_at(&self, place: u32) -> Option<u32> {
        if place == NONE { None } else { Some(*self.values.at(place as usize)) }
    }

    /// Walks from a node at bit `at` on, not beyond bit `end`.
    #[inline(always)]
    fn go_on(&self, addr: A, mut at: u32, start: Start, end: u32) -> Start {
        let Start { mut node, mut best } = start;
        while node != NONE && at <= end {
            let (here, bits) = (self.nodes.at(node as usize), addr.six(at));
            let found = here.prefixes & ANCESTORS[bits];
            if found != 0 {
                best = here.value(63 - found.leading_zeros() as usize).unwrap_or(NONE);
            }
            node = here.child(bits).unwrap_or(NONE);
            at += STRIDE;
        }
        Start { node, best }
    }

    /// The steps behind the first two, all of them whatever they find: to stop at the right one would be a branch that
    /// nobody can predict, and look-ups one after the other could not overlap.
    #[inline(always)]
    fn go_to_the_end(&self, addr: A, start: Start) -> Start {
        let mut node = if start.node == NONE { EMPTY } else { start.node };
        // The node with the longest prefix so far, and its bit there.
        let (mut found, mut prefixes, mut values_at) = (0, 0, 0);
        for at in (START_BITS..A::BITS).step_by(STRIDE as usize) {
            let (here, bits) = (self.nodes.at(node as usize), addr.six(at));
            let matching = here.prefixes & ANCESTORS[bits];
            if matching != 0 {
                (found, prefixes, values_at) = (matching, here.prefixes, here.values_at);
            }
            let child = here.children_at + below(here.children, bits);
            node = if here.children >> bits & 1 != 0 { child } else { EMPTY };
        }
        let best = match found {
            0 => start.best,
            _ => values_at + below(prefixes, 63 - found.leading_zeros() as usize),
        };
        Start { node: NONE, best }
    }

    /// Looks the first two steps up again where a change of this prefix moved what they lead to: everywhere if it was in
    /// the root, else below the first step. Behind the second step nothing is known that could move.
    fn restart(&mut self, addr: A, len: u8) {
        if self.len < MIN_FOR_STARTS {
            self.starts = Vec::new();
            return;
        }
        let everywhere = self.starts.is_empty() || u32::from(len) < STRIDE;
        self.starts.resize(1 << START_BITS, Start { node: NONE, best: NONE });
        let own = addr.twelve();
        if !everywhere && u32::from(len) >= START_BITS && self.start_of(own).node == self.starts[own].node {
            return;
        }
        let (first, n) = if everywhere { (0, self.starts.len()) } else { (own & !63, 64) };
        for twelve in first..first + n {
            self.starts[twelve] = self.start_of(twelve);
        }
    }

    fn start_of(&self, twelve: usize) -> Start {
        self.go_on(A::from_twelve(twelve), 0, Start { node: 0, best: NONE }, START_BITS - 1)
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
    pub fn insert(&mut self, addr: A, len: u8, value: u32) -> Option<u32> {
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
            return Some(core::mem::replace(self.values.at_mut(at as usize), value));
        }
        let (n, idx) = (node.prefixes.count_ones() as usize, below(node.prefixes, bit) as usize);
        let values_at = self.values.insert(node.values_at, n, idx, value);
        *self.nodes.at_mut(at_node) = Node { prefixes: node.prefixes | 1 << bit, values_at, ..node };
        self.len += 1;
        self.restart(addr, len);
        None
    }

    /// Removes a prefix; returns its value. Bits of `addr` beyond `len` do not count.
    pub fn remove(&mut self, addr: A, len: u8) -> Option<u32> {
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
        self.restart(addr, len);
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

    /// Addresses that share long beginnings: bits come in runs.
    fn addr() -> impl Strategy<Value = u128> {
        (0u32..129, 0u32..129, any::<u128>(), 0u32..8).prop_map(|(a, b, noise, keep)| {
            let run = u128::MAX.checked_shl(a).unwrap_or(0) ^ u128::MAX.checked_shl(b).unwrap_or(0);
            run ^ noise & (u128::MAX >> 128u32.saturating_sub(keep * 3).min(127))
        })
    }

    proptest! {
        #[test]
        fn v6_finds_the_longest(
            ops in prop::collection::vec((0u8..4, addr(), 0u8..129, any::<u32>()), 0..200),
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
            for addr in probes.into_iter().chain(seen.iter().map(|(a, _)| *a)) {
                prop_assert_eq!(lpm.lookup(addr), naive(&model, addr));
            }
            for (addr, len) in seen {
                prop_assert_eq!(lpm.get(addr, len), model.get(&(cut(addr, len), len)).copied());
            }
        }

        #[test]
        fn many_prefixes_are_found_through_the_array(
            ops in prop::collection::vec((0u8..3, any::<u16>(), 0u8..33, any::<u32>()), 330..430),
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
            for (_, addr, _, noise) in ops {
                let addr = u32::from(addr) << 16 | noise & 0xffff;
                prop_assert_eq!(lpm.lookup(addr), naive(&model, u128::from(addr) << 96));
            }
        }

        #[test]
        fn v4_finds_the_longest(
            ops in prop::collection::vec((0u8..4, any::<u16>(), 0u8..33, any::<u32>()), 0..300),
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
