//! The neighbours a worker knows: resolved, being asked, or silent (RFC 826, RFC 1122 §2.3.2, RFC 4861 §7.3).
//!
//! Both families have the states of RFC 4861 §7.3.2: `Pending` is INCOMPLETE, `Known` is REACHABLE, STALE once its time is
//! over, DELAY and PROBE while it is being asked. ARP has no DELAY: the first packet to a stale neighbour asks.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use packet::{Frame, Instant, MacAddr, PortNo};

use crate::Tuning;
use crate::fib::SetId;
use crate::flow::Flow;
use crate::rewrite::Rewrite;
use crate::snapshot::{IfIndex, Snapshot};

/// An address on an interface.
pub(crate) type Key = (IfIndex, IpAddr);

/// Packets that wait, over all neighbours of a worker.
const MAX_WAITING: usize = 512;
/// A neighbour nobody has heard of for this many times its reachable time is forgotten.
const AGES: u32 = 10;

/// For hints that a stale neighbour is there after all (RFC 4861 §10, DELAY_FIRST_PROBE_TIME).
const DELAY: Duration = Duration::from_secs(5);

/// What a neighbour said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub mac: MacAddr,
    /// It answered a question, so packets to it arrive (RFC 4861 §7.2.5); otherwise it must be asked before long.
    pub confirmed: bool,
    /// Replaces another address that is known.
    pub overrides: bool,
}

impl Heard {
    /// By ARP, where every word counts.
    pub(crate) const fn by_arp(mac: MacAddr) -> Self {
        Self { mac, confirmed: true, overrides: true }
    }
}

/// A packet that waits for its neighbour. The frame begins with the IP header.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub frame: Frame,
    /// How to make of it again what came in, for an error that quotes it.
    pub undo: Option<(Rewrite, Flow)>,
    /// Forwarded for somebody by this interface, who is to be told if it fails.
    pub arrival: Option<IfIndex>,
}

#[derive(Debug)]
enum State {
    Static(MacAddr),
    Known {
        mac: MacAddr,
        /// When it was last confirmed; none: only heard of.
        confirmed: Option<Instant>,
        /// Requests sent since it went stale, one more while it waits to be asked; zero: it was not used since.
        n_probes: u8,
    },
    Pending {
        n_asked: u8,
        queue: VecDeque<Waiting>,
    },
    /// Was asked in vain; not asked again until its time is up.
    Failed,
}

#[derive(Debug)]
struct Neighbour {
    state: State,
    /// Its entry in the timer list.
    timer: Option<Instant>,
}

/// Where a packet for a neighbour goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There.
    Send(MacAddr),
    /// There, and the neighbour is to be asked whether it is still there.
    SendAndProbe(MacAddr),
    /// Into the queue; `ask` says that a request is to be sent now.
    Wait { ask: bool },
    /// It does not answer.
    Unreachable,
    /// There is no room to remember it.
    Full,
}

/// Something that is due.
#[derive(Debug)]
pub(crate) enum Due {
    /// Ask; the address it had, if it was known.
    Ask(Key, Option<MacAddr>),
    /// It did not answer; these waited for it.
    Failed(Key, VecDeque<Waiting>),
}

/// Neighbours that were sent to lately, found without a search.
const N_RECENT: usize = 256;

/// A neighbour as numbers, which are compared without a look at what kind of address it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Near {
    pub interface: IfIndex,
    pub is_v6: bool,
    pub bits: u128,
}

impl Near {
    #[inline(always)]
    pub(crate) fn new(interface: IfIndex, addr: &IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self { interface, is_v6: false, bits: addr.to_bits().into() },
            IpAddr::V6(addr) => Self { interface, is_v6: true, bits: addr.to_bits() },
        }
    }

    fn key(self) -> Key {
        let addr = match self.is_v6 {
            true => Ipv6Addr::from_bits(self.bits).into(),
            false => Ipv4Addr::from_bits(self.bits as u32).into(),
        };
        (self.interface, addr)
    }
}

/// A neighbour that packets go to without a question until then.
#[derive(Clone, Copy, Debug)]
struct Recent {
    near: Near,
    mac: u64,
    until: Instant,
}

