//! No bytes make a view, a value or an operation on a frame panic; well-formed bytes come back as they were.

mod common;

use common::{extended, frame, nd_message, spoilt, tag};
use packet::layout::Layout;
use packet::offload::{self, check_meta, complete_checksum, wire_size};
use packet::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Reads everything there is to read.
fn exercise(bytes: &[u8]) {
    let _ = Layout::parse(bytes, bytes.len());
    let _ = Layout::parse(bytes, bytes.len() + 100_000);
    let Ok(eth) = ethernet::View::parse(bytes) else { return };
    let _ = ethernet::Header::parse(bytes).map(|header| {
        let mut out = vec![0; header.len()];
        assert_eq!(header.emit(&mut out), Ok(header.len()));
        assert_eq!(out, bytes[..header.len()], "Ethernet header and tags come back");
    });
    let Ok(tags) = eth.tags() else { return };
    for layer in [&bytes[tags.payload_at..], eth.payload(), bytes] {
        exercise_network(layer);
        exercise_transport(layer);
        let mut copy = layer.to_vec();
        exercise_mut(&mut copy);
    }
}

fn exercise_network(bytes: &[u8]) {
    let _ = arp::Packet::parse(bytes).map(|packet| {
        let mut out = [0; arp::PACKET_LEN];
        assert_eq!(packet.emit(&mut out), Ok(arp::PACKET_LEN));
        assert_eq!(out, bytes[..arp::PACKET_LEN]);
    });
    for view in [ipv4::View::parse(bytes), ipv4::View::parse_quoted(bytes), ipv4::View::parse_head(bytes, 40)]
    {
        let Ok(view) = view else { continue };
        let _ = format!("{view:?} {:?}", ipv4::Header::from_view(&view));
        assert!(view.payload().len() <= view.payload_len());
        let _ = (view.verify_checksum(), view.is_later_fragment(), view.dscp(), view.ecn(), view.ttl());
        exercise_transport(view.payload());
    }
    let _ = ipv4::Header::parse(bytes).map(|header| {
        let mut out = vec![0; header.header_len()];
        assert_eq!(header.emit(&mut out), Ok(out.len()));
        if bytes[6] & 0x80 == 0 && bytes[10..12] != [0xff; 2] {
            // The reserved bit is not carried over; a checksum of all ones is written as zero.
            assert_eq!(out, bytes[..out.len()], "IPv4 header comes back");
        }
    });
    for view in [ipv6::View::parse(bytes), ipv6::View::parse_quoted(bytes), ipv6::View::parse_head(bytes, 60)]
    {
        let Ok(view) = view else { continue };
        let _ = format!("{view:?} {:?}", view.extensions());
        let header = ipv6::Header::from_view(&view);
        let mut out = [0; ipv6::HEADER_LEN];
        assert_eq!(header.emit(&mut out), Ok(ipv6::HEADER_LEN));
        assert_eq!(out, bytes[..ipv6::HEADER_LEN], "IPv6 header comes back");
        let _ = view.extensions().map(|ext| {
            assert!(ext.len <= view.payload().len());
            assert!(ext.kinds().count() <= ipv6::MAX_EXTENSIONS);
            exercise_transport(&view.payload()[ext.len..]);
        });
    }
    let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv6Addr::LOCALHOST);
    let link = build::ethernet(MacAddr::ZERO, MacAddr::ZERO);
    let _ = link.icmpv4_error(a, &icmpv4::Message::TimeExceeded { code: 0 }, bytes);
    let _ = link.icmpv6_error(b, &icmpv6::Message::PacketTooBig { mtu: 1280 }, bytes);
}

