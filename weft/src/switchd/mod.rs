//! One switch as a daemon, and the commands that talk to it.
//!
//! A task owns the [`vswitch::Switch`]; connections, the workers and the API reach it by messages only, so nothing here
//! is locked. A connection that floods or talks nonsense costs that connection.
// Its callers are the daemon and the labs of this binary; what one of them does not call another does.
#![allow(dead_code)]

mod api;
mod attempts;
mod client;
mod command;
mod connect;
mod connection;
mod local;
mod owner;
mod packet_in;
mod peers;
mod queues;
mod samples;
mod spare;
mod speed;
mod stats;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use controller_api::Stats;
use netio::PortSpec;
use openflow::{Dpid, FlowStats, SessionConfig, Version};
use packet::PortNo;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use vswitch::{FailMode, PacketInRates, Trace};

use crate::channel::{Listen, Listener, MAX_CONNECTIONS, Tls, Transport};
use crate::controllerd::Connector;
use crate::plane::Plane;

pub use client::{ClientCommand, run_client};
pub use command::{Args, run};
pub(crate) use connection::sleep_until;
pub(crate) use local::EXTENSION as OPENFLOW_SOCKET;
pub use owner::{PortRow, Status};
pub use queues::queues_of_request;

/// What a switch is started with.
#[derive(Debug, Clone)]
pub struct SwitchSpec {
    /// Its name: told to controllers as dp_desc, and by which `link:` ports of others find it.
    pub name: String,
    /// Its identity.
    pub dpid: Dpid,
    /// What it does while no controller is connected.
    pub fail_mode: FailMode,
    /// How many packets it sends to its controllers, by reason.
    pub packet_in_rates: PacketInRates,
    /// Controllers to connect to, again and again.
    pub controllers: Vec<Target>,
    /// Where controllers and tools may connect; port 0 takes a free one.
    pub listen: Vec<Listen>,
    /// How it speaks to them.
    pub channel: ChannelConfig,
    /// Keys, for controllers and places that need them.
    pub tls: Option<Arc<Tls>>,
    /// The versions of OpenFlow it speaks, at least one.
    pub protocols: Vec<Version>,
    /// Where its unix sockets are made: `NAME.sock` for the API, `NAME.mgmt` for OpenFlow; none for no sockets.
    pub run_dir: Option<PathBuf>,
}

impl SwitchSpec {
    /// A switch that connects to nobody and listens nowhere.
    pub fn new(name: impl Into<String>, dpid: Dpid) -> Self {
        Self {
            name: name.into(),
            dpid,
            fail_mode: FailMode::Secure,
            packet_in_rates: packet_in::DEFAULT,
            controllers: Vec::new(),
            listen: Vec::new(),
            channel: ChannelConfig::default(),
            tls: None,
            protocols: Version::ALL.to_vec(),
            run_dir: None,
        }
    }
}

impl SwitchSpec {
    /// How sessions of this switch behave.
    fn session_config(&self) -> SessionConfig {
        let probe = self.channel.inactivity_probe;
        let echo_interval = if probe.is_zero() { NEVER } else { probe };
        SessionConfig { versions: self.protocols.clone(), echo_interval, ..SessionConfig::default() }
    }
}

/// Silence that is never reached.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How a switch keeps its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelConfig {
    /// Silence after which a peer is asked for a sign of life; zero never asks.
    pub inactivity_probe: Duration,
    /// Longest wait between attempts to connect.
    pub max_backoff: Duration,
    /// Auxiliary connections to each controller (§6.3.6).
    pub n_auxiliary: u8,
    /// Most connections to one place where it listens.
    pub max_connections: usize,
}

impl Default for ChannelConfig {
    /// Times as Open vSwitch has them.
    fn default() -> Self {
        Self {
            inactivity_probe: Duration::from_secs(5),
            max_backoff: Duration::from_secs(8),
            n_auxiliary: 0,
            max_connections: MAX_CONNECTIONS,
        }
    }
}

/// A controller to connect to.
#[derive(Debug, Clone)]
pub enum Target {
    /// By TCP or TLS.
    Net(crate::channel::Target),
    /// In this process.
    Pipe(Connector),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(target) => target.fmt(f),
            Self::Pipe(_) => f.write_str("in process"),
        }
    }
}

