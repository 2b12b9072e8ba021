//! A switch as the controller manages it: what it holds, what it was told, what it confirmed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use openflow::{Dpid, FlowStats, GroupDesc, GroupId, MeterConfig, MeterId, PortDesc, Reply, SwitchDesc, Xid};
use packet::Instant;

use crate::blueprint::{Change, FlowBody, FlowKey, Flows};
use crate::effect::{ConnId, Token};
use crate::engine::{Claim, Rejections};
use crate::floods::{Floods, Limits};
use crate::groups::{GroupChange, Groups, Support, diff_groups};
use crate::meters::{MeterChange, Meters, diff_meters};
use crate::view::At;

/// Which flows of a switch may not be as they are wanted.
#[derive(Debug)]
pub(crate) enum Stale {
    /// Any.
    All,
    /// These.
    Keys(Vec<FlowKey>),
}

impl Default for Stale {
    fn default() -> Self {
        Self::Keys(Vec::new())
    }
}

impl Stale {
    /// And these, too.
    pub(crate) fn add(&mut self, more: impl IntoIterator<Item = FlowKey>) {
        match self {
            Self::All => {}
            Self::Keys(keys) => keys.extend(more),
        }
    }
}

/// What is known of a switch beside the view.
#[derive(Debug, Default)]
pub(crate) struct Managed {
    /// The connection, while there is one.
    pub conn: Option<ConnId>,
    /// When the connection went.
    pub lost: Option<Instant>,
    /// Nothing is changed before: discovery must first find again what the flows were planned for.
    pub hold_until: Option<Instant>,
    /// Then it is changed, whatever was not found again.
    pub hold_limit: Instant,
    /// Flows of the blueprint as far as they were read, or sent since.
    pub installed: Flows,
    /// Links by which it takes flooded frames.
    pub floods: Floods,
    /// Where `installed` may differ from what is wanted, and was not refused.
    pub stale: Stale,
    /// Its groups, as far as they were read, or sent since.
    pub groups: Groups,
    /// They may not be as they are wanted.
    pub groups_stale: bool,
    /// Its meters, as far as they were read, or sent since.
    pub meters: Meters,
    /// They may not be as they are wanted.
    pub meters_stale: bool,
    /// Flows the switch refused, and why. They are not sent again unless they change, or to try once more.
    pub refused: BTreeMap<FlowKey, (Arc<FlowBody>, String)>,
    /// The next changes include what was refused.
    pub try_refused: bool,
    /// Generations sent but not confirmed, oldest first.
    pub in_flight: VecDeque<u64>,
    /// A bundle was refused: changes go one by one until all that is wanted is confirmed, so that it shows which is at fault.
    pub plain: bool,
    /// Generation last confirmed.
    pub confirmed: u64,
    /// Changes sent so far.
    pub n_changes: u64,
    /// When its flows are compared next.
    pub next_audit: Option<Instant>,
    /// Comparisons so far.
    pub n_audits: u32,
    /// Comparisons in a row that found a difference.
    pub n_drifts: u32,
    /// Answers its hosts were given in the place of others.
    pub rejections: Rejections,
    /// Discovery of its ports has begun.
    pub discovering: bool,
    /// It asks about frames it has no flow for.
    pub asks: bool,
    /// Whether it is to, and what it knows already, must be looked at again.
    pub asks_stale: bool,
    /// What it says of itself.
    pub desc: SwitchDesc,
}

impl Managed {
    /// The changes that would lead to `wanted`.
    pub(crate) fn pending(&self, wanted: &Flows) -> Vec<Change> {
        self.worth(crate::blueprint::diff(&self.installed, wanted))
    }

    /// Without what was refused already.
    fn worth(&self, mut changes: Vec<Change>) -> Vec<Change> {
        changes.retain(|change| match change {
            Change::Put(key, body) => {
                self.try_refused || self.refused.get(key).is_none_or(|(refused, _)| refused != body)
            }
            Change::Delete(..) => true,
        });
        changes
    }

    /// What it holds was read.
    pub(crate) fn set_installed(&mut self, installed: Flows) {
        self.floods = Floods::of(&installed);
        self.installed = installed;
        self.stale = Stale::All;
    }

