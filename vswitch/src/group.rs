//! Groups (§5.6).

use openflow::{GroupDesc, GroupType, PortNo};
use packet::Frame;

use crate::extract::extract;
use crate::key::{self, Depth, N_WORDS};
use crate::snapshot::{Groups, Ports};
use crate::step::Step;

/// Groups that may be entered through each other.
pub(crate) const MAX_DEPTH: u8 = 8;

/// A group, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Unlike that of any other group, one of the same number before it included: counts name the group by both.
    pub stamp: u64,
    /// As configured.
    pub desc: GroupDesc,
    /// The steps of each bucket.
    pub buckets: Vec<Box<[Step]>>,
}

impl Group {
    /// The buckets a frame with this hash goes to, by index.
    pub(crate) fn choose(&self, hash: u32, groups: &Groups, ports: &Ports) -> core::ops::Range<usize> {
        let live = |at: &usize| self.is_bucket_live(*at, groups, ports, MAX_DEPTH);
        let one = |at: Option<usize>| at.map_or(0..0, |at| at..at + 1);
        match self.desc.group_type {
            GroupType::All => 0..self.buckets.len(),
            GroupType::Indirect => 0..self.buckets.len().min(1),
            GroupType::FastFailover => one((0..self.buckets.len()).find(live)),
            GroupType::Select => one(self.select(hash, live)),
        }
    }

    /// By weight among the live buckets, the same for the same hash.
    fn select(&self, hash: u32, live: impl Fn(&usize) -> bool) -> Option<usize> {
        let weight = |at: &usize| u64::from(self.desc.buckets[*at].weight);
        let total: u64 = (0..self.buckets.len()).filter(&live).map(|at| weight(&at)).sum();
        let mut left = (u64::from(hash) * total) >> 32;
        (0..self.buckets.len()).filter(live).find(|at| {
            let here = left < weight(at);
            left = left.saturating_sub(weight(at));
            here
        })
    }

    /// §5.6.1: a bucket is live while its watched port or group is; one that watches nothing always is, but for
    /// fast failover.
    fn is_bucket_live(&self, at: usize, groups: &Groups, ports: &Ports, depth: u8) -> bool {
        let bucket = &self.desc.buckets[at];
        let port = bucket.watch_port.map(|port| is_port_live(port, ports));
        let group = bucket.watch_group.map(|group| {
            depth > 0 && groups.get(&group).is_some_and(|g| g.is_live(groups, ports, depth - 1))
        });
        match (port, group) {
            (None, None) => self.desc.group_type != GroupType::FastFailover,
            (port, group) => port.unwrap_or(false) || group.unwrap_or(false),
        }
    }

    /// At least one bucket is live.
    fn is_live(&self, groups: &Groups, ports: &Ports, depth: u8) -> bool {
        (0..self.buckets.len()).any(|at| self.is_bucket_live(at, groups, ports, depth))
    }
}

fn is_port_live(port: PortNo, ports: &Ports) -> bool {
    ports.get(port).is_some_and(|row| row.is_live())
}

/// What tells flows apart for select groups: addresses, protocol and ports, the same in every worker.
pub(crate) fn flow_hash(frame: &Frame) -> u32 {
    let mut key = [0; N_WORDS];
    if extract(frame, PortNo(0), Depth::All, &mut key).is_err() {
        return 0;
    }
    let parts = [
        key[key::DST_PROTO] & !0xff,
        key[key::SRC_VALID],
        key[key::IPV4],
        key[key::TRANSPORT] >> 32,
        key[key::IPV6_SRC] ^ key[key::IPV6_DST].rotate_left(17),
        key[key::IPV6_SRC + 1] ^ key[key::IPV6_DST + 1].rotate_left(31),
    ];
    (lookup::Secret::from_seed(0x77656674).hash(&parts) >> 32) as u32
}
