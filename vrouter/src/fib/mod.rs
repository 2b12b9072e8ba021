//! Where destinations lead: what workers look up, and how the owner changes it.
//!
//! Prefixes lead to *sets* by id, sets to next *hops*. Thousands of prefixes share a set, so a next hop that goes down is
//! one write, whatever the number of routes ([`Alive`]). The owner keeps all routes in the [`Rib`], which turns changes
//! of routes into changes of prefixes; the [`Twin`] applies these to the instance that no worker holds.

mod group;
mod rib;
mod tally;
mod twin;

use core::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lookup::Lpm;

pub(crate) use group::Group;
pub(crate) use rib::{Candidate, Rib};
pub(crate) use tally::Tally;
pub use tally::Traffic;
pub(crate) use twin::Twin;

use crate::Prefix;
use crate::snapshot::IfIndex;

/// Number of a VRF; zero is the one without a name.
pub(crate) type VrfId = u16;
/// The VRF without a name.
pub(crate) const NAMELESS: VrfId = 0;
/// Number of a set of next hops. [`ASKS`] is set where packets are counted, so that a worker that has the number need not
/// look further to know that they are not.
pub(crate) type SetId = u32;
/// In the number of a set: its packets are counted, or are passed on to a set where they may be. [`Lpm`] has room for it.
const ASKS: SetId = 1 << 25;

/// Whether [`Fib::count`] is to be told of packets that go by a set.
#[inline(always)]
pub(crate) const fn asks(set: SetId) -> bool {
    set & ASKS != 0
}

/// The place of a set among all.
#[inline(always)]
const fn place(set: SetId) -> usize {
    (set & !ASKS) as usize
}

/// Number of a next hop.
pub(crate) type HopId = u16;

/// What a route comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hop {
    /// An address of this router, on that interface.
    Local(IfIndex),
    /// All stations of a network; not forwarded (RFC 2644).
    Broadcast,
    /// The destination is a neighbour there.
    Connected(IfIndex),
    /// That neighbour takes it on.
    Gateway(IfIndex, IpAddr),
    /// Looked up again in that VRF.
    Table(VrfId),
    Blackhole,
    Unreachable,
    Prohibit,
}

impl Hop {
    /// The interface it leaves by.
    pub(crate) fn interface(self) -> Option<IfIndex> {
        match self {
            Self::Connected(interface) | Self::Gateway(interface, _) => Some(interface),
            _ => None,
        }
    }
}

/// One next hop, or several that share the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    One(Hop),
    Group(Arc<Group>),
}

/// Which next hops of groups are up; shared by owner and workers.
#[derive(Debug)]
pub(crate) struct Alive(Box<[AtomicU64]>);

impl Default for Alive {
    fn default() -> Self {
        Self((0..=usize::from(HopId::MAX) / 64).map(|_| AtomicU64::new(u64::MAX)).collect())
    }
}

impl Alive {
    #[inline(always)]
    pub(crate) fn is_up(&self, hop: HopId) -> bool {
        self.0[usize::from(hop) / 64].load(Ordering::Relaxed) >> (hop % 64) & 1 != 0
    }

    pub(crate) fn set(&self, hop: HopId, up: bool) {
        let (word, bit) = (&self.0[usize::from(hop) / 64], 1 << (hop % 64));
        match up {
            true => word.fetch_or(bit, Ordering::Relaxed),
            false => word.fetch_and(!bit, Ordering::Relaxed),
        };
    }
}

/// The prefixes of one VRF.
#[derive(Clone, Debug, Default)]
struct Table {
    v4: Lpm<u32>,
    v6: Lpm<u128>,
}

/// One change of a [`Fib`].
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A set has this content from now on, and counts its packets there.
    Set(SetId, Set, Option<Arc<Tally>>),
    /// A prefix leads to a set, or nowhere of its own.
    Prefix(VrfId, Prefix, Option<SetId>),
}

