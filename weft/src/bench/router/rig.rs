//! A router with one worker and memory ports, driven from one thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, ensure};
use dataplane::{Clock, Config, Dataplane, EngineId, Event, Poll};
use packet::{Instant, PortNo};
use vrouter::{Counters, Effect, Fpm, Options, Router, RouterConfig};

use super::super::replay::{Control, Frames, MemoryPort};
use super::super::worker_cpu;
use super::traffic;

/// Longer than any honest answer takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a routing daemon's socket gives at once.
const CHUNK: usize = 256 << 10;

/// The router under measurement.
pub struct Rig {
    router: Router,
    dataplane: Dataplane,
    engine: EngineId,
    clock: Clock,
    inbox: Receiver<Event>,
    control: Arc<Control>,
    /// Workers that have taken over what was published last.
    n_reports: u64,
}

/// What happened in a stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    frames: u64,
    wall: Duration,
    cpu: Duration,
    ticks: u64,
    /// Of all threads.
    pub allocations: u64,
}

impl Sample {
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
}

struct Moment {
    at: Instant,
    frames: u64,
    cpu: Duration,
    ticks: u64,
    allocations: u64,
}

impl Rig {
    /// A router with this configuration, at rest and without ports.
    ///
    /// # Errors
    /// When the configuration is refused, or threads cannot be had.
    pub fn start(config: RouterConfig, n_connections: u32, spin: bool) -> anyhow::Result<Self> {
        let (events, inbox) = channel();
        let poll = if spin { Poll::Always } else { Poll::Adaptive };
        // Nobody reads after the end; that is no loss.
        let sink = Box::new(move |event| drop(events.send(event)));
        let dataplane = Dataplane::start(Config { n_workers: 1, poll }, sink)?;
        let options = Options { n_connections, ..Options::new(1, [0x5eed, 0xfeed]) };
        let mut router = Router::new(options);
        let engine = dataplane.add_router(router.forwarders())?;
        let (control, clock) = (Control::new()?, dataplane.clock());
        router.set_config(clock.now(), config)?;
        let mut rig = Self { router, dataplane, engine, clock, inbox, control, n_reports: 0 };
        rig.settle()?;
        Ok(rig)
    }

    /// Adds a port, or puts another in its place; with `frames` it replays them.
    pub fn set_port(&mut self, port: PortNo, frames: Option<Frames>) -> anyhow::Result<()> {
        if self.dataplane.port_counters(self.engine).iter().any(|(known, _)| *known == port) {
            self.dataplane.remove_port(self.engine, port)?;
        }
        let memory = MemoryPort::new(port, self.control.clone(), frames)?;
        self.dataplane.add_port(self.engine, port, vec![Box::new(memory)])?;
        self.settle()
    }

