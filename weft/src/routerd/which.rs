//! Which of the running routers is meant.

use anyhow::{Context, bail};
use controller_api::client::{Client, Server};

use crate::observe::nodes::{Running, everybody};
use crate::service::run_dir;

/// Which router, and how it answers.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Name of the router; needed where several run. LAB/NAME tells routers of several labs apart.
    #[arg(long)]
    name: Option<String>,
    /// Ask this server instead, such as unix:/run/weft/r1.sock.
    #[arg(long)]
    server: Option<Server>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Which {
    /// The one that is meant.
    ///
    /// # Errors
    /// When it does not run, or several could be meant.
    pub async fn client(&self) -> anyhow::Result<Client> {
        if let Some(server) = &self.server {
            return Ok(Client::new(server.clone()));
        }
        let (routers, others): (Vec<_>, Vec<_>) =
            everybody().await?.into_iter().partition(|node| node.health.service == "router");
        let list = |nodes: &[Running]| nodes.iter().map(Running::label).collect::<Vec<_>>().join(", ");
        let known = list(&routers);
        let is_meant = |node: &Running| self.name.as_deref().is_none_or(|name| node.is_called(name));
        let mut meant: Vec<_> = routers.into_iter().filter(is_meant).collect();
        match (meant.len(), &self.name) {
            (1, _) => Ok(meant.pop().context("there is one")?.client),
            (0, Some(name)) => match others.iter().find(|node| node.is_node(name)) {
                Some(node) => bail!("{} is a {}, and this is for routers", node.label(), node.health.service),
                None if known.is_empty() => {
                    bail!("no router \"{name}\" is running: `weft router --name {name}` starts one")
                }
                None => bail!("no router \"{name}\" is running; there are: {known}"),
            },
            (0, None) => bail!("no router is running in {}", run_dir()?.display()),
            _ => bail!("there are several routers, so --name is needed: one of {}", list(&meant)),
        }
    }
}
