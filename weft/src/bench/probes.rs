//! Senders and receivers inside the hosts.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::hosts::Host;

/// Time for connections to open and windows to grow, not counted.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long anything may hang before the bench fails.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a sender hands to the kernel at once.
const WRITE_SIZE: usize = 128 << 10;
const READ_SIZE: usize = 256 << 10;
/// Payload of a small datagram: an Ethernet frame of 60 bytes.
const SMALL: usize = 18;

/// Bits per second that arrive over `n_streams` TCP connections.
pub fn tcp(from: &Host, to: &Host, n_streams: usize, time: Duration) -> anyhow::Result<f64> {
    let listener = to.run(|| Ok(TcpListener::bind((to.address, 0))?))?;
    let target = listener.local_addr()?;
    let (stop, received) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let senders: Vec<_> =
            (0..n_streams).map(|_| scope.spawn(|| from.run(|| send_stream(target, &stop)))).collect();
        let receivers: Vec<_> =
            (0..n_streams).map(|_| scope.spawn(|| receive_stream(&listener, &received))).collect();
        let rate = rate_of(&received, time);
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.join().expect("senders do not panic")?;
        }
        for receiver in receivers {
            receiver.join().expect("receivers do not panic")?;
        }
        Ok(rate * 8.0)
    })
}

/// The growth of a counter per second, after the warm-up.
fn rate_of(counter: &AtomicU64, time: Duration) -> f64 {
    std::thread::sleep(WARM_UP);
    let (start, before) = (Instant::now(), counter.load(Ordering::Relaxed));
    std::thread::sleep(time);
    let grown = counter.load(Ordering::Relaxed) - before;
    grown as f64 / start.elapsed().as_secs_f64()
}

fn send_stream(target: SocketAddr, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut stream =
        TcpStream::connect_timeout(&target, PATIENCE).context("no connection through the switch")?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let buffer = vec![0x77; WRITE_SIZE];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&buffer)?;
    }
    Ok(())
}

fn receive_stream(listener: &TcpListener, received: &AtomicU64) -> anyhow::Result<()> {
    let (mut stream, _) = accept(listener)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; READ_SIZE];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => received.fetch_add(n as u64, Ordering::Relaxed),
        };
    }
}

/// Accepts, but does not wait for ever.
fn accept(listener: &TcpListener) -> anyhow::Result<(TcpStream, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let start = Instant::now();
    loop {
        match listener.accept() {
            Err(e) if e.kind() == ErrorKind::WouldBlock && start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(e) => return Err(e).context("no connection arrived"),
            Ok((stream, from)) => {
                stream.set_nonblocking(false)?;
                return Ok((stream, from));
            }
        }
    }
}

/// Small datagrams that arrive per second while one sender sends as many as it can.
pub fn small_udp(from: &Host, to: &Host, time: Duration) -> anyhow::Result<f64> {
    let socket = to.run(|| Ok(UdpSocket::bind((to.address, 0))?))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let target = socket.local_addr()?;
    let (stop, received) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            from.run(|| {
                let socket = UdpSocket::bind((from.address, 0))?;
                socket.connect(target)?;
                while !stop.load(Ordering::Relaxed) {
                    // A full queue on the way is what this measures.
                    let _ = socket.send(&[0; SMALL]);
                }
                Ok(())
            })
        });
        let receiver = scope.spawn(|| {
            let mut buffer = [0; 64];
            while !stop.load(Ordering::Relaxed) {
                if socket.recv(&mut buffer).is_ok() {
                    received.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let rate = rate_of(&received, time);
        stop.store(true, Ordering::Relaxed);
        sender.join().expect("the sender does not panic")?;
        receiver.join().expect("the receiver does not panic");
        Ok(rate)
    })
}

/// Half of all round trips were faster than the first, 99 % than the second.
pub fn round_trips(from: &Host, to: &Host, time: Duration) -> anyhow::Result<(Duration, Duration)> {
    let listener = to.run(|| Ok(TcpListener::bind((to.address, 0))?))?;
    let target = listener.local_addr()?;
    let mut times = std::thread::scope(|scope| {
        let echo = scope.spawn(|| -> anyhow::Result<()> {
            let (mut stream, _) = accept(&listener)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut byte = [0];
            while stream.read(&mut byte)? == 1 {
                stream.write_all(&byte)?;
            }
            Ok(())
        });
        let times = from.run(|| ping(target, time));
        echo.join().expect("the echo does not panic")?;
        times
    })?;
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() as f64) * share) as usize).copied().unwrap_or_default();
    Ok((at(0.5), at(0.99)))
}

fn ping(target: SocketAddr, time: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut stream =
        TcpStream::connect_timeout(&target, PATIENCE).context("no connection through the switch")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (start, mut times, mut byte) = (Instant::now(), Vec::new(), [0]);
    while start.elapsed() < WARM_UP + time {
        let sent = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        if start.elapsed() > WARM_UP {
            times.push(sent.elapsed());
        }
    }
    Ok(times)
}
