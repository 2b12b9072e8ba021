//! Chains, resolved: their ends, and the ports of their functions.

use std::collections::BTreeSet;
use std::sync::Arc;

use packet::VlanId;

use super::places::Place;
use super::{Resolver, Touched};
use crate::blueprint::Issue;
use crate::intent::{Chain, Intent, Kind, Label, PortName};
use crate::view::At;

/// A chain, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The intent it serves: `chain/web`.
    pub label: String,
    /// The lane of its ends.
    pub lane: VlanId,
    /// Ports of hosts where it begins.
    pub from: BTreeSet<At>,
    /// Ports of hosts where it ends.
    pub to: BTreeSet<At>,
    /// In and out port of each function in order. None: not all are there, so the traffic must wait.
    pub functions: Option<Vec<(At, At)>>,
    /// Also on the way back.
    pub symmetric: bool,
}

impl Resolver {
    /// Resolves a chain once more.
    pub(super) fn chain(&mut self, intent: &Intent, name: Arc<str>, touched: &mut Touched) {
        let label = Label::new(Kind::Chain, &name).to_string();
        let mut issues = Vec::new();
        let chain = intent.chains.get(&*name);
        let path = chain.and_then(|chain| self.path(intent, label, chain, &mut issues));
        let before = self.chain_issues.remove(&name).unwrap_or_default();
        before.iter().for_each(|issue| self.lanes.issues.remove(issue));
        issues.iter().for_each(|issue| self.lanes.issues.add(issue.clone()));
        if !issues.is_empty() {
            self.chain_issues.insert(name.clone(), issues);
        }
        if self.lanes.paths.get(&*name) == path.as_ref() {
            return;
        }
        let before = match path {
            Some(path) => {
                touched.chained.insert(path.lane);
                self.lanes.paths.insert(name.to_string(), path)
            }
            None => self.lanes.paths.remove(&*name),
        };
        touched.chained.extend(before.map(|before| before.lane));
        touched.chains.insert(name.to_string());
    }

    fn path(&self, intent: &Intent, label: String, chain: &Chain, issues: &mut Vec<Issue>) -> Option<Path> {
        let ends = |names: &BTreeSet<PortName>| -> BTreeSet<At> {
            let there = names.iter().filter_map(|name| self.names.at(name));
            there.filter(|at| self.is_edge(*at)).collect()
        };
        let (from, to) = (ends(&chain.from), ends(&chain.to));
        if from.is_empty() || to.is_empty() {
            return None;
        }
        let mut functions = Some(Vec::new());
        for name in &chain.functions {
            let function = intent.functions.get(name)?;
            let port = |port: &PortName| {
                let at = self.names.at(port)?;
                (self.lanes.functions.get(&at).is_some_and(|owner| **owner == **name)).then_some(at)
            };
            match (port(&function.ingress), port(&function.egress), &mut functions) {
                (Some(ingress), Some(egress), Some(functions)) => functions.push((ingress, egress)),
                _ => functions = None,
            }
        }
        let lanes = |at: &At| self.places.get(at).map(Place::lanes).unwrap_or_default();
        let common = from.iter().chain(&to).map(lanes).reduce(|mut all, own| {
            all.retain(|vlan, _| own.contains_key(vlan));
            all
        });
        let Some(lane) = common.and_then(|common| common.keys().next().copied()) else {
            let reason = "its ends are not in one network (yet)".to_owned();
            issues.push(Issue::new(label, reason));
            return None;
        };
        Some(Path { label, lane, from, to, functions, symmetric: chain.symmetric })
    }
}
