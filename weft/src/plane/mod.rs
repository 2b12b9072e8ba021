//! The worker threads of this process, shared by its switches and routers.
//!
//! A [`Plane`] gives each engine a stream of its own events, opens ports on blocking threads, and joins the two ends of a
//! `link:` when both are there.
// Its callers are the daemons and labs of this binary; what one of them does not call another does.
#![allow(dead_code)]

mod links;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use anyhow::{Context, bail};
use dataplane::{
    Clock, Config, Copied, Dataplane, Drops, Engine, EngineId, Event, MirrorSpec, Poll, PortFailure,
    QueueCounters, Sample, SampleSpec, Watch, WorkerStats,
};
use netio::{OpenOptions, PortCounters, PortInfo, PortKind, PortSpec};
use packet::PortNo;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vswitch::PortQueues;

use crate::service::worker_count;

use links::Links;

/// What an engine's owner is told, in order.
pub type Events = UnboundedReceiver<Event>;

/// A port to be added to an engine.
#[derive(Clone, Debug)]
pub struct PortRequest {
    /// Its number on the engine.
    pub number: PortNo,
    /// What other engines' `link:` specifications call it: a switch's port by its number, a router's by its name.
    pub label: String,
    /// What it is.
    pub spec: PortSpec,
    /// A tap that is made survives a crash of the process, to be attached again by name.
    pub persistent: bool,
}

impl PortRequest {
    /// A port called by its number.
    pub fn new(number: PortNo, spec: PortSpec) -> Self {
        Self { number, label: number.to_string(), spec, persistent: false }
    }
}

/// A port that was added.
#[derive(Clone, Debug)]
pub struct AddedPort {
    /// What it says about itself.
    pub info: PortInfo,
    /// Whether its link is up; changes come as events.
    pub up: bool,
}

/// The worker threads of this process. Cloning is cheap; they stop with the last clone.
#[derive(Clone)]
pub struct Plane(Arc<Inner>);

impl std::fmt::Debug for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plane")
    }
}

struct Inner {
    dataplane: Dataplane,
    /// Of a daemon that is started again after a crash.
    persistent: bool,
    /// Held while ends of links are joined or removed: an engine must not go between the two steps of joining.
    linking: Mutex<()>,
    shared: Arc<Shared>,
}

/// What the workers' events go through.
#[derive(Default)]
struct Shared {
    engines: RwLock<HashMap<EngineId, Entry>>,
    links: Links,
}

struct Entry {
    name: String,
    events: UnboundedSender<Event>,
}

impl Shared {
    fn deliver(&self, event: Event) {
        let engines = self.engines.read().unwrap_or_else(PoisonError::into_inner);
        match event.engine() {
            Some(engine) => {
                if let Some(entry) = engines.get(&engine) {
                    // An owner that has gone away wants no events.
                    let _ = entry.events.send(self.translate(event));
                }
            }
            None => tracing::error!(?event, "a worker thread has died; its ports no longer work"),
        }
    }

    /// A link whose other end went is merely down: the other end may come back.
    fn translate(&self, event: Event) -> Event {
        match event {
            Event::PortDown { engine, port, error: PortFailure::LinkEnd } => {
                self.links.part(engine, port);
                Event::PortLink { engine, port, up: false }
            }
            other => other,
        }
    }

    fn forget(&self, engine: EngineId) {
        self.engines.write().unwrap_or_else(PoisonError::into_inner).remove(&engine);
    }

    fn name(&self, engine: EngineId) -> Option<String> {
        let engines = self.engines.read().unwrap_or_else(PoisonError::into_inner);
        engines.get(&engine).map(|entry| entry.name.clone())
    }
}

/// As many workers as there are cores, at most four: more pay only where there are queues for them.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(4))
}

/// What a daemon is told of its workers.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct WorkerArgs {
    /// Worker threads; by default as many as there are cores, at most four.
    #[arg(long, value_parser = worker_count)]
    workers: Option<usize>,
    /// When workers look for frames: adaptive sleeps when there are none, always takes a core for each worker.
    #[arg(long, value_enum, default_value = "adaptive")]
    poll: PollArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PollArg {
    Adaptive,
    Always,
}

