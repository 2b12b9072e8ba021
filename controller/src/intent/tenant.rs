//! Tenants: how much of what may be declared in their name, and of what.
//!
//! The intents of a tenant have its name and a hyphen before their own. What one of them contradicts is said at the tenant: it is the
//! tenant that does not allow it.

use std::collections::{BTreeMap, BTreeSet};

use super::qos::check_rate;
use super::{Intent, Kind, Label, PortName};

/// What a tenant may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tenant {
    /// Most intents of a kind; a kind that is not there has no limit.
    pub quota: BTreeMap<Kind, u32>,
    /// Most ports of all its networks together.
    pub max_ports: Option<u32>,
    /// Ports that its intents may name: `switch:port`, or all of a switch. None: any.
    pub ports: Option<BTreeSet<String>>,
    /// What hosts may send into all its networks together, on each switch by itself. In kbit/s; none: without limit.
    pub rate: Option<u32>,
    /// What may come at once, in kbit.
    pub burst: Option<u32>,
}

/// The tenants whose intent one of this name is, if they are declared.
pub(crate) fn owners<'a>(
    name: &'a str,
    tenants: &'a BTreeMap<String, Tenant>,
) -> impl Iterator<Item = &'a str> {
    let ends = name.match_indices('-').map(|(at, _)| &name[..at]);
    ends.filter_map(|owner| Some(tenants.get_key_value(owner)?.0.as_str()))
}

/// The tenant whose rate limits a network: the innermost that has one.
pub(crate) fn limited_by<'a>(network: &'a str, intent: &'a Intent) -> Option<&'a str> {
    owners(network, &intent.tenants).filter(|owner| intent.tenants[*owner].rate.is_some()).last()
}

/// The ports that an intent names.
fn ports_of<'a>(intent: &'a Intent, Label { kind, name }: &Label) -> Vec<&'a PortName> {
    let name = &**name;
    match kind {
        Kind::Network => {
            let networks = intent.networks.get(name).into_iter();
            networks.flat_map(|network| network.access.iter().chain(&network.trunks)).collect()
        }
        Kind::Router => intent.routers.get(name).into_iter().flatten().map(|own| &own.port).collect(),
        Kind::Function => {
            let functions = intent.functions.get(name).into_iter();
            functions.flat_map(|function| [&function.ingress, &function.egress]).collect()
        }
        Kind::Chain => {
            intent.chains.get(name).into_iter().flat_map(|chain| chain.from.iter().chain(&chain.to)).collect()
        }
        Kind::Policy => {
            let policies = intent.policies.get(name).into_iter();
            policies.flat_map(|policy| policy.from.iter().chain(&policy.to)).collect()
        }
        Kind::Qos => intent.qos.get(name).into_iter().flat_map(|qos| &qos.ports).collect(),
        Kind::Path => intent.paths.get(name).into_iter().flat_map(|route| [&route.from, &route.to]).collect(),
        Kind::Mirror => {
            let mirrors = intent.mirrors.get(name).into_iter();
            mirrors.flat_map(|mirror| mirror.ports.iter().chain([&mirror.to])).collect()
        }
        Kind::Balancer => {
            let balancers = intent.balancers.get(name).into_iter();
            balancers.flat_map(|balancer| &balancer.members).map(|member| &member.port).collect()
        }
        Kind::Tenant => vec![],
    }
}

fn is_of(tenant: &str, name: &str) -> bool {
    name.strip_prefix(tenant).is_some_and(|rest| rest.starts_with('-'))
}

impl Tenant {
    fn may_name(&self, port: &PortName) -> bool {
        let Some(ports) = &self.ports else { return true };
        ports.contains(&port.switch) || ports.contains(&port.to_string())
    }

    /// Says what of the tenant's intents it does not allow.
    pub(super) fn check(&self, name: &str, intent: &Intent, add: &mut impl FnMut(String, String)) {
        check_rate(self.rate, self.burst, add);
        let mut n_of: BTreeMap<Kind, u32> = BTreeMap::new();
        for label in intent.labels_from(&format!("{name}-")).filter(|label| is_of(name, &label.name)) {
            *n_of.entry(label.kind).or_default() += 1;
            for port in ports_of(intent, &label).iter().filter(|port| !self.may_name(port)) {
                add(
                    "/ports".to_owned(),
                    format!("{label} names {port}, which is not among the ports of the tenant"),
                );
            }
            self.check_references(name, intent, &label, add);
        }
        for (kind, most) in &self.quota {
            let n = n_of.get(kind).copied().unwrap_or(0);
            if n > *most {
                let collection = kind.collection();
                add(format!("/quota/{collection}"), format!("{n} {collection} where {most} are allowed"));
            }
        }
        let networks = intent.networks.range(format!("{name}-")..).take_while(|(own, _)| is_of(name, own));
        let n: usize = networks.map(|(_, network)| network.access.len() + network.trunks.len()).sum();
        if let Some(most) = self.max_ports.filter(|most| n > *most as usize) {
            add("/quota/ports".to_owned(), format!("{n} ports of networks where {most} are allowed"));
        }
    }

    /// Its intents are about its own networks and functions, and its policies about its own ports.
    fn check_references(
        &self,
        name: &str,
        intent: &Intent,
        label: &Label,
        add: &mut impl FnMut(String, String),
    ) {
        let own = &*label.name;
        let named: Vec<&String> = match label.kind {
            Kind::Router => {
                let attachments = intent.routers.get(own).into_iter().flatten();
                attachments.filter_map(|attachment| attachment.network.as_ref()).collect()
            }
            Kind::Chain => intent.chains.get(own).into_iter().flat_map(|chain| &chain.functions).collect(),
            Kind::Qos => intent.qos.get(own).into_iter().flat_map(|qos| &qos.networks).collect(),
            Kind::Balancer => {
                intent.balancers.get(own).into_iter().map(|balancer| &balancer.network).collect()
            }
            _ => vec![],
        };
        for other in named.into_iter().filter(|other| !is_of(name, other)) {
            add("/name".to_owned(), format!("{label} is about {other:?}, which is not the tenant's"));
        }
        if label.kind == Kind::Policy && intent.policies.get(own).is_some_and(|policy| policy.to.is_empty()) {
            add("/name".to_owned(), format!("{label} is about what is sent to anybody: it must name ports"));
        }
    }
}
