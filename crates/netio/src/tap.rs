//! Taps whose descriptor is ours: `netns:` and `hosttap:` ports.
//!
//! One `readv` a frame and one call for all frames of a round to be sent, straight between the kernel and the frames'
//! buffers, with the virtio-net header beside them or in front, so that super-frames and unfinished checksums pass as they are.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::uio::{readv, writev};
use packet::{Batch, Frame, Pool};

use crate::burst;
use crate::counters::{PortCounters, PortDrop};
use crate::link::{self, LinkError};
use crate::netns;
use crate::port::{LinkProbe, Offload, Port, PortError, PortInfo};
use crate::sys;
use crate::tx::Finisher;
use crate::vnet;

const ETHERNET_SIZE: usize = 14;

const TSO: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
const USO: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// What is received at once: super-frames of a larger batch would push each other out of the processor's cache before
/// they are sent.
const RECEIVE_BYTES: usize = 192 << 10;

/// How the descriptors of a device come about.
#[derive(Clone, Copy, Debug)]
pub struct TapConfig {
    pub n_queues: u16,
    pub persistent: bool,
    /// Ask the kernel for finished frames.
    pub offload: bool,
    /// User that may attach to the device without privilege.
    pub owner: Option<u32>,
}

/// What opening found.
#[derive(Debug)]
pub struct TapQueues {
    pub queues: Vec<OwnedFd>,
    pub offload: Offload,
    /// The device did not exist before.
    pub created: bool,
}

/// Where opening failed.
#[derive(Debug)]
pub enum TapError {
    /// /dev/net/tun itself.
    Device(io::Error),
    /// The name belongs to something that is not a tap.
    NotATap,
    /// A process is attached to the device.
    Busy,
    /// The device was made in another namespace than the calling thread's.
    WrongNamespace,
    /// Anything else.
    Io(&'static str, io::Error),
}

/// Creates the tap `name` in the namespace of the calling thread, or attaches to a persistent one that nobody uses.
pub fn open_queues(name: &str, config: TapConfig) -> Result<TapQueues, TapError> {
    let exists = match link::blocking(None, async |netlink| netlink.link(name).await) {
        // The kernel says "tun" for taps, too.
        Ok(link) if link.kind != "tun" => return Err(TapError::NotATap),
        // The carrier of a tap is there exactly while a descriptor is attached.
        Ok(link) if link.carrier => return Err(TapError::Busy),
        Ok(_) => true,
        Err(LinkError::Missing(_)) => false,
        Err(error) => return Err(TapError::Io("look for the tap", io::Error::other(error))),
    };
    let multi = if config.n_queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
    let (first, multi) = if exists {
        match attach(name, multi) {
            // The flag belongs to the device: one made with the other choice refuses ours.
            Err(TapError::NotATap) => {
                let other = multi ^ libc::IFF_MULTI_QUEUE;
                (attach(name, other)?, other)
            }
            first => (first?, multi),
        }
    } else {
        (attach(name, multi | libc::IFF_TUN_EXCL)?, multi)
    };
    check_namespace(&first)?;
    let mut queues = vec![first];
    if multi != 0 {
        for _ in 1..config.n_queues {
            queues.push(attach(name, multi)?);
        }
    }
    let offload = configure(&queues[0], config)?;
    Ok(TapQueues { queues, offload, created: !exists })
}

/// A descriptor attached to `name`; with `IFF_TUN_EXCL` in `flags` the device must be new.
fn attach(name: &str, flags: libc::c_int) -> Result<OwnedFd, TapError> {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open("/dev/net/tun").map_err(TapError::Device)?;
    let mut request = sys::request(name).map_err(|e| TapError::Io("name a tap", e))?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | flags;
    request.ifr_ifru.ifru_flags = flags as u16 as libc::c_short;
    // SAFETY: TUNSETIFF is defined for ifreq.
    match unsafe { sys::ioctl(&file, libc::TUNSETIFF, &mut request) } {
        Ok(_) => Ok(file.into()),
        Err(e) => Err(match e.raw_os_error() {
            Some(libc::EINVAL) => TapError::NotATap,
            Some(libc::EBUSY) => TapError::Busy,
            _ => TapError::Io("make a tap", e),
        }),
    }
}

/// The device must be in our namespace: an existing name opened in the wrong one makes a new device without an error.
fn check_namespace(queue: &OwnedFd) -> Result<(), TapError> {
    // SAFETY: TUNGETDEVNETNS takes no argument and returns a new descriptor.
    let fd = match unsafe { sys::ioctl_value(queue, libc::TUNGETDEVNETNS, 0) } {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
        Err(e) => return Err(TapError::Io("ask for the tap's namespace", e)),
    };
    let same = netns::inode_of(fd.as_raw_fd()).and_then(|a| Ok(a == netns::own_inode()?));
    match same {
        Ok(true) => Ok(()),
        Ok(false) => Err(TapError::WrongNamespace),
        Err(e) => Err(TapError::Io("compare namespaces", e)),
    }
}

/// Header size and offloads belong to the device, so an adopted one is set anew.
fn configure(queue: &OwnedFd, config: TapConfig) -> Result<Offload, TapError> {
    let mut size = vnet::HEADER_SIZE as libc::c_int;
    // SAFETY: TUNSETVNETHDRSZ reads an int.
    unsafe { sys::ioctl(queue, libc::TUNSETVNETHDRSZ, &mut size) }
        .map_err(|e| TapError::Io("set the header size", e))?;
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    let set = |mask: libc::c_uint| unsafe { sys::ioctl_value(queue, libc::TUNSETOFFLOAD, mask.into()) };
    let offload = if !config.offload {
        set(0).map_err(|e| TapError::Io("set offloads", e))?;
        Offload::NONE
    } else if set(TSO | USO).is_ok() {
        Offload::ALL
    } else {
        // Kernels before 6.2 know no UDP segmentation on taps.
        set(TSO).map_err(|e| TapError::Io("set offloads", e))?;
        Offload { uso: false, ..Offload::ALL }
    };
    if let Some(owner) = config.owner {
        // SAFETY: TUNSETOWNER takes its argument by value.
        unsafe { sys::ioctl_value(queue, libc::TUNSETOWNER, owner.into()) }
            .map_err(|e| TapError::Io("set the owner", e))?;
    }
    if config.persistent {
        set_persistent(queue, true).map_err(|e| TapError::Io("make it persistent", e))?;
    }
    Ok(offload)
}

fn set_persistent(queue: &OwnedFd, on: bool) -> io::Result<()> {
    // SAFETY: TUNSETPERSIST takes its argument by value.
    unsafe { sys::ioctl_value(queue, libc::TUNSETPERSIST, on.into()) }.map(|_| ())
}

/// Shared by the queues of a device that is ours: it survives a crash of the process, and goes with a clean close.
#[derive(Debug)]
pub struct Ownership {
    queue: OwnedFd,
}

impl Ownership {
    /// Of the device that `queue` is attached to.
    pub fn of(queue: &OwnedFd) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { queue: queue.try_clone()? }))
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        // Fails only when the device is gone.
        let _ = set_persistent(&self.queue, false);
    }
}

