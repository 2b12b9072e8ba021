//! From a key to a program: the walk through the tables (§5.1), and the programs walks have led to.

use lookup::{ExactMap, Index, Secret};
use packet::{Instant, PortNo};

use crate::DropReason;
use crate::entry::Leaf;
use crate::key::{self, Key};
use crate::rewrite::Rewrite;
use crate::snapshot::{Flow, Snapshot};
use crate::step::{ActionSet, Punt, Step};

/// Most programs a worker keeps; then it forgets all of them and begins again.
const MAX_PROGRAMS: usize = 1 << 17;
/// Set in the last element of a path that ended in a table miss.
const MISS: u64 = 1 << 63;
/// No program.
const NONE: u32 = u32::MAX;
/// Set in the first element of a path that goes on where the program of this number ended.
const RESUMED: u64 = 1 << 62;

/// What the usual frame of a program needs: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Line {
    counts: Counts,
    /// The entry it stands for, if it is of a path of one.
    leaf: Leaf,
    pub shortcut: Shortcut,
}

/// How the steps of a program are done without looking at them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shortcut {
    None,
    Output(PortNo),
    Rewrite(Rewrite, PortNo),
    /// By the flows.
    Drop,
    /// Nothing matched: for the controller, if it wants to see that.
    Miss,
}

/// What to do with every frame of some microflows: a straight list.
#[derive(Debug)]
pub(crate) struct Program {
    pub steps: Box<[Step]>,
    /// Why the frame is dropped if the steps send it nowhere.
    pub drop: DropReason,
    /// The entries it hit.
    pub entries: Box<[Index]>,
    /// For each entry, its rank.
    ranks: Box<[u64]>,
    /// For each entry, the steps up to the end of its own; the action set comes behind them all.
    ends: Box<[usize]>,
    /// The tables it was looked up in: those of the entries, then the one that missed.
    pub tables: Box<[u8]>,
    path: Box<[u64]>,
    /// For each entry, the program that hit it that was made before this one.
    before: Box<[u32]>,
    shortcut: Shortcut,
    /// Where the frame goes on when it was read again.
    pub next: Option<Box<Resume>>,
}

/// How a program ends whose last entry exposes headers that its key does not know: the frame is read again, and goes on
/// in the same epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resume {
    table: u8,
    metadata: u64,
    set: ActionSet,
}

/// What frames of a program were counted since the last report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub packets: u64,
    pub bytes: u64,
    pub last_used: Instant,
}

/// The entry that a key hits in the first table; none if there are more tables to it, or if it misses.
#[inline(always)]
pub(crate) fn first_leaf(snapshot: &Snapshot, key: &Key) -> Leaf {
    snapshot.tables[0].leaf(key)
}

/// Walks the tables from `table` with `key`, and adds the path to `path`: the stamp of each entry hit, then the table that
/// missed, if one did. It ends at an entry behind which the frame must be read again. `key` ends as the last table saw
/// it.
#[inline]
fn walk(
    (snapshot, mut table): (&Snapshot, u8),
    key: &mut Key,
    path: &mut Vec<u64>,
    mut visit: impl FnMut(&Flow),
) {
    loop {
        let Some((flow, _)) = snapshot.tables.get(usize::from(table)).and_then(|t| t.lookup(key)) else {
            path.push(MISS | u64::from(table));
            return;
        };
        visit(flow);
        let entry = &flow.value;
        path.push(entry.stamp);
        let Some(next) = entry.goto.filter(|_| !entry.rebuilds) else { return };
        if !entry.keeps_key {
            for step in &entry.body.apply {
                step.apply(key);
            }
            let (bits, mask) = entry.body.metadata;
            key[key::METADATA] = key[key::METADATA] & !mask | bits;
        }
        table = next;
    }
}

