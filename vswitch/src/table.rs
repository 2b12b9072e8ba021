//! One flow table, kept in the cheapest kind that holds its entries: empty, a few in a row, longest prefix (with a general
//! classifier beside it for the few entries that are no prefixes), or the general classifier (which for entries of one
//! mask is one hash probe).

use lookup::{Classifier, Cond, Lpm, Rule, Secret};

use crate::entry::{Entry, Leaf};
use crate::key::{self, Key};
use crate::snapshot::Flow;

/// Entries that are tried one by one.
const MAX_LINEAR: usize = 4;
/// Keys whose prefixes are looked up together.
const N_AT_ONCE: usize = 32;
/// Entries that are no prefixes for each that is one, above which the table is a general one.
const MAX_MISFITS: usize = 4;

/// A flow table.
#[derive(Debug)]
pub(crate) struct Table {
    secret: Secret,
    kind: Kind,
    /// Entries that go on to another table.
    n_gotos: usize,
}

#[derive(Debug)]
enum Kind {
    /// By descending rank.
    Linear(Vec<(Flow, Leaf)>),
    Prefix(Box<Prefixes>),
    General(Classifier<Entry>),
}

impl Table {
    pub(crate) fn new(secret: Secret) -> Self {
        Self { secret, kind: Kind::Linear(Vec::new()), n_gotos: 0 }
    }

    /// The entry of highest rank that matches.
    #[inline(always)]
    pub(crate) fn lookup(&self, key: &Key) -> Option<(&Flow, Leaf)> {
        match &self.kind {
            Kind::Linear(flows) => {
                flows.iter().find(|(flow, _)| flow.matches(key)).map(|(flow, leaf)| (flow, *leaf))
            }
            Kind::Prefix(prefixes) => prefixes.lookup(key),
            Kind::General(classifier) => classifier.lookup(key).map(|hit| (hit.rule, Leaf(hit.leaf))),
        }
    }

    /// The leaf of the entry of highest rank that matches; of none the default one.
    #[inline(always)]
    pub(crate) fn leaf(&self, key: &Key) -> Leaf {
        match &self.kind {
            Kind::Prefix(prefixes) => prefixes.leaf(key),
            Kind::Linear(_) | Kind::General(_) => self.lookup(key).map_or(Leaf::default(), |(_, leaf)| leaf),
        }
    }

    /// The leaves of many keys, each told with its place.
    pub(crate) fn leaves(&self, keys: &[Key], mut tell: impl FnMut(usize, Leaf)) {
        match &self.kind {
            Kind::Prefix(prefixes) if prefixes.misfits.is_empty() => prefixes.leaves(keys, tell),
            _ => keys.iter().enumerate().for_each(|(at, key)| tell(at, self.leaf(key))),
        }
    }

    /// A look-up here costs no more than one in a cache of its results, and nothing follows it.
    pub(crate) fn is_as_good_as_cached(&self) -> bool {
        let is_cheap = match &self.kind {
            Kind::Linear(_) => true,
            // An IPv6 prefix is found in up to 22 steps.
            Kind::Prefix(prefixes) => {
                matches!(prefixes.address, Address::V4 { .. }) && prefixes.misfits.is_empty()
            }
            Kind::General(_) => false,
        };
        is_cheap && self.n_gotos == 0
    }

    pub(crate) fn insert(&mut self, flow: Flow) {
        self.n_gotos += usize::from(flow.value.goto.is_some());
        match &mut self.kind {
            Kind::Linear(flows) if flows.len() < MAX_LINEAR => {
                let at = flows.partition_point(|(f, _)| f.rank > flow.rank);
                let leaf = Leaf::of(&flow.value);
                flows.insert(at, (flow, leaf));
            }
            Kind::Linear(flows) => {
                let flows = core::mem::take(flows).into_iter().map(|(flow, _)| flow).chain([flow]).collect();
                self.rebuild(flows);
            }
            Kind::Prefix(prefixes) => {
                prefixes.insert(flow);
                if prefixes.misfits.len() > MAX_MISFITS * prefixes.len() {
                    self.kind = Kind::General(prefixes.dissolve());
                }
            }
            Kind::General(classifier) => add(classifier, flow),
        }
    }

