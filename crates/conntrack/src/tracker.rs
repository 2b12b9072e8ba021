//! The tables together.

mod bindings;
mod request;

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use packet::{Instant, IpProtocol};

use crate::hash::{Key, Random};
use crate::index::Index;
use crate::limits::Begun;
use crate::links::{NONE, Queue, Wheel};
use crate::ports::Ports;
use crate::record::{Binding, Connection, Endpoint, Permit, Side, State};
use crate::slab::Slab;
use crate::window::{self, Half, Verdict};
use crate::{Config, Filtering, Quotas, Shard, Timers, tcp};

pub use request::{Mapping, OutOfWindow, Packet, Refusal, Sharing, Translation};

/// Connections and bindings of one shard.
#[derive(Debug)]
pub struct Tracker {
    config: Config,
    key: Key,
    random: Random,
    connections: Slab<Connection>,
    by_inside: Index,
    by_outside: Index,
    wheel: Wheel,
    /// Connections that may be pushed out, longest so first.
    transitory: Queue,
    bindings: Slab<Binding>,
    bindings_by_inside: Index,
    bindings_by_outside: Index,
    /// Bindings without connections, until their ports may go to others.
    held: Wheel,
    held_since: Queue,
    permits: Slab<Permit>,
    permits_index: Index,
    ports: Ports,
    quotas: Arc<Quotas>,
}

/// What is looked up, as part of its hash.
const OUT: u64 = 1 << 63;
const PERMIT: u64 = 1 << 62;
const SHARD: u64 = 1 << 61;

/// The hash of two endpoints: three words for IPv4.
fn pair_hash(key: Key, side: u64, (zone, protocol): (u16, IpProtocol), near: Endpoint, far: Endpoint) -> u64 {
    let rest = side | u64::from(zone) << 40 | u64::from(protocol.0) << 32;
    match (near.addr, far.addr) {
        (IpAddr::V4(a), IpAddr::V4(b)) => key.hash([
            u64::from(a.to_bits()) << 16 | u64::from(near.port),
            u64::from(b.to_bits()) << 16 | u64::from(far.port),
            rest,
        ]),
        (a, b) => {
            let [a, b] = [a, b].map(|addr| match addr {
                IpAddr::V4(addr) => addr.to_ipv6_mapped().to_bits(),
                IpAddr::V6(addr) => addr.to_bits(),
            });
            let ports = u64::from(near.port) << 16 | u64::from(far.port);
            key.hash([a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64, rest | ports])
        }
    }
}

impl Tracker {
    /// An empty tracker. Hash tables are allocated now; nothing is later, except a bitmap for a new outside address.
    pub fn new(config: Config, quotas: Arc<Quotas>) -> Self {
        let key = Key::new(config.seed);
        let (n, m) = (config.n_connections, config.n_bindings);
        Self {
            config,
            key,
            random: Random::new(Key::new([config.seed[1], config.seed[0] ^ u64::from(config.shard.index)])),
            connections: Slab::new(n),
            by_inside: Index::new(n),
            by_outside: Index::new(n),
            wheel: Wheel::new(),
            transitory: Queue::new(),
            bindings: Slab::new(m),
            bindings_by_inside: Index::new(m),
            bindings_by_outside: Index::new(m),
            held: Wheel::new(),
            held_since: Queue::new(),
            permits: Slab::new(n),
            permits_index: Index::new(n),
            ports: Ports::new(config.shard),
            quotas,
        }
    }

    /// Which of `count` shards owns an inside endpoint; the same for every tracker made with `seed`.
    pub fn shard_of_inside(seed: [u64; 2], zone: u16, inside: Endpoint, count: u32) -> u32 {
        if count == 1 {
            return 0;
        }
        let nothing = Endpoint::new(core::net::Ipv4Addr::UNSPECIFIED, 0);
        (pair_hash(Key::new(seed), SHARD, (zone, IpProtocol(0)), inside, nothing) % u64::from(count)) as u32
    }