fn exercise_transport(bytes: &[u8]) {
    let _ = tcp::Header::parse(bytes).map(|header| {
        let mut out = vec![0; header.header_len()];
        assert_eq!(header.emit(&mut out), Ok(out.len()));
        assert_eq!(out, bytes[..out.len()], "TCP header comes back");
    });
    let _ = tcp::View::parse(bytes).map(|tcp| assert!(tcp.options().count() <= 40));
    let _ = udp::Header::parse(bytes).map(|header| {
        let mut out = [0; 8];
        assert_eq!(header.emit(&mut out), Ok(8));
        assert_eq!(out, bytes[..8], "UDP header comes back");
    });
    let _ = udp::View::parse_ports(bytes).map(|udp| (udp.src_port(), udp.payload().len()));
    let _ = (icmpv4::Message::parse(bytes), nd::Message::parse(bytes));
    let _ = icmpv6::Message::parse(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, bytes);
    let _ = icmpv4::View::parse(bytes).map(|v| (v.is_error(), icmpv4::Message::from_view(&v)));
    let _ = icmpv6::View::parse(bytes).map(|v| (v.is_nd(), icmpv6::Message::from_view(&v)));
    assert!(nd::Options::new(bytes).count() <= bytes.len());
}

fn exercise_mut(bytes: &mut [u8]) {
    if let Ok(mut ip) = ipv4::ViewMut::parse_quoted(bytes) {
        let right = ip.view().verify_checksum();
        ip.set_ttl(ip.view().ttl().wrapping_sub(1));
        ip.set_dscp(63);
        ip.set_ecn(3);
        ip.set_src(Ipv4Addr::new(1, 2, 3, 4));
        ip.set_dst(Ipv4Addr::new(5, 6, 7, 8));
        ip.set_identification(7);
        assert_eq!(ip.view().verify_checksum(), right, "setters keep the checksum as right as it was");
        ip.fill_checksum();
        assert!(ip.view().verify_checksum());
        assert_eq!((ip.view().dscp(), ip.view().ecn(), ip.view().identification()), (63, 3, 7));
    }
    if let Ok(mut ip) = ipv6::ViewMut::parse_quoted(bytes) {
        ip.set_dscp(9);
        ip.set_ecn(1);
        ip.set_flow_label(0xffff_ffff);
        ip.set_hop_limit(3);
        assert_eq!((ip.view().dscp(), ip.view().ecn(), ip.view().flow_label()), (9, 1, 0xf_ffff));
        assert_eq!(ip.view().hop_limit(), 3);
    }
    if let Ok(mut tcp) = tcp::ViewMut::parse(bytes) {
        tcp.set_flags(tcp::Flags(0xffff));
        tcp.set_seq(1);
        assert_eq!((tcp.view().flags(), tcp.view().seq()), (tcp::Flags(0xfff), 1));
    }
    if let Ok(mut arp) = arp::ViewMut::parse(bytes) {
        arp.set_operation(arp::Operation::Reply);
        arp.set_target_ip(Ipv4Addr::LOCALHOST);
        assert_eq!(arp.view().target_ip(), Ipv4Addr::LOCALHOST);
    }
}

fn exercise_frame(bytes: &[u8], meta: Meta) {
    let mut pool = Pool::default();
    let mut frame = pool.frame_from(bytes).expect("short");
    frame.meta = meta;
    let _ = (wire_size(&frame), check_meta(&frame));
    let mut copy = pool.clone_frame(&frame);
    let _ = (copy.pop_vlan(), complete_checksum(&mut copy));
    let mut out = Vec::new();
    match offload::segment(frame, &mut pool, &mut out) {
        Ok(n) => assert_eq!(n, out.len()),
        Err(_) => assert!(out.is_empty()),
    }
}

