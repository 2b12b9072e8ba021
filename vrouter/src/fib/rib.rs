//! All routes of the owner, the best of which are in the FIB.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::group::Member;
use super::{ASKS, Change, Group, Hop, HopId, Set, SetId, Tally, Traffic, Twin, VrfId, place};
use crate::{Prefix, RouteInfo, RouteSource, RouteTarget};

/// A route with its next hops resolved.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub vrf: VrfId,
    pub to: Prefix,
    pub source: RouteSource,
    pub metric: u32,
    /// As it was written, for people.
    pub target: RouteTarget,
    /// Next hops with their weights; never empty.
    pub hops: Vec<(Hop, u16)>,
}

/// A prefix of a VRF.
type Key = (VrfId, Prefix);
/// Prefixes whose packets are counted, by whatever route they go.
type Counted = BTreeMap<Key, Arc<Tally>>;
/// Next hops with their weights, and for whom alone they are counted.
type Content = (Vec<(Hop, u16)>, Option<Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    source: RouteSource,
    metric: u32,
    target: RouteTarget,
    set: SetId,
}

#[derive(Debug, Default)]
pub(crate) struct Rib {
    /// The best first.
    routes: BTreeMap<Key, Vec<Entry>>,
    counted: Counted,
    sets: BTreeMap<Content, (SetId, usize)>,
    contents: Vec<Content>,
    /// Places of sets.
    free: Vec<u32>,
    /// Next hops of groups, with the number of groups they are in.
    hops: BTreeMap<Hop, (HopId, usize)>,
    free_hops: Vec<HopId>,
}

impl Rib {
    /// Packets to these prefixes are counted by routes that are put from now on. A prefix keeps what it has counted.
    pub(crate) fn set_counted(&mut self, prefixes: impl Iterator<Item = Key>, n_workers: usize) {
        let before = std::mem::take(&mut self.counted);
        let tally = |key: &Key| before.get(key).cloned().unwrap_or_else(|| Tally::new(n_workers).into());
        self.counted = prefixes.map(|key| (key, tally(&key))).collect();
    }