    /// Lets both have the memory of what is the same in them, where that is much: a worker that changes from one to the
    /// other then finds it in its processor's caches.
    pub(crate) fn share(&mut self, other: &Self) {
        if let (Kind::Prefix(mine), Kind::Prefix(theirs)) = (&mut self.kind, &other.kind) {
            mine.v4.share(&theirs.v4);
        }
    }

    /// Chooses a kind for more entries than are tried one by one.
    fn rebuild(&mut self, flows: Vec<Flow>) {
        if let Some(mut prefixes) = flows.iter().find_map(|flow| Prefixes::for_first(flow, self.secret)) {
            flows.iter().for_each(|flow| prefixes.insert(flow.clone()));
            if prefixes.misfits.len() < prefixes.len() {
                self.kind = Kind::Prefix(Box::new(prefixes));
                return;
            }
        }
        let mut classifier = Classifier::new(self.secret);
        flows.into_iter().for_each(|flow| add(&mut classifier, flow));
        self.kind = Kind::General(classifier);
    }

    pub(crate) fn remove(&mut self, flow: &Flow) {
        self.n_gotos -= usize::from(flow.value.goto.is_some());
        let is_empty = match &mut self.kind {
            Kind::Linear(flows) => {
                flows.retain(|(f, _)| f.rank != flow.rank);
                false
            }
            Kind::Prefix(prefixes) => {
                prefixes.remove(flow);
                prefixes.is_empty()
            }
            Kind::General(classifier) => {
                classifier.remove(flow);
                classifier.is_empty()
            }
        };
        if is_empty {
            self.kind = Kind::Linear(Vec::new());
        }
    }
}

fn add(classifier: &mut Classifier<Entry>, flow: Flow) {
    let leaf = Leaf::of(&flow.value);
    classifier.insert(flow, leaf.0);
}

/// Which bits hold the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    V4 { shift: u32 },
    V6 { word: usize },
}

/// Entries that differ in one prefix only, longer ones ranking above shorter ones, and others beside them.
#[derive(Debug)]
struct Prefixes {
    secret: Secret,
    address: Address,
    /// The conditions every entry has beside the prefix.
    fixed: Box<[Cond]>,
    v4: Lpm<u32>,
    v6: Lpm<u128>,
    flows: Vec<Option<Flow>>,
    /// For each, its leaf.
    leaves: Vec<Leaf>,
    free: Vec<u32>,
    /// Priority and number of the prefixes of each length.
    lens: Vec<(u16, u32)>,
    /// An entry below all prefixes, usually the table miss.
    last: Option<Flow>,
    misfits: Classifier<Entry>,
}

const fn priority(rank: u64) -> u16 {
    (rank >> 48) as u16
}

/// Splits conditions into a prefix and the rest.
fn split(rule: &Rule<Entry>, address: Address) -> Option<(u128, u8, Vec<Cond>)> {
    let cond = |word: usize| rule.conds.get(word as u8);
    let (bits, mask, words) = match address {
        Address::V4 { shift } => {
            let c = cond(key::IPV4)?;
            if c.mask & !(0xffff_ffff << shift) != 0 {
                return None;
            }
            let up = |v: u64| u128::from(v >> shift) << 96;
            (up(c.value), up(c.mask), key::IPV4..key::IPV4 + 1)
        }
        Address::V6 { word } => {
            let high = cond(word)?;
            let (value, mask) = cond(word + 1).map_or((0, 0), |c| (c.value, c.mask));
            let join = |a: u64, b: u64| u128::from(a) << 64 | u128::from(b);
            (join(high.value, value), join(high.mask, mask), word..word + 2)
        }
    };
    let len = mask.leading_ones();
    if mask.checked_shl(len).unwrap_or(0) != 0 {
        return None;
    }
    let rest = rule.conds.iter().filter(|c| !words.contains(&usize::from(c.word))).collect();
    Some((bits, len as u8, rest))
}

