//! Packets for the router itself: echoes are answered, everything else is told that nobody listens.

use std::collections::VecDeque;

use conntrack::Packet;
use core::time::Duration;
use packet::checksum::{Delta, Field, adjust};
use packet::{Frame, Instant, IpProtocol, MacAddr, build, ethernet, icmpv4, tcp};

use crate::Drop;
use crate::flow::{Flow, Ip, Kind, checksum_holds};
use crate::forwarder::Forwarder;
use crate::neighbour::Waiting;
use crate::output::Io;
use crate::rewrite::{set_addresses, set_ttl};
use crate::snapshot::{IfIndex, Snapshot};
use crate::tell::Tell;

/// How long an unsolicited SYN waits for a SYN from inside (RFC 5382 REQ-4).
const SYN_PATIENCE: Duration = Duration::from_secs(6);
/// Most of them.
const MAX_LATE_SYNS: usize = 256;
/// Bytes of each that are kept to be quoted.
const KEPT: usize = 128;

/// SYNs from outside to an outside port that nobody has. They are answered late, and not at all if the inside opens the
/// same connection meanwhile (a simultaneous open).
#[derive(Debug, Default)]
pub(crate) struct LateSyns(VecDeque<LateSyn>);

#[derive(Debug)]
struct LateSyn {
    due: Instant,
    arrival: IfIndex,
    packet: Packet,
    bytes: Vec<u8>,
}

impl LateSyns {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.front().map(|late| late.due)
    }
}

impl Forwarder {
    pub(crate) fn local(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        (frame, arrival): (Frame, IfIndex),
        ip: &Ip,
        flow: Option<&Flow>,
    ) {
        let Some(flow) = flow else { return self.drop(io, frame, Drop::NoListener) };
        if self.unused.holds(ip.dst) {
            return self.drop(io, frame, Drop::DuplicateAddress);
        }
        let Some(frame) = self.punt(s, io, (frame, arrival), ip) else { return };
        let is_echo = ip.is_icmp() && flow.kind == Kind::Request;
        if let Some(shadow) = s.shadow_for(arrival, ip.dst).filter(|_| !is_echo) {
            // Who sent it is not known here any more, and no kernel asks.
            return self.hand_up(io, frame, (arrival, shadow), (MacAddr::ZERO, s.interface(arrival).mac));
        }
        let outside = s.nat.outside(s.interface(arrival).vrf, ip.dst).is_some();
        match (ip.protocol, flow.kind) {
            (_, Kind::Request) if ip.is_icmp() => self.echo(s, io, (frame, arrival), ip),
            (_, Kind::Error(_)) if outside => self.drop(io, frame, Drop::NatErrorUnknown),
            _ if ip.is_icmp() => self.drop(io, frame, Drop::IcmpIgnored),
            (IpProtocol::TCP, _) if outside => self.unsolicited(io, (frame, arrival), flow),
            (IpProtocol::TCP, _) => {
                self.reset(s, io, (&frame, arrival), ip);
                self.drop(io, frame, Drop::NoListener);
            }
            (IpProtocol::UDP, _) => {
                self.tell(s, io, arrival, frame.head(), Tell::Port);
                self.drop(io, frame, Drop::NoListener);
            }
            _ => {
                let pointer = next_header_at(frame.head(), ip);
                self.tell(s, io, arrival, frame.head(), Tell::Protocol(pointer));
                self.drop(io, frame, Drop::NoProtocol);
            }
        }
    }

