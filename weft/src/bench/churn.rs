//! Flow mods that change the tables under traffic and leave them as they were.

use std::time::Duration;

use openflow::{FlowMod, FlowModCommand, Message};

use super::rig::{Rig, Sample};

/// A stretch with flow mods, or without.
const SLICE: Duration = Duration::from_millis(250);
/// In which what was gathered comes into force and microflows are tested against it.
const SETTLING: Duration = Duration::from_millis(20);

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

    /// For `time` each with and without flow mods, in turn: what the machine does to both is the same.
    ///
    /// # Errors
    /// When a flow mod is refused.
    pub fn measure(
        &mut self,
        rig: &mut Rig,
        time: Duration,
        every: Duration,
    ) -> anyhow::Result<(Sample, Sample)> {
        let (mut with, mut without) = (Sample::default(), Sample::default());
        while with.wall() < time {
            // Flow mods that come together come into force after a while: those of the first are not missed then.
            rig.measure_with(vswitch::GATHER, every, |rig| self.step(rig))?;
            with += rig.measure_with(SLICE.min(time), every, |rig| self.step(rig))?;
            rig.barrier()?;
            rig.measure(SETTLING)?;
            without += rig.measure(SLICE.min(time))?;
        }
        Ok((with, without))
    }

    /// One flow mod.
    ///
    /// # Errors
    /// When it is refused.
    fn step(&mut self, rig: &mut Rig) -> anyhow::Result<()> {
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