/// A running switch. Dropping it ends it, though without waiting for its ports to close: see [`SwitchHandle::stop`].
#[derive(Debug)]
pub struct SwitchHandle {
    client: Client,
    /// Ended by hand: the owner ends by itself when asked to.
    tasks: Vec<AbortHandle>,
    owner: Option<JoinHandle<()>>,
    listening: Vec<Listen>,
    socket: Option<PathBuf>,
    /// Where tools speak OpenFlow with it.
    tools: Option<local::SocketFile>,
}

/// Asks the owner of a switch. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    spec: Arc<SwitchSpec>,
    requests: mpsc::Sender<owner::Request>,
}

/// Why the owner said no: in the words of the API, so that every way to ask gets the same answer.
pub(crate) type Answer<T> = Result<T, controller_api::Problem>;

impl Client {
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Answer<T>>) -> owner::Request) -> Answer<T> {
        let gone = || controller_api::Problem::internal(format!("the switch {} has stopped", self.spec.name));
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Attaches a port and receives from it.
    async fn add_port(
        &self,
        number: Option<PortNo>,
        name: Option<String>,
        spec: PortSpec,
    ) -> Answer<PortRow> {
        let row = self.ask(|reply| owner::Request::AddPort { number, name, spec, reply }).await?;
        self.start_port(row.number).await?;
        Ok(row)
    }

    async fn start_port(&self, number: PortNo) -> Answer<()> {
        self.ask(|reply| owner::Request::StartPort { number, reply }).await
    }
}

/// Starts a switch without ports.
///
/// # Errors
/// An address or path that cannot be listened on, a name that is taken, keys that are missing, or a controller that is
/// named twice. Nothing is left behind.
pub async fn start(spec: SwitchSpec, plane: Plane) -> anyhow::Result<SwitchHandle> {
    check_controllers(&spec)?;
    let mut listeners = Vec::new();
    for &listen in &spec.listen {
        listeners.push(Listener::bind(listen, spec.tls.as_ref()).await?);
    }
    let tools = match &spec.run_dir {
        Some(dir) => Some(local::bind(dir, &spec.name).await?),
        None => None,
    };
    let socket = spec.run_dir.as_ref().map(|dir| dir.join(format!("{}.sock", spec.name)));
    let unix = match &socket {
        Some(path) => Some(crate::service::bind_unix(path).await?),
        None => None,
    };
    let spec = Arc::new(spec);
    let (requests, inbox) = mpsc::channel(owner::INBOX);
    // From here on the handle cleans up whatever happens.
    let mut handle = SwitchHandle {
        client: Client { spec: spec.clone(), requests },
        tasks: Vec::new(),
        owner: None,
        listening: Vec::new(),
        socket,
        tools: None,
    };
    let clock = plane.clock();
    let owner = owner::Owner::new(&spec, plane)?;
    let to_owner =
        connection::ToOwner { requests: handle.client.requests.clone(), wake: owner.wake.clone(), clock };
    handle.owner = Some(tokio::spawn(owner.run(inbox)));
    for listener in listeners {
        handle.listening.push(listener.place()?);
        let task =
            connect::accept(listener, spec.session_config(), spec.channel.max_connections, to_owner.clone());
        handle.tasks.push(tokio::spawn(task).abort_handle());
    }
    for target in spec.controllers.clone() {
        let (spec, owner) = (spec.clone(), to_owner.clone());
        let task = connect::Caller { target, spec, owner }.keep_connected();
        handle.tasks.push(tokio::spawn(task).abort_handle());
    }
    if let Some((listener, file)) = tools {
        let task = local::accept(listener, spec.session_config(), to_owner);
        handle.tasks.push(tokio::spawn(task).abort_handle());
        handle.tools = Some(file);
    }
    if let Some(unix) = unix {
        handle.serve(unix);
    }
    Ok(handle)
}

/// Each controller is connected to once (§6.3.5): a second connection would be taken for a second controller by the
/// switch, and for a switch that came back by the controller.
fn check_controllers(spec: &SwitchSpec) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    for target in &spec.controllers {
        let Target::Net(target) = target else { continue };
        if target.transport == Transport::Tls {
            Tls::needed(spec.tls.as_ref(), target)?;
        }
        if !seen.insert((&target.host, target.port)) {
            bail!("the controller {}:{} is named twice: name it once", target.host, target.port);
        }
    }
    Ok(())
}