/// How packets leave for a neighbour that the set of a route leads to alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beyond {
    /// The number of that set.
    set: SetId,
    /// When it was noted: what has changed since makes it void.
    epoch: u32,
    until: Instant,
    pub leave: Leave,
    /// Bytes from the IP header on that it may have.
    pub mtu: u16,
}

impl Beyond {
    /// Of no set.
    const NOWHERE: Self = Self {
        set: SetId::MAX,
        epoch: 0,
        until: Instant::ZERO,
        leave: Leave { port: PortNo(0), interface: 0, macs: [0; 12] },
        mtu: 0,
    };
}

/// What a packet gets on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leave {
    pub port: PortNo,
    pub interface: IfIndex,
    /// Where it goes and where it comes from, as they stand in a frame.
    pub macs: [u8; 12],
}

#[derive(Debug)]
pub(crate) struct Neighbours {
    table: BTreeMap<Key, Neighbour>,
    timers: BTreeSet<(Instant, Key)>,
    n_waiting: usize,
    /// What the table says of some that are static or not yet stale, each at its place.
    recent: Box<[Option<Recent>]>,
    /// The same of sets that lead to one of them, each at the place of its number.
    beyond: Box<[Beyond; N_RECENT]>,
    /// What was noted last.
    last: Beyond,
    /// Counts what may have changed them.
    epoch: u32,
}

impl Default for Neighbours {
    fn default() -> Self {
        let (table, timers) = (BTreeMap::new(), BTreeSet::new());
        let (recent, beyond) = (vec![None; N_RECENT].into(), Box::new([Beyond::NOWHERE; N_RECENT]));
        Self { table, timers, n_waiting: 0, recent, beyond, last: Beyond::NOWHERE, epoch: 0 }
    }
}

