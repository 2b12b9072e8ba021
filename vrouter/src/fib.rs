//! Longest prefix match: prefixes flattened into disjoint ranges, found by bisection.
//!
//! Built whole for a snapshot. `lookup(addr)` gives what the longest prefix holding `addr` was given.

/// A prefix of `len` bits, host bits clear, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub addr: u32,
    pub len: u8,
    pub value: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fib {
    /// First address of each range, ascending, beginning with 0 unless the table is empty.
    starts: Vec<u32>,
    values: Vec<Option<u32>>,
}

impl Fib {
    /// Of two entries for one prefix the first wins.
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|e| (e.addr, e.len));
        entries.dedup_by_key(|e| (e.addr, e.len));
        let mut fib = Self::default();
        // Prefixes that hold the present address, the longest last: (last address, value).
        let mut open: Vec<(u32, u32)> = Vec::new();
        fib.push(0, None);
        for entry in entries {
            fib.close(&mut open, Some(entry.addr));
            fib.push(entry.addr, Some(entry.value));
            open.push((entry.addr | !crate::prefix::mask4(entry.len), entry.value));
        }
        fib.close(&mut open, None);
        fib
    }

    /// Ends the open prefixes that end before `next`.
    fn close(&mut self, open: &mut Vec<(u32, u32)>, next: Option<u32>) {
        while let Some((end, _)) = open.last().copied().filter(|(end, _)| next.is_none_or(|n| *end < n)) {
            open.pop();
            if let Some(start) = end.checked_add(1) {
                self.push(start, open.last().map(|(_, value)| *value));
            }
        }
    }

    fn push(&mut self, start: u32, value: Option<u32>) {
        if self.starts.last() == Some(&start) {
            self.values.pop();
            self.starts.pop();
        }
        self.starts.push(start);
        self.values.push(value);
    }

    #[inline]
    pub(crate) fn lookup(&self, addr: u32) -> Option<u32> {
        let at = self.starts.partition_point(|start| *start <= addr);
        self.values.get(at.checked_sub(1)?).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_table_and_the_edges_of_the_address_space() {
        assert_eq!(Fib::default().lookup(1), None);
        let fib = Fib::new(vec![
            Entry { addr: 0, len: 0, value: 1 },
            Entry { addr: u32::MAX, len: 32, value: 2 },
            Entry { addr: 0, len: 32, value: 3 },
        ]);
        assert_eq!(
            [0, 1, u32::MAX - 1, u32::MAX].map(|a| fib.lookup(a)),
            [Some(3), Some(1), Some(1), Some(2)]
        );
    }

    proptest! {
        #[test]
        fn r06_agrees_with_a_linear_scan(
            prefixes in proptest::collection::vec((any::<u32>(), 0..=32u8), 0..60),
            probes in proptest::collection::vec(any::<u32>(), 50),
        ) {
            let entry = |(i, (addr, len)): (usize, &(u32, u8))| {
                // Few distinct leading bits, so that prefixes nest.
                Entry { addr: addr & 0xc003_00ff & crate::prefix::mask4(*len), len: *len, value: i as u32 }
            };
            let entries: Vec<Entry> = prefixes.iter().enumerate().map(entry).collect();
            let fib = Fib::new(entries.clone());
            let edges = entries.iter().flat_map(|e| [e.addr, e.addr.wrapping_sub(1), e.addr | !crate::prefix::mask4(e.len)]);
            for probe in probes.iter().map(|p| p & 0xc003_00ff).chain(edges) {
                let holds = |e: &&Entry| probe & crate::prefix::mask4(e.len) == e.addr;
                let longest = entries.iter().filter(holds).map(|e| e.len).max();
                let best = entries.iter().filter(holds).find(|e| Some(e.len) == longest);
                prop_assert_eq!(fib.lookup(probe), best.map(|e| e.value), "{:#x}", probe);
            }
        }
    }
}
