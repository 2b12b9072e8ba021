//! The tables together.

mod bindings;
mod passes;
mod request;
mod resize;

use core::net::IpAddr;
use std::sync::Arc;

use packet::{Instant, IpProtocol};

use crate::config::Idle;
use crate::entry::{BindingEntry, Entry, Wide, bits, flag};
use crate::hash::{Key, Keys, Random};
use crate::index::Index;
use crate::links::{NONE, Queue, Wheel};
use crate::ports::Ports;
use crate::record::{Binding, Connection, Endpoint, Permit, Side, State};
use crate::slab::Slab;
use crate::tuple::{Address, OUT, Sent, Tuple, hash_ends};
use crate::window::{self, Half, Verdict};
use crate::{Config, Filtering, Quotas, Shard, Timers, tcp};

pub use passes::{By, Packets, Passage, Wanted};
pub use request::{Mapping, OutOfWindow, Packet, Refusal, Sharing, Translation};

/// Connections and bindings of one shard.
#[derive(Debug)]
pub struct Tracker {
    config: Config,
    idle: Idle,
    keys: Keys,
    random: Random,
    connections: Slab<Entry>,
    /// Addresses of those that are not of IPv4.
    wide: Wide<3>,
    /// The binding of each, [`NONE`] if it has none.
    owners: Vec<u32>,
    /// What both ends of each have shown, of those of TCP whose windows are checked.
    halves: Vec<[[u32; 5]; 2]>,
    by_inside: Index,
    by_outside: Index,
    wheel: Wheel,
    /// Connections that may be pushed out, longest so first.
    transitory: Queue,
    /// Those that have not exactly one connection.
    bindings: Slab<BindingEntry>,
    wide_bindings: Wide<2>,
    /// Bindings without a record.
    n_soles: usize,
    bindings_by_inside: Index,
    bindings_by_outside: Index,
    /// Bindings without connections, until their ports may go to others.
    held: Wheel,
    held_since: Queue,
    /// Of remote addresses that bindings do not know by themselves.
    permits: Slab<Permit>,
    permits_index: Index,
    ports: Ports,
    quotas: Arc<Quotas>,
    growth: resize::Growth,
    /// Counts connections that ended, in a circle: their places may be others' now.
    n_ended: u32,
}

/// What is looked up, as part of its hash; see [`OUT`].
const PERMIT: u64 = 1 << 62;
const SHARD: u64 = 1 << 61;

/// The hash of two endpoints.
fn pair_hash(keys: &Keys, what: u64, of: (u16, IpProtocol), near: Endpoint, far: Endpoint) -> u64 {
    match (near.addr, far.addr) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            hash_ends(keys, what, of, (a.to_bits(), near.port), (b.to_bits(), far.port))
        }
        (a, b) => hash_ends(keys, what, of, (bits(a), near.port), (bits(b), far.port)),
    }
}

impl Tracker {
    /// An empty tracker. It takes address space now, and memory with what it holds.
    pub fn new(config: Config, quotas: Arc<Quotas>) -> Self {
        let keys = Keys::new(config.seed);
        let (n, m) = (config.n_connections, config.n_bindings);
        Self {
            config,
            idle: Idle::new(&config.timers),
            keys,
            random: Random::new(Key::new([config.seed[1], config.seed[0] ^ u64::from(config.shard.index)])),
            connections: Slab::new(n),
            wide: Wide::new(),
            owners: Vec::with_capacity(n as usize),
            // Zeros are not written: memory is taken when a connection is.
            halves: vec![[[0; 5]; 2]; n as usize],
            by_inside: Index::new(n),
            by_outside: Index::new(n),
            wheel: Wheel::new(n),
            transitory: Queue::new(n),
            bindings: Slab::new(m),
            wide_bindings: Wide::new(),
            n_soles: 0,
            bindings_by_inside: Index::new(m),
            bindings_by_outside: Index::new(m),
            held: Wheel::new(m),
            held_since: Queue::new(m),
            permits: Slab::new(n),
            permits_index: Index::new(n),
            ports: Ports::new(config.shard),
            quotas,
            growth: resize::Growth::new(&config),
            n_ended: 0,
        }
    }

