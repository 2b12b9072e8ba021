//! Tables of another size while they are used: room is made at once, and what is found by indices moves there by and by.

use super::{OUT, Tracker};
use crate::Config;

/// Buckets of each index that are emptied in one go, while those who look something up wait.
const N_BUCKETS: usize = 16;

/// How far the tables have come.
#[derive(Debug)]
pub(super) struct Growth {
    /// Connections and bindings that the indices have room for.
    indexed: (u32, u32),
    /// Something has to move yet.
    moves: bool,
    /// The size that is wanted after that.
    next: Option<(u32, u32)>,
}

impl Growth {
    pub(super) const fn new(config: &Config) -> Self {
        Self { indexed: (config.n_connections, config.n_bindings), moves: false, next: None }
    }
}

impl Tracker {
    /// Room for so many connections and bindings from now on. Those there are go on, even if they are more: then new ones
    /// wait until enough have ended. Nobody waits for a table to be copied whole.
    pub fn resize(&mut self, n_connections: u32, n_bindings: u32) {
        if self.growth.moves {
            self.growth.next = Some((n_connections, n_bindings));
            return;
        }
        (self.config.n_connections, self.config.n_bindings) = (n_connections, n_bindings);
        self.connections.set_capacity(n_connections);
        self.permits.set_capacity(n_connections);
        self.bindings.set_capacity(n_bindings);
        let (n_indexed, m_indexed) = self.growth.indexed;
        if n_connections > n_indexed {
            let n = n_connections as usize;
            self.owners.reserve_exact(n.saturating_sub(self.owners.len()));
            self.halves.reserve_exact(n.saturating_sub(self.halves.len()));
            self.wheel.reserve(n_connections);
            self.transitory.reserve(n_connections);
            for index in [&mut self.by_inside, &mut self.by_outside, &mut self.permits_index] {
                index.grow(n_connections);
            }
        }
        if n_bindings > m_indexed {
            self.held.reserve(n_bindings);
            self.held_since.reserve(n_bindings);
            self.bindings_by_inside.grow(n_bindings);
            self.bindings_by_outside.grow(n_bindings);
        }
        self.growth.moves = n_connections > n_indexed || n_bindings > m_indexed;
        self.growth.indexed = (n_connections.max(n_indexed), n_bindings.max(m_indexed));
    }

    /// Moves a little of what has to move yet.
    #[inline]
    pub(super) fn grow_on(&mut self) {
        if self.growth.moves {
            self.move_some();
        }
    }

    #[cold]
    fn move_some(&mut self) {
        let mut is_done = true;
        // Each index is taken out, as what it holds is hashed by what the others here know.
        let mut index = core::mem::take(&mut self.by_inside);
        is_done &= index.move_some(N_BUCKETS, |idx| {
            let c = self.view(idx);
            self.hash(OUT, c.zone, c.protocol, c.inside, c.remote)
        });
        self.by_inside = index;
        let mut index = core::mem::take(&mut self.by_outside);
        is_done &= index.move_some(N_BUCKETS, |idx| {
            let c = self.view(idx);
            self.hash(0, c.outside_zone, c.protocol, c.outside, c.remote)
        });
        self.by_outside = index;
        let mut index = core::mem::take(&mut self.bindings_by_inside);
        is_done &= index.move_some(N_BUCKETS, |binding| self.binding_hashes(&self.binding(binding)).0);
        self.bindings_by_inside = index;
        let mut index = core::mem::take(&mut self.bindings_by_outside);
        is_done &= index.move_some(N_BUCKETS, |binding| self.binding_hashes(&self.binding(binding)).1);
        self.bindings_by_outside = index;
        let mut index = core::mem::take(&mut self.permits_index);
        is_done &= index.move_some(N_BUCKETS, |permit| {
            let p = self.permits.get(permit);
            self.permit_hash(p.binding, p.remote)
        });
        self.permits_index = index;
        self.growth.moves = !is_done;
        if is_done && let Some((n, m)) = self.growth.next.take() {
            self.resize(n, m);
        }
    }
}