/// The place of a neighbour among the recent ones. Whoever chooses addresses that meet there costs himself a search.
#[inline(always)]
fn place(near: Near) -> usize {
    let bits = near.bits as u64 ^ (near.bits >> 64) as u64;
    ((bits ^ u64::from(near.interface) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % N_RECENT
}

impl Neighbours {
    /// Sets may lead elsewhere from now on.
    pub(crate) fn forget_sets(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.beyond.fill(Beyond::NOWHERE);
        }
    }

    /// Whether it was [noted](Self::note) how packets leave that a set leads to, and one of `len` bytes may.
    #[inline(always)]
    pub(crate) fn leads_beyond(&self, now: Instant, set: SetId, len: u16) -> bool {
        let b = &self.beyond[set as usize % N_RECENT];
        b.set == set && b.epoch == self.epoch && now < b.until && len <= b.mtu
    }

    /// What was noted, if it [leads](Self::leads_beyond) there.
    #[inline(always)]
    pub(crate) fn beyond(&self, set: SetId) -> &Leave {
        &self.beyond[set as usize % N_RECENT].leave
    }

    /// Notes how a packet leaves for this neighbour, which was [ready](Self::ready) just now: for all others too, if a set
    /// leads to it alone.
    pub(crate) fn note(&mut self, set: Option<SetId>, near: Near, (leave, mtu): (Leave, u16)) -> &Leave {
        let recent = self.recent[place(near)].filter(|recent| recent.near == near);
        self.last = Beyond { leave, mtu, ..Beyond::NOWHERE };
        if let (Some(set), Some(recent)) = (set, recent) {
            (self.last.set, self.last.epoch, self.last.until) = (set, self.epoch, recent.until);
            self.beyond[set as usize % N_RECENT] = self.last;
        }
        &self.last.leave
    }

    fn forget_recent(&mut self, (interface, addr): Key) {
        self.forget_sets();
        let near = Near::new(interface, &addr);
        if self.recent[place(near)].is_some_and(|recent| recent.near == near) {
            self.recent[place(near)] = None;
        }
    }

    fn set_timer(timers: &mut BTreeSet<(Instant, Key)>, n: &mut Neighbour, key: Key, at: Option<Instant>) {
        if let Some(old) = n.timer.take() {
            timers.remove(&(old, key));
        }
        if let Some(at) = at {
            timers.insert((at, key));
        }
        n.timer = at;
    }

    /// Where a packet for `key` goes.
    #[inline]
    pub(crate) fn lookup(&mut self, now: Instant, tuning: &Tuning, key: Key) -> Answer {
        match self.ready(now, tuning, Near::new(key.0, &key.1)) {
            Some(mac) => Answer::Send(MacAddr::from_u64(mac)),
            None => self.search(now, tuning, key),
        }
    }

    /// The address of a neighbour that can be sent to without a question, as a number.
    #[inline(always)]
    pub(crate) fn ready(&mut self, now: Instant, tuning: &Tuning, near: Near) -> Option<u64> {
        match &self.recent[place(near)] {
            Some(recent) if recent.near == near && now < recent.until => Some(recent.mac),
            _ => self.refresh(now, tuning, near),
        }
    }

    /// Notes a neighbour among the recent ones, if it is static or not yet stale.
    #[inline(never)]
    fn refresh(&mut self, now: Instant, tuning: &Tuning, near: Near) -> Option<u64> {
        let (mac, until) = match self.table.get(&near.key())?.state {
            State::Static(mac) => (mac, Instant::from_nanos(u64::MAX)),
            State::Known { mac, confirmed, .. } => (mac, confirmed? + tuning.neighbour_reachable),
            State::Pending { .. } | State::Failed => return None,
        };
        let mac = mac.to_u64();
        (now < until).then(|| self.recent[place(near)] = Some(Recent { near, mac, until }))?;
        Some(mac)
    }

    fn search(&mut self, now: Instant, tuning: &Tuning, key: Key) -> Answer {
        let n_known = self.table.len();
        let Some(n) = self.table.get_mut(&key) else {
            if n_known >= tuning.n_neighbours {
                return Answer::Full;
            }
            let mut n =
                Neighbour { state: State::Pending { n_asked: 1, queue: VecDeque::new() }, timer: None };
            Self::set_timer(&mut self.timers, &mut n, key, Some(now + tuning.neighbour_retry));
            self.table.insert(key, n);
            return Answer::Wait { ask: true };
        };
        match &mut n.state {
            State::Static(mac) => Answer::Send(*mac),
            State::Known { mac, n_probes, .. } => {
                let mac = *mac;
                if *n_probes > 0 {
                    return Answer::Send(mac);
                }
                *n_probes = 1;
                if key.1.is_ipv6() {
                    Self::set_timer(&mut self.timers, n, key, Some(now + DELAY));
                    return Answer::Send(mac);
                }
                *n_probes = 2;
                Self::set_timer(&mut self.timers, n, key, Some(now + tuning.neighbour_retry));
                Answer::SendAndProbe(mac)
            }
            State::Pending { .. } => Answer::Wait { ask: false },
            State::Failed => Answer::Unreachable,
        }
    }

    /// Queues a packet after [`Answer::Wait`]; returns the one that has to go for it, if any (RFC 1122 §2.3.2.2: the
    /// latest is kept).
    pub(crate) fn push(&mut self, tuning: &Tuning, key: Key, waiting: Waiting) -> Option<Waiting> {
        let Some(Neighbour { state: State::Pending { queue, .. }, .. }) = self.table.get_mut(&key) else {
            return Some(waiting);
        };
        if tuning.neighbour_queue == 0 || (self.n_waiting >= MAX_WAITING && queue.is_empty()) {
            return Some(waiting);
        }
        let full = queue.len() >= tuning.neighbour_queue || self.n_waiting >= MAX_WAITING;
        let displaced = if full { queue.pop_front() } else { None };
        queue.push_back(waiting);
        self.n_waiting += usize::from(displaced.is_none());
        displaced
    }

    /// A neighbour spoke: its address is remembered if it is known already or `create` is set. Returns the packets that
    /// waited for it, or none if nothing was remembered.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        tuning: &Tuning,
        key: Key,
        heard: Heard,
        create: bool,
    ) -> Option<VecDeque<Waiting>> {
        self.forget_recent(key);
        if !self.table.contains_key(&key) {
            if !create || self.table.len() >= tuning.n_neighbours {
                return None;
            }
            self.table.insert(key, Neighbour { state: State::Failed, timer: None });
        }
        let n = self.table.get_mut(&key)?;
        match &mut n.state {
            State::Static(_) => return None,
            State::Known { mac, confirmed, .. } if !heard.overrides && *mac != heard.mac => {
                // RFC 4861 §7.2.5: not believed, but reason to ask.
                *confirmed = None;
                return None;
            }
            State::Known { mac, .. } if !heard.confirmed && *mac == heard.mac => return None,
            _ => {}
        }
        let confirmed = heard.confirmed.then_some(now);
        let known = State::Known { mac: heard.mac, confirmed, n_probes: 0 };
        let old = std::mem::replace(&mut n.state, known);
        Self::set_timer(&mut self.timers, n, key, Some(now + lifetime(tuning)));
        match old {
            State::Pending { queue, .. } => {
                self.n_waiting -= queue.len();
                Some(queue)
            }
            _ => Some(VecDeque::new()),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next thing that is due, until none is left.
    pub(crate) fn poll_due(&mut self, now: Instant, tuning: &Tuning) -> Option<Due> {
        loop {
            let (_, key) = *self.timers.first().filter(|(at, _)| *at <= now)?;
            self.forget_recent(key);
            let n = self.table.get_mut(&key).expect("a timer has its neighbour");
            let retry = Some(now + tuning.neighbour_retry);
            let forget = match &mut n.state {
                State::Pending { n_asked, .. } if *n_asked < tuning.neighbour_tries => {
                    *n_asked += 1;
                    Self::set_timer(&mut self.timers, n, key, retry);
                    return Some(Due::Ask(key, None));
                }
                State::Pending { queue, .. } => {
                    let queue = std::mem::take(queue);
                    self.n_waiting -= queue.len();
                    n.state = State::Failed;
                    Self::set_timer(&mut self.timers, n, key, retry);
                    return Some(Due::Failed(key, queue));
                }
                State::Known { mac, n_probes, .. } if (1..=tuning.neighbour_tries).contains(n_probes) => {
                    *n_probes += 1;
                    let mac = *mac;
                    Self::set_timer(&mut self.timers, n, key, retry);
                    return Some(Due::Ask(key, Some(mac)));
                }
                // Asked in vain, silent for long, or to be asked afresh.
                State::Known { .. } | State::Failed => true,
                State::Static(_) => false,
            };
            Self::set_timer(&mut self.timers, n, key, None);
            if forget {
                self.table.remove(&key);
            }
        }
    }

    /// Moves to another configuration: neighbours of interfaces that are still there stay.
    pub(crate) fn adopt(&mut self, old: &Snapshot, new: &Snapshot) -> Vec<Waiting> {
        let same = |index: IfIndex| {
            let before = old.interface(index);
            new.interfaces.iter().position(|i| i.is_same(before)).map(|at| at as IfIndex)
        };
        let mut lost = Vec::new();
        self.recent.fill(None);
        self.forget_sets();
        self.timers.clear();
        self.n_waiting = 0;
        for ((index, addr), mut n) in std::mem::take(&mut self.table) {
            let on_link = |i: &IfIndex| new.interface(*i).is_on_link(addr);
            let kept = same(index).filter(on_link).filter(|_| !matches!(n.state, State::Static(_)));
            let Some(index) = kept else {
                if let State::Pending { queue, .. } = n.state {
                    lost.extend(queue);
                }
                continue;
            };
            if let State::Pending { queue, .. } = &n.state {
                self.n_waiting += queue.len();
            }
            let timer = n.timer.take();
            Self::set_timer(&mut self.timers, &mut n, (index, addr), timer);
            self.table.insert((index, addr), n);
        }
        for &(index, addr, mac) in &new.statics {
            if let Some(mut n) = self.table.remove(&(index, addr)) {
                Self::set_timer(&mut self.timers, &mut n, (index, addr), None);
                if let State::Pending { queue, .. } = n.state {
                    self.n_waiting -= queue.len();
                    lost.extend(queue);
                }
            }
            self.table.insert((index, addr), Neighbour { state: State::Static(mac), timer: None });
        }
        lost
    }
}

/// How long a neighbour is remembered that says nothing.
pub(crate) fn lifetime(tuning: &Tuning) -> Duration {
    tuning.neighbour_reachable.saturating_mul(AGES)
}
