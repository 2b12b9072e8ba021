//! The flows of one table, found without looking at all of them.
//!
//! By table, priority and match there is always one look-up. For requests that are not strict, and for the overlap
//! check, an index comes into being for the kind of request that is made again (the bits its match looks at, the mask of
//! its cookie, its port), and is kept up while such requests come. What a controller asks once costs a scan.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use lookup::{Index, Masks, Secret};
use openflow::{Action, Instruction, Match, PortNo};

use super::eviction::Eviction;
use super::flows::Records;
use super::pattern::{self, Pattern};
use super::record::FlowRecord;

/// Flows below which a scan is as good as an index.
const FEW: usize = 32;
/// Indices of a table.
const MAX_POSTINGS: usize = 4;

/// Hashes need not be hashed again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// A kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Matches that look at these bits.
    Bits(Arc<Masks>),
    /// Cookies under this mask.
    Cookie(u64),
    /// Outputs to ports.
    Port,
}

impl Kind {
    /// What a flow is found by.
    fn each_key(&self, secret: Secret, record: &FlowRecord, mut found: impl FnMut(u64)) {
        match self {
            Self::Bits(masks) => {
                pattern::project(secret, record.conds(), masks).into_iter().for_each(found);
            }
            Self::Cookie(mask) => found(record.cookie.0 & mask),
            Self::Port => each_output(record.instructions(), |port| found(port.0.into())),
        }
    }
}

fn each_output(instructions: &[Instruction], mut found: impl FnMut(PortNo)) {
    for instruction in instructions {
        if let Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) = instruction {
            for action in actions {
                if let Action::Output { port, .. } = action {
                    found(*port);
                }
            }
        }
    }
}

/// The flows for each key of a kind.
#[derive(Debug)]
struct Posting {
    kind: Kind,
    flows: BTreeSet<(u64, Index)>,
    /// When it was last asked.
    used: u64,
}

/// Which flows a request speaks of, beside what it says of each.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// None if no frame can satisfy the match.
    pub pattern: Option<Pattern<'a>>,
    pub cookie: (u64, u64),
    pub out_port: Option<PortNo>,
}

#[derive(Debug)]
pub(super) struct TableIndex {
    secret: Secret,
    /// Bits of a hash that count: all, but in tests.
    hash_mask: u64,
    strict: HashMap<u64, Index, BuildHasherDefault<AsIs>>,
    /// Flows whose hash is another's, too.
    clashes: Vec<(u64, Index)>,
    /// Flows that no frame can match.
    impossible: BTreeSet<Index>,
    postings: Vec<Posting>,
    /// Kinds that cost a scan lately.
    scanned: Vec<Kind>,
    /// How many flows of a priority look at the same bits; there once an overlap was asked for.
    shapes: Option<BTreeMap<(u16, Arc<Masks>), u32>>,
    /// There once a flow had to go for another.
    eviction: Option<Eviction>,
    n_asked: u64,
}

impl TableIndex {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            secret,
            hash_mask: u64::MAX,
            strict: HashMap::default(),
            clashes: Vec::new(),
            impossible: BTreeSet::new(),
            postings: Vec::new(),
            scanned: Vec::new(),
            shapes: None,
            eviction: None,
            n_asked: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn with_clashes(mut self) -> Self {
        self.hash_mask = 3;
        self
    }

    pub(super) fn len(&self) -> usize {
        self.strict.len() + self.clashes.len() + self.impossible.len()
    }

