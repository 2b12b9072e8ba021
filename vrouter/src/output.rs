//! What leaves: link headers, fragments, requests to neighbours.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::ipv4::{self, Header, Options};
use packet::offload;
use packet::vlan::Tag;
use packet::{
    EtherType, Frame, GsoKind, Instant, MacAddr, Outputs, Pool, PortNo, arp, build, ethernet, nd, tcp, udp,
};

use crate::Drop;
use crate::fib::Traffic;
use crate::flow::Ip;
use crate::snapshot::Interface;

/// The hands of a worker: time, buffers, and what it sends.
pub(crate) struct Io<'a> {
    pub now: Instant,
    pub pool: &'a mut Pool,
    pub out: &'a mut Outputs,
}

/// Bytes of the longest packet a frame is on the wire. The frame begins with the IP header.
pub(crate) fn longest(frame: &Frame, ip: &Ip) -> usize {
    let Some(gso) = frame.meta.gso else { return ip.total_len };
    let transport = match gso.kind {
        GsoKind::Udp => udp::HEADER_LEN,
        _ => {
            let bytes = frame.head().get(ip.header_len..).unwrap_or(&[]);
            tcp::View::parse(bytes).map_or(tcp::MIN_HEADER_LEN, |tcp| tcp.header_len())
        }
    };
    (ip.header_len + transport + usize::from(gso.size)).min(ip.total_len)
}

/// The packets that a frame is on the wire, each with headers of its own. The frame begins with the IP header.
pub(crate) fn on_wire(frame: &Frame, ip: &Ip) -> Traffic {
    let (all, longest) = (ip.total_len as u64, longest(frame, ip) as u64);
    let n_packets = match frame.meta.gso {
        Some(gso) if all > longest => {
            let size = u64::from(gso.size).max(1);
            (all + size - longest).div_ceil(size)
        }
        _ => 1,
    };
    let headers = frame.meta.gso.map_or(0, |gso| longest.saturating_sub(gso.size.into()));
    Traffic { n_packets, n_bytes: all + (n_packets - 1) * headers }
}

/// Puts the link header of `interface` in front.
fn push_link(frame: &mut Frame, interface: &Interface, dst: MacAddr) -> Result<usize, Drop> {
    let v6 = frame.head().first().is_some_and(|b| b >> 4 == 6);
    let ethertype = if v6 { EtherType::IPV6 } else { EtherType::IPV4 };
    if interface.vlans == (None, None) {
        let bytes = frame.push_front(ethernet::HEADER_LEN).map_err(|_| Drop::NoHeadroom)?;
        bytes[..6].copy_from_slice(&dst.0);
        bytes[6..12].copy_from_slice(&interface.mac.0);
        bytes[12..ethernet::HEADER_LEN].copy_from_slice(&ethertype.0.to_be_bytes());
        if let Some(csum) = &mut frame.meta.csum {
            csum.start += ethernet::HEADER_LEN as u16;
        }
        return Ok(ethernet::HEADER_LEN);
    }
    let mut header = ethernet::Header { dst, src: interface.mac, tags: Default::default(), ethertype };
    for tag in tags(interface) {
        header.tags.push(tag);
    }
    let len = header.len();
    let bytes = frame.push_front(len).map_err(|_| Drop::NoHeadroom)?;
    header.emit(bytes).expect("the head has grown by the length of the header");
    if let Some(csum) = &mut frame.meta.csum {
        csum.start += len as u16;
    }
    Ok(len)
}

/// Sends a packet to a station, in fragments if it must be. The frame begins with the IP header. Returns the fragments
/// made, none if it went whole.
pub(crate) fn emit(
    io: &mut Io<'_>,
    interface: &Interface,
    dst: MacAddr,
    frame: Frame,
) -> Result<u64, (Frame, Drop)> {
    match Ip::parse(frame.head(), frame.len()) {
        Ok(ip) => {
            let size = (ip.src.is_ipv6(), longest(&frame, &ip));
            emit_sized(io, interface, dst, frame, size)
        }
        Err(why) => Err((frame, why)),
    }
}

