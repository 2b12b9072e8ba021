//! Configuration of routers, pushed to where they run.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use controller::{Guard, Judgement, Traffic};
use controller_api::client::{Client, Intent};
use controller_api::{
    AddressGroup, Cidr, FirewallAction, FirewallRule, Router, State, TraceReply, TraceRequest,
};

use super::hub::Hub;

/// What became of a router.
#[derive(Debug, Clone, PartialEq)]
pub enum RouterChange {
    /// It has this configuration now.
    Put(Box<Router>),
    /// It is gone.
    Delete(String),
}

/// Configures the routers of this process. The error is for people.
pub type RouterSink =
    Arc<dyn Fn(RouterChange) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Asks the routers of this process, by the node of the request's port, what they would do with a frame. The error is for
/// people.
pub type RouterTracer = Arc<
    dyn Fn(TraceRequest) -> Pin<Box<dyn Future<Output = Result<TraceReply, String>> + Send>> + Send + Sync,
>;

/// Routers and how far they are.
#[derive(Default)]
pub struct Routers {
    /// Configures those without a server.
    pub sink: Option<RouterSink>,
    /// Follows frames through those without a server.
    pub tracer: Option<RouterTracer>,
    /// What policies that keep state asked of each when it was pushed last.
    pub guards: BTreeMap<String, Vec<Guard>>,
    /// By name: what was pushed, and what became of it.
    states: BTreeMap<String, (Router, State, Option<String>)>,
}

impl Routers {
    /// How far a router is, and why.
    pub fn state(&self, router: &Router) -> (State, Option<String>) {
        match self.states.get(&router.name) {
            Some((pushed, state, reason)) if pushed == router => (*state, reason.clone()),
            _ => (State::Pending, None),
        }
    }

    /// What has to be pushed so that routers are as `wanted`; those count as under way from now on.
    pub fn changes(&mut self, wanted: &BTreeMap<String, Router>) -> Vec<(RouterChange, Option<String>)> {
        let mut changes = Vec::new();
        for (name, router) in wanted {
            if self.states.get(name).is_none_or(|(pushed, ..)| pushed != router) {
                changes.push((RouterChange::Put(Box::new(router.clone())), router.server.clone()));
            }
        }
        for (name, (router, ..)) in &self.states {
            if !wanted.contains_key(name) {
                changes.push((RouterChange::Delete(name.clone()), router.server.clone()));
            }
        }
        for (change, _) in &changes {
            match change {
                RouterChange::Put(router) => {
                    let state = (Router::clone(router), State::Pending, None);
                    self.states.insert(router.name.clone(), state);
                }
                RouterChange::Delete(name) => drop(self.states.remove(name)),
            }
        }
        changes
    }

    /// Notes what became of a push.
    pub fn note(&mut self, router: &Router, result: Result<(), String>) {
        if let Some((pushed, state, reason)) = self.states.get_mut(&router.name)
            && pushed == router
        {
            (*state, *reason) = match result {
                Ok(()) => (State::Realised, None),
                Err(error) => (State::Failed, Some(error)),
            };
        }
    }

    /// Everything without a server is pushed anew: there is somebody to take it now.
    pub fn forget_local(&mut self) {
        self.states.retain(|_, (router, ..)| router.server.is_some());
    }
}

/// A router with the rules of policies that keep state before its own, each by groups of addresses.
pub fn guarded(router: &Router, guards: &[Guard]) -> Router {
    let mut router = router.clone();
    let mut rules = Vec::new();
    // Nobody is there yet, or nobody knows his address: there is nothing to judge.
    for guard in guards.iter().filter(|guard| !guard.from.is_empty() && !guard.to.is_empty()) {
        let names = ["from", "to"].map(|end| format!("{}/{end}", guard.label));
        for (name, addresses) in names.iter().zip([&guard.from, &guard.to]) {
            let members = addresses.iter().map(|address| Cidr::host(*address)).collect();
            router.groups.push(AddressGroup { name: name.clone(), members, groups: Vec::new() });
        }
        let [from, to] = names;
        let action = match guard.judgement {
            Judgement::Allow => FirewallAction::Allow,
            Judgement::Deny => FirewallAction::Drop,
            Judgement::Reject => FirewallAction::Reject,
        };
        rules.extend(traffic_of(&guard.traffic).into_iter().map(|(protocol, ports)| FirewallRule {
            from_group: Some(from.clone()),
            to_group: Some(to.clone()),
            protocol: protocol.map(str::to_owned),
            ports: ports.map(|port| port.to_string()),
            ..FirewallRule::of(action)
        }));
    }
    router.firewall.splice(0..0, rules);
    router
}

