//! Packets for the router itself: echoes are answered, everything else is told that nobody listens.

use std::collections::VecDeque;

use conntrack::Packet;
use core::time::Duration;
use packet::checksum::{Delta, Field, adjust};
use packet::icmpv4::{self, Message, Unreachable};
use packet::{Frame, Instant, IpProtocol, MacAddr, build, ethernet, ipv4, tcp};

use crate::Drop;
use crate::flow::{Flow, Ip, Kind, checksum_holds};
use crate::forwarder::Forwarder;
use crate::neighbour::Waiting;
use crate::output::Io;
use crate::snapshot::{Hop, IfIndex, Snapshot};

/// How long an unsolicited SYN waits for a SYN from inside (RFC 5382 REQ-4).
const SYN_PATIENCE: Duration = Duration::from_secs(6);
/// Most of them.
const MAX_LATE_SYNS: usize = 256;
/// Bytes of each that are kept to be quoted.
const KEPT: usize = 128;

/// SYNs from outside to an outside port that nobody has. They are answered late, and not at all if the inside opens the
/// same connection meanwhile (a simultaneous open).
#[derive(Debug, Default)]
pub(crate) struct LateSyns(VecDeque<(Instant, Packet, Vec<u8>)>);

impl LateSyns {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.front().map(|(at, ..)| *at)
    }
}

impl Forwarder {
    pub(crate) fn local(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        frame: Frame,
        ip: &Ip,
        flow: Option<&Flow>,
    ) {
        let Some(flow) = flow else { return self.drop(io, frame, Drop::NoListener) };
        let outside = s.nat.outside(ip.dst).is_some();
        match (ip.protocol, flow.kind) {
            (IpProtocol::ICMP, Kind::Request) => self.echo(s, io, frame, ip),
            (IpProtocol::ICMP, Kind::Error(_)) if outside => self.drop(io, frame, Drop::NatErrorUnknown),
            (IpProtocol::ICMP, _) => self.drop(io, frame, Drop::IcmpIgnored),
            (IpProtocol::TCP, _) if outside => self.unsolicited(io, frame, flow),
            (IpProtocol::TCP, _) => {
                self.reset(s, io, &frame, ip);
                self.drop(io, frame, Drop::NoListener);
            }
            (IpProtocol::UDP, _) => {
                let why = Message::DestinationUnreachable(Unreachable::Port);
                self.tell(s, io, frame.head(), &why);
                self.drop(io, frame, Drop::NoListener);
            }
            _ => {
                let why = Message::DestinationUnreachable(Unreachable::Protocol);
                self.tell(s, io, frame.head(), &why);
                self.drop(io, frame, Drop::NoProtocol);
            }
        }
    }

    /// Sends an echo request back as a reply (RFC 1122 §3.2.2.6). Fragments go back one by one: only the first has the
    /// type, and its checksum changes by that alone.
    fn echo(&mut self, s: &Snapshot, io: &mut Io<'_>, mut frame: Frame, ip: &Ip) {
        let Some(key) = way_to(s, ip) else { return self.drop(io, frame, Drop::NoRoute) };
        let available = frame.len();
        if !ip.is_fragment() {
            let bytes = frame.head().get(ip.header_len..).unwrap_or(&[]);
            if !checksum_holds(&frame, bytes) {
                return self.drop(io, frame, Drop::BadIcmp);
            }
        }
        if let Ok(mut header) = ipv4::ViewMut::parse_head(frame.head_mut(), available) {
            header.set_src(ip.dst);
            header.set_dst(ip.src);
            header.set_ttl(64);
        }
        if !ip.is_later_fragment()
            && let Some(Ok(mut echo)) = frame.head_mut().get_mut(ip.header_len..).map(icmpv4::ViewMut::parse)
        {
            let code = u16::from(echo.view().code());
            let body = Delta::NONE.word(8 << 8 | code, code);
            let sum = adjust(echo.view().checksum(), Field::Complete, Delta::NONE, body);
            echo.set_kind(0);
            echo.set_checksum(sum);
        }
        self.send(s, io, key, Waiting { frame, undo: None, forwarded: false });
    }

    /// RFC 9293 §3.10.7.1: a segment for a connection that does not exist is answered with a reset.
    fn reset(&mut self, s: &Snapshot, io: &mut Io<'_>, frame: &Frame, ip: &Ip) {
        let bytes = frame.head().get(ip.header_len..).unwrap_or(&[]);
        let (Ok(segment), Some(key)) = (tcp::View::parse(bytes), way_to(s, ip)) else { return };
        let flags = segment.flags();
        if flags.contains(tcp::Flags::RST) || ip.is_fragment() {
            return;
        }
        let data = ip.total_len.saturating_sub(ip.header_len + segment.header_len()) as u32;
        let controls =
            u32::from(flags.contains(tcp::Flags::SYN)) + u32::from(flags.contains(tcp::Flags::FIN));
        let (seq, ack, answer) = match flags.contains(tcp::Flags::ACK) {
            true => (segment.ack(), 0, tcp::Flags::RST),
            false => {
                let ack = segment.seq().wrapping_add(data).wrapping_add(controls);
                (0, ack, tcp::Flags::RST.with(tcp::Flags::ACK))
            }
        };
        let header = tcp::Header {
            src_port: segment.dst_port(),
            dst_port: segment.src_port(),
            seq,
            ack,
            flags: answer,
            window: 0,
            checksum: 0,
            urgent: 0,
            options: Vec::new(),
        };
        let link = build::ethernet(MacAddr::ZERO, MacAddr::ZERO);
        let bytes = link.ipv4(ip.dst, ip.src).tcp(&header, &[]);
        if let Some(frame) = io.pool.frame_from(&bytes[ethernet::HEADER_LEN..]) {
            self.send(s, io, key, Waiting { frame, undo: None, forwarded: false });
        }
    }

    /// TCP from outside to an outside port that nobody has.
    fn unsolicited(&mut self, io: &mut Io<'_>, frame: Frame, flow: &Flow) {
        let syn =
            flow.packet.tcp.is_some_and(|f| f.contains(tcp::Flags::SYN) && !f.contains(tcp::Flags::ACK));
        if syn && self.late_syns.0.len() < MAX_LATE_SYNS {
            let bytes = frame.head().get(..KEPT).unwrap_or(frame.head()).to_vec();
            self.late_syns.0.push_back((io.now + SYN_PATIENCE, flow.packet, bytes));
        }
        self.drop(io, frame, Drop::NoListener);
    }

    pub(crate) fn answer_late_syns(&mut self, s: &Snapshot, io: &mut Io<'_>) {
        while let Some((_, packet, bytes)) = self.late_syns.0.pop_front_if(|(at, ..)| *at <= io.now) {
            let opened = self.shards.of_port(packet.dst.port).peek_in(io.now, &packet).is_some();
            if !opened && s.is_own(packet.dst.addr) {
                self.tell(s, io, &bytes, &Message::DestinationUnreachable(Unreachable::Port));
            }
        }
    }
}

/// Where an answer to a packet goes.
fn way_to(s: &Snapshot, ip: &Ip) -> Option<(IfIndex, core::net::Ipv4Addr)> {
    match s.route(ip.src)? {
        Hop::Connected(interface) => Some((interface, ip.src)),
        Hop::Gateway(interface, via) => Some((interface, via)),
        _ => None,
    }
}
