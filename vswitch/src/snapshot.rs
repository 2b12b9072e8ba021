//! What the workers forward by, and how the owner publishes changes of it.
//!
//! There are two instances of everything. The owner changes the one no worker holds and publishes it with a new epoch;
//! when every worker has taken it, the other one catches up from the log of changes and is next. A commit costs what
//! changed, and a worker never sees half of one.

use std::sync::{Arc, OnceLock};

use lookup::{ExactMap, Rule, Secret};
use openflow::{FragMode, GroupId, MeterId, PacketInReason, PortConfig, PortDesc, PortNo, PortState};
use packet::Instant;

use crate::entry::Entry;
use crate::group::Group;
use crate::key::{self, Depth, Key, N_WORDS};
use crate::limit::{PacketInLimit, Taken};
use crate::meter::Meter;
use crate::screen::{self, Screen};
use crate::table::Table;

/// A flow entry as the tables hold it.
pub(crate) type Flow = Arc<Rule<Entry>>;

/// Most changes of flows after which cached microflows are still tested against them.
pub(crate) const MAX_CHANGES: usize = screen::MAX_FLOWS;

/// A port, as far as forwarding is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRow {
    pub port: PortNo,
    pub config: PortConfig,
    pub state: PortState,
}

impl PortRow {
    pub(crate) fn may_send(&self) -> bool {
        self.config.0 & (PortConfig::PORT_DOWN | PortConfig::NO_FWD).0 == 0
            && !self.state.contains(PortState::LINK_DOWN)
    }

    pub(crate) fn may_receive(&self) -> bool {
        self.config.0 & (PortConfig::PORT_DOWN | PortConfig::NO_RECV).0 == 0
    }

    pub(crate) fn floods(&self) -> bool {
        self.may_send()
            && !self.state.contains(PortState::BLOCKED)
            && !self.config.contains(PortConfig::NO_FLOOD)
    }

    pub(crate) fn is_live(&self) -> bool {
        !self.config.contains(PortConfig::PORT_DOWN) && !self.state.contains(PortState::LINK_DOWN)
    }
}

/// The ports, in ascending order of numbers.
#[derive(Debug)]
pub(crate) struct Ports {
    rows: Vec<PortRow>,
    by_number: ExactMap,
    packet_ins: Arc<PacketInLimit>,
    /// What each port has taken of that.
    taken: Vec<Taken>,
}

impl Ports {
    pub(crate) fn new<'a>(
        descs: impl Iterator<Item = &'a PortDesc>,
        secret: Secret,
        packet_ins: Arc<PacketInLimit>,
    ) -> Self {
        let rows: Vec<_> =
            descs.map(|d| PortRow { port: d.port, config: d.config, state: d.state }).collect();
        let mut by_number = ExactMap::new(1, secret);
        for (at, row) in rows.iter().enumerate() {
            by_number.insert(&[row.port.0.into()], at as u32);
        }
        let taken = rows.iter().map(|_| Taken::default()).collect();
        Self { rows, by_number, packet_ins, taken }
    }

    #[inline]
    pub(crate) fn get(&self, port: PortNo) -> Option<&PortRow> {
        // Most switches number their ports from one.
        match self.rows.get((port.0 as usize).wrapping_sub(1)) {
            Some(row) if row.port == port => Some(row),
            _ => self.rows.get(self.position(port)?),
        }
    }

    fn position(&self, port: PortNo) -> Option<usize> {
        self.by_number.get_array([port.0.into()]).map(|at| at as usize)
    }

    /// Whether a packet that came by a port may go to the controller now.
    pub(crate) fn may_punt(&self, now: Instant, reason: PacketInReason, in_port: PortNo) -> bool {
        let own = self.position(in_port).and_then(|at| self.taken.get(at));
        self.packet_ins.admits(now, reason, own.map(|taken| (taken, self.taken.len())))
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, PortRow> {
        self.rows.iter()
    }
}

/// Bits of a word of a key, and where they go in the key of the microflow cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub word: u8,
    pub mask: u64,
    pub rotate: u8,
    pub to: u8,
}

