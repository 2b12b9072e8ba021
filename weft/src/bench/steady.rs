//! `weft bench steady`: a switch between two hosts in memory, one of which sends numbered frames to the other at a steady
//! rate while somebody else kills the controller or cuts the connection to it. Which numbers arrived is told at the end,
//! and what the switch dropped meanwhile, by reason.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use controller_api::Stats;
use netio::{OpenOptions, Port, PortSpec};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use openflow::Dpid;
use packet::{Batch, MacAddr, Pool, PortNo, build};
use serde::Serialize;

use crate::channel;
use crate::plane::Plane;
use crate::service::run_dir;
use crate::switchd::{SwitchSpec, Target, start};

/// Longest wait until frames get through.
const PATIENCE: Duration = Duration::from_secs(60);
/// Frames get through for so long before the first is numbered.
const SETTLE: Duration = Duration::from_secs(2);
/// Silence that is the end.
const SILENCE: Duration = Duration::from_secs(1);
/// Most frames at once when the sender was held up.
const CATCH_UP: u64 = 256;
/// The number of frames that do not count.
const TRIAL: u64 = u64::MAX;

/// Arguments of `weft bench steady`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The controller.
    #[arg(long, value_name = "TARGET", default_value = "tcp:127.0.0.1:6653")]
    controller: channel::Target,
    /// Name of the switch.
    #[arg(long, default_value = "s1")]
    name: String,
    /// Frames a second.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds to send.
    #[arg(long, default_value_t = 10.0, value_parser = super::seconds)]
    seconds: f64,
}

/// What became of the frames.
#[derive(Debug, Serialize)]
struct Outcome {
    sent: u64,
    arrived: u64,
    /// Numbers that never arrived.
    lost: u64,
    /// Arrivals of a number that had arrived.
    doubled: u64,
    /// Arrivals behind a higher number.
    overtaken: u64,
    /// Of the lost ones, those that found the queue into the switch full.
    refused: u64,
    /// What the switch dropped meanwhile, by place and reason, zeros left out.
    drops: BTreeMap<String, u64>,
}

/// Which numbers have arrived.
#[derive(Debug, Default)]
struct Arrivals {
    seen: Vec<bool>,
    highest: Option<u64>,
    doubled: u64,
    overtaken: u64,
}

impl Arrivals {
    fn note(&mut self, number: u64) {
        let idx = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(seen) = self.seen.get_mut(idx) else { return };
        self.doubled += u64::from(std::mem::replace(seen, true));
        self.overtaken += u64::from(self.highest.is_some_and(|highest| highest > number));
        self.highest = self.highest.max(Some(number));
    }

    fn n_seen(&self) -> u64 {
        self.seen.iter().filter(|seen| **seen).count() as u64
    }
}

fn mac(host: u8) -> MacAddr {
    MacAddr([0x02, 0x57, 0, 0, 0, host])
}

/// From host `from` to the other, with a number at its end.
fn frame(from: u8, number: u64) -> Vec<u8> {
    let to = 3 - from;
    let ip = |host| [10, 87, 0, host];
    build::ethernet(mac(from), mac(to)).ipv4(ip(from), ip(to)).udp(87, 87, &number.to_be_bytes())
}

/// The number of a frame of ours: Ethernet, IPv4, UDP to port 87.
fn number_of(bytes: &[u8]) -> Option<u64> {
    let is_ours = bytes.get(12..14)? == [8, 0] && bytes.get(36..38)? == [0, 87];
    let number = bytes.get(42..50).filter(|_| is_ours)?;
    number.try_into().ok().map(u64::from_be_bytes)
}

/// A host: the far end of a memory port.
struct Host {
    number: u8,
    port: Box<dyn Port>,
    pool: Pool,
}

impl Host {
    fn open(number: u8) -> anyhow::Result<Self> {
        let spec: PortSpec = format!("mem:steady{number}").parse()?;
        let mut queues = netio::open(&spec, OpenOptions::default())?;
        let port = queues.pop().context("a memory port has a queue")?;
        Ok(Self { number, port, pool: Pool::default() })
    }

    fn send(&mut self, numbers: impl Iterator<Item = u64>) -> anyhow::Result<()> {
        let from = self.number;
        let mut frames: Vec<_> = numbers.filter_map(|n| self.pool.frame_from(&frame(from, n))).collect();
        Ok(self.port.transmit(&mut self.pool, &mut frames)?)
    }

    /// Numbers that have come, or come soon.
    fn receive(&mut self, batch: &mut Batch, mut each: impl FnMut(u64)) -> anyhow::Result<()> {
        let fd = self.port.poll_fd().context("a memory port can be waited for")?;
        if poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(20u8))? == 0 {
            return Ok(());
        }
        self.port.receive(&mut self.pool, batch, packet::MAX_BATCH)?;
        for frame in batch.drain(..) {
            if let Some(number) = number_of(&frame.to_vec()) {
                each(number);
            }
            self.pool.free(frame);
        }
        Ok(())
    }

    fn refused(&mut self) -> u64 {
        self.port.counters().drops().map(|(_, n)| n).sum()
    }
}

