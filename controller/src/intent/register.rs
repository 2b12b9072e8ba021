//! Who says what of what, so that the contradictions of one intent are found without looking at all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use packet::VlanId;

use super::balancer::Source;
use super::tenant;
use super::{
    Balancer, Chain, Declared, Edit, Fault, Function, Intent, Kind, Label, Mirror, Network, Policy, PortName,
    Qos, Route,
};
use crate::layout;

type Names = BTreeSet<Arc<str>>;

/// Intents, and who says what of what in them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    intent: Intent,
    vlans: BTreeMap<VlanId, Names>,
    /// Networks by access port.
    access: BTreeMap<PortName, Names>,
    /// Networks by port of any kind.
    declared: BTreeMap<PortName, Names>,
    /// Routers by network.
    attached: BTreeMap<String, Names>,
    /// Functions by port, and which of their two it is.
    functions: BTreeMap<PortName, BTreeSet<(Arc<str>, usize)>>,
    /// Chains by function, and where in the chain it is.
    users: BTreeMap<String, BTreeSet<(Arc<str>, usize)>>,
    /// Policies by priority.
    priorities: BTreeMap<u16, Names>,
    /// What limits a port, and what a network.
    limited: BTreeMap<PortName, Names>,
    limited_networks: BTreeMap<String, Names>,
    /// Mirrors by the port where their copies leave, and by those that are mirrored.
    outlets: BTreeMap<PortName, Names>,
    mirrored: BTreeMap<PortName, Names>,
    /// Ways by their ends.
    ways: BTreeMap<(PortName, PortName), Names>,
    /// Balancers by network, by network and address, and by what their members answer from.
    balanced: BTreeMap<String, Names>,
    virtual_addresses: BTreeMap<(String, Ipv4Addr), Names>,
    sources: BTreeMap<Source, Names>,
}

impl Ledger {
    pub fn new(intent: Intent) -> Self {
        let mut ledger = Self { intent, ..Self::default() };
        let labels: Vec<Label> = ledger.intent.labels().collect();
        labels.iter().for_each(|label| ledger.note(label, true));
        ledger
    }

    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Carries out edits; what undoes them.
    pub fn apply(&mut self, edits: Vec<Edit>) -> Vec<Edit> {
        let mut undo = Vec::with_capacity(edits.len());
        for Edit { label, to } in edits {
            self.note(&label, false);
            let before = self.intent.set(&label, to);
            self.note(&label, true);
            undo.push(Edit { label, to: before });
        }
        undo.reverse();
        undo
    }

    /// What contradicts itself or another intent, of these and those they have to do with.
    pub fn faults(&self, labels: impl Iterator<Item = Label>) -> Vec<Fault> {
        let mut all = BTreeSet::new();
        labels.for_each(|label| self.related(label, &mut all));
        all.iter().flat_map(|label| self.faults_of(label)).collect()
    }

    /// Notes what an intent says, or forgets it.
    fn note(&mut self, label: &Label, there: bool) {
        let name = &label.name;
        match label.kind {
            Kind::Network => {
                let Some(network) = self.intent.networks.get(&**name) else { return };
                put(&mut self.vlans, &network.vlan, name.clone(), there);
                for port in &network.access {
                    put(&mut self.access, port, name.clone(), there);
                }
                for port in network.access.iter().chain(&network.trunks) {
                    put(&mut self.declared, port, name.clone(), there);
                }
            }
            Kind::Router => {
                let attachments = self.intent.routers.get(&**name).into_iter().flatten();
                for network in attachments.filter_map(|attachment| attachment.network.as_ref()) {
                    put(&mut self.attached, network, name.clone(), there);
                }
            }
            Kind::Function => {
                let Some(function) = self.intent.functions.get(&**name) else { return };
                put(&mut self.functions, &function.ingress, (name.clone(), 0), there);
                put(&mut self.functions, &function.egress, (name.clone(), 1), there);
            }
            Kind::Chain => {
                let Some(chain) = self.intent.chains.get(&**name) else { return };
                for (idx, function) in chain.functions.iter().enumerate() {
                    put(&mut self.users, function, (name.clone(), idx), there);
                }
            }
            Kind::Policy => {
                let Some(policy) = self.intent.policies.get(&**name) else { return };
                put(&mut self.priorities, &policy.priority, name.clone(), there);
            }
            Kind::Qos => {
                let Some(qos) = self.intent.qos.get(&**name) else { return };
                for port in &qos.ports {
                    put(&mut self.limited, port, name.clone(), there);
                }
                for network in &qos.networks {
                    put(&mut self.limited_networks, network, name.clone(), there);
                }
            }
            Kind::Path => {
                let Some(route) = self.intent.paths.get(&**name) else { return };
                for ends in route.headings() {
                    put(&mut self.ways, &ends, name.clone(), there);
                }
            }
            Kind::Mirror => {
                let Some(mirror) = self.intent.mirrors.get(&**name) else { return };
                put(&mut self.outlets, &mirror.to, name.clone(), there);
                for port in &mirror.ports {
                    put(&mut self.mirrored, port, name.clone(), there);
                }
            }
            Kind::Balancer => self.note_balancer(name, there),
            Kind::Tenant => {}
        }
    }