/// Which bits of a key the flows look at or depend on: the key of the microflow cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Words with their bits, only those with any, packed into as few as a simple search finds, in the order of these.
    pub parts: Vec<Part>,
    /// For each word they are packed into, the parts up to the end of it.
    ends: [u8; N_WORDS],
    /// Words they are packed into.
    pub n_words: usize,
    /// Bits that some action rewrites: later tables may see others than the frame came with.
    pub rewritten: Key,
    pub depth: Depth,
    /// Changes with the words.
    pub generation: u64,
}

impl Layout {
    pub(crate) fn new(needed: &Key, rewritten: Key, generation: u64) -> Self {
        // What can only come from actions is zero in every frame.
        let given = |word: usize| ![key::METADATA, key::TUNNEL].contains(&word);
        let (mut parts, mut used) = (Vec::new(), Vec::<u64>::new());
        for word in (0..N_WORDS).filter(|&w| needed[w] != 0 && given(w)) {
            let mask = needed[word];
            let places = (0..used.len()).flat_map(|to| (0..64).map(move |rotate| (to, rotate)));
            let free = places.into_iter().find(|&(to, rotate)| used[to] & mask.rotate_left(rotate) == 0);
            let (to, rotate) = free.unwrap_or_else(|| {
                used.push(0);
                (used.len() - 1, 0)
            });
            used[to] |= mask.rotate_left(rotate);
            parts.push(Part { word: word as u8, mask, rotate: rotate as u8, to: to as u8 });
        }
        parts.sort_by_key(|part: &Part| part.to);
        let ends = core::array::from_fn(|to| parts.partition_point(|part| usize::from(part.to) <= to) as u8);
        Self { parts, ends, n_words: used.len(), rewritten, depth: key::depth(needed), generation }
    }

    /// What the cache knows a frame by.
    #[inline(always)]
    pub(crate) fn pack<const N: usize>(&self, key: &Key) -> [u64; N] {
        let pick = |packed: u64, part: &Part| {
            let word = key.get(usize::from(part.word)).map_or(0, |word| word & part.mask);
            packed | word.rotate_left(part.rotate.into())
        };
        if N == 1 {
            return [self.parts.iter().fold(0, pick); N];
        }
        let mut parts = self.parts.iter();
        let mut start = 0;
        core::array::from_fn(|to| {
            let end = self.ends.get(to).map_or(start, |&end| usize::from(end));
            parts.by_ref().take(end - core::mem::replace(&mut start, end)).fold(0, pick)
        })
    }
}

/// A flow that came or went in an epoch.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub epoch: u64,
    pub came: bool,
    pub flow: Flow,
}

/// Epochs back to which it is known at once which changes are later.
const N_AGES: usize = 64;

/// The latest changes as microflows are tested against them.
#[derive(Debug)]
struct Recent {
    screen: Screen,
    /// For each number of epochs that have passed, the changes from before.
    n_before: [u8; N_AGES],
}

impl Recent {
    fn new(snapshot: &Snapshot) -> Self {
        let flows: Vec<_> = snapshot.changes.iter().map(|change| &change.flow.conds).collect();
        // Bits that actions rewrite are not known of a frame: whatever they are, a flow might match.
        let screen = Screen::new(&flows, &snapshot.layout.rewritten);
        let n_before = core::array::from_fn(|age| {
            let before = |change: &Change| change.epoch + age as u64 <= snapshot.epoch;
            snapshot.changes.partition_point(before) as u8
        });
        Self { screen, n_before }
    }

    /// The changes of the last `age` epochs that may concern a key, a bit each.
    #[inline(always)]
    fn suspects(&self, key: &Key, age: usize) -> u64 {
        let n_before = self.n_before.get(age).copied().unwrap_or_default();
        let later = u64::MAX.checked_shl(n_before.into()).unwrap_or_default();
        self.screen.suspects(key) & later
    }
}

/// Everything a worker forwards by.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub epoch: u64,
    pub tables: Vec<Table>,
    pub ports: Arc<Ports>,
    pub groups: Groups,
    pub meters: Meters,
    pub layout: Arc<Layout>,
    pub options: Options,
    /// The latest changes of flows, oldest first.
    pub changes: Vec<Change>,
    /// A microflow checked in this epoch or later can be tested against `changes`.
    pub tested_from: u64,
    /// Of `changes`; made when it is first asked for.
    recent: OnceLock<Recent>,
}

