//! Mirrors, resolved: the frames of which ports are copied, and where the copies leave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Resolver, Touched};
use crate::blueprint::Issue;
use crate::intent::{Intent, Kind, Label, Mirror, PortName};
use crate::view::At;

/// A mirror, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// The intent it serves: `mirror/tap`.
    pub label: String,
    /// Ports of hosts whose frames are copied.
    pub from: BTreeSet<At>,
    /// What hosts there send.
    pub sent: bool,
    /// What hosts there receive.
    pub received: bool,
    /// Where the copies leave.
    pub to: At,
}

/// What could not be resolved of mirrors.
pub(super) type MirrorIssues = BTreeMap<Arc<str>, Vec<Issue>>;

impl Resolver {
    /// Resolves a mirror once more.
    pub(super) fn mirror(&mut self, intent: &Intent, name: &Arc<str>, touched: &mut Touched) {
        let mut issues = Vec::new();
        let mirror = intent.mirrors.get(&**name);
        let now = mirror.and_then(|mirror| self.copies(name, mirror, &mut issues));
        let before = self.mirror_issues.remove(name).unwrap_or_default();
        before.iter().for_each(|issue| self.lanes.issues.remove(issue));
        issues.iter().for_each(|issue| self.lanes.issues.add(issue.clone()));
        if !issues.is_empty() {
            self.mirror_issues.insert(name.clone(), issues);
        }
        if self.lanes.mirrors.get(&**name) == now.as_ref() {
            return;
        }
        if let Some(before) = self.lanes.mirrors.remove(&**name) {
            for at in before.from {
                super::take(&mut self.lanes.mirrored, &at, name);
                touched.mirrored.insert(at);
            }
        }
        if let Some(now) = now {
            for &at in &now.from {
                self.lanes.mirrored.entry(at).or_default().insert(name.clone());
                touched.mirrored.insert(at);
            }
            self.lanes.mirrors.insert(name.to_string(), now);
        }
        touched.mirrors.insert(name.to_string());
    }

    fn copies(&self, name: &Arc<str>, mirror: &Mirror, issues: &mut Vec<Issue>) -> Option<Copies> {
        let label = Label { kind: Kind::Mirror, name: name.clone() }.to_string();
        let to = self.names.at(&mirror.to).filter(|at| self.is_outlet(*at))?;
        let mut mirrored = |port: &PortName| {
            let at = self.names.at(port)?;
            if self.is_outlet(at) {
                let reason = format!("{port} is where copies leave, so it cannot be mirrored");
                issues.push(Issue::new(label.clone(), reason));
            }
            Some(at).filter(|at| self.is_edge(*at))
        };
        let from = mirror.ports.iter().filter_map(&mut mirrored).collect();
        Some(Copies { label, from, sent: mirror.sent, received: mirror.received, to })
    }

    /// Whether copies leave there.
    fn is_outlet(&self, at: At) -> bool {
        self.places.get(&at).is_some_and(|place| place.is_outlet)
    }
}
