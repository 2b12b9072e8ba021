//! The controller, switches and routers of a lab as processes of their own: how they are started and spoken to.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use controller_api::client::Client;
use controller_api::{PortAdd, Router};
use topology::{FailMode, Layout, Model, NodeKind, Switch};

use super::clock::Deadline;

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

fn weft(word: &str, name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args([word, "--name", name]);
    Ok(command)
}

/// The socket of a daemon in the lab's folder; the controller's is the lab's own.
pub fn socket(name: &str) -> String {
    if name == "controller" { "api.sock".to_owned() } else { format!("{name}.sock") }
}

/// The controller. Its REST address is the first wanted that is free, or the last.
pub fn controller(rest: &[SocketAddr]) -> anyhow::Result<Command> {
    let free = |address: &&SocketAddr| address.port() == 0 || std::net::TcpListener::bind(**address).is_ok();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let rest = rest.iter().find(free).or(rest.last()).copied().unwrap_or(any);
    let mut command = weft("controller", "api")?;
    command.args(["--openflow", "tcp:127.0.0.1:0", "--rest", &rest.to_string()]);
    Ok(command)
}

/// A switch.
pub fn switch(name: &str, switch: &Switch, openflow: Option<SocketAddr>) -> anyhow::Result<Command> {
    let openflow = openflow.context("the controller is started first")?;
    let mut command = weft("switch", name)?;
    let fail_mode = match switch.fail_mode {
        FailMode::Secure => "secure",
        FailMode::Standalone => "standalone",
    };
    command.args(["--dpid", &format!("{:x}", switch.dpid), "--controller", &format!("tcp:{openflow}")]);
    let protocols: Vec<_> = switch.protocols.iter().map(|protocol| protocol.name()).collect();
    command.args(["--fail-mode", fail_mode, "--protocols", &protocols.join(",")]);
    Ok(command)
}

/// A router, configured by the controller.
pub fn router(name: &str) -> anyhow::Result<Command> {
    weft("router", name)
}

/// Where a controller listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// For switches.
    pub openflow: SocketAddr,
    /// For REST.
    pub rest: SocketAddr,
}

/// Reads where the controller listens from what it prints.
pub async fn places(log: &Path) -> anyhow::Result<Places> {
    let deadline = Deadline::after(PATIENCE);
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if let Some(places) = text.lines().find_map(parse_places) {
            return Ok(places);
        }
        if deadline.passed() {
            bail!("the controller does not say where it listens: {text}");
        }
        tokio::time::sleep(POLL).await;
    }
}

fn parse_places(line: &str) -> Option<Places> {
    let rest = line.strip_prefix("switches connect to tcp:")?;
    let (openflow, rest) = rest.split_once(", REST is served on http://")?;
    let rest = rest.split('/').next()?;
    Some(Places { openflow: openflow.parse().ok()?, rest: rest.parse().ok()? })
}

/// Waits until a daemon answers; `ended` tells that it never will.
pub async fn wait_answers(
    socket: &Path,
    mut ended: impl FnMut() -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    let client = Client::unix(socket).with_timeout(PATIENCE);
    let deadline = Deadline::after(PATIENCE);
    loop {
        let Err(error) = client.health().await else { return Ok(()) };
        if let Some(status) = ended()? {
            bail!("it has ended with {status}");
        }
        if deadline.passed() {
            return Err(error).context("it does not answer");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Attaches a port to a switch or router that is a process of its own.
pub async fn add_port(
    model: &Model,
    dir: &Path,
    engine: &str,
    number: u32,
    name: &str,
    spec: &str,
) -> anyhow::Result<()> {
    let client = Client::unix(dir.join(socket(engine)));
    let is_router = model.node(engine).is_some_and(|node| matches!(node.kind, NodeKind::Router));
    let number = (!is_router).then_some(number);
    let port = PortAdd { number, spec: spec.to_owned(), name: Some(name.to_owned()) };
    if is_router {
        client.post::<_, serde_json::Value>("/api/v1/ports", &port).await?;
    } else {
        client.add_port(engine, &port).await?;
    }
    Ok(())
}

/// The routers as the controller is told them: with their sockets when they are processes of their own.
pub fn servers(model: &Model, dir: &Path, layout: Layout) -> Vec<Router> {
    let mut routers = model.routers.clone();
    if layout == Layout::Split {
        for router in &mut routers {
            router.server = Some(format!("unix:{}", dir.join(socket(&router.name)).display()));
        }
    }
    routers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_a_controller_are_read_from_its_words() {
        let line = "switches connect to tcp:127.0.0.1:6653, REST is served on http://127.0.0.1:8080/api/v1";
        let places = parse_places(line).expect("it says so");
        assert_eq!((places.openflow.port(), places.rest.port()), (6653, 8080));
        assert_eq!(parse_places("something else"), None);
    }
}
