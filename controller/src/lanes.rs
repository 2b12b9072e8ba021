//! Intents, resolved against what is there: which port is in which lane.
//!
//! [`Resolver`] keeps the result up to date. Everything is decided for one port, one host or one chain at a time, from
//! what is said of it and nothing else, so a change is followed to what it touches and no further.

mod balances;
mod chains;
mod copies;
mod courses;
mod hosts;
mod limits;
mod names;
mod places;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use openflow::Dpid;
use packet::VlanId;

use crate::blueprint::{Issue, Issues};
use crate::intent::{Intent, Kind, Label, PortName, tenant};
use crate::view::{At, Changes, Host, HostKey, View};
use balances::Balances;
pub use balances::{Balance, Serving};
pub use chains::Path;
pub use copies::Copies;
use copies::MirrorIssues;
pub use courses::Course;
use courses::Courses;
pub use limits::Limit;
use limits::Limits;
use names::{Claim, Names, claims_of};
pub(crate) use places::default_lane;
use places::{Case, Place};
use rules::Rules;
pub use rules::{Ends, Guard, Hold, Placed, Rule};

/// A lane: the ports of a network and how their frames look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The intent it serves: `network/blue`, or nothing.
    pub label: String,
    /// Ports whose frames are as hosts write them.
    pub access: BTreeSet<At>,
    /// Ports whose frames carry the lane's tag.
    pub trunks: BTreeSet<At>,
    /// Access ports take tagged frames, too: the tag is the hosts' own affair.
    pub transparent: bool,
    /// Number of ports on each switch that has some.
    pub(crate) members: BTreeMap<Dpid, usize>,
}

impl Lane {
    fn new(label: String, transparent: bool) -> Self {
        let (access, trunks, members) = Default::default();
        Self { label, access, trunks, transparent, members }
    }

    /// Whether hosts of this lane may be there.
    pub fn has(&self, at: At) -> bool {
        self.access.contains(&at) || self.trunks.contains(&at)
    }

    fn insert(&mut self, at: At, tagged: bool) {
        let ports = if tagged { &mut self.trunks } else { &mut self.access };
        if ports.insert(at) {
            *self.members.entry(at.0).or_default() += 1;
        }
    }

    fn remove(&mut self, at: At, tagged: bool) {
        let ports = if tagged { &mut self.trunks } else { &mut self.access };
        if ports.remove(&at)
            && let Some(n) = self.members.get_mut(&at.0)
        {
            *n -= 1;
            if *n == 0 {
                self.members.remove(&at.0);
            }
        }
    }

    /// Ports of hosts.
    pub fn ports(&self) -> impl Iterator<Item = At> + '_ {
        self.access.iter().chain(&self.trunks).copied()
    }
}

/// Everything resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lanes {
    /// Lanes by number.
    pub lanes: BTreeMap<VlanId, Lane>,
    /// Ports of functions, and the function that has each.
    pub functions: BTreeMap<At, Arc<str>>,
    /// Chains by name.
    pub paths: BTreeMap<String, Path>,
    /// Policies by name.
    pub rules: BTreeMap<String, Rule>,
    /// Policies that keep state, by name.
    pub placed: BTreeMap<String, Placed>,
    /// Rates and queues by label.
    pub limits: BTreeMap<String, Limit>,
    /// Ways by name.
    pub courses: BTreeMap<String, Course>,
    /// Mirrors by name.
    pub mirrors: BTreeMap<String, Copies>,
    /// Virtual addresses by name.
    pub balances: BTreeMap<String, Balance>,
    /// The mirrors of each port.
    pub(crate) mirrored: BTreeMap<At, BTreeSet<Arc<str>>>,
    /// Where traffic to unknown addresses waits, and the policies it waits for.
    pub(crate) holds: BTreeMap<Hold, BTreeSet<Arc<str>>>,
    /// Hosts in their lanes: declared ones, and learned ones where they may be.
    pub hosts: BTreeMap<HostKey, Host>,
    /// Where those are attached.
    pub(crate) hosts_at: BTreeMap<At, BTreeSet<HostKey>>,
    /// What could not be resolved.
    pub issues: Issues,
}