/// Which addresses may be this router's own, or stand for all stations of a network: a filter of two bits in one word (Bloom), so that
/// for most addresses no look-up is needed to say that they are not. What was its own once may stay.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    bits: Box<[u64; Self::N_WORDS]>,
    /// A whole network is.
    all: bool,
}

impl Default for Own {
    fn default() -> Self {
        Self { bits: Box::new([0; Self::N_WORDS]), all: false }
    }
}

impl Own {
    const N_WORDS: usize = 128;

    #[inline(always)]
    fn place(addr: IpAddr) -> (usize, u64) {
        let bits = match addr {
            IpAddr::V4(addr) => u64::from(addr.to_bits()),
            IpAddr::V6(addr) => addr.to_bits() as u64 ^ (addr.to_bits() >> 64) as u64,
        };
        let hash = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ((hash >> 12) as usize % Self::N_WORDS, 1 << (hash % 64) | 1 << (hash >> 6 & 63))
    }

    pub(crate) fn insert(&mut self, prefix: &Prefix) {
        if prefix.prefix_len() == if prefix.addr().is_ipv4() { 32 } else { 128 } {
            self.insert_addr(prefix.addr());
        } else {
            self.all = true;
        }
    }

    pub(crate) fn insert_addr(&mut self, addr: IpAddr) {
        let (word, both) = Self::place(addr);
        self.bits[word] |= both;
    }

    #[inline(always)]
    pub(crate) fn may_hold(&self, addr: IpAddr) -> bool {
        let (word, both) = Self::place(addr);
        self.all || self.bits[word] & both == both
    }
}

/// What workers look destinations up in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fib {
    tables: Vec<Table>,
    sets: Vec<(Set, Option<Arc<Tally>>)>,
    /// Some set has counted.
    counts: bool,
    alive: Arc<Alive>,
    own: Own,
}

/// Look-ups of one packet, leaks from one VRF to the next among them.
const MAX_LEAKS: usize = 4;

