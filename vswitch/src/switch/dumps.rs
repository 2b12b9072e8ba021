//! Long replies, a part at a time, so that what others ask is answered between the parts.
//!
//! What a reply is made of is chosen at once, when its turn comes; each part says how those flows are when it is made.
//! So a flow that is there from the request to the last part is said exactly once, whatever comes, goes and changes
//! meanwhile; one that goes before its part is made is left out, one that comes later is not in it. OpenFlow (1.3.5
//! §7.3.5) promises no snapshot.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use lookup::Index;
use openflow::{FlowStatsRequest, Message, MultipartReply, Reply, Xid};
use packet::Instant;

use super::flows::Filter;
use super::record::FlowRecord;
use super::{Switch, sessions};
use crate::ConnId;

/// Flows of one part.
const PART: usize = 512;
/// Names of flows that may be kept for the sake of replies without looking whether they are needed.
const SPARE_HEIRS: usize = 4096;

/// A reply that is not complete.
#[derive(Debug)]
struct Dump {
    xid: Xid,
    wanted: FlowStatsRequest,
    /// What is still to be said; none while nothing was chosen.
    rest: Option<Rest>,
    /// Barriers that were asked for behind it.
    barriers: Vec<Xid>,
}

/// The flows of a reply and how many were said.
#[derive(Debug)]
struct Rest {
    flows: Arc<[Index]>,
    n_said: usize,
}

/// What was chosen last: who asks for the same while nothing changes gets the same.
#[derive(Debug)]
struct Choice {
    wanted: FlowStatsRequest,
    /// Of the flows.
    version: u64,
    flows: Arc<[Index]>,
}

/// The replies that are not complete.
#[derive(Debug, Default)]
pub(super) struct Dumps {
    /// Of each connection, in the order of its requests; never empty.
    by_conn: BTreeMap<ConnId, VecDeque<Dump>>,
    /// Those connections, in the order of their turns.
    turns: VecDeque<ConnId>,
    latest: Option<Choice>,
    /// Flows that were given a new name since they were chosen, by their old one. May hold more than is needed.
    heirs: HashMap<Index, Index>,
    /// So many of them, and it is time to look what is needed.
    max_heirs: usize,
}

impl Dumps {
    fn push(&mut self, conn: ConnId, dump: Dump) {
        let of_conn = self.by_conn.entry(conn).or_default();
        if of_conn.is_empty() {
            self.turns.push_back(conn);
        }
        of_conn.push_back(dump);
    }

    /// The connection whose turn it is, of those that keep up; it is the last in line from now on.
    fn next_turn(&mut self, keeps_up: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        let at = self.turns.iter().position(|&conn| keeps_up(conn))?;
        let conn = self.turns.remove(at)?;
        self.turns.push_back(conn);
        Some(conn)
    }

    /// The reply that is being said to a connection.
    fn current(&mut self, conn: ConnId) -> Option<&mut Dump> {
        self.by_conn.get_mut(&conn)?.front_mut()
    }

    /// That reply is complete.
    fn finish(&mut self, conn: ConnId) -> Option<Dump> {
        let of_conn = self.by_conn.get_mut(&conn)?;
        let done = of_conn.pop_front();
        if of_conn.is_empty() {
            self.forget(conn);
        }
        done
    }

    /// The connection is gone, or has everything.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.by_conn.remove(&conn);
        self.turns.retain(|other| *other != conn);
        if self.by_conn.is_empty() {
            *self = Self::default();
        }
    }

    /// Some reply can go on.
    pub(super) fn are_due(&self, keeps_up: impl Fn(ConnId) -> bool) -> bool {
        self.turns.iter().any(|&conn| keeps_up(conn))
    }

    fn lists(&self) -> impl Iterator<Item = &Arc<[Index]>> {
        self.by_conn.values().flatten().filter_map(|dump| dump.rest.as_ref()).map(|rest| &rest.flows)
    }

    /// The name under which a flow is known that is not under this one.
    fn heir(&self, mut flow: Index, is_known: impl Fn(Index) -> bool) -> Option<Index> {
        while let Some(&heir) = self.heirs.get(&flow) {
            if is_known(heir) {
                return Some(heir);
            }
            flow = heir;
        }
        None
    }
}

impl Switch {
    /// Begins to say what flows there are.
    pub(super) fn dump(&mut self, conn: ConnId, xid: Xid, wanted: FlowStatsRequest) {
        // It may have gone while the counts were brought up to date.
        if self.is_connected(conn) {
            self.dumps.push(conn, Dump { xid, wanted, rest: None, barriers: Vec::new() });
        }
    }

    /// Says the next part of one reply: of the connection that has waited longest.
    pub(super) fn go_on(&mut self, now: Instant) {
        let Some(conn) = self.dumps.next_turn(|conn| !sessions::is_paused(&self.conns, conn)) else { return };
        let rest = match self.dumps.current(conn) {
            Some(Dump { rest: Some(Rest { flows, n_said }), .. }) => {
                Rest { flows: flows.clone(), n_said: *n_said }
            }
            Some(Dump { wanted, .. }) => {
                let wanted = wanted.clone();
                Rest { flows: self.choose(wanted), n_said: 0 }
            }
            None => return,
        };
        self.say_part(now, conn, rest);
    }

