//! Groups: what a switch can do with them, those it is to hold, and the difference to those it holds.
//!
//! A group has no cookie. The controller's are those that [`layout::is_own_group`] knows; others are left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use openflow::{
    Bucket, GroupCapabilities, GroupDesc, GroupFeatures, GroupId, GroupMod, GroupModCommand, GroupType,
};

use crate::layout;

/// What a switch can do with groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Support {
    /// Frames are spread over the buckets of a group, and those whose port is dead are left out.
    pub select: bool,
    /// The first bucket whose port is alive serves.
    pub failover: bool,
    /// A group may lead to another.
    pub chaining: bool,
}

impl Support {
    pub(crate) fn of(features: &GroupFeatures) -> Self {
        let has = |kind: GroupType| features.types >> kind.number() & 1 == 1;
        Self {
            select: has(GroupType::Select)
                && features.capabilities.contains(GroupCapabilities::SELECT_LIVENESS),
            failover: has(GroupType::FastFailover),
            chaining: features.capabilities.contains(GroupCapabilities::CHAINING),
        }
    }
}

/// What a group does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupBody {
    /// How it uses its buckets.
    pub group_type: GroupType,
    /// Its buckets.
    pub buckets: Vec<Bucket>,
}

/// The groups of one switch.
pub type Groups = BTreeMap<GroupId, Arc<GroupBody>>;

/// One change of the groups of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupChange {
    /// Which.
    pub group: GroupId,
    /// What it was.
    pub before: Option<Arc<GroupBody>>,
    /// What it is to be; none: gone.
    pub after: Option<Arc<GroupBody>>,
}

impl GroupChange {
    /// As a message.
    pub fn to_mod(&self) -> GroupMod {
        let (command, body) = match (&self.before, &self.after) {
            (None, Some(after)) => (GroupModCommand::Add, Some(after)),
            (Some(_), Some(after)) => (GroupModCommand::Modify, Some(after)),
            (_, None) => (GroupModCommand::Delete, None),
        };
        let group_type = body.map_or(GroupType::All, |body| body.group_type);
        let buckets = body.map(|body| body.buckets.clone()).unwrap_or_default();
        GroupMod { command, group_type, group: self.group, buckets }
    }

    /// Does it to `groups`.
    pub fn apply(&self, groups: &mut Groups) {
        match &self.after {
            Some(after) => drop(groups.insert(self.group, after.clone())),
            None => drop(groups.remove(&self.group)),
        }
    }
}

/// What turns `actual` into `wanted`: first what flows may need, then what no flow needs any more.
pub fn diff_groups(actual: &Groups, wanted: &Groups) -> (Vec<GroupChange>, Vec<GroupChange>) {
    let put = wanted.iter().filter(|(group, body)| actual.get(group) != Some(body));
    let put = put.map(|(group, body)| GroupChange {
        group: *group,
        before: actual.get(group).cloned(),
        after: Some(body.clone()),
    });
    // Who leads to another goes before it, as it comes behind it.
    let gone = actual.iter().rev().filter(|(group, _)| !wanted.contains_key(group));
    let gone =
        gone.map(|(group, body)| GroupChange { group: *group, before: Some(body.clone()), after: None });
    (put.collect(), gone.collect())
}

/// The groups among `descriptions` that belong to the blueprint.
pub fn owned_groups(descriptions: &[GroupDesc]) -> Groups {
    let owned = descriptions.iter().filter(|desc| layout::is_own_group(desc.group));
    let body = |desc: &GroupDesc| GroupBody { group_type: desc.group_type, buckets: desc.buckets.clone() };
    owned.map(|desc| (desc.group, Arc::new(body(desc)))).collect()
}
