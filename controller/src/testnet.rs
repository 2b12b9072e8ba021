//! A network of slow switches on virtual time, for tests of the whole controller.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use openflow::{
    Action, AggregateStats, BundleControl, BundleControlKind, Dpid, Features, FlowMod, FlowModCommand,
    FlowModFlags, FlowStats, FlowStatsRequest, GroupCapabilities, GroupDesc, GroupFeatures, GroupId,
    GroupMod, GroupModCommand, Instruction, Match, Message, MeterConfig, MeterFeatures, MeterFlags, MeterId,
    MeterMod, MeterModCommand, MultipartReply, Oxm, PacketIn, PacketInReason, PacketOut, PortDesc,
    PortReason, PortState, PortStatus, Priority, Reply, Request, SwitchCapabilities, SwitchDesc, Xid, ports,
};
use packet::{Instant, MacAddr, PortNo};

use crate::interpret::{Around, Walk, act, entries_of_stats, walk};
use crate::{At, Config, ConnId, Controller, Effect, Event, Key};

/// A switch that keeps its flows in a list.
pub(crate) struct FakeSwitch {
    pub flows: Vec<FlowStats>,
    pub ports: BTreeMap<PortNo, bool>,
    pub conn: Option<ConnId>,
    /// Another that is alive beside it.
    pub second: Option<ConnId>,
    pub n_mods: usize,
    /// Barriers beyond these are not answered.
    pub barriers_answered: usize,
    /// Refuse every flow in this table.
    pub refuse: Option<openflow::TableId>,
    /// Has bundles.
    pub bundles: bool,
    /// Has groups.
    pub grouped: bool,
    /// Tells how many flows it has.
    pub counts: bool,
    pub groups: Vec<GroupDesc>,
    pub n_group_mods: usize,
    /// Refuses to make groups, though it says it has some.
    pub refuse_groups: bool,
    /// The highest number of a meter; 0: it has none.
    pub max_meter: u32,
    pub meters: BTreeMap<MeterId, MeterConfig>,
    /// Number of the election of its master.
    pub master: Option<u64>,
    /// The bundle that is being built.
    bundle: Option<Vec<(Xid, Message)>>,
    pub n_bundles: usize,
}

