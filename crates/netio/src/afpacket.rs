//! Existing interfaces by AF_PACKET: `afpacket:` ports, and the kernel side of `tap:` ports.
//!
//! The socket asks for the virtio-net header, so that super-frames and unfinished checksums pass as they are, and hears
//! only what the interface receives, not what we send. The kernel takes the outermost VLAN tag out of the frame; it is
//! put back here.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use packet::{Batch, Frame, MAX_BATCH, Pool};

use crate::counters::{PortCounters, PortDrop};
use crate::port::{LinkProbe, LinkState, Port, PortError, PortInfo};
use crate::sys;
use crate::tx::Finisher;
use crate::vnet;

const ETHERNET_SIZE: usize = 14;
const MAC_PAIR_SIZE: usize = 12;
const TAG_SIZE: usize = 4;
const TPID_CUSTOMER: u16 = 0x8100;

/// Room for a burst of super-frames, which the kernel accounts with about twice their size.
const SOCKET_BUFFER: libc::c_int = 32 << 20;

/// Messages handed to the kernel at once.
const SEND_BATCH: usize = 32;

/// Messages asked of the kernel at once: each needs a buffer for a super-frame.
const RECEIVE_BATCH: usize = 16;

/// What is received at once; more super-frames would push each other out of the processor's cache.
const RECEIVE_BYTES: usize = 192 << 10;

/// A packet socket bound to an interface of the namespace of the calling thread.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    /// Bytes of the virtio-net header.
    header_size: usize,
}

