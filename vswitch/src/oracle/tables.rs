//! What is in the tables, and how modifications change it (§6.4, §6.5, §6.6).

use std::sync::{Arc, Mutex};

use openflow::{
    Action, FlowMod, FlowModCommand, FlowModFlags, FlowRemovedReason, GroupDesc, GroupId, GroupMod,
    GroupModCommand, Instruction, MeterId, MeterMod, MeterModCommand, TableId,
};

use super::meter::Meter;
use super::{Flow, Oracle, lock};

impl Oracle {
    /// Changes flows (§6.4), as a switch that accepted the message would. Returns what it deleted.
    pub fn flow_mod(&mut self, m: &FlowMod) -> Vec<Flow> {
        let reset = m.flags.contains(FlowModFlags::RESET_COUNTS);
        match m.command {
            FlowModCommand::Add => {
                let same =
                    |f: &Flow| f.table == m.table && f.priority == m.priority && f.matches == m.matches;
                let old = self.flows.iter().position(same).map(|at| self.flows.remove(at));
                let id = old.filter(|_| !reset).map(|f| f.id).unwrap_or_else(|| self.fresh());
                self.flows.push(Flow {
                    table: m.table,
                    priority: m.priority,
                    matches: m.matches.clone(),
                    cookie: m.cookie,
                    instructions: m.instructions.clone(),
                    flags: m.flags,
                    idle_timeout: m.idle_timeout,
                    hard_timeout: m.hard_timeout,
                    installed: self.now,
                    last_used: self.now,
                    id,
                });
            }
            // 1.0.1 §4.6: what finds no flow adds one.
            FlowModCommand::Modify | FlowModCommand::ModifyStrict
                if m.upsert && !self.flows.iter().any(|flow| selects(m, flow)) =>
            {
                return self.flow_mod(&FlowMod { command: FlowModCommand::Add, ..m.clone() });
            }
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => {
                for at in 0..self.flows.len() {
                    if selects(m, &self.flows[at]) {
                        if m.upsert {
                            self.flows[at].cookie = m.cookie;
                        }
                        self.flows[at].instructions.clone_from(&m.instructions);
                        if reset {
                            self.flows[at].id = self.fresh();
                        }
                    }
                }
            }
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                return self.take(|f| selects(m, f) && has_output(m, f));
            }
        }
        Vec::new()
    }

    /// Changes groups (§6.5), as a switch that accepted the message would. Returns the flows that went.
    pub fn group_mod(&mut self, m: &GroupMod) -> Vec<Flow> {
        let concerned = |group: GroupId| m.group == GroupId::ALL || m.group == group;
        if m.command == GroupModCommand::Delete {
            self.groups.retain(|g| !concerned(g.group));
            let gone = |a: &Action| matches!(a, Action::Group(group) if concerned(*group));
            return self.take(|f| f.uses(gone));
        }
        self.groups.retain(|g| g.group != m.group);
        let GroupMod { group_type, group, buckets, .. } = m.clone();
        self.groups.push(GroupDesc { group_type, group, buckets });
        Vec::new()
    }

    /// Changes meters (§6.6), as a switch that accepted the message would. Returns the flows that went.
    pub fn meter_mod(&mut self, m: &MeterMod) -> Vec<Flow> {
        let concerned = |meter: MeterId| m.meter == MeterId::ALL || m.meter == meter;
        self.meters.retain(|meter| !concerned(lock(meter).id));
        if m.command == MeterModCommand::Delete {
            let gone = |i: &Instruction| matches!(i, Instruction::Meter(meter) if concerned(*meter));
            return self.take(|f| f.instructions.iter().any(gone));
        }
        self.meters.push(Arc::new(Mutex::new(Meter::new(m, self.now))));
        Vec::new()
    }

    /// Takes out what has expired (§5.5).
    pub fn expire(&mut self) -> Vec<(Flow, FlowRemovedReason)> {
        let now = self.now;
        let gone = self.take(|f| f.expired(now).is_some());
        gone.into_iter().filter_map(|f| f.expired(now).map(|reason| (f, reason))).collect()
    }

    fn take(&mut self, which: impl Fn(&Flow) -> bool) -> Vec<Flow> {
        self.flows.extract_if(.., |f| which(f)).collect()
    }

    fn fresh(&mut self) -> u64 {
        self.n_made += 1;
        self.n_made
    }

    /// Some flow of the same table and priority overlaps (§6.4, CHECK_OVERLAP).
    pub fn overlaps(&self, m: &FlowMod) -> bool {
        let other =
            |f: &Flow| f.table == m.table && f.priority == m.priority && f.matches.overlaps(&m.matches);
        self.flows.iter().any(other)
    }
}

/// §6.4: which flows a modification or deletion is about.
fn selects(m: &FlowMod, flow: &Flow) -> bool {
    let strict = matches!(m.command, FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict);
    let table = m.table == TableId::ALL || m.table == flow.table;
    let cookie = (m.cookie.0 ^ flow.cookie.0) & m.cookie_mask == 0;
    let what = if strict {
        m.priority == flow.priority && m.matches == flow.matches
    } else {
        m.matches.covers(&flow.matches)
    };
    table && cookie && what
}

/// §7.3.4.1: out_port and out_group restrict deletions.
fn has_output(m: &FlowMod, flow: &Flow) -> bool {
    let to = |a: &Action, wanted| matches!(a, Action::Output { port, .. } | Action::Enqueue { port, .. } if *port == wanted);
    let port = |wanted| flow.uses(|a| to(a, wanted));
    let group = |wanted| flow.uses(|a| matches!(a, Action::Group(group) if *group == wanted));
    m.out_port.is_none_or(port) && m.out_group.is_none_or(group)
}
