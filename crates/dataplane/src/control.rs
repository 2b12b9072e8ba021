//! Starting workers, and telling them about engines and ports.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use netio::{Port, PortCounters};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use packet::{PoolStats, PortNo};
use vswitch::PortQueues;

use crate::capture::{self, Copied, MirrorSpec, Sample, SampleSpec, Watch};
use crate::monitor::Monitor;
use crate::table::{PortKey, Target};
use crate::worker::{Beyond, Command, NewPort, Setup, Shape, Sink, Waker, Worker, rings};
use crate::{Clock, Drops, Engine, EngineId, Event, Order, PortFailure, QueueCounters, WorkerStats};

/// When workers look for frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poll {
    /// They sleep while there are none, and look for a few microseconds before that if sleeps have been short.
    #[default]
    Adaptive,
    /// Always: a core for each worker.
    Always,
}

/// What a dataplane is made from.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Threads that carry frames, 1 to 64.
    pub n_workers: usize,
    /// When they look for frames.
    pub poll: Poll,
}

impl Default for Config {
    fn default() -> Self {
        Self { n_workers: 1, poll: Poll::Adaptive }
    }
}

/// Why something cannot be done to a dataplane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine was removed.
    #[error("engine {0} does not exist")]
    NoEngine(EngineId),
    /// There is no such port.
    #[error("port {1} of engine {0} does not exist")]
    NoPort(EngineId, PortNo),
    /// The number is in use.
    #[error("port {1} of engine {0} exists already")]
    PortExists(EngineId, PortNo),
    /// An engine must have a half for each worker, a port at least one queue.
    #[error("{expected} {what} are needed, {given} were given")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there must be.
        expected: usize,
        /// How many there were.
        given: usize,
    },
    /// A worker thread is dead.
    #[error("a worker has died")]
    WorkerDied,
    /// Threads or descriptors cannot be had.
    #[error("cannot start workers")]
    Start(#[source] io::Error),
    /// The link of a port cannot be watched.
    #[error("cannot watch the link of port {0}")]
    Watch(PortNo, #[source] io::Error),
}

enum PortEntry {
    /// Its device has queues on these workers; the first of them keeps its rates.
    Device {
        key: PortKey,
        owners: Vec<usize>,
    },
    Link {
        far: (EngineId, PortNo),
        shaped: Option<PortKey>,
    },
}

impl PortEntry {
    /// The key of a link that has queues.
    fn shaped(&self) -> Option<PortKey> {
        match self {
            Self::Device { .. } => None,
            Self::Link { shaped, .. } => *shaped,
        }
    }
}

#[derive(Default)]
struct Registry {
    next_engine: u32,
    next_key: u64,
    engines: BTreeMap<EngineId, BTreeMap<PortNo, PortEntry>>,
}

impl Registry {
    fn new_key(&mut self) -> PortKey {
        self.next_key += 1;
        PortKey(self.next_key - 1)
    }

    fn port(&mut self, id: EngineId, port: PortNo) -> Result<&mut PortEntry, Error> {
        let ports = self.engines.get_mut(&id).ok_or(Error::NoEngine(id))?;
        ports.get_mut(&port).ok_or(Error::NoPort(id, port))
    }
}

type Queues = Vec<Box<dyn Port>>;

#[derive(Clone)]
struct Handle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl Handle {
    fn send(&self, command: Command) {
        // A worker that has died has said so by an event.
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

/// The threads that carry frames, and what is known of their engines and ports. Calls may come from any thread; those
/// that add or remove ports wait for the workers, for the time of a batch.
pub struct Dataplane {
    clock: Clock,
    workers: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    monitor: Option<Monitor>,
    sink: Sink,
    registry: Mutex<Registry>,
}

/// Says that a worker died if its thread unwinds.
struct DeathNotice {
    worker: usize,
    sink: Sink,
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.sink)(Event::WorkerDied { worker: self.worker });
        }
    }
}

