//! A switch with one worker and memory ports, driven from one thread.

use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use dataplane::{Clock, Config, Dataplane, EngineId, Event, Poll, StageCounters};
use openflow::{
    FlowMod, FlowStats, FlowStatsRequest, Message, MultipartRequest, PortDesc, PortNo, Reply, Request, Xid,
};
use packet::{Instant, MacAddr};
use vswitch::{CacheCounters, ConnId, Drops, Effect, Switch, SwitchConfig};

use super::replay::{Control, Frames, MemoryPort};
use super::worker_cpu;

/// Where frames come in.
pub const IN: PortNo = PortNo(1);
const CONN: ConnId = ConnId(1);
/// Longer than any honest answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The switch under measurement.
pub struct Rig {
    switch: Switch,
    dataplane: Dataplane,
    engine: EngineId,
    clock: Clock,
    inbox: Receiver<Event>,
    control: Arc<Control>,
    /// Of the port that floods.
    flood: Arc<Control>,
}

/// How a rig differs from a switch of today.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Entries of the cache; none for as many as a switch has.
    pub cache_entries: Option<u32>,
    /// The worker looks for frames all the time.
    pub spin: bool,
    /// What another port brings again and again while frames are replayed.
    pub flood: Option<(PortNo, Frames)>,
}

/// What happened in a stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    frames: u64,
    wall: Duration,
    cpu: Duration,
    ticks: u64,
    cache: CacheCounters,
    /// Of all threads.
    pub allocations: u64,
}

impl AddAssign for Sample {
    fn add_assign(&mut self, more: Self) {
        self.frames += more.frames;
        self.wall += more.wall;
        self.cpu += more.cpu;
        self.ticks += more.ticks;
        self.cache += more.cache;
        self.allocations += more.allocations;
    }
}

impl Sample {
    /// How long it was.
    pub const fn wall(&self) -> Duration {
        self.wall
    }

    /// Millions of frames a second of wall time.
    pub fn mpps(&self) -> f64 {
        self.frames as f64 / self.wall.as_secs_f64() / 1e6
    }
    /// Nanoseconds of processor time.
    pub fn ns_per_frame(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.frames as f64
    }
    /// Ticks of the time-stamp counter in that time.
    pub fn cycles_per_frame(&self) -> f64 {
        self.ns_per_frame() * self.ticks as f64 / self.wall.as_nanos() as f64
    }
    /// Frames whose program came from the cache, of those for which it was asked.
    pub fn cache_hit_share(&self) -> Option<f64> {
        (self.cache.lookups > 0).then(|| self.cache.hits as f64 / self.cache.lookups as f64)
    }
}

impl Rig {
    /// Installs the flows and is at rest.
    ///
    /// # Errors
    /// When a flow is refused, or threads cannot be had.
    pub fn start(
        flows: &[FlowMod],
        ports: &[PortNo],
        frames: &Frames,
        setup: &Setup,
    ) -> anyhow::Result<Self> {
        let (events, inbox) = channel();
        let poll = if setup.spin { Poll::Always } else { Poll::Adaptive };
        // Nobody reads after the end; that is no loss.
        let sink = Box::new(move |event| drop(events.send(event)));
        let dataplane = Dataplane::start(Config { n_workers: 1, poll }, sink)?;
        let mut config = SwitchConfig { gather: vswitch::GATHER, ..SwitchConfig::default() };
        config.cache_entries = setup.cache_entries.unwrap_or(config.cache_entries);
        let mut switch = Switch::new(config);
        let engine = dataplane.add_switch(switch.datapath())?;
        let (control, flood) = (Control::new()?, Control::new()?);
        let clock = dataplane.clock();
        let mut rig = Self { switch, dataplane, engine, clock, inbox, control, flood };
        for &port in ports {
            let mac = MacAddr::from_u64(0x0200_0000_0000 | u64::from(port.0));
            rig.switch.add_port(clock.now(), PortDesc::new(port, mac, format!("p{port}")));
            let memory = match &setup.flood {
                Some((at, flood)) if *at == port => {
                    MemoryPort::new(port, rig.flood.clone(), Some(flood.clone()))?
                }
                _ => MemoryPort::new(port, rig.control.clone(), (port == IN).then(|| frames.clone()))?,
            };
            rig.dataplane.add_port(engine, port, vec![Box::new(memory)])?;
        }
        rig.switch.handle_connected(clock.now(), CONN);
        for flow in flows {
            rig.switch.handle_message(clock.now(), CONN, Xid(1), Message::FlowMod(flow.clone()));
        }
        rig.ask(Message::BarrierRequest)?;
        Ok(rig)
    }