    /// A barrier was sent behind all that this generation wants.
    pub(crate) fn barrier_sent(&mut self, generation: u64) {
        self.in_flight.push_back(generation);
        self.floods.barrier_sent();
    }

    /// The next barrier was answered.
    pub(crate) fn barrier_answered(&mut self) {
        self.in_flight.pop_front();
        self.floods.barrier_answered();
    }

    /// The changes that lead to `wanted`, which are sent now: what the limits let pass.
    pub(crate) fn changes(&mut self, wanted: &Flows, limits: Option<&Limits<'_>>) -> Vec<Change> {
        if limits.is_none_or(|limits| !limits.floods) {
            self.stale.add(self.floods.release());
        }
        self.refused.retain(|key, _| wanted.contains_key(key));
        let changes = match std::mem::take(&mut self.stale) {
            Stale::All => self.pending(wanted),
            Stale::Keys(mut keys) => {
                keys.sort_unstable();
                keys.dedup();
                self.worth(crate::blueprint::diff_of(&self.installed, wanted, &keys))
            }
        };
        self.try_refused = false;
        match limits {
            Some(limits) => self.floods.hold_back(changes, &self.installed, limits),
            None => changes,
        }
    }

    /// What was refused gets another chance with the next changes. Whether there is any.
    pub(crate) fn retry_refused(&mut self) -> bool {
        self.try_refused = !self.refused.is_empty();
        if self.try_refused {
            self.stale = Stale::All;
        }
        self.try_refused
    }

    /// Notes that a change was sent. What was there before.
    pub(crate) fn note(&mut self, change: &Change) -> Option<Arc<FlowBody>> {
        self.n_changes += 1;
        self.floods.note(change);
        change.apply(&mut self.installed)
    }

    /// The changes of groups that lead to `wanted`, which are sent now: before those of flows, and behind them.
    pub(crate) fn group_changes(&mut self, wanted: &Groups) -> (Vec<GroupChange>, Vec<GroupChange>) {
        if std::mem::take(&mut self.groups_stale) {
            diff_groups(&self.groups, wanted)
        } else {
            Default::default()
        }
    }

    /// The changes of meters that lead to `wanted`, which are sent now: before those of flows, and behind them.
    pub(crate) fn meter_changes(&mut self, wanted: &Meters) -> (Vec<MeterChange>, Vec<MeterChange>) {
        if std::mem::take(&mut self.meters_stale) {
            diff_meters(&self.meters, wanted)
        } else {
            Default::default()
        }
    }

    /// Notes that a group is changed.
    pub(crate) fn note_group(&mut self, change: &GroupChange) {
        self.n_changes += 1;
        change.apply(&mut self.groups);
    }

    /// Takes back what was noted of a bundle that did not take effect.
    pub(crate) fn take_back(&mut self, Sent { flows: sent, groups }: Sent) {
        self.stale = Stale::All;
        self.groups_stale = true;
        for GroupChange { group, before, after } in groups.into_iter().rev() {
            if self.groups.get(&group) == after.as_ref() {
                GroupChange { group, before: after, after: before }.apply(&mut self.groups);
            }
        }
        for (change, before) in sent {
            let after = match &change {
                Change::Put(_, body) => Some(body),
                Change::Delete(..) => None,
            };
            // What was sent later stands.
            if self.installed.get(change.key()) == after {
                match before {
                    Some(body) => drop(self.installed.insert(change.key().clone(), body)),
                    None => drop(self.installed.remove(change.key())),
                }
            }
        }
        self.floods.read(&self.installed);
    }

    /// Notes that a change was refused: the flow is not there.
    pub(crate) fn refuse(&mut self, key: FlowKey, body: Arc<FlowBody>, error: String) {
        if self.installed.get(&key) == Some(&body) {
            self.installed.remove(&key);
            self.floods.forget(&key);
        }
        self.refused.insert(key, (body, error));
    }
}

