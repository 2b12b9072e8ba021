//! From intent and view to the flows of every switch. Pure: the same input gives the same blueprint.
//!
//! A plan is made of parts, each of them the flows for one thing: a port in its lane, a host, a chain. Each is computed
//! from what is resolved of that thing alone, and no two have a flow in common. [`Planner`] keeps the parts, and
//! after a change computes again those that it touches; [`plan`] computes all of them.

mod balances;
mod chains;
mod copies;
mod courses;
mod edge;
mod forward;
mod limits;
mod policies;
mod touch;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openflow::{
    Action, Cookie, Dpid, Field, GroupId, Instruction, Match, MeterId, NO_BUFFER_LEN, Oxm, Priority, TableId,
};
use packet::{PortNo, VlanId};

use crate::blueprint::{Blueprint, FlowBody, FlowKey, Issue};
use crate::graph::Graph;
use crate::groups::{GroupBody, Support};
use crate::intent::{Intent, Label};
use crate::lanes::{Lanes, Resolver, Touched};
use crate::layout;
use crate::meters::MeterBody;
use crate::view::{At, Changes, HostKey, View};
use balances::ServiceGroups;
use chains::Segments;
use copies::CopyLanes;
use courses::Tracks;
pub(crate) use courses::has_way;
pub(crate) use edge::{GROUP_BIT, lane_entry, links_of};
use ways::{Arounds, Bypass, GroupUse};

/// Label of flows that serve every intent: discovery, links, table misses.
const FABRIC: &str = "fabric";

/// What every switch of `view` is to hold so that the network does what `intent` says. Its generation is zero.
pub fn plan(intent: &Intent, view: &View) -> Blueprint {
    let mut planner = Planner::default();
    planner.resolve(intent, &intent.labels().collect(), view, &view.everything());
    planner.plan(view);
    planner.blueprint
}

/// What a plan changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Flows by switch, in order.
    pub flows: BTreeMap<Dpid, Vec<FlowKey>>,
    /// Switches with other groups.
    pub groups: BTreeSet<Dpid>,
    /// Switches with other meters.
    pub meters: BTreeSet<Dpid>,
}

/// Keeps a blueprint up to date.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    resolver: Resolver,
    graph: Graph,
    spans: BTreeMap<VlanId, Span>,
    segments: Segments,
    tracks: Tracks,
    copy_lanes: CopyLanes,
    service_groups: ServiceGroups,
    parts: BTreeMap<Part, Planned>,
    /// How many parts have frames of a lane enter a switch by a link.
    entries: BTreeMap<(Dpid, VlanId), usize>,
    /// Switches with too few tables.
    small: BTreeSet<Dpid>,
    /// What each switch can do with groups.
    support: BTreeMap<Dpid, Support>,
    /// Switches that have the number of their group for themselves.
    own_group: BTreeSet<Dpid>,
    /// Ways around links.
    bypasses: BTreeMap<At, Bypass>,
    /// Their tags, as far as these are not the usual ones.
    labels: BTreeSet<VlanId>,
    /// Shortest ways around links, as far as they were looked for in this graph.
    arounds: Arounds,
    /// How many parts need the group of one switch for another.
    uses: BTreeMap<GroupUse, usize>,
    /// Groups to be looked at once more.
    stale_ways: BTreeSet<GroupUse>,
    /// Switches with other meters than before.
    stale_meters: BTreeSet<Dpid>,
    /// Switches with other groups of ways than before.
    stale_groups: BTreeSet<Dpid>,
    blueprint: Blueprint,
    /// What was resolved anew since the last plan.
    touched: Touched,
    graph_is_old: bool,
    /// Switches that came, went or changed since the last plan.
    switches: BTreeSet<Dpid>,
    /// Flows that changed since the last plan, each time with what they were before.
    log: Vec<Was>,
}

/// A flow of a switch.
type Flow = (Dpid, FlowKey, Arc<FlowBody>);

/// What a flow was.
#[derive(Debug)]
struct Was {
    dpid: Dpid,
    key: FlowKey,
    body: Option<Arc<FlowBody>>,
}

/// Where a lane is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Span {
    /// Switches where frames to its hosts start: those with its ports, and where a chain gives them back.
    starts: BTreeSet<Dpid>,
    /// The part of the broadcast tree that joins its ports.
    tree: BTreeSet<At>,
    /// Frames may have tags of their own in it.
    tags: bool,
}

