//! A switch that keeps its flows in a list.

use std::collections::BTreeMap;
use std::time::Duration;

use openflow::{
    Action, AggregateStats, Bucket, BundleControl, BundleControlKind, Dpid, FlowMod, FlowModCommand,
    FlowModFlags, FlowStats, FlowStatsRequest, GroupCapabilities, GroupDesc, GroupFeatures, GroupId,
    GroupMod, GroupModCommand, Instruction, Match, Message, MeterConfig, MeterFeatures, MeterFlags, MeterId,
    MeterMod, MeterModCommand, MultipartReply, PortDesc, PortState, Priority, Reply, Request, SwitchDesc,
    Xid,
};
use packet::{MacAddr, PortNo};

use crate::{At, ConnId};

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
    pub(super) bundle: Option<Vec<(Xid, Message)>>,
    pub n_bundles: usize,
}

impl FakeSwitch {
    /// With ports 1 to `n_ports`, not connected yet.
    pub fn new(n_ports: u32) -> Self {
        let ports = (1..=n_ports).map(|port| (PortNo(port), true)).collect();
        Self {
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
        }
    }

    pub(super) fn multipart(&self, dpid: Dpid, request: &Request) -> Message {
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
                capabilities: GroupCapabilities::SELECT_LIVENESS | GroupCapabilities::CHAINING,
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

    pub(super) fn bundle_control(&mut self, xid: Xid, control: BundleControl) -> Vec<(Xid, Message)> {
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
    pub(super) fn group_mod(&mut self, group_mod: GroupMod) -> Option<openflow::Error> {
        use openflow::error::GroupModFailed as Failed;
        let GroupMod { command, group_type, group, buckets } = group_mod;
        self.n_group_mods += 1;
        let there = self.groups.iter().position(|desc| desc.group == group);
        let is_there = |group: &GroupId| self.groups.iter().any(|desc| desc.group == *group);
        if !buckets.iter().flat_map(|bucket| groups_among(&bucket.actions)).all(|group| is_there(&group)) {
            return Some(openflow::Error::new(Failed::InvalidGroup));
        }
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
                let leads = |bucket: &Bucket| groups_among(&bucket.actions).contains(&group);
                let uses = self.groups.iter().any(|desc| desc.buckets.iter().any(leads));
                assert!(!uses, "a group still leads to {group:?}");
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
    pub(super) fn meter_mod(&mut self, meter_mod: MeterMod) -> Option<openflow::Error> {
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

    pub(super) fn flow_mod(&mut self, flow_mod: FlowMod) -> Option<openflow::Error> {
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
            FlowModCommand::Delete if flow_mod.matches.is_empty() => {
                let (cookie, mask) = (flow_mod.cookie.0, flow_mod.cookie_mask);
                self.flows.retain(|flow| flow.cookie.0 & mask != cookie & mask);
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

fn groups_in(instructions: &[Instruction]) -> Vec<GroupId> {
    let actions = instructions.iter().flat_map(|instruction| match instruction {
        Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => &actions[..],
        _ => &[],
    });
    groups_among(actions)
}

fn groups_among<'a>(actions: impl IntoIterator<Item = &'a Action>) -> Vec<GroupId> {
    let group = |action: &Action| if let Action::Group(group) = action { Some(*group) } else { None };
    actions.into_iter().filter_map(group).collect()
}

pub(super) fn desc(at: At, up: bool) -> PortDesc {
    let mac = MacAddr([2, 0, 0, 0xff, at.0.0 as u8, at.1.0 as u8]);
    let mut desc = PortDesc::new(at.1, mac, format!("p{}", at.1));
    desc.state = if up { PortState::LIVE } else { PortState::LINK_DOWN };
    desc
}
