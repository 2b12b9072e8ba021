//! Policies, resolved: which ports they are about, where their traffic must wait, and which routers keep the state of those
//! that need one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use packet::VlanId;

use super::names::Claim;
use super::places::{Place, default_lane};
use super::{Lanes, Resolver, Touched};
use crate::blueprint::Issue;
use crate::intent::{Intent, Judgement, Kind, Label, Policy, PortName, Traffic};
use crate::view::At;

/// Why a policy that keeps state is refused.
const NO_ROUTER: &str = "no weft router is on the path between its ends";

/// Ports of hosts, and the lanes each is in.
pub type Ends = BTreeMap<At, BTreeSet<VlanId>>;

/// Where traffic to unknown addresses must wait: in a lane, at one port or at all.
pub type Hold = (VlanId, Option<At>);

/// A policy, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The intent it serves: `policy/web`.
    pub label: String,
    /// Its place among policies.
    pub priority: u16,
    /// What happens to what matches.
    pub judgement: Judgement,
    /// Where it comes from. None: anywhere.
    pub from: Option<Ends>,
    /// Where it goes to. None: anywhere.
    pub to: Option<Ends>,
    /// Only this.
    pub traffic: Traffic,
    /// Where ports will be to which it goes, and which are not there (any more): a switch that the controller does not know
    /// yet forwards as it was told before.
    pub awaited: BTreeSet<VlanId>,
}

impl Rule {
    /// Every port that it names.
    fn ports(&self) -> impl Iterator<Item = At> + '_ {
        self.from.iter().chain(&self.to).flat_map(BTreeMap::keys).copied()
    }

    /// What is refused to some may not be flooded to them: who is behind an address must be known first.
    fn holds(&self) -> BTreeSet<Hold> {
        let Some(to) = self.to.as_ref().filter(|_| self.judgement != Judgement::Allow) else {
            return BTreeSet::new();
        };
        let lanes: BTreeSet<VlanId> = to.values().flatten().chain(&self.awaited).copied().collect();
        match &self.from {
            None => lanes.into_iter().map(|lane| (lane, None)).collect(),
            Some(from) => from
                .iter()
                .flat_map(|(at, own)| own.intersection(&lanes).map(|lane| (*lane, Some(*at))))
                .collect(),
        }
    }

    /// Whether it is for all members of this lane.
    pub(crate) fn spreads_over(&self, lane: VlanId) -> bool {
        [&self.from, &self.to].into_iter().flatten().any(|ends| ends.values().any(|own| own.contains(&lane)))
    }
}

/// A policy that keeps state: no flow serves it, routers on all ways between its ends do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The intent it serves: `policy/web`.
    pub label: String,
    /// Its place among policies.
    pub priority: u16,
    /// What happens to what matches.
    pub judgement: Judgement,
    /// Where it comes from.
    pub from: Ends,
    /// Where it goes to.
    pub to: Ends,
    /// Only this.
    pub traffic: Traffic,
    /// Names of routers.
    pub routers: BTreeSet<String>,
}

/// What a router is to do about packets between hosts, for a policy that keeps state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The intent it serves: `policy/web`.
    pub label: String,
    /// What happens to connections that begin so.
    pub judgement: Judgement,
    /// Addresses they come from.
    pub from: BTreeSet<IpAddr>,
    /// Addresses they go to.
    pub to: BTreeSet<IpAddr>,
    /// Only this.
    pub traffic: Traffic,
}

/// What is known of policies beside what they resolve to.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Those that name a port.
    at: BTreeMap<At, BTreeSet<Arc<str>>>,
    issues: BTreeMap<Arc<str>, Vec<Issue>>,
    /// Those that depend on which routers there are.
    pub stateful: BTreeSet<Arc<str>>,
}

impl Rules {
    /// The policies that name a port.
    pub fn at(&self, at: At) -> impl Iterator<Item = &Arc<str>> + '_ {
        self.at.get(&at).into_iter().flatten()
    }
}

