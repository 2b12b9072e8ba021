//! A TCP connection between two namespaces: bytes both ways, the source the server sees, or none where none may be.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use topology::Expect;

use super::{Found, Lab, PATIENCE, joined, marker, text};
use crate::lab::clock::{Deadline, now};

/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long a connection that must not be made is waited for.
const BLOCKED: Duration = Duration::from_millis(1500);

/// What must be seen.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Source address at the server.
    pub source: Option<IpAddr>,
    /// Whether a connection is made.
    pub expect: Expect,
}

/// Connects from `from` to `to`; the server runs on `server`.
pub fn run(lab: &Lab<'_>, from: &str, to: SocketAddr, server: (&str, u16), wanted: &Wanted) -> Found {
    let client_ns = lab.namespace(from)?;
    let server_ns = lab.namespace(server.0)?;
    let listener = server_ns.run(|| listen(server.1, to.is_ipv4())).map_err(text)??;
    let token = marker();
    let (done, finished) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| serve(&listener, &token, finished));
        let client = client_ns.run(|| match wanted.expect {
            Expect::Connected => connect(to, &token),
            Expect::Blocked => must_fail(to),
        });
        // Wakes a server that nobody connected to.
        drop(done);
        let served = joined(served);
        let client = client.map_err(text)?;
        match wanted.expect {
            Expect::Connected => {
                let detail = client?;
                let source = served?.ok_or("the server saw no connection")?;
                judge_source(wanted.source, source, &detail)
            }
            Expect::Blocked => {
                let detail = client?;
                match served? {
                    None => Ok(detail),
                    Some(source) => Err(format!("a connection from {source} reached the server")),
                }
            }
        }
    })
}

fn judge_source(wanted: Option<IpAddr>, seen: IpAddr, detail: &str) -> Found {
    match wanted {
        Some(wanted) if wanted != seen => Err(format!("the server sees {seen} as source, not {wanted}")),
        Some(_) => Ok(format!("{detail}, the server sees {seen}")),
        None => Ok(format!("{detail}, from {seen}")),
    }
}

/// Listens in the namespace of the calling thread.
pub fn listen(port: u16, ipv4: bool) -> Result<TcpListener, String> {
    let any: IpAddr = if ipv4 { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let listener =
        TcpListener::bind((any, port)).map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    listener.set_nonblocking(true).map_err(text)?;
    Ok(listener)
}

/// Waits until `listener` has a connection, or until `stop` says there will be none.
pub fn accept(
    listener: &TcpListener,
    stop: impl Fn() -> bool,
) -> Result<Option<(TcpStream, SocketAddr)>, String> {
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(false).map_err(text)?;
                return Ok(Some((stream, peer)));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(text(error)),
        }
        if stop() {
            return Ok(None);
        }
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(20u8)).map_err(text)?;
    }
}

/// Echoes the token of one connection; the source of it.
fn serve(listener: &TcpListener, token: &[u8], stop: mpsc::Receiver<()>) -> Result<Option<IpAddr>, String> {
    let stopped = || matches!(stop.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    loop {
        let Some((mut stream, peer)) = accept(listener, stopped)? else { return Ok(None) };
        stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        let mut bytes = vec![0; token.len()];
        // An attempt the client gave up brings no token: wait for the next.
        if stream.read_exact(&mut bytes).is_ok() && bytes == token {
            stream.write_all(&bytes).map_err(text)?;
            return Ok(Some(peer.ip().to_canonical()));
        }
    }
}

fn connect(to: SocketAddr, token: &[u8]) -> Found {
    let deadline = Deadline::after(PATIENCE);
    let mut n_attempts = 0;
    loop {
        n_attempts += 1;
        let started = now();
        let error = match exchange(to, token) {
            Ok(()) => {
                let milliseconds = started.elapsed().as_secs_f64() * 1e3;
                let attempts =
                    if n_attempts > 1 { format!(" at attempt {n_attempts}") } else { String::new() };
                return Ok(format!("connected{attempts}, echo in {milliseconds:.1} ms"));
            }
            Err(error) => error,
        };
        if deadline.passed() {
            return Err(format!("no connection in {} s: {error}", PATIENCE.as_secs()));
        }
        // A refusal comes at once; the next attempt waits a little.
        std::thread::sleep(ATTEMPT.saturating_sub(started.elapsed()).min(Duration::from_millis(100)));
    }
}

fn exchange(to: SocketAddr, token: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, ATTEMPT)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(token)?;
    let mut echo = vec![0; token.len()];
    stream.read_exact(&mut echo)?;
    if echo == token { Ok(()) } else { Err(std::io::Error::other("the echo differs from what was sent")) }
}

fn must_fail(to: SocketAddr) -> Found {
    match TcpStream::connect_timeout(&to, BLOCKED) {
        Ok(_) => Err("it connects".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok("refused".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            Ok(format!("no answer in {} ms", BLOCKED.as_millis()))
        }
        Err(error) => Ok(format!("fails: {error}")),
    }
}
