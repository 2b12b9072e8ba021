//! A worker's half: frames in, frames out.

use core::net::IpAddr;
use std::collections::VecDeque;
use std::sync::Arc;

use packet::{
    Batch, EtherType, Frame, Instant, MAX_BATCH, MAX_HOPS, MacAddr, Outputs, Pool, PortNo, build, ethernet,
    ipv6,
};

use crate::ahead::{Ahead, Foreseen};
use crate::decide::{Decider, Decision, Input, Refused, Silent};
use crate::discovery::{Adverts, is_discovery};
use crate::duplicate::Unused;
use crate::express::{Express, Outcome};
use crate::fib::{self, SetId};
use crate::flow::{Flow, Ip};
use crate::fragment::Sorted;
use crate::input::{Arrived, check_addresses, classify, is_link_local, read_ip, strip};
use crate::limiter::{Gate, Limiter};
use crate::local::LateSyns;
use crate::message::{OrderKind, ReportKind};
use crate::mss;
use crate::neighbour::{Answer, Due, Neighbours, Waiting};
use crate::output::{Io, announce, emit, emit_sized, longest, on_wire};
use crate::rewrite::{Rewrite, set_ttl};
use crate::shards::Shards;
use crate::snapshot::{IfIndex, Snapshot};
use crate::tell::Tell;
use crate::{Counters, Drop, NeighbourState, Order, Report, RouterEvent};

/// Connections and fragments looked at for expiry in one call.
const EXPIRE_BUDGET: usize = 256;

/// Decisions of logged rules that each worker tells of, a second and at once.
const LOG_RATE: u32 = 100;

/// The worker half of a router.
#[derive(Debug)]
pub struct Forwarder {
    worker: usize,
    pub(crate) snapshot: Snapshot,
    pub(crate) shards: Arc<Shards>,
    pub(crate) neighbours: Neighbours,
    ahead: Ahead,
    limiter: Limiter,
    event_limiter: Limiter,
    log_limiter: Limiter,
    /// By interface.
    pub(crate) gates: Vec<Gate>,
    pub(crate) counters: Counters,
    reported: Counters,
    reports: VecDeque<Report>,
    pub(crate) late_syns: LateSyns,
    pub(crate) adverts: Adverts,
    pub(crate) unused: Unused,
}

/// Makes of a packet what it becomes on its way from one interface to another. The frame begins with its IP header.
#[inline]
pub(crate) fn lead_over(
    s: &Snapshot,
    frame: &mut Frame,
    ip: &Ip,
    (from, to): (IfIndex, IfIndex),
    change: Option<(&Rewrite, &Flow)>,
) {
    if let Some((rewrite, flow)) = change {
        rewrite.apply(frame, flow);
    }
    set_ttl(frame, ip.ttl - 1);
    if let Some(mtu) = s.clamp(from, to) {
        mss::clamp(frame, ip, mtu);
    }
}

impl Forwarder {
    pub(crate) fn new(worker: usize, shards: Arc<Shards>) -> Self {
        Self {
            worker,
            snapshot: Snapshot::default(),
            shards,
            neighbours: Neighbours::default(),
            ahead: Ahead::default(),
            limiter: Limiter::new(),
            event_limiter: Limiter::new(),
            log_limiter: Limiter::new(),
            gates: Vec::new(),
            counters: Counters::default(),
            reported: Counters::default(),
            reports: VecDeque::new(),
            late_syns: LateSyns::default(),
            adverts: Adverts::default(),
            unused: Unused::default(),
        }
    }

