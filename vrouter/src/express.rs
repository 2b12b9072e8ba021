//! The short way: whole packets without options, by interfaces on which nothing is asked of each packet, that are
//! forwarded as those before them. What a packet of a connection has to pass was found out by a walk (`decide`), which
//! the connection remembers together with the configuration; routes, neighbours, TTL and size are looked at each time.
//! Whatever does not fit goes the long way, untouched.

use std::sync::MutexGuard;

use conntrack::{Address, End, Passage, Segment, Sent, Side, Tracker};
use packet::checksum::{Delta, Field, adjust};
use packet::tcp::Flags;
use packet::{Frame, Instant, IpProtocol, MAX_BATCH, PortNo, ethernet, ipv4, tcp, udp};

use crate::Drop;
use crate::ahead::{Ahead, Family, Glance, Lane, Short};
use crate::fib::{self, Hop, SetId, Traffic, VrfId};
use crate::forwarder::Forwarder;
use crate::neighbour::{Leave, Near, Neighbours};
use crate::rewrite::word_mut;
use crate::shards::Shards;
use crate::snapshot::Snapshot;

/// What the packets of a batch go by.
pub(crate) struct Express<'a> {
    worker: usize,
    snapshot: &'a Snapshot,
    shards: &'a Shards,
    lane: Lane,
    /// The shard of the packet before, until somebody else may want it.
    held: Option<(u16, MutexGuard<'a, Tracker>)>,
    /// Packets before took the long way: there may be connections by now that there were not.
    is_late: bool,
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

impl<'a> Express<'a> {
    /// None where nothing goes the short way.
    pub(crate) fn new(
        worker: usize,
        snapshot: &'a Snapshot,
        shards: &'a Shards,
        lane: Option<Lane>,
    ) -> Option<Self> {
        let lane = lane.filter(|lane| lane.is_plain)?;
        Some(Self { worker, snapshot, shards, lane, held: None, is_late: false })
    }

    /// Lets a packet that takes the long way have the shard.
    pub(crate) fn let_go(&mut self) {
        (self.held, self.is_late) = (None, true);
    }

    #[inline(always)]
    fn tracker(&mut self, index: u16) -> Option<&mut Tracker> {
        if self.held.as_ref().is_none_or(|(held, _)| *held != index) {
            // The one before it first: nobody ever has two.
            self.held = None;
            self.held = self.shards.tracker(index.into()).map(|tracker| (index, tracker));
        }
        self.held.as_mut().map(|(_, tracker)| &mut **tracker)
    }

    /// How a packet of a known connection goes, and the shard of that. It stays where it was found, or goes to `anew`: to
    /// copy it would take longer than all else that is done with it.
    #[inline(always)]
    fn passage<'p, A: Family>(
        &mut self,
        now: Instant,
        short: &'p Short<A>,
        anew: &'p mut Option<(u16, Passage<A>)>,
    ) -> Option<(u16, &'p Passage<A>)> {
        match &short.passage {
            Some(found) if self.tracker(short.shard)?.holds(found) => Some((short.shard, found)),
            None if !self.is_late => None,
            _ => {
                *anew = self.passage_anew(now, short);
                anew.as_ref().map(|(index, found)| (*index, found))
            }
        }
    }

    /// The same where connections have come or gone since it was looked for.
    #[inline(never)]
    fn passage_anew<A: Family>(&mut self, now: Instant, short: &Short<A>) -> Option<(u16, Passage<A>)> {
        let (tuple, by) = (short.tuple(self.lane.vrf), self.lane.by(self.snapshot));
        short.sides().find_map(|side| {
            let index = short.shard(self.snapshot, self.shards, &self.lane, side);
            let hash = Tracker::hash_of(&self.shards.keys, side, &tuple);
            Some((index, self.tracker(index)?.passage(now, (side, hash), &tuple, by)?))
        })
    }

    /// How a packet leaves for `dst`, if it need not wait, and the set it goes by. Addresses go by as numbers: of those with a mark for their
    /// kind, copies are made in pieces, for which the processor waits.
    #[inline(always)]
    fn way<'n, A: Family>(
        &self,
        now: Instant,
        neighbours: &'n mut Neighbours,
        short: &Short<A>,
        (vrf, dst): (VrfId, A),
    ) -> Option<(SetId, &'n Leave)> {
        // `fe80::/10`.
        if A::IS_WIDE && dst.bits() >> 118 == 0xfe80 >> 6 {
            return None;
        }
        let set = match short.set(dst) {
            Some(set) if vrf == self.lane.vrf => set,
            _ => dst.set(&self.snapshot.fib, vrf),
        }?;
        let leave = match neighbours.leads_beyond(now, set, short.len) && !short.flags.contains(Flags::SYN) {
            true => neighbours.beyond(set),
            false => self.way_by(now, neighbours, short, (set, dst))?,
        };
        Some((set, leave))
    }

    /// Counts a packet for `dst` that leaves by this set.
    #[inline(always)]
    fn count<A: Family>(&self, set: SetId, dst: A, short: &Short<A>) {
        if fib::asks(set) {
            let (fib, seen) = (&self.snapshot.fib, Traffic { n_packets: 1, n_bytes: short.len.into() });
            fib.count(set, |vrf| dst.set(fib, vrf), self.worker, seen);
        }
    }

    /// The same by a set that was not used lately, or leads to several stations, or for what is not like most packets.
    #[inline(never)]
    fn way_by<'n, A: Family>(
        &self,
        now: Instant,
        neighbours: &'n mut Neighbours,
        short: &Short<A>,
        (set, dst): (SetId, A),
    ) -> Option<&'n Leave> {
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
        Some(neighbours.note(fib.leads_to_one(set).then_some(set), near, (leave, exit.mtu)))
    }
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
    /// Forwards a packet as far as its port, or leaves it to go the long way.
    #[inline(always)]
    pub(crate) fn forward<A: Family>(
        &mut self,
        now: Instant,
        neighbours: &mut Neighbours,
        frame: &mut Frame,
        short: &Short<A>,
    ) -> Outcome {
        let done = match self.lane.is_tracked {
            _ if self.snapshot.may_be_own(short.src.0.ip()) => None,
            true => self.forward_tracked(now, neighbours, frame, short),
            false => self.forward_plain(now, neighbours, frame, short),
        };
        done.unwrap_or(Outcome::Long)
    }

    #[inline(always)]
    fn forward_plain<A: Family>(
        &mut self,
        now: Instant,
        neighbours: &mut Neighbours,
        frame: &mut Frame,
        short: &Short<A>,
    ) -> Option<Outcome> {
        let (set, leave) = self.way(now, neighbours, short, (self.lane.vrf, short.dst.0))?;
        self.count(set, short.dst.0, short);
        write(frame, short, None, leave);
        Some(Outcome::Sent(leave.port))
    }

    /// Of a connection that is known, which moves on.
    #[inline(always)]
    fn forward_tracked<A: Family>(
        &mut self,
        now: Instant,
        neighbours: &mut Neighbours,
        frame: &mut Frame,
        short: &Short<A>,
    ) -> Option<Outcome> {
        let mut anew = None;
        let (index, passage) = self.passage(now, short, &mut anew)?;
        let sent = sent(frame, short)?;
        let to = match short.likely {
            Side::Outside => (passage.zone, passage.end.0),
            Side::Inside => (self.lane.vrf, short.dst.0),
        };
        let (set, leave) = self.way(now, neighbours, short, to)?;
        let change = Change::of(short, passage.side, passage.end);
        // It left elsewhere before, or is rewritten in a way that is not known here.
        if passage.out != leave.interface || (change.is_some() && A::IS_WIDE) {
            return None;
        }
        if self.tracker(index)?.pass_on(now, passage, &sent).is_err() {
            return Some(Outcome::Dropped(Drop::TcpWindow));
        }
        self.count(set, to.1, short);
        write(frame, short, change, leave);
        Some(Outcome::Sent(leave.port))
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

/// Makes a packet ready to leave: its TTL is counted down, an endpoint changed, with the checksums, and padding cut off.
#[inline(always)]
fn write<A: Family>(frame: &mut Frame, short: &Short<A>, change: Option<Change<A>>, leave: &Leave) {
    frame.truncate(ethernet::HEADER_LEN + usize::from(short.len));
    let kind = match (change, frame.meta.csum) {
        (Some(_), Some(csum)) if usize::from(csum.start) == ethernet::HEADER_LEN + A::HEADER_LEN => {
            Field::Partial
        }
        _ if short.protocol == IpProtocol::UDP => Field::CompleteUdp,
        _ => Field::Complete,
    };
    let head = frame.head_mut();
    let written = match A::IS_WIDE {
        false => write_v4(head, change.map(Change::narrow), (short.protocol, kind), leave),
        true => write_v6(head, leave),
    };
    debug_assert!(written.is_some(), "the header was read before");
}

/// Counts the TTL of a frame down and changes an endpoint.
#[inline(always)]
fn write_v4(
    head: &mut [u8],
    change: Option<Change<u32>>,
    of: (IpProtocol, Field),
    leave: &Leave,
) -> Option<()> {
    const IP: usize = ethernet::HEADER_LEN;
    let (head, transport) = head.split_first_chunk_mut::<{ IP + ipv4::MIN_HEADER_LEN }>()?;
    let mut delta = TTL_LESS_ONE;
    if let Some(Change { is_src, from, to }) = change {
        let pseudo = Delta::NONE.double(from.0, to.0);
        delta = delta.and(pseudo);
        let addr = to.0.to_be_bytes();
        match is_src {
            true => head[IP + 12..IP + 16].copy_from_slice(&addr),
            false => head[IP + 16..IP + 20].copy_from_slice(&addr),
        }
        rewrite_port(transport, (is_src, from.1, to.1), pseudo, of)?;
    }
    head[IP + 8] = head[IP + 8].wrapping_sub(1);
    let sum = delta.apply(u16::from_be_bytes([head[IP + 10], head[IP + 11]]));
    head[IP + 10..IP + 12].copy_from_slice(&sum.to_be_bytes());
    head[..12].copy_from_slice(&leave.macs);
    Some(())
}

/// What the word with the TTL becomes when that is counted down, whatever it was.
const TTL_LESS_ONE: Delta = Delta::NONE.word(0x0100, 0);

/// Changes a port, and the checksum by that and by what has become of the addresses.
#[inline(always)]
fn rewrite_port(
    transport: &mut [u8],
    (is_src, from, to): (bool, u16, u16),
    pseudo: Delta,
    (protocol, kind): (IpProtocol, Field),
) -> Option<()> {
    let body = Delta::NONE.word(from, to);
    let ports = transport.first_chunk_mut::<4>()?;
    match is_src {
        true => ports[..2].copy_from_slice(&to.to_be_bytes()),
        false => ports[2..].copy_from_slice(&to.to_be_bytes()),
    }
    let field = match protocol {
        IpProtocol::UDP => word_mut(transport, udp::CHECKSUM_AT)?,
        _ => word_mut(transport, tcp::CHECKSUM_AT)?,
    };
    *field = adjust(u16::from_be_bytes(*field), kind, pseudo, body).to_be_bytes();
    Some(())
}

/// Counts the hop limit down.
#[inline(always)]
fn write_v6(head: &mut [u8], leave: &Leave) -> Option<()> {
    let head = head.first_chunk_mut::<{ ethernet::HEADER_LEN + 8 }>()?;
    head[ethernet::HEADER_LEN + 7] = head[ethernet::HEADER_LEN + 7].wrapping_sub(1);
    head[..12].copy_from_slice(&leave.macs);
    Some(())
}