/// The groups by number.
pub(crate) type Groups = std::collections::BTreeMap<GroupId, Arc<Group>>;

/// The meters by number.
pub(crate) type Meters = std::collections::BTreeMap<MeterId, Arc<Meter>>;

/// Switches that are not tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub frag: FragMode,
    /// Everything by NORMAL: there is no controller and the mode is fail-standalone.
    pub standalone: bool,
    /// Someone wants packets whose TTL is invalid.
    pub punt_invalid_ttl: bool,
    /// Someone wants packets that no flow matched, as controllers before 1.3 do.
    pub punt_misses: bool,
    pub secret: Secret,
}

/// One change, to be done to both instances.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Insert(Flow),
    Remove(Flow),
    Ports(Arc<Ports>),
    /// None takes it away.
    Group(GroupId, Option<Arc<Group>>),
    /// None takes it away.
    Meter(MeterId, Option<Arc<Meter>>),
    Layout(Arc<Layout>),
    Options(Options),
}

impl Snapshot {
    pub(crate) fn new(n_tables: u8, options: Options) -> Self {
        Self {
            epoch: 0,
            tables: (0..n_tables).map(|_| Table::new(options.secret)).collect(),
            ports: Arc::new(Ports::new([].into_iter(), options.secret, Arc::default())),
            groups: Groups::new(),
            meters: Meters::new(),
            layout: Arc::new(Layout::new(&[0; N_WORDS], [0; N_WORDS], 0)),
            options,
            changes: Vec::new(),
            tested_from: 0,
            recent: OnceLock::new(),
        }
    }

    /// The epoch in which a microflow was checked, of which a cache keeps the end.
    #[inline(always)]
    pub(crate) fn epoch_of(&self, checked: u32) -> u64 {
        self.epoch - u64::from((self.epoch as u32).wrapping_sub(checked))
    }

    /// The changes since a microflow was checked that may concern it, a bit each; none if some changes are forgotten. Told
    /// without looking at each.
    #[inline(always)]
    pub(crate) fn suspects(&self, key: &Key, checked: u32) -> Option<u64> {
        let age = (self.epoch as u32).wrapping_sub(checked) as usize;
        let recent = self.recent.get_or_init(|| Recent::new(self));
        (self.epoch_of(checked) >= self.tested_from).then(|| recent.suspects(key, age))
    }

    /// The changes themselves.
    pub(crate) fn suspected(&self, key: &Key, checked: u32) -> Option<impl Iterator<Item = &Change>> {
        let all = self.suspects(key, checked)?;
        let left = core::iter::successors(Some(all), |left| Some(left & left.wrapping_sub(1)));
        let places = left.take_while(|left| *left != 0).map(|left| left.trailing_zeros() as usize);
        Some(places.filter_map(|at| self.changes.get(at)))
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert(flow) => self.tables[usize::from(flow.value.table)].insert(flow),
            Op::Remove(flow) => self.tables[usize::from(flow.value.table)].remove(&flow),
            Op::Ports(ports) => self.ports = ports,
            Op::Group(group, Some(new)) => drop(self.groups.insert(group, new)),
            Op::Group(group, None) => drop(self.groups.remove(&group)),
            Op::Meter(meter, Some(new)) => drop(self.meters.insert(meter, new)),
            Op::Meter(meter, None) => drop(self.meters.remove(&meter)),
            Op::Layout(layout) => self.layout = layout,
            Op::Options(options) => self.options = options,
        }
    }
}

/// The owner's end: both instances and what they do not know yet.
#[derive(Debug)]
pub(crate) struct Publisher {
    live: Arc<Snapshot>,
    idle: Arc<Snapshot>,
    /// Known to `live`, not to `idle`.
    behind: Vec<Op>,
    /// Known to neither.
    pending: Vec<Op>,
    /// Of these, those up to the last that is not of a flow.
    n_urgent: usize,
    changes: Vec<Change>,
    tested_from: u64,
}

