//! The intents as people wrote them.

use std::collections::BTreeMap;

use controller_api::{
    Balancer, Chain, Declaration, Function, Label, Mirror, Network, Path, Policy, Qos, Resource,
    ResourceChange, ResourceKind, Router, Tenant,
};
use serde::{Deserialize, Serialize};

/// Every intent by kind and name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intents {
    /// Networks.
    #[serde(default)]
    pub networks: BTreeMap<String, Network>,
    /// Routers.
    #[serde(default)]
    pub routers: BTreeMap<String, Router>,
    /// Chain functions.
    #[serde(default)]
    pub functions: BTreeMap<String, Function>,
    /// Chains.
    #[serde(default)]
    pub chains: BTreeMap<String, Chain>,
    /// Policies.
    #[serde(default)]
    pub policies: BTreeMap<String, Policy>,
    /// Rates and queues.
    #[serde(default)]
    pub qos: BTreeMap<String, Qos>,
    /// Ways.
    #[serde(default)]
    pub paths: BTreeMap<String, Path>,
    /// Copies of frames.
    #[serde(default)]
    pub mirrors: BTreeMap<String, Mirror>,
    /// Virtual addresses and who serves there.
    #[serde(default)]
    pub balancers: BTreeMap<String, Balancer>,
    /// What tenants may have.
    #[serde(default)]
    pub tenants: BTreeMap<String, Tenant>,
}

/// One kind of intent.
pub trait Kind: Clone + PartialEq + Send + Sync + 'static {
    /// How it is called in labels and messages.
    const KIND: ResourceKind;
    /// Its name.
    fn name(&self) -> &str;
    /// As one of any kind.
    fn resource(self) -> Resource;
    /// Those of its kind.
    fn of(intents: &Intents) -> &BTreeMap<String, Self>;
    /// The switch ports it names, `switch:port`.
    fn ports(&self) -> Vec<String>;
}

macro_rules! kinds {
    ($($type:ident, $field:ident, $wrap:expr, $ports:expr;)*) => {$(
        impl Kind for $type {
            const KIND: ResourceKind = ResourceKind::$type;
            fn name(&self) -> &str {
                &self.name
            }
            fn resource(self) -> Resource {
                Resource::$type($wrap(self))
            }
            fn of(intents: &Intents) -> &BTreeMap<String, Self> {
                &intents.$field
            }
            fn ports(&self) -> Vec<String> {
                let ports: fn(&$type) -> Vec<String> = $ports;
                ports(self)
            }
        }
    )*};
}

kinds! {
    Network, networks, std::convert::identity,
        |network| network.ports.iter().chain(&network.trunks).map(ToString::to_string).collect();
    Router, routers, Box::new,
        |router| router.interfaces.iter().filter_map(|i| Some(i.attachment.as_ref()?.to_string())).collect();
    Function, functions, std::convert::identity,
        |function| vec![function.ingress.to_string(), function.egress.to_string()];
    Chain, chains, std::convert::identity,
        |chain| chain.from.iter().chain(&chain.to).cloned().collect();
    Policy, policies, std::convert::identity,
        |policy| policy.from.iter().chain(&policy.to).cloned().collect();
    Qos, qos, std::convert::identity, |qos| qos.ports.clone();
    Path, paths, std::convert::identity, |path| vec![path.from.clone(), path.to.clone()];
    Mirror, mirrors, std::convert::identity, |mirror| mirror.ports.iter().chain([&mirror.to]).cloned().collect();
    Balancer, balancers, std::convert::identity,
        |balancer| balancer.members.iter().map(|member| member.port.clone()).collect();
    Tenant, tenants, std::convert::identity, |tenant| tenant.ports.clone().unwrap_or_default();
}

