//! Outside ports: which are taken, and how a free one is chosen.

use core::net::IpAddr;
use core::ops::Range;

use packet::IpProtocol;

use crate::hash::Random;
use crate::{Endpoint, Shard};

const N_WORDS: usize = 1024;
/// Ports below 1024 fill the first words.
const LOW_WORDS: usize = 16;

/// Ports (or identifiers) of one outside address and protocol.
#[derive(Debug)]
struct Space {
    zone: u16,
    addr: IpAddr,
    protocol: IpProtocol,
    /// Bit set: a binding has it.
    used: Vec<u64>,
    /// Bit set: the configuration has it.
    reserved: Vec<u64>,
}

impl Space {
    fn is_free(&self, port: u16) -> bool {
        let (word, bit) = (usize::from(port >> 6), 1 << (port & 63));
        (self.used[word] | self.reserved[word]) & bit == 0
    }

    /// A port that nobody has.
    fn pick(&self, words: Range<usize>, shard: Shard, random: &mut Random) -> Option<u16> {
        self.pick_of(words, shard, random, |word| self.used[word] | self.reserved[word])
    }

    /// A port that others may have.
    fn pick_shared(&self, words: Range<usize>, shard: Shard, random: &mut Random) -> Option<u16> {
        self.pick_of(words, shard, random, |word| self.reserved[word])
    }

    /// A port that is not taken, of those words that belong to `shard`: a random word to begin with, then the next
    /// ones, and a random bit of the first that has one (RFC 6056 §3.3.1).
    fn pick_of(
        &self,
        words: Range<usize>,
        shard: Shard,
        random: &mut Random,
        taken: impl Fn(usize) -> u64,
    ) -> Option<u16> {
        let Range { start: first, end } = words;
        let (index, count) = (shard.index as usize, shard.count as usize);
        let first = first + (index + count - first % count) % count;
        let n_own = end.saturating_sub(first).div_ceil(count);
        let draw = random.draw();
        let start = (draw >> 32) as usize;
        for step in 0..n_own {
            let word_idx = first + (start % n_own + step) % n_own * count;
            let mut free = !taken(word_idx);
            if word_idx == 0 && !is_query(self.protocol) {
                free &= !1; // Port 0 is nobody's (RFC 6335 §6).
            }
            if free != 0 {
                let turn = draw as u32 & 63;
                let bit = (free.rotate_right(turn).trailing_zeros() + turn) & 63;
                return Some((word_idx * 64) as u16 + bit as u16);
            }
        }
        None
    }
}

/// Has identifiers instead of ports.
fn is_query(protocol: IpProtocol) -> bool {
    matches!(protocol, IpProtocol::ICMP | IpProtocol::ICMPV6)
}

/// The ports of all outside addresses, as far as they belong to one shard.
#[derive(Debug)]
pub(crate) struct Ports {
    spaces: Vec<Space>,
    shard: Shard,
}

impl Ports {
    pub(crate) fn new(shard: Shard) -> Self {
        Self { spaces: Vec::new(), shard }
    }

    fn space(&mut self, zone: u16, addr: IpAddr, protocol: IpProtocol) -> &mut Space {
        let is = |s: &Space| s.addr == addr && s.protocol == protocol && s.zone == zone;
        let found = self.spaces.iter().position(is);
        let at = found.unwrap_or_else(|| {
            let (used, reserved) = (vec![0; N_WORDS], vec![0; N_WORDS]);
            self.spaces.push(Space { zone, addr, protocol, used, reserved });
            self.spaces.len() - 1
        });
        &mut self.spaces[at]
    }

    /// Takes a free port of `addr` for an inside port.
    pub(crate) fn take(
        &mut self,
        (zone, addr): (u16, IpAddr),
        protocol: IpProtocol,
        inside_port: u16,
        random: &mut Random,
    ) -> Option<u16> {
        let shard = self.shard;
        let space = self.space(zone, addr, protocol);
        let port = if is_query(protocol) {
            space.pick(0..N_WORDS, shard, random)?
        } else if inside_port < 1024 {
            // RFC 4787 REQ-3a: the class of ports below 1024 is kept where that is possible.
            let low = space.pick(0..LOW_WORDS, shard, random);
            low.or_else(|| space.pick(LOW_WORDS..N_WORDS, shard, random))?
        } else {
            space.pick(LOW_WORDS..N_WORDS, shard, random)?
        };
        debug_assert!(space.is_free(port));
        space.used[usize::from(port >> 6)] |= 1 << (port & 63);
        Some(port)
    }