/// One thing that flows are for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// What a switch always holds.
    Switch(Dpid),
    /// A port of a link.
    Link(At),
    /// The tag of a lane, where it has no business.
    Foreign(VlanId, Dpid),
    /// A port in its lane.
    Port(VlanId, At),
    /// A host.
    Host(HostKey),
    /// What is flooded on a switch.
    Flood(VlanId, Dpid),
    /// What enters the chains of a lane.
    Steer(VlanId),
    /// The way through the functions of a chain.
    Chain(String),
    /// The way around a link.
    Bypass(At),
    /// A policy.
    Policy(String),
    /// Rates and queues.
    Limit(String),
    /// A way.
    Course(String),
    /// A mirror.
    Mirror(String),
    /// A virtual address.
    Balance(String),
    /// What must wait at a port, because a policy might be about it.
    Hold(VlanId, At),
}

/// What a part came to.
#[derive(Debug, Default)]
struct Planned {
    flows: Vec<(Dpid, FlowKey)>,
    entries: Vec<(Dpid, VlanId)>,
    ways: Vec<GroupUse>,
    meters: Vec<(Dpid, MeterId)>,
    groups: Vec<(Dpid, GroupId)>,
    issues: Vec<Issue>,
}

/// A part as it is being computed.
#[derive(Debug, Default)]
struct Draft {
    /// In order once it is complete, each key once.
    flows: Vec<Flow>,
    labels: BTreeMap<Cookie, String>,
    /// Switches that frames of a lane enter by a link.
    entries: BTreeSet<(Dpid, VlanId)>,
    /// Groups it needs.
    ways: BTreeSet<GroupUse>,
    /// Meters it needs; no other part has them.
    meters: BTreeMap<(Dpid, MeterId), MeterBody>,
    /// Groups that no other part has.
    groups: BTreeMap<(Dpid, GroupId), GroupBody>,
    issues: Vec<Issue>,
}

/// Where a flow goes and whose it is.
#[derive(Clone, Copy)]
struct Slot<'a> {
    dpid: Dpid,
    table: TableId,
    priority: Priority,
    label: &'a str,
}

impl Draft {
    fn put(&mut self, slot: Slot<'_>, matches: Match, instructions: Vec<Instruction>) {
        let cookie = layout::intent_cookie(slot.label);
        let key = FlowKey::new(slot.table, slot.priority, matches);
        self.flows.push((slot.dpid, key, Arc::new(FlowBody { cookie, instructions })));
        self.labels.entry(cookie).or_insert_with(|| slot.label.to_owned());
    }

    /// As the flow that was put last, on another switch.
    fn repeat(&mut self, dpid: Dpid) {
        if let Some((_, key, body)) = self.flows.last().cloned() {
            self.flows.push((dpid, key, body));
        }
    }