/// Measures and prints.
///
/// # Errors
/// A switch that cannot be had, or a controller that lets nothing through.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let controllers = vec![Target::Net(args.controller.clone())];
        let spec =
            SwitchSpec { controllers, run_dir: Some(run_dir()?), ..SwitchSpec::new(&args.name, Dpid(1)) };
        let handle = start(spec, Plane::start(1)?).await?;
        let port =
            |n: u8| -> anyhow::Result<_> { Ok((Some(PortNo(n.into())), format!("mem:steady{n}").parse()?)) };
        handle.add_ports(vec![port(1)?, port(2)?]).await?;
        let ask = handle.stats_client();
        let hosts = [Host::open(1)?, Host::open(2)?];
        let (rate, seconds) = (args.rate, args.seconds);
        let stats = tokio::runtime::Handle::current();
        let drops =
            move || -> anyhow::Result<BTreeMap<String, u64>> { Ok(drops_of(&stats.block_on(ask())?)) };
        let outcome = tokio::task::spawn_blocking(move || measure(hosts, rate, seconds, &drops)).await?;
        handle.stop().await;
        outcome
    })?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(ExitCode::SUCCESS)
}

fn drops_of(stats: &Stats) -> BTreeMap<String, u64> {
    let name = |drop: &controller_api::DropCount| {
        let port = drop.port.as_ref().map(|port| format!("{port}/")).unwrap_or_default();
        (format!("{port}{}", drop.reason), drop.frames)
    };
    stats.drops.iter().map(name).collect()
}

fn measure(
    [mut sender, mut receiver]: [Host; 2],
    rate: u32,
    seconds: f64,
    drops: &dyn Fn() -> anyhow::Result<BTreeMap<String, u64>>,
) -> anyhow::Result<Outcome> {
    let n_frames = (f64::from(rate) * seconds) as u64;
    get_through(&mut sender, &mut receiver)?;
    let (before, refused) = (drops()?, sender.refused());
    println!("steady");
    std::io::stdout().flush()?;
    let is_over = Arc::new(AtomicBool::new(false));
    let done = is_over.clone();
    let receiving = std::thread::spawn(move || -> anyhow::Result<Arrivals> {
        let mut arrivals = Arrivals { seen: vec![false; usize::try_from(n_frames)?], ..Arrivals::default() };
        let (mut batch, mut heard) = (Batch::new(), Instant::now());
        // Until all is said, and some time behind it.
        while !done.load(Ordering::Acquire) || heard.elapsed() < SILENCE {
            receiver.receive(&mut batch, |number| {
                arrivals.note(number);
                heard = Instant::now();
            })?;
        }
        Ok(arrivals)
    });
    let sent = send_all(&mut sender, rate, n_frames);
    is_over.store(true, Ordering::Release);
    let arrivals = receiving.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))??;
    sent?;
    let mut after = drops()?;
    for (reason, n) in &mut after {
        *n -= before.get(reason).copied().unwrap_or(0).min(*n);
    }
    after.retain(|_, n| *n > 0);
    let arrived = arrivals.n_seen();
    Ok(Outcome {
        sent: n_frames,
        arrived,
        lost: n_frames - arrived,
        doubled: arrivals.doubled,
        overtaken: arrivals.overtaken,
        refused: sender.refused() - refused,
        drops: after,
    })
}

/// Both hosts speak until each hears the other, and a while longer: what there is to learn is learned then.
fn get_through(sender: &mut Host, receiver: &mut Host) -> anyhow::Result<()> {
    let (began, mut batch) = (Instant::now(), Batch::new());
    let mut since: Option<Instant> = None;
    while since.is_none_or(|since| since.elapsed() < SETTLE) {
        ensure!(began.elapsed() < PATIENCE, "the controller lets nothing through");
        let mut heard = [false; 2];
        for (idx, host) in [&mut *sender, &mut *receiver].into_iter().enumerate() {
            host.send(std::iter::once(TRIAL))?;
            host.receive(&mut batch, |_| heard[idx] = true)?;
        }
        since = if heard == [true; 2] { since.or(Some(Instant::now())) } else { since };
    }
    Ok(())
}

fn send_all(sender: &mut Host, rate: u32, n_frames: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut nth = 0;
    while nth < n_frames {
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        let next = due.min(nth + CATCH_UP).min(n_frames);
        if next > nth {
            sender.send(nth..next)?;
            nth = next;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written_and_told_apart() {
        assert_eq!(number_of(&frame(1, 7)), Some(7));
        assert_eq!(number_of(&frame(2, TRIAL)), Some(TRIAL));
        assert_eq!(number_of(&[0; 49]), None);
        let mut arrivals = Arrivals { seen: vec![false; 4], ..Arrivals::default() };
        [0, 2, 1, 2, 9, TRIAL].into_iter().for_each(|number| arrivals.note(number));
        assert_eq!((arrivals.n_seen(), arrivals.doubled, arrivals.overtaken), (3, 1, 1));
    }
}