    /// Which of `count` shards owns the fragments of a packet.
    pub fn shard_of_fragment(seed: [u64; 2], (src, dst): (IpAddr, IpAddr), id: u32, count: u32) -> u32 {
        if count == 1 {
            return 0;
        }
        let (src, dst) = (Endpoint::new(src, id as u16), Endpoint::new(dst, (id >> 16) as u16));
        (pair_hash(Key::new(seed), SHARD, (1, IpProtocol(0)), src, dst) % u64::from(count)) as u32
    }

    /// Changes timers from now on; running ones end as they were set.
    pub fn set_timers(&mut self, timers: Timers, tcp_loose: bool, tcp_window: bool) {
        (self.config.timers, self.config.tcp_loose, self.config.tcp_window) = (timers, tcp_loose, tcp_window);
    }

    // ---- lookups -------------------------------------------------------------------------------------------------

    fn hash(&self, side: u64, zone: u16, protocol: IpProtocol, near: Endpoint, far: Endpoint) -> u64 {
        pair_hash(self.key, side, (zone, protocol), near, far)
    }

    fn find_out(&self, packet: &Packet) -> Option<u32> {
        let Packet { zone, protocol, src, dst, .. } = *packet;
        self.by_inside.find(self.hash(OUT, zone, protocol, src, dst), |idx| {
            let c = self.connections.get(idx);
            c.inside == src && c.remote == dst && c.protocol == protocol && c.zone == zone
        })
    }

    fn find_in(&self, packet: &Packet) -> Option<u32> {
        let Packet { zone, protocol, src, dst, .. } = *packet;
        self.by_outside.find(self.hash(0, zone, protocol, dst, src), |idx| {
            let c = self.connections.get(idx);
            c.outside == dst && c.remote == src && c.protocol == protocol && c.outside_zone == zone
        })
    }

    /// What the connection of a packet from the inside is found by, in every tracker made with `seed`.
    #[inline]
    pub fn hash_out(seed: [u64; 2], of: (u16, IpProtocol), src: Endpoint, dst: Endpoint) -> u64 {
        pair_hash(Key::new(seed), OUT, of, src, dst)
    }

    /// What the connection of a packet from the outside is found by, in every tracker made with `seed`.
    #[inline]
    pub fn hash_in(seed: [u64; 2], of: (u16, IpProtocol), src: Endpoint, dst: Endpoint) -> u64 {
        pair_hash(Key::new(seed), 0, of, dst, src)
    }

    /// Brings near to the processor what look-ups by these hashes from these sides will need: one after the other, each
    /// would wait for memory twice and more; here all wait together.
    pub fn fetch(&self, wanted: impl Iterator<Item = (Side, u64)> + Clone) {
        let index = |side: Side| if side == Side::Inside { &self.by_inside } else { &self.by_outside };
        let touched = wanted.clone().fold(0, |all, (side, hash)| all ^ index(side).touch(hash));
        let found = wanted.filter_map(|(side, hash)| index(side).find(hash, |_| true));
        let records = found.fold(0, |all, idx| {
            let c = self.connections.get(idx);
            // Its first and last bytes are in different lines.
            all ^ u64::from(c.inside.port) ^ c.n_bytes[1] ^ c.deadline.as_nanos()
        });
        core::hint::black_box(u64::from(touched) ^ records);
    }

    /// The connection of a packet that comes from the inside, untouched: for errors about it and for traces.
    pub fn peek_out(&self, now: Instant, packet: &Packet) -> Option<&Connection> {
        self.find_out(packet).map(|idx| self.connections.get(idx)).filter(|c| c.deadline > now)
    }

