//! Configuration of routers, pushed to where they run.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use controller_api::client::{Client, Intent};
use controller_api::{Router, State};

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

/// Routers and how far they are.
#[derive(Default)]
pub struct Routers {
    /// Configures those without a server.
    pub sink: Option<RouterSink>,
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