/// Resolves `intent` in `view`.
pub fn resolve(intent: &Intent, view: &View) -> Lanes {
    let mut resolver = Resolver::default();
    resolver.update(intent, &intent.labels().collect(), view, &view.everything());
    resolver.lanes
}

/// What became different.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Lanes that came, went, or serve another intent.
    pub lanes: BTreeSet<VlanId>,
    /// Ports that came into a lane, left it, or are of another kind there.
    pub ports: BTreeSet<(VlanId, At)>,
    /// Chains that came, went or changed.
    pub chains: BTreeSet<String>,
    /// Their lanes, before and now.
    pub chained: BTreeSet<VlanId>,
    /// Hosts that came, went, moved, or were looked at because their port is another.
    pub hosts: BTreeSet<HostKey>,
    /// Ports that functions gave up.
    pub released: BTreeSet<At>,
    /// Policies that came, went or changed, or whose hosts did.
    pub rules: BTreeSet<String>,
    /// Rates and queues that came, went or changed.
    pub limits: BTreeSet<String>,
    /// Ways that came, went or changed, or whose hosts did.
    pub courses: BTreeSet<String>,
    /// Mirrors that came, went or changed.
    pub mirrors: BTreeSet<String>,
    /// Ports that they mirror, or did.
    pub mirrored: BTreeSet<At>,
    /// Virtual addresses that came, went or changed, or whose members did.
    pub balances: BTreeSet<String>,
    /// The lanes, before and now, of those whose address or lane is another.
    pub balanced: BTreeSet<VlanId>,
    /// Where traffic waits now and did not, or the other way round.
    pub holds: BTreeSet<Hold>,
}

impl Touched {
    /// And this, too.
    pub fn add(&mut self, other: &Self) {
        self.lanes.extend(&other.lanes);
        self.ports.extend(&other.ports);
        self.chains.extend(other.chains.iter().cloned());
        self.chained.extend(&other.chained);
        self.hosts.extend(&other.hosts);
        self.released.extend(&other.released);
        self.rules.extend(other.rules.iter().cloned());
        self.holds.extend(&other.holds);
        self.limits.extend(other.limits.iter().cloned());
        self.courses.extend(other.courses.iter().cloned());
        self.mirrors.extend(other.mirrors.iter().cloned());
        self.mirrored.extend(&other.mirrored);
        self.balances.extend(other.balances.iter().cloned());
        self.balanced.extend(&other.balanced);
    }
}

/// Keeps [`Lanes`] up to date.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    pub lanes: Lanes,
    names: Names,
    /// What is decided of each port.
    places: BTreeMap<At, Place>,
    networks: BTreeMap<Arc<str>, VlanId>,
    owners: BTreeMap<VlanId, Arc<str>>,
    /// What each intent says of ports.
    claims: BTreeMap<Label, Vec<(Claim, Arc<PortName>)>>,
    /// Declared hosts, by key and by network.
    reserved: BTreeMap<HostKey, (PortName, BTreeSet<IpAddr>)>,
    reserving: BTreeMap<Arc<str>, Vec<HostKey>>,
    chain_issues: BTreeMap<Arc<str>, Vec<Issue>>,
    rules: Rules,
    limits: Limits,
    courses: Courses,
    mirror_issues: MirrorIssues,
    balances: Balances,
}

/// What has to be looked at again.
#[derive(Debug, Default)]
struct Doubt {
    ports: BTreeSet<At>,
    chains: BTreeSet<Arc<str>>,
    rules: BTreeSet<Arc<str>>,
    limits: BTreeSet<Arc<str>>,
    tenants: BTreeSet<Arc<str>>,
    courses: BTreeSet<Arc<str>>,
    mirrors: BTreeSet<Arc<str>>,
    balances: BTreeSet<Arc<str>>,
    hosts: BTreeSet<HostKey>,
}

