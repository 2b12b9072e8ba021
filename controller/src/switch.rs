//! A switch as the controller manages it: what it holds, what it was told, what it confirmed.

use std::collections::{BTreeMap, VecDeque};

use openflow::{Dpid, FlowStats, PortDesc, Reply, SwitchDesc, Xid};
use packet::Instant;

use crate::blueprint::{Change, FlowBody, FlowKey, Flows};
use crate::effect::{ConnId, Token};
use crate::view::At;

/// What is known of a switch beside the view.
#[derive(Debug, Default)]
pub(crate) struct Managed {
    /// The connection, while there is one.
    pub conn: Option<ConnId>,
    /// When the connection went.
    pub lost: Option<Instant>,
    /// Nothing is changed before: discovery must first find again what the flows were planned for.
    pub hold_until: Option<Instant>,
    /// Flows of the blueprint as far as they were read, or sent since.
    pub installed: Flows,
    /// Flows the switch refused, and why. They are not sent again unless they change.
    pub refused: BTreeMap<FlowKey, (FlowBody, String)>,
    /// Generations sent but not confirmed, oldest first.
    pub in_flight: VecDeque<u64>,
    /// Generation last confirmed.
    pub confirmed: u64,
    /// Discovery of its ports has begun.
    pub discovering: bool,
    /// What it says of itself.
    pub desc: SwitchDesc,
}

impl Managed {
    /// The changes that lead to `wanted`.
    pub(crate) fn changes(&self, wanted: &Flows) -> Vec<Change> {
        let mut changes = crate::blueprint::diff(&self.installed, wanted);
        changes.retain(|change| match change {
            Change::Put(key, body) => self.refused.get(key).is_none_or(|(refused, _)| refused != body),
            Change::Delete(..) => true,
        });
        changes
    }

    /// Notes that a change was sent.
    pub(crate) fn note(&mut self, change: &Change) {
        change.apply(&mut self.installed);
        self.refused.remove(change.key());
    }

    /// Notes that a change was refused: the flow is not there.
    pub(crate) fn refuse(&mut self, key: FlowKey, body: FlowBody, error: String) {
        if self.installed.get(&key) == Some(&body) {
            self.installed.remove(&key);
        }
        self.refused.insert(key, (body, error));
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// When it was made.
    pub since: Instant,
    /// The switch, once it said so.
    pub dpid: Option<Dpid>,
    /// Number of tables.
    pub n_tables: u8,
    /// What the handshake has brought so far.
    pub desc: Option<SwitchDesc>,
    pub ports: Option<Vec<PortDesc>>,
    pub flows: Option<Vec<FlowStats>>,
    /// The handshake is over.
    pub ready: bool,
    last_xid: u32,
    pending: BTreeMap<Xid, Pending>,
}

/// What a transaction is for.
#[derive(Debug)]
pub(crate) enum Pending {
    Features,
    /// Part of the handshake; parts received so far.
    Handshake(Option<Reply>),
    /// A request of the shell; parts received so far.
    Request(Token, Option<Reply>),
    /// A change of the blueprint.
    Change(Box<Change>),
    /// Everything up to this generation was sent before.
    Barrier(u64),
    /// The probes of these ports were sent before.
    Probed(Vec<At>),
    /// A change on behalf of the shell.
    Mod(Token),
    /// The end of such changes.
    ModBarrier(Token),
}

impl Session {
    pub(crate) fn new(since: Instant) -> Self {
        Self {
            since,
            dpid: None,
            n_tables: 0,
            desc: None,
            ports: None,
            flows: None,
            ready: false,
            last_xid: 0,
            pending: BTreeMap::new(),
        }
    }

    /// A fresh transaction.
    pub(crate) fn xid(&mut self, pending: Pending) -> Xid {
        let xid = self.bare_xid();
        self.pending.insert(xid, pending);
        xid
    }

    /// A transaction without an answer.
    pub(crate) fn bare_xid(&mut self) -> Xid {
        self.last_xid = self.last_xid.checked_add(1).unwrap_or(1);
        Xid(self.last_xid)
    }

    pub(crate) fn take(&mut self, xid: Xid) -> Option<Pending> {
        self.pending.remove(&xid)
    }

    pub(crate) fn put_back(&mut self, xid: Xid, pending: Pending) {
        self.pending.insert(xid, pending);
    }

    /// Everything sent before this barrier went through: changes that were not refused are done.
    pub(crate) fn settle_before(&mut self, barrier: Xid) {
        self.pending.retain(|xid, pending| {
            *xid > barrier || !matches!(pending, Pending::Change(_) | Pending::Mod(_))
        });
    }

    /// Forgets what was asked under this token.
    pub(crate) fn forget(&mut self, token: Token) {
        self.pending.retain(|_, pending| match pending {
            Pending::Mod(t) | Pending::ModBarrier(t) | Pending::Request(t, _) => *t != token,
            _ => true,
        });
    }

    /// Requests of the shell that will not be answered.
    pub(crate) fn orphans(self) -> Vec<Token> {
        let token = |pending| match pending {
            Pending::Request(token, _) | Pending::ModBarrier(token) => Some(token),
            _ => None,
        };
        self.pending.into_values().filter_map(token).collect()
    }
}
