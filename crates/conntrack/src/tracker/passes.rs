//! Connections whose packets need no walk through the rules, since one has shown where it ends.

use packet::Instant;

use super::{OutOfWindow, Packet, Tracker};
use crate::entry::{Entry, flag};
use crate::links::NONE;
use crate::record::{Endpoint, Pass, Side};
use crate::tuple::{Address, End, Sent, Tuple};

/// What becomes of a packet that belongs to a known connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage<A> {
    /// The connection, until the tracker is changed.
    idx: u32,
    /// The source, going out, or the destination, coming in.
    pub end: End<A>,
    /// The zone of the inside endpoint.
    pub zone: u16,
    /// Where such packets left when they were walked for.
    pub out: u16,
}

/// A look-up that is going to be made, and where it probably ends.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<A> {
    /// The side that the packet comes from.
    pub side: Side,
    /// Its hash for that side.
    pub hash: u64,
    /// The tracker that is asked, and the packet, as the caller counts them.
    pub of: (u32, u8),
    /// Where it probably ends.
    pub hint: Hint,
    /// Where a packet from the outside then goes on: the inside address, and its zone.
    pub inside: Option<(A, u16)>,
}

impl<A> Wanted<A> {
    /// Nothing is known yet.
    #[inline(always)]
    pub const fn new((side, hash): (Side, u64), of: (u32, u8)) -> Self {
        Self { side, hash, of, hint: Hint::NONE, inside: None }
    }
}

/// The connection that a look-up probably ends at: another one if two have similar hashes, or if it ended meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint(u32);

impl Hint {
    /// None.
    pub const NONE: Self = Self(NONE);
}

impl Tracker {
    /// Brings near to the processor what these look-ups will need: one after the other, each would wait for memory twice
    /// and more; here all wait together.
    pub fn fetch<A: Address>(&self, wanted: &mut [Wanted<A>]) {
        // A processor looks only some hundred instructions ahead: loads wait together where nothing is done between them.
        let buckets = wanted.iter().fold(0, |all, w| all ^ self.index(w.side).touch(w.hash));
        for w in wanted.iter_mut() {
            w.hint = self.index(w.side).find(w.hash, |_| true).map_or(Hint::NONE, Hint);
        }
        let hinted = wanted.iter().filter_map(|w| self.connections.try_get(w.hint.0));
        let records = hinted.fold(0, |all, c| all ^ c.ports[0]);
        core::hint::black_box(buckets ^ records);
        for w in wanted.iter_mut().filter(|w| w.side == Side::Outside && w.hint != Hint::NONE) {
            let c = self.connections.get(w.hint.0);
            if c.has(flag::WIDE) == A::IS_WIDE {
                w.inside = Some((c.end_beyond(&self.wide, Side::Outside).0, c.zones[0]));
            }
        }
    }

    /// The connection of a packet that comes from this side, where `hint` says or elsewhere.
    #[inline(always)]
    fn find_near<A: Address>(
        &self,
        (side, hash): (Side, u64),
        hint: Hint,
        tuple: &Tuple<A>,
    ) -> Option<(u32, &Entry)> {
        let is = |c: &Entry| c.has_ends(&self.wide, side, tuple);
        match self.connections.try_get(hint.0) {
            Some(c) if c.has(flag::LIVE) && is(c) => Some((hint.0, c)),
            _ => {
                let idx = self.index(side).find(hash, |idx| is(self.connections.get(idx)))?;
                Some((idx, self.connections.get(idx)))
            }
        }
    }

    /// How a packet goes on that comes from this side, under the configuration and by the interface of a walk that was
    /// [remembered](Self::remember). `hash` is that of the packet for this side, `hint` what
    /// [`fetch`](Self::fetch) found for it.
    #[inline]
    pub fn passage<A: Address>(
        &self,
        now: Instant,
        ((side, hash), hint): ((Side, u64), Hint),
        tuple: &Tuple<A>,
        by: (u16, u16),
    ) -> Option<Passage<A>> {
        let (idx, c) = self.find_near((side, hash), hint, tuple)?;
        let out = c.pass(side, by).filter(|_| c.deadline > now)?;
        Some(Passage { idx, end: c.end_beyond(&self.wide, side), zone: c.zones[0], out })
    }

    /// Moves the connection of a passage on by its packet.
    ///
    /// # Errors
    /// [`OutOfWindow`]: a TCP segment that cannot belong to it.
    #[inline]
    pub fn pass_on<A>(
        &mut self,
        now: Instant,
        passage: &Passage<A>,
        side: Side,
        sent: &Sent,
    ) -> Result<(), OutOfWindow> {
        self.touch(now, passage.idx, side, sent).map(|_| ())
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
    }
}
