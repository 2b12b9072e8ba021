//! Connections whose packets need no walk through the rules, since one has shown where it ends.

use packet::Instant;

use super::{OutOfWindow, Packet, Tracker};
use crate::entry::{Entry, flag};
use crate::links::NONE;
use crate::record::{Endpoint, Pass, Side, State};
use crate::tuple::{Address, End, Sent, Tuple};

/// What becomes of a packet that belongs to a known connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage<A> {
    /// The connection, until one ends: see [`Tracker::holds`].
    idx: u32,
    n_ended: u32,
    /// The source, going out, or the destination, coming in.
    pub end: End<A>,
    /// The zone of the inside endpoint.
    pub zone: u16,
    /// Where such packets left when they were walked for.
    pub out: u16,
    /// The side that the packet comes from.
    pub side: Side,
}

/// A look-up that is going to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What the packet's connection is found by.
    hash: u64,
    /// Where it probably is, once that was looked for.
    hint: u32,
    /// The side that the packet comes from.
    side: Side,
    /// The packet, as the caller counts them.
    pub packet: u8,
    /// The tracker that is asked, as the caller counts them.
    pub tracker: u16,
}

impl Wanted {
    /// By the [hash](Tracker::hash_of) of a packet for the side that it comes from.
    #[inline(always)]
    pub const fn new((side, hash): (Side, u64), tracker: u16, packet: u8) -> Self {
        Self { hash, hint: NONE, side, packet, tracker }
    }
}

/// Packets that [`Tracker::fetch`] looks for, as the caller keeps them.
pub trait Packets<A> {
    /// What the connection of one is found by.
    fn tuple(&self, packet: u8) -> Tuple<A>;
    /// How one goes on.
    fn found(&mut self, wanted: &Wanted, passage: Passage<A>);
}

/// Under which configuration and by which interface a walk was [remembered](Tracker::remember).
pub type By = (u16, u16);

impl Tracker {
    /// Tells how packets go on that belong to connections, as [`passage`](Self::passage) does: one after the other, each
    /// would wait for memory twice and more; here all wait together.
    pub fn fetch<A: Address>(
        &self,
        now: Instant,
        wanted: &mut [Wanted],
        by: By,
        packets: &mut impl Packets<A>,
    ) {
        // A processor looks only some hundred instructions ahead: loads wait together where nothing is done between them.
        let buckets = wanted.iter().fold(0, |all, w| all ^ self.index(w.side).touch(w.hash));
        for w in wanted.iter_mut() {
            w.hint = self.index(w.side).guess(w.hash).unwrap_or(NONE);
        }
        let hinted = wanted.iter().filter_map(|w| self.connections.try_get(w.hint));
        let records = hinted.fold(0, |all, c| all ^ c.ports[0]);
        core::hint::black_box(buckets ^ records);
        for w in &*wanted {
            let Some(c) = self.connections.try_get(w.hint) else { continue };
            if !c.has(flag::LIVE) || !c.has_ends(&self.wide, w.side, &packets.tuple(w.packet)) {
                self.find_elsewhere(now, w, by, packets);
            } else if let Some(passage) = self.passage_of(now, w.hint, w.side, by) {
                packets.found(w, passage);
            }
        }
    }

    /// Tells how a packet goes on of which the first look found another one with a similar hash.
    #[inline(never)]
    fn find_elsewhere<A: Address>(&self, now: Instant, w: &Wanted, by: By, packets: &mut impl Packets<A>) {
        if let Some(passage) = self.passage(now, (w.side, w.hash), &packets.tuple(w.packet), by) {
            packets.found(w, passage);
        }
    }

    /// How a packet goes on that comes from this side, under the configuration and by the interface of a walk that was
    /// [remembered](Self::remember). `hash` is that of the packet for this side.
    #[inline(never)]
    pub fn passage<A: Address>(
        &self,
        now: Instant,
        (side, hash): (Side, u64),
        tuple: &Tuple<A>,
        by: By,
    ) -> Option<Passage<A>> {
        let is = |idx: u32| self.connections.get(idx).has_ends(&self.wide, side, tuple);
        let idx = self.index(side).find(hash, is)?;
        self.passage_of(now, idx, side, by)
    }

    #[inline(always)]
    fn passage_of<A: Address>(&self, now: Instant, idx: u32, side: Side, by: By) -> Option<Passage<A>> {
        let c = self.connections.get(idx);
        let out = c.pass(side, by).filter(|_| c.deadline > now)?;
        let (end, zone, n_ended) = (c.end_beyond(&self.wide, side), c.zones[0], self.n_ended);
        Some(Passage { idx, n_ended, end, zone, out, side })
    }

    /// Whether a passage that was found before is still right: no connection has ended since.
    #[inline(always)]
    pub fn holds<A>(&self, passage: &Passage<A>) -> bool {
        passage.n_ended == self.n_ended
    }

    /// Moves the connection of a passage that [holds](Self::holds) on by its packet.
    ///
    /// # Errors
    /// [`OutOfWindow`]: a TCP segment that cannot belong to it.
    #[inline(always)]
    pub fn pass_on<A>(&mut self, now: Instant, passage: &Passage<A>, sent: &Sent) -> Result<(), OutOfWindow> {
        let (idx, side) = (passage.idx, passage.side);
        let c = self.connections.get_mut(idx);
        if sent.tcp.is_some() || c.state != State::BothWays {
            return self.touch(now, idx, side, sent).map(|_| ());
        }
        // The same for what most packets do that are not of TCP.
        let deadline = self.idle.of_flow(now, c.protocol);
        if deadline < c.deadline {
            self.wheel.schedule(idx, deadline);
        }
        c.deadline = deadline;
        c.count(side, sent.n_packets, sent.len);
        Ok(())
    }

    /// Remembers how a packet went that came from this side of its connection, and whose endpoint became `beyond`.
    pub fn remember(&mut self, side: Side, packet: &Packet, beyond: Endpoint, pass: Pass) {
        let found = match side {
            Side::Inside => self.find_out(packet),
            Side::Outside => self.find_in(packet),
        };
        let found = found.filter(|idx| self.connections.get(*idx).beyond(&self.wide, side) == beyond);
        if let Some(idx) = found {
            self.connections.get_mut(idx).set_pass(side, pass);
        }
    }

    /// Forgets all of them: to be called before the number of a configuration comes round again.
    pub fn forget_passes(&mut self) {
        self.connections.each_mut(Entry::forget_passes);
        self.n_ended = self.n_ended.wrapping_add(1);
    }
}
