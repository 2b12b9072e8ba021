//! Which switches and routers run, and which of them is meant.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, bail};
use controller_api::Health;
use controller_api::client::{Client, ClientError, Server};

use crate::service::{lab_of, run_dir, sockets};

/// Longest wait for one of them: the others are not to be held up for ever.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// A switch, router or controller that answers.
#[derive(Debug, Clone)]
pub struct Running {
    pub client: Client,
    pub health: Health,
    /// The lab it belongs to.
    pub lab: Option<String>,
}

impl Running {
    /// Its name, that of its lab in front.
    pub fn label(&self) -> String {
        match &self.lab {
            Some(lab) => format!("{lab}/{}", self.health.name),
            None => self.health.name.clone(),
        }
    }

    /// Whether it is what `name` says: a node or LAB/NODE.
    pub fn is_node(&self, name: &str) -> bool {
        self.health.name == name || self.label() == name
    }

    /// Whether it is what `name` says: a node, LAB/NODE or a lab.
    pub fn is_called(&self, name: &str) -> bool {
        self.is_node(name) || self.lab.as_deref() == Some(name)
    }
}

/// The switches and routers of the run directory.
///
/// # Errors
/// When there is somebody whom this user may not ask, and nobody else.
pub async fn running() -> anyhow::Result<Vec<Running>> {
    let mut all = everybody().await?;
    all.retain(|node| matches!(node.health.service.as_str(), "switch" | "router"));
    Ok(all)
}

/// Everybody in the run directory, controllers included.
///
/// # Errors
/// When there is somebody whom this user may not ask, and nobody else.
pub async fn everybody() -> anyhow::Result<Vec<Running>> {
    let (mut all, mut refused) = (Vec::new(), None);
    for socket in sockets(&run_dir()?, "sock") {
        let lab = lab_of(&socket);
        let client = Client::unix(socket).with_timeout(PATIENCE);
        // Some sockets are left from processes that were killed.
        match client.health().await {
            Ok(health) => all.push(Running { client, health, lab }),
            Err(ClientError::Connect { source, server }) if source.kind() == ErrorKind::PermissionDenied => {
                refused = Some(server);
            }
            _ => {}
        }
    }
    match refused {
        Some(server) if all.is_empty() => {
            bail!("{server} may not be asked by this user: run as the one that started it")
        }
        _ => Ok(all),
    }
}

/// The one that is meant.
///
/// # Errors
/// When it does not run, or several could be meant.
pub async fn find(server: Option<&Server>, name: Option<&str>) -> anyhow::Result<Running> {
    let all = match server {
        Some(server) => {
            let client = Client::new(server.clone());
            let health = client.health().await?;
            if health.service == "controller" {
                bail!(
                    "{server} is a controller: ask a switch or router itself, by its socket in the run directory"
                );
            }
            vec![Running { client, health, lab: None }]
        }
        None => running().await?,
    };
    let list = |all: &[Running]| all.iter().map(Running::label).collect::<Vec<_>>().join(", ");
    let known = list(&all);
    let mut meant: Vec<_> =
        all.into_iter().filter(|node| name.is_none_or(|name| node.is_called(name))).collect();
    match (meant.len(), name) {
        (1, _) => meant.pop().context("there is one"),
        (0, Some(name)) if !known.is_empty() => {
            bail!("no switch or router \"{name}\" runs; there are: {known}")
        }
        (0, _) => bail!("no switch or router runs in {}: `weft switch` starts one", run_dir()?.display()),
        _ => bail!("there are several, so a name is needed: one of {}", list(&meant)),
    }
}
