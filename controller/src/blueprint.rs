//! What the switches are to hold, and the difference to what they do hold.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Deref;
use std::sync::Arc;

use openflow::{
    Cookie, Dpid, FlowMod, FlowModCommand, FlowStats, GroupId, Instruction, Match, MeterId, Oxm, Priority,
    TableId,
};

use packet::{MacAddr, VlanId};

use crate::groups::{GroupBody, Groups};
use crate::layout;
use crate::meters::{MeterBody, Meters};

/// What makes a flow the same flow: table, priority and match (OpenFlow 1.3.5 §6.4). Clones share one.
///
/// Keys are in the order in which flows are added (see [`layout::rank`]), the most specific of a rank first. Where neither says
/// which of two comes first, a digest of their matches does: maps of flows are large, and compare a number at a time.
#[derive(Debug, Clone)]
pub struct FlowKey {
    /// Its [`stage`], then the digest of its match.
    order: u64,
    parts: Arc<FlowParts>,
}

/// What a [`FlowKey`] is made of.
#[derive(Debug, PartialEq, Eq)]
pub struct FlowParts {
    /// Where it is.
    pub table: TableId,
    /// Precedence, highest first.
    pub priority: Priority,
    /// Which frames.
    pub matches: Match,
}

impl FlowKey {
    /// The key of such a flow.
    pub fn new(table: TableId, priority: Priority, matches: Match) -> Self {
        let order = u64::from(stage(table, priority)) << 32 | u64::from(digest(&matches));
        Self { order, parts: Arc::new(FlowParts { table, priority, matches }) }
    }

    /// The flow that every switch on the ways to a host has for it.
    pub(crate) fn way(lane: VlanId, mac: MacAddr) -> Self {
        Self::new(layout::FORWARD, layout::forward::UNICAST, crate::plan::directed(lane).eth_dst(mac))
    }

    /// Whether the flow has this table and priority.
    pub(crate) fn is_at(&self, table: TableId, priority: Priority) -> bool {
        (self.order >> 32) as u32 == stage(table, priority)
    }
}

/// Rank upwards, then table and priority downwards.
fn stage(table: TableId, priority: Priority) -> u32 {
    u32::from(layout::rank(table, priority)) << 24 | u32::from(!table.0) << 16 | u32::from(!priority.0)
}

/// A number that hardly two matches of a stage share.
fn digest(matches: &Match) -> u32 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let words = |value: u128| [value as u64, (value >> 64) as u64];
    let hash = matches.iter().fold(0, |hash, field| {
        let hash = mix(hash, field.field as u64 + 1);
        let hash = words(field.value).into_iter().fold(hash, mix);
        field.mask.into_iter().flat_map(words).fold(hash, mix)
    });
    (hash >> 32) as u32
}

impl Deref for FlowKey {
    type Target = FlowParts;

    fn deref(&self) -> &FlowParts {
        &self.parts
    }
}

impl PartialEq for FlowKey {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order && self.parts == other.parts
    }
}

impl Eq for FlowKey {}

impl Ord for FlowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let values = |field: &Oxm| (field.field, field.value, field.mask);
        self.order.cmp(&other.order).then_with(|| {
            if Arc::ptr_eq(&self.parts, &other.parts) {
                return Ordering::Equal;
            }
            self.matches.iter().map(values).cmp(other.matches.iter().map(values))
        })
    }
}

impl PartialOrd for FlowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a flow does, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowBody {
    /// Whose it is.
    pub cookie: Cookie,
    /// What happens to its frames.
    pub instructions: Vec<Instruction>,
}

/// The flows of one switch.
pub type Flows = BTreeMap<FlowKey, Arc<FlowBody>>;

/// What keeps an intent from being realised in full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    /// Which intent: `network/blue`.
    pub label: String,
    /// Why, for people.
    pub reason: String,
    /// Waiting does not help.
    pub refused: bool,
}

impl Issue {
    /// Something is missing, and may come.
    pub fn new(label: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { label: label.into(), reason: reason.into(), refused: false }
    }
}

