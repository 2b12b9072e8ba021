//! How far an intent is realised.

use openflow::{Dpid, SwitchDesc};

use super::Controller;
use crate::effect::ConnId;
use crate::layout;
use crate::switch::Managed;
use crate::view::Switch;

/// State of an intent, or of a switch with respect to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntentState {
    /// Confirmed by a barrier.
    Realised,
    /// Under way, or something is missing.
    Pending,
    /// A switch refused, or it cannot be done here.
    Failed,
}

/// How far a switch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchState {
    /// The switch.
    pub dpid: Dpid,
    /// Generation last confirmed.
    pub confirmed: u64,
    /// Whether that is enough.
    pub state: IntentState,
    /// Flows that serve the intent.
    pub n_flows: usize,
    /// Why not.
    pub reason: Option<String>,
}

/// How far an intent is realised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentStatus {
    /// Generation of the first blueprint that held it as it is.
    pub generation: u64,
    /// The worst of all switches, and of what is missing.
    pub state: IntentState,
    /// What is missing.
    pub reasons: Vec<String>,
    /// Switches with flows for it.
    pub switches: Vec<SwitchState>,
}

impl Controller {
    /// How far the intent `label` (`network/blue`) is realised.
    pub fn status(&self, label: &str) -> IntentStatus {
        let generation = self.revisions.get(label).copied().unwrap_or(0);
        let issues = || self.blueprint().issues.of(label);
        let reasons: Vec<String> = issues().map(|issue| issue.reason.clone()).collect();
        let switches: Vec<SwitchState> =
            self.switches.keys().filter_map(|&dpid| self.switch_state(dpid, label, generation)).collect();
        let missing = issues().map(|issue| match issue.refused {
            true => IntentState::Failed,
            false => IntentState::Pending,
        });
        let missing = missing.max().unwrap_or(IntentState::Realised);
        let state = switches.iter().map(|switch| switch.state).fold(missing, IntentState::max);
        IntentStatus { generation, state, reasons, switches }
    }

    fn switch_state(&self, dpid: Dpid, label: &str, generation: u64) -> Option<SwitchState> {
        let managed = self.switches.get(&dpid)?;
        let n_flows = self.blueprint().n_flows(dpid, label);
        if n_flows == 0 {
            return None;
        }
        let cookie = layout::intent_cookie(label);
        let refused = managed.refused.values().find(|(body, _)| body.cookie == cookie);
        let (state, reason) = match refused {
            Some((_, error)) => (IntentState::Failed, Some(format!("the switch answers {error}"))),
            None if managed.conn.is_none() => {
                (IntentState::Pending, Some("the switch is not connected".to_owned()))
            }
            None if self.is_slave(managed) => {
                (IntentState::Pending, Some("another controller is the master of the switch".to_owned()))
            }
            None if managed.confirmed < generation || managed.floods.is_delayed() => {
                (IntentState::Pending, None)
            }
            None => (IntentState::Realised, None),
        };
        Some(SwitchState { dpid, confirmed: managed.confirmed, state, n_flows, reason })
    }

    /// Another controller is the master of a switch.
    fn is_slave(&self, managed: &Managed) -> bool {
        managed.conn.and_then(|conn| self.sessions.get(&conn)).is_some_and(|session| session.slave)
    }

    /// Whether a switch confirmed everything that is wanted of it now.
    pub fn is_realised(&self, dpid: Dpid) -> bool {
        self.switches.get(&dpid).is_some_and(|managed| {
            managed.conn.is_some()
                && managed.in_flight.is_empty()
                && managed.refused.is_empty()
                && !managed.floods.is_delayed()
                && managed.hold_until.is_none()
                && !self.is_slave(managed)
                && managed.confirmed == self.blueprint().generation
        })
    }

    /// Whether every connected switch has confirmed this generation or a later one.
    pub fn is_confirmed(&self, generation: u64) -> bool {
        let connected = self.switches.values().filter(|managed| managed.conn.is_some());
        connected.into_iter().all(|managed| managed.confirmed >= generation)
    }

    /// Whether discovery is sure what each port of a switch is for, and its lanes are planned accordingly.
    pub fn is_settled(&self, dpid: Dpid) -> bool {
        let settled = |switch: &Switch| switch.ports.values().all(|port| port.settled);
        !self.is_dirty() && self.view.switches().get(&dpid).is_some_and(settled)
    }

    /// Whether everything is realised and nothing waits to be planned or settled.
    pub fn is_quiet(&self) -> bool {
        self.switches.keys().all(|&dpid| self.is_realised(dpid) && self.is_settled(dpid)) && !self.is_dirty()
    }

    /// Whether everything that happened so far is planned for, and confirmed by every switch. Ports may still be settling.
    pub fn is_followed(&self) -> bool {
        !self.is_dirty() && self.is_confirmed_by_all()
    }

    /// Whether everything that is planned so far is confirmed by every switch.
    pub fn is_confirmed_by_all(&self) -> bool {
        self.switches.keys().all(|&dpid| self.is_realised(dpid))
    }

    /// Changes sent so far, to all switches that are known.
    pub fn n_changes(&self) -> u64 {
        self.switches.values().map(|managed| managed.n_changes).sum()
    }

    /// The connection of a switch, while there is one.
    pub fn connection(&self, dpid: Dpid) -> Option<ConnId> {
        self.switches.get(&dpid)?.conn
    }

    /// What a switch says of itself.
    pub fn description(&self, dpid: Dpid) -> Option<&SwitchDesc> {
        self.switches.get(&dpid).map(|managed| &managed.desc)
    }
}