/// The same where it is known whether the packet is of IPv6, and how long the longest is that it is on the wire.
pub(crate) fn emit_sized(
    io: &mut Io<'_>,
    interface: &Interface,
    dst: MacAddr,
    mut frame: Frame,
    (is_v6, longest): (bool, usize),
) -> Result<u64, (Frame, Drop)> {
    let Some(port) = interface.port else { return Err((frame, Drop::NoRoute)) };
    let too_long = longest > usize::from(interface.mtu);
    if too_long && is_v6 {
        // RFC 8200 §5: only its source may cut it.
        return Err((frame, Drop::TooBig));
    }
    let link_len = match push_link(&mut frame, interface, dst) {
        Ok(len) => len,
        Err(why) => return Err((frame, why)),
    };
    if !too_long {
        io.out.push((port, frame));
        return Ok(0);
    }
    // Only whole packets with whole checksums can be cut.
    let mut whole = Vec::new();
    if offload::segment(frame, io.pool, &mut whole).is_err() {
        return Err((Frame::new(), Drop::BadTransport));
    }
    let mut n_made = 0;
    for frame in whole {
        if frame.len() <= link_len + usize::from(interface.mtu) {
            io.out.push((port, frame));
        } else {
            n_made += cut(io, port, &frame, link_len, interface.mtu);
            io.pool.free(frame);
        }
    }
    Ok(n_made)
}

/// Cuts a packet into fragments (RFC 791 §3.2), in order; returns their number.
fn cut(io: &mut Io<'_>, port: PortNo, frame: &Frame, link_len: usize, mtu: u16) -> u64 {
    let (link, rest) = frame.head().split_at(link_len);
    let Ok(view) = ipv4::View::parse_head(rest, frame.len() - link_len) else { return 0 };
    let whole = Header::from_view(&view);
    let (payload_at, payload_len) = (link_len + view.header_len(), view.payload_len());
    let step = (usize::from(mtu) - view.header_len()) & !7;
    let mut n_made = 0;
    for start in (0..payload_len).step_by(step.max(8)) {
        let end = (start + step).min(payload_len);
        let header = Header {
            dont_fragment: false,
            more_fragments: end < payload_len || whole.more_fragments,
            fragment_offset: whole.fragment_offset + (start / 8) as u16,
            payload_len: (end - start) as u16,
            options: if start == 0 { whole.options } else { copied_options(whole.options) },
            ..whole
        };
        let mut bytes = [0; ipv4::MAX_HEADER_LEN];
        let Ok(header_len) = header.emit(&mut bytes) else { return n_made };
        let (head, tail) = (frame.head(), frame.tail());
        let (from, to) = (payload_at + start, payload_at + end);
        let in_head = &head[from.min(head.len())..to.min(head.len())];
        let in_tail = &tail[from.saturating_sub(head.len())..to.saturating_sub(head.len())];
        if let Some(mut piece) = io.pool.frame_from_parts(&[link, &bytes[..header_len], in_head, in_tail]) {
            piece.meta.hops = frame.meta.hops;
            io.out.push((port, piece));
            n_made += 1;
        }
    }
    n_made
}

/// The options that every fragment carries: those with the copied flag (RFC 791 §3.1).
fn copied_options(options: Options) -> Options {
    let mut kept = Vec::new();
    let mut rest = options.as_bytes();
    while let [kind, tail @ ..] = rest {
        let len = match (*kind, tail.first()) {
            (0, _) => break,
            (1, _) => 1,
            (_, Some(len)) => usize::from(*len).max(2),
            (_, None) => break,
        };
        let Some((option, next)) = rest.split_at_checked(len) else { break };
        if kind & 0x80 != 0 {
            kept.extend_from_slice(option);
        }
        rest = next;
    }
    Options::new(&kept).unwrap_or(Options::NONE)
}

/// The tags of an interface's frames: with two, the outer is a service tag (IEEE 802.1Q §5.1).
pub(crate) fn tags(interface: &Interface) -> impl DoubleEndedIterator<Item = Tag> {
    let (outer, inner) = interface.vlans;
    let outer = outer.map(|vlan| if inner.is_some() { Tag::service(vlan) } else { Tag::new(vlan) });
    outer.into_iter().chain(inner.map(Tag::new))
}

