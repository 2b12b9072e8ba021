//! Frames seen in a namespace, with the kernel's time of each.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use netio::netns::Namespace;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket, sockopt,
};

use super::text;

/// Outgoing frames as packet sockets tell them (packet(7), `sll_pkttype`).
const OUTGOING: u8 = 4;

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