    /// Carries orders and reports until there are none.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        loop {
            self.carry();
            // A worker obeys before it reports and sends: the second answer comes behind everything.
            self.dataplane.sync()?;
            self.dataplane.sync()?;
            let before = self.n_reports;
            self.carry();
            if self.n_reports == before {
                return Ok(());
            }
        }
    }

    fn carry(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            if let Event::RouterReport { worker, report, .. } = event {
                self.router.handle_report(self.clock.now(), worker, report);
                self.n_reports += 1;
            }
        }
        while let Some(effect) = self.router.poll_effect() {
            if let Effect::Order { worker, order } = effect {
                self.dataplane.order_router(self.engine, worker, order);
            }
        }
    }

    /// Takes the routes that a routing daemon's bytes tell, and waits until the worker forwards by them.
    ///
    /// # Errors
    /// When they are no FPM, or a route is refused.
    pub fn learn(&mut self, fpm: &mut Fpm, bytes: &[u8], n_routes: usize) -> anyhow::Result<Duration> {
        let begin = self.clock.now();
        for chunk in bytes.chunks(CHUNK) {
            fpm.handle_bytes(&mut self.router, self.clock.now(), chunk)?;
            // The answers go to the daemon.
            while fpm.poll_output().is_some() {}
            self.carry();
        }
        self.settle()?;
        ensure!(fpm.n_routes() == n_routes, "{} of {n_routes} routes were taken", fpm.n_routes());
        Ok(self.clock.now().saturating_since(begin))
    }

    /// Replays again and again from now on.
    pub fn replay(&mut self) -> anyhow::Result<()> {
        self.control.start_again_and_again()
    }

    /// Stops that.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.control.stop();
        self.settle()
    }

    /// Replays every frame once; what left of them, in order for each port. What the router itself has to say to its
    /// neighbours meanwhile is left out.
    ///
    /// # Errors
    /// When something left that is neither.
    pub fn pass(&mut self) -> anyhow::Result<Vec<(PortNo, Vec<u8>)>> {
        self.control.start_once()?;
        let until = self.clock.now() + PATIENCE;
        while !self.control.is_at_rest() {
            ensure!(self.clock.now() < until, "the worker does not take the frames");
            std::thread::sleep(Duration::from_millis(1));
            self.carry();
        }
        self.settle()?;
        let mut sent = self.control.take_sent();
        sent.retain(|(_, frame)| !traffic::is_to_neighbours(frame));
        let foreign = sent.iter().find(|(_, frame)| !traffic::is_of_workload(frame));
        ensure!(foreign.is_none(), "the router sent what nobody asked for: {foreign:?}");
        Ok(sent)
    }

    /// Waits until so many frames were received: when that was seen, and how many there were then.
    pub fn wait_for(&mut self, n_frames: u64) -> anyhow::Result<(Instant, u64)> {
        let until = self.clock.now() + PATIENCE;
        loop {
            let now = self.now()?;
            if now.frames >= n_frames {
                return Ok((now.at, now.frames));
            }
            ensure!(now.at < until, "{} of {n_frames} frames in a minute", now.frames);
            std::thread::sleep(Duration::from_micros(200));
            self.carry();
        }
    }

    /// Measures while frames are replayed.
    pub fn measure(&mut self, time: Duration) -> anyhow::Result<Sample> {
        let before = self.now()?;
        std::thread::sleep(time);
        let after = self.now()?;
        self.carry();
        ensure!(after.frames > before.frames, "no packet was taken in {} s", time.as_secs_f64());
        Ok(Sample {
            frames: after.frames - before.frames,
            wall: after.at.saturating_since(before.at),
            cpu: after.cpu.saturating_sub(before.cpu),
            ticks: after.ticks - before.ticks,
            allocations: after.allocations - before.allocations,
        })
    }

    /// The time from one batch to the next that 99 of 100 stay below, while frames are replayed and `meanwhile` is done.
    pub fn batch_p99(
        &mut self,
        meanwhile: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let (from, ticks) = (self.clock.now(), netio::clock::ticks());
        self.control.start_timing();
        let done = meanwhile(self);
        let mut times = self.control.stop_timing();
        done?;
        let (time, ticks) = (self.clock.now().saturating_since(from), netio::clock::ticks() - ticks);
        ensure!(times.len() >= 1000, "{} batches are too few to tell", times.len());
        times.sort_unstable();
        Ok(time.mul_f64(times[times.len() * 99 / 100] as f64 / ticks.max(1) as f64))
    }

    fn now(&self) -> anyhow::Result<Moment> {
        let counters = self.dataplane.port_counters(self.engine);
        Ok(Moment {
            at: self.clock.now(),
            frames: counters.iter().map(|(_, c)| c.rx_frames).sum(),
            cpu: worker_cpu()?,
            ticks: netio::clock::ticks(),
            allocations: netio::alloc::ALLOCATIONS.load(Ordering::Relaxed),
        })
    }

    /// What the router has counted, once the worker has told it.
    pub fn counters(&mut self) -> anyhow::Result<Counters> {
        // A worker tells its counters once a second.
        std::thread::sleep(Duration::from_millis(1200));
        self.settle()?;
        Ok(self.router.counters())
    }

    /// Firewall rules that have decided about a packet.
    pub fn rules_that_decided(&self) -> usize {
        self.router.firewall().iter().filter(|rule| rule.rule.is_some() && rule.n_packets > 0).count()
    }

    /// Connections that there are.
    pub fn n_connections(&self) -> usize {
        self.router.connections(self.clock.now()).len()
    }
}

/// Memory of this process that is in use, in bytes (proc(5), statm). What the allocator only keeps does not count.
pub fn resident() -> anyhow::Result<u64> {
    netio::alloc::give_back();
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.context("statm has seven numbers")? * 4096)
}