    /// Hands a message to the switch and carries reports and orders until its reply is there.
    fn ask(&mut self, message: Message) -> anyhow::Result<Vec<Message>> {
        self.switch.handle_message(self.clock.now(), CONN, Xid(2), message);
        let until = self.clock.now() + PATIENCE;
        let mut replies = Vec::new();
        loop {
            while let Some(effect) = self.switch.poll_effect() {
                match effect {
                    Effect::Order { worker, order } => {
                        self.dataplane.order_switch(self.engine, worker, order)
                    }
                    Effect::Send { message: Message::Error(error), .. } => {
                        bail!("the switch refuses: {:?}", error.kind)
                    }
                    Effect::Send { xid: Xid(2), message, .. } => replies.push(message),
                    Effect::Send { .. } => {}
                }
            }
            let is_last = |message: &Message| !matches!(message, Message::MultipartReply(r) if r.more);
            if replies.last().is_some_and(is_last) {
                return Ok(replies);
            }
            // Long replies are made a part at a time, whenever the switch has nothing else to do.
            let now = self.clock.now();
            if self.switch.poll_timeout().is_some_and(|due| due <= now) {
                self.switch.handle_timeout(now);
                continue;
            }
            let wait = until.saturating_since(now);
            let event = self.inbox.recv_timeout(wait).context("the worker does not answer")?;
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        if let Event::SwitchReport { worker, report, .. } = event {
            self.switch.handle_report(self.clock.now(), worker, report);
        }
    }

    /// Replays again and again from now on, or stops doing so.
    pub fn replay(&mut self, on: bool) -> anyhow::Result<()> {
        if on {
            self.flood.start_again_and_again()?;
            return self.control.start_again_and_again();
        }
        self.flood.stop();
        self.control.stop();
        self.settle()
    }

    /// Waits until everything that was received has left.
    fn settle(&mut self) -> anyhow::Result<()> {
        // A worker obeys before it sends: the second answer comes behind everything.
        self.dataplane.sync()?;
        self.dataplane.sync()?;
        Ok(())
    }

    /// Replays every frame once; what left, in order for each port.
    pub fn pass(&mut self) -> anyhow::Result<Vec<(PortNo, Vec<u8>)>> {
        self.control.start_once()?;
        let until = self.clock.now() + PATIENCE;
        while !self.control.is_at_rest() {
            ensure!(self.clock.now() < until, "the worker does not take the frames");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.settle()?;
        Ok(self.control.take_sent())
    }

    /// Counters of all flows, with everything counted so far.
    pub fn flow_stats(&mut self) -> anyhow::Result<Vec<FlowStats>> {
        let body = Request::Flow(FlowStatsRequest::default());
        let replies = self.ask(Message::MultipartRequest(MultipartRequest { more: false, body }))?;
        let flows = replies.into_iter().flat_map(|reply| match reply {
            Message::MultipartReply(reply) => match reply.body {
                Reply::Flow(flows) => flows,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        });
        Ok(flows.collect())
    }

    /// Frames dropped so far, by reason. After [`flow_stats`](Self::flow_stats), which collects the counts.
    pub fn drops(&self) -> Drops {
        self.switch.drops()
    }

    /// Frames and bytes received and sent so far, by port.
    pub fn port_counts(&self) -> Vec<(PortNo, [u64; 4])> {
        let counters = self.dataplane.port_counters(self.engine);
        counters.iter().map(|(port, c)| (*port, [c.rx_frames, c.rx_bytes, c.tx_frames, c.tx_bytes])).collect()
    }

    /// Hands a message to the switch and what follows from it to the worker, without waiting for anything.
    ///
    /// # Errors
    /// When the switch refuses it.
    pub fn submit(&mut self, message: Message) -> anyhow::Result<()> {
        while let Ok(event) = self.inbox.try_recv() {
            self.handle(event);
        }
        self.switch.handle_message(self.clock.now(), CONN, Xid(1), message);
        while let Some(effect) = self.switch.poll_effect() {
            match effect {
                Effect::Order { worker, order } => self.dataplane.order_switch(self.engine, worker, order),
                Effect::Send { message: Message::Error(error), .. } => {
                    bail!("the switch refuses: {:?}", error.kind)
                }
                Effect::Send { .. } => {}
            }
        }
        Ok(())
    }

    /// Waits until every change is in force.
    ///
    /// # Errors
    /// When the worker does not answer.
    pub fn barrier(&mut self) -> anyhow::Result<()> {
        self.ask(Message::BarrierRequest).map(drop)
    }

    /// Bytes of an entry of the cache.
    pub fn cache_entry_bytes(&self) -> usize {
        self.switch.cache_entry_bytes()
    }

    /// What the stages of frames cost since the start, in the rounds that were timed.
    pub fn stages(&self) -> StageCounters {
        let mut all = StageCounters::default();
        for (_, stages) in self.dataplane.worker_stats().iter().flat_map(|worker| &worker.stages) {
            all += *stages;
        }
        all
    }

    /// Measures while frames are replayed.
    pub fn measure(&mut self, time: Duration) -> anyhow::Result<Sample> {
        self.measure_with(time, time, |_| Ok(()))
    }

    /// The same while something is done again and again.
    ///
    /// # Errors
    /// With those of what is done.
    pub fn measure_with(
        &mut self,
        time: Duration,
        every: Duration,
        mut step: impl FnMut(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Sample> {
        let before = self.now()?;
        let (end, mut due) = (before.at + time, before.at + every);
        while self.clock.now() < end {
            std::thread::sleep(due.min(end).saturating_since(self.clock.now()));
            while due <= self.clock.now() && due < end {
                step(self)?;
                due = due + every;
            }
        }
        let after = self.now()?;
        let (wall, cpu) = (after.at.saturating_since(before.at), after.cpu.saturating_sub(before.cpu));
        Ok(Sample {
            frames: after.frames - before.frames,
            wall,
            cpu,
            ticks: after.ticks - before.ticks,
            cache: after.cache - before.cache,
            allocations: after.allocations - before.allocations,
        })
    }

    fn now(&mut self) -> anyhow::Result<Moment> {
        // Collects the counts of the worker, the cache's too.
        while let Ok(event) = self.inbox.try_recv() {
            self.handle(event);
        }
        let counters = self.dataplane.port_counters(self.engine);
        let frames = counters.iter().filter(|(port, _)| *port == IN).map(|(_, c)| c.rx_frames).sum();
        Ok(Moment {
            at: self.clock.now(),
            frames,
            cpu: worker_cpu()?,
            ticks: netio::clock::ticks(),
            cache: self.switch.cache_counters(),
            allocations: netio::alloc::ALLOCATIONS.load(Ordering::Relaxed),
        })
    }
}

struct Moment {
    at: Instant,
    frames: u64,
    cpu: Duration,
    ticks: u64,
    cache: CacheCounters,
    allocations: u64,
}