    /// Forwards `batch` and leaves it empty. Each frame's `meta.in_port` is set. What is to be sent is appended to
    /// `out`; what is dropped goes back to `pool`.
    pub fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        let s = self.snapshot.clone();
        let mut io = Io { now, pool, out };
        self.expire(now);
        let shards = Arc::clone(&self.shards);
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.look(now, &s, &shards, batch);
        let mut express = Express::new(self.worker, &s, &shards, ahead.lane);
        // As a rule all go the short way: they are changed where they are, and leave together.
        let mut ports = [PortNo(0); MAX_BATCH];
        let (n, mut next) = self.express_first(now, &mut express, batch, (&ahead, &mut ports));
        if n == batch.len() && ports[..n].iter().all(|port| *port == ports[0]) {
            io.out.append_run(ports[0], batch);
        }
        let mut frames = batch.drain(..).enumerate();
        io.out.extend(ports.into_iter().zip(frames.by_ref().take(n).map(|(_, frame)| frame)));
        for (at, mut frame) in frames {
            let known = next.take();
            match known.unwrap_or_else(|| self.express_later(now, &mut express, &mut frame, (&ahead, at))) {
                Outcome::Sent(port) => io.out.push((port, frame)),
                Outcome::Dropped(why) => self.drop(&mut io, frame, why),
                Outcome::Long => {
                    express.iter_mut().for_each(Express::let_go);
                    self.receive(&s, &mut io, frame, ahead.foreseen(at));
                }
            }
        }
        drop(express);
        self.ahead = ahead;
    }

    /// Does what the owner says.
    pub fn handle_order(&mut self, now: Instant, order: Order, pool: &mut Pool, out: &mut Outputs) {
        let mut io = Io { now, pool, out };
        match order.0 {
            OrderKind::Adopt(snapshot) => self.adopt(&mut io, snapshot),
            OrderKind::Routes { generation, fib } => {
                if generation == self.snapshot.generation {
                    self.snapshot.fib = fib;
                    self.neighbours.forget_sets();
                }
                self.report(ReportKind::Adopted);
            }
            OrderKind::RouterSolicited { generation, interface } => {
                if generation == self.snapshot.generation {
                    self.router_solicited(&io, interface);
                }
            }
            OrderKind::Refused { generation, interface, address } => {
                if generation == self.snapshot.generation {
                    self.unused.refuse((interface, address));
                }
            }
            OrderKind::Say { generation, say } => {
                let s = self.snapshot.clone();
                if generation == s.generation {
                    self.say(&s, &mut io, say);
                }
            }
            OrderKind::Learned(learned) => {
                let s = self.snapshot.clone();
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
        let timers = [
            self.neighbours.poll_timeout(),
            self.late_syns.poll_timeout(),
            self.adverts.poll_timeout(),
            self.unused.poll_timeout(),
            connections,
            fragments,
        ];
        timers.into_iter().flatten().min()
    }

    /// Does what is due: requests to neighbours again, answers for those that failed, forgotten connections.
    pub fn handle_timeout(&mut self, now: Instant, pool: &mut Pool, out: &mut Outputs) {
        let s = self.snapshot.clone();
        let mut io = Io { now, pool, out };
        self.expire(now);
        self.end_probes(&s, &mut io);
        while let Some(due) = self.neighbours.poll_due(now, &s.tuning) {
            match due {
                Due::Ask(key, known) => self.ask(&s, &mut io, key, known),
                Due::Failed((interface, addr), queue) => {
                    self.report_neighbour(&s, interface, addr, NeighbourState::Unreachable);
                    for waiting in queue {
                        self.give_up(&s, &mut io, waiting);
                    }
                }
            }
        }
        self.answer_late_syns(&s, &mut io);
        self.send_adverts(&s, &mut io);
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

    pub(crate) fn report_event(&mut self, now: Instant, event: RouterEvent) {
        if self.event_limiter.admit(now, 1, 4) {
            self.report(ReportKind::Event(event));
        }
    }

    fn report_neighbour(&mut self, s: &Snapshot, interface: IfIndex, address: IpAddr, state: NeighbourState) {
        self.report(ReportKind::Neighbour { generation: s.generation, interface, address, state });
    }

    pub(crate) fn drop(&mut self, io: &mut Io<'_>, frame: Frame, why: Drop) {
        self.counters.drop(why);
        io.pool.free(frame);
    }

    /// One worker speaks for all of them where once is enough.
    pub(crate) fn is_first(&self) -> bool {
        self.worker == 0
    }

    // ---- configuration -------------------------------------------------------------------------------------------

    fn adopt(&mut self, io: &mut Io<'_>, new: Snapshot) {
        let old = std::mem::replace(&mut self.snapshot, new.clone());
        self.gates.resize_with(new.interfaces.len(), Gate::new);
        self.report(ReportKind::Adopted);
        for waiting in self.neighbours.adopt(&old, &new) {
            self.drop(io, waiting.frame, Drop::NeighbourUnreachable);
        }
        self.unused.adopt(io.now, &old, &new);
        if !self.is_first() {
            return;
        }
        self.adopt_adverts(io, &old, &new);
        for (at, interface) in (0..).zip(&new.interfaces) {
            let known = old.interfaces.iter().find(|i| i.is_same(interface));
            for (own, _) in interface.addresses.iter().filter(|(own, _)| own.is_ipv4()) {
                if !known.is_some_and(|i| i.has(*own)) {
                    announce(io, interface, *own);
                }
            }
            self.probe_for(io, (at, interface));
        }
    }

    // ---- arrival -------------------------------------------------------------------------------------------------

    fn receive(&mut self, s: &Snapshot, io: &mut Io<'_>, mut frame: Frame, foreseen: Foreseen) {
        self.counters.received += 1;
        if frame.meta.hops >= MAX_HOPS {
            return self.drop(io, frame, Drop::HopLimit);
        }
        if let Some(interface) = s.behind_shadow(frame.meta.in_port) {
            return self.frame_down(s, io, frame, interface);
        }
        let arrived = match classify(s, &frame) {
            Ok(arrived) => arrived,
            Err(why) => return self.drop(io, frame, why),
        };
        if !s.conforms(arrived.interface, io.now, frame.len()) {
            return self.drop(io, frame, Drop::Policed);
        }
        match arrived.ethertype {
            EtherType::IPV4 | EtherType::IPV6 => {
                let v6 = arrived.ethertype == EtherType::IPV6;
                let read = strip(&mut frame, arrived.network_at).and_then(|()| read_ip(&mut frame, v6));
                match read {
                    Ok(ip) => self.ip(s, io, (frame, foreseen), ip, &arrived),
                    Err(why) => self.drop(io, frame, why),
                }
            }
            EtherType::ARP => self.receive_arp(s, io, frame, &arrived),
            _ => self.frame_up(s, io, frame, (&arrived, Some(Drop::UnknownEthertype))),
        }
    }

    /// Whether one more packet goes to a service.
    pub(crate) fn admits_service(&mut self, now: Instant, interface: IfIndex, rate: u32, burst: u32) -> bool {
        let gate = self.gates.get_mut(usize::from(interface));
        gate.is_some_and(|gate| gate.services.admit(now, rate, burst))
    }

    // ---- packets -------------------------------------------------------------------------------------------------

    fn ip(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        (frame, foreseen): (Frame, Foreseen),
        ip: Ip,
        arrived: &Arrived,
    ) {
        let interface = arrived.interface;
        if is_discovery(&frame, &ip) {
            return self.receive_discovery(s, io, frame, (&ip, arrived));
        }
        if Self::is_dhcp_broadcast(s, interface, &frame, &ip) {
            if let Some(frame) = self.punt(s, io, (frame, interface), &ip) {
                self.drop(io, frame, Drop::Multicast);
            }
            return;
        }
        match check_addresses(s, &ip, arrived) {
            Ok(()) => {}
            Err(Drop::Multicast) => return self.group_up(s, io, frame, (&ip, arrived)),
            Err(why) => return self.drop(io, frame, why),
        }
        let tracked = !s.nat.is_empty() || !s.firewall.is_empty();
        if !tracked && !s.is_own(interface, ip.dst) {
            return self.packet(s, io, (frame, foreseen), &ip, (None, interface));
        }
        let flow = if ip.is_later_fragment() { Ok(None) } else { Flow::of(&frame, &ip).map(Some) };
        let flow = match flow {
            Ok(flow) => flow,
            Err(why) => return self.drop(io, frame, why),
        };
        if !ip.is_fragment() {
            return self.packet(s, io, (frame, foreseen), &ip, (flow, interface));
        }
        let mut taken = Some(frame);
        let sorted = self.shards.of_fragment(&ip).sort(io.now, &ip, flow, &mut taken, interface);
        match (sorted, taken) {
            (Ok(Sorted::Pass(flow, held)), Some(frame)) => {
                self.packet(s, io, (frame, foreseen), &ip, (Some(flow), interface));
                for one in held {
                    let flow = flow.later(&one.ip);
                    let unforeseen = (one.frame, Foreseen::default());
                    self.packet(s, io, unforeseen, &one.ip, (Some(flow), one.interface));
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
        (frame, foreseen): (Frame, Foreseen),
        ip: &Ip,
        (flow, interface): (Option<Flow>, IfIndex),
    ) {
        let ports = ip.ports(frame.head());
        let input = Input { interface, ip: *ip, longest: longest(&frame, ip), ports, flow, foreseen };
        let observer = &mut Silent;
        let mut decider = Decider::new(s, &self.shards, io.now, observer);
        let decision = decider.decide(&input);
        let Decider { log, way, .. } = decider;
        self.report_logged(io.now, log);
        self.count(s, way, &decision, (&frame, ip));
        match decision {
            Ok(Decision::Forward { interface: out, next, rewrite }) => {
                let mut frame = frame;
                let rewritten = flow.filter(|_| !rewrite.is_none());
                let change = rewritten.as_ref().map(|flow| (&rewrite, flow));
                lead_over(s, &mut frame, ip, (interface, out), change);
                self.counters.forwarded += 1;
                match self.neighbours.lookup(io.now, &s.tuning, (out, next)) {
                    Answer::Send(mac) => {
                        let size = (ip.src.is_ipv6(), input.longest);
                        let sent = emit_sized(io, s.interface(out), mac, frame, size);
                        self.count_sent(io, sent);
                    }
                    answer => {
                        let undo = rewritten.map(|flow| (rewrite.inverse(&flow), flow));
                        let waiting = Waiting { frame, undo, arrival: Some(interface) };
                        self.send_by(s, io, (out, next), answer, waiting);
                    }
                }
            }
            Ok(Decision::Local) => {
                self.counters.local += 1;
                self.local(s, io, (frame, interface), ip, flow.as_ref());
            }
            Err(Refused { why, tell, event }) => {
                match tell {
                    Some(Tell::Reset) => self.reset(s, io, (&frame, interface), ip),
                    Some(tell) => self.tell(s, io, interface, frame.head(), tell),
                    None => {}
                }
                if let Some(event) = event {
                    self.report_event(io.now, *event);
                }
                self.drop(io, frame, why);
            }
        }
    }

    /// Tells of what a rule that is to be logged has said.
    fn report_logged(&mut self, now: Instant, log: Option<Box<RouterEvent>>) {
        if let Some(event) = log
            && self.log_limiter.admit(now, LOG_RATE, LOG_RATE)
        {
            self.report(ReportKind::Event(*event));
        }
    }

    /// Counts a packet for the route that leads it on, or that refuses it.
    fn count(
        &self,
        s: &Snapshot,
        way: Option<(SetId, IpAddr)>,
        decision: &Result<Decision, Refused>,
        (frame, ip): (&Frame, &Ip),
    ) {
        if let Some((set, dst)) = way
            && fib::asks(set)
            && is_counted(decision)
        {
            let leak = |vrf| s.fib.set_id(vrf, dst);
            s.fib.count(set, leak, self.worker, on_wire(frame, ip));
        }
    }

    /// Sends a packet to a neighbour, or lets it wait until the neighbour is known.
    pub(crate) fn send(&mut self, s: &Snapshot, io: &mut Io<'_>, key: (IfIndex, IpAddr), packet: Waiting) {
        let answer = self.neighbours.lookup(io.now, &s.tuning, key);
        self.send_by(s, io, key, answer, packet);
    }

    /// The same with what is known of the neighbour.
    fn send_by(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        key: (IfIndex, IpAddr),
        answer: Answer,
        packet: Waiting,
    ) {
        let (interface, addr) = key;
        match answer {
            Answer::Send(mac) => self.emit(s, io, interface, mac, packet),
            Answer::SendAndProbe(mac) => {
                self.ask(s, io, key, Some(mac));
                self.emit(s, io, interface, mac, packet);
            }
            Answer::Wait { ask: first } => {
                if first {
                    self.ask(s, io, key, None);
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
        self.tell_waiting(s, io, &mut packet, Tell::Host);
        self.drop(io, packet.frame, Drop::NeighbourUnreachable);
    }

    /// Tells who sent a packet that had been made ready to leave.
    fn tell_waiting(&mut self, s: &Snapshot, io: &mut Io<'_>, packet: &mut Waiting, tell: Tell) {
        // The interface it came by may have gone meanwhile.
        let arrival = packet.arrival.filter(|i| usize::from(*i) < s.interfaces.len());
        if let Some(arrival) = arrival {
            if let Some((undo, flow)) = &packet.undo {
                undo.apply(&mut packet.frame, flow);
            }
            self.tell(s, io, arrival, packet.frame.head(), tell);
        }
    }

    pub(crate) fn emit(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        interface: IfIndex,
        mac: MacAddr,
        packet: Waiting,
    ) {
        let sent = emit(io, s.interface(interface), mac, packet.frame);
        self.count_sent(io, sent);
    }

    fn count_sent(&mut self, io: &mut Io<'_>, sent: Result<u64, (Frame, Drop)>) {
        match sent {
            Ok(n_made) => self.counters.fragments_made += n_made,
            Err((frame, why)) => self.drop(io, frame, why),
        }
    }

    /// Sends an ICMP error about `offending`, which begins with its IP header and came by `arrival`, if the rate and
    /// RFC 1812 §4.3.2.7, RFC 4443 §2.4 allow.
    pub(crate) fn tell(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        arrival: IfIndex,
        offending: &[u8],
        tell: Tell,
    ) {
        let made = self.error_frame(s, io, arrival, offending, tell);
        match made {
            Some((key, frame)) => {
                self.counters.icmp_errors += 1;
                self.send(s, io, key, Waiting { frame, undo: None, arrival: None });
            }
            None => self.counters.icmp_suppressed += 1,
        }
    }

    fn error_frame(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        arrival: IfIndex,
        offending: &[u8],
        tell: Tell,
    ) -> Option<((IfIndex, IpAddr), Frame)> {
        let to = Ip::parse(offending, ipv6::HEADER_LEN + usize::from(u16::MAX)).ok()?.src;
        let (interface, next) = s.way_to(arrival, to)?;
        // RFC 1812 §4.3.2.4: from an address of the interface it leaves by.
        let alike = |addr: &IpAddr| addr.is_ipv4() == to.is_ipv4();
        let any = || s.interfaces.iter().flat_map(|i| &i.addresses).map(|(own, _)| *own).find(alike);
        let global =
            s.interface(interface).address_for(to).filter(|own| !is_link_local(*own) || is_link_local(to));
        let own = global.or_else(any).or_else(|| s.interface(interface).address_for(next))?;
        if self.unused.holds(own) {
            return None;
        }
        let bytes = tell.frame(build::ethernet(MacAddr::ZERO, MacAddr::ZERO), own, offending)?;
        if !self.limiter.admit(io.now, s.tuning.icmp_rate, s.tuning.icmp_burst) {
            return None;
        }
        let frame = io.pool.frame_from(&bytes[ethernet::HEADER_LEN..])?;
        Some(((interface, next), frame))
    }
}

/// Whether a packet counts for its route: it is led on, or it is the route that refuses it.
fn is_counted(decision: &Result<Decision, Refused>) -> bool {
    let by_route = |why| matches!(why, Drop::Blackhole | Drop::Unreachable | Drop::Prohibited);
    decision.as_ref().map_or_else(|refused| by_route(refused.why), |_| true)
}
