//! What was declared, as a whole and change by change.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::{PortRef, TextError};
use crate::{Balancer, Chain, Function, Mirror, Network, Path, Policy, Qos, Router, Tenant};

/// An intent of any kind: `{"network": {"name": "blue", ...}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// A network.
    Network(Network),
    /// A router.
    Router(Box<Router>),
    /// A chain function.
    Function(Function),
    /// A chain.
    Chain(Chain),
    /// A policy.
    Policy(Policy),
    /// Rates and queues.
    Qos(Qos),
    /// A way.
    Path(Path),
    /// Copies of frames.
    Mirror(Mirror),
    /// A virtual address and who serves there.
    Balancer(Balancer),
    /// What a tenant may have.
    Tenant(Tenant),
}

/// A kind of intent.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ResourceKind {
    /// Networks.
    Network,
    /// Routers.
    Router,
    /// Chain functions.
    Function,
    /// Chains.
    Chain,
    /// Policies.
    Policy,
    /// Rates and queues.
    Qos,
    /// Ways.
    Path,
    /// Mirrors.
    Mirror,
    /// Balancers.
    Balancer,
    /// Tenants.
    Tenant,
}

impl ResourceKind {
    /// Every kind, each before those that refer to it.
    pub const ALL: [Self; 10] = [
        Self::Network,
        Self::Router,
        Self::Function,
        Self::Chain,
        Self::Policy,
        Self::Qos,
        Self::Path,
        Self::Mirror,
        Self::Balancer,
        Self::Tenant,
    ];

    /// As it is written: `network`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Router => "router",
            Self::Function => "function",
            Self::Chain => "chain",
            Self::Policy => "policy",
            Self::Qos => "qos",
            Self::Path => "path",
            Self::Mirror => "mirror",
            Self::Balancer => "balancer",
            Self::Tenant => "tenant",
        }
    }

    /// The collection's name in paths: `networks`.
    pub const fn collection(self) -> &'static str {
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

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ResourceKind {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let named = |kind: &Self| text == kind.word() || text == kind.collection();
        let kind = Self::ALL.into_iter().find(named);
        kind.ok_or_else(|| {
            TextError::new(
                "a kind: network, router, function, chain, path, mirror, balancer, tenant, policy or qos",
                text,
            )
        })
    }
}

impl Resource {
    /// Its kind.
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::Network(_) => ResourceKind::Network,
            Self::Router(_) => ResourceKind::Router,
            Self::Function(_) => ResourceKind::Function,
            Self::Chain(_) => ResourceKind::Chain,
            Self::Policy(_) => ResourceKind::Policy,
            Self::Qos(_) => ResourceKind::Qos,
            Self::Path(_) => ResourceKind::Path,
            Self::Mirror(_) => ResourceKind::Mirror,
            Self::Balancer(_) => ResourceKind::Balancer,
            Self::Tenant(_) => ResourceKind::Tenant,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Network(network) => &network.name,
            Self::Router(router) => &router.name,
            Self::Function(function) => &function.name,
            Self::Chain(chain) => &chain.name,
            Self::Policy(policy) => &policy.name,
            Self::Qos(qos) => &qos.name,
            Self::Path(path) => &path.name,
            Self::Mirror(mirror) => &mirror.name,
            Self::Balancer(balancer) => &balancer.name,
            Self::Tenant(tenant) => &tenant.name,
        }
    }

    /// Kind and name together.
    pub fn label(&self) -> Label {
        Label { kind: self.kind(), name: self.name().to_owned() }
    }
}

/// Which intent: `network/blue`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
}

impl FromStr for Label {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new("KIND/NAME such as network/blue", text);
        let (kind, name) = text.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(wrong)?;
        Ok(Self { kind: kind.parse()?, name: name.to_owned() })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

crate::text::text_value!(
    Label,
    "^((network|router|function|chain|path|mirror|balancer|tenant)s?|policy|policies|qos)/.+$",
    "network/blue",
    "an intent, KIND/NAME"
);

/// Everything that is declared; `GET` and `PUT /api/v1/intents`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// Isolated L2 segments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// Virtual routers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<Router>,
    /// Chain functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<Function>,
    /// Chains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<Chain>,
    /// Policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// Rates and queues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub qos: Vec<Qos>,
    /// Ways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Path>,
    /// Copies of frames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
    /// Virtual addresses and who serves there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balancers: Vec<Balancer>,
    /// What tenants may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<Tenant>,
}

impl Declaration {
    /// Every intent, each before those that refer to it.
    pub fn into_resources(self) -> impl Iterator<Item = Resource> {
        let networks = self.networks.into_iter().map(Resource::Network);
        let routers = self.routers.into_iter().map(|router| Resource::Router(Box::new(router)));
        let functions = self.functions.into_iter().map(Resource::Function);
        let chains = self.chains.into_iter().map(Resource::Chain);
        let policies = self.policies.into_iter().map(Resource::Policy);
        let qos = self.qos.into_iter().map(Resource::Qos);
        let paths = self.paths.into_iter().map(Resource::Path);
        let mirrors = self.mirrors.into_iter().map(Resource::Mirror);
        let balancers = self.balancers.into_iter().map(Resource::Balancer);
        let tenants = self.tenants.into_iter().map(Resource::Tenant);
        networks
            .chain(routers)
            .chain(functions)
            .chain(chains)
            .chain(policies)
            .chain(qos)
            .chain(paths)
            .chain(mirrors)
            .chain(balancers)
            .chain(tenants)
    }
}

