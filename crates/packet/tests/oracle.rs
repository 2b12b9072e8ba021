//! Views and builders against etherparse.

mod common;

use common::{frame, ip, spoilt, tcp_header};
use etherparse::{InternetSlice, LinkExtSlice, SlicedPacket, TransportSlice};
use packet::layout::Layout;
use packet::{EtherType, arp, ethernet, icmpv4, icmpv6, ipv4, ipv6, tcp, udp};
use proptest::prelude::*;

/// What etherparse accepts, the views accept with the same values.
fn agree(bytes: &[u8]) {
    let Ok(theirs) = SlicedPacket::from_ethernet(bytes) else { return };
    if theirs.link_exts.iter().any(|ext| !matches!(ext, LinkExtSlice::Vlan(_))) {
        return;
    }
    let tags = ethernet::View::parse(bytes).expect("accepted by the oracle").tags();
    let Ok(tags) = tags else { panic!("tags refused: {bytes:02x?}") };
    for (ours, theirs) in tags.list.iter().zip(&theirs.link_exts) {
        let LinkExtSlice::Vlan(vlan) = theirs else { unreachable!("filtered above") };
        assert_eq!(ours.tci.vid(), vlan.vlan_identifier().value());
        assert_eq!(ours.tci.pcp(), vlan.priority_code_point().value());
        assert_eq!(ours.tci.dei(), vlan.drop_eligible_indicator());
    }
    let (ethertype, rest) = (tags.ethertype, &bytes[tags.payload_at..]);
    if tags.list.len() != theirs.link_exts.len() {
        // 0x9100 is a tag to the oracle; more than three tags are payload to it.
        return;
    }
    match &theirs.net {
        None => {}
        Some(InternetSlice::Arp(packet)) => {
            if let (Ok(ours), Ok(theirs)) = (arp::View::parse(rest), packet.to_packet().try_eth_ipv4()) {
                assert_eq!(ours.sender_mac().0, theirs.sender_mac);
                assert_eq!(ours.sender_ip().octets(), theirs.sender_ipv4);
                assert_eq!(ours.target_mac().0, theirs.target_mac);
                assert_eq!(ours.target_ip().octets(), theirs.target_ipv4);
                assert_eq!(ours.operation().to_u16(), theirs.operation.0);
            }
        }
        Some(InternetSlice::Ipv4(theirs4)) => {
            assert_eq!(ethertype, EtherType::IPV4);
            agree_ipv4(rest, theirs4);
            agree_transport(bytes, &theirs);
        }
        Some(InternetSlice::Ipv6(theirs6)) => {
            assert_eq!(ethertype, EtherType::IPV6);
            agree_ipv6(rest, theirs6);
            agree_transport(bytes, &theirs);
        }
    }
}

fn agree_ipv4(bytes: &[u8], slice: &etherparse::Ipv4Slice<'_>) {
    let ours = ipv4::View::parse(bytes).expect("accepted by the oracle");
    let theirs = slice.header();
    assert_eq!(ours.src(), theirs.source_addr());
    assert_eq!(ours.dst(), theirs.destination_addr());
    assert_eq!(ours.protocol().0, theirs.protocol().0);
    assert_eq!((ours.dscp(), ours.ecn()), (theirs.dcp().value(), theirs.ecn().value()));
    assert_eq!((ours.ttl(), ours.total_len()), (theirs.ttl(), theirs.total_len()));
    assert_eq!(ours.fragment_offset(), theirs.fragments_offset().value());
    assert_eq!(ours.is_fragment(), theirs.is_fragmenting_payload());
    assert_eq!(ours.options(), theirs.options());
    let sum = theirs.to_header().calc_header_checksum();
    if bytes[6] & 0x80 == 0 && theirs.header_checksum() != 0xffff {
        assert_eq!(ours.verify_checksum(), sum == theirs.header_checksum());
    }
}

fn agree_ipv6(bytes: &[u8], slice: &etherparse::Ipv6Slice<'_>) {
    let ours = ipv6::View::parse(bytes).expect("accepted by the oracle");
    let theirs = slice.header();
    assert_eq!(ours.src(), theirs.source_addr());
    assert_eq!(ours.dst(), theirs.destination_addr());
    assert_eq!(ours.traffic_class(), theirs.traffic_class());
    assert_eq!(ours.flow_label(), theirs.flow_label().value());
    assert_eq!(ours.hop_limit(), theirs.hop_limit());
    let Ok(ext) = ours.extensions() else {
        assert!(slice.extensions().slice().len() >= 8 * ipv6::MAX_EXTENSIONS, "only a long chain is refused");
        return;
    };
    // A payload length of zero is a jumbogram or the whole slice to the oracle.
    if !ext.is_later_fragment() && ours.payload_len() != 0 {
        assert_eq!(ext.protocol.0, slice.payload().ip_number.0);
        assert_eq!(ext.len, slice.extensions().slice().len());
        assert_eq!(&ours.payload()[ext.len..], slice.payload().payload);
    }
}

