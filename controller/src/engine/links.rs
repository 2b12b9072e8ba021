//! Discovery of links: probes out, probes in, links that age.

use std::collections::BTreeMap;

use openflow::{Action, Dpid, Message, PacketOut, ports};
use packet::Instant;

use super::Controller;
use crate::effect::Event;
use crate::lldp::{self, LldpError};
use crate::switch::Pending;
use crate::view::At;

impl Controller {
    /// Begins to probe the ports of a switch. Other switches probe again, too: theirs may lead here.
    pub(super) fn discover(&mut self, now: Instant, dpid: Dpid) {
        match self.switches.get_mut(&dpid) {
            Some(managed) if !managed.discovering => managed.discovering = true,
            _ => return,
        }
        for (&other, switch) in self.view.switches() {
            for &number in switch.ports.keys() {
                let at = (other, number);
                match () {
                    () if other == dpid => {
                        self.discovery.start(now, &self.config, at);
                        // A link from before is there until it has been silent for long enough.
                        if self.view.links().contains_key(&at) {
                            self.discovery.confirm(now, at);
                        }
                    }
                    () if other != dpid && !self.view.is_link(at) => self.discovery.hurry(now, at),
                    () => {}
                }
            }
        }
    }

    /// Sends the probes that are due.
    pub(super) fn probe(&mut self, now: Instant) {
        let due = self.discovery.due(now, &self.config, &self.view);
        for at in due.probes {
            // A function would hand the probe through and look like a link.
            if self.lanes().functions.contains_key(&at) {
                continue;
            }
            let Some(source) = self.view.port(at).map(|port| port.mac) else { continue };
            let data = lldp::probe(at, source, self.config.key);
            let actions = vec![Action::output(at.1)];
            self.packet_out(at.0, PacketOut { buffer: None, in_port: ports::CONTROLLER, actions, data });
        }
        self.settle_behind_barrier(due.patient);
    }

    /// A switch that is slow to send probes must not pass for one without links: its ports settle when it has
    /// answered a barrier behind them.
    fn settle_behind_barrier(&mut self, ports: Vec<At>) {
        let mut by_switch: BTreeMap<Dpid, Vec<At>> = BTreeMap::new();
        for at in ports {
            by_switch.entry(at.0).or_default().push(at);
        }
        for (dpid, ports) in by_switch {
            let Some(conn) = self.switches.get(&dpid).and_then(|managed| managed.conn) else { continue };
            let Some(session) = self.sessions.get_mut(&conn) else { continue };
            let xid = session.xid(Pending::Probed(ports));
            self.send(conn, xid, Message::BarrierRequest);
        }
    }

    /// The probes of these ports have been sent, and nothing came of them.
    pub(super) fn settled(&mut self, ports: Vec<At>) {
        for at in ports.into_iter().filter(|at| self.discovery.is_probed(*at)) {
            self.view.settle(at, true);
        }
    }

    pub(super) fn packet_out(&mut self, dpid: Dpid, packet_out: PacketOut) {
        let Some(conn) = self.switches.get(&dpid).and_then(|managed| managed.conn) else { return };
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let xid = session.bare_xid();
        self.send(conn, xid, Message::PacketOut(packet_out));
    }

    /// A discovery frame arrived at `to`.
    pub(super) fn probe_arrived(&mut self, now: Instant, to: At, frame: &[u8]) {
        let from = match lldp::parse(frame, self.config.key) {
            Ok(from) => from,
            Err(LldpError::Foreign) => return self.counters.foreign_lldp += 1,
            Err(LldpError::Forged | LldpError::Malformed) => return self.counters.bad_lldp += 1,
        };
        if self.view.port(from).is_none() || self.view.port(to).is_none() {
            return self.counters.bad_lldp += 1;
        }
        if [from, to].iter().any(|at| self.lanes().functions.contains_key(at)) {
            return;
        }
        self.discovery.confirm(now, from);
        let before = self.view.put_link(from, to);
        if before == Some(to) {
            return;
        }
        if let Some(before) = before {
            self.event(Event::LinkDown(from, before));
        }
        // What was learned at either end came through the link.
        self.view.remove_hosts_at(from);
        self.view.remove_hosts_at(to);
        // The other direction is known all the sooner.
        self.discovery.hurry(now, to);
        self.event(Event::LinkUp(from, to));
    }

    pub(super) fn age_links(&mut self, now: Instant) {
        for from in self.discovery.aged(now, &self.config, &self.view) {
            self.drop_links(|at| at == from);
        }
    }

    /// A port is down or gone: so are its links and the hosts that were learned there.
    pub(super) fn port_down(&mut self, at: At) {
        self.discovery.stop(at);
        self.drop_links(|end| end == at);
        self.view.remove_hosts_at(at);
    }

    /// Removes links with such an end.
    pub(super) fn drop_links(&mut self, gone: impl Fn(At) -> bool) {
        for (from, to) in self.view.take_links(gone) {
            self.event(Event::LinkDown(from, to));
        }
    }
}
