//! Senders and receivers of a run, one process each inside a namespace: the same for every path.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt};

/// Datagrams handed over at once.
const BATCH: usize = 64;
/// Payload of a small datagram: an Ethernet frame of 60 bytes.
const SMALL: usize = 18;
const SOCKET_BUFFER: usize = 8 << 20;

/// What a process of the run does.
#[derive(Debug, clap::Subcommand)]
pub enum Probe {
    /// Sends small datagrams as fast as it can.
    UdpSend {
        /// Where to.
        to: Ipv4Addr,
        /// The receiver's port.
        port: u16,
        /// For so many seconds.
        seconds: f64,
    },
    /// Prints how many datagrams a second arrive.
    UdpReceive {
        /// Where it listens.
        port: u16,
        /// For so many seconds.
        seconds: f64,
    },
    /// Sends every datagram back.
    Echo {
        /// Where it listens.
        port: u16,
    },
    /// Prints median and 99th percentile of round trips in microseconds, and how many got lost.
    RoundTrips {
        /// Where the echo is.
        to: Ipv4Addr,
        /// The echo's port.
        port: u16,
        /// How many.
        n: usize,
    },
}

/// Does it.
///
/// # Errors
/// When a socket cannot be made, or no answer comes at all.
pub fn run(probe: &Probe) -> Result<()> {
    match *probe {
        Probe::UdpSend { to, port, seconds } => send(to, port, Duration::from_secs_f64(seconds)),
        Probe::UdpReceive { port, seconds } => {
            println!("{:.0}", receive(port, Duration::from_secs_f64(seconds))?);
            Ok(())
        }
        Probe::Echo { port } => echo(port),
        Probe::RoundTrips { to, port, n } => {
            let times = round_trips(to, port, n)?;
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
            println!("{:.2} {:.2} {}", at(0.5), at(0.99), n - times.len());
            Ok(())
        }
    }
}

fn socket(port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).context("cannot make a socket")?;
    setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER).context("cannot enlarge a buffer")?;
    setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER).context("cannot enlarge a buffer")?;
    Ok(socket)
}

fn send(to: Ipv4Addr, port: u16, time: Duration) -> Result<()> {
    let socket = socket(0)?;
    socket.connect((to, port)).context("no route")?;
    let (payload, start) = ([0; SMALL], Instant::now());
    let slices = [[IoSlice::new(&payload)]; BATCH];
    let nowhere: [Option<SockaddrIn>; BATCH] = [None; BATCH];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    while start.elapsed() < time {
        // A full queue on the way is what this measures.
        let _ = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, nowhere, [], MsgFlags::empty());
    }
    Ok(())
}

/// Datagrams a second between the first and the last that came.
fn receive(port: u16, time: Duration) -> Result<f64> {
    let socket = socket(port)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let (start, mut first, mut last, mut n) = (Instant::now(), None, None, 0usize);
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut buffers = [[0; 256]; BATCH];
    while start.elapsed() < time {
        let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let flags = MsgFlags::MSG_WAITFORONE;
        let got = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None);
        if let Ok(got) = got {
            n += got.count();
            last = Some(Instant::now());
            first = first.or(last);
        }
    }
    let spread = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    Ok(if spread > 0.0 { n as f64 / spread } else { 0.0 })
}

fn echo(port: u16) -> Result<()> {
    let (socket, mut buffer) = (socket(port)?, [0; 64]);
    loop {
        let (n, from) = socket.recv_from(&mut buffer)?;
        // What cannot go back is a loss that the other side counts.
        let _ = socket.send_to(&buffer[..n], from);
    }
}

/// Times of those that came back, in rising order.
fn round_trips(to: Ipv4Addr, port: u16, n: usize) -> Result<Vec<Duration>> {
    let (socket, mut buffer) = (socket(0)?, [0; 64]);
    socket.connect((to, port)).context("no route")?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut times = Vec::with_capacity(n);
    for number in 0..n as u64 {
        let sent = Instant::now();
        if socket.send(&number.to_be_bytes()).is_err() {
            continue;
        }
        // An answer that comes too late is not taken for the next one's.
        while let Ok(got) = socket.recv(&mut buffer) {
            if buffer[..got] == number.to_be_bytes() {
                times.push(sent.elapsed());
                break;
            }
        }
        ensure!(number < 4 || !times.is_empty(), "no answer from {to}");
    }
    ensure!(!times.is_empty(), "no answer from {to}");
    times.sort_unstable();
    Ok(times)
}
