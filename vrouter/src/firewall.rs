//! The rules for packets between interfaces, made ready: the first that matches decides.
//!
//! Rules become entries of the general classifier: groups and port ranges are multiplied out, so that a look-up costs
//! the same few probes for ten rules and for ten thousand. What rules count and how far their limits are used up is
//! shared by all workers, and goes on when a configuration keeps the rule.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use conntrack::{Connection, Packet, Side};
use lookup::{Classifier, Cond, Conds, Secret};
use packet::Instant;

use crate::config::{ConfigError, FirewallAction, FirewallRule, RouterConfig};
use crate::limiter::Limiter;
use crate::snapshot::{Base, IfIndex, Snapshot};
use crate::{Prefix, RuleInfo};

/// Most entries that rules may come to.
const MAX_ENTRIES: usize = 1 << 20;
/// Set in the last word for IPv4.
const V4: u64 = 1 << 63;

/// What a rule remembers.
#[derive(Debug)]
struct Tally {
    n_packets: AtomicU64,
    n_bytes: AtomicU64,
    n_limited: AtomicU64,
    limiter: Mutex<Limiter>,
}

impl Default for Tally {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self { n_packets: zero(), n_bytes: zero(), n_limited: zero(), limiter: Mutex::new(Limiter::new()) }
    }
}

#[derive(Debug)]
struct Rule {
    rule: FirewallRule,
    tally: Arc<Tally>,
}

/// What is said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub action: FirewallAction,
    /// The rule that says so; none: none matched.
    pub rule: Option<usize>,
    /// The rule would let it pass, but has let too many pass.
    pub is_limited: bool,
    pub log: bool,
}

#[derive(Debug)]
pub(crate) struct Firewall {
    rules: Vec<Rule>,
    entries: Classifier<()>,
    default: Rule,
    /// Numbers of the zones of interfaces; zero is none.
    zones: Vec<u16>,
    groups: BTreeMap<String, Vec<Prefix>>,
}

impl Default for Firewall {
    fn default() -> Self {
        let (rule, tally) = (FirewallRule::new(FirewallAction::Allow), Arc::default());
        Self {
            rules: Vec::new(),
            entries: Classifier::new(Secret::from_seed(0)),
            default: Rule { rule, tally },
            zones: Vec::new(),
            groups: BTreeMap::new(),
        }
    }
}

impl Firewall {
    /// Makes the rules of a configuration ready, with what those that `before` has too remember.
    pub(crate) fn compile(base: &Base, config: &RouterConfig, before: &Self) -> Result<Self, ConfigError> {
        let mut firewall = Self { groups: groups(config)?, ..Self::default() };
        let mut names: Vec<&str> = Vec::new();
        for interface in &config.interfaces {
            let zone = interface.zone.as_deref().map_or(0, |zone| number(&mut names, zone));
            firewall.zones.push(zone);
        }
        firewall.default.rule.action = config.firewall_default;
        firewall.default.tally = Arc::clone(&before.default.tally);
        firewall.entries = Classifier::new(Secret::from_seed(base.generation));
        let mut known: HashMap<&FirewallRule, &Arc<Tally>> =
            before.rules.iter().map(|r| (&r.rule, &r.tally)).collect();
        for (index, rule) in config.firewall.iter().enumerate() {
            // Of equal rules only the first ever matches.
            let tally = known.remove(rule).map_or_else(Arc::default, Arc::clone);
            firewall.rules.push(Rule { rule: rule.clone(), tally });
            firewall.add_entries(base, &names, index, rule)?;
        }
        Ok(firewall)
    }

