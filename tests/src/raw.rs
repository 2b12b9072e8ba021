//! Raw frames on an interface, as no well-behaved host would send them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto, socket,
};
use std::os::fd::AsFd;

/// An AF_PACKET socket that sends and receives whole Ethernet frames on one interface.
#[derive(Debug)]
pub struct RawSocket {
    fd: OwnedFd,
    address: LinkAddr,
}

impl RawSocket {
    /// Opens `interface` of the calling thread's network namespace.
    ///
    /// # Panics
    /// When there is no such interface, or without root.
    pub fn open(interface: &str) -> Self {
        let mut all = getifaddrs().expect("a namespace lists its addresses");
        let address = all.find_map(|entry| {
            let address = entry.address?;
            (entry.interface_name == interface).then(|| address.as_link_addr().copied())?
        });
        let address = address.unwrap_or_else(|| panic!("no interface {interface}"));
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::EthAll;
        let fd =
            socket(AddressFamily::Packet, SockType::Raw, flags, protocol).expect("root may open AF_PACKET");
        Self { fd, address }
    }

    /// Sends one frame, headers included, as it is: the kernel adds nothing but the frame check sequence.
    ///
    /// # Errors
    /// What the kernel refuses: a frame below 14 bytes or above the interface's MTU.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = sendto(self.fd.as_raw_fd(), frame, &self.address, MsgFlags::empty())?;
        assert_eq!(sent, frame.len(), "AF_PACKET sends a frame whole");
        Ok(())
    }

    /// The next frame that arrives on the interface within `deadline`; own frames are not seen.
    ///
    /// # Panics
    /// When the kernel refuses to read.
    pub fn receive(&self, deadline: Duration) -> Option<Vec<u8>> {
        let timeout = PollTimeout::try_from(deadline).expect("a deadline of a test fits in 24 days");
        let mut buffer = vec![0; 1 << 16];
        loop {
            let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, timeout).expect("poll on an open socket") == 0 {
                return None;
            }
            let (len, from) = match recvfrom::<LinkAddr>(self.fd.as_raw_fd(), &mut buffer) {
                Ok(received) => received,
                Err(nix::errno::Errno::EAGAIN) => continue,
                Err(error) => panic!("AF_PACKET: {error}"),
            };
            let ours = from.is_some_and(|from| from.ifindex() == self.address.ifindex());
            if ours && from.is_none_or(|from| from.pkttype() != libc::PACKET_OUTGOING) {
                buffer.truncate(len);
                return Some(buffer);
            }
        }
    }
}
