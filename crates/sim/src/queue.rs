//! What happens when: events in order of time, those of one time in order of scheduling.

use std::collections::BTreeMap;

use packet::Instant;

/// Events by time.
#[derive(Debug)]
pub struct Queue<E> {
    // A map rather than a heap: its order is total, so a run is the same wherever it is run.
    events: BTreeMap<(Instant, u64), E>,
    n_scheduled: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), n_scheduled: 0 }
    }
}

impl<E> Queue<E> {
    /// `event` will happen at `at`, after everything already scheduled for then.
    pub fn schedule(&mut self, at: Instant, event: E) {
        self.events.insert((at, self.n_scheduled), event);
        self.n_scheduled += 1;
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<Instant> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// The next event if it happens at `at` and `wanted` says so.
    pub fn pop_if(&mut self, at: Instant, wanted: impl FnOnce(&E) -> bool) -> Option<E> {
        let entry = self.events.first_entry()?;
        (entry.key().0 == at && wanted(entry.get())).then(|| entry.remove())
    }

    /// Takes out all events for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&E) -> bool) {
        self.events.retain(|_, event| keep(event));
    }

    /// Number of events to come.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Nothing will happen.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