/// Issues, each with the number of places it was found at.
#[derive(Debug, Clone, Default)]
pub struct Issues {
    found: BTreeMap<Issue, usize>,
    /// Which were touched since it was asked, and whether they were there.
    before: BTreeMap<Issue, bool>,
}

impl PartialEq for Issues {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Issues {}

impl Issues {
    pub(crate) fn add(&mut self, issue: Issue) {
        let n = self.found.entry(issue.clone()).or_default();
        self.before.entry(issue).or_insert(*n > 0);
        *n += 1;
    }

    pub(crate) fn remove(&mut self, issue: &Issue) {
        let Some(n) = self.found.get_mut(issue) else { return };
        self.before.entry(issue.clone()).or_insert(true);
        *n -= 1;
        if *n == 0 {
            self.found.remove(issue);
        }
    }

    /// Whether they are others than when this was asked last.
    pub(crate) fn differ(&mut self) -> bool {
        let before = std::mem::take(&mut self.before);
        before.into_iter().any(|(issue, was)| self.found.contains_key(&issue) != was)
    }

    /// All of them, by intent.
    pub fn iter(&self) -> impl Iterator<Item = &Issue> {
        self.found.keys()
    }

    /// Those of an intent.
    pub fn of<'a>(&'a self, label: &'a str) -> impl Iterator<Item = &'a Issue> {
        let first = Issue::new(label, "");
        self.found.range(first..).map(|(issue, _)| issue).take_while(move |issue| issue.label == label)
    }
}

/// What every switch is to hold.
#[derive(Debug, Clone, Default)]
pub struct Blueprint {
    /// Rises whenever the rest changes.
    pub generation: u64,
    /// Flows by switch.
    pub switches: BTreeMap<Dpid, Flows>,
    /// Groups by switch, where there are some.
    pub groups: BTreeMap<Dpid, Groups>,
    /// Meters by switch, where there are some.
    pub meters: BTreeMap<Dpid, Meters>,
    /// Which intent a cookie stands for.
    pub labels: BTreeMap<Cookie, String>,
    /// What cannot be planned yet.
    pub issues: Issues,
    /// Number of flows by cookie and switch.
    counts: BTreeMap<(Cookie, Dpid), usize>,
}

impl Blueprint {
    /// Whether it asks the same of the switches and says the same to people.
    pub fn same_as(&self, other: &Self) -> bool {
        let flows = self.switches == other.switches;
        let rest = self.groups == other.groups && self.meters == other.meters;
        flows && rest && self.labels == other.labels && self.issues == other.issues
    }

    /// The intent that a flow serves.
    pub fn label(&self, cookie: Cookie) -> Option<&str> {
        self.labels.get(&cookie).map(String::as_str)
    }

    /// The flows of one switch that serve an intent.
    pub fn n_flows(&self, dpid: Dpid, label: &str) -> usize {
        self.counts.get(&(layout::intent_cookie(label), dpid)).copied().unwrap_or(0)
    }

    /// Puts a flow into the plan of a switch. What was there before, if that is different and the switch takes part.
    pub(crate) fn put(
        &mut self,
        dpid: Dpid,
        key: FlowKey,
        body: Arc<FlowBody>,
    ) -> Option<Option<Arc<FlowBody>>> {
        let cookie = body.cookie;
        let before = match self.switches.get_mut(&dpid)?.entry(key) {
            Entry::Vacant(place) => {
                place.insert(body);
                None
            }
            Entry::Occupied(place) if *place.get() == body => return None,
            Entry::Occupied(mut place) => Some(place.insert(body)),
        };
        *self.counts.entry((cookie, dpid)).or_default() += 1;
        before.iter().for_each(|before| self.uncount(dpid, before.cookie));
        Some(before)
    }

    /// Takes a switch out; what it was to hold.
    pub(crate) fn remove_switch(&mut self, dpid: Dpid) -> Flows {
        let flows = self.switches.remove(&dpid).unwrap_or_default();
        flows.values().for_each(|body| self.uncount(dpid, body.cookie));
        flows
    }

