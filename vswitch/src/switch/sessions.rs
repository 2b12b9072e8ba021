//! Who is connected: channels of one main and perhaps auxiliary connections (§6.3.6), roles (§6.3.5), and who is told
//! what unasked (§6.3.5, §7.3.10).

use std::collections::BTreeMap;

use openflow::error::{BadRequest, RoleRequestFailed};
use openflow::{
    AsyncConfig, ErrorKind, Message, PacketInReason, RequestForward, Role, RoleReason, RoleRequest,
    RoleStatus, Xid,
};
use packet::{Instant, PortNo};

use super::Switch;
use crate::{ConnId, Effect, FailMode};

/// A session.
#[derive(Debug)]
pub(super) struct Conn {
    role: Role,
    wants: AsyncConfig,
    /// Does not count as a controller for the fail mode.
    service: bool,
    /// The main connection and this one's number, if this is an auxiliary one: role and wishes are the main one's.
    auxiliary: Option<(ConnId, u8)>,
    /// It does not keep up: long replies wait.
    paused: bool,
    /// Replies that are not complete.
    due: usize,
}

impl Conn {
    fn main(service: bool) -> Self {
        Self {
            role: Role::Equal,
            wants: AsyncConfig::default(),
            service,
            auxiliary: None,
            paused: false,
            due: 0,
        }
    }

    fn wants(&self, mask: impl Fn(&AsyncConfig) -> [u32; 2], reason: u32) -> bool {
        self.auxiliary.is_none()
            && mask(&self.wants)[usize::from(self.role == Role::Slave)] >> reason & 1 != 0
    }
}

impl Switch {
    /// A controller's session is established.
    pub fn handle_connected(&mut self, _now: Instant, conn: ConnId) {
        self.conns.insert(conn, Conn::main(false));
        self.connections_changed();
    }

    /// The session of somebody who came to look or to change something is established: the same, but the fail mode
    /// stays as it is.
    pub fn handle_service_connected(&mut self, _now: Instant, conn: ConnId) {
        self.conns.insert(conn, Conn::main(true));
        self.connections_changed();
    }

    /// An auxiliary connection `id`, which is not zero, of the controller whose main connection is `main` is
    /// established. It shares role and wishes of the main one, and takes packet-ins in its place. False: there is no
    /// such main connection, so this one is to be closed.
    pub fn handle_auxiliary_connected(
        &mut self,
        _now: Instant,
        conn: ConnId,
        (main, id): (ConnId, u8),
    ) -> bool {
        let fits = self.conns.get(&main).is_some_and(|c| c.auxiliary.is_none());
        if fits {
            self.conns.insert(conn, Conn { auxiliary: Some((main, id)), ..Conn::main(false) });
        }
        fits
    }

    /// A controller's session is gone. With a main connection its auxiliary ones go (§6.3.6): the shell closes them.
    pub fn handle_disconnected(&mut self, _now: Instant, conn: ConnId) {
        let goes = |id: &ConnId, c: &Conn| *id == conn || c.auxiliary.is_some_and(|(main, _)| main == conn);
        let gone: Vec<ConnId> = self.conns.iter().filter(|(id, c)| goes(id, c)).map(|(id, _)| *id).collect();
        for conn in gone {
            self.conns.remove(&conn);
            self.bundles.forget(conn);
            self.parts.forget(conn);
            self.dumps.forget(conn);
        }
        self.connections_changed();
    }

    /// The peer does not keep up, or does again: while it does not, replies in parts do not go on.
    pub fn set_paused(&mut self, conn: ConnId, paused: bool) {
        if let Some(c) = self.conns.get_mut(&conn) {
            c.paused = paused;
        }
    }

    /// How many replies to a connection are not complete, or wait for counts. A shell that takes nothing more from a
    /// connection while there are many keeps it from piling them up.
    pub fn replies_due(&self, conn: ConnId) -> usize {
        self.conns.get(&conn).map_or(0, |c| c.due)
    }