    /// Which of `count` shards owns an inside endpoint; the same for every tracker made with the seed of `keys`.
    pub fn shard_of_inside(keys: &Keys, zone: u16, inside: Endpoint, count: u32) -> u32 {
        if count == 1 {
            return 0;
        }
        let nothing = Endpoint::new(core::net::Ipv4Addr::UNSPECIFIED, 0);
        (pair_hash(keys, SHARD, (zone, IpProtocol(0)), inside, nothing) % u64::from(count)) as u32
    }

    /// Which of `count` shards owns the fragments of a packet.
    pub fn shard_of_fragment(keys: &Keys, (src, dst): (IpAddr, IpAddr), id: u32, count: u32) -> u32 {
        if count == 1 {
            return 0;
        }
        let (src, dst) = (Endpoint::new(src, id as u16), Endpoint::new(dst, (id >> 16) as u16));
        (pair_hash(keys, SHARD, (1, IpProtocol(0)), src, dst) % u64::from(count)) as u32
    }

    /// Changes timers from now on; running ones end as they were set.
    pub fn set_timers(&mut self, timers: Timers, tcp_loose: bool, tcp_window: bool) {
        (self.config.timers, self.config.tcp_loose, self.config.tcp_window) = (timers, tcp_loose, tcp_window);
        self.idle = Idle::new(&timers);
    }

    // ---- lookups -------------------------------------------------------------------------------------------------

    fn hash(&self, side: u64, zone: u16, protocol: IpProtocol, near: Endpoint, far: Endpoint) -> u64 {
        pair_hash(&self.keys, side, (zone, protocol), near, far)
    }

    fn find_out(&self, packet: &Packet) -> Option<u32> {
        let Packet { zone, protocol, src, dst, .. } = *packet;
        self.find(Side::Inside, self.hash(OUT, zone, protocol, src, dst), packet)
    }

    fn find_in(&self, packet: &Packet) -> Option<u32> {
        let Packet { zone, protocol, src, dst, .. } = *packet;
        self.find(Side::Outside, self.hash(0, zone, protocol, dst, src), packet)
    }

    /// The connection of a packet that comes from this side, by its hash for that side.
    #[inline]
    fn find(&self, side: Side, hash: u64, packet: &Packet) -> Option<u32> {
        self.index(side).find(hash, |idx| self.connections.get(idx).is_of(&self.wide, side, packet))
    }

    #[inline(always)]
    fn index(&self, side: Side) -> &Index {
        if side == Side::Inside { &self.by_inside } else { &self.by_outside }
    }

    /// What the connection of a packet that comes from this side is found by, in every tracker made with the seed of `keys`.
    #[inline(always)]
    pub fn hash_of<A: Address>(keys: &Keys, side: Side, tuple: &Tuple<A>) -> u64 {
        let (near, far) = tuple.seen_from(side);
        let what = if side == Side::Inside { OUT } else { 0 };
        hash_ends(keys, what, (tuple.zone, tuple.protocol), near, far)
    }

    /// The connection of a packet that comes from the inside, untouched: for errors about it and for traces.
    pub fn peek_out(&self, now: Instant, packet: &Packet) -> Option<Connection> {
        self.find_out(packet).map(|idx| self.view(idx)).filter(|c| c.deadline > now)
    }

    /// The connection of a packet that comes from the outside, untouched.
    pub fn peek_in(&self, now: Instant, packet: &Packet) -> Option<Connection> {
        self.find_in(packet).map(|idx| self.view(idx)).filter(|c| c.deadline > now)
    }

    fn view(&self, idx: u32) -> Connection {
        self.connections.get(idx).view(&self.wide)
    }

    fn translation(&self, idx: u32, side: Side) -> Translation {
        let c = self.connections.get(idx);
        Translation { endpoint: c.beyond(&self.wide, side), zone: c.zones[0], origin: c.origin() }
    }

    // ---- packets -------------------------------------------------------------------------------------------------

    /// A packet from the inside: the source it gets, if its connection is known.
    ///
    /// # Errors
    /// [`OutOfWindow`]: a TCP segment that cannot belong to it.
    pub fn translate_out(
        &mut self,
        now: Instant,
        packet: &Packet,
    ) -> Result<Option<Translation>, OutOfWindow> {
        let Some(idx) = self.find_out(packet) else { return Ok(None) };
        Ok(self.touch(now, idx, Side::Inside, &packet.sent())?.then(|| self.translation(idx, Side::Inside)))
    }