    /// Puts a group into the plan of a switch, or takes it out. Whether that is different from before.
    pub(crate) fn set_group(&mut self, dpid: Dpid, group: GroupId, body: Option<GroupBody>) -> bool {
        let groups = self.groups.entry(dpid).or_default();
        let differs = groups.get(&group).map(|before| &**before) != body.as_ref();
        match body {
            Some(body) if differs => drop(groups.insert(group, Arc::new(body))),
            Some(_) => {}
            None => drop(groups.remove(&group)),
        }
        if groups.is_empty() {
            self.groups.remove(&dpid);
        }
        differs
    }

    /// Puts a meter into the plan of a switch, or takes it out. Whether that is different from before.
    pub(crate) fn set_meter(&mut self, dpid: Dpid, meter: MeterId, body: Option<MeterBody>) -> bool {
        let meters = self.meters.entry(dpid).or_default();
        let before = match body {
            Some(body) => meters.insert(meter, body),
            None => meters.remove(&meter),
        };
        if meters.is_empty() {
            self.meters.remove(&dpid);
        }
        before != body
    }

    /// Takes a flow out; what it was.
    pub(crate) fn remove(&mut self, dpid: Dpid, key: &FlowKey) -> Option<Arc<FlowBody>> {
        let before = self.switches.get_mut(&dpid)?.remove(key)?;
        self.uncount(dpid, before.cookie);
        Some(before)
    }

    fn uncount(&mut self, dpid: Dpid, cookie: Cookie) {
        let Some(n) = self.counts.get_mut(&(cookie, dpid)) else { return };
        *n -= 1;
        if *n > 0 {
            return;
        }
        self.counts.remove(&(cookie, dpid));
        if self.counts.range((cookie, Dpid(0))..=(cookie, Dpid(u64::MAX))).next().is_none() {
            self.labels.remove(&cookie);
        }
    }
}

/// The flows among `stats` that belong to the blueprint.
pub fn owned(stats: &[FlowStats]) -> Flows {
    let owned = |flow: &&FlowStats| layout::owner(flow.cookie) == layout::Owner::Intent;
    stats.iter().filter(owned).map(|flow| (key_of(flow), Arc::new(body_of(flow)))).collect()
}

/// What makes a flow that a switch reports the same flow.
pub(crate) fn key_of(flow: &FlowStats) -> FlowKey {
    FlowKey::new(flow.table, flow.priority, flow.matches.clone())
}

fn body_of(flow: &FlowStats) -> FlowBody {
    FlowBody { cookie: flow.cookie, instructions: flow.instructions.clone() }
}

/// One change of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Add, or overwrite what has this key.
    Put(FlowKey, Arc<FlowBody>),
    /// Delete.
    Delete(FlowKey, Cookie),
}

impl Change {
    /// The flow it is about.
    pub fn key(&self) -> &FlowKey {
        match self {
            Self::Put(key, _) | Self::Delete(key, _) => key,
        }
    }

    /// As a message.
    pub fn to_mod(&self) -> FlowMod {
        match self {
            Self::Put(key, body) => FlowMod {
                cookie: body.cookie,
                ..FlowMod::add(key.table, key.priority, key.matches.clone(), body.instructions.clone())
            },
            // The cookie keeps the deletion from a flow that somebody else put in this one's place.
            Self::Delete(key, cookie) => FlowMod {
                command: FlowModCommand::DeleteStrict,
                cookie: *cookie,
                cookie_mask: u64::MAX,
                ..FlowMod::delete_strict(key.table, key.priority, key.matches.clone())
            },
        }
    }

    /// Does it to `flows`. What was there before.
    pub fn apply(&self, flows: &mut Flows) -> Option<Arc<FlowBody>> {
        match self {
            Self::Put(key, body) => flows.insert(key.clone(), body.clone()),
            Self::Delete(key, _) => flows.remove(key),
        }
    }
}

