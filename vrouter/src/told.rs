//! Next hops and groups of them that were told by number, and what they come to.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::netlink::{To, Via};

/// What was told of next hops.
#[derive(Debug, Default)]
pub(crate) struct NextHops {
    hops: BTreeMap<u32, To>,
    groups: BTreeMap<u32, Vec<(u32, u16)>>,
    /// Those that lead elsewhere than when routes named them.
    changed: BTreeSet<u32>,
}

impl NextHops {
    pub(crate) fn put(&mut self, id: u32, way: To) {
        let (group, old) = (self.groups.remove(&id), self.hops.insert(id, way));
        if group.is_some() || old.is_some_and(|old| self.hops.get(&id) != Some(&old)) {
            self.changed.insert(id);
        }
    }

    pub(crate) fn put_group(&mut self, id: u32, members: Vec<(u32, u16)>) {
        let (hop, old) = (self.hops.remove(&id), self.groups.insert(id, members));
        if hop.is_some() || old.is_some_and(|old| self.groups.get(&id) != Some(&old)) {
            self.changed.insert(id);
        }
    }

    /// Forgets one. Routes that still name it are left as they are.
    pub(crate) fn remove(&mut self, id: u32) {
        self.hops.remove(&id);
        self.groups.remove(&id);
    }

    /// Forgets one that routes must not go by any more.
    pub(crate) fn withdraw(&mut self, id: u32) {
        self.remove(id);
        self.changed.insert(id);
    }

    /// The numbers of all.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.hops.keys().chain(self.groups.keys()).copied()
    }

    /// Where a way leads that is perhaps named; none: by a number that was not told, or by a group without anybody.
    pub(crate) fn resolve<'a>(&'a self, way: &'a To) -> Option<Cow<'a, To>> {
        let To::Named(id) = way else { return Some(Cow::Borrowed(way)) };
        let Some(members) = self.groups.get(id) else {
            return self.hops.get(id).filter(|way| !matches!(way, To::Named(_))).map(Cow::Borrowed);
        };
        let hops = members.iter().filter_map(|(id, weight)| match self.hops.get(id) {
            Some(To::Hops(hops)) => hops.first().map(|via| Via { weight: *weight, ..via.clone() }),
            _ => None,
        });
        let hops: Vec<Via> = hops.collect();
        (!hops.is_empty()).then_some(Cow::Owned(To::Hops(hops)))
    }

    /// What leads elsewhere since the last call, groups with such members among them.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<u32> {
        let mut changed = std::mem::take(&mut self.changed);
        if !changed.is_empty() {
            let groups = self.groups.iter();
            let around = groups.filter(|(_, members)| members.iter().any(|(id, _)| changed.contains(id)));
            let around: Vec<u32> = around.map(|(id, _)| *id).collect();
            changed.extend(around);
        }
        changed
    }
}