impl Dataplane {
    /// Starts the workers. `sink` is called from them and must not block, nor wait for a lock that is held during a call
    /// of this dataplane.
    ///
    /// # Errors
    /// When threads or descriptors cannot be had, or the number of workers is not from 1 to 64.
    pub fn start(config: Config, sink: Box<dyn Fn(Event) + Send + Sync>) -> Result<Self, Error> {
        if !(1..=64).contains(&config.n_workers) {
            return Err(Error::Count { what: "workers", expected: 1, given: config.n_workers });
        }
        let (clock, sink): (Clock, Sink) = (Clock::start(), sink.into());
        let wakers: Result<Vec<_>, _> = (0..config.n_workers).map(|_| Waker::new().map(Arc::new)).collect();
        let wakers = wakers.map_err(Error::Start)?;
        let mut plane = Self {
            clock,
            workers: Vec::new(),
            threads: Vec::new(),
            monitor: None,
            sink: sink.clone(),
            registry: Mutex::default(),
        };
        for (worker, (inbound, outbound)) in rings(&wakers).into_iter().enumerate() {
            let (commands, receiver) = mpsc::channel();
            let waker = wakers[worker].clone();
            let epoll = new_epoll(&waker).map_err(Error::Start)?;
            plane.workers.push(Handle { commands, waker: waker.clone() });
            let notice = DeathNotice { worker, sink: sink.clone() };
            let (sink, poll, commands) = (sink.clone(), config.poll, receiver);
            let setup = Setup { worker, clock, poll, sink, epoll, waker, commands, inbound, outbound };
            let run = move || {
                let _notice = notice;
                Worker::new(setup).run();
            };
            let thread = std::thread::Builder::new().name(format!("weft-worker-{worker}")).spawn(run);
            plane.threads.push(thread.map_err(Error::Start)?);
        }
        let workers = plane.workers.clone();
        let gone = move |key| workers.iter().for_each(|worker| worker.send(Command::FailPort(key)));
        plane.monitor = Some(Monitor::start(move |event| sink(event), gone).map_err(Error::Start)?);
        Ok(plane)
    }

    /// The clock whose time the engines see.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// How many workers there are: as many halves an engine must have.
    pub fn n_workers(&self) -> usize {
        self.workers.len()
    }

    /// A number for an engine that is added later: its owner can prepare for its events.
    pub fn reserve_engine(&self) -> EngineId {
        let mut registry = self.lock();
        let id = EngineId(registry.next_engine);
        registry.next_engine += 1;
        id
    }

    /// Adds a switch's halves.
    ///
    /// # Errors
    /// When they are not as many as the workers.
    pub fn add_switch(&self, halves: Vec<vswitch::Datapath>) -> Result<EngineId, Error> {
        self.add_engine(boxed(halves))
    }

    /// Adds a router's halves.
    ///
    /// # Errors
    /// When they are not as many as the workers.
    pub fn add_router(&self, halves: Vec<vrouter::Forwarder>) -> Result<EngineId, Error> {
        self.add_engine(boxed(halves))
    }

    /// Adds any engine's halves.
    ///
    /// # Errors
    /// When they are not as many as the workers.
    pub fn add_engine(&self, halves: Vec<Box<dyn Engine>>) -> Result<EngineId, Error> {
        let id = self.reserve_engine();
        self.add_engine_as(id, halves)?;
        Ok(id)
    }

    /// Adds any engine's halves under a number that was reserved for it.
    ///
    /// # Errors
    /// When they are not as many as the workers.
    pub fn add_engine_as(&self, id: EngineId, halves: Vec<Box<dyn Engine>>) -> Result<(), Error> {
        self.count("engine halves", halves.len())?;
        self.lock().engines.insert(id, BTreeMap::new());
        for (worker, half) in self.workers.iter().zip(halves) {
            worker.send(Command::AddEngine(id, half));
        }
        Ok(())
    }

    fn count(&self, what: &'static str, given: usize) -> Result<(), Error> {
        let expected = self.workers.len();
        if given == expected { Ok(()) } else { Err(Error::Count { what, expected, given }) }
    }

    /// Removes an engine's ports, then the engine.
    ///
    /// # Errors
    /// When it does not exist, and when a worker has died.
    pub fn remove_engine(&self, id: EngineId) -> Result<(), Error> {
        let ports: Vec<PortNo> =
            self.lock().engines.get(&id).ok_or(Error::NoEngine(id))?.keys().copied().collect();
        for port in ports {
            match self.remove_port(id, port) {
                // The other end of a link of the engine to itself, or of one that is being removed just now.
                Ok(()) | Err(Error::NoPort(..)) => {}
                Err(error) => return Err(error),
            }
        }
        self.lock().engines.remove(&id);
        self.tell_all(|| Command::RemoveEngine(id));
        self.sync()
    }