    /// The connection of a packet that comes from the outside, untouched.
    pub fn peek_in(&self, now: Instant, packet: &Packet) -> Option<&Connection> {
        self.find_in(packet).map(|idx| self.connections.get(idx)).filter(|c| c.deadline > now)
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
        Ok(self.touch(now, idx, Side::Inside, packet)?.then(|| {
            let c = self.connections.get(idx);
            Translation { endpoint: c.outside, zone: c.zone, origin: c.origin }
        }))
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
        Ok(self.touch(now, idx, Side::Outside, packet)?.then(|| {
            let c = self.connections.get(idx);
            Translation { endpoint: c.inside, zone: c.zone, origin: c.origin }
        }))
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
        let binding = found.filter(|b| self.bindings.get(*b).n_connections > 0).ok_or(Refusal::NoBinding)?;
        let admitted = match filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => self.find_permit(binding, remote.addr).is_some(),
            Filtering::AddressAndPortDependent => false,
        };
        if !admitted {
            return Err(Refusal::Filtered);
        }
        let state = self.first_state(Side::Outside, packet)?;
        let Binding { inside, zone, .. } = *self.bindings.get(binding);
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
    fn touch(&mut self, now: Instant, idx: u32, from: Side, packet: &Packet) -> Result<bool, OutOfWindow> {
        let timers = self.config.timers;
        let c = self.connections.get_mut(idx);
        if c.deadline <= now {
            self.remove(now, idx);
            return Ok(false);
        }
        let old = c.state;
        let verdict = match (packet.tcp, &packet.segment) {
            (Some(flags), Some(segment)) if self.config.tcp_window => {
                window::judge(&mut c.halves, old, from, flags, segment)
            }
            _ => Verdict::Valid,
        };
        match verdict {
            Verdict::Valid => {}
            Verdict::Doubtful => return Ok(true),
            Verdict::Invalid => return Err(OutOfWindow),
        }
        c.state = match (packet.tcp, old) {
            (Some(flags), _) => tcp::next(old, from, flags, c.assured),
            (None, State::OneWay(by)) if by != from => State::BothWays,
            (None, _) => old,
        };
        // RFC 7857 §2: the time after both FINs or a reset runs from there, whatever else comes.
        let runs_out = matches!(c.state, State::Closed | State::Reset | State::Reopening(_));
        if !runs_out || (c.state != old && !matches!(c.state, State::Reopening(_))) {
            let deadline = now + idle_time(&timers, c.protocol, c.state);
            let sooner = deadline < c.deadline;
            c.deadline = deadline;
            if sooner {
                self.wheel.schedule(idx, deadline);
            }
        }
        let c = self.connections.get_mut(idx);
        c.assured |= c.state == State::Established;
        if !c.answered && !c.state.is_transitory() {
            c.answered = true;
            let Begun { zone, source, .. } = c.begun();
            self.quotas.answered(zone, source);
        }
        let side = from as usize;
        c.n_packets[side] = c.n_packets[side].wrapping_add(packet.n_packets);
        c.n_bytes[side] += u64::from(packet.len);
        if c.state != old {
            match c.state.is_transitory() {
                true => self.transitory.push_back(idx),
                false => self.transitory.remove(idx),
            }
        }
        Ok(true)
    }

    // ---- making and ending ---------------------------------------------------------------------------------------

