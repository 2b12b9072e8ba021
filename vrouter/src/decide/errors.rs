//! ICMP errors are translated with what they quote (RFC 5508 §4).

use conntrack::{Endpoint, Packet};

use super::{Decider, Observer, Refused};
use crate::Drop;
use crate::fib::VrfId;
use crate::flow::{Flow, Kind, Quoted};
use crate::snapshot::IfIndex;

impl<O: Observer> Decider<'_, O> {
    /// An error from outside about a packet of the inside: both get back the inside address (RFC 5508 REQ-4).
    pub(super) fn error_inbound(&mut self, flow: &mut Flow, q: Quoted) -> bool {
        let nat = &self.snapshot.nat;
        let inside = if let Some(addr) = nat.whole_inside(q.src.addr) {
            Some((flow.packet.zone, Endpoint::new(addr, q.src.port)))
        } else {
            let zone = flow.packet.zone;
            let back = quoted_packet(zone, &q, q.dst, q.src);
            let tracker = match nat.forward(zone, q.protocol, q.src) {
                Some((vrf, inside)) => self.shards.of_inside(vrf, inside),
                None => self.shards.of_port(q.src.port),
            };
            tracker.peek_in(self.now, &back).map(|c| (c.zone, c.inside))
        };
        let Some((zone, inside)) = inside else { return false };
        self.observer.note(|| format!("ICMP error: about {} inside", inside));
        (flow.packet.dst.addr, flow.packet.to_zone) = (inside.addr, zone);
        flow.kind = Kind::Error(Quoted { src: inside, ..q });
        true
    }

    /// An error from inside about a packet that came in: both get the outside address (RFC 5508 REQ-5).
    pub(super) fn error_outbound(
        &mut self,
        flow: &mut Flow,
        q: Quoted,
        out: IfIndex,
        may_open: bool,
    ) -> Result<(), Refused> {
        let nat = &self.snapshot.nat;
        let zone = flow.packet.zone;
        let back = quoted_packet(zone, &q, q.dst, q.src);
        let known = self.shards.of_inside(zone, q.dst).peek_out(self.now, &back).map(|c| c.outside);
        let whole = || nat.whole_outside(out, q.dst.addr).map(|addr| Endpoint::new(addr, q.dst.port));
        let outside = known.or_else(whole);
        match outside {
            Some(outside) if outside != q.dst => {
                self.observer.note(|| format!("ICMP error: about {outside} as the outside sees it"));
                flow.packet.src.addr = outside.addr;
                flow.kind = Kind::Error(Quoted { dst: outside, ..q });
                Ok(())
            }
            Some(_) => Ok(()),
            None if may_open
                && nat.masquerades(out, flow.packet.src.addr)
                && !nat.is_exempt(flow.packet.src.addr, flow.packet.dst.addr) =>
            {
                Err(Drop::NatErrorUnknown.into())
            }
            None => Ok(()),
        }
    }
}

pub(super) fn quoted_packet(zone: VrfId, q: &Quoted, src: Endpoint, dst: Endpoint) -> Packet {
    Packet {
        zone,
        to_zone: zone,
        protocol: q.protocol,
        src,
        dst,
        tcp: None,
        segment: None,
        len: 0,
        n_packets: 0,
    }
}