    /// Sends an echo request back as a reply (RFC 1122 §3.2.2.6). Fragments go back one by one: only the first has the
    /// type, and its checksum changes by that alone.
    fn echo(&mut self, s: &Snapshot, io: &mut Io<'_>, (mut frame, arrival): (Frame, IfIndex), ip: &Ip) {
        let Some(key) = s.way_to(arrival, ip.src) else { return self.drop(io, frame, Drop::NoRoute) };
        let available = frame.len();
        if !ip.is_fragment() && !checksum_holds(&frame, ip) {
            return self.drop(io, frame, Drop::BadIcmp);
        }
        // Swapped, they leave the sum of the pseudo header as it is.
        set_addresses(frame.head_mut(), available, (ip.dst, ip.src));
        set_ttl(&mut frame, 64);
        let (request, reply) = if ip.src.is_ipv4() { (8, 0) } else { (128, 129) };
        if !ip.is_later_fragment()
            && let Some(Ok(mut echo)) = frame.head_mut().get_mut(ip.header_len..).map(icmpv4::ViewMut::parse)
        {
            let code = u16::from(echo.view().code());
            let body = Delta::NONE.word(request << 8 | code, reply << 8 | code);
            let sum = adjust(echo.view().checksum(), Field::Complete, Delta::NONE, body);
            echo.set_kind(reply as u8);
            echo.set_checksum(sum);
        }
        self.send(s, io, key, Waiting { frame, undo: None, arrival: None });
    }

    /// RFC 9293 §3.10.7.1: a segment for a connection that does not exist is answered with a reset.
    pub(crate) fn reset(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        (frame, arrival): (&Frame, IfIndex),
        ip: &Ip,
    ) {
        let bytes = frame.head().get(ip.header_len..).unwrap_or(&[]);
        let (Ok(segment), Some(key)) = (tcp::View::parse(bytes), s.way_to(arrival, ip.src)) else { return };
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
        let bytes = link.ip(ip.dst, ip.src).tcp(&header, &[]);
        if let Some(frame) = io.pool.frame_from(&bytes[ethernet::HEADER_LEN..]) {
            self.send(s, io, key, Waiting { frame, undo: None, arrival: None });
        }
    }

    /// TCP from outside to an outside port that nobody has.
    fn unsolicited(&mut self, io: &mut Io<'_>, (frame, arrival): (Frame, IfIndex), flow: &Flow) {
        let syn =
            flow.packet.tcp.is_some_and(|f| f.contains(tcp::Flags::SYN) && !f.contains(tcp::Flags::ACK));
        if syn && self.late_syns.0.len() < MAX_LATE_SYNS {
            let bytes = frame.head().get(..KEPT).unwrap_or(frame.head()).to_vec();
            let due = io.now + SYN_PATIENCE;
            self.late_syns.0.push_back(LateSyn { due, arrival, packet: flow.packet, bytes });
        }
        self.drop(io, frame, Drop::NoListener);
    }

    pub(crate) fn answer_late_syns(&mut self, s: &Snapshot, io: &mut Io<'_>) {
        while let Some(late) = self.late_syns.0.pop_front_if(|late| late.due <= io.now) {
            let LateSyn { arrival, packet, bytes, .. } = late;
            let opened = self.shards.of_port(packet.dst.port).peek_in(io.now, &packet).is_some();
            // The interface it came by may have gone meanwhile.
            let there = usize::from(arrival) < s.interfaces.len();
            if !opened && there && s.is_own(arrival, packet.dst.addr) {
                self.tell(s, io, arrival, &bytes, Tell::Port);
            }
        }
    }
}

/// The byte of an IPv6 packet that names its upper layer: in the fixed header or in the last extension header.
fn next_header_at(head: &[u8], ip: &Ip) -> u32 {
    let (mut at, mut start) = (6, packet::ipv6::HEADER_LEN);
    let mut kind = head.get(at).copied();
    while start < ip.header_len {
        let Some([next, len]) = head.get(start..).and_then(|b| b.first_chunk::<2>()) else { break };
        let len = match kind.map(IpProtocol) {
            Some(IpProtocol::FRAGMENT) => 8,
            Some(IpProtocol::AUTHENTICATION) => (usize::from(*len) + 2) * 4,
            _ => (usize::from(*len) + 1) * 8,
        };
        (at, kind, start) = (start, Some(*next), start + len);
    }
    at as u32
}
