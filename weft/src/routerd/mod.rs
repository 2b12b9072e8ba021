//! One router: as a daemon, and as a part of a lab in the same process.

mod change;
mod convert;
mod fpm;
mod leases;
mod rest;
mod shadow;
mod show;
mod task;
mod trace;
mod which;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, bail};
use controller_api as api;
use dataplane::EngineId;
use netio::PortSpec;
use packet::PortNo;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::controllerd::Condition;
use crate::observe::mirror::Known;
use crate::observe::{serve_metrics, workers as observe};
use crate::plane::{Plane, PortRequest, WorkerArgs};
use crate::service::{begin_daemon, bind_unix, daemon_name, run_dir, serve, signals};
pub use convert::FieldError;
use convert::PortName;
use shadow::Shadow;
use task::Owner;

/// Connections that a router tracks at a time unless told otherwise, and most that it may be told.
const N_CONNECTIONS: u32 = 65_536;
const MAX_CONNECTIONS: i64 = 1 << 26;

/// One router as a daemon, and what it shows.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<ClientCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, clap::Subcommand)]
enum ClientCommand {
    /// Show the tables of a running router.
    Show(show::ShowArgs),
    /// Give a running router another configuration.
    Set(change::SetArgs),
    /// Tell what a running router would do with a frame, and why.
    Trace(trace::TraceArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Name of the router: its unix socket is NAME.sock in the run directory.
    #[arg(long, value_parser = daemon_name)]
    name: Option<String>,
    /// Its configuration in YAML or JSON: interfaces, routes, nat, as in a topology's `routers`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A port and what it is, such as lan=tap:lan0 or wan=afpacket:eth1; interfaces name it. May be given many times.
    #[arg(long = "port", value_name = "NAME=SPEC", value_parser = parse_port)]
    ports: Vec<(String, PortSpec)>,
    #[command(flatten)]
    workers: WorkerArgs,
    /// Most connections that are tracked at a time. Some memory is taken for each at the start.
    #[arg(long, value_name = "N", default_value_t = N_CONNECTIONS, value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS))]
    connections: u32,
    /// Take routes of a routing daemon there, such as FRR with dplane_fpm_nl: FPM has no passwords, so loopback is best.
    #[arg(long, value_name = "ADDRESS:PORT")]
    fpm: Option<SocketAddr>,
    /// Keep DHCP leases in this file: after a restart they are as they were.
    #[arg(long, value_name = "FILE")]
    leases: Option<PathBuf>,
    /// Serve /metrics for Prometheus there, over HTTP; it is on the unix socket in any case.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
}

fn parse_port(text: &str) -> Result<(String, PortSpec), String> {
    let (name, spec) = text.split_once('=').ok_or("NAME=SPEC is expected, such as lan=tap:lan0")?;
    if name.is_empty() {
        return Err("the port needs a name before the =".to_owned());
    }
    let spec = spec.parse().map_err(|error| format!("{error:#}", error = anyhow::Error::from(error)))?;
    Ok((name.to_owned(), spec))
}

/// What a router is started with.
#[derive(Debug, Clone, Default)]
pub struct RouterSpec {
    /// Its name.
    pub name: String,
    /// Its ports: what interfaces call them, and what they are. More can be added later.
    pub ports: Vec<(String, PortSpec)>,
    /// Its configuration, which may name only these ports. None: nothing is forwarded yet.
    pub config: Option<api::Router>,
    /// Where its unix socket `NAME.sock` is made. None: there is none.
    pub run_dir: Option<PathBuf>,
    /// Most connections that it tracks. None: 65,536.
    pub n_connections: Option<u32>,
    /// Where DHCP leases are kept. None: in memory alone.
    pub leases: Option<PathBuf>,
}

/// A running router. Clones are handles of the same router; it stops with [`stop`](Self::stop) or the last clone.
#[derive(Clone)]
pub struct RouterHandle(Arc<Inner>);

struct Inner {
    name: String,
    id: EngineId,
    plane: Plane,
    owner: Owner,
    state: Mutex<State>,
    /// Configurations and ports change one after the other.
    changing: tokio::sync::Mutex<()>,
    shadow: tokio::sync::Mutex<Option<Shadow>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    ports: Vec<PortState>,
    config: Option<api::Router>,
    generation: u64,
    server: Option<(JoinHandle<()>, PathBuf)>,
    next_port: u32,
}

/// How a configuration is to be changed.
#[derive(Debug, Default)]
pub struct Change {
    /// Only if the generation in force is as this wants it.
    pub condition: Condition,
    /// Only tell what would change.
    pub dry_run: bool,
}

/// Another generation is in force than the one that was to be changed.
#[derive(Debug, thiserror::Error)]
#[error("generation {0} is in force: read it and try again")]
pub struct Stale(u64);

/// A router that has no configuration yet.
fn empty(name: &str) -> api::Router {
    api::Router { name: name.to_owned(), ..api::Router::default() }
}

struct PortState {
    name: PortName,
    spec: PortSpec,
    mac: packet::MacAddr,
    up: bool,
}

/// Starts a router on the workers of `plane`.
///
/// # Errors
/// A port that cannot be opened, a configuration that cannot be taken, a socket that cannot be made. Nothing is left.
pub async fn start(spec: RouterSpec, plane: Plane) -> anyhow::Result<RouterHandle> {
    let seed = [rand::random(), rand::random()];
    let n_connections = spec.n_connections.unwrap_or(N_CONNECTIONS);
    let options = vrouter::Options { n_connections, ..vrouter::Options::new(plane.n_workers(), seed) };
    let mut router = vrouter::Router::new(options);
    let (id, events) = plane.add_router(&spec.name, router.forwarders())?;
    let now = leases::Now::of(&plane.clock());
    let opened = spec.leases.as_deref().map(|path| leases::Journal::open(path, now)).transpose();
    let (journal, kept) = match opened {
        Ok(opened) => opened.unzip(),
        Err(error) => {
            plane.remove_engine(id).await?;
            return Err(error);
        }
    };
    let (owner, task) = task::spawn(spec.name.clone(), (router, journal), plane.clone(), id, events);
    let inner = Inner {
        name: spec.name.clone(),
        id,
        plane,
        owner,
        state: Mutex::new(State { next_port: 1, ..State::default() }),
        changing: tokio::sync::Mutex::new(()),
        shadow: tokio::sync::Mutex::new(None),
        task,
    };
    let handle = RouterHandle(Arc::new(inner));
    match handle.set_up(spec, kept.unwrap_or_default()).await {
        Ok(()) => Ok(handle),
        Err(error) => {
            handle.stop().await;
            Err(error)
        }
    }
}

impl RouterHandle {
    async fn set_up(&self, spec: RouterSpec, kept: Vec<vrouter::KeptLease>) -> anyhow::Result<()> {
        let mut numbers = Vec::new();
        for (name, port) in spec.ports {
            numbers.push(self.prepare_port(&name, port).await?);
        }
        if let Some(config) = &spec.config {
            self.set_config(config).await?;
        }
        // Not before the workers have been given the configuration: they would drop what comes.
        self.0.owner.ask(|router, _| router.restore_leases(kept)).await?;
        for number in numbers {
            self.0.plane.start_port(self.0.id, number).await?;
        }
        if let Some(dir) = &spec.run_dir {
            self.listen(dir).await?;
        }
        Ok(())
    }

