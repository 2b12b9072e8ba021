//! Bindings: outside endpoints that inside ones have for themselves, who may send there, and ports that are shared.

use core::net::IpAddr;

use packet::{Instant, IpProtocol};

use super::{OUT, PERMIT, Packet, Refusal, Sharing, Tracker};
use crate::links::NONE;
use crate::record::{Binding, Connection, Endpoint, Permit};

/// Random ports tried for a connection that shares one.
const N_DRAWS: usize = 64;

impl Tracker {
    /// Sets aside outside ports for the configuration. Bindings and connections that had one of them end.
    pub fn set_reserved(&mut self, now: Instant, reserved: &[(u16, IpProtocol, Endpoint)]) {
        self.ports.set_reserved(reserved.iter().copied());
        let ports = &self.ports;
        let connections = self
            .connections
            .iter_from(0)
            .filter(|(_, c)| c.is_dynamic() && ports.is_reserved(c.outside_zone, c.outside, c.protocol));
        let connections: Vec<u32> = connections.map(|(idx, _)| idx).collect();
        for idx in connections {
            self.remove(now, idx);
        }
        let ports = &self.ports;
        let bindings = self.bindings.iter_from(0);
        let taken = bindings.filter(|(_, b)| ports.is_reserved(b.outside_zone, b.outside, b.protocol));
        let taken: Vec<u32> = taken.map(|(idx, _)| idx).collect();
        for binding in taken {
            self.remove_binding(binding);
        }
    }

    /// The binding that has an outside endpoint, held ones among them.
    pub fn binding_of(&self, zone: u16, protocol: IpProtocol, outside: Endpoint) -> Option<&Binding> {
        self.find_binding_out(zone, protocol, outside).map(|idx| self.bindings.get(idx))
    }

    pub(super) fn find_binding_out(&self, zone: u16, protocol: IpProtocol, outside: Endpoint) -> Option<u32> {
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

    pub(super) fn find_permit(&self, binding: u32, remote: IpAddr) -> Option<u32> {
        self.permits_index.find(self.permit_hash(binding, remote), |idx| {
            let p = self.permits.get(idx);
            p.binding == binding && p.remote == remote
        })
    }

    /// The outside endpoint for a connection, and the binding it belongs to, if one.
    pub(super) fn dynamic(
        &mut self,
        now: Instant,
        packet: &Packet,
        addr: IpAddr,
        sharing: Sharing,
    ) -> Result<(Endpoint, u32), Refusal> {
        let is_free = |t: &Self, outside: Endpoint| {
            let back = Packet { zone: packet.to_zone, src: packet.dst, dst: outside, ..*packet };
            t.peek_in(now, &back).is_none()
        };
        if sharing != Sharing::Dependent {
            let result = self.obtain_binding(now, packet, addr).map(|b| (self.bindings.get(b).outside, b));
            match (sharing, result) {
                // Others may have taken the port for a connection to this very remote meanwhile.
                (Sharing::Overload, Ok((outside, binding))) if !is_free(self, outside) => {
                    self.hold_if_unused(now, binding);
                }
                (Sharing::Overload, Err(Refusal::PortsExhausted)) => {}
                (_, result) => return result,
            }
        }
        let Packet { to_zone, protocol, src, .. } = *packet;
        for turn in 0..N_DRAWS {
            // Ports that no binding has come first, as long as there are any.
            let shared = turn > 0;
            let drawn = self.ports.draw((to_zone, addr), protocol, src.port, shared, &mut self.random);
            let Some(outside) = drawn.map(|port| Endpoint::new(addr, port)) else { continue };
            if is_free(self, outside) {
                return Ok((outside, NONE));
            }
        }
        Err(Refusal::PortsExhausted)
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

    /// Makes a connection a user of its binding.
    pub(super) fn join(&mut self, idx: u32, binding: u32, remote: IpAddr) {
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

    /// Takes a connection that is gone off its binding.
    pub(super) fn leave(&mut self, now: Instant, c: &Connection) {
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
    pub(super) fn hold_if_unused(&mut self, now: Instant, binding: u32) {
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

    /// As [`make_room`](Self::make_room), but `binding` must not go with its last connection.
    pub(super) fn make_room_sparing(&mut self, now: Instant, binding: u32) -> Result<(), Refusal> {
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

    pub(super) fn expire_held(&mut self, now: Instant) {
        for _ in 0..64 {
            let Some(binding) = self.held.pop(now) else { break };
            match self.bindings.get(binding).held_until {
                until if until > now => self.held.schedule(binding, until),
                _ => self.remove_binding(binding),
            }
        }
    }
}
