//! Prefixes in arrays: a look-up takes the first sixteen bits in one step, then some times eight, then four at a time.
//!
//! Steps of eight bits are few, but where prefixes lie far apart each of them takes a kilobyte for a single one: whether
//! there are any is chosen when the arrays are made.
//!
//! A place has the value of the longest prefix that ends in its step, or leads to a block of places for the next step;
//! what it would have itself is kept beside the block. So a change touches the places of its own step alone. It knows
//! the best prefix of each place, not all prefixes: those are in the tree that it stands in front of.

use core::marker::PhantomData;

use crate::lpm::Address;
use crate::pages::Pages;

/// Bits of the first step.
const FIRST_BITS: u32 = 16;
/// Bits of the last ones, and of those between.
const STEP_BITS: u32 = 4;
const WIDE_BITS: u32 = 8;
/// Places of a block: a cache line.
const BLOCK_LEN: usize = 1 << STEP_BITS;
/// Blocks in a row that a step of eight bits takes.
const N_WIDE: usize = 1 << (WIDE_BITS - STEP_BITS);
/// Where steps of eight bits end, if there are any: what is longer is rare.
const WIDE_END_V4: u32 = 24;
const WIDE_END_V6: u32 = 48;
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

/// How the bits of addresses are dealt out to steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Steps {
    /// Steps of eight bits behind the first.
    n_wide: u32,
}

impl Steps {
    /// Where a step begins.
    #[inline(always)]
    const fn start(self, step: u32) -> u32 {
        match step {
            0 => 0,
            step if step <= self.n_wide => FIRST_BITS + (step - 1) * WIDE_BITS,
            step => FIRST_BITS + self.n_wide * WIDE_BITS + (step - 1 - self.n_wide) * STEP_BITS,
        }
    }

    /// How many bits it takes.
    #[inline(always)]
    const fn width(self, step: u32) -> u32 {
        match step {
            0 => FIRST_BITS,
            step if step <= self.n_wide => WIDE_BITS,
            _ => STEP_BITS,
        }
    }

    /// Blocks in a row that lead on from a place of the step before.
    const fn n_blocks(self, step: u32) -> usize {
        1 << (self.width(step) - STEP_BITS)
    }

    /// The last step.
    const fn last<A: Address>(self) -> u32 {
        self.of(A::BITS)
    }

    /// The step in which a prefix ends.
    const fn of(self, len: u32) -> u32 {
        let behind = len.saturating_sub(FIRST_BITS);
        let wide = self.n_wide * WIDE_BITS;
        if behind <= wide {
            behind.div_ceil(WIDE_BITS)
        } else {
            self.n_wide + (behind - wide).div_ceil(STEP_BITS)
        }
    }

    /// The bits of `addr` in a step.
    #[inline(always)]
    fn bits<A: Address>(self, addr: A, step: u32) -> usize {
        addr.bits_at(self.start(step), self.width(step))
    }

    /// What a place has of a prefix.
    const fn word(self, len: u8, value: u32) -> u32 {
        value << LEN_BITS | (len as u32 - self.start(self.of(len as u32)))
    }

    /// The places of a prefix in the step where it ends, from one of them.
    fn range<A: Address>(self, at: usize, (addr, len): (A, u8)) -> core::ops::Range<usize> {
        let step = self.of(len.into());
        let n = 1 << (self.start(step) + self.width(step) - u32::from(len));
        let first = at - self.bits(addr, step) % n;
        first..first + n
    }
}

/// The longest prefixes of all addresses.
#[derive(Clone, Debug)]
pub(crate) struct Direct<A> {
    steps: Steps,
    /// Those of the first step, then others.
    blocks: Pages<Block>,
    /// For each of the others, what the place that leads to it would have itself.
    above: Vec<u32>,
    free: Vec<u32>,
    /// Firsts of so many in a row as a step of eight bits takes.
    free_wide: Vec<u32>,
    address: PhantomData<A>,
}

/// The length in its step of the prefix whose value a word has.
const fn len_of(word: u32) -> u32 {
    word & ((1 << LEN_BITS) - 1)
}

impl<A: Address> Direct<A> {
    /// Without prefixes; with steps of eight bits, or without.
    pub(crate) fn new(is_wide: bool) -> Self {
        let wide_end = if A::BITS > u32::BITS { WIDE_END_V6 } else { WIDE_END_V4 };
        let steps = Steps { n_wide: if is_wide { (wide_end - FIRST_BITS) / WIDE_BITS } else { 0 } };
        let blocks = Pages::new(Block([HOLE; BLOCK_LEN]), N_FIRST);
        let (above, free, free_wide) = (Vec::new(), Vec::new(), Vec::new());
        Self { steps, blocks, above, free, free_wide, address: PhantomData }
    }

    /// It has steps of eight bits.
    pub(crate) fn is_wide(&self) -> bool {
        self.steps.n_wide > 0
    }

