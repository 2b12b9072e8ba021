//! What an operator wants, checked for contradictions as far as that needs no network.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use packet::{MacAddr, VlanId};

mod balancer;
mod mirror;
mod policy;
mod qos;
mod register;
mod route;
pub(crate) mod tenant;

pub use balancer::{Balancer, Member, Service};
pub use mirror::Mirror;
pub use policy::{Judgement, Policy, Traffic};
pub use qos::Qos;
pub(crate) use register::Ledger;
pub use route::Route;
pub use tenant::Tenant;

/// A port as people name it: a switch by name or dpid, a port by number or name. It need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortName {
    /// Name of the switch, or its dpid.
    pub switch: String,
    /// Number or name of the port.
    pub port: String,
}

impl PortName {
    /// `switch:port`.
    pub fn new(switch: impl Into<String>, port: impl ToString) -> Self {
        Self { switch: switch.into(), port: port.to_string() }
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.switch, self.port)
    }
}

/// An isolated L2 segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Tag on links and trunk ports.
    pub vlan: VlanId,
    /// Ports whose frames are untagged.
    pub access: BTreeSet<PortName>,
    /// Ports whose frames carry the tag.
    pub trunks: BTreeSet<PortName>,
    /// Endpoints known beforehand.
    pub hosts: Vec<Reservation>,
}

/// An endpoint known before it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Where it is attached.
    pub port: PortName,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
}

/// A router's interface plugged into a switch port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the router.
    pub router: String,
    /// The switch port.
    pub port: PortName,
    /// Tag of a sub-interface.
    pub vlan: Option<VlanId>,
    /// Its network; absent on a sub-interface: the one with that tag; absent otherwise: as the port is declared.
    pub network: Option<String>,
}

/// Traffic that passes functions in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Where it comes from.
    pub from: BTreeSet<PortName>,
    /// Where it goes to.
    pub to: BTreeSet<PortName>,
    /// Names of functions in order.
    pub functions: Vec<String>,
    /// What returns passes them in reverse order.
    pub symmetric: bool,
}

/// A chain function and its two ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Where frames in the direction of the chain are handed to it.
    pub ingress: PortName,
    /// Where it gives them back.
    pub egress: PortName,
}

/// All that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// Networks by name.
    pub networks: BTreeMap<String, Network>,
    /// Where routers are plugged in, by name of the router.
    pub routers: BTreeMap<String, Vec<Attachment>>,
    /// Functions by name.
    pub functions: BTreeMap<String, Function>,
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// Policies by name.
    pub policies: BTreeMap<String, Policy>,
    /// Rates and queues by name.
    pub qos: BTreeMap<String, Qos>,
    /// Ways by name.
    pub paths: BTreeMap<String, Route>,
    /// Mirrors by name.
    pub mirrors: BTreeMap<String, Mirror>,
    /// Virtual addresses by name.
    pub balancers: BTreeMap<String, Balancer>,
    /// Tenants by name.
    pub tenants: BTreeMap<String, Tenant>,
}

/// The kinds of intents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A network.
    Network,
    /// A router.
    Router,
    /// A chain function.
    Function,
    /// A chain.
    Chain,
    /// A policy.
    Policy,
    /// Rates and queues.
    Qos,
    /// A way.
    Path,
    /// A mirror.
    Mirror,
    /// A virtual address.
    Balancer,
    /// A tenant.
    Tenant,
}

impl Kind {
    /// As collections of them are called.
    pub fn collection(self) -> &'static str {
        match self {
            Self::Network => "networks",
            Self::Router => "routers",
            Self::Function => "functions",
            Self::Chain => "chains",
            Self::Policy => "policies",
            Self::Qos => "qos",
            Self::Path => "paths",
            Self::Mirror => "mirrors",
            Self::Balancer => "balancers",
            Self::Tenant => "tenants",
        }
    }
}

/// An intent by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
}

impl Label {
    /// The label of an intent.
    pub fn new(kind: Kind, name: &str) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for Label {
    /// `network/blue`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Network => "network",
            Kind::Router => "router",
            Kind::Function => "function",
            Kind::Chain => "chain",
            Kind::Policy => "policy",
            Kind::Qos => "qos",
            Kind::Path => "path",
            Kind::Mirror => "mirror",
            Kind::Balancer => "balancer",
            Kind::Tenant => "tenant",
        };
        write!(f, "{kind}/{}", self.name)
    }
}

/// An intent of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// A network.
    Network(Network),
    /// Where a router is plugged in.
    Router(Vec<Attachment>),
    /// A chain function.
    Function(Function),
    /// A chain.
    Chain(Chain),
    /// A policy.
    Policy(Policy),
    /// Rates and queues.
    Qos(Qos),
    /// A way.
    Path(Route),
    /// A mirror.
    Mirror(Mirror),
    /// A virtual address.
    Balancer(Balancer),
    /// A tenant.
    Tenant(Tenant),
}

/// One intent changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which.
    pub label: Label,
    /// As it is to be; `None`: gone.
    pub to: Option<Declared>,
}

/// A contradiction within an intent, or between two.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{label}: {reason}")]
pub struct Fault {
    /// Which intent: `network/blue`.
    pub label: String,
    /// JSON pointer to the field within it.
    pub pointer: String,
    /// What is wrong, with the other side named.
    pub reason: String,
}

