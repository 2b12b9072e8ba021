//! The judge: a slow interpreter of OpenFlow 1.3.5, written from the specification before the fast path.
//!
//! It keeps flows in a list, reads fields one by one from the bytes, and changes bytes naively. It shares no parser,
//! table, cache or program with the fast path; only names (drop reasons) and, for select groups, the rule that says
//! which bucket a flow takes, because the standard leaves that to the switch.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use openflow::{
    Action, BandKind, Cookie, Field, FlowModFlags, FlowRemovedReason, GroupDesc, GroupId, GroupType,
    Instruction, Match, MeterId, PacketInReason, PortConfig, PortDesc, PortNo, PortState, Priority, Rewrite,
    TableId, ports,
};
use packet::Instant;

use crate::DropReason;

mod bytes;
mod meter;
mod shims;
mod tables;

use meter::Meter;

/// A flow entry (§5.2).
#[derive(Clone, Debug)]
pub struct Flow {
    /// Where it is.
    pub table: TableId,
    /// Its priority.
    pub priority: Priority,
    /// Which packets.
    pub matches: Match,
    /// Its cookie.
    pub cookie: Cookie,
    /// What happens to them.
    pub instructions: Vec<Instruction>,
    /// As added.
    pub flags: FlowModFlags,
    /// Seconds without a frame after which it goes; zero for never.
    pub idle_timeout: u16,
    /// Seconds after which it goes; zero for never.
    pub hard_timeout: u16,
    /// When it was added.
    pub installed: Instant,
    /// When a frame hit it last, or it was added. For whoever sends the frames to keep.
    pub last_used: Instant,
    /// Names its counters: kept when it is modified, or replaced without a reset.
    pub id: u64,
}

impl Flow {
    /// Whether it has expired (§5.5), and how.
    fn expired(&self, now: Instant) -> Option<FlowRemovedReason> {
        let end = |since: Instant, secs: u16| {
            (secs != 0).then(|| since + Duration::from_secs(secs.into())).filter(|&end| end <= now)
        };
        let hard = end(self.installed, self.hard_timeout);
        let idle = end(self.last_used, self.idle_timeout);
        match (hard, idle) {
            (None, None) => None,
            (Some(hard), Some(idle)) if idle < hard => Some(FlowRemovedReason::IdleTimeout),
            (None, Some(_)) => Some(FlowRemovedReason::IdleTimeout),
            (Some(_), _) => Some(FlowRemovedReason::HardTimeout),
        }
    }

    fn uses(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.instructions.iter().any(|instruction| match instruction {
            Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
                actions.iter().any(&wanted)
            }
            _ => false,
        })
    }
}

/// A packet for the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Punt {
    /// Why.
    pub reason: PacketInReason,
    /// The table of the flow that sent it.
    pub table: TableId,
    /// Its cookie.
    pub cookie: Cookie,
    /// Metadata at that time.
    pub metadata: u64,
    /// The frame.
    pub data: Vec<u8>,
}

/// What became of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What left, in order.
    pub outputs: Vec<(PortNo, Vec<u8>)>,
    /// The queue of each output.
    pub queues: Vec<u16>,
    /// What went to the controller, in order.
    pub punts: Vec<Punt>,
    /// Why it went nowhere.
    pub drop: Option<DropReason>,
    /// [`Flow::id`] of every flow it hit: each counts the frame as received.
    pub hits: Vec<u64>,
    /// The tables it was looked up in.
    pub tables: Vec<TableId>,
}

/// The interpreter.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// Every flow, in the order of installation.
    pub flows: Vec<Flow>,
    /// Every port.
    pub ports: Vec<PortDesc>,
    /// Every group.
    pub groups: Vec<GroupDesc>,
    /// A controller wants packets that no flow matched.
    pub punt_misses: bool,
    /// The time.
    pub now: Instant,
    /// Every meter.
    meters: Vec<Arc<Mutex<Meter>>>,
    n_made: u64,
}

/// A frame in the pipeline, with what travels beside it (§5.1).
#[derive(Clone)]
struct Packet {
    bytes: Vec<u8>,
    in_port: PortNo,
    /// Bytes it had when it was received.
    received: usize,
    /// It was looked up there last.
    table: TableId,
    metadata: u64,
    queue: u16,
    set: Vec<(Action, Origin)>,
}

impl Packet {
    /// What is pushed must fit the room that is kept in front of a received frame.
    fn has_room(&self, n: usize) -> bool {
        self.bytes.len() + n <= self.received + packet::HEADROOM
    }