fn meta() -> impl Strategy<Value = Meta> {
    let csum = (0u16..100, 0u16..30).prop_map(|(start, offset)| CsumPartial { start, offset });
    let csum = prop_oneof![csum, any::<[u16; 2]>().prop_map(|[start, offset]| CsumPartial { start, offset })];
    let kind = prop_oneof![Just(GsoKind::Tcp4), Just(GsoKind::Tcp6), Just(GsoKind::Udp)];
    let size = prop_oneof![0u16..20, any::<u16>()];
    let gso = (kind, size, any::<bool>()).prop_map(|(kind, size, ecn)| Gso { kind, size, ecn });
    (prop::option::of(csum), prop::option::of(gso)).prop_map(|(csum, gso)| Meta {
        csum,
        gso,
        ..Meta::default()
    })
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }

    #[test]
    fn frames_cut_at_every_byte(bytes in frame(3)) {
        for n in 0..=bytes.len() {
            exercise(&bytes[..n]);
        }
    }

    #[test]
    fn lying_frames(bytes in spoilt(9)) {
        exercise(&bytes);
    }

    #[test]
    fn lying_metadata(bytes in spoilt(3), meta in meta()) {
        exercise_frame(&bytes, meta);
    }

    #[test]
    fn vlan_push_and_pop_are_inverse(bytes in frame(2), tag in tag(), start in 14u16..2000) {
        let mut frame = Frame::from_bytes(&bytes);
        frame.meta.csum = Some(CsumPartial { start, offset: 6 });
        frame.push_vlan(tag).expect("headroom");
        prop_assert_eq!(frame.outer_vlan(), Some(tag));
        prop_assert_eq!(frame.meta.csum, Some(CsumPartial { start: start + 4, offset: 6 }));
        prop_assert_eq!(frame.len(), bytes.len() + 4);
        prop_assert_eq!(frame.pop_vlan(), Some(tag));
        prop_assert_eq!(frame.meta.csum, Some(CsumPartial { start, offset: 6 }));
        prop_assert_eq!(frame.to_vec(), bytes);
    }

    #[test]
    fn nd_messages_come_back(message in nd_message()) {
        let mut bytes = vec![0; message.emitted_len()];
        prop_assert_eq!(message.emit(&mut bytes), Ok(bytes.len()));
        prop_assert_eq!(nd::Message::parse(&bytes), Ok(message.clone()));
        for n in 0..bytes.len() {
            let _ = nd::Message::parse(&bytes[..n]);
            prop_assert!(message.emit(&mut vec![0; n]).is_err());
        }
    }

    #[test]
    fn parts_join_in_order(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 0..5)) {
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let frame = Pool::default().frame_from_parts(&slices).expect("short");
        prop_assert_eq!(frame.to_vec(), parts.concat());
    }
}

#[test]
fn reasons_are_named() {
    let link = build::ethernet(MacAddr::ZERO, MacAddr::BROADCAST);
    let mut frame = link.ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1, 2, b"abcd");
    let cut = |frame: &[u8]| Layout::parse(frame, frame.len()).map(|_| ());
    assert_eq!(cut(&frame[..13]), Err(ParseError::Truncated(Layer::Ethernet)));
    assert_eq!(cut(&frame[..30]), Err(ParseError::Truncated(Layer::Ipv4)));
    assert_eq!(cut(&frame[..40]), Err(ParseError::Length(Layer::Ipv4)));
    frame[14] = 0x44;
    assert_eq!(cut(&frame), Err(ParseError::HeaderLength(Layer::Ipv4)));
    frame[14] = 0x65;
    assert_eq!(cut(&frame), Err(ParseError::Version(Layer::Ipv4)));
    let ten: Vec<u8> = (0..10).fold(vec![0; 12], |mut v, _| {
        v.extend([0x81, 0, 0, 1]);
        v
    });
    assert_eq!(cut(&ten), Err(ParseError::TooManyTags));
    let (first, bytes) = extended(&[0; 8], &[60; 9], (0, false));
    let many = link.ipv6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST).payload(first, &bytes);
    assert_eq!(cut(&many), Err(ParseError::TooManyExtensions));
    let short = udp::View::parse(&[0, 1, 0, 2, 0, 7, 0, 0]).map(|_| ());
    assert_eq!(short, Err(ParseError::Length(Layer::Udp)));
    let arp = build::arp_request(MacAddr::ZERO, Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
    let mut other = arp[14..].to_vec();
    other[1] = 6;
    assert_eq!(arp::Packet::parse(&other), Err(ParseError::AddressType(Layer::Arp)));
}