    /// Serves the API on `NAME.sock` in `dir`.
    async fn listen(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(format!("{}.sock", self.0.name));
        let listener: UnixListener = bind_unix(&path).await?;
        // The server must not keep alive what it serves.
        let server = serve(listener, rest::router(Arc::downgrade(&self.0)));
        self.state().server = Some((server, path));
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Opens a port; interfaces name it by `name`.
    ///
    /// # Errors
    /// A name that is taken, or a device that cannot be had.
    pub async fn add_port(&self, name: &str, spec: PortSpec) -> anyhow::Result<PortNo> {
        let number = self.prepare_port(name, spec).await?;
        self.0.plane.start_port(self.0.id, number).await?;
        Ok(number)
    }

    /// As [`RouterHandle::add_port`], without receiving yet.
    async fn prepare_port(&self, name: &str, spec: PortSpec) -> anyhow::Result<PortNo> {
        let _changing = self.0.changing.lock().await;
        if self.state().ports.iter().any(|p| p.name.name == name) {
            bail!("router {}: port \"{name}\" is there already", self.0.name);
        }
        let number = self.next_port();
        let request = PortRequest { number, label: name.to_owned(), spec: spec.clone(), persistent: false };
        let added = self.0.plane.prepare_port(self.0.id, request).await;
        let added = added.with_context(|| format!("router {}: port \"{name}\" ({spec})", self.0.name))?;
        let name = PortName { name: name.to_owned(), number };
        self.state().ports.push(PortState { name, spec, mac: added.info.mac, up: added.up });
        Ok(number)
    }

    /// The number of a port to be added.
    fn next_port(&self) -> PortNo {
        let mut state = self.state();
        state.next_port += 1;
        PortNo(state.next_port - 1)
    }

    /// Closes a port. Interfaces on it stay configured and reach nobody.
    ///
    /// # Errors
    /// When there is no such port.
    pub async fn del_port(&self, name: &str) -> anyhow::Result<()> {
        let _changing = self.0.changing.lock().await;
        let number = {
            let mut state = self.state();
            let at = state.ports.iter().position(|p| p.name.name == name);
            let at = at.with_context(|| format!("router {} has no port \"{name}\"", self.0.name))?;
            state.ports.remove(at).name.number
        };
        self.0.plane.remove_port(self.0.id, number).await
    }

    /// Replaces the configuration as a whole. Connections that the new one would make as they are go on.
    ///
    /// # Errors
    /// [`FieldError`], when the configuration is wrong; the old one stays.
    pub async fn set_config(&self, router: &api::Router) -> anyhow::Result<()> {
        self.change_config(router, &Change::default()).await.map(drop)
    }

    /// The same, and what it changes.
    ///
    /// # Errors
    /// As there; or [`Stale`], when the condition is not met.
    pub async fn change_config(
        &self,
        router: &api::Router,
        how: &Change,
    ) -> anyhow::Result<api::RouterChanges> {
        let _changing = self.0.changing.lock().await;
        let (ports, old, generation) = {
            let state = self.state();
            let ports: Vec<PortName> = state.ports.iter().map(|p| p.name.clone()).collect();
            (ports, state.config.clone(), state.generation)
        };
        let is_met = match &how.condition {
            Condition::Always => true,
            Condition::Exists => generation > 0,
            Condition::Absent => generation == 0,
            Condition::Revision(wanted) => wanted.contains(&generation),
        };
        if !is_met {
            return Err(Stale(generation).into());
        }
        let config = convert::config(router, &ports)?;
        let changes = change::between(&old.unwrap_or_else(|| empty(self.name())), router)?;
        if how.dry_run {
            let checked = self.0.owner.ask(move |owner, _| owner.check_config(&config)).await?;
            checked.map_err(|error| convert::place_nat(router, error.into()))?;
            return Ok(api::RouterChanges { generation, changes });
        }
        self.adopt(router, config).await?;
        let mut state = self.state();
        state.config = Some(router.clone());
        state.generation += 1;
        Ok(api::RouterChanges { generation: state.generation, changes })
    }

    /// How many configurations it has been given.
    pub fn generation(&self) -> u64 {
        self.state().generation
    }

    /// The configuration in force.
    pub fn config(&self) -> Option<api::Router> {
        self.state().config.clone()
    }

    /// Routes in use.
    ///
    /// # Errors
    /// When the router has been stopped; so for all that follow.
    pub async fn fib(&self) -> anyhow::Result<Vec<api::Route>> {
        self.0.owner.ask(|r, _| r.fib().iter().map(convert::shown_route).collect()).await
    }

    /// Neighbours.
    pub async fn neighbours(&self) -> anyhow::Result<Vec<api::Neighbour>> {
        self.0.owner.ask(|r, now| r.neighbours(now).iter().map(convert::shown_neighbour).collect()).await
    }

    /// Tracked connections.
    pub async fn connections(&self) -> anyhow::Result<Vec<api::Connection>> {
        self.0.owner.ask(|r, now| r.connections(now).iter().map(convert::shown_connection).collect()).await
    }

    /// NAT bindings.
    pub async fn bindings(&self) -> anyhow::Result<Vec<api::Binding>> {
        self.0.owner.ask(|r, _| r.bindings().iter().map(convert::shown_binding).collect()).await
    }

    /// What firewall rules have counted.
    pub async fn firewall(&self) -> anyhow::Result<Vec<api::RuleCount>> {
        self.0.owner.ask(|r, _| r.firewall().iter().map(convert::shown_count).collect()).await
    }

    /// DHCPv4 leases.
    pub async fn leases(&self) -> anyhow::Result<Vec<api::Lease>> {
        self.0.owner.ask(|r, now| r.leases(now).iter().map(convert::shown_lease).collect()).await
    }

    /// Why packets were dropped; those of the last second may be missing.
    pub async fn drops(&self) -> anyhow::Result<Vec<api::Counter>> {
        let counters = self.0.owner.ask(|r, _| r.counters()).await?;
        let named = |(why, value): (vrouter::Drop, u64)| api::Counter { name: why.name().to_owned(), value };
        Ok(counters.drops().map(named).collect())
    }

    /// What would happen to a frame that came in by this port, a number or a name; a destination of zeros stands for the
    /// router's own address there. None: there is no such port.
    pub async fn trace(&self, port: &str, mut frame: Vec<u8>) -> anyhow::Result<Option<api::TraceReply>> {
        let ports: Vec<(PortNo, String)> =
            self.state().ports.iter().map(|p| (p.name.number, p.name.name.clone())).collect();
        let Some((number, name)) = ports.iter().find(|(no, name)| name == port || no.to_string() == port)
        else {
            return Ok(None);
        };
        let (number, in_port) = (*number, api::PortRef::new(&self.0.name, name));
        let follow = move |r: &mut vrouter::Router, now| {
            if let (Some(to @ [0, 0, 0, 0, 0, 0]), Some(mac)) = (frame.first_chunk_mut(), r.mac_at(number)) {
                *to = mac.0;
            }
            r.trace(now, number, &frame)
        };
        let trace = self.0.owner.ask(follow).await?;
        Ok(Some(trace::shown(&self.0.name, &in_port, &ports, &trace)))
    }

    /// Everything that it counts.
    pub async fn stats(&self) -> anyhow::Result<api::Stats> {
        let workers = self.0.plane.worker_stats().await?;
        let counters = self.0.plane.port_counters(self.0.id).await?;
        let ports = self.ports().await?;
        let routes =
            self.0.owner.ask(|r, _| r.counted().iter().map(convert::shown_traffic).collect()).await?;
        let own = self.drops().await?.into_iter();
        let own = own.map(|drop| observe::drop_count(api::DropPlace::Node, &drop.name, drop.value));
        let names: Vec<PortName> = self.state().ports.iter().map(|port| port.name.clone()).collect();
        let of_ports = names.iter().flat_map(|port| {
            let counted = counters.iter().find(|(number, _)| *number == port.number);
            counted.into_iter().flat_map(|(_, counted)| observe::port_drops(&port.name, counted))
        });
        Ok(api::Stats {
            service: "router".to_owned(),
            name: self.0.name.clone(),
            pid: std::process::id(),
            ports,
            drops: own.chain(of_ports).chain(observe::drops(&workers)).collect(),
            cache: None,
            tables: Vec::new(),
            packet_ins: Vec::new(),
            channels: Vec::new(),
            routes,
            n_tools: 0,
            stages: observe::stages(self.0.id, &workers),
            workers: observe::workers(&workers),
        })
    }

    /// Ports as watchers know them.
    fn known_ports(&self) -> Vec<Known> {
        let known = |port: &PortState| Known {
            number: port.name.number,
            name: port.name.name.clone(),
            description: port.spec.to_string(),
        };
        self.state().ports.iter().map(known).collect()
    }

    /// Ports with what they have counted.
    pub async fn ports(&self) -> anyhow::Result<Vec<api::Port>> {
        let counters = self.0.plane.port_counters(self.0.id).await?;
        let shown = |p: &PortState| {
            let counted = counters.iter().find(|(number, _)| *number == p.name.number);
            api::Port {
                number: p.name.number.0,
                name: p.name.name.clone(),
                mac: api::Mac(p.mac.0),
                up: self.0.owner.link(p.name.number).unwrap_or(p.up),
                role: api::PortRole::Edge,
                spec: Some(p.spec.to_string()),
                peer: None,
                rate: None,
                queues: Vec::new(),
                counters: counted.map(|(_, c)| shown_counters(c)),
            }
        };
        Ok(self.state().ports.iter().map(shown).collect())
    }

    /// Stops the router and closes its ports.
    pub async fn stop(self) {
        let server = self.state().server.take();
        if let Some((server, path)) = server {
            server.abort();
            let _ = tokio::fs::remove_file(path).await;
        }
        let shadow = self.0.shadow.lock().await.take();
        if let Some(shadow) = shadow {
            self.end_shadow(shadow).await;
        }
        if let Err(error) = self.0.plane.remove_engine(self.0.id).await {
            tracing::warn!(router = self.0.name, error = format!("{error:#}"), "not stopped cleanly");
        }
        self.0.task.abort();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(shadow) = self.shadow.get_mut() {
            shadow.abandon();
        }
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((server, path)) = state.server.take() {
            server.abort();
            let _ = std::fs::remove_file(path);
        }
    }
}

fn shown_counters(c: &netio::PortCounters) -> api::PortCounters {
    api::PortCounters {
        rx_frames: c.rx_frames,
        tx_frames: c.tx_frames,
        rx_bytes: c.rx_bytes,
        tx_bytes: c.tx_bytes,
        rx_dropped: c.rx_dropped(),
        tx_dropped: c.tx_dropped(),
        ..api::PortCounters::default()
    }
}

/// Runs until told to stop, or shows what a running one knows.
///
/// # Errors
/// What keeps it from starting or running.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match args.command {
            Some(ClientCommand::Show(args)) => show::run(args).await,
            Some(ClientCommand::Trace(args)) => trace::run(args).await,
            Some(ClientCommand::Set(args)) => change::run(args).await,
            None => daemon(args.run).await,
        }
    })
}

