//! The short way: whole packets without options, by interfaces on which nothing is asked of each packet, that are
//! forwarded as those before them. What a packet of a connection has to pass was found out by a walk (`decide`), which
//! the connection remembers together with the configuration; routes, neighbours, TTL and size are looked at each time.
//! Whatever does not fit goes the long way, untouched.

use std::sync::MutexGuard;

use conntrack::{Address, End, OutOfWindow, Passage, Segment, Sent, Side, Tracker};
use packet::checksum::{Delta, Field, adjust};
use packet::tcp::Flags;
use packet::{Frame, Instant, IpProtocol, MAX_BATCH, PortNo, ethernet, ipv4, tcp, udp};

use crate::Drop;
use crate::ahead::{Ahead, Family, Glance, Lane, Short};
use crate::fib::{Hop, SetId, VrfId};
use crate::forwarder::Forwarder;
use crate::neighbour::{Leave, Near, Neighbours};
use crate::rewrite::word_mut;
use crate::shards::Shards;
use crate::snapshot::Snapshot;

/// What the packets of a batch go by.
pub(crate) struct Express<'a> {
    snapshot: &'a Snapshot,
    shards: &'a Shards,
    lane: Lane,
    /// The shard of the packet before, until somebody else may want it.
    held: Option<(u32, MutexGuard<'a, Tracker>)>,
}

/// Where packets may leave by on the short way: an interface without tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub port: PortNo,
    /// As a number.
    pub mac: u64,
    pub mtu: u16,
    /// The segment size of TCP may have to be cut on the way to it, and on the way from it.
    pub clamps: bool,
}

/// A passage with the side its packet comes from.
type Known<A> = (Side, Passage<A>);

impl<'a> Express<'a> {
    /// None where nothing goes the short way.
    pub(crate) fn new(snapshot: &'a Snapshot, shards: &'a Shards, lane: Option<Lane>) -> Option<Self> {
        let lane = lane.filter(|lane| lane.is_plain)?;
        Some(Self { snapshot, shards, lane, held: None })
    }

    /// Lets others have the shard.
    pub(crate) fn let_go(&mut self) {
        self.held = None;
    }

    #[inline(always)]
    fn tracker(&mut self, index: u32) -> Option<&mut Tracker> {
        if self.held.as_ref().is_none_or(|(held, _)| *held != index) {
            // The one before it first: nobody ever has two.
            self.held = None;
            self.held = self.shards.tracker(index as usize).map(|tracker| (index, tracker));
        }
        self.held.as_mut().map(|(_, tracker)| &mut **tracker)
    }

    /// How a packet of a known connection goes.
    #[inline(always)]
    fn passage<A: Family>(&mut self, now: Instant, short: &Short<A>) -> Option<Known<A>> {
        let by = (self.snapshot.generation as u16, self.lane.interface);
        let tuple = short.tuple(self.lane.vrf);
        let sides = [short.likely, Side::Outside];
        // The other side has a hash if a packet might come from there.
        let n_sides = if short.likely == Side::Inside && short.hashes[1] != 0 { 2 } else { 1 };
        sides[..n_sides].iter().find_map(|&side| {
            let index = short.shard(self.snapshot, self.shards, &self.lane, side);
            let (hash, hint) = (short.hashes[side as usize], short.hints[side as usize]);
            Some((side, self.tracker(index)?.passage(now, ((side, hash), hint), &tuple, by)?))
        })
    }

    /// Moves its connection on.
    #[inline(always)]
    fn pass_on<A: Family>(
        &mut self,
        now: Instant,
        short: &Short<A>,
        sent: &Sent,
        (side, passage): &Known<A>,
    ) -> Result<(), OutOfWindow> {
        let index = short.shard(self.snapshot, self.shards, &self.lane, *side);
        self.tracker(index).map_or(Ok(()), |tracker| tracker.pass_on(now, passage, *side, sent))
    }

    /// How a packet leaves for `dst`, if it need not wait. Addresses go by as numbers: of those with a mark for their
    /// kind, copies are made in pieces, for which the processor waits.
    #[inline(always)]
    fn way<A: Family>(
        &self,
        now: Instant,
        neighbours: &mut Neighbours,
        short: &Short<A>,
        (vrf, dst): (VrfId, A),
    ) -> Option<Leave> {
        // `fe80::/10`.
        if A::IS_WIDE && dst.bits() >> 118 == 0xfe80 >> 6 {
            return None;
        }
        let set = match short.set(dst) {
            Some(set) if vrf == self.lane.vrf => set,
            _ => dst.set(&self.snapshot.fib, vrf),
        }?;
        match neighbours.beyond(now, set) {
            Some(beyond) if short.len <= beyond.mtu && !short.flags.contains(Flags::SYN) => {
                Some(beyond.leave)
            }
            _ => self.way_by(now, neighbours, short, (set, dst)),
        }
    }

