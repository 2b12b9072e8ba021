//! Blocks of up to 64 items in one vector, with a free list for each size.

/// A store of blocks, each named by the place of its first item.
#[derive(Clone, Debug)]
pub(crate) struct Blocks<T> {
    items: Vec<T>,
    free: Vec<Vec<u32>>,
}

impl<T: Copy + Default> Blocks<T> {
    pub(crate) fn new() -> Self {
        Self { items: Vec::new(), free: vec![Vec::new(); 65] }
    }

    pub(crate) fn alloc(&mut self, n: usize) -> u32 {
        if let Some(at) = self.free[n].pop() {
            return at;
        }
        let at = self.items.len();
        self.items.resize(at + n, T::default());
        u32::try_from(at).expect("fewer than 2^32 items fit in memory")
    }

    fn free(&mut self, at: u32, n: usize) {
        if n > 0 {
            self.free[n].push(at);
        }
    }

    /// Moves the block of `n` items to one of `n + 1`, with `item` at place `idx`.
    pub(crate) fn insert(&mut self, at: u32, n: usize, idx: usize, item: T) -> u32 {
        let new = self.alloc(n + 1);
        let (from, to) = (at as usize, new as usize);
        self.items.copy_within(from..from + idx, to);
        self.items.copy_within(from + idx..from + n, to + idx + 1);
        self.items[to + idx] = item;
        self.free(at, n);
        new
    }

    /// Moves the block of `n` items to one of `n - 1`, without the item at place `idx`.
    pub(crate) fn remove(&mut self, at: u32, n: usize, idx: usize) -> u32 {
        let new = if n > 1 { self.alloc(n - 1) } else { 0 };
        let (from, to) = (at as usize, new as usize);
        self.items.copy_within(from..from + idx, to);
        self.items.copy_within(from + idx + 1..from + n, to + idx);
        self.free(at, n);
        new
    }

    #[inline(always)]
    pub(crate) fn at(&self, at: usize) -> &T {
        &self.items[at]
    }

    #[inline(always)]
    pub(crate) fn at_mut(&mut self, at: usize) -> &mut T {
        &mut self.items[at]
    }
}
