//! Flow mods that change the tables under traffic and leave them as they were.

use openflow::{FlowMod, FlowModCommand, Message};

use super::rig::Rig;

/// Takes one flow after the other out of the tables and puts it back, as routes do that come and go: its frames find
/// another flow meanwhile, or none.
pub struct Churn<'a> {
    flows: &'a [FlowMod],
    next: usize,
    n_mods: u64,
    /// The flow that is not in the tables.
    missing: Option<&'a FlowMod>,
}

impl<'a> Churn<'a> {
    /// Over all flows but the last, which may be the one for all other frames.
    pub fn new(flows: &'a [FlowMod]) -> Self {
        let all_but_last = flows.split_last().map_or(flows, |(_, rest)| rest);
        Self { flows: all_but_last, next: 0, n_mods: 0, missing: None }
    }

    /// One flow mod.
    ///
    /// # Errors
    /// When it is refused.
    pub fn step(&mut self, rig: &mut Rig) -> anyhow::Result<()> {
        if let Some(flow) = self.missing.take() {
            self.n_mods += 1;
            return rig.submit(Message::FlowMod(flow.clone()));
        }
        let Some(flow) = self.flows.get(self.next) else { return Ok(()) };
        self.n_mods += 1;
        // A prime, so that neighbours in the file do not follow each other.
        self.next = (self.next + 7_919) % self.flows.len();
        self.missing = Some(flow);
        rig.submit(Message::FlowMod(FlowMod { command: FlowModCommand::DeleteStrict, ..flow.clone() }))
    }

    /// Leaves the tables as they were; returns how many flow mods there were.
    ///
    /// # Errors
    /// When the last one is refused.
    pub fn finish(mut self, rig: &mut Rig) -> anyhow::Result<u64> {
        if self.missing.is_some() {
            self.step(rig)?;
        }
        rig.barrier()?;
        Ok(self.n_mods)
    }
}
