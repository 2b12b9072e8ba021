//! `weft bench packet-ins`: an emulated switch that asks a controller what to do with frames it has no flow for, and counts
//! what comes back. Any controller of OpenFlow 1.3 will do; a sink that answers at once shows what the switch itself can do.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

mod emulated;
mod sink;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;

use emulated::{Emulated, Expect};

/// Ports whose hosts speak. Behind one more is the host that they speak to.
pub(super) const N_PORTS: u32 = 64;
/// Hosts that speak in turn: each time from another port, so that the controller has something to do each time.
const N_HOSTS: u32 = 8192;
/// What a controller may take to begin.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Arguments of `weft bench packet-ins`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The controller.
    #[arg(long, value_name = "ADDRESS:PORT", required_unless_present = "sink")]
    controller: Option<SocketAddr>,
    /// Ask a thread of this process that answers at once with a flow mod and a packet-out.
    #[arg(long, conflicts_with = "controller")]
    sink: bool,
    /// What answers a packet-in: a learning switch, and `weft controller --reactive`, send a flow mod and a packet-out; a
    /// controller whose switches forward while it learns sends flow mods alone.
    #[arg(long, value_enum, default_value_t = Expect::Both)]
    expect: Expect,
    /// Packet-ins that may be unanswered; a rate instead when `--rate` is given.
    #[arg(long, default_value_t = 256)]
    window: usize,
    /// Packet-ins a second, whether they are answered or not.
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds to measure.
    #[arg(long, default_value_t = 3.0, value_parser = super::seconds)]
    seconds: f64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Packet-ins answered a second.
    pub answered: f64,
    /// Sent in all, and of these never answered.
    pub sent: usize,
    /// Not answered within a second behind the end.
    pub lost: usize,
    /// Flow mods and packet-outs that came.
    pub messages: [u64; 2],
    /// From packet-in to answer, in milliseconds: median, 99th percentile, worst.
    pub latency: [f64; 3],
}

/// Measures and prints.
///
/// # Errors
/// A controller that cannot be reached, does not begin or ends the connection.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (place, _sink) = match args.controller {
        Some(place) => (place, None),
        None => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            (listener.local_addr()?, Some(std::thread::spawn(move || sink::serve(&listener))))
        }
    };
    let outcome = measure(place, args)?;
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        let Outcome { answered, sent, lost, messages: [mods, outs], latency: [median, p99, worst] } = outcome;
        println!(
            "{answered:.0} packet-ins a second answered, {lost} of {sent} not; {mods} flow mods, {outs} packet-outs"
        );
        println!("median {median:.3} ms, 99 % under {p99:.3} ms, worst {worst:.3} ms");
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(place: SocketAddr, args: &Args) -> anyhow::Result<Outcome> {
    let stream = TcpStream::connect(place).with_context(|| format!("cannot connect to {place}"))?;
    let mut switch = Emulated::new(stream, args.expect)?;
    switch.shake_hands(Instant::now() + HANDSHAKE)?;
    // The host that is spoken to is known before.
    switch.announce()?;
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(args.seconds);
    let mut latencies = Vec::new();
    let mut nth = 0;
    while Instant::now() < end {
        let due = match args.rate {
            Some(rate) => (began.elapsed().as_secs_f64() * rate) as usize,
            None => nth + args.window.saturating_sub(switch.n_waiting()),
        };
        while nth < due && switch.has_room() {
            let host = u32::try_from(nth)? % N_HOSTS;
            // Another port in each round.
            let port = 1 + (host + u32::try_from(nth)? / N_HOSTS) % N_PORTS;
            if !switch.ask(host, port, Instant::now()) {
                // Its last frame is not answered yet: what would come could not be told apart.
                break;
            }
            nth += 1;
        }
        switch.turn(&mut latencies)?;
    }
    let answered = latencies.len() as f64 / began.elapsed().as_secs_f64();
    let patience = Instant::now() + Duration::from_secs(1);
    while switch.n_waiting() > 0 && Instant::now() < patience {
        switch.turn(&mut latencies)?;
    }
    ensure!(!latencies.is_empty(), "not one packet-in was answered");
    latencies.sort_unstable();
    let at = |part: f64| {
        let idx = ((latencies.len() as f64 * part) as usize).min(latencies.len() - 1);
        latencies[idx].as_secs_f64() * 1e3
    };
    let latency = [at(0.5), at(0.99), at(1.0)];
    Ok(Outcome { answered, sent: nth, lost: switch.n_waiting(), messages: switch.messages(), latency })
}
