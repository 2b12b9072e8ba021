//! From one broadcast tree to another without a loop between: switches change at different times, so flooded frames are
//! neither sent nor taken by a further link before no switch takes any by a link that does not belong to the tree.
//!
//! Then whatever is halfway is part of the old tree, or part of the new one. A switch that is not connected keeps what it
//! has: alone it makes no loop, since its neighbours neither send nor take flooded frames but along the new tree. Two such
//! neighbours might, so a link between them counts until they are back or given up.
//!
//! A frame to a host that is known here may leave the tree, and come back to it where the host is not known. There it is
//! flooded, and whatever one switch floods, the next one floods too, so it never comes by here as if it were new. But where
//! it came by a link that does not belong to the tree, it is dropped. That is over as soon as everybody is told, unless
//! somebody cannot be: then nobody is told a new way that might lead there, and what is for the host is flooded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openflow::{Action, Instruction};
use packet::PortNo;

use crate::blueprint::{Change, FlowBody, FlowKey, Flows};
use crate::layout::{ADMIT, FORWARD, LANE, admit, forward};

/// What a switch is not told yet.
pub(crate) struct Limits<'a> {
    /// Ports of its links.
    pub links: BTreeSet<PortNo>,
    /// Flooded frames may cross none of these that they do not cross already.
    pub floods: bool,
    /// Whether a flow that leads to a host by one of these must wait, if there was none.
    pub waits: &'a dyn Fn(&FlowKey) -> bool,
}

/// The links by which a switch takes flooded frames.
#[derive(Debug, Default)]
pub(crate) struct Floods {
    /// None: by what it was sent last. Else until so many barriers are answered.
    taken: BTreeMap<PortNo, Option<u64>>,
    /// Barriers sent.
    n_sent: u64,
    /// Barriers answered.
    n_answered: u64,
    /// Flows that are to take them and do not yet.
    delayed: BTreeSet<FlowKey>,
    /// Ways to hosts that it is not told yet.
    ways: BTreeSet<FlowKey>,
}

impl Floods {
    /// Of a switch with these flows.
    pub fn of(flows: &Flows) -> Self {
        let taking = flows.iter().filter(|(_, body)| takes_floods(body));
        let taken = taking.filter_map(|(key, _)| Some((link(key)?, None))).collect();
        Self { taken, ..Self::default() }
    }

    /// The switch has these flows after all.
    pub fn read(&mut self, flows: &Flows) {
        self.taken.extend(Self::of(flows).taken);
    }

