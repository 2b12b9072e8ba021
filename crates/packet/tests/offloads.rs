//! Segments of super-frames, judged as a receiver would.

mod common;

use common::{ip, tcp_header};
use packet::checksum::Sum;
use packet::layout::Layout;
use packet::offload::{OffloadError, WireSize, check_meta, segment, wire_size};
use packet::{
    CsumPartial, EtherType, Frame, Gso, GsoKind, IpProtocol, MacAddr, Pool, build, ipv4, ipv6, tcp, udp, vlan,
};
use proptest::prelude::*;

/// A super-frame as a guest hands it over: transport checksum left partial.
fn super_frame(bytes: &[u8], size: u16) -> Frame {
    let mut frame = Pool::default().frame_from(bytes).expect("fits");
    let layout = Layout::of(&frame).expect("built");
    let transport = layout.transport.expect("IP");
    let (kind, offset) = match (transport.protocol, layout.ethertype) {
        (IpProtocol::UDP, _) => (GsoKind::Udp, 6),
        (_, EtherType::IPV4) => (GsoKind::Tcp4, 16),
        _ => (GsoKind::Tcp6, 16),
    };
    let field = transport.at + offset;
    frame.head_mut()[field..field + 2].fill(0xee);
    frame.meta.csum = Some(CsumPartial { start: transport.at as u16, offset: offset as u16 });
    frame.meta.gso = Some(Gso { kind, size, ecn: false });
    frame
}

/// What a receiver sees of a segment: link header, IP identification, transport header, payload.
struct Seen {
    link: Vec<u8>,
    id: u16,
    tcp: Option<tcp::Header>,
    payload: Vec<u8>,
    longest: usize,
}

fn receive(frame: &Frame) -> Seen {
    let bytes = frame.to_vec();
    assert_eq!((frame.meta.csum, frame.meta.gso), (None, None));
    let layout = Layout::parse(&bytes, bytes.len()).expect("lengths are true");
    let transport = layout.transport.expect("IP");
    let packet = &bytes[layout.network_at..];
    let (id, len, addresses) = if layout.ethertype == EtherType::IPV4 {
        let view = ipv4::View::parse(packet).expect("lengths are true");
        assert!(view.verify_checksum());
        (view.identification(), usize::from(view.total_len()), &packet[12..20])
    } else {
        let view = ipv6::View::parse(packet).expect("lengths are true");
        (0, ipv6::HEADER_LEN + view.payload_len(), &packet[8..40])
    };
    assert_eq!(len, packet.len(), "no padding, no lie");
    let body = &bytes[transport.at..];
    let pseudo = Sum::new().bytes(addresses).word(u16::from(transport.protocol.0)).word(body.len() as u16);
    assert_eq!(pseudo.bytes(body).finish(), 0, "the checksum is right");
    let (tcp, payload) = match transport.protocol {
        IpProtocol::TCP => {
            (Some(tcp::Header::parse(body).expect("TCP")), tcp::View::parse(body).expect("TCP").payload())
        }
        _ => {
            let view = udp::View::parse(body).expect("UDP");
            assert_eq!(usize::from(view.len()), body.len());
            (None, view.payload())
        }
    };
    let link = bytes[..layout.network_at].to_vec();
    Seen { link, id, tcp, payload: payload.to_vec(), longest: bytes.len() }
}

fn check(bytes: &[u8], data: &[u8], size: u16) {
    let mut pool = Pool::default();
    let whole = super_frame(bytes, size);
    assert_eq!(check_meta(&whole), Ok(()));
    let wire = wire_size(&whole);
    let mut out = Vec::new();
    let n = segment(whole, &mut pool, &mut out).expect("well-formed");
    assert_eq!((n, n), (out.len(), data.len().div_ceil(usize::from(size)).max(1)));
    let seen: Vec<Seen> = out.iter().map(receive).collect();
    let expected = WireSize {
        n_frames: n as u32,
        bytes: out.iter().map(|f| f.len() as u64).sum(),
        longest: seen.iter().map(|s| s.longest as u32).max().expect("one at least"),
    };
    assert_eq!(wire, expected);
    let joined: Vec<u8> = seen.iter().flat_map(|s| s.payload.clone()).collect();
    assert_eq!(joined, data, "the payload comes through");
    let layout = Layout::parse(bytes, bytes.len()).expect("built");
    let original = tcp::Header::parse(&bytes[layout.transport.expect("IP").at..]);
    for (i, segment) in seen.iter().enumerate() {
        assert_eq!(segment.link, bytes[..layout.network_at], "addresses and tags stay");
        assert_eq!(
            segment.id,
            seen[0].id.wrapping_add(if layout.ethertype == EtherType::IPV4 { i as u16 } else { 0 })
        );
        assert!(i + 1 == n || segment.payload.len() == usize::from(size));
        let Some(tcp) = &segment.tcp else { continue };
        check_tcp(tcp, original.as_ref().expect("TCP"), i, n, size);
    }
}

