//! Bindings: outside endpoints that inside ones have for themselves, who may send there, and ports that are shared.
//!
//! Most bindings have one connection, which says all that is to be known of them: the indices lead to that connection
//! ([`SOLE`]). A binding has a record of its own from its second connection on, and while it waits without any.

use core::net::IpAddr;

use packet::{Instant, IpProtocol};

use super::{PERMIT, Packet, Refusal, Sharing, Tracker};
use crate::entry::BindingEntry;
use crate::links::NONE;
use crate::record::{Binding, Connection, Endpoint, Permit};
use crate::tuple::OUT;

/// In the number of a binding: it has no record, the rest is the place of its only connection.
pub(super) const SOLE: u32 = 1 << 31;

/// The only connection of a binding, if that has no record.
const fn sole(binding: u32) -> Option<u32> {
    if binding & SOLE != 0 && binding != NONE { Some(binding & !SOLE) } else { None }
}

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
            .map(|(idx, c)| (idx, c.view(&self.wide)))
            .filter(|(_, c)| c.is_dynamic() && ports.is_reserved(c.outside_zone, c.outside, c.protocol));
        let connections: Vec<u32> = connections.map(|(idx, _)| idx).collect();
        for idx in connections {
            self.remove(now, idx);
        }
        let ports = &self.ports;
        let bindings = self.bindings.iter_from(0).map(|(idx, b)| (idx, b.view(&self.wide_bindings)));
        let taken = bindings.filter(|(_, b)| ports.is_reserved(b.outside_zone, b.outside, b.protocol));
        let taken: Vec<u32> = taken.map(|(idx, _)| idx).collect();
        for binding in taken {
            self.remove_binding(binding);
        }
    }

    /// The binding that has an outside endpoint, held ones among them.
    pub fn binding_of(&self, zone: u16, protocol: IpProtocol, outside: Endpoint) -> Option<Binding> {
        self.find_binding_out(zone, protocol, outside).map(|idx| self.binding(idx))
    }

    pub(super) fn binding(&self, binding: u32) -> Binding {
        match sole(binding) {
            Some(idx) => self.view(idx).binding(1),
            None => self.bindings.get(binding).view(&self.wide_bindings),
        }
    }

    /// Up to `max` bindings from place `from` on, and the place to go on from, if there may be more.
    pub fn bindings(&self, from: u32, max: usize) -> (Vec<Binding>, Option<u32>) {
        let own = if from < SOLE { from } else { SOLE };
        let own = self.bindings.iter_from(own).map(|(idx, _)| idx);
        let soles = self.connections.iter_from(from.saturating_sub(SOLE)).map(|(idx, _)| idx | SOLE);
        let soles = soles.filter(|binding| self.owners[(binding & !SOLE) as usize] == *binding);
        let found: Vec<u32> = own.chain(soles).take(max).collect();
        let next = found.last().filter(|_| found.len() == max).map(|last| last + 1);
        (found.into_iter().map(|binding| self.binding(binding)).collect(), next)
    }

    /// Gives a binding a record, for a second connection; none if there is no room for one.
    pub(super) fn with_record(&mut self, binding: u32) -> Option<u32> {
        let Some(idx) = sole(binding) else { return Some(binding) };
        let c = self.view(idx);
        let own = self.move_to_record(binding, &c, 1)?;
        self.owners[idx as usize] = own;
        self.permit(own, c.remote.addr);
        Some(own)
    }

    /// Makes a record for a binding that had a connection alone, and leads the indices to it.
    fn move_to_record(&mut self, binding: u32, c: &Connection, n_connections: u32) -> Option<u32> {
        let record = c.binding(n_connections);
        if self.bindings.is_full() {
            return None;
        }
        let entry = BindingEntry::new(&record, c.deadline, &mut self.wide_bindings);
        let own = self.bindings.insert(entry).expect("the table is not full");
        self.lead(&record, binding, own);
        self.n_soles -= 1;
        Some(own)
    }

    /// Leads the indices from one number of a binding to another.
    fn lead(&mut self, record: &Binding, from: u32, to: u32) {
        let (inside_hash, outside_hash) = self.binding_hashes(record);
        self.bindings_by_inside.replace(inside_hash, from, to);
        self.bindings_by_outside.replace(outside_hash, from, to);
    }

    pub(super) fn binding_hashes(&self, b: &Binding) -> (u64, u64) {
        let inside = self.inside_binding_hash(b.zone, b.protocol, b.inside, b.outside.addr);
        (inside, self.hash(0, b.outside_zone, b.protocol, b.outside, b.outside))
    }

    /// As many bindings as there may be.
    fn has_all_bindings(&self) -> bool {
        self.bindings.len() + self.n_soles >= self.config.n_bindings as usize
    }

    pub(super) fn find_binding_out(&self, zone: u16, protocol: IpProtocol, outside: Endpoint) -> Option<u32> {
        let hash = self.hash(0, zone, protocol, outside, outside);
        self.bindings_by_outside.find(hash, |idx| {
            let b = self.binding(idx);
            b.outside == outside && b.protocol == protocol && b.outside_zone == zone
        })
    }

    fn inside_binding_hash(&self, zone: u16, protocol: IpProtocol, inside: Endpoint, addr: IpAddr) -> u64 {
        self.hash(OUT, zone, protocol, inside, Endpoint::new(addr, 0))
    }

    pub(super) fn permit_hash(&self, binding: u32, remote: IpAddr) -> u64 {
        let nobody = Endpoint::new(core::net::Ipv4Addr::from_bits(binding), 0);
        self.hash(PERMIT, 0, IpProtocol(0), Endpoint::new(remote, 0), nobody)
    }

    /// The inside has sent to this address by its binding.
    pub(super) fn admits(&self, binding: u32, remote: IpAddr) -> bool {
        match sole(binding) {
            Some(idx) => self.view(idx).remote.addr == remote,
            None => self.bindings.get(binding).permits(remote) || self.find_permit(binding, remote).is_some(),
        }
    }

    fn find_permit(&self, binding: u32, remote: IpAddr) -> Option<u32> {
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
            let result = self.obtain_binding(now, packet, addr).map(|b| (self.binding(b).outside, b));
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

    /// The binding of the packet's source at `addr`, or a new one; it has a record.
    fn obtain_binding(&mut self, now: Instant, packet: &Packet, addr: IpAddr) -> Result<u32, Refusal> {
        let Packet { zone, to_zone, protocol, src: inside, .. } = *packet;
        let hash = self.inside_binding_hash(zone, protocol, inside, addr);
        let found = self.bindings_by_inside.find(hash, |idx| {
            let b = self.binding(idx);
            (b.inside, b.outside.addr, b.protocol) == (inside, addr, protocol)
                && (b.zone, b.outside_zone) == (zone, to_zone)
        });
        if let Some(binding) = found {
            return self.with_record(binding).ok_or(Refusal::TableFull);
        }
        self.expire_held(now);
        if self.has_all_bindings() {
            // RFC 6888 REQ-8, exception C: the filters that depended on the old owner are gone with its connections.
            let oldest = self.held_since.front().ok_or(Refusal::TableFull)?;
            self.remove_binding(oldest);
        }
        let port = self.ports.take((to_zone, addr), protocol, inside.port, &mut self.random);
        let outside = Endpoint::new(addr, port.ok_or(Refusal::PortsExhausted)?);
        let record = Binding { zone, outside_zone: to_zone, protocol, inside, outside, n_connections: 0 };
        let result = self.index_binding(now, &record, hash);
        if result.is_err() {
            self.ports.give_back(to_zone, outside, protocol);
        }
        result
    }

    fn index_binding(&mut self, now: Instant, record: &Binding, inside_hash: u64) -> Result<u32, Refusal> {
        let Binding { outside_zone, protocol, outside, .. } = *record;
        if self.has_all_bindings() || self.bindings.is_full() {
            return Err(Refusal::TableFull);
        }
        let entry = BindingEntry::new(record, now, &mut self.wide_bindings);
        let binding = self.bindings.insert(entry).expect("the table is not full");
        if self.bindings_by_inside.insert(inside_hash, binding).is_err() {
            self.free_binding(binding);
            return Err(Refusal::TableFull);
        }
        if self
            .bindings_by_outside
            .insert(self.hash(0, outside_zone, protocol, outside, outside), binding)
            .is_err()
        {
            self.bindings_by_inside.remove(inside_hash, binding);
            self.free_binding(binding);
            return Err(Refusal::TableFull);
        }
        Ok(binding)
    }

    fn free_binding(&mut self, binding: u32) {
        self.bindings.get(binding).release(&mut self.wide_bindings);
        self.bindings.remove(binding);
    }

    /// Makes a connection a user of its binding.
    pub(super) fn join(&mut self, idx: u32, binding: u32, remote: IpAddr) {
        self.held.cancel(binding);
        self.held_since.remove(binding);
        self.owners[idx as usize] = binding;
        let b = self.bindings.get_mut(binding);
        if b.n_connections == 0 {
            let record = self.binding(binding);
            self.lead(&record, binding, SOLE | idx);
            self.free_binding(binding);
            self.owners[idx as usize] = SOLE | idx;
            self.n_soles += 1;
            return;
        }
        b.n_connections += 1;
        self.permit(binding, remote);
    }

    /// Notes one more connection with a remote address.
    fn permit(&mut self, binding: u32, remote: IpAddr) {
        if self.bindings.get_mut(binding).permit(remote) {
            return;
        }
        match self.find_permit(binding, remote) {
            Some(permit) => self.permits.get_mut(permit).n_connections += 1,
            None => self.add_permit(binding, remote),
        }
    }

    fn add_permit(&mut self, binding: u32, remote: IpAddr) {
        let hash = self.permit_hash(binding, remote);
        if let Some(permit) = self.permits.insert(Permit { binding, remote, n_connections: 1 })
            && self.permits_index.insert(hash, permit).is_err()
        {
            self.permits.remove(permit);
        }
    }

    /// Takes a connection that is about to go off its binding, if it has one.
    pub(super) fn leave(&mut self, now: Instant, binding: u32, c: &Connection) {
        let remote = c.remote.addr;
        if binding == NONE {
            return;
        }
        if sole(binding).is_some() {
            return match self.is_held(c.protocol).then(|| self.move_to_record(binding, c, 0)).flatten() {
                Some(own) => self.hold_if_unused(now, own),
                None => {
                    self.n_soles -= 1;
                    self.unbind(binding, &c.binding(0));
                }
            };
        }
        let b = self.bindings.get_mut(binding);
        b.n_connections -= 1;
        if b.permits(remote) {
            b.withdraw();
        } else if let Some(permit) = self.find_permit(binding, remote) {
            let p = self.permits.get_mut(permit);
            p.n_connections -= 1;
            if p.n_connections == 0 {
                self.permits_index.remove(self.permit_hash(binding, remote), permit);
                self.permits.remove(permit);
            }
        }
        self.hold_if_unused(now, binding);
    }

    /// A binding that nobody uses any more waits before its port may go to another inside endpoint.
    pub(super) fn hold_if_unused(&mut self, now: Instant, binding: u32) {
        let b = self.bindings.get(binding);
        if b.n_connections != 0 {
            return;
        }
        if !self.is_held(b.protocol) {
            self.remove_binding(binding);
        } else {
            let until = now + self.config.timers.port_hold;
            self.bindings.get_mut(binding).held_until = until;
            self.held.schedule(binding, until);
            self.held_since.push_back(binding);
        }
    }

    /// Whether a binding that nobody uses waits before its port may go to others. RFC 6888 REQ-8, exception A: those of
    /// tracked TCP may be used again at once.
    fn is_held(&self, protocol: IpProtocol) -> bool {
        protocol != IpProtocol::TCP && !self.config.timers.port_hold.is_zero()
    }

    fn remove_binding(&mut self, binding: u32) {
        let b = self.binding(binding);
        self.held.cancel(binding);
        self.held_since.remove(binding);
        self.unbind(binding, &b);
        self.free_binding(binding);
    }

    /// Takes a binding out of the indices and gives its port back.
    fn unbind(&mut self, binding: u32, b: &Binding) {
        let (inside_hash, outside_hash) = self.binding_hashes(b);
        self.bindings_by_inside.remove(inside_hash, binding);
        self.bindings_by_outside.remove(outside_hash, binding);
        self.ports.give_back(b.outside_zone, b.outside, b.protocol);
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