    /// As it leaves: never below the minimum of IEEE 802.3 if it was not received so.
    fn wire(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len().max(if self.received < 60 { 0 } else { 60 }), 0);
        bytes
    }
}

/// The flow an action belongs to.
#[derive(Clone, Copy)]
struct Origin {
    reason: PacketInReason,
    table: TableId,
    cookie: Cookie,
}

/// What has happened so far.
#[derive(Default)]
struct Progress {
    outcome: Outcome,
    failure: Option<DropReason>,
}

impl Progress {
    fn fail(&mut self, reason: DropReason) {
        self.failure.get_or_insert(reason);
    }
}

/// The frame is gone: nothing further is done with it.
struct Stopped;

impl Oracle {
    /// An interpreter with these ports.
    pub fn new(ports: Vec<PortDesc>) -> Self {
        Self { ports, ..Self::default() }
    }

    /// What the switch does with a frame that came by a port (§5.1, figure 2).
    pub fn process(&self, in_port: PortNo, bytes: &[u8]) -> Outcome {
        let mut progress = Progress::default();
        let default = match self.admit(in_port, bytes) {
            Err(reason) => reason,
            Ok(()) => self.pipeline(in_port, bytes, &mut progress),
        };
        let Progress { mut outcome, failure } = progress;
        let sent = outcome.punts.iter().any(|p| p.reason != PacketInReason::InvalidTtl);
        if outcome.outputs.is_empty() && !sent {
            outcome.drop = Some(failure.unwrap_or(default));
        }
        outcome
    }

    fn admit(&self, in_port: PortNo, bytes: &[u8]) -> Result<(), DropReason> {
        let port = self.port(in_port).ok_or(DropReason::UnknownInPort)?;
        if port.config.contains(PortConfig::NO_RECV) || port.config.contains(PortConfig::PORT_DOWN) {
            return Err(DropReason::NoReceive);
        }
        bytes::check(bytes)
    }

    /// Returns why the frame is dropped if it went nowhere.
    fn pipeline(&self, in_port: PortNo, bytes: &[u8], progress: &mut Progress) -> DropReason {
        let mut packet = Packet {
            bytes: bytes.to_vec(),
            in_port,
            received: bytes.len(),
            table: TableId(0),
            metadata: 0,
            queue: 0,
            set: Vec::new(),
        };
        let mut table = TableId(0);
        loop {
            // What actions announced must be there when a table is to look at it.
            if let Err(reason) = bytes::check(&packet.bytes) {
                return reason;
            }
            progress.outcome.tables.push(table);
            packet.table = table;
            let Some(at) = self.best(table, &packet) else {
                if self.punt_misses {
                    let origin = Origin { reason: PacketInReason::NoMatch, table, cookie: Cookie(u64::MAX) };
                    self.output(ports::CONTROLLER, origin, &packet, progress);
                }
                return DropReason::TableMiss;
            };
            progress.outcome.hits.push(self.flows[at].id);
            let flow = self.flows[at].clone();
            match self.instructions(&flow, &mut packet, progress) {
                Err(Stopped) => return DropReason::Flow,
                Ok(Some(next)) => table = next,
                Ok(None) => break,
            }
        }
        let mut set = core::mem::take(&mut packet.set);
        set.iter_mut().for_each(|(_, origin)| origin.table = table);
        let _ = self.run_set(&set, &mut packet, progress, 8);
        DropReason::Flow
    }

    /// §5.3: the highest priority that matches; among equals the first that came.
    fn best(&self, table: TableId, packet: &Packet) -> Option<usize> {
        let matching = self.flows.iter().enumerate().filter(|(_, f)| f.table == table && matches(f, packet));
        matching.max_by_key(|(at, f)| (f.priority, core::cmp::Reverse(*at))).map(|(at, _)| at)
    }

