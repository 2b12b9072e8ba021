//! A worker's half: frames in, frames out.

use core::net::Ipv4Addr;
use std::collections::VecDeque;
use std::sync::Arc;

use packet::icmpv4::{Message, Unreachable};
use packet::{
    Batch, EtherType, Frame, Instant, MAX_HOPS, MacAddr, Outputs, Pool, arp, build, ethernet, ipv4,
};

use crate::decide::{Decider, Decision, Input, Refused, Silent};
use crate::flow::{Flow, Ip};
use crate::fragment::Sorted;
use crate::input::{Arrived, check_ipv4, classify, strip};
use crate::limiter::Limiter;
use crate::local::LateSyns;
use crate::message::{Learned, OrderKind, ReportKind};
use crate::neighbour::{Answer, Due, Neighbours, Waiting};
use crate::output::{Io, ask, emit, longest, send_arp};
use crate::shards::Shards;
use crate::snapshot::{Hop, IfIndex, Snapshot};
use crate::{Counters, Drop, NeighbourState, Order, Report, RouterEvent};

/// Connections and fragments looked at for expiry in one call.
const EXPIRE_BUDGET: usize = 256;

/// The worker half of a router.
#[derive(Debug)]
pub struct Forwarder {
    worker: usize,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) shards: Arc<Shards>,
    neighbours: Neighbours,
    limiter: Limiter,
    event_limiter: Limiter,
    pub(crate) counters: Counters,
    reported: Counters,
    reports: VecDeque<Report>,
    pub(crate) late_syns: LateSyns,
}

impl Forwarder {
    pub(crate) fn new(worker: usize, shards: Arc<Shards>) -> Self {
        Self {
            worker,
            snapshot: Arc::default(),
            shards,
            neighbours: Neighbours::default(),
            limiter: Limiter::new(),
            event_limiter: Limiter::new(),
            counters: Counters::default(),
            reported: Counters::default(),
            reports: VecDeque::new(),
            late_syns: LateSyns::default(),
        }
    }

