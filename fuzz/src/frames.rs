//! Frames: no bytes and no metadata make a parser panic or an offload lie, and a switch with many flows does with them
//! what the oracle says.

use std::cell::RefCell;

use openflow::PortNo;
use packet::layout::Layout;
use packet::offload::{check_meta, complete_checksum, segment, wire_size};
use packet::{
    CsumPartial, Frame, Gso, GsoKind, IpProtocol, Meta, Pool, arp, build, ethernet, icmpv4, icmpv6, ipv4,
    ipv6, nd, tcp, udp,
};

use crate::operations::{self, N_PORTS, Op, Rig};

/// The first eight bytes are the metadata, the port and which flows there are; the rest is the frame.
pub fn frames(data: &[u8]) {
    let Some((meta, bytes)) = data.split_first_chunk::<8>() else { return };
    read(bytes);
    switched(meta, bytes);
    let mut pool = Pool::default();
    let Some(mut frame) = pool.frame_from(bytes) else { return };
    frame.meta = metadata(meta);
    retag(&mut pool, &frame);
    offload(&mut pool, frame);
}

fn metadata(bytes: &[u8; 8]) -> Meta {
    let [flags, start, offset, size_high, size_low, start_high, ..] = *bytes;
    let start = u16::from(start) | u16::from(start_high & 8) << 8;
    let csum = (flags & 1 != 0).then_some(CsumPartial { start, offset: u16::from(offset) });
    let kind = [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp, GsoKind::Udp][usize::from(flags >> 2 & 3)];
    let size = u16::from_be_bytes([size_high, size_low]);
    let gso = (flags & 2 != 0).then_some(Gso { kind, size, ecn: flags & 16 != 0 });
    Meta { csum, gso, ..Meta::default() }
}

fn read(bytes: &[u8]) {
    let Ok(header) = ethernet::Header::parse(bytes) else { return };
    let mut out = vec![0; header.len()];
    assert_eq!(header.emit(&mut out), Ok(out.len()));
    assert_eq!(out, bytes[..out.len()], "what was read is written");
    let packet = &bytes[header.len()..];
    let _ = arp::Packet::parse(packet);
    if let Ok(view) = ipv4::View::parse(packet) {
        assert!(view.header_len() + view.payload().len() == usize::from(view.total_len()));
        transport(view.payload());
    }
    if let Ok(view) = ipv6::View::parse(packet)
        && let Ok(extensions) = view.extensions()
    {
        transport(&view.payload()[extensions.len..]);
    }
    for at in 0..packet.len().min(64) {
        transport(&packet[at..]);
    }
    let link = build::ethernet(header.src, header.dst);
    let _ =
        link.icmpv4_error(core::net::Ipv4Addr::LOCALHOST, &icmpv4::Message::TimeExceeded { code: 0 }, packet);
    let too_big = icmpv6::Message::PacketTooBig { mtu: 1280 };
    let _ = link.icmpv6_error(core::net::Ipv6Addr::LOCALHOST, &too_big, packet);
}

fn transport(bytes: &[u8]) {
    if let Ok(view) = tcp::View::parse(bytes) {
        assert!(view.options().count() <= 40);
    }
    let _ = udp::View::parse(bytes);
    let _ = icmpv4::Message::parse(bytes);
    if let Ok(message) = nd::Message::parse(bytes) {
        let mut out = vec![0; message.emitted_len()];
        assert_eq!(message.emit(&mut out), Ok(out.len()));
        let again = nd::Message::parse(&out);
        assert_eq!(again.as_ref(), Ok(&message), "what was written is read");
    }
}

fn retag(pool: &mut Pool, frame: &Frame) {
    let mut copy = pool.clone_frame(frame);
    if copy.meta.csum.is_some_and(|csum| csum.start < 18) {
        copy.meta.csum = None;
    }
    let (bytes, meta) = (copy.to_vec(), copy.meta);
    if let Some(tag) = copy.pop_vlan() {
        copy.push_vlan(tag).expect("there was room for it");
    }
    assert_eq!((copy.to_vec(), copy.meta), (bytes, meta));
    pool.free(copy);
}

/// Segments are whole: lengths and checksums hold, and together they are as long as was foretold.
fn offload(pool: &mut Pool, frame: Frame) {
    let sane = check_meta(&frame);
    let wire = wire_size(&frame);
    let gso = frame.meta.gso;
    let mut copy = pool.clone_frame(&frame);
    let _ = complete_checksum(&mut copy);
    let mut out = Vec::new();
    let result = segment(frame, pool, &mut out);
    if gso.is_none() {
        return;
    }
    assert!(sane.is_err() || result.is_ok(), "sane metadata can be segmented");
    if let Ok(n) = result {
        assert_eq!((n, n), (out.len(), wire.n_frames as usize));
        assert_eq!(out.iter().map(|f| f.len() as u64).sum::<u64>(), wire.bytes);
        for segment in &out {
            let layout = Layout::of(segment).expect("lengths are true");
            let transport = layout.transport.expect("IP");
            assert_eq!(transport.at + transport.len, segment.len());
            assert!(matches!(transport.protocol, IpProtocol::TCP | IpProtocol::UDP));
        }
    }
}

/// Sets of flows.
const N_SETS: usize = 5;
/// A switch held to the oracle, and one that is given metadata that lies.
struct Switches {
    judged: Rig,
    robust: Rig,
}

impl Switches {
    fn new(set: usize) -> Self {
        let [judged, robust] = [(); 2].map(|()| with_flows(set as u8));
        Self { judged, robust }
    }
}

/// A switch without a cache, so that a finding does not depend on the frames before it, and flows made by dice.
fn with_flows(set: u8) -> Rig {
    let mut rig = Rig::new(0);
    let mut run = |op| rig.run(op).expect("no frame has come yet");
    match set {
        0 => operations::every_field().map(Op::Mod).for_each(&mut run),
        _ => operations::many_flows(set).for_each(&mut run),
    }
    rig.settle().expect("nothing is told yet");
    rig
}

thread_local! {
    static SWITCHES: RefCell<[Option<Switches>; N_SETS]> = const { RefCell::new([const { None }; N_SETS]) };
}

fn switched(meta: &[u8; 8], bytes: &[u8]) {
    let port = 1 + u32::from(meta[6]) % (N_PORTS + 1);
    let set = usize::from(meta[7]) % N_SETS;
    SWITCHES.with_borrow_mut(|switches| {
        let Switches { judged, robust } = switches[set].get_or_insert_with(|| Switches::new(set));
        let judge = |rig: &mut Rig| {
            rig.frame(0, port, bytes)?;
            if let Some(partial) = operations::partial(bytes) {
                rig.offloaded((0, port), bytes, partial)?;
            }
            rig.check_counters()
        };
        if let Err(mismatch) = judge(judged) {
            // The next input must find a switch that is as it was.
            switches[set] = None;
            panic!("{mismatch}");
        }
        let mut frame = Frame::from_bytes(bytes);
        frame.meta = metadata(meta);
        for (_, mut frame) in robust.s.process_frames(0, PortNo(port), frame) {
            let _ = check_meta(&frame);
            let _ = complete_checksum(&mut frame);
        }
        robust.s.idle();
        robust.s.messages();
    });
}

pub fn describe(data: &[u8]) -> String {
    let Some((meta, bytes)) = data.split_first_chunk::<8>() else { return "nothing".to_owned() };
    format!("{:?}, port {}, flows {}, {bytes:02x?}", metadata(meta), meta[6], meta[7])
}
