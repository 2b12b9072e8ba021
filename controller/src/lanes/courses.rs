//! Ways that an operator lays out, resolved: which switches and ports their names stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openflow::Dpid;
use packet::VlanId;

use super::places::Place;
use super::{Resolver, Touched};
use crate::blueprint::Issue;
use crate::intent::{Intent, Kind, Label, Route};
use crate::view::{At, View};

/// A way, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The intent it serves: `path/gold`.
    pub label: String,
    /// The lane of its ends.
    pub lane: VlanId,
    /// Where it begins.
    pub from: At,
    /// Where it ends.
    pub to: At,
    /// Switches that it passes, in order. None: one of them is not there.
    pub via: Option<Vec<Dpid>>,
    /// Switches that it does not pass.
    pub avoid: BTreeSet<Dpid>,
    /// Ports of links that it does not take.
    pub avoid_links: BTreeSet<At>,
    /// A second way stands by.
    pub backup: bool,
    /// What returns takes it, too.
    pub symmetric: bool,
    /// Without such a way nothing passes.
    pub strict: bool,
}

/// What is known of ways beside what they resolve to.
#[derive(Debug, Default)]
pub(super) struct Courses {
    /// Those that end or begin at a port.
    at: BTreeMap<At, BTreeSet<Arc<str>>>,
    /// Those that lead from a port to another; the first does.
    headings: BTreeMap<(At, At), BTreeSet<Arc<str>>>,
    issues: BTreeMap<Arc<str>, Vec<Issue>>,
}

impl Courses {
    /// The ways of a port.
    pub fn at(&self, at: At) -> impl Iterator<Item = &Arc<str>> + '_ {
        self.at.get(&at).into_iter().flatten()
    }
}

impl Resolver {
    /// Resolves ways once more, and those that join the same ports.
    pub(super) fn courses(
        &mut self,
        intent: &Intent,
        view: &View,
        names: BTreeSet<Arc<str>>,
        touched: &mut Touched,
    ) {
        let mut open = names;
        for name in open.clone() {
            let now = intent.paths.get(&*name).map(|route| self.headings(route)).unwrap_or_default();
            let named = self.courses.headings.iter().filter(|(_, own)| own.contains(&name));
            let had: Vec<(At, At)> = named.map(|(ends, _)| *ends).collect();
            for ends in had.into_iter().filter(|ends| !now.contains(ends)) {
                open.extend(self.courses.headings.get(&ends).into_iter().flatten().cloned());
                super::take(&mut self.courses.headings, &ends, &name);
            }
            for ends in now {
                let own = self.courses.headings.entry(ends).or_default();
                if own.insert(name.clone()) {
                    open.extend(own.iter().cloned());
                }
            }
        }
        for name in open {
            self.course(intent, view, &name, touched);
        }
    }

    /// The directions of a way whose ends are there.
    fn headings(&self, route: &Route) -> BTreeSet<(At, At)> {
        let end = |name| self.names.at(name).filter(|at| self.is_edge(*at));
        let (Some(from), Some(to)) = (end(&route.from), end(&route.to)) else { return BTreeSet::new() };
        [(from, to)].into_iter().chain(route.symmetric.then_some((to, from))).collect()
    }

    fn course(&mut self, intent: &Intent, view: &View, name: &Arc<str>, touched: &mut Touched) {
        let mut issues = Vec::new();
        let label = Label { kind: Kind::Path, name: name.clone() }.to_string();
        let route = intent.paths.get(&**name);
        let other = route.and_then(|route| {
            let all = self.headings(route).into_iter();
            let firsts = all.filter_map(|ends| self.courses.headings.get(&ends)?.first());
            firsts.into_iter().find(|first| *first != name).cloned()
        });
        let course = match (route, other) {
            // Two spellings of one port get past the check of the intents.
            (_, Some(other)) => {
                let reason = format!("path {other:?} leads from one of these ends to the other already");
                issues.push(Issue { refused: true, ..Issue::new(label, reason) });
                None
            }
            (route, None) => route.and_then(|route| self.laid_out(view, label, route, &mut issues)),
        };
        let before = self.courses.issues.remove(name).unwrap_or_default();
        before.iter().for_each(|issue| self.lanes.issues.remove(issue));
        issues.iter().for_each(|issue| self.lanes.issues.add(issue.clone()));
        if !issues.is_empty() {
            self.courses.issues.insert(name.clone(), issues);
        }
        if self.lanes.courses.get(&**name) == course.as_ref() {
            return;
        }
        if let Some(before) = self.lanes.courses.remove(&**name) {
            for at in [before.from, before.to] {
                super::take(&mut self.courses.at, &at, name);
            }
        }
        if let Some(course) = course {
            for at in [course.from, course.to] {
                self.courses.at.entry(at).or_default().insert(name.clone());
            }
            self.lanes.courses.insert(name.to_string(), course);
        }
        touched.courses.insert(name.to_string());
    }

    fn laid_out(&self, view: &View, label: String, route: &Route, issues: &mut Vec<Issue>) -> Option<Course> {
        let end = |name| self.names.at(name).filter(|at| self.is_edge(*at));
        let (from, to) = (end(&route.from)?, end(&route.to)?);
        if from == to {
            issues.push(Issue { refused: true, ..Issue::new(label, "both its ends are one port") });
            return None;
        }
        let lanes = |at| self.places.get(&at).map(Place::lanes).unwrap_or_default();
        let others = lanes(to);
        let Some(lane) = lanes(from).into_keys().find(|lane| others.contains_key(lane)) else {
            issues.push(Issue::new(label, "its ends are not in one network (yet)"));
            return None;
        };
        let mut find = |name: &String| {
            let dpid = view.find_switch(name);
            if dpid.is_none() {
                issues.push(Issue::new(label.clone(), format!("waiting for switch {name}")));
            }
            dpid
        };
        let via: Vec<Option<Dpid>> = route.via.iter().map(&mut find).collect();
        // Who is not there is avoided already.
        let avoid = route.avoid.iter().filter_map(|name| view.find_switch(name)).collect();
        let avoid_links = route.avoid_links.iter().filter_map(|name| view.find_port(name)).collect();
        let Route { backup, symmetric, strict, .. } = *route;
        let via = via.into_iter().collect();
        Some(Course { label, lane, from, to, via, avoid, avoid_links, backup, symmetric, strict })
    }
}
