//! Batches whose stages are timed.

use packet::{Batch, Instant, Outputs, Pool};

use super::{Datapath, Scratch};
use crate::stage::{Lap, Stage};

impl Datapath {
    /// As [`process`](Self::process), telling when each stage is over. Cache and tables are asked one after the other,
    /// not frame by frame in turns.
    pub fn process_timed(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        pool: &mut Pool,
        out: &mut Outputs,
        lap: Lap<'_>,
    ) {
        self.process_stages(now, batch, (pool, out), Some(lap));
    }

    /// Finds the program of each frame.
    #[inline(never)]
    pub(super) fn classify_timed(&mut self, scratch: &mut Scratch, lap: Lap<'_>) {
        let n = scratch.visits.len();
        scratch.missed.clear();
        if self.direct {
            scratch.missed.extend((0..n).filter(|&at| scratch.visits[at].read.is_ok()));
        } else {
            self.asked.lookups += n as u64;
            self.ask_cache(scratch);
            lap(Stage::Cache, n);
        }
        for &at in &scratch.missed {
            scratch.visits[at].program = self.classify(&scratch.keys[at]);
        }
        lap(Stage::Pipeline, scratch.missed.len());
    }

    fn ask_cache(&mut self, scratch: &mut Scratch) {
        let epoch = self.snapshot.epoch as u32;
        for (at, (key, visit)) in scratch.keys.iter().zip(&mut scratch.visits).enumerate() {
            if visit.read.is_err() {
                continue;
            }
            match self.cache.find(&self.cache.reduce(key, &self.snapshot.layout)) {
                Some((_, program, checked)) if checked == epoch => {
                    self.asked.hits += 1;
                    visit.program = program;
                }
                _ => scratch.missed.push(at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use openflow::{Action, FlowMod, Instruction, Match, Message, PortDesc, PortNo, Priority, TableId, Xid};
    use packet::{Frame, MacAddr};

    use super::*;
    use crate::{ConnId, Effect, Switch, SwitchConfig};

    /// A switch with ports 1 and 2 that sends TCP of some ports out of port 2.
    fn worker() -> Datapath {
        let mut switch = Switch::new(SwitchConfig::default());
        let mut worker = switch.datapath().pop().expect("one worker");
        let now = Instant::from_secs(1);
        for port in [1, 2] {
            switch.add_port(now, PortDesc::new(PortNo(port), MacAddr::from_u64(port.into()), "p"));
        }
        switch.handle_connected(now, ConnId(1));
        for port in 0..20u16 {
            let output = Instruction::ApplyActions(vec![Action::output(PortNo(2))]);
            let flow = FlowMod::add(TableId(0), Priority(1), Match::new().tcp_dst(port), vec![output]);
            switch.handle_message(now, ConnId(1), Xid(1), Message::FlowMod(flow));
        }
        let (mut pool, mut out) = (Pool::default(), Outputs::new());
        while let Some(effect) = switch.poll_effect() {
            match effect {
                Effect::Order { order, .. } => worker.handle_order(now, order, &mut pool, &mut out),
                Effect::Send { message, .. } => assert!(!matches!(message, Message::Error(_)), "{message:?}"),
            }
        }
        worker
    }

    fn batch(pool: &mut Pool) -> Batch {
        let frame = |port: u16| {
            let mut bytes = vec![0; 60];
            bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
            bytes[16..18].copy_from_slice(&46u16.to_be_bytes());
            (bytes[22], bytes[23], bytes[46]) = (64, 6, 0x50);
            bytes[36..38].copy_from_slice(&port.to_be_bytes());
            bytes
        };
        let cut = [vec![0; 13]];
        let all = (15..25).chain(15..20).map(frame).chain(cut);
        let made = all.map(|bytes| {
            let mut frame: Frame = pool.frame_from(&bytes).expect("short");
            frame.meta.in_port = PortNo(1);
            frame
        });
        made.collect()
    }

    #[test]
    fn a_timed_batch_does_what_any_other_does() {
        let (mut plain, mut timed, mut pool) = (worker(), worker(), Pool::default());
        let (mut expected, mut out) = (Outputs::new(), Outputs::new());
        for pass in 0..2 {
            let now = Instant::from_secs(2 + pass);
            plain.process(now, &mut batch(&mut pool), &mut pool, &mut expected);
            let mut laps = Vec::new();
            let mut lap = |stage, n| laps.push((stage, n));
            timed.process_timed(now, &mut batch(&mut pool), &mut pool, &mut out, &mut lap);
            let n_missed = if pass == 0 { 15 } else { 0 };
            let wanted =
                [(Stage::Extract, 16), (Stage::Cache, 16), (Stage::Pipeline, n_missed), (Stage::Actions, 16)];
            assert_eq!(laps, wanted);
        }
        let bytes = |out: &Outputs| out.iter().map(|(port, f)| (*port, f.to_vec())).collect::<Vec<_>>();
        assert_eq!(bytes(&out), bytes(&expected));
        assert_eq!(out.len(), 20);
        assert_eq!(timed.side.drops, plain.side.drops);
        assert_eq!(timed.asked, plain.asked);
    }
}
