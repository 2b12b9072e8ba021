//! Ways that pass some switches and avoid others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use openflow::Dpid;

use super::Graph;
use crate::view::At;

/// What a way does not take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shunned {
    /// Switches, unless they are its ends or it must pass them.
    pub switches: BTreeSet<Dpid>,
    /// Ports of links, at either end.
    pub links: BTreeSet<At>,
}

/// The ports by which a way leaves each switch, leg by leg between the switches that it must pass.
pub(crate) type Legs = Vec<Vec<At>>;

impl Graph {
    /// A way from the first of `stops` through all of them, each leg as short as can be. A leg to where one is already has no
    /// ports. None: there is no such way.
    pub(crate) fn route(&self, stops: &[Dpid], shunned: &Shunned) -> Option<Legs> {
        let mut legs = Legs::new();
        for pair in stops.windows(2) {
            let [from, to] = pair else { continue };
            legs.push(self.leg(*from, *to, shunned)?);
        }
        Some(legs)
    }

    /// A way beside `first` that shares no link with it, and no switch in between if that is possible.
    pub(crate) fn beside(&self, stops: &[Dpid], first: &Legs, shunned: &Shunned) -> Option<Legs> {
        let mut links = shunned.clone();
        let taken = first.iter().flatten().copied();
        links.links.extend(taken.flat_map(|at| [Some(at), self.peer(at)]).flatten());
        let mut switches = links.clone();
        switches.switches.extend(first.iter().flatten().map(|at| at.0));
        self.route(stops, &switches).or_else(|| self.route(stops, &links))
    }

    fn leg(&self, from: Dpid, to: Dpid, shunned: &Shunned) -> Option<Vec<At>> {
        if !self.idx.contains_key(&from) {
            return None;
        }
        let mut came: BTreeMap<Dpid, At> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(here) = queue.pop_front().filter(|_| !came.contains_key(&to)) {
            for out in self.ports(here).map(|port| (here, port)) {
                let Some(peer) = self.peer(out) else { continue };
                let is_shunned = (peer.0 != to && shunned.switches.contains(&peer.0))
                    || [out, peer].iter().any(|at| shunned.links.contains(at));
                if !is_shunned && peer.0 != from && !came.contains_key(&peer.0) {
                    came.insert(peer.0, out);
                    queue.push_back(peer.0);
                }
            }
        }
        let (mut leg, mut here) = (Vec::new(), to);
        while here != from {
            let out = *came.get(&here)?;
            leg.push(out);
            here = out.0;
        }
        leg.reverse();
        Some(leg)
    }
}
