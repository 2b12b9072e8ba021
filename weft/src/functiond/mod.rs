//! A chain function between two interfaces: a wire, a stateless firewall or an inspector.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use netio::{OpenOptions, Port, PortSpec, netns::Namespace};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};
use packet::{Batch, Frame, Instant, MAX_BATCH, Outputs, Pool, PoolConfig, PortNo};

use engine::{Function, PORT_IN, PORT_OUT, Policy};
use report::Report;
use rules::{Action, Rule};

mod engine;
mod flows;
mod report;
mod rules;

const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `weft function`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the function does.
    #[arg(value_enum)]
    kind: Kind,
    /// Interface on the side of the chain's beginning.
    #[arg(long = "in", value_name = "IF", default_value = "in")]
    inside: String,
    /// Interface on the side of the chain's end.
    #[arg(long = "out", value_name = "IF", default_value = "out")]
    outside: String,
    /// Namespace of the interfaces (a name, a path or pid:N) instead of the present one.
    #[arg(long, value_name = "NS")]
    netns: Option<String>,
    /// A rule of the firewall, such as "deny in tcp dst 10.0.0.0/8 dst-port 20-23"; the first that matches decides.
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<Rule>,
    /// What the firewall does when no rule matches; ARP and neighbour discovery always pass.
    #[arg(long, value_enum, default_value_t = Default::Allow)]
    default: Default,
    /// Keep a JSON report of what was seen in this file, at most a second old.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// A wire.
    Forward,
    /// Stateless, by ordered rules.
    Firewall,
    /// A wire that counts flows.
    Inspect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Default {
    Allow,
    Deny,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Firewall => "firewall",
            Self::Inspect => "inspect",
        }
    }
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// Rules given to what is no firewall, an interface that cannot be opened, or one that vanishes.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let policy = policy(&args)?;
    if let Some(path) = &args.netns {
        let namespace = Namespace::open(path)?;
        namespace.enter_thread().with_context(|| format!("cannot enter namespace \"{path}\""))?;
    }
    let signals = stop_signals()?;
    let ports = [open(&args.inside)?, open(&args.outside)?];
    let mut runner = Runner {
        ports,
        function: Function::new(policy),
        pool: Pool::new(PoolConfig::default()),
        batch: Batch::with_capacity(MAX_BATCH),
        out: Outputs::with_capacity(MAX_BATCH),
    };
    runner.report(&args)?;
    let mut reported = now()?;
    while runner.wait(&signals)? == Woken::Frames {
        runner.turn()?;
        if args.report.is_some() && now()? - reported >= REPORT_EVERY {
            reported = now()?;
            runner.report(&args)?;
        }
    }
    runner.report(&args)?;
    Ok(ExitCode::SUCCESS)
}

fn policy(args: &Args) -> anyhow::Result<Policy> {
    if args.kind != Kind::Firewall && !args.rules.is_empty() {
        anyhow::bail!("--rule is for the firewall; {} has no rules", args.kind.name());
    }
    let default = match args.default {
        Default::Allow => Action::Allow,
        Default::Deny => Action::Deny,
    };
    Ok(match args.kind {
        Kind::Forward => Policy::Forward,
        Kind::Inspect => Policy::Inspect,
        Kind::Firewall => Policy::Firewall { rules: args.rules.clone(), default },
    })
}

fn open(interface: &str) -> anyhow::Result<Box<dyn Port>> {
    let spec: PortSpec = format!("afpacket:{interface}").parse()?;
    let mut queues = netio::open(&spec, OpenOptions::default())?;
    queues.pop().with_context(|| format!("{spec} has no queue"))
}

fn stop_signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

fn now() -> anyhow::Result<Instant> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(Instant::ZERO + Duration::from(time))
}

#[derive(PartialEq, Eq)]
enum Woken {
    Frames,
    Signal,
}

struct Runner {
    /// `in`, then `out`.
    ports: [Box<dyn Port>; 2],
    function: Function,
    pool: Pool,
    batch: Batch,
    out: Outputs,
}

impl Runner {
    /// Sleeps until a port has frames, a signal arrives or a report is due.
    fn wait(&self, signals: &SignalFd) -> anyhow::Result<Woken> {
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        for port in &self.ports {
            let fd: BorrowedFd<'_> = port.poll_fd().context("an AF_PACKET port has a descriptor")?;
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        let timeout = PollTimeout::try_from(REPORT_EVERY)?;
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(if fds[0].any() == Some(true) { Woken::Signal } else { Woken::Frames })
    }

    /// One batch of each port.
    fn turn(&mut self) -> anyhow::Result<()> {
        for (idx, in_port) in [(0, PORT_IN), (1, PORT_OUT)] {
            self.receive(idx, in_port)?;
            self.function.process(now()?, &mut self.batch, &mut self.pool, &mut self.out);
            let mut frames: Vec<Frame> = self.out.drain(..).map(|(_, frame)| frame).collect();
            let other = &mut self.ports[1 - idx];
            other
                .transmit(&mut self.pool, &mut frames)
                .with_context(|| format!("port {}", other.info().spec))?;
        }
        Ok(())
    }

    fn receive(&mut self, idx: usize, in_port: PortNo) -> anyhow::Result<()> {
        let port = &mut self.ports[idx];
        port.receive(&mut self.pool, &mut self.batch, MAX_BATCH)
            .with_context(|| format!("port {}", port.info().spec))?;
        for frame in &mut self.batch {
            frame.meta.in_port = in_port;
        }
        Ok(())
    }

    fn report(&self, args: &Args) -> anyhow::Result<()> {
        let Some(path) = &args.report else { return Ok(()) };
        Report::of(args.kind.name(), &self.function)
            .write(path)
            .with_context(|| format!("cannot write the report to {}", path.display()))
    }
}
