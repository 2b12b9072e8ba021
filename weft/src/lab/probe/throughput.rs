//! TCP on one stream for a while, counted where it arrives.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use topology::Target;

use super::tcp::{accept, listen};
use super::{Found, Lab, PATIENCE, joined, rate, text};
use crate::lab::clock::{Deadline, now};

const CHUNK: usize = 256 << 10;

/// What must be reached.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Bits a second.
    pub at_least: u64,
    /// How long it is measured.
    pub time: Duration,
}

/// Sends from `from` to `to`.
pub fn run(lab: &Lab<'_>, from: &str, to: &Target, wanted: &Wanted) -> Found {
    let client_ns = lab.namespace(from)?;
    let server_ns = lab.namespace(to.node.as_deref().unwrap_or(&to.label))?;
    let listener = server_ns.run(|| listen(0, to.address.is_ipv4())).map_err(text)??;
    let port = listener.local_addr().map_err(text)?.port();
    let address = SocketAddr::new(to.address, port);
    let limit = Deadline::after(PATIENCE + wanted.time * 3);
    let measured = std::thread::scope(|scope| {
        let server = scope.spawn(|| match accept(&listener, || limit.passed())? {
            Some((stream, _)) => count(stream),
            None => Err("nobody connected".to_owned()),
        });
        let client = client_ns.run(|| send(address, wanted.time)).map_err(text)?;
        client?;
        joined(server)
    });
    let bits_per_second = measured?;
    if bits_per_second < wanted.at_least as f64 {
        return Err(format!("{}, less than {}", rate(bits_per_second), rate(wanted.at_least as f64)));
    }
    Ok(format!("{} on one stream", rate(bits_per_second)))
}

fn send(to: SocketAddr, time: Duration) -> Result<(), String> {
    let patience = Deadline::after(PATIENCE);
    let mut stream = loop {
        match TcpStream::connect_timeout(&to, Duration::from_secs(1)) {
            Ok(stream) => break stream,
            Err(error) if patience.passed() => return Err(format!("cannot connect: {error}")),
            Err(_) => {}
        }
    };
    stream.set_write_timeout(Some(PATIENCE)).map_err(text)?;
    let chunk = vec![0x5a; CHUNK];
    let deadline = Deadline::after(time);
    while !deadline.passed() {
        stream.write_all(&chunk).map_err(|error| format!("the stream broke: {error}"))?;
    }
    Ok(())
}

/// Bits a second from the first byte to the last.
fn count(mut stream: TcpStream) -> Result<f64, String> {
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    let mut buffer = vec![0; CHUNK];
    let mut n_bytes = stream.read(&mut buffer).map_err(text)? as u64;
    let started = now();
    let mut last = started;
    loop {
        match stream.read(&mut buffer).map_err(|error| format!("the stream broke: {error}"))? {
            0 => break,
            n => n_bytes += n as u64,
        }
        last = now();
    }
    let seconds = (last - started).as_secs_f64().max(1e-3);
    Ok(n_bytes as f64 * 8.0 / seconds)
}
