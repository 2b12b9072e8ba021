//! Group modifications (§6.5, §7.3.4.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use openflow::error::GroupModFailed;
use openflow::{
    Action, ErrorKind, FlowRemovedReason, GroupDesc, GroupId, GroupMod, GroupModCommand, GroupStats,
    GroupType,
};
use packet::Instant;

use super::Switch;
use super::record::Used;
use super::undo::Undo;
use crate::datapath::GroupCount;
use crate::group::{Group, MAX_DEPTH};
use crate::snapshot::Op;
use crate::step::{Checks, Origin, as_set, compile};

/// Most groups.
const MAX_GROUPS: usize = 65_536;

/// A group as the owner knows it.
#[derive(Debug)]
pub(super) struct GroupRecord {
    pub group: Arc<Group>,
    since: Instant,
    /// Stamp of the group as it was added.
    first: u64,
    count: GroupCount,
}

fn groups_of(desc: &GroupDesc) -> impl Iterator<Item = GroupId> + '_ {
    desc.buckets.iter().flat_map(|bucket| {
        bucket.actions.iter().filter_map(|action| match action {
            Action::Group(group) => Some(*group),
            _ => None,
        })
    })
}

impl Switch {
    pub(super) fn group_mod(&mut self, now: Instant, group_mod: GroupMod) -> Result<(), ErrorKind> {
        let id = group_mod.group;
        match group_mod.command {
            GroupModCommand::Delete => return self.delete_group(now, id),
            _ if id > GroupId::MAX => return Err(GroupModFailed::InvalidGroup.into()),
            GroupModCommand::Add if self.groups.contains_key(&id) => {
                return Err(GroupModFailed::GroupExists.into());
            }
            GroupModCommand::Add if self.groups.len() >= MAX_GROUPS => {
                return Err(GroupModFailed::OutOfGroups.into());
            }
            GroupModCommand::Modify if !self.groups.contains_key(&id) => {
                return Err(GroupModFailed::UnknownGroup.into());
            }
            GroupModCommand::Add | GroupModCommand::Modify => {}
        }
        let group = Arc::new(self.compile_group(group_mod)?);
        // §6.5: the statistics of a modified group go on, those of its buckets begin again.
        let record = match self.groups.get(&id) {
            Some(&GroupRecord { since, first, ref count, .. }) => {
                let count = GroupCount { buckets: Vec::new(), ..count.clone() };
                GroupRecord { group, since, first, count }
            }
            None => GroupRecord { first: group.stamp, group, since: now, count: GroupCount::default() },
        };
        self.put_group(id, Some(record));
        Ok(())
    }

    /// Puts a group in the place of what was there, or nothing.
    fn put_group(&mut self, id: GroupId, new: Option<GroupRecord>) {
        self.publisher.push(Op::Group(id, new.as_ref().map(|record| record.group.clone())));
        let old = self.swap_group(id, new);
        self.note(|| Undo::Group(id, old));
    }

    /// The same without a word to anybody.
    pub(super) fn swap_group(&mut self, id: GroupId, new: Option<GroupRecord>) -> Option<GroupRecord> {
        let old = self.groups.remove(&id);
        for child in old.iter().flat_map(|record| groups_of(&record.group.desc)) {
            self.chains.remove(&(child, id));
        }
        for child in new.iter().flat_map(|record| groups_of(&record.group.desc)) {
            self.chains.insert((child, id));
        }
        self.groups.extend(new.map(|record| (id, record)));
        old
    }