/// Puts the actions of a path together that begins as `start` says.
fn assemble(flows: &[Flow], path: &[u64], start: Resume) -> Program {
    let Resume { mut set, mut metadata, table: start_table } = start;
    let mut steps = Vec::new();
    let mut ends = Vec::with_capacity(flows.len());
    for flow in flows {
        let body = &flow.value.body;
        steps.extend(body.apply.iter().map(|step| step.with_metadata(metadata)));
        ends.push(steps.len());
        let (bits, mask) = body.metadata;
        metadata = metadata & !mask | bits;
        if body.clear {
            set.clear();
        }
        set.write(&body.write);
    }
    let miss = path.last().filter(|&&last| last & MISS != 0);
    // §5.4: a frame that misses without a table-miss entry is dropped, its action set with it.
    let last = flows.last().filter(|flow| miss.is_none() && flow.value.rebuilds);
    let next = last.and_then(|flow| flow.value.goto);
    if miss.is_none() && next.is_none() {
        // §7.4.1: the table of a packet-in is the one that was looked up last.
        let table = flows.last().map_or(start_table, |flow| flow.value.table);
        steps.extend(set.steps().map(|step| step.with_metadata(metadata).behind_table(table)));
    }
    // Controllers before 1.3 want to see what missed; whether there is one is known when the frame comes.
    if let Some(&table) = miss {
        steps.push(Step::Punt(Punt::miss(table as u8, metadata)));
    }
    let shortcut = match (&*steps, Rewrite::of(&steps)) {
        _ if next.is_some() => Shortcut::None,
        (&[Step::Output(port)], _) => Shortcut::Output(port),
        (&[], _) => Shortcut::Drop,
        (&[Step::Punt(Punt { is_miss: true, .. })], _) => Shortcut::Miss,
        (_, Some((rewrite, port))) => Shortcut::Rewrite(rewrite, port),
        _ => Shortcut::None,
    };
    Program {
        shortcut,
        steps: steps.into(),
        drop: if miss.is_some() { DropReason::TableMiss } else { DropReason::Flow },
        ends: ends.into(),
        entries: flows.iter().map(|flow| flow.value.id).collect(),
        ranks: flows.iter().map(|flow| flow.rank).collect(),
        tables: flows.iter().map(|flow| flow.value.table).chain(miss.map(|&last| last as u8)).collect(),
        path: path.into(),
        before: Box::default(),
        next: next.map(|table| Box::new(Resume { table, metadata, set })),
    }
}

/// Frames that a step dropped on the way: they hit only the first entries of their program.
#[derive(Clone, Copy, Debug)]
struct Partial {
    program: u32,
    n_entries: usize,
    counts: Counts,
}

/// The programs of a worker, one for each path taken.
#[derive(Debug)]
pub(crate) struct Programs {
    secrets: [Secret; 2],
    by_path: ExactMap,
    /// For paths of one entry the program, if it still is of that entry, by the slot of its id.
    by_entry: Vec<u32>,
    /// The latest program that hits an entry, by the slot of its id.
    latest: Vec<(Index, u32)>,
    programs: Vec<Program>,
    /// For each, what the usual frame needs.
    lines: Vec<Line>,
    /// Those with counts.
    used: Vec<u32>,
    partial: Vec<Partial>,
    path: Vec<u64>,
}

impl Programs {
    pub(crate) fn new(secret: Secret) -> Self {
        Self {
            secrets: [secret, secret.next()],
            by_path: ExactMap::new(2, secret.next().next()),
            by_entry: Vec::new(),
            latest: Vec::new(),
            programs: Vec::new(),
            lines: Vec::new(),
            used: Vec::new(),
            partial: Vec::new(),
            path: Vec::new(),
        }
    }

    /// The worker should flush its counts and forget everything before `n` more programs are made.
    pub(crate) fn is_full(&self, n: usize) -> bool {
        self.programs.len() + n > MAX_PROGRAMS
    }

    /// Forgets everything; counts must have been taken.
    pub(crate) fn clear(&mut self) {
        self.by_path.clear();
        self.by_entry.clear();
        self.latest.clear();
        self.programs.clear();
        self.lines.clear();
        self.used.clear();
    }

    #[inline(always)]
    pub(crate) fn get(&self, at: u32) -> &Program {
        &self.programs[at as usize]
    }

