//! The tables together.

use core::net::IpAddr;
use core::time::Duration;

use packet::tcp::Flags;
use packet::{Instant, IpProtocol};

use crate::hash::{Key, Random};
use crate::index::Index;
use crate::links::{NONE, Queue, Wheel};
use crate::ports::Ports;
use crate::record::{Binding, Connection, Endpoint, Permit, Side, State};
use crate::slab::Slab;
use crate::{Config, Filtering, Shard, Timers, tcp};

/// What a tracker needs to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Separates tenants with overlapping addresses: where it comes from.
    pub zone: u16,
    /// Where it goes.
    pub to_zone: u16,
    /// IP protocol.
    pub protocol: IpProtocol,
    /// Source; the port is the identifier of an ICMP request, zero for a reply.
    pub src: Endpoint,
    /// Destination; the port is the identifier of an ICMP reply, zero for a request.
    pub dst: Endpoint,
    /// Control bits, for the first fragment of a TCP segment.
    pub tcp: Option<Flags>,
    /// Bytes on the wire, from the IP header on.
    pub len: u32,
    /// Packets on the wire; more than one for a super-frame.
    pub n_packets: u32,
}

/// Where the outside endpoint of a new connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// The binding of the inside endpoint at this outside address, or a new one.
    Dynamic(IpAddr),
    /// This endpoint, which the configuration has set aside.
    Fixed(Endpoint),
    /// The inside endpoint itself.
    Identity,
}

/// What becomes of a packet's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The source, going out, or the destination, coming in.
    pub endpoint: Endpoint,
    /// The zone of the inside endpoint.
    pub zone: u16,
    /// Which side sent the connection's first packet.
    pub origin: Side,
}

