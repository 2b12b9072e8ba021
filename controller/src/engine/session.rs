//! The handshake, and the way of each message to whom it concerns.

use openflow::{
    BundleControl, BundleControlKind, Config, Dpid, Features, FlowStatsRequest, FragMode, Message, MeterId,
    MultipartReply, MultipartRequest, NO_BUFFER_LEN, PortConfig, PortDesc, PortReason, PortState, PortStatus,
    Reply, Request, Role, RoleRequest, SwitchDesc, Xid, ports,
};
use packet::Instant;

use super::Controller;
use crate::blueprint;
use crate::effect::BUNDLE_FLAGS;
use crate::effect::{ConnId, Event};
use crate::groups::{Support, owned_groups};
use crate::layout;
use crate::meters;
use crate::switch::{Pending, Purpose};
use crate::view;

impl Controller {
    pub(super) fn message(&mut self, now: Instant, conn: ConnId, xid: Xid, message: Message) {
        match message {
            Message::FeaturesReply(features) => self.features(now, conn, xid, features),
            Message::MultipartReply(reply) => self.multipart(now, conn, xid, reply),
            Message::BarrierReply => self.barrier(now, conn, xid),
            Message::Error(error) => self.error(now, conn, xid, &error),
            Message::PacketIn(packet_in) => match self.ready_dpid(conn) {
                Some(dpid) => self.packet_in(now, dpid, &packet_in),
                None => self.counters.useless_packet_ins += 1,
            },
            Message::PortStatus(status) => self.port_status(now, conn, &status),
            Message::FlowRemoved(flow) => {
                if let Some(dpid) = self.ready_dpid(conn) {
                    self.forgotten(dpid, &flow);
                }
            }
            Message::BundleControl(control) => self.bundle_control(conn, xid, control),
            Message::RoleReply(_) | Message::QueueGetConfigReply(_) => {
                self.exchanged(now, conn, xid, message)
            }
            Message::EchoRequest(data) => self.send(conn, xid, Message::EchoReply(data)),
            Message::Hello(_) | Message::EchoReply(_) | Message::GetConfigReply(_) => {}
            _ => self.counters.unexpected_messages += 1,
        }
    }

    fn ready_dpid(&self, conn: ConnId) -> Option<Dpid> {
        self.sessions.get(&conn).filter(|session| session.ready)?.dpid
    }

