//! One worker's half.

mod stages;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lookup::{Cond, Index, Secret};
use openflow::{FragMode, GroupId, PacketInReason, PortNo};
use packet::offload::{WireSize, wire_size};
use packet::{Frame, Instant, Outputs, Pool};

use crate::cache::{Cache, Slot};
use crate::execute::{Execution, Progress, Source};
use crate::extract::{Places, extract};
use crate::fdb::{Fdb, Learned};
use crate::group::Asked;
use crate::injection::Injection;
use crate::key::{Key, N_WORDS};
use crate::pipeline::{Counts, Programs};
use crate::rest::{Bed, Nap};
use crate::snapshot::{Change, Snapshot};
use crate::step::{Punt, Step};
use crate::{CacheCounters, DropReason, Drops, Order, Report};

#[derive(Clone, Debug)]
pub(crate) enum OrderKind {
    /// Forward by this from now on, and first report.
    Adopt { snapshot: Arc<Snapshot>, flush: Flush, sequence: u64 },
    /// Report all counts.
    Flush { sequence: u64 },
    /// Do this with a frame.
    PacketOut(Arc<Injection>),
    /// Another worker heard a station.
    Learned(Learned),
}

/// Which counts are wanted.
#[derive(Clone, Debug)]
pub(crate) enum Flush {
    Nothing,
    /// Those of these entries, which went.
    Entries(Arc<[Index]>),
    All,
}

#[derive(Debug)]
pub(crate) enum ReportKind {
    /// Everything up to this order is done and counted.
    Done { sequence: u64 },
    /// What was counted since the last report.
    Counters(Box<Counted>),
    /// A packet for the controller.
    Punt(Box<Punted>),
    /// A station was heard.
    Learned(Learned),
    /// Everything was reported, and until the next frame or order there is nothing to do.
    Resting(Nap),
}

/// What a worker counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub entries: Vec<EntryCount>,
    /// Lookups and matches of each table.
    pub tables: Vec<(u64, u64)>,
    /// By group and its stamp.
    pub groups: BTreeMap<(GroupId, u64), GroupCount>,
    pub drops: Drops,
    pub cache: CacheCounters,
}

impl Counted {
    /// What was counted of a program.
    fn add(&mut self, n_tables: usize, (entries, tables): (&[Index], &[u8]), counts: Counts) {
        self.tables.resize(n_tables, (0, 0));
        for (n, &table) in tables.iter().enumerate() {
            let (lookups, matched) = &mut self.tables[usize::from(table)];
            *lookups += counts.packets;
            *matched += if n < entries.len() { counts.packets } else { 0 };
        }
        let Counts { packets, bytes, last_used } = counts;
        self.entries.extend(entries.iter().map(|&id| EntryCount { id, packets, bytes, last_used }));
    }
}

/// Frames that hit an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryCount {
    pub id: Index,
    pub packets: u64,
    pub bytes: u64,
    pub last_used: Instant,
}

/// Frames through a group, and through each bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupCount {
    pub packets: u64,
    pub bytes: u64,
    pub buckets: Vec<(u64, u64)>,
}

/// A packet for the controller.
#[derive(Clone, Debug)]
pub(crate) struct Punted {
    pub punt: Punt,
    pub in_port: PortNo,
    pub data: Vec<u8>,
}

/// Packets for the controller that may wait at a worker.
const MAX_PUNTS: usize = 512;

/// One worker's half of a switch: classifies frames and applies actions, by the tables it was last handed.
#[derive(Debug)]
pub struct Datapath {
    /// Nothing while it rests.
    snapshot: Arc<Snapshot>,
    bed: Bed,
    cache: Cache,
    /// The tables are to be asked without the cache: it is off, or would gain nothing.
    direct: bool,
    pub(crate) programs: Programs,
    pub(crate) side: Side,
    scratch: stages::Scratch,
    /// Frames to be read again, while one is on its way. Kept for its memory.
    waiting: VecDeque<Waiting>,
    /// Since the last report.
    asked: CacheCounters,
}

/// A frame that a program is to be run for.
#[derive(Debug)]
struct Waiting {
    frame: Frame,
    places: Places,
    program: u32,
    /// What it counts as: entries count frames as they were received.
    size: WireSize,
}

/// What a worker keeps beside programs and cache: everything steps may touch.
#[derive(Debug)]
pub(crate) struct Side {
    pub fdb: Fdb,
    pub drops: Drops,
    pub groups: BTreeMap<(GroupId, u64), GroupCount>,
    /// Memory for questions of liveness.
    pub asked: Asked,
    pub reports: VecDeque<Report>,
    pub n_punts: usize,
    /// Memory for what is left of a frame behind its steps.
    pub kept: Vec<(Frame, Places)>,
    /// Memory for the segments of a super-frame.
    pub parts: Vec<Frame>,
}