    /// §5.9: meter, apply, clear, write, metadata, goto: in this order.
    fn instructions(
        &self,
        flow: &Flow,
        packet: &mut Packet,
        progress: &mut Progress,
    ) -> Result<Option<TableId>, Stopped> {
        let miss = flow.priority.0 == 0 && flow.matches.is_empty();
        let reason = if miss { PacketInReason::NoMatch } else { PacketInReason::Action };
        let origin = Origin { reason, table: flow.table, cookie: flow.cookie };
        let mut sorted = flow.instructions.clone();
        sorted.sort_by_key(|instruction| match instruction {
            Instruction::Meter(_) => 0,
            Instruction::ApplyActions(_) => 1,
            Instruction::ClearActions => 2,
            Instruction::WriteActions(_) => 3,
            Instruction::WriteMetadata { .. } => 4,
            _ => 5,
        });
        let mut next = None;
        for instruction in sorted {
            match instruction {
                Instruction::ApplyActions(actions) => {
                    for action in actions {
                        self.action(&action, origin, packet, progress, 8)?;
                    }
                }
                Instruction::ClearActions => packet.set.clear(),
                Instruction::WriteActions(actions) => {
                    for action in actions {
                        packet.set.retain(|(old, _)| place(old) != place(&action));
                        // §7.4.1: from the action set no single flow is the cause.
                        let reason = if miss { PacketInReason::NoMatch } else { PacketInReason::ActionSet };
                        packet.set.push((action, Origin { reason, cookie: Cookie(u64::MAX), ..origin }));
                    }
                }
                Instruction::WriteMetadata { metadata, mask } => {
                    packet.metadata = packet.metadata & !mask | metadata & mask;
                }
                Instruction::GotoTable(table) => next = Some(table),
                Instruction::Meter(meter) => self.measure(meter, packet, progress)?,
                _ => {}
            }
        }
        Ok(next)
    }

    /// §5.7
    fn measure(&self, id: MeterId, packet: &mut Packet, progress: &mut Progress) -> Result<(), Stopped> {
        let meter = self.meters.iter().find(|meter| lock(meter).id == id);
        let size = packet.bytes.len();
        match meter.map_or(Some(BandKind::Drop), |meter| lock(meter).band(self.now, size)) {
            None => {}
            Some(BandKind::DscpRemark { prec_level }) => {
                if let Some(dscp) = bytes::field(&packet.bytes, Field::IpDscp) {
                    let dscp = meter::remarked(dscp as u8, prec_level);
                    bytes::set_field(&mut packet.bytes, Field::IpDscp, dscp.into());
                }
            }
            Some(_) => {
                progress.fail(DropReason::Meter);
                return Err(Stopped);
            }
        }
        Ok(())
    }

    /// §5.10: the action set, in its order; a group makes outputs ignored.
    fn run_set(
        &self,
        set: &[(Action, Origin)],
        packet: &mut Packet,
        progress: &mut Progress,
        depth: u8,
    ) -> Result<(), Stopped> {
        let mut set = set.to_vec();
        set.sort_by_key(|(action, _)| place(action));
        let grouped = set.iter().any(|(action, _)| matches!(action, Action::Group(_)));
        set.retain(|(action, _)| !(grouped && matches!(action, Action::Output { .. })));
        for (action, origin) in set {
            self.action(&action, origin, packet, progress, depth)?;
        }
        Ok(())
    }

