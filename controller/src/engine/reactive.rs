//! Hosts at ports that no network declares, looked for as they speak: the controller answers a frame that a switch has no
//! flow for with flow mods and the frame itself, sent on where it belongs.
//!
//! Without [`Config::reactive`](crate::Config) such hosts are learned into the view and planned for on every switch. Here
//! nothing is planned: a switch is told of a host once a frame for it comes by, and forgets it when none does. These
//! flows have a cookie of their own, are in no blueprint, and may go at any time: the next frame brings them back.
//!
//! Where it is decided which traffic passes whom, or is copied (policies, chains, paths, mirrors, balancers), who is where must be known
//! beforehand. While there are such intents, hosts are learned as always.

use std::collections::{BTreeMap, BTreeSet};

use openflow::{
    Action, Cookie, Dpid, Field, FlowMod, FlowModCommand, FlowModFlags, FlowRemoved, FlowRemovedReason,
    Instruction, Match, Message, PacketIn, PacketOut, Priority, TableId,
};
use packet::{MacAddr, ethernet};

use super::Controller;
use crate::effect::Event;
use crate::intent::Intent;
use crate::lanes::default_lane;
use crate::layout::{self, admit, forward, source};
use crate::plan::{GROUP_BIT, carry, in_lane, lane_entry, punt};
use crate::view::{At, Changes, HostKey};

/// Seconds without a frame after which a switch forgets.
const IDLE: u16 = 300;

/// What is known beside the view.
#[derive(Debug, Default)]
pub(super) struct Reactive {
    /// Frames are answered: it is wanted, and no intent stands against it.
    active: bool,
    hosts: BTreeMap<MacAddr, Known>,
    /// How many of them are at each port.
    n_at: BTreeMap<At, usize>,
}

#[derive(Debug)]
struct Known {
    at: At,
    /// Switches that were told the way.
    told: BTreeSet<Dpid>,
}

/// Where the frame of one host is let in.
fn source_flow(at: At, mac: MacAddr) -> FlowMod {
    let matches = in_lane(default_lane()).in_port(at.1).eth_src(mac);
    learned(layout::SOURCE, source::KNOWN, matches, vec![Instruction::GotoTable(layout::POLICY)])
}

/// Where frames for one host leave.
fn way_flow(mac: MacAddr, actions: Vec<Action>) -> FlowMod {
    let matches = in_lane(default_lane()).eth_dst(mac);
    learned(layout::FORWARD, forward::UNICAST, matches, vec![Instruction::ApplyActions(actions)])
}

fn learned(table: TableId, priority: Priority, matches: Match, instructions: Vec<Instruction>) -> FlowMod {
    FlowMod {
        cookie: layout::learned_cookie(),
        idle_timeout: IDLE,
        flags: FlowModFlags::SEND_FLOW_REM,
        ..FlowMod::add(table, priority, matches, instructions)
    }
}

fn gone(flow: FlowMod) -> FlowMod {
    FlowMod { cookie: flow.cookie, ..FlowMod::delete_strict(flow.table, flow.priority, flow.matches) }
}

/// Unicast frames of those that are not known, and for those that are not: both wait for an answer. What is for everybody
/// goes its way meanwhile. And a way may lead by any link, not by those of the broadcast tree alone.
fn asking() -> [FlowMod; 3] {
    let unicast = || in_lane(default_lane()).eth_dst_masked(MacAddr::ZERO, GROUP_BIT);
    let (entry, body) = lane_entry(default_lane());
    let flows = [
        FlowMod::add(layout::LANE, admit::ASK, entry.matches.clone(), body.instructions),
        FlowMod::add(layout::SOURCE, source::ASK, unicast(), vec![punt()]),
        FlowMod::add(layout::FORWARD, forward::ASK, unicast(), vec![punt()]),
    ];
    flows.map(|flow| FlowMod { cookie: layout::asking_cookie(), ..flow })
}

fn delete_all((cookie, cookie_mask): (Cookie, u64)) -> FlowMod {
    let command = FlowModCommand::Delete;
    FlowMod { command, table: TableId::ALL, cookie, cookie_mask, ..FlowMod::default() }
}

/// Nothing is wanted that needs to know beforehand who is where.
fn leaves_it_open(intent: &Intent) -> bool {
    intent.chains.is_empty()
        && intent.policies.is_empty()
        && intent.paths.is_empty()
        && intent.mirrors.is_empty()
        && intent.balancers.is_empty()
}