    /// Forwards `batch` and leaves it empty. Each frame's `meta.in_port` is set. What is to be sent is appended to
    /// `out`; what is dropped goes back to `pool`.
    pub fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        let s = Arc::clone(&self.snapshot);
        let mut io = Io { now, pool, out };
        self.expire(now);
        for frame in batch.drain(..) {
            self.receive(&s, &mut io, frame);
        }
    }

    /// Does what the owner says.
    pub fn handle_order(&mut self, now: Instant, order: Order, pool: &mut Pool, out: &mut Outputs) {
        let mut io = Io { now, pool, out };
        match order.0 {
            OrderKind::Adopt(snapshot) => self.adopt(&mut io, snapshot),
            OrderKind::Learned(learned) => {
                let s = Arc::clone(&self.snapshot);
                if learned.generation == s.generation {
                    self.learned(&s, &mut io, &learned, true);
                }
            }
        }
    }

    /// The next thing to tell the owner, until none is left.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// To be called before the worker sleeps and at least once a second: counters become reports.
    pub fn handle_idle(&mut self, now: Instant) {
        self.expire(now);
        if self.counters != self.reported {
            self.reported = self.counters.clone();
            self.report(ReportKind::Counters(Box::new(self.counters.clone())));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connections = self.shards.tracker(self.worker).and_then(|t| t.poll_timeout());
        let fragments = self.shards.fragments(self.worker).and_then(|f| f.poll_timeout());
        let own = [self.neighbours.poll_timeout(), self.late_syns.poll_timeout(), connections, fragments];
        own.into_iter().flatten().min()
    }

    /// Does what is due: requests to neighbours again, answers for those that failed, forgotten connections.
    pub fn handle_timeout(&mut self, now: Instant, pool: &mut Pool, out: &mut Outputs) {
        let s = Arc::clone(&self.snapshot);
        let mut io = Io { now, pool, out };
        self.expire(now);
        while let Some(due) = self.neighbours.poll_due(now, &s.tuning) {
            match due {
                Due::Ask((interface, addr), known) => ask(&mut io, s.interface(interface), addr, known),
                Due::Failed((interface, addr), queue) => {
                    self.report_neighbour(&s, interface, addr, NeighbourState::Unreachable);
                    for waiting in queue {
                        self.give_up(&s, &mut io, waiting);
                    }
                }
            }
        }
        self.answer_late_syns(&s, &mut io);
    }

    fn expire(&mut self, now: Instant) {
        if let Some(mut tracker) = self.shards.tracker(self.worker) {
            tracker.expire(now, EXPIRE_BUDGET);
        }
        if let Some(mut fragments) = self.shards.fragments(self.worker) {
            for _ in 0..fragments.expire(now) {
                self.counters.drop(Drop::BadFragments);
            }
        }
    }

    pub(crate) fn report(&mut self, kind: ReportKind) {
        self.reports.push_back(Report(kind));
    }

    fn report_event(&mut self, now: Instant, event: RouterEvent) {
        if self.event_limiter.admit(now, 1, 4) {
            self.report(ReportKind::Event(event));
        }
    }

    fn report_neighbour(
        &mut self,
        s: &Snapshot,
        interface: IfIndex,
        address: Ipv4Addr,
        state: NeighbourState,
    ) {
        self.report(ReportKind::Neighbour { generation: s.generation, interface, address, state });
    }

    pub(crate) fn drop(&mut self, io: &mut Io<'_>, frame: Frame, why: Drop) {
        self.counters.drop(why);
        io.pool.free(frame);
    }

    // ---- configuration -------------------------------------------------------------------------------------------

    fn adopt(&mut self, io: &mut Io<'_>, new: Arc<Snapshot>) {
        let old = std::mem::replace(&mut self.snapshot, Arc::clone(&new));
        for waiting in self.neighbours.adopt(&old, &new) {
            self.drop(io, waiting.frame, Drop::NeighbourUnreachable);
        }
        if self.worker != 0 {
            return;
        }
        // RFC 5227 §2.3: announce addresses, so that neighbours replace what they remember of them.
        for interface in &new.interfaces {
            let known = old.interfaces.iter().find(|i| i.name == interface.name && i.mac == interface.mac);
            for (own, _) in &interface.addresses {
                if !known.is_some_and(|i| i.port == interface.port && i.vlan == interface.vlan && i.has(*own))
                {
                    let announcement = arp::Packet::request(interface.mac, *own, *own);
                    send_arp(io, interface, MacAddr::BROADCAST, &announcement);
                }
            }
        }
    }

    // ---- arrival -------------------------------------------------------------------------------------------------

    fn receive(&mut self, s: &Snapshot, io: &mut Io<'_>, mut frame: Frame) {
        self.counters.received += 1;
        if frame.meta.hops >= MAX_HOPS {
            return self.drop(io, frame, Drop::HopLimit);
        }
        let arrived = match classify(s, &frame) {
            Ok(arrived) => arrived,
            Err(why) => return self.drop(io, frame, why),
        };
        match arrived.ethertype {
            EtherType::IPV4 => {
                let checked = strip(&mut frame, arrived.network_at)
                    .and_then(|()| check_ipv4(s, &mut frame, arrived.to_group));
                match checked {
                    Ok(ip) => self.ipv4(s, io, frame, ip, arrived.interface),
                    Err(why) => self.drop(io, frame, why),
                }
            }
            EtherType::ARP => {
                let result = self.arp(s, io, &frame, &arrived);
                match result {
                    Ok(()) => io.pool.free(frame),
                    Err(why) => self.drop(io, frame, why),
                }
            }
            EtherType::IPV6 => self.drop(io, frame, Drop::Ipv6),
            _ => self.drop(io, frame, Drop::UnknownEthertype),
        }
    }

    fn arp(&mut self, s: &Snapshot, io: &mut Io<'_>, frame: &Frame, arrived: &Arrived) -> Result<(), Drop> {
        let bytes = frame.head().get(arrived.network_at..).unwrap_or(&[]);
        let packet = arp::Packet::parse(bytes).map_err(|_| Drop::BadArp)?;
        let interface = s.interface(arrived.interface);
        let (sender, mac) = (packet.sender_ip, packet.sender_mac);
        if !mac.is_unicast() || mac != arrived.src {
            return Err(Drop::BadArp);
        }
        let ours = |addr| interface.has(addr) || s.nat.is_proxied(arrived.interface, addr);
        if ours(sender) {
            if mac == interface.mac {
                return Err(Drop::ArpIgnored);
            }
            let interface = interface.name.clone();
            let event = RouterEvent::DuplicateAddress { interface, address: sender, mac };
            self.report_event(io.now, event);
            return Err(Drop::DuplicateAddress);
        }
        let for_us = ours(packet.target_ip);
        // A sender of 0.0.0.0 only asks whether an address is taken (RFC 5227 §2.1.1).
        if interface.network_of(sender).is_some() && !sender.is_unspecified() {
            let (generation, address) = (s.generation, sender);
            let learned = Learned { generation, interface: arrived.interface, address, mac };
            if self.learned(s, io, &learned, for_us) {
                self.report(ReportKind::Learned(learned));
            }
        } else if !sender.is_unspecified() {
            return Err(Drop::BadArp);
        }
        match packet.operation {
            arp::Operation::Request if for_us => {
                send_arp(io, interface, mac, &packet.reply(interface.mac));
                Ok(())
            }
            arp::Operation::Reply if for_us => Ok(()),
            _ => Err(Drop::ArpIgnored),
        }
    }

    /// Remembers a neighbour and sends what waited for it; false if it was not remembered.
    fn learned(&mut self, s: &Snapshot, io: &mut Io<'_>, learned: &Learned, create: bool) -> bool {
        let key = (learned.interface, learned.address);
        let Some(queue) = self.neighbours.learn(io.now, &s.tuning, key, learned.mac, create) else {
            return false;
        };
        for waiting in queue {
            self.emit(s, io, learned.interface, learned.mac, waiting.frame);
        }
        true
    }

    // ---- packets -------------------------------------------------------------------------------------------------

    fn ipv4(&mut self, s: &Snapshot, io: &mut Io<'_>, frame: Frame, ip: Ip, interface: IfIndex) {
        let tracked = !s.nat.is_empty() || !s.firewall.is_empty();
        if !tracked && !s.is_own(ip.dst) {
            return self.packet(s, io, frame, &ip, (None, interface));
        }
        let flow = if ip.is_later_fragment() { Ok(None) } else { Flow::of(&frame, &ip).map(Some) };
        let flow = match flow {
            Ok(flow) => flow,
            Err(why) => return self.drop(io, frame, why),
        };
        if !ip.is_fragment() {
            return self.packet(s, io, frame, &ip, (flow, interface));
        }
        let mut taken = Some(frame);
        let sorted = self.shards.of_fragment(&ip).sort(io.now, &ip, flow, &mut taken, interface);
        match (sorted, taken) {
            (Ok(Sorted::Pass(flow, held)), Some(frame)) => {
                self.packet(s, io, frame, &ip, (Some(flow), interface));
                for one in held {
                    let flow = flow.later(&one.ip);
                    self.packet(s, io, one.frame, &one.ip, (Some(flow), one.interface));
                }
            }
            (Err(why), Some(frame)) => self.drop(io, frame, why),
            (_, None) => {}
            (Ok(Sorted::Waiting), Some(frame)) => self.drop(io, frame, Drop::BadFragments),
        }
    }

    fn packet(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        frame: Frame,
        ip: &Ip,
        (flow, interface): (Option<Flow>, IfIndex),
    ) {
        let input = Input { interface, ip: *ip, longest: longest(&frame, ip), flow };
        let mut decider = Decider { snapshot: s, shards: &self.shards, now: io.now, observer: &mut Silent };
        match decider.decide(&input) {
            Ok(Decision::Forward { interface, next, rewrite }) => {
                let mut frame = frame;
                let undo = match &flow {
                    Some(flow) if !rewrite.is_none() => {
                        rewrite.apply(&mut frame, flow);
                        Some((rewrite.inverse(flow), *flow))
                    }
                    _ => None,
                };
                let available = frame.len();
                if let Ok(mut header) = ipv4::ViewMut::parse_head(frame.head_mut(), available) {
                    header.set_ttl(ip.ttl - 1);
                }
                self.counters.forwarded += 1;
                self.send(s, io, (interface, next), Waiting { frame, undo, forwarded: true });
            }
            Ok(Decision::Local) => {
                self.counters.local += 1;
                self.local(s, io, frame, ip, flow.as_ref());
            }
            Err(Refused { why, tell, event }) => {
                if let Some(message) = tell {
                    self.tell(s, io, frame.head(), &message);
                }
                if let Some(event) = event {
                    self.report_event(io.now, event);
                }
                self.drop(io, frame, why);
            }
        }
    }

    /// Sends a packet to a neighbour, or lets it wait until the neighbour is known.
    pub(crate) fn send(&mut self, s: &Snapshot, io: &mut Io<'_>, key: (IfIndex, Ipv4Addr), packet: Waiting) {
        let (interface, addr) = key;
        match self.neighbours.lookup(io.now, &s.tuning, key) {
            Answer::Send(mac) => self.emit(s, io, interface, mac, packet.frame),
            Answer::SendAndProbe(mac) => {
                ask(io, s.interface(interface), addr, Some(mac));
                self.emit(s, io, interface, mac, packet.frame);
            }
            Answer::Wait { ask: first } => {
                if first {
                    ask(io, s.interface(interface), addr, None);
                    self.report_neighbour(s, interface, addr, NeighbourState::Pending);
                }
                if let Some(displaced) = self.neighbours.push(&s.tuning, key, packet) {
                    self.drop(io, displaced.frame, Drop::NeighbourQueueFull);
                }
            }
            Answer::Unreachable => self.give_up(s, io, packet),
            Answer::Full => self.drop(io, packet.frame, Drop::NeighbourTableFull),
        }
    }

    /// The neighbour does not answer: whoever sent the packet is told (RFC 1812 §5.2.7.1).
    fn give_up(&mut self, s: &Snapshot, io: &mut Io<'_>, mut packet: Waiting) {
        if packet.forwarded {
            if let Some((undo, flow)) = &packet.undo {
                undo.apply(&mut packet.frame, flow);
            }
            let why = Message::DestinationUnreachable(Unreachable::Host);
            self.tell(s, io, packet.frame.head(), &why);
        }
        self.drop(io, packet.frame, Drop::NeighbourUnreachable);
    }

    fn emit(&mut self, s: &Snapshot, io: &mut Io<'_>, interface: IfIndex, mac: MacAddr, frame: Frame) {
        match emit(io, s.interface(interface), mac, frame) {
            Ok(n_made) => self.counters.fragments_made += n_made,
            Err((frame, why)) => self.drop(io, frame, why),
        }
    }

    /// Sends an ICMP error about `offending`, which begins with its IP header, if the rate and RFC 1812 §4.3.2.7 allow.
    pub(crate) fn tell(&mut self, s: &Snapshot, io: &mut Io<'_>, offending: &[u8], message: &Message) {
        let made = self.error_frame(s, io, offending, message);
        match made {
            Some((key, frame)) => {
                self.counters.icmp_errors += 1;
                self.send(s, io, key, Waiting { frame, undo: None, forwarded: false });
            }
            None => self.counters.icmp_suppressed += 1,
        }
    }

    fn error_frame(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        offending: &[u8],
        message: &Message,
    ) -> Option<((IfIndex, Ipv4Addr), Frame)> {
        let to = ipv4::View::parse_quoted(offending).ok()?.src();
        let (interface, next) = match s.route(to)? {
            Hop::Connected(interface) => (interface, to),
            Hop::Gateway(interface, via) => (interface, via),
            _ => return None,
        };
        // RFC 1812 §4.3.2.4: from an address of the interface it leaves by.
        let first = || s.interfaces.iter().find_map(|i| i.addresses.first()).map(|(own, _)| *own);
        let own = s.interface(interface).address_for(next).or_else(first)?;
        let link = build::ethernet(MacAddr::ZERO, MacAddr::ZERO);
        let bytes = link.icmpv4_error(own, message, offending)?;
        if !self.limiter.admit(io.now, s.tuning.icmp_rate, s.tuning.icmp_burst) {
            return None;
        }
        let frame = io.pool.frame_from(&bytes[ethernet::HEADER_LEN..])?;
        Some(((interface, next), frame))
    }
}
