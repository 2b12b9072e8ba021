//! Rates and queues, resolved: what counts for a port, and what for a lane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use packet::VlanId;

use super::{Resolver, Touched};
use crate::blueprint::Issue;
use crate::intent::{Intent, Kind, Label, PortName, tenant};
use crate::meters::MeterBody;
use crate::view::At;

/// Rate and queue of some ports and lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The intent it serves: `qos/gold`, or `tenant/acme`.
    pub label: String,
    /// Ports, each limited by itself.
    pub ports: BTreeSet<At>,
    /// Lanes, each limited on each switch by itself.
    pub lanes: BTreeSet<VlanId>,
    /// Lanes that are limited together, on each switch by itself.
    pub together: BTreeSet<VlanId>,
    /// How much.
    pub rate: Option<MeterBody>,
    /// By which queue.
    pub queue: Option<u32>,
}

impl Limit {
    /// Whether it limits what is sent in a lane.
    pub(crate) fn is_about(&self, lane: VlanId) -> bool {
        self.lanes.contains(&lane) || self.together.contains(&lane)
    }
}

/// What is known of limits beside what they resolve to.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// Those that name a port; the first has it.
    at: BTreeMap<At, BTreeSet<Arc<str>>>,
    issues: BTreeMap<Arc<str>, Vec<Issue>>,
}

impl Resolver {
    /// Resolves rates and queues once more, and those that name the same ports.
    pub(super) fn limit(&mut self, intent: &Intent, names: BTreeSet<Arc<str>>, touched: &mut Touched) {
        let mut open = names;
        // Whom a port belongs to has to be known before anything else.
        for name in open.clone() {
            let now: BTreeSet<At> = self.limited_ports(intent, &name).into_keys().collect();
            let named = self.limits.at.iter().filter(|(_, own)| own.contains(&name));
            let had: Vec<At> = named.map(|(at, _)| *at).collect();
            for at in had.into_iter().filter(|at| !now.contains(at)) {
                open.extend(self.limits.at.get(&at).into_iter().flatten().cloned());
                super::take(&mut self.limits.at, &at, &name);
            }
            for at in now {
                let own = self.limits.at.entry(at).or_default();
                if own.insert(name.clone()) {
                    open.extend(own.iter().cloned());
                }
            }
        }
        for name in open {
            self.limit_one(intent, &name, touched);
        }
    }

    /// The ports that are there, each with the first of its names.
    fn limited_ports<'a>(&self, intent: &'a Intent, name: &Arc<str>) -> BTreeMap<At, &'a PortName> {
        let ports = intent.qos.get(&**name).into_iter().flat_map(|qos| &qos.ports);
        let there = ports.rev().filter_map(|port| Some((self.names.at(port)?, port)));
        there.filter(|(at, _)| self.is_edge(*at)).collect()
    }

    fn limit_one(&mut self, intent: &Intent, name: &Arc<str>, touched: &mut Touched) {
        let mut issues = Vec::new();
        let limit = intent.qos.get(&**name).map(|qos| {
            let label = Label { kind: Kind::Qos, name: name.clone() }.to_string();
            let mut ports = self.limited_ports(intent, name);
            ports.retain(|at, port| {
                let first = self.limits.at.get(at).and_then(BTreeSet::first);
                let other = first.filter(|first| *first != name);
                if let Some(other) = other {
                    let reason = format!("{port} already belongs to qos {other:?}");
                    issues.push(Issue { refused: true, ..Issue::new(label.clone(), reason) });
                }
                other.is_none()
            });
            let networks = qos.networks.iter();
            let lanes = networks.filter_map(|network| self.networks.get(&**network).copied()).collect();
            let ports = ports.into_keys().collect();
            let rate = qos.rate.map(|rate| MeterBody { rate, burst: qos.burst });
            Limit { label, ports, lanes, together: BTreeSet::new(), rate, queue: qos.queue }
        });
        let before = self.limits.issues.remove(name).unwrap_or_default();
        before.iter().for_each(|issue| self.lanes.issues.remove(issue));
        issues.iter().for_each(|issue| self.lanes.issues.add(issue.clone()));
        if !issues.is_empty() {
            self.limits.issues.insert(name.clone(), issues);
        }
        self.set_limit(Label { kind: Kind::Qos, name: name.clone() }, limit, touched);
    }

    /// Resolves the rate of a tenant once more: of all its networks but those of tenants within it that have rates themselves.
    pub(super) fn limit_tenant(&mut self, intent: &Intent, name: &Arc<str>, touched: &mut Touched) {
        let label = Label { kind: Kind::Tenant, name: name.clone() };
        let limit = intent.tenants.get(&**name).and_then(|tenant| {
            let rate = MeterBody { rate: tenant.rate?, burst: tenant.burst };
            let own = |network: &str| tenant::limited_by(network, intent) == Some(&**name);
            let networks = intent.networks.range(format!("{name}-")..);
            let networks = networks.take_while(|(network, _)| network.starts_with(&**name));
            let networks = networks.filter(|(network, _)| own(network));
            let together =
                networks.filter_map(|(network, _)| self.networks.get(&**network).copied()).collect();
            let (ports, lanes) = Default::default();
            Some(Limit { label: label.to_string(), ports, lanes, together, rate: Some(rate), queue: None })
        });
        self.set_limit(label, limit, touched);
    }

    fn set_limit(&mut self, label: Label, limit: Option<Limit>, touched: &mut Touched) {
        let label = label.to_string();
        if self.lanes.limits.get(&label) == limit.as_ref() {
            return;
        }
        match limit {
            Some(limit) => drop(self.lanes.limits.insert(label.clone(), limit)),
            None => drop(self.lanes.limits.remove(&label)),
        }
        touched.limits.insert(label);
    }
}
