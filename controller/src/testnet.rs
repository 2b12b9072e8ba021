//! A network of slow switches on virtual time, for tests of the whole controller.

mod switch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use openflow::{
    Action, Dpid, Features, FlowMod, Match, Message, Oxm, PacketIn, PacketInReason, PacketOut, PortReason,
    PortStatus, SwitchCapabilities, Xid, ports,
};
use packet::{Instant, PortNo};

use crate::interpret::{Around, Walk, act, entries_of_stats, walk};
use crate::{At, Config, ConnId, Controller, Effect, Event, Key};
use switch::{FakeSwitch, desc};

pub(crate) struct Net {
    pub now: Instant,
    pub controller: Controller,
    config: Config,
    pub switches: BTreeMap<Dpid, FakeSwitch>,
    pub links: BTreeMap<At, At>,
    /// Frames that left by edge ports.
    pub delivered: Vec<(At, Vec<u8>)>,
    pub events: Vec<Event>,
    /// Flow mods the switches were sent.
    pub mods: Vec<(Dpid, FlowMod)>,
    /// Ports that frames arrived at, edge and link.
    pub visited: Vec<At>,
    frames: VecDeque<(At, Vec<u8>)>,
    last_conn: u64,
    /// Most frames in one burst before a test calls it a storm.
    budget: usize,
}

impl Net {
    pub fn new() -> Self {
        Self::under(Config::new(Key(1, 2)))
    }

    /// With a controller of this kind, now and after restarts.
    pub fn under(config: Config) -> Self {
        Self {
            now: Instant::from_secs(100),
            controller: Controller::new(config.clone()),
            config,
            switches: BTreeMap::new(),
            links: BTreeMap::new(),
            delivered: Vec::new(),
            events: Vec::new(),
            mods: Vec::new(),
            visited: Vec::new(),
            frames: VecDeque::new(),
            last_conn: 0,
            budget: 0,
        }
    }

    /// A switch with ports 1 to `n_ports`, not connected yet.
    pub fn switch(&mut self, dpid: u64, n_ports: u32) {
        self.switches.insert(Dpid(dpid), FakeSwitch::new(n_ports));
    }

    pub fn link(&mut self, a: (u64, u32), b: (u64, u32)) {
        let [a, b] = [a, b].map(|(dpid, port)| (Dpid(dpid), PortNo(port)));
        self.links.extend([(a, b), (b, a)]);
    }

    pub fn connect(&mut self, dpid: u64) {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        self.switches.get_mut(&Dpid(dpid)).unwrap().conn = Some(conn);
        self.controller.handle_connected(self.now, conn);
        self.drain();
    }

    /// By another connection, while the first goes on.
    pub fn connect_again(&mut self, dpid: u64) -> ConnId {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        self.switches.get_mut(&Dpid(dpid)).unwrap().second = Some(conn);
        self.controller.handle_connected(self.now, conn);
        self.drain();
        conn
    }

    pub fn connect_all(&mut self) {
        let dpids: Vec<u64> = self.switches.keys().map(|dpid| dpid.0).collect();
        dpids.into_iter().for_each(|dpid| self.connect(dpid));
    }

    pub fn disconnect(&mut self, dpid: u64) {
        let conn = self.switches.get_mut(&Dpid(dpid)).unwrap().conn.take().unwrap();
        self.controller.handle_disconnected(self.now, conn);
        self.drain();
    }

    /// A new controller takes over; flows stay where they are.
    pub fn restart_controller(&mut self) {
        self.forget_controller();
        self.connect_all();
    }

    /// The same, but no switch has connected yet.
    pub fn forget_controller(&mut self) {
        let intent = self.controller.intent().clone();
        self.controller = Controller::new(self.config.clone());
        self.controller.set_intent(self.now, intent).unwrap();
        self.switches.values_mut().for_each(|switch| {
            switch.conn = None;
            switch.n_mods = 0;
        });
    }