    fn features(&mut self, now: Instant, conn: ConnId, xid: Xid, features: Features) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if !matches!(session.take(xid), Some(Pending::Features)) || features.auxiliary_id != 0 {
            self.counters.unexpected_messages += 1;
            return;
        }
        self.claim(now, conn, features);
    }

    /// The switch of a connection is known: it is asked what it is and holds.
    pub(super) fn welcome(&mut self, conn: ConnId, features: &Features) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.dpid = Some(features.dpid);
        session.n_tables = features.n_tables;
        let xid = session.bare_xid();
        // Frames come whole: what is held for a chain goes back to the switch from here.
        let config = Config { frag: FragMode::Normal, miss_send_len: NO_BUFFER_LEN };
        self.send(conn, xid, Message::SetConfig(config));
        self.take_charge(conn);
        let (cookie, cookie_mask) = layout::any_intent();
        let flows = FlowStatsRequest { cookie, cookie_mask, ..FlowStatsRequest::default() };
        for body in [Request::Desc, Request::PortDesc, Request::Flow(flows)] {
            self.ask(conn, Purpose::Handshake, body);
        }
        for body in [Request::GroupFeatures, Request::GroupDesc] {
            self.ask(conn, Purpose::Groups, body);
        }
        for body in [Request::MeterFeatures, Request::MeterConfig(MeterId::ALL)] {
            self.ask(conn, Purpose::Meters, body);
        }
    }

    /// Asks for the role of master, and whether there are bundles.
    fn take_charge(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let control = BundleControl { bundle: 0, kind: BundleControlKind::OpenRequest, flags: BUNDLE_FLAGS };
        let bundle = (session.xid(Pending::BundleProbe), Message::BundleControl(control));
        let role = self.config.master.map(|generation| {
            let request = RoleRequest { role: Role::Master, generation };
            (session.xid(Pending::Role), Message::RoleRequest(request))
        });
        for (xid, message) in role.into_iter().chain([bundle]) {
            self.send(conn, xid, message);
        }
    }

    pub(super) fn ask(&mut self, conn: ConnId, purpose: Purpose, body: Request) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            let xid = session.xid(Pending::Multipart(purpose, None));
            self.send(conn, xid, Message::MultipartRequest(MultipartRequest { more: false, body }));
        }
    }

    /// Puts the parts of a reply together.
    fn multipart(&mut self, now: Instant, conn: ConnId, xid: Xid, part: MultipartReply) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let (purpose, mut whole) = match session.take(xid) {
            Some(Pending::Multipart(purpose, whole)) => (purpose, whole),
            other => {
                other.into_iter().for_each(|pending| session.put_back(xid, pending));
                self.counters.unexpected_messages += 1;
                return;
            }
        };
        match &mut whole {
            Some(whole) => drop(whole.append(part.body)),
            None => whole = Some(Box::new(part.body)),
        }
        if part.more {
            session.put_back(xid, Pending::Multipart(purpose, whole));
        } else if let Some(whole) = whole {
            match purpose {
                Purpose::Handshake | Purpose::Groups | Purpose::Meters => {
                    self.handshake(now, conn, Some(*whole));
                }
                Purpose::Request(token) => self.answer(token, *whole),
                Purpose::Audit(n_changes) => self.audited(conn, n_changes, *whole),
                Purpose::Count(n_changes) => self.counted(conn, n_changes, Some(*whole)),
            }
        }
    }

    /// The switch has no groups, or no meters.
    pub(super) fn lacks(&mut self, now: Instant, conn: ConnId, purpose: Purpose) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if purpose == Purpose::Meters {
            session.max_meter = Some(0);
            session.meters = Some(Vec::new());
        } else {
            session.support = Some(Support::default());
            session.groups = Some(Vec::new());
        }
        self.handshake(now, conn, None);
    }

    /// An answer within the handshake. None: there is nothing more to be said.
    pub(super) fn handshake(&mut self, now: Instant, conn: ConnId, reply: Option<Reply>) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        match reply {
            Some(Reply::Desc(desc)) => session.desc = Some(desc),
            Some(Reply::PortDesc(ports)) => session.ports = Some(ports),
            Some(Reply::Flow(flows)) => session.flows = Some(flows),
            Some(Reply::GroupFeatures(features)) => {
                session.support.get_or_insert(Support::of(&features));
            }
            Some(Reply::GroupDesc(groups)) => {
                session.groups.get_or_insert(groups);
            }
            Some(Reply::MeterFeatures(features)) => {
                session.max_meter.get_or_insert(meters::highest(&features));
            }
            Some(Reply::MeterConfig(meters)) => {
                session.meters.get_or_insert(meters);
            }
            None => {}
            Some(_) => self.counters.unexpected_messages += 1,
        }
        let groups = session.support.is_some()
            && session.groups.is_some()
            && session.max_meter.is_some()
            && session.meters.is_some();
        if session.desc.is_some()
            && session.ports.is_some()
            && session.flows.is_some()
            && groups
            && !session.ready
        {
            session.ready = true;
            self.switch_ready(now, conn);
        }
    }

    /// The handshake is over: the switch enters the view.
    fn switch_ready(&mut self, now: Instant, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let Some(dpid) = session.dpid else { return };
        let n_tables = session.n_tables;
        let desc = session.desc.take().unwrap_or_default();
        let ports = session.ports.take().unwrap_or_default();
        let flows = session.flows.take().unwrap_or_default();
        let groups = session.support.unwrap_or_default();
        let descriptions = session.groups.take().unwrap_or_default();
        let max_meter = session.max_meter.unwrap_or(0);
        let configs = session.meters.take().unwrap_or_default();
        let name = self.name_for(dpid, &desc, &ports);

        let known = self.switches.contains_key(&dpid);
        let managed = self.switches.entry(dpid).or_default();
        managed.conn = Some(conn);
        managed.lost = None;
        managed.desc = desc;
        managed.set_installed(blueprint::owned(&flows));
        managed.groups = owned_groups(&descriptions);
        managed.meters = meters::owned_meters(&configs);
        managed.groups_stale = true;
        managed.meters_stale = true;
        managed.refused.clear();
        managed.in_flight.clear();
        (managed.asks, managed.asks_stale) = (false, true);
        managed.n_drifts = 0;
        managed.next_audit = Some(now + self.config.audit);
        // A controller that was started again knows neither links nor hosts yet: changing flows now would take
        // away what still works. Once discovery settled, the difference is small or none.
        if managed.installed.is_empty() {
            // Nothing is lost, and without flows it finds no links, for which others wait.
            managed.hold_until = None;
        } else if !known {
            managed.hold_until = Some(now + self.config.settle + self.config.probe_fast);
            managed.hold_limit = now + self.config.retire;
        }
        let old_ports = self.view.switches().get(&dpid).map(|old| old.ports.clone()).unwrap_or_default();
        self.view.put_switch(dpid, view::Switch { name, n_tables, groups, max_meter, ..Default::default() });
        for port in &ports {
            let settled = old_ports.get(&port.port).is_some_and(|old| old.settled && old.up == is_up(port));
            self.set_port(now, dpid, port, settled);
        }
        let gone: Vec<_> =
            old_ports.keys().filter(|port| !ports.iter().any(|p| p.port == **port)).copied().collect();
        for port in gone {
            self.port_down((dpid, port));
        }
        self.recover_hosts(dpid);
        self.dirty = true;
        self.event(Event::SwitchUp(dpid));
        if self.switches.get(&dpid).is_some_and(|managed| managed.hold_until.is_some()) {
            self.discover(now, dpid);
        }
    }

    /// What people call a switch: what it says itself, else its local port, which is how Open vSwitch names a bridge,
    /// else its dpid. A name that another switch has is nobody else's.
    fn name_for(&self, dpid: Dpid, desc: &SwitchDesc, ports: &[PortDesc]) -> String {
        let own = Some(desc.datapath.to_string()).filter(|name| !name.is_empty() && name != "None");
        let local = || ports.iter().find(|port| port.port == ports::LOCAL).map(|port| port.name.to_string());
        let taken = |name: &str| self.view.is_taken(name, dpid);
        let name = own.or_else(local).filter(|name| !name.is_empty() && !taken(name));
        name.unwrap_or_else(|| dpid.to_string())
    }

    fn port_status(&mut self, now: Instant, conn: ConnId, status: &PortStatus) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let port = &status.desc;
        // During the handshake the description may already have been read.
        if let (false, Some(ports)) = (session.ready, &mut session.ports) {
            ports.retain(|known| known.port != port.port);
            if status.reason != PortReason::Delete {
                ports.push(port.clone());
            }
        }
        let Some(dpid) = self.ready_dpid(conn).filter(|_| ports::is_real(port.port)) else { return };
        let at = (dpid, port.port);
        let was_up = self.view.port(at).is_some_and(|port| port.up);
        let settled = was_up && self.view.port(at).is_some_and(|port| port.settled);
        if status.reason == PortReason::Delete || !is_up(port) {
            self.port_down(at);
        }
        match status.reason {
            PortReason::Delete => self.view.remove_port(at),
            _ => self.set_port(now, dpid, port, settled && is_up(port)),
        }
    }

    /// Enters a port into the view and begins to probe it if it is new or came up. A port without link is probed like
    /// any other: Open vSwitch says so of ports whose state it cannot see.
    fn set_port(&mut self, now: Instant, dpid: Dpid, desc: &PortDesc, settled: bool) {
        if !ports::is_real(desc.port) {
            return;
        }
        let at = (dpid, desc.port);
        let up = is_up(desc);
        let came_up = up && !self.view.port(at).is_some_and(|port| port.up);
        self.view.put_port(at, view::Port { name: desc.name.to_string(), mac: desc.mac, up, settled });
        let discovering = self.switches.get(&dpid).is_some_and(|managed| managed.discovering);
        if discovering && (came_up || !self.discovery.is_probed(at)) {
            self.discovery.start(now, &self.config, at);
        }
    }
}

fn is_up(port: &PortDesc) -> bool {
    !port.config.contains(PortConfig::PORT_DOWN) && !port.state.contains(PortState::LINK_DOWN)
}
