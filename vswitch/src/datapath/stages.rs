//! The stages of a batch. Each is a loop over all frames that leaves its results where the next one finds them: so the
//! cache misses of different frames overlap, and no structure is moved.

use openflow::{FragMode, PortNo};
use packet::offload::wire_size;
use packet::{Batch, Frame, Instant, Outputs, Pool};

use super::Datapath;
use crate::DropReason;
use crate::cache::UNKNOWN;
use crate::entry::Leaf;
use crate::extract::{Places, extract_to};
use crate::key::{self, Depth, Key, N_WORDS};
use crate::pipeline::{Shortcut, first_leaf};
use crate::stage::{Lap, Stage};

/// What the stages hand on to each other, frame by frame. Kept from batch to batch for its memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    keys: Vec<Key>,
    visits: Vec<Visit>,
    unsure: Unsure,
}

/// What the cache is asked about a batch, and the frames whose program it does not tell.
#[derive(Debug, Default)]
struct Unsure {
    /// What each frame is known by.
    words: Vec<u64>,
    /// It does not know them.
    missed: Vec<usize>,
    /// It knows them from another epoch.
    stale: Vec<usize>,
}

impl Unsure {
    /// Makes room for a batch whose frames are known by so many words each.
    fn begin(&mut self, n_words: usize, n: usize) {
        if self.words.len() < n_words * n {
            self.words.resize(n_words * n, 0);
        }
    }

    fn clear(&mut self) {
        self.missed.clear();
        self.stale.clear();
    }

    fn len(&self) -> usize {
        self.missed.len() + self.stale.len()
    }
}

/// A frame between the stages.
#[derive(Clone, Copy, Debug, Default)]
struct Visit {
    places: Places,
    /// It is to be dropped: it cannot be read, must not be received, or its flow says so.
    dropped: Option<DropReason>,
    /// The entry it hit, where the tables are asked.
    leaf: Leaf,
    program: u32,
    /// It is done with and leaves by this port.
    leaves: Option<PortNo>,
}