    /// A random port for one connection alone, which may be another's as well where the destination differs. `shared`
    /// takes ports of bindings, too.
    pub(crate) fn draw(
        &mut self,
        (zone, addr): (u16, IpAddr),
        protocol: IpProtocol,
        inside_port: u16,
        shared: bool,
        random: &mut Random,
    ) -> Option<u16> {
        let shard = self.shard;
        let space = self.space(zone, addr, protocol);
        let words = match inside_port {
            _ if is_query(protocol) => 0..N_WORDS,
            ..1024 => 0..LOW_WORDS,
            _ => LOW_WORDS..N_WORDS,
        };
        match shared {
            false => space.pick(words, shard, random),
            true => space.pick_shared(words, shard, random),
        }
    }

    /// The configuration has it.
    pub(crate) fn is_reserved(&self, zone: u16, outside: Endpoint, protocol: IpProtocol) -> bool {
        let is = |s: &&Space| s.addr == outside.addr && s.protocol == protocol && s.zone == zone;
        let space = self.spaces.iter().find(is);
        space.is_some_and(|s| s.reserved[usize::from(outside.port >> 6)] >> (outside.port & 63) & 1 != 0)
    }

    pub(crate) fn give_back(&mut self, zone: u16, outside: Endpoint, protocol: IpProtocol) {
        let space = self.space(zone, outside.addr, protocol);
        space.used[usize::from(outside.port >> 6)] &= !(1 << (outside.port & 63));
    }

    /// Replaces the set of ports that the configuration keeps for itself.
    pub(crate) fn set_reserved(&mut self, reserved: impl IntoIterator<Item = (u16, IpProtocol, Endpoint)>) {
        self.spaces.iter_mut().for_each(|s| s.reserved.fill(0));
        for (zone, protocol, endpoint) in reserved {
            let space = self.space(zone, endpoint.addr, protocol);
            space.reserved[usize::from(endpoint.port >> 6)] |= 1 << (endpoint.port & 63);
        }
        self.spaces.retain(|s| s.used.iter().chain(&s.reserved).any(|w| *w != 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Key;
    use std::collections::BTreeSet;

    const ADDR: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn every_port_is_given_once_and_only_by_its_shard() {
        let mut seen = BTreeSet::new();
        for index in 0..3 {
            let shard = Shard { index, count: 3 };
            let (mut ports, mut random) = (Ports::new(shard), Random::new(Key::new([1, 2])));
            while let Some(port) = ports.take((0, ADDR), IpProtocol::UDP, 5000, &mut random) {
                assert!(port >= 1024);
                assert_eq!(Shard::of_port(port, 3), index);
                assert!(seen.insert(port), "{port} twice");
            }
        }
        assert_eq!(seen.len(), 64_512);
    }

    #[test]
    fn n34_low_ports_stay_low_and_zero_is_never_given() {
        let (mut ports, mut random) = (Ports::new(Shard::ONLY), Random::new(Key::new([1, 2])));
        for _ in 0..1023 {
            let port = ports.take((0, ADDR), IpProtocol::TCP, 22, &mut random).expect("free");
            assert!((1..1024).contains(&port));
        }
        assert!(ports.take((0, ADDR), IpProtocol::TCP, 22, &mut random).expect("free") >= 1024);
    }

    #[test]
    fn reserved_ports_are_left_alone() {
        let (mut ports, mut random) = (Ports::new(Shard::ONLY), Random::new(Key::new([1, 2])));
        ports.set_reserved([(0, IpProtocol::TCP, Endpoint { addr: ADDR, port: 8080 })]);
        while let Some(port) = ports.take((0, ADDR), IpProtocol::TCP, 5000, &mut random) {
            assert_ne!(port, 8080);
        }
    }

    /// N35, RFC 6888 REQ-15: sixteen equal classes of ports, 10,000 draws, chi-square below the 99.9 % quantile.
    #[test]
    fn n35_ports_are_spread_evenly_and_in_no_sequence() {
        let mut random = Random::new(Key::new([3, 4]));
        let mut classes = [0f64; 16];
        let mut last = 0u16;
        let mut n_successors = 0;
        for _ in 0..10_000 {
            let mut ports = Ports::new(Shard::ONLY);
            let port = ports.take((0, ADDR), IpProtocol::UDP, 5000, &mut random).expect("free");
            classes[usize::from((port - 1024) / 4032)] += 1.0;
            n_successors += i32::from(port.abs_diff(last) <= 1);
            last = port;
        }
        let chi: f64 = classes.iter().map(|n| (n - 625.0) * (n - 625.0) / 625.0).sum();
        assert!(chi < 37.7, "{chi}");
        assert!(n_successors < 10, "{n_successors}");
    }
}
