//! Lists threaded through records by index: a timer wheel and a queue. A record is in each at most once.

use packet::Instant;

pub(crate) const NONE: u32 = u32::MAX;

/// In no list.
const FREE: u32 = NONE - 1;
/// In the place of a neighbour: there is none, the rest is the number of the list.
const END: u32 = 1 << 31;

/// Doubly linked lists over the indices of one slab, which are below [`END`].
#[derive(Debug)]
struct Lists {
    /// The one before and the one behind; [`FREE`] before what is in no list.
    links: Vec<[u32; 2]>,
    heads: Vec<u32>,
    tails: Vec<u32>,
}

impl Lists {
    /// Lists of up to `n` records. Address space is taken at once, memory when it is used.
    fn new(n_lists: usize, n: u32) -> Self {
        let links = Vec::with_capacity(n as usize);
        Self { links, heads: vec![NONE; n_lists], tails: vec![NONE; n_lists] }
    }

    /// Room for up to `n`.
    fn reserve(&mut self, n: u32) {
        self.links.reserve_exact((n as usize).saturating_sub(self.links.len()));
    }

    fn is_linked(&self, idx: u32) -> bool {
        self.links.get(idx as usize).is_some_and(|[prev, _]| *prev != FREE)
    }

    /// Puts `idx`, which is in no list, at the end of one.
    fn push_back(&mut self, list: u32, idx: u32) {
        if self.links.len() <= idx as usize {
            self.links.resize(idx as usize + 1, [FREE, NONE]);
        }
        let tail = self.tails[list as usize];
        let end = END | list;
        self.links[idx as usize] = [if tail == NONE { end } else { tail }, end];
        match tail {
            NONE => self.heads[list as usize] = idx,
            tail => self.links[tail as usize][1] = idx,
        }
        self.tails[list as usize] = idx;
    }

    /// Takes `idx` out of the list it is in; returns the list if that is empty now.
    fn remove(&mut self, idx: u32) -> Option<u32> {
        let [prev, next] = std::mem::replace(&mut self.links[idx as usize], [FREE, NONE]);
        let or_none = |idx: u32| if idx & END != 0 { NONE } else { idx };
        match prev & END {
            0 => self.links[prev as usize][1] = next,
            _ => self.heads[(prev & !END) as usize] = or_none(next),
        }
        match next & END {
            0 => self.links[next as usize][0] = prev,
            _ => self.tails[(next & !END) as usize] = or_none(prev),
        }
        (prev & next & END != 0).then_some(prev & !END)
    }
}

/// Records in the order they were put in.
#[derive(Debug)]
pub(crate) struct Queue(Lists);

impl Queue {
    /// Of up to `n`.
    pub(crate) fn new(n: u32) -> Self {
        Self(Lists::new(1, n))
    }

    /// Room for up to `n`.
    pub(crate) fn reserve(&mut self, n: u32) {
        self.0.reserve(n);
    }

    pub(crate) fn push_back(&mut self, idx: u32) {
        self.remove(idx);
        self.0.push_back(0, idx);
    }

    pub(crate) fn remove(&mut self, idx: u32) {
        if self.0.is_linked(idx) {
            self.0.remove(idx);
        }
    }

    pub(crate) fn front(&self) -> Option<u32> {
        Some(self.0.heads[0]).filter(|idx| *idx != NONE)
    }
}

const N_SLOTS: u64 = 8192;
const TICK: u64 = 1_000_000_000;

/// A timer wheel of 8192 slots of one second: whatever is due comes out at most a second late.
///
/// Who looks at a record before that must compare its deadline himself. A deadline that moved to a later time needs no
/// call: the record comes out at the old one and is put in again.
#[derive(Debug)]
pub(crate) struct Wheel {
    lists: Lists,
    /// One bit a slot that is not empty.
    occupied: Vec<u64>,
    n_occupied: u32,
    /// First tick that has not been worked off.
    tick: u64,
}

impl Wheel {
    /// For up to `n` records.
    pub(crate) fn new(n: u32) -> Self {
        let lists = Lists::new(N_SLOTS as usize, n);
        Self { lists, occupied: vec![0; N_SLOTS as usize / 64], n_occupied: 0, tick: 0 }
    }