impl PacketSocket {
    /// Makes the interface promiscuous for as long as the socket lives.
    pub fn open(index: u32) -> io::Result<Self> {
        let fd = sys::packet_socket()?;
        let header_size = vnet_header(&fd)?;
        let on: libc::c_int = 1;
        // SAFETY: all three options are defined for an int.
        unsafe {
            sys::set_option(&fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &on)?;
            sys::set_option(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &on)?;
        }
        for (forced, limited) in
            [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
        {
            // SAFETY: both options are defined for an int. The forced form needs privilege over the machine.
            unsafe {
                if sys::set_option(&fd, libc::SOL_SOCKET, forced, &SOCKET_BUFFER).is_err() {
                    sys::set_option(&fd, libc::SOL_SOCKET, limited, &SOCKET_BUFFER)?;
                }
            }
        }
        let membership = libc::packet_mreq {
            mr_ifindex: index as libc::c_int,
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the option is defined for packet_mreq.
        unsafe { sys::set_option(&fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)? };
        sys::bind_packet(&fd, index)?;
        Ok(Self { fd, header_size })
    }
}

fn vnet_header(fd: &OwnedFd) -> io::Result<usize> {
    let size = vnet::HEADER_SIZE as libc::c_int;
    // SAFETY: both options are defined for an int.
    unsafe {
        if sys::set_option(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR_SZ, &size).is_ok() {
            return Ok(vnet::HEADER_SIZE);
        }
        let on: libc::c_int = 1;
        sys::set_option(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &on)?;
    }
    Ok(vnet::SHORT_HEADER_SIZE)
}

/// A port made of one packet socket.
#[derive(Debug)]
pub struct PacketPort {
    socket: PacketSocket,
    info: PortInfo,
    probe: LinkProbe,
    counters: PortCounters,
    finisher: Finisher,
    /// The next frames to receive into, the first one last, each with a tail.
    spares: Vec<Frame>,
    /// Those that replace them.
    fresh: Vec<Frame>,
    /// The device was made for this port and goes with it.
    owns_device: bool,
}

/// What the kernel says of one frame.
#[derive(Clone, Copy, Default)]
struct Received {
    header: [u8; vnet::HEADER_SIZE],
    n: usize,
    truncated: bool,
    /// TPID and TCI of the tag that the kernel took out.
    tag: Option<(u16, u16)>,
}

impl PacketPort {
    pub fn new(socket: PacketSocket, info: PortInfo, probe: LinkProbe, owns_device: bool) -> Self {
        let finisher = Finisher::new(info.offload);
        let counters = PortCounters::default();
        Self { socket, info, probe, counters, finisher, spares: Vec::new(), fresh: Vec::new(), owns_device }
    }

    fn accept(&mut self, received: &Received, mut frame: Frame, pool: &mut Pool, batch: &mut Batch) {
        let header_size = self.socket.header_size;
        let Some(len) = received.n.checked_sub(header_size).filter(|len| *len >= ETHERNET_SIZE) else {
            return self.refuse(PortDrop::RxTooShort, frame);
        };
        if received.truncated {
            return self.refuse(PortDrop::RxTooLong, frame);
        }
        frame.set_received(len);
        if vnet::decode(&received.header[..header_size], &mut frame).is_err() {
            return self.refuse(PortDrop::RxBadVnetHeader, frame);
        }
        if let Some(tag) = received.tag {
            insert_tag(&mut frame, tag);
        }
        if frame.tail().is_empty() {
            let mut next = pool.alloc();
            frame.give_unused_tail(&mut next);
            self.fresh.push(next);
        }
        self.counters.received(&frame);
        batch.push(frame);
    }

    fn refuse(&mut self, reason: PortDrop, frame: Frame) {
        self.counters.drop_n(reason, 1);
        self.fresh.push(frame);
    }

    /// Sends frames from the front; returns how many the kernel took, or the error of the first.
    fn send_some(&self, frames: &[Frame]) -> io::Result<usize> {
        let n = frames.len().min(SEND_BATCH);
        let header_size = self.socket.header_size;
        let mut headers = [[0u8; vnet::HEADER_SIZE]; SEND_BATCH];
        // SAFETY: iovec and mmsghdr consist of integers and pointers; all zeros is a valid value of both.
        let (mut parts, mut messages) = unsafe {
            (mem::zeroed::<[[libc::iovec; 3]; SEND_BATCH]>(), mem::zeroed::<[libc::mmsghdr; SEND_BATCH]>())
        };
        for (i, frame) in frames[..n].iter().enumerate() {
            headers[i] = vnet::encode(frame);
            let pieces: [&[u8]; 3] = [&headers[i][..header_size], frame.head(), frame.tail()];
            for (part, piece) in parts[i].iter_mut().zip(pieces) {
                *part = libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
            }
            messages[i].msg_hdr.msg_iov = parts[i].as_mut_ptr();
            messages[i].msg_hdr.msg_iovlen = if frame.tail().is_empty() { 2 } else { 3 };
        }
        // SAFETY: `messages[..n]` point into `parts`, and those into `headers` and `frames`, which all outlive the
        // call; the kernel only reads through them.
        let sent = unsafe {
            libc::sendmmsg(self.socket.fd.as_raw_fd(), messages.as_mut_ptr(), n as u32, libc::MSG_DONTWAIT)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }

    fn send_all(&mut self, frames: &[Frame]) -> Result<(), PortError> {
        let mut rest = frames;
        while let [first, others @ ..] = rest {
            match self.send_some(rest) {
                Ok(n) => {
                    for frame in &rest[..n] {
                        self.counters.sent(frame);
                    }
                    rest = &rest[n..];
                }
                Err(error) => {
                    let reason = match error.raw_os_error() {
                        Some(libc::EINTR) => continue,
                        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => PortDrop::TxQueueFull,
                        Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => {
                            self.still_there()?;
                            PortDrop::TxLinkDown
                        }
                        Some(libc::EMSGSIZE) => PortDrop::TxTooLong,
                        _ => PortDrop::TxRefused,
                    };
                    let _ = first;
                    self.counters.drop_n(reason, 1);
                    rest = others;
                }
            }
        }
        Ok(())
    }

    fn still_there(&self) -> Result<(), PortError> {
        if self.probe.state() == LinkState::Gone { Err(PortError::Gone) } else { Ok(()) }
    }
}

/// Frames from the kernel into `frames`, the last of them first, and what it says of each; returns how many there were.
fn receive_some(
    fd: &OwnedFd,
    header_size: usize,
    frames: &mut [Frame],
    received: &mut [Received; RECEIVE_BATCH],
) -> io::Result<usize> {
    #[repr(align(8))]
    #[derive(Clone, Copy)]
    struct Control([u8; 64]);
    let mut controls = [Control([0; 64]); RECEIVE_BATCH];
    // SAFETY: iovec and mmsghdr consist of integers and pointers; all zeros is a valid value of both.
    let (mut parts, mut messages) = unsafe {
        (mem::zeroed::<[[libc::iovec; 3]; RECEIVE_BATCH]>(), mem::zeroed::<[libc::mmsghdr; RECEIVE_BATCH]>())
    };
    let n = frames.len().min(RECEIVE_BATCH);
    for (i, frame) in frames.iter_mut().rev().take(n).enumerate() {
        let (head, tail) = frame.receive_buffers();
        parts[i] = [&mut received[i].header[..header_size], head, tail]
            .map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() });
        let header = &mut messages[i].msg_hdr;
        header.msg_iov = parts[i].as_mut_ptr();
        header.msg_iovlen = parts[i].len();
        header.msg_control = controls[i].0.as_mut_ptr().cast();
        header.msg_controllen = controls[i].0.len();
    }
    // SAFETY: `messages[..n]` point to `parts` and `controls`, and `parts` to three buffers a frame that are borrowed
    // mutably and do not overlap; all outlive the call, and the kernel writes at most the lengths given.
    let got = unsafe {
        let (timeout, flags) = (std::ptr::null_mut(), libc::MSG_DONTWAIT);
        libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), n as libc::c_uint, flags, timeout)
    };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    for (message, received) in messages[..got as usize].iter().zip(received) {
        received.n = message.msg_len as usize;
        received.truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        received.tag = tag_of(&message.msg_hdr);
    }
    Ok(got as usize)
}

