//! Workers that rest: they hold no snapshot, and need not be woken for the next one.
//!
//! A worker that has nothing to do and has reported all it counted gives its snapshot back and *rests*; before it
//! touches the next frame or obeys the next order it takes the newest one from the [`Shelf`]. The owner puts each
//! snapshot on the shelf when it publishes it, and counts those who rest then as having obeyed: whatever they do next,
//! they do by this snapshot or a later one. So a barrier behind a change is answered at once when nobody has anything
//! to do, though the workers sleep, and a commit finds its idle instance free.
//!
//! # Why no frame is processed by an older snapshot than the owner believes
//!
//! Each worker counts its naps, odd while it rests, in a word that the owner reads. To publish, the owner (O1) locks the
//! shelf, puts the snapshot there, unlocks, and then (O2) reads the words. To rise, a worker (W1) counts on, to even, and
//! then (W2) locks the shelf, takes what is there, unlocks. Consider a worker that rises around a publication. The lock
//! orders O1 and W2. If O1 is first, W2 takes that snapshot or a later one. If W2 is first, its unlocking synchronises
//! with the locking of O1, so W1 happens before O2, and O2 reads the even count or a later one: it is not taken for
//! resting, and gets an order. Should it rest again before O2, it holds nothing, and its next W2 comes after O1. No
//! stronger ordering of the words is needed, but they are sequentially consistent all the same: this is no hot path.
//!
//! # Why nothing is missed that it did before
//!
//! What a worker counted, learned and has for controllers reaches the owner through the shell, in order. It says that it
//! rests by a report behind all that, with the number of the nap and of the orders that it has obeyed. The owner takes it
//! for resting only if it has heard of just this nap, and has given no order since.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::snapshot::Snapshot;

/// What owner and workers share.
#[derive(Debug)]
pub(crate) struct Shelf {
    newest: Mutex<Arc<Snapshot>>,
    /// What those hold who rest.
    nothing: Arc<Snapshot>,
    naps: Box<[AtomicU64]>,
}

impl Shelf {
    /// For so many workers.
    pub(crate) fn new(newest: Arc<Snapshot>, n_workers: usize) -> Arc<Self> {
        let nothing = Arc::new(Snapshot::new(newest.tables.len() as u8, newest.options));
        let naps = (0..n_workers).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { newest: Mutex::new(newest), nothing, naps })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Arc<Snapshot>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever rises from now on takes this.
    pub(crate) fn put(&self, snapshot: Arc<Snapshot>) {
        *self.lock() = snapshot;
    }
}

/// That a worker rests, as it reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nap {
    /// Its number: odd.
    number: u64,
    /// Orders that were obeyed before it.
    obeyed: u64,
}

/// A worker's end.
#[derive(Debug)]
pub(crate) struct Bed {
    shelf: Arc<Shelf>,
    worker: usize,
    nap: u64,
    obeyed: u64,
}

impl Bed {
    pub(crate) fn new(shelf: Arc<Shelf>, worker: usize) -> Self {
        Self { shelf, worker, nap: 0, obeyed: 0 }
    }

    #[cfg(test)]
    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// An order was obeyed.
    pub(crate) fn note_order(&mut self) {
        self.obeyed += 1;
    }

    #[inline]
    pub(crate) fn is_resting(&self) -> bool {
        self.nap % 2 == 1
    }

    fn count_on(&mut self) {
        self.nap += 1;
        if let Some(word) = self.shelf.naps.get(self.worker) {
            word.store(self.nap, SeqCst);
        }
    }

    /// Gives the snapshot back; what is to be reported.
    pub(crate) fn rest(&mut self, snapshot: &mut Arc<Snapshot>) -> Nap {
        *snapshot = self.shelf.nothing.clone();
        self.count_on();
        Nap { number: self.nap, obeyed: self.obeyed }
    }

    /// The snapshot to work by.
    pub(crate) fn rise(&mut self) -> Arc<Snapshot> {
        self.count_on();
        self.shelf.lock().clone()
    }

    /// The epoch of what [`rise`](Self::rise) would return.
    pub(crate) fn newest_epoch(&self) -> u64 {
        self.shelf.lock().epoch
    }
}

/// What the owner knows of a worker.
#[derive(Clone, Copy, Debug)]
struct Heard {
    nap: Nap,
    /// Orders given.
    ordered: u64,
}

/// The owner's end.
#[derive(Debug)]
pub(crate) struct Bedside {
    shelf: Arc<Shelf>,
    workers: Vec<Heard>,
}

impl Bedside {
    pub(crate) fn new(shelf: Arc<Shelf>) -> Self {
        let heard = Heard { nap: Nap { number: 0, obeyed: 0 }, ordered: 0 };
        let workers = vec![heard; shelf.naps.len()];
        Self { shelf, workers }
    }

    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// A worker says that it rests.
    pub(crate) fn hear(&mut self, worker: usize, nap: Nap) {
        if let Some(heard) = self.workers.get_mut(worker) {
            heard.nap = nap;
        }
    }

    /// An order is given to a worker, or to all.
    pub(crate) fn note_order(&mut self, worker: Option<usize>) {
        let to = |at| worker.is_none_or(|worker| worker == at);
        self.workers
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| to(*at))
            .for_each(|(_, heard)| heard.ordered += 1);
    }

    /// Everything this worker did is known, and what it does next it does by the snapshot that was put on the shelf
    /// last, or a later one.
    pub(crate) fn is_resting(&self, worker: usize) -> bool {
        let Some((heard, word)) = self.workers.get(worker).zip(self.shelf.naps.get(worker)) else {
            return false;
        };
        let Nap { number, obeyed } = heard.nap;
        number % 2 == 1 && obeyed == heard.ordered && word.load(SeqCst) == number
    }
}