    /// The flows of a reply.
    fn choose(&mut self, wanted: FlowStatsRequest) -> Arc<[Index]> {
        let version = self.flows.version();
        if let Some(latest) = &self.dumps.latest
            && latest.version == version
            && latest.wanted == wanted
        {
            return latest.flows.clone();
        }
        let flows: Arc<[Index]> = self.flows.select(&(&wanted).into()).into();
        self.dumps.latest = Some(Choice { wanted, version, flows: flows.clone() });
        flows
    }

    fn say_part(&mut self, now: Instant, conn: ConnId, Rest { flows, n_said }: Rest) {
        let end = flows.len().min(n_said + PART);
        let more = end < flows.len();
        let Some(dump) = self.dumps.current(conn) else { return };
        dump.rest = Some(Rest { flows: flows.clone(), n_said: end });
        let (xid, wanted) = (dump.xid, dump.wanted.clone());
        let filter = Filter::from(&wanted);
        let records = flows[n_said..end].iter().filter_map(|&flow| self.present(flow));
        let part = records.filter(|record| filter.admits(record)).map(|record| record.stats(now)).collect();
        let body = Reply::Flow(part);
        self.send(conn, xid, Message::MultipartReply(MultipartReply { more, body }));
        if !more {
            self.replied(conn);
            let done = self.dumps.finish(conn);
            let barriers = done.into_iter().flat_map(|dump| dump.barriers);
            barriers.for_each(|xid| self.send(conn, xid, Message::BarrierReply));
        }
    }

    /// A flow that was chosen, if it is still there, under whatever name.
    fn present(&self, flow: Index) -> Option<&FlowRecord> {
        self.flows.get(flow).or_else(|| {
            let heir = self.dumps.heir(flow, |flow| self.flows.get(flow).is_some())?;
            self.flows.get(heir)
        })
    }

    /// A flow goes on under another name: its counters begin anew.
    pub(super) fn inherit(&mut self, old: Index, new: Index) {
        if self.dumps.lists().next().is_none() {
            return;
        }
        self.dumps.heirs.insert(old, new);
        if self.dumps.heirs.len() > self.dumps.max_heirs.max(SPARE_HEIRS) {
            self.forget_heirs();
        }
    }

    /// Forgets the names that no reply needs.
    fn forget_heirs(&mut self) {
        let mut needed = HashMap::new();
        let mut seen: Vec<*const Index> = Vec::new();
        for flows in self.dumps.lists() {
            if seen.contains(&flows.as_ptr()) {
                continue;
            }
            seen.push(flows.as_ptr());
            for &flow in flows.iter() {
                let heir = self.dumps.heir(flow, |flow| self.flows.get(flow).is_some());
                needed.extend(heir.map(|heir| (flow, heir)));
            }
        }
        self.dumps.max_heirs = 2 * needed.len();
        self.dumps.heirs = needed;
    }

    /// Answers a barrier, behind the replies to what was asked before it.
    pub(super) fn pass_barrier(&mut self, conn: ConnId, xid: Xid) {
        match self.dumps.by_conn.get_mut(&conn).and_then(VecDeque::back_mut) {
            Some(dump) => dump.barriers.push(xid),
            None => self.send(conn, xid, Message::BarrierReply),
        }
    }
}

#[cfg(test)]
mod tests {
    use openflow::{FlowMod, FlowModFlags, Match, MultipartRequest, Request};

    use super::*;
    use crate::SwitchConfig;
    use crate::standalone::{CONN, Standalone};

    #[test]
    fn names_of_flows_are_not_kept_without_end() {
        let mut s = Standalone::new(SwitchConfig::default(), 1);
        let flow = |n| FlowMod { matches: Match::new().tcp_dst(n), ..FlowMod::default() };
        for n in 0..2 * PART as u16 {
            s.submit(Message::FlowMod(flow(n)));
        }
        s.settle();
        s.messages();
        let body = Request::Flow(FlowStatsRequest::default());
        s.submit(Message::MultipartRequest(MultipartRequest { more: false, body }));
        while s.switch.poll_timeout().is_none() {
            s.carry_effects();
            s.obey_one(0);
            s.report_one();
        }
        s.switch.handle_timeout(s.now);
        s.switch.set_paused(CONN, true);
        for round in 0..3 * SPARE_HEIRS {
            let n = PART + round % 100;
            s.flow(FlowMod { flags: FlowModFlags::RESET_COUNTS, ..flow(n as u16) });
        }
        let n_heirs = s.switch.dumps.heirs.len();
        assert!((1..=SPARE_HEIRS).contains(&n_heirs), "{n_heirs} names are kept");
        s.switch.set_paused(CONN, false);
        s.settle();
        assert!(s.switch.dumps.heirs.is_empty());
        assert_eq!(s.switch.replies_due(CONN), 0);
    }
}
