//! Virtual reassembly: later fragments are given the ports of the first one, without putting the packet together.
//!
//! Fragments may come in any order; those before the first wait for it. Exact duplicates are dropped, overlaps condemn
//! the packet (RFC 1858, RFC 3128, RFC 8200 §4.5 for the rule). Everything is bounded, so that a flood of fragments
//! costs whole packets nothing (RFC 4787 REQ-14a).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use packet::{Frame, Instant, IpProtocol};

use crate::Drop;
use crate::flow::{Flow, Ip, Kind};
use crate::snapshot::IfIndex;

/// Packets in the making.
const MAX_PACKETS: usize = 1024;
/// Of them, from one source.
const MAX_PACKETS_OF_SOURCE: usize = 256;
/// Pieces of one packet: 65,535 bytes in pieces for an MTU of 576 and some more.
const MAX_PIECES: usize = 128;
/// Frames that wait for a first fragment.
const MAX_HELD: usize = 512;
/// From the first piece that came (RFC 791 §3.2 recommends 15 s as initial setting).
const TIMEOUT: Duration = Duration::from_secs(15);

/// RFC 791 §2.3; for IPv6 without the protocol (RFC 8200 §4.5), which later fragments may call otherwise.
type Key = (IpAddr, IpAddr, IpNumber, u32);
type IpNumber = u8;

/// A fragment that came before the first one.
#[derive(Debug)]
pub(crate) struct Held {
    pub frame: Frame,
    pub ip: Ip,
    pub interface: IfIndex,
}

#[derive(Debug)]
struct Pieces {
    flow: Option<Flow>,
    /// First byte and the one after the last of each piece, ascending.
    ranges: Vec<(usize, usize)>,
    /// Bytes of the whole payload, once the last piece is known.
    total: Option<usize>,
    condemned: bool,
    held: Vec<Held>,
    born: Instant,
}

/// Packets in the making.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    packets: BTreeMap<Key, Pieces>,
    of_source: BTreeMap<IpAddr, usize>,
    by_age: VecDeque<(Instant, Key)>,
    n_held: usize,
}

/// What to do with a fragment.
#[derive(Debug)]
pub(crate) enum Sorted {
    /// Pass it on as part of this flow, and after it those that waited for it.
    Pass(Flow, Vec<Held>),
    /// It waits for the first.
    Waiting,
}

impl Fragments {
    /// Sorts in a fragment. `flow` is that of a first fragment, none for later ones. Takes the frame if it has to wait.
    pub(crate) fn sort(
        &mut self,
        now: Instant,
        ip: &Ip,
        flow: Option<Flow>,
        frame: &mut Option<Frame>,
        interface: IfIndex,
    ) -> Result<Sorted, Drop> {
        let protocol = if ip.src.is_ipv4() { ip.protocol.0 } else { 0 };
        let key = (ip.src, ip.dst, protocol, ip.identification);
        let (start, len) = (ip.fragment_at, ip.total_len - ip.header_len);
        check_piece(ip, len, flow.as_ref())?;
        let may_hold = self.n_held < MAX_HELD;
        let pieces = self.packet(now, key)?;
        match pieces.add(start, start + len, ip.more_fragments) {
            Ok(()) => {}
            Err(Misfit::Duplicate) => return Err(Drop::BadFragments),
            Err(Misfit::Overlap) => {
                pieces.condemned = true;
                self.n_held -= std::mem::take(&mut pieces.held).len();
                return Err(Drop::BadFragments);
            }
        }
        if flow.is_some() {
            pieces.flow = flow;
        }
        let Some(first) = pieces.flow else {
            if !may_hold {
                return Err(Drop::BadFragments);
            }
            pieces.held.extend(frame.take().map(|frame| Held { frame, ip: *ip, interface }));
            self.n_held += 1;
            return Ok(Sorted::Waiting);
        };
        let held = std::mem::take(&mut pieces.held);
        let complete = pieces.is_complete();
        self.n_held -= held.len();
        if complete {
            self.forget(key);
        }
        Ok(Sorted::Pass(if ip.is_later_fragment() { first.later(ip) } else { first }, held))
    }

