//! One worker thread.
//!
//! A round: wait for descriptors; receive batches from each port that is ready, in turn, and take them through its
//! engine; take what other workers handed over; obey commands; run what links have queued; send. Reports and counters follow when
//! a few milliseconds have passed without frames, or a second with.

mod forward;
mod patience;
mod ports;
mod shape;
mod turns;
mod wake;
mod watch;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use netio::PortCounters;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use packet::{Batch, Frame, Instant, MAX_BATCH, Outputs, Pool, PoolConfig, PoolStats, PortNo};

use crate::capture::{Mirror, Sampler};
use crate::stages::Timing;
use crate::table::{PortKey, Target, Targets};
use crate::{Clock, Drops, Engine, EngineId, Event, Order, Poll, QueueCounters, StageCounters, WorkerStats};

pub(crate) use ports::NewPort;
pub(crate) use shape::{Beyond, Shape};
pub(crate) use wake::{Inbound, Outbound, Waker, rings};

/// What one worker is told. Commands are obeyed in order.
pub(crate) enum Command {
    AddEngine(EngineId, Box<dyn Engine>),
    RemoveEngine(EngineId),
    AddPort(NewPort),
    /// Receives from the port.
    StartPort(PortKey),
    /// Says where an engine's port leads, on a worker that has no queue of it.
    SetTarget {
        engine: EngineId,
        port: PortNo,
        target: Option<Target>,
    },
    /// No longer receives from the port nor sends to it.
    StopPort {
        engine: EngineId,
        port: PortNo,
        key: PortKey,
    },
    /// Sends what is still on its way to the port, then closes it. After every worker has stopped it.
    ClosePort(PortKey),
    /// The device is gone.
    FailPort(PortKey),
    /// Lets a port's frames wait for their turn, or wait otherwise than before.
    Shape(Box<Shape>),
    /// Sends what waits for a port. After every other worker has stopped handing frames over, and been told otherwise.
    Unshape(PortKey),
    /// Sends to a port by a queue of this worker if there is one, else to the worker named.
    Unhand {
        engine: EngineId,
        port: PortNo,
        key: PortKey,
        worker: usize,
    },
    Order(EngineId, Order),
    Counters(EngineId, Sender<Vec<(PortNo, PortCounters)>>),
    QueueCounters(EngineId, Sender<AllQueueCounters>),
    /// Copies frames for someone from now on.
    Mirror(Mirror),
    /// Follows frames for someone from now on.
    Sample(Sampler),
    Drops(Sender<Drops>),
    Stats(Sender<WorkerStats>),
    PoolStats(Sender<PoolStats>),
    /// Answers when everything before it has been obeyed.
    Sync(Sender<()>),
    Stop,
}

/// What the queues of ports have counted, by port and number.
pub(crate) type AllQueueCounters = Vec<(PortNo, Vec<(u16, QueueCounters)>)>;

/// Where events go.
pub(crate) type Sink = Arc<dyn Fn(Event) + Send + Sync>;

/// What a worker is made from.
pub(crate) struct Setup {
    pub worker: usize,
    pub clock: Clock,
    pub poll: Poll,
    pub sink: Sink,
    pub epoll: Epoll,
    pub waker: Arc<Waker>,
    pub commands: Receiver<Command>,
    /// From each other worker.
    pub inbound: Vec<Inbound>,
    /// To each worker, by number; none to itself.
    pub outbound: Vec<Option<Outbound>>,
}

/// An engine's half with what surrounds it.
struct EngineSlot {
    engine: Box<dyn Engine>,
    targets: Targets,
    /// Frames that came over links.
    inbox: Vec<Frame>,
    /// What links of this engine have carried, by port.
    links: Vec<(PortNo, PortCounters)>,
    /// Has worked since the last call of `handle_idle`.
    active: bool,
    stages: StageCounters,
}

/// Quiet time after which counters are reported.
const SETTLE: Duration = Duration::from_millis(20);
/// Longest time without a report under load.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// Descriptors looked at in one round.
const N_EVENTS: usize = 64;
/// Batches taken from a port in one round, at most.
const N_RECEIVE_PASSES: usize = 8;
/// Passes over the links in one round; what is left waits for the next.
const N_LINK_PASSES: usize = 8;
/// Passes that empty full rings.
const N_CLOSE_PASSES: usize = 8;

pub(crate) struct Worker {
    setup: Setup,
    now: Instant,
    pool: Pool,
    batch: Batch,
    out: Outputs,
    /// Tokens of queues from which there is something to receive.
    ready: Vec<u64>,
    engines: Vec<Option<EngineSlot>>,
    ports: ports::Ports,
    shapers: shape::Shapers,
    drops: Drops,
    timing: Timing,
    watchers: watch::Watchers,
    /// Frames wait in an inbox.
    backlog: bool,
    /// When counters are to be reported, if anything has happened since the last time.
    idle_due: Option<Instant>,
    last_idle: Instant,
    patience: patience::Patience,
    turns: turns::Turns,
    stopping: bool,
}