/// One queue of a tap.
#[derive(Debug)]
pub struct TapPort {
    queue: OwnedFd,
    info: PortInfo,
    probe: LinkProbe,
    counters: PortCounters,
    finisher: Finisher,
    /// The next frame to receive into, with a tail.
    spare: Option<Frame>,
    /// None for a device that somebody else made to stay.
    _ownership: Option<Arc<Ownership>>,
}

impl TapPort {
    pub fn new(queue: OwnedFd, info: PortInfo, probe: LinkProbe, ownership: Option<Arc<Ownership>>) -> Self {
        let (counters, finisher) = (PortCounters::default(), Finisher::new(info.offload));
        Self { queue, info, probe, counters, finisher, spare: None, _ownership: ownership }
    }

    /// Counts and keeps, or counts and drops, what was read into `frame`.
    fn accept(&mut self, n: usize, header: &[u8], mut frame: Frame, pool: &mut Pool, batch: &mut Batch) {
        let Some(len) = n.checked_sub(vnet::HEADER_SIZE).filter(|len| *len >= ETHERNET_SIZE) else {
            return self.refuse(PortDrop::RxTooShort, frame);
        };
        let room = {
            let (head, tail) = frame.receive_buffers();
            head.len() + tail.len()
        };
        if len >= room {
            return self.refuse(PortDrop::RxTooLong, frame);
        }
        frame.set_received(len);
        if vnet::decode(header, &mut frame).is_err() {
            return self.refuse(PortDrop::RxBadVnetHeader, frame);
        }
        if frame.tail().is_empty() {
            let mut next = pool.alloc();
            frame.give_unused_tail(&mut next);
            self.spare = Some(next);
        }
        self.counters.received(&frame);
        batch.push(frame);
    }