    fn add_entries(
        &mut self,
        base: &Base,
        zones: &[&str],
        index: usize,
        rule: &FirewallRule,
    ) -> Result<(), ConfigError> {
        let bad = |reason: String| ConfigError::BadFirewall { index, reason };
        if rule.destination_ports.is_some_and(|(first, last)| first > last) {
            return Err(bad("the first destination port is above the last".into()));
        }
        if rule.limit.is_some_and(|limit| limit.rate == 0) {
            return Err(bad("a limit of nothing; drop it instead".into()));
        }
        let interface = |name: &Option<String>, field: &'static str| {
            let place = move || format!("firewall[{index}].{field}");
            name.as_ref().map(|name| base.interface_named(name, place)).transpose()
        };
        let zone = |name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => match zones.iter().position(|known| known == name) {
                Some(at) => Ok(Some(at as u16 + 1)),
                None => Err(bad(format!("no interface is in zone \"{name}\""))),
            },
        };
        let ways = [
            interface(&rule.input, "in")?,
            interface(&rule.out, "out")?,
            zone(&rule.from_zone)?,
            zone(&rule.to_zone)?,
        ];
        let sources = self.members(index, rule.source, rule.source_group.as_deref())?;
        let destinations = self.members(index, rule.destination, rule.destination_group.as_deref())?;
        let ports = rule.destination_ports.map_or_else(|| vec![(0, 0)], |(first, last)| blocks(first, last));
        let n_new = sources.len().saturating_mul(destinations.len()).saturating_mul(ports.len());
        if self.entries.len().saturating_add(n_new) > MAX_ENTRIES {
            return Err(bad(format!("with its groups and ports the rules come to more than {MAX_ENTRIES}")));
        }
        for source in &sources {
            for destination in &destinations {
                // Of different families no packet is.
                if let (Some(a), Some(b)) = (source, destination)
                    && a.addr().is_ipv4() != b.addr().is_ipv4()
                {
                    continue;
                }
                for port in &ports {
                    let conds = conds(ways, [*source, *destination], rule.protocol, *port);
                    let rank = u64::MAX - self.entries.len() as u64;
                    self.entries.insert(Arc::new(lookup::Rule { rank, conds, value: () }), index as u64);
                }
            }
        }
        Ok(())
    }

    /// The prefixes a rule means, by itself or by the name of a group; none is every address.
    fn members(
        &self,
        index: usize,
        prefix: Option<Prefix>,
        group: Option<&str>,
    ) -> Result<Vec<Option<Prefix>>, ConfigError> {
        let bad = |reason: String| ConfigError::BadFirewall { index, reason };
        match (prefix, group) {
            (Some(_), Some(_)) => Err(bad("either a prefix or a group".into())),
            (prefix, None) => Ok(vec![prefix]),
            (None, Some(name)) => match self.groups.get(name) {
                Some(members) => Ok(members.iter().copied().map(Some).collect()),
                None => Err(bad(format!("no group \"{name}\""))),
            },
        }
    }

    /// Nothing is ever denied, limited or counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.default.rule.action == FirewallAction::Allow
    }

    /// The rules are the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.default.rule.action, &self.zones, &self.groups)
            == (other.default.rule.action, &other.zones, &other.groups)
            && self.rules.iter().map(|r| &r.rule).eq(other.rules.iter().map(|r| &r.rule))
    }

    fn zone(&self, interface: IfIndex) -> u64 {
        self.zones.get(usize::from(interface)).copied().unwrap_or(0).into()
    }

    /// The first rule that matches a packet.
    fn find(&self, input: IfIndex, out: IfIndex, p: &Packet) -> (&Rule, Option<usize>) {
        let [src, dst] = [p.src.addr, p.dst.addr].map(words);
        let ways = u64::from(input) << 48 | u64::from(out) << 32 | self.zone(input) << 16 | self.zone(out);
        let family = if p.src.addr.is_ipv4() { V4 } else { 0 };
        let last = family | u64::from(p.protocol.0) << 16 | u64::from(p.dst.port);
        let found = self.entries.lookup(&[src[0], src[1], dst[0], dst[1], ways, last]);
        let at = found.map(|hit| hit.leaf as usize);
        (at.and_then(|at| self.rules.get(at)).unwrap_or(&self.default), at)
    }

    /// What the rules say of a packet that begins a connection. Counts it, unless this is only a question.
    pub(crate) fn decide(
        &self,
        now: Instant,
        (input, out): (IfIndex, IfIndex),
        p: &Packet,
        only_asks: bool,
    ) -> Judgement {
        let (Rule { rule, tally }, at) = self.find(input, out, p);
        let mut judgement = Judgement { action: rule.action, rule: at, is_limited: false, log: rule.log };
        if only_asks {
            return judgement;
        }
        tally.n_packets.fetch_add(p.n_packets.into(), Relaxed);
        tally.n_bytes.fetch_add(p.len.into(), Relaxed);
        if let Some(limit) = rule.limit {
            let mut limiter = tally.limiter.lock().unwrap_or_else(PoisonError::into_inner);
            if !limiter.admit(now, limit.rate, limit.burst.max(1)) {
                tally.n_limited.fetch_add(1, Relaxed);
                (judgement.action, judgement.is_limited) = (FirewallAction::Drop, true);
            }
        }
        judgement
    }

    /// What rules have counted, in their order; last what no rule matched.
    pub(crate) fn counts(&self) -> Vec<RuleInfo> {
        let info = |(rule, r): (Option<usize>, &Rule)| RuleInfo {
            rule,
            action: r.rule.action,
            n_packets: r.tally.n_packets.load(Relaxed),
            n_bytes: r.tally.n_bytes.load(Relaxed),
            n_limited: r.tally.n_limited.load(Relaxed),
        };
        let rules = self.rules.iter().enumerate().map(|(at, r)| (Some(at), r));
        rules.chain([(None, &self.default)]).map(info).collect()
    }
}