impl Prefixes {
    /// A table that could hold `flow` and others like it.
    fn for_first(flow: &Flow, secret: Secret) -> Option<Self> {
        let kinds = [
            Address::V4 { shift: 0 },
            Address::V4 { shift: 32 },
            Address::V6 { word: key::IPV6_DST },
            Address::V6 { word: key::IPV6_SRC },
        ];
        kinds.into_iter().find_map(|address| {
            let (_, _, rest) = split(flow, address)?;
            Some(Self {
                secret,
                address,
                fixed: rest.into(),
                v4: Lpm::new(),
                v6: Lpm::new(),
                flows: Vec::new(),
                leaves: Vec::new(),
                free: Vec::new(),
                lens: vec![(0, 0); 129],
                last: None,
                misfits: Classifier::new(secret),
            })
        })
    }

    #[inline(always)]
    fn lookup(&self, key: &Key) -> Option<(&Flow, Leaf)> {
        let found = self.lookup_prefix(key);
        if self.misfits.is_empty() { found } else { self.or_misfit(found, key) }
    }

    #[inline(always)]
    fn lookup_prefix(&self, key: &Key) -> Option<(&Flow, Leaf)> {
        if let Some(at) = self.find(key) {
            return Some((self.flows.get(at)?.as_ref()?, *self.leaves.get(at)?));
        }
        let last = self.last.as_ref().filter(|last| last.matches(key))?;
        Some((last, Leaf::of(&last.value)))
    }

    /// As [`lookup`](Self::lookup), as a rule without a look at the entry.
    #[inline(always)]
    fn leaf(&self, key: &Key) -> Leaf {
        match self.find(key).and_then(|at| self.leaves.get(at)) {
            Some(leaf) if self.misfits.is_empty() => *leaf,
            _ => self.lookup(key).map_or(Leaf::default(), |(_, leaf)| leaf),
        }
    }

    /// Those of many keys, where there are no misfits.
    fn leaves(&self, keys: &[Key], mut tell: impl FnMut(usize, Leaf)) {
        let Address::V4 { shift } = self.address else {
            return keys.iter().enumerate().for_each(|(at, key)| tell(at, self.leaf(key)));
        };
        let mut found = [None; N_AT_ONCE];
        for (n, keys) in keys.chunks(N_AT_ONCE).enumerate() {
            self.v4.lookup_each(keys.iter().map(|key| (key[key::IPV4] >> shift) as u32), &mut found);
            for (at, (key, found)) in keys.iter().zip(found).enumerate() {
                let leaf = found.filter(|_| self.has_fixed(key)).and_then(|at| self.leaves.get(at as usize));
                tell(n * N_AT_ONCE + at, leaf.copied().unwrap_or_default());
            }
        }
    }

    #[inline(always)]
    fn has_fixed(&self, key: &Key) -> bool {
        self.fixed.iter().all(|c| (key[usize::from(c.word)] ^ c.value) & c.mask == 0)
    }

    /// Which entry has the longest prefix.
    #[inline(always)]
    fn find(&self, key: &Key) -> Option<usize> {
        if !self.has_fixed(key) {
            return None;
        }
        let found = match self.address {
            Address::V4 { shift } => self.v4.lookup((key[key::IPV4] >> shift) as u32),
            Address::V6 { word } => self.v6.lookup(u128::from(key[word]) << 64 | u128::from(key[word + 1])),
        };
        found.map(|at| at as usize)
    }

    #[inline(never)]
    fn or_misfit<'a>(&'a self, found: Option<(&'a Flow, Leaf)>, key: &Key) -> Option<(&'a Flow, Leaf)> {
        match (self.misfits.lookup(key), found) {
            (None, found) => found,
            (Some(hit), Some((flow, leaf))) if flow.rank > hit.rule.rank => Some((flow, leaf)),
            (Some(hit), _) => Some((hit.rule, Leaf(hit.leaf))),
        }
    }