impl Doubt {
    /// Something is said of a port, or is no longer.
    fn claim(&mut self, claim: &Claim, at: Option<At>) {
        self.ports.extend(at);
        if let Claim::Chain(name) | Claim::Via(name) = claim {
            self.chains.insert(name.clone());
        }
        if let Claim::Policy(name) = claim {
            self.rules.insert(name.clone());
        }
        if let Claim::Qos(name) = claim {
            self.limits.insert(name.clone());
        }
        if let Claim::Path(name) = claim {
            self.courses.insert(name.clone());
        }
        if let Claim::Outlet(name) | Claim::Mirrored(name) = claim {
            self.mirrors.insert(name.clone());
        }
        if let Claim::Member(name) = claim {
            self.balances.insert(name.clone());
        }
    }
}

impl Resolver {
    /// Follows a change of the intents `labels` and of the view.
    pub fn update(
        &mut self,
        intent: &Intent,
        labels: &BTreeSet<Label>,
        view: &View,
        changes: &Changes,
    ) -> Touched {
        let (mut touched, mut doubt) = (Touched::default(), Doubt::default());
        doubt.ports.extend(&changes.ports);
        doubt.hosts.extend(&changes.hosts);
        self.follow(view, changes, &mut doubt);
        let moved = self.number(intent, labels, &mut touched);
        // First all that goes: a host may pass from one network to another.
        for label in labels.iter().filter(|label| label.kind == Kind::Network) {
            self.unreserve(intent, &label.name, &mut doubt);
        }
        for label in labels {
            self.declare(intent, view, label, &moved, &mut doubt);
        }
        self.doubt_moved(intent, &moved, &mut doubt);
        for at in std::mem::take(&mut doubt.ports) {
            self.place(intent, view, at, &mut touched, &mut doubt);
        }
        for name in doubt.chains {
            self.chain(intent, name, &mut touched);
        }
        for name in doubt.rules {
            self.rule(intent, &name, &mut touched);
        }
        self.limit(intent, doubt.limits, &mut touched);
        for name in doubt.tenants {
            self.limit_tenant(intent, &name, &mut touched);
        }
        if !changes.switches.is_empty() {
            // The names of switches on the way may stand for others.
            doubt.courses.extend(intent.paths.keys().map(|name| Arc::from(&**name)));
        }
        self.courses(intent, view, doubt.courses, &mut touched);
        for name in doubt.mirrors {
            self.mirror(intent, &name, &mut touched);
        }
        for name in doubt.balances {
            self.balance(intent, view, &name, &mut touched);
        }
        for key in doubt.hosts {
            self.host(view, key, &mut touched);
            touched.hosts.insert(key);
        }
        if !moved.is_empty() {
            let default = default_lane();
            self.lanes.lanes.retain(|vlan, _| *vlan == default || self.owners.contains_key(vlan));
        }
        touched
    }

    /// What was resolved with the numbers of networks that have others now.
    fn doubt_moved(&self, intent: &Intent, moved: &BTreeSet<Arc<str>>, doubt: &mut Doubt) {
        if moved.is_empty() {
            return;
        }
        let limits = intent.qos.iter().filter(|(_, qos)| qos.networks.iter().any(|n| moved.contains(&**n)));
        doubt.limits.extend(limits.map(|(name, _)| Arc::from(&**name)));
        let owners = moved.iter().flat_map(|network| tenant::owners(network, &intent.tenants));
        doubt.tenants.extend(owners.map(Arc::from));
        let balancers = intent.balancers.iter().filter(|(_, it)| moved.contains(&*it.network));
        doubt.balances.extend(balancers.map(|(name, _)| Arc::from(&**name)));
        let routers = self.claims.iter().filter(|(label, _)| label.kind == Kind::Router);
        let claimed = routers.flat_map(|(_, claims)| claims).filter_map(|(_, name)| self.names.at(name));
        doubt.ports.extend(claimed);
    }

