//! Groups (§5.6).

use lookup::mix;
use openflow::{Bucket, GroupDesc, GroupId, GroupType, PortNo};
use packet::Frame;

use crate::extract::extract;
use crate::key::{self, Depth, N_WORDS};
use crate::snapshot::{Groups, Ports};
use crate::step::Step;

/// Groups that may be entered through each other.
pub(crate) const MAX_DEPTH: u8 = 8;

/// Copies that groups may make of one frame: what groups of type all that lead to each other could multiply.
pub(crate) const MAX_COPIES: usize = 4096;

/// A group, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Unlike that of any other group, one of the same number before it included: counts name the group by both.
    pub stamp: u64,
    /// As configured.
    pub desc: GroupDesc,
    /// The steps of each bucket.
    pub buckets: Vec<Box<[Step]>>,
    /// Of a select group: what tells its buckets apart.
    names: Vec<u64>,
}

/// Groups whose liveness was asked for on the way to an answer.
pub(crate) type Asked = Vec<(GroupId, bool)>;

impl Group {
    pub(crate) fn new(desc: GroupDesc, buckets: Vec<Box<[Step]>>, stamp: u64) -> Self {
        let names = if desc.group_type == GroupType::Select { names(&desc.buckets) } else { Vec::new() };
        Self { desc, buckets, names, stamp }
    }

    /// The buckets a frame goes to, by index; `hash` tells its flow.
    pub(crate) fn choose(
        &self,
        hash: impl FnOnce() -> u32,
        (groups, ports): (&Groups, &Ports),
        asked: &mut Asked,
    ) -> core::ops::Range<usize> {
        asked.clear();
        let mut live = |at: &usize| self.is_bucket_live(*at, (groups, ports), (MAX_DEPTH, asked));
        let one = |at: Option<usize>| at.map_or(0..0, |at| at..at + 1);
        match self.desc.group_type {
            GroupType::All => 0..self.buckets.len(),
            GroupType::Indirect => 0..self.buckets.len().min(1),
            GroupType::FastFailover => one((0..self.buckets.len()).find(&mut live)),
            GroupType::Select => {
                let buckets = self.desc.buckets.iter().zip(&self.names).enumerate();
                let candidates = buckets.map(|(at, (bucket, &name))| (at, bucket.weight, name));
                one(select(candidates.filter(|(at, ..)| live(at)), hash()))
            }
        }
    }

    /// §5.6.1: a bucket is live while its watched port or group is; one that watches nothing always is, but for
    /// fast failover.
    fn is_bucket_live(&self, at: usize, tables: (&Groups, &Ports), (depth, asked): (u8, &mut Asked)) -> bool {
        let bucket = &self.desc.buckets[at];
        let port = bucket.watch_port.map(|port| is_port_live(port, tables.1));
        match (port, bucket.watch_group) {
            (None, None) => self.desc.group_type != GroupType::FastFailover,
            (Some(true), _) => true,
            (_, None) => false,
            (_, Some(group)) => is_group_live(group, tables, (depth, asked)),
        }
    }
}

/// A group is live while one of its buckets is. Each group is asked once, however many buckets watch it; none watches
/// itself.
fn is_group_live(id: GroupId, tables: (&Groups, &Ports), (depth, asked): (u8, &mut Asked)) -> bool {
    if let Some((_, live)) = asked.iter().find(|(known, _)| *known == id) {
        return *live;
    }
    let Some(group) = tables.0.get(&id).filter(|_| depth > 0) else { return false };
    let live = (0..group.buckets.len()).any(|at| group.is_bucket_live(at, tables, (depth - 1, &mut *asked)));
    asked.push((id, live));
    live
}

/// What tells the buckets of a select group apart, whatever their order and weights: what they do and watch. Of two that
/// are the same the later is the second.
pub(crate) fn names(buckets: &[Bucket]) -> Vec<u64> {
    let mut names: Vec<u64> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        let Bucket { watch_port, watch_group, actions, .. } = bucket;
        let text = format!("{watch_port:?} {watch_group:?} {actions:?}");
        // FNV-1a: the same in every process, and only to tell apart.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let mut name = text.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
        while names.contains(&name) {
            name = name.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        names.push(name);
    }
    names
}

/// Chooses among buckets (index, weight, name) by weighted rendezvous: each bucket draws a number from flow and name, of
/// exponential distribution with its weight as rate, and the smallest wins. Shares are as the weights; when a bucket comes, goes,
/// dies or changes its weight, flows move to it or from it and between no others.
pub(crate) fn select(buckets: impl Iterator<Item = (usize, u16, u64)>, hash: u32) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for (at, weight, name) in buckets.filter(|(_, weight, _)| *weight != 0) {
        let drawn = mix(name ^ u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Above zero, at most one.
        let uniform = ((drawn >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let score = -uniform.ln() / f64::from(weight);
        if best.is_none_or(|(least, _)| score < least) {
            best = Some((score, at));
        }
    }
    best.map(|(_, at)| at)
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