    fn insert(&mut self, flow: Flow) {
        if let Err(flow) = self.insert_prefix(flow) {
            add(&mut self.misfits, flow);
        }
    }

    /// Adds a flow, or gives it back if it is no prefix, or one whose rank does not fit those of the others.
    fn insert_prefix(&mut self, flow: Flow) -> Result<(), Flow> {
        let fit = split(&flow, self.address).filter(|(_, _, rest)| **rest == *self.fixed);
        let Some((bits, len, _)) = fit else {
            let lowest = self.lens.iter().all(|&(p, n)| n == 0 || p > priority(flow.rank));
            if !lowest || self.last.is_some() {
                return Err(flow);
            }
            self.last = Some(flow);
            return Ok(());
        };
        let prio = priority(flow.rank);
        let fits = self.lens.iter().enumerate().all(|(l, &(p, n))| {
            n == 0
                || if l < len.into() {
                    p < prio
                } else if l > len.into() {
                    p > prio
                } else {
                    p == prio
                }
        });
        let above_last = self.last.as_ref().is_none_or(|last| priority(last.rank) < prio);
        if !fits || !above_last || self.get(bits, len).is_some() {
            return Err(flow);
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.flows.push(None);
            self.leaves.push(Leaf::default());
            self.flows.len() as u32 - 1
        });
        self.leaves[at as usize] = Leaf::of(&flow.value);
        self.flows[at as usize] = Some(flow);
        match self.address {
            Address::V4 { .. } => self.v4.insert((bits >> 96) as u32, len, at),
            Address::V6 { .. } => self.v6.insert(bits, len, at),
        };
        let n = self.lens[usize::from(len)].1;
        self.lens[usize::from(len)] = (prio, n + 1);
        Ok(())
    }

    fn get(&self, bits: u128, len: u8) -> Option<u32> {
        match self.address {
            Address::V4 { .. } => self.v4.get((bits >> 96) as u32, len),
            Address::V6 { .. } => self.v6.get(bits, len),
        }
    }

    fn remove(&mut self, flow: &Flow) {
        if self.last.as_ref().is_some_and(|last| last.rank == flow.rank) {
            self.last = None;
            return;
        }
        let holds = |at: u32| self.flows[at as usize].as_ref().is_some_and(|f| f.rank == flow.rank);
        let prefix =
            split(flow, self.address).filter(|&(bits, len, _)| self.get(bits, len).is_some_and(holds));
        let Some((bits, len, _)) = prefix else {
            self.misfits.remove(flow);
            return;
        };
        let removed = match self.address {
            Address::V4 { .. } => self.v4.remove((bits >> 96) as u32, len),
            Address::V6 { .. } => self.v6.remove(bits, len),
        };
        if let Some(at) = removed {
            self.flows[at as usize] = None;
            self.free.push(at);
            self.lens[usize::from(len)].1 -= 1;
        }
    }

    /// How many entries there are but the misfits.
    fn len(&self) -> usize {
        self.flows.len() - self.free.len() + usize::from(self.last.is_some())
    }

    fn is_empty(&self) -> bool {
        self.len() == 0 && self.misfits.is_empty()
    }

    /// All entries in a general table.
    fn dissolve(&mut self) -> Classifier<Entry> {
        let secret = self.secret;
        let mut all = core::mem::replace(&mut self.misfits, Classifier::new(secret));
        let prefixes = self.flows.drain(..).flatten();
        prefixes.chain(self.last.take()).for_each(|flow| add(&mut all, flow));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lookup::Slab;
    use openflow::{Match, PortNo};
    use proptest::prelude::*;

    use super::*;
    use crate::entry::Body;
    use crate::key::N_WORDS;

    /// Flows with ids and ranks of their own.
    #[derive(Default)]
    struct Maker {
        ids: Slab<()>,
        n_made: u64,
    }

    impl Maker {
        fn flow(&mut self, priority: u16, matches: &Match) -> Flow {
            self.n_made += 1;
            let value = Entry::new(self.ids.insert(()), self.n_made, 0, Arc::new(Body::default()));
            let rank = u64::from(priority) << 48 | self.n_made;
            Arc::new(Rule { rank, conds: key::conds(matches).expect("satisfiable"), value })
        }
    }

    fn prefix(n: u32, len: u8) -> Match {
        Match::new().ipv4_dst((0x0a00_0000 | n << 4).into(), len)
    }

    fn key_of(address: u32, in_port: u32) -> Key {
        let mut key = [0; N_WORDS];
        for cond in key::conds(&prefix(0, 32).in_port(PortNo(in_port))).expect("satisfiable").iter() {
            key[usize::from(cond.word)] |= cond.value;
        }
        key::set(&mut key, openflow::Field::Ipv4Dst, (0x0a00_0000 | address).into());
        key
    }

    proptest! {
        /// Prefixes whose priorities follow their lengths, and flows that do not fit in, come and go.
        #[test]
        fn prefixes_and_misfits_are_found_by_rank(
            ops in prop::collection::vec((0u8..8, 0u32..16, 20u8..33, 0u16..60, any::<prop::sample::Index>()), 1..200),
            keys in prop::collection::vec((0u32..256, 1u32..3), 30),
        ) {
            let mut table = Table::new(Secret::from_seed(1));
            let (mut maker, mut model) = (Maker::default(), Vec::<Flow>::new());
            for (op, n, len, priority, pick) in ops {
                let flow = match op {
                    0 | 1 if !model.is_empty() => {
                        let gone = model.swap_remove(pick.index(model.len()));
                        table.remove(&gone);
                        continue;
                    }
                    2 => maker.flow(priority, &prefix(n, len)),
                    3 => maker.flow(priority, &Match::new().in_port(PortNo(n % 3))),
                    _ => maker.flow(u16::from(len), &prefix(n, len)),
                };
                table.insert(flow.clone());
                model.push(flow);
            }
            for (address, in_port) in keys {
                let key = key_of(address, in_port);
                let expected = model.iter().filter(|flow| flow.matches(&key)).max_by_key(|flow| flow.rank);
                let found = table.lookup(&key);
                prop_assert_eq!(found.map(|(flow, _)| flow.rank), expected.map(|flow| flow.rank));
                prop_assert!(found.is_none_or(|(flow, leaf)| leaf == Leaf::of(&flow.value)));
            }
            model.iter().for_each(|flow| table.remove(flow));
            prop_assert!(matches!(&table.kind, Kind::Linear(flows) if flows.is_empty()), "{:?}", table.kind);
        }
    }

    #[test]
    fn one_misfit_does_not_make_a_table_of_prefixes_a_general_one() {
        let mut table = Table::new(Secret::from_seed(1));
        let mut maker = Maker::default();
        let prefixes: Vec<Flow> = (0..100).map(|n| maker.flow(28, &prefix(n, 28))).collect();
        prefixes.iter().for_each(|flow| table.insert(flow.clone()));
        assert!(table.is_as_good_as_cached());
        let other = maker.flow(40, &Match::new().in_port(PortNo(7)));
        table.insert(other.clone());
        assert!(matches!(&table.kind, Kind::Prefix(prefixes) if prefixes.misfits.len() == 1));
        assert_eq!(table.lookup(&key_of(0x55, 7)).map(|(flow, _)| flow.rank), Some(other.rank));
        assert_eq!(table.lookup(&key_of(0x55, 1)).map(|(flow, _)| flow.rank), Some(prefixes[5].rank));
        table.remove(&other);
        assert!(table.is_as_good_as_cached());
        // Where the others are many more, they are asked alone.
        for port in 0..1_000 {
            table.insert(maker.flow(40, &Match::new().in_port(PortNo(port))));
        }
        assert!(matches!(table.kind, Kind::General(_)));
        assert_eq!(table.lookup(&key_of(0x55, 5_000)).map(|(flow, _)| flow.rank), Some(prefixes[5].rank));
    }
}