    /// Counts a frame, and tells what the program usually does with it.
    #[inline(always)]
    pub(crate) fn count(&mut self, at: u32, now: Instant, packets: u64, bytes: u64) -> &Shortcut {
        let Line { counts, shortcut, .. } = &mut self.lines[at as usize];
        if counts.packets == 0 {
            self.used.push(at);
        }
        counts.packets += packets;
        counts.bytes += bytes;
        counts.last_used = now;
        shortcut
    }

    /// Takes a frame back that was just counted: the step `stopped_at` dropped it, so that the tables behind that step
    /// never saw it.
    #[inline(never)]
    pub(crate) fn count_partly(&mut self, at: u32, stopped_at: usize, (packets, bytes): (u64, u64)) {
        let (program, line) = (&self.programs[at as usize], &mut self.lines[at as usize]);
        let n_entries = program.ends.partition_point(|&end| end <= stopped_at) + 1;
        if n_entries >= program.entries.len() {
            // It saw every entry; only a table that missed behind them can be too many.
            if program.tables.len() == program.entries.len() {
                return;
            }
        }
        line.counts.packets -= packets;
        line.counts.bytes -= bytes;
        let last_used = line.counts.last_used;
        let known = self.partial.iter_mut().find(|p| p.program == at && p.n_entries == n_entries);
        let partial = match known {
            Some(partial) => partial,
            None => {
                let new = Partial { program: at, n_entries, counts: Counts::default() };
                self.partial.push(new);
                self.partial.last_mut().expect("it was just pushed")
            }
        };
        partial.counts.packets += packets;
        partial.counts.bytes += bytes;
        partial.counts.last_used = last_used;
    }