    /// Prepares a port and starts it, for engines that know it already.
    ///
    /// # Errors
    /// Those of [`Dataplane::prepare_port`].
    pub fn add_port(&self, id: EngineId, port: PortNo, queues: Queues) -> Result<bool, Error> {
        let up = self.prepare_port(id, port, queues)?;
        self.start_port(id, port).map(|()| up)
    }

    /// Adds a port by its queues, which are dealt to the workers; returns whether its link is up. Later changes come as
    /// [`Event::PortLink`]. When the call returns every worker can send to the port; what comes waits in its device
    /// until [`Dataplane::start_port`].
    ///
    /// # Errors
    /// When the number is in use or the engine does not exist; the queues are closed. When a worker has died.
    pub fn prepare_port(&self, id: EngineId, port: PortNo, queues: Queues) -> Result<bool, Error> {
        let Some(probe) = queues.first().map(|queue| queue.link_probe()) else {
            return Err(Error::Count { what: "queues", expected: 1, given: 0 });
        };
        let mut registry = self.lock();
        let key = registry.new_key();
        let ports = registry.engines.get_mut(&id).ok_or(Error::NoEngine(id))?;
        if ports.contains_key(&port) {
            return Err(Error::PortExists(id, port));
        }
        let owners = self.owners(key, queues.len());
        ports.insert(port, PortEntry::Device { key, owners });
        let up = match &self.monitor {
            Some(monitor) => monitor.add(key, id, port, probe),
            None => Ok(true),
        };
        let up = up.map_err(|e| Error::Watch(port, e));
        if up.is_err() {
            registry.engines.get_mut(&id).map(|ports| ports.remove(&port));
        } else {
            self.deal(id, port, key, queues);
            self.sync()?;
        }
        up
    }