/// What turns `actual` into `wanted`. Whatever is equal is left alone.
///
/// Flows are deleted in the opposite order of [`layout::rank`], then others are put in that order: what is halfway lets
/// a frame pass as before, or not at all, never around what it has to pass.
pub fn diff(actual: &Flows, wanted: &Flows) -> Vec<Change> {
    let gone = actual.iter().rev().filter(|(key, _)| !wanted.contains_key(*key));
    let put = wanted.iter().filter(|(key, body)| actual.get(*key) != Some(*body));
    gone.map(|(key, body)| Change::Delete(key.clone(), body.cookie))
        .chain(put.map(|(key, body)| Change::Put(key.clone(), body.clone())))
        .collect()
}

/// As [`diff`], of these flows alone, which come in order.
pub fn diff_of(actual: &Flows, wanted: &Flows, keys: &[FlowKey]) -> Vec<Change> {
    let (mut gone, mut put) = (Vec::new(), Vec::new());
    let (mut actual, mut wanted) = (finder(actual, keys.len()), finder(wanted, keys.len()));
    for key in keys {
        let is = actual(key);
        match wanted(key) {
            Some(body) if is != Some(body) => put.push(Change::Put(key.clone(), body.clone())),
            Some(_) => {}
            None => gone.extend(is.map(|is| Change::Delete(key.clone(), is.cookie))),
        }
    }
    gone.reverse();
    gone.append(&mut put);
    gone
}

/// Looks up so many of these flows, in order: one after the other, if that are many of them.
fn finder<'a>(flows: &'a Flows, n_keys: usize) -> impl FnMut(&FlowKey) -> Option<&'a Arc<FlowBody>> {
    let mut ahead = (n_keys > flows.len() / 8).then(|| flows.iter().peekable());
    move |key| match &mut ahead {
        Some(ahead) => {
            while ahead.next_if(|(next, _)| *next < key).is_some() {}
            ahead.peek().filter(|(next, _)| *next == key).map(|(_, body)| *body)
        }
        None => flows.get(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openflow::Action;
    use packet::PortNo;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn flows() -> impl Strategy<Value = Flows> {
        proptest::collection::btree_map((0u8..3, 0u16..4, 1u32..4), (0u64..3, 1u32..4), 0..20).prop_map(
            |flows| {
                let flow = |((table, priority, port), (cookie, out))| {
                    let matches = Match::new().in_port(PortNo(port));
                    let instructions = vec![Instruction::ApplyActions(vec![Action::output(PortNo(out))])];
                    let key = FlowKey::new(TableId(table), Priority(priority), matches);
                    (key, Arc::new(FlowBody { cookie: Cookie(cookie), instructions }))
                };
                flows.into_iter().map(flow).collect()
            },
        )
    }

    proptest! {
        #[test]
        fn applying_the_difference_leaves_none(actual in flows(), wanted in flows()) {
            let mut changed = actual.clone();
            for change in diff(&actual, &wanted) {
                change.apply(&mut changed);
            }
            prop_assert_eq!(&changed, &wanted);
            let keys: BTreeSet<FlowKey> = actual.keys().chain(wanted.keys()).cloned().collect();
            let keys: Vec<FlowKey> = keys.into_iter().collect();
            prop_assert_eq!(diff_of(&actual, &wanted, &keys), diff(&actual, &wanted));
            prop_assert_eq!(diff(&changed, &wanted), vec![]);
        }
    }

    #[test]
    fn later_tables_are_ready_first_and_emptied_last() {
        use layout::{ADMIT, FORWARD, STEER, admit, forward, steer};
        let stages = [
            (FORWARD, forward::SEGMENT),
            (FORWARD, forward::HOLD),
            (STEER, steer::CHAIN),
            (FORWARD, forward::UNICAST),
            (ADMIT, admit::PORT),
        ];
        let flow = |(table, priority)| {
            let key = FlowKey::new(table, priority, Match::ANY);
            (key, Arc::new(FlowBody { cookie: Cookie(0), instructions: vec![] }))
        };
        let flows: Flows = stages.into_iter().map(flow).collect();
        let order = |changes: Vec<Change>| -> Vec<_> {
            changes.iter().map(|c| (c.key().table, c.key().priority)).collect()
        };
        assert_eq!(order(diff(&Flows::new(), &flows)), stages);
        assert_eq!(order(diff(&flows, &Flows::new())), stages.into_iter().rev().collect::<Vec<_>>());
    }
}
