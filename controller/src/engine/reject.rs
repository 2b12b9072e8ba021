//! What a policy rejects: the sender is told, as the host it wanted to reach would tell it.

use openflow::{Action, PacketIn, PacketOut, ports};
use packet::{EtherType, Instant, IpProtocol, VlanId, build, ethernet, icmpv4, icmpv6, ipv4, ipv6, tcp};

use super::Controller;
use crate::plan;
use crate::view::At;

/// Most answers for the hosts of one switch in a second.
const MAX_PER_SECOND: u32 = 100;

/// How many answers a switch was given.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    second: u64,
    n: u32,
}

impl Rejections {
    /// Whether one more may be given.
    fn admit(&mut self, now: Instant) -> bool {
        let second = now.saturating_since(Instant::ZERO).as_secs();
        if self.second != second {
            *self = Self { second, n: 0 };
        }
        self.n += 1;
        self.n <= MAX_PER_SECOND
    }
}

impl Controller {
    pub(super) fn reject(&mut self, now: Instant, lane: VlanId, at: At, packet_in: &PacketIn) {
        let Some(answer) = answer_to(&packet_in.data) else { return };
        if !self.switches.get_mut(&at.0).is_some_and(|managed| managed.rejections.admit(now)) {
            return self.counters.rejections_left_out += 1;
        }
        let tagged = self.lanes().lanes.get(&lane).is_some_and(|l| l.trunks.contains(&at));
        let actions = if tagged { plan::output_tagged(lane, at.1) } else { vec![Action::output(at.1)] };
        self.packet_out(at.0, PacketOut { buffer: None, in_port: ports::CONTROLLER, actions, data: answer });
    }
}

/// A reset for TCP, "administratively prohibited" for the rest (RFC 1812 §5.2.7.1, RFC 4443 §3.1).
fn answer_to(frame: &[u8]) -> Option<Vec<u8>> {
    let frame = ethernet::View::parse(frame).ok()?;
    if !frame.dst().is_unicast() {
        return None;
    }
    let (link, packet) = (build::ethernet(frame.dst(), frame.src()), frame.payload());
    match frame.ethertype() {
        EtherType::IPV4 => {
            let ip = ipv4::View::parse(packet).ok()?;
            if ip.protocol() == IpProtocol::TCP && !ip.is_later_fragment() {
                return Some(link.ipv4(ip.dst(), ip.src()).tcp(&reset(ip.payload())?, &[]));
            }
            let why = icmpv4::Message::DestinationUnreachable(icmpv4::Unreachable::Prohibited);
            link.icmpv4_error(ip.dst(), &why, packet)
        }
        EtherType::IPV6 => {
            let ip = ipv6::View::parse(packet).ok()?;
            if ip.next_header() == IpProtocol::TCP {
                return Some(link.ipv6(ip.dst(), ip.src()).tcp(&reset(ip.payload())?, &[]));
            }
            let why = icmpv6::Message::DestinationUnreachable { code: 1 };
            link.icmpv6_error(ip.dst(), &why, packet)
        }
        _ => None,
    }
}

/// RFC 9293 §3.10.7.1: what one who knows no such connection answers; nothing to a reset.
fn reset(segment: &[u8]) -> Option<tcp::Header> {
    let segment = tcp::View::parse(segment).ok()?;
    let flags = segment.flags();
    if flags.contains(tcp::Flags::RST) {
        return None;
    }
    let (seq, ack, flags) = if flags.contains(tcp::Flags::ACK) {
        (segment.ack(), 0, tcp::Flags::RST)
    } else {
        let n_control = [tcp::Flags::SYN, tcp::Flags::FIN].into_iter().filter(|f| flags.contains(*f)).count();
        let len = (segment.payload().len() + n_control) as u32;
        (0, segment.seq().wrapping_add(len), tcp::Flags::RST.with(tcp::Flags::ACK))
    };
    let (src_port, dst_port) = (segment.dst_port(), segment.src_port());
    Some(tcp::Header { src_port, dst_port, seq, ack, flags, ..Default::default() })
}