    /// The same by a set that was not used lately, or leads to several stations, or for what is not like most packets.
    #[inline(never)]
    fn way_by<A: Family>(
        &self,
        now: Instant,
        neighbours: &mut Neighbours,
        short: &Short<A>,
        (set, dst): (SetId, A),
    ) -> Option<Leave> {
        let (s, fib) = (self.snapshot, &self.snapshot.fib);
        let ports = [short.src.1, short.dst.1];
        let hash = || s.flow_hash((short.src.0.ip(), dst.ip()), short.protocol, ports);
        let near = match fib.hop(Some(set), |next| dst.set(fib, next), hash)? {
            Hop::Gateway(out, via) => Near::new(*out, via),
            Hop::Connected(out) => Near { interface: *out, is_v6: A::IS_WIDE, bits: dst.bits() },
            _ => return None,
        };
        let exit = s.exit(near.interface).filter(|exit| short.len <= exit.mtu)?;
        let is_clamped = short.flags.contains(Flags::SYN)
            && (exit.clamps || s.clamp(self.lane.interface, near.interface).is_some());
        if is_clamped {
            return None;
        }
        let mac = neighbours.ready(now, &s.tuning, near)?;
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&mac.to_be_bytes()[2..]);
        macs[6..].copy_from_slice(&exit.mac.to_be_bytes()[2..]);
        let leave = Leave { port: exit.port, interface: near.interface, macs };
        if fib.leads_to_one(set) {
            neighbours.note(set, near, (leave, exit.mtu));
        }
        Some(leave)
    }
}

/// What becomes of a packet.
struct Chosen<A> {
    leave: Leave,
    /// Its connection, and what it does to that.
    known: Option<(Sent, Known<A>)>,
    change: Option<Change<A>>,
}

/// What became of a packet.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is ready to leave by this port.
    Sent(PortNo),
    Dropped(Drop),
    /// It was not touched, and takes the long way.
    Long,
}

impl Express<'_> {
    /// What becomes of a packet; none if that takes the long way to find out. Nothing is changed.
    #[inline(always)]
    fn choose<A: Family>(
        &mut self,
        now: Instant,
        neighbours: &mut Neighbours,
        frame: &Frame,
        short: &Short<A>,
    ) -> Option<Chosen<A>> {
        let s = self.snapshot;
        if s.may_be_own(short.src.0.ip()) {
            return None;
        }
        let (mut vrf, mut dst) = (self.lane.vrf, short.dst.0);
        let (mut known, mut change, mut out_before) = (None, None, None);
        if self.lane.is_tracked {
            let sent = sent(frame, short)?;
            let (side, passage) = self.passage(now, short)?;
            if short.likely == Side::Outside && side == Side::Outside {
                (vrf, dst) = (passage.zone, passage.end.0);
            }
            (change, out_before) = (Change::of(short, side, passage.end), Some(passage.out));
            known = Some((sent, (side, passage)));
        }
        let leave = self.way(now, neighbours, short, (vrf, dst))?;
        // It left elsewhere before, or is rewritten in a way that is not known here.
        if out_before.is_some_and(|before| before != leave.interface) || (change.is_some() && A::IS_WIDE) {
            return None;
        }
        Some(Chosen { leave, known, change })
    }

    /// Forwards a packet as far as its port, or leaves it to go the long way.
    #[inline(always)]
    pub(crate) fn forward<A: Family>(
        &mut self,
        now: Instant,
        neighbours: &mut Neighbours,
        frame: &mut Frame,
        short: &Short<A>,
    ) -> Outcome {
        let Some(chosen) = self.choose(now, neighbours, frame, short) else { return Outcome::Long };
        if let Some((sent, known)) = &chosen.known
            && self.pass_on(now, short, sent, known).is_err()
        {
            return Outcome::Dropped(Drop::TcpWindow);
        }
        frame.truncate(ethernet::HEADER_LEN + usize::from(short.len));
        let transport_at = ethernet::HEADER_LEN + A::HEADER_LEN;
        let partial = frame.meta.csum.is_some_and(|csum| usize::from(csum.start) == transport_at);
        let head = frame.head_mut();
        let written = match A::IS_WIDE {
            false => write_v4(head, short.protocol, partial, chosen.change.map(Change::narrow)),
            true => write_v6(head),
        };
        debug_assert!(written.is_some(), "the header was read before");
        head[..12].copy_from_slice(&chosen.leave.macs);
        Outcome::Sent(chosen.leave.port)
    }
}

impl Forwarder {
    /// Makes the first packets ready to leave by `ports`, until one does not go the short way: how many, and what becomes
    /// of that one.
    #[inline(always)]
    pub(crate) fn express_first(
        &mut self,
        now: Instant,
        express: &mut Option<Express<'_>>,
        batch: &mut [Frame],
        (ahead, ports): (&Ahead, &mut [PortNo; MAX_BATCH]),
    ) -> (usize, Option<Outcome>) {
        for ((at, frame), port) in batch.iter_mut().enumerate().zip(ports) {
            match self.express(now, express, frame, (ahead, at)) {
                Outcome::Sent(to) => *port = to,
                other => return (at, Some(other)),
            }
        }
        (batch.len().min(MAX_BATCH), None)
    }

