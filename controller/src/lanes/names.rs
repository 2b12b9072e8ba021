//! The names of ports that intents use, and the ports they stand for. A name may come before its port.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openflow::Dpid;
use packet::PortNo;

use crate::blueprint::{Issue, Issues};
use crate::intent::{Intent, Kind, Label, PortName};
use crate::view::{At, HostKey, View};

/// What an intent says of a port. The order decides between two that want the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// An access port of a network.
    Access(Arc<str>),
    /// A trunk port of a network.
    Trunk(Arc<str>),
    /// The n-th attachment of a router.
    Attach(Arc<str>, usize),
    /// A port of a function.
    Function(Arc<str>),
    /// An end of a chain.
    Chain(Arc<str>),
    /// A port of a function that a chain passes.
    Via(Arc<str>),
    /// An end of a policy.
    Policy(Arc<str>),
    /// A port with a rate or queue.
    Qos(Arc<str>),
    /// An end of a way.
    Path(Arc<str>),
    /// Copies leave there.
    Outlet(Arc<str>),
    /// A port whose frames are copied.
    Mirrored(Arc<str>),
    /// A member of a balancer is there.
    Member(Arc<str>),
    /// A host of a network is there.
    Host(Arc<str>),
}

impl Claim {
    /// The intent.
    pub fn label(&self) -> Label {
        let (kind, name) = match self {
            Self::Access(name) | Self::Trunk(name) | Self::Host(name) => (Kind::Network, name),
            Self::Attach(name, _) => (Kind::Router, name),
            Self::Function(name) => (Kind::Function, name),
            Self::Chain(name) | Self::Via(name) => (Kind::Chain, name),
            Self::Policy(name) => (Kind::Policy, name),
            Self::Qos(name) => (Kind::Qos, name),
            Self::Path(name) => (Kind::Path, name),
            Self::Outlet(name) | Self::Mirrored(name) => (Kind::Mirror, name),
            Self::Member(name) => (Kind::Balancer, name),
        };
        Label { kind, name: name.clone() }
    }

    /// Whether it is for ports of hosts only.
    pub fn is_edge(&self) -> bool {
        matches!(
            self,
            Self::Access(_)
                | Self::Trunk(_)
                | Self::Attach(..)
                | Self::Chain(_)
                | Self::Policy(_)
                | Self::Qos(_)
                | Self::Path(_)
                | Self::Mirrored(_)
                | Self::Member(_)
        )
    }

    /// What to say while the port is not there.
    fn waiting(&self, name: &PortName) -> Option<Issue> {
        let issue = || Issue::new(self.label().to_string(), format!("waiting for port {name}"));
        (!matches!(self, Self::Host(_))).then(issue)
    }
}

/// Everything an intent says of ports, in order, each once.
pub(super) fn claims_of(intent: &Intent, label: &Label) -> Vec<(Claim, Arc<PortName>)> {
    let name = &label.name;
    let mut claims = Vec::new();
    let mut add = |claim: Claim, port: &PortName| claims.push((claim, Arc::new(port.clone())));
    match label.kind {
        Kind::Network => {
            let Some(network) = intent.networks.get(&**name) else { return claims };
            network.access.iter().for_each(|port| add(Claim::Access(name.clone()), port));
            network.trunks.iter().for_each(|port| add(Claim::Trunk(name.clone()), port));
            network.hosts.iter().for_each(|host| add(Claim::Host(name.clone()), &host.port));
        }
        Kind::Router => {
            let attachments = intent.routers.get(&**name).into_iter().flatten().enumerate();
            attachments.for_each(|(idx, attachment)| add(Claim::Attach(name.clone(), idx), &attachment.port));
        }
        Kind::Function => {
            let Some(function) = intent.functions.get(&**name) else { return claims };
            let ports = [&function.ingress, &function.egress];
            ports.into_iter().for_each(|port| add(Claim::Function(name.clone()), port));
        }
        Kind::Chain => {
            let Some(chain) = intent.chains.get(&**name) else { return claims };
            chain.from.iter().chain(&chain.to).for_each(|port| add(Claim::Chain(name.clone()), port));
            let functions = chain.functions.iter().filter_map(|function| intent.functions.get(function));
            let ports = functions.flat_map(|function| [&function.ingress, &function.egress]);
            ports.for_each(|port| add(Claim::Via(name.clone()), port));
        }
        Kind::Policy => {
            let Some(policy) = intent.policies.get(&**name) else { return claims };
            policy.from.iter().chain(&policy.to).for_each(|port| add(Claim::Policy(name.clone()), port));
        }
        Kind::Qos => {
            let Some(qos) = intent.qos.get(&**name) else { return claims };
            qos.ports.iter().for_each(|port| add(Claim::Qos(name.clone()), port));
        }
        Kind::Path => {
            let Some(route) = intent.paths.get(&**name) else { return claims };
            [&route.from, &route.to].into_iter().for_each(|port| add(Claim::Path(name.clone()), port));
        }
        Kind::Mirror => {
            let Some(mirror) = intent.mirrors.get(&**name) else { return claims };
            add(Claim::Outlet(name.clone()), &mirror.to);
            mirror.ports.iter().for_each(|port| add(Claim::Mirrored(name.clone()), port));
        }
        Kind::Balancer => {
            let Some(balancer) = intent.balancers.get(&**name) else { return claims };
            balancer.members.iter().for_each(|member| add(Claim::Member(name.clone()), &member.port));
        }
        Kind::Tenant => {}
    }
    claims.sort_unstable();
    claims.dedup();
    claims
}