    /// What has been counted.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (Key, Traffic)> {
        self.counted.iter().map(|(key, tally)| (*key, tally.sum()))
    }

    /// Replaces the routes whose source is `from` or before it in the order of preference.
    pub(crate) fn replace(&mut self, twin: &mut Twin, from: RouteSource, candidates: Vec<Candidate>) {
        let mut wanted: BTreeMap<Key, Vec<Candidate>> = BTreeMap::new();
        for candidate in candidates {
            wanted.entry((candidate.vrf, candidate.to)).or_default().push(candidate);
        }
        let ours = |entries: &[Entry]| entries.iter().any(|e| e.source <= from);
        let gone: Vec<_> = self
            .routes
            .iter()
            .filter(|(key, entries)| ours(entries) && !wanted.contains_key(key))
            .map(|(key, _)| *key)
            .collect();
        for (key, candidates) in wanted.into_iter().chain(gone.into_iter().map(|key| (key, Vec::new()))) {
            let others = self.routes.get(&key).into_iter().flatten().filter(|e| e.source > from);
            let mut entries: Vec<Entry> = others.cloned().collect();
            for entry in &entries {
                self.hold(entry.set);
            }
            for candidate in candidates {
                entries.push(self.entry(twin, candidate));
            }
            self.put(twin, key, entries);
        }
    }

    /// Adds a route, in place of the one of this source to the same prefix.
    pub(crate) fn set(&mut self, twin: &mut Twin, candidate: Candidate) {
        let key = (candidate.vrf, candidate.to);
        let mut entries = self.without(key, candidate.source);
        entries.push(self.entry(twin, candidate));
        self.put(twin, key, entries);
    }

    /// Removes the route of this source to a prefix.
    pub(crate) fn remove(&mut self, twin: &mut Twin, key: Key, source: RouteSource) {
        let entries = self.without(key, source);
        self.put(twin, key, entries);
    }

    fn without(&mut self, key: Key, source: RouteSource) -> Vec<Entry> {
        let others = self.routes.get(&key).into_iter().flatten().filter(|e| e.source != source);
        let entries: Vec<Entry> = others.cloned().collect();
        entries.iter().for_each(|e| self.hold(e.set));
        entries
    }

    /// Puts the routes to one prefix, for each of which its set is held.
    fn put(&mut self, twin: &mut Twin, key: Key, mut entries: Vec<Entry>) {
        entries.sort_by_key(|e| (e.source, e.metric));
        let best = entries.first().map(|e| e.set);
        let old = match entries.is_empty() {
            true => self.routes.remove(&key),
            false => self.routes.insert(key, entries),
        };
        let old = old.unwrap_or_default();
        if old.first().map(|e| e.set) != best {
            twin.push(Change::Prefix(key.0, key.1, best));
        }
        old.iter().for_each(|e| self.release(e.set));
    }

    fn entry(&mut self, twin: &mut Twin, candidate: Candidate) -> Entry {
        let Candidate { vrf, to, source, metric, target, mut hops } = candidate;
        if hops.len() > 1 {
            hops.sort();
        }
        let content = (hops, Some((vrf, to)).filter(|key| self.counted.contains_key(key)));
        let set = match self.sets.get_mut(&content) {
            Some((set, n)) => {
                *n += 1;
                *set
            }
            None => self.make(twin, content),
        };
        Entry { source, metric, target, set }
    }

    fn make(&mut self, twin: &mut Twin, content: Content) -> SetId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.contents.push(Content::default());
            self.contents.len() as u32 - 1
        });
        let tally = content.1.and_then(|key| self.counted.get(&key)).cloned();
        let asks = tally.is_some() || matches!(content.0.as_slice(), [(Hop::Table(_), _)]);
        let id = if asks { at | ASKS } else { at };
        let set = match content.0.as_slice() {
            [(hop, _)] => Set::One(*hop),
            hops => {
                let member =
                    |(hop, weight): &(Hop, u16)| Member { hop: *hop, id: self.hop(*hop), weight: *weight };
                Set::Group(Group::new(hops.iter().map(member).collect()).into())
            }
        };
        twin.push(Change::Set(id, set, tally));
        self.contents[place(id)].clone_from(&content);
        self.sets.insert(content, (id, 1));
        id
    }

    fn hop(&mut self, hop: Hop) -> HopId {
        // With more than 65,535 next hops in groups the rest share the fate of the last.
        let next = self.hops.len().min(usize::from(HopId::MAX)) as HopId;
        let free = &mut self.free_hops;
        let (id, n) = self.hops.entry(hop).or_insert_with(|| (free.pop().unwrap_or(next), 0));
        *n += 1;
        *id
    }

    fn hold(&mut self, set: SetId) {
        if let Some((_, n)) = self.sets.get_mut(&self.contents[place(set)]) {
            *n += 1;
        }
    }

    fn release(&mut self, set: SetId) {
        let content = &self.contents[place(set)];
        let Some((_, n)) = self.sets.get_mut(content) else { return };
        *n -= 1;
        if *n > 0 {
            return;
        }
        let content = std::mem::take(&mut self.contents[place(set)]);
        self.sets.remove(&content);
        self.free.push(place(set) as u32);
        let (hops, _) = content;
        for (hop, _) in hops.iter().filter(|_| hops.len() > 1) {
            if let Some((id, n)) = self.hops.get_mut(hop) {
                *n -= 1;
                if *n == 0 {
                    self.free_hops.push(*id);
                    self.hops.remove(hop);
                }
            }
        }
    }

    /// Next hops of groups, by what `is` says of them.
    pub(crate) fn hops_where(&self, is: impl Fn(Hop) -> bool) -> impl Iterator<Item = HopId> {
        self.hops.iter().filter(move |(hop, _)| is(**hop)).map(|(_, (id, _))| *id)
    }

    /// All routes but those to broadcast addresses.
    pub(crate) fn shown(&self, vrf_name: impl Fn(VrfId) -> Option<String>) -> Vec<RouteInfo> {
        let mut all = Vec::new();
        for ((vrf, to), entries) in &self.routes {
            // Packets go by the best.
            let tallies = core::iter::once(self.counted.get(&(*vrf, *to))).chain(core::iter::repeat(None));
            for (e, tally) in entries.iter().zip(tallies) {
                if self.contents[place(e.set)].0 == [(Hop::Broadcast, 1)] {
                    continue;
                }
                let (target, source, metric) = (e.target.clone(), e.source, e.metric);
                let counted = tally.map(|tally| tally.sum());
                all.push(RouteInfo { vrf: vrf_name(*vrf), to: *to, target, source, metric, counted });
            }
        }
        all
    }

    /// Routes from a routing protocol, to be resolved anew.
    pub(crate) fn protocol_routes(&self) -> Vec<(VrfId, Prefix, u32, RouteTarget)> {
        let of = |((vrf, to), entries): (&(VrfId, Prefix), &Vec<Entry>)| {
            let entry = entries.iter().find(|e| e.source == RouteSource::Protocol)?;
            Some((*vrf, *to, entry.metric, entry.target.clone()))
        };
        self.routes.iter().filter_map(of).collect()
    }
}