    /// By which links they may be taken.
    pub fn taken(&self) -> impl Iterator<Item = PortNo> + '_ {
        self.taken.keys().copied()
    }

    /// Whether they may be taken by a link.
    pub fn takes(&self, port: PortNo) -> bool {
        self.taken.contains_key(&port)
    }

    /// Whether some flows wait to take flooded frames.
    pub fn is_to_take_more(&self) -> bool {
        !self.delayed.is_empty()
    }

    /// Whether some flows wait, or a part of them.
    pub fn is_delayed(&self) -> bool {
        !self.delayed.is_empty() || !self.ways.is_empty()
    }

    /// Flows that waited for flooded frames.
    pub fn release(&mut self) -> BTreeSet<FlowKey> {
        std::mem::take(&mut self.delayed)
    }

    /// Ways that waited.
    pub fn release_ways(&mut self) -> BTreeSet<FlowKey> {
        std::mem::take(&mut self.ways)
    }

    /// A change was sent.
    pub fn note(&mut self, change: &Change) {
        let Some(port) = link(change.key()) else { return };
        match change {
            Change::Put(_, body) if takes_floods(body) => drop(self.taken.insert(port, None)),
            _ => {
                let until = self.n_sent + 1;
                self.taken.entry(port).and_modify(|taken| *taken = Some(until));
            }
        }
    }

    /// A barrier was sent behind the changes.
    pub fn barrier_sent(&mut self) {
        self.n_sent += 1;
    }

    /// The next barrier was answered.
    pub fn barrier_answered(&mut self) {
        self.n_answered += 1;
        self.taken.retain(|_, until| until.is_none_or(|until| until > self.n_answered));
    }

    /// A flow is not there after all.
    pub fn forget(&mut self, key: &FlowKey) {
        if let Some(port) = link(key) {
            self.taken.remove(&port);
        }
    }

    /// What can be sent within these limits.
    pub fn hold_back(&mut self, changes: Vec<Change>, installed: &Flows, limits: &Limits<'_>) -> Vec<Change> {
        let one = |change: Change| {
            self.ways.remove(change.key());
            let Change::Put(key, body) = &change else { return Some(change) };
            let is_new = || !installed.contains_key(key) && is_way(key, body, &limits.links);
            if is_new() && (limits.waits)(key) {
                self.ways.insert(key.clone());
                return None;
            }
            let less = || self.less(key, body, installed.get(key), &limits.links);
            let Some(less) = limits.floods.then(less).flatten() else { return Some(change) };
            self.delayed.insert(key.clone());
            let less = Arc::new(FlowBody { cookie: body.cookie, instructions: less });
            (installed.get(key) != Some(&less)).then(|| Change::Put(key.clone(), less))
        };
        changes.into_iter().filter_map(one).collect()
    }

    /// A flow without what must wait. None: nothing must.
    fn less(
        &self,
        key: &FlowKey,
        body: &FlowBody,
        before: Option<&Arc<FlowBody>>,
        links: &BTreeSet<PortNo>,
    ) -> Option<Vec<Instruction>> {
        let mut less = body.instructions.clone();
        if let Some(port) = link(key) {
            if takes_floods(body) && self.taken.get(&port) != Some(&None) {
                less.clear();
            }
        } else if key.table == FORWARD && [forward::FLOOD, forward::GROUP].contains(&key.priority) {
            let before: BTreeSet<PortNo> = before.into_iter().flat_map(|before| outputs(before)).collect();
            let waits = |action: &Action| matches!(action, Action::Output { port, .. } if links.contains(port) && !before.contains(port));
            for instruction in &mut less {
                if let Instruction::ApplyActions(actions) = instruction {
                    actions.retain(|action| !waits(action));
                }
            }
        }
        (less != body.instructions).then_some(less)
    }
}

/// What a flow applies to its frames.
fn actions(body: &FlowBody) -> impl Iterator<Item = &Action> {
    body.instructions.iter().flat_map(|instruction| match instruction {
        Instruction::ApplyActions(actions) => &actions[..],
        _ => &[],
    })
}

/// Ports that a flow floods by.
fn outputs(body: &FlowBody) -> impl Iterator<Item = PortNo> + '_ {
    actions(body).filter_map(|action| match action {
        Action::Output { port, .. } => Some(*port),
        _ => None,
    })
}

/// Whether a flow leads to a host by one of these links, or several of them.
fn is_way(key: &FlowKey, body: &FlowBody, links: &BTreeSet<PortNo>) -> bool {
    key.table == FORWARD
        && [forward::UNICAST, forward::UNICAST_BACK].contains(&key.priority)
        && actions(body).any(|action| match action {
            Action::Output { port, .. } => links.contains(port),
            Action::Group(_) => true,
            _ => false,
        })
}

/// The link whose flooded frames a flow takes, or might.
fn link(key: &FlowKey) -> Option<PortNo> {
    key.is_at(ADMIT, admit::FLOODED).then(|| key.matches.ingress())?
}

