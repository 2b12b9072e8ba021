//! What arrives: whose frame it is, and whether a packet may be looked at at all.

use core::net::{IpAddr, Ipv4Addr};

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

/// Finds the interface of a frame by its port and tags.
pub(crate) fn classify(s: &Snapshot, frame: &Frame) -> Result<Arrived, Drop> {
    let header = ethernet::View::parse(frame.head()).map_err(|_| Drop::BadEthernet)?;
    let tags = header.tags().map_err(|_| Drop::BadEthernet)?;
    let mut list = tags.list.iter();
    let vlans = match (list.next(), list.next(), list.next()) {
        (None, ..) => (None, None),
        // A lone customer tag; VLAN 0 carries only a priority (IEEE 802.1Q §6.9).
        (Some(tag), None, _) if tag.tpid == EtherType::VLAN && tag.tci.vid() != 4095 => {
            (tag.tci.vlan(), None)
        }
        (Some(outer), Some(inner), None) if inner.tpid == EtherType::VLAN => {
            (outer.tci.vlan(), inner.tci.vlan())
        }
        _ => return Err(Drop::NoInterface),
    };
    let interface = s.interface_at(frame.meta.in_port, vlans).ok_or(Drop::NoInterface)?;
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

/// Reads a packet and cuts the frame to it. The frame begins with the IP header, of version 6 if `v6`.
pub(crate) fn read_ip(frame: &mut Frame, v6: bool) -> Result<Ip, Drop> {
    let available = frame.len();
    let ip = match v6 {
        false => {
            let view = ipv4::View::parse_head(frame.head(), available).map_err(|_| Drop::BadIpv4)?;
            if !view.verify_checksum() {
                return Err(Drop::BadIpv4Checksum);
            }
            Ip::v4(&view)
        }
        true => Ip::parse(frame.head(), available).and_then(|ip| match ip.src {
            IpAddr::V6(_) => Ok(ip),
            IpAddr::V4(_) => Err(Drop::BadIpv6),
        })?,
    };
    frame.truncate(ip.total_len);
    Ok(ip)
}

/// Checks the addresses of a packet by RFC 1812 §5.2.2 and §5.3.7, RFC 4291 §2.
pub(crate) fn check_addresses(s: &Snapshot, ip: &Ip, arrived: &Arrived) -> Result<(), Drop> {
    if is_martian(ip.src) || ip.src.is_multicast() {
        return Err(Drop::MartianSource);
    }
    if ip.dst.is_multicast() || ip.dst == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(Drop::Multicast);
    }
    if is_martian(ip.dst) {
        return Err(Drop::MartianDestination);
    }
    if arrived.to_group {
        return Err(Drop::LinkBroadcast);
    }
    if !s.may_speak(arrived.interface, ip.src, arrived.src) {
        return Err(Drop::Spoofed);
    }
    if !s.may_be_own(ip.src) {
        return Ok(());
    }
    match s.route(arrived.interface, ip.src) {
        Some(Hop::Local(_) | Hop::Broadcast) => Err(Drop::MartianSource),
        _ => Ok(()),
    }
}

/// Never on a wire: unspecified, loopback, reserved; and what is IPv4 in disguise (RFC 4291 §2.5.5).
fn is_martian(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => matches!(addr.octets()[0], 0 | 127 | 240..),
        IpAddr::V6(addr) => addr.is_unspecified() || addr.is_loopback() || addr.to_ipv4_mapped().is_some(),
    }
}

/// `fe80::/10`, which no router carries to another link (RFC 4291 §2.5.6).
pub(crate) fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.segments()[0] & 0xffc0 == 0xfe80)
}
