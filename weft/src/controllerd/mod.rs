//! The controller as a daemon: OpenFlow southbound, REST northbound.

pub(crate) mod auth;
pub(crate) mod clock;
mod connection;
mod convert;
mod edit;
mod hub;
mod intents;
mod outbox;
pub(crate) mod problem;
mod rest;
mod routers;
mod stats;
mod store;
mod trace;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::channel::{self, Listen, Listener, Tls, TlsFiles, server_keys};
use crate::service::{TlsListener, begin_daemon, bind_unix, daemon_name, run_dir, serve, signals};

pub(crate) use edit::{Condition, precondition_failed};
pub use hub::Hub;
pub(crate) use problem::{Body, Refusal, known_parameters};
pub(crate) use rest::etag;
pub(crate) use rest::{flow_of_request, flow_shape};
pub use routers::{RouterChange, RouterSink, RouterTracer};
pub use stats::StatsSource;
pub(crate) use trace::{frame_of as frame_of_request, hex_of};

/// Bytes in flight on an in-memory connection of a switch.
const PIPE_SIZE: usize = 256 << 10;
/// Most switches that one listener serves at a time.
const MAX_SWITCHES: usize = 4096;

/// The controller as a daemon: OpenFlow southbound, REST northbound.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where switches connect: `tcp:ADDRESS:PORT` or, as ovs-vsctl writes it, `ptcp:[PORT][:ADDRESS]`; with TLS
    /// `ssl:ADDRESS:PORT` or `pssl:[PORT][:ADDRESS]`. May be given several times.
    #[arg(long, value_name = "TARGET", default_value = "tcp:127.0.0.1:6653")]
    openflow: Vec<Listen>,
    #[command(flatten)]
    tls: TlsFiles,
    /// Where the REST API is served.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    rest: SocketAddr,
    /// Ask everybody on that address for a token: a file of those that are known, made with `weft ctl token`.
    #[arg(long, value_name = "FILE", help_heading = "REST")]
    rest_tokens: Option<PathBuf>,
    /// Most requests a second of each caller there: a token, or an address.
    #[arg(long, value_name = "REQUESTS", help_heading = "REST", value_parser = clap::value_parser!(u32).range(1..))]
    rest_rate_limit: Option<u32>,
    /// Serve HTTPS there with this certificate (PEM), and those between it and its CA.
    #[arg(long, value_name = "FILE", help_heading = "REST", requires = "rest_key")]
    rest_certificate: Option<PathBuf>,
    /// The private key (PEM) that belongs to it.
    #[arg(long, value_name = "FILE", help_heading = "REST", requires = "rest_certificate")]
    rest_key: Option<PathBuf>,
    /// Name of this controller: its unix socket is NAME.sock in the run directory.
    #[arg(long, default_value = "controller", value_parser = daemon_name)]
    name: String,
    /// Keep intents in this file, so that they outlive the process.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Refuse a change of an intent that exists unless the request says in If-Match which state of it is meant.
    #[arg(long)]
    require_if_match: bool,
    /// Plan nothing for hosts at ports that no network declares: answer the first frame of each with flow mods and the
    /// frame itself.
    #[arg(long)]
    reactive: bool,
}

/// What a controller is started with.
#[derive(Debug, Clone, Default)]
pub struct ControllerSpec {
    /// Its name.
    pub name: String,
    /// Where switches connect; port 0 takes a free one. Empty: only by [`Connector`].
    pub openflow: Vec<Listen>,
    /// Keys, for places that need them.
    pub tls: Option<Arc<Tls>>,
    /// Where the REST API is served over TCP.
    pub rest: Option<SocketAddr>,
    /// Who may ask there, and how often.
    pub gate: Arc<auth::Gate>,
    /// Keys to serve it with over TLS.
    pub rest_keys: Option<Arc<rustls::ServerConfig>>,
    /// Where the REST API is served on a unix socket.
    pub unix: Option<PathBuf>,
    /// Where intents are kept.
    pub store: Option<PathBuf>,
    /// A change of what exists must say which state of it is meant.
    pub strict: bool,
    /// Hosts at ports that no network declares are answered for one by one.
    pub reactive: bool,
}

/// A running controller. Dropping it stops it.
pub struct ControllerHandle {
    hub: Arc<Hub>,
    openflow: Vec<Listen>,
    rest: Option<SocketAddr>,
    unix: Option<PathBuf>,
    tasks: Vec<JoinHandle<()>>,
}

