//! What arrives: whose frame it is, and whether a packet may be looked at at all.

use core::net::Ipv4Addr;

use packet::{EtherType, Frame, MacAddr, ethernet, ipv4};

use crate::Drop;
use crate::flow::Ip;
use crate::snapshot::{Hop, IfIndex, Snapshot};

/// A frame for one of the interfaces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub interface: IfIndex,
    pub ethertype: EtherType,
    /// Bytes before the network header.
    pub network_at: usize,
    /// Sent to a group of stations.
    pub to_group: bool,
    pub src: MacAddr,
}

/// Finds the interface of a frame by its port and tag.
pub(crate) fn classify(s: &Snapshot, frame: &Frame) -> Result<Arrived, Drop> {
    let header = ethernet::View::parse(frame.head()).map_err(|_| Drop::BadEthernet)?;
    let tags = header.tags().map_err(|_| Drop::BadEthernet)?;
    let vlan = match tags.list.outer() {
        None => None,
        // A lone customer tag; VLAN 0 carries only a priority (IEEE 802.1Q §6.9).
        Some(tag) if tags.list.len() == 1 && tag.tpid == EtherType::VLAN && tag.tci.vid() != 4095 => {
            tag.tci.vlan()
        }
        Some(_) => return Err(Drop::NoInterface),
    };
    let interface = s.interface_at(frame.meta.in_port, vlan).ok_or(Drop::NoInterface)?;
    let dst = header.dst();
    if !dst.is_multicast() && dst != s.interface(interface).mac {
        return Err(Drop::NotForUs);
    }
    Ok(Arrived {
        interface,
        ethertype: tags.ethertype,
        network_at: tags.payload_at,
        to_group: dst.is_multicast(),
        src: header.src(),
    })
}

/// Takes the link header off and moves the start of a partial checksum with it.
pub(crate) fn strip(frame: &mut Frame, n: usize) -> Result<(), Drop> {
    if let Some(csum) = &mut frame.meta.csum {
        csum.start = csum.start.checked_sub(n as u16).ok_or(Drop::BadEthernet)?;
    }
    frame.pop_front(n);
    Ok(())
}

/// Checks a packet by RFC 1812 §5.2.2 and §5.3.7 and cuts the frame to it. The frame begins with the IP header.
pub(crate) fn check_ipv4(s: &Snapshot, frame: &mut Frame, to_group: bool) -> Result<Ip, Drop> {
    let view = ipv4::View::parse_head(frame.head(), frame.len()).map_err(|_| Drop::BadIpv4)?;
    if !view.verify_checksum() {
        return Err(Drop::BadIpv4Checksum);
    }
    let ip = Ip::of(&view);
    frame.truncate(ip.total_len);
    if is_martian(ip.src) || ip.src.is_multicast() {
        return Err(Drop::MartianSource);
    }
    if ip.dst.is_multicast() || ip.dst.is_broadcast() {
        return Err(Drop::Multicast);
    }
    if is_martian(ip.dst) {
        return Err(Drop::MartianDestination);
    }
    if to_group {
        return Err(Drop::LinkBroadcast);
    }
    match s.route(ip.src) {
        Some(Hop::Local(_) | Hop::Broadcast) => Err(Drop::MartianSource),
        _ => Ok(ip),
    }
}

/// Never on a wire: this network, loopback, reserved.
fn is_martian(addr: Ipv4Addr) -> bool {
    matches!(addr.octets()[0], 0 | 127 | 240..)
}