/// Protocols and ports, in the words of a firewall.
fn traffic_of(traffic: &Traffic) -> Vec<(Option<&'static str>, Option<u16>)> {
    let ports = |protocol, ports: &BTreeSet<u16>| match ports.is_empty() {
        true => vec![(Some(protocol), None)],
        false => ports.iter().map(|port| (Some(protocol), Some(*port))).collect(),
    };
    match traffic {
        Traffic::Ip => vec![(None, None)],
        Traffic::Icmp => vec![(Some("icmp"), None), (Some("icmpv6"), None)],
        Traffic::Tcp(numbers) => ports("tcp", numbers),
        Traffic::Udp(numbers) => ports("udp", numbers),
    }
}

/// Pushes one change and notes the outcome.
pub async fn push(hub: Arc<Hub>, change: RouterChange, server: Option<String>, sink: Option<RouterSink>) {
    let result = match (&server, sink) {
        (Some(server), _) => push_to(server, &change).await,
        (None, Some(sink)) => sink(change.clone()).await,
        (None, None) => return,
    };
    match (&change, &result) {
        (RouterChange::Put(router), Err(error)) => {
            tracing::warn!(router = router.name, error, "not configured")
        }
        (RouterChange::Delete(name), Err(error)) => tracing::warn!(router = name, error, "not removed"),
        _ => {}
    }
    if let RouterChange::Put(router) = change {
        hub.router_pushed(&router, result);
    }
}

/// What a router would do with a frame; none if there is nobody to ask.
pub async fn trace(
    server: Option<&str>,
    tracer: Option<RouterTracer>,
    request: TraceRequest,
) -> Option<Result<TraceReply, String>> {
    match (server, tracer) {
        (Some(server), _) => Some(trace_at(server, &request).await),
        (None, Some(tracer)) => Some(tracer(request).await),
        (None, None) => None,
    }
}

async fn trace_at(server: &str, request: &TraceRequest) -> Result<TraceReply, String> {
    let client = Client::new(server.parse().map_err(|error| format!("{error}"))?);
    client.trace(request).await.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

async fn push_to(server: &str, change: &RouterChange) -> Result<(), String> {
    let client = Client::new(server.parse().map_err(|error| format!("{error}"))?);
    let path =
        |name: &str| format!("/api/v1/{}/{}", Router::COLLECTION, controller_api::client::escape(name));
    let result = match change {
        RouterChange::Put(router) => {
            client.put::<_, serde_json::Value>(&path(&router.name), router.as_ref()).await.map(drop)
        }
        RouterChange::Delete(name) => client.delete::<serde_json::Value>(&path(name)).await.map(drop),
    };
    result.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_stand_before_the_rules_of_the_router_itself() {
        let own = FirewallRule { protocol: Some("tcp".to_owned()), ..FirewallRule::of(FirewallAction::Drop) };
        let router = Router { name: "r1".to_owned(), firewall: vec![own.clone()], ..Router::default() };
        let guard = |label: &str, judgement, to: &[u8], traffic| Guard {
            label: label.to_owned(),
            judgement,
            from: [[10, 1, 0, 1].into()].into(),
            to: to.iter().map(|n| [10, 2, 0, *n].into()).collect(),
            traffic,
        };
        let web = guard("policy/web", Judgement::Allow, &[2, 3], Traffic::Tcp([80, 443].into()));
        let icmp = guard("policy/icmp", Judgement::Reject, &[2], Traffic::Icmp);
        let nobody = guard("policy/nobody", Judgement::Deny, &[], Traffic::Ip);
        let guarded = guarded(&router, &[web, icmp, nobody]);
        let rule = |label: &str, protocol: &str, port: Option<u16>, action| FirewallRule {
            from_group: Some(format!("policy/{label}/from")),
            to_group: Some(format!("policy/{label}/to")),
            protocol: Some(protocol.to_owned()),
            ports: port.map(|port| port.to_string()),
            ..FirewallRule::of(action)
        };
        let rules = [
            rule("web", "tcp", Some(80), FirewallAction::Allow),
            rule("web", "tcp", Some(443), FirewallAction::Allow),
            rule("icmp", "icmp", None, FirewallAction::Reject),
            rule("icmp", "icmpv6", None, FirewallAction::Reject),
            own,
        ];
        assert_eq!(guarded.firewall, rules);
        let members: Vec<usize> = guarded.groups.iter().map(|group| group.members.len()).collect();
        assert_eq!(members, [1, 2, 1, 1]);
    }
}