    fn note_balancer(&mut self, name: &Arc<str>, there: bool) {
        let Some(balancer) = self.intent.balancers.get(&**name) else { return };
        let key = (balancer.network.clone(), balancer.address);
        put(&mut self.balanced, &balancer.network, name.clone(), there);
        put(&mut self.virtual_addresses, &key, name.clone(), there);
        for (source, ..) in balancer.sources() {
            put(&mut self.sources, &source, name.clone(), there);
        }
    }

    /// An intent, and those whose contradiction with it would show at themselves.
    fn related(&self, label: Label, all: &mut BTreeSet<Label>) {
        let named = |kind| move |name: &Arc<str>| Label { kind, name: name.clone() };
        match label.kind {
            Kind::Network => self.related_to_network(&label.name, all),
            Kind::Router => {}
            Kind::Function => {
                let users = self.users.get(&*label.name).into_iter().flatten();
                all.extend(users.map(|(name, _)| named(Kind::Chain)(name)));
                let function = self.intent.functions.get(&*label.name);
                for port in function.into_iter().flat_map(|function| [&function.ingress, &function.egress]) {
                    let others = self.functions.get(port).into_iter().flatten();
                    all.extend(others.map(|(name, _)| named(Kind::Function)(name)));
                    all.extend(self.outlets_at(port));
                }
            }
            Kind::Chain => {
                let chain = self.intent.chains.get(&*label.name);
                let functions = chain.into_iter().flat_map(|chain| &chain.functions);
                let users = functions.filter_map(|function| self.users.get(function)).flatten();
                all.extend(users.map(|(name, _)| named(Kind::Chain)(name)));
            }
            Kind::Policy => {
                let policy = self.intent.policies.get(&*label.name);
                let same = policy.and_then(|policy| self.priorities.get(&policy.priority));
                all.extend(same.into_iter().flatten().map(named(Kind::Policy)));
            }
            Kind::Qos => {
                if let Some(qos) = self.intent.qos.get(&*label.name) {
                    let ports = qos.ports.iter().filter_map(|port| self.limited.get(port));
                    let limited = |network| self.limited_networks.get(network);
                    let networks = qos.networks.iter().filter_map(limited);
                    all.extend(ports.chain(networks).flatten().map(named(Kind::Qos)));
                }
            }
            Kind::Path => {
                let routes = self.intent.paths.get(&*label.name).into_iter();
                let same = routes.flat_map(Route::headings).filter_map(|ends| self.ways.get(&ends));
                all.extend(same.flatten().map(named(Kind::Path)));
            }
            Kind::Mirror => {
                let mirror = self.intent.mirrors.get(&*label.name);
                let others = mirror.and_then(|mirror| self.mirrored.get(&mirror.to));
                all.extend(others.into_iter().flatten().map(named(Kind::Mirror)));
            }
            Kind::Balancer => {
                if let Some(balancer) = self.intent.balancers.get(&*label.name) {
                    let key = (balancer.network.clone(), balancer.address);
                    let same = self.virtual_addresses.get(&key).into_iter().flatten();
                    let sources = balancer.sources().filter_map(|(source, ..)| self.sources.get(&source));
                    all.extend(same.chain(sources.flatten()).map(named(Kind::Balancer)));
                }
            }
            Kind::Tenant => {}
        }
        let owners = tenant::owners(&label.name, &self.intent.tenants).filter(|_| label.kind != Kind::Tenant);
        all.extend(owners.map(|owner| Label::new(Kind::Tenant, owner)));
        all.insert(label);
    }

