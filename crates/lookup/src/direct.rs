//! Prefixes in arrays: a look-up takes the first sixteen bits in one step, then four at a time.
//!
//! A place has the value of the longest prefix that ends in its step, or leads to a block of places for the next step;
//! what it would have itself is kept beside the block. So a change touches the places of its own step alone. It knows
//! the best prefix of each place, not all prefixes: those are in the tree that it stands in front of.

use core::marker::PhantomData;

use crate::lpm::Address;
use crate::pages::Pages;

/// Bits of the first step.
const FIRST_BITS: u32 = 16;
/// Bits of the others.
const STEP_BITS: u32 = 4;
/// Places of a block: a cache line.
const BLOCK_LEN: usize = 1 << STEP_BITS;
/// Blocks of the first step.
const N_FIRST: usize = (1 << FIRST_BITS) / BLOCK_LEN;

/// A place: the number of a block with this bit, or a value with the length of its prefix in this step.
const BLOCK: u32 = 1 << 31;
const LEN_BITS: u32 = 5;
/// No prefix ends here.
const HOLE: u32 = (BLOCK - 1) >> LEN_BITS << LEN_BITS;

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
struct Block([u32; BLOCK_LEN]);

/// The longest prefixes of all addresses.
#[derive(Clone, Debug)]
pub(crate) struct Direct<A> {
    /// Those of the first step, then others.
    blocks: Pages<Block>,
    /// For each of the others, what the place that leads to it would have itself.
    above: Vec<u32>,
    free: Vec<u32>,
    address: PhantomData<A>,
}

/// The last step.
const fn last<A: Address>() -> usize {
    ((A::BITS - FIRST_BITS) / STEP_BITS) as usize
}

/// Where a step begins.
const fn start(step: usize) -> u32 {
    match step {
        0 => 0,
        step => FIRST_BITS + (step as u32 - 1) * STEP_BITS,
    }
}

/// The bits of `addr` in a step.
#[inline(always)]
fn bits<A: Address>(addr: A, step: usize) -> usize {
    match step {
        0 => addr.bits_at(0, FIRST_BITS),
        step => addr.bits_at(start(step), STEP_BITS),
    }
}

/// The step in which a prefix ends.
fn step_of(len: u8) -> usize {
    u32::from(len).saturating_sub(FIRST_BITS).div_ceil(STEP_BITS) as usize
}

/// Lengths shorter than `len` that end in the same step, the longest first.
pub(crate) fn shorter(len: u8) -> impl Iterator<Item = u8> {
    let first = match step_of(len) {
        0 => 0,
        step => start(step) as u8 + 1,
    };
    (first..len).rev()
}

/// What a place has of a prefix.
fn word(len: u8, value: u32) -> u32 {
    value << LEN_BITS | (u32::from(len) - start(step_of(len)))
}

/// The length in its step of the prefix whose value a word has.
const fn len_of(word: u32) -> u32 {
    word & ((1 << LEN_BITS) - 1)
}

impl<A: Address> Direct<A> {
    pub(crate) fn new() -> Self {
        let blocks = Pages::new(Block([HOLE; BLOCK_LEN]), N_FIRST);
        Self { blocks, above: Vec::new(), free: Vec::new(), address: PhantomData }
    }

    /// Values that it cannot hold begin here.
    pub(crate) const END: u32 = HOLE >> LEN_BITS;

    /// The value of the longest prefix of `addr`.
    #[inline(always)]
    pub(crate) fn lookup(&self, addr: A) -> Option<u32> {
        let (mut place, mut found) = ([0], [None]);
        // Of few steps none is left out: to stop at the right one would be a branch that nobody can predict.
        if A::BITS > u32::BITS {
            self.walk::<true>(&[addr], &mut place, &mut found);
        } else {
            self.walk::<false>(&[addr], &mut place, &mut found);
        }
        found[0]
    }

    /// The same of several, step by step for all of them: so their loads overlap. All take as many steps as one of them
    /// needs. `places` is room for as many.
    #[inline(always)]
    pub(crate) fn lookup_each(&self, addrs: &[A], places: &mut [u32], found: &mut [Option<u32>]) {
        self.walk::<true>(addrs, places, found);
    }

    #[inline(always)]
    fn walk<const STOPS: bool>(&self, addrs: &[A], places: &mut [u32], found: &mut [Option<u32>]) {
        for (place, addr) in places.iter_mut().zip(addrs) {
            *place = self.place(bits(*addr, 0));
        }
        for step in 1..=last::<A>() {
            let mut leads_further = 0;
            for (place, addr) in places.iter_mut().zip(addrs) {
                let leads_on = *place & BLOCK != 0;
                let block = if leads_on { *place ^ BLOCK } else { 0 };
                let next = self.blocks.at(block as usize).0[bits(*addr, step)];
                *place = if leads_on { next } else { *place };
                leads_further |= *place;
            }
            if STOPS && leads_further & BLOCK == 0 {
                break;
            }
        }
        for ((found, place), addr) in found.iter_mut().zip(places).zip(addrs) {
            *found = match *place {
                HOLE => self.lookup_above(*addr),
                place => Some(place >> LEN_BITS),
            };
        }
    }

