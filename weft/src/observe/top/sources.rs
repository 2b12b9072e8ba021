//! Whom `weft top` asks.

use anyhow::bail;
use controller_api::client::{Client, ClientError, Server};
use controller_api::{Channel, Health, Stats, Switch};

use crate::observe::nodes::{PATIENCE, Running, everybody};
use crate::service::run_dir;

/// What is to be looked at.
pub struct Sources {
    pub server: Option<Server>,
    pub name: Option<String>,
}

/// A node with what it counted.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, that of its lab in front.
    pub label: String,
    pub stats: Stats,
}

impl Sources {
    /// Asks everybody; at least one answers.
    ///
    /// # Errors
    /// When nobody is there who was asked for.
    pub async fn look(&self) -> anyhow::Result<Vec<Node>> {
        let nodes = match &self.server {
            Some(server) => {
                let client = Client::new(server.clone()).with_timeout(PATIENCE);
                let health = client.health().await?;
                self.chosen(stats_of(&client, &health).await?, None)
            }
            None => self.look_around().await?,
        };
        match (nodes.is_empty(), &self.name, &self.server) {
            (false, ..) => Ok(nodes),
            (true, Some(name), Some(server)) => bail!("{server} knows no \"{name}\""),
            (true, Some(name), None) => {
                bail!(
                    "no switch, router or lab \"{name}\" runs: `weft top` without a name shows what does, in {}",
                    run_dir()?.display()
                )
            }
            (true, None, Some(server)) => bail!("{server} knows no switch"),
            (true, None, None) => {
                bail!("no switch or router runs in {}: `weft switch` starts one", run_dir()?.display())
            }
        }
    }

    async fn look_around(&self) -> anyhow::Result<Vec<Node>> {
        let mut nodes = Vec::new();
        for node in everybody().await? {
            if node.health.service == "controller" {
                // That of a lab is the lab.
                if node.lab.is_none() {
                    nodes.extend(self.controller(&node).await);
                }
            } else if let Ok(stats) = stats_of(&node.client, &node.health).await {
                nodes.extend(self.chosen(stats, node.lab));
            }
        }
        Ok(nodes)
    }

    /// A controller: who is connected to it and, where it was asked for, their ports.
    async fn controller(&self, node: &Running) -> Vec<Node> {
        let channel =
            |switch: Switch| Channel { target: switch.name, connected: switch.connected, role: None };
        let Ok(switches) = node.client.switches().await else { return Vec::new() };
        let channels = switches.into_iter().map(channel).collect();
        let own =
            Stats { service: "controller".to_owned(), channels, ..empty(&node.health.name, &node.health) };
        let mut nodes = self.chosen(vec![own], None);
        if self.name.is_some() && !nodes.is_empty() {
            let theirs = stats_of(&node.client, &node.health).await.unwrap_or_default();
            nodes.extend(theirs.into_iter().map(|stats| Node { label: stats.name.clone(), stats }));
        }
        nodes
    }

    fn chosen(&self, stats: Vec<Stats>, lab: Option<String>) -> Vec<Node> {
        let labelled = stats.into_iter().map(|stats| match &lab {
            Some(lab) => Node { label: format!("{lab}/{}", stats.name), stats },
            None => Node { label: stats.name.clone(), stats },
        });
        let is_wanted = |node: &Node| match &self.name {
            None => true,
            Some(name) => *name == node.label || *name == node.stats.name || Some(name) == lab.as_ref(),
        };
        labelled.filter(is_wanted).collect()
    }
}

/// What a daemon counts. A controller is asked for the ports of its switches.
async fn stats_of(client: &Client, health: &Health) -> Result<Vec<Stats>, ClientError> {
    if health.service != "controller" {
        return Ok(vec![client.stats().await?]);
    }
    let mut all = Vec::new();
    for switch in client.switches().await? {
        let ports = client.ports(&switch.name).await?;
        all.push(Stats { ports, ..empty(&switch.name, health) });
    }
    Ok(all)
}

/// A node that has counted nothing, which `health`'s process speaks for.
fn empty(name: &str, health: &Health) -> Stats {
    Stats {
        service: "switch".to_owned(),
        name: name.to_owned(),
        pid: health.pid,
        ports: Vec::new(),
        drops: Vec::new(),
        cache: None,
        tables: Vec::new(),
        packet_ins: Vec::new(),
        channels: Vec::new(),
        routes: Vec::new(),
        n_tools: 0,
        stages: Vec::new(),
        workers: Vec::new(),
    }
}