    fn action(
        &self,
        action: &Action,
        origin: Origin,
        packet: &mut Packet,
        progress: &mut Progress,
        depth: u8,
    ) -> Result<(), Stopped> {
        match action {
            Action::Output { port, .. } => self.output(*port, origin, packet, progress),
            Action::Group(group) => self.group(*group, packet, progress, depth),
            Action::SetField(oxm) => bytes::set_field(&mut packet.bytes, oxm.field, oxm.value),
            Action::Rewrite(rewrite) => self.rewrite(*rewrite, packet, progress)?,
            // 1.0.1 §5.2.4: only this output goes by the queue.
            Action::Enqueue { port, queue } => {
                packet.queue = crate::queue::number(*queue);
                self.output(*port, origin, packet, progress);
                packet.queue = 0;
            }
            Action::PushVlan(tpid) if packet.has_room(4) && bytes::push_vlan(&mut packet.bytes, *tpid) => {}
            Action::PushMpls(ethertype) if packet.has_room(4) => {
                shims::push_mpls(&mut packet.bytes, *ethertype);
            }
            Action::PushPbb(ethertype) if packet.has_room(18) => {
                shims::push_pbb(&mut packet.bytes, *ethertype);
            }
            Action::PushVlan(_) | Action::PushMpls(_) | Action::PushPbb(_) => {
                progress.fail(DropReason::NoRoom);
                return Err(Stopped);
            }
            // §7.2.5: the queue is that of whatever port the packet is output to.
            Action::SetQueue(queue) => packet.queue = crate::queue::number(*queue),
            Action::PopVlan => bytes::pop_vlan(&mut packet.bytes),
            Action::SetNwTtl(ttl) => bytes::set_ttl(&mut packet.bytes, *ttl),
            Action::DecNwTtl => match bytes::ttl(&packet.bytes) {
                Some(0 | 1) => {
                    progress.fail(DropReason::Ttl);
                    return Err(Stopped);
                }
                Some(ttl) => bytes::set_ttl(&mut packet.bytes, ttl - 1),
                None => {}
            },
            Action::PopMpls(ethertype) => shims::pop_mpls(&mut packet.bytes, *ethertype),
            Action::PopPbb => shims::pop_pbb(&mut packet.bytes),
            Action::CopyTtlOut => shims::copy_ttl_out(&mut packet.bytes),
            Action::CopyTtlIn => shims::copy_ttl_in(&mut packet.bytes),
            Action::SetMplsTtl(ttl) => shims::set_ttl(&mut packet.bytes, *ttl),
            Action::DecMplsTtl => match shims::ttl(&packet.bytes) {
                Some(0 | 1) => {
                    progress.fail(DropReason::Ttl);
                    return Err(Stopped);
                }
                Some(ttl) => shims::set_ttl(&mut packet.bytes, ttl - 1),
                None => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// 1.0.1 §5.2.4: fields that the packet does not have stay as they are, but an untagged packet gets a tag.
    fn rewrite(&self, rewrite: Rewrite, packet: &mut Packet, progress: &mut Progress) -> Result<(), Stopped> {
        let untagged = bytes::field(&packet.bytes, Field::VlanVid) == Some(0);
        if rewrite.tags() && untagged && !(packet.has_room(4) && bytes::push_vlan(&mut packet.bytes, 0x8100))
        {
            progress.fail(DropReason::NoRoom);
            return Err(Stopped);
        }
        for oxm in rewrite.fields() {
            bytes::set_field(&mut packet.bytes, oxm.field, oxm.value);
        }
        Ok(())
    }

    fn port(&self, port: PortNo) -> Option<&PortDesc> {
        self.ports.iter().find(|desc| desc.port == port)
    }

    /// §4.5
    fn output(&self, port: PortNo, origin: Origin, packet: &Packet, progress: &mut Progress) {
        match port {
            ports::CONTROLLER => {
                let refused = |desc: &PortDesc| desc.config.contains(PortConfig::NO_PACKET_IN);
                if self.port(packet.in_port).is_some_and(refused) {
                    return progress.fail(DropReason::NoPacketIn);
                }
                progress.outcome.punts.push(Punt {
                    reason: origin.reason,
                    table: origin.table,
                    cookie: origin.cookie,
                    metadata: packet.metadata,
                    data: packet.wire(),
                });
            }
            ports::IN_PORT => self.send(packet.in_port, packet, progress),
            ports::FLOOD | ports::ALL => {
                let floods = |desc: &PortDesc| {
                    !desc.state.contains(PortState::BLOCKED) && !desc.config.contains(PortConfig::NO_FLOOD)
                };
                let blocked = |desc: &&PortDesc| port == ports::ALL || floods(desc);
                let mut rows: Vec<_> = self.ports.iter().filter(|d| d.port != packet.in_port).collect();
                rows.retain(|desc| can_send(desc) && blocked(desc));
                rows.sort_by_key(|desc| desc.port);
                if rows.is_empty() {
                    progress.fail(DropReason::Filtered);
                }
                rows.into_iter().for_each(|desc| self.send(desc.port, packet, progress));
            }
            // §7.2.5: output to the ingress port needs IN_PORT.
            port if port == packet.in_port => progress.fail(DropReason::SamePort),
            port => self.send(port, packet, progress),
        }
    }

    fn send(&self, port: PortNo, packet: &Packet, progress: &mut Progress) {
        match self.port(port) {
            None => progress.fail(DropReason::NoPort),
            Some(desc) if can_send(desc) => {
                progress.outcome.outputs.push((port, packet.wire()));
                progress.outcome.queues.push(packet.queue);
            }
            Some(_) => progress.fail(DropReason::PortDown),
        }
    }

    /// §5.6: each bucket works on a copy; the packet itself goes on unchanged.
    fn group(&self, id: GroupId, packet: &Packet, progress: &mut Progress, depth: u8) {
        let Some(group) = self.groups.iter().find(|g| g.group == id).filter(|_| depth > 0) else {
            return progress.fail(DropReason::Group);
        };
        let live: Vec<usize> = (0..group.buckets.len()).filter(|&at| self.is_live(group, at, 8)).collect();
        let chosen = match group.group_type {
            GroupType::All => (0..group.buckets.len()).collect(),
            GroupType::Indirect => vec![0],
            GroupType::FastFailover => live.into_iter().take(1).collect(),
            GroupType::Select => select(group, &live, &packet.bytes).into_iter().collect(),
        };
        if chosen.is_empty() {
            return progress.fail(DropReason::Group);
        }
        for at in chosen {
            let mut copy = Packet { set: Vec::new(), ..packet.clone() };
            // §7.4.1: what a bucket sends to the controller names no flow.
            let origin =
                Origin { reason: PacketInReason::Group, table: packet.table, cookie: Cookie(u64::MAX) };
            let mut set: Vec<(Action, Origin)> = Vec::new();
            for action in &group.buckets[at].actions {
                set.retain(|(old, _)| place(old) != place(action));
                set.push((action.clone(), origin));
            }
            let sends = set.iter().any(|(a, _)| matches!(a, Action::Output { .. } | Action::Group(_)));
            if self.run_set(&set, &mut copy, progress, depth - 1).is_ok() && !sends {
                progress.fail(DropReason::Flow);
            }
        }
    }

    fn is_live(&self, group: &GroupDesc, at: usize, depth: u8) -> bool {
        let bucket = &group.buckets[at];
        let port_live = |port| {
            self.port(port).is_some_and(|desc| {
                !desc.config.contains(PortConfig::PORT_DOWN) && !desc.state.contains(PortState::LINK_DOWN)
            })
        };
        let group_live = |id| {
            let known = self.groups.iter().find(|g| g.group == id).filter(|_| depth > 0);
            known.is_some_and(|g| (0..g.buckets.len()).any(|at| self.is_live(g, at, depth - 1)))
        };
        match (bucket.watch_port, bucket.watch_group) {
            (None, None) => group.group_type != GroupType::FastFailover,
            (port, group) => port.is_some_and(port_live) || group.is_some_and(group_live),
        }
    }
}

fn lock(meter: &Mutex<Meter>) -> std::sync::MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bucket of a flow, as the switch has chosen to choose.
fn select(group: &GroupDesc, live: &[usize], bytes: &[u8]) -> Option<usize> {
    let names = crate::group::names(&group.buckets);
    let candidates = live.iter().map(|&at| (at, group.buckets[at].weight, names[at]));
    crate::group::select(candidates, crate::group::flow_hash(&packet::Frame::from_bytes(bytes)))
}

fn can_send(desc: &PortDesc) -> bool {
    !desc.config.contains(PortConfig::PORT_DOWN)
        && !desc.config.contains(PortConfig::NO_FWD)
        && !desc.state.contains(PortState::LINK_DOWN)
}

/// Every field of the match is there and has the value (§5.3).
fn matches(flow: &Flow, packet: &Packet) -> bool {
    flow.matches.iter().all(|oxm| {
        let value = match oxm.field {
            openflow::Field::InPort | openflow::Field::InPhyPort => Some(packet.in_port.0.into()),
            openflow::Field::Metadata => Some(packet.metadata.into()),
            openflow::Field::TunnelId => Some(0),
            field => bytes::field(&packet.bytes, field),
        };
        value.is_some_and(|value| oxm.accepts(value))
    })
}

/// §5.10: the order of the action set, and which actions exclude each other.
fn place(action: &Action) -> (u8, u8) {
    match action {
        Action::CopyTtlIn => (1, 0),
        Action::PopVlan => (2, 0),
        Action::PopMpls(_) => (2, 1),
        Action::PopPbb => (2, 2),
        Action::PushMpls(_) => (3, 0),
        Action::PushPbb(_) => (4, 0),
        Action::PushVlan(_) => (5, 0),
        Action::CopyTtlOut => (6, 0),
        Action::DecNwTtl => (7, 0),
        Action::DecMplsTtl => (7, 1),
        Action::SetMplsTtl(_) => (8, u8::MAX - 1),
        Action::SetField(oxm) => (8, oxm.field as u8),
        Action::SetNwTtl(_) => (8, u8::MAX),
        Action::SetQueue(_) => (9, 0),
        Action::Group(_) => (10, 0),
        Action::Output { .. } => (11, 0),
        _ => (0, 0),
    }
}
