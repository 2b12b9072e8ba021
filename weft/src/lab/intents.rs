//! What the controller is told, by its REST API as anybody would, and the wait until it says that all is realised.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, bail};
use controller_api::client::{Client, Intent};
use controller_api::{
    Balancer, Chain, Function, Mirror, Network, Path, Policy, PortRef, Qos, Router, State, Stored,
};
use topology::{Model, NodeKind};

use super::clock::Deadline;

/// How long switches may take to connect, links to be found and flows to be confirmed.
const REALISED: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(30);

/// Waits until every switch of the topology is connected.
pub async fn wait_switches(client: &Client, model: &Model) -> anyhow::Result<()> {
    wait(async || {
        let switches = client.switches().await?;
        let missing = model.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Switch(_)));
        let missing = missing.filter(|node| !switches.iter().any(|s| s.name == node.name && s.connected));
        Ok(missing.map(|node| format!("switch {} is not connected", node.name)).next())
    })
    .await
}

/// Writes the intents of the topology, its routers as given.
pub async fn write(client: &Client, model: &Model, routers: &[Router]) -> anyhow::Result<()> {
    put(client, "function", &model.functions).await?;
    put(client, "network", &model.networks).await?;
    put(client, "router", routers).await?;
    put(client, "chain", &model.chains).await?;
    put(client, "policy", &model.policies).await?;
    put(client, "qos", &model.qos).await?;
    put(client, "path", &model.paths).await?;
    put(client, "mirror", &model.mirrors).await?;
    put(client, "balancer", &model.balancers).await?;
    put(client, "tenant", &model.tenants).await
}

async fn put<I: Intent>(client: &Client, word: &str, intents: &[I]) -> anyhow::Result<()> {
    for intent in intents {
        let written = client.write(intent).await;
        written.with_context(|| format!("the controller refuses {word} {}", intent.name()))?;
    }
    Ok(())
}

/// Waits until links between switches are found and every intent is confirmed by every switch concerned.
pub async fn wait_realised(client: &Client, model: &Model) -> anyhow::Result<()> {
    wait(async || {
        if let Some(missing) = missing_link(client, model).await? {
            return Ok(Some(missing));
        }
        for pending in [
            pending::<Function>(client, "function").await?,
            pending::<Network>(client, "network").await?,
            pending::<Router>(client, "router").await?,
            pending::<Chain>(client, "chain").await?,
            pending::<Policy>(client, "policy").await?,
            pending::<Qos>(client, "qos").await?,
            pending::<Path>(client, "path").await?,
            pending::<Mirror>(client, "mirror").await?,
            pending::<Balancer>(client, "balancer").await?,
        ] {
            if pending.is_some() {
                return Ok(pending);
            }
        }
        let switches = client.switches().await?;
        Ok(switches
            .iter()
            .find(|s| !s.realised)
            .map(|s| format!("switch {} has not confirmed its flows", s.name)))
    })
    .await
}

/// A link of the topology, in one of its directions, that the controller has not found.
async fn missing_link(client: &Client, model: &Model) -> anyhow::Result<Option<String>> {
    let found = client.links().await?;
    for link in &model.links {
        let (Some(a), Some(b)) = (link.a.number, link.b.number) else { continue };
        let (from, to) = (&model.nodes[link.a.node], &model.nodes[link.b.node]);
        if !matches!((&from.kind, &to.kind), (NodeKind::Switch(_), NodeKind::Switch(_))) {
            continue;
        }
        let (a, b) = (PortRef::new(&from.name, a), PortRef::new(&to.name, b));
        for (from, to) in [(&a, &b), (&b, &a)] {
            if !found.iter().any(|link| link.from == *from && link.to == *to) {
                return Ok(Some(format!("link {from} -> {to} is not found")));
            }
        }
    }
    Ok(None)
}

async fn pending<I: Intent>(client: &Client, word: &str) -> anyhow::Result<Option<String>> {
    let list: Vec<Stored<I>> = client.list().await?;
    for stored in &list {
        let name = stored.spec.name();
        let reason = stored.status.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        match stored.status.state {
            State::Realised => {}
            State::Failed => bail!("{word} {name} failed{reason}{}", switches(&stored.status.switches)),
            State::Pending => return Ok(Some(format!("{word} {name} is not realised{reason}"))),
        }
    }
    Ok(None)
}

fn switches(list: &[controller_api::SwitchStatus]) -> String {
    let reasons = list.iter().filter_map(|s| Some(format!("; switch {}: {}", s.switch, s.reason.as_ref()?)));
    reasons.collect()
}

/// Asks until nothing is missing, or reports what still is.
async fn wait<D: Display>(mut missing: impl AsyncFnMut() -> anyhow::Result<Option<D>>) -> anyhow::Result<()> {
    let deadline = Deadline::after(REALISED);
    loop {
        match missing().await? {
            None => return Ok(()),
            Some(what) if deadline.passed() => bail!("{what} after {} s", REALISED.as_secs()),
            Some(_) => tokio::time::sleep(POLL).await,
        }
    }
}