    /// The same of one behind them.
    #[inline(never)]
    pub(crate) fn express_later(
        &mut self,
        now: Instant,
        express: &mut Option<Express<'_>>,
        frame: &mut Frame,
        place: (&Ahead, usize),
    ) -> Outcome {
        self.express(now, express, frame, place)
    }

    /// Makes a packet ready to leave, if it goes the short way.
    #[inline(always)]
    fn express(
        &mut self,
        now: Instant,
        express: &mut Option<Express<'_>>,
        frame: &mut Frame,
        (ahead, at): (&Ahead, usize),
    ) -> Outcome {
        let outcome = match (express, ahead.glance(at)) {
            (None, _) | (_, Glance::Long) => return Outcome::Long,
            (Some(by), Glance::V4(n)) => {
                by.forward(now, &mut self.neighbours, frame, &ahead.v4[usize::from(n)])
            }
            (Some(by), Glance::V6(n)) => {
                by.forward(now, &mut self.neighbours, frame, &ahead.v6[usize::from(n)])
            }
        };
        self.counters.received += u64::from(!matches!(outcome, Outcome::Long));
        self.counters.forwarded += u64::from(matches!(outcome, Outcome::Sent(_)));
        outcome
    }
}

/// What a packet does to its connection; none of those that need more than a glance.
#[inline(always)]
fn sent<A: Family>(frame: &Frame, short: &Short<A>) -> Option<Sent> {
    let mut sent = Sent { tcp: None, segment: None, len: short.len.into(), n_packets: 1 };
    match short.protocol {
        IpProtocol::UDP => {}
        IpProtocol::TCP if !short.flags.contains(Flags::SYN) => {
            let bytes = frame.head().get(ethernet::HEADER_LEN + A::HEADER_LEN..)?;
            let view = tcp::View::parse(bytes).ok()?;
            let len = usize::from(short.len).checked_sub(A::HEADER_LEN + view.header_len())?;
            let (seq, ack, window) = (view.seq(), view.ack(), view.window());
            sent.tcp = Some(view.flags());
            sent.segment = Some(Segment { seq, ack, window, scale: None, len: len as u32 });
        }
        _ => return None,
    }
    Some(sent)
}

/// What becomes of an end of a packet.
#[derive(Clone, Copy, Debug)]
struct Change<A> {
    /// It is the source; otherwise the destination.
    is_src: bool,
    from: End<A>,
    to: End<A>,
}

impl<A: Address> Change<A> {
    #[inline(always)]
    fn of(short: &Short<A>, side: Side, to: End<A>) -> Option<Self> {
        let is_src = side == Side::Inside;
        let from = if is_src { short.src } else { short.dst };
        (from != to).then_some(Self { is_src, from, to })
    }

    /// The same, of addresses of IPv4.
    #[inline(always)]
    fn narrow(self) -> Change<u32> {
        let narrow = |(addr, port): End<A>| (addr.bits() as u32, port);
        Change { is_src: self.is_src, from: narrow(self.from), to: narrow(self.to) }
    }
}

/// Counts the TTL of a frame down and changes an endpoint, with the checksums.
#[inline(always)]
fn write_v4(head: &mut [u8], protocol: IpProtocol, partial: bool, change: Option<Change<u32>>) -> Option<()> {
    let packet = head.get_mut(ethernet::HEADER_LEN..)?;
    let (header, transport) = packet.split_first_chunk_mut::<{ ipv4::MIN_HEADER_LEN }>()?;
    let old = u16::from_be_bytes([header[8], header[9]]);
    header[8] = header[8].wrapping_sub(1);
    let mut delta = Delta::NONE.word(old, u16::from_be_bytes([header[8], header[9]]));
    if let Some(Change { is_src, from, to }) = change {
        let pseudo = Delta::NONE.double(from.0, to.0);
        delta = delta.and(pseudo);
        let at = if is_src { 12 } else { 16 };
        header[at..at + 4].copy_from_slice(&to.0.to_be_bytes());
        *word_mut(transport, if is_src { 0 } else { 2 })? = to.1.to_be_bytes();
        let (at, kind) = match protocol {
            IpProtocol::UDP => (udp::CHECKSUM_AT, Field::CompleteUdp),
            _ => (tcp::CHECKSUM_AT, Field::Complete),
        };
        let kind = if partial { Field::Partial } else { kind };
        let field = word_mut(transport, at)?;
        let body = Delta::NONE.word(from.1, to.1);
        *field = adjust(u16::from_be_bytes(*field), kind, pseudo, body).to_be_bytes();
    }
    let sum = delta.apply(u16::from_be_bytes([header[10], header[11]]));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// Counts the hop limit down.
#[inline(always)]
fn write_v6(head: &mut [u8]) -> Option<()> {
    let limit = head.get_mut(ethernet::HEADER_LEN + 7)?;
    *limit = limit.wrapping_sub(1);
    Some(())
}
