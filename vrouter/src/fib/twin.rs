//! Two instances of the FIB: workers read one, the other catches up from the log of changes and is published next. A
//! commit costs what changed, never the size of the table.

use std::sync::Arc;

use super::{Alive, Change, Fib};

#[derive(Debug)]
pub(crate) struct Twin {
    /// What was published last.
    live: Arc<Fib>,
    /// What was published before; workers may still hold it.
    idle: Arc<Fib>,
    /// Changes the idle one lacks and the live one has.
    behind: Vec<Change>,
    /// Changes both lack.
    fresh: Vec<Change>,
}

impl Twin {
    pub(crate) fn new(alive: Arc<Alive>) -> Self {
        let empty = Fib::new(alive);
        let (behind, fresh) = (Vec::new(), Vec::new());
        Self { live: Arc::new(empty.clone()), idle: Arc::new(empty), behind, fresh }
    }

    /// Notes a change for the next [`publish`](Self::publish).
    pub(crate) fn push(&mut self, change: Change) {
        self.fresh.push(change);
    }

    /// Changes wait to be published.
    pub(crate) fn is_behind(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// The FIB with all changes; none while a worker still holds the other instance.
    pub(crate) fn publish(&mut self) -> Option<Arc<Fib>> {
        let idle = Arc::get_mut(&mut self.idle)?;
        self.behind.drain(..).for_each(|change| idle.apply(&change));
        self.fresh.iter().for_each(|change| idle.apply(change));
        std::mem::swap(&mut self.behind, &mut self.fresh);
        std::mem::swap(&mut self.live, &mut self.idle);
        Some(Arc::clone(&self.live))
    }

    /// As [`publish`](Self::publish), whatever the workers hold: then the table is copied.
    pub(crate) fn publish_now(&mut self) -> Arc<Fib> {
        if Arc::get_mut(&mut self.idle).is_none() {
            self.idle = Arc::new(Fib::clone(&self.live));
            self.behind.clear();
        }
        self.publish().expect("a copy that nobody else has")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::{Hop, Set};

    #[test]
    fn a_held_instance_is_never_changed() {
        let mut twin = Twin::new(Arc::default());
        let any = "0.0.0.0/0".parse().expect("a prefix");
        twin.push(Change::Set(0, Set::One(Hop::Blackhole), None));
        let first = twin.publish().expect("free");
        twin.push(Change::Prefix(0, any, Some(0)));
        let second = twin.publish().expect("the other one is free");
        twin.push(Change::Prefix(0, any, None));
        assert!(twin.publish().is_none() && twin.is_behind(), "a worker holds the first");
        let look = |fib: &Fib| fib.lookup(0, [10, 0, 0, 1].into(), || 0);
        assert_eq!((look(&first), look(&second)), (None, Some(Hop::Blackhole)));
        drop(first);
        assert_eq!(look(&twin.publish().expect("free now")), None);
        assert!(!twin.is_behind());
    }
}