    /// Lets time pass, one timeout after the other.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.controller.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.controller.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self.judge();
    }

    /// What is planned change by change is what is planned from scratch.
    pub fn judge(&self) {
        let controller = &self.controller;
        if !controller.is_dirty() {
            let afresh = crate::plan(controller.intent(), controller.view());
            assert!(afresh.same_as(controller.blueprint()), "planned from scratch it is another");
        }
    }

    pub fn set_port(&mut self, at: (u64, u32), up: bool) {
        let (dpid, port) = (Dpid(at.0), PortNo(at.1));
        let ends: Vec<At> =
            [Some((dpid, port)), self.links.get(&(dpid, port)).copied()].into_iter().flatten().collect();
        for end in ends {
            let switch = self.switches.get_mut(&end.0).unwrap();
            switch.ports.insert(end.1, up);
            let Some(conn) = switch.conn else { continue };
            let status = PortStatus { reason: PortReason::Modify, desc: desc(end, up) };
            self.controller.handle_message(self.now, conn, Xid(0), Message::PortStatus(status));
            self.drain();
        }
    }

    /// Sends a frame into an edge port; what comes out of edge ports, in order.
    pub fn send(&mut self, at: (u64, u32), frame: Vec<u8>) -> Vec<(u64, u32)> {
        self.delivered.clear();
        self.visited.clear();
        self.frames.push_back(((Dpid(at.0), PortNo(at.1)), frame));
        self.drain();
        let mut ports: Vec<_> = self.delivered.iter().map(|(at, _)| (at.0.0, at.1.0)).collect();
        ports.sort_unstable();
        ports
    }

    /// As `send`, with the time the controller needs to plan afterwards.
    pub fn say(&mut self, at: (u64, u32), frame: Vec<u8>) -> Vec<(u64, u32)> {
        let ports = self.send(at, frame);
        self.run(Duration::from_millis(20));
        ports
    }

    /// Carries what is under way to its end.
    pub fn drain(&mut self) {
        self.budget = 10_000;
        loop {
            if let Some(effect) = self.controller.poll_effect() {
                self.effect(effect);
            } else if let Some((at, frame)) = self.frames.pop_front() {
                self.budget = self.budget.checked_sub(1).expect("a storm: frames multiply");
                self.frame(at, &frame);
            } else {
                return;
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Event(event) => self.events.push(event),
            Effect::Close { conn, .. } => {
                for switch in self.switches.values_mut() {
                    switch.conn = switch.conn.filter(|c| *c != conn);
                    switch.second = switch.second.filter(|c| *c != conn);
                }
            }
            Effect::Send { conn, xid, message } => {
                let Some((&dpid, _)) =
                    self.switches.iter().find(|(_, s)| [s.conn, s.second].contains(&Some(conn)))
                else {
                    return;
                };
                for (xid, reply) in self.message(dpid, xid, message.into_message(xid)) {
                    self.controller.handle_message(self.now, conn, xid, reply);
                }
            }
        }
    }

    fn message(&mut self, dpid: Dpid, xid: Xid, message: Message) -> Vec<(Xid, Message)> {
        let switch = self.switches.get_mut(&dpid).unwrap();
        let answer = match message {
            Message::FeaturesRequest => Message::FeaturesReply(Features {
                dpid,
                n_buffers: 0,
                n_tables: 9,
                auxiliary_id: 0,
                capabilities: SwitchCapabilities::NONE,
                ports: Vec::new(),
            }),
            Message::EchoRequest(data) => Message::EchoReply(data),
            Message::MultipartRequest(request) => switch.multipart(dpid, &request.body),
            Message::FlowMod(flow_mod) => {
                self.mods.push((dpid, flow_mod.clone()));
                return refused(xid, switch.flow_mod(flow_mod));
            }
            Message::GroupMod(group_mod) => return refused(xid, switch.group_mod(group_mod)),
            Message::MeterMod(meter_mod) => return refused(xid, switch.meter_mod(meter_mod)),
            Message::RoleRequest(request)
                if switch.master.is_some_and(|master| master > request.generation) =>
            {
                Message::Error(openflow::Error::new(openflow::error::RoleRequestFailed::Stale))
            }
            Message::RoleRequest(request) => {
                switch.master = Some(request.generation);
                Message::RoleReply(request)
            }
            Message::BundleControl(_) if !switch.bundles => {
                Message::Error(openflow::Error::new(openflow::error::BadRequest::BadExperimenter))
            }
            Message::BundleControl(control) => return switch.bundle_control(xid, control),
            Message::BundleAdd(add) => {
                if let Message::FlowMod(flow_mod) = &*add.message {
                    self.mods.push((dpid, flow_mod.clone()));
                }
                switch.bundle.as_mut().expect("it was opened").push((add.xid, *add.message));
                return vec![];
            }
            Message::BarrierRequest if switch.barriers_answered == 0 => return vec![],
            Message::BarrierRequest => {
                switch.barriers_answered -= 1;
                Message::BarrierReply
            }
            Message::PacketOut(out) => {
                self.packet_out(dpid, out);
                return vec![];
            }
            _ => return vec![],
        };
        vec![(xid, answer)]
    }

    fn packet_out(&mut self, dpid: Dpid, out: PacketOut) {
        let flood: Vec<PortNo> = self.switches[&dpid].ports.keys().copied().collect();
        let around = Around { flood: &flood, ..Around::default() };
        for (port, frame) in act(&out.actions, around, out.in_port, &out.data).outputs {
            self.emit((dpid, port), frame);
        }
        if out.actions.iter().any(|a| *a == Action::output(ports::TABLE)) {
            self.frames.push_back(((dpid, out.in_port), out.data));
        }
    }

    fn frame(&mut self, at: At, frame: &[u8]) {
        self.visited.push(at);
        let switch = &self.switches[&at.0];
        if !switch.ports[&at.1] {
            return;
        }
        let dead = self.dead(at.0);
        let around = Around { groups: &switch.groups, dead: &dead, ..Around::default() };
        let Walk { outputs, punts, unknown, .. } =
            walk(&entries_of_stats(&switch.flows), around, at.1, frame);
        assert_eq!(unknown, Vec::<String>::new());
        for (port, frame) in outputs {
            self.emit((at.0, port), frame);
        }
        let Some(conn) = self.switches[&at.0].conn else { return };
        for (table, metadata, data) in punts {
            let fields = [Oxm::in_port(at.1), Oxm::new(openflow::Field::Metadata, metadata.into())];
            let packet_in = PacketIn {
                buffer: None,
                total_len: data.len() as u16,
                reason: PacketInReason::Action,
                table,
                cookie: openflow::Cookie(0),
                matches: Match::pipeline(fields.into_iter().filter(|f| f.value != 0)),
                data,
            };
            self.controller.handle_message(self.now, conn, Xid(0), Message::PacketIn(packet_in));
        }
    }

    fn dead(&self, dpid: Dpid) -> Vec<PortNo> {
        let ports = self.switches[&dpid].ports.iter();
        ports.filter(|(_, up)| !**up).map(|(port, _)| *port).collect()
    }

    /// A link goes, or comes back, and no switch tells.
    pub fn cut(&mut self, at: (u64, u32), up: bool) {
        let at = (Dpid(at.0), PortNo(at.1));
        for end in [Some(at), self.links.get(&at).copied()].into_iter().flatten() {
            self.switches.get_mut(&end.0).unwrap().ports.insert(end.1, up);
        }
    }

    fn emit(&mut self, at: At, frame: Vec<u8>) {
        if !self.switches[&at.0].ports.get(&at.1).copied().unwrap_or(false) {
            return;
        }
        match self.links.get(&at) {
            Some(peer) => self.frames.push_back((*peer, frame)),
            // Probes at edge ports are nobody's business.
            None if frame[..6] == crate::lldp::DESTINATION.0 => {}
            None => self.delivered.push((at, frame)),
        }
    }

    /// Where a frame comes out, as the flows are at this moment; nobody learns of it.
    pub fn probe(&self, at: At, frame: &[u8]) -> Vec<(At, Vec<u8>)> {
        let (mut queue, mut out) = (VecDeque::from([(at, frame.to_vec())]), Vec::new());
        for _ in 0..1000 {
            let Some((at, frame)) = queue.pop_front() else { return out };
            let up = |at: At| self.switches[&at.0].ports.get(&at.1).copied().unwrap_or(false);
            let (switch, dead) = (&self.switches[&at.0], self.dead(at.0));
            let around = Around { groups: &switch.groups, dead: &dead, ..Around::default() };
            let walk = walk(&entries_of_stats(&switch.flows), around, at.1, &frame);
            for (port, frame) in walk.outputs.into_iter().filter(|(port, _)| up((at.0, *port))) {
                let from = (at.0, port);
                match self.links.get(&from) {
                    Some(&peer) if up(peer) => queue.push_back((peer, frame)),
                    Some(_) => {}
                    None => out.push((from, frame)),
                }
            }
        }
        panic!("a storm: frames multiply");
    }

    /// All edge ports but one.
    pub fn edge_ports_except(&self, except: (u64, u32)) -> Vec<(u64, u32)> {
        let all: BTreeSet<At> =
            self.switches.iter().flat_map(|(dpid, s)| s.ports.keys().map(|port| (*dpid, *port))).collect();
        let edge = all.into_iter().filter(|at| !self.links.contains_key(at)).map(|at| (at.0.0, at.1.0));
        edge.filter(|at| *at != except).collect()
    }
}

fn refused(xid: Xid, error: Option<openflow::Error>) -> Vec<(Xid, Message)> {
    error.map(|error| (xid, Message::Error(error))).into_iter().collect()
}
