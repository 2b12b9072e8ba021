//! Ways that an operator lays out: STEER takes their traffic out of its lane, as that of chains, and each leg is a lane.
//!
//! A leg passes no switch twice, so in its lane a switch need not know whence a frame came. The backup is a way of its own
//! that shares no link with the first. The switch where both begin falls back on it by itself when its own link is dead;
//! what dies farther off is healed by the controller, which looks for a first way once more.

use std::collections::{BTreeMap, BTreeSet};

use openflow::{Action, Bucket, Dpid, GroupType, Instruction, ports};
use packet::VlanId;

use super::chains::FreeLanes;
use super::copies::Side;
use super::{Draft, Part, Planner, Slot, carry, in_lane, output, output_tagged, write_lane};
use crate::graph::{Graph, Legs, Shunned};
use crate::groups::GroupBody;
use crate::lanes::Course;
use crate::layout::{self, FORWARD, STEER, forward, steer};
use crate::view::{At, View};

/// The ways of a course: there, there by the backup, back, back by the backup; of each the lanes of its legs. None: no VLAN is
/// left.
type Lanes = [Option<Vec<VlanId>>; 4];

/// The lanes of all courses.
#[derive(Debug, Default)]
pub(super) struct Tracks(BTreeMap<String, Lanes>);

impl Tracks {
    /// Every lane of a leg.
    pub(super) fn all(&self) -> impl Iterator<Item = VlanId> + '_ {
        self.0.values().flatten().flatten().flatten().copied()
    }
}

/// One direction of a course.
struct Heading<'a> {
    course: &'a Course,
    from: At,
    to: At,
    stops: Vec<Dpid>,
    lanes: [Option<&'a [VlanId]>; 2],
}

/// What a course avoids.
fn shunned(course: &Course) -> Shunned {
    Shunned { switches: course.avoid.clone(), links: course.avoid_links.clone() }
}

/// The switches that a course must pass in order, its ends among them.
fn stops(course: &Course) -> Option<Vec<Dpid>> {
    let via = course.via.as_ref()?;
    Some([course.from.0].into_iter().chain(via.iter().copied()).chain([course.to.0]).collect())
}

/// Whether there is a way for a course.
pub(crate) fn has_way(graph: &Graph, course: &Course) -> bool {
    stops(course).is_some_and(|stops| graph.route(&stops, &shunned(course)).is_some())
}

impl Planner {
    /// Gives the legs of all courses their lanes, of those that chains have left.
    pub(super) fn allocate_tracks(&mut self, free: &mut FreeLanes, stale: &mut BTreeSet<Part>) {
        let mut now = Tracks::default();
        for (name, course) in &self.lanes().courses {
            let n_legs = course.via.as_ref().map_or(0, Vec::len) + 1;
            let mut take = |way: &str, wanted: bool| {
                if wanted { free.take_all(&course.label, way, n_legs) } else { None }
            };
            let lanes = [
                take("there", true),
                take("there/backup", course.backup),
                take("back", course.symmetric),
                take("back/backup", course.symmetric && course.backup),
            ];
            now.0.insert(name.clone(), lanes);
        }
        let (all, had): (BTreeSet<VlanId>, BTreeSet<VlanId>) =
            (now.all().collect(), self.tracks.all().collect());
        for vlan in all.symmetric_difference(&had) {
            stale.extend(self.blueprint.switches.keys().map(|dpid| Part::Foreign(*vlan, *dpid)));
        }
        let differing = now.0.iter().filter(|(name, lanes)| self.tracks.0.get(*name) != Some(lanes));
        stale.extend(differing.map(|(name, _)| Part::Course(name.clone())));
        self.tracks = now;
    }

    /// The flows of a course.
    pub(super) fn course(&self, draft: &mut Draft, view: &View, name: &str) {
        let (Some(course), Some(lanes)) = (self.lanes().courses.get(name), self.tracks.0.get(name)) else {
            return;
        };
        let [there, there_backup, back, back_backup] = lanes.each_ref().map(Option::as_deref);
        let Some(stops) = stops(course) else { return self.no_way(draft, course) };
        let reversed = stops.iter().rev().copied().collect();
        let mut headings =
            vec![Heading { course, from: course.from, to: course.to, stops, lanes: [there, there_backup] }];
        if course.symmetric {
            let (from, to) = (course.to, course.from);
            headings.push(Heading { course, from, to, stops: reversed, lanes: [back, back_backup] });
        }
        for heading in headings {
            self.head(draft, view, &heading);
        }
    }

    fn head(&self, draft: &mut Draft, view: &View, heading: &Heading<'_>) {
        let Heading { course, stops, lanes: [first_lanes, second_lanes], .. } = heading;
        let Some(first) = self.graph.route(stops, &shunned(course)) else {
            let names: Vec<String> = stops.iter().map(|dpid| view.name(*dpid)).collect();
            draft.issue(&course.label, format!("there is no way by {}", names.join(", ")));
            return self.no_way(draft, course);
        };
        let Some(first_lanes) = *first_lanes else {
            draft.refuse(&course.label, "no VLAN is left for its legs".to_owned());
            return self.no_way(draft, course);
        };
        let second = second_lanes.and_then(|lanes| {
            let second = self.graph.beside(stops, &first, &shunned(course))?;
            Some((second, lanes))
        });
        if course.backup && second.is_none() {
            draft.issue(&course.label, "there is no second way beside the first".to_owned());
        }
        // Both ends at one switch, and nothing to pass on the way.
        let Some(&entry) = first_lanes.first().filter(|_| first.iter().any(|leg| !leg.is_empty())) else {
            return;
        };
        self.steer_course(draft, heading, Some(entry));
        self.legs(draft, heading, &first, first_lanes);
        if let Some((second, lanes)) = second {
            self.legs(draft, heading, &second, lanes);
            self.fall_back(draft, heading, (&first, first_lanes), (&second, lanes));
        }
    }