    /// A packet from the outside: the destination it gets, if its connection is known.
    ///
    /// # Errors
    /// [`OutOfWindow`]: a TCP segment that cannot belong to it.
    pub fn translate_in(
        &mut self,
        now: Instant,
        packet: &Packet,
    ) -> Result<Option<Translation>, OutOfWindow> {
        let Some(idx) = self.find_in(packet) else { return Ok(None) };
        Ok(self.touch(now, idx, Side::Outside, &packet.sent())?.then(|| self.translation(idx, Side::Outside)))
    }

    /// Opens a connection with a packet from the inside.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn open_out(
        &mut self,
        now: Instant,
        packet: &Packet,
        mapping: Mapping,
    ) -> Result<Translation, Refusal> {
        let state = self.first_state(Side::Inside, packet)?;
        self.make_room(now)?;
        let (inside, remote) = (packet.src, packet.dst);
        let (outside, binding) = match mapping {
            Mapping::Fixed(outside) => (outside, NONE),
            Mapping::Identity => (inside, NONE),
            Mapping::Dynamic(addr, sharing) => self.dynamic(now, packet, addr, sharing)?,
        };
        let origin = Side::Inside;
        let zones = (packet.zone, packet.to_zone);
        let dynamic = matches!(mapping, Mapping::Dynamic(..));
        let ends = Ends { zones, inside, outside, remote, binding, dynamic, origin, state };
        let result = self.insert(now, packet, ends);
        if result.is_err() && binding != NONE {
            self.hold_if_unused(now, binding);
        }
        result.map(|()| Translation { endpoint: outside, zone: packet.zone, origin })
    }

    /// Opens a connection with a packet from the outside to a binding that admits it.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn open_in(
        &mut self,
        now: Instant,
        packet: &Packet,
        filtering: Filtering,
    ) -> Result<Translation, Refusal> {
        let (outside, remote) = (packet.dst, packet.src);
        let found = self.find_binding_out(packet.zone, packet.protocol, outside);
        let binding = found.filter(|b| self.binding(*b).n_connections > 0).ok_or(Refusal::NoBinding)?;
        let admitted = match filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => self.admits(binding, remote.addr),
            Filtering::AddressAndPortDependent => false,
        };
        if !admitted {
            return Err(Refusal::Filtered);
        }
        let state = self.first_state(Side::Outside, packet)?;
        let Binding { inside, zone, .. } = self.binding(binding);
        let binding = self.with_record(binding).ok_or(Refusal::TableFull)?;
        self.make_room_sparing(now, binding)?;
        let origin = Side::Outside;
        let zones = (zone, packet.zone);
        let dynamic = true;
        let ends = Ends { zones, inside, outside, remote, binding, dynamic, origin, state };
        self.insert(now, packet, ends)?;
        Ok(Translation { endpoint: inside, zone, origin })
    }

    /// Opens a connection with a packet from the outside that the configuration sends to `inside`.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn open_forward(
        &mut self,
        now: Instant,
        packet: &Packet,
        inside: Endpoint,
    ) -> Result<Translation, Refusal> {
        let state = self.first_state(Side::Outside, packet)?;
        self.make_room(now)?;
        let (outside, remote, origin) = (packet.dst, packet.src, Side::Outside);
        let zones = (packet.to_zone, packet.zone);
        let (binding, dynamic) = (NONE, false);
        let ends = Ends { zones, inside, outside, remote, binding, dynamic, origin, state };
        self.insert(now, packet, ends)?;
        Ok(Translation { endpoint: inside, zone: packet.to_zone, origin })
    }

    fn first_state(&self, from: Side, packet: &Packet) -> Result<State, Refusal> {
        match packet.tcp {
            Some(flags) => tcp::first(from, flags, self.config.tcp_loose).ok_or(Refusal::NotSyn),
            None if packet.protocol == IpProtocol::TCP => Err(Refusal::NotSyn),
            None => Ok(State::OneWay(from)),
        }
    }

    /// Moves a connection on by a packet; false if it had expired and is gone now.
    #[inline]
    fn touch(&mut self, now: Instant, idx: u32, from: Side, packet: &Sent) -> Result<bool, OutOfWindow> {
        let c = self.connections.get(idx);
        if c.deadline <= now {
            self.remove(now, idx);
            return Ok(false);
        }
        let old = c.state;
        match self.judge(idx, old, from, packet) {
            Verdict::Valid => {}
            Verdict::Doubtful => return Ok(true),
            Verdict::Invalid => return Err(OutOfWindow),
        }
        let c = self.connections.get_mut(idx);
        c.state = match (packet.tcp, old) {
            (Some(flags), _) => tcp::next(old, from, flags, c.has(flag::ASSURED)),
            (None, State::OneWay(by)) if by != from => State::BothWays,
            (None, _) => old,
        };
        // RFC 7857 §2: the time after both FINs or a reset runs from there, whatever else comes.
        let runs_out = matches!(c.state, State::Closed | State::Reset | State::Reopening(_));
        if !runs_out || (c.state != old && !matches!(c.state, State::Reopening(_))) {
            let deadline = self.idle.deadline(now, c.protocol, c.state);
            if deadline < c.deadline {
                self.wheel.schedule(idx, deadline);
            }
            c.deadline = deadline;
        }
        c.count(from, packet.n_packets, packet.len);
        if c.state != old {
            self.changed(idx);
        }
        Ok(true)
    }

    /// Whether a segment can belong to its connection.
    #[inline(always)]
    fn judge(&mut self, idx: u32, state: State, from: Side, packet: &Sent) -> Verdict {
        let (Some(flags), Some(segment), true) = (packet.tcp, &packet.segment, self.config.tcp_window) else {
            return Verdict::Valid;
        };
        let stored = &mut self.halves[idx as usize];
        let mut halves = stored.map(Half::unpack);
        let verdict = window::judge(&mut halves, state, from, flags, segment);
        *stored = halves.map(Half::pack);
        verdict
    }

    /// A connection has another state now.
    fn changed(&mut self, idx: u32) {
        let c = self.connections.get_mut(idx);
        let is_transitory = c.state.is_transitory();
        if c.state == State::Established {
            c.flags |= flag::ASSURED;
        }
        if !c.has(flag::ANSWERED) && !is_transitory {
            c.flags |= flag::ANSWERED;
            let begun = self.view(idx).begun();
            self.quotas.answered(begun.zone, begun.source);
        }
        match is_transitory {
            true => self.transitory.push_back(idx),
            false => self.transitory.remove(idx),
        }
    }

    // ---- making and ending ---------------------------------------------------------------------------------------

    fn insert(&mut self, now: Instant, packet: &Packet, ends: Ends) -> Result<(), Refusal> {
        let protocol = packet.protocol;
        let Ends { zones: (zone, outside_zone), inside, outside, remote, binding, dynamic, origin, state } =
            ends;
        let out = Packet { zone, src: inside, dst: remote, ..*packet };
        let back = Packet { zone: outside_zone, src: remote, dst: outside, ..*packet };
        let hashes = [
            self.hash(OUT, zone, protocol, inside, remote),
            self.hash(0, outside_zone, protocol, outside, remote),
        ];
        let there = [(Side::Inside, &out), (Side::Outside, &back)];
        for (side, packet) in there {
            let Some(idx) = self.find(side, hashes[side as usize], packet) else { continue };
            if self.connections.get(idx).deadline > now {
                return Err(Refusal::Clash);
            }
            self.remove(now, idx);
        }
        let deadline = self.idle.deadline(now, protocol, state);
        let (n_packets, n_bytes, answered) = ([0; 2], [0; 2], false);
        let record = Connection {
            zone,
            outside_zone,
            protocol,
            state,
            origin,
            inside,
            outside,
            remote,
            deadline,
            n_packets,
            n_bytes,
            answered,
            dynamic,
        };
        let begun = record.begun();
        if !self.quotas.admit(now, begun.zone, begun.source) {
            return Err(Refusal::Limit);
        }
        let idx = match self.index_connection(&record, hashes) {
            Ok(idx) => idx,
            Err(refusal) => {
                self.quotas.release(now, begun);
                return Err(refusal);
            }
        };
        self.connections.get_mut(idx).count(origin, packet.n_packets, packet.len);
        if protocol == IpProtocol::TCP && self.config.tcp_window {
            self.halves[idx as usize] = [[0; 5]; 2];
            self.judge(idx, state, origin, &packet.sent());
        }
        if binding != NONE {
            self.join(idx, binding, remote.addr);
        }
        self.wheel.schedule(idx, deadline);
        self.transitory.push_back(idx);
        Ok(())
    }

    /// Puts a record where both its sides are found.
    fn index_connection(&mut self, record: &Connection, [out, back]: [u64; 2]) -> Result<u32, Refusal> {
        if self.connections.is_full() {
            return Err(Refusal::TableFull);
        }
        let entry = Entry::new(record, &mut self.wide);
        let idx = self.connections.insert(entry).expect("the table is not full");
        if self.owners.len() <= idx as usize {
            self.owners.resize(idx as usize + 1, NONE);
        }
        if self.halves.len() <= idx as usize {
            self.halves.resize(idx as usize + 1, [[0; 5]; 2]);
        }
        self.owners[idx as usize] = NONE;
        if self.by_inside.insert(out, idx).is_err() {
            self.free(idx);
            return Err(Refusal::TableFull);
        }
        if self.by_outside.insert(back, idx).is_err() {
            self.by_inside.remove(out, idx);
            self.free(idx);
            return Err(Refusal::TableFull);
        }
        Ok(idx)
    }

    /// Gives the places of a record back that nothing leads to.
    fn free(&mut self, idx: u32) {
        let c = self.connections.get(idx);
        self.wide.remove(c.addrs, c.has(flag::WIDE));
        self.connections.remove(idx);
    }

    fn remove(&mut self, now: Instant, idx: u32) {
        self.n_ended = self.n_ended.wrapping_add(1);
        let c = self.view(idx);
        self.quotas.release(now, c.begun());
        self.by_inside.remove(self.hash(OUT, c.zone, c.protocol, c.inside, c.remote), idx);
        self.by_outside.remove(self.hash(0, c.outside_zone, c.protocol, c.outside, c.remote), idx);
        self.wheel.cancel(idx);
        self.transitory.remove(idx);
        self.leave(now, self.owners[idx as usize], &c);
        self.free(idx);
    }

    /// Room for one more connection, if need be by pushing out the one that has been transitory for longest.
    fn make_room(&mut self, now: Instant) -> Result<(), Refusal> {
        if !self.connections.is_full() {
            return Ok(());
        }
        self.expire(now, 64);
        if self.connections.is_full() {
            let oldest = self.transitory.front().ok_or(Refusal::TableFull)?;
            self.remove(now, oldest);
        }
        Ok(())
    }

    // ---- time and sight ------------------------------------------------------------------------------------------

    /// Forgets up to `max` connections and bindings whose time is over; returns how many.
    pub fn expire(&mut self, now: Instant, max: usize) -> usize {
        self.grow_on();
        let mut n_expired = 0;
        while n_expired < max
            && let Some(idx) = self.wheel.pop(now)
        {
            let deadline = self.connections.get(idx).deadline;
            if deadline > now {
                self.wheel.schedule(idx, deadline);
            } else {
                self.remove(now, idx);
            }
            n_expired += 1;
        }
        self.expire_held(now);
        n_expired
    }

    /// When [`expire`](Self::expire) will find something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.wheel.poll_timeout(), self.held.poll_timeout()].into_iter().flatten().min()
    }

    /// Number of connections.
    pub fn n_connections(&self) -> usize {
        self.connections.len()
    }

    /// Up to `max` connections from place `from` on, and the place to go on from, if there may be more.
    pub fn connections(&self, from: u32, max: usize) -> (Vec<Connection>, Option<u32>) {
        let (mut found, mut last) = (Vec::new(), 0);
        for (idx, c) in self.connections.iter_from(from).take(max) {
            (last, _) = (idx, found.push(c.view(&self.wide)));
        }
        let next = (found.len() == max).then_some(last + 1);
        (found, next)
    }

    /// Ends the connections for which `keep` does not hold.
    pub fn retain(&mut self, now: Instant, keep: impl Fn(&Connection) -> bool) {
        let ends = |(_, c): &(u32, &Entry)| !keep(&c.view(&self.wide));
        let victims: Vec<u32> = self.connections.iter_from(0).filter(ends).map(|(idx, _)| idx).collect();
        for idx in victims {
            self.remove(now, idx);
        }
    }

    /// Which share of the outside ports this tracker has.
    pub fn shard(&self) -> Shard {
        self.config.shard
    }
}

/// What a new connection is made of.
#[derive(Clone, Copy)]
struct Ends {
    /// Of the inside, and of the outside.
    zones: (u16, u16),
    inside: Endpoint,
    outside: Endpoint,
    remote: Endpoint,
    binding: u32,
    dynamic: bool,
    origin: Side,
    state: State,
}
