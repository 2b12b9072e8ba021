//! What a port is to the rest of the world.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
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

/// Tells whether the link of a port is up; may be asked from any thread.
#[derive(Clone, Debug)]
pub struct LinkProbe(Probe);

#[derive(Clone, Debug)]
enum Probe {
    Always,
    /// A socket made in the namespace of the device, and the device's index there.
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

    pub(crate) fn interface(socket: Arc<OwnedFd>, index: u32) -> Self {
        Self(Probe::Interface { socket, index })
    }

    /// Administratively up and with carrier. False when the device is gone.
    pub fn is_up(&self) -> bool {
        match &self.0 {
            Probe::Always => true,
            Probe::Interface { socket, index } => sys::name_of_index(socket, *index)
                .and_then(|name| sys::interface_flags(socket, &name))
                .is_ok_and(|flags| flags.is_up() && flags.is_running()),
        }
    }
}