#[derive(Debug, Default)]
struct Named {
    at: Option<At>,
    /// In order.
    claims: Vec<Claim>,
    /// Hosts that are declared there: their networks claim it.
    hosts: Vec<HostKey>,
}

/// Names, and what they stand for.
#[derive(Debug, Default)]
pub(super) struct Names {
    ports: BTreeMap<Arc<PortName>, Named>,
    /// The names of switches among them.
    switches: BTreeMap<String, Option<Dpid>>,
    spellings: BTreeMap<At, BTreeSet<Arc<PortName>>>,
}

/// A name that stands for another port than before.
pub(super) type Moved = (Arc<PortName>, Option<At>);

impl Names {
    /// What a name stands for.
    pub fn at(&self, name: &PortName) -> Option<At> {
        self.ports.get(name)?.at
    }

    /// What is said of a port, by all its names, in order.
    pub fn claims(&self, at: At) -> Vec<(&Claim, &PortName)> {
        let spellings = self.spellings.get(&at).into_iter().flatten();
        let named = spellings.filter_map(|name| Some((name, self.ports.get(name)?)));
        let mut claims: Vec<_> =
            named.flat_map(|(name, named)| named.claims.iter().map(move |claim| (claim, &**name))).collect();
        claims.sort_unstable();
        claims
    }