    /// Nothing passes, if the course says so; else all goes its usual way.
    fn no_way(&self, draft: &mut Draft, course: &Course) {
        if !course.strict {
            return;
        }
        let heading = |from, to| Heading { course, from, to, stops: vec![], lanes: [None, None] };
        self.steer_course(draft, &heading(course.from, course.to), None);
        if course.symmetric {
            self.steer_course(draft, &heading(course.to, course.from), None);
        }
    }

    /// What one end sends to hosts at the other enters the lane `entry`, or is dropped if there is none.
    fn steer_course(&self, draft: &mut Draft, heading: &Heading<'_>, entry: Option<VlanId>) {
        let instructions = match entry {
            Some(lane) => vec![write_lane(lane, false), Instruction::GotoTable(FORWARD)],
            None => vec![],
        };
        let (dpid, port) = heading.from;
        let lane = heading.course.lane;
        let hosts = self.lanes().hosts_at.get(&heading.to).into_iter().flatten();
        for (_, mac) in hosts.filter(|(own, _)| *own == lane) {
            let slot = Slot { dpid, table: STEER, priority: steer::COURSE, label: &heading.course.label };
            draft.put(slot, in_lane(lane).in_port(port).eth_dst(*mac), instructions.clone());
        }
    }

    /// The switches along a way. Where a leg ends, the next begins.
    fn legs(&self, draft: &mut Draft, heading: &Heading<'_>, legs: &Legs, lanes: &[VlanId]) {
        let label = &heading.course.label;
        let slot = |dpid| Slot { dpid, table: FORWARD, priority: forward::SEGMENT, label };
        for (idx, (leg, &lane)) in legs.iter().zip(lanes).enumerate() {
            for &out in leg {
                draft.enter(&self.graph, lane, out);
                draft.put(slot(out.0), in_lane(lane), act(carry(lane, true, Action::output(out.1))));
            }
            let Some(&end) = heading.stops.get(idx + 1) else { continue };
            draft.put(slot(end), in_lane(lane), act(self.onwards(heading, (legs, lanes), idx + 1)));
        }
    }

    /// What becomes of a frame where the leg before `next` ends.
    fn onwards(&self, heading: &Heading<'_>, (legs, lanes): (&Legs, &[VlanId]), next: usize) -> Vec<Action> {
        let before = legs.iter().take(next).rev().find_map(|leg| leg.last());
        let came_by = before.and_then(|at| self.graph.peer(*at));
        let later = legs.iter().zip(lanes).skip(next);
        match later.into_iter().find_map(|(leg, lane)| Some((leg.first()?, *lane))) {
            // Back where it came from: OpenFlow 1.3.5 §4.5.
            Some((out, lane)) if came_by == Some(*out) => carry(lane, true, Action::output(ports::IN_PORT)),
            Some((out, lane)) => carry(lane, true, Action::output(out.1)),
            None => {
                let lane = heading.course.lane;
                let tagged = self.lanes().lanes.get(&lane).is_some_and(|l| l.trunks.contains(&heading.to));
                let mut last = if tagged { output_tagged(lane, heading.to.1) } else { output(heading.to.1) };
                last.extend(self.copying(heading.to, Side::Received, came_by.map(|at| at.1)));
                last
            }
        }
    }

    /// Where both ways begin, the second serves while the first link is dead.
    fn fall_back(
        &self,
        draft: &mut Draft,
        heading: &Heading<'_>,
        (first, lanes): (&Legs, &[VlanId]),
        (second, others): (&Legs, &[VlanId]),
    ) {
        let dpid = heading.from.0;
        let begin = |legs: &Legs, lanes: &[VlanId]| {
            legs.iter().zip(lanes).find_map(|(leg, lane)| Some((*leg.first()?, *lane)))
        };
        let (Some((out, lane)), Some((other, beside))) = (begin(first, lanes), begin(second, others)) else {
            return;
        };
        if !self.support(dpid).failover {
            return draft.issue(
                &heading.course.label,
                "the switch where it begins has no fast-failover groups: the controller falls back"
                    .to_owned(),
            );
        }
        let bucket = |out: At, lane: VlanId| Bucket {
            weight: 0,
            watch_port: Some(out.1),
            watch_group: None,
            actions: carry(lane, true, Action::output(out.1)),
        };
        let Some(&entry) = lanes.first() else { return };
        let group = layout::group_of_lane(entry);
        let buckets = vec![bucket(out, lane), bucket(other, beside)];
        draft.groups.insert((dpid, group), GroupBody { group_type: GroupType::FastFailover, buckets });
        let slot = Slot { dpid, table: FORWARD, priority: forward::SEGMENT, label: &heading.course.label };
        draft.put(slot, in_lane(entry), act(vec![Action::Group(group)]));
    }
}

fn act(actions: Vec<Action>) -> Vec<Instruction> {
    vec![Instruction::ApplyActions(actions)]
}