/// Why a connection was not made. None that exists was harmed (RFC 6888 REQ-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No port of the outside address is free.
    #[error("no outside port is free")]
    PortsExhausted,
    /// The table is full of connections that must not be pushed out.
    #[error("the connection table is full")]
    TableFull,
    /// On one side it would be the same as another connection.
    #[error("another connection has the same addresses and ports")]
    Clash,
    /// TCP that does not begin with a SYN.
    #[error("a TCP connection must begin with a SYN")]
    NotSyn,
    /// The binding does not admit this remote (RFC 4787 §5).
    #[error("the binding does not admit this sender")]
    Filtered,
    /// There is no binding.
    #[error("no binding")]
    NoBinding,
}

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
    pub fn new(config: Config) -> Self {
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
    pub fn set_timers(&mut self, timers: Timers, tcp_loose: bool) {
        self.config.timers = timers;
        self.config.tcp_loose = tcp_loose;
    }

    /// Sets aside outside ports for the configuration. Bindings that have one of them end with their connections.
    pub fn set_reserved(&mut self, reserved: &[(u16, IpProtocol, Endpoint)]) {
        self.ports.set_reserved(reserved.iter().copied());
        let taken = |b: &Binding| reserved.contains(&(b.outside_zone, b.protocol, b.outside));
        let victims: Vec<u32> =
            self.bindings.iter_from(0).filter(|(_, b)| taken(b)).map(|(idx, _)| idx).collect();
        for binding in victims {
            self.remove_binding_and_connections(binding);
        }
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

    /// The connection of a packet that comes from the inside, untouched: for errors about it and for traces.
    pub fn peek_out(&self, now: Instant, packet: &Packet) -> Option<&Connection> {
        self.find_out(packet).map(|idx| self.connections.get(idx)).filter(|c| c.deadline > now)
    }

    /// The connection of a packet that comes from the outside, untouched.
    pub fn peek_in(&self, now: Instant, packet: &Packet) -> Option<&Connection> {
        self.find_in(packet).map(|idx| self.connections.get(idx)).filter(|c| c.deadline > now)
    }

    /// The binding that has an outside endpoint, held ones among them.
    pub fn binding_of(&self, zone: u16, protocol: IpProtocol, outside: Endpoint) -> Option<&Binding> {
        self.find_binding_out(zone, protocol, outside).map(|idx| self.bindings.get(idx))
    }

    fn find_binding_out(&self, zone: u16, protocol: IpProtocol, outside: Endpoint) -> Option<u32> {
        let hash = self.hash(0, zone, protocol, outside, outside);
        self.bindings_by_outside.find(hash, |idx| {
            let b = self.bindings.get(idx);
            b.outside == outside && b.protocol == protocol && b.outside_zone == zone
        })
    }

    fn inside_binding_hash(&self, zone: u16, protocol: IpProtocol, inside: Endpoint, addr: IpAddr) -> u64 {
        self.hash(OUT, zone, protocol, inside, Endpoint::new(addr, 0))
    }

    fn permit_hash(&self, binding: u32, remote: IpAddr) -> u64 {
        let nobody = Endpoint::new(core::net::Ipv4Addr::from_bits(binding), 0);
        self.hash(PERMIT, 0, IpProtocol(0), Endpoint::new(remote, 0), nobody)
    }

    fn find_permit(&self, binding: u32, remote: IpAddr) -> Option<u32> {
        self.permits_index.find(self.permit_hash(binding, remote), |idx| {
            let p = self.permits.get(idx);
            p.binding == binding && p.remote == remote
        })
    }

    // ---- packets -------------------------------------------------------------------------------------------------

    /// A packet from the inside: the source it gets, if its connection is known.
    pub fn translate_out(&mut self, now: Instant, packet: &Packet) -> Option<Translation> {
        let idx = self.find_out(packet)?;
        self.touch(now, idx, Side::Inside, packet).then(|| {
            let c = self.connections.get(idx);
            Translation { endpoint: c.outside, zone: c.zone, origin: c.origin }
        })
    }

    /// A packet from the outside: the destination it gets, if its connection is known.
    pub fn translate_in(&mut self, now: Instant, packet: &Packet) -> Option<Translation> {
        let idx = self.find_in(packet)?;
        self.touch(now, idx, Side::Outside, packet).then(|| {
            let c = self.connections.get(idx);
            Translation { endpoint: c.inside, zone: c.zone, origin: c.origin }
        })
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
            Mapping::Dynamic(addr) => {
                let idx = self.obtain_binding(now, packet, addr)?;
                (self.bindings.get(idx).outside, idx)
            }
        };
        let origin = Side::Inside;
        let zones = (packet.zone, packet.to_zone);
        let ends = Ends { zones, inside, outside, remote, binding, origin, state };
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
        self.insert(now, packet, Ends { zones, inside, outside, remote, binding, origin, state })?;
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
        self.insert(now, packet, Ends { zones, inside, outside, remote, binding: NONE, origin, state })?;
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
    fn touch(&mut self, now: Instant, idx: u32, from: Side, packet: &Packet) -> bool {
        let timers = self.config.timers;
        let c = self.connections.get_mut(idx);
        if c.deadline <= now {
            self.remove(now, idx);
            return false;
        }
        let old = c.state;
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
        let side = from as usize;
        c.n_packets[side] = c.n_packets[side].wrapping_add(packet.n_packets);
        c.n_bytes[side] += u64::from(packet.len);
        if c.state != old {
            match c.state.is_transitory() {
                true => self.transitory.push_back(idx),
                false => self.transitory.remove(idx),
            }
        }
        true
    }

    // ---- making and ending ---------------------------------------------------------------------------------------

    fn insert(&mut self, now: Instant, packet: &Packet, ends: Ends) -> Result<(), Refusal> {
        let protocol = packet.protocol;
        let Ends { zones: (zone, outside_zone), inside, outside, remote, binding, origin, state } = ends;
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
            live: true,
        };
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
        if binding != NONE {
            self.join(idx, binding, remote.addr);
        }
        self.wheel.schedule(idx, deadline);
        self.transitory.push_back(idx);
        Ok(())
    }

    /// Makes a connection a user of its binding.
    fn join(&mut self, idx: u32, binding: u32, remote: IpAddr) {
        self.bindings.get_mut(binding).n_connections += 1;
        self.held.cancel(binding);
        self.held_since.remove(binding);
        let permit = match self.find_permit(binding, remote) {
            Some(permit) => {
                self.permits.get_mut(permit).n_connections += 1;
                permit
            }
            None => self.add_permit(binding, remote).unwrap_or(NONE),
        };
        let c = self.connections.get_mut(idx);
        (c.binding, c.permit) = (binding, permit);
    }

    fn add_permit(&mut self, binding: u32, remote: IpAddr) -> Option<u32> {
        let permit = self.permits.insert(Permit { binding, remote, n_connections: 1 })?;
        if self.permits_index.insert(self.permit_hash(binding, remote), permit).is_err() {
            self.permits.remove(permit);
            return None;
        }
        Some(permit)
    }

    fn remove(&mut self, now: Instant, idx: u32) {
        let c = *self.connections.get(idx);
        self.by_inside.remove(self.hash(OUT, c.zone, c.protocol, c.inside, c.remote), idx);
        self.by_outside.remove(self.hash(0, c.outside_zone, c.protocol, c.outside, c.remote), idx);
        self.wheel.cancel(idx);
        self.transitory.remove(idx);
        self.connections.remove(idx);
        if c.permit != NONE {
            let permit = self.permits.get_mut(c.permit);
            permit.n_connections -= 1;
            let (binding, remote) = (permit.binding, permit.remote);
            if permit.n_connections == 0 {
                self.permits_index.remove(self.permit_hash(binding, remote), c.permit);
                self.permits.remove(c.permit);
            }
        }
        if c.binding != NONE {
            self.bindings.get_mut(c.binding).n_connections -= 1;
            self.hold_if_unused(now, c.binding);
        }
    }

    /// A binding that nobody uses any more waits before its port may go to another inside endpoint.
    fn hold_if_unused(&mut self, now: Instant, binding: u32) {
        let b = self.bindings.get(binding);
        if b.n_connections != 0 {
            return;
        }
        // RFC 6888 REQ-8, exception A: tracked TCP may be used again at once.
        if b.protocol == IpProtocol::TCP || self.config.timers.port_hold.is_zero() {
            self.remove_binding(binding);
        } else {
            let until = now + self.config.timers.port_hold;
            self.bindings.get_mut(binding).held_until = until;
            self.held.schedule(binding, until);
            self.held_since.push_back(binding);
        }
    }

    fn remove_binding(&mut self, binding: u32) {
        let b = *self.bindings.get(binding);
        let inside_hash = self.inside_binding_hash(b.zone, b.protocol, b.inside, b.outside.addr);
        self.bindings_by_inside.remove(inside_hash, binding);
        let outside_hash = self.hash(0, b.outside_zone, b.protocol, b.outside, b.outside);
        self.bindings_by_outside.remove(outside_hash, binding);
        self.held.cancel(binding);
        self.held_since.remove(binding);
        self.ports.give_back(b.outside_zone, b.outside, b.protocol);
        self.bindings.remove(binding);
    }

    fn remove_binding_and_connections(&mut self, binding: u32) {
        let users: Vec<u32> =
            self.connections.iter_from(0).filter(|(_, c)| c.binding == binding).map(|(idx, _)| idx).collect();
        for idx in users {
            self.remove(Instant::ZERO, idx);
        }
        if self.bindings.get(binding).live {
            self.remove_binding(binding);
        }
    }

    /// The binding of the packet's source at `addr`, or a new one.
    fn obtain_binding(&mut self, now: Instant, packet: &Packet, addr: IpAddr) -> Result<u32, Refusal> {
        let Packet { zone, to_zone, protocol, src: inside, .. } = *packet;
        let hash = self.inside_binding_hash(zone, protocol, inside, addr);
        let found = self.bindings_by_inside.find(hash, |idx| {
            let b = self.bindings.get(idx);
            (b.inside, b.outside.addr, b.protocol) == (inside, addr, protocol)
                && (b.zone, b.outside_zone) == (zone, to_zone)
        });
        if let Some(binding) = found {
            return Ok(binding);
        }
        self.expire_held(now);
        if self.bindings.is_full() {
            // RFC 6888 REQ-8, exception C: the filters that depended on the old owner are gone with its connections.
            let oldest = self.held_since.front().ok_or(Refusal::TableFull)?;
            self.remove_binding(oldest);
        }
        let port = self.ports.take((to_zone, addr), protocol, inside.port, &mut self.random);
        let outside = Endpoint::new(addr, port.ok_or(Refusal::PortsExhausted)?);
        let record = Binding {
            zone,
            outside_zone: to_zone,
            protocol,
            inside,
            outside,
            n_connections: 0,
            held_until: now,
            live: true,
        };
        let result = self.index_binding(record, hash);
        if result.is_err() {
            self.ports.give_back(to_zone, outside, protocol);
        }
        result
    }

    fn index_binding(&mut self, record: Binding, inside_hash: u64) -> Result<u32, Refusal> {
        let Binding { outside_zone, protocol, outside, .. } = record;
        let binding = self.bindings.insert(record).ok_or(Refusal::TableFull)?;
        if self.bindings_by_inside.insert(inside_hash, binding).is_err() {
            self.bindings.remove(binding);
            return Err(Refusal::TableFull);
        }
        if self
            .bindings_by_outside
            .insert(self.hash(0, outside_zone, protocol, outside, outside), binding)
            .is_err()
        {
            self.bindings_by_inside.remove(inside_hash, binding);
            self.bindings.remove(binding);
            return Err(Refusal::TableFull);
        }
        Ok(binding)
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

    /// As [`make_room`](Self::make_room), but `binding` must not go with its last connection.
    fn make_room_sparing(&mut self, now: Instant, binding: u32) -> Result<(), Refusal> {
        self.bindings.get_mut(binding).n_connections += 1;
        let result = self.make_room(now);
        let b = self.bindings.get_mut(binding);
        b.n_connections -= 1;
        if b.n_connections == 0 {
            self.hold_if_unused(now, binding);
            return Err(Refusal::TableFull);
        }
        result
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

    fn expire_held(&mut self, now: Instant) {
        for _ in 0..64 {
            let Some(binding) = self.held.pop(now) else { break };
            match self.bindings.get(binding).held_until {
                until if until > now => self.held.schedule(binding, until),
                _ => self.remove_binding(binding),
            }
        }
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