    /// Lengths shorter than `len` that end in the same step, the longest first.
    pub(crate) fn shorter(&self, len: u8) -> impl Iterator<Item = u8> + use<A> {
        let first = match self.steps.of(len.into()) {
            0 => 0,
            step => self.steps.start(step) as u8 + 1,
        };
        (first..len).rev()
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
            *place = self.place(self.steps.bits(*addr, 0));
        }
        for step in 1..=self.steps.last::<A>() {
            // What is the same for all of them is worked out once.
            let (start, width) = (self.steps.start(step), self.steps.width(step));
            let mut leads_further = 0;
            for (place, addr) in places.iter_mut().zip(addrs) {
                let leads_on = *place & BLOCK != 0;
                let block = if leads_on { *place ^ BLOCK } else { 0 };
                let next = self.place(block as usize * BLOCK_LEN + addr.bits_at(start, width));
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
        let (mut at, mut best) = (self.steps.bits(addr, 0), HOLE);
        for step in 1..=self.steps.last::<A>() {
            let Some(block) = self.block_at(at) else { break };
            let above = self.above[block - N_FIRST];
            best = if above == HOLE { best } else { above };
            at = block * BLOCK_LEN + self.steps.bits(addr, step);
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
        let mut at = self.steps.bits(addr, 0);
        for step in 1..=self.steps.of(len.into()) {
            let block = self.block_at(at).unwrap_or_else(|| self.add_block(at, step));
            at = block * BLOCK_LEN + self.steps.bits(addr, step);
        }
        let new = self.steps.word(len, value);
        for at in self.steps.range(at, (addr, len)) {
            let own = self.own_mut(at);
            if *own == HOLE || len_of(*own) <= len_of(new) {
                *own = new;
            }
        }
    }

    /// Takes a prefix out; `next` is the longest of the [`shorter`](Self::shorter) ones that hold its address, with its
    /// value.
    pub(crate) fn remove(&mut self, addr: A, len: u8, next: Option<(u8, u32)>) {
        let mut path =
            [self.steps.bits(addr, 0); (u128::BITS as usize - FIRST_BITS as usize) / STEP_BITS as usize + 1];
        let last = self.steps.of(len.into()) as usize;
        for step in 1..=last {
            let Some(block) = self.block_at(path[step - 1]) else { return };
            path[step] = block * BLOCK_LEN + self.steps.bits(addr, step as u32);
        }
        let next = next.map_or(HOLE, |(len, value)| self.steps.word(len, value));
        let own_len = len_of(self.steps.word(len, 0));
        for at in self.steps.range(path[last], (addr, len)) {
            let own = self.own_mut(at);
            if *own != HOLE && len_of(*own) == own_len {
                *own = next;
            }
        }
        for step in (1..=last).rev() {
            self.prune(path[step - 1], step as u32);
        }
    }

    /// Blocks that lead on from others.
    pub(crate) fn n_blocks(&self) -> usize {
        self.blocks.len() - N_FIRST - self.free.len() - self.free_wide.len() * N_WIDE
    }

    /// Lets both have the memory of what is the same.
    pub(crate) fn share(&mut self, other: &Self) {
        self.blocks.share(&other.blocks);
    }

    /// Blocks for a step, to which a place of the one before leads.
    fn add_block(&mut self, at: usize, step: u32) -> usize {
        let n = self.steps.n_blocks(step);
        let free = if n > 1 { &mut self.free_wide } else { &mut self.free };
        let block = match free.pop() {
            Some(block) => block as usize,
            None => self.push_blocks(n),
        };
        self.above[block - N_FIRST] = self.place(at);
        *self.place_mut(at) = BLOCK | u32::try_from(block).expect("fewer than 2^31 blocks fit in memory");
        block
    }

    /// `n` new ones in a row, where their number divides that of those before them, so that a page has them all.
    fn push_blocks(&mut self, n: usize) -> usize {
        while !self.blocks.len().is_multiple_of(n) {
            self.free.push(self.blocks.len() as u32);
            self.push_block();
        }
        (0..n).for_each(|_| self.push_block());
        self.blocks.len() - n
    }

    fn push_block(&mut self) {
        self.blocks.push(Block([HOLE; BLOCK_LEN]));
        self.above.push(HOLE);
    }

    /// Takes the blocks of a step, to which a place of the one before leads, back if no prefix ends in them or below.
    fn prune(&mut self, at: usize, step: u32) {
        let Some(block) = self.block_at(at) else { return };
        let n = self.steps.n_blocks(step);
        if (block..block + n).any(|block| self.blocks.at(block).0 != [HOLE; BLOCK_LEN]) {
            return;
        }
        *self.place_mut(at) = self.above[block - N_FIRST];
        let free = if n > 1 { &mut self.free_wide } else { &mut self.free };
        free.push(block as u32);
    }
}
