//! What would happen to a frame, told step by step by the same code that decides for real ones.

use core::net::IpAddr;

use packet::{EtherType, Frame, Instant, Outputs, Pool, PortNo};

use crate::ahead::Foreseen;
use crate::decide::{Decider, Decision, Input, Observer};
use crate::discovery::is_discovery;
use crate::flow::Flow;
use crate::forwarder::lead_over;
use crate::input::{check_addresses, classify, read_ip, strip};
use crate::output::{Io, emit, longest};
use crate::snapshot::IfIndex;
use crate::{Drop, Router, Trace};

impl Observer for Trace {
    const DRY: bool = true;

    fn note(&mut self, step: impl FnOnce() -> String) {
        self.steps.push(step());
    }
}

impl Router {
    /// What would happen to `frame` if it came in by `in_port` now. Changes nothing.
    pub fn trace(&self, now: Instant, in_port: PortNo, frame: &[u8]) -> Trace {
        let mut trace = Trace::default();
        let longest = packet::HEAD_SIZE - packet::HEADROOM + packet::TAIL_SIZE;
        if frame.len() > longest {
            trace.note(|| format!("drop: frame of {} bytes", frame.len()));
            trace.lost = Some("too-long");
            return trace;
        }
        let mut frame = Frame::from_bytes(frame);
        frame.meta.in_port = in_port;
        if let Err(why) = self.follow(now, frame, &mut trace) {
            trace.note(|| format!("drop: {}", why.name()));
            trace.lost = Some(why.name());
        }
        trace
    }

    fn follow(&self, now: Instant, mut frame: Frame, trace: &mut Trace) -> Result<(), Drop> {
        let s = &self.snapshot;
        let arrived = classify(s, &frame)?;
        let name = |i| &s.interface(i).name;
        trace.note(|| format!("in: port {} is {}", frame.meta.in_port, name(arrived.interface)));
        match arrived.ethertype {
            EtherType::IPV4 | EtherType::IPV6 => {}
            EtherType::ARP => {
                trace.note(|| "arp: learned from, answered if it asks for this router".into());
                return Ok(());
            }
            _ => return Err(Drop::UnknownEthertype),
        }
        strip(&mut frame, arrived.network_at)?;
        let ip = read_ip(&mut frame, arrived.ethertype == EtherType::IPV6)?;
        let version = if ip.src.is_ipv4() { 4 } else { 6 };
        trace.note(|| {
            format!("ipv{version}: {} to {}, protocol {}, ttl {}", ip.src, ip.dst, ip.protocol.0, ip.ttl)
        });
        if is_discovery(&frame, &ip) {
            trace.note(|| "neighbour discovery: learned from, answered if it asks for this router".into());
            return Ok(());
        }
        check_addresses(s, &ip, &arrived)?;
        let tracked = !s.nat.is_empty() || !s.firewall.is_empty();
        let flow = match tracked && !ip.is_later_fragment() {
            true => Some(Flow::of(&frame, &ip)?),
            false => None,
        };
        if tracked && ip.is_later_fragment() {
            trace.note(|| "fragment: follows the first of its packet, which this is not".into());
            return Ok(());
        }
        let (longest, ports) = (longest(&frame, &ip), ip.ports(frame.head()));
        let input =
            Input { interface: arrived.interface, ip, longest, ports, flow, foreseen: Foreseen::default() };
        let mut decider = Decider::new(s, &self.shards, now, trace);
        match decider.decide(&input) {
            Ok(Decision::Local) => trace.note(|| match s.shadow_for(arrived.interface, ip.dst) {
                Some(port) => format!("local: for this router, or for its shadow by port {port}"),
                None => "local: for this router".into(),
            }),
            Ok(Decision::Forward { interface, next, rewrite }) => {
                let change = input.flow.as_ref().filter(|_| !rewrite.is_none()).map(|flow| (&rewrite, flow));
                lead_over(s, &mut frame, &input.ip, (arrived.interface, interface), change);
                self.leave(now, frame, (interface, next), trace)?;
            }
            Err(refused) => {
                if let Some(message) = &refused.tell {
                    trace.note(|| format!("icmp: {message:?} to {}", ip.src));
                }
                return Err(refused.why);
            }
        }
        Ok(())
    }
    /// By `interface` to the neighbour `next`, if that is known. The frame begins with its IP header.
    fn leave(
        &self,
        now: Instant,
        frame: Frame,
        (interface, next): (IfIndex, IpAddr),
        trace: &mut Trace,
    ) -> Result<(), Drop> {
        let neighbour = self.neighbour(now, (interface, next));
        trace.note(|| match neighbour {
            Some((state, Some(mac))) => format!("neighbour: {next} is at {mac}, {state:?}"),
            Some((state, None)) => format!("neighbour: {next} is {state:?}"),
            None => format!("neighbour: {next} is to be asked for"),
        });
        let by = self.snapshot.interface(interface);
        trace.note(|| format!("out: {}", by.name));
        let Some((_, Some(mac))) = neighbour else {
            trace.lost = Some("waits for its neighbour");
            return Ok(());
        };
        let (pool, out) = (&mut Pool::default(), &mut Outputs::new());
        let n_made = emit(&mut Io { now, pool, out }, by, mac, frame).map_err(|(_, why)| why)?;
        if n_made > 0 {
            trace.note(|| format!("cut: {n_made} fragments"));
        }
        trace.sent.extend(out.drain(..).map(|(port, frame)| (port, frame.to_vec())));
        Ok(())
    }
}