    fn insert(&mut self, now: Instant, packet: &Packet, ends: Ends) -> Result<(), Refusal> {
        let protocol = packet.protocol;
        let Ends { zones: (zone, outside_zone), inside, outside, remote, binding, dynamic, origin, state } =
            ends;
        let out = Packet { zone, src: inside, dst: remote, ..*packet };
        let back = Packet { zone: outside_zone, src: remote, dst: outside, ..*packet };
        for idx in [self.find_out(&out), self.find_in(&back)].into_iter().flatten() {
            if self.connections.get(idx).deadline > now {
                return Err(Refusal::Clash);
            }
            if self.connections.get(idx).live {
                self.remove(now, idx);
            }
        }
        let mut n_packets = [0; 2];
        let mut n_bytes = [0; 2];
        n_packets[origin as usize] = packet.n_packets;
        n_bytes[origin as usize] = u64::from(packet.len);
        let deadline = now + idle_time(&self.config.timers, protocol, state);
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
            binding: NONE,
            permit: NONE,
            assured: false,
            answered: false,
            live: true,
            dynamic,
            halves: [Half::default(); 2],
        };
        let begun = record.begun();
        if !self.quotas.admit(now, begun.zone, begun.source) {
            return Err(Refusal::Limit);
        }
        let result = self.index_connection(record);
        let Ok(idx) = result else {
            self.quotas.release(now, begun);
            return result.map(|_| ());
        };
        if let (true, Some(flags), Some(segment)) = (self.config.tcp_window, packet.tcp, &packet.segment) {
            window::judge(&mut self.connections.get_mut(idx).halves, state, origin, flags, segment);
        }
        if binding != NONE {
            self.join(idx, binding, remote.addr);
        }
        self.wheel.schedule(idx, deadline);
        self.transitory.push_back(idx);
        Ok(())
    }

    /// Puts a record where both its sides are found.
    fn index_connection(&mut self, record: Connection) -> Result<u32, Refusal> {
        let Connection { zone, outside_zone, protocol, inside, outside, remote, .. } = record;
        let idx = self.connections.insert(record).ok_or(Refusal::TableFull)?;
        let out_hash = self.hash(OUT, zone, protocol, inside, remote);
        let in_hash = self.hash(0, outside_zone, protocol, outside, remote);
        if self.by_inside.insert(out_hash, idx).is_err() {
            self.connections.remove(idx);
            return Err(Refusal::TableFull);
        }
        if self.by_outside.insert(in_hash, idx).is_err() {
            self.by_inside.remove(out_hash, idx);
            self.connections.remove(idx);
            return Err(Refusal::TableFull);
        }
        Ok(idx)
    }

    fn remove(&mut self, now: Instant, idx: u32) {
        let c = *self.connections.get(idx);
        self.quotas.release(now, c.begun());
        self.by_inside.remove(self.hash(OUT, c.zone, c.protocol, c.inside, c.remote), idx);
        self.by_outside.remove(self.hash(0, c.outside_zone, c.protocol, c.outside, c.remote), idx);
        self.wheel.cancel(idx);
        self.transitory.remove(idx);
        self.connections.remove(idx);
        self.leave(now, &c);
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
            (last, _) = (idx, found.push(*c));
        }
        let next = (found.len() == max).then_some(last + 1);
        (found, next)
    }

    /// Up to `max` bindings from place `from` on, and the place to go on from, if there may be more.
    pub fn bindings(&self, from: u32, max: usize) -> (Vec<Binding>, Option<u32>) {
        let (mut found, mut last) = (Vec::new(), 0);
        for (idx, b) in self.bindings.iter_from(from).take(max) {
            (last, _) = (idx, found.push(*b));
        }
        let next = (found.len() == max).then_some(last + 1);
        (found, next)
    }

    /// Ends the connections for which `keep` does not hold.
    pub fn retain(&mut self, now: Instant, keep: impl Fn(&Connection) -> bool) {
        let victims: Vec<u32> =
            self.connections.iter_from(0).filter(|(_, c)| !keep(c)).map(|(idx, _)| idx).collect();
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

fn idle_time(timers: &Timers, protocol: IpProtocol, state: State) -> Duration {
    match state {
        State::Established | State::Fin(_) => timers.tcp_established,
        State::OneWay(_) | State::BothWays if protocol == IpProtocol::UDP => timers.udp,
        State::OneWay(_) | State::BothWays
            if protocol == IpProtocol::ICMP || protocol == IpProtocol::ICMPV6 =>
        {
            timers.icmp
        }
        State::OneWay(_) | State::BothWays => timers.other,
        _ => timers.tcp_transitory,
    }
}