    /// The same where the last step found no prefix: what the steps before it passed by.
    #[inline(never)]
    fn lookup_above(&self, addr: A) -> Option<u32> {
        let (mut at, mut best) = (bits(addr, 0), HOLE);
        for step in 1..=last::<A>() {
            let Some(block) = self.block_at(at) else { break };
            let above = self.above[block - N_FIRST];
            best = if above == HOLE { best } else { above };
            at = block * BLOCK_LEN + bits(addr, step);
        }
        (best != HOLE).then_some(best >> LEN_BITS)
    }

    #[inline(always)]
    fn place(&self, at: usize) -> u32 {
        self.blocks.at(at / BLOCK_LEN).0[at % BLOCK_LEN]
    }

    fn place_mut(&mut self, at: usize) -> &mut u32 {
        &mut self.blocks.at_mut(at / BLOCK_LEN).0[at % BLOCK_LEN]
    }

    /// The block that a place leads to.
    fn block_at(&self, at: usize) -> Option<usize> {
        let place = self.place(at);
        (place & BLOCK != 0).then_some((place ^ BLOCK) as usize)
    }

    /// The value of a place itself, even if it leads on.
    fn own_mut(&mut self, at: usize) -> &mut u32 {
        match self.block_at(at) {
            Some(block) => &mut self.above[block - N_FIRST],
            None => self.place_mut(at),
        }
    }

    /// Sets the value of a prefix, which may be there already.
    pub(crate) fn insert(&mut self, addr: A, len: u8, value: u32) {
        let mut at = bits(addr, 0);
        for step in 1..=step_of(len) {
            let block = self.block_at(at).unwrap_or_else(|| self.add_block(at));
            at = block * BLOCK_LEN + bits(addr, step);
        }
        let new = word(len, value);
        for at in range(at, (addr, len)) {
            let own = self.own_mut(at);
            if *own == HOLE || len_of(*own) <= len_of(new) {
                *own = new;
            }
        }
    }

    /// Takes a prefix out; `next` is the longest of the [`shorter`] ones that hold its address, with its value.
    pub(crate) fn remove(&mut self, addr: A, len: u8, next: Option<(u8, u32)>) {
        let mut path = [bits(addr, 0); (u128::BITS as usize - FIRST_BITS as usize) / STEP_BITS as usize + 1];
        let step = step_of(len);
        for step in 1..=step {
            let Some(block) = self.block_at(path[step - 1]) else { return };
            path[step] = block * BLOCK_LEN + bits(addr, step);
        }
        let next = next.map_or(HOLE, |(len, value)| word(len, value));
        for at in range(path[step], (addr, len)) {
            let own = self.own_mut(at);
            if *own != HOLE && len_of(*own) == len_of(word(len, 0)) {
                *own = next;
            }
        }
        for &at in path[..step].iter().rev() {
            self.prune(at);
        }
    }

    /// Blocks that lead on from others.
    pub(crate) fn n_blocks(&self) -> usize {
        self.blocks.len() - N_FIRST - self.free.len()
    }

    /// Lets both have the memory of what is the same.
    pub(crate) fn share(&mut self, other: &Self) {
        self.blocks.share(&other.blocks);
    }

    fn add_block(&mut self, at: usize) -> usize {
        let block = match self.free.pop() {
            Some(block) => block as usize,
            None => {
                self.blocks.push(Block([HOLE; BLOCK_LEN]));
                self.above.push(HOLE);
                self.blocks.len() - 1
            }
        };
        self.above[block - N_FIRST] = self.place(at);
        *self.place_mut(at) = BLOCK | u32::try_from(block).expect("fewer than 2^31 blocks fit in memory");
        block
    }

    /// Takes the block of a place back if no prefix ends in it or below.
    fn prune(&mut self, at: usize) {
        if let Some(block) = self.block_at(at)
            && self.blocks.at(block).0 == [HOLE; BLOCK_LEN]
        {
            *self.place_mut(at) = self.above[block - N_FIRST];
            self.free.push(block as u32);
        }
    }
}

/// The places of a prefix in the step where it ends, from one of them.
fn range<A: Address>(at: usize, (addr, len): (A, u8)) -> core::ops::Range<usize> {
    let step = step_of(len);
    let n = 1 << (start(step + 1) - u32::from(len));
    let first = at - bits(addr, step) % n;
    first..first + n
}