impl Intents {
    /// The intent of that name.
    pub fn get(&self, label: &Label) -> Option<Resource> {
        fn find<K: Kind>(intents: &Intents, name: &str) -> Option<Resource> {
            K::of(intents).get(name).cloned().map(K::resource)
        }
        match label.kind {
            ResourceKind::Network => find::<Network>(self, &label.name),
            ResourceKind::Router => find::<Router>(self, &label.name),
            ResourceKind::Function => find::<Function>(self, &label.name),
            ResourceKind::Chain => find::<Chain>(self, &label.name),
            ResourceKind::Policy => find::<Policy>(self, &label.name),
            ResourceKind::Qos => find::<Qos>(self, &label.name),
            ResourceKind::Path => find::<Path>(self, &label.name),
            ResourceKind::Mirror => find::<Mirror>(self, &label.name),
            ResourceKind::Balancer => find::<Balancer>(self, &label.name),
            ResourceKind::Tenant => find::<Tenant>(self, &label.name),
        }
    }

    /// Puts an intent in the place of the one of its name.
    pub fn put(&mut self, resource: Resource) {
        let name = resource.name().to_owned();
        match resource {
            Resource::Network(network) => drop(self.networks.insert(name, network)),
            Resource::Router(router) => drop(self.routers.insert(name, *router)),
            Resource::Function(function) => drop(self.functions.insert(name, function)),
            Resource::Chain(chain) => drop(self.chains.insert(name, chain)),
            Resource::Policy(policy) => drop(self.policies.insert(name, policy)),
            Resource::Qos(qos) => drop(self.qos.insert(name, qos)),
            Resource::Path(path) => drop(self.paths.insert(name, path)),
            Resource::Mirror(mirror) => drop(self.mirrors.insert(name, mirror)),
            Resource::Balancer(balancer) => drop(self.balancers.insert(name, balancer)),
            Resource::Tenant(tenant) => drop(self.tenants.insert(name, tenant)),
        }
    }

    /// Takes an intent away.
    pub fn remove(&mut self, label: &Label) {
        match label.kind {
            ResourceKind::Network => drop(self.networks.remove(&label.name)),
            ResourceKind::Router => drop(self.routers.remove(&label.name)),
            ResourceKind::Function => drop(self.functions.remove(&label.name)),
            ResourceKind::Chain => drop(self.chains.remove(&label.name)),
            ResourceKind::Policy => drop(self.policies.remove(&label.name)),
            ResourceKind::Qos => drop(self.qos.remove(&label.name)),
            ResourceKind::Path => drop(self.paths.remove(&label.name)),
            ResourceKind::Mirror => drop(self.mirrors.remove(&label.name)),
            ResourceKind::Balancer => drop(self.balancers.remove(&label.name)),
            ResourceKind::Tenant => drop(self.tenants.remove(&label.name)),
        }
    }

    /// The intent as it is to be: `None` takes it away.
    pub fn set(&mut self, label: &Label, resource: Option<Resource>) {
        match resource {
            Some(resource) => self.put(resource),
            None => self.remove(label),
        }
    }

    /// Takes over what a write changed.
    pub fn apply(&mut self, changes: &[ResourceChange]) {
        changes.iter().for_each(|change| self.set(&change.intent, change.after.clone()));
    }

    /// The names of all.
    pub fn labels(&self) -> impl Iterator<Item = Label> + '_ {
        fn of<K: Kind>(intents: &Intents) -> impl Iterator<Item = Label> + '_ {
            K::of(intents).keys().map(|name| Label { kind: K::KIND, name: name.clone() })
        }
        let first = of::<Network>(self).chain(of::<Router>(self)).chain(of::<Function>(self));
        first
            .chain(of::<Chain>(self))
            .chain(of::<Policy>(self))
            .chain(of::<Qos>(self))
            .chain(of::<Path>(self))
            .chain(of::<Mirror>(self))
            .chain(of::<Balancer>(self))
            .chain(of::<Tenant>(self))
    }

    /// All of them, for people and files.
    pub fn declaration(&self) -> Declaration {
        Declaration {
            networks: self.networks.values().cloned().collect(),
            routers: self.routers.values().cloned().collect(),
            functions: self.functions.values().cloned().collect(),
            chains: self.chains.values().cloned().collect(),
            policies: self.policies.values().cloned().collect(),
            qos: self.qos.values().cloned().collect(),
            paths: self.paths.values().cloned().collect(),
            mirrors: self.mirrors.values().cloned().collect(),
            balancers: self.balancers.values().cloned().collect(),
            tenants: self.tenants.values().cloned().collect(),
        }
    }
}