impl Resolver {
    /// Resolves a policy once more.
    pub(super) fn rule(&mut self, intent: &Intent, name: &Arc<str>, touched: &mut Touched) {
        let mut issues = Vec::new();
        let policy = intent.policies.get(&**name);
        match policy.is_some_and(|policy| policy.stateful) {
            true => drop(self.rules.stateful.insert(name.clone())),
            false => drop(self.rules.stateful.remove(name)),
        }
        let placed = policy.filter(|policy| policy.stateful);
        match placed.and_then(|policy| self.placed(intent, name, policy, &mut issues)) {
            Some(placed) => drop(self.lanes.placed.insert(name.to_string(), placed)),
            None => drop(self.lanes.placed.remove(&**name)),
        }
        let rule = policy.filter(|policy| !policy.stateful).map(|policy| self.resolved(intent, name, policy));
        let before = self.rules.issues.remove(name).unwrap_or_default();
        before.iter().for_each(|issue| self.lanes.issues.remove(issue));
        issues.iter().for_each(|issue| self.lanes.issues.add(issue.clone()));
        if !issues.is_empty() {
            self.rules.issues.insert(name.clone(), issues);
        }
        if self.lanes.rules.get(&**name) == rule.as_ref() {
            return;
        }
        if let Some(before) = self.lanes.rules.remove(&**name) {
            before.ports().for_each(|at| super::take(&mut self.rules.at, &at, name));
            for hold in before.holds() {
                super::take(&mut self.lanes.holds, &hold, name);
                touched.holds.insert(hold);
            }
        }
        if let Some(rule) = rule {
            for at in rule.ports() {
                self.rules.at.entry(at).or_default().insert(name.clone());
            }
            for hold in rule.holds() {
                self.lanes.holds.entry(hold).or_default().insert(name.clone());
                touched.holds.insert(hold);
            }
            self.lanes.rules.insert(name.to_string(), rule);
        }
        touched.rules.insert(name.to_string());
    }

    fn resolved(&self, intent: &Intent, name: &Arc<str>, policy: &Policy) -> Rule {
        let label = Label { kind: Kind::Policy, name: name.clone() }.to_string();
        let (from, to) = (self.ends(&policy.from), self.ends(&policy.to));
        let (priority, judgement, traffic) = (policy.priority, policy.judgement, policy.traffic.clone());
        let is_absent = |name: &&PortName| {
            self.names.at(name).and_then(|at| to.as_ref()?.get(&at)).is_none_or(BTreeSet::is_empty)
        };
        let awaited =
            policy.to.iter().filter(is_absent).flat_map(|name| self.declared_lanes(intent, name)).collect();
        Rule { label, priority, judgement, from, to, traffic, awaited }
    }

    /// The lanes that a port will be in, as far as intents say so.
    fn declared_lanes(&self, intent: &Intent, name: &PortName) -> BTreeSet<VlanId> {
        let lane = |claim: &Claim| match claim {
            Claim::Access(network) | Claim::Trunk(network) => self.networks.get(network).copied(),
            Claim::Attach(router, idx) => {
                let attachment = intent.routers.get(&**router)?.get(*idx)?;
                match &attachment.network {
                    Some(network) => self.networks.get(&**network).copied(),
                    None => attachment.vlan,
                }
            }
            _ => None,
        };
        let mut lanes: BTreeSet<VlanId> = self.names.claims_by(name).filter_map(lane).collect();
        if lanes.is_empty() {
            lanes.insert(default_lane());
        }
        lanes
    }

    /// The ports of these names that are there. None: any.
    fn ends(&self, names: &BTreeSet<PortName>) -> Option<Ends> {
        let there = names.iter().filter_map(|name| self.names.at(name)).filter(|at| self.is_edge(*at));
        let lanes = |at| self.places.get(&at).map(Place::lanes).unwrap_or_default().into_keys().collect();
        (!names.is_empty()).then(|| there.map(|at| (at, lanes(at))).collect())
    }

