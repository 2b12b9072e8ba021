//! One flow table, kept in the cheapest kind that holds its entries: empty, a few in a row, longest prefix, or the
//! general classifier (which for entries of one mask is one hash probe).

use std::sync::Arc;

use lookup::{Classifier, Cond, Lpm, Rule, Secret};

use crate::key::{self, Key};
use crate::snapshot::Flow;
use crate::step::{Entry, Leaf};

/// Entries that are tried one by one.
const MAX_LINEAR: usize = 4;

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

    /// A look-up here costs no more than one in a cache of its results, and nothing follows it.
    pub(crate) fn is_as_good_as_cached(&self) -> bool {
        let is_cheap = match &self.kind {
            Kind::Linear(_) => true,
            // An IPv6 prefix is found in up to 22 steps.
            Kind::Prefix(prefixes) => matches!(prefixes.address, Address::V4 { .. }),
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
                if let Err(flow) = prefixes.insert(flow) {
                    let mut classifier = Classifier::new(self.secret);
                    prefixes.iter().cloned().chain([flow]).for_each(|flow| add(&mut classifier, flow));
                    self.kind = Kind::General(classifier);
                }
            }
            Kind::General(classifier) => add(classifier, flow),
        }
    }

    /// Chooses a kind for more entries than are tried one by one.
    fn rebuild(&mut self, flows: Vec<Flow>) {
        if let Some(mut prefixes) = flows.iter().find_map(Prefixes::for_first)
            && flows.iter().all(|flow| prefixes.insert(flow.clone()).is_ok())
        {
            self.kind = Kind::Prefix(Box::new(prefixes));
            return;
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

/// Entries that differ in one prefix only, longer ones ranking above shorter ones.
#[derive(Debug)]
struct Prefixes {
    address: Address,
    /// The conditions every entry has beside the prefix.
    fixed: Box<[Cond]>,
    v4: Lpm<u32>,
    v6: Lpm<u128>,
    flows: Vec<Option<(Flow, Leaf)>>,
    free: Vec<u32>,
    /// Priority and number of the prefixes of each length.
    lens: Vec<(u16, u32)>,
    /// An entry below all others, usually the table miss.
    last: Option<Flow>,
}

const fn priority(rank: u64) -> u16 {
    (rank >> 48) as u16
}

/// Splits conditions into a prefix and the rest.
fn split(rule: &Rule<Entry>, address: Address) -> Option<(u128, u8, Vec<Cond>)> {
    let cond = |word: usize| rule.conds.iter().find(|c| usize::from(c.word) == word);
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
    let rest = rule.conds.iter().filter(|c| !words.contains(&usize::from(c.word))).copied().collect();
    Some((bits, len as u8, rest))
}

impl Prefixes {
    /// A table that could hold `flow` and others like it.
    fn for_first(flow: &Flow) -> Option<Self> {
        let kinds = [
            Address::V4 { shift: 0 },
            Address::V4 { shift: 32 },
            Address::V6 { word: key::IPV6_DST },
            Address::V6 { word: key::IPV6_SRC },
        ];
        kinds.into_iter().find_map(|address| {
            let (_, _, rest) = split(flow, address)?;
            Some(Self {
                address,
                fixed: rest.into(),
                v4: Lpm::new(),
                v6: Lpm::new(),
                flows: Vec::new(),
                free: Vec::new(),
                lens: vec![(0, 0); 129],
                last: None,
            })
        })
    }

    #[inline(always)]
    fn lookup(&self, key: &Key) -> Option<(&Flow, Leaf)> {
        if self.fixed.iter().all(|c| (key[usize::from(c.word)] ^ c.value) & c.mask == 0) {
            let found = match self.address {
                Address::V4 { shift } => self.v4.lookup((key[key::IPV4] >> shift) as u32),
                Address::V6 { word } => {
                    self.v6.lookup(u128::from(key[word]) << 64 | u128::from(key[word + 1]))
                }
            };
            if let Some(flow) = found.and_then(|at| self.flows.get(at as usize)) {
                return flow.as_ref().map(|(flow, leaf)| (flow, *leaf));
            }
        }
        let last = self.last.as_ref().filter(|last| last.matches(key))?;
        Some((last, Leaf::of(&last.value)))
    }

    /// Adds a flow, or gives it back if it does not fit.
    fn insert(&mut self, flow: Flow) -> Result<(), Flow> {
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
            self.flows.len() as u32 - 1
        });
        let leaf = Leaf::of(&flow.value);
        self.flows[at as usize] = Some((flow, leaf));
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
        let Some((bits, len, _)) = split(flow, self.address) else { return };
        let holds = |at: u32| self.flows[at as usize].as_ref().is_some_and(|(f, _)| f.rank == flow.rank);
        if !self.get(bits, len).is_some_and(holds) {
            return;
        }
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

    fn is_empty(&self) -> bool {
        self.last.is_none() && self.lens.iter().all(|&(_, n)| n == 0)
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Rule<Entry>>> {
        self.flows.iter().flatten().map(|(flow, _)| flow).chain(&self.last)
    }
}