/// Whether the rules would let a connection begin that has begun under others. Where its ends are is taken from the
/// routes of now; what leads nowhere is left alone.
pub(crate) fn still_allows(snapshot: &Snapshot, c: &Connection) -> bool {
    let ends = match c.origin {
        Side::Inside => ((c.zone, c.inside), (c.outside_zone, c.remote)),
        Side::Outside => ((c.outside_zone, c.remote), (c.zone, c.inside)),
    };
    let ((src_zone, src), (dst_zone, dst)) = ends;
    let way = |zone, addr: IpAddr| snapshot.fib.lookup(zone, addr, || 0)?.interface();
    let (Some(input), Some(out)) = (way(src_zone, src.addr), way(dst_zone, dst.addr)) else { return true };
    let (protocol, tcp, segment) = (c.protocol, None, None);
    let p =
        Packet { zone: src_zone, to_zone: dst_zone, protocol, src, dst, tcp, segment, len: 0, n_packets: 0 };
    let (rule, _) = snapshot.firewall.find(input, out, &p);
    rule.rule.action == FirewallAction::Allow
}

/// The number of a name, from one on; a new one if it is new.
fn number<'a>(names: &mut Vec<&'a str>, name: &'a str) -> u16 {
    let found = names.iter().position(|known| *known == name);
    let at = found.unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    });
    at as u16 + 1
}

fn groups(config: &RouterConfig) -> Result<BTreeMap<String, Vec<Prefix>>, ConfigError> {
    let mut groups = BTreeMap::new();
    for (index, group) in config.groups.iter().enumerate() {
        let mut members = group.members.clone();
        for name in &group.groups {
            // Only those before it, so there is no circle.
            let other: &Vec<Prefix> = groups.get(name).ok_or_else(|| ConfigError::BadGroupOfAddresses {
                index,
                reason: format!("no group \"{name}\" before it"),
            })?;
            members.extend(other);
        }
        members.sort_unstable();
        members.dedup();
        if groups.insert(group.name.clone(), members).is_some() {
            let reason = format!("\"{}\" is used twice", group.name);
            return Err(ConfigError::BadGroupOfAddresses { index, reason });
        }
    }
    Ok(groups)
}

fn words(addr: IpAddr) -> [u64; 2] {
    match addr {
        IpAddr::V4(addr) => [0, addr.to_bits().into()],
        IpAddr::V6(addr) => [(addr.to_bits() >> 64) as u64, addr.to_bits() as u64],
    }
}

/// The conditions of an entry, in the order of their words.
fn conds(
    ways: [Option<u16>; 4],
    ends: [Option<Prefix>; 2],
    protocol: Option<u8>,
    (port, port_mask): (u16, u16),
) -> Conds {
    let mut key = [(0u64, 0u64); 6];
    for (prefix, at) in ends.iter().zip([0, 2]) {
        let Some(prefix) = prefix else { continue };
        let len = u32::from(prefix.prefix_len());
        let (mask, family) = match prefix.addr() {
            IpAddr::V4(_) => (u128::from(u32::MAX.checked_shl(32 - len).unwrap_or(0)), V4),
            IpAddr::V6(_) => (u128::MAX.checked_shl(128 - len).unwrap_or(0), 0),
        };
        let value = words(prefix.addr());
        key[at] = (value[0], (mask >> 64) as u64);
        key[at + 1] = (value[1], mask as u64);
        key[5] = (key[5].0 | family, key[5].1 | V4);
    }
    for (way, shift) in ways.into_iter().zip([48, 32, 16, 0]) {
        if let Some(way) = way {
            key[4] = (key[4].0 | u64::from(way) << shift, key[4].1 | 0xffff << shift);
        }
    }
    if let Some(protocol) = protocol {
        key[5] = (key[5].0 | u64::from(protocol) << 16, key[5].1 | 0xff << 16);
    }
    key[5] = (key[5].0 | u64::from(port), key[5].1 | u64::from(port_mask));
    let cond = |(word, (value, mask)): (u8, (u64, u64))| Cond { word, value: value & mask, mask };
    (0..).zip(key).filter(|(_, (_, mask))| *mask != 0).map(cond).collect()
}

/// The aligned blocks that a range of ports is made of: value and mask of each.
fn blocks(first: u16, last: u16) -> Vec<(u16, u16)> {
    let (mut start, end) = (u32::from(first), u32::from(last) + 1);
    let mut blocks = Vec::new();
    while start < end {
        let aligned = if start == 0 { 16 } else { start.trailing_zeros().min(16) };
        let fits = (end - start).ilog2();
        let bits = aligned.min(fits);
        blocks.push((start as u16, (u32::from(u16::MAX) << bits) as u16));
        start += 1 << bits;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_make_up_the_range(first: u16, len in 0u16..2000, port: u16) {
            let last = first.saturating_add(len);
            let blocks = blocks(first, last);
            prop_assert!(blocks.len() <= 30);
            for port in [port, first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                let n = blocks.iter().filter(|(value, mask)| port & mask == *value).count();
                prop_assert_eq!(n, usize::from((first..=last).contains(&port)), "{}", port);
            }
        }
    }
}