    /// Names may stand for other ports now.
    fn follow(&mut self, view: &View, changes: &Changes, doubt: &mut Doubt) {
        if changes.switches.is_empty() {
            return;
        }
        for (name, before) in self.names.follow(view, &changes.switches, &mut self.lanes.issues) {
            doubt.ports.extend([before, self.names.at(&name)].into_iter().flatten());
            self.names.claims_by(&name).for_each(|claim| doubt.claim(claim, None));
            doubt.hosts.extend(self.names.hosts_by(&name));
        }
    }

    /// Lanes come, go, and pass from one network to another. The networks whose number is another than before.
    fn number(
        &mut self,
        intent: &Intent,
        labels: &BTreeSet<Label>,
        touched: &mut Touched,
    ) -> BTreeSet<Arc<str>> {
        let number = |name: &str| intent.networks.get(name).map(|network| network.vlan);
        let networks = labels.iter().filter(|label| label.kind == Kind::Network).map(|label| &label.name);
        let moved = networks.filter(|name| self.networks.get(*name).copied() != number(name));
        let moved: BTreeSet<Arc<str>> = moved.cloned().collect();
        let mut vlans: BTreeSet<VlanId> = BTreeSet::new();
        for name in &moved {
            if let Some(vlan) = self.networks.remove(name) {
                self.owners.remove(&vlan);
                vlans.insert(vlan);
            }
        }
        for name in &moved {
            if let Some(vlan) = number(name) {
                self.networks.insert(name.clone(), vlan);
                self.owners.insert(vlan, name.clone());
                vlans.insert(vlan);
            }
        }
        if self.lanes.lanes.is_empty() {
            vlans.insert(places::default_lane());
        }
        for vlan in vlans {
            let label = self.owners.get(&vlan).map(|name| format!("network/{name}")).unwrap_or_default();
            let transparent = vlan == places::default_lane();
            let lane = self.lanes.lanes.entry(vlan).or_insert_with(|| Lane::new(String::new(), transparent));
            lane.label = label;
            touched.lanes.insert(vlan);
        }
        moved
    }

    /// Takes over what an intent says of ports and hosts.
    fn declare(
        &mut self,
        intent: &Intent,
        view: &View,
        label: &Label,
        moved: &BTreeSet<Arc<str>>,
        doubt: &mut Doubt,
    ) {
        let before = self.claims.remove(label).unwrap_or_default();
        let now = claims_of(intent, label);
        for (claim, name) in only_in(&before, &now) {
            self.said(claim, name, self.names.at(name), doubt);
            self.names.remove(claim, name, &mut self.lanes.issues);
        }
        for (claim, name) in only_in(&now, &before) {
            let at = self.names.add(claim.clone(), name, view, &mut self.lanes.issues);
            self.said(claim, name, at, doubt);
        }
        match label.kind {
            Kind::Network => {
                if moved.contains(&label.name) {
                    let kept = before.iter().filter(|said| now.binary_search(said).is_ok());
                    kept.for_each(|(claim, name)| self.said(claim, name, self.names.at(name), doubt));
                }
                self.reserve(intent, &label.name, doubt);
            }
            // What is said of the port may be another.
            Kind::Router => {
                now.iter().for_each(|(claim, name)| self.said(claim, name, self.names.at(name), doubt));
                doubt.rules.extend(self.rules.stateful.iter().cloned());
            }
            Kind::Function => {}
            Kind::Chain => drop(doubt.chains.insert(label.name.clone())),
            Kind::Policy => {
                doubt.rules.insert(label.name.clone());
                // Whether it refuses something to members may be another matter now.
                doubt.balances.extend(intent.balancers.keys().map(|name| Arc::from(&**name)));
            }
            Kind::Qos => drop(doubt.limits.insert(label.name.clone())),
            Kind::Path => drop(doubt.courses.insert(label.name.clone())),
            Kind::Mirror => drop(doubt.mirrors.insert(label.name.clone())),
            Kind::Balancer => drop(doubt.balances.insert(label.name.clone())),
            Kind::Tenant => {
                // What it has no rate for, those around it may have.
                doubt.tenants.extend(tenant::owners(&label.name, &intent.tenants).map(Arc::from));
                doubt.tenants.insert(label.name.clone());
            }
        }
        if !now.is_empty() {
            self.claims.insert(label.clone(), now);
        }
        // The ports of a function are those of its chain.
        if label.kind == Kind::Function {
            let users =
                intent.chains.iter().filter(|(_, chain)| chain.functions.iter().any(|f| **f == *label.name));
            let users: Vec<Label> = users.map(|(name, _)| Label::new(Kind::Chain, name)).collect();
            users.iter().for_each(|chain| self.declare(intent, view, chain, moved, doubt));
        }
    }

