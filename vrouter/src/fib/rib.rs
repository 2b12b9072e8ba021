//! All routes of the owner, the best of which are in the FIB.

use std::collections::BTreeMap;

use super::group::Member;
use super::{Change, Group, Hop, HopId, Set, SetId, Twin, VrfId};
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
    routes: BTreeMap<(VrfId, Prefix), Vec<Entry>>,
    sets: BTreeMap<Vec<(Hop, u16)>, (SetId, usize)>,
    contents: Vec<Vec<(Hop, u16)>>,
    free: Vec<SetId>,
    /// Next hops of groups, with the number of groups they are in.
    hops: BTreeMap<Hop, (HopId, usize)>,
    free_hops: Vec<HopId>,
}

impl Rib {
    /// Replaces the routes whose source is `from` or before it in the order of preference.
    pub(crate) fn replace(&mut self, twin: &mut Twin, from: RouteSource, candidates: Vec<Candidate>) {
        let mut wanted: BTreeMap<(VrfId, Prefix), Vec<Candidate>> = BTreeMap::new();
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
    pub(crate) fn remove(&mut self, twin: &mut Twin, key: (VrfId, Prefix), source: RouteSource) {
        let entries = self.without(key, source);
        self.put(twin, key, entries);
    }

    fn without(&mut self, key: (VrfId, Prefix), source: RouteSource) -> Vec<Entry> {
        let others = self.routes.get(&key).into_iter().flatten().filter(|e| e.source != source);
        let entries: Vec<Entry> = others.cloned().collect();
        entries.iter().for_each(|e| self.hold(e.set));
        entries
    }

    /// Puts the routes to one prefix, for each of which its set is held.
    fn put(&mut self, twin: &mut Twin, key: (VrfId, Prefix), mut entries: Vec<Entry>) {
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
        let Candidate { source, metric, target, mut hops, .. } = candidate;
        if hops.len() > 1 {
            hops.sort();
        }
        let set = match self.sets.get_mut(&hops) {
            Some((set, n)) => {
                *n += 1;
                *set
            }
            None => self.make(twin, hops),
        };
        Entry { source, metric, target, set }
    }

    fn make(&mut self, twin: &mut Twin, hops: Vec<(Hop, u16)>) -> SetId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.contents.push(Vec::new());
            self.contents.len() as SetId - 1
        });
        let set = match hops.as_slice() {
            [(hop, _)] => Set::One(*hop),
            hops => {
                let member =
                    |(hop, weight): &(Hop, u16)| Member { hop: *hop, id: self.hop(*hop), weight: *weight };
                Set::Group(Group::new(hops.iter().map(member).collect()).into())
            }
        };
        twin.push(Change::Set(id, set));
        self.contents[id as usize].clone_from(&hops);
        self.sets.insert(hops, (id, 1));
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
        if let Some((_, n)) = self.sets.get_mut(&self.contents[set as usize]) {
            *n += 1;
        }
    }

    fn release(&mut self, set: SetId) {
        let content = &self.contents[set as usize];
        let Some((_, n)) = self.sets.get_mut(content) else { return };
        *n -= 1;
        if *n > 0 {
            return;
        }
        let content = std::mem::take(&mut self.contents[set as usize]);
        self.sets.remove(&content);
        self.free.push(set);
        for (hop, _) in content.iter().filter(|_| content.len() > 1) {
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
            for e in entries {
                if self.contents[e.set as usize] == [(Hop::Broadcast, 1)] {
                    continue;
                }
                let (target, source, metric) = (e.target.clone(), e.source, e.metric);
                all.push(RouteInfo { vrf: vrf_name(*vrf), to: *to, target, source, metric });
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
