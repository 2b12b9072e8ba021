//! Small questions about addresses and bytes.

use core::net::{IpAddr, Ipv4Addr};

use packet::layout::Layout;
use packet::{CsumPartial, EtherType, Frame, IpProtocol, MacAddr, checksum, ipv4, ipv6, nd, tcp, udp};

/// Turns a complete UDP or TCP checksum into a partial one.
pub(super) fn leave_checksum(frame: &mut Frame) {
    let Ok(Layout { ethertype, network_at, transport: Some(transport) }) = Layout::of(frame) else { return };
    let offset = match transport.protocol {
        IpProtocol::UDP => udp::CHECKSUM_AT,
        IpProtocol::TCP => tcp::CHECKSUM_AT,
        _ => return,
    };
    let packet = &frame.head()[network_at..];
    let pseudo = if ethertype == EtherType::IPV4 {
        let Ok(view) = ipv4::View::parse_quoted(packet) else { return };
        checksum::pseudo_v4(view.src(), view.dst(), transport.protocol, transport.len as u16)
    } else {
        let Ok(view) = ipv6::View::parse_quoted(packet) else { return };
        checksum::pseudo_v6(view.src(), view.dst(), transport.protocol, transport.len as u32)
    };
    let field = transport.at + offset;
    let Some(bytes) = frame.head_mut().get_mut(field..field + 2) else { return };
    bytes.copy_from_slice(&pseudo.fold().to_be_bytes());
    frame.meta.csum = Some(CsumPartial { start: transport.at as u16, offset: offset as u16 });
}

pub(super) fn same_network(a: IpAddr, b: IpAddr, len: u8) -> bool {
    let differs = |x: u128, width: u8| match width.saturating_sub(len) {
        host_bits if u32::from(host_bits) >= u128::BITS => false,
        host_bits => x >> host_bits != 0,
    };
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => !differs(u128::from(a.to_bits() ^ b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => !differs(a.to_bits() ^ b.to_bits(), 128),
        _ => false,
    }
}

/// The Ethernet address of a group; none for one host.
pub(super) fn group_mac(addr: IpAddr) -> Option<MacAddr> {
    match addr {
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some(MacAddr::BROADCAST),
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            Some(MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V6(v6) if v6.is_multicast() => Some(nd::multicast_mac(v6)),
        _ => None,
    }
}