impl Side {
    /// Sends a packet to the controller, if not too many wait already.
    pub(crate) fn punt(&mut self, punted: Punted) -> Result<(), DropReason> {
        if self.n_punts >= MAX_PUNTS {
            return Err(DropReason::PuntQueue);
        }
        self.n_punts += 1;
        self.reports.push_back(Report(ReportKind::Punt(Box::new(punted))));
        Ok(())
    }

    /// Notes a station for NORMAL.
    pub(crate) fn learn(&mut self, now: Instant, station: u64, port: PortNo) {
        if let Some(learned) = self.fdb.learn(now, station, port) {
            self.reports.push_back(Report(ReportKind::Learned(learned)));
        }
    }
}

impl Datapath {
    pub(crate) fn new(snapshot: Arc<Snapshot>, bed: Bed, (cache_entries, secret): (u32, Secret)) -> Self {
        let mut cache = Cache::new(cache_entries, secret);
        cache.adapt(&snapshot.layout);
        Self {
            direct: is_direct(&cache, &snapshot),
            snapshot,
            bed,
            cache,
            programs: Programs::new(secret.next()),
            side: Side {
                fdb: Fdb::new(secret.next()),
                drops: Drops::default(),
                groups: BTreeMap::new(),
                asked: Asked::new(),
                reports: VecDeque::new(),
                n_punts: 0,
                kept: Vec::new(),
                parts: Vec::new(),
            },
            scratch: stages::Scratch::default(),
            waiting: VecDeque::new(),
            asked: CacheCounters::default(),
        }
    }

    fn drop_frame(&mut self, reason: DropReason, frame: Frame, pool: &mut Pool) {
        self.side.drops[reason] += 1;
        pool.free(frame);
    }

    /// Runs the program of a frame step by step.
    #[inline(never)]
    fn run_steps(
        &mut self,
        now: Instant,
        frame: Frame,
        (at, places): (u32, Places),
        pool: &mut Pool,
        out: &mut Outputs,
    ) {
        if self.snapshot.options.standalone {
            let source = Source {
                now,
                snapshot: &self.snapshot,
                places,
                in_port: frame.meta.in_port,
                received: frame.len(),
            };
            Execution::new(source, &mut self.side, pool, out).run(frame, &[Step::Normal], DropReason::Flow);
            return;
        }
        let size = wire_size(&frame);
        let program = self.programs.get(at);
        if program.next.is_some() {
            return self.run_on(now, frame, (at, places), pool, out);
        }
        let source = Source {
            now,
            snapshot: &self.snapshot,
            places,
            in_port: frame.meta.in_port,
            received: frame.len(),
        };
        let stopped =
            Execution::new(source, &mut self.side, pool, out).run(frame, &program.steps, program.drop);
        if let Some(step) = stopped {
            self.programs.count_partly(at, step, (size.n_frames.into(), size.bytes));
        }
    }

    /// Runs a program that ends in [`Resume`](crate::pipeline::Resume), and those the frame goes on with. The first is
    /// counted already.
    #[inline(never)]
    fn run_on(
        &mut self,
        now: Instant,
        frame: Frame,
        (at, places): (u32, Places),
        pool: &mut Pool,
        out: &mut Outputs,
    ) {
        let in_port = frame.meta.in_port;
        let (received, size) = (frame.len(), wire_size(&frame));
        let mut reason = DropReason::Flow;
        let mut progress = Progress::default();
        let mut waiting = core::mem::take(&mut self.waiting);
        waiting.push_back(Waiting { frame, places, program: at, size });
        while let Some(Waiting { frame, places, program: at, size }) = waiting.pop_front() {
            let program = self.programs.get(at);
            reason = program.drop;
            let more = program.next.is_some();
            let source = Source { now, snapshot: &self.snapshot, places, in_port, received };
            let execution = Execution::new(source, &mut self.side, pool, out);
            let mut done = execution.run_on(frame, &program.steps, (progress, more));
            progress = done.progress;
            if let Some(step) = done.stopped_at {
                self.programs.count_partly(at, step, (size.n_frames.into(), size.bytes));
            }
            let whole = done.kept.len() == 1;
            for (mut frame, _) in done.kept.drain(..) {
                let size = if whole { size } else { wire_size(&frame) };
                frame.meta.in_port = in_port;
                match self.resume(&frame, at) {
                    Ok((program, places)) => {
                        self.programs.count(program, now, size.n_frames.into(), size.bytes);
                        waiting.push_back(Waiting { frame, places, program, size });
                    }
                    Err(reason) => {
                        progress.fail(reason);
                        pool.free(frame);
                    }
                }
            }
            self.side.kept = done.kept;
        }
        self.waiting = waiting;
        if let Some(reason) = progress.drop_reason(reason) {
            self.side.drops[reason] += 1;
        }
    }

