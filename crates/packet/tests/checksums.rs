//! Checksums against a sum written naively, and adjustments against computing afresh.

mod common;

use common::{ip, tcp_header, v4};
use packet::checksum::{Delta, Field, Sum, adjust, checksum};
use packet::offload::complete_checksum;
use packet::{CsumPartial, Frame, IpProtocol, ipv4, layout::Layout, tcp, udp};
use proptest::prelude::*;

fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Leaves the transport checksum of a finished frame to the output, as a kernel hands it over.
fn unfinished(bytes: &[u8], offset: usize) -> Frame {
    let mut frame = Frame::from_bytes(bytes);
    let at = Layout::of(&frame).expect("built").transport.expect("IP").at;
    let pseudo = pseudo(&frame);
    frame.head_mut()[at + offset..at + offset + 2].copy_from_slice(&pseudo.fold().to_be_bytes());
    frame.meta.csum = Some(CsumPartial { start: at as u16, offset: offset as u16 });
    frame
}

fn pseudo(frame: &Frame) -> Sum {
    let layout = Layout::of(frame).expect("built");
    let transport = layout.transport.expect("IP");
    let packet = &frame.head()[layout.network_at..];
    let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
    Sum::new().bytes(addresses).word(u16::from(transport.protocol.0)).word(transport.len as u16)
}

#[test]
fn rfc_1071_example() {
    assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
}

#[test]
fn the_longest_frame_does_not_overflow() {
    assert_eq!(checksum(&vec![0xff; 70_000]), naive(&vec![0xff; 70_000]));
}

proptest! {
    #[test]
    fn sum_is_the_naive_one_however_it_is_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut sum, mut from) = (Sum::new(), 0);
        for to in cuts.into_iter().chain([bytes.len()]) {
            sum = sum.bytes(&bytes[from..to]);
            from = to;
        }
        prop_assert_eq!(sum.finish(), naive(&bytes));
        prop_assert_eq!(checksum(&bytes), naive(&bytes));
    }

    #[test]
    fn an_adjusted_checksum_is_right(mut data in prop::collection::vec(any::<u8>(), 8..64), new in any::<[u16; 2]>()) {
        data[2..4].fill(0);
        let sum = checksum(&data);
        data[2..4].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(checksum(&data), 0);
        let old = [u16::from_be_bytes([data[4], data[5]]), u16::from_be_bytes([data[6], data[7]])];
        let delta = Delta::NONE.word(old[0], new[0]).word(old[1], new[1]);
        data[4..6].copy_from_slice(&new[0].to_be_bytes());
        data[6..8].copy_from_slice(&new[1].to_be_bytes());
        data[2..4].copy_from_slice(&adjust(sum, Field::Complete, Delta::NONE, delta).to_be_bytes());
        // RFC 1624 §3: the all-zero sum cannot come up unless every other word is zero.
        let zero = data.iter().enumerate().all(|(i, b)| *b == 0 || i == 2 || i == 3);
        prop_assert!(checksum(&data) == 0 || zero);
    }

    #[test]
    fn completing_equals_building(ip in ip(2), header in tcp_header(), data in prop::collection::vec(any::<u8>(), 0..4000)) {
        for (bytes, offset) in [(ip.tcp(&header, &data), 16), (ip.udp(7, 8, &data), 6)] {
            let mut frame = unfinished(&bytes, offset);
            prop_assert_eq!(complete_checksum(&mut frame), Ok(()));
            prop_assert_eq!(frame.meta.csum, None);
            prop_assert_eq!(frame.to_vec(), bytes);
        }
    }

    #[test]
    fn nat_of_a_partial_frame_equals_nat_of_a_whole_one(
        src in v4(), dst in v4(), new in v4(), port in any::<u16>(), udp in any::<bool>(),
        data in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let ip = packet::build::ethernet(packet::MacAddr::ZERO, packet::MacAddr::ZERO).ipv4(src, dst);
        let header = tcp::Header { src_port: 5, dst_port: 6, ..Default::default() };
        let (bytes, offset) = if udp { (ip.udp(5, 6, &data), 6) } else { (ip.tcp(&header, &data), 16) };
        let mut whole = Frame::from_bytes(&bytes);
        let mut partial = unfinished(&bytes, offset);
        let complete = if udp { Field::CompleteUdp } else { Field::Complete };
        for (frame, kind) in [(&mut whole, complete), (&mut partial, Field::Partial)] {
            translate(frame, kind, new, port);
        }
        complete_checksum(&mut partial).expect("built");
        let at = Layout::of(&whole).expect("built").transport.expect("IP").at;
        let sum = pseudo(&whole).bytes(&whole.head()[at..]).finish();
        prop_assert_eq!(sum, 0, "the whole checksum stayed right");
        let sum = pseudo(&partial).bytes(&partial.head()[at..]).finish();
        prop_assert_eq!(sum, 0, "the partial checksum became right");
    }
}

fn translate(frame: &mut Frame, kind: Field, new: std::net::Ipv4Addr, port: u16) {
    let mut ip = ipv4::ViewMut::parse(&mut frame.head_mut()[14..]).expect("built");
    let pseudo = Delta::NONE.ipv4(ip.view().src(), new);
    ip.set_src(new);
    let protocol = ip.view().protocol();
    let body = Delta::NONE.word(5, port);
    if protocol == IpProtocol::UDP {
        let mut udp = udp::ViewMut::parse(ip.payload_mut()).expect("built");
        udp.set_src_port(port);
        udp.set_checksum(adjust(udp.view().checksum(), kind, pseudo, body));
    } else {
        let mut tcp = tcp::ViewMut::parse(ip.payload_mut()).expect("built");
        tcp.set_src_port(port);
        tcp.set_checksum(adjust(tcp.view().checksum(), kind, pseudo, body));
    }
}

#[test]
fn no_udp_checksum_stays_none() {
    assert_eq!(adjust(0, Field::CompleteUdp, Delta::NONE.word(1, 2), Delta::NONE.word(3, 4)), 0);
}

#[test]
fn a_sum_that_comes_to_zero_is_zero_for_tcp_and_ones_for_udp() {
    let ip = packet::build::ethernet(packet::MacAddr::ZERO, packet::MacAddr::ZERO)
        .ipv4(std::net::Ipv4Addr::new(10, 0, 0, 1), std::net::Ipv4Addr::new(10, 0, 0, 2));
    let header = tcp::Header { src_port: 5, dst_port: 6, ..Default::default() };
    let at = 14 + 20;
    for (build, offset, expected) in [
        (&(|data: &[u8]| ip.tcp(&header, data)) as &dyn Fn(&[u8]) -> Vec<u8>, 16, [0, 0]),
        (&|data| ip.udp(5, 6, data), 6, [0xff, 0xff]),
    ] {
        let plain = build(&[0, 0]);
        let bytes = build(&plain[at + offset..at + offset + 2]);
        let mut frame = unfinished(&bytes, offset);
        complete_checksum(&mut frame).expect("built");
        assert_eq!(frame.head()[at + offset..at + offset + 2], expected);
        assert_eq!(frame.to_vec(), bytes);
    }
}