impl SwitchHandle {
    fn serve(&mut self, unix: UnixListener) {
        let task = crate::service::serve(unix, api::router(self.client.clone()));
        self.tasks.push(task.abort_handle());
    }

    /// Attaches a port; without a number, the lowest free one. Without a name, one is derived from what it is.
    ///
    /// # Errors
    /// What keeps it from being attached; nothing is left of it then.
    pub async fn add_port(
        &self,
        number: Option<PortNo>,
        name: Option<String>,
        spec: PortSpec,
    ) -> anyhow::Result<PortRow> {
        Ok(self.client.add_port(number, name, spec).await?)
    }

    /// Attaches ports and receives from none of them before all are there.
    ///
    /// # Errors
    /// What keeps one of them from being attached; those before it stay, silent.
    pub async fn add_ports(&self, ports: Vec<(Option<PortNo>, PortSpec)>) -> anyhow::Result<Vec<PortRow>> {
        let mut rows = Vec::new();
        for (number, spec) in ports {
            let add = |reply| owner::Request::AddPort { number, name: None, spec, reply };
            rows.push(self.client.ask(add).await?);
        }
        for row in &rows {
            self.client.start_port(row.number).await?;
        }
        Ok(rows)
    }

    /// Detaches a port and closes it.
    ///
    /// # Errors
    /// There is no such port.
    pub async fn del_port(&self, number: PortNo) -> anyhow::Result<()> {
        Ok(self.client.ask(|reply| owner::Request::DelPort { number, reply }).await?)
    }

    /// The ports, by number.
    ///
    /// # Errors
    /// The switch has stopped.
    pub async fn ports(&self) -> anyhow::Result<Vec<PortRow>> {
        Ok(self.client.ask(owner::Request::Ports).await?)
    }

    /// Every flow with its counters, by table and priority.
    ///
    /// # Errors
    /// The switch has stopped.
    pub async fn flows(&self) -> anyhow::Result<Vec<FlowStats>> {
        Ok(self.client.ask(owner::Request::Flows).await?)
    }

    /// What would happen to a frame.
    ///
    /// # Errors
    /// There is no such port.
    pub async fn trace(&self, in_port: PortNo, frame: Vec<u8>) -> anyhow::Result<Trace> {
        Ok(self.client.ask(|reply| owner::Request::Trace { in_port, frame, reply }).await?)
    }

    /// Frames dropped, by reason.
    ///
    /// # Errors
    /// The switch has stopped.
    pub async fn drops(&self) -> anyhow::Result<Vec<(String, u64)>> {
        Ok(self.client.ask(owner::Request::Drops).await?)
    }

    /// Whom it is connected to, and how much it holds.
    ///
    /// # Errors
    /// The switch has stopped.
    pub async fn status(&self) -> anyhow::Result<Status> {
        Ok(self.client.ask(owner::Request::Status).await?)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.client.spec.name
    }

    /// Its identity.
    pub fn dpid(&self) -> Dpid {
        self.client.spec.dpid
    }

    /// Where controllers and tools may connect.
    pub fn listening(&self) -> &[Listen] {
        &self.listening
    }

    /// Its unix socket.
    pub fn socket(&self) -> Option<&std::path::Path> {
        self.socket.as_deref()
    }

    /// Whom to ask for its statistics, also after this handle has gone.
    pub fn stats_client(
        &self,
    ) -> impl Fn() -> Pin<Box<dyn Future<Output = anyhow::Result<Stats>> + Send>> + Clone + use<> {
        let client = self.client.clone();
        move || {
            let client = client.clone();
            Box::pin(async move { Ok(client.ask(owner::Request::Stats).await?) })
        }
    }

    /// Ends its connections, closes its ports and waits for that. Devices that were made for them go.
    pub async fn stop(mut self) {
        let asked = self.client.ask(owner::Request::Stop).await;
        if let Err(problem) = asked {
            tracing::debug!(%problem, "stopping a switch that had stopped");
        }
        if let Some(owner) = self.owner.take()
            && let Err(error) = owner.await
        {
            tracing::error!(%error, "the owner of the switch ended badly");
        }
    }
}

impl Drop for SwitchHandle {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        if let Some(path) = self.socket.take() {
            // It may be gone already, and there is nobody to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