    /// A policy that keeps state, where weft routers are on all ways between its ends. Else why not.
    fn placed(
        &self,
        intent: &Intent,
        name: &Arc<str>,
        policy: &Policy,
        issues: &mut Vec<Issue>,
    ) -> Option<Placed> {
        let label = Label { kind: Kind::Policy, name: name.clone() }.to_string();
        let mut refuse = |reason: String| {
            issues.push(Issue { refused: true, ..Issue::new(label.clone(), reason) });
            None
        };
        let (Some(from), Some(to)) = (self.ends(&policy.from), self.ends(&policy.to)) else {
            return refuse(format!(
                "{NO_ROUTER}: what stays within a network passes none, so such a policy names both its ends"
            ));
        };
        let lanes = |ends: &Ends| -> BTreeSet<VlanId> { ends.values().flatten().copied().collect() };
        let mut routers = BTreeSet::new();
        for (a, b) in lanes(&from).iter().flat_map(|a| lanes(&to).into_iter().map(move |b| (*a, b))) {
            let joining = if a == b { BTreeSet::new() } else { self.routers_between(intent, a, b) };
            if joining.is_empty() {
                let [a, b] = [a, b].map(|lane| self.owners.get(&lane).map_or("no network", |name| &**name));
                return refuse(format!("{NO_ROUTER} (from {a} to {b}), and flows keep no state"));
            }
            routers.extend(joining);
        }
        if routers.is_empty() {
            issues.push(Issue::new(label.clone(), "one of its ends is not there yet".to_owned()));
        }
        let (priority, judgement, traffic) = (policy.priority, policy.judgement, policy.traffic.clone());
        Some(Placed { label, priority, judgement, from, to, traffic, routers })
    }

    /// The routers that join two lanes.
    fn routers_between(&self, intent: &Intent, a: VlanId, b: VlanId) -> BTreeSet<String> {
        let lane = |attachment: &crate::intent::Attachment| match &attachment.network {
            Some(network) => self.networks.get(&**network).copied(),
            None => attachment.vlan.or_else(|| self.places.get(&self.names.at(&attachment.port)?)?.access),
        };
        let joins = |attachments: &Vec<crate::intent::Attachment>| {
            let has = |wanted: VlanId| attachments.iter().any(|attachment| lane(attachment) == Some(wanted));
            has(a) && has(b)
        };
        let joining = intent.routers.iter().filter(|(_, attachments)| joins(attachments));
        joining.map(|(name, _)| name.clone()).collect()
    }
}

impl Lanes {
    /// What a router is to do for policies that keep state: the first that matches decides.
    pub fn guards(&self, router: &str) -> Vec<Guard> {
        let mut placed: Vec<&Placed> =
            self.placed.values().filter(|placed| placed.routers.contains(router)).collect();
        placed.sort_by_key(|placed| std::cmp::Reverse(placed.priority));
        let guard = |placed: &Placed| Guard {
            label: placed.label.clone(),
            judgement: placed.judgement,
            from: placed.from.keys().flat_map(|at| self.addresses_at(*at)).collect(),
            to: placed.to.keys().flat_map(|at| self.addresses_at(*at)).collect(),
            traffic: placed.traffic.clone(),
        };
        placed.into_iter().map(guard).collect()
    }

    /// Ends of a policy that keeps state where nobody is known by an address: no router can tell them.
    pub fn nameless_ends(&self, policy: &str) -> Vec<At> {
        let placed = self.placed.get(policy).into_iter();
        let ends = placed.flat_map(|placed| placed.from.keys().chain(placed.to.keys())).copied();
        ends.filter(|at| self.addresses_at(*at).next().is_none()).collect()
    }

    fn addresses_at(&self, at: At) -> impl Iterator<Item = IpAddr> + '_ {
        let keys = self.hosts_at.get(&at).into_iter().flatten();
        keys.filter_map(|key| self.hosts.get(key)).flat_map(|host| host.addresses.iter().copied())
    }
}