    /// Room for up to `n`.
    pub(crate) fn reserve(&mut self, n: u32) {
        self.lists.reserve(n);
    }

    /// Puts `idx` in for `deadline`, or for the far end of the wheel if that is nearer.
    pub(crate) fn schedule(&mut self, idx: u32, deadline: Instant) {
        self.cancel(idx);
        let due = deadline.as_nanos().div_ceil(TICK).clamp(self.tick, self.tick + N_SLOTS - 1);
        let slot = (due % N_SLOTS) as u32;
        self.lists.push_back(slot, idx);
        let word = &mut self.occupied[slot as usize / 64];
        self.n_occupied += u32::from(*word >> (slot % 64) & 1 == 0);
        *word |= 1 << (slot % 64);
    }

    pub(crate) fn cancel(&mut self, idx: u32) {
        if self.lists.is_linked(idx) {
            self.take(idx);
        }
    }

    /// Takes a record out that is in.
    fn take(&mut self, idx: u32) {
        if let Some(slot) = self.lists.remove(idx) {
            self.occupied[slot as usize / 64] &= !(1 << (slot % 64));
            self.n_occupied -= 1;
        }
    }

    /// Next tick from [`tick`](Self::tick) on whose slot is not empty.
    fn next_tick(&self) -> Option<u64> {
        if self.n_occupied == 0 {
            return None;
        }
        let start = self.tick % N_SLOTS;
        let n_words = self.occupied.len() as u64;
        for step in 0..=n_words {
            let word_idx = (start / 64 + step) % n_words;
            let mut word = self.occupied[word_idx as usize];
            if step == 0 {
                word &= u64::MAX << (start % 64);
            } else if step == n_words {
                word &= !(u64::MAX << (start % 64));
            }
            if word != 0 {
                let slot = word_idx * 64 + u64::from(word.trailing_zeros());
                return Some(self.tick + (slot + N_SLOTS - start) % N_SLOTS);
            }
        }
        None
    }

    /// Takes out one record whose second has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<u32> {
        let current = now.as_nanos() / TICK;
        if current < self.tick {
            return None;
        }
        let Some(due) = self.next_tick().filter(|tick| *tick <= current) else {
            // This second is done; what is put in from now on comes out in the next one.
            self.tick = current + 1;
            return None;
        };
        self.tick = due;
        let slot = (due % N_SLOTS) as u32;
        let idx = self.lists.heads[slot as usize];
        self.take(idx);
        Some(idx)
    }

    /// When [`pop`](Self::pop) will have something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_tick().map(|tick| Instant::from_nanos(tick * TICK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn far_deadlines_come_out_at_the_end_of_the_wheel() {
        let mut wheel = Wheel::new(1000);
        wheel.schedule(3, Instant::from_secs(1_000_000));
        assert_eq!(wheel.poll_timeout(), Some(Instant::from_secs(N_SLOTS - 1)));
        assert_eq!(wheel.pop(Instant::from_secs(N_SLOTS)), Some(3));
        assert_eq!(wheel.pop(Instant::from_secs(N_SLOTS)), None);
        assert_eq!(wheel.poll_timeout(), None);
    }

    proptest! {
        /// Against a sorted list: everything comes out, none early, none more than a tick late.
        #[test]
        fn wheel_agrees_with_a_sorted_list(times in proptest::collection::vec(0u64..9_000_000, 1..200), step in 1u64..5_000_000) {
            let mut wheel = Wheel::new(1000);
            for (idx, ms) in times.iter().enumerate() {
                wheel.schedule(idx as u32, Instant::from_millis(*ms));
            }
            let mut left: Vec<bool> = vec![true; times.len()];
            let mut now = 0;
            while left.contains(&true) {
                while let Some(idx) = wheel.pop(Instant::from_millis(now)) {
                    let ms = times[idx as usize];
                    prop_assert!(ms.min((N_SLOTS - 1) * 1000) <= now, "{ms} came at {now}");
                    prop_assert!(std::mem::replace(&mut left[idx as usize], false));
                }
                for (idx, ms) in times.iter().enumerate() {
                    prop_assert!(!left[idx] || ms + 1000 > now, "{ms} is late at {now}");
                }
                now += step;
            }
            prop_assert_eq!(wheel.poll_timeout(), None);
        }
    }
}