impl Extend<Resource> for Declaration {
    fn extend<I: IntoIterator<Item = Resource>>(&mut self, resources: I) {
        for resource in resources {
            match resource {
                Resource::Network(network) => self.networks.push(network),
                Resource::Router(router) => self.routers.push(*router),
                Resource::Function(function) => self.functions.push(function),
                Resource::Chain(chain) => self.chains.push(chain),
                Resource::Policy(policy) => self.policies.push(policy),
                Resource::Qos(qos) => self.qos.push(qos),
                Resource::Path(path) => self.paths.push(path),
                Resource::Mirror(mirror) => self.mirrors.push(mirror),
                Resource::Balancer(balancer) => self.balancers.push(balancer),
                Resource::Tenant(tenant) => self.tenants.push(tenant),
            }
        }
    }
}

/// Body of `POST /api/v1/batch`: all of it happens, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// In any order; at most 10,000.
    pub operations: Vec<Operation>,
}

/// One part of a batch: `put` or `delete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Creates or replaces this intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put: Option<Resource>,
    /// Deletes this intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<Label>,
    /// Only if the intent was last changed by this revision; 0: only if it does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
}

impl Operation {
    /// Creates or replaces an intent.
    pub fn put(resource: Resource) -> Self {
        Self { put: Some(resource), ..Self::default() }
    }

    /// Deletes an intent.
    pub fn delete(label: Label) -> Self {
        Self { delete: Some(label), ..Self::default() }
    }
}

/// What became of a write of several intents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The revision of the store afterwards.
    pub revision: u64,
    /// The intents that it changed; none if all were as wanted.
    pub changed: Vec<Label>,
}

/// One revision of what is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// Its number, from 1 on.
    pub revision: u64,
    /// When, in UTC (RFC 3339).
    pub at: String,
    /// Where the request came from.
    pub by: String,
    /// The request.
    pub request: String,
    /// What it changed.
    pub changes: Vec<ResourceChange>,
}

/// A change of one intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceChange {
    /// Which intent.
    pub intent: Label,
    /// As it was; absent: it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Resource>,
    /// As it is; absent: it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Resource>,
}

/// What an event of `GET /api/v1/watch` carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchEvent {
    /// The revision that changed the intent.
    pub revision: u64,
    /// Which intent.
    pub intent: Label,
    /// As it is; absent: it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Resource>,
}

/// An accepted write, of intents or of raw flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// Its number, from 1 on.
    pub entry: u64,
    /// When, in UTC (RFC 3339).
    pub at: String,
    /// Where the request came from.
    pub by: String,
    /// The request.
    pub request: String,
    /// The revision it made, if it changed what is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What it did, for people.
    pub what: String,
}

/// What a write would do: the answer to `?dry_run=true`, media type `application/vnd.weft.forecast+json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// Changes of each switch; switches that stay as they are left out.
    pub switches: Vec<SwitchForecast>,
    /// Pairs of endpoints that would reach each other and do not now.
    pub gained: PairList,
    /// Pairs of endpoints that reach each other now and would not.
    pub lost: PairList,
    /// What could not be planned, by intent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<String>,
}

impl Forecast {
    /// Nothing would change.
    pub fn is_empty(&self) -> bool {
        self.switches.is_empty() && self.gained.n_pairs == 0 && self.lost.n_pairs == 0
    }
}

/// Changes of one switch, in the order they would be sent, each as ovs-ofctl reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchForecast {
    /// Its name.
    pub switch: String,
    /// Whether they could be sent now; otherwise when it connects.
    pub connected: bool,
    /// New flows, for `add-flow`.
    #[serde(default)]
    pub adds: Vec<String>,
    /// Flows that get other instructions, for `add-flow`, too: it replaces them.
    #[serde(default)]
    pub modifies: Vec<String>,
    /// Flows that go, for `--strict del-flows`.
    #[serde(default)]
    pub deletes: Vec<String>,
}

/// Pairs of endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PairList {
    /// How many there are.
    pub n_pairs: u64,
    /// The first thousand of them.
    pub pairs: Vec<Pair>,
}

/// Two endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// One.
    pub a: EndpointRef,
    /// The other.
    pub b: EndpointRef,
}

/// Where hosts are: a port, and on a trunk the tag of their frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointRef {
    /// The port.
    pub port: PortRef,
    /// The tag; absent on an access port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

impl fmt::Display for EndpointRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vlan {
            Some(vlan) => write!(f, "{} (VLAN {vlan})", self.port),
            None => self.port.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_what_it_writes_and_refuses_what_it_does_not_know() {
        let text = r#"{"operations":[{"put":{"network":{"name":"blue","vlan":10,"ports":["s1:1"]}}},{"delete":"chain/web","if_revision":7}]}"#;
        let batch: Batch = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&batch).unwrap(), text);
        for wrong in [
            r#"{"operations":[{"put":{"networks":{}}}]}"#,
            r#"{"operations":[{"delete":"web"}]}"#,
            r#"{"operations":[{"delete":"colour/web"}]}"#,
            r#"{"operations":[{"patch":1}]}"#,
        ] {
            assert!(serde_json::from_str::<Batch>(wrong).is_err(), "{wrong}");
        }
    }
}
