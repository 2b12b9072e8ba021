//! Frames of few addresses, ports and protocols, so that they meet the flows.

use packet::{EtherType, Frame, IpProtocol, MacAddr, build, icmpv4, tcp};

use super::Dice;

pub(super) fn mac(dice: &mut Dice<'_>) -> MacAddr {
    dice.pick(&[
        MacAddr([2, 0, 0, 0, 0, 1]),
        MacAddr([2, 0, 0, 0, 0, 2]),
        MacAddr([2, 0, 0, 0, 1, 3]),
        MacAddr::BROADCAST,
    ])
}

pub(super) fn v4(dice: &mut Dice<'_>) -> [u8; 4] {
    let n = dice.below(9) as u8;
    [10, 0, n / 3, n % 3 * 85]
}

pub(super) fn v6(dice: &mut Dice<'_>) -> [u16; 8] {
    let n = dice.below(9);
    [0xfd00, n / 3, 0, 0, 0, 0, 0, n % 3]
}

pub(super) fn l4(dice: &mut Dice<'_>) -> u16 {
    dice.pick(&[0, 22, 80, 4242])
}

/// A frame with one or two shims in front of the packet, or as the customer frame of a provider's.
fn behind_shims(bytes: &[u8], kind: u16, ttl: u8) -> Vec<u8> {
    let (addresses, rest) = bytes.split_at(12);
    let shim = |bottom: u8| [0, 1, 0x40 | bottom, ttl];
    let front = match kind {
        14 => [&[0x88, 0x47][..], &shim(1), &rest[2..]].concat(),
        15 => [&[0x88, 0x47][..], &shim(0), &shim(1), &rest[2..]].concat(),
        16 => [&[0x88, 0xe7, 0, 0, 0, 5][..], addresses, rest].concat(),
        _ => [&[0x88, 0xa8, 0, 5, 0x88, 0xe7, 8, 0, 0, 5][..], addresses, rest].concat(),
    };
    [addresses, &front].concat()
}

/// A frame of any kind; one in eight is cut.
pub fn frame(dice: &mut Dice<'_>) -> Vec<u8> {
    let kind = dice.below(18);
    let (src, dst) = (mac(dice), mac(dice));
    let mut link = build::ethernet(src, dst);
    for tci in dice.list(2, |dice| dice.pick(&[0u16, 5, 10, 0x6005, 0xe00a])) {
        link = link.tag(packet::vlan::Tag { tpid: EtherType(0x8100), tci: packet::vlan::Tci(tci) });
    }
    let (s4, d4) = (v4(dice), v4(dice));
    let (s6, d6) = (v6(dice), v6(dice));
    let (sp, dp) = (l4(dice), l4(dice));
    let ttl = dice.pick(&[64u8, 0, 1, 2]);
    let dscp = dice.pick(&[0u8, 10, 1, 46]);
    let ip4 = link.ipv4(s4, d4).ttl(ttl).dscp(dscp);
    let ip6 = link.ipv6(s6, d6).ttl(ttl);
    let header =
        tcp::Header { src_port: sp, dst_port: dp, flags: tcp::Flags(0x012), ..tcp::Header::default() };
    let mut bytes = match kind {
        0 => ip4.tcp(&header, b"payload"),
        1 => ip4.udp(sp, dp, b"x"),
        2 => ip4.echo_request(sp, dp, b"ping"),
        3 => ip4.with_ipv4(|h| h.fragment_offset = 2).payload(IpProtocol::TCP, &[7; 40]),
        4 => ip4.with_ipv4(|h| h.more_fragments = true).udp(sp, dp, b"first"),
        5 => ip6.tcp(&header, b"six"),
        6 => ip6.udp(sp, dp, b"odd"),
        7 => link.arp(&packet::arp::Packet::request(src, s4.into(), d4.into())),
        8 => build::neighbour_solicit(src, s6.into(), d6.into()),
        9 => ip4.payload(IpProtocol(132), &[1; 30]),
        10 => link.payload(EtherType(0x8847), &[0, 1, 0x41, 64, 0x45, 0]),
        11 => link.payload(EtherType(40), &[0xaa; 50]),
        12 => ip6.payload(IpProtocol(0), &[6, 0, 1, 4, 0, 0, 0, 0, 0, 22, 0, 80]),
        13 => ip4.icmpv4(&icmpv4::Message::TimeExceeded { code: 0 }, &[0; 28]),
        n if n % 2 == 0 => ip4.tcp(&header, b"inner"),
        _ => ip6.udp(sp, dp, b"inner"),
    };
    if kind >= 14 {
        bytes = behind_shims(&bytes, kind, ttl);
    }
    if dice.chance(32) {
        bytes.truncate((usize::from(dice.byte()) % bytes.len()).max(13));
    }
    bytes
}

/// The same frame with its checksum left to the output (RFC 793 §3.1, virtio-net); none if it has no checksum that
/// could be compared.
pub fn partial(bytes: &[u8]) -> Option<Frame> {
    let layout = packet::layout::Layout::parse(bytes, bytes.len()).ok()?;
    let transport = layout.transport.filter(|t| !t.is_fragment)?;
    let offset = match transport.protocol {
        IpProtocol::TCP => 16,
        IpProtocol::UDP => 6,
        _ => return None,
    };
    let field = transport.at + offset;
    if transport.len < 20.min(offset + 12) || bytes.len() < field + 2 {
        return None;
    }
    // A checksum of none, one that was wrong before, or the other way to write zero cannot be compared.
    let sum = |b: &[u8]| packet::checksum::Sum::new().bytes(b);
    let body = sum(&bytes[transport.at..transport.at + transport.len]);
    let old = u16::from_be_bytes([bytes[field], bytes[field + 1]]);
    if transport.len + transport.at != bytes.len() || matches!(old, 0 | 0xffff) {
        return None;
    }
    // The sum over header and payload without the field, subtracted from what the checksum says, is the pseudo header's.
    let without = packet::checksum::Delta::NONE.word(old, 0).apply_to_sum(body.fold());
    let pseudo = packet::checksum::Delta::NONE.word(without, 0).apply_to_sum(!old);
    let mut frame = Frame::from_bytes(bytes);
    frame.head_mut()[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
    frame.meta.csum = Some(packet::CsumPartial { start: transport.at as u16, offset: offset as u16 });
    (pseudo != 0).then_some(frame)
}
