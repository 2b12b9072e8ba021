//! Items in pages, which two tables that follow each other share as far as they are the same.
//!
//! Who forwards by one of two tables that take turns would find the other one cold in its processor's caches. Pages
//! that both have are warm. A page that changes is copied first; once the other table has changed likewise,
//! [`share`](Pages::share) lets both have one again.

use std::sync::Arc;

/// Items of a page.
const PAGE_LEN: usize = 64;
/// Bits of a word.
const BITS: usize = u64::BITS as usize;

/// A vector that grows by whole pages.
#[derive(Clone, Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Arc<[T; PAGE_LEN]>>,
    len: usize,
    /// Pages that changed since they were last shared, a bit each.
    changed: Vec<u64>,
}

impl<T: Copy + PartialEq> Pages<T> {
    /// `n` times this item.
    pub(crate) fn new(item: T, n: usize) -> Self {
        let page = Arc::new([item; PAGE_LEN]);
        let pages = vec![page; n.div_ceil(PAGE_LEN)];
        let changed = vec![0; pages.len().div_ceil(BITS)];
        Self { pages, len: n, changed }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.len.is_multiple_of(PAGE_LEN) {
            self.pages.push(Arc::new([item; PAGE_LEN]));
            self.changed.resize(self.pages.len().div_ceil(BITS), 0);
        }
        self.len += 1;
        *self.at_mut(self.len - 1) = item;
    }

    /// What lies beyond the last item is undefined.
    #[inline(always)]
    pub(crate) fn at(&self, at: usize) -> &T {
        &self.pages[at / PAGE_LEN][at % PAGE_LEN]
    }

    pub(crate) fn at_mut(&mut self, at: usize) -> &mut T {
        let page = at / PAGE_LEN;
        self.changed[page / BITS] |= 1 << (page % BITS);
        &mut Arc::make_mut(&mut self.pages[page])[at % PAGE_LEN]
    }

    /// Takes the pages of the other one that are the same, of those that changed here since the last time.
    pub(crate) fn share(&mut self, other: &Self) {
        for (word, changed) in self.changed.iter_mut().enumerate() {
            while *changed != 0 {
                let at = word * BITS + changed.trailing_zeros() as usize;
                *changed &= *changed - 1;
                if let (Some(mine), Some(theirs)) = (self.pages.get_mut(at), other.pages.get(at))
                    && !Arc::ptr_eq(mine, theirs)
                    && mine == theirs
                {
                    *mine = theirs.clone();
                }
            }
        }
    }

    /// How many pages are not those of the other one.
    #[cfg(test)]
    pub(crate) fn n_own(&self, other: &Self) -> usize {
        self.pages.iter().zip(&other.pages).filter(|(mine, theirs)| !Arc::ptr_eq(mine, theirs)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_shared_and_what_changes_is_not() {
        let (mut a, mut b) = (Pages::new(0, 10 * PAGE_LEN), Pages::new(0, 10 * PAGE_LEN));
        let change = |pages: &mut Pages<u64>, n: u64| {
            *pages.at_mut(n as usize * 7 % pages.len()) = n;
            pages.push(n);
        };
        for n in 0..1_000 {
            change(&mut a, n);
            let held = b.clone();
            // The other one catches up, and is ahead the next time.
            change(&mut b, n);
            b.share(&a);
            assert_eq!(
                (held.len() + 1, *held.at(held.len() - 1)),
                (b.len(), n.max(1) - 1),
                "nobody sees a change"
            );
            core::mem::swap(&mut a, &mut b);
        }
        assert!((0..a.len()).all(|at| a.at(at) == b.at(at)));
        // Those that never changed were two from the start.
        assert!(a.n_own(&b) <= 2, "{} of {}", a.n_own(&b), a.pages.len());
    }
}