impl Datapath {
    /// Processes frames in order; `meta.in_port` of each is set. Leaves `batch` empty; what is to be sent is appended
    /// to `out`, with real port numbers only.
    pub fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        self.process_stages(now, batch, (pool, out), &mut |_, _| {});
    }

    /// As [`process`](Self::process), telling when each stage is over.
    pub fn process_timed(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        pool: &mut Pool,
        out: &mut Outputs,
        lap: Lap<'_>,
    ) {
        self.process_stages(now, batch, (pool, out), lap);
    }

    /// Frames of the last batch whose microflow was not in the cache, so that the tables were walked for them. None where
    /// the tables are asked for every frame.
    pub fn n_unknown(&self) -> usize {
        self.scratch.unsure.missed.len()
    }

    fn process_stages(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        (pool, out): (&mut Pool, &mut Outputs),
        lap: Lap<'_>,
    ) {
        self.rise();
        let n = batch.len();
        self.make_room(now, n);
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.unsure.clear();
        // A loop for each depth, so that reading little costs little.
        match self.snapshot.layout.depth {
            Depth::Link => self.read_all(batch, Depth::Link, &mut scratch),
            Depth::Network => self.read_all(batch, Depth::Network, &mut scratch),
            Depth::All => self.read_all(batch, Depth::All, &mut scratch),
        }
        lap(Stage::Extract, n);
        let Scratch { keys, visits, unsure } = &mut scratch;
        let (keys, visits) = (&keys[..n], &mut visits[..n]);
        let mut only_port = None;
        if !self.snapshot.options.standalone {
            self.classify_all(keys, visits, (unsure, lap));
            only_port = self.count_all(now, batch, visits);
        }
        if let Some(port) = only_port {
            out.append_run(port, batch);
        } else if visits.iter().all(|visit| visit.leaves.is_some() != visit.dropped.is_some()) {
            self.drop_all(batch, visits, pool);
            out.append(visits.iter().filter_map(|visit| visit.leaves), batch);
        } else {
            for (frame, visit) in batch.drain(..).zip(&*visits) {
                self.finish(now, frame, visit, pool, out);
            }
        }
        self.scratch = scratch;
        lap(Stage::Actions, n);
    }

    /// What the frames are.
    #[inline(always)]
    fn read_all(&self, batch: &Batch, depth: Depth, scratch: &mut Scratch) {
        if scratch.keys.len() < batch.len() {
            scratch.keys.resize(batch.len(), [0; N_WORDS]);
            scratch.visits.resize(batch.len(), Visit::default());
        }
        // Most frames come by the port of the one before.
        let (mut last, mut admitted) = (None, Ok(()));
        for ((frame, key), visit) in batch.iter().zip(&mut scratch.keys).zip(&mut scratch.visits) {
            let in_port = frame.meta.in_port;
            if last != Some(in_port) {
                (last, admitted) = (Some(in_port), self.admit(in_port));
            }
            if depth == Depth::Link {
                key::clear_link(key);
            } else {
                *key = [0; N_WORDS];
            }
            visit.leaves = None;
            visit.dropped = match admitted {
                Ok(()) => self.read(frame, depth, (key, &mut visit.places)).err(),
                Err(reason) => Some(reason),
            };
        }
    }

    fn admit(&self, in_port: PortNo) -> Result<(), DropReason> {
        match self.snapshot.ports.get(in_port) {
            None => Err(DropReason::UnknownInPort),
            Some(row) if !row.may_receive() => Err(DropReason::NoReceive),
            Some(_) => Ok(()),
        }
    }

    #[inline(always)]
    fn read(
        &self,
        frame: &Frame,
        depth: Depth,
        (key, places): (&mut Key, &mut Places),
    ) -> Result<(), DropReason> {
        extract_to(frame, frame.meta.in_port, depth, (key, places))?;
        if places.is_fragment && self.snapshot.options.frag == FragMode::Drop {
            return Err(DropReason::Fragment);
        }
        Ok(())
    }

    /// Which program each frame runs.
    #[inline(never)]
    fn classify_all(&mut self, keys: &[Key], visits: &mut [Visit], (unsure, lap): (&mut Unsure, Lap<'_>)) {
        if self.direct {
            self.ask_tables(keys, visits);
            return lap(Stage::Pipeline, visits.len());
        }
        self.asked.lookups += visits.len() as u64;
        // A loop for each width, so that a short key costs little.
        match self.cache.width() {
            1 => self.ask_cache::<1>(keys, visits, (unsure, lap)),
            2 => self.ask_cache::<2>(keys, visits, (unsure, lap)),
            3 => self.ask_cache::<3>(keys, visits, (unsure, lap)),
            4 => self.ask_cache::<4>(keys, visits, (unsure, lap)),
            8 => self.ask_cache::<8>(keys, visits, (unsure, lap)),
            _ => self.ask_cache::<N_WORDS>(keys, visits, (unsure, lap)),
        }
    }

    /// By the tables alone.
    fn ask_tables(&mut self, keys: &[Key], visits: &mut [Visit]) {
        let Self { snapshot, programs, .. } = self;
        snapshot.tables[0].leaves(keys, |at, leaf| visits[at].leaf = leaf);
        for (key, visit) in keys.iter().zip(visits) {
            if visit.dropped.is_none() {
                visit.program = programs.program_of(visit.leaf, snapshot, key);
            }
        }
    }

    /// From the cache; by a walk where it knows nothing, or nothing that is sure to hold.
    fn ask_cache<const N: usize>(
        &mut self,
        keys: &[Key],
        visits: &mut [Visit],
        (unsure, lap): (&mut Unsure, Lap<'_>),
    ) {
        unsure.begin(N, keys.len());
        let (words, _) = unsure.words.as_chunks_mut::<N>();
        let epoch = self.snapshot.epoch as u32;
        let (mut n_asked, mut worst) = (0, 0);
        let mut touched = 0;
        for (key, words) in keys.iter().zip(&mut *words) {
            *words = self.snapshot.layout.pack(key);
            touched |= self.cache.touch(words);
        }
        core::hint::black_box(touched);
        for (visit, words) in visits.iter_mut().zip(words) {
            visit.program = self.cache.program_of(words, epoch);
            n_asked += u64::from(visit.dropped.is_none());
            worst = worst.max(visit.program);
        }
        self.asked.hits += n_asked;
        if worst == UNKNOWN {
            self.ask_again::<N>(keys, visits, unsure);
        }
        lap(Stage::Cache, visits.len());
        self.learn::<N>(keys, visits, unsure);
        for &at in &unsure.stale {
            visits[at].program = self.classify::<N>(&keys[at]);
        }
        lap(Stage::Pipeline, unsure.len());
    }

    /// For frames that the cache did not know at once.
    fn ask_again<const N: usize>(&mut self, keys: &[Key], visits: &mut [Visit], unsure: &mut Unsure) {
        let epoch = self.snapshot.epoch;
        let (words, _) = unsure.words.as_chunks::<N>();
        let unknown = |(_, visit): &(usize, &mut Visit)| visit.program == UNKNOWN && visit.dropped.is_none();
        for (at, visit) in visits.iter_mut().enumerate().filter(unknown) {
            match self.cache.find(&words[at]) {
                Some((_, program, checked)) if checked == epoch as u32 => {
                    visit.program = program;
                    continue;
                }
                Some((slot, program, checked)) if self.still_holds(&keys[at], program, checked) => {
                    self.cache.refresh(slot, epoch, program);
                    visit.program = program;
                }
                Some(_) => unsure.stale.push(at),
                None => unsure.missed.push(at),
            }
            self.asked.hits -= 1;
        }
    }

    /// By the tables, for frames that the cache did not know; it does then.
    fn learn<const N: usize>(&mut self, keys: &[Key], visits: &mut [Visit], unsure: &Unsure) {
        let Self { snapshot, programs, cache, .. } = self;
        let (missed, (words, _)) = (&unsure.missed, unsure.words.as_chunks::<N>());
        for &at in missed {
            visits[at].leaf = first_leaf(snapshot, &keys[at]);
        }
        for &at in missed {
            visits[at].program = programs.program_of(visits[at].leaf, snapshot, &keys[at]);
        }
        for &at in missed {
            cache.insert(&words[at], (snapshot.epoch, visits[at].program));
        }
    }

    /// Counts the frames for their entries, and does the usual programs with the frames where they are. The port by which
    /// all leave, if all do and by one.
    #[inline(never)]
    fn count_all(&mut self, now: Instant, batch: &mut Batch, visits: &mut [Visit]) -> Option<PortNo> {
        let Self { snapshot, programs, .. } = self;
        let punt_misses = snapshot.options.punt_misses;
        // Most frames leave by the port of the one before.
        let (mut last, mut sends) = (None, false);
        let (mut n_ports, mut n_left) = (0, 0);
        let mut is_open = |port: PortNo, frame: &Frame| {
            if last != Some(port) {
                (last, sends) = (Some(port), snapshot.ports.get(port).is_some_and(|row| row.may_send()));
                n_ports += 1;
            }
            sends && port != frame.meta.in_port
        };
        for (frame, visit) in batch.iter_mut().zip(&mut *visits) {
            if visit.dropped.is_none() {
                let size = wire_size(frame);
                match *programs.count(visit.program, now, size.n_frames.into(), size.bytes) {
                    Shortcut::Output(port) if is_open(port, frame) => {
                        visit.leaves = Some(port);
                        n_left += 1;
                    }
                    Shortcut::Rewrite(ref rewrite, port)
                        if is_open(port, frame) && rewrite.apply(frame, &visit.places) =>
                    {
                        visit.leaves = Some(port);
                        n_left += 1;
                    }
                    Shortcut::Drop => visit.dropped = Some(DropReason::Flow),
                    Shortcut::Miss if !punt_misses => visit.dropped = Some(DropReason::TableMiss),
                    _ => {}
                }
            }
        }
        last.filter(|_| n_ports == 1 && n_left == batch.len())
    }

    /// Takes the frames that are to be dropped out of a batch.
    fn drop_all(&mut self, batch: &mut Batch, visits: &[Visit], pool: &mut Pool) {
        let mut n_dropped = 0;
        for reason in visits.iter().filter_map(|visit| visit.dropped) {
            self.side.drops[reason] += 1;
            n_dropped += 1;
        }
        if n_dropped > 0 {
            let mut visits = visits.iter();
            let is_dropped = |_: &mut Frame| visits.next().is_some_and(|visit| visit.dropped.is_some());
            batch.extract_if(.., is_dropped).for_each(|frame| pool.free(frame));
        }
    }

    /// Runs other programs step by step.
    fn finish(&mut self, now: Instant, frame: Frame, visit: &Visit, pool: &mut Pool, out: &mut Outputs) {
        match (visit.leaves, visit.dropped) {
            (Some(port), _) => out.push((port, frame)),
            (None, Some(reason)) => self.drop_frame(reason, frame, pool),
            (None, None) => self.run_steps(now, frame, (visit.program, visit.places), pool, out),
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
        let n_passes = 20;
        for pass in 0..n_passes {
            let now = Instant::from_secs(2 + pass);
            plain.process(now, &mut batch(&mut pool), &mut pool, &mut expected);
            let mut laps = Vec::new();
            let mut lap = |stage, n| laps.push((stage, n));
            timed.process_timed(now, &mut batch(&mut pool), &mut pool, &mut out, &mut lap);
            let n_missed = laps[2].1;
            let wanted =
                [(Stage::Extract, 16), (Stage::Cache, 16), (Stage::Pipeline, n_missed), (Stage::Actions, 16)];
            assert_eq!(laps, wanted);
            // The cache knows nothing at first, and in the end all that comes again.
            assert!(pass > 0 || n_missed == 15, "{n_missed}");
            assert!(pass + 1 < n_passes || n_missed == 0, "{n_missed}");
        }
        let bytes = |out: &Outputs| out.iter().map(|(port, f)| (port, f.to_vec())).collect::<Vec<_>>();
        assert_eq!(bytes(&out), bytes(&expected));
        assert_eq!(out.len() as u64, 10 * n_passes);
        assert_eq!(timed.side.drops, plain.side.drops);
        assert_eq!(timed.asked, plain.asked);
    }

    /// The only lock that workers know is that of the shelf, which is for those who rise.
    #[test]
    fn a_worker_that_is_awake_takes_no_lock() {
        let mut worker = worker();
        let shelf = worker.bed.shelf().clone();
        let held = shelf.lock();
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut pool, mut out) = (Pool::default(), Outputs::new());
            for pass in 0..10 {
                let now = Instant::from_secs(2 + pass);
                worker.process(now, &mut batch(&mut pool), &mut pool, &mut out);
            }
            done.send(out.len())
        });
        let n_sent = is_done.recv_timeout(core::time::Duration::from_secs(60));
        assert_eq!(n_sent, Ok(100));
        drop(held);
    }
}