impl Worker {
    pub fn new(setup: Setup) -> Self {
        let now = setup.clock.now();
        Self {
            setup,
            now,
            pool: Pool::new(PoolConfig::default()),
            batch: Batch::with_capacity(MAX_BATCH),
            out: Outputs::with_capacity(2 * MAX_BATCH),
            ready: Vec::new(),
            engines: Vec::new(),
            ports: ports::Ports::default(),
            shapers: shape::Shapers::default(),
            drops: Drops::default(),
            timing: Timing::new(now),
            watchers: watch::Watchers::default(),
            backlog: false,
            idle_due: None,
            last_idle: now,
            patience: patience::Patience::default(),
            turns: turns::Turns::default(),
            stopping: false,
        }
    }

    /// Works until told to stop.
    pub fn run(mut self) {
        let mut events = [EpollEvent::empty(); N_EVENTS];
        while !self.stopping {
            let n = self.wait(&mut events);
            self.now = self.setup.clock.now();
            self.timing.begin(self.now);
            let mut woken = false;
            for event in &events[..n] {
                match event.data() {
                    Waker::TOKEN => woken = true,
                    token => self.ready.push(token),
                }
            }
            self.receive_ready();
            if woken {
                self.setup.waker.clear();
                self.obey();
            }
            self.run_links();
            self.flush();
            self.run_timeouts();
            self.report_if_due();
        }
    }

    /// Sleeps until something happens, or merely looks when there is work left. Before a sleep it looks for a while if
    /// sleeps have been short.
    fn wait(&mut self, events: &mut [EpollEvent]) -> usize {
        if self.backlog || self.setup.poll == Poll::Always {
            return self.look(events);
        }
        let begin = self.setup.clock.now();
        let window = self.patience.window();
        while self.setup.clock.now().saturating_since(begin) < window {
            let n = self.look(events);
            if n > 0 || self.setup.inbound.iter().any(Inbound::has_some) {
                return n;
            }
            // Whoever is to send the next frame may be waiting for this core.
            std::thread::yield_now();
        }
        let timeout = self.timeout();
        if timeout != EpollTimeout::ZERO {
            self.setup.waker.sleep();
        }
        // Between the look at the rings and the sleep a hand-over finds the worker marked as asleep and wakes it.
        let timeout =
            if self.setup.inbound.iter().any(Inbound::has_some) { EpollTimeout::ZERO } else { timeout };
        // An error can only be EINTR here: the next round waits again.
        let n = self.setup.epoll.wait(events, timeout).unwrap_or(0);
        self.setup.waker.awake();
        if timeout != EpollTimeout::ZERO {
            self.patience.slept(self.setup.clock.now().saturating_since(begin));
        }
        n
    }

    /// What is ready now; time spent for nothing is told apart from work.
    fn look(&mut self, events: &mut [EpollEvent]) -> usize {
        let started = netio::clock::ticks();
        let n = self.setup.epoll.wait(events, EpollTimeout::ZERO).unwrap_or(0);
        if n == 0 {
            self.timing.spun += netio::clock::ticks().saturating_sub(started);
        }
        n
    }

    fn timeout(&self) -> EpollTimeout {
        let timeouts = self.engines.iter().flatten().filter_map(|slot| slot.engine.poll_timeout());
        let Some(due) = timeouts.chain(self.idle_due).chain(self.shapers.poll_timeout()).min() else {
            return EpollTimeout::NONE;
        };
        let nanos = due.saturating_since(self.setup.clock.now()).as_nanos();
        // Rounded up: a timeout that fires early would only be waited for again.
        let millis = nanos.div_ceil(1_000_000).min(60_000) as u16;
        EpollTimeout::from(millis)
    }

    fn obey(&mut self) {
        while let Ok(command) = self.setup.commands.try_recv() {
            self.handle(command);
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::AddEngine(id, engine) => self.add_engine(id, engine),
            Command::RemoveEngine(id) => self.remove_engine(id),
            Command::AddPort(port) => self.add_port(port),
            Command::StartPort(key) => self.start_port(key),
            Command::SetTarget { engine, port, target } => self.set_target(engine, port, target),
            Command::StopPort { engine, port, key } => {
                self.set_target(engine, port, None);
                self.stop_port(key);
            }
            Command::ClosePort(key) => {
                self.unshape(key);
                // Nobody adds to what is there for this port; each pass takes a share of each ring.
                for _ in 0..N_CLOSE_PASSES {
                    self.take_rings();
                    self.flush();
                }
                self.close_port(key);
            }
            Command::FailPort(key) => self.fail_port(key, netio::PortError::Gone),
            Command::Shape(shape) => self.shape(*shape),
            Command::Unshape(key) => self.unshape(key),
            Command::Unhand { engine, port, key, worker } => {
                let target = match self.ports.slot_of(key) {
                    Some(slot) => Target::Local { slot },
                    None => Target::Remote { worker, key },
                };
                self.set_target(engine, port, Some(target));
            }
            Command::Order(engine, order) => self.obey_order(engine, order),
            Command::Counters(engine, reply) => {
                // The one who asked may have gone away; so for the others below.
                let _ = reply.send(self.counters(engine));
            }
            Command::QueueCounters(engine, reply) => drop(reply.send(self.shapers.counters(engine))),
            Command::Mirror(mirror) => self.watchers.add_mirror(mirror),
            Command::Sample(sampler) => self.watchers.add_sampler(sampler),
            Command::Drops(reply) => drop(reply.send(self.drops)),
            Command::Stats(reply) => drop(reply.send(self.stats())),
            Command::PoolStats(reply) => drop(reply.send(self.pool.stats())),
            Command::Sync(reply) => drop(reply.send(())),
            Command::Stop => self.stopping = true,
        }
    }