impl Intent {
    /// All intents.
    pub fn labels(&self) -> impl Iterator<Item = Label> + '_ {
        fn of<'a, T>(kind: Kind, intents: &'a BTreeMap<String, T>) -> impl Iterator<Item = Label> + 'a {
            intents.keys().map(move |name| Label::new(kind, name))
        }
        of(Kind::Network, &self.networks)
            .chain(of(Kind::Router, &self.routers))
            .chain(of(Kind::Function, &self.functions))
            .chain(of(Kind::Chain, &self.chains))
            .chain(of(Kind::Policy, &self.policies))
            .chain(of(Kind::Qos, &self.qos))
            .chain(of(Kind::Path, &self.paths))
            .chain(of(Kind::Mirror, &self.mirrors))
            .chain(of(Kind::Balancer, &self.balancers))
            .chain(of(Kind::Tenant, &self.tenants))
    }

    /// All intents whose names begin like this.
    fn labels_from<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = Label> + 'a {
        fn of<'a, T>(
            kind: Kind,
            prefix: &'a str,
            intents: &'a BTreeMap<String, T>,
        ) -> impl Iterator<Item = Label> + 'a {
            let all = intents.range(prefix.to_owned()..).map(|(name, _)| name);
            all.take_while(move |name| name.starts_with(prefix)).map(move |name| Label::new(kind, name))
        }
        of(Kind::Network, prefix, &self.networks)
            .chain(of(Kind::Router, prefix, &self.routers))
            .chain(of(Kind::Function, prefix, &self.functions))
            .chain(of(Kind::Chain, prefix, &self.chains))
            .chain(of(Kind::Policy, prefix, &self.policies))
            .chain(of(Kind::Qos, prefix, &self.qos))
            .chain(of(Kind::Path, prefix, &self.paths))
            .chain(of(Kind::Mirror, prefix, &self.mirrors))
            .chain(of(Kind::Balancer, prefix, &self.balancers))
    }

    /// The intents that are in only one of the two, or differ.
    pub fn difference(&self, other: &Self) -> BTreeSet<Label> {
        fn of<'a, T: PartialEq>(
            kind: Kind,
            these: &'a BTreeMap<String, T>,
            those: &'a BTreeMap<String, T>,
        ) -> impl Iterator<Item = Label> + 'a {
            let here = these.iter().filter(|(name, intent)| those.get(*name) != Some(*intent));
            let there = those.keys().filter(|name| !these.contains_key(*name));
            here.map(|(name, _)| name).chain(there).map(move |name| Label::new(kind, name))
        }
        of(Kind::Network, &self.networks, &other.networks)
            .chain(of(Kind::Router, &self.routers, &other.routers))
            .chain(of(Kind::Function, &self.functions, &other.functions))
            .chain(of(Kind::Chain, &self.chains, &other.chains))
            .chain(of(Kind::Policy, &self.policies, &other.policies))
            .chain(of(Kind::Qos, &self.qos, &other.qos))
            .chain(of(Kind::Path, &self.paths, &other.paths))
            .chain(of(Kind::Mirror, &self.mirrors, &other.mirrors))
            .chain(of(Kind::Balancer, &self.balancers, &other.balancers))
            .chain(of(Kind::Tenant, &self.tenants, &other.tenants))
            .collect()
    }

    /// Everything that contradicts itself or another intent. Empty: it may be planned.
    pub fn faults(&self) -> Vec<Fault> {
        Ledger::new(self.clone()).faults(self.labels())
    }

    /// With these changes.
    pub fn edited(&self, edits: Vec<Edit>) -> Self {
        let mut intent = self.clone();
        edits.into_iter().for_each(|Edit { label, to }| drop(intent.set(&label, to)));
        intent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(vlan: u16, ports: &[&str]) -> Network {
        let access = ports.iter().map(|port| PortName::new("s1", port)).collect();
        Network { vlan: VlanId::new(vlan).unwrap(), access, trunks: BTreeSet::new(), hosts: Vec::new() }
    }

    #[test]
    fn contradictions_name_both_sides() {
        let mut intent = Intent::default();
        intent.networks.insert("blue".into(), network(10, &["1", "2"]));
        assert_eq!(intent.faults(), []);
        intent.networks.insert("red".into(), network(10, &["2"]));
        let reasons: Vec<_> =
            intent.faults().into_iter().map(|f| (f.pointer.clone(), f.to_string())).collect();
        let port = "network/red: s1:2 is already an access port of network \"blue\"";
        let vlan = "network/red: VLAN 10 already belongs to network \"blue\"";
        assert_eq!(
            reasons,
            [("/vlan".to_owned(), vlan.to_owned()), ("/ports/0".to_owned(), port.to_owned())]
        );
    }

    #[test]
    fn a_function_serves_one_chain() {
        let mut intent = Intent::default();
        let [ingress, egress] = ["1", "2"].map(|port| PortName::new("s1", port));
        intent.functions.insert("fw".into(), Function { ingress, egress });
        let chain = |to: &str, functions: &[&str]| Chain {
            from: [PortName::new("s1", "3")].into(),
            to: [PortName::new("s1", to)].into(),
            functions: functions.iter().map(|&f| f.to_owned()).collect(),
            symmetric: true,
        };
        intent.chains.insert("a".into(), chain("4", &["fw"]));
        assert_eq!(intent.faults(), []);
        intent.chains.insert("b".into(), chain("3", &["fw", "nat"]));
        let pointers: Vec<_> = intent.faults().into_iter().map(|f| f.pointer).collect();
        assert_eq!(pointers, ["/to", "/functions/0", "/functions/1"]);
    }
}
