//! A bounded array of records found by index.

/// Records that know whether they are in use.
pub(crate) trait Record: Copy {
    fn is_live(&self) -> bool;
    fn clear(&mut self);
}

/// At most `capacity` records; address space is taken at once, memory when it is used.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    records: Vec<T>,
    free: Vec<u32>,
    capacity: usize,
}

impl<T: Record> Slab<T> {
    pub(crate) fn new(capacity: u32) -> Self {
        Self { records: Vec::with_capacity(capacity as usize), free: Vec::new(), capacity: capacity as usize }
    }

    pub(crate) fn insert(&mut self, record: T) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        if let Some(idx) = self.free.pop() {
            self.records[idx as usize] = record;
            return Some(idx);
        }
        self.records.push(record);
        Some(self.records.len() as u32 - 1)
    }

    pub(crate) fn remove(&mut self, idx: u32) {
        self.records[idx as usize].clear();
        self.free.push(idx);
    }

    /// Another number of records at most. Those there are beyond it stay until they go by themselves.
    pub(crate) fn set_capacity(&mut self, capacity: u32) {
        self.capacity = capacity as usize;
        self.records.reserve_exact(self.capacity.saturating_sub(self.records.len()));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }

    #[inline(always)]
    pub(crate) fn get(&self, idx: u32) -> &T {
        &self.records[idx as usize]
    }

    /// The record in this place, whether it is in use or not.
    #[inline(always)]
    pub(crate) fn try_get(&self, idx: u32) -> Option<&T> {
        self.records.get(idx as usize)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, idx: u32) -> &mut T {
        &mut self.records[idx as usize]
    }

    /// Every record, whether it is in use or not.
    pub(crate) fn each_mut(&mut self, change: impl FnMut(&mut T)) {
        self.records.iter_mut().for_each(change);
    }

    /// Live records from place `from` on.
    pub(crate) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> + '_ {
        let rest = self.records.get(from as usize..).unwrap_or(&[]);
        (from..).zip(rest).filter(|(_, record)| record.is_live())
    }
}