    /// Reads a frame again that program `at` ended with, and finds the program it goes on with. Not cached: the cache
    /// knows frames as they were received.
    fn resume(&mut self, frame: &Frame, at: u32) -> Result<(u32, Places), DropReason> {
        let mut key = [0; N_WORDS];
        let places = extract(frame, frame.meta.in_port, self.snapshot.layout.depth, &mut key)?;
        if places.is_fragment && self.snapshot.options.frag == FragMode::Drop {
            return Err(DropReason::Fragment);
        }
        Ok((self.programs.resume(&self.snapshot, &mut key, at), places))
    }

    /// The program of a frame: from the cache, or by a walk.
    #[inline(always)]
    fn classify<const N: usize>(&mut self, key: &Key) -> u32 {
        let words = self.snapshot.layout.pack::<N>(key);
        let epoch = self.snapshot.epoch;
        match self.cache.find(&words) {
            Some((_, program, checked)) if checked == epoch as u32 => {
                self.asked.hits += 1;
                program
            }
            Some((slot, program, checked)) => self.recheck(key, (slot, program, checked)),
            None => {
                let program = self.walk(key);
                self.cache.insert(&words, (epoch, program));
                program
            }
        }
    }

    /// Finds out whether an entry of an older epoch still holds, and what does if not.
    #[inline(never)]
    fn recheck(&mut self, key: &Key, (slot, program, checked): (Slot, u32, u32)) -> u32 {
        let holds = self.still_holds(key, program, checked);
        let program = if holds { program } else { self.walk(key) };
        self.cache.refresh(slot, self.snapshot.epoch, program);
        program
    }

    /// Whether the tables still give a key the program that they gave it in an older epoch, as far as that can be told
    /// from what changed since.
    #[inline(always)]
    fn still_holds(&self, key: &Key, program: u32, checked: u32) -> bool {
        let (snapshot, programs) = (&self.snapshot, &self.programs);
        snapshot.suspected(key, checked).is_some_and(|mut changes| {
            changes.all(|Change { came, flow, .. }| {
                // Bits that actions rewrite are not known here: whatever they are, the flow might match.
                let differs = |c: Cond| {
                    let word = usize::from(c.word);
                    (key[word] ^ c.value) & c.mask & !snapshot.layout.rewritten[word] != 0
                };
                flow.conds.iter().any(differs) || !programs.may_change(program, flow, *came)
            })
        })
    }

    fn walk(&mut self, key: &Key) -> u32 {
        self.programs.classify(&self.snapshot, key)
    }

    /// Makes sure that `n` more programs fit, if need be by forgetting all there are.
    fn make_room(&mut self, now: Instant, n: usize) {
        if self.programs.is_full(n) {
            self.flush(now);
            self.programs.clear();
            self.cache.clear();
        }
    }

    /// Obeys the owner: other tables, a packet-out, a request for counters.
    pub fn handle_order(&mut self, now: Instant, order: Order, pool: &mut Pool, out: &mut Outputs) {
        self.rise();
        self.bed.note_order();
        match order.0 {
            OrderKind::Adopt { snapshot, flush, sequence } => {
                match flush {
                    Flush::Nothing => {}
                    Flush::Entries(entries) => self.flush_entries(&entries),
                    Flush::All => self.flush(now),
                }
                // One that has just risen may have a later one.
                if snapshot.epoch > self.snapshot.epoch {
                    self.adopt(snapshot);
                }
                self.side.reports.push_back(Report(ReportKind::Done { sequence }));
            }
            OrderKind::Flush { sequence } => {
                self.flush(now);
                self.side.reports.push_back(Report(ReportKind::Done { sequence }));
            }
            OrderKind::PacketOut(injection) => self.inject(now, &injection, pool, out),
            OrderKind::Learned(learned) => self.side.fdb.adopt(learned),
        }
    }

    /// Takes the newest snapshot if it holds none.
    #[inline]
    fn rise(&mut self) {
        if self.bed.is_resting() {
            let newest = self.bed.rise();
            self.adopt(newest);
        }
    }

    fn adopt(&mut self, snapshot: Arc<Snapshot>) {
        self.cache.adapt(&snapshot.layout);
        self.direct = is_direct(&self.cache, &snapshot);
        self.snapshot = snapshot;
    }