    fn related_to_network(&self, name: &Arc<str>, all: &mut BTreeSet<Label>) {
        let named = |kind| move |name: &Arc<str>| Label { kind, name: name.clone() };
        all.extend(self.attached.get(&**name).into_iter().flatten().map(named(Kind::Router)));
        all.extend(self.limited_networks.get(&**name).into_iter().flatten().map(named(Kind::Qos)));
        all.extend(self.balanced.get(&**name).into_iter().flatten().map(named(Kind::Balancer)));
        let Some(network) = self.intent.networks.get(&**name) else { return };
        all.extend(self.vlans.get(&network.vlan).into_iter().flatten().map(named(Kind::Network)));
        for port in network.access.iter().chain(&network.trunks) {
            all.extend(self.access.get(port).into_iter().flatten().map(named(Kind::Network)));
            let functions = self.functions.get(port).into_iter().flatten();
            all.extend(functions.map(|(name, _)| named(Kind::Function)(name)));
            all.extend(self.outlets_at(port));
        }
    }

    /// The mirrors whose copies leave by a port.
    fn outlets_at<'a>(&'a self, port: &PortName) -> impl Iterator<Item = Label> + use<'a> {
        let names = self.outlets.get(port).into_iter().flatten();
        names.map(|name| Label { kind: Kind::Mirror, name: name.clone() })
    }

    fn faults_of(&self, label: &Label) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |pointer: String, reason: String| {
            faults.push(Fault { label: label.to_string(), pointer, reason });
        };
        let name = &*label.name;
        match label.kind {
            Kind::Network => {
                let network = self.intent.networks.get(name);
                network.into_iter().for_each(|network| self.check_network(&label.name, network, &mut add));
            }
            Kind::Router => {
                let attachments = self.intent.routers.get(name).into_iter().flatten().enumerate();
                for (idx, attachment) in attachments {
                    if let Some(network) = &attachment.network
                        && !self.intent.networks.contains_key(network)
                    {
                        add(format!("/interfaces/{idx}/network"), format!("there is no network {network:?}"));
                    }
                }
            }
            Kind::Function => {
                let function = self.intent.functions.get(name);
                function
                    .into_iter()
                    .for_each(|function| self.check_function(&label.name, function, &mut add));
            }
            Kind::Chain => {
                let chain = self.intent.chains.get(name);
                chain.into_iter().for_each(|chain| self.check_chain(&label.name, chain, &mut add));
            }
            Kind::Policy => {
                let policy = self.intent.policies.get(name);
                policy.into_iter().for_each(|policy| self.check_policy(&label.name, policy, &mut add));
            }
            Kind::Qos => {
                let qos = self.intent.qos.get(name);
                qos.into_iter().for_each(|qos| self.check_qos(&label.name, qos, &mut add));
            }
            Kind::Path => {
                let route = self.intent.paths.get(name);
                route.into_iter().for_each(|route| self.check_route(&label.name, route, &mut add));
            }
            Kind::Mirror => {
                let mirror = self.intent.mirrors.get(name);
                mirror.into_iter().for_each(|mirror| self.check_mirror(mirror, &mut add));
            }
            Kind::Balancer => {
                let balancer = self.intent.balancers.get(name);
                balancer
                    .into_iter()
                    .for_each(|balancer| self.check_balancer(&label.name, balancer, &mut add));
            }
            Kind::Tenant => {
                let tenant = self.intent.tenants.get(name);
                tenant.into_iter().for_each(|tenant| tenant.check(name, &self.intent, &mut add));
            }
        }
        faults
    }

    fn check_network(&self, name: &Arc<str>, network: &Network, add: &mut impl FnMut(String, String)) {
        let vlan = network.vlan;
        if vlan.get() == layout::DEFAULT_LANE {
            add("/vlan".to_owned(), format!("VLAN {vlan} is used for ports that no network declares"));
        }
        if let Some(other) = before(&self.vlans, &vlan, name) {
            add("/vlan".to_owned(), format!("VLAN {vlan} already belongs to network {other:?}"));
        }
        for (idx, port) in network.access.iter().enumerate() {
            if let Some(other) = before(&self.access, port, name) {
                let reason = format!("{port} is already an access port of network {other:?}");
                add(format!("/ports/{idx}"), reason);
            }
            if network.trunks.contains(port) {
                let reason = format!("{port} cannot be both an access port and a trunk of one network");
                add(format!("/ports/{idx}"), reason);
            }
        }
        for (idx, host) in network.hosts.iter().enumerate() {
            if !network.access.contains(&host.port) && !network.trunks.contains(&host.port) {
                add(format!("/hosts/{idx}/port"), format!("{} is not a port of the network", host.port));
            }
            if !host.mac.is_unicast() {
                add(format!("/hosts/{idx}/mac"), format!("{} is not the address of one host", host.mac));
            }
        }
    }

    fn check_function(&self, name: &Arc<str>, function: &Function, add: &mut impl FnMut(String, String)) {
        for (nth, (pointer, port)) in
            [("/in", &function.ingress), ("/out", &function.egress)].into_iter().enumerate()
        {
            if let Some(network) = self.declared.get(port).and_then(|networks| networks.last()) {
                add(pointer.to_owned(), format!("{port} is a port of network {network:?}"));
            }
            if let Some((other, _)) = before(&self.functions, port, &(name.clone(), nth)) {
                add(pointer.to_owned(), format!("{port} is already a port of function {other:?}"));
            }
        }
    }

    fn check_qos(&self, name: &Arc<str>, qos: &Qos, add: &mut impl FnMut(String, String)) {
        qos.check(add);
        for (idx, port) in qos.ports.iter().enumerate() {
            if let Some(other) = before(&self.limited, port, name) {
                add(format!("/ports/{idx}"), format!("{port} already belongs to qos {other:?}"));
            }
        }
        for (idx, network) in qos.networks.iter().enumerate() {
            let pointer = format!("/networks/{idx}");
            if !self.intent.networks.contains_key(network) {
                add(pointer, format!("there is no network {network:?}"));
            } else if let Some(other) = before(&self.limited_networks, network, name) {
                add(pointer, format!("network {network:?} already belongs to qos {other:?}"));
            }
        }
    }

    fn check_policy(&self, name: &Arc<str>, policy: &Policy, add: &mut impl FnMut(String, String)) {
        if let Some(other) = before(&self.priorities, &policy.priority, name) {
            let reason = format!("priority {} already belongs to policy {other:?}", policy.priority);
            add("/priority".to_owned(), reason);
        }
        policy.check(add);
    }

    fn check_route(&self, name: &Arc<str>, route: &Route, add: &mut impl FnMut(String, String)) {
        route.check(add);
        if let Some(other) = route.headings().find_map(|ends| before(&self.ways, &ends, name)) {
            let reason = format!("path {other:?} leads from one of these ends to the other already");
            add("/to".to_owned(), reason);
        }
    }

    fn check_mirror(&self, mirror: &Mirror, add: &mut impl FnMut(String, String)) {
        mirror.check(add);
        let (to, first) = (&mirror.to, |names: Option<&Names>| names.and_then(BTreeSet::first).cloned());
        if let Some(network) = first(self.declared.get(to)) {
            add("/to".to_owned(), format!("{to} is a port of network {network:?}"));
        }
        if let Some((function, _)) = self.functions.get(to).and_then(BTreeSet::first) {
            add("/to".to_owned(), format!("{to} is a port of function {function:?}"));
        }
        for (idx, port) in mirror.ports.iter().enumerate().filter(|(_, port)| *port != to) {
            if let Some(other) = first(self.outlets.get(port)) {
                add(format!("/ports/{idx}"), format!("copies of mirror {other:?} leave by {port}"));
            }
        }
    }

    fn check_balancer(&self, name: &Arc<str>, balancer: &Balancer, add: &mut impl FnMut(String, String)) {
        balancer.check(add);
        let (network, address) = (&balancer.network, balancer.address);
        match self.intent.networks.get(network) {
            None => add("/network".to_owned(), format!("there is no network {network:?}")),
            Some(network) => {
                let has = |host: &&super::Reservation| host.addresses.contains(&IpAddr::V4(address));
                if let Some(host) = network.hosts.iter().find(has) {
                    add("/address".to_owned(), format!("{address} belongs to the host {}", host.mac));
                }
            }
        }
        if let Some(other) = before(&self.virtual_addresses, &(network.clone(), address), name) {
            add("/address".to_owned(), format!("{address} already belongs to balancer {other:?}"));
        }
        for (source, member) in balancer.sources() {
            if let Some(other) = before(&self.sources, &source, name) {
                let (_, address, _, port) = source;
                let reason =
                    format!("balancer {other:?} has members answer from {address} port {port} already");
                add(format!("/members/{member}/address"), reason);
            }
        }
    }

    fn check_chain(&self, name: &Arc<str>, chain: &Chain, add: &mut impl FnMut(String, String)) {
        for (pointer, ports) in [("/from", &chain.from), ("/to", &chain.to)] {
            if ports.is_empty() {
                add(pointer.to_owned(), "at least one endpoint is needed".to_owned());
            }
        }
        if let Some(port) = chain.from.intersection(&chain.to).next() {
            add("/to".to_owned(), format!("{port} is at both ends"));
        }
        for (idx, function) in chain.functions.iter().enumerate() {
            let pointer = format!("/functions/{idx}");
            if !self.intent.functions.contains_key(function) {
                add(pointer, format!("there is no function {function:?}"));
            } else if let Some((other, _)) = before(&self.users, function, &(name.clone(), idx)) {
                // Frames come back from a function as they went in: nothing tells which chain they belong to.
                add(
                    pointer,
                    format!("function {function:?} already serves chain {other:?}; it can serve one"),
                );
            }
        }
    }
}