impl Publisher {
    pub(crate) fn new(n_tables: u8, options: Options) -> Self {
        Self {
            live: Arc::new(Snapshot::new(n_tables, options)),
            idle: Arc::new(Snapshot::new(n_tables, options)),
            behind: Vec::new(),
            pending: Vec::new(),
            n_urgent: 0,
            changes: Vec::new(),
            tested_from: 0,
        }
    }

    /// What is published.
    pub(crate) fn live(&self) -> &Arc<Snapshot> {
        &self.live
    }

    pub(crate) fn push(&mut self, op: Op) {
        // A layout comes with the flow that needs it.
        let is_flow = matches!(op, Op::Insert(_) | Op::Remove(_) | Op::Layout(_));
        self.pending.push(op);
        if !is_flow {
            self.n_urgent = self.pending.len();
        }
    }

    /// How many changes are not published.
    pub(crate) fn n_pending(&self) -> usize {
        self.pending.len()
    }

    /// Forgets the changes beyond the first `n` that are not published.
    pub(crate) fn forget_pending(&mut self, n: usize) {
        self.pending.truncate(n);
        self.n_urgent = self.n_urgent.min(n);
    }

    /// There are changes that are not published.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Among them is another than of flows.
    pub(crate) fn is_urgent(&self) -> bool {
        self.n_urgent > 0
    }

    /// Publishes what is pending if there is any and no worker holds the idle instance.
    pub(crate) fn publish(&mut self) -> Option<Arc<Snapshot>> {
        if !self.is_dirty() {
            return None;
        }
        let epoch = self.live.epoch + 1;
        let idle = Arc::get_mut(&mut self.idle)?;
        let mut caught_up = [false; 256];
        for op in self.behind.drain(..) {
            if let Op::Insert(flow) | Op::Remove(flow) = &op {
                caught_up[usize::from(flow.value.table)] = true;
            }
            idle.apply(op);
        }
        let both = idle.tables.iter_mut().zip(&self.live.tables).zip(caught_up);
        both.filter(|(_, is)| *is).for_each(|((mine, theirs), _)| mine.share(theirs));
        self.pending.iter().for_each(|op| idle.apply(op.clone()));
        note_changes(&mut self.changes, &mut self.tested_from, epoch, &self.pending);
        let is_new = |change: &&Change| change.epoch > idle.epoch;
        let new: Vec<_> = self.changes.iter().filter(is_new).cloned().collect();
        idle.changes.retain(|change| change.epoch > self.tested_from);
        idle.changes.extend(new);
        idle.epoch = epoch;
        idle.tested_from = self.tested_from;
        idle.recent = OnceLock::new();
        core::mem::swap(&mut self.live, &mut self.idle);
        self.behind = core::mem::take(&mut self.pending);
        self.n_urgent = 0;
        Some(self.live.clone())
    }
}

/// Keeps the latest changes, or says that there were too many.
fn note_changes(changes: &mut Vec<Change>, tested_from: &mut u64, epoch: u64, ops: &[Op]) {
    // Of more than are kept, one more: that some are forgotten.
    let is_flow = |op: &&Op| matches!(op, Op::Insert(_) | Op::Remove(_));
    let n_flows = ops.iter().filter(is_flow).count();
    for op in ops.iter().filter(is_flow).skip(n_flows.saturating_sub(MAX_CHANGES + 1)) {
        match op {
            Op::Insert(flow) => changes.push(Change { epoch, came: true, flow: flow.clone() }),
            Op::Remove(flow) => changes.push(Change { epoch, came: false, flow: flow.clone() }),
            // A layout of its own flushes the caches, the others are looked up each time.
            Op::Layout(_) | Op::Ports(_) | Op::Group(..) | Op::Meter(..) | Op::Options(_) => {}
        }
    }
    if changes.len() > MAX_CHANGES {
        let cut = changes.len() - MAX_CHANGES;
        // A microflow must have been checked after the last change that is forgotten.
        *tested_from = changes[cut - 1].epoch;
        changes.drain(..cut);
        changes.retain(|change| change.epoch > *tested_from);
    }
}
