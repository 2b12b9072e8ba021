//! Policies, resolved: which ports they are about, and where their traffic must wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use packet::VlanId;

use super::names::Claim;
use super::places::{Place, default_lane};
use super::{Resolver, Touched};
use crate::blueprint::Issue;
use crate::intent::{Intent, Judgement, Kind, Label, Policy, PortName, Traffic};
use crate::view::At;

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
        let rule = policy.and_then(|policy| self.resolved(intent, name, policy, &mut issues));
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

    fn resolved(
        &self,
        intent: &Intent,
        name: &Arc<str>,
        policy: &Policy,
        issues: &mut Vec<Issue>,
    ) -> Option<Rule> {
        let label = Label { kind: Kind::Policy, name: name.clone() }.to_string();
        let (from, to) = (self.ends(&policy.from), self.ends(&policy.to));
        if policy.stateful {
            let reason = match self.router_between(intent, from.as_ref(), to.as_ref()) {
                None => "no weft router is on the path between its ends, and flows keep no state".to_owned(),
                Some(router) => format!(
                    "flows keep no state, and policies are not placed on routers yet: write the rule into the \
                     `firewall` of router {router:?}"
                ),
            };
            issues.push(Issue { refused: true, ..Issue::new(label, reason) });
            return None;
        }
        let (priority, judgement, traffic) = (policy.priority, policy.judgement, policy.traffic.clone());
        let is_absent = |name: &&PortName| {
            self.names.at(name).and_then(|at| to.as_ref()?.get(&at)).is_none_or(BTreeSet::is_empty)
        };
        let awaited =
            policy.to.iter().filter(is_absent).flat_map(|name| self.declared_lanes(intent, name)).collect();
        Some(Rule { label, priority, judgement, from, to, traffic, awaited })
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

    /// A router that joins a network of the one side to one of the other.
    fn router_between<'a>(
        &self,
        intent: &'a Intent,
        from: Option<&Ends>,
        to: Option<&Ends>,
    ) -> Option<&'a str> {
        let lane = |attachment: &crate::intent::Attachment| match &attachment.network {
            Some(network) => self.networks.get(&**network).copied(),
            None => attachment.vlan.or_else(|| self.places.get(&self.names.at(&attachment.port)?)?.access),
        };
        let among = |ends: Option<&Ends>, lane: &VlanId| {
            ends.is_none_or(|ends| ends.values().any(|own| own.contains(lane)))
        };
        let joins = |attachments: &Vec<crate::intent::Attachment>| {
            let lanes: BTreeSet<VlanId> = attachments.iter().filter_map(lane).collect();
            lanes.iter().any(|a| among(from, a) && lanes.iter().any(|b| a != b && among(to, b)))
        };
        intent.routers.iter().find(|(_, attachments)| joins(attachments)).map(|(name, _)| &**name)
    }
}