/// Who comes right before `own` among those that say something of `key`.
fn before<'a, K: Ord, V: Ord>(all: &'a BTreeMap<K, BTreeSet<V>>, key: &K, own: &V) -> Option<&'a V> {
    all.get(key)?.range(..own).next_back()
}

fn put<K: Ord + Clone, V: Ord>(all: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: V, there: bool) {
    if there {
        all.entry(key.clone()).or_default().insert(value);
    } else if let Some(values) = all.get_mut(key) {
        values.remove(&value);
        if values.is_empty() {
            all.remove(key);
        }
    }
}

impl Intent {
    /// The intent of that name.
    pub fn get(&self, label: &Label) -> Option<Declared> {
        let name = &*label.name;
        match label.kind {
            Kind::Network => self.networks.get(name).cloned().map(Declared::Network),
            Kind::Router => self.routers.get(name).cloned().map(Declared::Router),
            Kind::Function => self.functions.get(name).cloned().map(Declared::Function),
            Kind::Chain => self.chains.get(name).cloned().map(Declared::Chain),
            Kind::Policy => self.policies.get(name).cloned().map(Declared::Policy),
            Kind::Qos => self.qos.get(name).cloned().map(Declared::Qos),
            Kind::Path => self.paths.get(name).cloned().map(Declared::Path),
            Kind::Mirror => self.mirrors.get(name).cloned().map(Declared::Mirror),
            Kind::Balancer => self.balancers.get(name).cloned().map(Declared::Balancer),
            Kind::Tenant => self.tenants.get(name).cloned().map(Declared::Tenant),
        }
    }

    /// Puts an intent in the place of the one of its name; what was there.
    pub(super) fn set(&mut self, label: &Label, to: Option<Declared>) -> Option<Declared> {
        fn set<T>(all: &mut BTreeMap<String, T>, name: &str, to: Option<T>) -> Option<T> {
            match to {
                Some(to) => all.insert(name.to_owned(), to),
                None => all.remove(name),
            }
        }
        macro_rules! kinds {
            ($($kind:ident, $field:ident;)*) => {
                match (label.kind, to) {
                    $((Kind::$kind, Some(Declared::$kind(to))) => {
                        set(&mut self.$field, &label.name, Some(to)).map(Declared::$kind)
                    }
                    // What is not of its kind is nothing.
                    (Kind::$kind, _) => set(&mut self.$field, &label.name, None).map(Declared::$kind),)*
                }
            };
        }
        kinds! {
            Network, networks;
            Router, routers;
            Function, functions;
            Chain, chains;
            Policy, policies;
            Qos, qos;
            Path, paths;
            Mirror, mirrors;
            Balancer, balancers;
            Tenant, tenants;
        }
    }
}