    /// Everything that is said of a port by this name.
    pub fn claims_by(&self, name: &PortName) -> impl Iterator<Item = &Claim> + '_ {
        self.ports.get(name).into_iter().flat_map(|named| &named.claims)
    }

    /// Hosts declared at a port of this name.
    pub fn hosts_by(&self, name: &PortName) -> impl Iterator<Item = HostKey> + '_ {
        self.ports.get(name).into_iter().flat_map(|named| &named.hosts).copied()
    }

    /// Hosts declared at a port, by all its names.
    pub fn hosts(&self, at: At) -> impl Iterator<Item = HostKey> + '_ {
        self.spellings.get(&at).into_iter().flatten().flat_map(|name| self.hosts_by(name))
    }

    /// Notes a host that is declared at a port. Its network claims the port already.
    pub fn put_host(&mut self, name: &PortName, key: HostKey) {
        if let Some(named) = self.ports.get_mut(name) {
            named.hosts.push(key);
        }
    }

    /// Forgets such a host.
    pub fn remove_host(&mut self, name: &PortName, key: HostKey) {
        if let Some(named) = self.ports.get_mut(name) {
            named.hosts.retain(|other| *other != key);
        }
    }

    /// Notes a claim. What the name stands for.
    pub fn add(
        &mut self,
        claim: Claim,
        name: &Arc<PortName>,
        view: &View,
        issues: &mut Issues,
    ) -> Option<At> {
        let named = match self.ports.entry(name.clone()) {
            Entry::Occupied(named) => named.into_mut(),
            Entry::Vacant(place) => {
                let at = view.find_port(name);
                if !self.switches.contains_key(&name.switch) {
                    self.switches.insert(name.switch.clone(), view.find_switch(&name.switch));
                }
                if let Some(at) = at {
                    self.spellings.entry(at).or_default().insert(name.clone());
                }
                place.insert(Named { at, ..Named::default() })
            }
        };
        if named.at.is_none() {
            claim.waiting(name).into_iter().for_each(|issue| issues.add(issue));
        }
        if let Err(idx) = named.claims.binary_search(&claim) {
            named.claims.insert(idx, claim);
        }
        named.at
    }

    /// Forgets a claim, and a name that nobody uses any more.
    pub fn remove(&mut self, claim: &Claim, name: &Arc<PortName>, issues: &mut Issues) {
        let Some(named) = self.ports.get_mut(name) else { return };
        if named.at.is_none() {
            claim.waiting(name).into_iter().for_each(|issue| issues.remove(&issue));
        }
        named.claims.retain(|other| other != claim);
        if !named.claims.is_empty() {
            return;
        }
        let at = named.at;
        self.ports.remove(name);
        at.into_iter().for_each(|at| self.unspell(at, name));
        if self.of_switch(&name.switch).next().is_none() {
            self.switches.remove(&name.switch);
        }
    }

    fn spell(&mut self, at: Option<At>, name: &Arc<PortName>) {
        if let Some(at) = at {
            self.spellings.entry(at).or_default().insert(name.clone());
        }
    }

    fn unspell(&mut self, at: At, name: &Arc<PortName>) {
        if let Some(names) = self.spellings.get_mut(&at) {
            names.remove(name);
            if names.is_empty() {
                self.spellings.remove(&at);
            }
        }
    }

    fn of_switch<'a>(&'a self, switch: &'a str) -> impl Iterator<Item = &'a Arc<PortName>> + 'a {
        let first = PortName { switch: switch.to_owned(), port: String::new() };
        let from = (std::ops::Bound::Included(&first), std::ops::Bound::Unbounded);
        let names: Vec<_> = self
            .ports
            .range::<PortName, _>(from)
            .map(|(name, _)| name)
            .take_while(|name| name.switch == switch)
            .collect();
        names.into_iter()
    }

    /// Some switches have other ports or names: which names stand for something else now, and what for before.
    pub fn follow(&mut self, view: &View, changed: &BTreeSet<Dpid>, issues: &mut Issues) -> Vec<Moved> {
        let mut stale = Vec::new();
        for (switch, dpid) in &mut self.switches {
            let now = view.find_switch(switch);
            if now != *dpid || now.is_some_and(|dpid| changed.contains(&dpid)) {
                *dpid = now;
                stale.push((switch.clone(), now));
            }
        }
        let mut moved = Vec::new();
        for (switch, dpid) in stale {
            let ports = dpid.and_then(|dpid| Some((dpid, &view.switches().get(&dpid)?.ports)));
            let mut by_name: BTreeMap<&str, PortNo> = BTreeMap::new();
            for (number, port) in ports.iter().flat_map(|(_, ports)| ports.iter()) {
                by_name.entry(&port.name).or_insert(*number);
            }
            let find = |name: &PortName| -> Option<At> {
                let (dpid, ports) = ports?;
                let by_number = name.port.parse().ok().map(PortNo).filter(|port| ports.contains_key(port));
                Some((dpid, by_number.or_else(|| by_name.get(&*name.port).copied())?))
            };
            let names: Vec<_> = self.of_switch(&switch).map(|name| (name.clone(), find(name))).collect();
            for (name, now) in names {
                let before = self.at(&name);
                if before != now {
                    self.move_to(&name, now, issues);
                    moved.push((name, before));
                }
            }
        }
        moved
    }

    fn move_to(&mut self, name: &Arc<PortName>, now: Option<At>, issues: &mut Issues) {
        let Some(named) = self.ports.get_mut(name) else { return };
        let before = std::mem::replace(&mut named.at, now);
        for issue in named.claims.iter().filter_map(|claim| claim.waiting(name)) {
            match (before, now) {
                (None, Some(_)) => issues.remove(&issue),
                (Some(_), None) => issues.add(issue),
                _ => {}
            }
        }
        before.into_iter().for_each(|at| self.unspell(at, name));
        self.spell(now, name);
    }
}