    /// Every flow, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Index> + '_ {
        let clashes = self.clashes.iter().map(|&(_, flow)| flow);
        self.strict.values().copied().chain(clashes).chain(self.impossible.iter().copied())
    }

    fn hash(&self, priority: u16, pattern: Pattern<'_>) -> u64 {
        pattern.hash(self.secret, priority.into()) & self.hash_mask
    }

    /// The flow with this priority and pattern.
    pub(super) fn find(&self, records: &Records, priority: u16, pattern: Pattern<'_>) -> Option<Index> {
        self.find_hashed(records, self.hash(priority, pattern), priority, pattern)
    }

    fn find_hashed(
        &self,
        records: &Records,
        hash: u64,
        priority: u16,
        pattern: Pattern<'_>,
    ) -> Option<Index> {
        let is_it = |flow: &Index| {
            records.get(*flow).is_some_and(|r| {
                r.priority().0 == priority && r.fields == pattern.fields && r.conds() == pattern.conds
            })
        };
        let clashes = self.clashes.iter().filter(|(h, _)| *h == hash).map(|(_, flow)| flow);
        self.strict.get(&hash).into_iter().chain(clashes).find(|flow| is_it(flow)).copied()
    }

    /// The flow with this priority and a match that no frame satisfies.
    pub(super) fn find_impossible(&self, records: &Records, priority: u16, matches: &Match) -> Option<Index> {
        let is_it = |flow: &&Index| {
            let record = records.get(**flow);
            record.is_some_and(|r| r.priority().0 == priority && r.impossible() == Some(matches))
        };
        self.impossible.iter().find(is_it).copied()
    }

    pub(super) fn insert(&mut self, records: &Records, flow: Index) {
        let Some(record) = records.get(flow) else { return };
        self.post(record, flow, true);
        if record.is_impossible() {
            self.impossible.insert(flow);
            return;
        }
        let hash = self.hash(record.priority().0, record.pattern());
        if let Some(other) = self.strict.insert(hash, flow) {
            self.clashes.push((hash, other));
        }
        self.shape(record, 1);
    }

    pub(super) fn remove(&mut self, record: &FlowRecord, flow: Index) {
        self.post(record, flow, false);
        if self.impossible.remove(&flow) {
            return;
        }
        let hash = self.hash(record.priority().0, record.pattern());
        if self.strict.get(&hash) == Some(&flow) {
            self.strict.remove(&hash);
            if let Some(at) = self.clashes.iter().position(|(h, _)| *h == hash) {
                let (_, other) = self.clashes.swap_remove(at);
                self.strict.insert(hash, other);
            }
        } else if let Some(at) = self.clashes.iter().position(|&(_, other)| other == flow) {
            self.clashes.swap_remove(at);
        }
        self.shape(record, -1);
        if self.len() == 0 {
            *self = Self { hash_mask: self.hash_mask, ..Self::new(self.secret) };
        }
    }

    /// Notes what of a flow can change while it keeps its place: cookie, outputs, importance, timeouts.
    pub(super) fn post(&mut self, record: &FlowRecord, flow: Index, there: bool) {
        if let Some(eviction) = &mut self.eviction {
            if there { eviction.put(record, flow) } else { eviction.remove(flow) }
        }
        for Posting { kind, flows, .. } in &mut self.postings {
            kind.each_key(self.secret, record, |key| {
                if there {
                    flows.insert((key, flow))
                } else {
                    flows.remove(&(key, flow))
                };
            });
        }
    }

    fn shape(&mut self, record: &FlowRecord, by: i32) {
        let Some(shapes) = &mut self.shapes else { return };
        let key = (record.priority().0, record.conds().masks().clone());
        let n = shapes.entry(key.clone()).or_default();
        *n = n.saturating_add_signed(by);
        if *n == 0 {
            shapes.remove(&key);
        }
    }

    /// Flows among which are all that are wanted.
    pub(super) fn candidates(&mut self, records: &Records, wanted: &Wanted<'_>) -> Vec<Index> {
        let (cookie, mask) = wanted.cookie;
        let by_pattern = wanted.pattern.filter(|p| !p.conds.is_empty()).and_then(|p| {
            let masks = p.conds.masks().clone();
            Some((pattern::project(self.secret, p.conds, &masks)?, Kind::Bits(masks)))
        });
        let by_cookie = (mask != 0).then_some((cookie & mask, Kind::Cookie(mask)));
        let by_port = wanted.out_port.map(|port| (port.0.into(), Kind::Port));
        let mut kinds = by_pattern.into_iter().chain(by_cookie).chain(by_port);
        // The first is as a rule the narrowest.
        let Some((key, kind)) = kinds.next() else { return self.iter().collect() };
        let mut found = self.ask(records, kind, key);
        // What no frame can match is not among what is found by bits.
        if !self.impossible.is_empty() {
            found.extend(self.impossible.iter().copied());
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// The flows of a key, from an index if there is one; else perhaps all.
    fn ask(&mut self, records: &Records, kind: Kind, key: u64) -> Vec<Index> {
        self.n_asked += 1;
        let at = match self.postings.iter().position(|posting| posting.kind == kind) {
            Some(at) => at,
            None if self.len() <= FEW || !self.is_asked_again(&kind) => return self.iter().collect(),
            None => self.build(records, kind),
        };
        let posting = &mut self.postings[at];
        posting.used = self.n_asked;
        let first = Index::FIRST;
        let range = posting.flows.range((key, first)..).take_while(|(k, _)| *k == key);
        range.map(|&(_, flow)| flow).collect()
    }

    fn is_asked_again(&mut self, kind: &Kind) -> bool {
        if let Some(at) = self.scanned.iter().position(|known| known == kind) {
            self.scanned.remove(at);
            return true;
        }
        self.scanned.truncate(MAX_POSTINGS - 1);
        self.scanned.insert(0, kind.clone());
        false
    }

    fn build(&mut self, records: &Records, kind: Kind) -> usize {
        if self.postings.len() >= MAX_POSTINGS
            && let Some(oldest) = (0..self.postings.len()).min_by_key(|&at| self.postings[at].used)
        {
            self.postings.swap_remove(oldest);
        }
        let mut keys = Vec::with_capacity(self.len());
        for flow in self.iter() {
            let Some(record) = records.get(flow) else { continue };
            kind.each_key(self.secret, record, |key| keys.push((key, flow)));
        }
        self.postings.push(Posting { kind, flows: keys.into_iter().collect(), used: self.n_asked });
        self.postings.len() - 1
    }

    /// Some flow of this priority overlaps.
    pub(super) fn overlaps(&mut self, records: &Records, priority: u16, pattern: Pattern<'_>) -> bool {
        let clashes = |flow: &Index| {
            records.get(*flow).is_some_and(|r| {
                r.priority().0 == priority && !r.is_impossible() && r.pattern().overlaps(pattern)
            })
        };
        if self.len() <= FEW {
            return self.iter().any(|flow| clashes(&flow));
        }
        let shapes = self.shapes_of(records, priority);
        shapes.into_iter().any(|masks| {
            let common = pattern::intersection(pattern.conds.masks(), &masks);
            if common.is_empty() {
                return true;
            }
            let Some(key) = pattern::project(self.secret, pattern.conds, &common) else { return true };
            self.ask(records, Kind::Bits(common), key).iter().any(clashes)
        })
    }

    /// The sets of bits that flows of a priority look at.
    fn shapes_of(&mut self, records: &Records, priority: u16) -> Vec<Arc<Masks>> {
        if self.shapes.is_none() {
            self.shapes = Some(BTreeMap::new());
            let flows: Vec<_> = self.iter().collect();
            for record in flows.into_iter().filter_map(|flow| records.get(flow)) {
                if !record.is_impossible() {
                    self.shape(record, 1);
                }
            }
        }
        let all = self.shapes.iter().flat_map(|shapes| {
            let first = (priority, Arc::from([]));
            shapes.range(first..).take_while(|((p, _), _)| *p == priority)
        });
        all.map(|((_, masks), _)| masks.clone()).collect()
    }

    /// The flow that goes first when there is no room; `flags` say how it is chosen.
    pub(super) fn victim(&mut self, records: &Records, flags: u32) -> Option<Index> {
        if self.eviction.as_ref().is_none_or(|eviction| eviction.flags() != flags) {
            self.eviction = Some(Eviction::new(flags, records, self.iter()));
        }
        self.eviction.as_mut()?.first(records)
    }

    /// No flow has to go for another any more.
    pub(super) fn forget_eviction(&mut self) {
        self.eviction = None;
    }

    /// The flows that no frame can match.
    pub(super) fn impossible(&self) -> impl Iterator<Item = Index> + '_ {
        self.impossible.iter().copied()
    }
}
