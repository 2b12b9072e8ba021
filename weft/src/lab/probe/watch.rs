//! Frames seen in a namespace, with the kernel's time of each.

use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use netio::netns::Namespace;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::time::{ClockId, clock_gettime};

use super::text;
use crate::lab::clock::Deadline;

/// Outgoing frames as packet sockets tell them (packet(7), `sll_pkttype`).
const OUTGOING: u8 = 4;

/// How long the kernel may take to begin to stamp frames.
const STAMPED: Duration = Duration::from_secs(2);
/// Between a frame and its reading, to tell a stamp in passing from one at reading.
const LATER: Duration = Duration::from_millis(4);

/// A packet socket that sees all interfaces of a namespace.
pub struct Watch {
    fd: OwnedFd,
}

/// A frame that was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Index of the interface in its namespace.
    pub interface: usize,
    /// Sent by the namespace itself.
    pub outgoing: bool,
    /// When, ns since 1970.
    pub at: u128,
    /// Its first bytes.
    pub bytes: Vec<u8>,
}

impl Seen {
    /// Source address of the Ethernet header.
    pub fn source(&self) -> Option<[u8; 6]> {
        self.bytes.get(6..12)?.try_into().ok()
    }

    /// Whether the bytes hold `marker`.
    pub fn holds(&self, marker: &[u8]) -> bool {
        self.bytes.windows(marker.len()).any(|window| window == marker)
    }
}

impl Watch {
    /// Begins to watch.
    pub fn open(namespace: &Namespace) -> Result<Self, String> {
        let fd = namespace
            .run(|| {
                let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
                setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
                Ok::<_, Errno>(fd)
            })
            .map_err(text)?
            .map_err(|error| format!("cannot watch frames: {error}"))?;
        Ok(Self { fd })
    }

    /// The same, and waits until the kernel stamps frames as they pass: it begins to do so a moment after the first
    /// socket asks for it, and until then gives the time of reading instead.
    pub fn open_stamped(namespace: &Namespace) -> Result<Self, String> {
        let watch = Self::open(namespace)?;
        let deadline = Deadline::after(STAMPED);
        loop {
            // To itself over loopback; nobody has to listen.
            let knock = || UdpSocket::bind("127.0.0.1:0")?.send_to(b"knock", "127.0.0.1:9").map(drop);
            namespace.run(knock).map_err(text)?.map_err(text)?;
            std::thread::sleep(LATER);
            let read = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).map_err(text)?).as_nanos();
            let stamped = |seen: &Seen| read.saturating_sub(seen.at) > LATER.as_nanos() / 2;
            let frames = watch.drain()?;
            if !frames.is_empty() && frames.iter().all(stamped) {
                return Ok(watch);
            }
            if deadline.passed() {
                return Err("the kernel does not stamp frames".to_owned());
            }
        }
    }

    /// The frames since the last call.
    pub fn drain(&self) -> Result<Vec<Seen>, String> {
        let mut list = Vec::new();
        loop {
            let mut buffer = [0u8; 2048];
            let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
            let (interface, outgoing, at, length) = {
                let mut slices = [IoSliceMut::new(&mut buffer)];
                let raw = self.fd.as_raw_fd();
                match recvmsg::<LinkAddr>(raw, &mut slices, Some(&mut control), MsgFlags::empty()) {
                    Ok(message) => {
                        let at = message.cmsgs().map_err(text)?.find_map(|control| match control {
                            ControlMessageOwned::ScmTimestampns(time) => {
                                Some(Duration::from(time).as_nanos())
                            }
                            _ => None,
                        });
                        let (interface, kind) =
                            message.address.map_or((0, 0), |address| (address.ifindex(), address.pkttype()));
                        (interface, kind == OUTGOING, at.unwrap_or(0), message.bytes)
                    }
                    Err(Errno::EAGAIN) => return Ok(list),
                    Err(Errno::EINTR | Errno::ENETDOWN) => continue,
                    Err(error) => return Err(format!("cannot watch frames: {error}")),
                }
            };
            list.push(Seen { interface, outgoing, at, bytes: buffer[..length.min(2048)].to_vec() });
        }
    }

    /// Waits for a frame.
    pub fn wait(&self, time: Duration) -> Result<(), String> {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, time) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(text(error)),
        }
    }
}
