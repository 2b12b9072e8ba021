//! Virtual addresses, resolved: their lane, and the ports of those who serve.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use packet::{MacAddr, VlanId};

use super::names::Claim;
use super::places::Place;
use super::{Resolver, Touched};
use crate::blueprint::Issue;
use crate::intent::{Balancer, Intent, Judgement, Kind, Label, Service};
use crate::layout;
use crate::view::{At, View};

/// A virtual address, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The intent it serves: `balancer/web`.
    pub label: String,
    /// Its lane.
    pub lane: VlanId,
    /// The address.
    pub address: Ipv4Addr,
    /// What is served there.
    pub services: Vec<Service>,
    /// Those who may serve: their ports are there and up.
    pub members: Vec<Serving>,
}

impl Balance {
    /// The MAC address that stands for it.
    pub fn mac(&self) -> MacAddr {
        layout::virtual_mac(self.lane, self.address)
    }
}

/// One that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Its port.
    pub at: At,
    /// Its frames are tagged there.
    pub tagged: bool,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its share.
    pub weight: u16,
}

/// What is known of virtual addresses beside what they resolve to.
#[derive(Debug, Default)]
pub(super) struct Balances {
    /// Those with a member at a port.
    at: BTreeMap<At, BTreeSet<Arc<str>>>,
    issues: BTreeMap<Arc<str>, Vec<Issue>>,
}

impl Balances {
    /// The virtual addresses with a member at a port.
    pub fn at(&self, at: At) -> impl Iterator<Item = &Arc<str>> + '_ {
        self.at.get(&at).into_iter().flatten()
    }
}

impl Resolver {
    /// Resolves a virtual address once more.
    pub(super) fn balance(&mut self, intent: &Intent, view: &View, name: &Arc<str>, touched: &mut Touched) {
        let mut issues = Vec::new();
        let balancer = intent.balancers.get(&**name);
        let now = balancer.and_then(|balancer| self.balanced(intent, view, (name, balancer), &mut issues));
        let before = self.balances.issues.remove(name).unwrap_or_default();
        before.iter().for_each(|issue| self.lanes.issues.remove(issue));
        issues.iter().for_each(|issue| self.lanes.issues.add(issue.clone()));
        if !issues.is_empty() {
            self.balances.issues.insert(name.clone(), issues);
        }
        if self.lanes.balances.get(&**name) == now.as_ref() {
            return;
        }
        let before = self.lanes.balances.remove(&**name);
        let front = |balance: &Balance| (balance.lane, balance.address);
        if before.as_ref().map(front) != now.as_ref().map(front) {
            touched.balanced.extend([&before, &now].into_iter().flatten().map(|balance| balance.lane));
        }
        if let Some(before) = before {
            for member in before.members {
                super::take(&mut self.balances.at, &member.at, name);
            }
        }
        if let Some(now) = now {
            for member in &now.members {
                self.balances.at.entry(member.at).or_default().insert(name.clone());
            }
            self.lanes.balances.insert(name.to_string(), now);
        }
        touched.balances.insert(name.to_string());
    }

    fn balanced(
        &self,
        intent: &Intent,
        view: &View,
        (name, balancer): (&Arc<str>, &Balancer),
        issues: &mut Vec<Issue>,
    ) -> Option<Balance> {
        let label = Label { kind: Kind::Balancer, name: name.clone() }.to_string();
        let lane = self.networks.get(&*balancer.network).copied()?;
        let mut members = Vec::new();
        for member in &balancer.members {
            let Some(at) = self.names.at(&member.port).filter(|at| self.is_edge(*at)) else { continue };
            if let Some(other) = self.bypassed(intent, at) {
                // What goes to the virtual address is not judged as what goes to the member.
                let reason = format!(
                    "{} is an end of {other}, which the virtual address would get around",
                    member.port
                );
                issues.push(Issue { refused: true, ..Issue::new(label, reason) });
                return None;
            }
            let tagged = self.places.get(&at).map(Place::lanes).unwrap_or_default().get(&lane).copied();
            let Some(tagged) = tagged else {
                let reason = format!("{} is not a port of network {:?}", member.port, balancer.network);
                issues.push(Issue::new(label.clone(), reason));
                continue;
            };
            if view.port(at).is_some_and(|port| port.up) {
                let (address, weight) = (member.address, member.weight);
                members.push(Serving { at, tagged, address, weight });
            } else {
                let reason = format!("{} is down: member {} is left out", member.port, member.address);
                issues.push(Issue::new(label.clone(), reason));
            }
        }
        let (address, services) = (balancer.address, balancer.services.clone());
        Some(Balance { label, lane, address, services, members })
    }

    /// A chain or policy that is about what is sent to this port.
    fn bypassed(&self, intent: &Intent, at: At) -> Option<Label> {
        let refuses = |name: &Arc<str>| {
            let policy = intent.policies.get(&**name).filter(|policy| policy.judgement != Judgement::Allow);
            policy.is_some_and(|policy| policy.to.iter().any(|port| self.names.at(port) == Some(at)))
        };
        let is_about = |claim: &Claim| match claim {
            Claim::Chain(_) => true,
            Claim::Policy(name) => refuses(name),
            _ => false,
        };
        self.names.claims(at).into_iter().find(|(claim, _)| is_about(claim)).map(|(claim, _)| claim.label())
    }
}
