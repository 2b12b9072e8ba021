//! Long replies, a part at a time, so that what others ask is answered between the parts (limits: docs/limits.md).

use lookup::Index;
use openflow::{FlowStatsRequest, Message, MultipartReply, Reply, Xid};
use packet::Instant;

use super::Switch;
use crate::ConnId;

/// Flows of one part.
const PART: usize = 512;

/// A reply that is not complete.
#[derive(Debug)]
pub(super) struct Dump {
    conn: ConnId,
    xid: Xid,
    rest: Rest,
    /// Barriers that were asked for behind it.
    barriers: Vec<Xid>,
}

/// What is still to be said.
#[derive(Debug)]
enum Rest {
    /// Nothing was said yet: an earlier reply to the same connection is not complete.
    All(FlowStatsRequest),
    Flows(std::vec::IntoIter<Index>),
}

impl Dump {
    pub(super) fn conn(&self) -> ConnId {
        self.conn
    }
}

impl Switch {
    /// Begins to say what flows there are.
    pub(super) fn dump(&mut self, now: Instant, conn: ConnId, xid: Xid, wanted: FlowStatsRequest) {
        let dump = Dump { conn, xid, rest: Rest::All(wanted), barriers: Vec::new() };
        if self.dumps.iter().any(|other| other.conn == conn) {
            self.dumps.push_back(dump);
        } else {
            self.say_part(now, dump, 0);
        }
    }

    /// Says the next part of the first reply to each connection.
    pub(super) fn go_on(&mut self, now: Instant) {
        let mut served = Vec::new();
        for at in (0..self.dumps.len()).rev() {
            let conn = self.dumps[at].conn;
            let is_first = !self.dumps.iter().take(at).any(|other| other.conn == conn);
            if is_first && !self.is_paused(conn) && !served.contains(&conn) {
                served.push(conn);
                if let Some(dump) = self.dumps.remove(at) {
                    self.say_part(now, dump, at);
                }
            }
        }
    }

    /// Says a part; what is then still to be said is to be at this place.
    fn say_part(&mut self, now: Instant, mut dump: Dump, at: usize) {
        let mut flows = match dump.rest {
            Rest::All(wanted) => self.flows.select(&(&wanted).into()).into_iter(),
            Rest::Flows(flows) => flows,
        };
        let part = flows.by_ref().take(PART);
        // Flows that went since are left out.
        let part = part.filter_map(|flow| self.flows.get(flow)).map(|record| record.stats(now)).collect();
        let more = flows.len() > 0;
        let reply = MultipartReply { more, body: Reply::Flow(part) };
        self.send(dump.conn, dump.xid, Message::MultipartReply(reply));
        if more {
            dump.rest = Rest::Flows(flows);
            self.dumps.insert(at, dump);
        } else {
            dump.barriers.into_iter().for_each(|xid| self.send(dump.conn, xid, Message::BarrierReply));
        }
    }

    /// Answers a barrier, behind the replies to what was asked before it.
    pub(super) fn pass_barrier(&mut self, conn: ConnId, xid: Xid) {
        match self.dumps.iter_mut().rev().find(|dump| dump.conn == conn) {
            Some(dump) => dump.barriers.push(xid),
            None => self.send(conn, xid, Message::BarrierReply),
        }
    }
}