impl Fib {
    /// An empty one that goes by `alive`.
    pub(crate) fn new(alive: Arc<Alive>) -> Self {
        Self { alive, ..Self::default() }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Set(id, set, tally) => {
                let at = place(*id);
                if self.sets.len() <= at {
                    self.sets.resize(at + 1, (Set::One(Hop::Blackhole), None));
                }
                self.sets[at] = (set.clone(), tally.clone());
                self.counts |= tally.is_some();
            }
            Change::Prefix(vrf, prefix, set) => {
                let at = usize::from(*vrf);
                if self.tables.len() <= at {
                    self.tables.resize_with(at + 1, Table::default);
                }
                // A set has its content before a prefix leads to it.
                let set_of = set.and_then(|set| self.content(set));
                if matches!(set_of, Some(Set::One(Hop::Local(_) | Hop::Broadcast))) {
                    self.own.insert(prefix);
                }
                let (table, len) = (&mut self.tables[at], prefix.prefix_len());
                match (prefix.addr(), set) {
                    (IpAddr::V4(addr), Some(set)) => table.v4.insert(addr.to_bits(), len, *set),
                    (IpAddr::V4(addr), None) => table.v4.remove(addr.to_bits(), len),
                    (IpAddr::V6(addr), Some(set)) => table.v6.insert(addr.to_bits(), len, *set),
                    (IpAddr::V6(addr), None) => table.v6.remove(addr.to_bits(), len),
                };
            }
        }
    }

    /// Whether a look-up of `addr` could end at this router or at all stations of a network.
    #[inline(always)]
    pub(crate) fn may_be_own(&self, addr: IpAddr) -> bool {
        self.own.may_hold(addr)
    }

    /// The sets that addresses lead to from `vrf`, each in the place of its address. One after the other, each look-up for
    /// itself would wait for memory as often as it has steps; here the waits of all overlap.
    pub(crate) fn sets_v4(&self, vrf: VrfId, addrs: impl Iterator<Item = u32>, found: &mut [Option<SetId>]) {
        match self.tables.get(usize::from(vrf)) {
            Some(table) => table.v4.lookup_each(addrs, found),
            None => found.fill(None),
        }
    }

    /// The same for IPv6.
    pub(crate) fn sets_v6(&self, vrf: VrfId, addrs: impl Iterator<Item = u128>, found: &mut [Option<SetId>]) {
        match self.tables.get(usize::from(vrf)) {
            Some(table) => table.v6.lookup_each(addrs, found),
            None => found.fill(None),
        }
    }

    #[inline(always)]
    fn content(&self, set: SetId) -> Option<&Set> {
        self.sets.get(place(set)).map(|(set, _)| set)
    }

    /// The set that an address leads to.
    #[inline]
    pub(crate) fn set_id(&self, vrf: VrfId, addr: IpAddr) -> Option<SetId> {
        let table = self.tables.get(usize::from(vrf))?;
        match addr {
            IpAddr::V4(addr) => table.v4.lookup(addr.to_bits()),
            IpAddr::V6(addr) => table.v6.lookup(addr.to_bits()),
        }
    }

    #[inline]
    fn set(&self, vrf: VrfId, addr: IpAddr) -> Option<&Set> {
        self.content(self.set_id(vrf, addr)?)
    }

    /// The next hop of a set, with leaks left to `leak`, which is given the VRF to look up in: as [`lookup`](Self::lookup), but
    /// nothing is copied.
    #[inline(always)]
    pub(crate) fn hop(
        &self,
        set: Option<SetId>,
        leak: impl Fn(VrfId) -> Option<SetId>,
        hash: impl Fn() -> u64,
    ) -> Option<&Hop> {
        let mut set = set;
        for _ in 0..MAX_LEAKS {
            match self.content(set?)? {
                Set::One(Hop::Table(next)) => set = leak(*next),
                Set::One(hop) => return Some(hop),
                Set::Group(group) => return Some(group.select(hash(), &self.alive)),
            }
        }
        None
    }

    /// Counts what this worker has seen go by a set that [asks](asks) for it, and by those that it was passed on to.
    #[cold]
    #[inline(never)]
    pub(crate) fn count(
        &self,
        set: SetId,
        leak: impl Fn(VrfId) -> Option<SetId>,
        worker: usize,
        seen: Traffic,
    ) {
        let mut set = Some(set).filter(|_| self.counts);
        for _ in 0..MAX_LEAKS {
            let Some((content, tally)) = set.and_then(|set| self.sets.get(place(set))) else { return };
            if let Some(tally) = tally {
                tally.add(worker, seen);
            }
            match content {
                Set::One(Hop::Table(next)) => set = leak(*next),
                _ => return,
            }
        }
    }

    /// Whether a set is one next hop that is another station, whatever the packet.
    pub(crate) fn leads_to_one(&self, set: SetId) -> bool {
        matches!(self.content(set), Some(Set::One(Hop::Gateway(..))))
    }

    /// The set that an address of IPv4 leads to.
    #[inline(always)]
    pub(crate) fn set_v4(&self, vrf: VrfId, addr: u32) -> Option<SetId> {
        self.tables.get(usize::from(vrf))?.v4.lookup(addr)
    }

    /// The set that an address of IPv6 leads to.
    #[inline(always)]
    pub(crate) fn set_v6(&self, vrf: VrfId, addr: u128) -> Option<SetId> {
        self.tables.get(usize::from(vrf))?.v6.lookup(addr)
    }

    /// Where `addr` leads from `vrf`; `hash` tells flows apart where several next hops share them.
    #[inline]
    pub(crate) fn lookup(&self, vrf: VrfId, addr: IpAddr, hash: impl Fn() -> u64) -> Option<Hop> {
        self.lookup_from(self.set_id(vrf, addr), addr, hash)
    }

    /// The same where the set that `addr` leads to has been found already.
    #[inline]
    pub(crate) fn lookup_from(
        &self,
        set: Option<SetId>,
        addr: IpAddr,
        hash: impl Fn() -> u64,
    ) -> Option<Hop> {
        self.hop(set, |next| self.set_id(next, addr), hash).copied()
    }

    /// Whether `pass` holds for a next hop that `addr` may lead to.
    pub(crate) fn leads(&self, vrf: VrfId, addr: IpAddr, pass: impl Fn(Hop) -> bool) -> bool {
        let mut vrf = vrf;
        for _ in 0..MAX_LEAKS {
            match self.set(vrf, addr) {
                Some(Set::One(Hop::Table(next))) => vrf = *next,
                Some(Set::One(hop)) => return pass(*hop),
                Some(Set::Group(group)) => return group.hops().any(pass),
                None => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn addr(v6: bool, bits: u32) -> IpAddr {
        // Few distinct leading bits, so that prefixes nest.
        let bits = bits & 0xc003_00ff;
        match v6 {
            false => IpAddr::V4(bits.into()),
            true => IpAddr::V6((u128::from(bits) << 96 | u128::from(bits & 0xff)).into()),
        }
    }

    fn scan(routes: &BTreeMap<(VrfId, Prefix), SetId>, vrf: VrfId, addr: IpAddr) -> Option<Hop> {
        let holding = routes.iter().filter(|((v, p), _)| *v == vrf && p.contains(addr));
        holding.max_by_key(|((_, p), _)| p.prefix_len()).map(|(_, set)| Hop::Connected(*set as IfIndex))
    }

    proptest! {
        /// Both instances, each caught up from the log when its turn comes, agree with a linear scan of all routes.
        #[test]
        fn r06_agrees_with_a_linear_scan(
            ops in prop::collection::vec((any::<(bool, u32)>(), 0..=128u8, 0..2u16, prop::option::of(0..20u32)), 0..80),
            batch in 1usize..7,
            probes in prop::collection::vec(any::<u32>(), 20),
        ) {
            let mut twin = Twin::new(Arc::default());
            let mut routes = BTreeMap::new();
            for id in 0..20 {
                twin.push(Change::Set(id, Set::One(Hop::Connected(id as IfIndex)), None));
            }
            for changes in ops.chunks(batch) {
                for &((v6, bits), len, vrf, set) in changes {
                    let prefix = Prefix::new(addr(v6, bits), if v6 { len } else { len.min(32) }).expect("a length");
                    match set {
                        Some(set) => routes.insert((vrf, prefix), set),
                        None => routes.remove(&(vrf, prefix)),
                    };
                    twin.push(Change::Prefix(vrf, prefix, set));
                }
                let fib = twin.publish().expect("nobody holds the other one");
                let own = routes.keys().map(|(_, p)| p.addr());
                for probe in probes.iter().flat_map(|p| [addr(false, *p), addr(true, *p)]).chain(own) {
                    for vrf in 0..3 {
                        prop_assert_eq!(fib.lookup(vrf, probe, || 0), scan(&routes, vrf, probe), "{}", probe);
                    }
                }
            }
        }
    }

    /// Who is taken for the router's own takes the long way.
    #[test]
    fn few_addresses_are_taken_for_the_routers_own() {
        let mut own = Own::default();
        let (mine, others) = (0xc633_6400..0xc633_6440u32, 0x0a00_0000..0x0a02_0000u32);
        mine.clone().for_each(|addr| own.insert_addr(IpAddr::V4(addr.into())));
        assert!(mine.clone().all(|addr| own.may_hold(IpAddr::V4(addr.into()))));
        let n = others.clone().filter(|addr| own.may_hold(IpAddr::V4((*addr).into()))).count();
        assert!(n < others.len() / 250, "{n} of {}", others.len());
    }

    #[test]
    fn a_leak_that_goes_round_ends() {
        let mut fib = Fib::default();
        let any: Prefix = "0.0.0.0/0".parse().expect("a prefix");
        for (vrf, next) in [(0, 1), (1, 0)] {
            fib.apply(&Change::Set(vrf, Set::One(Hop::Table(next)), None));
            fib.apply(&Change::Prefix(vrf as VrfId, any, Some(vrf)));
        }
        assert_eq!(fib.lookup(0, addr(false, 1), || 0), None);
        assert!(!fib.leads(0, addr(false, 1), |_| true));
    }
}
