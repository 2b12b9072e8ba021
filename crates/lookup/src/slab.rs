//! Slots that are reused, and indices that notice.

/// A place in a [`Slab`]; stale once the slot was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index {
    slot: u32,
    generation: u32,
}

impl Index {
    /// No index is less.
    pub const FIRST: Self = Self { slot: 0, generation: 0 };

    /// The slot: dense, reused.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values at stable places.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// An empty slab.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// No value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a value in.
    pub fn insert(&mut self, value: T) -> Index {
        self.insert_with(|_| value)
    }

    /// Puts a value in that is made with the index it will have.
    pub fn insert_with(&mut self, value: impl FnOnce(Index) -> T) -> Index {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 values fit in memory")
        });
        let at = &mut self.slots[slot as usize];
        let index = Index { slot, generation: at.generation };
        at.value = Some(value(index));
        index
    }

    /// Takes a value out; none if the index is stale.
    pub fn remove(&mut self, index: Index) -> Option<T> {
        let slot = self.slots.get_mut(index.slot()).filter(|s| s.generation == index.generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index.slot);
        Some(value)
    }

    /// The value there; none if the index is stale.
    #[inline]
    pub fn get(&self, index: Index) -> Option<&T> {
        let slot = self.slots.get(index.slot())?;
        if slot.generation == index.generation { slot.value.as_ref() } else { None }
    }

    /// The value there, to be changed; none if the index is stale.
    #[inline]
    pub fn get_mut(&mut self, index: Index) -> Option<&mut T> {
        let slot = self.slots.get_mut(index.slot())?;
        if slot.generation == index.generation { slot.value.as_mut() } else { None }
    }

    /// Every value with its index, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Index, &T)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| {
            let index = Index { slot: at as u32, generation: slot.generation };
            slot.value.as_ref().map(|value| (index, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_indices_find_nothing() {
        let mut slab = Slab::new();
        let a = slab.insert('a');
        assert_eq!(slab.remove(a), Some('a'));
        let b = slab.insert('b');
        assert_eq!((a.slot(), slab.get(a), slab.get(b)), (b.slot(), None, Some(&'b')));
        assert_eq!(slab.remove(a), None);
        *slab.get_mut(b).expect("there") = 'c';
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(b, &'c')]);
        assert_eq!((slab.len(), slab.is_empty()), (1, false));
    }
}
