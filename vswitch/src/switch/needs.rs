//! What of a frame the flows need to know: the layout of the microflow cache.

use crate::key::{self, Key, N_WORDS};
use crate::snapshot::{Flow, Layout};

/// Which bits of a key the flows look at. It only grows, until no flow is left: a smaller layout would gain little and
/// empty the caches.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    first_table: Key,
    later_tables: Key,
    /// What steps write, and what decides what they write.
    rewrites: Vec<(Key, Key)>,
    metadata: u64,
    generation: u64,
}

impl Needs {
    /// Notes a flow; returns the layout if it is another now.
    pub(super) fn add(&mut self, flow: &Flow) -> Option<Layout> {
        let before = (self.needed(), self.rewritten());
        let table = if flow.value.table == 0 { &mut self.first_table } else { &mut self.later_tables };
        for cond in flow.conds.iter() {
            table[usize::from(cond.word)] |= cond.mask;
        }
        self.metadata |= flow.value.body.metadata.1;
        for step in &flow.value.body.apply {
            let (mut writes, mut reads) = ([0; N_WORDS], [0; N_WORDS]);
            step.writes(&mut writes);
            step.reads(&mut reads);
            if writes != [0; N_WORDS] && !self.rewrites.contains(&(writes, reads)) {
                self.rewrites.push((writes, reads));
            }
        }
        let after = (self.needed(), self.rewritten());
        if before == after {
            return None;
        }
        self.generation += 1;
        Some(Layout::new(&after.0, after.1, self.generation))
    }

    /// Bytes of an entry of the microflow cache, its header included.
    pub(super) fn entry_bytes(&self) -> usize {
        crate::cache::entry_bytes(Layout::new(&self.needed(), [0; N_WORDS], self.generation).n_words)
    }

    /// As it is without any flow; the layout of that.
    pub(super) fn reset(&mut self) -> Layout {
        let generation = self.generation + 1;
        *self = Self { generation, ..Self::default() };
        Layout::new(&[0; N_WORDS], [0; N_WORDS], generation)
    }

    fn needed(&self) -> Key {
        let mut needed = self.first_table;
        or(&mut needed, &self.later_tables);
        // What a step reads only counts if a later table looks at what it writes.
        for (writes, reads) in &self.rewrites {
            if writes.iter().zip(&self.later_tables).any(|(w, l)| w & l != 0) {
                or(&mut needed, reads);
            }
        }
        needed
    }

    fn rewritten(&self) -> Key {
        let mut rewritten = [0; N_WORDS];
        self.rewrites.iter().for_each(|(writes, _)| or(&mut rewritten, writes));
        rewritten[key::METADATA] |= self.metadata;
        rewritten
    }
}

fn or(to: &mut Key, from: &Key) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to |= from);
}