    /// Puts the flows in order. What was put last with a key is what counts.
    fn complete(&mut self) {
        self.flows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        self.flows.dedup_by(|later, earlier| {
            let is_same = (later.0, &later.1) == (earlier.0, &earlier.1);
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
    }

    /// Whether there is such a flow.
    fn has(&self, dpid: Dpid, key: &FlowKey) -> bool {
        self.flows.binary_search_by(|flow| (flow.0, &flow.1).cmp(&(dpid, key))).is_ok()
    }

    fn issue(&mut self, label: &str, reason: String) {
        self.issues.push(Issue::new(label, reason));
    }

    /// What waiting does not help with.
    fn refuse(&mut self, label: &str, reason: String) {
        self.issues.push(Issue { refused: true, ..Issue::new(label, reason) });
    }

    /// Notes that frames of `lane` enter the switch at the other end of the link.
    fn enter(&mut self, graph: &Graph, lane: VlanId, at: At) {
        self.entries.extend(graph.peer(at).map(|peer| (peer.0, lane)));
    }
}

/// Flows to be entered.
#[derive(Debug, Default)]
struct News {
    flows: Vec<Flow>,
    labels: BTreeMap<Cookie, String>,
}

impl News {
    /// Frames of a lane enter a switch by its links.
    fn admit(&mut self, dpid: Dpid, lane: VlanId) {
        let (key, body) = lane_entry(lane);
        self.labels.entry(body.cookie).or_insert_with(|| FABRIC.to_owned());
        self.flows.push((dpid, key, Arc::new(body)));
    }
}

impl Planner {
    /// What is resolved.
    pub fn lanes(&self) -> &Lanes {
        &self.resolver.lanes
    }

    /// Switches and the links between them, as of the last plan.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What the switches are to hold.
    pub fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// Gives the blueprint its number.
    pub fn set_generation(&mut self, generation: u64) {
        self.blueprint.generation = generation;
    }

    /// Where a declared host is attached, if its port is there.
    pub fn reservation(&self, key: HostKey) -> Option<Option<At>> {
        self.resolver.reservation(key)
    }

    /// Follows a change, up to what is planned from it. What it touched, of which [`Planner::plan`] makes flows.
    pub fn resolve(
        &mut self,
        intent: &Intent,
        labels: &BTreeSet<Label>,
        view: &View,
        changes: &Changes,
    ) -> Touched {
        // There is one list of issues; it lies where it is added to.
        self.resolver.lanes.issues = std::mem::take(&mut self.blueprint.issues);
        let touched = self.resolver.update(intent, labels, view, changes);
        self.blueprint.issues = std::mem::take(&mut self.resolver.lanes.issues);
        self.touched.add(&touched);
        self.switches.extend(&changes.switches);
        self.graph_is_old |= changes.graph;
        touched
    }

    /// Computes what was touched. The flows that are different now, and whether anything is.
    pub fn plan(&mut self, view: &View) -> (Changed, bool) {
        let (known, fresh): (Vec<Part>, Vec<Part>) =
            self.stale(view).into_iter().partition(|part| self.parts.contains_key(part));
        let drafted = |part: Part| (self.draft(&part, view), part);
        let drafts: Vec<(Draft, Part)> = known.into_iter().map(drafted).collect();
        // First all that goes: a flow may pass from one part to another.
        let before: Vec<Planned> = drafts.iter().map(|(draft, part)| self.withdraw(part, draft)).collect();
        let mut news = News::default();
        for ((draft, part), before) in drafts.into_iter().zip(before) {
            self.establish(part, draft, &before, &mut news);
        }
        for part in fresh {
            let draft = self.draft(&part, view);
            self.establish(part, draft, &Planned::default(), &mut news);
        }
        self.put(news);
        let mut changed = Changed::default();
        for way in std::mem::take(&mut self.stale_ways) {
            let (from, to, back) = way;
            let used = self.blueprint.switches.contains_key(&from) && self.uses.contains_key(&way);
            let body = used.then(|| self.group_body(way));
            if self.blueprint.set_group(from, layout::group_to(to, back), body) {
                changed.groups.insert(from);
            }
        }
        changed.flows = self.differing();
        changed.meters = std::mem::take(&mut self.stale_meters);
        changed.groups.extend(std::mem::take(&mut self.stale_groups));
        let differs = self.blueprint.issues.differ()
            || !changed.flows.is_empty()
            || !changed.groups.is_empty()
            || !changed.meters.is_empty();
        (changed, differs)
    }

    /// The flows that are not what they were at the last plan.
    fn differing(&mut self) -> BTreeMap<Dpid, Vec<FlowKey>> {
        let mut log = std::mem::take(&mut self.log);
        log.sort_by(|a, b| (a.dpid, &a.key).cmp(&(b.dpid, &b.key)));
        let mut differing = BTreeMap::new();
        let mut log = log.into_iter().peekable();
        while let Some(dpid) = log.peek().map(|was| was.dpid) {
            let mut keys = Vec::new();
            let flows = self.blueprint.switches.get(&dpid);
            while let Some(Was { key, body, .. }) = log.next_if(|was| was.dpid == dpid) {
                let mut is_one = true;
                while log.next_if(|was| was.dpid == dpid && was.key == key).is_some() {
                    is_one = false;
                }
                // One change made it another; several may have led back.
                if is_one || flows.and_then(|flows| flows.get(&key)) != body.as_ref() {
                    keys.push(key);
                }
            }
            if !keys.is_empty() {
                differing.insert(dpid, keys);
            }
        }
        differing
    }

    /// Computes a part. One that is for nothing any more comes out empty.
    fn draft(&self, part: &Part, view: &View) -> Draft {
        let mut draft = Draft::default();
        match part {
            Part::Switch(dpid) => self.always(&mut draft, view, *dpid),
            Part::Link(at) => self.link(&mut draft, *at),
            Part::Foreign(vlan, dpid) => self.refuse_foreign(&mut draft, *vlan, *dpid),
            Part::Port(vlan, at) => self.port(&mut draft, *vlan, *at),
            Part::Host(key) => self.host(&mut draft, *key),
            Part::Flood(vlan, dpid) => self.flood(&mut draft, *vlan, *dpid),
            Part::Steer(vlan) => self.steer_all(&mut draft, *vlan),
            Part::Chain(name) => self.chain(&mut draft, view, name),
            Part::Bypass(link) => self.bypass(&mut draft, *link),
            Part::Policy(name) => self.policy(&mut draft, name),
            Part::Limit(name) => self.limit(&mut draft, view, name),
            Part::Course(name) => self.course(&mut draft, view, name),
            Part::Mirror(name) => self.mirror(&mut draft, view, name),
            Part::Balance(name) => self.balance(&mut draft, view, name),
            Part::Hold(vlan, at) => self.hold(&mut draft, *vlan, *at),
        }
        draft.complete();
        draft
    }

    /// Takes back what a part came to, except what it still has; what it came to.
    fn withdraw(&mut self, part: &Part, draft: &Draft) -> Planned {
        let before = self.parts.remove(part).unwrap_or_default();
        for (dpid, key) in &before.flows {
            if !draft.has(*dpid, key) {
                self.remove(*dpid, key);
            }
        }
        for (dpid, lane) in before.entries.iter().filter(|entry| !draft.entries.contains(entry)) {
            self.leave(*dpid, *lane);
        }
        for way in before.ways.iter().filter(|way| !draft.ways.contains(way)) {
            if let Some(n) = self.uses.get_mut(way) {
                *n -= 1;
                if *n == 0 {
                    self.uses.remove(way);
                    self.stale_ways.insert(*way);
                }
            }
        }
        for &(dpid, meter) in &before.meters {
            self.set_meter(dpid, meter, draft.meters.get(&(dpid, meter)).copied());
        }
        for &(dpid, group) in &before.groups {
            self.set_group(dpid, group, draft.groups.get(&(dpid, group)).cloned());
        }
        before.issues.iter().for_each(|issue| self.blueprint.issues.remove(issue));
        before
    }

    fn set_group(&mut self, dpid: Dpid, group: GroupId, body: Option<GroupBody>) {
        let there = self.blueprint.switches.contains_key(&dpid);
        if self.blueprint.set_group(dpid, group, body.filter(|_| there)) {
            self.stale_groups.insert(dpid);
        }
    }

    fn set_meter(&mut self, dpid: Dpid, meter: MeterId, body: Option<MeterBody>) {
        let there = self.blueprint.switches.contains_key(&dpid);
        if self.blueprint.set_meter(dpid, meter, body.filter(|_| there)) {
            self.stale_meters.insert(dpid);
        }
    }

    /// Enters what a part comes to, and came not to `before`.
    fn establish(&mut self, part: Part, draft: Draft, before: &Planned, news: &mut News) {
        let Draft { flows, labels, entries, ways, meters, groups, issues } = draft;
        if flows.is_empty() && entries.is_empty() && issues.is_empty() {
            return;
        }
        let planned = Planned {
            flows: flows.iter().map(|(dpid, key, _)| (*dpid, key.clone())).collect(),
            entries: entries.into_iter().collect(),
            ways: ways.into_iter().collect(),
            meters: meters.keys().copied().collect(),
            groups: groups.keys().copied().collect(),
            issues,
        };
        meters.into_iter().for_each(|((dpid, meter), body)| self.set_meter(dpid, meter, Some(body)));
        groups.into_iter().for_each(|((dpid, group), body)| self.set_group(dpid, group, Some(body)));
        news.flows.extend(flows);
        news.labels.extend(labels);
        let is_new = |entry: &&(Dpid, VlanId)| before.entries.binary_search(entry).is_err();
        planned.entries.iter().filter(is_new).for_each(|(dpid, lane)| self.enter(*dpid, *lane, news));
        for way in planned.ways.iter().filter(|way| before.ways.binary_search(way).is_err()) {
            let n = self.uses.entry(*way).or_default();
            *n += 1;
            if *n == 1 {
                self.stale_ways.insert(*way);
            }
        }
        planned.issues.iter().for_each(|issue| self.blueprint.issues.add(issue.clone()));
        self.parts.insert(part, planned);
    }

    /// Enters flows, switch by switch and in order: so what is looked at is near what was looked at before.
    fn put(&mut self, News { mut flows, labels }: News) {
        flows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        for (dpid, key, body) in flows {
            let cookie = body.cookie;
            let Some(before) = self.blueprint.put(dpid, key.clone(), body) else { continue };
            self.log.push(Was { dpid, key, body: before });
            if let Some(label) = labels.get(&cookie) {
                self.blueprint.labels.entry(cookie).or_insert_with(|| label.clone());
            }
        }
    }

    fn remove(&mut self, dpid: Dpid, key: &FlowKey) {
        if let Some(before) = self.blueprint.remove(dpid, key) {
            self.log.push(Was { dpid, key: key.clone(), body: Some(before) });
        }
    }

    /// Frames of a lane enter a switch by its links: the first to say so has a flow made for it.
    fn enter(&mut self, dpid: Dpid, lane: VlanId, news: &mut News) {
        let n = self.entries.entry((dpid, lane)).or_default();
        *n += 1;
        if *n == 1 {
            news.admit(dpid, lane);
        }
    }

    /// A switch takes part from now on: what others have it do already.
    fn admit_all(&mut self, dpid: Dpid) {
        let mut news = News::default();
        let entries = self.entries.keys().filter(|(here, _)| *here == dpid);
        entries.for_each(|(_, lane)| news.admit(dpid, *lane));
        self.put(news);
        self.stale_ways.extend(self.uses.keys().filter(|(from, ..)| *from == dpid));
    }

    fn leave(&mut self, dpid: Dpid, lane: VlanId) {
        let Some(n) = self.entries.get_mut(&(dpid, lane)) else { return };
        *n -= 1;
        if *n == 0 {
            self.entries.remove(&(dpid, lane));
            self.remove(dpid, &lane_entry(lane).0);
        }
    }
}

/// Writes the lane (and perhaps the leave to flood) into the metadata.
fn write_lane(lane: VlanId, may_flood: bool) -> Instruction {
    let flood = if may_flood { layout::MAY_FLOOD } else { 0 };
    Instruction::WriteMetadata {
        metadata: layout::lane(lane) | flood,
        mask: layout::LANE_MASK | layout::MAY_FLOOD,
    }
}

/// Frames of a lane.
pub(crate) fn in_lane(lane: VlanId) -> Match {
    Match::new().metadata(layout::lane(lane), layout::LANE_MASK)
}

/// Frames of a lane that may go straight to a host. What another switch floods may not: where it does not know the host, it
/// might come by here again.
pub(crate) fn directed(lane: VlanId) -> Match {
    Match::new().metadata(layout::lane(lane), layout::LANE_MASK | layout::FLOODED)
}

/// Output as the frame is, which between ADMIT and the output means without the lane's tag.
fn output(port: PortNo) -> Vec<Action> {
    vec![Action::output(port)]
}

/// Tags with the lane.
fn push(lane: VlanId) -> [Action; 2] {
    [Action::PushVlan(0x8100), Action::SetField(Oxm::new(Field::VlanVid, Oxm::vlan(lane).value))]
}

/// Tags with the lane, and sends to another switch. `tags`: there may be one underneath, which would lend the new one its
/// priority (OpenFlow 1.3.5 §5.12.1); between switches that says what is flooded.
pub(crate) fn carry(lane: VlanId, tags: bool, send: Action) -> Vec<Action> {
    let plain = tags.then(|| Action::SetField(Oxm::new(Field::VlanPcp, 0)));
    push(lane).into_iter().chain(plain).chain([send]).collect()
}

/// Output with the tag of the lane.
pub(crate) fn output_tagged(lane: VlanId, port: PortNo) -> Vec<Action> {
    let [push, set] = push(lane);
    vec![push, set, Action::output(port)]
}

/// The whole frame to the controller.
pub(crate) fn punt() -> Instruction {
    Instruction::ApplyActions(vec![Action::controller(NO_BUFFER_LEN)])
}