    /// Does what a packet-out says.
    fn inject(&mut self, now: Instant, injection: &Injection, pool: &mut Pool, out: &mut Outputs) {
        let Some(mut frame) = pool.frame_from(&injection.data) else {
            self.side.drops[DropReason::TooLong] += 1;
            return;
        };
        frame.meta.in_port = injection.in_port;
        let mut key = [0; N_WORDS];
        let places = match extract(&frame, injection.in_port, self.snapshot.layout.depth, &mut key) {
            Ok(places) => places,
            Err(reason) => return self.drop_frame(reason, frame, pool),
        };
        // TABLE is done first and alone: the frame then goes through the tables as it is at that point.
        let Some(at) = injection.steps.iter().position(|step| *step == Step::Table) else {
            let source = Source {
                now,
                snapshot: &self.snapshot,
                places,
                in_port: injection.in_port,
                received: injection.data.len(),
            };
            let mut execution = Execution::new(source, &mut self.side, pool, out);
            execution.run(frame, &injection.steps, DropReason::Flow);
            return;
        };
        let copy = pool.clone_frame(&frame);
        let (before, after) = (&injection.steps[..at], &injection.steps[at + 1..]);
        let source = Source {
            now,
            snapshot: &self.snapshot,
            places,
            in_port: injection.in_port,
            received: injection.data.len(),
        };
        let changed = Execution::new(source, &mut self.side, pool, out).run_and_keep(copy, before);
        if let Some(changed) = changed {
            self.through_tables(now, changed, pool, out);
        }
        let rest: Box<[Step]> = before.iter().filter(|s| !is_output(s)).chain(after).copied().collect();
        if after.is_empty() {
            pool.free(frame);
        } else {
            let rest = Injection::new(injection.in_port, frame.to_vec(), rest);
            pool.free(frame);
            self.inject(now, &rest, pool, out);
        }
    }

    /// Submits a frame to the first table.
    fn through_tables(&mut self, now: Instant, frame: Frame, pool: &mut Pool, out: &mut Outputs) {
        let mut key = [0; N_WORDS];
        match extract(&frame, frame.meta.in_port, self.snapshot.layout.depth, &mut key) {
            Ok(places) => {
                self.make_room(now, 1);
                let program = self.walk(&key);
                let size = wire_size(&frame);
                self.programs.count(program, now, size.n_frames.into(), size.bytes);
                self.run_steps(now, frame, (program, places), pool, out);
            }
            Err(reason) => self.drop_frame(reason, frame, pool),
        }
    }

    /// What the owner must know, until there is nothing left.
    pub fn poll_report(&mut self) -> Option<Report> {
        let report = self.side.reports.pop_front()?;
        if matches!(report.0, ReportKind::Punt(_)) {
            self.side.n_punts -= 1;
        }
        Some(report)
    }

    /// To be called before the worker sleeps and at least every second: counters become reports. Until the next frame or
    /// order it holds no tables, and the owner need not wait for it.
    pub fn handle_idle(&mut self, now: Instant) {
        self.side.fdb.sweep(now);
        self.flush(now);
        if !self.bed.is_resting() {
            let nap = self.bed.rest(&mut self.snapshot);
            self.side.reports.push_back(Report(ReportKind::Resting(nap)));
        }
    }

    /// Reports all counts.
    fn flush(&mut self, _now: Instant) {
        let (mut counted, n) = (Counted::default(), self.snapshot.tables.len());
        self.programs.drain(|entries, tables, counts| counted.add(n, (entries, tables), counts));
        counted.groups = core::mem::take(&mut self.side.groups);
        counted.drops = core::mem::take(&mut self.side.drops);
        counted.cache = core::mem::take(&mut self.asked);
        self.report(counted);
    }

    /// Reports what was counted of some entries, and of those that frames hit together with them.
    fn flush_entries(&mut self, wanted: &[Index]) {
        let (mut counted, n) = (Counted::default(), self.snapshot.tables.len());
        self.programs.drain_of(wanted, |entries, tables, counts| counted.add(n, (entries, tables), counts));
        self.report(counted);
    }

    fn report(&mut self, counted: Counted) {
        if !counted.entries.is_empty()
            || !counted.tables.is_empty()
            || !counted.groups.is_empty()
            || counted.drops.total() != 0
        {
            self.side.reports.push_back(Report(ReportKind::Counters(Box::new(counted))));
        }
    }

    /// The epoch of the tables it forwards by; while it rests, of those it would take.
    pub fn epoch(&self) -> u64 {
        if self.bed.is_resting() { self.bed.newest_epoch() } else { self.snapshot.epoch }
    }
}

fn is_direct(cache: &Cache, snapshot: &Snapshot) -> bool {
    !cache.is_enabled() || snapshot.tables[0].is_as_good_as_cached()
}

fn is_output(step: &Step) -> bool {
    matches!(
        step,
        Step::Output(_)
            | Step::InPort
            | Step::Flood
            | Step::All
            | Step::Normal
            | Step::Punt(Punt { reason: PacketInReason::PacketOut, .. })
            | Step::Group(..)
    )
}
