//! What the switches are to hold, and the difference to what they do hold.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use openflow::{
    Cookie, Dpid, FlowMod, FlowModCommand, FlowStats, Instruction, Match, Oxm, Priority, TableId,
};

use crate::layout;

/// What makes a flow the same flow: table, priority and match (OpenFlow 1.3.5 §6.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Where it is.
    pub table: TableId,
    /// Precedence, highest first.
    pub priority: Priority,
    /// Which frames.
    pub matches: Match,
}

impl Ord for FlowKey {
    /// The order in which flows are added (see [`layout::rank`]), the most specific of a rank first.
    fn cmp(&self, other: &Self) -> Ordering {
        let stage =
            |key: &Self| (layout::rank(key.table, key.priority), Reverse(key.table), Reverse(key.priority));
        let values = |field: &Oxm| (field.field, field.value, field.mask);
        stage(self)
            .cmp(&stage(other))
            .then_with(|| self.matches.iter().map(values).cmp(other.matches.iter().map(values)))
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
pub type Flows = BTreeMap<FlowKey, FlowBody>;

/// What keeps an intent from being realised in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Which intent: `network/blue`.
    pub label: String,
    /// Why, for people.
    pub reason: String,
}

/// What every switch is to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blueprint {
    /// Rises whenever the rest changes.
    pub generation: u64,
    /// Flows by switch.
    pub switches: BTreeMap<Dpid, Flows>,
    /// Which intent a cookie stands for.
    pub labels: BTreeMap<Cookie, String>,
    /// What cannot be planned yet.
    pub issues: Vec<Issue>,
}

impl Blueprint {
    /// Whether it asks the same of the switches and says the same to people.
    pub fn same_as(&self, other: &Self) -> bool {
        self.switches == other.switches && self.labels == other.labels && self.issues == other.issues
    }

    /// The intent that a flow serves.
    pub fn label(&self, cookie: Cookie) -> Option<&str> {
        self.labels.get(&cookie).map(String::as_str)
    }

    /// The flows of one switch that serve an intent.
    pub fn n_flows(&self, dpid: Dpid, label: &str) -> usize {
        let cookie = layout::intent_cookie(label);
        self.switches
            .get(&dpid)
            .map_or(0, |flows| flows.values().filter(|flow| flow.cookie == cookie).count())
    }
}

/// The flows among `stats` that belong to the blueprint.
pub fn owned(stats: &[FlowStats]) -> Flows {
    let owned = |flow: &&FlowStats| layout::owner(flow.cookie) == layout::Owner::Intent;
    stats.iter().filter(owned).map(|flow| (key_of(flow), body_of(flow))).collect()
}

fn key_of(flow: &FlowStats) -> FlowKey {
    FlowKey { table: flow.table, priority: flow.priority, matches: flow.matches.clone() }
}

fn body_of(flow: &FlowStats) -> FlowBody {
    FlowBody { cookie: flow.cookie, instructions: flow.instructions.clone() }
}

/// One change of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Add, or overwrite what has this key.
    Put(FlowKey, FlowBody),
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

    /// Does it to `flows`.
    pub fn apply(&self, flows: &mut Flows) {
        match self {
            Self::Put(key, body) => drop(flows.insert(key.clone(), body.clone())),
            Self::Delete(key, _) => drop(flows.remove(key)),
        }
    }
}

/// What turns `actual` into `wanted`. Whatever is equal is left alone.
///
/// Flows are deleted in the opposite order of [`layout::rank`], then others are put in that order: what is halfway lets
/// a frame pass as before, or not at all, never around what it has to pass.
pub fn diff(actual: &Flows, wanted: &Flows) -> Vec<Change> {
    let gone = actual.iter().rev().filter(|(key, _)| !wanted.contains_key(key));
    let put = wanted.iter().filter(|(key, body)| actual.get(key) != Some(body));
    gone.map(|(key, body)| Change::Delete(key.clone(), body.cookie))
        .chain(put.map(|(key, body)| Change::Put(key.clone(), body.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use openflow::Action;
    use packet::PortNo;
    use proptest::prelude::*;

    fn flows() -> impl Strategy<Value = Flows> {
        proptest::collection::btree_map((0u8..3, 0u16..4, 1u32..4), (0u64..3, 1u32..4), 0..20).prop_map(
            |flows| {
                let flow = |((table, priority, port), (cookie, out))| {
                    let matches = Match::new().in_port(PortNo(port));
                    let instructions = vec![Instruction::ApplyActions(vec![Action::output(PortNo(out))])];
                    let key = FlowKey { table: TableId(table), priority: Priority(priority), matches };
                    (key, FlowBody { cookie: Cookie(cookie), instructions })
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
            let key = FlowKey { table, priority, matches: Match::ANY };
            (key, FlowBody { cookie: Cookie(0), instructions: vec![] })
        };
        let flows: Flows = stages.into_iter().map(flow).collect();
        let order = |changes: Vec<Change>| -> Vec<_> {
            changes.iter().map(|c| (c.key().table, c.key().priority)).collect()
        };
        assert_eq!(order(diff(&Flows::new(), &flows)), stages);
        assert_eq!(order(diff(&flows, &Flows::new())), stages.into_iter().rev().collect::<Vec<_>>());
    }
}