    fn refuse(&mut self, reason: PortDrop, frame: Frame) {
        self.counters.drop_n(reason, 1);
        self.spare = Some(frame);
    }

    fn send_all(&mut self, frames: &mut [Frame]) -> Result<(), PortError> {
        for frames in frames.chunks_mut(burst::MOST) {
            // Lone frames, as those of a request and its answer, are not worth a ring.
            if frames.len() > 1 && self.send_burst(frames)? {
                continue;
            }
            for frame in frames {
                let result = self.send(frame);
                self.note_sent(frame, result)?;
            }
        }
        Ok(())
    }

    /// Sends them by one system call; or none of them, and says so.
    fn send_burst(&mut self, frames: &mut [Frame]) -> Result<bool, PortError> {
        if frames.iter().any(|frame| frame.headroom() < vnet::HEADER_SIZE) {
            return Ok(false);
        }
        for frame in &mut *frames {
            let header = vnet::encode(frame);
            let head = frame.push_front(vnet::HEADER_SIZE).expect("there is room, as was just seen");
            head[..vnet::HEADER_SIZE].copy_from_slice(&header);
        }
        let mut writes = [[IoSlice::new(&[]); 2]; burst::MOST];
        for (write, frame) in writes.iter_mut().zip(&*frames) {
            *write = [IoSlice::new(frame.head()), IoSlice::new(frame.tail())];
        }
        let results = burst::write_each(self.queue.as_fd(), &writes[..frames.len()]);
        for frame in &mut *frames {
            frame.pop_front(vnet::HEADER_SIZE);
        }
        let Some(results) = results else { return Ok(false) };
        for (frame, result) in frames.iter().zip(results) {
            let refused = (result < 0).then(|| Errno::from_raw(-result));
            self.note_sent(frame, refused.map_or(Ok(()), Err))?;
        }
        Ok(true)
    }

    fn send(&self, frame: &Frame) -> Result<(), Errno> {
        let header = vnet::encode(frame);
        let parts = [IoSlice::new(&header), IoSlice::new(frame.head()), IoSlice::new(frame.tail())];
        let n_parts = if frame.tail().is_empty() { 2 } else { 3 };
        writev(&self.queue, &parts[..n_parts]).map(drop)
    }

    fn note_sent(&mut self, frame: &Frame, result: Result<(), Errno>) -> Result<(), PortError> {
        let reason = match result {
            Ok(()) => {
                self.counters.sent(frame);
                return Ok(());
            }
            Err(Errno::EBADFD | Errno::ENODEV) => return Err(PortError::Gone),
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => PortDrop::TxQueueFull,
            // The tap driver's answer while the device is administratively down.
            Err(Errno::EIO) => PortDrop::TxLinkDown,
            Err(Errno::EMSGSIZE) => PortDrop::TxTooLong,
            Err(_) => PortDrop::TxRefused,
        };
        self.counters.drop_n(reason, 1);
        Ok(())
    }
}

impl Port for TapPort {
    fn receive(&mut self, pool: &mut Pool, batch: &mut Batch, max: usize) -> Result<usize, PortError> {
        let (before, mut bytes) = (batch.len(), 0);
        // Bounds the work of a call also when every frame is refused.
        for _ in 0..max {
            if bytes >= RECEIVE_BYTES {
                break;
            }
            let mut frame = self.spare.take().unwrap_or_else(|| pool.alloc_with_tail());
            let mut header = [0; vnet::HEADER_SIZE];
            let read = {
                let (head, tail) = frame.receive_buffers();
                let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(head), IoSliceMut::new(tail)];
                readv(&self.queue, &mut parts)
            };
            match read {
                Ok(n) => {
                    bytes += n;
                    self.accept(n, &header, frame, pool, batch);
                }
                Err(error) => {
                    self.spare = Some(frame);
                    match error {
                        Errno::EAGAIN => break,
                        Errno::EINTR => {}
                        Errno::EBADFD | Errno::ENODEV => return Err(PortError::Gone),
                        other => return Err(PortError::Io(other.into())),
                    }
                }
            }
        }
        Ok(batch.len() - before)
    }

    fn transmit(&mut self, pool: &mut Pool, frames: &mut Vec<Frame>) -> Result<(), PortError> {
        self.finisher.finish(pool, frames, &mut self.counters);
        let result = self.send_all(frames);
        pool.free_batch(frames);
        result
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.queue.as_fd())
    }

    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&mut self) -> PortCounters {
        self.counters
    }

    fn link_probe(&self) -> LinkProbe {
        self.probe.clone()
    }
}
