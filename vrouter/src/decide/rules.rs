//! The firewall on the way: what goes on a connection passes, the rest is judged by the rules.

use conntrack::{Mapping, OutOfWindow, Packet, Side};

use super::errors::quoted_packet;
use super::{Decider, Inbound, Moved, Observer, Passed, Refused, refuse};
use crate::config::FirewallAction;
use crate::firewall::Judgement;
use crate::flow::{Flow, Kind, Quoted};
use crate::snapshot::IfIndex;
use crate::tell::Tell;
use crate::{Drop, RouterEvent};

impl<O: Observer> Decider<'_, O> {
    pub(super) fn check_firewall(
        &mut self,
        input: IfIndex,
        out: IfIndex,
        flow: &Flow,
        inbound: &Inbound,
    ) -> Result<Passed, Refused> {
        let firewall = &self.snapshot.firewall;
        if firewall.is_empty() {
            return Ok(Passed::Unasked);
        }
        let established = match flow.kind {
            Kind::Error(quoted) => self.is_related(&flow.packet, &quoted),
            _ => inbound.known.is_some() || self.is_tracked(&flow.packet)?,
        };
        if established {
            self.observer.note(|| "firewall: of a connection let in before".into());
            return Ok(Passed::Established);
        }
        let judgement = firewall.decide(self.now, (input, out), &flow.packet, O::DRY);
        let Judgement { action, rule, .. } = judgement;
        self.observer.note(|| match rule {
            Some(rule) => format!("firewall: rule {rule} says {action:?}"),
            None => format!("firewall: no rule matches, {action:?}"),
        });
        if judgement.log {
            self.log = Some(Box::new(self.told(input, out, flow, &judgement)));
        }
        match action {
            FirewallAction::Allow => Ok(Passed::ByRule),
            FirewallAction::Drop if judgement.is_limited => Err(Drop::FirewallLimit.into()),
            FirewallAction::Drop => Err(Drop::FirewallDenied.into()),
            FirewallAction::Reject if flow.packet.tcp.is_some() => {
                Err(refuse(Drop::FirewallDenied, Tell::Reset))
            }
            FirewallAction::Reject => Err(refuse(Drop::FirewallDenied, Tell::Prohibited)),
        }
    }

    fn told(&self, input: IfIndex, out: IfIndex, flow: &Flow, judgement: &Judgement) -> RouterEvent {
        let p = &flow.packet;
        let name = |i: IfIndex| self.snapshot.interface(i).name.clone();
        RouterEvent::Firewall {
            rule: judgement.rule,
            action: judgement.action,
            input: name(input),
            out: name(out),
            protocol: p.protocol.0,
            source: (p.src.addr, p.src.port),
            destination: (p.dst.addr, p.dst.port),
        }
    }

    /// The packet goes on a connection that was made before, from either side of it.
    fn is_tracked(&self, p: &Packet) -> Result<bool, OutOfWindow> {
        let index = self.shards.index_of_inside(p.zone, p.src);
        let mut near = self.shards.at(index);
        if let Some(c) = near.peek_out(self.now, p) {
            // A translated one is moved on where it is translated.
            if !O::DRY && c.inside == c.outside && near.translate_out(self.now, p)?.is_some() {
                self.note_moved(index, Side::Inside);
            }
            return Ok(true);
        }
        std::mem::drop(near);
        let index = self.shards.index_of_inside(p.to_zone, p.dst);
        let mut far = self.shards.at(index);
        if O::DRY {
            return Ok(far.peek_in(self.now, p).is_some());
        }
        let known = far.translate_in(self.now, p)?;
        known.inspect(|_| self.note_moved(index, Side::Outside));
        Ok(known.is_some())
    }

    /// An error about a packet of a tracked connection.
    fn is_related(&self, p: &Packet, q: &Quoted) -> bool {
        let quoted = quoted_packet(p.to_zone, q, q.src, q.dst);
        let back = quoted_packet(p.zone, q, q.dst, q.src);
        self.shards.of_inside(p.to_zone, q.src).peek_out(self.now, &quoted).is_some()
            || self.shards.of_inside(p.zone, q.dst).peek_out(self.now, &back).is_some()
            || self.shards.of_inside(p.to_zone, q.src).peek_in(self.now, &back).is_some()
            || self.shards.of_port(q.src.port).peek_in(self.now, &back).is_some()
    }

    pub(super) fn open_identity(&mut self, flow: &Flow) -> Result<(), Refused> {
        if O::DRY || !(matches!(flow.kind, Kind::Ports | Kind::Request) || flow.is_portless()) {
            return Ok(());
        }
        self.moved.set(Moved::More);
        let opened = self.shards.of_inside(flow.packet.zone, flow.packet.src).open_out(
            self.now,
            &flow.packet,
            Mapping::Identity,
        );
        opened.map(|_| ()).map_err(|refusal| self.refused(refusal, flow))
    }
}