    /// Receives from a port, once the workers have obeyed the orders given before: those that tell the engine of it.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn start_port(&self, id: EngineId, port: PortNo) -> Result<(), Error> {
        if let PortEntry::Device { key, owners } = self.lock().port(id, port)? {
            owners.iter().for_each(|worker| self.workers[*worker].send(Command::StartPort(*key)));
        }
        Ok(())
    }

    /// Queue i goes to worker key + i, so that ports with one queue spread over the workers.
    fn owners(&self, key: PortKey, n_queues: usize) -> Vec<usize> {
        let n = self.workers.len();
        (0..n_queues).map(|i| ((key.0 % n as u64) as usize + i) % n).collect()
    }

    fn deal(&self, engine: EngineId, port: PortNo, key: PortKey, queues: Queues) {
        let mut shares: Vec<Queues> = self.workers.iter().map(|_| Vec::new()).collect();
        let owners = self.owners(key, queues.len());
        for (worker, queue) in owners.iter().zip(queues) {
            shares[*worker].push(queue);
        }
        let failed = Arc::new(AtomicBool::new(false));
        for (at, (worker, queues)) in self.workers.iter().zip(shares).enumerate() {
            if queues.is_empty() {
                let target = Some(Target::Remote { worker: owners[at % owners.len()], key });
                worker.send(Command::SetTarget { engine, port, target });
            } else {
                worker.send(Command::AddPort(NewPort { engine, port, key, queues, failed: failed.clone() }));
            }
        }
    }

    /// Joins two engines' ports. Frames stay on the worker they are on, in a bounded queue.
    ///
    /// # Errors
    /// When a number is in use or an engine does not exist.
    pub fn add_link(&self, a: (EngineId, PortNo), b: (EngineId, PortNo)) -> Result<(), Error> {
        let mut registry = self.lock();
        for (id, port) in [a, b] {
            let ports = registry.engines.get(&id).ok_or(Error::NoEngine(id))?;
            if ports.contains_key(&port) || a == b {
                return Err(Error::PortExists(id, port));
            }
        }
        for ((engine, port), far) in [(a, b), (b, a)] {
            registry.engines.entry(engine).or_default().insert(port, PortEntry::Link { far, shaped: None });
            let target = Some(Target::Link { engine: far.0, port: far.1 });
            self.tell_all(|| Command::SetTarget { engine, port, target });
        }
        self.sync()
    }

    /// Stops receiving from a port, sends what is on its way to it, and closes it. Of a link both ends go; the far
    /// engine hears of it by [`Event::PortDown`].
    ///
    /// # Errors
    /// When it does not exist, and when a worker has died.
    pub fn remove_port(&self, engine: EngineId, port: PortNo) -> Result<(), Error> {
        let mut registry = self.lock();
        let ports = registry.engines.get_mut(&engine).ok_or(Error::NoEngine(engine))?;
        match ports.remove(&port).ok_or(Error::NoPort(engine, port))? {
            PortEntry::Device { key, .. } => {
                if let Some(monitor) = &self.monitor {
                    monitor.remove(key);
                }
                self.tell_all(|| Command::StopPort { engine, port, key });
                // From here on nobody adds to the rings for this port.
                self.sync()?;
                self.tell_all(|| Command::ClosePort(key));
            }
            PortEntry::Link { far, shaped } => {
                let other = registry.engines.get_mut(&far.0).and_then(|ports| ports.remove(&far.1));
                for (engine, port) in [(engine, port), far] {
                    self.tell_all(|| Command::SetTarget { engine, port, target: None });
                }
                let other = other.and_then(|entry| entry.shaped());
                shaped.into_iter().chain(other).for_each(|key| self.tell_all(|| Command::Unshape(key)));
                // Whoever hears of it may call back.
                drop(registry);
                (self.sink)(Event::PortDown { engine: far.0, port: far.1, error: PortFailure::LinkEnd });
            }
        }
        self.sync()
    }

    /// Lets frames leave a port by these queues from now on, or as they come if there are none. The configuration must
    /// have passed [`PortQueues::check`]. It goes with the port.
    ///
    /// One worker keeps the rates; the others hand their frames over to it.
    ///
    /// # Errors
    /// When there is no such port, and when a worker has died.
    pub fn set_queues(&self, engine: EngineId, port: PortNo, queues: &PortQueues) -> Result<(), Error> {
        let mut registry = self.lock();
        let fresh = registry.new_key();
        let entry = registry.port(engine, port)?;
        let (key, owner, beyond) = match &mut *entry {
            PortEntry::Device { key, owners } => (*key, owners.first().copied().unwrap_or(0), Beyond::Device),
            PortEntry::Link { far, shaped } => {
                let key = *shaped.get_or_insert(fresh);
                (key, (key.0 % self.workers.len() as u64) as usize, Beyond::Link(far.0, far.1))
            }
        };
        if queues.is_none() {
            return self.unshape(entry, (engine, port, key), owner);
        }
        let shape = Shape { engine, port, key, beyond, queues: queues.clone() };
        self.workers[owner].send(Command::Shape(Box::new(shape)));
        self.sync()?;
        for (_, worker) in self.workers.iter().enumerate().filter(|(at, _)| *at != owner) {
            let target = Some(Target::Remote { worker: owner, key });
            worker.send(Command::SetTarget { engine, port, target });
        }
        self.sync()
    }

    fn unshape(
        &self,
        entry: &mut PortEntry,
        (engine, port, key): (EngineId, PortNo, PortKey),
        owner: usize,
    ) -> Result<(), Error> {
        match entry {
            PortEntry::Device { owners, .. } => {
                for (at, worker) in self.workers.iter().enumerate() {
                    let other = owners.get(at % owners.len().max(1)).copied().unwrap_or(owner);
                    worker.send(Command::Unhand { engine, port, key, worker: other });
                }
            }
            PortEntry::Link { far, shaped } => {
                let target = Some(Target::Link { engine: far.0, port: far.1 });
                self.tell_all(|| Command::SetTarget { engine, port, target });
                *shaped = None;
            }
        }
        // From here on nobody adds to what waits.
        self.sync()?;
        self.workers[owner].send(Command::Unshape(key));
        self.sync()
    }

    /// Carries an order to one worker's half of a switch, or to all.
    pub fn order_switch(&self, engine: EngineId, worker: Option<usize>, order: vswitch::Order) {
        self.order(engine, worker, Order::Switch(order));
    }

    /// Carries an order to one worker's half of a router, or to all.
    pub fn order_router(&self, engine: EngineId, worker: Option<usize>, order: vrouter::Order) {
        self.order(engine, worker, Order::Router(order));
    }

    fn order(&self, engine: EngineId, worker: Option<usize>, order: Order) {
        match worker {
            Some(worker) => {
                if let Some(worker) = self.workers.get(worker) {
                    worker.send(Command::Order(engine, order));
                }
            }
            None => self.tell_all(|| Command::Order(engine, order.clone())),
        }
    }

    /// What the ports of an engine have counted, by number; asked of the workers, so exact at this moment.
    pub fn port_counters(&self, engine: EngineId) -> Vec<(PortNo, PortCounters)> {
        let mut sums: BTreeMap<PortNo, PortCounters> = BTreeMap::new();
        for (port, counters) in self.ask(|reply| Command::Counters(engine, reply)).into_iter().flatten() {
            *sums.entry(port).or_default() += counters;
        }
        sums.into_iter().collect()
    }

    /// What the queues of an engine's ports have counted, by port and number.
    pub fn queue_counters(&self, engine: EngineId) -> BTreeMap<(PortNo, u16), QueueCounters> {
        let ports = self.ask(|reply| Command::QueueCounters(engine, reply)).into_iter().flatten();
        ports
            .flat_map(|(port, all)| all.into_iter().map(move |(id, counters)| ((port, id), counters)))
            .collect()
    }

    /// What the dataplane itself has dropped.
    pub fn drops(&self) -> Drops {
        let mut sum = Drops::default();
        for drops in self.ask(Command::Drops) {
            sum += drops;
        }
        sum
    }

    /// Copies frames of an engine as they come in and leave, until the watch is dropped. Frames that are on their way
    /// when the call returns are among them.
    pub fn mirror(&self, engine: EngineId, spec: &MirrorSpec) -> Watch<Copied> {
        let (watch, mirrors) = capture::mirror(engine, spec, self.workers.len());
        for (worker, mirror) in self.workers.iter().zip(mirrors) {
            worker.send(Command::Mirror(mirror));
        }
        watch
    }

    /// Follows some of the frames that come in by an engine's ports, until the watch is dropped. Only switches tell what
    /// became of them.
    pub fn sample(&self, engine: EngineId, spec: &SampleSpec) -> Watch<Sample> {
        let (watch, samplers) = capture::sampler(engine, spec, self.workers.len());
        for (worker, sampler) in self.workers.iter().zip(samplers) {
            worker.send(Command::Sample(sampler));
        }
        watch
    }

    /// What each worker has to say of itself.
    pub fn worker_stats(&self) -> Vec<WorkerStats> {
        let mut all = self.ask(Command::Stats);
        all.sort_by_key(|stats| stats.worker);
        all
    }

    /// Buffers the workers have asked of the allocator, all together: constant once they are warm.
    pub fn pool_stats(&self) -> PoolStats {
        let mut sum = PoolStats::default();
        for stats in self.ask(Command::PoolStats) {
            sum.n_heads_allocated += stats.n_heads_allocated;
            sum.n_tails_allocated += stats.n_tails_allocated;
        }
        sum
    }

    /// Waits until every worker has obeyed what it was told before.
    ///
    /// # Errors
    /// When one has died.
    pub fn sync(&self) -> Result<(), Error> {
        let n = self.ask(Command::Sync).len();
        if n == self.workers.len() { Ok(()) } else { Err(Error::WorkerDied) }
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            worker.send(command());
        }
    }

    /// One answer of each worker that lives.
    fn ask<T>(&self, command: impl Fn(Sender<T>) -> Command) -> Vec<T> {
        let (reply, answers) = mpsc::channel();
        self.tell_all(|| command(reply.clone()));
        drop(reply);
        answers.iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Halves of one kind as halves of any.
pub fn boxed<E: Engine + 'static>(halves: Vec<E>) -> Vec<Box<dyn Engine>> {
    halves.into_iter().map(|half| Box::new(half) as Box<dyn Engine>).collect()
}

fn new_epoll(waker: &Waker) -> io::Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(waker, EpollEvent::new(EpollFlags::EPOLLIN, Waker::TOKEN))?;
    Ok(epoll)
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.monitor = None;
        self.tell_all(|| Command::Stop);
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so by an event.
            let _ = thread.join();
        }
    }
}
