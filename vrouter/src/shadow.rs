//! Shadows: beside each interface of the router one of a kernel, in a namespace where routing daemons run unchanged.
//!
//! What goes up to them is what is for the router itself and that nothing of the router takes: packets for addresses of
//! its interfaces, but for echo requests and what its services want; packets to groups of the link (224.0.0.0/24,
//! ff02::/16); frames of other kinds than IPv4, IPv6 and ARP, for the interface or to a group; and what neighbours
//! answer, as the kernel there looks for its own neighbours. Questions about neighbours are answered by the router
//! alone. What comes down leaves by the interface as it is, behind the interface's tags.

use core::net::IpAddr;

use packet::{EtherType, Frame, Instant, MacAddr, PortNo, ethernet, nd};

use crate::Drop;
use crate::flow::Ip;
use crate::forwarder::Forwarder;
use crate::input::Arrived;
use crate::output::{Io, tags};
use crate::snapshot::{IfIndex, Snapshot};

/// Frames of one interface for its shadow, of each worker, a second and at once: a flood of what nobody asked for does
/// not take the time of packets that are forwarded.
const SHADOW_RATE: u32 = 50_000;
const SHADOW_BURST: u32 = 4096;

impl Forwarder {
    /// What comes from the shadow of an interface.
    pub(crate) fn frame_down(&mut self, s: &Snapshot, io: &mut Io<'_>, mut frame: Frame, interface: IfIndex) {
        let interface = s.interface(interface);
        let Some(port) = interface.port else { return self.drop(io, frame, Drop::NoInterface) };
        for tag in tags(interface).rev() {
            if frame.push_vlan(tag).is_err() {
                return self.drop(io, frame, Drop::NoHeadroom);
            }
        }
        io.out.push((port, frame));
    }

    /// A whole frame goes up, without tags. Where there is no shadow it is dropped, or done with if there is no reason.
    pub(crate) fn frame_up(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        mut frame: Frame,
        (arrived, otherwise): (&Arrived, Option<Drop>),
    ) {
        let Some(shadow) = s.interface(arrived.interface).shadow else {
            return self.let_go(io, frame, otherwise);
        };
        if !self.admits_shadow(io.now, arrived.interface) {
            return self.drop(io, frame, Drop::ServiceLimit);
        }
        while frame.pop_vlan().is_some() {}
        io.out.push((shadow, frame));
    }

    /// A packet to a group goes up if the group is of the link alone.
    pub(crate) fn group_up(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        frame: Frame,
        (ip, arrived): (&Ip, &Arrived),
    ) {
        let is_of_link = match ip.dst {
            IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
            IpAddr::V6(group) => group.segments()[0] & 0xff0f == 0xff02,
        };
        match is_of_link {
            true if !s.may_speak(arrived.interface, ip.src, arrived.src) => {
                self.drop(io, frame, Drop::Spoofed);
            }
            true => self.packet_up(s, io, frame, (ip, arrived), Some(Drop::Multicast)),
            false => self.drop(io, frame, Drop::Multicast),
        }
    }

    /// A packet whose link header was taken off goes up, as [`frame_up`](Self::frame_up).
    pub(crate) fn packet_up(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        frame: Frame,
        (ip, arrived): (&Ip, &Arrived),
        otherwise: Option<Drop>,
    ) {
        let interface = s.interface(arrived.interface);
        let Some(shadow) = interface.shadow else { return self.let_go(io, frame, otherwise) };
        let dst = match ip.dst {
            IpAddr::V4(group) if group.is_multicast() => {
                // RFC 1112 §6.4.
                let [_, b, c, d] = group.octets();
                MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
            }
            IpAddr::V6(group) if group.is_multicast() => nd::multicast_mac(group),
            _ => interface.mac,
        };
        self.hand_up(io, frame, (arrived.interface, shadow), (arrived.src, dst));
    }

    /// Sends a packet to a shadow behind a link header of these stations. The frame begins with the IP header.
    pub(crate) fn hand_up(
        &mut self,
        io: &mut Io<'_>,
        mut frame: Frame,
        (interface, shadow): (IfIndex, PortNo),
        (src, dst): (MacAddr, MacAddr),
    ) {
        if !self.admits_shadow(io.now, interface) {
            return self.drop(io, frame, Drop::ServiceLimit);
        }
        let v6 = frame.head().first().is_some_and(|b| b >> 4 == 6);
        let ethertype = if v6 { EtherType::IPV6 } else { EtherType::IPV4 };
        match frame.push_front(ethernet::HEADER_LEN) {
            Ok(bytes) => {
                bytes[..6].copy_from_slice(&dst.0);
                bytes[6..12].copy_from_slice(&src.0);
                bytes[12..ethernet::HEADER_LEN].copy_from_slice(&ethertype.0.to_be_bytes());
            }
            Err(_) => return self.drop(io, frame, Drop::NoHeadroom),
        }
        if let Some(csum) = &mut frame.meta.csum {
            csum.start += ethernet::HEADER_LEN as u16;
        }
        io.out.push((shadow, frame));
    }

    fn let_go(&mut self, io: &mut Io<'_>, frame: Frame, why: Option<Drop>) {
        match why {
            Some(why) => self.drop(io, frame, why),
            None => io.pool.free(frame),
        }
    }

    fn admits_shadow(&mut self, now: Instant, interface: IfIndex) -> bool {
        let gate = self.gates.get_mut(usize::from(interface));
        gate.is_some_and(|gate| gate.shadow.admit(now, SHADOW_RATE, SHADOW_BURST))
    }
}