pub(crate) struct Net {
    pub now: Instant,
    pub controller: Controller,
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
        Self {
            now: Instant::from_secs(100),
            controller: Controller::new(Config::new(Key(1, 2))),
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
        let ports = (1..=n_ports).map(|port| (PortNo(port), true)).collect();
        let switch = FakeSwitch {
            flows: Vec::new(),
            ports,
            conn: None,
            second: None,
            n_mods: 0,
            barriers_answered: usize::MAX,
            refuse: None,
            bundles: false,
            grouped: true,
            counts: true,
            groups: Vec::new(),
            n_group_mods: 0,
            refuse_groups: false,
            max_meter: 65_536,
            meters: BTreeMap::new(),
            master: None,
            bundle: None,
            n_bundles: 0,
        };
        self.switches.insert(Dpid(dpid), switch);
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
        let intent = self.controller.intent().clone();
        self.controller = Controller::new(Config::new(Key(1, 2)));
        self.controller.set_intent(self.now, intent).unwrap();
        self.switches.values_mut().for_each(|switch| {
            switch.conn = None;
            switch.n_mods = 0;
        });
        self.connect_all();
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
                for (xid, reply) in self.message(dpid, xid, message) {
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
                n_tables: 8,
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

impl FakeSwitch {
    fn multipart(&self, dpid: Dpid, request: &Request) -> Message {
        let body = match request {
            Request::Desc => {
                Reply::Desc(SwitchDesc { datapath: format!("s{}", dpid.0).into(), ..Default::default() })
            }
            Request::PortDesc => {
                Reply::PortDesc(self.ports.iter().map(|(port, up)| desc((dpid, *port), *up)).collect())
            }
            Request::Flow(request) => Reply::Flow(self.select(request)),
            Request::Aggregate(_) if !self.counts => {
                return Message::Error(openflow::Error::new(openflow::error::BadRequest::BadMultipart));
            }
            Request::Aggregate(request) => {
                let flows = u32::try_from(self.select(request).len()).expect("a small network");
                Reply::Aggregate(AggregateStats { packets: 0, bytes: 0, flows })
            }
            Request::GroupFeatures | Request::GroupDesc if !self.grouped => {
                return Message::Error(openflow::Error::new(openflow::error::BadRequest::BadMultipart));
            }
            Request::GroupFeatures => Reply::GroupFeatures(GroupFeatures {
                types: 0b1111,
                capabilities: GroupCapabilities::SELECT_LIVENESS,
                max_groups: [1000; 4],
                actions: [u32::MAX; 4],
            }),
            Request::GroupDesc => Reply::GroupDesc(self.groups.clone()),
            Request::MeterFeatures | Request::MeterConfig(_) if self.max_meter == 0 => {
                return Message::Error(openflow::Error::new(openflow::error::BadRequest::BadMultipart));
            }
            Request::MeterFeatures => Reply::MeterFeatures(MeterFeatures {
                max_meter: self.max_meter,
                band_types: 0b110,
                capabilities: MeterFlags::KBPS | MeterFlags::BURST | MeterFlags::STATS,
                max_bands: 8,
                max_color: 0,
            }),
            Request::MeterConfig(_) => Reply::MeterConfig(self.meters.values().cloned().collect()),
            other => panic!("not expected: {other:?}"),
        };
        Message::MultipartReply(MultipartReply { more: false, body })
    }

    fn select(&self, request: &FlowStatsRequest) -> Vec<FlowStats> {
        let wanted =
            |flow: &&FlowStats| flow.cookie.0 & request.cookie_mask == request.cookie.0 & request.cookie_mask;
        self.flows.iter().filter(wanted).cloned().collect()
    }

    fn bundle_control(&mut self, xid: Xid, control: BundleControl) -> Vec<(Xid, Message)> {
        use BundleControlKind as Kind;
        let reply = |kind| (xid, Message::BundleControl(BundleControl { kind, ..control }));
        match control.kind {
            Kind::OpenRequest => {
                self.bundle = Some(Vec::new());
                vec![reply(Kind::OpenReply)]
            }
            Kind::DiscardRequest => {
                self.bundle = None;
                vec![reply(Kind::DiscardReply)]
            }
            Kind::CommitRequest => {
                let (before, n_mods) = ((self.flows.clone(), self.groups.clone()), self.n_mods);
                self.n_bundles += 1;
                for (of, message) in self.bundle.take().expect("it was opened") {
                    let error = match message {
                        Message::FlowMod(flow_mod) => self.flow_mod(flow_mod),
                        Message::GroupMod(group_mod) => self.group_mod(group_mod),
                        other => panic!("not expected: {other:?}"),
                    };
                    if let Some(error) = error {
                        ((self.flows, self.groups), self.n_mods) = (before, n_mods);
                        let failed = openflow::Error::new(openflow::error::BundleFailed::MsgFailed);
                        return vec![(of, Message::Error(error)), (xid, Message::Error(failed))];
                    }
                }
                vec![reply(Kind::CommitReply)]
            }
            other => panic!("not expected: {other:?}"),
        }
    }

    /// As a switch checks it: §6.5 and §7.5.4.
    fn group_mod(&mut self, group_mod: GroupMod) -> Option<openflow::Error> {
        use openflow::error::GroupModFailed as Failed;
        let GroupMod { command, group_type, group, buckets } = group_mod;
        self.n_group_mods += 1;
        let there = self.groups.iter().position(|desc| desc.group == group);
        match (command, there) {
            (GroupModCommand::Add, _) if self.refuse_groups => {
                Some(openflow::Error::new(Failed::OutOfGroups))
            }
            (GroupModCommand::Add, Some(_)) => Some(openflow::Error::new(Failed::GroupExists)),
            (GroupModCommand::Modify, None) => Some(openflow::Error::new(Failed::UnknownGroup)),
            (GroupModCommand::Delete, there) => {
                there.into_iter().for_each(|idx| drop(self.groups.remove(idx)));
                // Flows that use it would go with it.
                let uses = self.flows.iter().any(|flow| groups_in(&flow.instructions).contains(&group));
                assert!(!uses, "a flow still leads to {group:?}");
                None
            }
            (_, there) => {
                there.into_iter().for_each(|idx| drop(self.groups.remove(idx)));
                self.groups.push(GroupDesc { group_type, group, buckets });
                None
            }
        }
    }

    /// As a switch checks it: §7.5.4.14.
    fn meter_mod(&mut self, meter_mod: MeterMod) -> Option<openflow::Error> {
        use openflow::error::MeterModFailed as Failed;
        let MeterMod { command, flags, meter, bands } = meter_mod;
        match (command, self.meters.contains_key(&meter)) {
            (MeterModCommand::Add, true) => return Some(openflow::Error::new(Failed::MeterExists)),
            (MeterModCommand::Modify, false) => return Some(openflow::Error::new(Failed::UnknownMeter)),
            (MeterModCommand::Delete, _) => {
                let uses = |flow: &FlowStats| flow.instructions.contains(&Instruction::Meter(meter));
                assert!(!self.flows.iter().any(uses), "a flow still uses {meter:?}");
                self.meters.remove(&meter);
            }
            _ => drop(self.meters.insert(meter, MeterConfig { flags, meter, bands })),
        }
        None
    }

    fn flow_mod(&mut self, flow_mod: FlowMod) -> Option<openflow::Error> {
        self.n_mods += 1;
        let meters = flow_mod.instructions.iter().filter_map(|instruction| match instruction {
            Instruction::Meter(meter) => Some(meter),
            _ => None,
        });
        if meters.into_iter().any(|meter| !self.meters.contains_key(meter)) {
            return Some(openflow::Error::new(openflow::error::MeterModFailed::UnknownMeter));
        }
        for group in groups_in(&flow_mod.instructions) {
            if !self.groups.iter().any(|desc| desc.group == group) {
                return Some(openflow::Error::new(openflow::error::BadAction::BadOutGroup));
            }
        }
        let same = |flow: &FlowStats| {
            (flow.table, flow.priority, &flow.matches)
                == (flow_mod.table, flow_mod.priority, &flow_mod.matches)
        };
        match flow_mod.command {
            FlowModCommand::Add if self.refuse == Some(flow_mod.table) => {
                return Some(openflow::Error::new(openflow::error::FlowModFailed::TableFull));
            }
            FlowModCommand::Add => {
                self.flows.retain(|flow| !same(flow));
                self.flows.push(FlowStats {
                    table: flow_mod.table,
                    duration: Duration::ZERO,
                    priority: flow_mod.priority,
                    idle_timeout: 0,
                    hard_timeout: 0,
                    flags: FlowModFlags::NONE,
                    importance: 0,
                    cookie: flow_mod.cookie,
                    packets: 0,
                    bytes: 0,
                    matches: flow_mod.matches,
                    instructions: flow_mod.instructions,
                });
            }
            FlowModCommand::DeleteStrict => {
                self.flows.retain(|flow| !same(flow) || flow.cookie != flow_mod.cookie);
            }
            other => panic!("not expected: {other:?}"),
        }
        None
    }

    /// A flow of somebody else.
    pub fn foreign_flow(&mut self, cookie: u64) {
        let mut foreign =
            FlowMod::add(crate::layout::FORWARD, Priority(7), Match::new().in_port(PortNo(99)), vec![]);
        foreign.cookie = openflow::Cookie(cookie);
        self.flow_mod(foreign);
    }
}

fn refused(xid: Xid, error: Option<openflow::Error>) -> Vec<(Xid, Message)> {
    error.map(|error| (xid, Message::Error(error))).into_iter().collect()
}

fn groups_in(instructions: &[Instruction]) -> Vec<GroupId> {
    let actions = instructions.iter().flat_map(|instruction| match instruction {
        Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => &actions[..],
        _ => &[],
    });
    let group = |action: &Action| if let Action::Group(group) = action { Some(*group) } else { None };
    actions.filter_map(group).collect()
}

fn desc(at: At, up: bool) -> PortDesc {
    let mac = MacAddr([2, 0, 0, 0xff, at.0.0 as u8, at.1.0 as u8]);
    let mut desc = PortDesc::new(at.1, mac, format!("p{}", at.1));
    desc.state = if up { PortState::LIVE } else { PortState::LINK_DOWN };
    desc
}
