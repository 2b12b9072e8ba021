//! Header fields that are written over: ARP, IPv4 addresses, ports of TCP and UDP. Checksums follow (RFC 1624).

use openflow::Field;
use packet::checksum::{self, Delta};
use packet::{EtherType, IpProtocol, ethernet, ipv4};

/// Writes a field of a frame. False: it is not one of these, or the frame has none.
pub(super) fn set_field(frame: &mut [u8], field: Field, value: u128) -> bool {
    let Some(place) = Place::of(frame, field) else { return false };
    let Some(bytes) = frame.get_mut(place.at..place.at + place.n_bytes) else { return false };
    let mut delta = Delta::NONE;
    let value = value.to_be_bytes();
    let Some(new) = value.get(16 - place.n_bytes..) else { return false };
    for (old, new) in bytes.chunks_exact(2).zip(new.chunks_exact(2)) {
        delta = delta.word(word(old), word(new));
    }
    bytes.copy_from_slice(new);
    if let Some(at) = place.header_checksum {
        mend(frame, at, |sum| delta.apply(sum));
    }
    if let Some((at, kind)) = place.transport_checksum {
        // The pseudo header or the transport header: to a whole checksum it is the same.
        mend(frame, at, |sum| checksum::adjust(sum, kind, delta, Delta::NONE));
    }
    true
}

fn word(bytes: &[u8]) -> u16 {
    bytes.try_into().map(u16::from_be_bytes).unwrap_or(0)
}

fn mend(frame: &mut [u8], at: usize, change: impl FnOnce(u16) -> u16) {
    if let Some(bytes) = frame.get_mut(at..at + 2) {
        let sum = change(word(bytes));
        bytes.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Where a field is, and the checksums over it.
struct Place {
    at: usize,
    n_bytes: usize,
    header_checksum: Option<usize>,
    transport_checksum: Option<(usize, checksum::Field)>,
}

impl Place {
    fn of(frame: &[u8], field: Field) -> Option<Self> {
        let header = ethernet::Header::parse(frame).ok()?;
        let start = header.len();
        let plain = |at, n_bytes| {
            Some(Self { at: start + at, n_bytes, header_checksum: None, transport_checksum: None })
        };
        match (header.ethertype, field) {
            (EtherType::ARP, Field::ArpOp) => plain(6, 2),
            (EtherType::ARP, Field::ArpSha) => plain(8, 6),
            (EtherType::ARP, Field::ArpSpa) => plain(14, 4),
            (EtherType::ARP, Field::ArpTha) => plain(18, 6),
            (EtherType::ARP, Field::ArpTpa) => plain(24, 4),
            (EtherType::IPV4, _) => Self::in_ipv4(frame.get(start..)?, start, field),
            _ => None,
        }
    }

    fn in_ipv4(packet: &[u8], start: usize, field: Field) -> Option<Self> {
        let ip = ipv4::View::parse(packet).ok()?;
        let transport = start + packet.len().min(usize::from(packet.first()? & 0x0f) * 4);
        let checksum = match ip.protocol() {
            _ if ip.is_later_fragment() => None,
            IpProtocol::TCP => Some((transport + 16, checksum::Field::Complete)),
            IpProtocol::UDP => Some((transport + 6, checksum::Field::CompleteUdp)),
            _ => None,
        };
        let address = |at| Self {
            at: start + at,
            n_bytes: 4,
            header_checksum: Some(start + 10),
            transport_checksum: checksum,
        };
        let port = |protocol: IpProtocol, at| {
            let there = checksum.filter(|_| ip.protocol() == protocol)?;
            let (at, transport_checksum) = (transport + at, Some(there));
            Some(Self { at, n_bytes: 2, header_checksum: None, transport_checksum })
        };
        match field {
            Field::Ipv4Src => Some(address(12)),
            Field::Ipv4Dst => Some(address(16)),
            Field::TcpSrc => port(IpProtocol::TCP, 0),
            Field::TcpDst => port(IpProtocol::TCP, 2),
            Field::UdpSrc => port(IpProtocol::UDP, 0),
            Field::UdpDst => port(IpProtocol::UDP, 2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::{MacAddr, build, tcp};

    fn set(frame: &mut [u8], fields: &[(Field, u128)]) {
        for (field, value) in fields {
            assert!(set_field(frame, *field, *value), "{field:?}");
        }
    }

    const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
    const OLD: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 0, 0, 9]];
    const NEW: [[u8; 4]; 2] = [[192, 0, 2, 7], [10, 0, 255, 2]];

    fn number(address: [u8; 4]) -> u128 {
        u32::from_be_bytes(address).into()
    }

    #[test]
    fn what_is_written_over_is_as_if_it_had_been_built_so() {
        let link = build::ethernet(MACS[0], MACS[1]);
        let ports = |src_port, dst_port| tcp::Header { src_port, dst_port, seq: 7, ..Default::default() };
        let mut frame = link.ipv4(OLD[0], OLD[1]).tcp(&ports(5, 80), b"odd");
        let addresses = [(Field::Ipv4Src, number(NEW[0])), (Field::Ipv4Dst, number(NEW[1]))];
        set(&mut frame, &addresses);
        set(&mut frame, &[(Field::TcpSrc, 6), (Field::TcpDst, 8080)]);
        assert_eq!(frame, link.ipv4(NEW[0], NEW[1]).tcp(&ports(6, 8080), b"odd"));
        let mut frame = link.ipv4(OLD[0], OLD[1]).udp(5, 53, b"x");
        set(&mut frame, &addresses);
        set(&mut frame, &[(Field::UdpSrc, 6), (Field::UdpDst, 5353)]);
        assert_eq!(frame, link.ipv4(NEW[0], NEW[1]).udp(6, 5353, b"x"));
        assert!(!set_field(&mut frame, Field::TcpDst, 1), "it is none of TCP");
        assert!(!set_field(&mut frame, Field::ArpOp, 1), "nor ARP");
    }

    #[test]
    fn a_request_becomes_the_answer_to_it() {
        let request = packet::arp::Packet::request(MACS[0], OLD[0].into(), OLD[1].into());
        let mut frame = build::ethernet(MACS[0], MACS[1]).arp(&request);
        let macs = MACS.map(|mac| u128::from(mac.to_u64()));
        set(&mut frame, &[(Field::ArpOp, 2), (Field::ArpSha, macs[1]), (Field::ArpSpa, number(OLD[1]))]);
        set(&mut frame, &[(Field::ArpTha, macs[0]), (Field::ArpTpa, number(OLD[0]))]);
        assert_eq!(frame[14..], build::arp_reply(&request, MACS[1])[14..]);
    }
}