    /// The groups with a bucket that leads to this one.
    fn parents(&self, id: GroupId) -> impl Iterator<Item = GroupId> + '_ {
        self.chains.range((id, GroupId(0))..=(id, GroupId(u32::MAX))).map(|&(_, parent)| parent)
    }

    fn compile_group(&mut self, group_mod: GroupMod) -> Result<Group, ErrorKind> {
        let desc = GroupDesc {
            group_type: group_mod.group_type,
            group: group_mod.group,
            buckets: group_mod.buckets,
        };
        check_buckets(&desc)?;
        let has_group = |group: GroupId| self.groups.contains_key(&group) || group == desc.group;
        self.check_chains(&desc)?;
        let checks = Checks { matches: None, has_group: &has_group, meter: &|_| None, table_port: false };
        let steps = |actions: &[Action]| compile(actions, Origin::GROUP, &checks).map(|steps| as_set(&steps));
        let buckets = desc.buckets.iter().map(|bucket| steps(&bucket.actions)).collect::<Result<_, _>>()?;
        self.n_groups_made += 1;
        Ok(Group::new(desc, buckets, self.n_groups_made))
    }

    /// §6.5: no group may lead to itself. A chain is as long as a frame may follow it, with what leads to the group.
    fn check_chains(&self, desc: &GroupDesc) -> Result<(), ErrorKind> {
        let id = desc.group;
        let below = |next: GroupId| {
            let desc = if next == id { Some(desc) } else { self.groups.get(&next).map(|r| &r.group.desc) };
            desc.into_iter().flat_map(groups_of).collect()
        };
        let above = |next: GroupId| self.parents(next).collect();
        let watched = |next: GroupId| {
            let desc = if next == id { Some(desc) } else { self.groups.get(&next).map(|r| &r.group.desc) };
            desc.into_iter().flat_map(|d| d.buckets.iter().filter_map(|b| b.watch_group)).collect()
        };
        // A group that watches itself would never be dead, or never live.
        longest(id, &watched).ok_or(GroupModFailed::Loop)?;
        let down = longest(id, &below).ok_or(GroupModFailed::Loop)?;
        // What led here before it changed leads to no loop if this one does not.
        let up = longest(id, &above).unwrap_or(0);
        if down + up >= usize::from(MAX_DEPTH) {
            return Err(GroupModFailed::ChainingUnsupported.into());
        }
        Ok(())
    }

    /// §6.5: the flows that use a deleted group go with it.
    fn delete_group(&mut self, now: Instant, id: GroupId) -> Result<(), ErrorKind> {
        let gone: Vec<GroupId> = match id {
            GroupId::ALL => self.groups.keys().copied().collect(),
            id if id > GroupId::MAX => return Err(GroupModFailed::InvalidGroup.into()),
            id => self.groups.keys().copied().filter(|&known| known == id).collect(),
        };
        // §6.5: all together may go whatever leads to what.
        let chained = |&id: &GroupId| self.parents(id).any(|parent| parent != id);
        if id != GroupId::ALL && gone.iter().any(chained) {
            return Err(GroupModFailed::ChainedGroup.into());
        }
        for &group in &gone {
            self.put_group(group, None);
        }
        for &group in &gone {
            for flow in self.flows.using(Used::Group(group)) {
                self.remove_flow(now, flow, Some(FlowRemovedReason::GroupDelete));
            }
        }
        Ok(())
    }

    pub(super) fn count_groups(&mut self, counts: &BTreeMap<(GroupId, u64), GroupCount>) {
        for ((id, stamp), counted) in counts {
            // What another group of this number counted before is nobody's.
            let Some(record) = self.groups.get_mut(id).filter(|record| *stamp >= record.first) else {
                continue;
            };
            record.count.packets += counted.packets;
            record.count.bytes += counted.bytes;
            if *stamp != record.group.stamp {
                continue;
            }
            record.count.buckets.resize(record.group.buckets.len().max(counted.buckets.len()), (0, 0));
            for ((packets, bytes), (p, b)) in record.count.buckets.iter_mut().zip(&counted.buckets) {
                *packets += p;
                *bytes += b;
            }
        }
    }

    pub(super) fn group_stats(&self, now: Instant, id: GroupId) -> Vec<GroupStats> {
        let wanted = self.groups.iter().filter(|(known, _)| id == GroupId::ALL || **known == id);
        let stats = |(&group, record): (&GroupId, &GroupRecord)| {
            let n_groups = self.parents(group).count();
            let n_flows = self.flows.using(Used::Group(group)).len();
            let count = &record.count;
            let bucket = |at: usize| count.buckets.get(at).copied().unwrap_or_default();
            GroupStats {
                group,
                ref_count: (n_groups + n_flows) as u32,
                packets: count.packets,
                bytes: count.bytes,
                duration: now.saturating_since(record.since),
                buckets: (0..record.group.buckets.len())
                    .map(bucket)
                    .map(|(packets, bytes)| openflow::BucketStats { packets, bytes })
                    .collect(),
            }
        };
        wanted.map(stats).collect()
    }
}

/// How many steps the longest way has that begins at `start`; none if one comes back to where it was, or goes on and on.
fn longest(start: GroupId, next: &dyn Fn(GroupId) -> Vec<GroupId>) -> Option<usize> {
    /// None while it is being asked.
    type Known = BTreeMap<GroupId, Option<usize>>;
    const TOO_LONG: usize = 64;
    fn ask(
        (id, depth): (GroupId, usize),
        next: &dyn Fn(GroupId) -> Vec<GroupId>,
        known: &mut Known,
    ) -> Option<usize> {
        if depth == TOO_LONG {
            return None;
        }
        if let Some(known) = known.get(&id) {
            return *known;
        }
        known.insert(id, None);
        let mut most = 0;
        for further in next(id) {
            most = most.max(1 + ask((further, depth + 1), next, known)?);
        }
        known.insert(id, Some(most));
        Some(most)
    }
    ask((start, 0), next, &mut Known::new())
}

fn check_buckets(desc: &GroupDesc) -> Result<(), ErrorKind> {
    for bucket in &desc.buckets {
        let watches = bucket.watch_port.is_some() || bucket.watch_group.is_some();
        match desc.group_type {
            GroupType::FastFailover if !watches => return Err(GroupModFailed::BadWatch.into()),
            GroupType::Select => {}
            _ if bucket.weight != 0 => return Err(GroupModFailed::BadBucket.into()),
            _ => {}
        }
    }
    // §5.6.1: an indirect group has exactly one bucket.
    if desc.group_type == GroupType::Indirect && desc.buckets.len() != 1 {
        return Err(GroupModFailed::BadBucket.into());
    }
    Ok(())
}
