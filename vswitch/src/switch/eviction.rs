//! Which flow of a table goes first when there is no room for another (1.4 §6.8).

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use lookup::Index;
use packet::Instant;

use super::flows::Records;
use super::record::FlowRecord;
use super::tables::{EVICT_IMPORTANCE, EVICT_LIFETIME};

/// The least goes first: least important, then soonest to expire (never last), then oldest.
type Rank = (u16, bool, Option<Instant>, Reverse<u64>);

/// The flows of a table in the order in which they go.
#[derive(Debug)]
pub(super) struct Eviction {
    flags: u32,
    order: BTreeSet<(Rank, Index)>,
    /// As of when it was last looked at: traffic moves the end of a flow further away.
    ranks: BTreeMap<Index, Rank>,
}

fn rank(flags: u32, record: &FlowRecord) -> Rank {
    let importance = if flags & EVICT_IMPORTANCE != 0 { record.importance } else { 0 };
    let end = if flags & EVICT_LIFETIME != 0 { record.deadline() } else { None };
    // Higher for older flows.
    let age = record.rule.rank << 16;
    (importance, end.is_none(), end, Reverse(age))
}

impl Eviction {
    pub(super) fn new(flags: u32, records: &Records, flows: impl Iterator<Item = Index>) -> Self {
        let mut this = Self { flags, order: BTreeSet::new(), ranks: BTreeMap::new() };
        for flow in flows {
            if let Some(record) = records.get(flow) {
                this.put(record, flow);
            }
        }
        this
    }

    pub(super) fn flags(&self) -> u32 {
        self.flags
    }

    /// A flow came, or changed.
    pub(super) fn put(&mut self, record: &FlowRecord, flow: Index) {
        let rank = rank(self.flags, record);
        if let Some(old) = self.ranks.insert(flow, rank) {
            self.order.remove(&(old, flow));
        }
        self.order.insert((rank, flow));
    }

    pub(super) fn remove(&mut self, flow: Index) {
        if let Some(old) = self.ranks.remove(&flow) {
            self.order.remove(&(old, flow));
        }
    }

    /// The flow that goes first.
    pub(super) fn first(&mut self, records: &Records) -> Option<Index> {
        loop {
            let &(known, flow) = self.order.first()?;
            let Some(record) = records.get(flow) else {
                self.remove(flow);
                continue;
            };
            // Ends only move away, so one that is first by what it is now is first indeed.
            if rank(self.flags, record) == known {
                return Some(flow);
            }
            self.put(record, flow);
        }
    }
}