/// A frame of an interface, to be filled.
pub(crate) fn link(interface: &Interface, dst: MacAddr) -> build::Link {
    tags(interface).fold(build::ethernet(interface.mac, dst), build::Link::tag)
}

/// Sends a whole frame out of an interface.
pub(crate) fn send_frame(io: &mut Io<'_>, interface: &Interface, bytes: &[u8]) {
    if let (Some(port), Some(frame)) = (interface.port, io.pool.frame_from(bytes)) {
        io.out.push((port, frame));
    }
}

/// Asks who has `target`; a station that had it is asked alone (RFC 1122 §2.3.2.1 (2), RFC 4861 §7.2.2).
pub(crate) fn ask(io: &mut Io<'_>, interface: &Interface, target: IpAddr, known: Option<MacAddr>) {
    let own = interface.address_for(target);
    let bytes = match (target, own) {
        (IpAddr::V6(target), Some(IpAddr::V6(own))) => {
            let group = nd::solicited_node(target);
            let (mac, dst) = match known {
                Some(mac) => (mac, target),
                None => (nd::multicast_mac(group), group),
            };
            let question = nd::Message::NeighbourSolicit { target, source: Some(interface.mac) };
            link(interface, mac).ipv6(own, dst).nd(&question)
        }
        (IpAddr::V4(target), own) => {
            let own = match own {
                Some(IpAddr::V4(own)) => own,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            let request = arp::Packet::request(interface.mac, own, target);
            link(interface, known.unwrap_or(MacAddr::BROADCAST)).arp(&request)
        }
        _ => return,
    };
    send_frame(io, interface, &bytes);
}

/// Says that an address is ours, so that neighbours replace what they remember of it, and whoever else has it speaks up
/// (RFC 5227 §2.3; RFC 4861 §7.2.6).
pub(crate) fn announce(io: &mut Io<'_>, interface: &Interface, own: IpAddr) {
    match own {
        IpAddr::V4(own) => {
            let announcement = arp::Packet::request(interface.mac, own, own);
            send_frame(io, interface, &link(interface, MacAddr::BROADCAST).arp(&announcement));
        }
        IpAddr::V6(own) => advertise(io, interface, own, None),
    }
}

/// Asks whether anybody has an address that is to be ours (RFC 4862 §5.4.2).
pub(crate) fn probe(io: &mut Io<'_>, interface: &Interface, own: Ipv6Addr) {
    let group = nd::solicited_node(own);
    let probe = nd::Message::NeighbourSolicit { target: own, source: None };
    let probe = link(interface, nd::multicast_mac(group)).ipv6(Ipv6Addr::UNSPECIFIED, group).nd(&probe);
    send_frame(io, interface, &probe);
}

/// Says where `own` is: to who asked, or to all nodes.
pub(crate) fn advertise(
    io: &mut Io<'_>,
    interface: &Interface,
    own: Ipv6Addr,
    asker: Option<(MacAddr, Ipv6Addr)>,
) {
    let (mac, dst) = asker.unwrap_or((nd::multicast_mac(ALL_NODES), ALL_NODES));
    let solicited = asker.is_some();
    let (router, overrides, mac_of_own) = (true, true, Some(interface.mac));
    let answer = nd::Message::NeighbourAdvert { router, solicited, overrides, target: own, mac: mac_of_own };
    send_frame(io, interface, &link(interface, mac).ipv6(own, dst).nd(&answer));
}

/// Answers for somebody beyond another interface (RFC 4861 §7.2.8): without the override flag.
pub(crate) fn advertise_for(
    io: &mut Io<'_>,
    interface: &Interface,
    target: Ipv6Addr,
    (mac, dst): (MacAddr, Ipv6Addr),
) {
    let Some(own) = interface.link_local else { return };
    let (router, solicited, overrides, of_ours) = (true, true, false, Some(interface.mac));
    let answer = nd::Message::NeighbourAdvert { router, solicited, overrides, target, mac: of_ours };
    send_frame(io, interface, &link(interface, mac).ipv6(own, dst).nd(&answer));
}

/// `ff02::1` (RFC 4291 §2.7.1).
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