async fn daemon(args: RunArgs) -> anyhow::Result<ExitCode> {
    begin_daemon();
    let config = args.config.as_deref().map(|path| read_config(path, args.name.as_deref())).transpose()?;
    let name = match (args.name, &config) {
        (Some(name), _) => name,
        (None, Some(config)) => {
            daemon_name(&config.name).map_err(|why| anyhow!("router \"{}\": {why}", config.name))?
        }
        (None, None) => bail!("the router needs a name: --name NAME, or --config FILE that has one"),
    };
    let n_ports = args.ports.len();
    let told_to_stop = signals()?;
    let plane = Plane::start_daemon(args.workers)?;
    let config = config.map(|config| api::Router { name: name.clone(), ..config });
    let spec = RouterSpec {
        name: name.clone(),
        ports: args.ports,
        config,
        run_dir: Some(run_dir()?),
        n_connections: Some(args.connections),
        leases: args.leases,
    };
    let handle = start(spec, plane).await?;
    if let Some(address) = args.fpm {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("no FPM on {address}"))?;
        tokio::spawn(fpm::serve(listener, handle.0.owner.clone(), name.clone()));
    }
    if let Some(address) = args.metrics {
        let asked = Arc::downgrade(&handle.0);
        let ask = move || {
            let router = asked.upgrade().map(RouterHandle);
            async move { router.context("the router has been stopped")?.stats().await }
        };
        serve_metrics(address, ask).await?;
    }
    println!("router {name} runs with {n_ports} ports");
    told_to_stop.await;
    handle.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Reads a file in YAML, of which JSON is a part; errors have line and column. Where the command line names the router,
/// the file need not.
fn read_config(path: &Path, name: Option<&str>) -> anyhow::Result<api::Router> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
    topology::parse_router(&file, &text, name).map_err(|wrong| crate::lab::tell(&wrong))
}