impl Plane {
    /// Starts the workers.
    pub fn start(n_workers: usize) -> anyhow::Result<Self> {
        Self::start_with(Config { n_workers, ..Config::default() }, false)
    }

    /// Starts the workers of a daemon: the taps it makes survive its crash, with the addresses that containers have
    /// given them, and its successor attaches to them again. A clean end removes them.
    pub fn start_daemon(args: WorkerArgs) -> anyhow::Result<Self> {
        let n_workers = args.workers.unwrap_or_else(default_workers);
        let poll = if args.poll == PollArg::Always { Poll::Always } else { Poll::Adaptive };
        Self::start_with(Config { n_workers, poll }, true)
    }

    fn start_with(config: Config, persistent: bool) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let sink = shared.clone();
        let dataplane = Dataplane::start(config, Box::new(move |event| sink.deliver(event)))?;
        Ok(Self(Arc::new(Inner { dataplane, persistent, linking: Mutex::new(()), shared })))
    }

    /// The clock whose time the engines see; owners must use it, too.
    pub fn clock(&self) -> Clock {
        self.0.dataplane.clock()
    }

    /// As many halves an engine must have.
    pub fn n_workers(&self) -> usize {
        self.0.dataplane.n_workers()
    }

    /// Adds a switch's halves under a name by which links find it.
    pub fn add_switch(
        &self,
        name: &str,
        halves: Vec<vswitch::Datapath>,
    ) -> anyhow::Result<(EngineId, Events)> {
        self.add(name, dataplane::boxed(halves))
    }

    /// Adds a router's halves under a name by which links find it.
    pub fn add_router(
        &self,
        name: &str,
        halves: Vec<vrouter::Forwarder>,
    ) -> anyhow::Result<(EngineId, Events)> {
        self.add(name, dataplane::boxed(halves))
    }

    fn add(&self, name: &str, halves: Vec<Box<dyn Engine>>) -> anyhow::Result<(EngineId, Events)> {
        let (events, receiver) = unbounded_channel();
        let id = self.0.dataplane.reserve_engine();
        {
            let mut engines = self.0.shared.engines.write().unwrap_or_else(PoisonError::into_inner);
            if engines.values().any(|entry| entry.name == name) {
                bail!("an engine named \"{name}\" runs already in this process");
            }
            engines.insert(id, Entry { name: name.to_owned(), events });
        }
        // Not while the list is locked: workers that have an event wait for it.
        if let Err(error) = self.0.dataplane.add_engine_as(id, halves) {
            self.0.shared.forget(id);
            return Err(error.into());
        }
        Ok((id, receiver))
    }

    /// Removes an engine with its ports.
    pub async fn remove_engine(&self, id: EngineId) -> anyhow::Result<()> {
        self.blocking(move |inner| {
            let _linking = inner.lock_links();
            inner.shared.links.forget_engine(id);
            inner.dataplane.remove_engine(id)?;
            inner.shared.forget(id);
            Ok(())
        })
        .await
    }

    /// Opens a port and adds it to an engine, which can send to it; nothing is received before [`Plane::start_port`]. One
    /// end of a `link:` is added at once and comes up with the other.
    pub async fn prepare_port(&self, id: EngineId, request: PortRequest) -> anyhow::Result<AddedPort> {
        self.blocking(move |inner| inner.prepare_port(id, &request)).await
    }

    /// Receives from a port: once the workers have obeyed the orders given so far, so that their engine knows it.
    pub async fn start_port(&self, id: EngineId, port: PortNo) -> anyhow::Result<()> {
        self.blocking(move |inner| match inner.dataplane.start_port(id, port) {
            // An end of a link that waits for the other.
            Err(dataplane::Error::NoPort(..)) if inner.shared.links.knows(id, port) => Ok(()),
            result => Ok(result?),
        })
        .await
    }

    /// Stops receiving from a port, sends what is on its way to it, and closes it.
    pub async fn remove_port(&self, id: EngineId, port: PortNo) -> anyhow::Result<()> {
        self.blocking(move |inner| {
            let _linking = inner.lock_links();
            if inner.shared.links.forget(id, port) {
                return Ok(());
            }
            Ok(inner.dataplane.remove_port(id, port)?)
        })
        .await
    }

    /// Carries an order to one worker's half of a switch, or to all.
    pub fn order_switch(&self, id: EngineId, worker: Option<usize>, order: vswitch::Order) {
        self.0.dataplane.order_switch(id, worker, order);
    }

    /// Carries an order to one worker's half of a router, or to all.
    pub fn order_router(&self, id: EngineId, worker: Option<usize>, order: vrouter::Order) {
        self.0.dataplane.order_router(id, worker, order);
    }

    /// What the ports of an engine have counted, exact at this moment.
    pub async fn port_counters(&self, id: EngineId) -> anyhow::Result<Vec<(PortNo, PortCounters)>> {
        self.blocking(move |inner| Ok(inner.dataplane.port_counters(id))).await
    }

    /// Lets frames leave a port by these queues from now on.
    pub async fn set_queues(&self, id: EngineId, port: PortNo, queues: PortQueues) -> anyhow::Result<()> {
        self.blocking(move |inner| Ok(inner.dataplane.set_queues(id, port, &queues)?)).await
    }

    /// What the queues of an engine's ports have counted, by port and number.
    pub async fn queue_counters(
        &self,
        id: EngineId,
    ) -> anyhow::Result<BTreeMap<(PortNo, u16), QueueCounters>> {
        self.blocking(move |inner| Ok(inner.dataplane.queue_counters(id))).await
    }

    /// What was dropped between engines and ports.
    pub async fn drops(&self) -> anyhow::Result<Drops> {
        self.blocking(|inner| Ok(inner.dataplane.drops())).await
    }

    /// Copies frames of an engine until the watch is dropped.
    pub async fn mirror(&self, id: EngineId, spec: MirrorSpec) -> anyhow::Result<Watch<Copied>> {
        self.blocking(move |inner| {
            let watch = inner.dataplane.mirror(id, &spec);
            inner.dataplane.sync()?;
            Ok(watch)
        })
        .await
    }

    /// Follows frames through an engine until the watch is dropped.
    pub async fn sample(&self, id: EngineId, spec: SampleSpec) -> anyhow::Result<Watch<Sample>> {
        self.blocking(move |inner| Ok(inner.dataplane.sample(id, &spec))).await
    }

    /// What each worker has to say of itself.
    pub async fn worker_stats(&self) -> anyhow::Result<Vec<WorkerStats>> {
        self.blocking(|inner| Ok(inner.dataplane.worker_stats())).await
    }

    /// Waits until every worker has obeyed the orders given before.
    pub async fn sync(&self) -> anyhow::Result<()> {
        self.blocking(|inner| Ok(inner.dataplane.sync()?)).await
    }

    /// Calls that wait for workers or the kernel run where waiting hurts nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Inner) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || f(&inner)).await.context("a blocking call was cut short")?
    }
}

