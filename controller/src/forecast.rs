//! What a change of intents would do, said before anything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use openflow::Dpid;
use openflow::text::Instructions;

use crate::blueprint::{Change, Flows, Issue};
use crate::engine::{Controller, forget, take_false_links};
use crate::intent::{Fault, Intent};
use crate::plan::Planner;
use crate::reach::{Pairs, Reach};
use crate::view::{At, View};

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Generation the blueprint would have.
    pub generation: u64,
    /// Changes of each switch in the order they would be sent; switches that stay as they are left out.
    pub switches: BTreeMap<Dpid, Vec<FlowChange>>,
    /// Pairs that would reach each other and do not now.
    pub gained: Pairs,
    /// Pairs that reach each other now and would not.
    pub lost: Pairs,
    /// What could not be planned.
    pub issues: Vec<Issue>,
}

/// What a change does to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// There is none with this table, priority and match.
    Add,
    /// It gets other instructions or another owner.
    Modify,
    /// It goes.
    Delete,
}

/// One change of one switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowChange {
    /// What happens to the flow.
    pub verb: Verb,
    /// The change.
    pub change: Change,
}

impl FlowChange {
    fn new(change: Change, holds: &Flows) -> Self {
        let verb = match &change {
            Change::Put(key, _) if holds.contains_key(key) => Verb::Modify,
            Change::Put(..) => Verb::Add,
            Change::Delete(..) => Verb::Delete,
        };
        Self { verb, change }
    }
}

impl fmt::Display for FlowChange {
    /// As `ovs-ofctl add-flow`, or for a deletion `ovs-ofctl --strict del-flows` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.change.key();
        let matches = key.matches.to_string();
        let comma = if matches.is_empty() { "" } else { "," };
        match &self.change {
            Change::Put(_, body) => {
                let (cookie, actions) = (body.cookie.0, Instructions(&body.instructions));
                write!(f, "cookie={cookie:#x},table={},priority={}", key.table, key.priority.0)?;
                write!(f, "{comma}{matches} actions={actions}")
            }
            Change::Delete(_, cookie) => {
                write!(f, "cookie={:#x}/-1,table={},priority={}", cookie.0, key.table, key.priority.0)?;
                write!(f, "{comma}{matches}")
            }
        }
    }
}

/// A planner that knows nothing but this intent in this view, as far as what is planned from it, and the view as the
/// engine would then have it. `functions` are the ports of functions until now.
fn resolved(intent: &Intent, view: &View, functions: &BTreeMap<At, Arc<str>>) -> (View, Planner) {
    let (mut view, mut planner) = (view.clone(), Planner::default());
    let (mut labels, mut changes) = (intent.labels().collect(), view.everything());
    view.take_changes();
    let mut before: BTreeSet<At> = functions.keys().copied().collect();
    loop {
        let mut touched = planner.resolve(intent, &labels, &view, &changes);
        let lost =
            std::mem::take(&mut before).into_iter().filter(|at| !planner.lanes().functions.contains_key(at));
        touched.released.extend(lost);
        forget(&mut view, planner.lanes(), &touched);
        take_false_links(&mut view, planner.lanes());
        if !view.is_changed() {
            return (view, planner);
        }
        (labels, changes) = (BTreeSet::new(), view.take_changes());
    }
}

impl Controller {
    /// What [`Controller::set_intent`] would do now. Nothing is changed.
    ///
    /// # Errors
    /// Every contradiction found.
    pub fn forecast(&self, intent: &Intent) -> Result<Forecast, Vec<Fault>> {
        let faults = intent.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let functions = &self.lanes().functions;
        let (view, planner) = resolved(self.intent(), self.view(), functions);
        let before = Reach::new(&view, planner.lanes());
        let (view, mut planner) = resolved(intent, self.view(), functions);
        let after = Reach::new(&view, planner.lanes());
        planner.plan(&view);
        let blueprint = planner.blueprint();
        let changed = intent != self.intent() || !blueprint.same_as(self.blueprint());
        let nothing = Flows::new();
        let switches = self.managed().filter_map(|(dpid, managed)| {
            let changes = managed.pending(blueprint.switches.get(&dpid).unwrap_or(&nothing));
            let changes = changes.into_iter().map(|change| FlowChange::new(change, &managed.installed));
            let changes: Vec<FlowChange> = changes.collect();
            (!changes.is_empty()).then_some((dpid, changes))
        });
        Ok(Forecast {
            generation: self.blueprint().generation + u64::from(changed),
            switches: switches.collect(),
            gained: after.beyond(&before),
            lost: before.beyond(&after),
            issues: blueprint.issues.iter().cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::{FlowBody, FlowKey};
    use openflow::text::parse_flow_mod;
    use openflow::{Action, Cookie, FlowModCommand, Instruction, Match, Priority, TableId};
    use packet::{PortNo, VlanId};

    #[test]
    fn changes_read_as_ovs_ofctl_reads_them() {
        let matches = Match::new().in_port(PortNo(1)).vlan(VlanId::new(10).unwrap());
        let key = FlowKey::new(TableId(3), Priority(7), matches);
        let instructions = vec![Instruction::ApplyActions(vec![Action::PopVlan, Action::output(PortNo(2))])];
        let body = Arc::new(FlowBody { cookie: Cookie(0x1f), instructions });
        let put = FlowChange::new(Change::Put(key.clone(), body.clone()), &Flows::new());
        assert_eq!(put.verb, Verb::Add);
        let read = parse_flow_mod(FlowModCommand::Add, &put.to_string()).unwrap();
        assert_eq!((read.table, read.priority, &read.matches), (key.table, key.priority, &key.matches));
        assert_eq!((read.cookie, &read.instructions), (body.cookie, &body.instructions));
        let holds = Flows::from([(key.clone(), body)]);
        assert_eq!(FlowChange::new(put.change, &holds).verb, Verb::Modify);
        let delete = FlowChange::new(Change::Delete(key.clone(), Cookie(0x1f)), &holds);
        let read = parse_flow_mod(FlowModCommand::DeleteStrict, &delete.to_string()).unwrap();
        assert_eq!((read.table, read.priority, &read.matches), (key.table, key.priority, &key.matches));
        assert_eq!((read.cookie, read.cookie_mask), (Cookie(0x1f), u64::MAX));
    }
}
