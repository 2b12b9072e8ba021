//! Changes that can be taken back: a bundle takes effect as a whole or not at all (1.4 §6.9).
//!
//! While a journal is kept, every change of flows, groups, meters and ports notes what was there before. Nothing is
//! published meanwhile and no worker's report is handled, so taking back is a walk through the notes, last first, and
//! costs what the changes cost.

use lookup::Index;
use openflow::{BufferId, GroupId, MeterId, PortConfig, PortNo};

use super::Switch;
use super::buffers::Buffered;
use super::groups::GroupRecord;
use super::meters::MeterRecord;
use super::needs::Needs;
use super::record::FlowRecord;

/// What to do to take a change back.
#[derive(Debug)]
pub(super) enum Undo {
    /// Forget the flow.
    Installed(Index),
    /// Put the old record back.
    Changed(Index, Box<FlowRecord>),
    /// Bring the flow back into its table.
    Removed(Index),
    /// Put the group back as it was; none if it was not there.
    Group(GroupId, Option<GroupRecord>),
    /// Put the meter back as it was; none if it was not there.
    Meter(MeterId, Option<MeterRecord>),
    /// Put the packet back where it waited.
    Buffer(BufferId, Buffered),
    /// Give the port its configuration back.
    Port(PortNo, PortConfig),
}

/// The notes, and how far everything had come that only grows.
#[derive(Debug)]
pub(super) struct Journal {
    undo: Vec<Undo>,
    needs: Needs,
    n_effects: usize,
    n_pending: usize,
    n_waiting: usize,
    n_injections: usize,
    last_ticket: u64,
    flush: bool,
    n_gone: usize,
}

impl Switch {
    /// Notes how to take a change back, if a journal is kept.
    pub(super) fn note(&mut self, undo: impl FnOnce() -> Undo) {
        if let Some(journal) = &mut self.journal {
            journal.undo.push(undo());
        }
    }

    /// Begins a journal. Until [`keep`](Self::keep) or [`take_back`](Self::take_back) nothing may be published.
    pub(super) fn keep_journal(&mut self) {
        self.journal = Some(Journal {
            undo: Vec::new(),
            needs: self.needs.clone(),
            n_effects: self.effects.len(),
            n_pending: self.publisher.n_pending(),
            n_waiting: self.tickets.waiting.len(),
            n_injections: self.injections.len(),
            last_ticket: self.tickets.last,
            flush: self.tickets.flush,
            n_gone: self.tickets.gone.len(),
        });
    }

    /// The changes stand.
    pub(super) fn keep(&mut self) {
        self.journal = None;
    }

    /// Takes every change back since the journal began.
    pub(super) fn take_back(&mut self) {
        let Some(journal) = self.journal.take() else { return };
        for undo in journal.undo.into_iter().rev() {
            match undo {
                Undo::Installed(flow) => drop(self.flows.forget(flow)),
                Undo::Changed(flow, record) => drop(self.flows.swap(flow, *record)),
                Undo::Removed(flow) => self.flows.relink(flow),
                Undo::Group(group, record) => drop(self.swap_group(group, record)),
                Undo::Meter(meter, Some(record)) => drop(self.meters.insert(meter, record)),
                Undo::Meter(meter, None) => drop(self.meters.remove(&meter)),
                Undo::Buffer(id, packet) => self.buffers.put_back(id, packet),
                Undo::Port(port, config) => {
                    if let Some(record) = self.ports.get_mut(&port) {
                        record.desc.config = config;
                        record.update_live();
                    }
                }
            }
        }
        self.needs = journal.needs;
        self.effects.truncate(journal.n_effects);
        self.publisher.forget_pending(journal.n_pending);
        self.tickets.waiting.truncate(journal.n_waiting);
        self.injections.truncate(journal.n_injections);
        self.tickets.last = journal.last_ticket;
        self.tickets.flush = journal.flush;
        self.tickets.gone.truncate(journal.n_gone);
    }
}
