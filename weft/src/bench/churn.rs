//! Flow mods that change the tables under traffic, and nothing that the oracle would see.

use openflow::{FlowMod, FlowModCommand, Message, Priority};

use super::rig::Rig;

/// Adds a twin of one flow after the other, a priority above it and with the same instructions, and takes it out
/// again: frames of that flow find another entry each time.
pub struct Churn<'a> {
    flows: Vec<&'a FlowMod>,
    next: usize,
    n_mods: u64,
    /// The twin that is in the tables.
    twin: Option<FlowMod>,
}

impl<'a> Churn<'a> {
    /// Over the flows that have room above them.
    pub fn new(flows: &'a [FlowMod]) -> Self {
        let room = |flow: &&FlowMod| {
            let same = |other: &FlowMod| other.table == flow.table && other.matches == flow.matches;
            flow.priority.0 < u16::MAX && flows.iter().filter(|other| same(other)).count() == 1
        };
        // A sample: the check above is quadratic.
        let step = flows.len().div_ceil(256);
        Self { flows: flows.iter().step_by(step).filter(room).collect(), next: 0, n_mods: 0, twin: None }
    }

    /// One flow mod.
    ///
    /// # Errors
    /// When it is refused.
    pub fn step(&mut self, rig: &mut Rig) -> anyhow::Result<()> {
        self.n_mods += 1;
        if let Some(twin) = self.twin.take() {
            let gone = FlowMod { command: FlowModCommand::DeleteStrict, ..twin };
            return rig.submit(Message::FlowMod(gone));
        }
        let Some(flow) = self.flows.get(self.next % self.flows.len().max(1)) else { return Ok(()) };
        let twin = FlowMod { priority: Priority(flow.priority.0 + 1), ..(*flow).clone() };
        self.next += 1;
        self.twin = Some(twin.clone());
        rig.submit(Message::FlowMod(twin))
    }

    /// Leaves the tables as they were; returns how many flow mods there were.
    ///
    /// # Errors
    /// When the last one is refused.
    pub fn finish(mut self, rig: &mut Rig) -> anyhow::Result<u64> {
        if self.twin.is_some() {
            self.step(rig)?;
        }
        rig.barrier()?;
        Ok(self.n_mods)
    }
}