impl Controller {
    /// Hosts that were looked for as they spoke, and where they are.
    pub fn asked_for(&self) -> impl Iterator<Item = (HostKey, At)> + '_ {
        self.reactive.hosts.iter().map(|(mac, known)| ((default_lane(), *mac), known.at))
    }

    /// Answers a frame that a switch has no flow for. False: it is none of those.
    pub(super) fn react(&mut self, at: At, packet_in: &PacketIn, frame: &ethernet::View<'_>) -> bool {
        if !self.reactive.active || packet_in.table == layout::POLICY {
            return false;
        }
        let metadata = packet_in.matches.exact(Field::Metadata);
        if metadata
            .is_some_and(|metadata| metadata as u64 & layout::LANE_MASK != layout::lane(default_lane()))
        {
            return false;
        }
        let is_edge = self.lanes().lanes.get(&default_lane()).is_some_and(|lane| lane.access.contains(&at));
        // By a link comes what another switch knows the way of already.
        if !(is_edge || metadata.is_some() && self.view.is_link(at)) {
            return false;
        }
        if is_edge && packet_in.table != layout::FORWARD {
            self.meet(at, frame.src());
        }
        if frame.dst().is_unicast() {
            match self.whereabouts(frame.dst()) {
                Some(to) if to != at => self.lead(at, to, packet_in, frame.dst()),
                Some(_) => {}
                None => self.spread(at, packet_in),
            }
        }
        true
    }

    fn whereabouts(&self, mac: MacAddr) -> Option<At> {
        let known = self.reactive.hosts.get(&mac).map(|known| known.at);
        known.or_else(|| self.view.hosts().get(&(default_lane(), mac)).map(|host| host.at))
    }

    /// A host spoke at a port.
    fn meet(&mut self, at: At, mac: MacAddr) {
        if !mac.is_unicast() || mac == MacAddr::ZERO {
            return self.counters.useless_packet_ins += 1;
        }
        let before = self.reactive.hosts.get(&mac).map(|known| known.at);
        if before != Some(at) {
            let n_here = self.reactive.n_at.get(&at).copied().unwrap_or(0);
            if n_here >= self.config.max_hosts_per_port
                || (before.is_none() && self.reactive.hosts.len() >= self.config.max_hosts)
            {
                return self.counters.hosts_refused += 1;
            }
            self.lose(mac);
            self.reactive.hosts.insert(mac, Known { at, told: BTreeSet::new() });
            *self.reactive.n_at.entry(at).or_default() += 1;
            self.event(match before {
                Some(_) => Event::HostMoved(default_lane(), mac, at),
                None => Event::HostSeen(default_lane(), mac, at),
            });
        }
        self.tell(at.0, source_flow(at, mac));
    }

    /// Forgets a host, and has switches forget it.
    fn lose(&mut self, mac: MacAddr) {
        let Some(Known { at, told }) = self.reactive.hosts.remove(&mac) else { return };
        if let Some(n) = self.reactive.n_at.get_mut(&at) {
            *n -= 1;
            if *n == 0 {
                self.reactive.n_at.remove(&at);
            }
        }
        self.tell(at.0, gone(source_flow(at, mac)));
        for dpid in told {
            self.tell(dpid, gone(way_flow(mac, Vec::new())));
        }
    }

    /// Lays the way from a switch to a host, its end first, and sends the frame along.
    fn lead(&mut self, from: At, to: At, packet_in: &PacketIn, mac: MacAddr) {
        let way = self.planner.graph().path(from.0, to.0, layout::fnv(&mac.0));
        if from.0 != to.0 && way.is_empty() {
            return self.counters.held_dropped += 1;
        }
        let mut leaves: Vec<(Dpid, Vec<Action>)> = vec![(to.0, vec![Action::output(to.1)])];
        let on = |port| carry(default_lane(), true, Action::output(port));
        leaves.extend(way.into_iter().rev().map(|(dpid, port)| (dpid, on(port))));
        let told = self.reactive.hosts.get(&mac).map(|known| &known.told);
        let asks = packet_in.table == layout::FORWARD;
        let untold = |(dpid, _): &&(Dpid, Vec<Action>)| {
            // Whoever asks has forgotten.
            (asks && *dpid == from.0) || told.is_some_and(|told| !told.contains(dpid))
        };
        let news: Vec<_> = leaves.iter().filter(untold).cloned().collect();
        for (dpid, actions) in news {
            self.tell(dpid, way_flow(mac, actions));
            if let Some(known) = self.reactive.hosts.get_mut(&mac) {
                known.told.insert(dpid);
            }
        }
        if let Some((_, actions)) = leaves.pop() {
            self.send_on(from, packet_in, actions);
        }
    }

    /// Nobody knows where the frame belongs: it leaves by every port of hosts, on whichever switch.
    fn spread(&mut self, from: At, packet_in: &PacketIn) {
        // A switch that knew the way has forgotten it meanwhile; at the first one it was spread already.
        if self.view.is_link(from) {
            return self.counters.held_dropped += 1;
        }
        let ports = self.lanes().lanes.get(&default_lane()).into_iter().flat_map(|lane| &lane.access);
        let mut by_switch: BTreeMap<Dpid, Vec<Action>> = BTreeMap::new();
        for &(dpid, port) in ports.filter(|at| **at != from) {
            by_switch.entry(dpid).or_default().push(Action::output(port));
        }
        for (dpid, actions) in by_switch {
            let at = if dpid == from.0 { from } else { (dpid, openflow::ports::CONTROLLER) };
            self.send_on(at, packet_in, actions);
        }
    }

    fn send_on(&mut self, at: At, packet_in: &PacketIn, actions: Vec<Action>) {
        let whole = usize::from(packet_in.total_len) <= packet_in.data.len();
        let (buffer, data) = match packet_in.buffer {
            Some(buffer) if at.1 != openflow::ports::CONTROLLER => (Some(buffer), Vec::new()),
            _ if whole => (None, packet_in.data.clone()),
            _ => return self.counters.held_dropped += 1,
        };
        self.packet_out(at.0, PacketOut { buffer, in_port: at.1, actions, data });
    }

    fn tell(&mut self, dpid: Dpid, flow: FlowMod) {
        let Some(managed) = self.switches.get(&dpid).filter(|managed| managed.asks) else { return };
        let Some((conn, session)) = managed.conn.and_then(|conn| Some((conn, self.sessions.get_mut(&conn)?)))
        else {
            return;
        };
        let xid = session.bare_xid();
        self.send(conn, xid, Message::FlowMod(flow));
    }

    /// A switch forgot a flow.
    pub(super) fn forgotten(&mut self, dpid: Dpid, flow: &FlowRemoved) {
        if layout::owner(flow.cookie) != layout::Owner::Learned || flow.reason == FlowRemovedReason::Delete {
            return;
        }
        let at = flow.matches.ingress().map(|port| (dpid, port));
        let source = flow.matches.exact(Field::EthSrc).map(|mac| MacAddr::from_u64(mac as u64));
        if let Some(mac) = source
            && self.reactive.hosts.get(&mac).map(|known| known.at) == at
        {
            self.lose(mac);
        }
    }

    /// The network is another, or what is wanted of it.
    pub(super) fn reconsider(&mut self, changes: &Changes) {
        if !self.config.reactive {
            return;
        }
        for at in &changes.ports {
            let stays = self.lanes().lanes.get(&default_lane()).is_some_and(|lane| lane.access.contains(at));
            if !stays && self.reactive.n_at.contains_key(at) {
                let here = self.reactive.hosts.iter().filter(|(_, known)| known.at == *at);
                let here: Vec<MacAddr> = here.map(|(mac, _)| *mac).collect();
                here.into_iter().for_each(|mac| self.lose(mac));
            }
        }
        let active = leaves_it_open(self.ledger.intent());
        if changes.graph || active != self.reactive.active {
            self.reactive.active = active;
            if !active {
                (self.reactive.hosts, self.reactive.n_at) = Default::default();
            }
            self.switches.values_mut().for_each(|managed| managed.asks_stale = true);
            self.reactive.hosts.values_mut().for_each(|known| known.told.clear());
        }
    }

    /// Has a switch ask for what it does not know, and forget what it learned when the network was another.
    pub(super) fn arm(&mut self, dpid: Dpid) {
        if !self.config.reactive {
            return;
        }
        let Some(managed) = self.switches.get_mut(&dpid) else { return };
        let slave = managed.conn.and_then(|conn| self.sessions.get(&conn)).is_none_or(|s| s.slave);
        if !managed.asks_stale || managed.hold_until.is_some() || slave {
            return;
        }
        managed.asks_stale = false;
        managed.asks = true;
        if self.reactive.active {
            asking().into_iter().for_each(|flow| self.tell(dpid, flow));
            self.tell(dpid, delete_all((layout::learned_cookie(), u64::MAX)));
        } else {
            self.tell(dpid, delete_all(layout::any_learned()));
            self.switches.entry(dpid).and_modify(|managed| managed.asks = false);
        }
    }
}