    /// Takes all counts: for each program, the entries it hit, the tables it was looked up in, how often.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(&[Index], &[u8], Counts)) {
        for at in self.used.drain(..) {
            let counts = core::mem::take(&mut self.lines[at as usize].counts);
            if counts.packets != 0 {
                let program = &self.programs[at as usize];
                take(&program.entries, &program.tables, counts);
            }
        }
        self.drain_partial(take);
    }

    /// Takes the counts of the programs that hit any of these entries.
    pub(crate) fn drain_of(&mut self, entries: &[Index], mut take: impl FnMut(&[Index], &[u8], Counts)) {
        for entry in entries {
            let latest = self.latest.get(entry.slot()).filter(|(known, _)| known == entry);
            let mut next = latest.map_or(NONE, |&(_, at)| at);
            while let Some(program) = self.programs.get(next as usize) {
                let counts = core::mem::take(&mut self.lines[next as usize].counts);
                if counts.packets != 0 {
                    take(&program.entries, &program.tables, counts);
                }
                let place = program.entries.iter().position(|e| e == entry);
                next = place.map_or(NONE, |place| program.before[place]);
            }
        }
        self.drain_partial(take);
    }

    fn drain_partial(&mut self, mut take: impl FnMut(&[Index], &[u8], Counts)) {
        for Partial { program, n_entries, counts } in self.partial.drain(..) {
            let program = &self.programs[program as usize];
            let n = n_entries.min(program.entries.len());
            take(&program.entries[..n], &program.tables[..n], counts);
        }
    }

    /// The program for a frame with this key.
    #[inline]
    pub(crate) fn classify(&mut self, snapshot: &Snapshot, key: &Key) -> u32 {
        self.program_of(first_leaf(snapshot, key), snapshot, key)
    }

    /// The program for a frame with this key, whose first entry is this.
    #[inline(always)]
    pub(crate) fn program_of(&mut self, leaf: Leaf, snapshot: &Snapshot, key: &Key) -> u32 {
        if !leaf.is_terminal() {
            return self.classify_path(snapshot, key, None);
        }
        if let Some(&program) = self.by_entry.get(leaf.slot())
            && let Some(line) = self.lines.get(program as usize)
            && line.leaf == leaf
        {
            return program;
        }
        self.learn_entry(snapshot, key, leaf)
    }

    /// Whether frames of a program would take another path because a flow came or went, if it matches them. Of a table
    /// that they do not come to no flow concerns them, nor does one that comes below the entry that they hit, or goes
    /// without being that entry; so none of several such flows does.
    pub(crate) fn may_change(&self, at: u32, flow: &Flow, came: bool) -> bool {
        let program = self.get(at);
        if !came {
            return program.path.contains(&flow.value.stamp);
        }
        let place = program.tables.iter().position(|&table| table == flow.value.table);
        // Without an entry the table was missed.
        place.is_some_and(|n| program.ranks.get(n).is_none_or(|&rank| flow.rank > rank))
    }

    /// The program for a frame that program `at` ended with, as it was read again.
    pub(crate) fn resume(&mut self, snapshot: &Snapshot, key: &mut Key, at: u32) -> u32 {
        key[key::METADATA] = self.get(at).next.as_deref().map_or(0, |next| next.metadata);
        self.classify_path(snapshot, key, Some(at))
    }

    /// The tables that a frame was looked up in since the counts were taken, with the entry that matched: none behind
    /// a step that dropped it.
    pub(crate) fn visited(&self) -> impl Iterator<Item = (u8, Option<Index>)> + '_ {
        self.used.iter().flat_map(|&at| {
            let program = self.get(at);
            let entries = program.entries.iter().copied().map(Some).chain(core::iter::repeat(None));
            let stopped = self.partial.iter().find(|partial| partial.program == at);
            let n = stopped.map_or(program.tables.len(), |partial| partial.n_entries);
            program.tables.iter().copied().zip(entries).take(n)
        })
    }

    fn start(&self, prior: Option<u32>) -> Resume {
        let next = prior.and_then(|at| self.get(at).next.as_deref());
        next.cloned().unwrap_or_default()
    }

    /// Remembers the program of a path of one entry by that entry.
    #[cold]
    fn learn_entry(&mut self, snapshot: &Snapshot, key: &Key, leaf: Leaf) -> u32 {
        let program = self.classify_path(snapshot, key, None);
        let slot = leaf.slot();
        if self.by_entry.len() <= slot {
            self.by_entry.resize(slot + 1, u32::MAX);
        }
        self.by_entry[slot] = program;
        self.lines[program as usize].leaf = leaf;
        program
    }

    fn classify_path(&mut self, snapshot: &Snapshot, key: &Key, prior: Option<u32>) -> u32 {
        let mut path = core::mem::take(&mut self.path);
        path.clear();
        path.extend(prior.map(|at| RESUMED | u64::from(at)));
        let table = prior.and_then(|at| self.get(at).next.as_deref()).map_or(0, |next| next.table);
        walk((snapshot, table), &mut key.clone(), &mut path, |_| {});
        let name = self.secrets.map(|secret| secret.hash(&path));
        let known = self.by_path.get_array(name);
        let at = match known {
            Some(at) if is_same(&self.programs[at as usize].path, &path) => at,
            _ => self.learn_path((snapshot, prior), key, &path, name),
        };
        self.path = path;
        at
    }

    #[cold]
    fn learn_path(
        &mut self,
        (snapshot, prior): (&Snapshot, Option<u32>),
        key: &Key,
        path: &[u64],
        name: [u64; 2],
    ) -> u32 {
        let start = self.start(prior);
        let mut flows = Vec::new();
        walk((snapshot, start.table), &mut key.clone(), &mut Vec::new(), |flow| flows.push(flow.clone()));
        let mut program = assemble(&flows, path, start);
        let at = self.programs.len() as u32;
        program.before = program.entries.iter().map(|&entry| self.note_program(entry, at)).collect();
        self.lines.push(Line {
            counts: Counts::default(),
            leaf: Leaf::default(),
            shortcut: program.shortcut,
        });
        self.programs.push(program);
        self.by_path.insert(&name, at);
        at
    }

    /// A program hits an entry; returns the latest that did so far. Those of entries that went have no counts any more.
    fn note_program(&mut self, entry: Index, program: u32) -> u32 {
        let slot = entry.slot();
        if self.latest.len() <= slot {
            self.latest.resize(slot + 1, (entry, NONE));
        }
        let (known, before) = core::mem::replace(&mut self.latest[slot], (entry, program));
        if known == entry { before } else { NONE }
    }
}

#[inline(always)]
fn is_same(a: &[u64], b: &[u64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_usual_frame_needs_is_in_one_cache_line() {
        assert_eq!(size_of::<Line>(), 64);
    }
}