fn takes_floods(body: &FlowBody) -> bool {
    body.instructions.contains(&Instruction::GotoTable(LANE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openflow::{Cookie, Match};

    fn flow(port: u32, takes: bool) -> (FlowKey, Arc<FlowBody>) {
        let instructions = takes.then_some(Instruction::GotoTable(LANE)).into_iter().collect();
        let key = FlowKey::new(ADMIT, admit::FLOODED, Match::new().in_port(PortNo(port)));
        (key, Arc::new(FlowBody { cookie: Cookie(1), instructions }))
    }

    fn put(port: u32, takes: bool) -> Change {
        let (key, body) = flow(port, takes);
        Change::Put(key, body)
    }

    fn limits<const N: usize>(links: [u32; N], floods: bool) -> Limits<'static> {
        Limits { links: links.map(PortNo).into(), floods, waits: &|_| false }
    }

    #[test]
    fn a_link_that_is_given_up_counts_until_that_is_confirmed() {
        let mut floods = Floods::of(&[flow(1, true), flow(2, false)].into());
        assert_eq!(floods.taken().collect::<Vec<_>>(), [PortNo(1)]);
        floods.note(&put(1, false));
        floods.note(&put(3, true));
        floods.barrier_sent();
        floods.note(&Change::Delete(flow(3, true).0, Cookie(1)));
        floods.barrier_sent();
        assert_eq!(floods.taken().count(), 2);
        floods.barrier_answered();
        assert_eq!(floods.taken().collect::<Vec<_>>(), [PortNo(3)]);
        floods.barrier_answered();
        assert_eq!(floods.taken().count(), 0);
    }

    #[test]
    fn what_is_held_back_refuses_flooded_frames_and_comes_once() {
        let mut installed: Flows = [flow(1, true), flow(2, false)].into();
        let mut floods = Floods::of(&installed);
        let wanted = || vec![put(1, true), put(2, true), put(3, true)];
        let limits = limits([], true);
        assert_eq!(floods.hold_back(wanted(), &installed, &limits), [put(1, true), put(3, false)]);
        assert!(floods.is_delayed());
        installed.extend([flow(3, false)]);
        assert_eq!(floods.hold_back(wanted(), &installed, &limits), [put(1, true)]);
        assert_eq!(floods.release(), [flow(2, true).0, flow(3, true).0].into());
        assert!(!floods.is_delayed());
    }

    #[test]
    fn flooded_frames_leave_by_no_further_link_but_by_every_port_of_hosts() {
        let flood = |ports: &[u32]| {
            let actions = ports.iter().map(|port| Action::output(PortNo(*port))).collect();
            let key = FlowKey::new(FORWARD, forward::FLOOD, Match::ANY);
            let instructions = vec![Instruction::ApplyActions(actions)];
            (key, Arc::new(FlowBody { cookie: Cookie(1), instructions }))
        };
        let put = |ports: &[u32]| {
            let (key, body) = flood(ports);
            Change::Put(key, body)
        };
        let limits = limits([10, 11, 12], true);
        let mut floods = Floods::default();
        let changes = floods.hold_back(vec![put(&[1, 2, 10, 12])], &[flood(&[1, 10, 11])].into(), &limits);
        assert_eq!(changes, [put(&[1, 2, 10])]);
        assert_eq!(floods.hold_back(vec![put(&[1, 10])], &Flows::new(), &limits), [put(&[1])]);
        assert_eq!(floods.hold_back(vec![put(&[1, 10])], &[flood(&[1])].into(), &limits), []);
        assert!(floods.is_delayed());
    }

    #[test]
    fn ways_by_links_wait_where_there_was_none() {
        let way = |n: u64, action: Action| {
            let key = FlowKey::new(FORWARD, forward::UNICAST, Match::ANY.metadata(n, n));
            let instructions = vec![Instruction::ApplyActions(vec![action])];
            (key, Arc::new(FlowBody { cookie: Cookie(1), instructions }))
        };
        let put = |n, action| {
            let (key, body) = way(n, action);
            Change::Put(key, body)
        };
        let (here, link) = (Action::output(PortNo(1)), Action::output(PortNo(10)));
        let group = Action::Group(openflow::GroupId(7));
        let mut floods = Floods::default();
        let wanted = vec![put(1, here.clone()), put(2, link.clone()), put(3, group.clone()), put(4, link)];
        let limits = Limits { waits: &|_| true, ..limits([10], false) };
        let told = floods.hold_back(wanted.clone(), &[way(4, group)].into(), &limits);
        assert_eq!(told, [wanted[0].clone(), wanted[3].clone()]);
        // One of them goes after all.
        let gone = vec![Change::Delete(wanted[1].key().clone(), Cookie(1))];
        assert_eq!(floods.hold_back(gone.clone(), &Flows::new(), &limits), gone);
        assert!(floods.is_delayed() && !floods.is_to_take_more());
        assert_eq!(floods.release_ways(), [wanted[2].key().clone()].into());
        assert!(!floods.is_delayed());
    }
}