    fn packet(&mut self, now: Instant, key: Key) -> Result<&mut Pieces, Drop> {
        if !self.packets.contains_key(&key) {
            let of_source = self.of_source.entry(key.0).or_insert(0);
            if self.packets.len() >= MAX_PACKETS || *of_source >= MAX_PACKETS_OF_SOURCE {
                if *of_source == 0 {
                    self.of_source.remove(&key.0);
                }
                return Err(Drop::BadFragments);
            }
            *of_source += 1;
            self.by_age.push_back((now, key));
        }
        let fresh = || Pieces {
            flow: None,
            ranges: Vec::new(),
            total: None,
            condemned: false,
            held: Vec::new(),
            born: now,
        };
        Ok(self.packets.entry(key).or_insert_with(fresh))
    }

    fn forget(&mut self, key: Key) -> usize {
        let Some(pieces) = self.packets.remove(&key) else { return 0 };
        self.n_held -= pieces.held.len();
        if let Some(n) = self.of_source.get_mut(&key.0) {
            *n -= 1;
            if *n == 0 {
                self.of_source.remove(&key.0);
            }
        }
        pieces.held.len()
    }

    /// Forgets what has not come together in time; returns the number of fragments that had waited in vain.
    pub(crate) fn expire(&mut self, now: Instant) -> usize {
        let mut n_lost = 0;
        while let Some((born, key)) = self.by_age.front().copied().filter(|(born, _)| *born + TIMEOUT <= now)
        {
            self.by_age.pop_front();
            // The key may have been complete and come again since.
            if self.packets.get(&key).is_some_and(|p| p.born == born) {
                n_lost += self.forget(key);
            }
        }
        n_lost
    }

    /// When [`expire`](Self::expire) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.by_age.front().map(|(born, _)| *born + TIMEOUT)
    }
}

/// What no fragment may be, whatever else has come.
fn check_piece(ip: &Ip, len: usize, flow: Option<&Flow>) -> Result<(), Drop> {
    // RFC 8200 §4.5 counts from behind the fixed and the fragment header.
    let uncounted = if ip.src.is_ipv4() { 0 } else { 48 };
    let past_end = ip.fragment_at + len + ip.header_len > usize::from(u16::MAX) + uncounted;
    let uneven = ip.more_fragments && !len.is_multiple_of(8);
    // RFC 3128: a second fragment at byte 8 could replace the flags of a TCP header.
    let tiny = ip.protocol == IpProtocol::TCP && ip.fragment_at == 8;
    let no_error = !matches!(flow.map(|f| f.kind), Some(Kind::Error(_)));
    match len > 0 && !past_end && !uneven && !tiny && no_error {
        true => Ok(()),
        false => Err(Drop::BadFragments),
    }
}

enum Misfit {
    Duplicate,
    Overlap,
}

impl Pieces {
    fn add(&mut self, start: usize, end: usize, more: bool) -> Result<(), Misfit> {
        if self.condemned || self.ranges.len() == MAX_PIECES {
            return Err(Misfit::Overlap);
        }
        let at = self.ranges.partition_point(|(s, _)| *s < start);
        if self.ranges.get(at) == Some(&(start, end)) {
            return Err(Misfit::Duplicate);
        }
        let before = at.checked_sub(1).is_none_or(|i| self.ranges[i].1 <= start);
        let after = self.ranges.get(at).is_none_or(|(s, _)| end <= *s);
        let within = self.total.is_none_or(|total| end <= total && (more || end == total));
        let last_is_last = more || self.ranges.last().is_none_or(|(_, e)| *e <= end);
        if !before || !after || !within || !last_is_last {
            return Err(Misfit::Overlap);
        }
        self.ranges.insert(at, (start, end));
        if !more {
            self.total = Some(end);
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        let mut next = 0;
        let gapless = self.ranges.iter().all(|(start, end)| std::mem::replace(&mut next, *end) == *start);
        gapless && self.total == Some(next)
    }
}
