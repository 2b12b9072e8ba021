//! Hosts, learned from what edge ports bring to the controller.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use openflow::{Action, Dpid, Field, Message, PacketIn, PacketOut, ports};
use packet::{EtherType, Instant, MacAddr, VlanId, arp, ethernet, ipv4};

use super::Controller;
use crate::blueprint::FlowKey;
use crate::effect::Event;
use crate::layout;
use crate::switch::Pending;
use crate::view::{At, Host};

/// Most addresses that are noted of one host.
const MAX_ADDRESSES: usize = 16;

impl Controller {
    pub(super) fn packet_in(&mut self, now: Instant, dpid: Dpid, packet_in: &PacketIn) {
        let (Some(port), Ok(frame)) = (packet_in.in_port(), ethernet::View::parse(&packet_in.data)) else {
            return self.counters.useless_packet_ins += 1;
        };
        let at = (dpid, port);
        if frame.ethertype() == EtherType::LLDP && frame.dst() == crate::lldp::DESTINATION {
            return self.probe_arrived(now, at, &packet_in.data);
        }
        if self.react(at, packet_in, &frame) {
            return;
        }
        let Some(lane) = self.lane_of(packet_in, at) else { return self.counters.useless_packet_ins += 1 };
        match packet_in.table {
            layout::FORWARD => return self.held(now, lane, at, packet_in),
            layout::POLICY => return self.reject(now, lane, at, packet_in),
            layout::STEER => return self.answer_for_balance(lane, at, &frame),
            _ => {}
        }
        self.learn(lane, at, frame.src(), address_of(&frame));
    }

    /// The lane a frame was in when it was sent here; from its port where the switch does not say.
    fn lane_of(&self, packet_in: &PacketIn, at: At) -> Option<VlanId> {
        let metadata = packet_in.matches.exact(Field::Metadata).unwrap_or(0);
        let lane = VlanId::new((metadata as u64 & layout::LANE_MASK) as u16).ok();
        let lanes = &self.lanes().lanes;
        let lane = lane.or_else(|| lanes.iter().find(|(_, l)| l.has(at)).map(|(vlan, _)| *vlan))?;
        lanes.get(&lane).filter(|l| l.has(at)).map(|_| lane)
    }

    pub(super) fn learn(&mut self, lane: VlanId, at: At, mac: MacAddr, address: Option<IpAddr>) {
        if !mac.is_unicast() || mac == MacAddr::ZERO {
            return self.counters.useless_packet_ins += 1;
        }
        let key = (lane, mac);
        if let Some(Some(reserved)) = self.planner.reservation(key) {
            if reserved != at {
                self.counters.spoofed += 1;
            }
            return;
        }
        let Some(host) = self.view.hosts().get(&key) else {
            if self.is_full(at) {
                return self.counters.hosts_refused += 1;
            }
            let addresses: BTreeSet<IpAddr> = address.into_iter().collect();
            self.view.put_host(key, Host { at, addresses });
            return self.event(Event::HostSeen(lane, mac, at));
        };
        let moved = host.at != at;
        if moved && self.is_full(at) {
            return self.counters.hosts_refused += 1;
        }
        let mut host = Host { at, ..host.clone() };
        host.addresses.extend(address.filter(|_| host.addresses.len() < MAX_ADDRESSES));
        self.view.put_host(key, host);
        if moved {
            self.event(Event::HostMoved(lane, mac, at));
        }
    }

    /// Whether no more hosts are learned at a port.
    fn is_full(&self, at: At) -> bool {
        let n_here = self.view.hosts_at(at).take(self.config.max_hosts_per_port).count();
        self.view.hosts().len() >= self.config.max_hosts || n_here >= self.config.max_hosts_per_port
    }

    /// A frame waited because it might belong into a chain. If its destination is known by now, it goes on its way
    /// behind the flows that lead there.
    fn held(&mut self, now: Instant, lane: VlanId, at: At, packet_in: &PacketIn) {
        let Ok(frame) = ethernet::View::parse(&packet_in.data) else { return };
        self.learn(lane, at, frame.src(), address_of(&frame));
        let known = self.view.hosts().contains_key(&(lane, frame.dst()));
        let whole = usize::from(packet_in.total_len) <= packet_in.data.len();
        let tagged = self.lanes().lanes.get(&lane).is_some_and(|l| l.trunks.contains(&at));
        if !known || !whole || packet_in.buffer.is_some() {
            return self.counters.held_dropped += 1;
        }
        if self.is_dirty() {
            self.plan_now(now);
            self.tell_all();
        }
        // A switch that is not told yet would only ask again.
        let way = FlowKey::way(lane, frame.dst());
        if !self.switches.get(&at.0).is_some_and(|managed| managed.installed.contains_key(&way)) {
            return self.counters.held_dropped += 1;
        }
        let conn = self.switches.get(&at.0).and_then(|managed| managed.conn);
        let Some((conn, session)) = conn.and_then(|conn| Some((conn, self.sessions.get_mut(&conn)?))) else {
            return;
        };
        let generation = self.planner.blueprint().generation;
        let barrier = session.xid(Pending::Barrier(generation));
        if let Some(managed) = self.switches.get_mut(&at.0) {
            managed.barrier_sent(generation);
        }
        self.send(conn, barrier, Message::BarrierRequest);
        // The tag of a trunk was taken off on the way in; the tables want to see it again.
        let mut actions = Vec::new();
        if tagged {
            actions.push(Action::PushVlan(EtherType::VLAN.0));
            actions
                .push(Action::SetField(openflow::Oxm::new(Field::VlanVid, openflow::Oxm::vlan(lane).value)));
        }
        actions.push(Action::output(ports::TABLE));
        let data = packet_in.data.clone();
        self.packet_out(at.0, PacketOut { buffer: None, in_port: at.1, actions, data });
    }

    /// Hosts that an earlier controller had learned: the switch still knows where each may speak.
    pub(super) fn recover_hosts(&mut self, dpid: Dpid) {
        let Some(managed) = self.switches.get(&dpid) else { return };
        for key in managed.installed.keys().filter(|key| key.table == layout::SOURCE) {
            let (Some(port), Some(mac)) = (key.matches.ingress(), key.matches.exact(Field::EthSrc)) else {
                continue;
            };
            let lane = key.matches.get(Field::Metadata).map(|f| f.value as u64 & layout::LANE_MASK);
            let Some(lane) = lane.and_then(|lane| VlanId::new(lane as u16).ok()) else { continue };
            let host = Host { at: (dpid, port), addresses: BTreeSet::new() };
            let key = (lane, MacAddr::from_u64(mac as u64));
            if !self.view.hosts().contains_key(&key) {
                self.view.put_host(key, host);
            }
        }
    }
}

/// The sender's address, as far as its own frame says: ARP, else the source of IPv4.
pub(super) fn address_of(frame: &ethernet::View<'_>) -> Option<IpAddr> {
    let address = match frame.ethertype() {
        EtherType::ARP => {
            let arp = arp::View::parse(frame.payload()).ok()?;
            Some(arp.sender_ip()).filter(|_| arp.sender_mac() == frame.src())
        }
        EtherType::IPV4 => ipv4::View::parse(frame.payload()).ok().map(|ip| ip.src()),
        _ => None,
    };
    address.filter(|address| *address != Ipv4Addr::UNSPECIFIED).map(IpAddr::V4)
}