fn agree_transport(bytes: &[u8], theirs: &SlicedPacket<'_>) {
    let Some(theirs) = &theirs.transport else { return };
    let layout = Layout::parse(bytes, bytes.len()).expect("accepted by the oracle");
    let transport = layout.transport.expect("accepted by the oracle");
    let Some(rest) = bytes.get(transport.at..transport.at + transport.len).filter(|r| !r.is_empty()) else {
        return;
    };
    match theirs {
        TransportSlice::Udp(theirs) => {
            // A length of zero is "all the rest" to the oracle.
            if let Ok(ours) = udp::View::parse(rest) {
                assert_eq!(
                    (ours.src_port(), ours.dst_port()),
                    (theirs.source_port(), theirs.destination_port())
                );
                assert_eq!(ours.payload(), theirs.payload());
            } else {
                assert_eq!(theirs.length(), 0);
            }
        }
        TransportSlice::Tcp(theirs) => {
            let ours = tcp::View::parse(rest).expect("accepted by the oracle");
            assert_eq!((ours.src_port(), ours.dst_port()), (theirs.source_port(), theirs.destination_port()));
            assert_eq!((ours.seq(), ours.ack()), (theirs.sequence_number(), theirs.acknowledgment_number()));
            assert_eq!(ours.flags().contains(tcp::Flags::SYN), theirs.syn());
            assert_eq!(ours.flags().contains(tcp::Flags::CWR), theirs.cwr());
            assert_eq!(ours.flags().contains(tcp::Flags::FIN), theirs.fin());
            assert_eq!((ours.window(), ours.urgent()), (theirs.window_size(), theirs.urgent_pointer()));
            assert_eq!((ours.option_bytes(), ours.payload()), (theirs.options(), theirs.payload()));
            agree_options(&ours, theirs);
        }
        TransportSlice::Icmpv4(theirs) => {
            let ours = icmpv4::View::parse(rest).expect("accepted by the oracle");
            assert_eq!((ours.kind(), ours.code()), (theirs.type_u8(), theirs.code_u8()));
        }
        TransportSlice::Icmpv6(theirs) => {
            let ours = icmpv6::View::parse(rest).expect("accepted by the oracle");
            assert_eq!((ours.kind(), ours.code()), (theirs.type_u8(), theirs.code_u8()));
            assert_eq!(ours.rest(), theirs.bytes5to8());
        }
        TransportSlice::Igmp(_) => {}
    }
}

fn agree_options(ours: &tcp::View<'_>, theirs: &etherparse::TcpSlice<'_>) {
    use etherparse::TcpOptionElement as Theirs;
    use tcp::TcpOption as Ours;
    for (ours, theirs) in
        ours.options().zip(theirs.options_iterator().filter(|o| !matches!(o, Ok(Theirs::Noop))))
    {
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else { return };
        match (ours, theirs) {
            (Ours::MaxSegmentSize(ours), Theirs::MaximumSegmentSize(theirs)) => assert_eq!(ours, theirs),
            (Ours::WindowScale(ours), Theirs::WindowScale(theirs)) => assert_eq!(ours, theirs),
            (Ours::SackPermitted, Theirs::SelectiveAcknowledgementPermitted) => {}
            (Ours::Timestamps(a, b), Theirs::Timestamp(c, d)) => assert_eq!((a, b), (c, d)),
            (Ours::Other(5, _), Theirs::SelectiveAcknowledgement(..)) => {}
            (ours, theirs) => panic!("{ours:?} is {theirs:?} to the oracle"),
        }
    }
}

/// The transport checksum of a frame, and what the oracle computes.
fn checksums(bytes: &[u8]) -> (u16, u16) {
    let sliced = SlicedPacket::from_ethernet(bytes).expect("a built frame is well-formed");
    let (net, transport) = (sliced.net.expect("IP"), sliced.transport.expect("a transport"));
    match (net, transport) {
        (InternetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            (
                header.checksum,
                header.calc_checksum_ipv4(&ip.header().to_header(), udp.payload()).expect("short"),
            )
        }
        (InternetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            (
                header.checksum,
                header.calc_checksum_ipv6(&ip.header().to_header(), udp.payload()).expect("short"),
            )
        }
        (InternetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => (
            tcp.checksum(),
            tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).expect("short"),
        ),
        (InternetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => (
            tcp.checksum(),
            tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()).expect("short"),
        ),
        (InternetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
            assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
            (0, 0)
        }
        (InternetSlice::Ipv4(_), TransportSlice::Icmpv4(icmp)) => {
            (icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()))
        }
        (_, other) => panic!("unexpected {other:?}"),
    }
}

proptest! {
    #[test]
    fn well_formed_frames_are_read_alike(bytes in frame(3)) {
        agree(&bytes);
    }

    #[test]
    fn spoilt_frames_are_read_alike(bytes in spoilt(3)) {
        agree(&bytes);
    }

    #[test]
    fn random_bytes_are_read_alike(bytes in prop::collection::vec(any::<u8>(), 14..120), kind in 0usize..5) {
        let mut bytes = bytes;
        let ethertype = [0x0800u16, 0x86dd, 0x8100, 0x0806, 0x88a8][kind];
        bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
        agree(&bytes);
    }

    #[test]
    fn built_checksums_are_the_oracles(
        ip in ip(3), header in tcp_header(), ports in any::<[u16; 2]>(),
        data in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        for bytes in [ip.udp(ports[0], ports[1], &data), ip.tcp(&header, &data), ip.echo_request(1, 2, &data)] {
            let (ours, theirs) = checksums(&bytes);
            prop_assert_eq!(ours, theirs);
            agree(&bytes);
        }
    }
}