fn check_tcp(tcp: &tcp::Header, original: &tcp::Header, i: usize, n: usize, size: u16) {
    use tcp::Flags;
    assert_eq!(tcp.seq, original.seq.wrapping_add((i * usize::from(size)) as u32));
    let mut flags = original.flags;
    if i + 1 < n {
        flags = flags.without(Flags::FIN).without(Flags::PSH);
    }
    if i > 0 {
        flags = flags.without(Flags::CWR);
    }
    let expected = tcp::Header { seq: tcp.seq, checksum: tcp.checksum, flags, ..original.clone() };
    assert_eq!(*tcp, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn segments_are_what_a_sender_would_have_sent(
        ip in ip(3), header in tcp_header(), n in 0usize..65_000, size in 64u16..9000, seed in any::<u8>(),
    ) {
        let data: Vec<u8> = (0..n).map(|i| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ seed).collect();
        let mut header = header;
        header.options.resize(header.options.len().next_multiple_of(4), 0);
        check(&ip.tcp(&header, &data), &data, size);
        check(&ip.udp(1, 2, &data), &data, size);
    }
}

#[test]
fn a_frame_that_is_no_super_frame_passes() {
    let bytes =
        build::ethernet(MacAddr::ZERO, MacAddr::ZERO).ipv4([1, 2, 3, 4], [5, 6, 7, 8]).udp(1, 2, b"x");
    let mut out = Vec::new();
    assert_eq!(segment(Frame::from_bytes(&bytes), &mut Pool::default(), &mut out), Ok(1));
    assert_eq!(out[0].to_vec(), bytes);
}

#[test]
fn a_tag_pushed_onto_a_super_frame_is_on_every_segment() {
    let ip = build::ethernet(MacAddr::ZERO, MacAddr::BROADCAST).ipv4([1, 2, 3, 4], [5, 6, 7, 8]);
    let tcp = tcp::Header { flags: tcp::Flags::ACK, ..Default::default() };
    let mut frame = super_frame(&ip.tcp(&tcp, &[7; 5000]), 1000);
    let tag = vlan::Tag::new(packet::VlanId::new(10).expect("in range"));
    frame.push_vlan(tag).expect("headroom");
    assert_eq!(check_meta(&frame), Ok(()));
    let mut out = Vec::new();
    segment(frame, &mut Pool::default(), &mut out).expect("well-formed");
    assert_eq!(out.len(), 5);
    for segment in &out {
        receive(segment);
        assert_eq!(segment.outer_vlan(), Some(tag));
    }
}

#[test]
fn impossible_super_frames_are_refused_and_their_buffers_kept() {
    let ip = build::ethernet(MacAddr::ZERO, MacAddr::ZERO).ipv4([1, 2, 3, 4], [5, 6, 7, 8]);
    let tcp = ip.tcp(&tcp::Header::default(), &[0; 5000]);
    let mut pool = Pool::default();
    let mut refuse = |frame: Frame| {
        let mut out = Vec::new();
        let reason = segment(frame, &mut pool, &mut out).expect_err("impossible");
        assert!(out.is_empty());
        reason
    };
    assert_eq!(refuse(super_frame(&tcp, 0)), OffloadError::SegmentSize);
    assert_eq!(refuse(super_frame(&tcp, 4)), OffloadError::SegmentSize);
    let mut wrong = super_frame(&tcp, 1000);
    wrong.meta.gso = Some(Gso { kind: GsoKind::Tcp6, size: 1000, ecn: false });
    assert_eq!(refuse(wrong), OffloadError::Kind);
    let fragment = ip.with_ipv4(|h| h.more_fragments = true).udp(1, 2, &[0; 100]);
    assert_eq!(refuse(super_frame(&fragment, 50)), OffloadError::Kind);
    let mut outside = Frame::from_bytes(&tcp[..60]);
    outside.meta.csum = Some(CsumPartial { start: 50, offset: 16 });
    assert_eq!(check_meta(&outside), Err(OffloadError::ChecksumPlace));
    assert_eq!(refuse(outside), OffloadError::ChecksumPlace);
}
