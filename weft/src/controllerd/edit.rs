//! A write: some intents changed together, under conditions, all or nothing.

use std::collections::BTreeMap;

use controller::Fault;
use controller_api::{Label, Problem, Resource, ResourceChange};

use super::convert;
use super::intents::Intents;

/// Under which condition an intent is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Whatever it is.
    #[default]
    Always,
    /// It exists (`If-Match: *`).
    Exists,
    /// It does not (`If-None-Match: *`).
    Absent,
    /// One of these revisions changed it last.
    Revision(Vec<u64>),
}

/// One intent changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Which.
    pub label: Label,
    /// As it is to be; `None`: gone.
    pub to: Option<Resource>,
    /// When this is true.
    pub condition: Condition,
    /// Where in the body of the request it stands (RFC 6901).
    pub pointer: String,
}

/// Who wants what, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Where the request came from.
    pub by: String,
    /// Method and path.
    pub request: String,
}

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// What changes.
    pub steps: Vec<Step>,
    /// All else is taken away.
    pub replace: bool,
    /// Only if these are the revisions of the store.
    pub condition: Condition,
}

/// What is declared, and which revision changed each last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declared {
    /// The intents.
    pub intents: Intents,
    /// The revision that changed each last.
    pub revisions: BTreeMap<Label, u64>,
    /// The latest revision.
    pub revision: u64,
}

/// A write that may be carried out.
#[derive(Debug)]
pub struct Prepared {
    /// The revision it makes.
    pub revision: u64,
    /// What changes.
    pub changes: Vec<ResourceChange>,
    /// The same, as the core is told.
    pub edits: Vec<controller::Edit>,
}

/// What a write leads to. `check` says what contradicts something then.
///
/// # Errors
/// A condition that does not hold, a name that is none, or the first contradiction.
pub fn prepare(
    now: &Declared,
    edit: Edit,
    strict: bool,
    check: impl FnOnce(Vec<controller::Edit>) -> Vec<Fault>,
) -> Result<Prepared, Problem> {
    check_store(now, &edit, strict)?;
    let mut places: BTreeMap<Label, String> = BTreeMap::new();
    let mut wanted: BTreeMap<Label, Option<Resource>> = BTreeMap::new();
    for step in edit.steps {
        check_name(&step)?;
        check_shadow(now, &step)?;
        check_condition(now, &step, strict && !edit.replace)?;
        if step.to.is_none() && now.intents.get(&step.label).is_none() {
            return Err(Problem::not_found(format!("{} {:?}", step.label.kind, step.label.name)));
        }
        if places.insert(step.label.clone(), step.pointer.clone()).is_some() {
            return Err(Problem::invalid(step.pointer, format!("{} is named twice", step.label)));
        }
        wanted.insert(step.label, step.to);
    }
    if edit.replace {
        for label in now.intents.labels() {
            wanted.entry(label).or_default();
        }
    }
    let change = |(label, after): (Label, Option<Resource>)| {
        let before = now.intents.get(&label);
        (before != after).then_some(ResourceChange { intent: label, before, after })
    };
    let changes: Vec<ResourceChange> = wanted.into_iter().filter_map(change).collect();
    let refuse = |fault: &Fault| problem_of(fault, &places);
    let edits = changes.iter().map(|change| convert::edit_of(&change.intent, change.after.as_ref()));
    let edits: Vec<controller::Edit> = edits.collect::<Result<_, _>>().map_err(|fault| refuse(&fault))?;
    if let Some(fault) = check(edits.clone()).first() {
        return Err(refuse(fault));
    }
    Ok(Prepared { revision: now.revision + u64::from(!changes.is_empty()), changes, edits })
}

impl Declared {
    /// Takes over what a write changed, and notes its revision.
    pub fn apply(&mut self, revision: u64, changes: &[ResourceChange]) {
        self.intents.apply(changes);
        self.revision = revision;
        for change in changes {
            match change.after {
                Some(_) => drop(self.revisions.insert(change.intent.clone(), revision)),
                None => drop(self.revisions.remove(&change.intent)),
            }
        }
    }
}

/// A fault of an intent that is being written is its writer's mistake, one of another intent a conflict with it.
fn problem_of(fault: &Fault, places: &BTreeMap<Label, String>) -> Problem {
    let place = fault.label.parse::<Label>().ok().and_then(|label| places.get(&label));
    match place {
        Some(place) => Problem::invalid(format!("{place}{}", fault.pointer), &fault.reason),
        None => Problem::conflict(fault),
    }
}

fn check_name(step: &Step) -> Result<(), Problem> {
    let name = &step.label.name;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let good =
        name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(plain);
    if good || step.to.is_none() {
        return Ok(());
    }
    let detail = "a name has 1 to 63 letters, digits, hyphens, underscores and dots, and begins with a letter or digit";
    Err(Problem::invalid(format!("{}/name", step.pointer), detail))
}

/// Namespaces are the machine's: no tenant reaches into one by its routers.
fn check_shadow(now: &Declared, step: &Step) -> Result<(), Problem> {
    let Some(Resource::Router(router)) = &step.to else { return Ok(()) };
    let is_of = |tenant: &String| {
        step.label.name.strip_prefix(tenant.as_str()).is_some_and(|rest| rest.starts_with('-'))
    };
    match now.intents.tenants.keys().find(|tenant| is_of(tenant)) {
        Some(tenant) if router.shadow.is_some() => {
            let detail = format!("the router is tenant {tenant}'s, and only others' routers have a shadow");
            Err(Problem::invalid(format!("{}/shadow", step.pointer), detail))
        }
        _ => Ok(()),
    }
}

