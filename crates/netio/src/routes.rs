//! What a kernel says of its routes, byte for byte: a netlink socket for whoever reads the messages himself.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use tokio::io::unix::AsyncFd;

use crate::netns::{Namespace, NetnsError};

/// Groups by their number in linux/rtnetlink.h: links, IPv4 addresses, IPv4 and IPv6 routes, next hops.
const GROUPS: [u32; 5] = [1, 5, 7, 11, 32];
/// What the kernel keeps for a reader that is slow, before it loses messages.
const RECEIVE_BUFFER: usize = 8 << 20;
/// No message is longer: the kernel cuts dumps to the reader's buffer, and to half of this.
const MAX_MESSAGE: usize = 64 << 10;
/// As much is read at a time, if it is there.
const MAX_READ: usize = 256 << 10;

/// A netlink socket of one namespace that hears of links, addresses, routes and next hops.
#[derive(Debug)]
pub struct RouteSocket(AsyncFd<OwnedFd>);

impl RouteSocket {
    /// Opens one in `namespace`. Within a tokio runtime; blocks for the time a thread takes to start.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or no socket can be had.
    pub fn open(namespace: &Namespace) -> Result<Self, NetnsError> {
        // SAFETY: an OwnedFd stays open, and the same, until it is dropped with the AsyncFd.
        let register = |fd| unsafe { AsyncFd::register(fd) }.map_err(io::Error::from);
        let socket = namespace.run(new_socket)?.and_then(register);
        socket.map(Self).map_err(|source| NetnsError::Io {
            what: "open a netlink socket in",
            name: namespace.label().to_owned(),
            source,
        })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub async fn send(&self, request: &[u8]) -> io::Result<()> {
        loop {
            let mut ready = self.0.writable().await?;
            let sent = ready.try_io(|fd| Ok(send(fd.as_raw_fd(), request, MsgFlags::empty())?));
            if let Ok(sent) = sent {
                return sent.map(drop);
            }
        }
    }

    /// Waits for messages and returns those that are there, one after the other.
    ///
    /// # Errors
    /// `ENOBUFS`: messages were lost, and what they said must be asked for anew.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            let mut ready = self.0.readable().await?;
            while all.len() < MAX_READ {
                match ready.try_io(|fd| Ok(recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?)) {
                    Ok(n) => all.extend_from_slice(&buffer[..n?]),
                    Err(_would_block) => break,
                }
            }
            if !all.is_empty() {
                return Ok(all);
            }
        }
    }
}

/// Of the namespace of the calling thread.
fn new_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    // Beyond the system's limit only with privilege.
    if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    let groups = GROUPS.iter().fold(0, |groups, group| groups | 1 << (group - 1));
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}
