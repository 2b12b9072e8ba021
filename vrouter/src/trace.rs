//! What would happen to a frame, told step by step by the same code that decides for real ones.

use packet::{EtherType, Frame, Instant, PortNo};

use crate::ahead::Foreseen;
use crate::decide::{Decider, Decision, Input, Observer};
use crate::discovery::is_discovery;
use crate::flow::Flow;
use crate::input::{check_addresses, classify, read_ip, strip};
use crate::output::longest;
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
            return trace;
        }
        let mut frame = Frame::from_bytes(frame);
        frame.meta.in_port = in_port;
        if let Err(why) = self.follow(now, frame, &mut trace) {
            trace.note(|| format!("drop: {}", why.name()));
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
            Ok(Decision::Forward { interface, next, .. }) => {
                let neighbour = self.neighbour(now, (interface, next));
                trace.note(|| match neighbour {
                    Some((state, Some(mac))) => format!("neighbour: {next} is at {mac}, {state:?}"),
                    Some((state, None)) => format!("neighbour: {next} is {state:?}"),
                    None => format!("neighbour: {next} is to be asked for"),
                });
                trace.note(|| format!("out: {}", name(interface)));
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
}
