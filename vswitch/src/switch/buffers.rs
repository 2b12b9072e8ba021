//! Packets that wait in the switch while a controller has seen only their first bytes (§7.4.1, §7.3.7).
//!
//! One buffer serves all controllers: each is told the same number, and the first that uses it gets the packet. A number
//! is used once. A packet is given up only when it is old and its place is needed; while all places are taken by younger
//! ones, packets go to the controller whole.

use core::time::Duration;

use openflow::error::BadRequest;
use openflow::{BufferId, PortNo};
use packet::Instant;

/// Packets that may wait.
pub(super) const N_BUFFERS: u32 = 256;
/// Bytes of packets that may wait.
const MAX_SIZE: usize = 4 << 20;
/// A packet has this long before another may take its place.
const PATIENCE: Duration = Duration::from_secs(5);
/// Low bits of a number name the place, the others tell its packets apart.
const PLACE_BITS: u32 = N_BUFFERS.trailing_zeros();

/// A packet that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Buffered {
    pub in_port: PortNo,
    pub data: Vec<u8>,
}

#[derive(Debug)]
struct Place {
    id: BufferId,
    since: Instant,
    /// None once it was used.
    packet: Option<Buffered>,
}

/// All packets that wait.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    places: Vec<Place>,
    size: usize,
    next: u32,
}

impl Buffers {
    /// Keeps a packet, if there is room.
    pub(super) fn put(&mut self, now: Instant, packet: Buffered) -> Result<BufferId, Buffered> {
        if self.size + packet.data.len() > MAX_SIZE {
            self.give_up(now);
        }
        let at = self.next % N_BUFFERS;
        // Never zero, which some controllers take for none, until two thousand million were given.
        let id = BufferId(self.next.wrapping_add(N_BUFFERS) & (u32::MAX >> 1));
        let freed = match self.places.get(at as usize) {
            Some(Place { packet: Some(_), since, .. }) if *since + PATIENCE > now => return Err(packet),
            Some(Place { packet: Some(old), .. }) => old.data.len(),
            _ => 0,
        };
        let size = self.size - freed + packet.data.len();
        if size > MAX_SIZE {
            return Err(packet);
        }
        self.size = size;
        self.next = self.next.wrapping_add(1);
        let place = Place { id, since: now, packet: Some(packet) };
        match self.places.get_mut(at as usize) {
            Some(old) => *old = place,
            None => self.places.push(place),
        }
        Ok(id)
    }

    /// Forgets all packets that are old.
    fn give_up(&mut self, now: Instant) {
        let old = |place: &&mut Place| place.since + PATIENCE <= now;
        for packet in self.places.iter_mut().filter(old).filter_map(|place| place.packet.take()) {
            self.size -= packet.data.len();
        }
    }

    /// Whether a number still stands for a packet.
    ///
    /// # Errors
    /// BUFFER_EMPTY if it was used, or given up for want of memory; BUFFER_UNKNOWN if it was never given, or is another's.
    pub(super) fn check(&self, id: BufferId) -> Result<(), BadRequest> {
        let place = self.places.get((id.0 & ((1 << PLACE_BITS) - 1)) as usize);
        match place.filter(|place| place.id == id) {
            None => Err(BadRequest::BufferUnknown),
            Some(Place { packet: None, .. }) => Err(BadRequest::BufferEmpty),
            Some(_) => Ok(()),
        }
    }

    /// Takes a packet out.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn take(&mut self, id: BufferId) -> Result<Buffered, BadRequest> {
        self.check(id)?;
        let place = self.places.iter_mut().find(|place| place.id == id);
        let packet = place.and_then(|place| place.packet.take()).ok_or(BadRequest::BufferUnknown)?;
        self.size -= packet.data.len();
        Ok(packet)
    }

    /// Puts a packet back that was taken in vain.
    pub(super) fn put_back(&mut self, id: BufferId, packet: Buffered) {
        if let Some(place) = self.places.iter_mut().find(|place| place.id == id) {
            self.size += packet.data.len();
            place.packet = Some(packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(n: usize) -> Buffered {
        Buffered { in_port: PortNo(1), data: vec![n as u8; n] }
    }

    #[test]
    fn numbers_are_used_once() {
        let (mut buffers, now) = (Buffers::default(), Instant::from_secs(1));
        let ids = [10, 20].map(|n| buffers.put(now, packet(n)).expect("there is room"));
        assert_ne!(ids[0], ids[1]);
        assert_eq!(buffers.take(ids[0]), Ok(packet(10)));
        assert_eq!(buffers.take(ids[0]), Err(BadRequest::BufferEmpty));
        assert_eq!(buffers.take(BufferId(77)), Err(BadRequest::BufferUnknown));
        assert_eq!(buffers.take(BufferId(ids[1].0 + (1 << PLACE_BITS))), Err(BadRequest::BufferUnknown));
        buffers.put_back(ids[0], packet(10));
        assert_eq!((buffers.take(ids[0]), buffers.take(ids[1])), (Ok(packet(10)), Ok(packet(20))));
        assert_eq!(buffers.size, 0);
    }

    #[test]
    fn only_what_is_old_gives_way() {
        let (mut buffers, mut now) = (Buffers::default(), Instant::from_secs(1));
        let first = buffers.put(now, packet(1)).expect("there is room");
        let others = (1..N_BUFFERS).map(|_| buffers.put(now, packet(1)).expect("there is room")).last();
        assert_eq!(buffers.put(now, packet(2)), Err(packet(2)), "all places are taken by young packets");
        now = now + PATIENCE;
        let next = buffers.put(now, packet(3)).expect("the first is old");
        assert_eq!(buffers.take(first), Err(BadRequest::BufferUnknown));
        assert_eq!((buffers.take(next), buffers.take(others.expect("255"))), (Ok(packet(3)), Ok(packet(1))));
    }

    #[test]
    fn their_memory_is_bounded() {
        let (mut buffers, mut now) = (Buffers::default(), Instant::from_secs(1));
        let n = (0..N_BUFFERS).take_while(|_| buffers.put(now, packet(60_000)).is_ok()).count();
        assert_eq!(n, MAX_SIZE / 60_000);
        for _ in 0..1000 {
            now = now + PATIENCE;
            assert!(buffers.put(now, packet(60_000)).is_ok(), "what is old gives way");
            assert!(buffers.size <= MAX_SIZE);
        }
    }
}