fn check_condition(now: &Declared, step: &Step, strict: bool) -> Result<(), Problem> {
    let is = now.revisions.get(&step.label).copied();
    let label = &step.label;
    let holds = match &step.condition {
        Condition::Always if strict && is.is_some() => return Err(required(label)),
        Condition::Always => true,
        Condition::Exists => is.is_some(),
        Condition::Absent => is.is_none(),
        Condition::Revision(wanted) => wanted.contains(&is.unwrap_or(0)),
    };
    match (holds, is) {
        (true, _) => Ok(()),
        (false, Some(revision)) => {
            Err(precondition_failed(format!("{label} was last changed by revision {revision}")))
        }
        (false, None) => Err(precondition_failed(format!("there is no {label}"))),
    }
}

fn check_store(now: &Declared, edit: &Edit, strict: bool) -> Result<(), Problem> {
    match &edit.condition {
        Condition::Always if strict && edit.replace && now.revision > 0 => Err(required("all intents")),
        Condition::Revision(wanted) if !wanted.contains(&now.revision) => {
            Err(precondition_failed(format!("the latest revision is {}", now.revision)))
        }
        Condition::Absent => Err(precondition_failed(format!("the latest revision is {}", now.revision))),
        _ => Ok(()),
    }
}

fn required(what: impl std::fmt::Display) -> Problem {
    let detail = format!("{what} exists: say in If-Match which state of it you mean to change");
    Problem::new(428, "precondition-required", "A condition is required").with_detail(detail)
}

/// Something is not as the condition wants it.
pub fn precondition_failed(why: impl std::fmt::Display) -> Problem {
    Problem::new(412, "precondition-failed", "It has changed meanwhile").with_detail(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use controller::{Config, Controller, Key};
    use controller_api::Network;

    fn network(name: &str, vlan: u16) -> Resource {
        let name = name.to_owned();
        Resource::Network(Network { name, vlan, ports: vec![], trunks: vec![], hosts: vec![] })
    }

    fn put(resource: Resource, condition: Condition) -> Step {
        Step { label: resource.label(), to: Some(resource), condition, pointer: "/x".into() }
    }

    fn edit(steps: Vec<Step>) -> Edit {
        Edit { steps, replace: false, condition: Condition::Always }
    }

    /// What is declared afterwards, and how many changes that took.
    fn written(now: &Declared, edit: Edit, strict: bool) -> Result<(Declared, usize), Problem> {
        let mut core = Controller::new(Config::new(Key(1, 2)));
        core.set_intent(packet::Instant::ZERO, convert::intent_of(&now.intents).unwrap()).unwrap();
        let prepared = prepare(now, edit, strict, |edits| core.check(edits))?;
        let mut after = now.clone();
        after.apply(prepared.revision, &prepared.changes);
        Ok((after, prepared.changes.len()))
    }

    fn status(now: &Declared, step: Step, strict: bool) -> u16 {
        written(now, edit(vec![step]), strict).map_or_else(|problem| problem.status, |_| 200)
    }

    #[test]
    fn conditions_are_kept_and_wanted_only_where_asked() {
        let none = Declared::default();
        let (now, _) = written(&none, edit(vec![put(network("blue", 10), Condition::Absent)]), true).unwrap();
        assert_eq!((now.revision, now.revisions.values().copied().collect::<Vec<_>>()), (1, vec![1]));
        for (condition, strict, expected) in [
            (Condition::Always, false, 200),
            (Condition::Always, true, 428),
            (Condition::Exists, true, 200),
            (Condition::Absent, false, 412),
            (Condition::Revision(vec![7, 1]), true, 200),
            (Condition::Revision(vec![2]), false, 412),
        ] {
            assert_eq!(
                status(&now, put(network("blue", 20), condition.clone()), strict),
                expected,
                "{condition:?}"
            );
        }
        assert_eq!(status(&now, put(network("red", 20), Condition::Exists), false), 412);
        assert_eq!(status(&now, put(network("red", 20), Condition::Revision(vec![0])), true), 200);
        assert_eq!(status(&now, put(network("-", 20), Condition::Always), false), 422);
        let gone = Step {
            label: network("red", 1).label(),
            to: None,
            condition: Condition::Always,
            pointer: String::new(),
        };
        assert_eq!(status(&now, gone, false), 404);
    }

    #[test]
    fn the_same_again_is_no_revision_and_a_part_that_is_wrong_stops_all() {
        let none = Declared::default();
        let both =
            vec![put(network("blue", 10), Condition::Always), put(network("red", 20), Condition::Always)];
        let (now, n_changes) = written(&none, edit(both.clone()), false).unwrap();
        assert_eq!((n_changes, now.revision), (2, 1));
        let (again, n_changes) = written(&now, edit(both), false).unwrap();
        assert_eq!((n_changes, again.revision), (0, 1));
        let clash =
            vec![put(network("green", 30), Condition::Always), put(network("grey", 20), Condition::Always)];
        let problem = written(&now, edit(clash), false).unwrap_err();
        assert_eq!(problem.status, 409, "{problem}: red comes behind grey");
        let wrong = vec![put(network("a", 30), Condition::Always), put(network("b", 30), Condition::Always)];
        let problem = written(&now, edit(wrong), false).unwrap_err();
        assert_eq!((problem.status, problem.pointer.as_deref()), (422, Some("/x/vlan")));
        let all = Edit {
            steps: vec![put(network("red", 20), Condition::Always)],
            replace: true,
            condition: Condition::Always,
        };
        let (left, _) = written(&now, all, false).unwrap();
        assert_eq!(left.intents.labels().map(|l| l.to_string()).collect::<Vec<_>>(), ["network/red"]);
        assert_eq!(left.revisions.len(), 1);
    }
}