impl Inner {
    fn lock_links(&self) -> MutexGuard<'_, ()> {
        self.linking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare_port(&self, id: EngineId, request: &PortRequest) -> anyhow::Result<AddedPort> {
        if let PortKind::Link { engine, port } = &request.spec.kind {
            return self.add_link_end(id, request, (engine, port));
        }
        let n_queues = u16::try_from(self.dataplane.n_workers()).unwrap_or(u16::MAX);
        let queues = netio::open(
            &request.spec,
            OpenOptions { n_queues, persistent: self.persistent || request.persistent },
        )?;
        let info = queues.first().context("a port has a queue")?.info().clone();
        let up = self.dataplane.prepare_port(id, request.number, queues)?;
        Ok(AddedPort { info, up })
    }

    fn add_link_end(
        &self,
        id: EngineId,
        request: &PortRequest,
        far: (&str, &str),
    ) -> anyhow::Result<AddedPort> {
        let name = self.shared.name(id).context("the engine was removed")?;
        let near = (name.as_str(), request.label.as_str());
        let _linking = self.lock_links();
        let joined = self.shared.links.add((id, request.number), near, far)?;
        let mut up = false;
        if let Some(other) = joined {
            if let Err(error) = self.dataplane.add_link((id, request.number), other) {
                self.shared.links.forget(id, request.number);
                return Err(error.into());
            }
            self.shared.deliver(Event::PortLink { engine: other.0, port: other.1, up: true });
            up = true;
        }
        Ok(AddedPort { info: links::info(&name, request), up })
    }
}

#[cfg(test)]
mod tests;