    /// A reply will come later.
    pub(super) fn owe(&mut self, conn: ConnId) {
        if let Some(c) = self.conns.get_mut(&conn) {
            c.due += 1;
        }
    }

    /// One that was owed is complete.
    pub(super) fn replied(&mut self, conn: ConnId) {
        if let Some(c) = self.conns.get_mut(&conn) {
            c.due = c.due.saturating_sub(1);
        }
    }

    pub(super) fn is_connected(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// The role of the controller at the other end of a connection.
    pub fn role(&self, conn: ConnId) -> Option<Role> {
        self.conns.get(&self.main_of(conn)).map(|c| c.role)
    }

    fn main_of(&self, conn: ConnId) -> ConnId {
        self.conns.get(&conn).and_then(|c| c.auxiliary).map_or(conn, |(main, _)| main)
    }

    /// Zero for a main connection.
    pub(super) fn auxiliary_id(&self, conn: ConnId) -> u8 {
        self.conns.get(&conn).and_then(|c| c.auxiliary).map_or(0, |(_, id)| id)
    }

    pub(super) fn is_slave(&self, conn: ConnId) -> bool {
        self.role(conn) == Some(Role::Slave)
    }

    pub(super) fn async_config(&self, conn: ConnId) -> AsyncConfig {
        self.conns.get(&self.main_of(conn)).map(|c| c.wants).unwrap_or_default()
    }

    pub(super) fn set_async(&mut self, conn: ConnId, change: &openflow::AsyncChange) {
        let main = self.main_of(conn);
        if let Some(c) = self.conns.get_mut(&main) {
            c.wants.apply(change);
        }
        self.connections_changed();
    }

    /// Who is connected, or what they want, has changed.
    fn connections_changed(&mut self) {
        let reason = PacketInReason::InvalidTtl.number().into();
        let options = super::Options {
            // §6.3.3: without any controller the switch is in its fail mode.
            standalone: self.conns.values().all(|c| c.service)
                && self.config.fail_mode == FailMode::Standalone,
            punt_invalid_ttl: self.conns.values().any(|c| c.wants(|wants| wants.packet_in, reason)),
            punt_misses: self.conns.values().any(|c| c.wants.misses && c.role != Role::Slave),
            ..self.options
        };
        self.set_options(options);
    }

    /// §6.3.5: a new master makes the old one a slave; stale generations are refused.
    pub(super) fn role_request(
        &mut self,
        conn: ConnId,
        xid: Xid,
        request: RoleRequest,
    ) -> Result<(), ErrorKind> {
        let main = self.main_of(conn);
        if matches!(request.role, Role::Master | Role::Slave) {
            // The distance on the circle of 64 bits, as the standard computes it.
            let stale = |known: u64| (request.generation.wrapping_sub(known) as i64) < 0;
            if self.generation.is_some_and(stale) {
                return Err(RoleRequestFailed::Stale.into());
            }
            self.generation = Some(request.generation);
        }
        if request.role == Role::Master {
            self.demote_masters(main, request.generation);
        }
        let Some(c) = self.conns.get_mut(&main) else { return Err(BadRequest::Eperm.into()) };
        if request.role != Role::NoChange {
            c.role = request.role;
        }
        let role = c.role;
        let generation = self.generation.unwrap_or(u64::MAX);
        self.send(conn, xid, Message::RoleReply(RoleRequest { role, generation }));
        self.connections_changed();
        Ok(())
    }

    /// Another controller becomes master; those that were are told, if their version can say it (1.4 §7.4.4).
    fn demote_masters(&mut self, successor: ConnId, generation: u64) {
        let (role, reason) = (Role::Slave, RoleReason::MasterRequest);
        let message = Message::RoleStatus(RoleStatus { role, reason, generation });
        for (&conn, c) in self.conns.iter_mut().filter(|(id, c)| c.role == Role::Master && **id != successor)
        {
            // The role it had decides: it is the one that is told of its end.
            let told = c.wants(|wants| wants.role_status, u32::from(reason.number()));
            c.role = Role::Slave;
            if told {
                self.effects.push_back(Effect::Send { conn, xid: Xid(0), message: message.clone() });
            }
        }
    }

    /// Sends an asynchronous message to every controller that wants it, by its main connection.
    pub(super) fn tell(
        &mut self,
        message: &Message,
        mask: impl Fn(&AsyncConfig) -> [u32; 2] + Copy,
        reason: u32,
    ) {
        for (&conn, _) in self.conns.iter().filter(|(_, c)| c.wants(mask, reason)) {
            self.effects.push_back(Effect::Send { conn, xid: Xid(0), message: message.clone() });
        }
    }

    /// Whether a packet for the controllers would be sent to any.
    pub(super) fn wants_packets(&self, mask: impl Fn(&AsyncConfig) -> [u32; 2] + Copy, reason: u32) -> bool {
        self.conns.values().any(|c| c.wants(mask, reason))
    }

    /// Sends a packet-in to every controller that wants it: by its auxiliary connections if there are any. Packets of
    /// one port take one of them, so that they stay in order.
    pub(super) fn tell_packet(
        &mut self,
        message: &Message,
        in_port: PortNo,
        mask: impl Fn(&AsyncConfig) -> [u32; 2] + Copy,
        reason: u32,
    ) {
        for (&main, _) in self.conns.iter().filter(|(_, c)| c.wants(mask, reason)) {
            let of_main = |c: &Conn| c.auxiliary.is_some_and(|(of, _)| of == main);
            let auxiliary = || self.conns.iter().filter(|(_, c)| of_main(c)).map(|(&conn, _)| conn);
            let n = auxiliary().count();
            let nth = (in_port.0 as usize).checked_rem(n);
            let conn = nth.and_then(|nth| auxiliary().nth(nth)).unwrap_or(main);
            self.effects.push_back(Effect::Send { conn, xid: Xid(0), message: message.clone() });
        }
    }

    /// Whether some other controller wants to hear of a change of groups or meters (1.4 §6.3.7 and §7.4.7).
    pub(super) fn is_forwarded(&self, conn: ConnId, message: &Message) -> Option<u32> {
        let reason = match message {
            Message::GroupMod(_) => 0,
            Message::MeterMod(_) => 1,
            _ => return None,
        };
        let main = self.main_of(conn);
        let other = |(id, c): (&ConnId, &Conn)| *id != main && c.wants(|wants| wants.request_forward, reason);
        self.conns.iter().any(other).then_some(reason)
    }

    /// Forwards a request that was done to the other controllers that want to hear of it.
    pub(super) fn forward(&mut self, conn: ConnId, (xid, request): (Xid, Message), reason: u32) {
        let main = self.main_of(conn);
        let message = Message::RequestForward(RequestForward { xid, request: Box::new(request) });
        for (&conn, c) in &self.conns {
            if conn != main && c.wants(|wants| wants.request_forward, reason) {
                self.effects.push_back(Effect::Send { conn, xid: Xid(0), message: message.clone() });
            }
        }
    }
}

/// The peer does not keep up.
pub(super) fn is_paused(conns: &BTreeMap<ConnId, Conn>, conn: ConnId) -> bool {
    conns.get(&conn).is_some_and(|c| c.paused)
}

/// Whether only masters and equals may send it (§6.3.5).
pub(super) fn is_change(message: &Message) -> bool {
    let sets_features = |request: &openflow::MultipartRequest| matches!(&request.body, openflow::Request::TableFeatures(features) if !features.is_empty());
    match message {
        Message::MultipartRequest(request) => sets_features(request),
        other => matches!(
            other,
            Message::PacketOut(_)
                | Message::FlowMod(_)
                | Message::GroupMod(_)
                | Message::PortMod(_)
                | Message::TableMod(_)
                | Message::MeterMod(_)
                | Message::SetConfig(_)
                | Message::BundleControl(_)
                | Message::BundleAdd(_)
        ),
    }
}