    /// Something else is said of a port. While it is not there, nothing but the policies that await it asks what.
    fn said(&self, claim: &Claim, name: &PortName, at: Option<At>, doubt: &mut Doubt) {
        doubt.claim(claim, at);
        if at.is_none() {
            let awaiting = self.names.claims_by(name).filter(|other| matches!(other, Claim::Policy(_)));
            awaiting.for_each(|policy| doubt.claim(policy, None));
        }
    }

    /// Decides what a port is for.
    fn place(&mut self, intent: &Intent, view: &View, at: At, touched: &mut Touched, doubt: &mut Doubt) {
        let claims = self.names.claims(at);
        for (claim, _) in &claims {
            doubt.claim(claim, None);
            if matches!(claim, Claim::Attach(..)) {
                doubt.rules.extend(self.rules.stateful.iter().cloned());
            }
        }
        let case = Case { intent, networks: &self.networks, owners: &self.owners, view, at, claims };
        let now = case.decide();
        doubt.hosts.extend(view.hosts_at(at));
        doubt.hosts.extend(self.lanes.hosts_at.get(&at).into_iter().flatten());
        doubt.hosts.extend(self.names.hosts(at));
        let before = self.places.remove(&at).unwrap_or_default();
        before.issues.iter().for_each(|issue| self.lanes.issues.remove(issue));
        now.issues.iter().for_each(|issue| self.lanes.issues.add(issue.clone()));
        if before.function != now.function {
            match &now.function {
                Some(function) => drop(self.lanes.functions.insert(at, function.clone())),
                None => {
                    self.lanes.functions.remove(&at);
                    touched.released.insert(at);
                }
            }
        }
        let (was, is) = (before.lanes(), now.lanes());
        for (&vlan, &tagged) in was.iter().filter(|(vlan, tagged)| is.get(vlan) != Some(tagged)) {
            self.lanes.lanes.entry(vlan).and_modify(|lane| lane.remove(at, tagged));
            touched.ports.insert((vlan, at));
        }
        for (&vlan, &tagged) in is.iter().filter(|(vlan, tagged)| was.get(vlan) != Some(tagged)) {
            self.lanes.lanes.entry(vlan).and_modify(|lane| lane.insert(at, tagged));
            touched.ports.insert((vlan, at));
        }
        if now != Place::default() {
            self.places.insert(at, now);
        }
    }

    /// Whether hosts can be there: neither a link, nor a function, nor an outlet of copies.
    fn is_edge(&self, at: At) -> bool {
        self.places.get(&at).is_none_or(|place| !place.is_taken)
    }
}

/// Takes a value away from those of a key.
fn take<K: Ord, V: Ord>(all: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(values) = all.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            all.remove(key);
        }
    }
}

/// What is in `these` and not in `those`, both sorted.
fn only_in<'a, T: Ord>(these: &'a [T], those: &'a [T]) -> impl Iterator<Item = &'a T> {
    these.iter().filter(|one| those.binary_search(one).is_err())
}
