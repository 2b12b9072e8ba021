//! What a port is to the rest of the world.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use packet::{Batch, Frame, MacAddr, Pool};

use crate::counters::PortCounters;
use crate::sys;

/// Why a port can no longer work. A single bad frame is never an error: it is counted.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The device was deleted, its namespace ended or the other end was closed.
    #[error("the device is gone")]
    Gone,
    /// The kernel answered with something that trying again will not mend.
    #[error("the device failed")]
    Io(#[source] io::Error),
}

/// What a port's device carries unfinished, so that frames need neither segmentation nor checksums on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Takes frames whose checksum is still to be completed.
    pub csum: bool,
    /// Takes TCP super-frames over IPv4 and IPv6.
    pub tso: bool,
    /// Takes UDP super-frames.
    pub uso: bool,
}

impl Offload {
    /// Everything.
    pub const ALL: Self = Self { csum: true, tso: true, uso: true };
    /// Nothing: every frame leaves segmented, with its checksum.
    pub const NONE: Self = Self { csum: false, tso: false, uso: false };
}

/// What a port says about itself; the same for all queues of one device.
#[derive(Clone, Debug)]
pub struct PortInfo {
    /// The interface's name, or one made up for ports without an interface.
    pub name: String,
    /// The specification it was opened by, in text form.
    pub spec: String,
    /// The address of the engine's side of the port; distinct from the address of a container's or guest's interface.
    pub mac: MacAddr,
    /// Bytes of network-layer packet that fit a frame when the port was opened.
    pub mtu: u32,
    /// What may be sent unfinished.
    pub offload: Offload,
    /// How the port is realised when it is not in the usual way, for people.
    pub note: Option<String>,
}

/// One queue of a port. Belongs to one worker; never blocks.
pub trait Port: Send {
    /// Appends at most `max` received frames to `batch` and returns how many. Sets the checksum and GSO metadata, not
    /// the port number. Zero means that nothing waits.
    ///
    /// # Errors
    /// Only when the port will never work again.
    fn receive(&mut self, pool: &mut Pool, batch: &mut Batch, max: usize) -> Result<usize, PortError>;

    /// Sends all of `frames`, in order, and leaves it empty; what the device refuses is counted as dropped.
    ///
    /// # Errors
    /// Only when the port will never work again; the frames are freed all the same.
    fn transmit(&mut self, pool: &mut Pool, frames: &mut Vec<Frame>) -> Result<(), PortError>;

    /// Becomes readable (level-triggered) when frames wait or the port has failed.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;

    /// What the port is.
    fn info(&self) -> &PortInfo;

    /// What this queue has counted since it was opened.
    fn counters(&mut self) -> PortCounters;

    /// A way to ask for the link state from another thread.
    fn link_probe(&self) -> LinkProbe;
}

/// What a port's link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Administratively up and with carrier.
    Up,
    /// There, but not up.
    Down,
    /// The device no longer exists in its namespace.
    Gone,
}

/// Tells the link state of a port from any thread.
#[derive(Clone, Debug)]
pub struct LinkProbe(Probe);

#[derive(Clone, Debug)]
enum Probe {
    Always,
    /// A netlink socket in the namespace of the device that hears of changes, and the device's index there.
    Interface {
        socket: Arc<OwnedFd>,
        index: u32,
    },
}

impl LinkProbe {
    /// For ports whose link is never down.
    pub fn always_up() -> Self {
        Self(Probe::Always)
    }

    /// For the interface `name` in the namespace of the calling thread.
    pub(crate) fn interface(name: &str) -> io::Result<Self> {
        let socket = sys::link_monitor()?;
        let index = sys::interface_index(&socket, name)?;
        Ok(Self(Probe::Interface { socket: Arc::new(socket), index }))
    }

    /// The state at this moment.
    pub fn state(&self) -> LinkState {
        let Probe::Interface { socket, index } = &self.0 else { return LinkState::Up };
        let flags = sys::name_of_index(socket, *index).and_then(|name| sys::interface_flags(socket, &name));
        match flags {
            Ok(flags) if flags.is_up() && flags.is_running() => LinkState::Up,
            Ok(_) => LinkState::Down,
            Err(_) => LinkState::Gone,
        }
    }

    /// Becomes readable when the state may have changed; then [`drain`](Self::drain) it and ask again.
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Probe::Always => None,
            Probe::Interface { socket, .. } => Some(socket.as_fd()),
        }
    }

    /// Takes what made [`poll_fd`](Self::poll_fd) readable.
    pub fn drain(&self) {
        if let Probe::Interface { socket, .. } = &self.0 {
            sys::drain(socket);
        }
    }

    /// Deletes the device; for those that were made for the port and must not outlive it.
    pub(crate) fn delete_device(&self) -> io::Result<()> {
        match &self.0 {
            Probe::Always => Ok(()),
            Probe::Interface { index, socket } => sys::delete_link(socket, *index),
        }
    }
}