    fn add_engine(&mut self, id: EngineId, engine: Box<dyn Engine>) {
        let at = id.0 as usize;
        if self.engines.len() <= at {
            self.engines.resize_with(at + 1, || None);
        }
        let targets = Targets::default();
        let (inbox, links) = (Vec::new(), Vec::new());
        let stages = StageCounters::default();
        self.engines[at] = Some(EngineSlot { engine, targets, inbox, links, active: true, stages });
        self.report(id);
    }

    fn remove_engine(&mut self, id: EngineId) {
        self.watchers.forget(id);
        if let Some(slot) = self.engines.get_mut(id.0 as usize).and_then(Option::take) {
            for frame in slot.inbox {
                self.pool.free(frame);
            }
        }
    }

    fn set_target(&mut self, engine: EngineId, port: PortNo, target: Option<Target>) {
        let Some(slot) = self.engines.get_mut(engine.0 as usize).and_then(Option::as_mut) else { return };
        slot.targets.set(port, target);
        // A link that is shaped goes on counting.
        let known = slot.links.iter().any(|(no, _)| *no == port);
        match target {
            None => slot.links.retain(|(no, _)| *no != port),
            Some(Target::Link { .. }) if !known => slot.links.push((port, PortCounters::default())),
            Some(_) => {}
        }
    }

    fn obey_order(&mut self, id: EngineId, order: Order) {
        let Some(slot) = self.engines.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        slot.engine.handle_order(self.now, order, &mut self.pool, &mut self.out);
        self.note_activity(id);
        self.dispatch(id);
        self.report(id);
    }

    fn counters(&mut self, engine: EngineId) -> Vec<(PortNo, PortCounters)> {
        let links =
            self.engines.get(engine.0 as usize).and_then(Option::as_ref).map(|slot| slot.links.clone());
        let mut all = self.ports.counters(engine);
        all.extend(links.unwrap_or_default());
        all
    }

    fn stats(&self) -> WorkerStats {
        let slots = self.engines.iter().enumerate();
        let stages = slots.filter_map(|(at, slot)| Some((EngineId(at as u32), slot.as_ref()?.stages)));
        WorkerStats {
            stages: stages.collect(),
            drops: self.drops,
            ..self.timing.stats(self.setup.worker, self.setup.clock.now())
        }
    }

    fn run_timeouts(&mut self) {
        for at in 0..self.engines.len() {
            let Some(slot) = &mut self.engines[at] else { continue };
            if slot.engine.poll_timeout().is_some_and(|due| due <= self.now) {
                slot.engine.handle_timeout(self.now, &mut self.pool, &mut self.out);
                let id = EngineId(at as u32);
                self.note_activity(id);
                self.dispatch(id);
                self.report(id);
                self.flush();
            }
        }
    }

    fn note_activity(&mut self, id: EngineId) {
        if let Some(Some(slot)) = self.engines.get_mut(id.0 as usize) {
            slot.active = true;
        }
        self.idle_due = Some((self.now + SETTLE).min(self.last_idle + REPORT_INTERVAL).max(self.now));
    }

    fn report_if_due(&mut self) {
        if self.idle_due.is_none_or(|due| due > self.now) {
            return;
        }
        (self.idle_due, self.last_idle) = (None, self.now);
        for at in 0..self.engines.len() {
            if let Some(slot) = &mut self.engines[at]
                && std::mem::take(&mut slot.active)
            {
                slot.engine.handle_idle(self.now);
                self.report(EngineId(at as u32));
            }
        }
    }

    /// Hands on what an engine has for its owner.
    fn report(&mut self, id: EngineId) {
        let Some(Some(slot)) = self.engines.get_mut(id.0 as usize) else { return };
        while let Some(report) = slot.engine.poll_report() {
            (self.setup.sink)(Event::report(id, self.setup.worker, report));
        }
    }
}