/// What was sent in a bundle.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Changes of flows, each with the flow that was there before.
    pub flows: Vec<(Change, Option<Arc<FlowBody>>)>,
    /// Changes of groups.
    pub groups: Vec<GroupChange>,
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
    pub support: Option<Support>,
    pub groups: Option<Vec<GroupDesc>>,
    pub max_meter: Option<u32>,
    pub meters: Option<Vec<MeterConfig>>,
    /// There while it waits for what becomes of an older connection of the same switch.
    pub claim: Option<Claim>,
    /// The handshake is over.
    pub ready: bool,
    /// Changes can be sent in a bundle.
    pub bundles: bool,
    /// Another controller is the master: nothing may be changed.
    pub slave: bool,
    last_bundle: u32,
    last_xid: u32,
    pending: BTreeMap<Xid, Pending>,
}

/// What a transaction is for.
#[derive(Debug)]
pub(crate) enum Pending {
    Features,
    /// A multipart request; parts received so far.
    Multipart(Purpose, Option<Box<Reply>>),
    /// A change of the blueprint.
    Change(Change),
    /// Everything up to this generation was sent before.
    Barrier(u64),
    /// As `Barrier`, but a bundle before it failed.
    Void,
    /// What is to be gone is sent before, what is to be there behind.
    Between,
    /// The first bundle of a connection, which shows whether there are any.
    BundleProbe,
    /// A step of a bundle that need not be answered.
    BundleStep,
    /// A change of a group.
    Group(GroupId),
    /// A change of a meter.
    Meter(MeterId),
    /// The end of a bundle.
    Commit(Box<Sent>),
    /// The role of master.
    Role,
    /// The probes of these ports were sent before.
    Probed(Vec<At>),
    /// A change on behalf of the shell.
    Mod(Token),
    /// The end of such changes.
    ModBarrier(Token),
    /// A message on behalf of the shell that one message answers.
    Exchange(Token),
}

/// Who wants a multipart reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The handshake.
    Handshake,
    /// The shell.
    Request(Token),
    /// Groups, at the handshake: a switch may have none.
    Groups,
    /// Meters likewise.
    Meters,
    /// The comparison of flows and groups; the number of changes sent before.
    Audit(u64),
    /// That of the number of flows.
    Count(u64),
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
            support: None,
            groups: None,
            max_meter: None,
            meters: None,
            claim: None,
            ready: false,
            bundles: false,
            slave: false,
            last_bundle: 0,
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

    /// Everything sent before this barrier went through: changes that were not refused are done, and returned.
    pub(crate) fn settle_before(&mut self, barrier: Xid) -> Vec<Change> {
        let later = self.pending.split_off(&barrier);
        let earlier = std::mem::replace(&mut self.pending, later);
        let mut done = Vec::new();
        for (xid, pending) in earlier {
            match pending {
                Pending::Change(change) => done.push(change),
                Pending::Mod(_)
                | Pending::BundleStep
                | Pending::Commit(_)
                | Pending::Group(_)
                | Pending::Meter(_) => {}
                other => drop(self.pending.insert(xid, other)),
            }
        }
        done
    }

    /// A fresh number of a bundle.
    pub(crate) fn bundle(&mut self) -> u32 {
        self.last_bundle = self.last_bundle.checked_add(1).unwrap_or(1);
        self.last_bundle
    }

    /// A bundle was refused: its changes are not under way any more, and the barrier behind it confirms nothing.
    pub(crate) fn void(&mut self, commit: Xid) {
        let is_change = |pending: &Pending| matches!(pending, Pending::Change(_) | Pending::Group(_));
        self.pending.retain(|xid, pending| *xid > commit || !is_change(pending));
        let mut later = self.pending.range_mut(commit..).map(|(_, pending)| pending);
        if let Some(barrier) = later.find(|pending| matches!(pending, Pending::Barrier(_))) {
            *barrier = Pending::Void;
        }
    }

    /// Forgets what was asked under this token.
    pub(crate) fn forget(&mut self, token: Token) {
        self.pending.retain(|_, pending| match pending {
            Pending::Mod(t)
            | Pending::ModBarrier(t)
            | Pending::Exchange(t)
            | Pending::Multipart(Purpose::Request(t), _) => *t != token,
            _ => true,
        });
    }

    /// Requests of the shell that will not be answered.
    pub(crate) fn orphans(self) -> Vec<Token> {
        let token = |pending| match pending {
            Pending::Multipart(Purpose::Request(token), _)
            | Pending::ModBarrier(token)
            | Pending::Exchange(token) => Some(token),
            _ => None,
        };
        self.pending.into_values().filter_map(token).collect()
    }
}