/// Connects switches of the same process: OpenFlow bytes over an in-memory pipe.
#[derive(Clone)]
pub struct Connector(Arc<Hub>);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// A new connection; the caller is the switch.
    pub fn connect(&self) -> DuplexStream {
        let (switch, controller) = tokio::io::duplex(PIPE_SIZE);
        tokio::spawn(connection::serve(self.0.clone(), controller, "in process".to_owned(), None));
        switch
    }
}

/// Starts a controller.
///
/// # Errors
/// An address or path that cannot be listened on, or a store that cannot be read.
pub async fn start(spec: ControllerSpec) -> anyhow::Result<ControllerHandle> {
    let hub = Hub::new(&spec)?;
    let mut handle = ControllerHandle {
        hub: hub.clone(),
        openflow: Vec::new(),
        rest: None,
        unix: None,
        tasks: Vec::new(),
    };
    handle.tasks.push(tokio::spawn(hub.clone().keep_time()));
    for listen in spec.openflow {
        let listener = Listener::bind(listen, spec.tls.as_ref()).await?;
        handle.openflow.push(listener.place()?);
        let hub = hub.clone();
        let serve =
            move |stream, peer, stranger| connection::serve(hub.clone(), stream, peer, Some(stranger));
        handle.tasks.push(tokio::spawn(channel::accept(listener, MAX_SWITCHES, serve)));
    }
    let router = rest::router(hub, spec.gate);
    if let Some(addr) = spec.rest {
        let listener = bind(addr).await?;
        handle.rest = Some(listener.local_addr()?);
        handle.tasks.push(match spec.rest_keys {
            Some(keys) => serve(TlsListener::new(listener, keys)?, router.clone()),
            None => serve(listener, router.clone()),
        });
    }
    if let Some(path) = spec.unix {
        let listener = bind_unix(&path).await?;
        handle.unix = Some(path);
        handle.tasks.push(serve(listener, router));
    }
    Ok(handle)
}

async fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))
}

impl ControllerHandle {
    /// Connects switches of this process.
    pub fn connector(&self) -> Connector {
        Connector(self.hub.clone())
    }

    /// Where switches connect.
    pub fn openflow(&self) -> &[Listen] {
        &self.openflow
    }

    /// Where the REST API is served.
    pub fn rest_addr(&self) -> Option<SocketAddr> {
        self.rest
    }

    /// The same without HTTP.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Ends every connection and task. Switches go on forwarding.
    pub async fn stop(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // An aborted task says so; there is nothing to do about it.
            let _ = task.await;
        }
        self.hub.close();
        if let Some(path) = self.unix.take() {
            let _ = tokio::fs::remove_file(path).await;
        }
    }
}

impl Drop for ControllerHandle {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.hub.close();
        if let Some(path) = self.unix.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Runs until told to stop.
///
/// # Errors
/// What keeps it from starting or running.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let gate = auth::Gate {
        tokens: args.rest_tokens.as_deref().map(auth::Tokens::load).transpose()?,
        limit: args.rest_rate_limit.map(auth::Limit::new),
    };
    let is_open = gate.tokens.is_none() && !args.rest.ip().is_loopback();
    let keys = args.rest_key.zip(args.rest_certificate);
    let rest_keys = keys.map(|(key, certificate)| server_keys(&key, &certificate)).transpose()?;
    let scheme = if rest_keys.is_some() { "https" } else { "http" };
    let spec = ControllerSpec {
        openflow: args.openflow,
        gate: Arc::new(gate),
        rest_keys,
        tls: args.tls.load()?,
        rest: Some(args.rest),
        unix: Some(run_dir()?.join(format!("{}.sock", args.name))),
        name: args.name,
        store: args.store,
        strict: args.require_if_match,
        reactive: args.reactive,
    };
    netio::alloc::share_heap();
    begin_daemon();
    if is_open {
        tracing::warn!(rest = %args.rest, "whoever reaches this address may do everything: see --rest-tokens");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything is made: a signal that comes early finds us ready to clean up.
        let told_to_stop = signals()?;
        let handle = start(spec).await?;
        if let Some(rest) = handle.rest_addr() {
            let places: Vec<_> = handle.openflow().iter().map(Listen::to_string).collect();
            println!("switches connect to {}, REST is served on {scheme}://{rest}/api/v1", places.join(", "));
        }
        told_to_stop.await;
        handle.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

#[cfg(test)]
mod tests;
