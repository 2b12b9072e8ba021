//! ICMP echo from inside a namespace, and from a guest by its own `ping`.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recvfrom, sendto, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeVal;
use topology::Target;

use super::{Found, Lab, PATIENCE, marker, text};
use crate::lab::clock::{Deadline, now};
use crate::lab::vm::Agent;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(1);

/// Asks until `count` requests in a row were answered. Before the first answer, requests may be lost: addresses are
/// resolved then and flows installed.
pub fn run(lab: &Lab<'_>, from: &str, to: IpAddr, count: u16) -> Found {
    lab.namespace(from)?.run(|| ask(to, count)).map_err(text)?
}

/// Whether one request is answered in time; used where none should be.
pub fn answered_once(lab: &Lab<'_>, from: &str, to: IpAddr, wait: Duration) -> Result<bool, String> {
    lab.namespace(from)?
        .run(|| {
            let pinger = Pinger::open(to)?;
            match pinger.send(1) {
                // No route is as good as no answer.
                Err(Errno::ENETUNREACH | Errno::EHOSTUNREACH) => return Ok(false),
                other => other.map_err(text)?,
            }
            Ok(pinger.receive(1, Deadline::after(wait)).map_err(text)?.is_some())
        })
        .map_err(text)?
}

fn ask(to: IpAddr, count: u16) -> Found {
    let pinger = Pinger::open(to)?;
    let deadline = Deadline::after(PATIENCE);
    let mut sequence = 0;
    let mut n_lost = 0;
    let mut rtts = Vec::new();
    while rtts.len() < count.into() {
        sequence += 1;
        let sent = now();
        let reply = match pinger.send(sequence) {
            Ok(()) => pinger.receive(sequence, deadline.at_most(ANSWER)).map_err(text)?,
            Err(Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::ENOBUFS) => None,
            Err(error) => return Err(format!("cannot send: {error}")),
        };
        match reply {
            Some(()) => rtts.push(sent.elapsed()),
            None if !rtts.is_empty() => {
                return Err(format!("{} of {count} answered, then none", rtts.len()));
            }
            None => n_lost += 1,
        }
        if rtts.is_empty() && deadline.passed() {
            return Err(format!("no answer to {n_lost} requests in {} s", PATIENCE.as_secs()));
        }
    }
    rtts.sort();
    let median = rtts[rtts.len() / 2].as_secs_f64() * 1e3;
    let lost = if n_lost == 0 { String::new() } else { format!(", {n_lost} lost before the first") };
    Ok(format!("{count} of {count} answered, {median:.2} ms{lost}"))
}

/// A raw ICMP socket.
struct Pinger {
    fd: OwnedFd,
    to: SockaddrStorage,
    address: IpAddr,
    id: u16,
    marker: [u8; 16],
}

impl Pinger {
    fn open(address: IpAddr) -> Result<Self, String> {
        let (family, protocol) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(|error| format!("cannot open a raw socket: {error}"))?;
        let to = SockaddrStorage::from(SocketAddr::new(address, 0));
        Ok(Self { fd, to, address, id: rand::random(), marker: marker() })
    }

    fn send(&self, sequence: u16) -> Result<(), Errno> {
        let kind = if self.address.is_ipv4() { 8 } else { 128 };
        let mut message = vec![kind, 0, 0, 0];
        message.extend_from_slice(&self.id.to_be_bytes());
        message.extend_from_slice(&sequence.to_be_bytes());
        message.extend_from_slice(&self.marker);
        if self.address.is_ipv4() {
            // RFC 792; the kernel completes that of ICMPv6 itself.
            let sum = packet::checksum::checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        sendto(self.fd.as_raw_fd(), &message, &self.to, MsgFlags::empty()).map(drop)
    }

    /// Waits for the answer to `sequence`.
    fn receive(&self, sequence: u16, deadline: Deadline) -> Result<Option<()>, Errno> {
        let mut buffer = [0u8; 2048];
        loop {
            let left = deadline.left();
            if left.is_zero() {
                return Ok(None);
            }
            let wait = TimeVal::new(left.as_secs() as i64, i64::from(left.subsec_micros().max(1)));
            setsockopt(&self.fd, sockopt::ReceiveTimeout, &wait)?;
            match recvfrom::<SockaddrStorage>(self.fd.as_raw_fd(), &mut buffer) {
                Ok((length, _)) if self.is_answer(&buffer[..length], sequence) => return Ok(Some(())),
                Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Raw IPv4 sockets deliver the IP header, raw ICMPv6 sockets do not (RFC 3542 §3).
    fn is_answer(&self, bytes: &[u8], sequence: u16) -> bool {
        let (icmp, kind) = if self.address.is_ipv4() {
            let header = bytes.first().map_or(0, |first| usize::from(first & 15) * 4);
            (bytes.get(header..).unwrap_or_default(), 0)
        } else {
            (bytes, 129)
        };
        icmp.len() >= 24
            && icmp[0] == kind
            && icmp[4..6] == self.id.to_be_bytes()
            && icmp[6..8] == sequence.to_be_bytes()
            && icmp[8..24] == self.marker
    }
}

/// The guest's own ping, retried until it is answered.
pub fn from_vm(lab: &Lab<'_>, from: &str, to: &Target, count: u16) -> Found {
    let deadline = Deadline::after(2 * PATIENCE);
    let word = if to.address.is_ipv4() { "ping" } else { "ping6" };
    let first = format!("{word} -c 1 -W 1 {}", to.address);
    let rest = format!("{word} -c {count} -i 0.2 -W 2 {}", to.address);
    let mut agent = Agent::connect(lab.dir, from, deadline).map_err(|error| format!("{error:#}"))?;
    loop {
        let answer = agent.run(&first, deadline.at_most(Duration::from_secs(10)));
        match answer {
            Ok((0, _)) => break,
            Ok((_, output)) if deadline.passed() => {
                return Err(format!("no answer: {}", output.lines().last().unwrap_or_default()));
            }
            Ok(_) => {}
            Err(error) => return Err(format!("{error:#}")),
        }
    }
    let wait = Duration::from_secs(u64::from(count) * 2 + 10);
    match agent.run(&rest, Deadline::after(wait)) {
        Ok((0, output)) => {
            let rtt = output.lines().rev().find_map(|line| line.split(" = ").nth(1)).unwrap_or_default();
            let average = rtt.split('/').nth(1).map(|ms| format!(", {ms} ms")).unwrap_or_default();
            if output.contains(" 0% packet loss") {
                Ok(format!("{count} of {count} answered{average}"))
            } else {
                Err(output.lines().find(|line| line.contains("loss")).unwrap_or(&output).to_owned())
            }
        }
        Ok((status, output)) => {
            Err(format!("ping ended with {status}: {}", output.lines().last().unwrap_or_default()))
        }
        Err(error) => Err(format!("{error:#}")),
    }
}