fn tag_of(message: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: the kernel has filled the control buffer the message points to, which is aligned for cmsghdr; the
    // CMSG functions stay within msg_controllen. The payload is read unaligned, and only if it is long enough.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        while let Some(cmsg) = next.as_ref() {
            let size = libc::CMSG_LEN(mem::size_of::<libc::tpacket_auxdata>() as u32) as usize;
            let wanted = cmsg.cmsg_level == libc::SOL_PACKET && cmsg.cmsg_type == libc::PACKET_AUXDATA;
            if wanted && cmsg.cmsg_len >= size {
                let aux = libc::CMSG_DATA(next).cast::<libc::tpacket_auxdata>().read_unaligned();
                if aux.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
                    return None;
                }
                let has_tpid = aux.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
                return Some((if has_tpid { aux.tp_vlan_tpid } else { TPID_CUSTOMER }, aux.tp_vlan_tci));
            }
            next = libc::CMSG_NXTHDR(message, next);
        }
    }
    None
}

/// Puts a tag back behind the addresses.
fn insert_tag(frame: &mut Frame, (tpid, tci): (u16, u16)) {
    let Ok(head) = frame.push_front(TAG_SIZE) else { return };
    head.copy_within(TAG_SIZE..TAG_SIZE + MAC_PAIR_SIZE, 0);
    head[MAC_PAIR_SIZE..MAC_PAIR_SIZE + 2].copy_from_slice(&tpid.to_be_bytes());
    head[MAC_PAIR_SIZE + 2..MAC_PAIR_SIZE + TAG_SIZE].copy_from_slice(&tci.to_be_bytes());
    if let Some(csum) = &mut frame.meta.csum {
        csum.start += TAG_SIZE as u16;
    }
}

impl Port for PacketPort {
    fn receive(&mut self, pool: &mut Pool, batch: &mut Batch, max: usize) -> Result<usize, PortError> {
        let (before, mut bytes, mut left) = (batch.len(), 0, max.min(MAX_BATCH));
        let mut received = [Received::default(); RECEIVE_BATCH];
        while left > 0 && bytes < RECEIVE_BYTES {
            let n = left.min(RECEIVE_BATCH);
            while self.spares.len() < n {
                self.spares.push(pool.alloc_with_tail());
            }
            let (fd, header_size) = (&self.socket.fd, self.socket.header_size);
            let first = self.spares.len() - n;
            match receive_some(fd, header_size, &mut self.spares[first..], &mut received) {
                Ok(got) => {
                    for received in &received[..got] {
                        bytes += received.n;
                        let Some(frame) = self.spares.pop() else { break };
                        self.accept(received, frame, pool, batch);
                    }
                    self.spares.append(&mut self.fresh);
                    if got < n {
                        break;
                    }
                    left -= got;
                }
                Err(error) => {
                    left -= 1;
                    match error.raw_os_error() {
                        Some(libc::EAGAIN) => break,
                        Some(libc::EINTR) => {}
                        // The frame was taken off the queue: its header cannot say what it is (an offload we do not
                        // know, from a tunnel for instance).
                        Some(libc::EINVAL) => self.counters.drop_n(PortDrop::RxBadVnetHeader, 1),
                        // Told once when the interface goes down; it may come back, or be gone for good.
                        Some(libc::ENETDOWN) => self.still_there()?,
                        _ => return Err(PortError::Io(error)),
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
        Some(self.socket.fd.as_fd())
    }

    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&mut self) -> PortCounters {
        let zero = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        // SAFETY: the option is defined for tpacket_stats, two integers; reading it sets the kernel's to zero.
        let stats =
            unsafe { sys::get_option(&self.socket.fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, zero) };
        if let Ok(stats) = stats {
            self.counters.drop_n(PortDrop::RxOverrun, stats.tp_drops.into());
        }
        self.counters
    }

    fn link_probe(&self) -> LinkProbe {
        self.probe.clone()
    }
}

impl Drop for PacketPort {
    fn drop(&mut self) {
        if self.owns_device {
            // It may be gone already, with its namespace or by hand: then there is nothing left to do.
            let _ = self.probe.delete_device();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_goes_back_where_it_was() {
        let mut bytes: Vec<u8> = (0..60).collect();
        let mut frame = Frame::from_bytes(&bytes);
        frame.meta.csum = Some(packet::CsumPartial { start: 34, offset: 16 });
        insert_tag(&mut frame, (0x8100, 0x600a));
        bytes.splice(12..12, [0x81, 0x00, 0x60, 0x0a]);
        assert_eq!(frame.to_vec(), bytes);
        assert_eq!(frame.meta.csum.map(|c| c.start), Some(38));
    }
}
